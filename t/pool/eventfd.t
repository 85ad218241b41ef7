# A descriptor for event loops.
use strict;
use warnings;
use Fcntl qw(F_GETFL O_NONBLOCK);
use Test::More;
use lib 't/lib';
use PoolTest;

my $I64 = 'Data::Pool::Shared::I64';

sub is_open  { return -e "/proc/self/fd/$_[0]" }
sub is_ready { my ($fd) = @_; my $bits = ''; vec($bits, $fd, 1) = 1; return scalar select $bits, undef, undef, 0 }

for my $kind (classes()) {
    for my $backing (backings()) {
        my ($what, $pool) = ("$kind->{name} on $backing", make($kind, $backing, 2));
        is($pool->fileno, -1, "$what: there is none at first");
        ok(!$pool->notify, "$what: notify is false then");
        is($pool->eventfd_consume, undef, "$what: and there is nothing to consume");
        my $fd = $pool->eventfd;
        cmp_ok($fd, '>', 2, "$what: eventfd creates one");
        is($pool->eventfd, $fd, "$what: once");
        is($pool->fileno,  $fd, "$what: fileno is the same");
        ok(!is_ready($fd), "$what: it is not readable");
        ok($pool->notify,  "$what: notify is true now");
        ok(is_ready($fd),  "$what: it is readable");
        $pool->notify for 1 .. 4;
        is($pool->eventfd_consume, 5, "$what: consume counts the notifications");
        ok(!is_ready($fd), "$what: it is not readable after that");
        is($pool->eventfd_consume, undef, "$what: nothing is left");
        $pool->free($pool->alloc);
        ok(!is_ready($fd), "$what: freeing does not notify");

        my $other  = make($kind, 'anonymous', 2);
        my $second = $other->eventfd;
        open my $copy, '+<&', $second or die "dup: $!";
        my $third = fileno $copy;
        is_deeply([ $pool->eventfd_set($third) ], [], "$what: eventfd_set returns nothing");
        is($pool->fileno,  $third, "$what: it is the descriptor now");
        is($pool->eventfd, $third, "$what: eventfd does not create another");
        ok(!is_open($fd),   "$what: the one that it replaces is closed");
        ok(is_open($third), "$what: itself is not");
        $pool->eventfd_set($third);
        ok(is_open($third), "$what: setting the same again does not close it");
        $pool->notify;
        is($other->eventfd_consume, 1, "$what: what one pool notifies the other consumes");
        undef $pool;
        ok(!is_open($third), "$what: it is closed with the pool");
        ok(is_open($second), "$what: the other pool's is not");
        no warnings;
        close $copy;    # its descriptor is gone
    }
}

subtest 'a child notifies its parent' => sub {
    my $pool     = $I64->new(undef, 2);
    my $fd       = $pool->eventfd;
    my @children = map {
        in_child { $pool->notify ? 1 : 0 }
    } 1 .. 3;
    is((grep { $_->result } @children), 3, 'three children notify');
    ok(is_ready($fd), 'the parent sees it');
    is($pool->eventfd_consume, 3, 'three times');
    my $waiting = in_child {
        my $bits = '';
        vec($bits, $fd, 1) = 1;
        $_[0]->say('waiting');
        select($bits, undef, undef, 30) && $pool->eventfd_consume;
    };
    $waiting->hear;
    $pool->notify;
    is($waiting->result, 1, 'and a parent its child');
};

subtest 'one that blocks is made non-blocking' => sub {
    my $other = $I64->new(undef, 1);
    open my $copy, '+<&', $other->eventfd or die "dup: $!";
    my $flags = fcntl $copy, F_GETFL, 0;
    fcntl $copy, Fcntl::F_SETFL(), $flags & ~O_NONBLOCK or die "fcntl: $!";
    my $pool = $I64->new(undef, 1);
    open my $given, '+<&', $copy or die "dup: $!";
    $pool->eventfd_set(fileno $given);
    is($pool->eventfd_consume, undef, 'consume does not block');
    undef $pool;
    no warnings;
    close $given;
};

subtest 'what is no descriptor' => sub {
    my $pool = $I64->new(undef, 1);
    my $fd   = $pool->eventfd;
    for my $bad (-1, 9999) {
        dies_with { $pool->eventfd_set($bad) } qr/cannot use descriptor $bad/, "$bad is refused";
        is($pool->fileno, $fd, 'and the pool keeps what it had');
        ok($pool->notify, 'which works');
    }
};

done_testing;
