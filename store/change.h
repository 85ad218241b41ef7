/*
 * change.h - changes of one variable: how they are begun, published, undone, and finished by
 * the heir of a dead writer; and looks, which are of one serial. layout.h describes the protocol.
 * Internal to store/.
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#ifndef STORE_CHANGE_H
#define STORE_CHANGE_H

#include "lock.h"
#include "tree.h"

#ifdef __cplusplus
extern "C" {
#endif

/* May this handle be used? STORE_OK, STORE_E_REMOVED, STORE_E_DETACHED. */
int change_usable(store_var_t *var);

/* The state that an open change drafts. */
static inline store_state_t *change_draft(store_var_t *var)
{
    return &var->record->state[(var->record->serial + 1) & 1];
}

/* Word by word, because others may be reading it. */
void change_copy_state(store_state_t *to, const store_state_t *from);

/* The serial that it will have. */
static inline uint64_t change_serial(const store_var_t *var)
{
    return var->record->serial + 1;
}

/* A call that is a change of its own, or part of the open one: change_enter(), then the work,
 * then change_leave() with the resulting code. A code other than STORE_OK undoes the change (unless
 * it was open before, in which case its opener has to abort it). Returns the code. */
int change_enter(store_var_t *var, bool *own);
int change_leave(store_var_t *var, bool own, int code);

/* The calls for one type of variable are refused for the others. */
static inline bool var_is(const store_var_t *var, uint32_t type)
{
    return POOL_LIKELY(var->id.type == type);
}

static inline int change_enter_as(store_var_t *var, uint32_t type, bool *own)
{
    return var_is(var, type) ? change_enter(var, own) : (int)STORE_E_ARGUMENT;
}

/* change_leave() for a call whose code may also say that there was nothing to do; such a code undoes nothing. */
static inline int change_leave_as(store_var_t *var, bool own, int code)
{
    bool idle = code == STORE_ABSENT || code == STORE_MORE || code == STORE_E_ARGUMENT;
    int  left = change_leave(var, own, idle ? (int)STORE_OK : code);
    return left == STORE_OK ? code : left;
}

/* Put a new cell (which is not linked yet) onto the list of the change; do the same for a cell
 * that goes, unless this change made it. */
void change_add(store_var_t *var, store_link_t link, store_cell_t *cell);
void change_end(store_var_t *var, store_link_t link, store_cell_t *cell);

/* Make a cell for this change, and count the reference in it. Returns its link, or 0 with *code. */
store_link_t change_make(store_var_t *var, const store_key_t *key, const store_value_t *value, uint64_t expires_ns, int *code);

/* Free a cell that nothing leads to and that is not on the list. */
void change_discard(store_t *space, store_link_t link, store_doomed_t *doomed);

/* Call this before freeing something that others may be reading: they will start over. Release: the count
 * has risen before the memory is used again; pairs with look_holds(). */
static inline void change_retire(store_record_t *record)
{
    __atomic_store_n(&record->retired, STORE_LOAD(record->retired) + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

/* Go along the list: finish what is published, undo the rest. Called by the writer after
 * it has published or given up, and by its heir. */
void change_settle(store_t *space, store_record_t *record, store_doomed_t *doomed);

/* Is there anything of a change that has not been settled yet? For who does not hold the lock. Acquire: if there is
 * nothing, all of it was owned before; pairs with change_remove_cell(), change_intended() and joint_settle(). */
static inline bool change_is_unsettled(const store_record_t *record)
{
    return __atomic_load_n(&record->todo, __ATOMIC_ACQUIRE) != 0 || __atomic_load_n(&record->intent, __ATOMIC_ACQUIRE) != STORE_INTENT_NONE
           || (__atomic_load_n(&record->state[0].joint, __ATOMIC_ACQUIRE) | __atomic_load_n(&record->state[1].joint, __ATOMIC_ACQUIRE))
                  != 0;
}

/* Note what is going to be done to a page, and then that it is done. Release:
 * an heir that sees the intent also sees what it refers to. */
static inline void change_intend(store_record_t *record, uint32_t intent, store_link_t page, uint64_t place)
{
    STORE_STORE(record->intent_page, page);
    STORE_STORE(record->intent_place, place);
    __atomic_store_n(&record->intent, intent, __ATOMIC_RELEASE); /* pairs with lock_inherit() */
}
static inline void change_intended(store_record_t *record)
{
    __atomic_store_n(&record->intent, STORE_INTENT_NONE, __ATOMIC_RELEASE); /* pairs with lock_inherit() */
}

/* --- looks ---------------------------------------------------------------------- */

/* What a look relies on. */
typedef struct store_sight {
    uint64_t      serial, retired;
    store_state_t state;
    uint32_t     *looking; /* the word that says that it is on */
} store_sight_t;

/* Begin a look. STORE_OK, or the reason for failure. Waits while another process has the write lock by name.
 * Call look_end() after the last access to what the look has found. It may be left out before the look is
 * begun again. */
int look_begin(store_var_t *var, store_sight_t *sight);

/* The state of one moment, whoever has the variable locked: for what counts and searches. Its guard is the caller's. */
void look_past_locks(const store_record_t *record, store_sight_t *sight);

/* Say that a look is on, so that what it may reach keeps its memory. A plain store, in the order of the
 * program, is sufficient: a process that wants to give memory back makes all processors execute a barrier first.
 * Pairs with trim_may(). A process that has died or is stopped here is recognised by the owner of its mark. */
static inline void look_enter(uint32_t *looking)
{
    STORE_STORE(*looking, 1);
    if (POOL_UNLIKELY(space_fences))
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    else
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Release: the data was read before. Pairs with trim_outwait(). */
static inline void look_leave(uint32_t *looking)
{
    __atomic_store_n(looking, 0, __ATOMIC_RELEASE);
}
static inline void look_end(const store_sight_t *sight)
{
    look_leave(sight->looking);
}

/* Is the look still valid, because nothing was freed that it may have passed through? Otherwise it has to
 * be begun again. Acquire fence: the data is read before the count; pairs with change_retire(). */
static inline bool look_holds(const store_var_t *var, const store_sight_t *sight)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return POOL_LIKELY(STORE_LOAD(var->record->retired) == sight->retired)
           && (!var->is_glance || STORE_LOAD(var->record->generation) == var->id.generation);
}

/* For reading pages. */
static inline tree_guard_t look_guard(const store_var_t *var, const store_sight_t *sight)
{
    tree_guard_t guard = { &var->record->retired, &var->record->generation, sight->retired, var->id.generation };
    return guard;
}

/* The same for a look at the whole variable: is the serial unchanged, too? */
static inline bool look_is_current(const store_var_t *var, const store_sight_t *sight)
{
    return look_holds(var, sight) && (var->open || STORE_LOAD(var->record->serial) == sight->serial);
}

/* A look that was disturbed LOOK_TRIES times takes the lock. A glance has no handle to lock
 * through, so it lets others run first, and gives up after LOOK_GLANCES attempts: then the cause is not
 * disturbance but damage. */
#define LOOK_TRIES   20
#define LOOK_GLANCES 100000

static inline bool look_again(const store_var_t *var, int tries)
{
    if (POOL_LIKELY(tries < LOOK_TRIES)) return true;
    if (!var->is_glance || tries > LOOK_GLANCES) return false;
    sched_yield();
    return true;
}

/* Take the lock for such a look; otherwise like change_enter(). */
int look_lock(store_var_t *var, bool *own);

#ifdef __cplusplus
}
#endif
#endif /* STORE_CHANGE_H */
