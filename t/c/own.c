/* Who holds a slot: adopt, disown, and recovery of what the dead held. */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>

typedef struct work {
    pool_t           *pool;
    int               n;
    volatile uint64_t slots[64];
    volatile int      ready;
} work_t;

/* A child that takes n slots and then waits to be killed. */
static int hold(void *argument)
{
    work_t *work = argument;
    int     i;
    for (i = 0; i < work->n; i++) {
        work->slots[i] = pool_try_alloc(work->pool);
        pool_i64_set(work->pool, work->slots[i], 1000 + i);
    }
    work->ready = 1;
    while (pause() != 0) {}
    return 0;
}

static work_t *work_on(pool_t *pool, int n)
{
    work_t *work = shared(sizeof *work);
    work->pool   = pool;
    work->n      = n;
    return work;
}

static pid_t holder(work_t *work)
{
    pid_t pid;
    bool  held;
    work->ready = 0;
    pid         = child(hold, work);
    EVENTUALLY(work->ready, held);
    if (!held) printf("# the holder is not ready\n");
    return pid;
}

static void owners(void)
{
    pool_t  *pool = anonymous(POOL_I64, 200, 8);
    work_t  *work = work_on(pool, 3);
    uint64_t mine = pool_try_alloc(pool), theirs;
    pid_t    pid  = holder(work);

    theirs = work->slots[1];
    ok(pool_owner(pool, mine) == getpid(), "an allocated slot is its allocator's");
    ok(pool_owner(pool, theirs) == pid, "… a child has its own name");
    ok(pool_owner(pool, 199) == 0, "… a free slot is nobody's");
    ok(pool_recover(pool, NULL, NULL) == 0 && pool_used(pool) == 4, "recovery touches no slot of the living");
    ok(pool_adopt(pool, theirs) && pool_owner(pool, theirs) == getpid(), "adopt: mine now");
    ok(pool_i64_get(pool, theirs) == 1001, "… as it was");
    ok(!pool_adopt(pool, 199) && !pool_disown(pool, 199), "a free slot cannot be adopted or disowned");
    ok(pool_disown(pool, work->slots[2]) && pool_owner(pool, work->slots[2]) == 0, "disown: nobody's");
    ok(pool_is_allocated(pool, work->slots[2]), "… but allocated");
    ok(pool_free(pool, work->slots[0]) && !pool_is_allocated(pool, work->slots[0]), "a slot of another process can be freed");
    kill_and_reap(pid);
    ok(pool_recover(pool, NULL, NULL) == 0, "what was adopted, disowned or freed does not die with its allocator");
    ok(pool_used(pool) == 3 && pool_i64_get(pool, work->slots[2]) == 1002, "… and is there");
    ok(pool_adopt(pool, work->slots[2]) && pool_owner(pool, work->slots[2]) == getpid(), "the disowned can be adopted");
    ok(pool_disown(pool, theirs) && pool_free(pool, theirs), "… or freed");
    pool_close(pool);
}

static void killed(uint64_t capacity)
{
    pool_t       *pool = anonymous(POOL_I64, capacity, 8);
    work_t       *work = work_on(pool, 10);
    uint64_t      mine = pool_try_alloc(pool), i;
    pool_counts_t all;
    pid_t         pid;

    pool_i64_set(pool, mine, 4711);
    for (i = 0; i < 3; i++) kill_and_reap(holder(work));
    ok(pool_used(pool) == 31, "%llu slots: three processes died with ten each", (unsigned long long)capacity);
    pid = holder(work);
    ok(pool_recover(pool, NULL, NULL) == 30, "… which recovery frees");
    ok(pool_used(pool) == 11 && pool_is_allocated(pool, mine) && pool_i64_get(pool, mine) == 4711, "… and no other");
    ok(pool_recover(pool, NULL, NULL) == 0, "… once");
    kill(pid, SIGKILL);
    waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
    ok(pool_recover(pool, NULL, NULL) == 10, "a zombie is dead");
    reap(pid);
    all = counts(pool);
    ok(all.recoveries == 40 && all.used == 1 && all.allocs == 41 && all.frees == 40, "the statistics agree");
    for (i = 1; i < capacity && pool_try_alloc(pool) < POOL_NOSPC; i++) {}
    ok(i == capacity && pool_used(pool) == capacity, "all slots can be had again");
    pool_close(pool);
}

/* Many recover at once: each slot is freed once. */
static int recover_all(void *argument)
{
    work_t *work = argument;
    while (!work->ready) sched_yield();
    return (int)pool_recover(work->pool, NULL, NULL);
}

static void recover_together(void)
{
    pool_t *pool = anonymous(POOL_I64, 300, 8);
    work_t *work = work_on(pool, 60);
    pid_t   pid[4];
    int     i, freed = 0;
    kill_and_reap(holder(work));
    work->ready = 0;
    for (i = 0; i < 4; i++) pid[i] = child(recover_all, work);
    work->ready = 1;
    for (i = 0; i < 4; i++) freed += reap(pid[i]);
    ok(freed == 60 && pool_used(pool) == 0, "four recover at once: 60 slots are freed once each");
    pool_close(pool);
}

/* The callback. */
static pid_t    seen_pid;
static uint64_t seen, kept, seen_owner;
static jmp_buf  out;

static bool keep_one(pool_t *pool, uint64_t slot, uint64_t owner, void *context)
{
    seen++;
    seen_owner = owner;
    seen_pid   = pool_owner_pid(owner);
    if (pool_owner(pool, slot) != getpid() || pool_i64_get(pool, slot) < 1000) return true;
    if (slot != *(const uint64_t *)context) return true;
    kept++;
    return false;
}

static bool jump(pool_t *pool, uint64_t slot, uint64_t owner, void *context)
{
    (void)context;
    pool_unadopt(pool, slot, pool_generation(pool, slot), owner);
    longjmp(out, 1);
}

static bool die(pool_t *pool, uint64_t slot, uint64_t owner, void *context)
{
    (void)pool;
    (void)slot;
    (void)owner;
    (void)context;
    raise(SIGKILL);
    return true;
}

static int recover_and_die(void *pool)
{
    pool_recover(pool, die, NULL);
    return 0;
}

static void callbacks(void)
{
    pool_t  *pool = anonymous(POOL_I64, 100, 8);
    work_t  *work = work_on(pool, 5);
    pid_t    pid  = holder(work);
    uint64_t wanted;

    kill_and_reap(pid);
    if (setjmp(out) == 0) pool_recover(pool, jump, NULL);
    ok(pool_used(pool) == 5 && pool_next_allocated(pool, 0) != POOL_NONE && pool_owner(pool, work->slots[0]) == pid,
       "a callback left by longjmp gives the slot back to the dead");
    ok(reap(child(recover_and_die, pool)) == -SIGKILL && pool_used(pool) == 5, "a recoverer is killed in its callback");
    wanted = work->slots[3];
    ok(pool_recover(pool, keep_one, &wanted) == 4 && seen == 5, "the next recovers all, calling back for each");
    ok(kept == 1 && pool_owner(pool, wanted) == getpid(), "… a slot that the callback keeps is the recoverer's");
    ok(pool_used(pool) == 1 && seen_owner != 0 && seen_pid == pid, "… and the others are free");
    pool_close(pool);
}

/* Owner words that no living process of ours can have. */
static void strangers(void)
{
    pool_t  *pool = anonymous(POOL_I64, 10, 8);
    uint64_t slot = pool_try_alloc(pool), me = pool_owner_word(pool, slot), tag = 7;
    uint64_t entry = pool->header->namespaces[(me & POOL_I_TAG_MASK) >> POOL_I_PID_BITS];

    while (pool->header->namespaces[tag] != 0) tag++;
    pool_unadopt(pool, slot, pool_generation(pool, slot), me ^ POOL_I_TIME_MASK);
    ok(pool_recover(pool, NULL, NULL) == 1, "our PID with another start time is another process, and dead");

    slot = pool_try_alloc(pool);
    pool_unadopt(pool, slot, pool_generation(pool, slot), (me & ~POOL_I_TAG_MASK) | tag << POOL_I_PID_BITS);
    ok(pool_recover(pool, NULL, NULL) == 0, "a PID of an unknown namespace is not judged");
    pool->header->namespaces[tag] = entry ^ 0x10;
    ok(pool_recover(pool, NULL, NULL) == 0, "nor one of another namespace");
    pool->header->namespaces[tag] = entry ^ (uint64_t)0x10 << POOL_I_BOOT_BIT;
    ok(pool_recover(pool, NULL, NULL) == 1, "one of an earlier boot is dead");

    slot = pool_try_alloc(pool);
    pool_unadopt(pool, slot, pool_generation(pool, slot), me & ~POOL_I_TAG_MASK);
    ok(pool_recover(pool, NULL, NULL) == 0, "one without a namespace is not judged");
    ok(pool_free(pool, slot), "… but can be freed");
    pool_close(pool);
}

/* The first thread ends, the others live: the process is no zombie. */
static void *second_thread(void *argument)
{
    work_t *work = argument;
    bool    held;
    char    state = 0;
    EVENTUALLY(({
                   FILE *stat = fopen("/proc/./self/stat", "r") /* qemu-user makes up what is spelled as usual */;
                   if (stat == NULL || fscanf(stat, "%*d %*s %c", &state) != 1) state = 0;
                   if (stat != NULL) fclose(stat);
                   state == 'Z';
               }),
               held);
    work->ready = held ? 1 : 2;
    while (pause() != 0) {}
    return NULL;
}

static int first_thread_ends(void *argument)
{
    work_t   *work = argument;
    pthread_t thread;
    work->slots[0] = pool_try_alloc(work->pool);
    if (pthread_create(&thread, NULL, second_thread, work) != 0) return 1;
    pthread_exit(NULL);
}

static void thread_group(void)
{
    pool_t *pool = anonymous(POOL_I64, 10, 8);
    work_t *work = work_on(pool, 1);
    pid_t   pid  = child(first_thread_ends, work);
    bool    held;
    EVENTUALLY(work->ready, held);
    ok(held && work->ready == 1, "the first thread of a process ends, another goes on");
    ok(pool_recover(pool, NULL, NULL) == 0 && pool_used(pool) == 1, "… so it is no zombie");
    kill_and_reap(pid);
    ok(pool_recover(pool, NULL, NULL) == 1, "… until it is killed");
    pool_close(pool);
}

/* A waiter with auto_recover helps itself. */
static void automatic(void)
{
    pool_t  *pool = anonymous(POOL_I64, 4, 8);
    work_t  *work = work_on(pool, 4);
    uint64_t slot;
    kill_and_reap(holder(work));
    ok(pool_alloc(pool, 0, &slot) == POOL_FULL && pool_alloc(pool, 150 * MS, &slot) == POOL_TIMEOUT, "the dead hold all slots");
    pool_auto_recover(pool, 10 * MS);
    ok(pool_alloc(pool, POOL_FOREVER, &slot) == POOL_OK && pool_used(pool) == 1, "with auto_recover a blocked alloc recovers them");
    pool_close(pool);
}

/* A blocked waiter is served by another's recovery. */
static int wait_for_slot(void *pool)
{
    uint64_t slot;
    return pool_alloc(pool, POOL_FOREVER, &slot) == POOL_OK ? 0 : 1;
}

static void recovery_wakes(void)
{
    pool_t *pool = anonymous(POOL_I64, 4, 8);
    work_t *work = work_on(pool, 4);
    pid_t   waiter;
    bool    held;
    kill_and_reap(holder(work));
    waiter = child(wait_for_slot, pool);
    EVENTUALLY(counts(pool).waiters == 1, held);
    ok(held && pool_recover(pool, NULL, NULL) == 4 && reap(waiter) == 0, "recovery wakes who waits for a slot");
    pool_close(pool);
}

/* fork: the child is somebody else at once, and its guards are its own. */
static int child_identity(void *argument)
{
    work_t  *work = argument;
    uint64_t slot = pool_try_alloc(work->pool), parents = work->slots[0];
    if (pool_owner(work->pool, slot) != getpid()) return 1;
    if (pool_free_generation(work->pool, parents, pool_generation(work->pool, parents))) return 2;
    return pool_is_allocated(work->pool, parents) && pool_free(work->pool, slot) ? 0 : 3;
}

static void after_fork(void)
{
    pool_t *pool   = anonymous(POOL_I64, 100, 8);
    work_t *work   = work_on(pool, 1);
    work->slots[0] = pool_try_alloc(pool);
    ok(reap(child(child_identity, work)) == 0, "after fork the child has its own name and cannot free by generation what is its parent's");
    ok(pool_owner(pool, work->slots[0]) == getpid(), "… which stays its parent's");
    pool_close(pool);
}

/* kill -9 while everybody works, some hundred times: nothing is lost. */
static int busy(void *argument)
{
    work_t  *work   = argument;
    uint64_t random = (uint64_t)getpid() * 88172645463325252u + 1, slots[5];
    while (work->pool != NULL) {
        uint64_t n = 1 + next_random(&random) % 5, one;
        if (pool_alloc_n(work->pool, n, 0, slots) == POOL_OK && next_random(&random) % 2 == 0) pool_free_n(work->pool, slots, n);
        one = pool_try_alloc(work->pool);
        if (one < POOL_NOSPC) pool_free(work->pool, one);
        pool_free(work->pool, next_random(&random) % work->pool->capacity);
    }
    return 0;
}

static void kills(uint64_t capacity, int rounds)
{
    pool_t  *pool = anonymous(POOL_I64, capacity, 8);
    work_t  *work = work_on(pool, 0);
    uint64_t i, wrong = 0;
    int      round;
    for (round = 0; round < rounds; round++) {
        pid_t pid[2] = { child(busy, work), child(busy, work) };
        nap();
        kill_and_reap(pid[round % 2]);
        kill_and_reap(pid[(round + 1) % 2]);
        pool_recover(pool, NULL, NULL);
        wrong += pool_used(pool) != 0;
        for (i = 0; i < capacity; i++) wrong += pool_try_alloc(pool) >= capacity;
        wrong += pool_try_alloc(pool) != POOL_NONE || pool_reset(pool) != capacity;
    }
    ok(wrong == 0, "%llu slots: after %d kills at random all can be recovered and allocated", (unsigned long long)capacity, 2 * rounds);
    pool_close(pool);
}

int main(void)
{
    test_begin();
    owners();
    killed(100);
    killed(20000);
    recover_together();
    callbacks();
    strangers();
    thread_group();
    automatic();
    recovery_wakes();
    after_fork();
    kills(10, ROUNDS(100));
    kills(1000, ROUNDS(100));
    return test_done();
}
