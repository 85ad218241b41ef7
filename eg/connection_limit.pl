#!/usr/bin/env perl
# Limit the number of jobs that run at once, in any number of processes: a job that wants to
# run takes a slot, and waits if there is none. If a process is killed while it holds
# a slot, nobody is blocked for long: those who wait recover the slot.
use strict;
use warnings;
use File::Temp  ();
use Time::HiRes qw(sleep);
use Data::Pool::Shared;

my $LIMIT  = 3;
my $JOBS   = 20;
my $KILLED = 7;    # this job is killed while it runs

my $folder = File::Temp->newdir('limit-XXXXXX', TMPDIR => 1);
my $path   = "$folder/connections";

# Only to check the result: jobs running now, and the most that ever ran at once.
my $count = Data::Pool::Shared::I64->new(undef, 3);
my ($running, $most, $finished) = @{ $count->alloc_n(3) };

# What the processes have in common is the path.
sub job {
    my ($number) = @_;
    my $limit = Data::Pool::Shared::I64->new($path, $LIMIT);
    $limit->auto_recover(0.05);
    my ($slot, $guard) = $limit->alloc_guard(60) or die "job $number: no connection within a minute\n";
    $limit->set($slot, $number);

    my $now = $count->incr($running);
    my $old = $count->get($most);
    $old = $count->cmpxchg($most, $old, $now) while $old < $now;
    print "job $number runs beside " . ($now - 1) . " others\n";
    sleep 0.02;
    $count->decr($running);
    kill KILL => $$ if $number == $KILLED;    # neither guard nor destructor runs
    $count->incr($finished);
    return;                                   # the guard gives the slot back
}

$| = 1;
for my $number (1 .. $JOBS) {
    my $pid = fork // die "fork: $!\n";
    if (!$pid) { job($number); exit 0 }
}
my @failed;
while ((my $pid = wait) > 0) { push @failed, $pid if $? }

my $limit = Data::Pool::Shared->attach($path);
$limit->recover_stale;
my %expected = (
    'jobs at once, at most'  => [ $count->get($most),          $LIMIT ],
    'jobs finished'          => [ $count->get($finished),      $JOBS - 1 ],
    'jobs killed'            => [ scalar @failed,              1 ],
    'connections recovered'  => [ $limit->stats->{recoveries}, 1 ],
    'connections still used' => [ $limit->used,                0 ],
);
my $wrong = 0;
for my $what (sort keys %expected) {
    my ($is, $should) = @{ $expected{$what} };
    my $ok = $what =~ /most/ ? $is >= 1 && $is <= $should : $is == $should;
    printf "%-24s %3d%s\n", $what, $is, $ok ? '' : "   WRONG, expected $should";
    $wrong ||= !$ok;
}
exit($wrong ? 1 : 0);
