# The example server over real HTTP, while one of its workers is killed: every client
# gets its answers, the counters add up, and no process is left.
use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use File::Temp ();
use HTTP::Tiny;
use IO::Socket::INET;
use Test::More;
use IPC::Shm;

my $WORKERS  = 3;
my $CLIENTS  = 4;
my $REQUESTS = 60;    # of each client

for my $module (qw(Plack::Runner Starman)) {
    plan skip_all => "$module is not installed" if system("$^X -M$module -e 1 >/dev/null 2>&1") != 0;
}

my $folder = File::Temp::tempdir(CLEANUP => 1);
my $base;

# A POST, because HTTP::Tiny repeats a GET that got no answer by itself, uncounted.
sub request {
    my ($path) = @_;
    return HTTP::Tiny->new(timeout => 30)->post("$base/$path", { content => '' });
}

sub start_server {
    my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die "no port: $@";
    my $listen = '127.0.0.1:' . $socket->sockport;
    close $socket;
    $base = "http://$listen";
    defined(my $pid = fork) or die "fork: $!";
    return $pid if $pid;
    setpgrp;
    open STDERR, '>',  "$folder/log" or die $!;
    open STDOUT, '>&', \*STDERR      or die $!;    # whoever is left does not hold what the test says
    my $starman =
        'my $r = Plack::Runner->new(server => "Starman", env => "deployment", loader => "Delayed"); $r->parse_options(@ARGV); $r->run';
    my @include = map {"-I$_"} grep { !ref } @INC;
    exec $^X, @include, '-MPlack::Runner', '-e', $starman, '--', '--workers', $WORKERS, '--listen', $listen, 'eg/shm/sessions.psgi'
        or die "exec: $!";
}

# Visits its own session and the common one in turn. A request that a dying worker left
# without an answer is sent again. Says "answer" for each, and at the end how often it sent.
sub client {
    my ($number, $out)    = @_;
    my ($sent,   $before) = (0, 0);
    for my $request (1 .. $REQUESTS) {
        my $own   = $request % 2;
        my $tries = 0;
        my $response;
        do {
            die "no answer: $response->{status} $response->{content}" if ++$tries > 50;
            select undef, undef, undef, 0.02 if $tries > 1;
            $response = request('hit?session=' . ($own ? "own$number" : 'common'));
        } until $response->{status} == 200;
        $sent += $tries;
        my ($hits) = $response->{content} =~ /^(\d+) of \d+$/ or die "not an answer: $response->{content}";
        die "its own session went from $before to $hits\n" if $own && $hits <= $before;
        $before = $hits                                    if $own;
        syswrite $out, "answer 1\n";
    }
    syswrite $out, "sent $sent\n";
    return;
}

# The workers and what they have served, as any other program can see it.
sub served {
    my ($name) = grep {/\bby_worker\z/} keys %IPC::Shm::NAMEVARS;
    return %{ $IPC::Shm::NAMEVARS{$name} };
}

sub is_gone {
    my ($pid) = @_;
    return until_true(sub { !kill 0, $pid });
}

sub sum { my $sum = 0; $sum += $_ for @_; return $sum }

my $server = start_server();
ok until_true(sub { request('stats')->{success} }), 'the server answers';

pipe my $in, my $out or die $!;
my @clients = map {
    my $n = $_;
    child(sub { close $in; client($n, $out) })
} 1 .. $CLIENTS;
close $out;
my %total = (answer => 0, sent => 0);
my $victim;
while (my $line = <$in>) {
    my ($what, $count) = split ' ', $line;
    $total{$what} += $count;
    next if $victim || $total{answer} < $CLIENTS * $REQUESTS / 4;
    my %served = served();
    ($victim) = sort { $served{$b} <=> $served{$a} } keys %served;
    kill KILL => $victim;
}
ok finish(@clients),            'every client gets its answers';
ok $victim && is_gone($victim), '… though a worker was killed';
is $total{answer}, $CLIENTS * $REQUESTS, '… as many as it wanted';

my $stats    = request('stats')->{content};
my ($hits)   = $stats =~ /^hits (\d+)$/m;
my %sessions = $stats =~ /^session (\w+) (\d+)$/mg;
my %served   = served();
cmp_ok $hits, '>=', $total{answer}, 'no hit is lost';
cmp_ok $hits, '<=', $total{sent},   '… and none is counted twice';
my $in_sessions = sum(values %sessions);
ok $in_sessions >= $total{answer} && $in_sessions <= $hits, "the sessions' counts add up ($in_sessions of $hits)";
my $by_worker = sum(values %served);
ok $by_worker >= $total{answer} && $by_worker <= $hits, "… and the workers' do ($by_worker)";
is_deeply [ sort keys %sessions ], [ 'common', map {"own$_"} 1 .. $CLIENTS ], 'all sessions are there';
cmp_ok scalar(grep { $_ ne $victim } keys %served), '>=', 1, 'others have served beside the one that was killed';

ChildTest::end_groups('TERM', $server);
is scalar(grep { !is_gone($_) } keys %served), 0, 'no process is left';
IPC::Shm->cleanup;
ok !-e ShmTest::namespace_dir(), 'no file is left';
done_testing;
