#!/usr/bin/env perl
# A C program and a Perl program on one pool. Perl puts numbers into slots, C squares
# them in place (see c_and_perl.c), Perl collects them and frees the slots. Needs a C
# compiler, and pool.h and pool.c beside the folder of this file.
use strict;
use warnings;
use Config;
use File::Basename qw(dirname);
use File::Temp     ();
use Time::HiRes    qw(sleep);
use Data::Pool::Shared;

my $NUMBERS = 1_000;
my $here    = dirname(__FILE__);
my $folder  = File::Temp->newdir('squares-XXXXXX', TMPDIR => 1);
my @compile = (split(' ', $Config{cc}), '-O2', "-I$here/..", '-o', "$folder/squares", "$here/c_and_perl.c", "$here/../pool.c", '-lpthread');
system(@compile) == 0 or die "cannot compile: @compile\n";

my $path  = "$folder/numbers";
my $pool  = Data::Pool::Shared::I64->new($path, 20);
my $guard = $pool->alloc_guard;                        # the slot in which the end is told

$| = 1;
my $pid = fork // die "fork: $!\n";
if (!$pid) { exec "$folder/squares", $path or die "exec: $!\n" }

my ($next, $got, $sum) = (1, 0, 0);
my $deadline = time + 60;
while ($got < $NUMBERS && time < $deadline) {
    while ($next <= $NUMBERS && defined $pool->try_alloc_set($next)) { $next++ }
    my $before = $got;
    for my $slot (grep { $pool->get($_) < 0 } @{ $pool->allocated_slots }) {
        $sum -= $pool->get($slot);
        $got++;
        $pool->free($slot);
    }
    sleep 0.001 if $got == $before;
}
$pool->set($guard->index, ~0 >> 1);
waitpid $pid, 0;

my $expected = $NUMBERS * ($NUMBERS + 1) * (2 * $NUMBERS + 1) / 6;
print "the Perl program got $got of them, sum $sum\n";
my $ok = $? == 0 && $got == $NUMBERS && $sum == $expected;
print $ok ? "Everything adds up.\n" : "WRONG: expected $NUMBERS numbers, sum $expected\n";
exit($ok ? 0 : 1);
