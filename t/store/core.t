# store/ by itself: each program in t/store is one theme.
use strict;
use warnings;

use lib 't/lib';
use CTest;
use Test::More;

my $suite = CTest->new(cflags => ['-O2'], library => [ sort glob 'store/*.c' ]);
plan skip_all => $suite->{unusable} if $suite->{unusable};

my @sources = CTest::sources('t/store');
cmp_ok(scalar @sources, '>', 0, 'there are C tests');
$suite->run($_) for @sources;

done_testing;
