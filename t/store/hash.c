/* Hashes against a model in plain memory: one call a change, or many, kept or undone; from
 * one chain to directories of three levels. */
#include "store_test.h"

static store_t *store;

/* The model: number or ABSENT for each of the possible keys. */
#define ABSENT INT64_MIN
#define MOST   30000
static int64_t  model[MOST], undo[MOST];
static uint64_t model_count;

static int64_t next_number;

/* Values of several sizes, so that cells come from several rows; the number is in the text. */
static store_value_t value_of(int64_t number, char text[400])
{
    int length = snprintf(text, 400, "%" PRId64 ":", number), more = number % 7 == 0 ? (int)(number % 300) : (int)(number % 20);
    if (number % 3 == 0) return store_int(number);
    memset(text + length, 'x', (size_t)more);
    return store_text(text, (uint64_t)(length + more), false);
}

static bool is_value(const store_value_t *value, int64_t number)
{
    char          text[400];
    store_value_t want = value_of(number, text);
    if (value->kind != want.kind) return false;
    return want.kind == STORE_INT ? value->number.i == number
                                  : value->length == want.length && memcmp(value->text, want.text, want.length) == 0;
}

static void put(store_var_t *hash, int64_t k)
{
    char          text[400], name[32];
    store_key_t   key   = key_number(store, name, k);
    store_value_t value = value_of(++next_number, text);
    MUST(store_hash_put(hash, &key, &value, 0));
    if (model[k] == ABSENT) model_count++;
    model[k] = next_number;
}

static bool delete (store_var_t *hash, int64_t k)
{
    char        name[32];
    store_key_t key  = key_number(store, name, k);
    int         code = AGAIN(store_hash_delete(hash, &key));
    bool        was  = model[k] != ABSENT;
    if (was) model_count--;
    model[k] = ABSENT;
    return code == (was ? STORE_OK : STORE_ABSENT);
}

static bool get(store_var_t *hash, int64_t k, const int64_t *from)
{
    char           name[32], text[500];
    store_key_t    key    = key_number(store, name, k);
    store_buffer_t buffer = { text, sizeof text };
    store_value_t  value;
    int            code  = AGAIN(store_hash_get(hash, &key, &value, &buffer));
    bool           right = from[k] == ABSENT ? code == STORE_ABSENT : code == STORE_OK && is_value(&value, from[k]);
    if (!right) printf("# key %" PRId64 ": code %d\n", k, code);
    return right;
}

static bool same_count(store_var_t *hash)
{
    uint64_t count;
    if (AGAIN(store_hash_count(hash, &count)) == STORE_OK && count == model_count) return true;
    printf("# count %" PRIu64 ", not %" PRIu64 "\n", count, model_count);
    return false;
}

static int64_t number_of(const char *key, size_t length)
{
    char copy[32];
    if (length >= sizeof copy || length < 5) return -1;
    memcpy(copy, key, length);
    copy[length] = '\0';
    return strtoll(copy + 4, NULL, 10);
}

/* By a look at all of it. */
static bool same_look(store_var_t *hash, int64_t keys)
{
    store_look_t look;
    uint64_t     i;
    bool         right = store_look(hash, true, &look) == STORE_OK && look.count == model_count;
    for (i = 0; right && i < look.count; i++) {
        const store_value_t *key = &look.keys[i * look.stride];
        int64_t              k   = number_of(key->text, key->length);
        right                    = k >= 0 && k < keys && model[k] != ABSENT && is_value(&look.values[i * look.stride], model[k]);
    }
    store_look_free(&look);
    return right;
}

/* From key to key. */
static bool same_walk(store_var_t *hash, int64_t keys)
{
    static uint8_t seen[MOST];
    char           text[2][64];
    store_key_t    key, next;
    uint64_t       count  = 0;
    int            turn   = 0, code;
    store_buffer_t buffer = { text[0], sizeof text[0] };
    memset(seen, 0, (size_t)keys);
    for (code = store_hash_next(hash, NULL, &next, &buffer); code == STORE_OK; code = store_hash_next(hash, &key, &next, &buffer)) {
        int64_t k = number_of(next.bytes, next.length);
        if (k < 0 || k >= keys || seen[k] || model[k] == ABSENT) return false;
        seen[k]      = 1;
        key          = next;
        turn         = !turn;
        buffer.space = text[turn];
        count++;
    }
    if (code != STORE_ABSENT || count != model_count) printf("# walk: code %d, %" PRIu64 " of %" PRIu64 "\n", code, count, model_count);
    return code == STORE_ABSENT && count == model_count;
}

static bool same(store_var_t *hash, int64_t keys)
{
    switch (dice(3)) {
    case 0: return same_count(hash) && same_look(hash, keys);
    case 1: return same_count(hash) && same_walk(hash, keys);
    default: {
        int64_t i, step = keys > 1000 ? keys / 500 : 1;
        for (i = (int64_t)dice((uint64_t)step); i < keys; i += step)
            if (!get(hash, i, model)) return false;
        return same_count(hash);
    }
    }
}

static bool step(store_var_t *hash, int64_t keys)
{
    int64_t k = (int64_t)dice((uint64_t)keys);
    switch (dice(keys > 1000 ? 2000 : 200)) {
    case 0: {
        int64_t i;
        MUST(store_hash_clear(hash));
        for (i = 0; i < keys; i++) model[i] = ABSENT;
        model_count = 0;
        return true;
    }
    case 1:
    case 2: return same(hash, keys);
    default: break;
    }
    if (dice(3) == 0) return delete (hash, k);
    if (dice(3) == 0) return get(hash, k, model);
    put(hash, k);
    return true;
}

static bool batch(store_var_t *hash, store_var_t *other, int64_t keys)
{
    uint64_t count = model_count, steps = 1 + dice(dice(5) != 0 ? 6 : keys < 500 ? (uint64_t)keys : 500);
    bool     kept = dice(2), right = true;
    memcpy(undo, model, (size_t)keys * sizeof model[0]);
    MUST(store_begin(hash, STORE_FOREVER));
    while (right && steps-- > 0) {
        int64_t k = (int64_t)dice((uint64_t)keys);
        right     = step(hash, keys) && get(other, k, undo) && get(hash, k, model);
    }
    right = right && (dice((uint64_t)keys / 20 + 1) != 0 || same(hash, keys));
    if (kept)
        store_commit(hash);
    else {
        store_abort(hash);
        memcpy(model, undo, (size_t)keys * sizeof model[0]);
        model_count = count;
    }
    return right;
}

static void wander(int64_t keys, long rounds)
{
    store_stats_t before = space_stats(store), after;
    store_var_t  *hash   = var_new(store, STORE_HASH), *other;
    store_ref_t   ref    = store_ref_of(hash);
    bool          right  = true;
    long          i;
    int64_t       k;
    for (k = 0; k < keys; k++) model[k] = ABSENT;
    model_count = 0;
    other       = var_of(store, &ref);
    for (i = 0; right && i < rounds; i++) {
        right = dice(10) == 0 ? batch(hash, other, keys) : step(hash, keys);
        if (right && dice(keys < 100 ? 5 : (uint64_t)keys / 4) == 0) right = same(other, keys);
    }
    ok(right && same_look(other, keys) && same_walk(hash, keys),
       "a hash of up to %" PRId64 " keys is what a plain one would be, after %ld steps", keys, i);
    store_release(hash);
    store_release(other);
    after = space_stats(store);
    ok(same_use(&before, &after), "and with its last user it is gone, and all that it took");
}

/* Many elements: each tier of the directory, up to more than 2^20 buckets. */
static void grow(int64_t keys)
{
    store_stats_t before = space_stats(store), after;
    store_var_t  *hash   = var_new(store, STORE_HASH);
    char          name[32];
    store_value_t value;
    uint64_t      count;
    int64_t       i, found = 0;
    for (i = 0; i < keys; i++) {
        store_key_t key = key_number(store, name, i);
        value           = store_int(i);
        MUST(store_hash_put(hash, &key, &value, 0));
    }
    for (i = 0; i < keys; i++) {
        store_key_t key = key_number(store, name, i);
        if (store_hash_get(hash, &key, &value, NULL) == STORE_OK && value.number.i == i) found++;
    }
    MUST(store_hash_count(hash, &count));
    ok(found == keys && count == (uint64_t)keys, "%" PRId64 " keys are all there", keys);
    MUST(store_hash_clear(hash));
    after = space_stats(store);
    ok(after.blocks - before.blocks <= (uint64_t)keys / 512 + 20, "clear leaves the directory alone");
    store_release(hash);
    after = space_stats(store);
    ok(same_use(&before, &after), "the last user takes all of it away");
}

/* An iteration sees each key once that was there all the time, however the hash grows. */
static void walk_while_it_grows(void)
{
    store_var_t   *hash = var_new(store, STORE_HASH);
    char           name[32], text[2][64];
    store_key_t    key, next;
    store_value_t  value  = store_int(1);
    store_buffer_t buffer = { text[0], sizeof text[0] };
    int64_t        i, more = 1000, seen = 0;
    int            code, turn = 0;
    for (i = 0; i < 1000; i++) {
        key = key_number(store, name, i);
        MUST(store_hash_put(hash, &key, &value, 0));
    }
    for (code = store_hash_next(hash, NULL, &next, &buffer); code == STORE_OK; code = store_hash_next(hash, &key, &next, &buffer)) {
        if (number_of(next.bytes, next.length) < 1000) seen++;
        key          = next;
        turn         = !turn;
        buffer.space = text[turn];
        for (i = 0; i < 20; i++, more++) {
            store_key_t fresh = key_number(store, name, more);
            if (more < 20000) MUST(store_hash_put(hash, &fresh, &value, 0));
        }
    }
    ok(seen == 1000, "a walk through a hash that grows twentyfold meets each of the first keys once");
    store_release(hash);
}

/* What looks alike and is not the same key. */
static void keys_apart(void)
{
    store_var_t  *hash = var_new(store, STORE_HASH);
    static char   bytes[70000];
    store_key_t   plain, text, empty, longer, none;
    store_value_t value = store_int(1), got;
    uint64_t      count;
    memset(bytes, 'k', sizeof bytes);
    plain  = store_key(store, "caf\303\251", 5, false);
    text   = store_key(store, "caf\303\251", 5, true);
    empty  = store_key(store, "", 0, false);
    none   = store_key(store, "\0", 1, false);
    longer = store_key(store, bytes, sizeof bytes, false);
    MUST(store_hash_put(hash, &plain, &value, 0));
    ok(store_hash_get(hash, &text, &got, NULL) == STORE_ABSENT, "bytes are not characters");
    value = store_int(2);
    MUST(store_hash_put(hash, &text, &value, 0));
    MUST(store_hash_put(hash, &empty, &value, 0));
    ok(store_hash_get(hash, &none, &got, NULL) == STORE_ABSENT, "a NUL is not nothing");
    value = store_int(3);
    MUST(store_hash_put(hash, &longer, &value, 0));
    MUST(store_hash_count(hash, &count));
    ok(count == 4, "four keys");
    ok(store_hash_get(hash, &plain, &got, NULL) == STORE_OK && got.number.i == 1 && store_hash_get(hash, &text, &got, NULL) == STORE_OK
           && got.number.i == 2,
       "each has its value");
    ok(store_hash_get(hash, &longer, &got, NULL) == STORE_OK && got.number.i == 3, "also a key of %zu bytes", sizeof bytes);
    bytes[sizeof bytes - 1] = 'j';
    ok(store_hash_get(hash, &longer, &got, NULL) == STORE_ABSENT, "which differs from another by its last byte");
    store_release(hash);
}

/* Neighbours are told apart by the bits that name neighbouring buckets, and by no others; what
 * has only its last byte in common is spread like anything else. */
static void keys_nearby(void)
{
    char     name[32];
    uint32_t first = 0, seen = 0, used[16] = { 0 }, most = 0;
    int      i;
    bool     near = true;
    for (i = 0; i < 10; i++) {
        uint32_t hash = store_key(store, name, (uint32_t)snprintf(name, sizeof name, "user%d", 1040 + i), false).hash;
        if (i == 0) first = hash;
        near = near && (hash & 0x0fffffffu) == (first & 0x0fffffffu);
        seen |= 1u << (hash >> 28);
    }
    ok(near && __builtin_popcount(seen) == 10, "keys that follow each other go to buckets side by side, and no two to one");
    for (i = 0; i < 16000; i++) used[store_key(store, name, (uint32_t)snprintf(name, sizeof name, "%d.html", i), false).hash >> 28]++;
    for (i = 0; i < 16; i++)
        if (used[i] > most) most = used[i];
    ok(most < 1500, "keys that end alike are spread over all of them");
}

static int add(store_var_t *hash, const char *name, int64_t delta, int64_t *sum)
{
    store_key_t key = store_key(store, name, (uint32_t)strlen(name), false);
    return AGAIN(store_hash_add(hash, &key, delta, sum));
}

static bool is_int(store_var_t *hash, const char *name, int64_t number)
{
    store_key_t   key = store_key(store, name, (uint32_t)strlen(name), false);
    store_value_t value;
    return AGAIN(store_hash_get(hash, &key, &value, NULL)) == STORE_OK && value.kind == STORE_INT && value.number.i == number;
}

static void sums(void)
{
    store_var_t *hash = var_new(store, STORE_HASH);
    store_key_t  text = store_key(store, "text", 4, false), timed = store_key(store, "timed", 5, false),
                much      = store_key(store, "much", 4, false);
    store_value_t value   = store_text("7", 1, false);
    uint64_t      expires = store_expires(UINT64_C(3600000000000)), then;
    int64_t       sum;

    ok(add(hash, "hits", 3, &sum) == STORE_OK && sum == 3 && is_int(hash, "hits", 3), "what is not there counts as 0");
    ok(add(hash, "hits", -5, &sum) == STORE_OK && sum == -2 && is_int(hash, "hits", -2), "a sum is returned, and stored");
    MUST(store_hash_put(hash, &text, &value, 0));
    ok(add(hash, "text", 1, &sum) == STORE_E_ARGUMENT && !is_int(hash, "text", 8), "to a text nothing is added");
    value = store_int(INT64_MAX);
    MUST(store_hash_put(hash, &much, &value, 0));
    ok(add(hash, "much", 1, &sum) == STORE_E_ARGUMENT && is_int(hash, "much", INT64_MAX), "nor where the sum is too large");
    value = store_int(1);
    MUST(store_hash_put(hash, &timed, &value, expires));
    ok(add(hash, "timed", 1, &sum) == STORE_OK && sum == 2 && store_hash_expiry(hash, &timed, &then) == STORE_OK && then == expires,
       "it vanishes when it would have");
    MUST(store_hash_put(hash, &timed, &value, 1));
    ok(add(hash, "timed", 5, &sum) == STORE_OK && sum == 5, "what has vanished counts as 0");
    MUST(store_begin(hash, STORE_FOREVER));
    MUST(add(hash, "hits", 12, &sum));
    ok(add(hash, "text", 1, &sum) == STORE_E_ARGUMENT && store_is_open(hash), "in an open change, too, which stays open");
    store_abort(hash);
    ok(is_int(hash, "hits", -2), "and is undone with it");
    store_release(hash);
}

int main(void)
{
    test_begin();
    test_seed();
    store = space_new("hash");
    store_release(var_named(store, STORE_HASH, "%first")); /* the variable of names is there */
    keys_apart();
    keys_nearby();
    sums();
    walk_while_it_grows();
    wander(5, ROUNDS(20000));
    wander(40, ROUNDS(20000));
    wander(400, ROUNDS(20000));
    wander(5000, ROUNDS(60000));
    wander(MOST, ROUNDS(60000));
    grow(ROUNDS(1100000));
    store_remove_all(store, 0);
    store_close(store);
    return test_done();
}
