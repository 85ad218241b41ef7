/*
 * crowd.c - more processes wait than the table of waiters has entries, and no
 * clock helps those who found none: they look again after an hour.
 *
 *     crowd
 *
 * A third waits for two slots at once. Each is served, ends, and what it had is
 * freed for the next; then the pool is as if nobody had ever waited.
 */
#define POOL_I_SLICE_NS (INT64_C(3600) * 1000000000)
#define POOL_IMPLEMENTATION
#include "pool.h"

#include <stdio.h>
#include <sys/wait.h>

enum { CROWD = POOL_WAITERS + 100, PATIENCE = 300 };

int main(void)
{
    const pool_spec_t spec = { POOL_I64, 2, 8, 0, 0 };
    pool_t           *pool = pool_open(NULL, &spec, NULL);
    uint64_t          slots[2];
    pool_counts_t     counts;
    int               i, status, failed = 0;

    if (pool == NULL || pool_alloc_n(pool, 2, 0, slots) != POOL_OK) return 2;
    for (i = 0; i < CROWD; i++)
        if (fork() == 0) {
            uint64_t n = i % 3 == 0 ? 2 : 1;
            alarm(PATIENCE);
            if (pool_alloc_n(pool, n, POOL_FOREVER, slots) != POOL_OK) _exit(1);
            _exit(pool_free_n(pool, slots, n) == n ? 0 : 1);
        }
    do pool_stats(pool, &counts);
    while (counts.waits < CROWD || counts.waiters < POOL_WAITERS);
    usleep(200000); /* they sleep */
    pool_free_n(pool, slots, 2);
    for (i = 0; i < CROWD; i++) failed += wait(&status) < 0 || status != 0;
    pool_free_n(pool, slots, pool_alloc_n(pool, 2, 0, slots) == POOL_OK ? 2 : 0); /* a waker that finds nobody */
    pool_stats(pool, &counts);
    printf("%sok 1 - %d waiters at once are served, %d not\n", failed == 0 ? "" : "not ", CROWD, failed);
    printf("%sok 2 - … and none is left in the table\n1..2\n", counts.waiters == 0 && counts.used == 0 ? "" : "not ");
    return failed != 0 || counts.waiters != 0;
}
