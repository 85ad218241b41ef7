/*
 * hash.c - shared hashes: their elements, one by one and all of them. Buckets: table.h; what
 * vanishes: expiry.h.
 */
#include "expiry.h"

/* --- what is there -------------------------------------------------------------------- */

/* How many cells a chain may have before its length is held against the count of what was
 * freed: a reader may have strayed into another chain. So may a reader of damaged links, and
 * go round for ever: in a chain no hash is less than the one before. */
#define HASH_LONG_CHAIN 64u

/* May a reader go on from a cell to the next one? */
static inline bool hash_goes_on(const store_var_t *var, const store_sight_t *sight, store_walk_t *walk, uint32_t steps, store_link_t link)
{
    if (POOL_LIKELY(steps % HASH_LONG_CHAIN != 0)) return true;
    return !walk_goes_round(walk, link) && (var->open || look_holds(var, sight));
}

/* The element of a key at the serial of the look, or 0. *torn: look again. */
static store_link_t hash_find(store_var_t *var, const store_key_t *key, const store_sight_t *sight, uint64_t *now, bool *torn)
{
    store_t      *space = var->space;
    store_table_t table = hash_table(var->record);
    store_link_t  link;
    uint32_t      steps, hash = 0;
    store_walk_t  walk = { 0, 0 };

    *torn = true;
    if (!hash_begin(var, sight, table, hash_bucket_of(key->hash, hash_buckets(table)), &link)) return 0;
    for (steps = 1; link != 0; steps++) {
        const store_cell_t *cell   = cell_at(space, link);
        uint32_t            before = hash;
        if (cell == NULL) return 0;
        hash = STORE_LOAD(cell->hash);
        if (hash < before || !hash_goes_on(var, sight, &walk, steps, link)) return 0;
        if (hash > key->hash) break;
        if (hash == key->hash) {
            int order = cell_compare(space, link, cell, key);
            if (order > 0) break;
            if (order == 0 && cell_exists(cell, sight->serial)) {
                *torn = false;
                return hash_is_fresh(space, link, cell, now) ? link : 0;
            }
        }
        link = hash_follow(&cell->next);
    }
    *torn = hash_table(var->record).word != table.word; /* its bucket may have been split meanwhile */
    return 0;
}

/* A long value is checked by itself: others of the hash may change all the time while it is
 * copied. A cell that goes has another owner before it is freed. */
#define HASH_LONG_VALUE 2048u

static int hash_long_value(store_var_t *var, const store_sight_t *sight, store_link_t link, const store_cell_t *cell, store_value_t *value,
                           const store_buffer_t *buffer, bool *torn)
{
    uint64_t owner = row_owner(var->space, link), generation = row_generation(var->space, link);
    int      code;
    *torn = true;
    if (!look_holds(var, sight)) return STORE_OK;
    code = cell_value(var->space, link, cell, value, buffer);
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* pairs with change_retire() */
    *torn = row_owner(var->space, link) != owner || row_generation(var->space, link) != generation;
    return code;
}

/* One try. */
static int hash_look_up(store_var_t *var, const store_key_t *key, store_value_t *value, const store_buffer_t *buffer,
                        const store_sight_t *sight, bool *torn)
{
    uint64_t            now  = 0;
    int                 code = STORE_OK;
    store_link_t        link = hash_find(var, key, sight, &now, torn);
    const store_cell_t *cell;

    if (*torn) return STORE_OK;
    if (link == 0) {
        *torn = !look_holds(var, sight);
        return STORE_ABSENT;
    }
    cell = cell_at(var->space, link);
    if (value != NULL && STORE_LOAD(cell->value_length) > HASH_LONG_VALUE && buffer != NULL)
        code = hash_long_value(var, sight, link, cell, value, buffer, torn);
    else {
        if (value != NULL) code = cell_value(var->space, link, cell, value, buffer);
        *torn = !look_holds(var, sight);
    }
    if (!*torn && STORE_LOAD(var->record->limit) != 0 && STORE_LOAD(cell->used) == 0) STORE_STORE(((store_cell_t *)cell)->used, 1);
    return code;
}

int table_get(store_var_t *var, const store_key_t *key, store_value_t *value, const store_buffer_t *buffer)
{
    store_sight_t sight;
    int           tries, code;
    bool          torn, own;
    for (tries = 0; look_again(var, tries); tries++) {
        if ((code = look_begin(var, &sight)) != STORE_OK) return code;
        code = hash_look_up(var, key, value, buffer, &sight, &torn);
        look_end(&sight);
        if (!torn) return code;
    }
    if ((code = look_lock(var, &own)) != STORE_OK) return code;
    if ((code = look_begin(var, &sight)) == STORE_OK) code = hash_look_up(var, key, value, buffer, &sight, &torn);
    change_leave(var, own, STORE_OK);
    return torn ? (int)STORE_E_DAMAGED : code;
}

int store_hash_get(store_var_t *var, const store_key_t *key, store_value_t *value, const store_buffer_t *buffer)
{
    return var_is(var, STORE_HASH) ? table_get(var, key, value, buffer) : (int)STORE_E_ARGUMENT;
}

int store_hash_expiry(store_var_t *var, const store_key_t *key, uint64_t *expires_ns)
{
    store_sight_t sight;
    uint64_t      now = 0;
    bool          torn;
    int           code, tries;
    if (!var_is(var, STORE_HASH)) return STORE_E_ARGUMENT;
    for (tries = 0; tries < 1000; tries++) {
        store_link_t link;
        if ((code = look_begin(var, &sight)) != STORE_OK) return code;
        link        = hash_find(var, key, &sight, &now, &torn);
        *expires_ns = !torn && link != 0 ? cell_expires(var->space, link, cell_at(var->space, link)) : 0;
        look_end(&sight);
        if (!torn && look_holds(var, &sight)) return link != 0 ? STORE_OK : STORE_ABSENT;
    }
    return STORE_E_DAMAGED;
}

/* --- changing ------------------------------------------------------------------------------ */

void hash_unlink(store_t *space, store_record_t *record, store_link_t link, const store_cell_t *cell, store_cell_t *before)
{
    store_link_t *place;
    store_walk_t  walk = { 0, 0 };
    if (before != NULL && before->next == link) {
        hash_link(&before->next, cell->next);
        return;
    }
    place = hash_head_for(space, record, hash_table(record), cell->hash);
    while (place != NULL && *place != 0 && !walk_goes_round(&walk, *place)) {
        store_cell_t *other;
        /* cppcheck-suppress uninitvar; it is a word of the shared memory */
        if (*place == link) {
            hash_link(place, cell->next);
            return;
        }
        if ((other = cell_at(space, *place)) == NULL || other->hash > cell->hash) return;
        place = &other->next;
    }
}

/* In the open change: where the newest version of the key is, or where it would be. *old:
 * the version that exists, or 0. NULL: damaged. */
static store_link_t *hash_place(store_var_t *var, const store_key_t *key, store_link_t *old)
{
    store_link_t *place = hash_head_for(var->space, var->record, hash_table(var->record), key->hash), *found = NULL;
    store_walk_t  walk = { 0, 0 };
    store_link_t  link;
    *old = 0;
    while (place != NULL && (link = STORE_LOAD(*place)) != 0) { /* once: it may be scribbled over meanwhile */
        store_cell_t *cell = cell_at(var->space, link);
        int           order;
        if (cell == NULL || walk_goes_round(&walk, link)) return NULL;
        if ((order = cell_compare(var->space, link, cell, key)) > 0) break;
        if (order == 0) {
            if (found == NULL) found = place;
            if (cell_exists(cell, change_serial(var))) {
                *old = link;
                break;
            }
        }
        place = &cell->next;
    }
    return found != NULL ? found : place;
}

/* Of a table with more buckets than this, what an operation needs is hardly ever in the processor's cache. */
#define HASH_CACHED 16384u
#define HASH_AHEAD  4

/* Before the lock is taken: have the chain of the key, and the owner of what it replaces, in the cache, so that nobody
 * waits for the lock while its holder waits for memory. It follows links as a look does (trim.c), and
 * relies on nothing that it finds. */
static void hash_fetch_ahead(store_var_t *var, const store_key_t *key)
{
    store_table_t table   = hash_table(var->record);
    uint32_t     *looking = STORE_LOAD(var->from->looking);
    store_link_t *place, link;
    int           steps;
    if (POOL_LIKELY(hash_buckets(table) <= HASH_CACHED) || looking == NULL || var->open || var->is_glance || var->is_internal) return;
    look_enter(looking); /* the pages of the table that was read before stay: a table only grows as long as anybody has a handle */
    place = hash_head_for(var->space, var->record, table, key->hash);
    for (steps = 0; place != NULL && steps < HASH_AHEAD && (link = hash_follow(place)) != 0; steps++) {
        store_cell_t *cell = cell_at(var->space, link);
        if (cell == NULL) break;
        row_fetch_owner(var->space, link);
        if (STORE_LOAD(cell->hash) >= key->hash) break;
        place = &cell->next;
    }
    look_leave(looking);
}

static void hash_end_link(store_var_t *var, store_link_t link)
{
    hash_end_cell(var, link, cell_at(var->space, link));
}

/* The version that is there ends; the new cell, which is not on any list yet, is linked in front
 * of it, at `place`. In this order the new one comes before it on the list: see
 * change_settle_cell(). */
static void hash_insert_at(store_var_t *var, store_link_t link, store_link_t *place, store_link_t old, uint64_t expires_ns)
{
    store_cell_t  *cell  = cell_at(var->space, link);
    store_state_t *draft = change_draft(var);

    if (old != 0) hash_end_link(var, old);
    STORE_STORE(cell->next, *place);
    change_add(var, link, cell);
    hash_link(place, link);
    if (hash_counts(var)) STORE_STORE(draft->length, draft->length + 1);
    if (expires_ns != 0) hash_expect(var->record, expires_ns);
    if (!hash_counts(var)) return;
    hash_make_room(var, expires_ns != 0);
    hash_grow(var->space, var->record, draft->length);
}

static int hash_insert(store_var_t *var, store_link_t link, const store_key_t *key, uint64_t expires_ns)
{
    store_link_t old, *place = hash_place(var, key, &old);
    if (place == NULL || cell_at(var->space, link) == NULL) return STORE_E_DAMAGED;
    hash_insert_at(var, link, place, old, expires_ns);
    return STORE_OK;
}

/* When vanishes what is stored without a word about that? 0: never. */
static inline uint64_t hash_default_expiry(const store_var_t *var)
{
    uint64_t after = STORE_LOAD(var->record->expire_ns);
    return after != 0 ? store_expires(after) : 0;
}

int table_put(store_var_t *var, const store_key_t *key, const store_value_t *value, uint64_t expires_ns)
{
    store_doomed_t doomed = 0;
    store_link_t   link;
    bool           own;
    int            code;
    if (expires_ns == 0) expires_ns = hash_default_expiry(var);
    if (expires_ns == STORE_NEVER) expires_ns = 0;
    if ((link = change_make(var, key, value, expires_ns, &code)) == 0) return code;
    hash_fetch_ahead(var, key);
    if ((code = change_enter(var, &own)) == STORE_OK) {
        code = hash_insert(var, link, key, expires_ns);
        if (code != STORE_OK) change_discard(var->space, link, &doomed);
        change_leave(var, own, code);
    }
    else
        change_discard(var->space, link, &doomed);
    ref_destroy(var->space, &doomed);
    return code;
}

int store_hash_put(store_var_t *var, const store_key_t *key, const store_value_t *value, uint64_t expires_ns)
{
    return var_is(var, STORE_HASH) ? table_put(var, key, value, expires_ns) : (int)STORE_E_ARGUMENT;
}

/* In the open change. The new one vanishes when the old one would have. */
static int hash_add(store_var_t *var, const store_key_t *key, int64_t delta, int64_t *sum)
{
    store_link_t  link, old, *place = hash_place(var, key, &old);
    store_cell_t *cell = old != 0 ? cell_at(var->space, old) : NULL;
    store_value_t value;
    uint64_t      now = 0, expires_ns;
    int           code;

    if (place == NULL) return STORE_E_DAMAGED;
    *sum = delta;
    if (cell != NULL && hash_is_fresh(var->space, old, cell, &now)) {
        int64_t integer = 0;
        if (cell->kind != STORE_INT && cell->kind != STORE_UNDEF) return STORE_E_ARGUMENT;
        if (cell->kind == STORE_INT && (code = cell_integer(var->space, old, cell, &integer)) != STORE_OK) return code;
        if (__builtin_add_overflow(integer, delta, sum)) return STORE_E_ARGUMENT;
        expires_ns = cell_expires(var->space, old, cell);
    }
    else
        expires_ns = hash_default_expiry(var);
    value = store_int(*sum);
    if ((link = change_make(var, key, &value, expires_ns, &code)) == 0) return code;
    hash_insert_at(var, link, place, old, expires_ns);
    return STORE_OK;
}

int store_hash_add(store_var_t *var, const store_key_t *key, int64_t delta, int64_t *sum)
{
    bool own;
    int  code;
    if (!var_is(var, STORE_HASH)) return STORE_E_ARGUMENT;
    hash_fetch_ahead(var, key);
    code = change_enter(var, &own);
    return code == STORE_OK ? change_leave_as(var, own, hash_add(var, key, delta, sum)) : code;
}

int table_delete(store_var_t *var, const store_key_t *key)
{
    store_link_t  old;
    store_cell_t *cell;
    uint64_t      now = 0;
    bool          own, fresh;
    int           code;
    hash_fetch_ahead(var, key);
    if ((code = change_enter(var, &own)) != STORE_OK) return code;
    if (hash_place(var, key, &old) == NULL) return change_leave(var, own, STORE_E_DAMAGED);
    cell  = cell_at(var->space, old);
    fresh = cell != NULL && hash_is_fresh(var->space, old, cell, &now);
    if (cell != NULL) hash_end_cell(var, old, cell);
    change_leave(var, own, STORE_OK);
    return fresh ? STORE_OK : STORE_ABSENT;
}

int store_hash_delete(store_var_t *var, const store_key_t *key)
{
    return var_is(var, STORE_HASH) ? table_delete(var, key) : (int)STORE_E_ARGUMENT;
}

/* --- going through it ------------------------------------------------------------------------ */

/* The cells of one bucket. False: it makes no sense, or was freed meanwhile. */
static bool hash_each_in(store_var_t *var, const store_sight_t *sight, store_table_t table, uint32_t bucket, uint64_t *now,
                         type_visit_fn *visit, void *context)
{
    store_link_t link;
    uint32_t     steps, hash = 0;
    store_walk_t walk = { 0, 0 };
    if (!hash_begin(var, sight, table, bucket, &link)) return false;
    for (steps = 1; link != 0; steps++) {
        const store_cell_t *cell = cell_at(var->space, link);
        store_link_t        next;
        uint32_t            before = hash;
        if (cell == NULL) return false;
        hash = STORE_LOAD(cell->hash);
        if (hash < before || !hash_goes_on(var, sight, &walk, steps, link)) return false;
        next = hash_follow(&cell->next);
        __builtin_prefetch(cell_at(var->space, next));
        if (hash_bucket_of(hash, hash_buckets(table)) != bucket) return true; /* behind a cut that is being made */
        if (cell_exists(cell, sight->serial) && hash_is_fresh(var->space, link, cell, now)) visit(var->space, link, cell, context);
        link = next;
    }
    return true;
}

bool hash_each(store_var_t *var, const store_sight_t *sight, type_visit_fn *visit, void *context)
{
    store_table_t  table   = hash_table(var->record);
    uint32_t       buckets = hash_buckets(table), bucket;
    uint64_t       now     = 0;
    const uint32_t ahead   = 8;
    for (bucket = 0; bucket < buckets; bucket++) {
        const store_link_t *coming = bucket + ahead < buckets ? hash_find_head(var, sight, table, bucket + ahead) : NULL;
        if (coming != NULL) __builtin_prefetch(cell_at(var->space, STORE_LOAD(*coming)));
        if (!hash_each_in(var, sight, table, bucket, &now, visit, context)) return false;
        if (bucket % 1024 == 1023 && !var->open && !look_is_current(var, sight)) return false;
    }
    /* Buckets that were split meanwhile may have been seen cut. */
    return var->open || hash_table(var->record).is.shape == table.is.shape;
}

/* The cells of one chain. False: its links go round, or lead nowhere. */
static bool hash_end_chain(store_var_t *var, store_link_t *place, uint64_t serial)
{
    store_walk_t walk = { 0, 0 };
    while (*place != 0) {
        store_cell_t *cell = cell_at(var->space, *place);
        if (cell == NULL || walk_goes_round(&walk, *place)) return false;
        if (cell_exists(cell, serial)) hash_end_cell(var, *place, cell);
        place = &cell->next;
    }
    return true;
}

/* Also what has expired. */
int hash_end_all(store_var_t *var)
{
    store_sight_t sight;
    store_table_t table = hash_table(var->record);
    store_link_t *heads;
    uint32_t      bucket, count, i;
    int           code = look_begin(var, &sight);
    if (code != STORE_OK) return code;
    for (bucket = 0; bucket < hash_buckets(table); bucket += count) {
        count = hash_heads(var->space, var->record, table, bucket, &heads);
        for (i = 0; heads != NULL && i < count; i++)
            if (!hash_end_chain(var, &heads[i], sight.serial)) return STORE_E_DAMAGED;
    }
    if (hash_counts(var)) STORE_STORE(change_draft(var)->length, 0);
    var->changed = true;
    return STORE_OK;
}

int store_hash_clear(store_var_t *var)
{
    bool own;
    int  code = change_enter_as(var, STORE_HASH, &own);
    if (code != STORE_OK) return code;
    return change_leave(var, own, hash_end_all(var));
}

static void hash_count_visited(store_t *space, store_link_t link, const store_cell_t *cell, void *context)
{
    (void)space;
    (void)link;
    (void)cell;
    ++*(uint64_t *)context;
}

int store_hash_count(store_var_t *var, uint64_t *count)
{
    store_sight_t sight;
    int           code, tries;
    bool          is_whole;
    if (!var_is(var, STORE_HASH)) return STORE_E_ARGUMENT;
    for (tries = 0; tries < LOOK_TRIES; tries++) {
        if ((code = look_begin(var, &sight)) != STORE_OK) return code;
        *count   = sight.state.length;
        is_whole = !store_hash_is_timed(var);
        if (!is_whole) {
            *count   = 0;
            is_whole = hash_each(var, &sight, hash_count_visited, count) && look_is_current(var, &sight);
        }
        look_end(&sight);
        if (is_whole) return STORE_OK;
    }
    return STORE_OK; /* it changes all the time: as good as any */
}

/* --- iteration ---------------------------------------------------------------------------------- */

/* The first element behind `after` (or, NULL, from `hash` on) in the bucket of `hash`.
 * 0: none in this bucket. *torn: look again. */
static store_link_t hash_next_in(store_var_t *var, const store_sight_t *sight, store_table_t table, const store_key_t *after, uint32_t hash,
                                 uint64_t *now, bool *torn)
{
    store_link_t link;
    uint32_t     steps, its = 0;
    store_walk_t walk = { 0, 0 };
    *torn             = true;
    if (!hash_begin(var, sight, table, hash_bucket_of(hash, hash_buckets(table)), &link)) return 0;
    for (steps = 1; link != 0; steps++) {
        const store_cell_t *cell   = cell_at(var->space, link);
        uint32_t            before = its;
        if (cell == NULL) return 0;
        its = STORE_LOAD(cell->hash);
        if (its < before || !hash_goes_on(var, sight, &walk, steps, link)) return 0;
        if ((after == NULL ? its >= hash : cell_compare(var->space, link, cell, after) > 0) && cell_exists(cell, sight->serial)
            && hash_is_fresh(var->space, link, cell, now))
            break;
        link = hash_follow(&cell->next);
    }
    *torn = hash_table(var->record).is.shape != table.is.shape; /* it may have been split meanwhile */
    return link;
}

/* How many bits of the hash name the bucket of `hash`. */
static uint32_t hash_bits_of(uint32_t hash, uint32_t buckets)
{
    uint32_t bits = hash_low_bits(buckets), bucket = hash_bucket_of(hash, buckets);
    return bucket >= 1u << bits || bucket + (1u << bits) < buckets ? bits + 1 : bits;
}

static int hash_next_try(store_var_t *var, const store_sight_t *sight, const store_key_t *after, store_key_t *next,
                         const store_buffer_t *buffer, bool *torn)
{
    store_table_t table = hash_table(var->record);
    uint32_t      hash  = after != NULL ? after->hash : 0;
    uint64_t      now   = 0;
    for (;;) {
        store_link_t link = hash_next_in(var, sight, table, after, hash, &now, torn);
        uint32_t     bits;
        uint64_t     beyond;
        int          code;
        if (*torn) return STORE_OK;
        if (link != 0) {
            code = cell_key(var->space, link, cell_at(var->space, link), next, buffer);
            /* With another hash than its bytes have, the next call would come to it again. */
            if (code == STORE_OK && store_key(var->space, next->bytes, next->length, next->is_text).hash != next->hash)
                code = STORE_E_DAMAGED;
            *torn = !look_holds(var, sight);
            return code;
        }
        bits   = hash_bits_of(hash, hash_buckets(table));
        beyond = ((uint64_t)hash >> (32 - bits)) + 1;
        if (beyond >> bits != 0) {
            *torn = !look_holds(var, sight);
            return STORE_ABSENT;
        }
        hash  = (uint32_t)(beyond << (32 - bits));
        after = NULL;
    }
}

int store_hash_next(store_var_t *var, const store_key_t *key, store_key_t *next, const store_buffer_t *buffer)
{
    store_sight_t sight;
    bool          torn, own;
    int           tries, code;
    if (!var_is(var, STORE_HASH)) return STORE_E_ARGUMENT;
    for (tries = 0; look_again(var, tries); tries++) {
        if ((code = look_begin(var, &sight)) != STORE_OK) return code;
        code = hash_next_try(var, &sight, key, next, buffer, &torn);
        look_end(&sight);
        if (!torn) return code;
    }
    if ((code = look_lock(var, &own)) != STORE_OK) return code;
    if ((code = look_begin(var, &sight)) == STORE_OK) code = hash_next_try(var, &sight, key, next, buffer, &torn);
    change_leave(var, own, STORE_OK);
    return torn ? (int)STORE_E_DAMAGED : code;
}

/* --- the end ---------------------------------------------------------------------------------------- */

void hash_destroy(store_t *space, store_record_t *record, store_doomed_t *doomed)
{
    store_table_t table = hash_table(record);
    store_tree_t  tree  = { table.is.root, hash_tier(table) };
    store_link_t *heads;
    uint32_t      bucket, count, i;
    for (bucket = 0; bucket < hash_buckets(table); bucket += count) {
        count = hash_heads(space, record, table, bucket, &heads);
        for (i = 0; heads != NULL && i < count; i++) chain_destroy(space, record, &heads[i], doomed);
    }
    if (tree.tier == 0) return;
    tree_each_page(space, &tree, row_adopt);
    hash_set_table(record, hash_table_of(0, 0, 0));
    change_retire(record);
    tree_each_page(space, &tree, row_free);
}

uint64_t hash_pages(const store_var_t *var, const store_sight_t *sight)
{
    store_table_t table = hash_table(var->record);
    store_tree_t  tree  = { table.is.root, hash_tier(table) };
    tree_guard_t  guard = look_guard(var, sight);
    return tree_count_pages(var->space, &tree, &guard);
}
