use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Config;
use File::Temp 'tempdir';
use Test::More;
use IPC::Shm;

# The wall clock is set, back and forth: nothing vanishes sooner or later or comes back, no wait ends
# sooner or later, and nobody is taken for dead. It is set for single processes, by a library that shifts
# what they are told (t/lib/clock.c): this machine's clock is other people's, too. Clocks that nobody can set are
# shifted by a time namespace, where that can be had.

plan skip_all => 'elements on Redis vanish by the clock of the server' if on_server();

my $dir     = tempdir(CLEANUP => 1);
my $library = "$dir/clock.so";
my @cc      = (split(' ', $Config{cc}), qw(-shared -fPIC -O1 -Wall -Werror -o), $library, 't/lib/clock.c');
my $built   = qx{@cc 2>&1};
plan skip_all => "no working C compiler: $built" if $? != 0;

our %h : shm;
our @q : shm;
our $locked : shm;

# The program sets its clock by jump(), and says what it finds.
my $program = <<'PERL';
use IPC::Shm;
use Time::HiRes qw(sleep clock_gettime CLOCK_MONOTONIC);
our %h : shm; our @q : shm; our $locked : shm;
my $t = tied %h;
my $year = 365 * 86400;
sub jump { open my $out, '>', "$ENV{CLOCK_SHIFT}.new" or die $!; print $out $_[0]; close $out; rename "$ENV{CLOCK_SHIFT}.new", $ENV{CLOCK_SHIFT} or die $!; return }
sub now { return clock_gettime(CLOCK_MONOTONIC) }
sub took { my ($code) = @_; my $then = now(); $code->(); return now() - $then }
sub say_ok { my ($ok, $what) = @_; print $ok ? 'ok' : 'not ok', " $what\n"; return }
sub until_true { my ($code) = @_; my $then = now(); until ($code->()) { return 0 if now() - $then > 30; sleep 0.01 } return 1 }

jump(0);
my $then = time;
jump($year);
say_ok(($ENV{LD_PRELOAD} // '') !~ m{clock} || time - $then > $year - 100, 'the clock can be set');
jump(0);
$t->store(long => 1, 1000);
my $stored = now();
$t->store(short => 1, 2);
for my $to (10 * $year, -10 * $year, 0) {
    jump($to);
    my $there = keys %h;
    say_ok(exists $h{long} && ($there == 2 || now() - $stored >= 2), "set by $to: nothing has vanished");
    my $left = $t->ttl('long');
    say_ok($left > 900 && $left <= 1000, "set by $to: as many seconds are left ($left)");
}
jump(-10 * $year);
say_ok(until_true(sub { !exists $h{short} }), 'set back: what is to vanish vanishes');
jump(-20 * $year);
say_ok(!exists $h{short} && keys %h == 1, 'set back again: it does not come back');
$t->expire(0.2);
jump(10 * $year);
$h{new} = 1;
jump(-10 * $year);
say_ok(until_true(sub { !exists $h{new} }), 'stored before it is set back: vanishes as well');
jump(0);
say_ok(exists $h{new} ? 0 : 1, '… for good');
$t->expire(undef);
say_ok($t->touch(long => 500) && $t->ttl('long') <= 500, 'touch');

# waits
for my $to (10 * $year, -10 * $year) {
    jump(0);
    my $pid = fork // die;
    if (!$pid) { sleep 0.1; jump($to); exit 0 }
    my $job;
    my $seconds = took(sub { $job = (tied @q)->take(0.4) });
    say_ok(!defined $job && $seconds >= 0.39 && $seconds < 20, "set by $to while it waits: it has waited for so long ($seconds)");
    waitpid $pid, 0;
}

# who is dead: another process, whose clock is right, holds a lock and a job
for my $to (10 * $year, -10 * $year, 0) {
    jump($to);
    say_ok(!defined((tied $locked)->writelock(0.05)), "set by $to: who holds a lock lives");
    my ($one) = (tied @q)->reserved;
    say_ok($one && !$one->{dead}, "set by $to: who has a job lives");
    say_ok(scalar(() = (tied @q)->reserve(0)) == 0, "set by $to: … and keeps it");
}
IPC::Shm->recover;
say_ok(!defined((tied $locked)->writelock(0.05)), 'nor does a recovery take it');
PERL

sub relay {
    my ($what, $said) = @_;
    my @lines = split /\n/, $said;
    cmp_ok scalar(@lines), '==', 24, "$what: the program ends" or diag $said;
    like $_, qr/\Aok /, "$what: " . s/\A(?:not )?ok //r =~ s/\s*\([\d.e-]+\)//r for @lines;
    return;
}

# Meanwhile another process has a lock and a job.
sub held {
    my ($code) = @_;
    %h = ();
    @q = ('job');
    my $pid = child(
        sub {
            (tied @q)->reserve(0);
            (tied $locked)->writelock;
            kill STOP => $$;
        }
    );
    stopped($pid);
    $code->();
    kill KILL => $pid;
    waitpid $pid, 0;
    ok defined((tied $locked)->writelock(30)), 'the lock of one who is dead is free';
    (tied $locked)->unlock;
    is((tied @q)->take(30), 'job', '… and his job the next');
    return;
}

local $ENV{CLOCK_SHIFT} = "$dir/shift";
held(
    sub {
        local $ENV{LD_PRELOAD} = join ' ', grep { defined && length } $ENV{LD_PRELOAD}, $library;
        relay('a wall clock that jumps', program($program));
    }
);
is_deeply [ keys %h ], ['long'], 'this process sees what the other left';

SKIP: {
    my $perl      = $^X;
    my @enter     = (qw(unshare --time --boottime 1000000 --monotonic 500000 --fork));
    my ($outside) = split ' ', qx{cat /proc/uptime};
    my ($inside)  = split ' ', qx{@enter cat /proc/uptime 2>/dev/null} || '0';
    skip 'time namespaces cannot be made here', 1 if $inside < $outside + 900_000;
    held(sub { local $^X = "@enter $perl"; relay('in a time namespace', program($program)) });
}
IPC::Shm->cleanup;
done_testing;
