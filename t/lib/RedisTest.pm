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

our @EXPORT = qw(server engine hash array scalar_of child finish in_child until_true dies_with program);

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

sub _free_port {
    my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "no free port: $@";
    return $socket->sockport;
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

sub start {
    my ($self) = @_;
    open my $conf, '>', "$self->{dir}/conf" or die $!;
    print {$conf} map {"$_\n"} "port $self->{port}", "unixsocket $self->{dir}/socket", "dir $self->{dir}", 'save ""',
        "logfile $self->{dir}/log",
        'bind * -::*', 'protected-mode no', @{ $self->{lines} };
    close $conf;
    defined($self->{pid} = fork) or die $!;
    if (!$self->{pid}) {
        my @words = @{ $self->{words} || [$binary] };
        exec { $words[0] } @words, "$self->{dir}/conf" or POSIX::_exit(127);
    }
    until_true(sub { $self->is_up }) or die "redis-server does not start\n";
    return $self;
}

sub is_up {
    my ($self) = @_;
    return eval { ($self->ask('PING') // '') =~ /PONG|NOAUTH/ }
}

# A command by the way, on a connection of its own.
sub ask {
    my ($self, @words) = @_;
    my $redis = Redis::Fast->new(sock => "$self->{dir}/socket", reconnect => 0);
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
