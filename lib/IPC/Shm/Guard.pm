package IPC::Shm::Guard;
use strict;
use warnings;

# A lock that ends with the scope. It releases what it took and nothing else: a
# guard over a lock that was held already does nothing.

sub _new {
    my ($class, $object, $kind) = @_;
    return bless { object => $object, kind => $kind }, $class;
}

sub release {
    my ($self) = @_;
    my $kind = delete $self->{kind} or return 0;
    my $object = delete $self->{object} or return 0;
    if   ($kind eq 'write') { $object->_unlock_write }
    else                    { $object->_unlock_read }
    return 1;
}

sub DESTROY {
    my ($self) = @_;
    local ($@, $!);
    $self->release;
    return;
}

sub CLONE_SKIP { return 1 }    # the lock belongs to the thread that took it

1;
