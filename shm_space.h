/*
 * shm_space.h - a namespace of shared variables: a directory of pools.
 *
 *   namespace   one slot: magic, format version, block size, and the registry
 *               lock, under which names, references and attachments change
 *   vars.N      a record for each variable (shm_record_t)
 *   blocks.N    the blocks that the variables' contents are in (shm_stream.h)
 *   names.N     name -> variable; a name is there when its slot is disowned
 *   attach.N    a slot for each variable that a process is attached to, owned
 *               by that process; it also is the process's read lock
 *
 * LOCK ORDER: a variable's lock before the registry lock.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_SPACE_H
#define SHM_SPACE_H

#include "pool_grow.h"
#include "pool_lock.h"

#include <pthread.h>
#include <sys/stat.h>

#define SHM_MAGIC   UINT64_C(0x31305241564d4853) /* "SHMVAR01" */
#define SHM_VERSION 1u
#define SHM_NONE    UINT64_MAX

#define SHM_MIN_BLOCK 256u
#define SHM_MAX_BLOCK ((uint64_t)1 << 30)

enum shm_type { SHM_SCALAR = 1, SHM_ARRAY = 2, SHM_HASH = 3 };

typedef struct shm_super {
    uint64_t    magic; /* written last */
    uint32_t    version;
    uint32_t    closed; /* cleanup has removed the files */
    uint64_t    block_size;
    uint64_t    reserved;
    pool_lock_t registry;
    uint8_t     pad[16];
} shm_super_t;

/* One published state of a variable. */
typedef struct shm_state {
    uint64_t epoch;      /* names this chain of blocks among all the variable has had; 0: none */
    uint64_t head, tail; /* its first and last block, SHM_NONE: none */
    uint64_t bytes;      /* that are published */
    uint64_t snapshot;   /* of these, the snapshot that it begins with */
    uint64_t live;       /* about what a new snapshot would take */
    uint64_t elements;
    uint64_t standins;             /* references to other variables among them */
    uint64_t old_epoch, old_bytes; /* the snapshot is the old chain's content at this length */
    uint64_t removed;
    uint8_t  pad[40];
} shm_state_t;

/* A variable. `serial` is the number of published changes, and says which of the
 * two states is the current one (its lowest bit): a writer fills the other and
 * publishes it by one release store of serial + 1. */
typedef struct shm_record {
    uint64_t    serial;
    uint64_t    exclusive; /* owner word of who holds a write lock by writelock() */
    pool_lock_t lock;      /* of writers */
    uint64_t    readers;   /* not 0: look for read locks among the attachments */
    uint32_t    type;
    uint32_t    named;
    uint64_t    refs;   /* name, stand-ins, attachments; never too small; registry lock */
    uint64_t    epochs; /* the last epoch ever used; variable's lock */
    shm_state_t state[2];
} shm_record_t;

/* A process is attached to a variable, and perhaps holds a read lock on it. */
typedef struct shm_attach {
    uint64_t variable, generation;
    uint64_t reading;
    uint64_t transit; /* not 0: made for a child that has not taken it yet; when (boot time, ns) */
    uint64_t child;   /* its PID, 0: not known */
} shm_attach_t;

#define SHM_NAME_SLOT 512u
typedef struct shm_name {
    uint64_t variable, generation;
    uint32_t length;
    char     text[SHM_NAME_SLOT - 20];
} shm_name_t;

POOL_STATIC_ASSERT(sizeof(shm_super_t) == 64, "the superblock is one line");
POOL_STATIC_ASSERT(sizeof(shm_state_t) == 128, "a state is two lines");
POOL_STATIC_ASSERT(offsetof(shm_record_t, state) == 64, "the hot words have a line of their own");

/* A slot and which of its allocations: names a variable for ever. */
typedef struct shm_id {
    uint64_t slot, generation;
} shm_id_t;

/* What a mark stands for; the generation first, which was stored last: the acquire
 * pairs with shm_attach_new(), whose process may have died in the middle. */
static inline shm_id_t shm_attached_to(const shm_attach_t *mark)
{
    shm_id_t id = { SHM_NONE, 0 };
    if (mark == NULL) return id;
    id.generation = __atomic_load_n(&mark->generation, __ATOMIC_ACQUIRE);
    id.slot       = mark->variable;
    return id;
}

/* A header at the start of each block; the rest is payload. */
typedef struct shm_block {
    uint64_t next;
    uint64_t variable;
} shm_block_t;

typedef struct shm_space {
    char             *path;
    pool_t           *pool; /* `namespace`; the owner words in locks are this pool's */
    shm_super_t      *super;
    uint64_t          payload; /* bytes a block */
    pool_grow_t       vars, blocks, names, attach;
    uint64_t          inode; /* of `namespace` */
    uint32_t          users;
    struct shm_space *next;
} shm_space_t;

static inline uint64_t shm_me(shm_space_t *space)
{
    return pool_i_me(space->pool);
}

/* The same process, whichever pools the two owner words are from? */
static inline bool shm_same_process(uint64_t a, uint64_t b)
{
    return ((a ^ b) & ~(POOL_I_TAG_MASK | POOL_I_BUSY)) == 0;
}

static inline int64_t shm_boottime(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* The registry lock is held for moments only, so signals wait. What a holder
 * that died left behind is a reference count that is too large: recovery. */
static inline void shm_registry_lock(shm_space_t *space)
{
    bool died;
    while (pool_lock_acquire(space->pool, &space->super->registry, POOL_FOREVER, &died) != POOL_OK) {}
}

static inline void shm_registry_unlock(shm_space_t *space)
{
    pool_lock_release(&space->super->registry);
}

static inline shm_record_t *shm_record(shm_space_t *space, uint64_t slot)
{
    return (shm_record_t *)pool_grow_ptr(&space->vars, slot);
}

/* Does this variable still exist? Under the registry lock the answer stays true. */
static inline bool shm_exists(shm_space_t *space, shm_id_t id)
{
    return pool_grow_is_allocated(&space->vars, id.slot) && pool_grow_generation(&space->vars, id.slot) == id.generation;
}

/* Can this process look at all names, variables and attachments? Whoever concludes
 * from not finding one that there is none has to ask, under the registry lock, under
 * which their number grows. False with *err: a file cannot be opened. */
static inline bool shm_sees_all(shm_space_t *space, pool_error_t *err)
{
    return pool_grow_open_all(&space->names, err) && pool_grow_open_all(&space->vars, err) && pool_grow_open_all(&space->attach, err);
}

static inline bool shm_fail(pool_error_t *err, int code, int sys_errno, const char *what, const char *path)
{
    err->code      = code;
    err->sys_errno = sys_errno;
    snprintf(err->text, sizeof err->text, "%.150s %s%s%s", path, what, sys_errno != 0 ? ": " : "",
             sys_errno != 0 ? strerror(sys_errno) : "");
    return false;
}

/* Is the directory there, and may it be trusted? A private one belongs to this
 * user and is closed to all others; it is made 0700. */
static inline bool shm_directory(const char *path, bool private_to_user, uint32_t mode, pool_error_t *err)
{
    struct stat st;
    uint32_t    bits = private_to_user ? 0700 : mode | (mode & 0444) >> 2 | 0700;
    int         why  = mkdir(path, 0700) == 0 ? 0 : errno;

    if (why == 0 && !private_to_user && chmod(path, bits) != 0)
        return shm_fail(err, POOL_E_SYSTEM, errno, "cannot be given its mode", path);
    if (lstat(path, &st) != 0)
        return shm_fail(err, POOL_E_SYSTEM, why != 0 && why != EEXIST ? why : errno, "cannot be made a namespace", path);
    if (!private_to_user && S_ISLNK(st.st_mode) && stat(path, &st) != 0)
        return shm_fail(err, POOL_E_SYSTEM, errno, "cannot be a namespace", path);
    if (!S_ISDIR(st.st_mode)) return shm_fail(err, POOL_E_INVALID, 0, "cannot be a namespace: it is not a directory", path);
    if (private_to_user && st.st_uid != geteuid())
        return shm_fail(err, POOL_E_INVALID, 0, "is refused as a namespace: it belongs to another user", path);
    if (private_to_user && (st.st_mode & 077) != 0)
        return shm_fail(err, POOL_E_INVALID, 0, "is refused as a namespace: it is open to other users", path);
    return true;
}

/* The superblock: written by whoever first holds its lock, magic last. Who dies
 * before that leaves it to the next, which no lock orders after it: therefore the
 * release of the magic pairs with the acquire at the top. */
static inline bool shm_check_super(shm_space_t *space, uint64_t block_size, pool_error_t *err)
{
    shm_super_t *super = space->super;
    bool         ok    = true;

    shm_registry_lock(space);
    if (__atomic_load_n(&super->magic, __ATOMIC_ACQUIRE) == 0) {
        super->version    = SHM_VERSION;
        super->block_size = block_size;
        __atomic_store_n(&super->magic, SHM_MAGIC, __ATOMIC_RELEASE);
    }
    if (super->magic != SHM_MAGIC)
        ok = shm_fail(err, POOL_E_INVALID, 0, "is not a namespace of IPC::Shm", space->path);
    else if (super->version != SHM_VERSION) {
        char what[80];
        snprintf(what, sizeof what, "is incompatible: its format version is %u, this library's %u", (unsigned)super->version, SHM_VERSION);
        ok = shm_fail(err, POOL_E_MISMATCH, 0, what, space->path);
    }
    else if (super->block_size < SHM_MIN_BLOCK || super->block_size > SHM_MAX_BLOCK || super->block_size % 64 != 0)
        ok = shm_fail(err, POOL_E_INVALID, 0, "is damaged: its block size makes no sense", space->path);
    else
        space->payload = super->block_size - sizeof(shm_block_t);
    shm_registry_unlock(space);
    return ok;
}

static inline void shm_space_free(shm_space_t *space)
{
    if (space == NULL) return;
    pool_grow_close(&space->vars);
    pool_grow_close(&space->blocks);
    pool_grow_close(&space->names);
    pool_grow_close(&space->attach);
    pool_close(space->pool);
    free(space->path);
    free(space);
}

/* Files that are added have the mode of those that are there, whoever adds them: all
 * who may use the namespace have to be able to open them. */
static inline void shm_open_rows(shm_space_t *space, uint32_t mode)
{
    char        path[POOL_GROW_PATH];
    struct stat st;
    snprintf(path, sizeof path, "%s/namespace", space->path);
    if (stat(path, &st) == 0) mode = st.st_mode & 0777;
    snprintf(path, sizeof path, "%s/vars", space->path);
    pool_grow_init(&space->vars, path, sizeof(shm_record_t), mode);
    snprintf(path, sizeof path, "%s/blocks", space->path);
    pool_grow_init(&space->blocks, path, space->super->block_size, mode);
    snprintf(path, sizeof path, "%s/names", space->path);
    pool_grow_init(&space->names, path, sizeof(shm_name_t), mode);
    snprintf(path, sizeof path, "%s/attach", space->path);
    pool_grow_init(&space->attach, path, sizeof(shm_attach_t), mode);
}

static inline uint64_t shm_inode(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/* Remove the files of a namespace; who has them open keeps the memory, but finds
 * it closed. All under the registry lock, and only while `namespace` still is
 * the file that we mean; it goes last. So a remover that dies is continued by
 * whoever opens the namespace next, and nobody removes the files of a new one. */
static inline void shm_space_remove(shm_space_t *space)
{
    pool_grow_t *rows[4];
    char         file[POOL_GROW_PATH + 16];
    uint32_t     i, k;

    rows[0] = &space->names;
    rows[1] = &space->attach;
    rows[2] = &space->blocks;
    rows[3] = &space->vars;
    shm_registry_lock(space);
    __atomic_store_n(&space->super->closed, 1, __ATOMIC_RELEASE); /* pairs with shm_space_open() */
    snprintf(file, sizeof file, "%s/namespace", space->path);
    if (shm_inode(file) == space->inode) {
        for (i = 0; i < 4; i++)
            for (k = 0; k < POOL_GROW_PARTS; k++) {
                pool_error_t err;
                char         part[POOL_GROW_PATH + 16];
                pool_grow_open(rows[i], k, false, &err); /* while it has a name */
                snprintf(part, sizeof part, "%s.%u", rows[i]->path, (unsigned)k);
                unlink(part);
            }
        unlink(file);
        rmdir(space->path);
    }
    shm_registry_unlock(space);
}

/* Open the namespace in the directory `path`, creating what is missing. NULL
 * with *err filled. Blocks on another creator. */
static inline shm_space_t *shm_space_open(const char *path, bool private_to_user, uint64_t block_size, uint32_t mode, pool_error_t *err)
{
    shm_space_t *space;
    pool_spec_t  spec = { POOL_RAW, 1, sizeof(shm_super_t), POOL_MODE, 0 };
    char         file[POOL_GROW_PATH];
    uint64_t     inode;
    int          tries;

    if (strlen(path) > 3000) {
        shm_fail(err, POOL_E_ARGUMENT, 0, "is too long for a namespace", path);
        return NULL;
    }
    if ((space = (shm_space_t *)calloc(1, sizeof *space)) == NULL || (space->path = strdup(path)) == NULL) {
        free(space);
        shm_fail(err, POOL_E_SYSTEM, ENOMEM, "cannot be opened", path);
        return NULL;
    }
    spec.mode = mode;
    snprintf(file, sizeof file, "%s/namespace", path);
    for (tries = 0; tries < 100; tries++) { /* a cleanup may remove it under our hands */
        if (!shm_directory(path, private_to_user, mode, err)) {
            if (err->sys_errno == ENOENT && tries < 10) continue;
            break;
        }
        inode       = shm_inode(file);
        space->pool = pool_open(file, &spec, err);
        if (space->pool == NULL && (err->code == POOL_INTERRUPTED || err->sys_errno == ENOENT)) continue;
        if (space->pool == NULL) break;
        space->super = (shm_super_t *)pool_ptr(space->pool, 0);
        if (!shm_check_super(space, block_size, err)) break;
        shm_open_rows(space, mode);
        space->inode = shm_inode(file);
        if (__atomic_load_n(&space->super->closed, __ATOMIC_ACQUIRE) == 0) return space; /* pairs with shm_space_remove() */
        if (inode != 0 && inode == space->inode) shm_space_remove(space);
        pool_grow_close(&space->vars);
        pool_grow_close(&space->blocks);
        pool_grow_close(&space->names);
        pool_grow_close(&space->attach);
        pool_close(space->pool);
        space->pool = NULL;
        shm_fail(err, POOL_E_SYSTEM, EBUSY, "is being removed", path);
        usleep(1000);
    }
    shm_space_free(space);
    return NULL;
}

#endif /* SHM_SPACE_H */
