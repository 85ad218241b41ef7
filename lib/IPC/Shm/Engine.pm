package IPC::Shm::Engine;
use strict;
use warnings;
use Carp ();

our $VERSION = '1.000';

# Where variables are kept. The class of an engine by the namespace it is given.

my @engines = ([ qr{\A(?:rediss?|valkeys?)(?:\+unix)?://}, 'IPC::Shm::Engine::Redis' ], [ qr{\A/}, 'IPC::Shm::Engine::Memory' ],);

sub is_url { my ($namespace) = @_; return $namespace =~ m{\A[a-z+]+://} }

sub without_password { my ($text) = @_; $text =~ s{(\b[a-z+]+://[^:@/?\s]*):[^@/?\s]*@}{$1@}g; return $text }

sub class_of {
    my ($namespace) = @_;
    for my $engine (@engines) {
        next unless $namespace =~ $engine->[0];
        my $file = $engine->[1] =~ s{::}{/}gr . '.pm';
        require $file;
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

An engine is a class that keeps variables for L<IPC::Shm>. The attribute, the names, locks by
scope, references between variables, element calls such as C<add> and C<update>, and perl's operators
are one code for all engines; it stands on what is written here.

A I<type> is 1 (scalar), 2 (array) or 3 (hash). A I<time limit> is seconds, with fractions; C<undef> is none, 0 means not to
wait. While it waits, an engine runs perl's signal handlers, which may die out of it; then nothing has happened and
nothing is held. Errors are exceptions whose text ends without a line, so that the caller's can be told:
C<die "was removed\n"> is not enough, C<croak> from where the user is.

=head2 class_of, is_url, without_password

Functions: the class of the engine for a namespace, which is loaded; whether a namespace is an URL; a text with the passwords of URLs left out.

A new engine is a class, and a line in the table at the head of this module: what its namespaces look like.

=head2 The engine itself: one object a namespace

=over 4

=item C<< $class->open($namespace, %option) >>

Opens the namespace, and makes it if need be. C<mode>, C<size>: as C<< IPC::Shm::Tied->Mode >>, C<Size>, where they mean something. C<attach>, if true: make none, and take it
whoever made it; that is for tools. C<is_default>: it is the user's own, and must be nobody else's.
Called once a namespace and process; the object is kept until C<cleanup>, and for as long as C<is_current> is true.
An engine in Perl calls C<IPC::Shm::Engine::_is_in_perl()> here: until one does, perl's operators ask no object of its kind.

=item C<< $engine->namespace >>

As it was given, without passwords.

=item C<< $engine->variable($type, $name, $create) >>

The object of a variable: of the one that has the (full, characters) name; C<undef> where there is none and C<$create> is false.
C<$name> undef: a new, anonymous one. The same object for the same variable in one interpreter, for as long as it lives.

=item C<< $engine->names >>, C<< $engine->list >>, C<< $engine->stats >>, C<< $engine->recover >>, C<< $engine->cleanup >>

As the calls of L<IPC::Shm>; C<names> is the list of names.

=back

=head2 The object behind a variable

It is what C<tied> returns. Its class is derived from C<IPC::Shm::Scalar>, C<IPC::Shm::Array> or C<IPC::Shm::Hash>
(all derived from L<IPC::Shm::Tied>), and has perl's own calls (FETCH, STORE and so on, see L<perltie>), and

=over 4

=item C<begin>, C<commit>, C<abort>, C<is_open>

What is done to this variable through this object between C<begin> and C<commit> is one change; this
process sees it at once, others when it is committed, and never if it is aborted. C<begin> waits like a
store. An object has at most one change open, C<is_open> says whether. It belongs to this one variable. What is looked at in a change is not
changed by others before its end.

=item C<add>, C<store>, C<expire>, C<touch>, C<ttl>, C<sweep>, C<limit>

As in L<IPC::Shm/ELEMENTS AND QUEUES>; all but C<add> for hashes. C<_keep_expiry($key, $value)> is a C<STORE> that leaves the
time at which the element vanishes.

=item C<all>

The content of one moment, as a reference to a plain array or hash, or the value of a scalar; references in it are those that C<FETCH> gives.

=item C<< lock($kind, $seconds) >>, C<< unlock_kind($kind) >>

C<$kind> is C<read> or C<write>. 1: taken; 0: this process had it already (a write lock covers a read lock); undef: not in time. Dies with
C<Deadlock> in the text where two processes would wait for each other. C<unlock_kind> returns whether there was something. A lock is gone when its process is
dead, whatever it died of; not while it is stopped. A child does not hold what its parent holds.

=item C<wait_change($seconds)>, C<serial>, C<name>, C<remove>

As in L<IPC::Shm>.

=item C<_tie($reference)>, C<_reference>, C<_is_shared>

Tie a container to the object; a reference to the container that it is tied to, made if need be; whether it was not removed.

=item C<_change_of_all>

What C<done> with a sub begins: an object with C<commit>, whose end without that undoes all. Where an engine cannot make one change of several variables it
is the change of the queue alone, C<_one_change>.

=item C<_begin_operator>, C<_look_at($what)>

Only for engines in Perl, for perl's operators: C<begin>, but false where a change is open already; a reference to a list of C<pairs>,
C<keys> or C<values>, or of the values of a reference to an array of keys.

=item C<engine>, C<id>

The engine, and a string that is this variable's alone in its namespace and never another's.

=back

=head2 References

A value that is stored and is a reference to a variable of the same engine is stored as such; C<IPC::Shm::Sharing> makes
everything else that may be shared such a variable first. A fetched reference leads to a container tied to the variable's
object, the same one each time while this interpreter has it, blessed into the class that was stored with the reference. A variable lives while it has a name, while a
stored reference leads to it, or while a living process has its object.

=head1 SEE ALSO

L<IPC::Shm>, L<IPC::Shm::Engine::Memory>, L<IPC::Shm::Engine::Redis>

=cut
