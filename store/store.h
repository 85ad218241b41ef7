/*
 * store.h - variables in shared memory: scalars, arrays and hashes that processes
 * share, that lie there once, and that survive the death of any process at any
 * instruction.
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
 * anonymous and lives for as long as somebody uses it or a reference leads to it.
 * IPC::Shm (Perl) stands on this library: what one writes, the other reads.
 *
 * READERS take no lock: they read values where they lie and look again if a writer
 * came between. WRITERS of one variable exclude each other. Each call is one change:
 * others see it whole or not at all, whoever dies when. store_begin() and
 * store_commit() make many calls on one variable one change.
 *
 * RESULTS are codes: STORE_OK or why not. STORE_INTERRUPTED means that a signal came
 * while the call waited and nothing has happened: run what must run, call again.
 * Nothing here ends the process or prints. errno is left alone.
 *
 * THREADS AND SIGNALS. Each handle (store_var_t) belongs to one thread at a time; a
 * namespace (store_t) is for all threads. Not async-signal safe, unless said.
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

/* The first ones are those of enum pool_code in pool.h. */
enum store_code {
    STORE_OK          = 0,
    STORE_TIMEOUT     = 2,  /* the time was over first                           */
    STORE_INTERRUPTED = 3,  /* a signal came; nothing has happened: call again    */
    STORE_E_ARGUMENT  = 4,  /* an argument makes no sense                         */
    STORE_E_INVALID   = 5,  /* the file is no namespace                           */
    STORE_E_MISMATCH  = 6,  /* a namespace of another version                     */
    STORE_E_NOSPC     = 8,  /* no room on the filesystem                          */
    STORE_E_SYSTEM    = 9,  /* a system call failed: see sys_errno                */
    STORE_ABSENT      = 32, /* no such element, or no such name                  */
    STORE_MORE,             /* the buffer is too small: see the value's length   */
    STORE_E_REMOVED,        /* the variable was removed                          */
    STORE_E_CLOSED,         /* the namespace was removed                         */
    STORE_E_DEADLOCK,       /* each of two processes waits for the other         */
    STORE_E_DETACHED,       /* a forked child has no hold on the variable        */
    STORE_E_DAMAGED,        /* what the shared memory says makes no sense        */
    STORE_E_DENIED          /* not one's own, and others may write there         */
};

/* Why a call failed: the code, errno where a system call was at fault (else 0), and a
 * sentence for a person. */
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
    uint32_t block_size; /* bytes in which long values grow; 0: 4096                 */
    bool     is_private; /* refuse a directory of another user, or open to others    */
    bool     attach;     /* do not make one: STORE_ABSENT where there is none        */
} store_options_t;

/* Open the namespace in a directory, and make both where there is none. `options` may
 * be NULL. What is planted there by somebody else (another user's file, a link) is
 * refused. Reads and writes the filesystem. Returns the namespace, or NULL with *err. */
store_t *store_open(const char *path, const store_options_t *options, store_error_t *err);

/* One more user of an open namespace; each must store_close() it. Returns its argument. */
store_t *store_retain(store_t *store);

/* One user less: the last one, when no handle is left, unmaps it. */
void store_close(store_t *store);

/* The directory, as it was given. */
const char *store_path(const store_t *store);

/* Was it removed by store_remove_all(), in any process, or its file unlinked? */
bool store_is_closed(store_t *store);

/* Is the namespace behind this handle the one that `path` leads to now? */
bool store_is_at(store_t *store, const char *path);

/* Remove all variables and the file. A variable whose write lock somebody keeps for
 * longer than `patience_ns` loses its name only. Returns a code. Blocks for so long. */
int store_remove_all(store_t *store, int64_t patience_ns);

/* Free what the dead have left and what nothing can reach, as rings of references.
 * Others work on meanwhile. Returns how many things were freed. */
uint64_t store_recover(store_t *store);

/* Is anything there that store_recover() would free for a dead process? Cheap. */
bool store_has_dead(store_t *store);

typedef struct {
    uint64_t variables, named, attachments, blocks;
    uint64_t block_size, bytes_used, bytes_reserved, bytes_total;
} store_stats_t;

void store_stats(store_t *store, store_stats_t *stats);

/* --- variables ------------------------------------------------------------------ */

enum store_type { STORE_SCALAR = 1, STORE_ARRAY = 2, STORE_HASH = 3 };

/* Which variable. Good for as long as it exists; no other ever equals it. */
typedef struct store_ref {
    uint32_t slot, generation;
    uint32_t type;    /* enum store_type */
    uint32_t is_text; /* the class name, where there is one, is characters */
} store_ref_t;

/* Make an anonymous, empty variable. Returns a handle, or NULL with *err. */
store_var_t *store_new(store_t *store, uint32_t type, store_error_t *err);

/* The variable of a name: sigil and full name, UTF-8, at most STORE_NAME_MAX bytes. With
 * `create` it is made where there is none. NULL with err->code STORE_ABSENT: there is
 * none, or one of another type. Atomic. */
#define STORE_NAME_MAX 490u
store_var_t *store_declare(store_t *store, uint32_t type, const char *name, size_t length, bool create, store_error_t *err);

/* A handle of the variable that a stored reference leads to. NULL with err->code
 * STORE_E_REMOVED: it is gone, so the value that led there must be looked at again. */
store_var_t *store_attach(store_t *store, const store_ref_t *ref, store_error_t *err);

/* Let go of the handle: locks are released, an open change is undone; an anonymous
 * variable that nothing leads to is freed. NULL is fine. */
void store_release(store_var_t *var);

/* A handle of the same variable for another thread, or NULL with *err. */
store_var_t *store_clone(const store_var_t *var, store_error_t *err);

store_ref_t store_ref_of(const store_var_t *var);
store_t    *store_of(const store_var_t *var);
bool        store_is_removed(const store_var_t *var);

/* The number of changes so far. */
uint64_t store_serial(const store_var_t *var);

/* How many stored references lead to it. */
uint64_t store_references(const store_var_t *var);

/* Is it still that of this serial, and may it be read at once? Then what was read with that
 * serial still holds. */
bool store_is_unchanged(const store_var_t *var, uint64_t serial);

/* Remove the variable: its name, if it has that one, and what it holds. Blocks as a change does. */
int store_remove(store_var_t *var, const char *name, size_t length);

/* fork(): the child has what the parent has, on its own account. Call the first before
 * fork() (keep false: the child will only execute a program), the second in the parent,
 * the third in the child; the fourth, in the parent, tells the PID of the child as soon as
 * it is known, so that it is told if that dies at once. The child takes what it has with its
 * first call, or by the fifth. */
void store_fork_prepare(bool keep);
void store_fork_parent(void);
void store_fork_child(void);
void store_fork_parent_pid(int child);
void store_fork_adopt(void);

/* exec(): call it with true before, with false if that failed. The program that comes
 * holds no lock, and keeps variables for ten seconds more. */
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
    store_value_t value = { kind, 0, 0, NULL, { 0 } };
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

/* A value that a call gives: its text is copied to `space`, `capacity` bytes. Where it
 * does not fit the call returns STORE_MORE, with value->length what is needed. */
typedef struct store_buffer {
    char    *space;
    uint64_t capacity; /* bytes */
} store_buffer_t;

/* --- changes -------------------------------------------------------------------- */

/* From here to store_commit() what is done to this variable through this handle is one
 * change. Waits until no other process writes it or has a lock on it, until deadline_ns
 * (CLOCK_MONOTONIC; STORE_FOREVER: no limit). Not nested. Returns a code. */
int store_begin(store_var_t *var, int64_t deadline_ns);

/* Publish it. Blocks for nobody, and cannot fail. */
void store_commit(store_var_t *var);

/* Nothing of it has happened. */
void store_abort(store_var_t *var);

/* One change of several variables of a namespace: each is begun by store_begin_joint(), which is
 * store_begin() for who waits for one while it has another (STORE_E_DEADLOCK: two processes would wait for each
 * other; abort all). store_commit_all() publishes what was done to all of them: whoever dies when, all of it has
 * happened or nothing; who looks at one of them sees the others as they are then. While it works, for
 * microseconds, looks at them wait as during a write lock. STORE_OK; else (no room) nothing has happened, and
 * all are still open. */
int store_begin_joint(store_var_t *var, int64_t deadline_ns);
int store_commit_all(store_var_t *const *vars, size_t count);

/* Is a change open? */
bool store_is_open(const store_var_t *var);

/* --- scalars -------------------------------------------------------------------- */

/* All calls below: each is one change or one look, unless a change is open; waits as
 * store_begin() without limit, or, to read, while another process has the write lock;
 * returns a code. */
int store_scalar_get(store_var_t *var, store_value_t *value, const store_buffer_t *buffer);
int store_scalar_put(store_var_t *var, const store_value_t *value);

/* --- hashes -------------------------------------------------------------------- */

/* A key: bytes, or (is_text) characters in UTF-8 that bytes cannot say. */
typedef struct {
    const char *bytes;
    uint32_t    length;
    uint32_t    hash;
    bool        is_text;
} store_key_t;

store_key_t store_key(const store_t *store, const char *bytes, uint32_t length, bool is_text);

/* Reading: STORE_ABSENT where there is no such key. `buffer` NULL: only whether it is there. */
int store_hash_get(store_var_t *var, const store_key_t *key, store_value_t *value, const store_buffer_t *buffer);

/* expires_ns: CLOCK_BOOTTIME from which on it is not there; 0: as store_hash_expire_after()
 * says, or never; STORE_NEVER: never, whatever that says. */
#define STORE_NEVER UINT64_MAX
int store_hash_put(store_var_t *var, const store_key_t *key, const store_value_t *value, uint64_t expires_ns);

/* Add to an integer; what is absent or undefined counts as 0. *sum: what it is now. It vanishes when
 * it would have. STORE_E_ARGUMENT: it is no integer, or the sum is none of 64 bits; it stays. */
int store_hash_add(store_var_t *var, const store_key_t *key, int64_t delta, int64_t *sum);

/* STORE_ABSENT where there is none. Needs no room. */
int store_hash_delete(store_var_t *var, const store_key_t *key);

int store_hash_clear(store_var_t *var);
int store_hash_count(store_var_t *var, uint64_t *count);

/* The key after this one (NULL: the first), in an order that stays while the hash grows;
 * the key's bytes go to `buffer`. STORE_ABSENT: that was the last. */
int store_hash_next(store_var_t *var, const store_key_t *key, store_key_t *next, const store_buffer_t *buffer);

/* When an element vanishes (CLOCK_BOOTTIME; 0: never). STORE_ABSENT where there is none. */
int store_hash_expiry(store_var_t *var, const store_key_t *key, uint64_t *expires_ns);

/* Does anything in it vanish, or has ever? Cheap. */
bool store_hash_is_timed(const store_var_t *var);

/* Free what has expired. */
int store_hash_sweep(store_var_t *var, uint64_t *freed);

/* What an element gets that is stored without an expiry of its own (ns from then; 0:
 * none), and the most elements (0: no limit): the least recently used make room. */
int store_hash_expire_after(store_var_t *var, uint64_t ns);
int store_hash_limit(store_var_t *var, uint64_t elements);

/* --- arrays --------------------------------------------------------------------- */

/* STORE_ABSENT: beyond the end, or never stored. */
int store_array_get(store_var_t *var, uint64_t index, store_value_t *value, const store_buffer_t *buffer);
int store_array_put(store_var_t *var, uint64_t index, const store_value_t *value);
int store_array_size(store_var_t *var, uint64_t *size);
int store_array_resize(store_var_t *var, uint64_t size);

/* Remove `length` elements at `offset` and put `count` values there: push, pop, shift,
 * unshift and splice. What is removed is read before, in one change. Only to remove needs no
 * room, but in the middle, where the filesystem is full: it must be all that its change does,
 * and of an array that has all its places. */
int store_array_splice(store_var_t *var, uint64_t offset, uint64_t length, const store_value_t *values, uint64_t count);

/* One more at the end. *size: how many there are then. */
int store_array_push(store_var_t *var, const store_value_t *value, uint64_t *size);

/* Remove the first or the last one, and say what it was. STORE_ABSENT: there is none. Left where they
 * are: what does not fit the buffer (STORE_MORE), and references (STORE_E_ARGUMENT), which are read,
 * and what they lead to taken hold of, before they are removed by a splice in the same change. */
int store_array_take(store_var_t *var, bool last, store_value_t *value, const store_buffer_t *buffer);

/* Make an element one that was never stored. */
int store_array_delete(store_var_t *var, uint64_t index);

/* --- queues ----------------------------------------------------------------------- */

/* An element of an array that somebody has taken and is not done with: it has left the array,
 * and is kept with it, under the name of who has it, by the same change. */
typedef struct store_reservation {
    uint64_t owner;    /* who: see store_me()                                           */
    uint64_t since_ns; /* CLOCK_REALTIME                                                 */
    uint64_t order;    /* of two, the one with the lower order was nearer to the head */
} store_reservation_t;

/* All four within an open change. store_queue_keep() sets `order` where it is 0. */
int store_queue_keep(store_var_t *var, store_reservation_t *reservation, const store_value_t *value);
int store_queue_get(store_var_t *var, const store_reservation_t *reservation, store_value_t *value, const store_buffer_t *buffer);
int store_queue_drop(store_var_t *var, const store_reservation_t *reservation); /* STORE_ABSENT: there is none */

typedef void store_queue_fn(const store_reservation_t *reservation, void *context);
int          store_queue_each(store_var_t *var, store_queue_fn *visit, void *context);

/* Is anything reserved, as far as is known now? Cheap, in no change. */
bool store_queue_is_used(const store_var_t *var);

/* The name of this process (thread), its PID, and whether it is dead for sure. */
uint64_t store_me(store_t *store);
uint64_t store_owner_pid(uint64_t owner);
bool     store_owner_is_dead(store_t *store, uint64_t owner);

/* --- looks at all of it ------------------------------------------------------------ */

/* The content of one moment, in memory of this process. `items` are keys and values
 * (hash: key, value; array and scalar: value; kind STORE_KINDS: no element). */
typedef struct {
    uint64_t       count; /* of elements                                       */
    uint64_t       serial;
    store_value_t *keys; /* hashes: BYTES or TEXT; else NULL                    */
    store_value_t *values;
    uint32_t       stride; /* element i: keys[i * stride], values[i * stride]    */
    void          *memory, *items;
} store_look_t;

/* with_values false: the keys alone. Free it by store_look_free(). */
int  store_look(store_var_t *var, bool with_values, store_look_t *look);
void store_look_free(store_look_t *look);

/* --- a look without a handle ---------------------------------------------------------- */

/* Go from value to value ($h{k}{f}) without handles: a glance is good for reading calls
 * until store_glance_end(). STORE_E_REMOVED from any of them: start over. */
typedef struct {
    uint64_t reserved[20];
} store_glance_t;

store_var_t *store_glance(store_t *store, const store_ref_t *ref, store_glance_t *glance);

/* --- locks and waiting ---------------------------------------------------------------- */

/* Take the write lock, or a read lock. STORE_OK; STORE_TIMEOUT; STORE_INTERRUPTED;
 * STORE_E_DEADLOCK: two processes would wait for each other. *had (may be NULL): the
 * handle had it already, and nothing was done. */
int store_lock_write(store_var_t *var, int64_t deadline_ns, bool *had);
int store_lock_read(store_var_t *var, int64_t deadline_ns, bool *had);

/* Release them. Whether there was something. */
bool store_unlock_write(store_var_t *var);
bool store_unlock_read(store_var_t *var);

/* The PID of another process that holds a lock on the variable now; 0: none is found. For messages. */
uint64_t store_blocker(const store_var_t *var);

/* Sleep until another process has changed it since this handle looked last. */
int store_wait_change(store_var_t *var, int64_t deadline_ns);

/* The deadline so many ns from now; negative: STORE_FOREVER. */
int64_t store_deadline(int64_t timeout_ns);

/* CLOCK_BOOTTIME, as expiry is told in. */
uint64_t store_clock(void);

/* The same a tick of the kernel's ago, ten milliseconds at most: six times as fast. */
uint64_t store_clock_tick(void);

/* So many ns from now, for store_hash_put(); from a second on, a tick less. */
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

/* Call `visit` for each variable. Returns a code. */
typedef void store_visit_fn(const store_listed_t *listed, void *context);
int          store_list(store_t *store, store_visit_fn *visit, void *context);

/* Call `visit` for each name, with a reference to its variable. */
typedef void store_name_fn(const char *name, size_t length, const store_ref_t *ref, void *context);
int          store_names(store_t *store, store_name_fn *visit, void *context);

#ifdef __cplusplus
}
#endif
#endif /* STORE_H */
