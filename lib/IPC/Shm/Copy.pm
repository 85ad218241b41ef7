package IPC::Shm::Copy;
use strict;
use warnings;
no warnings 'redefine';    ## no critic (stubs in IPC::Shm::Tied load this, and are replaced by it)
no overloading;            # of the classes that data is blessed into
use Carp ();

our $VERSION  = '1.000';
our @CARP_NOT = qw(IPC::Shm IPC::Shm::Tied IPC::Shm::Elements);

# Plain copies of shared data, on top of what every engine has: `all`, the content of a
# variable of one moment, and `id`. A loop, not recursion: data may be deep.

sub copy {
    my ($self) = @_;
    return scalar IPC::Shm::_from_callers_line(\&_copy, $self);
}

sub _copy {
    my ($self) = @_;
    my $work   = { copies => {}, todo => [] };
    my $copy   = _copy_of($work, $self);
    while (my $next = shift @{ $work->{todo} }) { _fill($work, @$next) }
    return $$copy if $self->isa('IPC::Shm::Scalar');
    my $class = IPC::Shm::_class($self->_reference);
    return defined $class ? bless $copy, $class : $copy;
}

# The copy of a variable: one, however many references lead there; filled later.
sub _copy_of {
    my ($work, $object) = @_;
    my $id = $object->id;
    if (!$work->{copies}{$id}) {
        my $copy = $object->isa('IPC::Shm::Hash') ? {} : $object->isa('IPC::Shm::Array') ? [] : \my $scalar;
        $work->{copies}{$id} = $copy;
        push @{ $work->{todo} }, [ $object, $copy ];
    }
    return $work->{copies}{$id};
}

sub _fill {
    my ($work, $object, $copy) = @_;
    my $all = $object->all;
    if    ($object->isa('IPC::Shm::Hash')) { $copy->{$_} = _value($work, $all->{$_}) for keys %$all }
    elsif ($object->isa('IPC::Shm::Array')) {
        @$copy = map { _value($work, $_) } @$all;
    } else {
        $$copy = _value($work, $all);
    }
    return;
}

my %tied_of = (
    HASH  => sub { return tied %{ $_[0] } },
    ARRAY => sub { return tied @{ $_[0] } },
    map {
        $_ => sub { return tied ${ $_[0] } }
    } qw(SCALAR REF VSTRING LVALUE)
);

# A reference leads to the copy of what it led to; a constant is what it is.
sub _value {
    my ($work, $value) = @_;
    return $value if !ref $value;
    my $tied   = $tied_of{ IPC::Shm::_kind($value) };
    my $object = $tied && $tied->($value);
    return $value if !IPC::Shm::_class($object) || !$object->isa('IPC::Shm::Tied');
    my $copy  = _copy_of($work, $object);
    my $class = IPC::Shm::_class($value);
    return defined $class ? bless $copy, $class : $copy;
}

# For a tied variable Storable stores the object, which means nothing without the shared memory, and
# ties the copy to it: the result could not be a plain copy.
sub STORABLE_freeze { return Carp::croak('Storable cannot copy or store a shared variable: give it (tied ...)->copy') }

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Copy - plain copies of shared variables

=head1 SYNOPSIS

    my $plain = (tied %config)->copy;
    print JSON::PP->new->encode($plain);

=head1 DESCRIPTION

A method of the object behind a shared variable, for all engines.

=head2 copy

See L<IPC::Shm/copy>.

=head2 STORABLE_freeze

Dies with a message that mentions C<copy>: L<Storable> would store the object behind the variable, not its content.

=head1 SEE ALSO

L<IPC::Shm>

=cut
