# Looking at a pool from outside: any class, who holds what, which of them are dead.
use strict;
use warnings;
use Test::More;
use File::Temp ();
use Data::Pool::Shared;

my $folder = File::Temp->newdir('pool-inspect-XXXXXX', TMPDIR => 1);

# A child that takes slots and lives until it is told to end: [pid, handle to close].
sub holder_of {
    my ($pool, $slots) = @_;
    pipe my $from_child,  my $to_parent or die "pipe: $!";
    pipe my $from_parent, my $to_child  or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        close $to_child;
        $pool->alloc_n($slots);
        syswrite $to_parent, 'x';
        sysread $from_parent, my $end, 1;
        kill KILL => $$;
    }
    sysread $from_child, my $ready, 1;
    return [ $pid, $to_child ];
}

sub end_of {
    my ($holder) = @_;
    close $holder->[1];
    waitpid $holder->[0], 0;
    return;
}

subtest 'attach takes a pool for what it is' => sub {
    my %pools = (
        raw => [ 'Data::Pool::Shared',      10, 24 ],
        I64 => [ 'Data::Pool::Shared::I64', 11 ],
        I32 => [ 'Data::Pool::Shared::I32', 12 ],
        F64 => [ 'Data::Pool::Shared::F64', 13 ],
        Str => [ 'Data::Pool::Shared::Str', 14, 20 ],
    );
    for my $variant (sort keys %pools) {
        my ($class, @geometry) = @{ $pools{$variant} };
        my $made = $class->new("$folder/$variant", @geometry, { sparse => $variant eq 'I64' });
        my $pool = Data::Pool::Shared->attach("$folder/$variant");
        is ref $pool,             $class,            "$variant: class";
        is $pool->variant,        $variant,          "$variant: variant";
        is $pool->capacity,       $geometry[0],      "$variant: capacity";
        is $pool->elem_size,      $made->elem_size,  "$variant: element size";
        is $pool->is_sparse,      $variant eq 'I64', "$variant: sparse or not";
        is $pool->format_version, 1,                 "$variant: version of the layout";
        $made->set($made->alloc, 7);
        like $pool->get($pool->allocated_slots->[0]), qr/^7/, "$variant: it is the same pool";
    }
    ok !eval { Data::Pool::Shared->attach("$folder/none") };
    like $@, qr/none: No such file.* at \Q$0\E line/, 'no file: the error is the caller\'s';
    ok !-e "$folder/none", 'and no file is made';
    ok !eval { Data::Pool::Shared->attach($0) };
    like $@, qr/invalid: not a pool/, 'another file';
    ok !eval { Data::Pool::Shared->attach(undef) };
    like $@, qr/path is missing/, 'no path';
};

subtest 'attach finds a memfd through /proc' => sub {
    my $pool = Data::Pool::Shared::I64->new_memfd('inspect', 8);
    my $slot = $pool->alloc_set(41);
    my $seen = Data::Pool::Shared->attach("/proc/$$/fd/" . $pool->memfd);
    is $seen->incr($slot), 42, 'same memory';
    is $pool->get($slot),  42, 'both ways';
};

subtest 'holders tell who has how many' => sub {
    my $pool   = Data::Pool::Shared::I64->new(undef, 300);
    my $mine   = $pool->alloc_n(5);
    my $holder = holder_of($pool, 100);
    $pool->disown($mine->[0]);
    my %slots = map { $_->{pid} => $_->{slots} } @{ $pool->holders };
    is_deeply \%slots, { $$ => 4, 0 => 1, $holder->[0] => 100 }, 'a living child, me, nobody';

    my %pids = map { $pool->owner_pid($_) => 1 } grep {$_} map { $pool->owner_word($_) } 0 .. 299;
    is_deeply \%pids, { $$ => 1, 0 => 1, $holder->[0] => 1 }, 'an owner word has its PID';
    my %count;    # where the child's slots lie depends on its PID
    $count{$_}++ for grep {$_} map { $pool->owner_word($_) } 100 .. 250;
    my %part = map { $_->{owner} => $_->{slots} } @{ $pool->holders(100, 250) };
    is_deeply \%part, \%count, 'a part of the pool: as counted slot by slot';
    ok !eval { $pool->holders(0, 300) };
    like $@, qr/out of range/, 'past the end';

    my $sum = 0;
    $sum += $_->{slots} for @{ $pool->holders };
    is $sum, $pool->used, 'the sum is what is used';
    end_of($holder);
};

subtest 'stale is what recovery would free' => sub {
    my $pool   = Data::Pool::Shared::I64->new(undef, 100);
    my $mine   = $pool->alloc;
    my $nobody = $pool->alloc;
    $pool->disown($nobody);
    my $holder = holder_of($pool, 20);
    my ($word) = map { $_->{owner} } grep { $_->{pid} == $holder->[0] } @{ $pool->holders };
    is_deeply [ grep { $pool->is_stale($_) } 0 .. 99 ], [], 'nothing while all live';
    ok !$pool->owner_is_dead($word), 'the child is not dead';
    end_of($holder);
    ok $pool->owner_is_dead($word),                       'now it is';
    ok !$pool->owner_is_dead($pool->owner_word($mine)),   'I am not';
    ok !$pool->owner_is_dead($pool->owner_word($nobody)), 'nobody is not';
    my @stale = grep { $pool->is_stale($_) } 0 .. 99;
    is $pool->used, 22, 'looking freed nothing';
    my @freed;
    $pool->recover_stale(sub { push @freed, $_[0] });
    is_deeply \@stale, \@freed, 'the slots that recovery then frees';
    is @stale, 20, 'all of the dead child';
    ok !eval { $pool->is_stale(100) };
    like $@, qr/out of range/, 'past the end';
};

subtest 'the age of an owner, dead or alive' => sub {
    my $pool   = Data::Pool::Shared::I64->new(undef, 100);
    my $slot   = $pool->alloc;
    my $holder = holder_of($pool, 1);
    my ($word) = map { $_->{owner} } grep { $_->{pid} == $holder->[0] } @{ $pool->holders };
    my ($young, $old) = map { $pool->owner_age($_) } $word, $pool->owner_word($slot);    # the clock goes on
    cmp_ok $young, '>=', 0,    'the child has an age';
    cmp_ok $young, '<=', $old, 'and is not older than its parent';
    my $started = do { open my $stat, '<', '/proc/self/stat' or die $!; (split ' ', readline($stat) =~ s/.*\) //r)[19] };
    my $uptime  = do { open my $up,   '<', '/proc/uptime'    or die $!; (split ' ', readline $up)[0] };
    require POSIX;
    my $age = $uptime - $started / POSIX::sysconf(POSIX::_SC_CLK_TCK());
    cmp_ok abs($pool->owner_age($pool->owner_word($slot)) - $age), '<', 30, 'my age is what /proc says';
    end_of($holder);
    cmp_ok $pool->owner_age($word), '>=', $young, 'the dead have one, too';
    $pool->disown($slot);
    is $pool->owner_age($pool->owner_word($slot)), undef, 'nobody has none';
    is $pool->owner_word(99),                      0,     'a free slot has no owner';
};

done_testing;
