# Killed anywhere, nothing is lost: workers are killed at random moments of their work.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep);
use lib 't/lib';
use PoolTest;

my $I64 = 'Data::Pool::Shared::I64';

my %work = (
    'alloc and free'         => sub { my ($pool) = @_; my $slot  = $pool->alloc;      $pool->free($slot) },
    'alloc_n and free_n'     => sub { my ($pool) = @_; my $slots = $pool->alloc_n(3); $pool->free_n($slots) },
    'alloc_guard, alloc_set' => sub {
        my ($pool) = @_;
        my ($slot, $guard) = $pool->alloc_guard;
        my $second = $pool->alloc_set(5, 0.01);
        $pool->free($second) if defined $second;
    },
    'adopt and free' => sub { my ($pool) = @_; my $slot = $pool->alloc; $pool->adopt($slot);  $pool->free($slot) },
    'recover_stale'  => sub { my ($pool) = @_; my $slot = $pool->alloc; $pool->recover_stale; $pool->free($slot) },
);

for my $capacity (5, 64, 400) {
    for my $what (sort keys %work) {
        my $pool     = $I64->new(undef, $capacity);
        my $mine     = $pool->alloc_set(77);
        my $survivor = in_child {
            my ($parent) = @_;
            my $slot = $pool->alloc_set(78);
            $parent->say($slot);
            $parent->hear;
            $pool->get($slot) == 78 && $pool->owner($slot) == $$;
        };
        my $its = $survivor->hear;
        my ($lost, $wrong) = (0, 0);
        for my $round (1 .. 5) {
            my @workers = map {
                in_child {
                    $_[0]->say('ready');
                    while (1) { $work{$what}->($pool) }
                }
            } 1 .. 3;
            $_->hear for @workers;
            sleep rand 0.004;
            $_->signal('KILL') for @workers;
            $_->reap for @workers;
            $pool->recover_stale;
            $wrong++ if $pool->used != 2 || join(' ', @{ $pool->allocated_slots }) ne join(' ', sort { $a <=> $b } $mine, $its);
            my $all = $pool->alloc_n($capacity - 2, 0);
            $lost++             if !$all;
            $wrong++            if $all && $pool->used != $capacity;
            $pool->free_n($all) if $all;
            $wrong++            if $pool->stats->{waiters} != 0;
        }
        is($lost,             0,  "$what, $capacity slots: every slot is allocatable after one recover_stale");
        is($wrong,            0,  "$what, $capacity slots: used and allocated_slots are those of the living, nobody is left waiting");
        is($pool->get($mine), 77, "$what, $capacity slots: my slot was not touched");
        $survivor->say('end');
        ok($survivor->result, "$what, $capacity slots: nor that of another who lived");
    }
}

subtest 'the living go on while others are killed' => sub {
    my $pool = $I64->new(undef, 4);
    $pool->auto_recover(0.02);
    my $count = $I64->new(undef, 1);
    $count->alloc;
    my @living = map {
        in_child {
            for (1 .. 300) { my $slot = $pool->alloc(30) // die 'timed out'; $count->incr(0); $pool->free($slot) }
            1
        }
    } 1 .. 2;
    for my $round (1 .. 20) {
        my $victim = in_child {
            while (1) { my $slot = $pool->alloc; sleep 0.001; $pool->free($slot) }
        };
        sleep rand 0.01;
        $victim->end;
    }
    is((grep { $_->result } @living), 2,   'none of them is blocked for ever');
    is($count->get(0),                600, 'and all their work was done');
    $pool->recover_stale;
    is($pool->used, 0, 'nothing is lost');
};

done_testing;
