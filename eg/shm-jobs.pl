#!/usr/bin/env perl
# A job queue: a shared array. The producer pushes, workers shift, and whoever
# finds it empty sleeps until somebody changes it. push and shift are whole
# operations, so nothing is locked here. Exits with 1 if a job was lost or done
# twice.
use strict;
use warnings;
use IPC::Shm;

my $WORKERS = 4;
my $JOBS    = 2000;

my @jobs : shm;        # lexicals: the children see them, and they are gone with the last process
my %result : shm;      # job => its result
my $done : shm = 0;    # jobs done

sub work {
    while (1) {
        my $job = shift @jobs;
        if    (!defined $job)  { (tied @jobs)->wait_change(10) }
        elsif ($job eq 'stop') {return}
        else {
            $result{$job} = $job**2;
            (tied $done)->add(1);
        }
    }
}

my @workers;
for (1 .. $WORKERS) {
    my $pid = fork // die "fork: $!\n";
    if (!$pid) { work(); exit 0 }
    push @workers, $pid;
}

push @jobs, $_ for 1 .. $JOBS - 100;
push @jobs, $JOBS - 99 .. $JOBS;       # one push, one change
push @jobs, ('stop') x $WORKERS;

my $failed = 0;
for my $pid (@workers) {
    waitpid $pid, 0;
    $failed++ if $? != 0;
}

my $sum = 0;
$sum += $_ for values %result;
printf "%d jobs done, %d results, sum %d\n", $done, scalar keys %result, $sum;
my $expected = $JOBS * ($JOBS + 1) * (2 * $JOBS + 1) / 6;
exit(!$failed && $done == $JOBS && keys %result == $JOBS && $sum == $expected ? 0 : 1);
