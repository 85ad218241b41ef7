/* The search for garbage, and who moves a reference meanwhile from where it has not looked yet
 * to where it has. It happens where the search makes its stack larger. And a recovery, while somebody who
 * destroys a variable is stopped before he has settled what a dead writer of it had left open. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void (*meanwhile)(void);

static void *interrupted_realloc(void *old, size_t bytes)
{
    void (*now)(void) = old != NULL ? meanwhile : NULL; /* it is in the middle of a variable */
    if (now != NULL) {
        meanwhile = NULL;
        now();
    }
    return realloc(old, bytes);
}

/* The library is part of this program; the search is in recover.c. */
#define POOL_IMPLEMENTATION
#include "../../pool.h"
#include "../../pool_grow.h"
#include "../../pool_lock.h"

#include "../../store/array.c"
#include "../../store/cell.c"
#include "../../store/change.c"
#include "../../store/clock.c"
#include "../../store/expiry.c"
#include "../../store/hash.c"
#include "../../store/key.c"
#include "../../store/lock.c"
#include "../../store/look.c"
#include "../../store/queue.c"
#include "../../store/scalar.c"
#include "../../store/space.c"
#include "../../store/store.c"
#include "../../store/table.c"
#include "../../store/tree.c"
#include "../../store/trim.c"

static bool stops_there;

static void stopped_settle(store_t *space, store_record_t *record, store_doomed_t *doomed)
{
    if (stops_there) raise(SIGSTOP);
    change_settle(space, record, doomed);
}

#define change_settle stopped_settle
#include "../../store/var.c"
#undef change_settle

#define realloc interrupted_realloc
#include "../../store/recover.c"
#undef realloc

#include "store_test.h"

#define MANY 1500

static store_t *store;
static bool     moved;

/* The variable of the names, which is looked at first. */
static void names_handle(store_var_t *names)
{
    store_ref_t ref;
    if (!names_ref(store, &ref)) test_die("the variable of the names", "is not there");
    handle_internal(names, store, &ref);
}

static store_value_t get_ref(store_var_t *hash, const char *key)
{
    store_key_t   k = key_of(store, key);
    store_value_t value;
    int           code = store_hash_get(hash, &k, &value, NULL);
    if (code != STORE_OK && code != STORE_MORE) test_die(key, store_strerror(code));
    value.length = 0;
    return value;
}

static store_var_t *get_var(store_var_t *hash, const char *key)
{
    store_value_t value = get_ref(hash, key);
    return var_of(store, &value.number.ref);
}

/* No handle of it is made, which would be seen, too. */
static void move_it(void)
{
    store_key_t   x    = key_of(store, "x");
    store_var_t  *many = var_named(store, STORE_HASH, "%many"), *last = get_var(many, "last"), names;
    store_value_t it = get_ref(last, "x");
    names_handle(&names);
    MUST(store_hash_put(&names, &x, &it, 0));
    MUST(store_hash_delete(last, &x));
    store_release(last);
    store_release(many);
    moved = true;
}

/* Everything that is stored is made, and named, while the search is under way. */
static void make_one(void)
{
    store_var_t *it = var_new(store, STORE_HASH), *below = var_new(store, STORE_HASH), names;
    names_handle(&names);
    MUST(put_int(below, "k", 5));
    MUST(put_ref(it, "below", below));
    MUST(put_ref(&names, "x", it));
    store_release(below);
    store_release(it);
    moved = true;
}

static void survives(void (*what)(void), const char *name)
{
    store_var_t *many, *last, *it, *below, names;
    int64_t      i;
    char         key[32];
    store_key_t  x = key_of(store, "x");
    many           = var_named(store, STORE_HASH, "%many");
    for (i = 0; i < MANY; i++) {
        store_var_t  *inner = var_new(store, STORE_HASH);
        store_key_t   k     = key_number(store, key, i);
        store_value_t to    = ref_to(inner);
        MUST(store_hash_put(many, &k, &to, 0));
        store_release(inner);
    }
    last  = var_new(store, STORE_HASH);
    it    = var_new(store, STORE_HASH);
    below = var_new(store, STORE_HASH);
    MUST(put_int(below, "k", 5));
    MUST(put_ref(it, "below", below));
    store_release(below);
    MUST(put_ref(last, "x", it));
    MUST(put_ref(many, "last", last));
    store_release(last);
    store_release(it);
    store_release(many);
    moved     = false;
    meanwhile = what;
    store_recover(store);
    names_handle(&names);
    it    = moved ? get_var(&names, "x") : NULL;
    below = it != NULL ? get_var(it, "below") : NULL;
    ok(below != NULL && get_int(below, "k", 0) == 5, "%s", name);
    store_release(below);
    store_release(it);
    MUST(store_hash_delete(&names, &x));
    many = var_named(store, STORE_HASH, "%many");
    MUST(store_remove(many, "%many", 5));
    store_release(many);
}

/* Many of one size: they take all places that are free. */
static int64_t put_many(store_var_t *hash, int64_t count, bool check)
{
    int64_t i, good = 0;
    char    key[32];
    for (i = 0; i < count; i++) {
        store_key_t   k     = key_number(store, key, i);
        store_value_t value = store_int(i);
        if (!check) MUST(store_hash_put(hash, &k, &value, 0));
        good += get_int(hash, key, -1) == i;
    }
    return good;
}

/* Dies in the middle of a change, with new elements. */
static void writer_dies(store_var_t *var)
{
    int   status;
    pid_t pid = fork_with(STORE_FORK_GOES_ON);
    if (pid == 0) {
        int64_t i;
        char    key[32];
        MUST(store_begin(var, STORE_FOREVER));
        for (i = 0; i < 20; i++) {
            store_key_t   k     = key_number(store, key, i);
            store_value_t value = store_int(i);
            MUST(store_hash_put(var, &k, &value, 0));
        }
        _exit(0);
    }
    waitpid(pid, &status, 0);
}

/* Who will destroy the variable when it goes on, and is stopped in that once more. */
static pid_t destroyer_of(store_var_t *var)
{
    int   status;
    pid_t pid = fork_with(STORE_FORK_GOES_ON);
    if (pid == 0) {
        store_fork_adopt();
        raise(SIGSTOP);
        stops_there = true;
        store_release(var);
        marks_reap(store); /* that of a dead one may be the last */
        _exit(0);
    }
    waitpid(pid, &status, WUNTRACED);
    return pid;
}

/* Dies with a block that nothing leads to yet. */
static void maker_dies(store_var_t *var)
{
    static const char text[20000];
    int               status, code;
    pid_t             pid = fork_with(STORE_FORK_GOES_ON);
    if (pid == 0) {
        store_key_t   key   = store_key(store, "k", 1, false);
        store_value_t value = store_text(text, sizeof text, false);
        _exit(change_make(var, &key, &value, 0, &code) != 0 ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    if (status != 0) test_die("a block", "was not made");
}

/* Variables are destroyed all the time: where nobody left anything open, no recovery is put off by that. (One element
 * is still there, which he is going to free.) */
static void stopped_for_nothing(void)
{
    store_var_t *var = var_new(store, STORE_HASH), *other = var_new(store, STORE_HASH);
    int          status;
    pid_t        pid = destroyer_of(var);
    uint64_t     made;
    MUST(put_int(var, "one", 1));
    store_release(var);
    kill(pid, SIGCONT);
    waitpid(pid, &status, WUNTRACED);
    maker_dies(other);
    made = space_stats(store).blocks;
    store_recover(store);
    ok(WIFSTOPPED(status) && made > 1 && space_stats(store).blocks == 1, "what the dead had is freed while somebody destroys a variable");
    kill(pid, SIGCONT);
    waitpid(pid, &status, 0);
    store_release(other);
}

/* What the dead one had made is not freed by a recovery, and used by others, while somebody who destroys
 * the variable is about to go through it. */
static void stopped_destroyer(void)
{
    store_var_t  *var = var_new(store, STORE_HASH), *other = var_named(store, STORE_HASH, "%other"), *third;
    store_stats_t before, after;
    int           status;
    int64_t       whole;
    pid_t         pid;
    MUST(put_int(other, "one", 1)); /* it has its first page */
    before = space_stats(store);
    pid    = destroyer_of(var);
    writer_dies(var);
    store_release(var);
    kill(pid, SIGCONT);
    waitpid(pid, &status, WUNTRACED);
    ok(WIFSTOPPED(status), "who destroys a variable is stopped there");
    store_recover(store);
    whole = put_many(other, MANY, false);
    kill(pid, SIGCONT);
    waitpid(pid, &status, 0);
    third = var_new(store, STORE_HASH);
    put_many(third, MANY, false); /* what he has freed is used again */
    ok(whole == MANY && put_many(other, MANY, true) == MANY, "a recovery meanwhile frees nothing that he will come to: others keep theirs");
    store_release(third);
    MUST(store_remove(other, "%other", 6));
    store_release(other);
    store_recover(store);
    after = space_stats(store);
    ok(after.variables == before.variables - 2 && after.attachments == before.attachments - 2 && after.blocks == 0, "then all is freed");
}

int main(void)
{
    store_stats_t stats;
    test_begin();
    store = space_new("garbage");
    survives(move_it, "a reference that is moved during the search keeps its variable");
    survives(make_one, "so does one to a variable that is made meanwhile");
    stopped_destroyer();
    stopped_for_nothing();
    store_recover(store);
    stats = space_stats(store);
    ok(stats.variables == 0 && stats.attachments == 0, "what nothing leads to is found (%" PRIu64 " variables are left)", stats.variables);
    store_remove_all(store, 0);
    store_close(store);
    return test_done();
}
