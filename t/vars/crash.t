use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use Time::HiRes qw(sleep time);
use IPC::Shm;

# Writers are killed at random points, thousands of times. What they leave must
# be the last published state: whole, readable and writable at once by the others,
# and recovery must find all blocks again.

my $rounds = $ENV{SHM_KILLS} || 400;

our %h : shm;
our @queue : shm;
our $counter : shm = 0;
our %tree : shm;

sub kill_writers {
    my ($rounds, $workers, $work, $check) = @_;
    my @pids = map { child($work) } 1 .. $workers;
    for my $round (1 .. $rounds) {
        sleep rand 0.004;
        my $at = int rand @pids;
        kill KILL => $pids[$at];
        waitpid $pids[$at], 0;
        my $wrong = $check->($round);
        if (defined $wrong) { fail "round $round: $wrong"; kill KILL => @pids; finish(@pids); return 0 }
        $pids[$at] = child($work);
    }
    kill KILL => @pids;
    finish(@pids);
    return 1;
}

# Blocks in use, as the namespace counts them and as its variables need them.
sub blocks_agree {
    IPC::Shm->recover;
    my $stats  = IPC::Shm->stats;
    my $needed = 0;
    $needed += $_->{blocks} for IPC::Shm->list;
    return $stats->{blocks} == $needed ? 1 : diag("blocks: $stats->{blocks}, needed: $needed") && 0;
}

# A hash whose every list assignment is whole: all values the same.
{
    my $work = sub {
        srand $$;
        for (my $i = 1;; $i++) {
            my $n     = 1 + int rand 40;
            my $value = "$$-$i-" . 'x' x rand 300;
            %h = map { ("key$_" => $value) } 1 .. $n;
        }
    };
    my $torn = 0;
    my $ok   = kill_writers(
        $rounds, 2, $work,
        sub {
            my ($round) = @_;
            IPC::Shm->recover if $round % 5 == 0;                   # while the others work
            my %copy   = %h;
            my %values = map { $_ // 'none' => 1 } values %copy;    # without batches one may go between its key and its value
            return 'a list assignment was torn: ' . join ' ', map {"$_=$copy{$_}"} sort keys %copy if has_batches() && keys %values > 1;
            my $guard = (tied %h)->lock_guard('write');
            my $value = $h{key1} // 'none';
            $h{mine} = $value;
            return $h{mine} eq $value ? undef : "a store was lost: $h{mine}";
        }
    );
    ok $ok,            "a hash is whole after each of $rounds kills";
    ok blocks_agree(), 'no block is lost or kept';
}

# A scalar of many blocks, written anew each time: whole, and its old blocks are
# found again wherever between taking the new and freeing the old its writer died.
{
    our $big : shm = '';
    my $work = sub {
        srand $$;
        while (1) { my $c = chr(97 + rand 26); $big = $c x rand 900_000 }
    };
    my $ok = kill_writers($rounds, 2, $work,
        sub { my $copy = $big; my $c = substr $copy, 0, 1; return $copy =~ /[^$c]/ ? 'a value was torn' : undef if length $copy; return });
    ok $ok,            'a scalar of many blocks is whole after each kill';
    ok blocks_agree(), 'no block is lost or kept';
    (tied $big)->remove;
    undef $ok;
}

# A counter: no increment that was reported is lost.
{
    my ($in, $out);
    pipe $in, $out or die $!;
    $counter = 0;
    my $work = sub {
        close $in;
        my $tied = tied $counter;
        while (1) { my $n = $tied->add(1); syswrite $out, "." }
    };
    my $reported = 0;
    $in->blocking(0);
    my $drain = sub { my $text; $reported += length $text while sysread $in, $text, 65536 };
    my $ok    = kill_writers($rounds / 2,
        2, $work, sub { $drain->(); return $counter >= $reported ? undef : "$counter increments, $reported reported" });
    $drain->();
    ok $ok && $counter >= $reported, "no increment is lost";
    cmp_ok $counter - $reported, '<=', $rounds / 2 + 2, '… and at most one a kill was not reported';
}

# A queue: push and shift of many lengths; elements stay in order.
{
    @queue = (1 .. 50);
    my $work = sub {
        srand $$;
        while (1) {
            my $guard = (tied @queue)->lock_guard('write');
            if (rand() < 0.5) { push @queue, $queue[-1] + 1 .. $queue[-1] + 1 + int rand 200 }
            else              { splice @queue, 0, int(rand 150) % @queue }
            splice @queue, 1 if @queue > 5000;
        }
    };
    my $ok = kill_writers(
        $rounds, 2, $work,
        sub {
            my $guard = (tied @queue)->lock_guard('read');
            my @copy  = @queue;
            return 'the queue is empty' if !@copy;
            for my $i (1 .. $#copy) { return "out of order at $i: $copy[$i - 1] $copy[$i]" if $copy[$i] <= $copy[ $i - 1 ] }
            return;
        }
    );
    ok $ok,            "a queue under locks is in order after each of $rounds kills";
    ok blocks_agree(), 'no block is lost or kept';
}

# References: variables are made and dropped all the time.
{
    %tree = ();
    my $work = sub {
        srand $$;
        while (1) {
            my $k = 'k' . int rand 10;
            if (rand() < 0.7) { $tree{$k} = { name => $k, list => [ 1 .. rand 5 ], deep => { er => { est => $k } } } }
            else              { delete $tree{$k} }
        }
    };
    my $ok = kill_writers(
        $rounds, 2, $work,
        sub {
            my ($round) = @_;
            IPC::Shm->recover if $round % 5 == 0;    # while the others work
            for my $k (keys %tree) {
                my $node = $tree{$k};
                next if !defined $node;              # deleted meanwhile
                return "$k is not whole"
                    if ref $node ne 'HASH'
                    || ($node->{name} // '') ne $k
                    || ref $node->{list} ne 'ARRAY'
                    || ($node->{deep}{er}{est} // '') ne $k;
            }
            return;
        }
    );
    ok $ok,            "a tree of references is whole after each of $rounds kills";
    ok blocks_agree(), 'no block is lost or kept';
    %tree = ();
    IPC::Shm->recover;
    is(IPC::Shm->stats->{variables}, 5, 'what the dead had made is gone with the last reference');
}

# A lock whose holder was killed is free at once.
{
    for my $kind (qw(writelock readlock)) {
        pipe my $in, my $out or die $!;
        my $pid = child(sub { (tied %h)->$kind; syswrite $out, 'x'; sleep 100 });
        sysread $in, my $byte, 1;
        my $guard = (tied %h)->lock_guard('write', 0);
        is $guard, undef, "$kind of a living process holds";
        kill KILL => $pid;
        waitpid $pid, 0;
        my $got = (tied %h)->writelock(60);
        is $got, 1, "$kind of a killed process does not";
        (tied %h)->unlock;
    }
}
done_testing;
