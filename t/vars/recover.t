use strict;
use warnings;
use lib 't/lib';
use ShmTest;
use Test::More;
use POSIX ();
use IPC::Shm;

# One process recovers all the time, while others make, refer to and drop variables,
# fork, and are killed. What is in use stays.

our %h : shm;
our @a : shm;
our $s : shm;

sub recoverer {
    return child(
        sub {
            while (1) { IPC::Shm->recover }
        }
    );
}

# References that are stored by an assignment of a list: nothing else holds what they
# lead to when the statement is over.
{
    my $recoverer = recoverer();
    my %lost;
    for my $n (1 .. 3000) {
        %h          = (x => [ $n, { deep => $n } ], y => $n);
        @a          = ([$n], { n => $n });
        @h{qw(p q)} = ({ n => $n }, [$n]);
        ($s, $h{r}) = (\"$n", [$n]);
        $lost{hash}++    if (eval { $h{x}[1]{deep} } // 0) != $n;
        $lost{array}++   if (eval { $a[1]{n} }       // 0) != $n;
        $lost{slice}++   if (eval { $h{q}[0] }       // 0) != $n;
        $lost{scalars}++ if (eval { $h{r}[0] + $$s } // 0) != 2 * $n;
        my %lexical : shm = (list => [ $n, [$n] ]);
        $lost{lexical}++ if (eval { $lexical{list}[1][0] } // 0) != $n;
        last             if %lost;
    }
    is join(',', map {"$_: $lost{$_}"} sort keys %lost), '', 'what was stored stays, while another process recovers';
    kill KILL => $recoverer;
    waitpid $recoverer, 0;
    (%h, @a, $s) = ();
    %h = ();
    @a = ();
    $s = undef;
}

# A parent dies as soon as it has forked: what it leaves to its child is the child's,
# from the first moment on.
{
    my @recoverers = map { recoverer() } 1 .. 2;
    pipe my $in, my $out or die $!;
    my $rounds  = $ENV{SHM_FORKS} || 400;
    my @workers = map {
        child(
            sub {
                for my $round (1 .. $rounds / 4) {
                    my $parent = fork // die $!;
                    if (!$parent) {
                        my %l : shm = (a => [ 1, { b => 2 } ]);
                        my $child = fork // die $!;
                        kill KILL => $$ if $child;
                        my $got = eval { $l{a}[1]{b} };
                        my $ok  = defined $got && $got == 2;
                        print STDERR '# child of a dead parent: ', $got // 'undef', ", $@\n" if !$ok;
                        syswrite $out, $ok ? '.' : 'x';
                        POSIX::_exit(0);
                    }
                    waitpid $parent, 0;
                }
            }
        )
    } 1 .. 4;
    close $out;
    my $all = '';
    while (sysread $in, my $some, 1000) { $all .= $some }
    ok finish(@workers), '(the parents are dead)';
    is $all =~ tr/x//, 0,       'no child has lost what its parent had';
    is length $all,    $rounds, '… and none is missing';
    kill KILL => @recoverers;
    finish(@recoverers);
}
ok until_true(sub { IPC::Shm->recover; IPC::Shm->stats->{variables} == 3 }), 'nothing is left behind in the end';
IPC::Shm->cleanup;
done_testing;
