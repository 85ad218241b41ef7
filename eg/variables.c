/* The C half of variables.pl:  cc -o measure variables.c pool.c store/(all).c -lpthread
 *
 *     measure NAMESPACE
 *
 * Shares a queue, a hash and a counter with Perl programs that use IPC::Shm: takes words
 * from @main::queue, stores their lengths in %main::length, and counts in $main::done.
 * Ends when the queue has been empty for ten seconds, or with the word "stop". */
#include "store/store.h"

#include <stdio.h>
#include <string.h>

typedef struct shared {
    store_t     *store;
    store_var_t *queue, *length, *done;
} shared_t;

static store_var_t *declare(store_t *store, uint32_t type, const char *name, store_error_t *error)
{
    return store_declare(store, type, name, strlen(name), true, error);
}

static bool open_all(shared_t *shared, const char *path, store_error_t *error)
{
    return (shared->store = store_open(path, NULL, error)) != NULL
           && (shared->queue = declare(shared->store, STORE_ARRAY, "@main::queue", error)) != NULL
           && (shared->length = declare(shared->store, STORE_HASH, "%main::length", error)) != NULL
           && (shared->done = declare(shared->store, STORE_SCALAR, "$main::done", error)) != NULL;
}

/* Take the first word: a look and a removal, which are one change. STORE_ABSENT: there is none. */
static int take(store_var_t *queue, char *word, uint64_t capacity, uint64_t *length)
{
    store_buffer_t buffer = { word, capacity };
    store_value_t  value;
    int            code;
    while ((code = store_begin(queue, STORE_FOREVER)) == STORE_INTERRUPTED) {}
    if (code != STORE_OK) return code;
    code = store_array_get(queue, 0, &value, &buffer);
    if (code == STORE_OK) code = store_array_splice(queue, 0, 1, NULL, 0);
    *length = code == STORE_OK ? value.length : 0;
    if (code == STORE_OK)
        store_commit(queue);
    else
        store_abort(queue);
    return code;
}

/* One more. Nobody comes between the look and the store. */
static int count(store_var_t *counter)
{
    store_value_t value;
    int           code;
    while ((code = store_begin(counter, STORE_FOREVER)) == STORE_INTERRUPTED) {}
    if (code != STORE_OK) return code;
    code  = store_scalar_get(counter, &value, NULL);
    value = store_int(code == STORE_OK && value.kind == STORE_INT ? value.number.i + 1 : 1);
    code  = store_scalar_put(counter, &value);
    if (code == STORE_OK)
        store_commit(counter);
    else
        store_abort(counter);
    return code;
}

static int note(const shared_t *shared, const char *word, uint64_t length)
{
    store_key_t   key   = store_key(shared->store, word, (uint32_t)length, false);
    store_value_t value = store_int((int64_t)length);
    int           code;
    while ((code = store_hash_put(shared->length, &key, &value, 0)) == STORE_INTERRUPTED) {}
    return code == STORE_OK ? count(shared->done) : code;
}

static int work(const shared_t *shared)
{
    char     word[256];
    uint64_t length;
    for (;;) {
        int code = take(shared->queue, word, sizeof word, &length);
        if (code == STORE_ABSENT) {
            code = store_wait_change(shared->queue, store_deadline(INT64_C(10000000000)));
            if (code == STORE_OK || code == STORE_INTERRUPTED) continue;
            return code == STORE_TIMEOUT ? (int)STORE_OK : code;
        }
        if (code != STORE_OK) return code;
        if (length == 4 && memcmp(word, "stop", 4) == 0) return STORE_OK;
        if ((code = note(shared, word, length)) != STORE_OK) return code;
    }
}

int main(int argc, char **argv)
{
    shared_t      shared = { NULL, NULL, NULL, NULL };
    store_error_t error  = { 0, 0, "" };
    int           code;

    if (argc != 2) return fprintf(stderr, "usage: measure NAMESPACE\n"), 2;
    if (!open_all(&shared, argv[1], &error)) return fprintf(stderr, "%s\n", error.text), 1;
    code = work(&shared);
    if (code != STORE_OK) fprintf(stderr, "%s\n", store_strerror(code));
    store_release(shared.done);
    store_release(shared.length);
    store_release(shared.queue);
    store_close(shared.store);
    return code == STORE_OK ? 0 : 1;
}
