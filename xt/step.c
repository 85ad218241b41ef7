/*
 * step.c - kill a process at every instruction of every operation of the pool.
 *
 *     step FOLDER [PATTERN]
 *
 * For k = 0, 1, 2, … a child (the victim) runs one operation on a shared pool
 * and is killed, with SIGKILL, when it has executed k instructions. Then this
 * process (the survivor) recovers and checks what pool.h promises: see
 * proof.h and check_pool(). Where the operation makes system calls, it is also
 * killed at the entry and the exit of each, and where it sleeps, in its sleep.
 *
 * FOLDER holds the files of the tests that need some. PATTERN selects
 * operations by a part of their name. Output is TAP.
 *
 * With the same means some pairs of operations meet: one process stands still
 * after k instructions of its operation, another does all of the other one, the
 * first goes on. Then the index must hide nothing and every waiter have its
 * slot, without a recovery.
 *
 * Every second victim is left a zombie while the survivor works, and after
 * every third the survivor uses the pool before it recovers.
 *
 * POOL_STEP_FIRST in the environment: the first failure ends the program.
 * With -DPOOL_TEST_REORDER the pool takes a slot first and names its owner
 * after; this program must then report leaks.
 */
#define POOL_I_SLICE_NS (INT64_C(3600) * 1000000000) /* no sleeper is saved by the clock: wake-ups must come */
#define POOL_IMPLEMENTATION
#include "pool.h"

#include "proof.h"
#include "stepper.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/time.h>

enum { MOST_SLOTS = 64 * POOL_GROUP + 64, MOST_WAITERS = 2 };

/* ------------------------------------------------------------------------
 * What all operations work on
 * --------------------------------------------------------------------- */

typedef struct geometry {
    const char *file; /* NULL: anonymous memory */
    pool_spec_t spec;
} geometry_t;

/* Slots: of a group, and of the 64 groups whose bits are one word of the index. */
enum { GROUP = POOL_GROUP, WORD = 64 * POOL_GROUP };

static const geometry_t SMALL   = { NULL, { POOL_RAW, 6, 24, 0, 0 } };
static const geometry_t NUMBERS = { NULL, { POOL_I64, 6, 8, 0, 0 } };
static const geometry_t INDEXED = { NULL,
                                    { POOL_I64, (POOL_I_UNINDEXED + 1) * GROUP + 12, 8, 0, 0 } }; /* one level, the last group ragged */
static const geometry_t TWO     = { NULL, { POOL_I32, WORD + 12, 4, 0, 0 } };                     /* 65 groups: two levels */
static const geometry_t ON_DISK = { "pool", { POOL_I64, 6, 8, 0, 0 } };
static const geometry_t SPARSE  = { "sparse", { POOL_RAW, 6, 24, POOL_SPARSE, 0 } };

/* Written by victims and waiters, read by the survivor. */
typedef struct shared {
    volatile int finished;
    uint64_t     slots[8];
    int          code;
    struct {
        volatile int done;
        int          code;
        uint64_t     slots[8];
    } waiter[MOST_WAITERS];
} shared_t;

typedef struct operation {
    const char       *name;
    const geometry_t *geometry;
    void (*setup)(void);            /* the survivor, once: the state in which the operation finds the pool */
    void (*prepare)(void);          /* the victim, before its first instruction */
    void (*run)(void);              /* the victim: the operation */
    void (*wake)(void);             /* the survivor, when the victim sleeps; NULL: it does not */
    uint64_t waiters[MOST_WAITERS]; /* others that sleep meanwhile, for so many slots */
    uint64_t allocs;                /* allocations that the operation makes */
    void (*check)(bool finished);   /* NULL: check_pool */
    pool_stale_fn *stale;           /* the survivor's recovery calls back */
    void (*meanwhile)(void);        /* instead of killing: what the survivor does while the victim stands still */
} operation_t;

static const operation_t *operation;
static shared_t          *shared;
static pool_t            *pool; /* the survivor's handle; children have copies of it */
static const char        *folder;
static stepper_t          stepper;
static uint32_t           point;    /* the number of the kill point */
static bool               at_start; /* the victim was killed before its first instruction */

/* Which owner a slot has before the operation, and after it was completed, its
 * process died and was recovered. A victim killed midway leaves either. */
typedef struct slot_state {
    uint64_t before, after;
    uint64_t uses, salt; /* of a slot that is held before: its generation, and what is written in it */
} slot_state_t;

static slot_state_t slots[MOST_SLOTS];
static uint64_t     owners[MOST_SLOTS], scratch[MOST_SLOTS];

static struct {
    void        *bytes;
    slot_state_t slots[MOST_SLOTS];
    uint64_t     hint, audit, allocs;
} image; /* the pool as setup() left it */

static struct {
    pid_t    pid;
    uint64_t wants;
} waiters[MOST_WAITERS];

static char new_path[PATH_MAX], pool_path[PATH_MAX];

static void bail_out(const char *what)
{
    printf("Bail out! %s: %s\n", what, strerror(errno));
    exit(2);
}

/* ------------------------------------------------------------------------
 * States: used by setup() functions
 * --------------------------------------------------------------------- */

static void holds(uint64_t slot, uint64_t owner)
{
    slots[slot].before = slots[slot].after = owner;
}

static void stamp(uint64_t slot, uint64_t salt)
{
    slots[slot].salt = salt;
    proof_stamp(pool, slot, salt);
}

/* The survivor allocates n slots, as many as there are at most. */
static void hold(uint64_t n)
{
    uint64_t slot;
    while (n-- > 0 && (slot = pool_try_alloc(pool)) < POOL_NOSPC) {
        holds(slot, pool->me);
        stamp(slot, 1);
        slots[slot].uses = pool_generation(pool, slot);
    }
}

static void hold_all(void)
{
    hold(UINT64_MAX);
}

/* clang-format off */
static void hold_1(void)  { hold(1); }
static void hold_2(void)  { hold(2); }
static void hold_4(void)  { hold(4); }
static void hold_5(void)  { hold(5); }
static void hold_group(void) { hold(GROUP); }
/* clang-format on */

/* The operation frees this slot of the survivor, or makes it another's. */
static void becomes(uint64_t slot, uint64_t owner)
{
    slots[slot].after = owner;
}

/* Who this process is. Where it starts to search depends on its process ID;
 * that would make the runs of an operation differ, so let it start at `hint`. */
static void known_at(uint64_t hint)
{
    uint64_t touched[2], bytes = (pool->groups + 63) / 64 * 8;
    memcpy(touched, pool->touched, bytes);
    pool_i_me(pool);
    memcpy(pool->touched, touched, bytes);
    pool->hint = hint;
}

static void known(void)
{
    known_at(0);
}

/* A process allocates n slots and dies. `last`: what it does as its last deed. */
static void dead_holds(uint64_t n, void (*last)(void))
{
    int   status;
    pid_t pid;

    fflush(stdout);
    if ((pid = fork()) == 0) {
        known();
        while (n-- > 0) pool_try_alloc(pool);
        if (last != NULL) last();
        _exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || status != 0) bail_out("a child failed");
}

static void die_claiming(void)
{
    uint64_t slot;
    for (slot = 0; !pool_i_claim(pool, slot, pool_i_me(pool)); slot++) {}
}

static void die_waiting(void)
{
    die_claiming();
    pool_i_enter(pool, pool_i_me(pool));
    __atomic_fetch_add(&pool->header->waiting, 1, __ATOMIC_SEQ_CST);
}

static void two_of_the_dead(void)
{
    hold(2);
    dead_holds(2, die_claiming);
}

static void a_dead_waiter(void)
{
    hold(2);
    dead_holds(2, die_waiting);
}

static void full_with_two_of_the_dead(void)
{
    hold(4);
    dead_holds(2, NULL);
}

/* A slot of the survivor gets another owner word, with a namespace that is in entry
 * `tag` of the table. */
static void belongs(uint64_t slot, uint64_t word, uint64_t tag, uint64_t space)
{
    pool->header->namespaces[tag] = space;
    word                          = (word & ~POOL_I_TAG_MASK) | tag << POOL_I_PID_BITS;
    if (!pool_unadopt(pool, slot, pool_generation(pool, slot), word)) bail_out("unadopt");
    holds(slot, word);
}

/* Four slots of processes that nobody may call dead, and two of the dead. */
static void four_of_the_unknown(void)
{
    uint64_t me = pool->me, here = pool->header->namespaces[(me & POOL_I_TAG_MASK) >> POOL_I_PID_BITS];
    hold(4);
    belongs(0, me, 0, 0);                                                                 /* of no namespace: the table was full */
    belongs(1, me, 901, (here ^ 0x100) | POOL_I_UNKEPT);                                  /* of another one that no lock tells of */
    belongs(2, me, 902, here & ~POOL_I_BOOT_MASK);                                        /* of a boot that it did not know */
    belongs(3, (me + POOL_I_TIME_MASK / 8) | POOL_I_SEEN, 902, here & ~POOL_I_BOOT_MASK); /* … nor its start time, but when it lived */
    dead_holds(2, NULL);
}

/* A victim that can open nothing. */
static void without_descriptors(void)
{
    const struct rlimit none = { 0, 0 };
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) bail_out("setrlimit");
}

static void full_but_last_may_go(void)
{
    hold_all();
    becomes(GROUP + 6, 0);
    if (pool->capacity > WORD) becomes(WORD + 4, 0);
}

static void full_but_third_may_go(void)
{
    hold(6);
    becomes(3, 0);
}

static void full_but_three_may_go(void)
{
    hold(6);
    becomes(1, 0);
    becomes(3, 0);
    becomes(4, 0);
}

/* As a process leaves it that dies between freeing a slot and telling the index. */
static void hidden_slot(void)
{
    hold_all();
    pool_i_free_quietly(pool, 2);
    holds(2, 0);
    pool->audit = 0;
}

/* 63 groups full, and known to be; group 63 full, which nobody knows. */
static void word_nearly_full(void)
{
    uint64_t group;
    hold(WORD);
    for (group = 0; group < 63; group++) pool_i_mark_full(pool, group);
}

/* Two groups, the first marked full, of the dead and the living; and an upper
 * bit that a process left set which died in pool_i_mark_open(). */
static void groups_of_the_dead(void)
{
    hold(GROUP - 6);
    dead_holds(6, NULL);
    pool_i_mark_full(pool, 0);
    pool->full[1][0] |= 1;
    if (pool->full[0][0] != 1) bail_out("setup: group 0 is not marked full");
}

/* No word is full, and no slot of a used group is free; yet an upper bit is set,
 * as by a freer that died between the levels, whose slot was taken since. */
static void upper_bit_left(void)
{
    hold(GROUP);
    pool->full[1][0] |= 1;
}

static void group_0_with_4_free(void)
{
    uint64_t slot;
    hold(2 * GROUP);
    for (slot = GROUP - 4; slot < GROUP; slot++) {
        pool_free(pool, slot);
        holds(slot, 0);
    }
}

static void one_disowned(void)
{
    hold(3);
    pool_disown(pool, 1);
    holds(1, POOL_I_NOBODY);
}

/* clang-format off */
static void disowned_adopted(void)  { one_disowned(); becomes(1, 0); }
static void first_goes(void)        { hold(3); becomes(1, 0); }
static void first_is_nobodys(void)  { hold(3); becomes(1, POOL_I_NOBODY); }
static void fourth_is_nobodys(void) { hold(3); becomes(3, POOL_I_NOBODY); }
static void all_goes(void)          { one_disowned(); becomes(0, 0); becomes(1, 0); becomes(2, 0); }
static void two_go(void)            { hold(3); becomes(0, 0); becomes(2, 0); }
/* clang-format on */

/* ------------------------------------------------------------------------
 * Operations: prepare() and run() of the victim, wake() of the survivor
 * --------------------------------------------------------------------- */

/* clang-format off */
static void known_at_2(void)  { known_at(2); }
static void known_at_63(void) { known_at(63 * GROUP); }
static void own(void)         { known(); shared->slots[0] = pool_try_alloc(pool); }
static void own_2_of_4(void)  { own(); shared->slots[1] = 0; shared->slots[2] = pool_try_alloc(pool); shared->slots[3] = 2; }
static void impatient(void)   { known(); pool_auto_recover(pool, 1); }
static void adopt_dead(void)  { known(); shared->slots[1] = pool_owner_word(pool, 4); shared->code = pool_adopt(pool, 4); }

static void run_alloc(void)      { shared->slots[0] = pool_try_alloc(pool); }
static void run_alloc_3(void)    { shared->code = pool_alloc_n(pool, 3, 0, shared->slots); }
static void run_alloc_8(void)    { shared->code = pool_alloc_n(pool, 8, 0, shared->slots); }
static void run_block(void)      { shared->code = pool_alloc(pool, POOL_FOREVER, shared->slots); }
static void run_block_3(void)    { shared->code = pool_alloc_n(pool, 3, POOL_FOREVER, shared->slots); }
static void run_free(void)       { shared->code = pool_free(pool, shared->slots[0]); }
static void run_free_3(void)     { shared->code = pool_free(pool, 3); }
static void run_free_full(void)    { shared->code = pool_free(pool, GROUP + 6); }
static void run_free_full_2(void)  { shared->code = pool_free(pool, GROUP + 6) && pool_free(pool, WORD + 4); }
static void run_free_n(void)     { shared->code = (int)pool_free_n(pool, shared->slots, 4); }
static void run_free_gen(void)   { shared->code = pool_free_generation(pool, shared->slots[0], pool_generation(pool, shared->slots[0])); }
static void run_adopt(void)      { shared->code = pool_adopt(pool, 1); }
static void run_adopt_4(void)    { shared->code = pool_adopt(pool, 4); }
static void run_disown(void)     { shared->code = pool_disown(pool, 1); }
static void run_disown_own(void) { shared->code = pool_disown(pool, shared->slots[0]); }
static void run_reset(void)      { pool_reset(pool); }
static void run_recover(void)    { pool_recover(pool, NULL, NULL); }
static void run_unadopt(void)    { pool_unadopt(pool, 4, pool_generation(pool, 4), shared->slots[1]); }
static void run_wait(void)       { shared->code = pool_wait(pool, 0, pool_i64_get(pool, 0), POOL_FOREVER); }
/* clang-format on */

static void run_free_three(void)
{
    const uint64_t three[] = { 1, 3, 4 };
    shared->code           = (int)pool_free_n(pool, three, 3);
}

/* What a callback is told of must be a dead process's slot, and held by the caller meanwhile. */
static bool keep_nothing(pool_t *its_pool, uint64_t slot, uint64_t owner, void *context)
{
    (void)context;
    if (pool_owner_word(its_pool, slot) != pool_i_me(its_pool)) proof_fail("slot %llu is not the callback's", (unsigned long long)slot);
    if (!pool_owner_is_dead(its_pool, owner)) proof_fail("the owner of slot %llu lives", (unsigned long long)slot);
    return true;
}

static bool keep_all(pool_t *its_pool, uint64_t slot, uint64_t owner, void *context)
{
    (void)its_pool;
    (void)slot;
    (void)owner;
    (void)context;
    return false;
}

static bool free_nothing_else(pool_t *its_pool, uint64_t slot, uint64_t owner, void *context)
{
    (void)its_pool;
    (void)slot;
    (void)owner;
    (void)context;
    return true;
}

/* clang-format off */
static void run_recover_calling(void) { pool_recover(pool, free_nothing_else, NULL); }
static void run_recover_keeping(void) { pool_recover(pool, keep_all, NULL); }
/* clang-format on */

/* The survivor frees a slot of its own. */
static void let_go(uint64_t slot)
{
    if (!pool_free(pool, slot)) proof_fail("slot %llu was lost", (unsigned long long)slot);
    holds(slot, 0);
}

static void start_waiter(int i, uint64_t wants);

/* clang-format off */
static void free_third(void)    { let_go(3); }
static void free_two(void)      { let_go(3); let_go(4); }
static void free_besides(void)  { start_waiter(0, 1); let_go(3); }
static void change_number(void) { stamp(0, 2); pool_wake(pool, 0, 1); }
/* clang-format on */

/* What the survivor does while another stands still in an operation. */
/* clang-format off */
static void free_5(void)          { let_go(5); }
static void free_in_63(void)      { let_go(63 * GROUP + 5); }
static void free_next(void)         { let_go(GROUP + 7); }
static void free_in_another(void) { let_go(2 * GROUP + 2); }
static void mark_62(void)         { pool_i_mark_full(pool, 62); }
static void wait_for_it(void)     { start_waiter(0, 1); }
static void wait_for_two(void)    { start_waiter(0, 2); }
static void free_and_wait(void)   { let_go(1); start_waiter(0, 2); }
/* clang-format on */

static bool freed_it, adopted_it;

static void free_the_same(void)
{
    freed_it = pool_free(pool, 3);
}

static void hold_another(void)
{
    pool->hint = 2;
    hold(1);
}

/* What the victim is about to recover is recovered and taken. */
static void recover_and_hold(void)
{
    pool_recover(pool, NULL, NULL);
    hold(2);
}

/* A slot that the victim takes or gives back at this moment. */
static void adopt_it(void)
{
    adopted_it = pool_adopt(pool, 2);
    if (!adopted_it) return;
    holds(2, pool->me);
    stamp(2, 3);
    slots[2].uses = pool_generation(pool, 2);
}

static void use_it_all(void)
{
    uint64_t n;
    for (n = 0; (scratch[n] = pool_try_alloc(pool)) < POOL_NOSPC; n++) {}
    pool_free_n(pool, scratch, n);
}

/* A searcher saw group 63 full; a slot of it was freed since, and the index did not know it for full. */
static void seen_full_63(void)
{
    word_nearly_full();
    let_go(63 * GROUP + 5);
}

static void run_mark_63(void)
{
    pool_i_mark_full(pool, 63);
}

/* ------------------------------------------------------------------------
 * Waiters: real processes, blocked in the same pool
 * --------------------------------------------------------------------- */

static void start_waiter(int i, uint64_t wants)
{
    fflush(stdout);
    shared->waiter[i].done = 0;
    waiters[i].wants       = wants;
    if ((waiters[i].pid = fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        shared->waiter[i].code = pool_alloc_n(pool, wants, POOL_FOREVER, shared->waiter[i].slots);
        shared->waiter[i].done = 1;
        for (;;) pause();
    }
    if (waiters[i].pid < 0) bail_out("fork");
    while (!stepper_asleep(waiters[i].pid) && !shared->waiter[i].done) sched_yield();
}

static uint64_t waiters_want(void)
{
    return (waiters[0].pid != 0 ? waiters[0].wants : 0) + (waiters[1].pid != 0 ? waiters[1].wants : 0);
}

/* After recovery: those who wait must get what is free. Where the victim was
 * killed before it freed slots of the survivor, the survivor does so. */
static void satisfy_waiters(void)
{
    uint64_t slot, i;
    int      w;

    for (slot = 0; slot < pool->capacity; slot++)
        if (slots[slot].after == 0 && slots[slot].before == pool->me && pool_owner_word(pool, slot) == pool->me) let_go(slot);
    for (w = 0; w < MOST_WAITERS; w++) {
        if (waiters[w].pid == 0) continue;
        while (!shared->waiter[w].done) sched_yield(); /* the alarm clock ends this */
        PROOF_SAME((uint64_t)shared->waiter[w].code, POOL_OK, "the result of a waiter");
        for (i = 0; i < waiters[w].wants; i++) {
            slot = shared->waiter[w].slots[i];
            if (slot >= pool->capacity || slots[slot].after != 0)
                proof_fail("a waiter got slot %llu, which is not free", (unsigned long long)slot);
            else if (pool_owner(pool, slot) != waiters[w].pid)
                proof_fail("a waiter does not own slot %llu", (unsigned long long)slot);
        }
    }
}

static void end_waiters(void)
{
    int w, status;
    for (w = 0; w < MOST_WAITERS; w++) {
        if (waiters[w].pid == 0) continue;
        kill(waiters[w].pid, SIGKILL);
        waitpid(waiters[w].pid, &status, 0);
        waiters[w].pid = 0;
    }
}

/* ------------------------------------------------------------------------
 * The check after a kill
 * --------------------------------------------------------------------- */

/* No operation of the living blocks or fails on what the dead left. */
static void use_before_recovery(void)
{
    uint64_t two[2], slot = pool_try_alloc(pool);
    if (slot < POOL_NOSPC && !pool_free(pool, slot)) proof_fail("slot %llu could not be freed", (unsigned long long)slot);
    if (pool_alloc_n(pool, 2, 0, two) == POOL_OK) PROOF_SAME(pool_free_n(pool, two, 2), 2, "the number of slots freed");
    if (pool_used(pool) > pool->capacity) proof_fail("more slots are used than there are");
    pool_next_allocated(pool, 0);
}

/* What each slot's owner must be: of the two that it may have, the one that it
 * has, or else the one that it had. */
static void settle(bool finished)
{
    uint64_t slot;
    for (slot = 0; slot < pool->capacity; slot++) {
        bool changed = finished || (!at_start && pool_owner_word(pool, slot) == slots[slot].after);
        owners[slot] = changed ? slots[slot].after : slots[slot].before;
    }
}

/* The slots that were held before and are held now are untouched. */
static void check_live(void)
{
    uint64_t slot;
    for (slot = 0; slot < pool->capacity; slot++) {
        if (slots[slot].before == 0 || owners[slot] == 0) continue;
        PROOF_SAME(pool_generation(pool, slot), slots[slot].uses, "the generation of a live slot");
        if (!proof_stamped(pool, slot, slots[slot].salt)) proof_fail("the bytes of live slot %llu changed", (unsigned long long)slot);
    }
}

static void check_pool(bool finished)
{
    pool_counts_t killed, recovered;
    uint64_t      freed;

    pool_stats(pool, &killed);
    if (operation->meanwhile == NULL && killed.allocs > image.allocs + operation->allocs + waiters_want())
        proof_fail("allocs counts more than there were");
    if (finished && killed.allocs < image.allocs + operation->allocs) proof_fail("allocs counts less than there were");
    if (point % 3 == 0 && waiters_want() == 0) use_before_recovery();

    pool_stats(pool, &killed);
    freed = pool_recover(pool, operation->stale, NULL);
    pool_stats(pool, &recovered);
    PROOF_SAME(recovered.recoveries, killed.recoveries + freed, "recoveries");
    if (waiters_want() > 0) {
        uint64_t wanted = waiters_want();
        satisfy_waiters();
        end_waiters();
        PROOF_SAME(pool_recover(pool, operation->stale, NULL), wanted, "the number of slots recovered of waiters");
    }

    settle(finished);
    proof_owners(pool, owners);
    proof_index(pool);
    proof_no_waiters(pool);
    proof_capacity(pool, owners, scratch);
    proof_owners(pool, owners);
    proof_index(pool);
    check_live();
    PROOF_SAME(pool_recover(pool, operation->stale, NULL), 0, "the number of slots that a second recovery finds");
}

/* After a meeting; the victim has completed its operation, and lives. Nobody recovers. */
static void check_met(bool finished)
{
    pool_counts_t counts;
    if (!finished) proof_fail("the operation does not end");
    if (operation->meanwhile == free_the_same) PROOF_SAME(shared->code + freed_it, 1, "the number of those who freed it");
    if (operation->run == run_free_gen && operation->meanwhile == adopt_it)
        PROOF_SAME(shared->code + adopted_it, 1, "the number of those who had it");
    proof_index(pool);
    satisfy_waiters();
    proof_index(pool);
    pool_stats(pool, &counts);
    if (counts.waiters != 0) proof_fail("%llu are waiting still", (unsigned long long)counts.waiters);
}

/* ------------------------------------------------------------------------
 * Files: attach and create
 * --------------------------------------------------------------------- */

static pool_spec_t file_spec;      /* what the victim asks for */
static int         file_lock = -1; /* the survivor, as another creator, holds the file's lock with this descriptor */

static void run_open(void)
{
    pool_error_t err;
    shared->code = pool_open(new_path, &file_spec, &err) == NULL ? err.code : POOL_OK;
}

/* A victim that knows itself, but no pool. */
static void known_nowhere(void)
{
    pool_i_find_process();
}

/* A victim that has used no pool yet. */
static void stranger(void)
{
    pool_i_process = NULL;
}

static void run_attach(void)
{
    pool_error_t err;
    pool_spec_t  want = { POOL_I64, 0, 0, 0, 0 };
    shared->code      = pool_open(pool_path, &want, &err) == NULL ? err.code : POOL_OK;
}

static void run_attach_fd(void)
{
    pool_error_t err;
    pool_spec_t  want = { POOL_I64, 0, 0, 0, 0 };
    shared->code      = pool_open_fd((int)shared->slots[7], &want, &err) == NULL ? err.code : POOL_OK;
}

static void opened_file(void)
{
    stranger();
    shared->slots[7] = (uint64_t)open(pool_path, O_RDWR);
}

static void check_attached(bool finished)
{
    pool_error_t err;
    pool_spec_t  want  = { POOL_I64, 6, 8, 0, 0 };
    pool_t      *again = pool_open(pool_path, &want, &err);

    if (again == NULL)
        proof_fail("cannot attach: %s", err.text);
    else if (pool_used(again) != 2 || pool_i64_get(again, 0) != pool_i64_get(pool, 0))
        proof_fail("another attacher sees another pool");
    pool_close(again);
    check_pool(finished);
    if (finished) PROOF_SAME((uint64_t)shared->code, POOL_OK, "the result of attaching");
}

static void file_of(const void *bytes, size_t length, uint64_t size)
{
    int fd = open(new_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length || ftruncate(fd, (off_t)size) != 0) bail_out("cannot write a file");
    close(fd);
}

static void empty_there(void)
{
    file_of("", 0, 0);
}

/* As a creator leaves it that is killed before it publishes the magic. */
static void unfinished_there(void)
{
    pool_header_t header;
    memset(&header, 0xa5, sizeof header);
    header.magic = POOL_MAGIC_CREATING;
    file_of(&header, sizeof header, sizeof header + 20000);
}

static void creator_there(void)
{
    unfinished_there();
    if ((file_lock = open(new_path, O_RDWR | O_CLOEXEC)) < 0 || flock(file_lock, LOCK_EX) != 0) bail_out("cannot lock a file");
}

static void creator_goes(void)
{
    if (file_lock >= 0) close(file_lock);
    file_lock = -1;
}

/* A lock belongs to all that inherited its descriptor: the victim drops it. */
static void forget_lock(void)
{
    if (file_lock >= 0) close(file_lock);
    stranger();
}

/* clang-format off */
static void want_plain(void)      { file_spec = SMALL.spec; }
static void want_empty(void)      { want_plain(); empty_there(); }
static void want_unfinished(void) { want_plain(); unfinished_there(); }
static void want_creator(void)    { want_plain(); creator_there(); }
static void want_mode(void)       { file_spec = SMALL.spec; file_spec.flags = POOL_MODE; file_spec.mode = 0640; }
static void want_sparse(void)     { file_spec = SPARSE.spec; }
/* clang-format on */

static void check_file_stat(const pool_t *made)
{
    struct stat st;
    bool        sparse   = (file_spec.flags & POOL_SPARSE) != 0;
    mode_t      mode     = (file_spec.flags & POOL_MODE) != 0 ? (mode_t)file_spec.mode : 0600;
    uint64_t    reserved = sparse ? made->data_offset : made->total_size;

    if (stat(new_path, &st) != 0) proof_fail("the pool has no file");
    PROOF_SAME((uint64_t)st.st_mode & 07777, mode, "the mode");
    PROOF_SAME((uint64_t)st.st_size, made->total_size, "the size");
    if ((uint64_t)st.st_blocks * 512 < reserved) proof_fail("only %llu bytes are reserved", (unsigned long long)st.st_blocks * 512);
}

static void check_folder(void)
{
    DIR           *dir = opendir(folder);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.') proof_fail("a file is left: %s", entry->d_name);
    if (dir == NULL)
        proof_fail("cannot read the folder");
    else
        closedir(dir);
}

/* The path is a whole pool, or the next who opens it makes it one. */
static void check_created(bool finished)
{
    pool_error_t err;
    pool_spec_t  any = { POOL_RAW, 0, 0, 0, 0 };
    pool_t      *found, *made;

    creator_goes();
    found = pool_open(new_path, &any, &err);
    if (finished) PROOF_SAME((uint64_t)shared->code, POOL_OK, "the result of creating");
    if (finished && found == NULL) proof_fail("the pool that was created cannot be opened: %s", err.text);
    if (found == NULL && err.code != POOL_E_INVALID && err.sys_errno != ENOENT) proof_fail("the file is spoiled: %s", err.text);

    memset(owners, 0, sizeof owners);
    if ((made = pool_open(new_path, &file_spec, &err)) == NULL)
        proof_fail("the next cannot open the path: %s", err.text);
    else {
        proof_owners(made, owners);
        proof_no_waiters(made);
        proof_capacity(made, owners, scratch);
        PROOF_SAME(pool_recover(made, NULL, NULL), 0, "the number of slots recovered");
        check_file_stat(made);
        if (found != NULL && found->capacity != made->capacity) proof_fail("two who opened the path have two pools");
    }
    pool_close(found);
    pool_close(made);
    unlink(new_path);
    check_folder();
}

/* ------------------------------------------------------------------------
 * The operations
 * --------------------------------------------------------------------- */

/* clang-format off */
static const operation_t operations[] = {
    { "alloc", &SMALL, hold_2, known_at_2, run_alloc, .allocs = 1 },
    { "alloc that searches", &SMALL, hold_2, known, run_alloc, .allocs = 1 },
    { "alloc, the first of a process", &SMALL, hold_2, NULL, run_alloc, .allocs = 1 },
    { "alloc that finds a group full and tells the index", &INDEXED, hold_group, known, run_alloc, .allocs = 1 },
    { "alloc that fills a word of the index", &TWO, word_nearly_full, known_at_63, run_alloc, .allocs = 1 },
    { "alloc in a full pool", &INDEXED, hold_all, known, run_alloc, .allocs = 0 },
    { "alloc of a slot that the index hides", &INDEXED, hidden_slot, known, run_alloc, .allocs = 1 },
    { "alloc in a sparse pool", &SPARSE, hold_2, known, run_alloc, .allocs = 1 },
    { "alloc that blocks and is woken", &SMALL, hold_all, known, run_block, free_third, .allocs = 1 },
    { "alloc that blocks and is woken beside another waiter", &SMALL, hold_all, known, run_block, free_besides, .allocs = 1 },
    { "alloc that blocks and recovers", &SMALL, full_with_two_of_the_dead, impatient, run_block, .allocs = 1 },
    { "alloc_n", &SMALL, hold_2, known, run_alloc_3, .allocs = 3 },
    { "alloc_n over three groups", &INDEXED, group_0_with_4_free, known, run_alloc_8, .allocs = 8 },
    { "alloc_n that cannot have all", &SMALL, hold_4, known, run_alloc_3, .allocs = 0 },
    { "alloc_n that blocks and is woken", &SMALL, hold_5, known, run_block_3, free_two, .allocs = 3 },
    { "free of one's own slot", &SMALL, hold_2, own, run_free, .allocs = 1 },
    { "free of another's slot", &SMALL, full_but_third_may_go, known, run_free_3, .allocs = 0 },
    { "free of one's own slot that wakes a waiter", &SMALL, hold_5, own, run_free, .waiters = { 1 }, .allocs = 1 },
    { "free of another's slot that wakes a waiter", &SMALL, full_but_third_may_go, known, run_free_3, .waiters = { 1 } },
    { "free in a full group of an indexed pool", &INDEXED, full_but_last_may_go, known, run_free_full, .allocs = 0 },
    { "free in a full group that wakes a waiter", &INDEXED, full_but_last_may_go, known, run_free_full, .waiters = { 1 } },
    { "free in full groups of two levels", &TWO, full_but_last_may_go, known, run_free_full_2, .allocs = 0 },
    { "free_n, own and another's slots", &SMALL, two_go, own_2_of_4, run_free_n, .allocs = 2 },
    { "free_n that wakes one who wants 1, one who wants 2", &SMALL, full_but_three_may_go, known, run_free_three, .waiters = { 1, 2 } },
    { "free_generation", &SMALL, hold_2, own, run_free_gen, .allocs = 1 },
    { "free_generation that wakes a waiter", &SMALL, hold_5, own, run_free_gen, .waiters = { 1 }, .allocs = 1 },
    { "adopt of another's slot", &SMALL, first_goes, known, run_adopt, .allocs = 0 },
    { "adopt of a dead process's slot", &SMALL, two_of_the_dead, known, run_adopt_4, .allocs = 0 },
    { "adopt of a disowned slot", &SMALL, disowned_adopted, known, run_adopt, .allocs = 0 },
    { "disown of one's own slot", &SMALL, fourth_is_nobodys, own, run_disown_own, .allocs = 1 },
    { "disown of another's slot", &SMALL, first_is_nobodys, known, run_disown, .allocs = 0 },
    { "recover", &SMALL, two_of_the_dead, known, run_recover, .allocs = 0 },
    { "recover that meets the unknown", &SMALL, four_of_the_unknown, known, run_recover, .allocs = 0 },
    { "the first deed of a child", &ON_DISK, hold_2, NULL, run_alloc, .allocs = 1 },
    { "the first deed of a child that can open no file", &ON_DISK, hold_2, without_descriptors, run_alloc, .allocs = 1 },
    { "recover with a callback", &SMALL, two_of_the_dead, known, run_recover_calling, .stale = keep_nothing },
    { "recover with a callback that keeps the slots", &SMALL, two_of_the_dead, known, run_recover_keeping, .stale = keep_nothing },
    { "recover of a dead waiter", &SMALL, a_dead_waiter, known, run_recover, .allocs = 0 },
    { "recover of a full group, two levels", &TWO, groups_of_the_dead, known, run_recover, .allocs = 0 },
    { "recover of an upper bit that is left", &TWO, upper_bit_left, known, run_recover, .allocs = 0 },
    { "recover that wakes a waiter", &SMALL, full_with_two_of_the_dead, known, run_recover, .waiters = { 1 } },
    { "unadopt", &SMALL, two_of_the_dead, adopt_dead, run_unadopt, .allocs = 0 },
    { "reset", &SMALL, all_goes, known, run_reset, .allocs = 0 },
    { "wait for a value", &NUMBERS, hold_1, known, run_wait, change_number, .allocs = 0 },
    { "attach", &ON_DISK, hold_2, stranger, run_attach, .check = check_attached },
    { "attach by descriptor", &ON_DISK, hold_2, opened_file, run_attach_fd, .check = check_attached },
    { "create", NULL, want_plain, stranger, run_open, .check = check_created },
    { "create with a mode", NULL, want_mode, known_nowhere, run_open, .check = check_created },
    { "create, sparse", NULL, want_sparse, known_nowhere, run_open, .check = check_created },
    { "create over an empty file", NULL, want_empty, known_nowhere, run_open, .check = check_created },
    { "create over an unfinished file", NULL, want_unfinished, known_nowhere, run_open, .check = check_created },
    { "open that waits for another creator", NULL, want_creator, forget_lock, run_open, creator_goes, .check = check_created },

    { "alloc that finds a group full meets a free in it", &INDEXED, hold_group, known, run_alloc, .allocs = 1, .meanwhile = free_5 },
    { "alloc that fills a word of the index meets a free in it", &TWO, word_nearly_full, known_at_63, run_alloc,
      .allocs = 1, .meanwhile = free_in_63 },
    { "marking a group full in error meets marking another", &TWO, seen_full_63, known, run_mark_63, .meanwhile = mark_62 },
    { "alloc meets an alloc", &SMALL, hold_2, known_at_2, run_alloc, .allocs = 1, .meanwhile = hold_another },
    { "alloc meets an adopt", &SMALL, hold_2, known_at_2, run_alloc, .allocs = 1, .meanwhile = adopt_it },
    { "free meets a free of the same slot", &SMALL, full_but_third_may_go, known, run_free_3, .meanwhile = free_the_same },
    { "free_generation meets an adopt", &SMALL, hold_2, own, run_free_gen, .allocs = 1, .meanwhile = adopt_it },
    { "recover meets a recover and allocs", &SMALL, full_with_two_of_the_dead, known, run_recover, .meanwhile = recover_and_hold },
    { "recover with a callback meets the same", &SMALL, full_with_two_of_the_dead, known, run_recover_calling,
      .meanwhile = recover_and_hold },
    { "free in a full group meets a free in it", &TWO, full_but_last_may_go, known, run_free_full, .meanwhile = free_next },
    { "free in a full group meets a free in another", &TWO, full_but_last_may_go, known, run_free_full, .meanwhile = free_in_another },
    { "free in a full group meets those who take it all", &TWO, full_but_last_may_go, known, run_free_full, .meanwhile = use_it_all },
    { "free meets one who begins to wait", &SMALL, full_but_third_may_go, known, run_free_3, .meanwhile = wait_for_it },
    { "free_n meets one who begins to wait for two", &SMALL, full_but_three_may_go, known, run_free_three, .meanwhile = wait_for_two },
    { "free meets a free and one who begins to wait for two", &SMALL, full_but_third_may_go, known, run_free_3,
      .meanwhile = free_and_wait },
    { "free_generation meets one who begins to wait", &SMALL, hold_5, own, run_free_gen, .allocs = 1, .meanwhile = wait_for_it },
    { "recover meets one who begins to wait", &SMALL, full_with_two_of_the_dead, known, run_recover, .meanwhile = wait_for_it },
    { "recover meets those who take it all", &TWO, groups_of_the_dead, known, run_recover, .meanwhile = use_it_all },
    { "alloc that begins to wait meets a free", &SMALL, hold_all, known, run_block, free_third, .allocs = 1, .meanwhile = free_third },
    { "alloc_n that begins to wait meets free_n", &SMALL, hold_5, known, run_block_3, free_two, .allocs = 3, .meanwhile = free_two },
};
/* clang-format on */

/* ------------------------------------------------------------------------
 * Kill points
 * --------------------------------------------------------------------- */

static pid_t survivor;

static bool     first_is_enough; /* the first failure ends the program */
static unsigned patience = 60;   /* seconds until a kill point counts as one that hangs */

/* Something hangs. */
static void on_alarm(int signal_number)
{
    static const char text[] = ": an operation hangs\n";
    (void)signal_number;
    if (getpid() != survivor) return;
    if (write(1, "not ok - ", 9) < 0 || write(1, proof_where, strlen(proof_where)) < 0 || write(1, text, sizeof text - 1) < 0) _exit(2);
    _exit(1); /* the children die with their parent */
}

/* Make the pool of the operation, in the state it wants, and remember that. */
static void make_image(void)
{
    pool_error_t  err;
    pool_counts_t counts;

    if (operation->geometry == NULL) return;
    if ((pool = pool_open(operation->geometry->file != NULL ? pool_path : NULL, &operation->geometry->spec, &err)) == NULL) {
        printf("Bail out! %s\n", err.text);
        exit(2);
    }
    memset(slots, 0, sizeof slots);
    memset(pool->data, 0xee, pool->capacity * pool->elem_size); /* free slots are dirty */
    operation->setup();
    pool_stats(pool, &counts);
    if ((image.bytes = malloc(pool->total_size)) == NULL) bail_out("malloc");
    memcpy(image.bytes, pool->header, pool->total_size);
    memcpy(image.slots, slots, sizeof slots);
    image.hint   = pool->hint;
    image.audit  = pool->audit;
    image.allocs = counts.allocs;
}

static void drop_image(void)
{
    free(image.bytes);
    image.bytes = NULL;
    pool_close(pool);
    pool = NULL;
    unlink(pool_path);
}

/* A victim that stands before its operation. */
static void start(void)
{
    int w;
    if (pool == NULL)
        operation->setup();
    else {
        memcpy(pool->header, image.bytes, pool->total_size);
        memcpy(slots, image.slots, sizeof slots);
        pool->hint  = image.hint;
        pool->audit = image.audit;
    }
    stepper.wake = operation->wake;
    stepper_start(&stepper, operation->prepare, operation->run);
    for (w = 0; w < MOST_WAITERS; w++)
        if (operation->waiters[w] > 0) start_waiter(w, operation->waiters[w]);
}

/* Forget a run. */
static void stop(void)
{
    stepper_kill(&stepper);
    stepper_reap(&stepper);
    end_waiters();
    creator_goes();
}

/* Kill the victim where it stands, and check. Returns whether all was well. */
static bool kill_here(bool start_of_it)
{
    bool finished = *stepper.finished != 0;

    proof_failures = 0;
    at_start       = start_of_it;
    if (finished && operation->waiters[0] > 0) satisfy_waiters(); /* nobody recovers: the operation itself has woken them */
    stepper_kill(&stepper);
    if (point % 2 == 0) stepper_reap(&stepper); /* else it stays a zombie */
    (operation->check != NULL ? operation->check : check_pool)(finished);
    stepper_reap(&stepper);
    end_waiters();
    point++;
    return proof_failures == 0;
}

static void place(const char *how, uint32_t at)
{
    alarm(patience);
    snprintf(proof_where, sizeof proof_where, "%s, killed %s %u", operation->name, how, (unsigned)at);
}

/* A victim that has executed k instructions of the operation. */
static void start_at(uint32_t k)
{
    start();
    if (stepper_hop(&stepper, k)) return;
    stop();
    start();
    stepper_walk(&stepper, k);
}

typedef struct tally {
    uint32_t instructions, system_calls, sleeps, meetings, failures;
} tally_t;

static void count(tally_t *tally, uint32_t *kind, bool well)
{
    (*kind)++;
    if (well) return;
    tally->failures++;
    if (first_is_enough) {
        printf("not ok - %s\n", proof_where);
        exit(1);
    }
}

/* Killed at the entry and the exit of each system call. */
static void kill_at_system_calls(tally_t *tally)
{
    uint32_t at, i;
    for (at = 1;; at++) {
        bool stopped = true;
        place("at the entry or exit of a system call:", at);
        start();
        for (i = 0; i < at && stopped; i++) {
            stepper_go_on(&stepper, PTRACE_SYSCALL);
            stopped = !*stepper.finished && !stepper.lost;
        }
        if (!stopped) break;
        count(tally, &tally->system_calls, kill_here(false));
    }
    stop();
    if (operation->geometry == NULL) unlink(new_path);
}

/* The victim stands still after k instructions, and somebody else works. */
static void meet_everywhere(tally_t *tally)
{
    bool     well;
    uint32_t k, last = stepper.sleeps_at != UINT32_MAX ? stepper.sleeps_at : stepper.length;

    stop();
    for (k = 0; k <= last; k++) {
        place("met before instruction", k);
        start_at(k);
        if (stepper.woken) { /* it was quicker this time, and slept before */
            stop();
            continue;
        }
        proof_failures = 0;
        operation->meanwhile();
        stepper.woken = true; /* nobody will wake it another time */
        while (!*stepper.finished && !stepper.lost) stepper_go_on(&stepper, PTRACE_CONT);
        check_met(*stepper.finished != 0);
        well = proof_failures == 0;
        count(tally, &tally->meetings, kill_here(false) && well);
    }
    drop_image();
}

static void kill_everywhere(tally_t *tally)
{
    uint32_t k;

    memset(tally, 0, sizeof *tally);
    point         = 0;
    proof_printed = 0;
    place("after", 0);
    make_image();
    start();
    stepper_record(&stepper);
    if (operation->meanwhile != NULL) {
        meet_everywhere(tally);
        return;
    }
    place("after it was completed, instruction", stepper.length);
    if (!*stepper.finished) proof_fail("it does not end");
    count(tally, &tally->instructions, kill_here(false) && !stepper.lost);

    for (k = 0; k < stepper.length; k++) {
        place("before instruction", k);
        start_at(k);
        count(tally, &tally->instructions, kill_here(k == 0));
    }
    if (stepper.sleeps_at != UINT32_MAX) {
        bool asleep;
        place("asleep in instruction", stepper.sleeps_at);
        start_at(stepper.sleeps_at);
        asleep = !stepper_go(&stepper, PTRACE_SINGLESTEP);
        count(tally, &tally->sleeps, kill_here(false) && asleep);
    }
    if (stepper.syscalls > 0) kill_at_system_calls(tally);
    if (pool != NULL) drop_image();
}

int main(int argc, char **argv)
{
    const char *pattern = argc > 2 ? argv[2] : "";
    uint32_t    number = 0, passed = 0, points = 0, meetings = 0, failures = 0;
    size_t      i;
    cpu_set_t   here;

    if (argc < 2) {
        fprintf(stderr, "usage: %s FOLDER [PATTERN]\n", argv[0]);
        return 2;
    }
    CPU_ZERO(&here); /* tracer and victim take turns: on one processor that is fastest */
    CPU_SET((size_t)sched_getcpu(), &here);
    sched_setaffinity(0, sizeof here, &here);
    folder   = argv[1];
    survivor = getpid();
    if (getenv("POOL_STEP_FIRST") != NULL) {
        first_is_enough = true;
        patience        = 30;
    }
    snprintf(new_path, sizeof new_path, "%s/new", folder);
    snprintf(pool_path, sizeof pool_path, "%s/pool", folder);
    shared = (shared_t *)mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) bail_out("mmap");
    stepper.finished = &shared->finished;
    signal(SIGALRM, on_alarm);

    for (i = 0; i < sizeof operations / sizeof *operations; i++) {
        tally_t tally;
        operation = &operations[i];
        if (strstr(operation->name, pattern) == NULL) continue;
        kill_everywhere(&tally);
        printf("%sok %u - %s: ", tally.failures ? "not " : "", ++number, operation->name);
        if (operation->meanwhile != NULL)
            printf("at %u instructions; %u failed\n", tally.meetings, tally.failures);
        else
            printf("%u kill points at instructions, %u at system calls, %u asleep; %u failed\n", tally.instructions, tally.system_calls,
                   tally.sleeps, tally.failures);
        fflush(stdout);
        passed += tally.failures == 0;
        meetings += tally.meetings;
        points += tally.instructions + tally.system_calls + tally.sleeps;
        failures += tally.failures;
    }
    printf("1..%u\n", number);
    printf("# %u kill points, %u meetings, %u failures; %llu runs were stepped from the start\n", points, meetings, failures,
           (unsigned long long)stepper_plain);
    printf("# %u passed, %u failed\n", passed, number - passed);
    return number == 0 ? 2 : passed != number;
}
