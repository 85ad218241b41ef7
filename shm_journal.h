/*
 * shm_journal.h - catching up with the published stream, and adding to it.
 *
 * A change is encoded as a record, the record is written behind the stream, then
 * carried out on this process's copy of the variable by the same function that
 * other processes will replay it with (shm_record.h), and then published. So all
 * see the same.
 *
 * A BATCH is what one Perl operation (a list assignment) does to a variable in
 * many calls: its records are collected, and published together when it ends.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_JOURNAL_H
#define SHM_JOURNAL_H

#include "shm_snapshot.h"

#define SHM_TRIES 16 /* copies without a lock that a reader loses before it takes the lock */

/* --- reading ------------------------------------------------------------ */

static const char *shm_label(const shm_var_t *var)
{
    static const char *const labels[] = { "variable", "scalar", "array", "hash" };
    return var->name != NULL ? var->name : labels[var->type];
}

static void shm_damaged(pTHX_ shm_var_t *var) __attribute__((noreturn));
static void shm_damaged(pTHX_ shm_var_t *var)
{
    pool_error_t err;
    shm_cursor_reset(&var->at);
    var->at.serial = UINT64_MAX;
    if (!pool_grow_open_all(&var->space->blocks, &err)) croak("Cannot read the shared %s: %s", shm_label(var), err.text);
    croak("The shared %s is damaged: what is stored of it makes no sense", shm_label(var));
}

static void shm_gone(pTHX_ shm_var_t *var) __attribute__((noreturn));
static void shm_gone(pTHX_ shm_var_t *var)
{
    croak("The shared %s was removed", shm_label(var));
}

/* Bring into work.copy what this copy of the variable lacks of the current state,
 * and set *from to where that begins. False: somebody is writing; try again.
 * *damaged: there is a state, but its chain is broken. */
static bool shm_fetch_news(shm_var_t *var, shm_state_t *state, shm_cursor_t *to, bool *reload, bool *damaged)
{
    uint64_t serial;

    *damaged = false;
    if (!shm_read_state(var->record, &serial, state)) return false;
    *to                  = var->at;
    shm_work.copy.length = 0;
    *reload              = state->epoch != var->at.epoch || state->bytes < var->at.bytes || var->at.serial == UINT64_MAX;
    if (*reload && var->at.serial != UINT64_MAX && state->old_epoch == var->at.epoch && state->old_bytes == var->at.bytes
        && state->old_epoch != 0) {
        *reload   = false; /* the new chain begins with what this copy is */
        to->block = SHM_NONE;
        to->bytes = state->snapshot;
    }
    else if (*reload)
        shm_cursor_reset(to);
    to->serial = serial;
    to->epoch  = state->epoch;
    if (state->epoch != 0 && !shm_copy(var->space, state, to, state->bytes, &shm_work.copy)) {
        *damaged             = shm_still(var->record, serial) && !shm_work.copy.failed;
        shm_work.copy.failed = false;
        return false;
    }
    return shm_still(var->record, serial);
}

enum shm_news { SHM_CURRENT, SHM_DAMAGED, SHM_REMOVED };

/* Make the copy current. Whoever holds the lock has nobody to race with; a
 * reader that loses the race too often takes the lock. */
static enum shm_news shm_catch_up(pTHX_ shm_var_t *var)
{
    shm_state_t  state;
    shm_cursor_t to;
    shm_delta_t  ignored = { 0, 0, 0 };
    bool         reload, damaged, ok;
    int          tries;

    for (tries = 0; !shm_fetch_news(var, &state, &to, &reload, &damaged); tries++) {
        shm_locker_t locker = shm_locker(var);
        if (damaged) return SHM_DAMAGED;
        if (tries < SHM_TRIES || var->write_held || shm_write_lock(&locker, POOL_FOREVER) != POOL_OK) continue;
        ok = shm_fetch_news(var, &state, &to, &reload, &damaged);
        shm_write_unlock(var->record);
        if (!ok) return SHM_DAMAGED;
        break;
    }
    if (state.removed) return SHM_REMOVED;
    if (reload && var->type == SHM_HASH) shm_keep_iteration(aTHX_ var);
    if (reload) shm_clear_copy(aTHX_ var, &ignored);
    var->at = to;
    ok      = shm_apply(aTHX_ var, shm_work.copy.data, shm_work.copy.length, NULL, &ignored);
    shm_keep_objects(aTHX_ var);
    shm_work.dropped.length = 0; /* who made the change has dropped them */
    shm_buffer_trim(&shm_work.copy);
    return ok ? SHM_CURRENT : SHM_DAMAGED;
}

static void shm_report(pTHX_ shm_var_t *var, enum shm_news news)
{
    if (news == SHM_DAMAGED) shm_damaged(aTHX_ var);
    if (news == SHM_REMOVED) {
        var->removed = true;
        shm_gone(aTHX_ var);
    }
}

static void shm_work_free(shm_work_t *work)
{
    shm_buffer_free(&work->record);
    shm_buffer_free(&work->values);
    shm_buffer_free(&work->copy);
    shm_buffer_free(&work->snapshot);
    shm_buffer_free(&work->entries);
    shm_buffer_free(&work->pending);
    shm_buffer_free(&work->dropped);
    shm_buffer_free(&work->added);
    shm_buffer_free(&work->batch_added);
    shm_buffer_free(&work->kept);
    shm_buffer_free(&work->draft.taken);
}

static void shm_work_restore(pTHX_ void *outer)
{
    PERL_UNUSED_CONTEXT;
    shm_work_free(&shm_work);
    shm_work = *(shm_work_t *)outer;
    Safefree(outer);
}

/* While perl is in a scalar's magic, that is switched off. Returns what was on, to
 * be handed to the other one. */
static U32 shm_magic_on(pTHX_ SV *container)
{
    U32 was = container != NULL ? SvMAGICAL(container) : 0;
    if (container != NULL) mg_magical(container);
    return was;
}

static void shm_magic_as_it_was(SV *container, U32 was)
{
    if (container == NULL) return;
    SvMAGICAL_off(container);
    SvFLAGS(container) |= was;
}

/* Run signal handlers; they may die. An operation on `var` is waiting, with its record
 * made: handlers that use shared variables have a work space of their own meanwhile,
 * this variable is shared for them as well, and it lives on if they let go of it. */
static void shm_run_handlers(pTHX_ shm_var_t *var)
{
    shm_work_t *outer;
    SV         *container = var->container;
    U32         magic;
    if (!PL_sig_pending) return;
    sv_2mortal(SvREFCNT_inc(var->object));
    magic = shm_magic_on(aTHX_ container);
    ENTER;
    Newx(outer, 1, shm_work_t);
    *outer = shm_work;
    Zero(&shm_work, 1, shm_work_t);
    SAVEDESTRUCTOR_X(shm_work_restore, outer);
    PERL_ASYNC_CHECK();
    LEAVE;
    if (var->container == container) shm_magic_as_it_was(container, magic); /* not if it is gone */
}

/* Another process holds a write lock: wait until it does not. */
static void shm_wait_readable(pTHX_ shm_var_t *var)
{
    shm_locker_t locker = shm_locker(var);
    while (shm_await_readable(&locker, POOL_FOREVER) != POOL_OK) shm_run_handlers(aTHX_ var);
}

static inline bool shm_excluded(const shm_var_t *var)
{
    return __atomic_load_n(&var->record->exclusive, __ATOMIC_ACQUIRE) != 0 && !var->write_held; /* pairs with shm_exclude() */
}

/* Can this handle be used? */
static void shm_check(pTHX_ shm_var_t *var)
{
    shm_adopt();
    if (var->cache == NULL) croak("The shared variable is no longer attached");
    if (var->removed || var->record->state[var->record->serial & 1].removed) {
        var->removed = true;
        shm_gone(aTHX_ var);
    }
}

static void shm_batch_commit(pTHX);

/* Acquire pairs with shm_publish(). Who waits holds no lock of a batch on another
 * variable: its holder may be waiting for that. */
static void shm_refresh_slow(pTHX_ shm_var_t *var)
{
    dSAVE_ERRNO; /* the user only looks at a variable */
    shm_check(aTHX_ var);
    while (shm_excluded(var)) {
        if (shm_work.batch != NULL) shm_batch_commit(aTHX);
        shm_wait_readable(aTHX_ var);
    }
    if (__atomic_load_n(&var->record->serial, __ATOMIC_ACQUIRE) != var->at.serial) shm_report(aTHX_ var, shm_catch_up(aTHX_ var));
    RESTORE_ERRNO;
}

/* Before every read: is the copy current? Two loads. Acquire pairs with shm_publish(). */
static inline void shm_refresh(pTHX_ shm_var_t *var)
{
    if (POOL_UNLIKELY(__atomic_load_n(&var->record->serial, __ATOMIC_ACQUIRE) != var->at.serial || shm_excluded(var)))
        if (var != shm_work.batch && !var->frozen) shm_refresh_slow(aTHX_ var);
}

/* Whoever unlocks and locks again in a loop would never let a sleeper in: if
 * somebody waited, give him a millisecond to come first. */
static void shm_be_courteous(shm_var_t *var)
{
    struct timespec moment = { 0, 50000 };
    int             i;
    if (!var->courteous) return;
    var->courteous = false;
    for (i = 0; i < 20 && __atomic_load_n(&var->record->lock.holder, __ATOMIC_RELAXED) == 0; i++) nanosleep(&moment, NULL);
}

/* --- writing ------------------------------------------------------------ */

static void shm_no_room(pTHX_ const shm_space_t *space, const char *text) __attribute__((noreturn));
static void shm_no_room(pTHX_ const shm_space_t *space, const char *text)
{
    if (__atomic_load_n(&space->super->closed, __ATOMIC_ACQUIRE) != 0)
        croak("The namespace %s was removed", space->path); /* pairs with shm_space_remove() */
    croak("Cannot store: %s", text);
}

static void shm_deadlock(pTHX_ shm_var_t *var) __attribute__((noreturn));
static void shm_deadlock(pTHX_ shm_var_t *var)
{
    croak("Deadlock on the shared %s: this process and another one hold read locks, and both want to write", shm_label(var));
}

static void shm_lock_slow(pTHX_ shm_var_t *var)
{
    shm_locker_t locker = shm_locker(var);
    int          code;
    dSAVE_ERRNO;
    while ((code = shm_write_lock(&locker, POOL_FOREVER)) != POOL_OK) {
        if (code == SHM_DEADLOCK) shm_deadlock(aTHX_ var);
        shm_run_handlers(aTHX_ var);
        locker = shm_locker(var);
    }
    RESTORE_ERRNO;
}

static void shm_unlock(shm_var_t *var)
{
    if (!var->write_held && shm_work.batch != var) shm_write_unlock(var->record);
}

static void shm_registry_enter(shm_space_t *space)
{
    if (shm_work.registry) return;
    shm_registry_lock(space);
    shm_work.registry = true;
}

static void shm_registry_leave(shm_space_t *space)
{
    if (!shm_work.registry) return;
    shm_work.registry = false;
    shm_registry_unlock(space);
}

/* Become the writer, with a current copy. Dies holding nothing. */
static void shm_begin(pTHX_ shm_var_t *var)
{
    if (shm_work.batch == var) return;
    if (POOL_UNLIKELY(var->removed || shm_child || var->cache == NULL)) shm_check(aTHX_ var);
    if (POOL_UNLIKELY(shm_work.batch != NULL)) shm_batch_commit(aTHX);
    if (!var->write_held && POOL_UNLIKELY(!shm_try_write_lock(var->record, shm_me(var->space)))) shm_lock_slow(aTHX_ var);
    if (POOL_UNLIKELY(var->record->serial != var->at.serial)) {
        enum shm_news news = shm_catch_up(aTHX_ var);
        if (news != SHM_CURRENT) {
            shm_unlock(var);
            shm_report(aTHX_ var, news);
        }
    }
    if (shm_work.batching > 0) {
        shm_work.batch          = var;
        shm_work.replaced       = false;
        shm_work.pending.length = shm_work.dropped.length = shm_work.batch_added.length = 0;
        memset(&shm_work.delta, 0, sizeof shm_work.delta);
    }
}

/* Would the record open a new block of a stream that is mostly history? Then it
 * is time for a new snapshot. */
static inline bool shm_is_old(const shm_space_t *space, const shm_state_t *state, size_t more)
{
    uint64_t end = state->bytes + more;
    return POOL_UNLIKELY((state->bytes % space->payload) + more > space->payload || state->bytes % space->payload == 0)
           && end > 2 * state->live + space->payload / 2;
}

/* Begin the draft in a new chain: with the copy as its snapshot, which is the
 * content of the old stream (current), or of none. */
static bool shm_rewrite(pTHX_ shm_var_t *var, bool current)
{
    shm_draft_t *draft = &shm_work.draft;
    shm_sink_t   sink  = { var, draft, &shm_work.snapshot, true };
    shm_draft_anew(var->record, draft);
    pool_grow_rewind(&var->space->blocks);
    if (!current) draft->state.old_epoch = 0;
    sink.piece->length = 0;
    sink.piece->failed = false;
    shm_put_snapshot(aTHX_ & sink, var);
    if (!shm_pass_on(&sink, 0)) return false;
    draft->state.snapshot = draft->state.live = draft->state.bytes;
    shm_buffer_trim(&shm_work.snapshot);
    return true;
}

/* Does the record leave nothing of what was there before? */
static bool shm_replaces_all(const shm_var_t *var, const shm_buffer_t *record)
{
    return record->data[0] == SHM_CLEAR || (var->type == SHM_SCALAR && record->data[0] == SHM_SET);
}

/* The draft is complete: publish it, and let the copy know that it is what was
 * published. References that are gone are dropped after that, under the registry
 * lock from before, so that a recount never sees a number that is too small. */
static void shm_finish(pTHX_ shm_var_t *var, const shm_delta_t *delta)
{
    shm_draft_t *draft = &shm_work.draft;
    shm_state_t *state = &draft->state;

    PERL_UNUSED_CONTEXT;
    state->live     = (uint64_t)((int64_t)state->live + delta->live > 0 ? (int64_t)state->live + delta->live : 0);
    state->elements = (uint64_t)((int64_t)state->elements + delta->elements);
    state->standins = (uint64_t)((int64_t)state->standins + delta->standins);
    if (shm_work.dropped.length > 0) shm_registry_enter(var->space);
    shm_publish(var->space, var->record, draft);
    var->at.serial = var->record->serial;
    var->at.epoch  = state->epoch;
    var->at.bytes  = state->bytes;
    var->at.block  = state->bytes > 0 ? state->tail : SHM_NONE;
    var->at.index  = state->bytes > 0 ? (state->bytes - 1) / var->space->payload : 0;
    if (shm_work.dropped.length > 0) shm_drop_refs(var->space, &shm_work.dropped);
    shm_registry_leave(var->space);
}

/* What a change refers to is counted before it is published, and the registry lock held
 * from then until it is: a recount in between would not see the reference, and the
 * count be too small ever after. */
static void shm_enter_refs(pTHX_ shm_var_t *var, const shm_buffer_t *added)
{
    if (added->length == 0) return;
    shm_registry_enter(var->space);
    shm_take_refs(aTHX_ var->space, added);
}

/* Write one record, carry it out, publish. Between shm_begin() and the return
 * the variable is locked; after it, it is not, whatever happened. */
static void shm_write(pTHX_ shm_var_t *var, shm_buffer_t *record, AV *removed)
{
    shm_draft_t *draft = &shm_work.draft;
    shm_delta_t  delta = { 0, 0, 0 };
    U32          hash  = shm_work.hash;
    bool         ok, anew = false;

    shm_work.hash = 0; /* whatever happens: it belongs to this record */
    if (record->failed || shm_work.added.failed) {
        record->failed = shm_work.added.failed = false;
        shm_unlock(var);
        croak("Out of memory for a shared value");
    }
    if (shm_work.batch == var) {
        if (record->data[0] == SHM_CLEAR) {
            shm_work.pending.length = 0;
            shm_work.replaced       = true;
        }
        else
            shm_buffer_put(&shm_work.pending, record->data, record->length);
        shm_work.hash = hash;
        shm_apply(aTHX_ var, record->data, record->length, removed, &shm_work.delta);
        shm_buffer_put(&shm_work.batch_added, shm_work.added.data, shm_work.added.length);
        shm_work.added.length = 0;
        shm_keep_objects(aTHX_ var);
        return;
    }
    shm_enter_refs(aTHX_ var, &shm_work.added);
    shm_work.dropped.length = 0;
    shm_draft_begin(var->record, draft);
    if (POOL_UNLIKELY(shm_replaces_all(var, record))
        && (record->data[0] == SHM_CLEAR || draft->state.bytes % var->space->payload + record->length > var->space->payload
            || draft->state.bytes == 0)) {
        shm_draft_anew(var->record, draft);
        draft->state.old_epoch = 0;
        ok                     = record->data[0] == SHM_CLEAR || shm_append(var->space, var->id.slot, draft, record->data, record->length);
        anew                   = true;
    }
    else {
        ok = draft->state.epoch != 0 && !shm_is_old(var->space, &draft->state, record->length);
        ok = (ok || shm_rewrite(aTHX_ var, true)) && shm_append(var->space, var->id.slot, draft, record->data, record->length);
    }
    if (!ok) {
        shm_discard(var->space, draft);
        if (shm_work.added.length > 0) shm_drop_refs(var->space, &shm_work.added);
        shm_registry_leave(var->space);
        shm_unlock(var);
        shm_no_room(aTHX_ var->space, draft->err.text);
    }
    shm_work.hash = hash;
    shm_apply(aTHX_ var, record->data, record->length, removed, &delta);
    if (anew) delta.live = (int64_t)draft->state.bytes - (int64_t)draft->state.live;
    shm_work.added.length = 0;
    shm_finish(aTHX_ var, &delta);
    shm_unlock(var);
    shm_keep_objects(aTHX_ var);
}

/* --- batches ------------------------------------------------------------ */

/* Throw away what the batch did: the copy is read anew. */
static void shm_batch_abort(pTHX)
{
    shm_var_t *var = shm_work.batch;
    PERL_UNUSED_CONTEXT;
    if (var == NULL) return;
    shm_work.batch          = NULL;
    shm_work.dropped.length = 0;
    shm_cursor_reset(&var->at);
    var->at.serial = UINT64_MAX;
    shm_unlock(var);
}

/* Publish what the batch did, as one change. */
static void shm_batch_commit(pTHX)
{
    shm_var_t   *var   = shm_work.batch;
    shm_draft_t *draft = &shm_work.draft;
    bool         ok;

    if (var == NULL) return;
    if (shm_work.pending.length == 0 && !shm_work.replaced) {
        shm_work.batch = NULL;
        shm_unlock(var);
        return;
    }
    shm_enter_refs(aTHX_ var, &shm_work.batch_added);
    shm_draft_begin(var->record, draft);
    if (shm_work.pending.failed || shm_work.batch_added.failed) {
        shm_work.pending.failed = shm_work.batch_added.failed = false;
        ok = shm_fail(&draft->err, POOL_E_SYSTEM, ENOMEM, "cannot be written", var->space->path);
    }
    else if (shm_work.replaced && shm_work.pending.length == 0) { /* it is empty: that takes no room */
        shm_draft_anew(var->record, draft);
        draft->state.old_epoch = draft->state.live = 0;
        shm_work.delta.live                        = 0;
        ok                                         = true;
    }
    else if (shm_work.replaced || draft->state.epoch == 0 || shm_is_old(var->space, &draft->state, shm_work.pending.length)) {
        ok                  = shm_rewrite(aTHX_ var, false);
        shm_work.delta.live = 0; /* the snapshot was counted */
    }
    else
        ok = shm_append(var->space, var->id.slot, draft, shm_work.pending.data, shm_work.pending.length);
    if (!ok) {
        shm_discard(var->space, draft);
        if (shm_work.batch_added.length > 0) shm_drop_refs(var->space, &shm_work.batch_added);
        shm_registry_leave(var->space);
        shm_batch_abort(aTHX);
        shm_no_room(aTHX_ var->space, draft->err.text);
    }
    shm_work.batch = NULL;
    shm_finish(aTHX_ var, &shm_work.delta);
    shm_unlock(var);
}

#endif /* SHM_JOURNAL_H */
