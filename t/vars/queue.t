use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use Time::HiRes qw(sleep time);
use IPC::Shm;

# A queue that loses no job.

our @q : shm;
our %done : shm;
our $worked : shm;
my ($queue, $done) = (tied @q, tied %done);

sub dies {
    my ($code) = @_;
    return eval { $code->(); 1 } ? '' : $@;
}

# --- one process
@q = (1 .. 5);
is $queue->take, 1, 'take';
my ($job, $ticket) = $queue->reserve;
is $job, 2, 'reserve gives the next';
like $ticket, qr/\A[0-9a-f]{48}\z/, '… and a ticket';
is "@q", '3 4 5', 'what is reserved is not in the array';
my ($other, $other_ticket) = $queue->reserve(0);
is $other, 3, 'reserve another';
my @reserved = $queue->reserved;
is join(',', map {"$_->{job}:$_->{pid}:$_->{dead}"} @reserved), "2:$$:0,3:$$:0", 'reserved lists them';
cmp_ok abs($reserved[0]{since} - time), '<', 60, '… since when';
is $reserved[0]{ticket}, $ticket, '… by which ticket';
ok $queue->release($ticket), 'release';
is "@q", '2 4 5', '… is at the head again';
ok !$queue->release($ticket),    '… once';
ok !$queue->done($ticket),       '… and cannot be done with';
ok $queue->done($other_ticket),  'done';
ok !$queue->done($other_ticket), '… once';
is scalar($queue->reserved), 0, 'nothing is reserved';
is_deeply [ map { $queue->take(0) } 1 .. 3 ], [ 2, 4, 5 ], 'the others, in order';
my $then = time;
is $queue->take(0.1), undef, 'an empty queue: undef after the time';
cmp_ok time - $then, '>=', 0.09, '… which it takes';
is scalar(() = $queue->reserve(0)), 0, 'reserve: an empty list';
push @q, { id => 1, list => [ 1, 2 ] };
($job, $ticket) = $queue->reserve(0);
is $job->{list}[1], 2, 'a job of references';
IPC::Shm->recover;
is(($queue->reserved)[0]{job}{list}[1], 2, '… is kept while it is reserved');
undef $job;
$queue->release($ticket);
is $q[0]{list}[1], 2, '… and comes back';
@q = ('x' x 100_000);
($job, $ticket) = $queue->reserve(0);
is length(($queue->reserved)[0]{job}), 100_000, 'a large job';
@q = ();
is scalar(() = $queue->reserved), 1, 'emptying the array leaves what is reserved';
$queue->done($ticket);
push @q, undef;
my @got = $queue->reserve(0);
is scalar(@got), 2, 'undef as a job';
$queue->done($got[1]);

# --- done with a sub
push @q, 'a';
(undef, $ticket) = $queue->reserve(0);
like dies(
    sub {
        $queue->done($ticket, sub { push @q, 'follows'; die "no\n" });
    }
    ),
    qr/\Ano\n\z/, 'a sub that dies';
is scalar(() = $queue->reserved), 1,  '… leaves it reserved';
is "@q",                          '', '… and the queue as it was';
ok $queue->done($ticket, sub { push @q, 'follows'; $done{a} = 1 }), 'done with a sub';
is "@q $done{a}", 'follows 1', '… has run';
my $ran = 0;
ok !$queue->done($ticket, sub { $ran = 1 }), 'a ticket that is none any more';
is $ran, 0, '… does not run it';

# --- refused
like dies(sub { $queue->done('abc') }),      qr/'abc' is not a ticket that reserve\(\) gave at \S*queue\.t line/, 'no ticket';
like dies(sub { $queue->done }),             qr/done takes a ticket, and perhaps a sub at \S*queue\.t line/,      'none at all';
like dies(sub { $queue->take(-1) while 1 }), qr/number of seconds, .* at \S*queue\.t line/,                       'negative seconds';
like dies(sub { (tied %done)->reserve }),    qr/Only arrays are queues: there is no reserve .*queue\.t line/,     'a hash is no queue';

# --- waiting
@q = ();
{
    my $pid = child(sub { my $got = $queue->take(30); $done{got} = $got });
    sleep 0.1;
    push @q, 'wake';
    ok finish($pid), 'a waiter';
    is $done{got}, 'wake', '… is woken';
}

# --- who dies
@q = (1 .. 4);
{
    my $pid = child(
        sub {
            my @jobs = map { [ $queue->reserve(0) ] } 1 .. 2;
            kill STOP => $$;
            sleep 60;
        }
    );
    ok stopped($pid), 'a worker stops with two jobs in hand';
    ($job, $ticket) = $queue->reserve(0);
    is $job, 3, '… they are its own';
    kill KILL => $pid;
    waitpid $pid, 0;
    is_deeply [ map {"$_->{job}$_->{dead}"} $queue->reserved ], [qw(11 21 30)], 'it is killed: reserved says so';
    is_deeply [ map { ($queue->reserve(0))[0] } 1 .. 3 ],       [ 1, 2, 4 ],    '… its jobs come first, in order';
    is scalar(() = $queue->reserve(0)), 0, '… once';
    $queue->done($_->{ticket}) for $queue->reserved;
}
SKIP: {
    skip 'on Redis shift sees the array alone', 4 if $ENV{SHM_TEST_SERVER};
    @q = (1 .. 3);
    my $pid = child(sub { $queue->reserve(0); kill STOP => $$; sleep 60 });
    ok stopped($pid), 'a worker stops with a job in hand';
    is shift @q, 2, '… shift gives the next';
    kill KILL => $pid;
    waitpid $pid, 0;
    is shift @q, 1, '… and, when it is dead, its job';
    is_deeply [ scalar(() = $queue->reserved), @q ], [ 0, 3 ], '… once';
}
@q = ('mine');
{
    my $pid = child(sub { $queue->reserve(0); kill STOP => $$; sleep 60 });
    stopped($pid);
    my $waiter = child(sub { $done{inherited} = $queue->take(30) });
    sleep 0.1;
    kill KILL => $pid;
    waitpid $pid, 0;
    ok finish($waiter), 'a waiter takes over from a dead one';
    is $done{inherited}, 'mine', '… its job';
}

# --- killed in the middle, at random: no job is lost, order is kept otherwise
for my $round (1 .. 12) {
    @q    = (1 .. 300);
    %done = ();
    my @pids = map {
        child(
            sub {
                while (my ($n, $its) = $queue->reserve(0)) {
                    if ($n % 7 == 0 && $done->insert("back$n", 1)) { $queue->release($its); next }
                    $queue->done($its, sub { $done->insert($n, $$) });
                }
            }
        )
    } 1 .. 3;
    sleep 0.002 + rand 0.015;
    kill KILL => @pids[ 0, 1 ];
    waitpid $_, 0 for @pids;
    while (my ($n, $its) = $queue->reserve(0)) {
        $queue->done($its, sub { $done->insert($n, $$) });
    }
    my $lost = join ' ', grep { !$done{$_} } 1 .. 300;
    is $lost,                         '', "killed at random, $round: no job is lost" or last;
    is scalar(() = $queue->reserved), 0,  '… and none is left';
}

# --- memory
@q = ();
IPC::Shm->recover;
my $before = IPC::Shm->stats->{bytes_used};
for (1 .. 2000) { push @q, "job $_"; my (undef, $its) = $queue->reserve(0); $queue->done($its) }
cmp_ok(IPC::Shm->stats->{bytes_used}, '<=', $before + 8192, 'nothing is left in memory');
push @q, { n => 1 };
(undef, $ticket) = $queue->reserve(0);
undef $job;
$queue->remove;
undef $queue;
IPC::Shm->recover;
is scalar(grep { ($_->{type} // '') eq 'HASH' && !defined $_->{name} } IPC::Shm->list), 0, 'a queue that is removed frees what is reserved';

IPC::Shm->cleanup;
done_testing;
