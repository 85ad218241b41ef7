/* Arrays against a model in plain memory: whatever is done to them, alone or many calls in
 * one change, that is kept or undone. */
#include "store_test.h"

#define MOST 6000
#define NONE INT64_MIN

typedef struct model {
    int64_t  item[MOST];
    uint64_t size;
} model_t;

static store_t *store;

static void model_splice(model_t *model, uint64_t offset, uint64_t length, const int64_t *items, uint64_t count)
{
    memmove(&model->item[offset + count], &model->item[offset + length], (model->size - offset - length) * sizeof model->item[0]);
    if (count > 0) memcpy(&model->item[offset], items, count * sizeof items[0]);
    model->size = model->size - length + count;
}

static void model_resize(model_t *model, uint64_t size)
{
    for (; model->size < size; model->size++) model->item[model->size] = NONE;
    model->size = size;
}

/* Compares by a look or element by element. */
static bool same(store_var_t *array, const model_t *model, bool look)
{
    uint64_t size, i;
    if (AGAIN(store_array_size(array, &size)) != STORE_OK || size != model->size) {
        printf("# size %" PRIu64 ", not %" PRIu64 "\n", size, model->size);
        return false;
    }
    if (look) {
        store_look_t whole;
        bool         ok = store_look(array, true, &whole) == STORE_OK && whole.count == size;
        for (i = 0; ok && i < size; i++) {
            const store_value_t *value = &whole.values[i * whole.stride];
            ok = model->item[i] == NONE ? value->kind == STORE_KINDS : value->kind == STORE_INT && value->number.i == model->item[i];
            if (!ok) printf("# look: element %" PRIu64 " of %" PRIu64 "\n", i, size);
        }
        store_look_free(&whole);
        return ok;
    }
    for (i = 0; i < size; i++) {
        store_value_t value;
        int           code = store_array_get(array, i, &value, NULL);
        if (model->item[i] == NONE ? code != STORE_ABSENT : code != STORE_OK || value.number.i != model->item[i]) {
            printf("# element %" PRIu64 " of %" PRIu64 ": code %d, %" PRId64 " not %" PRId64 "\n", i, size, code, value.number.i,
                   model->item[i]);
            return false;
        }
    }
    return true;
}

static int64_t next_number, wrong_takes;

static void random_splice(store_var_t *array, model_t *model, uint64_t offset, uint64_t length, uint64_t count)
{
    int64_t       items[600];
    store_value_t values[600];
    uint64_t      i;
    for (i = 0; i < count; i++) {
        items[i]  = ++next_number;
        values[i] = store_int(items[i]);
    }
    MUST(store_array_splice(array, offset, length, values, count));
    model_splice(model, offset, length, items, count);
}

/* One in, one out, at either end. */
static void push_and_take(store_var_t *array, model_t *model)
{
    int64_t       item  = ++next_number, first;
    store_value_t value = store_int(item), taken;
    uint64_t      size;
    bool          last = dice(4) == 0;
    MUST(store_array_push(array, &value, &size));
    model_splice(model, model->size, 0, &item, 1);
    first = model->item[last ? model->size - 1 : 0];
    MUST(store_array_take(array, last, &taken, NULL));
    if (size != model->size || (first == NONE ? taken.kind != STORE_UNDEF : taken.kind != STORE_INT || taken.number.i != first))
        wrong_takes++;
    model_splice(model, last ? model->size - 1 : 0, 1, NULL, 0);
}

/* One operation of any kind on both. Sizes wander around `about`. */
static void step(store_var_t *array, model_t *model, uint64_t about)
{
    uint64_t size = model->size, some = 1 + dice(dice(8) == 0 ? about / 4 + 2 : 3), at = size > 0 ? dice(size) : 0;
    bool     more = size < about / 2 || (size < about * 2 && dice(2));
    if (some > 500) some = 500;
    switch (dice(12)) {
    case 0:
    case 1:
        more ? random_splice(array, model, size, 0, some) : size >= some ? random_splice(array, model, size - some, some, 0) : (void)0;
        return;
    case 2:
    case 3: more ? random_splice(array, model, 0, 0, some) : size >= some ? random_splice(array, model, 0, some, 0) : (void)0; return;
    case 4: { /* in the middle */
        uint64_t gone = size > 0 ? dice((size - at) + 1) % 4 : 0;
        random_splice(array, model, at, gone, more ? some : dice(3));
        return;
    }
    case 5: /* a queue: one in, one out */ push_and_take(array, model); return;
    case 6: { /* beyond the end: holes */
        uint64_t      index = size + dice(more ? about / 8 + 2 : 2);
        store_value_t value = store_int(++next_number);
        MUST(store_array_put(array, index, &value));
        model_resize(model, index + 1);
        model->item[index] = next_number;
        return;
    }
    case 7: {
        uint64_t to = dice(40) == 0 ? 0 : more ? size + dice(about / 8 + 2) : size - dice(size / 8 + 1);
        MUST(store_array_resize(array, to));
        model_resize(model, to);
        return;
    }
    case 8:
        if (size == 0) return;
        MUST(store_array_delete(array, at));
        model->item[at] = NONE;
        return;
    default: {
        store_value_t value = store_int(++next_number);
        if (size == 0) return;
        MUST(store_array_put(array, at, &value));
        model->item[at] = next_number;
    }
    }
}

/* Many operations in one change. */
static bool batch(store_var_t *array, model_t *model, store_var_t *other, uint64_t about)
{
    static model_t before;
    uint64_t       steps = 1 + dice(dice(4) == 0 ? 40 : 6);
    bool           kept  = dice(2), ok;
    before               = *model;
    MUST(store_begin(array, STORE_FOREVER));
    while (steps-- > 0) step(array, model, about);
    ok = same(array, model, dice(2)) && same(other, &before, dice(2));
    if (kept)
        store_commit(array);
    else {
        store_abort(array);
        *model = before;
    }
    return ok;
}

static void wander(uint64_t about, long rounds)
{
    static model_t model;
    store_stats_t  before = space_stats(store), after;
    store_var_t   *array  = var_new(store, STORE_ARRAY), *other;
    store_ref_t    ref    = store_ref_of(array);
    bool           ok     = true;
    long           i;
    memset(&model, 0, sizeof model);
    other = var_of(store, &ref);
    for (i = 0; ok && i < rounds; i++) {
        if (dice(3) == 0)
            ok = batch(array, &model, other, about);
        else
            step(array, &model, about);
        if (ok && (about < 100 || dice(about / 20) == 0)) ok = same(other, &model, dice(2));
    }
    ok(ok && same(other, &model, true), "an array of about %" PRIu64 " elements is what a plain one would be, after %ld steps", about, i);
    store_release(array);
    store_release(other);
    after = space_stats(store);
    ok(same_use(&before, &after), "and with its last user it is gone, and all that it took");
}

/* In one change the window goes around the ring: what was published stays readable, and
 * comes back if the change is undone. */
static void around(bool kept)
{
    store_var_t   *array = var_new(store, STORE_ARRAY), *other;
    store_ref_t    ref   = store_ref_of(array);
    store_stats_t  before, after;
    static model_t model, old;
    int64_t        i, item;
    other      = var_of(store, &ref);
    model.size = 0;
    for (i = 0; i < 16; i++) {
        MUST(push_int(array, i));
        model_splice(&model, model.size, 0, &i, 1);
    }
    before = space_stats(store);
    old    = model;
    MUST(store_begin(array, STORE_FOREVER));
    for (i = 100; i < 120; i++) {
        store_value_t value = store_int(i);
        item                = i;
        MUST(store_array_splice(array, 0, 1, NULL, 0));
        model_splice(&model, 0, 1, NULL, 0);
        MUST(store_array_splice(array, model.size, 0, &value, 1));
        model_splice(&model, model.size, 0, &item, 1);
    }
    ok(same(array, &model, false), "a window that goes around its ring in one change");
    ok(same(other, &old, false) && same(other, &old, true), "others see what it was");
    if (kept)
        store_commit(array);
    else
        store_abort(array);
    after = space_stats(store);
    ok(same(other, kept ? &model : &old, false), kept ? "then what it became" : "undone it is what it was");
    ok(same_use(&before, &after), "nothing more is used");
    store_release(array);
    store_release(other);
}

/* An element that was stored and moved in one change goes in the same change. */
static void moved_and_gone(void)
{
    store_var_t   *array = var_new(store, STORE_ARRAY);
    store_stats_t  before, after;
    store_value_t  value = store_text("a text that needs a cell of its own", 35, false), got;
    uint64_t       i;
    char           text[64];
    store_buffer_t buffer = { text, sizeof text };
    for (i = 0; i < 10; i++) MUST(push_int(array, (int64_t)i));
    before = space_stats(store);
    MUST(store_begin(array, STORE_FOREVER));
    MUST(store_array_put(array, 5, &value));
    MUST(store_array_splice(array, 2, 0, &value, 1)); /* moves it to 6, in another tree */
    MUST(store_array_delete(array, 6));
    MUST(store_array_splice(array, 2, 1, NULL, 0));
    store_commit(array);
    after = space_stats(store);
    ok(store_array_get(array, 5, &got, &buffer) == STORE_ABSENT,
       "an element that was stored, moved and deleted in one change is not there");
    for (i = 0; i < 10; i++) MUST(store_array_put(array, i, &value));
    ok(store_array_get(array, 5, &got, &buffer) == STORE_OK && got.length == 35, "nor is anything in the way of the next");
    ok(before.blocks == after.blocks + 1, "and its cell is free");
    store_release(array);
}

/* A queue that wanders keeps the pages of its window, not those that it went through. */
static void wandering_queue(void)
{
    store_var_t  *array = var_new(store, STORE_ARRAY);
    store_stats_t early, late;
    int64_t       i, n = ROUNDS(300000);
    bool          ok = true;
    for (i = 0; i < 3000; i++) MUST(push_int(array, i));
    early = space_stats(store);
    for (i = 0; i < n && ok; i++) {
        store_value_t value;
        MUST(store_array_get(array, 0, &value, NULL));
        ok = value.number.i == i;
        MUST(store_array_splice(array, 0, 1, NULL, 0));
        MUST(push_int(array, i + 3000));
    }
    late = space_stats(store);
    ok(ok, "a queue gives what was put in, in order, for %" PRId64 " elements", n);
    ok(late.blocks <= early.blocks + 20, "and leaves its pages behind (%" PRIu64 " blocks, before %" PRIu64 ")", late.blocks, early.blocks);
    store_release(array);
}

/* An array of 2^20 elements and more has a tree of three levels; one of holes has none of its pages. */
static void large(void)
{
    store_stats_t before = space_stats(store), after;
    store_var_t  *array  = var_new(store, STORE_ARRAY);
    store_value_t value  = store_int(7), got;
    uint64_t      size, far = (UINT64_C(1) << 30) - 1;
    MUST(store_array_put(array, far, &value));
    after = space_stats(store);
    ok(after.blocks - before.blocks < 10, "an array with one element far out takes %" PRIu64 " blocks", after.blocks - before.blocks);
    ok(store_array_get(array, far, &got, NULL) == STORE_OK && got.number.i == 7, "and has it");
    ok(store_array_get(array, far - 1, &got, NULL) == STORE_ABSENT && store_array_get(array, far / 2, &got, NULL) == STORE_ABSENT,
       "and nothing else");
    ok(store_array_put(array, far + 1, &value) == STORE_E_ARGUMENT, "one more is refused");
    ok(store_array_resize(array, far + 2) == STORE_E_ARGUMENT, "by resize, too");
    ok(store_array_splice(array, 0, 0, &value, 1) == STORE_E_ARGUMENT, "and by unshift");
    MUST(store_array_size(array, &size));
    ok(size == far + 1, "the size stays");
    MUST(store_array_resize(array, 0));
    store_release(array);
    after = space_stats(store);
    ok(same_use(&before, &after), "all is given back");
}

static void odd_arguments(void)
{
    store_var_t  *array = var_new(store, STORE_ARRAY);
    store_value_t value = store_int(1);
    uint64_t      size;
    ok(store_array_splice(array, 1, 0, &value, 1) == STORE_E_ARGUMENT, "a splice beyond the end");
    ok(store_array_splice(array, 0, 1, &value, 1) == STORE_E_ARGUMENT, "of more than there is");
    ok(store_array_splice(array, UINT64_MAX, UINT64_MAX, &value, 1) == STORE_E_ARGUMENT, "of numbers that overflow");
    ok(store_array_put(array, UINT64_MAX, &value) == STORE_E_ARGUMENT, "and a store at such an index is refused");
    MUST(store_array_size(array, &size));
    ok(size == 0 && store_array_get(array, 0, &value, NULL) == STORE_ABSENT, "and changed nothing");
    store_release(array);
}

/* The ring goes round; the array does not. */
static void beyond(void)
{
    store_var_t *array = var_new(store, STORE_ARRAY);
    int64_t      i;
    uint64_t     index;
    bool         right = true;
    for (i = 0; i < 21; i++) {
        MUST(push_int(array, i));
        for (index = (uint64_t)i + 1; index < 200; index++)
            if (store_array_get(array, index, NULL, NULL) != STORE_ABSENT) right = false;
    }
    ok(right, "beyond the end nothing is there");
    store_release(array);
}

/* A change that built another tree aside, and again, is given up. */
static void given_up(void)
{
    store_var_t  *array = var_new(store, STORE_ARRAY);
    store_value_t value = store_int(1), got;
    store_stats_t before, after;
    uint64_t      size;
    int64_t       i;
    for (i = 0; i < 100; i++) MUST(push_int(array, i));
    before = space_stats(store);
    MUST(store_begin(array, STORE_FOREVER));
    MUST(store_array_splice(array, 50, 0, &value, 1));
    MUST(store_array_splice(array, 20, 3, NULL, 0));
    MUST(store_array_resize(array, 400));
    store_abort(array);
    after = space_stats(store);
    MUST(store_array_size(array, &size));
    ok(size == 100 && store_array_get(array, 50, &got, NULL) == STORE_OK && got.number.i == 50, "what was given up has changed nothing");
    ok(same_use(&before, &after), "and left nothing");
    store_release(array);
}

/* What take leaves where it is. */
static void takes(void)
{
    store_var_t   *array = var_new(store, STORE_ARRAY), *other = var_new(store, STORE_HASH);
    store_value_t  value = store_text("some text", 9, false), taken;
    char           space[4];
    store_buffer_t buffer = { space, sizeof space };
    uint64_t       size;
    ok(store_array_take(array, false, &taken, NULL) == STORE_ABSENT && store_array_take(array, true, &taken, NULL) == STORE_ABSENT,
       "nothing is taken of nothing");
    MUST(store_array_push(array, &value, &size));
    ok(store_array_take(array, false, &taken, &buffer) == STORE_MORE && taken.length == 9, "what is larger than the buffer is told so");
    value = ref_to(other);
    MUST(store_array_push(array, &value, &size));
    ok(size == 2 && store_array_take(array, true, &taken, &buffer) == STORE_E_ARGUMENT, "a reference is not taken");
    ok(store_array_size(array, &size) == STORE_OK && size == 2, "and both stay");
    ok(wrong_takes == 0, "what was taken was what the model had");
    store_release(array);
    store_release(other);
}

int main(void)
{
    test_begin();
    test_seed();
    store = space_new("array");
    store_release(var_named(store, STORE_HASH, "%first")); /* the variable of names is there */
    odd_arguments();
    beyond();
    given_up();
    around(true);
    around(false);
    moved_and_gone();
    wander(10, ROUNDS(20000));
    wander(60, ROUNDS(20000));
    wander(250, ROUNDS(20000));
    wander(1000, ROUNDS(6000));
    wander(2200, ROUNDS(6000));
    wandering_queue();
    large();
    takes();
    store_remove_all(store, 0);
    store_close(store);
    return test_done();
}
