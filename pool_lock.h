/*
 * pool_lock.h - a lock in shared memory that does not outlive its holder, and
 * a way to wait for it or for a change.
 *
 * The lock is 16 bytes of shared memory; if they are zeros, the lock is free. It holds the
 * owner word of its holder (see pool.h), so a waiter can tell that the holder
 * died and take the lock over. Taking and releasing a lock that nobody waits for
 * costs two atomic instructions and no system call.
 *
 *     bool died;
 *     if (pool_lock_acquire(pool, &lock, POOL_FOREVER, &died) == POOL_OK) {
 *         if (died) put_in_order(); // the last holder may have left work half done
 *         pool_lock_release(&lock);
 *     }
 *
 * The owner words in a lock belong to one pool, whose table of PID namespaces
 * they refer to: use the same pool for all calls on a lock.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef POOL_LOCK_H
#define POOL_LOCK_H

#include "pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `holder`: 0, or an owner word. A waiter sets a bit in `waiting`, looks once
 * more, and sleeps on the value of `event` that it read before that. */
typedef struct pool_lock {
    uint64_t holder;
    uint32_t event;
    uint32_t waiting;
} pool_lock_t;

/* What is waited for; bits of `waiting`, and of the futex. */
#define POOL_LOCK_WAIT_HOLD   1u /* to hold the lock: one such waiter is woken at a time */
#define POOL_LOCK_WAIT_FREE   2u /* for it to be free                                    */
#define POOL_LOCK_WAIT_CHANGE 4u /* for something that the holder changes                */

#define POOL_LOCK_SLICE_NS INT64_C(100000000) /* the longest sleep without a look */
#define POOL_LOCK_YIELDS   200                /* how often one who was just here lets a waiter go first */

/* How many pauses lie between two looks of one who spins, at first and at last: some microseconds. */
#define POOL_LOCK_FIRST_PAUSE 64
#define POOL_LOCK_LAST_PAUSE  512

/* The clock of deadlines (CLOCK_MONOTONIC), in nanoseconds. */
int64_t pool_lock_now(void);

/* The deadline for a timeout, for the calls below. POOL_FOREVER stays POOL_FOREVER. */
int64_t pool_lock_deadline(int64_t timeout_ns);

static inline void pool_lock_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Take a free lock. Acquire: pairs with pool_lock_release(). It is seq_cst for
 * callers that then check for others that announced themselves earlier. */
static inline bool pool_lock_try(pool_lock_t *lock, uint64_t me)
{
    uint64_t nobody = 0;
    return __atomic_compare_exchange_n(&lock->holder, &nobody, me, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* Wake the waiters; to be called by a process that changed what they wait for. */
void pool_lock_wake(pool_lock_t *lock);

/* Look for a free lock for a moment, at growing distances, before sleeping. Each look takes
 * the cache line from the holder: eight processes that add to a hash did a third less when
 * they looked after every pause. The orders are those of pool_lock_try(). */
static inline bool pool_lock_spin(pool_lock_t *lock, uint64_t me)
{
    int pauses, i;
    for (pauses = POOL_LOCK_FIRST_PAUSE; pauses <= POOL_LOCK_LAST_PAUSE; pauses += pauses) {
        for (i = 0; i < pauses; i++) pool_lock_pause();
        if (__atomic_load_n(&lock->holder, __ATOMIC_RELAXED) == 0 && pool_lock_try(lock, me)) return true;
    }
    return false;
}

/* Release the lock; only for its holder. The exchange is seq_cst and so is the
 * load after it: of a releaser and a waiter (pool_lock_announce(), then a look
 * at the holder) one sees what the other did. */
static inline void pool_lock_release(pool_lock_t *lock)
{
    __atomic_exchange_n(&lock->holder, 0, __ATOMIC_SEQ_CST);
    if (POOL_UNLIKELY(__atomic_load_n(&lock->waiting, __ATOMIC_SEQ_CST) != 0)) pool_lock_wake(lock);
}

/* Step one of sleeping: announce what is waited for. Returns the value to pass to
 * pool_lock_sleep(). Between the two the caller looks once more. Acquire pairs
 * with pool_lock_wake(). */
static inline uint32_t pool_lock_announce(pool_lock_t *lock, uint32_t what)
{
    uint32_t seen = __atomic_load_n(&lock->event, __ATOMIC_ACQUIRE);
    __atomic_fetch_or(&lock->waiting, what, __ATOMIC_SEQ_CST);
    return seen;
}

/* Step two: sleep until waiters for `what` are woken, for a slice at
 * most, and not past the deadline. POOL_FULL (woken: look again), POOL_TIMEOUT, or
 * POOL_INTERRUPTED: a signal arrived, or the slice is over (a signal may have arrived just
 * before the sleep), so that the caller can run its handlers. */
int pool_lock_sleep(pool_lock_t *lock, uint32_t seen, int64_t deadline_ns, uint32_t what);

/* Is nobody there who could release it: is the holder dead, or (in damaged memory) no process at all? Reads /proc. */
bool pool_lock_is_left(pool_t *pool, uint64_t holder);

/* Take over from a dead holder: dead -> me. If several processes try, one of them succeeds. The
 * orders are those of pool_lock_try(). */
bool pool_lock_take_over(pool_t *pool, pool_lock_t *lock, uint64_t me);

int pool_i_lock_wait(pool_t *pool, pool_lock_t *lock, int64_t deadline_ns, bool *died);

/* Take the lock, waiting until deadline_ns (see pool_lock_deadline()). Returns
 * POOL_OK, POOL_TIMEOUT or POOL_INTERRUPTED (see pool_lock_sleep(); call again).
 * *died: the last holder died holding it. Blocks. A process that already holds the lock
 * would wait for itself. */
static inline int pool_lock_acquire(pool_t *pool, pool_lock_t *lock, int64_t deadline_ns, bool *died)
{
    *died = false;
    return pool_lock_try(lock, pool_i_me(pool)) ? (int)POOL_OK : pool_i_lock_wait(pool, lock, deadline_ns, died);
}

#ifdef __cplusplus
}
#endif

/* ========================================================================
 * The implementation: compiled where POOL_IMPLEMENTATION is defined.
 * ===================================================================== */
#ifdef POOL_IMPLEMENTATION

#ifdef __cplusplus
extern "C" {
#endif

int64_t pool_lock_now(void)
{
    return pool_i_now();
}

int64_t pool_lock_deadline(int64_t timeout_ns)
{
    return pool_i_deadline(timeout_ns);
}

/* Waiters set `waiting` again if they have to sleep again, so clearing it loses
 * nobody; a waker that dies after clearing it delays the sleepers by a slice. The
 * release pairs with the acquire of `event` by sleepers. */
void pool_lock_wake(pool_lock_t *lock)
{
    int      saved   = errno;
    uint32_t waiting = __atomic_exchange_n(&lock->waiting, 0, __ATOMIC_SEQ_CST);

    __atomic_fetch_add(&lock->event, 1, __ATOMIC_RELEASE);
    if ((waiting & POOL_LOCK_WAIT_HOLD) != 0) syscall(SYS_futex, &lock->event, FUTEX_WAKE_BITSET, 1, NULL, NULL, POOL_LOCK_WAIT_HOLD);
    if ((waiting & ~POOL_LOCK_WAIT_HOLD) != 0)
        syscall(SYS_futex, &lock->event, FUTEX_WAKE_BITSET, INT_MAX, NULL, NULL, waiting & ~POOL_LOCK_WAIT_HOLD);
    errno = saved;
}

int pool_lock_sleep(pool_lock_t *lock, uint32_t seen, int64_t deadline_ns, uint32_t what)
{
    int64_t         now = pool_lock_now(), until = now + POOL_LOCK_SLICE_NS;
    struct timespec at;
    int             saved = errno, why;

    if (deadline_ns != POOL_FOREVER && deadline_ns <= now) return POOL_TIMEOUT;
    if (deadline_ns != POOL_FOREVER && deadline_ns < until) until = deadline_ns;
    at.tv_sec  = (time_t)(until / INT64_C(1000000000));
    at.tv_nsec = (long)(until % INT64_C(1000000000));
    why        = syscall(SYS_futex, &lock->event, FUTEX_WAIT_BITSET, seen, &at, NULL, what) == 0 ? 0 : errno;
    errno      = saved;
    if (why == EINTR || why == ETIMEDOUT) return until == deadline_ns && pool_lock_now() >= until ? POOL_TIMEOUT : POOL_INTERRUPTED;
    return POOL_FULL;
}

bool pool_lock_is_left(pool_t *pool, uint64_t holder)
{
    return holder != 0 && ((holder & POOL_I_PID_MASK) == 0 || pool_owner_is_dead(pool, holder));
}

/* The holder is dead, so it changes no more: the CAS pairs with those that are alive, as in
 * pool_lock_try(). */
bool pool_lock_take_over(pool_t *pool, pool_lock_t *lock, uint64_t me)
{
    uint64_t holder = __atomic_load_n(&lock->holder, __ATOMIC_RELAXED);
    return pool_lock_is_left(pool, holder)
           && __atomic_compare_exchange_n(&lock->holder, &holder, me, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* The slow half of pool_lock_acquire(). */
int pool_i_lock_wait(pool_t *pool, pool_lock_t *lock, int64_t deadline_ns, bool *died)
{
    uint64_t me    = pool_i_me(pool);
    int      code  = POOL_FULL;
    bool     slept = false;

    if (pool_lock_spin(lock, me)) return POOL_OK;
    while (code == POOL_FULL) {
        uint32_t seen = pool_lock_announce(lock, POOL_LOCK_WAIT_HOLD);
        if (pool_lock_try(lock, me)) break;
        if (pool_lock_take_over(pool, lock, me)) {
            *died = true;
            break;
        }
        slept = true;
        code  = pool_lock_sleep(lock, seen, deadline_ns, POOL_LOCK_WAIT_HOLD);
    }
    /* Only one was woken: leave the mark for those who sleep on. */
    if (slept) pool_lock_announce(lock, POOL_LOCK_WAIT_HOLD);
    return code == POOL_FULL ? (int)POOL_OK : code;
}

#ifdef __cplusplus
}
#endif

#endif /* POOL_IMPLEMENTATION */
#endif /* POOL_LOCK_H */
