# The C tests as a program of another architecture, of weaker memory order than
# x86-64: so that no assumption about x86-64 compiles in. qemu translates the
# orders of the guest to those of the host, and an x86-64 host reorders less: the
# run shows that the code works there, not that its orders suffice (the
# ThreadSanitizer and the model look for that).
use strict;
use warnings;

use lib 't/lib';
use CTest;
use Test::More;

my $root = '/usr/aarch64-linux-gnu';
for my $program (qw(aarch64-linux-gnu-gcc qemu-aarch64)) {
    plan skip_all => "$program is not installed" if system("command -v $program >/dev/null 2>&1") != 0;
}

my $suite = CTest->new(
    cc     => ['aarch64-linux-gnu-gcc'],
    cflags => [qw(-O2 -march=armv8-a -mno-outline-atomics -DTEST_PART=10)],
    runner => [ 'qemu-aarch64', '-L', $root ],
);
plan skip_all => $suite->{unusable} if $suite->{unusable};

# qemu-user makes up the start time in /proc/self/stat: nobody else would see the
# same one. Spelled otherwise it is the kernel's.
my $real = "$suite->{dir}/real";
open my $out, '>', "$real.c" or die "cannot write $real.c: $!";
print {$out} <<'C';
#include <string.h>
int __real_open(const char *path, int flags, unsigned mode);
int __wrap_open(const char *path, int flags, unsigned mode);
int __wrap_open(const char *path, int flags, unsigned mode)
{
    return __real_open(strcmp(path, "/proc/self/stat") == 0 ? "/proc/./self/stat" : path, flags, mode);
}
C
close $out or die "cannot write $real.c: $!";
is(system(qw(aarch64-linux-gnu-gcc -O2 -c -o), "$real.o", "$real.c"), 0, 'what undoes an invention of qemu compiles');
$suite->{libs} = [ '-Wl,--wrap=open', "$real.o" ];

$suite->run($_) for CTest::sources();

# On this architecture the orders are instructions, not the host's habit.
my $assembly = qx{aarch64-linux-gnu-gcc -std=gnu11 -O2 -march=armv8-a -mno-outline-atomics -S -o - pool.c};
is($?, 0, 'pool.c compiles to assembly');
like($assembly, qr/\bldar\b/,  'a load that acquires is one');
like($assembly, qr/\bstlr\b/,  'a store that releases is one');
like($assembly, qr/\bldaxr\b/, 'a compare-and-swap has its order');

done_testing;
