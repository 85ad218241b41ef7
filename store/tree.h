/*
 * tree.h - rows of links in pages: the directory of a hash, the elements of an array.
 * Internal to store/.
 *
 * A tier says how many links there is room for. Small trees are a single page; larger ones are pages
 * of 1,024 links below one or two levels of pages. Pages are slots of the rows of cells. A page
 * may be freed while a reader goes through it: as with cells, `retired` tells.
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#ifndef STORE_TREE_H
#define STORE_TREE_H

#include "cell.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TREE_TIERS 7u /* 0: none; 16, 64, 256, 1024, 2^20, 2^30 links */

typedef struct store_tree {
    store_link_t root;
    uint32_t     tier;
} store_tree_t;

static inline uint64_t tree_capacity(uint32_t tier)
{
    static const uint32_t bits[TREE_TIERS] = { 0, 4, 6, 8, 10, 20, 30 };
    return tier == 0 || tier >= TREE_TIERS ? 0 : UINT64_C(1) << bits[tier];
}

/* The smallest tier with room for this many links; TREE_TIERS: none has. */
uint32_t tree_tier_for(uint64_t links);

#define TREE_BITS 10u /* of a page below others */
#define TREE_FAN  (1u << TREE_BITS)

/* Levels of pages above the page of a link. */
static inline uint32_t tree_depth(uint32_t tier)
{
    return tier < 5 ? 0 : tier == 5 ? 1 : 2;
}

static inline uint32_t tree_page_bytes(uint32_t tier)
{
    return (uint32_t)sizeof(store_link_t) * (uint32_t)(tier >= 4 ? TREE_FAN : tree_capacity(tier));
}

/* A page that links may lie in, or NULL. */
static inline store_link_t *tree_page(store_t *space, store_link_t page, uint32_t bytes)
{
    if (page == 0 || row_of(page) < STORE_ROW_CELLS || row_size(space, page) < bytes) return NULL;
    return (store_link_t *)row_ptr(space, page);
}

/* The place, in the page of that level, of the link on the way to `index` (< capacity); level 0: the place of the
 * link itself. NULL: there is no such page (or it is damaged). */
static inline store_link_t *tree_slot(store_t *space, const store_tree_t *tree, uint64_t index, uint32_t level)
{
    uint32_t      depth = tree_depth(tree->tier), bytes = tree_page_bytes(tree->tier);
    store_link_t *page = tree_page(space, tree->root, bytes);
    for (; page != NULL && depth > level; depth--)
        page = tree_page(space, __atomic_load_n(&page[index >> depth * TREE_BITS & (TREE_FAN - 1)], __ATOMIC_ACQUIRE),
                         bytes); /* pairs with tree_make() */
    return page != NULL ? &page[index >> level * TREE_BITS & (bytes / sizeof(store_link_t) - 1)] : NULL;
}

static inline store_link_t *tree_at(store_t *space, const store_tree_t *tree, uint64_t index)
{
    return tree_slot(space, tree, index, 0);
}

/* The same for a reader, while pages may be freed: what a page says is believed only if
 * the two words in `guard` still have these values (guard NULL: always). NULL: look again. */
typedef struct tree_guard {
    const uint64_t *retired;
    const uint32_t *generation;
    uint64_t        its_retired;
    uint32_t        its_generation;
} tree_guard_t;

static inline bool tree_is_as_before(const tree_guard_t *guard)
{
    return STORE_LOAD(*guard->retired) == guard->its_retired && STORE_LOAD(*guard->generation) == guard->its_generation;
}

store_link_t *tree_find(store_t *space, const store_tree_t *tree, uint64_t index, const tree_guard_t *guard);

static inline store_link_t tree_get(store_t *space, const store_tree_t *tree, uint64_t index)
{
    store_link_t *at = tree_at(space, tree, index);
    return at != NULL ? __atomic_load_n(at, __ATOMIC_ACQUIRE) : 0; /* pairs with the release of who links */
}

/* Make a root page for a tier, owned by this process; 0 with *err. */
store_link_t tree_new(store_t *space, uint32_t tier, store_error_t *err);

/* The place of a link. Missing pages are made, and are owned by this process.
 * NULL with *err. For trees that no other process sees. */
store_link_t *tree_make(store_t *space, const store_tree_t *tree, uint64_t index, store_error_t *err);

/* Call `act` for each page, lower levels before higher ones. The links stay. */
void tree_each_page(store_t *space, const store_tree_t *tree, bool (*act)(store_t *, store_link_t));

/* `guard`: for a reader, or NULL. */
uint64_t tree_count_pages(store_t *space, const store_tree_t *tree, const tree_guard_t *guard);

#ifdef __cplusplus
}
#endif
#endif /* STORE_TREE_H */
