#!/usr/bin/env perl
# One process stands still in the middle of an operation on shared variables, at each
# of its accesses to shared memory; another does all of another operation; the first
# goes on. Readers never see what was not stored, locks exclude, and nobody hangs.
#
#   prove -bv xt/shm-meet.t :: PATTERN    meetings with this in their names
use strict;
use warnings;
use Config;
use FindBin;
use Test::More;

BEGIN { plan skip_all => 'running to an access is written for x86-64 Linux' if $Config{archname} !~ /x86_64/ }
use lib $FindBin::Bin;
use IPC::Shm;
use KillPoint;
use Step;

our (%h, @a, $s, $t);

my %flat = (a => 1, b => 2, c => 3);

# A check of what the victim found: one of these.
sub one_of {
    my (@wanted) = @_;
    return sub {
        my ($found) = @_;
        return if grep { $found eq $_ } @wanted;
        return 'the victim found ' . substr($found, 0, 200) . ', not one of ' . join ', ', map { substr $_, 0, 200 } @wanted;
    };
}

sub rows {
    my ($value) = @_;
    return map { ("key$_" => $value x 60) } 1 .. 9;
}

# --- reading, while others write ---------------------------------------------------------

my @reading = (
    {
        name      => 'fetch of a scalar meets a store',
        before    => { '$s' => 'old' },
        started   => sub { $s = 'middle' },
        run       => sub {$s},
        meanwhile => sub { $s = 'new' },
        met       => one_of(qw(middle new)),
        after     => { '$s' => 'new' }
    },
    {
        name      => 'fetch of a scalar of many blocks meets two stores, which take its blocks',
        before    => { '$s' => 'o' x 700 },
        started   => sub { $s = 'm' x 900 },
        run       => sub {$s},
        meanwhile => sub { $s = 'l' x 900; $s = 'n' x 900 },
        met       => one_of('m' x 900, 'n' x 900),
        after     => { '$s' => 'n' x 900 }
    },
    {
        name      => 'fetch of a scalar meets the same blocks with what another variable holds',
        before    => { '$s' => 'o' x 700, '$t' => '' },
        started   => sub { $s = 'm' x 900 },
        run       => sub {$s},
        meanwhile => sub { $s = 'new'; $s = 'n' x 300; $t = 't' x 1200 },
        met       => one_of('m' x 900, 'n' x 300),
        after     => { '$s' => 'n' x 300, '$t' => 't' x 1200 }
    },
    {
        name      => 'copy of a hash meets list assignments',
        before    => { '%h' => {} },
        started   => sub { %h       = rows('m') },
        run       => sub { my %copy = %h;        text_of(\%copy) },
        meanwhile => sub { %h       = rows('l'); %h = rows('n') },
        met       => one_of(map { text_of({ rows($_) }) } qw(m n)),
        after     => { '%h' => { rows('n') } }
    },
    {
        name      => 'fetch from a hash meets stores that begin new snapshots',
        before    => { '%h' => {%flat} },
        started   => sub { $h{b} = 'middle' },
        run       => sub { $h{b} },
        meanwhile => sub { $h{c} = 'x' x (100 + $_) for 1 .. 20; $h{b} = 'new'; $h{c} = 3 },
        met       => one_of(qw(middle new)),
        after     => { '%h' => { %flat, b => 'new' } }
    },
    {
        name      => 'keys of a hash meet deletes',
        before    => { '%h' => {%flat} },
        started   => sub { $h{d} = 4 },
        run       => sub { join ',', sort keys %h },
        meanwhile => sub { delete @h{qw(a d)} },
        met       => one_of('a,b,c,d', 'b,c,d', 'b,c'),
        after     => { '%h' => { b => 2, c => 3 } }
    },
    {
        name      => 'elements of an array meet shift and push',
        before    => { '@a' => [] },
        started   => sub { @a = (1 .. 9) },
        run       => sub { my @copy = @a; "@copy" },
        meanwhile => sub { shift @a; push @a, 10 },
        met       => one_of('1 2 3 4 5 6 7 8 9', '2 3 4 5 6 7 8 9', '2 3 4 5 6 7 8 9 10'),
        after     => { '@a' => [ 2 .. 10 ] }
    },
    {
        name    => 'fetch of a scalar meets its removal',
        before  => { '$s' => 'old' },
        started => sub { $s = 'm' x 900 },
        run     => sub {
            eval {$s} // ($@ =~ /was removed/ ? 'removed' : $@);
        },
        meanwhile => sub { (tied $s)->remove; undeclare('$s'); declare('$s'); $s = 'n' x 900 },
        met       => one_of('m' x 900, 'removed'),
        after     => { '$s' => 'n' x 900 }
    },
);

# --- locks ------------------------------------------------------------------------------------

# The survivor takes a lock, if it is to be had at once, and keeps it until the other one
# sleeps or is at its end. What it then finds in the variable must stay.
my ($locked, $text);

sub try_lock {
    my ($kind) = @_;
    return sub { $text = text_of(\%h) if $locked = (tied %h)->$kind(0) };
}

sub give_back {
    same(text_of(\%h), $text, 'under the lock') if $locked;
    undef $locked;
    (tied %h)->unlock;
    return;
}

# Both together must not have a lock.
sub not_both {
    my ($found) = @_;
    my @complaints;
    push @complaints, "it has no lock, but '$found'" if $found ne '1';
    push @complaints, 'both have a lock'             if $locked;
    return @complaints;
}

# The other one stores, which it cannot while we have a lock.
sub stored {
    my ($found) = @_;
    give_back();
    return $found eq '1' ? () : "it has not stored, but '$found'";
}

my @locking = (
    {
        name      => 'readlock meets writelock',
        before    => { '%h' => {%flat} },
        run       => sub { (tied %h)->readlock },
        meanwhile => try_lock('writelock'),
        wake      => \&give_back,
        met       => \&not_both
    },
    {
        name      => 'writelock meets readlock',
        before    => { '%h' => {%flat} },
        run       => sub { (tied %h)->writelock },
        meanwhile => try_lock('readlock'),
        wake      => \&give_back,
        met       => \&not_both
    },
    {
        name      => 'writelock meets writelock',
        before    => { '%h' => {%flat} },
        run       => sub { (tied %h)->writelock },
        meanwhile => try_lock('writelock'),
        wake      => \&give_back,
        met       => \&not_both
    },
    {
        name      => 'store meets a writer',
        before    => { '%h' => {%flat} },
        run       => sub { $h{b} = 'victim'; 1 },
        meanwhile => sub { try_lock('writelock')->(); $h{c} = 'survivor' if $locked; $text = text_of(\%h) },
        wake      => \&give_back,
        met       => sub { $h{c} = 'survivor'; return stored(@_) },
        after     => { '%h' => { a => 1, b => 'victim', c => 'survivor' } }
    },
    {
        name      => 'store meets a reader',
        before    => { '%h' => {%flat} },
        run       => sub { $h{b} = 'victim'; 1 },
        meanwhile => try_lock('readlock'),
        wake      => \&give_back,
        met       => \&stored,
        after     => { '%h' => { %flat, b => 'victim' } }
    },
    {
        name      => 'wait_change meets a store',
        before    => { '%h' => {%flat} },
        run       => sub { (tied %h)->wait_change },
        meanwhile => sub { $h{b} = 'new' },
        wake      => sub { $h{b} = 'new' },
        met       => one_of(1),
        after     => { '%h' => { %flat, b => 'new' } }
    },
    {
        name   => 'recover meets stores',
        before => { '%h' => {%flat}, '$s' => 'o' x 700 },
        setup  => sub {
            die_in(45, sub { $s = 'd' x 900 });
            die_in(40, sub { $h{b} = 'd' x 900 });
        },
        run       => sub { IPC::Shm->recover; 1 },
        meanwhile => sub { $s = 'l' x 900;    $s = 'n' x 500; $h{b} = 'n' x 900 },
        met       => one_of(1),
        every     => 15,
        after     => { '%h' => { %flat, b => 'n' x 900 }, '$s' => 'n' x 500 }
    },
);

# A writer looks for readers (the mark that there may be some is left from before), and
# stands; a reader begins to lock, and stands; the writer goes on until it has changed
# something, and dies; somebody takes its place, and leaves; the reader goes on. Its lock
# must hold.
for my $events (map { 6 * $_ } 1 .. 20) {
    my $writer;
    my $end_of_it = sub {
        return if !$writer;
        Step::run_to_store($writer);
        Step::kill($writer);
        waitpid $writer, 0;
        undef $writer;
        (tied %h)->unlock if (tied %h)->writelock(0);
    };
    push @locking, {
        name    => "readlock meets the death of a writer after access $events, and its heir",
        before  => { '%h' => {%flat} },
        setup   => sub { (tied %h)->readlock; (tied %h)->unlock },
        started => sub {
            $writer = Step::start(folder => namespace(), all => 1, run => sub { $h{a} = 'dead' });
            Step::run($writer, $events);
        },
        run       => sub { (tied %h)->readlock },
        meanwhile => $end_of_it,
        wake      => $end_of_it,
        met       => sub { try_lock('writelock')->(); return not_both(@_) },
    };
}

$_->{all} = 1 for @reading, @locking;
$_->{settle} //= sub { (tied %h)->unlock if tied %h }
    for @locking;

prove_operations(@reading, @locking);
