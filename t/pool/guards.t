# A guard frees its slot when it goes, and only that allocation.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

for my $kind (classes()) {
    for my $backing (backings()) {
        my ($what, $pool) = ("$kind->{name} on $backing", make($kind, $backing, 3));
        {
            my @result = $pool->alloc_guard;
            is(@result, 2, "$what: alloc_guard in list context is two things");
            my ($slot, $guard) = @result;
            isa_ok($guard, 'Data::Pool::Shared::Guard', "$what: the second");
            ok($pool->is_allocated($slot), "$what: the first is a slot that is allocated");
            is($guard->index, $slot, "$what: the guard knows it");
            my $scalar = $pool->try_alloc_guard;
            isa_ok($scalar, 'Data::Pool::Shared::Guard', "$what: try_alloc_guard in scalar context");
            ok($pool->is_allocated($scalar->index), "$what: it holds a slot, too");
            my ($third) = my @third = $pool->alloc_guard(0.01);
            is(@third,      2, "$what: alloc_guard with a timeout");
            is($pool->used, 3, "$what: all are taken");
        }
        is($pool->used, 0, "$what: all are free at the end of the block");
    }
}

my $pool = Data::Pool::Shared::I64->new(undef, 2);

subtest 'however the block is left' => sub {
    eval { my ($slot, $guard) = $pool->alloc_guard; die "left\n" };
    is($pool->used, 0, 'by an exception');
    for my $round (1) { my ($slot, $guard) = $pool->alloc_guard; last }
    is($pool->used, 0, 'by last');
    my $sub = sub { my ($slot, $guard) = $pool->alloc_guard; return $pool->used };
    is($sub->(),    1, 'by return: held until then');
    is($pool->used, 0, 'and free after it');
    $pool->alloc_guard;
    is($pool->used, 0, 'a guard that nobody keeps');
};

subtest 'only its own allocation' => sub {
    my ($slot, $guard) = $pool->alloc_guard;
    ok($pool->free($slot), 'the slot is freed by hand');
    my $again = $pool->alloc_set(7);
    is($again, $slot, 'and allocated again');
    undef $guard;
    is($pool->get($again), 7, 'the old guard does not free the new allocation');
    $pool->free($again);

    ($slot, $guard) = $pool->alloc_guard;
    $pool->free($slot);
    lives { undef $guard } 'a guard of a slot that is free does nothing';
    is($pool->used, 0, 'nothing is allocated');

    ($slot, $guard) = $pool->alloc_guard;
    $pool->disown($slot);
    undef $guard;
    ok($pool->is_allocated($slot), 'a guard does not free what was given away');
    $pool->free($slot);

    ($slot, $guard) = $pool->alloc_guard;
    in_child { $pool->adopt($slot) }->result;
    undef $guard;
    ok($pool->is_allocated($slot), 'nor what another process has adopted');
    $pool->free($slot);
};

subtest 'release and cancel' => sub {
    my ($slot, $guard) = $pool->alloc_guard;
    ok($guard->release,             'release frees now, and is true');
    ok(!$pool->is_allocated($slot), 'the slot is free');
    is($guard->index, undef, 'the guard guards nothing any more');
    ok(!$guard->release, 'a second release is false');
    ok(!$guard->cancel,  'so is cancel');
    ($slot, $guard) = $pool->alloc_guard;
    ok($guard->cancel, 'cancel is true');
    undef $guard;
    ok($pool->is_allocated($slot), 'and keeps the slot');
    $pool->free($slot);
    ($slot, $guard) = $pool->alloc_guard;
    $pool->free($slot);
    ok(!$guard->release, 'release of a slot that was freed is false');
};

subtest 'a guard keeps the pool open' => sub {
    my $path = temp_path('kept');
    my $file = Data::Pool::Shared::I64->new($path, 2);
    my ($slot, $guard) = $file->alloc_guard;
    undef $file;
    my $second = Data::Pool::Shared::I64->new($path);
    ok($second->is_allocated($slot), 'the slot is held without the object');
    undef $guard;
    ok(!$second->is_allocated($slot), 'and freed with the guard');
};

subtest 'a guard frees only in the process that made it' => sub {
    my ($slot, $guard) = $pool->alloc_guard;
    is(in_child { undef $guard; $pool->is_allocated($slot) }->result, 1,      'a child drops its copy: the slot stays');
    is(in_child { $guard->release ? 'freed' : 'kept' }->result,       'kept', 'a child releases its copy: the slot stays');
    if (defined(my $pid = fork)) {
        exit 0 if !$pid;    # an ordinary exit: global destruction
        waitpid $pid, 0;
    }
    ok($pool->is_allocated($slot), 'a child exits: the slot stays');
    my $child = in_child { my ($own, $its) = $pool->alloc_guard; undef $its; $pool->used };
    is($child->result, 1, 'a guard of the child frees in the child');
    undef $guard;
    is($pool->used, 0, 'the guard of the parent in the parent');
};

subtest 'a guard frees when the program ends' => sub {
    my $path = temp_path('ends');
    my $file = Data::Pool::Shared::I64->new($path, 2);
    system perl_command(q{our ($slot, $guard) = Data::Pool::Shared::I64->new($ARGV[0])->alloc_guard; exit 0}, $path);
    is($? >> 8,                0, 'the program ended well');
    is($file->used,            0, 'its slot is free');
    is($file->stats->{allocs}, 1, 'which it had');
};

done_testing;
