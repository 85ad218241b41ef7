package SessionStore;

# Sessions of all workers of a web server, for Plack::Middleware::Session:
#
#     use lib 'eg/shm';
#     use SessionStore;
#     builder { enable 'Session', store => SessionStore->new(name => 'app.session', seconds => 3600); $app };
#
# An object with fetch, store and remove is all that the middleware asks for. A session vanishes when
# nobody has stored it for so many seconds; its memory comes back by itself.
use strict;
use warnings;
use IPC::Shm;

sub new {
    my ($class, %option) = @_;
    tie my %session, 'IPC::Shm::Tied', $option{name} // 'sessions.store';
    return bless { sessions => \%session, seconds => $option{seconds} // 3600 }, $class;
}

# A copy: what the application does to it is stored with the answer, not before.
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
