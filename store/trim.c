/*
 * trim.c - when the filesystem is full, the blocks of free slots are given back to it, without
 * harm to a process that is just looking there.
 *
 * A reader (look_begin()) may reach a cell that has been freed, and used again, since it began. It finds
 * that out afterwards. But if the block of the cell has been given back, and no page is available for
 * it, then reading there is a SIGBUS. Therefore a reader says in its mark that it is looking:
 *
 *   look:  looking = 1; follow links; looking = 0
 *   trim:  find free slots (pool_trim()); make all processors execute a barrier; wait for a moment until each
 *          mark was seen not looking; if one goes on looking, give nothing back; else give back
 *
 * Nothing leads to a slot that was free before the barrier, so a look that begins after it does not get
 * there. A look that began before the barrier is seen, because its store comes before the barrier, too. And
 * a look reaches only slots that were in use when it began or later: links lead to slots in use, and a freed
 * slot keeps the last link that it had.
 *
 * A store that fetches ahead what it will need (hash_fetch_ahead()) is such a look, before it has the lock.
 *
 * The kernel provides the barrier (membarrier()), so a look needs no fence. If the kernel does not let a
 * process use it, the looks of this process have a fence (space_fences), and the process gives nothing
 * back, as it cannot make sure that it sees the looks of others.
 *
 * If a process is stopped in a look, the free slots keep their blocks: they can be allocated again, and
 * a later attempt gives them back. If it died there, the owner of its mark is dead. The blocks of variables'
 * records and of marks are never given back, because these are read everywhere.
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#include "types.h"

#include <sys/syscall.h>

/* From <linux/membarrier.h>, which may be older than the kernel. */
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

/* A process stays registered, and so do its children; all threads get the same answer. */
void space_register_looks(void)
{
    STORE_STORE(space_fences, !trim_membarrier(TRIM_REGISTER));
}

#define TRIM_NS UINT64_C(20000000) /* so long after an attempt there is no other, unless this process frees something */

/* A process that looks may have lost its processor, so it is given time to come to the end of the look. If
 * it is stopped, this is not repeated at each store. */
#define TRIM_PATIENCE_NS UINT64_C(50000000)
#define TRIM_IN_VAIN_NS  UINT64_C(1000000000)
#define TRIM_TRIES       16 /* before it is checked whether the process lives, and slept */

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

/* Acquire: pairs with look_end(), so the data was read before. It is sufficient to see a mark not looking
 * once: its next look begins after the barrier. The clock is looked at each time, as on a busy machine one
 * yield may take longer than all of the patience. */
static void trim_outwait(store_t *space, store_link_t link, void *context)
{
    const store_mark_t *mark = mark_at(space, link);
    trim_wait_t        *wait = (trim_wait_t *)context;
    store_ref_t         ref;
    int                 tries;
    for (tries = 0; !wait->failed && __atomic_load_n(&mark->looking, __ATOMIC_ACQUIRE) != 0; tries++) {
        bool late = store_clock() >= wait->until;
        if ((late || tries == TRIM_TRIES) && !mark_lives(space, link, &ref)) return;
        wait->failed = late;
        if (!wait->failed) trim_pause(tries);
    }
}

/* One attempt, at all pools of a namespace. */
typedef struct trim {
    store_t *space;
    bool     refused; /* somebody is in a look that does not end: nothing more is tried */
} trim_t;

/* Have all looks ended that may reach what was free when this was called? The barrier pairs with look_enter(). */
static bool trim_may(void *context)
{
    trim_t     *trim  = (trim_t *)context;
    store_t    *space = trim->space;
    uint64_t    now   = store_clock();
    trim_wait_t wait  = { now + TRIM_PATIENCE_NS, false };
    if (trim->refused || STORE_LOAD(space_fences) || !trim_membarrier(TRIM_BARRIER)) return false;
    if (now - STORE_LOAD(space->in_vain) < TRIM_IN_VAIN_NS) wait.until = now;
    if (!row_each(space, STORE_ROW_MARKS, trim_outwait, &wait)) wait.failed = true; /* who has a mark that it does not see may look */
    trim->refused = wait.failed;
    if (wait.failed) STORE_STORE(space->in_vain, now);
    return !wait.failed;
}

bool space_trim(store_t *space)
{
    trim_t   trim  = { space, false };
    uint64_t freed = 0;
    uint32_t row, part;
    if (STORE_LOAD(space->frees) == 0 && store_clock() - STORE_LOAD(space->trimmed) < TRIM_NS) return false;
    STORE_STORE(space->frees, 0);
    for (row = STORE_ROW_CELLS; row < space->rows; row++)
        for (part = 0; part < STORE_PARTS && __atomic_load_n(&space->header->parts[row][part], __ATOMIC_ACQUIRE) != 0;
             part++) { /* pairs with row_place() */
            pool_t *pool = row_open(space, row, part, false, NULL);
            if (pool != NULL) freed += pool_trim(pool, trim_may, &trim);
        }
    STORE_STORE(space->trimmed, store_clock());
    return freed > 0;
}
