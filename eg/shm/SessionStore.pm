package SessionStore;

# Sessions of all workers of a web server, for Plack::Middleware::Session:
#
#     use lib 'eg/shm';
#     use SessionStore;
#     builder { enable 'Session', store => SessionStore->new(name => 'app.session', seconds => 3600); $app };
#
# All that the middleware needs is an object with fetch, store and remove. A session expires when
# nobody has stored it for the given number of seconds; its memory is freed automatically.
use strict;
use warnings;
use IPC::Shm;

sub new {
    my ($class, %option) = @_;
    tie my %session, 'IPC::Shm::Tied', $option{name} // 'sessions.store';
    return bless { sessions => \%session, seconds => $option{seconds} // 3600 }, $class;
}

# A copy: changes by the application are stored together with the response, not before.
sub fetch {
    my ($self, $id) = @_;
    my $session = $self->{sessions}{$id};
    return ref $session ? (tied %$session)->copy : undef;
}

sub store {
    my ($self, $id, $session) = @_;
    (tied %{ $self->{sessions} })->store($id, {%$session}, $self->{seconds});
    return;
}

sub remove {
    my ($self, $id) = @_;
    delete $self->{sessions}{$id};
    return;
}

1;
