# The examples of IPC::Shm run, and their sums add up. The server is a real one, on
# loopback, with clients of its own; one of its workers is killed in between.
use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use HTTP::Tiny;
use IO::Socket::INET;
use Test::More;
use IPC::Shm;

my @include = map {"-I$_"} grep { !ref } @INC;

sub example {
    my ($name) = @_;
    open my $out, '-|', $^X, @include, "eg/$name" or die "cannot run: $!";
    my $text = do { local $/ = undef; <$out> };
    close $out;
    return ($?, $text);
}

for my $case ([ 'shm-jobs.pl', qr/\A2000 jobs done, 2000 results, sum 2668667000\n\z/ ],
    [ 'shm-config.pl', qr/\A3 workers use version 20\n\z/ ])
{
    my ($name,   $expected) = @$case;
    my ($status, $text)     = example($name);
    is $status, 0, "$name succeeds";
    like $text, $expected, '… and prints what it should';
    IPC::Shm->recover;
    is_deeply [ IPC::Shm->list ], [], '… and leaves no variable';
}

# --- the server ------------------------------------------------------------

my $WORKERS  = 3;
my $CLIENTS  = 4;
my $REQUESTS = 60;    # of each client
my $base;

sub get {
    my ($path) = @_;
    return HTTP::Tiny->new(timeout => 30, keep_alive => 0)->get("$base/$path");
}

sub start_server {
    my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "no port: $@";
    my $port   = $socket->sockport;
    close $socket;
    $base = "http://127.0.0.1:$port";
    my $pid = fork // die "fork: $!";
    return $pid if $pid;
    open STDERR, '>', ShmTest::namespace_dir() . '.log' or die $!;
    exec $^X, @include, '-MPlack::Runner', '-e',
        'my $r = Plack::Runner->new(server => "Starman", env => "deployment", loader => "Delayed"); $r->parse_options(@ARGV); $r->run',
        '--', '--workers', $WORKERS, '--listen', "127.0.0.1:$port", 'eg/shm-server.psgi';
    die "exec: $!";
}

# A client: visits its own session and the common one in turn. Requests that a dying
# worker left without an answer are repeated. Reports answers and attempts.
sub client {
    my ($number, $out) = @_;
    my %tried    = (answered => 0, sent => 0);
    my $progress = 0;
    for my $request (1 .. $REQUESTS) {
        my $session = $request % 2 ? "own$number" : 'common';
        my ($response, $tries) = (undef, 0);
        until ($response && $response->{status} == 200) {
            die "no answer: $response->{status} $response->{content}" if ++$tries > 50;
            select undef, undef, undef, 0.02 if $tries > 1;
            $tried{sent}++;
            $response = get("visit?session=$session");
        }
        $tried{answered}++;
        die "visits of its own session go backwards\n" if $session ne 'common' && $response->{content} <= $progress;
        $progress = $response->{content}               if $session ne 'common';
        syswrite $out, "worker $response->{headers}{'x-worker'}\n";
    }
    syswrite $out, "sent $tried{sent}\nanswered $tried{answered}\n";
    return;
}

sub is_gone {
    my ($pid) = @_;
    return until_true(sub { !kill 0, $pid });
}

SKIP: {
    for my $module (qw(Plack::Runner Starman)) {
        skip "$module is not installed", 9 if system("$^X -M$module -e 1 >/dev/null 2>&1") != 0;
    }
    my $master = start_server();
    my $up     = until_true(sub { get('stats')->{success} });
    ok $up, 'the server answers';

    my %total = (sent => 0, answered => 0);
    my (%worker, $victim);
    pipe my $in, my $out or die $!;
    my @clients = map {
        my $n = $_;
        child(sub { close $in; client($n, $out) })
    } 1 .. $CLIENTS;
    close $out;
    my $answers = 0;
    while (my $line = <$in>) {
        my ($what, $number) = split ' ', $line;
        if ($what ne 'worker') { $total{$what} += $number; next }
        $worker{$number}++;
        next if ++$answers != $CLIENTS * $REQUESTS / 4;
        $victim = $number;
        kill KILL => $victim;
    }
    ok finish(@clients),            'every client gets all its answers, though a worker was killed';
    ok $victim && is_gone($victim), '(it is dead)';
    cmp_ok scalar(keys %worker), '>', 1, 'several workers answered';

    my $stats     = get('stats')->{content};
    my ($visits)  = $stats =~ /^visits (\d+)$/m;
    my %visits_of = $stats =~ /^session (\w+) (\d+) \d+$/mg;
    my $sessions  = 0;
    $sessions += $_ for values %visits_of;
    is $total{answered}, $CLIENTS * $REQUESTS, 'as many answers as requests';
    ok $visits >= $total{answered}   && $visits <= $total{sent}, "no visit is lost, and none is counted twice ($visits)";
    ok $sessions >= $total{answered} && $sessions <= $visits,    "… and the sessions' counts add up to it ($sessions)";
    is scalar(grep { ($visits_of{$_} // 0) < $REQUESTS / 2 } map {"own$_"} 1 .. $CLIENTS), 0, 'each session is there';

    kill TERM => $master;
    waitpid $master, 0;
    is scalar(grep { !is_gone($_) } keys %worker), 0, 'no process is left';
}

IPC::Shm->cleanup;
ok !-e ShmTest::namespace_dir(), 'no file is left';
done_testing;
