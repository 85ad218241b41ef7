# The last line of `make test`: what was skipped here, and why. See also `prove -v`.
use strict;
use warnings;

my @missing;

# Rights: a user who may make namespaces (as root, or in a container that allows it) runs all.
my $is_root = $> == 0;
push @missing, 'chroot, other users, small filesystems, PID and network namespaces (only root may make them)' if !$is_root;
push @missing, 'PID namespaces (not allowed here, though this is root)'
    if $is_root && system('unshare --pid --fork --mount true >/dev/null 2>&1') != 0;

# Programs and modules that a few tests use.
my %program = (
    'redis-server' => 'several hosts',
    'tmux'         => 'shmpool top',
    'strace'       => 'system calls',
    'ip'           => 'two hosts',
    'starman'      => 'web servers',
);
my %module = ('Redis::Fast' => 'several hosts', 'Test::Pod' => 'the manuals', 'Clone' => 'copies', 'Variable::Magic' => 'guests');

for my $name (sort keys %program) {
    push @missing, "$program{$name} (needs $name)" if !grep { -x "$_/$name" } split(/:/, $ENV{PATH}), '/sbin', '/usr/sbin';
}
for my $name (sort keys %module) {
    (my $path = "$name.pm") =~ s{::}{/}g;
    push @missing, "$module{$name} (needs $name)" if !grep { !ref && -e "$_/$path" } @INC;
}

my $who = $is_root ? 'As root' : 'As an ordinary user';
print @missing
    ? "$who, skipped: " . join('; ', @missing) . ".\n"
    : "$who, with all that the tests use: none of them was skipped for want of rights or programs.\n";
