# A pre-forked web server whose workers share a session table and counters.
#
#     starman --workers 4 eg/shm/sessions.psgi
#
#     curl localhost:5000/hit?session=ann     counts a hit of a session
#     curl localhost:5000/stats               what all workers have counted
use strict;
use warnings;
use IPC::Shm;

# Named apart from the package: plackup compiles this file in one that is named after its path.
our %session : shm(sessions.session);        # name -> { hits, last }
our $hits : shm(sessions.hits);              # of all workers; no `= 0`: each worker that starts would reset it
our %by_worker : shm(sessions.by_worker);    # PID -> hits

sub reply { my ($status, $text) = @_; return [ $status, [ 'Content-Type' => 'text/plain' ], ["$text\n"] ] }

sub hit {
    my ($name) = @_;

    # Atomic in itself: no lock.
    my $n = (tied $hits)->add(1);

    # Look, then change: that takes a lock. It is released at the end of the scope.
    my $lock    = (tied %session)->lock_guard('write');
    my $session = $session{$name} ||= { hits => 0 };
    $session->{hits}++;
    $session->{last} = time;
    (tied %by_worker)->add($$, 1);
    return reply(200, "$session->{hits} of $n");
}

my $app = sub {
    my ($env) = @_;
    my ($name) = ($env->{QUERY_STRING} // '') =~ /\bsession=(\w+)/;
    return hit($name) if $env->{PATH_INFO} eq '/hit' && defined $name;
    if ($env->{PATH_INFO} eq '/stats') {
        my $lock = (tied %session)->lock_guard('read');
        return reply(200, join "\n", 'hits ' . ($hits // 0), 'workers ' . keys %by_worker, map { "session $_ $session{$_}{hits}" } sort keys %session);
    }
    return reply(404, 'try /hit?session=NAME or /stats');
};
$app;
