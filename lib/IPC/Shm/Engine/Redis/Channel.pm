package IPC::Shm::Engine::Redis::Channel;
use strict;
use warnings;
use IO::Handle;
use Socket      ();
use Time::HiRes ();

our $VERSION = '1.000';

# The identity of a process: a quiet connection that is subscribed to a channel of its
# own. For the server this process lives as long as it is there. What comes on it are
# wake-ups. It needs a handle to sleep on, so it does not stand on Redis::Fast.

sub open {    ## no critic (a constructor)
    my ($class, $to, $channel) = @_;
    my $until  = Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) + $to->{timeout};
    my $socket = _socket($to);
    binmode $socket;
    my $self = bless { socket => $socket, buffer => '', until => $until }, $class;
    $self->_ask('AUTH', (defined $to->{user} ? $to->{user} : ()), $to->{password}) if defined $to->{password};
    $self->_send('SUBSCRIBE', $channel);
    $self->_await;
    $socket->blocking(0);
    return $self;
}

sub _socket {
    my ($to) = @_;
    if (defined $to->{path}) {
        socket my $socket, Socket::AF_UNIX(), Socket::SOCK_STREAM(), 0 or die "$!\n";
        connect $socket, Socket::pack_sockaddr_un($to->{path}) or die "$!\n";
        return $socket;
    }
    IPC::Shm::Tied::_load('IO/Socket/IP.pm');
    my $socket = IO::Socket::IP->new(PeerHost => $to->{host}, PeerPort => $to->{port}, Timeout => $to->{timeout});
    die((length $@ ? $@ =~ s/\AIO::Socket::IP: //r : "$!") . "\n") if !$socket;
    return $socket;
}

# The channel of another thread, which is to be ours.
sub again {
    my ($class, $descriptor) = @_;
    CORE::open my $socket, '+<&=', $descriptor or return;
    binmode $socket;
    return bless { socket => $socket, buffer => '' }, $class;
}

sub tune { my ($self, $tune) = @_; $tune->(fileno $self->{socket}); return }

sub _send {
    my ($self, @words) = @_;
    my $text = '*' . @words . "\r\n" . join '', map { '$' . length($_) . "\r\n$_\r\n" } @words;
    local $SIG{PIPE} = 'IGNORE';
    while (length $text) {
        my $n = syswrite $self->{socket}, $text;
        die "$!\n" if !defined $n && !$!{EINTR};
        substr $text, 0, $n // 0, '';
    }
    return;
}

sub _ask { my ($self, @words) = @_; $self->_send(@words); return $self->_await }

# One answer, within the time.
sub _await {
    my ($self) = @_;
    while (1) {
        my $answer = $self->_next;
        if (defined $answer) {
            die "$1\n" if !ref $answer && $answer =~ /\A-(.*)/s;
            return $answer;
        }
        my $left = $self->{until} - Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC());
        die "no answer in time\n"         if $left <= 0;
        next                              if !_readable($self->{socket}, $left);
        die "the connection was closed\n" if !$self->_read;
    }
    return;
}

sub _readable {
    my ($socket, $seconds) = @_;
    my $bits = '';
    vec($bits, fileno $socket, 1) = 1;
    return 0 < select $bits, undef, undef, $seconds;
}

# False: the other side has gone.
sub _read {
    my ($self) = @_;
    my $n      = sysread $self->{socket}, $self->{buffer}, 65536, length $self->{buffer};
    return 1 if $n;
    return !defined $n && ($!{EAGAIN} || $!{EINTR});
}

# The next answer that is whole: a text, or an array of texts.
sub _next {
    my ($self) = @_;
    return $1 if $self->{buffer} =~ s/\A([-+:][^\r]*)\r\n//;
    my ($n) = $self->{buffer} =~ /\A\*([0-9]+)\r\n/ or return;
    my $at  = length($n) + 3;
    my @words;
    while (@words < $n) {
        my $rest = substr $self->{buffer}, $at, 64;
        if ($rest =~ /\A(:[0-9]+)\r\n/) { push @words, $1; $at += length($1) + 2; next }
        my ($length) = $rest =~ /\A\$([0-9]+)\r\n/ or return;
        $at += length($length) + 3;
        return if length($self->{buffer}) < $at + $length + 2;
        push @words, substr $self->{buffer}, $at, $length;
        $at += $length + 2;
    }
    substr $self->{buffer}, 0, $at, '';
    return \@words;
}

# Sleep until there are messages or the time is over; signal handlers run. Undef: the
# connection is gone. What has come is only counted, and forgotten.
sub wait {    ## no critic (as the built-in)
    my ($self, $seconds) = @_;
    my $n = 0;
    if (_readable($self->{socket}, $seconds)) { $self->_read or return }
    $n++ while defined $self->_next;
    return $n;
}

sub CLONE_SKIP { return 1 }

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Engine::Redis::Channel - the identity of a process for the server

=head1 SYNOPSIS

    my $channel = IPC::Shm::Engine::Redis::Channel->open($where, $name);

=head1 DESCRIPTION

A connection that is subscribed to one channel. While it is open, its process lives; messages on it end a wait.

=head2 open

    my $channel = IPC::Shm::Engine::Redis::Channel->open($where, $name);

Connects and subscribes to the channel C<$name>. C<$where> is a reference to a hash with C<path>, or C<host> and C<port>; C<timeout> in seconds; and C<user> and
C<password> if the server wants them. Dies with the reason, without a line number, if that cannot be done within the timeout.

=head2 again

    my $channel = IPC::Shm::Engine::Redis::Channel->again($descriptor);

Takes over the descriptor of a connection that is subscribed already. Returns nothing if it is not open.

=head2 tune

    $channel->tune(sub { my ($descriptor) = @_; ... });

Calls the sub with the number of the descriptor.

=head2 wait

    my $n = $channel->wait($seconds);

Sleeps until a message comes, a signal is caught or the time is over. Returns the number of messages, or C<undef> if the connection is gone.

=head1 SEE ALSO

L<IPC::Shm::Engine::Redis>

=cut
