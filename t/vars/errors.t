use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use Errno      ();
use File::Temp ();
use IPC::Shm;

# Exceptions are about the line of the program that made the mistake, and what goes
# well leaves no trace: not in $@, not in $!.

# Each call, in a namespace that cannot be.
my @calls = (
    'IPC::Shm->stats',
    'my @l = IPC::Shm->list',
    'IPC::Shm->recover',
    'IPC::Shm->cleanup',
    'my @k = keys %IPC::Shm::NAMEVARS',
    'my $n = %IPC::Shm::NAMEVARS',
    'my $v = $IPC::Shm::NAMEVARS{"%x"}',
    'my $e = exists $IPC::Shm::NAMEVARS{"%x"}',
    'delete $IPC::Shm::NAMEVARS{"%x"}',
    'tie my %t, "IPC::Shm::Tied"',
    'my %l : shm',
    'my ($s, @a) : shm',
    'attributes->import("main", \my @l, "shm")',
);
my $program = 'use IPC::Shm namespace => "/proc/none/such"; open my $in, "<", $0; my $line = <$in>;' . "\n";
$program .= "eval { $_ }; print \$@;\n" for @calls;
my @got = split /^/m, program($program);

for my $i (0 .. $#calls) {
    is $got[$i], "/proc/none/such cannot be made a namespace: No such file or directory at program line @{[$i + 2]}.\n",
        "$calls[$i]: the line is the caller's";
}
is program("use IPC::Shm namespace => '/proc/none/such';\n\nour \$x : shm;"),
    "/proc/none/such cannot be made a namespace: No such file or directory at program line 3.\n"
    . "BEGIN failed--compilation aborted at program line 3.\n", 'a declaration: its line';
for my $wrong (
    [ 'use IPC::Shm "namespace"',                             'The options of IPC::Shm are pairs of name and value' ],
    [ 'use IPC::Shm namespace => undef',                      'namespace must be the path of a directory' ],
    [ 'use IPC::Shm namespace => ""',                         'namespace must be the path of a directory' ],
    [ 'use IPC::Shm namespace => "a\0b"',                     'namespace must be the path of a directory' ],
    [ 'use IPC::Shm; BEGIN { IPC::Shm::Tied->Mode("0660") }', q{Mode takes permission bits, as 0600, not '0660'} ],
    [ 'use IPC::Shm; BEGIN { IPC::Shm::Tied->Mode(0060) }',   'Mode 0060 would keep its owner out' ],
    [ 'use IPC::Shm; BEGIN { IPC::Shm::Tied->Size("8k") }',   q{Size takes a number of bytes from 256 to 1073741824, not '8k'} ],
    )
{
    my ($code, $message) = @$wrong;
    like program($code), qr/\A\Q$message\E at program line 1\.$/m, $code;
}

# A signal handler's exception is its own.
{
    our %h : shm;
    pipe my $ready, my $to_me or die $!;
    my $holder = child(sub { my $guard = (tied %h)->lock_guard; syswrite $to_me, 'x'; sleep 60 });
    sysread $ready, my $byte, 1;
    my $line = __LINE__ + 1;
    local $SIG{ALRM} = sub { die 'out' };
    for my $what (
        sub { (tied %h)->lock_guard('read') },
        sub {
            (tied %h)->synchronize(sub { });
        },
        sub { $h{x} = 1 }
        )
    {
        eval { alarm 1; $what->() };
        is $@, "out at $0 line $line.\n", 'what a signal handler dies of stays what it is';
    }
    kill KILL => $holder;
    waitpid $holder, 0;
}

# $@ and $! stay.
{
    our %h;
    our @many : shm;
    in_child(sub { $h{$_} = 'x' x 1000 for 1 .. 1000; $h{ref} = { list => [1] } });
    my $errno = Errno::EPERM();
    my %quiet = (
        'a read'              => sub { my $x       = $h{5} },
        'a reference'         => sub { my $x       = $h{ref}{list}[0] },
        'a store'             => sub { $h{5}       = 'new' },
        'a large store'       => sub { $h{large}   = 'y' x 5_000_000 },
        'storing a reference' => sub { $h{other}   = { list => [ 1, 2 ] } },
        'a lexical'           => sub { my %l : shm = (1 .. 10);             return },
        'a lock'              => sub { my $guard   = (tied %h)->lock_guard; $h{6} = 7 },
        'synchronize'         => sub {
            (tied %h)->synchronize(sub { $h{7} = 8 });
        },
        'NAMEVARS'       => sub { my $x = $IPC::Shm::NAMEVARS{'%main::h'}{5}; my @k = keys %IPC::Shm::NAMEVARS },
        'many variables' => sub {
            @many = map { [$_] } 1 .. 300;
            @many = ();
        },
    );
    for my $what (sort keys %quiet) {
        eval { die "before\n" };
        $! = $errno;    ## no critic (that is what is tested)
        $quiet{$what}->();
        is $! + 0, $errno,     "$what leaves \$! alone";
        is $@,     "before\n", "… and \$\@";
    }
    pipe my $ready, my $to_me or die $!;
    my $holder = child(sub { my $guard = (tied %h)->lock_guard; syswrite $to_me, 'x'; select undef, undef, undef, 0.3 });
    sysread $ready, my $byte, 1;
    $! = $errno;    ## no critic
    my $x = $h{5};
    is $! + 0, $errno, 'so does a read that waits';
    finish($holder);
    $holder = child(sub { my $guard = (tied %h)->lock_guard; syswrite $to_me, 'x'; select undef, undef, undef, 0.3 });
    sysread $ready, $byte, 1;
    $! = $errno;       ## no critic
    $h{5} = 6;
    is $! + 0, $errno, '… and a store that waits';
    finish($holder);
}

# In scalar context.
is scalar(my $count = IPC::Shm->list), IPC::Shm->stats->{variables}, 'list in scalar context is the number of variables';
IPC::Shm->cleanup;
done_testing;
