use strict;
use warnings;
use lib 't/lib';
use RedisTest;
use Test::More;

# Where a namespace is: URLs.

sub parsed {
    my ($to, $name, $stale) = IPC::Shm::Engine::Redis::_parse($_[0]);
    return join ' ', map {"$_=$to->{$_}"} grep { defined $to->{$_} && $_ ne 'where' } sort keys %$to;
}
is parsed('redis://'),                           'db=0 host=127.0.0.1 port=6379 prefix=ipc-shm timeout=10', 'all has a default';
is parsed('redis://h:7/3?prefix=app&timeout=2'), 'db=3 host=h port=7 prefix=app timeout=2', 'host, port, database, prefix, timeout';
is parsed('valkey://u:p%40ss@h'), 'db=0 host=h password=p@ss port=6379 prefix=ipc-shm timeout=10 user=u', 'user and password';
is parsed('redis://:pw@[::1]:7'), 'db=0 host=::1 password=pw port=7 prefix=ipc-shm timeout=10',   'a password alone, an IPv6 address';
is parsed('redis+unix:///run/r.sock?db=2&prefix=a'), 'db=2 path=/run/r.sock prefix=a timeout=10', 'a socket';
for my $bad (
    [ 'rediss://h',                'needs TLS' ],
    [ 'valkeys://h',               'needs TLS' ],
    [ 'redis+unix://',             'no path of a socket' ],
    [ 'redis://u:s3cret@h:x',      'no host and port' ],
    [ 'redis://u:s3cret@h/x',      'no host and port' ],
    [ 'redis://h?prefix={a}',      'other characters' ],
    [ 'redis://h?prefix=',         'other characters' ],
    [ 'redis://h?timeout=0',       'number of seconds' ],
    [ 'redis://h?stale=x',         'number of seconds' ],
    [ 'redis://u:s3cret@h?what=1', "Unknown option 'what'" ],
    [ 'http://h',                  'no scheme' ],
    )
{
    dies_with { IPC::Shm::Engine::Redis->open($bad->[0]) } qr/$bad->[1].* at \Q$0\E line/, "$bad->[0]: $bad->[1]";
    unlike $@, qr/s3cret/, '… without the password';
}
my $server = server();
my $tcp    = hash(engine($server->url),  '%main::h');
my $unix   = hash(engine($server->unix), '%main::h');
$tcp->{x} = 1;
is $unix->{x}, 1, 'the same variable by TCP and by a socket';
my $other = hash(engine($server->unix =~ s/prefix=test/prefix=other/r), '%main::h');
ok !exists $other->{x}, 'another prefix, another namespace';
my $base = hash(engine($server->unix('&db=1')), '%main::h');
ok !exists $base->{x}, 'another database, another namespace';
done_testing;
