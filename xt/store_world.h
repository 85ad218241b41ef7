/*
 * store_world.h - what the tests share that hold a process at each of its accesses to the
 * variables: the stepper, the operations and what they find, and what there is in the end
 * (x86-64).
 *
 * The victim's mappings of the namespace are protected, in the victim. An access is then a
 * fault, which the kernel reports to the tracer: that opens the mapping, lets the victim
 * execute the one instruction, and protects it again.
 */
#ifndef STORE_WORLD_H
#define STORE_WORLD_H

#include "../t/store/store_test.h"

#include <limits.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>

extern bool space_seems_full; /* see store/space.h */

/* --- the stepper ---------------------------------------------------------------- */

enum { MOST_MAPPINGS = 4, AROUND = 192 };

typedef struct victim {
    pid_t         pid;
    bool          finished, in_call;
    bool          looks;  /* loads count, too */
    int           lent;   /* the mapping that the kernel may use during this call; or -1 */
    unsigned long stores; /* so far: those that changed something; looks: accesses */
    unsigned      mappings;
    struct {
        unsigned long start, length;
    } mapping[MOST_MAPPINGS];
} victim_t;

void step_call_stub(void);
__asm__(".text\n.globl step_call_stub\n.hidden step_call_stub\nstep_call_stub: syscall\nint3\n");

static inline bool await_stop(pid_t pid, int *status)
{
    return waitpid(pid, status, __WALL) == pid && WIFSTOPPED(*status);
}

static inline bool step_once(pid_t pid, int *status)
{
    return ptrace(PTRACE_SINGLESTEP, pid, 0, 0) == 0 && await_stop(pid, status);
}

static inline bool protect(const victim_t *victim, unsigned i, int protection)
{
    struct user_regs_struct saved, regs;
    int                     status;
    if (ptrace(PTRACE_GETREGS, victim->pid, 0, &saved) != 0) return false;
    regs          = saved;
    regs.rip      = (unsigned long)step_call_stub;
    regs.rax      = SYS_mprotect;
    regs.orig_rax = (unsigned long)-1;
    regs.rdi      = victim->mapping[i].start;
    regs.rsi      = victim->mapping[i].length;
    regs.rdx      = (unsigned long)protection;
    if (ptrace(PTRACE_SETREGS, victim->pid, 0, &regs) != 0 || !step_once(victim->pid, &status)) return false;
    if (ptrace(PTRACE_GETREGS, victim->pid, 0, &regs) != 0 || regs.rax != 0) return false;
    return ptrace(PTRACE_SETREGS, victim->pid, 0, &saved) == 0;
}

/* How a mapping is protected: against stores, or any access. */
static inline int closed(const victim_t *victim)
{
    return victim->looks ? PROT_NONE : PROT_READ;
}

static inline bool protect_mappings(victim_t *victim)
{
    char  path[40], line[512];
    bool  ok = true;
    FILE *maps;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)victim->pid);
    if ((maps = fopen(path, "r")) == NULL) return false;
    while (ok && fgets(line, sizeof line, maps) != NULL) {
        unsigned long start, end;
        char          flags[5], *file = strchr(line, '/');
        if (file == NULL || strncmp(file, space_folder, strlen(space_folder)) != 0) continue;
        if (sscanf(line, "%lx-%lx %4s", &start, &end, flags) != 3 || strcmp(flags, "rw-s") != 0) continue;
        if (victim->mappings == MOST_MAPPINGS) return false;
        victim->mapping[victim->mappings].start  = start;
        victim->mapping[victim->mappings].length = end - start;
        ok                                       = protect(victim, victim->mappings++, closed(victim));
    }
    fclose(maps);
    return ok && victim->mappings > 0;
}

static inline int mapping_of(const victim_t *victim, unsigned long address)
{
    unsigned i;
    for (i = 0; i < victim->mappings; i++)
        if (address - victim->mapping[i].start < victim->mapping[i].length) return (int)i;
    return -1;
}

static inline void look_around(const victim_t *victim, unsigned long address, char *bytes)
{
    struct iovec here = { bytes, AROUND }, there = { (void *)((address & ~63ul) - 64), AROUND };
    memset(bytes, 0, AROUND);
    process_vm_readv(victim->pid, &here, 1, &there, 1, 0);
}

/* A store that changes nothing, as by a compare-and-swap that fails, does not count. */
static inline bool pass_fault(victim_t *victim)
{
    siginfo_t info;
    char      before[AROUND], after[AROUND];
    int       status, i;
    if (ptrace(PTRACE_GETSIGINFO, victim->pid, 0, &info) != 0) return false;
    if ((i = mapping_of(victim, (unsigned long)info.si_addr)) < 0) return false;
    if (!victim->looks) look_around(victim, (unsigned long)info.si_addr, before);
    if (!protect(victim, (unsigned)i, PROT_READ | PROT_WRITE) || !step_once(victim->pid, &status) || WSTOPSIG(status) != SIGTRAP)
        return false;
    if (!victim->looks) look_around(victim, (unsigned long)info.si_addr, after);
    if (victim->looks || memcmp(before, after, AROUND) != 0) victim->stores++;
    return protect(victim, (unsigned)i, closed(victim));
}

/* At the entry or exit of a system call. One that reserves memory, or looks at a word, needs the
 * mapping open: at its entry mprotect() is called instead, then it is entered anew. */
static inline bool pass_call(victim_t *victim)
{
    struct user_regs_struct regs, other;
    int                     status, i;
    if (ptrace(PTRACE_GETREGS, victim->pid, 0, &regs) != 0) return false;
    victim->in_call = !victim->in_call;
    if (!victim->in_call) {
        i            = victim->lent;
        victim->lent = -1;
        return i < 0 || protect(victim, (unsigned)i, closed(victim));
    }
    if ((regs.orig_rax != SYS_madvise && (regs.orig_rax != SYS_futex || !victim->looks)) || victim->lent >= 0
        || (i = mapping_of(victim, regs.rdi)) < 0)
        return true;
    other          = regs;
    other.orig_rax = SYS_mprotect;
    other.rdi      = victim->mapping[i].start;
    other.rsi      = victim->mapping[i].length;
    other.rdx      = PROT_READ | PROT_WRITE;
    if (ptrace(PTRACE_SETREGS, victim->pid, 0, &other) != 0 || ptrace(PTRACE_SYSCALL, victim->pid, 0, 0) != 0) return false;
    if (!await_stop(victim->pid, &status)) return false;
    regs.rip -= 2; /* the length of the instruction */
    regs.rax        = regs.orig_rax;
    regs.orig_rax   = (unsigned long)-1;
    victim->lent    = i;
    victim->in_call = false;
    return ptrace(PTRACE_SETREGS, victim->pid, 0, &regs) == 0;
}

/* Until it has had so many stores (true), or is done (false). */
static inline bool run_to(victim_t *victim, unsigned long stores)
{
    int signal_number = 0, status;
    while (!victim->finished && victim->stores < stores) {
        if (ptrace(PTRACE_SYSCALL, victim->pid, 0, signal_number) != 0 || !await_stop(victim->pid, &status)) {
            printf("Bail out! lost a victim\n");
            exit(2);
        }
        signal_number = 0;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            if (!pass_call(victim)) {
                printf("Bail out! lost a victim at a system call\n");
                exit(2);
            }
        }
        else if (WSTOPSIG(status) == SIGSEGV) {
            if (!pass_fault(victim)) {
                printf("Bail out! a victim has a fault of its own\n");
                exit(2);
            }
        }
        else if (WSTOPSIG(status) == SIGTRAP)
            victim->finished = true;
        else
            signal_number = WSTOPSIG(status);
    }
    return !victim->finished;
}

/* --- the world that each operation finds --------------------------------------------- */

typedef struct world {
    store_t     *store;
    store_var_t *hash, *array, *scalar, *other, *aside;
    pid_t        dead; /* a zombie that left a change open; 0: none */
} world_t;

typedef struct operation {
    const char *name;
    void (*prepare)(world_t *world);
    void (*run)(world_t *world);
    bool others_wait; /* it holds a lock by name, or commits several, on the way: others may have to wait */
} operation_t;

static char long_text[30000];

static inline void fill_hash(world_t *w, int from, int to, uint64_t length)
{
    char name[32];
    int  i;
    for (i = from; i < to; i++) {
        store_key_t   key   = key_number(w->store, name, i);
        store_value_t value = store_text(long_text + i % 64, length, false);
        MUST(store_hash_put(w->hash, &key, &value, 0));
    }
}

static inline void fill_array(world_t *w, int64_t count)
{
    int64_t i;
    for (i = 0; i < count; i++) MUST(push_int(w->array, i));
}

static inline pid_t fork_with_all(void)
{
    pid_t pid = fork_with(STORE_FORK_GOES_ON);
    if (pid == 0) store_fork_adopt();
    return pid;
}

/* Somebody dies with a change open, and locks. */
static inline void leave_open(world_t *w, void (*run)(world_t *))
{
    siginfo_t info;
    if ((w->dead = fork_with_all()) == 0) {
        run(w);
        kill(getpid(), SIGKILL);
    }
    waitid(P_PID, (id_t)w->dead, &info, WEXITED | WNOWAIT);
}

static inline void put_one(world_t *w, int i, uint64_t length)
{
    fill_hash(w, i, i + 1, length);
}

/* --- what is done ------------------------------------------------------------------------ */

static inline void p_none(world_t *w)
{
    (void)w;
}
static inline void p_few(world_t *w)
{
    fill_hash(w, 0, 5, 20);
}
static inline void p_long(world_t *w)
{
    fill_hash(w, 0, 3, 1200);
}
static inline void p_8(world_t *w)
{
    fill_hash(w, 0, 8, 10);
}
static inline void p_11(world_t *w)
{
    fill_hash(w, 0, 11, 10);
}
static inline void p_32(world_t *w)
{
    fill_hash(w, 0, 32, 10);
}
static inline void p_128(world_t *w)
{
    fill_hash(w, 0, 128, 10);
}
static inline void p_512(world_t *w)
{
    fill_hash(w, 0, 512, 10);
}
static inline void p_2048(world_t *w)
{
    fill_hash(w, 0, 2048, 10);
}
static inline void o_put_new(world_t *w)
{
    put_one(w, 5000, 30);
}
static inline void o_add(world_t *w)
{
    int64_t     sum;
    store_key_t key = store_key(w->store, "sum", 3, false);
    MUST(store_hash_add(w->hash, &key, 7, &sum));
}
static inline void p_sum(world_t *w)
{
    p_few(w);
    o_add(w);
}
static inline void o_put_long(world_t *w)
{
    put_one(w, 5000, 1200);
}
static inline void o_overwrite(world_t *w)
{
    put_one(w, 2, 25);
}
static inline void o_clear(world_t *w)
{
    MUST(store_hash_clear(w->hash));
}

static inline void o_delete(world_t *w)
{
    char        name[32];
    store_key_t key = key_number(w->store, name, 2);
    MUST(store_hash_delete(w->hash, &key));
}

static inline void batch(world_t *w)
{
    char        name[32];
    store_key_t key = key_number(w->store, name, 1);
    MUST(store_begin(w->hash, STORE_FOREVER));
    put_one(w, 2, 50);
    put_one(w, 2, 60);
    put_one(w, 77, 70);
    put_one(w, 78, 70);
    MUST(store_hash_delete(w->hash, &key));
    key = key_number(w->store, name, 78);
    MUST(store_hash_delete(w->hash, &key));
}

static inline void o_batch(world_t *w)
{
    batch(w);
    store_commit(w->hash);
}

static inline void o_batch_undone(world_t *w)
{
    batch(w);
    store_abort(w->hash);
}

static inline void o_refill(world_t *w)
{
    MUST(store_begin(w->hash, STORE_FOREVER));
    MUST(store_hash_clear(w->hash));
    fill_hash(w, 3, 12, 15);
    store_commit(w->hash);
}

static inline void nested(world_t *w)
{
    store_var_t  *inner = var_new(w->store, STORE_HASH), *list = var_new(w->store, STORE_ARRAY);
    store_value_t value = store_text(long_text, 100, false);
    MUST(store_array_put(list, 0, &value));
    MUST(put_ref(inner, "list", list));
    MUST(put_int(inner, "id", 7));
    MUST(put_ref(w->hash, "inner", inner));
    store_release(inner);
    store_release(list);
}

static inline void o_forget_nested(world_t *w)
{
    store_key_t key = key_of(w->store, "inner");
    MUST(store_hash_delete(w->hash, &key));
}

static inline void o_refer(world_t *w)
{
    MUST(put_ref(w->hash, "other", w->other));
}

static inline void p_twice(world_t *w)
{
    store_var_t *inner = var_new(w->store, STORE_HASH);
    MUST(put_int(inner, "id", 7));
    MUST(put_ref(w->hash, "inner", inner));
    MUST(put_ref(w->hash, "again", inner));
    store_release(inner);
}

static inline void p_refer(world_t *w)
{
    p_few(w);
    o_refer(w);
}

static inline void o_refer_elsewhere(world_t *w)
{
    MUST(put_ref(w->hash, "other", w->scalar));
}

static inline void p_expired(world_t *w)
{
    char          name[32];
    int           i;
    uint64_t      at    = 0;
    store_value_t value = store_int(1);
    fill_hash(w, 0, 5, 20);
    for (i = 100; i < 106; i++) {
        store_key_t key = key_number(w->store, name, i);
        at              = store_clock() + 1;
        MUST(store_hash_put(w->hash, &key, &value, at));
    }
    while (store_clock_tick() <= at) nap_ms(1);
}

static inline void o_sweep(world_t *w)
{
    store_sweep_t sweep = { 0, 0 };
    MUST(store_hash_sweep(w->hash, &sweep));
}

static inline void o_limit(world_t *w)
{
    MUST(store_hash_limit(w->hash, 5));
}
static inline void p_limited(world_t *w)
{
    fill_hash(w, 0, 5, 20);
    MUST(store_hash_limit(w->hash, 5));
}

static inline void p_a5(world_t *w)
{
    fill_array(w, 5);
}
static inline void p_a16(world_t *w)
{
    fill_array(w, 16);
}
static inline void p_a1024(world_t *w)
{
    fill_array(w, 1024);
}
static inline void o_push(world_t *w)
{
    MUST(push_int(w->array, 77));
}

static inline void change_array(world_t *w, uint64_t offset, uint64_t length, uint64_t count)
{
    store_value_t values[4] = { store_int(91), store_text(long_text, 300, false), store_int(93), store_int(94) };
    MUST(store_array_splice(w->array, offset, length, values, count));
}

static inline uint64_t size_of(world_t *w)
{
    uint64_t size;
    MUST(store_array_size(w->array, &size));
    return size;
}

static inline void take_one(world_t *w, bool last)
{
    char           space[400];
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value;
    MUST(store_array_take(w->array, last, &value, &buffer));
}
static inline void o_pop(world_t *w)
{
    take_one(w, true);
}
static inline void o_shift(world_t *w)
{
    take_one(w, false);
}
static inline void o_unshift(world_t *w)
{
    change_array(w, 0, 0, 2);
}
static inline void o_insert(world_t *w)
{
    change_array(w, 2, 0, 3);
}
static inline void o_cut(world_t *w)
{
    change_array(w, 1, 2, 0);
}
static inline void o_replace(world_t *w)
{
    change_array(w, 1, 2, 2);
}
static inline void o_resize_up(world_t *w)
{
    MUST(store_array_resize(w->array, 40));
}
static inline void o_resize_down(world_t *w)
{
    MUST(store_array_resize(w->array, 2));
}
static inline void o_empty(world_t *w)
{
    MUST(store_array_resize(w->array, 0));
}
static inline void o_array_delete(world_t *w)
{
    MUST(store_array_delete(w->array, 2));
}

static inline void o_array_put(world_t *w)
{
    store_value_t value = store_text(long_text, 50, false);
    MUST(store_array_put(w->array, 1, &value));
}

static inline void o_far(world_t *w)
{
    store_value_t value = store_int(5);
    MUST(store_array_put(w->array, 5000, &value));
}

static inline void p_queue(world_t *w)
{
    fill_array(w, 4000);
    MUST(store_array_splice(w->array, 0, 2500, NULL, 0));
}

static inline void o_around(world_t *w)
{
    int64_t i;
    MUST(store_begin(w->array, STORE_FOREVER));
    for (i = 0; i < 3; i++) {
        o_shift(w);
        MUST(push_int(w->array, 100 + i));
    }
    store_commit(w->array);
}

static inline void o_array_batch(world_t *w)
{
    MUST(store_begin(w->array, STORE_FOREVER));
    o_array_put(w);
    o_insert(w);
    MUST(store_array_delete(w->array, 1));
    o_array_put(w);
    o_pop(w);
    store_commit(w->array);
}

static inline void o_array_undone(world_t *w)
{
    MUST(store_begin(w->array, STORE_FOREVER));
    o_array_put(w);
    o_insert(w);
    o_pop(w);
    store_abort(w->array);
}

static inline void put_scalar(world_t *w, uint64_t length)
{
    store_value_t value = length == 0 ? store_int(42) : store_text(long_text, length, false);
    MUST(store_scalar_put(w->scalar, &value));
}

static inline void p_scalar(world_t *w)
{
    put_scalar(w, 200);
}
static inline void o_scalar_int(world_t *w)
{
    put_scalar(w, 0);
}
static inline void o_scalar_text(world_t *w)
{
    put_scalar(w, 300);
}
static inline void o_scalar_long(world_t *w)
{
    put_scalar(w, 1500);
}

static inline void o_attach(world_t *w)
{
    store_ref_t ref = store_ref_of(w->other);
    store_release(var_of(w->store, &ref));
}

static inline void o_new(world_t *w)
{
    store_var_t *one = var_new(w->store, STORE_HASH);
    MUST(put_int(one, "k", 1));
    store_release(one);
}

static inline void o_declare(world_t *w)
{
    store_release(var_named(w->store, STORE_ARRAY, "@new"));
}
static inline void o_write_lock(world_t *w)
{
    MUST(store_lock_write(w->hash, STORE_FOREVER, NULL));
    put_one(w, 3, 33);
    store_unlock_write(w->hash);
}

static inline void o_read_lock(world_t *w)
{
    MUST(store_lock_read(w->hash, STORE_FOREVER, NULL));
    store_unlock_read(w->hash);
}

static inline void o_upgrade(world_t *w)
{
    MUST(store_lock_read(w->hash, STORE_FOREVER, NULL));
    o_write_lock(w);
    store_unlock_read(w->hash);
}

static inline void p_dead_batch(world_t *w)
{
    p_few(w);
    leave_open(w, batch);
}

static inline void array_left(world_t *w)
{
    MUST(store_begin(w->array, STORE_FOREVER));
    o_array_put(w);
    o_insert(w);
    o_push(w);
}

static inline void p_dead_array(world_t *w)
{
    p_a5(w);
    leave_open(w, array_left);
}

static inline void locks_left(world_t *w)
{
    MUST(store_lock_write(w->hash, STORE_FOREVER, NULL));
    MUST(store_lock_read(w->array, STORE_FOREVER, NULL));
}

static inline void p_dead_locks(world_t *w)
{
    p_few(w);
    leave_open(w, locks_left);
}

static inline void p_ring(world_t *w)
{
    store_var_t *a = var_new(w->store, STORE_HASH), *b = var_new(w->store, STORE_HASH);
    MUST(put_ref(a, "b", b));
    MUST(put_ref(b, "a", a));
    store_release(a);
    store_release(b);
}

static inline void o_recover(world_t *w)
{
    store_recover(w->store);
}

/* --- what is there ---------------------------------------------------------------------------- */

static inline uint64_t mix(uint64_t h, uint64_t x)
{
    return (h ^ x) * UINT64_C(0x9e3779b97f4a7c15) >> 7 ^ (h << 9);
}

static uint64_t digest(store_t *store, store_var_t *var, int depth);

static inline uint64_t digest_value(store_t *store, const store_value_t *value, int depth)
{
    uint64_t h = value->kind, i;
    if (value->kind == STORE_REF) {
        store_var_t *inner = depth < 5 ? var_of(store, &value->number.ref) : NULL;
        if (inner == NULL) return mix(h, 1);
        h = mix(h, digest(store, inner, depth + 1));
        store_release(inner);
        return h;
    }
    if (value->kind >= STORE_INT && value->kind <= STORE_DOUBLE) return mix(h, value->number.u);
    for (i = 0; value->kind >= STORE_BYTES && value->kind < STORE_KINDS && i < value->length; i++) h = mix(h, (uint8_t)value->text[i]);
    return mix(h, value->length);
}

/* The same for the same content, in whatever order a hash has it. 0: it cannot be had. */
static inline uint64_t digest(store_t *store, store_var_t *var, int depth)
{
    store_look_t look;
    uint64_t     h    = 17, i;
    int          code = AGAIN(store_look(var, true, &look));
    if (code != STORE_OK) return 0;
    for (i = 0; i < look.count; i++) {
        uint64_t one = digest_value(store, &look.values[i * look.stride], depth);
        if (look.keys != NULL)
            h += mix(digest_value(store, &look.keys[i * look.stride], depth), one);
        else
            h = mix(h, one);
    }
    h += look.count;
    store_look_free(&look);
    return h != 0 ? h : 1;
}

static inline uint64_t content_of(world_t *w)
{
    uint64_t a = digest(w->store, w->hash, 0), b = digest(w->store, w->array, 0), c = digest(w->store, w->scalar, 0);
    return a == 0 || b == 0 || c == 0 ? 0 : mix(mix(a, b), c);
}

static inline void world_make(world_t *w)
{
    store_options_t options = { 0, 512, false, false }; /* long values are not so long */
    memset(w, 0, sizeof *w);
    w->store = space_new_with("world", &options);
    store_release(var_named(w->store, STORE_HASH, "%first"));
    w->hash   = var_new(w->store, STORE_HASH);
    w->array  = var_new(w->store, STORE_ARRAY);
    w->scalar = var_new(w->store, STORE_SCALAR);
    w->other  = var_new(w->store, STORE_HASH);
    w->aside  = var_new(w->store, STORE_HASH);
}

/* All variables go. Is anything left? */
static inline bool world_end(world_t *w, bool recover)
{
    store_error_t err;
    store_var_t  *named;
    store_stats_t stats;
    bool          clean;
    store_release(w->hash);
    store_release(w->array);
    store_release(w->scalar);
    store_release(w->other);
    store_release(w->aside);
    if ((named = store_declare(w->store, STORE_ARRAY, "@new", 4, false, &err)) != NULL) {
        MUST(store_remove(named, "@new", 4));
        store_release(named);
    }
    if (w->dead != 0) reap(w->dead);
    if (recover) store_recover(w->store); /* counts that a death left too large */
    stats = space_stats(w->store);
    clean = stats.variables == 1 && stats.blocks == 0 && stats.attachments == 0;
    if (!clean)
        printf("# left: %" PRIu64 " variables, %" PRIu64 " blocks, %" PRIu64 " attachments\n", stats.variables, stats.blocks,
               stats.attachments);
    store_remove_all(w->store, 0);
    store_close(w->store);
    return clean;
}

static inline bool free_of_locks(world_t *w)
{
    store_var_t *var[4] = { w->hash, w->array, w->scalar, w->other };
    int          i;
    for (i = 0; i < 4; i++) {
        if (AGAIN(store_lock_write(var[i], store_deadline(0), NULL)) != STORE_OK) return false;
        store_unlock_write(var[i]);
    }
    return true;
}

/* What is free is used again, and other things are in it: whoever still goes there is found out. */
static inline void use_what_is_free(world_t *w)
{
    uint64_t length;
    char     name[32];
    int      i = 0;
    for (length = 10; length < 4000; length += length / 5 + 16, i++) {
        store_key_t   key   = key_number(w->store, name, i);
        store_value_t value = store_text(long_text, length, false);
        MUST(store_hash_put(w->aside, &key, &value, 0));
        key = key_number(w->store, name, 1000 + i);
        MUST(store_hash_put(w->aside, &key, &value, 0));
    }
}

typedef void victim_fn(world_t *w, const void *what);

/* A victim that has not begun. */
static inline victim_t victim_start(world_t *w, victim_fn *run, const void *what, bool looks)
{
    victim_t victim;
    int      status;
    memset(&victim, 0, sizeof victim);
    victim.lent  = -1;
    victim.looks = looks;
    if ((victim.pid = fork_with_all()) == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) _exit(77);
        __asm__ volatile("int3" ::: "memory");
        run(w, what);
        __asm__ volatile("int3" ::: "memory");
        _exit(0);
    }
    if (!await_stop(victim.pid, &status) || WSTOPSIG(status) != SIGTRAP
        || ptrace(PTRACE_SETOPTIONS, victim.pid, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD) != 0 || !protect_mappings(&victim)) {
        printf("Bail out! cannot trace a child\n");
        exit(2);
    }
    return victim;
}

static const char *failed_at; /* what was wrong */

#define RIGHT(condition, text)              \
    do {                                    \
        if (!(condition)) failed_at = text; \
    } while (0)

#endif
