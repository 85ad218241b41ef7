# ithreads: one memory, one owner; a cloned interpreter frees nothing.
use strict;
use warnings;
use Config;

BEGIN {
    if (!$Config{useithreads}) { print "1..0 # SKIP this perl has no ithreads\n"; exit 0 }
}
use threads;
use Test::More;
use Time::HiRes qw(sleep);
use lib 't/lib';
use PoolTest;

my $I64 = 'Data::Pool::Shared::I64';

sub in_thread (&) { my ($code) = @_; return threads->create({ context => 'list' }, $code)->join }

for my $kind (classes()) {
    for my $backing (backings()) {
        my ($what, $pool) = ("$kind->{name} on $backing", make($kind, $backing, 10));
        my $slot = $pool->alloc_set($kind->{one});
        my ($seen, $own) = in_thread { ($pool->get($slot), $pool->alloc_set($kind->{two})) };
        is($seen,                $kind->{one}, "$what: a thread sees the pool");
        is($pool->get($own),     $kind->{two}, "$what: what it stored is there when it is gone");
        is($pool->owner($own),   $$,           "$what: threads are one owner");
        is($pool->used,          2,            "$what: the end of the thread freed nothing");
        is($pool->recover_stale, 0,            "$what: and made nothing stale");
        my ($in_new) = in_thread { my $new = make($kind, 'anonymous', 2); $new->get($new->alloc_set($kind->{one})) };
        is($in_new, $kind->{one}, "$what: a pool made in a thread");
    }
}

subtest 'guards' => sub {
    my $pool = $I64->new(undef, 4);
    my ($slot, $guard) = $pool->alloc_guard;
    in_thread {1};
    ok($pool->is_allocated($slot), 'the end of a thread does not free what its parent guards');
    my @in_thread = in_thread { ($guard->index, $guard->release ? 1 : 0, $guard->cancel ? 1 : 0) };
    is_deeply(\@in_thread, [ undef, 0, 0 ], 'the copy of a guard guards nothing');
    ok($pool->is_allocated($slot), 'and frees nothing');
    undef $guard;
    ok(!$pool->is_allocated($slot), 'the original does');
    my ($used) = in_thread { my ($index, $own) = $pool->alloc_guard; $pool->used };
    is($used,       1, 'a guard of the thread holds');
    is($pool->used, 0, 'and frees with it');
};

subtest 'bound scalars and views' => sub {
    my $pool = Data::Pool::Shared::Str->new(undef, 2, 20);
    my ($slot, $other) = map { $pool->alloc_set('before') } 1 .. 2;
    $pool->bind($slot, my $x);
    my $view = \$pool->slot_sv($slot);
    my @seen = in_thread { my @first = ($x, $$view); $x = 'in the thread'; (@first, $$view) };
    is_deeply(\@seen, [ 'before', 'before', 'in the thread' ], 'work in a thread');
    is($x, 'in the thread', 'on the same memory');
    in_thread { $pool->bind($other, $x); $x = 'elsewhere' };
    is($x,                 'in the thread', 'rebinding in a thread is its own affair');
    is($pool->get($other), 'elsewhere',     'which works');
    in_thread { undef $pool; undef $view };
    $x = 'after';
    is($$view, 'after', 'those of the parent live on when the thread\'s are gone');
};

subtest 'the pool lives as long as any thread uses it' => sub {
    my $pool   = $I64->new(temp_path('alive'), 10);
    my $slot   = $pool->alloc_set(42);
    my $thread = threads->create(sub { sleep 0.1; my $value = $pool->get($slot); $pool->set($slot, 43); $value });
    my $view   = \$pool->slot_sv($slot);
    undef $pool;
    is($thread->join,       42, 'a thread uses it after its parent has dropped the object');
    is(unpack('q', $$view), 43, 'and the view of the parent sees what it wrote');
    my $destroyed = $I64->new(undef, 2);
    $destroyed->alloc_set(5);
    my ($in_thread) = in_thread {
        $destroyed->DESTROY;
        eval { $destroyed->get(0) } // $@
    };
    like($in_thread, qr/destroyed/, 'DESTROY in a thread');
    is($destroyed->get(0), 5, 'is the thread\'s');
    $destroyed->DESTROY;
    my ($error) = in_thread {
        eval { $destroyed->get(0) } // $@
    };
    like($error, qr/destroyed/, 'a destroyed object is destroyed in its clones, too');
};

subtest 'threads wait for each other' => sub {
    my $pool    = $I64->new(undef, 1);
    my $slot    = $pool->alloc;
    my @threads = map {
        threads->create(sub { my $got = $pool->alloc(30); $pool->free($got); $got })
    } 1 .. 3;
    ok(wait_until { $pool->stats->{waiters} > 0 }, 'threads wait for a slot');
    $pool->free($slot);
    is_deeply([ map { $_->join } @threads ], [ ($slot) x 3 ], 'and all get it');

    my $value = $I64->new(undef, 1);
    $value->alloc;
    my $thread = threads->create(sub { $value->wait(0, 0, 30) });
    $value->set(0, 1);
    $value->wake(0);
    ok($thread->join, 'a thread that waits for a value');
};

subtest 'many threads at once' => sub {
    my $pool  = $I64->new(undef, 300);
    my $total = $I64->new(undef, 2);
    $total->alloc_n(2);
    my @threads = map {
        threads->create(
            sub {
                for my $round (1 .. 1000) {
                    my $slot = $pool->alloc(30);
                    $total->incr(1) if $pool->get($slot) != 0 || $pool->add($slot, threads->tid) != threads->tid;
                    $pool->free($slot) or $total->incr(1);
                    my ($index, $guard) = $pool->alloc_guard(30);
                    $total->incr(0);
                }
            }
        )
    } 1 .. 4;
    $_->join for @threads;
    is_deeply($total->get_n([ 0, 1 ]), [ 4000, 0 ], 'each slot belonged to one of them');
    is($pool->used,            0,    'nothing is left');
    is($pool->stats->{allocs}, 8000, 'the statistics agree');
};

subtest 'fork in a thread' => sub {
    my $pool = $I64->new(undef, 4);
    my ($pid, $owner) = in_thread {
        my $child = in_child { my $slot = $pool->alloc; $pool->owner($slot) };
        ($child->pid, scalar $child->result);
    };
    is($owner,                     $pid, 'the child is its own process');
    is($pool->owner($pool->alloc), $$,   'and the parent itself');
};

done_testing;
