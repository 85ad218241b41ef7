/*
 * torture.c - processes do everything to a pool at once and are killed at random.
 *
 *     torture
 *
 * Environment: POOL_TORTURE_SECONDS (40: in all; at least 2,000 are killed
 * whatever it says), POOL_SEED (a seed that a run printed), POOL_WORKERS (6),
 * POOL_TORTURE_FIRST (stop at the first failure).
 *
 * A round: workers use the pool, while the killer sends SIGKILL to some and
 * replaces them, and SIGSTOP and SIGCONT to others. Then all who live stop
 * between two operations, the pool is recovered, and everything about it must
 * be as the journals of the living say. Every fourth round nobody is killed,
 * and then all must be right without a recovery.
 *
 * The rule of the game makes the outcome exact: even slots are freed by their
 * owner only, who stamps their bytes and keeps a journal of them; odd slots are
 * anybody's, to free and to adopt, and are all free again when a round ends.
 * On the first pool, if root runs it, some workers live in PID namespaces of their
 * own and some can open no file.
 */
#define POOL_IMPLEMENTATION
#include "pool.h"

#include "proof.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { MOST_WORKERS = 32, MOST_SLOTS = 4200, JOURNAL = 1024, LEAST_KILLS = 2000, HANGS_AFTER = 60, BATCH = 64, ROOM = JOURNAL - BATCH };

/* What a worker says of itself, in shared memory. */
typedef struct worker {
    volatile uint32_t parked;    /* the round at whose end it stopped */
    volatile uint32_t operation; /* what it does: for the report of one that hangs */
    volatile uint64_t disowning; /* slot + 1 that may be nobody's just now */
    volatile uint64_t operations;
    uint64_t          me;        /* its owner word */
    volatile int      complaint; /* it saw something that must not be */
    char              text[160];
    uint32_t          n; /* even slots that it holds */
    struct {
        uint64_t slot, uses;
    } journal[JOURNAL];
} worker_t;

typedef struct shared {
    volatile uint32_t stop; /* the round that ends */
    worker_t          workers[MOST_WORKERS];
} shared_t;

static shared_t *shared;
static pool_t   *pool;
static uint64_t  seed;
static uint32_t  n_workers;
static pid_t     controller;
static bool      apart; /* some workers are in PID namespaces of their own, some can open no file */

/* xorshift64*: each worker goes its own way from the seed. */
static uint64_t dice;

static uint64_t roll(uint64_t sides)
{
    dice ^= dice >> 12;
    dice ^= dice << 25;
    dice ^= dice >> 27;
    return (dice * UINT64_C(0x2545f4914f6cdd1d) >> 32) % sides;
}

/* ------------------------------------------------------------------------
 * A worker
 * --------------------------------------------------------------------- */

static worker_t *self;

static struct {
    uint64_t slot, uses;
} odd[JOURNAL]; /* slots that this worker allocated or adopted, and that anybody may have freed since */
static uint32_t odds;

static void __attribute__((format(printf, 1, 2))) complain(const char *format, ...)
{
    va_list arguments;
    if (self->complaint) return;
    va_start(arguments, format);
    vsnprintf(self->text, sizeof self->text, format, arguments);
    va_end(arguments);
    self->complaint = 1;
}

static uint64_t salt_of(uint64_t uses)
{
    return uses ^ (uint64_t)controller;
}

static void keep(uint64_t slot)
{
    if (slot >= pool->capacity) {
        complain("slot %llu was allocated", (unsigned long long)slot);
        return;
    }
    if (slot % 2 == 1) { /* its owner may be another by now, and its bytes, too */
        odd[odds].slot   = slot;
        odd[odds++].uses = pool_generation(pool, slot);
        return;
    }
    if (pool_owner_word(pool, slot) != pool_i_me(pool)) complain("slot %llu has another owner", (unsigned long long)slot);
    if (!proof_zeros(pool, slot)) complain("slot %llu was not cleared", (unsigned long long)slot);
    self->journal[self->n].slot = slot;
    self->journal[self->n].uses = pool_generation(pool, slot);
    proof_stamp(pool, slot, salt_of(self->journal[self->n].uses));
    self->n++;
}

/* Look at a slot before it is freed: nobody else has touched it. */
static void inspect(uint32_t i)
{
    uint64_t slot = self->journal[i].slot;
    if (pool_owner_word(pool, slot) != pool_i_me(pool)) complain("slot %llu was lost", (unsigned long long)slot);
    if (pool_generation(pool, slot) != self->journal[i].uses) complain("slot %llu was allocated again", (unsigned long long)slot);
    if (!proof_stamped(pool, slot, salt_of(self->journal[i].uses))) complain("the bytes of slot %llu changed", (unsigned long long)slot);
}

/* Take one's i-th even slot out of the journal. */
static uint64_t drop(uint32_t i)
{
    uint64_t slot = self->journal[i].slot;
    inspect(i);
    self->journal[i] = self->journal[--self->n];
    return slot;
}

static uint64_t random_odd(void)
{
    return roll(pool->capacity / 2) * 2 + 1;
}

static void do_alloc(void)
{
    uint64_t slot = pool_try_alloc(pool);
    if (slot < POOL_NOSPC) keep(slot);
}

static void take_n(uint64_t n, int64_t timeout_ns)
{
    uint64_t slots[BATCH], i;
    int      code = pool_alloc_n(pool, n, timeout_ns, slots);
    if (code == POOL_OK)
        for (i = 0; i < n; i++) keep(slots[i]);
    else if (code != POOL_FULL && code != POOL_TIMEOUT && code != POOL_INTERRUPTED)
        complain("alloc_n: %s", pool_strerror(code));
}

/* clang-format off */
static uint64_t many(void)   { return 1 + roll(roll(2) == 0 ? 8 : BATCH < pool->capacity ? BATCH : pool->capacity); }
static void do_alloc_n(void) { take_n(many(), 0); }
static void do_block(void)   { take_n(1, (int64_t)roll(8) * POOL_I_MS); }
static void do_block_n(void) { take_n(many(), (int64_t)roll(8) * POOL_I_MS); }
static void do_recover(void) { pool_recover(pool, NULL, NULL); }
/* clang-format on */

static bool not_while_it_lives(pool_t *its_pool, uint64_t slot, uint64_t owner, void *context)
{
    (void)context;
    if (!pool_owner_is_dead(its_pool, owner)) complain("slot %llu was recovered of a living process", (unsigned long long)slot);
    return true;
}

static void do_recover_calling(void)
{
    pool_recover(pool, not_while_it_lives, NULL);
}

static void do_free(void)
{
    uint64_t slot;
    if (self->n == 0) return;
    slot = drop((uint32_t)roll(self->n));
    if (!pool_free(pool, slot)) complain("slot %llu could not be freed", (unsigned long long)slot);
}

static void do_free_n(void)
{
    uint64_t slots[BATCH], n;
    for (n = 0; n < BATCH && self->n > 0; n++) slots[n] = drop((uint32_t)roll(self->n));
    if (pool_free_n(pool, slots, n) != n) complain("not all slots could be freed");
}

/* What a guard does: first with a generation that is past, then with the right one. */
static void do_free_generation(void)
{
    uint32_t i;
    uint64_t uses, slot;
    if (self->n == 0) return;
    i    = (uint32_t)roll(self->n);
    uses = self->journal[i].uses;
    slot = drop(i);
    if (pool_free_generation(pool, slot, uses - 1)) complain("slot %llu was freed by an old guard", (unsigned long long)slot);
    if (!pool_free_generation(pool, slot, uses)) complain("slot %llu was not freed by its guard", (unsigned long long)slot);
    if (pool_free_generation(pool, slot, uses)) complain("slot %llu was freed twice", (unsigned long long)slot);
}

/* Who is killed between the two leaves the slot to nobody, and says which. */
static void do_disown(void)
{
    uint64_t slot;
    if (self->n == 0) return;
    slot            = drop((uint32_t)roll(self->n));
    self->disowning = slot + 1;
    if (!pool_disown(pool, slot)) complain("slot %llu could not be disowned", (unsigned long long)slot);
    if (pool_owner(pool, slot) != 0) complain("slot %llu still has an owner", (unsigned long long)slot);
    if (roll(2) == 0) {
        if (!pool_adopt(pool, slot)) complain("slot %llu could not be adopted", (unsigned long long)slot);
    }
    if (!pool_free(pool, slot)) complain("slot %llu could not be freed, being nobody's", (unsigned long long)slot);
    self->disowning = 0;
}

static void do_free_odd(void)
{
    uint64_t i;
    for (i = 0; i < 4; i++) pool_free(pool, random_odd());
}

static void do_adopt_odd(void)
{
    uint64_t slot = random_odd();
    if (pool_adopt(pool, slot)) keep(slot);
}

/* Whatever is left of the odd ones; what others freed or adopted is theirs. */
static void free_odds(uint32_t down_to)
{
    while (odds > down_to) {
        odds--;
        pool_free_generation(pool, odd[odds].slot, odd[odds].uses);
    }
}

static void do_free_odds(void)
{
    free_odds(odds / 2);
}

static void (*const deeds[])(void) = {
    do_alloc, do_alloc_n, do_block,  do_block_n,         do_adopt_odd, /* those that take come first */
    do_free,  do_free,    do_free_n, do_free_generation, do_disown,    do_free_odd, do_free_odd, do_free_odds,
};
enum { DEEDS = sizeof deeds / sizeof *deeds, TAKE = 5 };

static void work(uint32_t number, uint64_t its_seed)
{
    uint64_t most, wants;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    self     = &shared->workers[number];
    self->me = pool_i_me(pool);
    dice     = its_seed | 1;
    odds     = 0;
    most     = pool->capacity * 3 / 2 / n_workers; /* so that the pool is often full */
    if (most > ROOM) most = ROOM;
    wants = most;
    if (roll(4) == 0) pool_auto_recover(pool, (int64_t)roll(5) * POOL_I_MS);
    for (;;) {
        if (shared->stop != self->parked) {
            free_odds(0);
            self->parked = shared->stop;
            while (shared->stop == self->parked && (shared->stop & 1) != 0) usleep(300); /* odd: stopped; even: go on */
        }
        if (roll(256) == 0) wants = roll(2) == 0 ? most : roll(most + 1);
        if (roll(128) == 0) roll(2) == 0 ? do_recover() : do_recover_calling();
        self->operation = (uint32_t)roll(self->n + odds < wants ? TAKE : DEEDS);
        deeds[self->operation]();
        if (self->n > ROOM) do_free_n();
        if (odds > ROOM) free_odds(JOURNAL / 2);
        self->operations++;
    }
}

/* ------------------------------------------------------------------------
 * The killer
 * --------------------------------------------------------------------- */

static struct {
    pid_t pid;
    bool  stopped;
} workers[MOST_WORKERS];

static pid_t    corpses[64]; /* zombies that are left for a while */
static uint32_t n_corpses;

static bool     orphan[MOST_SLOTS]; /* slots that a worker was killed with while they were nobody's */
static uint64_t owners[MOST_SLOTS], scratch[MOST_SLOTS], kills, stops, operations, checks;

static void bury(uint32_t down_to)
{
    int status;
    while (n_corpses > down_to) waitpid(corpses[--n_corpses], &status, 0);
}

/* Fork a worker; where they are apart, each third into a PID namespace of its own,
 * which is gone when it is killed, and each third without a descriptor to be had. */
static pid_t start(uint32_t number)
{
    const struct rlimit none = { 0, 0 };
    pid_t               pid;

    if (!apart || number % 3 != 1) {
        pid = fork();
        if (pid == 0 && apart && number % 3 == 2) setrlimit(RLIMIT_NOFILE, &none);
        return pid;
    }
    usleep(20000); /* start times are hundredths of a second: nobody is to start when the last one with its numbers did */
    pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0 && (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("proc", "/proc", "proc", 0, NULL) != 0)) _exit(3);
    return pid;
}

static void hire(uint32_t number)
{
    worker_t *worker   = &shared->workers[number];
    uint64_t  its_seed = roll(UINT32_MAX) << 32 | roll(UINT32_MAX);
    operations += worker->operations;
    memset(worker, 0, sizeof *worker);
    worker->parked = shared->stop;
    fflush(stdout);
    workers[number].stopped = false;
    if ((workers[number].pid = start(number)) == 0) work(number, its_seed);
    if (workers[number].pid < 0) {
        printf("Bail out! fork: %s\n", strerror(errno));
        exit(2);
    }
}

static void heed_complaint(uint32_t number)
{
    if (!shared->workers[number].complaint) return;
    proof_fail("worker %u: %s", (unsigned)number, shared->workers[number].text);
    shared->workers[number].complaint = 0;
}

/* Kill a worker; its death is certain when this returns. */
static void fire(uint32_t number)
{
    siginfo_t info;
    kill(workers[number].pid, SIGKILL);
    waitid(P_PID, (id_t)workers[number].pid, &info, WEXITED | WNOWAIT);
    if (info.si_code != CLD_KILLED || info.si_status != SIGKILL) proof_fail("a worker died of itself: status %d", info.si_status);
    heed_complaint(number);
    if (shared->workers[number].disowning != 0) orphan[shared->workers[number].disowning - 1] = true;
    corpses[n_corpses++] = workers[number].pid;
    if (n_corpses == sizeof corpses / sizeof *corpses || roll(2) == 0) bury((uint32_t)roll(4));
}

static void harass(uint32_t number, bool may_kill)
{
    switch (roll(may_kill ? 4 : 2)) {
    case 0:
        stops += !workers[number].stopped;
        kill(workers[number].pid, SIGSTOP);
        workers[number].stopped = true;
        break;
    case 1:
        kill(workers[number].pid, SIGCONT);
        workers[number].stopped = false;
        break;
    default: /* also of one that is stopped */
        fire(number);
        kills++;
        hire(number);
    }
}

/* All who live stop between two operations. */
static void park_all(void)
{
    uint32_t i;
    for (i = 0; i < n_workers; i++) {
        kill(workers[i].pid, SIGCONT);
        workers[i].stopped = false;
    }
    shared->stop++;
    alarm(HANGS_AFTER);
    for (i = 0; i < n_workers; i++)
        while (shared->workers[i].parked != shared->stop) usleep(100);
    alarm(0);
}

static void on_alarm(int signal_number)
{
    char     text[80];
    uint32_t i;
    (void)signal_number;
    for (i = 0; i < n_workers; i++)
        if (shared->workers[i].parked != shared->stop) {
            int n = snprintf(text, sizeof text, "# worker %u hangs in operation %u\n", (unsigned)i, (unsigned)shared->workers[i].operation);
            if (write(1, text, (size_t)n) < 0) break;
        }
    if (write(1, "not ok - an operation hangs\n", 28) < 0) _exit(2);
    _exit(1);
}

/* ------------------------------------------------------------------------
 * The check after a round
 * --------------------------------------------------------------------- */

/* Who owns what, as the journals of the living say. */
static void read_journals(void)
{
    uint32_t i, j;
    uint64_t slot;

    memset(owners, 0, sizeof owners);
    for (i = 0; i < n_workers; i++) {
        const worker_t *worker = &shared->workers[i];
        heed_complaint(i);
        for (j = 0; j < worker->n; j++) {
            slot = worker->journal[j].slot;
            if (owners[slot] != 0) proof_fail("slot %llu has two owners", (unsigned long long)slot);
            owners[slot] = worker->me;
            PROOF_SAME(pool_generation(pool, slot), worker->journal[j].uses, "the generation of a live slot");
            if (!proof_stamped(pool, slot, worker->journal[j].uses ^ (uint64_t)controller))
                proof_fail("the bytes of live slot %llu changed", (unsigned long long)slot);
        }
    }
    for (slot = 0; slot < pool->capacity; slot++) {
        if (orphan[slot] && owners[slot] == 0 && pool_owner_word(pool, slot) == POOL_I_NOBODY && !pool_free(pool, slot))
            proof_fail("slot %llu of nobody could not be freed", (unsigned long long)slot);
        orphan[slot] = false;
    }
}

static void check(bool somebody_died)
{
    if (somebody_died) pool_recover(pool, NULL, NULL);
    bury(0);
    read_journals();
    proof_owners(pool, owners);
    proof_index(pool);
    pool_recover(pool, NULL, NULL); /* whom a killed waker told nobody of is forgotten now */
    proof_no_waiters(pool);
    proof_owners(pool, owners);
    proof_capacity(pool, owners, scratch);
    proof_owners(pool, owners);
    proof_index(pool);
    checks++;
}

static void play_round(uint32_t number)
{
    bool     quiet = number % 4 == 3;
    uint32_t acts  = 30 + (uint32_t)roll(60), i;

    snprintf(proof_where, sizeof proof_where, "%llu slots, round %u", (unsigned long long)pool->capacity, (unsigned)number);
    shared->stop++;
    for (i = 0; i < acts; i++) {
        usleep((unsigned)roll(1500));
        harass((uint32_t)roll(n_workers), !quiet);
    }
    park_all();
    check(!quiet);
}

/* Torture one pool until `until` (CLOCK_MONOTONIC), but for `least` kills. */
static void torture(uint32_t number, uint64_t capacity, uint64_t elem_size, double seconds, uint64_t least)
{
    const pool_spec_t spec = { POOL_RAW, capacity, elem_size, 0, 0 };
    pool_error_t      err;
    pool_counts_t     counts;
    int64_t           until = pool_i_now() + (int64_t)(seconds * 1e9);
    uint32_t          i, round;

    kills = stops = operations = checks = proof_failures = proof_printed = 0;
    pool = apart ? pool_open_memfd("torture", &spec, &err) : pool_open(NULL, &spec, &err);
    if (pool == NULL) {
        printf("Bail out! %s\n", err.text);
        exit(2);
    }
    memset(shared, 0, sizeof *shared);
    shared->stop = 1; /* stopped */
    for (i = 0; i < n_workers; i++) hire(i);
    for (round = 0; (pool_i_now() < until || kills < least) && proof_failures == 0; round++) play_round(round);
    for (i = 0; i < n_workers; i++) fire(i);
    bury(0);
    for (i = 0; i < n_workers; i++) operations += shared->workers[i].operations;
    pool_stats(pool, &counts);
    printf("%sok %u - %llu slots of %llu bytes: %llu killed, %llu stopped, %llu operations, %llu waited, %llu slots recovered, "
           "%llu rounds checked, %llu failures\n",
           proof_failures ? "not " : "", (unsigned)number, (unsigned long long)capacity, (unsigned long long)elem_size,
           (unsigned long long)kills, (unsigned long long)stops, (unsigned long long)operations, (unsigned long long)counts.waits,
           (unsigned long long)counts.recoveries, (unsigned long long)checks, (unsigned long long)proof_failures);
    fflush(stdout);
    pool_close(pool);
}

static double number_from(const char *name, double otherwise)
{
    const char *text = getenv(name);
    return text != NULL && *text != '\0' ? strtod(text, NULL) : otherwise;
}

int main(void)
{
    static const struct {
        uint64_t capacity, elem_size;
        double   share; /* of time and kills */
        bool     apart;
    } pools[] = {
        { 64, 24, 0.2, true },   /* workers that see different things */
        { 64, 24, 0.3, false },  /* no index */
        { 1000, 8, 0.3, false }, /* one level, the last group ragged */
        { 4130, 12, 0.2, false } /* two levels */
    };
    double   seconds  = number_from("POOL_TORTURE_SECONDS", 40);
    bool     first    = getenv("POOL_TORTURE_FIRST") != NULL;
    uint64_t failures = 0, all_kills = 0;
    uint32_t i;

    controller = getpid();
    n_workers  = (uint32_t)number_from("POOL_WORKERS", 6);
    if (n_workers < 2 || n_workers > MOST_WORKERS) n_workers = 6;
    seed = getenv("POOL_SEED") != NULL ? strtoull(getenv("POOL_SEED"), NULL, 10) : (uint64_t)pool_i_now() ^ (uint64_t)getpid() << 32;
    dice = seed | 1;
    printf("# POOL_SEED=%llu\n", (unsigned long long)seed);
    signal(SIGALRM, on_alarm);
    shared = (shared_t *)mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 2;

    printf("1..%u\n", (unsigned)(sizeof pools / sizeof *pools));
    for (i = 0; i < sizeof pools / sizeof *pools && !(first && failures > 0); i++) {
        apart = pools[i].apart && geteuid() == 0;
        torture(i + 1, pools[i].capacity, pools[i].elem_size, seconds * pools[i].share, (uint64_t)(LEAST_KILLS * pools[i].share));
        failures += proof_failures;
        all_kills += kills;
    }
    printf("# %llu killed, %llu failures\n", (unsigned long long)all_kills, (unsigned long long)failures);
    return failures != 0;
}
