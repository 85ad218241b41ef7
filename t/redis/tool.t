use strict;
use warnings;
use lib 't/lib';
use RedisTest;
use Test::More;

# shmpool on a namespace that is on a server.

my $server = server('user default on nopass ~* &* +@all');
$server->ask(split / /, substr IPC::Shm::Engine::Redis::acl('app', 'test', 's3cret') =~ s/\Auser/ACL SETUSER/r, 0);
my $url    = "redis://app:s3cret\@127.0.0.1:$server->{port}/0?prefix=test";
my $engine = engine($url);
my $h      = hash($engine, '%main::config');
%$h = (colour => 'green', list => [ 1, 2, 3 ]);

sub tool {
    my (@arguments) = @_;
    my $command     = join ' ', map {"'$_'"} $^X, (map {"-I$_"} grep { !ref } @INC), 'script/shmpool', @arguments;
    my $said        = qx{$command 2>&1 </dev/null};
    unlike $said, qr/s3cret/, "$arguments[0]: no password";
    return $said;
}
like tool('vars', '--namespace', $url), qr/%main::config\s+hash\s+2\b/, 'vars';
like tool('vars', '--json',      '--namespace', $url),            qr/"namespace"\s*:\s*"redis:\/\/app\@127/, '… as JSON';
like tool('dump', '--namespace', $url,          '%main::config'), qr/"colour"\s*:\s*"green"/,                'dump';
tool('set', '--namespace', $url, '%main::config', '{"colour":"red","n":[1,{"x":2}]}');
is_deeply [ $h->{colour}, $h->{n}[1]{x} ], [ 'red', 2 ], 'set';
tied(%$h)->lock('write');
like tool('set', '--wait', '0.1', '--namespace', $url, '%main::config', '{}'), qr/is locked by /, '… not while it is locked';
tied(%$h)->unlock;
ok defined tool('gc', '--namespace', $url), 'gc';
tool('rm', '--namespace', $url, '%main::config');
ok !$engine->names, 'rm';
hash($engine, '%main::other')->{x} = 1;
tool('cleanup', '--yes', '--namespace', $url);
ok !$engine->names, 'cleanup';
$server->stop;
like tool('vars', '--namespace', $url), qr/Cannot reach the Redis server at 127\.0\.0\.1/, 'a server that is not there';
done_testing;
