use strict;
use warnings;
use lib 't/lib';
use RedisTest;
use Test::More;

# done with a sub: one change of all that the sub stores, whatever becomes of the connection, the lock, or the
# server meanwhile. What it does is tested by t/vars/queue.t, on both engines.

my $server = server('appendonly yes', 'appendfsync always');
my $engine = engine($server->url);
my ($q, $other_q, $log) = map { array($engine, "\@main::$_") } qw(q other log);
my ($h, $tree) = map { hash($engine, "%main::$_") } qw(h tree);
my $n = scalar_of($engine, '$main::n');
$$n = 0;
%$h = (x => 1);

sub one_job { @$q = (); push @$q, 'job'; return (tied(@$q)->reserve(0))[1] }

# All that is there.
sub contents {
    return join ' ', $$n, (map {"$_$h->{$_}"} sort keys %$h), "[@$log]", "[@$q]", scalar(tied(@$q)->reserved), tied(@$other_q)->reserved;
}

{
    my $ticket = one_job();
    my $calls  = sub { my ($n) = $server->ask('INFO', 'commandstats') =~ /^cmdstat_evalsha:calls=([0-9]+)/m; return $n };
    my $before;
    my $work = sub {
        $$n++;
        $h->{y} = 2;
        delete $h->{x};
        push @$log, 1, { a => 1 };
        $tree->{a}{b} = 1;
        push @$q, 'next';
        $before = $calls->();
    };
    ok tied(@$q)->done($ticket, $work), 'done with a sub that stores in five variables';
    is $calls->() - $before,                                                             1,                '… is one script';
    is join(' ', $$n, sort(keys %$h), scalar @$log, $log->[1]{a}, $tree->{a}{b}, "@$q"), '1 y 2 1 1 next', '… and all is there';
    is scalar(grep { $_->{writer} || @{ $_->{readers} } } $engine->list),                0,                '… and no lock is left';
    is in_child(sub { $$n = 5; push @$log, 3; shift @$q; $h->{x} = 1; delete $h->{y}; tied(@$log)->lock('write', 0) }), 1,
        '… others store and lock';
}
@$log = ();
$$n   = 0;

my $store = sub { $$n = 9; $h->{x} = 9; push @$log, 9; push @$q, 9 };

# What the sub has meanwhile.
{
    my $ticket = one_job();
    push @$other_q, 'other';
    my ($other_ticket) = (tied(@$other_q)->reserve(0))[1];
    my %is;
    ok tied(@$q)->done(
        $ticket,
        sub {
            $h->{x}    = 2;
            $is{look}  = in_child(sub { $h->{x} });
            $is{lock}  = in_child(sub { tied(%$h)->lock('write', 0) });
            $is{read}  = in_child(sub { tied(%$h)->lock('read',  0) });
            $is{mine}  = tied(%$h)->lock('write', 0);
            $is{gives} = tied(%$h)->unlock;
            $is{still} = in_child(sub { tied(%$h)->lock('read', 0) });
            tied(%$h)->insert(new => 1);
            $is{update} = tied(%$h)->update(x => sub { $_ += 5 });
            $is{remove} = eval { tied(%$h)->remove; 1 } ? 'removed' : $@;
            $is{joint}  = tied(@$other_q)->done($other_ticket);
            $is{others} = in_child(sub { scalar tied(@$other_q)->reserved });
            $is{n}      = push @$log, 1, 2;
            $is{log}    = "@$log";
        }
        ),
        'in the sub';
    like delete $is{remove}, qr/cannot be removed/, '… what it has stored in cannot be removed';
    is_deeply \%is,
        {
        look   => 1,
        lock   => 'undef',
        read   => 'undef',
        mine   => 1,
        gives  => 1,
        still  => 'undef',
        update => 7,
        joint  => 1,
        others => 1,
        n      => 2,
        log    => '1 2'
        },
        '… others look at what was, and wait to change it; it has what it stored'
        or diag explain \%is;
    is contents(), '0 new1 x7 [1 2] [] 0',               '… all of it is one change with the end of the job; that of another queue, too';
    is in_child(sub { tied(%$h)->lock('write', 0) }), 1, '… and all locks are free';
    tied(%$h)->lock('read');
    $ticket = one_job();
    tied(@$q)->done($ticket, sub { $h->{x} = 1; delete $h->{new}; @$log = () });
    is in_child(sub { tied(%$h)->lock('write', 0) // tied(%$h)->lock('read', 0) }), 1, 'a read lock from before stays one';
    is tied(%$h)->unlock,                                                           1, '… to its end';
}

# A reference to what somebody has removed: nothing at all is stored.
{
    my $ticket = one_job();
    my $was    = contents();
    my $gone   = { a => 1 };
    dies_with {
        tied(@$q)->done($ticket, sub { $store->(); $tree->{gone} = $gone; $engine->{conn}->script('remove', tied(%$gone)->{key}, '') });
    }
    qr/A reference leads to a variable that was removed/, 'a reference that leads nowhere';
    is contents(),                                      $was, '… nothing of all is stored';
    is in_child(sub { tied(@$log)->lock('write', 0) }), 1,    '… and no lock is left';
    tied(@$q)->done($ticket);
}

# The process, its connections and the server, in the sub.
my %trouble = (
    'the connection is cut' => [ sub { $server->ask(qw(CLIENT KILL TYPE normal)) }, qr/Lost the connection .* may have happened/ ],
    'the locks are lost'    => [ sub { $server->ask(qw(CLIENT KILL TYPE pubsub)) }, qr/The lock on the shared .* was lost/ ],
    'no memory is left'     => [
        sub { $server->ask(qw(CONFIG SET maxmemory 1)) },
        qr/Cannot store: .* no memory left/,
        sub { $server->ask(qw(CONFIG SET maxmemory 0)) }
    ],
    'the server is ended by SIGKILL and comes back' => [ sub { $server->stop('KILL'); $server->start }, qr/Lost the connection|was lost/ ],
    'the server is gone' => [ sub { $server->stop('KILL') }, qr/Lost the connection|Cannot reach/, sub { $server->start } ],
);
for my $what (sort keys %trouble) {
    my ($make, $says, $mend) = @{ $trouble{$what} };
    my $ticket = one_job();
    my $was    = contents();
    dies_with {
        tied(@$q)->done($ticket, sub { $store->(); $make->() });
    }
    $says, "$what in the sub";
    $mend->() if $mend;
    ok until_true(
        sub {
            eval { my $x = $$n; 1 }
        }
        ),
        '(it is there again)';
    is contents(), $was, '… nothing of it is stored';
    ok until_true(
        sub {
            eval {
                tied(@$q)->done($ticket, sub { $$n++ });
            }
        }
        ),
        '… the job can still be done';
    is $$n, 1, '… once';
    $$n = 0;
    my $others = child(
        sub { tied(%$_)->lock('write', 10) or die "no lock\n" for $h, $tree; tied(@$_)->lock('write', 10) or die "no lock\n" for $log, $q }
    );
    ok finish($others), '… and no lock is left';
}

# Killed at any moment: all of it or nothing. However fast the machine is: once before it can have done anything, and
# once when it is done.
{
    my ($all, $none, $half) = (0, 0, 0);
    for my $i (1 .. 40) {
        pipe my $begun, my $begin   or die $!;
        pipe my $done,  my $is_done or die $!;
        @$q   = ();
        %$h   = ();
        @$log = ();
        push @$q, $i;
        my $pid = child(
            sub {
                ChildTest::read_line($begun) if $i == 1;
                my (undef, $ticket) = tied(@$q)->reserve(0);
                tied(@$q)->done($ticket, sub { $h->{$_} = $i for 1 .. 5; push @$log, $i; $$n = $i });
                syswrite $is_done, "\n";
                sleep ChildTest::LIMIT;
            }
        );
        if   ($i == 2) { ChildTest::read_line($done) }
        else           { select undef, undef, undef, rand(0.014) * (1 + $i / 40) }
        kill 'KILL', $pid;
        finish($pid);
        my $stored = keys %$h;
        $$n = 0, ++$none, next if !$stored && !@$log && $$n != $i;
        if   ($stored == 5 && "@$log" eq $i && $$n == $i && !tied(@$q)->reserved) { $all++ }
        else                                                                      { $half++ }
    }
    is $half, 0, 'killed at random: all of it or nothing';
    ok $all && $none, "… $all times all of it, $none times nothing";
}
done_testing;
