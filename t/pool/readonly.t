# The option readonly: a pool can be looked at where it may not be written.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

my $RAW = 'Data::Pool::Shared';
my $I64 = "${RAW}::I64";

my %writes = (
    alloc           => [],
    try_alloc       => [],
    alloc_set       => [1],
    try_alloc_set   => [1],
    alloc_guard     => [],
    try_alloc_guard => [],
    alloc_n         => [1],
    free            => [0],
    free_n          => [ [0] ],
    reset           => [],
    set             => [ 0,   1 ],
    set_n           => [ [0], 1 ],
    bind            => [ 0,   my $variable ],
    adopt           => [0],
    disown          => [0],
    recover_stale   => [],
    auto_recover    => [1],
    unlink          => [],
);
my %number = (add => [ 0, 1 ], incr => [0], decr => [0], xchg => [ 0, 1 ], cas => [ 0, 0, 1 ], cmpxchg => [ 0, 0, 1 ], add_n => [ [0], 1 ]);

for my $kind (classes()) {
    my $path = temp_path($kind->{name});
    my $pool = $kind->{class}->new($path, 300, @{ $kind->{size} }, { mode => 0444 });
    my $slot = $pool->alloc_set($kind->{two});
    chmod 0444, $path;
    for my $view (
        $kind->{class}->new($path, { readonly => 1 }),
        $kind->{class}->new($path, 300, @{ $kind->{size} }, { readonly => 1 }),
        $RAW->attach($path, { readonly => 1 })
        )
    {
        isa_ok $view, $kind->{class};
        ok $view->is_readonly, 'is read-only';
        is $view->get($slot), $kind->{two}, "$kind->{name}: reads";
        is_deeply $view->get_n([$slot]),                                         [ $kind->{two} ], '... many';
        is_deeply $view->allocated_slots,                                        [$slot],          '... which are allocated';
        is_deeply [ $view->used, $view->owner($slot), !$view->is_stale($slot) ], [ 1, $$, 1 ],     '... and by whom';
        is $view->stats->{allocs},     1, '... the statistics';
        is scalar @{ $view->holders }, 1, '... the holders';
        ok length ${ \$view->slot_sv($slot) }, '... the bytes';
        my %methods = (%writes, $kind->{name} =~ /\d/ ? %number : (), $kind->{name} =~ /I/ ? (wake => [0]) : ());

        for my $method (sort keys %methods) {
            dies_with { $view->$method(@{ $methods{$method} }) }
            qr/writing is needed, and this .* object was made with the option readonly/,
                "$kind->{name}: $method says that writing is needed";
        }
        my $seen = in_child { join ' ', $view->used, $view->owner($slot) };
        is $seen->result, "1 $$", 'a child reads too';
    }
    is_deeply [ $pool->used, $pool->get($slot) ], [ 1, $kind->{two} ], 'nothing was changed';
}

subtest 'another user, who may only read' => sub {
    plan skip_all => 'only root can become another user' if $> != 0;
    my $path = temp_path('others');
    my $pool = $I64->new($path, 10, { mode => 0644 });
    $pool->alloc_set(5);
    chmod 0755, temp_folder();
    my $child = in_child {
        ($), $>) = ('65534 65534', 65534);
        my $error = eval { $I64->new($path); 1 } ? '' : $@;
        my $view  = $I64->new($path, { readonly => 1 });
        ($error, $view->get(0), $view->wait(0, 4, 5) ? 1 : 0, $view->wait(0, 5, 0.01) ? 1 : 0);
    };
    my ($error, @seen) = $child->result;
    like $error, qr/cannot open pool \Q$path\E: writing is needed \(to read only, attach with the option readonly\): Permission denied/,
        'is told that writing is needed';
    is_deeply \@seen, [ 5, 1, 0 ], '... and reads, and waits';
    chmod 0700, temp_folder();
};

subtest 'what cannot be' => sub {
    dies_with { $I64->new(undef, 10, { readonly => 1 }) } qr/a new pool cannot be readonly/, 'a new anonymous pool';
    dies_with { $I64->new_memfd(test => 10, { readonly => 1 }) } qr/a new pool cannot be readonly/, 'a new memfd';
    my $path = temp_path('none');
    dies_with { $I64->new($path, 10, { readonly => 1 }) } qr/cannot open pool .*No such file/, 'a file that is not there';
    ok !-e $path, '... which is not made';
    dies_with { $I64->new(write_file($path, ''), 10, { readonly => 1 }) } qr/invalid/, 'an empty file';
    is -s $path, 0, '... which stays so';
    my $memfd = $I64->new_memfd(test => 10);
    $memfd->alloc_set(9);
    is $I64->new_from_fd($memfd->memfd, { readonly => 1 })->get(0), 9, '(a memfd by its descriptor can)';
    dies_with { $RAW->attach($path, 5) } qr/expected a hash reference of options/, 'options that are none';
};

done_testing;
