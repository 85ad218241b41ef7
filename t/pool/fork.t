# A child is a process of its own, on the same pool.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

for my $kind (classes()) {
    for my $backing (backings()) {
        my ($what, $pool) = ("$kind->{name} on $backing", make($kind, $backing, 10));
        my $slot  = $pool->alloc_set($kind->{one});
        my $child = in_child {
            my $own = $pool->alloc_set($kind->{two});
            (
                seen      => $pool->get($slot),
                owner     => $pool->owner($slot),
                own       => $own,
                pid       => $$,
                own_owner => $pool->owner($own),
                used      => $pool->used
            );
        };
        my %child = $child->result;
        is($child{seen},      $kind->{one}, "$what: a child sees its parent's slots");
        is($child{owner},     $$,           "$what: they stay the parent's");
        is($child{own_owner}, $child{pid},  "$what: what the child allocates is the child's");
        isnt($child{own}, $slot, "$what: and is another slot");
        is($child{used},              2,            "$what: both count");
        is($pool->get($child{own}),   $kind->{two}, "$what: the parent sees what the child stored");
        is($pool->owner($child{own}), $child{pid},  "$what: and whose it is");
        is($pool->recover_stale,      1,            "$what: a child's slots are stale when it is gone");
        ok($pool->is_allocated($slot), "$what: its parent's are not");
    }
}

my $I64 = 'Data::Pool::Shared::I64';

subtest 'grandchildren, and children of every kind of fork' => sub {
    my $pool = $I64->new(undef, 10);
    $pool->alloc;
    my @owners = in_child {
        my $mine   = $pool->alloc;
        my @theirs = in_child { my $slot = $pool->alloc; ($$, $pool->owner($slot)) }->result;
        ($$, $pool->owner($mine), @theirs);
    }
    ->result;
    is($owners[0], $owners[1], 'a child owns its slots');
    is($owners[2], $owners[3], 'a grandchild, too');
    isnt($owners[0], $owners[2], 'they are different');
    is($pool->recover_stale, 2, 'both are dead');

    # vfork and posix_spawn share nothing with the pool but descriptors; system() must not disturb it
    system 'true';
    my $output = `echo text`;
    is($pool->owner($pool->alloc), $$, 'after system and backticks the parent is itself');
};

subtest 'a pool that is opened before, used only after the fork' => sub {
    my $path = temp_path('before');
    my $pool = $I64->new($path, 10);
    my ($pid, $owner) = in_child { my $slot = $pool->alloc; ($$, $pool->owner($slot)) }->result;
    is($owner,                     $pid, 'by the child');
    is($pool->owner($pool->alloc), $$,   'by the parent');
};

subtest 'a child that opens the path itself' => sub {
    my $path = temp_path('itself');
    my $pool = $I64->new($path, 10);
    my $slot = in_child { my $own = $I64->new($path, 10); my $index = $own->alloc; $own->set($index, $$); $index }->result;
    cmp_ok($pool->get($slot), '>', 0, 'shares the pool');
    is($pool->get($slot), $pool->owner($slot), 'and is the owner');
};

subtest 'parent and child work at once' => sub {
    my $pool  = $I64->new(undef, 64);
    my $total = $I64->new(undef, 2);
    $total->alloc_n(2);
    my $work = sub {
        for (1 .. 3000) {
            my $slot = $pool->alloc(30) // die 'timed out';
            $total->incr(1) if $pool->get($slot) != 0 || $pool->add($slot, $$) != $$;
            $pool->free($slot) or $total->incr(1);
            $total->incr(0);
        }
        1;
    };
    my @children = map {
        in_child { $work->() }
    } 1 .. 3;
    $work->();
    is((grep { $_->result } @children), 3,      'three children end well');
    is($total->get(0),                  12_000, 'each allocation was made');
    is($total->get(1),                  0,      'each was its own');
    is($pool->used,                     0,      'nothing is left');
    is($pool->stats->{allocs},          12_000, 'the statistics agree');
};

subtest 'atomic arithmetic loses nothing' => sub {
    for my $name (qw(I64 I32 F64)) {
        my $pool     = "Data::Pool::Shared::$name"->new(undef, 3);
        my @slot     = @{ $pool->alloc_n(3) };
        my @children = map {
            in_child {
                for (1 .. 5000) {
                    $pool->add($slot[0], 2);
                    $pool->incr($slot[0]);
                    $pool->decr($slot[0]);
                    my $old = $pool->get($slot[1]);
                    $old = $pool->get($slot[1]) until $pool->cas($slot[1], $old, $old + 1);
                    $pool->add_n([ $slot[2] ], 1);
                }
                1;
            }
        } 1 .. 4;
        $_->result for @children;
        is_deeply($pool->get_n(\@slot), [ 40_000, 20_000, 20_000 ], "$name: four processes, every addition counts");
    }
};

subtest 'bound scalars and views in a child' => sub {
    my $pool = $I64->new(undef, 1);
    my $slot = $pool->alloc;
    $pool->bind($slot, my $x);
    my $view = \$pool->slot_sv($slot);
    $x = 5;
    my ($seen, $bytes) = in_child { my @seen = ($x, unpack 'q', $$view); $x = 6; undef $pool; $x = $x + 1; @seen }->result;
    is($seen,  5, 'the child reads through the variable');
    is($bytes, 5, 'and through the view');
    is($x,     7, 'and its parent sees what it assigned');
};

subtest 'exits of children leave the parent\'s pool alone' => sub {
    my $path = temp_path('exits');
    my $pool = $I64->new($path, 4);
    my $fd   = $pool->eventfd;
    my $slot = $pool->alloc_set(1);
    for my $round (1 .. 3) {
        defined(my $pid = fork) or die "fork: $!";
        exit 0 if !$pid;    # global destruction in the child
        waitpid $pid, 0;
    }
    is($pool->get($slot), 1, 'the slot is there');
    ok($pool->notify, 'the eventfd is open');
    ok(-e $path,      'the file is there');
};

done_testing;
