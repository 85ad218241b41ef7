/*
 * What the C tests share: TAP, children that cannot outlive the test, a scratch
 * folder, and pools. Each test is a program of its own that prints TAP.
 */
#ifndef TEST_H
#define TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../pool.h"

/* Where everything is ten times slower (valgrind, an emulator), do less of it. */
#ifndef TEST_PART
#define TEST_PART 1
#endif
#define ROUNDS(n) ((n) / TEST_PART > 0 ? (n) / TEST_PART : 1)

#define MS   INT64_C(1000000)
#define HUNG 240 /* seconds after which a test is taken to hang */

static int   test_count, test_failures;
static char  test_folder[256];
static pid_t test_main;

static inline void test_ok(bool passed, const char *file, int line, const char *format, ...)
{
    va_list arguments;
    printf("%s %d - ", passed ? "ok" : "not ok", ++test_count);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    if (!passed) {
        test_failures++;
        printf("# failed at %s line %d\n", file, line);
    }
    fflush(stdout);
}
#define ok(passed, ...) test_ok((passed), __FILE__, __LINE__, __VA_ARGS__)

static inline void test_skip(const char *why, const char *what)
{
    printf("ok %d # skip %s (%s)\n", ++test_count, why, what);
}

static inline void test_clean_up(void)
{
    char command[300];
    if (getpid() != test_main || test_folder[0] == '\0') return;
    snprintf(command, sizeof command, "rm -rf '%s'", test_folder);
    if (system(command) != 0) printf("# cannot remove %s\n", test_folder);
}

static inline void test_begin(void)
{
    test_main = getpid();
    alarm(HUNG); /* SIGALRM ends a test that hangs; its children die with it */
    atexit(test_clean_up);
}

static inline int test_done(void)
{
    printf("1..%d\n", test_count);
    return test_failures != 0;
}

/* A path in a folder of this test's own. Good until the fourth call after it. */
static inline const char *scratch(const char *name)
{
    static char paths[4][512];
    static int  turn;
    char       *path   = paths[turn++ % 4];
    const char *parent = getenv("TMPDIR");
    if (test_folder[0] == '\0') {
        snprintf(test_folder, sizeof test_folder, "%s/pool-test-XXXXXX", parent != NULL ? parent : "/tmp");
        if (mkdtemp(test_folder) == NULL) {
            perror("mkdtemp");
            exit(2);
        }
    }
    snprintf(path, sizeof paths[0], "%s/%s", test_folder, name);
    return path;
}

static inline bool write_text(const char *path, const char *text)
{
    int  fd   = open(path, O_WRONLY);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) close(fd);
    return done;
}

/* A tmpfs ("size=1m") that this process alone sees, and that ends with it. */
static inline bool small_filesystem(const char *folder, const char *size)
{
    char map[64];
    int  uid = (int)getuid(), gid = (int)getgid();
    if (unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
        write_text("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "%d %d 1", uid, uid);
        if (!write_text("/proc/self/uid_map", map)) return false;
        snprintf(map, sizeof map, "%d %d 1", gid, gid);
        if (!write_text("/proc/self/gid_map", map)) return false;
    }
    if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0) return false;
    return (mkdir(folder, 0700) == 0 || errno == EEXIST) && mount("pool-test", folder, "tmpfs", 0, size) == 0;
}

/* Does nothing of ours keep it any more? Who reads something of a dead child in /proc, as ps does, keeps the child's
 * memory for a moment, and with that what it had mapped. */
static inline bool filesystem_ends(const char *folder)
{
    int tries;
    for (tries = 0; tries < 1000; tries++) {
        if (umount(folder) == 0) return true;
        if (errno != EBUSY) return false;
        usleep(10000);
    }
    umount2(folder, MNT_DETACH);
    return false;
}

/* A child that runs body(argument) and exits with its result. */
static inline pid_t child(int (*body)(void *), void *argument)
{
    static void *volatile kept; /* what it points to is not lost, even if the child has done with it */
    pid_t parent = getpid(), pid;

    kept = argument;
    (void)kept;
    fflush(stdout);
    if ((pid = fork()) != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(3);
    _exit(body(argument));
}

/* How a child ended: its exit status, or minus the signal. */
static inline int reap(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -1000;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static inline int kill_and_reap(pid_t pid)
{
    kill(pid, SIGKILL);
    return reap(pid);
}

static inline void nap(void)
{
    struct timespec ms = { 0, 1000000 };
    nanosleep(&ms, NULL);
}

/* Poll until the condition holds; the statement after it sees whether it does. */
#define EVENTUALLY(condition, held) \
    for (int left_ = 60000; !((held) = (condition)) && left_ > 0; left_--) nap()

static inline int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 * MS + now.tv_nsec;
}

/* Memory that children share. */
static inline void *shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) exit(2);
    return memory;
}

static inline pool_spec_t spec_of(uint32_t variant, uint64_t capacity, uint64_t elem_size)
{
    pool_spec_t spec = { variant, capacity, elem_size, 0, 0 };
    return spec;
}

/* The pool, or the end of the test. */
static inline pool_t *must(pool_t *pool, const pool_error_t *err)
{
    if (pool != NULL) return pool;
    printf("Bail out! %s\n", err->text);
    exit(2);
}

static inline pool_t *anonymous(uint32_t variant, uint64_t capacity, uint64_t elem_size)
{
    pool_spec_t  spec = spec_of(variant, capacity, elem_size);
    pool_error_t err;
    return must(pool_open(NULL, &spec, &err), &err);
}

static inline pool_t *in_memfd(uint32_t variant, uint64_t capacity, uint64_t elem_size)
{
    pool_spec_t  spec = spec_of(variant, capacity, elem_size);
    pool_error_t err;
    return must(pool_open_memfd("pool-test", &spec, &err), &err);
}

/* A second handle, with a mapping of its own, on a pool in a memfd. */
static inline pool_t *second(const pool_t *pool)
{
    pool_spec_t  spec = spec_of(pool->variant, 0, 0);
    pool_error_t err;
    return must(pool_open_fd(pool->fd, &spec, &err), &err);
}

static inline pool_counts_t counts(pool_t *pool)
{
    pool_counts_t all;
    pool_stats(pool, &all);
    return all;
}

/* xorshift: the same numbers in every run. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
