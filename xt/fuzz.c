/*
 * Hostile bytes. An input of the fuzzer is a small program: its first byte says
 * what to attack, the others how.
 *
 *   attach   a file of arbitrary bytes, or a pool with bytes exchanged, is opened
 *   operate  operations on a handle, and between them the shared bytes are
 *            scribbled on; with the top bit set another thread scribbles, too,
 *            through another mapping, all the while
 *
 * No input may crash, reach out of bounds, or keep an operation from ending.
 * With -fsanitize=fuzzer libFuzzer makes the inputs; with -DFUZZ_REPLAY the
 * program runs the files that it is given, once each.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

/* The pool's mappings lie between pages that nobody may touch, so that a step
 * out of bounds is a crash wherever the kernel happens to put them. */
#define GUARD ((size_t)65536)

static void *guarded_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    char *room = (char *)mmap(at, size + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void *base;
    if (room == (char *)MAP_FAILED) return MAP_FAILED;
    base = mmap(room + GUARD, size, protection, flags | MAP_FIXED, fd, offset);
    if (base == MAP_FAILED) munmap(room, size + 2 * GUARD);
    return base;
}

static int guarded_munmap(void *base, size_t size)
{
    return munmap((char *)base - GUARD, size + 2 * GUARD);
}

#define mmap   guarded_mmap
#define munmap guarded_munmap
#define POOL_IMPLEMENTATION
#include "../pool.h"
#undef mmap
#undef munmap

/* --- the input ------------------------------------------------------------ */

typedef struct input {
    const uint8_t *at, *end;
} input_t;

static uint64_t take(input_t *in, int bytes)
{
    uint64_t value = 0;
    for (; bytes > 0 && in->at < in->end; bytes--) value = value << 8 | *in->at++;
    return value;
}

#define EXPECT(what)                                                         \
    do                                                                       \
        if (!(what)) {                                                       \
            fprintf(stderr, "%s does not hold, line %d\n", #what, __LINE__); \
            abort();                                                         \
        }                                                                    \
    while (0)

/* --- scribbling ------------------------------------------------------------ */

typedef struct victim {
    pool_t  *pool;
    uint8_t *bytes; /* another mapping of the pool */
    size_t   size;
    uint64_t me, dead; /* owner words: of this process, of one that is no more */
    int      sleeps;   /* so many more operations may wait */
} victim_t;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Words that mean something, and one that does not. */
static uint64_t nasty(const victim_t *victim, uint64_t choice, uint64_t other)
{
    switch (choice % 12) {
    case 0: return 0;
    case 1: return UINT64_MAX;
    case 2: return victim->me;
    case 3: return victim->me | POOL_I_BUSY;
    case 4: return victim->dead;
    case 5: return victim->dead | POOL_I_BUSY;
    case 6: return POOL_I_NOBODY;
    case 7: return POOL_I_BUSY;
    case 8: return 1;
    case 9: return (uint64_t)1 << other % 64;
    case 10: return victim->pool->capacity;
    default: return other * UINT64_C(0x9e3779b97f4a7c15);
    }
}

/* Where: the header, the tables behind it, the index, the records, the data. */
static size_t somewhere(const victim_t *victim, uint64_t choice, uint64_t other)
{
    const size_t part[] = { 0,
                            64,
                            192,
                            4096,
                            sizeof(pool_header_t),
                            (size_t)((uint8_t *)victim->pool->records - (uint8_t *)victim->pool->header),
                            (size_t)victim->pool->data_offset,
                            victim->size };
    size_t       from = part[choice % 7], to = part[choice % 7 + 1];
    return (from + other % (to > from ? to - from : 1)) & ~(size_t)7;
}

static void scribble(const victim_t *victim, uint64_t where, uint64_t what)
{
    size_t at = somewhere(victim, where, where >> 8);
    if (at + 8 <= victim->size)
        __atomic_store_n((uint64_t *)(void *)(victim->bytes + at), nasty(victim, what, what >> 8), __ATOMIC_RELAXED);
}

/* The other thread: scribbles on whatever pool is its target. */
static pthread_mutex_t scribbling = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t  wanted     = PTHREAD_COND_INITIALIZER;
static const victim_t *target;
static uint64_t        target_seed;

static void *scribbler(void *unused)
{
    int i;
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&scribbling);
        while (target == NULL) pthread_cond_wait(&wanted, &scribbling);
        for (i = 0; i < 50; i++) scribble(target, next_random(&target_seed), next_random(&target_seed));
        pthread_mutex_unlock(&scribbling);
        sched_yield();
    }
    return NULL;
}

static void scribble_on(const victim_t *victim, uint64_t seed)
{
    static bool started;
    pthread_t   thread;
    if (!started) started = pthread_create(&thread, NULL, scribbler, NULL) == 0 && pthread_detach(thread) == 0;
    pthread_mutex_lock(&scribbling);
    target      = victim;
    target_seed = seed | 1;
    pthread_cond_signal(&wanted);
    pthread_mutex_unlock(&scribbling);
}

/* --- operations ------------------------------------------------------------ */

static bool keep_some(pool_t *pool, uint64_t slot, uint64_t owner, void *context)
{
    (void)owner;
    EXPECT(slot < pool->capacity);
    return (++*(uint64_t *)context & 3) != 0;
}

static void operate_on_data(victim_t *victim, input_t *in, uint64_t slot)
{
    pool_t     *pool  = victim->pool;
    uint64_t    value = take(in, 8);
    uint32_t    length;
    bool        done, utf8;
    const char *text;
    char        copy[256];

    switch (pool->variant) {
    case POOL_I64:
        pool_i64_set(pool, slot, (int64_t)value);
        pool_i64_add(pool, slot, (int64_t)value);
        pool_i64_cas(pool, slot, pool_i64_xchg(pool, slot, 5), 6, &done);
        break;
    case POOL_I32:
        pool_i32_set(pool, slot, (int32_t)value);
        pool_i32_add(pool, slot, (int32_t)value);
        pool_i32_cas(pool, slot, pool_i32_xchg(pool, slot, 5), 6, &done);
        break;
    case POOL_F64:
        pool_f64_add(pool, slot, pool_i_double(value));
        pool_f64_cas(pool, slot, pool_f64_get(pool, slot), pool_i_double(value), &done);
        pool_f64_xchg(pool, slot, 1.5);
        break;
    case POOL_STR:
        text = pool_str_get(pool, slot, &length, &utf8); /* whatever is there */
        EXPECT(length <= pool->elem_size - POOL_STR_HEAD);
        memcpy(copy, text, length < sizeof copy ? length : sizeof copy);
        length = (uint32_t)(value % (pool->elem_size - POOL_STR_HEAD + 1) % sizeof copy);
        memset(copy, 'x', sizeof copy);
        pool_str_set(pool, slot, copy, length, value & 1);
        break;
    default: memset(pool_ptr(pool, slot), (int)value, pool->elem_size);
    }
}

static int64_t patience(victim_t *victim)
{
    return victim->sleeps-- > 0 ? 100000 : 0; /* 0.1 ms */
}

static void operate(victim_t *victim, input_t *in)
{
    pool_t       *pool = victim->pool;
    uint64_t      slot = take(in, 2) % pool->capacity, slots[64], n, i;
    pool_counts_t all;
    int           code;

    switch (take(in, 1) % 20) {
    case 0:
        slot = pool_try_alloc(pool);
        EXPECT(slot < pool->capacity || slot >= POOL_NOSPC);
        break;
    case 1:
        if (pool_alloc(pool, patience(victim), &slot) == POOL_OK) EXPECT(slot < pool->capacity);
        break;
    case 2:
    case 3:
        n    = take(in, 1) % 65;
        code = pool_alloc_n(pool, n, patience(victim), slots);
        for (i = 0; code == POOL_OK && i < n; i++) EXPECT(slots[i] < pool->capacity);
        break;
    case 4: pool_free(pool, slot); break;
    case 5:
        n = take(in, 1) % 65;
        for (i = 0; i < n; i++) slots[i] = (slot + i) % pool->capacity;
        pool_free_n(pool, slots, n);
        break;
    case 6: pool_free_generation(pool, slot, pool_generation(pool, slot)); break;
    case 7: pool_adopt(pool, slot); break;
    case 8: pool_disown(pool, slot); break;
    case 9: pool_recover(pool, NULL, NULL); break;
    case 10:
        n = slot;
        pool_recover(pool, keep_some, &n);
        break;
    case 11: pool_reset(pool); break;
    case 12:
        EXPECT(pool_used(pool) <= pool->capacity);
        for (i = 0; (i = pool_next_allocated(pool, i)) != POOL_NONE; i++) EXPECT(i < pool->capacity);
        break;
    case 13: pool_stats(pool, &all); break;
    case 14: pool_owner_life(pool, nasty(victim, take(in, 1), take(in, 2))); break;
    case 15:
        if (pool->variant == POOL_I64) pool_wait(pool, slot, pool_i64_get(pool, slot), patience(victim));
        if (pool->variant == POOL_I32) pool_wait(pool, slot, pool_i32_get(pool, slot), patience(victim));
        pool_wake(pool, slot, 1);
        break;
    case 16: pool_auto_recover(pool, (int64_t)take(in, 1)); break;
    case 17: pool_unadopt(pool, slot, pool_generation(pool, slot), victim->dead); break;
    default: operate_on_data(victim, in, slot);
    }
}

/* --- what is attacked ------------------------------------------------------ */

/* A pool of a geometry that the input chooses, in a memfd; sparse ones, too. */
static pool_t *some_pool(input_t *in, int fd)
{
    static const uint64_t capacity[]  = { 1, 2, 15, 16, 17, 64, 255, 257, 300, 1000, 4097, 20000 };
    static const uint64_t elem_size[] = { 0, 24, 8, 4, 8, 13 };
    uint64_t              choice      = take(in, 1);
    pool_spec_t           spec        = { (uint32_t)(1 + choice % 5), capacity[take(in, 1) % 12], 0, choice & 0x80 ? POOL_SPARSE : 0, 0 };
    char                  path[40];
    spec.elem_size = elem_size[spec.variant];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return pool_open(path, &spec, NULL);
}

static uint64_t dead_owner(pool_t *pool)
{
    static uint64_t start;
    if (start == 0) start = pool_i_me(pool) ^ POOL_I_TIME_MASK; /* our PID, in an earlier life */
    return (start & ~POOL_I_TAG_MASK) | (pool_i_me(pool) & POOL_I_TAG_MASK);
}

static void attack_operations(input_t *in, int fd, bool thread)
{
    victim_t victim = { some_pool(in, fd), NULL, 0, 0, 0, 2 };
    int      steps;

    if (victim.pool == NULL) return;
    victim.size  = victim.pool->total_size;
    victim.bytes = (uint8_t *)mmap(NULL, victim.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    EXPECT(victim.bytes != (uint8_t *)MAP_FAILED);
    victim.me   = pool_i_me(victim.pool);
    victim.dead = dead_owner(victim.pool);
    if (thread) scribble_on(&victim, take(in, 8));
    for (steps = 0; in->at < in->end && steps < 200; steps++) {
        if (*in->at & 1)
            operate(&victim, in);
        else {
            uint64_t where = take(in, 3), what = take(in, 3);
            scribble(&victim, where, what);
        }
    }
    pool_recover(victim.pool, NULL, NULL);
    if (thread) scribble_on(NULL, 0);
    pool_close(victim.pool);
    munmap(victim.bytes, victim.size);
}

/* Whatever the file was made: if it is opened, it works. */
static void use(pool_t *pool, input_t *in)
{
    victim_t victim = { pool, NULL, 0, 0, 0, 0 };
    int      steps;
    if (pool == NULL) return;
    victim.me   = pool_i_me(pool);
    victim.dead = dead_owner(pool);
    for (steps = 0; steps < 20; steps++) operate(&victim, in);
    pool_close(pool);
}

static void open_both_ways(input_t *in, int fd)
{
    pool_spec_t  want = { (uint32_t)(take(in, 1) % 7), 0, 0, (uint32_t)take(in, 1) & 7, 0600 };
    pool_error_t err;
    char         path[40];

    if (want.flags & 4) {
        want.capacity  = take(in, 1) * 7;
        want.elem_size = take(in, 1) % 32;
    }
    err.text[0] = '\0';
    use(pool_open_fd(fd, &want, &err), in);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    use(pool_open(path, &want, &err), in);
    EXPECT(memchr(err.text, '\0', sizeof err.text) != NULL);
}

/* Arbitrary bytes are the file's beginning; it may be longer than they are. */
static void attack_with_bytes(input_t *in, int fd)
{
    input_t how  = *in;
    off_t   size = (off_t)take(&how, 2) * 32;
    size_t  left = (size_t)(how.end - how.at);
    if (left > 0 && pwrite(fd, how.at, left, 0) != (ssize_t)left) return;
    if (size > (off_t)left && ftruncate(fd, size) != 0) return;
    open_both_ways(in, fd);
}

/* A pool, with some of its bytes exchanged or its end cut off. */
static void attack_with_a_pool(input_t *in, int fd)
{
    pool_t *pool = some_pool(in, fd);
    int     patches;
    off_t   size;
    if (pool == NULL) return;
    size = (off_t)pool->total_size;
    pool_close(pool);
    for (patches = (int)(take(in, 1) % 8); patches > 0; patches--) {
        uint64_t where = take(in, 2), word = take(in, 1), bits = take(in, 1);
        word = bits < 64 ? word << bits : word;
        if (where & 0x8000)
            where %= (uint64_t)size;
        else
            where %= offsetof(pool_header_t, pad0);
        if (pwrite(fd, &word, 1 + bits % 8, (off_t)where) < 0) return;
    }
    if ((take(in, 1) & 15) == 0 && ftruncate(fd, size - (off_t)take(in, 2) % size) != 0) return;
    open_both_ways(in, fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    input_t  in   = { bytes, bytes + size };
    uint64_t kind = take(&in, 1);
    int      fd   = (int)syscall(SYS_memfd_create, "fuzz", MFD_CLOEXEC);

    if (fd < 0) return 0;
    switch (kind % 4) {
    case 0: attack_with_bytes(&in, fd); break;
    case 1: attack_with_a_pool(&in, fd); break;
    default: attack_operations(&in, fd, kind >= 0x80 && kind % 16 == 2); /* each such costs a scheduling */
    }
    close(fd);
    return 0;
}

#include "replay.h"
