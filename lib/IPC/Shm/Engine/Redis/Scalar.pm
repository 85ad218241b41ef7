package IPC::Shm::Engine::Redis::Scalar;
use strict;
use warnings;
use Carp ();
use IPC::Shm::Engine::Redis::Variable;

our $VERSION  = '1.000';
our @ISA      = qw(IPC::Shm::Engine::Redis::Variable IPC::Shm::Scalar);    ## no critic (those of IPC::Shm have no file)
our @CARP_NOT = @IPC::Shm::Engine::Redis::Connection::CARP_NOT;

# The value is in the one field `=`. In an open change, set is [text, value].

sub TIESCALAR { my ($class, $object) = @_; return $object || IPC::Shm::Engine::Redis::_anonymous(1) }

sub _no_change { return (set => undef) }

sub _operation {
    my ($self, $batch) = @_;
    return $batch->{set} ? ('put', '=', $batch->{set}[0]) : ();
}

sub _published { my ($self, $batch) = @_; return $self->_is_put(@{ $batch->{set} }) }

sub _is_put {
    my ($self, $text, $value) = @_;
    $self->_stored('=', $text, $value) if ref $value || %{ $self->{kids} };
    delete $self->{fresh};
    return;
}

sub FETCH {
    my ($self) = @_;
    return $self->{batch}{set}[1] if $self->{batch} && $self->{batch}{set};
    return $self->_from_copy('=') if $self->{copy}  && $self->{held} eq '';
    my $text = $self->_look('=')->[0];
    return defined $text ? $self->_value('=', $text, ord $text == 114 ? sub { $self->_look('=')->[0] } : undef) : undef;
}

sub all { my ($self) = @_; return $self->FETCH }

sub STORE {
    my ($self, $value) = @_;
    my $text = $self->_store_value($value);
    if (my $batch = $self->_in_change) { $batch->{set} = [ $text, $value ]; return }
    $self->_alter('put', '=', $text);
    return $self->_is_put($text, $value);
}

sub add {
    my ($self, $delta) = @_;
    Carp::croak('add takes a number') if @_ != 2;
    return $self->_in_change ? $self->_add_in_change($delta) : $self->_add('=', $delta);
}

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Engine::Redis::Scalar - a shared scalar on Redis

=head1 DESCRIPTION

The methods that perl calls (L<perltie>), and those of L<IPC::Shm::Engine>.

=head2 add, all

See L<IPC::Shm::Engine>.

=head1 SEE ALSO

L<IPC::Shm::Engine::Redis>

=cut
