/*
 * proof.h - what must hold of a pool at rest, for the tests that kill processes.
 *
 * "At rest" is: the dead have been recovered and nobody works on the pool. The
 * caller says which owner each slot must have; everything else follows.
 */
#ifndef PROOF_H
#define PROOF_H

#include <stdarg.h>
#include <stdio.h>

static uint64_t proof_failures; /* of the check that runs */
static uint64_t proof_printed;  /* lines of the operation or pool */
static char     proof_where[160];

/* Report a broken promise; the first few of a place are printed. */
static void __attribute__((format(printf, 1, 2))) proof_fail(const char *format, ...)
{
    va_list arguments;
    if (proof_failures++ >= 4 || proof_printed++ >= 12) return;
    printf("# %s: ", proof_where);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

/* Every number is 64 bits wide here, and printed so. */
#define PROOF_SAME(got, wanted, what)                                                                          \
    do {                                                                                                       \
        unsigned long long proof_got = (unsigned long long)(got), proof_wanted = (unsigned long long)(wanted); \
        if (proof_got != proof_wanted) proof_fail("%s is %llu, not %llu", what, proof_got, proof_wanted);      \
    } while (0)

/* The bytes that a test keeps in a slot that it holds. */
static uint8_t proof_byte(uint64_t slot, uint64_t salt, uint64_t at)
{
    return (uint8_t)(slot * 31 + salt * 7 + at * 13 + 1);
}

static void proof_stamp(const pool_t *pool, uint64_t slot, uint64_t salt)
{
    uint8_t *data = (uint8_t *)pool_ptr(pool, slot);
    uint64_t at;
    for (at = 0; at < pool->elem_size; at++) data[at] = proof_byte(slot, salt, at);
}

static bool proof_stamped(const pool_t *pool, uint64_t slot, uint64_t salt)
{
    const uint8_t *data = (const uint8_t *)pool_ptr(pool, slot);
    uint64_t       at;
    for (at = 0; at < pool->elem_size; at++)
        if (data[at] != proof_byte(slot, salt, at)) return false;
    return true;
}

static bool proof_zeros(const pool_t *pool, uint64_t slot)
{
    const uint8_t *data = (const uint8_t *)pool_ptr(pool, slot);
    uint64_t       at;
    for (at = 0; at < pool->elem_size; at++)
        if (data[at] != 0) return false;
    return true;
}

/* Every slot has the owner that it must have (0: free), and the counts agree. */
static void proof_owners(pool_t *pool, const uint64_t *owners)
{
    pool_counts_t counts;
    uint64_t      slot, used = 0, allocs = 0;

    for (slot = 0; slot < pool->capacity; slot++) {
        uint64_t owner = pool_owner_word(pool, slot);
        if (owner != owners[slot])
            proof_fail("slot %llu %s: its owner word is %016llx, not %016llx", (unsigned long long)slot,
                       owners[slot] == 0 ? "leaked" : "was lost", (unsigned long long)owner, (unsigned long long)owners[slot]);
        used += owners[slot] != 0;
        allocs += pool_generation(pool, slot);
    }
    pool_stats(pool, &counts);
    PROOF_SAME(counts.used, used, "used");
    PROOF_SAME(counts.allocs, allocs, "allocs");
    PROOF_SAME(counts.frees, allocs - used, "frees");
}

/* A "full" bit must not hide a free slot, nor an upper bit a word with an open one. */
static void proof_index(const pool_t *pool)
{
    uint32_t level;
    uint64_t at;
    for (level = 0; level < pool->levels; level++)
        for (at = 0; at < pool->level_bits[level]; at++) {
            bool full = (pool->full[level][at / 64] >> at % 64 & 1) != 0;
            bool open = level == 0 ? pool_i_has_free(pool, at) : pool->full[level - 1][at] != UINT64_MAX;
            if (full && open) proof_fail("bit %llu of level %u hides a free slot", (unsigned long long)at, (unsigned)level);
        }
}

/* Nobody waits, and nobody is thought to. */
static void proof_no_waiters(pool_t *pool)
{
    pool_counts_t counts;
    pool_stats(pool, &counts);
    PROOF_SAME(counts.waiters, 0, "the number of waiters");
    PROOF_SAME(pool->header->waiting & POOL_I_WAITING, 0, "the flag that somebody waits");
}

/* Allocate all there is, each slot once and cleared, and free it again. `taken`
 * is room for one number a slot. */
static void proof_capacity(pool_t *pool, const uint64_t *owners, uint64_t *taken)
{
    uint64_t slot, n = 0, live = 0;

    for (slot = 0; slot < pool->capacity; slot++) live += owners[slot] != 0;
    while ((slot = pool_try_alloc(pool)) < POOL_NOSPC && n < pool->capacity) {
        if (slot >= pool->capacity || owners[slot] != 0) {
            proof_fail("slot %llu was allocated, but is not free", (unsigned long long)slot);
            continue;
        }
        if (!proof_zeros(pool, slot)) proof_fail("slot %llu was not cleared", (unsigned long long)slot);
        taken[n++] = slot;
    }
    PROOF_SAME(n, pool->capacity - live, "the number of slots that can be allocated");
    PROOF_SAME(pool_used(pool), pool->capacity, "used, of a full pool");
    while (n-- > 0)
        if (!pool_free(pool, taken[n])) proof_fail("slot %llu could not be freed", (unsigned long long)taken[n]);
    PROOF_SAME(pool_used(pool), live, "used, after that");
}

#endif
