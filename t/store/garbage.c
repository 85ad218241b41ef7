/* The search for garbage, and who moves a reference meanwhile from where it has not looked yet
 * to where it has. It happens where the search makes its stack larger. */
#define _GNU_SOURCE
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
#include "../../store/var.c"

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

int main(void)
{
    store_stats_t stats;
    test_begin();
    store = space_new("garbage");
    survives(move_it, "a reference that is moved during the search keeps its variable");
    survives(make_one, "so does one to a variable that is made meanwhile");
    store_recover(store);
    stats = space_stats(store);
    ok(stats.variables == 0 && stats.attachments == 0, "what nothing leads to is found (%" PRIu64 " variables are left)", stats.variables);
    store_remove_all(store, 0);
    store_close(store);
    return test_done();
}
