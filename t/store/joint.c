/* One change of several variables: of one process, of processes that are killed at random,
 * for those who look meanwhile, and where two would wait for each other. */
#include "store_test.h"

#define WORKERS 4
#define MONEY   1000
#define KILLS   ROUNDS(200)

static store_t     *store;
static store_var_t *hash, *list, *scalar;

static int64_t in_hash(void)
{
    store_key_t   key   = key_of(store, "money");
    store_value_t value = store_int(0);
    int           code  = AGAIN(store_hash_get(hash, &key, &value, NULL));
    return code == STORE_OK || code == STORE_ABSENT ? value.number.i : -1;
}

static int64_t in_list(void)
{
    store_value_t value = store_int(0);
    int           code  = AGAIN(store_array_get(list, 0, &value, NULL));
    return code == STORE_OK || code == STORE_ABSENT ? value.number.i : -1;
}

static int64_t in_scalar(void)
{
    store_value_t value;
    MUST(store_scalar_get(scalar, &value, NULL));
    return value.kind == STORE_INT ? value.number.i : 0;
}

static void set_hash(int64_t number)
{
    MUST(put_int(hash, "money", number));
}

static void set_list(int64_t number)
{
    store_value_t values[2] = { store_int(number), store_int(number) };
    uint64_t      size;
    MUST(store_array_size(list, &size));
    MUST(store_array_splice(list, 0, size, values, 1 + dice(2)));
}

static void set_scalar(int64_t number)
{
    store_value_t value = store_int(number);
    MUST(store_scalar_put(scalar, &value));
}

static void begin_all(void)
{
    MUST(store_begin_joint(hash, STORE_FOREVER));
    MUST(store_begin_joint(list, STORE_FOREVER));
    MUST(store_begin_joint(scalar, STORE_FOREVER));
}

static void commit_all(void)
{
    store_var_t *all[3] = { scalar, list, hash };
    MUST(store_commit_all(all, 3));
}

static void abort_all(void)
{
    store_abort(hash);
    store_abort(list);
    store_abort(scalar);
}

/* Money goes from one to another; sometimes the third is not touched. */
static void transfer(void)
{
    int64_t sum = (int64_t)dice(50);
    begin_all();
    set_hash(in_hash() - sum);
    if (dice(2)) {
        set_list(in_list() + sum);
        if (dice(3) == 0) set_list(in_list());
    }
    else
        set_scalar(in_scalar() + sum);
    if (in_hash() < 0) {
        set_hash(in_hash() + in_list() + in_scalar());
        set_list(0);
        set_scalar(0);
    }
    dice(6) == 0 ? abort_all() : commit_all();
}

static void alone(void)
{
    store_var_t  *two[2] = { hash, scalar };
    store_stats_t before, stats;
    uint64_t      serial;
    int           i;
    begin_all();
    set_hash(MONEY);
    set_scalar(7);
    ok(in_hash() == MONEY && in_scalar() == 7, "who has it open sees it");
    abort_all();
    ok(in_hash() == 0 && in_scalar() == 0, "given up: nothing of it has happened");
    ok(store_commit_all(two, 2) == STORE_E_ARGUMENT, "what is not open is not committed");
    begin_all();
    set_hash(MONEY);
    serial = store_serial(list);
    set_scalar(0);
    commit_all();
    ok(in_hash() == MONEY && in_scalar() == 0, "committed");
    ok(store_serial(list) == serial, "what nothing was done to has not changed");
    MUST(store_lock_write(hash, STORE_FOREVER, NULL));
    MUST(store_begin_joint(hash, STORE_FOREVER));
    MUST(store_begin_joint(scalar, STORE_FOREVER));
    set_hash(MONEY - 1);
    set_scalar(1);
    MUST(store_commit_all(two, 2));
    ok(in_hash() == MONEY - 1 && in_scalar() == 1, "under a lock by name");
    ok(store_unlock_write(hash), "which stays");
    store_stats(store, &before);
    for (i = 0; i < 3; i++) {
        begin_all();
        set_hash(MONEY - i);
        set_scalar(i);
        commit_all();
    }
    store_stats(store, &stats);
    if (stats.blocks != before.blocks) test_die("a joint change", "leaves something"); /* the rest would take long */
}

static pid_t start(void (*run)(void), uint32_t seed)
{
    pid_t pid;
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        dice_seed(seed + 1);
        for (;;) run();
    }
    return pid;
}

static bool adds_up(void)
{
    bool right;
    begin_all();
    right = in_hash() + in_list() + in_scalar() == MONEY;
    abort_all();
    return right;
}

static void together(void)
{
    pid_t pid[WORKERS];
    bool  right = true;
    int   i, round;
    for (i = 0; i < WORKERS; i++) pid[i] = start(transfer, (uint32_t)i);
    for (round = 0; round < KILLS; round++) {
        i = (int)dice(WORKERS);
        usleep((useconds_t)dice(3000));
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
        right  = adds_up() && right;
        pid[i] = start(transfer, (uint32_t)(round + WORKERS));
        if (round % 20 == 0) store_recover(store);
    }
    for (i = 0; i < WORKERS; i++) {
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
    }
    ok(adds_up() && right, "%d processes are killed: nothing is lost and nothing comes twice", KILLS);
}

static void step(void)
{
    store_var_t *two[2] = { hash, scalar };
    MUST(store_begin_joint(hash, STORE_FOREVER));
    MUST(store_begin_joint(scalar, STORE_FOREVER));
    set_hash(in_hash() + 1);
    set_scalar(in_scalar() + 1);
    MUST(store_commit_all(two, 2));
}

/* Each is as far as the other: whichever is looked at first, the second is not behind it. Writers
 * are killed meanwhile. */
static void looks(void)
{
    enum { LOOKS = 200, STEPS = 6 };
    pid_t   pid[2];
    int     i, round, wrong = 0;
    int64_t before;
    begin_all();
    set_hash(1);
    set_scalar(1);
    commit_all();
    for (i = 0; i < 2; i++) pid[i] = start(step, (uint32_t)i);
    for (round = 0; round < KILLS; round++) {
        before = in_scalar();
        for (i = 0; i < LOOKS || in_scalar() < before + STEPS; i++) {
            int64_t a = in_hash(), b = in_scalar(), c = in_hash(), d = in_scalar();
            if (a > b || b > c || c > d) wrong++;
            if (i >= LOOKS) nap(); /* on a busy machine the writers get their turn late */
        }
        kill(pid[round % 2], SIGKILL);
        waitpid(pid[round % 2], NULL, 0);
        pid[round % 2] = start(step, (uint32_t)round);
    }
    for (i = 0; i < 2; i++) {
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
    }
    ok(wrong == 0 && in_hash() > KILLS * STEPS, "who looks at both without a lock never sees one without the other");
}

/* Two that begin in opposite order: one is told, and the other goes on. */
static void circle(void)
{
    pid_t pid;
    int   status, code, begun[2];
    char  byte;
    if (pipe(begun) != 0) test_die("pipe", strerror(errno));
    alarm(40); /* else they would wait for ever */
    MUST(store_begin_joint(hash, STORE_FOREVER));
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        MUST(store_begin_joint(scalar, STORE_FOREVER));
        if (write(begun[1], "", 1) != 1) _exit(3);
        code = AGAIN(store_begin_joint(hash, STORE_FOREVER));
        _exit(code == STORE_E_DEADLOCK ? 1 : code == STORE_OK ? 0 : 2);
    }
    if (read(begun[0], &byte, 1) != 1) test_die("read", "child");
    close(begun[0]);
    close(begun[1]);
    code = AGAIN(store_begin_joint(scalar, STORE_FOREVER));
    store_abort(scalar);
    store_abort(hash);
    waitpid(pid, &status, 0);
    alarm(HUNG);
    ok(WIFEXITED(status) && WEXITSTATUS(status) + (code == STORE_E_DEADLOCK) == 1, "in opposite order: one of the two is told");
}

int main(void)
{
    store_stats_t stats, before;
    test_begin();
    store  = space_new_with("joint", NULL);
    hash   = var_named(store, STORE_HASH, "%h");
    list   = var_named(store, STORE_ARRAY, "@l");
    scalar = var_named(store, STORE_SCALAR, "$s");
    store_stats(store, &before);
    alone();
    together();
    looks();
    circle();
    MUST(store_hash_clear(hash));
    MUST(store_array_resize(list, 0));
    set_scalar(0);
    store_recover(store);
    store_stats(store, &stats);
    ok(stats.variables == before.variables && stats.blocks <= before.blocks + 1, "all of it is given back");
    store_release(hash);
    store_release(list);
    store_release(scalar);
    store_close(store);
    return test_done();
}
