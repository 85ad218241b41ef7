use strict;
use warnings;
use lib 't/lib';
use RedisTest;
use Test::More;
use Time::HiRes qw(time sleep);

# Two hosts and a server: three network namespaces, joined by pairs of veth. Then the
# cable of one host is drawn.

my $main = $$;
my @made;
my $tag = "shm$$";

sub run { my @command = @_; my $said = qx{@command 2>&1}; return $? == 0 ? undef : "'@command': $said" }

sub networks {
    for my $name (qw(s a b)) {
        my $why = run("ip netns add $tag$name");
        return $why if defined $why;
        push @made, "$tag$name";
    }
    for my $host ([ 'a', 1 ], [ 'b', 2 ]) {
        my ($name, $net) = @$host;
        for my $command (
            "ip link add $tag$name type veth peer name eth0 netns $tag$name",
            "ip link set $tag$name netns ${tag}s",
            "ip -n ${tag}s addr add 10.77.$net.1/24 dev $tag$name",
            "ip -n ${tag}s link set $tag$name up",
            "ip -n $tag$name addr add 10.77.$net.2/24 dev eth0",
            "ip -n $tag$name link set eth0 up",
            )
        {
            my $why = run($command);
            return $why if defined $why;
        }
    }
    return;
}

END {
    local $?;
    if ($$ == $main) { run("ip netns del $_") for @made }
}

plan skip_all => 'ip (iproute2) is not installed' if defined run('ip -V');
my $why = networks();
plan skip_all => "no network namespaces here: $why" if defined $why;
run("ip netns exec ${tag}s sysctl -w net.ipv4.tcp_retries2=5");

# The server is started in its namespace; its socket is a file, by which this test talks to it.
my $server = RedisTest::server_by([ 'ip', 'netns', 'exec', "${tag}s", RedisTest::binary() ], 'tcp-keepalive 1');

sub on_host {
    my ($name, $net, $code) = @_;
    my $url = "redis://10.77.$net.1:$server->{port}/0?prefix=test&timeout=3";
    my $program =
        "use strict; use warnings; use RedisTest; use Time::HiRes qw(time sleep); \$| = 1; my \$e = engine('$url'); my \$h = hash(\$e, '%main::h'); my \$q = array(\$e, '\@main::q'); my \$t = tied %\$h; $code";
    my $pid = open my $out, '-|', 'ip', 'netns', 'exec', "$tag$name", $^X, (map {"-I$_"} grep { !ref } @INC), '-e', $program;
    die "cannot run: $!" if !$pid;
    return { pid => $pid, out => $out };
}
sub says { my ($host) = @_; my $line = ChildTest::read_line($host->{out}); chomp $line if defined $line; return $line // 'nothing' }

my $engine = engine($server->unix);
my $h      = hash($engine, '%main::h');
my $q      = array($engine, '@main::q');
$h->{n} = $h->{lock} = 0;
push @$q, 1 .. 200;

# A counter, a queue and a lock.
{
    my $code =
        'for (1 .. 200) { $t->add("n", 1); $t->lock("write"); my $n = $h->{lock}; $h->{lock} = $n + 1; $t->unlock } my $n = 0; while (defined(my $job = shift @$q)) { $n += $job } print "$n\n";';
    my @hosts = (on_host('a', 1, $code), on_host('b', 2, $code));
    my @sums  = map { says($_) } @hosts;
    for (@hosts) { finish($_->{pid}); close $_->{out} }
    is $h->{n},             400,   'two hosts share a counter';
    is $h->{lock},          400,   '… a lock';
    is $sums[0] + $sums[1], 20100, '… and a queue: each job once';
}

# One goes away, with the lock.
{
    my $is_cut = "$server->{dir}/cut";    # a file that says so
    my $one    = on_host('a', 1,
              '$t->lock("write"); $h->{owner} = "a"; print "has it\n"; for (1 .. 1200) { last if -e "'
            . $is_cut
            . '"; sleep 0.05 } my $ok = eval { $h->{n} = "by a"; 1 }; print $ok ? "stored\n" : $@; '
            . 'for (1 .. 200) { last if eval { my $x = $q->[0]; 1 }; sleep 0.1 } $ok = eval { $h->{n} = "by a"; 1 }; print $ok ? "stored\n" : $@; $t->unlock; $h->{back} = 1; print "back\n"'
    );
    is says($one), 'has it', 'host A has the lock';
    my $two = on_host('b', 2,
        'print "waits\n"; my $began = time; $t->lock("write"); print time - $began, "\n"; $h->{owner} = "b"; $t->unlock; $t->add("more", 1) for 1 .. 500; print "$h->{more}\n"'
    );
    is says($two), 'waits', 'host B waits for it';
    run("ip -n ${tag}s link set ${tag}a down");
    open my $file, '>', $is_cut or die "cannot write $is_cut: $!";
    my $waited = says($two);
    cmp_ok $waited, '<', 30, sprintf 'A goes away (link down): B has the lock after %.1f seconds', $waited;
    is says($two), 500, '… and works on';
    like says($one), qr/Lost the connection to the Redis server at 10\.77\.1\.1:\d+ .*may have happened/,
        'A gets an exception, which says which server';
    run("ip -n ${tag}s link set ${tag}a up");
    like says($one), qr/The lock on the shared %main::h was lost/, '… and when it is back it learns that it has lost the lock';
    is says($one),  'back', '… then it works';
    is $h->{owner}, 'b',    'B was the last';
    isnt $h->{n},   'by a', '… and nothing of A was stored without the lock';
    for ($one, $two) { finish($_->{pid}); close $_->{out} }
}
$server->stop;
done_testing;
