package IPC::Shm;
use 5.022;
use strict;
use warnings;
use Carp               ();
use Data::Pool::Shared ();
use IPC::Shm::Attribute;
use IPC::Shm::Engine;
use IPC::Shm::Engine::Memory ();    # of nearly all programs: compiled once, before they fork
use IPC::Shm::Names;
use IPC::Shm::Tied;

our $VERSION  = '1.000';
our @CARP_NOT = qw(IPC::Shm::Attribute IPC::Shm::Names IPC::Shm::Tied attributes);

IPC::Shm::Attribute->install;
tie our %NAMEVARS, 'IPC::Shm::Names';    ## no critic (the documented name)

my %type_of = ('$' => 1, '@' => 2, '%' => 3);
my $namespace;                           # as given by `use IPC::Shm namespace =>`
my $in_use;                              # where the first variable went
our $ATTACH_ONLY = 0;                    # for tools: a namespace that is not there is an error
our $HANDLERS_WAIT;                      # true: handlers of signals wait, unless we wait ourselves (xs/signal.c)

sub import {
    my ($class, @options) = @_;
    Carp::croak("The options of $class are pairs of name and value") if @options % 2;
    my %option = @options;
    for my $name (sort keys %option) { Carp::croak("Unknown option '$name' of $class") if $name !~ /\A(?:namespace|operators)\z/ }
    _set_namespace($option{namespace}) if exists $option{namespace};
    _choose_operators($option{operators});
    return;
}

# Do perl's operators know shared variables? The first to choose chooses for the whole process.
my $operators;

sub _choose_operators {
    my ($wanted) = @_;
    Carp::croak('The operators know shared variables already: operators => 0 must come first, or IPC_SHM_PLAIN_OPERATORS be set')
        if defined $wanted && !$wanted && $operators;
    $operators //= $wanted // !$ENV{IPC_SHM_PLAIN_OPERATORS};
    _wrap_operators() if $operators;
    return;
}

sub _set_namespace {
    my ($dir) = @_;
    Carp::croak('namespace must be the path of a directory') unless defined $dir && length $dir && $dir !~ /\0/;
    $dir = IPC::Shm::Engine::is_url($dir) ? $dir : _absolute($dir);
    return if defined $in_use && _is_same_directory($in_use, $dir);
    Carp::croak(IPC::Shm::Engine::without_password("The namespace $in_use is in use already; it cannot become $dir")) if defined $in_use;
    $namespace = $dir;
    return;
}

# A relative directory is the same one after a chdir.
sub _absolute {
    my ($dir) = @_;
    $dir =~ s{(?<=.)/+\z}{};
    return $dir if $dir =~ m{\A/};
    IPC::Shm::Tied::_load('Cwd.pm');
    my $here = Cwd::getcwd();
    Carp::croak("The relative namespace '$dir' cannot be found: there is no current directory") unless defined $here;
    return $here eq '/' ? "/$dir" : "$here/$dir";
}

sub _is_same_directory {
    my ($one, $other) = @_;
    return 1 if $one eq $other;
    my @one   = stat $one   or return 0;
    my @other = stat $other or return 0;
    return $one[0] == $other[0] && $one[1] == $other[1];
}

sub namespace { return IPC::Shm::Engine::without_password(_where()) }

sub _where {
    return $in_use    if defined $in_use;
    return $namespace if defined $namespace;
    my $dir = $ENV{IPC_SHM_NAMESPACE};
    return IPC::Shm::Engine::is_url($dir) ? $dir : _absolute($dir) if defined $dir && length $dir;
    return "/dev/shm/ipc-shm-$>";
}

# The engine of the namespace: opened with the first variable, and again after a cleanup.
my $engine;

sub _engine {
    my $path = _where();
    $in_use = $path;
    return $engine if $engine && $engine->is_current;
    my $opened = _from_callers_line(
        sub {
            IPC::Shm::Engine::class_of($path)->open(
                $path,
                mode       => IPC::Shm::Tied->Mode,
                size       => IPC::Shm::Tied->Size,
                attach     => $ATTACH_ONLY,
                is_default => $path eq "/dev/shm/ipc-shm-$>"
            );
        }
    );
    return $engine if $engine && $engine->is_current;    # opened meanwhile, by a handler of a signal
    return $engine = $opened;
}

# Exceptions name the line of the call, which is in this module: let them name the caller's line instead.
# Exceptions of signal handlers are passed on as they are.
sub _from_callers_line {
    my ($code, @arguments) = @_;
    my ($ok, $why, @result);
    {
        local $@;
        $ok  = eval { @result = $code->(@arguments); 1 };
        $why = $@;
    }
    return wantarray ? @result : $result[-1] if $ok;
    Carp::croak($why) if !ref $why && $why =~ s{\A(.*) at [^\n]*\bIPC/Shm(?:/\w+)*\.pm line \d+(?:, <[^>]*> \w+ \d+)?\.\n\z}{$1}s;
    die $why;
}

# The object of a variable: a new one, or the one of that name. If the namespace is removed
# meanwhile, there will be a new one.
sub _new {
    my ($type, $name) = @_;
    _choose_operators() unless defined $operators;
    for (1 .. 1000) {
        my $object = _from_callers_line(sub { scalar _engine()->variable($type, $name, 1) });
        return $object if defined $object;
    }
    return Carp::croak('The namespace ' . namespace() . ' is removed again and again');
}

# The object of the variable with this full name, which is created if necessary.
sub _declared { my ($name) = @_; return _new($type_of{ substr $name, 0, 1 }, $name) }

# The object of a variable that exists, by its name; or undef.
sub _named {
    my ($name) = @_;
    my $type   = defined $name && length $name ? $type_of{ substr $name, 0, 1 } : undef;
    return $type && scalar _from_callers_line(sub { scalar _engine()->variable($type, $name, 0) });
}

sub _names {
    return _from_callers_line(sub { _engine()->names });
}

sub cleanup {
    _from_callers_line(sub { _engine()->cleanup });
    undef $engine;
    return 1;
}

sub stats {
    return scalar _from_callers_line(sub { scalar _engine()->stats });
}

sub recover {
    return scalar _from_callers_line(sub { scalar _engine()->recover });
}

sub list {
    my @variables = _from_callers_line(sub { _engine()->list });
    return @variables;
}

# Objects that are only stored end before perl destroys, in no order, what their destructors need.
# In package DB: a program's debugger or profiler (DB::sub) is not called for what is not the program's.
{

    package DB;
    END { local $?; IPC::Shm::_drop_all_kept() }
}

1;

__END__

=encoding utf8

=head1 NAME

IPC::Shm - Perl variables that processes share, and that outlive them

=head1 SYNOPSIS

    use IPC::Shm;

    our %config : shm;                    # every program that declares it sees the same hash
    our @queue  : shm;
    our $hits   : shm;

    $config{colour} = 'green';            # green for everybody, at once
    $config{limits}{upload}[0] = 5;       # nested data, as usual
    push @queue, { id => 17 };

    (tied $hits)->add(1);                 # count without losing any

    {
        my $lock = (tied %config)->lock_guard('write');
        $config{next} = keys(%config) + 1;    # nobody gets in between
    }

    (tied @queue)->wait_change(5);        # sleep until somebody changes it

    my %scratch : shm;                    # shared with the children of this process

=head1 DESCRIPTION

Put C<: shm> after the declaration of a scalar, an array or a hash, and it lives
in shared memory. Whatever one process stores, all others see the next time they look.
There is nothing to set up, open or close.

The variables are kept in a file in memory (on F</dev/shm>), in a single copy however many processes use
them: values are read in place, and what one process stores costs the others nothing. A process may be killed at any moment
without harm to the others. Linux only.

=head2 Package variables: by name

    package My::App;
    use IPC::Shm;
    our %state : shm;

C<our> variables are known by their sigil and full name, here C<%My::App::state>.
Another program that declares C<%My::App::state> gets the same hash, today or next
week: a named variable stays until it is removed or the machine restarts.
C<$state>, C<@state> and C<%state> are three variables.

C<our $x : shm = 5> shares C<$x>, and then assigns 5, every time the line is run.
Leave the value out if starting a program must not overwrite what others have stored.

=head2 Lexicals: by scope

    my %table : shm;
    my $total : shm = 0;

A C<my> variable has no name that another program could use. It is shared with
the processes that this one forks, and exists as long as one of them
has it in scope, or another shared variable refers to it. After that it is freed, even if
its last users were killed. Each run of the declaration creates a new variable;
only a C<state> variable stays the same.

C<tie my %h, 'IPC::Shm::Tied'> (or C<my @a>, C<my $s>) creates such a variable without the attribute.

=head2 Names apart from packages

    our %session : shm(app.session);
    my %session : shm(app.session);
    tie my %session, 'IPC::Shm::Tied', 'app.session';

all declare the variable C<%app.session>, whatever the package and the declared name. This is needed if code is compiled in a
package named after its path, as a F<.psgi> file is. A name consists of words joined by C<.>, C<-> or C<::>, optionally with the sigil
in front. A C<my> variable with a name outlives its scope, as an C<our> variable does. C<tie> dies if it is given arguments that it does not understand.

=head2 What can be stored

C<undef>, numbers (integers to 64 bits, doubles to the last bit), strings of bytes
and of characters, true and false: all come back equal. So do values that are a number and a different text at once,
such as C<$!> (but if the text has wide characters, only the text is kept). And references:

=over 4

=item *

What the reference points to becomes a shared variable in its own right, and keeps its
contents. It is the same variable as before, now shared:

    my @list = (1, 2);
    $config{list} = \@list;
    push @list, 3;               # others see three elements in $config{list}

=item *

Two references to the same thing remain two references to the same thing.

=item *

A blessed reference comes back blessed. The class's code is not stored: the other
program has to load it. The name of the class is stored with the reference: if you re-bless an object,
others see that only after it is stored again.
C<DESTROY> runs in each process that has had the object, as soon as no stored reference leads to the object any more (whichever process
overwrote or deleted the last one) and the process itself holds none, or else at the end of the program. A process notices that another
one has overwritten a reference the next time it uses a shared variable.

=item *

C<$h{a}{b} = 1> creates C<$h{a}> if it is missing, as usual. If two processes do so at once, both
use the one that was created first, and nothing is lost.

=item *

A reference that you hold stays valid after the element it came from is overwritten.

=item *

Code, globs, file handles, regular expressions, special variables such as C<%ENV>,
and variables tied to other classes cannot be shared. The attempt dies, and the old
value stays.

=item *

Data may refer to itself. Such cycles are freed by L</recover> or L</cleanup>. A weak
reference is stored as an ordinary one, so it can be part of such a cycle.

=back

=head1 WHAT IS ATOMIC, AND WHAT NEEDS A LOCK

B<Every single operation is atomic.> Whether it is an assignment, a C<push> of many values, a
C<splice>, C<@a = sort @a>, or an assignment of a list to a whole hash, array or slice,
others see the variable either as it was before or as it is afterwards. If the operation dies halfway, nothing
has happened. Likewise, C<my %copy = %h>, C<keys %h> and C<@h{@keys}> in list context see
the hash as it was at one moment, and so do their counterparts for arrays.

B<Two operations are two.> Between a read and a write, another process may step in:

    $n++;                           # reads, then writes: increments can be lost
    (tied $n)->add(1);              # one operation: none is lost

    $h{x} = $h{y} + 1;              # a read and a write: needs a lock
    $h{list}[0]++                   # the same, on another variable: lock that one

Where elements are aliased, so that they can be assigned to (C<for (@a)>, C<map>, the arguments of a sub), they
are looked up one at a time.

=head1 CONVENTIONS

All calls have been available since version 1.000. A call that changes a variable waits, without a time limit, as any store does, while
another process has a lock on that variable or a change of it open; one that only reads its content waits while another process has the write lock.
Apart from that, a call waits for other processes only if its description says so. Its result is the same in scalar and
list context, unless its description says otherwise. Time limits are in seconds and may have fractions; C<undef> or none at all means "no limit", 0
means "do not wait", and a negative one is an exception. While a process waits, its signal handlers run, and may
C<die> out of the wait; if they return, the wait goes on for the time that is left.

Exceptions are strings that end with the file and line of the caller. A call that succeeds leaves C<$@> and C<$!> alone. Besides the exceptions listed with each call, any use of
a variable may die with C<Cannot share ...> (a value that cannot be stored), C<Cannot store: ...> (no room),
C<Deadlock on ...> (see L</writelock>), C<... was removed> and C<... is damaged> (somebody has written to the files). The variable is
unchanged after any of them.

=head1 ELEMENTS AND QUEUES

These are methods of the object behind a variable, C<tied %h>. Each call is atomic: those that read an element and change it do so in one step, so nobody gets in between, and
if the call dies (or the process is killed) nothing has happened. None of them needs a lock. The first argument is a key for hashes and an index (0 or more) for arrays; it is left out for
scalars. While a change of the variable is open (between C<begin> and C<commit>, within C<update>, or within an operator such as C<sort> in place), a call is part of that change.

=head2 add

    my $sum = (tied %h)->add($key, $delta);
    my $sum = (tied @a)->add($index, $delta);
    my $sum = (tied $n)->add($delta);

Adds, and returns the sum; an absent element or C<undef> counts as 0. Integers are added exactly
as long as the sum fits in 64 bits, and as doubles beyond that. Dies, and changes nothing, if the delta or the
stored value is not a number.

=head2 insert

    (tied %leader)->insert(main => $$) or return;    # somebody else was first

Stores the value only if there is no such key (for an array: no element at that index, as C<exists> tells; for a scalar: if it is C<undef>). Returns true if it was stored, else false.

=head2 replace

    (tied %h)->replace($key, $old, $new) or redo;

Stores the new value only if the current one is C<$old>: both are equal as strings, or references to the same thing. If C<$old> is C<undef>, the
value is stored only if there is none. Returns true if it was stored, else false.

=head2 exchange

    my $old = (tied %h)->exchange($key, $new);

Stores the new value and returns the old one, or C<undef> if there was none.

=head2 update

    my $new = (tied %h)->update($key, sub { $_ = "$_," if length; $_ .= $name });

Calls the sub with C<$_> set to the element and, when the sub returns, stores the value that C<$_> has then; returns that value. If the sub dies, nothing has
happened; it cannot be left by C<last>, C<next> or C<goto>. Meanwhile other processes can read, but have to wait if they want to store: be brief, and do not wait for others in the sub.

=head2 store, expire

    (tied %h)->store($key, $value, $seconds);
    (tied %h)->expire($seconds);

C<store> stores an element that expires after C<$seconds> (if that is C<undef>, never; if it is left out, after the time that C<expire> has set). C<expire> sets the default for everything that
any process stores in the hash from now on (C<undef>: never; 0 is an exception). Neither returns anything. Expired elements are neither seen nor counted. Their memory is reclaimed gradually
by later stores, and at once by C<sweep>. The clock (C<CLOCK_BOOTTIME>) keeps running during suspend and cannot be set; it is accurate
to one kernel tick, at most ten milliseconds. An element changed by C<add>, C<replace>, C<exchange> or C<update> keeps its expiry time; a plain store starts a new one.

Only the elements of hashes can expire: for arrays and scalars, C<store> with C<$seconds> dies, as do C<expire>, C<touch>, C<ttl>, C<sweep> and C<limit>. C<expire> and C<limit> could not be
undone with an open change, so they die within one (C<begin>, C<update>). Processes in different time namespaces, where that clock differs, disagree about expiry times.

=head2 touch, ttl

    (tied %h)->touch($key, $seconds) or print "too late\n";
    my $left = (tied %h)->ttl($key);

C<touch> makes an element expire C<$seconds> from now (C<undef>: never), and returns true if there is such an element, else false. C<ttl> returns how many seconds the element has left: C<undef> if it never expires, -1 if there is no such element.

=head2 sweep

    my $freed = (tied %h)->sweep;

Frees all expired elements, and returns how many there were. Others can store meanwhile, unless a change of the hash is open: then it is part of that.

=head2 limit

    (tied %h)->limit($n);

Limits the hash to C<$n> elements (1 or more; C<undef>: any number). To make room for a new element, a hand goes round all elements, and deletes the first one that has been neither read
nor stored since it last came by (the CLOCK approximation of "least recently used"). What a change itself stores is never evicted by that change. Returns nothing.

=head2 take

    my $job = (tied @queue)->take($seconds);

Waits for an element, without polling, removes it from the head, and returns it; C<undef> when the time is up. This call and those down to C<reserved> are for arrays, and die for hashes and scalars. As with C<shift>, if a worker is killed while it has
the job, the job is lost. Jobs that dead workers had reserved come first.

=head2 reserve

    while (my ($job, $ticket) = (tied @queue)->reserve($seconds)) {
        work($job);
        (tied @queue)->done($ticket);
    }

Does the same, but returns the job and a ticket for it (call it in list context), and the job is kept until its worker calls C<done>. Meanwhile it is not in the array. If the worker dies, the job is the next one that C<take>,
C<reserve> and C<shift> return; otherwise the order is kept. (Other operators see only the array.) Returns an empty list when the time is up.
A waiting worker notices within a quarter of a second that another one has died. So each job is done at least once; it can be done twice, because a worker may be killed between its
work and C<done>. A worker is a process: what a thread has reserved goes to others only when its process ends, or by C<release>.

=head2 done

    (tied @queue)->done($ticket) or print "somebody else has it\n";
    (tied @queue)->done($ticket, sub { $ledger{$job->{id}} = $result; $sum += $result; push @queue, $next });

Ends the job. Returns true, or false if the job is no longer reserved under that ticket. Dies if the ticket is not one that C<reserve> returns. If a sub is given and the ticket is valid, the sub is called, and everything that it stores, in
the queue and in other shared variables of the namespace, is one change together with the end of the job. Others see all of it or none. If the sub dies or is left by C<last> or C<next> (then C<done> returns false), or the worker is killed at
any moment, none of it has happened, and the job is still reserved, or goes to the next worker. So the results that workers store in this way are stored exactly once (F<eg/shm/jobs.pl>).

From the sub's first store in a variable to the end of C<done>, nobody else can store in that variable, so keep the sub short: work first, then call C<done>. The queue is one of these from the start, so calls of C<done> with a sub on one queue take turns. Variables that the sub only reads
may be changed by others, and so may one that it reads before it stores in it (C<+=>), except by such calls. If two processes would wait for each other because they store in opposite orders, one dies with C<Deadlock>; call C<done> again. Within the sub,
a variable that it has stored in cannot be removed, C<begin> and C<commit> are part of the one change (C<abort> dies), and C<done> with a sub cannot be called again.

=head2 release

    (tied @queue)->release($ticket);

Gives the job back: it is at the head of the array again. Returns true if it was reserved under that ticket, else false. Dies if the ticket is not one that C<reserve> returns.

=head2 reserved

    printf "%s: %s since %s\n", @$_{qw(pid job since)} for (tied @queue)->reserved;

Returns a list of hash references, nearest to the head first, with C<job>, C<pid>, C<since> (seconds since the epoch), C<ticket>, and C<dead> (1 if the worker is dead: the next one to ask gets the job, else 0). In scalar context, returns their number.
Emptying the array leaves reserved jobs alone; C<remove> removes them as well.

=head2 copy

    my $plain = (tied %h)->copy;

Returns a deep, plain copy: a reference to a hash or array, or the value of a scalar. Each variable in it is a snapshot of one moment, but not all are of the same moment. References
to the same thing refer to the same thing in the copy, too, cycles included; objects are blessed; holes of arrays become C<undef>. L<Storable>, JSON, Sereal and L<Clone> accept
the copy. Storable and Clone cannot copy the shared variable itself, and die (Clone: on the first use of what it returns) with a message that mentions C<copy>; JSON and Sereal read it element by element, and so not as of one moment. As with any Perl data, it is up to you to break cycles
in the copy.

=head1 LOCKS

The object behind a variable, C<tied %h>, has these methods. A lock covers that one
variable, not others that it refers to.

=head2 writelock

    my $locked = (tied %h)->writelock;
    my $locked = (tied %h)->writelock($seconds);

Waits until nobody else has a lock, and takes the write lock. Until it is released, reads and writes
of other processes wait. Returns 1, or 0 if this process has the lock already, so that a sub
that may be called with or without the lock can say

    my $locked = $obj->writelock;
    ...
    $obj->unlock if $locked;

With a time limit it returns C<undef> when the time is up. If the wait
ends in an exception, the lock has not been taken.

If this process holds a read lock, it becomes a write lock; then C<unlock> releases both, whereas a guard releases only the lock that it has taken. If two processes that
hold read locks both try to write, each would wait for the other: the second
one dies, with C<Deadlock> in the message.

=head2 readlock

    my $locked = (tied %h)->readlock;
    my $locked = (tied %h)->readlock($seconds);

Does the same for reading: any number of processes can hold a read lock, while writes wait. Returns
0 if the process already has a lock of either kind, and C<undef> when the time is up.

=head2 unlock

Releases both the read lock and the write lock, if this process holds them on the variable. Returns 1 if it held
any, 0 if not. Locks are also released when the process ends, however it dies; a child does not hold its parent's locks.

=head2 lock_guard

    my $lock = (tied %h)->lock_guard('write');              # or 'read'
    my $lock = (tied %h)->lock_guard('write', $seconds);    # undef: not in time

Takes a lock that is released when C<$lock> goes out of scope, also by an exception;
C<< $lock->release >> releases it earlier. Without arguments it is a write lock; kinds other than C<read> and C<write>
are an exception. If the process already holds that lock on the variable (a write lock includes a read lock), the guard does nothing. A signal handler that dies
at any point leaves no lock behind, unless the guard has been stored; the same is true of C<synchronize> and C<update>.

=head2 synchronize

    my @result = (tied %h)->synchronize(sub { ... });

Waits for the write lock, without a time limit, and calls the sub while holding it. Returns what the sub returns in the context of the call, and
dies if the sub dies; the lock is released in any case. Dies if its argument is not a code reference.

=head2 wait_change

    my $job;
    (tied @queue)->wait_change until defined($job = shift @queue);
    my $is_changed = (tied @queue)->wait_change($seconds);

Sleeps until another process has changed the variable since this one last looked at it;
returns at once if that has happened already. Returns true if there is a change, false when the time is up.
Sleeping costs nothing. Changes by this process itself do not count, nor do changes of other
variables that this one refers to. After it has returned, look at the variable again: several changes may cause a single wake-up.

=head2 remove

Removes the variable: its name and its contents. Waits for the locks of others. Returns true; dies if the variable has
been removed already, or if this process has a change of it open. Processes that have it get an exception when they use it; declaring the name again creates a new variable.

=head2 name, serial

Return the name of the variable (C<undef> for anonymous variables), and the number of changes so far.

=head1 THE NAMESPACE

Variables live in a directory. By default each user has one, F</dev/shm/ipc-shm-UID> (with the effective user ID),
made with the mode 0700. If it exists but belongs to somebody else, or others may
open it, it is refused. To use another, set the environment variable C<IPC_SHM_NAMESPACE>, or say

    use IPC::Shm namespace => '/dev/shm/my-app';

before the first variable is declared; this takes precedence. A process uses one namespace.

    BEGIN {
        IPC::Shm::Tied->Mode(0600);
        IPC::Shm::Tied->Size(8192);
    }

C<Mode> sets the permission bits of the files of a namespace that this process creates (default 0660; if
you name the directory, also those of the directory, with execute bits added), whatever the umask. C<Size> sets the size of the blocks
that hold values of more than about 4 kB, in a namespace that this process creates (default 4096 bytes). A namespace grows as long as
its filesystem has room. A store that does not fit dies, and the variable stays as it was; deleting needs no room, also within C<update>, or between C<begin> and C<commit>. (There is
one exception: a C<splice> out of the middle of an array that has been given new elements by C<unshift> in the same change, or has wide gaps where nothing was ever stored, can die for want of room.
While links of a large array are moved for a C<splice> on a full filesystem, others wait to read it until the change ends.)

=head2 Who may use it

Files belong to the user who creates them and to that user's group; the group bits of C<Mode> are for its members.
To share variables between users, name a directory that all of them may enter, and set C<Mode> in the
program that creates the namespace. Even reading needs write permission. If the members of a group
have different primary groups, create the directory beforehand and set its set-group-ID bit (C<chmod g+s>).

In a place where anybody may create a directory, such as F</dev/shm>, a namespace created by another user is refused, unless that user is root: somebody
may have put it there to see what you store. To share between users there, let root create the directory, or use a place that only you
can write to.

A process that may write to the file can write anything into it. Nothing in it is ever executed, and damage is reported as an
exception, but do not share a namespace with anybody who must not see or change the values.

A program that gives up privileges (C<setuid>), enters a C<chroot> or closes its descriptors keeps working with the variables that it
has, and with what they refer to; to declare more variables, it must be able to reach the directory. The same is true after the files have been removed by means other than L</cleanup>, but then the variables are shared only with processes
that have the files open; one that starts later creates a new namespace.

The format of the files may change with a new version of this module. A namespace of another version is refused (C<is incompatible>): stop the programs that use it, and remove it with
C<shmpool cleanup>.

=head2 Containers and services

=over 4

=item *

Containers share variables if they share a directory: C<docker run --ipc=container:NAME>, or a volume on a tmpfs that both mount. A process in
another PID namespace is never taken for dead while anything in its container is alive; when the container is gone, its locks are free.

=item *

Docker gives a container 64 MB of F</dev/shm>; C<--shm-size> gives it more. Running out of space causes an exception, not a crash.

=item *

systemd removes the files of a user in F</dev/shm> when that user's last session ends, unless it is a system user
(C<RemoveIPC=> in F<logind.conf>), and services with C<PrivateTmp=> or C<PrivateIPC=> may not see the same directories as you. For services, name a directory
under F</run>.

=item *

A server that loads the program before it forks (preloading) may declare variables at that point: every worker has them.

=item *

Under C<-T> the name of the namespace is not checked for taint: you decide who may set C<IPC_SHM_NAMESPACE>.

=back

=head2 Perl's operators

IPC::Shm replaces the functions of some of perl's operators, in all code of the process, so that a list assignment, a C<sort> in place or a C<delete> of a slice is one change,
and reading many elements gives a snapshot of one moment. Code that shares nothing runs as before. To leave every operator alone, set the environment
variable C<IPC_SHM_PLAIN_OPERATORS> to 1, or begin with

    use IPC::Shm operators => 0;

before anything else in the process loads the module: later, that line dies. Everything still works, but more slowly; each element is read or changed separately, and a program started by C<exec> keeps the locks and lexicals that its process had.

=head2 Several hosts

    IPC_SHM_NAMESPACE='redis://host:6379/0?prefix=app' perl program

A namespace can be on a Redis or Valkey server; then the same program has the same variables on several hosts. This needs the module
L<Redis::Fast>, which is loaded only in that case. L<IPC::Shm::Engine::Redis> says how to set it up, what it costs, and what is different.

=head2 namespace

    my $dir = IPC::Shm->namespace;

Returns the absolute path of the directory (or the URL, without a password) that is used, or would be used. Does not create it. C<use IPC::Shm namespace =E<gt> ...>
dies if a variable of another namespace has already been declared.

=head2 cleanup

    IPC::Shm->cleanup;

Removes all variables and files. Returns true. A variable that another process keeps locked (for more
than 0.2 seconds) loses its name at once, but its contents only when the last process that has it is gone.
Afterwards, using a variable that was declared earlier is
an error in every process, so call C<cleanup> in an C<END> block, or in a separate script.

=head2 %IPC::Shm::NAMEVARS

A hash of the named variables: its keys are names such as C<%main::config>, its values references
to the variables. Deleting an element removes the variable, and returns true, or C<undef> if there
is none. Storing into the hash, or emptying it, dies.

=head2 stats

    my $stats = IPC::Shm->stats;

Returns a reference to a hash of numbers: C<variables>, C<named>, C<attachments> (uses of a variable by a process), C<blocks> (pieces of memory in use), C<block_size>,
C<bytes_used> (by variables and those pieces), C<bytes_reserved> (taken on the filesystem) and C<bytes_total> (the sum of that and of the space that is free there).

=head2 list

    printf "%s: %d bytes\n", $_->{name} // 'anonymous', $_->{bytes} for IPC::Shm->list;

Returns a list of hash references, one for each variable (in scalar context, their number), with C<name> (or undef), C<type> (C<SCALAR>, C<ARRAY>, C<HASH>),
C<elements> (some may have expired, but not been freed yet), C<bytes>, C<serial>, C<writer> (the process that holds a write lock, or undef), C<readers> and
C<attached> (the processes that hold a read lock, and that use the variable: references to lists of process IDs), C<refs> (how many stored references lead to it; in memory, a
name counts as one), C<removed> (1 if it was removed, but is still in use; else 0).

=head2 recover

    my $freed = IPC::Shm->recover;

Frees what killed processes have left behind and what nothing can reach, such as cycles of references. Returns the number of
things (variables, attachments of processes, pieces of memory) that it freed. Any process may call it at any time, and others keep working meanwhile.
If another process is recovering, it waits for that one first; after a second it gives up, and returns 0.
It is not needed for correctness, and is done automatically when a process opens the namespace or lets go of a
variable that dead processes still seem to hold.

=head1 CRASHES

A process may be killed at any instruction, with any signal.

=over 4

=item *

What it had stored stays stored; an operation that it was in the middle of has either happened or not.

=item *

All others can go on reading and writing at once. A lock whose holder is dead is free: the next process that
wants it finds that the holder is dead, and takes the lock over. A PID that has been reused does not fool it.

=item *

Memory that the dead process had taken but not yet used is found by L</recover>.

=back

Work that was done under a lock may be half finished, of course: single operations are never left half done, but sequences of operations are
not undone. If the machine goes down, the contents of F</dev/shm> are lost.

=head1 WHAT DOES A STORE COST?

There is one copy of each value, in shared memory. B<A fetch> finds it there, without a lock and without a system call; a scalar that has not changed
since the last fetch is not even looked up. B<A store> writes the new value beside the old one, makes it visible by storing one number, and frees the old
one: its cost does not depend on how large the variable is, or on how many processes have it. Writers of the same variable
take turns; writers of different variables do not affect each other.

B<The first look> at a variable costs the same for ten elements and for ten million, and so does C<fork>: there is no
copy to make. What is read into a Perl variable (C<my %copy = %h>, C<keys>) is copied, of course.

B<A list assignment> writes the whole new content; until it is published, the old content takes room as well. B<Storing a reference> turns
what it points to into a variable in its own right.

The shared memory that things take, as C<bytes_reserved> counts it, measured with 100,000 of each (20,000 of the nested hashes):

    thing                                                            bytes
    an element of a hash: key of 10 bytes, value of 60                 150
    the same with a number as its value                                100
    an element of an array: a number                                    80
    the same with a string of 20 bytes                                  97
    a hash of three short fields, and the reference to it              600
    a scalar that holds a number, undef, true or false                 225
    a process's hold on a variable                                      80

An element takes the bytes of its key and value plus 40, rounded up to one of a number of sizes (48, 64, 80, 96, 112, 128 …), and about 30 more bytes
for its owner, the links to it, and memory that is reserved in advance. Memory that was freed is used again for things of about the same size; if the filesystem is full,
free memory is given back to it, for things of other sizes, but not while a process is stopped at the very moment at which it is reading.

For many small records, C<$h{$id} = { ... }> is convenient but costs a variable for each record; joined keys, C<$h{"$id.name"}>, or
one string per record take less.

Hold locks no longer than needed: a write lock makes readers wait, too. C<(tied %h)-E<gt>copy> or C<my %copy = %h> gives
you the content of one moment to work on.

And the time that operations take, in microseconds (on two cores of an EPYC; F<README> has more, and other modules for comparison):

    fetch an element of a hash                           0.1 to 0.2
    store one                                            0.4 to 0.5
    push and shift an element of an array                1.0
    fetch a scalar, store one                            0.05, 0.08
    make a hash of three fields in a hash                3.3
    fetch such a field                                   0.4; for the first time 0.6
    declare a variable with a name (attach to it)        9
    the first look of a new process                    500

F<bench/tied.pl> and F<bench/many.pl> measure times on your machine, and compare them with those of other modules.

=head1 LOCKING SEVERAL VARIABLES

Take locks in the same order everywhere, for instance ordered by name. If two processes take them in different orders, each may hold the lock that the other
is waiting for. This is detected: the process that began to wait last gets an exception with C<Deadlock> in its text, even if the cycle
goes through several processes, or through variables that are only stored to. In that case, release your locks and start over:

    our %from : shm;
    our %to : shm;
    for my $try (1 .. 10) {
        last if eval {
            my @locks = map { $_->lock_guard('write') } tied %from, tied %to;
            $from{amount} -= 10;
            $to{amount} += 10;
            1;
        };
        die $@ if $@ !~ /Deadlock/ || $try == 10;
    }

Each guard ends with the block. If the process is killed between the two stores, only the first one has happened: keep what must change together in one
variable, where one assignment (C<@accounts{'a', 'b'} = (5, 15)>) or C<begin> and C<commit> (L<IPC::Shm::Tied>) makes it one change.

=head1 COMING FROM OTHER MODULES

L<IPC::Shm::FromShareable> and L<IPC::Shm::FromFastMmap> show what to use in place of each call of L<IPC::Shareable> and L<Cache::FastMmap>.

=head1 DIFFERENCES FROM SYSTEM V

Earlier versions of this idea, built on System V shared memory, behaved differently in these respects:

=over 4

=item *

There are no keys, segments or semaphores: look with C<ls /dev/shm> or C<shmpool vars>, not with C<ipcs>.

=item *

Each user has a separate namespace, unless the program names one.

=item *

A killed process leaves no stale lock.

=item *

Values are not serialised by Storable: what is read is data, and reading it runs no code of any class.

=item *

C<Size> is the size of blocks, not a limit.

=back

=head1 PORTABILITY AND LIMITS

Linux, 64-bit, Perl 5.22 or later. Threads are supported: each has its own view, and locks belong to the thread
that took them. C<local> works on elements, not on whole shared arrays and hashes (perl cannot do that with tied ones).
C<pos> of an element is forgotten at once, as with any tied variable: in a loop with C<m//g>, match against a copy.
A name may be up to 490 bytes long, with its sigil and package (C<%main::>). A process that becomes another program by C<exec> holds no locks from then on (not even if
C<exec> fails), and keeps lexicals alive for ten more seconds; programs started by C<system>, backticks and
C<open> hold nothing.

=head1 SEE ALSO

L<Data::Pool::Shared>. F<eg/shm/> has a web server with shared sessions, a job queue and a configuration that is
replaced while workers use it.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
