/*
 * shm_step.c - run another process up to its n-th access to shared memory, or
 * system call, and stop it there (x86-64). Step.pm compiles and loads it.
 *
 * The victim's mappings of the namespace's files are protected, in the victim,
 * against stores (or against all access). An access then is a fault, which the
 * kernel reports to the tracer; that opens the mapping, lets the victim execute
 * this one instruction, and protects it again. Whoever makes the access, no
 * list of functions is needed, and none can be incomplete. What the victim does
 * between two events changes nothing that others could see: it is not stopped
 * there. A repeated string instruction is an event for each repetition.
 */
#define PERL_NO_GET_CONTEXT
#include "EXTERN.h"
#include "perl.h"
#include "XSUB.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_VICTIMS = 4, MOST_MAPPINGS = 64, AROUND = 192 };

typedef struct mapping {
    unsigned long start, length;
} mapping_t;

typedef struct victim {
    pid_t         pid; /* 0: this place is free */
    int           protection;
    bool          follow;   /* at its next fork, go on with the child */
    bool          in_call;  /* it runs in the kernel */
    bool          sleeping; /* … where it was found asleep */
    bool          finished;
    long          call; /* the number of the system call */
    mapping_t    *lent; /* to the kernel, for this call */
    unsigned long events, stores;
    unsigned      mappings;
    mapping_t     mapping[MOST_MAPPINGS]; /* their places do not change; length 0: not mapped any more */
} victim_t;

static victim_t victims[MOST_VICTIMS];

/* The victim, a fork of the tracer, has the same instruction at the same address. */
void step_call_stub(void);
__asm__(".text\n.globl step_call_stub\n.hidden step_call_stub\nstep_call_stub: syscall\nint3\n");

/* The next stop of a process. False: it is gone. */
static bool await_stop(pid_t pid, int *status)
{
    return waitpid(pid, status, __WALL) == pid && WIFSTOPPED(*status);
}

static bool step_once(pid_t pid, int *status)
{
    return ptrace(PTRACE_SINGLESTEP, pid, 0, 0) == 0 && await_stop(pid, status);
}

/* Let the stopped process call mprotect(). */
static bool protect(pid_t pid, const mapping_t *mapping, int protection)
{
    struct user_regs_struct saved, regs;
    int                     status;

    if (ptrace(PTRACE_GETREGS, pid, 0, &saved) != 0) return false;
    regs          = saved;
    regs.rip      = (unsigned long)step_call_stub;
    regs.rax      = SYS_mprotect;
    regs.orig_rax = (unsigned long)-1; /* nothing is to be restarted */
    regs.rdi      = mapping->start;
    regs.rsi      = mapping->length;
    regs.rdx      = (unsigned long)protection;
    if (ptrace(PTRACE_SETREGS, pid, 0, &regs) != 0 || !step_once(pid, &status)) return false;
    if (ptrace(PTRACE_GETREGS, pid, 0, &regs) != 0 || regs.rax != 0) return false;
    return ptrace(PTRACE_SETREGS, pid, 0, &saved) == 0;
}

static bool protect_all(const victim_t *victim, pid_t pid, int protection)
{
    unsigned i;
    for (i = 0; i < victim->mappings; i++)
        if (victim->mapping[i].length > 0 && !protect(pid, &victim->mapping[i], protection)) return false;
    return true;
}

static bool add_mapping(victim_t *victim, unsigned long start, unsigned long length)
{
    mapping_t *mapping = &victim->mapping[victim->mappings];
    if (victim->mappings == MOST_MAPPINGS) return false;
    mapping->start  = start;
    mapping->length = (length + 4095) & ~4095ul;
    victim->mappings++;
    return protect(victim->pid, mapping, victim->protection);
}

static void drop_mapping(victim_t *victim, unsigned long start)
{
    unsigned i;
    for (i = 0; i < victim->mappings; i++)
        if (victim->mapping[i].start == start) victim->mapping[i].length = 0;
}

/* What the victim has mapped of the files in `folder` when it starts. */
static bool add_mappings_of(victim_t *victim, const char *folder)
{
    char  path[40], line[512];
    bool  ok = true;
    FILE *maps;

    snprintf(path, sizeof path, "/proc/%d/maps", (int)victim->pid);
    if ((maps = fopen(path, "r")) == NULL) return false;
    while (ok && fgets(line, sizeof line, maps) != NULL) {
        unsigned long start, end;
        char          flags[5], *file = strchr(line, '/');
        if (file == NULL || strncmp(file, folder, strlen(folder)) != 0) continue;
        if (sscanf(line, "%lx-%lx %4s", &start, &end, flags) == 3 && strcmp(flags, "rw-s") == 0)
            ok = add_mapping(victim, start, end - start);
    }
    fclose(maps);
    return ok;
}

static mapping_t *mapping_at(victim_t *victim, unsigned long address)
{
    unsigned i;
    for (i = 0; i < victim->mappings; i++)
        if (address - victim->mapping[i].start < victim->mapping[i].length) return &victim->mapping[i];
    return NULL;
}

/* What is around an address in the victim; what is not mapped there stays zero. No
 * instruction stores more than 64 bytes at a time. */
static void look_around(const victim_t *victim, unsigned long address, char *bytes)
{
    unsigned long at;
    memset(bytes, 0, AROUND);
    for (at = 0; at < AROUND; at += 64) {
        struct iovec here = { bytes + at, 64 }, there = { (void *)((address & ~63ul) - 64 + at), 64 };
        process_vm_readv(victim->pid, &here, 1, &there, 1, 0);
    }
}

/* The victim has a fault. Is it ours? Then let it have its access. An instruction
 * that touches several mappings has several. A store that changes nothing, as
 * by a compare-and-swap that fails, is no event. */
static bool pass_fault(victim_t *victim)
{
    mapping_t    *opened[2];
    unsigned long address[2];
    char          before[2][AROUND], after[AROUND];
    unsigned      count = 0, i;
    int           status;
    bool          changed = false;

    do {
        siginfo_t info;
        if (count == 2 || ptrace(PTRACE_GETSIGINFO, victim->pid, 0, &info) != 0) return false;
        address[count] = (unsigned long)info.si_addr;
        if ((opened[count] = mapping_at(victim, address[count])) == NULL) return false;
        if (!protect(victim->pid, opened[count], PROT_READ | PROT_WRITE)) return false;
        look_around(victim, address[count], before[count]);
        count++;
        if (!step_once(victim->pid, &status)) return false;
    } while (WSTOPSIG(status) == SIGSEGV);
    if (WSTOPSIG(status) != SIGTRAP) return false;
    for (i = 0; i < count; i++) {
        look_around(victim, address[i], after);
        changed = changed || memcmp(before[i], after, AROUND) != 0;
        if (!protect(victim->pid, opened[i], victim->protection)) return false;
    }
    victim->events += changed || victim->protection == PROT_NONE;
    victim->stores += changed;
    return true;
}

/* At the entry of futex(), whose word the kernel could not read: let it call
 * mprotect() instead, and then come here again. */
static bool lend(victim_t *victim, mapping_t *mapping, struct user_regs_struct regs)
{
    struct user_regs_struct other = regs;
    int                     status;

    other.orig_rax = SYS_mprotect;
    other.rdi      = mapping->start;
    other.rsi      = mapping->length;
    other.rdx      = PROT_READ | PROT_WRITE;
    if (ptrace(PTRACE_SETREGS, victim->pid, 0, &other) != 0 || ptrace(PTRACE_SYSCALL, victim->pid, 0, 0) != 0) return false;
    if (!await_stop(victim->pid, &status)) return false;
    regs.rip -= 2; /* the length of the instruction */
    regs.rax        = regs.orig_rax;
    regs.orig_rax   = (unsigned long)-1;
    victim->lent    = mapping;
    victim->in_call = false;
    return ptrace(PTRACE_SETREGS, victim->pid, 0, &regs) == 0;
}

static bool take_back(victim_t *victim)
{
    mapping_t *mapping = victim->lent;
    victim->lent       = NULL;
    return protect(victim->pid, mapping, victim->protection);
}

/* At the entry or exit of a system call. The exit is an event; before the entry
 * all is as after the event before. Mappings that come and go are noted. */
static bool pass_call(victim_t *victim)
{
    struct user_regs_struct regs;

    if (ptrace(PTRACE_GETREGS, victim->pid, 0, &regs) != 0) return false;
    victim->in_call  = !victim->in_call;
    victim->sleeping = false;
    victim->call     = (long)regs.orig_rax;
    if (victim->in_call) {
        mapping_t *word = victim->call == SYS_futex && victim->protection == PROT_NONE ? mapping_at(victim, regs.rdi) : NULL;
        if (victim->call == SYS_munmap) drop_mapping(victim, regs.rdi);
        return word == NULL || victim->lent != NULL || lend(victim, word, regs);
    }
    victim->events++;
    if (victim->lent != NULL && !take_back(victim)) return false;
    if ((long)regs.rax == -EFAULT) return false; /* it gave the kernel what we have protected */
    if (victim->call != SYS_mmap || (long)regs.rax < 0 || (regs.r10 & MAP_SHARED) == 0 || (regs.r10 & MAP_ANONYMOUS) != 0) return true;
    return add_mapping(victim, regs.rax, regs.rsi);
}

/* The victim forks. Either it is the child that is of interest from now on, or the
 * child goes its way. The other of the two gets its mappings opened. */
static bool pass_fork(victim_t *victim)
{
    unsigned long child = 0;
    int           status;

    if (ptrace(PTRACE_GETEVENTMSG, victim->pid, 0, &child) != 0 || !await_stop((pid_t)child, &status)) return false;
    if (!victim->follow) return protect_all(victim, (pid_t)child, PROT_READ | PROT_WRITE) && ptrace(PTRACE_DETACH, (pid_t)child, 0, 0) == 0;
    if (ptrace(PTRACE_SYSCALL, victim->pid, 0, 0) != 0 || !await_stop(victim->pid, &status)) return false; /* the exit of fork() */
    if (!protect_all(victim, victim->pid, PROT_READ | PROT_WRITE) || ptrace(PTRACE_DETACH, victim->pid, 0, 0) != 0) return false;
    victim->pid     = (pid_t)child;
    victim->follow  = false;
    victim->in_call = false;
    victim->events  = 0;
    return true;
}

/* Is it asleep in a system call that waits for others? */
static bool is_asleep(const victim_t *victim)
{
    char  path[40], text[200], *state;
    FILE *stat;

    if (!victim->in_call || (victim->call != SYS_futex && victim->call != SYS_flock)) return false;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)victim->pid);
    if ((stat = fopen(path, "r")) == NULL) return false;
    state = fgets(text, sizeof text, stat) != NULL ? strrchr(text, ')') : NULL;
    fclose(stat);
    return state != NULL && state[1] == ' ' && state[2] == 'S';
}

/* Let it go to its next stop. Returns whether it came to one; else it sleeps. */
static bool go(victim_t *victim, int signal_number, int *status)
{
    int tries;
    *status = 0;
    if (!victim->sleeping && ptrace(PTRACE_SYSCALL, victim->pid, 0, signal_number) != 0) return true; /* *status says that it is gone */
    for (tries = 0;; tries++) {
        pid_t pid = waitpid(victim->pid, status, __WALL | (victim->in_call ? WNOHANG : 0));
        if (pid != 0) return true;
        if (tries > 3 && !victim->sleeping && is_asleep(victim)) return false;
        sched_yield();
    }
}

/* Run it until it has had so many events, or stores. What became of it. */
static const char *run(victim_t *victim, unsigned long events, unsigned long stores)
{
    int signal_number = 0;
    if (victim->finished) return "finished";
    while (victim->follow || (victim->events < events && victim->stores < stores)) {
        int status;
        if (!go(victim, signal_number, &status)) {
            victim->sleeping = true;
            victim->events++;
            return victim->events == events ? "there" : "asleep";
        }
        signal_number = 0;
        if (!WIFSTOPPED(status)) return "gone";
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_FORK << 8)) {
            if (!pass_fork(victim)) return "lost at a fork";
        }
        else if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            if (!pass_call(victim)) return "lost at a system call";
        }
        else if (WSTOPSIG(status) == SIGSEGV) {
            if (!pass_fault(victim)) return "lost at a fault";
        }
        else if (WSTOPSIG(status) == SIGTRAP) {
            victim->finished = true;
            return "finished";
        }
        else
            signal_number = WSTOPSIG(status);
    }
    return "there";
}

static victim_t *victim_of(pTHX_ SV *pid)
{
    int i;
    for (i = 0; i < MOST_VICTIMS; i++)
        if (victims[i].pid == (pid_t)SvIV(pid)) return &victims[i];
    croak("No victim has this PID");
}

/* In the victim: the operation begins. */
static XS(step_begin)
{
    dXSARGS;
    PERL_UNUSED_VAR(items);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) _exit(77);
    __asm__ volatile("int3" ::: "memory");
    XSRETURN(0);
}

/* In the victim: it is complete. */
static XS(step_end)
{
    dXSARGS;
    PERL_UNUSED_VAR(items);
    __asm__ volatile("int3" ::: "memory");
    XSRETURN(0);
}

/* catch(pid, folder, all, follow): wait for step_begin() of a child, and protect
 * its mappings. */
static XS(step_catch)
{
    dXSARGS;
    victim_t *victim = NULL;
    int       i, status;

    if (items != 4) croak("usage: catch(pid, folder, all, follow)");
    for (i = 0; i < MOST_VICTIMS && victim == NULL; i++)
        if (victims[i].pid == 0) victim = &victims[i];
    if (victim == NULL) croak("Too many victims");
    memset(victim, 0, sizeof *victim);
    victim->protection = SvTRUE(ST(2)) ? PROT_NONE : PROT_READ;
    victim->follow     = SvTRUE(ST(3));
    victim->pid        = (pid_t)SvIV(ST(0));
    if (!await_stop(victim->pid, &status) || WSTOPSIG(status) != SIGTRAP) croak("Cannot trace a child (status %x)", (unsigned)status);
    ptrace(PTRACE_SETOPTIONS, victim->pid, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK);
    if (!add_mappings_of(victim, SvPV_nolen(ST(1)))) croak("Cannot protect the mappings of a child");
    XSRETURN(0);
}

/* run(pid, events): where it follows a child, pid becomes that of the child. */
static XS(step_run)
{
    dXSARGS;
    victim_t *victim;
    pid_t     before;
    SV       *how;

    if (items != 2) croak("usage: run(pid, events)");
    victim = victim_of(aTHX_ ST(0));
    before = victim->pid;
    how    = newSVpv(run(victim, (unsigned long)SvUV(ST(1)), ULONG_MAX), 0);
    if (victim->pid != before) sv_setiv(ST(0), victim->pid);
    ST(0) = sv_2mortal(how);
    XSRETURN(1);
}

/* run_to_store(pid): until it has changed something. */
static XS(step_run_to_store)
{
    dXSARGS;
    victim_t *victim;

    if (items != 1) croak("usage: run_to_store(pid)");
    victim = victim_of(aTHX_ ST(0));
    ST(0)  = sv_2mortal(newSVpv(run(victim, ULONG_MAX, victim->stores + 1), 0));
    XSRETURN(1);
}

/* events(pid) */
static XS(step_events)
{
    dXSARGS;
    if (items != 1) croak("usage: events(pid)");
    ST(0) = sv_2mortal(newSVuv(victim_of(aTHX_ ST(0))->events));
    XSRETURN(1);
}

/* kill(pid): and see it dead. It is a zombie until somebody waits for it. */
static XS(step_kill)
{
    dXSARGS;
    victim_t *victim;
    siginfo_t info;
    if (items != 1) croak("usage: kill(pid)");
    victim = victim_of(aTHX_ ST(0));
    kill(victim->pid, SIGKILL);
    waitid(P_PID, (id_t)victim->pid, &info, WEXITED | WNOWAIT | __WALL);
    victim->pid = 0;
    XSRETURN(0);
}

/* release(pid): it goes on, by itself. */
static XS(step_release)
{
    dXSARGS;
    victim_t *victim;
    if (items != 1) croak("usage: release(pid)");
    victim = victim_of(aTHX_ ST(0));
    if (!protect_all(victim, victim->pid, PROT_READ | PROT_WRITE) || ptrace(PTRACE_DETACH, victim->pid, 0, 0) != 0)
        croak("Cannot release the victim");
    victim->pid = 0;
    XSRETURN(0);
}

/* Stay on the processor where we are: tracer and victim take turns. */
static XS(step_stay)
{
    dXSARGS;
    cpu_set_t here;
    PERL_UNUSED_VAR(items);
    CPU_ZERO(&here);
    CPU_SET((size_t)sched_getcpu(), &here);
    sched_setaffinity(0, sizeof here, &here);
    XSRETURN(0);
}

XS_EXTERNAL(boot_Step);
XS_EXTERNAL(boot_Step)
{
    dXSARGS;
    PERL_UNUSED_VAR(items);
    newXS("Step::begin", step_begin, __FILE__);
    newXS("Step::end", step_end, __FILE__);
    newXS("Step::catch", step_catch, __FILE__);
    newXS("Step::run", step_run, __FILE__);
    newXS("Step::run_to_store", step_run_to_store, __FILE__);
    newXS("Step::events", step_events, __FILE__);
    newXS("Step::kill", step_kill, __FILE__);
    newXS("Step::release", step_release, __FILE__);
    newXS("Step::stay", step_stay, __FILE__);
    XSRETURN_YES;
}
