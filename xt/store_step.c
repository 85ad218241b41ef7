/*
 * store_step.c - every operation of store/ is killed, and stopped, at each of its stores to
 * shared memory (x86-64).
 *
 * What the victim does between two stores changes nothing that others could see. Each kill
 * point has a namespace of its own.
 *
 * Killed after k stores: a survivor reads, stores, or recovers first, in turn. It finds the
 * content of before or of after, never else; no lock is held; when the variables go, nothing
 * is left. Stopped after k stores: others read at once; then the victim goes on, and all is
 * right without a recovery.
 *
 *     store_step [part of a name]
 *
 * STORE_STEP_PLACES: at how many of the stores (60: the first and the last ones, and some of
 * those between), 0: at all.
 */
#include "store_world.h"

#include "../store/var.h"

/* --- one change of several variables -------------------------------------------- */

/* One change of all three. */
static void joint_begin(world_t *w)
{
    MUST(store_begin_joint(w->array, STORE_FOREVER));
    MUST(store_begin_joint(w->hash, STORE_FOREVER));
    MUST(store_begin_joint(w->scalar, STORE_FOREVER));
    o_shift(w);
    o_overwrite(w);
    put_one(w, 77, 70);
}

static void joint_commit(world_t *w)
{
    store_var_t *all[3] = { w->array, w->hash, w->scalar };
    MUST(store_commit_all(all, 3));
}

static void o_joint(world_t *w)
{
    joint_begin(w);
    o_scalar_text(w);
    joint_commit(w);
}

static void joint_commit_two(world_t *w)
{
    store_var_t *two[2] = { w->array, w->hash };
    MUST(store_commit_all(two, 2));
}

static void o_joint_of_two(world_t *w)
{
    joint_begin(w);
    joint_commit(w);
}

/* What is reserved of the array is done with, and written down in the hash. */
static void o_joint_queue(world_t *w)
{
    store_reservation_t reservation = { 77, 5, 1 };
    MUST(store_begin_joint(w->array, STORE_FOREVER));
    MUST(store_begin_joint(w->hash, STORE_FOREVER));
    MUST(store_queue_drop(w->array, &reservation));
    put_one(w, 77, 70);
    joint_commit_two(w);
}

static void o_joint_undone(world_t *w)
{
    joint_begin(w);
    store_abort(w->array);
    store_abort(w->hash);
    store_abort(w->scalar);
}

static void o_joint_larger(world_t *w)
{
    MUST(store_begin_joint(w->array, STORE_FOREVER));
    MUST(store_begin_joint(w->hash, STORE_FOREVER));
    MUST(push_int(w->array, 77));
    put_one(w, 5000, 30);
    joint_commit_two(w);
}

static void p_joint(world_t *w)
{
    fill_hash(w, 0, 5, 20);
    p_a5(w);
    p_scalar(w);
}

static void p_joint_queue(world_t *w)
{
    store_reservation_t reservation = { 77, 5, 1 };
    store_value_t       value       = store_int(5);
    p_joint(w);
    MUST(store_begin(w->array, STORE_FOREVER));
    MUST(store_queue_keep(w->array, &reservation, &value));
    store_commit(w->array);
}

static void p_joint_larger(world_t *w)
{
    p_8(w);
    p_a16(w);
}

static void run_operation(world_t *w, const void *operation)
{
    ((const operation_t *)operation)->run(w);
}

/* Has the victim's joint change happened, and is no serial published yet? (store/layout.h) */
static bool is_decided(world_t *w)
{
    const store_record_t *record = w->scalar->record;
    store_link_t          joint  = record->state[(record->serial + 1) & 1].joint;
    const store_cell_t   *cell   = joint != 0 ? cell_at(w->store, joint) : NULL;
    return cell != NULL && cell->from == 1;
}

static void p_dead_joint(world_t *w)
{
    static const operation_t joint = { "", p_joint, o_joint, true };
    victim_t                 victim;
    siginfo_t                info;
    p_joint(w);
    victim = victim_start(w, run_operation, &joint, false);
    while (!is_decided(w) && run_to(&victim, victim.stores + 1)) {}
    if (victim.finished) test_die("a joint change", "is never decided");
    kill(victim.pid, SIGKILL);
    waitid(P_PID, (id_t)victim.pid, &info, WEXITED | WNOWAIT);
    w->dead = victim.pid;
}

static void o_look(world_t *w)
{
    uint64_t count;
    MUST(store_hash_count(w->hash, &count));
    MUST(store_array_size(w->array, &count));
}

/* --- the operations ------------------------------------------------------------ */

/* As if there was no room for a page. */
static void without_room(world_t *w, void (*run)(world_t *))
{
    space_seems_full = true;
    run(w);
    space_seems_full = false;
}

static void o_cut_without_room(world_t *w)
{
    without_room(w, o_cut);
}

static void replace_less(world_t *w)
{
    change_array(w, 1, 3, 1);
}

static void o_less_without_room(world_t *w)
{
    without_room(w, replace_less);
}

static void cut_far(world_t *w)
{
    change_array(w, 2, 3, 0);
}

/* It was around the ring. */
static void p_around(world_t *w)
{
    p_a16(w);
    change_array(w, 0, 9, 0);
    fill_array(w, 7);
}

static void p_around_with_hole(world_t *w)
{
    p_around(w);
    MUST(store_array_delete(w->array, 3));
}

static void o_far_without_room(world_t *w)
{
    without_room(w, cut_far);
}

static void o_cut_undone(world_t *w)
{
    store_value_t value = store_int(1);
    MUST(store_begin(w->array, STORE_FOREVER));
    without_room(w, cut_far);
    if (store_array_splice(w->array, 1, 0, &value, 1) != STORE_E_NOSPC) _exit(8);
    store_abort(w->array);
}

/* Their cells were somewhere else when they were stored. */
static void p_moved(world_t *w)
{
    p_around_with_hole(w);
    change_array(w, 5, 1, 0);
}

/* In one change, further down each time; the places where others were are used again. */
static void cut_often(world_t *w)
{
    store_value_t value = store_int(1);
    MUST(store_array_put(w->array, 2, &value));
    change_array(w, 5, 3, 0);
    MUST(store_array_delete(w->array, 5));
    change_array(w, 1, 2, 1);
    MUST(store_array_put(w->array, 3, &value));
    change_array(w, 0, 1, 0);
    MUST(push_int(w->array, 78));
    change_array(w, 2, 1, 0);
}

static void o_cuts(world_t *w)
{
    MUST(store_begin(w->array, STORE_FOREVER));
    without_room(w, cut_often);
    store_commit(w->array);
}

static void o_cuts_undone(world_t *w)
{
    MUST(store_begin(w->array, STORE_FOREVER));
    without_room(w, cut_often);
    store_abort(w->array);
}

static void o_cuts_joint(world_t *w)
{
    MUST(store_begin_joint(w->array, STORE_FOREVER));
    MUST(store_begin_joint(w->hash, STORE_FOREVER));
    without_room(w, cut_often);
    put_one(w, 77, 70);
    joint_commit_two(w);
}

static void o_cut_locked(world_t *w)
{
    MUST(store_lock_write(w->array, STORE_FOREVER, NULL));
    without_room(w, cut_far);
    store_unlock_write(w->array);
}

static void cut_left(world_t *w)
{
    MUST(store_begin(w->array, STORE_FOREVER));
    without_room(w, cut_far);
}

static void p_dead_cut(world_t *w)
{
    p_around_with_hole(w);
    leave_open(w, cut_left);
}

static const operation_t operations[] = {
    { "put of a new key", p_few, o_put_new, false },
    { "put into an empty hash", p_none, o_put_new, false },
    { "put of a long value", p_few, o_put_long, false },
    { "overwriting", p_few, o_overwrite, false },
    { "overwriting a long value", p_long, o_overwrite, false },
    { "add to what is not there", p_few, o_add, false },
    { "add", p_sum, o_add, false },
    { "delete", p_few, o_delete, false },
    { "delete of a long value", p_long, o_delete, false },
    { "clear", p_few, o_clear, false },
    { "a batch", p_few, o_batch, false },
    { "a batch undone", p_few, o_batch_undone, false },
    { "a whole new content", p_8, o_refill, false },
    { "growth to 16 buckets", p_8, o_put_new, false },
    { "growth to 64 buckets", p_11, o_put_new, false },
    { "growth to 256 buckets", p_32, o_put_new, false },
    { "growth to 1,024 buckets", p_128, o_put_new, false },
    { "growth to two levels", p_512, o_put_new, false },
    { "one more page of buckets", p_2048, o_put_new, false },
    { "a reference", p_few, o_refer, false },
    { "another reference in its place", p_refer, o_refer_elsewhere, false },
    { "one of two references", p_twice, o_forget_nested, false },
    { "nested variables", p_few, nested, false },
    { "the last reference to nested variables", nested, o_forget_nested, false },
    { "a sweep of what has expired", p_expired, o_sweep, false },
    { "a put that clears up in passing", p_expired, o_put_new, false },
    { "a limit", p_8, o_limit, false },
    { "a put beyond the limit", p_limited, o_put_new, false },
    { "push", p_a5, o_push, false },
    { "the first push", p_none, o_push, false },
    { "a push that needs a larger ring", p_a16, o_push, false },
    { "a push that needs another level", p_a1024, o_push, false },
    { "pop", p_a5, o_pop, false },
    { "shift", p_a5, o_shift, false },
    { "unshift", p_a5, o_unshift, false },
    { "splice: more", p_a5, o_insert, false },
    { "splice: less", p_a5, o_cut, false },
    { "splice without room", p_a5, o_cut_without_room, true },
    { "splice without room, others come", p_a5, o_less_without_room, true },
    { "splice without room, around the ring", p_around, o_far_without_room, true },
    { "splice without room, with a hole", p_around_with_hole, o_far_without_room, true },
    { "splice without room, undone", p_around, o_cut_undone, true },
    { "splice without room, locked", p_around, o_cut_locked, true },
    { "splices without room in one change", p_moved, o_cuts, true },
    { "splices without room, undone", p_around, o_cuts_undone, true },
    { "splices without room in a joint change", p_around, o_cuts_joint, true },
    { "push after a dead splice without room", p_dead_cut, o_push, true },
    { "recovery of a dead splice without room", p_dead_cut, o_recover, true },
    { "splice: others", p_a5, o_replace, false },
    { "array element", p_a5, o_array_put, false },
    { "array element far out", p_a5, o_far, false },
    { "array delete", p_a5, o_array_delete, false },
    { "resize up", p_a5, o_resize_up, false },
    { "resize down", p_a5, o_resize_down, false },
    { "resize to nothing", p_a5, o_empty, false },
    { "shift that leaves a page behind", p_queue, o_shift, false },
    { "around the ring in one change", p_a16, o_around, false },
    { "an array batch", p_a5, o_array_batch, false },
    { "an array batch undone", p_a5, o_array_undone, false },
    { "scalar: number for text", p_scalar, o_scalar_int, false },
    { "scalar: text", p_none, o_scalar_text, false },
    { "scalar: other text", p_scalar, o_scalar_text, false },
    { "scalar: long text", p_scalar, o_scalar_long, false },
    { "attach and release", p_none, o_attach, false },
    { "a variable that comes and goes", p_none, o_new, false },
    { "declare", p_none, o_declare, false },
    { "write lock", p_few, o_write_lock, true },
    { "read lock", p_few, o_read_lock, false },
    { "read lock, then write lock", p_few, o_upgrade, true },
    { "put after a dead writer", p_dead_batch, o_overwrite, false },
    { "push after a dead writer", p_dead_array, o_push, false },
    { "put after a dead lock", p_dead_locks, o_overwrite, false },
    { "recovery of a dead writer", p_dead_batch, o_recover, false },
    { "recovery of a dead writer of an array", p_dead_array, o_recover, false },
    { "a joint change", p_joint, o_joint, true },
    { "a joint change of two of three", p_joint, o_joint_of_two, true },
    { "a joint change of a queue", p_joint_queue, o_joint_queue, true },
    { "a joint change with growth", p_joint_larger, o_joint_larger, true },
    { "a joint change undone", p_joint, o_joint_undone, true },
    { "put after a dead joint change", p_dead_joint, o_overwrite, true },
    { "push after a dead joint change", p_dead_joint, o_push, true },
    { "look after a dead joint change", p_dead_joint, o_look, true },
    { "recovery of a dead joint change", p_dead_joint, o_recover, true },
    { "recovery of a ring", p_ring, o_recover, false },
};

/* --- killed and stopped ----------------------------------------------------------- */

static bool with_reserved; /* what is reserved of the array counts: to look is to be the writer */

static void count_reserved(const store_reservation_t *reservation, void *context)
{
    *(uint64_t *)context += reservation->order;
}

static uint64_t reserved_of(world_t *w)
{
    uint64_t sum = 1;
    MUST(store_begin(w->array, store_deadline(2000 * MS)));
    MUST(store_queue_each(w->array, count_reserved, &sum));
    store_abort(w->array);
    return sum;
}

static bool counts_only; /* which elements a limit takes depends on the seed of the namespace */

static uint64_t content(world_t *w)
{
    uint64_t count;
    if (counts_only) return AGAIN(store_hash_count(w->hash, &count)) == STORE_OK ? count + 1 : 0;
    return mix(content_of(w), with_reserved ? reserved_of(w) : 0);
}

/* A store and its opposite, by the survivor: it takes over what the dead hold. */
static bool survivor_works(world_t *w)
{
    store_value_t value = store_int(1);
    store_key_t   key   = key_of(w->store, "by the survivor");
    bool          right = AGAIN(store_begin(w->hash, store_deadline(2000 * MS))) == STORE_OK;
    if (right) {
        MUST(store_hash_put(w->hash, &key, &value, 0));
        MUST(store_hash_delete(w->hash, &key));
        counts_only ? store_abort(w->hash) : store_commit(w->hash); /* beyond a limit it would take one away */
    }
    return right && AGAIN(store_begin(w->array, store_deadline(2000 * MS))) == STORE_OK && (store_abort(w->array), true);
}

/* All elements go one by one, and their memory to another hash; then others come: is there what
 * there should be, once each? */
static bool hash_is_sound(world_t *w)
{
    char           space[64], name[32];
    store_buffer_t buffer = { space, sizeof space };
    store_key_t    key, aside;
    store_value_t  value = store_text(long_text, 10, false);
    store_look_t   look;
    uint64_t       count;
    bool           right = true;
    int            i;
    for (i = 0; store_hash_next(w->hash, NULL, &key, &buffer) == STORE_OK; i++) {
        MUST(store_hash_delete(w->hash, &key));
        aside = key_number(w->store, name, 30000 + i);
        MUST(store_hash_put(w->aside, &aside, &value, 0));
        if (store_hash_get(w->hash, &key, NULL, NULL) != STORE_ABSENT) right = false;
    }
    fill_hash(w, 20000, 20040, 10);
    MUST(store_hash_count(w->hash, &count));
    MUST(store_look(w->hash, true, &look));
    right = right && (counts_only || (count == 40 && look.count == 40));
    store_look_free(&look);
    return right;
}

/* The content before and after, and in how many stores it comes about. */
static unsigned long measure(const operation_t *operation, uint64_t *before, uint64_t *after)
{
    world_t  w;
    victim_t victim;
    world_make(&w);
    operation->prepare(&w);
    *before = content(&w);
    if (w.dead != 0) { /* to look may have been to settle what is left: again, without a look */
        world_end(&w, true);
        world_make(&w);
        operation->prepare(&w);
    }
    victim = victim_start(&w, run_operation, operation, false);
    run_to(&victim, ULONG_MAX);
    *after = content(&w);
    kill(victim.pid, SIGKILL);
    reap(victim.pid);
    store_recover(w.store);
    RIGHT(content(&w) == *after, "the operation itself");
    RIGHT(world_end(&w, false), "what the operation leaves");
    return victim.stores;
}

static void kill_at(const operation_t *operation, unsigned long k, uint64_t before, uint64_t after)
{
    world_t   w;
    victim_t  victim;
    siginfo_t info;
    uint64_t  first  = 0, then;
    bool      zombie = k % 2 == 0;
    world_make(&w);
    operation->prepare(&w);
    victim = victim_start(&w, run_operation, operation, false);
    run_to(&victim, k);
    kill(victim.pid, SIGKILL);
    if (zombie)
        waitid(P_PID, (id_t)victim.pid, &info, WEXITED | WNOWAIT);
    else
        reap(victim.pid);
    if (k % 3 == 0) {
        first = content(&w);
        RIGHT(first == before || first == after, "what is read after the death");
    }
    if (k % 3 == 1) RIGHT(survivor_works(&w), "a store after the death");
    store_recover(w.store);
    use_what_is_free(&w);
    then = content(&w);
    RIGHT(then == before || then == after, "the content after a recovery");
    RIGHT(first == 0 || first == then, "the content changes by a recovery");
    RIGHT(free_of_locks(&w), "a lock is held");
    RIGHT(survivor_works(&w), "a store after the recovery");
    RIGHT(content(&w) == then, "the content after a store");
    RIGHT(hash_is_sound(&w), "the hash when all is replaced");
    store_recover(w.store);
    if (zombie) reap(victim.pid);
    RIGHT(world_end(&w, true), "something is left");
}

static void stop_at(const operation_t *operation, unsigned long k, uint64_t before, uint64_t after)
{
    world_t  w;
    victim_t victim;
    uint64_t then;
    world_make(&w);
    operation->prepare(&w);
    victim = victim_start(&w, run_operation, operation, false);
    run_to(&victim, k);
    if (!operation->others_wait) {
        then = content(&w);
        RIGHT(then == before || then == after, "what is read meanwhile");
    }
    RIGHT(put_int(w.aside, "k", 1) == STORE_OK, "a store to another variable meanwhile");
    if (k % 4 == 0) {
        store_recover(w.store);
        use_what_is_free(&w);
    }
    run_to(&victim, ULONG_MAX);
    RIGHT(content(&w) == after, "the content in the end");
    ptrace(PTRACE_DETACH, victim.pid, 0, 0);
    kill(victim.pid, SIGKILL);
    reap(victim.pid);
    RIGHT(free_of_locks(&w), "a lock is held in the end");
    store_recover(w.store); /* the victim's marks, and its dead ones' */
    RIGHT(world_end(&w, false), "something is left in the end");
}

int main(int argc, char **argv)
{
    const char   *given  = getenv("STORE_STEP_PLACES");
    unsigned long places = given != NULL ? strtoul(given, NULL, 10) : 60;
    size_t        i;
    test_begin();
    alarm(0);
    for (i = 0; i < sizeof long_text; i++) long_text[i] = (char)('a' + i * 7 % 26);
    for (i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        const operation_t *operation = &operations[i];
        uint64_t           before, after;
        unsigned long      stores, k, stride, killed = 0, edge;
        if (argc > 1 && strstr(operation->name, argv[1]) == NULL) continue;
        failed_at     = NULL;
        counts_only   = strstr(operation->name, "limit") != NULL;
        with_reserved = strstr(operation->name, "of a queue") != NULL;
        stores        = measure(operation, &before, &after);
        if (failed_at != NULL) printf("# %s\n", failed_at);
        edge   = places / 3;
        stride = places == 0 || stores <= places ? 1 : stores / (places - 2 * edge) + 1;
        for (k = 0; k <= stores && failed_at == NULL; k += k < edge || k + edge >= stores ? 1 : stride, killed++) {
            kill_at(operation, k, before, after);
            if (failed_at == NULL) stop_at(operation, k, before, after);
            if (failed_at != NULL) printf("# after %lu of %lu stores: %s\n", k, stores, failed_at);
        }
        ok(failed_at == NULL, "%s: killed and stopped at %lu places of %lu", operation->name, killed, stores);
    }
    return test_done();
}
