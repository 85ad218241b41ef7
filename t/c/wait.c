/* Waiting for a slot: time limits, signals, being woken. */
#include "test.h"

#include <setjmp.h>

static void time_limits(void)
{
    pool_t  *pool = anonymous(POOL_I64, 1, 8);
    uint64_t slot, other;
    int64_t  before;

    ok(pool_alloc(pool, 0, &slot) == POOL_OK, "a free slot is had without waiting");
    ok(pool_alloc(pool, 0, &other) == POOL_FULL, "a limit of 0 does not wait");
    before = now_ns();
    ok(pool_alloc(pool, 20 * MS, &other) == POOL_TIMEOUT && now_ns() - before >= 20 * MS, "a short limit is kept to");
    before = now_ns();
    ok(pool_alloc(pool, 250 * MS, &other) == POOL_TIMEOUT && now_ns() - before >= 250 * MS, "and one of several slices");
    ok(counts(pool).waits == 2 && counts(pool).timeouts == 2 && counts(pool).waiters == 0, "the statistics count both");
    pool_close(pool);
}

static int take_and_tell(void *pool)
{
    uint64_t slot;
    return pool_alloc(pool, POOL_FOREVER, &slot) == POOL_OK ? (int)slot : 99;
}

static int take_with_huge_limit(void *pool)
{
    uint64_t slot;
    return pool_alloc(pool, INT64_MAX, &slot) == POOL_OK ? (int)slot : 99;
}

static void woken(int (*how)(void *), const char *name)
{
    pool_t *pool = anonymous(POOL_I64, 5, 8);
    pid_t   pid;
    bool    held;
    while (pool_try_alloc(pool) != POOL_NONE) {}
    pid = child(how, pool);
    EVENTUALLY(counts(pool).waiters == 1, held);
    ok(held, "%s waits", name);
    pool_free(pool, 3);
    ok(reap(pid) == 3, "… and gets the slot that becomes free");
    ok(counts(pool).waiters == 0 && counts(pool).waits == 1, "… and waits no more");
    pool_close(pool);
}

static int blocks_all(pool_t *pool, pid_t *pid, int n)
{
    bool held;
    int  i;
    for (i = 0; i < n; i++) pid[i] = child(take_and_tell, pool);
    EVENTUALLY(counts(pool).waiters == (uint64_t)n, held);
    return held;
}

static void many_woken_at_once(void)
{
    pool_t  *pool = anonymous(POOL_I64, 6, 8);
    uint64_t slots[6];
    pid_t    pid[6];
    int      i, got = 0;
    pool_alloc_n(pool, 6, 0, slots);
    ok(blocks_all(pool, pid, 6), "six wait");
    pool_free_n(pool, slots, 6);
    for (i = 0; i < 6; i++) got |= 1 << reap(pid[i]);
    ok(got == 0x3f, "… and one free_n of six serves all");
    pool_close(pool);
}

/* The dead do not count as waiting, and the living are served after them. */
static void killed_waiters(void)
{
    pool_t  *pool = anonymous(POOL_I64, 1, 8);
    uint64_t slot = pool_try_alloc(pool);
    pid_t    pid[5];
    int      i;
    bool     held;
    ok(blocks_all(pool, pid, 5), "five wait");
    for (i = 0; i < 4; i++) kill_and_reap(pid[i]);
    ok(counts(pool).waiters == 5, "… four are killed");
    ok(pool_recover(pool, NULL, NULL) == 0 && counts(pool).waiters == 1, "… recovery strikes them out, not the fifth");
    pool_free(pool, slot);
    ok(reap(pid[4]) == 0, "… who gets the slot");
    pool_free(pool, 0);
    ok(pool_try_alloc(pool) == 0, "the survivor's slot is free again");
    pool_free(pool, 0);
    ok((pool->header->waiting & POOL_I_WAITING) == 0
           || (pool_recover(pool, NULL, NULL) == 0 && (pool->header->waiting & POOL_I_WAITING) == 0),
       "nobody is taken for waiting any more");
    held = counts(pool).waiters == 0;
    ok(held, "… by the statistics, too");
    pool_close(pool);
}

static volatile sig_atomic_t handled;

static void handler(int signal_number)
{
    (void)signal_number;
    handled++;
}

static void catch_usr1(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigaction(SIGUSR1, &action, NULL);
}

static int until_interrupted(void *pool)
{
    uint64_t slot;
    int      code;
    catch_usr1();
    code = pool_alloc(pool, POOL_FOREVER, &slot);
    nap(); /* ThreadSanitizer runs handlers late */
    return code == POOL_INTERRUPTED && handled > 0 ? 0 : 1;
}

static int until_interrupted_value(void *pool)
{
    int code;
    catch_usr1();
    code = pool_wait(pool, 0, 0, POOL_FOREVER);
    nap();
    return code == POOL_INTERRUPTED && handled > 0 ? 0 : 1;
}

/* Signal it until it ends: the first may come before it sleeps. */
static int pester(pid_t pid)
{
    int   status, i;
    pid_t ended = 0;
    for (i = 0; i < 60000 && (ended = waitpid(pid, &status, WNOHANG)) == 0; i++) {
        kill(pid, SIGUSR1);
        nap();
    }
    if (ended == 0) return kill_and_reap(pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void interrupted(void)
{
    pool_t *pool = anonymous(POOL_I64, 1, 8);
    pid_t   pid;
    bool    held;
    pool_try_alloc(pool);
    pid = child(until_interrupted, pool);
    EVENTUALLY(counts(pool).waiters == 1, held);
    ok(held && pester(pid) == 0, "a signal handler interrupts a blocked alloc");
    ok(counts(pool).waiters == 0, "… which leaves no waiter behind");
    signal(SIGUSR1, SIG_IGN); /* inherited, until the child has its handler */
    pid = child(until_interrupted_value, pool);
    ok(pester(pid) == 0, "… and a blocked wait for a value");
    signal(SIGUSR1, SIG_DFL);
    pool_close(pool);
}

static int    *idle_calls;
static jmp_buf out;
static pool_t *idle_pool;

static void count_idle(void)
{
    (*idle_calls)++;
}

static int with_idle(void *pool)
{
    uint64_t slot;
    int      code;
    catch_usr1();
    pool_on_idle(pool, count_idle);
    code = pool_alloc(pool, POOL_FOREVER, &slot);
    nap();
    return code == POOL_OK && handled > 0 ? 0 : 1;
}

static void goes_on_after_idle(void)
{
    pool_t *pool = anonymous(POOL_I64, 1, 8);
    pid_t   pid;
    bool    held;
    int     before;
    idle_calls = shared(sizeof *idle_calls);
    pool_try_alloc(pool);
    pid = child(with_idle, pool);
    EVENTUALLY(*idle_calls >= 2, held);
    ok(held, "on_idle is called while a call blocks, again and again");
    before = *idle_calls;
    kill(pid, SIGUSR1);
    EVENTUALLY(*idle_calls > before, held);
    ok(held && counts(pool).waits == 1, "… and after a signal, with which the call goes on");
    pool_free(pool, 0);
    ok(reap(pid) == 0, "… until it has its slot");
    pool_close(pool);
}

static void jump_out(void)
{
    longjmp(out, (int)counts(idle_pool).waiters + 1);
}

static void left_by_longjmp(void)
{
    pool_t  *pool = anonymous(POOL_I64, 1, 8);
    uint64_t slot;
    int      jumped;
    idle_pool = pool;
    pool_try_alloc(pool);
    pool_on_idle(pool, jump_out);
    if ((jumped = setjmp(out)) == 0) pool_alloc(pool, POOL_FOREVER, &slot);
    ok(jumped == 1, "on_idle may leave by longjmp: a blocked call holds nothing meanwhile");
    pool_on_idle(pool, NULL);
    pool_free(pool, 0);
    ok(pool_alloc(pool, 0, &slot) == POOL_OK, "… and the pool works on");
    pool_close(pool);
}

/* Stop and continue are no reason to give up or to wait longer. */
static void stopped(void)
{
    pool_t *pool = anonymous(POOL_I64, 1, 8);
    pid_t   pid;
    bool    held;
    pool_try_alloc(pool);
    pid = child(take_and_tell, pool);
    EVENTUALLY(counts(pool).waiters == 1, held);
    kill(pid, SIGSTOP);
    pool_free(pool, 0);
    ok(held && pool_used(pool) <= 1, "a stopped waiter blocks nobody");
    kill(pid, SIGCONT);
    ok(reap(pid) == 0, "… and gets its slot when it goes on");
    pool_close(pool);
}

static int wait_for_value(void *pool)
{
    return pool_wait(pool, 0, 7, POOL_FOREVER) == POOL_OK ? 0 : 1;
}

static void values(uint32_t variant)
{
    pool_t  *pool = anonymous(variant, 1, variant == POOL_I64 ? 8 : 4);
    int64_t  before;
    uint64_t woken_now = 0;
    pid_t    pid[2];
    bool     held;
    int      i;

    pool_try_alloc(pool);
    ok(pool_wait(pool, 0, 1, POOL_FOREVER) == POOL_OK, "%s: a value that differs is not waited for", variant == POOL_I64 ? "I64" : "I32");
    before = now_ns();
    ok(pool_wait(pool, 0, 0, 30 * MS) == POOL_TIMEOUT && now_ns() - before >= 30 * MS, "… one that stays is, for as long as was said");
    if (variant == POOL_I64)
        pool_i64_set(pool, 0, 7);
    else
        pool_i32_set(pool, 0, 7);
    for (i = 0; i < 2; i++) pid[i] = child(wait_for_value, pool);
    EVENTUALLY((woken_now += pool_wake(pool, 0, 1)) >= 2, held); /* it sleeps again: the value is the same */
    ok(held && waitpid(-1, NULL, WNOHANG) == 0, "… wake says how many it woke; they see the old value and sleep on");
    if (variant == POOL_I64)
        pool_i64_set(pool, 0, 8);
    else
        pool_i32_set(pool, 0, 8);
    pool_wake(pool, 0, UINT64_MAX);
    ok(reap(pid[0]) == 0 && reap(pid[1]) == 0, "… until it changes");
    pool_close(pool);
}

/* More waiters than the table has entries. */
static void crowd(void)
{
    enum { CROWD = POOL_WAITERS + 20 };
    pool_t *pool = anonymous(POOL_I64, 1, 8);
    bool    held;
    int     i, failed = 0;
    pool_try_alloc(pool);
    for (i = 0; i < CROWD; i++) child(take_and_tell, pool);
    EVENTUALLY(counts(pool).waiters == POOL_WAITERS, held);
    ok(held, "the table of waiters is full");
    for (i = 0; i < CROWD; i++) {
        pool_free(pool, 0); /* held by the child that was served before, and ended */
        failed += reap(-1) != 0;
    }
    ok(failed == 0 && counts(pool).waiters == 0, "… and those who found no entry are served, too");
    pool_close(pool);
}

int main(void)
{
    test_begin();
    time_limits();
    woken(take_and_tell, "a caller without a limit");
    woken(take_with_huge_limit, "a caller with the largest limit");
    many_woken_at_once();
    killed_waiters();
    interrupted();
    goes_on_after_idle();
    left_by_longjmp();
    stopped();
    values(POOL_I64);
    values(POOL_I32);
    if (TEST_PART == 1) crowd();
    return test_done();
}
