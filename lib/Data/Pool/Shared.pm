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
that is not a number, references. Nor is a reference a value, unless it is an object
with overloading, which is then used.
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

Opens the pool at C<$path>, or creates it where there is no file, or an empty
one. With C<$path> C<undef> the pool is anonymous: it belongs to this process and
to the children it forks from now on.

C<$capacity> is a number of slots (1 to 4,294,967,296); C<$elem_size> the bytes of
a raw slot; C<$max_len> the bytes of the longest text. For a pool that exists they
must be the same as at its creation, or C<undef>, or left out, in which case they are
taken from the pool.

Options are given in a hash reference, last:

=over 4

=item mode

Permission bits of a file that is created, whatever the umask. Default: 0600.

=item sparse

The disk blocks of the data are reserved 256 KiB at a time as slots are first
used, not all at once. C<alloc> dies when the filesystem is full. (The records of
all slots, 16 bytes each, are reserved at once.)

=item populate

Touch all pages now, not when they are first used.

=item fixed

From the start all slots are allocated, owned by nobody, and none is ever free:
for places that programs know by number. The methods that allocate and free die and say so;
L</adopt> and L</disown> take and give up a place, and L</recover_stale> disowns what a dead
process had. Not together with C<sparse>.

=item readonly

Attach to an existing pool with read permission alone. Methods that write die with
C<writing is needed>.

=back

Returns the object. Dies, with the reason, where a size makes no sense, where the
file is C<invalid> (not a pool), C<incompatible> (a pool of another class, capacity,
element size or format; the message has both values) or C<too small> (it lost its
end), where the filesystem is full (then there is no file), or a system call fails.

What others planted at C<$path> does not become a pool: an empty file is used only if it is
your own and has no other name, and a symbolic link is not followed in a directory that others may
write to. A limit on the size of files (C<ulimit -f>) is an exception, too.

Creation is atomic: however many processes call C<new> at once, and whichever of
them is killed, the path is one whole pool, or the next C<new> makes it one. While
another process creates the same file, C<new> waits for it.

=head2 new_memfd

    my $pool = Data::Pool::Shared->new_memfd($name, $capacity, $elem_size);
    my $pool = Data::Pool::Shared::I64->new_memfd($name, $capacity);
    my $pool = Data::Pool::Shared::Str->new_memfd($name, $capacity, $max_len);

Makes a pool in memory that has a file descriptor but no path. Whoever gets that
descriptor (from a parent, or over a Unix socket) opens the pool with
L</new_from_fd>. C<$name> is what F</proc> shows; it need not be unique. The memory
cannot be shrunk by anybody. The option is C<populate>. Returns the object or dies.

The descriptor is closed on C<exec>. To hand it to a program that you start, clear
the flag with C<fcntl> (F_SETFD).

=head2 new_from_fd

    my $pool = Data::Pool::Shared::I64->new_from_fd($fd);

Attaches to the pool behind an open file descriptor (a number, as C<fileno> gives
it). The object has a duplicate of it; yours stays yours. The option
is C<readonly>. Returns the object, or dies as C<new> does.

=head2 attach

    my $pool = Data::Pool::Shared->attach($path);
    my $pool = Data::Pool::Shared->attach($path, { readonly => 1 });

Attaches to an existing pool whatever its variant and geometry are, and returns an
object of the class that it belongs to, or dies as C<new> does. The option is C<readonly>. For tools that look at
pools of others. F</proc/PID/fd/N> is a path, too, if descriptor I<N> of that process is
a memfd.

=head1 ALLOCATING AND FREEING

=head2 alloc

    my $slot = $pool->alloc;              # wait for ever
    my $slot = $pool->alloc($seconds);
    my $slot = $pool->alloc(0);           # do not wait

Takes a free slot and makes this process its owner. The slot reads as zeros
(numbers 0, an empty text). Returns its index, which may be 0: test it with
C<defined>. Returns C<undef> when no slot was free in time. Blocks unless
C<$seconds> is 0; signal handlers run meanwhile, and if they return, the wait
goes on for the time that is left. Dies in a sparse pool on a full filesystem. Atomic.

=head2 try_alloc

    my $slot = $pool->try_alloc;

The same as C<alloc(0)>.

=head2 alloc_set, try_alloc_set

    my $slot = $pool->alloc_set($value);
    my $slot = $pool->alloc_set($value, $seconds);
    my $slot = $pool->try_alloc_set($value);

Allocate, then L</set>. The value is checked first: where C<set> would die, no slot
is taken. Others may see the slot before the value is in it.

=head2 alloc_guard, try_alloc_guard

    my ($slot, $guard) = $pool->alloc_guard;
    my ($slot, $guard) = $pool->alloc_guard($seconds);
    my ($slot, $guard) = $pool->try_alloc_guard;
    my $guard          = $pool->alloc_guard;

Allocate a slot that is freed when C<$guard> goes out of scope. In list context
they return the index and the guard, in scalar context the guard alone; when there
is no slot, nothing (an empty list, C<undef>).

A guard frees only in the process and the interpreter that made it, not in forked
children or new threads, and only the allocation it was made for: if that slot was
freed, adopted by another process or allocated again meanwhile, it does nothing.
It keeps the pool open. A guard has three methods of its own:

=over 4

=item $guard->index

The index of its slot, C<undef> when it guards nothing any more.

=item $guard->release

Frees the slot now. Returns whether it did.

=item $guard->cancel

Keeps the slot: the guard will not free it. Returns whether it guarded one.

=back

=head2 free

    my $ok = $pool->free($slot);

Gives the slot back, whether it is yours or another process's. Returns true, or false if
it was not allocated. Wakes a process that waits. Atomic.

=head2 alloc_n

    my $slots = $pool->alloc_n($n);
    my $slots = $pool->alloc_n($n, $seconds);

Allocates C<$n> slots or none at all. Returns a reference to an array of indices in
no particular order; of an empty one for 0; C<undef> where there were not enough in
time, and at once where the pool has fewer slots than that. While it waits it holds
nothing, so callers that want many slots cannot block each other for ever. Dies for a
negative number. Blocks as C<alloc> does.

=head2 free_n

    my $count = $pool->free_n(\@slots);

Frees many slots with one wake-up. Returns how many of them were allocated. Dies
with C<expected arrayref>, C<undef slot> or C<out of range> before any is freed.

=head2 reset

    my $count = $pool->reset;

Frees all slots, whoever holds them, disowned ones too. Returns how many there
were. Only for when no other process uses the pool.

=head1 READING AND WRITING

=head2 get

    my $value = $pool->get($slot);

The value of a slot. A raw slot gives all its bytes; a C<Str> slot the text that
was set, characters as characters. Atomic for numbers.

=head2 set

    $pool->set($slot, $value);

Writes a slot. Atomic for numbers. Returns nothing.

References without overloading die. Integers: what does not fit into the 64 or 32 bits
dies; fractions are cut off and strings converted as Perl does it, with Perl's warnings. Raw: the rest of the slot
is filled with zero bytes; characters above 255 die with C<Wide character>. Text
and raw bytes that are too long are cut, C<Str> at the end of a character, with a
warning of the category C<Data::Pool::Shared>:

    use warnings FATAL => 'Data::Pool::Shared';   # die, and write nothing
    no warnings 'Data::Pool::Shared';             # cut silently

=head2 get_n, set_n

    my $values = $pool->get_n(\@slots);
    my $count  = $pool->set_n(\@slots, \@values);
    my $count  = $pool->set_n(\@slots, $value);

C<get> and C<set> for many slots in one call, at a fraction of the price. C<set_n>
takes as many values as slots, or one for all. Everything is checked before the
first slot is written. Each slot is written by itself: all of them together are not
atomic. C<get_n> returns a reference to an array, C<set_n> the number of slots.

=head2 slot_sv

    my $view = \$pool->slot_sv($slot);
    print length $$view;
    syswrite $socket, $pool->slot_sv($slot);

A read-only scalar whose buffer is the slot itself. Nothing is copied to read it,
which pays off for large slots, and it shows what the slot holds at that moment. Take a
reference to it, alias it with C<for>, or pass it on: a plain assignment
(C<my $x = ...>) makes a copy, as assignments do. The view of a C<Str> slot is the
stored bytes (UTF-8, if they are characters). It keeps the pool open by itself. Once
the slot is freed, the view shows whatever comes next.

=head2 bind

    $pool->bind($slot, my $variable);

Makes the variable the slot: reading it is C<get>, assigning to it is C<set>, with
the same checks and exceptions, but without the cost of a method call. Each read
and each assignment of a number is atomic by itself; C<++> and C<+=> are two steps.
The variable keeps the pool open. Binding it again binds it to the other slot;
C<local> makes it a plain variable for a while. Returns nothing; dies for a constant,
array or hash.

=head2 ptr, data_ptr

    my $address = $pool->ptr($slot);
    my $base    = $pool->data_ptr;

The address of a slot, and of the first one, as integers, for FFI and C code. Slot
C<$i> begins at C<data_ptr + $i * elem_size>. The address is valid in this process
while the pool object (or a guard, view or bound variable of it) exists. Nothing
checks what is done with it.

=head1 ATOMIC ARITHMETIC

For I64, I32 and F64. Each call is one atomic operation.

=head2 add, incr, decr

    my $sum = $pool->add($slot, $delta);
    my $sum = $pool->incr($slot);
    my $sum = $pool->decr($slot);

Add and return the new value. Integers wrap around at the ends of their range.

=head2 add_n

    my $sums = $pool->add_n(\@slots, \@deltas);
    my $sums = $pool->add_n(\@slots, $delta);

C<add> for many slots, each atomic by itself. Everything is checked before the first
is changed. Returns a reference to an array of the new values.

=head2 cas

    my $done = $pool->cas($slot, $old, $new);

Writes C<$new> if the slot holds C<$old>. Returns whether it did. Doubles are
compared as numbers; a NaN equals the NaN of the same bits.

=head2 cmpxchg

    my $was = $pool->cmpxchg($slot, $old, $new);

The same, but returns what the slot held: C<$old>, if it was changed.

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
freed. Any process may call it, at any time, as often as it likes; several at once
share the work. What belongs to a living process is never touched, nor is what belongs to
one about which nothing can be told. A process of another PID namespace (a container) is judged with
all others of it: they are dead when none of them has the pool mapped any more.

The code is called for each slot before it is freed, with its index and the PID that
held it. The slot can be read meanwhile. C<disown> it in there to keep it. If the
code dies, its exception is passed on, that slot stays stale, and those after it
have not been looked at.

It reads F</proc> for each owner, not for each slot, and looks only at parts of the
pool that were ever used.

=head2 recover_unknown

    my $count = $pool->recover_unknown;
    my $count = $pool->recover_unknown(sub { my ($slot, $pid) = @_; ... });

The same, but also frees what is held by owners about whom nothing can be told (C<owner_is_unknown>).
For when a person knows that these are dead. L<shmpool(1)> does it for C<recover --namespace-gone>.

=head2 auto_recover

    $pool->auto_recover($seconds);

While a call through this object is blocked for want of a slot, let it recover stale
ones every so many seconds. 0 or C<undef> turns it off. Off by default, because a slot may be
meant to outlive the process that allocated it. Returns nothing.

=head2 adopt

    my $ok = $pool->adopt($slot);
    my $ok = $pool->adopt($slot, $from);

Makes this process the owner of an allocated slot. That is how a slot is passed on:
the next process adopts it, and from that moment it is freed by a recovery only when
I<that> process is dead. Returns true, or false where the slot is not allocated. Atomic.

With C<$from>, a PID as L</owner> returns it, or 0, only if that process (0: nobody) owns the
slot; false if not. Of several processes that try, one wins.

=head2 disown

    my $ok = $pool->disown($slot);

Leaves an allocated slot without an owner. No recovery frees it; C<free> and C<adopt> work as
for any other. Returns true, or false where the slot is not allocated. Atomic.

=head2 owner

    my $pid = $pool->owner($slot);

The PID of the process that holds the slot, as that process's own PID namespace counts;
0 where the slot is free or disowned.

=head2 is_stale

    my $bool = $pool->is_stale($slot);

Would L</recover_stale> free this slot? That is, is it held by a process that is dead?
Looks into F</proc>; changes nothing.

=head2 holders

    my $holders = $pool->holders;
    my $holders = $pool->holders($first, $last);
    printf "%d holds %d slots\n", $_->{pid}, $_->{slots} for @$holders;

Who holds the slots of the pool, or those from C<$first> to C<$last> (included)? Returns a
reference to an array of hashes in no particular order:

    owner    the owner word: the process itself, not only its number
    pid      its PID; 0 for disowned slots
    slots    how many it holds

Slots that somebody is taking or giving back at the moment count as held; the sum of
C<slots> is what C<used> returns.

=head2 owner_word, owner_pid, owner_is_dead, owner_is_unknown, owner_age

    my $owner   = $pool->owner_word($slot);
    my $pid     = $pool->owner_pid($owner);
    my $bool    = $pool->owner_is_dead($owner);
    my $bool    = $pool->owner_is_unknown($owner);
    my $seconds = $pool->owner_age($owner);

The owner word of a slot identifies the process that holds it for good, whereas a PID is
used again. It is an integer that means something in this pool only; 0 where the
slot is free. C<owner_pid> is the PID in it, C<owner_is_dead> tells whether that process
is dead. C<owner_is_unknown> is true where nobody here can tell: it is of another PID namespace, and
the file system does not tell whether anybody lives there. C<owner_age> is the
time since it was started (or first used a pool, if it could not read that), be it dead or alive; C<undef> where that is unknown: nobody, or
a process of another PID namespace or of an earlier boot, whose PID means nothing here.

=head1 STATUS

=head2 is_allocated

    my $bool = $pool->is_allocated($slot);

=head2 capacity, elem_size, max_len

    my $slots = $pool->capacity;
    my $bytes = $pool->elem_size;
    my $bytes = $strs->max_len;       # Str only: elem_size - 4

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

How many slots are allocated, and how many are free. Both count: the cost grows with
the part of the pool that was ever used (a million slots take about a millisecond).

=head2 allocated_slots

    my $slots = $pool->allocated_slots;

A reference to an array of the indices of all allocated slots, in ascending order.

=head2 each_allocated

    $pool->each_allocated(sub { my ($slot) = @_; ... });

Calls the code for each slot that is allocated, in ascending order. The code may free
slots. Returns nothing.

=head2 stats

    my $stats = $pool->stats;

A reference to a hash. While others work on the pool its numbers are a snapshot of a
moving target; they are exact when nobody does. C<allocs> and C<frees> never go back.

    capacity, elem_size      as the methods
    used, available          as the methods
    waiters                  processes that sleep for want of a slot
    mmap_size                bytes of the whole mapping
    allocs, frees            how often slots were allocated and freed, ever
    waits, timeouts          how often somebody had to wait, and how often the time ran out
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

Writes the pool to its disk, and waits for that. Returns true or dies. Only needed
against a crash of the machine: other processes see all changes at once.

=head2 unlink

    my $removed = $pool->unlink;
    my $removed = Data::Pool::Shared->unlink($path);

Removes the file. Processes that have it open keep using it. Returns true, or false where there
was no such file; a pool does not remove another file that has taken its path. Dies with C<cannot unlink> for a pool without a path, and where the
system refuses.

=head1 EVENT LOOPS

A pool can have a file descriptor that becomes readable when somebody calls
L</notify>. Freeing a slot does not do so by itself: notify when there is news.

=head2 eventfd

    my $fd = $pool->eventfd;

Creates the descriptor, once; later calls return the same. Children inherit it. Where the
program has closed it (and perhaps opened another file, which got its number), the methods
here do as if there were none; this one makes a new one.

=head2 eventfd_set

    $pool->eventfd_set($fd);

Uses this descriptor (an eventfd that another process made) instead. The pool takes it
over: makes it non-blocking, closes it in the end, and closes the one it replaces. Dies with
C<cannot use descriptor> where it is not an eventfd.

=head2 fileno

    my $fd = $pool->fileno;           # -1: there is none

=head2 notify

    my $ok = $pool->notify;

Adds 1 to the descriptor's counter. False where there is no descriptor.

=head2 eventfd_consume

    my $n = $pool->eventfd_consume;

Returns the counter and sets it to 0; C<undef> where there was nothing to take.

=head1 FORK, THREADS, SIGNALS

After C<fork>, parent and child use the same pool, each as a separate owner. For guards, see above.

In a new thread (ithreads) each pool object, view and bound variable works on the same
memory; the memory is unmapped when the last of them is gone. Guards of the old thread
guard nothing in the new one.

Blocked calls (C<alloc>, C<alloc_n> and their kin, C<wait>, C<new> while another process
creates the file) run signal handlers, which may C<die>, and no call leaves anything
behind when that happens.

=head1 WHAT IT COSTS

A call costs about what calling any XS method costs; the work itself is a few
nanoseconds. One atomic instruction allocates a slot and one frees it. While nobody
waits there are no system calls. F<bench/> measures all this against an XS method that
does nothing.

Processes start their search for a free slot at different places and return to the slot
they freed last, so that they stay out of each other's cache lines. An index of full
groups makes it a matter of nanoseconds to find the one free slot among a million.

A pool that is not in a file takes no memory until it is used. A file's disk blocks are
reserved when it is created (but see C<sparse>), so that a full disk is an exception
in C<new> and never a crash later.

=head1 SECURITY

Whoever can write to the memory can put anything there: values, owners, counters. This
module reads the geometry of a pool once, checks it, and never relies on it again, so a
peer that scribbles over the pool spoils values, but cannot make this process read or
write elsewhere. It can make calls fail or wait, though, and a process that may write a
I<file> may also cut it short, after which access to the lost part is a C<SIGBUS>. Share
files with those you trust; a memfd cannot be cut.

=head1 SEE ALSO

L<IPC::Shm> builds shared variables on these pools. F<pool.h> documents the C interface
and the protocol.

=head1 LICENSE

This is free software; you can redistribute it and/or modify it under the same terms as
Perl itself.

=cut
