# Every input that a fuzzer found interesting, once more: see xt/fuzz.c.
use strict;
use warnings;

use lib 't/lib';
use CTest;
use Test::More;

my @inputs = glob 't/corpus/*';
my $replay = [ '-DFUZZ_REPLAY', '-O1' ];
my $suite  = CTest->new(cflags => [ @$replay, '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined' ]);
my $with   = 'with sanitizers';
if ($suite->{unusable}) {
    $suite = CTest->new(cflags => $replay);
    $with  = 'without sanitizers: this compiler has none';
}
plan skip_all => $suite->{unusable} if $suite->{unusable};

cmp_ok(scalar @inputs, '>', 0, 'there is a corpus');
my $program = $suite->build('xt/fuzz.c');
my $output  = qx{$program @inputs 2>&1};
is($?,      0,                     "each of them ends well ($with)") or diag($output);
is($output, @inputs . " inputs\n", '... and all were run');

done_testing;
