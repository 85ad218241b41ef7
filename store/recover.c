/*
 * recover.c - what the dead have left, and what nothing can reach.
 *
 * One process at a time recovers; the others work on. In this order:
 *
 *   1. who is dead is listed, by the owner words of slots
 *   2. changes that the dead left open are finished or undone; variables that they were
 *      making or destroying are destroyed
 *   3. marks of the dead are freed
 *   4. cells and pages that are still those of the listed are freed: nothing leads to them,
 *      or step 2 would have made them nobody's
 *   5. the search for garbage: what names, marks, and cells that are just being stored do
 *      not lead to
 *
 * The search works while others store. A reference that is published is shaded: its variable
 * gets the number of the search (`epoch`). So does a variable that is made, or attached to.
 * What is neither found nor shaded is unreachable, and nobody can reach it again.
 */
#include "table.h"

#include <stdlib.h>

/* --- who is dead ------------------------------------------------------------------ */

typedef struct recover_dead {
    pool_t  *pool; /* whose owner word it is */
    uint64_t owner;
} recover_dead_t;

typedef struct recovery {
    store_t        *space;
    recover_dead_t *dead;
    size_t          count, room;
    pool_t         *last_pool; /* the last verdict: neighbours are alike */
    uint64_t        last_owner;
    bool            failed, unsettled;
    uint64_t        freed;
    store_doomed_t  doomed;
} recovery_t;

static bool recover_is_listed(pool_t *pool, uint64_t owner, void *context)
{
    const recovery_t *recovery = (const recovery_t *)context;
    size_t            i;
    for (i = 0; i < recovery->count; i++)
        if (recovery->dead[i].pool == pool && recovery->dead[i].owner == (owner & ~POOL_I_BUSY)) return true;
    return false;
}

static void recover_note(recovery_t *recovery, pool_t *pool, uint64_t owner)
{
    owner &= ~POOL_I_BUSY;
    if (owner == 0 || owner == POOL_I_NOBODY || (pool == recovery->last_pool && owner == recovery->last_owner)) return;
    recovery->last_pool  = pool;
    recovery->last_owner = owner;
    if (recover_is_listed(pool, owner, recovery) || !pool_owner_is_dead(pool, owner)) return;
    if (recovery->count == recovery->room) {
        size_t          room = recovery->room * 2 + 64;
        recover_dead_t *more = (recover_dead_t *)realloc(recovery->dead, room * sizeof *more);
        if (more == NULL) {
            recovery->failed = true;
            return;
        }
        recovery->dead = more;
        recovery->room = room;
    }
    recovery->dead[recovery->count].pool    = pool;
    recovery->dead[recovery->count++].owner = owner;
}

/* All owner words of a row. */
static void recover_look_at_row(recovery_t *recovery, uint32_t row)
{
    uint32_t part;
    for (part = 0; part < STORE_PARTS; part++) {
        pool_t  *pool;
        uint64_t slot;
        if (__atomic_load_n(&recovery->space->header->parts[row][part], __ATOMIC_ACQUIRE) == 0) break; /* pairs with row_place() */
        if ((pool = row_open(recovery->space, row, part, false, NULL)) == NULL) {
            recovery->failed = true;
            continue;
        }
        for (slot = pool_next_held(pool, 0); slot != POOL_NONE; slot = pool_next_held(pool, slot + 1))
            recover_note(recovery, pool, pool_owner_word(pool, slot));
    }
}

/* --- variables ---------------------------------------------------------------------- */

static bool recover_is_names(store_t *space, store_link_t link)
{
    return (uint32_t)__atomic_load_n(&space->header->names, __ATOMIC_ACQUIRE) == row_slot(link) + 1; /* pairs with names_have() */
}

/* Settle a change that a dead writer left open. If a live process is already doing so, cells of the dead
 * writer are still on the list of the change, and must not be freed meanwhile. */
static void recover_lock(recovery_t *recovery, store_link_t link, store_record_t *record)
{
    store_t    *space = recovery->space;
    store_ref_t ref;
    if (!record_pin(space, link, &ref)) return;
    if (lock_inherit(space, record, &recovery->doomed)) {
        pool_lock_release(&record->lock);
        recovery->freed++;
    }
    else if (__atomic_load_n(&record->settling, __ATOMIC_SEQ_CST) != 0 && !lock_is_settled(space, record)) /* pairs with lock_inherit() */
        recovery->unsettled = true; /* the next recovery frees them */
    record_unpin(space, &ref);
}

static void recover_variable(store_t *space, store_link_t link, void *context)
{
    recovery_t     *recovery = (recovery_t *)context;
    store_record_t *record   = (store_record_t *)row_ptr(space, link);
    uint64_t        index, owner;
    pool_t         *pool = row_pool(space, link, &index);

    owner = pool_owner_word(pool, index);
    if (owner != POOL_I_NOBODY && recover_is_listed(pool, owner, recovery)) {
        if (recover_is_names(space, link))
            row_disown(space, link); /* its maker had published it, but not recorded that yet */
        else if (row_take(space, link, owner)) {
            ref_doom(space, link, &recovery->doomed);
            recovery->freed++;
        }
        return;
    }
    if (STORE_LOAD(record->lock.holder) != 0 || STORE_LOAD(record->settling) != 0) recover_lock(recovery, link, record);
    if (STORE_LOAD(record->count) != 0) return;
    if (!recover_is_names(space, link) && row_take(space, link, 0)) { /* who took it to 0 died there */
        ref_doom(space, link, &recovery->doomed);
        recovery->freed++;
    }
    else if (change_is_unsettled(record)) /* who destroys it may just come to what a dead writer left open */
        recovery->unsettled = true;
}

static void recover_cell(store_t *space, store_link_t link, void *context)
{
    recovery_t *recovery = (recovery_t *)context;
    ref_drop_piece(space, link, &recovery->doomed);
}

/* --- garbage --------------------------------------------------------------------------- */

typedef struct search {
    store_t  *space;
    uint64_t  epoch;
    uint64_t  capacity; /* slots of variables when it began */
    uint8_t  *reached;  /* a bit each */
    uint64_t  visited;  /* cells of the variable that is looked at */
    uint32_t *stack;
    size_t    height, room;
    bool      failed;
    uint64_t  freed;
} search_t;

static void search_reach(search_t *search, const store_ref_t *ref)
{
    const store_record_t *record = record_at(search->space, ref->slot);
    if (record == NULL || ref->slot >= search->capacity || STORE_LOAD(record->generation) != ref->generation) return;
    if ((search->reached[ref->slot / 8] >> ref->slot % 8 & 1) != 0) return;
    if (search->height == search->room) {
        size_t    room = search->room * 2 + 1024;
        uint32_t *more = (uint32_t *)realloc(search->stack, room * sizeof *more);
        if (more == NULL) {
            search->failed = true;
            return;
        }
        search->stack = more;
        search->room  = room;
    }
    search->reached[ref->slot / 8] |= (uint8_t)(1u << ref->slot % 8);
    search->stack[search->height++] = ref->slot;
}

/* A torn cell may seem to lead anywhere: then too much counts as reached. */
static void search_visit(store_t *space, store_link_t link, const store_cell_t *cell, void *context)
{
    search_t   *search = (search_t *)context;
    store_ref_t ref;
    search->visited++;
    if (cell != NULL && cell_ref(space, link, cell, &ref)) search_reach(search, &ref);
}

static bool search_try(search_t *search, store_var_t *var)
{
    store_sight_t         sight;
    const store_record_t *record = var->record;
    look_past_locks(record, &sight);
    /* But a link that is just being moved could be missed. Pairs with array_keep_out(). */
    if (__atomic_load_n(&record->exclusive, __ATOMIC_SEQ_CST) == STORE_MOVING && !lock_is_held(search->space, record)) return false;
    search->visited = 0;
    if (var->id.type != STORE_SCALAR && !hash_each(var, &sight, search_visit, search)) return false;
    /* Damaged links may lead past elements; what those lead to is not garbage. (What has expired is not visited.) */
    if (hash_counts(var) && !store_hash_is_timed(var) && search->visited != sight.state.length) return false;
    if (var->id.type == STORE_ARRAY && !array_each(var, &sight, search_visit, search)) return false;
    if (var->id.type == STORE_SCALAR && sight.state.root != 0)
        search_visit(search->space, sight.state.root, cell_at(search->space, sight.state.root), search);
    return look_is_current(var, &sight);
}

static void search_locked(search_t *search, store_var_t *var)
{
    if (lock_enter(var, store_deadline(INT64_C(200000000))) != STORE_OK) {
        search->failed = true;
        return;
    }
    if (!search_try(search, var)) search->failed = true;
    lock_leave(var);
}

/* Mark what a variable leads to. If it changes all the time, take its lock, so that nobody changes it for
 * a moment. */
static void search_variable(search_t *search, uint32_t slot)
{
    store_record_t *record = record_at(search->space, slot);
    store_ref_t     ref    = { slot, 0, 0, 0 };
    store_var_t     var;
    int             tries;
    if (record == NULL) return;
    ref.generation = STORE_LOAD(record->generation);
    ref.type       = STORE_LOAD(record->type);
    if (ref.generation == 0) return;
    if (ref.type < STORE_SCALAR || ref.type > STORE_HASH) { /* what does it lead to? */
        search->failed = true;
        return;
    }
    handle_internal(&var, search->space, &ref);
    var.is_glance = true; /* it may be destroyed meanwhile, and another variable be in its place */
    for (tries = 0; tries < 4; tries++)
        if (search_try(search, &var) || STORE_LOAD(record->generation) != ref.generation) return;
    if (!record_pin(search->space, row_link(STORE_ROW_VARIABLES, slot), &ref)) return;
    search_locked(search, &var);
    record_unpin(search->space, &ref);
}

static void search_mark(store_t *space, store_link_t link, void *context)
{
    store_ref_t ref;
    if (mark_lives(space, link, &ref)) search_reach((search_t *)context, &ref);
}

/* A cell that has an owner is just being stored. */
static void search_cell(store_t *space, store_link_t link, void *context)
{
    if (row_owner(space, link) != POOL_I_NOBODY) search_visit(space, link, cell_at(space, link), context);
}

static void search_shaded(store_t *space, store_link_t link, void *context)
{
    search_t       *search = (search_t *)context;
    store_record_t *record = (store_record_t *)row_ptr(space, link);
    store_ref_t     ref    = { row_slot(link), STORE_LOAD(record->generation), 0, 0 };
    if (__atomic_load_n(&record->epoch, __ATOMIC_SEQ_CST) == search->epoch && ref.generation != 0)
        search_reach(search, &ref); /* pairs with ref_shade() */
}

/* Nearly all is reached from there: if what the header says does not lead to the names, nothing may be freed. */
static void search_names(search_t *search)
{
    uint64_t              names  = __atomic_load_n(&search->space->header->names, __ATOMIC_ACQUIRE); /* pairs with names_have() */
    store_ref_t           ref    = { (uint32_t)names - 1, (uint32_t)(names >> 32), STORE_HASH, 0 };
    const store_record_t *record = record_at(search->space, ref.slot);
    if (names == 0) return;
    if (record == NULL || ref.slot >= search->capacity || STORE_LOAD(record->generation) != ref.generation
        || STORE_LOAD(record->type) != STORE_HASH)
        search->failed = true;
    else
        search_reach(search, &ref);
}

static void search_roots(search_t *search)
{
    uint32_t row;
    search_names(search);
    row_each(search->space, STORE_ROW_MARKS, search_mark, search);
    for (row = STORE_ROW_CELLS; row < search->space->rows; row++) row_each(search->space, row, search_cell, search);
    row_each(search->space, STORE_ROW_VARIABLES, search_shaded, search);
}

/* Read the count, then the shade, then do the CAS: a process that attaches shades the variable before it
 * counts itself, so at least one of the two notices the other. If several would destroy it, one of them
 * takes it. */
static void search_sweep(store_t *space, store_link_t link, void *context)
{
    search_t       *search = (search_t *)context;
    store_record_t *record = (store_record_t *)row_ptr(space, link);
    uint32_t        slot   = row_slot(link);
    store_doomed_t  doomed = 0;
    uint64_t        count  = __atomic_load_n(&record->count, __ATOMIC_SEQ_CST); /* pairs with mark_make() */
    if (slot >= search->capacity || (search->reached[slot / 8] >> slot % 8 & 1) != 0 || row_owner(space, link) != POOL_I_NOBODY) return;
    if (__atomic_load_n(&record->epoch, __ATOMIC_SEQ_CST) == search->epoch) return;
    if (!__atomic_compare_exchange_n(&record->count, &count, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED) || !row_take(space, link, 0))
        return;
    ref_doom(space, link, &doomed);
    ref_destroy(space, &doomed);
    search->freed++;
}

/* Repeat until nothing new is reached: each round looks at the roots again. */
static uint64_t search_garbage(store_t *space)
{
    search_t      search;
    store_error_t err;
    store_link_t  mark = mark_looks(space, &err); /* without one nobody would see that this process looks */
    bool          more = true;
    if (mark == 0) return 0;
    memset(&search, 0, sizeof search);
    search.space    = space;
    search.capacity = row_capacity(space, STORE_ROW_VARIABLES);
    search.reached  = (uint8_t *)calloc(search.capacity / 8 + 1, 1);
    search.failed   = search.reached == NULL;
    search.epoch    = __atomic_add_fetch(&space->header->epoch, 1, __ATOMIC_SEQ_CST); /* pairs with ref_shade() */
    while (more && !search.failed) {
        search_roots(&search);
        more = search.height > 0;
        while (search.height > 0 && !search.failed) search_variable(&search, search.stack[--search.height]);
    }
    mark_looks_end(space, mark);
    if (!search.failed) row_each(space, STORE_ROW_VARIABLES, search_sweep, &search);
    free(search.reached);
    free(search.stack);
    return search.freed;
}

/* --- all of it ----------------------------------------------------------------------------- */

static uint64_t recover_all(store_t *space)
{
    recovery_t recovery;
    row_dead_t dead;
    uint32_t   row;

    memset(&recovery, 0, sizeof recovery);
    recovery.space = space;
    for (row = 0; row < space->rows; row++) recover_look_at_row(&recovery, row);
    row_each(space, STORE_ROW_VARIABLES, recover_variable, &recovery);
    ref_destroy(space, &recovery.doomed);
    recovery.freed += marks_reap(space);
    dead.is_listed = recover_is_listed;
    dead.context   = &recovery;
    for (row = STORE_ROW_VARIABLES; row < space->rows && !recovery.failed && !recovery.unsettled; row++) {
        dead.prepare = row >= STORE_ROW_CELLS ? recover_cell : NULL;
        if (row != STORE_ROW_MARKS) recovery.freed += row_free_dead(space, row, &dead);
        ref_destroy(space, &recovery.doomed);
    }
    if (!recovery.failed) recovery.freed += search_garbage(space);
    free(recovery.dead);
    return recovery.freed;
}

/* Wait for another process that recovers, but only for a moment: it may be stopped. */
uint64_t store_recover(store_t *space)
{
    bool     died;
    uint64_t freed;
    int64_t  deadline = store_deadline(INT64_C(1000000000));
    int      code;
    handles_adopt();
    do code = pool_lock_acquire(space->identity, &space->header->recovery, deadline, &died);
    while (code == POOL_INTERRUPTED);
    if (code != POOL_OK) return 0;
    freed = recover_all(space);
    pool_lock_release(&space->header->recovery);
    return freed;
}

static void recover_find_dead(store_t *space, store_link_t link, void *context)
{
    store_ref_t ref;
    bool       *found = (bool *)context;
    if (!*found && !mark_lives(space, link, &ref)) *found = true;
}

bool store_has_dead(store_t *space)
{
    bool found = false;
    row_each(space, STORE_ROW_MARKS, recover_find_dead, &found);
    return found;
}
