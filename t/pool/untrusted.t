# A peer that scribbles over the pool spoils values; it cannot make us read or write elsewhere.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

sub scribble {
    my ($path, $at, $bytes) = @_;
    open my $file, '+<:raw', $path or die "open: $!";
    seek $file, $at, 0 or die "seek: $!";
    print {$file} $bytes;
    close $file or die "close: $!";
    return;
}

# All that one can do to a pool; errors are fine, signals are not.
sub use_pool {
    my ($kind, $pool) = @_;
    for my $slot (0, 1, 50, 99) {
        eval { $pool->get($slot) };
        eval { $pool->set($slot, $kind->{two}) };
        eval { my $view = \$pool->slot_sv($slot); my $length = length $$view; my $copy = $$view };
        eval { $pool->bind($slot, my $x); $x = $kind->{one}; my $copy = $x };
        eval { $pool->owner($slot); $pool->adopt($slot); $pool->free($slot) };
    }
    eval { $pool->$_ } for qw(try_alloc used available stats allocated_slots recover_stale try_alloc_guard);
    eval { $pool->alloc(0.001) };
    eval { my $slots = $pool->alloc_n(10, 0.001); $pool->free_n($slots) if $slots };
    eval { $pool->get_n([ 0 .. 99 ]) };
    eval { $pool->reset };
    return;
}

for my $kind (classes()) {
    subtest "what is scribbled over the header after attaching: $kind->{name}" => sub {
        my $path      = temp_path("scribbled-$kind->{name}");
        my $pool      = $kind->{class}->new($path, 100, @{ $kind->{size} });
        my $elem_size = $pool->elem_size;
        my $slot      = $pool->alloc_set($kind->{two});
        scribble($path, 0, "\xff" x 64);
        is(scalar @{ $pool->alloc_n(90) }, 90,           'slots can be allocated');
        is($pool->get($slot),              $kind->{two}, 'the geometry is not read again: the value is where it was');
        is($pool->capacity,                100,          'capacity is what it was');
        is($pool->elem_size,               $elem_size,   'elem_size, too');
        dies_with { $pool->get(100) } qr/out of range/, 'an index beyond it is refused as before';
        $pool->set($slot, $kind->{one});
        is($pool->get($slot),                                    $kind->{one}, 'set and get work');
        is(in_child { use_pool($kind, $pool); 'alive' }->result, 'alive',      'and all the others');
        dies_with { $kind->{class}->new($path) } qr/invalid|incompatible/, 'but nobody can attach any more';
    };

    subtest "random bytes over everything but the data: $kind->{name}" => sub {
        my $path = temp_path("random-$kind->{name}");
        my $pool = $kind->{class}->new($path, 100, @{ $kind->{size} });
        $pool->alloc_n(60);
        my $whole = read_file($path);
        srand 12345;
        my ($attached, $refused) = (0, 0);
        for my $round (1 .. 4) {
            my $child = in_child {
                my ($parent) = @_;
                my $mine = $kind->{class}->new($path);
                for my $part (1 .. 25) {
                    my $from   = $part % 2 ? 64 : int rand length $whole;
                    my $length = 1 + int rand 4096;
                    scribble($path, $from, join '',
                        map { chr int rand 256 } 1 .. ($from + $length > length $whole ? length($whole) - $from : $length));
                    use_pool($kind, $mine);
                }
                1;
            };
            $child->result;
            scribble($path, 0, $whole);
        }
        pass('no signal, no endless loop in a pool that is attached to');

        for my $round (1 .. 100) {
            my $at    = int rand 64;
            my $bytes = join '', map { chr int rand 256 } 0 .. rand 8;
            write_file(temp_path('header'), substr($whole, 0, $at) . $bytes . substr $whole, $at + length $bytes);
            my $attached_to = eval { $kind->{class}->new(temp_path('header')) };
            if ($attached_to) {
                $attached++;
                cmp_ok(
                    $attached_to->capacity * ($attached_to->elem_size + 16),
                    '<=',
                    length $whole,
                    'what can be attached to fits into its file'
                );
                use_pool($kind, $attached_to);
            } else {
                $refused++;
                like($@, qr/invalid|incompatible|too small/, 'what cannot says why');
            }
        }
        cmp_ok($refused, '>', 30, 'damaged headers are refused');
    };
}

subtest 'owner words that nobody can have' => sub {
    my $path = temp_path('owners');
    my $pool = Data::Pool::Shared::I64->new($path, 10);
    my $slot = $pool->alloc_set(5);
    my $at   = index read_file($path), pack 'Q', $pool->owner_word($slot);
    for my $word (~0, 1 << 63, (1 << 63) | $$, 0x3fffff, 1, ~0 >> 1) {
        scribble($path, $at, pack 'Q', $word);
        lives { $pool->recover_stale; $pool->stats; $pool->owner($slot); $pool->is_allocated($slot) } sprintf 'owner word %x', $word;
    }
    scribble($path, $at, pack 'Q', 0);
    is(scalar @{ $pool->alloc_n(10, 5) }, 10, 'and the pool can be used again');
};

done_testing;
