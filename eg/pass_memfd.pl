#!/usr/bin/env perl
# A pool without a path, passed to a program that is not our child: as the
# descriptor of a memfd, over a Unix socket (SCM_RIGHTS). Without the descriptor, no
# process can find the pool. sendmsg(2) and recvmsg(2) are called directly, because
# core Perl has no function for messages that carry descriptors.
use strict;
use warnings;
use Config;
use File::Temp ();
use IO::Socket::UNIX;
use Socket qw(SOCK_STREAM SOL_SOCKET);
use Data::Pool::Shared;

my $SCM_RIGHTS = 1;
my %CALLS      = (x86_64 => { sendmsg => 46, recvmsg => 47 }, aarch64 => { sendmsg => 211, recvmsg => 212 });
my ($machine)  = $Config{archname} =~ /^(x86_64|aarch64)/ or die "the numbers of system calls are not known here: $Config{archname}\n";

# struct msghdr { name, its length, one iovec, 1, control, its length, flags }; struct
# cmsghdr { length, level, type } and a descriptor. What is packed as P must live on,
# and be the caller's own string, not a copy: the kernel writes there.
sub message_call {
    my ($call, $socket, $byte, $control) = @_;
    my $vector  = pack 'P Q', ${$byte}, 1;
    my $message = pack 'Q L x4 P Q P Q i x4', 0, 0, $vector, 1, ${$control}, length ${$control}, 0;
    my $result  = syscall $CALLS{$machine}{$call}, fileno $socket, $message, 0;
    die "$call: $!\n" if $result != 1;
    return;
}

sub send_descriptor {
    my ($socket, $fd) = @_;
    my $control = pack 'Q i i i x4', 20, SOL_SOCKET, $SCM_RIGHTS, $fd;
    message_call('sendmsg', $socket, \'x', \$control);
    return;
}

sub receive_descriptor {
    my ($socket) = @_;
    my ($byte, $control) = ('', '');
    vec($byte, 0, 8) = vec($control, 23, 8) = 0;    # buffers of their own: a constant's are shared
    message_call('recvmsg', $socket, \$byte, \$control);
    my ($length, $level, $type, $fd) = unpack 'Q i i i', $control;
    die "no descriptor came\n" if $length != 20 || $level != SOL_SOCKET || $type != $SCM_RIGHTS;
    return $fd;
}

# The other program: this file, run with the path of the socket.
$| = 1;
if (@ARGV) {
    my $socket     = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $ARGV[0]) or die "connect: $!\n";
    my $pool       = Data::Pool::Shared::I64->new_from_fd(receive_descriptor($socket));
    my ($question) = @{ $pool->allocated_slots };
    $pool->disown($pool->alloc_set($pool->get($question) * 2));    # the answer stays when we end
    print "program $$ got a pool of ", $pool->capacity, " slots and answers\n";
    exit 0;
}

my $folder = File::Temp->newdir('memfd-XXXXXX', TMPDIR => 1);
my $server = IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => "$folder/socket", Listen => 1) or die "listen: $!\n";
my $pool   = Data::Pool::Shared::I64->new_memfd('example', 100);
my $slot   = $pool->alloc_set(21);

# Its parent is a shell that ends at once: the program is not our child.
local $ENV{PERL5LIB} = join ':', grep { !ref } @INC;
system('sh', '-c', '"$@" &', 'sh', $^X, $0, "$folder/socket") == 0 or die "cannot start the other program\n";

local $SIG{ALRM} = sub { die "the other program did not come\n" };
alarm 60;
my $client = $server->accept or die "accept: $!\n";
send_descriptor($client, $pool->memfd);
sysread $client, my $end, 1;    # it closes the socket when it ends
alarm 0;

my ($answer) = map { $pool->get($_) } grep { $_ != $slot } @{ $pool->allocated_slots };
print 'the answer is ', $answer // 'missing', "\n";
exit(($answer // 0) == 42 ? 0 : 1);
