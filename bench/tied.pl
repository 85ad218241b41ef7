#!/usr/bin/env perl
# What a shared variable costs, beside a tied variable that shares nothing
# (Tie::StdHash, Tie::StdScalar: the floor) and other modules that share, where
# they are installed.
#
#     perl -Mblib bench/tied.pl [turns [scale]]
#
# Values are strings of 8 bytes, and a turn of stores is long enough to hold its
# share of snapshots. `scale` 0.1 is a quick look. All of
# it is on /dev/shm, in a folder of its own that is gone afterwards.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Apart      qw(cpu_ns disk);
use Turns      qw(progress turns table verdict);
use File::Temp ();
use List::Util qw(sum shuffle);
use Tie::Hash;
use Tie::Scalar;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);
use IPC::Shm;

my $turns = shift // 7;
my $scale = shift // 1;
my @sizes = (100, 10_000, 100_000);
my $many  = $sizes[-1];

$SIG{$_} = sub { exit 1 }
    for qw(INT TERM HUP);
my $main   = $$;
my $folder = File::Temp->newdir('bench-tied-XXXXXX', DIR => '/dev/shm');
IPC::Shm->import(namespace => "$folder/shm");
END { IPC::Shm->cleanup if $folder && $$ == $main }

my %have = map {
    my $module = $_;
    $module => eval { require($module =~ s{::}{/}gr . '.pm'); 1 }
} qw(Hash::SharedMem Cache::FastMmap IPC::Shareable);

# The keys of a turn, made first, so that they lie side by side in memory, and from
# pieces, so that they do not share their bytes: to go through a list costs little,
# and the same whatever the size. They are in the order in which the keys were
# stored, again and again, from a random one on; `any` is at random in the largest
# hash: that adds the cache misses of any hash of Perl.
my %drawn;
for my $size (@sizes, 'any') {
    my $first = int rand $many;
    $drawn{$size} = [ map { join '', 'key', $size eq 'any' ? int rand $many : ($first + $_) % $size } 1 .. 50_000 * $scale ];
}
my @key    = map {"key$_"} 0 .. $many - 1;
my @value  = map { sprintf 'value%03d', $_ } 0 .. 999;
my @memory = memory();
my %keys   = map { $_ => [ @key[ 0 .. $_ - 1 ] ] } @sizes;

# The bytes that an empty namespace comes to take, by the bytes of keys and values:
# 100,000 of them loaded one by one, then overwritten a million times. In a process
# of its own: a hash that is freed leaves a heap in which the next one is scattered.
sub memory {
    my $bytes = sum(map {length} @key) + 8 * @key;
    progress('memory');
    my $pid = open(my $child, '-|') // die "fork: $!\n";
    if (!$pid) {
        tie my %hash, 'IPC::Shm::Tied';
        $hash{ $key[$_] } = $value[ $_ % 1000 ] for 0 .. $#key;
        print disk("$folder/shm"), "\n";
        $hash{ $key[ rand @key ] } = $value[ rand @value ] for 1 .. 1_000_000 * $scale;
        print disk("$folder/shm"), "\n";
        IPC::Shm->cleanup;
        close STDOUT;
        exec '/bin/true';    # no destructors, no END blocks
    }
    chomp(my @taken = <$child>);
    close $child or die "The measurement of memory failed.\n";
    return [ 'loaded', $taken[0], $bytes ], [ 1_000_000 * $scale . ' overwrites', $taken[1], $bytes ];
}

# Tied hashes of each size, by name and size; how often a turn goes through the list.
my (%hash, %rounds);

sub candidate {
    my ($name, $rounds, $make, @its_sizes) = @_;
    for my $size (@its_sizes) {
        progress("filling: $name, $size keys");
        my $hash = $make->($size);
        $hash->{$_} = 'value000' for @{ $keys{$size} };
        $hash{$name}{$size} = $hash;
    }
    $rounds{$name} = $rounds;
    return;
}

sub tied_hash { my ($class, @arguments) = @_; tie my %hash, $class, @arguments or die "tie $class: $!\n"; return \%hash }

candidate('IPC::Shm',        4, sub { tied_hash('IPC::Shm::Tied') },                                       @sizes);
candidate('Tie::StdHash',    4, sub { tied_hash('Tie::StdHash') },                                         @sizes);
candidate('Hash::SharedMem', 2, sub { tied_hash('Hash::SharedMem::Handle', "$folder/hash-$_[0]", 'rwc') }, @sizes)
    if $have{'Hash::SharedMem'};
candidate('IPC::Shareable', 0, sub { tied_hash('IPC::Shareable', { key => "bt$$", create => 1, destroy => 1 }) }, 100)
    if $have{'IPC::Shareable'};

# Every store is of a new value: Hash::SharedMem does not write what is there already.
my %loop;
for my $name (keys %hash) {
    for my $size (keys %{ $hash{$name} }, $hash{$name}{$many} ? 'any' : ()) {
        my $hash   = $hash{$name}{ $size eq 'any' ? $many : $size };
        my $list   = $rounds{$name} ? $drawn{$size} : [ @{ $drawn{$size} }[ 0 .. 499 * $scale ] ];
        my $rounds = $rounds{$name} || 1;
        $loop{"$name fetch $size"} = sub {
            return cpu_ns(
                sub {
                    my $x;
                    for my $k (@{ $_[0] }) { $x = $hash->{$k} }
                },
                $list,
                $rounds
            );
        };
        my $i = 1_000_000;
        $loop{"$name store $size"} = sub {
            return cpu_ns(
                sub {
                    for my $k (@{ $_[0] }) { $hash->{$k} = 'v' . ++$i }
                },
                $list,
                $rounds
            );
        };
    }
}

# The same without the tie: calls of their own.
if ($have{'Hash::SharedMem'}) {
    for my $size (@sizes) {
        my $handle = tied(%{ $hash{'Hash::SharedMem'}{$size} });
        my $i      = 1_000_000;
        $loop{"shash_get $size"} = sub {
            return cpu_ns(
                sub {
                    my $x;
                    for my $k (@{ $_[0] }) { $x = Hash::SharedMem::shash_get($handle, $k) }
                },
                $drawn{$size},
                2
            );
        };
        $loop{"shash_set $size"} = sub {
            return cpu_ns(
                sub {
                    for my $k (@{ $_[0] }) { Hash::SharedMem::shash_set($handle, $k, 'v' . ++$i) }
                },
                $drawn{$size},
                2
            );
        };
    }
}
if ($have{'Cache::FastMmap'}) {
    my $cache = Cache::FastMmap->new(share_file => "$folder/fastmmap", init_file => 1, cache_size => '16m', serializer => '');
    my $i     = 1_000_000;
    $cache->set($_ => 'value000') for @{ $keys{100} };
    $loop{'Cache::FastMmap fetch 100'} = sub {
        return cpu_ns(
            sub {
                my $x;
                for my $k (@{ $_[0] }) { $x = $cache->get($k) }
            },
            [ @{ $drawn{100} }[ 0 .. 9_999 * $scale ] ],
            1
        );
    };
    $loop{'Cache::FastMmap store 100'} = sub {
        return cpu_ns(
            sub {
                for my $k (@{ $_[0] }) { $cache->set($k, 'v' . ++$i) }
            },
            [ @{ $drawn{100} }[ 0 .. 9_999 * $scale ] ],
            1
        );
    };
}

for my $class (qw(IPC::Shm::Tied Tie::StdScalar)) {
    my $name = $class =~ s/::Tied//r;
    my $i    = 1_000_000;
    tie(my $scalar, $class);
    $scalar = 'value000';
    $loop{"$name scalar fetch"} = sub {
        return cpu_ns(
            sub {
                my $x;
                for my $k (@{ $_[0] }) { $x = $scalar }
            },
            $drawn{100},
            4
        );
    };
    $loop{"$name scalar store"} = sub {
        return cpu_ns(
            sub {
                for my $k (@{ $_[0] }) { $scalar = 'v' . ++$i }
            },
            $drawn{100},
            4
        );
    };
}

# A queue of 10,000: a thousand in, a thousand out.
{
    tie my @queue, 'IPC::Shm::Tied';
    push @queue, ('value000') x 10_000;
    my $round = sub {
        my ($which) = @_;
        my ($push, $shift) = (0, 0);
        my @some = @{ $drawn{100} }[ 0 .. 999 ];
        for (1 .. 100 * $scale) {
            $push += cpu_ns(
                sub {
                    for my $k (@{ $_[0] }) { push @queue, $k }
                },
                \@some,
                1
            );
            $shift += cpu_ns(
                sub {
                    my $x;
                    for my $k (@{ $_[0] }) { $x = shift @queue }
                },
                \@some,
                1
            );
        }
        return ($which eq 'push' ? $push : $shift) / (100 * $scale);
    };
    $loop{"queue $_"} = do {
        my $which = $_;
        sub { $round->($which) }
        }
        for qw(push shift);
}

# Loading a new hash, one by one and by list assignment.
for my $class (qw(IPC::Shm::Tied Tie::StdHash)) {
    my $name = $class =~ s/::Tied//r;
    $loop{"$name load"} = sub {
        my $hash = tied_hash($class);
        return cpu_ns(
            sub {
                my $i = 1_000_000;
                for my $k (@{ $_[0] }) { $hash->{$k} = 'v' . ++$i }
            },
            \@key,
            1
        );
    };
    $loop{"$name assign"} = sub {
        my $hash = tied_hash($class);
        my $i    = 1_000_000;
        my @list = map { $_ => 'v' . ++$i } @key;
        return cpu_ns(sub { %$hash = @list }, \@key, 1);
    };
}

my @children;

# A child that stores a key when it is told to; only our fetch of it is timed, by the
# clock, and the median counts: the scheduler is in some of them.
my $next = int rand $many;
for my $size (100, $many) {
    my $hash = tied_hash('IPC::Shm::Tied');
    %$hash = map { $_ => 'value000' } @{ $keys{$size} };
    pipe(my $from_us,    my $to_child) or die "pipe: $!\n";
    pipe(my $from_child, my $to_us)    or die "pipe: $!\n";
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        close $to_child;
        while (sysread $from_us, my $index, 8) {
            $hash->{ $key[$index] } = $value[ rand @value ];
            syswrite $to_us, '!';
        }
        exec '/bin/true';    # no destructors, no END blocks
    }
    close $_ for $from_us, $to_us;
    push @children, [ $pid, $to_child ];
    $loop{"foreign $size"} = sub {
        my ($count, @took) = (3000 * $scale);
        for (1 .. $count) {
            my $index = $next++ % $size;
            my $key   = $key[$index];
            syswrite $to_child, sprintf '%8d', $index;
            sysread $from_child, my $done, 1;
            my $before = clock_gettime(CLOCK_MONOTONIC);
            my $x      = $hash->{$key};
            push @took, clock_gettime(CLOCK_MONOTONIC) - $before;
        }
        return (sort { $a <=> $b } @took)[ @took / 2 ] * 1e9;
    };
}
my $i     = 1_000_000;
my %empty = (
    "empty loop" => sub {
        for my $k (@{ $_[0] }) { }
    },
    "empty loop, values" => sub {
        my $x;
        for my $k (@{ $_[0] }) { $x = 'v' . ++$i }
    },
);
for my $name (keys %empty) {
    $loop{$name} = sub { return cpu_ns($empty{$name}, $drawn{100}, 4) };
}
$loop{'clock'} = sub {
    my @took;
    for (1 .. 3000) {
        my $before = clock_gettime(CLOCK_MONOTONIC);
        push @took, clock_gettime(CLOCK_MONOTONIC) - $before;
    }
    return (sort { $a <=> $b } @took)[ @took / 2 ] * 1e9;
};

my $best = turns($turns, \%loop, measure => sub { $_[0]->() });
close $_->[1] for @children;    # all: the second has the first one's end, too
waitpid $_->[0], 0 for @children;
for my $name (grep { !/^(?:clock|empty)/ } keys %$best) {
    $best->{$name} -= $name =~ /^foreign/ ? $best->{clock} : $best->{ $name =~ /store|set|load/ ? 'empty loop, values' : 'empty loop' };
}

# what, its figure, what it is measured against by name, that figure, the bar
my @rows;
sub row { my ($what, $figure, $against, $other, $bar) = @_; push @rows, [@_] if defined $other; return }
sub ns  { return $best->{ $_[0] } }

for my $kind ('scalar fetch', 'fetch 100', "fetch $many") {
    my ($size) = $kind =~ /(\d+)/;
    my $what = $size ? "hash fetch, $size keys" : $kind;
    $size //= 100;
    row($what, ns("IPC::Shm $kind"), 'Hash::SharedMem hash fetch', ns("Hash::SharedMem fetch $size"), 1.0);
    row($what, ns("IPC::Shm $kind"), 'Hash::SharedMem shash_get',  ns("shash_get $size"),             undef);
    row($what, ns("IPC::Shm $kind"), 'Tie::StdHash fetch',         ns("Tie::StdHash fetch $size"),    1.3);
    row($what, ns("IPC::Shm $kind"), 'Tie::StdScalar fetch',       ns('Tie::StdScalar scalar fetch'), undef) if $kind eq 'scalar fetch';
    row($what, ns("IPC::Shm $kind"), 'Cache::FastMmap get',        ns('Cache::FastMmap fetch 100'),   undef) if $kind eq 'fetch 100';
    row($what, ns("IPC::Shm $kind"), 'IPC::Shareable fetch',       ns('IPC::Shareable fetch 100'),    undef) if $kind eq 'fetch 100';
}
for my $size (@sizes) {
    row("hash store, $size keys", ns("IPC::Shm store $size"), 'Hash::SharedMem hash store', ns("Hash::SharedMem store $size"), 1.0);
    row("hash store, $size keys", ns("IPC::Shm store $size"), 'Hash::SharedMem shash_set',  ns("shash_set $size"),             undef);
    row("hash store, $size keys", ns("IPC::Shm store $size"), 'Tie::StdHash store',         ns("Tie::StdHash store $size"),    undef);
    row("hash store, $size keys", ns("IPC::Shm store $size"), 'Cache::FastMmap set',        ns("Cache::FastMmap store $size"), undef);
    row("hash store, $size keys", ns("IPC::Shm store $size"), 'IPC::Shareable store',       ns("IPC::Shareable store $size"),  undef);
}
row("hash $_, $many keys at random", ns("IPC::Shm $_ any"), "Tie::StdHash $_", ns("Tie::StdHash $_ any"), undef) for qw(fetch store);
row("hash $_, $many keys at random", ns("IPC::Shm $_ any"), "Hash::SharedMem hash $_", ns("Hash::SharedMem $_ any"), undef)
    for qw(fetch store);
my $store = ns('IPC::Shm store 100');
row("Tie::StdHash store, $many keys", ns("Tie::StdHash store $many"), 'the same, 100 keys',   ns('Tie::StdHash store 100'),      undef);
row("hash store, $many keys",         ns("IPC::Shm store $many"),     'the same, 100 keys',   $store,                            1.5);
row('scalar store',                   ns('IPC::Shm scalar store'),    'hash store, 100 keys', $store,                            1.0);
row('scalar store',                   ns('IPC::Shm scalar store'),    'Tie::StdScalar store', ns('Tie::StdScalar scalar store'), undef);
row("fetch after a foreign store, $many keys", ns("foreign $many"), 'the same, 100 keys',   ns('foreign 100'),       1.5);
row("queue of 10000, $_",                      ns("queue $_"),      'hash store, 100 keys', $store,                  2) for qw(push shift);
row("loading $many keys, a key",               ns('IPC::Shm load'), 'Tie::StdHash',         ns('Tie::StdHash load'), 3);
row("assigning $many keys, a key",             ns('IPC::Shm assign'), 'Tie::StdHash',             ns('Tie::StdHash assign'), 3);
row("bytes of $many keys, $_->[0]",            $_->[1],               'bytes of keys and values', $_->[2],                   4) for @memory;

printf "Nanoseconds of processor time an operation, without its loop, best of %d turns. No bar: for comparison.\n", $turns;
printf "Not installed: %s.\n", join ', ', grep { !$have{$_} } sort keys %have if grep { !$_ } values %have;
print "\n";
table(
    [ qw(what figure against its ratio bar), '' ],
    map {
        my ($what, $figure, $against, $other, $bar) = @$_;
        my $ratio = $figure / $other;
        [
            $what, sprintf('%.0f', $figure),
            $against,
            sprintf('%.0f', $other),
            sprintf('%.2f', $ratio),
            $bar // '', defined $bar ? verdict($ratio <= $bar) : ''
        ]
    } @rows
);
