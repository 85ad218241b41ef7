/* Memory that cannot be had: in each operation the first malloc() fails, then the second, …
 * It says so and has changed nothing, or it did without; no lock is left held, nothing is
 * left behind, and whoever fails goes on. */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static long countdown = -1; /* to the one that fails; negative: none does */
static bool failed;         /* it has */

static bool fails(void)
{
    if (countdown < 0 || countdown-- > 0) return false;
    return failed = true;
}
static void *scarce_malloc(size_t bytes)
{
    return fails() ? NULL : malloc(bytes);
}
static void *scarce_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : calloc(count, bytes);
}
static void *scarce_realloc(void *old, size_t bytes)
{
    return fails() ? NULL : realloc(old, bytes);
}
static char *scarce_strdup(const char *text)
{
    return fails() ? NULL : strdup(text);
}

#define malloc  scarce_malloc
#define calloc  scarce_calloc
#define realloc scarce_realloc
#undef strdup
#define strdup scarce_strdup

/* The library is part of this program. */
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
#include "../../store/recover.c"
#include "../../store/scalar.c"
#include "../../store/space.c"
#include "../../store/store.c"
#include "../../store/table.c"
#include "../../store/tree.c"
#include "../../store/trim.c"
#include "../../store/var.c"

#undef malloc
#undef calloc
#undef realloc
#undef strdup

#include "store_test.h"

/* --- the world ------------------------------------------------------------------ */

typedef struct world {
    store_t     *store;
    store_var_t *hash, *array, *scalar;
} world_t;

static char letters[5000];

static int put_number(store_var_t *hash, int64_t number)
{
    char          name[32];
    store_key_t   key   = key_number(store_of(hash), name, number);
    store_value_t value = store_text(letters, 30, false);
    return store_hash_put(hash, &key, &value, 0);
}

static void world_make(world_t *w)
{
    store_value_t long_one = store_text(letters, sizeof letters, false);
    int64_t       i;
    w->store  = space_new("memory");
    w->hash   = var_named(w->store, STORE_HASH, "%hash");
    w->array  = var_new(w->store, STORE_ARRAY);
    w->scalar = var_new(w->store, STORE_SCALAR);
    for (i = 0; i < 12; i++) {
        MUST(put_number(w->hash, i));
        MUST(push_int(w->array, i));
    }
    MUST(store_scalar_put(w->scalar, &long_one));
    MUST(put_ref(w->hash, "array", w->array));
}

/* A sum over all that is there. */
static uint64_t sum_of(store_var_t *var)
{
    store_look_t look;
    uint64_t     i, j, sum;
    MUST(store_look(var, true, &look));
    sum = look.count;
    for (i = 0; i < look.count; i++) {
        const store_value_t *key = look.keys != NULL ? &look.keys[i * look.stride] : NULL, *value = &look.values[i * look.stride];
        uint64_t             one = value->kind * 31 + value->length;
        for (j = 0; key != NULL && j < key->length; j++) one = one * 33 + (uint8_t)key->text[j];
        sum += (one * 7 + (value->kind == STORE_INT ? value->number.u : 0)) * (key != NULL ? 1 : i + 1);
    }
    store_look_free(&look);
    return sum;
}

static uint64_t content(world_t *w)
{
    return sum_of(w->hash) ^ sum_of(w->array) << 20 ^ sum_of(w->scalar) << 40;
}

/* --- operations: true if it did it -------------------------------------------------------- */

static bool o_put(world_t *w)
{
    return put_number(w->hash, 500) == STORE_OK;
}

/* More of one kind than there was place for: another part of its row is opened. */
static bool o_put_many(world_t *w)
{
    int64_t i;
    int     code = store_begin(w->hash, STORE_FOREVER);
    if (code != STORE_OK) return false;
    for (i = 1000; code == STORE_OK && i < 1200; i++) code = put_number(w->hash, i);
    code == STORE_OK ? store_commit(w->hash) : store_abort(w->hash);
    return code == STORE_OK;
}

static bool o_long(world_t *w)
{
    static char   text[400000]; /* more blocks than a part of their row has */
    store_key_t   key   = key_of(w->store, "long");
    store_value_t value = store_text(text, sizeof text, false);
    return store_hash_put(w->hash, &key, &value, 0) == STORE_OK;
}

static bool o_delete(world_t *w)
{
    char        name[32];
    store_key_t key = key_number(w->store, name, 3);
    return store_hash_delete(w->hash, &key) == STORE_OK;
}

static bool o_clear(world_t *w)
{
    return store_hash_clear(w->hash) == STORE_OK;
}

static bool splice_in(world_t *w, uint64_t offset, uint64_t length, uint64_t count)
{
    store_value_t values[40];
    uint64_t      i;
    for (i = 0; i < 40; i++) values[i] = store_text(letters, i * 10, false);
    return store_array_splice(w->array, offset, length, values, count) == STORE_OK;
}
static bool o_splice(world_t *w)
{
    return splice_in(w, 3, 2, 40);
}
static bool o_push(world_t *w)
{
    return splice_in(w, 12, 0, 1);
}
static bool o_far(world_t *w)
{
    store_value_t value = store_int(9);
    return store_array_put(w->array, 5000, &value) == STORE_OK;
}
static bool o_resize(world_t *w)
{
    return store_array_resize(w->array, 0) == STORE_OK;
}
static bool o_scalar(world_t *w)
{
    store_value_t value = store_text(letters, 300, false);
    return store_scalar_put(w->scalar, &value) == STORE_OK;
}

static bool look_at(store_var_t *var)
{
    store_look_t look;
    int          code = store_look(var, true, &look);
    if (code == STORE_OK) store_look_free(&look);
    if (code != STORE_OK && code != STORE_E_SYSTEM) test_die("store_look", store_strerror(code));
    return true;
}
static bool o_looks(world_t *w)
{
    return look_at(w->hash) && look_at(w->array) && look_at(w->scalar);
}

static void visit(const store_listed_t *listed, void *context)
{
    (void)listed;
    ++*(uint64_t *)context;
}

static bool o_list(world_t *w)
{
    uint64_t      count = 0;
    store_stats_t stats;
    (void)store_list(w->store, visit, &count);
    store_stats(w->store, &stats);
    return true;
}

static bool o_handles(world_t *w)
{
    store_error_t err;
    store_ref_t   ref = store_ref_of(w->array);
    store_release(store_new(w->store, STORE_HASH, &err));
    store_release(store_attach(w->store, &ref, &err));
    store_release(store_clone(w->hash, &err));
    store_release(store_declare(w->store, STORE_HASH, "%hash", 5, true, &err));
    return true;
}

static bool o_declare(world_t *w)
{
    store_error_t err;
    store_var_t  *var = store_declare(w->store, STORE_SCALAR, "$new", 4, true, &err);
    if (var != NULL) MUST(store_remove(var, "$new", 4));
    store_release(var);
    return true;
}

/* A hundred variables at once. */
static bool o_variables(world_t *w)
{
    store_var_t  *var[100];
    store_error_t err;
    int           i;
    for (i = 0; i < 100; i++) var[i] = store_new(w->store, STORE_HASH, &err);
    for (i = 0; i < 100; i++) store_release(var[i]);
    return true;
}

static bool o_fork(world_t *w)
{
    pid_t pid;
    (void)w;
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        store_fork_adopt();
        store_release(w->hash);
        store_release(w->array);
        store_release(w->scalar);
        _exit(0);
    }
    return reap(pid) == 0;
}

static bool o_locks(world_t *w)
{
    bool ok = store_lock_read(w->hash, STORE_FOREVER, NULL) == STORE_OK && store_lock_write(w->hash, STORE_FOREVER, NULL) == STORE_OK;
    store_unlock_write(w->hash);
    store_unlock_read(w->hash);
    return ok;
}

/* A ring, and what a dead writer has left. */
static bool o_recover(world_t *w)
{
    long         when = countdown;
    pid_t        pid;
    store_var_t *a, *b;
    countdown = -1;
    a         = var_new(w->store, STORE_HASH);
    b         = var_new(w->store, STORE_HASH);
    MUST(put_ref(a, "b", b));
    MUST(put_ref(b, "a", a));
    store_release(a);
    store_release(b);
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        MUST(store_begin(w->hash, STORE_FOREVER));
        MUST(put_number(w->hash, 777));
        kill(getpid(), SIGKILL);
    }
    reap(pid);
    countdown = when;
    store_recover(w->store);
    return true;
}

static bool o_open(world_t *w)
{
    char          path[400];
    store_error_t err;
    store_t      *store;
    (void)w;
    snprintf(path, sizeof path, "%s", space_path("another"));
    store = store_open(path, NULL, &err);
    if (store == NULL && err.sys_errno != ENOMEM && err.code != STORE_E_SYSTEM) test_die("store_open", err.text);
    countdown = -1;
    if (store == NULL) store = store_open(path, NULL, &err); /* whatever is there by now is whole, or not there */
    if (store == NULL) test_die("store_open", err.text);
    store_remove_all(store, 0);
    store_close(store);
    return true;
}

static const struct {
    const char *name;
    bool (*run)(world_t *);
} operations[] = {
    { "put", o_put },
    { "a batch of puts", o_put_many },
    { "put of a long value", o_long },
    { "delete", o_delete },
    { "clear", o_clear },
    { "splice", o_splice },
    { "push", o_push },
    { "an element far out", o_far },
    { "resize", o_resize },
    { "scalar", o_scalar },
    { "looks", o_looks },
    { "list and statistics", o_list },
    { "handles", o_handles },
    { "declare", o_declare },
    { "a hundred variables", o_variables },
    { "fork", o_fork },
    { "locks", o_locks },
    { "recover", o_recover },
    { "open", o_open },
};

/* May somebody else write it, at once? */
static bool is_free(const store_var_t *var)
{
    store_error_t err;
    store_var_t  *other = store_clone(var, &err);
    bool          right = other != NULL && AGAIN(store_begin(other, store_deadline(0))) == STORE_OK;
    store_release(other);
    return right;
}

/* Returns what is wrong, or NULL. */
static const char *try_at(bool (*run)(world_t *), long k, uint64_t before, uint64_t after)
{
    world_t       w;
    const char   *wrong = NULL;
    bool          did;
    uint64_t      now;
    store_stats_t stats;
    world_make(&w);
    failed    = false;
    countdown = k;
    did       = run(&w);
    countdown = -1;
    if (!is_free(w.hash) || !is_free(w.array) || !is_free(w.scalar)) wrong = "a lock is held";
    if (w.store->header->recovery.holder != 0) wrong = "the lock of recovery is held";
    now = content(&w);
    if (now != (did ? after : before)) wrong = did ? "the content is not the new one" : "something was changed";
    store_recover(w.store);
    if (content(&w) != now) wrong = "a recovery changes the content";
    MUST(store_remove(w.hash, "%hash", 5));
    store_release(w.hash);
    store_release(w.array);
    store_release(w.scalar);
    store_recover(w.store);
    stats = space_stats(w.store);
    if (stats.variables != 0 || stats.attachments != 0 || stats.blocks != 0) wrong = "something is left";
    store_remove_all(w.store, 0);
    store_close(w.store);
    return wrong;
}

static uint64_t content_after(bool (*run)(world_t *), bool really)
{
    world_t  w;
    uint64_t sum;
    world_make(&w);
    if (really && !run(&w)) test_die("an operation", "failed");
    sum = content(&w);
    store_remove_all(w.store, 0);
    store_release(w.hash);
    store_release(w.array);
    store_release(w.scalar);
    store_close(w.store);
    return sum;
}

int main(void)
{
    size_t i;
    test_begin();
    for (i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        uint64_t    before = content_after(operations[i].run, false), after = content_after(operations[i].run, true);
        const char *wrong = NULL;
        long        k;
        for (k = 0, failed = true; failed && wrong == NULL; k++) wrong = try_at(operations[i].run, k, before, after);
        if (wrong != NULL) printf("# allocation %ld: %s\n", k, wrong);
        ok(wrong == NULL, "%s: each of %ld allocations fails", operations[i].name, k - 1);
    }
    return test_done();
}
