/* clock.c - the clock of expiry times: see clock.h. */
#include "clock.h"

#include <fcntl.h>
#include <string.h>

int64_t store_deadline(int64_t timeout_ns)
{
    return pool_lock_deadline(timeout_ns);
}

uint64_t store_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* --- what is cheaper to read -------------------------------------------------
 * The processor's own count takes a third of the time of clock_gettime(). It is used only where the
 * kernel itself keeps the time by it: then it is the same on all processors, and goes on while they sleep.
 * A kernel may give it up later, which is rare; it is asked when a namespace is opened, and not again. */
#if defined(__x86_64__)
#define CLOCK_CYCLES UINT64_C(1000000) /* a millisecond at one GHz */

static bool clock_counts; /* by any thread that opens a namespace; where the path is out of reach: false, which is never wrong */

void clock_choose(void)
{
    const char *path    = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    char        text[4] = "";
    int         file    = open(path, O_RDONLY | O_CLOEXEC);
    STORE_STORE(clock_counts, file >= 0 && read(file, text, sizeof text) == 4 && memcmp(text, "tsc\n", 4) == 0);
    if (file >= 0) close(file);
}
#else
void clock_choose(void) {}
#endif

/* A count that rises with time, and by how much it may have risen since the clock was read. */
static inline uint64_t clock_count(uint64_t *fresh)
{
    struct timespec tick;
#if defined(__x86_64__)
    *fresh = CLOCK_CYCLES;
    if (POOL_LIKELY(STORE_LOAD(clock_counts))) return __builtin_ia32_rdtsc();
#endif
    *fresh = 1;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &tick); /* it rises with each tick */
    return (uint64_t)tick.tv_sec * UINT64_C(1000000000) + (uint64_t)tick.tv_nsec;
}

/* --- the tick ----------------------------------------------------------------
 * This process's alone: the clock when it was last read, and the count before that. Threads only raise
 * `last_now`, and store `last_count` after it (release), so who finds a count (acquire) finds a time no older. */
static uint64_t last_now, last_count;

uint64_t store_clock_tick(void)
{
    uint64_t fresh, count = clock_count(&fresh), now, seen;
    if (POOL_LIKELY(count - __atomic_load_n(&last_count, __ATOMIC_ACQUIRE) < fresh))
        return STORE_LOAD(last_now); /* pairs with the release below */
    now  = store_clock();
    seen = STORE_LOAD(last_now);
    while (seen < now && !__atomic_compare_exchange_n(&last_now, &seen, now, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
    __atomic_store_n(&last_count, count, __ATOMIC_RELEASE); /* pairs with the acquire above: without it, an old time with a new count */
    return now;
}

void clock_forget(void)
{
    STORE_STORE(last_count, 0);
    STORE_STORE(last_now, 0);
}

uint64_t store_clock_seen(void)
{
    uint64_t seen = STORE_LOAD(last_now);
    return POOL_LIKELY(seen != 0) ? seen : store_clock_tick();
}

uint64_t store_expires(uint64_t ns)
{
    return (ns < UINT64_C(1000000000) ? store_clock() : store_clock_tick()) + ns;
}
