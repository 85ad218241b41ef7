use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use Cwd         ();
use Fcntl       qw(LOCK_EX);
use File::Temp  ();
use Time::HiRes qw(time);
use IPC::Shm;

my $top = File::Temp::tempdir(-w '/dev/shm' ? (DIR => '/dev/shm') : (), CLEANUP => 1);
sub in_space { my ($dir, @rest) = @_; local $ENV{IPC_SHM_NAMESPACE} = $dir; return program(@rest) }
sub mode     { return sprintf '%04o', (stat $_[0])[2] & 07777 }

is(IPC::Shm->namespace, namespace_dir(), 'the environment names the namespace');
{
    local $ENV{IPC_SHM_NAMESPACE};
    is program('use IPC::Shm; print IPC::Shm->namespace'), "/dev/shm/ipc-shm-$>", 'the default is one a user, on /dev/shm';
    is program("use IPC::Shm namespace => '$top/given'; our \$x : shm = 5; print IPC::Shm->namespace"), "$top/given",
        'use IPC::Shm namespace => …';
}
is program("use IPC::Shm namespace => '$top/given'; our \$x : shm; print \$x"), 5, '… goes before the environment';
is in_space("$top/given", 'use IPC::Shm; our $x : shm; print $x'),                            5,       '… and is the same place';
is in_space("$top/other", 'use IPC::Shm; our $x : shm; print defined $x ? "seen" : "apart"'), 'apart', 'namespaces are apart';
like program("use IPC::Shm; our \$x : shm; eval q{use IPC::Shm namespace => '$top/late'; 1} or print \$@"), qr/is in use already/,
    'another namespace after the first variable is refused';
like program('use IPC::Shm nonsense => 1'), qr/Unknown option 'nonsense'.* at program line 1/, 'unknown options are refused';
is program("chdir '$top'; require IPC::Shm; IPC::Shm->import(namespace => 'relative'); chdir '/'; print IPC::Shm->namespace"),
    Cwd::realpath($top) . '/relative', 'a relative directory is absolute';

# Permissions.
is in_space("$top/modes", 'use IPC::Shm; BEGIN { print IPC::Shm::Tied->Mode, IPC::Shm::Tied->Size } our $x : shm = 1'), '4324096',
    'Mode is 0660 and Size 4096 by default';
is mode("$top/modes/namespace"), '0660', 'files are created with Mode';
is in_space(
    "$top/modes2",
    'use IPC::Shm; BEGIN { IPC::Shm::Tied->Mode(0600); IPC::Shm::Tied->Size(8192) } our $x : shm = "a"; print IPC::Shm->stats->{block_size}'
    ),
    8192, 'Size is the block size';
is_deeply [ map { mode($_) } glob "$top/modes2/*" ], [ '0600', '0600' ], '… with Mode 0600, too';
is in_space("$top/modes2", 'use IPC::Shm; our $x : shm; print $x, IPC::Shm->stats->{block_size}'), 'a8192',
    'who attaches takes the block size that is there';
like program('use IPC::Shm; IPC::Shm::Tied->Mode(077777)'), qr/Mode takes permission bits.* at program/, 'a Mode that is none is refused';
like program('use IPC::Shm; IPC::Shm::Tied->Size(1)'),      qr/Size takes .* at program/,                'a Size that is none is refused';

# These are in /dev/shm, under names that are fixed: another run of this test may be at it.
my $everybodys;
if (open my $shm, '<', '/dev/shm') { flock $shm, LOCK_EX; $everybodys = $shm }
SKIP: {
    local $ENV{IPC_SHM_NAMESPACE};
    my $default = "/dev/shm/ipc-shm-$>";
    skip "$default is in use here", 5 if -e $default || -l $default;
    is program('use IPC::Shm; our $x : shm = 7; print $x'), 7,      'the default namespace is made';
    is mode($default),                                      '0700', '… closed to others';
    chmod 0750, $default;
    like program('use IPC::Shm; our $x : shm'), qr/is refused as a namespace: it is open to other users/,
        'one that is open to others is refused';
    chmod 0700, $default;
    is program('use IPC::Shm; our $x : shm; print $x; IPC::Shm->cleanup'), 7, '… and accepted when it is closed';
    ok !-e $default, 'cleanup removes it';
}
SKIP: {
    skip 'needs root, to give a directory away', 1 if $> != 0;
    my $program =
        'use POSIX (); local $ENV{IPC_SHM_NAMESPACE}; delete $ENV{IPC_SHM_NAMESPACE}; require IPC::Shm; require attributes; mkdir "/dev/shm/ipc-shm-54321", 0700; $> = 54321; eval q{use IPC::Shm; our $x : shm; 1} or print $@; $> = 0; rmdir "/dev/shm/ipc-shm-54321"';
    like program($program), qr/is refused as a namespace: it belongs to another user/, 'one that belongs to somebody else is refused';
}
undef $everybodys;
{
    open my $file, '>', "$top/file" or die $!;
    like in_space("$top/file", 'use IPC::Shm; our $x : shm'), qr/it is not a directory/, 'a file is no namespace';
    like in_space("$top/no/such", 'use IPC::Shm; our $x : shm'), qr/cannot be made a namespace: No such file/,
        'a directory that cannot be made';
}

# Ways to the same directory.
{
    mkdir "$top/real";
    symlink "$top/real", "$top/link" or die $!;
    is in_space("$top/link", 'use IPC::Shm; our $x : shm = 8; print $x'),                8, 'a symbolic link to a directory';
    is in_space("$top/real", 'use IPC::Shm; our $x : shm; print $x; IPC::Shm->cleanup'), 8, '… is that directory';
    is in_space(
        "$top/real/", "use IPC::Shm; our \$x : shm; use IPC::Shm namespace => '$top/./link/'; print IPC::Shm->namespace; IPC::Shm->cleanup"
        ),
        "$top/real", 'the directory that is in use may be named again, by any of its names';
    is in_space('relative', "chdir '/'; require IPC::Shm; print IPC::Shm->namespace"), '/relative', 'relative to the root';
    symlink "$top/nowhere", "$top/dangling" or die $!;
    like in_space("$top/dangling", 'use IPC::Shm; our $x : shm'), qr/cannot be a namespace: No such file/, 'a symbolic link to nothing';
}

# Other users.
SKIP: {
    skip 'needs root, to be other users', 11 if $> != 0;
    chmod 0755, $top;

    # Loaded as root, and declared as that user: modules may lie where he cannot look.
    my $as = sub {
        my ($uid, $dir, $code, $umask) = @_;
        return in_space($dir,
                  'use POSIX (); require IPC::Shm; require Cwd; require Errno; IPC::Shm->import;'
                . sprintf('umask 0%o; $) = "%d %d"; $( = %d; POSIX::setuid(%d) or die $!;', $umask // 022, ($uid) x 4)
                . "eval q{$code; 1} or print \$\@");
    };
    mkdir "$top/closed";
    like $as->(54321, "$top/closed/x", 'our $x : shm'), qr{/closed/x cannot be made a namespace: Permission denied},
        'a directory where nothing may be made';
    like $as->(54321, "$top/closed", 'our $x : shm'), qr{/closed/namespace .*: Permission denied}, '… or that cannot be written to';
    mkdir "$top/open";
    chmod 01777, "$top/open";
    mkdir "$top/open/all";    # by root: what another user puts where all may write is refused
    chmod 0777, "$top/open/all";
    is $as->(54321, "$top/open/all", 'BEGIN { IPC::Shm::Tied->Mode(0666) } our %h : shm = (one => 1); print %h', 0777), 'one1',
        'a namespace for all users, whatever the umask';
    is_deeply [ map { mode($_) } glob "$top/open/all/*" ], [ '0666', '0666' ], '… its files are open to all';
    is $as->(
        54322,
        "$top/open/all",
        'our (%h, %mine) : shm; { my $lock = (tied %h)->lock_guard; $h{two} = $h{one} + 1 } $mine{$_} = { n => $_ } for 1 .. 100; $h{large} = "x" x 500_000; print "done"'
        ),
        'done', 'another user reads, locks and stores';
    is $as->(54321, "$top/open/all", 'our (%h, %mine) : shm; print "$h{two} ", length $h{large}, " $mine{100}{n}"'), '2 500000 100',
        '… and the first user sees it';
    $as->(54321, "$top/open/private", 'our %h : shm = (one => 1)');
    like $as->(54322, "$top/open/private", 'our %h : shm'), qr/is refused as a namespace: another user has put it there/,
        'what another user has put where all may write is refused';
    chmod 0755, "$top/open";
    like $as->(54322, "$top/open/private", 'our %h : shm'), qr/Permission denied/, '… and where not, others are kept out by default';
    chmod 01777, "$top/open";
    $as->(54321, "$top/open/readable", 'BEGIN { IPC::Shm::Tied->Mode(0644) } our %h : shm = (one => 1)');
    chmod 0755, "$top/open";
    like $as->(54322, "$top/open/readable", 'our %h : shm; print %h'), qr/Permission denied/, 'to be allowed to read only is not enough';
    in_space("$top/open/$_", 'use IPC::Shm; IPC::Shm->cleanup') for qw(all private readable);
}

# Format and damage.
{

    sub poke {
        my ($file, $at, $bytes) = @_;
        open my $f, '+<', $file or die "$file: $!";
        binmode $f;
        seek $f, $at, 0;
        print {$f} $bytes;
        close $f;
        return;
    }

    sub find {
        my ($file, $bytes) = @_;
        open my $f, '<', $file or die $!;
        binmode $f;
        read $f, my $start, 4_000_000 or die $!;    # of a file that is large and mostly not there
        return index $start, $bytes;
    }
    my $file = "$top/modes2/namespace";
    is find($file, 'ISHMBLE2'), 0, 'a namespace says what it is';
    my $version = do { open my $f, '<:raw', $file or die $!; read $f, my $start, 12; substr $start, 8 };
    poke($file, 8, pack 'L', 99);
    like in_space("$top/modes2", 'use IPC::Shm; our $x : shm'), qr/incompatible: its format version is 99/,
        'another format version is refused';
    poke($file, 8, $version);
    poke($file, 12, pack 'L', 77);
    like in_space("$top/modes2", 'use IPC::Shm; our $x : shm'), qr/damaged: its block size makes no sense/,
        'a senseless block size is refused';
    poke($file, 0, 'NOTSHM!!');
    like in_space("$top/modes2", 'use IPC::Shm; our $x : shm'), qr/is not a namespace of IPC::Shm/, 'something else is refused';
    poke($file, 0, 'LSDPOOL1');
    like in_space("$top/modes2", 'use IPC::Shm; our $x : shm'), qr/incompatible: its format version is 1, /, 'that of version 0.01 is told';

    # Hostile bytes are data: whatever is written into a block, readers die with a
    # message or see values, and run nothing.
    in_space("$top/hostile", 'package Gadget; our $ran = 0; use IPC::Shm; our %h : shm = (key => "value" x 100)');
    my $where = find("$top/hostile/namespace", 'valuevalue');
    my $bad   = '';
    srand 42;
    for my $round (1 .. 60) {
        poke("$top/hostile/namespace", $where - 20 + int rand 40, join '', map { chr int rand 256 } 1 .. 1 + rand 12);
        my $got = in_space("$top/hostile",
            'package Gadget; sub STORABLE_thaw { print "RAN" } sub DESTROY { } use IPC::Shm; our %h : shm; my %c = eval { %h }; print $@ =~ /damaged|^$/ ? "fine" : $@'
        );
        $bad = $got if $got ne 'fine';
    }
    is $bad, '', 'hostile bytes are an exception or a value';

    # Each bit before a key, and each of it, is turned: perl's own way through a hash comes to an end.
    my $turned = in_space("$top/turned", <<'PERL');
        use IPC::Shm;
        our %h : shm = map { ("damaged $_" => $_) } 1 .. 9;
        open my $file, '+<:raw', "$ENV{IPC_SHM_NAMESPACE}/namespace" or die $!;
        sysread $file, my $start, 4_000_000;
        my $at = index $start, 'damaged 5';
        my ($told, $seen) = (0, 0);
        sub turn {
            my ($at, $bit) = @_;
            sysseek $file, $at, 0;
            sysread $file, my $byte, 1;
            sysseek $file, $at, 0;
            syswrite $file, $byte ^ chr 1 << $bit;
        }
        for my $byte (map { $at + $_ } -40 .. 8) {
            for my $bit (0 .. 7) {
                turn($byte, $bit);
                my $keys = 0;
                keys %h;
                eval { while (my ($key, $value) = each %h) { $keys++ < 100 or print("endless at $byte, $bit\n"), last } 1 }
                    ? ($seen += $keys)
                    : $@ =~ /damaged/ ? $told++ : print "$byte, $bit: $@";
                turn($byte, $bit);
            }
        }
        print "told\n" if $told > 50;
        print join ' ', map { /(\d)/ } sort keys %h;
PERL
    is $turned, "told\n1 2 3 4 5 6 7 8 9", 'whichever bit of an element is turned, each comes to an end';
}
# cleanup, remove, list.
{
    our %a : shm    = (1, 2);
    our @b : shm    = (1, 2, 3);
    our $gone : shm = 'x';
    my $lexical : shm = 5;
    $a{ref} = [1];
    my %list = map { (($_->{name} // "anonymous $_->{type}") => $_) } IPC::Shm->list;
    is_deeply [ sort keys %list ], [ '$main::gone', '$main::x', '%main::a', '@main::b', 'anonymous ARRAY', 'anonymous SCALAR' ],
        'list has one record a variable';
    is_deeply [ @{ $list{'@main::b'} }{qw(type elements serial writer)} ], [ 'ARRAY', 3, has_batches() ? 1 : 3, undef ],
        '… with type, elements, serial, lock holder';
    cmp_ok $list{'%main::a'}{bytes}, '>', 5, '… and bytes';
    is_deeply $list{'%main::a'}{attached}, [$$], '… and attached processes';
    my $stats = IPC::Shm->stats;
    is $stats->{variables}, 6, 'stats: variables';
    cmp_ok $stats->{bytes_used},  '>', 0,                    '… bytes_used';
    cmp_ok $stats->{bytes_total}, '>', $stats->{bytes_used}, '… bytes_total';

    is + (tied $gone)->remove, 1, 'remove returns true';
    ok !eval { my $x = $gone; 1 } && $@ =~ /\$main::gone was removed at \Q$0\E/, 'what was removed cannot be read';
    ok !eval { $gone = 1; 1 } && $@ =~ /was removed/, '… nor written';
    is program('use IPC::Shm; our $gone : shm; print defined $gone ? "old" : "new"'), 'new', '… and is made anew by who declares it';
    pipe my $ready, my $to_me or die $!;
    pipe my $go,    my $tell  or die $!;
    my $pid = child(
        sub {
            close $tell;
            my $x = $a{1};
            syswrite $to_me, 'x';
            sysread $go, my $byte, 1;
            exit(eval { $x = $a{1}; 1 } ? 1 : $@ =~ /removed/ ? 0 : 2);
        }
    );
    sysread $ready, my $byte, 1;
    is(IPC::Shm->cleanup, 1, 'cleanup returns true');
    close $tell;
    ok finish($pid),                                  'other processes find their variables removed';
    ok !-e namespace_dir(),                           'no file is left';
    ok !eval { my $x = $b[0]; 1 } && $@ =~ /removed/, 'neither can this one use them';
    my @new : shm = (1, 2);
    is in_child(sub {"@new"}), '1 2', 'new variables can be made after a cleanup';
    is(IPC::Shm->stats->{variables}, 1, '… in a new namespace');
    IPC::Shm->cleanup;
}
# A variable that somebody has locked.
{
    my %locked : shm = (a => 1);
    pipe my $ready, my $to_me or die $!;
    pipe my $go,    my $tell  or die $!;
    my $holder = child(
        sub {
            close $tell;
            (tied %locked)->writelock;
            syswrite $to_me, 'x';
            sysread $go, my $byte, 1;
            $locked{b} = 2;
            die "lost\n" if join(',', map {"$_$locked{$_}"} sort keys %locked) ne 'a1,b2';
        }
    );
    sysread $ready, my $byte, 1;
    my $began = time;
    is(IPC::Shm->cleanup, 1, 'cleanup goes on where a variable is locked');
    SKIP: {
        skip 'on a server cleanup waits for nobody', 1 if on_server();
        cmp_ok time - $began, '>=', 0.19, '… after a while';
    }
    ok !-e namespace_dir(), '… and leaves no file';
    close $tell;
    ok finish($holder), 'who has the lock goes on as well';
}
# Many processes make one namespace at once, and some clean it up.
{
    my @pids = map {
        my $n = $_;
        child(
            sub {
                for my $round (1 .. 20) {
                    eval { my %h : shm = (n => $n); die "lost\n" if $h{n} != $n; IPC::Shm->cleanup if $round % 5 == 0; 1 }
                        or $@ =~ /removed/
                        or die $@;
                }
            }
        )
    } 1 .. 6;
    ok finish(@pids), 'namespaces come and go under the hands of six processes';
    IPC::Shm->cleanup;
    ok !-e namespace_dir(), '… nothing is left';
}
done_testing;
