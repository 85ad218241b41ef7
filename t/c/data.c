/* What a slot holds: integers, numbers, text. */
#include "test.h"

#include <math.h>

static void i64(void)
{
    pool_t  *pool = anonymous(POOL_I64, 4, 8);
    uint64_t s    = pool_try_alloc(pool);
    bool     done;

    pool_i64_set(pool, s, INT64_MAX);
    ok(pool_i64_add(pool, s, 1) == INT64_MIN, "an I64 add wraps around");
    ok(pool_i64_add(pool, s, -1) == INT64_MAX && pool_i64_get(pool, s) == INT64_MAX, "… both ways");
    ok(pool_i64_xchg(pool, s, -5) == INT64_MAX && pool_i64_get(pool, s) == -5, "xchg writes and returns what was there");
    ok(pool_i64_cas(pool, s, 4, 9, &done) == -5 && !done && pool_i64_get(pool, s) == -5, "a cas of another value changes nothing");
    ok(pool_i64_cas(pool, s, -5, 9, &done) == -5 && done && pool_i64_get(pool, s) == 9, "a cas of the value does");
    ok(pool_i64_cas(pool, s, 9, 10, NULL) == 9 && pool_i64_get(pool, s) == 10, "… and need not say so");
    pool_close(pool);
}

static void i32(void)
{
    pool_t  *pool = anonymous(POOL_I32, 100, 4);
    uint64_t s = pool_try_alloc(pool), neighbour = pool_try_alloc(pool);
    bool     done;

    pool_i32_set(pool, neighbour, 77);
    pool_i32_set(pool, s, INT32_MAX);
    ok(pool_i32_add(pool, s, 1) == INT32_MIN, "an I32 add wraps around");
    ok(pool_i32_add(pool, s, INT32_MIN) == 0, "… by any amount");
    ok(pool_i32_xchg(pool, s, -1) == 0 && pool_i32_get(pool, s) == -1, "xchg writes and returns what was there");
    ok(pool_i32_cas(pool, s, 0, 5, &done) == -1 && !done && pool_i32_cas(pool, s, -1, 5, &done) == -1 && done, "cas");
    ok(pool_i32_get(pool, neighbour) == 77, "the slot beside it is as it was");
    pool_close(pool);
}

static void f64(void)
{
    pool_t  *pool = anonymous(POOL_F64, 4, 8);
    uint64_t s    = pool_try_alloc(pool);
    bool     done;

    ok(pool_f64_add(pool, s, 1.5) == 1.5 && pool_f64_add(pool, s, -0.25) == 1.25, "an F64 adds");
    ok(pool_f64_xchg(pool, s, 8.0) == 1.25 && pool_f64_get(pool, s) == 8.0, "xchg");
    ok(pool_f64_cas(pool, s, 7.0, 1.0, &done) == 8.0 && !done && pool_f64_get(pool, s) == 8.0, "cas of another number");
    ok(pool_f64_cas(pool, s, 8.0, 1.0, &done) == 8.0 && done && pool_f64_get(pool, s) == 1.0, "cas of the number");
    pool_f64_set(pool, s, -0.0);
    ok(pool_f64_cas(pool, s, 0.0, 3.0, &done) == 0.0 && done && pool_f64_get(pool, s) == 3.0, "cas takes -0 for 0, as == does");
    pool_f64_set(pool, s, (double)NAN);
    ok(isnan(pool_f64_cas(pool, s, (double)NAN, 4.0, &done)) && done && pool_f64_get(pool, s) == 4.0, "cas of a NaN finds the same NaN");
    pool_f64_set(pool, s, (double)NAN);
    ok(isnan(pool_f64_cas(pool, s, 4.0, 5.0, &done)) && !done && isnan(pool_f64_get(pool, s)), "… and nothing else does");
    ok(isnan(pool_f64_add(pool, s, 1.0)) && isnan(pool_f64_get(pool, s)), "a NaN stays one");
    pool_f64_set(pool, s, (double)INFINITY);
    ok(isinf(pool_f64_add(pool, s, 1.0)), "and so does infinity");
    pool_close(pool);
}

static void text(void)
{
    enum { MAX = 10 };
    pool_t     *pool = anonymous(POOL_STR, 4, MAX + POOL_STR_HEAD);
    uint64_t    s    = pool_try_alloc(pool);
    uint32_t    len, huge = UINT32_MAX;
    bool        utf8;
    const char *at = pool_str_get(pool, s, &len, &utf8);

    ok(len == 0 && !utf8, "a fresh text is empty");
    pool_str_set(pool, s, "ab\0cd", 5, false);
    at = pool_str_get(pool, s, &len, &utf8);
    ok(len == 5 && memcmp(at, "ab\0cd", 5) == 0 && !utf8, "bytes come back as bytes, zeros included");
    pool_str_set(pool, s, "\xc3\xa4\xe2\x82\xac", 5, true);
    at = pool_str_get(pool, s, &len, &utf8);
    ok(len == 5 && memcmp(at, "\xc3\xa4\xe2\x82\xac", 5) == 0 && utf8, "and characters with their mark");
    pool_str_set(pool, s, "0123456789", MAX, false);
    at = pool_str_get(pool, s, &len, &utf8);
    ok(len == MAX && memcmp(at, "0123456789", MAX) == 0, "the longest text fits");
    memcpy(pool_ptr(pool, s), &huge, sizeof huge);
    pool_str_get(pool, s, &len, &utf8);
    ok(len == MAX, "a length that a peer has scribbled on is never longer than the slot");
    pool_close(pool);
}

typedef struct sum {
    pool_t  *ints, *small, *doubles;
    uint64_t slot;
} sum_t;

static int add_all(void *argument)
{
    const sum_t *sum = argument;
    int          i;
    for (i = 0; i < ROUNDS(50000); i++) {
        pool_i64_add(sum->ints, sum->slot, 3);
        pool_i32_add(sum->small, sum->slot, -1);
        pool_f64_add(sum->doubles, sum->slot, 0.5);
    }
    return 0;
}

static void together(void)
{
    sum_t sum = { anonymous(POOL_I64, 9, 8), anonymous(POOL_I32, 9, 4), anonymous(POOL_F64, 9, 8), 5 };
    pid_t pid[4];
    int   i, failed = 0;
    for (i = 0; i < 4; i++) pid[i] = child(add_all, &sum);
    for (i = 0; i < 4; i++) failed += reap(pid[i]) != 0;
    ok(failed == 0 && pool_i64_get(sum.ints, 5) == 4 * ROUNDS(50000) * 3, "four processes add to one I64: nothing is lost");
    ok(pool_i32_get(sum.small, 5) == -4 * ROUNDS(50000), "… nor of an I32");
    ok(pool_f64_get(sum.doubles, 5) == 4 * ROUNDS(50000) * 0.5, "… nor of an F64");
    pool_close(sum.ints);
    pool_close(sum.small);
    pool_close(sum.doubles);
}

int main(void)
{
    test_begin();
    i64();
    i32();
    f64();
    text();
    together();
    return test_done();
}
