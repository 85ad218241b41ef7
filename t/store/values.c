/* Values of every kind and size, in scalars, hashes and arrays. */
#include "store_test.h"

static store_t *store;
static char    *large; /* bytes to store */
static char    *got;   /* bytes that came back */

#define LARGE (20u << 20)

enum place { SCALAR, HASH, ARRAY };
static const char *const place_name[] = { "a scalar", "a hash", "an array" };
static store_var_t      *var[3];

static int put(enum place place, const store_value_t *value)
{
    store_key_t key = key_of(store, "the key");
    switch (place) {
    case SCALAR: return AGAIN(store_scalar_put(var[place], value));
    case HASH: return AGAIN(store_hash_put(var[place], &key, value, 0));
    default: return AGAIN(store_array_put(var[place], 3, value));
    }
}

static int get(enum place place, store_value_t *value, const store_buffer_t *buffer)
{
    store_key_t key = key_of(store, "the key");
    switch (place) {
    case SCALAR: return AGAIN(store_scalar_get(var[place], value, buffer));
    case HASH: return AGAIN(store_hash_get(var[place], &key, value, buffer));
    default: return AGAIN(store_array_get(var[place], 3, value, buffer));
    }
}

static bool same_value(const store_value_t *a, const store_value_t *b)
{
    if (a->kind != b->kind) return false;
    if (a->kind == STORE_REF) {
        if (memcmp(&a->number.ref, &b->number.ref, sizeof a->number.ref) != 0) return false;
    }
    else if (a->kind != STORE_BYTES && a->kind != STORE_TEXT && a->kind > STORE_TRUE && a->number.u != b->number.u)
        return false;
    if (a->kind < STORE_BYTES) return true;
    return a->length == b->length && (a->length == 0 || memcmp(a->text, b->text, a->length) == 0);
}

static bool there_and_back(enum place place, const store_value_t *value)
{
    store_buffer_t buffer = { got, LARGE + 64 };
    store_value_t  back;
    int            code;
    if (put(place, value) != STORE_OK) return false;
    code = get(place, &back, &buffer);
    if (code == STORE_OK && same_value(value, &back)) return true;
    printf("# kind %u, %" PRIu64 " bytes: code %d, kind %u, %" PRIu64 " bytes\n", value->kind, value->length, code, back.kind, back.length);
    return false;
}

static void kinds(enum place place)
{
    store_var_t         *other = var_new(store, STORE_HASH);
    bool                 right = true;
    store_value_t        value;
    size_t               i;
    static const double  doubles[]  = { 0, -0.0, 1.5, -1e308, 1e-320 };
    static const int64_t integers[] = { 0, -1, INT64_MIN, INT64_MAX };
    for (i = 0; i < 3; i++) {
        value = store_none((uint32_t)i);
        right = there_and_back(place, &value) && right;
    }
    for (i = 0; i < 4; i++) {
        value = store_int(integers[i]);
        right = there_and_back(place, &value) && right;
    }
    for (i = 0; i < 5; i++) {
        value = store_double(doubles[i]);
        right = there_and_back(place, &value) && right;
    }
    value                    = store_none(STORE_UINT);
    value.number.u           = UINT64_MAX;
    right                    = there_and_back(place, &value) && right;
    value                    = store_text("caf\303\251", 5, true);
    right                    = there_and_back(place, &value) && right;
    value                    = store_text("1.50", 4, false);
    value.kind               = STORE_DUAL_DOUBLE;
    value.number.d           = 1.5;
    right                    = there_and_back(place, &value) && right;
    value                    = store_text("0x11", 4, false);
    value.kind               = STORE_DUAL_INT;
    value.number.i           = 17;
    right                    = there_and_back(place, &value) && right;
    value                    = ref_to(other);
    right                    = there_and_back(place, &value) && right;
    value.text               = "Some::Class";
    value.length             = 11;
    right                    = there_and_back(place, &value) && right;
    value.number.ref.is_text = 1;
    right                    = there_and_back(place, &value) && right;
    ok(right, "values of every kind come back from %s as they were stored", place_name[place]);
    store_release(other);
}

static void sizes(enum place place)
{
    uint64_t      size, step;
    bool          right = true;
    store_value_t value;
    for (size = 0; size <= 5000; size += size < 600 ? 1 : 7) {
        value = store_text(large, size, false);
        right = there_and_back(place, &value) && right;
    }
    ok(right, "texts of 0 to 5,000 bytes come back from %s", place_name[place]);
    for (size = 5001, step = 1; size <= LARGE / TEST_PART; size += step, step *= 3) {
        value = store_text(large, size, false);
        right = there_and_back(place, &value) && right;
    }
    value = store_text(large, LARGE / TEST_PART, true);
    right = there_and_back(place, &value) && right;
    ok(right, "and of up to 20 MB");
}

/* A buffer that is too small is told how much it takes, and not written to. */
static void small_buffers(enum place place)
{
    static const uint64_t size[] = { 1, 30, 200, 4096, 100000 };
    char                  space[8];
    store_buffer_t        buffer = { space, 0 };
    store_value_t         value, back;
    bool                  right = true;
    size_t                i;
    memset(space, '!', sizeof space);
    for (i = 0; i < sizeof size / sizeof size[0]; i++) {
        value = store_text(large, size[i], false);
        right = right && put(place, &value) == STORE_OK && get(place, &back, &buffer) == STORE_MORE && back.length == size[i]
                && space[0] == '!';
        buffer.capacity = size[i] > 8 ? 8 : 0;
        right           = right && get(place, &back, &buffer) == STORE_MORE && back.length == size[i] && space[0] == '!';
        right           = right && get(place, &back, NULL) == STORE_MORE;
    }
    ok(right, "a buffer that is too small for what %s has is told so, and left alone", place_name[place]);
}

/* Each store of another size frees what was there. */
static void no_leak(enum place place)
{
    store_value_t value = store_text(large, 1, false);
    store_stats_t before, after;
    int           i;
    MUST(put(place, &value));
    before = space_stats(store);
    for (i = 0; i < ROUNDS(3000); i++) {
        value = store_text(large, dice(4) == 0 ? dice(60000) : dice(300), false);
        MUST(put(place, &value));
    }
    value = store_text(large, 1, false);
    MUST(put(place, &value));
    after = space_stats(store);
    ok(same_use(&before, &after), "%s keeps nothing of what it was", place_name[place]);
}

static void too_large(void)
{
    store_value_t  value  = store_text(large, UINT64_C(1) << 32, false), back;
    store_buffer_t buffer = { got, LARGE };
    store_value_t  small  = store_int(5);
    MUST(put(SCALAR, &small));
    ok(put(SCALAR, &value) == STORE_E_ARGUMENT && put(HASH, &value) == STORE_E_ARGUMENT && put(ARRAY, &value) == STORE_E_ARGUMENT,
       "more than 4 GB is refused");
    ok(get(SCALAR, &back, &buffer) == STORE_OK && back.number.i == 5, "and changes nothing");
    value.kind = STORE_KINDS;
    ok(put(SCALAR, &value) == STORE_E_ARGUMENT && put(HASH, &value) == STORE_E_ARGUMENT, "so is a value of no kind");
}

/* A call for another type is refused, and leaves what is there. */
static void other_type(enum place place)
{
    store_key_t          key    = key_of(store, "the key"), next;
    store_value_t        value  = store_int(7), found;
    const store_buffer_t buffer = { got, LARGE };
    store_sweep_t        sweep  = { 0, 0 };
    uint64_t             number;
    int64_t              sum;
    int                  accepted = 0;
    bool                 its      = false;
    store_array_resize(var[ARRAY], 0);
    put(place, &value);
#define REFUSED(call) accepted += (call) != STORE_E_ARGUMENT
    if (place != SCALAR) {
        REFUSED(store_scalar_get(var[place], &found, &buffer));
        REFUSED(store_scalar_put(var[place], &value));
    }
    if (place != ARRAY) {
        REFUSED(store_array_get(var[place], 0, &found, &buffer));
        REFUSED(store_array_put(var[place], 0, &value));
        REFUSED(store_array_size(var[place], &number));
        REFUSED(store_array_push(var[place], &value, &number));
        REFUSED(store_array_resize(var[place], 0));
        REFUSED(store_array_delete(var[place], 0));
        REFUSED(store_array_splice(var[place], 0, 0, &value, 1));
        REFUSED(store_array_take(var[place], false, &found, &buffer));
    }
    if (place != HASH) {
        REFUSED(store_hash_add(var[place], &key, 1, &sum));
        REFUSED(store_hash_clear(var[place]));
        REFUSED(store_hash_count(var[place], &number));
        REFUSED(store_hash_next(var[place], NULL, &next, &buffer));
        REFUSED(store_hash_expiry(var[place], &key, &number));
        REFUSED(store_hash_expire_after(var[place], 1));
        REFUSED(store_hash_limit(var[place], 1));
        REFUSED(store_hash_sweep(var[place], &sweep));
        REFUSED(store_hash_get(var[place], &key, &found, &buffer));
        REFUSED(store_hash_put(var[place], &key, &value, 0));
        REFUSED(store_hash_delete(var[place], &key));
    }
    its = get(place, &found, &buffer) == STORE_OK && found.kind == STORE_INT && found.number.i == 7;
    ok(accepted == 0, "%s refuses calls for other types (%d it did not)", place_name[place], accepted);
    ok(its && !store_is_open(var[place]), "… and is as it was");
    if (place == HASH) ok(store_hash_count(var[place], &number) == STORE_OK && number == 1, "… with as many elements");
    if (place == ARRAY) ok(store_array_size(var[place], &number) == STORE_OK && number == 4, "… with as many elements");
}

int main(void)
{
    store_stats_t before, after;
    int           place;
    uint64_t      i;
    test_begin();
    test_seed();
    store = space_new("values");
    large = malloc(LARGE);
    got   = malloc(LARGE + 64);
    for (i = 0; i < LARGE; i++) large[i] = (char)(i * 2654435761u >> 13);
    store_release(var_named(store, STORE_HASH, "%first"));
    before      = space_stats(store);
    var[SCALAR] = var_new(store, STORE_SCALAR);
    var[HASH]   = var_new(store, STORE_HASH);
    var[ARRAY]  = var_new(store, STORE_ARRAY);
    for (place = SCALAR; place <= ARRAY; place++) {
        kinds((enum place)place);
        sizes((enum place)place);
        small_buffers((enum place)place);
        no_leak((enum place)place);
    }
    too_large();
    for (place = SCALAR; place <= ARRAY; place++) other_type((enum place)place);
    for (place = SCALAR; place <= ARRAY; place++) store_release(var[place]);
    after = space_stats(store);
    ok(same_use(&before, &after), "all of it is given back");
    store_remove_all(store, 0);
    store_close(store);
    free(large);
    free(got);
    return test_done();
}
