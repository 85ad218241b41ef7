/*
 * hash.c - shared hashes.
 *
 * Linear hashing: one bucket more when there are more than half as many elements as buckets,
 * so growing moves one chain at a time. A chain is sorted by the hash with its bits reversed, then by
 * key: what moves to a new bucket is the end of the old chain. To split: the new bucket
 * leads to where its elements begin, the number of buckets is published, the old chain is
 * cut. A reader that went by the old number and found nothing looks at the number again.
 * The same order makes an iteration stateless: the next key after this one.
 *
 * Versions of one element lie side by side in the chain, the newest first.
 */
#include "types.h"

#include <endian.h>
#include <stdlib.h>

/* --- keys ------------------------------------------------------------------------- */

__extension__ typedef unsigned __int128 hash_wide_t;

/* Multiplying to twice the width and folding mixes all bits of both factors. */
static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
    hash_wide_t product = (hash_wide_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

#define HASH_ODD_1 UINT64_C(0x9e3779b97f4a7c15)
#define HASH_ODD_2 UINT64_C(0xd6e8feb86659fd93)

static inline uint32_t hash_reverse(uint32_t x)
{
    x = __builtin_bswap32(x);
    x = (x >> 4 & 0x0f0f0f0fu) | (x & 0x0f0f0f0fu) << 4;
    x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
    return (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
}

static inline uint64_t hash_load_8(const char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return le64toh(word);
}

static inline uint64_t hash_load_4(const char *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return le32toh(word);
}

/* The last eight bytes, or as many as there are: the last one is the uppermost. */
static inline uint64_t hash_end(const char *bytes, uint32_t length)
{
    if (POOL_LIKELY(length >= 8)) return hash_load_8(bytes + length - 8);
    if (length >= 4) return hash_load_4(bytes + length - 4) << 32 | hash_load_4(bytes);
    if (length == 0) return 0;
    return (uint64_t)(uint8_t)bytes[length - 1] << 56 | (uint64_t)(uint8_t)bytes[length / 2] << 8 | (uint8_t)bytes[0];
}

/* Keys that differ in the low half of their last byte only, as numbers in a row do, have hashes
 * that differ in the uppermost bits only: those say which of 16 buckets side by side it is. They
 * never share one; and who goes through them finds the next chain's head in the cache. */
#define HASH_NEAR (UINT64_C(15) << 56)

static uint32_t hash_bytes(uint64_t seed, const char *bytes, uint32_t length)
{
    uint64_t h = seed ^ hash_fold(length ^ HASH_ODD_1, HASH_ODD_2), end = hash_end(bytes, length);
    for (; length > 8; length -= 8, bytes += 8) h = hash_fold(h ^ hash_load_8(bytes), HASH_ODD_1);
    h = hash_fold(h ^ (end & ~HASH_NEAR), HASH_ODD_2 ^ seed);
    return (uint32_t)(h ^ h >> 32) ^ hash_reverse((uint32_t)((end & HASH_NEAR) >> 56));
}

store_key_t store_key(const store_t *store, const char *bytes, uint32_t length, bool is_text)
{
    store_key_t key = { bytes, length, hash_bytes(store->seed, bytes, length), is_text };
    return key; /* any 32 bits will do: these are the reversed ones */
}

/* --- buckets ------------------------------------------------------------------------- */

#define HASH_TIER_BIT    28u
#define HASH_MAX_BUCKETS ((1u << HASH_TIER_BIT) - 1)
#define HASH_ONE_CHAIN   8u /* elements; with more it gets buckets */

static inline uint32_t hash_tier(store_table_t table)
{
    return table.is.shape >> HASH_TIER_BIT;
}

/* At least one; without a directory just that, whatever it says. */
static inline uint32_t hash_buckets(store_table_t table)
{
    uint32_t buckets = table.is.shape & HASH_MAX_BUCKETS;
    return hash_tier(table) != 0 && buckets != 0 ? buckets : 1;
}

static inline store_table_t hash_table_of(store_link_t root, uint32_t tier, uint32_t buckets)
{
    store_table_t table;
    table.is.root  = root;
    table.is.shape = tier << HASH_TIER_BIT | buckets;
    return table;
}

static inline store_table_t hash_table(const store_record_t *record)
{
    store_table_t table;
    table.word = __atomic_load_n(&record->table.word, __ATOMIC_ACQUIRE); /* pairs with hash_set_table() */
    return table;
}

/* Release: what the table leads to is whole. */
static inline void hash_set_table(store_record_t *record, store_table_t table)
{
    __atomic_store_n(&record->table.word, table.word, __ATOMIC_RELEASE); /* pairs with hash_table() */
}

/* Bits of the hash that say the bucket, before those were split that are split already. */
static inline uint32_t hash_low_bits(uint32_t buckets)
{
    return 31u - (uint32_t)__builtin_clz(buckets);
}

static inline uint32_t hash_bucket_of(uint32_t hash, uint32_t buckets)
{
    uint32_t bits = hash_low_bits(buckets), straight = hash_reverse(hash), bucket = straight & (uint32_t)((UINT64_C(2) << bits) - 1);
    return bucket < buckets ? bucket : straight & ((1u << bits) - 1);
}

/* Where the chain of a bucket begins, or NULL: damaged, or freed meanwhile. */
static inline store_link_t *hash_head(store_t *space, store_record_t *record, store_table_t table, uint32_t bucket)
{
    store_tree_t tree = { table.is.root, hash_tier(table) };
    if (tree.tier == 0) return &record->table.is.root;
    return bucket < tree_capacity(tree.tier) ? tree_at(space, &tree, bucket) : NULL;
}

/* The heads from that of a bucket to the last in the same page, side by side; *heads is NULL where
 * the page is not there. Returns for how many buckets this is so: at least one. */
static inline uint32_t hash_heads(store_t *space, store_record_t *record, store_table_t table, uint32_t bucket, store_link_t **heads)
{
    uint32_t buckets = hash_buckets(table), end = (bucket | (TREE_FAN - 1)) + 1;
    *heads = hash_head(space, record, table, bucket);
    return (end < buckets ? end : buckets) - bucket;
}

static inline store_link_t *hash_head_for(store_t *space, store_record_t *record, store_table_t table, uint32_t hash)
{
    return hash_head(space, record, table, hash_bucket_of(hash, hash_buckets(table)));
}

static inline store_link_t hash_follow(const store_link_t *place)
{
    return __atomic_load_n(place, __ATOMIC_ACQUIRE); /* pairs with the release of who links */
}

static inline void hash_link(store_link_t *place, store_link_t link)
{
    __atomic_store_n(place, link, __ATOMIC_RELEASE); /* pairs with hash_follow() */
}

/* As hash_head(), for readers: while a glance looks at a hash, it may be destroyed with all its pages. */
__attribute__((noinline)) static const store_link_t *hash_glance_at_head(const store_var_t *var, const store_sight_t *sight,
                                                                         store_table_t table, uint32_t bucket)
{
    store_tree_t tree  = { table.is.root, hash_tier(table) };
    tree_guard_t guard = look_guard(var, sight);
    return bucket < tree_capacity(tree.tier) ? tree_find(var->space, &tree, bucket, &guard) : NULL;
}

static inline const store_link_t *hash_find_head(const store_var_t *var, const store_sight_t *sight, store_table_t table, uint32_t bucket)
{
    return POOL_LIKELY(!var->is_glance) ? hash_head(var->space, var->record, table, bucket)
                                        : hash_glance_at_head(var, sight, table, bucket);
}

/* The first cell of a chain, for readers. A chain without buckets begins in the word that was
 * read: by now it may be the root of a directory. A page of heads is freed when it was too small:
 * what it says is a link if the table is still the same after that (or else, look again: false);
 * the larger ones stay for as long as the variable does. */
static inline bool hash_begin(const store_var_t *var, const store_sight_t *sight, store_table_t table, uint32_t bucket, store_link_t *link)
{
    const store_link_t *head;
    *link = table.is.root;
    if (hash_tier(table) == 0) return true;
    if ((head = hash_find_head(var, sight, table, bucket)) == NULL) return false;
    *link = hash_follow(head);
    if (POOL_LIKELY(hash_tier(table) >= 4 && !var->is_glance)) return true;
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* pairs with change_retire() */
    return hash_table(var->record).word == table.word && STORE_LOAD(var->record->generation) == var->id.generation;
}

/* --- what is there -------------------------------------------------------------------- */

/* Not yet expired? The clock is read when it is first needed. */
static bool hash_is_fresh(store_t *space, store_link_t link, const store_cell_t *cell, uint64_t *now)
{
    uint64_t expires;
    if (POOL_LIKELY((STORE_LOAD(cell->flags) & STORE_CELL_EXPIRES) == 0)) return true;
    expires = cell_expires(space, link, cell);
    if (*now == 0) *now = store_clock_tick();
    return expires == 0 || expires > *now;
}

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

int store_hash_get(store_var_t *var, const store_key_t *key, store_value_t *value, const store_buffer_t *buffer)
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

/* --- growing ---------------------------------------------------------------------------- */

static inline bool hash_goes_up(const store_cell_t *cell, uint32_t bit)
{
    return (hash_reverse(STORE_LOAD(cell->hash)) & bit) != 0;
}

/* In a chain: the place that leads to the first cell with that bit of the hash. */
static store_link_t *hash_find_cut(store_t *space, store_link_t *place, uint32_t bit)
{
    store_walk_t walk = { 0, 0 };
    while (place != NULL && *place != 0 && !walk_goes_round(&walk, *place)) {
        store_cell_t *cell = cell_at(space, *place);
        if (cell == NULL || hash_goes_up(cell, bit)) break;
        place = &cell->next;
    }
    return place;
}

/* Cut the chain that bucket `fresh` was split off. Done again it changes nothing. */
static void hash_cut(store_t *space, store_record_t *record, store_table_t table, uint32_t fresh)
{
    uint32_t      bit   = 1u << hash_low_bits(fresh);
    store_link_t *place = hash_head(space, record, table, fresh - bit);
    if (place != NULL && (place = hash_find_cut(space, place, bit)) != NULL) hash_link(place, 0);
}

/* One bucket more. The page for it is there. Who dies after the number was published and
 * before the cut has said what was to be cut. */
static void hash_split(store_t *space, store_record_t *record, store_table_t table)
{
    uint32_t      fresh = hash_buckets(table), bit = 1u << hash_low_bits(fresh);
    store_link_t *from = hash_head(space, record, table, fresh - bit), *to = hash_head(space, record, table, fresh);
    if (from == NULL || to == NULL || (from = hash_find_cut(space, from, bit)) == NULL) return;
    hash_link(to, *from);
    change_intend(record, STORE_INTENT_SPLIT, 0, fresh);
    hash_set_table(record, hash_table_of(table.is.root, hash_tier(table), fresh + 1));
    hash_link(from, 0);
    change_intended(record);
}

/* Give up a page that nothing leads to any more: what the intent says is done again by an
 * heir, until the page is ours. */
static void hash_give_up_root(store_t *space, store_record_t *record, store_link_t old)
{
    if (old != 0) row_adopt(space, old);
    change_intended(record);
    if (old == 0) return;
    change_retire(record);
    row_free(space, old);
}

/* A directory for more buckets. No room for it: longer chains. */
static void hash_grow_root(store_t *space, store_record_t *record, store_table_t table)
{
    uint32_t      tier  = hash_tier(table), i;
    bool          above = tier >= 4; /* the old root becomes the first page below the new one */
    store_link_t  page = tier + 1 < TREE_TIERS ? tree_new(space, tier + 1, NULL) : 0, old = tier == 0 || above ? 0 : table.is.root;
    store_link_t *links = (store_link_t *)row_ptr(space, page);

    if (page == 0) return;
    if (tier == 0 || above)
        STORE_STORE(links[0], table.is.root);
    else
        for (i = 0; i < hash_buckets(table); i++) {
            const store_link_t *head = hash_head(space, record, table, i);
            STORE_STORE(links[i], head != NULL ? *head : 0);
        }
    change_intend(record, STORE_INTENT_ROOT, page, old);
    hash_set_table(record, hash_table_of(page, tier + 1, hash_buckets(table)));
    row_disown(space, page);
    hash_give_up_root(space, record, old);
}

/* Where an intent about a page below the root has it: the level beside the index. */
#define HASH_LEVEL_BIT 40u

/* See that the page for a bucket is there. False: no room. */
static bool hash_have_page(store_t *space, store_record_t *record, store_table_t table, uint32_t bucket)
{
    store_tree_t tree  = { table.is.root, hash_tier(table) };
    uint32_t     level = tree_depth(tree.tier);
    for (; level > 0; level--) {
        store_link_t *place = tree_slot(space, &tree, bucket, level), page;
        if (place == NULL) return false;
        if (*place != 0) continue;
        if ((page = tree_new(space, tree.tier, NULL)) == 0) return false;
        change_intend(record, STORE_INTENT_PAGE, page, (uint64_t)level << HASH_LEVEL_BIT | bucket);
        hash_link(place, page);
        row_disown(space, page);
        change_intended(record);
    }
    return true;
}

/* Twice as many buckets as elements, a few at a time: a fetch that finds its bucket's chain cold
 * then meets hardly any cell but its own. */
static void hash_grow(store_t *space, store_record_t *record, uint64_t elements)
{
    int splits;
    if (elements <= HASH_ONE_CHAIN) return;
    for (splits = 0; splits < 4; splits++) {
        store_table_t table   = hash_table(record);
        uint32_t      buckets = hash_buckets(table);
        if (elements * 2 <= buckets || buckets >= HASH_MAX_BUCKETS) return;
        if (hash_tier(table) == 0 || buckets >= tree_capacity(hash_tier(table))) {
            hash_grow_root(space, record, table);
            table = hash_table(record);
        }
        if (hash_tier(table) == 0 || buckets >= tree_capacity(hash_tier(table)) || !hash_have_page(space, record, table, buckets)) return;
        hash_split(space, record, table);
    }
}

void hash_finish_page(store_t *space, store_record_t *record)
{
    store_table_t table = hash_table(record);
    store_tree_t  tree  = { table.is.root, hash_tier(table) };
    store_link_t  page  = record->intent_page, *place;
    uint64_t      where = record->intent_place;

    switch (record->intent) {
    case STORE_INTENT_SPLIT:
        if (where > 0 && hash_buckets(table) == where + 1) hash_cut(space, record, table, (uint32_t)where);
        break;
    case STORE_INTENT_ROOT:
        if (table.is.root != page || tree.tier == 0) break; /* it was not published: it is the dead one's */
        row_disown(space, page);
        hash_give_up_root(space, record, (store_link_t)where);
        return;
    case STORE_INTENT_PAGE:
        place = tree_slot(space, &tree, where & ((UINT64_C(1) << HASH_LEVEL_BIT) - 1), (uint32_t)(where >> HASH_LEVEL_BIT) & 3u);
        if (place != NULL && *place == page) row_disown(space, page);
        break;
    default: break;
    }
    change_intended(record);
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

/* The table of an array is what is reserved of it (queue.c): the length is another thing, and
 * it stays one chain. */
static inline bool hash_counts(const store_var_t *var)
{
    return var->id.type == STORE_HASH;
}

static void hash_end_cell(store_var_t *var, store_link_t link, store_cell_t *cell)
{
    store_state_t *draft = change_draft(var);
    change_end(var, link, cell);
    if (hash_counts(var) && draft->length > 0) STORE_STORE(draft->length, draft->length - 1);
}

static void hash_end_link(store_var_t *var, store_link_t link)
{
    hash_end_cell(var, link, cell_at(var->space, link));
}

static void hash_make_room(store_var_t *var, bool is_timed);
static void hash_expect(store_record_t *record, uint64_t expires_ns);

/* The version that is there ends; the new cell, which is not on any list yet, is linked in front
 * of it, at `place`. In this order the new one comes before it on the list: see
 * change_settle_cell(). */
static void hash_insert_at(store_var_t *var, store_link_t link, store_link_t *place, store_link_t old)
{
    store_cell_t  *cell     = cell_at(var->space, link);
    store_state_t *draft    = change_draft(var);
    bool           is_timed = (cell->flags & STORE_CELL_EXPIRES) != 0;

    if (old != 0) hash_end_link(var, old);
    STORE_STORE(cell->next, *place);
    change_add(var, link, cell);
    hash_link(place, link);
    if (hash_counts(var)) STORE_STORE(draft->length, draft->length + 1);
    if (is_timed) hash_expect(var->record, cell_expires(var->space, link, cell));
    if (!hash_counts(var)) return;
    hash_make_room(var, is_timed);
    hash_grow(var->space, var->record, draft->length);
}

static int hash_insert(store_var_t *var, store_link_t link, const store_key_t *key)
{
    store_link_t old, *place = hash_place(var, key, &old);
    if (place == NULL || cell_at(var->space, link) == NULL) return STORE_E_DAMAGED;
    hash_insert_at(var, link, place, old);
    return STORE_OK;
}

/* When vanishes what is stored without a word about that? 0: never. */
static inline uint64_t hash_default_expiry(const store_var_t *var)
{
    uint64_t after = STORE_LOAD(var->record->expire_ns);
    return after != 0 ? store_expires(after) : 0;
}

int store_hash_put(store_var_t *var, const store_key_t *key, const store_value_t *value, uint64_t expires_ns)
{
    store_doomed_t doomed = 0;
    store_link_t   link;
    bool           own;
    int            code;

    if (expires_ns == 0) expires_ns = hash_default_expiry(var);
    if (expires_ns == STORE_NEVER) expires_ns = 0;
    if ((link = change_make(var, key, value, expires_ns, &code)) == 0) return code;
    if ((code = change_enter(var, &own)) == STORE_OK) {
        code = hash_insert(var, link, key);
        if (code != STORE_OK) change_discard(var->space, link, &doomed);
        change_leave(var, own, code);
    }
    else
        change_discard(var->space, link, &doomed);
    ref_destroy(var->space, &doomed);
    return code;
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
        if (cell->kind != STORE_INT && cell->kind != STORE_UNDEF) return STORE_E_ARGUMENT;
        if ((code = cell_value(var->space, old, cell, &value, NULL)) != STORE_OK) return code;
        if (value.kind == STORE_INT && __builtin_add_overflow(value.number.i, delta, sum)) return STORE_E_ARGUMENT;
        expires_ns = cell_expires(var->space, old, cell);
    }
    else
        expires_ns = hash_default_expiry(var);
    value = store_int(*sum);
    if ((link = change_make(var, key, &value, expires_ns, &code)) == 0) return code;
    hash_insert_at(var, link, place, old);
    return STORE_OK;
}

int store_hash_add(store_var_t *var, const store_key_t *key, int64_t delta, int64_t *sum)
{
    bool own;
    int  code = change_enter(var, &own);
    return code == STORE_OK ? change_leave_as(var, own, hash_add(var, key, delta, sum)) : code;
}

int store_hash_delete(store_var_t *var, const store_key_t *key)
{
    store_link_t  old;
    store_cell_t *cell;
    uint64_t      now = 0;
    bool          own, fresh;
    int           code = change_enter(var, &own);
    if (code != STORE_OK) return code;
    if (hash_place(var, key, &old) == NULL) return change_leave(var, own, STORE_E_DAMAGED);
    cell  = cell_at(var->space, old);
    fresh = cell != NULL && hash_is_fresh(var->space, old, cell, &now);
    if (cell != NULL) hash_end_cell(var, old, cell);
    change_leave(var, own, STORE_OK);
    return fresh ? STORE_OK : STORE_ABSENT;
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
    for (; *place != 0; place = &cell_at(var->space, *place)->next) {
        store_cell_t *cell = cell_at(var->space, *place);
        if (cell == NULL || walk_goes_round(&walk, *place)) return false;
        if (cell_exists(cell, serial)) hash_end_cell(var, *place, cell);
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
    int  code = change_enter(var, &own);
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
            code  = cell_key(var->space, link, cell_at(var->space, link), next, buffer);
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

/* --- expiry and limits --------------------------------------------------------------------------- */

int store_hash_expiry(store_var_t *var, const store_key_t *key, uint64_t *expires_ns)
{
    store_sight_t sight;
    uint64_t      now = 0;
    bool          torn;
    int           code, tries;
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

bool store_hash_is_timed(const store_var_t *var)
{
    return STORE_LOAD(var->record->soonest) != 0;
}

/* WHEN THE HAND GOES ROUND. Stores look for what has expired only when something may have:
 * `soonest` is no later than the first that will. Both words are the lock holder's, and only
 * ever too early: what is stored lowers both before it is published, what the hand passes lowers
 * `coming`, and where the hand begins anew, `soonest` is what was coming, and then nothing is
 * coming. Who dies between any two of these leaves one that is too early: a round in vain. */
#define HASH_NOTHING_COMES UINT32_MAX
#define HASH_WHEN_BITS     28u /* a quarter of a second, so 32 bits are 36 years */

static inline uint32_t hash_when(uint64_t ns)
{
    uint64_t when = ns >> HASH_WHEN_BITS;
    return when == 0 ? 1 : when < HASH_NOTHING_COMES ? (uint32_t)when : HASH_NOTHING_COMES - 1;
}

static void hash_expect(store_record_t *record, uint64_t expires_ns)
{
    uint32_t when = hash_when(expires_ns);
    if (record->soonest == 0) STORE_STORE(record->coming, HASH_NOTHING_COMES); /* and no round is under way */
    if (when < record->coming) STORE_STORE(record->coming, when);
    if (record->soonest == 0 || when < record->soonest) STORE_STORE(record->soonest, when);
}

static uint32_t hash_next_bucket(store_record_t *record, uint32_t buckets)
{
    if (record->hand + 1 < buckets) {
        STORE_STORE(record->hand, record->hand + 1);
        return record->hand;
    }
    if (record->soonest != 0) STORE_STORE(record->soonest, record->coming);
    STORE_STORE(record->coming, HASH_NOTHING_COMES);
    STORE_STORE(record->hand, 0);
    return 0;
}

/* What the hand of expiry and limit does to an element, in the open change. A limit: what was
 * used since the hand came by is spared once. Returns whether it ends. */
static bool hash_tend_cell(store_var_t *var, store_link_t link, store_cell_t *cell, uint64_t limit, uint64_t now)
{
    uint64_t expires = cell_expires(var->space, link, cell);
    bool     over    = limit != 0 && change_draft(var)->length > limit;
    if (cell_exists(cell, change_serial(var)) && cell->from != change_serial(var)) {
        if ((expires != 0 && expires <= now) || (over && cell->used == 0)) {
            hash_end_cell(var, link, cell);
            return true;
        }
        if (over) STORE_STORE(cell->used, 0);
    }
    if (expires != 0) hash_expect(var->record, expires);
    return false;
}

/* A whole chain; returns how many end. */
static uint64_t hash_tend(store_var_t *var, store_link_t *place, uint64_t limit, uint64_t now)
{
    uint64_t     ended = 0;
    store_walk_t walk  = { 0, 0 };
    while (*place != 0 && !walk_goes_round(&walk, *place)) {
        store_cell_t *cell = cell_at(var->space, *place);
        if (cell == NULL) break;
        if (hash_tend_cell(var, *place, cell, limit, now)) ended++;
        place = &cell->next;
    }
    return ended;
}

/* How many buckets a store looks at: two elements or so. */
#define HASH_TENDED 4u

/* Some of what has expired goes, by the way of a store; and what is beyond the limit. Who stores
 * what vanishes has most likely just looked at the clock, to say when: now and then this does. */
static void hash_make_room(store_var_t *var, bool is_timed)
{
    store_record_t *record  = var->record;
    uint32_t        buckets = hash_buckets(hash_table(record)), looks;
    store_link_t   *heads;
    uint64_t        now = 0, limit = record->limit;
    bool            over = limit != 0 && change_draft(var)->length > limit;
    if (POOL_LIKELY(record->soonest == 0 && !over)) return;
    now = is_timed && record->serial % 16 != 0 ? store_clock_seen() : store_clock_tick();
    if (POOL_LIKELY(hash_when(now) < record->soonest && !over)) return;
    for (looks = 0; looks < (over ? 2 * buckets + 2 : HASH_TENDED); looks++) {
        uint32_t bucket = hash_next_bucket(record, buckets), count;
        count           = hash_heads(var->space, record, hash_table(record), bucket, &heads);
        if (heads != NULL)
            hash_tend(var, heads, limit, now);
        else {
            looks += count - 1;
            STORE_STORE(record->hand, bucket + count - 1);
        }
        if (over && change_draft(var)->length <= limit) break;
    }
}

/* How many elements a sweep ends in one change: so many are still in the processor's cache when
 * they are freed. */
#define HASH_SWEPT 128u

/* From a bucket on; returns where to go on, or the number of buckets. */
static uint32_t hash_sweep_some(store_var_t *var, uint32_t bucket, uint64_t *freed)
{
    store_table_t  table   = hash_table(var->record);
    uint32_t       buckets = hash_buckets(table);
    uint64_t       now = store_clock_tick(), ended = 0;
    const uint32_t ahead = 8;
    while (bucket < buckets && ended < HASH_SWEPT) {
        store_link_t *heads;
        uint32_t      count = hash_heads(var->space, var->record, table, bucket, &heads), i;
        for (i = 0; heads != NULL && i < count && ended < HASH_SWEPT; i++) {
            if (i + ahead < count) __builtin_prefetch(cell_at(var->space, heads[i + ahead]));
            ended += hash_tend(var, &heads[i], 0, now);
        }
        bucket += heads != NULL ? i : count;
    }
    *freed += ended;
    return bucket;
}

/* What has expired is not there: to free it is no change that anybody sees, so it may be many. */
int store_hash_sweep(store_var_t *var, uint64_t *freed)
{
    uint32_t bucket = 0;
    bool     own;
    int      code = STORE_OK;
    *freed        = 0;
    do {
        if ((code = change_enter(var, &own)) != STORE_OK) return code;
        bucket = hash_sweep_some(var, bucket, freed);
        code   = change_leave(var, own, STORE_OK);
    } while (code == STORE_OK && bucket < hash_buckets(hash_table(var->record)));
    return code;
}

int store_hash_expire_after(store_var_t *var, uint64_t ns)
{
    bool own;
    int  code = change_enter(var, &own);
    if (code != STORE_OK) return code;
    STORE_STORE(var->record->expire_ns, ns);
    return change_leave(var, own, STORE_OK);
}

int store_hash_limit(store_var_t *var, uint64_t elements)
{
    bool own;
    int  code = change_enter(var, &own);
    if (code != STORE_OK) return code;
    STORE_STORE(var->record->limit, elements < UINT32_MAX ? (uint32_t)elements : 0u); /* never so many are stored */
    hash_make_room(var, false);
    return change_leave(var, own, STORE_OK);
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
        for (i = 0; heads != NULL && i < count; i++)
            while (heads[i] != 0) cell_destroy(space, record, &heads[i], doomed);
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
