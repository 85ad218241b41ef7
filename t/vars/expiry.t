use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use Time::HiRes qw(sleep time);
use IPC::Shm;

# Elements that vanish, and hashes with a limit.

our %h : shm;
my $hash = tied %h;

sub dies {
    my ($code) = @_;
    return eval { $code->(); 1 } ? '' : $@;
}

$hash->store(long  => 2, 1000);
$hash->store(never => 3, undef);
$hash->store(plain => 4);
my ($values, $left, $other) = in_time(
    1,
    sub {
        $hash->store(short => 1, 1);
        return ("@h{qw(short long never plain)}", $hash->ttl('short'), in_child(sub { exists $h{short} ? 1 : 0 }));
    }
);
is $values, '1 2 3 4', 'stored with and without a time limit';
ok $left > 0 && $left <= 1, 'ttl' or diag $left;
cmp_ok $hash->ttl('long'), '>', 950, '… of one that lasts';
is $hash->ttl('never'),  undef, '… of one that never vanishes';
is $hash->ttl('plain'),  undef, '… nor this one';
is $hash->ttl('absent'), -1,    '… of one that is not there';
is $other,               1,     'another process sees it';
sleep 1.05;
ok !exists $h{short}, 'vanished: for exists';
is $h{short},               undef,              '… fetch';
is join(',', sort keys %h), 'long,never,plain', '… keys';
is scalar(keys %h),         3,                  '… count';
is scalar(%h) ? 1 : 0,      1,                  '… truth';
my $n = 0;
while (my ($k) = each %h) { $n++; isnt $k, 'short', '… each' }
is $n, 3, '… which gives the others';
ok !exists {%h}->{short}, '… a copy';
is(exists((tied %h)->copy->{short}) ? 1 : 0, 0, '… copy');
{
    my $guard = $hash->lock_guard;
    is eval { join ' ', sort keys %{ $hash->copy } } // $@, join(' ', sort keys %h), '… nor a copy under a lock';
}
is in_child(sub { exists $h{short} ? 1 : 0 }), 0,  '… for all';
is $hash->ttl('short'),                        -1, '… ttl';
ok !$hash->touch(short => 10), '… and touch comes too late';
is $hash->add(short => 1), 1,     'an addition begins anew';
is $hash->ttl('short'),    undef, '… and with no time limit';
$hash->store(short => 1, 0.05);
sleep 0.06;
ok $hash->insert(short => 2), 'insert where one has vanished';

# --- touch, and what keeps the time
ok $hash->touch(long => 500), 'touch';
cmp_ok $hash->ttl('long'), '<=', 500, '… is the new time limit';
$hash->add(long => 1);
is $h{long}, 3, 'add';
cmp_ok $hash->ttl('long') // 0, '>', 0, '… keeps the time limit';
$hash->update(long => sub { $_++ });
cmp_ok $hash->ttl('long') // 0, '>', 0, 'update, too';
$hash->exchange(long => 9);
cmp_ok $hash->ttl('long') // 0, '>', 0, 'exchange, too';
$h{long} = 1;
is $hash->ttl('long'), undef, 'a plain store does not';
ok $hash->touch(long => undef), 'touch with undef';
is $hash->ttl('long'), undef, '… never';

# --- a default
$hash->expire(0.3);
$h{default} = 1;
$hash->add(counter => 1);
$hash->store(own   => 1, 100);
$hash->store(stays => 1, undef);
cmp_ok $hash->ttl($_) // 9, '<=', 0.3, "expire: for $_" for qw(default counter);
cmp_ok $hash->ttl('own'),   '>',  1,   '… not with a limit of its own';
is $hash->ttl('stays'), undef, '… nor without one';
$hash->add(stays => 1);
is $hash->ttl('stays'),                                                 undef, '… and it keeps that';
is in_child(sub { $h{other} = 1; $hash->ttl('other') <= 0.3 ? 1 : 0 }), 1,     'for all processes';
$hash->expire(undef);
$h{after} = 1;
is $hash->ttl('after'), undef, 'expire(undef)';
sleep 0.35;
ok !exists $h{$_}, "$_ has vanished" for qw(default counter other);
ok exists $h{$_},  "$_ has not"      for qw(own stays after);

# --- sweep, and memory that comes back by itself
sub used { return IPC::Shm->stats->{bytes_used} }
$hash->expire(1);
in_time(
    1,
    sub {
        %h = map { ("k$_" => 'x' x 100) } 1 .. 2000;
    }
);    # none goes while the others come
$hash->expire(undef);
my $full = used();
sleep 1.05;
is scalar(keys %h), 0, 'all have vanished';
my $before = $hash->serial;
is $hash->sweep, 2000, 'sweep tells how many';
SKIP: {
    skip 'on Redis nobody waits for a sweep', 1 if on_server();
    cmp_ok $hash->serial, '>', $before + 1, '… by one change after the other, so that others can store in between';
}
is $hash->sweep, 0, '… once';
cmp_ok used(), '<', $full - 2000 * 100, '… and their memory is back';
$hash->store("k$_" => 'x' x 100, 0.2) for 1 .. 2000;
sleep 0.3;
for (1 .. 3000) { $h{one} = $_ }
is $hash->sweep, 0, 'stores have done it, too';

# --- a limit
%h = ();
$hash->limit(100);
$h{"k$_"} = $_ for 1 .. 1000;
is scalar(keys %h), 100,  'a limit';
is $h{k1000},       1000, '… what came last is there';
$h{precious} = 1;
for (1 .. 400) { $h{"n$_"} = $_; my $read = $h{precious} }
is $h{precious},    1,   '… and what is read all the time';
is scalar(keys %h), 100, '… holds';
$hash->limit(10);
is scalar(keys %h), 10, 'a smaller limit, at once';
$hash->limit(undef);
$h{"u$_"} = 1 for 1 .. 50;
is scalar(keys %h), 60, 'no limit any more';

# --- refused
like dies(sub { $hash->store(a => 1, -1) }),     qr/cannot be negative at \S*expiry\.t line/,              'no negative seconds';
like dies(sub { $hash->store(a => 1, 'soon') }), qr/number of seconds, not 'soon'.* at \S*expiry\.t line/, 'nor words';
like dies(sub { $hash->expire(0) }), qr/expire at once cannot be stored at \S*expiry\.t line/, 'nor at once';
like dies(sub { $hash->limit($_) }), qr/limit must be a number of elements.* at \S*expiry\.t line/, "no limit of $_" for 0, -1, 1.5, 'x';

# What a hash is set to is not part of a change, which could be undone; to sweep is nothing that anybody sees.
$hash->begin;
for my $name (qw(expire limit)) {
    like dies(sub { $hash->$name(5) }), qr/A change of this variable is open: $name cannot be part of it at \S*expiry\.t line/,
        "no $name in an open change";
}
like dies(sub { $hash->remove }), qr/A change of this variable is open: it cannot be removed at \S*expiry\.t line/, '… nor remove';
$hash->store(brief => 1, 0.01);
$hash->sweep;
$h{in} = 1;
$hash->abort;
is scalar(keys %h), 60, '… what was stored, and not swept, is undone';
like dies(
    sub {
        $hash->update(u1 => sub { $hash->limit(5) });
    }
    ),
    qr/limit cannot be part of it/, '… nor in an update';
is scalar(keys %h), 60, '… which has done nothing';
$h{u1}++;
is $hash->ttl('u1'), undef, '… and the hash is as it was set';
our @a : shm;
our $s : shm;
for my $name (qw(expire touch ttl sweep limit)) {
    for my $object (tied @a, tied $s) {
        like dies(sub { $object->$name(1) }),
            qr/Only the elements of hashes can expire: there is no $name for arrays and scalars at \S*expiry\.t line/,
            ref($object) . ": no $name";
    }
}
(tied @a)->store(1, 'x');
(tied $s)->store('y');
is "$a[1]$s", 'xy', 'store without seconds is a store';
like dies(sub { (tied @a)->store(1, 'x', 1) }), qr/Only the elements of hashes can expire/, '… not with seconds';

# --- killed in the middle of stores, sweeps and limits
%h = ();
$hash->limit(50);
for my $round (1 .. 10) {
    my @pids = map {
        child(
            sub {
                for (my $i = 0;; $i++) { $hash->store("x" . $i % 200 => $i, 0.001 * rand 5); $hash->sweep if $i % 50 == 0 }
            }
        )
    } 1 .. 2;
    sleep 0.02 + rand 0.02;
    kill KILL => @pids;
    waitpid $_, 0 for @pids;
    $hash->store("survivor$round" => $round, undef);
    sleep 0.01;
    my @keys = grep { !/survivor/ } keys %h;
    is "@keys", '', "killed, $round: what was to vanish has";
    cmp_ok scalar(keys %h), '<=', 50, '… and the limit holds';
}

IPC::Shm->cleanup;
done_testing;
