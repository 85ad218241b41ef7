#!/usr/bin/env perl
# Everything at random, from eight processes, which are killed and stopped at random: a minute.
#
#   SOAK_SECONDS=7200 prove -bv xt/soak.t
#   SOAK_SEED=123                          the dice of a run that printed it
#
# After each round nobody is left but this process. Then: accounts add up, no job is lost, none was
# taken twice, what a hash or array holds is whole, and after a recovery all memory is some
# variable's; when the variables are emptied, no other one is there.
use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use Time::HiRes qw(sleep time setitimer ITIMER_REAL);
use IPC::Shm;

my $seconds = $ENV{SOAK_SECONDS} // 60;
my $seed    = $ENV{SOAK_SEED}    // time ^ $$;
my $workers = 8;
my $round_s = 4;
srand $seed;
note "SOAK_SEED=$seed";

our (%bank,   %hash, %nest,  %cache, %small, %pushed, %done, %taken) : shm;
our (@list,   @jobs, @plain, @ring) : shm;
our ($number, $text, $next) : shm;

my @accounts    = map {"account $_"} 1 .. 20;
my $total       = 1000 * @accounts;
my $cache_limit = 50;

# --- what the workers do

sub dice { return int rand shift }

# A value that says whether it is whole.
sub value {
    my ($key)  = @_;
    my $length = dice(20) ? dice(200) : dice(20_000);
    my $letter = chr 97 + dice(26);
    return "$key:$length:" . $letter x $length;
}

sub is_value {
    my ($key, $value) = @_;
    return defined $value && $value =~ /\A\Q$key\E:(\d+):((\w)\g3*|)\z/ && length($2) == $1;
}

sub key { return 'key ' . dice(shift // 200) }

# What is wrong stops the worker, and its parent sees it.
my $trouble;    # a file

sub wrong {
    my ($text) = @_;
    open my $out, '>>', $trouble or die "$trouble: $!";
    print {$out} "$text\n";
    close $out or die "$trouble: $!";
    return;
}

sub check_hash {
    my %copy = %hash;
    for my $key (keys %copy) { is_value($key, $copy{$key}) or return wrong("%hash: $key is " . substr $copy{$key} // 'undef', 0, 60) }
    return;
}

sub transfer {
    my ($from, $to) = @accounts[ dice(scalar @accounts), dice(scalar @accounts) ];
    my $amount = dice(100);
    return if $from eq $to;
    my $lock = (tied %bank)->lock_guard('write', 2) or return;
    @bank{ $from, $to } = ($bank{$from} - $amount, $bank{$to} + $amount);
    return;
}

sub sum { my ($bank) = @_; my $sum = 0; $sum += $_ for values %$bank; return $sum }

sub audit {
    my %copy = %bank;
    my $sum  = sum(\%copy);
    wrong("the bank has $sum") if $sum != $total;
    return;
}

sub audit_locked {
    my $lock = (tied %bank)->lock_guard('read', 2) or return;
    my $sum  = 0;
    $sum += $bank{$_} for @accounts;
    wrong("the bank, locked, has $sum") if $sum != $total;
    return;
}

# Two locks, in any order: a deadlock is told.
sub two_locks {
    my ($one, $two) = dice(2) ? (\%hash, \@ring) : (\@ring, \%hash);
    my $object = sub { ref $_[0] eq 'HASH' ? tied %{ $_[0] } : tied @{ $_[0] } };
    my $kind   = dice(2) ? 'write' : 'read';
    eval {
        my $first  = $object->($one)->lock_guard($kind,   2) or die "late\n";
        my $second = $object->($two)->lock_guard('write', 1) or die "late\n";
        $hash{pair} = value('pair');
        @ring = (1) x (1 + dice(30));
        1;
    } or $@ =~ /Deadlock|late/ or wrong("two locks: $@");
    return;
}

sub work_on_job {
    my ($n, $ticket) = (tied @jobs)->reserve(0) or return;
    return (tied @jobs)->release($ticket) if !dice(8);
    (tied @jobs)->done($ticket, sub { (tied %done)->insert($n, $$) });
    return;
}

sub take_plain {
    my $n = dice(2) ? shift @plain : (tied @plain)->take(0);
    return if !defined $n;
    (tied %taken)->insert($n, $$) or wrong("$n was taken twice");
    return;
}

sub nest {
    my $key  = key(30);
    my $what = dice(8);
    no warnings 'uninitialized';
    if    ($what == 0) { $nest{$key} = { list => [ 1 .. dice(20) ], deep => { id => $key, text => value($key) } } }
    elsif ($what == 1) { $nest{$key} = bless { id => $key, parts => [ {}, [], \my $x ] }, 'Soak::Thing' }
    elsif ($what == 2) { delete $nest{$key} }
    elsif ($what == 3) { $nest{$key} = $nest{ key(30) } }
    elsif ($what == 4) { my $ring = {}; $ring->{me} = $ring; $nest{$key} = $ring; $nest{$key} = 0 if dice(2) }
    elsif ($what == 5) {
        my $inner = $nest{$key};
        push @{ $inner->{list} }, { n => dice(100) } if ref $inner && !eval { $inner->isa('Soak::Thing') }
    } elsif ($what == 6) {
        my $copy = (tied %nest)->copy;
        ref $copy eq 'HASH' or wrong('copy gave no hash');
    } else {
        my $deep = eval { $nest{$key}{deep}{text} };
        wrong("\$nest{$key}: " . substr $deep, 0, 60) if defined $deep && $deep !~ /\Akey \d+:/;
    }
    return;
}

# A lexical that comes and goes, and may be left in others.
sub lexical {
    my @inner : shm = map { { n => $_ } } 1 .. dice(6);
    my %table : shm = (list => \@inner);
    $nest{ key(30) } = \%table if !dice(4);
    push @inner, 'more';
    return;
}

# A named one that others remove under our hands.
sub named {
    my $name = 'soak.' . dice(3);
    eval {
        tie my %named, 'IPC::Shm::Tied', $name;
        $named{ key(5) } = { n => 1 };
        (tied %named)->remove if !dice(3);
        1;
    } or $@ =~ /was removed/ or wrong("named: $@");
    return;
}

no warnings 'misc';    # others make an array shorter between a look at its length and a splice
my @acts = (
    sub { my $key = key(); $hash{$key} = value($key) },
    sub {
        my $key   = key();
        my $value = $hash{$key};
        !defined $value || is_value($key, $value) or wrong("\$hash{$key}: " . substr $value, 0, 60);
    },
    sub { delete $hash{ key() } },
    sub {
        my @some = map { key() } 1 .. 3;
        delete @hash{@some};
    },
    sub {
        my @some = map { key() } 1 .. 3;
        @hash{@some} = map { value($_) } @some;
    },
    sub {
        %hash = map { $_ => value($_) } map { key() } 1 .. dice(100) if !dice(30);
    },
    \&check_hash,
    sub {
        my $n = 0;
        while (my ($key, $value) = each %hash) { last if $n++ > 20 }
        keys %hash;
    },
    (\&transfer) x 3,
    \&audit,
    \&audit_locked,
    \&two_locks,
    sub { @list = (value('list')) x (1 + dice(60)) },
    sub {
        my @copy  = @list;
        my %kinds = map { $_ => 1 } @copy;
        keys %kinds < 2 or wrong('@list is of ' . keys(%kinds) . ' assignments');
    },
    sub { splice @ring, dice(20), dice(4), (dice(100)) x dice(4) if @ring > 20; push @ring, 1 .. dice(4) if @ring < 4000 },
    sub { pop @ring; unshift @ring, dice(9); shift @ring; @ring = reverse @ring if !dice(40); $#ring = 10 if !dice(20) },
    sub { $ring[ dice(40) ] = { n => 1, text => 'x' x dice(3000) }; delete $ring[ dice(40) ] },
    sub { my $n = (tied $next)->add(1); push @jobs,  $n; $pushed{$n} = 1 },
    sub { my $n = (tied $next)->add(1); push @plain, $n },
    (\&work_on_job) x 2,
    (\&take_plain) x 2,
    sub { (tied @jobs)->reserved },
    (\&nest) x 3,
    \&lexical,
    \&named,
    sub { (tied %cache)->store(key(), value('cache'), 0.02 + rand 0.3) },
    sub { my $value = $cache{ key() }; !defined $value || is_value('cache', $value) or wrong('the cache: ' . substr $value, 0, 60) },
    sub { (tied %cache)->touch(key(), rand 1); (tied %cache)->sweep if !dice(10) },
    sub { my $key = key(1000);  $small{$key} = $key; keys %small <= $cache_limit or wrong('the limit was passed: ' . keys %small) },
    sub { $number = dice(1000); my $got = $number; $got =~ /\A\d+\z/ or wrong("\$number is $got") },
    sub { $text   = dice(2) ? value('text') : 'text:0:'; is_value('text', $text) or wrong('$text is ' . substr $text, 0, 60) },
    sub {
        (tied %hash)->update('update', sub { $_ = value('update') });
    },
    sub { (tied %hash)->exchange('exchange', value('exchange')) },
    sub { (tied @jobs)->wait_change(0.002) },
    sub { IPC::Shm->recover if !dice(60) },
    sub { IPC::Shm->list    if !dice(60) },
);

# Nobody waits for what may be stopped for longer than this.
sub worker {
    my ($dice) = @_;
    srand $dice;
    local $SIG{ALRM} = 'DEFAULT';
    my $go_on = 1;
    local $SIG{TERM} = sub { $go_on = 0 };
    while ($go_on) {
        my $act = dice(scalar @acts);
        setitimer(ITIMER_REAL, 1e-6 + rand 0.0004) if !dice(40);    # the end, somewhere in the middle
        eval { $acts[$act]->(); 1 } or wrong("act $act: $@");
    }
    return;
}

# --- those who kill them

my ($kills, $stops, $rounds) = (0, 0, 0);

sub round {
    my %pid = map { child_of_soak() => 1 } 1 .. $workers;
    my $end = time + $round_s;
    my %stopped;
    my $few = sub { $kills <= 10 * ($rounds + 1) || $next <= 100 * ($rounds + 1) };    # on a busy machine it takes longer
    while ((time < $end || $few->()) && !-s $trouble) {
        sleep rand 0.01;
        my @living = keys %pid;
        my $one    = $living[ dice(scalar @living) ];
        if (!dice(4)) {
            kill KILL => $one;
            waitpid $one, 0;
            delete $pid{$one};
            delete $stopped{$one};
            $pid{ child_of_soak() } = 1;
            $kills++;
        } elsif (!dice(3)) {
            kill STOP => $one;
            $stopped{$one} = time + rand 0.2;
            $stops++;
        }
        for my $pid (grep { waitpid($_, 1) > 0 } keys %pid) {
            delete $pid{$pid};
            delete $stopped{$pid};
            $pid{ child_of_soak() } = 1;
            $kills++;
        }
        for my $pid (grep { $stopped{$_} < time } keys %stopped) {
            kill CONT => $pid;
            delete $stopped{$pid};
        }
    }
    my @living = keys %pid;
    kill TERM => @living[ 0 .. 3 ];
    sleep 0.05;
    kill CONT => @living;
    kill KILL => @living[ 4 .. $#living ] if !-s $trouble;
    kill TERM => @living;
    for my $pid (@living) {
        my $late = time + 60;
        while (waitpid($pid, 1) == 0) {
            if (time > $late) { wrong("$pid hangs: " . stack_of($pid)); kill KILL => $pid }
            sleep 0.01;
        }
    }
    return;
}

sub stack_of {
    my ($pid) = @_;
    open my $in, '<', "/proc/$pid/syscall" or return 'gone';
    return scalar(readline $in) =~ s/\n//r;
}

sub child_of_soak {
    my $dice = dice(2**31);
    return child(sub { worker($dice) });
}

# --- what holds when nobody else is there

sub nobody_left {
    my %of = map { $_ => 1 } map {
        @{ $_->{attached} }, @{ $_->{readers} },
            grep {defined}
            $_->{writer}
    } IPC::Shm->list;
    return join ' ', grep { $_ != $$ } keys %of;
}

sub memory_left {
    my $stats  = IPC::Shm->stats;
    my $needed = 0;
    $needed += $_->{blocks} for IPC::Shm->list;
    return $stats->{blocks} == $needed ? '' : "$stats->{blocks} blocks, $needed of variables";
}

# Jobs that are left are done here; each was done once, by whomever.
sub jobs_left {
    while (my ($n, $ticket) = (tied @jobs)->reserve(0)) {
        (tied @jobs)->done($ticket, sub { (tied %done)->insert($n, $$) });
    }
    take_plain() while @plain;
    return scalar(() = (tied @jobs)->reserved);
}

sub check_round {
    audit();
    audit_locked();
    check_hash();
    is jobs_left(),                                 0,  'nothing is reserved';
    is join(' ', grep { !$done{$_} } keys %pushed), '', 'no job is lost that can be reserved';
    my %seen = (%done, %taken);
    is keys(%seen), keys(%done) + keys(%taken), 'no job is of both queues';
    my $missing = $next - keys %seen;
    cmp_ok $missing, '<=', $kills, "$missing of $next jobs were with those who were killed ($kills), or not pushed yet";
    %cache = ();    # what has expired is no element, though it may be there
    IPC::Shm->recover;
    is nobody_left(), '', 'nobody else is attached, nor has a lock';
    is memory_left(), '', 'all memory is some variable\'s';
    %hash = %nest = ();
    @ring = @list = ();
    delete $IPC::Shm::NAMEVARS{$_} for grep {/soak/} keys %IPC::Shm::NAMEVARS;
    IPC::Shm->recover;
    my $stats = IPC::Shm->stats;
    is $stats->{variables}, $stats->{named}, 'no variable but the named ones' or diag_anonymous();
    is memory_left(),       '',              'all memory is some variable\'s, again';
    return;
}

sub diag_anonymous {
    for my $one (grep { !defined $_->{name} } IPC::Shm->list) {
        diag "anonymous: $one->{type} of $one->{elements}, refs $one->{refs}, attached @{$one->{attached}}";
    }
    return;
}

$trouble         = namespace_dir() =~ s{/namespace\z}{/trouble}r;
@bank{@accounts} = (1000) x @accounts;
$next            = 0;
(tied %small)->limit($cache_limit);
(tied %cache)->expire(1);
my $end = time + $seconds;
do {
    round();
    $rounds++;
    check_round();
    if (open my $in, '<', $trouble) { fail "round $rounds: $_" while <$in>; $end = 0 }
} while (time < $end && Test::More->builder->is_passing);

my $jobs = $next;
cmp_ok $jobs,  '>', 100 * $rounds, "$rounds rounds, $jobs jobs";
cmp_ok $kills, '>', 10 * $rounds,  "$kills kills, $stops stops";
delete $IPC::Shm::NAMEVARS{$_} for keys %IPC::Shm::NAMEVARS;
is(IPC::Shm->stats->{named}, 0,  'all are removed');
is(memory_left(),            '', 'no memory but what handles of removed ones keep');
IPC::Shm->cleanup;

done_testing;
