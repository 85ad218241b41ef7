package Data::Pool::Shared;

use 5.022;
use strict;
use warnings;
use warnings::register;

our $VERSION = '1.000';

require XSLoader;
XSLoader::load(__PACKAGE__, $VERSION);

# The classes differ by what a slot holds; XS has one body for all of them.
@Data::Pool::Shared::Number::ISA  = __PACKAGE__;
@Data::Pool::Shared::Integer::ISA = 'Data::Pool::Shared::Number';
@Data::Pool::Shared::I64::ISA     = 'Data::Pool::Shared::Integer';
@Data::Pool::Shared::I32::ISA     = 'Data::Pool::Shared::Integer';
@Data::Pool::Shared::F64::ISA     = 'Data::Pool::Shared::Number';
@Data::Pool::Shared::Str::ISA     = __PACKAGE__;
for my $class (qw(I64 I32 F64 Str)) { no strict 'refs'; ${ __PACKAGE__ . "::${class}::VERSION" } = $VERSION }

# Called from XS for a value that is longer than its slot, before it is written.
# The frame of an XSUB is invisible, so our caller is the statement that stores.
sub _warn_cut {
    my ($length, $max) = @_;
    my (undef, $file, $line, $mask) = (caller 0)[ 0 .. 2, 9 ];
    my $message = "Value of $length bytes is cut to the $max bytes of its slot at $file line $line.\n";
    my $bit     = $warnings::Offsets{ +__PACKAGE__ };
    if (defined $mask) {
        $bit = $warnings::Offsets{all} if length $mask <= $bit >> 3;    # compiled before this category existed
        die $message                   if vec $mask, $bit + 1, 1;
        return                         if !vec $mask, $bit, 1;
    } elsif (!$^W) {
        return;
    }
    warn $message;
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

Data::Pool::Shared - a pool of slots in shared memory that survives the death of any process

=head1 SYNOPSIS

    use Data::Pool::Shared;

    # 1000 counters that every process on this machine can open by name
    my $ints = Data::Pool::Shared::I64->new('/dev/shm/hits', 1000);
    my $slot = $ints->alloc;          # take a slot; its value is 0
    $ints->add($slot, 5);             # atomic, returns 5
    $ints->incr($slot);               # 6
    $ints->cas($slot, 6, 100);        # true: it was 6 and is 100 now
    $ints->free($slot);               # give it back

    # 16 places for jobs, inherited by the children of this program
    my $jobs = Data::Pool::Shared::Str->new(undef, 16, 200);
    {
        my ($job, $guard) = $jobs->alloc_guard(2.5)    # wait up to 2.5 seconds
            or die "all places are taken\n";
        $jobs->set($job, "resize \x{263a}.png");
    }                                 # the guard has freed the slot

    # A worker was killed. What it held is free again:
    my $freed = $jobs->recover_stale;

    # A slot as a plain variable
    my $i = $ints->alloc;
    $ints->bind($i, my $hits);
    $hits = 7;                        # all processes see it
    $hits += 1;                       # not atomic: that is what incr is for

=head1 DESCRIPTION

A pool is a fixed number of equal slots in memory that several processes share.
A process I<allocates> a slot, reads and writes it by its index, hands the index
to others if it likes, and I<frees> the slot. Allocation takes no lock. When all
slots are taken, C<alloc> sleeps until one is free.

What sets this module apart is what happens when something goes wrong:

=over 4

=item *

Every slot knows the process that holds it, from the first instruction of its
allocation to the last one of its release. A process may be killed anywhere:
L</recover_stale> finds what it held.

=item *

A process is identified by more than its PID: another process that was given the same
number is not the owner, a zombie counts as dead, and so does everybody after a reboot.

=item *

A blocked call runs your signal handlers. Ctrl-C works.

=item *

A value that does not fit causes an exception or a warning, and is never silently changed.

=back

It needs Linux and a perl with 64-bit integers. The core is a C header, F<pool.h>,
that C programs can embed and share pools with Perl programs.

=head2 Classes

    class                       a slot holds                           bytes
    Data::Pool::Shared          raw bytes                              as given
    Data::Pool::Shared::I64     a signed integer of 64 bits            8
    Data::Pool::Shared::I32     a signed integer of 32 bits            4
    Data::Pool::Shared::F64     a double                               8
    Data::Pool::Shared::Str     text: characters or bytes              max_len + 4

All of them have the methods below, except where a section names its classes.
C<I64>, C<I32> and C<F64> are the I<numeric> classes: each single call on a slot
is atomic. Reading and writing raw and C<Str> slots is not: a reader may find a
half-written value if another process writes it at the same time. (It is never
handed malformed characters; what it finds torn, it returns as bytes.)

=head2 Who owns a slot

The process that allocated it, until it is freed, L<adopted|/adopt> or
L<disowned|/disown>. Ownership decides only what L</recover_stale> may free.
Any process that has opened the pool may read, write and free any allocated slot.

A forked child is a separate process: what its parent holds does not belong to
the child. All threads of a process are one owner.

=head2 Conventions

Indices are integers from 0 to C<capacity - 1>. Every method that takes one dies
with C<undef slot> for C<undef> and with C<out of range> for anything else: 1.7, NaN, text
that is not a number, references. References are not accepted as values either, except objects
with overloading, which are converted by it.
Methods that look at the contents of a slot die with C<not allocated> if it is
free. Timeouts are seconds, with fractions; C<undef>, a negative number, or none
at all means "no limit". Unless its description says otherwise, a method does not block
and its result is the same in scalar and list context. Exceptions are strings
that end with the file and line of the caller. All methods have been available since
version 1.000.

=head1 CONSTRUCTORS

=head2 new

    my $pool = Data::Pool::Shared->new($path, $capacity, $elem_size, \%options);
    my $pool = Data::Pool::Shared::Str->new($path, $capacity, $max_len, \%options);
    my $pool = Data::Pool::Shared::I64->new($path, $capacity, \%options);   # I32, F64
    my $pool = Data::Pool::Shared::I64->new($path);                         # attach

Opens the pool at C<$path>, or creates it if there is no file or an empty
one. If C<$path> is C<undef>, the pool is anonymous: it belongs to this process and
to the children it forks from now on.

C<$capacity> is the number of slots (1 to 4,294,967,296), C<$elem_size> the size of
a raw slot in bytes, C<$max_len> the size of the longest text in bytes. For a pool that exists they
must be the same as at its creation; if they are C<undef> or left out, they are
taken from the pool.

Options are given in a hash reference, last:

=over 4

=item mode

Permission bits of a file that is created, whatever the umask. Default: 0600.

=item sparse

Reserve the disk blocks of the data 256 KiB at a time, as slots are first
used, instead of all at once. C<alloc> dies when the filesystem is full. (The records of
all slots, 16 bytes each, are reserved at once.)

=item populate

Touch all pages now, not when they are first used.

=item fixed

All slots are allocated from the start, owned by nobody, and none is ever free.
This is for slots that programs know by number. The methods that allocate and free die and say so;
L</adopt> and L</disown> take and give up a slot, and L</recover_stale> disowns the slots of dead
processes. Cannot be combined with C<sparse>.

=item readonly

Attach to an existing pool; read permission is enough. Methods that write die with
C<writing is needed>.

=back

Returns the object. Dies, with the reason, if a size makes no sense, if the
file is C<invalid> (not a pool), C<incompatible> (a pool of another class, capacity,
element size or format; the message has both values) or C<too small> (it has lost its
end), if the filesystem is full (no file is left behind) or a system call fails.

A file that somebody else has planted at C<$path> is not turned into a pool: an empty file is used only if it is
your own and has no other name, and a symbolic link is not followed in a directory that others may
write to. If a pool would exceed the limit on the size of files (C<ulimit -f>), C<new> dies as well.

Creation is atomic: however many processes call C<new> at once, and whichever of
them is killed, afterwards there is one complete pool at the path, or the next C<new> creates it. While
another process is creating the same file, C<new> waits for it.

=head2 new_memfd

    my $pool = Data::Pool::Shared->new_memfd($name, $capacity, $elem_size);
    my $pool = Data::Pool::Shared::I64->new_memfd($name, $capacity);
    my $pool = Data::Pool::Shared::Str->new_memfd($name, $capacity, $max_len);

Creates a pool in memory that has a file descriptor but no path. A process that gets the
descriptor (from its parent, or over a Unix socket) opens the pool with
L</new_from_fd>. C<$name> is shown in F</proc>; it need not be unique. Nobody can shrink the
memory. The only option is C<populate>. Returns the object or dies.

The descriptor is closed on C<exec>. To hand it to a program that you start, clear
the flag with C<fcntl> (F_SETFD).

=head2 new_from_fd

    my $pool = Data::Pool::Shared::I64->new_from_fd($fd);

Attaches to the pool behind an open file descriptor (a number, as C<fileno> gives
it). The object duplicates the descriptor; yours remains yours to close. The only option
is C<readonly>. Returns the object, or dies as C<new> does.

=head2 attach

    my $pool = Data::Pool::Shared->attach($path);
    my $pool = Data::Pool::Shared->attach($path, { readonly => 1 });

Attaches to an existing pool whatever its variant and geometry are, and returns an
object of the class that it belongs to, or dies as C<new> does. The only option is C<readonly>. This is for tools that inspect
the pools of other programs. F</proc/PID/fd/N> is a path, too, if descriptor I<N> of that process is
a memfd.

=head1 ALLOCATING AND FREEING

=head2 alloc

    my $slot = $pool->alloc;              # wait for ever
    my $slot = $pool->alloc($seconds);
    my $slot = $pool->alloc(0);           # do not wait

Takes a free slot and makes this process its owner. The slot reads as zeros
(numbers 0, an empty text). Returns its index, which may be 0: test it with
C<defined>. Returns C<undef> if no slot became free in time. Blocks unless
C<$seconds> is 0; signal handlers run meanwhile, and if they return, the wait
goes on for the time that is left. Dies in a sparse pool on a full filesystem. Atomic.

=head2 try_alloc

    my $slot = $pool->try_alloc;

The same as C<alloc(0)>.

=head2 alloc_set, try_alloc_set

    my $slot = $pool->alloc_set($value);
    my $slot = $pool->alloc_set($value, $seconds);
    my $slot = $pool->try_alloc_set($value);

Allocate, then L</set>. Return what C<alloc> and C<try_alloc> return. The value is checked first: if C<set> would die, no slot
is taken. Other processes may see the slot before it has its value.

=head2 alloc_guard, try_alloc_guard

    my ($slot, $guard) = $pool->alloc_guard;
    my ($slot, $guard) = $pool->alloc_guard($seconds);
    my ($slot, $guard) = $pool->try_alloc_guard;
    my $guard          = $pool->alloc_guard;

Allocate a slot that is freed when C<$guard> goes out of scope. In list context
they return the index and the guard, in scalar context the guard alone; if there is no slot
(in time), an empty list or C<undef>.

A guard frees only in the process and the interpreter that made it, not in forked
children or new threads, and only the allocation it was made for: if that slot was
freed, adopted by another process or allocated again meanwhile, it does nothing.
It keeps the pool open. A guard has three methods of its own:

=over 4

=item $guard->index

The index of its slot; C<undef> if it guards nothing any more.

=item $guard->release

Frees the slot now. Returns true if it did.

=item $guard->cancel

Keeps the slot: the guard will not free it. Returns true if it was guarding one.

=back

=head2 free

    my $ok = $pool->free($slot);

Gives the slot back, whether it is yours or another process's. Returns true, or false if
it was not allocated. Wakes a waiting process. Atomic.

=head2 alloc_n

    my $slots = $pool->alloc_n($n);
    my $slots = $pool->alloc_n($n, $seconds);

Allocates C<$n> slots or none at all. Returns a reference to an array of indices in
no particular order (an empty array if C<$n> is 0), or C<undef> if not enough slots became free in
time; if the pool has fewer than C<$n> slots, it returns C<undef> at once. While it waits it holds
no slots, so callers that want many slots cannot block each other for ever. Dies for a
negative number. Blocks as C<alloc> does.

=head2 free_n

    my $count = $pool->free_n(\@slots);

Frees many slots with one wake-up. Returns how many of them were allocated. Dies
with C<expected arrayref>, C<undef slot> or C<out of range> before any is freed.

=head2 reset

    my $count = $pool->reset;

Frees all slots, whoever holds them, disowned ones too. Returns how many there
were. Call it only if no other process uses the pool.

=head1 READING AND WRITING

=head2 get

    my $value = $pool->get($slot);

Returns the value of a slot: all bytes of a raw slot, or the text that was stored in a C<Str> slot,
with characters as characters. Atomic for numbers.

=head2 set

    $pool->set($slot, $value);

Writes a slot. Atomic for numbers. Returns nothing.

Dies for references without overloading, for an integer that does not fit into the 64 or 32 bits of the slot,
and, with C<Wide character>, if a value for a raw slot has characters above 255. Fractions are cut off and strings converted to
numbers as Perl does it, with Perl's warnings. The rest of a raw slot
is filled with zero bytes. Text and raw bytes that are too long are cut (in a C<Str> pool, at the end of a character), with a
warning of the category C<Data::Pool::Shared>:

    use warnings FATAL => 'Data::Pool::Shared';   # die, and write nothing
    no warnings 'Data::Pool::Shared';             # cut silently

=head2 get_n, set_n

    my $values = $pool->get_n(\@slots);
    my $count  = $pool->set_n(\@slots, \@values);
    my $count  = $pool->set_n(\@slots, $value);

C<get> and C<set> for many slots in one call, at a fraction of the cost. C<set_n>
takes as many values as slots, or one for all. Everything is checked before the
first slot is written. Each slot is written separately: the call as a whole is not
atomic. C<get_n> returns a reference to an array, C<set_n> the number of slots.

=head2 slot_sv

    my $view = \$pool->slot_sv($slot);
    print length $$view;
    syswrite $socket, $pool->slot_sv($slot);

Returns a read-only scalar whose buffer is the slot itself. Reading it copies nothing,
which pays off for large slots, and always shows the current contents of the slot. Take a
reference to it, alias it with C<for>, or pass it on: a plain assignment
(C<my $x = ...>) makes a copy, as assignments do. The view of a C<Str> slot is the
stored bytes (UTF-8, if they are characters). The view keeps the pool open. Once
the slot is freed, the view shows whatever is stored there next.

=head2 bind

    $pool->bind($slot, my $variable);

Binds the variable to the slot: reading it is C<get>, assigning to it is C<set>, with
the same checks and exceptions, but without the cost of a method call. Each read
and each assignment of a number is atomic by itself; C<++> and C<+=> take two steps.
The variable keeps the pool open. Binding it again binds it to the new slot instead;
C<local> makes it a plain variable for a while. Returns nothing; dies for a constant,
array or hash.

=head2 ptr, data_ptr

    my $address = $pool->ptr($slot);
    my $base    = $pool->data_ptr;

The address of a slot, and of the first one, as integers, for FFI and C code. Slot
C<$i> begins at C<data_ptr + $i * elem_size>. The address is valid in this process
while the pool object (or a guard, view or bound variable of it) exists. What you do with
it is not checked.

=head1 ATOMIC ARITHMETIC

For I64, I32 and F64. Each call is one atomic operation. Values are checked and converted as by L</set>.

=head2 add, incr, decr

    my $sum = $pool->add($slot, $delta);
    my $sum = $pool->incr($slot);
    my $sum = $pool->decr($slot);

Add C<$delta>, 1 or -1, and return the new value. Integers wrap around at the ends of their range; a delta in an
I32 pool may have up to 64 bits, and wraps as well.

=head2 add_n

    my $sums = $pool->add_n(\@slots, \@deltas);
    my $sums = $pool->add_n(\@slots, $delta);

C<add> for many slots, each addition being atomic. Everything is checked before the first
slot is changed. Returns a reference to an array of the new values.

=head2 cas

    my $done = $pool->cas($slot, $old, $new);

Writes C<$new> if the slot holds C<$old>. Returns true if it did. Doubles are
compared as numbers; a NaN equals a NaN with the same bits.

=head2 cmpxchg

    my $was = $pool->cmpxchg($slot, $old, $new);

Does the same, but returns what the slot held: C<$old>, if it was changed.

=head2 xchg

    my $was = $pool->xchg($slot, $new);

Writes C<$new> and returns what the slot held.

=head1 WAITING FOR A VALUE

For I64 and I32.

=head2 wait

    my $changed = $pool->wait($slot, $old);
    my $changed = $pool->wait($slot, $old, $seconds);

Sleeps while the slot holds C<$old>, until somebody calls L</wake>. Returns true when
the value differs, at once if it already does; false when the time is up. A
change without a C<wake> is noticed within 0.1 seconds. Signal handlers run meanwhile.

=head2 wake

    my $count = $pool->wake($slot);
    my $count = $pool->wake($slot, $n);

Wakes all processes, or up to C<$n> of them, that C<wait> for this slot. Returns how many.

=head1 RECOVERY

=head2 recover_stale

    my $count = $pool->recover_stale;
    my $count = $pool->recover_stale(sub { my ($slot, $pid) = @_; ... });

Frees the slots of dead processes, wakes those who wait, and returns how many it
freed. Any process may call it, at any time, as often as it likes; if several do so at once, they
share the work. Slots of a living process are never touched, nor are slots of
a process about which nothing can be found out. The processes of another PID namespace (a container) are judged
together: they are dead when none of them has the pool mapped any more.

The sub is called for each slot before it is freed, with the index of the slot and the PID of the process that
held it. It can read the slot, and C<disown> it to keep it. If the
sub dies, its exception is passed on, that slot stays stale, and the slots after it
have not been checked.

F</proc> is read once per owner, not once per slot, and only those parts of the
pool are checked that have ever been used.

=head2 recover_unknown

    my $count = $pool->recover_unknown;
    my $count = $pool->recover_unknown(sub { my ($slot, $pid) = @_; ... });

Does the same, but also frees what is held by owners about which nothing can be found out (C<owner_is_unknown>).
Call it only on behalf of a person who knows that these are dead. L<shmpool(1)> calls it for C<recover --namespace-gone>.

=head2 auto_recover

    $pool->auto_recover($seconds);

Makes calls through this object that are blocked because no slot is free recover stale
slots every C<$seconds>. 0 or C<undef> turns this off. It is off by default, because a slot may be
meant to outlive the process that allocated it. Returns nothing.

=head2 adopt

    my $ok = $pool->adopt($slot);
    my $ok = $pool->adopt($slot, $from);

Makes this process the owner of an allocated slot. This is how a slot is passed on:
once another process has adopted it, a recovery frees it only when
I<that> process is dead. Returns true, or false if the slot is not allocated. Atomic.

If C<$from> is given (a PID as L</owner> returns it, or 0 for nobody), the slot is adopted only if that process owns
it; otherwise the call returns false. If several processes try, one of them succeeds.

=head2 disown

    my $ok = $pool->disown($slot);

Leaves an allocated slot without an owner. No recovery frees it; C<free> and C<adopt> work as
for any other. Returns true, or false if the slot is not allocated. Atomic.

=head2 owner

    my $pid = $pool->owner($slot);

Returns the PID of the process that holds the slot, as seen in that process's own PID namespace;
0 if the slot is free or disowned.

=head2 is_stale

    my $bool = $pool->is_stale($slot);

Returns true if L</recover_stale> would free this slot, that is, if it is held by a dead process.
Reads F</proc>; changes nothing.

=head2 holders

    my $holders = $pool->holders;
    my $holders = $pool->holders($first, $last);
    printf "%d holds %d slots\n", $_->{pid}, $_->{slots} for @$holders;

Tells which processes hold the slots of the pool, or those from C<$first> to C<$last> (inclusive). Returns a
reference to an array of hashes in no particular order:

    owner    the owner word: the process itself, not only its number
    pid      its PID; 0 for disowned slots
    slots    how many slots it holds

Slots that are just being allocated or freed count as held; the sum of
C<slots> is what C<used> returns.

=head2 owner_word, owner_pid, owner_is_dead, owner_is_unknown, owner_age

    my $owner   = $pool->owner_word($slot);
    my $pid     = $pool->owner_pid($owner);
    my $bool    = $pool->owner_is_dead($owner);
    my $bool    = $pool->owner_is_unknown($owner);
    my $seconds = $pool->owner_age($owner);

The owner word of a slot identifies the process that holds it unambiguously, whereas a PID may be
reused. It is an integer that has a meaning only in this pool, and is 0 if the
slot is free. C<owner_pid> returns the PID in it, C<owner_is_dead> whether that process
is dead. C<owner_is_unknown> returns true if nobody here can tell: the process belongs to another PID namespace, and
the filesystem does not show whether any process is left in it. C<owner_age> returns the
time since the process was started (or first used a pool, if it could not find out its start), whether it is dead or alive.
It returns C<undef> if that is unknown: for disowned slots, and for
a process of another PID namespace or of an earlier boot, whose PID means nothing here.

=head1 STATUS

=head2 is_allocated

    my $bool = $pool->is_allocated($slot);

Returns true if the slot is allocated at this moment, whoever holds it.

=head2 capacity, elem_size, max_len

    my $slots = $pool->capacity;
    my $bytes = $pool->elem_size;
    my $bytes = $strs->max_len;       # Str only: elem_size - 4

The number of slots, the size of one, and the size of the longest text that fits.

=head2 variant, format_version, is_sparse, is_fixed, is_readonly

    my $name   = $pool->variant;           # raw, I64, I32, F64 or Str
    my $number = $pool->format_version;
    my $bool   = $pool->is_sparse;
    my $bool   = $pool->is_fixed;
    my $bool   = $pool->is_readonly;

What kind of pool this is, which version of the layout it has, whether its disk blocks are
reserved as slots are first used, whether it was made C<fixed>, and whether this object was
made C<readonly>.

=head2 used, available

    my $slots = $pool->used;
    my $slots = $pool->available;

How many slots are allocated, and how many are free. Each call counts them, so its cost grows with
the part of the pool that has ever been used (a million slots take about a millisecond).

=head2 allocated_slots

    my $slots = $pool->allocated_slots;

A reference to an array of the indices of all allocated slots, in ascending order.

=head2 each_allocated

    $pool->each_allocated(sub { my ($slot) = @_; ... });

Calls the code for each slot that is allocated, in ascending order. The code may free
slots; if it dies, its exception is passed on. Returns nothing.

=head2 stats

    my $stats = $pool->stats;

Returns a reference to a hash. While others work on the pool, its numbers are a snapshot of a
moving target; they are exact when nobody does. C<allocs> and C<frees> never decrease.

    capacity, elem_size      as the methods
    used, available          as the methods
    waiters                  processes that are waiting for a slot
    mmap_size                bytes of the whole mapping
    allocs, frees            how often slots were allocated and freed, ever
    waits, timeouts          how often a call had to wait, and how often its time ran out
    recoveries               slots freed by recover_stale

=head2 path

    my $path = $pool->path;

The path that was given to C<new>; C<undef> for other pools.

=head2 memfd

    my $fd = $pool->memfd;

The descriptor of the memory, if the pool is a memfd and the program has not closed it; else -1.

=head1 THE FILE

=head2 sync

    $pool->sync;

Writes the pool to disk, and waits until that is done. Returns true or dies. This is only needed
in case the machine crashes: other processes see all changes at once.

=head2 unlink

    my $removed = $pool->unlink;
    my $removed = Data::Pool::Shared->unlink($path);

Removes the file. Processes that have the pool open can go on using it. Returns true, or false if there
was no such file; the method does not remove another file that is now at the pool's path. Dies with C<cannot unlink> for a pool without a path, and if the
system refuses.

=head1 EVENT LOOPS

A pool can have a file descriptor that becomes readable when somebody calls
L</notify>. Freeing a slot does not do so by itself: call C<notify> when there is something to tell.

=head2 eventfd

    my $fd = $pool->eventfd;

Creates the descriptor; later calls return the same one. Children inherit it. If the
program has closed it (and perhaps opened another file, which got its number), the other methods
of this section behave as if there were none, and C<eventfd> creates a new one.

=head2 eventfd_set

    $pool->eventfd_set($fd);

Uses this descriptor (an eventfd that another process made) instead. The pool takes it
over: it makes the descriptor non-blocking, closes it in the end, and closes the one it replaces. Returns nothing. Dies with
C<cannot use descriptor> if it is not an eventfd.

=head2 fileno

    my $fd = $pool->fileno;

Returns the descriptor without creating one; -1 if there is none.

=head2 notify

    my $ok = $pool->notify;

Adds 1 to the descriptor's counter. Returns false if there is no descriptor.

=head2 eventfd_consume

    my $n = $pool->eventfd_consume;

Returns the counter and sets it to 0; C<undef> if it was 0 or there is no descriptor.

=head1 FORK, THREADS, SIGNALS

After C<fork>, parent and child use the same pool, each as a separate owner. For guards, see above.

In a new thread (ithreads) each pool object, view and bound variable works on the same
memory; the memory is unmapped when the last of them is gone. In the new thread, copies of the old thread's guards
guard nothing.

Blocked calls (C<alloc>, C<alloc_n> and their kin, C<wait>, C<new> while another process
creates the file) run signal handlers. These may C<die>, and then the call leaves nothing
behind.

=head1 WHAT IT COSTS

A call costs about what calling any XS method costs; the work itself is a few
nanoseconds. One atomic instruction allocates a slot and one frees it. While nobody
waits there are no system calls. F<bench/> measures all this against an XS method that
does nothing.

Processes start their search for a free slot at different places and return to the slot
they freed last, so that they stay out of each other's cache lines. An index of full
groups makes it a matter of nanoseconds to find the one free slot among a million.

An anonymous pool or a memfd takes no memory until it is used. A file's disk blocks are
reserved when it is created (but see C<sparse>), so that a full disk is an exception
in C<new> and never a crash later.

=head1 SECURITY

A process that can write to the memory can write anything there: values, owners, counters. This
module reads the geometry of a pool once, checks it, and never relies on it again, so a
peer that scribbles over the pool can spoil values, but cannot make this process read or
write elsewhere. It can make calls fail or wait, though, and a process that may write to a
I<file> may also cut it short, after which access to the lost part causes a C<SIGBUS>. Share
files only with processes that you trust; a memfd cannot be cut.

=head1 SEE ALSO

L<IPC::Shm> builds shared variables on these pools. F<pool.h> documents the C interface
and the protocol.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
