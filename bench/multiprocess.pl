#!/usr/bin/env perl
# How the throughput grows with the number of workers, on one pool.
#
#     perl -Mblib bench/multiprocess.pl [turns [seconds a turn]]
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Apart qw(crowd);
use Turns qw(turns table verdict);
use Data::Pool::Shared;

my $turns   = shift // 5;
my $seconds = shift // 0.5;

# Rounds a second of `workers` processes, each repeating `round` on the pool.
sub throughput {
    my ($workers, $round) = @_;
    return crowd(
        $workers, $seconds,
        sub {
            return sub { $round->() for 1 .. 200; return 200 }
        }
    );
}

my $ints = Data::Pool::Shared::I64->new(undef, 64);
my $strs = Data::Pool::Shared::Str->new(undef, 64, 48);
my $hit  = $ints->alloc;
my $text = 'x' x 48;

my %round = (
    'alloc, set, free'                  => sub { my $s = $ints->alloc; $ints->set($s, 42); $ints->free($s) },
    'Str alloc, set, get, free'         => sub { my $s = $strs->alloc; $strs->set($s, $text); $strs->get($s); $strs->free($s) },
    'add to one counter'                => sub { $ints->add($hit, 1) },
    'nothing (scaling of this machine)' => sub { },
);

my @rows;
for my $name (sort keys %round) {
    my %candidates = map {
        my $workers = $_;
        $workers => sub { throughput($workers, $round{$name}) }
    } 1, 2, 8;
    my $best = turns($turns, \%candidates, measure => sub { $_[0]->() }, most => 1);
    my ($two, $eight) = map { $best->{$_} / $best->{1} } 2, 8;
    my $barred = $name eq 'alloc, set, free';
    push @rows,
        [
        $name,
        (map { sprintf '%.2f', $best->{$_} / 1e6 } 1, 2, 8),
        sprintf('%.2f', $two),
        sprintf('%.2f', $eight),
        $barred ? verdict($two >= 1.7 && $eight >= 1.5) : ''
        ];
}
printf "Million rounds a second in all, best of %d turns of %.1f s; bars for 2 and 8 workers: 1.7 and 1.5 times one.\n\n", $turns, $seconds;
table([ 'round', '1 worker', '2', '8', '2 / 1', '8 / 1', '' ], @rows);
