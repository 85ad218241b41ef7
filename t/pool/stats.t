# stats: what the pool says of itself.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

for my $kind (classes()) {
    for my $backing (backings()) {
        my ($what, $pool) = ("$kind->{name} on $backing", make($kind, $backing, 100));
        my $stats = $pool->stats;
        is_deeply(
            [ sort keys %$stats ],
            [ sort qw(capacity elem_size used available waiters mmap_size allocs frees waits timeouts recoveries) ],
            "$what: the keys"
        );
        is($stats->{mmap_size} % 4096, 0, "$what: the mapping is whole pages");
        cmp_ok($stats->{mmap_size}, '>=', 100 * $pool->elem_size, "$what: which hold all slots");
        is(-s $pool->path,      $stats->{mmap_size}, "$what: and are the file") if $backing eq 'path';
        is($stats->{capacity},  100,                 "$what: capacity");
        is($stats->{elem_size}, $pool->elem_size,    "$what: elem_size");
        my $is = sub {
            my ($after, %expected) = @_;
            my $now = $pool->stats;
            is_deeply({ map { $_ => $now->{$_} } keys %expected }, \%expected, "$what: after $after");
        };
        $is->('nothing', used => 0, available => 100, allocs => 0, frees => 0, waits => 0, timeouts => 0, recoveries => 0, waiters => 0);
        my @slots = map { $pool->alloc } 1 .. 10;
        $is->('10 alloc', used => 10, available => 90, allocs => 10, frees => 0);
        $pool->free($_) for @slots[ 0 .. 3 ];
        $pool->free($slots[0]);
        $is->('4 free, one twice', used => 6, available => 94, allocs => 10, frees => 4);
        my $many = $pool->alloc_n(50);
        $is->('alloc_n', used => 56, allocs => 60, frees => 4);
        $pool->free_n($many);
        $is->('free_n', used => 6, allocs => 60, frees => 54);
        { my ($slot, $guard) = $pool->alloc_guard }
        $pool->alloc_set($kind->{one});
        $is->('a guard and alloc_set', used => 7, allocs => 62, frees => 55);
        $pool->alloc_n(100, 0);
        $is->('an alloc_n that had not enough', used => 7, allocs => 62, frees => 55, waits => 0);
        my $rest = $pool->alloc_n(93);
        $pool->try_alloc;
        $is->('a try_alloc that had none', used => 100, available => 0, waits => 0, timeouts => 0);
        $pool->alloc(0.001);
        $pool->alloc_n(2, 0.001);
        $is->('two timeouts', waits => 2, timeouts => 2, waiters => 0);
        $pool->free_n($rest);
        my $child = in_child { $pool->alloc_n(20); 1 };
        $child->result;
        $pool->recover_stale;
        $is->('a recovery', used => 7, recoveries => 20, allocs => 175, frees => 168);
        $pool->reset;
        $is->('reset', used => 0, available => 100, allocs => 175, frees => 175, recoveries => 20);
        is_deeply(
            $pool->stats,
            { %{ $pool->stats }, used => $pool->used, available => $pool->available },
            "$what: used and available agree with the methods"
        );
    }
}

subtest 'allocs and frees never go back' => sub {
    my $pool    = Data::Pool::Shared::I64->new(undef, 3);
    my @workers = map {
        in_child {
            for (1 .. 30_000) { $pool->free($pool->alloc); $pool->free_n($pool->alloc_n(2, 5) // []) }
            1;
        }
    } 1 .. 3;
    my ($last, $back, $looks) = ($pool->stats, 0, 0);
    while ($last->{frees} < 200_000) {
        my $now = $pool->stats;
        $back++ if $now->{frees} < $last->{frees} || $now->{allocs} < $last->{allocs};
        $last = $now;
        $looks++;
        last if $looks > 1_000_000;
    }
    $_->result for @workers;
    is($back, 0, "in $looks looks while three processes allocate and free");
    my $all = $pool->stats;
    is($all->{frees}, $all->{allocs}, 'and when they have done both are exact');
};

subtest 'they are the pool\'s, not the object\'s' => sub {
    my $path = temp_path('shared');
    my $pool = Data::Pool::Shared::I64->new($path, 10);
    in_child { $pool->free($pool->alloc) for 1 .. 5; 1 }->result;
    my $second = Data::Pool::Shared::I64->new($path);
    $second->alloc;
    is_deeply($pool->stats, $second->stats, 'both objects say the same');
    is($pool->stats->{allocs}, 6, 'of what all have done');
    undef $pool;
    undef $second;
    is(Data::Pool::Shared::I64->new($path)->stats->{allocs}, 6, 'and it stays in the file');
};

done_testing;
