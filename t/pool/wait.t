# Waiting: for slots, and for values. Nobody is forgotten, nobody spins.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time sleep);
use lib 't/lib';
use PoolTest;

my $I64 = 'Data::Pool::Shared::I64';

sub waiting {
    my ($pool, $n) = @_;
    return wait_until { $pool->stats->{waiters} == $n };
}

for my $kind (classes()) {
    for my $backing (backings()) {
        my ($what, $pool) = ("$kind->{name} on $backing", make($kind, $backing, 1));
        my $slot = $pool->alloc;
        my %call = (
            alloc       => sub { $pool->alloc },
            alloc_set   => sub { $pool->alloc_set($kind->{two}) },
            alloc_guard => sub { my ($index, $guard) = $pool->alloc_guard; $guard->cancel; $index },
            alloc_n     => sub { $pool->alloc_n(1)->[0] },
        );
        for my $method (sort keys %call) {
            my $child = in_child { my $index = $call{$method}->(); ($index, $pool->get($index)) };
            ok(waiting($pool, 1), "$what: $method of a full pool waits");
            $pool->free($slot);
            my ($index, $value) = $child->result;
            is($index,                  $slot,        "$what: $method gets the slot that was freed");
            is($value,                  $kind->{two}, "$what: with its value") if $method eq 'alloc_set';
            is($pool->owner($slot),     $child->pid,  "$what: $method makes the waiter its owner");
            is($pool->stats->{waiters}, 0,            "$what: nobody waits any more");
        }
    }
}

subtest 'a timeout ends the waiting' => sub {
    my $pool  = $I64->new(undef, 2);
    my $slots = $pool->alloc_n(2);
    my %call  = (
        alloc       => sub { [ $pool->alloc($_[0]) ] },
        alloc_set   => sub { [ $pool->alloc_set(1, $_[0]) ] },
        alloc_n     => sub { [ $pool->alloc_n(2, $_[0]) ] },
        alloc_guard => sub { [ $pool->alloc_guard($_[0]) ] },
    );
    for my $method (sort keys %call) {
        my ($timeouts, $start) = ($pool->stats->{timeouts}, time);
        my $result = $call{$method}->(0.12);
        cmp_ok(time - $start, '>=', 0.11, "$method waits for the time that it is given");
        is_deeply($result, $method eq 'alloc_guard' ? [] : [undef], "$method returns undef or nothing then");
        is($pool->stats->{timeouts}, $timeouts + 1, "$method is counted");
    }
    my $waits = $pool->stats->{waits};
    $call{$_}->(0) for sort keys %call;
    is($pool->stats->{waits}, $waits, 'timeout 0 does not wait');
    for my $endless (undef, -1) {
        my $child = in_child { $pool->alloc($endless) };
        ok(waiting($pool, 1), 'timeout ' . ($endless // 'undef') . ' waits …');
        sleep 0.12;
        is($pool->stats->{waiters}, 1, '… and goes on');
        my $freed = shift @$slots;
        $pool->free($freed);
        is($child->result, $freed, '… until there is a slot');
        push @$slots, $freed;
    }
    my $child = in_child { $pool->alloc(1e300) };
    ok(waiting($pool, 1), 'an absurd timeout waits, too');
    $pool->free($slots->[0]);
    is($child->result, $slots->[0], 'and gets its slot');
};

subtest 'waiting costs no CPU' => sub {
    my $pool = $I64->new(undef, 1);
    my $slot = $pool->alloc;
    my %call = (
        alloc   => sub { $pool->alloc(0.7) },
        alloc_n => sub { $pool->alloc_n(1, 0.7) },
        wait    => sub { $pool->wait($slot, 0, 0.7) },
    );
    my %child = map {
        my $method = $_;
        $method => in_child { my @before = times; $call{$method}->(); my @after = times; $after[0] + $after[1] - $before[0] - $before[1] }
    } keys %call;
    for my $method (sort keys %call) {
        cmp_ok($child{$method}->result, '<=', 0.1, "$method, of 0.7 seconds of waiting");
    }
};

subtest 'many waiters, each is served' => sub {
    my $pool = $I64->new(undef, 2);
    my $sum  = $I64->new(undef, 1);
    $sum->alloc;
    my @slots    = @{ $pool->alloc_n(2) };
    my @children = map {
        in_child {
            for (1 .. 100) { my ($slot, $guard) = $pool->alloc_guard(30) or die 'timed out'; $sum->incr(0) }
            1;
        }
    } 1 .. 8;
    $pool->free_n(\@slots);
    is((grep { $_->result } @children), 8,   'eight processes on two slots all finish');
    is($sum->get(0),                    800, 'having had a slot each time');
    is($pool->used,                     0,   'nothing is left taken');
    is($pool->stats->{waiters},         0,   'nobody is left waiting');
};

subtest 'alloc_n is fair' => sub {
    my $pool   = $I64->new(undef, 10);
    my @greedy = map {
        in_child {
            for (1 .. 50) { my $slots = $pool->alloc_n(8, 30) or die 'timed out'; $pool->free_n($slots) }
            1
        }
    } 1 .. 2;
    is((grep { $_->result } @greedy), 2, 'two callers that each want most of the pool both finish');
    my ($all, $few, $one) = map {
        my $n = $_;
        in_child {
            for (1 .. 30) { my $slots = $pool->alloc_n($n, 30) or die 'timed out'; sleep 0.0005; $pool->free_n($slots) }
            1
        }
    } 10, 6, 1;
    is((grep { $_->result } $all, $few, $one), 3, 'callers that want all, many and one, too');
    is($pool->used,                            0, 'nothing is left taken');
};

subtest 'alloc_n holds nothing while it waits' => sub {
    my $pool  = $I64->new(undef, 10);
    my $slots = $pool->alloc_n(4);
    my $child = in_child { scalar @{ $pool->alloc_n(8) } };
    ok(waiting($pool, 1), 'a child waits for more than is free');
    is($pool->used, 4, 'and holds none');
    my $rest = $pool->alloc_n(6, 5);
    is(@$rest, 6, 'the free ones can be had by others');
    $pool->free($slots->[0]);
    $pool->free_n($rest);
    is($pool->stats->{waiters}, 1, 'one too few: it waits on');
    $pool->free($slots->[1]);
    is($child->result, 8, 'as soon as there are enough it gets them');
};

subtest 'a waiter that is killed disturbs nobody' => sub {
    my $pool = $I64->new(undef, 1);
    for my $round (1 .. 10) {
        my $slot = $pool->alloc(5);
        my ($victim, $survivor) = map {
            in_child { $pool->free($pool->alloc); 1 }
        } 1 .. 2;
        ok(waiting($pool, 2), 'two wait');
        $victim->signal('KILL');
        $pool->free($slot);
        is($survivor->result, 1, "round $round: the other gets the slot");
        $victim->reap;
        $pool->recover_stale;
        is($pool->stats->{waiters}, 0, 'recovery strikes the dead waiter out');
    }
};

for my $name (qw(I64 I32)) {
    for my $backing (backings()) {
        subtest "wait and wake on a value: $name on $backing" => sub {
            my $pool = make((grep { $_->{name} eq $name } classes())[0], $backing, 3);
            my $slot = $pool->alloc_set(5);
            ok($pool->wait($slot, 4), 'wait is true at once where the value differs');
            ok($pool->wait($slot,  4, 0), 'with timeout 0, too');
            ok(!$pool->wait($slot, 5, 0), 'it is false at once where it does not, with timeout 0');
            my $start = time;
            ok(!$pool->wait($slot, 5, 0.1), 'and false when the time is over');
            cmp_ok(time - $start, '>=', 0.09, 'not before');
            is($pool->wake($slot), 0, 'wake of nobody');

            my @children = map {
                in_child { $_[0]->say('here'); $pool->wait($slot, 5) ? $pool->get($slot) : 'timeout' }
            } 1 .. 3;
            $_->hear for @children;
            sleep 0.05;
            $pool->set($slot, 6);
            $pool->wake($slot);
            is_deeply([ map { $_->result } @children ], [ 6, 6, 6 ], 'all that wait go on when the value changes');

            my $woken = 0;
            @children = map {
                in_child { $_[0]->say('here'); $pool->wait($slot, 6) }
            } 1 .. 2;
            $_->hear for @children;
            ok(wait_until { ($woken += $pool->wake($slot, 1)) >= 2 }, 'wake tells how many it woke, one at a time');
            $pool->set($slot, -1);
            $pool->wake($slot);
            is((grep { $_->result } @children), 2, 'who is woken in vain waits on, until the value changes');
            is($pool->wake($slot, 0),           0, 'wake of 0 wakes nobody');

            my $child = in_child { $pool->wait($slot, -1) };
            $pool->set($slot, 0);
            ok($child->result, 'a change without a wake is noticed, too');
            my $other = $pool->alloc_set(1);
            $child = in_child { $_[0]->say('here'); $pool->wait($slot, 0, 30) };
            $child->hear;
            $pool->wake($other) for 1 .. 10;
            $pool->set($slot, 1);
            $pool->wake($slot);
            ok($child->result, 'each slot is waited for by itself');

            if ($name eq 'I64') {
                $pool->set($slot, 0);
                $child = in_child { $_[0]->say('here'); $pool->wait($slot, 0, 30) };
                $child->hear;
                $pool->set($slot, 2**40);
                $pool->wake($slot);
                ok($child->result, 'a change of the upper half alone is one');
            }
            dies_with { $pool->wait($slot, 2**70, 0) } qr/does not fit/, 'a value that cannot be there is refused';
        };
    }
}

subtest 'processes that hand a token round' => sub {
    my $pool     = $I64->new(undef, 1);
    my $slot     = $pool->alloc_set(0);
    my $turns    = 200;
    my @children = map {
        my $mine = $_;
        in_child {
            for (my $turn = $mine; $turn < $turns; $turn += 3) {
                while ((my $now = $pool->get($slot)) < $turn) { $pool->wait($slot, $now, 30) or die 'timed out' }
                $pool->incr($slot);
                $pool->wake($slot);
            }
            1;
        }
    } 0 .. 2;
    is((grep { $_->result } @children), 3,      'all come to an end');
    is($pool->get($slot),               $turns, 'each had its turns');
};

done_testing;
