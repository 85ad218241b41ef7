use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use POSIX ();
use IPC::Shm;

# How many variables there are beside %keeper, which exists from its declaration on.
sub variables { IPC::Shm->recover if !@_; return IPC::Shm->stats->{variables} - 1 }
our %keeper : shm;

{
    my %h : shm = (a => 1);
    my @a : shm = (1, 2);
    my $s : shm = 'x';
    is variables(0),                                                   3,         'three lexicals';
    is in_child(sub { $h{b} = 2; push @a, 3; $s = 'y'; "$h{a}@a$s" }), '11 2 3y', 'a child sees them';
    is "$h{b}@a$s",                                                    '21 2 3y', '… and we see what it has changed';
    is variables(0),                                                   3,         'the end of the child does not take them away';
}
is variables(0), 0, 'out of scope: gone, at once';

# Each execution is a new variable.
{
    my @made = map { my %t : shm = (n => $_); \%t } 1 .. 3;
    is join(',', map { $_->{n} } @made), '1,2,3', 'each execution of the declaration makes a new variable';
    $made[0]{n} = 'one';
    is in_child(
        sub {
            join ',', map { $_->{n} } @made;
        }
        ),
        'one,2,3', '… all of them shared';
    sub nested { my ($depth) = @_; my @l : shm = ($depth); return $depth ? "@l" . nested($depth - 1) . "@l" : "@l" }
    is nested(3), '3210123', '… also in recursion';
}
is variables(0), 0, 'gone';

# A child keeps it when the parent lets go.
sub handshake { pipe my $r, my $w or die $!; return ($r, $w) }
{
    my ($go_r,  $go_w)  = handshake();
    my ($say_r, $say_w) = handshake();
    my $pid;
    {
        my %h : shm = (from => 'parent');
        $pid = child(sub { sysread $go_r, my $x, 1; $h{child} = 'added'; syswrite $say_w, "$h{from} $h{child}" });
    }
    is variables(), 1, 'the child keeps it when the parent lets go';
    syswrite $go_w, 'x';
    sysread $say_r, my $text, 100;
    is $text, 'parent added', '… with its content, usable';
    finish($pid);
    is variables(), 0, '… and it is gone when the child is';
}
# … and when the parent dies.
{
    my ($go_r,  $go_w)  = handshake();
    my ($say_r, $say_w) = handshake();
    my $parent = child(
        sub {
            my %h : shm = (n => 42);
            my $child = fork;
            if (!$child) { sysread $go_r, my $x, 1; syswrite $say_w, "child $h{n}"; sysread $go_r, $x, 1; POSIX::_exit(0) }
            syswrite $say_w, "up:$child\n";
            sleep 100;
        }
    );
    sysread $say_r, my $text, 100;
    my ($child) = $text =~ /up:(\d+)/;
    kill KILL => $parent;
    waitpid $parent, 0;
    is variables(), 1, 'the child keeps it when the parent was killed';
    syswrite $go_w, 'x';
    sysread $say_r, $text, 100;
    is $text, 'child 42', '… and can use it';
    kill KILL => $child;
    ok until_true(sub { variables() == 0 }), 'gone when all holders were killed';
}
# The parent dies at once after the fork.
for my $round (1 .. 20) {
    my ($say_r, $say_w) = handshake();
    my $parent = child(
        sub {
            my $s : shm = "round $round";
            my $child = fork;
            kill KILL => $$ if $child;
            select undef, undef, undef, 0.01;
            syswrite $say_w, $s;
            POSIX::_exit(0);
        }
    );
    waitpid $parent, 0;
    IPC::Shm->recover;
    sysread $say_r, my $text, 100;
    is $text, "round $round", 'a parent that dies at once leaves it to the child' if $round == 1 || $text ne "round $round";
}
ok until_true(sub { variables() == 0 }), '… and nothing is left in the end';

# Kept by another variable.
{
    { my @l : shm = (1, 2, 3); $keeper{l} = \@l }
    is variables(), 1, 'a lexical outlives its scope where another variable refers to it';
    is program('use IPC::Shm; our %keeper : shm; print "@{ $keeper{l} }"'), '1 2 3', '… in another program';
    delete $keeper{l};
    is variables(), 0, '… until that reference is gone';
}
# Other programs that we start do not hold it.
{
    { my %h : shm = (1, 2); system $^X, '-e', '1'; my $x = `$^X -e 1` }
    is variables(), 0, 'programs that were started meanwhile hold nothing';
}
# A closure, a return, a loop.
{
    my $counter = do {
        my $n : shm = 0;
        sub { return ++$n }
    };
    $counter->();
    is in_child($counter), 2, 'a closure over a shared lexical';
    is $counter->(),       3, '… counts on';
}
is variables(), 0, 'nothing is left';

# Many.
my $many  = $ENV{SHM_MANY} || 100_000;
my $bytes = IPC::Shm->stats->{bytes_reserved};
for my $i (1 .. $many) { my %t : shm = (n => $i); }
is variables(0), 0, "$many lexicals made and dropped leave nothing behind";
my $stats = IPC::Shm->stats;
is $stats->{blocks} . ' ' . $stats->{attachments}, '0 1', '… no block and no attachment but that of %keeper';
# Not by a byte in memory. A filesystem on disk takes a block of its own when it writes a file back that lies in many
# pieces (ext4 takes one for more than four), a server's memory has its buffers in it; a piece lost with each would be
# a megabyte and more.
my $slack = IPC::Shm->namespace =~ m{://} ? 60 * $many : IPC::Shm->namespace =~ m{\A/dev/shm/} ? 0 : 65_536;
cmp_ok $stats->{bytes_reserved}, '<=', $bytes + $slack, '… and the namespace has not grown';
done_testing;
