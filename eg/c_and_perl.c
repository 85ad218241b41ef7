/* The C half of c_and_perl.pl:  cc -o squares c_and_perl.c pool.c
 *
 *     squares FILE
 *
 * Takes jobs from a pool of 64-bit integers: in each slot with a positive number
 * n, it replaces n by -n*n, with one atomic exchange, so that any number of programs
 * may do this at once. Ends when a slot holds INT64_MAX. */
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include "pool.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

/* One pass over the pool. Returns how many jobs were done; *last is set at the end. */
static int work(pool_t *pool, bool *last)
{
    uint64_t slot;
    int      done = 0;

    for (slot = pool_next_allocated(pool, 0); slot != POOL_NONE; slot = pool_next_allocated(pool, slot + 1)) {
        int64_t number = pool_i64_get(pool, slot);
        bool    ours   = false;
        if (number == INT64_MAX)
            *last = true;
        else if (number > 0)
            pool_i64_cas(pool, slot, number, -number * number, &ours);
        done += ours;
    }
    return done;
}

int main(int argc, char **argv)
{
    const struct timespec pause = { 0, 1000000 };
    pool_spec_t           spec  = { POOL_I64, 0, 0, 0, 0 }; /* attach, whatever its capacity */
    pool_error_t          error;
    pool_t               *pool;
    bool                  last  = false;
    int                   total = 0;

    if (argc != 2 || (pool = pool_open(argv[1], &spec, &error)) == NULL) {
        fprintf(stderr, "%s\n", argc != 2 ? "usage: squares FILE" : error.text);
        return 1;
    }
    while (!last) {
        int done = work(pool, &last);
        total += done;
        if (done == 0) nanosleep(&pause, NULL);
    }
    printf("the C program squared %d numbers in a pool of %" PRIu64 " slots\n", total, pool->capacity);
    pool_close(pool);
    return 0;
}
