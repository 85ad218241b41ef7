#!/usr/bin/env perl
# Killed at any point of any operation on shared variables, a process leaves the old
# value or the new one, nobody waits for it, and recovery finds all it had.
#
#   prove -bv xt/shm-step.t :: PATTERN    operations with this in their names
use strict;
use warnings;
use Config;
use FindBin;
use Test::More;

BEGIN { plan skip_all => 'running to an access is written for x86-64 Linux' if $Config{archname} !~ /x86_64/ }
use lib $FindBin::Bin;
use IPC::Shm;
use POSIX ();
use KillPoint;
use Step;

our (%h, @a, $s, $filler, %new);
my $bytes;

# --- the operations ------------------------------------------------------------

# Store until the next store begins a new snapshot: until just before the third time,
# as far after the second as that was after the first.
sub come_close_to_snapshot {
    my $bytes = sub {
        (grep { defined $_->{name} } IPC::Shm->list)[0]{bytes};
    };
    my ($value, $before, @at) = (100, $bytes->());
    while (@at < 2) {
        $h{b} = 'v' . ++$value;
        my $now = $bytes->();
        push @at, $value if $now < $before;
        $before = $now;
    }
    $h{b} = 'v100' for 2 .. $at[1] - $at[0];
    return;
}

my $long = 'n' x 900;    # four blocks
my %flat = (a => 1, b => 2, c => 3);
my %deep = (a => 1, r => { list => [ 1, 2 ], deep => { x => 1 } });

my @values = (
    {
        name   => 'scalar: store',
        before => { '$s' => 'old' },
        run    => sub { $s = 'new' },
        after  => { '$s' => 'new' }
    },
    {
        name   => 'scalar: store over four blocks',
        before => { '$s' => 'o' x 700 },
        run    => sub { $s = $long },
        after  => { '$s' => $long }
    },
    {
        name   => 'scalar: short store after four blocks',
        before => { '$s' => $long },
        run    => sub { $s = 'n' x 100 },
        after  => { '$s' => 'n' x 100 }
    },
    {
        name   => 'scalar: store that needs another file of blocks',
        before => { '$filler' => 'f' x 14_300, '$s' => 'o' x 100 },
        run    => sub { $s = $long },
        after  => { '$s' => $long }
    },
    {
        name   => 'scalar: add',
        before => { '$s' => 41 },
        run    => sub { (tied $s)->add(1) },
        after  => { '$s' => 42 }
    },
    {
        name   => 'hash: new key',
        before => { '%h' => { a => 1 } },
        run    => sub { $h{b} = 2 },
        after  => { '%h' => { a => 1, b => 2 } }
    },
    {
        name   => 'hash: existing key',
        before => { '%h' => {%flat} },
        run    => sub { $h{b} = 'new' },
        after  => { '%h' => { %flat, b => 'new' } }
    },
    {
        name   => 'hash: long value',
        before => { '%h' => {%flat} },
        run    => sub { $h{b} = $long },
        after  => { '%h' => { %flat, b => $long } }
    },
    {
        name   => 'hash: store that begins a new snapshot',
        before => { '%h' => { %flat, b => 'v100' } },
        setup  => sub { come_close_to_snapshot(); $bytes = (IPC::Shm->list)[0]{bytes} },
        run    => sub { $h{b}                            = 'v999' },
        after  => { '%h' => { %flat, b => 'v999' } },
        settle => sub { report('no snapshot was made') if (IPC::Shm->list)[0]{bytes} > $bytes }
    },
    {
        name   => 'hash: delete',
        before => { '%h' => {%flat} },
        run    => sub { delete $h{b} },
        after  => { '%h' => { a => 1, c => 3 } }
    },
    {
        name   => 'hash: clear',
        before => { '%h' => { %flat, long => $long } },
        run    => sub { %h = () },
        after  => { '%h' => {} }
    },
    {
        name   => 'hash: list assignment',
        before => { '%h' => {%flat} },
        run    => sub { %h = (x => 1, y => $long) },
        after  => { '%h' => { x => 1, y => $long } }
    },
    {
        name   => 'hash: slice assignment',
        before => { '%h' => {%flat} },
        run    => sub { @h{qw(a d)} = (5, 6) },
        after  => { '%h' => { %flat, a => 5, d => 6 } }
    },
    {
        name   => 'array: push',
        before => { '@a' => [ 1 .. 5 ] },
        run    => sub { push @a, 6, 'x' x 300 },
        after  => { '@a' => [ 1 .. 6, 'x' x 300 ] }
    },
    {
        name   => 'array: pop',
        before => { '@a' => [ 1 .. 5 ] },
        run    => sub { pop @a },
        after  => { '@a' => [ 1 .. 4 ] }
    },
    {
        name   => 'array: shift',
        before => { '@a' => [ 1 .. 5 ] },
        run    => sub { shift @a },
        after  => { '@a' => [ 2 .. 5 ] }
    },
    {
        name   => 'array: unshift',
        before => { '@a' => [ 1 .. 5 ] },
        run    => sub { unshift @a, -1, 0 },
        after  => { '@a' => [ -1 .. 5 ] }
    },
    {
        name   => 'array: splice',
        before => { '@a' => [ 1 .. 5 ] },
        run    => sub { splice @a, 1, 3, qw(x y) },
        after  => { '@a' => [ 1, 'x', 'y', 5 ] }
    },
    {
        name   => 'array: store beyond the end',
        before => { '@a' => [ 1 .. 5 ] },
        run    => sub { $a[7] = 8 },
        after  => { '@a' => [ 1 .. 5, undef, undef, 8 ] }
    },
    {
        name   => 'array: shorten',
        before => { '@a' => [ 1 .. 5 ] },
        run    => sub { $#a = 1 },
        after  => { '@a' => [ 1, 2 ] }
    },
    {
        name   => 'array: list assignment',
        before => { '@a' => [ 1 .. 5 ] },
        run    => sub { @a = ('x', $long) },
        after  => { '@a' => [ 'x', $long ] }
    },
    {
        name   => 'array: sort in place',
        before => { '@a' => [ 3, 1, 2 ] },
        run    => sub { @a = sort @a },
        after  => { '@a' => [ 1 .. 3 ] }
    },
);

my @references = (
    {
        name   => 'hash: store a structure',
        before => { '%h' => { a => 1 } },
        run    => sub { $h{r} = { list => [ 1, 2 ], deep => { x => 1 } } },
        after  => { '%h' => {%deep} }
    },
    {
        name   => 'hash: store a structure over another',
        before => { '%h' => {%deep} },
        run    => sub { $h{r} = ['new'] },
        after  => { '%h' => { a => 1, r => ['new'] } }
    },
    {
        name   => 'hash: delete the last reference to a structure',
        before => { '%h' => {%deep} },
        run    => sub { delete $h{r} },
        after  => { '%h' => { a => 1 } }
    },
    {
        name   => 'hash: clear what holds a structure',
        before => { '%h' => {%deep} },
        run    => sub { %h = () },
        after  => { '%h' => {} }
    },
    {
        name   => 'hash: second reference to a variable',
        before => { '%h' => { r => [1] } },
        run    => sub { $h{t} = $h{r} },
        after  => {
            '%h' => do { my $r = [1]; { r => $r, t => $r } }
        }
    },
    {
        name   => 'hash: delete one reference of two',
        before => {
            '%h' => do { my $r = [1]; { r => $r, t => $r } }
        },
        run   => sub { delete $h{t} },
        after => { '%h' => { r => [1] } }
    },
    {
        name   => 'hash: autovivification',
        before => { '%h' => {} },
        run    => sub { $h{x}{y} = 1 },
        also   => [ { '%h' => { x => {} } } ],
        after  => { '%h' => { x => { y => 1 } } }
    },
    {
        name   => 'hash: list assignment of structures',
        before => { '%h' => {%deep} },
        run    => sub { %h = (x => [1], y => { z => [2] }) },
        after  => { '%h' => { x => [1], y => { z => [2] } } }
    },
    {
        name   => 'array: push a reference',
        before => { '@a' => [ 1, 2 ] },
        run    => sub { push @a, { x => 1 } },
        after  => { '@a' => [ 1, 2, { x => 1 } ] }
    },
    {
        name   => 'array: shift a reference',
        before => { '@a' => [ [1], 2 ] },
        run    => sub { shift @a },
        after  => { '@a' => [2] }
    },
    {
        name   => 'array: splice of references',
        before => { '@a' => [ 1, [2], {}, 4 ] },
        run    => sub { splice @a, 1, 2, [3] },
        after  => { '@a' => [ 1, [3], 4 ] }
    },
    {
        name   => 'scalar: store a reference',
        before => { '$s' => 'old' },
        run    => sub { $s = \'x' },
        after  => { '$s' => \'x' }
    },
    {
        name   => 'scalar: store over a reference',
        before => { '$s' => [1] },
        run    => sub { $s = 'new' },
        after  => { '$s' => 'new' }
    },
    {
        name    => 'fetch of a reference',
        before  => { '%h' => {%deep} },
        prepare => sub { undeclare('%h'); declare('%h') },
        run     => sub { my $x = $h{r}{list}[0] }
    },
);
$_->{locks} = 1 for @references;    # who attaches to what a reference leads to waits for the registry

# Who holds a lock holds it until the survivor says.
sub locked_by_survivor {
    my ($kind) = @_;
    return (setup => sub { (tied %h)->$kind }, wake => sub { (tied %h)->unlock }, settle => sub { (tied %h)->unlock });
}

my @locks = (
    {
        name   => 'writelock, unlock',
        before => { '%h' => {%flat} },
        run    => sub { (tied %h)->writelock; (tied %h)->unlock }
    },
    {
        name   => 'readlock, unlock',
        before => { '%h' => {%flat} },
        run    => sub { (tied %h)->readlock; (tied %h)->unlock }
    },
    {
        name   => 'two stores under a write lock',
        before => { '%h' => { a => 1 } },
        run    => sub { my $lock = (tied %h)->lock_guard('write'); $h{b} = 2; $h{c} = 3 },
        also   => [ { '%h' => { a => 1, b => 2 } } ],
        after  => { '%h' => {%flat} }
    },
    {
        name   => 'a read lock becomes a write lock',
        before => { '%h' => { a => 1 } },
        run    => sub { (tied %h)->readlock; (tied %h)->writelock; $h{b} = 2; (tied %h)->unlock },
        after  => { '%h' => { a => 1, b => 2 } }
    },
    {
        name   => 'store under a read lock',
        before => { '%h' => { a => 1 } },
        run    => sub { (tied %h)->readlock; $h{b} = 2; (tied %h)->unlock },
        after  => { '%h' => { a => 1, b => 2 } }
    },
    {
        name   => 'store that waits for a reader',
        before => { '%h' => { a => 1 } },
        run    => sub { $h{b} = 2 },
        after  => { '%h' => { a => 1, b => 2 } },
        locked_by_survivor('readlock'),
        settle => sub { $h{PROBE} = 1; delete $h{PROBE}; (tied %h)->unlock }
    },
    {
        name   => 'writelock that waits for a reader',
        before => { '%h' => { a => 1 } },
        run    => sub { (tied %h)->writelock; (tied %h)->unlock },
        locked_by_survivor('readlock')
    },
    {
        name   => 'writelock that waits for a writer',
        before => { '%h' => { a => 1 } },
        run    => sub { (tied %h)->writelock; (tied %h)->unlock },
        locked_by_survivor('writelock')
    },
    {
        name   => 'readlock that waits for a writer',
        before => { '%h' => { a => 1 } },
        run    => sub { (tied %h)->readlock; (tied %h)->unlock },
        locked_by_survivor('writelock')
    },
    {
        name   => 'fetch that waits for a writer',
        before => { '%h' => { a => 1 } },
        run    => sub { my $x = $h{a} },
        locked_by_survivor('writelock')
    },
    {
        name   => 'writelock that is not had in time',
        before => { '%h' => { a => 1 } },
        run    => sub { (tied %h)->writelock(0.001) },
        locked_by_survivor('writelock'),
        wake => sub { }
    },
    another_waiter(
        name   => 'writelock that waits with another process',
        before => { '%h' => { a => 1 } },
        run    => sub { (tied %h)->writelock; (tied %h)->unlock },
        setup  => sub { (tied %h)->writelock },
        waits  => sub { (tied %h)->writelock(60) && (tied %h)->unlock },
        wakes  => sub { (tied %h)->unlock },
    ),
);
$_->{locks} = 1 for @locks;

my @waits = (
    {
        name   => 'wait_change',
        before => { '%h' => { a => 1 } },
        run    => sub { (tied %h)->wait_change },
        wake   => sub { $h{b} = 2 },
        after  => { '%h' => { a => 1, b => 2 } }
    },
    another_waiter(
        name   => 'store that wakes one who waits for a change',
        before => { '%h' => { a => 1 } },
        run    => sub { $h{b} = 2 },
        after  => { '%h' => { a => 1, b => 2 } },
        begins => 'setup',
        waits  => sub { (tied %h)->wait_change },
        wakes  => sub { $h{PROBE} = 1; delete $h{PROBE} },
    ),
);

# A process beside victim and survivor that waits: it begins before the victim does,
# or when that sleeps. `wakes` is what the survivor has to do for it; then it must
# have what it waits for.
sub another_waiter {
    my (%operation) = @_;
    my ($pid, $told);
    my $begin = sub {
        pipe $told, my $tell or die $!;
        defined($pid = fork) or die "cannot fork: $!";
        if (!$pid) {
            my $got = $operation{waits}->();
            undeclare('%h');
            syswrite $tell, $got ? 'had' : 'not had';
            POSIX::_exit(0);
        }
        await_sleep($pid);
    };
    my $first = $operation{setup};
    return {
        %operation,
        setup  => sub { $first->() if $first; $begin->() if ($operation{begins} // '') eq 'setup' },
        wake   => sub { $begin->();           $operation{wakes}->() },
        settle => sub {
            $operation{wakes}->();
            return if !$pid;
            sysread $told, my $text, 10;
            report('the other waiter has ' . ($text || 'died')) if $text ne 'had';
            waitpid $pid, 0;
        }
    };
}

# What was a lexical's, and what leads to it.
my @kept;

my @lives = (
    {
        name   => 'declare a new name',
        before => { '%h' => { a => 1 }, '%new' => {} },
        late   => ['%new'],
        run    => sub { declare('%new') }
    },
    {
        name   => 'declare a new name and assign',
        before => { '%h' => { a => 1 }, '%new' => {} },
        late   => ['%new'],
        run    => sub { declare('%new'); %new = (n => 1) },
        after  => { '%new' => { n => 1 } }
    },
    {
        name    => 'declare a name that exists',
        before  => { '%h' => {%flat} },
        prepare => sub { undeclare('%h') },
        run     => sub { declare('%h') }
    },
    {
        name   => 'let go of a name',
        before => { '%h' => {%flat} },
        run    => sub { undeclare('%h') }
    },
    {
        name   => 'a lexical is made and let go',
        before => { '%h' => {%flat} },
        run    => sub { my %lexical : shm = (a => [1]) }
    },
    {
        name   => 'a lexical that others have is let go',
        before => { '%h' => {%flat} },
        setup  => sub { my %lexical : shm = (a => [1]); @kept = (\%lexical) },
        run    => sub { @kept             = () },
        check  => sub { text_of(\@kept) eq q([{a=['1']}]) ? () : 'the lexical is ' . text_of(\@kept) },
        kept   => sub {@kept},
        let_go => sub { @kept = () }
    },
    {
        name    => 'the end of a process',
        before  => { '%h' => {%deep} },
        prepare => sub { my @lexical : shm = ([1], 2); @kept = (\@lexical); (tied %h)->writelock },
        run     => sub {exit},
        exits   => 1,
    },
    {
        name   => 'list and stats',
        before => { '%h' => {%deep} },
        run    => sub { my @list = IPC::Shm->list; IPC::Shm->stats; keys %IPC::Shm::NAMEVARS }
    },
    {
        name   => 'the first open of a namespace',
        before => { '%new' => {} },
        closed => 1,
        run    => sub { IPC::Shm->stats }
    },
    {
        name   => 'the first variable of a namespace',
        before => { '%new' => {} },
        closed => 1,
        run    => sub { declare('%new'); $new{n} = 1 },
        after  => { '%new' => { n => 1 } }
    },
);
$_->{locks} = 1 for @lives;

# --- removal: what is left is the variable or nothing ------------------------------

# The value that was there, or "removed"; what the name leads to then.
sub removed_or_not {
    my ($operation, $finished, $at_start, $recover, $stranger) = @_;
    my @names = sort keys %{ $operation->{before} };
    my $old   = state_with(%{ $operation->{before} });
    my $empty = state_with(map { $_ => {} } @names);
    IPC::Shm->recover if $recover;
    stage('reading what may be removed');
    my $found = eval { state_of(@names) } // ($@ =~ /was removed/ ? 'removed' : "an exception: $@");
    report("found $found") if $found ne 'removed' && $found ne $old;
    same($found, 'removed', 'at the end')   if $finished;
    same($found, $old,      'at the start') if $at_start && !$finished;
    stage('declaring anew');
    undeclare(@names);
    declare(@names);
    my $anew = state_of(@names);
    report("declared anew: $anew")       if $anew ne $empty && $anew ne $old;
    same($anew, $empty, 'declared anew') if $found eq 'removed';
    use_all(@names);
    stage('another program');
    same($stranger->(), $anew, 'another program finds') if $recover;
    stage('recovering');
    IPC::Shm->recover;
    same(state_of(@names), $anew, 'after recovery');
    check_counts($operation);
    return $anew;
}

my @removals = (
    {
        name    => 'remove',
        before  => { '%h' => {%deep} },
        run     => sub { (tied %h)->remove },
        survive => \&removed_or_not
    },
    {
        name    => 'delete from NAMEVARS',
        before  => { '%h' => {%deep} },
        run     => sub { delete $IPC::Shm::NAMEVARS{'%main::h'} },
        survive => \&removed_or_not
    },
    {
        name    => 'cleanup',
        before  => { '%h' => {%deep} },
        run     => sub { IPC::Shm->cleanup },
        survive => \&removed_or_not
    },
);

# --- recovery -----------------------------------------------------------------------

# Processes that were killed in the middle of something, and what they leave. None
# has come so far as to change what the others see.
sub leave_much_behind {
    my $structure = sub { $h{x}             = { list => [ 1, 2 ], deep => { x => 1 } } };
    my $lexical   = sub { my @lexical : shm = (1); @kept = \@lexical };
    my @deaths =
        ([ 50, $structure ], [ 80, $structure ], [ 40, sub { $s = $long } ], [ 1000, sub { $lexical->(); (tied %h)->writelock } ],);
    die_in(@$_) for @deaths;
    for (my $events = 15; IPC::Shm->stats->{named} < 3 && $events < 50; $events++) {
        die_in($events, sub { declare('%new') });
    }
    my $stats = IPC::Shm->stats;
    for my $left ([ named => 2 ], [ variables => 7 ], [ attachments => 8 ], [ blocks => 10 ]) {
        my ($what, $at_most) = @$left;
        report("only $stats->{$what} $what: that is not much to recover") if $stats->{$what} <= $at_most;
    }
    return;
}

my @recoveries = (
    {
        name   => 'recover',
        before => { '%h' => { %deep, x => 0 }, '$s' => 'o' x 700 },
        setup  => \&leave_much_behind,
        run    => sub { IPC::Shm->recover }
    },
    {
        name   => 'recover of a ring of references',
        before => { '%h' => {} },
        setup  => sub { my $ring = []; $h{ring} = $ring; push @$ring, $ring, [1]; delete $h{ring} },
        run    => sub { IPC::Shm->recover },
    },
    {
        name   => 'opening a namespace that the dead have left',
        before => { '%new' => { n => [1] } },
        closed => 1,
        setup  => sub {
            defined(my $pid = fork) or die $!;
            if (!$pid) {
                declare('%new');
                %new = (n => [1]);
                my @lexical : shm = (1, [2]);
                kill KILL => $$;
            }
            waitpid $pid, 0;
        },
        run => sub { IPC::Shm->stats }
    },
);

# --- fork ------------------------------------------------------------------------------

# Parent and child have a lexical. One of them is killed in the middle of the fork;
# the other one still has it, and uses it when the survivor says so.
sub forks {
    my ($name, $follow) = @_;
    my ($told, $tell, $go, $let_go);
    my $other = sub {
        syswrite $tell, "$$\n";
        sysread($go, my $text, 1) or POSIX::_exit(1);
        push @{ $kept[0] }, 3;
        $text = text_of($kept[0]);
        @kept = ();
        undeclare('%h');
        syswrite $tell, $text;
        POSIX::_exit(0);
    };
    return {
        name    => $name,
        before  => { '%h' => {%flat} },
        follow  => $follow,
        locks   => 1,
        setup   => sub { pipe $told, $tell or die $!; pipe $go, $let_go or die $! },
        prepare => sub { close $let_go; my @lexical : shm = (1, [2]); @kept = (\@lexical) },
        run     => sub {
            defined(my $pid = fork) or die $!;
            $other->() if $follow ? $pid : !$pid;
        },
        settle => sub {
            my ($recover) = @_;
            close $tell;
            sysread $told, my $pid, 100;
            $pid += 0                                                        if $pid;
            expire_transits()                                                if !$pid;
            IPC::Shm->recover                                                if $recover;
            return                                                           if !$pid;
            same(IPC::Shm->stats->{variables}, 3, 'variables that are left') if $recover;
            syswrite $let_go, 'x';
            sysread $told, my $found, 1000;
            same($found, q(['1',['2'],'3']), 'the lexical');
            waitpid $pid, 0 if $follow;
            sysread $told, $found, 1;    # the end of the other process
        },
    };
}

# Attachments that were made for a child which may not have taken them are given
# ten seconds. Let these be over: the time in them becomes one of long ago.
sub expire_transits {
    my $file = namespace() . '/attach.0';
    open my $attach, '+<:raw', $file or die "$file: $!";
    my $bytes = do { local $/;                                       <$attach> };
    my $now   = do { open my $uptime, '<', '/proc/uptime' or die $!; (split ' ', <$uptime>)[0] * 1e9 };
    my @words = unpack 'Q*', $bytes;
    for my $i (grep { abs($words[$_] - $now) < 60e9 } 0 .. $#words) {
        sysseek $attach, 8 * $i, 0;
        syswrite $attach, pack 'Q', $words[$i] - 11e9;
    }
    return;
}

my @forks = (forks('fork, the parent is killed', 0), forks('fork, the child is killed', 1));

$_->{locks} = 1 for @removals, @recoveries;

prove_operations(@values, @references, @locks, @waits, @lives, @removals, @recoveries, @forks);
