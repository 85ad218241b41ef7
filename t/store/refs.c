/* References, names, and who uses what: variables go when nothing leads to them any more,
 * and not before. */
#include "store_test.h"

static store_t *store;

static void chain_of(int64_t length)
{
    store_stats_t before = space_stats(store), after;
    store_var_t  *first = var_new(store, STORE_HASH), *here = first;
    store_ref_t   ref = store_ref_of(first);
    int64_t       i;
    for (i = 0; i < length; i++) {
        store_var_t  *next = var_new(store, i % 2 == 0 ? STORE_ARRAY : STORE_HASH);
        store_value_t to   = ref_to(next);
        if (i % 2 == 0)
            MUST(put_ref(here, "next", next));
        else
            MUST(store_array_put(here, 0, &to));
        if (here != first) store_release(here);
        here = next;
    }
    store_release(here);
    after = space_stats(store);
    ok(after.variables == before.variables + (uint64_t)length + 1, "a chain of %" PRId64 " variables, held by its beginning", length);
    store_release(first);
    after = space_stats(store);
    ok(same_use(&before, &after), "goes with it");
    ok(var_of(store, &ref) == NULL, "and is not to be had any more");
}

static void wide(int64_t count)
{
    store_stats_t before = space_stats(store), after;
    store_var_t  *top    = var_new(store, STORE_HASH);
    char          name[32];
    int64_t       i;
    for (i = 0; i < count; i++) {
        store_var_t  *one = var_new(store, STORE_HASH);
        store_key_t   key = key_number(store, name, i);
        store_value_t to  = ref_to(one);
        MUST(put_int(one, "id", i));
        MUST(store_hash_put(top, &key, &to, 0));
        store_release(one);
    }
    MUST(store_hash_clear(top));
    after = space_stats(store);
    ok(after.variables == before.variables + 1, "%" PRId64 " hashes in a hash go when that is cleared", count);
    store_release(top);
    after = space_stats(store);
    ok(same_use(&before, &after), "and nothing is left");
}

static void references(void)
{
    store_stats_t before = space_stats(store), after;
    store_var_t  *one = var_new(store, STORE_SCALAR), *holder = var_new(store, STORE_HASH), *again;
    store_value_t value = store_int(42), got;
    store_ref_t   ref   = store_ref_of(one);
    MUST(store_scalar_put(one, &value));
    MUST(put_ref(holder, "a", one));
    MUST(put_ref(holder, "b", one));
    ok(store_references(one) == 2, "two references");
    MUST(put_ref(holder, "a", one));
    ok(store_references(one) == 2, "are two when one is stored again");
    MUST(put_int(holder, "b", 1));
    ok(store_references(one) == 1, "one when the other is overwritten");
    store_release(one);
    again = var_of(store, &ref);
    ok(again != NULL && store_scalar_get(again, &got, NULL) == STORE_OK && got.number.i == 42, "by the last one it is still to be had");
    MUST(store_begin(holder, STORE_FOREVER));
    MUST(put_int(holder, "a", 2));
    store_abort(holder);
    ok(store_references(again) == 1, "a change that is undone takes no reference away");
    MUST(store_begin(holder, STORE_FOREVER));
    MUST(put_ref(holder, "c", again));
    store_abort(holder);
    ok(store_references(again) == 1, "and leaves none behind");
    store_release(again);
    MUST(store_hash_clear(holder));
    ok(var_of(store, &ref) == NULL, "with the last one it is gone");
    {
        store_value_t to  = store_none(STORE_REF);
        store_key_t   key = key_of(store, "gone");
        to.number.ref     = ref;
        ok(store_hash_put(holder, &key, &to, 0) == STORE_E_REMOVED, "and cannot be referred to");
    }
    store_release(holder);
    after = space_stats(store);
    ok(same_use(&before, &after), "nothing is left");
}

static void rings(void)
{
    store_stats_t before = space_stats(store), after;
    store_var_t  *a = var_new(store, STORE_HASH), *b = var_new(store, STORE_ARRAY), *c = var_new(store, STORE_SCALAR),
                *kept = var_new(store, STORE_HASH);
    store_value_t to;
    store_ref_t   ref = store_ref_of(kept);
    MUST(put_ref(a, "b", b));
    to = ref_to(c);
    MUST(store_array_put(b, 0, &to));
    to = ref_to(a);
    MUST(store_scalar_put(c, &to));
    MUST(put_ref(kept, "itself", kept));
    MUST(put_ref(a, "kept", kept));
    store_release(a);
    store_release(b);
    store_release(c);
    after = space_stats(store);
    ok(after.variables == before.variables + 4, "a ring of references keeps itself");
    ok(store_recover(store) > 0, "a recovery finds that nothing leads to it");
    after = space_stats(store);
    ok(after.variables == before.variables + 1, "and leaves what somebody uses");
    ok(store_recover(store) == 0, "there is nothing more");
    store_release(kept);
    ok(store_recover(store) > 0, "until its user has let go, too");
    ok(var_of(store, &ref) == NULL, "then that is gone as well");
    after = space_stats(store);
    ok(same_use(&before, &after), "nothing is left");
}

static void names(void)
{
    store_error_t err;
    store_var_t  *one = var_named(store, STORE_HASH, "%one"), *same = var_named(store, STORE_HASH, "%one"), *other;
    store_ref_t   a = store_ref_of(one), b = store_ref_of(same);
    ok(memcmp(&a, &b, sizeof a) == 0, "a name leads to one variable");
    other = store_declare(store, STORE_ARRAY, "%one", 4, true, &err);
    ok(other == NULL && err.code == STORE_ABSENT, "that has its type");
    ok(store_declare(store, STORE_HASH, "%two", 4, false, &err) == NULL && err.code == STORE_ABSENT, "without `create` there is none");
    ok(store_declare(store, STORE_HASH, "", 0, true, &err) == NULL && err.code == STORE_E_ARGUMENT, "an empty name is none");
    MUST(put_int(one, "k", 5));
    store_release(one);
    store_release(same);
    one = var_named(store, STORE_HASH, "%one");
    ok(get_int(one, "k", -1) == 5, "it stays when nobody uses it");
    same = var_named(store, STORE_HASH, "%one");
    MUST(store_remove(one, "%one", 4));
    ok(store_is_removed(same) && put_int(same, "k", 1) == STORE_E_REMOVED, "one that was removed is so for all");
    other = var_named(store, STORE_HASH, "%one");
    ok(get_int(other, "k", -1) == -1, "and its name is another's");
    store_release(one);
    store_release(same);
    MUST(store_remove(other, "%one", 4));
    store_release(other);
    ok(store_recover(store) == 0, "all was cleared away");
}

static void glances(void)
{
    store_var_t   *outer = var_new(store, STORE_HASH), *inner = var_new(store, STORE_HASH), *var;
    store_glance_t glance;
    store_value_t  value;
    store_key_t    key = key_of(store, "inner"), id = key_of(store, "id");
    store_ref_t    ref;
    MUST(put_int(inner, "id", 7));
    MUST(put_ref(outer, "inner", inner));
    store_release(inner);
    {
        char           text[16];
        store_buffer_t buffer = { text, sizeof text };
        MUST(store_hash_get(outer, &key, &value, &buffer));
    }
    ref = value.number.ref;
    var = store_glance(outer, &ref, &glance);
    ok(var != NULL && store_hash_get(var, &id, &value, NULL) == STORE_OK && value.number.i == 7,
       "a glance reads what a reference leads to");
    ok(store_hash_put(var, &id, &value, 0) == STORE_E_ARGUMENT, "it writes nothing");
    MUST(store_hash_clear(outer));
    ok(store_hash_get(var, &id, &value, NULL) == STORE_E_REMOVED, "and learns when that is gone");
    ok(store_glance(outer, &ref, &glance) == NULL, "after which there is none to be had");
    store_release(outer);
}

/* Two namespaces are two worlds, also of one process; a namespace that goes takes all along. */
static void worlds(void)
{
    store_t      *other = space_new("other"), *again;
    store_var_t  *here = var_named(store, STORE_SCALAR, "$x"), *there = var_named(other, STORE_SCALAR, "$x");
    store_value_t value = store_int(1), got;
    char          path[400];
    MUST(store_scalar_put(here, &value));
    ok(store_scalar_get(there, &got, NULL) == STORE_OK && got.kind == STORE_UNDEF, "a name means something else in another namespace");
    strcpy(path, space_path("other"));
    MUST(store_remove_all(other, 0));
    ok(store_is_closed(other) && access(path, F_OK) != 0, "one that was removed is closed, and not there");
    ok(store_scalar_put(there, &value) == STORE_E_REMOVED, "its variables are gone for who has them");
    again = space_new("other");
    ok(again != other && !store_is_closed(again), "a new one at its place is another");
    MUST(store_remove_all(again, 0));
    store_close(again);
    store_release(there);
    store_close(other);
    MUST(store_remove(here, "$x", 2));
    store_release(here);
}

int main(void)
{
    test_begin();
    store = space_new("refs");
    store_release(var_named(store, STORE_HASH, "%first"));
    references();
    chain_of(ROUNDS(20000));
    wide(ROUNDS(20000));
    rings();
    names();
    glances();
    worlds();
    store_remove_all(store, 0);
    store_close(store);
    return test_done();
}
