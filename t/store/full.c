/* A full filesystem is an error that changes nothing; deleting needs no room. Needs to mount. */
#include "store_test.h"

#include <sys/mount.h>

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

int main(void)
{
    char          path[400];
    store_var_t  *hash, *array, *spare;
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
    store_remove_all(store, 0);
    store_close(store);
    ok(umount(path) == 0, "closed, it keeps nothing of the filesystem");
    return test_done();
}
