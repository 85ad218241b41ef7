# Every operation of store/ is killed, and stopped, at each of its stores to shared memory.
# Takes minutes; x86-64 only. STORE_STEP_PLACES=0: at really each.
use strict;
use warnings;

use lib 't/lib';
use Config;
use CTest;
use Test::More;

plan skip_all => 'x86-64 only' if $Config{archname} !~ /x86_64/;
my $suite = CTest->new(cflags => [qw(-O1 -DSTORE_ASSERT)], library => [ sort glob 'store/*.c' ]);
plan skip_all => $suite->{unusable} if $suite->{unusable};

$suite->run('xt/store_step.c');

done_testing;
