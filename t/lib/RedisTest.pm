package RedisTest;
use strict;
use warnings;
use ChildTest;
use Exporter   qw(import);
use File::Temp ();
use IO::Socket::INET;
use POSIX       ();
use Test::More  ();
use Time::HiRes ();

# What the tests of the engine on Redis share: servers of their own, on a port and a
# socket of their own, which end with the test; variables, children, other programs.

our @EXPORT = qw(server engine hash array scalar_of child finish in_child until_true in_time dies_with program);

my $MAIN = $$;
my @servers;

sub program_path {
    my ($name) = @_;
    return (grep { -x && !-d } map {"$_/$name"} split /:/, $ENV{PATH})[0];
}
my $binary = $ENV{SHM_SERVER_PROGRAM} // program_path('redis-server') // program_path('valkey-server');

BEGIN {
    my $why = !eval { require Redis::Fast; 1 } ? 'Redis::Fast is not installed' : undef;
    $why //= 'neither redis-server nor valkey-server is installed' if !grep { program_path($_) } qw(redis-server valkey-server);
    if (defined $why) { print "1..0 # SKIP $why\n"; exit 0 }
}
require IPC::Shm;
IPC::Shm->import;
require IPC::Shm::Engine::Redis;

# A port that nobody has, outside of those that the system gives to clients: none of those takes it while a server
# is stopped.
sub _free_port {
    my ($first) = do { open my $range, '<', '/proc/sys/net/ipv4/ip_local_port_range'; $range ? split ' ', readline $range : 32768 };
    for (1 .. 200) {
        my $port   = 10_240 + int rand($first > 12_000 ? $first - 10_240 : 22_000);
        my $socket = IO::Socket::INET->new(Listen => 1, LocalPort => $port, ReuseAddr => 1) or next;
        return $port;
    }
    die "no free port: $@";
}

# A new server; arguments are lines of its configuration. An object with port, socket, dir, pid.
sub server {
    my (@lines) = @_;
    my $dir     = File::Temp::tempdir('ipc-shm-redis-XXXXXX', TMPDIR => 1, CLEANUP => 1);
    my $self    = bless { dir => $dir, port => _free_port(), lines => \@lines }, __PACKAGE__;
    push @servers, $self;
    return $self->start;
}

sub binary { return $binary }

# Likewise, by a command of several words.
sub server_by {
    my ($words, @lines) = @_;
    my $dir  = File::Temp::tempdir('ipc-shm-redis-XXXXXX', TMPDIR => 1, CLEANUP => 1);
    my $self = bless { dir => $dir, port => _free_port(), lines => \@lines, words => $words }, __PACKAGE__;
    push @servers, $self;
    return $self->start;
}

sub _configure {
    my ($self) = @_;
    open my $conf, '>', "$self->{dir}/conf" or die $!;
    print {$conf} map {"$_\n"} "port $self->{port}", "unixsocket $self->{dir}/socket", "dir $self->{dir}", 'save ""',
        "logfile $self->{dir}/log",
        'bind * -::*', 'protected-mode no', @{ $self->{lines} };
    close $conf;
    return;
}

# Another test may have taken the port a moment before: a server that is new takes another one then.
sub start {
    my ($self) = @_;
    my @words  = @{ $self->{words} || [$binary] };
    my $ended  = 1;
    for (1 .. 100) {
        if ($ended) {
            $self->_configure;
            defined($self->{pid} = fork) or die $!;
            if (!$self->{pid}) { exec { $words[0] } @words, "$self->{dir}/conf" or POSIX::_exit(127) }
        }
        if (until_true(sub { ($ended = ChildTest::ended($self->{pid}, 0)) || $self->is_up }, 60) && !$ended) {
            $self->{was_up} = 1;
            return $self;
        }
        last                         if !$ended;
        $self->{port} = _free_port() if !$self->{was_up};
        Time::HiRes::sleep(0.1);
    }
    die "@words does not start: ", $self->log_end;
}

sub log_end {
    my ($self) = @_;
    open my $log, '<', "$self->{dir}/log" or return 'it has no log';
    my @lines = readline $log;
    return join '', map {"# $_"} @lines > 5 ? @lines[ -5 .. -1 ] : @lines;
}

sub is_up {
    my ($self) = @_;
    return eval { ($self->ask('PING') // '') =~ /PONG|NOAUTH/ }
}

# A command by the way, on a connection of its own.
sub ask {
    my ($self, @words) = @_;
    my $redis =
        Redis::Fast->new(sock => "$self->{dir}/socket", reconnect => 0, map { $_ => 60 } qw(cnx_timeout read_timeout write_timeout));
    $redis->__std_cmd('AUTH', $self->{password}) if defined $self->{password};
    my ($reply, $error) = $redis->__std_cmd(@words);
    return defined $error ? $error : $reply;
}

sub url  { my ($self, $query) = @_; return "redis://127.0.0.1:$self->{port}/0?prefix=test" . ($query // '') }
sub unix { my ($self, $query) = @_; return "redis+unix://$self->{dir}/socket?prefix=test" . ($query  // '') }

sub stop {
    my ($self, $signal) = @_;
    my $pid = delete $self->{pid} or return;
    kill $signal // 'TERM', $pid;
    kill 'CONT',            $pid;
    return if ChildTest::ended($pid, 60);
    kill 'KILL', $pid;
    waitpid $pid, 0;
    return;
}

sub DESTROY { my ($self) = @_; local $?; $self->stop('KILL') if $$ == $MAIN; return }

sub engine { my ($url, %option) = @_; return IPC::Shm::Engine::Redis->open($url, %option) }

# The variable of a name, tied: a reference to it.
sub _tied {
    my ($type, $engine, $name) = @_;
    my $object = $engine->variable($type, $name, 1);
    return $engine->container($object);
}
sub hash      { my ($engine, $name) = @_; return _tied(3, $engine, $name) }
sub array     { my ($engine, $name) = @_; return _tied(2, $engine, $name) }
sub scalar_of { my ($engine, $name) = @_; return _tied(1, $engine, $name) }

sub dies_with (&@) {
    my ($code, $pattern, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return Test::More::fail("$name: it did not die") if eval { $code->(); 1 };
    return Test::More::like($@, $pattern, $name);
}

# Another program; a pipe from what it prints, and its PID.
sub program {
    my ($code, @arguments) = @_;
    my $pid = open my $out, '-|', $^X, (map {"-I$_"} grep { !ref } @INC), '-e', "use strict; use warnings; use RedisTest; $code",
        @arguments;
    die "cannot run: $!" if !$pid;
    return ($out, $pid);
}

END {
    local $?;
    if ($$ == $MAIN) { $_->stop('KILL') for @servers }
}

1;
