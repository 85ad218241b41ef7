/*
 * store.h - variables in shared memory: scalars, arrays and hashes that processes
 * share. Each exists once, and survives the death of any process at any instruction.
 *
 *     store_error_t err;
 *     store_t      *store = store_open("/dev/shm/app", NULL, &err);
 *     store_var_t  *hits  = store_declare(store, STORE_HASH, "%main::hits", 11, true, &err);
 *     store_key_t   key   = store_key(store, "front page", 10, false);
 *     store_value_t value = store_int(17);
 *     if (store_hash_put(hits, &key, &value, 0) != STORE_OK) …
 *     store_release(hits);
 *     store_close(store);
 *
 * A namespace is a directory with one file in it. A variable has a name there, or is
 * anonymous and exists as long as somebody uses it or a reference leads to it.
 * IPC::Shm (Perl) is built on this library: what one writes, the other can read.
 *
 * READERS take no lock: they read values in place, and start over if a writer
 * interfered. WRITERS of one variable exclude each other. Each call is one change:
 * others see all of it or nothing, no matter which process dies when. store_begin()
 * and store_commit() combine many calls on one variable into one change.
 *
 * RESULTS are codes: STORE_OK, or the reason for the failure. STORE_INTERRUPTED means
 * that a signal arrived while the call waited, and that nothing has happened: run the
 * signal handlers, then call again. No function ends the process or prints. errno is preserved.
 *
 * THREADS AND SIGNALS. A handle (store_var_t) may be used by one thread at a time; a
 * namespace (store_t) by all threads. Functions are not async-signal safe unless they say so.
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct store     store_t;     /* an open namespace                    */
typedef struct store_var store_var_t; /* a variable that this process uses    */

/* The values up to 31 are those of enum pool_code in pool.h. */
enum store_code {
    STORE_OK          = 0,
    STORE_TIMEOUT     = 2,  /* the time limit was reached                        */
    STORE_INTERRUPTED = 3,  /* a signal arrived; nothing has happened: call again */
    STORE_E_ARGUMENT  = 4,  /* an argument makes no sense                         */
    STORE_E_INVALID   = 5,  /* the file is not a namespace                        */
    STORE_E_MISMATCH  = 6,  /* a namespace of another version                     */
    STORE_E_NOSPC     = 8,  /* no room on the filesystem                          */
    STORE_E_SYSTEM    = 9,  /* a system call failed: see sys_errno                */
    STORE_ABSENT      = 32, /* no such element, or no such name                  */
    STORE_MORE,             /* the buffer is too small: see the value's length   */
    STORE_E_REMOVED,        /* the variable was removed                          */
    STORE_E_CLOSED,         /* the namespace was removed                         */
    STORE_E_DEADLOCK,       /* two processes would wait for each other           */
    STORE_E_DETACHED,       /* a forked child has no hold on the variable        */
    STORE_E_DAMAGED,        /* what the shared memory says makes no sense        */
    STORE_E_DENIED          /* owned by another user, or others may write there  */
};

/* Why a call failed: the code, errno if a system call failed (else 0), and a message. */
typedef struct store_error {
    int  code;
    int  sys_errno;
    char text[232];
} store_error_t;

/* The text of a code; never NULL. Async-signal safe. */
const char *store_strerror(int code);

#define STORE_FOREVER ((int64_t)-1) /* a time limit that never comes */

/* --- namespaces -------------------------------------------------------------- */

typedef struct store_options {
    uint32_t mode;       /* permission bits of a new namespace; 0: 0660              */
    uint32_t block_size; /* bytes of the blocks that long values take; 0: 4096       */
    bool     is_private; /* refuse a directory of another user, or open to others    */
    bool     attach;     /* do not create one: STORE_ABSENT if there is none         */
} store_options_t;

/* Open the namespace in a directory; directory and namespace are created if missing. `options`
 * may be NULL. Refuses what somebody else has planted there (another user's file, a link).
 * Reads and writes the filesystem. Returns the namespace, or NULL with *err. */
store_t *store_open(const char *path, const store_options_t *options, store_error_t *err);

/* Add a user to an open namespace; each must call store_close(). Returns its argument. */
store_t *store_retain(store_t *store);

/* Remove a user. When the last one, and the last handle, is gone, the namespace is unmapped. */
void store_close(store_t *store);

/* The directory, as it was given. */
const char *store_path(const store_t *store);

/* Has it been removed by store_remove_all(), in any process, or its file been unlinked? */
bool store_is_closed(store_t *store);

/* Is this namespace the one that is at `path` now? */
bool store_is_at(store_t *store, const char *path);

/* Remove all variables and the file. A variable whose write lock somebody holds for
 * longer than `patience_ns` loses only its name. Returns a code. Blocks for at most that long per variable. */
int store_remove_all(store_t *store, int64_t patience_ns);

/* Free what dead processes have left and what nothing can reach, such as cycles of references.
 * Others go on working meanwhile. Returns how many things were freed. If another process is doing the same, it
 * waits for that one first; after a second it gives up, and returns 0. */
uint64_t store_recover(store_t *store);

/* Is there anything of a dead process that store_recover() would free? Cheap. */
bool store_has_dead(store_t *store);

/* Variables, those of them that have a name, uses of a variable by a process, and pieces of memory; the size of the
 * largest of these; bytes used by all of them, taken on the filesystem, and that plus what is free there. */
typedef struct {
    uint64_t variables, named, attachments, blocks;
    uint64_t block_size, bytes_used, bytes_reserved, bytes_total;
} store_stats_t;

/* Not of one moment if others are at work. */
void store_stats(store_t *store, store_stats_t *stats);

/* --- variables ------------------------------------------------------------------ */

enum store_type { STORE_SCALAR = 1, STORE_ARRAY = 2, STORE_HASH = 3 };

/* Identifies a variable, as long as that exists; it never stands for another one. */
typedef struct store_ref {
    uint32_t slot, generation;
    uint32_t type;    /* enum store_type */
    uint32_t is_text; /* the class name, if any, is in UTF-8 */
} store_ref_t;

/* Create an anonymous, empty variable. Returns a handle, or NULL with *err. Every handle must be given up with
 * store_release(). */
store_var_t *store_new(store_t *store, uint32_t type, store_error_t *err);

/* The variable with this name: sigil and full name, in UTF-8, at most STORE_NAME_MAX bytes. If
 * `create` is true, it is created if missing. NULL with err->code STORE_ABSENT: there is
 * none, or one of another type. Atomic. */
#define STORE_NAME_MAX 490u
store_var_t *store_declare(store_t *store, uint32_t type, const char *name, size_t length, bool create, store_error_t *err);

/* A handle for the variable that a stored reference leads to. NULL with err->code
 * STORE_E_REMOVED: it is gone, so read the value that led there again. */
store_var_t *store_attach(store_t *store, const store_ref_t *ref, store_error_t *err);

/* Give up the handle: its locks are released, and an open change is undone; an anonymous
 * variable that nothing leads to any more is freed. Does nothing for NULL. */
void store_release(store_var_t *var);

/* A handle for the same variable, for another thread, or NULL with *err. */
store_var_t *store_clone(const store_var_t *var, store_error_t *err);

/* The reference that names it, for a value of kind STORE_REF; its namespace; and whether it has been removed, by any
 * process. */
store_ref_t store_ref_of(const store_var_t *var);
store_t    *store_of(const store_var_t *var);
bool        store_is_removed(const store_var_t *var);

/* The number of changes so far. */
uint64_t store_serial(const store_var_t *var);

/* How many stored references lead to it; its name is one. */
uint64_t store_references(const store_var_t *var);

/* Does the variable still have this serial, and can it be read without waiting? Then what was read
 * with that serial is still valid. */
bool store_is_unchanged(const store_var_t *var, uint64_t serial);

/* Remove the variable: this name (or NULL), if it is that of the variable, and its contents. Returns a code. Blocks like
 * a change; STORE_E_ARGUMENT: this handle has a change open. */
int store_remove(store_var_t *var, const char *name, size_t length);

/* What a child that is about to be made will do. */
enum store_fork {
    STORE_FORK_COMMAND, /* only execute a program: it gets no handles */
    STORE_FORK_GOES_ON, /* go on in this program */
    STORE_FORK_PERHAPS  /* not known: it gets handles if it takes them over within ten seconds */
};

/* fork(): the child gets handles of its own for what the parent has. Call the first before
 * fork(), with one of enum store_fork, the second in the parent, and the third in the child. The
 * fourth, called in the parent, passes on the PID of a child that goes on, as soon as it is known (-1: fork()
 * failed); then what the parent had is kept for this child until it is dead, and no longer. The child takes
 * over its handles in its first call, or by calling the fifth. A child that executes a program before that
 * keeps the variables for as long as that program runs. */
void store_fork_prepare(int how);
void store_fork_parent(void);
void store_fork_child(void);
void store_fork_parent_pid(int child);
void store_fork_adopt(void);

/* exec(): call this with true before it, and with false if it has failed. The new program
 * holds no locks, and keeps variables for ten more seconds. */
void store_exec_prepare(bool begins);

/* --- values -------------------------------------------------------------------- */

enum store_kind {
    STORE_UNDEF,
    STORE_FALSE,
    STORE_TRUE,
    STORE_INT,         /* number.i                                  */
    STORE_UINT,        /* number.u, more than INT64_MAX             */
    STORE_DOUBLE,      /* number.d                                  */
    STORE_BYTES,       /* text                                      */
    STORE_TEXT,        /* text, UTF-8                               */
    STORE_REF,         /* ref; text: the class it is blessed into   */
    STORE_DUAL_INT,    /* number.i and text (bytes)                 */
    STORE_DUAL_DOUBLE, /* number.d and text (bytes)                 */
    STORE_CONSTANT,    /* number.i, a constant of the class in text */
    STORE_KINDS
};

typedef struct store_value {
    uint32_t    kind;
    uint32_t    reserved;
    uint64_t    length; /* bytes of text */
    const char *text;
    union {
        int64_t     i;
        uint64_t    u;
        double      d;
        store_ref_t ref;
    } number;
} store_value_t;

static inline store_value_t store_none(uint32_t kind)
{
    const store_ref_t nothing = { 0, 0, 0, 0 };
    store_value_t     value;
    value.kind       = kind; /* one by one: zeroed as a block, which is then read in other pieces, it takes ten times as long */
    value.reserved   = 0;
    value.length     = 0;
    value.text       = NULL;
    value.number.ref = nothing;
    return value;
}
static inline store_value_t store_int(int64_t number)
{
    store_value_t value = store_none(STORE_INT);
    value.number.i      = number;
    return value;
}
static inline store_value_t store_double(double number)
{
    store_value_t value = store_none(STORE_DOUBLE);
    value.number.d      = number;
    return value;
}
static inline store_value_t store_text(const char *text, uint64_t length, bool is_text)
{
    store_value_t value = store_none(is_text ? STORE_TEXT : STORE_BYTES);
    value.text          = text;
    value.length        = length;
    return value;
}

/* Where a call copies the text of a value that it returns. If the text does not fit, the call
 * returns STORE_MORE, and value->length says how much is needed. */
typedef struct store_buffer {
    char    *space;
    uint64_t capacity; /* bytes */
} store_buffer_t;

/* --- changes -------------------------------------------------------------------- */

/* All that is done to this variable through this handle, from here to store_commit(), is one
 * change. Waits until no other process writes the variable or has a lock on it, or until deadline_ns
 * (CLOCK_MONOTONIC; STORE_FOREVER: no limit). Cannot be nested. Returns a code. */
int store_begin(store_var_t *var, int64_t deadline_ns);

/* Publish the change. Does not block, and cannot fail. Does nothing if no change is open, as does store_abort(). */
void store_commit(store_var_t *var);

/* Undo the change. */
void store_abort(store_var_t *var);

/* One change of several variables of a namespace. Begin each with store_begin_joint(): it is a
 * store_begin() that may wait while the process has other changes open (STORE_E_DEADLOCK: two processes would
 * wait for each other; abort all). store_commit_all() publishes all of them: no matter which process dies when, either all
 * of them have happened or none, and a process that sees one of them changed sees the others changed, too. While it works, for
 * microseconds, readers of these variables wait as they do during a write lock. Returns STORE_OK; otherwise (no room)
 * nothing has happened, and all changes are still open. */
int store_begin_joint(store_var_t *var, int64_t deadline_ns);
int store_commit_all(store_var_t *const *vars, size_t count);

/* Is a change open? */
bool store_is_open(const store_var_t *var);

/* --- scalars -------------------------------------------------------------------- */

/* Each of the calls below is one change or one look, unless a change is open. To write, it waits
 * like store_begin() without a limit; to read, while another process holds the write lock. It
 * returns a code; for a variable of another type it is STORE_E_ARGUMENT, and nothing happens. */
int store_scalar_get(store_var_t *var, store_value_t *value, const store_buffer_t *buffer);
int store_scalar_put(store_var_t *var, const store_value_t *value);

/* --- hashes -------------------------------------------------------------------- */

/* A key: bytes or, if is_text, UTF-8 with characters that bytes cannot express. */
typedef struct {
    const char *bytes;
    uint32_t    length;
    uint32_t    hash;
    bool        is_text;
} store_key_t;

/* Make a key for the hashes of this namespace. It refers to `bytes`, and does not copy them. */
store_key_t store_key(const store_t *store, const char *bytes, uint32_t length, bool is_text);

/* Get the value of a key. STORE_ABSENT: there is no such key. `buffer` NULL: only find out whether there is one. */
int store_hash_get(store_var_t *var, const store_key_t *key, store_value_t *value, const store_buffer_t *buffer);

/* Store a value. expires_ns: the time (CLOCK_BOOTTIME) at which the element expires; 0: as store_hash_expire_after()
 * has set, or never; STORE_NEVER: never, regardless of that setting. */
#define STORE_NEVER UINT64_MAX
int store_hash_put(store_var_t *var, const store_key_t *key, const store_value_t *value, uint64_t expires_ns);

/* Add to an integer; an absent or undefined value counts as 0. *sum: the new value. The expiry time
 * stays. STORE_E_ARGUMENT: it is not an integer, or the sum needs more than 64 bits; nothing has changed. */
int store_hash_add(store_var_t *var, const store_key_t *key, int64_t delta, int64_t *sum);

/* Delete an element. STORE_ABSENT: there is no such key. Needs no room. */
int store_hash_delete(store_var_t *var, const store_key_t *key);

/* Delete all elements (needs no room), and count those that have not expired. */
int store_hash_clear(store_var_t *var);
int store_hash_count(store_var_t *var, uint64_t *count);

/* The key after this one (NULL: the first), in an order that stays the same while the hash grows;
 * the key's bytes go to `buffer`. STORE_ABSENT: there is no further key. */
int store_hash_next(store_var_t *var, const store_key_t *key, store_key_t *next, const store_buffer_t *buffer);

/* When an element expires (CLOCK_BOOTTIME; 0: never). STORE_ABSENT: there is no such key. */
int store_hash_expiry(store_var_t *var, const store_key_t *key, uint64_t *expires_ns);

/* Has the hash ever had an element that expires? Cheap. */
bool store_hash_is_timed(const store_var_t *var);

/* Free what has expired, by one change after the other unless one is open: others store in between. *sweep is all
 * zeros to begin with; after STORE_INTERRUPTED, call again with it to go on. */
typedef struct store_sweep {
    uint64_t freed; /* how many elements */
    uint32_t place; /* where it goes on  */
} store_sweep_t;
int store_hash_sweep(store_var_t *var, store_sweep_t *sweep);

/* Set how long elements stay that are stored without an expiry time of their own (in ns; 0: for ever),
 * and how many elements the hash may have (0: no limit): the least recently used ones make room. */
int store_hash_expire_after(store_var_t *var, uint64_t ns);
int store_hash_limit(store_var_t *var, uint64_t elements);

/* --- arrays --------------------------------------------------------------------- */

/* Get an element: STORE_ABSENT if the index is beyond the end, or nothing was stored there. Store one: beyond the end, the
 * array becomes longer. Get the number of elements, and set it: the new ones are absent, as if they had never been stored. */
int store_array_get(store_var_t *var, uint64_t index, store_value_t *value, const store_buffer_t *buffer);
int store_array_put(store_var_t *var, uint64_t index, const store_value_t *value);
int store_array_size(store_var_t *var, uint64_t *size);
int store_array_resize(store_var_t *var, uint64_t size);

/* Remove `length` elements at `offset` and put `count` values there: push, pop, shift, unshift and splice.
 * STORE_E_ARGUMENT: there are not so many elements. To get the removed values, read them first, within one change. Merely
 * removing elements needs no room, with two exceptions in the middle of an array: if a part that would have to move has never
 * had an element, and so has no page; and if values were put in front in the same change, so that what moves would go
 * around the ring. If there is no room, others may have to wait until the change ends before they can look. */
int store_array_splice(store_var_t *var, uint64_t offset, uint64_t length, const store_value_t *values, uint64_t count);

/* Append an element. *size: the new number of elements. */
int store_array_push(store_var_t *var, const store_value_t *value, uint64_t *size);

/* Remove the first or the last element, and return its value. STORE_ABSENT: the array is empty. An element is not
 * removed if its value does not fit the buffer (STORE_MORE) or is a reference (STORE_E_ARGUMENT). To take a reference, get it
 * first, attach to the variable that it leads to, and then remove it with a splice, all in one change. */
int store_array_take(store_var_t *var, bool last, store_value_t *value, const store_buffer_t *buffer);

/* Make an element look as if it had never been stored. */
int store_array_delete(store_var_t *var, uint64_t index);

/* --- queues ----------------------------------------------------------------------- */

/* An element of an array that a process has taken and is still working on: it has left the array,
 * but is kept with it, under the owner word of that process; both happen in the same change. */
typedef struct store_reservation {
    uint64_t owner;    /* the process: see store_me()                                    */
    uint64_t since_ns; /* CLOCK_REALTIME                                                 */
    uint64_t order;    /* of two, the one with the lower order was nearer to the head */
} store_reservation_t;

/* Call these four within an open change. store_queue_keep() adds a reservation, and sets `order` if it is 0 (and
 * a later `since_ns`, if there is one just like it); get its value; drop it; call `visit` for each, in no order. */
int store_queue_keep(store_var_t *var, store_reservation_t *reservation, const store_value_t *value);
int store_queue_get(store_var_t *var, const store_reservation_t *reservation, store_value_t *value, const store_buffer_t *buffer);
int store_queue_drop(store_var_t *var, const store_reservation_t *reservation); /* STORE_ABSENT: no such reservation */

typedef void store_queue_fn(const store_reservation_t *reservation, void *context);
int          store_queue_each(store_var_t *var, store_queue_fn *visit, void *context);

/* Is anything reserved at the moment? Cheap; needs no change. */
bool store_queue_is_used(const store_var_t *var);

/* The owner word of this process (thread), the PID in an owner word, and whether its process is certainly dead. */
uint64_t store_me(store_t *store);
uint64_t store_owner_pid(uint64_t owner);
bool     store_owner_is_dead(store_t *store, uint64_t owner);

/* --- looks at all of it ------------------------------------------------------------ */

/* The content at one moment, copied to this process's memory. `items` are keys and values
 * (hash: key, value; array and scalar: value; kind STORE_KINDS: there is no element). */
typedef struct {
    uint64_t       count; /* of elements                                       */
    uint64_t       serial;
    store_value_t *keys; /* hashes: BYTES or TEXT; else NULL                    */
    store_value_t *values;
    uint32_t       stride; /* element i: keys[i * stride], values[i * stride]    */
    void          *memory, *items;
} store_look_t;

/* Look at all of a variable at one serial. with_values false: only the keys (of a hash). Free the result with store_look_free(). */
int  store_look(store_var_t *var, bool with_values, store_look_t *look);
void store_look_free(store_look_t *look);

/* --- a look without a handle ---------------------------------------------------------- */

/* To follow references from value to value ($h{k}{f}) without handles: the result may be used for calls that
 * read, by the thread that uses the handle `from`, until that is released; `from` may be another such result.
 * NULL: the variable is gone. If it, or one of those calls, says so (STORE_E_REMOVED), start over. */
typedef struct {
    uint64_t reserved[20];
} store_glance_t;

store_var_t *store_glance(store_var_t *from, const store_ref_t *ref, store_glance_t *glance);

/* --- locks and waiting ---------------------------------------------------------------- */

/* Take the write lock, or a read lock, by `deadline_ns` (CLOCK_MONOTONIC, see store_deadline()). STORE_OK; STORE_TIMEOUT;
 * STORE_INTERRUPTED; STORE_E_DEADLOCK: two processes would wait for each other. `had` may be NULL; *had: the
 * handle had the lock already, and nothing was done. */
int store_lock_write(store_var_t *var, int64_t deadline_ns, bool *had);
int store_lock_read(store_var_t *var, int64_t deadline_ns, bool *had);

/* Would a look at it wait at the moment, for a lock of another's? */
bool store_would_wait(const store_var_t *var);

/* Release a lock. Returns whether there was one. */
bool store_unlock_write(store_var_t *var);
bool store_unlock_read(store_var_t *var);

/* The PID of another process that holds a lock on the variable now; 0: none is found. For messages. */
uint64_t store_blocker(const store_var_t *var);

/* Sleep until another process has changed the variable since this handle was last used to look at it (if it never
 * was: since this call). STORE_OK, STORE_TIMEOUT or STORE_INTERRUPTED. */
int store_wait_change(store_var_t *var, int64_t deadline_ns);

/* The deadline that is timeout_ns from now; STORE_FOREVER if that is negative. */
int64_t store_deadline(int64_t timeout_ns);

/* CLOCK_BOOTTIME, the clock of expiry times. */
uint64_t store_clock(void);

/* The same clock as of at most ten milliseconds ago: six times as fast. */
uint64_t store_clock_tick(void);

/* The time that is `ns` from now, for store_hash_put(); if that is a second or more, up to a tick less. */
uint64_t store_expires(uint64_t ns);

/* --- for tools ------------------------------------------------------------------------ */

typedef struct store_listed {
    store_ref_t     ref;
    const char     *name; /* NULL: anonymous. Good during the call only */
    size_t          name_length;
    uint64_t        elements, bytes, serial, refs;
    uint64_t        blocks; /* pieces of memory, beside the variable itself */
    uint64_t        writer; /* PID, or 0 */
    bool            removed;
    const uint64_t *readers, *attached; /* PIDs */
    size_t          reader_count, attached_count;
} store_listed_t;

/* Call `visit` for each variable. Waits for no lock. Returns a code. */
typedef void store_visit_fn(const store_listed_t *listed, void *context);
int          store_list(store_t *store, store_visit_fn *visit, void *context);

/* Call `visit` for each name, with a reference to its variable. */
typedef void store_name_fn(const char *name, size_t length, const store_ref_t *ref, void *context);
int          store_names(store_t *store, store_name_fn *visit, void *context);

#ifdef __cplusplus
}
#endif
#endif /* STORE_H */
