/* Create, attach, and every way in which that is refused. */
#include "test.h"

#include <sched.h>

static pool_error_t err;

/* Was the call refused with this code, and does the text say this? */
static bool refused(pool_t *pool, int code, const char *text)
{
    if (pool == NULL && err.code == code && strstr(err.text, text) != NULL) return true;
    printf("# %s: code %d, \"%s\"\n", pool != NULL ? "a pool" : "refused", err.code, err.text);
    pool_close(pool);
    return false;
}

static pool_t *open_as(const char *path, uint32_t variant, uint64_t capacity, uint64_t elem_size)
{
    pool_spec_t spec = spec_of(variant, capacity, elem_size);
    memset(&err, 0, sizeof err);
    return pool_open(path, &spec, &err);
}

static pool_t *open_fd_as(int fd, uint32_t variant, uint64_t capacity, uint64_t elem_size)
{
    pool_spec_t spec = spec_of(variant, capacity, elem_size);
    memset(&err, 0, sizeof err);
    return pool_open_fd(fd, &spec, &err);
}

static void write_file(const char *path, const void *bytes, size_t size, off_t at)
{
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || pwrite(fd, bytes, size, at) != (ssize_t)size || close(fd) != 0) printf("# cannot write %s\n", path);
}

static off_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : -1;
}

static void together(void)
{
    const char *path = scratch("pool");
    pool_t     *one = open_as(path, POOL_I64, 100, 8), *two = open_as(path, POOL_I64, 100, 8), *bare = open_as(path, POOL_I64, 0, 0);
    uint64_t    slot;
    struct stat st;

    ok(one != NULL && two != NULL && bare != NULL, "a file is created, attached to, and attached to without a geometry");
    ok(bare->capacity == 100 && bare->elem_size == 8 && bare->variant == POOL_I64, "… which it takes from the file");
    slot = pool_try_alloc(one);
    pool_i64_set(one, slot, 42);
    ok(pool_is_allocated(two, slot) && pool_i64_get(bare, slot) == 42 && pool_free(two, slot) && !pool_is_allocated(bare, slot),
       "all three are one pool");
    ok(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600, "its mode is 0600");
    ok((uint64_t)st.st_blocks * 512 >= one->total_size, "its blocks are reserved");
    ok(pool_sync(one) == POOL_OK, "it can be synced");
    slot = pool_try_alloc(one);
    pool_i64_set(one, slot, 43);
    ok(pool_disown(one, slot), "a slot that outlives all handles …");
    pool_close(one);
    pool_close(two);
    pool_close(bare);
    one = open_as(path, POOL_I64, 0, 0);
    ok(one != NULL && pool_i64_get(one, slot) == 43 && pool_used(one) == 1, "… is there for the next");
    ok(pool_unlink(one) == POOL_OK && size_of(path) == -1, "unlink removes the file");
    ok(pool_i64_get(one, slot) == 43, "… the pool remains");
    ok(pool_unlink(one) == POOL_E_SYSTEM && errno == ENOENT, "… once");
    pool_close(one);
    one = anonymous(POOL_I64, 1, 8);
    ok(pool_unlink(one) == POOL_E_ARGUMENT, "an anonymous pool has no file to unlink");
    pool_close(one);
}

static void mode_and_folder(void)
{
    pool_spec_t spec = { POOL_I64, 5, 8, POOL_MODE, 0640 };
    struct stat st;
    pool_t     *pool;
    char        folder[512];
    mode_t      mask = umask(077);

    scratch("x");
    if (getcwd(folder, sizeof folder) == NULL || chdir(test_folder) != 0) return;
    pool = pool_open("relative", &spec, &err);
    umask(mask);
    ok(pool != NULL && stat("relative", &st) == 0 && (st.st_mode & 07777) == 0640, "a mode that is given is applied, whatever the umask");
    if (chdir("/") != 0) return;
    ok(pool_unlink(pool) == POOL_OK && size_of(scratch("relative")) == -1, "a relative path is unlinked from any folder");
    pool_close(pool);
    if (chdir(folder) != 0) printf("# cannot go back\n");
}

static void arguments(void)
{
    pool_spec_t spec = { POOL_I64, 10, 8, POOL_SPARSE, 0 };
    ok(refused(open_as(NULL, POOL_I64, 0, 8), POOL_E_ARGUMENT, "capacity must be from 1 to"), "capacity 0");
    ok(refused(open_as(NULL, POOL_RAW, UINT64_C(1) << 60, 8), POOL_E_ARGUMENT, "capacity must be from 1 to"), "an absurd capacity");
    ok(refused(open_as(NULL, POOL_RAW, 10, 0), POOL_E_ARGUMENT, "element size 0 bytes"), "element size 0");
    ok(refused(open_as(NULL, POOL_RAW, 10, UINT64_C(1) << 60), POOL_E_ARGUMENT, "element size 1152921504606846976"),
       "an absurd element size");
    ok(refused(open_as(NULL, POOL_RAW, UINT64_C(1) << 32, UINT64_C(1) << 32), POOL_E_ARGUMENT, "more than memory can hold"),
       "both at once");
    ok(refused(open_as(NULL, POOL_I64, 10, 4), POOL_E_ARGUMENT, "an element of I64 has 8 bytes, not 4"), "an I64 of 4 bytes");
    ok(refused(open_as(NULL, POOL_STR, 10, POOL_STR_HEAD), POOL_E_ARGUMENT, "out of bounds"), "a text of 0 bytes");
    ok(refused(open_as(NULL, 0, 10, 8), POOL_E_ARGUMENT, "unknown variant 0"), "no variant");
    ok(refused(open_as(NULL, 6, 10, 8), POOL_E_ARGUMENT, "unknown variant 6"), "an unknown variant");
    ok(refused(pool_open(NULL, &spec, &err), POOL_E_ARGUMENT, "sparse"), "an anonymous pool cannot be sparse");
    ok(refused(pool_open_memfd("x", &spec, &err), POOL_E_ARGUMENT, "sparse"), "nor one in a memfd");
    spec.flags = POOL_SPARSE | POOL_POPULATE;
    ok(refused(pool_open(scratch("p"), &spec, &err), POOL_E_ARGUMENT, "not both"), "a pool is sparse or populated");
    ok(pool_open(NULL, &(pool_spec_t){ POOL_I64, 0, 8, 0, 0 }, NULL) == NULL, "a caller may do without the reason");
    ok(size_of(scratch("p")) == -1, "none of this has made a file");
}

static void mismatch(void)
{
    const char *path    = scratch("mismatch");
    uint32_t    version = 99, variant = 77;
    pool_t     *pool = open_as(path, POOL_RAW, 100, 16);

    ok(refused(open_as(path, POOL_RAW, 101, 16), POOL_E_MISMATCH, "capacity is 100 slots, not 101"), "another capacity: says both");
    ok(refused(open_as(path, POOL_RAW, 100, 17), POOL_E_MISMATCH, "element size is 16 bytes, not 17"), "another element size: says both");
    ok(refused(open_as(path, POOL_I64, 100, 8), POOL_E_MISMATCH, "variant is raw, not I64"), "another variant: says both");
    ok(strstr(err.text, "incompatible") != NULL && strstr(err.text, path) != NULL, "… and which file is incompatible");
    write_file(path, &version, sizeof version, offsetof(pool_header_t, version));
    ok(refused(open_as(path, POOL_RAW, 100, 16), POOL_E_MISMATCH, "format version is 99, this library's is 1"), "another format version");
    version = POOL_VERSION;
    write_file(path, &version, sizeof version, offsetof(pool_header_t, version));
    write_file(path, &variant, sizeof variant, offsetof(pool_header_t, variant));
    ok(refused(open_as(path, POOL_RAW, 0, 0), POOL_E_MISMATCH, "variant is unknown"), "an unknown variant");
    pool_close(pool);
}

static void no_pool(void)
{
    static const uint64_t wrong[] = { 0, 1, 2000, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX };
    const char           *path    = scratch("no-pool");
    pool_t               *pool;
    size_t                i;
    uint64_t              good;
    uint32_t              flags    = 0x80;
    int                   refusals = 0, fd;

    ok(refused(open_as(scratch("missing/pool"), POOL_I64, 10, 8), POOL_E_SYSTEM, "No such file"), "a folder that is not there");
    ok(err.sys_errno == ENOENT, "… with errno");
    ok(refused(open_as(path, POOL_I64, 0, 0), POOL_E_SYSTEM, "No such file"), "attach alone makes no file");
    write_file(path, "hello world, this is text", 25, 0);
    ok(refused(open_as(path, POOL_I64, 10, 8), POOL_E_INVALID, "invalid"), "a file that is something else");
    ok(size_of(path) == 25, "… is left alone");
    if (truncate(path, 3) != 0) printf("# truncate\n");
    ok(refused(open_as(path, POOL_I64, 10, 8), POOL_E_INVALID, "invalid") && size_of(path) == 3, "one of three bytes, too");
    unlink(path);
    if (mkfifo(path, 0600) != 0) printf("# mkfifo\n");
    ok(refused(open_as(path, POOL_I64, 10, 8), POOL_E_INVALID, "invalid"), "a FIFO: refused, and not waited for");
    unlink(path);
    ok(refused(open_as(test_folder, POOL_I64, 10, 8), POOL_E_SYSTEM, "Is a directory"), "a folder");
    ok(refused(open_as("/dev/null", POOL_I64, 10, 8), POOL_E_INVALID, "invalid"), "a device");
    ok(refused(open_fd_as(-1, POOL_I64, 0, 0), POOL_E_SYSTEM, "invalid file descriptor -1"), "a descriptor that is none");
    fd = open("/dev/null", O_RDWR);
    ok(refused(open_fd_as(fd, POOL_I64, 0, 0), POOL_E_INVALID, "invalid"), "a descriptor of a device");
    close(fd);

    pool = open_as(path, POOL_RAW, 1000, 100);
    if (truncate(path, (off_t)pool->total_size - 1) != 0) printf("# truncate\n");
    ok(refused(open_as(path, POOL_RAW, 0, 0), POOL_E_TOO_SMALL, "too small"), "a file that has lost its last byte");
    if (truncate(path, (off_t)pool->total_size) != 0) printf("# truncate\n");
    for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        good                   = pool->header->capacity;
        pool->header->capacity = wrong[i];
        refusals += refused(open_as(path, POOL_RAW, 0, 0), POOL_E_INVALID, "invalid");
        pool->header->capacity  = good;
        good                    = pool->header->elem_size;
        pool->header->elem_size = wrong[i];
        refusals += refused(open_as(path, POOL_RAW, 0, 0), POOL_E_INVALID, "invalid");
        pool->header->elem_size  = good;
        good                     = pool->header->total_size;
        pool->header->total_size = wrong[i];
        refusals += refused(open_as(path, POOL_RAW, 0, 0), POOL_E_INVALID, "invalid");
        pool->header->total_size = good;
    }
    ok(refusals == 3 * (int)i, "headers that make no sense are refused");
    pool->header->flags = flags;
    ok(refused(open_as(path, POOL_RAW, 0, 0), POOL_E_INVALID, "invalid"), "… unknown flags, too");
    pool->header->flags = 0;
    memset(pool->header, 0xff, offsetof(pool_header_t, pad0));
    ok(pool_try_alloc(pool) < 1000 && pool_used(pool) == 1, "who is attached does not read the header again");
    pool_close(pool);
    unlink(path);
}

/* What creators leave that died half-way. */
static void half_created(void)
{
    const char    *path     = scratch("half");
    const uint64_t creating = POOL_MAGIC_CREATING;
    pool_t        *pool;

    write_file(path, "", 0, 0);
    ok(refused(open_as(path, POOL_I64, 0, 0), POOL_E_INVALID, "empty"), "an empty file cannot be attached to without a geometry");
    pool = open_as(path, POOL_I64, 10, 8);
    ok(pool != NULL && size_of(path) == (off_t)pool->total_size, "… with one it is made a pool");
    pool_close(pool);
    unlink(path);
    write_file(path, &creating, sizeof creating, 0);
    write_file(path, "rubbish", 7, 5000);
    pool = open_as(path, POOL_I64, 10, 8);
    ok(pool != NULL && pool_used(pool) == 0 && pool->header->magic == POOL_MAGIC, "a file whose creator died half-way is made a pool");
    ok(pool_alloc_n(pool, 10, 0, (uint64_t[10]){ 0 }) == POOL_OK, "… a clean one");
    pool_close(pool);
    unlink(path);
}

/* Many create the same file at once; some are killed meanwhile. */
typedef struct race {
    const char  *path;
    volatile int go;
    volatile int got[64];
} race_t;

static int create(void *argument)
{
    race_t  *race = argument;
    pool_t  *pool;
    uint64_t slot;
    while (!race->go) sched_yield();
    if ((pool = open_as(race->path, POOL_I64, 64, 8)) == NULL) {
        printf("# %s\n", err.text);
        fflush(stdout);
        return 100;
    }
    slot = pool_try_alloc(pool);
    pool_disown(pool, slot);
    pool_close(pool);
    return (int)slot;
}

static void racing(int rounds, bool with_kills)
{
    enum { RACERS = 8 };
    race_t *race = shared(sizeof *race);
    pid_t   pid[RACERS];
    int     round, i, wrong = 0, result;

    for (round = 0; round < rounds; round++) {
        bool seen[64] = { false };
        race->path    = scratch("race");
        race->go      = 0;
        for (i = 0; i < RACERS; i++) pid[i] = child(create, race);
        race->go = 1;
        if (with_kills) kill(pid[round % RACERS], SIGKILL);
        for (i = 0; i < RACERS; i++) {
            result = reap(pid[i]);
            if (with_kills && i == round % RACERS && result == -SIGKILL) continue;
            wrong += result < 0 || result >= 64 || seen[result];
            if (result >= 0 && result < 64) seen[result] = true;
        }
        unlink(race->path);
    }
    ok(wrong == 0, "eight processes create one pool at once%s, %d times: always one pool", with_kills ? " and one is killed" : "", rounds);
}

static void memfds(void)
{
    pool_t     *pool = in_memfd(POOL_I32, 1000, 4), *two = second(pool);
    pool_spec_t spec = spec_of(POOL_I32, 1001, 4);
    int         fd   = pool->fd;

    ok(two->capacity == 1000 && two->is_memfd && two->fd != fd, "a memfd is attached to by its descriptor, of which the pool keeps a copy");
    pool_i32_set(pool, 7, 5);
    ok(pool_i32_get(two, 7) == 5, "… one pool");
    ok(ftruncate(fd, 4096) != 0 && errno == EPERM, "a memfd cannot be shrunk");
    ok(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) != 0 && errno == EPERM, "nor sealed further");
    ok(refused(pool_open_fd(fd, &spec, &err), POOL_E_MISMATCH, "capacity is 1000 slots, not 1001"), "another capacity is refused");
    ok((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0 && (fcntl(two->fd, F_GETFD) & FD_CLOEXEC) != 0, "descriptors are closed on exec");
    pool_close(pool);
    ok(fcntl(fd, F_GETFD) < 0 && pool_i32_get(two, 7) == 5, "closing one handle closes its descriptor, and no other");
    pool_close(two);
}

static void lifetime(void)
{
    pool_t *pool = anonymous(POOL_I64, 10, 8);
    ok(pool_retain(pool) == pool, "retain returns its argument");
    pool_close(pool);
    ok(pool_try_alloc(pool) == 0, "… and one close less ends the pool");
    pool_close(pool);
    pool_close(NULL);
    ok(pool_strerror(POOL_E_TOO_SMALL)[0] != '\0' && strcmp(pool_strerror(12345), "unknown code") == 0,
       "each code has a text, and others do");
}

/* A pool costs what is used of it. */
static void large(uint64_t capacity)
{
    pool_t  *pool = open_as(NULL, POOL_I64, capacity, 8);
    uint64_t slot;
    if (pool == NULL && err.sys_errno == ENOMEM) {
        test_skip("this machine does not promise so much memory", "the largest pool");
        return;
    }
    slot = pool_try_alloc(pool);
    ok(slot == 0 && pool_used(pool) == 1 && pool_free(pool, slot) && pool_used(pool) == 0, "a pool of %llu slots works",
       (unsigned long long)capacity);
    pool_close(pool);
}

int main(void)
{
    test_begin();
    together();
    mode_and_folder();
    arguments();
    mismatch();
    no_pool();
    half_created();
    racing(ROUNDS(100), false);
    racing(ROUNDS(100), true);
    memfds();
    lifetime();
    large(16000000);
    if (TEST_PART == 1) large(POOL_MAX_CAPACITY);
    return test_done();
}
