package IPC::Shm::Names;
use strict;
use warnings;
use Carp ();

our $VERSION = '0.01';

# %IPC::Shm::NAMEVARS: the named variables of the namespace. A value is a
# reference to the variable; deleting a name removes the variable.

sub TIEHASH { my ($class) = @_; return bless { names => [] }, $class }

sub _exists {
    my ($name) = @_;
    return defined $name && grep { $_ eq $name } IPC::Shm::_names(IPC::Shm::_where());
}

sub FETCH {
    my (undef, $name) = @_;
    return _exists($name) ? IPC::Shm::_reference(IPC::Shm::_named($name)) : undef;
}

sub EXISTS { my (undef, $name) = @_; return !!_exists($name) }

sub FIRSTKEY {
    my ($self) = @_;
    $self->{names} = [ sort(IPC::Shm::_names(IPC::Shm::_where())) ];
    return shift @{ $self->{names} };
}

sub NEXTKEY { my ($self) = @_; return shift @{ $self->{names} } }
sub SCALAR  { return scalar(() = IPC::Shm::_names(IPC::Shm::_where())) }

sub DELETE {
    my ($self, $name) = @_;
    return undef unless _exists($name);    ## no critic (also in list context)
    IPC::Shm::_named($name)->remove;
    return 1;
}

sub STORE { return Carp::croak('%IPC::Shm::NAMEVARS is read-only; declare a variable to name it') }
sub CLEAR { return Carp::croak('%IPC::Shm::NAMEVARS is read-only; IPC::Shm->cleanup removes all variables') }

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Names - the hash %IPC::Shm::NAMEVARS

=head1 SYNOPSIS

    print "$_\n" for sort keys %IPC::Shm::NAMEVARS;

=head1 DESCRIPTION

The class behind C<%IPC::Shm::NAMEVARS>, see L<IPC::Shm>.

=head1 SEE ALSO

L<IPC::Shm>

=cut
