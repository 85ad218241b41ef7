#!/usr/bin/env perl
# Numbers in shared memory as a PDL vector, without a copy: the slots of an F64 pool
# are one array of doubles, and a vector is laid over it. Workers compute in
# parallel, each on its part; the parent reads the result in place.
use strict;
use warnings;
use PDL;
use Data::Pool::Shared;

my $WORKERS = 4;
my $N       = 100_000;
my $pool    = Data::Pool::Shared::F64->new(undef, $N);
my $slots   = $pool->alloc_n($N);
die "not all slots\n" if @$slots != $N;

# PDL can lay a vector over the memory of another one, at a given offset (this is how it
# maps files). Keep the pool as long as the vector.
sub vector_on {
    my ($address, $length) = @_;
    my $anchor = zeroes(double, 1024);
    my $base   = unpack 'J', pack 'p', ${ $anchor->get_dataref };
    my $vector = zeroes(double, $length);
    $vector->freedata;
    $vector->set_data_by_offset($anchor, $address - $base);
    return $vector;
}

my $x = vector_on($pool->data_ptr, $N);
$x .= sequence($N) / $N;    # .= assigns in place

for my $worker (0 .. $WORKERS - 1) {
    my $pid = fork // die "fork: $!\n";
    next if $pid;
    my $part = $N / $WORKERS;
    my $mine = $x->slice($worker * $part . ':' . (($worker + 1) * $part - 1));
    $mine .= 4 / (1 + $mine**2);    # whose integral from 0 to 1 is pi
    exit 0;
}
my $failed = 0;
while (wait > 0) { $failed ||= $? }

my $mean = $x->avg;
my $sum  = 0;
$sum += $_ for @{ $pool->get_n($slots) };    # the same numbers, read without PDL
printf "pi is about %.5f; by the pool's own methods %.5f\n", $mean, $sum / $N;
my $ok = !$failed && abs($mean - 3.14159265) < 1e-4 && abs($mean - $sum / $N) < 1e-9;
print $ok ? "Everything adds up.\n" : "WRONG\n";
exit($ok ? 0 : 1);
