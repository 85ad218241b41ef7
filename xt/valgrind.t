# valgrind over the C tests: no invalid access, no use of what was not written,
# nothing lost, in the tests and in their children.
use strict;
use warnings;

use lib 't/lib';
use CTest;
use Test::More;

plan skip_all => 'valgrind is not installed' if system('command -v valgrind >/dev/null 2>&1') != 0;

my @valgrind = (
    qw(valgrind -q --leak-check=full --error-exitcode=99 --fair-sched=yes),
    map {"--$_-leak-kinds=definite,indirect,possible"} qw(show errors-for)
);
my $suite = CTest->new(cflags => [qw(-O1 -DTEST_PART=20)], runner => \@valgrind);
plan skip_all => $suite->{unusable} if $suite->{unusable};

# A leak that it must see, or it sees nothing.
my $leak = "$suite->{dir}/leak.c";
open my $out, '>', $leak or die "cannot write $leak: $!";
print {$out} <<'C';
#define _GNU_SOURCE
#include "pool.h"
int main(void)
{
    pool_spec_t spec = { POOL_I64, 1, 8, 0, 0 };
    return pool_open(NULL, &spec, NULL) == NULL;
}
C
close $out or die "cannot write $leak: $!";
push @{ $suite->{cflags} }, '-I.';
my $program = $suite->build($leak);
my $output  = qx{@valgrind $program 2>&1};
is($? >> 8, 99, 'a handle that nobody closes is seen') or diag($output);

$suite->run($_) for CTest::sources();
done_testing;
