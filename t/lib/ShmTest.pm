package ShmTest;
use strict;
use warnings;
use ChildTest;
use File::Temp ();

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
    *{"${caller}::$_"} = \&$_ for qw(program child finish in_child until_true in_time stopped namespace_dir has_batches on_server);
    return;
}

sub namespace_dir { return $dir }

# Are the variables on a server (t/redis/vars.t)?
sub on_server { return $ENV{SHM_TEST_SERVER} ? 1 : 0 }

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
