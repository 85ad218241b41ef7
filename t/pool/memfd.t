# A memfd: a pool without a path, for those who have the descriptor. It cannot be shrunk.
use strict;
use warnings;
use Fcntl qw(F_GETFD FD_CLOEXEC);
use Test::More;
use lib 't/lib';
use PoolTest;

# A duplicate of the descriptor as a handle; inherited by programs that are started.
sub inherited {
    my ($pool) = @_;
    local $^F = 1000;
    open my $handle, '+<&', $pool->memfd or die "dup: $!";
    return $handle;
}

for my $kind (classes()) {
    my ($name, $class) = @$kind{qw(name class)};
    my $pool   = make($kind, 'memfd', 10);
    my $slot   = $pool->alloc_set($kind->{one});
    my $handle = inherited($pool);

    open my $output, '-|',
        perl_command(
        q{my ($class, $fd, $slot) = @ARGV; my $p = $class->new_from_fd($fd); $p->set($p->alloc, $p->get($slot)); print $p->capacity},
        $class, fileno $handle, $slot)
        or die "cannot run perl: $!";
    is(readline $output, 10, "$name: another program opens the descriptor that it inherited");
    close $output;
    is_deeply([ map { $pool->get($_) } @{ $pool->allocated_slots } ], [ ($kind->{one}) x 2 ], "$name: both work on one pool");
    is($pool->recover_stale, 1, "$name: what the other held is stale when it has ended");

    open my $flags, '<&=', $pool->memfd or die;
    ok(fcntl($flags, F_GETFD, 0) & FD_CLOEXEC, "$name: the pool's own descriptor is closed on exec");

    my $size = -s $handle;
    cmp_ok($size, '>=', $pool->stats->{mmap_size}, "$name: the memfd is as large as the mapping");
    ok(!truncate($handle, 0),         "$name: it cannot be shrunk");
    ok(!truncate($handle, $size - 1), "$name: not by a byte");
    is($!{EPERM} ? 'EPERM' : "$!", 'EPERM',      "$name: which is not permitted");
    is(-s $handle,                 $size,        "$name: its size is what it was");
    is($pool->get($slot),          $kind->{one}, "$name: and so is the value");

    my $third = $class->new_from_fd($pool->memfd);
    ok(!truncate(inherited($third), 0), "$name: nor through an object of new_from_fd");
    is($class->new_from_fd($third->memfd)->get($slot), $kind->{one}, "$name: whose descriptor can be handed on");
    dies_with { $class->new_from_fd($pool->memfd, 11, @{ $kind->{size} }) } qr/incompatible/, qr/10/, qr/11/,
        "$name: a capacity that is not the pool's is refused";
    is($class->new_from_fd($pool->memfd, 10, @{ $kind->{size} })->capacity, 10,    "$name: the right one is not");
    is($pool->path,                                                         undef, "$name: there is no path");
}

subtest 'the name is what /proc shows' => sub {
    my $pool = Data::Pool::Shared::I64->new_memfd('a name', 1);
    like(readlink '/proc/self/fd/' . $pool->memfd, qr/memfd:a name/, 'as given');
    dies_with { Data::Pool::Shared::I64->new_memfd("a\0b",     1) } qr/NUL/,                   'a NUL in it is refused';
    dies_with { Data::Pool::Shared::I64->new_memfd('x' x 1000, 1) } qr/cannot create a memfd/, 'a name that is too long';
    isnt(Data::Pool::Shared::I64->new_memfd('a name', 1)->alloc_set(5), undef, 'it need not be unique');
};

subtest 'a descriptor that is another object' => sub {
    my $pool   = Data::Pool::Shared::I64->new_memfd('test', 4);
    my $fd     = $pool->memfd;
    my $second = Data::Pool::Shared::I64->new_from_fd($fd);
    my $slot   = $second->alloc_set(9);
    undef $pool;
    is($second->get($slot), 9, 'lives on when the first is closed');
    dies_with { Data::Pool::Shared::I64->new_from_fd($fd) } qr/invalid/, 'whose descriptor is not valid any more';
    is(in_child { $second->add($slot, 1) }->result, 10, 'a child has it, too');
};

subtest 'a memfd of another process, by its /proc path' => sub {
    my $child =
        in_child { my $pool = Data::Pool::Shared::I64->new_memfd('test', 4); $pool->alloc_set(33); $_[0]->say($pool->memfd); $_[0]->hear };
    my $fd   = $child->hear;
    my $pool = Data::Pool::Shared::I64->new('/proc/' . $child->pid . "/fd/$fd");
    is($pool->get(0),   33,          'can be opened');
    is($pool->owner(0), $child->pid, 'and is the same pool');
    $child->end;
};

done_testing;
