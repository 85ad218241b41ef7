# PID namespaces: nobody in another one is taken for dead, until nobody lives there.
use strict;
use warnings;
use File::Temp ();
use Test::More;
use Time::HiRes qw(sleep);
use lib 't/lib';
use PoolTest;

my @unshare = unshare_command('--pid', '--fork', '--kill-child', '--mount-proc');
plan skip_all => 'PID namespaces cannot be made here' if !@unshare;

my $I64 = 'Data::Pool::Shared::I64';

# Inside: a process that lives, one that is dead, and an attempt to recover.
my $inside = q{
    $| = 1;
    my $pool = Data::Pool::Shared::I64->new($ARGV[0]);
    my $dead = fork;
    if (!$dead) { $pool->alloc_set(1); exit }
    waitpid $dead, 0;
    my $mine = $pool->alloc_set(2);
    pipe my $out, my $in;
    my $living = fork;
    if (!$living) { $pool->alloc_set(3); syswrite $in, 'x'; sleep 60; exit }
    sysread $out, my $ready, 1;
    my %left;
    my $freed = $pool->recover_stale(sub { $left{ $pool->get($_[0]) }++ });
    print join(' ', $freed, join(',', sort keys %left), $$, $pool->owner($mine)), "\n";
    my $go = <STDIN>;
    kill KILL => $living;
    waitpid $living, 0;
};
for my $proc ([ 'with its own /proc', '--mount-proc' ], ['with the /proc of the outer one']) {
    my ($what, @mount) = @$proc;
    subtest "a process in another PID namespace is never taken for dead, $what" => sub {
        my $path  = temp_path("namespace@mount");
        my $pool  = $I64->new($path, 20);
        my $mine  = $pool->alloc_set(100);
        my $child = in_child { $pool->alloc_set(101); $_[0]->say('ready'); $_[0]->hear };
        $child->hear;
        my $ended = in_child { $pool->alloc_set(102) };
        $ended->result;

        pipe my $go_out, my $go_in or die "pipe: $!";
        defined(my $pid = open my $output, '-|') or die "fork: $!";
        if (!$pid) {
            close $go_in;
            open STDIN, '<&', $go_out or die "dup: $!";
            exec unshare_command('--pid', '--fork', @mount), perl_command($inside, $path) or die "exec: $!";
        }
        close $go_out;
        my ($freed, $values, $inner_pid, $inner_owner) = split ' ', readline $output;
        is("$freed: $values", '1: 1',     'inside: only the dead sibling is stale, nobody of outside');
        is($inner_owner,      $inner_pid, 'inside: an owner is the PID of its own namespace');
        is_deeply([ sort map { $pool->get($_) } @{ $pool->allocated_slots } ], [ 100, 101, 102, 2, 3 ], 'outside: the others are there');
        my @recovered;
        is($pool->recover_stale(sub { push @recovered, $pool->get($_[0]) }), 1, 'outside: only the dead of outside is stale');
        is_deeply(\@recovered, [102], 'outside: nobody of inside');
        close $go_in;
        close $output;
        $child->end;
    };
}

subtest 'waiters of another namespace are not struck out' => sub {
    my $path    = temp_path('namespace_waiters');
    my $pool    = $I64->new($path, 1);
    my $slot    = $pool->alloc;
    my @command = (
        unshare_command('--pid', '--fork', '--mount-proc'),
        perl_command(q{print Data::Pool::Shared::I64->new($ARGV[0])->alloc(30) // 'none'}, $path)
    );
    open my $output, '-|', @command or die "cannot run unshare: $!";
    ok(wait_until { $pool->stats->{waiters} == 1 }, 'one waits inside');
    $pool->recover_stale;
    is($pool->stats->{waiters}, 1, 'a recovery outside leaves it waiting');
    $pool->free($slot);
    is(readline $output, $slot, 'and it gets the slot that is freed outside');
    close $output;
};
# ---- a namespace that is gone

# On a file system on which it can be told.
my $folder = File::Temp->newdir('pool-test-XXXXXX', -w '/dev/shm' ? (DIR => '/dev/shm') : (TMPDIR => 1));
my $count  = 0;
sub gone_path { return $folder . '/pool' . ++$count }

# Run a program as the first process of a PID namespace. It says "ready" by itself.
sub launch {
    my ($program, @arguments) = @_;
    my $container = in_child {
        my ($self) = @_;
        open STDIN,  '<&', $self->{in}  or die "dup: $!";
        open STDOUT, '>&', $self->{out} or die "dup: $!";
        exec @unshare, perl_command("\$| = 1; my \$pool = Data::Pool::Shared::I64->new(\$ARGV[0]); $program", @arguments) or die "exec: $!";
    };
    return $container;
}

sub container { my $container = launch(@_); $container->hear; return $container }

my $hold = q{$pool->alloc_n(2); print "ready\n"; <STDIN>};

# What a recovery from there frees: from outside, or from within a namespace of its own.
my %judges = (
    'from outside'        => sub { return $I64->new($_[0])->recover_stale },
    'from another inside' => sub {
        open my $output, '-|', @unshare, perl_command(q{print Data::Pool::Shared::I64->new($ARGV[0])->recover_stale}, $_[0])
            or die "exec: $!";
        return readline $output;
    },
);

# What recoveries free until they have freed so much: who is killed is not dead at once.
sub freed {
    my ($judge, $path, $wanted) = @_;
    my $freed = 0;
    wait_until { ($freed += $judge->($path)) >= $wanted };
    return $freed;
}

SKIP: {
    skip 'no file system here whose locks a mapping keeps', 1 if !PoolTest::keeps_locks("$folder");

    for my $who (sort keys %judges) {
        my $judge = $judges{$who};
        subtest "a container, seen $who" => sub {
            my $path = gone_path();
            my $pool = $I64->new($path, 20);
            my $mine = $pool->alloc;
            my $one  = container($hold, $path);
            my $two  = container($hold, $path);
            is($judge->($path), 0, 'while it lives nothing is stale');
            $one->end;
            is(freed($judge, $path, 2), 2, 'when it is killed all of it is');
            is($judge->($path),         0, '… and nothing of the other one');
            is($pool->used,             3, 'what the living hold is held');
            $two->end;
            is(freed($judge, $path, 2), 2, 'until that is killed, too');
        };

        subtest "while one process of a container lives, seen $who" => sub {
            my $path  = gone_path();
            my $pool  = $I64->new($path, 20);
            my $child = q{my $pid = fork; if (!$pid) { $pool->alloc_n(3); print "ready\n"; sleep 100 }};
            my $one   = container(qq{$child kill KILL => \$pid if <STDIN>; waitpid \$pid, 0; print "killed\n"; <STDIN>}, $path);
            $one->say('go');
            $one->hear;
            is($judge->($path), 0, 'what another one left is not touched');
            $one->end;
            is(freed($judge, $path, 3), 3, 'then it is');
        };

        subtest "descriptors closed, path removed, handle closed: a container lives, seen $who" => sub {
            my $path = gone_path();
            my $pool = $I64->new($path, 20);
            my $one  = container(q{use POSIX (); POSIX::close($_) for 3 .. 100;} . $hold, $path);
            is($judge->($path), 0, 'its descriptors are closed');
            $one->end;
            is(freed($judge, $path, 2), 2, 'when it is killed it is gone');
            my $two = container(q{$pool->alloc_n(2) for 1 .. 2; undef $pool; print "ready\n"; <STDIN>}, $path);
            is($judge->($path), 0, 'its pool is closed, and it holds slots');
            $two->end;
            is(freed($judge, $path, 4), 4, 'when it is killed it is gone');
        };
    }

    # Their first processes have the same number, and many the same start time.
    subtest 'containers that are started together are told apart' => sub {
        my $path = gone_path();
        my $pool = $I64->new($path, 40);
        my @all  = map { launch($hold, $path) } 1 .. 8;
        $_->hear for @all;
        for my $left (reverse 1 .. 7) {
            (shift @all)->end;
            is(freed(sub { $pool->recover_stale }, $path, 2), 2, "one is killed, $left live");
        }
        is($pool->used, 2, 'what the last one holds is held');
        (shift @all)->end;
    };

    subtest 'a process that has become another program lives' => sub {
        my $path = gone_path();
        my $pool = $I64->new($path, 20);
        my $one  = container(q{$pool->alloc_n(2); exec $^X, '-e', '$| = 1; print "ready\n"; <STDIN>'}, $path);
        is($pool->recover_stale, 0, 'it holds what it held, and is seen from outside');
        $one->end;
        is(freed(sub { $pool->recover_stale }, $path, 2), 2, 'until it is killed');
    };

    subtest 'the number of the namespace is used again' => sub {
        my $path = gone_path();
        my $pool = $I64->new($path, 20);
        container($hold, $path)->end;
        my $next = container($hold, $path);
        is(freed(sub { $pool->recover_stale }, $path, 2), 2, 'what the first one left is free, though the second one lives');
        is($pool->used,                                   2, '… and holds what it holds');
        $next->end;
        is(freed(sub { $pool->recover_stale }, $path, 2), 2, 'until it is killed');
    };

    subtest 'a waiter goes on when the container that has all is killed' => sub {
        my $path = gone_path();
        my $pool = $I64->new($path, 2);
        $pool->auto_recover(0.05);
        my $one = container($hold, $path);
        is($pool->alloc(0.3), undef, 'while it lives there is nothing');
        $one->signal('KILL');
        ok(defined $pool->alloc(20), 'then there is');
        $one->reap;
    };

    subtest 'a child in a new PID namespace, of a process that has the pool' => sub {
        my $unshare = q{
            my $pool = Data::Pool::Shared::I64->new($ARGV[0]);
            $pool->alloc;
            syscall(272, 0x20000000) == 0 or do { print "not possible\n"; exit };
            my $pid = fork;
            if (!$pid) { $pool->alloc_n(2); print "ready\n"; sleep 100 }
            <STDIN>;
            kill KILL => $pid;
            waitpid $pid, 0;
            print "killed\n";
            <STDIN>;
        };
        plan skip_all => 'written for x86-64' if `uname -m` !~ /x86_64/;
        for my $how ('by path', 'by descriptor') {
            my $path   = gone_path();
            my $pool   = $I64->new($path, 20);
            my $parent = in_child {
                my ($self) = @_;
                open STDIN,  '<&', $self->{in}  or die "dup: $!";
                open STDOUT, '>&', $self->{out} or die "dup: $!";
                my $program = "\$| = 1; $unshare";
                $program =~ s/->new\(\$ARGV\[0\]\)/->new_from_fd(do { open \$main::file, '+<', \$ARGV[0]; fileno \$main::file })/
                    if $how ne 'by path';
                exec perl_command($program, $path) or die "exec: $!";
            };
            my $said = $parent->hear;
            plan skip_all => 'no PID namespace can be made here' if ($said // '') ne 'ready';
            is($pool->recover_stale, 0, "opened $how: nobody is dead");
            $parent->say('go');
            $parent->hear;
            is(freed(sub { $pool->recover_stale }, $path, 2), 2, "… and when the child is killed, it is");
            is($pool->used,                                   1, '… but not its parent');
            $parent->end;
        }
    };

    subtest 'a table full of namespaces that are gone' => sub {
        my $path = gone_path();
        my $pool = $I64->new($path, 20);
        $pool->alloc;
        my $one = container($hold, $path);
        open my $file, '+<', $path or die "cannot open: $!";
        my $table   = substr read_file($path), 4096, 8192;
        my ($here)  = grep {$_} unpack 'Q*', $table;
        my @entries = unpack 'Q1024', $table;
        $entries[$_] ||= ($here & ~0xffff_ffff) | 0xf000_0000 + $_ for 0 .. 1023;
        seek $file, 4096, 0;
        print {$file} pack 'Q*', @entries;
        close $file;
        my $two = container($hold, $path);
        is($pool->recover_stale, 0, 'has room for one that lives');
        $_->end for $one, $two;
        is(freed(sub { $pool->recover_stale }, $path, 4), 4, 'and both are seen to be gone');
        is($pool->used,                                   1, 'and we are not');
    };
}

done_testing;
