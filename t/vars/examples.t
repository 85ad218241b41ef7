use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use IO::Socket::INET;
use IPC::Shm;

my $perl = join ' ', $^X, map {"'-I$_'"} grep { !ref } @INC;

like `$perl eg/shm/jobs.pl 60 15 2>&1`, qr/\A240 jobs, 15 kills: 0 lost, 0 wrong, 240 in the ledger, 240 counted\n/,
    'the job queue loses none, whatever is killed';
SKIP: {
    skip 'operators are not wrapped: a list assignment is not one change', 1 if !has_batches();
    like `$perl eg/shm/config.pl 3 2>&1`, qr/\A3 of 3 workers run version 20\n\z/, 'the configuration reaches all workers, whole';
}

# The store of sessions has what Plack::Middleware::Session asks for.
{
    require './eg/shm/SessionStore.pm';    ## no critic (an example)
    my $store = SessionStore->new(name => 'test.sessions', seconds => 600);
    $store->store(ann => { cart => [1] });
    is_deeply $store->fetch('ann'), { cart => [1] }, 'a session that is stored is fetched';
    is in_child(sub { SessionStore->new(name => 'test.sessions')->fetch('ann')->{cart}[0] }), 1, '… by other processes, too';
    ok !tied %{ $store->fetch('ann') }, '… as a copy';
    my $brief = SessionStore->new(name => 'test.sessions', seconds => 0.3);
    my $pid   = child(
        sub {
            for (my $i = 2;; $i++) {
                $brief->store(bob => { map { $_ => $i } 1 .. 10 });
            }
        }
    );
    until_true(sub { $store->fetch('bob') });
    kill KILL => $pid;
    waitpid $pid, 0;
    my %values = map { $_ => 1 } values %{ $store->fetch('bob') // { none => 1 } };
    is keys %values, 1, 'a worker that is killed leaves a session whole';
    $store->remove('ann');
    is $store->fetch('ann'), undef, 'removed';
    ok until_true(sub { !$store->fetch('bob') }), 'and vanished by itself';
}

SKIP: {
    my ($starman) = grep {-x} map {"$_/starman"} split /:/, $ENV{PATH};
    skip 'starman is not installed', 5 if !$starman || !eval { require Plack; 1 };
    my $listen = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 0) or die "no port: $!";
    my $port   = $listen->sockport;
    close $listen;
    my $server = fork // die $!;
    if (!$server) {
        setpgrp;
        open STDERR, '>',  '/dev/null' or die $!;
        open STDOUT, '>&', \*STDERR    or die $!;
        exec $^X, (map {"-I$_"} grep { !ref } @INC), $starman, '--listen', "127.0.0.1:$port", '--workers', 3, '--env', 'deployment',
            'eg/shm/sessions.psgi';
        die "cannot start starman: $!";
    }
    my $get = sub {
        my ($path) = @_;
        my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 30) or return;
        print {$socket} "GET $path HTTP/1.0\r\nHost: localhost\r\n\r\n";
        local $/ = undef;
        my $answer = <$socket>;
        return defined $answer && $answer =~ m{\AHTTP/1\.\d 200} ? $answer =~ s/\A.*?\r\n\r\n//sr : undef;
    };
    ok until_true(sub { defined $get->('/stats') }), 'the server is up';
    my @clients = map {
        my $n = $_;
        child(
            sub {
                for my $i (1 .. 50) { defined $get->('/hit?session=user' . ($i % 5)) or die "no answer\n" }
            }
        )
    } 1 .. 6;
    ok finish(@clients), 'six clients at once have all been answered';
    my $stats = $get->('/stats') // '';
    like $stats, qr/^hits 300$/m, 'the counter of all workers adds up';
    is join(' ', $stats =~ /^session user\d (\d+)$/mg), '60 60 60 60 60', '… and so do the sessions';
    my ($workers) = $stats =~ /^workers (\d+)/m;
    cmp_ok $workers // 0, '>=', 1, '… of the workers that were there';
    ChildTest::end_groups('TERM', $server);
}
IPC::Shm->cleanup;
done_testing;
