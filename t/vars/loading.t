use strict;
use warnings;
use lib 't/lib';

# Parts of IPC::Shm are loaded when they are needed. A signal comes at any statement of that, and its handler needs
# them, too. Perl tells when a statement begins, as it tells a debugger.
my ($at, $passed) = (0, 0);

BEGIN {
    $^P |= 0x02;
    *DB::DB = sub {
        return if !$at || (caller)[1] !~ m{\bIPC/Shm} || ++$passed != $at;
        kill USR1 => $$;
    };
}
use ShmTest;
use Test::More;
use IPC::Shm;

local $DB::trace = 1;

# In a process that has not used anything yet.
my %use = (
    'a method' => sub {
        tie my %h, 'IPC::Shm::Tied', 'h';
        (tied %h)->insert("of $_[0]" => 1);
        (tied %h)->store(a => 1, 60);
        (tied %h)->copy;
        tie my @a, 'IPC::Shm::Tied', 'a';
        my ($job, $ticket) = (tied @a)->reserve(0);
        (tied @a)->done($ticket // '0' x 48);
        (tied @a)->reserved;
    },
    'a guard' => sub {
        tie my @a, 'IPC::Shm::Tied', 'a';
        my $guard = (tied @a)->lock_guard;
    },
);
my $stride = on_server() ? 61 : 1;    # connecting takes long

for my $what (sort keys %use) {
    my ($n, $ran, @wrong) = (1, 0);
    while (1) {
        my $said = in_child(
            sub {
                my $handled = '';
                local $SIG{USR1} = sub {
                    my $was = $at;
                    $at      = 0;
                    $handled = 'handled';
                    $use{$what}->('handler');
                };
                $at = $n;
                my $ok = eval { $use{$what}->('program'); 1 };
                $at = 0;
                return $ok ? $handled : "$n: $@";
            }
        );
        last if $said eq '';
        $said eq 'handled' ? $ran++ : push @wrong, $said;
        last if @wrong > 3;
        $n += $stride;
    }
    is "@wrong", '', "$what: a handler that comes while what it needs is loaded finds it";
    cmp_ok $ran, '>', 2, "... $ran times";
}

IPC::Shm->cleanup;
done_testing;
