/*
 * table.h - the buckets of a hash, and how their number grows. Internal to store/.
 *
 * Linear hashing: one bucket more when there are more than half as many elements as buckets,
 * so growing moves one chain at a time. A chain is sorted by the hash with its bits reversed, then by
 * key: what moves to a new bucket is the end of the old chain. To split: the new bucket
 * leads to where its elements begin, the number of buckets is published, the old chain is
 * cut. A reader that went by the old number and found nothing looks at the number again.
 * The same order makes an iteration stateless: the next key after this one.
 *
 * Versions of one element lie side by side in the chain, the newest first.
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#ifndef STORE_TABLE_H
#define STORE_TABLE_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The order of chains: what is in one bucket now stays together when there are more. */
static inline uint32_t hash_reverse(uint32_t x)
{
    x = __builtin_bswap32(x);
    x = (x >> 4 & 0x0f0f0f0fu) | (x & 0x0f0f0f0fu) << 4;
    x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
    return (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
}

#define HASH_TIER_BIT    28u
#define HASH_MAX_BUCKETS ((1u << HASH_TIER_BIT) - 1)

static inline uint32_t hash_tier(store_table_t table)
{
    return table.is.shape >> HASH_TIER_BIT;
}

/* At least one; without a directory exactly one, whatever the shape says. */
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

/* How many bits of the hash tell the bucket; where a bucket has been split already, it is one more. */
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
 * the page is not there. Returns for how many buckets this is so: at least one. The number of buckets may be
 * damaged, so what counts is how many heads the page has. */
static inline uint32_t hash_heads(store_t *space, store_record_t *record, store_table_t table, uint32_t bucket, store_link_t **heads)
{
    uint64_t capacity = tree_capacity(hash_tier(table));
    uint32_t buckets = hash_buckets(table), end = (bucket | (TREE_FAN - 1)) + 1;
    *heads = hash_head(space, record, table, bucket);
    if (bucket < capacity && capacity < end) end = (uint32_t)capacity;
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

/* As hash_head(), for a glance: while it looks at a hash, that may be destroyed with all its pages. */
const store_link_t *hash_glance_at_head(const store_var_t *var, const store_sight_t *sight, store_table_t table, uint32_t bucket);

static inline const store_link_t *hash_find_head(const store_var_t *var, const store_sight_t *sight, store_table_t table, uint32_t bucket)
{
    return POOL_LIKELY(!var->is_glance) ? hash_head(var->space, var->record, table, bucket)
                                        : hash_glance_at_head(var, sight, table, bucket);
}

/* The first cell of a chain, for readers. Without a directory the chain begins in the word that was read (which by
 * now may lead to a directory). A page of heads is freed when it has become too small, so what it says is a link only
 * if the table is still the same afterwards (false: it is not, look again); the pages of larger directories stay for
 * as long as the variable does. */
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

/* As the writer: make buckets for this many elements. If there is no room for them, the chains get longer. */
void hash_grow(store_t *space, store_record_t *record, uint64_t elements);

/* The table of an array has what is reserved of it (queue.c): a single chain, whose cells do not count to the
 * array's length. */
static inline bool hash_counts(const store_var_t *var)
{
    return var->id.type == STORE_HASH;
}

/* An element ends with the open change. */
static inline void hash_end_cell(store_var_t *var, store_link_t link, store_cell_t *cell)
{
    store_state_t *draft = change_draft(var);
    change_end(var, link, cell);
    if (hash_counts(var) && draft->length > 0) STORE_STORE(draft->length, draft->length - 1);
}

#ifdef __cplusplus
}
#endif
#endif /* STORE_TABLE_H */
