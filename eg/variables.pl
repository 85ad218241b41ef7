#!/usr/bin/env perl
# A C program and a Perl program on the same variables: a queue, a hash and a counter. Both take
# words from the queue, and store how long they are (see variables.c). Needs a C
# compiler, and pool.h, pool.c and store/ beside the folder of this file.
use strict;
use warnings;
use Config;
use File::Basename qw(dirname);
use File::Temp     ();

my $folder;
BEGIN { $folder = File::Temp->newdir('variables-XXXXXX', TMPDIR => 1) }
use IPC::Shm namespace => "$folder/namespace";

our @queue : shm;
our %length : shm;
our $done : shm = 0;

my $here    = dirname(__FILE__);
my @sources = ("$here/variables.c", "$here/../pool.c", glob "$here/../store/*.c");
my @compile = (split(' ', $Config{cc}), '-O1', "-I$here/..", '-o', "$folder/measure", @sources, '-lpthread');
system(@compile) == 0 or die "cannot compile: @compile\n";

my $WORDS = 1_000;
my @words = map { 'x' x (1 + $_ % 20) . $_ } 1 .. $WORDS;
push @queue, @words;

my $in_c = fork // die "fork: $!\n";
if (!$in_c) { exec "$folder/measure", "$folder/namespace" or die "exec: $!\n" }

my $in_perl = fork // die "fork: $!\n";
if (!$in_perl) {
    while (1) {
        my $word = shift @queue;
        if (!defined $word) { (tied @queue)->wait_change(10) or last; next }
        last if $word eq 'stop';
        $length{$word} = length $word;
        (tied $done)->add(1);
    }
    exit 0;
}

push @queue, ('stop') x 2;
my $ok = 1;
for my $pid ($in_c, $in_perl) {
    waitpid $pid, 0;
    $ok = 0 if $? != 0;
}
my $right = grep { ($length{$_} // -1) == length } @words;
print "$done words were measured, $right of them right\n";
$ok = 0 if $done != $WORDS || $right != $WORDS || keys %length != $WORDS;
print $ok ? "Everything adds up.\n" : "WRONG: expected $WORDS\n";
IPC::Shm->cleanup;
exit($ok ? 0 : 1);
