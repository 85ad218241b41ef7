/* A pool in another one's memory: who lives is told by the file of that one. */
#include "test.h"

#include <sched.h>

enum { INNER = 64 };

typedef struct job {
    pool_t           *home;
    bool              related; /* the inner pool is told of its home */
    volatile uint64_t state;
} job_t;

/* The first page boundary in the data of the one slot. */
static void *memory_in(const pool_t *home)
{
    return (void *)(((uintptr_t)pool_ptr(home, 0) + 4095) & ~(uintptr_t)4095);
}

static pool_t *inner(pool_t *home, bool related)
{
    pool_spec_t  spec = spec_of(POOL_I64, INNER, 8);
    pool_error_t err;
    pool_t      *pool = must(pool_open_at(memory_in(home), pool_size(&spec), &spec, &err), &err);
    if (related) pool_set_home(pool, home);
    return pool;
}

enum { READY = 1, IMPOSSIBLE };

/* A process of a PID namespace of its own takes two slots; its parent waits for it. */
static int contain(void *argument)
{
    job_t *job = argument;
    pid_t  pid;
    if (unshare(CLONE_NEWPID) != 0 || (pid = fork()) < 0) {
        job->state = IMPOSSIBLE;
        return 0;
    }
    if (pid == 0) {
        pool_t *pool = inner(job->home, job->related);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pool_try_alloc(pool);
        pool_try_alloc(pool);
        job->state = READY;
        for (;;) pause();
    }
    return reap(pid);
}

static pid_t container(job_t *job)
{
    pid_t pid;
    bool  ready;
    job->state = 0;
    pid        = child(contain, job);
    EVENTUALLY(job->state != 0, ready);
    if (ready && job->state == READY) return pid;
    kill_and_reap(pid);
    return -1;
}

/* Recover until so many are freed: who is killed with its parent is not dead at once. */
static uint64_t freed(pool_t *pool, uint64_t wanted)
{
    uint64_t n = 0;
    bool     enough;
    EVENTUALLY((n += pool_recover(pool, NULL, NULL)) >= wanted, enough);
    return enough ? n : 0;
}

int main(void)
{
    pool_spec_t  spec = spec_of(POOL_RAW, 1, 64 << 10);
    pool_error_t err;
    job_t       *job;
    pool_t      *pool;
    uint64_t     mine;
    pid_t        pid;

    test_begin();
    job       = shared(sizeof *job);
    job->home = must(pool_open(scratch("home"), &spec, &err), &err);
    pool      = inner(job->home, true);
    mine      = pool_try_alloc(pool);
    ok(pool_owner_life(pool, pool_owner_word(pool, mine)) == POOL_ALIVE, "its own slots are a living process's");

    job->related = true;
    if ((pid = container(job)) < 0)
        test_skip("no PID namespace can be made here", "pools in others' memory");
    else if (job->home->kept == 0) {
        kill_and_reap(pid);
        test_skip("the file system does not keep locks", "pools in others' memory");
    }
    else {
        ok(pool_recover(pool, NULL, NULL) == 0, "nobody of a PID namespace that lives is stale");
        kill_and_reap(pid);
        ok(freed(pool, 2) == 2, "when it is gone it is");

        job->related = false;
        pid          = container(job);
        if (pid > 0) kill_and_reap(pid);
        ok(pool_recover(pool, NULL, NULL) == 0, "of one that did not say where its memory is nothing can be told");
        ok(pool_recover_unknown(pool, NULL, NULL) == 2, "… but by somebody who knows");
    }
    ok(pool_used(pool) == 1, "what the living hold is held");
    pool_close(pool);
    pool_close(job->home);
    return test_done();
}
