# An owner is a process, not a number: zombies, reused PIDs, PID namespaces.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep);
use lib 't/lib';
use PoolTest;

my $I64 = 'Data::Pool::Shared::I64';

# Run a program in a PID namespace of its own; what it prints.
sub in_namespace {
    my ($options, $program, @arguments) = @_;
    my @command = (unshare_command(@$options), perl_command($program, @arguments));
    open my $output, '-|', @command or die "cannot run unshare: $!";
    local $/ = undef;
    my $printed = readline $output;
    close $output;
    return $printed;
}

subtest 'a zombie is dead' => sub {
    my $pool  = $I64->new(undef, 4);
    my $child = in_child { $pool->alloc_n(2); $_[0]->say('ready'); $_[0]->hear };
    $child->hear;
    $child->signal('KILL');
    my $state = sub { my ($letter) = read_file('/proc/' . $child->pid . '/stat') =~ /\) (\w)/; $letter };
    ok(wait_until { $state->() eq 'Z' }, 'a killed child that nobody waited for is a zombie');
    ok(kill(0, $child->pid),             'its PID is still taken');
    is($pool->recover_stale, 2,   'its slots are stale');
    is($state->(),           'Z', 'it was a zombie all the time');
    $child->reap;

    my $ended = in_child { $pool->alloc; 1 };
    $ended->hear;    # it has ended when it closes its end
    ok(wait_until { read_file('/proc/' . $ended->pid . '/stat') =~ /\) Z/ }, 'a child that ended by itself is one, too');
    is($pool->recover_stale, 1, 'and so are its slots');
    $ended->reap;
};

subtest 'a stopped process lives' => sub {
    my $pool  = $I64->new(undef, 4);
    my $child = in_child { $pool->alloc; $_[0]->say('ready'); $_[0]->hear };
    $child->hear;
    $child->signal('STOP');
    ok(wait_until { read_file('/proc/' . $child->pid . '/stat') =~ /\) T/ }, 'stopped');
    is($pool->recover_stale, 0, 'nothing of it is stale');
    $child->end;
    is($pool->recover_stale, 1, 'until it is killed');
};

subtest 'a process whose name looks like something else' => sub {
    my $pool = $I64->new(undef, 4);
    for my $name ('a) Z 1 1 1', ') (', 'x y', "line\nbreak", ')))') {
        my $child = in_child {
            local $0 = $name;
            PoolTest::write_file('/proc/self/comm', substr $name, 0, 15);
            $pool->alloc;
            $_[0]->say('ready');
            $_[0]->hear
        };
        $child->hear;
        is($pool->recover_stale, 0, "'$name' lives");
        $child->end;
        is($pool->recover_stale, 1, "'$name' is dead");
    }
};

# A process dies holding a slot, another gets its number, and lives.
my $reuse = q{
    use Time::HiRes 'sleep';
    my $pool = Data::Pool::Shared::I64->new($ARGV[0]);
    sub spawn { my ($n) = @_; pipe my $out, my $in; my $pid = fork; if (!$pid) { $pool->alloc_n($n); syswrite $in, "x"; sleep 60; exit } sysread $out, my $ready, 1; return $pid }
    sub stop { kill KILL => $_[0]; waitpid $_[0], 0 }
    for my $attempt (1 .. 300) {
        $pool->reset;
        my $old = spawn(2);
        stop($old);
        sleep 0.03;    # the kernel counts start times in hundredths of a second
        open my $last, '>', '/proc/sys/kernel/ns_last_pid' or last;
        print {$last} $old - 1;
        close $last or last;
        my $new = spawn(1);
        if ($new != $old) { stop($new); next }
        my @slots  = @{ $pool->allocated_slots };
        my @owners = map { $pool->owner($_) } @slots;
        print join ' ', 'reused', scalar(grep { $_ == $new } @owners), $pool->recover_stale, $pool->used, (kill 0, $new) ? 'alive' : 'dead';
        stop($new);
        print ' ', $pool->recover_stale;
        exit;
    }
    print "not reused: $!";
};

subtest 'a reused PID is another owner' => sub {
    open my $last, '>', '/proc/sys/kernel/ns_last_pid' or plan skip_all => "cannot choose PIDs here: $!";
    close $last;
    my $path = temp_path('reused');
    my $pool = $I64->new($path, 4);
    my $printed;
    if (unshare_command('--pid', '--fork', '--mount-proc')) {
        $printed = in_namespace([ '--pid', '--fork', '--mount-proc' ], $reuse, $path);
    } else {
        open my $output, '-|', perl_command($reuse, $path) or die "cannot run perl: $!";
        $printed = readline $output;
    }
    plan skip_all => "PIDs are not given as asked for: $printed" if $printed =~ /^not reused/;
    my ($word, $same_pid, $freed, $left, $alive, $after) = split ' ', $printed;
    is($same_pid, 3,       'three slots name the same PID');
    is($freed,    2,       'the two of the dead process are stale');
    is($left,     1,       'the one of the living is not');
    is($alive,    'alive', 'which lives');
    is($after,    1,       'when it dies, that one is, too');
};

SKIP: {
    skip 'PID namespaces cannot be made here', 1 if !unshare_command('--pid', '--fork', '--mount-proc');

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
            is_deeply([ sort map { $pool->get($_) } @{ $pool->allocated_slots } ], [ 100, 101, 102, 2, 3 ],
                'outside: the others are there');
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
}

subtest 'after a reboot everybody is dead' => sub {
    # The boot is known by its id. A process that starts another program keeps its PID and its start
    # time; with another boot id in between it meets slots of its own PID and time, of another boot.
    my $before = q{
        my ($path, $id, @then) = @ARGV;
        my $pool = Data::Pool::Shared::I64->new($path);
        $pool->alloc_set(5);
        print $pool->recover_stale, ' ';
        $| = 1;
        print '';
        system('mount', '--bind', $id, '/proc/sys/kernel/random/boot_id') == 0 or exit 1;
        exec @then;
    };
    my $after = q{
        my $pool = Data::Pool::Shared::I64->new($ARGV[0]);
        my $same = (grep { $pool->owner($_) == $$ } @{ $pool->allocated_slots }) ? 'same PID' : 'another PID';
        my $mine = $pool->alloc_set(6);
        print join ' ', $pool->recover_stale, $pool->recover_stale, $pool->get($mine), $same;
    };
    my $can_mount = unshare_command('--mount')
        && system(unshare_command('--mount'), 'sh', '-c', 'mount --bind /dev/null /proc/sys/kernel/random/boot_id 2>/dev/null') == 0;
    plan skip_all => 'another boot id cannot be mounted here' if !$can_mount;

    # Where the pool's table of PID namespaces and boots has a place for a boot, by its id: two boots may get the same.
    my $place_of = sub {
        my ($id, $namespace) = @_;
        my $hash = 2166136261;
        $hash = (($hash ^ ord) * 16777619) & 0xffffffff for split //, $id;
        return 1 + ((($hash | 1) << 32 | $namespace) ^ ($hash | 1)) % 1023;
    };
    for my $same_place (0, 1) {
        my $path  = temp_path("rebooted-$same_place");
        my $pool  = $I64->new($path, 4);
        my $child = in_child { $pool->alloc_set(7); $_[0]->say('ready'); $_[0]->hear };
        $child->hear;
        my ($place)   = grep { substr(read_file($path), 4096 + 8 * $_, 8) ne "\0" x 8 } 1 .. 1023;
        my $namespace = unpack 'L', substr read_file($path), 4096 + 8 * $place, 4;
        my ($id)      = grep { ($place_of->($_, $namespace) == $place) == $same_place } map {"boot-$_\n"} 1 .. 20_000;
        my $what      = $same_place ? 'two boots in one place of the table' : 'two boots';
        is(
            in_namespace(['--mount'], $before, $path, write_file(temp_path('boot_id'), $id), perl_command($after, $path)),
            '0 2 0 6 same PID',
            "$what: those that live are dead, and even who has the same PID and start time"
        );
        is_deeply([ map { $pool->get($_) } @{ $pool->allocated_slots } ], [6], "$what: what is allocated after it is not stale");
        $child->end;
    }
};

done_testing;
