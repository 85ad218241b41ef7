# Two processes meet in one variable, at each access to shared memory, also on a full filesystem.
# Takes two to three minutes; x86-64
# only. STORE_PAIR_PLACES=0: at really each.
use strict;
use warnings;

use lib 't/lib';
use Config;
use CTest;
use Test::More;

plan skip_all => 'x86-64 only' if $Config{archname} !~ /x86_64/;
my $suite = CTest->new(cflags => [qw(-O1 -DSTORE_ASSERT)], library => [ sort glob 'store/*.c' ]);
plan skip_all => $suite->{unusable} if $suite->{unusable};

$suite->run('xt/store_pairs.c');

done_testing;
