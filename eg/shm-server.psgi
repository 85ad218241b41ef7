# A web server whose workers share a session table and counters. Start it with
#
#     starman --workers 4 eg/shm-server.psgi
#
# and any worker answers for any session; a worker that is killed takes nothing
# with it. GET /visit?session=NAME counts a visit, GET /stats shows all counters.
package Example::Server;    # the variables' names must not depend on who loads this
use strict;
use warnings;
use IPC::Shm;

our %sessions : shm;        # name => { visits => …, workers => { PID => visits } }
our $visits : shm;          # of all sessions
our %served : shm;          # PID => visits; each worker writes only its own

sub visit {
    my ($name) = @_;
    (tied $visits)->add(1);    # atomic: no lock
    $served{$$}++;             # two operations, but nobody else changes this element

    # Looking up, making and counting belong together: here it takes a lock.
    my $guard   = (tied %sessions)->lock_guard('write');
    my $session = $sessions{$name} //= { visits => 0, workers => {} };
    $session->{workers}{$$}++;
    return ++$session->{visits};
}

sub stats {
    my $sum = 0;
    $sum += $_ for values %served;
    my @lines = ('visits ' . ($visits // 0), "served $sum");
    push @lines, "worker $_ $served{$_}" for sort { $a <=> $b } keys %served;
    for my $name (sort keys %sessions) {
        my $workers = keys %{ $sessions{$name}{workers} };
        push @lines, "session $name $sessions{$name}{visits} $workers";
    }
    return join '', map {"$_\n"} @lines;
}

sub answer {
    my ($status, $text) = @_;
    return [ $status, [ 'Content-Type' => 'text/plain', 'X-Worker' => $$ ], [$text] ];
}

sub {
    my ($env) = @_;
    return answer(200, stats())       if $env->{PATH_INFO} eq '/stats';
    return answer(404, "not found\n") if $env->{PATH_INFO} ne '/visit';
    my ($name) = $env->{QUERY_STRING} =~ /\Asession=(\w{1,40})\z/ or return answer(400, "which session?\n");
    return answer(200, visit($name) . "\n");
};
