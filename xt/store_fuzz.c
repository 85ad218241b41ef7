/*
 * Hostile bytes in a namespace. An input of the fuzzer is a list of operations of store/,
 * and between them the shared bytes are scribbled on: the header, records, marks, cells,
 * pages, and what the pools say of them. With the top bits of the first byte set a second
 * thread scribbles, too, all the while.
 *
 * No input may crash, reach out of bounds, or keep an operation from ending. Where a lock word
 * says that a living process has the lock, one waits for it; a timer interrupts that.
 *
 * With -fsanitize=fuzzer libFuzzer makes the inputs; with -DFUZZ_REPLAY the program runs the
 * files that it is given, once each.
 */
#include "../store/types.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the input ------------------------------------------------------------ */

typedef struct input {
    const uint8_t *at, *end;
} input_t;

static uint64_t take(input_t *in, int bytes)
{
    uint64_t value = 0;
    for (; bytes > 0 && in->at < in->end; bytes--) value = value << 8 | *in->at++;
    return value;
}

/* --- scribbling ------------------------------------------------------------ */

static uint64_t dead_owner(store_t *store)
{
    return space_me(store) ^ POOL_I_TIME_MASK; /* our PID, in an earlier life */
}

/* Words that mean something, and some that do not. */
static uint64_t nasty(store_t *store, uint64_t choice, uint64_t other)
{
    switch (choice % 16) {
    case 0: return 0;
    case 1: return UINT64_MAX;
    case 2: return row_link((uint32_t)(other & 31) % store->rows, other >> 5 & 15);
    case 3: return row_link(STORE_ROW_CELLS + (uint32_t)(other & 3), other >> 2 & 31);
    case 4: return row_link(store->block_row, other & 7);
    case 5: return dead_owner(store);
    case 6: return dead_owner(store) | POOL_I_BUSY;
    case 7: return POOL_I_NOBODY;
    case 8: return space_me(store);
    case 9: return UINT64_C(1) << other % 64;
    case 10: return other & 15;
    case 11: return (other & 7) << 28 | (other >> 3 & 0xfff);                                               /* the shape of a table */
    case 12: return row_link(STORE_ROW_CELLS + (uint32_t)(other & 3), other >> 2 & 31) | (other & 7) << 60; /* root and tier */
    case 13: return (other & 255) << 32 | (other >> 8 & 255);                                               /* a reference */
    case 14: return UINT64_MAX - (other & 255);
    default: return other * UINT64_C(0x9e3779b97f4a7c15);
    }
}

/* Where: at a multiple of four. NULL: nothing is there. */
static uint8_t *somewhere(store_t *store, uint64_t kind, uint64_t which, uint64_t word)
{
    uint8_t *at;
    uint64_t place;
    uint32_t row;
    switch (kind % 8) {
    case 0: return store->base + (word & 31) * 4;
    case 1:
        at = (uint8_t *)row_ptr(store, row_link(STORE_ROW_VARIABLES, which & 7));
        return at != NULL ? at + word % (sizeof(store_record_t) / 4) * 4 : NULL;
    case 2:
        at = (uint8_t *)row_ptr(store, row_link(STORE_ROW_MARKS, which & 7));
        return at != NULL ? at + word % (sizeof(store_mark_t) / 4) * 4 : NULL;
    case 3:
    case 4:
    case 5: /* a cell, a page or a block */
        row = STORE_ROW_CELLS + (uint32_t)(which & 63) % (store->rows - STORE_ROW_CELLS);
        at  = (uint8_t *)row_ptr(store, row_link(row, which >> 6 & 15));
        return at != NULL ? at + word * 4 % store->row[row].size : NULL;
    case 6: /* what a pool says */
        row   = (uint32_t)(which & 63) % store->rows;
        place = store->header->parts[row][0];
        return place != 0 && place < store->size - 16384 && place % 4 == 0 ? store->base + place + word * 4 % 8192 : NULL;
    default: /* where the parts of rows are; large ones take long to make */
        return (uint8_t *)&store->header->parts[which % store->rows][word / 2 % 4] + word % 2 * 4;
    }
}

static void scribble(store_t *store, uint64_t where, uint64_t what)
{
    uint8_t *at    = somewhere(store, where & 7, where >> 3 & 1023, where >> 13);
    uint64_t value = nasty(store, what & 15, what >> 5);
    if (at == NULL) return;
    if ((what & 16) != 0 && (uintptr_t)at % 8 == 0)
        __atomic_store_n((uint64_t *)(void *)at, value, __ATOMIC_RELAXED);
    else
        __atomic_store_n((uint32_t *)(void *)at, (uint32_t)value, __ATOMIC_RELAXED);
}

/* The other thread: scribbles on whatever namespace is its target. */
static pthread_mutex_t scribbling = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t  wanted     = PTHREAD_COND_INITIALIZER;
static store_t        *target;
static uint64_t        target_seed;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void *scribbler(void *unused)
{
    sigset_t all;
    int      i;
    (void)unused;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (;;) {
        pthread_mutex_lock(&scribbling);
        while (target == NULL) pthread_cond_wait(&wanted, &scribbling);
        for (i = 0; i < 50; i++) scribble(target, next_random(&target_seed) >> 20, next_random(&target_seed) >> 20);
        pthread_mutex_unlock(&scribbling);
        sched_yield();
    }
    return NULL;
}

static void scribble_on(store_t *store, uint64_t seed)
{
    static bool started;
    pthread_t   thread;
    if (!started && store != NULL) started = pthread_create(&thread, NULL, scribbler, NULL) == 0 && pthread_detach(thread) == 0;
    pthread_mutex_lock(&scribbling);
    target      = store;
    target_seed = seed | 1;
    pthread_cond_signal(&wanted);
    pthread_mutex_unlock(&scribbling);
}

/* --- operations ------------------------------------------------------------ */

static char letters[20000];

typedef struct world {
    store_t     *store;
    store_var_t *hash, *array, *scalar;
} world_t;

static store_key_t some_key(world_t *w, uint64_t which, char name[16])
{
    int length = snprintf(name, 16, "k%u", (unsigned)(which & 127));
    return store_key(w->store, name, (uint32_t)length, (which & 128) != 0);
}

static store_value_t some_value(world_t *w, uint64_t which)
{
    store_value_t value = store_text(letters, (which >> 3) % 200, (which & 4) != 0);
    switch (which & 7) {
    case 0: return store_int((int64_t)which);
    case 1:
        value            = store_none(STORE_REF);
        value.number.ref = store_ref_of(which & 8 ? w->array : w->scalar);
        return value;
    case 2: value.length = which * 37 % sizeof letters; return value;
    default: return value;
    }
}

static void count_one(const store_listed_t *listed, void *context)
{
    *(uint64_t *)context += listed->bytes + listed->elements;
}

static void visit_reservation(const store_reservation_t *reservation, void *context)
{
    *(uint64_t *)context += reservation->order;
}

static void reserve(world_t *w, uint64_t which)
{
    store_reservation_t reservation = { dead_owner(w->store), which, which & 1 };
    store_value_t       value       = some_value(w, which);
    if (store_begin(w->array, store_deadline(0)) != STORE_OK) return;
    store_queue_keep(w->array, &reservation, &value);
    store_queue_each(w->array, visit_reservation, &which);
    if (which & 2) store_queue_drop(w->array, &reservation);
    store_commit(w->array);
}

static void follow(world_t *w, const store_value_t *value)
{
    store_glance_t glance;
    store_error_t  err;
    store_value_t  inner;
    uint64_t       size;
    store_var_t   *var;
    if (value->kind != STORE_REF) return;
    if ((var = store_glance(w->hash, &value->number.ref, &glance)) != NULL && value->number.ref.type == STORE_ARRAY) {
        store_array_size(var, &size);
        store_array_get(var, 0, &inner, NULL);
    }
    store_release(store_attach(w->store, &value->number.ref, &err));
}

static void nested(world_t *w, const store_key_t *key)
{
    store_error_t err;
    store_value_t value = store_none(STORE_REF);
    store_var_t  *inner = store_new(w->store, STORE_HASH, &err);
    if (inner == NULL) return;
    value.number.ref = store_ref_of(inner);
    store_hash_put(w->hash, key, &value, 0);
    store_release(inner);
}

static void operate(world_t *w, input_t *in)
{
    static char    space[4096];
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value, values[3];
    store_look_t   look;
    store_stats_t  stats;
    store_sweep_t  sweep = { 0, 0 };
    store_error_t  err;
    store_key_t    key, next;
    char           name[16];
    uint64_t       op = take(in, 1), which = take(in, 2), number = 0;

    key   = some_key(w, which, name);
    value = some_value(w, which >> 7 ^ which);
    switch (op % 40) {
    case 0:
    case 1:
    case 2: store_hash_put(w->hash, &key, &value, op % 40 == 2 ? store_clock() + 1 : 0); break;
    case 3:
        if (store_hash_get(w->hash, &key, &value, &buffer) == STORE_OK) follow(w, &value);
        break;
    case 4: store_hash_delete(w->hash, &key); break;
    case 5: store_hash_next(w->hash, which & 1 ? &key : NULL, &next, &buffer); break;
    case 6: store_hash_count(w->hash, &number); break;
    case 7: store_hash_clear(w->hash); break;
    case 8: store_hash_sweep(w->hash, &sweep); break;
    case 9: store_hash_limit(w->hash, which % 9); break;
    case 10: store_hash_expiry(w->hash, &key, &number); break;
    case 11: nested(w, &key); break;
    case 12:
        for (; number < 40; number++) {
            key = some_key(w, which + number, name);
            store_hash_put(w->hash, &key, &value, 0);
        }
        break;
    case 13:
    case 14: store_array_put(w->array, which % 70, &value); break;
    case 15:
        if (store_array_get(w->array, which % 70, &value, &buffer) == STORE_OK) follow(w, &value);
        break;
    case 16: store_array_size(w->array, &number); break;
    case 17: store_array_resize(w->array, which % 3000); break;
    case 18: store_array_delete(w->array, which % 70); break;
    case 19:
    case 20:
    case 21:
        for (number = 0; number < 3; number++) values[number] = value;
        store_array_splice(w->array, which % 20, which >> 5 & 7, values, which >> 8 & 3);
        break;
    case 22: store_scalar_put(w->scalar, &value); break;
    case 23: store_scalar_get(w->scalar, &value, &buffer); break;
    case 24:
        if (store_look(which & 1 ? w->hash : which & 2 ? w->array : w->scalar, which & 4, &look) == STORE_OK) store_look_free(&look);
        break;
    case 25: store_begin(which & 1 ? w->hash : w->array, store_deadline(0)); break;
    case 26: store_commit(which & 1 ? w->hash : w->array); break;
    case 27: store_abort(which & 1 ? w->hash : w->array); break;
    case 28: store_lock_write(which & 1 ? w->hash : w->array, store_deadline(0), NULL); break;
    case 29: store_lock_read(which & 1 ? w->hash : w->array, store_deadline(0), NULL); break;
    case 30: store_unlock_write(which & 1 ? w->hash : w->array); break;
    case 31: store_unlock_read(which & 1 ? w->hash : w->array); break;
    case 32:
        if ((which & 7) != 0)
            memset(&w->store->header->recovery, 0, sizeof w->store->header->recovery); /* else that is waited for, a second */
        store_recover(w->store);
        break;
    case 33: store_list(w->store, count_one, &number); break;
    case 34: store_stats(w->store, &stats); break;
    case 35: store_release(store_declare(w->store, STORE_HASH, name, strlen(name), which & 1, &err)); break;
    case 36: reserve(w, which); break;
    case 37: store_wait_change(w->hash, store_deadline(0)); break;
    case 38: store_has_dead(w->store); break;
    default: store_remove(which & 1 ? w->scalar : w->array, which & 2 ? name : NULL, strlen(name));
    }
}

/* --- an input ------------------------------------------------------------------- */

static char path[64];

static void clean_up(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", path);
    if (system(command) != 0) perror(path);
}

static void nothing(int number)
{
    (void)number;
}

/* Whoever waits for a living owner goes on at the next tick. */
static void prepare(void)
{
    struct sigaction  action;
    struct itimerspec tick = { { 0, 3000000 }, { 0, 3000000 } };
    struct sigevent   event;
    timer_t           timer;
    strcpy(path, "/dev/shm/store-fuzz-XXXXXX");
    if (mkdtemp(path) == NULL) abort();
    atexit(clean_up);
    memset(letters, 'x', sizeof letters);
    memset(&action, 0, sizeof action);
    memset(&event, 0, sizeof event);
    action.sa_handler  = nothing;
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo  = SIGRTMIN;
    if (sigaction(SIGRTMIN, &action, NULL) != 0 || timer_create(CLOCK_MONOTONIC, &event, &timer) != 0
        || timer_settime(timer, 0, &tick, NULL) != 0)
        abort();
}

static bool world_make(world_t *w)
{
    const store_options_t options = { 0, 512, false, false };
    store_error_t         err;
    if ((w->store = store_open(path, &options, &err)) == NULL) return false;
    w->hash   = store_declare(w->store, STORE_HASH, "%hash", 5, true, &err);
    w->array  = store_new(w->store, STORE_ARRAY, &err);
    w->scalar = store_new(w->store, STORE_SCALAR, &err);
    return w->hash != NULL && w->array != NULL && w->scalar != NULL;
}

/* What is damaged is opened anew, as by a process that comes now. */
static void open_damaged(const char *folder)
{
    store_error_t err;
    uint64_t      sum   = 0;
    store_t      *store = store_open(folder, NULL, &err);
    if (store == NULL) return;
    store_release(store_declare(store, STORE_HASH, "%hash", 5, false, &err));
    store_list(store, count_one, &sum);
    store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    input_t  in   = { bytes, bytes + size };
    uint64_t kind = take(&in, 1);
    world_t  w;
    int      steps;

    if (path[0] == '\0') prepare();
    if (!world_make(&w)) abort();
    if (kind >= 0xf8) scribble_on(w.store, take(&in, 4));
    for (steps = 0; in.at < in.end && steps < 100; steps++) {
        if ((*in.at & 0xc0) == 0xc0) {
            uint64_t where = take(&in, 3), what = take(&in, 3);
            scribble(w.store, where & 0x3fffff, what);
        }
        else
            operate(&w, &in);
    }
    scribble_on(NULL, 0);
    if (kind & 1) open_damaged(path);
    if ((kind & 6) == 2) store_recover(w.store);
    store_release(w.hash);
    store_release(w.array);
    store_release(w.scalar);
    store_remove_all(w.store, 0);
    space_unlink(w.store);
    store_close(w.store);
    return 0;
}

#include "replay.h"
