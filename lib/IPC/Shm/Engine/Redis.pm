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

A program that uses L<IPC::Shm> and outgrows one machine names a server, and its variables are on that. The program stays
as it is. Redis 7.0 or Valkey 8.0 or later, one primary; the module L<Redis::Fast>, which is loaded only
then (Debian: C<libredis-fast-perl>).

=head2 The namespace

    redis://[user[:password]@]host[:port][/db][?option=value&...]       also valkey://
    redis+unix:///path/of/socket[?db=0&...]                             also valkey+unix://

Without a host it is 127.0.0.1, without a port 6379, without a database 0. C<%xx> stands for a character, in user, password and path. Options:

=over 4

=item prefix=app

What all keys of this namespace begin with, as C<{app}:> (in braces, so that a cluster keeps them on one node). Letters, digits and
C<. _ : ->; C<ipc-shm> if nothing is said. Keys of something else under it are refused, and left alone.

=item timeout=10

Seconds until a server that does not answer, or cannot be reached, is an exception.

=item stale=0.5

Elements may be read from copies of this process that were true at most so many seconds ago. A look at one element of a variable, which is
needed once in that time, confirms all copies of it, or drops them: the serial says whether there were changes. See L</CONSISTENCY>.

=item db=0

The database, where it is not in the path.

=back

A password is never part of an exception, of C<< IPC::Shm->namespace >> or of what C<shmpool> prints. C<rediss://> and C<valkeys://> are refused: the
client has no TLS. A tunnel (stunnel, C<ssh -L>, WireGuard) does it.

=head1 SETTING UP THE SERVER

    appendonly yes                   # variables survive a restart
    appendfsync everysec             # always: also a machine that goes down loses nothing that was acknowledged
    maxmemory 2gb
    maxmemory-policy noeviction      # the others throw variables away; allkeys-* are refused
    tcp-keepalive 5                  # a host that has gone is noticed after some 10 seconds
    timeout 0

The fewest rights, for the prefix C<app> (one line; C<IPC::Shm::Engine::Redis::acl('app', 'app', 'secret')> prints it):

    user app on >secret resetkeys ~{app}:* resetchannels &{app}:p:* -@all +auth +select +info +eval +evalsha
      +exists +get +set +del +unlink +hget +hset +hmget +hdel +hlen +hkeys +hvals +hgetall +hexists +hincrby
      +sadd +srem +smembers +sismember +scard +srandmember +zadd +zrem +zrange +zrank +zscore +zmscore +zcount +rpush
      +lrange +ltrim +llen +time +restore +rename +persist +publish +subscribe
      +pubsub|numsub +memory|usage

C<+restore +rename +persist> are for speed alone: a list assignment of more than 100 pairs or 200 elements is sent in the format of C<DUMP>, which takes the server two thirds of the
time. Without them it is sent as texts, as it is where there are references, elements that may vanish or keys that come twice; the result is the same. Leave them out
where you do not trust the clients: servers have had bugs in C<RESTORE>. A connection that was refused once does not try again; where the server refuses for
another reason than rights or its version, it does after ten seconds.

C<info> is for the check of C<maxmemory-policy> and for C<stats>; without it both are left out. Whoever can write to the keys can write
anything into the variables; nothing of it is executed.

The open connections are two a process (three where a program has two namespaces open is six, and so on): raise
C<maxclients> and the limit of descriptors of the server for thousands of processes.

=head1 CONSISTENCY

Each operation, a list assignment too, is one script that the server runs with nobody in between, and a store that has returned is seen by every read that begins after it.
A lock excludes others for as long as the server considers its owner alive, and what is stored under a lock is stored only if that is still so: a process that has lost a lock
gets an exception, and nothing is stored. With C<stale>, reads of single elements outside of locks may lag behind by that time, though never behind
what this process itself has stored.

Nothing depends on clocks or leases: the owner of a lock is a connection. A process that is killed has none any more, and its locks are free at once; one that is stopped keeps it.

What a crash of the I<server> keeps is what it has in its append-only file, and a replica that takes over has what was replicated: both may lack the last moments (C<appendfsync
always>, and C<min-replicas-to-write>, make it less). All locks are void after either.

=head1 COSTS

In round trips to the server; one on the same machine takes some 10 microseconds, one between machines 100 to 500.

    fetch, exists, scalar(%h), $#a         1        (0 from a copy, with stale)
    store, delete, add, push, shift, ...   1
    $a[-1]                                 2        perl asks for the length first
    keys, values of one moment             1        the whole variable is sent
    list assignment                        1        the whole variable is sent
    where elements may vanish              1        a fetch is a script, with a limit one that writes
    a reference that is new here           2        $h{a}{b}: 2 the next time
    a reference that is stored             3        for each container that becomes shared
    writelock + unlock                     2
    a lock that is taken                   1, and one each 30 ms while it waits
    wait_change                            1, and one each 5 s while it waits
    done with a sub                        3        and 1 for each other variable that it stores in
    declaration                            1
    fork                                   2        a connection is opened for the child

F<bench/redis.pl> measures it. As ratios to a bare HGET of the same client in the same run: a fetch 0.8, a store or an addition 0.45, a
lock and its release together 0.25, a fetch with C<stale> 7. A list assignment of 1,000 pairs takes the time of some 20 stores, of
1,000 elements of some 16; as texts (see L</SETTING UP THE SERVER>) of some 30. A bare HSET of as many takes that of 20 into a table that has them, of 70 into
a new key. Nearly all of it is the server's, which serves nobody else meanwhile: variables of more than 100,000 elements are better not assigned or listed as a whole.

=head1 WHEN SOMETHING FAILS

    a process is killed               its locks are free within 30 ms, its lexicals are freed later
    a process is stopped              it keeps its locks; nobody else waits for anything but those
    its connection is cut             "The lock on ... was lost"; nothing is stored under it. Without locks: nothing
    a host goes away                  the server notices after 2 to 3 times tcp-keepalive, then its locks are free. If it
                                      went within an answer, only when TCP gives up: 15 minutes with Linux's default, 16 s with
                                      net.ipv4.tcp_retries2 = 5 on the server's machine
    the server is restarted           "Lost the connection ...": once in each process; then it goes on. Locks are lost
    the server cannot be reached      "Cannot reach the Redis server at ...", within the timeout
    an answer is lost                 "...: the operation may have happened". Nothing is tried twice that stores. Look again
    ... in done with a sub            likewise: all of it may have happened, or nothing; the ticket is valid if nothing has
    SCRIPT FLUSH                      nothing
    failover to a replica             as a restart, once the name or address leads there; what was not replicated is gone
    a replica is written to           "... READONLY ..."; the next operation connects anew
    no memory left                    "Cannot store: ..."; deletes, locks and fetches work
    keys of something else            refused, untouched

=head1 WHAT IS DIFFERENT

    Mode, Size                        have no meaning: rights are the server's
    the default namespace             there is none on a server: it must be named
    a machine that goes down          variables survive (in memory they do not)
    writer, attached, readers of list processes of other hosts are host:PID
    elements that vanish              do so by the server's clock, which can be set; a copy (stale) may outlast them by that time
    limit                             a fetch of an element counts as use, also a store; what was used longest ago goes. Not CLOCK
    sweep                             waits for locks; looks do not wait for it
    begin ... commit, update          hold the write lock: others wait, readers too
    stats                             no blocks; bytes are those of the whole server
    a lock can be lost                (see above), which in memory cannot happen
    a handler of a signal that        cannot use that very scalar: perl calls no method of a tied scalar while one
    interrupts a wait for a scalar    of it is running
    classes derived from IPC::Shm::Hash, and so on: derive from IPC::Shm::Engine::Redis::Hash
    @h{undef, ...}                    warns less often
    cleanup                           waits for no lock; who has one is told that the variable was removed
    remove                            what it leads to is gone at once, not with its last user
    exec                              a program that is executed keeps no lexicals alive

=head1 WHAT IT IS FOR

Configuration, sessions, queues, counters, locks, state of a cluster of some hosts: thousands of operations a second. Not for a cache that is read
a million times a second (use C<stale>, or the engine in memory), not for variables of hundreds of megabytes, not where a
failover must not lose an acknowledged store.

=head1 METHODS

=head2 open, is_current, namespace, variable, names, list, stats, recover, cleanup

As L<IPC::Shm::Engine> has it.

=head2 container, contained

The container that an object is tied to, made if need be; and to tell it (L<IPC::Shm::Sharing>).

=head2 acl

    print IPC::Shm::Engine::Redis::acl($user, $prefix, $password), "\n";

The line for the server's ACL file, or after C<ACL SETUSER> without the first word.

=head1 LAYOUT

All keys begin with C<{prefix}:>. C<v:ID> is a Redis hash, one a variable: C<!t> its type, C<!s> the serial, C<!l> the number of elements, C<!f> the
first index of an array, C<!w> who has the write lock, C<!R> how many have read locks, C<!u> who waits to upgrade one, C<!h !H> whose turn it
is and since when, C<!W> that somebody waits for a change, C<!n> stored references to it, C<!k> references in it, C<!a> processes that use it, C<!N> its name;
elements are C<=bytes> or C<~characters>, an index plus C<!f>, or C<=> (a scalar). C<v:ID:j> and C<v:ID:o> what is reserved of a queue, and by whom; C<v:ID:e> when elements vanish, C<v:ID:l> when they were used last, where there is a limit, and
C<!E> that they may; C<v:ID:r> who reads, C<v:ID:q> who waits, C<v:ID:x> who waits for a change. C<n> the
names, C<all> the IDs, C<c> the connections, C<a:CONNECTION> what one uses, C<w> what one waits for, C<g> what is still to be freed, C<format> the
mark. C<p:CONNECTION> is the channel that a process is subscribed to: who has subscribers, lives. The scripts are in F<Redis/lua/>.

=head1 SEE ALSO

L<IPC::Shm>, L<IPC::Shm::Engine>, L<Redis::Fast>

=cut
