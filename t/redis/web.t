use strict;
use warnings;
use lib 't/lib';
use RedisTest;
use HTTP::Tiny;
use Test::More;

# The session example, unchanged, on two "hosts": two servers, each with workers of its own.

for my $module (qw(Plack::Runner Starman)) {
    plan skip_all => "$module is not installed" if system("$^X -M$module -e 1 >/dev/null 2>&1") != 0;
}
my $server = server();
$ENV{IPC_SHM_NAMESPACE} = $server->url;

sub get { my ($url) = @_; return HTTP::Tiny->new(timeout => 30)->get($url) }

sub run_web {
    my ($listen) = @_;
    defined(my $pid = fork) or die "fork: $!";
    return $pid if $pid;
    setpgrp;
    open STDERR, '>',  "$server->{dir}/web.log" or die $!;
    open STDOUT, '>&', \*STDERR                 or die $!;    # whoever is left does not hold what the test says
    my $starman =
        'my $r = Plack::Runner->new(server => "Starman", env => "deployment", loader => "Delayed"); $r->parse_options(@ARGV); $r->run';
    exec $^X, (map {"-I$_"} grep { !ref } @INC), '-MPlack::Runner', '-e', $starman, '--', '--workers', 3, '--listen', $listen,
        'eg/shm/sessions.psgi'
        or die "exec: $!";
}

# Another test may take the port before it does: then it ends, and has another one.
sub start_web {
    my ($address) = @_;
    my ($pid, $url, $ended);
    for (1 .. 20) {
        my $listen = "$address:" . RedisTest::_free_port();
        ($pid, $url) = (run_web($listen), "http://$listen");
        until_true(sub { ($ended = ChildTest::ended($pid, 0)) || get("$url/stats")->{status} == 200 });
        last if !$ended;
    }
    return ($pid, $url);
}

my ($one, $first)  = start_web('127.0.0.1');
my ($two, $second) = start_web('127.0.0.2');
is get("$_/stats")->{status}, 200, "(a server at $_)" for $first, $second;
my @clients = map {
    my $me = $_;
    child(
        sub {
            for my $i (1 .. 30) {
                my $base = ($i + $me) % 2 ? $first : $second;
                my $got  = get("$base/hit?session=" . ($i % 3 ? 'common' : "own$me"));
                die "$got->{status} $got->{content}" if $got->{status} != 200;
            }
        }
    )
} 1 .. 4;
ok finish(@clients), 'four clients, each at both servers';
my $stats = get("$first/stats")->{content};
like $stats, qr/^hits 120$/m,          'the hits of both are counted together';
like $stats, qr/^session common 80$/m, '… a session is the same on both';
like $stats, qr/^session own3 10$/m,   '… each';
is get("$second/stats")->{content}, $stats, '… and seen by both';
ChildTest::end_groups('QUIT', $one, $two);
done_testing;
