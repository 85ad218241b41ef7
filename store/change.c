/* change.c - changes of one variable, and looks at it: see change.h and layout.h. */
#include "change.h"
#include "types.h"

#include <errno.h>

int change_usable(store_var_t *var)
{
    handles_adopt();
    if (POOL_UNLIKELY(var->mark == 0 && !var->is_glance && !var->is_internal)) return STORE_E_DETACHED;
    return POOL_UNLIKELY(store_is_removed(var)) ? (int)STORE_E_REMOVED : (int)STORE_OK;
}

/* Word by word: readers may be at it, who find that the serial has moved. */
void change_copy_state(store_state_t *to, const store_state_t *from)
{
    STORE_STORE(to->root, STORE_LOAD(from->root));
    STORE_STORE(to->tier, STORE_LOAD(from->tier));
    STORE_STORE(to->first, STORE_LOAD(from->first));
    STORE_STORE(to->length, STORE_LOAD(from->length));
    STORE_STORE(to->flags, STORE_LOAD(from->flags));
}

/* --- begin, commit, abort --------------------------------------------------------- */

int store_begin(store_var_t *var, int64_t deadline_ns)
{
    store_record_t *record = var->record;
    int             code   = change_usable(var);

    if (code == STORE_OK && var->is_glance) code = STORE_E_ARGUMENT;
    if (code == STORE_OK && !var->write_held) code = lock_enter(var, deadline_ns);
    if (code != STORE_OK) return code;
    if (POOL_UNLIKELY((record->state[record->serial & 1].flags & STORE_FLAG_REMOVED) != 0)) {
        if (!var->write_held) lock_leave(var);
        return STORE_E_REMOVED;
    }
    if (POOL_UNLIKELY(var->id.type == STORE_ARRAY && !array_is_sound(&record->state[record->serial & 1]))) {
        if (!var->write_held) lock_leave(var);
        return STORE_E_DAMAGED;
    }
    __atomic_thread_fence(__ATOMIC_RELEASE); /* who reads this draft sees the serial that it is for: pairs with look_begin() */
    change_copy_state(change_draft(var), &record->state[record->serial & 1]);
    var->open        = true;
    var->changed     = false;
    var->is_new_tree = false;
    return STORE_OK;
}

static void change_settle_and_leave(store_var_t *var, store_doomed_t *doomed)
{
    change_settle(var->space, var->record, doomed);
    var->open = false;
    if (POOL_UNLIKELY((STORE_LOAD(var->record->exclusive) != 0)
                      != var->write_held)) /* a lock by name came or went while links were moved */
        __atomic_store_n(&var->record->exclusive, var->write_held ? space_me(var->space) : 0,
                         __ATOMIC_SEQ_CST); /* pairs with lock_is_exclusive() */
    if (POOL_UNLIKELY(var->is_joint)) {
        var->is_joint = false;
        lock_count_held(-1);
    }
    if (!var->write_held) {
        if (POOL_UNLIKELY(lock_is_waited_for(var->record))) var->courteous = ++var->kept_waiting % 64 == 0;
        lock_leave(var);
    }
    else {
        __atomic_thread_fence(__ATOMIC_SEQ_CST); /* pairs with store_wait_change() */
        if (__atomic_load_n(&var->record->lock.waiting, __ATOMIC_SEQ_CST) != 0) pool_lock_wake(&var->record->lock);
    }
}

static void change_close(store_var_t *var)
{
    store_doomed_t doomed = 0;
    change_settle_and_leave(var, &doomed);
    ref_destroy(var->space, &doomed);
}

/* The change happens here. Release: all that was linked and drafted is seen by who sees
 * the serial (acquire in look_begin()). For store_wait_change() it comes before the look
 * at `waiting` that follows the release of the lock, or a fence. */
static void change_publish(store_var_t *var)
{
    store_record_t *record = var->record;
    if (var->seen == record->serial) var->seen++;
    __atomic_store_n(&record->serial, record->serial + 1, __ATOMIC_RELEASE);
}

void store_commit(store_var_t *var)
{
    if (!var->open) return;
    store_assert_locked(var->space, var->record);
    if (var->changed) change_publish(var);
    change_close(var);
}

void store_abort(store_var_t *var)
{
    if (!var->open) return;
    store_assert_locked(var->space, var->record);
    if (var->id.type == STORE_ARRAY) array_drop_draft(var->space, var->record);
    change_close(var);
}

bool store_is_open(const store_var_t *var)
{
    return var->open;
}

/* --- one change of several variables: see layout.h ------------------------------------ */

int store_begin_joint(store_var_t *var, int64_t deadline_ns)
{
    int code = store_begin(var, deadline_ns);
    if (code != STORE_OK) return code;
    var->is_joint = true;
    lock_count_held(1);
    return STORE_OK;
}

static store_link_t joint_make(store_t *space, int *code)
{
    store_value_t nothing = store_none(STORE_UNDEF);
    store_error_t err;
    store_link_t  link = cell_make(space, NULL, &nothing, 0, &err);
    if (link == 0) *code = err.code;
    return link;
}

/* Each draft leads to the joint before that says that it has happened: release in
 * joint_publish(). Who dies before leaves a joint that says nothing, or drafts that lead to none. */
static void joint_prepare(store_var_t *var, store_link_t joint)
{
    store_assert_locked(var->space, var->record);
    if (!var->write_held && STORE_LOAD(var->record->exclusive) != STORE_MOVING)
        __atomic_store_n(&var->record->exclusive, space_me(var->space), __ATOMIC_SEQ_CST); /* pairs with look_begin() */
    STORE_STORE(change_draft(var)->joint, joint);
}

/* The change happens here, for all of them. Pairs with joint_has_happened(). */
static void joint_publish(store_t *space, store_link_t joint)
{
    __atomic_store_n(&((store_cell_t *)row_ptr(space, joint))->from, 1, __ATOMIC_RELEASE);
}

/* For an heir: what the dead one's joint says is what it said last, and it is there until all
 * that the dead one had open is settled. */
static bool joint_has_happened(store_t *space, store_link_t joint)
{
    const store_cell_t *cell = cell_at(space, joint);
    return cell != NULL && __atomic_load_n(&cell->from, __ATOMIC_ACQUIRE) == 1; /* pairs with joint_publish() */
}

/* The draft becomes the state if the joint says so; then nothing leads to the joint any more. Who
 * dies between leaves the new draft, which leads to none, and the link of what is published, which
 * nobody reads. Release: as change_publish(). */
static void joint_settle(store_t *space, store_record_t *record)
{
    store_link_t joint = STORE_LOAD(record->state[(record->serial + 1) & 1].joint);
    if (joint != 0 && joint_has_happened(space, joint)) __atomic_store_n(&record->serial, record->serial + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&record->state[0].joint, 0, __ATOMIC_RELEASE); /* after the serial: pairs with lock_inherit() */
    __atomic_store_n(&record->state[1].joint, 0, __ATOMIC_RELEASE);
}

/* All have their serial before the first may be looked at again. */
static void joint_commit(store_var_t *const *vars, size_t count, store_link_t joint)
{
    store_doomed_t doomed = 0;
    size_t         i;
    for (i = 0; i < count; i++)
        if (joint != 0 && vars[i]->changed) joint_prepare(vars[i], joint);
    if (joint != 0) joint_publish(vars[0]->space, joint);
    for (i = 0; i < count; i++)
        if (vars[i]->changed) change_publish(vars[i]);
    for (i = 0; i < count; i++) {
        if (joint != 0 && vars[i]->changed && !vars[i]->write_held && STORE_LOAD(vars[i]->record->exclusive) != STORE_MOVING)
            __atomic_store_n(&vars[i]->record->exclusive, 0, __ATOMIC_SEQ_CST); /* pairs with lock_await_readable() */
        change_settle_and_leave(vars[i], &doomed);
    }
    if (joint != 0) cell_free(vars[0]->space, joint);
    ref_destroy(vars[0]->space, &doomed);
}

int store_commit_all(store_var_t *const *vars, size_t count)
{
    store_link_t joint   = 0;
    size_t       changed = 0, i;
    int          code    = STORE_OK;
    for (i = 0; i < count; i++) {
        if (!vars[i]->open || vars[i]->space != vars[0]->space) return STORE_E_ARGUMENT;
        if (vars[i]->changed) changed++;
    }
    if (changed > 1 && (joint = joint_make(vars[0]->space, &code)) == 0) return code;
    if (count > 0) joint_commit(vars, count, joint);
    return STORE_OK;
}

/* --- a call that is a change, or part of one -------------------------------------------- */

int change_enter(store_var_t *var, bool *own)
{
    *own = !var->open;
    return var->open ? (int)STORE_OK : store_begin(var, STORE_FOREVER);
}

int change_leave(store_var_t *var, bool own, int code)
{
    if (!own) return code;
    if (code == STORE_OK)
        store_commit(var);
    else
        store_abort(var);
    return code;
}

/* --- cells of a change ---------------------------------------------------------------- */

/* `todo` of the cell, then the record's, then what makes it count: whoever dies here
 * leaves a cell on the list that has not begun, or is not on it and is its maker's. */
static void change_list(store_record_t *record, store_link_t link, store_cell_t *cell)
{
    STORE_STORE(cell->todo, record->todo);
    __atomic_store_n(&record->todo, link, __ATOMIC_RELEASE); /* pairs with lock_inherit() */
}

void change_add(store_var_t *var, store_link_t link, store_cell_t *cell)
{
    store_assert_locked(var->space, var->record);
    STORE_STORE(cell->from, change_serial(var));
    change_list(var->record, link, cell);
    var->changed = true;
}

void change_end(store_var_t *var, store_link_t link, store_cell_t *cell)
{
    store_assert_locked(var->space, var->record);
    if (STORE_LOAD(cell->from) != change_serial(var)) change_list(var->record, link, cell); /* else it is on it */
    STORE_STORE(cell->until, change_serial(var));
    var->changed = true;
}

void change_discard(store_t *space, store_link_t link, store_doomed_t *doomed)
{
    ref_drop_cell(space, link, doomed);
    cell_free(space, link);
}

store_link_t change_make(store_var_t *var, const store_key_t *key, const store_value_t *value, uint64_t expires_ns, int *code)
{
    store_error_t err;
    store_link_t  link = cell_make(var->space, key, value, expires_ns, &err);
    *code              = link != 0 ? (int)STORE_OK : err.code;
    if (link != 0 && value->kind == STORE_REF && !ref_count_cell(var->space, link)) {
        cell_free(var->space, link);
        *code = STORE_E_REMOVED;
        return 0;
    }
    return link;
}

/* --- the end of a change --------------------------------------------------------------- */

/* A cell leaves: unlinked, it becomes ours, leaves the list, and is freed. Who dies
 * before it left the list is continued here by the heir, for whom unlinking and owning
 * it again change nothing; after that it is the dead one's, and no link leads to it. */
static void change_remove_cell(store_t *space, store_record_t *record, store_link_t link, store_cell_t *cell, store_doomed_t *doomed)
{
    store_link_t next = STORE_LOAD(cell->todo);
    change_retire(record);
    cell_adopt(space, link);
    __atomic_store_n(&record->todo, next, __ATOMIC_RELEASE); /* pairs with lock_inherit() */
    ref_drop_cell(space, link, doomed);
    cell_free(space, link);
}

/* Is it in the table: of a hash, or of what is reserved of an array (queue.c)? */
static bool change_is_keyed(const store_record_t *record, const store_cell_t *cell)
{
    return record->type == STORE_HASH || (record->type == STORE_ARRAY && STORE_LOAD(cell->key_length) != 0);
}

/* A cell stays: it becomes nobody's and leaves the list. */
static void change_keep_cell(store_t *space, store_record_t *record, store_link_t link, store_cell_t *cell)
{
    if (record->type == STORE_ARRAY && !change_is_keyed(record, cell)
        && cell->next != 0) { /* older versions: a reader of the last serial needs them */
        change_retire(record);
        STORE_STORE(cell->next, 0);
    }
    ref_shade_cell(space, link);
    cell_disown(space, link);
    __atomic_store_n(&record->todo, STORE_LOAD(cell->todo), __ATOMIC_RELEASE); /* pairs with lock_inherit() */
}

/* *kept: the cell that stayed last; what it replaced is behind it in its chain, and next on the list. */
static void change_settle_cell(store_t *space, store_record_t *record, store_link_t link, store_cell_t **kept, store_doomed_t *doomed)
{
    store_cell_t *cell   = cell_at(space, link);
    uint64_t      serial = record->serial, until = STORE_LOAD(cell->until);
    bool          undone = STORE_LOAD(cell->from) > serial;
    if (undone || (until != 0 && until <= serial)) {
        /* A look of the serial before that does not find it any more looks again; what frees it counts once
         * more, for those who have come to it since. */
        change_retire(record);
        if (change_is_keyed(record, cell))
            hash_unlink(space, record, link, cell, *kept);
        else if (record->type == STORE_ARRAY)
            array_unlink(space, record, link, cell);
        else /* the state that is not published does not lead any longer to what others may have soon */
            STORE_STORE(record->state[(serial + 1) & 1].root, 0);
        change_remove_cell(space, record, link, cell, doomed);
    }
    else if (until > serial) { /* it was to end, and does not; first what an heir who finds it restored would not do */
        if ((STORE_LOAD(cell->flags) & STORE_CELL_EXPIRES) != 0) hash_expect_again(record);
        STORE_STORE(cell->until, 0);
        __atomic_store_n(&record->todo, STORE_LOAD(cell->todo), __ATOMIC_RELEASE); /* pairs with lock_inherit() */
    }
    else {
        change_keep_cell(space, record, link, cell);
        *kept = cell;
    }
}

/* Newest first, so that undoing a second change of one element comes before the first.
 * The list may be damaged. */
void change_settle(store_t *space, store_record_t *record, store_doomed_t *doomed)
{
    store_cell_t *kept = NULL;
    store_link_t  link;
    store_walk_t  walk = { 0, 0 };
    store_assert_locked(space, record);
    if (POOL_UNLIKELY((STORE_LOAD(record->state[0].joint) | STORE_LOAD(record->state[1].joint)) != 0)) joint_settle(space, record);
    if (record->intent != STORE_INTENT_NONE) {
        if (record->type == STORE_HASH) hash_finish_page(space, record);
        if (record->type == STORE_ARRAY) array_finish_page(space, record);
    }
    while ((link = STORE_LOAD(record->todo)) != 0) {
        if (cell_at(space, link) == NULL || walk_goes_round(&walk, link)) {
            STORE_STORE(record->todo, 0);
            break;
        }
        change_settle_cell(space, record, link, &kept, doomed);
    }
}

/* --- looks -------------------------------------------------------------------------------- */

/* Acquire: as look_begin(), of which this is the short way. */
bool store_is_unchanged(const store_var_t *var, uint64_t serial)
{
    const store_record_t *record = var->record;
    if (__atomic_load_n(&record->serial, __ATOMIC_ACQUIRE) != serial || var->open || var->adopting) return false;
    return (!lock_is_exclusive(record) || var->write_held) && STORE_LOAD(record->generation) == var->id.generation;
}

int look_lock(store_var_t *var, bool *own)
{
    return var->is_glance ? (int)STORE_E_DAMAGED : change_enter(var, own);
}

/* Before its first look a child has to take its marks. A glance uses the mark of the handle that it comes from. */
static int look_have_mark(store_var_t *var, uint32_t **looking)
{
    int code = change_usable(var->from);
    if (code == STORE_OK && (*looking = STORE_LOAD(var->from->looking)) == NULL) code = STORE_E_DETACHED;
    return code;
}

/* The state of one moment, and whether a writer keeps others out in it. The serial is read again after
 * the state (whose place is the next draft's) and after the look at `exclusive`: if it did not move,
 * nobody had the lock by name since. False: try again. */
static inline bool look_state(const store_record_t *record, store_sight_t *sight, bool *exclusive)
{
    sight->retired = __atomic_load_n(&record->retired, __ATOMIC_ACQUIRE);
    sight->serial  = __atomic_load_n(&record->serial, __ATOMIC_ACQUIRE); /* pairs with change_publish() */
    change_copy_state(&sight->state, &record->state[sight->serial & 1]);
    *exclusive = lock_is_exclusive(record);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return STORE_LOAD(record->serial) == sight->serial;
}

void look_past_locks(const store_record_t *record, store_sight_t *sight)
{
    bool exclusive;
    while (!look_state(record, sight, &exclusive)) {}
}

static int look_begin_at(store_var_t *var, store_sight_t *sight)
{
    const store_record_t *record = var->record;
    for (;;) {
        bool exclusive;
        look_enter(sight->looking);
        if (POOL_UNLIKELY(!look_state(record, sight, &exclusive))) continue;
        if (POOL_UNLIKELY(exclusive && !var->write_held)) {
            int code;
            look_end(sight);
            code = lock_await_readable(var, STORE_FOREVER);
            if (code != STORE_OK) return code;
            continue;
        }
        break;
    }
    if (POOL_UNLIKELY(STORE_LOAD(record->generation) != var->id.generation)) {
        int code = change_usable(var);
        if (code != STORE_OK) return code;
    }
    if (POOL_UNLIKELY((sight->state.flags & STORE_FLAG_REMOVED) != 0)) return STORE_E_REMOVED;
    var->seen = sight->serial;
    return STORE_OK;
}

int look_begin(store_var_t *var, store_sight_t *sight)
{
    int code;
    sight->looking = STORE_LOAD(var->from->looking);
    if (POOL_UNLIKELY(sight->looking == NULL) && (code = look_have_mark(var, &sight->looking)) != STORE_OK) return code;
    if (var->open) { /* nobody else frees what the holder of the lock can reach */
        sight->serial  = change_serial(var);
        sight->retired = var->record->retired;
        sight->state   = *change_draft(var);
        return STORE_OK;
    }
    code = look_begin_at(var, sight);
    if (POOL_UNLIKELY(code != STORE_OK)) look_end(sight);
    return code;
}
