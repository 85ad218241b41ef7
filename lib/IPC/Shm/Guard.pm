package IPC::Shm::Guard;
use strict;
use warnings;

our $VERSION = '1.000';

# A lock that ends with the scope. It releases what it took and nothing else: a
# guard over a lock that was held already does nothing.

sub _new {
    my ($class, $object) = @_;
    return bless { object => $object }, $class;
}

# There is such a lock, from now on.
sub _guard { my ($self, $kind) = @_; $self->{kind} = $kind; return }

sub release {
    my ($self) = @_;
    local $IPC::Shm::HANDLERS_WAIT = 1;    # one that died could leave the lock behind
    my $kind   = delete $self->{kind}   or return 0;
    my $object = delete $self->{object} or return 0;
    $object->unlock_kind($kind);
    return 1;
}

# DESTROY, which is in C, calls this while handlers of signals wait.
sub _destroyed {
    my ($self) = @_;
    local ($@, $!);
    $self->release;
    return;
}

sub CLONE_SKIP { return 1 }    # the lock belongs to the thread that took it

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Guard - a lock on a shared variable that ends with its scope

=head1 SYNOPSIS

    my $lock = (tied %variable)->lock_guard('write');

=head1 DESCRIPTION

The class of the objects that C<lock_guard> of L<IPC::Shm> returns. The lock is released when the last reference to the
guard goes away.

=head2 release

Releases the lock now. Returns true if there was one to release.

=head1 SEE ALSO

L<IPC::Shm>

=cut
