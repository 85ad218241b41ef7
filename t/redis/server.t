use strict;
use warnings;
use lib 't/lib';
use RedisTest;
use Test::More;
use IO::Socket::INET;
use Time::HiRes qw(time sleep);

# What happens to the server, and what then happens to the variables.

# Six processes count, each in an element of its own and under a lock, and remember how far they were told to have
# come. When each has begun, and some time later, the server is troubled. Each ends when it has been able to do both
# twenty times more.
sub under_load {
    my ($url, $trouble, $seconds) = @_;
    my $engine = engine($url);
    my $h      = hash($engine, '%main::h');
    %$h = (lock => 0, held => 0);
    my (@pids, @pipes);
    pipe my $over, my $is_over or die $!;
    for my $me (1 .. 6) {
        pipe my $r, my $w or die $!;
        push @pipes, $r;
        push @pids, child(
            sub {
                close $is_over;
                my ($acknowledged, $own, $errors, $both, $turns, $left) = (0, 0, 0, 0, 0, 20);
                my $object = tied %$h;
                my $end    = time + ChildTest::LIMIT / 2;
                while ($left > 0 && time < $end) {
                    my $stored = eval { $h->{"own$me"} = $own + 1; 1 };
                    if ($stored) {
                        $acknowledged = ++$own;
                    } else {
                        $errors++;
                        sleep 0.02;
                        $own = eval { $h->{"own$me"} // 0 } // $own;
                    }
                    my $locked = eval {
                        $object->lock('write', 60) or die "no lock\n";
                        $both++ if $h->{held};
                        $h->{held} = $me;
                        my $n = $h->{lock};
                        $h->{lock} = $n + 1;
                        $h->{held} = 0;
                        $object->unlock;
                        1;
                    };
                    if (!$locked) {
                        $errors++;
                        eval { $object->unlock };
                        sleep 0.02;
                    } elsif ($stored) {
                        syswrite $w, "begun\n" if !$turns++;
                        $left-- if is_readable($over);
                    }
                }
                syswrite $w, "$me $acknowledged $errors $both\n";
                die "it has come no further\n" if $left > 0;
            }
        );
        close $w;
    }
    ChildTest::read_line($_) for @pipes;
    sleep $seconds;
    $trouble->();
    close $is_over;
    my %result;
    for my $r (@pipes) { my ($me, @rest) = split ' ', ChildTest::read_line($r); $result{$me} = \@rest }
    return ($engine, $h, \%result, finish(@pids));
}

# Is there something to read, or has the other end been closed?
sub is_readable {
    my ($pipe) = @_;
    my $bits = '';
    vec($bits, fileno $pipe, 1) = 1;
    return 0 < select $bits, undef, undef, 0;
}

sub is_all_there {
    my ($what, $h, $result, $ended) = @_;
    ok $ended, "$what: all six go on to the end";
    my @lost = grep { ($h->{"own$_"} // 0) < $result->{$_}[0] } sort keys %$result;
    is "@lost", '', '… every store that was acknowledged is there' or diag explain {
        map { $_ => $h->{"own$_"} } 1 .. 6
    }, $result;
    return;
}

# SCRIPT FLUSH.
{
    my $server = server();
    my ($engine, $h, $result, $ended) = under_load($server->url, sub { $server->ask(qw(SCRIPT FLUSH)) for 1 .. 5 }, 0.3);
    is_all_there('SCRIPT FLUSH', $h, $result, $ended);
    my @errors = map { $_->[1] } values %$result;
    is "@errors", '0 0 0 0 0 0', '… and nobody notices';
}

# A restart, and kill -9, with an append-only file.
for my $signal ('TERM', 'KILL') {
    my $server = server('appendonly yes', 'appendfsync always');
    my ($engine, $h, $result, $ended) = under_load(
        $server->url,
        sub {
            $server->stop($signal);
            $server->start;
        },
        0.7
    );
    is_all_there("the server is ended by SIG$signal and comes back", $h, $result, $ended);
    my $n = $h->{lock};
    cmp_ok $n, '>', 0, '… and nobody is left locked out';
    my $object = tied %$h;
    is $object->lock('write', 5), 1, '… all locks are void';
    $object->unlock;
}

# Nobody holds a lock that another holds, though the server comes back with both in its file.
{
    my $server = server('appendonly yes', 'appendfsync always');
    my $engine = engine($server->url);
    my $h      = hash($engine, '%main::h');
    my $object = tied %$h;
    $h->{n} = 1;
    $object->lock('write');
    $server->stop('KILL');
    $server->start;
    my $other = child(
        sub {
            my $e = engine($server->url);
            my $x = hash($e, '%main::h');
            tied(%$x)->lock('write', 10) or die "no lock\n";
            $x->{n} = 'other';
        }
    );
    ok finish($other), 'after a restart another process has the lock';
    ok !eval { $h->{n} = 'mine'; 1 }, '… and who had it cannot store under it' for 1, 2;
    like $@, qr/The lock on the shared %main::h was lost/, '… and is told';
    $object->unlock;
    is $h->{n}, 'other', '… nothing of that was stored';
}

# Failover to a replica.
{
    my $primary = server();
    my $replica = server("replicaof 127.0.0.1 $primary->{port}");
    ok until_true(sub { $replica->ask('INFO', 'replication') =~ /master_link_status:up/ }), '(the replica follows)';
    my $engine = engine($primary->url);
    my $h      = hash($engine, '%main::h');
    my $object = tied %$h;
    $h->{n} = $_ for 1 .. 100;
    $object->lock('write');
    until_true(sub { $primary->ask('INFO', 'replication') =~ /slave0:.*offset=(\d+).*master_repl_offset:\1\b/s });
    $replica->ask(qw(REPLICAOF NO ONE));

    # The address moves, as it does behind a name or a virtual address.
    $primary->stop('KILL');
    $engine->{conn}{to}{port} = $replica->{port};
    ok !eval { $h->{n} = 'held'; 1 }, 'the holder of a lock, after a failover' for 1, 2;
    like $@, qr/was lost|Lost the connection/, '… is told that it has lost it';
    my $seen = eval { hash(engine($replica->url), '%main::h')->{n} };
    is $seen, 100, '… what was replicated is there';
    my $other = hash(engine($replica->url), '%main::h');
    is tied(%$other)->lock('write', 5), 1, '… the lock is free for others';
}

# Writing to a replica.
{
    my $primary = server();
    my $replica = server("replicaof 127.0.0.1 $primary->{port}");
    until_true(sub { $replica->ask('INFO', 'replication') =~ /master_link_status:up/ });
    dies_with { engine($replica->url) } qr/127\.0\.0\.1:$replica->{port}.*READONLY/, 'a replica is refused';
}

# Out of reach.
{
    my $server = server();
    my $port   = $server->{port};
    my ($engine, $h);
    ok until_true(
        sub {
            eval { $engine = engine($server->url('&timeout=1')); $h = hash($engine, '%main::h'); $h->{x} = 1; 1 }
        }
        ),
        '(on a busy machine an answer may take longer)';
    kill 'STOP', $server->{pid};
    my $began = time;
    dies_with { $h->{x} = 2 } qr/Lost the connection to the Redis server at 127\.0\.0\.1:$port .*may have happened at \Q$0\E/,
        'a server that does not answer: it may have happened';
    dies_with { my $x = $h->{x} } qr/127\.0\.0\.1:$port/, '… a fetch dies, too';
    cmp_ok time - $began, '<', 40, '… within the time';
    kill 'CONT', $server->{pid};
    ok until_true(
        sub {
            eval { $h->{y} = 3; 1 }
        }
        ),
        '… when it goes on, so do we';
    $server->stop('KILL');
    dies_with { IPC::Shm::Engine::Redis->open($server->url) }
    qr/Cannot reach the Redis server at 127\.0\.0\.1:$port: .*refused.* at \Q$0\E/, 'a server that is not there';
    dies_with { engine('redis+unix:///nowhere/socket') } qr{Cannot reach the Redis server at /nowhere/socket: No such file}, '… no socket';
}
{
    # Takes connections and says nothing.
    my $mute  = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die $@;
    my $port  = $mute->sockport;
    my $began = time;
    dies_with { engine("redis://127.0.0.1:$port?timeout=0.5") } qr/Cannot reach the Redis server at 127\.0\.0\.1:$port/,
        'a server that says nothing';
    cmp_ok time - $began, '<', 40, '… within the time';
}

# An answer that is lost on the way: a relay that hands on the question, and not the answer.
{
    my $server = server();
    my $listen = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die $@;
    pipe my $muted, my $is_mute or die $!;
    my $relay = child(
        sub {
            my (%to, $mute);
            local $SIG{USR1} = sub { $mute = 1; syswrite $is_mute, "\n" };
            while (1) {
                my $bits = '';
                vec($bits, fileno $_, 1) = 1 for $listen, map { $_->[0] } values %to;
                next if 1 > select $bits, undef, undef, undef;
                if (vec $bits, fileno $listen, 1) {
                    my $in  = $listen->accept;
                    my $out = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$server->{port}");
                    $to{ fileno $in }  = [ $in,  $out, 'question' ];
                    $to{ fileno $out } = [ $out, $in,  'answer' ];
                }
                for my $pair (values %to) {
                    my ($from, $into, $what) = @$pair;
                    next if !vec $bits, fileno $from, 1;
                    my $n = sysread $from, my $bytes, 65536;
                    if (!$n || ($mute && $what eq 'answer')) { delete @to{ fileno $from, fileno $into }; close $from; close $into; last }
                    syswrite $into, $bytes;
                }
            }
        }
    );
    my $engine = engine('redis://127.0.0.1:' . $listen->sockport . '?prefix=test');
    my $h      = hash($engine, '%main::h');
    tied(%$h)->add('n', 0);                                          # the server has the script
    until_true(sub { kill 'USR1', $relay; is_readable($muted) });    # one that comes just before it waits is handled after that
    dies_with { tied(%$h)->add('n', 1) } qr/Lost the connection .*: the operation may have happened/, 'an answer that was lost';
    is hash(engine($server->url), '%main::h')->{n}, 1, '… it had happened, once';
    kill 'KILL', $relay;
    finish($relay);
}

# No memory.
{
    my $server = server('maxmemory 3mb', 'maxmemory-policy noeviction');
    my $engine = engine($server->url);
    my $h      = hash($engine, '%main::h');
    my $n      = 0;
    my $stored = eval {
        while ($n < 1000) { $h->{$n} = 'x' x 20_000; $n++ }
        1;
    };
    ok !$stored, 'a store that does not fit dies';
    like $@, qr/Cannot store: the Redis server at 127\.0\.0\.1:$server->{port} has no memory left at \Q$0\E/, '… and says why';
    is $h->{ $n - 1 }, 'x' x 20_000, '… what was stored is there';
    ok !exists $h->{$n}, '… what was not is not';
    is tied(%$h)->lock('write', 5), 1,      'locks work';
    is tied(%$h)->unlock,           1,      '… and unlock';
    is length delete $h->{0},       20_000, 'deletes work';
    delete $h->{$_} for 1 .. $n - 2;
    ok eval { $h->{again} = 'x' x 1000; 1 }, '… then there is room again' or diag $@;
}
dies_with { engine(server('maxmemory 5mb', 'maxmemory-policy allkeys-lru')->url) } qr/discards keys.*noeviction/,
    'a server that would discard variables is refused';

# Keys of something else.
{
    my $server = server();
    $server->ask('SET', '{test}:format', 'something else');
    dies_with { engine($server->url) } qr/keys of something else under the prefix 'test'/,
        'a prefix that is in use by something else is refused';
    is $server->ask('GET', '{test}:format'), 'something else', '… and untouched';
    $server->ask('DEL', '{test}:format');
    $server->ask('RPUSH', '{test}:n', 1, 2);
    dies_with { engine($server->url) } qr/keys of something else/, 'another key';
    is "@{ $server->ask('LRANGE', '{test}:n', 0, -1) }", '1 2', '… untouched';
    $server->ask('DEL', '{test}:n');
    my $engine = engine($server->url);
    my $h      = hash($engine, '%main::h');
    $h->{x} = 1;
    my $id = tied(%$h)->id;
    $server->ask('DEL', "{test}:v:$id");
    $server->ask('SET', "{test}:v:$id", 'text');
    dies_with { my $x = $h->{x} } qr/A key of something else/, 'a variable that was replaced by something else';
    dies_with { $h->{x} = 2 } qr/A key of something else/, '… is not written over';
    is $server->ask('GET', "{test}:v:$id"), 'text', '… untouched';
}

# The fewest rights, as the manual has them; passwords are not told.
{
    my $server = server('user default on nopass ~* &* +@all');
    my ($acl) = IPC::Shm::Engine::Redis::acl('app', 'test', 's3cret');
    open my $manual, '<', $INC{'IPC/Shm/Engine/Redis.pm'} or die $!;
    my ($line) = do { local $/ = undef; readline $manual }
        =~ /^    (user app .*?)\n\n/ms;
    is $line =~ s/\s+/ /gr, IPC::Shm::Engine::Redis::acl('app', 'app', 'secret'), 'the manual has the line of the ACL';
    my @words = split / /, $acl;
    shift @words;
    is $server->ask('ACL', 'SETUSER', @words), 'OK', '… which a server takes';
    my $engine = engine("redis://app:s3cret\@127.0.0.1:$server->{port}/0?prefix=test");
    is $engine->namespace, "redis://app\@127.0.0.1:$server->{port}/0?prefix=test", 'the namespace is told without the password';
    my $h = hash($engine, '%main::h');
    my $a = array($engine, '@main::a');
    %$h = (x => 1, list => [ 1, 2 ]);
    push @$a, 1, { y => 2 };
    $h->{$_} = 1 for 1 .. 3;
    tied(%$h)->add('n', 1);
    tied(%$h)->lock('write');
    tied(%$h)->unlock;
    tied(%$h)->wait_change(0);
    tied(%$h)->limit(50);
    tied(%$h)->store(brief => 1, 0.01);
    select undef, undef, undef, 0.02;
    is join(' ', $h->{brief} // 'gone', tied(%$h)->sweep, scalar(%$h) ? 1 : 0, tied(%$h)->ttl('x') // 'stays'), 'gone 0 1 stays',
        '… for what vanishes';
    my $restored = sub { $server->ask(qw(INFO commandstats)) =~ /cmdstat_restore:calls=([0-9]+)/ ? $1 : 0 };
    my $large    = hash($engine, '%main::large');
    %$large = map { $_ => $_ } 1 .. 1000;
    is join(' ', scalar keys %$large, $restored->()),               '1000 1', '… for the fast way of a long list';
    is $server->ask(qw(ACL SETUSER app -restore -rename -persist)), 'OK',     '… without three of them';
    %$large = map { $_ => 2 } 1 .. 1000;
    is join(' ', scalar keys %$large, $large->{1000}, $restored->()), '1000 2 1', '… the same is done in the other way';
    tied(%$large)->remove;
    is in_child(sub { join ' ', shift @$a, $a->[0]{y}, $h->{list}[1], scalar keys %$h }), '1 2 2 6', '… is enough to work';
    ok eval { $engine->list; $engine->stats; $engine->recover; $engine->cleanup; 1 }, '… and for the rest' or diag $@;

    for my $url (
        "redis://app:wr0ng\@127.0.0.1:$server->{port}/0?prefix=test",
        "redis://app:s3cret\@127.0.0.1:$server->{port}/0?prefix=other",
        "redis://app:s3cret\@127.0.0.1:1/0"
        )
    {
        ok !eval { engine($url); 1 }, '… for no more';
        unlike $@, qr/s3cret|wr0ng/,     '… and the exception has no password in it';
        like $@,   qr/127\.0\.0\.1:\d+/, '… but the server';
    }
}
done_testing;
