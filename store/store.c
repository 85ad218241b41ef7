/* store.c - namespaces that are open, names, and what tools are told. */
#include "types.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

const char *store_strerror(int code)
{
    switch (code) {
    case STORE_ABSENT: return "it is not there";
    case STORE_MORE: return "the buffer is too small";
    case STORE_E_REMOVED: return "it was removed";
    case STORE_E_CLOSED: return "the namespace was removed";
    case STORE_E_DEADLOCK: return "Deadlock";
    case STORE_E_DETACHED: return "this process does not have it: there was no room when it was forked";
    case STORE_E_DAMAGED: return "it is damaged";
    case STORE_E_DENIED: return "it is refused";
    default: return pool_strerror(code);
    }
}

/* --- open namespaces -------------------------------------------------------------------- */

static store_t *store_spaces; /* under handles_hold() */

bool store_is_closed(store_t *store)
{
    return __atomic_load_n(&store->header->closed, __ATOMIC_ACQUIRE) == 1; /* pairs with store_remove_all() */
}

bool store_is_at(store_t *store, const char *path)
{
    char        file[4096];
    struct stat st;
    int         saved = errno;
    bool        same  = snprintf(file, sizeof file, "%s/namespace", path) < (int)sizeof file && stat(file, &st) == 0
                && (uint64_t)st.st_ino == store->inode && (uint64_t)st.st_dev == store->device;
    errno = saved;
    return same;
}

static store_t *store_find(const char *path)
{
    store_t *store;
    handles_hold();
    for (store = store_spaces; store != NULL; store = store->next)
        if (strcmp(store->path, path) == 0 && !store_is_closed(store) && store_is_at(store, path)) {
            store_retain(store);
            break;
        }
    handles_let_go();
    return store;
}

store_t *store_open(const char *path, const store_options_t *options, store_error_t *err)
{
    store_t *store;
    handles_adopt();
    if ((store = store_find(path)) != NULL) return store;
    if ((store = space_open(path, options, err)) == NULL) return NULL;
    handles_hold();
    store->users = 1;
    store->next  = store_spaces;
    store_spaces = store;
    handles_let_go();
    return store;
}

store_t *store_retain(store_t *store)
{
    __atomic_add_fetch(&store->users, 1, __ATOMIC_RELAXED);
    return store;
}

void store_close(store_t *store)
{
    store_t **link;
    if (store == NULL) return;
    handles_hold();
    if (__atomic_sub_fetch(&store->users, 1, __ATOMIC_ACQ_REL) > 0) { /* pairs with other threads' store_close() */
        handles_let_go();
        return;
    }
    for (link = &store_spaces; *link != NULL; link = &(*link)->next)
        if (*link == store) {
            *link = store->next;
            break;
        }
    transits_forget(store);
    handles_let_go();
    space_unmap(store);
}

const char *store_path(const store_t *store)
{
    return store->path;
}

/* --- the variable of the names ------------------------------------------------------------- */

static bool names_ref(store_t *store, store_ref_t *ref)
{
    uint64_t names  = __atomic_load_n(&store->header->names, __ATOMIC_ACQUIRE); /* pairs with names_have() */
    ref->slot       = (uint32_t)names - 1;
    ref->generation = (uint32_t)(names >> 32);
    ref->type       = STORE_HASH;
    ref->is_text    = 0;
    return names != 0 && record_at(store, ref->slot) != NULL; /* anybody may have written it */
}

/* Its count is never 0, because the header holds one reference. The process that makes it publishes it by
 * CAS, and then disowns it; if it dies in between, recovery does the rest. */
static bool names_have(store_t *store, store_ref_t *ref, store_error_t *err)
{
    uint64_t     none = 0;
    store_link_t link;
    if (names_ref(store, ref)) return true;
    if ((link = record_new(store, STORE_HASH, UINT64_C(1) << 32, ref, err)) == 0) return false;
    if (__atomic_compare_exchange_n(&store->header->names, &none, (uint64_t)ref->generation << 32 | (ref->slot + 1), false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) /* pairs with names_ref() */
        row_disown(store, link);
    else
        row_free(store, link);
    return names_ref(store, ref) || space_fail(err, STORE_E_DAMAGED, 0, store->path, "is damaged: the variable of its names is not there");
}

static bool names_fail(store_t *store, int code, store_error_t *err)
{
    return space_fail(err, code, 0, store->path, store_strerror(code));
}

/* Find the variable with this name. STORE_OK, STORE_ABSENT, or another code. */
static int names_get(store_var_t *names, const store_key_t *key, store_ref_t *ref)
{
    store_value_t value;
    int           code = store_hash_get(names, key, &value, NULL);
    if (code == STORE_MORE) code = STORE_OK; /* a class, which names do not have */
    if (code == STORE_OK && value.kind != STORE_REF) code = STORE_E_DAMAGED;
    if (code == STORE_OK) *ref = value.number.ref;
    return code;
}

/* The same outside of a change. STORE_E_NOSPC: there is no room for a mark. */
static int names_find(store_var_t *names, const store_key_t *key, store_ref_t *ref)
{
    store_error_t err;
    store_link_t  mark = mark_looks(names->space, &err);
    int           code = mark != 0 ? names_get(names, key, ref) : err.code;
    mark_looks_end(names->space, mark);
    return code;
}

/* Delete the name if it still leads to this variable. */
static int names_forget(store_var_t *names, const store_key_t *key, const store_ref_t *ref)
{
    store_ref_t found;
    int         code = store_begin(names, STORE_FOREVER);
    if (code != STORE_OK) return code;
    code = names_get(names, key, &found);
    if (code == STORE_OK && found.slot == ref->slot && found.generation == ref->generation) code = store_hash_delete(names, key);
    if (code == STORE_OK || code == STORE_ABSENT)
        store_commit(names);
    else
        store_abort(names);
    return code == STORE_ABSENT ? (int)STORE_OK : code;
}

/* Give the name to a new variable, unless another one has it (STORE_MORE). */
static int names_add(store_var_t *names, const store_key_t *key, const store_var_t *var)
{
    store_value_t value = store_none(STORE_REF);
    store_ref_t   found;
    int           code = store_begin(names, STORE_FOREVER);
    if (code != STORE_OK) return code;
    value.number.ref = var->id;
    code             = names_get(names, key, &found);
    code             = code == STORE_ABSENT ? store_hash_put(names, key, &value, 0) : code == STORE_OK ? (int)STORE_MORE : code;
    if (code == STORE_OK)
        store_commit(names);
    else
        store_abort(names);
    return code;
}

/* The variable that the name leads to, unless that has been removed. */
static store_var_t *names_attach(store_var_t *names, const store_key_t *key, const store_ref_t *ref, uint32_t type, int *code)
{
    store_error_t why;
    store_var_t  *var;
    why.code = STORE_ABSENT;
    var      = ref->type == type ? store_attach(names->space, ref, &why) : NULL;
    *code    = var != NULL ? (int)STORE_OK : why.code == STORE_E_REMOVED ? (int)STORE_MORE : why.code;
    if (var == NULL || !store_is_removed(var)) return var;
    store_release(var);
    *code = names_forget(names, key, ref);
    if (*code == STORE_OK) *code = STORE_MORE;
    return NULL;
}

store_var_t *store_declare(store_t *store, uint32_t type, const char *name, size_t length, bool create, store_error_t *err)
{
    store_ref_t ref;
    store_var_t names, *var = NULL;
    store_key_t key;
    int         code, tries;

    if (length == 0 || length > STORE_NAME_MAX) {
        names_fail(store, create ? STORE_E_ARGUMENT : STORE_ABSENT, err);
        return NULL;
    }
    if (!names_have(store, &ref, err)) return NULL;
    handle_internal(&names, store, &ref);
    key = store_key(store, name, (uint32_t)length, true);
    for (code = STORE_MORE, tries = 0; code == STORE_MORE && tries < 10000; tries++) {
        if (store_is_closed(store)) {
            code = STORE_E_CLOSED;
            break;
        }
        code = names_find(&names, &key, &ref);
        if (code == STORE_OK)
            var = names_attach(&names, &key, &ref, type, &code);
        else if (code == STORE_ABSENT && create) {
            if ((var = store_new(store, type, err)) == NULL) return NULL;
            code = names_add(&names, &key, var);
            if (code != STORE_OK) {
                store_release(var);
                var = NULL;
            }
        }
    }
    if (var == NULL) names_fail(store, code, err);
    return var;
}

/* The removal is published together with the loss of the content; then the name that still leads to the
 * variable has no meaning, and is deleted. */
int store_remove(store_var_t *var, const char *name, size_t length)
{
    store_ref_t ref;
    store_var_t names;
    store_key_t key;
    int         code = var->open ? (int)STORE_E_ARGUMENT : store_begin(var, STORE_FOREVER);
    if (code != STORE_OK) return code;
    if (var->id.type == STORE_HASH)
        code = hash_end_all(var);
    else if (var->id.type == STORE_ARRAY)
        code = array_end_all(var) == STORE_OK ? hash_end_all(var) : (int)STORE_E_DAMAGED;
    else {
        store_value_t undef = store_none(STORE_UNDEF);
        code                = store_scalar_put(var, &undef);
    }
    STORE_STORE(change_draft(var)->flags, STORE_FLAG_REMOVED);
    var->changed = true;
    if (code != STORE_OK) {
        store_abort(var);
        return code;
    }
    store_commit(var);
    if (name == NULL || !names_ref(var->space, &ref)) return STORE_OK;
    handle_internal(&names, var->space, &ref);
    key = store_key(var->space, name, (uint32_t)length, true);
    names_forget(&names, &key, &var->id); /* otherwise, the next process that looks for the name does it */
    return STORE_OK;
}

int store_names(store_t *store, store_name_fn *visit, void *context)
{
    store_ref_t   ref;
    store_var_t   names;
    store_look_t  look;
    store_error_t err;
    store_link_t  mark;
    uint64_t      i;
    int           code;
    if (!names_ref(store, &ref)) return STORE_OK;
    handle_internal(&names, store, &ref);
    if ((mark = mark_looks(store, &err)) == 0) return err.code;
    code = store_look(&names, true, &look);
    mark_looks_end(store, mark);
    if (code != STORE_OK) return code;
    for (i = 0; i < look.count; i++) {
        const store_value_t *key = &look.keys[i * look.stride], *value = &look.values[i * look.stride];
        store_glance_t       glance;
        const store_var_t   *var = value->kind == STORE_REF ? store_glance(&names, &value->number.ref, &glance) : NULL;
        if (var != NULL && !store_is_removed(var)) visit(key->text, key->length, &value->number.ref, context);
    }
    store_look_free(&look);
    return STORE_OK;
}

/* --- removing all ---------------------------------------------------------------------------- */

typedef struct store_removal {
    int64_t patience_ns;
} store_removal_t;

/* Remove it for the processes that have it. A variable that stays locked is freed with its last user. */
static void remove_variable(store_t *store, store_link_t link, void *context)
{
    const store_removal_t *removal  = (const store_removal_t *)context;
    int64_t                deadline = store_deadline(removal->patience_ns);
    store_ref_t            ref;
    store_var_t            var;
    int                    code;
    if (!record_pin(store, link, &ref)) return;
    handle_internal(&var, store, &ref);
    do code = store_begin(&var, deadline);
    while (code == STORE_INTERRUPTED);
    if (code == STORE_OK) {
        STORE_STORE(change_draft(&var)->flags, STORE_FLAG_REMOVED);
        var.changed = true;
        store_commit(&var);
    }
    record_unpin(store, &ref);
}

/* The file is removed first: processes that come later create a new one. Release: a process that sees
 * `closed` no longer finds the file. */
int store_remove_all(store_t *store, int64_t patience_ns)
{
    store_removal_t removal = { patience_ns };
    handles_adopt();
    __atomic_store_n(&store->header->closed, 1, __ATOMIC_RELEASE); /* pairs with store_is_closed() */
    space_unlink(store);
    row_each(store, STORE_ROW_VARIABLES, remove_variable, &removal);
    return STORE_OK;
}

/* --- what tools are told ------------------------------------------------------------------------ */

static void store_row_stats(store_t *store, uint32_t row, uint64_t *used, store_stats_t *stats)
{
    uint32_t part;
    *used = 0;
    for (part = 0; part < STORE_PARTS; part++) {
        pool_t *pool;
        if (__atomic_load_n(&store->header->parts[row][part], __ATOMIC_ACQUIRE) == 0) break; /* pairs with row_place() */
        if ((pool = row_open(store, row, part, false, NULL)) != NULL) *used += pool_used(pool);
    }
    stats->bytes_used += *used * store->row[row].size;
}

static void list_count(store_t *store, store_sight_t *sight, store_listed_t *one);

/* The variable of the names is not counted: it is this library's own. */
static void store_discount_names(store_t *store, store_stats_t *stats)
{
    store_listed_t names;
    store_sight_t  sight;
    memset(&names, 0, sizeof names);
    if (!names_ref(store, &names.ref)) return;
    list_count(store, &sight, &names);
    stats->variables--;
    stats->blocks -= names.blocks;
    stats->bytes_used -= names.bytes;
}

static void store_count_name(const char *name, size_t length, const store_ref_t *ref, void *context)
{
    (void)name;
    (void)length;
    (void)ref;
    ++*(uint64_t *)context;
}

void store_stats(store_t *store, store_stats_t *stats)
{
    char           file[4096];
    struct stat    st;
    struct statvfs fs;
    uint32_t       row;
    uint64_t       used;
    int            saved = errno;

    memset(stats, 0, sizeof *stats);
    store_row_stats(store, STORE_ROW_VARIABLES, &stats->variables, stats);
    store_row_stats(store, STORE_ROW_MARKS, &stats->attachments, stats);
    for (row = STORE_ROW_CELLS; row < store->rows; row++) {
        store_row_stats(store, row, &used, stats);
        stats->blocks += used;
    }
    store_discount_names(store, stats);
    store_names(store, store_count_name, &stats->named);
    stats->block_size = store->block_size;
    snprintf(file, sizeof file, "%s/namespace", store->path);
    if (stat(file, &st) == 0) stats->bytes_reserved = (uint64_t)st.st_blocks * 512;
    stats->bytes_total = stats->bytes_reserved + (statvfs(store->path, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : 0);
    errno              = saved;
}

/* The PIDs of the processes that use a variable, or have a read lock on it. */
typedef struct list_pids {
    uint64_t *pid;
    size_t    count, room;
} list_pids_t;

typedef struct list_entry {
    char       *name;
    size_t      name_length;
    list_pids_t attached, readers;
} list_entry_t;

typedef struct listing {
    store_t        *store;
    list_entry_t   *entry; /* by slot */
    uint64_t        capacity;
    store_visit_fn *visit;
    void           *context;
    bool            failed;
} listing_t;

static void list_add_pid(listing_t *listing, list_pids_t *pids, uint64_t pid)
{
    size_t i;
    for (i = 0; i < pids->count; i++)
        if (pids->pid[i] == pid) return;
    if (pids->count == pids->room) {
        size_t    room = pids->room * 2 + 2;
        uint64_t *more = (uint64_t *)realloc(pids->pid, room * sizeof *more);
        if (more == NULL) {
            listing->failed = true;
            return;
        }
        pids->pid  = more;
        pids->room = room;
    }
    pids->pid[pids->count++] = pid;
}

static list_entry_t *list_entry_of(const listing_t *listing, const store_ref_t *ref)
{
    const store_record_t *record = record_at(listing->store, ref->slot);
    if (record == NULL || ref->generation == 0 || ref->slot >= listing->capacity || STORE_LOAD(record->generation) != ref->generation)
        return NULL;
    return &listing->entry[ref->slot];
}

static void list_mark(store_t *store, store_link_t link, void *context)
{
    listing_t          *listing = (listing_t *)context;
    const store_mark_t *mark    = mark_at(store, link);
    store_ref_t         ref;
    list_entry_t       *entry;
    if (STORE_LOAD(mark->transit) != 0 || !mark_lives(store, link, &ref) || (entry = list_entry_of(listing, &ref)) == NULL) return;
    list_add_pid(listing, &entry->attached, row_owner(store, link) & POOL_I_PID_MASK);
    if (STORE_LOAD(mark->reading) != 0) list_add_pid(listing, &entry->readers, row_owner(store, link) & POOL_I_PID_MASK);
}

typedef struct {
    const store_var_t *var;
    uint64_t           owner;
} blocker_t;

static void blocker_mark(store_t *store, store_link_t link, void *context)
{
    blocker_t          *blocker = (blocker_t *)context;
    const store_mark_t *mark    = mark_at(store, link);
    store_ref_t         ref;
    if (STORE_LOAD(mark->reading) == 0 || !mark_lives(store, link, &ref)) return;
    if (ref.slot != blocker->var->id.slot || ref.generation != blocker->var->id.generation) return;
    if (!space_same_process(row_owner(store, link), space_me(store))) blocker->owner = row_owner(store, link);
}

uint64_t store_blocker(const store_var_t *var)
{
    blocker_t blocker = { var, 0 };
    uint64_t  holder  = STORE_LOAD(var->record->lock.holder);
    if (holder != 0 && !space_same_process(holder, space_me(var->space))) return holder & POOL_I_PID_MASK;
    row_each(var->space, STORE_ROW_MARKS, blocker_mark, &blocker);
    return blocker.owner & POOL_I_PID_MASK;
}

static void list_name(const char *name, size_t length, const store_ref_t *ref, void *context)
{
    listing_t    *listing = (listing_t *)context;
    list_entry_t *entry   = list_entry_of(listing, ref);
    if (entry == NULL || entry->name != NULL || (entry->name = (char *)malloc(length + 1)) == NULL) return;
    memcpy(entry->name, name, length);
    entry->name_length = length;
}

static void list_count_cell(store_t *store, store_link_t link, const store_cell_t *cell, void *context)
{
    store_listed_t *one = (store_listed_t *)context;
    if (cell == NULL) return;
    one->bytes += cell_bytes(store, link, cell);
    one->blocks += cell_pieces(store, link, cell);
}

/* The memory that the variable takes, as of one moment as far as possible. */
static void list_count(store_t *store, store_sight_t *sight, store_listed_t *one)
{
    store_var_t   var;
    store_error_t err;
    store_link_t  mark = mark_looks(store, &err);
    handle_internal(&var, store, &one->ref);
    var.is_glance = true;
    one->bytes    = sizeof(store_record_t);
    look_past_locks(var.record, sight);
    if (mark == 0) return; /* no room, not even after those of the dead are freed: its content is not counted */
    one->blocks = one->ref.type == STORE_HASH ? hash_pages(&var, sight) : one->ref.type == STORE_ARRAY ? array_pages(&var, sight) : 0;
    if (one->ref.type != STORE_SCALAR) hash_each(&var, sight, list_count_cell, one);
    if (one->ref.type == STORE_ARRAY) array_each(&var, sight, list_count_cell, one);
    if (one->ref.type == STORE_SCALAR) list_count_cell(store, sight->state.root, cell_at(store, sight->state.root), one);
    mark_looks_end(store, mark);
}

static void list_variable(store_t *store, store_link_t link, void *context)
{
    listing_t            *listing = (listing_t *)context;
    const store_record_t *record  = (const store_record_t *)row_ptr(store, link);
    store_listed_t        one;
    store_sight_t         sight;
    list_entry_t         *entry;
    store_ref_t           names;

    memset(&one, 0, sizeof one);
    one.ref.slot       = row_slot(link);
    one.ref.generation = STORE_LOAD(record->generation);
    one.ref.type       = STORE_LOAD(record->type);
    if (one.ref.generation == 0 || (entry = list_entry_of(listing, &one.ref)) == NULL) return;
    if (names_ref(store, &names) && names.slot == one.ref.slot) return;
    list_count(store, &sight, &one);
    one.elements       = one.ref.type == STORE_SCALAR ? 1 : sight.state.length;
    one.serial         = sight.serial;
    one.refs           = STORE_LOAD(record->count) >> 32;
    one.writer         = lock_writer(store, record) & POOL_I_PID_MASK;
    one.removed        = (sight.state.flags & STORE_FLAG_REMOVED) != 0;
    one.name           = entry->name;
    one.name_length    = entry->name_length;
    one.readers        = entry->readers.pid;
    one.reader_count   = entry->readers.count;
    one.attached       = entry->attached.pid;
    one.attached_count = entry->attached.count;
    listing->visit(&one, listing->context);
}

int store_list(store_t *store, store_visit_fn *visit, void *context)
{
    listing_t listing;
    uint64_t  slot;

    memset(&listing, 0, sizeof listing);
    listing.store    = store;
    listing.visit    = visit;
    listing.context  = context;
    listing.capacity = row_capacity(store, STORE_ROW_VARIABLES);
    listing.entry    = (list_entry_t *)calloc(listing.capacity + 1, sizeof *listing.entry);
    if (listing.entry == NULL) return STORE_E_SYSTEM;
    row_each(store, STORE_ROW_MARKS, list_mark, &listing);
    store_names(store, list_name, &listing);
    row_each(store, STORE_ROW_VARIABLES, list_variable, &listing);
    for (slot = 0; slot < listing.capacity; slot++) {
        free(listing.entry[slot].name);
        free(listing.entry[slot].attached.pid);
        free(listing.entry[slot].readers.pid);
    }
    free(listing.entry);
    return STORE_OK;
}
