package IPC::Shm::Engine::Memory;
use strict;
use warnings;
use Data::Pool::Shared ();

our $VERSION = '1.000';

# Variables in a file in memory, by the C library in store/. The functions with an
# underscore are in XS.

sub open {    ## no critic (the contract's name)
    my ($class, $namespace, %option) = @_;
    my $space = _open($namespace, map({ $_ || 0 } @option{qw(is_default size mode attach)}));
    return bless { path => $namespace, space => $space }, $class;
}

# Does the path still lead to it? Not after a cleanup, nor after the files were removed.
sub is_current { my ($self) = @_; return _is_current($self->{space}, $self->{path}) }

sub namespace { my ($self) = @_; return $self->{path} }
sub variable  { my ($self, $type, $name, $create) = @_; return scalar _variable($self->{space}, $type, $name, $create ? 1 : 0) }
sub names     { my ($self) = @_; return _names($self->{space}) }
sub list      { my ($self) = @_; return _list($self->{space}) }
sub stats     { my ($self) = @_; return _stats($self->{space}) }
sub recover   { my ($self) = @_; return _recover($self->{space}) }
sub cleanup   { my ($self) = @_; return _cleanup($self->{space}, 0.2) }

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Engine::Memory - shared variables in the memory of one machine

=head1 SYNOPSIS

    IPC_SHM_NAMESPACE=/dev/shm/my-app perl program

=head1 DESCRIPTION

The engine of L<IPC::Shm> for namespaces that are directories. Its methods are those of
L<IPC::Shm::Engine>.

=head2 is_current

Returns true if the directory still contains the namespace that was opened.

=head2 open, namespace, variable, names, list, stats, recover, cleanup

See L<IPC::Shm::Engine>.

=head1 SEE ALSO

L<IPC::Shm>, L<IPC::Shm::Engine>

=cut
