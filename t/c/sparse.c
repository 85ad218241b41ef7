/* Sparse pools, and filesystems that are full. */
#include "test.h"

#include <sys/vfs.h>

static uint64_t blocks(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static void grows_with_use(void)
{
    const char  *path = scratch("sparse");
    pool_spec_t  spec = { POOL_RAW, 10000, 4096, POOL_SPARSE, 0 };
    pool_error_t err;
    pool_t      *pool = must(pool_open(path, &spec, &err), &err), *two;
    uint64_t     slots[200], before = blocks(path), i;

    ok(before < 2000000, "a sparse pool of 40 MB takes %llu bytes when it is new", (unsigned long long)before);
    ok(pool_alloc_n(pool, 200, 0, slots) == POOL_OK, "slots are allocated");
    for (i = 0; i < 200; i++) memset(pool_ptr(pool, slots[i]), 'x', 4096);
    ok(blocks(path) >= 200 * 4096 && blocks(path) < 5000000, "… and then it takes what they need");
    two = must(pool_open(path, &(pool_spec_t){ POOL_RAW, 0, 0, 0, 0 }, &err), &err);
    ok(two->extents != NULL && *(char *)pool_ptr(two, slots[5]) == 'x', "who attaches finds it sparse");
    ok(pool_try_alloc(two) < 10000, "… and allocates in it");
    pool_free_n(pool, slots, 200);
    pool_close(two);
    pool_close(pool);
    unlink(path);
}

static uint64_t free_bytes(const char *folder)
{
    struct statfs fs;
    return statfs(folder, &fs) == 0 ? (uint64_t)fs.f_bfree * (uint64_t)fs.f_bsize : 0;
}

static void full(void)
{
    char         folder[300], path[320], other[320];
    pool_spec_t  spec = { POOL_RAW, 1000, 4096, 0, 0 };
    pool_error_t err;
    pool_t      *pool;
    uint64_t     got = 0, slot, before;
    int          fd;

    snprintf(folder, sizeof folder, "%s", scratch("small"));
    snprintf(path, sizeof path, "%s/pool", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    if (!small_filesystem(folder, "size=1m")) {
        char why[100];
        snprintf(why, sizeof why, "this machine does not allow to mount a tmpfs: %s", strerror(errno));
        test_skip(why, "a full filesystem");
        return;
    }
    before = free_bytes(folder);
    ok(pool_open(path, &spec, &err) == NULL && err.code == POOL_E_NOSPC && err.sys_errno == ENOSPC,
       "a pool larger than the filesystem is refused");
    ok(strstr(err.text, "No space left") != NULL && access(path, F_OK) != 0 && free_bytes(folder) == before,
       "… says why, and leaves no file");
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    ok(pool_open(path, &spec, &err) == NULL && err.code == POOL_E_NOSPC && access(path, F_OK) == 0 && blocks(path) == 0,
       "… an empty file that was there before stays, and empty");
    unlink(path);

    spec.flags = POOL_SPARSE;
    pool       = must(pool_open(path, &spec, &err), &err);
    while ((slot = pool_try_alloc(pool)) < POOL_NOSPC) {
        memset(pool_ptr(pool, slot), 'x', 4096);
        got++;
    }
    ok(slot == POOL_NOSPC && got > 100 && got < 256, "a sparse pool gives slots until the filesystem is full (%llu), then says so",
       (unsigned long long)got);
    ok(pool_used(pool) == got, "… and keeps none back");
    ok(pool_alloc(pool, POOL_FOREVER, &slot) == POOL_E_NOSPC && pool_alloc_n(pool, 5, POOL_FOREVER, (uint64_t[5]){ 0 }) == POOL_E_NOSPC,
       "… nor waits for what nobody will free");
    ok(pool_used(pool) == got, "… nor keeps what it took meanwhile");
    pool_free(pool, 3);
    ok(pool_alloc(pool, 0, &slot) == POOL_OK && slot == 3, "a slot that is freed can be had: its blocks are there");
    ok(pool_open(other, &(pool_spec_t){ POOL_I64, 1, 8, 0, 0 }, &err) == NULL && err.code == POOL_E_NOSPC && access(other, F_OK) != 0,
       "the smallest pool finds no room now");
    pool_close(pool);
    unlink(path);
    ok(free_bytes(folder) == before, "all is given back");
    umount2(folder, MNT_DETACH);
}

int main(void)
{
    test_begin();
    grows_with_use();
    full();
    return test_done();
}
