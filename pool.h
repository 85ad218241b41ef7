/*
 * pool.h - a pool of fixed-size slots in shared memory that survives the death
 * of any process at any instruction.
 *
 * Processes allocate slots, use them and free them. The memory is a file, an
 * anonymous mapping that children inherit, or a memfd. Allocation takes no
 * lock; a full pool is waited for on a futex; what a dead process held is found
 * and freed by pool_recover().
 *
 * To embed it, compile pool.c (which defines POOL_IMPLEMENTATION and includes
 * this file) beside your program:
 *
 *     cc app.c pool.c
 *
 * The file needs Linux, a 64-bit machine and gcc or clang; C11 or C++17.
 *
 *     pool_spec_t  spec = { POOL_I64, 1000, 8, 0, 0 };
 *     pool_error_t err;
 *     pool_t      *pool = pool_open("/dev/shm/jobs", &spec, &err);
 *     uint64_t     slot = pool_try_alloc(pool);
 *     if (slot < POOL_NOSPC) { pool_i64_add(pool, slot, 1); pool_free(pool, slot); }
 *     pool_close(pool);
 *
 * THE PROTOCOL IN ONE PARAGRAPH. Every slot has one 64-bit owner word and that
 * word is the whole truth: 0 is a free slot, anything else names the process
 * that holds it. Allocating is one compare-and-swap of 0 to "me", freeing one
 * of "that owner" to 0. There is no second word to keep in step with it, so
 * there is no instant at which a slot is taken but has no owner: a process that
 * dies leaves its own name behind, and recovery looks for the names of dead
 * processes. Everything else (the index of full groups, the hint, the wake-ups) only
 * shortens the search, and is rebuilt or repaired when it is wrong.
 *
 * THE ORDER OF THIS FILE: constants and errors; the layout of the mapping; the
 * handle; identity; allocate; free; wait; own; data; then, under
 * POOL_IMPLEMENTATION, identity, index, search, waiting, recovery, status, and
 * finally creating and attaching.
 *
 * MEMORY ORDER. Atomics are the compiler's __atomic builtins. A comment at each one
 * that is not relaxed says which other one it pairs with.
 *
 * Unless its comment says otherwise, a function does not block, is thread safe
 * (threads may share handles) and async-signal safe. Names that begin with
 * pool_i_ are internal.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef POOL_H
#define POOL_H

#ifdef POOL_IMPLEMENTATION
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* fallocate, memfd seals; before the first system header */
#endif
#endif

#ifndef __linux__
#error "pool.h needs Linux (futexes, /proc)"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#define POOL_STATIC_ASSERT(what, text) static_assert(what, text)
#else
#define POOL_STATIC_ASSERT(what, text) _Static_assert(what, text)
#endif

POOL_STATIC_ASSERT(sizeof(void *) == 8, "pool.h needs a 64-bit machine");

#define POOL_LIKELY(x)   __builtin_expect(!!(x), 1)
#define POOL_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* ------------------------------------------------------------------------
 * Constants and errors
 * --------------------------------------------------------------------- */

/* What a slot holds. The number is stored in the pool. */
enum pool_variant {
    POOL_ANY = 0, /* never stored: pool_open() attaches to what it finds */
    POOL_RAW = 1, /* elem_size bytes, any size                         */
    POOL_I64 = 2, /* int64_t                                           */
    POOL_I32 = 3, /* int32_t                                           */
    POOL_F64 = 4, /* double                                            */
    POOL_STR = 5  /* a length word and elem_size - 4 bytes of text     */
};

/* Results. POOL_OK is 0; pool_strerror() has the text of each. */
enum pool_code {
    POOL_OK = 0,
    POOL_FULL,        /* no (or not enough) free slots                  */
    POOL_TIMEOUT,     /* the time limit was reached                     */
    POOL_INTERRUPTED, /* a signal handler ran; call again to continue   */
    POOL_E_ARGUMENT,  /* a size, index or option makes no sense         */
    POOL_E_INVALID,   /* the file is not a pool                         */
    POOL_E_MISMATCH,  /* a pool, but of another kind, size or version   */
    POOL_E_TOO_SMALL, /* a pool that has lost its end                   */
    POOL_E_NOSPC,     /* the filesystem is full                         */
    POOL_E_SYSTEM     /* a system call failed: see sys_errno            */
};

/* What pool_try_alloc() returns instead of a slot; slots are < POOL_NOSPC. */
#define POOL_NOSPC (UINT64_MAX - 1) /* sparse pool: the filesystem is full; errno */
#define POOL_NONE  UINT64_MAX       /* no free slot                        */

#define POOL_FOREVER ((int64_t)-1) /* a timeout that never ends */

#define POOL_MAX_CAPACITY  ((uint64_t)1 << 32) /* slots */
#define POOL_MAX_ELEM_SIZE ((uint64_t)1 << 32) /* bytes */
#define POOL_MAX_BYTES     ((uint64_t)1 << 46) /* bytes in all */

/* Flags of pool_spec_t. */
#define POOL_SPARSE   1u  /* reserve the data's disk blocks as slots are first used */
#define POOL_POPULATE 2u  /* fault the whole mapping in now                         */
#define POOL_MODE     4u  /* `mode` is given: apply it exactly                      */
#define POOL_FIXED    8u  /* all slots are allocated from the first moment, without an owner; none is ever freed */
#define POOL_READONLY 16u /* attach with read permission only: writing causes a SIGSEGV */

/* What the caller wants. capacity 0 and elem_size 0 mean: attach to what
 * exists and take its geometry, and with POOL_ANY its variant, too. elem_size is given for POOL_RAW and POOL_STR
 * (max_len + POOL_STR_HEAD), and is implied by the other variants. */
typedef struct pool_spec {
    uint32_t variant;
    uint64_t capacity;  /* slots         */
    uint64_t elem_size; /* bytes per slot */
    uint32_t flags;     /* POOL_SPARSE … */
    uint32_t mode;      /* permission bits of a file that is created */
} pool_spec_t;

/* Why a call failed: a code, errno if a system call failed (else 0), and a message. */
typedef struct pool_error {
    int  code;
    int  sys_errno;
    char text[232];
} pool_error_t;

/* ------------------------------------------------------------------------
 * The layout of the mapping
 *
 *   header      immutable geometry, then the mutable lines, then two tables
 *   touched     one bit per group: some slot of it was used at least once
 *   full        the index: one bit per group, one bit per word of those, …
 *   extents     sparse pools: one bit per extent whose blocks are reserved
 *   records     owner and uses, 16 bytes per slot
 *   data        elem_size bytes per slot, from a 64-byte boundary on
 *
 * Every offset follows from variant, capacity, elem_size and flags. They are
 * checked once, at attach, and read from the handle ever after: what a peer
 * scribbles over the header later cannot move an address.
 * --------------------------------------------------------------------- */

#define POOL_MAGIC          UINT64_C(0x314c4f4f5044534c) /* "LSDPOOL1": whole  */
#define POOL_MAGIC_CREATING UINT64_C(0x304c4f4f5044534c) /* "LSDPOOL0": not yet */
#define POOL_VERSION        1u

#define POOL_GROUP      16u   /* slots per group; one bit of the index stands for it */
#define POOL_WAITERS    256u  /* entries of the table of waiters                   */
#define POOL_NAMESPACES 1024u /* entries of the table of PID namespaces            */
#define POOL_LEVELS     5     /* 64^5 groups: more than POOL_MAX_CAPACITY needs    */
#define POOL_STR_HEAD   4u    /* bytes before the text of a POOL_STR slot          */

typedef struct pool_header {
    /* Immutable once magic is published. */
    uint64_t magic;
    uint32_t version;
    uint32_t variant;
    uint64_t capacity;
    uint64_t elem_size;
    uint32_t flags; /* POOL_SPARSE, POOL_FIXED or 0 */
    uint32_t reserved;
    uint64_t total_size;
    uint8_t  pad0[16];

    /* Line 1: the eventcount. `waiting` says that somebody may wait for one slot
     * (POOL_I_WAIT_ONE), or for many (POOL_I_WAIT_MANY); the bits above count
     * tickets, so that no value ever occurs twice. Waiters set the two bits; a waker
     * that finds nobody clears them. A dead waiter leaves them set, which costs
     * wakers a system call until one of them clears them. */
    uint64_t waiting;
    uint32_t event;
    uint8_t  pad1[52];

    /* Line 2: statistics of the slow paths; nothing depends on them. */
    uint64_t waits;
    uint64_t timeouts;
    uint64_t recoveries;
    uint64_t frees; /* the largest number of frees that pool_stats() has ever returned */
    uint8_t  pad2[32];

    /* Owner words of the waiters (POOL_I_BUSY set: for many slots), so that
     * dead ones can be recognised and removed. */
    uint64_t waiters[POOL_WAITERS];

    uint8_t pad3[4096 - 192 - 8 * POOL_WAITERS];

    /* Which PID namespace, of which boot, a tag in an owner word stands for: see
     * POOL_I_NAMELESS. */
    uint64_t namespaces[POOL_NAMESPACES];
} pool_header_t;

POOL_STATIC_ASSERT(offsetof(pool_header_t, waiting) == 64, "the eventcount has its own line");
POOL_STATIC_ASSERT(offsetof(pool_header_t, waits) == 128, "statistics have their own line");
POOL_STATIC_ASSERT(sizeof(pool_header_t) == 4096 + 8 * POOL_NAMESPACES, "the header is packed");

/* A slot's record. `owner`: see pool_i_me(). `uses` counts the allocations of
 * this slot; only the holder writes it, while POOL_I_BUSY is set. It is the
 * slot's generation, and the sum of all is the number of allocations. */
typedef struct pool_record {
    uint64_t owner;
    uint64_t uses;
} pool_record_t;

/* ------------------------------------------------------------------------
 * The handle: this process's view of a pool. Its fields are for reading only.
 * --------------------------------------------------------------------- */

/* Identifies a file, whatever number its descriptor has. `event` is 0 except for an
 * eventfd: see pool_i_event(). */
typedef struct pool_file {
    uint64_t device, inode, event;
} pool_file_t;

typedef struct pool {
    /* Read by every operation. */
    pool_record_t *records;
    uint8_t       *data;
    uint64_t       capacity;
    uint64_t       elem_size;
    uint64_t       me;   /* this process's owner word in this pool */
    uint64_t       hint; /* where the next search starts; its group is touched */
    uint64_t      *full[POOL_LEVELS];
    pool_header_t *header;
    uint32_t       variant;
    uint32_t       levels; /* of the index; 0: a small pool is searched without an index */
    bool           fixed;  /* no slot is ever free */
    bool           readonly;

    /* Read by the slow paths. */
    uint64_t  groups;
    uint64_t  level_bits[POOL_LEVELS];
    uint64_t *touched;
    uint64_t *extents;     /* sparse pools; NULL: all blocks are reserved */
    uint64_t  data_offset; /* bytes */
    uint64_t  total_size;  /* bytes of the mapping */
    uint64_t  audit;       /* next slot to check without relying on the index */
    int64_t   auto_recover_ns;
    int64_t   recovered_ns; /* when a blocked call last recovered (CLOCK_MONOTONIC) */
    void (*idle)(void);
    int          event_fd; /* -1: none. The program may have closed this one, and … */
    int          fd;       /* … this, of a memfd or as given to pool_open_fd(); else -1: see pool_descriptor() */
    pool_file_t  event;    /* what event_fd was */
    pool_file_t  file;     /* what is mapped; zeros: anonymous memory */
    bool         is_memfd;
    bool         is_borrowed; /* the memory is the caller's */
    bool         outlived;    /* a pool in this one's memory was closed while this process held slots of it */
    uint64_t     kept;        /* the space whose lock the mapping holds: see pool_i_hold(); 0: none */
    void        *keeper;      /* the page that holds it, where that is not the mapping */
    struct pool *home;        /* the pool in whose mapping the memory is; NULL: this one */
    uint32_t     references;
    char        *path;     /* as given; NULL: anonymous or by descriptor */
    char        *absolute; /* the same, good after a chdir */
} pool_t;

/* ------------------------------------------------------------------------
 * Opening and closing. These functions block on the creator of the same file
 * for as long as it takes to create it, allocate memory, and are not
 * async-signal safe.
 * --------------------------------------------------------------------- */

/* Create the pool `path`, or attach to it if it exists; NULL makes an
 * anonymous pool for this process and its children. At any instant there is either a
 * complete pool at the path or none, whatever processes die or race. Returns the handle, or NULL
 * with *err filled: POOL_E_* or, while waiting for another creator,
 * POOL_INTERRUPTED. */
pool_t *pool_open(const char *path, const pool_spec_t *want, pool_error_t *err);

/* Create a pool in a new memfd (sealed against shrinking). `name` is what
 * /proc shows; the geometry must be complete. Returns the handle or NULL. */
pool_t *pool_open_memfd(const char *name, const pool_spec_t *want, pool_error_t *err);

/* Attach to the pool behind an open descriptor, which the caller keeps. Fields of
 * `want` that are 0 are taken from the pool. Returns the handle or NULL. */
pool_t *pool_open_fd(int fd, const pool_spec_t *want, pool_error_t *err);

/* Make a pool in `size` bytes of the caller's shared memory, or attach to the one that
 * is there. The memory must begin at a page boundary, and be all zeros if it has no pool yet. The
 * geometry must be complete. Any number of processes may do this at once; what a process that
 * dies meanwhile leaves unfinished, the next one completes. The memory must stay mapped until
 * pool_close(), which does not unmap it. Needs Linux 5.14 (blocks are reserved by
 * MADV_POPULATE_WRITE). Does not block. Returns the handle, or NULL with *err filled. */
pool_t *pool_open_at(void *memory, uint64_t size, const pool_spec_t *want, pool_error_t *err);

/* How many bytes a pool of this (complete) geometry takes; 0: the geometry makes no sense. */
uint64_t pool_size(const pool_spec_t *want);

/* Say that the memory of a pool_open_at() pool belongs to the mapping of `home`. Through the
 * file of `home`, others can then tell that this process's PID namespace has live processes (see
 * pool_i_hold()); otherwise nobody outside that namespace can. Call it before the pool is used, and
 * close `home` after the pool. */
void pool_set_home(pool_t *pool, pool_t *home);

/* Work out the identity of this process. Every call that needs it does so by itself; this
 * is for programs that will chroot, use up their descriptors or lose /proc before
 * they open their first pool. Returns false if there is no memory for it. */
bool pool_identify(void);

/* Add a user to this handle; each must call pool_close(). Returns its argument. */
pool_t *pool_retain(pool_t *pool);

/* Remove a user; the last one unmaps the pool. Slots stay allocated. Does nothing for NULL. */
void pool_close(pool_t *pool);

/* Write the mapping to the file (msync). Blocks on the disk. POOL_OK or POOL_E_SYSTEM. */
int pool_sync(pool_t *pool);

/* Does the path that the pool was opened by still lead to its file? */
bool pool_is_at_path(const pool_t *pool);

/* Remove the file. Attached processes keep the pool. Returns POOL_OK,
 * POOL_E_ARGUMENT (no path) or POOL_E_SYSTEM with errno set; ENOENT also if
 * the path leads to another file by now. */
int pool_unlink(pool_t *pool);

/* The descriptor of a pool that was opened by one, or is a memfd. -1: there is
 * none, or the program has closed it. */
int pool_descriptor(const pool_t *pool);

/* A descriptor for event loops (an eventfd, non-blocking), created once per
 * handle, and again if the program has closed it. Only pool_notify() signals
 * it. Returns it, or -1 with errno. */
int pool_eventfd(pool_t *pool);

/* That descriptor, if there is one and the program has not closed it; else -1. */
int pool_eventfd_get(const pool_t *pool);

/* Use this eventfd instead. The pool takes it over: it makes it non-blocking,
 * closes it with the handle, and closes the one that it replaces. Returns
 * POOL_OK, POOL_E_ARGUMENT (not an eventfd) or POOL_E_SYSTEM with errno. */
int pool_eventfd_set(pool_t *pool, int fd);

/* Signal the descriptor. Returns whether there is one and it accepted the signal. */
bool pool_notify(pool_t *pool);

/* Take all signals from the descriptor. Returns how many there were. */
uint64_t pool_eventfd_consume(pool_t *pool);

/* "raw", "I64", "I32", "F64", "Str"; never NULL. */
const char *pool_variant_name(uint32_t variant);

/* The text of an enum pool_code; never NULL. */
const char *pool_strerror(int code);

/* ------------------------------------------------------------------------
 * Cold operations
 * --------------------------------------------------------------------- */

/* Allocate n slots or none. Holds nothing while it waits. More than the
 * capacity: POOL_FULL at once. n = 0: POOL_OK. Otherwise as pool_alloc(). */
int pool_alloc_n(pool_t *pool, uint64_t n, int64_t timeout_ns, uint64_t *slots);

/* Free the n slots that are allocated; wakes waiters once. Indices must be in
 * range. Returns how many were freed. */
uint64_t pool_free_n(pool_t *pool, const uint64_t *slots, uint64_t n);

/* Free the slot only if this process holds it and it is still allocation
 * number `uses` of that slot (see pool_generation). Returns whether it did. */
bool pool_free_generation(pool_t *pool, uint64_t slot, uint64_t uses);

/* Make the calling process the owner of an allocated slot, whoever held it.
 * Returns whether it is the owner now. Atomic. */
bool pool_adopt(pool_t *pool, uint64_t slot);

/* The same, but only from this owner: a process ID as pool_owner() returns it, or 0 for
 * nobody. If several processes try, one of them succeeds. */
bool pool_adopt_from(pool_t *pool, uint64_t slot, pid_t from);

/* Leave an allocated slot without an owner: no recovery frees it, and pool_owner() returns 0.
 * Returns whether it has no owner now. Atomic. */
bool pool_disown(pool_t *pool, uint64_t slot);

/* Called for a slot of a dead process (`owner` is its owner word), before it is
 * freed. The caller of pool_recover() owns the slot meanwhile, and keeps it by
 * returning false; then it is not freed and not counted. */
typedef bool pool_stale_fn(pool_t *pool, uint64_t slot, uint64_t owner, void *context);

/* Free every slot whose owner is dead (in a fixed pool: disown it), remove
 * dead waiters, repair the index, wake waiters. `stale` may be NULL. Returns
 * the number of slots freed.
 * Reads /proc. Any number of processes may do this at once. */
uint64_t pool_recover(pool_t *pool, pool_stale_fn *stale, void *context);

/* The same, but also free the slots of processes that cannot be judged from here
 * (POOL_UNKNOWN): on behalf of a person who knows that they are dead. */
uint64_t pool_recover_unknown(pool_t *pool, pool_stale_fn *stale, void *context);

/* Give a slot back to the dead owner that a pool_stale_fn took it from, for a
 * callback that is left by longjmp; but only if this process still holds it, as
 * allocation number `uses` (see pool_generation()). Returns whether it did. */
bool pool_unadopt(pool_t *pool, uint64_t slot, uint64_t uses, uint64_t owner);

/* Free all slots, whoever holds them. Only for use while no other process works on the
 * pool. Returns how many were allocated; does nothing in a fixed pool. */
uint64_t pool_reset(pool_t *pool);

/* Let blocked allocations of this handle recover stale slots every `every_ns`
 * nanoseconds; 0 (the default): never. */
void pool_auto_recover(pool_t *pool, int64_t every_ns);

/* Have blocked calls of this handle call `idle` at least every 0.1 s and after
 * each signal, and then continue instead of returning POOL_INTERRUPTED. `idle`
 * may leave by longjmp: a blocked call holds nothing meanwhile. NULL: none. */
void pool_on_idle(pool_t *pool, void (*idle)(void));

/* What is known of the process that an owner word names. POOL_UNKNOWN is not dead (only a
 * person may say that it is): it belongs to another PID namespace, and it cannot be seen
 * from here whether that still has any process. */
enum pool_life { POOL_ALIVE, POOL_DEAD, POOL_UNKNOWN };

/* Is the process that an owner word names alive? Reads /proc. */
enum pool_life pool_owner_life(pool_t *pool, uint64_t owner);

/* Is it certainly dead? */
bool pool_owner_is_dead(pool_t *pool, uint64_t owner);

/* The seconds since that process, dead or alive, was started (or first seen, if it could not
 * read its start time). Negative: unknown, because it belongs to another PID namespace
 * or boot, or the word means nobody. */
double pool_owner_age(pool_t *pool, uint64_t owner);

/* The number of allocated slots. Looks at each group that was ever used. */
uint64_t pool_used(const pool_t *pool);

/* The first allocated slot at or after `from`, or POOL_NONE. */
uint64_t pool_next_allocated(const pool_t *pool, uint64_t from);

/* The same, but including slots that a process is just allocating or freeing, or was
 * when it died: all that pool_used() counts. */
uint64_t pool_next_held(const pool_t *pool, uint64_t from);

typedef struct pool_counts {
    uint64_t used, waiters, allocs, frees, waits, timeouts, recoveries;
} pool_counts_t;

/* Fill *counts. The numbers are exact while nobody works on the pool; allocs and
 * frees never decrease. */
void pool_stats(pool_t *pool, pool_counts_t *counts);

/* Give the blocks of free slots back to the filesystem, as far as they fill whole pages:
 * for a sparse pool of a file or of pool_open_at(). Others go on allocating: a process that takes a
 * trimmed slot reserves its blocks again. Looks at each slot that was ever used, and makes a
 * system call for each run of free ones. Returns how many bytes were given back.
 *
 * If other processes may still be reading what a free slot held, they need `may` (else NULL): it is called
 * after slots were found free, and before their blocks are given back. A slot that was used meanwhile keeps
 * its blocks. If it returns false, no more blocks are given back. */
typedef bool pool_trim_fn(void *context);
uint64_t     pool_trim(pool_t *pool, pool_trim_fn *may, void *context);

/* Sleep while the POOL_I64 or POOL_I32 slot holds `old`. Returns POOL_OK as soon as
 * it does not, or POOL_TIMEOUT or POOL_INTERRUPTED. Blocks. */
int pool_wait(pool_t *pool, uint64_t slot, int64_t old, int64_t timeout_ns);

/* Wake up to n processes that wait for the slot's value. Returns how many. */
uint64_t pool_wake(pool_t *pool, uint64_t slot, uint64_t n);

/* Add to a POOL_F64 slot atomically. Returns the sum. */
double pool_f64_add(pool_t *pool, uint64_t slot, double delta);

/* If the slot equals `old` (as numbers; a NaN equals the same NaN), set it to
 * `value`. Returns what it held; *done (may be NULL): was it set? Atomic. */
double pool_f64_cas(pool_t *pool, uint64_t slot, double old, double value, bool *done);

/* Store len bytes of text (at most elem_size - POOL_STR_HEAD: the caller has to cut it).
 * pool_str_get() returns the mark `utf8` as well. Not atomic. */
void pool_str_set(pool_t *pool, uint64_t slot, const char *text, uint32_t len, bool utf8);

/* The text of a slot, in place: its address, its length (never more than
 * fits) and its mark. Not atomic: a concurrent writer may change what is there. */
const char *pool_str_get(const pool_t *pool, uint64_t slot, uint32_t *len, bool *utf8);

/* ------------------------------------------------------------------------
 * Identity: who holds a slot
 *
 *   bits  0..21  process ID (22 bits are the kernel's largest)
 *   bits 22..31  the PID's namespace: an entry of header->namespaces (0: unknown)
 *   bits 32..61  when it was started, in clock ticks since boot, modulo 2^30 (0: unknown)
 *   bit  62      POOL_I_SEEN: that is not when it was started, but when it was seen alive
 *   bit  63      POOL_I_BUSY: taken, but not (or no longer) allocated
 *
 * The time makes a reused PID another owner: the process that has the PID now is the owner
 * if it was started at that time, or no later than the owner was seen. So even a
 * process that cannot read its start time is identified reliably. The namespace
 * entry keeps processes of other PID namespaces and boots from being judged by a
 * PID that means something else here. What a process does not know is left out,
 * never guessed: see pool_owner_life().
 * --------------------------------------------------------------------- */

#define POOL_I_PID_BITS  22
#define POOL_I_PID_MASK  (((uint64_t)1 << POOL_I_PID_BITS) - 1)
#define POOL_I_TAG_MASK  ((uint64_t)(POOL_NAMESPACES - 1) << POOL_I_PID_BITS)
#define POOL_I_TIME_BIT  32
#define POOL_I_TIME_MASK ((uint64_t)0x3fffffff << POOL_I_TIME_BIT)
#define POOL_I_SEEN      ((uint64_t)1 << 62)
#define POOL_I_BUSY      ((uint64_t)1 << 63)
#define POOL_I_TRIMMED   ((uint64_t)1 << 63)              /* in `uses`: the blocks of the slot were given back, see pool_trim() */
#define POOL_I_NOBODY    ((uint64_t)1 << POOL_I_TIME_BIT) /* PID 0: disowned, never dead */

/* An entry of header->namespaces (a "space"): bits 0..31 name a PID namespace, bits
 * 36..63 the boot (0: not known; all who know it agree), and two flags: */
#define POOL_I_NAMELESS  ((uint64_t)1 << 32) /* the name is a random number: all who use it share a namespace, nobody knows which */
#define POOL_I_UNKEPT    ((uint64_t)1 << 33) /* no lock tells whether anybody lives there: see pool_i_hold() */
#define POOL_I_NAME_MASK (((uint64_t)1 << 33) - 1)
#define POOL_I_BOOT_BIT  36
#define POOL_I_BOOT_MASK (UINT64_MAX << POOL_I_BOOT_BIT)
#define POOL_I_FIRST     UINT64_C(0xeffffffc) /* the name of the first PID namespace, which is never gone */

/* The identity of this process, on a page that the kernel clears in a child, so that no kind
 * of fork inherits it. 0: not worked out yet; the first thread that needs it does so.
 * A process keeps its name (the word, and in each pool the tag) as long as
 * it lives, because it must recognise its own slots. */
typedef struct pool_i_process {
    uint64_t word;    /* owner word without tag; published last */
    uint64_t space;   /* this PID namespace and boot, as far as they are known */
    uint64_t time_ns; /* the time namespace in which `word` was made; 0: unknown */
    bool     told;    /* the parent's fork handler has run: what it knew holds here */
} pool_i_process_t;

extern pool_i_process_t *pool_i_process;

uint64_t pool_i_identify(pool_t *pool);
bool     pool_i_is_blank(void *memory, int *why);
uint64_t pool_i_alloc_slow(pool_t *pool, uint64_t me);
uint64_t pool_i_finish_sparse(pool_t *pool, uint64_t slot, uint64_t me);
bool     pool_i_mark_open(pool_t *pool, uint64_t group);
void     pool_i_wake(pool_t *pool, uint64_t n, uint64_t waiting);

/* The owner word of this process in this pool. */
static inline uint64_t pool_i_me(pool_t *pool)
{
    uint64_t me   = __atomic_load_n(&pool->me, __ATOMIC_RELAXED);
    uint64_t word = __atomic_load_n(&pool_i_process->word, __ATOMIC_RELAXED);
    if (POOL_LIKELY(((me ^ word) & ~POOL_I_TAG_MASK) == 0)) return me;
    return pool_i_identify(pool); /* the first call, or the first after a fork */
}

/* ------------------------------------------------------------------------
 * Allocate
 * --------------------------------------------------------------------- */

/* Take a slot that is free: owner 0 -> me|BUSY. Any process may try, one wins.
 * Whoever dies after this line has left its name. Acquire: pairs with the
 * release of the CAS in pool_i_release(), so that the zeroing in
 * pool_i_publish() comes after the last write of the previous holder. The first
 * load is seq_cst for the sake of waiters: see pool_i_announce(). */
static inline bool pool_i_claim(pool_t *pool, uint64_t slot, uint64_t me)
{
    uint64_t *owner = &pool->records[slot].owner, nobody = 0;
    if (__atomic_load_n(owner, __ATOMIC_SEQ_CST) != 0) return false;
#ifdef POOL_TEST_REORDER /* the classic mistake, taken first and owned after: the proof must find it */
    if (!__atomic_compare_exchange_n(owner, &nobody, POOL_I_BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return false;
    __atomic_store_n(owner, me | POOL_I_BUSY, __ATOMIC_RELAXED);
    return true;
#else
    return __atomic_compare_exchange_n(owner, &nobody, me | POOL_I_BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
#endif
}

/* Code that is built on pools may read a slot without a lock while it is freed and allocated
 * again, and find that out afterwards. Atomics tell the thread sanitizer that this is
 * intended; it still reports plain reads at the wrong time. */
#if defined(__SANITIZE_THREAD__) /* gcc */
#define POOL_I_TSAN 1
#elif defined(__has_feature) /* clang */
#if __has_feature(thread_sanitizer)
#define POOL_I_TSAN 1
#endif
#endif

static inline void pool_i_clear(uint8_t *data, uint64_t bytes)
{
#ifdef POOL_I_TSAN
    uint64_t i;
    for (i = 0; i < bytes; i++) __atomic_store_n(&data[i], 0, __ATOMIC_RELAXED);
#else
    memset(data, 0, bytes);
#endif
}

/* Make a claimed slot an allocated one: count the use, clear the data, drop
 * BUSY. Plain stores: while BUSY is set nobody but the holder writes here. The
 * last release pairs with the acquire in pool_is_allocated(): who sees the slot
 * allocated sees it cleared; that of the use with pool_i_frees_of(). */
static inline uint64_t pool_i_publish(pool_t *pool, uint64_t slot, uint64_t me)
{
    pool_record_t *record = &pool->records[slot];
    uint8_t       *data   = pool->data + slot * pool->elem_size;

    __atomic_store_n(&record->uses, __atomic_load_n(&record->uses, __ATOMIC_RELAXED) + 1, __ATOMIC_RELEASE);
    if (pool->elem_size == 8)
        __atomic_store_n((uint64_t *)(void *)data, 0, __ATOMIC_RELAXED);
    else if (pool->elem_size == 4)
        __atomic_store_n((uint32_t *)(void *)data, 0, __ATOMIC_RELAXED);
    else
        pool_i_clear(data, pool->elem_size);
    __atomic_store_n(&record->owner, me, __ATOMIC_RELEASE);
    return slot;
}

/* pool_i_publish(), but in a sparse pool make sure first that the blocks of the slot
 * are reserved; if that is impossible, give the slot back and return POOL_NOSPC. */
static inline uint64_t pool_i_finish(pool_t *pool, uint64_t slot, uint64_t me)
{
    if (POOL_UNLIKELY(pool->extents != NULL)) return pool_i_finish_sparse(pool, slot, me);
    return pool_i_publish(pool, slot, me);
}

/* Allocate a slot. Its data reads as zeros. Returns its index, or POOL_NONE
 * (pool full) or POOL_NOSPC. Never blocks. */
static inline uint64_t pool_try_alloc(pool_t *pool)
{
    uint64_t me = pool_i_me(pool), slot = __atomic_load_n(&pool->hint, __ATOMIC_RELAXED);
    if (POOL_UNLIKELY(!pool_i_claim(pool, slot, me))) return pool_i_alloc_slow(pool, me);
    /* The next search starts at the neighbour, if that is in this (touched) group. */
    if ((slot + 1) % POOL_GROUP != 0 && slot + 1 < pool->capacity) __atomic_store_n(&pool->hint, slot + 1, __ATOMIC_RELAXED);
    return pool_i_finish(pool, slot, me);
}

/* Allocate a slot, waiting up to timeout_ns (0: do not wait, POOL_FOREVER: no
 * limit). Returns POOL_OK with *slot, or POOL_FULL (timeout_ns 0),
 * POOL_TIMEOUT, POOL_INTERRUPTED, POOL_E_NOSPC. Blocks. */
static inline int pool_alloc(pool_t *pool, int64_t timeout_ns, uint64_t *slot)
{
    uint64_t one = pool_try_alloc(pool), late; /* no call is given the caller's address, so his slot stays in a register */
    int      code;
    if (POOL_LIKELY((*slot = one) < POOL_NOSPC)) return POOL_OK;
    if (one == POOL_NOSPC) return POOL_E_NOSPC;
    if (timeout_ns == 0) return POOL_FULL;
    late  = one;
    code  = pool_alloc_n(pool, 1, timeout_ns, &late);
    *slot = late;
    return code;
}

/* ------------------------------------------------------------------------
 * Free
 * --------------------------------------------------------------------- */

/* owner -> 0, if it still is `owner`. One instruction frees the slot: a process
 * dies before it or after it. Release: pairs with pool_i_claim(). */
static inline bool pool_i_release(pool_t *pool, uint64_t slot, uint64_t owner)
{
    return __atomic_compare_exchange_n(&pool->records[slot].owner, &owner, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* pool_free() without waking anybody. */
static inline bool pool_i_free_quietly(pool_t *pool, uint64_t slot)
{
    uint64_t owner = __atomic_load_n(&pool->records[slot].owner, __ATOMIC_RELAXED);
    if (POOL_UNLIKELY(pool->fixed)) return false;
    if ((int64_t)owner <= 0 || !pool_i_release(pool, slot, owner)) return false; /* BUSY is the sign bit */
    __atomic_store_n(&pool->hint, slot, __ATOMIC_RELAXED);
    return true;
}

#define POOL_I_WAIT_ONE  1u /* in header->waiting, and as futex bits: waits for one slot */
#define POOL_I_WAIT_MANY 2u /* waits for many */
#define POOL_I_WAITING   (POOL_I_WAIT_ONE | POOL_I_WAIT_MANY)
#define POOL_I_TICKET    4u
#define POOL_I_ALL       UINT64_MAX /* instead of a number of waiters to wake */

/* After a slot became free: tell the index, then those who wait. Both loads are
 * seq_cst, and so is the CAS before them. They pair with pool_i_mark_full()
 * (full bit, then owners) and pool_i_round() (waiting, then owners): of a freer
 * and a searcher at least one sees what the other did. A freer that dies here
 * leaves a full bit or a sleeper too many: audits and slices repair that. */
static inline bool pool_i_marked_full(const pool_t *pool, uint64_t group)
{
    return pool->levels != 0 && (__atomic_load_n(&pool->full[0][group / 64], __ATOMIC_SEQ_CST) >> (group % 64) & 1) != 0;
}

/* How many waiters a slot that became free is to wake: one, but all if a bit
 * above the group's was cleared. While that was set, those who were woken for
 * other slots below it saw it and fell asleep again. */
static inline uint64_t pool_i_open_group_of(pool_t *pool, uint64_t slot)
{
    return pool_i_marked_full(pool, slot / POOL_GROUP) && pool_i_mark_open(pool, slot / POOL_GROUP) ? POOL_I_ALL : 1;
}

/* Wake n, if anybody waits. Pairs with pool_i_draw_ticket(). */
static inline void pool_i_wake_if_waiting(pool_t *pool, uint64_t n)
{
    uint64_t waiting = __atomic_load_n(&pool->header->waiting, __ATOMIC_SEQ_CST);
    if (POOL_UNLIKELY((waiting & POOL_I_WAITING) != 0)) pool_i_wake(pool, n, waiting);
}

static inline void pool_i_announce(pool_t *pool, uint64_t slot)
{
    pool_i_wake_if_waiting(pool, pool_i_open_group_of(pool, slot));
}

/* Free a slot (index < capacity), one's own or another's. Returns false if it
 * was not allocated, or the pool is fixed. Atomic. A system call only where somebody waits. */
static inline bool pool_free(pool_t *pool, uint64_t slot)
{
    if (!pool_i_free_quietly(pool, slot)) return false;
    pool_i_announce(pool, slot);
    return true;
}

/* ------------------------------------------------------------------------
 * Own
 * --------------------------------------------------------------------- */

/* Is the slot (index < capacity) allocated? Acquire: pairs with pool_i_publish(). */
static inline bool pool_is_allocated(const pool_t *pool, uint64_t slot)
{
    uint64_t owner = __atomic_load_n(&pool->records[slot].owner, __ATOMIC_ACQUIRE);
    return (int64_t)owner > 0; /* not 0, and not BUSY, which is the sign bit */
}

/* The owner word of a slot (index < capacity); 0: free. */
static inline uint64_t pool_owner_word(const pool_t *pool, uint64_t slot)
{
    return __atomic_load_n(&pool->records[slot].owner, __ATOMIC_RELAXED);
}

/* The process ID in an owner word, as of that process's PID namespace; 0: none. */
static inline pid_t pool_owner_pid(uint64_t owner)
{
    return (pid_t)(owner & POOL_I_PID_MASK);
}

/* Would pool_recover() free the slot (index < capacity)? Reads /proc. */
static inline bool pool_is_stale(pool_t *pool, uint64_t slot)
{
    return pool_owner_is_dead(pool, pool_owner_word(pool, slot));
}

/* The process ID of a slot's owner; 0: the slot is free or disowned. */
static inline pid_t pool_owner(const pool_t *pool, uint64_t slot)
{
    return pool_owner_pid(pool_owner_word(pool, slot));
}

/* How many times the slot (index < capacity) was allocated: names this allocation. */
static inline uint64_t pool_generation(const pool_t *pool, uint64_t slot)
{
    return __atomic_load_n(&pool->records[slot].uses, __ATOMIC_RELAXED) & ~POOL_I_TRIMMED;
}

/* ------------------------------------------------------------------------
 * Data. Indices must be < capacity, and the variant the named one; only the
 * caller knows whether the slot is allocated. Loads acquire and stores
 * release, each pairing with the other: what was written before a value was
 * set is seen by who reads that value. Read-modify-write is both.
 * --------------------------------------------------------------------- */

/* The address of a slot's elem_size bytes; good until the handle is closed. */
static inline void *pool_ptr(const pool_t *pool, uint64_t slot)
{
    return pool->data + slot * pool->elem_size;
}

#define POOL_I_INTEGER(name, type, unsigned_type)                                                                                         \
    /* Read a slot. Atomic. */                                                                                                            \
    static inline type pool_##name##_get(const pool_t *pool, uint64_t slot)                                                               \
    {                                                                                                                                     \
        return __atomic_load_n((const type *)(const void *)pool->data + slot, __ATOMIC_ACQUIRE);                                          \
    }                                                                                                                                     \
    /* Write a slot. Atomic. */                                                                                                           \
    static inline void pool_##name##_set(pool_t *pool, uint64_t slot, type value)                                                         \
    {                                                                                                                                     \
        __atomic_store_n((type *)(void *)pool->data + slot, value, __ATOMIC_RELEASE);                                                     \
    }                                                                                                                                     \
    /* Add, wrapping around. Returns the sum. Atomic. */                                                                                  \
    static inline type pool_##name##_add(pool_t *pool, uint64_t slot, type delta)                                                         \
    {                                                                                                                                     \
        return (type)__atomic_add_fetch((unsigned_type *)(void *)pool->data + slot, (unsigned_type)delta, __ATOMIC_ACQ_REL);              \
    }                                                                                                                                     \
    /* Write, returning what was there. Atomic. */                                                                                        \
    static inline type pool_##name##_xchg(pool_t *pool, uint64_t slot, type value)                                                        \
    {                                                                                                                                     \
        return __atomic_exchange_n((type *)(void *)pool->data + slot, value, __ATOMIC_ACQ_REL);                                           \
    }                                                                                                                                     \
    /* Write if the slot holds `old`. Returns what it held; *done (may be NULL): was it written? Atomic. */                               \
    static inline type pool_##name##_cas(pool_t *pool, uint64_t slot, type old, type value, bool *done)                                   \
    {                                                                                                                                     \
        bool ok = __atomic_compare_exchange_n((type *)(void *)pool->data + slot, &old, value, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE); \
        if (done) *done = ok;                                                                                                             \
        return old;                                                                                                                       \
    }

POOL_I_INTEGER(i64, int64_t, uint64_t)
POOL_I_INTEGER(i32, int32_t, uint32_t)
#undef POOL_I_INTEGER

static inline double pool_i_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint64_t pool_i_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Read a POOL_F64 slot. Atomic. */
static inline double pool_f64_get(const pool_t *pool, uint64_t slot)
{
    return pool_i_double(__atomic_load_n((const uint64_t *)(const void *)pool->data + slot, __ATOMIC_ACQUIRE));
}

/* Write a POOL_F64 slot. Atomic. */
static inline void pool_f64_set(pool_t *pool, uint64_t slot, double value)
{
    __atomic_store_n((uint64_t *)(void *)pool->data + slot, pool_i_bits(value), __ATOMIC_RELEASE);
}

/* Write a POOL_F64 slot, returning what was there. Atomic. */
static inline double pool_f64_xchg(pool_t *pool, uint64_t slot, double value)
{
    return pool_i_double(__atomic_exchange_n((uint64_t *)(void *)pool->data + slot, pool_i_bits(value), __ATOMIC_ACQ_REL));
}

#ifdef __cplusplus
}
#endif

/* ========================================================================
 * The implementation: compiled once, where POOL_IMPLEMENTATION is defined.
 * ===================================================================== */
#ifdef POOL_IMPLEMENTATION

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* What older headers lack. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS   1033
#define F_SEAL_SEAL   1
#define F_SEAL_SHRINK 2
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define POOL_I_MS              INT64_C(1000000)
#define POOL_I_EXTENT          ((uint64_t)256 << 10) /* bytes a sparse pool reserves at a time */
#define POOL_I_PAGE            ((uint64_t)4096)      /* files are whole multiples of this */
#define POOL_I_UNINDEXED       16u                   /* up to this many groups are searched without an index */
#define POOL_I_AUDIT_TRY       4u                    /* slots audited by a failed pool_try_alloc() */
#define POOL_I_AUDIT_WAIT      ((uint64_t)16384)     /* slots audited by a waiter, each slice, at least … */
#define POOL_I_AUDIT_WAIT_PART 16u                   /* … and this part of the pool */
#ifndef POOL_I_SLICE_NS                              /* the test of lost wake-ups sets it to an hour: slices would hide them */
#define POOL_I_SLICE_NS (100 * POOL_I_MS)            /* the longest sleep without a look */
#endif

static int64_t pool_i_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 * POOL_I_MS + now.tv_nsec;
}

/* When a timeout ends. Saturates, so that ages of waiting do not wrap around. */
static int64_t pool_i_deadline(int64_t timeout_ns)
{
    int64_t now = pool_i_now();
    if (timeout_ns < 0) return POOL_FOREVER;
    return timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
}

/* ------------------------------------------------------------------------
 * Identity
 * --------------------------------------------------------------------- */

pool_i_process_t *pool_i_process;

static ssize_t pool_i_read_file(const char *path, char *text, size_t size)
{
    int     fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;
    if (fd < 0) return -1;
    got = read(fd, text, size - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got > 0 ? got : -1;
}

/* What /proc/PID/stat says about a process. Its second field is a name in parentheses that may contain
 * anything, so count from the last parenthesis. */
typedef struct pool_i_stat {
    char     state;
    uint64_t threads;
    uint64_t start; /* clock ticks since boot */
} pool_i_stat_t;

static uint64_t pool_i_number(const char *text)
{
    uint64_t number = 0;
    for (; *text >= '0' && *text <= '9'; text++) number = number * 10 + (uint64_t)(*text - '0');
    return number;
}

static bool pool_i_read_stat(const char *path, pool_i_stat_t *stat)
{
    enum { STATE = 3, THREADS = 20, START = 22 };
    char        text[1024];
    const char *at;
    int         field;

    if (pool_i_read_file(path, text, sizeof text) < 0 || (at = strrchr(text, ')')) == NULL || at[1] != ' ') return false;
    at += 2;
    stat->state = *at;
    for (field = STATE; field < START; field++) {
        if (field == THREADS) stat->threads = pool_i_number(at);
        if ((at = strchr(at, ' ')) == NULL) return false;
        at++;
    }
    stat->start = pool_i_number(at);
    return true;
}

static uint32_t pool_i_hash(const char *text)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *text != '\0'; text++) hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash;
}

static bool pool_i_is_filesystem(const struct statfs *fs, uint32_t magic)
{
    return (uint32_t)fs->f_type == magic;
}

/* The number of a namespace: the inode that /proc shows, which needs no descriptor; 0: unknown. Its
 * filesystem tells that it is not some other file. */
static uint32_t pool_i_namespace(const char *path)
{
    const uint32_t nsfs = 0x6e736673;
    struct statfs  fs;
    struct stat    st;
    return statfs(path, &fs) == 0 && pool_i_is_filesystem(&fs, nsfs) && stat(path, &st) == 0 ? (uint32_t)st.st_ino : 0;
}

/* What is still valid after a fork: the boot is the same for all. `space` is valid in a child that is in
 * the same namespaces: see pool_i_fork_child(). */
static struct {
    uint64_t boot;  /* as in a space; 0: not known yet */
    uint64_t space; /* 0: not known */
    uint64_t time_ns;
    int64_t  skew;  /* CLOCK_REALTIME - CLOCK_BOOTTIME at the fork */
    bool     moved; /* that is another one here */
    pid_t    pid;   /* whose knowledge it is */
} pool_i_known;

/* This boot. Containers may have a boot id of their own (a file mounted over the kernel's), but two
 * processes of one boot must agree, so only the kernel's counts. */
static uint64_t pool_i_boot(void)
{
    const uint32_t procfs = 0x9fa0;
    uint64_t       boot   = __atomic_load_n(&pool_i_known.boot, __ATOMIC_RELAXED); /* written with one value only */
    char           id[64];
    struct statfs  fs;
    int            fd;
    ssize_t        got;

    if (boot != 0 || (fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)) < 0) return boot;
    got = fstatfs(fd, &fs) == 0 && pool_i_is_filesystem(&fs, procfs) ? read(fd, id, sizeof id - 1) : -1;
    close(fd);
    if (got < 36) return 0;
    id[got] = '\0';
    boot    = (uint64_t)(pool_i_hash(id) | 16u) >> 4 << POOL_I_BOOT_BIT;
    __atomic_store_n(&pool_i_known.boot, boot, __ATOMIC_RELAXED);
    return boot;
}

/* Does /proc show the processes of this PID namespace (`name`) under the numbers that they have here? It
 * may have been mounted for another one, even since the last check. If its "self" is our PID, that may be
 * a coincidence in a namespace other than the first: then it lists our numbers in all namespaces that we
 * are in, from its own on, and must list only one. */
static bool pool_i_proc_is_ours(uint64_t name)
{
    char        text[2048];
    const char *at;
    ssize_t     length = readlink("/proc/self", text, sizeof text - 1);

    text[length > 0 ? length : 0] = '\0';
    if (pool_i_number(text) != (uint64_t)getpid()) return false;
    if (name == POOL_I_FIRST) return true;
    if (pool_i_read_file("/proc/self/status", text, sizeof text) < 0 || (at = strstr(text, "\nNSpid:\t")) == NULL) return false;
    at += strlen("\nNSpid:\t");
    while (*at >= '0' && *at <= '9') at++;
    return *at == '\n';
}

/* What identifies a namespace: its number, when its first process was started (0: not visible), and the
 * time namespace. */
static uint64_t pool_i_mix_name(uint32_t number, uint64_t start, uint64_t time_ns)
{
    const uint32_t first_time_namespace = 0xeffffffa;
    uint32_t       name                 = number;
    if (start != 0) name ^= (uint32_t)(start * UINT64_C(0x9e3779b97f4a7c15) >> 32);
    if (time_ns != 0 && time_ns != first_time_namespace) name ^= (uint32_t)time_ns * 2654435769u;
    return name != 0 ? name : 1;
}

/* The name of this PID namespace, or 0. Start times are shown relative to the reader's time namespace, so
 * a process in another one counts as in another PID namespace; the first namespaces of both kinds, which
 * nearly all processes are in, are identified exactly. The number of a namespace that is gone is soon
 * reused for another one: the start time of its first process makes the difference, for those who can see
 * it. */
static uint64_t pool_i_name(uint64_t *time_ns)
{
    uint32_t      number = pool_i_namespace("/proc/self/ns/pid");
    pool_i_stat_t init   = { 0, 0, 0 };

    *time_ns = pool_i_namespace("/proc/self/ns/time");
    if (number == 0) return 0;
    if (number == POOL_I_FIRST || !pool_i_proc_is_ours(number) || !pool_i_read_stat("/proc/1/stat", &init)) init.start = 0;
    return pool_i_mix_name(number, init.start, *time_ns);
}

/* A name for a namespace about which nothing is known. */
static uint64_t pool_i_new_name(void)
{
    struct timespec now;
    uint64_t        mix;
    clock_gettime(CLOCK_REALTIME, &now);
    mix = ((uint64_t)now.tv_sec * 1000003u + (uint64_t)now.tv_nsec) ^ (uint64_t)getpid() << 40 ^ (uint64_t)(uintptr_t)&now;
    return POOL_I_NAMELESS | 1u | (uint32_t)(mix * UINT64_C(0x9e3779b97f4a7c15) >> 32);
}

static int64_t pool_i_clock(clockid_t which)
{
    struct timespec now;
    clock_gettime(which, &now);
    return (int64_t)now.tv_sec * 1000 * POOL_I_MS + now.tv_nsec;
}

/* The difference between two clocks, read in quick succession: if the process loses the processor in
 * between (20 ms are not unusual on a busy machine), they are read again. */
static int64_t pool_i_skew(void)
{
    int64_t skew = 0, closest = INT64_MAX;
    int     tries;
    for (tries = 0; tries < 20 && closest > POOL_I_MS; tries++) {
        int64_t before = pool_i_clock(CLOCK_BOOTTIME), now = pool_i_clock(CLOCK_REALTIME);
        int64_t took = pool_i_clock(CLOCK_BOOTTIME) - before;
        if (took >= closest) continue;
        closest = took;
        skew    = now - before;
    }
    return skew;
}

/* CLOCK_BOOTTIME is the clock of /proc/PID/stat, in the same time namespace. */
static uint64_t pool_i_ticks_now(void)
{
    return (uint64_t)pool_i_clock(CLOCK_BOOTTIME) / ((uint64_t)(1000 * POOL_I_MS) / (uint64_t)sysconf(_SC_CLK_TCK));
}

static void pool_i_fork_prepare(void)
{
    pool_i_known.skew = pool_i_skew();
}

/* A child is in its parent's PID namespace if it sees the parent under the number that the parent has for
 * itself. It is in the parent's time namespace if /proc says so or, if that cannot be read, if the offset
 * between the clocks is unchanged. Otherwise it inherits nothing. A kind of fork that runs no handlers
 * leaves `told` cleared. */
static void pool_i_fork_child(void)
{
    int64_t moved = pool_i_skew() - pool_i_known.skew;
    memset(pool_i_process, 0, sizeof *pool_i_process);
    if (getppid() != pool_i_known.pid) pool_i_known.space = 0;
    if (moved < -20 * POOL_I_MS || moved > 20 * POOL_I_MS) pool_i_known.moved = true;
    pool_i_known.pid     = getpid();
    pool_i_process->told = true;
}

/* The page that holds the identity of this process; one per process. */
static bool pool_i_process_page(void)
{
    void             *page;
    pool_i_process_t *none = NULL;

    if (__atomic_load_n(&pool_i_process, __ATOMIC_ACQUIRE) != NULL) return true; /* pairs with the CAS below */
    page = mmap(NULL, POOL_I_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return false;
    pool_i_known.pid = getpid();
    if (!__atomic_compare_exchange_n(&pool_i_process, &none, (pool_i_process_t *)page, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
        munmap(page, POOL_I_PAGE); /* another thread was first */
        return true;
    }
    /* Linux before 4.14 refuses the advice; emulators accept it and do nothing. */
    madvise(page, POOL_I_PAGE, MADV_WIPEONFORK);
    return pthread_atfork(pool_i_fork_prepare, NULL, pool_i_fork_child) == 0;
}

/* The name of this PID namespace: what the parent knew, or what /proc shows, or, as a last resort, one
 * that only this process and its children use. */
static uint64_t pool_i_find_name(uint64_t *time_ns)
{
    uint64_t known = pool_i_process->told ? pool_i_known.space & POOL_I_NAME_MASK : 0, name;
    uint64_t clock = pool_i_namespace("/proc/self/ns/time"); /* a parent may have entered another one */

    *time_ns = pool_i_known.time_ns;
    if (pool_i_known.moved && (clock == 0 || clock != *time_ns)) known = 0;
    if (known != 0 && (known & POOL_I_NAMELESS) == 0 && (clock == 0 || clock == *time_ns)) return known;
    if ((name = pool_i_name(time_ns)) != 0) return name;
    *time_ns = pool_i_known.time_ns;
    return known != 0 ? known : pool_i_new_name();
}

/* Work out the identity of this process. Threads may see different things: what the first one publishes is
 * used by all. */
static uint64_t pool_i_find_process(void)
{
    pool_i_stat_t stat = { 0, 0, 0 };
    uint64_t      word = (uint64_t)getpid() & POOL_I_PID_MASK, none = 0, time_ns, space = pool_i_find_name(&time_ns) | pool_i_boot();

    if (pool_i_read_stat("/proc/self/stat", &stat))
        word |= stat.start << POOL_I_TIME_BIT & POOL_I_TIME_MASK;
    else
        word |= (pool_i_ticks_now() << POOL_I_TIME_BIT & POOL_I_TIME_MASK) | POOL_I_SEEN;
    if (__atomic_compare_exchange_n(&pool_i_process->space, &none, space, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        pool_i_process->time_ns = pool_i_known.time_ns = time_ns;
        pool_i_known.moved                             = false;
        __atomic_store_n(&pool_i_known.space, space, __ATOMIC_RELAXED);
    }
    none = 0; /* release and acquire: pair with each other and with pool_i_word() */
    return __atomic_compare_exchange_n(&pool_i_process->word, &none, word, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE) ? word : none;
}

static uint64_t pool_i_word(void)
{
    uint64_t word = __atomic_load_n(&pool_i_process->word, __ATOMIC_ACQUIRE); /* pairs with pool_i_find_process() */
    return word != 0 ? word : pool_i_find_process();
}

bool pool_identify(void)
{
    int saved = errno;
    if (!pool_i_process_page()) return false;
    (void)pool_i_word();
    errno = saved;
    return true;
}

/* ---- Whether anybody lives in a PID namespace. Who uses a pool holds a shared lock on
 * the byte of the pool's file whose number is the space (far behind its end). It is
 * taken through the open file that the mapping keeps open, so the kernel
 * releases it with the last process that has the mapping, children too, and with
 * nothing else: descriptors may be closed, paths removed. Nobody lives there if
 * somebody else could lock that byte. What is shared by several namespaces (a
 * descriptor that was sent on) holds the locks of all of them, too long rather than
 * too short. Names are written only after the lock is held. */

/* Filesystems on which a mapping keeps the opened file itself. On others (overlayfs maps another file, and
 * on network filesystems a lock means something else) no lock is kept. */
static bool pool_i_file_keeps_locks(int fd)
{
    static const uint32_t magics[] = {
        0x01021994 /* tmpfs */, 0xef53 /* ext4 */,     0x58465342 /* xfs */,
        0x9123683e /* btrfs */, 0xf2f52010 /* f2fs */, 0x858458f6 /* ramfs */,
    };
    struct statfs fs;
    size_t        i;
    if (fstatfs(fd, &fs) != 0) return false;
    for (i = 0; i < sizeof magics / sizeof *magics; i++)
        if (pool_i_is_filesystem(&fs, magics[i])) return true;
    return false;
}

/* The beginning of each use of the lock of a space. */
static struct flock pool_i_lock_of(uint64_t space, short type)
{
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type   = type;
    lock.l_whence = SEEK_SET;
    lock.l_start  = (off_t)((space & ~POOL_I_UNKEPT) >> 1 ^ (space & 1) << 33); /* 63 bits; bits 34 and 35 of a space are 0 */
    lock.l_len    = 1;
    return lock;
}

/* Hold the lock of a space. A process that cleans up (pool_i_take_entry()) may hold it for a moment; one
 * that is stopped there does not delay us for long. */
static bool pool_i_lock_space(int fd, uint64_t space)
{
    const struct timespec moment = { 0, 1000000 };
    struct flock          lock   = pool_i_lock_of(space, F_RDLCK);
    int                   tries;
    for (tries = 0; tries < 50; tries++) {
        if (fcntl(fd, F_OFD_SETLK, &lock) == 0) return true;
        if (errno != EAGAIN && errno != EACCES && errno != EINTR) return false;
        nanosleep(&moment, NULL);
    }
    return false;
}

static int pool_i_open_anew(const pool_t *pool);

/* Hold the lock of this process's space through a page of the file that is mapped for this purpose: for a
 * child in another PID namespace than that of the process that opened the pool. */
static bool pool_i_hold_anew(pool_t *pool, uint64_t space)
{
    int   fd   = pool_i_open_anew(pool);
    void *page = MAP_FAILED;

    if (fd < 0) return false;
    if (pool_i_file_keeps_locks(fd) && pool_i_lock_space(fd, space)) page = mmap(NULL, POOL_I_PAGE, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED) return false;
    if (pool->keeper != NULL) munmap(pool->keeper, POOL_I_PAGE); /* the parent's, for its namespace */
    pool->keeper = page;
    return true;
}

/* Hold the lock through the mapping that was just made of fd. */
static void pool_i_hold(pool_t *pool, int fd)
{
    if (pool_i_file_keeps_locks(fd) && pool_i_lock_space(fd, pool_i_process->space)) pool->kept = pool_i_process->space;
}

/* The space of this process in this pool. The one whose lock the mapping holds already is right for a
 * child in the same namespace, even if the child knows more (the boot) than its parent did. */
static uint64_t pool_i_space(pool_t *pool)
{
    pool_t  *home  = pool->home != NULL ? pool->home : pool;
    uint64_t space = pool_i_process->space, kept = __atomic_load_n(&home->kept, __ATOMIC_RELAXED);
    if (kept != 0 && ((kept ^ space) & POOL_I_NAME_MASK) == 0) return kept;
    if (!pool_i_hold_anew(home, space)) return space | POOL_I_UNKEPT;
    __atomic_store_n(&home->kept, space, __ATOMIC_RELAXED);
    return space;
}

/* Do the two belong to different boots? Not if one is unknown. */
static bool pool_i_other_boot(uint64_t one, uint64_t other)
{
    return ((one ^ other) & POOL_I_BOOT_MASK) != 0 && (one & POOL_I_BOOT_MASK) != 0 && (other & POOL_I_BOOT_MASK) != 0;
}

/* Take the entry of a space that has no live processes: one of an earlier boot, or one whose lock can be
 * taken. While we hold that lock, no process that joins the space finds the entry (pool_i_hold() comes
 * before pool_i_tag()). What the entry meant is forgotten: owner words of its dead that are left now refer
 * to the new space, in which such processes are dead or taken for alive. */
static bool pool_i_take_entry(uint64_t *entry, uint64_t space, int fd)
{
    uint64_t     found = __atomic_load_n(entry, __ATOMIC_ACQUIRE);
    struct flock lock  = pool_i_lock_of(found, F_WRLCK);

    if (!pool_i_other_boot(found, space)
        && (fd < 0 || (found & POOL_I_UNKEPT) != 0 || (found & POOL_I_NAME_MASK) == POOL_I_FIRST || fcntl(fd, F_OFD_SETLK, &lock) != 0))
        return false;
    return __atomic_compare_exchange_n(entry, &found, space, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* The number that stands for a space in this pool's owner words; 0 if the table is full, which means
 * "cannot be judged". An entry changes by CAS, from empty or, when the table is full, from a space without
 * live processes. A process that dies here at worst leaves an entry that nobody uses. Acquire and release
 * pair with each other. */
static uint64_t pool_i_tag(pool_t *pool, uint64_t space)
{
    uint64_t probe, tag, found, first = (space ^ space >> 32) % (POOL_NAMESPACES - 1);
    int      fd;

    for (probe = 0; probe < POOL_NAMESPACES - 1; probe++) {
        tag   = 1 + (first + probe) % (POOL_NAMESPACES - 1);
        found = __atomic_load_n(&pool->header->namespaces[tag], __ATOMIC_ACQUIRE);
        if (found == space) return tag;
        if (found != 0 || pool->readonly) continue;
        if (__atomic_compare_exchange_n(&pool->header->namespaces[tag], &found, space, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return tag;
        if (found == space) return tag;
    }
    if (pool->readonly) return 0; /* not there, and it names nobody */
    fd = pool_i_open_anew(pool->home != NULL ? pool->home : pool);
    for (probe = 0; probe < POOL_NAMESPACES - 1; probe++) {
        tag = 1 + (first + probe) % (POOL_NAMESPACES - 1);
        if (pool_i_take_entry(&pool->header->namespaces[tag], space, fd)) break;
    }
    if (fd >= 0) close(fd);
    return probe < POOL_NAMESPACES - 1 ? tag : 0;
}

static void pool_i_touch(pool_t *pool, uint64_t group);

/* Where a process starts to search: apart from the others, even if their PIDs are consecutive (multiplying
 * by the golden ratio spreads those evenly), and at the first of eight slots whose data share a cache
 * line. */
static void pool_i_seed_hint(pool_t *pool, uint64_t word)
{
    uint64_t spread = (uint32_t)((uint32_t)(word & POOL_I_PID_MASK) * 2654435769u);
    uint64_t slot   = (spread * pool->capacity >> 32) & ~(uint64_t)7;
    pool_i_touch(pool, slot / POOL_GROUP);
    __atomic_store_n(&pool->hint, slot, __ATOMIC_RELAXED);
}

/* The slow half of pool_i_me(). */
uint64_t pool_i_identify(pool_t *pool)
{
    uint64_t word  = pool_i_word(), me;
    bool     child = __atomic_load_n(&pool->me, __ATOMIC_RELAXED) != 0;
    int      saved = errno;

    me = word | pool_i_tag(pool, pool_i_space(pool)) << POOL_I_PID_BITS;
    if (child && !pool->readonly) pool_i_seed_hint(pool, word);
    __atomic_store_n(&pool->me, me, __ATOMIC_RELAXED);
    errno = saved;
    return me;
}

/* "/proc/PID/stat", written without stdio: a signal handler may free slots. */
static const char *pool_i_stat_path(uint64_t pid, char path[40])
{
    char  digits[24];
    char *at = digits + sizeof digits - 1;
    *at      = '\0';
    do *--at = (char)('0' + pid % 10);
    while ((pid /= 10) != 0);
    strcpy(path, "/proc/");
    strcat(path, at);
    strcat(path, "/stat");
    return path;
}

/* The PID namespace and boot that an owner word belongs to; 0: unknown. */
static uint64_t pool_i_space_of(const pool_t *pool, uint64_t owner)
{
    uint64_t tag = (owner & POOL_I_TAG_MASK) >> POOL_I_PID_BITS;
    if ((owner & POOL_I_PID_MASK) == 0 || tag == 0) return 0;
    return __atomic_load_n(&pool->header->namespaces[tag], __ATOMIC_ACQUIRE); /* pairs with pool_i_tag() */
}

/* Is the process that was started at `start` (ticks), and has the PID of the owner word, the one that the
 * owner word names? The later of two times is within half of the range. */
static bool pool_i_is_owner(uint64_t owner, uint64_t start)
{
    uint64_t after = ((start << POOL_I_TIME_BIT) - (owner & POOL_I_TIME_MASK)) & POOL_I_TIME_MASK;
    if ((owner & POOL_I_SEEN) != 0) return after == 0 || after > POOL_I_TIME_MASK / 2;
    return after == 0 || (owner & POOL_I_TIME_MASK) == 0;
}

/* A zombie is dead; but a first thread that has ended before the others looks like one, too. */
static bool pool_i_is_over(const pool_i_stat_t *stat)
{
    return stat->state == 'X' || stat->state == 'x' || (stat->state == 'Z' && stat->threads <= 1);
}

/* Is a process of this PID namespace dead, whether or not its boot is known to be ours? No process here
 * has two of its three marks by chance. */
static enum pool_life pool_i_life_here(uint64_t name, uint64_t owner)
{
    uint64_t      pid = owner & POOL_I_PID_MASK, time_ns;
    char          path[40];
    pool_i_stat_t stat = { 0, 0, 0 };

    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH) return POOL_DEAD;
    if (!pool_i_proc_is_ours(name)) return POOL_ALIVE;
    if (!pool_i_read_stat(pool_i_stat_path(pid, path), &stat)) /* hidden, or gone just now */
        return kill((pid_t)pid, 0) != 0 && errno == ESRCH ? POOL_DEAD : POOL_ALIVE;
    time_ns = pool_i_namespace("/proc/self/ns/time"); /* setns(2) changes it, and with it the clock of our /proc */
    if (time_ns == pool_i_process->time_ns && !pool_i_is_owner(owner, stat.start)) return POOL_DEAD;
    return pool_i_is_over(&stat) ? POOL_DEAD : POOL_ALIVE;
}

/* "/proc/PID/", then the name of a file of at most 8 letters. */
static const char *pool_i_file_of(const char *pid, const char *name, char path[40])
{
    strcpy(path, "/proc/");
    strcat(path, pid);
    strcat(path, name);
    return path;
}

/* The number that the process shown by /proc as PID (in decimal) has in its own PID namespace: the last
 * one of a line of its status; 0: it is in ours, or cannot be seen. */
static uint64_t pool_i_inner_pid(const char *pid)
{
    char        path[40], text[2048];
    const char *at;
    uint64_t    number = 0;
    int         count;

    if (strlen(pid) > 20) return 0;
    if (pool_i_read_file(pool_i_file_of(pid, "/status", path), text, sizeof text) < 0 || (at = strstr(text, "\nNSpid:")) == NULL) return 0;
    at += strlen("\nNSpid:");
    for (count = 0; *at == '\t'; count++) {
        number = pool_i_number(++at);
        while (*at >= '0' && *at <= '9') at++;
    }
    return count < 2 ? 0 : number;
}

/* A search among the processes that /proc shows: each is tested, until the test is true for one. */
typedef struct pool_i_wanted {
    bool (*is_it)(const char *pid, struct pool_i_wanted *search);
    uint64_t owner, space;
    uint32_t number; /* of a PID namespace */
    uint64_t start;  /* of its first process */
} pool_i_wanted_t;

static bool pool_i_search_proc(pool_i_wanted_t *search)
{
    struct entry {
        uint64_t       inode;
        int64_t        offset;
        unsigned short length;
        unsigned char  type;
        char           name[1];
    };
    uint64_t room[512]; /* getdents64 and no opendir(): a signal handler may be here */
    char    *buffer = (char *)room;
    long     got, at;
    int      fd    = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool     found = false;

    if (fd < 0) return false;
    while (!found && (got = syscall(SYS_getdents64, fd, buffer, sizeof room)) > 0)
        for (at = 0; at < got && !found; at += ((struct entry *)(void *)(buffer + at))->length) {
            const char *name = buffer + at + offsetof(struct entry, name);
            if (*name >= '1' && *name <= '9') found = search->is_it(name, search);
        }
    close(fd);
    return found;
}

/* Is it the first process of the PID namespace of that number? */
static bool pool_i_is_first(const char *pid, pool_i_wanted_t *search)
{
    char          path[40];
    pool_i_stat_t stat = { 0, 0, 0 };
    if (pool_i_inner_pid(pid) != 1 || pool_i_namespace(pool_i_file_of(pid, "/ns/pid", path)) != search->number) return false;
    if (!pool_i_read_stat(pool_i_file_of(pid, "/stat", path), &stat)) return false;
    search->start = stat.start;
    return true;
}

/* Can a process belong to that space? The first processes of containers that are started together have the
 * same number and start time. If its namespace cannot be named from here, it can. */
static bool pool_i_may_be_of(const char *pid, uint64_t space, uint64_t time_ns)
{
    pool_i_wanted_t first = { pool_i_is_first, 0, 0, 0, 0 };
    char            path[40];
    uint64_t        name = space & POOL_I_NAME_MASK;

    if ((space & POOL_I_NAMELESS) != 0) return true;
    first.number = pool_i_namespace(pool_i_file_of(pid, "/ns/pid", path));
    if (first.number == 0 || time_ns == 0 || !pool_i_search_proc(&first)) return true;
    return name == pool_i_mix_name(first.number, first.start, time_ns) || name == pool_i_mix_name(first.number, 0, time_ns);
}

/* Is the process shown by /proc as PID the owner, in a PID namespace inside of this one? Start times say
 * nothing if they come from another clock. */
static bool pool_i_is_inner(const char *pid, pool_i_wanted_t *search)
{
    char          path[40];
    uint64_t      time_ns;
    pool_i_stat_t stat = { 0, 0, 0 };

    if (pool_i_inner_pid(pid) != (search->owner & POOL_I_PID_MASK)) return false;
    if (!pool_i_read_stat(pool_i_file_of(pid, "/stat", path), &stat) || pool_i_is_over(&stat)) return false;
    time_ns = pool_i_namespace(pool_i_file_of(pid, "/ns/time", path));
    if (time_ns != 0 && time_ns != pool_i_process->time_ns) return true;
    return pool_i_is_owner(search->owner, stat.start) && pool_i_may_be_of(pid, search->space, time_ns);
}

/* Do we see the owner from outside? */
static bool pool_i_seen_from_outside(uint64_t space, uint64_t owner)
{
    pool_i_wanted_t search = { pool_i_is_inner, owner, space, 0, 0 };
    return pool_i_search_proc(&search);
}

/* Is a process of another PID namespace dead? Yes, if the lock of its space says that nobody lives there,
 * and if no process can be seen that could be the owner: one that has become another program (exec) has no
 * mapping, but may still be the owner. */
static enum pool_life pool_i_life_elsewhere(pool_t *pool, uint64_t space, uint64_t owner)
{
    struct flock lock = pool_i_lock_of(space, F_WRLCK);
    int          fd;
    bool         told;

    if ((space & POOL_I_UNKEPT) != 0) return POOL_UNKNOWN;
    if ((fd = pool_i_open_anew(pool->home != NULL ? pool->home : pool)) < 0) return POOL_UNKNOWN;
    told = fcntl(fd, F_OFD_GETLK, &lock) == 0;
    close(fd);
    if (told && lock.l_type != F_UNLCK) return POOL_ALIVE;
    if (!told || (space & POOL_I_NAME_MASK) == POOL_I_FIRST) return POOL_UNKNOWN; /* the first one lives, whoever uses this pool */
    return pool_i_seen_from_outside(space, owner) ? POOL_ALIVE : POOL_DEAD;
}

/* This process's space, which may be known better by now than when it was named. */
static uint64_t pool_i_space_now(void)
{
    uint64_t space = pool_i_process->space, name = space & POOL_I_NAME_MASK, time_ns;
    if ((space & POOL_I_NAMELESS) != 0 && (name = pool_i_name(&time_ns)) == 0) name = space & POOL_I_NAME_MASK;
    return name | pool_i_boot();
}

/* Only processes of this PID namespace can be judged individually; those of another one are all dead when
 * nobody lives there, and those of an earlier boot are all dead. In case of doubt the owner is alive: a
 * slot that is kept too long is a nuisance, one that is freed too early is damage. */
enum pool_life pool_owner_life(pool_t *pool, uint64_t owner)
{
    uint64_t       me = pool_i_me(pool), space = pool_i_space_of(pool, owner), here;
    int            saved = errno;
    enum pool_life life;

    owner &= ~POOL_I_BUSY;
    if (owner == me || (owner & POOL_I_PID_MASK) == 0) return POOL_ALIVE;
    if (space == 0) return POOL_UNKNOWN;
    here = pool_i_space_now();
    if (pool_i_other_boot(space, here))
        life = POOL_DEAD;
    else if (((space ^ here) & POOL_I_NAME_MASK) == 0 || ((space ^ pool_i_process->space) & POOL_I_NAME_MASK) == 0)
        life = pool_i_life_here(here & POOL_I_NAME_MASK, owner);
    else
        life = pool_i_life_elsewhere(pool, space, owner);
    errno = saved;
    return life;
}

bool pool_owner_is_dead(pool_t *pool, uint64_t owner)
{
    return pool_owner_life(pool, owner) == POOL_DEAD;
}

/* The owner word has the time modulo 2^30 ticks, which is 124 days. */
double pool_owner_age(pool_t *pool, uint64_t owner)
{
    uint64_t ticks, space = pool_i_space_of(pool, owner);

    (void)pool_i_me(pool); /* after a fork too, pool_i_process is filled now */
    if (space == 0 || ((space ^ pool_i_process->space) & POOL_I_NAME_MASK) != 0 || pool_i_other_boot(space, pool_i_boot())
        || (owner & POOL_I_TIME_MASK) == 0)
        return -1;
    ticks = ((pool_i_ticks_now() << POOL_I_TIME_BIT) - (owner & POOL_I_TIME_MASK)) & POOL_I_TIME_MASK;
    return (double)(ticks >> POOL_I_TIME_BIT) / (double)sysconf(_SC_CLK_TCK);
}

/* ------------------------------------------------------------------------
 * The index: which groups were ever used, and which are full
 *
 * A clear "full" bit only says: look. So clearing one is always allowed, and
 * setting one must be followed by a second look, because the free that would
 * have cleared it may just have passed. A process that dies before the second
 * look, or between freeing a slot and clearing the bit, leaves a bit that hides
 * a free slot: audits (pool_i_audit) and pool_recover() find it.
 * --------------------------------------------------------------------- */

static uint64_t pool_i_group_end(const pool_t *pool, uint64_t group)
{
    uint64_t end = (group + 1) * POOL_GROUP;
    return end < pool->capacity ? end : pool->capacity;
}

/* Called before the first claim in a group, so that recovery and statistics need not look at groups that
 * were never used (most pages of a pool of millions stay untouched). Acquire: the claim must not move
 * before it; a load pairs with it in the same way, see pool_i_next_touched(). */
static void pool_i_touch(pool_t *pool, uint64_t group)
{
    uint64_t *word = &pool->touched[group / 64], bit = (uint64_t)1 << group % 64;
    if ((__atomic_load_n(word, __ATOMIC_RELAXED) & bit) == 0) __atomic_fetch_or(word, bit, __ATOMIC_ACQ_REL);
}

/* The first group >= `group` that was ever used, or pool->groups. Acquire:
 * pairs with pool_i_touch(). */
static uint64_t pool_i_next_touched(const pool_t *pool, uint64_t group)
{
    while (group < pool->groups) {
        uint64_t word = __atomic_load_n(&pool->touched[group / 64], __ATOMIC_ACQUIRE) >> group % 64;
        if (word != 0) {
            group += (uint64_t)__builtin_ctzll(word);
            return group < pool->groups ? group : pool->groups;
        }
        group = (group | 63) + 1;
    }
    return pool->groups;
}

static bool pool_i_has_free(const pool_t *pool, uint64_t group)
{
    uint64_t slot, end = pool_i_group_end(pool, group);
    for (slot = group * POOL_GROUP; slot < end; slot++)
        if (__atomic_load_n(&pool->records[slot].owner, __ATOMIC_SEQ_CST) == 0) return true; /* second look: pool_i_announce() */
    return false;
}

/* Clear the bit `index` of a level, and those above it that are set, even above one that is clear: the
 * process that cleared that one may have died before it reached them. Each level is the same pair as slot
 * and group: clear below, then look above; pool_i_mark_full() sets above, then looks below. Returns
 * whether one above the group's was set. */
static bool pool_i_open_from(pool_t *pool, uint32_t level, uint64_t index)
{
    bool upper = false;
    for (; level < pool->levels; level++, index /= 64) {
        uint64_t *word = &pool->full[level][index / 64], bit = (uint64_t)1 << index % 64;
        if ((__atomic_load_n(word, __ATOMIC_SEQ_CST) & bit) == 0) continue;
        __atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST);
        if (level > 0) upper = true;
    }
    return upper;
}

/* A slot of the group is free. Returns as pool_i_open_from(). */
bool pool_i_mark_open(pool_t *pool, uint64_t group)
{
    return pool_i_open_from(pool, 0, group);
}

/* All slots of the group were seen taken: set its bit, and look once more; if that has filled the word, do
 * the same a level up. A process that takes a bit back also looks above: somebody may have seen the word
 * full meanwhile, and marked it. And it wakes all waiters, because the bit may have hidden several slots
 * from several of them, which fell asleep. Pairs with pool_i_open_group_of() and pool_i_open_from(). */
static void pool_i_mark_full(pool_t *pool, uint64_t group)
{
    uint32_t level;
    uint64_t index = group;
    for (level = 0; level < pool->levels; level++, index /= 64) {
        uint64_t *word = &pool->full[level][index / 64], bit = (uint64_t)1 << index % 64;
        uint64_t  now = __atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST) | bit;
        bool      open =
            level == 0 ? pool_i_has_free(pool, group) : __atomic_load_n(&pool->full[level - 1][index], __ATOMIC_SEQ_CST) != UINT64_MAX;
        if (open) {
            pool_i_open_from(pool, level, index);
            pool_i_wake_if_waiting(pool, POOL_I_ALL);
        }
        if (open || now != UINT64_MAX) return;
    }
}

/* The first group >= `group` that is not marked full, or pool->groups. Goes up
 * a level where a word is full and down again where one is not; the position
 * only grows, whatever the bits say. Loads pair with pool_i_announce(). */
static uint64_t pool_i_next_open(const pool_t *pool, uint64_t group)
{
    uint32_t level = 0;
    uint64_t index = group;

    if (pool->levels == 0) return group < pool->groups ? group : pool->groups;
    if (group == 0) level = pool->levels - 1; /* the whole pool: from the top */
    while (index < pool->level_bits[level]) {
        uint64_t open = ~__atomic_load_n(&pool->full[level][index / 64], __ATOMIC_SEQ_CST) >> index % 64;
        if (open != 0) {
            index += (uint64_t)__builtin_ctzll(open);
            if (index >= pool->level_bits[level]) break;
            if (level == 0) return index;
            level--;
            index *= 64;
        }
        else if (level + 1 < pool->levels) {
            level++;
            index = index / 64 + 1;
        }
        else
            index = (index | 63) + 1;
    }
    return pool->groups;
}

/* Clear the upper bits that no longer stand for a full word below. Look and
 * clearing pair with pool_i_mark_full(), as those of pool_i_open_from() do. */
static void pool_i_repair_upper(pool_t *pool)
{
    uint32_t level;
    uint64_t index;
    for (level = 1; level < pool->levels; level++)
        for (index = 0; index < pool->level_bits[level]; index++)
            if (__atomic_load_n(&pool->full[level - 1][index], __ATOMIC_SEQ_CST) != UINT64_MAX)
                __atomic_fetch_and(&pool->full[level][index / 64], ~((uint64_t)1 << index % 64), __ATOMIC_SEQ_CST);
}

/* ------------------------------------------------------------------------
 * Search
 * --------------------------------------------------------------------- */

/* Claim up to n free slots of a group from slot `from` on. Having seen the
 * whole group taken, say so in the index. */
static uint64_t pool_i_take_in_group(pool_t *pool, uint64_t group, uint64_t from, uint64_t me, uint64_t n, uint64_t *slots)
{
    uint64_t slot, got = 0, end = pool_i_group_end(pool, group);

    pool_i_touch(pool, group);
    for (slot = from; slot < end; slot++) {
        if (!pool_i_claim(pool, slot, me)) continue;
        slots[got++] = slot;
        if (got == n) return got;
    }
    if (from == group * POOL_GROUP) pool_i_mark_full(pool, group);
    return got;
}

/* Claim up to n slots: once around the pool from the hint. Returns how many. */
static uint64_t pool_i_take(pool_t *pool, uint64_t me, uint64_t n, uint64_t *slots)
{
    uint64_t hint = __atomic_load_n(&pool->hint, __ATOMIC_RELAXED), first = hint / POOL_GROUP, got = 0, group, last;
    uint64_t lowest = pool_i_next_open(pool, 0);

    if (lowest == pool->groups) return 0; /* all full: the common failure, made short */
    if (!pool_i_marked_full(pool, first)) got = pool_i_take_in_group(pool, first, hint, me, n, slots);
    for (group = pool_i_next_open(pool, first + 1); got < n && group < pool->groups; group = pool_i_next_open(pool, group + 1))
        got += pool_i_take_in_group(pool, group, group * POOL_GROUP, me, n - got, slots + got);
    for (group = lowest; got < n && group <= first; group = pool_i_next_open(pool, group + 1))
        got += pool_i_take_in_group(pool, group, group * POOL_GROUP, me, n - got, slots + got);
    if (got > 0) {
        last = slots[got - 1];
        if ((last + 1) % POOL_GROUP != 0 && last + 1 < pool->capacity) last++;
        __atomic_store_n(&pool->hint, last, __ATOMIC_RELAXED);
    }
    return got;
}

/* Check `count` slots, in turn, without relying on the index. Claims one slot, repairing the index, or
 * returns POOL_NONE. */
static uint64_t pool_i_audit(pool_t *pool, uint64_t me, uint64_t count)
{
    uint64_t slot = __atomic_load_n(&pool->audit, __ATOMIC_RELAXED) % pool->capacity, found = POOL_NONE;

    if (pool->levels == 0) return POOL_NONE; /* there is no index that could be wrong */
    for (; count > 0 && found == POOL_NONE; count--) {
        pool_i_touch(pool, slot / POOL_GROUP);
        if (pool_i_claim(pool, slot, me)) {
            if (pool_i_mark_open(pool, slot / POOL_GROUP)) pool_i_wake_if_waiting(pool, POOL_I_ALL);
            found = slot;
        }
        slot = slot + 1 < pool->capacity ? slot + 1 : 0;
    }
    __atomic_store_n(&pool->audit, slot, __ATOMIC_RELAXED);
    return found;
}

uint64_t pool_i_alloc_slow(pool_t *pool, uint64_t me)
{
    uint64_t slot;
    if (pool_i_take(pool, me, 1, &slot) == 0) slot = pool_i_audit(pool, me, POOL_I_AUDIT_TRY);
    return slot == POOL_NONE ? POOL_NONE : pool_i_finish(pool, slot, me);
}

static int pool_i_open_again(const pool_t *pool);

/* Reserve the pages of a mapping, as if each were written to. Returns an errno: a
 * full filesystem shows as EFAULT, where a store would be a SIGBUS. Linux 5.14. */
static int pool_i_populate(void *memory, uint64_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)memory & ~(page - 1), to = (uintptr_t)memory + size;
    while (madvise((void *)from, to - from, MADV_POPULATE_WRITE) != 0) {
        if (errno == EFAULT) return ENOSPC;
        if (errno == EINVAL) return EOPNOTSUPP;
        if (errno != EINTR && errno != EAGAIN) return errno;
    }
    return 0;
}

/* Is there no pool in it yet, in memory for pool_open_at()? The first page may be a hole: on a full filesystem,
 * merely looking at it would kill. *why: 0, or the errno with which it could not be reserved; then false. */
bool pool_i_is_blank(void *memory, int *why)
{
    *why = pool_i_populate(memory, 1);
    return *why == 0 && __atomic_load_n(&((const pool_header_t *)memory)->magic, __ATOMIC_ACQUIRE) == 0;
}

/* Reserve the blocks of bytes [from, to) of the data. fallocate() leaves the pages to the processes that
 * use them, and takes nothing if it fails; without a descriptor the kernel is asked to create the pages. */
static bool pool_i_reserve_blocks(const pool_t *pool, int fd, uint64_t from, uint64_t to)
{
    if (fd < 0) return (errno = pool_i_populate(pool->data + from, to - from)) == 0;
    while (fallocate(fd, 0, (off_t)(pool->data_offset + from), (off_t)(to - from)) != 0)
        if (errno != EINTR) return false;
    return true;
}

/* Reserve [from, to), which lies in one extent, and if there is room the whole extent. Both may be
 * repeated, and the bit is set afterwards (release; pairs with the load in pool_i_reserve()): if a process
 * dies in between, the work is done again. */
static bool pool_i_reserve_extent(pool_t *pool, uint64_t extent, uint64_t from, uint64_t to)
{
    uint64_t start = extent * POOL_I_EXTENT, end = start + POOL_I_EXTENT, all = pool->capacity * pool->elem_size;
    int      saved = errno, fd = pool_i_open_again(pool), why;
    bool     done;

    if (end > all) end = all;
    done = pool_i_reserve_blocks(pool, fd, from > start ? from : start, to < end ? to : end);
    why  = done ? saved : errno;
    if (done && pool_i_reserve_blocks(pool, fd, start, end))
        __atomic_fetch_or(&pool->extents[extent / 64], (uint64_t)1 << extent % 64, __ATOMIC_RELEASE);
    if (fd >= 0) close(fd);
    errno = why;
    return done;
}

/* Make sure that the blocks of bytes [from, to) are reserved. Acquire: pairs with pool_i_reserve_extent(). */
static bool pool_i_reserve(pool_t *pool, uint64_t from, uint64_t to)
{
    uint64_t extent;
    for (extent = from / POOL_I_EXTENT; extent * POOL_I_EXTENT < to; extent++)
        if ((__atomic_load_n(&pool->extents[extent / 64], __ATOMIC_ACQUIRE) >> extent % 64 & 1) == 0
            && !pool_i_reserve_extent(pool, extent, from, to))
            return false;
    return true;
}

/* Give back a slot that was claimed but not published. The store is seq_cst as
 * the CAS in pool_i_release() is, and for the same reason. */
static void pool_i_unclaim(pool_t *pool, uint64_t slot)
{
    __atomic_store_n(&pool->records[slot].owner, 0, __ATOMIC_SEQ_CST);
    pool_i_announce(pool, slot);
}

/* Reserve the blocks of a slot that pool_trim() gave back. The holder clears the mark afterwards, while
 * BUSY is set. */
static bool pool_i_restore(pool_t *pool, uint64_t slot)
{
    uint64_t *uses = &pool->records[slot].uses, at = slot * pool->elem_size;
    int       fd   = pool_i_open_again(pool);
    bool      done = pool_i_reserve_blocks(pool, fd, at, at + pool->elem_size);
    if (fd >= 0) close(fd);
    if (done) __atomic_store_n(uses, __atomic_load_n(uses, __ATOMIC_RELAXED) & ~POOL_I_TRIMMED, __ATOMIC_RELAXED);
    return done;
}

uint64_t pool_i_finish_sparse(pool_t *pool, uint64_t slot, uint64_t me)
{
    if (pool_i_reserve(pool, slot * pool->elem_size, (slot + 1) * pool->elem_size)
        && ((__atomic_load_n(&pool->records[slot].uses, __ATOMIC_RELAXED) & POOL_I_TRIMMED) == 0 || pool_i_restore(pool, slot)))
        return pool_i_publish(pool, slot, me);
    pool_i_unclaim(pool, slot);
    return POOL_NOSPC;
}

/* Slots that were free, and the sum of their `uses` then: if the sum is the same later, and they are free,
 * they have been free all the time. */
typedef struct pool_i_run {
    uint64_t from, to, uses;
} pool_i_run_t;

/* The whole pages of a run. */
static uint64_t pool_i_run_pages(const pool_t *pool, const pool_i_run_t *run, uintptr_t *start)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), data = (uintptr_t)pool->data, end;
    *start = (data + run->from * pool->elem_size + page - 1) & ~(page - 1);
    end    = (data + run->to * pool->elem_size) & ~(page - 1);
    return *start < end ? end - *start : 0;
}

/* The uses are read before the owner: if the slot is taken after that, and freed, they are others when it is
 * claimed. In the other order a use that goes on while others are asked (pool_trim()) could be counted already.
 * Acquire, of the uses: the owner is read later; pairs with pool_i_publish(). Of the owner: pairs with
 * pool_i_release(), before which the links to the slot were cut. */
static bool pool_i_is_trimmable(const pool_t *pool, uint64_t slot, uint64_t *uses)
{
    const pool_record_t *record = &pool->records[slot];
    *uses                       = __atomic_load_n(&record->uses, __ATOMIC_ACQUIRE);
    return *uses != 0 && (*uses & POOL_I_TRIMMED) == 0 && __atomic_load_n(&record->owner, __ATOMIC_ACQUIRE) == 0;
}

/* Find the next run of free slots, of about a megabyte at most. Returns the slot behind it. */
static uint64_t pool_i_find_run(const pool_t *pool, uint64_t slot, pool_i_run_t *run)
{
    uint64_t most = ((uint64_t)1 << 20) / pool->elem_size + 8, uses;
    while (slot < pool->capacity && !pool_i_is_trimmable(pool, slot, &uses)) slot++;
    run->from = slot;
    run->uses = 0;
    for (; slot < pool->capacity && slot - run->from < most && pool_i_is_trimmable(pool, slot, &uses); slot++) run->uses += uses;
    run->to = slot;
    return slot;
}

/* The marks are set before the pages are given back; a process that dies in between leaves marks that cost
 * a system call. The process that claims a slot next sees its mark, because of the store in
 * pool_i_unclaim() that pairs with pool_i_claim(). */
static uint64_t pool_i_give_back(pool_t *pool, const pool_i_run_t *run)
{
    uintptr_t start;
    uint64_t  bytes = pool_i_run_pages(pool, run, &start), slot;
    for (slot = run->from; slot < run->to; slot++) __atomic_fetch_or(&pool->records[slot].uses, POOL_I_TRIMMED, __ATOMIC_RELAXED);
    return madvise((void *)start, bytes, MADV_REMOVE) == 0 ? bytes : 0;
}

/* Claimed slots keep others out only while this works: a run is not long. */
static uint64_t pool_i_trim_run(pool_t *pool, const pool_i_run_t *run, uint64_t me)
{
    uint64_t slot = run->from, sum = 0, uses, freed = 0;
    for (; slot < run->to && pool_i_is_trimmable(pool, slot, &uses) && pool_i_claim(pool, slot, me); slot++)
        sum += __atomic_load_n(&pool->records[slot].uses, __ATOMIC_RELAXED); /* nobody else writes it now */
    if (slot == run->to && sum == run->uses) freed = pool_i_give_back(pool, run);
    while (slot > run->from) pool_i_unclaim(pool, --slot);
    return freed;
}

#define POOL_I_RUNS 64 /* between two questions */

uint64_t pool_trim(pool_t *pool, pool_trim_fn *may, void *context)
{
    pool_i_run_t run[POOL_I_RUNS];
    uint64_t     me = pool_i_me(pool), slot = 0, freed = 0;
    uintptr_t    start;
    int          saved = errno, count, i;
    if (pool->extents == NULL || pool->readonly) return 0;
    while (slot < pool->capacity) {
        for (count = 0; count < POOL_I_RUNS && slot < pool->capacity;) {
            slot = pool_i_find_run(pool, slot, &run[count]);
            if (pool_i_run_pages(pool, &run[count], &start) > 0) count++;
        }
        if (count > 0 && may != NULL && !may(context)) break;
        for (i = 0; i < count; i++) freed += pool_i_trim_run(pool, &run[i], me);
    }
    errno = saved;
    return freed;
}

/* Allocate n slots or none, without waiting. *contended: some slots could be claimed, but not enough. */
static int pool_i_try(pool_t *pool, uint64_t n, uint64_t *slots, bool *contended)
{
    uint64_t me = pool_i_me(pool), got = pool_i_take(pool, me, n, slots), i, done;

    if (got == 0 && n == 1 && (slots[0] = pool_i_audit(pool, me, POOL_I_AUDIT_TRY)) != POOL_NONE) got = 1;
    *contended = got > 0 && got < n;
    for (done = 0; got == n && done < n; done++)
        if (pool_i_finish(pool, slots[done], me) == POOL_NOSPC) break;
    if (done == n) return POOL_OK;
    for (i = 0; i < done; i++) pool_free(pool, slots[i]);
    for (i = got == n ? done + 1 : 0; i < got; i++) pool_i_unclaim(pool, slots[i]);
    return got == n ? POOL_E_NOSPC : POOL_FULL;
}

/* ------------------------------------------------------------------------
 * Waiting: an eventcount. Who waits announces it (`waiting`), searches once
 * more, and sleeps on the value of `event` that it read before all that. Who
 * frees looks at `waiting` after its CAS, changes `event` and wakes. A woken
 * process may die before it takes the slot, and the wake with it: so nobody
 * sleeps longer than a slice without searching again.
 * --------------------------------------------------------------------- */

static long pool_i_futex(uint32_t *word, int operation, uint32_t value, const struct timespec *deadline, uint32_t bits)
{
    return syscall(SYS_futex, word, operation, value, deadline, NULL, bits);
}

/* Sleep while *word is `value`, for a slice at most, not past deadline_ns.
 * Returns POOL_FULL (look again), POOL_TIMEOUT or POOL_INTERRUPTED. */
static int pool_i_sleep(uint32_t *word, uint32_t value, int64_t deadline_ns, uint32_t bits)
{
    int64_t         now = pool_i_now(), until = now + POOL_I_SLICE_NS;
    struct timespec at;

    if (deadline_ns != POOL_FOREVER && deadline_ns <= now) return POOL_TIMEOUT;
    if (deadline_ns != POOL_FOREVER && deadline_ns < until) until = deadline_ns;
    at.tv_sec  = (time_t)(until / (1000 * POOL_I_MS));
    at.tv_nsec = (long)(until % (1000 * POOL_I_MS));
    if (pool_i_futex(word, FUTEX_WAIT_BITSET, value, &at, bits) != 0 && errno == EINTR) return POOL_INTERRUPTED;
    return POOL_FULL;
}

static uint64_t pool_i_futex_wake(uint32_t *word, uint64_t n, uint32_t bits)
{
    long woken = pool_i_futex(word, FUTEX_WAKE_BITSET, (uint32_t)(n > INT_MAX ? INT_MAX : n), NULL, bits);
    return woken > 0 ? (uint64_t)woken : 0;
}

/* If nobody is waiting any more, clear `waiting`, unless a ticket was drawn since it was read: a waiter
 * enters the table before it draws one (pairs with pool_i_round()). Removes dead waiters. */
static void pool_i_forget_waiters(pool_t *pool, uint64_t waiting)
{
    uint32_t i;
    bool     anybody = false;
    for (i = 0; i < POOL_WAITERS; i++) {
        uint64_t owner = __atomic_load_n(&pool->header->waiters[i], __ATOMIC_SEQ_CST);
        if (owner != 0 && pool_owner_is_dead(pool, owner)
            && __atomic_compare_exchange_n(&pool->header->waiters[i], &owner, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            owner = 0;
        if (owner != 0) anybody = true;
    }
    if (!anybody)
        __atomic_compare_exchange_n(&pool->header->waiting, &waiting, waiting & ~(uint64_t)POOL_I_WAITING, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_RELAXED);
}

/* n slots became free and `waiting` was not 0: wake as many that want one, and
 * all that want many, for whom it may be enough now. The release pairs with the
 * acquire of `event` in pool_i_round(). */
void pool_i_wake(pool_t *pool, uint64_t n, uint64_t waiting)
{
    uint32_t *event = &pool->header->event;
    uint64_t  woken;
    int       saved = errno;

    __atomic_fetch_add(event, 1, __ATOMIC_RELEASE);
    woken = pool_i_futex_wake(event, n, POOL_I_WAIT_ONE);
    if ((waiting & POOL_I_WAIT_MANY) != 0) woken += pool_i_futex_wake(event, INT_MAX, POOL_I_WAIT_MANY);
    if (woken == 0) pool_i_forget_waiters(pool, waiting);
    errno = saved;
}

/* Announce a waiter. A ticket gives `waiting` a value that it never had: a waker that was stopped in
 * pool_i_forget_waiters() and continues much later must not clear what was announced since. Pairs with
 * pool_i_announce(). */
static void pool_i_draw_ticket(pool_t *pool, uint32_t kind)
{
    uint64_t *waiting = &pool->header->waiting, was = __atomic_load_n(waiting, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(waiting, &was, (was | kind) + POOL_I_TICKET, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {}
}

/* An entry of the table of waiters, or -1 if it is full (then only slices wake this waiter). If a process
 * dies while it has one, the owner word in it tells. Entering pairs with the load in
 * pool_i_forget_waiters(). */
static int pool_i_enter(pool_t *pool, uint64_t owner)
{
    uint32_t i;
    for (i = 0; i < POOL_WAITERS; i++) {
        uint64_t nobody = 0;
        if (__atomic_load_n(&pool->header->waiters[i], __ATOMIC_RELAXED) == 0
            && __atomic_compare_exchange_n(&pool->header->waiters[i], &nobody, owner, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            return (int)i;
    }
    return -1;
}

/* Pairs with the next pool_i_enter(): the entry is whole when it is had again. */
static void pool_i_leave(pool_t *pool, int entry, uint64_t owner)
{
    if (entry >= 0) __atomic_compare_exchange_n(&pool->header->waiters[entry], &owner, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

/* Are there n free slots? Takes none, so that callers that want many do not take from each other what they
 * cannot use. Does not rely on the index, but repairs it. */
static bool pool_i_enough(pool_t *pool, uint64_t n)
{
    uint64_t group, slot, found = 0;
    for (group = 0; group < pool->groups && found < n; group++) {
        uint64_t end = pool_i_group_end(pool, group), before = found;
        if ((__atomic_load_n(&pool->touched[group / 64], __ATOMIC_ACQUIRE) >> group % 64 & 1) == 0) { /* pairs with pool_i_touch() */
            found += end - group * POOL_GROUP;
            continue;
        }
        for (slot = group * POOL_GROUP; slot < end; slot++)
            found += __atomic_load_n(&pool->records[slot].owner, __ATOMIC_SEQ_CST) == 0; /* pairs with pool_i_announce() */
        if (found > before && pool_i_mark_open(pool, group)) pool_i_wake_if_waiting(pool, POOL_I_ALL);
    }
    return found >= n;
}

/* Two callers that each took a part of what both want have both given it back: back off for a random
 * moment, so that one of them gets all. */
static int pool_i_step_aside(uint64_t me, int64_t deadline_ns)
{
    struct timespec pause = { 0, 0 };
    if (deadline_ns != POOL_FOREVER && deadline_ns <= pool_i_now()) return POOL_TIMEOUT;
    pause.tv_nsec = (long)(((uint64_t)pool_i_now() ^ me >> 7 ^ me) * 2654435769u % (uint64_t)(2 * POOL_I_MS));
    return nanosleep(&pause, NULL) != 0 ? POOL_INTERRUPTED : POOL_FULL;
}

/* A search by a process that is about to sleep; it also audits a part of the pool. */
static int pool_i_search(pool_t *pool, uint64_t me, uint64_t n, uint64_t *slots, bool *contended)
{
    uint64_t part = pool->capacity / POOL_I_AUDIT_WAIT_PART;
    int      code;

    *contended = false;
    if (n > 1) return pool_i_enough(pool, n) ? pool_i_try(pool, n, slots, contended) : (int)POOL_FULL;
    code = pool_i_try(pool, 1, slots, contended);
    if (code != POOL_FULL) return code;
    slots[0] = pool_i_audit(pool, me, part > POOL_I_AUDIT_WAIT ? part : POOL_I_AUDIT_WAIT);
    if (slots[0] == POOL_NONE) return POOL_FULL;
    return pool_i_finish(pool, slots[0], me) == POOL_NOSPC ? POOL_E_NOSPC : POOL_OK;
}

/* One round of waiting. The ticket is seq_cst, and so are the loads of the
 * search after it: see pool_i_announce(). */
static int pool_i_round(pool_t *pool, uint64_t n, int64_t deadline_ns, uint64_t *slots)
{
    uint64_t me = pool_i_me(pool), name = n > 1 ? me | POOL_I_BUSY : me;
    uint32_t event = __atomic_load_n(&pool->header->event, __ATOMIC_ACQUIRE); /* pairs with pool_i_wake() */
    uint32_t kind  = n > 1 ? POOL_I_WAIT_MANY : POOL_I_WAIT_ONE;
    int      entry = pool_i_enter(pool, name), code;
    bool     contended;

    pool_i_draw_ticket(pool, kind);
    code = pool_i_search(pool, me, n, slots, &contended);
    if (code == POOL_FULL && !contended) {
        code = pool_i_sleep(&pool->header->event, event, deadline_ns, kind);
        /* It may have been woken for a slot, and its caller may give up now (a handler that dies): take
         * the slot first. */
        if (code == POOL_FULL) code = pool_i_search(pool, me, n, slots, &contended);
    }
    pool_i_leave(pool, entry, name);
    return contended && code == POOL_FULL ? pool_i_step_aside(me, deadline_ns) : code;
}

/* Between two rounds: what an interrupted or sliced wait does. Returns POOL_FULL
 * to go on, else the result. */
static int pool_i_between(pool_t *pool, int code)
{
    if (code != POOL_FULL && code != POOL_INTERRUPTED) return code;
    if (pool->idle != NULL) {
        pool->idle();
        return POOL_FULL;
    }
    return code;
}

static void pool_i_recover_now_and_then(pool_t *pool)
{
    int64_t now;
    if (pool->auto_recover_ns <= 0) return;
    now = pool_i_now();
    if (now - __atomic_load_n(&pool->recovered_ns, __ATOMIC_RELAXED) < pool->auto_recover_ns) return;
    __atomic_store_n(&pool->recovered_ns, now, __ATOMIC_RELAXED);
    pool_recover(pool, NULL, NULL);
}

static void pool_i_count(uint64_t *counter, uint64_t n)
{
    __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

int pool_alloc_n(pool_t *pool, uint64_t n, int64_t timeout_ns, uint64_t *slots)
{
    int64_t deadline_ns;
    bool    contended;
    int     code;

    if (n == 0) return POOL_OK;
    if (n > pool->capacity) return POOL_FULL;
    code = pool_i_try(pool, n, slots, &contended);
    if (code != POOL_FULL || timeout_ns == 0 || pool->fixed) return code; /* what is fixed is waited for in vain */
    pool_i_count(&pool->header->waits, 1);
    deadline_ns = pool_i_deadline(timeout_ns);
    do {
        pool_i_recover_now_and_then(pool);
        code = pool_i_between(pool, pool_i_round(pool, n, deadline_ns, slots));
    } while (code == POOL_FULL);
    if (code == POOL_TIMEOUT) pool_i_count(&pool->header->timeouts, 1);
    return code;
}

/* The futex is the (low half of the) value itself. A change of only the upper
 * half of an int64 between the look and the sleep is seen a slice later. */
static uint32_t *pool_i_value_word(pool_t *pool, uint64_t slot)
{
    uint32_t *word = (uint32_t *)pool_ptr(pool, slot);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    if (pool->variant == POOL_I64) word++;
#endif
    return word;
}

int pool_wait(pool_t *pool, uint64_t slot, int64_t old, int64_t timeout_ns)
{
    int64_t deadline_ns = pool_i_deadline(timeout_ns);
    int     code;
    do {
        int64_t now = pool->variant == POOL_I64 ? pool_i64_get(pool, slot) : pool_i32_get(pool, slot);
        if (now != old) return POOL_OK;
        code =
            pool_i_between(pool, pool_i_sleep(pool_i_value_word(pool, slot), (uint32_t)(uint64_t)old, deadline_ns, FUTEX_BITSET_MATCH_ANY));
    } while (code == POOL_FULL);
    return code;
}

uint64_t pool_wake(pool_t *pool, uint64_t slot, uint64_t n)
{
    return pool_i_futex_wake(pool_i_value_word(pool, slot), n, FUTEX_BITSET_MATCH_ANY);
}

/* ------------------------------------------------------------------------
 * Free many, free exactly, own, recover
 * --------------------------------------------------------------------- */

uint64_t pool_free_n(pool_t *pool, const uint64_t *slots, uint64_t n)
{
    uint64_t i, freed = 0;
    bool     all = false;
    for (i = 0; i < n; i++) {
        if (!pool_i_free_quietly(pool, slots[i])) continue;
        if (pool_i_open_group_of(pool, slots[i]) == POOL_I_ALL) all = true;
        freed++;
    }
    if (freed > 0) pool_i_wake_if_waiting(pool, all ? POOL_I_ALL : freed);
    return freed;
}

/* BUSY keeps the slot from everybody while its generation is compared, so that
 * no other allocation can slip in between. Acquire: pairs with pool_i_publish(). */
bool pool_free_generation(pool_t *pool, uint64_t slot, uint64_t uses)
{
    uint64_t *owner = &pool->records[slot].owner, me = pool_i_me(pool), was = me;
    if (pool->fixed) return false;
    if (pool_generation(pool, slot) != uses) return false;
    if (!__atomic_compare_exchange_n(owner, &was, me | POOL_I_BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return false;
    if (pool_generation(pool, slot) != uses) {
        __atomic_store_n(owner, me, __ATOMIC_RELEASE); /* as pool_i_publish() */
        return false;
    }
    __atomic_store_n(&pool->hint, slot, __ATOMIC_RELAXED);
    pool_i_unclaim(pool, slot);
    return true;
}

/* owner -> heir for an allocated slot. Both orders: the heir takes over what
 * the last holder wrote (acquire) and may hand it on (release); pairs with
 * itself and with pool_i_release(). */
static bool pool_i_bequeath(pool_t *pool, uint64_t slot, uint64_t heir)
{
    uint64_t *word = &pool->records[slot].owner, owner = __atomic_load_n(word, __ATOMIC_RELAXED);
    while (owner != 0 && (owner & POOL_I_BUSY) == 0)
        if (__atomic_compare_exchange_n(word, &owner, heir, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) return true;
    return false;
}

bool pool_adopt(pool_t *pool, uint64_t slot)
{
    return pool_i_bequeath(pool, slot, pool_i_me(pool));
}

/* Orders as pool_i_bequeath(). */
bool pool_adopt_from(pool_t *pool, uint64_t slot, pid_t from)
{
    uint64_t *word = &pool->records[slot].owner, me = pool_i_me(pool), owner = __atomic_load_n(word, __ATOMIC_RELAXED);
    while (owner != 0 && (owner & POOL_I_BUSY) == 0 && pool_owner_pid(owner) == from)
        if (__atomic_compare_exchange_n(word, &owner, me, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) return true;
    return false;
}

bool pool_disown(pool_t *pool, uint64_t slot)
{
    return pool_i_bequeath(pool, slot, POOL_I_NOBODY);
}

/* One instruction gives it back: if this process dies here, it must leave the slot, with its contents, to
 * the next recovery. So it does not go through BUSY, as pool_free_generation() does. Only a thread of this
 * process could free and allocate it after the look. Pairs with the CAS of the next pool_i_recover_slot(). */
bool pool_unadopt(pool_t *pool, uint64_t slot, uint64_t uses, uint64_t owner)
{
    uint64_t me = pool_i_me(pool);
    return pool_generation(pool, slot) == uses
           && __atomic_compare_exchange_n(&pool->records[slot].owner, &me, owner, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

/* The judgements of one recovery, kept because a dead worker may have left a million slots. */
typedef struct pool_i_verdicts {
    uint64_t owner[64];
    bool     dead[64];
    bool     unknown_too; /* who cannot be judged is dead */
} pool_i_verdicts_t;

static bool pool_i_verdict(pool_t *pool, pool_i_verdicts_t *seen, uint64_t owner)
{
    uint64_t name = owner & ~POOL_I_BUSY, place = (name ^ name >> 32) % 64;
    if (name == 0 || name == POOL_I_NOBODY) return false;
    if (seen->owner[place] != name) {
        enum pool_life life = pool_owner_life(pool, name);
        seen->dead[place]   = life == POOL_DEAD || (life == POOL_UNKNOWN && seen->unknown_too);
        seen->owner[place]  = name;
    }
    return seen->dead[place];
}

/* Both orders: as pool_i_bequeath(). */
static bool pool_i_hand_over(pool_t *pool, uint64_t slot, uint64_t owner, uint64_t heir)
{
    return __atomic_compare_exchange_n(&pool->records[slot].owner, &owner, heir, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* Free one slot of a dead owner. With a callback the slot is adopted first, so
 * that a recoverer that dies meanwhile leaves it stale again, under its own name.
 * Both orders: as pool_i_bequeath(). */
static bool pool_i_recover_slot(pool_t *pool, uint64_t slot, uint64_t owner, pool_stale_fn *stale, void *context)
{
    uint64_t me = pool_i_me(pool), was = owner, uses = pool_generation(pool, slot); /* the dead cannot move it */
    if (pool->fixed && (stale == NULL || (owner & POOL_I_BUSY) != 0)) return pool_i_hand_over(pool, slot, owner, POOL_I_NOBODY);
    if (stale == NULL || (owner & POOL_I_BUSY) != 0) return pool_i_release(pool, slot, owner); /* BUSY: never was allocated */
    if (!__atomic_compare_exchange_n(&pool->records[slot].owner, &was, me, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) return false;
    if (pool->fixed) return stale(pool, slot, owner, context) && pool_i_hand_over(pool, slot, me, POOL_I_NOBODY);
    return stale(pool, slot, owner, context) && pool_free_generation(pool, slot, uses); /* not what it freed and took again */
}

static uint64_t pool_i_recover(pool_t *pool, bool unknown_too, pool_stale_fn *stale, void *context)
{
    pool_i_verdicts_t seen;
    uint64_t          group, slot, freed = 0;

    memset(&seen, 0, sizeof seen);
    seen.unknown_too = unknown_too;
    for (group = pool_i_next_touched(pool, 0); group < pool->groups; group = pool_i_next_touched(pool, group + 1)) {
        for (slot = group * POOL_GROUP; slot < pool_i_group_end(pool, group); slot++) {
            uint64_t owner = pool_owner_word(pool, slot);
            if (pool_i_verdict(pool, &seen, owner) && pool_i_recover_slot(pool, slot, owner, stale, context)) {
                freed++;
                pool_i_count(&pool->header->recoveries, 1);
            }
        }
        if (pool->levels != 0 && pool_i_has_free(pool, group)) pool_i_mark_open(pool, group);
    }
    pool_i_repair_upper(pool);
    pool_i_forget_waiters(pool, __atomic_load_n(&pool->header->waiting, __ATOMIC_SEQ_CST)); /* pairs with pool_i_round() */
    pool_i_wake_if_waiting(pool, POOL_I_ALL); /* also for slots that a dead freer announced to nobody, or only the index knew */
    return freed;
}

uint64_t pool_recover(pool_t *pool, pool_stale_fn *stale, void *context)
{
    return pool_i_recover(pool, false, stale, context);
}

uint64_t pool_recover_unknown(pool_t *pool, pool_stale_fn *stale, void *context)
{
    return pool_i_recover(pool, true, stale, context);
}

uint64_t pool_reset(pool_t *pool)
{
    uint64_t group, slot, freed = 0;
    if (pool->fixed) return 0;
    for (group = pool_i_next_touched(pool, 0); group < pool->groups; group = pool_i_next_touched(pool, group + 1)) {
        for (slot = group * POOL_GROUP; slot < pool_i_group_end(pool, group); slot++)
            freed += __atomic_exchange_n(&pool->records[slot].owner, 0, __ATOMIC_SEQ_CST) != 0; /* as pool_i_release() */
        pool_i_open_group_of(pool, group * POOL_GROUP);
    }
    pool_i_repair_upper(pool);
    pool_i_wake_if_waiting(pool, POOL_I_ALL);
    return freed;
}

void pool_auto_recover(pool_t *pool, int64_t every_ns)
{
    pool->auto_recover_ns = every_ns;
}

void pool_on_idle(pool_t *pool, void (*idle)(void))
{
    pool->idle = idle;
}

/* ------------------------------------------------------------------------
 * Data that takes more than an instruction
 * --------------------------------------------------------------------- */

/* Pairs with itself, pool_f64_get() and pool_f64_set(). */
static bool pool_i_f64_swap(uint64_t *word, uint64_t *was, double value)
{
    return __atomic_compare_exchange_n(word, was, pool_i_bits(value), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

double pool_f64_add(pool_t *pool, uint64_t slot, double delta)
{
    uint64_t *word = (uint64_t *)pool_ptr(pool, slot), was = __atomic_load_n(word, __ATOMIC_RELAXED);
    while (!pool_i_f64_swap(word, &was, pool_i_double(was) + delta)) {}
    return pool_i_double(was) + delta;
}

double pool_f64_cas(pool_t *pool, uint64_t slot, double old, double value, bool *done)
{
    uint64_t *word = (uint64_t *)pool_ptr(pool, slot), was = __atomic_load_n(word, __ATOMIC_ACQUIRE); /* pairs with pool_f64_set() */
    bool      ok = false;
    while (!ok && (pool_i_double(was) == old || was == pool_i_bits(old))) ok = pool_i_f64_swap(word, &was, value);
    if (done) *done = ok;
    return pool_i_double(was);
}

#define POOL_I_STR_UTF8 ((uint32_t)1 << 31) /* in the length word */

void pool_str_set(pool_t *pool, uint64_t slot, const char *text, uint32_t len, bool utf8)
{
    uint8_t *at   = (uint8_t *)pool_ptr(pool, slot);
    uint32_t head = len | (utf8 ? POOL_I_STR_UTF8 : 0);
    memcpy(at + POOL_STR_HEAD, text, len);
    memcpy(at, &head, sizeof head);
}

const char *pool_str_get(const pool_t *pool, uint64_t slot, uint32_t *len, bool *utf8)
{
    const char *at  = (const char *)pool_ptr(pool, slot);
    uint64_t    max = pool->elem_size - POOL_STR_HEAD;
    uint32_t    head;
    memcpy(&head, at, sizeof head); /* once: a peer may change it */
    *utf8 = (head & POOL_I_STR_UTF8) != 0;
    head &= ~POOL_I_STR_UTF8;
    *len = head < max ? head : (uint32_t)max;
    return at + POOL_STR_HEAD;
}

/* ------------------------------------------------------------------------
 * Status
 * --------------------------------------------------------------------- */

uint64_t pool_used(const pool_t *pool)
{
    uint64_t group, slot, used = 0;
    for (group = pool_i_next_touched(pool, 0); group < pool->groups; group = pool_i_next_touched(pool, group + 1)) {
        uint64_t end = pool_i_group_end(pool, group);
        for (slot = group * POOL_GROUP; slot < end; slot++) used += pool_owner_word(pool, slot) != 0;
    }
    return used;
}

uint64_t pool_next_held(const pool_t *pool, uint64_t from)
{
    uint64_t group;
    for (group = pool_i_next_touched(pool, from / POOL_GROUP); group < pool->groups; group = pool_i_next_touched(pool, group + 1)) {
        uint64_t slot = group * POOL_GROUP, end = pool_i_group_end(pool, group);
        for (slot = slot > from ? slot : from; slot < end; slot++)
            if (pool_owner_word(pool, slot) != 0) return slot;
    }
    return POOL_NONE;
}

uint64_t pool_next_allocated(const pool_t *pool, uint64_t from)
{
    uint64_t slot = pool_next_held(pool, from);
    while (slot != POOL_NONE && !pool_is_allocated(pool, slot)) slot = pool_next_held(pool, slot + 1);
    return slot;
}

/* How often the slot was freed: its uses, except for one that still goes on. Never more than is true at
 * the end of the look. `uses` is written while the owner is BUSY, before or after the look at the owner:
 * so for a slot that is BUSY, or whose owner changed meanwhile, the last use may be missing; it is counted
 * the next time. Acquire: pairs with pool_i_publish() and pool_i_claim(). */
static uint64_t pool_i_frees_of(const pool_t *pool, uint64_t slot)
{
    uint64_t before = __atomic_load_n(&pool->records[slot].owner, __ATOMIC_ACQUIRE);
    uint64_t uses   = __atomic_load_n(&pool->records[slot].uses, __ATOMIC_ACQUIRE) & ~POOL_I_TRIMMED;
    uint64_t after  = __atomic_load_n(&pool->records[slot].owner, __ATOMIC_RELAXED);
    return (before != 0 || after != 0) && uses > 0 ? uses - 1 : uses;
}

/* The larger of a number and of the one returned before, which it replaces. */
static uint64_t pool_i_never_back(uint64_t *said, uint64_t now)
{
    uint64_t was = __atomic_load_n(said, __ATOMIC_RELAXED);
    while (was < now && !__atomic_compare_exchange_n(said, &was, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    return was < now ? now : was;
}

void pool_stats(pool_t *pool, pool_counts_t *counts)
{
    uint64_t group, slot;
    uint32_t i;

    memset(counts, 0, sizeof *counts);
    for (group = pool_i_next_touched(pool, 0); group < pool->groups; group = pool_i_next_touched(pool, group + 1))
        for (slot = group * POOL_GROUP; slot < pool_i_group_end(pool, group); slot++) {
            counts->used += pool_owner_word(pool, slot) != 0;
            counts->allocs += pool_generation(pool, slot);
            counts->frees += pool_i_frees_of(pool, slot);
        }
    if (!pool->readonly) counts->frees = pool_i_never_back(&pool->header->frees, counts->frees);
    for (i = 0; i < POOL_WAITERS; i++) counts->waiters += __atomic_load_n(&pool->header->waiters[i], __ATOMIC_RELAXED) != 0;
    counts->waits      = __atomic_load_n(&pool->header->waits, __ATOMIC_RELAXED);
    counts->timeouts   = __atomic_load_n(&pool->header->timeouts, __ATOMIC_RELAXED);
    counts->recoveries = __atomic_load_n(&pool->header->recoveries, __ATOMIC_RELAXED);
}

const char *pool_strerror(int code)
{
    switch (code) {
    case POOL_OK: return "success";
    case POOL_FULL: return "no free slot";
    case POOL_TIMEOUT: return "timed out";
    case POOL_INTERRUPTED: return "interrupted by a signal";
    case POOL_E_ARGUMENT: return "invalid argument";
    case POOL_E_INVALID: return "invalid: not a pool";
    case POOL_E_MISMATCH: return "incompatible pool";
    case POOL_E_TOO_SMALL: return "file too small for its pool";
    case POOL_E_NOSPC: return "no space left on the filesystem";
    case POOL_E_SYSTEM: return "a system call failed";
    default: return "unknown code";
    }
}

/* ------------------------------------------------------------------------
 * Create and attach
 * --------------------------------------------------------------------- */

static void pool_i_fail(pool_error_t *err, int code, int sys_errno, const char *format, ...) __attribute__((format(printf, 4, 5)));

static void pool_i_fail(pool_error_t *err, int code, int sys_errno, const char *format, ...)
{
    size_t  length;
    va_list arguments;
    if (err == NULL) return;
    err->code      = code;
    err->sys_errno = sys_errno;
    va_start(arguments, format);
    vsnprintf(err->text, sizeof err->text, format, arguments);
    va_end(arguments);
    length = strlen(err->text);
    if (sys_errno != 0 && length < sizeof err->text) snprintf(err->text + length, sizeof err->text - length, ": %s", strerror(sys_errno));
}

const char *pool_variant_name(uint32_t variant)
{
    static const char *const names[] = { "unknown", "raw", "I64", "I32", "F64", "Str" };
    return names[variant < sizeof names / sizeof *names ? variant : 0];
}

static uint64_t pool_i_round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* The size a variant implies; 0: any. */
static uint64_t pool_i_fixed_size(uint32_t variant)
{
    if (variant == POOL_I64 || variant == POOL_F64) return 8;
    return variant == POOL_I32 ? 4 : 0;
}

static bool pool_i_check_spec(const pool_spec_t *spec, pool_error_t *err)
{
    uint64_t fixed = pool_i_fixed_size(spec->variant), least = spec->variant == POOL_STR ? POOL_STR_HEAD + 1 : 1;

    if (spec->variant < POOL_RAW || spec->variant > POOL_STR)
        pool_i_fail(err, POOL_E_ARGUMENT, 0, "unknown variant %u", (unsigned)spec->variant);
    else if (spec->capacity < 1 || spec->capacity > POOL_MAX_CAPACITY)
        pool_i_fail(err, POOL_E_ARGUMENT, 0, "capacity must be from 1 to %llu slots, not %llu", (unsigned long long)POOL_MAX_CAPACITY,
                    (unsigned long long)spec->capacity);
    else if (spec->elem_size < least || spec->elem_size > POOL_MAX_ELEM_SIZE || (spec->variant == POOL_STR && spec->elem_size >> 31 != 0))
        pool_i_fail(err, POOL_E_ARGUMENT, 0, "element size %llu bytes is out of bounds", (unsigned long long)spec->elem_size);
    else if (fixed != 0 && spec->elem_size != fixed)
        pool_i_fail(err, POOL_E_ARGUMENT, 0, "an element of %s has %llu bytes, not %llu", pool_variant_name(spec->variant),
                    (unsigned long long)fixed, (unsigned long long)spec->elem_size);
    else if (spec->capacity > POOL_MAX_BYTES / 2 / (spec->elem_size + sizeof(pool_record_t)))
        pool_i_fail(err, POOL_E_ARGUMENT, 0, "%llu slots of %llu bytes are more than memory can hold", (unsigned long long)spec->capacity,
                    (unsigned long long)spec->elem_size);
    else if ((spec->flags & (POOL_SPARSE | POOL_POPULATE)) == (POOL_SPARSE | POOL_POPULATE))
        pool_i_fail(err, POOL_E_ARGUMENT, 0, "a pool is sparse or populated, not both");
    else if ((spec->flags & (POOL_SPARSE | POOL_FIXED)) == (POOL_SPARSE | POOL_FIXED))
        pool_i_fail(err, POOL_E_ARGUMENT, 0, "a pool is sparse or fixed, not both: all slots of a fixed one are used");
    else
        return true;
    return false;
}

/* Derive every offset from a checked spec; the mapping is at `base` (0: only the sizes are needed so far). */
static void pool_i_lay_out(pool_t *pool, const pool_spec_t *spec, uintptr_t base)
{
    uint64_t at = sizeof(pool_header_t), bits = (spec->capacity + POOL_GROUP - 1) / POOL_GROUP;

    pool->variant   = spec->variant;
    pool->capacity  = spec->capacity;
    pool->elem_size = spec->elem_size;
    pool->fixed     = (spec->flags & POOL_FIXED) != 0;
    pool->readonly  = (spec->flags & POOL_READONLY) != 0;
    pool->groups    = bits;
    pool->header    = (pool_header_t *)base;
    pool->touched   = (uint64_t *)(base + at);
    at              = pool_i_round_up(at + (bits + 63) / 64 * 8, 64);
    for (pool->levels = 0; bits > (pool->levels == 0 ? POOL_I_UNINDEXED : 1u); pool->levels++) {
        pool->full[pool->levels]       = (uint64_t *)(base + at);
        pool->level_bits[pool->levels] = bits;
        bits                           = (bits + 63) / 64;
        at                             = pool_i_round_up(at + bits * 8, 64);
    }
    if ((spec->flags & POOL_SPARSE) != 0) {
        pool->extents = (uint64_t *)(base + at);
        bits          = (spec->capacity * spec->elem_size + POOL_I_EXTENT - 1) / POOL_I_EXTENT;
        at            = pool_i_round_up(at + (bits + 63) / 64 * 8, 64);
    }
    pool->records     = (pool_record_t *)(base + at);
    pool->data_offset = at = pool_i_round_up(at + spec->capacity * sizeof(pool_record_t), 64);
    pool->data             = (uint8_t *)(base + at);
    /* A few zero bytes after the last slot: C code may look for the end of a string. */
    pool->total_size = pool_i_round_up(at + spec->capacity * spec->elem_size + 64, POOL_I_PAGE);
}

/* Mark all slots as disowned, before the pool is complete. Another process that does the same
 * (pool_open_at()) may be late, when the pool is in use already: existing owners stay. */
static void pool_i_fix_all(pool_t *pool)
{
    uint64_t slot, word;
    uint32_t level;
    for (slot = 0; slot < pool->capacity; slot++) {
        uint64_t nobody = 0;
        if (slot % POOL_GROUP == 0) pool_i_touch(pool, slot / POOL_GROUP);
        __atomic_store_n(&pool->records[slot].uses, 1, __ATOMIC_RELAXED);
        __atomic_compare_exchange_n(&pool->records[slot].owner, &nobody, POOL_I_NOBODY, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    }
    for (level = 0; level < pool->levels; level++)
        for (word = 0; word * 64 < pool->level_bits[level]; word++)
            __atomic_store_n(&pool->full[level][word], UINT64_MAX, __ATOMIC_RELAXED);
}

/* Initialise a mapping of zeros. The magic number is stored last and as a whole (release; pairs with the
 * read in pool_i_read_header()): once it is there, this is a pool whose group 0 is touched, even if its
 * creator dies right afterwards. */
static void pool_i_initialise(pool_t *pool, const pool_spec_t *spec)
{
    pool_header_t *header = pool->header;
    uint32_t       level;

    /* For a pool in memory, several processes may do this at once, and each writes the same. */
    __atomic_store_n(&header->version, POOL_VERSION, __ATOMIC_RELAXED);
    __atomic_store_n(&header->variant, spec->variant, __ATOMIC_RELAXED);
    __atomic_store_n(&header->capacity, spec->capacity, __ATOMIC_RELAXED);
    __atomic_store_n(&header->elem_size, spec->elem_size, __ATOMIC_RELAXED);
    __atomic_store_n(&header->flags, spec->flags & (POOL_SPARSE | POOL_FIXED), __ATOMIC_RELAXED);
    __atomic_store_n(&header->total_size, pool->total_size, __ATOMIC_RELAXED);
    for (level = 0; level < pool->levels; level++) /* what is past the end is never open */
        if (pool->level_bits[level] % 64 != 0)
            __atomic_fetch_or(&pool->full[level][pool->level_bits[level] / 64], UINT64_MAX << pool->level_bits[level] % 64,
                              __ATOMIC_RELAXED);
    pool_i_touch(pool, 0);
    if (pool->fixed) pool_i_fix_all(pool);
    __atomic_store_n(&header->magic, POOL_MAGIC, __ATOMIC_RELEASE);
}

/* ---- Descriptors. A program may close any (daemons close all), and its next file
 * gets the number. So a kept number is compared with what it was before it is
 * used, a sparse pool keeps none, and none is kept of those that perl and the
 * shell take for standard input and output. */

/* A folder of descriptors and a number, written without stdio: a signal handler may notify. */
static const char *pool_i_fd_path(const char *folder, int fd, char path[40])
{
    char *at = path + 39;
    *at      = '\0';
    do *--at = (char)('0' + fd % 10);
    while ((fd /= 10) != 0);
    at -= strlen(folder);
    memcpy(at, folder, strlen(folder));
    return at;
}

#define POOL_I_EVENT_UNKNOWN 1u

/* Which eventfd an anonymous inode is (for fstat, all of them are the same). 0: none.
 * POOL_I_EVENT_UNKNOWN: an eventfd, or something else that ignores reads and writes of 8 bytes (/proc
 * cannot be read, or the kernel is older than 5.2). Other numbers are never given to another eventfd while
 * the machine runs. */
static uint64_t pool_i_event(int fd)
{
    char              text[512], path[40];
    const char       *id;
    struct itimerspec timer;

    if (pool_i_read_file(pool_i_fd_path("/proc/self/fdinfo/", fd, path), text, sizeof text) > 0) {
        if (strstr(text, "eventfd-count:") == NULL) return 0;
        if ((id = strstr(text, "eventfd-id: ")) == NULL) return POOL_I_EVENT_UNKNOWN;
        return POOL_I_EVENT_UNKNOWN + 1 + pool_i_number(id + strlen("eventfd-id: "));
    }
    return timerfd_gettime(fd, &timer) == 0 ? 0 : POOL_I_EVENT_UNKNOWN;
}

/* What a descriptor is. False: nothing. */
static bool pool_i_look(int fd, pool_file_t *file)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) return false;
    file->device = (uint64_t)st.st_dev;
    file->inode  = (uint64_t)st.st_ino;
    file->event  = (st.st_mode & S_IFMT) == 0 ? pool_i_event(fd) : 0;
    return true;
}

/* Is the descriptor still what it was? */
static bool pool_i_is_still(int fd, const pool_file_t *was)
{
    pool_file_t now;
    if (!pool_i_look(fd, &now) || now.device != was->device || now.inode != was->inode) return false;
    if (now.event == was->event) return true;
    return now.event != 0 && was->event != 0 && (now.event == POOL_I_EVENT_UNKNOWN || was->event == POOL_I_EVENT_UNKNOWN);
}

/* Give a new descriptor that is to be kept a number above those of standard
 * input, output and error, which a program may have closed. */
static int pool_i_keep(int fd)
{
    int kept;
    if (fd < 0 || fd > STDERR_FILENO) return fd;
    kept = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    close(fd);
    return kept;
}

int pool_descriptor(const pool_t *pool)
{
    return pool_i_is_still(pool->fd, &pool->file) ? pool->fd : -1;
}

/* A descriptor of the pool's file, for the caller to close; -1: none can be had. */
static int pool_i_open_again(const pool_t *pool)
{
    int fd = pool_descriptor(pool);
    if (fd >= 0) return fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (!pool_is_at_path(pool)) return -1;
    fd = open(pool->absolute, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || pool_i_is_still(fd, &pool->file)) return fd;
    close(fd); /* it was replaced just now */
    return -1;
}

/* Like pool_i_open_again(), but opens the file again, so that its locks are not those of the mapping. */
static int pool_i_open_anew(const pool_t *pool)
{
    const int flags = (pool->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    char      path[40];
    int       kept = pool_descriptor(pool), fd = -1;

    if (kept >= 0)
        fd = open(pool_i_fd_path("/proc/self/fd/", kept, path), flags);
    else if (pool_is_at_path(pool))
        fd = open(pool->absolute, flags);
    if (fd < 0 || pool_i_is_still(fd, &pool->file)) return fd;
    close(fd); /* it was replaced just now */
    return -1;
}

static pool_t *pool_i_new_handle(const char *path, pool_error_t *err)
{
    pool_t *pool = (pool_t *)calloc(1, sizeof *pool);
    char    folder[PATH_MAX];

    if (pool == NULL) {
        pool_i_fail(err, POOL_E_SYSTEM, ENOMEM, "no memory for a handle");
        return NULL;
    }
    if (path != NULL) {
        pool->path = strdup(path);
        if (path[0] != '/' && getcwd(folder, sizeof folder) != NULL
            && (pool->absolute = (char *)malloc(strlen(folder) + strlen(path) + 2)) != NULL)
            sprintf(pool->absolute, "%s/%s", folder, path);
        else
            pool->absolute = strdup(path);
    }
    pool->fd         = -1;
    pool->event_fd   = -1;
    pool->references = 1;
    if ((path == NULL || (pool->path != NULL && pool->absolute != NULL)) && pool_identify()) return pool;
    pool_i_fail(err, POOL_E_SYSTEM, ENOMEM, "no memory for a handle");
    pool_close(pool);
    return NULL;
}

/* Map the pool of this geometry from fd (-1: anonymous memory). Consumes the
 * handle where it fails. */
static pool_t *pool_i_map(pool_t *pool, int fd, const pool_spec_t *spec, pool_error_t *err)
{
    int   flags = MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0) | ((spec->flags & POOL_POPULATE) != 0 ? MAP_POPULATE : 0);
    void *base;

    pool_i_lay_out(pool, spec, 0);
    base = mmap(NULL, pool->total_size, PROT_READ | (pool->readonly ? 0 : PROT_WRITE), flags, fd, 0);
    if (base == MAP_FAILED) {
        pool_i_fail(err, POOL_E_SYSTEM, errno, "cannot map %llu bytes", (unsigned long long)pool->total_size);
        pool->header = NULL;
        pool_close(pool);
        return NULL;
    }
    pool_i_lay_out(pool, spec, (uintptr_t)base);
    if (fd < 0) return pool;
    pool_i_look(fd, &pool->file);
    pool_i_hold(pool, fd);
    return pool;
}

/* The creator of a pool starts at its first slot; others start elsewhere. */
static pool_t *pool_i_ready(pool_t *pool, bool created)
{
    uint64_t me = pool_i_identify(pool); /* from here on pool->me is never 0 */
    if (!created && !pool->readonly) pool_i_seed_hint(pool, me);
    return pool;
}

enum pool_i_found { POOL_I_WHOLE, POOL_I_UNFINISHED, POOL_I_FOREIGN };

/* Read the header with a system call: a file that is not a pool is never mapped. A creator may be at work
 * meanwhile, and writes the magic number last: the rest of the header and the size are read after the
 * magic was seen. */
static enum pool_i_found pool_i_read_header(int fd, pool_header_t *header, uint64_t *size)
{
    const size_t wanted = offsetof(pool_header_t, pad0);
    uint64_t     magic  = 0;
    ssize_t      got    = pread(fd, &magic, sizeof magic, 0);
    struct stat  st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return POOL_I_FOREIGN;
    *size = (uint64_t)st.st_size;
    if (got == 0 || (got == (ssize_t)sizeof magic && magic == POOL_MAGIC_CREATING)) return POOL_I_UNFINISHED;
    if (got != (ssize_t)sizeof magic || magic != POOL_MAGIC) return POOL_I_FOREIGN;
    memset(header, 0, wanted);
    return pread(fd, header, wanted, 0) > 0 ? POOL_I_WHOLE : POOL_I_FOREIGN;
}

/* Is the header consistent, and does it agree with what is wanted? Completes `spec`. */
static bool pool_i_check_header(const pool_header_t *header, uint64_t size, pool_spec_t *spec, const char *name, pool_error_t *err)
{
    pool_spec_t found = *spec;
    pool_t      layout;

    memset(&layout, 0, sizeof layout);
    found.variant   = header->variant;
    found.capacity  = header->capacity;
    found.elem_size = header->elem_size;
    found.flags     = header->flags;
    if (header->version != POOL_VERSION) {
        pool_i_fail(err, POOL_E_MISMATCH, 0, "incompatible pool %s: its format version is %u, this library's is %u", name,
                    (unsigned)header->version, POOL_VERSION);
        return false;
    }
    if (spec->variant != POOL_ANY && spec->variant != found.variant) {
        pool_i_fail(err, POOL_E_MISMATCH, 0, "incompatible pool %s: its variant is %s, not %s", name, pool_variant_name(found.variant),
                    pool_variant_name(spec->variant));
        return false;
    }
    if (!pool_i_check_spec(&found, NULL) || (header->flags & ~(POOL_SPARSE | POOL_FIXED)) != 0) {
        pool_i_fail(err, POOL_E_INVALID, 0, "invalid pool %s: its header makes no sense", name);
        return false;
    }
    if (spec->capacity != 0 && spec->capacity != found.capacity) {
        pool_i_fail(err, POOL_E_MISMATCH, 0, "incompatible pool %s: its capacity is %llu slots, not %llu", name,
                    (unsigned long long)found.capacity, (unsigned long long)spec->capacity);
        return false;
    }
    if ((spec->flags & POOL_FIXED) != 0 && (found.flags & POOL_FIXED) == 0) {
        pool_i_fail(err, POOL_E_MISMATCH, 0, "incompatible pool %s: its slots are not fixed", name);
        return false;
    }
    if (spec->elem_size != 0 && spec->elem_size != found.elem_size) {
        pool_i_fail(err, POOL_E_MISMATCH, 0, "incompatible pool %s: its element size is %llu bytes, not %llu", name,
                    (unsigned long long)found.elem_size, (unsigned long long)spec->elem_size);
        return false;
    }
    pool_i_lay_out(&layout, &found, 0);
    if (header->total_size != layout.total_size) {
        pool_i_fail(err, POOL_E_INVALID, 0, "invalid pool %s: its header makes no sense", name);
        return false;
    }
    if (size < layout.total_size) {
        pool_i_fail(err, POOL_E_TOO_SMALL, 0, "%s is too small for its pool: %llu bytes of %llu", name, (unsigned long long)size,
                    (unsigned long long)layout.total_size);
        return false;
    }
    found.flags |= spec->flags & ((found.flags & POOL_SPARSE) == 0 ? POOL_POPULATE | POOL_READONLY : POOL_READONLY);
    *spec = found;
    return true;
}

/* Attach to the whole pool behind fd. Consumes the handle where it fails. */
static pool_t *pool_i_attach(pool_t *pool, int fd, const pool_header_t *header, uint64_t size, const pool_spec_t *want, pool_error_t *err)
{
    const char *name = pool->path != NULL ? pool->path : "behind the descriptor";
    pool_spec_t spec = *want;

    if (!pool_i_check_header(header, size, &spec, name, err)) {
        pool_close(pool);
        return NULL;
    }
    if ((pool = pool_i_map(pool, fd, &spec, err)) == NULL) return NULL;
    return pool_i_ready(pool, false);
}

/* Reserve the blocks of [0, size), so that a full disk is an error now, not a SIGBUS later. If the
 * filesystem cannot do that, write zeros; a sparse pool needs a filesystem that can. Returns an errno. */
static int pool_i_reserve_file(int fd, uint64_t size, bool sparse)
{
    static const char zeros[65536] = { 0 };
    uint64_t          at           = 0;

    while (fallocate(fd, 0, 0, (off_t)size) != 0) {
        if (errno == EINTR) continue;
        if (sparse || (errno != EOPNOTSUPP && errno != ENOSYS)) return errno;
        while (at < size) {
            ssize_t wrote = pwrite(fd, zeros, size - at < sizeof zeros ? size - at : sizeof zeros, (off_t)at);
            if (wrote < 0 && errno != EINTR) return errno;
            if (wrote > 0) at += (uint64_t)wrote;
        }
        return 0;
    }
    return 0;
}

/* Writing a file larger than RLIMIT_FSIZE means death by SIGXFSZ: check first. Returns an errno. */
static int pool_i_check_limit(uint64_t size)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur ? EFBIG : 0;
}

/* Make the empty or unfinished file a pool. The caller holds its lock. The file
 * says "creating" from its first byte on, until the header is whole: a creator
 * may die at any system call, and the next one starts anew. */
static pool_t *pool_i_build(pool_t *pool, int fd, const pool_spec_t *spec, pool_error_t *err)
{
    const uint64_t creating = POOL_MAGIC_CREATING;
    const bool     sparse   = (spec->flags & POOL_SPARSE) != 0;
    int            code;

    pool_i_lay_out(pool, spec, 0);
    code = pool_i_check_limit(pool->total_size);
    if (code == 0 && (spec->flags & POOL_MODE) != 0 && fchmod(fd, (mode_t)spec->mode) != 0) code = errno;
    if (code == 0 && ftruncate(fd, 0) != 0) code = errno;
    if (code == 0 && pwrite(fd, &creating, sizeof creating, 0) != (ssize_t)sizeof creating) code = errno != 0 ? errno : ENOSPC;
    if (code == 0) code = pool_i_reserve_file(fd, sparse ? pool->data_offset : pool->total_size, sparse);
    if (code == 0 && sparse && ftruncate(fd, (off_t)pool->total_size) != 0) code = errno;
    if (code != 0) {
        pool_i_fail(err, code == ENOSPC || code == EDQUOT ? POOL_E_NOSPC : POOL_E_SYSTEM, code, "cannot create pool %s of %llu bytes",
                    pool->path, (unsigned long long)pool->total_size);
        pool->header = NULL;
        pool_close(pool);
        return NULL;
    }
    if ((pool = pool_i_map(pool, fd, spec, err)) == NULL) return NULL;
    pool_i_initialise(pool, spec);
    return pool_i_ready(pool, true);
}

/* Is the file that fd is open on still the one at `path`? A creator that failed
 * has removed it. */
static bool pool_i_same_file(int fd, const char *path)
{
    struct stat by_fd, by_path;
    return fstat(fd, &by_fd) == 0 && stat(path, &by_path) == 0 && by_fd.st_ino == by_path.st_ino && by_fd.st_dev == by_path.st_dev;
}

/* ---- What others plant. In a directory where others may write a path can be anything
 * of theirs: a link to a file of ours, an empty file that they keep the right to cut
 * short. That does not become a pool. */

/* The directory that a path is in; false: too long. */
static bool pool_i_folder_of(const char *path, char folder[PATH_MAX])
{
    const char *slash  = strrchr(path, '/');
    size_t      length = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (length >= PATH_MAX) return false;
    memcpy(folder, length == 0 ? "." : path, length == 0 ? 1 : length);
    folder[length == 0 ? 1 : length] = '\0';
    return true;
}

/* May the link at `path` be followed? It may if nobody else could have put it there; links of /proc
 * (/proc/PID/fd/N) are the kernel's. */
static bool pool_i_may_follow(const char *path)
{
    const long    proc = 0x9fa0; /* PROC_SUPER_MAGIC */
    char          folder[PATH_MAX];
    struct stat   st;
    struct statfs fs;
    if (!pool_i_folder_of(path, folder) || stat(folder, &st) != 0) return false;
    if (statfs(folder, &fs) == 0 && (long)fs.f_type == proc) return true;
    return (st.st_mode & (S_IWGRP | S_IWOTH)) == 0 && (st.st_uid == 0 || st.st_uid == geteuid());
}

/* Is the file of this user, with no other name? */
static bool pool_i_is_own(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_uid == geteuid() && st.st_nlink <= 1;
}

/* Open the file, creating it where the caller gave a geometry. */
static int pool_i_open_file(const char *path, bool readonly, bool may_create, bool *created)
{
    const int flags = (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int       fd = -1, links = O_NOFOLLOW, tries;
    for (tries = 0; tries < 1000; tries++) { /* a dangling link both exists and does not exist, for ever */
        *created = may_create && (fd = open(path, flags | O_CREAT | O_EXCL, 0600)) >= 0;
        if (*created) return fd;
        if (may_create && errno != EEXIST) return -1;
        fd = open(path, flags | links);
        if (fd < 0 && errno == ELOOP && links != 0) {
            if (!pool_i_may_follow(path))
                errno = ELOOP;
            else {
                links = 0;
                fd    = open(path, flags);
            }
        }
        if (fd >= 0 || !may_create || errno != ENOENT) return fd; /* ENOENT: it was removed just now */
    }
    return fd;
}

/* Why the file cannot be opened, from errno. */
static void pool_i_cannot_open(const char *path, bool may_create, pool_error_t *err)
{
    const char *format = may_create ? "cannot create or open pool %s" : "cannot open pool %s";
    int         why    = errno;
    if (why == ELOOP) format = "cannot open pool %s: it is a link where others may write, and is not followed";
    if ((why == EACCES || why == EROFS || why == EPERM) && faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0)
        format = "cannot open pool %s: writing is needed (to read only, attach with the option readonly)";
    pool_i_fail(err, POOL_E_SYSTEM, why, format, path);
}

/* Under the lock of the file: look again, and build the pool if nobody has done so. *again: the path is
 * another file now, and the caller keeps the handle. */
static pool_t *pool_i_create(pool_t *pool, int fd, const char *path, bool created, const pool_spec_t *want, bool *again, pool_error_t *err)
{
    pool_header_t     header;
    uint64_t          size;
    enum pool_i_found found;

    *again = !pool_i_same_file(fd, path);
    if (*again) return NULL;
    found = pool_i_read_header(fd, &header, &size);
    if (found == POOL_I_WHOLE) return pool_i_attach(pool, fd, &header, size, want, err);
    if (found == POOL_I_FOREIGN) {
        pool_i_fail(err, POOL_E_INVALID, 0, "%s is invalid: not a pool", path);
        pool_close(pool);
        return NULL;
    }
    if (!created && !pool_i_is_own(fd)) {
        pool_i_fail(err, POOL_E_INVALID, 0, "%s is invalid: not a pool, but an empty file of another user, or one with several names",
                    path);
        pool_close(pool);
        return NULL;
    }
    pool = pool_i_build(pool, fd, want, err);
    if (pool == NULL && created) unlink(path);
    if (pool == NULL && !created && ftruncate(fd, 0) != 0) {} /* as it was: empty, or at worst unfinished */
    return pool;
}

/* Wait for the file's lock, in which pools are created. */
static int pool_i_lock_file(int fd)
{
    return flock(fd, LOCK_EX) == 0 ? POOL_OK : errno == EINTR ? POOL_INTERRUPTED : POOL_E_SYSTEM;
}

static pool_t *pool_i_open_path(const char *path, const pool_spec_t *want, pool_error_t *err)
{
    const bool            readonly   = (want->flags & POOL_READONLY) != 0;
    const bool            may_create = want->capacity != 0 && want->elem_size != 0 && !readonly;
    const struct timespec moment     = { 0, POOL_I_MS };
    pool_header_t         header;
    pool_t               *pool = NULL;
    bool                  created, again;
    int                   fd, code, patience = 500;
    uint64_t              size;

    do {
        again = false;
        if ((fd = pool_i_open_file(path, readonly, may_create, &created)) < 0) {
            pool_i_cannot_open(path, may_create, err);
            return NULL;
        }
        if ((pool = pool_i_new_handle(path, err)) == NULL) {
            close(fd);
            return NULL;
        }
        switch (pool_i_read_header(fd, &header, &size)) {
        case POOL_I_WHOLE: pool = pool_i_attach(pool, fd, &header, size, want, err); break;
        case POOL_I_UNFINISHED:
            if (may_create && !created && patience-- > 0 && !pool_i_is_own(fd)) { /* its creator may be about to lock it */
                nanosleep(&moment, NULL);
                pool_close(pool);
                again = true;
                break;
            }
            if (may_create && (code = pool_i_lock_file(fd)) == POOL_OK) {
                pool_t *built = pool_i_create(pool, fd, path, created, want, &again, err);
                if (again) pool_close(pool);
                pool = built;
                flock(fd, LOCK_UN); /* by name: a forked child may hold the descriptor, too */
                break;
            }
            if (may_create)
                pool_i_fail(err, code, code == POOL_INTERRUPTED ? 0 : errno, "cannot lock %s", path);
            else
                pool_i_fail(err, POOL_E_INVALID, 0, "%s is invalid: an empty file, not a pool, and no size was given to make it one", path);
            pool_close(pool);
            pool = NULL;
            break;
        case POOL_I_FOREIGN:
            pool_i_fail(err, POOL_E_INVALID, 0, "%s is invalid: not a pool", path);
            pool_close(pool);
            pool = NULL;
        }
        close(fd);
    } while (again);
    return pool;
}

pool_t *pool_open(const char *path, const pool_spec_t *want, pool_error_t *err)
{
    pool_t *pool;
    (void)pool_identify(); /* while there is a descriptor to do it with */
    if (path == NULL || want->capacity != 0)
        if (!pool_i_check_spec(want, err)) return NULL;
    if (path != NULL) return pool_i_open_path(path, want, err);
    if ((want->flags & (POOL_SPARSE | POOL_MODE | POOL_READONLY)) != 0) {
        pool_i_fail(err, POOL_E_ARGUMENT, 0, "an anonymous pool has no file for the options sparse and mode, and is not readonly");
        return NULL;
    }
    if ((pool = pool_i_new_handle(NULL, err)) == NULL || (pool = pool_i_map(pool, -1, want, err)) == NULL) return NULL;
    pool_i_initialise(pool, want);
    return pool_i_ready(pool, true);
}

pool_t *pool_open_memfd(const char *name, const pool_spec_t *want, pool_error_t *err)
{
    pool_t *pool;
    if (!pool_i_check_spec(want, err)) return NULL;
    if ((want->flags & (POOL_SPARSE | POOL_MODE | POOL_READONLY)) != 0) {
        pool_i_fail(err, POOL_E_ARGUMENT, 0, "a new memfd has no use for the options sparse, mode and readonly");
        return NULL;
    }
    if ((pool = pool_i_new_handle(NULL, err)) == NULL) return NULL;
    pool_i_lay_out(pool, want, 0);
    pool->header   = NULL;
    pool->is_memfd = true;
    pool->fd       = pool_i_keep((int)syscall(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (pool->fd >= 0) errno = pool_i_check_limit(pool->total_size);
    if (pool->fd < 0 || errno != 0 || ftruncate(pool->fd, (off_t)pool->total_size) != 0
        || fcntl(pool->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
        pool_i_fail(err, POOL_E_SYSTEM, errno, "cannot create a memfd of %llu bytes", (unsigned long long)pool->total_size);
        pool_close(pool);
        return NULL;
    }
    if ((pool = pool_i_map(pool, pool->fd, want, err)) == NULL) return NULL;
    pool_i_initialise(pool, want);
    return pool_i_ready(pool, true);
}

pool_t *pool_open_fd(int fd, const pool_spec_t *want, pool_error_t *err)
{
    pool_header_t header;
    struct stat   st;
    uint64_t      size;
    pool_t       *pool;
    int           anew;

    (void)pool_identify();
    if (fstat(fd, &st) != 0) {
        pool_i_fail(err, POOL_E_SYSTEM, errno, "invalid file descriptor %d", fd);
        return NULL;
    }
    if (pool_i_read_header(fd, &header, &size) != POOL_I_WHOLE) {
        pool_i_fail(err, POOL_E_INVALID, 0, "descriptor %d is invalid: not a pool", fd);
        return NULL;
    }
    if ((pool = pool_i_new_handle(NULL, err)) == NULL) return NULL;
    if ((pool->fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)) < 0) {
        pool_i_fail(err, POOL_E_SYSTEM, errno, "cannot duplicate descriptor %d", fd);
        pool_close(pool);
        return NULL;
    }
    pool->is_memfd = st.st_nlink == 0;
    /* Opened again; otherwise the lock of our namespace would be held by all who have the descriptor. */
    (void)pool_i_look(pool->fd, &pool->file);
    anew = pool_i_open_anew(pool);
    pool = pool_i_attach(pool, anew >= 0 ? anew : pool->fd, &header, size, want, err);
    if (anew >= 0) close(anew);
    return pool;
}

uint64_t pool_size(const pool_spec_t *want)
{
    pool_t layout;
    memset(&layout, 0, sizeof layout);
    if (!pool_i_check_spec(want, NULL)) return 0;
    pool_i_lay_out(&layout, want, 0);
    return layout.total_size;
}

/* All processes that initialise memory of zeros as a pool store the same values, and do so before the
 * magic number: several may do it at once. Acquire: pairs with pool_i_initialise(). */
pool_t *pool_open_at(void *memory, uint64_t size, const pool_spec_t *want, pool_error_t *err)
{
    pool_header_t *header = (pool_header_t *)memory, found;
    pool_spec_t    spec   = *want;
    pool_t        *pool;
    size_t         word;
    int            code;

    if (!pool_i_check_spec(want, err)) return NULL;
    if ((want->flags & POOL_READONLY) != 0) {
        pool_i_fail(err, POOL_E_ARGUMENT, 0, "a pool in memory is not readonly");
        return NULL;
    }
    if (pool_size(want) > size) {
        pool_i_fail(err, POOL_E_TOO_SMALL, 0, "%llu bytes are too few for a pool of %llu", (unsigned long long)size,
                    (unsigned long long)pool_size(want));
        return NULL;
    }
    if ((pool = pool_i_new_handle(NULL, err)) == NULL) return NULL;
    pool->is_borrowed = true;
    pool_i_lay_out(pool, want, (uintptr_t)memory);
    if (pool_i_is_blank(memory, &code))
        code = pool_i_populate(memory, (want->flags & POOL_SPARSE) != 0 ? pool->data_offset : pool->total_size);
    if (code != 0) {
        pool_i_fail(err, code == ENOSPC ? POOL_E_NOSPC : POOL_E_SYSTEM, code, "cannot reserve memory for a pool");
        pool_close(pool);
        return NULL;
    }
    if (__atomic_load_n(&header->magic, __ATOMIC_ACQUIRE) == 0) {
        pool_i_initialise(pool, want);
        return pool_i_ready(pool, true);
    }
    for (word = 0; word < offsetof(pool_header_t, pad0) / 8; word++) /* another may still be writing the same, see above */
        ((uint64_t *)(void *)&found)[word] = __atomic_load_n((const uint64_t *)memory + word, __ATOMIC_RELAXED);
    if (found.magic == POOL_MAGIC && pool_i_check_header(&found, size, &spec, "in memory", err)) return pool_i_ready(pool, false);
    if (found.magic != POOL_MAGIC) pool_i_fail(err, POOL_E_INVALID, 0, "there is no pool in this memory");
    pool_close(pool);
    return NULL;
}

pool_t *pool_retain(pool_t *pool)
{
    __atomic_fetch_add(&pool->references, 1, __ATOMIC_RELAXED);
    return pool;
}

void pool_set_home(pool_t *pool, pool_t *home)
{
    pool->home = home;
    (void)pool_i_identify(pool);
}

/* Does this process hold a slot? A process that was never named in the pool does not. */
static bool pool_i_holds_slots(const pool_t *pool)
{
    uint64_t me = __atomic_load_n(&pool->me, __ATOMIC_RELAXED), word = __atomic_load_n(&pool_i_process->word, __ATOMIC_RELAXED), slot;
    if (((me ^ word) & ~POOL_I_TAG_MASK) != 0) return false;
    for (slot = pool_next_held(pool, 0); slot != POOL_NONE; slot = pool_next_held(pool, slot + 1))
        if ((pool_owner_word(pool, slot) & ~POOL_I_BUSY) == me) return true;
    return false;
}

/* Files whose first page stays mapped although their pools were closed, one each: the process is alive and
 * holds slots, and it must be visible that its namespace is alive. */
typedef struct pool_i_kept {
    pool_file_t         file;
    uint64_t            space;
    struct pool_i_kept *next;
} pool_i_kept_t;

static pool_i_kept_t *pool_i_all_kept; /* only grows (CAS, release; pairs with the acquire below) */

/* Must that page stay mapped? Remembers that it does.
 * The release pairs with the acquire above it. */
static bool pool_i_stays_kept(const pool_t *pool)
{
    uint64_t       space = pool->kept;
    pool_i_kept_t *one, *first = __atomic_load_n(&pool_i_all_kept, __ATOMIC_ACQUIRE);

    if (space == 0 || (space & POOL_I_NAME_MASK) == POOL_I_FIRST || !(pool->outlived || pool_i_holds_slots(pool))) return false;
    for (one = first; one != NULL; one = one->next)
        if (one->space == space && one->file.device == pool->file.device && one->file.inode == pool->file.inode) return false;
    if ((one = (pool_i_kept_t *)malloc(sizeof *one)) == NULL) return true;
    one->file  = pool->file;
    one->space = space;
    one->next  = first;
    while (!__atomic_compare_exchange_n(&pool_i_all_kept, &one->next, one, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {}
    return true;
}

/* Unmap the pool, but for a page of it that must stay. */
static void pool_i_unmap(pool_t *pool)
{
    bool stays = pool_i_stays_kept(pool);
    if (pool->is_borrowed) {
        if (pool->home != NULL && pool->home->kept != 0 && pool_i_holds_slots(pool)) pool->home->outlived = true;
        return;
    }
    if (pool->keeper != NULL) {
        if (!stays) munmap(pool->keeper, POOL_I_PAGE);
        stays = false;
    }
    munmap((char *)pool->header + (stays ? POOL_I_PAGE : 0), pool->total_size - (stays ? POOL_I_PAGE : 0));
}

/* Acquire and release, each pairing with the same line in another thread: the
 * last user sees all that the others did. */
void pool_close(pool_t *pool)
{
    if (pool == NULL || (pool->references > 1 && __atomic_sub_fetch(&pool->references, 1, __ATOMIC_ACQ_REL) > 0)) return;
    if (pool->header == NULL && pool->fd >= 0) close(pool->fd); /* never mapped: nobody had time to close it */
    if (pool->header != NULL) {
        if (pool_descriptor(pool) >= 0) close(pool->fd);
        if (pool_eventfd_get(pool) >= 0) close(pool->event_fd);
        pool_i_unmap(pool);
    }
    free(pool->path);
    free(pool->absolute);
    free(pool);
}

int pool_eventfd_get(const pool_t *pool)
{
    return pool_i_is_still(pool->event_fd, &pool->event) ? pool->event_fd : -1;
}

int pool_eventfd(pool_t *pool)
{
    int fd = pool_eventfd_get(pool);
    if (fd >= 0) return fd;
    fd = pool_i_keep(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (pool_i_look(fd, &pool->event)) pool->event_fd = fd;
    return fd;
}

int pool_eventfd_set(pool_t *pool, int fd)
{
    pool_file_t what;
    int         flags = fcntl(fd, F_GETFL);
    if (flags < 0 || !pool_i_look(fd, &what)) return POOL_E_SYSTEM;
    if (what.event == 0) return POOL_E_ARGUMENT;
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return POOL_E_SYSTEM;
    if (pool->event_fd != fd && pool_eventfd_get(pool) >= 0) close(pool->event_fd);
    pool->event    = what;
    pool->event_fd = fd;
    return POOL_OK;
}

bool pool_notify(pool_t *pool)
{
    const uint64_t one = 1;
    int            fd  = pool_eventfd_get(pool);
    return fd >= 0 && write(fd, &one, sizeof one) == (ssize_t)sizeof one;
}

uint64_t pool_eventfd_consume(pool_t *pool)
{
    uint64_t count;
    int      fd = pool_eventfd_get(pool);
    return fd >= 0 && read(fd, &count, sizeof count) == (ssize_t)sizeof count ? count : 0;
}

int pool_sync(pool_t *pool)
{
    return msync(pool->header, pool->total_size, MS_SYNC) == 0 ? POOL_OK : POOL_E_SYSTEM;
}

bool pool_is_at_path(const pool_t *pool)
{
    struct stat st;
    return pool->absolute != NULL && stat(pool->absolute, &st) == 0 && (uint64_t)st.st_dev == pool->file.device
           && (uint64_t)st.st_ino == pool->file.inode;
}

int pool_unlink(pool_t *pool)
{
    if (pool->absolute == NULL) return POOL_E_ARGUMENT;
    if (!pool_is_at_path(pool)) {
        errno = ENOENT;
        return POOL_E_SYSTEM;
    }
    return unlink(pool->absolute) == 0 ? POOL_OK : POOL_E_SYSTEM;
}

#ifdef __cplusplus
}
#endif

#endif /* POOL_IMPLEMENTATION */

#endif /* POOL_H */
