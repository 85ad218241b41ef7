/* Processes do everything at once and are killed at random, or stopped for a while. A survivor
 * recovers: the bank adds up, each variable is what some change made it, and when all
 * is removed nothing is left. STORE_SECONDS: how long (2). */
#include "store_test.h"

#define WORKERS  8
#define ACCOUNTS 40
#define MONEY    100

static store_t     *store;
static store_var_t *bank, *work, *queue, *counter, *tree, *stamps;

/* From one account to another, in one change. Who has a read lock may meet another who has one
 * and wants the same. */
static void transfer(bool reads)
{
    char           a[32], b[32];
    store_key_t    from = key_number(store, a, (int64_t)dice(ACCOUNTS)), to = key_number(store, b, (int64_t)dice(ACCOUNTS));
    store_value_t  x, y;
    int64_t        sum = (int64_t)dice(20);
    char           text[64];
    store_buffer_t buffer = { text, sizeof text };
    int            code   = AGAIN(store_begin(bank, STORE_FOREVER));
    if (reads && code == STORE_E_DEADLOCK) return;
    MUST(code);
    MUST(store_hash_get(bank, &from, &x, &buffer));
    x.number.i -= sum;
    MUST(store_hash_put(bank, &from, &x, 0));
    MUST(store_hash_get(bank, &to, &y, &buffer));
    y.number.i += sum;
    MUST(store_hash_put(bank, &to, &y, 0));
    dice(8) == 0 ? store_abort(bank) : store_commit(bank);
}

/* Keys come and go, short values and long ones. */
static void churn(void)
{
    static char   text[20000];
    char          name[32];
    store_key_t   key   = key_number(store, name, (int64_t)dice(3000));
    store_value_t value = store_text(text, dice(20) == 0 ? dice(sizeof text) : dice(100), false);
    int           code;
    switch (dice(60)) {
    case 0: MUST(store_hash_clear(work)); return;
    case 1: {
        int i, n = (int)dice(200);
        MUST(store_begin(work, STORE_FOREVER));
        for (i = 0; i < n; i++) {
            key  = key_number(store, name, (int64_t)dice(3000));
            code = dice(2) ? store_hash_put(work, &key, &value, 0) : store_hash_delete(work, &key);
            (void)code;
        }
        dice(2) ? store_abort(work) : store_commit(work);
        return;
    }
    case 2:
    case 3: (void)AGAIN(store_hash_delete(work, &key)); return;
    default: MUST(store_hash_put(work, &key, &value, dice(10) == 0 ? store_clock() + dice(1000000000) : 0));
    }
}

/* A queue whose elements are 1, 2, 3 …: what follows what is checked by who takes. */
static void queueing(void)
{
    store_value_t value, last;
    uint64_t      size;
    MUST(store_begin(queue, STORE_FOREVER));
    MUST(store_array_size(queue, &size));
    if (size < 3000 && dice(2)) {
        int64_t next = 1;
        if (size > 0) {
            MUST(store_array_get(queue, size - 1, &last, NULL));
            next = last.number.i + 1;
        }
        value = store_int(next);
        MUST(store_array_splice(queue, size, 0, &value, 1));
    }
    else if (size > 1)
        MUST(store_array_splice(queue, 0, 1 + dice(2) % size, NULL, 0));
    if (dice(50) == 0 && size > 10) { /* a new tree: the same, after a detour */
        value = store_int(-1);
        MUST(store_array_splice(queue, 3, 0, &value, 1));
        MUST(store_array_splice(queue, 3, 1, NULL, 0));
    }
    dice(8) == 0 ? store_abort(queue) : store_commit(queue);
}

static void count(void)
{
    store_value_t value;
    MUST(store_begin(counter, STORE_FOREVER));
    MUST(store_scalar_get(counter, &value, NULL));
    value = store_int(value.number.i + 1);
    MUST(store_scalar_put(counter, &value));
    store_commit(counter);
}

/* Nested variables come and go. */
static void nest(void)
{
    store_var_t  *outer = var_new(store, STORE_HASH), *inner = var_new(store, STORE_ARRAY);
    char          name[32];
    store_key_t   key = key_number(store, name, (int64_t)dice(50));
    store_value_t to  = ref_to(outer);
    MUST(put_ref(outer, "inner", inner));
    if (dice(4) == 0) { /* a ring */
        store_value_t back = ref_to(outer);
        MUST(store_array_put(inner, 0, &back));
    }
    MUST(store_hash_put(tree, &key, &to, 0));
    store_release(inner);
    store_release(outer);
    if (dice(3) == 0) (void)AGAIN(store_hash_delete(tree, &key));
    if (dice(20) == 0) MUST(store_hash_clear(tree));
}

/* All stamps are the same at any moment. */
static void stamp(void)
{
    store_look_t  look;
    store_value_t value = store_int((int64_t)dice(1000000));
    char          name[32];
    int64_t       i, first = 0;
    int           code;
    if (dice(3) == 0) {
        MUST(store_begin(stamps, STORE_FOREVER));
        if (dice(2)) MUST(store_hash_clear(stamps));
        for (i = 0; i < 20; i++) {
            store_key_t key = key_number(store, name, i);
            MUST(store_hash_put(stamps, &key, &value, 0));
        }
        dice(6) == 0 ? store_abort(stamps) : store_commit(stamps);
        return;
    }
    while ((code = store_look(stamps, true, &look)) == STORE_INTERRUPTED) {}
    if (code != STORE_OK) _exit(20);
    for (i = 0; i < (int64_t)look.count; i++) {
        if (i == 0) first = look.values[0].number.i;
        if (look.values[(uint64_t)i * look.stride].number.i != first) _exit(21);
    }
    if (look.count != 20) _exit(22);
    store_look_free(&look);
}

static void lock(void)
{
    store_var_t *var = dice(2) ? bank : work;
    int          code;
    if (dice(3) == 0) {
        code = AGAIN(store_lock_read(var, store_deadline((int64_t)dice(20) * MS), NULL));
        if (code == STORE_OK && dice(2)) (void)AGAIN(store_lock_write(var, store_deadline((int64_t)dice(20) * MS), NULL));
    }
    else
        code = AGAIN(store_lock_write(var, store_deadline((int64_t)dice(20) * MS), NULL));
    if (code == STORE_OK && dice(4) == 0) transfer(var == bank);
    store_unlock_write(var);
    store_unlock_read(var);
}

static void step(void)
{
    switch (dice(12)) {
    case 0:
    case 1: transfer(false); return;
    case 2: queueing(); return;
    case 3: count(); return;
    case 4: nest(); return;
    case 5:
    case 6: stamp(); return;
    case 7: lock(); return;
    case 8:
        if (dice(100) == 0) store_recover(store);
        return;
    default: churn();
    }
}

static pid_t worker(uint64_t seed)
{
    pid_t pid;
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        alarm(0);
        dice_seed(seed);
        for (;;) step();
    }
    return pid;
}

static int64_t bank_sum(bool *whole)
{
    store_look_t look;
    uint64_t     i;
    int64_t      sum = 0;
    MUST(store_look(bank, true, &look));
    for (i = 0; i < look.count; i++) sum += look.values[i * look.stride].number.i;
    *whole = look.count == ACCOUNTS;
    store_look_free(&look);
    return sum;
}

static bool queue_is_whole(void)
{
    store_look_t look;
    uint64_t     i;
    bool         whole = true;
    MUST(store_look(queue, true, &look));
    for (i = 1; i < look.count; i++)
        if (look.values[i * look.stride].kind != STORE_INT
            || look.values[i * look.stride].number.i != look.values[(i - 1) * look.stride].number.i + 1)
            whole = false;
    store_look_free(&look);
    return whole;
}

/* The children that live all the time die of errors only. */
static bool reap_failed(pid_t pid, int how)
{
    int status = reap(pid);
    if (status == -how) return false;
    printf("# a worker ended with %d\n", status);
    return true;
}

int main(void)
{
    const char   *given = getenv("STORE_SECONDS");
    int64_t       end;
    pid_t         pid[WORKERS];
    int           i, kills = 0, stops = 0, failed = 0;
    store_stats_t before, after;
    bool          whole = true, right = true;
    uint64_t      seed;

    test_begin();
    alarm(given != NULL ? (unsigned)atoi(given) + HUNG : HUNG);
    seed    = test_seed();
    store   = space_new("kill");
    bank    = var_named(store, STORE_HASH, "%bank");
    before  = space_stats(store);
    work    = var_named(store, STORE_HASH, "%work");
    queue   = var_named(store, STORE_ARRAY, "@queue");
    counter = var_named(store, STORE_SCALAR, "$counter");
    tree    = var_named(store, STORE_HASH, "%tree");
    stamps  = var_named(store, STORE_HASH, "%stamps");
    {
        store_value_t zero = store_int(0), money = store_int(MONEY);
        char          name[32];
        MUST(store_scalar_put(counter, &zero));
        for (i = 0; i < ACCOUNTS; i++) {
            store_key_t key = key_number(store, name, i);
            MUST(store_hash_put(bank, &key, &money, 0));
            if (i < 20) MUST(store_hash_put(stamps, &key, &zero, 0));
        }
    }
    before = space_stats(store);
    end    = store_deadline((given != NULL ? atoi(given) : 2) * 1000 * MS);
    for (i = 0; i < WORKERS; i++) pid[i] = worker(++seed);
    while (store_deadline(0) < end || kills < 6) {
        int victim = (int)dice(WORKERS);
        nap_ms((long)dice(8));
        if (dice(4) == 0) {
            kill(pid[victim], SIGSTOP);
            nap_ms((long)dice(10));
            kill(pid[victim], SIGCONT);
            stops++;
            continue;
        }
        kill(pid[victim], SIGKILL);
        failed += reap_failed(pid[victim], SIGKILL);
        kills++;
        if (dice(3) == 0) store_recover(store);
        if (dice(3) == 0) right = bank_sum(&whole) == ACCOUNTS * MONEY && whole && right;
        if (dice(10) == 0) right = queue_is_whole() && right;
        pid[victim] = worker(++seed);
    }
    for (i = 0; i < WORKERS; i++) {
        kill(pid[i], SIGKILL);
        failed += reap_failed(pid[i], SIGKILL);
    }
    ok(kills > 5, "%d processes were killed and %d stopped for a while", kills + WORKERS, stops);
    ok(failed == 0, "none failed");
    ok(right, "the bank added up all the time");
    ok(bank_sum(&whole) == ACCOUNTS * MONEY && whole, "and does at the end");
    ok(queue_is_whole(), "the queue has no gap");
    store_recover(store);
    ok(!store_has_dead(store), "recovered, nothing is left of the dead");
    ok(AGAIN(store_lock_write(bank, store_deadline(0), NULL)) == STORE_OK
           && AGAIN(store_lock_write(work, store_deadline(0), NULL)) == STORE_OK && AGAIN(store_begin(queue, store_deadline(0))) == STORE_OK
           && AGAIN(store_begin(tree, store_deadline(0))) == STORE_OK,
       "no lock is held");
    store_abort(queue);
    store_abort(tree);
    store_unlock_write(bank);
    store_unlock_write(work);
    MUST(store_remove(work, "%work", 5));
    MUST(store_remove(queue, "@queue", 6));
    MUST(store_remove(tree, "%tree", 5));
    store_release(work);
    store_release(queue);
    store_release(tree);
    store_recover(store);
    after = space_stats(store);
    after.variables += 3;
    after.attachments += 3;
    after.bytes_used = before.bytes_used;
    ok(same_use(&before, &after), "with what they stored nothing is left");
    ok(store_recover(store) == 0, "there is nothing to recover");
    store_remove_all(store, 0);
    store_release(bank);
    store_release(counter);
    store_release(stamps);
    store_close(store);
    return test_done();
}
