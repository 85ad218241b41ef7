/*
 * stepper.h - run a process to its k-th instruction and stop it there (x86-64).
 *
 * The first run of an operation is single-stepped and its instruction addresses
 * are recorded. A later run gets to instruction k in few stops: a hardware
 * breakpoint on a rare address at or before k, then single steps. It is checked
 * to be where the record says; if not, or where there are no debug registers,
 * all of it is single-stepped.
 */
#ifndef STEPPER_H
#define STEPPER_H

#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEPPER_MAX (1u << 16) /* instructions of an operation */

typedef struct stepper {
    pid_t         pid;      /* of the victim; 0: none */
    volatile int *finished; /* shared: the victim has completed its operation */
    void (*wake)(void);     /* what to do when the victim sleeps in the kernel; NULL: it never does */
    bool woken;
    bool lost; /* the victim died or got a signal of its own */

    /* The record of the first run. */
    uint64_t rip[STEPPER_MAX + 1];
    uint32_t nth[STEPPER_MAX + 1]; /* how often this address was come to so far, from 1 on; 0: is repeating itself */
    uint32_t length;
    uint32_t syscalls;
    uint32_t sleeps_at; /* the instruction that slept, or UINT32_MAX */
} stepper_t;

static uint64_t stepper_plain; /* runs that no breakpoint could shorten: for the report */

/* In the victim: stop here, under the eyes of the tracer. */
#define STEPPER_MARK() __asm__ volatile("int3" ::: "memory")

static char stepper_state(pid_t pid)
{
    char          path[40];
    pool_i_stat_t stat = { '?', 0, 0 };
    return pool_i_read_stat(pool_i_stat_path((uint64_t)pid, path), &stat) ? stat.state : '?';
}

/* Does the process sleep in a system call that waits for others? */
static bool stepper_asleep(pid_t pid)
{
    char path[64], text[256];
    long number = -1;
    if (stepper_state(pid) != 'S') return false;
    snprintf(path, sizeof path, "/proc/%d/syscall", (int)pid);
    if (pool_i_read_file(path, text, sizeof text) < 0 || sscanf(text, "%ld", &number) != 1) return false;
    return number == SYS_futex || number == SYS_flock;
}

/* Fork the victim: it calls prepare(), stops, and then runs. */
static void stepper_start(stepper_t *s, void (*prepare)(void), void (*run)(void))
{
    int   status = 0;
    pid_t pid;

    fflush(stdout);
    *s->finished = 0;
    s->woken = s->lost = false;
    if ((pid = fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) _exit(77);
        if (prepare != NULL) prepare();
        STEPPER_MARK();
        run();
        *s->finished = 1;
        STEPPER_MARK();
        _exit(0);
    }
    s->pid = pid;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) {
        printf("Bail out! cannot trace a child (status %x)\n", (unsigned)status);
        exit(2);
    }
    ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD);
}

/* Go on until the next stop. Returns false if the victim sleeps instead. */
static bool stepper_go(stepper_t *s, enum __ptrace_request how)
{
    int status = 0, tries;
    if (ptrace(how, s->pid, 0, 0) != 0) s->lost = true;
    for (tries = 0; !s->lost; tries++) {
        bool may_sleep = s->wake != NULL && !s->woken;
        if (waitpid(s->pid, &status, may_sleep ? WNOHANG : 0) > 0) break;
        if (tries > 3 && stepper_asleep(s->pid)) return false;
        sched_yield();
    }
    if (!WIFSTOPPED(status) || (WSTOPSIG(status) & 0x7f) != SIGTRAP) {
        proof_fail("the victim died of itself (status %x)", (unsigned)status);
        s->lost = true;
    }
    return true;
}

/* The same, waking the sleeper. */
static void stepper_go_on(stepper_t *s, enum __ptrace_request how)
{
    int status = 0;
    if (stepper_go(s, how)) return;
    s->woken = true;
    s->wake();
    if (waitpid(s->pid, &status, 0) <= 0 || !WIFSTOPPED(status)) s->lost = true;
}

/* Kill the victim. A zombie is left until stepper_reap(). */
static void stepper_kill(stepper_t *s)
{
    siginfo_t info;
    kill(s->pid, SIGKILL);
    waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOWAIT);
}

static void stepper_reap(stepper_t *s)
{
    int status;
    if (s->pid != 0) waitpid(s->pid, &status, 0);
    s->pid = 0;
}

static uint64_t stepper_rip(const stepper_t *s)
{
    return (uint64_t)ptrace(PTRACE_PEEKUSER, s->pid, offsetof(struct user, regs.rip), 0);
}

static bool stepper_breakpoint(const stepper_t *s, uint64_t address)
{
    const size_t dr = offsetof(struct user, u_debugreg);
    return ptrace(PTRACE_POKEUSER, s->pid, dr, address) == 0
           && ptrace(PTRACE_POKEUSER, s->pid, dr + 7 * sizeof(long), (long)(address != 0)) == 0;
}

/* How often each address was come to, up to each point. */
static void stepper_number(stepper_t *s)
{
    enum { SIZE = 1 << 16 };
    static struct {
        uint64_t rip;
        uint32_t count;
    } seen[SIZE];
    uint32_t i;

    memset(seen, 0, sizeof seen);
    for (i = 0; i <= s->length; i++) {
        uint32_t place = (uint32_t)(s->rip[i] * UINT64_C(0x9e3779b97f4a7c15) >> 48);
        while (seen[place].rip != 0 && seen[place].rip != s->rip[i]) place = (place + 1) % SIZE;
        seen[place].rip = s->rip[i];
        /* A string instruction stays where it is, and its breakpoint fires once. */
        s->nth[i] = i > 0 && s->rip[i - 1] == s->rip[i] ? 0 : ++seen[place].count;
    }
}

/* Single-step the started victim through all of its operation. */
static void stepper_record(stepper_t *s)
{
    s->length = s->syscalls = 0;
    s->sleeps_at            = UINT32_MAX;
    while (!*s->finished && !s->lost && s->length < STEPPER_MAX) {
        bool was          = s->woken;
        s->rip[s->length] = stepper_rip(s);
        if ((ptrace(PTRACE_PEEKTEXT, s->pid, s->rip[s->length], 0) & 0xffff) == 0x050f) s->syscalls++;
        stepper_go_on(s, PTRACE_SINGLESTEP);
        if (s->woken != was) s->sleeps_at = s->length;
        s->length++;
    }
    s->rip[s->length] = stepper_rip(s);
    stepper_number(s);
}

/* Run the started victim for k instructions. Returns false if it went another
 * way than the record. */
static bool stepper_hop(stepper_t *s, uint32_t k)
{
    uint32_t i, at, best = 0, cost = k, least = k > 64 ? k - 64 : 1;

    for (i = least; i <= k; i++)
        if (s->nth[i] != 0 && s->rip[i] != s->rip[0] && s->nth[i] + (k - i) < cost) {
            best = i;
            cost = s->nth[i] + (k - i);
        }
    if (best > 0) {
        if (!stepper_breakpoint(s, s->rip[best])) return false;
        for (i = 0; i < s->nth[best]; i++) {
            stepper_go_on(s, PTRACE_CONT);
            if (s->lost || (*s->finished && best < s->length)) return false;
        }
        stepper_breakpoint(s, 0);
    }
    for (at = best; at < k && !s->lost; at++) stepper_go_on(s, PTRACE_SINGLESTEP);
    return !s->lost && stepper_rip(s) == s->rip[k];
}

/* The same without the record: k steps, or as many as there are. */
static void stepper_walk(stepper_t *s, uint32_t k)
{
    stepper_plain++;
    while (k-- > 0 && !*s->finished && !s->lost) stepper_go_on(s, PTRACE_SINGLESTEP);
}

#endif
