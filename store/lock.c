/* lock.c - who may write a variable, and who may look at it: see lock.h. */
#include "change.h"
#include "lock.h"

#include <errno.h>

#define LOCK_PENDING POOL_I_BUSY

/* --- read marks ------------------------------------------------------------- */

/* Which read marks are looked for. */
typedef struct lock_search {
    const store_var_t *var;
    uint64_t           who;   /* only of this process; 0: of any that lives */
    uint64_t           found; /* an owner word, or 0 */
} lock_search_t;

/* The look at the mark is seq_cst: after the holder was stored it pairs with
 * store_lock_read(). */
static void lock_look_at_mark(store_t *space, store_link_t link, void *context)
{
    lock_search_t      *search = (lock_search_t *)context;
    const store_mark_t *mark   = mark_at(space, link);
    uint64_t            index, owner;
    pool_t             *pool;

    if (search->found != 0 || __atomic_load_n(&mark->reading, __ATOMIC_SEQ_CST) == 0 || link == search->var->mark) return;
    if (STORE_LOAD(mark->slot) != search->var->id.slot || STORE_LOAD(mark->generation) != search->var->id.generation) return;
    pool  = row_pool(space, link, &index);
    owner = pool_owner_word(pool, index);
    if (search->who != 0 && !space_same_process(owner, search->who)) return;
    if (owner != 0 && !pool_owner_is_dead(pool, owner)) search->found = owner;
}

/* The owner word of a live process, other than by this handle, that has a read lock. */
static uint64_t lock_find_reader(const store_var_t *var, uint64_t who)
{
    lock_search_t search = { var, who, 0 };
    row_each(var->space, STORE_ROW_MARKS, lock_look_at_mark, &search);
    return search.found;
}

/* Seq_cst: pairs with the look in lock_has_readers() and lock_try_fast(). */
static void lock_mark_readers(store_record_t *record, uint32_t value)
{
    __atomic_store_n(&record->readers, value, __ATOMIC_SEQ_CST);
}

/* Has the holder, who is not PENDING, to wait for readers? When there are none it says so
 * for the next; a reader may come just then: two looks. */
static bool lock_has_readers(const store_var_t *var)
{
    store_record_t *record = var->record;
    store_assert_locked(var->space, record);
    if (__atomic_load_n(&record->readers, __ATOMIC_SEQ_CST) == 0) return false; /* pairs with store_lock_read() */
    if (lock_find_reader(var, 0) != 0) return true;
    if (var->read_held) return false; /* it stands for our own */
    lock_mark_readers(record, 0);
    if (lock_find_reader(var, 0) == 0) return false;
    lock_mark_readers(record, 1);
    return true;
}

/* --- deadlock ------------------------------------------------------------------- */

/* Locks that this process has while it waits for others, by name or of joint changes: without one
 * it is in no circle. */
static uint32_t lock_held;

void lock_count_held(int by)
{
    __atomic_fetch_add(&lock_held, (uint32_t)by, __ATOMIC_RELAXED);
}

void lock_forget_held(void)
{
    __atomic_store_n(&lock_held, 0, __ATOMIC_RELAXED);
}

#define LOCK_CHAIN 16

/* A walk along "waits for": from a process to the variables that it waits for, to those
 * who hold them. */
typedef struct lock_chain {
    uint64_t me, process[LOCK_CHAIN]; /* whom the circle may go through */
    int      known, looked;
    uint64_t latest; /* when the last of them began to wait */
    bool     closed; /* back at me */
} lock_chain_t;

static void lock_chain_add(lock_chain_t *chain, uint64_t owner)
{
    int i;
    if (owner == 0) return;
    if (space_same_process(owner, chain->me)) chain->closed = true;
    for (i = 0; i < chain->known; i++)
        if (space_same_process(chain->process[i], owner)) return;
    if (chain->known < LOCK_CHAIN) chain->process[chain->known++] = owner;
}

/* Who holds the variable, for write or for read. */
static void lock_chain_holders(lock_chain_t *chain, store_t *space, const store_ref_t *ref)
{
    store_record_t *record = record_at(space, ref->slot);
    store_var_t     look;
    if (record == NULL || STORE_LOAD(record->generation) != ref->generation) return;
    lock_chain_add(chain, STORE_LOAD(record->lock.holder));
    if (STORE_LOAD(record->readers) == 0) return;
    memset(&look, 0, sizeof look);
    look.space  = space;
    look.record = record;
    look.id     = *ref;
    lock_chain_add(chain, lock_find_reader(&look, 0)); /* one of them; the others are found when it is gone */
}

static void lock_chain_visit(store_t *space, store_link_t link, void *context)
{
    lock_chain_t       *chain = (lock_chain_t *)context;
    const store_mark_t *mark  = mark_at(space, link);
    store_ref_t         ref   = { STORE_LOAD(mark->slot), STORE_LOAD(mark->generation), 0, 0 };
    if (STORE_LOAD(mark->waiting) == 0 || !space_same_process(row_owner(space, link), chain->process[chain->looked])) return;
    if (STORE_LOAD(mark->since) > chain->latest) chain->latest = STORE_LOAD(mark->since);
    lock_chain_holders(chain, space, &ref);
}

/* Do those whom this handle waits for wait, in the end, for this process? Of those in a
 * circle the one that began to wait last says so, and it alone. */
static bool lock_is_circle(const store_var_t *var, uint64_t since)
{
    lock_chain_t chain;
    memset(&chain, 0, sizeof chain);
    if (__atomic_load_n(&lock_held, __ATOMIC_RELAXED) == 0) return false;
    chain.me = space_me(var->space);
    lock_chain_holders(&chain, var->space, &var->id);
    if (chain.closed) return false; /* another thread of ours: it may go on */
    for (; chain.looked < chain.known && !chain.closed; chain.looked++) row_each(var->space, STORE_ROW_MARKS, lock_chain_visit, &chain);
    return chain.closed && chain.latest <= since;
}

/* Say, or stop saying, that this handle waits for the lock, to write or to read. Others' lock_is_circle() reads it. Who goes
 * on waiting after an interruption has waited since before that. */
static uint64_t lock_tell_waiting(const store_var_t *var, bool waits)
{
    store_mark_t *mark = (store_mark_t *)row_ptr(var->space, var->mark);
    uint64_t      now  = !waits ? 0 : var->interrupted != 0 ? var->interrupted : (uint64_t)pool_lock_now();
    if (mark == NULL || __atomic_load_n(&lock_held, __ATOMIC_RELAXED) == 0) return now;
    STORE_STORE(mark->since, now);
    __atomic_store_n(&mark->waiting, waits ? 1u : 0u, __ATOMIC_SEQ_CST); /* before the look at the others */
    return now;
}

/* The wait since then is over, for now or altogether. */
static void lock_waited(store_var_t *var, int code, uint64_t since)
{
    lock_tell_waiting(var, false);
    var->interrupted = code == STORE_INTERRUPTED ? since : 0;
}

/* --- writing ----------------------------------------------------------------------- */

/* Seq_cst as pool_lock_try(), and with the same partners. */
static bool lock_swap(pool_lock_t *lock, uint64_t from, uint64_t to)
{
    return __atomic_compare_exchange_n(&lock->holder, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* `settling` is set before the place is taken, and set back by a holder who has settled: as
 * long as the dead one holds it nobody sets it back. So a recovery that reads the holder and
 * then 0 knows that no heir is at work (recover_lock(): both seq_cst). One who comes too late
 * may leave it set. */
bool lock_inherit(store_t *space, store_record_t *record, store_doomed_t *doomed)
{
    uint64_t holder = __atomic_load_n(&record->lock.holder, __ATOMIC_SEQ_CST);
    if (!pool_lock_is_left(space->identity, holder)) return false;
    __atomic_store_n(&record->settling, 1, __ATOMIC_SEQ_CST);
    if (!lock_swap(&record->lock, holder, space_me(space))) return false;
    lock_mark_readers(record, 1);
    change_settle(space, record, doomed);
    __atomic_store_n(&record->exclusive, 0, __ATOMIC_SEQ_CST); /* pairs with lock_await_readable() */
    __atomic_store_n(&record->settling, 0, __ATOMIC_SEQ_CST);
    return true;
}

bool lock_is_settled(store_t *space, store_record_t *record)
{
    if (!pool_lock_try(&record->lock, space_me(space))) return false;
    __atomic_store_n(&record->settling, 0, __ATOMIC_SEQ_CST); /* pairs with recover_lock() */
    pool_lock_release(&record->lock);
    return true;
}

static bool lock_inherit_from(store_var_t *var)
{
    store_doomed_t doomed = 0;
    bool           did    = lock_inherit(var->space, var->record, &doomed);
    ref_destroy(var->space, &doomed);
    return did;
}

/* One attempt to get into the lock. STORE_OK, POOL_FULL or STORE_E_DEADLOCK. The look at
 * the holder pairs with lock_swap() of a writer that becomes PENDING. */
static int lock_step_in(store_var_t *var, uint64_t me)
{
    pool_lock_t *lock = &var->record->lock;
    uint64_t     holder;
    if (pool_lock_try(lock, me) || lock_inherit_from(var)) return STORE_OK;
    holder = __atomic_load_n(&lock->holder, __ATOMIC_SEQ_CST);
    if (!var->read_held || (holder & LOCK_PENDING) == 0) return POOL_FULL;
    if (lock_find_reader(var, holder & ~LOCK_PENDING) != 0) return STORE_E_DEADLOCK;
    return lock_swap(lock, holder, me) ? (int)STORE_OK : (int)POOL_FULL;
}

/* In the lock, PENDING: sleep until no reader is left. STORE_OK: as holder, not PENDING;
 * POOL_FULL: somebody took our place; else the lock was left. */
static int lock_sleep_pending(store_var_t *var, uint64_t me, int64_t deadline_ns, uint64_t since)
{
    pool_lock_t *lock = &var->record->lock;
    int          code = POOL_FULL;
    while (code == POOL_FULL) {
        uint32_t seen = pool_lock_announce(lock, POOL_LOCK_WAIT_FREE);
        if (__atomic_load_n(&lock->holder, __ATOMIC_SEQ_CST) != (me | LOCK_PENDING)) return POOL_FULL; /* pairs with lock_step_in() */
        if (lock_find_reader(var, 0) == 0) return lock_swap(lock, me | LOCK_PENDING, me) ? (int)STORE_OK : (int)POOL_FULL;
        code = lock_is_circle(var, since) ? (int)STORE_E_DEADLOCK : pool_lock_sleep(lock, seen, deadline_ns, POOL_LOCK_WAIT_FREE);
    }
    if (!lock_swap(lock, me | LOCK_PENDING, 0)) return POOL_FULL;
    pool_lock_wake(lock);
    return code;
}

/* In the lock as `me`: wait until the readers are gone. Results as above. */
static int lock_outwait_readers(store_var_t *var, uint64_t me, int64_t deadline_ns, uint64_t since)
{
    int code = STORE_OK;
    while (code == STORE_OK && lock_has_readers(var)) {
        if (!lock_swap(&var->record->lock, me, me | LOCK_PENDING)) return POOL_FULL;
        code = lock_sleep_pending(var, me, deadline_ns, since);
    }
    return code;
}

/* The common case: nobody is in the way. The look at `readers`, after the holder was
 * stored, pairs with store_lock_read(). */
static inline bool lock_try_fast(store_record_t *record, uint64_t me)
{
    if (POOL_UNLIKELY(!pool_lock_try(&record->lock, me))) return false;
    if (POOL_LIKELY(__atomic_load_n(&record->readers, __ATOMIC_SEQ_CST) == 0)) return true;
    pool_lock_release(&record->lock);
    return false;
}

bool lock_try(store_var_t *var)
{
    uint64_t me = space_me(var->space);
    if (lock_try_fast(var->record, me)) return true;
    if (!pool_lock_try(&var->record->lock, me) && !lock_inherit_from(var)) return false;
    if (!lock_has_readers(var)) return true;
    pool_lock_release(&var->record->lock);
    return false;
}

static int lock_enter_slowly(store_var_t *var, uint64_t me, int64_t deadline_ns)
{
    pool_lock_t *lock  = &var->record->lock;
    int          code  = pool_lock_spin(lock, me) ? (int)STORE_OK : (int)POOL_FULL;
    bool         slept = false;
    uint64_t     since = lock_tell_waiting(var, true);

    for (;;) {
        uint32_t seen = 0;
        if (code == POOL_FULL) {
            seen = pool_lock_announce(lock, POOL_LOCK_WAIT_HOLD);
            code = lock_step_in(var, me);
        }
        if (code == STORE_OK)
            code = lock_outwait_readers(var, me, deadline_ns, since);
        else if (code == POOL_FULL && lock_is_circle(var, since))
            code = STORE_E_DEADLOCK;
        else if (code == POOL_FULL) {
            slept = true;
            code  = pool_lock_sleep(lock, seen, deadline_ns, POOL_LOCK_WAIT_HOLD);
        }
        if (code != POOL_FULL) break;
    }
    lock_waited(var, code, since);
    if (slept) pool_lock_announce(lock, POOL_LOCK_WAIT_HOLD); /* for those who sleep on: only one was woken */
    return code;
}

int lock_enter(store_var_t *var, int64_t deadline_ns)
{
    uint64_t me = space_me(var->space);
    int      i;
    /* Somebody waited when we let go last: he comes first, for a moment. */
    if (POOL_UNLIKELY(var->courteous)) {
        var->courteous = false;
        for (i = 0;
             i < POOL_LOCK_YIELDS && lock_is_waited_for(var->record) && __atomic_load_n(&var->record->lock.holder, __ATOMIC_RELAXED) == 0;
             i++)
            sched_yield();
    }
    if (POOL_LIKELY(lock_try_fast(var->record, me))) return STORE_OK;
    return lock_enter_slowly(var, me, deadline_ns);
}

void lock_leave(store_var_t *var)
{
    store_assert_locked(var->space, var->record);
    pool_lock_release(&var->record->lock);
}

uint64_t lock_writer(store_t *space, const store_record_t *record)
{
    uint64_t owner = STORE_LOAD(record->exclusive);
    return owner != 0 && owner != STORE_MOVING && !space_is_dead(space, owner) ? owner : 0;
}

/* Not where links are being moved in an open change: its end sees to it. Pairs with lock_is_exclusive(). */
static void lock_exclude(store_record_t *record, uint64_t owner)
{
    if (STORE_LOAD(record->exclusive) != STORE_MOVING) __atomic_store_n(&record->exclusive, owner, __ATOMIC_SEQ_CST);
}

int store_lock_write(store_var_t *var, int64_t deadline_ns, bool *had)
{
    int code;
    if (had != NULL) *had = var->write_held;
    if (var->write_held) return STORE_OK;
    if ((code = change_usable(var)) != STORE_OK) return code;
    if (!var->open) code = lock_enter(var, deadline_ns); /* else it is the writer already, and stays it */
    if (code != STORE_OK) return code;
    var->write_held = true;
    lock_count_held(1);
    lock_exclude(var->record, space_me(var->space));
    return STORE_OK;
}

bool store_unlock_write(store_var_t *var)
{
    if (!var->write_held) return false;
    var->write_held = false;
    var->courteous  = lock_is_waited_for(var->record);
    lock_count_held(-1);
    lock_exclude(var->record, 0);
    if (!var->open) lock_leave(var); /* else the end of the change does */
    return true;
}

/* --- reading ------------------------------------------------------------------------- */

/* Sleep a slice until the lock is free; *since: since when it waits, 0 the first time. Acts for a holder that
 * died. The look at the holder, after the announcement, pairs with pool_lock_release(). */
static int lock_await_free(store_var_t *var, int64_t deadline_ns, uint64_t *since)
{
    pool_lock_t *lock = &var->record->lock;
    uint32_t     seen;
    if (*since == 0) *since = lock_tell_waiting(var, true);
    seen = pool_lock_announce(lock, POOL_LOCK_WAIT_FREE);
    if (__atomic_load_n(&lock->holder, __ATOMIC_SEQ_CST) == 0) return POOL_FULL;
    if (lock_inherit_from(var)) {
        pool_lock_release(lock);
        return POOL_FULL;
    }
    if (lock_is_circle(var, *since)) return STORE_E_DEADLOCK;
    return pool_lock_sleep(lock, seen, deadline_ns, POOL_LOCK_WAIT_FREE);
}

bool store_would_wait(const store_var_t *var)
{
    return lock_is_exclusive(var->record) && !var->write_held && !var->open;
}

int lock_await_readable(store_var_t *var, int64_t deadline_ns)
{
    uint64_t since = 0;
    int      code  = POOL_FULL;
    while (code == POOL_FULL) code = lock_is_exclusive(var->record) ? lock_await_free(var, deadline_ns, &since) : (int)STORE_OK;
    if (since != 0) lock_waited(var, code, since);
    return code;
}

/* Mark and `readers`, then the look at the holder: pairs with pool_lock_try(), then the
 * looks at `readers` and the marks, by writers. Taking the mark back, then the look at
 * `waiting`: as in store_unlock_read(). */
int store_lock_read(store_var_t *var, int64_t deadline_ns, bool *had)
{
    store_mark_t *mark;
    uint64_t      since = 0;
    int           code;

    if (had != NULL) *had = var->write_held || var->read_held;
    if (var->write_held || var->read_held) return STORE_OK;
    if ((code = change_usable(var)) != STORE_OK) return code;
    mark = (store_mark_t *)row_ptr(var->space, var->mark);
    for (code = POOL_FULL; code == POOL_FULL;) {
        __atomic_store_n(&mark->reading, 1, __ATOMIC_SEQ_CST);
        lock_mark_readers(var->record, 1);
        if (__atomic_load_n(&var->record->lock.holder, __ATOMIC_SEQ_CST) == 0 || var->open) { /* with a change open it is our own */
            var->read_held = true;
            code           = STORE_OK;
            break;
        }
        __atomic_store_n(&mark->reading, 0, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&var->record->lock.waiting, __ATOMIC_SEQ_CST) != 0) pool_lock_wake(&var->record->lock);
        code = lock_await_free(var, deadline_ns, &since);
    }
    if (since != 0) lock_waited(var, code, since);
    if (code == STORE_OK) lock_count_held(1);
    return code;
}

/* Clearing the mark, then the look at `waiting`: pairs with lock_sleep_pending(), which
 * announces itself, then looks at the marks. */
bool store_unlock_read(store_var_t *var)
{
    store_mark_t *mark = (store_mark_t *)row_ptr(var->space, var->mark);
    if (!var->read_held) return false;
    var->read_held = false;
    lock_count_held(-1);
    if (mark != NULL) __atomic_store_n(&mark->reading, 0, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&var->record->lock.waiting, __ATOMIC_SEQ_CST) != 0) pool_lock_wake(&var->record->lock);
    return true;
}

/* Announce, then look at the serial: pairs with change_publish(), then the look at
 * `waiting` as the lock is released. */
int store_wait_change(store_var_t *var, int64_t deadline_ns)
{
    int code = change_usable(var);
    if (code != STORE_OK) return code;
    if (var->seen == UINT64_MAX) var->seen = store_serial(var); /* not looked at before: the next change counts */
    for (code = POOL_FULL; code == POOL_FULL;) {
        uint32_t seen   = pool_lock_announce(&var->record->lock, POOL_LOCK_WAIT_CHANGE);
        uint64_t serial = __atomic_load_n(&var->record->serial, __ATOMIC_SEQ_CST);
        if (serial != var->seen) {
            var->seen = serial;
            return STORE_OK;
        }
        code = pool_lock_sleep(&var->record->lock, seen, deadline_ns, POOL_LOCK_WAIT_CHANGE);
    }
    return code;
}
