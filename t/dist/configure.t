# Makefile.PL says what is missing to build, and by which packages it comes.
use strict;
use warnings;
use Cwd        ();
use File::Copy qw(copy);
use File::Temp qw(tempdir);
use Test::More;

my $folder = tempdir('configure-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my $top    = Cwd::getcwd();
END { chdir $top if defined $top }

sub write_program {
    my ($name, $text) = @_;
    open my $out, '>', "$folder/$name" or die "$folder/$name: $!";
    print {$out} "#!/bin/sh\n$text";
    close $out or die "$folder/$name: $!";
    chmod 0755, "$folder/$name";
    return "$folder/$name";
}

# Makefile.PL in a folder of its own, with what it reads; its output and its status.
system 'cp', '-r', 'Makefile.PL', 'MANIFEST', 'lib', $folder;
$? == 0       or die 'cannot copy';
chdir $folder or die "chdir: $!";
sub configure { my ($cc) = @_; my $said = qx{"$^X" Makefile.PL CC="$cc" 2>&1 </dev/null}; return ($said, $?) }

my $no_crypt =
    write_program('no_crypt', qq{echo '/usr/include/perl.h:42:10: fatal error: crypt.h: No such file or directory' >&2\nexit 1\n});
for my $case ([ $no_crypt, qr/crypt\.h: No such file/, 'a header is missing' ], [ "$folder/none", qr/none.*not found/, 'no compiler' ]) {
    my ($cc, $why, $name) = @$case;
    my ($said, $status) = configure($cc);
    isnt $status, 0, "$name: Makefile.PL fails";
    like $said, $why,                                                                                         '... and says why';
    like $said, qr/apt-get install .*\blibperl-dev\b.*dnf install .*\bperl-devel\b.*apk add .*\bperl-dev\b/s, '... and names the packages';
    ok !-e 'Makefile', '... and makes no Makefile';
}
my ($said, $status) = configure(write_program('good', "exit 0\n"));
is $status, 0, 'where all is there it works' or diag $said;
unlike $said, qr/cannot be built/, '... and says nothing';

done_testing;
