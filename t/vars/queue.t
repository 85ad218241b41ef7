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

# --- done with a sub that stores elsewhere: one change
our $counted : shm = 0;
our @log : shm;
our %tree : shm;
our @q2 : shm;

sub one_job {
    my ($what) = @_;
    push @q, $what;
    return ($queue->reserve(0))[1];
}
@q      = ();
$ticket = one_job('b');
like dies(
    sub {
        $queue->done(
            $ticket,
            sub {
                $counted++;
                (tied $counted)->add(1);
                $done{b} = 1;
                $tree{deep}{er} = 1;
                push @log, 1, 2;
                @tree{qw(x y)} = (1, 2);
                (tied %done)->insert(c => 1);
                (tied %done)->update(d => sub { $_ = 5 });
                die "no: $counted @log $done{d} $tree{deep}{er}\n";
            }
        );
    }
    ),
    qr/\Ano: 2 1 2 5 1\n\z/, 'the sub sees what it stored';
is join(',', $counted, scalar @log, join(' ', sort keys %done), scalar keys %tree), '0,0,a,0',
    '… and when it dies nothing of that is there'
    or diag explain [ $counted, [@log], {%done}, {%tree} ];
is scalar(() = $queue->reserved), 1, '… and the job is reserved';
my ($first, $second) = map { (tied $_)->serial } $counted;
ok $queue->done($ticket, sub { $counted++ for 1 .. 3; $tree{deep}{er} = 1; $tree{deep}{est} = 2; @log = (7) }), 'done';
is join(',', $counted, $tree{deep}{er}, $tree{deep}{est}, "@log"), '3,1,2,7', '… and all of it is there';
is + (tied $counted)->serial - $first,                             1,         '… as one change';
is scalar(() = $queue->reserved),                                  0,         '… with the end of the job';
$ticket = one_job('c');
my $half = child(
    sub {
        $queue->done($ticket, sub { $counted = 100; push @log, 8; kill STOP => $$ });
    }
);
ok stopped($half), 'a worker stops in its sub';
is "$counted @log", '3 7', '… others see nothing of it';
my $waits = child(sub { (tied $counted)->add(1) });
sleep 0.2;
is $counted, 3, '… who stores there waits';
kill KILL => $half;
waitpid $half, 0;
ok finish($waits), '… until it is killed';
is "$counted @log", '4 7', '… then nothing of it has happened';
is(($queue->reserved)[0]{job}, 'c', '… and the job is reserved');
ok $queue->done($ticket, sub { (tied @log)->begin; push @log, 8; (tied @log)->commit; push @log, 9 }), 'begin and commit in the sub';
is "@log", '7 8 9', '… are part of it';
$ticket = one_job('d');
like dies(
    sub {
        $queue->done($ticket, sub { $counted = 1; (tied $counted)->begin; (tied $counted)->abort });
    }
    ),
    qr/part of that of done/,
    '… abort dies';
like dies(
    sub {
        $queue->done(
            $ticket,
            sub {
                $queue->done($ticket, sub { });
            }
        );
    }
    ),
    qr/cannot call done with a sub/, 'no sub within a sub';
like dies(
    sub {
        $queue->begin;
        $queue->done($ticket, sub { });
    }
    ),
    qr/open already: done with a sub is one of its own at \S*queue\.t line/,
    'nor within a change';
$queue->abort;
$counted = 4;
ok !$queue->done($ticket, sub { $counted = 1; no warnings 'exiting'; last }), 'a sub that is left by last';
is "$counted " . $queue->reserved, '4 1', '… is undone';
my $forks = child(
    sub {
        $queue->done(
            $ticket,
            sub {
                push @log, 10;
                my $pid = fork // die;
                if (!$pid) { $done{child} = 1; exit 0 }
                waitpid $pid, 0;
                push @log, 11;
            }
        );
    }
);
ok finish($forks), 'a sub that forks';
is "@log",       '7 8 9 10 11', '… stores once';
is $done{child}, 1,             '… what the child stores is its own';
delete $done{child};
# two that store in opposite orders
$counted = 0;
@log     = (0);
my @both = map {
    my $other = $_;
    child(
        sub {
            my ($l, $c, $mine) = (tied @log, tied $counted, $other ? tied @q2 : $queue);
            for (1 .. 300) {
                $other ? push @q2, 'x' : push @q, 'x';
                my (undef, $its) = $mine->reserve(0);
                my @order = ($other ? sub { $c->add(1) } : (), sub { $l->add(0, 1) }, $other ? () : sub { $c->add(1) });
                until (
                    eval {
                        $mine->done($its, sub { $_->() for @order });
                    }
                    )
                {
                    die $@ if $@ !~ /\ADeadlock on the shared/;
                }
            }
        }
    )
} 0, 1;
is_deeply [ map { finish($_) ? 1 : 0 } @both ], [ 1, 1 ], 'in opposite orders: one is told, and does it again';
is "$counted $log[0]", '600 600', '… none is lost';
# killed in the middle, at random
for my $round (1 .. 12) {
    @q       = (1 .. 300);
    %done    = ();
    $counted = 0;
    my $work = sub {
        while (my ($n, $its) = $queue->reserve(0)) {
            $queue->done($its, sub { $done{$n}++; (tied $counted)->add($n); push @q, 0.5 if $n == 300 });
        }
    };
    my @pids = map { child($work) } 1 .. 3;
    sleep 0.002 + rand 0.01;
    kill KILL => @pids[ 0, 1 ];
    waitpid $_, 0 for @pids;
    $work->();
    is $counted,                                      150 * 301 + 0.5, "killed at random, $round: each job is done once" or last;
    is join(' ', grep { $done{$_} != 1 } keys %done), '',              '… and written down once';
}
%tree = ();

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
    is_deeply [ map {"$_->{job}:$_->{pid}:$_->{dead}"} $queue->reserved ], [ "1:$pid:1", "2:$pid:1", "3:$$:0" ],
        'it is killed: reserved says so';
    is_deeply [ map { ($queue->reserve(0))[0] } 1 .. 3 ], [ 1, 2, 4 ], '… its jobs come first, in order';
    is scalar(() = $queue->reserve(0)), 0, '… once';
    $queue->done($_->{ticket}) for $queue->reserved;
}
{
    @q = ({ n => 1 }, 2, 3);
    my $pid = child(sub { $queue->reserve(0); kill STOP => $$; sleep 60 });
    ok stopped($pid), 'a worker stops with a job in hand';
    is shift @q, 2, '… shift gives the next';
    kill KILL => $pid;
    waitpid $pid, 0;
    is shift(@q)->{n}, 1, '… and, when it is dead, its job';
    is_deeply [ scalar(() = $queue->reserved), @q ], [ 0, 3 ], '… once';
    is_deeply [ shift @q, shift @q ], [ 3, undef ], '… then the others';
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
