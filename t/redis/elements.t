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

# Elements that vanish (t/vars/expiry.t has the rest): references among them, changes that are open.
{
    my $count = sub { $engine->recover; $engine->stats->{variables} };
    my $n     = $count->();
    my @seen  = in_time(
        0.6,
        sub {
            $hash->store("job$_" => { n => $_ }, 0.6) for 1 .. 5;
            return ($count->(), in_child(sub { my $job = $h->{job1}; $job && $job->{n} }));
        }
    );
    is $seen[0], $n + 5, 'references that are to vanish';
    is $seen[1], 1,      '… are found';
    select undef, undef, undef, 0.7;
    ok !grep({/job/} keys %$h), '… vanish';
    $hash->sweep;
    delete $h->{x};
    %{ $hash->{kids} } = ();
    is $count->(), $n, '… with what they lead to';

    $hash->begin;
    $hash->store(in => 1, 50);
    $hash->touch(new => 70);
    $h->{own} = 1;
    cmp_ok $hash->ttl('in'),  '<=', 50, 'in an open change';
    cmp_ok $hash->ttl('new'), '>',  50, '… touched';
    $hash->commit;
    cmp_ok $hash->ttl('in'),  '>', 40, '… stored';
    cmp_ok $hash->ttl('new'), '>', 60, '… with all times';
    is $hash->ttl('own'), undef, '… and without';
    $hash->begin;
    $hash->touch(in => undef);
    $hash->abort;
    cmp_ok $hash->ttl('in') // 0, '>', 40, '… undone';
}

# Where elements vanish all looks are by the server's time.
{
    my $loose  = engine($server->url('&stale=0.1'));
    my $copy   = hash($loose, '%main::h');
    my ($seen) = in_time(0.5, sub { $hash->store(brief => 'x', 0.5); $copy->{brief} });
    is $seen, 'x', 'a copy';
    select undef, undef, undef, 0.7;
    is $copy->{brief},                                  undef, '… does not outlast what it is of';
    is join(' ', map { $_ // '-' } @$h{qw(brief own)}), '- 1', 'slices';
    my @pids = map {
        child(
            sub {
                for my $i (1 .. 200) { $hash->store("k$i" => $i, 0.01); $hash->add(k0 => 1) }
            }
        )
    } 1 .. 4;
    ok finish(@pids), 'four processes store what vanishes';
    is $h->{k0}, 800, '… none of their additions is lost';
    select undef, undef, undef, 0.02;
    $hash->sweep;
    is scalar(keys %$h), tied(%$h)->SCALAR, '… and the count is right';
    $hash->limit(3);
    is scalar(keys %$h), 3, 'a limit';
    %$h = map { ($_ => 1) } 1 .. 10;
    is scalar(keys %$h), 10, '… what one change stores stays';
    my $used = $h->{4};
    $h->{11} = 1;
    is join(' ', sort keys %$h) =~ s/\b(?!11|4)\d+\b/x/gr, '11 4 x', '… until the next, and what was used last';
}
done_testing;
