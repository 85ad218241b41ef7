/* The clock of expiry times: threads that look at it in turns and at once, after naps of all lengths. */
#include "store_test.h"

#include <pthread.h>

#define THREADS 4
#define LOOKS   400

/* At most ten milliseconds late, says store.h; a machine that is itself late with its ticks gets some more. */
#define LATE (50 * MS)

static int64_t latest, ahead; /* atomics: ns, looks */

static void *look(void *argument)
{
    unsigned seed = *(unsigned *)argument;
    int      i;
    for (i = 0; i < LOOKS; i++) {
        uint64_t before = store_clock(), tick = store_clock_tick(), after = store_clock();
        int64_t  late = (int64_t)(before - tick), was = __atomic_load_n(&latest, __ATOMIC_RELAXED);
        if (tick > after) __atomic_fetch_add(&ahead, 1, __ATOMIC_RELAXED);
        while (late > was && !__atomic_compare_exchange_n(&latest, &was, late, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) continue;
        seed = seed * 1103515245u + 12345u;
        if (seed >> 16 & 1) nap_ms((long)(seed >> 17) % 4);
        if (i % 100 == 99) nap_ms(100); /* all of them, for that long nobody looks */
    }
    return NULL;
}

int main(void)
{
    pthread_t thread[THREADS];
    unsigned  seed[THREADS], i;
    uint64_t  first, second;
    store_t  *store;
    test_begin();
    store = space_new("clock"); /* which chooses how the clock is read */
    for (i = 0; i < THREADS; i++) {
        seed[i] = i;
        if (pthread_create(&thread[i], NULL, look, &seed[i]) != 0) test_die("pthread_create", strerror(errno));
    }
    for (i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    ok(latest < LATE, "what the clock was is at the most so many ns late: %lld", (long long)latest);
    ok(ahead == 0, "and never ahead of it (%lld)", (long long)ahead);
    nap_ms(200);
    first = store_clock_tick();
    nap_ms(200);
    second = store_clock_tick();
    ok(second >= first + 200 * MS - LATE && second <= store_clock(), "who does not look for a while sees how long it was");
    store_remove_all(store, 0);
    store_close(store);
    return test_done();
}
