/* fork() and exec(): the child has what the parent has, on its own account; who becomes
 * another program, or dies on the way, holds nothing. */
#include "store_test.h"

#include <sys/syscall.h>
#include <time.h>

static store_t *store;

/* What CLOCK_BOOTTIME shows, by which a mark waits for a child: the same for as long as this is set, however busy
 * the machine is. */
static struct timespec shown;

int clock_gettime(clockid_t id, struct timespec *now)
{
    if (id != CLOCK_BOOTTIME || shown.tv_sec == 0) return (int)syscall(SYS_clock_gettime, id, now);
    *now = shown;
    return 0;
}

static void the_child_has_it(void)
{
    store_var_t *one = var_new(store, STORE_HASH);
    int          go[2];
    char         byte = 0;
    pid_t        pid;
    store_ref_t  ref = store_ref_of(one);
    if (pipe(go) != 0) test_die("pipe", strerror(errno));
    MUST(put_int(one, "k", 5));
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        if (read(go[0], &byte, 1) != 1) _exit(1);
        if (get_int(one, "k", -1) != 5) _exit(2); /* its parent has let go meanwhile */
        if (put_int(one, "k", 6) != STORE_OK) _exit(3);
        store_release(one);
        _exit(var_of(store, &ref) == NULL ? 0 : 4); /* it was the last */
    }
    store_release(one);
    ok(write(go[1], "", 1) == 1 && reap(pid) == 0, "a child has what its parent had, also when that has let go");
    close(go[0]);
    close(go[1]);
}

static void many_generations(void)
{
    store_var_t  *one = var_new(store, STORE_HASH);
    store_stats_t before, after;
    pid_t         pid;
    int           depth = 0, status;
    MUST(put_int(one, "k", 1));
    store_recover(store);
    before = space_stats(store);
    while (depth < 5 && (pid = fork_with(STORE_FORK_GOES_ON)) == 0) depth++;
    if (depth == 5) _exit(get_int(one, "k", -1) == 1 ? 0 : 1);
    status = reap(pid);
    if (depth > 0) {
        int code = status == 0 && get_int(one, "k", -1) == 1 ? 0 : 1;
        store_release(one);
        _exit(code);
    }
    ok(status == 0, "children of children of children have it");
    store_recover(store);
    after = space_stats(store);
    ok(same_use(&before, &after), "what they had is cleared away");
    store_release(one);
}

static void locks_stay_with_the_parent(void)
{
    store_var_t *one = var_new(store, STORE_HASH);
    pid_t        pid;
    MUST(store_lock_write(one, STORE_FOREVER, NULL));
    MUST(store_begin(one, STORE_FOREVER));
    MUST(put_int(one, "k", 1));
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        if (store_is_open(one) || store_unlock_write(one)) _exit(1);
        _exit(AGAIN(store_lock_write(one, store_deadline(50 * MS), NULL)) == STORE_TIMEOUT ? 0 : 2);
    }
    ok(reap(pid) == 0, "a child has neither its parent's locks nor its change");
    store_commit(one);
    ok(get_int(one, "k", -1) == 1 && store_unlock_write(one), "the parent has");
    store_release(one);
}

/* The marks of a child that did nothing but die are gone as soon as it is. */
static void the_child_dies_at_once(void)
{
    store_var_t  *one = var_new(store, STORE_HASH);
    store_stats_t before, after;
    pid_t         pid;
    store_recover(store); /* of what the dead before this one had, releasing frees something now and then only */
    before = space_stats(store);
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) _exit(0);
    reap(pid);
    store_recover(store);
    after = space_stats(store);
    ok(same_use(&before, &after), "a child that died at once leaves nothing");
    if ((pid = fork_with(STORE_FORK_COMMAND)) == 0) _exit(store_is_open(one) ? 1 : 0);
    after = space_stats(store);
    ok(same_use(&before, &after), "one that is to become another program is given nothing");
    reap(pid);
    store_release(one);
}

/* A child that does not get the processor, of a parent that dies as soon as it has forked, before or after it can
 * say the child's PID. So many seconds after the fork somebody recovers. Returns what the child finds in the end. */
static int late_child(int how, bool told, time_t seconds)
{
    struct timespec *forked = (struct timespec *)shared(sizeof *forked);
    int              go[2], done[2];
    char             byte = 0, found = 0;
    pid_t            parent;
    ssize_t          got;
    if (pipe(go) != 0 || pipe(done) != 0) test_die("pipe", strerror(errno));
    if ((parent = fork_with(STORE_FORK_GOES_ON)) == 0) {
        store_var_t *its = var_new(store, STORE_HASH);
        pid_t        child;
        MUST(put_int(its, "k", 5));
        clock_gettime(CLOCK_BOOTTIME, forked);
        shown = *forked;
        store_fork_prepare(how);
        shown.tv_sec = 0;
        if ((child = fork()) == 0) {
            close(go[1]);
            if (read(go[0], &byte, 1) != 1) _exit(1);
            store_fork_child();
            store_fork_adopt();
            found = (char)get_int(its, "k", 0);
            _exit(write(done[1], &found, 1) == 1 ? 0 : 1);
        }
        store_fork_parent();
        if (told) store_fork_parent_pid(child);
        kill(getpid(), SIGKILL);
    }
    reap(parent);
    close(done[1]);
    shown = *forked;
    shown.tv_sec += seconds;
    store_recover(store);
    shown.tv_sec = 0;
    munmap(forked, sizeof *forked);
    if (write(go[1], "", 1) != 1) test_die("write", "child");
    got = read(done[0], &found, 1);
    reap(-1); /* it is ours by now, and has what it has until it is dead */
    close(go[0]);
    close(go[1]);
    close(done[0]);
    return got == 1 ? found : -1;
}

static void late_children(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    ok(late_child(STORE_FORK_GOES_ON, true, 11) == 5, "a child that does not get the processor for long has what its dead parent had");
    ok(late_child(STORE_FORK_GOES_ON, true, 100000) == 5, "… however long");
    ok(late_child(STORE_FORK_GOES_ON, false, 11) == 5, "… also if that could not say its PID any more");
    ok(late_child(STORE_FORK_GOES_ON, false, 601) == 0, "… but not for ever then");
    ok(late_child(STORE_FORK_PERHAPS, false, 9) == 5 && late_child(STORE_FORK_PERHAPS, false, 11) == 0,
       "for one that may be another program by now it is kept ten seconds");
}

static void failed_fork(void)
{
    store_var_t  *one    = var_new(store, STORE_HASH);
    store_stats_t before = space_stats(store), after;
    store_fork_prepare(STORE_FORK_GOES_ON);
    store_fork_parent();
    store_fork_parent_pid(-1);
    ok(get_int(one, "k", -1) == -1 && put_int(one, "k", 1) == STORE_OK && get_int(one, "k", -1) == 1,
       "after a fork that failed all goes on");
    MUST(store_hash_clear(one));
    after = space_stats(store);
    ok(same_use(&before, &after), "nothing is kept for a child that there is not");
    store_release(one);
}

static void becomes_another_program(void)
{
    store_var_t *one = var_new(store, STORE_HASH);
    pid_t        pid;
    int          out[2];
    char         byte;
    if (pipe(out) != 0) test_die("pipe", strerror(errno));
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        MUST(store_lock_write(one, STORE_FOREVER, NULL));
        store_exec_prepare(true);
        if (write(out[1], "x", 1) != 1) _exit(1);
        execlp("sleep", "sleep", "100", (char *)NULL);
        store_exec_prepare(false);
        _exit(1);
    }
    if (read(out[0], &byte, 1) != 1) test_die("read", "child");
    ok(AGAIN(store_lock_write(one, store_deadline(5000 * MS), NULL)) == STORE_OK, "who becomes another program holds no lock");
    store_unlock_write(one);
    kill(pid, SIGKILL);
    reap(pid);
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        store_exec_prepare(true);
        execl("/nowhere/at/all", "x", (char *)NULL);
        store_exec_prepare(false);
        _exit(put_int(one, "k", 3) == STORE_OK && get_int(one, "k", -1) == 3 ? 0 : 1);
    }
    ok(reap(pid) == 0, "if that fails it goes on");
    store_recover(store);
    ok(!store_has_dead(store), "all is cleared away");
    store_release(one);
    close(out[0]);
    close(out[1]);
}

/* Whoever has it attached uses it after the directory is gone, the descriptors are closed and root is elsewhere. */
static void without_files(void)
{
    pid_t pid;
    if ((pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        store_t     *mine = space_new("gone");
        store_var_t *one  = var_new(mine, STORE_HASH);
        char         command[500];
        int          i, fd;
        for (fd = 3; fd < 100; fd++) close(fd);
        snprintf(command, sizeof command, "rm -rf '%s'", space_path("gone"));
        if (system(command) != 0) _exit(1);
        if (geteuid() == 0 && chroot("/proc/self/fdinfo") != 0) _exit(2);
        for (i = 0; i < 3000; i++) {
            char          name[32];
            static char   text[3000];
            store_key_t   key   = key_number(mine, name, i);
            store_value_t value = store_text(text, (uint64_t)i, false);
            if (store_hash_put(one, &key, &value, 0) != STORE_OK) _exit(3);
        }
        _exit(store_is_at(mine, space_path("gone")) ? 4 : 0);
    }
    ok(reap(pid) == 0, "an open namespace needs neither path nor descriptor, to grow either");
}

int main(void)
{
    store_stats_t before, after;
    test_begin();
    store = space_new("process");
    store_release(var_named(store, STORE_HASH, "%first"));
    before = space_stats(store);
    the_child_has_it();
    many_generations();
    locks_stay_with_the_parent();
    the_child_dies_at_once();
    late_children();
    becomes_another_program();
    without_files();
    store_recover(store);
    after = space_stats(store);
    ok(same_use(&before, &after), "nothing is left of any of them");
    failed_fork();
    store_remove_all(store, 0);
    store_close(store);
    return test_done();
}
