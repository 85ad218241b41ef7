# The C tests with another C library, musl (Alpine's): as strict C11 that it has the
# declarations for, linked statically.
use strict;
use warnings;

use lib 't/lib';
use CTest;
use File::Temp qw(tempdir);
use Test::More;

plan skip_all => 'musl-gcc is not installed' if system('command -v musl-gcc >/dev/null 2>&1') != 0;

# Its folder of headers has none of the kernel's: take these, and only these, from here.
my $kernel = tempdir('musl-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chomp(my $triple = qx{gcc -print-multiarch});
for my $from (map {"/usr/include/$_"} 'linux', 'asm-generic', "$triple/asm", 'asm') {
    my ($name) = $from =~ m{([^/]+)\z};
    symlink $from, "$kernel/$name" if -d $from && !-e "$kernel/$name";
}

my $suite = CTest->new(cc => [ 'musl-gcc', '-idirafter', $kernel ], cflags => [qw(-O2 -static)]);
plan skip_all => $suite->{unusable} if $suite->{unusable};

for my $header (qw(pool.h pool_grow.h pool_lock.h)) {
    my $said = qx{musl-gcc -idirafter "$kernel" -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c $header 2>&1};
    is($said, '', "$header stands alone");
}
$suite->run($_) for CTest::sources();

done_testing;
