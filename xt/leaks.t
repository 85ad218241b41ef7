#!/usr/bin/env perl
# Memory and descriptors stay flat over 100,000 rounds of everything that makes and
# drops something. Each kind runs in a process of its own, first a tenth of the
# rounds to fill perl's pools, then the rest, which must add nothing.
use strict;
use warnings;
use File::Temp 'tempdir';
use Test::More;
use Data::Pool::Shared;

my $rounds = $ENV{POOL_LEAK_ROUNDS} // 100_000;
my $folder = tempdir(CLEANUP => 1);

sub status_kb {
    my ($field) = @_;
    open my $status, '<', '/proc/self/status' or die "/proc/self/status: $!\n";
    while (my $line = <$status>) { return $1 if $line =~ /^$field:\s+(\d+) kB/ }
    die "no $field\n";
}

sub descriptors {
    opendir my $dir, '/proc/self/fd' or die $!;
    return scalar grep { !/^\./ } readdir $dir;
}
sub mappings { open my $maps, '<', '/proc/self/maps' or die $!; return scalar(my @lines = <$maps>) }

sub resources { return (status_kb('VmRSS'), descriptors(), mappings()) }

sub flat {
    my ($name, $make) = @_;
    defined(my $pid = open my $from, '-|') or die "fork: $!\n";
    if (!$pid) {
        my $round = $make->();
        $round->() for 1 .. $rounds / 10;
        my ($kb, $fds, $maps) = resources();
        ($kb, $fds, $maps) = resources();    # not what looking costs the first time
        my (@after, @grown);
        for (1 .. 3) {                       # the kernel may give some more at once, and counts roughly; a leak goes on
            $round->() for 1 .. $rounds - $rounds / 10;
            @after = resources();
            push @grown, $after[0] - $kb;
            last if $grown[-1] <= 512;
            $kb = $after[0];
        }
        my ($least) = sort { $a <=> $b } @grown;
        print join(' ', $least, $after[1] - $fds, $after[2] - $maps), "\n";
        close STDOUT;
        kill KILL => $$;                     # no END blocks, no temporary folder removed
    }
    my $line = <$from> // '';
    close $from;
    my ($kb, $fds, $maps) = split ' ', $line;
    ok defined $maps, "$name: ran" or return;
    cmp_ok $kb, '<=', 512, "$name: memory is flat after $rounds rounds (grown by $kb kB)";
    is $fds, 0, "$name: no descriptor left";
    cmp_ok abs $maps, '<=', 5, "$name: no mapping left";    # neighbours merge and split
    return;
}

my @classes = qw(I64 I32 F64 Str);
my $ints    = Data::Pool::Shared::I64->new(undef, 100);
my $strs    = Data::Pool::Shared::Str->new(undef, 100, 40);

flat 'anonymous pools' => sub {
    sub {                                                   # a guard, a view or a bound scalar that leaks keeps its pool mapped
        my $pool = Data::Pool::Shared::I64->new(undef, 10);
        my ($slot, $guard) = $pool->alloc_guard;
        my $view = \$pool->slot_sv($slot);
        $pool->bind($slot, my $bound);
    }
};
flat 'pools in a file' => sub {
    sub { my $pool = Data::Pool::Shared::Str->new("$folder/pool", 10, 20); $pool->free($pool->alloc) }
};
flat 'pools in a memfd' => sub {
    sub { my $pool = Data::Pool::Shared->new_memfd('leaks', 10, 16); Data::Pool::Shared->new_from_fd($pool->memfd)->capacity }
};
flat 'eventfd' => sub {
    sub { my $pool = Data::Pool::Shared::I32->new(undef, 1); $pool->eventfd; $pool->notify; $pool->eventfd_consume }
};
flat 'constructors that die' => sub {
    sub {
        eval { Data::Pool::Shared::I64->new('/nowhere/pool', 10) };
        eval { Data::Pool::Shared::I64->new("$folder/pool",  11) }
    }
};
flat 'guards' => sub {
    sub { my ($slot, $guard) = $ints->alloc_guard; my $other = $ints->try_alloc_guard; $other->release }
};
flat 'bound scalars' => sub {
    my $slot = $ints->alloc;
    sub { $ints->bind($slot, my $bound); $bound++; $ints->bind($slot, $bound) }
};
flat 'views' => sub {
    my $slot = $strs->alloc_set('text');
    sub { my $view = \$strs->slot_sv($slot); length $$view }
};
flat 'many at once' => sub {
    sub { my $slots = $ints->alloc_n(50); $ints->set_n($slots, 1); $ints->add_n($slots, $ints->get_n($slots)); $ints->free_n($slots) }
};
flat 'exceptions and warnings' => sub {
    my $slot = $strs->alloc;
    no warnings;
    sub {
        eval { $ints->get(1000) };
        eval { $ints->set($slot, 'x') };
        use warnings FATAL => 'Data::Pool::Shared';
        eval { $strs->set($slot, 'x' x 50) };
    }
};
flat 'callbacks' => sub {
    my $slot = $ints->alloc;
    sub {
        $ints->each_allocated(sub { $_[0] });
        $ints->recover_stale(sub { });
        $ints->stats;
        $ints->allocated_slots;
    }
};

done_testing;
