/* Many slots in one call: all or none, and nothing held while waiting. */
#include "test.h"

static void all_or_none(uint64_t capacity)
{
    pool_t   *pool  = anonymous(POOL_I32, capacity, 4);
    uint64_t *slots = calloc(capacity + 1, sizeof *slots), i, distinct = 0;
    uint8_t  *seen = calloc(capacity, 1);

    ok(pool_alloc_n(pool, 0, 0, slots) == POOL_OK && pool_used(pool) == 0, "%llu slots: none is always to be had",
       (unsigned long long)capacity);
    ok(pool_alloc_n(pool, capacity + 1, POOL_FOREVER, slots) == POOL_FULL, "… more than all never");
    ok(pool_alloc_n(pool, capacity, 0, slots) == POOL_OK, "… all in one call");
    for (i = 0; i < capacity; i++) distinct += slots[i] < capacity && seen[slots[i]]++ == 0;
    ok(distinct == capacity && pool_used(pool) == capacity, "… each once");
    ok(pool_alloc_n(pool, 1, 0, slots + capacity) == POOL_FULL, "… then not one more");
    pool_free(pool, slots[capacity / 2]);
    if (capacity > 1) {
        ok(pool_alloc_n(pool, 2, 0, slots) == POOL_FULL, "… of one free slot not two");
        ok(pool_used(pool) == capacity - 1, "… and nothing is kept");
    }
    for (i = 0; i < capacity; i++) slots[i] = i;
    ok(pool_free_n(pool, slots, capacity) == capacity - 1, "free_n counts what was allocated");
    ok(pool_free_n(pool, slots, capacity) == 0 && pool_used(pool) == 0, "… once");
    free(slots);
    free(seen);
    pool_close(pool);
}

/* Batches that leave and fill holes, beside a plain array. */
static void in_holes(void)
{
    enum { CAPACITY = 1000 };
    pool_t  *pool           = anonymous(POOL_I64, CAPACITY, 8);
    uint8_t  held[CAPACITY] = { 0 };
    uint64_t random = 88172645463325252u, slots[CAPACITY], used = 0, n, i, wrong = 0;
    int      round;

    for (round = 0; round < ROUNDS(5000); round++) {
        n = next_random(&random) % 150;
        if (next_random(&random) % 2 == 0) {
            int code = pool_alloc_n(pool, n, 0, slots);
            wrong += code != (used + n <= CAPACITY ? POOL_OK : POOL_FULL);
            for (i = 0; code == POOL_OK && i < n; i++) wrong += held[slots[i]]++ != 0;
            if (code == POOL_OK) used += n;
        }
        else {
            uint64_t freed = 0;
            for (i = 0; i < n; i++) {
                slots[i] = next_random(&random) % CAPACITY;
                freed += held[slots[i]];
                held[slots[i]] = 0;
            }
            wrong += pool_free_n(pool, slots, n) != freed;
            used -= freed;
        }
        wrong += pool_used(pool) != used;
    }
    ok(wrong == 0, "batches into holes and out of them: as an array would");
    pool_close(pool);
}

static int want_many(void *pool)
{
    uint64_t slots[8];
    return pool_alloc_n(pool, 8, POOL_FOREVER, slots) == POOL_OK ? pool_free_n(pool, slots, 8) != 8 : 1;
}

static void holds_nothing_while_waiting(void)
{
    pool_t  *pool = anonymous(POOL_I64, 8, 8);
    uint64_t slots[8], i;
    pid_t    pid;
    bool     held;

    pool_alloc_n(pool, 8, 0, slots);
    pid = child(want_many, pool);
    EVENTUALLY(counts(pool).waiters == 1, held);
    ok(held, "a caller that wants 8 of 8 waits");
    for (i = 0; i < 7; i++) pool_free(pool, slots[i]);
    EVENTUALLY(counts(pool).waiters == 1 && pool_used(pool) == 1, held);
    ok(held, "… for 7 of 8 are not enough, and it holds none of them");
    ok(pool_alloc_n(pool, 7, POOL_FOREVER, slots) == POOL_OK, "… so that another can have them");
    pool_free_n(pool, slots, 7);
    pool_free(pool, pool_next_allocated(pool, 0));
    ok(reap(pid) == 0, "… and it gets all 8 when they are free");
    ok(pool_used(pool) == 0 && counts(pool).waiters == 0, "… and leaves nothing behind");
    pool_close(pool);
}

static int grab_most(void *pool)
{
    uint64_t slots[6];
    int      i;
    for (i = 0; i < ROUNDS(500); i++) {
        if (pool_alloc_n(pool, 6, POOL_FOREVER, slots) != POOL_OK) return 1;
        if (pool_free_n(pool, slots, 6) != 6) return 2;
    }
    return 0;
}

static void no_deadlock(void)
{
    pool_t *pool = anonymous(POOL_I64, 8, 8);
    pid_t   pid[4];
    int     i, failed = 0;
    for (i = 0; i < 4; i++) pid[i] = child(grab_most, pool);
    for (i = 0; i < 4; i++) failed += reap(pid[i]) != 0;
    ok(failed == 0 && pool_used(pool) == 0, "four processes that each want 6 of 8 slots, again and again, all finish");
    pool_close(pool);
}

static void timeout_of_many(void)
{
    pool_t  *pool = anonymous(POOL_I64, 100, 8);
    uint64_t slots[100], one = pool_try_alloc(pool);
    int64_t  before = now_ns();
    ok(pool_alloc_n(pool, 100, 30 * MS, slots) == POOL_TIMEOUT && now_ns() - before >= 30 * MS, "alloc_n waits for its time and no less");
    ok(pool_used(pool) == 1 && pool_is_allocated(pool, one), "… and has taken nothing");
    pool_close(pool);
}

/* Tables that contradict each other: "never used, so free" and "full". */
static void contradiction(void)
{
    pool_t  *pool = anonymous(POOL_I64, 1000, 8);
    uint64_t slots[2];
    while (pool_try_alloc(pool) != POOL_NONE) {}
    memset(pool->touched, 0, (pool->groups + 63) / 64 * 8);
    pool_free(pool, 500);
    ok(pool_alloc_n(pool, 2, 20 * MS, slots) == POOL_TIMEOUT, "scribbled tables cannot make alloc_n wait for longer than was said");
    pool_close(pool);
}

int main(void)
{
    static const uint64_t capacity[] = { 1, 8, 64, 65, 300, 5000, 100000 };
    size_t                i;
    test_begin();
    for (i = 0; i < sizeof capacity / sizeof *capacity; i++) all_or_none(capacity[i]);
    in_holes();
    holds_nothing_while_waiting();
    no_deadlock();
    timeout_of_many();
    contradiction();
    return test_done();
}
