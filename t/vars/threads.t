use strict;
use warnings;
use lib 't/lib';
use Config;

BEGIN {
    if (!$Config{useithreads}) { print "1..0 # SKIP this perl has no threads\n"; exit 0 }
}
use threads;
use ShmTest;
use Test::More;
use IPC::Shm;

our %h : shm = (a => 1);
our $n : shm = 0;
my @l : shm = (1, 2, 3);

is +threads->create(sub {"$h{a} @l"})->join, '1 1 2 3', 'a thread sees shared variables';
threads->create(sub { $h{b} = 2; push @l, 4; return })->join;
is "$h{b} @l", '2 1 2 3 4', '… and its changes are seen';
is "$h{a} @l", '1 1 2 3 4', 'the end of a thread takes nothing away';
my @threads = map {
    threads->create(sub { (tied $n)->add(1), $h{"t$_"} = 1 for 1 .. 300; return })
} 1 .. 4;
$_->join for @threads;
is $n,                          1200, 'threads count together';
is scalar(grep {/^t/} keys %h), 300,  '… and store together';
my $lock = (tied %h)->lock_guard('write');
is +threads->create(sub { (tied %h)->writelock(0) // 'undef' })->join, 'undef', 'a thread does not hold the lock of another';
is +threads->create(sub { (tied %h)->unlock })->join,                  0,       '… and cannot release it';
is in_child(sub { (tied %h)->writelock(0) // 'undef' }),               'undef', '… it is still held';
undef $lock;
is +threads->create(sub { (tied %h)->writelock(0) // 'undef' })->join, 1, '… until it is released';
is in_child(sub { (tied %h)->writelock(0)         // 'undef' }),       1, 'a thread that ends holds nothing';
$h{ref} = { x => [ 1, 2 ] };
is +threads->create(sub { push @{ $h{ref}{x} }, 3; "@{ $h{ref}{x} }" })->join,                '1 2 3', 'references in a thread';
is "@{ $h{ref}{x} }",                                                                         '1 2 3', '… and here';
is +threads->create(sub { my %own : shm = (z => 1); $h{own} = \%own; join ',', %own })->join, 'z,1',   'a variable made in a thread';
is $h{own}{z}, 1, '… outlives it where something refers to it';
is +threads->create(
    sub {
        in_child(sub {"$h{a}@l"});
    }
)->join, '11 2 3 4', 'a fork in a thread';
%h = ();
IPC::Shm->recover;
is(IPC::Shm->stats->{variables}, 3, 'nothing is left');
done_testing;
