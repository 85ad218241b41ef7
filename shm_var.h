/*
 * shm_var.h - this process's view of a shared variable: its handle and its
 * attachment.
 *
 * A handle belongs to one Perl object (the one behind `tied`), and one
 * interpreter. All handles of the process are in one table, so that a variable
 * is tied once however often it is referred to, and so that fork finds them.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_VAR_H
#define SHM_VAR_H

#include "shm_lock.h"
#include "shm_value.h"

#define SHM_TRANSIT_NS INT64_C(10000000000) /* how long a child has to take its attachments */
#define SHM_BUCKETS    4096u

typedef struct shm_var {
    /* Read by every fetch. */
    shm_record_t *record;
    SV           *cache; /* the native scalar, array or hash */
    shm_cursor_t  at;    /* what the cache reflects */
    bool          write_held, read_held;
    bool          removed;
    bool          frozen;    /* one operation is reading all of it: what it sees does not change meanwhile */
    bool          courteous; /* somebody waited when we last unlocked: let him go first */
    uint8_t       type;
    AV           *left; /* keys that an iteration has still to give; NULL: it goes through the cache */

    shm_space_t     *space;
    shm_id_t         id;
    uint64_t         attach;            /* slot, or SHM_NONE */
    uint64_t         child_attach;      /* between the two halves of a fork */
    uint64_t         attach_generation; /* of `attach`, while it is to be taken */
    bool             adopt;             /* this is a child that has not taken `attach` yet */
    char            *name;              /* sigil and full name, or NULL: anonymous */
    PerlInterpreter *perl;
    SV              *object;    /* not counted */
    HV              *stash;     /* of its class, as far as known; not counted */
    HV              *blessed;   /* the class that a stored reference last named; not counted */
    SV              *container; /* the tied variable, not counted; NULL: unknown or gone */
    bool             objects;   /* it, or what it refers to, was stored with objects in it */
    uint32_t         inner;     /* while cycles are looked for: references from caches, */
    bool             reached;   /* and whether anything else leads here */
    struct shm_var  *next, **link;
} shm_var_t;

static pthread_mutex_t shm_table_lock = PTHREAD_MUTEX_INITIALIZER;
static shm_var_t      *shm_table[SHM_BUCKETS];
static shm_space_t    *shm_spaces; /* open ones; shm_table_lock */

/* The interpreter, where there can be several; and whether this thread is one of
 * perl's, not of C. Without threads aTHX is no expression. */
#ifdef MULTIPLICITY
#define SHM_PERL     aTHX
#define SHM_HAS_PERL (aTHX != NULL)
#else
#define SHM_PERL     NULL
#define SHM_HAS_PERL true
#endif

/* --- the table -------------------------------------------------------- */

static uint32_t shm_bucket(shm_id_t id)
{
    return (uint32_t)((id.slot * UINT64_C(0x9e3779b97f4a7c15) + id.generation) >> 32) % SHM_BUCKETS;
}

static void shm_table_add(shm_var_t *var)
{
    shm_var_t **bucket = &shm_table[shm_bucket(var->id)];
    pthread_mutex_lock(&shm_table_lock);
    var->next = *bucket;
    var->link = bucket;
    if (var->next != NULL) var->next->link = &var->next;
    *bucket = var;
    pthread_mutex_unlock(&shm_table_lock);
}

static void shm_table_remove(shm_var_t *var)
{
    pthread_mutex_lock(&shm_table_lock);
    if (var->link != NULL) {
        *var->link = var->next;
        if (var->next != NULL) var->next->link = var->link;
        var->link = NULL;
    }
    pthread_mutex_unlock(&shm_table_lock);
}

/* This interpreter's handle of a variable, or NULL. */
static shm_var_t *shm_table_find(pTHX_ shm_space_t *space, shm_id_t id)
{
    shm_var_t *var;
    pthread_mutex_lock(&shm_table_lock);
    for (var = shm_table[shm_bucket(id)]; var != NULL; var = var->next)
        if (var->id.slot == id.slot && var->id.generation == id.generation && var->space == space && (void *)var->perl == (void *)SHM_PERL)
            break;
    pthread_mutex_unlock(&shm_table_lock);
    return var;
}

/* --- namespaces that are open ----------------------------------------- */

static void shm_space_release(shm_space_t *space)
{
    shm_space_t **link;
    pthread_mutex_lock(&shm_table_lock);
    if (--space->users == 0) {
        for (link = &shm_spaces; *link != NULL; link = &(*link)->next)
            if (*link == space) {
                *link = space->next;
                break;
            }
        pthread_mutex_unlock(&shm_table_lock);
        shm_space_free(space);
        return;
    }
    pthread_mutex_unlock(&shm_table_lock);
}

static shm_space_t *shm_space_retain(shm_space_t *space)
{
    pthread_mutex_lock(&shm_table_lock);
    space->users++;
    pthread_mutex_unlock(&shm_table_lock);
    return space;
}

/* The open namespace of this path that was not removed meanwhile, or NULL. */
static shm_space_t *shm_space_find(const char *path)
{
    shm_space_t *space;
    pthread_mutex_lock(&shm_table_lock);
    for (space = shm_spaces; space != NULL; space = space->next)
        if (strcmp(space->path, path) == 0 && space->super->closed == 0) {
            space->users++;
            break;
        }
    pthread_mutex_unlock(&shm_table_lock);
    return space;
}

static shm_space_t *shm_space_enlist(shm_space_t *space)
{
    pthread_mutex_lock(&shm_table_lock);
    space->users = 1;
    space->next  = shm_spaces;
    shm_spaces   = space;
    pthread_mutex_unlock(&shm_table_lock);
    return space;
}

/* --- attaching -------------------------------------------------------- */

/* A new attachment of this process; the registry lock is held. The count comes
 * first and goes last: who dies in between leaves it too large, not too small.
 * The generation is stored last, for without it (0) a slot number names nothing:
 * the release pairs with the acquire in shm_attached_to(). */
static uint64_t shm_attach_new(shm_space_t *space, shm_id_t id, int64_t transit, pool_error_t *err)
{
    shm_record_t *record = shm_record(space, id.slot);
    uint64_t      slot   = pool_grow_alloc(&space->attach, err);
    shm_attach_t *mark;

    if (slot == POOL_NONE) return SHM_NONE;
    record->refs++;
    mark           = (shm_attach_t *)pool_grow_ptr(&space->attach, slot);
    mark->transit  = (uint64_t)transit;
    mark->variable = id.slot;
    __atomic_store_n(&mark->generation, id.generation, __ATOMIC_RELEASE);
    return slot;
}

/* Is this attachment in transit to a child that may yet come? */
static bool shm_is_in_transit(pool_t *part, const shm_attach_t *mark, int64_t now)
{
    uint64_t child = (pool_i_me(part) & POOL_I_TAG_MASK) | mark->child;
    return mark->transit != 0 && now - (int64_t)mark->transit < SHM_TRANSIT_NS && (mark->child == 0 || !pool_owner_is_dead(part, child));
}

/* Is this attachment of a process that lives, or of a child that may yet come? */
static bool shm_is_attached(shm_space_t *space, uint64_t slot, int64_t now)
{
    const shm_attach_t *mark  = (const shm_attach_t *)pool_grow_ptr(&space->attach, slot);
    pool_t             *part  = pool_grow_have(&space->attach, slot);
    uint64_t            owner = pool_owner_word(part, pool_grow_index(slot));
    if (mark->transit != 0) return shm_is_in_transit(part, mark, now);
    return owner != 0 && !pool_owner_is_dead(part, owner);
}

static void shm_drop_ref(shm_space_t *space, shm_id_t id); /* shm_refs.h */

/* The registry lock is held. */
static void shm_detach(shm_space_t *space, shm_id_t id, uint64_t slot)
{
    if (slot == SHM_NONE) return;
    pool_grow_free(&space->attach, slot);
    shm_drop_ref(space, id);
}

/* This process is a child that has attachments to take. */
static bool shm_child;
static void shm_adopt(void); /* shm_fork.h */

/* --- handles ---------------------------------------------------------- */

static int shm_handle_free(pTHX_ SV *sv, MAGIC *mg);
static int shm_container_free(pTHX_ SV *sv, MAGIC *mg);
#ifdef USE_ITHREADS
static int shm_handle_dup(pTHX_ MAGIC *mg, CLONE_PARAMS *param);
static int shm_container_dup(pTHX_ MAGIC *mg, CLONE_PARAMS *param);
#else
#define shm_handle_dup    0
#define shm_container_dup 0
#endif

static MGVTBL shm_handle_vtbl = { 0, 0, 0, 0, shm_handle_free, 0, shm_handle_dup, 0 };
/* Not PERL_MAGIC_ext: bless() of a scalar with that stores the scalar. No variable
 * that can be shared has the magic of calls. */
#define SHM_MAGIC_CONTAINER PERL_MAGIC_checkcall

static MGVTBL shm_container_vtbl = { 0, 0, 0, 0, shm_container_free, 0, shm_container_dup, 0 };

/* The handle behind an object, or NULL. */
static inline shm_var_t *shm_handle_of(pTHX_ SV *object)
{
    MAGIC *mg;
    if (!SvROK(object) || SvTYPE(SvRV(object)) < SVt_PVMG) return NULL;
    for (mg = SvMAGIC(SvRV(object)); mg != NULL; mg = mg->mg_moremagic)
        if (mg->mg_virtual == &shm_handle_vtbl) return (shm_var_t *)(void *)mg->mg_ptr;
    return NULL;
}

/* The handle of a container that is tied to a shared variable, or NULL.
 * *foreign: it is tied to something else. */
static shm_var_t *shm_handle_of_container(pTHX_ SV *container, bool *foreign)
{
    MAGIC     *mg;
    shm_var_t *var = NULL;

    *foreign = false;
    if (SvTYPE(container) < SVt_PVMG || !SvMAGICAL(container)) return NULL;
    mg = mg_find(container, SvTYPE(container) == SVt_PVAV || SvTYPE(container) == SVt_PVHV ? PERL_MAGIC_tied : PERL_MAGIC_tiedscalar);
    if (mg == NULL) return NULL;
    if (mg->mg_obj != NULL) var = shm_handle_of(aTHX_ mg->mg_obj);
    *foreign = var == NULL;
    return var;
}

static SV *shm_new_cache(pTHX_ uint32_t type)
{
    return type == SHM_HASH ? (SV *)newHV() : type == SHM_ARRAY ? (SV *)newAV() : newSV(0);
}

static const char *const shm_classes[] = { "", "IPC::Shm::Scalar", "IPC::Shm::Array", "IPC::Shm::Hash" };

static void shm_cursor_reset(shm_cursor_t *at)
{
    at->serial = at->epoch = at->bytes = at->index = 0;
    at->block                                      = SHM_NONE;
}

/* A handle for a variable that `attach` is an attachment to. */
static shm_var_t *shm_handle_new(pTHX_ shm_space_t *space, shm_id_t id, uint32_t type, uint64_t attach)
{
    shm_var_t *var;
    Newxz(var, 1, shm_var_t);
    var->space        = shm_space_retain(space);
    var->id           = id;
    var->record       = shm_record(space, id.slot);
    var->type         = (uint8_t)type;
    var->attach       = attach;
    var->child_attach = SHM_NONE;
    var->perl         = (PerlInterpreter *)SHM_PERL;
    var->cache        = shm_new_cache(aTHX_ type);
    shm_cursor_reset(&var->at);
    var->at.serial = UINT64_MAX; /* not even the empty variable is known */
    shm_table_add(var);
    return var;
}

/* The object of a handle: made when it is first asked for. A counted reference. */
static SV *shm_object(pTHX_ shm_var_t *var)
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

static uint32_t shm_type_of(SV *target)
{
    return SvTYPE(target) == SVt_PVAV ? SHM_ARRAY : SvTYPE(target) == SVt_PVHV ? SHM_HASH : SHM_SCALAR;
}

static void shm_know_container(pTHX_ shm_var_t *var, SV *container)
{
    MAGIC *mg;
    if (var->container == container) return;
    if (var->container != NULL) sv_unmagicext(var->container, SHM_MAGIC_CONTAINER, &shm_container_vtbl);
    var->container = container;
    mg             = sv_magicext(container, NULL, SHM_MAGIC_CONTAINER, &shm_container_vtbl, (const char *)var, 0);
    mg->mg_flags |= MGf_DUP;
}

static void shm_quicken(pTHX_ SV *container); /* shm_access.h */

/* Tie a container (of the right type, not tied yet) to the variable. */
static void shm_tie(pTHX_ shm_var_t *var, SV *container)
{
    SV *object = shm_object(aTHX_ var);
    sv_magic(container, object, var->type == SHM_SCALAR ? PERL_MAGIC_tiedscalar : PERL_MAGIC_tied, NULL, 0);
    SvREFCNT_dec_NN(object);
    shm_quicken(aTHX_ container);
}

static int shm_container_free(pTHX_ SV *sv, MAGIC *mg)
{
    shm_var_t *var = (shm_var_t *)(void *)mg->mg_ptr;
    if (var != NULL && var->container == sv) var->container = NULL;
    mg->mg_ptr = NULL;
    return 0;
}

static inline shm_locker_t shm_locker(const shm_var_t *var)
{
    shm_locker_t locker;
    locker.space   = var->space;
    locker.record  = var->record;
    locker.id      = var->id;
    locker.attach  = var->attach;
    locker.reading = var->read_held;
    return locker;
}

static void shm_unlock_all(shm_var_t *var)
{
    shm_locker_t locker = shm_locker(var);
    if (var->write_held) {
        var->write_held = false;
        var->courteous  = __atomic_load_n(&var->record->lock.waiting, __ATOMIC_RELAXED) != 0;
        shm_include(var->record);
        shm_write_unlock(var->record);
    }
    if (var->read_held) {
        var->read_held = false;
        shm_read_unlock(&locker);
    }
}

/* Attachments of the dead are not attached; the registry lock is held. Not more
 * often than takes a tenth of the time. */
static void shm_reap(shm_space_t *space)
{
    static int64_t not_before;
    int64_t        now = pool_lock_now(), boot = shm_boottime();
    uint64_t       slot, owner, last = 0;
    bool           dead = false;

    if (now < __atomic_load_n(&not_before, __ATOMIC_RELAXED)) return;
    for (slot = pool_grow_next(&space->attach, 0); slot != POOL_NONE; slot = pool_grow_next(&space->attach, slot + 1)) {
        const shm_attach_t *mark = (const shm_attach_t *)pool_grow_ptr(&space->attach, slot);
        pool_t             *part = pool_grow_have(&space->attach, slot);
        shm_id_t            id   = shm_attached_to(mark);
        owner                    = pool_owner_word(part, pool_grow_index(slot));
        if (owner != last || mark->transit != 0) dead = !shm_is_attached(space, slot, boot);
        last = mark->transit != 0 ? 0 : owner;
        if (dead && pool_grow_free(&space->attach, slot)) shm_drop_ref(space, id);
    }
    __atomic_store_n(&not_before, now + 10 * (pool_lock_now() - now), __ATOMIC_RELAXED);
}

/* Release what the handle holds, and let go of the variable. */

static void shm_handle_release(pTHX_ shm_var_t *var)
{
    SV *cache = var->cache;
    dSAVE_ERRNO; /* a scope ends */

    shm_adopt();
    shm_unlock_all(var);
    shm_table_remove(var);
    if (var->container != NULL) {
        MAGIC *mg = mg_findext(var->container, SHM_MAGIC_CONTAINER, &shm_container_vtbl);
        if (mg != NULL) mg->mg_ptr = NULL;
        var->container = NULL;
    }
    if (var->attach != SHM_NONE) {
        shm_registry_lock(var->space);
        shm_detach(var->space, var->id, var->attach);
        if (var->name == NULL && shm_exists(var->space, var->id)) shm_reap(var->space);
        shm_registry_unlock(var->space);
        var->attach = SHM_NONE;
    }
    var->cache = NULL;
    SvREFCNT_dec(cache);
    SvREFCNT_dec(var->left);
    var->left = NULL;
    RESTORE_ERRNO;
}

static int shm_handle_free(pTHX_ SV *sv, MAGIC *mg)
{
    shm_var_t *var = (shm_var_t *)(void *)mg->mg_ptr;
    PERL_UNUSED_VAR(sv);
    if (var == NULL) return 0;
    mg->mg_ptr = NULL;
    if (var->cache != NULL) shm_handle_release(aTHX_ var);
    shm_space_release(var->space);
    Safefree(var->name);
    Safefree(var);
    return 0;
}

#ifdef USE_ITHREADS
/* A cloned interpreter has its own handle, attachment and, empty so far, cache. */
static int shm_handle_dup(pTHX_ MAGIC *mg, CLONE_PARAMS *param)
{
    shm_var_t   *old    = (shm_var_t *)(void *)mg->mg_ptr, *var;
    uint64_t     attach = SHM_NONE;
    pool_error_t err;

    mg->mg_ptr = NULL;
    if (old == NULL || old->cache == NULL) return 0;
    shm_registry_lock(old->space);
    if (shm_exists(old->space, old->id)) attach = shm_attach_new(old->space, old->id, 0, &err);
    shm_registry_unlock(old->space);
    var            = shm_handle_new(aTHX_ old->space, old->id, old->type, attach);
    var->name      = old->name != NULL ? savepv(old->name) : NULL;
    var->object    = old->object != NULL ? sv_dup(old->object, param) : NULL;
    var->container = old->container != NULL ? sv_dup(old->container, param) : NULL;
    mg->mg_ptr     = (char *)var;
    if (var->container != NULL && SvTYPE(var->container) >= SVt_PVMG) {
        MAGIC *known = mg_findext(var->container, SHM_MAGIC_CONTAINER, &shm_container_vtbl);
        /* A container that is just being cloned still has the old one's magic. */
        if (known != NULL && known != mg_findext(old->container, SHM_MAGIC_CONTAINER, &shm_container_vtbl)) known->mg_ptr = (char *)var;
    }
    return 0;
}

/* The container's magic is cloned before or after the object: found anew. */
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

#endif /* SHM_VAR_H */
