/*
 * trim.c - where the filesystem is full, the blocks of what is free are given back to it, and
 * nobody who still looks there is harmed.
 *
 * A reader (look_begin()) may come to a cell that is freed meanwhile, and used again: that is
 * found out afterwards. But if its block were given back, and there is no room for another one, the
 * mere look would kill. So who looks says so in its mark, and:
 *
 *   look:  looking = 1; follow links; looking = 0
 *   trim:  what is free? (pool_trim()); a barrier on all processors; marks that are looking:
 *          wait a moment for each; one goes on? nothing is given back now
 *
 * What was free before the barrier nothing leads to. A look that had not begun by then does
 * not come there; one that had is seen, for the barrier comes after its store. Whatever a look
 * can come to was not free when it began, or later: links lead to what is in use, and what was
 * freed keeps its last one.
 *
 * The barrier is the kernel's (membarrier()), so a look has a plain store and no fence. A process that
 * may not use it has a fence in its looks (space_fences), and gives nothing back: it cannot see the others'.
 *
 * Stopped in a look: the free stay free blocks, which serve those who need one of that size, and a
 * later trim gives them back. Died there: its mark is a dead one's. Records and marks are never
 * given back: they are looked at everywhere.
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#include "types.h"

#include <sys/syscall.h>

/* <linux/membarrier.h>, which may be older than the kernel. */
#define TRIM_BARRIER  (1 << 1) /* MEMBARRIER_CMD_GLOBAL_EXPEDITED          */
#define TRIM_REGISTER (1 << 2) /* MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED */

bool space_fences;

static bool trim_membarrier(int command)
{
    int  saved = errno;
    bool ok    = syscall(SYS_membarrier, command, 0, 0) == 0;
    errno      = saved;
    return ok;
}

/* It stays registered, whatever is forbidden later; each thread that comes here finds the same. */
void space_register_looks(void)
{
    STORE_STORE(space_fences, !trim_membarrier(TRIM_REGISTER));
}

#define TRIM_NS UINT64_C(20000000) /* how long a look for blocks to give back stays true, if others free */

/* Who looks is waited for, as he may have lost his processor; but who is stopped is not waited for
 * again and again. */
#define TRIM_PATIENCE_NS UINT64_C(50000000)
#define TRIM_IN_VAIN_NS  UINT64_C(1000000000) /* so long after that none */
#define TRIM_TRIES       16                   /* at once, then is asked whether he lives, and slept */

typedef struct trim_wait {
    uint64_t until;
    bool     failed;
} trim_wait_t;

static void trim_pause(int tries)
{
    struct timespec nap = { 0, 100000 };
    if (tries < TRIM_TRIES)
        sched_yield();
    else
        nanosleep(&nap, NULL);
}

/* Acquire: pairs with look_end(): what it read it has read. A mark that is seen once not to look is
 * done with, for what it looks at later it begins later. */
static void trim_outwait(store_t *space, store_link_t link, void *context)
{
    const store_mark_t *mark = mark_at(space, link);
    trim_wait_t        *wait = (trim_wait_t *)context;
    store_ref_t         ref;
    int                 tries;
    for (tries = 0; !wait->failed && __atomic_load_n(&mark->looking, __ATOMIC_ACQUIRE) != 0; tries++) {
        if (tries == TRIM_TRIES && !mark_lives(space, link, &ref)) return;
        if (tries >= TRIM_TRIES && store_clock() >= wait->until) wait->failed = true;
        trim_pause(tries);
    }
}

/* Does nobody look any more at what was free when this was called? The barrier pairs with look_enter(). */
static bool trim_may(void *context)
{
    store_t    *space = (store_t *)context;
    uint64_t    now   = store_clock();
    trim_wait_t wait  = { now + TRIM_PATIENCE_NS, false };
    if (STORE_LOAD(space_fences) || !trim_membarrier(TRIM_BARRIER)) return false;
    if (now - STORE_LOAD(space->in_vain) < TRIM_IN_VAIN_NS) wait.until = now;
    row_each(space, STORE_ROW_MARKS, trim_outwait, &wait);
    if (wait.failed) STORE_STORE(space->in_vain, now);
    return !wait.failed;
}

bool space_trim(store_t *space)
{
    uint64_t freed = 0;
    uint32_t row, part;
    if (STORE_LOAD(space->frees) == 0 && store_clock() - STORE_LOAD(space->trimmed) < TRIM_NS) return false;
    STORE_STORE(space->frees, 0);
    for (row = STORE_ROW_CELLS; row < space->rows; row++)
        for (part = 0; part < STORE_PARTS && __atomic_load_n(&space->header->parts[row][part], __ATOMIC_ACQUIRE) != 0;
             part++) { /* pairs with row_place() */
            pool_t *pool = row_open(space, row, part, false, NULL);
            if (pool != NULL) freed += pool_trim(pool, trim_may, space);
        }
    STORE_STORE(space->trimmed, store_clock());
    return freed > 0;
}
