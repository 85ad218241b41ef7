/* Threads that read without a lock while others store, free and use again what they read: all
 * values are whole, and of one moment. Under the thread sanitizer: each access that may
 * meet another is an atomic one. */
#include "store_test.h"

#include <pthread.h>

#define KEYS    40
#define READERS 2
#define WRITERS 2
#define LONGEST 3000

static store_t     *store;
static store_var_t *shared_hash, *shared_array, *shared_scalar;
static int          done, wrong; /* atomics */

static void complain(const char *what)
{
    if (__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED) == 0) printf("# %s\n", what);
}

/* A value that tells when it is torn: all bytes are the same, and say the length. */
static store_value_t uniform(char text[LONGEST], uint64_t *state)
{
    uint64_t length;
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    length = (*state >> 33) % 8 == 0 ? (*state >> 40) % LONGEST : (*state >> 40) % 120;
    memset(text, (int)('a' + length % 26), length);
    return store_text(text, length, false);
}

static bool is_uniform(const store_value_t *value)
{
    uint64_t i;
    for (i = 0; i < value->length; i++)
        if (value->text[i] != (char)('a' + value->length % 26)) return false;
    return value->kind == STORE_BYTES;
}

/* A variable that a reference leads to, with one element: a glance goes there. */
static void put_nested(store_var_t *hash, uint64_t number)
{
    store_var_t *inner = var_new(store, STORE_HASH);
    MUST(put_int(inner, "k", (int64_t)number));
    MUST(put_ref(hash, "inner", inner));
    store_release(inner);
}

static void write_some(store_var_t *hash, store_var_t *array, store_var_t *scalar, uint64_t i, uint64_t *state)
{
    char          name[32], text[LONGEST];
    store_key_t   key   = key_number(store, name, (int64_t)(i % KEYS));
    store_value_t value = uniform(text, state);
    uint64_t      size;
    MUST(store_hash_put(hash, &key, &value, 0));
    MUST(store_scalar_put(scalar, &value));
    if (i % 3 == 0) {
        key = key_number(store, name, (int64_t)(*state >> 20) % KEYS);
        (void)AGAIN(store_hash_delete(hash, &key));
    }
    MUST(store_begin(array, STORE_FOREVER));
    MUST(store_array_size(array, &size));
    MUST(store_array_splice(array, size, 0, &value, 1));
    if (size > 30) MUST(store_array_splice(array, 0, 2, NULL, 0));
    if (i % 16 == 0 && size > 10) MUST(store_array_splice(array, 5, 1, NULL, 0)); /* a new tree */
    store_commit(array);
    if (i % 8 == 0) put_nested(hash, i);
    if (i % 200 == 199) MUST(store_hash_clear(hash));
}

static void *writer(void *argument)
{
    store_error_t err;
    store_var_t  *hash = store_clone(shared_hash, &err), *array = store_clone(shared_array, &err),
                *scalar = store_clone(shared_scalar, &err);
    uint64_t state      = (uint64_t)(uintptr_t)argument, i;
    for (i = 0; !__atomic_load_n(&done, __ATOMIC_RELAXED); i++) write_some(hash, array, scalar, i, &state);
    store_release(hash);
    store_release(array);
    store_release(scalar);
    return NULL;
}

static void read_nested(store_var_t *hash)
{
    store_key_t    key = key_of(store, "inner"), k = key_of(store, "k");
    store_value_t  value;
    store_glance_t glance;
    store_var_t   *inner;
    int            code = store_hash_get(hash, &key, &value, NULL);
    if (code == STORE_MORE) code = STORE_OK; /* no class */
    if (code != STORE_OK || value.kind != STORE_REF) return;
    if ((inner = store_glance(hash, &value.number.ref, &glance)) == NULL) return;
    code = AGAIN(store_hash_get(inner, &k, &value, NULL));
    if (code == STORE_OK && value.kind != STORE_INT) complain("a glance gave something else");
    if (code != STORE_OK && code != STORE_E_REMOVED && code != STORE_E_DAMAGED) complain(store_strerror(code));
}

static void read_all(store_var_t *var)
{
    store_look_t look;
    uint64_t     i;
    MUST(store_look(var, true, &look));
    for (i = 0; i < look.count; i++) {
        const store_value_t *value = &look.values[i * look.stride];
        if (value->kind != STORE_REF && value->kind != STORE_KINDS && !is_uniform(value)) complain("a look gave a torn value");
    }
    store_look_free(&look);
}

static void *reader(void *argument)
{
    store_error_t err;
    store_var_t  *hash = store_clone(shared_hash, &err), *array = store_clone(shared_array, &err),
                *scalar = store_clone(shared_scalar, &err);
    char           name[32], text[LONGEST];
    store_buffer_t buffer = { text, sizeof text };
    store_value_t  value;
    uint64_t       i;
    for (i = 0; !__atomic_load_n(&done, __ATOMIC_RELAXED); i++) {
        store_key_t key = key_number(store, name, (int64_t)(i % KEYS)), next;
        if (AGAIN(store_hash_get(hash, &key, &value, &buffer)) == STORE_OK && !is_uniform(&value)) complain("a hash gave a torn value");
        if (AGAIN(store_array_get(array, i % 30, &value, &buffer)) == STORE_OK && !is_uniform(&value))
            complain("an array gave a torn value");
        if (AGAIN(store_scalar_get(scalar, &value, &buffer)) != STORE_OK || !is_uniform(&value)) complain("a scalar gave a torn value");
        (void)AGAIN(store_hash_next(hash, &key, &next, &buffer));
        read_nested(hash);
        if (i % 16 == 0) read_all(hash);
        if (i % 16 == 8) read_all(array);
    }
    store_release(hash);
    store_release(array);
    store_release(scalar);
    (void)argument;
    return NULL;
}

/* One value that is stored again and again, in memory that was just freed: who reads it is soon
 * at what it has become. */
#define HOT 2000
static void *hot(void *argument)
{
    store_error_t  err;
    store_var_t   *hash  = store_clone(shared_hash, &err);
    bool           reads = argument != NULL;
    char           name[32], text[HOT];
    store_key_t    key    = key_number(store, name, 0);
    store_buffer_t buffer = { text, sizeof text };
    store_value_t  value;
    int            i;
    for (i = 0; !__atomic_load_n(&done, __ATOMIC_RELAXED); i++) {
        if (reads) {
            if (AGAIN(store_hash_get(hash, &key, &value, &buffer)) != STORE_OK)
                complain("the value that is always there was not");
            else if (memcmp(text, text + 1, HOT - 1) != 0)
                complain("the value is torn");
            continue;
        }
        memset(text, 'a' + i % 26, HOT);
        value = store_text(text, HOT, false);
        MUST(store_hash_put(hash, &key, &value, 0));
    }
    store_release(hash);
    return NULL;
}

/* Two threads for a while: one stores, one reads. */
static void hot_pair(long ms)
{
    pthread_t     thread[2];
    char          name[32], text[HOT];
    store_key_t   key   = key_number(store, name, 0);
    store_value_t value = store_text(memset(text, 'a', HOT), HOT, false);
    int           i;
    MUST(store_hash_put(shared_hash, &key, &value, 0));
    for (i = 0; i < 2; i++)
        if (pthread_create(&thread[i], NULL, hot, i == 0 ? NULL : &done) != 0) test_die("pthread_create", strerror(errno));
    nap_ms(ms);
    __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
    for (i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    ok(wrong == 0, "a value that is stored again and again is always there, and whole");
    __atomic_store_n(&done, 0, __ATOMIC_RELAXED);
    MUST(store_hash_delete(shared_hash, &key));
}

int main(void)
{
    pthread_t     thread[READERS + WRITERS];
    const char   *given = getenv("STORE_SECONDS");
    uintptr_t     i;
    uint64_t      stored;
    store_stats_t before, after;
    store_value_t empty = store_text("", 0, false);
    test_begin();
    store = space_new("readers");
    store_release(var_named(store, STORE_HASH, "%first"));
    before        = space_stats(store);
    shared_hash   = var_new(store, STORE_HASH);
    shared_array  = var_new(store, STORE_ARRAY);
    shared_scalar = var_new(store, STORE_SCALAR);
    MUST(store_scalar_put(shared_scalar, &empty));
    hot_pair(500);
    stored = store_serial(shared_hash);
    for (i = 0; i < READERS + WRITERS; i++)
        if (pthread_create(&thread[i], NULL, i < READERS ? reader : writer, (void *)i) != 0) test_die("pthread_create", strerror(errno));
    nap_ms(given != NULL ? atoi(given) * 1000L : 1500);
    while (store_serial(shared_hash) < stored + 100) nap_ms(1); /* on a busy machine that takes its time */
    __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
    for (i = 0; i < READERS + WRITERS; i++) pthread_join(thread[i], NULL);
    ok(wrong == 0, "what %d threads read while %d store is whole", READERS, WRITERS);
    ok(store_serial(shared_hash) >= stored + 100, "they did store (%" PRIu64 " times)", store_serial(shared_hash) - stored);
    store_release(shared_hash);
    store_release(shared_array);
    store_release(shared_scalar);
    after = space_stats(store);
    ok(same_use(&before, &after), "nothing is left");
    store_remove_all(store, 0);
    store_close(store);
    return test_done();
}
