#!/usr/bin/perl
# A job queue: a shared array, workers that sleep until it changes.
#
#     perl eg/shm/jobs.pl [workers [jobs]]
use strict;
use warnings;
use IPC::Shm;

my ($workers, $jobs) = (@ARGV, 4, 100)[ 0, 1 ];
$jobs = 100 if @ARGV < 2;

my @queue : shm;     # { id, n } to be done; undef in place of a job: go home
my %result : shm;    # id -> sum
my $done : shm = 0;

sub work {
    while (1) {
        my $job = shift @queue;    # atomic: one worker gets it
        if (!defined $job) { (tied @queue)->wait_change(10); next }
        return if $job->{home};
        my $sum = 0;
        $sum += $_ for 1 .. $job->{n};
        $result{ $job->{id} } = $sum;
        (tied $done)->add(1);
    }
}

my @pids;
for (1 .. $workers) {
    defined(my $pid = fork) or die "cannot fork: $!";
    if (!$pid) { work(); exit 0 }
    push @pids, $pid;
}
push @queue, { id => $_, n => $_ * 10 } for 1 .. $jobs;
push @queue, map { { home => 1 } } 1 .. $workers;
waitpid $_, 0 for @pids;

my $wrong = grep { $result{$_} != $_ * 10 * ($_ * 10 + 1) / 2 } 1 .. $jobs;
print "$done jobs done by $workers workers, $wrong wrong\n";
exit($wrong || $done != $jobs ? 1 : 0);
