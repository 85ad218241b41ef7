/* Who is stopped, or dies, in the middle of a look, while what it looks at is freed and the
 * filesystem is full, goes on unharmed; and nobody waits for it. Needs to mount. */
#include "store_test.h"

#include "../../store/types.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>

enum { BIG = 1 << 20, SMALL = 300, LARGE = 100003 };

static store_t     *store;
static store_var_t *hash, *scalar, *array, *outer, *inner, *filler;

/* Shared with the reader. */
typedef struct looks {
    uint64_t done;
    bool     enough;
} looks_t;
static looks_t *looks;

static char *big_text, *big_space;

/* --- what is looked at, and how ------------------------------------------------------- */

typedef struct kind {
    const char *name;
    void (*put)(void);
    void (*drop)(void);
    void (*look)(void);
} kind_t;

static store_value_t big(void)
{
    return store_text(big_text, BIG, false);
}

/* What is gone, or shorter, is fine; only dying is not. */
static void put_in(store_var_t *var)
{
    store_key_t   key   = key_of(store, "big");
    store_value_t value = big();
    MUST(store_hash_put(var, &key, &value, 0));
}
static void drop_from(store_var_t *var)
{
    store_key_t key = key_of(store, "big");
    MUST(store_hash_delete(var, &key));
}
static void get_from(store_var_t *var)
{
    store_key_t    key    = key_of(store, "big");
    store_buffer_t buffer = { big_space, BIG };
    store_value_t  value;
    store_hash_get(var, &key, &value, &buffer);
}

static void hash_put(void)
{
    put_in(hash);
}
static void hash_drop(void)
{
    drop_from(hash);
}
static void hash_get(void)
{
    get_from(hash);
}
static void hash_look(void)
{
    store_look_t look;
    if (store_look(hash, true, &look) == STORE_OK) store_look_free(&look);
}
static void hash_clear(void)
{
    MUST(store_hash_clear(hash));
}

static void scalar_put(void)
{
    store_value_t value = big();
    MUST(store_scalar_put(scalar, &value));
}
static void scalar_drop(void)
{
    store_value_t value = store_int(1);
    MUST(store_scalar_put(scalar, &value));
}
static void scalar_get(void)
{
    store_buffer_t buffer = { big_space, BIG };
    store_value_t  value;
    store_scalar_get(scalar, &value, &buffer);
}

static void array_put(void)
{
    store_value_t value = big();
    uint64_t      size;
    MUST(store_array_push(array, &value, &size));
}
static void array_drop(void)
{
    MUST(store_array_resize(array, 0));
}
static void array_get(void)
{
    store_buffer_t buffer = { big_space, BIG };
    store_value_t  value;
    store_array_get(array, 0, &value, &buffer);
}

/* A long key, which a walk copies. */
static void key_put(void)
{
    store_key_t   key   = store_key(store, big_text, BIG, false);
    store_value_t value = store_int(1);
    MUST(store_hash_put(hash, &key, &value, 0));
}
static void key_walk(void)
{
    store_buffer_t buffer = { big_space, BIG };
    store_key_t    key;
    store_hash_next(hash, NULL, &key, &buffer);
}

/* The whole variable goes that a glance is at. */
static void inner_put(void)
{
    inner = var_new(store, STORE_HASH);
    put_in(inner);
    MUST(put_ref(outer, "inner", inner));
    store_release(inner);
}
static void inner_drop(void)
{
    MUST(store_hash_clear(outer));
}
static void inner_get(void)
{
    store_key_t    key = key_of(store, "inner");
    store_value_t  value;
    store_glance_t glance;
    store_var_t   *var;
    int            code = store_hash_get(outer, &key, &value, NULL);
    if (code != STORE_MORE && code != STORE_OK) return;
    if ((var = store_glance(outer, &value.number.ref, &glance)) != NULL) get_from(var);
}

/* --- the reader -------------------------------------------------------------------------- */

static pid_t reader_start(const kind_t *kind)
{
    pid_t pid;
    memset(looks, 0, sizeof *looks);
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        while (!__atomic_load_n(&looks->enough, __ATOMIC_RELAXED)) {
            kind->look();
            __atomic_add_fetch(&looks->done, 1, __ATOMIC_RELAXED);
        }
        _exit(0);
    }
    return pid;
}

/* Is it still there, and looking? */
static bool reader_goes_on(pid_t pid, uint64_t more)
{
    uint64_t before = __atomic_load_n(&looks->done, __ATOMIC_RELAXED);
    while (__atomic_load_n(&looks->done, __ATOMIC_RELAXED) < before + more) {
        siginfo_t info = { 0 };
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid) return false;
        nap_ms(1);
    }
    return true;
}

/* Wherever it is: what it says of itself may be wrong. */
static void reader_stop(pid_t pid)
{
    siginfo_t info;
    kill(pid, SIGSTOP);
    waitid(P_PID, (id_t)pid, &info, WSTOPPED);
}

typedef struct reader {
    pid_t pid;
    bool  looks;
} reader_t;

static void reader_mark(store_t *space, store_link_t link, void *context)
{
    reader_t *reader = (reader_t *)context;
    if (__atomic_load_n(&mark_at(space, link)->looking, __ATOMIC_SEQ_CST) != 0 && pool_owner_pid(row_owner(space, link)) == reader->pid)
        reader->looks = true;
}

/* In the middle of a look: elsewhere it goes on, until it is met in one. */
static bool reader_stop_in_look(pid_t pid)
{
    reader_t reader = { pid, false };
    bool     met;
    EVENTUALLY(({
                   reader_stop(pid);
                   row_each(store, STORE_ROW_MARKS, reader_mark, &reader);
                   if (!reader.looks) kill(pid, SIGCONT);
                   reader.looks;
               }),
               met);
    return met;
}

/* --- full --------------------------------------------------------------------------------- */

/* So many more fit. What was given back to the filesystem is needed for them. */
static uint64_t fill_from(int64_t first)
{
    static char text[SMALL];
    char        name[32];
    int64_t     i;
    for (i = first;; i++) {
        store_key_t   key   = key_number(store, name, i);
        store_value_t value = store_text(text, SMALL, false);
        int           code  = AGAIN(store_hash_put(filler, &key, &value, 0));
        if (code == STORE_E_NOSPC) return (uint64_t)(i - first);
        MUST(code);
    }
}

/* A look that was over just now may not have been seen to be. */
static uint64_t fill_later(uint64_t first)
{
    nap_ms(30);
    return fill_from((int64_t)first);
}

typedef struct round {
    bool     met;
    uint64_t while_stopped, after;
    int      ended; /* as reap() */
} round_t;

static round_t round_of(const kind_t *kind, bool dies, bool in_look)
{
    round_t round = { false, 0, 0, 0 };
    pid_t   pid;
    kind->put();
    pid = reader_start(kind);
    if (!reader_goes_on(pid, 5)) {
        round.ended = reap(pid);
        return round;
    }
    if (in_look)
        round.met = reader_stop_in_look(pid);
    else
        reader_stop(pid);
    kind->drop();
    round.while_stopped = fill_from(0);
    if (dies) {
        kill(pid, SIGKILL);
        round.ended = reap(pid) == -SIGKILL ? 0 : 1;
        round.after = fill_later(round.while_stopped);
    }
    else {
        kill(pid, SIGCONT);
        reader_goes_on(pid, 2);
        __atomic_store_n(&looks->enough, true, __ATOMIC_RELAXED);
        round.ended = reap(pid);
        round.after = fill_later(round.while_stopped);
    }
    MUST(store_hash_clear(filler));
    return round;
}

/* How many fit with nobody looking: in some orders fewer, for what was reserved and never used is not given back. */
static uint64_t all_that_fits(const kind_t *kind)
{
    uint64_t least = UINT64_MAX;
    int      i;
    for (i = 0; i < 3; i++) {
        uint64_t fits;
        kind->put();
        kind->drop();
        fits = fill_later(0);
        if (fits < least) least = fits;
        MUST(store_hash_clear(filler));
    }
    return least;
}

static void stopped_or_dead(const kind_t *kind)
{
    enum { TIMES = TEST_PART == 1 ? 8 : 4 }; /* in every second it dies; in the second half it is stopped anywhere */
    uint64_t fits = all_that_fits(kind);
    int      kept = 0, i, ended = 0;
    bool     whole = true;
    for (i = 0; i < TIMES; i++) {
        round_t round = round_of(kind, i % 2 == 1, i < TIMES / 2);
        if (round.ended != 0) ended = round.ended;
        if (round.met && round.while_stopped + BIG / SMALL / 4 < fits) kept++;
        if (round.while_stopped + round.after + fits / 10 < fits) whole = false;
    }
    ok(ended == 0, "%s: who is stopped in it goes on (%d)", kind->name, ended);
    ok(kept == TIMES / 2, "… in %d of %d times the blocks were kept for it", kept, TIMES / 2);
    ok(whole, "… and then given back: %" PRIu64 " fit", fits);
}

/* Somebody looks all the time, but at nothing for long: on a busy machine that may be seen late. */
static void others(const kind_t *kind)
{
    uint64_t fits = all_that_fits(kind), had = 0;
    pid_t    pid = reader_start(kind);
    int      i;
    ok(reader_goes_on(pid, 5), "somebody looks all the time");
    for (i = 0; i < 100 && had + fits / 10 < fits; i++) {
        nap_ms(i < 2 ? 30 : 1100);
        had += fill_from((int64_t)had);
    }
    ok(had + fits / 10 >= fits, "… which keeps nothing: %" PRIu64 " fit", had);
    __atomic_store_n(&looks->enough, true, __ATOMIC_RELAXED);
    ok(reap(pid) == 0, "… and goes on");
    MUST(store_hash_clear(filler));
}

/* What a store fetches ahead before it takes the lock, where a table is large, may be freed meanwhile as well. */
static void large_store(void)
{
    char          name[32];
    store_key_t   key   = key_number(store, name, (int64_t)(looks->done * 7919 % LARGE));
    store_value_t value = store_int(1);
    MUST(store_hash_put(hash, &key, &value, 0));
}

static void stores_look(void)
{
    static const kind_t kind = { "a store", NULL, NULL, large_store };
    pid_t               pid;
    store = space_new("large");
    hash  = var_named(store, STORE_HASH, "%large");
    for (looks->done = 0; looks->done < LARGE; looks->done++) large_store();
    pid = reader_start(&kind);
    ok(reader_goes_on(pid, 5) && reader_stop_in_look(pid), "a store in a large hash is a look before it has the lock");
    large_store();
    kill(pid, SIGCONT);
    ok(reader_goes_on(pid, 5), "… which keeps nobody, and goes on");
    __atomic_store_n(&looks->enough, true, __ATOMIC_RELAXED);
    ok(reap(pid) == 0, "… to its end");
    store_release(hash);
    store_remove_all(store, 0);
    store_close(store);
}

/* From here on the kernel refuses this process membarrier(), and its children. */
static bool forbid_barriers(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof filter[0], filter };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0
           && syscall(SYS_membarrier, 0, 0, 0) == -1;
}

/* Looks go on, and nothing is given back. */
static void without_barriers(const kind_t *kind)
{
    uint64_t fits = all_that_fits(kind), had;
    pid_t    pid;
    kind->put();
    if (!forbid_barriers()) {
        test_skip("cannot forbid a system call", "without membarrier()");
        return;
    }
    pid = reader_start(kind);
    ok(reader_goes_on(pid, 5), "without membarrier() looks go on");
    kind->drop();
    had = fill_from(0);
    ok(had + BIG / SMALL / 4 < fits, "… and nothing is given back: %" PRIu64 " fit", had);
    __atomic_store_n(&looks->enough, true, __ATOMIC_RELAXED);
    ok(reap(pid) == 0, "… to their end");
    MUST(store_hash_clear(filler));
}

int main(void)
{
    static const kind_t kinds[] = {
        { "a value of a hash", hash_put, hash_drop, hash_get },         { "a scalar", scalar_put, scalar_drop, scalar_get },
        { "an element of an array", array_put, array_drop, array_get }, { "a look at all", hash_put, hash_drop, hash_look },
        { "a long key on a walk", key_put, hash_clear, key_walk },      { "a glance", inner_put, inner_drop, inner_get },
    };
    const char *folder;
    size_t      i;
    test_begin();
    looks     = (looks_t *)mmap(NULL, sizeof *looks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    big_text  = (char *)malloc(BIG);
    big_space = (char *)malloc(BIG);
    if (looks == MAP_FAILED || big_text == NULL || big_space == NULL) test_die("memory", "none");
    memset(big_text, 'b', BIG);
    memset(big_space, 0, BIG); /* no page faults of its own in the middle */
    stores_look();
    folder = scratch("full");
    if ((store = space_on_small_filesystem(folder, "size=4m")) == NULL) {
        test_skip("cannot mount a filesystem", "a full filesystem");
        return test_done();
    }
    hash   = var_named(store, STORE_HASH, "%hash");
    scalar = var_named(store, STORE_SCALAR, "$scalar");
    array  = var_named(store, STORE_ARRAY, "@array");
    outer  = var_named(store, STORE_HASH, "%outer");
    filler = var_named(store, STORE_HASH, "%filler");
    for (i = 0; i < sizeof kinds / sizeof kinds[0]; i++) stopped_or_dead(&kinds[i]);
    others(&kinds[0]);
    without_barriers(&kinds[0]);
    store_release(hash);
    store_release(scalar);
    store_release(array);
    store_release(outer);
    store_release(filler);
    store_remove_all(store, 0);
    store_close(store);
    free(big_text);
    free(big_space);
    ok(filesystem_ends(folder), "closed, it keeps nothing of the filesystem");
    return test_done();
}
