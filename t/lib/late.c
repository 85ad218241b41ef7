/* Loaded before the C library. CHILD_CLOCK=late: a child that asks for CLOCK_BOOTTIME for the first time loses
 * the processor for 50 ms. CHILD_CLOCK=set: its wall clock is an hour ahead, as if it had been set while it was
 * forked. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pid_t first, known;

__attribute__((constructor)) static void begin(void)
{
    first = known = getpid();
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    const struct timespec moment = { 0, 50000000 };
    const char           *what   = getenv("CHILD_CLOCK");
    int                   failed;

    if (what != NULL && strcmp(what, "late") == 0 && id == CLOCK_BOOTTIME && getpid() != known) {
        known = getpid();
        nanosleep(&moment, NULL);
    }
    failed = (int)syscall(SYS_clock_gettime, id, now);
    if (what != NULL && strcmp(what, "set") == 0 && id == CLOCK_REALTIME && getpid() != first) now->tv_sec += 3600;
    return failed;
}
