/* Threads share a handle, or have one each. Slots of 24 bytes are written
 * without atomics: that is right only while they have one holder, and while the
 * next holder sees what the last did (ThreadSanitizer checks both). */
#include "test.h"

#include <pthread.h>

enum { THREADS = 4, SLOTS = 300, HELD = 20 };

typedef struct job {
    pool_t  *pool;
    uint64_t number;
    int      failed;
} job_t;

typedef struct body {
    uint64_t who, check, twice;
} body_t;

static void *work(void *argument)
{
    job_t   *job    = argument;
    uint64_t random = job->number * 88172645463325252u + 7, slots[HELD], batch[3], n = 0, i;
    int      round;
    for (round = 0; round < ROUNDS(20000); round++) {
        if (n < HELD && next_random(&random) % 2 == 0) {
            body_t *body;
            if ((slots[n] = pool_try_alloc(job->pool)) >= POOL_NOSPC) continue;
            body = pool_ptr(job->pool, slots[n]);
            job->failed += body->who != 0 || body->check != 0 || body->twice != 0;
            body->who   = job->number;
            body->check = ~job->number;
            body->twice = job->number * 2;
            n++;
        }
        else if (n > 0) {
            uint64_t at   = next_random(&random) % n;
            body_t  *body = pool_ptr(job->pool, slots[at]);
            job->failed += body->who != job->number || body->check != ~job->number || body->twice != job->number * 2;
            job->failed += at % 2 == 0 ? !pool_free(job->pool, slots[at])
                                       : !pool_free_generation(job->pool, slots[at], pool_generation(job->pool, slots[at]));
            slots[at] = slots[--n];
        }
        if (round % 16 == 0 && pool_alloc_n(job->pool, 3, POOL_FOREVER, batch) == POOL_OK) {
            for (i = 0; i < 3; i++) ((body_t *)pool_ptr(job->pool, batch[i]))->who = job->number;
            job->failed += pool_free_n(job->pool, batch, 3) != 3;
        }
    }
    job->failed += pool_free_n(job->pool, slots, n) != n;
    return NULL;
}

static void all(pool_t *const *pool, const char *name)
{
    pthread_t thread[THREADS];
    job_t     job[THREADS];
    int       i, failed = 0;
    for (i = 0; i < THREADS; i++) {
        job[i] = (job_t){ pool[i], (uint64_t)i + 1, 0 };
        pthread_create(&thread[i], NULL, work, &job[i]);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        failed += job[i].failed;
    }
    ok(failed == 0 && pool_used(pool[0]) == 0, "%s: a slot has one holder and is clean", name);
}

/* One waits, another frees. */
static void *wait_for_slot(void *argument)
{
    job_t   *job = argument;
    uint64_t slot;
    body_t  *body;
    job->failed = pool_alloc(job->pool, POOL_FOREVER, &slot) != POOL_OK;
    body        = pool_ptr(job->pool, slot);
    job->failed += body->who != 0;
    body->who = 5;
    return NULL;
}

static void blocking(void)
{
    pool_t   *pool = anonymous(POOL_RAW, 1, sizeof(body_t));
    job_t     job  = { pool, 1, 1 };
    pthread_t thread;
    bool      held;
    ((body_t *)pool_ptr(pool, pool_try_alloc(pool)))->who = 9;
    pthread_create(&thread, NULL, wait_for_slot, &job);
    EVENTUALLY(counts(pool).waiters == 1, held);
    pool_free(pool, 0);
    pthread_join(thread, NULL);
    ok(held && job.failed == 0, "a thread waits for a slot that another frees");
    pool_close(pool);
}

/* Stale slots appear while several recover and others allocate. */
static uint64_t dead_owner;

static void *stale_work(void *argument)
{
    job_t   *job = argument;
    uint64_t slot;
    int      round;
    for (round = 0; round < ROUNDS(2000); round++) {
        if ((slot = pool_try_alloc(job->pool)) < POOL_NOSPC) {
            body_t *body = pool_ptr(job->pool, slot);
            job->failed += body->who != 0;
            body->who = job->number;
            pool_unadopt(job->pool, slot, pool_generation(job->pool, slot), dead_owner); /* as if a process had died with it */
        }
        if (round % 4 == (int)(job->number % 4)) pool_recover(job->pool, NULL, NULL);
    }
    return NULL;
}

static int remember_owner(void *argument)
{
    uint64_t *word = argument;
    pool_t   *pool = (pool_t *)(uintptr_t)word[1];
    word[0]        = pool_owner_word(pool, pool_try_alloc(pool));
    return 0;
}

static void recovery(void)
{
    pool_t   *pool = anonymous(POOL_RAW, 100, sizeof(body_t));
    uint64_t *word = shared(2 * sizeof *word);
    job_t     job[THREADS];
    pthread_t thread[THREADS];
    int       i, failed = 0;
    word[1] = (uint64_t)(uintptr_t)pool;
    reap(child(remember_owner, word));
    dead_owner = word[0];
    for (i = 0; i < THREADS; i++) {
        job[i] = (job_t){ pool, (uint64_t)i, 0 };
        pthread_create(&thread[i], NULL, stale_work, &job[i]);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        failed += job[i].failed;
    }
    pool_recover(pool, NULL, NULL);
    ok(failed == 0 && pool_used(pool) == 0 && counts(pool).recoveries >= 100, "threads recover stale slots while others take them");
    pool_close(pool);
}

int main(void)
{
    pool_t *one[THREADS], *each[THREADS];
    int     i;
    test_begin();
    one[0]  = in_memfd(POOL_RAW, SLOTS, sizeof(body_t));
    each[0] = in_memfd(POOL_RAW, SLOTS, sizeof(body_t));
    for (i = 1; i < THREADS; i++) {
        one[i]  = pool_retain(one[0]);
        each[i] = second(each[0]);
    }
    all(one, "threads share one handle");
    all(each, "threads have a handle and a mapping each");
    for (i = 0; i < THREADS; i++) {
        pool_close(one[i]);
        pool_close(each[i]);
    }
    blocking();
    recovery();
    return test_done();
}
