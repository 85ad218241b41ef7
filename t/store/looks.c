/* Looks are of one moment, while others assign whole contents; readers of single elements
 * find what some change had made, never a piece of two. */
#include "store_test.h"

static store_t     *store;
static store_var_t *hash, *array, *scalar;
static int         *progress; /* [0]: end; shared */

#define LENGTH 40
#define LOOKS  10 /* of each reader, at least: on a busy machine it has hardly run */

/* Round n: everything is n, in texts of lengths that say it, so a torn one shows. */
static int value_length(int64_t n)
{
    return (int)(n * 37 % 3000);
}

static store_value_t value_for(int64_t n, char *text)
{
    int length = value_length(n);
    memset(text, 'a' + (int)(n % 26), (size_t)length);
    return store_text(text, (uint64_t)length, false);
}

static bool value_is(const store_value_t *value, int64_t n)
{
    uint64_t i;
    if (value->length != (uint64_t)value_length(n)) return false;
    for (i = 0; i < value->length; i++)
        if (value->text[i] != 'a' + (int)(n % 26)) return false;
    return true;
}

/* Which round a value is of: the number is beside it. */
static void assign_all(int64_t n)
{
    char          text[3000], name[32];
    store_value_t value = value_for(n, text), values[LENGTH + 1];
    uint64_t      size;
    int           i, count = 1 + (int)(n % LENGTH);
    store_key_t   key;

    MUST(store_begin(hash, STORE_FOREVER));
    MUST(store_hash_clear(hash));
    for (i = 0; i < count; i++) {
        key = key_number(store, name, i);
        MUST(store_hash_put(hash, &key, &value, 0));
    }
    value = store_int(n);
    key   = key_of(store, "n");
    MUST(store_hash_put(hash, &key, &value, 0));
    store_commit(hash);

    values[0] = store_int(n);
    for (i = 1; i <= count; i++) values[i] = value_for(n, text);
    MUST(store_begin(array, STORE_FOREVER));
    MUST(store_array_size(array, &size));
    MUST(store_array_splice(array, 0, size, values, (uint64_t)count + 1));
    store_commit(array);

    value          = value_for(n, text);
    value.kind     = STORE_DUAL_INT;
    value.number.i = n;
    MUST(store_scalar_put(scalar, &value));
}

static int write_on(int64_t from)
{
    int64_t n;
    for (n = from; !__atomic_load_n(&progress[0], __ATOMIC_RELAXED); n += 2) assign_all(n);
    return 0;
}

/* 0, or which of them was not of one moment. */
static int check_hash(void)
{
    store_look_t look;
    int64_t      n = -1;
    uint64_t     i;
    int          wrong = 0;
    MUST(store_look(hash, true, &look));
    for (i = 0; i < look.count; i++)
        if (look.keys[i * look.stride].length == 1) n = look.values[i * look.stride].number.i;
    if (n < 0 || look.count != 2 + (uint64_t)(n % LENGTH)) wrong = 1;
    for (i = 0; i < look.count && !wrong; i++)
        if (look.keys[i * look.stride].length != 1 && !value_is(&look.values[i * look.stride], n)) wrong = 2;
    store_look_free(&look);
    return wrong;
}

static int check_array(void)
{
    store_look_t look;
    uint64_t     i;
    int          wrong = 0;
    MUST(store_look(array, true, &look));
    if (look.count == 0 || look.values[0].kind != STORE_INT || look.count != 2 + (uint64_t)(look.values[0].number.i % LENGTH)) wrong = 3;
    for (i = 1; i < look.count && !wrong; i++)
        if (!value_is(&look.values[i * look.stride], look.values[0].number.i)) wrong = 4;
    store_look_free(&look);
    return wrong;
}

static int check_elements(void)
{
    char           space[3100], name[32];
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value;
    store_key_t    key = key_number(store, name, 0);
    uint64_t       i;
    int            code = AGAIN(store_hash_get(hash, &key, &value, &buffer));
    if (code != STORE_OK) return 5; /* it is in every round */
    for (i = 1; i < value.length; i++)
        if (space[i] != space[0]) return 6;
    MUST(store_scalar_get(scalar, &value, &buffer));
    if (!value_is(&value, value.number.i)) return 7;
    code = AGAIN(store_array_get(array, 1, &value, &buffer));
    if (code != STORE_OK) return 8;
    for (i = 1; i < value.length; i++)
        if (space[i] != space[0]) return 9;
    return 0;
}

static int check_glance(void)
{
    store_ref_t    ref = store_ref_of(scalar);
    store_glance_t glance;
    store_var_t   *var = store_glance(hash, &ref, &glance);
    char           space[3100];
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value;
    if (var == NULL || AGAIN(store_scalar_get(var, &value, &buffer)) != STORE_OK) return 10;
    return value_is(&value, value.number.i) ? 0 : 11;
}

static int check_walk(void)
{
    char           text[2][64];
    store_key_t    key, next;
    store_buffer_t buffer = { text[0], sizeof text[0] };
    int            turn = 0, code, count = 0;
    for (code = AGAIN(store_hash_next(hash, NULL, &next, &buffer)); code == STORE_OK && count < 1000;
         code = AGAIN(store_hash_next(hash, &key, &next, &buffer))) {
        if (count > 0 && next.length == key.length && memcmp(next.bytes, key.bytes, key.length) == 0) return 12;
        key          = next;
        turn         = !turn;
        buffer.space = text[turn];
        count++;
    }
    return code == STORE_ABSENT && count <= LENGTH + 1 ? 0 : 13;
}

static int read_on(void)
{
    int wrong = 0, rounds;
    for (rounds = 0; !wrong && (rounds < LOOKS || !__atomic_load_n(&progress[0], __ATOMIC_RELAXED)); rounds++) {
        if (!wrong) wrong = check_hash();
        if (!wrong) wrong = check_array();
        if (!wrong) wrong = check_elements();
        if (!wrong) wrong = check_glance();
        if (!wrong) wrong = check_walk();
    }
    __atomic_fetch_add(&progress[1], rounds, __ATOMIC_RELAXED);
    return wrong;
}

/* Growing hashes, by a reader that must always find what was always there. */
static int grow_on(void)
{
    char          name[32];
    store_value_t value = store_int(1);
    int64_t       i;
    while (!__atomic_load_n(&progress[0], __ATOMIC_RELAXED)) {
        store_var_t *fresh = var_named(store, STORE_HASH, "%growing");
        for (i = 0; i < 5000 && !__atomic_load_n(&progress[0], __ATOMIC_RELAXED); i++) {
            store_key_t key = key_number(store, name, i);
            MUST(store_hash_put(fresh, &key, &value, 0));
        }
        if (AGAIN(store_remove(fresh, "%growing", 8)) != STORE_OK) return 15;
        store_release(fresh);
    }
    return 0;
}

static int find_on(void)
{
    char          name[32];
    store_value_t value = store_int(1);
    int64_t       i, seen;
    while (!__atomic_load_n(&progress[0], __ATOMIC_RELAXED)) {
        store_var_t *fresh = var_named(store, STORE_HASH, "%growing");
        int          code  = STORE_OK;
        uint64_t     count;
        for (seen = 0; code == STORE_OK && !__atomic_load_n(&progress[0], __ATOMIC_RELAXED);) {
            store_key_t key;
            if ((code = AGAIN(store_hash_count(fresh, &count))) != STORE_OK) break;
            if ((int64_t)count > seen) seen = (int64_t)count;
            if (seen == 0) continue;
            i   = (int64_t)dice((uint64_t)seen);
            key = key_number(store, name, i);
            if ((code = AGAIN(store_hash_get(fresh, &key, &value, NULL))) == STORE_ABSENT) return 17;
        }
        if (code != STORE_OK && code != STORE_E_REMOVED) return 18;
        store_release(fresh);
    }
    return 0;
}

static pid_t start(int what)
{
    pid_t pid;
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        dice_seed((uint64_t)getpid());
        _exit(what == 0 ? write_on(0) : what == 1 ? write_on(1) : what == 2 ? read_on() : what == 3 ? grow_on() : find_on());
    }
    return pid;
}

int main(void)
{
    pid_t pid[6];
    int   i, what[6] = { 0, 1, 2, 2, 3, 4 }, wrong = 0;
    test_begin();
    progress = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    store    = space_new("looks");
    hash     = var_named(store, STORE_HASH, "%hash");
    array    = var_named(store, STORE_ARRAY, "@array");
    scalar   = var_named(store, STORE_SCALAR, "$scalar");
    assign_all(0);
    for (i = 0; i < 4; i++) pid[i] = start(what[i]);
    nap_ms(3000 / TEST_PART);
    __atomic_store_n(&progress[0], 1, __ATOMIC_RELAXED);
    for (i = 0; i < 4; i++) {
        int status = reap(pid[i]);
        if (status != 0) wrong = status;
    }
    ok(wrong == 0, "each look was of one moment (%d)", wrong);
    ok(progress[1] >= 2 * LOOKS, "%d of them, while two others assigned whole contents", progress[1]);
    __atomic_store_n(&progress[0], 0, __ATOMIC_RELAXED);
    wrong = 0;
    for (i = 4; i < 6; i++) pid[i] = start(what[i]);
    nap_ms(2000 / TEST_PART);
    __atomic_store_n(&progress[0], 1, __ATOMIC_RELAXED);
    for (i = 4; i < 6; i++) {
        int status = reap(pid[i]);
        if (status != 0) wrong = status;
    }
    ok(wrong == 0, "what is in a hash is found while it grows, and until it is removed (%d)", wrong);
    store_release(hash);
    store_release(array);
    store_release(scalar);
    store_remove_all(store, 0);
    store_close(store);
    return test_done();
}
