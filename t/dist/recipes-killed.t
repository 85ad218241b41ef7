#!/usr/bin/env perl
# Every recipe of the cookbook, as it is printed, while processes of it are killed in its middle: it
# runs whole the next time, on what the dead have left.
#
#     prove t/dist/recipes-killed.t :: TEXT    those with this text in their title
use strict;
use warnings;
use lib 't/lib';
use ChildTest;
use File::Temp 'tempdir';
use POSIX ();
use RecipeTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $kills = $ENV{SHM_RECIPE_KILLS} || 3;    # of each recipe

# It is started in a process group of its own; says through a pipe when its code begins.
sub start {
    my ($run, $script, $reader) = @_;
    pipe $$reader, my $writer or die "no pipe: $!\n";
    my $pid = fork // die "cannot fork: $!\n";
    if (!$pid) {
        setpgrp;
        chdir $run;
        POSIX::dup2(fileno $writer, 9);
        open STDIN,  '<',  '/dev/null';
        open STDOUT, '>',  "$run/said";
        open STDERR, '>&', \*STDOUT;
        exec perl_command(), ($ENV{RECIPE_DIES} ? '-d' : ()), $script or POSIX::_exit(99);
    }
    close $writer;
    return $pid;
}

# The processes of the group.
sub group_of {
    my ($leader) = @_;
    my @all;
    for my $stat (glob '/proc/[0-9]*/stat') {
        open my $in, '<', $stat or next;
        my ($pid, $group) = (readline($in) // '') =~ /\A(\d+) \(.*\) [^Z] \d+ (\d+)/s or next;
        push @all, $pid if $group == $leader;
    }
    return @all;
}

# Its exit status, or undef where it has not ended in time: then it is ended.
sub await_end {
    my ($pid, $seconds) = @_;
    my $until = time + $seconds;
    while (time < $until) {
        return $? if waitpid($pid, POSIX::WNOHANG()) == $pid;
        sleep 0.005;
    }
    return;
}

sub run_whole {
    my ($run, $script) = @_;
    my $pid    = start($run, $script, \my $reader);
    my $begun  = sysread $reader, my $byte, 1;
    my $then   = time;
    my $status = await_end($pid, 120);
    kill KILL => -$pid;
    return ($status, time - $then);
}

# Recipes whose slots stay on purpose: who runs them again and again has to empty the pool.
my %keeps = map { $_ => 1 } ('Keep something after its process has ended', 'Slots of a megabyte, on disk as they are used');

{
    my %known = map { $_->[0] => 1 } cookbook();
    die "no such recipe: $_\n" for grep { !$known{$_} } keys %keeps;
}

sub empty {
    my ($run,   $code) = @_;
    my ($class, $file) = $code =~ m{(Data::Pool::Shared\S*)->new\("\$run/(\w+)"};
    return system(perl_command(), '-MData::Pool::Shared', '-e', 'shift->attach(shift)->reset', $class, "$run/$file") == 0;
}

sub said { my ($run) = @_; open my $in, '<', "$run/said" or return ''; local $/ = undef; return scalar readline $in }

# Many a recipe is over before anybody could kill it from outside, however the machine is. So every
# second time each of its processes dies by itself, before the statement of this number: of the
# recipe's own and of the modules'.
my $begin = q{open my $begun, '>&=', 9; syswrite $begun, 1; close $begun; { no warnings 'once'; $DB::left = $ENV{RECIPE_DIES} }};
local $ENV{PERL5DB} = 'sub DB::DB { kill KILL => $$ if $DB::left && !--$DB::left }';

for my $recipe (grep { !@ARGV || index($_->[0], $ARGV[0]) >= 0 } cookbook()) {
    my ($title, $code, $prelude) = @$recipe;
    my $run    = tempdir(CLEANUP => 1);
    my $script = write_recipe($run, $code, "$prelude $begin");
    local $ENV{IPC_SHM_NAMESPACE} = "$run/namespace";
    my ($status, $long) = run_whole($run, $script);
    is $status, 0, $title or diag said($run);
    my $killed = 0;
    $long = 0.5 if $long > 0.5;

    for (my $try = 0; $killed < $kills && $try < 40 * $kills; $try++) {
        local $ENV{RECIPE_DIES} = $try % 2 && ($try == 1 ? 2 : int 2**rand 8);
        my $pid = start($run, $script, \my $reader);
        sysread $reader, my $byte, 1;
        if (!$ENV{RECIPE_DIES}) {
            sleep rand $long;
            my @all = group_of($pid);
            $killed++ if @all && kill KILL => $all[ rand @all ];
        }
        my $over = await_end($pid, 1);    # what is left may wait for who was killed
        $killed++ if $ENV{RECIPE_DIES} && ($over // 0) == POSIX::SIGKILL();
        kill KILL => -$pid;
        waitpid $pid, 0 if !defined $over;
        sleep 0.005 while group_of($pid);
    }
    ok $killed,            "… of which $killed processes are killed";
    ok empty($run, $code), '… and whose pool is emptied' if $keeps{$title};
    ($status) = run_whole($run, $script);
    is $status, 0, '… runs whole on what they have left' or diag said($run);
}
done_testing;
