#!/usr/bin/perl
# A job queue whose workers are killed at random: no job is lost, and each is in the ledger
# exactly once.
#
#     perl eg/shm/jobs.pl [jobs of each producer [kills]]
#
# Four producers push, four workers reserve. If a worker is killed, the others get what it had
# reserved. It may have been killed after its work and before it called done(): then the job is
# done again. Even so, it is in the ledger once, and counted once: what the sub of done() stores
# is one change together with the end of the job.
use strict;
use warnings;
use IPC::Shm;
use Time::HiRes qw(sleep);

my $each  = shift // 100;
my $kills = shift // 20;

my @queue : shm;         # jobs: { id, n }
my %ledger : shm;        # id -> sum, one line a job
my %times : shm;         # id -> how often it was done
my $count : shm  = 0;    # of what is in the ledger
my $pushed : shm = 0;
my ($queue, $ledger, $times) = (tied @queue, tied %ledger, tied %times);

sub spawn {
    my ($code) = @_;
    defined(my $pid = fork) or die "cannot fork: $!";
    return $pid if $pid;
    $code->();
    exit 0;
}

sub produce {
    my ($producer) = @_;
    for my $i (1 .. $each) {
        push @queue, { id => "$producer.$i", n => $i };
        (tied $pushed)->add(1);
        sleep 0.0005;
    }
}

sub work {
    while (my ($job, $ticket) = $queue->reserve) {
        my $sum = 0;
        $sum += $_ for 1 .. $job->{n};
        $times->add($job->{id}, 1);
        $queue->done($ticket, sub { $ledger->insert($job->{id}, $sum); (tied $count)->add(1) });
    }
}

my @producers = map {
    my $n = $_;
    spawn(sub { produce($n) })
} 1 .. 4;
my @workers = map { spawn(\&work) } 1 .. 4;
for (1 .. $kills) {
    sleep 0.002 + rand 0.01;
    my $victim = int rand @workers;
    kill KILL => $workers[$victim];
    waitpid $workers[$victim], 0;
    $workers[$victim] = spawn(\&work);
}
waitpid $_, 0 for @producers;
sleep 0.01 while @queue || $queue->reserved;
kill TERM => @workers;
waitpid $_, 0 for @workers;

my @ids = map {
    my $p = $_;
    map {"$p.$_"} 1 .. $each
} 1 .. 4;
my $lost  = grep { !exists $ledger{$_} } @ids;
my $wrong = grep { my ($i) = /\.(\d+)/; ($ledger{$_} // 0) != $i * ($i + 1) / 2 } @ids;
my $again = grep { $_ > 1 } values %times;
print "$pushed jobs, $kills kills: $lost lost, $wrong wrong, ", scalar(keys %ledger), " in the ledger, $count counted\n";
print "$again were done more than once\n";
exit($lost || $wrong || keys %ledger != $pushed || $count != $pushed ? 1 : 0);
