/*
 * lock.h - who may write a variable, and who may look at it. Internal to store/.
 *
 * The writer is the holder of record->lock. Read locks are flags in marks, which belong to their
 * processes, so that among any number of readers the dead can be told from the living; record->readers
 * says whether it is worth checking the marks.
 *
 *   reader:  mark->reading = 1; readers = 1; check the holder: if there is one, go back and wait
 *   writer:  holder = me; if readers is set, check the marks: if there are readers, set PENDING and wait
 *
 * All of these are seq_cst, so of a reader and a writer at least one sees the other. A
 * writer that waits for readers has POOL_I_BUSY set (PENDING), which keeps new readers
 * out. A reader that wants to write may take its place, because otherwise both would wait for ever; if
 * that writer holds a read lock as well, it is a deadlock. `readers` is set back to 0 only by a
 * holder that is not PENDING: a writer whose place was taken must not hide the readers from others.
 *
 * A dead reader's mark does not count. A dead writer is replaced by the next one, which
 * finishes or undoes its change, and sets readers = 1, because the dead one may have been
 * about to do so.
 *
 * A write lock by name (store_lock_write) also sets `exclusive`: others may not look.
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#ifndef STORE_LOCK_H
#define STORE_LOCK_H

#include "var.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Become the writer, and stop being it. Returns a code like store_begin(). */
int  lock_enter(store_var_t *var, int64_t deadline_ns);
void lock_leave(store_var_t *var);

/* Become the writer if there is none, and nobody has a read lock; dead writers are replaced. */
bool lock_try(store_var_t *var);

/* `exclusive` is `owner`: are others kept from reading? If that is not the holder, a dead writer has left
 * it: an heir that is stopped before it clears it keeps nobody from reading, except
 * while it is not settled whether a joint change has happened, or links that were moved have not been moved back. */
static inline bool lock_excludes(const store_record_t *record, uint64_t owner)
{
    uint64_t holder = __atomic_load_n(&record->lock.holder, __ATOMIC_SEQ_CST); /* pairs with lock_inherit() */
    if (holder == owner || holder == 0) return holder == owner;
    if (owner == STORE_MOVING) return true;
    return (STORE_LOAD(record->state[0].joint) | STORE_LOAD(record->state[1].joint)) != 0; /* then the serial is looked at again */
}

/* Does somebody hold the write lock by name, or publish a joint change? */
static inline bool lock_is_exclusive(const store_record_t *record)
{
    uint64_t owner = __atomic_load_n(&record->exclusive, __ATOMIC_SEQ_CST); /* pairs with store_lock_write(), array_keep_out() */
    return POOL_UNLIKELY(owner != 0) && lock_excludes(record, owner);
}

/* Wait, as a reader, until nobody else has the write lock by name. */
int lock_await_readable(store_var_t *var, int64_t deadline_ns);

/* Is the calling process the writer? For assertions. */
static inline bool lock_is_held(store_t *space, const store_record_t *record)
{
    return __atomic_load_n(&record->lock.holder, __ATOMIC_RELAXED) == space_me(space);
}

/* Take the place of a dead writer, and finish or undo its change. False: it is alive, or there is none. */
bool lock_inherit(store_t *space, store_record_t *record, store_doomed_t *doomed);

/* `settling` is set: is it certain that nobody inherits at the moment? */
bool lock_is_settled(store_t *space, store_record_t *record);

/* Does anybody wait to write? (Waiting for a change does not count.) */
static inline bool lock_is_waited_for(const store_record_t *record)
{
    return (__atomic_load_n(&record->lock.waiting, __ATOMIC_RELAXED) & POOL_LOCK_WAIT_HOLD) != 0;
}

/* This process holds one more lock (1) or one less (-1) while it waits for others. A child holds none. */
void lock_count_held(int by);
void lock_forget_held(void);

/* The owner word of the live process that has the write lock by name, or 0. */
uint64_t lock_writer(store_t *space, const store_record_t *record);

#ifdef STORE_ASSERT
#include <assert.h>
#define store_assert_locked(space, record) assert(lock_is_held(space, record))
#else
#define store_assert_locked(space, record) ((void)0)
#endif

#ifdef __cplusplus
}
#endif
#endif /* STORE_LOCK_H */
