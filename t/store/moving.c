/* On a full filesystem the links of an array are moved in place, and nobody looks meanwhile: also
 * where a write lock is taken, or released, in the middle of that change. Needs to mount. */
#include "store_test.h"

#include "../../store/var.h"

#include <stdlib.h>

enum { SIZE = 1500, FIRST = 500, GONE = 10 };

static store_t     *store;
static store_var_t *array, *other;

/* What it has, and what it has after GONE elements have left it. */
static int64_t  before[SIZE], after[SIZE];
static uint64_t size;

static void expect(void)
{
    uint64_t i;
    for (i = 0; i < size - GONE; i++) after[i] = before[i < FIRST ? i : i + GONE];
}

static void happened(void)
{
    size -= GONE;
    memcpy(before, after, sizeof before);
}

/* --- who looks ----------------------------------------------------------------------------- */

enum sight { NOTHING, OLD, NEW, NEITHER };

static uint32_t *seen; /* enum sight, of the process that looks */

static bool is_same(const store_look_t *look, const int64_t *items, uint64_t count)
{
    uint64_t i;
    for (i = 0; look->count == count && i < count; i++)
        if (look->values[i * look->stride].number.i != items[i]) return false;
    return look->count == count;
}

static enum sight look_at(void)
{
    store_look_t look;
    enum sight   sight;
    MUST(store_look(array, true, &look));
    sight = is_same(&look, before, size) ? OLD : is_same(&look, after, size - GONE) ? NEW : NEITHER;
    store_look_free(&look);
    return sight;
}

static pid_t look_elsewhere(void)
{
    pid_t pid;
    __atomic_store_n(seen, NOTHING, __ATOMIC_RELAXED);
    if ((pid = fork_with(STORE_FORK_GOES_ON)) != 0) return pid;
    __atomic_store_n(seen, look_at(), __ATOMIC_RELAXED);
    _exit(0);
}

static bool is_kept_out(void)
{
    nap_ms(60);
    return __atomic_load_n(seen, __ATOMIC_RELAXED) == NOTHING;
}

/* --- who moves ------------------------------------------------------------------------------ */

/* To the last byte, the large first; none takes the place of one that an earlier call or process stored. */
static void fill_up(void)
{
    static const uint64_t lengths[] = { 100000, 4000, 1000, 300, 100, 10, 0 };
    static const char     text[100000];
    static int64_t        number;
    store_var_t          *hash = var_named(store, STORE_HASH, "%fill");
    size_t                i;
    for (i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        for (;; number++) {
            char          name[32];
            store_key_t   key   = key_number(store, name, (int64_t)getpid() << 32 | number);
            store_value_t value = store_text(text, lengths[i], false);
            int           code  = AGAIN(store_hash_put(hash, &key, &value, 0));
            if (code == STORE_E_NOSPC) break;
            MUST(code);
        }
    store_release(hash);
}

/* The links are moved, for want of a page. What an earlier
 * change needed no more may come back late (see trim.c), and is taken first. */
static bool begin_to_move(void)
{
    enum { ATTEMPTS = 20 };
    int attempt;
    for (attempt = 0; attempt < ATTEMPTS; attempt++) {
        fill_up();
        MUST(store_begin(array, STORE_FOREVER));
        MUST(store_array_splice(array, FIRST, GONE, NULL, 0));
        if (array->record->intent == STORE_INTENT_MOVE) return true;
        store_abort(array);
    }
    return false;
}

typedef struct way {
    const char *name;
    bool        locked, commits; /* the lock is there before, and released in the change; else it is taken in it */
} way_t;

static void lock_in_the_middle(const way_t *way)
{
    if (way->locked)
        store_unlock_write(array);
    else
        MUST(store_lock_write(array, STORE_FOREVER, NULL));
}

/* Nobody has a lock, and others can write. */
static bool is_free_for_others(void)
{
    pid_t pid = fork_with(STORE_FORK_GOES_ON);
    if (pid != 0) return reap(pid) == 0;
    if (AGAIN(store_lock_write(array, store_deadline(0), NULL)) != STORE_OK) _exit(1);
    store_unlock_write(array);
    _exit(0);
}

static void moves(const way_t *way)
{
    bool  moved, out;
    pid_t reader;
    expect();
    if (way->locked) MUST(store_lock_write(array, STORE_FOREVER, NULL));
    moved  = begin_to_move();
    reader = look_elsewhere();
    out    = is_kept_out();
    lock_in_the_middle(way);
    out = is_kept_out() && out;
    ok(moved && out, "%s: nobody looks while links are moved", way->name);
    if (way->commits)
        store_commit(array);
    else
        store_abort(array);
    if (!way->locked) {
        ok(is_kept_out(), "… nor after that, before the lock is released");
        store_unlock_write(array);
    }
    ok(reap(reader) == 0 && *seen == (way->commits ? NEW : OLD), "… then what there is is seen");
    if (way->commits) happened();
    ok(look_at() == OLD, "… by the one who did it, too");
    ok(is_free_for_others(), "… and no lock is left");
}

/* The same by a process that dies with the change open; who comes is its heir. */
static void moves_and_dies(const way_t *way)
{
    pid_t pid;
    expect();
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        if (way->locked) MUST(store_lock_write(array, STORE_FOREVER, NULL));
        if (!begin_to_move()) _exit(1);
        lock_in_the_middle(way);
        kill(getpid(), SIGKILL);
    }
    ok(reap(pid) == -SIGKILL, "%s, and dies", way->name);
    ok(look_at() == OLD, "… then nothing has happened");
    ok(is_free_for_others(), "… and no lock is left");
}

/* As it is to be after elements have left it in these ways, one after the other. */
static void expect_more(uint64_t *count)
{
    expect();
    memmove(after + 1, after + 3, (size - GONE - 3) * sizeof *after); /* splice: two at 1 */
    memmove(after, after + 1, (size - GONE - 3) * sizeof *after);     /* shift */
    memmove(after + 700, after + 800, (size - GONE - 3 - 800) * sizeof *after);
    *count = size - GONE - 3 - 100 - 4; /* resize */
}

static bool take_more(uint64_t count)
{
    return store_array_splice(array, 1, 2, NULL, 0) == STORE_OK && store_array_splice(array, 0, 1, NULL, 0) == STORE_OK
           && store_array_splice(array, 700, 100, NULL, 0) == STORE_OK && store_array_resize(array, count) == STORE_OK
           && store_array_delete(array, 5) == STORE_OK && store_array_get(array, 5, NULL, NULL) == STORE_ABSENT;
}

/* Once links were moved, more can be taken away in the same change, from anywhere. */
static void takes_more(bool joint, bool commits)
{
    store_value_t value = store_int(1);
    uint64_t      count, i, had;
    bool          right;
    expect_more(&count);
    right = begin_to_move();
    if (joint) MUST(store_begin_joint(other, STORE_FOREVER));
    ok(right && take_more(count), "more is taken away in a change in which links were moved");
    ok(store_array_splice(array, 1, 0, &value, 1) == STORE_E_NOSPC, "… but nothing comes into the middle");
    if (!commits) {
        store_abort(array);
        if (joint) store_abort(other);
        ok(look_at() == OLD, "… undone, nothing has happened");
        return;
    }
    MUST(store_scalar_put(other, &value));
    if (joint) {
        store_var_t *both[] = { array, other };
        MUST(store_commit_all(both, 2));
    }
    else
        store_commit(array);
    MUST(store_array_size(array, &had));
    right = had == count;
    for (i = 0; i < count; i++) {
        int code = AGAIN(store_array_get(array, i, &value, NULL));
        right    = right && (i == 5 ? code == STORE_ABSENT : code == STORE_OK && value.number.i == after[i]);
    }
    ok(right, "… committed, all of it has happened");
    ok(is_free_for_others(), "… and no lock is left");
}

int main(void)
{
    static const way_t ways[] = {
        { "a lock that is taken in a change", false, true },
        { "one that is taken in a change that is undone", false, false },
        { "a lock that is released in a change", true, true },
        { "one that is released in a change that is undone", true, false },
    };
    const char *folder;
    size_t      i;
    test_begin();
    folder = scratch("full");
    if ((store = space_on_small_filesystem(folder, "size=4m")) == NULL) {
        test_skip("cannot mount a filesystem", "a full filesystem");
        return test_done();
    }
    seen = (uint32_t *)mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (seen == MAP_FAILED) test_die("memory", "none");
    array = var_named(store, STORE_ARRAY, "@array");
    other = var_named(store, STORE_SCALAR, "$other");
    for (size = 0; size < SIZE; size++) {
        before[size] = (int64_t)size;
        MUST(push_int(array, (int64_t)size));
    }
    for (i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        moves(&ways[i]);
        moves_and_dies(&ways[i]);
    }
    takes_more(false, false);
    takes_more(true, false);
    takes_more(true, true);
    store_release(array);
    store_release(other);
    store_remove_all(store, 0);
    store_close(store);
    ok(filesystem_ends(folder), "closed, it keeps nothing of the filesystem");
    return test_done();
}
