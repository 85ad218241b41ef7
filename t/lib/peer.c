/* A C program that works on pools together with the Perl tests.
 *
 *     peer count FILE SLOT N     add 1 to an I64 slot, N times
 *     peer churn FILE N          allocate, check, write and free, N times
 *     peer text FILE TEXT        allocate a slot of a Str pool, store the text; prints the slot
 *     peer read FILE SLOT        print the text of a Str slot
 *     peer create FILE N         create an I64 pool of N slots, fill it with squares
 *     peer take FILE             wait for a slot of an I64 pool, up to 30 s; prints it
 *     peer leader FILE           take a slot; then the first thread ends, another stays
 */
#include "pool.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static pool_t *attach(const char *path, uint32_t variant)
{
    pool_spec_t  spec = { variant, 0, 0, 0, 0 };
    pool_error_t error;
    pool_t      *pool = pool_open(path, &spec, &error);
    if (pool == NULL) {
        fprintf(stderr, "%s\n", error.text);
        exit(2);
    }
    return pool;
}

static int count(pool_t *pool, uint64_t slot, long n)
{
    while (n-- > 0) pool_i64_add(pool, slot, 1);
    return 0;
}

static int churn(pool_t *pool, long n)
{
    while (n-- > 0) {
        uint64_t slot;
        if (pool_alloc(pool, INT64_C(30000000000), &slot) != POOL_OK) return 3;
        if (pool_i64_get(pool, slot) != 0 || pool_i64_add(pool, slot, 7) != 7) return 4;
        if (!pool_free(pool, slot)) return 5;
    }
    return 0;
}

static int text(pool_t *pool, const char *string)
{
    uint64_t slot = pool_try_alloc(pool);
    if (slot >= POOL_NOSPC) return 3;
    pool_str_set(pool, slot, string, (uint32_t)strlen(string), true);
    printf("%llu\n", (unsigned long long)slot);
    return 0;
}

static int read_text(pool_t *pool, uint64_t slot)
{
    uint32_t    length;
    bool        utf8;
    const char *string = pool_str_get(pool, slot, &length, &utf8);
    printf("%.*s\n", (int)length, string);
    return utf8 ? 0 : 1;
}

static int create(const char *path, long n)
{
    pool_spec_t  spec = { POOL_I64, (uint64_t)n, 8, 0, 0 };
    pool_error_t error;
    pool_t      *pool = pool_open(path, &spec, &error);
    uint64_t     slot;
    if (pool == NULL) return 2;
    while ((slot = pool_try_alloc(pool)) < POOL_NOSPC) pool_i64_set(pool, slot, (int64_t)(slot * slot));
    return 0;
}

static int take(pool_t *pool)
{
    uint64_t slot;
    if (pool_alloc(pool, INT64_C(30000000000), &slot) != POOL_OK) return 3;
    printf("%llu\n", (unsigned long long)slot);
    return 0;
}

static void *stay(void *nothing)
{
    (void)nothing;
    for (;;) sleep(60);
    return NULL;
}

static int leader(pool_t *pool)
{
    pthread_t thread;
    if (pool_try_alloc(pool) >= POOL_NOSPC || pthread_create(&thread, NULL, stay, NULL) != 0) return 3;
    printf("ready\n");
    fflush(stdout);
    pthread_exit(NULL);
}

int main(int argc, char **argv)
{
    if (argc < 3) return 1;
    if (strcmp(argv[1], "count") == 0) return count(attach(argv[2], POOL_I64), (uint64_t)atol(argv[3]), atol(argv[4]));
    if (strcmp(argv[1], "churn") == 0) return churn(attach(argv[2], POOL_I64), atol(argv[3]));
    if (strcmp(argv[1], "text") == 0) return text(attach(argv[2], POOL_STR), argv[3]);
    if (strcmp(argv[1], "read") == 0) return read_text(attach(argv[2], POOL_STR), (uint64_t)atol(argv[3]));
    if (strcmp(argv[1], "create") == 0) return create(argv[2], atol(argv[3]));
    if (strcmp(argv[1], "take") == 0) return take(attach(argv[2], POOL_I64));
    if (strcmp(argv[1], "leader") == 0) return leader(attach(argv[2], POOL_I64));
    return 1;
}
