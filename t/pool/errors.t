# What is refused: slots that are not there, objects that are no pools.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

my $RAW = 'Data::Pool::Shared';

{

    package Amount;
    use overload '0+' => sub { ${ $_[0] } }, '""' => sub {"amount ${ $_[0] }"}, fallback => 1;

    package Adds;
    use overload '+' => sub {1}, fallback => 1;
}

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
        for my $bad (10, 11, -1, -10, 2**31, 2**32, 2**53, 2**64, -2**63, '10', '-1', 1e300, 'inf', 'nan', 1.7, -0.5, '9.5') {
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
        for my $bad ('total', '', '1x', "\x{263a}", [], {}, \1, sub {1}, qr/x/, *STDOUT, bless([], 'Plain')) {
            for my $method (sort keys %$takes) {
                dies_with { $pool->$method($bad, @{ $takes->{$method} }) }
                qr/^slot [ -~]* is out of range: it is not a number, and the pool has slots 0 to 9 /,
                    "$name on $backing: $method(" . (ref $bad || 'text') . ')';
            }
            for my $method (sort keys %$many) {
                dies_with { $pool->$method([ $good, $bad ], @{ $many->{$method} }) } qr/it is not a number/,
                    "$name on $backing: $method([good, " . (ref $bad || 'text') . '])';
            }
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

subtest 'an index is a whole number' => sub {
    my $pool = "${RAW}::I64"->new(undef, 10);
    $pool->set($_, $_ * 11) for map { $pool->alloc } 1 .. 10;
    is($pool->get('3'),                              33, 'a string of digits');
    is($pool->get(3.0),                              33, 'a double without a fraction');
    is($pool->get('3e0'),                            33, 'an exponent');
    is($pool->get(-0.0),                             0,  'minus zero');
    is($pool->get(bless \(my $three = 3), 'Amount'), 33, 'an object that is a number');
    dies_with { $pool->get(bless \(my $half = 3.5), 'Amount') } qr/slot 3\.5 is out of range/, 'or not a whole one';
    is(
        scalar(
            warnings_of {
                eval { $pool->get('x') }
            }
        ),
        0,
        'what is none is an exception, not a warning besides'
    );
};

subtest 'a reference is not a value' => sub {
    my %stores = (
        set       => sub { my ($pool, $slot, $value) = @_; $pool->set($slot, $value) },
        set_n     => sub { my ($pool, $slot, $value) = @_; $pool->set_n([$slot], [$value]) },
        alloc_set => sub { my ($pool, $slot, $value) = @_; $pool->try_alloc_set($value) },
        bind      => sub { my ($pool, $slot, $value) = @_; $pool->bind($slot, my $bound); $bound = $value },
        add       => sub { my ($pool, $slot, $value) = @_; $pool->add($slot, $value) },
        add_n     => sub { my ($pool, $slot, $value) = @_; $pool->add_n([$slot], [$value]) },
        xchg      => sub { my ($pool, $slot, $value) = @_; $pool->xchg($slot, $value) },
        cas       => sub { my ($pool, $slot, $value) = @_; $pool->cas($slot, $pool->get($slot), $value) },
    );
    for my $kind (classes()) {
        my $pool = make($kind, 'anonymous', 2);
        my $slot = $pool->alloc_set($kind->{one});
        for my $method (grep { $pool->can($_) } sort keys %stores) {
            for my $bad ({}, [ 1, 2 ], \1, sub {1}, qr/x/, bless({}, 'Plain'), bless({}, 'Adds')) {
                dies_with { $stores{$method}->($pool, $slot, $bad) } qr/is a reference: not a value of a slot at \Q${\__FILE__}\E/,
                    "$kind->{name}: $method of " . ref $bad;
            }
        }
        is($pool->get($slot), $kind->{one}, "$kind->{name}: nothing was stored");
        is($pool->used,       1,            "$kind->{name}: and nothing allocated");
        $pool->set($slot, bless \(my $seven = 7), 'Amount');
        like($pool->get($slot), $kind->{name} =~ /\d/ ? qr/^7$/ : qr/^amount 7/, "$kind->{name}: an object is what it says that it is");
        $pool->set_n([$slot], [ bless \(my $eight = 8), 'Amount' ]);
        like($pool->get($slot), $kind->{name} =~ /\d/ ? qr/^8$/ : qr/^amount 8/, "$kind->{name}: also among many");
    }
    my $pool = "${RAW}::I64"->new(undef, 1);
    $pool->alloc;
    dies_with { $pool->alloc([]) } qr/timeout is not a number/, 'nor a timeout';
    dies_with { "${RAW}::I64"->new(undef, []) } qr/capacity must be at least 1, not ARRAY/, 'nor a size';
    for my $bad (undef, 'x', [], 1.5) {
        dies_with { $pool->eventfd_set($bad) } qr/is not a file descriptor/, 'nor a descriptor: ' . ($bad // 'undef');
        dies_with { "${RAW}::I64"->new_from_fd($bad) } qr/is not a file descriptor/, 'nor one to attach by: ' . ($bad // 'undef');
    }
};

subtest 'messages are ASCII, whatever they are about' => sub {
    my $pool = "${RAW}::I64"->new(undef, 2);
    my $slot = $pool->alloc;
    my $text = "\x{e9}\x{263a}" x 500;
    for my $code (
        sub { $pool->get($text) },
        sub { "${RAW}::I64"->new(undef, -1, { $text => 1 }) },
        sub { no warnings; "${RAW}::I64"->new(undef, $text) },
        sub { no warnings; $pool->set($slot, '9' x 30 . $text) },
        sub { $pool->set($slot, bless {}, "Kind\x{263a}") },
        )
    {
        dies_with { $code->() } qr/\A[ -~]{10,300}\n\z/, 'printable, and short';
    }
    for my $source (qw(Shared.xs pool.h pool_grow.h pool_lock.h)) {
        my @literals = read_file($source) =~ s{/\*.*?\*/}{}gsr =~ /("(?:[^"\\\n]|\\.)*")/g;
        is(join('', grep {/[^ -~]/} @literals), '', "$source says nothing that is not");
    }
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
