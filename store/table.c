/* table.c - buckets: see table.h. */
#include "table.h"

#define HASH_ONE_CHAIN 8u /* elements; with more it gets buckets */

const store_link_t *hash_glance_at_head(const store_var_t *var, const store_sight_t *sight, store_table_t table, uint32_t bucket)
{
    store_tree_t tree  = { table.is.root, hash_tier(table) };
    tree_guard_t guard = look_guard(var, sight);
    return bucket < tree_capacity(tree.tier) ? tree_find(var->space, &tree, bucket, &guard) : NULL;
}

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
void hash_grow(store_t *space, store_record_t *record, uint64_t elements)
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
