package IPC::Shm::Tied;
use strict;
use warnings;
use Carp               ();
use Data::Pool::Shared ();

our $VERSION  = '1.000';
our @CARP_NOT = qw(IPC::Shm IPC::Shm::Elements IPC::Shm::Queue IPC::Shm::Copy);
our @ISA      = map {"IPC::Shm::$_"} qw(Elements Queue Copy);

@IPC::Shm::Scalar::ISA = @IPC::Shm::Array::ISA = @IPC::Shm::Hash::ISA = __PACKAGE__;

# Their methods are loaded when one of them is called: most programs need none.
my %methods = (
    Copy     => [qw(copy STORABLE_freeze)],
    Elements => [qw(insert replace exchange update expire touch ttl sweep limit store)],
    Queue    => [qw(take reserve done release reserved)],
);
for my $module (keys %methods) {
    no strict 'refs';    ## no critic (methods are made)
    for my $name (@{ $methods{$module} }) {
        *{"IPC::Shm::${module}::$name"} = sub { _load_methods(); goto &{"IPC::Shm::${module}::$name"} };
    }
}

# A handler of a signal waits until all of it is there.
sub _load {
    my ($file) = @_;
    return if $INC{$file};
    local ($@, $!);
    local $IPC::Shm::HANDLERS_WAIT = 1;
    require $file;
    return;
}

sub _load_methods {
    local $IPC::Shm::HANDLERS_WAIT = 1;
    for my $module (keys %methods) {
        my $names = delete $methods{$module};
        my $file  = "IPC/Shm/$module.pm";
        no strict 'refs';    ## no critic (what is loaded takes their places)
        delete @{"IPC::Shm::${module}::"}{@$names} if !$INC{$file};
        _load($file);
    }
    return;
}

my $mode = 0660;
my $size = 4096;

sub Mode {
    my (undef, $new) = @_;
    return $mode if @_ < 2;
    Carp::croak('Mode takes permission bits, as 0600, not ', defined $new ? "'$new'" : 'undef')
        unless defined $new && $new =~ /\A[0-9]+\z/ && !($new & ~0777);
    Carp::croak(sprintf 'Mode %04o would keep its owner out', $new) unless ($new & 0600) == 0600;
    return $mode = $new;
}

sub Size {
    my (undef, $new) = @_;
    return $size if @_ < 2;
    Carp::croak('Size takes a number of bytes from 256 to 1073741824, not ', defined $new ? "'$new'" : 'undef')
        unless defined $new && $new =~ /\A[0-9]{1,10}\z/ && $new >= 256 && $new <= 1 << 30;
    return $size = int(($new + 63) / 64) * 64;
}

# tie VARIABLE, 'IPC::Shm::Tied': a new anonymous variable; with a name, the variable of that name.
sub TIESCALAR { my ($class, @name) = @_; return _tied(1, @name) }
sub TIEARRAY  { my ($class, @name) = @_; return _tied(2, @name) }
sub TIEHASH   { my ($class, @name) = @_; return _tied(3, @name) }

sub _tied {
    my ($type, @name) = @_;
    Carp::croak("tie takes 'IPC::Shm::Tied' and at most a name, not " . @name . ' arguments') if @name > 1;
    return IPC::Shm::_new($type, @name ? _full_name($type, $name[0]) : undef);
}

# The name of a variable as the user says it, apart from packages: without a sigil, or with its own.
sub _full_name {
    my ($type, $name) = @_;
    my $sigil = (undef, '$', '@', '%')[$type];
    Carp::croak('The name of a shared variable must be a string') if !defined $name || ref $name;
    utf8::upgrade($name);    # letters are letters, however perl keeps them
    my ($bare) = $name =~ /\A\Q$sigil\E?([^\W\d]\w*(?:(?:\.|::|-)\w+)*)\z/;
    return $sigil . $bare if defined $bare;
    my $what = (undef, 'scalar', 'array', 'hash')[$type];
    return Carp::croak("'$name' is not a name for a shared $what: words, joined by '.', '-' or '::'");
}

sub writelock { my ($self, $timeout) = @_; return scalar IPC::Shm::_from_callers_line($self->can('lock'), $self, 'write', $timeout) }
sub readlock  { my ($self, $timeout) = @_; return scalar IPC::Shm::_from_callers_line($self->can('lock'), $self, 'read',  $timeout) }

sub unlock {
    my ($self) = @_;
    my $held = grep { $self->unlock_kind($_) } qw(write read);
    return $held ? 1 : 0;
}

sub lock_guard {
    my ($self, $kind, $timeout) = @_;
    $kind = 'write' unless defined $kind;
    Carp::croak("lock_guard takes 'read' or 'write', not '$kind'") unless $kind =~ /\A(?:read|write)\z/;
    _load('IPC/Shm/Guard.pm');
    my $guard = IPC::Shm::Guard->_new($self);
    local $IPC::Shm::HANDLERS_WAIT = 1;     # between the lock and what releases it
    my $locked = IPC::Shm::_from_callers_line($self->can('lock'), $self, $kind, $timeout);
    return undef unless defined $locked;    ## no critic (a timeout: also in list context)
    $guard->_guard($kind) if $locked;
    return $guard;
}

sub synchronize {
    my ($self, $code) = @_;
    Carp::croak('synchronize takes a code reference') unless ref $code eq 'CODE';
    my $guard = $self->lock_guard('write');
    return $code->();
}

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Tied - the object behind a shared variable

=head1 SYNOPSIS

    my $object = tied %variable;

=head1 DESCRIPTION

C<tied> returns an object of this class for a variable of L<IPC::Shm>, or rather of one of its subclasses C<IPC::Shm::Scalar>, C<IPC::Shm::Array>
and C<IPC::Shm::Hash>, which implement perl's interface for tied variables (L<perltie>). The methods that refer to L<IPC::Shm> are described in full
there. All have been available since version 1.000.

=head2 writelock, readlock, unlock

Explicit locks. The first two wait, for at most C<$seconds> if that is given, and return 1 for a new lock,
0 for one that this process has already, C<undef> when the time is up. See L<IPC::Shm/LOCKS>.

=head2 lock, unlock_kind

    my $locked = $object->lock('write', $seconds);    # or 'read'
    my $was    = $object->unlock_kind('write');

The calls above are built on these: C<lock> takes a lock of the given kind, and C<unlock_kind> releases a lock of that kind only.
C<lock> returns what C<writelock> returns; C<unlock_kind> returns true if there was such a lock.

=head2 lock_guard, synchronize

Take a lock for the rest of a scope (L<IPC::Shm/lock_guard>), or while a sub is called (L<IPC::Shm/synchronize>).

=head2 add, insert, replace, exchange, update

Read and change one element, or the value of a scalar, in one step (L<IPC::Shm/ELEMENTS AND QUEUES>).

=head2 store, expire, touch, ttl, sweep, limit

Elements of hashes that expire, and hashes with a limit (L<IPC::Shm/store, expire>).

=head2 take, reserve, done, release, reserved

An array as a queue (L<IPC::Shm/take> and what follows there).

=head2 begin, commit, abort, is_open, all, id, lock, unlock_kind

The other methods rely on these, which each engine provides: see L<IPC::Shm::Engine>.

=head2 begin, commit, abort

    $object->begin;
    $variable{$_}++ for @keys;
    $object->commit;

Everything that this process does to the variable between C<begin> and C<commit> is one change: others see
all of it or nothing, even if the process dies in the middle. If C<abort> is called instead of C<commit>, the variable
remains as it was. C<begin> waits like a store, and dies if a change of the variable is already open. Until the end of the change, other
processes can read the variable but not write it, so be quick.

C<begin> returns true. C<commit> and C<abort> return true if there was an open change; without one they do nothing, and return false.

=head2 wait_change

Sleeps until another process has changed the variable (L<IPC::Shm/wait_change>).

=head2 remove

Removes the variable (L<IPC::Shm/remove>).

=head2 name, serial, id

Return the name (C<undef> for an anonymous variable), the number of changes so far, and a string
that identifies the variable: no other variable of the namespace ever has the same.

=head2 Mode, Size

Class methods. C<< IPC::Shm::Tied->Mode(0600) >> sets the permission bits of the files that this
process creates, C<< IPC::Shm::Tied->Size(8192) >> the block size of a namespace that it
creates. Without an argument they return the current setting; the defaults are 0660 and 4096.
Set them in a C<BEGIN> block, before the first variable is declared. C<Mode> dies if its argument does not consist of
permission bits, or would lock the owner out; C<Size> dies if its argument is not a number of bytes from 256 to 2**30. The size is rounded up to
a multiple of 64. Neither affects namespaces that exist already.

=head2 copy

Returns a deep plain copy (L<IPC::Shm/copy>). Use it for L<Storable>, too, which cannot store the shared variable itself: C<STORABLE_freeze> dies and says so.

=head2 TIESCALAR, TIEARRAY, TIEHASH

C<tie my %h, 'IPC::Shm::Tied'> creates an anonymous shared variable. C<tie my %h, 'IPC::Shm::Tied', 'app.session'> ties C<%h>
to the variable of that name, which is created if necessary (L<IPC::Shm/Names apart from packages>). Dies for other arguments.

=head1 SEE ALSO

L<IPC::Shm>

=cut
