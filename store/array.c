/*
 * array.c - shared arrays.
 *
 * A ring of links to cells: element i is at position first + i, and a position has its
 * place in a tree by its low bits. First, length and tree are of the state that the serial
 * publishes; so push, pop, shift and unshift touch one cell each. What the ring has beyond
 * the window from first to first + length is of no meaning.
 *
 * An element that is stored again has its new version in front of the old one. What moves
 * elements, or needs more room, builds a tree aside, which the change publishes whole. Without
 * room for that, what is behind elements that go is moved in place; nobody reads meanwhile.
 *
 * A cell knows the position where it was stored, or where it was as it was ended (`hash`).
 */
#include "types.h"

#include <stdlib.h>

#define ARRAY_MAX (UINT64_C(1) << 30)

static inline store_tree_t array_tree(const store_state_t *state)
{
    store_tree_t tree = { state->root, state->tier };
    return tree;
}

static inline uint64_t array_place(const store_state_t *state, uint64_t position)
{
    return position & (tree_capacity(state->tier) - 1);
}

/* The place of a position, or NULL: there is no page for it. */
static inline store_link_t *array_at(store_t *space, const store_state_t *state, uint64_t position)
{
    store_tree_t tree = array_tree(state);
    return tree_capacity(tree.tier) == 0 ? NULL : tree_at(space, &tree, array_place(state, position));
}

#define ARRAY_PAGE_BITS 10u
#define ARRAY_PAGE      (UINT64_C(1) << ARRAY_PAGE_BITS)

/* The number of positions from this one on that have no page. At least this one has none, because
 * array_at() has said so (though somebody may have scribbled there since). So an operation that goes
 * through an array takes time in proportion to its pages, not to its holes. */
static uint64_t array_hole(store_t *space, const store_state_t *state, uint64_t position)
{
    store_tree_t tree = array_tree(state);
    uint64_t     index, level;
    if (tree_capacity(tree.tier) == 0) return 1;
    index = array_place(state, position);
    for (level = tree_depth(tree.tier); level > 0; level--) {
        const store_link_t *place = tree_slot(space, &tree, index, (uint32_t)level);
        uint64_t            below = UINT64_C(1) << level * ARRAY_PAGE_BITS;
        if (place == NULL || *place == 0) return below - (index & (below - 1));
    }
    return 1;
}

store_link_t version_at(store_t *space, store_link_t newest, uint64_t serial)
{
    store_walk_t walk = { 0, 0 };
    while (newest != 0 && !walk_goes_round(&walk, newest)) {
        const store_cell_t *cell = cell_at(space, newest);
        if (cell == NULL) return 0;
        if (cell_exists(cell, serial)) return newest;
        newest = __atomic_load_n(&cell->next, __ATOMIC_ACQUIRE); /* pairs with array_link() */
    }
    return 0;
}

/* Release: whoever sees the link sees the whole cell, and what is behind it. */
static inline void array_link(store_link_t *place, store_link_t link)
{
    __atomic_store_n(place, link, __ATOMIC_RELEASE); /* pairs with array_version() */
}

/* --- reading ------------------------------------------------------------------------ */

/* As array_at(), for readers. */
static const store_link_t *array_find(const store_var_t *var, const store_sight_t *sight, uint64_t position)
{
    store_tree_t tree  = array_tree(&sight->state);
    tree_guard_t guard = look_guard(var, sight);
    return tree_find(var->space, &tree, array_place(&sight->state, position), var->open ? NULL : &guard);
}

/* Pages may be freed while a reader goes through them, and contain anything: what they say is a link only
 * if nothing has been retired since. */
static store_link_t array_version(store_var_t *var, const store_sight_t *sight, uint64_t position)
{
    const store_link_t *place  = array_find(var, sight, position);
    store_link_t        newest = place != NULL ? __atomic_load_n(place, __ATOMIC_ACQUIRE) : 0; /* pairs with array_link() */
    if (newest == 0 || (!var->open && !look_holds(var, sight))) return 0;
    return version_at(var->space, newest, sight->serial);
}

static int array_look(store_var_t *var, store_sight_t *sight)
{
    int code = look_begin(var, sight);
    if (POOL_LIKELY(code != STORE_OK || array_is_sound(&sight->state))) return code;
    look_end(sight);
    return STORE_E_DAMAGED;
}

static int array_look_up(store_var_t *var, const store_sight_t *sight, uint64_t index, store_value_t *value, const store_buffer_t *buffer)
{
    store_link_t link = index < sight->state.length ? array_version(var, sight, sight->state.first + index) : 0;
    if (link == 0) return STORE_ABSENT;
    return value != NULL ? cell_value(var->space, link, cell_at(var->space, link), value, buffer) : (int)STORE_OK;
}

int store_array_get(store_var_t *var, uint64_t index, store_value_t *value, const store_buffer_t *buffer)
{
    store_sight_t sight;
    int           tries, code, result;
    bool          own;
    if (!var_is(var, STORE_ARRAY)) return STORE_E_ARGUMENT;
    for (tries = 0; look_again(var, tries); tries++) {
        if ((code = array_look(var, &sight)) != STORE_OK) return code;
        result = array_look_up(var, &sight, index, value, buffer);
        look_end(&sight);
        if (look_holds(var, &sight)) return result;
    }
    if ((code = look_lock(var, &own)) != STORE_OK) return code;
    if ((code = array_look(var, &sight)) == STORE_OK) code = array_look_up(var, &sight, index, value, buffer);
    change_leave(var, own, STORE_OK);
    return code;
}

int store_array_size(store_var_t *var, uint64_t *size)
{
    store_sight_t sight;
    int           code = var_is(var, STORE_ARRAY) ? array_look(var, &sight) : (int)STORE_E_ARGUMENT;
    *size              = code == STORE_OK ? sight.state.length : 0;
    if (code == STORE_OK) look_end(&sight);
    return code;
}

bool array_each(store_var_t *var, const store_sight_t *sight, type_visit_fn *visit, void *context)
{
    uint64_t i, ahead = 16;
    if (!array_is_sound(&sight->state)) return false;
    for (i = 0; i < sight->state.length; i++) {
        const store_link_t *coming = i + ahead < sight->state.length ? array_find(var, sight, sight->state.first + i + ahead) : NULL;
        store_link_t        link   = array_version(var, sight, sight->state.first + i);
        if (coming != NULL) __builtin_prefetch(cell_at(var->space, STORE_LOAD(*coming)));
        visit(var->space, link, link != 0 ? cell_at(var->space, link) : NULL, context);
        if (i % 4096 == 4095 && !look_is_current(var, sight)) return false;
    }
    return true;
}

/* Has the open change moved links in place? See array_move_in_place(). */
static inline bool array_has_moved(const store_var_t *var)
{
    return POOL_UNLIKELY(var->record->intent == STORE_INTENT_MOVE);
}

/* --- pages of the tree --------------------------------------------------------------- */

#define ARRAY_LEVEL_BIT 40u

/* Make sure that the tree of the draft has a page for this position. Nobody else sees a tree that only the
 * draft has; otherwise the intent tells an heir. */
static int array_have_page(store_var_t *var, uint64_t position)
{
    store_t        *space  = var->space;
    store_record_t *record = var->record;
    store_state_t  *draft  = change_draft(var);
    store_tree_t    tree   = array_tree(draft);
    uint64_t        index  = array_place(draft, position);
    uint32_t        level;
    store_error_t   err;

    if (array_has_moved(var)) return STORE_E_NOSPC; /* the intent is one already */
    if (var->is_new_tree) return tree_make(space, &tree, index, &err) != NULL ? (int)STORE_OK : err.code;
    for (level = tree_depth(tree.tier); level > 0; level--) {
        store_link_t *place = tree_slot(space, &tree, index, level), page;
        if (place == NULL) return STORE_E_DAMAGED;
        if (*place != 0) continue;
        if ((page = tree_new(space, tree.tier, &err)) == 0) return err.code;
        change_intend(record, STORE_INTENT_PAGE, page, (uint64_t)level << ARRAY_LEVEL_BIT | index);
        array_link(place, page);
        row_disown(space, page);
        change_intended(record);
    }
    return STORE_OK;
}

/* Take the page at `place` out of the tree. Own it before, so that it is freed only once. */
static void array_take_page(store_t *space, store_record_t *record, store_link_t *place, store_link_t page)
{
    row_adopt(space, page);
    if (place != NULL && *place == page) array_link(place, 0);
    change_intended(record);
    STORE_STORE(record->intent_page, 0); /* others may have it soon */
    change_retire(record);
    row_free(space, page);
}

/* Free the page of a position if nothing on it is in the window. */
static bool array_tidy_page(store_var_t *var, uint64_t position)
{
    store_state_t *draft = change_draft(var);
    store_tree_t   tree  = array_tree(draft);
    uint64_t       pages = tree_capacity(draft->tier) >> ARRAY_PAGE_BITS, page = position >> ARRAY_PAGE_BITS;
    uint64_t       first = draft->first >> ARRAY_PAGE_BITS, last = (draft->first + draft->length) >> ARRAY_PAGE_BITS;
    store_link_t  *place;
    if (((page - first) & (pages - 1)) <= ((last - first) & (pages - 1)) || last - first >= pages - 1) return false;
    place = tree_slot(var->space, &tree, array_place(draft, position), 1);
    if (place == NULL || *place == 0) return false;
    change_intend(var->record, STORE_INTENT_UNPAGE, *place, (uint64_t)1 << ARRAY_LEVEL_BIT | array_place(draft, position));
    array_take_page(var->space, var->record, place, *place);
    return true;
}

/* A queue wanders through its ring: free the pages that it has left behind. This comes before the change
 * does anything, because what is published does not need them. */
static void array_tidy(store_var_t *var)
{
    const store_state_t *draft = change_draft(var);
    int                  steps;
    if (POOL_LIKELY(tree_depth(draft->tier) == 0) || var->changed) return;
    for (steps = 1; steps <= 8 && array_tidy_page(var, draft->first - (uint64_t)steps * ARRAY_PAGE); steps++) {}
    for (steps = 1; steps <= 8 && array_tidy_page(var, draft->first + draft->length + (uint64_t)steps * ARRAY_PAGE); steps++) {}
}

/* --- moving in place ---------------------------------------------------------------------- */

/* Used only if there is no room for a new tree. Links move down over a gap, the lowest first. From the
 * lowest place that one moved to, up to the end of what is published, each cell of the published state
 * says in `hash` where it was before the change; the intent has that place and the number of places. So an
 * heir can put every link back, however many moves there were and however far the last one came: a cell is
 * in one of these places, or in several, or on the list of the change. */
#define ARRAY_MOVE_BIT 31u
#define ARRAY_MOVE     ((UINT64_C(1) << ARRAY_MOVE_BIT) - 1)
#define ARRAY_HELD     (UINT64_C(1) << 63) /* `exclusive` was the holder's before */

static inline uint64_t array_moved_from(const store_record_t *record)
{
    return record->intent_place >> ARRAY_MOVE_BIT & ARRAY_MOVE;
}

/* Does the cell at this position know already where it was? */
static bool array_is_among_moved(const store_var_t *var, uint64_t position)
{
    const store_state_t *state = &var->record->state[var->record->serial & 1]; /* with the same tree as the draft */
    return array_has_moved(var) && array_place(state, position - array_moved_from(var->record)) < (var->record->intent_place & ARRAY_MOVE);
}

/* From here on nobody reads. A reader that saw 0 here finds that `retired` has changed; one that sees the
 * new `retired` sees this: the fence pairs with look_begin(). */
static void array_keep_out(store_record_t *record)
{
    __atomic_store_n(&record->exclusive, STORE_MOVING, __ATOMIC_SEQ_CST); /* pairs with lock_is_exclusive() */
    __atomic_thread_fence(__ATOMIC_RELEASE);                              /* pairs with look_begin() */
    change_retire(record);
}

/* The cell of the published state that a place leads to, or NULL. */
static store_cell_t *array_published_cell(store_t *space, const store_record_t *record, const store_link_t *place)
{
    store_cell_t *cell = place != NULL && *place != 0 ? cell_at(space, *place) : NULL;
    return cell != NULL && STORE_LOAD(cell->from) <= record->serial ? cell : NULL;
}

/* Each cell tells where it was. Nobody needs that before an intent says that it is so. */
static void array_note_places(store_var_t *var, uint64_t position, uint64_t count)
{
    for (; count > 0; count--, position++) {
        store_cell_t *cell = array_published_cell(var->space, var->record, array_at(var->space, change_draft(var), position));
        if (cell != NULL) STORE_STORE(cell->hash, (uint32_t)position);
    }
}

/* What has ended in this change does not move; it is on the list, and so is what the cell replaced. */
static void array_move_link(store_var_t *var, uint64_t from, uint64_t to)
{
    const store_link_t *source = array_at(var->space, change_draft(var), from);
    store_link_t       *place  = array_at(var->space, change_draft(var), to);
    store_link_t        link   = source != NULL && version_at(var->space, *source, change_serial(var)) != 0 ? *source : 0;
    if (array_has_moved(var) && link != 0) STORE_STORE(cell_at(var->space, link)->next, 0);
    if (place != NULL) array_link(place, link);
}

/* So many places there may be at most, whatever the memory says. */
static uint64_t array_most_moved(store_t *space, const store_state_t *state)
{
    store_tree_t tree = array_tree(state);
    uint64_t     most = tree_count_pages(space, &tree, NULL) * ARRAY_PAGE; /* each has a place */
    return most < tree_capacity(tree.tier) ? most : tree_capacity(tree.tier);
}

/* The highest first, so that no link is written over before it was looked at; a second time does no harm,
 * because a link that is back stays where it is. Then places whose cell belongs elsewhere become empty. */
static void array_put_back(store_t *space, const store_record_t *record, const store_state_t *state, uint64_t first, uint64_t count)
{
    uint64_t i;
    for (i = count; i > 0; i--) {
        const store_link_t *source = array_at(space, state, first + i - 1);
        const store_cell_t *cell   = array_published_cell(space, record, source);
        store_link_t       *place  = cell != NULL ? array_at(space, state, STORE_LOAD(cell->hash)) : NULL;
        if (place != NULL && place != source) array_link(place, *source);
    }
    for (i = 0; i < count; i++) {
        store_link_t       *place = array_at(space, state, first + i);
        const store_cell_t *cell  = array_published_cell(space, record, place);
        if (place != NULL && (cell == NULL || array_at(space, state, STORE_LOAD(cell->hash)) != place)) array_link(place, 0);
    }
}

/* What the change has ended is on the list. */
static void array_put_back_ended(store_t *space, const store_record_t *record, const store_state_t *state)
{
    store_link_t link = STORE_LOAD(record->todo);
    store_walk_t walk = { 0, 0 };
    while (link != 0 && !walk_goes_round(&walk, link)) {
        const store_cell_t *cell = cell_at(space, link);
        store_link_t       *place;
        if (cell == NULL) return;
        place = array_at(space, state, STORE_LOAD(cell->hash));
        if (STORE_LOAD(cell->from) <= record->serial && STORE_LOAD(cell->key_length) == 0 && place != NULL) array_link(place, link);
        link = STORE_LOAD(cell->todo);
    }
}

/* The change is over. If it was published, everything is in its place; otherwise the links are put back. */
static void array_finish_move(store_t *space, store_record_t *record)
{
    const store_state_t *state = &record->state[record->serial & 1];
    uint64_t             where = record->intent_place, count = where & ARRAY_MOVE;
    if (record->hand == (uint32_t)(record->serial + 1) && count <= array_most_moved(space, state)) {
        array_keep_out(record);
        array_put_back(space, record, state, array_moved_from(record), count);
        array_put_back_ended(space, record, state);
    }
    change_intended(record);
    if (STORE_LOAD(record->exclusive) == STORE_MOVING)
        __atomic_store_n(&record->exclusive, (where & ARRAY_HELD) != 0 ? space_me(space) : 0,
                         __ATOMIC_SEQ_CST); /* pairs with lock_is_exclusive() */
}

/* The state that is not published does not lead any longer to a tree that is given up, whose pages others may have soon. */
static void array_forget_tree(store_state_t *state)
{
    STORE_STORE(state->root, 0);
    STORE_STORE(state->tier, 0);
}

void array_finish_page(store_t *space, store_record_t *record)
{
    const store_state_t *state  = &record->state[record->serial & 1];
    store_state_t       *before = &record->state[(record->serial + 1) & 1];
    store_tree_t         tree = array_tree(state), old = array_tree(before);
    store_link_t         page  = record->intent_page, *place;
    uint64_t             where = record->intent_place;

    place = tree_slot(space, &tree, where & ((UINT64_C(1) << ARRAY_LEVEL_BIT) - 1), (uint32_t)(where >> ARRAY_LEVEL_BIT) & 3u);
    switch (record->intent) {
    case STORE_INTENT_PAGE:
        if (place != NULL && *place == page) row_disown(space, page);
        break;
    case STORE_INTENT_UNPAGE: array_take_page(space, record, place, page); return;
    case STORE_INTENT_MOVE: array_finish_move(space, record); return;
    case STORE_INTENT_TREE:
        if (record->serial < where) array_forget_tree(before); /* not published: the pages are the dead one's */
        if (record->serial < where || old.root == tree.root) break;
        tree_each_page(space, &tree, row_disown);
        tree_each_page(space, &old, row_adopt);
        change_intended(record);
        change_retire(record);
        array_forget_tree(before);
        tree_each_page(space, &old, row_free);
        return;
    default: break;
    }
    change_intended(record);
}

/* --- a tree aside ----------------------------------------------------------------------- */

void array_drop_draft(store_t *space, store_record_t *record)
{
    store_state_t *draft = &record->state[(record->serial + 1) & 1];
    store_tree_t   tree  = array_tree(draft);
    if (record->intent != STORE_INTENT_TREE) return;
    change_intended(record);
    array_forget_tree(draft);
    tree_each_page(space, &tree, row_free); /* they are ours */
}

/* Give the draft this tree. If only the draft had the previous one, free that. */
static void array_set_tree(store_var_t *var, store_tree_t tree)
{
    store_state_t *draft = change_draft(var);
    store_tree_t   old   = array_tree(draft);
    if (var->is_new_tree)
        tree_each_page(var->space, &old, row_free);
    else
        change_intend(var->record, STORE_INTENT_TREE, 0, change_serial(var));
    STORE_STORE(draft->root, tree.root);
    STORE_STORE(draft->tier, tree.tier);
    var->is_new_tree = true;
    var->changed     = true;
}

/* The number of links that lie side by side from a position on: to the end of its page or ring. */
static uint64_t array_run(const store_state_t *state, uint64_t position, uint64_t most)
{
    uint64_t capacity = tree_capacity(state->tier), page = UINT64_C(1) << ARRAY_PAGE_BITS, left;
    if (page > capacity) page = capacity;
    left = page - (position & (page - 1));
    return left < most ? left : most;
}

/* Copy a run. `careful`: this change may have ended some of its elements, which are left out; otherwise no
 * cell is looked at. */
static void array_copy_run(store_var_t *var, store_link_t *to, const store_link_t *from, uint64_t count, bool careful)
{
    uint64_t i;
    if (!careful)
        store_copy_in(to, from, count * sizeof *to);
    else
        for (i = 0; i < count; i++) STORE_STORE(to[i], version_at(var->space, from[i], change_serial(var)) != 0 ? from[i] : 0);
}

/* Copy links of the draft at `from` to the new tree at `to`. */
static int array_copy_links(store_var_t *var, const store_state_t *into, uint64_t from, uint64_t to, uint64_t count, bool careful)
{
    const store_state_t *draft = change_draft(var);
    store_tree_t         tree  = array_tree(into);
    store_error_t        err;
    uint64_t             run;
    for (; count > 0; from += run, to += run, count -= run) {
        const store_link_t *source = array_at(var->space, draft, from);
        store_link_t       *place;
        run = source != NULL ? array_run(draft, from, array_run(into, to, count)) : array_hole(var->space, draft, from);
        if (run > count) run = count;
        if (source == NULL) continue; /* no page: holes, and pages are of zeros */
        if ((place = tree_make(var->space, &tree, array_place(into, to), &err)) == NULL) return err.code;
        array_copy_run(var, place, source, run, careful);
    }
    return STORE_OK;
}

/* Make a new tree with `gap` elements less at `offset`, and room for `more` there. */
static int array_rebuild(store_var_t *var, uint64_t offset, uint64_t gap, uint64_t more, bool careful)
{
    store_state_t *draft = change_draft(var), into = *draft;
    uint64_t       length = draft->length - gap + more;
    store_error_t  err;
    store_tree_t   tree;
    int            code;

    if (length > ARRAY_MAX) return STORE_E_ARGUMENT;
    if (array_has_moved(var)) return STORE_E_NOSPC; /* there was none before, and the intent is one already */
    into.tier = tree_tier_for(length);
    if (into.tier < draft->tier && length > tree_capacity(into.tier) / 2) into.tier = draft->tier;
    if (into.tier == 0) into.tier = 1;
    if ((into.root = tree_new(var->space, into.tier, &err)) == 0) return err.code;
    tree = array_tree(&into);
    code = array_copy_links(var, &into, draft->first, draft->first, offset, careful);
    if (code == STORE_OK)
        code =
            array_copy_links(var, &into, draft->first + offset + gap, draft->first + offset + more, draft->length - offset - gap, careful);
    if (code != STORE_OK) {
        tree_each_page(var->space, &tree, row_free);
        return code;
    }
    array_set_tree(var, tree);
    STORE_STORE(draft->length, length);
    return STORE_OK;
}

/* Is there a page for each link from here on? */
static bool array_can_move(store_var_t *var, uint64_t offset)
{
    const store_state_t *draft = change_draft(var);
    for (; offset < draft->length; offset++)
        if (array_at(var->space, draft, draft->first + offset) == NULL) return false;
    return true;
}

/* Say that from this position on links are moved: an heir will put them back. False: the places from there to
 * the end of what is published would go around the ring. A reader that has begun before finds that `retired` has
 * changed. */
static bool array_begin_move(store_var_t *var, uint64_t first)
{
    store_record_t      *record = var->record;
    const store_state_t *state  = &record->state[record->serial & 1];
    uint64_t             end = state->first + state->length, count = (int64_t)(end - first) > 0 ? end - first : 0;
    uint64_t             held  = array_has_moved(var) ? record->intent_place & ARRAY_HELD : record->exclusive != 0 ? ARRAY_HELD : 0;
    uint64_t             where = held | array_place(state, first) << ARRAY_MOVE_BIT | count;
    if (count > array_most_moved(var->space, state)) return false;
    if (!array_has_moved(var)) {
        array_note_places(var, first, count);
        STORE_STORE(record->hand, (uint32_t)change_serial(var));
        change_intend(record, STORE_INTENT_MOVE, 0, where);
        array_keep_out(record);
    }
    else if (count > (record->intent_place & ARRAY_MOVE)) { /* further down than before */
        array_note_places(var, first, count - (record->intent_place & ARRAY_MOVE));
        __atomic_store_n(&record->intent_place, where, __ATOMIC_RELEASE); /* pairs with lock_inherit() */
    }
    return true;
}

/* Close the gap that ended elements leave, by moving what is behind it; `more` of the places stay for new
 * elements. */
static int array_move_in_place(store_var_t *var, uint64_t offset, uint64_t length, uint64_t more)
{
    store_state_t *draft = change_draft(var);
    uint64_t       first = draft->first + offset + more, gap = length - more, count = draft->length - offset - length, i;
    if (more >= length || !array_can_move(var, offset)) return STORE_E_NOSPC;
    if (!var->is_new_tree && !array_begin_move(var, first)) return STORE_E_NOSPC;
    for (i = 0; i < count; i++) array_move_link(var, first + gap + i, first + i);
    STORE_STORE(draft->length, draft->length - gap);
    var->changed = true;
    return STORE_OK;
}

/* Room for so many elements in all. */
static int array_reserve(store_var_t *var, uint64_t length)
{
    store_state_t *draft = change_draft(var);
    uint64_t       had   = draft->length;
    int            code;
    if (length > ARRAY_MAX) return STORE_E_ARGUMENT;
    if (POOL_LIKELY(length <= tree_capacity(draft->tier))) return STORE_OK;
    code = array_rebuild(var, had, 0, length - had, var->record->todo != 0);
    STORE_STORE(draft->length, had);
    return code;
}

/* --- changing --------------------------------------------------------------------------- */

/* It may be anywhere among the versions: the ones before it may be about to go, too. */
void array_unlink(store_t *space, store_record_t *record, store_link_t link, const store_cell_t *cell)
{
    store_link_t *place = array_at(space, &record->state[record->serial & 1], cell->hash);
    store_walk_t  walk  = { 0, 0 };
    while (place != NULL && *place != 0 && !walk_goes_round(&walk, *place)) {
        store_cell_t *other = cell_at(space, *place);
        if (other == NULL) return;
        if (*place == link) {
            array_link(place, cell->next);
            return;
        }
        place = &other->next;
    }
}

/* End the element at a position, if there is one. A tree that nobody else sees loses it at once, and so does
 * one whose links were moved: its cell does not know where to unlink it. */
static void array_end_at(store_var_t *var, store_link_t *place, uint64_t position)
{
    store_link_t  link = version_at(var->space, *place, change_serial(var));
    store_cell_t *cell = cell_at(var->space, link);
    if (link == 0 || cell == NULL) return;
    if (cell->from != change_serial(var) && !array_is_among_moved(var, position)) STORE_STORE(cell->hash, (uint32_t)position);
    change_end(var, link, cell);
    if (var->is_new_tree || array_has_moved(var)) array_link(place, 0);
}

static void array_end_range(store_var_t *var, uint64_t position, uint64_t count)
{
    uint64_t i;
    for (i = 0; i < count; i++) {
        store_link_t *place = array_at(var->space, change_draft(var), position + i);
        if (place != NULL)
            array_end_at(var, place, position + i);
        else
            i += array_hole(var->space, change_draft(var), position + i) - 1;
    }
}

/* Is what the tree of the draft has at the place of this position needed by readers of the published
 * state, or to undo the change? The published window may have it under another position, a turn of the
 * ring away. (Where links were moved nobody reads, and what has ended is on the list.) */
static bool array_is_published(const store_var_t *var, uint64_t position)
{
    const store_state_t *state = &var->record->state[var->record->serial & 1];
    return !var->is_new_tree && !array_has_moved(var) && array_place(state, position - state->first) < state->length;
}

/* What is beyond the window has no meaning: a place is cleared before it comes into the window. */
static void array_clear_range(store_var_t *var, uint64_t position, uint64_t count)
{
    uint64_t i;
    for (i = 0; i < count; i++) {
        store_link_t *place = array_at(var->space, change_draft(var), position + i);
        if (place == NULL)
            i += array_hole(var->space, change_draft(var), position + i) - 1;
        else if (!array_is_published(var, position + i))
            array_link(place, 0);
    }
}

/* Put a new cell at a position. `replaces`: there may be an element there, which ends. */
static int array_set(store_var_t *var, uint64_t position, store_link_t link, bool replaces)
{
    store_cell_t *cell = cell_at(var->space, link);
    store_link_t *place;
    int           code;
    if (cell == NULL) return STORE_E_DAMAGED;
    if ((place = array_at(var->space, change_draft(var), position)) == NULL) {
        if ((code = array_have_page(var, position)) != STORE_OK) return code;
        if ((place = array_at(var->space, change_draft(var), position)) == NULL) return STORE_E_DAMAGED;
    }
    STORE_STORE(cell->hash, (uint32_t)position);
    STORE_STORE(cell->next, array_is_published(var, position) ? *place : 0);
    change_add(var, link, cell);
    if (replaces) array_end_at(var, place, position);
    array_link(place, link);
    return STORE_OK;
}

static int array_put(store_var_t *var, uint64_t index, store_link_t link)
{
    store_state_t *draft = change_draft(var);
    bool           grows = index >= draft->length;
    int            code  = grows ? array_reserve(var, index + 1) : (int)STORE_OK;
    if (code != STORE_OK) return code;
    if (grows) array_clear_range(var, draft->first + draft->length, index - draft->length);
    code = array_set(var, draft->first + index, link, !grows);
    if (code == STORE_OK && grows) STORE_STORE(draft->length, index + 1);
    return code;
}

static int array_push(store_var_t *var, store_link_t link, uint64_t *size)
{
    array_tidy(var);
    *size = change_draft(var)->length + 1;
    return array_put(var, *size - 1, link);
}

/* At an index or, if that is NULL, at the end; then *size is the new size. */
static int array_store(store_var_t *var, const uint64_t *index, const store_value_t *value, uint64_t *size)
{
    store_doomed_t doomed = 0;
    store_link_t   link;
    bool           own, used = false;
    int            code;

    if ((link = change_make(var, NULL, value, 0, &code)) == 0) return code;
    if ((code = change_enter(var, &own)) == STORE_OK) {
        code = index != NULL ? array_put(var, *index, link) : array_push(var, link, size);
        used = cell_at(var->space, link)->from != 0;
        change_leave(var, own, code);
    }
    if (!used) change_discard(var->space, link, &doomed);
    ref_destroy(var->space, &doomed);
    return code;
}

int store_array_put(store_var_t *var, uint64_t index, const store_value_t *value)
{
    uint64_t size;
    if (!var_is(var, STORE_ARRAY)) return STORE_E_ARGUMENT;
    return index < ARRAY_MAX ? array_store(var, &index, value, &size) : (int)STORE_E_ARGUMENT;
}

int store_array_push(store_var_t *var, const store_value_t *value, uint64_t *size)
{
    if (!var_is(var, STORE_ARRAY)) return STORE_E_ARGUMENT;
    return array_store(var, NULL, value, size);
}

/* End the whole content; the draft has none, and no tree (but the one whose links were moved). */
int array_end_all(store_var_t *var)
{
    store_state_t *draft = change_draft(var);
    store_tree_t   none  = { 0, 0 };
    if (draft->root == 0) return STORE_OK;
    array_end_range(var, draft->first, draft->length);
    STORE_STORE(draft->length, 0);
    var->changed = true;
    if (array_has_moved(var)) return STORE_OK;
    array_set_tree(var, none);
    STORE_STORE(draft->first, 0);
    return STORE_OK;
}

static int array_resize(store_var_t *var, uint64_t size)
{
    store_state_t *draft = change_draft(var);
    int            code;
    if (size == draft->length) return STORE_OK;
    if (size == 0) return array_end_all(var);
    if (size > draft->length) {
        if ((code = array_reserve(var, size)) != STORE_OK) return code;
        array_clear_range(var, draft->first + draft->length, size - draft->length);
    }
    else
        array_end_range(var, draft->first + size, draft->length - size);
    STORE_STORE(draft->length, size);
    var->changed = true;
    return STORE_OK;
}

int store_array_resize(store_var_t *var, uint64_t size)
{
    bool own;
    int  code = change_enter_as(var, STORE_ARRAY, &own);
    return code == STORE_OK ? change_leave(var, own, array_resize(var, size)) : code;
}

int store_array_delete(store_var_t *var, uint64_t index)
{
    bool own;
    int  code = change_enter_as(var, STORE_ARRAY, &own);
    if (code != STORE_OK) return code;
    if (index < change_draft(var)->length) array_end_range(var, change_draft(var)->first + index, 1);
    return change_leave(var, own, STORE_OK);
}

/* A queue is often empty: it keeps its page, if that is small enough. */
#define ARRAY_KEPT_TIER 2u

/* Make room for `count` new elements at `offset`, where `length` elements end: near the ends of the window
 * by moving elements, in the middle by a new tree. */
static int array_open_gap(store_var_t *var, uint64_t offset, uint64_t length, uint64_t count)
{
    store_state_t *draft   = change_draft(var);
    uint64_t       size    = draft->length - length + count;
    bool           careful = var->record->todo != 0;
    int            code;
    if (offset > draft->length || length > draft->length - offset || size > ARRAY_MAX) return STORE_E_ARGUMENT;
    array_tidy(var);
    array_end_range(var, draft->first + offset, length);
    if (size == 0 && draft->tier > ARRAY_KEPT_TIER) return array_end_all(var);
    if (offset + length != draft->length && offset != 0 && length != count) {
        code = array_rebuild(var, offset, length, count, careful);
        return code == STORE_E_NOSPC ? array_move_in_place(var, offset, length, count) : code;
    }
    if (offset + length == draft->length || length == count) { /* at the end, or one for one */
        if ((code = array_reserve(var, size)) != STORE_OK) return code;
    }
    else { /* at the beginning */
        if ((code = array_reserve(var, size)) != STORE_OK) return code;
        STORE_STORE(draft->first, draft->first + length - count);
    }
    STORE_STORE(draft->length, size);
    var->changed = true;
    return STORE_OK;
}

/* Cells of a splice that are made before the lock is taken. */
typedef struct array_cells {
    store_link_t few[8], *link;
    uint64_t     count, used;
} array_cells_t;

static int array_make_cells(store_var_t *var, array_cells_t *cells, const store_value_t *values, uint64_t count)
{
    int code     = STORE_OK;
    cells->count = cells->used = 0;
    cells->link                = count <= 8                                ? cells->few
                                 : count > SIZE_MAX / sizeof(store_link_t) ? NULL
                                                                           : (store_link_t *)malloc(count * sizeof(store_link_t));
    if (cells->link == NULL) return STORE_E_SYSTEM;
    for (; cells->count < count && code == STORE_OK; cells->count += code == STORE_OK)
        cells->link[cells->count] = change_make(var, NULL, &values[cells->count], 0, &code);
    return code;
}

/* Free the cells that did not get onto the list of the change. */
static void array_drop_cells(store_var_t *var, array_cells_t *cells)
{
    store_doomed_t doomed = 0;
    for (; cells->used < cells->count; cells->used++) change_discard(var->space, cells->link[cells->used], &doomed);
    if (cells->link != cells->few) free(cells->link);
    ref_destroy(var->space, &doomed);
}

static int array_splice(store_var_t *var, uint64_t offset, uint64_t length, array_cells_t *cells)
{
    uint64_t position;
    int      code = array_open_gap(var, offset, length, cells->count);
    position      = change_draft(var)->first + offset;
    for (; code == STORE_OK && cells->used < cells->count; cells->used++) {
        code = array_set(var, position + cells->used, cells->link[cells->used], false);
        if (code != STORE_OK) break;
    }
    return code;
}

int store_array_splice(store_var_t *var, uint64_t offset, uint64_t length, const store_value_t *values, uint64_t count)
{
    array_cells_t cells;
    bool          own;
    int           code = array_make_cells(var, &cells, values, count);
    if (code == STORE_OK && (code = change_enter_as(var, STORE_ARRAY, &own)) == STORE_OK) {
        code = array_splice(var, offset, length, &cells);
        change_leave(var, own, code);
    }
    array_drop_cells(var, &cells);
    return code;
}

/* A reference is left where it is: without it, what it leads to might be freed. */
static int array_take(store_var_t *var, bool last, store_value_t *value, const store_buffer_t *buffer)
{
    const store_state_t *draft = change_draft(var);
    uint64_t             index = last ? draft->length - 1 : 0;
    const store_link_t  *place;
    store_link_t         link;
    int                  code = STORE_OK;

    if (draft->length == 0) return STORE_ABSENT;
    value->kind = STORE_UNDEF;
    place       = array_at(var->space, draft, draft->first + index);
    link        = place != NULL ? version_at(var->space, *place, change_serial(var)) : 0;
    if (link != 0) code = cell_value(var->space, link, cell_at(var->space, link), value, buffer);
    if (code == STORE_OK && value->kind == STORE_REF) return STORE_E_ARGUMENT;
    return code == STORE_OK ? array_open_gap(var, index, 1, 0) : code;
}

int store_array_take(store_var_t *var, bool last, store_value_t *value, const store_buffer_t *buffer)
{
    bool own;
    int  code = change_enter_as(var, STORE_ARRAY, &own);
    return code == STORE_OK ? change_leave_as(var, own, array_take(var, last, value, buffer)) : code;
}

/* --- the end -------------------------------------------------------------------------------- */

void array_destroy(store_t *space, store_record_t *record, store_doomed_t *doomed)
{
    store_state_t *state = &record->state[record->serial & 1];
    store_tree_t   tree  = array_tree(state);
    uint64_t       i;
    for (i = 0; array_is_sound(state) && i < state->length; i++) {
        store_link_t *place = array_at(space, state, state->first + i);
        if (place == NULL) i += array_hole(space, state, state->first + i) - 1;
        if (place != NULL) chain_destroy(space, record, place, doomed);
    }
    chain_destroy(space, record, &record->table.is.root, doomed); /* what is reserved */
    if (tree.tier == 0) return;
    tree_each_page(space, &tree, row_adopt);
    STORE_STORE(state->root, 0);
    STORE_STORE(state->tier, 0);
    STORE_STORE(state->length, 0);
    change_retire(record);
    tree_each_page(space, &tree, row_free);
}

uint64_t array_pages(const store_var_t *var, const store_sight_t *sight)
{
    store_tree_t tree  = array_tree(&sight->state);
    tree_guard_t guard = look_guard(var, sight);
    return tree_count_pages(var->space, &tree, &guard);
}
