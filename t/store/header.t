# Each header of store/ stands alone, and each file is clean: under each compiler that is
# here, as C11 without GNU extensions and as C++17.
use strict;
use warnings;

use File::Temp qw(tempdir);
use Test::More;

my $dir      = tempdir('store-header-XXXXXX', TMPDIR => 1, CLEANUP => 1);
my @strict   = qw(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -I. -fsyntax-only);
my %language = (gcc => 'c11', clang => 'c11', 'g++' => 'c++17', 'clang++' => 'c++17');

# What the compiler says; '' if it is content.
sub says {
    my ($name, @files) = @_;
    my ($kind) = $language{$name} =~ /^(c\+*)/;
    my @only = $name eq 'clang++' ? '-Wno-deprecated' : ();
    return qx{$name -std=$language{$name} @strict @only -x $kind @files 2>&1};
}

sub file_of {
    my ($name, @lines) = @_;
    open my $out, '>', "$dir/$name" or die "cannot write $dir/$name: $!";
    print {$out} map {"$_\n"} @lines;
    close $out or die "cannot write $dir/$name: $!";
    return "$dir/$name";
}

my $loose = file_of('loose.c', 'long wide(void);', 'int narrow(void);', 'int narrow(void) { return wide(); }');
my @alone = map { file_of(s{/}{_}r . '.c', qq{#include "$_"}) } sort glob 'store/*.h';
cmp_ok(scalar @alone, '>', 5, 'there are headers');

for my $name (sort keys %language) {
    SKIP: {
        skip "$name is not installed",                    2 if system("command -v $name >/dev/null 2>&1") != 0;
        skip "this $name does not know $language{$name}", 2 if says($name, '/dev/null');
        like(says($name, $loose), qr/loose\.c/, "$name -std=$language{$name}: what is not clean is told");
        is(says($name, @alone, sort glob 'store/*.c'), '', '... each header alone, and each file, is clean');
    }
}

done_testing;
