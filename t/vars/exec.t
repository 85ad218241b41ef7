use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use File::Temp ();
use POSIX      ();
use IPC::Shm;

# Children that become other programs: they hold no variable and no lock. A child
# that goes on in Perl has what its parent had, however it was made.

our %keeper : shm;
my ($exec_pid, $began);

# How many lexical variables there are: that of the program, the only one of seven elements, or others.
sub variables_of {
    my ($is_its) = @_;
    IPC::Shm->recover;
    return scalar grep { !defined $_->{name} && ($_->{elements} == 7) == $is_its } IPC::Shm->list;
}
sub variables { return variables_of(!!0) }
my (@sleepers, @pipes);    # closing a pipe waits for its program

plan skip_all => 'exec is not wrapped' if !has_batches();

# A program that was made with exec holds what its process had for ten seconds, for
# exec can fail. Begun first and looked at last: the ten seconds go by meanwhile. Its
# locks it lets go of at once: that is what our exec does, for the process lives on, and who
# waits for a living one waits for ever.
# (On a server nothing is held: IPC::Shm::Engine::Redis, "WHAT IS DIFFERENT".)
pipe my $in, my $out or die $!;
{
    my %t : shm = map { $_ => 1 } 1 .. 7;
    $began    = time;
    $exec_pid = child(
        sub {
            (tied %t)->writelock;
            (tied %keeper)->writelock;
            open STDOUT, '>&', $out or die $!;
            exec 'sh', '-c', 'echo up; exec sleep 100' or die "exec: $!";
        }
    );
    sysread $in, my $up, 1;
    is((tied %t)->writelock(20),      1, 'what becomes another program holds no lock');
    is((tied %keeper)->writelock(20), 1, '… of any variable');
    $_->unlock for tied %t, tied %keeper;
}
SKIP: {
    my $kept = variables_of(!!1);
    skip 'this machine stood still for ten seconds', 1 if time - $began >= 9;
    is $kept, on_server() ? 0 : 1, 'an attachment is kept for the case that exec fails';
}
is variables(), 0, '… and no other';

# The ways to run a command.
{
    my %t : shm = (a => 1);
    my $program = "exec $^X -e 'sleep 100'";
    push @sleepers, open(my $from,   '-|', $^X, '-e', '$| = 1; print "x\n"; sleep 100');
    push @sleepers, open(my $to,     '|-', $program);
    push @sleepers, open(my $two,    "$program |");
    push @sleepers, open(my $spaces, " |  $program");
    readline $from;
    @pipes = ($from, $to, $two, $spaces);
    my $file = File::Temp->new;
    system "$program & echo \$! > $file";
    push @sleepers, `cat $file`;
    push @sleepers, `$program > /dev/null & echo \$!`;
    chomp @sleepers;
    is scalar(grep { kill 0 => $_ } @sleepers), 6, 'six programs run';
}
is variables(), 0, '… and hold no variable';

# A pipe to a child that goes on in Perl.
for my $open (sub { open $_[0], '-|' }, sub { open $_[0], '-|', '-' }, sub { open $_[0], ' - |' }) {
    pipe my $go, my $tell or die $!;
    my $fh;
    {
        my %t : shm = (a => 'mine');
        my $pid = $open->($fh) // die "fork: $!";
        if (!$pid) {
            close $tell;
            sysread $go, my $byte, 1;
            print "$t{a}\n";
            close STDOUT;
            POSIX::_exit(0);
        }
    }
    is variables(), 1, 'a child at the other end of a pipe keeps what its parent lets go';
    close $tell;
    is readline $fh, "mine\n", '… and uses it';
    close $fh;
    is variables(), 0, '… until it ends';
}

# exec that fails leaves everything as it was, but for the locks.
{
    pipe my $go,  my $tell or die $!;
    pipe my $say, my $told or die $!;
    my $pid;
    {
        my $t : shm = 'still here';
        $pid = child(
            sub {
                no warnings 'exec';
                exec '/nonexistent/program';
                syswrite $told, 'x';
                sysread $go, my $byte, 1;
                syswrite $told, $t;
            }
        );
    }
    sysread $say, my $byte, 1;
    is variables(), 1, 'after an exec that failed the variable is held';
    syswrite $tell, 'x';
    sysread $say, my $text, 100;
    is $text, 'still here', '… and used';
    ok finish($pid), '… as before';
}

# A child that is killed before it has done anything has its number written by its parent.
{
    my $before = variables();
    for (1 .. 20) {
        my %t : shm = (a => 1);
        my $pid = fork // die "fork: $!";
        if (!$pid) { sleep 100 }
        kill KILL => $pid;
        waitpid $pid, 0;
    }
    is variables(), $before, 'children that are killed at once keep nothing';
}

# The ten seconds are over.
ok until_true(sub { variables_of(!!1) == 0 }), 'what became another program holds nothing';
is variables(), 0, '… nor does anybody else';
ok kill(0 => $exec_pid), '… though its process is there';
kill KILL => $exec_pid, @sleepers;
waitpid $exec_pid, 0;
done_testing;
