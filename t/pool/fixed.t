# Fixed pools: all slots are there from the first moment, and none is ever free. And
# adopting from a certain owner, by which several agree who has a slot.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

my $RAW = 'Data::Pool::Shared';
my $I64 = "${RAW}::I64";

for my $kind (classes()) {
    for my $backing (backings()) {
        my $what = "$kind->{name} on $backing";
        my $pool = make($kind, $backing, 500, { fixed => 1 });
        ok $pool->is_fixed, "$what: is fixed";
        is $pool->used,      500, "$what: all slots are allocated";
        is $pool->available, 0,   "$what: none is free";
        is $pool->owner($_), 0,   "$what: slot $_ is nobody's" for 0, 499;
        is_deeply $pool->allocated_slots, [ 0 .. 499 ], "$what: all are listed";
        $pool->set(17, $kind->{two});
        is $pool->get(17), $kind->{two}, "$what: and used at once";

        for my $call (
            ['alloc'], [ 'alloc', 0 ],
            ['try_alloc'],
            [ 'alloc_n',       3 ],
            [ 'alloc_n',       3, 0 ],
            [ 'alloc_n',       501 ],
            [ 'alloc_set',     $kind->{one} ],
            [ 'try_alloc_set', $kind->{one} ],
            ['alloc_guard'], ['try_alloc_guard']
            )
        {
            my ($method, @arguments) = @$call;
            dies_with { $pool->$method(@arguments) } qr/cannot allocate: the slots of this pool are fixed/, "$what: $method says why not";
        }
        dies_with { $pool->free(17) } qr/cannot free: the slots of this pool are fixed/, "$what: so does free";
        dies_with { $pool->free_n([17]) } qr/cannot free: the slots of this pool are fixed/, "$what: and free_n";
        dies_with { $pool->reset } qr/cannot reset: the slots of this pool are fixed/, "$what: and reset";
        is $pool->get(17), $kind->{two}, "$what: nothing was done";
        is $pool->used,    500,          "$what: nothing was freed";
    }
}

subtest 'who attaches' => sub {
    my $path = temp_path('fixed');
    $I64->new($path, 40, { fixed => 1 })->set(3, 33);
    for my $pool ($I64->new($path, 40, { fixed => 1 }), $I64->new($path), $RAW->attach($path)) {
        ok $pool->is_fixed, 'finds it fixed';
        is $pool->get(3),      33, '... with what it holds';
        is $pool->incr(5) > 0, 1,  '... and counts';
    }
    my $usual = temp_path('usual');
    $I64->new($usual, 40);
    dies_with { $I64->new($usual, 40, { fixed => 1 }) } qr/incompatible pool .*its slots are not fixed/,
        'a pool that is not fixed is refused';
    dies_with { $I64->new(temp_path('both'), 40, { fixed => 1, sparse => 1 }) } qr/sparse or fixed, not both/,
        'fixed and sparse is nothing';
};

subtest 'made by several at once, one of them killed' => sub {
    for my $round (1 .. 20) {
        my $path     = temp_path("race$round");
        my @children = map {
            in_child {
                my $pool = $I64->new($path, 20_000, { fixed => 1 });
                $pool->incr($_) for 0, 19_999;
                $pool->used;
            }
        } 1 .. 3;
        my $victim = in_child { $I64->new($path, 20_000, { fixed => 1 }); 1 };
        $victim->signal('KILL')->reap;
        my @used = map { $_->result } @children;
        my $pool = $I64->new($path);
        is_deeply [ @used, $pool->get(0), $pool->get(19_999) ], [ (20_000) x 3, 3, 3 ], 'whole for each, from its first moment'
            or last;
    }
};

subtest 'a slot that is adopted belongs to one, and is nobody\'s again after its death' => sub {
    my $pool = $I64->new(undef, 10, { fixed => 1 });
    my $dead = in_child { $pool->adopt(4, 0); $pool->set(4, 44); 1 };
    $dead->result;
    ok $pool->is_stale(4), 'its owner is dead';
    is $pool->recover_stale, 1, 'recovery finds it';
    is_deeply [ $pool->owner(4), $pool->get(4), $pool->used ], [ 0, 44, 10 ], '... and makes it nobody\'s: its value stays';
    is $pool->recover_stale, 0, 'once';

    my $second = in_child { $pool->adopt($_, 0) for 5, 6; 1 };
    my $pid    = $second->pid;
    $second->result;
    my @found;
    is $pool->recover_stale(sub { push @found, "@_"; $pool->disown($_[0]) if $_[0] == 6 }), 1, 'with a callback, that keeps one';
    is_deeply \@found,                           [ "5 $pid", "6 $pid" ], '... it is called for each';
    is_deeply [ map { $pool->owner($_) } 5, 6 ], [ 0,        0 ],        '... and both are nobody\'s';
};

subtest 'adopt from' => sub {
    for my $fixed (0, 1) {
        my $pool = $I64->new(undef, 10, { fixed => $fixed });
        my $slot = $fixed ? 7 : $pool->alloc;
        $pool->disown($slot);
        ok !$pool->adopt($slot, $$), 'not from one that does not own it';
        is $pool->owner($slot), 0, '... nothing is done';
        ok $pool->adopt($slot, 0), 'from nobody';
        is $pool->owner($slot), $$, '... it is ours now';
        ok !$pool->adopt($slot, 0), 'not from nobody again';
        my $heir =
            in_child { join ' ', $pool->adopt($slot, 0) ? 1 : 0, $pool->adopt($slot, getppid) ? 1 : 0, $pool->owner($slot) == $$ ? 1 : 0 };
        my $pid = $heir->pid;
        is $heir->result, '0 1 1', 'a child adopts it from its parent';
        ok $pool->adopt($slot, $pid), 'and it is had back when that is dead';
        my $free = $fixed ? undef : $pool->alloc;
        $pool->free($free) if defined $free;
        ok !$pool->adopt($free, 0), 'a free slot is not nobody\'s' if defined $free;

        for my $bad (undef, 'x', -1, 1.5, [], 2**40) {
            dies_with { $pool->adopt($slot, $bad) } qr/is not a process ID/, 'not a PID: ' . ($bad // 'undef');
        }
    }
};

subtest 'two cannot both win a slot' => sub {
    my $pool    = $I64->new(undef, 2000, { fixed => 1 });
    my @workers = map {
        in_child {
            $_[0]->say('ready');
            $_[0]->hear;
            my $won = 0;
            for my $slot (0 .. 1999) {
                next if !$pool->adopt($slot, 0);
                $won++;
                $pool->incr($slot);
            }
            $won;
        }
    } 1 .. 4;
    $_->hear for @workers;
    $_->say('go') for @workers;
    my $won = 0;
    $won += $_->result for @workers;
    is $won, 2000, 'four workers win each slot once';
    is_deeply [ grep { $pool->get($_) != 1 } 0 .. 1999 ], [], 'none has two winners';
};

done_testing;
