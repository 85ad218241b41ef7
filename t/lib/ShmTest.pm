package ShmTest;
use strict;
use warnings;
use Config;
use File::Temp ();
use IO::Handle;
use POSIX ();

# What the tests of IPC::Shm share: a namespace of their own, which is gone when
# the test is; programs and children that use the same namespace.

our $dir;

BEGIN {
    my @where = -w '/dev/shm' ? (DIR => '/dev/shm') : (TMPDIR => 1);    # where namespaces are meant to be
    $dir                    = File::Temp::tempdir('ipc-shm-test-XXXXXX', @where, CLEANUP => 1) . '/namespace';
    $dir                    = "$ENV{SHM_TEST_SERVER}?prefix=test-$$" if $ENV{SHM_TEST_SERVER};                   # see t/redis/vars.t
    $ENV{IPC_SHM_NAMESPACE} = $dir;
}

sub import {
    no strict 'refs';    ## no critic (a small exporter)
    my $caller = caller;
    *{"${caller}::$_"} = \&$_ for qw(program child finish in_child until_true stopped namespace_dir has_batches);
    return;
}

sub namespace_dir { return $dir }

# Are perl's operators wrapped? Without, what an operator does to many elements is not one
# change, and exec keeps what its process held.
sub has_batches { return IPC::Shm::_has_operators() }

# Run another program on the namespace; returns what it prints, errors too.
sub program {
    my ($code, @args) = @_;
    my $file = File::Temp->new(SUFFIX => '.pl');
    print {$file} "use strict; use warnings;\n#line 1 \"program\"\n", $code;
    close $file;
    open my $out, '-|', "$^X " . join(' ', map {"'-I$_'"} grep { !ref } @INC) . " '$file' @{[map { qq('$_') } @args]} 2>&1"
        or die "cannot run: $!";
    local $/ = undef;
    my $text = <$out>;
    close $out;
    return defined $text ? $text : '';
}

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
    my ($code) = @_;
    for (1 .. 6000) {
        return 1 if $code->();
        select undef, undef, undef, 0.01;
    }
    return 0;
}

# Wait until a process has stopped itself. (Not by ps: under a sanitizer it does not start.)
sub stopped {
    my ($pid) = @_;
    return until_true(
        sub {
            open my $stat, '<', "/proc/$pid/stat" or return 0;
            return scalar(readline $stat) =~ /\) T/;
        }
    );
}

1;
