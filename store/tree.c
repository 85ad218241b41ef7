/* tree.c - rows of links in pages: see tree.h. */
#include "tree.h"

uint32_t tree_tier_for(uint64_t links)
{
    uint32_t tier = 0;
    while (tier < TREE_TIERS && tree_capacity(tier) < links) tier++;
    return tier;
}

/* A link read from a page that was freed and used again could lead to memory that was never reserved. A
 * store there is harmless, but if the filesystem is full, even reading it kills the process. The fence
 * makes sure that the link is read before the word; pairs with change_retire(). */
store_link_t *tree_find(store_t *space, const store_tree_t *tree, uint64_t index, const tree_guard_t *guard)
{
    uint32_t      depth = tree_depth(tree->tier), bytes = tree_page_bytes(tree->tier);
    store_link_t *page = tree_capacity(tree->tier) != 0 ? tree_page(space, tree->root, bytes) : NULL;
    for (; page != NULL && depth > 0; depth--) {
        store_link_t below = __atomic_load_n(&page[index >> depth * TREE_BITS & (TREE_FAN - 1)], __ATOMIC_ACQUIRE);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (guard != NULL && !tree_is_as_before(guard)) return NULL;
        page = tree_page(space, below, bytes);
    }
    return page != NULL ? &page[index & (bytes / sizeof(store_link_t) - 1)] : NULL;
}

#ifdef STORE_ASSERT
bool space_seems_full;
#endif

store_link_t tree_new(store_t *space, uint32_t tier, store_error_t *err)
{
#ifdef STORE_ASSERT
    if (space_seems_full) {
        space_fail(err, STORE_E_NOSPC, 0, space->path, "seems full");
        return 0;
    }
#endif
    return row_alloc(space, row_for(space, tree_page_bytes(tier)), err);
}

/* Release: the page contains zeros before a link leads to it. */
store_link_t *tree_make(store_t *space, const store_tree_t *tree, uint64_t index, store_error_t *err)
{
    uint32_t      depth = tree_depth(tree->tier), bytes = tree_page_bytes(tree->tier);
    store_link_t *page = tree_page(space, tree->root, bytes);
    for (; page != NULL && depth > 0; depth--) {
        store_link_t *at = &page[index >> depth * TREE_BITS & (TREE_FAN - 1)];
        if (*at == 0) {
            store_link_t made = tree_new(space, tree->tier, err);
            if (made == 0) return NULL;
            __atomic_store_n(at, made, __ATOMIC_RELEASE); /* pairs with tree_slot() */
        }
        page = tree_page(space, *at, bytes);
    }
    if (page == NULL) {
        space_fail(err, STORE_E_DAMAGED, 0, space->path, "is damaged: a page is missing");
        return NULL;
    }
    return &page[index & (bytes / sizeof(store_link_t) - 1)];
}

static void tree_each_below(store_t *space, store_link_t page, uint32_t bytes, uint32_t depth, bool (*act)(store_t *, store_link_t))
{
    store_link_t *links = tree_page(space, page, bytes);
    uint32_t      i;
    if (links == NULL) return;
    for (i = 0; depth > 0 && i < TREE_FAN; i++)
        if (links[i] != 0) tree_each_below(space, links[i], bytes, depth - 1, act);
    act(space, page);
}

void tree_each_page(store_t *space, const store_tree_t *tree, bool (*act)(store_t *, store_link_t))
{
    if (tree->tier > 0 && tree->tier < TREE_TIERS)
        tree_each_below(space, tree->root, tree_page_bytes(tree->tier), tree_depth(tree->tier), act);
}

/* The fence: as in tree_find(). */
static uint64_t tree_count_below(store_t *space, store_link_t page, uint32_t bytes, uint32_t depth, const tree_guard_t *guard)
{
    const store_link_t *links = tree_page(space, page, bytes);
    uint64_t            count = links != NULL ? 1 : 0;
    uint32_t            i;
    for (i = 0; links != NULL && depth > 0 && i < TREE_FAN; i++) {
        store_link_t below = STORE_LOAD(links[i]);
        if (below == 0) continue;
        __atomic_thread_fence(__ATOMIC_ACQUIRE); /* pairs with change_retire() */
        if (guard != NULL && !tree_is_as_before(guard)) break;
        count += tree_count_below(space, below, bytes, depth - 1, guard);
    }
    return count;
}

uint64_t tree_count_pages(store_t *space, const store_tree_t *tree, const tree_guard_t *guard)
{
    return tree->tier > 0 && tree->tier < TREE_TIERS
               ? tree_count_below(space, tree->root, tree_page_bytes(tree->tier), tree_depth(tree->tier), guard)
               : 0;
}
