/*
 * space.h - the file of a namespace: opening it, and the rows of slots in it. See
 * layout.h. Internal to store/.
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#ifndef STORE_SPACE_H
#define STORE_SPACE_H

#include "layout.h"

#ifdef __cplusplus
extern "C" {
#endif

/* This process's view of one row. */
typedef struct store_row_view {
    uint8_t *data[STORE_PARTS]; /* of each part; NULL: not opened yet */
    pool_t  *part[STORE_PARTS];
    uint32_t size; /* bytes per slot */
    uint32_t hint; /* the first part that may have a free slot */
} store_row_view_t;

struct store {
    store_header_t  *header;
    uint8_t         *base;
    uint64_t         size; /* bytes of the mapping */
    uint64_t         seed;
    uint32_t         block_size;
    uint32_t         block_row; /* of the largest cells */
    uint32_t         rows;
    store_row_view_t row[STORE_ROWS];
    pool_t          *home;     /* tells which PID namespaces have live processes */
    pool_t          *identity; /* owner words in records refer to this pool */
    char            *path;
    uint64_t         device, inode; /* of the file */
    uint32_t         users;
    uint32_t         frees;   /* by this process since it last tried to give blocks back */
    uint64_t         trimmed; /* CLOCK_BOOTTIME of that */
    uint64_t         in_vain; /* CLOCK_BOOTTIME of when waiting for a look to end was last in vain */
    uint32_t         unseen;  /* `looking` of looks whose caller has a mark for them: nobody reads it */
    struct store    *next;
};

/* Open the file in the directory, or create it. NULL with *err. */
store_t *space_open(const char *path, const store_options_t *options, store_error_t *err);
void     space_unmap(store_t *space);

/* Remove the file, if it still is the one at the path, and the directory if it is empty. */
void space_unlink(store_t *space);

/* Fill *err; returns false, for `return space_fail(…)`. err may be NULL. */
bool space_fail(store_error_t *err, int code, int sys_errno, const char *path, const char *what);

/* Open a part of a row (create: make it). NULL: there is none, or no room for it. */
pool_t *row_open(store_t *space, uint32_t row, uint32_t part, bool create, store_error_t *err);

#ifdef STORE_ASSERT
extern bool space_seems_full; /* for tests: no page is available */
#endif

/* Allocate a slot, filled with zeros and owned by this process; 0 with *err. Never blocks. */
store_link_t row_alloc(store_t *space, uint32_t row, store_error_t *err);

/* The filesystem is full: give the blocks of free slots back to it. False: none were given back, or there
 * can be none since the last attempt. See trim.c. */
bool space_trim(store_t *space);

/* Looks of this process need a fence, because the kernel does not provide the barrier of trim.c. */
__attribute__((visibility("hidden"))) extern bool space_fences;

/* Register for that barrier: before the first look, and in each child. */
void space_register_looks(void);

/* The row for cells of this many bytes; block_row if no row has room for them. */
uint32_t row_for(const store_t *space, uint64_t bytes);

static inline store_link_t row_link(uint32_t row, uint64_t slot)
{
    return (store_link_t)((slot + 1) << STORE_ROW_BITS) | row;
}
static inline uint32_t row_of(store_link_t link)
{
    return link & (STORE_ROWS - 1);
}
static inline uint32_t row_slot(store_link_t link) /* of link 0: one that does not exist */
{
    return (link >> STORE_ROW_BITS) - 1;
}
static inline uint32_t row_part(uint32_t slot)
{
    return 31u - (uint32_t)__builtin_clz(slot / 64u + 1u);
}
static inline uint32_t row_base(uint32_t part)
{
    return 64u * ((1u << part) - 1u);
}
static inline uint32_t row_size(const store_t *space, store_link_t link)
{
    return space->row[row_of(link)].size;
}

/* The address of a slot, or NULL if the link leads nowhere. Acquire pairs with row_open(). */
static inline void *row_ptr(store_t *space, store_link_t link)
{
    store_row_view_t *row  = &space->row[row_of(link)];
    uint32_t          slot = row_slot(link), part = row_part(slot);
    uint8_t          *data;
    if (POOL_UNLIKELY(part >= STORE_PARTS)) return NULL;
    data = __atomic_load_n(&row->data[part], __ATOMIC_ACQUIRE);
    if (POOL_UNLIKELY(data == NULL)) {
        if (row_open(space, row_of(link), part, false, NULL) == NULL) return NULL;
        data = __atomic_load_n(&row->data[part], __ATOMIC_ACQUIRE);
    }
    return data + (uint64_t)(slot - row_base(part)) * row->size;
}

/* The pool of a link, and the index in it; or NULL. */
static inline pool_t *row_pool(store_t *space, store_link_t link, uint64_t *index)
{
    uint32_t slot = row_slot(link), part = row_part(slot);
    *index = slot - row_base(part);
    if (row_ptr(space, link) == NULL) return NULL;
    return __atomic_load_n(&space->row[row_of(link)].part[part], __ATOMIC_RELAXED); /* row_ptr() has seen `data` */
}

/* As in pool.h; false for a link that leads nowhere. */
bool row_free(store_t *space, store_link_t link);

/* Change the owner of a slot that no other process may claim: disown one that this process owns, or
 * own one that has no owner (or belonged to a dead writer) and to which this process is entitled, because it
 * holds the lock of its variable or destroys that. So a plain store is sufficient. Release: a process that sees the
 * new owner sees the contents of the slot. */
static inline bool row_set_owner(store_t *space, store_link_t link, bool mine)
{
    uint64_t index;
    pool_t  *pool = row_pool(space, link, &index);
    if (pool == NULL) return false;
    __atomic_store_n(&pool->records[index].owner, mine ? pool_i_me(pool) : POOL_I_NOBODY, __ATOMIC_RELEASE); /* pairs with row_owner() */
    return true;
}
/* Have the owner in the processor's cache: it is about to change. */
static inline void row_fetch_owner(store_t *space, store_link_t link)
{
    uint64_t index;
    pool_t  *pool = row_pool(space, link, &index);
    if (pool != NULL) __builtin_prefetch(&pool->records[index].owner, 1);
}
static inline bool row_adopt(store_t *space, store_link_t link)
{
    return row_set_owner(space, link, true);
}
static inline bool row_disown(store_t *space, store_link_t link)
{
    return row_set_owner(space, link, false);
}
uint64_t row_owner(store_t *space, store_link_t link);
bool     row_is_mine(store_t *space, store_link_t link);

/* Neither free nor merely claimed, as it is while its memory is given back. */
bool row_is_allocated(store_t *space, store_link_t link);

/* Take ownership from that owner (0: nobody). If several processes try, one of them succeeds. */
bool     row_take(store_t *space, store_link_t link, uint64_t from);
void     row_give(store_t *space, store_link_t link, uint64_t to); /* if this process owns it */
uint64_t row_generation(store_t *space, store_link_t link);

/* Free it if this process owns it and it is still the same allocation of the slot. */
bool row_free_generation(store_t *space, store_link_t link, uint64_t generation);

/* Call `visit` for each slot of a row that is allocated, in parts that exist. False: there is a part that this process
 * cannot open, because it has no memory, or has mapped the beginning of the file only. */
typedef void row_visit_fn(store_t *space, store_link_t link, void *context);
bool         row_each(store_t *space, uint32_t row, row_visit_fn *visit, void *context);

/* How many slots a row has, in parts that exist. */
uint64_t row_capacity(store_t *space, uint32_t row);

/* Free the slots of dead owners for which `is_listed` is true; `prepare` (may be
 * NULL) is called while this process owns the slot. Returns how many were freed. */
typedef struct row_dead {
    bool (*is_listed)(pool_t *pool, uint64_t owner, void *context);
    void (*prepare)(store_t *space, store_link_t link, void *context);
    void *context;
} row_dead_t;
uint64_t row_free_dead(store_t *space, uint32_t row, const row_dead_t *dead);

/* Free the slots that dead processes had claimed but not yet allocated. Returns how many were freed. */
uint64_t row_free_claimed(store_t *space, uint32_t row);

/* Owner words in records. */
static inline uint64_t space_me(store_t *space)
{
    return pool_i_me(space->identity);
}
static inline bool space_is_dead(store_t *space, uint64_t owner)
{
    return pool_owner_is_dead(space->identity, owner & ~POOL_I_BUSY);
}

/* The same process, whichever pools the two owner words are from? */
static inline bool space_same_process(uint64_t a, uint64_t b)
{
    return ((a ^ b) & ~(POOL_I_TAG_MASK | POOL_I_BUSY)) == 0;
}

#ifdef __cplusplus
}
#endif
#endif /* STORE_SPACE_H */
