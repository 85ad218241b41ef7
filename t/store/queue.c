/* What is taken from an array and not done with: by one process, and by processes that are
 * killed at random while they move tokens between the array and what is reserved of it. No
 * token is ever lost or there twice. */
#include "store_test.h"

#define TOKENS  60
#define WORKERS 4
#define KILLS   ROUNDS(150)

static store_t     *store;
static store_var_t *queue;

typedef struct pile {
    store_reservation_t held[TOKENS + 1];
    int                 count;
} pile_t;

static void note(const store_reservation_t *reservation, void *context)
{
    pile_t *pile = (pile_t *)context;
    if (pile->count <= TOKENS) pile->held[pile->count++] = *reservation;
}

static int64_t held_number(const store_reservation_t *reservation)
{
    store_value_t value;
    MUST(store_queue_get(queue, reservation, &value, NULL));
    return value.kind == STORE_INT ? value.number.i : -1;
}

/* Each token once, in the array or reserved. */
static bool is_whole(void)
{
    int           seen[TOKENS + 1] = { 0 };
    pile_t        pile             = { { { 0, 0, 0 } }, 0 };
    store_value_t value;
    uint64_t      size, i;
    bool          right = true;
    MUST(store_begin(queue, STORE_FOREVER));
    MUST(store_array_size(queue, &size));
    for (i = 0; i < size; i++) {
        MUST(store_array_get(queue, i, &value, NULL));
        if (value.number.i >= 1 && value.number.i <= TOKENS) seen[value.number.i]++;
    }
    MUST(store_queue_each(queue, note, &pile));
    for (i = 0; i < (uint64_t)pile.count; i++) {
        int64_t number = held_number(&pile.held[i]);
        if (number >= 1 && number <= TOKENS) seen[number]++;
    }
    store_abort(queue);
    for (i = 1; i <= TOKENS; i++) right = right && seen[i] == 1;
    return right && size + (uint64_t)pile.count == TOKENS;
}

/* The first token is reserved, or one that is reserved comes back, or both. */
static void move(void)
{
    pile_t              pile = { { { 0, 0, 0 } }, 0 };
    store_reservation_t mine = { store_me(store), 1, 0 };
    store_value_t       value;
    uint64_t            size;
    MUST(store_begin(queue, STORE_FOREVER));
    MUST(store_array_size(queue, &size));
    MUST(store_queue_each(queue, note, &pile));
    if (size > 0 && dice(2)) {
        MUST(store_array_get(queue, 0, &value, NULL));
        MUST(store_array_splice(queue, 0, 1, NULL, 0));
        MUST(store_queue_keep(queue, &mine, &value));
    }
    if (pile.count > 0 && dice(2)) {
        const store_reservation_t *its = &pile.held[dice((uint32_t)pile.count)];
        value                          = store_int(held_number(its));
        MUST(store_queue_drop(queue, its));
        MUST(store_array_splice(queue, dice(2) ? 0 : size / 2 > 0 ? size / 2 - 1 : 0, 0, &value, 1));
    }
    dice(6) == 0 ? store_abort(queue) : store_commit(queue);
}

static void alone(void)
{
    store_reservation_t one = { store_me(store), 5, 0 }, two = one;
    store_value_t       value = store_int(7), got;
    pile_t              pile  = { { { 0, 0, 0 } }, 0 };
    store_look_t        look;
    uint64_t            size;
    ok(store_queue_keep(queue, &one, &value) == STORE_E_ARGUMENT, "outside of a change nothing is reserved");
    MUST(store_begin(queue, STORE_FOREVER));
    MUST(store_queue_keep(queue, &one, &value));
    two.order = one.order;
    MUST(store_queue_keep(queue, &two, &value));
    ok(memcmp(&one, &two, sizeof one) != 0, "two in one change and one tick have names of their own");
    store_abort(queue);
    ok(!store_queue_is_used(queue), "nothing of a change that is given up");
    MUST(store_begin(queue, STORE_FOREVER));
    MUST(store_queue_keep(queue, &one, &value));
    store_commit(queue);
    MUST(store_array_size(queue, &size));
    MUST(store_look(queue, true, &look));
    ok(size == 0 && look.count == 0, "what is reserved is not in the array");
    store_look_free(&look);
    MUST(store_begin(queue, STORE_FOREVER));
    MUST(store_queue_get(queue, &one, &got, NULL));
    MUST(store_queue_each(queue, note, &pile));
    ok(got.number.i == 7 && pile.count == 1 && pile.held[0].owner == store_me(store), "and is found, with its owner");
    MUST(store_queue_drop(queue, &one));
    ok(store_queue_drop(queue, &one) == STORE_ABSENT, "once");
    store_commit(queue);
    ok(!store_queue_is_used(queue), "done with");
    ok(!store_owner_is_dead(store, store_me(store)), "this process is not dead");
}

static pid_t start(uint32_t seed)
{
    pid_t pid;
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        dice_seed(seed + 1);
        for (;;) move();
    }
    return pid;
}

static void together(void)
{
    pid_t pid[WORKERS];
    bool  right = true;
    int   i, round;
    for (i = 0; i < WORKERS; i++) pid[i] = start((uint32_t)i);
    for (round = 0; round < KILLS; round++) {
        i = (int)dice(WORKERS);
        usleep((useconds_t)dice(3000));
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
        right  = is_whole() && right;
        pid[i] = start((uint32_t)round);
    }
    for (i = 0; i < WORKERS; i++) {
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
    }
    ok(is_whole() && right, "%d processes are killed: each token is there once", KILLS);
}

int main(void)
{
    store_stats_t stats, before;
    int           i;
    test_begin();
    store = space_new_with("queue", NULL);
    store_stats(store, &before);
    queue = var_named(store, STORE_ARRAY, "@queue");
    alone();
    for (i = 1; i <= TOKENS; i++) {
        store_value_t value = store_int(i);
        MUST(store_array_put(queue, (uint64_t)i - 1, &value));
    }
    together();
    MUST(store_remove(queue, "@queue", 6));
    store_release(queue);
    store_recover(store);
    store_stats(store, &stats);
    ok(stats.variables == before.variables && stats.bytes_used <= before.bytes_used + 4096, "all of it is given back");
    store_close(store);
    return test_done();
}
