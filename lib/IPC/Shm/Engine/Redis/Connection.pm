package IPC::Shm::Engine::Redis::Connection;
use strict;
use warnings;
use Carp          ();
use Digest::SHA   ();
use POSIX         ();
use Scalar::Util  ();
use Time::HiRes   ();
use Sys::Hostname ();
use IPC::Shm::Engine::Redis::Channel;

our $VERSION  = '1.000';
our @CARP_NOT = map {"IPC::Shm::Engine::Redis$_"} '', map {"::$_"} qw(Variable Scalar Array Hash);
push @CARP_NOT, map {"IPC::Shm$_"} '', map {"::$_"} qw(Tied Scalar Array Hash Guard Names Attribute Sharing);

# The way to a server: a connection for work, the identity (see Channel.pm), and the
# scripts. One for a namespace and an interpreter; a child gets one of its own.

my %all;     # those of this interpreter, by their address; weak
my %text;    # of the scripts
my %sha;
my @scripts =
    qw(add all array assign attach bye cut declare del describe detach elements forget hello joint leave lock look patch put queue recover remove sweep unlock watch);

my %part = (    # what stands before scripts, beside common.lua
    (map { $_ => ['vanish'] } qw(add all assign del elements look patch put joint)),
    (map { $_ => ['sequence'] } qw(array cut)),
);
my %called = (joint => [qw(array assign patch put queue unlock)]);    # scripts that another one has as functions

sub _load_client {
    local $@;
    eval { local $SIG{__DIE__}; IPC::Shm::Tied::_load('Redis/Fast.pm'); 1 }
        or Carp::croak("The engine for Redis needs the module Redis::Fast: $@" =~ s/ at \S+ line.*//sr);
    return;
}

# $to: host, port or path; user, password, db, timeout; prefix.
sub new {
    my ($class, $to) = @_;
    _load_client();
    _load($_) for grep { !$sha{$_} } @scripts;
    my $self = bless { to => $to, prefix => "{$to->{prefix}}:", variables => {}, me => '', where => $to->{where} }, $class;
    $self->{self} = Scalar::Util::refaddr($self);
    Scalar::Util::weaken($all{ $self->{self} } = $self);
    _watch_forks();
    $self->_identify;
    return $self;
}

sub _join { my ($host, $port) = @_; return $host =~ /:/ ? "[$host]:$port" : "$host:$port" }

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

sub _unreachable {
    my ($self, $why) = @_;
    $why =~ s/ at \S+ line \d+\.?\s*\z//;
    $why =~ s/\s+\z//;
    $why =~ s/\ACould not connect to Redis server at \S+: //;
    return "Cannot reach the Redis server at $self->{where}: $why";
}

# The connection for work. A server that is starting is waited for.
sub _connect {
    my ($self) = @_;
    my $until = now() + $self->{to}{timeout};
    local ($@, $!);
    while (1) {
        my $why = $self->_attempt;
        return $self->{redis}                  if !defined $why;
        Carp::croak($self->_unreachable($why)) if $why !~ /\A(?:LOADING|BUSY |MASTERDOWN)/ || now() > $until;
        select undef, undef, undef, 0.05;
    }
    return;
}

# Make it, or say why not. Handlers of signals wait: what they died of is no reason of that kind.
sub _attempt {
    my ($self) = @_;
    my $to = $self->{to};
    my $redis;
    local $IPC::Shm::HANDLERS_WAIT = 1;
    eval {
        local $SIG{__DIE__};
        $redis = IPC::Shm::Engine::Redis::Client->new(
            (defined $to->{path} ? (sock => $to->{path}) : (server => _join($to->{host}, $to->{port}))),
            reconnect     => 0,
            cnx_timeout   => $to->{timeout},
            read_timeout  => $to->{timeout},
            write_timeout => $to->{timeout},
        );
        1;
    } or return $@;
    delete $self->{no_dumps};    # it may be another server, and this user have other rights
    _tune_socket($redis->__sock, int(1000 * $to->{timeout}));
    my $why = _set_up($redis, $to);
    return $why                                                                              if defined $why;
    eval { $redis->__std_cmd('HSET', "$self->{prefix}c", $self->{me}, _where_it_runs()); 1 } if delete $self->{inherited};
    $self->{redis} = $redis;
    return;
}

# Why not, if so.
sub _set_up {
    my ($redis, $to) = @_;
    my @first = ([ 'HGET', "{$to->{prefix}}:c", 'x' ]);
    unshift @first, [ 'SELECT', $to->{db} ] if $to->{db};
    unshift @first, [ 'AUTH', (defined $to->{user} ? $to->{user} : ()), $to->{password} ] if defined $to->{password};
    for my $command (@first) {
        my ($reply, $error);
        eval { ($reply, $error) = $redis->__std_cmd(@$command); 1 } or $error = $@;
        return $error if defined $error && $error !~ /\AWRONGTYPE/;
    }
    return;
}

# Be connected: what follows does not wait for a server that is starting.
sub reach { my ($self) = @_; return $self->{redis} || $self->_connect }

# Who this process is for the server, from now on; $parent's variables are its own as well.
sub _identify {
    my ($self, $parent) = @_;
    my $me      = _token();
    my $channel = $self->_channel($me);
    my $redis   = $self->{redis} || $self->_connect;
    @$self{qw(me channel)} = ($me, $channel);
    my $reply = $self->script('hello', "$self->{prefix}format", '', _where_it_runs(), $parent // '');
    Carp::croak("There are keys of something else under the prefix '$self->{to}{prefix}' at $self->{where}") if !ref $reply;
    $self->_attach_again                                                                                     if !defined $parent;
    return;
}

sub _channel {
    my ($self, $me) = @_;
    my $channel;
    my ($ok, $why);
    {
        local ($@, $!);
        local $IPC::Shm::HANDLERS_WAIT = 1;    # as in _attempt
        $ok  = eval { local $SIG{__DIE__}; $channel = IPC::Shm::Engine::Redis::Channel->open($self->{to}, "$self->{prefix}p:$me"); 1 };
        $why = $@;
    }
    Carp::croak($self->_unreachable($why)) if !$ok;
    $channel->tune(sub { _tune_socket($_[0], int(1000 * $self->{to}{timeout})) });
    return $channel;
}

sub _where_it_runs { return Sys::Hostname::hostname() . " $$" }

# Nobody else's, ever.
sub _token {
    open my $random, '<:raw', '/dev/urandom' or Carp::croak("Cannot open /dev/urandom: $!");
    8 == sysread $random, my $bytes, 8 or Carp::croak("Cannot read /dev/urandom: $!");
    return unpack 'H*', $bytes;
}

my $serial = 0;
sub new_id { my ($self) = @_; $serial++; return "$self->{me}.$serial" }

# What this process uses belongs to its new identity; what it had locked is lost, which
# it learns when it relies on it.
sub _attach_again {
    my ($self) = @_;
    my @objects = grep {defined} values %{ $self->{variables} };
    while (my @some = splice @objects, 0, 1000) {
        my $reply = $self->script('attach', "$self->{prefix}c", '', map { $_->{id} } @some);
        for my $i (0 .. $#some) { $some[$i]{removed} = 1 if !$reply->[1][$i] }
    }
    return;
}

# ---- exchanges

sub _load {
    my ($name)  = @_;
    my ($flags) = (my $body = _lua($name)) =~ /\A(#!lua.*\n)/ or die "$name.lua does not begin with #!lua";
    my @part    = map { _lua($_) } 'common', @{ $part{$name} || [] };
    for my $other (@{ $called{$name} || [] }) {
        my @own = grep { $_ ne 'vanish' } @{ $part{$other} || [] };
        push @part, "local function $other(ARGV)\n", (map { _lua($_) } @own, $other), "end\n";
    }
    $text{$name} = join q(), $flags, map {s/\A#!lua.*\n//r} @part, $body;
    return $sha{$name} = Digest::SHA::sha1_hex($text{$name});
}

sub _lua {
    my ($name) = @_;
    my $file = __FILE__ =~ s{Connection\.pm\z}{lua/$name.lua}r;
    open my $in, '<', $file or Carp::croak("Cannot open $file: $!");
    local $/ = undef;
    return scalar readline $in;
}

# Modules that copy anything (Clone) copy the objects behind variables, and all that those lead to.
# Such a copy must not be used, nor free what is the original's.
sub is_clone { my ($self) = @_; return $self->{self} != Scalar::Util::refaddr($self) }

sub _refuse_clone {
    my ($self) = @_;
    return if !$self->is_clone;
    return Carp::croak('Not an object of IPC::Shm, but a clone of one; to copy a shared variable call (tied ...)->copy');
}

# Run a script. Handlers of signals wait, for they might die and leave an answer behind.
sub script {
    my ($self, $name, $key, @arguments) = @_;
    $self->_refuse_clone if $self->{self} != Scalar::Util::refaddr($self);
    my $redis = $self->{redis} || $self->_connect;
    my $sha   = $sha{$name};
    my ($reply, $error);
    {
        local ($@, $!);
        local $IPC::Shm::HANDLERS_WAIT = 1;
        eval {
            ($reply, $error) = $redis->__std_cmd('EVALSHA', $sha,         1, $key, $self->{prefix}, $self->{me}, @arguments);
            ($reply, $error) = $redis->__std_cmd('EVAL',    $text{$name}, 1, $key, $self->{prefix}, $self->{me}, @arguments)
                if defined $error && $error =~ /\ANOSCRIPT/;
            1;
        } or $error = $@;
    }
    return $reply if !defined $error;
    return $self->_failed($error, 'the operation may have happened');
}

# Likewise, and a command before it in the same exchange. Returns what the script does, and the command's error.
sub script_after {
    my ($self, $command, $name, $key, @arguments) = @_;
    $self->_refuse_clone if $self->{self} != Scalar::Util::refaddr($self);
    my $redis = $self->{redis} || $self->_connect;
    my @words = (1, $key, $self->{prefix}, $self->{me}, @arguments);
    my ($refused, $reply, $error);
    {
        local ($@, $!);
        local $IPC::Shm::HANDLERS_WAIT = 1;
        $error = 'no answer';
        eval {
            $redis->__std_cmd(@$command, sub { $refused = $_[1] });
            $redis->__std_cmd('EVALSHA', $sha{$name}, @words, sub { ($reply, $error) = @_ });
            $redis->wait_all_responses;
            ($reply, $error) = $redis->__std_cmd('EVAL', $text{$name}, @words) if defined $error && $error =~ /\ANOSCRIPT/;
            1;
        } or $error = $@;
    }
    return ($reply, $refused) if !defined $error;
    return $self->_failed($error, 'the operation may have happened');
}

# A command that changes nothing: once more on a new connection if the old one is gone. Handlers wait here, too: one
# that used the connection would take the answer away, and what it died of be taken for an error of the connection.
sub command {
    my ($self, @words) = @_;
    $self->_refuse_clone if $self->{self} != Scalar::Util::refaddr($self);
    for my $again (0, 1) {
        my $redis = $self->{redis} || $self->_connect;
        my ($reply, $error);
        {
            local ($@, $!);
            local $IPC::Shm::HANDLERS_WAIT = 1;
            eval { ($reply, $error) = $redis->__std_cmd(@words); 1 } or do {
                $error = $@;
                die $error if $error =~ /\A(?!Not connected)/ && !_is_of_connection($error);
            };
        }
        return $reply                                        if !defined $error;
        $self->{redis} = undef                               if _is_of_connection($error);
        return $self->_failed($error, 'nothing was changed') if $again || !_is_of_connection($error) || $error =~ /temporarily/;
    }
    return;
}

# What a user must not do, and what a server does not know, stays so while there is this connection. All else may
# have been for once.
sub dump_refused {
    my ($self, $why) = @_;
    my $for_ever = $why =~ /NOPERM|permission|can't (?:run|access)|unknown (?:redis )?command|DUMP payload version/i;
    $self->{no_dumps} = $for_ever ? 9**9**9 : now() + 10;
    return;
}

sub takes_dumps { my ($self) = @_; return !$self->{redis} || !$self->{no_dumps} || $self->{no_dumps} <= now() }

# A server's own error begins with a word in capitals.
sub _is_of_connection { my ($error) = @_; return !ref $error && $error !~ /\A[A-Z][A-Z]+ / }

sub _failed {
    my ($self, $error, $outcome) = @_;
    if (_is_of_connection($error)) {
        $self->{redis} = undef;
        $error =~ s/ at \S+ line \d+\.?\s*\z//;
        $error = "no answer within $self->{to}{timeout} seconds" if $error =~ /temporarily unavailable/;
        Carp::croak("Lost the connection to the Redis server at $self->{where} ($error): $outcome");
    }
    Carp::croak("Cannot store: the Redis server at $self->{where} has no memory left")              if $error =~ /\AOOM/;
    Carp::croak("A key of something else is where a variable should be, at $self->{where}: $error") if $error =~ /WRONGTYPE/;
    $self->{redis} = undef if $error =~ /\A(?:READONLY|LOADING|MASTERDOWN|UNBLOCKED)/;
    Carp::croak("The Redis server at $self->{where} refused: $error");
}

# ---- waiting

# Sleep until something comes for this process, or the time is over; handlers run, and may die.
sub pause {
    my ($self, $seconds) = @_;
    local $IPC::Shm::HANDLERS_WAIT = 0;
    my $n = $self->{channel} ? $self->{channel}->wait($seconds) : undef;
    return $n if defined $n;
    $self->_identify;
    return 0;
}

sub identify { my ($self) = @_; return $self->_identify }

# ---- fork, threads, the end

# Connections that are closed in a child must not be closed for the parent: nothing is sent.
sub before_fork {
    $_->_beget for grep {defined} values %all;
    return;
}

# The identity of a child, which uses what its parent uses.
sub _beget {
    my ($self) = @_;
    my $child = $self->{child} = {};
    eval {
        local $SIG{__DIE__};
        my ($parent, $token) = ($self->{me}, _token());
        $child->{channel} = $self->_channel($token);
        local $self->{me} = $token;
        $self->script('hello', "$self->{prefix}format", '', _where_it_runs(), $parent);
        $child->{me} = $token;
    };
    return;
}

sub after_fork_in_parent {
    for my $self (grep {defined} values %all) {
        my $child = delete $self->{child} or next;
        close $child->{channel}{socket} if $child->{channel};
    }
    return;
}

sub after_fork_in_child {
    for my $self (grep {defined} values %all) {
        my $child = delete $self->{child};
        close $self->{channel}{socket} if $self->{channel};
        @$self{qw(redis channel me)} = (undef, undef, 'nobody');
        $self->_take_over($child);
    }
    return;
}

# In a child, or a thread: what the one before held is not ours, quietly.
sub _take_over {
    my ($self, $child) = @_;
    @$self{qw(locks joint)} = (0, undef);
    for my $object (grep {defined} values %{ $self->{variables} }) {
        @$object{qw(held batch lost)} = ('', undef, undef);
    }
    if ($child && $child->{channel} && $child->{me}) {
        @$self{qw(channel me inherited)} = (@$child{qw(channel me)}, 1);
        return;
    }
    $self->{channel} = undef;
    return;
}

# A thread is a process of its own. Perl asks this before it clones anything for a new one.
sub CLONE_SKIP {
    for my $self (grep {defined} values %all) {
        $self->_beget;
        my $channel = delete $self->{child}{channel} or next;
        my $mine    = POSIX::dup(fileno $channel->{socket});    # the new thread's alone
        _tune_socket($mine, int(1000 * $self->{to}{timeout}));
        $self->{child}{descriptor} = $mine;
    }
    return 0;
}

# The new thread.
sub CLONE {
    my @old = grep {defined} values %all;
    %all = %IPC::Shm::Engine::Redis::Client::mine = ();
    for my $self (@old) {
        Scalar::Util::weaken($all{ Scalar::Util::refaddr($self) } = $self);
        my $child = delete $self->{child};
        $self->{self}                = Scalar::Util::refaddr($self);
        @$self{qw(redis channel me)} = (undef, undef, 'nobody');
        $child->{channel} = IPC::Shm::Engine::Redis::Channel->again($child->{descriptor}) if $child && defined $child->{descriptor};
        $self->_take_over($child);
    }
    return;
}

# Let go of everything. The server would notice in any case, but later.
sub finish {
    my ($self) = @_;
    return if !$self->{redis};
    local ($@, $!);
    return if $self->is_clone;
    my @locked = map { $_->{key} } grep { defined && $_->{held} ne '' } values %{ $self->{variables} };
    eval { local $SIG{__DIE__}; $self->script('bye', "$self->{prefix}c", '', @locked); 1 };
    @$self{qw(redis channel)} = ();
    return;
}

# Of what is kept here only because it is stored: destructors still find the server.
sub let_objects_go {
    my ($self) = @_;
    return if !$self->{redis} || $self->is_clone;
    my @objects = grep {defined} values %{ $self->{variables} };    # copies: no weak references
    $_->_take_kids for @objects;
    return;
}

END {
    local $?;
    for my $self (grep {defined} values %all) {
        $self->let_objects_go;
        $self->finish;
    }
}

sub DESTROY {
    my ($self) = @_;
    return if $self->is_clone;
    delete $all{ Scalar::Util::refaddr($self) };
    return;
}

# The client. One that another thread has is not this one's, nor is a copy.
package IPC::Shm::Engine::Redis::Client;    ## no critic (a small guard)

our $VERSION = '1.000';
our @ISA     = 'Redis::Fast';               ## no critic (loaded when it is needed)
our %mine;                                  # by the address of the object

sub new { my $self = Redis::Fast::new(@_); $mine{ Scalar::Util::refaddr($self) } = 1; return $self }

sub DESTROY { my ($self) = @_; return delete $mine{ Scalar::Util::refaddr($self) } ? $self->SUPER::DESTROY : undef }

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Engine::Redis::Connection - the way to a Redis server

=head1 SYNOPSIS

    my $connection = IPC::Shm::Engine::Redis::Connection->new($where);
    my $reply = $connection->script("put", $key, $held, $field, $text);

=head1 DESCRIPTION

The connections of one namespace, the scripts, and what happens to both at fork, in threads and at the end.

=head2 new

C<$where> is a reference to a hash with C<path>, or C<host> and C<port>; C<db>, C<prefix>, C<timeout> in seconds, and C<where>, the words for it in messages; and C<user> and
C<password> if the server wants them. Connects. Like all that follows, it dies with the caller's line if the server cannot be reached, does not answer
within the timeout, or refuses.

=head2 reach

Connects if there is no connection.

=head2 script

    my $reply = $connection->script($name, $key, $held, @arguments);

Runs F<lua/$name.lua> on the variable C<$key>. C<$held> is the lock that this process believes to have there: C<w>, C<r> or the empty string. Returns what the script returns: as a rule a reference to
a list of the serial and the result, or a word in capitals that says why nothing was changed.

=head2 script_after

    my ($reply, $error) = $connection->script_after(\@command, $name, $key, $held, @arguments);

Likewise, with a command before it in the same exchange. C<$error> is the server's message if it refused the command; the script runs nevertheless.

=head2 command

    my $reply = $connection->command(@words);

Runs a command that changes nothing, and once more on a new connection if the old one is gone. Returns the server's answer.

=head2 pause

    $connection->pause($seconds);

Sleeps until something comes for this process or the time is over; handlers of signals run.

=head2 identify

Makes a new identity. What this process had locked under the old one is lost.

=head2 finish

Lets go of all locks and variables, and closes the connections.

=head2 let_objects_go

Lets go of the objects that this process keeps only because they are stored. Called at the end of the program.

=head2 is_clone

True for an object that was made by a module that copies whatever it is given. Such an object refuses to do anything.

=head2 now, new_id

C<now()> is the time in seconds of a clock that is never set; C<< $connection->new_id >> returns an ID that nobody else makes.

=head2 takes_dumps, dump_refused

C<takes_dumps> is true if a whole content may be sent as a dump (F<xs/whole.c>). C<< dump_refused($why) >> tells that the server refused one, with its message.

=head2 before_fork, after_fork_in_parent, after_fork_in_child

Called at a fork, in this order.

=head1 SEE ALSO

L<IPC::Shm::Engine::Redis>

=cut
