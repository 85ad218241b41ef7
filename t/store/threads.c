/* Threads of one process: each with handles of its own, on the same variables. */
#include "store_test.h"

#include <pthread.h>

#define THREADS 4
#define EACH    ROUNDS(4000)

static store_t     *store;
static store_var_t *shared_hash, *shared_array, *shared_scalar;

static void *work(void *argument)
{
    store_error_t err;
    store_var_t  *hash = store_clone(shared_hash, &err), *array = store_clone(shared_array, &err),
                *scalar = store_clone(shared_scalar, &err);
    char           name[32], text[200];
    store_buffer_t buffer = { text, sizeof text };
    store_value_t  value;
    int64_t        me    = *(const int *)argument, i;
    bool           right = hash != NULL && array != NULL && scalar != NULL;
    for (i = 0; right && i < EACH; i++) {
        store_key_t  key = key_number(store, name, i % 100 * THREADS + me);
        store_var_t *mine;
        value = store_int(i);
        right = AGAIN(store_hash_put(hash, &key, &value, 0)) == STORE_OK && AGAIN(store_hash_get(hash, &key, &value, &buffer)) == STORE_OK
                && value.number.i == i;
        MUST(store_begin(scalar, STORE_FOREVER));
        MUST(store_scalar_get(scalar, &value, &buffer));
        value = store_int(value.number.i + 1);
        MUST(store_scalar_put(scalar, &value));
        store_commit(scalar);
        if (i % 8 == 0) {
            store_look_t look;
            MUST(push_int(array, i));
            MUST(store_look(array, true, &look));
            store_look_free(&look);
        }
        if (i % 16 == 0) {
            mine = var_new(store, STORE_HASH);
            MUST(put_int(mine, "k", i));
            MUST(put_ref(hash, "last", mine));
            store_release(mine);
        }
        if (i % 64 == 0) {
            MUST(store_lock_write(hash, STORE_FOREVER, NULL));
            MUST(store_hash_get(hash, &key, &value, &buffer));
            store_unlock_write(hash);
        }
    }
    store_release(hash);
    store_release(array);
    store_release(scalar);
    return right ? NULL : argument;
}

int main(void)
{
    pthread_t     thread[THREADS];
    int           i, number[THREADS], wrong = 0;
    store_stats_t before, after;
    store_value_t zero = store_int(0), sum;
    test_begin();
    store = space_new("threads");
    store_release(var_named(store, STORE_HASH, "%first"));
    before        = space_stats(store);
    shared_hash   = var_new(store, STORE_HASH);
    shared_array  = var_new(store, STORE_ARRAY);
    shared_scalar = var_new(store, STORE_SCALAR);
    MUST(store_scalar_put(shared_scalar, &zero));
    for (i = 0; i < THREADS; i++) {
        number[i] = i;
        if (pthread_create(&thread[i], NULL, work, &number[i]) != 0) test_die("pthread_create", strerror(errno));
    }
    for (i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(thread[i], &result);
        wrong += result != NULL;
    }
    ok(wrong == 0, "%d threads store and fetch", THREADS);
    MUST(store_scalar_get(shared_scalar, &sum, NULL));
    ok(sum.number.i == (int64_t)THREADS * EACH, "none of their increments is lost");
    store_release(shared_hash);
    store_release(shared_array);
    store_release(shared_scalar);
    after = space_stats(store);
    ok(same_use(&before, &after), "nothing is left");
    store_remove_all(store, 0);
    store_close(store);
    return test_done();
}
