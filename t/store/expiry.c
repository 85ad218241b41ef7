/* Elements that vanish, and hashes of a limited number of elements. */
#include "store_test.h"

#include <sys/syscall.h>

static store_t *store;

/* The time by which elements vanish, in ms: it stands still until the test says how much of it has passed. */
static int64_t passed = 1000000;

int clock_gettime(clockid_t id, struct timespec *now)
{
    if (id != CLOCK_BOOTTIME && id != CLOCK_MONOTONIC_COARSE) return (int)syscall(SYS_clock_gettime, id, now);
    now->tv_sec  = (time_t)(passed / 1000);
    now->tv_nsec = (long)(passed % 1000 * MS);
    return 0;
}

/* The library may look at the clock only once in a millisecond of the machine's. */
static void pass(int64_t ms)
{
    passed += ms;
    nap_ms(2);
}

static int put_for(store_var_t *hash, int64_t k, int64_t ms)
{
    char          name[32];
    store_key_t   key   = key_number(store, name, k);
    store_value_t value = store_int(k);
    return AGAIN(store_hash_put(hash, &key, &value, ms == 0 ? 0 : store_clock() + (uint64_t)(ms * MS)));
}

static bool there(store_var_t *hash, int64_t k)
{
    char          name[32];
    store_key_t   key = key_number(store, name, k);
    store_value_t value;
    return AGAIN(store_hash_get(hash, &key, &value, NULL)) == STORE_OK && value.number.i == k;
}

static uint64_t count_of(store_var_t *hash)
{
    uint64_t count = 0;
    MUST(store_hash_count(hash, &count));
    return count;
}

static uint64_t sweep(store_var_t *hash)
{
    store_sweep_t result = { 0, 0 };
    MUST(store_hash_sweep(hash, &result));
    return result.freed;
}

static void vanishing(void)
{
    store_var_t  *hash = var_new(store, STORE_HASH);
    store_stats_t before, unswept, after;
    store_look_t  look;
    store_key_t   key;
    char          name[32];
    uint64_t      at, freed;
    int64_t       i;
    MUST(put_for(hash, 0, 0));
    before = space_stats(store);
    for (i = 1; i <= 100; i++) MUST(put_for(hash, i, i <= 50 ? 60000 : 150));
    pass(149);
    ok(there(hash, 1) && there(hash, 100) && count_of(hash) == 101, "elements with a time are there in that time");
    key = key_number(store, name, 3);
    ok(store_hash_expiry(hash, &key, &at) == STORE_OK && at > store_clock() && at <= store_clock() + (uint64_t)(60000 * MS),
       "which is told");
    key = key_number(store, name, 0);
    ok(store_hash_expiry(hash, &key, &at) == STORE_OK && at == 0, "one without has none");
    pass(2);
    ok(there(hash, 50) && !there(hash, 51) && !there(hash, 100), "and not after it");
    ok(count_of(hash) == 51, "they do not count");
    MUST(store_look(hash, true, &look));
    ok(look.count == 51, "are not seen");
    store_look_free(&look);
    key = key_number(store, name, 77);
    ok(AGAIN(store_hash_delete(hash, &key)) == STORE_ABSENT, "cannot be deleted");
    MUST(put_for(hash, 78, 0));
    ok(there(hash, 78) && count_of(hash) == 52, "but stored anew");
    unswept = space_stats(store);
    freed   = sweep(hash);
    after   = space_stats(store);
    /* A store looks at four buckets, of which each has at most one of a decade of keys: 51 to 100 are of six. */
    ok(freed >= 48 - 4 * 6 && freed <= 48, "a sweep frees those that no store has met (%" PRIu64 ")", freed);
    ok(unswept.blocks - after.blocks == freed, "… each of them (%" PRIu64 " blocks)", unswept.blocks - after.blocks);
    ok(sweep(hash) == 0, "… so that another one finds none");
    MUST(store_hash_clear(hash));
    MUST(put_for(hash, 0, 0));
    after = space_stats(store);
    ok(after.blocks <= before.blocks + 3, "nothing is left but the directory");
    store_release(hash);
}

/* Others store while one sweeps: it is many changes, also where there is nothing to free. */
static void changes_of_sweep(void)
{
    enum { MANY = 20000 };
    store_var_t *hash = var_new(store, STORE_HASH);
    uint64_t     serial, first;
    int64_t      i;
    for (i = 0; i < MANY; i++) MUST(put_for(hash, i, i % 2 == 0 ? 60000 : 150));
    pass(151);
    serial = store_serial(hash);
    MUST(store_begin(hash, STORE_FOREVER));
    first = sweep(hash);
    ok(store_serial(hash) == serial, "a sweep in an open change is part of that");
    store_abort(hash);
    serial = store_serial(hash);
    ok(sweep(hash) == first && first > MANY / 2 - 100, "undone, it is there to be done again (%" PRIu64 ")", first);
    ok(store_serial(hash) > serial + MANY / 2 / 200, "a sweep is many changes (%" PRIu64 ")", store_serial(hash) - serial);
    ok(count_of(hash) == MANY / 2, "that leave what stays");
    store_release(hash);
}

static void ring(int signal)
{
    (void)signal;
}

/* A signal arrives while a sweep waits for another: what it has freed before counts, and it goes on where it was. */
static void interrupted_sweep(void)
{
    enum { MANY = 20000 };
    store_var_t  *hash = var_new(store, STORE_HASH);
    store_sweep_t part = { 5, MANY / 2 };
    int64_t       i;
    int           holds[2], code;
    pid_t         holder;
    char          byte = 0;
    for (i = 0; i < MANY; i++) MUST(put_for(hash, i, 150));
    pass(151);
    signal(SIGUSR1, ring);
    if (pipe(holds) != 0) test_die("pipe", "failed");
    if ((holder = fork_with(STORE_FORK_GOES_ON)) == 0) {
        MUST(store_begin(hash, STORE_FOREVER));
        if (write(holds[1], &byte, 1) != 1) _exit(1);
        nap_ms(50);
        kill(getppid(), SIGUSR1);
        nap_ms(60000);
        _exit(1);
    }
    if (read(holds[0], &byte, 1) != 1) test_die("read", "failed");
    code = store_hash_sweep(hash, &part);
    ok(code == STORE_INTERRUPTED && part.freed == 5 && part.place == MANY / 2, "a sweep that waits is interrupted");
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
    MUST(store_hash_sweep(hash, &part));
    ok(part.freed > 5 && part.freed < MANY, "it goes on where it was (%" PRIu64 ")", part.freed);
    ok(sweep(hash) > MANY / 10, "… not from the beginning");
    close(holds[0]);
    close(holds[1]);
    store_release(hash);
}

/* Stores clear away what has vanished, without anybody sweeping. */
static void in_passing(void)
{
    store_var_t  *hash = var_new(store, STORE_HASH);
    store_stats_t early, late;
    int64_t       i;
    for (i = 0; i < 2000; i++) MUST(put_for(hash, i, 500));
    early = space_stats(store);
    pass(501);
    for (i = 0; i < 6000; i++) MUST(put_for(hash, 10000 + i % 100, 60000));
    late = space_stats(store);
    ok(late.blocks < early.blocks / 2, "stores free what has vanished (%" PRIu64 " blocks, before %" PRIu64 ")", late.blocks, early.blocks);
    store_release(hash);
}

static void defaults(void)
{
    store_var_t *hash = var_new(store, STORE_HASH);
    MUST(store_hash_expire_after(hash, (uint64_t)(100 * MS)));
    MUST(put_for(hash, 1, 0));
    MUST(put_for(hash, 2, 60000));
    ok(there(hash, 1), "a hash has a default");
    pass(101);
    ok(!there(hash, 1) && there(hash, 2), "that an element of its own time does not care for");
    MUST(store_hash_expire_after(hash, 0));
    MUST(put_for(hash, 1, 0));
    pass(101);
    ok(there(hash, 1), "it can be taken back");
    store_release(hash);
}

static void limits(void)
{
    store_var_t  *hash = var_new(store, STORE_HASH);
    store_stats_t early, late;
    int64_t       i, round, kept = 0;
    MUST(store_hash_limit(hash, 100));
    for (i = 0; i < 100; i++) MUST(put_for(hash, i, 0));
    early = space_stats(store);
    ok(count_of(hash) == 100, "as many as the limit says");
    MUST(put_for(hash, 100, 0)); /* of those that were only stored, any has to go */
    for (round = 0; round < 5; round++) (void)there(hash, round);
    for (round = 0; round < 5; round++) MUST(put_for(hash, round, 0));
    for (i = 101; i < 5000; i++) {
        MUST(put_for(hash, i, 0));
        for (round = 0; round < 5; round++) (void)there(hash, round);
        if (count_of(hash) > 100) break;
    }
    ok(i == 5000 && count_of(hash) == 100, "are there, and never more");
    late = space_stats(store);
    ok(late.blocks <= early.blocks + 2, "nor is there memory for more");
    for (round = 0; round < 5; round++) kept += there(hash, round);
    ok(kept >= 4, "those that are used all the time stay (%" PRId64 " of 5)", kept);
    MUST(store_hash_limit(hash, 10));
    ok(count_of(hash) == 10, "a lower limit takes the others away");
    MUST(store_begin(hash, STORE_FOREVER));
    for (i = 0; i < 20; i++) MUST(put_for(hash, 9000 + i, 0));
    store_abort(hash);
    ok(count_of(hash) == 10, "a change that is undone took nothing away");
    store_release(hash);
}

int main(void)
{
    store_stats_t before, after;
    test_begin();
    store = space_new("expiry");
    store_release(var_named(store, STORE_HASH, "%first"));
    before = space_stats(store);
    vanishing();
    changes_of_sweep();
    interrupted_sweep();
    in_passing();
    defaults();
    limits();
    after = space_stats(store);
    ok(same_use(&before, &after), "nothing is left");
    store_remove_all(store, 0);
    store_close(store);
    return test_done();
}
