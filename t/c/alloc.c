/* Allocate, free, and the index that finds the free slot of a full pool. */
#include "test.h"

/* Takes every slot once and gives all back; true if each was new and clean. */
static bool fill(pool_t *pool, uint8_t *seen)
{
    uint64_t i, slot;
    memset(seen, 0, pool->capacity);
    for (i = 0; i < pool->capacity; i++) {
        slot = pool_try_alloc(pool);
        if (slot >= pool->capacity || seen[slot]++ != 0) return false;
        if (pool_i64_get(pool, slot) != 0) return false;
        pool_i64_set(pool, slot, -1);
    }
    return true;
}

static void every_size(uint64_t capacity)
{
    pool_t       *pool = anonymous(POOL_I64, capacity, 8);
    uint8_t      *seen = malloc(capacity);
    pool_counts_t all;
    uint64_t      slot, freed = 0, wrong = 0;

    ok(fill(pool, seen), "%llu slots: each is had once and reads as zero", (unsigned long long)capacity);
    ok(pool_try_alloc(pool) == POOL_NONE, "… then there is none");
    ok(pool_used(pool) == capacity, "… all are used");
    for (slot = 0; slot < capacity; slot++) freed += pool_free(pool, slot);
    for (slot = 0; slot < capacity; slot++) wrong += pool_free(pool, slot) || pool_is_allocated(pool, slot);
    ok(freed == capacity && wrong == 0, "… each can be freed, once");
    ok(pool_used(pool) == 0 && pool_next_allocated(pool, 0) == POOL_NONE, "… none is used");
    ok(fill(pool, seen), "… and all can be had again, clean");
    all = counts(pool);
    ok(all.allocs == 2 * capacity && all.frees == capacity && all.used == capacity, "… as the statistics say");
    ok(pool_reset(pool) == capacity && pool_used(pool) == 0, "… reset frees all");
    ok(fill(pool, seen), "… so that they can be had");
    free(seen);
    pool_close(pool);
}

/* Does the pool hold exactly the slots that `held` says? */
static bool agrees(const pool_t *pool, const uint8_t *held)
{
    uint64_t slot, next = pool_next_allocated(pool, 0), used = 0;
    for (slot = 0; slot < pool->capacity; slot++) {
        if (pool_is_allocated(pool, slot) != held[slot]) return false;
        if (!held[slot]) continue;
        if (next != slot) return false;
        next = pool_next_allocated(pool, slot + 1);
        used++;
    }
    return next == POOL_NONE && used == pool_used(pool);
}

/* Random allocations and frees through two handles, beside a plain array. */
static void against_an_array(uint64_t capacity, int steps)
{
    pool_t  *pool[2] = { in_memfd(POOL_I64, capacity, 8), NULL };
    uint8_t *held    = calloc(capacity, 1);
    uint64_t random = 88172645463325252u, used = 0;
    int      step, wrong = 0, disagreed = 0;

    pool[1] = second(pool[0]);
    for (step = 0; step < steps; step++) {
        pool_t  *one  = pool[next_random(&random) % 2];
        bool     grow = next_random(&random) % 100 < (step / 5000 % 2 ? 30u : 70u);
        uint64_t slot = grow ? pool_try_alloc(one) : next_random(&random) % capacity;
        if (grow && slot == POOL_NONE) {
            wrong += used < capacity && counts(one).used != used; /* audits may still find it: only a lie is wrong */
            continue;
        }
        if (grow ? held[slot] != 0 : pool_free(one, slot) != held[slot]) wrong++;
        used += grow ? 1 : (uint64_t)0 - held[slot];
        held[slot] = grow;
        if (step % (steps / 20) == 0 && !agrees(one, held)) disagreed++;
    }
    ok(wrong == 0 && disagreed == 0, "%d random steps on %llu slots: as an array would", steps, (unsigned long long)capacity);
    free(held);
    pool_close(pool[1]);
    pool_close(pool[0]);
}

/* In a full pool the one slot that another handle freed is found, wherever it is. */
static void one_free(uint64_t capacity, int rounds)
{
    pool_t  *pool = in_memfd(POOL_I64, capacity, 8), *other = second(pool);
    uint64_t random = 88172645463325252u, slot;
    int      round, missed = 0, extra = 0;

    while (pool_try_alloc(pool) != POOL_NONE) {}
    ok(pool_used(pool) == capacity, "%llu slots are full", (unsigned long long)capacity);
    for (round = 0; round < rounds; round++) {
        slot = next_random(&random) % capacity;
        if (!pool_free(other, slot)) extra++;
        if (pool_try_alloc(pool) != slot) missed++;
        if (round % 7 == 0 && pool_try_alloc(pool) != POOL_NONE) extra++;
    }
    ok(missed == 0 && extra == 0, "… and each of %d slots freed elsewhere is found at once", rounds);
    pool_close(other);
    pool_close(pool);
}

static void hide(pool_t *pool, uint64_t slot)
{
    uint32_t level;
    uint64_t index = slot / POOL_GROUP;
    for (level = 0; level < pool->levels; level++, index /= 64) pool->full[level][index / 64] |= (uint64_t)1 << index % 64;
}

/* What a process leaves that is killed between freeing a slot and saying so. */
static void hidden_slot(void)
{
    const uint64_t capacity = 100000, victim = 77777;
    pool_t        *pool = anonymous(POOL_I64, capacity, 8);
    uint64_t       slot = POOL_NONE, tries = 0;

    while (pool_try_alloc(pool) != POOL_NONE) {}
    pool_free(pool, victim);
    pool->hint = 5;
    hide(pool, victim);
    while (slot == POOL_NONE && tries++ < capacity) slot = pool_try_alloc(pool);
    ok(slot == victim && tries > 1, "a slot that the index hides is found by auditing");

    pool_free(pool, victim);
    pool->hint = 5;
    hide(pool, victim);
    ok(pool_alloc(pool, POOL_FOREVER, &slot) == POOL_OK && slot == victim, "… by who waits");

    pool_free(pool, victim);
    pool->hint = 5;
    hide(pool, victim);
    pool_recover(pool, NULL, NULL);
    ok(pool_try_alloc(pool) == victim, "… and after a recovery at once");
    pool_close(pool);
}

/* Slots of any size are clean when allocated, and their neighbours untouched. */
static void sizes(void)
{
    static const uint64_t size[] = { 1, 2, 3, 4, 7, 8, 12, 24, 64, 100, 4096, 10007 };
    size_t                i;
    for (i = 0; i < sizeof size / sizeof *size; i++) {
        pool_t  *pool = anonymous(POOL_RAW, 70, size[i]);
        uint64_t slot, byte, dirty = 0;
        while ((slot = pool_try_alloc(pool)) < POOL_NOSPC) memset(pool_ptr(pool, slot), (int)(slot + 1), size[i]);
        for (slot = 0; slot < 70; slot += 2) pool_free(pool, slot);
        while ((slot = pool_try_alloc(pool)) < POOL_NOSPC)
            for (byte = 0; byte < size[i]; byte++) dirty += ((uint8_t *)pool_ptr(pool, slot))[byte] != 0;
        for (slot = 1; slot < 70; slot += 2)
            for (byte = 0; byte < size[i]; byte++) dirty += ((uint8_t *)pool_ptr(pool, slot))[byte] != (uint8_t)(slot + 1);
        ok(dirty == 0, "slots of %llu bytes: clean when allocated, neighbours untouched", (unsigned long long)size[i]);
        pool_close(pool);
    }
}

static void generations(void)
{
    pool_t  *pool = anonymous(POOL_I64, 10, 8);
    uint64_t slot = pool_try_alloc(pool), first = pool_generation(pool, slot);
    bool     stale, fresh;
    pool_free(pool, slot);
    ok(pool_try_alloc(pool) == slot && pool_generation(pool, slot) == first + 1, "each allocation has its own generation");
    stale = pool_free_generation(pool, slot, first);
    ok(!stale && pool_is_allocated(pool, slot), "free_generation leaves a later allocation alone");
    fresh = pool_free_generation(pool, slot, first + 1);
    ok(fresh && !pool_is_allocated(pool, slot), "… and frees its own");
    ok(!pool_free_generation(pool, slot, first + 1), "… once");
    pool_close(pool);
}

int main(void)
{
    static const uint64_t capacity[] = { 1, 2, 63, 64, 65, 255, 256, 257, 1000, 4096, 100000 };
    size_t                i;
    test_begin();
    for (i = 0; i < sizeof capacity / sizeof *capacity; i++) every_size(capacity[i]);
    against_an_array(3, ROUNDS(20000));
    against_an_array(200, ROUNDS(40000));
    against_an_array(5000, ROUNDS(100000));
    one_free(64, ROUNDS(2000));
    one_free(1000, ROUNDS(5000));
    one_free(100000, ROUNDS(20000));
    one_free(16 * 64 * 64 + 1, ROUNDS(20000)); /* one more than two levels of the index cover */
    hidden_slot();
    sizes();
    generations();
    return test_done();
}
