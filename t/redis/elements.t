use strict;
use warnings;
use lib 't/lib';
use RedisTest;
use Test::More;

# Elements of variables that are on a server, by the same code as in memory.

my $server = server();
my $engine = engine("redis://127.0.0.1:$server->{port}/0?prefix=test");
my $h      = hash($engine, '%main::h');
my $a      = array($engine, '@main::a');
my $hash   = tied %$h;
my $array  = tied @$a;

is $hash->add(n => 2), 2, 'add';
is $array->add(1, 2),  2, '… to an array';
ok $hash->insert(new => 1),      'insert';
ok !$hash->insert(new => 2),     '… once';
ok $hash->replace(new => 1, 3),  'replace';
ok !$hash->replace(new => 1, 4), '… what is there';
is $hash->exchange(new => 5),               3,    'exchange';
is $hash->update(new => sub { $_ .= '!' }), '5!', 'update';
is $h->{new},                               '5!', '… is stored';
ok !eval {
    $hash->update(new => sub { $_ = 'lost'; die "no\n" });
    1;
}, 'a sub that dies';
is $@,        "no\n", '… passes it on';
is $h->{new}, '5!',   '… and nothing has happened';
is in_child(
    sub {
        $hash->update(new => sub { $_ .= '?' });
    }
    ),
    '5!?', '… nor is anybody locked out';
my @pids = map {
    child(
        sub {
            $hash->update(count => sub { $_++ }) for 1 .. 100;
        }
    )
} 1 .. 3;
ok finish(@pids), 'three processes update';
is $h->{count}, 300, '… none is lost';
$h->{list} = [ 1, { x => 2 } ];
is_deeply $hash->copy->{list}, [ 1, { x => 2 } ], 'copy';
ok !eval { $hash->ttl('n'); 1 }, 'no expiry here';
like $@, qr/do not vanish on Redis: there is no ttl at \S*elements\.t line/, '… says so';
done_testing;
