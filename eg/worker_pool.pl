#!/usr/bin/env perl
# A pre-forked worker pool that shares slots and counters. Each job takes a slot,
# works in it and gives it back; counters are added to atomically. One worker is
# killed in the middle of a job; the survivors recover its slot. At the end the
# figures in a table must add up, or this program exits with 1.
use strict;
use warnings;
use Data::Pool::Shared;

my $WORKERS = 4;
my $JOBS    = 20_000;    # in all
my $DEADLY  = 10_000;    # who draws this job is killed in the middle of it

# Anonymous pools: the children inherit them. Give a path instead of undef to
# share with programs that are started on their own.
my $slots    = Data::Pool::Shared::Str->new(undef, 8, 64);    # what is being worked on
my $counters = Data::Pool::Shared::I64->new(undef, 3 + 3 * $WORKERS);

my ($next_job, $recovered, $unfinished) = @{ $counters->alloc_n(3) };
my @done   = @{ $counters->alloc_n($WORKERS) };               # jobs a worker finished
my @sum    = @{ $counters->alloc_n($WORKERS) };               # and the sum of their numbers
my @in_job = @{ $counters->alloc_n($WORKERS) };               # the job a worker is in; 0: none

sub work_on_jobs {
    my ($worker) = @_;
    $counters->bind($in_job[$worker], my $current);           # assigning to $current is seen by all
    while ((my $job = $counters->incr($next_job)) <= $JOBS) {
        $current = $job;
        my ($slot, $guard) = $slots->alloc_guard(10) or die "worker $worker: no slot within 10 seconds\n";
        $slots->set($slot, "worker $worker, job $job");
        if ($job == $DEADLY) {
            $guard->cancel;    # so that not even a destructor can help
            kill KILL => $$;
        }
        $counters->add_n([ $done[$worker], $sum[$worker] ], [ 1, $job ]);
        $current = 0;
    }
    return;
}

my (%worker_of, %killed);
for my $worker (0 .. $WORKERS - 1) {
    my $pid = fork // die "fork: $!\n";
    if (!$pid) { work_on_jobs($worker); exit 0 }
    $worker_of{$pid} = $worker;
}

# The master notices deaths, and says which job was lost.
while ((my $pid = waitpid -1, 0) > 0) {
    next if $? == 0;
    my $worker = $worker_of{$pid};
    $killed{$worker} = 1;
    $counters->set($unfinished, $counters->get($in_job[$worker]));
    my $freed = $slots->recover_stale(
        sub {
            my ($slot, $owner) = @_;
            printf "worker %d (PID %d) died of signal %d in \"%s\": slot %d recovered\n", $worker, $owner, $? & 127, $slots->get($slot),
                $slot;
        }
    );
    $counters->add($recovered, $freed);
}

my ($done, $sum) = (0, 0);
print "\nworker      jobs            sum\n";
for my $worker (0 .. $WORKERS - 1) {
    my ($n, $s) = @{ $counters->get_n([ $done[$worker], $sum[$worker] ]) };
    printf "%6d  %8d  %13d%s\n", $worker, $n, $s, $killed{$worker} ? '   killed' : '';
    $done += $n;
    $sum  += $s;
}
my $lost  = $counters->get($unfinished);
my $stats = $slots->stats;
printf "  lost  %8d  %13d\n",   $lost ? 1 : 0, $lost;
printf "   all  %8d  %13d\n\n", $done + 1,     $sum + $lost;
printf "slots: %d allocations, %d recovered, %d still in use\n", @$stats{qw(allocs recoveries used)};

my %expected = (
    'jobs'                    => [ $done + 1,                                              $JOBS ],
    'the sum of all jobs'     => [ $sum + $lost,                                           $JOBS * ($JOBS + 1) / 2 ],
    'slots recovered'         => [ $counters->get($recovered),                             1 ],
    'slots still in use'      => [ $stats->{used},                                         0 ],
    'allocations'             => [ $stats->{allocs},                                       $JOBS ],
    'slots free for the next' => [ scalar @{ $slots->alloc_n($slots->capacity, 0) // [] }, $slots->capacity ],
);
my @wrong = grep { $expected{$_}[0] != $expected{$_}[1] } sort keys %expected;
print "WRONG: $_: $expected{$_}[0], expected $expected{$_}[1]\n" for @wrong;
print "Everything adds up.\n" if !@wrong;
exit(@wrong ? 1 : 0);
