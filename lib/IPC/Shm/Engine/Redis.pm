package IPC::Shm::Engine::Redis;
use strict;
use warnings;
use B            ();
use Carp         ();
use Scalar::Util ();
use IPC::Shm::Engine::Redis::Connection;
use IPC::Shm::Engine::Redis::Scalar;
use IPC::Shm::Engine::Redis::Array;
use IPC::Shm::Engine::Redis::Hash;

our $VERSION  = '1.000';
our @CARP_NOT = @IPC::Shm::Engine::Redis::Connection::CARP_NOT;

my @class  = (undef, map {"IPC::Shm::Engine::Redis::$_"} qw(Scalar Array Hash));
my %number = (qw($ 1 @ 2 % 3));

# ---- where

sub _unescape { my ($text) = @_; $text =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge if defined $text; return $text }

# What an URL says. Nothing that is reported has the password in it.
sub _parse {
    my ($url) = @_;
    my ($scheme, $user, $password, $rest) = $url =~ m{\A([a-z]+(?:\+unix)?)://(?:([^:@/?]*)(?::([^@/?]*))?@)?(.*)\z}s
        or Carp::croak('The namespace is not an URL like redis://host:port/0?prefix=app');
    Carp::croak("There is no scheme '$scheme'; known are redis, rediss, valkey, valkeys, and redis+unix, valkey+unix")
        if $scheme !~ /\A(?:redis|valkey)(?:s|\+unix)?\z/;
    Carp::croak("'$scheme' needs TLS, which the client of this engine does not have; a tunnel (as stunnel, or ssh -L) does it")
        if $scheme =~ /s\z/ && $scheme ne 'redis';
    my ($place, $query) = split /\?/, $rest, 2;
    $place //= q();
    my %option;
    for my $pair (split /&/, $query // '') {
        my ($name, $value) = split /=/, $pair, 2;
        Carp::croak("Unknown option '$name' in the namespace") if $name !~ /\A(?:db|prefix|stale|timeout)\z/;
        $option{$name} = _unescape($value // '');
    }
    my $to = { timeout => $option{timeout} // 10, prefix => $option{prefix} // 'ipc-shm' };
    $to->{user}     = _unescape($user)     if defined $user && length $user;
    $to->{password} = _unescape($password) if defined $password;
    if ($scheme =~ /unix/) {
        Carp::croak('The namespace has no path of a socket, as in redis+unix:///run/redis/redis.sock') if $place !~ m{\A/.};
        $to->{path} = _unescape($place);
        $to->{db}   = $option{db} // 0;
    } else {
        my ($host, $port, $db) = $place =~ m{\A(\[[^\]]+\]|[^:/]*)(?::([0-9]+))?(?:/([0-9]*))?\z}
            or Carp::croak("The namespace has no host and port that can be told from '$place'");
        $to->{host} = length $host ? $host =~ tr/[]//dr : '127.0.0.1';
        $to->{port} = $port                                         // 6379;
        $to->{db}   = defined $db && length $db ? $db : $option{db} // 0;
    }
    Carp::croak("The database '$to->{db}' is not a number")                                          if $to->{db}     !~ /\A[0-9]{1,9}\z/;
    Carp::croak("The prefix '$to->{prefix}' has other characters than letters, digits, and . _ : -") if $to->{prefix} !~ /\A[\w.:-]+\z/a;
    for my $name (qw(timeout stale)) {
        my $value = $name eq 'timeout' ? $to->{timeout} : $option{stale} // next;
        Carp::croak("'$name' is a number of seconds, not '$value'")
            if $value !~ /\A[0-9]*\.?[0-9]+\z/ || ($name eq 'timeout' && $value <= 0);
    }
    $to->{where} = defined $to->{path} ? $to->{path} : IPC::Shm::Engine::Redis::Connection::_join($to->{host}, $to->{port});
    $to->{where} .= "/$to->{db}" if $to->{db};
    my $name = $url =~ s{\A([^/]+//[^:@/?]*):[^@/?]*@}{$1\@}sr;
    return ($to, $name, $option{stale});
}

sub open {    ## no critic (as the contract calls it)
    my ($class, $url,  %option) = @_;
    my ($to,    $name, $stale)  = _parse($url);
    $stale = $option{stale} if defined $option{stale};
    my $self = bless { namespace => $name, conn => IPC::Shm::Engine::Redis::Connection->new($to), stale => $stale || 0 }, $class;
    IPC::Shm::Engine::_is_in_perl();    # operators ask objects of engines as well, from now on
    $self->_check_server;
    $self->{conn}->script('recover', "$self->{conn}{prefix}c", '');
    return $self;
}

# A server that throws keys away when its memory is full would throw variables away.
sub _check_server {
    my ($self)   = @_;
    my $info     = eval { local $SIG{__DIE__}; $self->{conn}->command('INFO', 'memory') } // '';
    my ($policy) = $info =~ /^maxmemory_policy:(allkeys\S+)/m or return;
    return Carp::croak(
        "The Redis server at $self->{conn}{where} discards keys when it has no memory left ($policy); it needs maxmemory-policy noeviction"
    );
}

sub namespace { return $_[0]{namespace} }

# Not after a cleanup by this process; others' leave the connection as it is.
sub is_current { return !$_[0]{closed} }

# ---- variables

my $anonymous;    # the engine of the variables that `tie` makes without saying where

sub _anonymous { my ($type) = @_; return $anonymous->variable($type, undef, 1) }

sub variable {
    my ($self, $type, $name, $create) = @_;
    $anonymous = $self;
    my $conn = $self->{conn};
    my $text = $name // '';
    utf8::encode($text);
    my $id = $conn->new_id;
    my $reply;
    while (1) {
        $reply = $conn->script('declare', "$conn->{prefix}v:$id", '', $text, $type, $create ? 1 : 0);
        last if ref $reply;
        $conn->identify;
    }
    return undef if !defined $reply->[1];    ## no critic (also in list context)
    return $self->_object($reply->[1], $reply->[2], $name, $reply->[0]);
}

sub _object {
    my ($self, $id, $type, $name, $serial) = @_;
    my $known = $self->{conn}{variables};
    return $known->{$id} if defined $known->{$id};
    my $object = bless {
        engine => $self,
        conn   => $self->{conn},
        key    => "$self->{conn}{prefix}v:$id",
        id     => $id,
        type   => $type,
        name   => $name,
        seen   => $serial,
        held   => '',
        kids   => {},
        first  => 0,
        ($self->{stale} ? (copy => {}) : ()),
        },
        $class[$type];
    Scalar::Util::weaken($known->{$id} = $object);
    return $object;
}

# The reference that a stored one has become here. What was removed meanwhile is nothing if $may_be_gone,
# else a variable that says so.
sub _reference {
    my ($self, $text, $may_be_gone) = @_;
    my ($id,   $type, $class)       = $text =~ /\Ar([^:]+):([123]):(.*)\z/s or die "is damaged: a reference is '$text'\n";
    my $object = $self->{conn}{variables}{$id} // $self->_attach([ $id, $type ])->[0];
    return if !$object && $may_be_gone;
    if (!$object) {
        $object = $self->_object($id, $type, undef, 0);
        $object->{removed} = 1;
        delete $self->{conn}{variables}{$id};
    }
    my $reference = $self->container($object);
    utf8::decode($class);
    bless $reference, $class if length $class && (Scalar::Util::blessed($reference) // '') ne $class;
    return $reference;
}

# Attach to variables, [id, type] each: the objects, undef for what is not there.
sub _attach {
    my ($self, @which) = @_;
    my $conn = $self->{conn};
    my @objects;
    while (my @some = splice @which, 0, 1000) {
        my $reply;
        until (ref($reply = $conn->script('attach', "$conn->{prefix}c", '', map { $_->[0] } @some))) {
            $conn->identify;
        }
        for my $i (0 .. $#some) {
            my $is = $reply->[1][$i];
            push @objects, undef;
            next if !$is;
            my ($serial, $name, $first) = @$is;
            utf8::decode($name) if defined $name;
            $objects[-1] = $self->_object(@{ $some[$i] }, $name, $serial);
            $objects[-1]{first} = $first // 0;
        }
    }
    return \@objects;
}

# The container of an object: what a reference to it leads to.
sub container {
    my ($self, $object) = @_;
    my $container = $object->{container};
    if (defined $container) {
        my $tied = $object->{type} == 3 ? tied %$container : $object->{type} == 2 ? tied @$container : tied $$container;
        return $container if ref $tied && Scalar::Util::refaddr($tied) == Scalar::Util::refaddr($object);
        $container = undef;    # it was untied
    }
    if    ($object->{type} == 3) { $container = {};          tie %$container, ref $object, $object }
    elsif ($object->{type} == 2) { $container = [];          tie @$container, ref $object, $object }
    else                         { $container = \my $scalar; tie $$container, ref $object, $object }
    $self->contained($object, $container);
    return $container;
}

# Where an object is tied to.
sub contained {
    my ($self, $object, $container) = @_;
    Scalar::Util::weaken($object->{container} = $container);
    return;
}

# The objects of all that these references lead to; who keeps them keeps that alive.
sub _attach_all {
    my ($self, @texts) = @_;
    my $known = $self->{conn}{variables};
    my (@objects, %new);
    for my $text (@texts) {
        my ($id, $type) = $text =~ /\Ar([^:]+):([123]):/s or next;
        if (defined $known->{$id}) { push @objects, $known->{$id} }
        else                       { $new{$id} = $type }
    }
    return [ @objects, %new ? @{ $self->_attach(map { [ $_, $new{$_} ] } keys %new) } : () ];
}

# A plain copy of a hash's content.
sub _together {
    my ($self, $object, $content, $name) = @_;
    my $keep = $self->_attach_all(values %$content);
    delete $object->{holding};
    return { map { ($name->($_), $object->_value($_, $content->{$_})) } keys %$content };
}

# ---- the namespace

sub names {
    my ($self) = @_;
    my @names = @{ $self->{conn}->command('HKEYS', "$self->{conn}{prefix}n") };
    utf8::decode($_) for @names;
    return @names;
}

my @type = (undef, qw(SCALAR ARRAY HASH));

# Processes by their connections: here by number, on other hosts host:number.
sub _processes {
    my ($self) = @_;
    my %all    = @{ $self->{conn}->command('HGETALL', "$self->{conn}{prefix}c") };
    my $here   = Sys::Hostname::hostname();
    for my $process (values %all) {
        my ($host, $pid) = split / /, $process;
        $process = $host eq $here ? 0 + $pid : "$host:$pid";
    }
    return \%all;
}

sub _describe {
    my ($self) = @_;
    my $conn   = $self->{conn};
    my @ids    = @{ $conn->command('SMEMBERS', "$conn->{prefix}all") };
    my @all;
    while (my @some = splice @ids, 0, 500) { push @all, @{ $conn->script('describe', "$conn->{prefix}c", '', @some)->[1] } }
    return @all;
}

sub list {
    my ($self) = @_;
    my $conn = $self->{conn};
    $self->_bury;
    my $process = $self->_processes;
    my %user;
    for my $token (keys %$process) {
        push @{ $user{$_} }, $process->{$token} for @{ $conn->command('SMEMBERS', "$conn->{prefix}a:$token") };
    }
    my @list;
    for my $one ($self->_describe) {
        my ($id, $type, $serial, $n, $name, $writer, $refs, undef, $bytes, $readers) = @$one;
        utf8::decode($name) if defined $name;
        push @list,
            {
            id       => $id,
            name     => $name,
            type     => $type[$type],
            elements => $type == 1 ? 1 : 0 + $n,
            bytes    => 0 + $bytes,
            serial   => 0 + $serial,
            writer   => defined $writer ? $process->{$writer} : undef,
            readers  => [ map { $process->{$_} // () } @$readers ],
            attached => [ sort { $a cmp $b } @{ $user{$id} || [] } ],
            refs     => 0 + ($refs // 0),
            removed  => 0,
            };
    }
    return @list;
}

sub stats {
    my ($self) = @_;
    my $conn   = $self->{conn};
    my $prefix = $conn->{prefix};
    $self->_bury;
    my $attachments = 0;
    $attachments += $conn->command('SCARD', "${prefix}a:$_") for keys %{ $self->_processes };
    my $info   = eval { local $SIG{__DIE__}; $conn->command('INFO', 'memory') } // '';
    my ($used) = $info =~ /^used_memory:([0-9]+)/m;
    my ($most) = $info =~ /^maxmemory:([0-9]+)/m;
    return {
        variables      => 0 + $conn->command('SCARD', "${prefix}all"),
        named          => 0 + $conn->command('HLEN',  "${prefix}n"),
        attachments    => $attachments,
        blocks         => 0,
        block_size     => 0,
        bytes_used     => $used // 0,
        bytes_reserved => $used // 0,
        bytes_total    => $most || 0,
    };
}

# Forget the dead, and free what they alone had.
sub _bury {
    my ($self) = @_;
    my $conn   = $self->{conn};
    my $freed  = 0;
    while (1) {
        my $reply = $conn->script('recover', "$conn->{prefix}c", '');
        $freed += $reply->[1];
        return $freed if !$reply->[2];
    }
    return;
}

# An object keeps the references that it has handed out. Where those make a ring that nothing
# else of this process leads to, it lets go of them.
sub _break_rings {
    my ($self) = @_;
    my %object = map { $_->{id} => $_ } grep {defined} values %{ $self->{conn}{variables} };
    my %of     = map { defined $_->{container} ? (Scalar::Util::refaddr($_->{container}) => $_->{id}) : () } values %object;
    my (%kids, %kept);
    for my $object (values %object) {
        for my $kid (values %{ $object->{kids} }) {
            my $id = ref $kid->[1] ? $of{ Scalar::Util::refaddr($kid->[1]) } : undef;
            next if !defined $id;
            push @{ $kids{ $object->{id} } }, $id;
            $kept{$id}++;
        }
    }
    my @reached =
        grep { !defined $object{$_}{container} || B::svref_2object($object{$_}{container})->REFCNT > ($kept{$_} // 0) } keys %object;
    my %reached;
    while (defined(my $id = pop @reached)) { push @reached, @{ $kids{$id} || [] } if !$reached{$id}++ }
    for my $id (grep { !$reached{$_} } keys %object) {
        %{ $object{$id}{kids} } = ();
    }
    return;
}

# The dead, what is left over, and rings: variables that no named or used one leads to. They are
# found by walking, while others go on; sweep.lua sees in one moment whether it is so.
sub recover {
    my ($self) = @_;
    my $conn = $self->{conn};
    $self->_break_rings;
    my $freed = $self->_bury;
    my (%refers, @reached);
    for my $one ($self->_describe) {
        my ($id, undef, undef, undef, $name, undef, undef, $attached, undef, undef, $refers) = @$one;
        $refers{$id} = $refers ? 1 : 0;
        push @reached, $id if defined $name || ($attached // 0) > 0;
    }
    my %reached;
    while (defined(my $id = pop @reached)) {
        next if $reached{$id}++ || !$refers{$id};
        push @reached, map { /\Ar([^:]+):/ ? $1 : () } @{ $conn->command('HVALS', "$conn->{prefix}v:$id") };
    }
    my @lost = grep { !$reached{$_} } keys %refers;
    for my $some ($self->_apart(\%refers, @lost)) { $freed += $conn->script('sweep', "$conn->{prefix}c", '', @$some)->[1] }
    return $freed;
}

# What is lost, in portions that have nothing to do with one another, so that the server is not kept
# busy for long by one of them. Each is some hundred variables, or one piece that hangs together.
sub _apart {
    my ($self, $refers, @lost) = @_;
    my $conn  = $self->{conn};
    my %group = map { $_ => [$_] } @lost;
    for my $id (grep { $refers->{$_} } @lost) {
        for my $text (@{ $conn->command('HVALS', "$conn->{prefix}v:$id") }) {
            my ($target) = $text =~ /\Ar([^:]+):/ or next;
            my ($one, $other) = @group{ $id, $target };
            next if !$other || $one == $other;
            ($one, $other) = ($other, $one) if @$one < @$other;
            push @$one, @$other;
            $group{$_} = $one for @$other;
        }
    }
    my (%seen, @portions);
    for my $group (grep { !$seen{$_}++ } values %group) {
        push @portions,          [] if !@portions || @{ $portions[-1] } >= 300;
        push @{ $portions[-1] }, @$group;
    }
    return @portions;
}

sub cleanup {
    my ($self) = @_;
    my $conn = $self->{conn};
    $conn->script('remove', "$conn->{prefix}v:$_", '', 1) for @{ $conn->command('SMEMBERS', "$conn->{prefix}all") };
    my @objects = grep {defined} values %{ $conn->{variables} };
    $_->_forget for @objects;
    $conn->script('forget', "$conn->{prefix}c", '');
    $self->{closed} = 1;
    return 1;
}

# The line of an ACL file with the fewest rights that a user of this engine needs.
sub acl {
    my ($user, $prefix, $password) = @_;
    my @commands = qw(auth select info eval evalsha exists get set del unlink hget hset hmget hdel hlen hkeys hvals hgetall hexists hincrby
        sadd srem smembers sismember scard srandmember zadd zrem zrange zrank zscore zmscore zcount rpush lrange ltrim llen time restore rename persist publish subscribe pubsub|numsub memory|usage);
    return join ' ', 'user', $user, 'on', ">$password", 'resetkeys', "~{$prefix}:*", 'resetchannels', "&{$prefix}:p:*", '-@all',
        map {"+$_"} @commands;
}

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Engine::Redis - shared variables for several hosts, on Redis or Valkey

=head1 SYNOPSIS

    IPC_SHM_NAMESPACE='redis://db.example:6379/0?prefix=app' perl program

    use IPC::Shm namespace => 'redis://app:secret@db.example/0?prefix=app';
    our %config : shm;                    # the same hash on every host

=head1 DESCRIPTION

A program that uses L<IPC::Shm> and outgrows one machine names a server as its namespace; its variables are then kept there, and every host that names
the same server has the same variables. Nothing else in the program changes.

The server must be Redis 7.0 or Valkey 8.0, or later, with one primary. The engine uses the module L<Redis::Fast> (Debian:
C<libredis-fast-perl>), which is loaded only for such a namespace.

=head2 The namespace

    redis://[user[:password]@]host[:port][/db][?option=value&...]       also valkey://
    redis+unix:///path/of/socket[?db=0&...]                             also valkey+unix://

The host defaults to 127.0.0.1, the port to 6379, the database to 0. In the user, the password, the path of a socket and the values of options, C<%xx> stands for the character with that code. The options are:

=over 4

=item prefix=app

All keys of this namespace begin with C<{app}:>. (The braces make a cluster keep them on one node.) A prefix consists of letters, digits and
C<. _ : ->; the default is C<ipc-shm>. If something else has stored keys under the prefix, the namespace is refused and the keys are left alone.

=item timeout=10

How many seconds to wait for a server that does not answer or cannot be reached; the default is 10. After that, the operation dies.

=item stale=0.5

Lets this process read elements from its own copies, as long as these were up to date at most that many seconds ago; the default is 0: no copies. Once in that time, one element of a variable is
read from the server. The serial that comes with it tells whether the variable has changed: if not, all copies of its elements are good for that time again; otherwise they are dropped. See L</CONSISTENCY>.

=item db=0

The number of the database, if it is not part of the path; the default is 0.

=back

A password never appears in an exception, in C<< IPC::Shm->namespace >>, or in what C<shmpool> prints. C<rediss://> and C<valkeys://> are refused, because the
client cannot do TLS; use a tunnel (stunnel, C<ssh -L>, WireGuard) instead.

=head1 SETTING UP THE SERVER

    appendonly yes                   # variables survive a restart
    appendfsync everysec             # always: nothing acknowledged is lost even if the machine goes down
    maxmemory 2gb
    maxmemory-policy noeviction      # allkeys-* policies discard variables, and are refused
    tcp-keepalive 5                  # a host that has gone away is noticed after about 10 seconds
    timeout 0

This is the ACL entry with the fewest rights, here for the prefix C<app> (in one line; C<IPC::Shm::Engine::Redis::acl('app', 'app', 'secret')> returns it):

    user app on >secret resetkeys ~{app}:* resetchannels &{app}:p:* -@all +auth +select +info +eval +evalsha
      +exists +get +set +del +unlink +hget +hset +hmget +hdel +hlen +hkeys +hvals +hgetall +hexists +hincrby
      +sadd +srem +smembers +sismember +scard +srandmember +zadd +zrem +zrange +zrank +zscore +zmscore +zcount +rpush
      +lrange +ltrim +llen +time +restore +rename +persist +publish +subscribe
      +pubsub|numsub +memory|usage

C<+restore +rename +persist> only make things faster. With them, the assignment of a list of more than 100 pairs or 200 elements is sent in the format of C<DUMP>, and takes
about half the time. Without them, the list is sent as texts, as it always is if it contains references or a key twice, or if the
variable is a hash with expiry times or a limit; the result is the same. Leave the three out if you do not trust the clients, because C<RESTORE> has had security bugs. If the server refuses because the user
lacks the rights or it does not know the format, that connection does not try again; after any other refusal, it tries again ten seconds later.

C<+info> is used to check C<maxmemory-policy> and for C<stats>; without it, the check is left out, and the bytes in C<stats> are 0. Whoever can write to the keys can put
anything into the variables, but nothing in them is ever executed.

Each process (and each of its threads) keeps two connections open, and a third one for a moment when it forks. For thousands of processes, raise
C<maxclients> and the server's limit of open files.

=head1 CONSISTENCY

Each operation, even the assignment of a list, is one script, which the server runs without interruption; once a store has returned, every read that begins later sees it.
A lock excludes other processes for as long as the server considers its owner alive, and a store made under a lock takes effect only if the lock is still held; a process that has lost
its lock gets an exception, and nothing is stored. With C<stale>, reads of single elements outside of locks may be out of date by that time, but a process always
sees its own stores.

Nothing depends on clocks or leases: a lock belongs to a connection. When a process is killed, its connection is closed, and its locks are free at once; a process that
is only stopped keeps its locks.

If the I<server> crashes, it comes back with what is in its append-only file; if a replica takes over, it has what had been replicated. In both cases, the last moments may be missing (C<appendfsync
always> and C<min-replicas-to-write> reduce this), and all locks are void.

=head1 COSTS

In round trips to the server. One takes some 10 microseconds on the same machine, and 100 to 500 between machines.

    fetch, exists, scalar(%h), $#a         1        (0 from a copy, with stale)
    store, delete, add, push, shift, ...   1
    $a[-1]                                 2        perl asks for the length first
    keys, values                           1        the whole variable is sent
    list assignment                        1        the whole variable is sent
    fetch, with expiry times or a limit    1        it is a script (with a limit, one that writes)
    fetching a reference, the first time   2        so $h{a}{b} takes 3, and 2 the next time
    storing a reference                    3        for each container that becomes shared
    writelock + unlock                     2
    a lock that another process holds      1        and one more every 30 ms while waiting
    wait_change                            1        and one more every 5 s while waiting
    done with a sub                        3        and 1 for each other variable that the sub stores in
    declaration                            1
    fork                                   2        a connection is opened for the child

F<bench/redis.pl> measures this. In units of a bare HGET by the same client in the same run, a fetch takes 1.3, a store or an addition 2.2, and locking
and unlocking together 4; a fetch with C<stale> takes a seventh of one. Assigning a list of 1,000 pairs takes as long as some 11 to 15 stores, and a list of
1,000 elements about the same; as texts (see L</SETTING UP THE SERVER>), some 20 to 30. (A bare HSET of 1,000 pairs takes as long as 20 stores if the table has those keys already, and 70 if
the key is new.) Most of that is time in which the server does nothing else. So do not assign or list variables of more than 100,000 elements as a whole.

=head1 WHEN SOMETHING FAILS

    a process is killed               its locks are free within 30 ms; its lexicals are freed later
    a process is stopped              it keeps its locks; others wait only if they need those
    its connection is cut             "The lock on ... was lost", and nothing is stored under the lock. If it held no
                                      lock: nothing, unless the connection is cut during an operation ("an answer is lost")
    a host goes away                  its locks are free when the server notices, after 2 to 3 times tcp-keepalive. If an answer
                                      was on its way to the host, TCP has to give up first: 15 minutes by Linux's default, 16 s with
                                      net.ipv4.tcp_retries2 = 5 on the server's machine
    the server is restarted           "Lost the connection ...", once in each process; then it works again. Locks are lost
    the server cannot be reached      "Cannot reach the Redis server at ...", within the timeout
    an answer is lost                 "...: the operation may have happened". No store is tried twice; look whether it is there
    ... of done with a sub            likewise; either all of it has happened or nothing. If nothing has, the ticket is still valid
    SCRIPT FLUSH                      goes unnoticed
    failover to a replica             as a restart, once the name or address leads there; what was not replicated is lost
    a replica is written to           "... READONLY ..."; the next operation connects anew
    no memory is left                 "Cannot store: ..."; deletes, locks and fetches still work
    keys of something else            are refused and left alone

=head1 WHAT IS DIFFERENT

    Mode, Size                        have no meaning; the server decides on rights and memory
    the default namespace             there is none on a server; the namespace must be given
    a machine that goes down          variables survive (in memory they do not)
    writer, attached, readers of list processes of other hosts are shown as host:PID
    elements that expire              go by the server's clock, which can be set; with stale, a copy may outlive its element by that time
    limit                             both fetching and storing an element count as use; the one used longest ago goes (in memory
                                      this is approximate)
    sweep                             waits for locks; reads do not wait for it
    begin ... commit, update          hold the write lock, so that others wait even to read
    reserve, release                  cannot be part of an open change, nor of the sub of done
    reserved                          the pid of a dead worker is undef once the server has forgotten the worker
    stats                             there are no blocks; bytes are those of the whole server, bytes_total is its maxmemory
    locks                             can be lost (see above); in memory they cannot
    a signal handler that interrupts  cannot use that scalar itself, because perl calls no method of a tied scalar while another
    a wait for a scalar               one of its methods is running
    classes derived from IPC::Shm::Hash etc.: derive them from IPC::Shm::Engine::Redis::Hash etc. instead
    @h{undef, ...}                    warns less often
    cleanup                           waits for no lock; whoever holds one is told that the variable was removed
    remove                            what the variable refers to is freed at once, not when its last user lets go
    exec                              a program started by exec keeps no lexicals alive

=head1 WHAT IT IS FOR

Configuration, sessions, queues, counters, locks and other state of a cluster of a few hosts, at thousands of operations per second. It is not meant for a cache that is read
a million times per second (use C<stale>, or the engine in memory), nor for variables of hundreds of megabytes, nor where a
failover must not lose a single acknowledged store.

=head1 METHODS

=head2 open, is_current, namespace, variable, names, list, stats, recover, cleanup

See L<IPC::Shm::Engine>.

=head2 container, contained

C<container> returns a reference to the hash, array or scalar that is tied to an object, and makes one if there is none; C<contained> sets it (L<IPC::Shm::Engine>).

=head2 acl

    print IPC::Shm::Engine::Redis::acl($user, $prefix, $password), "\n";

Returns the line for the server's ACL file; without its first word, it is what C<ACL SETUSER> takes.

=head1 LAYOUT

All keys begin with C<{prefix}:>. Each variable is a Redis hash, C<v:ID>. Its fields are: C<!t> the type, C<!s> the serial, C<!l> the number of elements, C<!f> the
first index of an array, C<!w> who has the write lock, C<!R> how many have a read lock, C<!u> who waits to upgrade one, or changes several variables at once, C<!h> and C<!H> whose turn it
is and since when, C<!W> that somebody waits for a change, C<!n> how many stored references lead to it, C<!k> how many references it contains, C<!a> how many processes use it, C<!N> its name, and
C<!E> that elements may expire, or be deleted to make room. Elements are C<=bytes> or C<~characters> in a hash, the index plus C<!f> in an array, and C<=> in a scalar.

Beside it are C<v:ID:j> and C<v:ID:o>, what is reserved of a queue, and by whom; C<v:ID:e>, when elements expire; C<v:ID:l>, when they were last used, if there is
a limit; C<v:ID:r>, who has a read lock; C<v:ID:q>, who waits for a lock; C<v:ID:x>, who waits for a change; and C<v:ID:d:CONNECTION>, for a moment, a list that is being assigned.
The namespace has C<n>, the names; C<all>, the IDs; C<c>, the connections; C<a:CONNECTION>, what a connection uses; C<w>, what each one waits for; C<g>, what has still to be freed; and C<format>, a
mark. C<p:CONNECTION> is the channel that a process is subscribed to: a process is alive if its channel has a subscriber. The scripts are in F<Redis/lua/>.

=head1 SEE ALSO

L<IPC::Shm>, L<IPC::Shm::Engine>, L<Redis::Fast>

=cut
