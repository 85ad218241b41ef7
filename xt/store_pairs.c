/*
 * store_pairs.c - two processes meet in one variable (x86-64).
 *
 * One is held after k accesses to shared memory, loads as well as stores; another does all
 * of its operation, or is found waiting; what is free is used again; then the first goes on.
 * What each of them has seen, what there is in the end, and how many pieces of memory that
 * takes must be explained by some order in which one came after the other. So for each k, and
 * for each pair in both roles. Where one of the two only reads, nobody may wait.
 *
 * The same with a first one that is killed there: the other one finishes; a recovery, and
 * nothing is left.
 *
 * And those that only look, held while all that they look at is freed, its memory is given back to
 * a filesystem that is full, and something else gets it. They have to survive that.
 *
 *     store_pairs [part of a name]
 *
 * STORE_PAIR_PLACES: at how many accesses (15; others in each run), 0: at all.
 */
#include "store_world.h"

/* --- what they do --------------------------------------------------------------------- */

/* Each is atomic by itself; the result is what the caller sees of it. */
typedef uint64_t act_fn(world_t *w);

enum { MOST_ACTS = 3 };

typedef struct pair {
    const char *name;
    void (*prepare)(world_t *w);
    act_fn *one[MOST_ACTS + 1], *other[MOST_ACTS + 1];
    bool    reads; /* one of them only reads */
} pair_t;

static uint64_t result(int code)
{
    return (uint64_t)(uint32_t)code + 1;
}

static uint64_t put(world_t *w, int key_of_it, uint64_t length)
{
    char          name[32];
    store_key_t   key   = key_number(w->store, name, key_of_it);
    store_value_t value = store_text(long_text + key_of_it % 64, length, false);
    return result(AGAIN(store_hash_put(w->hash, &key, &value, 0)));
}

static uint64_t get(world_t *w, int key_of_it)
{
    static char    space[40000];
    char           name[32];
    store_key_t    key    = key_number(w->store, name, key_of_it);
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value;
    int            code = AGAIN(store_hash_get(w->hash, &key, &value, &buffer));
    return code == STORE_OK ? digest_value(w->store, &value, 0) : result(code);
}

static uint64_t delete (world_t *w, int key_of_it)
{
    char        name[32];
    store_key_t key = key_number(w->store, name, key_of_it);
    return result(AGAIN(store_hash_delete(w->hash, &key)));
}

static uint64_t a_put_new(world_t *w)
{
    return put(w, 5000, 30);
}
static uint64_t a_put_another(world_t *w)
{
    return put(w, 5001, 30);
}
static uint64_t a_overwrite(world_t *w)
{
    return put(w, 2, 25);
}
static uint64_t a_overwrite_longer(world_t *w)
{
    return put(w, 2, 60);
}
static uint64_t a_overwrite_long(world_t *w)
{
    return put(w, 2, 1300);
}
static uint64_t a_overwrite_very_long(world_t *w)
{
    return put(w, 2, 5000);
}
static uint64_t a_get(world_t *w)
{
    return get(w, 2);
}
static uint64_t a_get_new(world_t *w)
{
    return get(w, 5000);
}
static uint64_t a_add(world_t *w)
{
    store_key_t key  = store_key(w->store, "sum", 3, false);
    int64_t     sum  = 0;
    int         code = AGAIN(store_hash_add(w->hash, &key, 7, &sum));
    return code == STORE_OK ? (uint64_t)sum : result(code);
}
static uint64_t a_get_sum(world_t *w)
{
    store_key_t   key = store_key(w->store, "sum", 3, false);
    store_value_t value;
    int           code = AGAIN(store_hash_get(w->hash, &key, &value, NULL));
    return code == STORE_OK ? (uint64_t)value.number.i : result(code);
}
static uint64_t a_delete(world_t *w)
{
    return delete (w, 2);
}
static uint64_t a_delete_neighbour(world_t *w)
{
    return delete (w, 1);
}

/* Elements that nobody changes are there, each once, in whatever order. */
static uint64_t a_get_many(world_t *w)
{
    uint64_t h = 0;
    int      i;
    for (i = 0; i < 8; i++) h = mix(h, get(w, i));
    return h;
}

static uint64_t a_walk(world_t *w)
{
    char           space[2][64], known[32];
    store_buffer_t buffer = { space[0], sizeof space[0] };
    store_key_t    key, next;
    uint64_t       h = 0, turn = 0;
    int            code = AGAIN(store_hash_next(w->hash, NULL, &key, &buffer)), i;
    while (code == STORE_OK) {
        for (i = 0; i < 64; i++) {
            store_key_t one = key_number(w->store, known, i);
            if (one.length == key.length && memcmp(one.bytes, key.bytes, key.length) == 0) h += mix(77, (uint64_t)i);
        }
        buffer.space = space[++turn % 2];
        code         = AGAIN(store_hash_next(w->hash, &key, &next, &buffer));
        key          = next;
    }
    return code == STORE_ABSENT ? h : result(code);
}

static uint64_t a_look(world_t *w)
{
    return digest(w->store, w->hash, 0);
}

static uint64_t a_count(world_t *w)
{
    uint64_t count;
    int      code = AGAIN(store_hash_count(w->hash, &count));
    return code == STORE_OK ? count : result(code);
}

static uint64_t a_refill(world_t *w)
{
    o_refill(w);
    return 0;
}
static uint64_t a_clear(world_t *w)
{
    o_clear(w);
    return 0;
}
static uint64_t a_batch(world_t *w)
{
    o_batch(w);
    return 0;
}
static uint64_t a_batch_undone(world_t *w)
{
    o_batch_undone(w);
    return 0;
}

/* What has expired is no element, so sweeping is no change. */
static uint64_t a_sweep(world_t *w)
{
    o_sweep(w);
    return 0;
}

static uint64_t a_put_expired(world_t *w)
{
    return put(w, 102, 30);
}
static uint64_t a_get_expired(world_t *w)
{
    return get(w, 102);
}

/* --- references */

/* Follow the reference in "inner" without a handle. */
static uint64_t a_glance(world_t *w)
{
    store_key_t    key = key_of(w->store, "inner");
    char           space[64];
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value;
    store_glance_t room;
    for (;;) {
        store_var_t *inner;
        int          code = AGAIN(store_hash_get(w->hash, &key, &value, &buffer));
        if (code != STORE_OK) return result(code);
        if ((inner = store_glance(w->hash, &value.number.ref, &room)) == NULL) continue;
        key  = key_of(w->store, "id");
        code = AGAIN(store_hash_get(inner, &key, &value, &buffer));
        if (code == STORE_OK) return value.number.u;
        if (code != STORE_E_REMOVED) return result(code);
        key = key_of(w->store, "inner");
    }
}

/* The same with one. */
static uint64_t a_attach(world_t *w)
{
    store_key_t    key = key_of(w->store, "inner");
    char           space[64];
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value;
    for (;;) {
        store_var_t *inner;
        int          code = AGAIN(store_hash_get(w->hash, &key, &value, &buffer));
        if (code != STORE_OK) return result(code);
        if ((inner = var_of(w->store, &value.number.ref)) == NULL) continue;
        code = (int)get_int(inner, "id", -1);
        store_release(inner);
        return (uint64_t)(uint32_t)code;
    }
}

/* A reference more to what a reference leads to. */
static uint64_t a_copy_reference(world_t *w)
{
    store_key_t    key = key_of(w->store, "inner");
    char           space[64];
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value;
    for (;;) {
        store_var_t *inner;
        int          code = AGAIN(store_hash_get(w->hash, &key, &value, &buffer));
        if (code != STORE_OK) return result(code);
        if ((inner = var_of(w->store, &value.number.ref)) == NULL) continue;
        code = put_ref(w->other, "copy", inner);
        store_release(inner);
        return result(code);
    }
}

static uint64_t a_forget(world_t *w)
{
    store_key_t key = key_of(w->store, "inner");
    return result(AGAIN(store_hash_delete(w->hash, &key)));
}

static uint64_t a_nested(world_t *w)
{
    nested(w);
    return 0;
}

static uint64_t a_handle(world_t *w)
{
    o_attach(w);
    return 0;
}

static uint64_t a_declare(world_t *w)
{
    store_var_t *var = var_named(w->store, STORE_ARRAY, "@new");
    uint64_t     size;
    int          code = AGAIN(store_array_size(var, &size));
    store_release(var);
    return code == STORE_OK || code == STORE_E_REMOVED ? 0 : result(code);
}

static void p_declared(world_t *w)
{
    o_declare(w);
}

static uint64_t a_undeclare(world_t *w)
{
    store_error_t err;
    store_var_t  *named;
    int           code;
    do named = store_declare(w->store, STORE_ARRAY, "@new", 4, false, &err);
    while (named == NULL && err.code == STORE_INTERRUPTED);
    if (named == NULL) return result(err.code);
    code = AGAIN(store_remove(named, "@new", 4));
    store_release(named);
    return result(code);
}

/* --- recovery */

static uint64_t a_recover(world_t *w)
{
    store_recover(w->store);
    return 0;
}

static void p_dead_and_ring(world_t *w)
{
    p_ring(w);
    p_dead_batch(w);
}

static void p_dead_and_nested(world_t *w)
{
    nested(w);
    p_dead_batch(w);
}

/* --- arrays */

static uint64_t element(world_t *w, uint64_t index)
{
    char           space[400];
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value;
    int            code = AGAIN(store_array_get(w->array, index, &value, &buffer));
    return code == STORE_OK ? digest_value(w->store, &value, 0) : result(code);
}

static uint64_t a_push(world_t *w)
{
    store_value_t value = store_int(77);
    uint64_t      size;
    MUST(store_array_push(w->array, &value, &size));
    return size;
}

static uint64_t a_push_text(world_t *w)
{
    store_value_t value = store_text(long_text, 90, false);
    uint64_t      size;
    MUST(store_begin(w->array, STORE_FOREVER));
    MUST(store_array_size(w->array, &size));
    MUST(store_array_splice(w->array, size, 0, &value, 1));
    store_commit(w->array);
    return size;
}

static uint64_t take(world_t *w, bool last)
{
    char           space[400];
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value;
    int            code = AGAIN(store_array_take(w->array, last, &value, &buffer));
    return code == STORE_OK ? digest_value(w->store, &value, 0) : result(code);
}

static uint64_t a_shift(world_t *w)
{
    return take(w, false);
}
static uint64_t a_pop(world_t *w)
{
    return take(w, true);
}
static uint64_t a_unshift(world_t *w)
{
    o_unshift(w);
    return 0;
}
static uint64_t a_insert(world_t *w)
{
    o_insert(w);
    return 0;
}
static uint64_t a_cut(world_t *w)
{
    o_cut(w);
    return 0;
}
static uint64_t a_cut_without_room(world_t *w)
{
    space_seems_full = true;
    o_cut(w);
    space_seems_full = false;
    return 0;
}
static uint64_t a_empty(world_t *w)
{
    o_empty(w);
    return 0;
}
static uint64_t a_set(world_t *w)
{
    o_array_put(w);
    return 0;
}
static uint64_t a_element(world_t *w)
{
    return element(w, 1);
}
static uint64_t a_first(world_t *w)
{
    return element(w, 0);
}
static uint64_t a_list(world_t *w)
{
    return digest(w->store, w->array, 0);
}

static void p_a1(world_t *w)
{
    fill_array(w, 1);
}

/* Take the first element as a worker does: it is kept until it is done. */
static uint64_t a_reserve(world_t *w)
{
    store_reservation_t mine = { 0, 0, 0 };
    store_value_t       value;
    char                space[64];
    store_buffer_t      buffer = { space, sizeof space };
    uint64_t            h;
    mine.owner    = store_me(w->store);
    mine.since_ns = 1;
    MUST(store_begin(w->array, STORE_FOREVER));
    h = element(w, 0);
    if (AGAIN(store_array_get(w->array, 0, &value, &buffer)) == STORE_OK) {
        MUST(store_array_splice(w->array, 0, 1, NULL, 0));
        MUST(store_queue_keep(w->array, &mine, &value));
        MUST(store_queue_drop(w->array, &mine));
        MUST(store_queue_keep(w->array, &mine, &value));
    }
    store_commit(w->array);
    MUST(store_begin(w->array, STORE_FOREVER)); /* and is done with it: a change of which the content says nothing */
    store_queue_drop(w->array, &mine);
    store_commit(w->array);
    return h;
}

/* --- scalars */

static uint64_t scalar(world_t *w, int64_t number, uint64_t length)
{
    store_value_t value = length == 0 ? store_int(number) : store_text(long_text + number, length, false);
    return result(AGAIN(store_scalar_put(w->scalar, &value)));
}

static uint64_t a_number(world_t *w)
{
    return scalar(w, 1, 0);
}
static uint64_t a_short(world_t *w)
{
    return scalar(w, 2, 15);
}
static uint64_t a_text(world_t *w)
{
    return scalar(w, 3, 300);
}
static uint64_t a_long_text(world_t *w)
{
    return scalar(w, 4, 1500);
}

static uint64_t a_scalar(world_t *w)
{
    static char    space[4000];
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value;
    int            code = AGAIN(store_scalar_get(w->scalar, &value, &buffer));
    return code == STORE_OK ? digest_value(w->store, &value, 0) : result(code);
}

/* --- locks by name */

static uint64_t a_locked(world_t *w)
{
    uint64_t h;
    MUST(store_lock_write(w->hash, STORE_FOREVER, NULL));
    h = get(w, 2);
    put(w, 2, 40 + h % 7);
    store_unlock_write(w->hash);
    return h;
}

static uint64_t a_read_locked(world_t *w)
{
    uint64_t h;
    MUST(store_lock_read(w->hash, STORE_FOREVER, NULL));
    h = get(w, 2);
    h = mix(h, get(w, 2));
    store_unlock_read(w->hash);
    return h;
}

static const pair_t pairs[] = {
    { "two new keys in one chain", p_few, { a_put_new }, { a_put_another }, false },
    { "two first keys", p_none, { a_put_new }, { a_put_another }, false },
    { "two stores of one key", p_few, { a_overwrite }, { a_overwrite_longer }, false },
    { "store and delete of one key", p_few, { a_overwrite }, { a_delete }, false },
    { "store and delete of neighbours", p_few, { a_overwrite }, { a_delete_neighbour }, false },
    { "two deletes of neighbours", p_few, { a_delete }, { a_delete_neighbour }, false },
    { "fetch and stores", p_few, { a_get }, { a_overwrite, a_overwrite_longer }, true },
    { "fetch and a new key", p_few, { a_get_new }, { a_put_new, a_put_another }, true },
    { "fetch and delete", p_few, { a_get }, { a_delete, a_put_another }, true },
    { "fetch and delete of neighbours", p_few, { a_get }, { a_delete_neighbour, a_put_new }, true },
    { "fetch of a long value and stores", p_long, { a_get }, { a_overwrite_long, a_overwrite }, true },
    { "fetch of a very long value and stores", p_long, { a_get }, { a_overwrite_very_long, a_overwrite, a_overwrite_very_long }, true },
    { "fetch and growth to 16 buckets", p_8, { a_get_many }, { a_put_new }, true },
    { "fetch and growth to 64 buckets", p_11, { a_get_many }, { a_put_new }, true },
    { "fetch and growth to 256 buckets", p_32, { a_get_many }, { a_put_new }, true },
    { "fetch and growth to two levels", p_512, { a_get_many }, { a_put_new }, true },
    { "walk and growth", p_11, { a_walk }, { a_put_new, a_put_another }, true },
    { "look and growth", p_8, { a_look }, { a_put_new, a_put_another }, true },
    { "store and growth to 16 buckets", p_8, { a_overwrite }, { a_put_new }, false },
    { "store and growth to 64 buckets", p_11, { a_put_another }, { a_put_new }, false },
    { "fetch and a whole new content", p_8, { a_get }, { a_refill }, true },
    { "look and a whole new content", p_8, { a_look }, { a_refill }, true },
    { "count and a whole new content", p_8, { a_count }, { a_refill, a_clear }, true },
    { "look and batches", p_few, { a_look }, { a_batch_undone, a_batch }, true },
    { "store and a whole new content", p_8, { a_overwrite }, { a_refill }, false },
    { "sweep and store", p_expired, { a_sweep }, { a_put_new }, false },
    { "sweep and store of what has expired", p_expired, { a_sweep }, { a_put_expired }, false },
    { "sweep and fetch", p_expired, { a_sweep }, { a_get_expired, a_get }, true },
    { "two sweeps", p_expired, { a_sweep }, { a_sweep }, false },
    { "the last reference and a glance", nested, { a_forget }, { a_glance }, true },
    { "the last reference and an attachment", nested, { a_forget }, { a_attach }, true },
    { "the last reference and its copy", nested, { a_forget }, { a_copy_reference }, false },
    { "the last reference and another variable", nested, { a_forget }, { a_nested }, false },
    { "two that make variables", p_few, { a_nested }, { a_nested }, false },
    { "two that attach", p_none, { a_handle }, { a_handle }, false },
    { "two that declare", p_none, { a_declare }, { a_declare }, false },
    { "declare and remove", p_declared, { a_declare }, { a_undeclare }, false },
    { "recovery and store", p_dead_batch, { a_recover }, { a_overwrite }, false },
    { "recovery and fetch", p_dead_batch, { a_recover }, { a_get }, true },
    { "recovery and new variables", p_dead_and_ring, { a_recover }, { a_nested }, false },
    { "recovery and the first variables of all", p_none, { a_recover }, { a_nested }, false },
    { "recovery and a reference that moves", p_dead_and_nested, { a_recover }, { a_copy_reference, a_forget }, false },
    { "two recoveries", p_dead_and_ring, { a_recover }, { a_recover }, false },
    { "recovery and push", p_dead_array, { a_recover }, { a_push }, false },
    { "add and add", p_sum, { a_add }, { a_add }, false },
    { "add to what is not there, twice", p_few, { a_add }, { a_add }, false },
    { "fetch and add", p_sum, { a_get_sum }, { a_add }, true },
    { "push and push", p_a5, { a_push }, { a_push_text }, false },
    { "push and shift", p_a1, { a_push }, { a_shift }, false },
    { "shift and shift", p_a5, { a_shift }, { a_shift }, false },
    { "shift and pop of the last one", p_a1, { a_shift }, { a_pop }, false },
    { "push into a larger ring and shift", p_a16, { a_push }, { a_shift }, false },
    { "element and a larger ring", p_a16, { a_element }, { a_push, a_push_text }, true },
    { "element and another level", p_a1024, { a_element }, { a_push, a_push_text }, true },
    { "element and shift", p_a5, { a_first }, { a_shift, a_push_text, a_shift }, true },
    { "element and store", p_a5, { a_element }, { a_set, a_set }, true },
    { "element and splice", p_a5, { a_element }, { a_insert, a_cut }, true },
    { "list and splice", p_a5, { a_list }, { a_cut, a_insert }, true },
    { "list and a splice without room", p_a5, { a_list }, { a_cut_without_room }, false },
    { "push and a splice without room", p_a5, { a_push }, { a_cut_without_room }, false },
    { "recovery and a splice without room", p_a5, { a_recover }, { a_cut_without_room }, false },
    { "list and unshift", p_a5, { a_list }, { a_unshift, a_pop }, true },
    { "list and nothing", p_a16, { a_list }, { a_empty, a_push }, true },
    { "splice and push", p_a5, { a_cut }, { a_push }, false },
    { "splice and store", p_a5, { a_insert }, { a_set }, false },
    { "two that reserve", p_a5, { a_reserve }, { a_reserve }, false },
    { "reserve and push", p_a1, { a_reserve }, { a_push }, false },
    { "scalar: fetch and numbers", o_scalar_int, { a_scalar }, { a_number, a_short, a_number }, true },
    { "scalar: fetch and texts", p_scalar, { a_scalar }, { a_text, a_short, a_long_text }, true },
    { "scalar: two stores", p_scalar, { a_text }, { a_long_text }, false },
    { "locked and store", p_few, { a_locked }, { a_overwrite }, false },
    { "locked and locked", p_few, { a_locked }, { a_locked }, false },
    { "read lock and store", p_few, { a_read_locked }, { a_overwrite }, false },
    { "read lock and write lock", p_few, { a_read_locked }, { a_locked }, false },
};

/* --- what may come of it ---------------------------------------------------------------- */

typedef struct outcome {
    uint64_t content, first, second;
    uint64_t variables, blocks; /* when nobody is dead */
} outcome_t;

/* 3 acts and 3 acts; with each beginning of the first's. */
enum { MOST_OUTCOMES = 64 };

typedef struct expected {
    outcome_t whole[MOST_OUTCOMES], broken[MOST_OUTCOMES]; /* both; the first one was killed */
    unsigned  wholes, brokens;
} expected_t;

static uint64_t pair_content(world_t *w)
{
    return mix(content_of(w), digest(w->store, w->other, 0));
}

static void see(world_t *w, outcome_t *outcome)
{
    store_stats_t stats = space_stats(w->store);
    outcome->content    = pair_content(w);
    outcome->variables  = stats.variables;
    outcome->blocks     = stats.blocks;
}

static unsigned length_of(act_fn *const *acts)
{
    unsigned n = 0;
    while (acts[n] != NULL) n++;
    return n;
}

/* In one order: bit i of `order` says that the i-th act is the second one's. */
static outcome_t in_order(const pair_t *pair, unsigned acts, unsigned order)
{
    outcome_t outcome;
    world_t   w;
    unsigned  i, first = 0, second = 0;
    memset(&outcome, 0, sizeof outcome);
    world_make(&w);
    pair->prepare(&w);
    for (i = 0; i < acts; i++)
        if ((order >> i & 1) != 0)
            outcome.second = mix(outcome.second, pair->other[second++](&w));
        else
            outcome.first = mix(outcome.first, pair->one[first++](&w));
    see(&w, &outcome);
    RIGHT(world_end(&w, true), "what one after the other leaves");
    return outcome;
}

static void expect(const pair_t *pair, expected_t *expected)
{
    unsigned ones = length_of(pair->one), others = length_of(pair->other), first, order;
    memset(expected, 0, sizeof *expected);
    for (first = 0; first <= ones; first++)
        for (order = 0; order < 1u << (first + others); order++) {
            outcome_t outcome;
            if ((unsigned)__builtin_popcount(order) != others) continue;
            outcome                               = in_order(pair, first + others, order);
            expected->broken[expected->brokens++] = outcome;
            if (first == ones) expected->whole[expected->wholes++] = outcome;
        }
}

static bool is_whole(const expected_t *expected, const outcome_t *got)
{
    unsigned i;
    for (i = 0; i < expected->wholes; i++)
        if (memcmp(got, &expected->whole[i], sizeof *got) == 0) return true;
    for (i = 0; i < expected->wholes; i++)
        printf("# may be %" PRIx64 " %" PRIx64 " %" PRIx64 ", %" PRIu64 " variables, %" PRIu64 " blocks\n", expected->whole[i].content,
               expected->whole[i].first, expected->whole[i].second, expected->whole[i].variables, expected->whole[i].blocks);
    printf("# is     %" PRIx64 " %" PRIx64 " %" PRIx64 ", %" PRIu64 " variables, %" PRIu64 " blocks\n", got->content, got->first,
           got->second, got->variables, got->blocks);
    return false;
}

static bool is_broken(const expected_t *expected, const outcome_t *got)
{
    unsigned i;
    for (i = 0; i < expected->brokens; i++)
        if (got->content == expected->broken[i].content && got->second == expected->broken[i].second) return true;
    return false;
}

/* --- they meet ------------------------------------------------------------------------------ */

static uint64_t *results; /* that the two tell */

typedef struct actor {
    act_fn *const *acts;
    uint64_t      *result;
} actor_t;

static void actor_run(world_t *w, const void *what)
{
    const actor_t *actor = (const actor_t *)what;
    unsigned       i;
    uint64_t       h = 0;
    for (i = 0; actor->acts[i] != NULL; i++) h = mix(h, actor->acts[i](w));
    *actor->result = h;
}

static pid_t second_start(world_t *w, const pair_t *pair)
{
    actor_t actor = { pair->other, &results[1] };
    pid_t   pid   = fork_with_all();
    if (pid != 0) return pid;
    actor_run(w, &actor);
    _exit(0);
}

enum end { ENDED, WAITS, FAILED };

#define PATIENCE (60000 * MS) /* the machine may have much else to do */

/* Does the process sleep, for somebody to let it go on? */
static bool is_asleep(pid_t pid)
{
    char  path[64];
    long  number = -1;
    FILE *file;
    snprintf(path, sizeof path, "/proc/%d/syscall", (int)pid);
    if ((file = fopen(path, "r")) == NULL) return false;
    if (fscanf(file, "%ld", &number) != 1) number = -1;
    fclose(file);
    return number == SYS_futex;
}

/* Until it has ended, or (`patient`: for a minute, else) is found waiting. */
static enum end second_watch(pid_t pid, bool patient)
{
    int64_t end    = now_ns() + PATIENCE;
    int     asleep = 0, status;
    while (now_ns() < end) {
        struct timespec pause = { 0, 50000 };
        if (waitpid(pid, &status, WNOHANG) == pid) return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? ENDED : FAILED;
        asleep = is_asleep(pid) ? asleep + 1 : 0;
        if (!patient && asleep >= 3) return WAITS;
        nanosleep(&pause, NULL);
    }
    kill(pid, SIGKILL);
    reap(pid);
    return FAILED;
}

static bool wait_for_stop(pid_t pid, int *status)
{
    int64_t end = now_ns() + PATIENCE;
    while (now_ns() < end) {
        struct timespec pause = { 0, 20000 };
        if (waitpid(pid, status, WNOHANG | __WALL) == pid) return WIFSTOPPED(*status);
        nanosleep(&pause, NULL);
    }
    return false;
}

/* The first one goes on, nobody looking. */
static bool first_goes_on(victim_t *victim)
{
    unsigned i;
    int      status = 0;
    for (i = 0; i < victim->mappings; i++)
        if (!protect(victim, i, PROT_READ | PROT_WRITE)) return false;
    while (!victim->finished) {
        int signal_number = WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP ? WSTOPSIG(status) : 0;
        if (ptrace(PTRACE_CONT, victim->pid, 0, signal_number) != 0 || !wait_for_stop(victim->pid, &status)) return false;
        if (WSTOPSIG(status) == SIGSEGV) return false;
        victim->finished = WSTOPSIG(status) == SIGTRAP;
    }
    return true;
}

/* What is free is used again, and is free again. */
static void use_and_free(world_t *w)
{
    store_var_t *aside = w->aside;
    w->aside           = var_new(w->store, STORE_HASH);
    use_what_is_free(w);
    store_release(w->aside);
    w->aside = aside;
}

static victim_t first_start(world_t *w, const pair_t *pair)
{
    static actor_t actor;
    actor.acts   = pair->one;
    actor.result = &results[0];
    results[0] = results[1] = 0;
    world_make(w);
    pair->prepare(w);
    return victim_start(w, actor_run, &actor, true);
}

static unsigned long accesses_of(const pair_t *pair)
{
    world_t  w;
    victim_t victim = first_start(&w, pair);
    run_to(&victim, ULONG_MAX);
    kill(victim.pid, SIGKILL);
    reap(victim.pid);
    store_recover(w.store);
    RIGHT(world_end(&w, true), "what the first one leaves");
    return victim.stores;
}

static unsigned waits; /* how often the second one did */

static void meet(const pair_t *pair, const expected_t *expected, unsigned long k)
{
    world_t   w;
    outcome_t got;
    victim_t  victim = first_start(&w, pair);
    pid_t     second;
    enum end  end;
    run_to(&victim, k);
    second = second_start(&w, pair);
    end    = second_watch(second, false);
    if (end == WAITS) waits++;
    RIGHT(end != FAILED, "the second one failed");
    RIGHT(end != WAITS || !pair->reads, "somebody waits, for or as a reader");
    if (end == ENDED) use_and_free(&w);
    if (k % 4 == 0 && end == ENDED) store_recover(w.store);
    RIGHT(first_goes_on(&victim), "the first one does not end well");
    if (end == WAITS) RIGHT(second_watch(second, true) == ENDED, "the second one does not go on");
    if (failed_at == NULL) {
        memset(&got, 0, sizeof got);
        got.first  = results[0];
        got.second = results[1];
        if (w.dead != 0) store_recover(w.store); /* what it left is settled by who comes first */
        see(&w, &got);
        RIGHT(is_whole(expected, &got), "no order explains it");
    }
    kill(victim.pid, SIGKILL);
    reap(victim.pid);
    RIGHT(free_of_locks(&w), "a lock is held in the end");
    store_recover(w.store); /* the marks of the two */
    RIGHT(world_end(&w, false), "something is left in the end");
}

static void meet_and_die(const pair_t *pair, const expected_t *expected, unsigned long k)
{
    world_t   w;
    outcome_t got;
    siginfo_t info;
    victim_t  victim = first_start(&w, pair);
    pid_t     second;
    enum end  end;
    bool      zombie = k % 2 == 0;
    run_to(&victim, k);
    second = second_start(&w, pair);
    end    = second_watch(second, false);
    kill(victim.pid, SIGKILL);
    if (zombie)
        waitid(P_PID, (id_t)victim.pid, &info, WEXITED | WNOWAIT);
    else
        reap(victim.pid);
    if (end == WAITS) end = second_watch(second, true);
    RIGHT(end == ENDED, "the second one does not go on after the first one's death");
    store_recover(w.store);
    use_and_free(&w);
    memset(&got, 0, sizeof got);
    got.second = results[1];
    see(&w, &got);
    RIGHT(is_broken(expected, &got), "no order explains what is there after a death");
    RIGHT(free_of_locks(&w), "a lock is held after a death");
    if (zombie) reap(victim.pid);
    RIGHT(world_end(&w, true), "something is left after a death");
}

/* --- looks on a full filesystem --------------------------------------------------------------- */

static bool only_looks(act_fn *const *acts)
{
    static act_fn *const looks[] = { a_get,  a_get_new, a_get_many, a_get_sum, a_get_expired, a_walk,  a_look,
                                     a_list, a_count,   a_glance,   a_element, a_first,       a_scalar };
    size_t               i;
    for (; *acts != NULL; acts++) {
        for (i = 0; i < sizeof looks / sizeof looks[0] && looks[i] != *acts;) i++;
        if (i == sizeof looks / sizeof looks[0]) return false;
    }
    return true;
}

static int put_number(store_var_t *hash, int number, uint64_t length)
{
    char          name[32];
    store_key_t   key   = key_number(store_of(hash), name, number);
    store_value_t value = store_text(long_text, length, false);
    return AGAIN(store_hash_put(hash, &key, &value, 0));
}

/* What was never used is not given back: the first slots of each size are used once. */
static void use_all_sizes(world_t *w)
{
    store_var_t *hash = var_new(w->store, STORE_HASH);
    uint64_t     length;
    int          number = 1000, i;
    for (length = 1; length < 4000; length += length < 100 ? 12 : length / 5)
        for (i = 0; i < 70; i++) MUST(put_number(hash, number++, length));
    store_release(hash);
}

/* To the last page, with values of this length. */
static store_var_t *fill_up(world_t *w, uint64_t length)
{
    store_var_t *filler = var_new(w->store, STORE_HASH);
    int          number = 0, code;
    while ((code = put_number(filler, number++, length)) == STORE_OK) {}
    RIGHT(code == STORE_E_NOSPC, "it is not full");
    return filler;
}

static void free_all(world_t *w)
{
    store_value_t undef = store_none(STORE_UNDEF);
    MUST(store_hash_clear(w->hash));
    MUST(store_hash_clear(w->other));
    MUST(store_array_resize(w->array, 0));
    MUST(store_scalar_put(w->scalar, &undef));
}

static victim_t look_start(world_t *w, const pair_t *pair)
{
    static actor_t actor;
    actor.acts   = pair->one;
    actor.result = &results[0];
    world_make(w);
    use_all_sizes(w);
    pair->prepare(w);
    return victim_start(w, actor_run, &actor, true);
}

static bool look_on_full(const pair_t *pair, unsigned long k)
{
    world_t      w;
    victim_t     victim = look_start(&w, pair);
    store_var_t *filler;
    bool         goes_on = run_to(&victim, k);
    free_all(&w);
    filler = fill_up(&w, k % 2 == 0 ? 40 : 3000);
    RIGHT(first_goes_on(&victim), "who looks does not end well");
    kill(victim.pid, SIGKILL);
    reap(victim.pid);
    store_release(filler);
    store_recover(w.store);
    RIGHT(world_end(&w, false), "something is left in the end");
    return goes_on;
}

static void run_look(const pair_t *pair, unsigned long places)
{
    unsigned long accesses = accesses_of(pair), k, stride = places == 0 || accesses <= places ? 1 : accesses / places + 1, held = 0;
    failed_at = NULL;
    for (k = 1 + dice(stride); failed_at == NULL && look_on_full(pair, k); k += stride) held++;
    if (failed_at != NULL) printf("# after %lu accesses: %s\n", k, failed_at);
    ok(failed_at == NULL, "%s, on a full filesystem: %lu places", pair->name, held);
}

/* ---------------------------------------------------------------------------------------------- */

static void run_pair(const pair_t *pair, unsigned long places, const char *role)
{
    expected_t    expected;
    unsigned long accesses, k, stride, met = 0;
    failed_at = NULL;
    waits     = 0;
    expect(pair, &expected);
    accesses = accesses_of(pair);
    if (failed_at != NULL) printf("# %s\n", failed_at);
    stride = places == 0 || accesses <= places ? 1 : accesses / places + 1;
    for (k = dice(stride); k <= accesses && failed_at == NULL; k += stride, met++) {
        meet(pair, &expected, k);
        /* Who waits for a dead one finds that out after a tenth of a second: that, less often. */
        if (failed_at == NULL && (places == 0 || waits % 3 != 2)) meet_and_die(pair, &expected, k);
        if (failed_at != NULL) printf("# after %lu of %lu accesses: %s\n", k, accesses, failed_at);
    }
    ok(failed_at == NULL, "%s, %s: %lu places of %lu, the other one waited at %u", pair->name, role, met, accesses, waits);
}

int main(int argc, char **argv)
{
    const char   *given  = getenv("STORE_PAIR_PLACES");
    unsigned long places = given != NULL ? strtoul(given, NULL, 10) : 15;
    size_t        i;
    bool          is_small;
    test_begin();
    alarm(0);
    test_seed();
    results = (uint64_t *)shared(2 * sizeof *results);
    snprintf(space_folder, sizeof space_folder, "%s", scratch("small"));
    is_small = small_filesystem(space_folder, "size=8m");
    if (!is_small) {
        test_skip("cannot mount a filesystem", "looks on a full filesystem");
        space_folder[0] = '\0';
    }
    for (i = 0; i < sizeof long_text; i++) long_text[i] = (char)('a' + i * 7 % 26);
    for (i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        pair_t turned = pairs[i];
        if (argc > 1 && strstr(pairs[i].name, argv[1]) == NULL) continue;
        memcpy(turned.one, pairs[i].other, sizeof turned.one);
        memcpy(turned.other, pairs[i].one, sizeof turned.other);
        run_pair(&pairs[i], places, "the one held");
        run_pair(&turned, places, "the other held");
        if (is_small && only_looks(pairs[i].one)) run_look(&pairs[i], (places + 1) / 2);
    }
    if (is_small) umount2(space_folder, MNT_DETACH);
    return test_done();
}
