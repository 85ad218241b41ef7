/* space.c - the file of a namespace, and the rows of slots in it: see space.h. */
#include "clock.h"
#include "space.h"
#include "cell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SPACE_PAGE     UINT64_C(4096)
#define SPACE_MIN_SIZE (UINT64_C(1) << 30)
#define SPACE_MAX_SIZE (UINT64_C(1) << 42)
#define SPACE_PATH     4096

/* Sizes of cells and pages; those up to the block size are used. */
static const uint32_t space_sizes[] = { 48,  64,  80,  96,   112,  128,  160,  192,  256,  320, 384,
                                        512, 640, 768, 1024, 1280, 1536, 2048, 2560, 3072, 4096 };
#define SPACE_SIZES ((uint32_t)(sizeof space_sizes / sizeof space_sizes[0]))

bool space_fail(store_error_t *err, int code, int sys_errno, const char *path, const char *what)
{
    if (err == NULL) return false;
    err->code      = code;
    err->sys_errno = sys_errno;
    snprintf(err->text, sizeof err->text, "%.110s %.90s%s%.28s", path, what, sys_errno != 0 ? ": " : "",
             sys_errno != 0 ? strerror(sys_errno) : "");
    return false;
}

/* --- rows ------------------------------------------------------------------ */

static pool_spec_t row_spec(const store_t *space, uint32_t row, uint32_t part)
{
    pool_spec_t spec = { POOL_RAW, UINT64_C(64) << part, space->row[row].size, POOL_SPARSE, 0 };
    return spec;
}

/* Is it clear of all other parts? A pool that is made inside another one would be the end of what that holds. */
static bool row_is_apart(const store_t *space, uint32_t row, uint32_t part, uint64_t place, uint64_t size)
{
    uint32_t r, p;
    for (r = 0; r < space->rows; r++)
        for (p = 0; p < STORE_PARTS; p++) {
            uint64_t    other = __atomic_load_n(&space->header->parts[r][p], __ATOMIC_RELAXED);
            pool_spec_t spec  = row_spec(space, r, p);
            if (other == 0 || (r == row && p == part)) continue;
            if (other < place ? place - other < pool_size(&spec) : other - place < size) return false;
        }
    return true;
}

/* Where a part begins; 0: it does not exist. Who finds that another has made it
 * meanwhile has used up addresses, no memory. Acquire and release pair with each other.
 * Anybody may have written the entry, or `next`: where there is no pool yet, none is made inside another. */
static uint64_t row_place(store_t *space, uint32_t row, uint32_t part, uint64_t size, bool create)
{
    uint64_t *entry = &space->header->parts[row][part], place = __atomic_load_n(entry, __ATOMIC_ACQUIRE), none = 0;
    int       why;
    if (place == 0 && create) {
        place = __atomic_fetch_add(&space->header->next, size, __ATOMIC_RELAXED);
        if (place > space->size || size > space->size - place || !row_is_apart(space, row, part, place, size)) return 0;
        if (!__atomic_compare_exchange_n(entry, &none, place, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) place = none;
    }
    if (place % SPACE_PAGE != 0 || place < sizeof(store_header_t) || place >= space->size || size > space->size - place) return 0;
    return !pool_i_is_blank(space->base + place, &why) || row_is_apart(space, row, part, place, size) ? place : 0;
}

/* Two threads may open a part at once: one handle stays. `data` is stored last: release
 * pairs with row_ptr(). */
pool_t *row_open(store_t *space, uint32_t row, uint32_t part, bool create, store_error_t *err)
{
    store_row_view_t *view = &space->row[row];
    pool_spec_t       spec;
    pool_error_t      why;
    pool_t           *pool, *none = NULL;
    uint64_t          size, place;
    int               saved = errno;

    if (row >= space->rows || part >= STORE_PARTS) {
        space_fail(err, STORE_E_NOSPC, 0, space->path, "has reached its largest size");
        return NULL;
    }
    if ((pool = __atomic_load_n(&view->part[part], __ATOMIC_ACQUIRE)) != NULL
        && __atomic_load_n(&view->data[part], __ATOMIC_ACQUIRE) != NULL)
        return pool;
    spec = row_spec(space, row, part);
    size = pool_size(&spec);
    if ((place = row_place(space, row, part, size, create)) == 0) {
        space_fail(err, STORE_E_NOSPC, 0, space->path, "has reached its largest size");
        return NULL;
    }
    pool = pool_open_at(space->base + place, size, &spec, &why);
    if (pool != NULL) pool_set_home(pool, space->home);
    if (pool == NULL)
        space_fail(err, why.code == POOL_E_NOSPC ? STORE_E_NOSPC : why.code, 0, space->path,
                   why.code == POOL_E_NOSPC ? "has no room: no space left on its filesystem" : "is damaged: a pool in it makes no sense");
    else if (!__atomic_compare_exchange_n(&view->part[part], &none, pool, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        pool_close(pool);
        pool = none;
    }
    if (pool != NULL) __atomic_store_n(&view->data[part], pool->data, __ATOMIC_RELEASE);
    errno = saved;
    return pool;
}

/* The filesystem is full, but a slot whose blocks are reserved may be free: look from
 * the reserved extents on, not at all of them (each look costs a system call). */
static uint64_t row_alloc_reserved(pool_t *pool)
{
    const uint64_t extent = UINT64_C(256) << 10;
    uint64_t       count = (pool->capacity * pool->elem_size + extent - 1) / extent, slot = POOL_NOSPC, i;
    int            looks;
    for (i = 0, looks = 0; i < count && looks < 8 && slot == POOL_NOSPC; i++) {
        uint64_t first = (i * extent + pool->elem_size - 1) / pool->elem_size;
        if (first >= pool->capacity || (__atomic_load_n(&pool->extents[i / 64], __ATOMIC_RELAXED) >> i % 64 & 1) == 0) continue;
        if ((__atomic_load_n(&pool->touched[first / POOL_GROUP / 64], __ATOMIC_RELAXED) >> first / POOL_GROUP % 64 & 1) == 0) continue;
        __atomic_store_n(&pool->hint, first, __ATOMIC_RELAXED);
        slot = pool_try_alloc(pool);
        looks++;
    }
    if (slot != POOL_NOSPC) return slot;
    __atomic_store_n(&pool->hint, 0, __ATOMIC_RELAXED);
    return pool_try_alloc(pool);
}

/* A free slot of any part from the hint on; 0: there is none, or no room for one (*full). `create`: of those before
 * it, too, and of a part more; where there is no room, those from the hint on have just been tried. */
static store_link_t row_take_any(store_t *space, uint32_t row, bool create, bool *full, store_error_t *err)
{
    store_row_view_t *view = &space->row[row];
    uint32_t          hint = STORE_LOAD(view->hint), end = create && *full ? hint : STORE_PARTS, part;
    for (part = create ? 0 : hint; part < end; part++) {
        pool_t  *pool = __atomic_load_n(&view->part[part], __ATOMIC_ACQUIRE); /* pairs with row_open() */
        uint64_t slot;
        if (POOL_UNLIKELY(pool == NULL)) pool = row_open(space, row, part, create && !*full, err);
        if (pool == NULL) {
            *full = *full || (create && err->code == STORE_E_NOSPC);
            return 0;
        }
        slot = pool_try_alloc(pool);
        if (slot == POOL_NOSPC) slot = row_alloc_reserved(pool);
        if (slot == POOL_NOSPC) *full = true;
        if (slot >= POOL_NOSPC) continue;
        if (part != STORE_LOAD(view->hint)) STORE_STORE(view->hint, part);
        return row_link(row, slot + row_base(part));
    }
    return 0;
}

store_link_t row_alloc(store_t *space, uint32_t row, store_error_t *err)
{
    store_error_t why;
    store_link_t  link;
    bool          full = false;
    int           tries;
    why.code = 0;
    for (tries = 0; tries < 2; tries++) {
        link = row_take_any(space, row, false, &full, &why);
        if (POOL_LIKELY(link != 0)) return link;
        if ((link = row_take_any(space, row, true, &full, &why)) != 0) return link;
        if (!full || !space_trim(space)) break;
        full = false;
    }
    if (!full && why.code != 0 && why.code != STORE_E_NOSPC) {
        if (err != NULL) *err = why;
        return 0;
    }
    space_fail(err, STORE_E_NOSPC, 0, space->path, full ? "has no room: no space left on its filesystem" : "has reached its largest size");
    return 0;
}

uint32_t row_for(const store_t *space, uint64_t bytes)
{
    uint32_t row = STORE_ROW_CELLS;
    if (bytes > 256) row += 8;
    if (bytes > 1024) row = STORE_ROW_CELLS + 14 < space->block_row ? STORE_ROW_CELLS + 14 : space->block_row;
    while (row < space->block_row && space->row[row].size < bytes) row++;
    return row < space->block_row ? row : space->block_row;
}

bool row_free(store_t *space, store_link_t link)
{
    store_row_view_t *view = &space->row[row_of(link)];
    uint64_t          index;
    pool_t           *pool = row_pool(space, link, &index);
    uint32_t          part = row_part(row_slot(link));
    if (pool == NULL || !pool_free(pool, index)) return false;
    if (POOL_UNLIKELY(STORE_LOAD(space->frees) == 0)) STORE_STORE(space->frees, 1);
    if (part < __atomic_load_n(&view->hint, __ATOMIC_RELAXED)) __atomic_store_n(&view->hint, part, __ATOMIC_RELAXED);
    return true;
}

uint64_t row_owner(store_t *space, store_link_t link)
{
    uint64_t index;
    pool_t  *pool = row_pool(space, link, &index);
    return pool != NULL ? pool_owner_word(pool, index) : 0;
}

bool row_is_mine(store_t *space, store_link_t link)
{
    uint64_t index;
    pool_t  *pool = row_pool(space, link, &index);
    return pool != NULL && pool_owner_word(pool, index) == pool_i_me(pool);
}

bool row_is_allocated(store_t *space, store_link_t link)
{
    uint64_t index;
    pool_t  *pool = row_pool(space, link, &index);
    return pool != NULL && pool_is_allocated(pool, index);
}

/* Both orders: as pool_adopt(). */
bool row_take(store_t *space, store_link_t link, uint64_t from)
{
    uint64_t index;
    pool_t  *pool = row_pool(space, link, &index);
    if (from == 0) from = POOL_I_NOBODY;
    return pool != NULL
           && __atomic_compare_exchange_n(&pool->records[index].owner, &from, pool_i_me(pool), false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

void row_give(store_t *space, store_link_t link, uint64_t to)
{
    uint64_t index;
    pool_t  *pool = row_pool(space, link, &index);
    if (pool != NULL) pool_unadopt(pool, index, pool_generation(pool, index), to);
}

uint64_t row_generation(store_t *space, store_link_t link)
{
    uint64_t index;
    pool_t  *pool = row_pool(space, link, &index);
    return pool != NULL ? pool_generation(pool, index) : 0;
}

bool row_free_generation(store_t *space, store_link_t link, uint64_t generation)
{
    uint64_t index;
    pool_t  *pool = row_pool(space, link, &index);
    return pool != NULL && pool_free_generation(pool, index, generation);
}

bool row_each(store_t *space, uint32_t row, row_visit_fn *visit, void *context)
{
    uint32_t part;
    bool     all = true;
    for (part = 0; part < STORE_PARTS; part++) {
        pool_t  *pool;
        uint64_t slot;
        if (__atomic_load_n(&space->header->parts[row][part], __ATOMIC_ACQUIRE) == 0) break; /* pairs with row_place() */
        if ((pool = row_open(space, row, part, false, NULL)) == NULL) {
            all = false;
            continue;
        }
        for (slot = pool_next_allocated(pool, 0); slot != POOL_NONE; slot = pool_next_allocated(pool, slot + 1))
            visit(space, row_link(row, slot + row_base(part)), context);
    }
    return all;
}

/* What the table says beyond a part that cannot be opened is not believed: anybody may have
 * written it. */
uint64_t row_capacity(store_t *space, uint32_t row)
{
    uint32_t part;
    for (part = 0; part < STORE_PARTS; part++) {
        if (__atomic_load_n(&space->header->parts[row][part], __ATOMIC_ACQUIRE) == 0) break; /* pairs with row_place() */
        if (row_open(space, row, part, false, NULL) == NULL) break;
    }
    return row_base(part);
}

/* What row_free_dead() hands to pool_recover(). */
typedef struct row_recovery {
    store_t          *space;
    uint32_t          row, part;
    const row_dead_t *dead;
} row_recovery_t;

static bool row_recover_slot(pool_t *pool, uint64_t slot, uint64_t owner, void *context)
{
    const row_recovery_t *recovery = (const row_recovery_t *)context;
    if (!recovery->dead->is_listed(pool, owner, recovery->dead->context)) {
        pool_unadopt(pool, slot, pool_generation(pool, slot), owner); /* it died after the list was made: the next recovery's */
        return false;
    }
    if (recovery->dead->prepare != NULL)
        recovery->dead->prepare(recovery->space, row_link(recovery->row, slot + row_base(recovery->part)), recovery->dead->context);
    return true;
}

uint64_t row_free_dead(store_t *space, uint32_t row, const row_dead_t *dead)
{
    row_recovery_t recovery = { space, row, 0, dead };
    uint64_t       freed    = 0;
    for (; recovery.part < STORE_PARTS; recovery.part++) {
        pool_t *pool;
        if (__atomic_load_n(&space->header->parts[row][recovery.part], __ATOMIC_ACQUIRE) == 0) break; /* pairs with row_place() */
        pool = row_open(space, row, recovery.part, false, NULL);
        if (pool != NULL) freed += pool_recover(pool, row_recover_slot, &recovery);
    }
    return freed;
}

uint64_t row_free_claimed(store_t *space, uint32_t row)
{
    uint64_t freed = 0, slot;
    uint32_t part;
    for (part = 0; part < STORE_PARTS; part++) {
        pool_t *pool;
        if (__atomic_load_n(&space->header->parts[row][part], __ATOMIC_ACQUIRE) == 0) break; /* pairs with row_place() */
        if ((pool = row_open(space, row, part, false, NULL)) == NULL) continue;
        for (slot = pool_next_held(pool, 0); slot != POOL_NONE; slot = pool_next_held(pool, slot + 1)) {
            uint64_t owner = pool_owner_word(pool, slot);
            if ((owner & POOL_I_BUSY) == 0 || !pool_owner_is_dead(pool, owner) || !pool_i_release(pool, slot, owner)) continue;
            pool_i_announce(pool, slot);
            freed++;
        }
    }
    return freed;
}

/* --- opening ------------------------------------------------------------------ */

/* May anybody have put it there, who is neither this user nor root? */
static bool space_is_planted(const char *path, const struct stat *st)
{
    char        parent[SPACE_PATH + 4], *cut;
    struct stat above;
    if (st->st_uid == geteuid() || st->st_uid == 0) return false;
    snprintf(parent, sizeof parent, "%s", path);
    if ((cut = strrchr(parent, '/')) == NULL) return false;
    cut[cut == parent] = '\0'; /* what is above it, which may be the root */
    return stat(parent, &above) == 0 && (above.st_mode & 02) != 0;
}

/* Is the directory there, and may it be trusted? A private one belongs to this user
 * and is closed to all others; it is made 0700. Where anybody may make directories, one
 * of another user is refused, but for a mere look by a tool (attach). */
static bool space_directory(const char *path, const store_options_t *options, store_error_t *err)
{
    struct stat st;
    uint32_t    bits = options->is_private ? 0700 : options->mode | (options->mode & 0444) >> 2 | 0700;
    int         why  = options->attach ? EEXIST : mkdir(path, 0700) == 0 ? 0 : errno;

    if (why == 0 && !options->is_private && chmod(path, bits) != 0)
        return space_fail(err, STORE_E_SYSTEM, errno, path, "cannot be given its mode");
    if (lstat(path, &st) != 0) {
        if (options->attach && errno == ENOENT) return space_fail(err, STORE_ABSENT, 0, path, "is not there");
        return space_fail(err, STORE_E_SYSTEM, why != 0 && why != EEXIST ? why : errno, path, "cannot be made a namespace");
    }
    if (S_ISLNK(st.st_mode)) {
        if (!options->is_private && stat(path, &st) != 0) return space_fail(err, STORE_E_SYSTEM, errno, path, "cannot be a namespace");
    }
    if (!S_ISDIR(st.st_mode)) return space_fail(err, STORE_E_INVALID, 0, path, "cannot be a namespace: it is not a directory");
    if (options->is_private && st.st_uid != geteuid())
        return space_fail(err, STORE_E_DENIED, 0, path, "is refused as a namespace: it belongs to another user");
    if (options->is_private && (st.st_mode & 077) != 0)
        return space_fail(err, STORE_E_DENIED, 0, path, "is refused as a namespace: it is open to other users");
    if (!options->attach && space_is_planted(path, &st))
        return space_fail(err, STORE_E_DENIED, 0, path, "is refused as a namespace: another user has put it there");
    return true;
}

/* What is mapped: several times what the filesystem holds, for parts of rows double. */
static uint64_t space_choose_size(int fd)
{
    struct statvfs fs;
    uint64_t       size = SPACE_MIN_SIZE, want;
    if (fstatvfs(fd, &fs) != 0) return size;
    want = (uint64_t)fs.f_blocks * fs.f_frsize;
    want = want > SPACE_MAX_SIZE / 4 ? SPACE_MAX_SIZE : want * 4;
    while (size < want) size *= 2;
    return size;
}

/* Is the file that fd is open on the one at `file`? */
static bool space_same_file(int fd, const char *file)
{
    struct stat by_fd, by_path;
    return fstat(fd, &by_fd) == 0 && stat(file, &by_path) == 0 && by_fd.st_ino == by_path.st_ino && by_fd.st_dev == by_path.st_dev;
}

/* Write the header of a new file; an errno. */
static int space_write_header(int fd, const store_options_t *options)
{
    store_header_t *header = (store_header_t *)calloc(1, sizeof *header);
    uint64_t        seed   = 0;
    int             why    = 0;

    if (header == NULL) return ENOMEM;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed)
        seed = store_clock() * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)getpid();
    header->magic      = STORE_MAGIC;
    header->version    = STORE_VERSION;
    header->block_size = options->block_size;
    header->seed       = seed;
    header->size       = space_choose_size(fd);
    header->next       = (sizeof *header + SPACE_PAGE - 1) / SPACE_PAGE * SPACE_PAGE;
    if (fchmod(fd, (mode_t)options->mode) != 0 || ftruncate(fd, (off_t)header->size) != 0)
        why = errno;
    else if (pwrite(fd, header, sizeof *header, 0) != (ssize_t)sizeof *header)
        why = errno != 0 ? errno : ENOSPC;
    free(header);
    return why;
}

/* Make the file under a name of its own, and give it its name when it is whole: it is a
 * namespace or it is not there, whoever dies. Returns an errno; EEXIST: another was first. */
static int space_create(const char *path, const char *file, const store_options_t *options)
{
    char draft[SPACE_PATH + 64];
    int  fd, why;

    snprintf(draft, sizeof draft, "%s/draft.%ld.%llx", path, (long)getpid(), (unsigned long long)store_clock());
    fd = open(draft, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return errno;
    errno = 0;
    why   = space_write_header(fd, options);
    if (why == 0 && link(draft, file) != 0) why = errno;
    unlink(draft);
    close(fd);
    return why;
}

static bool space_check_header(store_t *space, const store_header_t *header, uint64_t file_size, store_error_t *err)
{
    char what[96];
    if (header->magic != STORE_MAGIC) {
        if (header->magic == POOL_MAGIC) { /* that of before was a pool */
            snprintf(what, sizeof what, "is incompatible: its format version is 1, this library's is %u", STORE_VERSION);
            return space_fail(err, STORE_E_MISMATCH, 0, space->path, what);
        }
        return space_fail(err, STORE_E_INVALID, 0, space->path, "is not a namespace of IPC::Shm");
    }
    if (header->version != STORE_VERSION) {
        snprintf(what, sizeof what, "is incompatible: its format version is %u, this library's is %u", (unsigned)header->version,
                 STORE_VERSION);
        return space_fail(err, STORE_E_MISMATCH, 0, space->path, what);
    }
    if (header->block_size < 256 || header->block_size > 1u << 30 || header->block_size % 64 != 0)
        return space_fail(err, STORE_E_INVALID, 0, space->path, "is damaged: its block size makes no sense");
    if (header->size < SPACE_MIN_SIZE || header->size > SPACE_MAX_SIZE || header->size % SPACE_PAGE != 0 || file_size < header->size)
        return space_fail(err, STORE_E_INVALID, 0, space->path, "is damaged: its size makes no sense");
    return true;
}

/* The rows: variables, marks, then cells up to the block size. */
static void space_lay_out_rows(store_t *space)
{
    uint32_t i;
    space->row[STORE_ROW_VARIABLES].size = sizeof(store_record_t);
    space->row[STORE_ROW_MARKS].size     = sizeof(store_mark_t);
    for (i = 0; i < SPACE_SIZES; i++) space->row[STORE_ROW_CELLS + i].size = space_sizes[i];
    space->rows                       = STORE_ROW_CELLS + SPACE_SIZES + 1;
    space->block_row                  = space->rows - 1;
    space->row[space->block_row].size = space->block_size;
}

/* The file beside it by whose locks a PID namespace of which nobody lives is told (pool.h).
 * Its name is this namespace's alone: one that is made at the same path later has another. */
static void space_home_path(const store_t *space, char path[SPACE_PATH])
{
    snprintf(path, SPACE_PATH, "%.4000s/processes.%016llx", space->path, (unsigned long long)space->seed);
}

static bool space_open_home(store_t *space, uint32_t mode, store_error_t *err)
{
    pool_spec_t  spec = { POOL_RAW, 1, 8, POOL_MODE, mode };
    pool_error_t why;
    char         path[SPACE_PATH];
    space_home_path(space, path);
    do space->home = pool_open(path, &spec, &why);
    while (space->home == NULL && why.code == POOL_INTERRUPTED);
    if (space->home != NULL) return true;
    return space_fail(err, why.code == POOL_E_NOSPC ? STORE_E_NOSPC : STORE_E_SYSTEM, why.sys_errno, space->path, "cannot be opened");
}

static bool space_map(store_t *space, int fd, store_error_t *err)
{
    store_header_t head;
    struct stat    st;
    ssize_t        got;
    void          *base;

    memset(&head, 0, sizeof head);
    got = pread(fd, &head, offsetof(store_header_t, parts), 0);
    if (got < 0 || fstat(fd, &st) != 0) return space_fail(err, STORE_E_SYSTEM, errno, space->path, "cannot be read");
    if (!S_ISREG(st.st_mode) || got < (ssize_t)sizeof(uint64_t))
        return space_fail(err, STORE_E_INVALID, 0, space->path, "is not a namespace of IPC::Shm");
    if (!space_check_header(space, &head, (uint64_t)st.st_size, err)) return false;
    /* Where address space is scarce (a limit, an emulator), the beginning has to do. */
    do base = mmap(NULL, head.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    while (base == MAP_FAILED && (head.size /= 2) >= SPACE_MIN_SIZE / 4);
    if (base == MAP_FAILED) return space_fail(err, STORE_E_SYSTEM, errno, space->path, "cannot be mapped (a limit on address space?)");
    space->base       = (uint8_t *)base;
    space->header     = (store_header_t *)base;
    space->size       = head.size;
    space->seed       = head.seed;
    space->block_size = head.block_size;
    space->device     = (uint64_t)st.st_dev;
    space->inode      = (uint64_t)st.st_ino;
    space_lay_out_rows(space);
    space_register_looks();
    clock_choose();
    if (!space_open_home(space, (uint32_t)st.st_mode & 0777, err)) return false;
    space->identity = row_open(space, STORE_ROW_VARIABLES, 0, true, err);
    return space->identity != NULL;
}

void space_unmap(store_t *space)
{
    uint32_t row, part;
    if (space == NULL) return;
    for (row = 0; row < STORE_ROWS; row++)
        for (part = 0; part < STORE_PARTS; part++) pool_close(space->row[row].part[part]);
    pool_close(space->home);
    if (space->base != NULL) munmap(space->base, space->size);
    free(space->path);
    free(space);
}

void space_unlink(store_t *space)
{
    char        file[SPACE_PATH];
    struct stat st;
    snprintf(file, sizeof file, "%s/namespace", space->path);
    if (stat(file, &st) == 0 && (uint64_t)st.st_ino == space->inode && (uint64_t)st.st_dev == space->device) unlink(file);
    space_home_path(space, file);
    unlink(file);
    rmdir(space->path); /* if nothing else is in it */
}

/* Open what is at `file`; a link is planted. *again: it went away, or is being removed. */
static store_t *space_attach(const char *path, const char *file, bool *again, store_error_t *err)
{
    store_t *space = NULL;
    int      fd    = open(file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

    *again = fd < 0 && errno == ENOENT;
    if (fd < 0) {
        space_fail(err, errno == ELOOP ? STORE_E_DENIED : STORE_E_SYSTEM, errno == ELOOP ? 0 : errno, file,
                   errno == ELOOP ? "is refused: it is a link" : "cannot be opened");
        return NULL;
    }
    if ((space = (store_t *)calloc(1, sizeof *space)) == NULL || (space->path = strdup(path)) == NULL || !space_map(space, fd, err)) {
        if (space == NULL || space->path == NULL) space_fail(err, STORE_E_SYSTEM, ENOMEM, path, "cannot be opened");
        space_unmap(space);
        space  = NULL;
        *again = !space_same_file(fd, file); /* it was removed before we had all of it */
    }
    else if (store_is_closed(space) || !space_same_file(fd, file)) {
        space_unlink(space);
        space_unmap(space);
        space  = NULL;
        *again = true;
        space_fail(err, STORE_E_SYSTEM, EBUSY, path, "is being removed");
    }
    close(fd);
    return space;
}

store_t *space_open(const char *path, const store_options_t *given, store_error_t *err)
{
    store_options_t options = { 0, 0, false, false };
    char            file[SPACE_PATH];
    int             tries, saved = errno, why;

    if (given != NULL) options = *given;
    if (options.mode == 0) options.mode = 0660;
    if (options.block_size == 0) options.block_size = 4096;
    if (strlen(path) > SPACE_PATH - 100) {
        space_fail(err, STORE_E_ARGUMENT, 0, path, "is too long for a namespace");
        return NULL;
    }
    snprintf(file, sizeof file, "%s/namespace", path);
    for (tries = 0; tries < 1000; tries++) { /* a cleanup may remove it under our hands */
        bool     again = false;
        store_t *space;
        if (!space_directory(path, &options, err)) {
            if (err != NULL && err->sys_errno == ENOENT && tries < 10) continue;
            break;
        }
        space = space_attach(path, file, &again, err);
        if (space != NULL) {
            errno = saved;
            return space;
        }
        if (!again) break;
        if (options.attach) {
            space_fail(err, STORE_ABSENT, 0, path, "is not there");
            break;
        }
        why = space_create(path, file, &options);
        if (why == 0 || why == EEXIST || why == ENOENT) continue;
        space_fail(err, why == ENOSPC || why == EDQUOT ? STORE_E_NOSPC : STORE_E_SYSTEM, why, file, "cannot be made");
        break;
    }
    errno = saved;
    return NULL;
}
