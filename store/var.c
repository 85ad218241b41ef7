/* var.c - references to variables, and who uses them: see var.h. */
#include "clock.h"
#include "types.h"
#include "var.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Stored references << 32 | handles, in one word, so that one instruction tells who was
 * the last. */
#define COUNT_REF    (UINT64_C(1) << 32)
#define COUNT_HANDLE UINT64_C(1)

/* One more. False: there was none left, or it is another variable by now. The second look
 * at the generation: the slot may have been used again between the first and the CAS. */
static bool count_up(store_t *space, const store_ref_t *ref, uint64_t one, store_doomed_t *doomed);

/* One less; the last one makes it ours to destroy, if it was nobody's. */
static void count_down(store_t *space, uint32_t slot, uint64_t one, store_doomed_t *doomed)
{
    store_link_t    link   = row_link(STORE_ROW_VARIABLES, slot);
    store_record_t *record = record_at(space, slot);
    uint64_t        count;
    if (record == NULL) return;
    count = STORE_LOAD(record->count);
    do {
        if (one == COUNT_REF ? count < COUNT_REF : (uint32_t)count == 0) return; /* damaged, or it is being destroyed */
    } while (!__atomic_compare_exchange_n(&record->count, &count, count - one, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED)); /* pairs with count_up() */
    if (count == one && row_take(space, link, 0)) ref_doom(space, link, doomed);
}

static bool count_up(store_t *space, const store_ref_t *ref, uint64_t one, store_doomed_t *doomed)
{
    store_record_t *record = record_at(space, ref->slot);
    uint64_t        count;
    if (record == NULL || STORE_LOAD(record->generation) != ref->generation || STORE_LOAD(record->type) != ref->type) return false;
    count = STORE_LOAD(record->count);
    do {
        if (count == 0) return false;
    } while (!__atomic_compare_exchange_n(&record->count, &count, count + one, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED)); /* pairs with count_down() */
    if (STORE_LOAD(record->generation) == ref->generation) return true;
    count_down(space, ref->slot, one, doomed);
    return false;
}

/* --- references ---------------------------------------------------------------- */

bool ref_take(store_t *space, const store_ref_t *ref)
{
    store_doomed_t doomed = 0;
    bool           ok     = count_up(space, ref, COUNT_REF, &doomed);
    ref_destroy(space, &doomed);
    return ok;
}

void ref_drop(store_t *space, const store_ref_t *ref, store_doomed_t *doomed)
{
    const store_record_t *record = record_at(space, ref->slot);
    if (record != NULL && STORE_LOAD(record->generation) == ref->generation) count_down(space, ref->slot, COUNT_REF, doomed);
}

/* The mark that it is counted goes first, comes last: who dies between leaves a count that
 * is too large. `todo` is for ref_drop_piece(). */
void ref_drop_cell(store_t *space, store_link_t link, store_doomed_t *doomed)
{
    store_cell_t *cell = cell_at(space, link);
    store_ref_t   ref;
    if (cell == NULL || (STORE_LOAD(cell->flags) & STORE_CELL_COUNTED) == 0 || !cell_ref(space, link, cell, &ref)) return;
    STORE_STORE(cell->todo, link);
    __atomic_store_n(&cell->flags, (uint8_t)(cell->flags & ~STORE_CELL_COUNTED), __ATOMIC_RELEASE);
    ref_drop(space, &ref, doomed);
}

/* Blocks and pages are in the same rows, and the bytes of a block are anybody's. But where a
 * cell has `todo` a block has nothing, and a page a link, never to itself. */
void ref_drop_piece(store_t *space, store_link_t link, store_doomed_t *doomed)
{
    const store_cell_t *cell = cell_at(space, link);
    if (cell != NULL && STORE_LOAD(cell->todo) == link) ref_drop_cell(space, link, doomed);
}

bool ref_count_cell(store_t *space, store_link_t link)
{
    store_cell_t *cell = cell_at(space, link);
    store_ref_t   ref;
    if (cell == NULL || !cell_ref(space, link, cell, &ref) || !ref_take(space, &ref)) return false;
    STORE_STORE(cell->todo, link);
    __atomic_store_n(&cell->flags, (uint8_t)(cell->flags | STORE_CELL_COUNTED),
                     __ATOMIC_RELEASE); /* pairs with ref_drop_piece(), of an heir */
    return true;
}

/* After it was published: a search for garbage that began before this look at the epoch
 * finds it shaded; one that begins later finds it in its place. The epoch only grows: who
 * was stopped here for the length of a search must not take the next one's shade away. */
static void ref_shade(store_t *space, const store_ref_t *ref)
{
    store_record_t *record = record_at(space, ref->slot);
    uint64_t        epoch, had;
    if (record == NULL || STORE_LOAD(record->generation) != ref->generation) return;
    epoch = __atomic_load_n(&space->header->epoch, __ATOMIC_SEQ_CST); /* pairs with search_garbage() */
    had   = STORE_LOAD(record->epoch);
    while (had < epoch && !__atomic_compare_exchange_n(&record->epoch, &had, epoch, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {}
}

void ref_shade_cell(store_t *space, store_link_t link)
{
    const store_cell_t *cell = cell_at(space, link);
    store_ref_t         ref;
    if (cell != NULL && cell_ref(space, link, cell, &ref)) ref_shade(space, &ref);
}

/* --- destroying ------------------------------------------------------------------ */

static void cell_destroy(store_t *space, store_record_t *record, store_link_t *head, store_doomed_t *doomed)
{
    store_link_t  link = STORE_LOAD(*head);
    store_cell_t *cell = cell_at(space, link);
    if (cell == NULL || !row_is_allocated(space, link)) { /* freed already: links that make no sense could lead round for ever */
        STORE_STORE(*head, 0);
        return;
    }
    change_retire(record);
    cell_adopt(space, link);
    __atomic_store_n(head, STORE_LOAD(cell->next), __ATOMIC_RELEASE); /* pairs with hash_follow() */
    ref_drop_cell(space, link, doomed);
    cell_free(space, link);
}

void chain_destroy(store_t *space, store_record_t *record, store_link_t *head, store_doomed_t *doomed)
{
    while (*head != 0) cell_destroy(space, record, head, doomed);
}

static void scalar_destroy(store_t *space, store_record_t *record, store_doomed_t *doomed)
{
    chain_destroy(space, record, &record->state[record->serial & 1].root, doomed);
}

/* The variable is ours and no count leads to it. A change that its last writer, who died,
 * left open is settled first. Who dies in the middle leaves it to recovery: each step
 * owns, unlinks, frees. */
static void ref_destroy_one(store_t *space, store_link_t link, store_doomed_t *doomed)
{
    store_record_t *record = (store_record_t *)row_ptr(space, link);
    STORE_STORE(record->generation, 0);
    __atomic_store_n(&record->lock.holder, space_me(space), __ATOMIC_RELAXED); /* nobody else can come any more */
    change_settle(space, record, doomed);
    if (record->type == STORE_HASH)
        hash_destroy(space, record, doomed);
    else if (record->type == STORE_ARRAY)
        array_destroy(space, record, doomed);
    else
        scalar_destroy(space, record, doomed);
    row_free(space, link);
}

void ref_doom(store_t *space, store_link_t link, store_doomed_t *doomed)
{
    store_record_t *record = (store_record_t *)row_ptr(space, link);
    STORE_STORE(record->doomed, *doomed);
    *doomed = link;
}

/* Shared memory may say anything: only what is ours is destroyed, and it is so once. */
void ref_destroy(store_t *space, store_doomed_t *doomed)
{
    while (*doomed != 0) {
        store_link_t          link   = *doomed;
        const store_record_t *record = row_of(link) == STORE_ROW_VARIABLES ? (const store_record_t *)row_ptr(space, link) : NULL;
        *doomed                      = 0;
        if (record == NULL || !row_is_mine(space, link)) break;
        *doomed = STORE_LOAD(record->doomed);
        ref_destroy_one(space, link, doomed);
    }
}

bool record_pin(store_t *space, store_link_t link, store_ref_t *ref)
{
    const store_record_t *record = (const store_record_t *)row_ptr(space, link);
    ref->slot                    = row_slot(link);
    ref->generation              = STORE_LOAD(record->generation);
    ref->type                    = STORE_LOAD(record->type);
    ref->is_text                 = 0;
    return ref->generation != 0 && ref->type >= STORE_SCALAR && ref->type <= STORE_HASH && ref_take(space, ref);
}

void record_unpin(store_t *space, const store_ref_t *ref)
{
    store_doomed_t doomed = 0;
    ref_drop(space, ref, &doomed);
    ref_destroy(space, &doomed);
}

/* --- marks ---------------------------------------------------------------------------- */

/* How long a mark waits for a child whose PID is not known: one that goes on in this program comes,
 * when it gets the processor; one that may become another program perhaps not. */
#define MARK_COMES_NS   UINT64_C(600000000000)
#define MARK_PERHAPS_NS UINT64_C(10000000000)

/* The variable, shade, count, then that it is counted: who dies in between leaves a count
 * that may be too large. */
static store_link_t mark_make(store_t *space, const store_ref_t *ref, uint64_t until, store_error_t *err)
{
    store_link_t   link   = row_alloc(space, STORE_ROW_MARKS, err);
    store_mark_t  *mark   = link != 0 ? (store_mark_t *)row_ptr(space, link) : NULL;
    store_doomed_t doomed = 0;
    bool           ok;
    if (mark == NULL) return 0;
    STORE_STORE(mark->transit, until);
    STORE_STORE(mark->slot, ref->slot);
    __atomic_store_n(&mark->generation, ref->generation,
                     __ATOMIC_SEQ_CST); /* pairs with mark_lives(): seen by a search that misses what leads to it */
    ref_shade(space, ref);              /* before the count: a search that did not see the mark sees that, or that the count moved */
    ok = count_up(space, ref, COUNT_HANDLE, &doomed);
    ref_destroy(space, &doomed);
    if (!ok) {
        row_free(space, link);
        space_fail(err, STORE_E_REMOVED, 0, space->path, "no longer has that variable");
        return 0;
    }
    __atomic_store_n(&mark->state, STORE_MARK_COUNTED, __ATOMIC_RELEASE);
    return link;
}

store_link_t mark_new(store_t *space, const store_ref_t *ref, store_error_t *err)
{
    return mark_make(space, ref, 0, err);
}

/* Pairs with trim_may(), as look_enter() does. If there is no room for a mark, those of the dead are freed. */
store_link_t mark_looks(store_t *space, store_error_t *err)
{
    store_link_t  link = row_alloc(space, STORE_ROW_MARKS, err);
    store_mark_t *mark;
    if (link == 0 && marks_reap(space) > 0) link = row_alloc(space, STORE_ROW_MARKS, err);
    if ((mark = (store_mark_t *)row_ptr(space, link)) != NULL) __atomic_store_n(&mark->looking, 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return link;
}

/* Release: as look_end(). */
void mark_looks_end(store_t *space, store_link_t link)
{
    store_mark_t *mark = (store_mark_t *)row_ptr(space, link);
    if (mark == NULL) return;
    __atomic_store_n(&mark->looking, 0, __ATOMIC_RELEASE); /* pairs with trim_outwait() */
    row_free(space, link);
}

/* The mark is this process's. What it is on may be gone: recovery destroys what its maker,
 * who died, had not told anybody of; and the slot may be another variable's by now. */
static void mark_uncount(store_t *space, store_link_t link, store_doomed_t *doomed)
{
    store_mark_t         *mark   = (store_mark_t *)row_ptr(space, link);
    const store_record_t *record = mark != NULL ? record_at(space, STORE_LOAD(mark->slot)) : NULL;
    if (record == NULL || STORE_LOAD(mark->state) != STORE_MARK_COUNTED) return;
    __atomic_store_n(&mark->state, STORE_MARK_NONE, __ATOMIC_RELEASE); /* pairs with mark_reap() */
    if (STORE_LOAD(record->generation) == STORE_LOAD(mark->generation)) count_down(space, mark->slot, COUNT_HANDLE, doomed);
}

void mark_free(store_t *space, store_link_t link, store_doomed_t *doomed)
{
    mark_uncount(space, link, doomed);
    row_free(space, link);
}

/* What stands in mark->child. The generation, for a parent may say it late, when the child has let
 * the mark go and somebody else has it: what is of another generation says nothing. */
static uint32_t mark_child(store_t *space, store_link_t link, int child, uint32_t how)
{
    return (uint32_t)child | (uint32_t)(row_generation(space, link) & STORE_MARK_GENERATIONS) << POOL_I_PID_BITS | how;
}

/* The child is of the PID namespace of the mark's owner. That it takes the mark, if it lives, is
 * as good as done if its parent has said that it goes on. */
static bool mark_is_in_transit(store_t *space, store_link_t link, const store_mark_t *mark, uint64_t until)
{
    uint32_t said  = STORE_LOAD(mark->child);
    uint64_t child = said & POOL_I_PID_MASK, index;
    pool_t  *pool  = row_pool(space, link, &index);
    if (child == 0 || mark_child(space, link, (int)child, said & STORE_MARK_COMES) != said) return store_clock() < until;
    if (pool_owner_is_dead(pool, (pool_owner_word(pool, index) & POOL_I_TAG_MASK) | child)) return false;
    return (said & STORE_MARK_COMES) != 0 || store_clock() < until;
}

/* It is not in transit any more, if it is the one that was until then. False: that was too late, and
 * somebody has freed it. Seq_cst, then the look at the owner: pairs with mark_reap(). */
static bool mark_arrive(store_t *space, store_link_t link, uint64_t until)
{
    store_mark_t *mark = (store_mark_t *)row_ptr(space, link);
    return mark != NULL && __atomic_compare_exchange_n(&mark->transit, &until, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)
           && row_is_mine(space, link);
}

bool mark_lives(store_t *space, store_link_t link, store_ref_t *ref)
{
    const store_mark_t *mark = mark_at(space, link);
    uint64_t            index, owner, transit;
    pool_t             *pool = row_pool(space, link, &index);
    if (pool == NULL) return false;
    ref->generation = __atomic_load_n(&mark->generation, __ATOMIC_SEQ_CST); /* pairs with mark_make() */
    ref->slot       = STORE_LOAD(mark->slot);
    transit         = STORE_LOAD(mark->transit);
    if (transit != 0) return mark_is_in_transit(space, link, mark, transit);
    owner = pool_owner_word(pool, index);
    return owner != 0 && !pool_owner_is_dead(pool, owner);
}

/* Of a child that takes its mark late and who reaps it one sees the other: it is taken (seq_cst,
 * as is the CAS in mark_arrive()), then looked at again. */
static void mark_reap(store_t *space, store_link_t link, void *context)
{
    const store_mark_t *mark   = mark_at(space, link);
    uint64_t           *freed  = (uint64_t *)context, owner, transit;
    store_doomed_t      doomed = 0;
    store_ref_t         ref;
    transit = STORE_LOAD(mark->transit);
    owner   = row_owner(space, link);
    if (owner == 0 || mark_lives(space, link, &ref) || !row_take(space, link, owner)) return;
    if (__atomic_load_n(&mark->transit, __ATOMIC_SEQ_CST) != transit) {
        row_give(space, link, owner);
        return;
    }
    mark_free(space, link, &doomed);
    ref_destroy(space, &doomed);
    ++*freed;
}

uint64_t marks_reap(store_t *space)
{
    uint64_t freed = 0;
    row_each(space, STORE_ROW_MARKS, mark_reap, &freed);
    return freed + row_free_claimed(space, STORE_ROW_MARKS);
}

/* --- handles ------------------------------------------------------------------------------ */

static pthread_mutex_t handles_lock = PTHREAD_MUTEX_INITIALIZER; /* of this list, of the transits, of open namespaces */
static store_var_t    *handles;                                  /* all of this process */
static bool            handles_child;                            /* this is a child that has marks to take */

void handles_hold(void)
{
    pthread_mutex_lock(&handles_lock);
}

void handles_let_go(void)
{
    pthread_mutex_unlock(&handles_lock);
}

static void handle_enlist(store_var_t *var)
{
    pthread_mutex_lock(&handles_lock);
    var->next = handles;
    var->link = &handles;
    if (var->next != NULL) var->next->link = &var->next;
    handles = var;
    pthread_mutex_unlock(&handles_lock);
}

static void handle_delist(store_var_t *var)
{
    pthread_mutex_lock(&handles_lock);
    *var->link = var->next;
    if (var->next != NULL) var->next->link = var->link;
    pthread_mutex_unlock(&handles_lock);
}

/* Relaxed: one thread of a child may do this for all; another thread that reads the address needs nothing else. */
static void handle_see_mark(store_var_t *var)
{
    store_mark_t *mark = (store_mark_t *)row_ptr(var->space, var->mark);
    STORE_STORE(var->looking, mark != NULL ? &mark->looking : NULL);
}

static void handle_fill(store_var_t *var, store_t *space, const store_ref_t *ref, store_link_t mark)
{
    memset(var, 0, sizeof *var);
    var->space  = space;
    var->record = record_at(space, ref->slot);
    var->id     = *ref;
    var->mark   = mark;
    var->seen   = UINT64_MAX;
    var->from   = var;
}

void handle_internal(store_var_t *var, store_t *space, const store_ref_t *ref)
{
    handle_fill(var, space, ref, 0);
    var->is_internal = true;
    var->looking     = &space->unseen;
}

static store_var_t *handle_alloc(store_t *space, store_error_t *err)
{
    store_var_t *var = (store_var_t *)malloc(sizeof *var);
    if (var == NULL) space_fail(err, STORE_E_SYSTEM, ENOMEM, space->path, "cannot make a handle of a variable");
    return var;
}

store_var_t *store_attach(store_t *space, const store_ref_t *ref, store_error_t *err)
{
    store_var_t *var = handle_alloc(space, err);
    store_link_t mark;
    if (var == NULL) return NULL;
    handles_adopt();
    if ((mark = mark_new(space, ref, err)) == 0) {
        free(var);
        return NULL;
    }
    handle_fill(var, store_retain(space), ref, mark);
    handle_see_mark(var);
    handle_enlist(var);
    return var;
}

/* A record for a variable of nobody yet: this process's. Returns its link, or 0 with *err. */
store_link_t record_new(store_t *space, uint32_t type, uint64_t count, store_ref_t *ref, store_error_t *err)
{
    store_link_t    link = row_alloc(space, STORE_ROW_VARIABLES, err);
    store_record_t *record;
    if (link == 0) return 0;
    record          = (store_record_t *)row_ptr(space, link);
    ref->slot       = row_slot(link);
    ref->generation = (uint32_t)row_generation(space, link);
    ref->type       = type;
    ref->is_text    = 0;
    if (ref->generation == 0) ref->generation = UINT32_MAX;
    STORE_STORE(record->type, type);
    STORE_STORE(record->epoch, __atomic_load_n(&space->header->epoch, __ATOMIC_SEQ_CST)); /* pairs with record_pin() */
    STORE_STORE(record->count, count);
    __atomic_store_n(&record->generation, ref->generation, __ATOMIC_RELEASE);
    return link;
}

store_var_t *store_new(store_t *space, uint32_t type, store_error_t *err)
{
    store_var_t   *var;
    store_ref_t    ref;
    store_link_t   link, mark;
    store_doomed_t doomed = 0;

    if (type < STORE_SCALAR || type > STORE_HASH) {
        space_fail(err, STORE_E_ARGUMENT, 0, space->path, "has no variables of that type");
        return NULL;
    }
    if ((var = handle_alloc(space, err)) == NULL) return NULL;
    handles_adopt();
    link = record_new(space, type, 1, &ref, err); /* one: kept from being nobody's meanwhile */
    mark = link != 0 ? mark_new(space, &ref, err) : 0;
    if (mark == 0) {
        if (link != 0) row_free(space, link);
        free(var);
        return NULL;
    }
    row_disown(space, link);
    count_down(space, ref.slot, COUNT_HANDLE, &doomed);
    handle_fill(var, store_retain(space), &ref, mark);
    handle_see_mark(var);
    handle_enlist(var);
    return var;
}

store_var_t *store_clone(const store_var_t *var, store_error_t *err)
{
    return store_attach(var->space, &var->id, err);
}

/* Now and then, after a variable that nobody named did not end with its last user here:
 * the dead may seem to use it. */
static void handle_reap_now_and_then(store_t *space)
{
    static uint64_t not_before;
    uint64_t        now = store_clock();
    if (now < STORE_LOAD(not_before)) return;
    marks_reap(space);
    STORE_STORE(not_before, now + 10 * (store_clock() - now));
}

void store_release(store_var_t *var)
{
    store_doomed_t doomed = 0;
    store_t       *space;
    bool           shared;
    int            saved = errno;
    if (var == NULL) return;
    handles_adopt();
    space = var->space;
    if (var->open) store_abort(var);
    store_unlock_write(var);
    store_unlock_read(var);
    handle_delist(var);
    shared = var->mark != 0 && (uint32_t)STORE_LOAD(var->record->count) > 1;
    if (var->mark != 0) mark_free(space, var->mark, &doomed);
    ref_destroy(space, &doomed);
    if (shared && STORE_LOAD(var->record->count) < COUNT_REF) handle_reap_now_and_then(space);
    free(var);
    store_close(space);
    errno = saved;
}

store_ref_t store_ref_of(const store_var_t *var)
{
    return var->id;
}

store_t *store_of(const store_var_t *var)
{
    return var->space;
}

uint64_t store_references(const store_var_t *var)
{
    return STORE_LOAD(var->record->generation) == var->id.generation ? STORE_LOAD(var->record->count) / COUNT_REF : 0;
}

bool store_is_removed(const store_var_t *var)
{
    const store_record_t *record = var->record;
    uint64_t              serial = __atomic_load_n(&record->serial, __ATOMIC_ACQUIRE); /* pairs with change_publish() */
    return STORE_LOAD(record->generation) != var->id.generation || (STORE_LOAD(record->state[serial & 1].flags) & STORE_FLAG_REMOVED) != 0;
}

uint64_t store_serial(const store_var_t *var)
{
    return __atomic_load_n(&var->record->serial, __ATOMIC_ACQUIRE); /* pairs with change_publish() */
}

store_var_t *store_glance(store_var_t *from, const store_ref_t *ref, store_glance_t *glance)
{
    store_var_t *var = (store_var_t *)(void *)glance, *handle = from->from; /* it may be this glance */
    handle_fill(var, from->space, ref, 0);
    var->from      = handle;
    var->is_glance = true;
    if (var->record == NULL || STORE_LOAD(var->record->generation) != ref->generation || STORE_LOAD(var->record->type) != ref->type)
        return NULL;
    return var;
}

/* --- fork ------------------------------------------------------------------------------------ */

/* Marks made for children that may not have taken them. Under handles_lock. */
typedef struct store_transit {
    store_t     *space;
    store_link_t mark;
    uint64_t     generation, when, until;
} store_transit_t;

static store_transit_t *transits;
static size_t           transit_count, transit_room, transit_last; /* where those of the last fork begin */
static uint64_t         transit_until;                             /* of those of the last fork, or of exec */

static void transit_add(store_var_t *var, uint64_t now)
{
    store_transit_t one = { var->space, var->child_mark, var->mark_generation, now, transit_until };
    if (transit_count == transit_room) {
        size_t           room = transit_room * 2 + 64;
        store_transit_t *more = (store_transit_t *)realloc(transits, room * sizeof *more);
        if (more == NULL) return; /* it is then found by recovery */
        transits     = more;
        transit_room = room;
    }
    transits[transit_count++] = one;
}

/* Let go what children did not take in time: they became other programs, or died at once. What was
 * taken is not ours any more. */
static void transit_expire(uint64_t now)
{
    size_t         i, kept = 0;
    store_doomed_t doomed = 0;
    for (i = 0; i < transit_count; i++) {
        store_transit_t    *one  = &transits[i];
        const store_mark_t *mark = mark_at(one->space, one->mark);
        bool ours = mark != NULL && row_is_mine(one->space, one->mark) && row_generation(one->space, one->mark) == one->generation;
        if (ours && (now - one->when < MARK_PERHAPS_NS || mark_is_in_transit(one->space, one->mark, mark, one->until))) {
            transits[kept++] = *one;
            continue;
        }
        if (ours) mark_free(one->space, one->mark, &doomed);
        ref_destroy(one->space, &doomed);
    }
    transit_count = kept;
}

/* A namespace is closed here: those that nobody takes are found by a recovery, when their
 * time is over. */
void transits_forget(const store_t *space)
{
    size_t i, kept = 0, before = 0;
    for (i = 0; i < transit_count; i++) {
        if (transits[i].space == space) continue;
        if (i < transit_last) before++;
        transits[kept++] = transits[i];
    }
    transit_count = kept;
    transit_last  = before;
}

void store_fork_prepare(int how)
{
    store_var_t  *var;
    uint64_t      now = store_clock();
    store_error_t err;
    handles_adopt();
    handles_hold();
    transit_expire(now);
    transit_last  = transit_count;
    transit_until = now + (how == STORE_FORK_PERHAPS ? MARK_PERHAPS_NS : MARK_COMES_NS);
    for (var = handles; var != NULL; var = var->next) {
        var->child_mark = how != STORE_FORK_COMMAND && var->mark != 0 ? mark_make(var->space, &var->id, transit_until, &err) : 0;
        if (var->child_mark == 0) continue;
        var->mark_generation = row_generation(var->space, var->child_mark);
        var->mark_owner      = row_owner(var->space, var->child_mark);
        transit_add(var, now);
    }
}

void store_fork_parent(void)
{
    handles_let_go();
}

/* From now on the marks wait for this child, however long it does not get the processor, and not
 * when it is dead. Where there is none they are let go. */
void store_fork_parent_pid(int child)
{
    size_t         at;
    store_doomed_t doomed = 0;
    handles_hold();
    for (at = transit_last; at < transit_count; at++) {
        store_t      *space = transits[at].space;
        store_link_t  link  = transits[at].mark;
        store_mark_t *mark  = (store_mark_t *)row_ptr(space, link);
        if (mark == NULL || !row_is_mine(space, link) || row_generation(space, link) != transits[at].generation) continue;
        if (child > 0)
            STORE_STORE(mark->child, mark_child(space, link, child, STORE_MARK_COMES));
        else
            mark_free(space, link, &doomed);
        ref_destroy(space, &doomed);
    }
    transit_last = transit_count;
    handles_let_go();
}

/* A child holds no locks and no open change; its marks it takes when it first does
 * something: it may be about to become another program. */
void store_fork_child(void)
{
    store_var_t *var;
    for (var = handles; var != NULL; var = var->next) {
        store_mark_t *mark = (store_mark_t *)row_ptr(var->space, var->child_mark);
        uint32_t      none = 0;
        var->mark          = var->child_mark;
        var->adopting      = true;
        var->looking       = NULL;
        var->write_held = var->read_held = var->open = var->is_joint = false;
        if (mark != NULL && row_generation(var->space, var->mark) == var->mark_generation)
            __atomic_compare_exchange_n(&mark->child, &none, mark_child(var->space, var->mark, getpid(), 0), false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED); /* what the parent says stays */
    }
    transit_count = 0; /* they are the parent's */
    __atomic_store_n(&handles_child, handles != NULL, __ATOMIC_RELAXED);
    clock_forget();
    lock_forget_held();
    handles_let_go();
}

/* It may be too late, after a long stop: then the variable is attached to anew, if it
 * still is there. From the parent's name to ours: who gets it so has it from nobody else;
 * if the parent has used the slot again, it gets it back. */
static void handle_adopt(store_var_t *var)
{
    store_error_t err;
    var->adopting = false;
    if (var->mark != 0 && row_take(var->space, var->mark, var->mark_owner)) {
        if (row_generation(var->space, var->mark) != var->mark_generation)
            row_give(var->space, var->mark, var->mark_owner);
        else if (mark_arrive(var->space, var->mark, transit_until)) {
            handle_see_mark(var);
            return;
        }
    }
    var->mark = mark_new(var->space, &var->id, &err);
    handle_see_mark(var);
}

void store_fork_adopt(void)
{
    handles_adopt();
}

/* Of the threads that a child has by now, one does it and the others wait. Acquire and
 * release pair with each other. */
void handles_adopt(void)
{
    store_var_t *var;
    if (POOL_LIKELY(!__atomic_load_n(&handles_child, __ATOMIC_ACQUIRE))) return;
    handles_hold();
    space_register_looks();
    for (var = handles; var != NULL; var = var->next)
        if (var->adopting) handle_adopt(var);
    __atomic_store_n(&handles_child, false, __ATOMIC_RELEASE);
    handles_let_go();
}

/* This process is about to become another program, or, with false, that failed. */
void store_exec_prepare(bool begins)
{
    store_var_t  *var;
    store_error_t err;
    handles_adopt(); /* what is to be taken is of another `transit_until` */
    pthread_mutex_lock(&handles_lock);
    if (begins) transit_until = store_clock() + MARK_PERHAPS_NS;
    for (var = handles; var != NULL; var = var->next) {
        store_mark_t *mark = (store_mark_t *)row_ptr(var->space, var->mark);
        if (mark == NULL) continue;
        if (!begins) {
            if (mark_arrive(var->space, var->mark, transit_until)) continue;
            var->mark = mark_new(var->space, &var->id, &err);
            handle_see_mark(var);
            continue;
        }
        store_unlock_write(var);
        store_unlock_read(var);
        STORE_STORE(mark->child, mark_child(var->space, var->mark, getpid(), 0));
        STORE_STORE(mark->transit, transit_until); /* in any order: what `child` said before is alive as well */
    }
    pthread_mutex_unlock(&handles_lock);
}
