# Who cannot be judged is alive: a process that cannot find out who it is, or who others are.
use strict;
use warnings;
use Config;
use Test::More;

# With few descriptors: a fork copies as many as are open.
BEGIN {
    exec 'sh', '-c', 'ulimit -S -n 128; exec "$@"', 'sh', $^X, (map {"-I$_"} grep { !ref } @INC), $0 if !$ENV{POOL_TEST_LIMITED}++;
}
use lib 't/lib';
use PoolTest;

my $I64 = 'Data::Pool::Shared::I64';

# Open files until there is no descriptor left.
sub use_up_descriptors {
    my ($files) = @_;
    no warnings 'io';
    while (open my $file, '<', '/dev/null') { push @$files, $file }
    return;
}

# Run a program in a mount namespace of its own, where a shell command changes what it sees. It says "ready", and ends
# when it hears something; it prints what it found on a line each. Returns an object, or nothing if that cannot be had.
sub changed {
    my ($options, $command, $program, @arguments) = @_;
    my @unshare = unshare_command('--mount', @$options);
    return if !@unshare || system(@unshare, 'sh', '-c', "($command) >/dev/null 2>&1") != 0;
    return in_child {
        my ($self) = @_;
        open STDIN,  '<&', $self->{in}  or die "dup: $!";
        open STDOUT, '>&', $self->{out} or die "dup: $!";
        exec @unshare, 'sh', '-c', "($command) && exec \"\$@\"", 'sh', perl_command("\$| = 1; $program", @arguments) or die "exec: $!";
    };
}

subtest 'a child that can open no file' => sub {
    my $pool  = $I64->new(undef, 32);
    my @mine  = map { $pool->alloc_set($_) } 1 .. 5;
    my $ended = in_child { $pool->alloc_n(3) };
    $ended->result;
    my $child = in_child {
        use_up_descriptors(\my @files);
        my $theirs = $pool->alloc_n(2);
        my @found  = ($pool->recover_stale, scalar(grep { $pool->is_allocated($_) } @mine));
        @files = ();
        $_[0]->say(@found, $pool->recover_stale, scalar(grep { $pool->owner($_) == $$ } @$theirs));
        $_[0]->hear;
    };
    is($child->hear,         '3 5 0 2', 'recovers what the dead left, and nothing of the living; then it can, and nothing changes');
    is($pool->recover_stale, 0,         'and nothing of it is stale');
    $child->end;
    is($pool->recover_stale, 2, 'until it is dead');
};

subtest '500 children forked with no descriptor free' => sub {
    my $pool = $I64->new(undef, 1000);
    my $mine = $pool->alloc_set(-1);
    my @pids;
    pipe my $ready_out, my $ready_in or die "pipe: $!";
    use_up_descriptors(\my @files);
    for my $number (1 .. 500) {
        defined(my $pid = fork) or die "fork: $!";
        if (!$pid) {
            my $slot  = $pool->alloc_set($number);
            my $freed = $number % 50 ? 0 : $pool->recover_stale;
            syswrite $ready_in, $freed ? 'x' : '.';
            sleep 100;
            POSIX::_exit(0);
        }
        push @pids, $pid;
    }
    my $told = '';
    while (length $told < 500) { sysread $ready_out, $told, 500, length $told or die "they are gone: $!" }
    is($told,                '.' x 500, 'none of them recovers anything of the living');
    is($pool->recover_stale, 0,         'nor does the parent, who can open no file, either');
    @files = ();
    is($pool->recover_stale, 0,   'nor when it can');
    is($pool->used,          501, 'all hold their slots');
    my @killed = splice @pids, 0, 250;
    kill KILL => @killed;
    waitpid $_, 0 for @killed;
    is($pool->recover_stale, 250, 'of those that are killed all is recovered');
    is($pool->used,          251, 'of the others nothing');
    kill KILL => @pids;
    waitpid $_, 0 for @pids;
    is($pool->recover_stale, 250, 'until they are, too');
};

# A child that loses the processor while it compares two clocks with what its parent saw, and one that finds the
# wall clock set: both are known as who they are. In a PID namespace whose number is all that a process can see of it
# without a descriptor; and in a chroot without /proc, where only the clocks tell.
my $forked = q{
    my ($root) = @ARGV;
    my $pool = Data::Pool::Shared::I64->new(undef, 64);
    if (length $root) { chroot $root or die "chroot: $!"; chdir '/' }
    $pool->alloc;
    my (@files, @pids);
    pipe my $ready, my $told or die "pipe: $!";
    { no warnings 'io'; while (open my $file, '<', '/dev/null') { push @files, $file } }
    for (1 .. 5) {
        my $pid = fork // die "fork: $!";
        if (!$pid) { $pool->alloc; syswrite $told, '.'; sleep 100 }
        push @pids, $pid;
    }
    for (1 .. 5) { sysread $ready, my $dot, 1 or die 'they are gone' }
    @files = ();
    print $pool->recover_stale, ' ';
    kill KILL => @pids;
    waitpid $_, 0 for @pids;
    print $pool->recover_stale;
};
my $late = temp_path('late.so');
for my $case (
    [ 'late', 'in a PID namespace',        '', '--pid', '--fork', '--kill-child', '--mount-proc' ],
    [ 'set',  'in a PID namespace',        '', '--pid', '--fork', '--kill-child', '--mount-proc' ],
    [ 'late', 'in a chroot without /proc', temp_path('empty'), '--mount' ],
    )
{
    my ($what, $where, $root, @options) = @$case;
    subtest "children whose clock is $what, $where" => sub {
        plan skip_all => 'no working C compiler'
            if !-e $late && system("$Config{cc} -shared -fPIC -O1 -o $late t/lib/late.c 2>/dev/null") != 0;
        my @unshare = unshare_command(@options) or plan skip_all => 'namespaces cannot be made here';
        mkdir $root if length $root;
        local $ENV{LD_PRELOAD}  = join ' ', grep { defined && length } $ENV{LD_PRELOAD}, $late;
        local $ENV{CHILD_CLOCK} = $what;
        open my $output, '-|', @unshare, perl_command($forked, $root) or die "cannot run perl: $!";
        is(readline($output), '0 5', 'none is taken for dead before it is, and all are then');
        close $output;
    };
}

subtest 'the first pool of a program that can open no file' => sub {
    my $printed = readline do {
        open my $output, '-|', perl_command(
            q{
            use POSIX ();
            my @files;
            while (open my $file, '<', '/dev/null') { push @files, $file }
            my $pool = Data::Pool::Shared::I64->new(undef, 9);
            my $slot = $pool->alloc;
            my $pid  = fork;
            if (!$pid) { $pool->alloc; POSIX::_exit($pool->recover_stale) }
            waitpid $pid, 0;
            print $? >> 8, $pool->recover_stale;
        }
        ) or die "cannot run perl: $!";
        $output;
    };
    is($printed, '01', 'its child takes it for alive, and it sees that the child is dead');
};

subtest 'in a chroot without /proc' => sub {
    plan skip_all => 'only root may chroot' if $>;
    my $path = temp_path('chroot');
    my $pool = $I64->new($path, 32);
    $pool->alloc_n(2);
    mkdir temp_path('root') or die $!;
    my $child = in_child {
        my ($self) = @_;
        $pool->alloc;
        chroot temp_path('root') or die "chroot: $!";
        chdir '/';
        my $dead = fork // die "fork: $!";
        if (!$dead) { $pool->alloc_n(4); POSIX::_exit(0) }
        waitpid $dead, 0;
        my $living = fork // die "fork: $!";
        if (!$living) { $pool->alloc_n(8); $self->say('ready'); sleep 100; POSIX::_exit(0) }
        $self->hear;
        $self->say($pool->recover_stale, $living);
        $self->hear;
        kill KILL => $living;
        waitpid $living, 0;
        $self->say($pool->recover_stale);
        $self->hear;
    };
    is($child->hear, 'ready', 'two children of a process there hold slots, one is dead');
    $child->say('go');
    my ($freed, $living) = split ' ', $child->hear;
    is($freed,               4,  'it recovers those of the dead one');
    is($pool->used,          11, 'all others are held');
    is($pool->recover_stale, 0,  'outside nobody is stale');
    $child->say('go');
    is($child->hear, 8, 'the second one is killed, and its slots are recovered in there');
    $child->end;
    is($pool->recover_stale, 1, 'outside it is seen that a process died in there');
};

# What a program sees of /proc that attaches to a pool, and how it is known outside.
my $everywhere = q{
    my ($path, $have) = @ARGV;
    my $pool = Data::Pool::Shared::I64->new($path);
    my $mine = $pool->alloc_set(1);
    my $dead = fork;
    if (!$dead) { $pool->alloc_n(2); require POSIX; POSIX::_exit(0) }
    waitpid $dead, 0;
    print $pool->recover_stale, ' ', (grep { $pool->is_allocated($_) } 0 .. 2) + 0, "\n";
    <STDIN>;
};
my @sights = (
    [ 'without /proc',                           'mount -t tmpfs none /proc' ],
    [ 'with a /proc of processes only',          'mount -t proc -o subset=pid proc /proc' ],
    [ 'with a /proc that hides other processes', 'mount -t proc -o hidepid=2 proc /proc' ],
    [
        'with a boot id of its own',
        'echo 01234567-89ab-cdef-0123-456789abcdef > FOLDER/id && mount --bind FOLDER/id /proc/sys/kernel/random/boot_id'
    ],
    [
        'with a folder that looks like /proc',
        'mount -t tmpfs none /proc && mkdir -p /proc/self/ns && touch /proc/self/ns/pid /proc/self/stat'
    ],
    [ 'in another time namespace, without its own /proc', 'true',                     '--time', '--boottime', '-5' ],
    [ 'in a later time namespace',                        'mount -t proc proc /proc', '--time', '--boottime', '100000' ],
    [ 'in an earlier time namespace',                     'mount -t proc proc /proc', '--time', '--boottime', '-1' ],
);
for my $sight (@sights) {
    my ($what, $command, @options) = @$sight;
    subtest "a process $what" => sub {
        my $path = temp_path($what =~ tr/a-z//cdr);
        my $pool = $I64->new($path, 32);
        $pool->alloc_n(3);
        my $child = in_child { $pool->alloc_n(4); $_[0]->say('ready'); $_[0]->hear };
        $child->hear;
        my $folder  = temp_folder();
        my $strange = changed([@options], $command =~ s/FOLDER/$folder/gr, $everywhere, $path)
            or do { $child->end; plan skip_all => 'not possible here' };
        is($strange->hear,       '2 3', 'takes its own dead child for dead, and nobody else');
        is($pool->recover_stale, 0,     'and is not taken for dead');
        is($pool->used,          8,     'all are held');
        $child->end;
        is($pool->recover_stale, 4, 'a process outside that is killed is seen to be dead');
        $strange->end;
        ok(wait_until { $pool->recover_stale == 1 },              'and so is that one when it is') if $what !~ /without \/proc|looks like/;
        ok(wait_until { $pool->recover_stale; $pool->used == 3 }, 'nothing of it is left')         if PoolTest::keeps_locks($path);
    };
}

subtest 'a process that sees the /proc of another PID namespace' => sub {
    plan skip_all => 'only root may chroot' if $>;
    my @unshare = unshare_command('--pid', '--fork', '--kill-child', '--mount-proc')
        or plan skip_all => 'PID namespaces cannot be made here';
    my $inside = in_child {
        my ($self) = @_;
        open STDOUT, '>&', $self->{out};
        exec @unshare, 'sh', '-c',
            'for i in 1 2 3 4 5; do sleep 100 & done; sh -c "echo \$PPID"; cut -d " " -f 6 /proc/self/status >/dev/null; sleep 100';
    };
    $inside->hear;
    my ($init) = split ' ', PoolTest::read_file('/proc/' . $inside->pid . '/task/' . $inside->pid . '/children');
    my $pool   = $I64->new(undef, 8);
    $pool->alloc;
    my $dead = in_child { $pool->alloc_n(2) };
    $dead->result;
    my $child = in_child {
        chroot "/proc/$init/root" or die "chroot: $!";
        my @pids = (-e '/proc/1/stat' && -e '/proc/self/stat') ? 'itself' : 'others';
        $pool->alloc;
        return @pids, $pool->recover_stale, $pool->used;
    };
    is(join(' ', $child->result), 'others 2 2', 'sees that the dead are, and takes nobody else for it');
    $inside->end;
};

done_testing;
