package Apart;    # benchmarks whose parts are processes of their own

use strict;
use warnings;
use Exporter 'import';
use File::Find  ();
use JSON::PP    ();
use POSIX       ();
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID);
use Data::Pool::Shared;

our @EXPORT_OK = qw(apart child crowd cpu_ns disk own_memory);

# A child that runs the code and is gone, without destructors and END blocks: its PID.
sub child {
    my ($code) = @_;
    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;
    eval { $code->(); 1 } or print STDERR $@;
    POSIX::_exit(0);
}

# What the code returns (anything that JSON knows), which runs in a process of its own:
# its heap and its namespace are its own, too.
sub apart {
    my ($code) = @_;
    pipe my $in, my $out or die "pipe: $!\n";
    my $pid = child(sub { close $in; my $got = JSON::PP::encode_json([ $code->() ]); print {$out} $got; close $out });
    close $out;
    my $text = do { local $/; <$in> };
    waitpid $pid, 0;
    die "A part of the benchmark failed.\n" if !length($text // '');
    return @{ JSON::PP::decode_json($text) };
}

# Operations a second of `count` processes in all. Each calls `start` with its number, and
# then what that returns (a piece of work, which returns how many operations it was), for
# this many seconds. The gate starts and stops all.
sub crowd {
    my ($count, $seconds, $start) = @_;
    my $control = Data::Pool::Shared::F64->new(undef, $count + 1);
    my $gate    = Data::Pool::Shared::I64->new(undef, 2);
    my ($state, $ready) = @{ $gate->alloc_n(2) };
    my @rates = @{ $control->alloc_n($count) };
    my @pids  = map {
        my $number = $_;
        child(
            sub {
                my $work = $start->($number);
                $gate->incr($ready);
                $gate->wait($state, 0);
                my ($began, $done) = (now(), 0);
                $done += $work->() until $gate->get($state) == 2;
                $control->set($rates[$number], $done / (now() - $began));
            }
        )
    } 0 .. $count - 1;
    select undef, undef, undef, 0.002 while $gate->get($ready) < $count;
    $gate->set($state, 1);
    $gate->wake($state);
    select undef, undef, undef, $seconds;
    $gate->set($state, 2);
    waitpid $_, 0 for @pids;
    my $total = 0;
    $total += $_ for @{ $control->get_n(\@rates) };
    return $total;
}

sub now { return clock_gettime(CLOCK_MONOTONIC) }

# Nanoseconds of this process an operation: `code` gets a list of keys, `rounds`
# times. Processor time: others take turns of milliseconds on a busy machine.
sub cpu_ns {
    my ($code, $list, $rounds) = @_;
    my $start = clock_gettime(CLOCK_PROCESS_CPUTIME_ID);
    $code->($list) for 1 .. $rounds;
    return (clock_gettime(CLOCK_PROCESS_CPUTIME_ID) - $start) * 1e9 / (@$list * $rounds);
}

# What a folder takes on its filesystem, in bytes.
sub disk {
    my ($where) = @_;
    my $bytes = 0;
    File::Find::find(sub { $bytes += (lstat)[12] * 512 }, $where);
    return $bytes;
}

# The memory of this process that no other has, in bytes.
sub own_memory {
    open my $file, '<', '/proc/self/smaps_rollup' or die "smaps_rollup: $!\n";
    my $kilobytes = 0;
    while (<$file>) { $kilobytes += $1 if /^Private_\w+: *(\d+) kB/ }
    return $kilobytes * 1024;
}

1;
