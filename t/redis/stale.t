use strict;
use warnings;
use lib 't/lib';
use RedisTest;
use Test::More;
use Time::HiRes qw(time sleep);

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
        while (sysread $ask_r, my $x, 1) { tied(%$h)->add('n', 1); syswrite $say_w, 'x' }
    }
);
close $_ for $ask_r, $say_w;
$h->{n} = 0;
my ($stale, $n, $got) = (0, 0);
for (1 .. 10_000) {
    syswrite $ask_w, 'x';
    sysread $say_r, my $x, 1;
    $n++;
    $got = $h->{n};
    $stale++ if $got != $n;
}
is $stale, 0, 'stale strict reads: none in 10,000';

my ($old, $oldest) = (0, 0);
my $first = $s->{n};
my $end   = time + 2;
my $reads = 0;
while (time < $end) {
    syswrite $ask_w, 'x';
    sysread $say_r, my $x, 1;
    $n++;
    my $stored = time;
    $old++ if $s->{n} != $n;
    $reads++;
    if ($reads % 50 == 0) {
        sleep 0.001 while $s->{n} < $n && time < $stored + 60;
        my $age = time - $stored;
        $oldest = $age if $age > $oldest;
    }
}
cmp_ok $old,    '>',  0,   'with `stale` some are';
cmp_ok $oldest, '<',  30,  sprintf '… for a while only (%.2f seconds at most)', $oldest;
cmp_ok $oldest, '<=', 0.6, '… the one that was promised' if $ENV{AUTOMATED_TESTING};
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
