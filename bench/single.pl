#!/usr/bin/env perl
# What the methods of a pool cost in one process, measured against an XS method
# that does nothing ("floor"), in the same loop, turn by turn.
#
#     perl -Mblib bench/single.pl [turns [calls a turn]]
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Turns qw(turns table verdict load_floor);
use Data::Pool::Shared;

my $turns = shift // 15;
my $n     = shift // 200_000;
my $floor = load_floor();

my %pool  = map { $_ => "Data::Pool::Shared::$_"->new(undef, 1000) } qw(I64 I32 F64);
my %slot  = map { $_ => $pool{$_}->alloc } keys %pool;
my $ints  = $pool{I64};
my $many  = $ints->alloc_n(64);
my $ones  = [ (1) x 64 ];
my $empty = Data::Pool::Shared::I64->new(undef, 1_000_000);
$ints->bind($ints->alloc, my $bound);

# A full pool, and a second handle of it, whose hint stays at the other end of the
# pool when the first handle frees a slot in the middle.
my $full = Data::Pool::Shared::I64->new_memfd(bench => 1_000_000);
$full->alloc_n(1_000_000, 0);
my $other = Data::Pool::Shared::I64->new_from_fd($full->memfd);

my %loop = (
    'floor 1' => sub {
        for my $i (1 .. $n) { $floor->call1(5) }
    },
    'floor 2' => sub {
        for my $i (1 .. $n) { $floor->call2(5, 42) }
    },
    'two floors' => sub {
        for my $i (1 .. $n) { my $s = $floor->call1(5); $floor->call1($s) }
    },
    'alloc' => sub {
        for my $i (1 .. $n) { my $s = $ints->alloc; $ints->free($s) }
    },
    'try_alloc' => sub {
        for my $i (1 .. $n) { my $s = $ints->try_alloc; $ints->free($s) }
    },
    'try_set' => sub {
        for my $i (1 .. $n) { my $s = $ints->try_alloc_set(42); $ints->free($s) }
    },
    'alloc_n' => sub {
        for my $i (1 .. $n / 64) { my $s = $ints->alloc_n(64); $ints->free_n($s) }
    },
    'get_n' => sub {
        for my $i (1 .. $n / 64) { $ints->get_n($many) }
    },
    'set_n' => sub {
        for my $i (1 .. $n / 64) { $ints->set_n($many, $ones) }
    },
    'add_n' => sub {
        for my $i (1 .. $n / 64) { $ints->add_n($many, $ones) }
    },
    'bound read' => sub {
        my $x;
        for my $i (1 .. $n) { $x = $bound }
    },
    'bound assign' => sub {
        for my $i (1 .. $n) { $bound = 42 }
    },
    'empty loop' => sub {
        for my $i (1 .. $n) { }
    },
    'empty pool' => sub {
        for my $i (1 .. $n) { my $s = $empty->alloc; $empty->free($s) }
    },
    'full pool' => sub {
        for my $i (1 .. $n) { $full->try_alloc }
    },
    'one of 10^6' => sub {
        for my $i (1 .. $n) { $full->free(500_000); $other->alloc }
    },
    map { class_loops($_) } keys %pool,
);

sub class_loops {
    my ($class) = @_;
    my ($pool, $slot) = ($pool{$class}, $slot{$class});
    return (
        "$class get" => sub {
            for my $i (1 .. $n) { $pool->get($slot) }
        },
        "$class set" => sub {
            for my $i (1 .. $n) { $pool->set($slot, 42) }
        },
        "$class add" => sub {
            for my $i (1 .. $n) { $pool->add($slot, 42) }
        },
    );
}

my $best = turns($turns, \%loop);
$_ *= 1e9 / $n for values %$best;
my ($one, $two, $pair) = map { $best->{$_} } 'floor 1', 'floor 2', 'two floors';
my $loop = $best->{'empty loop'};

# name, its nanoseconds, what it is measured against, the bar
my @rows = (
    (
        map {
            [ "$_ get", $best->{"$_ get"}, $one, 1.12 ], [ "$_ set", $best->{"$_ set"}, $two, 1.12 ],
                [ "$_ add", $best->{"$_ add"}, $two, 1.12 ]
        } qw(I64 I32 F64)
    ),
    [ 'alloc + free',                          $best->{alloc},                  $pair,                 1.6 ],
    [ 'try_alloc + free',                      $best->{try_alloc},              $pair,                 1.6 ],
    [ 'try_alloc_set + free',                  $best->{try_set},                $pair,                 2.0 ],
    [ 'alloc_n(64) + free_n, a slot',          $best->{alloc_n},                $pair,                 0.45 ],
    [ 'get_n(64), a slot',                     $best->{get_n},                  $one,                  0.5 ],
    [ 'set_n(64), a slot',                     $best->{set_n},                  $one,                  0.5 ],
    [ 'add_n(64), a slot',                     $best->{add_n},                  $one,                  0.5 ],
    [ 'read a bound scalar',                   $best->{'bound read'} - $loop,   $one - $loop,          0.6 ],
    [ 'assign a bound scalar',                 $best->{'bound assign'} - $loop, $two - $loop,          0.6 ],
    [ 'million slots, one free: free + alloc', $best->{'one of 10^6'},          $best->{'empty pool'}, 3 ],
    [ 'million slots, full: try_alloc',        $best->{'full pool'},            $best->{'empty pool'}, 3 ],
);
printf "Nanoseconds a call, best of %d turns of %d calls, loop included (subtracted from bound scalars and their floor).\n", $turns, $n;
printf "Floor: %.1f with one argument, %.1f with two, %.1f for two calls; empty loop %.1f.\n\n", $one, $two, $pair, $loop;
table(
    [ qw(what ns against ratio bar), '' ],
    map {
        [
            $_->[0],
            sprintf('%.1f', $_->[1]),
            sprintf('%.1f', $_->[2]),
            sprintf('%.2f', $_->[1] / $_->[2]),
            $_->[3],
            verdict($_->[1] / $_->[2] <= $_->[3])
        ]
    } @rows
);

my $start = Time::HiRes::time();
my $huge  = Data::Pool::Shared::I64->new(undef, 16_000_000);
my $ms    = (Time::HiRes::time() - $start) * 1e3;
printf "\nA pool of 16 million I64 slots: created in %.2f ms, %.1f MB resident (bars: 5 ms, 4 MB)\n", $ms, resident($huge->data_ptr) / 1024;

# Resident kilobytes of the mapping that an address lies in.
sub resident {
    my ($address) = @_;
    open my $maps, '<', '/proc/self/smaps' or die "/proc/self/smaps: $!\n";
    my $inside;
    no warnings 'portable';    # addresses have 64 bits
    while (my $line = <$maps>) {
        if    ($line =~ /^([0-9a-f]+)-([0-9a-f]+) /) { $inside = hex($1) <= $address && $address < hex $2 }
        elsif ($inside && $line =~ /^Rss:\s+(\d+)/)  { return $1 }
    }
    die "address not mapped\n";
}
