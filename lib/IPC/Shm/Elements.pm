package IPC::Shm::Elements;
use strict;
use warnings;
no warnings 'redefine';    ## no critic (stubs in IPC::Shm::Tied load this, and are replaced by it)
use Carp ();

our $VERSION  = '1.000';
our @CARP_NOT = qw(IPC::Shm IPC::Shm::Tied);

# One element at a time: looks and stores that are one change, on top of what every
# engine has (IPC::Shm::Engine). In `place` is the key, or the index, or nothing.

# The change that a method makes, up to `commit`; it is undone if the method is left in another way. If
# a change of the variable is open already, it is part of that one.
sub _one_change {
    my ($self) = @_;
    my $change = bless { object => $self, ended => 1, locked => 0 }, 'IPC::Shm::Elements::Change';
    local $IPC::Shm::HANDLERS_WAIT = 1;    # between its beginning and what ends it
    return $change if $self->is_open;
    $change->{locked} = $self->_begin_alone;
    $change->{ended}  = 0;
    return $change;
}

# Begin a change during which no other process changes the variable; true if that took a lock. An
# engine whose changes do not keep others out overrides this.
sub _begin_alone { my ($self) = @_; $self->begin; return 0 }

# Store an element again; its expiry time stays as it is.
sub _keep_expiry { my ($self, @all) = @_; $self->STORE(@all); return }

sub _places { my ($self) = @_; return $self->isa('IPC::Shm::Scalar') ? 0 : 1 }

sub _check {
    my ($name, $given, $self, $more) = @_;
    my $places = _places($self);
    return if $given == $places + $more;
    my $what = $self->isa('IPC::Shm::Array') ? 'an index' : 'a key';
    Carp::croak(
        "$name takes " . ($places ? "$what and " : '') . ($more == 2 ? 'an old and a new value' : $name eq 'update' ? 'a sub' : 'a value'));
    return;
}

sub _exists { my ($self, @place) = @_; return @place ? $self->EXISTS(@place) : defined $self->FETCH }

sub insert   { _check('insert',   @_ - 1, $_[0], 1); return scalar IPC::Shm::_from_callers_line(\&_insert,   @_) }
sub replace  { _check('replace',  @_ - 1, $_[0], 2); return scalar IPC::Shm::_from_callers_line(\&_replace,  @_) }
sub exchange { _check('exchange', @_ - 1, $_[0], 1); return scalar IPC::Shm::_from_callers_line(\&_exchange, @_) }

sub update {
    _check('update', @_ - 1, $_[0], 1);
    Carp::croak('update takes a sub') if ref $_[-1] ne 'CODE';
    return scalar IPC::Shm::_from_callers_line(\&_update, @_);
}

sub _insert {
    my ($self, @place) = @_;
    my $value  = pop @place;
    my $change = $self->_one_change;
    return !!0 if _exists($self, @place);
    $self->STORE(@place, $value);
    $change->commit;
    return 1;
}

sub _is_same {
    my ($one, $other) = @_;
    return !defined $one && !defined $other if !defined $one || !defined $other;
    return $one eq $other if !ref $one && !ref $other;
    return IPC::Shm::_is_same($one, $other);
}

sub _replace {
    my ($self, @place) = @_;
    my ($old, $new) = splice @place, -2;
    my $change = $self->_one_change;
    if (defined $old) { return !!0 if !_is_same(scalar $self->FETCH(@place), $old) }
    else              { return !!0 if _exists($self, @place) }
    $self->_keep_expiry(@place, $new);
    $change->commit;
    return 1;
}

sub _exchange {
    my ($self, @place) = @_;
    my $new    = pop @place;
    my $change = $self->_one_change;
    my $old    = $self->FETCH(@place);
    $self->_keep_expiry(@place, $new);
    $change->commit;
    return $old;
}

# A sub cannot be left by `last` or `goto`.
sub _update {
    my ($self, @place) = @_;
    my $code   = pop @place;
    my $change = $self->_one_change;
    my $value  = $self->FETCH(@place);
    my $returned;
    for ($value) { $code->(); $returned = 1 }
    Carp::croak(q{Can't leave the sub of update by last, next or goto}) if !$returned;
    $self->_keep_expiry(@place, $value);
    $change->commit;
    return $value;
}

# What only elements with keys have.
for my $name (qw(expire touch ttl sweep limit)) {
    no strict 'refs';    ## no critic (a method each)
    *$name = sub { return Carp::croak("Only the elements of hashes can expire: there is no $name for arrays and scalars") };
}

# Stores as perl does; with a time limit only into hashes.
sub store {
    my ($self, @arguments) = @_;
    Carp::croak('Only the elements of hashes can expire: store for arrays and scalars takes no seconds') if @arguments > 1 + _places($self);
    _check('store', scalar @arguments, $self, 1);
    IPC::Shm::_from_callers_line($self->can('STORE'), $self, @arguments);
    return;
}

package IPC::Shm::Elements::Change;    ## no critic (a small guard)

our $VERSION = '1.000';

sub commit {
    my ($self) = @_;
    local $IPC::Shm::HANDLERS_WAIT = 1;
    return if $self->{ended};
    $self->{object}->commit;
    $self->{ended} = 1;
    $self->{object}->unlock_kind('write') if $self->{locked};
    return;
}

# DESTROY, which is in C, calls this while handlers of signals wait.
sub _destroyed {
    my ($self) = @_;
    return if $self->{ended}++;
    local ($@, $!, $?);
    eval { local $SIG{__DIE__}; $self->{object}->abort; $self->{object}->unlock_kind('write') if $self->{locked}; 1 };
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Elements - one element of a shared variable at a time

=head1 SYNOPSIS

    (tied %hits)->add($address, 1);
    (tied %leader)->insert(main => $$) or return;
    (tied %config)->update(limit => sub { $_ = 10 if $_ > 10 });

=head1 DESCRIPTION

Methods of the object behind a shared variable, for all engines. They are described in L<IPC::Shm/ELEMENTS AND QUEUES>.

=head2 insert, replace, exchange, update

Change one element depending on its old value; no other process can change it in between.

=head2 store, expire, touch, ttl, sweep, limit

Elements that expire. This class refuses these calls for arrays and scalars, except for C<store> without a time, which stores as an assignment does; engines implement those for hashes.

=head1 SEE ALSO

L<IPC::Shm>, L<IPC::Shm::Engine>

=cut
