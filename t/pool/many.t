# get_n, set_n and add_n: many slots in one call, all of them or none.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

for my $kind (classes()) {
    for my $backing (backings()) {
        my ($what, $pool) = ("$kind->{name} on $backing", make($kind, $backing, 100));
        my @slots = @{ $pool->alloc_n(90) };
        my $fresh = $pool->get($slots[0]);
        my ($one, $two) = @$kind{qw(one two)};

        is_deeply($pool->get_n([]), [], "$what: get_n of nothing");
        is($pool->set_n([], []), 0, "$what: set_n of nothing");
        is_deeply($pool->get_n(\@slots), [ ($fresh) x 90 ], "$what: get_n reads all");
        is($pool->set_n([ @slots[ 0 .. 9 ] ], [ ($one, $two) x 5 ]), 10, "$what: set_n counts");
        is_deeply($pool->get_n([ @slots[ 0 .. 10 ] ]), [ ($one, $two) x 5, $fresh ], "$what: and writes each its own");
        is_deeply($pool->get_n([ @slots[ 3, 3, 2 ] ]), [ $two, $two, $one ], "$what: in the order of the indices, repeated ones too");
        is($pool->set_n(\@slots, $two), 90, "$what: set_n of one value");
        is_deeply($pool->get_n(\@slots),           [ ($two) x 90 ], "$what: writes it to all");
        is_deeply([ $pool->get_n([ $slots[0] ]) ], [ [$two] ],      "$what: list context gives the one reference");

        my $unallocated = (grep { !$pool->is_allocated($_) } 0 .. 99)[0];
        for my $bad (
            [ 'out of range' => 100,          qr/out of range/ ],
            [ 'undef'        => undef,        qr/undef slot/ ],
            [ free           => $unallocated, qr/not allocated/ ]
            )
        {
            my ($name, $index, $message) = @$bad;
            dies_with { $pool->set_n([ @slots[ 0, 1 ], $index ], [ $one, $one, $one ]) } $message,
                "$what: set_n with an index $name at the end";
            dies_with { $pool->get_n([ @slots[ 0, 1 ], $index ]) } $message, "$what: get_n";
        }
        dies_with { $pool->set_n([ @slots[ 0, 1 ] ], [$one]) } qr/expected arrayref of 2 values/, "$what: too few values";
        dies_with { $pool->set_n([ @slots[ 0, 1 ] ], [ ($one) x 3 ]) } qr/expected arrayref of 2 values/, "$what: too many";
        dies_with { $pool->set_n([], [$one]) } qr/expected arrayref of 0 values/, "$what: values for no slot";
        is_deeply($pool->get_n(\@slots), [ ($two) x 90 ], "$what: none of these wrote anything");
    }
}

for my $name (qw(I64 I32 F64)) {
    my $pool  = "Data::Pool::Shared::$name"->new(undef, 10);
    my @slots = @{ $pool->alloc_n(5) };
    is_deeply($pool->add_n(\@slots, [ 1 .. 5 ]), [ 1 .. 5 ],   "$name: add_n returns the sums");
    is_deeply($pool->add_n(\@slots, 10),         [ 11 .. 15 ], "$name: of one number for all");
    $pool->add_n(\@slots, -10);
    is_deeply($pool->get_n(\@slots), [ 1 .. 5 ], "$name: in void context it adds, too");
    is_deeply($pool->add_n([ ($slots[0]) x 3 ], [ 1, 2, 3 ]), [ 2, 4, 7 ], "$name: a repeated slot is added to each time");
    is_deeply($pool->add_n([],                  []),          [],          "$name: nothing");
    my @before = @{ $pool->get_n(\@slots) };
    my $free   = (grep { !$pool->is_allocated($_) } 0 .. 9)[0];
    dies_with { $pool->add_n([ @slots, $free ], 1) } qr/not allocated/, "$name: a free slot at the end";
    dies_with { $pool->add_n([ @slots, 10 ],    1) } qr/out of range/,  "$name: an index that does not exist";
    dies_with { $pool->add_n(\@slots, [ 1, 2 ]) } qr/expected arrayref of 5 values/, "$name: too few numbers";
    dies_with { use warnings FATAL => 'numeric'; $pool->add_n(\@slots, [ 1 .. 4, 'x' ]) } qr/isn't numeric/,
        "$name: text, where that is fatal";

    if ($name ne 'F64') {
        dies_with { $pool->add_n(\@slots, [ 1 .. 4, 2**70 ]) } qr/does not fit/, "$name: what does not fit";
        dies_with { $pool->set_n(\@slots, [ 1 .. 4, 2**70 ]) } qr/does not fit/, "$name: in set_n";
    }
    is_deeply($pool->get_n(\@slots), \@before, "$name: none of these added anything");
    my ($min, $max) = $name eq 'I32' ? (-2**31, 2**31 - 1) : (-9223372036854775807 - 1, 9223372036854775807);
    next if $name eq 'F64';
    $pool->set_n(\@slots, $max);
    is_deeply($pool->add_n(\@slots, 1), [ ($min) x 5 ], "$name: add_n wraps around");
}

subtest 'arrays that are more than arrays' => sub {
    my $pool  = Data::Pool::Shared::I64->new(undef, 10);
    my @slots = sort { $a <=> $b } @{ $pool->alloc_n(5) };
    {

        package Doubled;
        require Tie::Array;
        our @ISA = 'Tie::StdArray';
        sub FETCH { $_[0][ $_[1] ] * 2 }
    }
    tie my @tied, 'Doubled';
    @tied = (0, 1, 2);
    is($pool->set_n(\@tied, [ 5, 6, 7 ]), 3, 'a tied array of indices');
    is_deeply($pool->get_n(\@slots), [ 5, 0, 6, 0, 7 ], 'is read through its FETCH');
    is($pool->set_n([ 0 .. 2 ], \@tied), 3, 'a tied array of values');
    is_deeply($pool->get_n([ 0 .. 2 ]), [ 0, 2, 4 ], 'too');
    my @holes;
    $#holes = 3;
    dies_with { $pool->get_n(\@holes) } qr/undef slot/, 'an array with holes';
    dies_with { $pool->get_n([ 0, [] ]) } qr/out of range/, 'a reference is no index';
    my @shrinking = (0, 1, 2, 3);
    tie $shrinking[1], 'PoolTest::Tied', sub { @shrinking = (); 1 };
    dies_with { $pool->get_n(\@shrinking) } qr/undef slot/, 'an array that goes while it is read';
    my $dropped = Data::Pool::Shared::I64->new(undef, 2);
    my $index   = $dropped->alloc;
    my ($slots_ref, $values_ref) = ([ $index, $index, $index ], [ 1, 1, 1 ]);
    tie $values_ref->[1], 'PoolTest::Tied', sub { undef $_ for $dropped, $slots_ref, $values_ref; 1 };
    lives { $dropped->set_n($slots_ref, $values_ref) } 'a value that drops the pool and the arrays';
    $slots_ref = [ 0, 0, 0 ];
    tie $slots_ref->[1], 'PoolTest::Tied', sub { undef $slots_ref; 0 };
    is_deeply($pool->get_n($slots_ref), [ (0) x 3 ], 'an index that drops its array');
};

subtest 'a value that changes the others while it is read' => sub {
    my $pool  = Data::Pool::Shared::Str->new(undef, 10, 100);
    my @slots = @{ $pool->alloc_n(3) };
    my @values;
    for my $changing (sub { $_ = 'changed ' x 4 for $values[0] }, sub { @values = () }, sub { undef $_ for @values[ 0, 2 ] }) {
        @values = ('first ' x 5, undef, 'third');
        tie $values[1], 'PoolTest::Tied', sub { $changing->(); 'second' };
        my @warnings = warnings_of { $pool->set_n(\@slots, \@values) };
        is($pool->get($slots[0]), 'first ' x 5, 'what was read before is as it was then');
        is($pool->get($slots[1]), 'second',     'and it is itself');
    }
};

subtest 'many slots share one wake, and all waiters get theirs' => sub {
    my $pool    = Data::Pool::Shared::I64->new(undef, 4);
    my $slots   = $pool->alloc_n(4);
    my @waiting = map {
        in_child { my $slot = $pool->alloc; $_[0]->hear; $slot }
    } 1 .. 4;
    ok(wait_until { $pool->stats->{waiters} == 4 }, 'four processes wait');
    is($pool->free_n($slots), 4, 'four slots are freed at once');
    ok(wait_until { $pool->used == 4 && $pool->stats->{waiters} == 0 }, 'all four go on');
    $_->say('end') for @waiting;
    is_deeply([ sort map { $_->result } @waiting ], [ 0 .. 3 ], 'each with a slot of its own');
};

done_testing;
