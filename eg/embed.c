/*
 * The pool without Perl: a tour of pool.h in one program.
 *
 *     cc eg/embed.c pool.c && ./a.out
 *
 * Exits with 1 if anything is not as it should be.
 */
#include "../pool.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000) /* timeouts are in nanoseconds */

static void expect(bool right, const char *what)
{
    printf("%-4s %s\n", right ? "ok" : "NOT", what);
    if (!right) exit(1);
}

/* A worker takes every slot that is left and is killed before it frees any. */
static void die_with_all_slots(pool_t *pool)
{
    pid_t worker = fork();
    if (worker == 0) {
        while (pool_try_alloc(pool) < POOL_NOSPC) {}
        raise(SIGKILL);
    }
    waitpid(worker, NULL, 0);
}

static bool report(pool_t *pool, uint64_t slot, uint64_t owner, void *context)
{
    (void)pool;
    printf("     slot %d was held by process %d, which is dead\n", (int)slot, (int)pool_owner_pid(owner));
    ++*(int *)context;
    return true; /* free it */
}

int main(void)
{
    const pool_spec_t four_counters  = { POOL_I64, 4, 8, 0, 0 };
    const pool_spec_t eight_counters = { POOL_I64, 8, 8, 0, 0 };
    char              path[]         = "/tmp/embed-XXXXXX";
    int               fd = mkstemp(path), stale = 0, code;
    pool_error_t      err;
    pool_t           *pool;
    uint64_t          slot, other;

    if (fd < 0 || close(fd) != 0) return 1;

    /* Create: the file is made a pool, or attached to if it is one. */
    pool = pool_open(path, &four_counters, &err);
    if (pool == NULL) fprintf(stderr, "%s\n", err.text);
    expect(pool != NULL, "a pool of four counters");

    /* Errors have a code for the program and a sentence for you. */
    expect(pool_open(path, &eight_counters, &err) == NULL && err.code == POOL_E_MISMATCH, err.text);

    /* Allocate, write, free. Any number of processes may do this at once. */
    slot = pool_try_alloc(pool);
    expect(slot < POOL_NOSPC && pool_i64_get(pool, slot) == 0, "a slot, which reads as zero");
    pool_i64_set(pool, slot, 40);
    expect(pool_i64_add(pool, slot, 2) == 42, "40 + 2 = 42, atomically");
    expect(pool_used(pool) == 1 && pool_owner(pool, slot) == getpid(), "it is this process's");

    /* Block: all slots are taken, by a process that is no more. */
    die_with_all_slots(pool);
    code = pool_alloc(pool, SECOND / 10, &other);
    expect(code == POOL_TIMEOUT, pool_strerror(code));

    /* Recover: the dead give back what they held; the living keep theirs. */
    expect(pool_recover(pool, report, &stale) == 3 && stale == 3, "three slots are recovered");
    expect(pool_i64_get(pool, slot) == 42, "the fourth is as it was");
    code = pool_alloc(pool, SECOND / 10, &other);
    expect(code == POOL_OK && other != slot, "there is a slot now");

    expect(pool_free(pool, slot) && pool_free(pool, other), "both are freed");
    expect(!pool_free(pool, other), "once");
    expect(pool_used(pool) == 0, "nothing is left");
    expect(pool_unlink(pool) == POOL_OK, "nor the file");
    pool_close(pool);
    return 0;
}
