#!/usr/bin/perl
# A configuration that all workers see change.
#
#     perl eg/shm/config.pl [workers]
#
# The parent replaces the whole hash by one list assignment: a worker sees the old
# configuration or the new one, never a mixture.
use strict;
use warnings;
use IPC::Shm;

my $workers = shift || 3;
my %config : shm = (version => 1, limit => 10, greeting => 'hello 1');
my %seen : shm;    # PID -> the last version it has taken over

sub work {
    while (1) {
        my %mine = %config;    # a copy of one moment
        die "mixed: $mine{greeting} in version $mine{version}\n" if $mine{greeting} ne "hello $mine{version}";
        $seen{$$} = $mine{version};
        return if $mine{stop};
        (tied %config)->wait_change(10);
    }
}

my @pids;
for (1 .. $workers) {
    defined(my $pid = fork) or die "cannot fork: $!";
    if (!$pid) { work(); exit 0 }
    push @pids, $pid;
}
for my $version (2 .. 20) {
    %config = (version => $version, limit => $version * 10, greeting => "hello $version", ($version == 20 ? (stop => 1) : ()));
    select undef, undef, undef, 0.01;
}
my $failed = 0;
for my $pid (@pids) { waitpid $pid, 0; $failed++ if $? }
print scalar(grep { $_ == 20 } values %seen), " of $workers workers run version 20\n";
exit $failed;
