/*
 * shm_lock.h - locks on a variable: one writer or many readers, by process,
 * robust against the death of either.
 *
 * The writer is the holder of record->lock. Read locks are marks in attachments,
 * which are owned by their processes, so that any number of readers can be told
 * from the dead; record->readers says whether it is worth to look for them.
 *
 *   reader:  mark = 1; readers = 1; look at the holder; somebody? mark = 0, wait
 *   writer:  holder = me; readers? look at the marks; some? wait, PENDING
 *
 * All of these are seq_cst, so of a reader and a writer at least one sees the
 * other. A writer that waits for readers has POOL_I_BUSY set (PENDING): it keeps
 * new readers out. A reader that wants to write may take its place, or both
 * would wait for ever; if that writer is a reader as well, there is no way out.
 *
 * A dead reader's mark is not counted. A dead writer is replaced by the next,
 * who sets readers = 1, because the dead may have been about to.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_LOCK_H
#define SHM_LOCK_H

#include "shm_space.h"

#define SHM_PENDING  POOL_I_BUSY
#define SHM_DEADLOCK 100 /* a result beside enum pool_code */

/* Who asks: the variable, and the process's attachment to it. */
typedef struct shm_locker {
    shm_space_t  *space;
    shm_record_t *record;
    shm_id_t      id;
    uint64_t      attach; /* slot, or SHM_NONE */
    bool          reading;
} shm_locker_t;

/* Seq_cst: pairs with the look in shm_has_readers() and shm_try_write_lock(). */
static inline void shm_mark_readers(shm_record_t *record, uint64_t value)
{
    __atomic_store_n(&record->readers, value, __ATOMIC_SEQ_CST);
}

/* The owner word of a live process, other than `attach` itself, that has its
 * read mark set; of process `who` only, if that is not 0. 0: there is none. The
 * look at the mark, after the holder was stored, pairs with shm_read_lock(). */
static inline uint64_t shm_find_reader(const shm_locker_t *locker, uint64_t who)
{
    pool_grow_t *row = &locker->space->attach;
    pool_error_t err;
    uint64_t     slot;
    for (slot = pool_grow_next(row, 0); slot != POOL_NONE; slot = pool_grow_next(row, slot + 1)) {
        pool_t       *part = pool_grow_have(row, slot);
        shm_attach_t *mark = (shm_attach_t *)pool_ptr(part, pool_grow_index(slot));
        uint64_t      owner;
        if (__atomic_load_n(&mark->reading, __ATOMIC_SEQ_CST) == 0 || slot == locker->attach) continue;
        if (mark->variable != locker->id.slot || mark->generation != locker->id.generation) continue;
        owner = pool_owner_word(part, pool_grow_index(slot));
        if (who != 0 && !shm_same_process(owner, who)) continue;
        if (owner != 0 && !pool_owner_is_dead(part, owner)) return owner;
    }
    return who != 0 || pool_grow_open_all(row, &err) ? 0 : UINT64_MAX; /* what cannot be seen may be a reader */
}

/* Has the writer, who is in record->lock, to wait for readers? When there are
 * none, say so for the next; a reader may come just then: look twice. The look
 * at `readers`, after the holder was stored, pairs with shm_read_lock(). */
static inline bool shm_has_readers(const shm_locker_t *locker)
{
    shm_record_t *record = locker->record;
    if (__atomic_load_n(&record->readers, __ATOMIC_SEQ_CST) == 0) return false;
    if (shm_find_reader(locker, 0) != 0) return true;
    if (locker->reading) return false; /* the mark stands for our own read lock */
    shm_mark_readers(record, 0);
    if (shm_find_reader(locker, 0) == 0) return false;
    shm_mark_readers(record, 1);
    return true;
}

/* After the lock was taken over from the dead. Release: pairs with shm_excluded(). */
static inline void shm_inherit(shm_record_t *record)
{
    shm_mark_readers(record, 1);
    __atomic_store_n(&record->exclusive, 0, __ATOMIC_RELEASE);
}

/* Seq_cst as pool_lock_try(), and with the same partners: it pairs with the looks
 * at the holder in shm_read_lock() and shm_outwait_readers(). */
static inline bool shm_swap_holder(pool_lock_t *lock, uint64_t from, uint64_t to)
{
    return __atomic_compare_exchange_n(&lock->holder, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* One attempt to get into record->lock as `me`. POOL_OK, POOL_FULL or SHM_DEADLOCK.
 * The look at the holder pairs with shm_swap_holder() of the writer that waits. */
static inline int shm_enter(const shm_locker_t *locker, uint64_t me)
{
    pool_lock_t *lock = &locker->record->lock;
    uint64_t     holder;

    if (pool_lock_try(lock, me)) return POOL_OK;
    if (pool_lock_take_over(locker->space->pool, lock, me)) {
        shm_inherit(locker->record);
        return POOL_OK;
    }
    holder = __atomic_load_n(&lock->holder, __ATOMIC_SEQ_CST);
    if (!locker->reading || (holder & SHM_PENDING) == 0) return POOL_FULL;
    if (shm_find_reader(locker, holder & ~SHM_PENDING) != 0) return SHM_DEADLOCK;
    return shm_swap_holder(lock, holder, me) ? (int)POOL_OK : (int)POOL_FULL;
}

/* In record->lock as `me`: wait until the readers are gone. POOL_FULL: somebody
 * took our place. Leaves the lock if it does not return POOL_OK. The look at the
 * holder, after the announcement, pairs with shm_swap_holder() by a reader. */
static inline int shm_outwait_readers(const shm_locker_t *locker, uint64_t me, int64_t deadline_ns)
{
    pool_lock_t *lock = &locker->record->lock;
    int          code = POOL_FULL;

    if (!shm_has_readers(locker)) return POOL_OK;
    if (!shm_swap_holder(lock, me, me | SHM_PENDING)) return POOL_FULL;
    for (;;) {
        uint32_t seen = pool_lock_announce(lock, POOL_LOCK_WAIT_FREE);
        if (__atomic_load_n(&lock->holder, __ATOMIC_SEQ_CST) != (me | SHM_PENDING)) return POOL_FULL;
        if (!shm_has_readers(locker)) {
            if (shm_swap_holder(lock, me | SHM_PENDING, me)) return POOL_OK;
            return POOL_FULL;
        }
        code = pool_lock_sleep(lock, seen, deadline_ns, POOL_LOCK_WAIT_FREE);
        if (code == POOL_FULL) continue;
        if (!shm_swap_holder(lock, me | SHM_PENDING, 0)) return POOL_FULL;
        pool_lock_wake(lock);
        return code;
    }
}

/* Become the writer. POOL_OK, POOL_TIMEOUT, POOL_INTERRUPTED (nothing is held;
 * call again) or SHM_DEADLOCK. Blocks. */
static inline int shm_write_lock(const shm_locker_t *locker, int64_t deadline_ns)
{
    pool_lock_t *lock = &locker->record->lock;
    uint64_t     me   = shm_me(locker->space);
    int          i, code = POOL_FULL;
    bool         slept = false;

    for (i = 0; i < POOL_LOCK_SPINS && code == POOL_FULL; i++) {
        if (pool_lock_try(lock, me))
            code = POOL_OK;
        else
            pool_lock_pause();
    }
    for (;;) {
        uint32_t seen = 0;
        if (code == POOL_FULL) {
            seen = pool_lock_announce(lock, POOL_LOCK_WAIT_HOLD);
            code = shm_enter(locker, me);
        }
        if (code == POOL_OK)
            code = shm_outwait_readers(locker, me, deadline_ns);
        else if (code == POOL_FULL) {
            slept = true;
            code  = pool_lock_sleep(lock, seen, deadline_ns, POOL_LOCK_WAIT_HOLD);
        }
        if (code != POOL_FULL) break;
    }
    if (slept) pool_lock_announce(lock, POOL_LOCK_WAIT_HOLD); /* for those who sleep on */
    return code;
}

/* The common case of the above: nobody is in the way. The look at `readers`, after
 * the holder was stored, pairs with shm_read_lock(). */
static inline bool shm_try_write_lock(shm_record_t *record, uint64_t me)
{
    if (POOL_UNLIKELY(!pool_lock_try(&record->lock, me))) return false;
    if (POOL_LIKELY(__atomic_load_n(&record->readers, __ATOMIC_SEQ_CST) == 0)) return true;
    pool_lock_release(&record->lock);
    return false;
}

static inline void shm_write_unlock(shm_record_t *record)
{
    pool_lock_release(&record->lock);
}

/* Others' reads wait from now on, until shm_include(). Pairs with the look in
 * shm_excluded(). */
static inline void shm_exclude(shm_record_t *record, uint64_t me)
{
    __atomic_store_n(&record->exclusive, me, __ATOMIC_SEQ_CST);
}

/* Pairs with the looks in shm_excluded() and shm_await_readable(). */
static inline void shm_include(shm_record_t *record)
{
    __atomic_store_n(&record->exclusive, 0, __ATOMIC_SEQ_CST);
}

/* Sleep a slice until the lock is free. Acts for a holder that died: becomes the
 * writer in its place and leaves. The look at the holder, after the announcement,
 * pairs with pool_lock_release(). */
static inline int shm_await_free(const shm_locker_t *locker, int64_t deadline_ns)
{
    pool_lock_t *lock = &locker->record->lock;
    uint32_t     seen = pool_lock_announce(lock, POOL_LOCK_WAIT_FREE);

    if (__atomic_load_n(&lock->holder, __ATOMIC_SEQ_CST) == 0) return POOL_FULL;
    if (pool_lock_take_over(locker->space->pool, lock, shm_me(locker->space))) {
        shm_inherit(locker->record);
        shm_write_unlock(locker->record);
        return POOL_FULL;
    }
    return pool_lock_sleep(lock, seen, deadline_ns, POOL_LOCK_WAIT_FREE);
}

/* Take a read lock. Results as of shm_write_lock(). Mark and `readers`, then the
 * look at the holder: pairs with pool_lock_try(), then the look at `readers` and
 * the marks, in shm_try_write_lock() and shm_has_readers(). Taking the mark back,
 * then the look at `waiting`: as in shm_read_unlock(). */
static inline int shm_read_lock(const shm_locker_t *locker, int64_t deadline_ns)
{
    shm_attach_t *mark = (shm_attach_t *)pool_grow_ptr(&locker->space->attach, locker->attach);
    int           code = POOL_FULL;

    while (code == POOL_FULL) {
        __atomic_store_n(&mark->reading, 1, __ATOMIC_SEQ_CST);
        shm_mark_readers(locker->record, 1);
        if (__atomic_load_n(&locker->record->lock.holder, __ATOMIC_SEQ_CST) == 0) return POOL_OK;
        __atomic_store_n(&mark->reading, 0, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&locker->record->lock.waiting, __ATOMIC_SEQ_CST) != 0) pool_lock_wake(&locker->record->lock);
        code = shm_await_free(locker, deadline_ns);
    }
    return code;
}

/* Clearing the mark, then the look at `waiting`: pairs with shm_outwait_readers(),
 * which announces itself, then looks at the marks. */
static inline void shm_read_unlock(const shm_locker_t *locker)
{
    shm_attach_t *mark = (shm_attach_t *)pool_grow_ptr(&locker->space->attach, locker->attach);
    if (mark != NULL) __atomic_store_n(&mark->reading, 0, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&locker->record->lock.waiting, __ATOMIC_SEQ_CST) != 0) pool_lock_wake(&locker->record->lock);
}

/* Wait, as a reader without a lock, until no other process holds a write lock
 * by writelock(). POOL_OK, POOL_TIMEOUT or POOL_INTERRUPTED. The look pairs with
 * shm_include(). */
static inline int shm_await_readable(const shm_locker_t *locker, int64_t deadline_ns)
{
    int code = POOL_FULL;
    while (code == POOL_FULL) {
        if (__atomic_load_n(&locker->record->exclusive, __ATOMIC_SEQ_CST) == 0) return POOL_OK;
        code = shm_await_free(locker, deadline_ns);
    }
    return code;
}

#endif /* SHM_LOCK_H */
