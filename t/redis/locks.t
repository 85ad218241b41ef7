use strict;
use warnings;
use lib 't/lib';
use RedisTest;
use Test::More;
use Time::HiRes qw(time sleep);

# Locks: what the death, the stop and the lost connection of a holder do.

my $server = server();
my $engine = engine($server->url);
my $h      = hash($engine, '%main::h');
my $other  = hash($engine, '%main::other');
my $t      = tied %$h;
%$h = (n => 0);

# A child that does something, says so, and waits to be told to go on.
sub holder {
    my ($code, $after) = @_;
    pipe my $say_r, my $say_w or die $!;
    pipe my $go_r,  my $go_w  or die $!;
    my $pid = child(sub { close $go_w; $code->(); syswrite $say_w, "\n"; sysread $go_r, my $x, 1; $after->() if $after });
    close $say_w;
    close $go_r;
    ChildTest::read_line($say_r);
    return { pid => $pid, go => $go_w };
}
sub let_go { my ($holder) = @_; close $holder->{go}; return finish($holder->{pid}) }

# kill -9: free at once.
my @takeover;
for (1 .. 5) {
    my $holder = holder(sub { $t->lock('write') });
    is $t->lock('write', 0), undef, 'a lock of another process';
    my $killer = child(sub { sleep 0.1; kill 'KILL', $holder->{pid} });
    my $died;
    local $SIG{CHLD} = sub { $died //= time };
    is $t->lock('write', 20), 1, 'the lock of a killed process is free';
    push @takeover, time - ($died // time);
    $t->unlock;
    finish($holder->{pid}, $killer);
}
cmp_ok((sort { $a <=> $b } @takeover)[2], '<', 5, sprintf '… soon (median %.0f ms)', 1000 * (sort { $a <=> $b } @takeover)[2]);
{
    my $holder = holder(sub { $t->lock('read') });
    kill 'KILL', $holder->{pid};
    finish($holder->{pid});
    $h->{n} = 1;
    is $h->{n}, 1, 'the read lock of a killed process does not keep writers out';
}

# … also while its children live, which have inherited its descriptors.
{
    pipe my $r, my $w or die $!;
    my $holder = holder(
        sub {
            $t->lock('write');
            if (!fork) { close $w; sysread $r, my $x, 1; POSIX::_exit(0) }
        }
    );
    kill 'KILL', $holder->{pid};
    finish($holder->{pid});
    is $t->lock('write', 60), 1, 'a child that lives on does not keep the lock of its killed parent';
    $t->unlock;
    close $w;
}

# SIGSTOP: it keeps the lock.
{
    my $holder = holder(sub { $t->lock('write') }, sub { $h->{n} = 'stopped'; $t->unlock });
    kill 'STOP', $holder->{pid};
    is $t->lock('write', 0.3), undef, 'a stopped process keeps its lock';
    is(engine($server->unix)->stats->{named}, 2, '… and nobody else waits for it');
    kill 'CONT', $holder->{pid};
    ok let_go($holder), '(it goes on)';
    is $h->{n}, 'stopped', '… and what it does under it';
}

# The connection of the holder is killed: it learns that, and stores nothing.
{
    my $result;
    my $holder = holder(
        sub { $t->lock('write'); $h->{n} = 'mine' },
        sub {
            my $stored = eval { $h->{n} = 'stored without the lock'; 1 };
            die "stored\n" if $stored;
            die $@         if $@ !~ /The lock on the shared %main::h was lost/;
            $t->unlock;
            $h->{after} = 'again';
        }
    );
    my ($id) = (split /\n/, $server->ask(qw(CLIENT LIST TYPE pubsub)))[-1] =~ /\bid=([0-9]+)/;    # the holder is the newest
    $server->ask('CLIENT', 'KILL', 'ID', $id);
    is $t->lock('write', 60), 1, 'the lock of a killed connection is free';
    $h->{n} = 'taken over';
    $t->unlock;
    ok let_go($holder), 'who lost a lock gets an exception that says so';
    is $h->{n},     'taken over', '… and nothing was stored';
    is $h->{after}, 'again',      '… afterwards it works with a new connection';
}
{
    $t->lock('write');
    $server->ask(qw(CLIENT KILL TYPE pubsub));
    dies_with { $h->{n} = 'nobody has taken it' } qr/was lost/, 'a lost lock that nobody has taken yet is lost';
    dies_with { my $x = $h->{n}; die "was lost, no\n" if $t->unlock } qr/was lost/, '… to the end';
    $t->unlock;
    is $h->{n}, 'taken over', '(nothing was stored)';
}

# Deadlock.
{
    my $u      = tied %$other;
    my $holder = holder(sub { $t->lock('write') }, sub { $u->lock('write', 30) or die; $u->unlock; $t->unlock });
    $u->lock('write');
    close $holder->{go};
    ok until_true(sub { $server->ask('HLEN', '{test}:w') == 1 }), '(the holder waits)';
    dies_with { $t->lock('write') } qr/Deadlock on the shared %main::h.* at \Q$0\E/, 'two variables in opposite order: the second dies';
    dies_with { $h->{x} = 1 } qr/Deadlock/, '… a store as well';
    is $u->lock('write'), 0, '… and still has what it had';
    $u->unlock;
    ok finish($holder->{pid}), '… the first one goes on';
}

# Exactly.
{
    my @children = map {
        child(
            sub {
                for (1 .. 100) { $t->lock('write'); my $n = $h->{count} // 0; $h->{count} = $n + 1; $t->unlock; $t->add('added', 1) }
            }
        )
    } 1 .. 6;
    ok finish(@children), 'six processes count';
    is $h->{count}, 600, '… under a lock';
    is $h->{added}, 600, '… and by add';
}

# Signals run while it waits, and may die.
{
    my $holder = holder(sub { $t->lock('write') });
    my $seen   = 0;
    local $SIG{ALRM} = sub { $seen++ };
    Time::HiRes::alarm(0.05, 0.05);
    my $got;
    for (1 .. 100) { $got = $t->lock('write', 0.4); last if defined $got || $seen > 2 }    # a busy machine has fewer signals
    is $got, undef, 'a wait that signals interrupt';
    cmp_ok $seen, '>', 2, '… they are handled';
    Time::HiRes::alarm(0);
    $SIG{ALRM} = sub { die "enough\n" };
    dies_with { Time::HiRes::alarm(0.05); $h->{n} = 'not this' } qr/\Aenough$/, 'a handler may die out of a wait';
    let_go($holder);
    is $h->{n},                                'taken over', '… then nothing has happened';
    is in_child(sub { $t->lock('write', 0) }), 1,            '… and nothing is held';
}

# An answer that takes a while: a handler that comes meanwhile is run when it is there. If it dies, that is what is
# died of; if it uses variables, it takes no answer away.
{
    my $while_asked = sub {
        my ($code, $handler) = @_;
        my $parent = $$;
        pipe my $said,  my $to_me  or die $!;
        pipe my $asked, my $to_him or die $!;
        my $pid = child(
            sub {
                kill 'STOP', $server->{pid};
                syswrite $to_me, "\n";
                sysread $asked, my $byte, 1;
                until_true(sub { ChildTest::is_asleep($parent) });
                kill 'ALRM', $parent;
                sleep 0.1;
                kill 'CONT', $server->{pid};
            }
        );
        ChildTest::read_line($said);
        local $SIG{ALRM} = $handler;
        my $got = eval { syswrite $to_him, 'x'; $code->() };
        my $why = $@;
        finish($pid);
        return $got // $why;
    };
    $h->{handler} = 'no';
    for my $look (
        sub { my %copy = %$h; join ' ', sort keys %copy },
        sub { join ' ',                 sort keys %$h },
        sub { $h->{handler} },
        sub { $t->serial }
        )
    {
        my $expected = $look->();
        is $while_asked->($look, sub { die "out\n" }), "out\n", 'a handler that dies while an answer is waited for';
        my $seen;
        like $while_asked->($look, sub { $seen = $h->{handler} }), qr/\A\Q$expected\E\z/, '… one that looks itself has its own answer';
        is $seen, 'no', '… each';
    }
}

# Handlers during exchanges: no answer belongs to another question. However fast the exchanges are here: until there
# were some.
{
    my ($wrong, $signals, $inside) = (0, 0, 0);
    local $SIG{ALRM} = sub { return if !$inside; $signals++; die "signal\n" };
    for (my $i = 1; $i <= 3000 || ($signals <= 10 && $i < 1_000_000); $i++) {
        Time::HiRes::ualarm(1 + $i % 750);
        my $stored = eval { $inside = 1; $h->{signal} = $i; $inside = 0; 1 };
        $inside = 0;
        my $got = eval { $inside = 1; my $value = $h->{signal}; $inside = 0; $value };
        $inside = 0;
        Time::HiRes::ualarm(0);
        $wrong++ if $stored && defined $got && $got ne $i;
    }
    cmp_ok $signals, '>', 10, 'signals during exchanges';
    is $wrong, 0, '… mix up no answers';
    $h->{signal} = 'the end';
    is $h->{signal}, 'the end', '… and leave none behind';
}
done_testing;
