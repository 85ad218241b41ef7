# A blocked call runs signal handlers; they may die, or it goes on with the time that is left.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time sleep setitimer ITIMER_REAL);
use lib 't/lib';
use PoolTest;

my $I64   = 'Data::Pool::Shared::I64';
my $pool  = $I64->new(undef, 2);
my @slots = @{ $pool->alloc_n(2) };
my $value = $I64->new(undef, 1);
$value->alloc;

# Every call that blocks: with a timeout or none, false or nothing when it is over.
my %blocked = (
    alloc       => sub { $pool->alloc(@_) },
    alloc_n     => sub { $pool->alloc_n(2, @_) },
    alloc_guard => sub { my @got = $pool->alloc_guard(@_); $got[0] },
    alloc_set   => sub { $pool->alloc_set(7, @_) },
    wait        => sub { $value->wait(0, 0, @_) || undef },
);

for my $method (sort keys %blocked) {
    my $call = $blocked{$method};
    subtest $method => sub {
        {
            local $SIG{ALRM} = sub { die "the handler died\n" };
            for my $timeout ([], [30]) {
                ok(!eval { setitimer(ITIMER_REAL, 0.05); $call->(@$timeout); 1 }, 'a handler may die');
                is($@, "the handler died\n", 'which ends the call');
            }
        }
        is($pool->stats->{waiters}, 0, 'it does not wait any more');
        is($pool->used,             2, 'and holds nothing');

        my ($handled, $got, $took);
        for (1 .. 50) {    # until the machine does not stand still meanwhile
            $handled = 0;
            local $SIG{ALRM} = sub { setitimer(ITIMER_REAL, 0) if ++$handled >= 300 };
            setitimer(ITIMER_REAL, 0.01, 0.01);
            my $start = time;
            $got  = $call->(0.2);
            $took = time - $start;
            setitimer(ITIMER_REAL, 0);
            last if defined $got || $took < 0.19 || $handled > 1;
        }
        is($got, undef, 'handlers that return: the call goes on to the end of its time');
        cmp_ok($took,    '>=', 0.19, 'not less');
        cmp_ok($handled, '>',  1,    'the handler ran meanwhile');
        cmp_ok($handled, '<',  300,  'only what is left is waited for after each');

        my $child = in_child {
            $SIG{INT} = sub { die "interrupted\n" };
            eval { $_[0]->say('here'); $call->() };
            $@;
        };
        $child->hear;
        sleep 0.05;
        $child->signal('INT');
        is($child->result, "interrupted\n", 'SIGINT from another process, with a handler');

        $child = in_child { $SIG{INT} = 'DEFAULT'; $_[0]->say('here'); $call->() };
        $child->hear;
        sleep 0.05;
        $child->signal('INT');
        is($child->reap & 127, 2, 'Ctrl-C ends a program that has no handler');
        $pool->recover_stale;
    };
}

subtest 'a handler may use the pool' => sub {
    {
        local $SIG{ALRM} = sub { $pool->free($slots[0]) };
        setitimer(ITIMER_REAL, 0.05);
        is($pool->alloc(30), $slots[0], 'and free the slot that is waited for');
    }
    {
        local $SIG{ALRM} = sub { $value->set(0, 1); $value->wake(0) };
        setitimer(ITIMER_REAL, 0.05);
        ok($value->wait(0, 0, 30), 'or change the value');
        $value->set(0, 0);
    }
    {
        my $nested;
        local $SIG{ALRM} = sub { $nested = [ $pool->alloc(0.05) ] };
        setitimer(ITIMER_REAL, 0.05);
        is($pool->alloc(0.3), undef, 'or wait itself');
        is_deeply($nested, [undef], 'both in vain');
    }
};

# A child that sends SIGALRM as soon as this process waits. (A timer may be over before.)
sub alarm_in_wait {
    my ($waited) = @_;
    return in_child {
        kill ALRM => getppid if wait_until { $waited->stats->{waiters} };
    };
}

subtest 'a handler may change what is being stored' => sub {
    my $text = Data::Pool::Shared::Str->new(undef, 1, 100);
    my $slot = $text->alloc;
    for my $change (sub { $_[0] = 'changed ' x 5 }, sub { undef $_[0] }, sub { $_[0] = "\x{263a}" x 1000 }) {
        my $variable = join ' ', ('original') x 5;
        local $SIG{ALRM} = sub {
            $change->($variable);
            my @fill = map { 'filled! ' x 5 } 1 .. 10;
            $text->free($slot);
        };
        my $child = alarm_in_wait($text);
        $slot = $text->alloc_set($variable, 30);
        $child->result;
        is($text->get($slot), join(' ', ('original') x 5), 'what was given is stored');
    }
};

subtest 'a handler may drop the pool' => sub {
    for my $method ([ alloc => 0.1 ], [ alloc_set => 1, 0.1 ], [ alloc_n => 1, 0.1 ], [ alloc_guard => 0.1 ], [ wait => 0, 0, 0.1 ]) {
        my ($name, @arguments) = @$method;
        my ($ran, $lived);
        for (1 .. 50) {    # until the timer is not over before the call has begun
            my $dropped = $I64->new(undef, 1);
            $dropped->alloc;
            $ran = 0;
            local $SIG{ALRM} = sub { undef $dropped; $ran++ };
            setitimer(ITIMER_REAL, 0.02);
            $lived = eval { $dropped->$name(@arguments); 1 };
            last if $lived || $@ !~ /\ACan't call method .* on an undefined value/;
        }
        ok($lived, "$name comes to its end") or diag $@;
        is($ran, 1, "$name: after the handler");
    }
};

subtest 'signals that come all the time' => sub {
    my $shared = $I64->new(undef, 1);
    my $count  = $I64->new(undef, 1);
    $count->alloc;
    my @children = map {
        in_child {
            my $handled = 0;
            $SIG{ALRM} = sub { $handled++ };
            setitimer(ITIMER_REAL, 0.001, 0.001);
            for (1 .. 100) { my $slot = $shared->alloc(30) // die 'timed out'; sleep 0.0002; $count->incr(0); $shared->free($slot) }
            setitimer(ITIMER_REAL, 0);
            $handled;
        }
    } 1 .. 3;
    is((grep { $_->result > 0 } @children), 3,   'keep nobody from a slot');
    is($count->get(0),                      300, 'nor take one away');
    is($shared->used,                       0,   'nothing is left taken');
};

subtest 'new waits for another creator, and runs handlers' => sub {
    my $path = write_file(temp_path('locked'), '');
    open my $lock, '<', $path or die "open: $!";
    flock $lock, 2 or die "flock: $!";
    local $SIG{ALRM} = sub { die "the handler died\n" };
    ok(!eval { setitimer(ITIMER_REAL, 0.1); $I64->new($path, 10); 1 }, 'it does not go on while the file is locked');
    is($@, "the handler died\n", 'the handler ends it');
    my $ran = 0;
    local $SIG{ALRM} = sub { $ran++; flock $lock, 8 };
    setitimer(ITIMER_REAL, 0.1);
    is($I64->new($path, 10)->capacity, 10, 'once the lock is free it goes on');
    is($ran,                           1,  'after the handler');
};

done_testing;
