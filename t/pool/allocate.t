# Taking slots and giving them back, without waiting.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

my $I64 = 'Data::Pool::Shared::I64';

for my $kind (classes()) {
    for my $backing (backings()) {
        subtest "$kind->{name} on $backing" => sub {
            my $pool  = make($kind, $backing, 5);
            my $fresh = { Raw => "\0" x 16, Str => '' }->{ $kind->{name} } // 0;

            my @slots = map { $pool->alloc } 1 .. 5;
            is_deeply([ sort @slots ], [ 0 .. 4 ], 'alloc gives every slot once');
            is($pool->alloc(0),     undef, 'alloc(0) of a full pool is undef');
            is($pool->try_alloc,    undef, 'try_alloc, too');
            is($pool->alloc(0.001), undef, 'and alloc with a timeout, in time');
            is_deeply([ $pool->alloc(0), $pool->try_alloc ], [ undef, undef ], 'in list context these are one undef each');
            is($pool->used,      5,      'used counts them');
            is($pool->available, 0,      'available counts the others');
            is($pool->get($_),   $fresh, "slot $_ is fresh") for @slots;

            $pool->set($_, $kind->{two}) for @slots;
            ok($pool->is_allocated(3), 'a taken slot is allocated');
            is($pool->owner(3), $$, 'and this process owns it');
            ok($pool->free(3),          'free is true');
            ok(!$pool->free(3),         'free of a free slot is false');
            ok(!$pool->is_allocated(3), 'a free slot is not allocated');
            is_deeply($pool->allocated_slots, [ 0, 1, 2, 4 ], 'allocated_slots are the others, in ascending order');
            is($pool->try_alloc, 3,            'the free slot is found');
            is($pool->get(3),    $fresh,       'and reads as fresh, whatever was in it');
            is($pool->get(2),    $kind->{two}, 'its neighbour keeps its value');

            is($pool->try_alloc_set($kind->{one}), undef, 'try_alloc_set of a full pool is undef');
            is($pool->alloc_set($kind->{one}, 0),     undef, 'alloc_set with timeout 0, too');
            is($pool->alloc_set($kind->{one}, 0.001), undef, 'and with another');
            $pool->free($_) for 1, 2;
            my $set = $pool->alloc_set($kind->{one});
            is($pool->get($set), $kind->{one}, 'alloc_set allocates and sets');
            my $tried = $pool->try_alloc_set($kind->{two});
            is($pool->get($tried), $kind->{two}, 'try_alloc_set, too');
            is_deeply([ sort $set, $tried ], [ 1, 2 ], 'both got free slots');

            is_deeply([ $pool->try_alloc_guard ], [], 'try_alloc_guard of a full pool is nothing in list context');
            is_deeply([ $pool->alloc_guard(0) ],  [], 'alloc_guard(0), too');
            is(scalar $pool->try_alloc_guard, undef, 'and undef in scalar context');

            is($pool->alloc_n(1, 0), undef, 'alloc_n of a full pool is undef');
            is_deeply($pool->alloc_n(0), [], 'alloc_n(0) is an empty array, even then');
            is($pool->free_n([ 4, 0, 2 ]),    3, 'free_n counts what it freed');
            is($pool->free_n([ 4, 0, 1, 1 ]), 1, 'free slots and repeated ones do not count');
            is($pool->free_n([]),             0, 'nothing is nothing');
            is_deeply($pool->allocated_slots, [3], 'free_n freed just those');
            is($pool->alloc_n(5, 0), undef, 'alloc_n is all or nothing …');
            is($pool->used,          1,     '… and gives back what it had');
            my $many = $pool->alloc_n(4);
            is_deeply([ sort @$many ],     [ 0, 1, 2, 4 ],   'alloc_n gives as many as wanted');
            is_deeply($pool->get_n($many), [ ($fresh) x 4 ], 'and they are fresh');
            is($pool->alloc_n(6),     undef, 'more than the pool has is undef at once, even without a timeout');
            is($pool->alloc_n(2**40), undef, 'however many');

            is($pool->reset, 5, 'reset says how many it freed');
            is($pool->used,  0, 'and frees all');
            is_deeply($pool->allocated_slots, [], 'allocated_slots of an empty pool');
        };
    }
}

subtest 'each_allocated' => sub {
    my $pool = $I64->new(undef, 200);
    $pool->alloc_n(200);
    $pool->free_n([ grep { $_ % 7 } 0 .. 199 ]);
    my @expected = grep { $_ % 7 == 0 } 0 .. 199;
    my @seen;
    is_deeply([ $pool->each_allocated(sub { push @seen, @_ }) ], [],         'returns nothing');
    is_deeply(\@seen,                                            \@expected, 'calls for each allocated slot, in ascending order');
    is_deeply($pool->allocated_slots,                            \@expected, 'as allocated_slots has them');
    @seen = ();
    $pool->each_allocated(sub { push @seen, $_[0]; $pool->free_n([ $_[0], $_[0] + 7 ]) if $_[0] < 196 });
    is_deeply(\@seen, [ grep { $_ % 14 == 0 } 0 .. 199 ], 'leaves out what an earlier call freed');
    dies_with {
        $pool->each_allocated(sub { die "enough\n" })
    }
    qr/^enough$/, 'an exception passes through';
    for my $round (1) {
        no warnings 'exiting';
        dies_with {
            $pool->each_allocated(sub {next})
        }
        qr/Can't "next" outside a loop block/, 'next cannot leave it';
    }
    lives {
        $pool->each_allocated(sub { undef $pool })
    }
    'the code may drop the pool';
};

subtest 'a pool of any size gives each slot once' => sub {
    for my $capacity (1, 2, 63, 64, 65, 127, 128, 255, 256, 257, 4095, 4097, 20_000) {
        my $pool = $I64->new(undef, $capacity);
        my %got;
        while (defined(my $slot = $pool->try_alloc)) { $got{$slot}++ }
        is_deeply([ sort { $a <=> $b } keys %got ], [ 0 .. $capacity - 1 ], "$capacity slots, one by one");
        is((grep { $_ > 1 } values %got),         0,         "$capacity slots, none twice");
        is($pool->used,                           $capacity, "$capacity slots are used");
        is($pool->free_n([ 0 .. $capacity - 1 ]), $capacity, "$capacity slots are freed");
        my $all = $pool->alloc_n($capacity);
        is_deeply([ sort { $a <=> $b } @$all ], [ 0 .. $capacity - 1 ], "$capacity slots at once");
        my $last = int($capacity / 2);
        $pool->free($last);
        is($pool->try_alloc, $last, "the one free slot of $capacity is found");
        is($pool->try_alloc, undef, "and no other");
    }
};

subtest 'many handles of one pool see one truth' => sub {
    my $path  = temp_path('handles');
    my @pools = map { $I64->new($path, 300) } 1 .. 5;
    my %got;
    for my $round (0 .. 299) { $got{ $pools[ $round % 5 ]->try_alloc }++ }
    is_deeply([ sort { $a <=> $b } keys %got ], [ 0 .. 299 ], 'slots taken through all of them are distinct');
    is($_->try_alloc, undef, 'all see it full') for @pools;
    $pools[0]->free(123);
    is($pools[3]->try_alloc, 123, 'what one frees, another gets');
};

subtest 'an index is 0 or more, and 0 is no failure' => sub {
    my $pool = $I64->new(undef, 1);
    my $slot = $pool->alloc;
    is($slot, 0, 'the only slot is 0');
    ok(defined $slot, 'which is defined');
};

done_testing;
