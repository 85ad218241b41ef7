/* No wake-up is lost. Slices would hide a lost one (the sleeper looks again
 * after 0.1 s), so here a slice lasts an hour: a lost wake-up hangs the test. */
#define _GNU_SOURCE
#define POOL_I_SLICE_NS (3600 * 1000 * POOL_I_MS)
#define POOL_IMPLEMENTATION
#include <sched.h>

#include "test.h"

/* Everybody goes on until all together have waited this often. */
#define ENOUGH ((uint64_t)ROUNDS(20000))

static bool enough(const pool_t *pool)
{
    return __atomic_load_n(&pool->header->waits, __ATOMIC_RELAXED) >= ENOUGH;
}

static int one_by_one(void *argument)
{
    pool_t  *pool = argument;
    uint64_t slot;
    while (!enough(pool)) {
        if (pool_alloc(pool, POOL_FOREVER, &slot) != POOL_OK) return 1;
        sched_yield(); /* or the others would seldom meet a full pool */
        if (!pool_free(pool, slot)) return 2;
    }
    return 0;
}

static int by_generation(void *argument)
{
    pool_t  *pool = argument;
    uint64_t slot;
    while (!enough(pool)) {
        if (pool_alloc(pool, POOL_FOREVER, &slot) != POOL_OK) return 1;
        sched_yield();
        if (!pool_free_generation(pool, slot, pool_generation(pool, slot))) return 2;
    }
    return 0;
}

static int by_three(void *argument)
{
    pool_t  *pool = argument;
    uint64_t slots[3];
    while (!enough(pool)) {
        if (pool_alloc_n(pool, 3, POOL_FOREVER, slots) != POOL_OK) return 1;
        sched_yield();
        if (pool_free_n(pool, slots, 3) != 3) return 2;
    }
    return 0;
}

/* Do all of the n children end well, in time? Kills those that do not. */
static bool all_end(pid_t *pid, int n)
{
    int  i, status, ended = 0, failed = 0;
    bool held;
    EVENTUALLY((waitpid(-1, &status, WNOHANG) > 0 ? (ended++, failed += status != 0) : 0, ended == n), held);
    for (i = 0; !held && i < n; i++) kill(pid[i], SIGKILL);
    while (waitpid(-1, NULL, 0) > 0) {}
    return held && failed == 0;
}

static void crowd(uint64_t capacity, int (*const *body)(void *), int n, const char *name)
{
    pool_t *pool = anonymous(POOL_I64, capacity, 8);
    pid_t   pid[8];
    int     i;
    bool    ended;
    for (i = 0; i < n; i++) pid[i] = child(body[i], pool);
    ended = all_end(pid, n);
    ok(ended && pool_used(pool) == 0 && enough(pool), "%s", name);
    pool_close(pool);
}

/* Two processes hand a value to and fro. */
typedef struct rally {
    pool_t *pool;
    int64_t side;
} rally_t;

static int play(void *argument)
{
    const rally_t *rally = argument;
    int64_t        ball;
    for (ball = rally->side; ball < ROUNDS(10000); ball += 2) {
        int64_t now;
        while ((now = pool_i64_get(rally->pool, 0)) != ball)
            if (pool_wait(rally->pool, 0, now, POOL_FOREVER) != POOL_OK) return 1;
        pool_i64_set(rally->pool, 0, ball + 1);
        pool_wake(rally->pool, 0, 1);
    }
    return 0;
}

static void to_and_fro(void)
{
    rally_t even = { anonymous(POOL_I64, 1, 8), 0 }, odd = { even.pool, 1 };
    pid_t   pid[2];
    pool_try_alloc(even.pool);
    pid[0] = child(play, &even);
    pid[1] = child(play, &odd);
    ok(all_end(pid, 2) && pool_i64_get(even.pool, 0) == ROUNDS(10000), "two processes hand a value to and fro by wait and wake");
    pool_close(even.pool);
}

int main(void)
{
    static int (*const singles[])(void *) = { one_by_one, one_by_one, one_by_one, by_generation, one_by_one, by_generation };
    static int (*const mixed[])(void *)   = { one_by_one, by_three, one_by_one, by_three, by_generation, by_three };
    test_begin();
    crowd(1, singles, 2, "two processes share one slot, and nobody sleeps for ever");
    crowd(1, singles, 6, "six processes share one slot");
    crowd(4, singles, 6, "six processes share four slots");
    crowd(3, mixed, 6, "three want all three slots, three want one");
    crowd(5, mixed, 6, "the same with five slots");
    to_and_fro();
    return test_done();
}
