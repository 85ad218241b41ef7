package ChildTest;
use strict;
use warnings;
use Exporter qw(import);
use IO::Handle;
use POSIX       ();
use Time::HiRes ();

# Child processes of tests, and waiting for what others do. No wait is for ever: a test that hangs says where.

our @EXPORT    = qw(child finish in_child until_true in_time);
our @EXPORT_OK = qw(read_line ended end_groups is_asleep);

use constant LIMIT => 300;    # seconds, for a slow machine with sanitizers

# A child that runs the code and exits; returns its PID.
sub child {
    my ($code) = @_;
    defined(my $pid = fork) or die "cannot fork: $!";
    return $pid if $pid;
    my $ok = eval { $code->(); 1 };
    print STDERR "# child: $@" if !$ok;
    POSIX::_exit($ok ? 0 : 1);
}

# Wait for children; true if all of them ended well. One that does not end is killed.
sub finish {
    my $ok = 1;
    for my $pid (@_) {
        if (!ended($pid, LIMIT)) {
            print STDERR '# child ', $pid, ' has not ended within ', LIMIT, " seconds: it is killed\n";
            kill 'KILL', $pid;
            waitpid $pid, 0;
        }
        $ok = 0 if $? != 0;
    }
    return $ok;
}

# Has the child ended, or does it within that time? Its status is in $?, -1 if there is no such child.
sub ended {
    my ($pid, $seconds) = @_;
    my $end = Time::HiRes::time() + $seconds;
    my $nap = 0.0005;
    while (!waitpid $pid, POSIX::WNOHANG()) {
        return 0 if Time::HiRes::time() > $end;
        Time::HiRes::sleep($nap);
        $nap *= 1.3 if $nap < 0.02;
    }
    return 1;
}

# End servers, each the leader of a process group of its own, by a signal. Who of a group is left after a while is
# killed: a worker that is told to end just before it waits for a client may overlook it.
sub end_groups {
    my ($signal, @leaders) = @_;
    kill $signal, @leaders;
    for my $pid (@leaders) {
        my $ended = ended($pid, 20);
        next if $ended && until_true(sub { !kill 0, -$pid }, 20);
        print STDERR "# server $pid has not ended within 20 seconds: it is killed\n";
        kill 'KILL', -$pid;
        finish($pid) if !$ended;
    }
    return;
}

# Something to read there, within the time; else it dies.
sub _readable {
    my ($handle, $what) = @_;
    my $end = Time::HiRes::time() + LIMIT;
    while ((my $left = $end - Time::HiRes::time()) > 0) {
        my $bits = '';
        vec($bits, fileno $handle, 1) = 1;
        return if 0 < select $bits, undef, undef, $left;
    }
    die "$what within ", LIMIT, " seconds\n";
}

# A line that another process writes; undef where that has closed it. (Not to be mixed with perl's own reading.)
sub read_line {
    my ($handle) = @_;
    my $line = '';
    while ($line !~ /\n\z/) {
        _readable($handle, 'no line came');
        last if !sysread $handle, $line, 1, length $line;
    }
    return length $line ? $line : undef;
}

# What the code returns when it is run in a child, as a string.
sub in_child {
    my ($code) = @_;
    pipe my $in, my $out or die "cannot make a pipe: $!";
    my $pid = child(
        sub {
            close $in;
            my $text = eval {
                join '|', map { defined $_ ? $_ : 'undef' } $code->();
            };
            print {$out} defined $text ? $text : "died: $@";
            $out->flush;
        }
    );
    close $out;
    my $text = '';
    eval {
        do { _readable($in, 'a child has said nothing') }
            while sysread $in, $text, 65536, length $text;
        1;
    } or $text .= "died: $@";
    finish($pid);
    return $text;
}

# What the code returns, which looks at something that lasts only so many seconds: if it took longer, because the
# machine stood still, it is run again.
sub in_time {
    my ($seconds, $code) = @_;
    for (1 .. 100) {
        my $then = Time::HiRes::time();
        my @got  = $code->();
        return @got if Time::HiRes::time() - $then < $seconds;
    }
    die "not done within $seconds seconds\n";
}

# Does the process sleep, thus wait for something?
sub is_asleep {
    my ($pid) = @_;
    open my $stat, '<', "/proc/$pid/stat" or return 0;
    return scalar(readline $stat) =~ /\) S/;
}

# Wait for a condition, for a long time on a slow machine; true if it came.
sub until_true {
    my ($code, $seconds) = @_;
    my $end = Time::HiRes::time() + ($seconds // 60);
    while (Time::HiRes::time() < $end) { return 1 if $code->(); Time::HiRes::sleep(0.01) }
    return 0;
}

1;
