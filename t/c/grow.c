/* Growing rows: what is opened later belongs to what is open. */
#include "test.h"

#include "../../pool_grow.h"

static pool_grow_t *row_at(const char *path)
{
    pool_grow_t *row = malloc(sizeof *row);
    pool_grow_init(row, path, 64, 0600);
    return row;
}

static bool fill(pool_grow_t *row, uint64_t n, pool_error_t *err)
{
    uint64_t i;
    for (i = 0; i < n; i++) {
        uint64_t slot = pool_grow_alloc(row, err);
        if (slot == POOL_NONE) return false;
        memset(pool_grow_ptr(row, slot), 'x', 64);
    }
    return true;
}

static void rename_parts(const char *from, const char *to)
{
    char     old_name[600], new_name[600];
    unsigned k;
    for (k = 0; k < POOL_GROW_PARTS; k++) {
        snprintf(old_name, sizeof old_name, "%s.%u", from, k);
        snprintf(new_name, sizeof new_name, "%s.%u", to, k);
        if (rename(old_name, new_name) != 0) break;
    }
}

/* As a daemon does: close all, then open a file that gets those numbers. */
static int grow_without_descriptors(void *argument)
{
    pool_grow_t *row = argument;
    pool_error_t err;
    char         text[64];
    int          fd, i, wrong = 0;
    for (fd = 3; fd < 64; fd++) close(fd);
    for (i = 0; i < 20; i++) {
        fd = open(scratch("log"), O_RDWR | O_CREAT | O_APPEND, 0600);
        if (write(fd, "important\n", 10) != 10) return 1;
    }
    if (!fill(row, 20000, &err)) return 2;
    fd = open(scratch("log"), O_RDONLY);
    for (i = 0; i < 20; i++) wrong += read(fd, text, 10) != 10 || memcmp(text, "important\n", 10) != 0;
    return read(fd, text, 1) != 0 || wrong != 0 ? 3 : 0;
}

static void closed(void)
{
    pool_grow_t *row = row_at(scratch("closed"));
    pool_error_t err;
    ok(fill(row, 100, &err), "a row is made");
    ok(reap(child(grow_without_descriptors, row)) == 0,
       "… and grows in a process that closed all descriptors, and writes to no other file");
    ok(pool_grow_capacity(row, NULL) >= 20100, "… which others see");
    pool_grow_close(row);
    free(row);
}

static void replaced(void)
{
    char         path[512], old_path[512];
    pool_grow_t *row, *other;
    pool_error_t err;
    uint64_t     used;

    snprintf(path, sizeof path, "%s", scratch("row"));
    snprintf(old_path, sizeof old_path, "%s", scratch("old"));
    row = row_at(path);
    ok(fill(row, 60, &err), "a row of one part");
    rename_parts(path, old_path);
    other = row_at(path);
    ok(fill(other, 300, &err), "… whose path is another row by now, of several parts");
    ok(!fill(row, 1000, &err) && err.code == POOL_E_SYSTEM && strstr(err.text, "gone, or others") != NULL, "… does not go on there: %s",
       err.text);
    ok(pool_grow_have(row, 64) == NULL && pool_grow_is_allocated(row, 3), "… nor looks there, and keeps what it has");
    pool_grow_capacity(other, &used);
    ok(used == 300, "… and the other has what it had");
    rename_parts(path, scratch("other"));
    ok(!fill(row, 1000, &err) && access(path, F_OK) != 0, "a row that is gone does not grow, either");
    ok(err.code == POOL_E_SYSTEM, "… and says so");
    rename_parts(old_path, path);
    ok(fill(row, 1000, &err), "where it is found again, it grows");
    pool_grow_close(row);
    pool_grow_close(other);
    free(row);
    free(other);
}

int main(void)
{
    test_begin();
    closed();
    replaced();
    return test_done();
}
