package IPC::Shm::Engine;
use strict;
use warnings;
use Carp ();
use IPC::Shm::Tied;

our $VERSION = '1.000';

# Where variables are kept. The class of an engine by the namespace it is given.

my @engines = ([ qr{\A(?:rediss?|valkeys?)(?:\+unix)?://}, 'IPC::Shm::Engine::Redis' ], [ qr{\A/}, 'IPC::Shm::Engine::Memory' ],);

sub is_url { my ($namespace) = @_; return $namespace =~ m{\A[a-z+]+://} }

sub without_password { my ($text) = @_; $text =~ s{(\b[a-z+]+://[^:@/?\s]*):[^@/?\s]*@}{$1@}g; return $text }

sub class_of {
    my ($namespace) = @_;
    for my $engine (@engines) {
        next unless $namespace =~ $engine->[0];
        IPC::Shm::Tied::_load($engine->[1] =~ s{::}{/}gr . '.pm');
        return $engine->[1];
    }
    return Carp::croak(q{No engine of IPC::Shm knows the namespace '} . without_password($namespace) . q{'});
}

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm::Engine - what keeps the variables of IPC::Shm, and how to add another

=head1 SYNOPSIS

    my $path   = '/dev/shm/my-app';                          # or 'redis://host'
    my $class  = IPC::Shm::Engine::class_of($path);          # IPC::Shm::Engine::Memory
    my $engine = $class->open($path, mode => 0600, size => 4096);
    my $object = $engine->variable(3, '%main::table', 1);

=head1 DESCRIPTION

An engine is a class that keeps variables for L<IPC::Shm>. The attribute, the names, lock guards,
references between variables, element calls such as C<add> and C<update>, and perl's operators
share one implementation for all engines, which relies on the contract below.

A I<type> is 1 (scalar), 2 (array) or 3 (hash). A I<time limit> is in seconds and may have a fraction; C<undef> means no limit, 0 means not to
wait. While it waits, an engine runs perl's signal handlers, which may die out of the wait; then nothing has happened and
no lock has been taken. Exceptions must name the line of the user's program: throw them with C<croak>, not with C<die "was removed\n">.

=head2 class_of, is_url, without_password

Functions. C<class_of> loads and returns the class of the engine for a namespace, C<is_url> tells whether a namespace is a URL, and C<without_password> returns a text without the passwords of URLs in it.

To add an engine, write a class, and add a line to the table at the head of this module that says what its namespaces look like.

=head2 The engine itself: one object per namespace

=over 4

=item C<< $class->open($namespace, %option) >>

Opens the namespace, and creates it if necessary. C<mode> and C<size> are those of C<< IPC::Shm::Tied->Mode >> and C<Size>, if they have a meaning for the engine. If C<attach> is true, the
engine must not create the namespace, and must accept it whoever has created it; this is for tools. C<is_default> says that the namespace is the user's own, and must not belong to anybody else.
C<open> is called once per namespace and process; the object is kept until C<cleanup>, as long as C<is_current> is true.
An engine that is written in Perl calls C<IPC::Shm::Engine::_is_in_perl()> here: until one has done so, perl's operators do not check for such objects.

=item C<< $engine->namespace >>

The namespace as it was given, without passwords.

=item C<< $engine->variable($type, $name, $create) >>

Returns the object of the variable with this name (the full name, as characters); C<undef> if there is none and C<$create> is false.
If C<$name> is undef, it creates an anonymous variable. Within one interpreter, the same variable has the same object, as long as that exists.

=item C<< $engine->names >>, C<< $engine->list >>, C<< $engine->stats >>, C<< $engine->recover >>, C<< $engine->cleanup >>

These do what the calls of L<IPC::Shm> say; C<names> returns the list of names.

=item C<< $engine->contained($object, $container) >>

Only for engines in Perl. L<IPC::Shm::Sharing> calls it to say which hash, array or scalar the variable's object has just been tied to, as a reference; the engine keeps a weak
reference to it for C<_reference>. Returns nothing.

=back

=head2 The object behind a variable

It is what C<tied> returns. Its class is derived from C<IPC::Shm::Scalar>, C<IPC::Shm::Array> or C<IPC::Shm::Hash>
(all derived from L<IPC::Shm::Tied>). It has perl's own calls (FETCH, STORE and so on, see L<perltie>), and the following:

=over 4

=item C<begin>, C<commit>, C<abort>, C<is_open>

Everything that is done to this variable through this object between C<begin> and C<commit> is one change. This
process sees its effects at once; others see them when it is committed, and never if it is aborted. C<begin> waits like a
store. An object has at most one open change, which affects this variable only; C<is_open> says whether there is one. What has been read within a change is not
changed by others before the end of the change. C<begin> returns true; C<commit> and C<abort> return true if there was an open change, and without one do nothing.

=item C<add>, C<store>, C<expire>, C<touch>, C<ttl>, C<sweep>, C<limit>

As in L<IPC::Shm/ELEMENTS AND QUEUES>; all except C<add> are for hashes only (L<IPC::Shm::Elements> has a C<store> without a time for the others). C<_keep_expiry($key, $value)> is a C<STORE> that leaves the element's expiry
time as it is.

=item C<all>

The content of one moment, as a reference to a plain array or hash, or the value of a scalar; references in it are those that C<FETCH> gives.

=item C<< lock($kind, $seconds) >>, C<< unlock_kind($kind) >>

C<$kind> is C<read> or C<write>. C<lock> returns 1 if it has taken the lock, 0 if this process had it already (a write lock includes a read lock), and undef if the time was up. It dies with
C<Deadlock> in the text if two processes would wait for each other. C<unlock_kind> returns true if there was such a lock. When a process is dead, for whatever reason, its locks are free;
while it is merely stopped, they are not. A child does not hold its parent's locks.

Before C<lock_guard>, C<update> and the like take a lock or begin a change, they C<local $IPC::Shm::HANDLERS_WAIT = 1>: then handlers of signals
do not run until what releases or ends it exists. The engine must have them run nevertheless while it waits for others (in Perl,
C<local $IPC::Shm::HANDLERS_WAIT = 0> in that place), but not between the end of the wait and its return. An engine in Perl uses the same variable where
it has to note what it has taken or given back.

=item C<wait_change($seconds)>, C<serial>, C<name>, C<remove>

As in L<IPC::Shm>.

=item C<_take_next($reserve)>, C<_end($ticket, $back)>, C<_reserved>, C<_is_reserved>

Of arrays, for L<IPC::Shm::Queue>; each is one change or one look, and none waits for an element. C<_take_next> removes the next element (first those that dead processes had reserved),
and returns it, or an empty list if there is none; an engine that has C<take> and C<reserve> of its own does not need it. If C<$reserve> is true, it reserves the element, and returns a ticket after it. C<_end> ends the reservation or, if C<$back> is true, puts the
element back at the head; it returns true, or false if there is no such reservation, and dies if C<$ticket> is not a ticket. C<_reserved> returns what C<reserved> does, in any order, with a number C<order> by which it is sorted.
C<_is_reserved> tells whether anything is reserved.

=item C<_tie($reference)>, C<_reference>, C<_is_shared>

C<_tie> ties a container to the object. C<_reference> returns a reference to the container that is tied to it, and creates that if necessary. C<_is_shared> returns true unless the variable has been removed.

=item C<_change_of_all>

Called on the queue, begins the change that C<done> with a sub makes: one change of the queue and of all variables of the namespace that are stored in before its end. Returns an object with a method C<commit>; if it is destroyed without a C<commit>, everything is undone.
Until then, other processes cannot change a variable that has been stored in; they can read it, and see what it was before.

=item C<_begin_operator>, C<_look_at($what)>

Only for engines in Perl; called by perl's operators. C<_begin_operator> is C<begin>, but returns false if a change is open already. C<_look_at> returns a reference to a list of C<pairs>,
C<keys> or C<values> or, if C<$what> is a reference to an array of keys, of the values of these keys.

=item C<engine>, C<id>

The engine, and a string that identifies this variable in its namespace and is never used for another one.

=back

=head2 References

If a value to be stored is a reference to a variable of the same engine, the engine stores it as such; C<IPC::Shm::Sharing> first turns
everything else that can be shared into such a variable. A fetched reference leads to a container tied to the variable's
object, always the same one while this interpreter has it, blessed into the class that was stored with the reference. A variable exists as long as it has a name,
a stored reference leads to it, or a living process has its object.

=head1 SEE ALSO

L<IPC::Shm>, L<IPC::Shm::Engine::Memory>, L<IPC::Shm::Engine::Redis>

=cut
