use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use Time::HiRes qw(time sleep);
use IPC::Shm;

our %h : shm;
our @jobs : shm;
our $s : shm = 0;
my $t = tied %h;

is $t->wait_change(0), '', 'no change: false on timeout';
my $began = time;
ok !$t->wait_change(0.2), 'no change: false';
cmp_ok time - $began, '>=', 0.19, '… after the time given';
$h{own} = 1;
ok !$t->wait_change(0.05), 'what this process changes itself is no change';

my $pid = child(sub { sleep 0.1; $h{x} = 1 });
ok $t->wait_change, 'another process changes it: true';
is $h{x}, 1, '… and the change is there';
finish($pid);
finish(child(sub { $h{x} = 2 }));
ok $t->wait_change(0),  'a change since the last look counts';
ok !$t->wait_change(0), '… once';
finish(child(sub { $h{x} = 3 }));
is $h{x}, 3, '(looking at it)';
ok !$t->wait_change(0), 'a change that was seen does not';

# A change is not lost, whenever it comes: ping-pong.
{
    my $rounds  = 2000;
    my $partner = child(
        sub {
            my $p = tied $s;
            for my $i (1 .. $rounds) {
                while ($s != 2 * $i - 1) { $p->wait_change(30) || die "lost at $s\n" }
                $s = 2 * $i;
            }
        }
    );
    my $p    = tied $s;
    my $lost = 0;
    for my $i (1 .. $rounds) {
        $s = 2 * $i - 1;
        while ($s != 2 * $i) { $p->wait_change(30) or $lost++, last }
        last if $lost;
    }
    is $lost, 0, "$rounds changes to and fro, none lost";
    kill KILL => $partner if $lost;
    ok finish($partner), '… on the other side either';
}
# A queue with many consumers.
{
    my $consumers = 4;
    our %done : shm;
    my @pids = map {
        child(
            sub {
                my $q = tied @jobs;
                while (1) {
                    my $job = shift @jobs;
                    if (!defined $job) { $q->wait_change(10); next }
                    last if $job eq 'end';
                    $done{$job} = $$;
                }
            }
        )
    } 1 .. $consumers;
    for my $n (1 .. 400) { push @jobs, "job $n"; sleep 0.001 if $n % 50 == 0 }
    push @jobs, ('end') x $consumers;
    ok finish(@pids), 'consumers of a queue that wait for its change all end';
    is scalar(keys %done), 400, '… and have done each job';
}
# Under a write lock the change comes with the unlock.
{
    my $holder = child(sub { $t->writelock; $h{step} = 1; sleep 0.2; $h{step} = 2; $t->unlock });
    sleep 0.1;
    ok $t->wait_change(30), 'a change under a write lock';
    is $h{step}, 2, '… is seen when it is complete';
    finish($holder);
}
# Signals.
{
    my $ran = 0;
    local $SIG{ALRM} = sub { $ran++ };
    Time::HiRes::alarm(0.1);
    ok !$t->wait_change(0.3), '(waiting)';
    is $ran, 1, 'signal handlers run while waiting';
    local $SIG{ALRM} = sub { die "alarm\n" };
    eval { Time::HiRes::alarm(0.1); $t->wait_change };
    is $@, "alarm\n", 'a handler that dies ends the wait';
}
# A killed writer: who waits for a change goes on waiting, and sees the next.
{
    my $writer = child(sub { $h{k} = $_ for 1 .. 1e9 });
    ok $t->wait_change(30), '(it writes)';
    kill KILL => $writer;
    waitpid $writer, 0;
    my $other = child(sub { sleep 0.2; $h{after} = 1 });
    my $got   = 0;
    $got ||= $h{after} while !$got && $t->wait_change(30);
    is $h{after}, 1, 'after a writer was killed changes are still seen';
    finish($other);
}
done_testing;
