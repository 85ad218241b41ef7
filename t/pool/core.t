# The C core by itself: each program in t/c is one theme.
use strict;
use warnings;

use lib 't/lib';
use CTest;
use Test::More;

my $suite = CTest->new(cflags => ['-O2']);
plan skip_all => $suite->{unusable} if $suite->{unusable};

my @sources = CTest::sources();
cmp_ok(scalar @sources, '>', 0, 'there are C tests');
$suite->run($_) for @sources;

done_testing;
