#!/usr/bin/env perl
# What IPC::Shm costs on Redis: rates as ratios to a bare HGET of Redis::Fast in the same run,
# candidates taking turns, best of several. Server and clients on this machine.
#
#     perl -Mblib bench/redis.pl [rounds]
use strict;
use warnings;
use File::Temp ();
use POSIX      ();
use Redis::Fast;
use Time::HiRes qw(time sleep);
use IPC::Shm;
use IPC::Shm::Engine::Redis;

my $rounds = shift // 7;
my $dir    = File::Temp::tempdir(CLEANUP => 1);
my $main   = $$;
defined(my $server = fork) or die $!;
if (!$server) {
    # Whatever ends this program ends the server.
    my @guarded = -x '/usr/bin/setpriv' ? qw(/usr/bin/setpriv --pdeathsig KILL) : ();
    exec @guarded, 'redis-server', '--port', 0, '--unixsocket', "$dir/socket", '--save', '', '--dir', $dir, '--logfile', "$dir/log"
        or POSIX::_exit(1);
}

# By way of END, which also has the folder removed.
local @SIG{qw(INT TERM HUP PIPE)} = (sub { exit 1 }) x 4;

END {
    if ($server && $$ == $main) { kill 'KILL', $server; waitpid $server, 0 }
}
sleep 0.05 until -S "$dir/socket";

my $url    = "redis+unix://$dir/socket?prefix=bench";
my $bare   = Redis::Fast->new(sock => "$dir/socket", reconnect => 0);
my $engine = IPC::Shm::Engine::Redis->open($url);
my $loose  = IPC::Shm::Engine::Redis->open("$url&stale=0.5");
my $object = $engine->variable(3, '%main::h', 1);
my $h      = $engine->container($object);
my $l      = $loose->container(my $kept = $loose->variable(3, '%main::h', 1));
my @pairs  = map { ("key $_" => "value $_") } 1 .. 1000;
my @values = map {"value $_"} 1 .. 1000;
my $array  = $engine->container($engine->variable(2, '\@main::a', 1));
$h->{"key $_"} = $_ for 1 .. 100;
$bare->hset('bare', "key $_", $_) for 1 .. 100;

my @candidates = (
    [ 'bare HGET',           undef, 2000, sub { $bare->hget('bare', 'key 50') } ],
    [ 'strict fetch',        0.70,  2000, sub { my $x          = $h->{'key 50'} } ],
    [ 'store',               0.38,  1000, sub { $h->{'key 50'} = 'value' } ],
    [ 'store a number',      0.38,  1000, sub { $h->{'key 50'} = 7 } ],
    [ 'add',                 0.38,  1000, sub { $object->add('n', 1) } ],
    [ 'writelock + unlock',  0.22,  1000, sub { $object->lock('write', undef); $object->unlock } ],
    [ 'fetch with stale',    1.5,   4000, sub { my $x   = $l->{'key 50'} } ],
    [ 'list of 1,000 pairs', undef, 10,   sub { %$h     = @pairs } ],
    [ 'list of 1,000',       undef, 10,   sub { @$array = @values } ],
);
my %best;

for (1 .. $rounds) {
    for my $candidate (@candidates) {
        my ($name, undef, $n, $code) = @$candidate;
        for (1 .. 5) {    # short, so that some of them have the processor to themselves
            my $began = time;
            $code->() for 1 .. $n / 5;
            my $each = (time - $began) * 5 / $n;
            $best{$name} = $each if !$best{$name} || $each < $best{$name};
        }
    }
}
printf "%-24s %10s %8s %8s\n", '', 'us', 'ratio', 'wanted';
for my $candidate (@candidates) {
    my ($name, $wanted) = @$candidate;
    printf "%-24s %10.1f %8.2f %8s\n", $name, 1e6 * $best{$name}, $best{'bare HGET'} / $best{$name}, defined $wanted ? ">= $wanted" : '';
}
printf "%-24s %10.1f stores (<= 12)\n", $_, $best{$_} / $best{'store'} for 'list of 1,000 pairs', 'list of 1,000';

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return $sorted[ @sorted / 2 ];
}

# How long until a killed holder's lock is taken over.
my @takeover;
for (1 .. 15) {
    pipe my $r, my $w or die $!;
    my $pid = fork // die $!;
    if (!$pid) { $object->lock('write', undef); syswrite $w, 'x'; sleep 60; POSIX::_exit(0) }
    sysread $r, my $x, 1;
    my $killer = fork // die $!;
    if (!$killer) { sleep 0.05; kill 'KILL', $pid; syswrite $w, pack 'd', time; POSIX::_exit(0) }
    $object->lock('write', undef);
    my $end = time;
    sysread $r, my $when, 8;
    push @takeover, $end - unpack 'd', $when;
    $object->unlock;
    waitpid $_, 0 for $pid, $killer;
}
printf "%-24s %10.1f ms median, %.1f at most (<= 60)\n", 'takeover after kill -9', 1000 * median(@takeover),
    1000 * (sort { $b <=> $a } @takeover)[0];

# How long until a waiter knows of a change.
{
    pipe my $r, my $w or die $!;
    my $pid = fork // die $!;
    if (!$pid) {
        for (1 .. 101) { my $x = $h->{n}; $object->wait_change(5); syswrite $w, pack 'd', time; }
        POSIX::_exit(0);
    }
    my @delay;
    for (1 .. 101) {
        sleep 0.005;
        my $began = time;
        $object->add('n', 1);
        sysread $r, my $when, 8;
        push @delay, unpack('d', $when) - $began;
    }
    waitpid $pid, 0;
    printf "%-24s %10.2f ms median (<= 2)\n", 'wait_change', 1000 * median(@delay);
}

# What fork costs more.
{
    my $fork = sub {
        my @times;
        for (1 .. 40) {
            my $began = time;
            my $pid   = fork // die $!;
            POSIX::_exit(0) if !$pid;
            push @times, time - $began;
            waitpid $pid, 0;
        }
        return median(@times);
    };
    my $with = $fork->();
    my %all;
    {
        no warnings 'redefine';
        local *IPC::Shm::Engine::Redis::Connection::before_fork          = sub { };
        local *IPC::Shm::Engine::Redis::Connection::after_fork_in_parent = sub { };
        local *IPC::Shm::Engine::Redis::Connection::after_fork_in_child  = sub { };
        printf "%-24s %10.2f ms more (<= 3; two namespaces are open)\n", 'fork', 1000 * ($with - $fork->());
    }
}

# Additions of six processes.
{
    my $before = $h->{sum} // 0;
    my $began  = time;
    my @pids   = map {
        my $pid = fork // die $!;
        if (!$pid) { $object->add('sum', 1) for 1 .. 1000; POSIX::_exit(0) }
        $pid;
    } 1 .. 6;
    waitpid $_, 0 for @pids;
    printf "%-24s %10d (6000), %.1f us each\n", '6 processes add', $h->{sum} - $before, 1e6 * (time - $began) / 6000;
}
