/* Loaded before the C library: the wall clock is so many seconds off as the file CLOCK_SHIFT says now. The
 * clocks that nobody can set are left alone. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void)
{
    char        text[32];
    const char *path = getenv("CLOCK_SHIFT");
    int         fd   = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t     n;
    if (fd < 0) return 0;
    n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return strtol(text, NULL, 10);
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    int failed = (int)syscall(SYS_clock_gettime, id, now);
    if (failed == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec its;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &its) != 0) return -1;
    now->tv_sec  = its.tv_sec;
    now->tv_usec = its.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *to)
{
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return (time_t)-1;
    if (to != NULL) *to = now.tv_sec;
    return now.tv_sec;
}
