/*
 * What the C core costs. Prints a table: each row has its bar and whether it
 * was met. Two things that are compared take turns in this one run, and the
 * best turn of each counts, so that a busy machine slows both alike.
 *
 *     make bench/core && bench/core
 */
#define _GNU_SOURCE
#include "pool.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TURNS   15
#define TURN_MS 8 /* about so long lasts a turn */
#define MILLION UINT64_C(1000000)

static int met, missed;

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void progress(const char *what)
{
    if (isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K%s …", what);
}

static void row(const char *what, double value, const char *unit, const char *bar, bool is_met)
{
    progress("");
    if (isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K");
    if (bar == NULL)
        printf("%-58s %9.2f %-4s\n", what, value, unit);
    else
        printf("%-58s %9.2f %-4s %-9s %s\n", what, value, unit, bar, is_met ? "met" : "MISSED");
    if (bar != NULL) *(is_met ? &met : &missed) += 1;
    fflush(stdout);
}

static pool_t *open_pool(uint64_t capacity)
{
    const pool_spec_t spec = { POOL_I64, capacity, 8, 0, 0 };
    pool_error_t      err;
    pool_t           *pool = pool_open_memfd("bench", &spec, &err);
    if (pool != NULL) return pool;
    fprintf(stderr, "%s\n", err.text);
    exit(1);
}

static pool_t *again(const pool_t *pool)
{
    const pool_spec_t spec = { POOL_I64, 0, 0, 0, 0 };
    return pool_open_fd(pool->fd, &spec, NULL);
}

/* --- what is measured: each does its thing n times ---------------------- */

static uint64_t word;
static pool_t  *small, *full, *full_other, *empty, *empty_other;

static void two_locked_instructions(uint64_t n)
{
    while (n-- > 0) {
        __atomic_fetch_add(&word, 1, __ATOMIC_SEQ_CST);
        __atomic_fetch_sub(&word, 1, __ATOMIC_SEQ_CST);
    }
}

static void alloc_and_free(uint64_t n)
{
    while (n-- > 0) pool_free(small, pool_try_alloc(small));
}

static void blocking_alloc_and_free(uint64_t n)
{
    uint64_t slot;
    while (n-- > 0)
        if (pool_alloc(small, POOL_FOREVER, &slot) == POOL_OK) pool_free(small, slot);
}

static void batches(uint64_t n)
{
    uint64_t slots[64];
    for (; n >= 64; n -= 64)
        if (pool_alloc_n(small, 64, 0, slots) == POOL_OK) pool_free_n(small, slots, 64);
}

/* One slot is free, and the hint of the handle that allocates is at the slot
 * that it had before, half a pool away: another handle frees. */
static void far(uint64_t n)
{
    static const uint64_t slots[2] = { 12345, 512345 };
    while (n-- > 0) {
        pool_free(full_other, slots[n % 2]);
        pool_try_alloc(full);
    }
}

static void far_when_empty(uint64_t n)
{
    while (n-- > 0) pool_free(empty_other, pool_try_alloc(empty));
}

static void near(uint64_t n)
{
    while (n-- > 0) pool_free(empty, pool_try_alloc(empty));
}

static void try_when_full(uint64_t n)
{
    while (n-- > 0) pool_try_alloc(full);
}

/* --- how ---------------------------------------------------------------- */

static double turn_ns(void (*thing)(uint64_t), uint64_t n)
{
    double before = now_ns();
    thing(n);
    return (now_ns() - before) / (double)n;
}

/* Nanoseconds of both, the best of several alternating turns. */
static void compare(void (*a)(uint64_t), void (*b)(uint64_t), double *best_a, double *best_b)
{
    uint64_t n_a, n_b;
    int      turn;
    *best_a = turn_ns(a, 2000);
    *best_b = turn_ns(b, 2000);
    n_a     = (uint64_t)(TURN_MS * 1e6 / *best_a) + 1;
    n_b     = (uint64_t)(TURN_MS * 1e6 / *best_b) + 1;
    for (turn = 0; turn < TURNS; turn++) {
        double ns_a = turn_ns(a, n_a), ns_b = turn_ns(b, n_b);
        if (ns_a < *best_a) *best_a = ns_a;
        if (ns_b < *best_b) *best_b = ns_b;
    }
}

static void ratio(const char *name_a, void (*a)(uint64_t), const char *name_b, void (*b)(uint64_t), double most)
{
    char   text[100], bar[20];
    double ns_a, ns_b;
    progress(name_a);
    compare(a, b, &ns_a, &ns_b);
    row(name_a, ns_a, "ns", NULL, true);
    row(name_b, ns_b, "ns", NULL, true);
    snprintf(text, sizeof text, "  ratio");
    snprintf(bar, sizeof bar, "<= %.2f x", most);
    row(text, ns_a / ns_b, "x", most > 0 ? bar : NULL, ns_a / ns_b <= most);
}

static long resident_pages(void)
{
    long  size, resident = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm == NULL || fscanf(statm, "%ld %ld", &size, &resident) != 2) resident = 0;
    if (statm != NULL) fclose(statm);
    return resident;
}

static void creation(void)
{
    const pool_spec_t spec = { POOL_I64, 16 * MILLION, 8, 0, 0 };
    double            best = 1e12, most = 0;
    int               turn;
    progress("creation");
    for (turn = 0; turn < TURNS; turn++) {
        long    pages  = resident_pages();
        double  before = now_ns(), took, mb;
        pool_t *pool   = pool_open(NULL, &spec, NULL);
        took           = (now_ns() - before) / 1e6;
        mb             = (double)(resident_pages() - pages) * (double)sysconf(_SC_PAGESIZE) / 1e6;
        if (pool == NULL) return row("an anonymous pool of 16 million slots cannot be created", 0, "", "", false);
        if (took < best) best = took;
        if (mb > most) most = mb;
        pool_close(pool);
    }
    row("creating an anonymous pool of 16 million I64 slots", best, "ms", "< 5 ms", best < 5);
    row("  resident after that", most, "MB", "< 4 MB", most < 4);
}

/* --- several processes ---------------------------------------------------- */

typedef struct race {
    volatile int ready, go, stop;
    uint64_t     done[8];
} race_t;

static void worker(pool_t *pool, race_t *race, int number)
{
    uint64_t n = 0;
    __atomic_fetch_add(&race->ready, 1, __ATOMIC_SEQ_CST);
    while (!race->go) sched_yield();
    while (!race->stop) {
        uint64_t slot = pool_try_alloc(pool);
        if (slot >= POOL_NOSPC) continue;
        pool_i64_set(pool, slot, 42);
        pool_free(pool, slot);
        n++;
    }
    race->done[number] = n;
}

/* Millions of rounds a second of so many workers together on 64 slots. */
static double throughput(pool_t *pool, race_t *race, int workers)
{
    const struct timespec quarter = { 0, 100 * 1000000 };
    double                began, ended;
    uint64_t              total = 0;
    int                   i;

    race->ready = race->go = race->stop = 0;
    for (i = 0; i < workers; i++)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            worker(pool, race, i);
            _exit(0);
        }
    while (race->ready < workers) sched_yield();
    began    = now_ns();
    race->go = 1;
    nanosleep(&quarter, NULL);
    race->stop = 1;
    ended      = now_ns();
    while (wait(NULL) > 0) {}
    for (i = 0; i < workers; i++) total += race->done[i];
    return (double)total / ((ended - began) / 1e3);
}

static void scaling(void)
{
    static const int workers[] = { 1, 2, 8 };
    pool_t          *pool      = open_pool(64);
    race_t          *race      = mmap(NULL, sizeof *race, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double           best[3]   = { 0, 0, 0 };
    int              turn, i;
    char             name[60];

    if (race == MAP_FAILED) return;
    for (turn = 0; turn < 5; turn++)
        for (i = 0; i < 3; i++) {
            double rate;
            snprintf(name, sizeof name, "%d workers, turn %d", workers[i], turn + 1);
            progress(name);
            rate = throughput(pool, race, workers[i]);
            if (rate > best[i]) best[i] = rate;
        }
    for (i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%d worker%s on 64 slots: alloc, set, free", workers[i], i == 0 ? "" : "s");
        row(name, best[i], "M/s", NULL, true);
    }
    row("  two to one", best[1] / best[0], "x", ">= 1.70 x", best[1] / best[0] >= 1.7);
    row("  eight to one", best[2] / best[0], "x", ">= 1.50 x", best[2] / best[0] >= 1.5);
    munmap(race, sizeof *race);
    pool_close(pool);
}

int main(void)
{
    small       = open_pool(1000);
    empty       = open_pool(MILLION);
    full        = open_pool(MILLION);
    empty_other = again(empty);
    full_other  = again(full);

    ratio("pool_try_alloc + pool_free", alloc_and_free, "two locked instructions on one word", two_locked_instructions, 2.0);
    ratio("pool_alloc + pool_free", blocking_alloc_and_free, "two locked instructions on one word", two_locked_instructions, 2.0);
    ratio("pool_alloc_n + pool_free_n, 64 at a time, per slot", batches, "pool_try_alloc + pool_free", alloc_and_free, 0);
    while (pool_try_alloc(full) != POOL_NONE) {}
    ratio("1,000,000 slots, one free, half a pool away: free + alloc", far, "1,000,000 slots, empty: free + alloc", far_when_empty, 3.0);
    ratio("1,000,000 slots, none free: try_alloc", try_when_full, "1,000,000 slots, empty: free + alloc", near, 3.0);
    creation();
    scaling();
    printf("%d bars met, %d missed\n", met, missed);
    pool_close(small);
    pool_close(empty_other);
    pool_close(empty);
    pool_close(full_other);
    pool_close(full);
    return 0;
}
