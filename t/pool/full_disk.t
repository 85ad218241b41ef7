# A full filesystem is an exception from new, or from alloc of a sparse pool, never a SIGBUS.
use strict;
use warnings;
use POSIX ();
use Test::More;
use lib 't/lib';
use PoolTest;

# In a mount namespace of its own the test can mount a small filesystem that nobody else sees.
if (!@ARGV) {
    my @unshare = unshare_command('--mount') or plan skip_all => 'mount namespaces cannot be made here';
    my $folder  = temp_path('small');
    mkdir $folder or die "mkdir: $!";
    my @include = map {"-I$_"} grep { !ref } @INC;
    if (system(@unshare, 'sh', '-c', 'mount -t tmpfs -o size=1m none "$0" 2>/dev/null', $folder) != 0) {
        plan skip_all => 'a small tmpfs cannot be mounted here';
    }
    my $status = system @unshare, 'sh', '-c', 'mount -t tmpfs -o size=1m none "$0" && exec "$@"', $folder, $^X, @include, $0, $folder;
    exit($status & 127 ? 1 : $status >> 8);
}
my ($folder) = @ARGV;
my $RAW      = 'Data::Pool::Shared';
my $I64      = "${RAW}::I64";

# Fill it to the last block, but for some kilobytes.
sub fill {
    my ($but) = @_;
    open my $file, '>:raw', "$folder/ballast" or die "open: $!";
    while (syswrite $file, "\0" x 4096) { }
    truncate $file, (-s $file) - $but * 1024;
    close $file;
    return;
}

sub leftover {
    return [ map {s{.*/}{}r} grep { !/ballast/ } glob "$folder/*" ];
}

subtest 'new' => sub {
    for my $kind (classes()) {
        for my $options ([], [ { mode => 0644 } ], [ { populate => 1 } ]) {
            dies_with { $kind->{class}->new("$folder/pool", 10_000_000, @{ $kind->{size} }, @$options) } qr/cannot create pool/,
                qr/No space left/,
                "$kind->{name}: a pool that does not fit dies";
            is_deeply(leftover(), [], "$kind->{name}: and leaves no file");
        }
        dies_with { $kind->{class}->new("$folder/pool", 1_000_000, @{ $kind->{size} }, { sparse => 1 }) } qr/No space left/,
            "$kind->{name}: a sparse one whose index does not fit, too";
        is_deeply(leftover(), [], "$kind->{name}: leaves no file, either");
    }
    write_file("$folder/empty", '');
    dies_with { $I64->new("$folder/empty", 10_000_000) } qr/No space left/, 'in an empty file that was there';
    is(-s "$folder/empty", 0, 'it is as it was');
    unlink "$folder/empty";
    fill(0);
    dies_with { $I64->new("$folder/pool", 1) } qr/No space left/, 'where not a block is free';
    is_deeply(leftover(), [], 'no file is left');
    unlink "$folder/ballast";
    my $pool = $I64->new("$folder/pool", 1000);
    fill(0);
    is(scalar @{ $pool->alloc_n(1000) }, 1000, 'a pool that was made before the disk was full can be used whole');
    $pool->set($_, $_) for 0 .. 999;
    is($pool->get(999),                     999, 'and written');
    is($I64->new("$folder/pool")->get(998), 998, 'and attached to');
    $pool->unlink;
    unlink "$folder/ballast";
};

subtest 'a sparse pool' => sub {
    my $pool = $RAW->new("$folder/sparse", 1000, 4096, { sparse => 1 });
    cmp_ok(-s "$folder/sparse", '>', 4_000_000, 'is larger than the disk');
    my @slots;
    my $error;
    while (@slots < 1000) {
        my $slot = eval { $pool->alloc_set('x' x 4096) };
        $error = $@;
        last if !defined $slot;
        push @slots, $slot;
    }
    cmp_ok(scalar @slots, '>', 50,   'gives slots while there is space');
    cmp_ok(scalar @slots, '<', 1000, 'and not more');
    like($error, qr/no space left on the filesystem/i, 'then alloc dies');
    is($pool->used,            scalar @slots, 'and takes nothing');
    is($pool->stats->{allocs}, scalar @slots, 'nor counts it');
    is_deeply([ map { $pool->get($_) eq 'x' x 4096 ? () : $_ } @slots ], [], 'the others keep their values');

    for my $call (
        ['alloc'],
        [ 'alloc', 0 ],
        [ 'alloc', 1 ],
        ['try_alloc'],
        [ 'alloc_set',     'x' ],
        [ 'try_alloc_set', 'x' ],
        ['alloc_guard'],
        ['try_alloc_guard'],
        [ 'alloc_n', 100 ],
        [ 'alloc_n', 100, 0 ]
        )
    {
        my ($method, @arguments) = @$call;
        dies_with { $pool->$method(@arguments) } qr/no space left/i, "$method(@arguments) dies";
        is($pool->used, scalar @slots, "$method(@arguments) changes nothing");
    }
    is($pool->stats->{waiters}, 0, 'nobody waits');
    dies_with { $RAW->new("$folder/sparse")->alloc } qr/no space left/i, 'the same for a second object';
    is(
        in_child {
            eval { $pool->alloc };
            $@ =~ /no space left/i ? 'died' : "lived $@"
        }
        ->result,
        'died',
        'and in a child'
    );

    $pool->free($slots[0]);
    my $again = $pool->alloc_set('y' x 4096);
    is($again,             $slots[0],  'a slot that was used before can be had again');
    is($pool->get($again), 'y' x 4096, 'and written');
    $pool->unlink;
};

# Without descriptors the kernel is asked for the pages; these can be refused as well.
subtest 'a sparse pool that has no descriptor and no path' => sub {
    for my $way ('closed', 'removed') {
        my $pool = $RAW->new("$folder/sparse", 1000, 4096, { sparse => 1 });
        $pool->alloc;
        $pool->unlink if $way eq 'removed';
        my $result = in_child {
            for my $fd (3 .. 99) { POSIX::close($fd) if $fd != fileno $_[0]{out} }
            if ($way eq 'closed') {
                while (defined POSIX::dup(0)) { }
            }
            my $got = 0;
            while (defined(my $slot = eval { $pool->alloc_set('x' x 4096) })) {
                $got++;
            }
            $@ =~ /no space left/i && $got > 50 && $got < 1000 ? 'died' : "$got: $@";
        }
        ->result;
        is($result, 'died', "$way: gives slots while there is space, then alloc dies");
        $pool->unlink if $way eq 'closed';
    }
};

subtest 'a sparse pool in the end gets all of the disk' => sub {
    my $pool = $I64->new("$folder/sparse", 40_000, { sparse => 1 });
    fill(8);
    my $slot = $pool->alloc;
    ok(defined $slot, 'what one slot needs is enough');
    $pool->set($slot, 9);
    is($pool->get($slot), 9, 'to write it');
    unlink "$folder/ballast";
    is(scalar @{ $pool->alloc_n(39_999) }, 39_999, 'when there is space again, all can be had');
    $pool->set($_, 1) for 0 .. 39_999;
    is($pool->get(39_999), 1, 'and written');
    $pool->unlink;
};

done_testing;
