# What the dead have held is found and freed; what the living hold is not touched.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time sleep);
use lib 't/lib';
use PoolTest;

my $I64 = 'Data::Pool::Shared::I64';

# A child that holds n slots until it is killed, and their indices.
sub holder {
    my ($pool, $n) = @_;
    my $child = in_child { $_[0]->say(join ' ', @{ $pool->alloc_n($n) }); $_[0]->hear };
    return ($child, split ' ', $child->hear);
}

for my $kind (classes()) {
    for my $backing (backings()) {
        my ($what, $pool) = ("$kind->{name} on $backing", make($kind, $backing, 20));
        my $mine = $pool->alloc_set($kind->{one});
        my ($living) = my ($alive, @its) = holder($pool, 3);
        my ($dying, @lost) = holder($pool, 4);
        is($pool->owner($_),     $dying->pid, "$what: slot $_ has its owner") for @lost;
        is($pool->recover_stale, 0,           "$what: nothing is stale while all live");
        my $recoveries = $pool->stats->{recoveries};
        $dying->end;
        is($pool->used,          8, "$what: the slots of a killed process stay taken");
        is($pool->recover_stale, 4, "$what: until somebody recovers them, and is told how many");
        is($pool->recover_stale, 0, "$what: which happens once");
        is_deeply([ grep { $pool->is_allocated($_) } @lost ],        [], "$what: they are free");
        is_deeply([ grep { !$pool->is_allocated($_) } $mine, @its ], [], "$what: others are not");
        is($pool->get($mine),          $kind->{one},    "$what: nor changed");
        is($pool->stats->{recoveries}, $recoveries + 4, "$what: the statistics count them");
        is($pool->used,                4,               "$what: used, too");
        $living->end;
        is(in_child { $pool->recover_stale }->result, 3, "$what: any process may recover");
    }
}

subtest 'a child that ends well leaves its slots as well' => sub {
    my $pool = $I64->new(undef, 10);
    my $slot = in_child { $pool->alloc }->result;
    ok($pool->is_allocated($slot), 'a slot may outlive its allocator');
    is($pool->recover_stale, 1, 'until it is recovered');
};

subtest 'a callback is called for each' => sub {
    my $pool = $I64->new(undef, 100);
    my $mine = $pool->alloc;
    my ($child, @lost) = holder($pool, 5);
    my $pid = $child->pid;
    $pool->set_n(\@lost, [ map { $_ * 7 } @lost ]);
    $child->end;
    my @called;
    my $freed = $pool->recover_stale(
        sub {
            my ($slot, $owner) = @_;
            push @called, [ $slot, $owner, $pool->is_allocated($slot) ? 1 : 0, $pool->get($slot), scalar @_ ];
        }
    );
    is($freed, 5, 'all are freed');
    is_deeply(
        \@called,
        [ map { [ $_, $pid, 1, $_ * 7, 2 ] } sort { $a <=> $b } @lost ],
        'after a call with slot and PID, while it still has its value'
    );
    is($pool->used,                                      1, 'my own was not among them');
    is($pool->recover_stale(sub { die 'never called' }), 0, 'where nothing is stale it is not called');
    is($pool->recover_stale(undef),                      0, 'undef is no callback');
};

subtest 'a callback may keep a slot' => sub {
    my $pool = $I64->new(undef, 10);
    my ($child, @lost) = holder($pool, 3);
    $pool->set_n(\@lost, 42);
    $child->end;
    my ($kept, $adopted, $freed) = sort { $a <=> $b } @lost;
    is($pool->recover_stale(sub { $pool->disown($_[0]) if $_[0] == $kept }), 2,  'disowned in it, it is not counted');
    is($pool->get($kept),                                                    42, 'and keeps its value');
    is($pool->owner($kept),                                                  0,  'it is nobody\'s');
    is($pool->recover_stale,                                                 0,  'and is never stale');
    ok($pool->free($kept), 'until it is freed');

    ($child, @lost) = holder($pool, 2);
    $child->end;
    is($pool->recover_stale(sub { $pool->free($_[0]) }), 0, 'a callback may free the slots itself');
    is($pool->used,                                      0, 'and they are free');

    ($child, @lost) = holder($pool, 10);
    $child->end;
    my @again;
    $pool->recover_stale(sub { $pool->free($_[0]); push @again, $pool->alloc_set(77) });
    is_deeply([ grep { !$pool->is_allocated($_) } @again ], [],                'or free and allocate them again: these are not freed');
    is_deeply($pool->get_n(\@again),                        [ (77) x @again ], 'and keep their values');
    $pool->reset;

    ($child, @lost) = holder($pool, 10);
    $child->end;
    my $taken;
    eval {
        $pool->recover_stale(sub { $pool->free($_[0]); $taken = $pool->alloc; die "after that\n" });
    };
    is($pool->owner($taken), $$, 'or die after that: what was taken stays');
};

subtest 'a callback that dies' => sub {
    my $pool = $I64->new(undef, 10);
    my ($child, @lost) = holder($pool, 4);
    my $pid = $child->pid;
    $child->end;
    @lost = sort { $a <=> $b } @lost;
    dies_with {
        $pool->recover_stale(sub { die "not $_[0]\n" if $_[0] == $lost[1] })
    }
    qr/^not $lost[1]$/, 'its exception comes out';
    is_deeply($pool->allocated_slots, [ @lost[ 1 .. 3 ] ], 'what came before is freed');
    is($pool->owner($lost[1]), $pid, 'its slot belongs to the dead process again');
    is($pool->owner($lost[2]), $pid, 'as do those after it');
    is($pool->recover_stale,   3,    'and the next recovery finds them');
    ($child, @lost) = holder($pool, 1);
    $child->end;

    for my $round (1) {
        no warnings 'exiting';
        dies_with {
            $pool->recover_stale(sub {last})
        }
        qr/Can't "last" outside a loop block/, 'last cannot leave it';
    }
    is($pool->recover_stale, 1, 'and the slot stays stale, too');
};

subtest 'a recoverer that is killed in its callback' => sub {
    my $pool = $I64->new(undef, 10);
    my ($child, @lost) = holder($pool, 4);
    $child->end;
    in_child {
        $pool->recover_stale(sub { kill 'KILL', $$ })
    }
    ->reap;
    is($pool->used,          4, 'loses nothing');
    is($pool->recover_stale, 4, 'and leaves nothing behind that the next cannot free');
};

subtest 'recovery by many at once' => sub {
    for my $round (1 .. 10) {
        my $pool = $I64->new(undef, 500);
        my ($child, @lost) = holder($pool, 400);
        my @recoverers = map {
            in_child { $_[0]->hear; $pool->recover_stale }
        } 1 .. 3;
        $child->end;
        $_->say('go') for @recoverers;
        my $freed = 0;
        $freed += $_->result for @recoverers;
        is($freed,      400, 'shares the work: each slot is freed once');
        is($pool->used, 0,   'and all of them are');
    }
};

for my $kind (classes()) {
    my ($what, $pool) = ("$kind->{name}", make($kind, 'anonymous', 10));
    my ($child, $passed, $disowned, $stale) = holder($pool, 3);
    ok($pool->adopt($passed), "$what: adopt is true for an allocated slot, whoever holds it");
    is($pool->owner($passed), $$, "$what: and makes it ours");
    ok($pool->disown($disowned), "$what: disown, too");
    is($pool->owner($disowned), 0, "$what: and makes it nobody's");
    ok($pool->is_allocated($disowned), "$what: though it is allocated");
    $child->end;
    is($pool->recover_stale, 1, "$what: only what the dead process still held is stale");
    is_deeply($pool->allocated_slots, [ sort { $a <=> $b } $passed, $disowned ], "$what: the others stay");
    ok(in_child { $pool->adopt($disowned) }->result, "$what: a disowned slot may be adopted");
    is($pool->recover_stale, 1, "$what: and dies with who did");
    ok(in_child { $pool->adopt($passed); $pool->disown($passed) }->result, "$what: adopted and disowned by a child");
    is($pool->recover_stale, 0, "$what: it stays");
    ok($pool->free($passed),                              "$what: anybody may free it");
    ok(!$pool->disown($passed) && !$pool->adopt($passed), "$what: of a free slot both are false");
    my $slot = $pool->alloc;
    ok($pool->adopt($slot) && $pool->adopt($slot), "$what: one may adopt one's own");
}

subtest 'auto_recover' => sub {
    my $path = temp_path('auto');
    my $pool = $I64->new($path, 4);
    is_deeply([ $pool->auto_recover(0.01) ], [], 'returns nothing');
    my ($child, @lost) = holder($pool, 4);
    $child->end;
    is($pool->try_alloc, undef, 'try_alloc does not recover');
    my $slot = $pool->alloc(30);
    ok(defined $slot, 'a blocked alloc does');
    is($pool->stats->{recoveries}, 4, 'all that is stale');
    $pool->reset;

    ($child, @lost) = holder($pool, 3);
    my $waiter = in_child { scalar @{ $pool->alloc_n(4, 30) } };
    ok(wait_until { $pool->stats->{waiters} == 1 }, 'an alloc_n waits');
    $child->end;
    is($waiter->result,      4, 'and gets what somebody holds who dies while it waits');
    is($pool->recover_stale, 4, '(the waiter has ended, too)');

    ($child, @lost) = holder($pool, 4);
    $child->end;
    my $off = $I64->new($path);
    is($off->alloc(0.15), undef, 'off by default: another object of the same pool does not recover');
    $pool->auto_recover(0);
    is($pool->alloc(0.15), undef, 'nor does the first, when it is off again');
    $pool->auto_recover(0.01);
    $pool->auto_recover(undef);
    is($pool->alloc(0.15), undef, 'undef turns it off, too');
    my $guard = do { $pool->auto_recover(0.01); $pool->alloc_guard(30) };
    ok($guard, 'alloc_guard recovers');
    is($pool->used, 1, 'all of them');
};

subtest 'who waits is woken by a recovery' => sub {
    my $pool = $I64->new(undef, 2);
    my ($child, @lost) = holder($pool, 2);
    my @waiters = map {
        in_child { $pool->alloc(30); $_[0]->hear; 1 }
    } 1 .. 2;
    ok(wait_until { $pool->stats->{waiters} == 2 }, 'two wait');
    $child->end;
    is($pool->recover_stale, 2, 'two slots are recovered');
    ok(wait_until { $pool->used == 2 && $pool->stats->{waiters} == 0 }, 'both get one');
    $_->say('end') for @waiters;
    is((grep { $_->result } @waiters), 2, 'and end well');
};

subtest 'a large pool' => sub {
    my $pool  = $I64->new(undef, 100_000);
    my $child = in_child { my $slots = $pool->alloc_n(60_000); $_[0]->say('ready'); $_[0]->hear };
    $child->hear;
    my $mine = $pool->alloc_n(40_000);
    is($pool->try_alloc, undef, 'is full');
    $child->end;
    is($pool->recover_stale,               60_000, 'what a process held of it is freed');
    is($pool->used,                        40_000, 'the rest is not');
    is(scalar @{ $pool->alloc_n(60_000) }, 60_000, 'and can be had again');
};

done_testing;
