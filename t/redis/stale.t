use strict;
use warnings;
use lib 't/lib';
use RedisTest;
use Test::More;
use Time::HiRes ();

# A read that begins after a store has returned sees it; unless it may be stale.

my $server = server();
my $strict = engine($server->url);
my $loose  = engine($server->url('&stale=0.5'));
my $h      = hash($strict, '%main::h');
my $s      = hash($loose,  '%main::h');

# Another process stores, and says that it has.
pipe my $ask_r, my $ask_w or die $!;
pipe my $say_r, my $say_w or die $!;
my $other = child(
    sub {
        close $_ for $ask_w, $say_r;
        while (sysread $ask_r, my $x, 1) { tied(%$h)->add('n', 1); syswrite $say_w, "\n" }
    }
);
close $_ for $ask_r, $say_w;
$h->{n} = 0;
my ($stale, $n, $got) = (0, 0);
for (1 .. 10_000) {
    syswrite $ask_w, 'x';
    ChildTest::read_line($say_r);
    $n++;
    $got = $h->{n};
    $stale++ if $got != $n;
}
is $stale, 0, 'stale strict reads: none in 10,000';

my $add = sub {
    syswrite $ask_w, 'x';
    ChildTest::read_line($say_r);
    return ++$n;
};

# With `stale`, by the clock that there is: a copy is used, and not for ever.
{
    my $real = hash(engine($server->url('&stale=2')), '%main::h');
    my $then = Time::HiRes::time();
    my $was  = $real->{n};
    $add->();
    my $seen = $real->{n};
    SKIP: {
        skip 'this machine stood still for two seconds', 1 if Time::HiRes::time() - $then >= 2;
        is $seen, $was, 'with `stale` a copy is used';
    }
    ok ChildTest::until_true(sub { $real->{n} == $n }), '… and renewed in the end';
}

# When, by a clock of the test's: how busy the machine is does not matter.
my $clock = 1000;
{
    no warnings 'redefine';
    *IPC::Shm::Engine::Redis::Variable::now = *IPC::Shm::Engine::Redis::Connection::now = sub { return $clock };
}
$h->{other} = 'before';
my $was = $add->();
is $s->{n},     $was,     'with `stale`';
is $s->{other}, 'before', '… elements are copied';
$add->();
$clock += 0.49;
is $s->{n}, $was, '… and may be old';
$clock += 0.02;
is $s->{n}, $n, '… for as long as was allowed, and no longer';
$was = $n;
is $s->{other}, 'before', '(a copy)';
$add->();
$h->{other} = 'after';
$clock += 0.4;
is "$s->{other} $s->{n}", "before $was", 'copies hold';
is $s->{new},             undef,         '… until a look at another element';
is "$s->{other} $s->{n}", "after $n",    '… shows that there were changes: nobody looks back';
$s->{other} = 'mine';
$clock += 0.3;
is $s->{new}, undef, 'one look confirms all copies';
is $s->{n},   $n,    '(a copy)';
$clock += 0.3;
is $s->{new}, undef, '…';
my $asked = $server->ask('INFO', 'commandstats') =~ /cmdstat_hmget:calls=(\d+)/ ? $1 : 0;
is $s->{n},                                                                      $n,     '… of the same serial';
is $server->ask('INFO', 'commandstats') =~ /cmdstat_hmget:calls=(\d+)/ ? $1 : 0, $asked, '… without asking';
{
    my @array = (1, 2);
    my $a     = array($strict, '@main::a');
    my $b     = array($loose,  '@main::a');
    @$a = @array;
    is "@$b[0, 1] $#$b", '1 2 1', 'an array';
    is $b->[0],          1,       '(a copy)';
    unshift @$a, 0;
    is $b->[0], 1, '… copied';
    $clock += 0.6;
    is $b->[0], 0, '… for the time';
    my $x = scalar_of($strict, '$main::x');
    my $y = scalar_of($loose,  '$main::x');
    $$x = 1;
    is $$y, 1, 'a scalar';
    $$x = 2;
    is $$y, 1, '… copied';
    $clock += 0.6;
    is $$y, 2, '… for the time';
}
$s->{own} = 1;
is $s->{own}, 1, 'what this process stores it sees at once';
$s->{own} = 2;
is $s->{own}, 2, '… each time';
tied(%$s)->lock('write');
is $s->{n}, $n, 'under a lock reads are strict';
tied(%$s)->unlock;
close $ask_w;
finish($other);
done_testing;
