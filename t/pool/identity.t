# An owner is a process, not a number: zombies, reused PIDs, reboots.
use strict;
use warnings;
use IPC::Open2;
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

# Where the entries of a pool's table of PID namespaces are, and what is in them (Internals has the layout).
sub spaces {
    my ($path)  = @_;
    my @entries = unpack 'Q1024', substr read_file($path), 4096, 8192;
    return map { $_ => $entries[$_] } grep { $entries[$_] } 1 .. 1023;
}

sub write_space {
    my ($path, $place, $space) = @_;
    open my $file, '+<', $path or die "cannot open $path: $!";
    seek $file, 4096 + 8 * $place, 0;
    print {$file} pack 'Q', $space;
    close $file or die "cannot write $path: $!";
    return;
}

subtest 'after a reboot everybody is dead' => sub {
    # The boot is known by its id, a hash of which is in the table. A process that starts another program keeps its PID
    # and its start time; with another boot in the table it meets slots of its own PID and time, of another boot.
    my $before = q{
        my ($path, @then) = @ARGV;
        my $pool = Data::Pool::Shared::I64->new($path);
        $pool->alloc_set(5);
        print $pool->recover_stale, "\n";
        $| = 1;
        print '';
        <STDIN>;
        exec @then;
    };
    my $after = q{
        my $pool = Data::Pool::Shared::I64->new($ARGV[0]);
        my $same = (grep { $pool->owner($_) == $$ } @{ $pool->allocated_slots }) ? 'same PID' : 'another PID';
        my $mine = $pool->alloc_set(6);
        print join ' ', $pool->recover_stale, $pool->recover_stale, $pool->get($mine), $same;
    };
    my $path  = temp_path('rebooted');
    my $pool  = $I64->new($path, 4);
    my $child = in_child { $pool->alloc_set(7); $_[0]->say('ready'); $_[0]->hear };
    $child->hear;
    my $pid = open2(my $from, my $to, perl_command($before, $path, perl_command($after, $path)));
    is(scalar readline $from, "0\n", 'nobody is stale before');
    my %spaces = spaces($path);
    is(keys %spaces, 1, 'all are of one namespace and boot');
    write_space($path, $_, $spaces{$_} ^ 1 << 40) for keys %spaces;
    close $to;
    is(scalar readline $from, '2 0 6 same PID', 'those that live are dead, and even who has the same PID and start time');
    waitpid $pid, 0;
    is_deeply([ map { $pool->get($_) } @{ $pool->allocated_slots } ], [6], 'what is allocated after it is not theirs');
    is($pool->recover_stale, 1, '… and of a process that is dead now');
    $child->end;
};

done_testing;
