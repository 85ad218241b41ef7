#!/usr/bin/env perl
# Many processes, many keys, many variables: what they cost, beside Hash::SharedMem (as a tied
# hash, and by its functions) where it is installed, and Tie::StdHash, which shares nothing.
# Candidates take turns; the best turn of each counts; each bar is judged.
#
#     perl -Mblib bench/many.pl [--rows TEXT] [--turns N] [--scale X] [--data FILE] [--list]
#
# --list     names the rows, and ends
# --rows     only those of these names, with commas between them
# --turns    how often (5)
# --scale    0.1: a tenth of the keys and of the time, for a quick look; nothing to be judged by
# --data     write what was measured to this file, as lines of JSON, for bench/plots.pl
#
# Everything is on /dev/shm, in a folder of its own that is gone afterwards. A million keys
# take some 500 MB there, all told, and 300 MB of this process.
use strict;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));
use FindBin;
use lib "$FindBin::Bin/lib";
use Apart        qw(apart child crowd cpu_ns disk own_memory);
use File::Path   qw(remove_tree);
use File::Temp   ();
use Getopt::Long qw(GetOptions);
use JSON::PP     ();
use List::Util   qw(max min);
use POSIX        qw(strftime uname);
use Tie::Hash;
use Tie::Scalar;
use Time::HiRes qw(time);
use Turns       qw(progress turns seconds table verdict);
use IPC::Shm;

my ($turns, $scale, $rows, $data, $list) = (5, 1, '');
GetOptions('turns=i' => \$turns, 'scale=f' => \$scale, 'rows=s' => \$rows, 'data=s' => \$data, 'list' => \$list)
    or die "usage: $0 [--rows TEXT] [--turns N] [--scale X] [--data FILE] [--list]\n";

my $main   = $$;
my $folder = File::Temp->newdir('bench-many-XXXXXX', DIR => '/dev/shm');
$SIG{$_} = sub { exit 1 }
    for qw(INT TERM HUP);
my $peer = eval { require Hash::SharedMem; 1 };
my $json = JSON::PP->new->canonical;
my (@data, @rows);

# A size, of this scale.
sub of { my ($size) = @_; return max(10, int($size * $scale)) }

# Keys of ten bytes, and values of which no two are the same: Hash::SharedMem does not write
# what is there already.
sub key { return sprintf 'key%07d', $_[0] }
my $last_value = 1_000_000;

# A namespace of this process's own.
my $spaces = 0;

sub space {
    my $where = "$folder/space-$$-" . $spaces++;
    IPC::Shm->import(namespace => $where);
    return $where;
}
sub gone { my (@what) = @_; IPC::Shm->cleanup; remove_tree(@what); return }

sub tied_hash  { my ($class, @arguments) = @_; tie my %hash, $class, @arguments or die "tie $class: $!\n"; return \%hash }
sub tied_array { my ($class, @arguments) = @_; tie my @array, $class, @arguments or die "tie $class: $!\n"; return \@array }
sub peer_hash  { my ($name) = @_; return tied_hash('Hash::SharedMem::Handle', "$folder/$name", 'rwc') }
sub fill       { my ($hash, $size) = @_; $hash->{ key($_) } = 'value000' for 0 .. $size - 1; return $hash }

# What was found: a line of the table, and of the data. `other` is what the figure is beside;
# the bar is of their ratio, or without `other` of the figure itself.
sub found {
    my (%line) = @_;
    $line{value} = $line{other} ? $line{figure} / $line{other} : $line{figure};
    $line{met}   = !$line{bar}  ? undef : $line{least} ? $line{value} >= $line{bar} : $line{value} <= $line{bar};
    push @rows, \%line;
    push @data, { kind => 'row', %line, met => defined $line{met} ? ($line{met} ? 1 : 0) : undef };
    return;
}

# A point of a plot.
sub point { my (%point) = @_; push @data, { kind => 'point', %point }; return }

# Figures in the unit they are best read in.
sub figure {
    my ($number, $unit) = @_;
    return sprintf '%s %s', $number >= 100 ? sprintf('%.0f', $number) : sprintf('%.3g', $number), $unit;
}

sub show {
    return if !@rows;
    table(
        [ qw(what measured beside which ratio bar), '' ],
        map {
            my $line = $_;
            [
                $line->{what},
                figure($line->{figure}, $line->{unit}),
                $line->{other} ? ($line->{against}, figure($line->{other}, $line->{unit}), sprintf '%.2f', $line->{value}) : ('', '', ''),
                $line->{bar}   ? ($line->{least} ? '>= ' : '<= ') . $line->{bar}                                           : '',
                $line->{bar}   ? verdict($line->{met})                                                                     : ''
            ]
        } @rows
    );
    print "\n";
    @rows = ();
    return;
}

# ---- many keys

my @sizes   = (100, 1_000, 10_000, 100_000, 1_000_000);
my %of_peer = (
    fetch => { 100 => 0.4,  10_000 => 0.45, 100_000 => 0.55, 1_000_000 => 0.7 },
    store => { 100 => 0.45, 10_000 => 0.35, 100_000 => 0.35, 1_000_000 => 0.5 }
);

# The loops over keys, by who and what, on hashes of one size.
sub loops_over {
    my ($size) = @_;
    my %hash = ('IPC::Shm' => fill(tied_hash('IPC::Shm::Tied'), $size), 'Tie::StdHash' => fill(tied_hash('Tie::StdHash'), $size));
    $hash{'Hash::SharedMem'} = fill(peer_hash('keys'), $size) if $peer;
    my %loop;
    for my $who (keys %hash) {
        my $hash = $hash{$who};
        $loop{"$who fetch"} = sub { my $x; $x   = $hash->{$_}         for @{ $_[0] } };
        $loop{"$who store"} = sub { $hash->{$_} = 'v' . ++$last_value for @{ $_[0] } };
    }
    if ($peer) {
        my $handle = tied %{ $hash{'Hash::SharedMem'} };
        $loop{'its functions fetch'} = sub { my $x; $x = Hash::SharedMem::shash_get($handle, $_)          for @{ $_[0] } };
        $loop{'its functions store'} = sub { Hash::SharedMem::shash_set($handle, $_, 'v' . ++$last_value) for @{ $_[0] } };
    }
    $loop{'empty fetch'} = sub { my $x; $x = $_                  for @{ $_[0] } };
    $loop{'empty store'} = sub { my $x; $x = 'v' . ++$last_value for @{ $_[0] } };
    return \%loop;
}

# Processor time an operation, without its loop: 50,000 keys in the order in which they were
# stored, again and again, from a random one on.
sub keys_of_size {
    my ($size) = @_;
    space();
    my $loop  = loops_over($size);
    my $first = int rand $size;
    my @drawn = map { key(($first + $_) % $size) } 1 .. of(50_000);
    my $best  = turns($turns, $loop, measure => sub { cpu_ns($_[0], \@drawn, 2) });
    gone("$folder/keys");
    return { map { /^(.*) (\w+)$/ && $1 ne 'empty' ? ($_ => $best->{$_} - $best->{"empty $2"}) : () } keys %$best };
}

sub many_keys {
    for my $size (@sizes) {
        my ($ns) = apart(sub { return keys_of_size(of($size)) });
        for my $name (keys %$ns) {
            my ($who, $what) = $name =~ /^(.*) (\w+)$/;
            point(plot => $what, x => $size, who => $who, y => $ns->{$name});
        }
        for my $what (qw(fetch store)) {
            my %line = (what => "hash $what, $size keys", figure => $ns->{"IPC::Shm $what"}, unit => 'ns');
            found(%line, against => 'Hash::SharedMem', other => $ns->{"Hash::SharedMem $what"}, bar => $of_peer{$what}{$size}) if $peer;
            found(
                %line,
                against => 'its function',
                other   => $ns->{"its functions $what"},
                bar     => $what eq 'fetch' && $of_peer{$what}{$size} ? 1.1 : undef
            ) if $peer;
            found(%line, against => 'Tie::StdHash', other => $ns->{"Tie::StdHash $what"});
        }
    }
    return;
}

# ---- scalars

sub scalars {
    space();
    tie my $shared, 'IPC::Shm::Tied';
    tie my $plain,  'Tie::StdScalar';
    my $hash = fill(tied_hash('IPC::Shm::Tied'), 100);
    my @keys = map { key($_ % 100) } 1 .. of(50_000);
    $shared = $plain = 'value000';
    my %loop = (
        'fetch'       => sub { my $x; $x = $shared for @{ $_[0] } },
        'plain fetch' => sub { my $x; $x = $plain  for @{ $_[0] } },
        'store'       => sub { $shared     = 'v' . ++$last_value for @{ $_[0] } },
        'hash store'  => sub { $hash->{$_} = 'v' . ++$last_value for @{ $_[0] } },
        'empty fetch' => sub { my $x; $x = $_                  for @{ $_[0] } },
        'empty store' => sub { my $x; $x = 'v' . ++$last_value for @{ $_[0] } },
    );
    my $ns = turns($turns, \%loop, measure => sub { cpu_ns($_[0], \@keys, 4) });
    gone();
    return { map { /^(?!empty).*(fetch|store)$/ ? ($_ => $ns->{$_} - $ns->{"empty $1"}) : () } keys %$ns };
}

sub some_scalars {
    my ($ns) = apart(\&scalars);
    found(
        what    => 'scalar fetch',
        figure  => $ns->{fetch},
        unit    => 'ns',
        against => 'Tie::StdScalar',
        other   => $ns->{'plain fetch'},
        bar     => 0.4
    );
    found(
        what    => 'scalar store',
        figure  => $ns->{store},
        unit    => 'ns',
        against => 'a hash store',
        other   => $ns->{'hash store'},
        bar     => 0.5
    );
    return;
}

# ---- many processes

my %mix    = (stores => 'storing', tenth => '10 % stores', reads => 'only reading');
my @crowds = (1, 2, 4, 8, 16);

# Pieces of work for a process of a crowd: a hundred operations each, from a random place on of the
# keys, which are lists of ten from the start: to cut them out as they are needed takes 100 ns each, as
# long as half a fetch.
sub piece {
    my ($mix, $tens, $fetch, $store) = @_;
    my $at   = int rand @$tens;
    my $work = {
        stores => sub { $store->(@{ $_[0] }) },
        reads  => sub { $fetch->(@{ $_[0] }) },
        tenth  => sub { $store->($_[0][0]); $fetch->(@{ $_[0] }[ 1 .. 9 ]) },
    }->{$mix};
    return sub {
        $at = 0 if $at + 10 > @$tens;
        $at += 10;
        $work->($_) for @$tens[ $at - 10 .. $at - 1 ];
        return 100;
    };
}

# Nanoseconds an operation in all, by who, mix and number of processes.
sub crowds_on {
    my ($size) = @_;
    space();
    my $hash = fill(tied_hash('IPC::Shm::Tied'), $size);
    my @tens = map {
        [ map { key(int rand $size) } 1 .. 10 ]
    } 1 .. min($size * 4, 50_000) / 10;
    my %calls = ('IPC::Shm' => sub { return calls_of($hash) });
    if ($peer) {
        fill(peer_hash('crowd'), $size);
        $calls{'Hash::SharedMem'} = sub { return calls_of(peer_hash('crowd')) };
        $calls{'its functions'}   = sub {
            my $handle = tied %{ peer_hash('crowd') };
            return (
                sub { my $x; $x = Hash::SharedMem::shash_get($handle, $_) for @_ },
                sub { Hash::SharedMem::shash_set($handle, $_, 'v' . ++$last_value) for @_ }
            );
        };
    }
    my %candidate;
    for my $who (keys %calls) {
        for my $mix (keys %mix) {
            for my $count (@crowds) { $candidate{"$who/$mix/$count"} = [ $calls{$who}, $mix, $count ] }
        }
    }
    my $best = turns(
        $turns,
        \%candidate,
        measure => sub {
            my ($calls, $mix, $count) = @{ $_[0] };
            my $rate = crowd(
                $count,
                max(0.05, 0.3 * $scale),
                sub {
                    my ($number) = @_;
                    srand($number + 1);
                    $last_value = $number * 1e9;
                    my ($fetch, $store) = $calls->();
                    $fetch->(@$_) for @tens;    # its pages are mapped: a server runs for longer than this
                    return piece($mix, \@tens, $fetch, $store);
                }
            );
            return 1e9 / $rate;
        }
    );
    gone("$folder/crowd");
    return $best;
}

sub calls_of {
    my ($hash) = @_;
    return (sub { my $x; $x = $hash->{$_} for @_ }, sub { $hash->{$_} = 'v' . ++$last_value for @_ });
}

sub many_processes {
    for my $size (10_000, 1_000_000) {
        my ($ns) = apart(sub { return crowds_on(of($size)) });
        for my $name (sort keys %$ns) {
            my ($who, $mix, $count) = split m{/}, $name;
            point(plot => "$mix-$size", x => $count, who => $who, y => $ns->{$name});
        }
        my $beside = sub {
            my ($mix, $bar) = @_;
            my %line = (what => "16 processes $mix{$mix}, $size keys", figure => $ns->{"IPC::Shm/$mix/16"}, unit => 'ns');
            found(%line, against => 'Hash::SharedMem', other => $ns->{"Hash::SharedMem/$mix/16"}, bar => $bar) if $peer;
            found(%line, against => 'its functions',   other => $ns->{"its functions/$mix/16"}) if $peer;
            found(%line, against => 'one process',     other => $ns->{"IPC::Shm/$mix/1"}, bar => $mix eq 'stores' ? 2 : undef);
        };
        $beside->('stores', $size == 10_000 ? 0.4 : 0.6);
        $beside->('tenth',  0.4);
        found(
            what    => "2 processes only reading, $size keys",
            figure  => 1e3 / $ns->{'IPC::Shm/reads/2'},
            unit    => 'M/s',
            against => 'one process',
            other   => 1e3 / $ns->{'IPC::Shm/reads/1'},
            bar     => 1.8,
            least   => 1
        );
    }
    return;
}

# ---- others that look on

sub lookers_on {
    my ($count) = @_;
    space();
    my $keys        = [ map { key($_ % 10_000) } 1 .. of(50_000) ];
    my %hash        = map { $_ => fill(tied_hash('IPC::Shm::Tied'), 10_000) } qw(watched alone);
    my $count_ready = Data::Pool::Shared::I64->new(undef, 1);
    my $ready       = $count_ready->alloc;
    my $parent      = $$;
    my @pids        = map {
        child(
            sub {
                my $looked = 0;
                while (getppid == $parent) {
                    my $x = $hash{watched}{ $keys->[ rand @$keys ] };
                    $count_ready->incr($ready) if !$looked++;
                    select undef, undef, undef, 0.05 + rand 0.1;
                }
            }
        )
    } 1 .. $count;
    select undef, undef, undef, 0.01 while $count_ready->get($ready) < $count;
    my $best = turns(
        $turns * 2,
        \%hash,
        measure => sub {
            my ($hash) = @_;
            return cpu_ns(sub { $hash->{$_} = 'v' . ++$last_value for @{ $_[0] } }, $keys, 2);
        }
    );
    kill KILL => @pids;
    waitpid $_, 0 for @pids;
    gone();
    return $best;
}

sub others_look_on {
    my ($ns) = apart(sub { return lookers_on(50) });
    found(
        what    => 'a store, 50 others look on',
        figure  => $ns->{watched},
        unit    => 'ns',
        against => 'nobody else',
        other   => $ns->{alone},
        bar     => 1.1
    );
    return;
}

# ---- a new process, and what a million keys take

my $value_of_60 = 'x' x 53;

sub million {
    my ($size) = @_;
    my $where  = space();
    my $hash   = tied_hash('IPC::Shm::Tied', 'million');
    my $empty  = disk($where);
    progress("$size keys");
    $hash->{ key($_) } = sprintf '%s%07d', $value_of_60, $_ for 0 .. $size - 1;
    my $loaded = disk($where) - $empty;
    my @look   = map { first_look($where) } 1 .. $turns;
    progress(10 * $size . ' overwrites');
    $hash->{ key(int rand $size) } = sprintf '%s%07d', $value_of_60, $_ % 10_000_000 for 1 .. 10 * $size;
    my $after = disk($where) - $empty;
    gone();
    return ($loaded, $after, min(map { $_->[0] } @look), min(map { $_->[1] } @look));
}

# A program that opens the namespace and fetches one element: milliseconds, and its own bytes.
sub first_look {
    my ($where) = @_;
    my $program = q{
        use IPC::Shm; use Apart 'own_memory'; use Time::HiRes 'time';
        my $memory = own_memory(); my $start = time;
        tie my %h, 'IPC::Shm::Tied', 'million'; my $x = $h{key0000000};
        my $took = time - $start; printf "%.4f %d\n", $took * 1e3, own_memory() - $memory;
    };
    local $ENV{IPC_SHM_NAMESPACE} = $where;
    open my $from, '-|', $^X, (map {"-I$_"} grep { !ref } @INC), '-e', $program or die "perl: $!\n";
    my $said = <$from>;
    close $from or die "A new process failed.\n";
    return [ split ' ', $said ];
}

sub peers_million {
    my ($size) = @_;
    my $hash = peer_hash('million');
    $hash->{ key($_) } = sprintf '%s%07d', $value_of_60, $_ for 0 .. $size - 1;
    my $loaded = disk("$folder/million");
    remove_tree("$folder/million");
    return $loaded;
}

sub a_million_keys {
    my $size = of(1_000_000);
    my ($loaded, $after, $ms, $own) = apart(sub { return million($size) });
    found(what => 'the first look of a new process', figure => $ms,           unit => 'ms', bar => 1);
    found(what => '… takes of its own',              figure => $own / 2**20,  unit => 'MB', bar => 1);
    found(what => "$size keys of 10, values of 60",  figure => $loaded / 1e6, unit => 'MB', bar => 160 * $size / 1_000_000);
    found(
        what    => '… after ' . 10 * $size . ' stores',
        figure  => $after / 1e6,
        unit    => 'MB',
        against => 'before',
        other   => $loaded / 1e6,
        bar     => 1.2
    );
    if ($peer) {
        my ($peers) = apart(sub { return peers_million($size) });
        found(
            what    => "$size keys of 10, values of 60",
            figure  => $loaded / 1e6,
            unit    => 'MB',
            against => 'Hash::SharedMem',
            other   => $peers / 1e6
        );
    }
    return;
}

# ---- a hash of hashes

# Reads a field of each: nanoseconds.
sub all_fields {
    my ($hash, $keys) = @_;
    return cpu_ns(sub { my $x; $x = $hash->{$_}{name} for @{ $_[0] } }, $keys, 1);
}

# Microseconds to fork a process that exits.
sub fork_and_exit {
    return min(
        map {
            1e6 * seconds(
                sub {
                    my $pid = fork // die "fork: $!\n";
                    if (!$pid) { exit 0 }
                    waitpid $pid, 0;
                }
            )
        } 1 .. 10 * $turns
    );
}

# The same hashes in a process that did not make them: a pass, another, and its forks; `flat` the
# same for a flat hash.
sub another_process {
    my ($keys) = @_;
    my %got;
    my ($hash, $flat) = map { tied_hash('IPC::Shm::Tied', $_) } qw(records flat);
    $got{fork_before} = fork_and_exit();
    $got{first}       = all_fields($hash, $keys);
    $got{again}       = min(map { all_fields($hash, $keys) } 1 .. $turns);
    $got{flat}        = min(
        map {
            cpu_ns(sub { my $x; $x = $flat->{$_} for @{ $_[0] } }, $keys, 1)
        } 1 .. $turns
    );
    $got{fork_after} = fork_and_exit();
    return \%got;
}

sub records {
    my ($size)  = @_;
    my $where   = space();
    my @keys    = map { key($_) } 0 .. $size - 1;
    my $flat    = fill(tied_hash('IPC::Shm::Tied', 'flat'), $size);
    my $hash    = tied_hash('IPC::Shm::Tied', 'records');
    my $before  = IPC::Shm->stats->{bytes_used};
    my $make    = 1e-3 * cpu_ns(sub { $hash->{$_} = { name => $_, colour => 'green', count => 7 } for @{ $_[0] } }, \@keys, 1);
    my $bytes   = (IPC::Shm->stats->{bytes_used} - $before) / $size;
    my $own     = min(map { all_fields($hash, \@keys) } 1 .. $turns);
    my ($other) = apart(sub { return another_process(\@keys) });
    gone();
    return ($make, $bytes, $own, $other);
}

sub many_records {
    my $size = of(50_000);
    my @got  = map {
        [ apart(sub { return records($size) }) ]
    } 1 .. $turns;
    my $best = sub {
        my ($of) = @_;
        return min(map { $of->($_) } @got);
    };
    my $flat  = $best->(sub { $_[0][3]{flat} });
    my %field = (
        'in the process that made them' => $best->(sub { $_[0][2] }),
        'in another'                    => $best->(sub { $_[0][3]{again} }),
        'in another, the first time'    => $best->(sub { $_[0][3]{first} }),
    );
    found(what => "one of $size hashes of three fields, made",   figure => $best->(sub { $_[0][0] }), unit => 'µs',    bar => 5);
    found(what => "one of $size hashes of three fields, memory", figure => $best->(sub { $_[0][1] }), unit => 'bytes', bar => 700);
    found(what => "its field, $_", figure => $field{$_}, unit => 'ns', against => 'a flat fetch', other => $flat, bar => 3)
        for sort keys %field;
    found(
        what    => 'fork and exit, after all of them',
        figure  => $best->(sub { $_[0][3]{fork_after} }),
        unit    => 'µs',
        against => 'before',
        other   => $best->(sub { $_[0][3]{fork_before} }),
        bar     => 1.3
    );
    return;
}

# ---- arrays

sub arrays {
    space();
    my ($queue, $long) = map { tied_array('IPC::Shm::Tied') } 1 .. 2;
    my $hash = fill(tied_hash('IPC::Shm::Tied'), 100);
    my $size = of(100_000);
    my @keys = map { key($_ % 100) } 1 .. of(50_000);
    push @$queue, ('value000') x 10_000;
    push @$long,  ('value000') x $size;
    my %loop = (
        'push + shift' => sub {
            my $x;
            for (@{ $_[0] }) { push @$queue, $_; $x = shift @$queue }
        },
        'empty' => sub {
            my $x;
            for (@{ $_[0] }) { $x = $_ }
        },
        'store'       => sub { $hash->{$_} = 'v' . ++$last_value for @{ $_[0] } },
        'empty store' => sub { my $x; $x = 'v' . ++$last_value for @{ $_[0] } },
        'splice out'  => sub { splice @$long, $size / 2, 1, () for 1 .. 100; splice @$long, $size / 2, 0, ('value000') x 100; },
        'splice in'   => sub { splice @$long, $size / 2, 0, 'value000' for 1 .. 100; splice @$long, $size / 2, 100; },
    );
    my $best = turns($turns, \%loop, measure => sub { cpu_ns($_[0], \@keys, 1) });
    $best->{$_}             *= @keys / 100 / 1e3 for 'splice out', 'splice in';    # microseconds each; one of a hundred is by the way
    $best->{'push + shift'} -= $best->{empty};
    $best->{store}          -= $best->{'empty store'};
    gone();
    return $best;
}

sub some_arrays {
    my ($got) = apart(\&arrays);
    found(
        what    => 'push + shift, queue of 10000',
        figure  => $got->{'push + shift'},
        unit    => 'ns',
        against => 'a hash store',
        other   => $got->{store},
        bar     => 1.6
    );
    found(what => 'one in the middle of ' . of(100_000) . ' taken out', figure => $got->{'splice out'}, unit => 'µs', bar => 200);
    found(what => '… put in',                                           figure => $got->{'splice in'},  unit => 'µs', bar => 200);
    return;
}

# ---- all at once

sub all_at_once {
    my ($size) = @_;
    space();
    my %hash = map { $_->[0] => fill(tied_hash($_->[1]), $size) } [ shared => 'IPC::Shm::Tied' ], [ plain => 'Tie::StdHash' ];
    my %loop;
    for my $name (keys %hash) {
        my $hash = $hash{$name};
        $loop{"$name keys"}  = sub { my @keys = keys %$hash };
        $loop{"$name copy"}  = sub { my %copy = %$hash };
        $loop{"$name count"} = sub { my $n    = keys %$hash };
    }
    my $best = turns($turns, \%loop, measure => sub { return cpu_ns($_[0], [1], 1) / 1e3 });
    gone();
    return $best;
}

sub whole_hashes {
    my $size = of(100_000);
    my ($us) = apart(sub { return all_at_once($size) });
    found(
        what    => "keys of $size",
        figure  => $us->{'shared keys'} / 1e3,
        unit    => 'ms',
        against => 'Tie::StdHash',
        other   => $us->{'plain keys'} / 1e3,
        bar     => 0.6
    );
    found(
        what    => "copy of $size",
        figure  => $us->{'shared copy'} / 1e3,
        unit    => 'ms',
        against => 'Tie::StdHash',
        other   => $us->{'plain copy'} / 1e3,
        bar     => 0.6
    );
    found(
        what    => "scalar(keys) of $size",
        figure  => $us->{'shared count'},
        unit    => 'µs',
        against => 'Tie::StdHash',
        other   => $us->{'plain count'},
        bar     => 0.01
    );
    return;
}

# ---- many names, many variables

# Microseconds to declare a new name where there are so many.
sub declarations {
    my ($names) = @_;
    space();
    my @kept = map { tied_hash('IPC::Shm::Tied', "name$_") } 1 .. $names;
    my $best;
    for my $turn (1 .. $turns * 2) {
        my @new;
        my $us = 1e-3 * cpu_ns(sub { push @new, tied_hash('IPC::Shm::Tied', "new${turn}_$_") for @{ $_[0] } }, [ 1 .. 20 ], 1);
        $best = $us if !defined $best || $us < $best;
        (tied %$_)->remove for @new;
    }
    gone();
    return $best;
}

sub many_names {
    my ($few)  = apart(sub { return declarations(10) });
    my ($many) = apart(sub { return declarations(of(10_000)) });
    found(what => 'declare a name among ' . of(10_000), figure => $many, unit => 'µs', against => 'among 10', other => $few, bar => 2);
    return;
}

# 200,000 variables without a name: microseconds each. A process made them and is gone.
sub anonymous {
    my ($size) = @_;
    space();
    my $keeper = tied_array('IPC::Shm::Tied', 'all');
    apart(sub { my $all = tied_array('IPC::Shm::Tied', 'all'); $#$all = $size - 1; $all->[$_] = [$_] for 0 .. $size - 1; return 1 });
    my %us;
    my %call = (recover => sub { IPC::Shm->recover }, list => sub { my @list = IPC::Shm->list; die "some are missing\n" if @list < $size });
    for my $name (sort keys %call) {
        $us{$name} = min(map { 1e6 * seconds($call{$name}) / $size } 1 .. 2);
    }
    $us{cleanup} = 1e6 * seconds(sub { IPC::Shm->cleanup }) / $size;
    return \%us;
}

sub many_variables {
    my $size = of(200_000);
    my @us   = map {
        apart(sub { return anonymous($size) })
    } 1 .. $turns;
    for my $what (qw(recover list cleanup)) {
        found(what => "$size anonymous variables, $what, each", figure => min(map { $_->{$what} } @us), unit => 'µs', bar => 5);
    }
    return;
}

# ---- a filesystem that is full

# In a folder of a small filesystem: microseconds of a store that fails, or nothing where none
# can be mounted.
sub full {
    my $small = "$folder/small";
    mkdir $small or die "$small: $!\n";
    return 'needs the right to mount a small tmpfs' if system("mount -t tmpfs -o size=8m none '$small' 2>/dev/null") != 0;
    my $us = eval {
        IPC::Shm->import(namespace => "$small/space");
        my $hash = tied_hash('IPC::Shm::Tied');
        my $n    = 0;
        while (eval { $hash->{ 'key' . $n } = 'x' x 100; 1 }) {
            die "it does not get full\n" if ++$n > 200_000;
        }
        min(
            map {
                1e-3 * cpu_ns(
                    sub {
                        for my $key (@{ $_[0] }) {
                            eval { $hash->{$key} = 'x' x 100; 1 } and die "a store found room\n";
                        }
                    },
                    [ map {"more$_"} 1 .. 100 ],
                    1
                )
            } 1 .. $turns * 2
        );
    };
    my $why = $@;
    system "umount -l '$small'";
    die $why if !defined $us;
    return $us;
}

sub full_disk {
    my ($us) = apart(\&full);
    if   ($us =~ /^needs/) { print "a store on a full filesystem: skipped, it $us\n" }
    else                   { found(what => 'a store that finds the filesystem full', figure => $us, unit => 'µs', bar => 50) }
    return;
}

# ---- plain Perl

# What a program does that shares nothing, with IPC::Shm loaded or without.
my $plain = <<'PERL';
use Time::HiRes qw(clock_gettime CLOCK_PROCESS_CPUTIME_ID);
my %h = map { ("key$_" => $_) } 1 .. 1000; my @k = keys %h; my @a = 1 .. 1000; my $line = join ',', @a;
sub add { my ($x, $y) = @_; return $x + $y }
my %code = (
    elements => sub { my $x = 0; for my $k (@k) { $x += $h{$k}; $h{$k} = $x; $a[ $x % 1000 ] = $x } },
    slices   => sub { for my $i (0 .. 99) { my @x = @a[ $i .. $i + 9 ]; my @y = @h{ @k[ $i .. $i + 9 ] } } },
    lists    => sub { for (1 .. 10) { my @copy = @a; my %copy = @copy[ 0 .. 99 ]; my ($x, $y) = @copy } },
    sort     => sub { my @sorted = sort @k; my @numbers = sort { $a <=> $b } @a },
    split    => sub { my @parts = split /,/, $line for 1 .. 5 },
    calls    => sub { my $x = 0; $x = add($x, $_) for 1 .. 1000 },
);
for my $name (sort keys %code) {
    my $best;
    for (1 .. 5) {
        my $start = clock_gettime(CLOCK_PROCESS_CPUTIME_ID);
        $code{$name}->() for 1 .. 20;
        my $took = clock_gettime(CLOCK_PROCESS_CPUTIME_ID) - $start;
        $best = $took if !defined $best || $took < $best;
    }
    printf "%s %.9f\n", $name, $best;
}
PERL

sub plain_perl {
    my %best;
    for my $turn (1 .. max(1, int 6 * $turns * $scale)) {
        for my $with ('', 'use IPC::Shm; ') {
            progress("plain Perl, $turn");
            open my $from, '-|', $^X, (map {"-I$_"} grep { !ref } @INC), '-e', $with . $plain or die "perl: $!\n";
            while (<$from>) { my ($name, $took) = split; $best{$name}{$with} = min($took, $best{$name}{$with} // $took) }
            close $from or die "plain Perl failed.\n";
        }
    }
    for my $name (sort keys %best) {
        my ($without, $with) = map { $_ * 1e6 / 20 } @{ $best{$name} }{ '', 'use IPC::Shm; ' };
        found(
            what    => "plain Perl, IPC::Shm loaded: $name",
            figure  => $with,
            unit    => 'µs',
            against => 'without',
            other   => $without,
            bar     => 1.02
        );
    }
    return;
}

# ---- all of them

my @themes = (
    [ keys      => \&many_keys,      'fetch and store by number of keys' ],
    [ scalars   => \&some_scalars,   'fetch and store of a scalar' ],
    [ processes => \&many_processes, 'one hash by number of processes' ],
    [ lookers   => \&others_look_on, 'a store while others look on' ],
    [ million   => \&a_million_keys, 'a new process, and what a million keys take' ],
    [ records   => \&many_records,   'a hash of hashes' ],
    [ arrays    => \&some_arrays,    'a queue, and splice' ],
    [ whole     => \&whole_hashes,   'keys and copies' ],
    [ names     => \&many_names,     'declarations' ],
    [ variables => \&many_variables, 'anonymous variables' ],
    [ full      => \&full_disk,      'a filesystem that is full' ],
    [ plain     => \&plain_perl,     'plain Perl' ],
);

sub machine {
    open my $file, '<', '/proc/cpuinfo' or die "cpuinfo: $!\n";
    my @model = map { /^model name\s*:\s*(.*)/ ? $1 : () } <$file>;
    return sprintf '%d cores of %s, Linux %s, Perl %vd', scalar @model, $model[0] // 'a processor', (uname())[2], $^V;
}

if ($list) {
    table(map { [ @$_[ 0, 2 ] ] } @themes);
    exit;
}
my %wanted = map { $_ => 1 } split /,/, $rows;
for my $name (keys %wanted) {
    die "There is no row '$name': see --list\n" if !grep { $_->[0] eq $name } @themes;
}
push @data, { kind => 'run', machine => machine(), date => strftime('%Y-%m-%d', gmtime), turns => $turns, scale => $scale };
printf "%s; best of %d turns%s. Hash::SharedMem %s.\n\n", $data[0]{machine}, $turns, $scale == 1 ? '' : ", scale $scale",
    $peer ? Hash::SharedMem->VERSION : 'is not installed';
for my $theme (@themes) {
    next if %wanted && !$wanted{ $theme->[0] };
    my $start = time;
    $theme->[1]->();
    progress();
    printf "%s (%.0f s)\n", $theme->[2], time - $start;
    show();
}
if (defined $data) {
    open my $out, '>', $data or die "$data: $!\n";
    print {$out} $json->encode($_), "\n" for @data;
    close $out or die "$data: $!\n";
}
