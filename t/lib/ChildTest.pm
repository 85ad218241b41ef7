package ChildTest;
use strict;
use warnings;
use Exporter qw(import);
use IO::Handle;
use POSIX       ();
use Time::HiRes ();

# Child processes of tests, and waiting for what others do.

our @EXPORT = qw(child finish in_child until_true);

# A child that runs the code and exits; returns its PID.
sub child {
    my ($code) = @_;
    defined(my $pid = fork) or die "cannot fork: $!";
    return $pid if $pid;
    my $ok = eval { $code->(); 1 };
    print STDERR "# child: $@" if !$ok;
    POSIX::_exit($ok ? 0 : 1);
}

# Wait for children; true if all of them ended well.
sub finish {
    my $ok = 1;
    for my $pid (@_) { waitpid $pid, 0; $ok = 0 if $? != 0 }
    return $ok;
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
    local $/ = undef;
    my $text = <$in>;
    waitpid $pid, 0;
    return $text;
}

# Wait for a condition, for a long time on a slow machine; true if it came.
sub until_true {
    my ($code, $seconds) = @_;
    my $end = Time::HiRes::time() + ($seconds // 60);
    while (Time::HiRes::time() < $end) { return 1 if $code->(); Time::HiRes::sleep(0.01) }
    return 0;
}

1;
