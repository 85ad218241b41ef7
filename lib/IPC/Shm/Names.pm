package IPC::Shm::Names;
use strict;
use warnings;
use Carp ();

our $VERSION = '1.000';

# %IPC::Shm::NAMEVARS: the named variables of the namespace. A value is a
# reference to the variable; deleting a name removes the variable.

our @CARP_NOT = qw(IPC::Shm);

sub TIEHASH { my ($class) = @_; return bless { names => [] }, $class }

sub FETCH {
    my (undef, $name) = @_;
    my $object = IPC::Shm::_named($name);
    return $object && $object->_reference;
}

sub EXISTS { my (undef, $name) = @_; return defined IPC::Shm::_named($name) }

sub FIRSTKEY {
    my ($self) = @_;
    $self->{names} = [ sort(IPC::Shm::_names()) ];
    return shift @{ $self->{names} };
}

sub NEXTKEY { my ($self) = @_; return shift @{ $self->{names} } }
sub SCALAR  { return scalar(() = IPC::Shm::_names()) }

sub DELETE {
    my (undef, $name) = @_;
    my $object = IPC::Shm::_named($name) or return undef;    ## no critic (also in list context)
    return scalar IPC::Shm::_from_callers_line(\&_remove, $object);
}

# Somebody else may have removed it just now.
sub _remove {
    my ($object) = @_;
    return eval { $object->remove } || ($@ =~ /was removed/ ? undef : die $@);
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
