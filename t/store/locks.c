/* Locks by name and changes that wait: who has to wait for whom, for how long, and what the
 * dead and the stopped hold. */
#include "store_test.h"

#include "../../store/var.h"

#include <sys/ioctl.h>

static store_t *store;

/* Children are told what to do, and tell that it is done, by pipes. */
typedef struct peer {
    pid_t pid;
    int   to, from;
} peer_t;

/* What a child can be told. */
static int peer_serve(store_var_t *a, store_var_t *b, int in, int out)
{
    char what, code;
    while (read(in, &what, 1) == 1) {
        store_value_t value = store_int(1);
        int           got   = 0;
        switch (what) {
        case 'W': got = AGAIN(store_lock_write(a, STORE_FOREVER, NULL)); break;
        case 'w': store_unlock_write(a); break;
        case 'R': got = AGAIN(store_lock_read(a, STORE_FOREVER, NULL)); break;
        case 'r': store_unlock_read(a); break;
        case 'B': got = AGAIN(store_lock_write(b, STORE_FOREVER, NULL)); break;
        case 'b': store_unlock_write(b); break;
        case 'O': got = AGAIN(store_begin(a, STORE_FOREVER)); break;
        case 'o': store_abort(a); break;
        case 'P': got = AGAIN(put_int(a, "k", 1)); break;
        case 'S':
            got = AGAIN(store_hash_get(a, &(store_key_t){ "k", 1, store_key(store, "k", 1, false).hash, false }, &value, NULL));
            break;
        case 'C': got = AGAIN(store_wait_change(a, STORE_FOREVER)); break;
        case 'T': got = AGAIN(store_lock_write(a, store_deadline(50 * MS), NULL)); break;
        default: return 0;
        }
        code = (char)got;
        if (write(out, &code, 1) != 1) return 1;
    }
    return 0;
}

static store_var_t *one, *two;

static peer_t peer_new(void)
{
    int    to[2], from[2];
    peer_t peer;
    if (pipe(to) != 0 || pipe(from) != 0) test_die("pipe", strerror(errno));
    if ((peer.pid = fork_with(STORE_FORK_GOES_ON)) == 0) {
        close(to[1]);
        close(from[0]);
        _exit(peer_serve(one, two, to[0], from[1]));
    }
    close(to[0]);
    close(from[1]);
    peer.to   = to[1];
    peer.from = from[0];
    return peer;
}

static void tell(const peer_t *peer, char what)
{
    if (write(peer->to, &what, 1) != 1) test_die("write", strerror(errno));
}

/* Has it heard what it was told last, and does it sleep in that? */
static bool is_asleep(const peer_t *peer)
{
    char  path[64], state = 0;
    int   unheard = 1;
    FILE *stat;
    if (ioctl(peer->to, FIONREAD, &unheard) != 0 || unheard != 0) return false;
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)peer->pid);
    if ((stat = fopen(path, "r")) == NULL) return false;
    if (fscanf(stat, "%*d %*s %c", &state) != 1) state = 0;
    fclose(stat);
    return state == 'S';
}

/* Its answer within so many ms; -1: none yet. */
static int answer(const peer_t *peer, int ms)
{
    struct timeval limit = { ms / 1000, ms % 1000 * 1000 };
    fd_set         set;
    char           code;
    FD_ZERO(&set);
    FD_SET(peer->from, &set);
    if (select(peer->from + 1, &set, NULL, NULL, &limit) != 1 || read(peer->from, &code, 1) != 1) return -1;
    return code;
}

/* It has been told, does not answer, and sleeps: what it was told to do has to wait. */
static bool waits(const peer_t *peer)
{
    bool held;
    EVENTUALLY(is_asleep(peer), held);
    return held && answer(peer, 200) == -1;
}

static void stop(const peer_t *peer)
{
    siginfo_t info;
    kill(peer->pid, SIGSTOP);
    waitid(P_PID, (id_t)peer->pid, &info, WSTOPPED);
}

/* As waits(), for the readers of `one`, and is stopped there. Between two slices of its wait it is not in the lock, and who
 * comes then is the first. */
static bool stands_first(const peer_t *peer)
{
    bool held;
    if (!waits(peer)) return false;
    EVENTUALLY((stop(peer), (__atomic_load_n(&one->record->lock.holder, __ATOMIC_SEQ_CST) & POOL_I_BUSY) != 0)
                   || (kill(peer->pid, SIGCONT), false),
               held);
    return held;
}

static int ask(const peer_t *peer, char what)
{
    tell(peer, what);
    return answer(peer, 20000);
}

static void peer_end(peer_t *peer, int signal)
{
    if (signal != 0)
        kill(peer->pid, signal);
    else
        tell(peer, 'Q');
    close(peer->to);
    close(peer->from);
    reap(peer->pid);
}

static int64_t soon(void)
{
    return store_deadline(100 * MS);
}

static void write_and_write(void)
{
    peer_t peer = peer_new();
    bool   had;
    ok(ask(&peer, 'W') == STORE_OK, "a process takes the write lock");
    ok(AGAIN(store_lock_write(one, soon(), NULL)) == STORE_TIMEOUT, "another does not get it in its time");
    ok(AGAIN(store_lock_read(one, soon(), NULL)) == STORE_TIMEOUT, "nor the read lock");
    ok(AGAIN(store_begin(one, soon())) == STORE_TIMEOUT, "nor can it change anything");
    ok(AGAIN(store_begin(one, 0)) == STORE_TIMEOUT, "with no time at all it fails at once");
    ok(AGAIN(store_lock_write(two, soon(), NULL)) == STORE_OK && store_unlock_write(two), "another variable is no matter");
    ok(ask(&peer, 'w') == STORE_OK && AGAIN(store_lock_write(one, soon(), &had)) == STORE_OK && !had,
       "when it is released it is to be had");
    ok(AGAIN(store_lock_write(one, soon(), &had)) == STORE_OK && had, "twice is once");
    tell(&peer, 'S');
    ok(waits(&peer), "who reads waits meanwhile");
    MUST(put_int(one, "k", 5));
    ok(store_unlock_write(one) && answer(&peer, 20000) == STORE_OK, "until it is released");
    ok(!store_unlock_write(one), "once");
    peer_end(&peer, 0);
}

static void read_and_write(void)
{
    peer_t a = peer_new(), b = peer_new();
    ok(ask(&a, 'R') == STORE_OK && ask(&b, 'R') == STORE_OK && AGAIN(store_lock_read(one, soon(), NULL)) == STORE_OK, "three read at once");
    store_unlock_read(one);
    ok(AGAIN(store_begin(one, soon())) == STORE_TIMEOUT, "nobody writes meanwhile");
    ok(ask(&a, 'r') == STORE_OK && AGAIN(store_begin(one, soon())) == STORE_TIMEOUT, "not while one of them is left");
    ok(ask(&b, 'r') == STORE_OK && AGAIN(store_begin(one, soon())) == STORE_OK, "then somebody does");
    store_abort(one);
    peer_end(&a, 0);
    peer_end(&b, 0);
}

/* A reader that wants to write waits for the other readers; two of them wait for each other. */
static void upgrade(void)
{
    peer_t a = peer_new();
    int    code;
    ok(ask(&a, 'R') == STORE_OK && AGAIN(store_lock_read(one, soon(), NULL)) == STORE_OK, "two read");
    tell(&a, 'W');
    ok(stands_first(&a), "one that wants to write waits for the other");
    code = AGAIN(store_lock_write(one, STORE_FOREVER, NULL));
    ok(code == STORE_E_DEADLOCK, "who then wants the same is told that this would be for ever");
    store_unlock_read(one);
    kill(a.pid, SIGCONT);
    ok(answer(&a, 20000) == STORE_OK, "when it has let go the first one writes");
    ok(ask(&a, 'w') == STORE_OK && ask(&a, 'r') == STORE_OK, "and lets go");
    ok(AGAIN(store_lock_read(one, soon(), NULL)) == STORE_OK && AGAIN(store_lock_write(one, soon(), NULL)) == STORE_OK,
       "alone, a reader becomes a writer");
    store_unlock_write(one);
    ok(AGAIN(store_lock_write(one, soon(), NULL)) == STORE_OK, "again");
    store_unlock_write(one);
    store_unlock_read(one);
    peer_end(&a, 0);
}

static void circle(void)
{
    peer_t a = peer_new();
    int    code;
    ok(ask(&a, 'W') == STORE_OK && AGAIN(store_lock_write(two, soon(), NULL)) == STORE_OK, "each of two has one of two variables");
    tell(&a, 'B');
    ok(waits(&a), "one waits for the other's");
    code = AGAIN(store_lock_write(one, STORE_FOREVER, NULL));
    ok(code == STORE_E_DEADLOCK, "the second is told that it would be for ever (%d)", code);
    store_unlock_write(two);
    ok(answer(&a, 20000) == STORE_OK, "the first one gets it");
    peer_end(&a, 0);
}

static void see_writer(const store_listed_t *listed, void *context)
{
    if (listed->writer != 0) *(uint64_t *)context = listed->writer;
}

/* The process that has a write lock by name, as the list of variables says; 0: none. */
static uint64_t listed_writer(void)
{
    uint64_t writer = 0;
    MUST(store_list(store_of(one), see_writer, &writer));
    return writer;
}

static void the_dead(char what, const char *name)
{
    peer_t a = peer_new();
    ok(ask(&a, what) == STORE_OK, "a process has %s", name);
    ok(listed_writer() == (what == 'W' ? (uint64_t)a.pid : 0), "the list tells of it if it is a write lock");
    peer_end(&a, SIGKILL);
    ok(listed_writer() == 0, "when it is killed, no more");
    ok(AGAIN(store_lock_write(one, STORE_FOREVER, NULL)) == STORE_OK, "and is killed: the lock is to be had at once");
    store_unlock_write(one);
}

/* A zombie is dead. */
static void zombie(void)
{
    peer_t    a = peer_new();
    siginfo_t info;
    ok(ask(&a, 'W') == STORE_OK, "a process has the write lock");
    kill(a.pid, SIGKILL);
    waitid(P_PID, (id_t)a.pid, &info, WEXITED | WNOWAIT);
    ok(AGAIN(store_begin(one, store_deadline(5000 * MS))) == STORE_OK, "as a zombie it does not");
    store_abort(one);
    peer_end(&a, SIGKILL);
}

static void the_stopped(void)
{
    peer_t        a = peer_new();
    store_value_t value;
    store_key_t   key = key_of(store, "k");
    MUST(put_int(one, "k", 5));
    ok(ask(&a, 'O') == STORE_OK && ask(&a, 'P') == STORE_OK, "a process has a change open");
    kill(a.pid, SIGSTOP);
    ok(store_hash_get(one, &key, &value, NULL) == STORE_OK && value.number.i == 5, "stopped there, it keeps nobody from reading");
    ok(AGAIN(store_lock_write(one, soon(), NULL)) == STORE_TIMEOUT, "only from writing");
    MUST(put_int(two, "k", 1));
    store_recover(store);
    ok(AGAIN(store_lock_write(one, soon(), NULL)) == STORE_TIMEOUT, "a recovery takes nothing from it");
    kill(a.pid, SIGCONT);
    ok(ask(&a, 'o') == STORE_OK && AGAIN(store_lock_write(one, soon(), NULL)) == STORE_OK, "it goes on");
    store_unlock_write(one);
    ok(ask(&a, 'R') == STORE_OK, "a process reads under a lock");
    kill(a.pid, SIGSTOP);
    ok(AGAIN(store_lock_read(one, soon(), NULL)) == STORE_OK && store_unlock_read(one), "stopped, it keeps nobody from the same");
    kill(a.pid, SIGCONT);
    peer_end(&a, 0);
}

/* A waiter gets the lock soon although others take it all the time. */
static int hammer(void *end)
{
    while (!__atomic_load_n((bool *)end, __ATOMIC_RELAXED)) AGAIN(put_int(one, "k", 1));
    return 0;
}

static void fairness(void)
{
    bool   *end = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t   pid[3];
    int     i, gotten = 0;
    int64_t worst = 0;
    for (i = 0; i < 3; i++) {
        if ((pid[i] = fork_with(STORE_FORK_GOES_ON)) == 0) {
            _exit(hammer(end));
        }
    }
    for (i = 0; i < 20; i++) {
        int64_t start = store_deadline(0), took;
        if (AGAIN(store_lock_write(one, store_deadline(30000 * MS), NULL)) != STORE_OK) break;
        took = store_deadline(0) - start;
        if (took > worst) worst = took;
        gotten++;
        store_unlock_write(one);
    }
    __atomic_store_n(end, true, __ATOMIC_RELAXED);
    for (i = 0; i < 3; i++) reap(pid[i]);
    ok(gotten == 20, "a lock is had 20 times while three write all the time (at the worst after %" PRId64 " ms)", worst / MS);
}

static void changes(void)
{
    peer_t a = peer_new();
    ok(ask(&a, 'S') >= 0, "a process has looked");
    tell(&a, 'C');
    ok(waits(&a), "and waits for a change");
    MUST(put_int(two, "k", 2));
    ok(answer(&a, 100) == -1, "of this variable, not of another");
    MUST(put_int(one, "k", 77));
    ok(answer(&a, 20000) == STORE_OK, "it is woken by it");
    tell(&a, 'C');
    ok(waits(&a), "and waits for the next");
    MUST(store_begin(one, STORE_FOREVER));
    MUST(put_int(one, "k", 78));
    store_abort(one);
    ok(answer(&a, 200) == -1, "one that is undone is none");
    MUST(AGAIN(store_lock_write(one, STORE_FOREVER, NULL)));
    MUST(put_int(one, "k", 79));
    ok(answer(&a, 20000) == STORE_OK, "one under a lock by name is");
    store_unlock_write(one);
    peer_end(&a, 0);
    ok(AGAIN(store_wait_change(one, store_deadline(50 * MS))) == STORE_TIMEOUT
           || AGAIN(store_wait_change(one, store_deadline(50 * MS))) == STORE_TIMEOUT,
       "with a limit it ends");
}

/* The least of some attempts, in us: what the machine does beside counts as little as can be. */
static double time_of_puts(int n)
{
    enum { ATTEMPTS = 10 };
    struct timespec start, end;
    double          took, least = 0;
    int             attempt, i;
    for (attempt = 0; attempt < ATTEMPTS; attempt++) {
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
        for (i = 0; i < n; i++) MUST(put_int(one, "k", i));
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
        took = (double)(end.tv_sec - start.tv_sec) * 1e6 + (double)(end.tv_nsec - start.tv_nsec) / 1e3;
        if (attempt == 0 || took < least) least = took;
    }
    return least;
}

/* Someone waits for changes: a writer pays next to nothing for it. */
static void watched(void)
{
    peer_t a = peer_new();
    double took;
    int    n = ROUNDS(200);
    ask(&a, 'S');
    tell(&a, 'C');
    ok(waits(&a), "somebody waits for changes, and is stopped");
    kill(a.pid, SIGSTOP);
    took = time_of_puts(n) / n;
    ok(took < 100 * TEST_PART, "a store takes %.1f us meanwhile", took);
    kill(a.pid, SIGCONT);
    peer_end(&a, 0);
}

static volatile sig_atomic_t rang;

static void ring(int signal)
{
    (void)signal;
    rang = 1;
}

static void signals(void)
{
    peer_t           a = peer_new();
    struct sigaction action;
    int              code;
    memset(&action, 0, sizeof action);
    action.sa_handler = ring;
    sigaction(SIGUSR1, &action, NULL);
    ok(ask(&a, 'W') == STORE_OK, "while another has the lock");
    kill(getpid(), SIGUSR1);
    code = store_lock_write(one, store_deadline(5000 * MS), NULL);
    ok(rang && code == STORE_INTERRUPTED, "a call that waits comes back, so that signals can be handled");
    peer_end(&a, SIGKILL);
    MUST(AGAIN(store_lock_write(one, STORE_FOREVER, NULL)));
    store_unlock_write(one);
}

int main(void)
{
    store_stats_t before, after;
    test_begin();
    store = space_new("locks");
    one   = var_named(store, STORE_HASH, "%one");
    two   = var_named(store, STORE_HASH, "%two");
    MUST(put_int(one, "k", 0));
    MUST(put_int(two, "k", 0));
    before = space_stats(store);
    write_and_write();
    read_and_write();
    upgrade();
    circle();
    the_dead('W', "the write lock");
    the_dead('R', "a read lock");
    the_dead('O', "a change open");
    zombie();
    the_stopped();
    fairness();
    changes();
    watched();
    signals();
    store_recover(store);
    after = space_stats(store);
    ok(same_use(&before, &after), "nothing is left of any of them");
    store_release(one);
    store_release(two);
    store_remove_all(store, 0);
    store_close(store);
    return test_done();
}
