#!/usr/bin/env perl
# What the calls for one element cost, beside a plain store, and beside Cache::FastMmap and
# IPC::Shareable where they are installed.
#
#     perl -Mblib bench/elements.pl [--turns 5] [--calls 50000]
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use File::Temp ();
use Getopt::Long 'GetOptions';
use Time::HiRes 'time';
use Turns qw(turns table verdict);

my ($turns, $calls) = (5, 50_000);
GetOptions('turns=i' => \$turns, 'calls=i' => \$calls) or die "usage: $0 [--turns N] [--calls N]\n";

my $folder;

BEGIN {
    $folder = File::Temp::tempdir('bench-elements-XXXXXX', DIR => '/dev/shm', CLEANUP => 1);
    $ENV{IPC_SHM_NAMESPACE} = "$folder/namespace";
}
use IPC::Shm;

our %h : shm;
our %timed : shm;
our @q : shm;
my ($hash, $timed, $queue) = (tied %h, tied %timed, tied @q);
my @keys = map {"key$_"} 0 .. 15;
$h{$_} = 0 for @keys;

my %candidate = (
    'store'             => sub { $h{ $keys[ $_ & 15 ] } = $_        for 1 .. $calls },
    'STORE'             => sub { $hash->STORE($keys[ $_ & 15 ], $_) for 1 .. $calls },
    'add'               => sub { $hash->add($keys[ $_ & 15 ], 1)    for 1 .. $calls },
    'insert (is there)' => sub { $hash->insert($keys[ $_ & 15 ], 1) for 1 .. $calls },
    'update'            => sub {
        $hash->update($keys[ $_ & 15 ], sub { $_++ }) for 1 .. $calls;
    },
    'get'         => sub { my $v; $v = $h{ $keys[ $_ & 15 ] }      for 1 .. $calls },
    'store()'     => sub { $hash->store($keys[ $_ & 15 ], $_)      for 1 .. $calls },
    'store(60 s)' => sub { $timed->store($keys[ $_ & 15 ], $_, 60) for 1 .. $calls },
    'push + take' => sub {
        for (1 .. $calls) { push @q, $_; $queue->take(0) }
    },
    'reserve + done' => sub {
        @q = (1 .. $calls);
        for (1 .. $calls) { my (undef, $t) = $queue->reserve(0); $queue->done($t) }
    },
);
if (eval { require Cache::FastMmap; 1 }) {
    my $cache = Cache::FastMmap->new(share_file => "$folder/cache", raw_values => 1, init_file => 1, unlink_on_exit => 1);
    $candidate{'FastMmap set'}         = sub { $cache->set($keys[ $_ & 15 ], $_) for 1 .. $calls };
    $candidate{'FastMmap get'}         = sub { $cache->get($keys[ $_ & 15 ])     for 1 .. $calls };
    $candidate{'FastMmap get_and_set'} = sub {
        $cache->get_and_set($keys[ $_ & 15 ], sub { ($_[1] // 0) + 1 }) for 1 .. $calls;
    };
}
my %calls_of = map { $_ => $calls } keys %candidate;
if (eval { require IPC::Shareable; 1 }) {
    my $few = $calls_of{'Shareable store'} = int($calls / 50) || 1;
    if (tie my %s, 'IPC::Shareable', { key => "be$$", create => 1, destroy => 1 }) {
        $candidate{'Shareable store'} = sub { $s{ $keys[ $_ & 15 ] } = $_ for 1 .. $few };
    }
}
my $best = turns($turns, \%candidate);
my %us   = map { $_ => $best->{$_} / $calls_of{$_} * 1e6 } keys %$best;
table([ 'call', 'us', 'stores' ],
    map { [ $_, sprintf('%.3f', $us{$_}), sprintf('%.2f', $us{$_} / $us{store}) ] } sort { $us{$a} <=> $us{$b} } keys %us);

# Eight processes add to 16 keys, against one.
sub rate {
    my ($processes) = @_;
    my $start       = time;
    my @pids        = map {
        my $pid = fork // die "fork: $!";
        if (!$pid) { $candidate{add}->(); require POSIX; POSIX::_exit(0) }
        $pid
    } 1 .. $processes;
    waitpid $_, 0 for @pids;
    return $processes * $calls / (time - $start);
}
my $together = turns(3 * $turns, { one => 1, eight => 8 }, measure => \&rate, most => 1);

# A sweep of 50,000 that have expired among 100,000: microseconds an element looked at, and how many it found.
sub sweep {
    %timed = ();
    $timed->store("stays$_", 1, undef) for 1 .. 50_000;
    $timed->store("goes$_",  1, 0.5)   for 1 .. 50_000;
    select undef, undef, undef, 0.6;
    my $start = time;
    my $swept = $timed->sweep;
    return [ (time - $start) / 100_000 * 1e6, $swept ];
}
my ($best_sweep) = sort { $a->[0] <=> $b->[0] } map { sweep() } 1 .. $turns;
my ($sweep, $swept) = @$best_sweep;
printf "sweep: %d of 100,000 in %.3f us an element looked at (some went with the stores)\n\n", $swept, $sweep;

my @bar = (
    [ 'add, of a store',                           $us{add} / $us{store},                 1.3 ],
    [ 'one process, of eight that add to 16 keys', $together->{one} / $together->{eight}, 1 / 0.8 ],
    [ 'store with expiry, of one without',         $us{'store(60 s)'} / $us{'store()'},   1.1 ],
    [ 'sweep, us an element',                      $sweep,                                0.2 ],
    [ 'take + push, of a store',                   $us{'push + take'} / $us{store},       2.5 ],
);
push @bar, [ 'get, of Cache::FastMmap', $us{get} / $us{'FastMmap get'}, 0.25 ],
    [ 'set, of Cache::FastMmap',                   $us{store} / $us{'FastMmap set'},          0.25 ],
    [ 'update, of get_and_set of Cache::FastMmap', $us{update} / $us{'FastMmap get_and_set'}, 0.25 ]
    if $us{'FastMmap get'};
push @bar, [ 'store, of IPC::Shareable', $us{store} / $us{'Shareable store'}, 0.1 ] if $us{'Shareable store'};
table([ 'bar', 'is', 'at most', '' ],
    map { [ $_->[0], sprintf('%.2f', $_->[1]), sprintf('%.2f', $_->[2]), verdict($_->[1] <= $_->[2]) ] } @bar);
IPC::Shm->cleanup;
