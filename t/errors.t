# What is refused: slots that are not there, objects that are no pools.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

my $RAW = 'Data::Pool::Shared';

# Every method that takes an index, with what follows it, for a class.
# The second list: those that need the slot to be allocated.
sub methods_for {
    my ($kind) = @_;
    my $value  = $kind->{one};
    my %takes  = (
        get          => [],
        set          => [$value],
        ptr          => [],
        slot_sv      => [],
        bind         => [ my $variable ],
        free         => [],
        is_allocated => [],
        owner        => [],
        adopt        => [],
        disown       => [],
    );
    %takes = (%takes, add  => [1], incr => [], decr => [], xchg => [1], cmpxchg => [ 0, 1 ], cas => [ 0, 1 ]) if $kind->{name} =~ /\d/;
    %takes = (%takes, wait => [ 1, 0 ], wake => []) if $kind->{name} =~ /I/;
    my %many = (get_n => [], set_n => [$value], free_n => []);
    $many{add_n} = [1] if $kind->{name} =~ /\d/;
    my %quiet = map { $_ => 1 } qw(free is_allocated owner adopt disown free_n);
    return (\%takes, \%many, \%quiet);
}

for my $kind (classes()) {
    my $name = $kind->{name};
    my ($takes, $many, $quiet) = methods_for($kind);
    for my $backing (backings()) {
        my $pool = make($kind, $backing, 10);
        my ($good) = $pool->alloc_set($kind->{two});
        for my $bad (10, 11, -1, -10, 2**31, 2**32, 2**53, 2**64, -2**63, '10', '-1', 1e300, 'inf', 'nan') {
            my $said = quotemeta $bad;
            for my $method (sort keys %$takes) {
                dies_with { $pool->$method($bad, @{ $takes->{$method} }) } qr/out of range/, qr/slot $said /i, qr/0 to 9\b/,
                    "$name on $backing: $method($bad)";
            }
            for my $method (sort keys %$many) {
                dies_with { $pool->$method([ $good, $bad ], @{ $many->{$method} }) } qr/out of range/,
                    "$name on $backing: $method([good, $bad])";
            }
        }
        for my $method (sort keys %$takes) {
            dies_with { $pool->$method(undef, @{ $takes->{$method} }) } qr/undef slot/, "$name on $backing: $method(undef)";
        }
        for my $method (sort keys %$many) {
            dies_with { $pool->$method([ $good, undef ], @{ $many->{$method} }) } qr/undef slot/,
                "$name on $backing: $method([good, undef])";
            for my $no_array (undef, 0, 'text', {}, \0, sub { }) {
                dies_with { $pool->$method($no_array, @{ $many->{$method} }) } qr/expected arrayref/,
                    "$name on $backing: $method(" . ($no_array // 'undef') . ')';
            }
        }
        my $free = $pool->alloc;
        $pool->free($free);
        for my $method (sort grep { !$quiet->{$_} } keys %$takes) {
            dies_with { $pool->$method($free, @{ $takes->{$method} }) } qr/slot $free is not allocated/,
                "$name on $backing: $method of a free slot";
        }
        for my $method (sort grep { !$quiet->{$_} } keys %$many) {
            dies_with { $pool->$method([ $good, $free ], @{ $many->{$method} }) } qr/slot $free is not allocated/,
                "$name on $backing: $method of a free slot";
        }
        for my $method (qw(free is_allocated adopt disown)) {
            ok(!$pool->$method($free), "$name on $backing: $method of a free slot is false");
        }
        is($pool->owner($free), 0, "$name on $backing: nobody owns a free slot");
        is_deeply($pool->allocated_slots, [$good], "$name on $backing: all that changed nothing");
        is($pool->get($good), $kind->{two}, "$name on $backing: nor the value");
    }
}

subtest 'an index is a number as perl understands it' => sub {
    my $pool = "${RAW}::I64"->new(undef, 10);
    $pool->set($_, $_ * 11) for map { $pool->alloc } 1 .. 10;
    is($pool->get('3'),   33, 'a string of digits');
    is($pool->get(3.7),   33, 'cut to an integer');
    is($pool->get('3e0'), 33, 'an exponent');
    is($pool->get(-0.0),  0,  'minus zero');
    my @warnings = warnings_of { is($pool->get('x'), 0, 'text counts as 0 …') };
    like("@warnings", qr/isn't numeric/, '… with a warning');
};

# All that can be called on a pool, with arguments that would do.
my %common = (
    (
        map { $_ => [] }
            qw(
            alloc try_alloc alloc_guard try_alloc_guard allocated_slots data_ptr capacity elem_size used available recover_stale reset
            path memfd sync unlink stats eventfd fileno notify eventfd_consume
            )
    ),
    (map { $_ => [0] } qw(free get ptr slot_sv is_allocated owner adopt disown alloc_n alloc_set try_alloc_set auto_recover eventfd_set)),
    (map { $_ => [ [0] ] } qw(free_n get_n)),
    set            => [ 0,   0 ],
    bind           => [ 0,   my $variable ],
    set_n          => [ [0], [0] ],
    each_allocated => [ sub { } ],
);
my %number =
    (add => [ 0, 1 ], incr => [0], decr => [0], xchg => [ 0, 1 ], cmpxchg => [ 0, 0, 1 ], cas => [ 0, 0, 1 ], add_n => [ [0], [1] ]);
my %integer = (wait    => [ 0, 0, 0 ], wake => [0]);
my %text    = (max_len => []);

for my $kind (classes()) {
    my ($name, $class) = @$kind{qw(name class)};
    my %methods = (%common, $name =~ /\d/ ? %number : (), $name =~ /I/ ? %integer : (), $name eq 'Str' ? %text : ());
    my %forged  = (
        'undef'                   => undef,
        'a number'                => 94_000_000_000,
        'a class name'            => $class,
        'a blessed integer'       => bless(\(my $integer = 94_000_000_000), $class),
        'a blessed zero'          => bless(\(my $zero = 0), $class),
        'a blessed hash'          => bless({ pool => 1 }, $class),
        'a blessed array'         => bless([1], $class),
        'a blessed sub'           => bless(sub {1}, $class),
        'a guard'                 => scalar $class->new(undef, 2, @{ $kind->{size} })->alloc_guard,
        'an unblessed array'      => [],
        'the reference of a copy' => \(my $copy = ${ $class->new(undef, 2, @{ $kind->{size} }) }),
    );
    my $destroyed = $class->new(undef, 2, @{ $kind->{size} });
    $destroyed->alloc;
    $destroyed->DESTROY;
    for my $method (sort keys %methods) {
        my $code = $class->can($method) or do { fail("$class can $method"); next };
        for my $what (sort keys %forged) {
            next if $method eq 'unlink' && !ref $forged{$what};    # a class method, too
            dies_with { $code->($forged{$what}, @{ $methods{$method} }) } qr/Expected a Data::Pool::Shared object/,
                "$name: $method on $what";
        }
        dies_with { $code->($destroyed, @{ $methods{$method} }) } qr/destroyed/, "$name: $method on a destroyed pool";
    }
    lives { $destroyed->DESTROY } "$name: a pool may be destroyed twice";
    lives { bless({}, $class)->DESTROY } "$name: destroying a forged object does nothing";
}

subtest 'a method of one class is refused by the pools of another' => sub {
    my %code      = ((map { $_ => "${RAW}::I64"->can($_) } keys %number, keys %integer), max_len => "${RAW}::Str"->can('max_len'));
    my %arguments = (%number, %integer, %text);
    my %fits      = (Raw => {}, Str => \%text, F64 => \%number, I64 => { %number, %integer }, I32 => { %number, %integer });
    for my $kind (classes()) {
        my $pool = make($kind, 'anonymous', 2);
        $pool->alloc_set($kind->{one});
        for my $method (grep { !$fits{ $kind->{name} }{$_} } sort keys %code) {
            dies_with { $code{$method}->($pool, @{ $arguments{$method} }) } qr/Expected a Data::Pool::Shared/,
                "$method on a $kind->{name} pool";
        }
        is($pool->get(0), $kind->{one}, "$kind->{name}: the value is as it was");
        my $other = bless $pool, $kind->{name} eq 'Raw' ? "${RAW}::I64" : $RAW;
        is($other->get(0), $kind->{one}, "$kind->{name}: a reblessed pool is what it was made as");
    }
};

subtest 'guards that are none' => sub {
    my $release = Data::Pool::Shared::Guard->can('release');
    for my $bad (undef, 1, [], bless({}, "${RAW}::Guard"), bless(\(my $i = 1), "${RAW}::Guard"), $RAW->new(undef, 1, 1)) {
        dies_with { $release->($bad) } qr/Expected a Data::Pool::Shared::Guard object/, 'release on ' . (ref $bad || $bad // 'undef');
    }
};

subtest 'an error names the line of the caller' => sub {
    my $pool = "${RAW}::I64"->new(undef, 1);
    my $line = __LINE__ + 1;
    eval { $pool->get(5) };
    like($@, qr/ at \Q${\__FILE__}\E line $line\b/, 'of a method in C');
    $line = __LINE__ + 1;
    eval { $pool->each_allocated('x') };
    like($@, qr/expected a code reference at \Q${\__FILE__}\E line $line\b/, 'of a method in Perl');
    $line = __LINE__ + 1;
    eval { "${RAW}::I64"->new(undef, 0) };
    like($@, qr/ at \Q${\__FILE__}\E line $line\b/, 'of a constructor');
    ok(!eval { $RAW->no_such_method; 1 }, 'a method that does not exist is perl\'s own error');
};

subtest 'wrong numbers of arguments are refused' => sub {
    my $pool = "${RAW}::I64"->new(undef, 1);
    $pool->alloc;
    for my $call (
        [ get      => () ],
        [ get      => 0, 0 ],
        [ set      => 0 ],
        [ set      => 0, 1, 2 ],
        [ alloc    => 1, 2 ],
        [ add      => 0 ],
        [ cas      => 0, 1 ],
        [ capacity => 1 ]
        )
    {
        my ($method, @arguments) = @$call;
        dies_with { $pool->$method(@arguments) } qr/Usage: /, "$method with " . @arguments;
    }
    dies_with { $pool->alloc_n(-1, 0) } qr/cannot allocate -1 slots/, 'alloc_n(-1)';
    dies_with { $pool->recover_stale('x') } qr/expected a code reference/, 'recover_stale takes a code reference';
    dies_with { $pool->alloc('nan') } qr/timeout is not a number/,         'a timeout that is no number';
};

subtest 'unlink says what it cannot' => sub {
    for my $backing (qw(anonymous memfd)) {
        my $pool = make((classes())[1], $backing, 1);
        dies_with { $pool->unlink } qr/cannot unlink/, "a pool on $backing has no path";
    }
    dies_with { $RAW->unlink } qr/cannot unlink/, 'the class without a path';
    dies_with { $RAW->unlink(undef) } qr/cannot unlink/, 'the class with undef';
    dies_with { $RAW->unlink(temp_folder()) } qr/cannot unlink.*directory/i, 'a directory';
};

done_testing;
