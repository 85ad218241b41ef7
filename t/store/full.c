/* A full filesystem is an error that changes nothing; deleting needs no room. Needs to mount. */
#include "store_test.h"

static store_t *store;

/* Fill it to the last byte. How many were stored. */
static int64_t fill(store_var_t *hash, uint64_t length, bool *wrong)
{
    static char text[100000];
    char        name[32];
    int64_t     i;
    for (i = 0; i < 10000000; i++) {
        store_key_t   key   = key_number(store, name, i);
        store_value_t value = store_text(text, length, false);
        int           code  = store_hash_put(hash, &key, &value, 0);
        if (code == STORE_E_NOSPC) return i;
        if (code != STORE_OK) *wrong = true;
    }
    return i;
}

/* Elements go out of the middle, others come in their place: is the array what it should be? */
static bool splice_middle(store_var_t *array, uint64_t size)
{
    store_value_t value = store_int(-1), got;
    uint64_t      i, had;
    int           code;
    if (store_array_splice(array, 500, 1, NULL, 0) != STORE_OK) return false;
    MUST(store_begin(array, STORE_FOREVER));
    if (store_array_splice(array, 700, 100, NULL, 0) != STORE_OK) return false;
    if (store_array_splice(array, 300, 2, NULL, 0) != STORE_OK || store_array_splice(array, 0, 1, NULL, 0) != STORE_OK) return false;
    if (store_array_delete(array, 9) != STORE_OK || store_array_resize(array, size - 150) != STORE_OK) return false;
    store_abort(array);
    if (store_array_splice(array, 1, size - 3, NULL, 0) != STORE_OK || store_array_size(array, &had) != STORE_OK || had != 2) return false;
    for (i = 0; i < 2; i++) {
        MUST(store_array_get(array, i, &got, NULL));
        if (got.number.i != (i == 0 ? 0 : (int64_t)size - 1)) return false;
    }
    for (i = 1; i < size - 1; i++) {
        value.number.i = (int64_t)i;
        code           = store_array_splice(array, i, 0, &value, 1);
        if (code != STORE_OK) return code == STORE_E_NOSPC;
    }
    return true;
}

int main(void)
{
    char          path[400];
    store_var_t  *hash, *array, *spare, *middle[3];
    store_value_t value = store_int(5), got;
    uint64_t      count, size;
    int64_t       stored, again, i;
    bool          wrong = false;
    char          name[32];
    store_key_t   key;
    store_error_t err;
    test_begin();
    snprintf(path, sizeof path, "%s", space_path("full"));
    mkdir(path, 0700);
    if (mount("none", path, "tmpfs", 0, "size=6m") != 0) {
        test_skip("cannot mount a filesystem", "a full filesystem");
        return test_done();
    }
    store = store_open(path, NULL, &err);
    if (store == NULL) test_die("store_open", err.text);
    hash  = var_named(store, STORE_HASH, "%hash");
    array = var_named(store, STORE_ARRAY, "@array");
    spare = var_named(store, STORE_SCALAR, "$spare");
    for (i = 0; i < 2000; i++) MUST(push_int(array, i));
    for (i = 0; i < 3; i++) {
        middle[i] = var_new(store, STORE_ARRAY);
        for (size = 0; size < (i == 0 ? 900u : i == 1 ? 1500u : 3000u); size++) MUST(push_int(middle[i], (int64_t)size));
    }
    stored = fill(hash, 300, &wrong);
    ok(stored > 1000 && !wrong, "%" PRId64 " values fit, then there is no room", stored);
    MUST(store_hash_count(hash, &count));
    ok(count == (uint64_t)stored, "what did not fit is not there");
    for (i = 0; i < stored && !wrong; i++) {
        key   = key_number(store, name, i);
        wrong = store_hash_get(hash, &key, &got, NULL) != STORE_MORE || got.length != 300;
    }
    ok(!wrong, "all else is");
    (void)fill(spare != NULL ? hash : NULL, 10, &wrong);
    ok(!wrong, "short values are refused in the end, too");
    value = store_text(name, 20, false);
    ok(store_scalar_put(spare, &value) == STORE_E_NOSPC || store_scalar_get(spare, &got, NULL) == STORE_MORE,
       "so are others, or they are stored");
    for (i = 0; i < (int64_t)(sizeof middle / sizeof middle[0]); i++) {
        uint64_t size_of_it;
        MUST(store_array_size(middle[i], &size_of_it));
        ok(splice_middle(middle[i], size_of_it), "taking elements out of the middle of %" PRIu64 " needs no room", size_of_it);
    }
    ok(store_array_splice(array, 0, 100, NULL, 0) == STORE_OK && store_array_size(array, &size) == STORE_OK && size == 1900,
       "shift needs no room");
    MUST(store_array_resize(array, 1000));
    key = key_number(store, name, 7);
    ok(store_hash_delete(hash, &key) == STORE_OK, "delete needs no room");
    MUST(store_hash_clear(hash));
    ok(store_hash_count(hash, &count) == STORE_OK && count == 0, "clear needs no room");
    again = fill(hash, 300, &wrong);
    ok(again >= stored / 2, "then there is room again (%" PRId64 ")", again);
    MUST(store_remove(hash, "%hash", 5));
    ok(store_recover(store) == 0, "remove needs none");
    store_release(hash);
    store_release(array);
    store_release(spare);
    for (i = 0; i < 3; i++) store_release(middle[i]);
    store_remove_all(store, 0);
    store_close(store);
    ok(filesystem_ends(path), "closed, it keeps nothing of the filesystem");
    return test_done();
}
