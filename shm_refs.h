/*
 * shm_refs.h - variables that refer to variables: making them, finding them,
 * counting them, and freeing what nothing can reach.
 *
 * A variable's reference count is the number of its names, of stand-ins for it
 * in other variables, and of attachments. It changes under the registry lock
 * only, goes up before a reference is published and down after it is gone: a
 * death in between leaves it too large, never too small. recovery counts anew.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_REFS_H
#define SHM_REFS_H

#include "shm_journal.h"

/* --- making and freeing (the registry lock is held) ---------------------- */

/* A new, empty variable. It is nobody's at once; an attachment must follow. */
static bool shm_create(shm_space_t *space, uint32_t type, shm_id_t *id, pool_error_t *err)
{
    id->slot = pool_grow_alloc(&space->vars, err);
    if (id->slot == POOL_NONE) return false;
    id->generation                    = pool_grow_generation(&space->vars, id->slot);
    shm_record(space, id->slot)->type = type;
    pool_grow_disown(&space->vars, id->slot);
    return true;
}

/* Take the variable's blocks and slot away. First the slot becomes ours: who dies
 * here leaves it to recovery. The blocks go as those of an old chain do, after
 * nothing is published in its place: a record that outlives them must not lead to
 * blocks that are another variable's by the time that recovery looks. */
static void shm_destroy(shm_space_t *space, shm_id_t id)
{
    shm_draft_t nothing;
    memset(&nothing, 0, sizeof nothing);
    nothing.state.head = nothing.state.tail = SHM_NONE;
    nothing.state.removed                   = 1;
    pool_grow_adopt(&space->vars, id.slot);
    shm_publish(space, shm_record(space, id.slot), &nothing);
    pool_grow_free(&space->vars, id.slot);
}

/* A look at a variable without a handle: its content, in a copy. */
static bool shm_peek(pTHX_ shm_space_t *space, shm_id_t id, shm_var_t *peek)
{
    shm_buffer_t copy = shm_work.copy, dropped = shm_work.dropped;
    bool         ok = false;
    int          tries;

    memset(peek, 0, sizeof *peek);
    peek->space  = space;
    peek->id     = id;
    peek->record = shm_record(space, id.slot);
    peek->type   = (uint8_t)peek->record->type;
    if (peek->type < SHM_SCALAR || peek->type > SHM_HASH) return false;
    peek->cache = shm_new_cache(aTHX_ peek->type);
    memset(&shm_work.copy, 0, sizeof copy);
    memset(&shm_work.dropped, 0, sizeof dropped);
    for (tries = 0; !ok && tries < 1000; tries++) {
        shm_state_t  state;
        shm_cursor_t to;
        shm_delta_t  ignored = { 0, 0, 0 };
        bool         reload, damaged;
        shm_cursor_reset(&peek->at);
        peek->at.serial = UINT64_MAX;
        if (shm_fetch_news(peek, &state, &to, &reload, &damaged))
            ok = shm_apply(aTHX_ peek, shm_work.copy.data, shm_work.copy.length, NULL, &ignored);
        if (damaged) break;
    }
    shm_buffer_free(&shm_work.copy);
    shm_buffer_free(&shm_work.dropped);
    shm_work.copy    = copy;
    shm_work.dropped = dropped;
    return ok;
}

static void shm_collect(shm_buffer_t *ids, SV *sv)
{
    shm_standin_t standin;
    if (sv == NULL || !shm_is_standin(sv)) return;
    shm_standin_of(sv, &standin);
    shm_buffer_put(ids, &standin.id, sizeof standin.id);
}

/* The variables that a variable refers to, onto `ids`. False: it could not be read. */
static bool shm_references(pTHX_ shm_space_t *space, shm_id_t id, shm_buffer_t *ids)
{
    shm_record_t *record = shm_record(space, id.slot);
    shm_var_t     peek;
    bool          ok;

    if (record->state[0].standins == 0 && record->state[1].standins == 0) return true;
    ok = shm_peek(aTHX_ space, id, &peek);
    if (ok && peek.type == SHM_SCALAR)
        shm_collect(ids, peek.cache);
    else if (ok && peek.type == SHM_ARRAY) {
        SSize_t i;
        for (i = 0; i <= AvFILLp((AV *)peek.cache); i++) shm_collect(ids, AvARRAY((AV *)peek.cache)[i]);
    }
    else if (ok) {
        HE *entry;
        hv_iterinit((HV *)peek.cache);
        while ((entry = hv_iternext((HV *)peek.cache)) != NULL) shm_collect(ids, HeVAL(entry));
    }
    SvREFCNT_dec(peek.cache);
    return ok;
}

/* One reference less; whatever nothing refers to any more is freed, and so on. */
static void shm_drop_refs(shm_space_t *space, shm_buffer_t *ids)
{
    shm_buffer_t work = *ids; /* not shm_work's, which is used below */
    dTHX;

    memset(ids, 0, sizeof *ids);
    while (work.length >= sizeof(shm_id_t)) {
        shm_id_t      id;
        shm_record_t *record;
        work.length -= sizeof id;
        memcpy(&id, work.data + work.length, sizeof id);
        if (!shm_exists(space, id)) continue;
        record = shm_record(space, id.slot);
        if (record->refs > 0 && --record->refs > 0) continue;
        if (!shm_references(aTHX_ space, id, &work)) continue;
        shm_destroy(space, id);
    }
    shm_buffer_free(ids);
    work.length = 0;
    *ids        = work;
}

static void shm_drop_ref(shm_space_t *space, shm_id_t id)
{
    shm_buffer_t one = { NULL, 0, 0, false };
    shm_buffer_put(&one, &id, sizeof id);
    shm_drop_refs(space, &one);
    shm_buffer_free(&one);
}

static void shm_take_refs(pTHX_ shm_space_t *space, const shm_buffer_t *ids)
{
    size_t   i;
    shm_id_t id;
    PERL_UNUSED_CONTEXT;
    for (i = 0; i < ids->length; i += sizeof id) {
        memcpy(&id, ids->data + i, sizeof id);
        if (shm_exists(space, id)) shm_record(space, id.slot)->refs++; /* not if a signal handler let it go meanwhile */
    }
}

/* --- names (the registry lock is held) ----------------------------------- */

/* The name in a slot; NULL: it was not published, and never will be, for its maker
 * died first; recovery frees the slot. The acquire in pool_is_allocated() pairs
 * with pool_disown() in shm_add_name(). */
static const shm_name_t *shm_name_at(shm_space_t *space, uint64_t slot)
{
    pool_t  *part  = pool_grow_have(&space->names, slot);
    uint64_t index = pool_grow_index(slot);
    if (part == NULL || pool_owner_word(part, index) != POOL_I_NOBODY || !pool_is_allocated(part, index)) return NULL;
    return (const shm_name_t *)pool_ptr(part, index);
}

/* The slot of a name, or SHM_NONE. */
static uint64_t shm_find_name(shm_space_t *space, const char *text, size_t length)
{
    uint64_t slot;
    for (slot = pool_grow_next(&space->names, 0); slot != POOL_NONE; slot = pool_grow_next(&space->names, slot + 1)) {
        const shm_name_t *name = shm_name_at(space, slot);
        if (name != NULL && name->length == length && memcmp(name->text, text, length) == 0) return slot;
    }
    return SHM_NONE;
}

/* Name a new variable. Making the slot nobody's publishes the name. */
static bool shm_add_name(shm_space_t *space, const char *text, size_t length, shm_id_t id, pool_error_t *err)
{
    uint64_t    slot = pool_grow_alloc(&space->names, err);
    shm_name_t *name;
    if (slot == POOL_NONE) return false;
    name             = (shm_name_t *)pool_grow_ptr(&space->names, slot);
    name->variable   = id.slot;
    name->generation = id.generation;
    memcpy(name->text, text, length);
    name->length = (uint32_t)length;
    shm_record(space, id.slot)->refs++;
    shm_record(space, id.slot)->named = 1;
    pool_grow_disown(&space->names, slot);
    return true;
}

/* --- attaching ----------------------------------------------------------- */

/* The handle of a variable, which is found or, with `create`, made, and attached to
 * unless this interpreter has it already. name == NULL: a new, anonymous one. NULL
 * with *err filled; POOL_FULL: the namespace was removed meanwhile; POOL_OK: there is
 * none of that name. */
static shm_var_t *shm_open_variable(pTHX_ shm_space_t *space, uint32_t type, const char *name, size_t length, bool create,
                                    pool_error_t *err)
{
    shm_id_t   id   = { SHM_NONE, 0 };
    uint64_t   slot = SHM_NONE, attach = SHM_NONE;
    bool       ok = true, made = false;
    shm_var_t *var = NULL;

    err->code = POOL_FULL;
    shm_registry_lock(space);
    if (space->super->closed == 0 && shm_sees_all(space, err)) {
        if (name != NULL && (slot = shm_find_name(space, name, length)) != SHM_NONE) {
            const shm_name_t *found = (const shm_name_t *)pool_grow_ptr(&space->names, slot);
            id.slot                 = found->variable;
            id.generation           = found->generation;
            if (!shm_exists(space, id) || shm_record(space, id.slot)->type != type)
                ok = shm_fail(err, POOL_E_INVALID, 0, "is damaged: a name leads to no variable", space->path);
        }
        else if (create)
            ok = made = shm_create(space, type, &id, err);
        else {
            ok        = false;
            err->code = POOL_OK;
        }
        if (ok) attach = shm_attach_new(space, id, 0, err);
        if (attach != SHM_NONE && made && name != NULL && !shm_add_name(space, name, length, id, err)) {
            shm_detach(space, id, attach); /* which destroys it */
            attach = SHM_NONE;
        }
        else if (attach == SHM_NONE && made)
            shm_destroy(space, id);
    }
    shm_registry_unlock(space);
    if (attach == SHM_NONE) return NULL;
    /* Not above: fork takes the lock of the table before that of the registry. A
     * handle of ours is attached, and no other thread frees it. */
    if (!made) var = shm_table_find(aTHX_ space, id);
    if (var == NULL)
        var = shm_handle_new(aTHX_ space, id, type, attach);
    else {
        shm_registry_lock(space);
        shm_detach(space, id, attach);
        shm_registry_unlock(space);
    }
    if (name != NULL && var->name == NULL) var->name = savepvn(name, length);
    return var;
}

/* Attach to a variable that something refers to. NULL: it is gone, or *err. */
static shm_var_t *shm_attach_to(pTHX_ shm_space_t *space, shm_id_t id, uint32_t type, pool_error_t *err)
{
    uint64_t attach = SHM_NONE;
    err->code       = POOL_FULL;
    shm_registry_lock(space);
    if (shm_exists(space, id) && shm_record(space, id.slot)->type == type) attach = shm_attach_new(space, id, 0, err);
    shm_registry_unlock(space);
    return attach == SHM_NONE ? NULL : shm_handle_new(aTHX_ space, id, type, attach);
}

/* --- fetching references -------------------------------------------------- */

/* The container tied to a variable in this process, as a counted reference. */
static SV *shm_reference(pTHX_ shm_var_t *var)
{
    SV    *container = var->container;
    MAGIC *mg        = container != NULL ? mg_find(container, var->type == SHM_SCALAR ? PERL_MAGIC_tiedscalar : PERL_MAGIC_tied) : NULL;
    if (mg != NULL && shm_handle_of(aTHX_ mg->mg_obj) == var) return newRV_inc(container); /* not untied meanwhile */
    container = shm_new_cache(aTHX_ var->type);
    shm_tie(aTHX_ var, container);
    return newRV_noinc(container);
}

/* Bless what a stored reference leads to into the class that was stored with it. What
 * the program has blessed anew meanwhile stays, until a reference says something new. */
static void shm_bless(pTHX_ shm_var_t *var, SV *reference, const shm_standin_t *standin)
{
    HV *stash = gv_stashpvn(standin->class_name, (U32)standin->class_length, GV_ADD | (standin->class_utf8 ? SVf_UTF8 : 0));
    if (stash != var->blessed || !SvOBJECT(SvRV(reference))) sv_bless(reference, stash);
    var->blessed = stash;
}

/* Let a stand-in in the copy become a reference. False: what it stands for is
 * gone (err->code is POOL_FULL), so the copy must be out of date; or an error. */
static bool shm_resolve(pTHX_ shm_var_t *var, SV *sv, pool_error_t *err)
{
    shm_standin_t standin;
    shm_var_t    *target;
    SV           *reference;

    shm_standin_of(sv, &standin);
    target = shm_table_find(aTHX_ var->space, standin.id);
    if (target == NULL && (target = shm_attach_to(aTHX_ var->space, standin.id, standin.type, err)) == NULL) return false;
    reference = shm_reference(aTHX_ target);
    if (standin.class_length > 0) shm_bless(aTHX_ target, reference, &standin);
    sv_unmagicext(sv, PERL_MAGIC_ext, &shm_standin_vtbl);
    sv_setsv(sv, reference);
    SvREFCNT_dec_NN(reference);
    return true;
}

/* An object that this process has, and that the copy refers to, is not let go, nor is
 * what leads to it: its destructor would run. A stand-in that may be one is noted, and
 * becomes a reference when the registry lock is not held any more. */
static void shm_note_kept(pTHX_ const shm_var_t *var, SV *sv)
{
    shm_standin_t standin;
    PERL_UNUSED_CONTEXT;
    shm_standin_of(sv, &standin);
    if (standin.class_length == 0 && !var->objects) return;
    shm_buffer_put(&shm_work.kept, &sv, sizeof sv);
    if (!shm_work.kept.failed) SvREFCNT_inc_simple_void_NN(sv);
}

static void shm_keep_object(pTHX_ shm_var_t *var, SV *sv)
{
    shm_standin_t standin;
    shm_var_t    *target;
    pool_error_t  err;
    if (SvREFCNT(sv) == 1 || !shm_is_standin(sv)) return; /* the copy has let it go again */
    shm_standin_of(sv, &standin);
    target = shm_table_find(aTHX_ var->space, standin.id);
    if (target != NULL && target->container != NULL && (target->objects || SvOBJECT(target->container))) shm_resolve(aTHX_ var, sv, &err);
}

static void shm_keep_objects(pTHX_ shm_var_t *var)
{
    size_t i;
    for (i = 0; i < shm_work.kept.length; i += sizeof(SV *)) {
        SV *sv;
        memcpy(&sv, shm_work.kept.data + i, sizeof sv);
        shm_keep_object(aTHX_ var, sv);
        SvREFCNT_dec_NN(sv);
    }
    shm_work.kept.length = 0;
    shm_work.kept.failed = false;
}

/* A value of the copy, ready for the user; NULL: it has to be looked up again,
 * because it led to a variable that is gone. Acquire pairs with shm_publish(). */
static inline SV *shm_present(pTHX_ shm_var_t *var, SV *sv)
{
    pool_error_t err;
    if (POOL_LIKELY(SvTYPE(sv) < SVt_PVMG || !shm_is_standin(sv))) return sv;
    if (shm_resolve(aTHX_ var, sv, &err)) {
        if (SvTYPE(SvRV(sv)) < SVt_PVAV) SvGETMAGIC(SvRV(sv)); /* a scalar that holds a reference shows it: ref() says REF */
        return sv;
    }
    if (err.code != POOL_FULL) croak("Cannot attach: %s", err.text);
    if (__atomic_load_n(&var->record->serial, __ATOMIC_ACQUIRE) == var->at.serial || var == shm_work.batch || var->frozen)
        return &PL_sv_undef; /* a damaged namespace */
    shm_refresh(aTHX_ var);
    return NULL;
}

#endif /* SHM_REFS_H */
