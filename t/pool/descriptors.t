# A descriptor that the program closed may be somebody else's file by now, and a path
# another file: no pool touches what is not its own, and it goes on working.
use strict;
use warnings;
use POSIX ();
use Test::More;
use lib 't/lib';
use PoolTest;

my $RAW = 'Data::Pool::Shared';
my $I64 = "${RAW}::I64";

# Close all descriptors but the first three and that of the child's report, as daemons
# do, and open files that get their numbers. Returns the paths.
sub close_all_and_open_logs {
    my ($report) = @_;
    for my $fd (3 .. 255) { POSIX::close($fd) if $fd != fileno $report->{out} }
    my @logs = map { temp_path("log$_") } 1 .. 40;
    for my $log (@logs) {
        my $fd = POSIX::open($log, POSIX::O_RDWR() | POSIX::O_CREAT() | POSIX::O_TRUNC(), 0600) // die "open: $!";
        POSIX::write($fd, 'important', 9);
    }
    return @logs;
}

sub open_now {
    return scalar grep { -e "/proc/self/fd/$_" } 3 .. 99;
}

sub spoiled {
    return join ' ', grep { read_file($_) ne 'important' } @_;
}

# What the code returns in a child that did that, and which files were spoiled.
sub as_daemon {
    my ($code) = @_;
    return in_child {
        my @logs   = close_all_and_open_logs($_[0]);
        my $result = eval { $code->() } // "died: $@";
        "$result; spoiled: " . spoiled(@logs);
    }
    ->result;
}

# Slots of 64 kB: four to an extent, so that some of these need new blocks.
sub ten_slots {
    my ($pool) = @_;
    my $kept = 0;
    for my $n (1 .. 10) {
        my $slot = $pool->alloc_set("slot $n" x 1000);
        $kept++ if $pool->get($slot) =~ /^slot $n/;
    }
    return "$kept slots";
}

sub sparse {
    my ($name) = @_;
    my $pool = $RAW->new(temp_path($name), 1000, 1 << 16, { sparse => 1 });
    $pool->alloc;
    return $pool;
}

subtest 'a sparse pool' => sub {
    my $pool = sparse('sparse');
    is as_daemon(sub { ten_slots($pool) }), '10 slots; spoiled: ', 'whose descriptors were closed';
    my $blocks = (stat $pool->path)[12];
    cmp_ok $blocks * 512, '>', 10 << 16, '(its blocks are reserved)';

    my $path = temp_path('sparse');
    rename $path, "$path.old" or die "rename: $!";
    is as_daemon(sub { ten_slots($pool) }), '10 slots; spoiled: ', 'and whose file has another name';
    write_file($path, 'of others');
    is as_daemon(sub { ten_slots($pool) }), '10 slots; spoiled: ', 'and whose path is another file';
    is read_file($path),                    'of others',           'which is left alone';
    ok !$pool->unlink, 'unlink does not remove it';
    is read_file($path), 'of others', 'really';
    unlink "$path.old";
    is as_daemon(sub { ten_slots($pool) }), '10 slots; spoiled: ', 'and whose file was removed';
};

subtest 'no descriptor is left' => sub {
    my $pool   = sparse('busy');
    my $result = in_child {
        my @taken;
        while (defined(my $fd = POSIX::dup(0))) { push @taken, $fd }
        ten_slots($pool);
    }
    ->result;
    is $result, '10 slots', 'a sparse pool grows';
};

subtest 'chroot' => sub {
    plan skip_all => 'only root can chroot' if $> != 0;
    my $pool   = sparse('jailed');
    my $events = $I64->new(undef, 1);
    my $fd     = $events->eventfd;
    mkdir temp_path('jail') or die "mkdir: $!";
    my $result = in_child {
        chroot temp_path('jail') or die "chroot: $!";
        chdir '/'                or die "chdir: $!";
        join ', ', ten_slots($pool), $events->notify ? 'notified' : 'not notified';
    }
    ->result;
    is $result,                  '10 slots, notified', 'a sparse pool grows, and eventfds work without /proc';
    is $events->eventfd_consume, 1,                    'the parent was told';
};

subtest 'eventfd' => sub {
    my $pool = $I64->new(undef, 4);
    $pool->eventfd;
    is as_daemon(sub { $pool->notify ? 'told' : 'nobody' }),   'nobody; spoiled: ',  'notify writes to nobody else';
    is as_daemon(sub { $pool->eventfd_consume // 'nothing' }), 'nothing; spoiled: ', 'consume reads of nobody else';
    is as_daemon(sub { join ' ', $pool->fileno, $pool->eventfd > 2, $pool->notify, $pool->eventfd_consume }), '-1 1 1 1; spoiled: ',
        'there is none; a new one is made, which works';
    is as_daemon(sub { my $before = open_now(); undef $pool; open_now() - $before }), '0; spoiled: ', 'it closes nobody else\'s'
        if -e '/proc/self/fd/0';

    my $other = $I64->new(undef, 1);
    my $fd    = $other->eventfd;
    my $taken = in_child {
        my $number = $pool->fileno;
        POSIX::close($number);
        POSIX::dup2($fd, $number) // die "dup2: $!";
        join ' ', $pool->notify ? 'told' : 'nobody', $pool->fileno, $other->eventfd_consume // 'nothing';
    }
    ->result;
    my ($known) = `uname -r` =~ /^(\d+\.\d+)/;
    SKIP: {
        skip 'before Linux 5.2 two eventfds are one to a program', 1 if sprintf('%d.%03d', split /\./, $known) < 5.002;
        is $taken, 'nobody -1 nothing', 'another eventfd is another';
    }
    pipe my $in, my $out or die "pipe: $!";
    for my $handle ($out, \*STDIN) {
        dies_with { $pool->eventfd_set(fileno $handle) } qr/cannot use descriptor \d+: it is not an eventfd/,
            'what is no eventfd is refused';
    }
};

subtest 'memfd' => sub {
    my $pool = $I64->new_memfd(test => 4);
    is as_daemon(sub { my $slot = $pool->alloc_set(7); join ' ', $pool->memfd, $pool->get($slot) }), '-1 7; spoiled: ',
        'the pool works, and has no descriptor';
    is as_daemon(sub { my $before = open_now(); undef $pool; open_now() - $before }), '0; spoiled: ', 'it closes nobody else\'s'
        if -e '/proc/self/fd/0';
    my $program = 'POSIX::close(0); my $p = Data::Pool::Shared::I64->new_memfd(test => 1);'
        . 'my $q = Data::Pool::Shared::I64->new_from_fd($p->memfd); print join " ", $p->memfd > 2, $q->memfd > 2, $p->eventfd > 2';
    open my $out, '-|', perl_command("use POSIX (); $program") or die "perl: $!";
    is readline $out, '1 1 1', 'none is kept as standard input';
};

done_testing;
