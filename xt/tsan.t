# ThreadSanitizer over the C tests: threads stand for processes in t/c/threads.c
# (slots of plain bytes change hands between them) and in t/store/readers.c (cells are
# read while they are freed and used again), and each child of the other tests is
# watched, too.
use strict;
use warnings;

use lib 't/lib';
use CTest;
use Test::More;

# It stops at the first race (66 is its exit status, which no test uses).
$ENV{TSAN_OPTIONS} = 'halt_on_error=1:exitcode=66:die_after_fork=0';

my @compilers = grep { system("command -v $_ >/dev/null 2>&1") == 0 } qw(clang gcc);
my $suite;
my @flags = qw(-O1 -fsanitize=thread -DTEST_PART=10);
for my $compiler (@compilers) {
    $suite = CTest->new(cc => [$compiler], cflags => [@flags]);
    last if !$suite->{unusable};
}
plan skip_all => 'neither clang nor gcc is installed' if !$suite;
plan skip_all => $suite->{unusable}                   if $suite->{unusable};
diag("with $suite->{cc}[0]");

# A race that it must see, or it sees nothing.
my $race = "$suite->{dir}/race.c";
open my $out, '>', $race or die "cannot write $race: $!";
print {$out} <<'C';
#define _GNU_SOURCE
#include <pthread.h>
#include "pool.h"
static pool_t *pool;
static void *count(void *unused)
{
    for (int i = 0; i < 100000; i++) ++*(volatile uint64_t *)pool_ptr(pool, 0);
    return unused;
}
int main(void)
{
    pool_spec_t  spec = { POOL_I64, 1, 8, 0, 0 };
    pthread_t    thread;
    pool = pool_open(NULL, &spec, NULL);
    if (pool_try_alloc(pool) != 0 || pthread_create(&thread, NULL, count, NULL) != 0) return 1;
    count(NULL);
    return pthread_join(thread, NULL);
}
C
close $out or die "cannot write $race: $!";
push @{ $suite->{cflags} }, '-I.';
my $program = $suite->build($race);
like(qx{$program 2>&1}, qr/data race/, 'a race on plain bytes of a slot is seen');
is($? >> 8, 66, '... and ends the program');

$suite->run($_) for CTest::sources();

my $store = CTest->new(cc => $suite->{cc}, cflags => [ @flags, '-DSTORE_ASSERT' ], library => [ sort glob 'store/*.c' ]);
$store->run($_) for CTest::sources('t/store');
done_testing;
