#!/usr/bin/env perl
# Results of worker processes wake an event loop. Workers put what they find into
# slots and signal the pool's eventfd; the loop sleeps in between.
#
#     perl eg/event_loop.pl EV
#     perl eg/event_loop.pl IO::Async
use strict;
use warnings;
use Data::Pool::Shared;

my $WORKERS  = 3;
my $RESULTS  = 200;    # of each worker
my $PATIENCE = 60;     # seconds

# How each loop is told of a descriptor. The code that it calls returns whether all results
# have arrived; then the loop ends.
my %LOOPS = (
    'EV' => sub {
        my ($fd, $collect) = @_;
        require EV;
        my $results  = EV::io($fd, EV::READ(), sub { $collect->() and EV::break() });
        my $patience = EV::timer($PATIENCE, 0, sub { EV::break() });
        EV::run();
    },
    'IO::Async' => sub {
        my ($fd, $collect) = @_;
        require IO::Async::Handle;
        require IO::Async::Loop;
        open my $signals, '<&', $fd or die "eventfd: $!\n";    # a handle of our own: the pool closes its descriptor itself
        my $loop = IO::Async::Loop->new;
        $loop->add(IO::Async::Handle->new(read_handle => $signals, on_read_ready => sub { $collect->() and $loop->stop }));
        $loop->watch_time(after => $PATIENCE, code => sub { $loop->stop });
        $loop->run;
    },
);
my $run_loop = $LOOPS{ $ARGV[0] // 'EV' } or die "usage: event_loop.pl EV|IO::Async\n";

my $pool = Data::Pool::Shared::I64->new(undef, 64);
my $fd   = $pool->eventfd;                            # before fork: children share it

my @workers;
for my $worker (1 .. $WORKERS) {
    my $pid = fork // die "fork: $!\n";
    push @workers, $pid;
    next if $pid;
    for my $number (1 .. $RESULTS) {
        $pool->alloc_set($worker * 1000 + $number);    # waits while the pool is full
        $pool->notify;                                 # after the value is there
    }
    exit 0;
}

my ($wakeups, $got, $sum) = (0, 0, 0);

sub collect_results {
    $wakeups++;
    $pool->eventfd_consume;    # before looking: what comes later signals again
    for my $slot (@{ $pool->allocated_slots }) {
        my $value = $pool->get($slot) or next;    # 0: allocated, but its value is still to come
        $pool->free($slot);
        $got++;
        $sum += $value;
    }
    return $got == $WORKERS * $RESULTS;
}
$run_loop->($fd, \&collect_results);

kill TERM => @workers if $got < $WORKERS * $RESULTS;
waitpid $_, 0 for @workers;
my $expected = 0;
for my $worker (1 .. $WORKERS) { $expected += $worker * 1000 + $_ for 1 .. $RESULTS }
printf "%d results in %d wake-ups, sum %d\n", $got, $wakeups, $sum;
my $ok = $got == $WORKERS * $RESULTS && $sum == $expected && $pool->used == 0;
print $ok ? "Everything adds up.\n" : "WRONG: expected sum $expected\n";
exit($ok ? 0 : 1);
