/*
 * What the C tests of store/ share, beside ../c/test.h: a namespace of the test's own, and
 * short ways to say what is done to it.
 */
#ifndef STORE_TEST_H
#define STORE_TEST_H

#include "../c/test.h"

#include "../../store/store.h"

#include <inttypes.h>
#include <string.h>
#include <sys/prctl.h>

static char space_folder[300];

static inline void space_clean_up(void)
{
    char command[340];
    if (getpid() != test_main || space_folder[0] == '\0') return;
    snprintf(command, sizeof command, "rm -rf '%s'", space_folder);
    if (system(command) != 0) printf("# cannot remove %s\n", space_folder);
}

/* A path for a namespace, in memory where there is a filesystem in memory. */
static inline const char *space_path(const char *name)
{
    static char path[400];
    if (space_folder[0] == '\0') {
        strcpy(space_folder, "/dev/shm/store-test-XXXXXX");
        if (mkdtemp(space_folder) == NULL) snprintf(space_folder, sizeof space_folder, "%s", scratch("space"));
        mkdir(space_folder, 0700);
        atexit(space_clean_up);
    }
    snprintf(path, sizeof path, "%s/%s", space_folder, name);
    return path;
}

static inline void test_die(const char *what, const char *why)
{
    printf("Bail out! %s: %s\n", what, why);
    exit(2);
}

static inline store_t *space_new_with(const char *name, const store_options_t *options)
{
    store_error_t err;
    store_t      *store = store_open(space_path(name), options, &err);
    if (store == NULL) test_die("store_open", err.text);
    return store;
}

/* On a tmpfs that this process alone sees ("size=4m"); `folder` is to be unmounted at the end. NULL: that is not allowed. */
static inline store_t *space_on_small_filesystem(const char *folder, const char *size)
{
    char          path[600];
    store_error_t err;
    store_t      *store;
    if (!small_filesystem(folder, size)) return NULL;
    snprintf(path, sizeof path, "%s/space", folder);
    if ((store = store_open(path, NULL, &err)) == NULL) test_die("store_open", err.text);
    return store;
}

static inline store_t *space_new(const char *name)
{
    return space_new_with(name, NULL);
}

/* Fork a child that has all handles, and dies with this process. `how`: enum store_fork. */
static inline pid_t fork_with(int how)
{
    pid_t pid;
    fflush(stdout);
    store_fork_prepare(how);
    if ((pid = fork()) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        store_fork_child();
        return 0;
    }
    store_fork_parent();
    store_fork_parent_pid(pid);
    return pid;
}

static inline store_var_t *var_named(store_t *store, uint32_t type, const char *name)
{
    store_error_t err;
    store_var_t  *var;
    do var = store_declare(store, type, name, strlen(name), true, &err);
    while (var == NULL && err.code == STORE_INTERRUPTED);
    if (var == NULL) test_die("store_declare", err.text);
    return var;
}

static inline store_var_t *var_new(store_t *store, uint32_t type)
{
    store_error_t err;
    store_var_t  *var = store_new(store, type, &err);
    if (var == NULL) test_die("store_new", err.text);
    return var;
}

static inline store_var_t *var_of(store_t *store, const store_ref_t *ref)
{
    store_error_t err;
    return store_attach(store, ref, &err);
}

/* A call that a signal or the end of a slice interrupted has done nothing: again. */
#define AGAIN(call)                                       \
    __extension__({                                       \
        int again_;                                       \
        while ((again_ = (call)) == STORE_INTERRUPTED) {} \
        again_;                                           \
    })

/* What must succeed for the test to make sense. */
#define MUST(call)                                                                              \
    do {                                                                                        \
        int code_ = AGAIN(call);                                                                \
        if (code_ != STORE_OK) {                                                                \
            printf("# %s line %d: %s: %s\n", __FILE__, __LINE__, #call, store_strerror(code_)); \
            fflush(stdout);                                                                     \
            if (getpid() != test_main) _exit(9);                                                \
            printf("Bail out! %s\n", #call);                                                    \
            exit(2);                                                                            \
        }                                                                                       \
    } while (0)

static inline store_key_t key_of(const store_t *store, const char *text)
{
    return store_key(store, text, (uint32_t)strlen(text), false);
}

static inline store_key_t key_number(const store_t *store, char buffer[32], int64_t number)
{
    int length = snprintf(buffer, 32, "key %" PRId64, number);
    return store_key(store, buffer, (uint32_t)length, false);
}

static inline store_value_t ref_to(const store_var_t *var)
{
    store_value_t value = store_none(STORE_REF);
    value.number.ref    = store_ref_of(var);
    return value;
}

static inline int put_int(store_var_t *hash, const char *key, int64_t number)
{
    store_key_t   k = key_of(store_of(hash), key);
    store_value_t v = store_int(number);
    return store_hash_put(hash, &k, &v, 0);
}

static inline int put_ref(store_var_t *hash, const char *key, const store_var_t *to)
{
    store_key_t   k = key_of(store_of(hash), key);
    store_value_t v = ref_to(to);
    return store_hash_put(hash, &k, &v, 0);
}

/* An integer element; `otherwise` where there is none. */
static inline int64_t get_int(store_var_t *hash, const char *key, int64_t otherwise)
{
    store_key_t    k = key_of(store_of(hash), key);
    char           space[64];
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  v;
    return AGAIN(store_hash_get(hash, &k, &v, &buffer)) == STORE_OK && v.kind == STORE_INT ? v.number.i : otherwise;
}

static inline int push_int(store_var_t *array, int64_t number)
{
    store_value_t v = store_int(number);
    uint64_t      size;
    return store_array_push(array, &v, &size);
}

/* What there is of everything, for "nothing was left behind". */
static inline store_stats_t space_stats(store_t *store)
{
    store_stats_t stats;
    store_stats(store, &stats);
    return stats;
}

static inline bool same_use(const store_stats_t *a, const store_stats_t *b)
{
    bool same =
        a->variables == b->variables && a->blocks == b->blocks && a->attachments == b->attachments && a->bytes_used == b->bytes_used;
    if (!same)
        printf("# variables %" PRIu64 " -> %" PRIu64 ", blocks %" PRIu64 " -> %" PRIu64 ", attachments %" PRIu64 " -> %" PRIu64
               ", bytes %" PRIu64 " -> %" PRIu64 "\n",
               a->variables, b->variables, a->blocks, b->blocks, a->attachments, b->attachments, a->bytes_used, b->bytes_used);
    return same;
}

/* Dice that a seed repeats. */
static uint64_t dice_state = UINT64_C(0x9e3779b97f4a7c15);

static inline void dice_seed(uint64_t seed)
{
    dice_state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
}

static inline uint64_t dice(uint64_t sides)
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return dice_state % sides;
}

/* POOL_SEED, or the time. */
static inline uint64_t test_seed(void)
{
    const char *given = getenv("POOL_SEED");
    uint64_t    seed  = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    printf("# POOL_SEED=%" PRIu64 "\n", seed);
    dice_seed(seed);
    return seed;
}

static inline void nap_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
    nanosleep(&t, NULL);
}

#endif
