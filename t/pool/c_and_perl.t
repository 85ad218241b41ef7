# A C process and a Perl process use one pool file together.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use PoolTest;

my $peer = compile('peer.c') or plan skip_all => 'no C compiler here';
my $I64  = 'Data::Pool::Shared::I64';
my $path = temp_path('together');

sub start_peer {
    my @arguments = @_;
    defined(my $pid = open my $output, '-|', $peer, @arguments) or die "cannot run peer: $!";
    return $output;
}

sub run_peer {
    my $output = start_peer(@_);
    my @lines  = <$output>;
    close $output;
    return ($? >> 8, map { chomp; $_ } @lines);
}

subtest 'counting at once' => sub {
    my $pool    = $I64->new($path, 10);
    my $slot    = $pool->alloc;
    my @running = map { start_peer('count', $path, $slot, 20_000) } 1 .. 2;
    $pool->incr($slot) for 1 .. 20_000;
    close $_ for @running;
    is($pool->get($slot), 60_000, 'every addition counts');
    $pool->reset;
};

subtest 'allocating at once' => sub {
    my $pool    = $I64->new($path, 10);
    my @running = map { start_peer('churn', $path, 5000) } 1 .. 2;
    my $wrong   = 0;
    for (1 .. 5000) {
        my $slot = $pool->alloc(30) // die 'timed out';
        $wrong++ if $pool->get($slot) != 0 || $pool->add($slot, 5) != 5;
        $pool->free($slot);
    }
    for my $output (@running) { close $output; is($?, 0, 'the C process found each slot its own, and fresh') }
    is($wrong,      0, 'the Perl process, too');
    is($pool->used, 0, 'nothing is left');
};

subtest 'waiting for each other' => sub {
    my $pool        = $I64->new($path, 10);
    my $slots       = $pool->alloc_n(10);
    my $peer_output = start_peer('take', $path);
    ok(wait_until { $pool->stats->{waiters} == 1 }, 'a C process waits for a slot');
    $pool->free($slots->[3]);
    chomp(my $taken = readline $peer_output);
    is($taken, $slots->[3], 'and gets the one that Perl frees');
    close $peer_output;
    is($pool->recover_stale, 1, 'when it is gone Perl recovers it');
    $pool->reset;
};

subtest 'text' => sub {
    my $text_path = temp_path('text');
    my $pool      = Data::Pool::Shared::Str->new($text_path, 10, 40);
    my ($status, $slot) = run_peer('text', $text_path, "from C: caf\xc3\xa9 \xe2\x98\xba");
    is($status,           0,                            'C stores it');
    is($pool->get($slot), "from C: caf\x{e9} \x{263a}", 'Perl reads its characters');
    $pool->set($slot, "from Perl \x{1f600}");
    is_deeply([ run_peer('read', $text_path, $slot) ], [ 0, "from Perl \xf0\x9f\x98\x80" ], 'and back');
};

subtest 'who creates the file does not matter' => sub {
    my $created = temp_path('by_c');
    is((run_peer('create', $created, 100))[0], 0, 'C creates a pool');
    my $pool = $I64->new($created);
    is($pool->capacity, 100, 'Perl attaches to it');
    is_deeply($pool->get_n([ 0 .. 99 ]), [ map { $_ * $_ } 0 .. 99 ], 'and reads what is there');
    is($pool->recover_stale, 100, 'and knows that the creator is gone');
};

subtest 'a process whose first thread has ended lives' => sub {
    my $pool = $I64->new($path, 10);
    defined(my $pid = open my $output, '-|', $peer, 'leader', $path) or die "cannot run peer: $!";
    is(readline $output, "ready\n", 'it holds a slot');
    my $state = sub { my ($letter) = read_file("/proc/$pid/stat") =~ /\) (\w)/; $letter };
    ok(wait_until { $state->() eq 'Z' }, 'it looks like a zombie');
    is($pool->recover_stale, 0, 'but its other thread lives: nothing is stale');
    kill 'KILL', $pid;
    ok(wait_until { read_file("/proc/$pid/stat") =~ /\) Z .*/ && !-d "/proc/$pid/task" || (() = glob "/proc/$pid/task/*") <= 1 },
        'now it is one');
    is($pool->recover_stale, 1, 'and what it held is stale');
    close $output;
};

done_testing;
