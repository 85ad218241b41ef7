use strict;
use warnings;
use lib 't/lib';

# A signal handler that dies at any statement of a call: at each one in turn, a signal comes. Perl tells when a
# statement begins, as it tells a debugger.
my ($at, $passed, $calls_end) = (0, 0, 0);

BEGIN {
    $^P |= 0x02;
    *DB::DB = sub {
        my (undef, $file, $line) = caller;
        return if !$at || ($file !~ m{\bIPC/Shm} && !($file eq __FILE__ && $line < $calls_end));
        return if ++$passed != $at;
        kill USR1 => $$;
    };
}
use ShmTest;
use Test::More;
use IPC::Shm;

local $DB::trace = 1;
our %h : shm;
our @a : shm;
my ($hash, $array) = (tied %h, tied @a);
my $ticket;

my %call = (
    'lock_guard'         => sub { my $guard = $hash->lock_guard;             1 },
    'lock_guard to read' => sub { my $guard = $array->lock_guard('read', 5); 1 },
    'a guard inside'     => sub { my $guard = $hash->lock_guard('read');     my $inner = $hash->lock_guard('write'); 1 },
    'release'            => sub { my $guard = $hash->lock_guard;             $guard->release;                        1 },
    'synchronize'        => sub {
        $hash->synchronize(sub { $h{s}++ });
        1;
    },
    'insert'   => sub { $hash->insert(new => 1) },
    'replace'  => sub { $hash->replace(a => 0, 1) },
    'exchange' => sub { $array->exchange(1 => 'x'); 1 },
    'update'   => sub {
        $hash->update(a => sub { $_ .= 'more' });
        1;
    },
    'update with more' => sub {
        $hash->update(a => sub { $h{b} = 1 });
        1;
    },
    'a slice'       => sub { @h{qw(a b)} = (1, 2); 1 },
    'sort in place' => sub {
        @a = sort { $b <=> $a } @a;
        1;
    },
    'done with a sub' => sub {
        $array->done($ticket, sub { $h{done} = 1; $a[0] = 'done' });
        1;
    },
    'a declaration as well' => sub { my %lexical : shm = (a => 1); my $guard = (tied %lexical)->lock_guard; 1 },
);

$calls_end = __LINE__;

# Another process says whether it could change what the call was about, and what it sees.
pipe my $ask,  my $to_him or die $!;
pipe my $said, my $to_me  or die $!;
my $other = child(
    sub {
        close $to_him;
        while (sysread $ask, my $byte, 1) {
            my @free = map { $_->writelock(0) // 0 } $hash, $array;
            $_->unlock for $hash, $array;
            syswrite $to_me, ($h{after} // '') . " @free\n";
        }
    }
);
close $ask;

my $turn = 0;

sub seen_by_other {
    $h{after} = ++$turn;
    syswrite $to_him, 'x';
    return ChildTest::read_line($said);
}

local $SIG{USR1} = sub { die "out\n" };
for my $what (sort keys %call) {
    my (@left, $died);
    for my $n (1 .. 2000) {
        %h      = (a => 0);
        @a      = (1, 2, 3);
        $ticket = ($array->reserve(0))[1];
        $passed = 0;
        my $ok = eval {
            local $SIG{__WARN__} = sub { };    # where perl takes no exception
            $at = $n;
            $call{$what}->();
        };
        my $reached = $passed >= $n;
        $at = 0;
        $died++ if !$ok;
        my $seen = seen_by_other();
        push @left, "$n: $seen" if $seen ne "$turn 1 1\n" || $hash->is_open || $array->is_open;
        for (@left ? ($hash, $array) : ()) {
            eval { $_->abort };
            $_->unlock;
        }
        $array->done($ticket);
        last if @left > 3 || !$reached;
    }
    is "@left", '', "$what: a handler that dies at any statement leaves no lock and no change";
    ok $died, '... and it has died';
}
close $to_him;
finish($other);

IPC::Shm->cleanup;
done_testing;
