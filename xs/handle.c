/* handle.c - handles, their table, and the containers that are tied to them: see shm.h. */
#include "shm.h"

#include <errno.h>
#include <pthread.h>

static int shm_handle_free(pTHX_ SV *sv, MAGIC *mg);
static int shm_container_free(pTHX_ SV *sv, MAGIC *mg);
#ifdef USE_ITHREADS
static int shm_handle_dup(pTHX_ MAGIC *mg, CLONE_PARAMS *param);
static int shm_container_dup(pTHX_ MAGIC *mg, CLONE_PARAMS *param);
#else
#define shm_handle_dup    0
#define shm_container_dup 0
#endif

MGVTBL shm_handle_vtbl    = { 0, 0, 0, 0, shm_handle_free, 0, shm_handle_dup, 0 };
MGVTBL shm_container_vtbl = { 0, 0, 0, 0, shm_container_free, 0, shm_container_dup, 0 };

/* --- the table -------------------------------------------------------------------- */

/* All handles of the process, so that a variable is tied once however often it is
 * referred to. It grows with their number. */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static shm_var_t     **table;
static size_t          table_size, table_used;

void shm_lock_table(void)
{
    pthread_mutex_lock(&table_lock);
}

void shm_unlock_table(void)
{
    pthread_mutex_unlock(&table_lock);
}

static size_t table_bucket(const store_ref_t *ref, size_t size)
{
    return (size_t)((ref->slot * UINT64_C(0x9e3779b97f4a7c15) + ref->generation) >> 32) & (size - 1);
}

static void table_put(shm_var_t **buckets, size_t size, shm_var_t *var)
{
    shm_var_t **bucket = &buckets[table_bucket(&var->id, size)];
    var->next          = *bucket;
    var->link          = bucket;
    if (var->next != NULL) var->next->link = &var->next;
    *bucket = var;
}

/* If there is no memory for a larger table, the chains get longer. */
static void table_grow(void)
{
    size_t      size = table_size != 0 ? table_size * 4 : 256, i;
    shm_var_t **more = (shm_var_t **)calloc(size, sizeof *more), *var, *next;
    if (more == NULL) return;
    for (i = 0; i < table_size; i++)
        for (var = table[i]; var != NULL; var = next) {
            next = var->next;
            table_put(more, size, var);
        }
    free(table);
    table      = more;
    table_size = size;
}

static bool table_add(shm_var_t *var)
{
    pthread_mutex_lock(&table_lock);
    if (table_used >= table_size) table_grow();
    if (table_size != 0) {
        table_put(table, table_size, var);
        table_used++;
    }
    pthread_mutex_unlock(&table_lock);
    return var->link != NULL;
}

static void table_remove(shm_var_t *var)
{
    pthread_mutex_lock(&table_lock);
    if (var->link != NULL) {
        *var->link = var->next;
        if (var->next != NULL) var->next->link = var->link;
        var->link = NULL;
        table_used--;
    }
    pthread_mutex_unlock(&table_lock);
}

shm_var_t *shm_find(pTHX_ store_t *store, const store_ref_t *ref)
{
    shm_var_t *var = NULL;
    PERL_UNUSED_CONTEXT;
    pthread_mutex_lock(&table_lock);
    if (table_size != 0)
        for (var = table[table_bucket(ref, table_size)]; var != NULL; var = var->next)
            if (var->id.slot == ref->slot && var->id.generation == ref->generation && var->store == store && var->perl == SHM_PERL) break;
    pthread_mutex_unlock(&table_lock);
    return var;
}

/* Takes over the references that scalars of this interpreter have fetched, as a mortal list, so that what
 * they lead to is freed while nobody holds the lock. */
void shm_drop_fetched(pTHX)
{
    AV        *list = (AV *)sv_2mortal((SV *)newAV());
    shm_var_t *var;
    size_t     i;
    pthread_mutex_lock(&table_lock);
    for (i = 0; i < table_size; i++)
        for (var = table[i]; var != NULL; var = var->next) {
            if (var->perl != SHM_PERL || var->type != STORE_SCALAR) continue;
            if (var->container != NULL && SvROK(var->container)) {
                av_push(list, newRV_inc(SvRV(var->container)));
                sv_unref(var->container);
            }
            if (var->value != NULL && SvROK(var->value)) {
                av_push(list, var->value);
                var->value = NULL;
            }
        }
    pthread_mutex_unlock(&table_lock);
}

/* --- exceptions ------------------------------------------------------------------------ */

static const char *shm_label(const shm_var_t *var)
{
    static const char *const labels[] = { "variable", "scalar", "array", "hash" };
    return var->name != NULL ? var->name : labels[var->type];
}

/* The process named in the message has a lock that this process waits for. */
static void shm_fail_deadlock(pTHX_ const shm_var_t *var) __attribute__((noreturn));
static void shm_fail_deadlock(pTHX_ const shm_var_t *var)
{
    unsigned long pid = var->var != NULL ? (unsigned long)store_blocker(var->var) : 0;
    if (pid == 0) croak("Deadlock on the shared %s: this process and another one would wait for each other for ever", shm_label(var));
    croak("Deadlock on the shared %s: this process and process %lu would wait for each other for ever", shm_label(var), pid);
}

void shm_fail(pTHX_ const shm_var_t *var, int code, const char *doing)
{
    if (!var->armed && var->var != NULL)
        store_abort(var->var); /* undo what a call has begun and cannot end; does nothing if no change is open */
    switch (code) {
    case STORE_E_REMOVED:
        if (store_is_closed(var->store)) croak("The shared %s was removed, with the namespace %s", shm_label(var), store_path(var->store));
        croak("The shared %s was removed", shm_label(var));
    case STORE_E_DAMAGED: croak("The shared %s is damaged: what is stored of it makes no sense", shm_label(var));
    case STORE_E_DETACHED:
        croak("The shared %s is gone: there was no room to attach this process to it when it was forked", shm_label(var));
    case STORE_E_DEADLOCK: shm_fail_deadlock(aTHX_ var);
    case STORE_E_NOSPC: croak("Cannot %s: no space left on the filesystem of %s", doing, store_path(var->store));
    case STORE_E_SYSTEM: croak("Cannot %s: out of memory", doing);
    default: croak("Cannot %s: %s", doing, store_strerror(code));
    }
}

/* --- signals ------------------------------------------------------------------------------ */

/* While get or set magic of a scalar is at work, or a hash or array is being emptied, perl has switched its magic
 * off: a handler that uses the same variable must find it shared. */
static U32 shm_magic_on(pTHX_ SV *container)
{
    U32 magic;
    PERL_UNUSED_CONTEXT;
    if (container == NULL) return 0;
    magic = SvFLAGS(container) & (SVs_GMG | SVs_SMG | SVs_RMG);
    SvFLAGS(container) |= SvTYPE(container) < SVt_PVAV ? SVs_GMG | SVs_SMG | SVs_RMG : SVs_RMG;
    return magic;
}

/* The iteration of a hash that waits within it: perl has one entry for that, which a handler that goes
 * through the same hash would free under it. */
typedef struct shm_iteration {
    HV  *hash;
    HE  *entry;
    I32  place;
    bool lazy;
} shm_iteration_t;

static void shm_iterate_on(pTHX_ void *at)
{
    const shm_iteration_t *kept = (const shm_iteration_t *)at;
    hv_iterinit(kept->hash); /* frees what a handler has left */
    HvEITER_set(kept->hash, kept->entry);
    HvRITER_set(kept->hash, kept->place);
    if (kept->lazy) HvLAZYDEL_on(kept->hash);
    SvREFCNT_dec_NN(kept->hash);
}

/* Until the scope ends, however it does. */
static void shm_keep_iteration(pTHX_ SV *container)
{
    shm_iteration_t *kept;
    if (container == NULL || SvTYPE(container) != SVt_PVHV || !SvOOK(container) || HvEITER_get((HV *)container) == NULL) return;
    Newx(kept, 1, shm_iteration_t);
    SAVEFREEPV(kept);
    kept->hash  = (HV *)SvREFCNT_inc_simple_NN(container);
    kept->entry = HvEITER_get(kept->hash);
    kept->place = HvRITER_get(kept->hash);
    kept->lazy  = HvLAZYDEL(kept->hash);
    HvEITER_set(kept->hash, NULL);
    HvLAZYDEL_off(kept->hash);
    SAVEDESTRUCTOR_X(shm_iterate_on, kept);
}

static void shm_keep_bytes(pTHX_ const char **bytes, size_t length)
{
    if (length > 0) *bytes = SvPVX_const(newSVpvn_flags(*bytes, (STRLEN)length, SVs_TEMP));
}

void shm_keep_loan(pTHX_ const shm_loan_t *loan)
{
    SSize_t i;
    if (loan == NULL) return;
    if (loan->key != NULL) shm_keep_bytes(aTHX_ & loan->key->bytes, loan->key->length);
    for (i = 0; i < loan->count; i++) shm_keep_bytes(aTHX_ & loan->values[i].text, (size_t)loan->values[i].length);
}

void shm_run_handlers(pTHX_ shm_var_t *var)
{
    SV *container = var->container;
    U32 magic;
    if (!PL_sig_pending) return;
    sv_2mortal(SvREFCNT_inc(var->object));
    magic = shm_magic_on(aTHX_ container);
    ENTER;
    shm_keep_iteration(aTHX_ container);
    if (var->armed > 0 && var->var != NULL && !store_is_open(var->var)) { /* what a handler stores is no part of what waits */
        save_I32((I32 *)&var->armed);
        var->armed = 0;
    }
    shm_handlers_now(aTHX);
    LEAVE;
    if (container != NULL && var->container == container)
        SvFLAGS(container) = (SvFLAGS(container) & ~(U32)(SVs_GMG | SVs_SMG | SVs_RMG)) | magic;
}

/* --- handles and objects -------------------------------------------------------------------- */

static const char *const shm_classes[] = { "", "IPC::Shm::Scalar", "IPC::Shm::Array", "IPC::Shm::Hash" };

shm_var_t *shm_self(pTHX_ SV *self, uint32_t type)
{
    shm_var_t *var = shm_handle_of(aTHX_ self);
    if (SHM_UNLIKELY(var == NULL)) {
        if (sv_isobject(self) && sv_derived_from(self, "IPC::Shm::Tied"))
            croak("Not an object of IPC::Shm, but a clone of one; to copy a shared variable call (tied ...)->copy");
        croak("Not an object of IPC::Shm");
    }
    if (SHM_UNLIKELY(type != 0 && var->type != type))
        croak("Not a shared %s", type == STORE_HASH ? "hash" : type == STORE_ARRAY ? "array" : "scalar");
    return var;
}

shm_var_t *shm_handle_of_container(pTHX_ SV *container, bool *foreign)
{
    MAGIC     *mg;
    shm_var_t *var = NULL;
    *foreign       = false;
    if (SvTYPE(container) < SVt_PVMG || !SvMAGICAL(container)) return NULL;
    mg = mg_find(container, SvTYPE(container) == SVt_PVAV || SvTYPE(container) == SVt_PVHV ? PERL_MAGIC_tied : PERL_MAGIC_tiedscalar);
    if (mg == NULL) return NULL;
    if (mg->mg_obj != NULL) var = shm_handle_of(aTHX_ mg->mg_obj);
    *foreign = var == NULL;
    return var;
}

static shm_var_t *shm_handle_new(pTHX_ store_var_t *var)
{
    shm_var_t *handle = (shm_var_t *)calloc(1, sizeof *handle);
    if (handle == NULL) {
        store_release(var);
        croak("Out of memory for a shared variable");
    }
    handle->var    = var;
    handle->id     = store_ref_of(var);
    handle->store  = store_retain(store_of(var));
    handle->type   = handle->id.type;
    handle->perl   = SHM_PERL;
    handle->serial = UINT64_MAX;
    if (!table_add(handle)) {
        store_release(var);
        store_close(handle->store);
        free(handle);
        croak("Out of memory for a shared variable");
    }
    return handle;
}

shm_var_t *shm_handle(pTHX_ store_var_t *var, const char *name, STRLEN length)
{
    store_ref_t id     = store_ref_of(var);
    shm_var_t  *handle = shm_find(aTHX_ store_of(var), &id);
    if (handle != NULL && handle->var != NULL)
        store_release(var);
    else
        handle = shm_handle_new(aTHX_ var);
    if (name != NULL && handle->name == NULL) handle->name = savepvn(name, length);
    return handle;
}

/* Made when it is first asked for. */
SV *shm_object(pTHX_ shm_var_t *var)
{
    SV    *object;
    MAGIC *mg;
    if (var->object != NULL) return newRV_inc(var->object);
    object = newSV_type(SVt_PVMG);
    mg     = sv_magicext(object, NULL, PERL_MAGIC_ext, &shm_handle_vtbl, (const char *)var, 0);
    mg->mg_flags |= MGf_DUP;
    var->object = object;
    var->stash  = gv_stashpv(shm_classes[var->type], GV_ADD);
    return sv_bless(newRV_noinc(object), var->stash);
}

uint32_t shm_type_of(SV *target)
{
    return SvTYPE(target) == SVt_PVAV ? STORE_ARRAY : SvTYPE(target) == SVt_PVHV ? STORE_HASH : STORE_SCALAR;
}

void shm_know_container(pTHX_ shm_var_t *var, SV *container)
{
    MAGIC *mg;
    if (var->container == container) return;
    if (var->container != NULL) sv_unmagicext(var->container, SHM_MAGIC_CONTAINER, &shm_container_vtbl);
    var->container = container;
    mg             = sv_magicext(container, NULL, SHM_MAGIC_CONTAINER, &shm_container_vtbl, (const char *)var, 0);
    mg->mg_flags |= MGf_DUP;
}

void shm_tie(pTHX_ shm_var_t *var, SV *container)
{
    SV *object = shm_object(aTHX_ var);
    sv_magic(container, object, var->type == STORE_SCALAR ? PERL_MAGIC_tiedscalar : PERL_MAGIC_tied, NULL, 0);
    SvREFCNT_dec_NN(object);
    shm_quicken(aTHX_ container);
}

void shm_untie(pTHX_ shm_var_t *var, SV *container)
{
    sv_unmagicext(container, SHM_MAGIC_CONTAINER, &shm_container_vtbl);
    sv_unmagic(container, var->type == STORE_SCALAR ? PERL_MAGIC_tiedscalar : PERL_MAGIC_tied);
}

SV *shm_reference(pTHX_ shm_var_t *var)
{
    SV    *container = var->container;
    MAGIC *mg        = container != NULL ? mg_find(container, var->type == STORE_SCALAR ? PERL_MAGIC_tiedscalar : PERL_MAGIC_tied) : NULL;
    if (mg != NULL && shm_handle_of(aTHX_ mg->mg_obj) == var) return newRV_inc(container); /* not untied meanwhile */
    container = var->type == STORE_HASH ? (SV *)newHV() : var->type == STORE_ARRAY ? (SV *)newAV() : newSV(0);
    shm_tie(aTHX_ var, container);
    var->fetched = true;
    return newRV_noinc(container);
}

static int shm_container_free(pTHX_ SV *sv, MAGIC *mg)
{
    shm_var_t *var = (shm_var_t *)(void *)mg->mg_ptr;
    PERL_UNUSED_CONTEXT;
    if (var != NULL && var->container == sv) var->container = NULL;
    mg->mg_ptr = NULL;
    return 0;
}

/* Locks are released, and an open change is undone. */
void shm_let_go(pTHX_ shm_var_t *var)
{
    dSAVE_ERRNO; /* a scope ends */
    table_remove(var);
    if (var->container != NULL) {
        MAGIC *mg = mg_findext(var->container, SHM_MAGIC_CONTAINER, &shm_container_vtbl);
        if (mg != NULL) mg->mg_ptr = NULL;
        var->container = NULL;
    }
    if (var->armed) shm_batch_forget();
    store_release(var->var);
    var->var = NULL;
    SvREFCNT_dec(var->value);
    var->value = NULL;
    shm_tend(aTHX); /* it may have been what led to an object */
    RESTORE_ERRNO;
}

static int shm_handle_free(pTHX_ SV *sv, MAGIC *mg)
{
    shm_var_t *var = (shm_var_t *)(void *)mg->mg_ptr;
    PERL_UNUSED_VAR(sv);
    if (var == NULL) return 0;
    mg->mg_ptr = NULL;
    if (var->var != NULL) shm_let_go(aTHX_ var);
    store_close(var->store);
    Safefree(var->name);
    free(var);
    return 0;
}

#ifdef USE_ITHREADS
/* A cloned interpreter gets a handle of its own, if possible. */
static int shm_handle_dup(pTHX_ MAGIC *mg, CLONE_PARAMS *param)
{
    shm_var_t    *old = (shm_var_t *)(void *)mg->mg_ptr, *var;
    store_var_t  *its;
    store_error_t err;

    mg->mg_ptr = NULL;
    if (old == NULL || old->var == NULL || (its = store_clone(old->var, &err)) == NULL) return 0;
    var            = shm_handle_new(aTHX_ its);
    var->name      = old->name != NULL ? savepv(old->name) : NULL;
    var->object    = old->object != NULL ? sv_dup(old->object, param) : NULL;
    var->container = old->container != NULL ? sv_dup(old->container, param) : NULL;
    mg->mg_ptr     = (char *)var;
    if (var->container != NULL && SvTYPE(var->container) >= SVt_PVMG) {
        MAGIC *known = mg_findext(var->container, SHM_MAGIC_CONTAINER, &shm_container_vtbl);
        /* A container that is being cloned still has the magic of the old one. */
        if (known != NULL && known != mg_findext(old->container, SHM_MAGIC_CONTAINER, &shm_container_vtbl)) known->mg_ptr = (char *)var;
    }
    return 0;
}

/* The container's magic may be cloned before or after the object: look it up again. */
static int shm_container_dup(pTHX_ MAGIC *mg, CLONE_PARAMS *param)
{
    shm_var_t *old = (shm_var_t *)(void *)mg->mg_ptr;
    mg->mg_ptr     = NULL;
    if (old != NULL && old->object != NULL) {
        SV    *object = sv_dup(old->object, param);
        MAGIC *handle = SvTYPE(object) >= SVt_PVMG ? mg_findext(object, PERL_MAGIC_ext, &shm_handle_vtbl) : NULL;
        if (handle != NULL) mg->mg_ptr = handle->mg_ptr;
    }
    return 0;
}
#endif
