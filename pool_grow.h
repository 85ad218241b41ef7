/*
 * pool_grow.h - a pool without a fixed capacity: a row of pools, each twice as
 * large as the one before, created as they are needed.
 *
 * Slots have one number across all parts: part k begins at slot
 * POOL_GROW_FIRST * (2^k - 1). Parts are sparse files PATH.0, PATH.1, …; none is
 * ever removed while the row is in use, so a slot's address is good for as long
 * as the row is open.
 *
 *     pool_grow_t  row;
 *     pool_error_t err;
 *     pool_grow_init(&row, "/dev/shm/app/jobs", 256, 0600);
 *     uint64_t slot = pool_grow_alloc(&row, &err);
 *     if (slot != POOL_NONE) memcpy(pool_grow_ptr(&row, slot), job, 256);
 *     pool_grow_close(&row);
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef POOL_GROW_H
#define POOL_GROW_H

#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

#define POOL_GROW_FIRST UINT64_C(64)
#define POOL_GROW_PARTS 26u
#define POOL_GROW_PATH  4096

typedef struct pool_grow {
    char        path[POOL_GROW_PATH];
    pool_spec_t spec;
    pool_t     *part[POOL_GROW_PARTS]; /* opened when first needed */
    uint32_t    hint;                  /* the first part that may have a free slot: small parts are filled first */
} pool_grow_t;

static inline uint32_t pool_grow_part_of(uint64_t slot)
{
    return 63u - (uint32_t)__builtin_clzll(slot / POOL_GROW_FIRST + 1);
}

static inline uint64_t pool_grow_base(uint32_t part)
{
    return POOL_GROW_FIRST * (((uint64_t)1 << part) - 1);
}

static inline void pool_grow_init(pool_grow_t *row, const char *path, uint64_t elem_size, uint32_t mode)
{
    memset(row, 0, sizeof *row);
    snprintf(row->path, sizeof row->path, "%s", path);
    row->spec.variant   = POOL_RAW;
    row->spec.elem_size = elem_size;
    row->spec.flags     = POOL_SPARSE | POOL_MODE;
    row->spec.mode      = mode;
}

static inline pool_t *pool_grow_open(pool_grow_t *row, uint32_t k, bool create, pool_error_t *err);

/* Do the row's paths still lead to the files that it has open? If not (removed,
 * created again by others, a chroot), a part that is opened now belongs to another row. */
static inline bool pool_grow_is_at_path(pool_grow_t *row, pool_error_t *err)
{
    pool_t *first = pool_grow_open(row, 0, false, err);
    if (first != NULL && pool_is_at_path(first)) return true;
    if (first == NULL && err->code != POOL_FULL) return false;
    err->code      = first == NULL ? POOL_FULL : POOL_E_SYSTEM;
    err->sys_errno = ENOENT;
    snprintf(err->text, sizeof err->text, "the files of %.160s are gone, or others by now", row->path);
    return false;
}

/* Open part k; if it does not exist, create it or return NULL with err->code
 * POOL_FULL. Two threads may open it at once: one handle stays. Acquire and
 * release pair with each other and with pool_grow_have(). We check before and after that the first part is
 * still where it was: then what was opened in between belongs to it. */
static inline pool_t *pool_grow_open(pool_grow_t *row, uint32_t k, bool create, pool_error_t *err)
{
    char        path[POOL_GROW_PATH + 16];
    pool_spec_t spec = row->spec;
    pool_t     *pool, *none = NULL;
    int         saved = errno; /* the caller's: it did not ask for a system call */

    err->code = POOL_FULL;
    if (k >= POOL_GROW_PARTS) return NULL;
    if ((pool = __atomic_load_n(&row->part[k], __ATOMIC_ACQUIRE)) != NULL) return pool;
    if (k > 0 && !pool_grow_is_at_path(row, err)) {
        errno = saved;
        return NULL;
    }
    snprintf(path, sizeof path, "%s.%u", row->path, (unsigned)k);
    err->code = POOL_FULL;
    if (create || access(path, F_OK) == 0) {
        spec.capacity = POOL_GROW_FIRST << k;
        do pool = pool_open(path, &spec, err);
        while (pool == NULL && err->code == POOL_INTERRUPTED);
        if (pool != NULL && k > 0 && !pool_grow_is_at_path(row, err)) {
            pool_close(pool);
            pool = NULL;
        }
        if (pool != NULL && !__atomic_compare_exchange_n(&row->part[k], &none, pool, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            pool_close(pool);
            pool = none;
        }
    }
    errno = saved;
    return pool;
}

/* Open all existing parts. False with *err filled: one cannot be opened, so
 * its contents would be overlooked. */
static inline bool pool_grow_open_all(pool_grow_t *row, pool_error_t *err)
{
    uint32_t k = 0;
    while (pool_grow_open(row, k, false, err) != NULL) k++;
    return err->code == POOL_FULL;
}

static inline void pool_grow_close(pool_grow_t *row)
{
    uint32_t k;
    for (k = 0; k < POOL_GROW_PARTS; k++) {
        pool_close(row->part[k]);
        row->part[k] = NULL;
    }
}

/* The part that a slot is in, opened; NULL: there is no such slot. */
static inline pool_t *pool_grow_have(pool_grow_t *row, uint64_t slot)
{
    pool_error_t err;
    pool_t      *pool;
    uint32_t     k;
    if (slot >= pool_grow_base(POOL_GROW_PARTS)) return NULL;
    k    = pool_grow_part_of(slot);
    pool = __atomic_load_n(&row->part[k], __ATOMIC_ACQUIRE); /* pairs with pool_grow_open() */
    return POOL_LIKELY(pool != NULL) ? pool : pool_grow_open(row, k, false, &err);
}

static inline uint64_t pool_grow_index(uint64_t slot)
{
    return slot - pool_grow_base(pool_grow_part_of(slot));
}

/* The address of a slot's bytes, or NULL if there is no such slot. */
static inline void *pool_grow_ptr(pool_grow_t *row, uint64_t slot)
{
    pool_t *pool = pool_grow_have(row, slot);
    return pool != NULL ? pool_ptr(pool, pool_grow_index(slot)) : NULL;
}

/* The filesystem is full, but a slot whose blocks are reserved may be free:
 * search from each group on. */
static inline uint64_t pool_grow_alloc_reserved(pool_t *pool)
{
    uint64_t group, slot = POOL_NOSPC;
    for (group = 0; group < pool->groups && slot == POOL_NOSPC; group++) {
        if ((__atomic_load_n(&pool->touched[group / 64], __ATOMIC_RELAXED) >> group % 64 & 1) == 0) continue;
        __atomic_store_n(&pool->hint, group * POOL_GROUP, __ATOMIC_RELAXED);
        slot = pool_try_alloc(pool);
    }
    return slot;
}

/* Allocate a slot: from the first part that may have one, then from all, then from
 * a new part. Returns POOL_NONE with *err filled (POOL_E_NOSPC: the filesystem is
 * full). Blocks while another process is creating the part that is needed. */
static inline uint64_t pool_grow_alloc(pool_grow_t *row, pool_error_t *err)
{
    uint32_t hint = __atomic_load_n(&row->hint, __ATOMIC_RELAXED), k;
    int      round;
    bool     full = false;
    for (round = 0; round < 2; round++)
        for (k = round == 0 ? hint : 0; k < POOL_GROW_PARTS; k++) {
            pool_t  *pool = pool_grow_open(row, k, round == 1 && !full, err);
            uint64_t slot;
            if (pool == NULL && round == 1 && !full) return POOL_NONE;
            if (pool == NULL) break;
            slot = pool_try_alloc(pool);
            if (slot == POOL_NOSPC) slot = pool_grow_alloc_reserved(pool);
            if (slot == POOL_NOSPC) full = true;
            if (slot >= POOL_NOSPC) continue;
            __atomic_store_n(&row->hint, k, __ATOMIC_RELAXED);
            return slot + pool_grow_base(k);
        }
    err->code      = full ? POOL_E_NOSPC : POOL_E_ARGUMENT;
    err->sys_errno = full ? ENOSPC : 0;
    snprintf(err->text, sizeof err->text, full ? "no space left on the filesystem of %.160s" : "%.160s has reached its largest size",
             row->path);
    return POOL_NONE;
}

/* Let the next allocations search from the bottom: what is used stays dense, and
 * a sparse row does not grow while it has free slots below. Slot 0 of a part is
 * in a group that is touched from the start, as a hint must be. */
static inline void pool_grow_rewind(pool_grow_t *row)
{
    uint32_t k;
    for (k = 0; k < POOL_GROW_PARTS; k++) {
        pool_t *pool = __atomic_load_n(&row->part[k], __ATOMIC_ACQUIRE); /* pairs with pool_grow_open() */
        if (pool != NULL) __atomic_store_n(&pool->hint, 0, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&row->hint, 0, __ATOMIC_RELAXED);
}

/* As the functions of pool.h; a slot that does not exist is not allocated. */
static inline bool pool_grow_free(pool_grow_t *row, uint64_t slot)
{
    pool_t  *pool = pool_grow_have(row, slot);
    uint32_t k;
    if (pool == NULL || !pool_free(pool, pool_grow_index(slot))) return false;
    k = pool_grow_part_of(slot);
    if (k < __atomic_load_n(&row->hint, __ATOMIC_RELAXED)) __atomic_store_n(&row->hint, k, __ATOMIC_RELAXED);
    return true;
}

static inline bool pool_grow_adopt(pool_grow_t *row, uint64_t slot)
{
    pool_t *pool = pool_grow_have(row, slot);
    return pool != NULL && pool_adopt(pool, pool_grow_index(slot));
}

static inline bool pool_grow_disown(pool_grow_t *row, uint64_t slot)
{
    pool_t *pool = pool_grow_have(row, slot);
    return pool != NULL && pool_disown(pool, pool_grow_index(slot));
}

static inline bool pool_grow_is_allocated(pool_grow_t *row, uint64_t slot)
{
    pool_t *pool = pool_grow_have(row, slot);
    return pool != NULL && pool_is_allocated(pool, pool_grow_index(slot));
}

static inline uint64_t pool_grow_generation(pool_grow_t *row, uint64_t slot)
{
    pool_t *pool = pool_grow_have(row, slot);
    return pool != NULL ? pool_generation(pool, pool_grow_index(slot)) : 0;
}

/* The first allocated slot at or after `from`, or POOL_NONE. */
static inline uint64_t pool_grow_next(pool_grow_t *row, uint64_t from)
{
    pool_error_t err;
    uint32_t     k;
    for (k = pool_grow_part_of(from); k < POOL_GROW_PARTS; k++) {
        pool_t  *pool = pool_grow_open(row, k, false, &err);
        uint64_t base = pool_grow_base(k), slot;
        if (pool == NULL) break;
        slot = pool_next_allocated(pool, from > base ? from - base : 0);
        if (slot != POOL_NONE) return slot + base;
    }
    return POOL_NONE;
}

/* The number of slots in all parts that exist; *used (may be NULL): of these, allocated. */
static inline uint64_t pool_grow_capacity(pool_grow_t *row, uint64_t *used)
{
    pool_error_t err;
    uint64_t     capacity = 0;
    uint32_t     k;
    if (used != NULL) *used = 0;
    for (k = 0; k < POOL_GROW_PARTS; k++) {
        pool_t *pool = pool_grow_open(row, k, false, &err);
        if (pool == NULL) break;
        capacity += pool->capacity;
        if (used != NULL) *used += pool_used(pool);
    }
    return capacity;
}

#ifdef __cplusplus
}
#endif
#endif /* POOL_GROW_H */
