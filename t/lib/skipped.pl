# The last line of `make test`: what was skipped, and why, from what the tests have said. They
# have said it into the folder that is given, which is removed.
use strict;
use warnings;
use File::Find ();
use File::Path ();

my $folder = shift // die "usage: $0 FOLDER\n";
my (%files, %tests);

sub look {
    my ($file) = @_;
    open my $in, '<', $file or die "cannot read $file: $!";
    while (my $line = <$in>) {
        if    ($line =~ /^1\.\.0 *# *skip\S* *(.*?)\s*$/i)     { $files{$1}++ }
        elsif ($line =~ /^\s*ok\b[^#]*# *skip\S* *(.*?)\s*$/i) { $tests{$1}++ }
    }
    return;
}

# Reasons in order of how much they cost.
sub reasons {
    my (%count) = @_;
    return join '; ', map { $count{$_} > 1 ? "$_ ($count{$_})" : $_ } sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
}

File::Find::find({ no_chdir => 1, wanted => sub { look($_) if -f } }, $folder) if -d $folder;
File::Path::remove_tree($folder);

my @what = ((%files ? 'Files skipped: ' . reasons(%files) : ()), (%tests ? 'Tests skipped: ' . reasons(%tests) : ()));
printf "The tests ran as %s. %s.\n", $> == 0 ? 'root' : 'an ordinary user (some need root)', @what ? join('. ', @what) : 'None was skipped';
