package IPC::Shm;
use 5.022;
use strict;
use warnings;
use Carp               ();
use Data::Pool::Shared ();
use IPC::Shm::Attribute;
use IPC::Shm::Engine;
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

sub import {
    my ($class, @options) = @_;
    Carp::croak("The options of $class are pairs of name and value") if @options % 2;
    my %option = @options;
    for my $name (sort keys %option) { Carp::croak("Unknown option '$name' of $class") if $name !~ /\A(?:namespace|operators)\z/ }
    _set_namespace($option{namespace}) if exists $option{namespace};
    _choose_operators($option{operators});
    return;
}

# Do perl's operators know shared variables? Who says so first says it for the whole process.
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
    require Cwd;
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
    return $engine = _from_callers_line(
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
}

# What is thrown names the line that calls it, which is ours: let it be the caller's.
# What a signal handler dies of is its own.
sub _from_callers_line {
    my ($code, @arguments) = @_;
    my ($ok, $why, @result);
    {
        local $@;
        $ok  = eval { @result = $code->(@arguments); 1 };
        $why = $@;
    }
    return wantarray ? @result : $result[-1] if $ok;
    Carp::croak($why) if !ref $why && $why =~ s{ at [^\n]*\bIPC/Shm(?:/\w+)*\.pm line \d+(?:, <[^>]*> \w+ \d+)?\.\n\z}{};
    die $why;
}

# The object of a variable: a new one, or the one of that name. The namespace may be removed
# just then: there will be a new one.
sub _new {
    my ($type, $name) = @_;
    _choose_operators() unless defined $operators;
    for (1 .. 1000) {
        my $object = _from_callers_line(sub { scalar _engine()->variable($type, $name, 1) });
        return $object if defined $object;
    }
    return Carp::croak('The namespace ' . namespace() . ' is removed again and again');
}

# The object of a variable by its full name, which is made if need be.
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

The variables are kept in a file in memory (on F</dev/shm>), in a single copy however many processes look at
them: a value is read in place, and what one process stores costs the others nothing. A process may be killed at any moment
without harm to the others. Linux only.

=head2 Package variables: by name

    package My::App;
    use IPC::Shm;
    our %state : shm;

C<our> variables are known by their sigil and full name, here C<%My::App::state>.
Another program that declares C<%My::App::state> has the same hash, now or next
week: a named variable stays until it is removed or the machine restarts.
C<$state>, C<@state> and C<%state> are three variables.

C<our $x : shm = 5> shares C<$x>, and then assigns 5, every time the line is run.
Leave the value out if starting a program must not reset what others count.

=head2 Lexicals: by scope

    my %table : shm;
    my $total : shm = 0;

A C<my> variable has no name that another program could use. It is shared with
the processes that this one forks, and lives as long as one of them
has it in scope, or another shared variable refers to it. Then it is gone, even if
its last users were killed. Each run of the declaration makes a new variable;
only a C<state> variable stays the same.

C<tie my %h, 'IPC::Shm::Tied'> (or C<my @a>, C<my $s>) makes such a variable without the attribute.

=head2 Names apart from packages

    our %session : shm(app.session);
    my %session : shm(app.session);
    tie my %session, 'IPC::Shm::Tied', 'app.session';

all declare the variable C<%app.session>, whatever the package and the declared name. This is needed where code is compiled in a
package named after its path, as a F<.psgi> file is. A name is words joined by C<.>, C<-> or C<::>, optionally with the sigil
in front. A C<my> variable with a name outlives its scope, as C<our> does. C<tie> dies if it is given arguments that it does not understand.

=head2 What can be stored

C<undef>, numbers (integers to 64 bits, doubles to the last bit), strings of bytes
and of characters, true and false: all come back equal. So do values that are a number and a different text at once,
such as C<$!>. And references:

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
C<DESTROY> runs in each process that has had the object, when that process lets go of it: after the last stored reference to it was
overwritten or deleted, by any process, and the program itself holds none, or at the end of the program. A process notices what another
has overwritten the next time it uses a shared variable.

=item *

C<$h{a}{b} = 1> makes C<$h{a}> if it is missing, as usual. If two processes do so at once, both
use the one that came first, and nothing is lost.

=item *

A reference that you hold stays valid after the element it came from is overwritten.

=item *

Code, globs, file handles, regular expressions, special variables such as C<%ENV>,
and variables tied to other classes cannot be shared. The attempt dies, and the old
value stays.

=item *

Data may refer to itself. Such rings are freed by L</recover> or L</cleanup>. A weak
reference is stored as an ordinary one, so it makes a ring, too.

=back

=head1 WHAT IS ATOMIC, AND WHAT NEEDS A LOCK

B<Every single operation is atomic.> An assignment, a C<push> of many values, a
C<splice>, C<@a = sort @a>, an assignment of a list to a whole hash, array or slice:
others see the variable as it was before or as it is after. If it dies halfway, nothing
has happened. Likewise C<my %copy = %h>, C<keys %h> and C<@h{@keys}> in list context see
the hash as it was at one moment, and so do their counterparts for arrays.

B<Two operations are two.> Between a read and a write, another process may step in:

    $n++;                           # reads, then writes: increments can be lost
    (tied $n)->add(1);              # one operation: none is lost

    $h{x} = $h{y} + 1;              # a read and a write: needs a lock
    $h{list}[0]++                   # the same, on another variable: lock that one

Where elements may be assigned to (C<for (@a)>, C<map>, the arguments of a sub), they
are looked up one at a time.

=head1 CONVENTIONS

All calls have been available since version 1.000. Unless its description says otherwise, a call does not wait for
other processes longer than it takes to look something up, and its result is the same in scalar and
list context. Time limits are seconds, with fractions; C<undef> or none at all means "no limit", 0
means "do not wait", and a negative one is an exception. While a process waits, its signal handlers run, and may
C<die> out of the wait; if they return, the wait goes on for the time that is left.

Exceptions are strings that end with the file and line of the caller. A call that succeeds leaves C<$@> and C<$!> alone. Besides the exceptions listed with each call, any use of
a variable may die with C<Cannot share ...> (a value that cannot be stored), C<Cannot store: ...> (no room),
C<Deadlock on ...> (see L</writelock>), C<... was removed> and C<... is damaged> (somebody has written to the files). The variable is
unchanged after any of them.

=head1 ELEMENTS AND QUEUES

Methods of the object behind a variable, C<tied %h>, that read one element and change it in one step: nobody gets in between, and
if the call dies (or the process is killed) nothing has happened. None of them needs a lock. The first argument is a key for hashes, an index (0 or more) for arrays, and left out for
scalars. Within C<update>, and within an operator that changes the same variable (C<sort> in place), a call is part of that change.

=head2 add

    my $sum = (tied %h)->add($key, $delta);
    my $sum = (tied @a)->add($index, $delta);
    my $sum = (tied $n)->add($delta);

Add, and return the sum; an absent element or C<undef> counts as 0. Integers are added exactly
as long as the sum fits in 64 bits, and as doubles beyond that. Dies, and changes nothing, if the delta or the
stored value is not a number. Waits, like any store, while another process holds a lock.

=head2 insert

    (tied %leader)->insert(main => $$) or return;    # somebody else was first

Store only if there is no such key (array: nothing was ever stored at that index; scalar: it is C<undef>). True if it was stored.

=head2 replace

    (tied %h)->replace($key, $old, $new) or redo;

Store the new value only if the current one is C<$old>: equal as strings, or references to the same thing. C<undef> as the old value means
only if there is none. True if it was stored.

=head2 exchange

    my $old = (tied %h)->exchange($key, $new);

Store, and return what was there before; C<undef> if nothing was.

=head2 update

    my $new = (tied %h)->update($key, sub { $_ = "$_," if length; $_ .= $name });

Call the sub with C<$_> set to the element, and store what it has become when the sub returns; returns the new value. If the sub dies, nothing has
happened; C<last>, C<next> and C<goto> cannot leave it. Meanwhile other processes can read, but wait if they want to store: be brief, and do not wait for others in the sub.

=head2 store, expire

    (tied %h)->store($key, $value, $seconds);
    (tied %h)->expire($seconds);

C<store> stores one element that expires after so many seconds (C<undef>: never; left out: what C<expire> has set). C<expire> sets the default for everything that
is stored in the hash from now on, by any process (C<undef>: never). An expired element is neither seen nor counted. Its memory is reclaimed bit by bit
by later stores, and at once by C<sweep>. The clock keeps running during suspend, and nobody can set it (C<CLOCK_BOOTTIME>); it is accurate
to one kernel tick, at most ten milliseconds. An element changed by C<add>, C<replace>, C<exchange> or C<update> keeps its expiry time; a plain store starts a new one. Hashes only: arrays and
scalars die. C<expire> and C<limit> are not part of a change, which could be undone: within an open one (C<begin>, C<update>) they croak. Processes in different time
namespaces, where that clock differs, disagree about it.

=head2 touch, ttl

    (tied %h)->touch($key, $seconds) or print "too late\n";
    my $left = (tied %h)->ttl($key);

C<touch> makes an element expire so many seconds from now; true if there is such an element. C<ttl> returns how many seconds are left; C<undef> if it never expires, -1 if it is not there.

=head2 sweep

    my $freed = (tied %h)->sweep;

Free all expired elements. Returns how many there were.

=head2 limit

    (tied %h)->limit(10_000);

Keep at most so many elements (C<undef>: any number). To make room for a new one, an element goes that was neither read nor stored since the clock hand, which
goes round all of them, last passed it (the CLOCK approximation of "least recently used"). What a change itself stores is never evicted by that change.

=head2 take

    my $job = (tied @queue)->take($seconds);

Wait for an element, without polling, and remove it from the head; C<undef> when the time is up. As with C<shift>, a worker that is killed while it has
the job loses it. Jobs that dead workers had reserved come first.

=head2 reserve

    while (my ($job, $ticket) = (tied @queue)->reserve($seconds)) {
        work($job);
        (tied @queue)->done($ticket);
    }

Likewise, but the job is kept until its worker calls C<done>. Meanwhile it is not in the array. If the worker dies, the job is the next one that C<take> and
C<reserve> hand out; otherwise the order is kept. (So does C<shift>; other operators see only the array.) Returns an empty list when the time is up.
A waiting worker notices within a quarter of a second that another one has died. So a job is done at least once: a worker may be killed between its
work and C<done>.

=head2 done

    (tied @queue)->done($ticket) or print "somebody else has it\n";
    (tied @queue)->done($ticket, sub { $ledger{$job->{id}} = $result; $sum += $result; push @queue, $next });

The job is finished. False if it is no longer reserved by that ticket. If there is a sub, it is called if the ticket is valid, and everything that it stores, in
the queue and in other shared variables of the namespace, is one change together with the end of the job. Others see all of it or none; if the sub dies, or the worker is killed at
any moment, none of it has happened, and the job is still reserved, or goes to the next worker. So what workers store this way is there exactly once (F<eg/shm/jobs.pl>).

Nobody else can store in a variable from the sub's first store in it to the end of C<done>, so keep the sub short: work first, then C<done>. What it only reads,
others may change. If two processes would wait for each other because they store in opposite orders, one dies with C<Deadlock>; call C<done> again. Within the sub
no variable that it has stored in can be removed, C<begin> and C<commit> are part of the one change (C<abort> dies), and C<done> with a sub cannot be called again. (On Redis
only what is done to the queue is one change with the end of the job; what else the sub stores is there before, so store results by C<insert>, by the number of
the job.)

=head2 release

    (tied @queue)->release($ticket);

Give the job back: it is at the head of the array again. True if it was reserved by that ticket.

=head2 reserved

    printf "%s: %s since %s\n", @$_{qw(pid job since)} for (tied @queue)->reserved;

A list of hash references, nearest to the head first: C<job>, C<pid>, C<since> (seconds since the epoch), C<ticket>, C<dead> (1: the next to ask gets it).
Emptying the array leaves reserved jobs alone; C<remove> does.

=head2 copy

    my $plain = (tied %h)->copy;

A deep, plain copy: a reference to a hash or array, or the value of a scalar. Each variable in it is a snapshot of one moment, but not all of the same moment. What several
references point to is a single thing in the copy, too, cycles included; objects are blessed. L<Storable>, JSON, Sereal and L<Clone> accept
it. They cannot copy the shared variable itself, and die (Clone: on the first use of what it returns) with a message that names C<copy>. Cycles in the copy are
yours to break, as with any Perl data.

=head1 LOCKS

The object behind a variable, C<tied %h>, has these methods. A lock covers that one
variable, not others that it refers to.

=head2 writelock

    my $locked = (tied %h)->writelock;
    my $locked = (tied %h)->writelock($seconds);

Wait until nobody else has a lock, and take it. Until it is released, reads and writes
of other processes wait. Returns 1, or 0 if this process has it already, so that a sub
that may be called with or without the lock can say

    my $locked = $obj->writelock;
    ...
    $obj->unlock if $locked;

With a time limit it returns C<undef> when the time is up. A wait that
ends in an exception holds no lock.

A read lock that this process holds becomes a write lock. If two processes that
hold read locks both wanted to write, each would wait for the other: the second
one dies, with C<Deadlock> in the message.

=head2 readlock

Likewise, but for reading: any number of processes can hold it, and writes wait. Returns
0 where the process already has a lock of either kind, and C<undef> when the time is up.

=head2 unlock

Release what this process holds on the variable, the read lock and the write lock. Returns 1 if there was
something, 0 if not. Locks are also released when the process ends, however it dies; a child does not hold its parent's locks.

=head2 lock_guard

    my $lock = (tied %h)->lock_guard('write');              # or 'read'
    my $lock = (tied %h)->lock_guard('write', $seconds);    # undef: not in time

A lock that is released when C<$lock> goes out of scope, also by an exception;
C<< $lock->release >> releases it earlier. Without arguments it is a write lock; any other kind
is an exception. Inside another lock of the same process it does nothing.

=head2 synchronize

    my @result = (tied %h)->synchronize(sub { ... });

Call the sub under the write lock, for which it waits. Returns what the sub returns in the context of the call, and
dies if it dies; the lock is released in any case. Dies if its argument is not a code reference.

=head2 wait_change

    while (!defined(my $job = shift @queue)) { (tied @queue)->wait_change($seconds) }

Sleep until another process has changed the variable since this one last looked at it;
returns at once if that has happened already. True if there is a change, false when the time is up (without one there is
no limit). Sleeping costs nothing. What this process itself changes does not count, nor does a change of another
variable that this one refers to. Then look again: several changes may cause a single wake-up.

=head2 remove

Remove the variable: its name and its contents. Waits for the locks of others. Returns true; dies if it was
already removed. Processes that have it get an exception when they use it; declaring the name again makes a new variable.

=head2 name, serial

The name (C<undef> for anonymous variables); the number of changes so far.

=head1 THE NAMESPACE

Variables live in a directory. By default each user has one, F</dev/shm/ipc-shm-UID>,
made with the mode 0700. If it exists but belongs to somebody else, or others may
open it, it is refused. To use another, set the environment variable C<IPC_SHM_NAMESPACE>, or say

    use IPC::Shm namespace => '/dev/shm/my-app';

before the first variable is declared; this takes precedence.

    BEGIN {
        IPC::Shm::Tied->Mode(0600);
        IPC::Shm::Tied->Size(8192);
    }

C<Mode> is the permission bits of the files of a namespace that this process makes (default 0660; for a
directory that you name, also that of the directory, with execute bits added), whatever the umask. C<Size> is the size of the blocks
in which values of more than about 4 kB lie, in a namespace that this process makes (default 4096 bytes). A namespace grows as
far as its filesystem has room. A store that does not fit dies, and the variable stays as it was; deleting needs no room.

=head2 Who may use it

Files belong to the user who makes them and to that user's group; the group bits of C<Mode> are for its members.
To share variables between users, name a directory that all of them may enter, and set C<Mode> in the
program that makes the namespace. Even reading needs write permission. If the members of a group
have different primary groups, make the directory beforehand and set its set-group-ID bit (C<chmod g+s>).

In a place where anybody may make a directory, such as F</dev/shm>, a namespace that another user made is refused, unless that user is root: somebody
may have put it there to see what you store. To share between users there, let root make the directory, or use a place that only you
can write to.

Whoever may write to the file can write anything into it. Nothing in it is ever executed, and damage is reported as an
exception, but do not share with anybody who must not see or change the values.

A program that gives up privileges (C<setuid>), enters a C<chroot> or closes its descriptors keeps working with the variables that it
has, and what they refer to; to declare more it must be able to reach the directory. The same goes after the files were removed by means other than L</cleanup>, but then it shares them only with processes
that have them open; one that starts later makes a new namespace.

=head2 Containers and services

=over 4

=item *

Containers share variables if they share a directory: C<docker run --ipc=container:NAME>, or a volume on a tmpfs that both mount. A process of
another PID namespace is never taken for dead while anything in its container is alive; when the container is gone, its locks are free.

=item *

Docker gives a container 64 MB of F</dev/shm>. C<--shm-size> gives it more. Running out is an exception, not a crash.

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

IPC::Shm has functions of its own for some of perl's operators, in all code of the process, so that a list assignment, C<sort> in place or C<delete> of a slice is one change,
and reading many elements gives a snapshot of one moment. Code that shares nothing runs as before. To leave every operator alone, set the environment
variable C<IPC_SHM_PLAIN_OPERATORS> to 1, or begin with

    use IPC::Shm operators => 0;

Everything still works, but more slowly; each element is read or changed separately, and a program run by C<exec> keeps what its process held.

=head2 Several hosts

    IPC_SHM_NAMESPACE='redis://host:6379/0?prefix=app' perl program

A namespace can be on a server, Redis or Valkey: the same program, the same variables on several hosts. It needs the module
L<Redis::Fast>, which is loaded only then. L<IPC::Shm::Engine::Redis> says how to set it up, what it costs, and what is different.

=head2 namespace

    my $dir = IPC::Shm->namespace;

The absolute path of the directory (or the URL, without a password) that is used, or would be. Does not create it. C<use IPC::Shm namespace =E<gt> ...>
dies if a variable of another namespace has already been declared.

=head2 cleanup

    IPC::Shm->cleanup;

Remove all variables and files. Returns true. A variable that another process keeps locked (for more
than 0.2 seconds) loses its name, but its contents only when the last process that has it is gone.
After that, using a variable that was declared earlier is
an error in every process; so do this in an C<END> block, or in a separate script.

=head2 %IPC::Shm::NAMEVARS

The named variables: C<keys %IPC::Shm::NAMEVARS> are C<%main::config> and so on, the values references
to them. Deleting one removes the variable, and returns true, or C<undef> where there
is none. Storing into the hash, and emptying it, dies.

=head2 stats

    my $stats = IPC::Shm->stats;

A reference to a hash: C<variables>, C<named>, C<attachments> (uses of a variable by a process), C<blocks> (pieces of memory in use), C<block_size>,
C<bytes_used> (in those), C<bytes_reserved> (taken on the filesystem) and C<bytes_total> (that and what is free there).

=head2 list

    printf "%s: %d bytes\n", $_->{name} // 'anonymous', $_->{bytes} for IPC::Shm->list;

A list of hash references, one for each variable (in scalar context, their number): C<name> (or undef), C<type> (C<SCALAR>, C<ARRAY>, C<HASH>),
C<elements>, C<bytes>, C<serial>, C<writer> (the process that holds a write lock, or undef), C<readers> and
C<attached> (references to lists of process IDs), C<refs>, C<removed>.

=head2 recover

    my $freed = IPC::Shm->recover;

Free what killed processes have left behind and what nothing can reach, such as rings of references. Returns the number of
things (variables, attachments of processes, pieces of memory) that it freed. Any process may call it at any time, and others keep working meanwhile.
It is not needed for correctness, and happens automatically when a process opens the namespace or lets go of a
variable that the dead still seem to hold.

=head1 CRASHES

A process may be killed at any instruction, with any signal.

=over 4

=item *

What it had stored stays stored; the operation that it was in the middle of has either happened or not.

=item *

All others can read and write at once. A lock whose holder is dead is free: the next process that
wants it checks whether the holder is alive, and takes it over. A PID that has been reused does not fool it.

=item *

Memory that the dead had taken and not yet used is found by L</recover>.

=back

What a lock protected may be half done, of course: single operations are whole, sequences of them are
not undone. A machine that goes down takes F</dev/shm> with it.

=head1 WHAT DOES A STORE COST?

There is one copy of a value, in shared memory. B<A fetch> finds it there, without a lock and without a system call; a scalar that has not changed
since the last fetch is not even looked up. B<A store> writes the new value beside the old one, makes it visible by storing one number, and frees the old
one: its cost does not depend on how large the variable is, or on how many processes have it. Writers of one variable
take turns; writers of different variables do not meet.

B<The first look> at a variable costs the same for ten elements and for ten million, and so does C<fork>: there is no
copy to make. What is read into a Perl variable (C<my %copy = %h>, C<keys>) is copied, of course.

B<A list assignment> writes the whole new content; until it is published, the old content takes room as well. B<A reference> that is stored turns
what it points to into a variable in its own right.

Shared memory taken, all told, measured with 100,000 of each (20,000 of the nested ones):

    thing                                                            bytes
    an element of a hash: key of 10 bytes, value of 60                 145
    the same with a number as its value                                 94
    an element of an array: a number                                    78
    the same with a string of 20 bytes                                  90
    a hash of three short fields, and the reference to it              480
    a scalar that holds a number, undef, true or false: no more than its variable, 192
    a process's hold on a variable                                      56

An element is its key and value and 40 bytes, rounded up to one of a number of sizes (48, 64, 80, 96, 112, 128 …), and 16 to 20 bytes
to find it and whose it is. Memory that was freed is used again for things of about the same size; where the filesystem is full,
it is given back to that for others.

To keep many small records, C<$h{$id} = { ... }> is convenient but costs a variable each; joined keys, C<$h{"$id.name"}>, or
one string a record take less.

Hold locks no longer than needed: a write lock keeps readers waiting, too. C<(tied %h)-E<gt>copy> or C<my %copy = %h> give
one moment's content to work on.

F<bench/tied.pl> and F<bench/many.pl> measure times on your machine, next to other modules.

=head1 LOCKING SEVERAL VARIABLES

Take locks in the same order everywhere, by name for instance. If two processes take them in different orders, each may hold what the other
is waiting for. That is detected: the one that began to wait last gets an exception with C<Deadlock> in its text, even if the cycle
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
        die $@ if $@ !~ /Deadlock/;
    }

Each guard ends with the block. A process that is killed between the two stores leaves only the first one done: keep what must change together in one
variable, where one assignment (C<@accounts{'a', 'b'} = (5, 15)>) or C<begin> and C<commit> (L<IPC::Shm::Tied>) makes it one change.

=head1 COMING FROM OTHER MODULES

L<IPC::Shm::FromShareable> and L<IPC::Shm::FromFastMmap> go through the calls of L<IPC::Shareable> and L<Cache::FastMmap>.

=head1 DIFFERENCES FROM SYSTEM V

Earlier versions of this idea, built on System V shared memory, behaved differently in these respects:

=over 4

=item *

There are no keys, segments or semaphores; C<ipcs> shows nothing, C<ls /dev/shm> does.

=item *

Each user has a separate namespace, unless one is named.

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
A name may be up to 490 bytes long. A process that becomes another program by C<exec> holds no locks from then on (nor if
C<exec> fails), and keeps lexicals alive for ten seconds more; programs that C<system>, backticks and
C<open> start hold nothing.

=head1 SEE ALSO

L<Data::Pool::Shared>. F<eg/shm/> has a web server with shared sessions, a job queue and a configuration that is
replaced while workers use it.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
