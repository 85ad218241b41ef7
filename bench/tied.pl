#!/usr/bin/perl
# What do tied variables cost? IPC::Shm beside Tie::StdHash and Tie::StdScalar (the
# floor for anything that is tied in Perl) and, where they are installed, modules
# that share hashes in other ways. All take turns in one run; the figure is the
# best of several rounds, in nanoseconds an operation.
#
#     perl -Mblib bench/tied.pl [rounds]
use strict;
use warnings;
use File::Temp ();
use Time::HiRes qw(time);
use Tie::Hash;
use Tie::Scalar;

my $dir;
BEGIN { $dir = File::Temp::tempdir('tied-bench-XXXXXX', DIR => -d '/dev/shm' ? '/dev/shm' : undef, CLEANUP => 1); $ENV{IPC_SHM_NAMESPACE} = "$dir/namespace" }
use IPC::Shm;

my $rounds = shift || 5;
my %has    = map { my $class = $_; ($class => eval "require $class; 1") } qw(Hash::SharedMem::Handle Cache::FastMmap IPC::Shareable);
my $made   = 0;

# A hash of each kind with n keys; IPC::Shareable copies the whole hash for each
# store, so it stays out of the large ones.
my %make = (
    'Tie::StdHash' => sub { tie my %h, 'Tie::StdHash'; return \%h },
    'IPC::Shm'     => sub { my %h : shm; return \%h },
);
$make{'Hash::SharedMem'} = sub { tie my %h, 'Hash::SharedMem::Handle', "$dir/hsm" . $made++, 'rwc'; return \%h } if $has{'Hash::SharedMem::Handle'};
$make{'Cache::FastMmap'} = sub {
    my $cache = Cache::FastMmap->new(share_file => "$dir/fm" . $made++, cache_size => '64m', init_file => 1, raw_values => 1);
    return { cache => $cache };
} if $has{'Cache::FastMmap'};
$make{'IPC::Shareable'} = sub { my ($n) = @_; return if $n > 100; tie my %h, 'IPC::Shareable', { create => 1, destroy => 1, size => 1 << 20 }; return \%h } if $has{'IPC::Shareable'};

# Turn by turn; returns the best time of each.
sub turns {
    my (%code) = @_;
    my %best;
    for (1 .. $rounds) {
        for my $name (sort keys %code) {
            my $began = time;
            my $count = $code{$name}->();
            my $took  = (time - $began) / $count * 1e9;
            $best{$name} = $took if !defined $best{$name} || $took < $best{$name};
        }
    }
    return \%best;
}

my @kinds = grep { $make{$_} } 'IPC::Shm', 'Tie::StdHash', 'Hash::SharedMem', 'Cache::FastMmap', 'IPC::Shareable';
printf "%-34s" . '%17s' x @kinds . "\n", 'ns an operation', @kinds;

sub row {
    my ($what, $best) = @_;
    printf "%-34s", $what;
    for my $kind (@kinds) { printf defined $best->{$kind} ? '%9.0f (%4.2fx)' : '%17s', defined $best->{$kind} ? ($best->{$kind}, $best->{$kind} / $best->{'IPC::Shm'}) : '-' }
    print "\n";
    return;
}

sub verdict { my ($what, $ratio, $bar) = @_; printf "%-62s %5.2f  bar %.1f  %s\n", $what, $ratio, $bar, $ratio <= $bar ? 'met' : 'NOT MET'; return }

my (%fetch, %store, %load, %foreign, %bytes, @verdicts);
our $sink;
for my $n (100, 10_000, 100_000) {
    my %h;
    my @all    = map { "key$_" } 1 .. $n;
    my @sample = map { $all[ $_ * 7919 % $n ] } 1 .. 100;    # the same number of keys for each size
    $load{$n} = turns(map { my $kind = $_; $kind =~ /Fast|Shareable/ ? () : ($kind => sub { $h{$kind} = $make{$kind}->($n) or return 1; my $h = $h{$kind}; $h->{$_} = "value$_" for @all; return scalar @all }) } @kinds);
    row("load $n keys", $load{$n});
    for my $kind (grep { /Fast|Shareable/ } @kinds) {
        my $h = $h{$kind} = $make{$kind}->($n) or next;
        if ($h->{cache}) { $h->{cache}->set($_, "value$_") for @all }
        else             { $h->{$_} = "value$_" for @all }
    }
    my @have = grep { $h{$_} } @kinds;
    my $fetches = sub { my ($kind, $times) = @_; my $h = $h{$kind}; my $c = $h->{cache} if $kind eq 'Cache::FastMmap';
        return $c ? sub { for (1 .. $times) { $sink = $c->get($_) for @sample } return $times * @sample } : sub { for (1 .. $times) { $sink = $h->{$_} for @sample } return $times * @sample } };
    my $stores = sub { my ($kind, $times) = @_; my $h = $h{$kind}; my $c = $h->{cache} if $kind eq 'Cache::FastMmap'; my $i = 0;
        return $c ? sub { for (1 .. $times) { $i++; $c->set($_, "new$i") for @sample } return $times * @sample } : sub { for (1 .. $times) { $i++; $h->{$_} = "new$i" for @sample } return $times * @sample } };
    $fetch{$n} = turns(map { ($_ => $fetches->($_, $_ eq 'IPC::Shareable' ? 3 : 1000)) } @have);
    row("fetch, $n keys", $fetch{$n});
    $store{$n} = turns(map { ($_ => $stores->($_, $_ eq 'IPC::Shareable' ? 1 : 300)) } @have);
    row("store an existing key, $n keys", $store{$n});

    # A fetch after each store of another process: a child stores when told to.
    if ($n != 10_000) {
        my $h = $h{'IPC::Shm'};
        pipe my $tell, my $teller or die $!;
        pipe my $hear, my $hearer or die $!;
        my $pid = fork;
        if (!$pid) { close $teller; my $i = 0; while (sysread $tell, my $x, 1) { $i++; $h->{ $sample[ $i % @sample ] } = "foreign$i"; syswrite $hearer, 'x' } require POSIX; POSIX::_exit(0) }
        my $best = 9e9;
        for (1 .. $rounds) {
            my @took;
            for (1 .. 2000) { syswrite $teller, 'x'; sysread $hear, my $x, 1; my $began = time; $sink = $h->{ $sample[0] }; push @took, time - $began }
            my $median = (sort { $a <=> $b } @took)[1000] * 1e9;    # not the mean: the scheduler is in some of them
            $best = $median if $median < $best;
        }
        close $teller;
        waitpid $pid, 0;
        $foreign{$n} = $best;
        printf "%-34s%9.0f\n", "fetch after a foreign store, $n", $best;
    }
}
my $scalars = do {
    my $shared : shm = 'value';
    tie my $std, 'Tie::StdScalar', 'value';
    my $f = turns('IPC::Shm' => sub { $sink = $shared for 1 .. 200_000; 200_000 }, 'Tie::StdHash' => sub { $sink = $std for 1 .. 200_000; 200_000 });
    row('scalar fetch (Tie::StdScalar)', $f);
    my $s = turns('IPC::Shm' => sub { $shared = "new$_" for 1 .. 100_000; 100_000 }, 'Tie::StdHash' => sub { $std = "new$_" for 1 .. 100_000; 100_000 });
    row('scalar store (Tie::StdScalar)', $s);
    { fetch => $f, store => $s };
};
my $queue = do {
    my @q : shm = map { "job$_" } 1 .. 10_000;
    require Tie::Array;
    tie my @std, 'Tie::StdArray';
    @std = map { "job$_" } 1 .. 10_000;
    my $b = turns('IPC::Shm' => sub { for (1 .. 50_000) { push @q, "job$_"; $sink = shift @q } 100_000 }, 'Tie::StdHash' => sub { for (1 .. 50_000) { push @std, "job$_"; $sink = shift @std } 100_000 });
    row('push or shift (Tie::StdArray)', $b);
    $b;
};

# Memory: 100,000 short keys in a namespace of their own, in another process.
my @memory = do {
    open my $out, '-|', $^X, (map { "-I$_" } grep { !ref } @INC), '-e', <<'CODE' or die $!;
BEGIN { $ENV{IPC_SHM_NAMESPACE} .= ".memory" }
use IPC::Shm; my %h : shm; my $bytes = 0;
for (1 .. 100_000) { my ($k, $v) = ("key$_", "value$_"); $h{$k} = $v; $bytes += length($k) + length $v }
print join(' ', $bytes, IPC::Shm->stats->{bytes_used}, IPC::Shm->stats->{bytes_reserved}), "\n";
for (1 .. 1_000_000) { my $n = 1 + int rand 100_000; $h{"key$n"} = "VALUE$n" }
print join(' ', $bytes, IPC::Shm->stats->{bytes_used}, IPC::Shm->stats->{bytes_reserved}), "\n";
IPC::Shm->cleanup;
CODE
    map { [split] } <$out>;
};
print "\n";
verdict("fetch / Tie::StdHash's, $_ keys", $fetch{$_}{'IPC::Shm'} / $fetch{$_}{'Tie::StdHash'}, 1.3) for sort { $a <=> $b } keys %fetch;
verdict('scalar fetch / Tie::StdScalar\'s', $scalars->{fetch}{'IPC::Shm'} / $scalars->{fetch}{'Tie::StdHash'}, 1.3);
if ($has{'Hash::SharedMem::Handle'}) {
    verdict("fetch / Hash::SharedMem's, $_ keys", $fetch{$_}{'IPC::Shm'} / $fetch{$_}{'Hash::SharedMem'}, 1.0) for sort { $a <=> $b } keys %fetch;
    verdict("scalar fetch / Hash::SharedMem's hash fetch", $scalars->{fetch}{'IPC::Shm'} / $fetch{100}{'Hash::SharedMem'}, 1.0);
    verdict("store / Hash::SharedMem's, $_ keys", $store{$_}{'IPC::Shm'} / $store{$_}{'Hash::SharedMem'}, 1.0) for sort { $a <=> $b } keys %store;
}
verdict('store with 100,000 keys / with 100', $store{100_000}{'IPC::Shm'} / $store{100}{'IPC::Shm'}, 1.5);
verdict('scalar store / hash store', $scalars->{store}{'IPC::Shm'} / $store{100}{'IPC::Shm'}, 1.0);
verdict('fetch after a foreign store, 100,000 keys / 100', $foreign{100_000} / $foreign{100}, 1.5);
verdict('push or shift of a queue of 10,000 / hash store', $queue->{'IPC::Shm'} / $store{100}{'IPC::Shm'}, 2.0);
verdict("loading 100,000 keys / Tie::StdHash's", $load{100_000}{'IPC::Shm'} / $load{100_000}{'Tie::StdHash'}, 3.0);
verdict("shared memory / bytes, after $memory[$_][3]", $memory[$_][2] / $memory[$_][0], 4.0) for map { $memory[$_][3] = $_ ? 'a million overwrites' : 'loading'; $_ } 0 .. $#memory;
IPC::Shm->cleanup;
