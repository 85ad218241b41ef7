#!/usr/bin/env perl
# A configuration that all workers read as a plain hash. The parent reloads it,
# and each worker goes on with the new one at once. Assigning the list is one
# change: nobody sees half of it. Exits with 1 if somebody did.
use strict;
use warnings;
use IPC::Shm;

my $WORKERS = 3;
my $RELOADS = 20;

our %config : shm;    # has a name: other programs can look at it, and change it
my %using : shm;      # PID => version of the configuration that this worker uses

# As if it came from a file.
sub read_configuration {
    my ($version) = @_;
    return (version => $version, map { ("option$_" => "$_ of version $version") } 1 .. 10);
}

sub work {
    while (1) {
        my %now = %config;                  # one look: all of one version
        return if !$now{version};
        my @wrong = grep { !/ of version $now{version}\z/ } @now{ map {"option$_"} 1 .. 10 };
        die "a mixture of versions: @wrong\n" if @wrong;
        $using{$$} = $now{version};
        (tied %config)->wait_change(10);    # a real worker would work; reading %config is cheap
    }
}

%config = read_configuration(1);
my @workers;
for (1 .. $WORKERS) {
    my $pid = fork // die "fork: $!\n";
    if (!$pid) { work(); exit 0 }
    push @workers, $pid;
}

for my $version (1 .. $RELOADS) {
    %config = read_configuration($version);
    my $alive = 1;
    while ($alive && grep { ($using{$_} // 0) < $version } @workers) {
        $alive = (tied %using)->wait_change(30);
    }
    die "somebody does not use version $version\n" if !$alive;
}
printf "%d workers use version %d\n", scalar(grep { $using{$_} == $RELOADS } @workers), $RELOADS;

%config = (version => 0);    # the end
my $failed = 0;
for my $pid (@workers) {
    waitpid $pid, 0;
    $failed++ if $? != 0;
}
(tied %config)->remove;      # or it would still be there tomorrow
exit($failed ? 1 : 0);
