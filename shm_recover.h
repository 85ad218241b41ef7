/*
 * shm_recover.h - removing variables on purpose, and freeing what the dead left
 * behind and what nothing can reach.
 *
 * Recovery trusts no counter. Under the registry lock, where references cannot
 * change, it marks what names and live attachments lead to, sets the counts of
 * those, and frees the rest, cycles too. Blocks of dead owners are kept where
 * their variable's published chain contains them.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_RECOVER_H
#define SHM_RECOVER_H

#include "shm_refs.h"

/* --- attachments ------------------------------------------------------- */

/* Are there attachments of dead processes? Cheap enough to be asked now and then. */
static bool shm_has_dead(shm_space_t *space)
{
    uint64_t slot, last = 0;
    for (slot = pool_grow_next(&space->attach, 0); slot != POOL_NONE; slot = pool_grow_next(&space->attach, slot + 1)) {
        pool_t  *part  = pool_grow_have(&space->attach, slot);
        uint64_t owner = pool_owner_word(part, pool_grow_index(slot));
        if (owner != last && pool_owner_is_dead(part, owner)) return true;
        last = owner;
    }
    return false;
}

static uint64_t shm_recover_attachments(shm_space_t *space)
{
    int64_t  now = shm_boottime();
    uint64_t slot, freed = 0;
    for (slot = pool_grow_next(&space->attach, 0); slot != POOL_NONE; slot = pool_grow_next(&space->attach, slot + 1))
        if (!shm_is_attached(space, slot, now)) freed += pool_grow_free(&space->attach, slot);
    return freed;
}

/* An attachment whose owner is dead, and which is ours at the moment. What its owner
 * made for a child stays, in the owner's name, until the child takes it: that waits for
 * the registry lock, which is held. */
static bool shm_recover_attachment(pool_t *part, uint64_t index, uint64_t owner, void *now)
{
    if (!shm_is_in_transit(part, (const shm_attach_t *)pool_ptr(part, index), *(const int64_t *)now)) return true;
    pool_unadopt(part, index, pool_generation(part, index), owner);
    return false;
}

/* --- cycles in this process ----------------------------------------------- */

/* Call `step` with each handle that the copy of a variable has references to. */
static void shm_each_inner(pTHX_ shm_var_t *var, void (*step)(pTHX_ shm_var_t *, shm_buffer_t *), shm_buffer_t *todo)
{
    bool    foreign;
    SSize_t i;
    if (var->type == SHM_SCALAR) {
        if (SvROK(var->cache) && (var = shm_handle_of_container(aTHX_ SvRV(var->cache), &foreign)) != NULL) step(aTHX_ var, todo);
    }
    else if (var->type == SHM_ARRAY) {
        AV *av = (AV *)var->cache;
        for (i = 0; i <= AvFILLp(av); i++)
            if (AvARRAY(av)[i] != NULL && SvROK(AvARRAY(av)[i])
                && (var = shm_handle_of_container(aTHX_ SvRV(AvARRAY(av)[i]), &foreign)) != NULL)
                step(aTHX_ var, todo);
    }
    else {
        HV *hv = (HV *)var->cache;
        HE *entry, **buckets = HvARRAY(hv);
        for (i = 0; buckets != NULL && i <= (SSize_t)HvMAX(hv); i++)
            for (entry = buckets[i]; entry != NULL; entry = HeNEXT(entry))
                if (SvROK(HeVAL(entry)) && (var = shm_handle_of_container(aTHX_ SvRV(HeVAL(entry)), &foreign)) != NULL)
                    step(aTHX_ var, todo);
    }
}

static void shm_count_inner(pTHX_ shm_var_t *var, shm_buffer_t *todo)
{
    PERL_UNUSED_CONTEXT;
    (void)todo;
    var->inner++;
}

static void shm_reach(pTHX_ shm_var_t *var, shm_buffer_t *todo)
{
    PERL_UNUSED_CONTEXT;
    if (var->reached) return;
    var->reached = true;
    shm_buffer_put(todo, &var, sizeof var);
}

/* Variables that refer to each other keep each other attached, through the
 * copies of this process. Where nothing else in the program leads to them, let
 * the copies go: they can be read anew. */
static void shm_release_cycles(pTHX)
{
    shm_buffer_t all = { NULL, 0, 0, false }, todo = { NULL, 0, 0, false };
    AV          *copies = newAV();
    shm_var_t   *var;
    uint32_t     bucket;
    size_t       i;

    pthread_mutex_lock(&shm_table_lock);
    for (bucket = 0; bucket < SHM_BUCKETS; bucket++)
        for (var = shm_table[bucket]; var != NULL; var = var->next) {
            if ((void *)var->perl != (void *)SHM_PERL || var->cache == NULL) continue;
            var->inner   = 0;
            var->reached = false;
            shm_buffer_put(&all, &var, sizeof var);
        }
    pthread_mutex_unlock(&shm_table_lock);
    for (i = 0; i < all.length; i += sizeof var) {
        memcpy(&var, all.data + i, sizeof var);
        shm_each_inner(aTHX_ var, shm_count_inner, NULL);
    }
    for (i = 0; i < all.length; i += sizeof var) {
        memcpy(&var, all.data + i, sizeof var);
        if (var->container == NULL || var->object == NULL || SvREFCNT(var->container) > var->inner || SvREFCNT(var->object) > 1
            || var == shm_work.batch)
            shm_reach(aTHX_ var, &todo);
    }
    while (todo.length > 0) {
        todo.length -= sizeof var;
        memcpy(&var, todo.data + todo.length, sizeof var);
        shm_each_inner(aTHX_ var, shm_reach, &todo);
    }
    for (i = 0; i < all.length && !all.failed && !todo.failed; i += sizeof var) {
        memcpy(&var, all.data + i, sizeof var);
        if (var->reached) continue;
        av_push(copies, var->cache);
        var->cache = shm_new_cache(aTHX_ var->type);
        shm_cursor_reset(&var->at);
        var->at.serial = UINT64_MAX;
    }
    shm_buffer_free(&all);
    shm_buffer_free(&todo);
    SvREFCNT_dec_NN(copies);
}

/* --- variables: mark and sweep ------------------------------------------ */

typedef struct shm_marks {
    shm_space_t *space;
    uint64_t    *refs; /* a variable slot */
    uint64_t     capacity;
    shm_buffer_t todo; /* shm_id_t */
    int64_t      now;
} shm_marks_t;

static void shm_mark(shm_marks_t *marks, shm_id_t id)
{
    if (id.slot >= marks->capacity || !shm_exists(marks->space, id)) return;
    if (marks->refs[id.slot]++ == 0) shm_buffer_put(&marks->todo, &id, sizeof id);
}

static void shm_mark_roots(shm_marks_t *marks)
{
    pool_grow_t *names = &marks->space->names, *attach = &marks->space->attach;
    uint64_t     slot;
    shm_id_t     id;

    for (slot = pool_grow_next(names, 0); slot != POOL_NONE; slot = pool_grow_next(names, slot + 1)) {
        const shm_name_t *name = shm_name_at(marks->space, slot);
        if (name == NULL) continue;
        id.slot       = name->variable;
        id.generation = name->generation;
        shm_mark(marks, id);
    }
    for (slot = pool_grow_next(attach, 0); slot != POOL_NONE; slot = pool_grow_next(attach, slot + 1)) {
        const shm_attach_t *mark = (const shm_attach_t *)pool_grow_ptr(attach, slot);
        id                       = shm_attached_to(mark);
        shm_mark(marks, id);
    }
}

/* Follow the references. False: a variable could not be read; then nothing can
 * be said about what is not marked. */
static bool shm_mark_reachable(pTHX_ shm_marks_t *marks)
{
    shm_buffer_t found = { NULL, 0, 0, false };
    bool         ok    = true;
    while (ok && marks->todo.length >= sizeof(shm_id_t)) {
        shm_id_t id;
        size_t   i;
        marks->todo.length -= sizeof id;
        memcpy(&id, marks->todo.data + marks->todo.length, sizeof id);
        found.length = 0;
        ok           = shm_references(aTHX_ marks->space, id, &found) && !found.failed;
        for (i = 0; ok && i < found.length; i += sizeof id) {
            memcpy(&id, found.data + i, sizeof id);
            shm_mark(marks, id);
        }
        ok = ok && !marks->todo.failed;
    }
    shm_buffer_free(&found);
    return ok;
}

static uint64_t shm_sweep(shm_marks_t *marks)
{
    pool_grow_t *vars = &marks->space->vars;
    uint64_t     slot, freed = 0;
    for (slot = pool_grow_next(vars, 0); slot != POOL_NONE; slot = pool_grow_next(vars, slot + 1)) {
        shm_id_t id = { slot, 0 };
        if (slot >= marks->capacity) break;
        id.generation = pool_grow_generation(vars, slot);
        if (marks->refs[slot] > 0) {
            shm_record(marks->space, slot)->refs = marks->refs[slot];
            continue;
        }
        shm_destroy(marks->space, id);
        freed++;
    }
    return freed;
}

/* --- blocks -------------------------------------------------------------- */

/* The blocks of the variable that was asked about last, sorted: a dead writer's
 * blocks tend to be of one variable. */
typedef struct shm_chain {
    shm_space_t *space;
    uint32_t     part;
    uint64_t     variable, serial;
    shm_buffer_t blocks;
    bool         known;
} shm_chain_t;

static int shm_compare_blocks(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Read the chain of a variable. False: it does not exist. */
static bool shm_read_chain(shm_chain_t *chain, uint64_t variable)
{
    shm_record_t *record = shm_record(chain->space, variable);
    shm_state_t   state;
    uint64_t      blocks, id;

    if (record == NULL || !pool_grow_is_allocated(&chain->space->vars, variable)) return false;
    if (chain->known && chain->variable == variable && shm_still(record, chain->serial)) return true;
    do {
        while (!shm_read_state(record, &chain->serial, &state)) pool_lock_pause();
        chain->blocks.length = 0;
        blocks               = state.epoch == 0 ? 0 : (state.bytes + chain->space->payload - 1) / chain->space->payload;
        for (id = state.head; blocks > 0; blocks--) {
            shm_block_t *block = shm_block(chain->space, id);
            if (block == NULL) break;
            shm_buffer_put(&chain->blocks, &id, sizeof id);
            id = __atomic_load_n(&block->next, __ATOMIC_RELAXED);
        }
    } while (!shm_still(record, chain->serial));
    qsort(chain->blocks.data, chain->blocks.length / sizeof id, sizeof id, shm_compare_blocks);
    chain->variable = variable;
    chain->known    = true;
    return true;
}

/* A block of a dead owner, which is ours at the moment. A published one becomes
 * nobody's again, unless a writer has just freed it: hence the exact exchange. */
static bool shm_recover_block(pool_t *part, uint64_t index, uint64_t owner, void *context)
{
    shm_chain_t *chain = (shm_chain_t *)context;
    uint64_t     id    = index + pool_grow_base(chain->part), uses = pool_generation(part, index);
    shm_block_t *block = (shm_block_t *)pool_ptr(part, index);

    (void)owner;
    if (!shm_read_chain(chain, block->variable)) return true;
    if (chain->blocks.failed) return false;
    if (bsearch(&id, chain->blocks.data, chain->blocks.length / sizeof id, sizeof id, shm_compare_blocks) == NULL) return true;
    pool_unadopt(part, index, uses, POOL_I_NOBODY);
    return false;
}

static uint64_t shm_recover_blocks(shm_space_t *space)
{
    shm_chain_t  chain;
    pool_error_t err;
    uint64_t     freed = 0;

    memset(&chain, 0, sizeof chain);
    chain.space = space;
    for (chain.part = 0; chain.part < POOL_GROW_PARTS; chain.part++) {
        pool_t *part = pool_grow_open(&space->blocks, chain.part, false, &err);
        if (part == NULL) break;
        freed += pool_recover(part, shm_recover_block, &chain);
    }
    shm_buffer_free(&chain.blocks);
    return freed;
}

static uint64_t shm_recover_row(pool_grow_t *row, pool_stale_fn *stale, void *context)
{
    pool_error_t err;
    uint64_t     freed = 0;
    uint32_t     k;
    for (k = 0; k < POOL_GROW_PARTS; k++) {
        pool_t *part = pool_grow_open(row, k, false, &err);
        if (part == NULL) break;
        freed += pool_recover(part, stale, context);
    }
    return freed;
}

/* Free what dead processes left behind and what nothing can reach. Returns the
 * number of variables, attachments, names and blocks that were freed. */
static uint64_t shm_recover(pTHX_ shm_space_t *space)
{
    shm_marks_t  marks;
    pool_error_t err;
    uint64_t     freed;

    memset(&marks, 0, sizeof marks);
    shm_adopt();
    shm_release_cycles(aTHX);
    shm_registry_lock(space);
    if (!shm_sees_all(space, &err)) {
        shm_registry_unlock(space);
        return 0; /* what cannot be seen cannot be marked */
    }
    freed          = shm_recover_attachments(space) + shm_recover_row(&space->names, NULL, NULL);
    marks.space    = space;
    marks.now      = shm_boottime();
    marks.capacity = pool_grow_capacity(&space->vars, NULL);
    marks.refs     = (uint64_t *)calloc(marks.capacity + 1, sizeof(uint64_t));
    if (marks.refs != NULL) {
        shm_mark_roots(&marks);
        if (shm_mark_reachable(aTHX_ & marks)) freed += shm_sweep(&marks);
    }
    free(marks.refs);
    shm_buffer_free(&marks.todo);
    freed += shm_recover_row(&space->vars, NULL, NULL) + shm_recover_row(&space->attach, shm_recover_attachment, &marks.now)
             + shm_recover_blocks(space);
    shm_registry_unlock(space);
    return freed;
}

/* --- removing -------------------------------------------------------------- */

/* Publish that the variable is no more, and free what it held. The lock is held
 * by the caller. */
static void shm_publish_removed(pTHX_ shm_space_t *space, shm_id_t id)
{
    shm_record_t *record = shm_record(space, id.slot);
    shm_draft_t  *draft  = &shm_work.draft;

    if (record->state[record->serial & 1].removed) return;
    shm_draft_begin(record, draft);
    shm_registry_enter(space);
    shm_work.dropped.length = 0;
    shm_references(aTHX_ space, id, &shm_work.dropped);
    shm_draft_anew(record, draft);
    draft->state.removed  = 1;
    draft->state.elements = draft->state.standins = draft->state.live = 0;
    shm_publish(space, record, draft);
    shm_drop_refs(space, &shm_work.dropped);
    shm_registry_leave(space);
}

/* The name goes first: who dies after that leaves a variable that nothing names. */
static void shm_remove_name(shm_space_t *space, shm_id_t id)
{
    uint64_t slot;
    shm_registry_lock(space);
    for (slot = pool_grow_next(&space->names, 0); slot != POOL_NONE; slot = pool_grow_next(&space->names, slot + 1)) {
        const shm_name_t *name = shm_name_at(space, slot);
        if (name == NULL || name->variable != id.slot || name->generation != id.generation) continue;
        pool_grow_free(&space->names, slot);
        shm_drop_ref(space, id);
        break;
    }
    shm_registry_unlock(space);
}

#define SHM_CLEANUP_NS INT64_C(200000000) /* how long a cleanup waits for a lock */

/* Signals have to wait as well. */
static bool shm_wait_for_lock(const shm_locker_t *locker, int64_t deadline_ns)
{
    int code;
    do code = shm_write_lock(locker, deadline_ns);
    while (code == POOL_INTERRUPTED);
    return code == POOL_OK;
}

/* Remove the namespace: its files, then the content of its variables. A variable
 * that somebody keeps locked is left to him; no name leads to it any more. */
static void shm_cleanup(pTHX_ shm_space_t *space)
{
    uint64_t slot;
    shm_space_remove(space);
    for (slot = pool_grow_next(&space->vars, 0); slot != POOL_NONE; slot = pool_grow_next(&space->vars, slot + 1)) {
        shm_id_t     id   = { slot, pool_grow_generation(&space->vars, slot) };
        shm_var_t   *var  = shm_table_find(aTHX_ space, id);
        bool         held = var != NULL && var->write_held;
        shm_locker_t locker;
        memset(&locker, 0, sizeof locker);
        if (var != NULL)
            locker = shm_locker(var);
        else {
            locker.space  = space;
            locker.record = shm_record(space, slot);
            locker.id     = id;
            locker.attach = SHM_NONE;
        }
        if (!held && !shm_wait_for_lock(&locker, pool_lock_deadline(SHM_CLEANUP_NS))) continue;
        shm_publish_removed(aTHX_ space, id);
        if (!held) shm_write_unlock(locker.record);
    }
}

#endif /* SHM_RECOVER_H */
