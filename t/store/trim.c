/* Memory is given back to the filesystem only where nobody can look: in the cases that are too short for t/store/stopped.c to
 * meet them. */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* Called before each load of a word that processes share. */
static void (*before_load)(void);

static void about_to_load(void)
{
    if (before_load != NULL) before_load();
}

#define __atomic_load_n(word, order) (about_to_load(), __atomic_load_n(word, order))

#include <sched.h>
#include <time.h>

static int pauses; /* while somebody is waited for */

#define sched_yield()         (pauses++, sched_yield())
#define nanosleep(time, left) (pauses++, nanosleep(time, left))

/* The library is part of this program. */
#define POOL_IMPLEMENTATION
#include "../../pool.h"
#include "../../pool_grow.h"
#include "../../pool_lock.h"

#include "../../store/array.c"
#include "../../store/cell.c"
#include "../../store/change.c"
#include "../../store/clock.c"
#include "../../store/expiry.c"
#include "../../store/hash.c"
#include "../../store/key.c"
#include "../../store/lock.c"
#include "../../store/look.c"
#include "../../store/queue.c"
#include "../../store/recover.c"
#include "../../store/scalar.c"
#include "../../store/space.c"
#include "../../store/store.c"
#include "../../store/table.c"
#include "../../store/tree.c"
#include "../../store/trim.c"
#include "../../store/var.c"

#undef __atomic_load_n
#undef sched_yield
#undef nanosleep

#include "store_test.h"

#include <sys/resource.h>

/* --- a slot that is used while others are asked ------------------------------------------ */

enum { SLOTS = 8 };

static pool_t  *pool;
static long     countdown; /* loads until another one allocates everything */
static uint64_t taken[SLOTS];
static int      taken_count;

static void take_all(void)
{
    if (countdown-- > 0) return;
    before_load = NULL;
    for (taken_count = 0; taken_count < SLOTS; taken_count++)
        if ((taken[taken_count] = pool_try_alloc(pool)) >= POOL_NOSPC) break;
}

/* Nobody looks. Now somebody begins, and the slots are freed to which he comes. */
static bool nobody_looks(void *context)
{
    int i;
    (void)context;
    before_load = NULL; /* it is too late to take any */
    for (i = 0; i < taken_count; i++) pool_free(pool, taken[i]);
    return true;
}

/* Another one allocates before the load of this number. Is none of what it has in use, when others are asked, given back?
 * *more: there are more loads before they are asked. */
static bool used_at(long load, bool *more)
{
    pool_spec_t  spec = { POOL_RAW, SLOTS, 8192, POOL_SPARSE, 0 };
    pool_error_t err;
    uint64_t     slot, all[SLOTS];
    bool         kept = true;
    int          i;
    if ((pool = pool_open(space_path("pool"), &spec, &err)) == NULL) test_die("a pool", err.text);
    for (slot = 0; slot < SLOTS; slot++) all[slot] = pool_try_alloc(pool);
    for (slot = 0; slot < SLOTS; slot++) pool_free(pool, all[slot]);
    countdown   = load;
    taken_count = 0;
    before_load = take_all;
    pool_trim(pool, nobody_looks, NULL);
    before_load = NULL;
    *more       = countdown < 0;
    for (i = 0; i < taken_count; i++)
        if ((pool->records[taken[i]].uses & POOL_I_TRIMMED) != 0) kept = false;
    pool_close(pool);
    unlink(space_path("pool"));
    return kept;
}

static void used_meanwhile(void)
{
    long load, wrong = -1;
    bool more = true;
    for (load = 0; more; load++)
        if (!used_at(load, &more) && wrong < 0) wrong = load;
    ok(load > SLOTS && wrong < 0, "what is used while others are asked is kept, whenever it was taken: before %ld loads (%ld)", load,
       wrong);
}

/* --- a block that is being given back -------------------------------------------------------- */

/* The first block of a long cell, as a reader of a torn cell may have it, or of one that died as it freed it. */
static void claimed_block(void)
{
    store_t       *store = space_new("claimed");
    store_error_t  err;
    static char    text[10000];
    store_value_t  value  = store_text(text, sizeof text, false), got;
    store_buffer_t buffer = { text, sizeof text };
    store_link_t   link   = cell_make(store, NULL, &value, 0, &err), block;
    store_cell_t  *cell   = cell_at(store, link);
    uint64_t       index;
    pool_t        *blocks;
    if (cell == NULL) test_die("a cell", err.text);
    block  = *cell_first_block(cell, row_size(store, link));
    blocks = row_pool(store, block, &index);
    ok(cell_value(store, link, cell, &got, &buffer) == STORE_OK, "a long value is read");
    row_free(store, block);
    ok(cell_value(store, link, cell, &got, &buffer) == STORE_E_DAMAGED, "… but not from a block that is free");
    if (!pool_i_claim(blocks, index, pool_i_me(blocks))) test_die("a slot", "cannot be claimed");
    ok(cell_value(store, link, cell, &got, &buffer) == STORE_E_DAMAGED, "… nor from one whose memory is being given back");
    pool_i_unclaim(blocks, index);
    store_remove_all(store, 0);
    store_close(store);
}

/* --- marks that a process does not see --------------------------------------------------------- */

/* Room for the beginning of the file only. False: that cannot be had here. */
static bool little_address_space(void)
{
    struct rlimit limit;
    FILE         *file  = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    bool          known = file != NULL && fscanf(file, "%lu", &pages) == 1;
    if (file != NULL) fclose(file);
    limit.rlim_cur = limit.rlim_max = (rlim_t)pages * 4096 + ((rlim_t)400 << 20);
    return known && setrlimit(RLIMIT_AS, &limit) == 0;
}

static bool trims(store_t *store)
{
    STORE_STORE(store->frees, 1);
    STORE_STORE(store->in_vain, 0);
    return space_trim(store);
}

/* The process with little address space: 0: it gave nothing back, 1: it did, 2: it sees everything. */
static int see_little(const char *path, int ready, int go)
{
    store_error_t err;
    store_t      *store;
    char          byte = 0;
    if (read(go, &byte, 1) != 1 || !little_address_space() || (store = store_open(path, NULL, &err)) == NULL) return 2;
    if (store->size >= store->header->size) return 2;
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1) return 2;
    return trims(store) ? 1 : 0;
}

/* Somebody looks, and has just been waited for in vain. Does nobody wait for him at the next store? The next is within a
 * second; else it is tried again. */
static bool is_not_waited_for_again(store_t *store)
{
    uint64_t first;
    int      waited;
    do {
        trims(store);
        first  = store->in_vain;
        pauses = 0;
        STORE_STORE(store->frees, 1);
        space_trim(store);
        waited = pauses;
    } while (store->in_vain - first >= TRIM_IN_VAIN_NS);
    return first != 0 && waited == 0;
}

static void look_at(store_var_t *var, store_sight_t *sight)
{
    if (look_begin(var, sight) != STORE_OK) test_die("a look", "does not begin");
}

static void unseen_marks(void)
{
    static char   text[1 << 20];
    char          path[400], byte = 0;
    int           ready[2], go[2], status = 0, i;
    pid_t         pid;
    store_t      *store;
    store_var_t  *scalar, *user[100];
    store_value_t value = store_text(text, sizeof text, false), nothing = store_int(0);
    store_sight_t sight;
    store_error_t err;
    snprintf(path, sizeof path, "%s", space_path("marks"));
    if (pipe(ready) != 0 || pipe(go) != 0) test_die("a pipe", "none");
    if ((pid = fork()) == 0) _exit(see_little(path, ready[1], go[0]));
    close(ready[1]);
    store  = space_new("marks");
    scalar = var_named(store, STORE_SCALAR, "$scalar");
    MUST(store_scalar_put(scalar, &value));
    MUST(store_scalar_put(scalar, &nothing));
    if (write(go[1], &byte, 1) != 1 || read(ready[0], &byte, 1) != 1) {
        waitpid(pid, &status, 0);
        test_skip("all of the file is mapped", "marks that a process does not see");
    }
    else {
        store->header->next += UINT64_C(512) << 20; /* what is made from here on is out of its reach */
        for (i = 0; i < 100; i++)
            if ((user[i] = store_clone(scalar, &err)) == NULL) test_die("a handle", err.text);
        look_at(user[99], &sight);
        if (write(go[1], &byte, 1) != 1) test_die("a pipe", "closed");
        waitpid(pid, &status, 0);
        ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "who does not see all marks gives nothing back (%d)", status);
        ok(!trims(store), "… nor does who sees that somebody looks");
        ok(is_not_waited_for_again(store), "… which is not waited for at each store");
        look_end(&sight);
        ok(trims(store), "… when nobody looks it is given back");
        for (i = 0; i < 100; i++) store_release(user[i]);
    }
    close(ready[0]);
    close(go[0]);
    close(go[1]);
    store_release(scalar);
    store_remove_all(store, 0);
    store_close(store);
}

int main(void)
{
    test_begin();
    used_meanwhile();
    claimed_block();
    unseen_marks();
    return test_done();
}
