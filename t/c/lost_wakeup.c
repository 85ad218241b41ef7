/* No wake-up is lost. Slices would hide a lost one (the sleeper looks again
 * after 0.1 s), so here a slice lasts an hour: a lost wake-up hangs the test. */
#define POOL_I_SLICE_NS (3600 * 1000 * POOL_I_MS)
#define POOL_IMPLEMENTATION
#include "test.h"

#include <sched.h>

/* In a crowd the next free makes up for a lost wake-up; so let two processes
 * take turns. Both slots are taken at first. Each frees the other's and waits
 * for its own, after a moment of another length each time. */
typedef struct turn {
    pool_t  *mine, *yours;
    uint64_t n; /* slots of each pool */
    bool     first;
} turn_t;

static void dawdle(uint64_t *random)
{
    volatile uint64_t spin = next_random(random) % 2048;
    while (spin > 0) spin--;
}

static int take_turns(void *argument)
{
    const turn_t *turn   = argument;
    uint64_t      random = 88172645463325252u + (uint64_t)getpid(), slots[8], i;
    int           round;
    for (round = 0; round < ROUNDS(15000); round++) {
        dawdle(&random);
        if (round > 0 || !turn->first)
            if (pool_alloc_n(turn->mine, turn->n, POOL_FOREVER, slots) != POOL_OK) return 1;
        dawdle(&random);
        for (i = 0; i < turn->n; i++)
            if (!pool_free(turn->yours, i)) return 2;
    }
    return 0;
}

static int one_by_one(void *pool)
{
    uint64_t slot;
    int      i;
    for (i = 0; i < ROUNDS(4000); i++) {
        if (pool_alloc(pool, POOL_FOREVER, &slot) != POOL_OK) return 1;
        sched_yield(); /* or the others would seldom meet a full pool */
        if (!pool_free(pool, slot)) return 2;
    }
    return 0;
}

static int by_generation(void *pool)
{
    uint64_t slot;
    int      i;
    for (i = 0; i < ROUNDS(4000); i++) {
        if (pool_alloc(pool, POOL_FOREVER, &slot) != POOL_OK) return 1;
        sched_yield();
        if (!pool_free_generation(pool, slot, pool_generation(pool, slot))) return 2;
    }
    return 0;
}

static int by_three(void *pool)
{
    uint64_t slots[3];
    int      i;
    for (i = 0; i < ROUNDS(1500); i++) {
        if (pool_alloc_n(pool, 3, POOL_FOREVER, slots) != POOL_OK) return 1;
        sched_yield();
        if (pool_free_n(pool, slots, 3) != 3) return 2;
    }
    return 0;
}

static uint64_t progress(pool_t *pool)
{
    return counts(pool).allocs + (uint64_t)pool_i64_get(pool, 0);
}

/* Do all of the n children end well, and has some of them gone on in each minute until then? Kills those that do not.
 * Meanwhile stops them for a moment now and then, at any instruction: so that
 * what lies a nanosecond apart happens with the world in between. */
static bool all_end(pool_t *pool, const pid_t *pid, int n, bool stop_them)
{
    int64_t  deadline = now_ns() + 60000 * MS;
    uint64_t random = 88172645463325252u, before = 0;
    int      i, status, ended = 0, failed = 0;
    bool     goes_on = true;

    while (ended < n && goes_on) {
        pid_t one = pid[next_random(&random) % (uint64_t)n];
        if (stop_them) {
            kill(one, SIGSTOP);
            dawdle(&random);
            kill(one, SIGCONT);
            dawdle(&random);
        }
        else
            nap();
        if (waitpid(-1, &status, WNOHANG) > 0) {
            ended++;
            failed += status != 0;
            stop_them = false; /* its PID is another's now */
        }
        if (now_ns() >= deadline) {
            uint64_t now = progress(pool);
            goes_on      = now != before;
            before       = now;
            deadline     = now_ns() + 60000 * MS;
            alarm(HUNG);
        }
    }
    for (i = 0; ended < n && i < n; i++) kill(pid[i], SIGKILL);
    while (waitpid(-1, NULL, 0) > 0) {}
    return ended == n && failed == 0;
}

static void turns(uint64_t n, const char *name)
{
    turn_t   a = { anonymous(POOL_I64, n, 8), anonymous(POOL_I64, n, 8), n, true }, b = { a.yours, a.mine, n, false };
    uint64_t slots[8];
    pid_t    pid[2];
    bool     ended;
    pool_alloc_n(a.mine, n, 0, slots);
    pool_alloc_n(a.yours, n, 0, slots);
    pid[0] = child(take_turns, &a);
    pid[1] = child(take_turns, &b);
    ended  = all_end(a.mine, pid, 2, true);
    ok(ended && counts(a.mine).waits > 0, "%s (%llu waits)", name, (unsigned long long)(counts(a.mine).waits + counts(a.yours).waits));
    pool_close(a.mine);
    pool_close(a.yours);
}

static void crowd(uint64_t capacity, int (*const *body)(void *), int n, const char *name)
{
    pool_t *pool = anonymous(POOL_I64, capacity, 8);
    pid_t   pid[8];
    int     i;
    bool    ended;
    for (i = 0; i < n; i++) pid[i] = child(body[i], pool);
    ended = all_end(pool, pid, n, false);
    ok(ended && pool_used(pool) == 0, "%s", name);
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
    ok(all_end(even.pool, pid, 2, false) && pool_i64_get(even.pool, 0) == ROUNDS(10000),
       "two processes hand a value to and fro by wait and wake");
    pool_close(even.pool);
}

int main(void)
{
    static int (*const singles[])(void *) = { one_by_one, one_by_one, one_by_one, by_generation, one_by_one, by_generation };
    static int (*const mixed[])(void *)   = { one_by_one, by_three, one_by_one, by_three, by_generation, by_three };
    test_begin();
    turns(1, "two processes take turns with a slot each");
    turns(3, "two processes take turns with three slots each, which they want together");
    crowd(1, singles, 2, "two processes share one slot, and nobody sleeps for ever");
    crowd(1, singles, 6, "six processes share one slot");
    crowd(4, singles, 6, "six processes share four slots");
    crowd(3, mixed, 6, "three want all three slots, three want one");
    crowd(5, mixed, 6, "the same with five slots");
    to_and_fro();
    return test_done();
}
