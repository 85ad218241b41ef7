/*
 * shm_move.h - storing references: what they lead to becomes shared.
 *
 * The targets of a reference that is stored, and what those refer to in turn, are
 * found first; then each becomes a variable of its own and is tied to it, keeping
 * what it holds. All of them, or, where one cannot be shared or there is no room,
 * none.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_MOVE_H
#define SHM_MOVE_H

#include "shm_refs.h"

/* What is being moved into shared memory by one store. */
typedef struct shm_move {
    shm_space_t *space;
    AV          *targets; /* containers that are not shared yet */
    HV          *seen;    /* address -> reference to it, or to its writable double */
    bool         objects; /* some of them are blessed */
} shm_move_t;

static void shm_move_add(pTHX_ shm_move_t *move, SV *reference);

static void shm_cannot(pTHX_ const char *what) __attribute__((noreturn));
static void shm_cannot(pTHX_ const char *what)
{
    croak("Cannot share %s", what);
}

/* A value inside of what is stored: is it one that can be? */
static void shm_check_value(pTHX_ SV *sv)
{
    if (isGV_with_GP(sv)) shm_cannot(aTHX_ "a glob or filehandle");
    if (SvTYPE(sv) == SVt_REGEXP) shm_cannot(aTHX_ "a regular expression");
}

static void shm_check_container(pTHX_ SV *target)
{
    static const char special[] = { PERL_MAGIC_env,
                                    PERL_MAGIC_sig,
                                    PERL_MAGIC_isa,
                                    PERL_MAGIC_sv,
                                    PERL_MAGIC_regdata,
                                    PERL_MAGIC_hints,
                                    PERL_MAGIC_substr,
                                    PERL_MAGIC_vec,
                                    PERL_MAGIC_defelem,
                                    PERL_MAGIC_tiedelem,
                                    0 };
    const char       *type;
    MAGIC            *mg;

    switch (SvTYPE(target)) {
    case SVt_PVCV: shm_cannot(aTHX_ "code");
    case SVt_PVIO: shm_cannot(aTHX_ "a filehandle");
    case SVt_PVFM: shm_cannot(aTHX_ "a format");
    case SVt_REGEXP: shm_cannot(aTHX_ "a regular expression");
    case SVt_PVLV:
        if (!isGV_with_GP(target))
            shm_cannot(aTHX_ "a reference to a part of something (an element of a tied variable, substr, …)"); /* FALLTHROUGH */
    default:
        if (isGV_with_GP(target)) shm_cannot(aTHX_ "a glob or filehandle");
    }
    if (SvTYPE(target) < SVt_PVMG) return;
    for (mg = SvMAGIC(target); mg != NULL; mg = mg->mg_moremagic)
        for (type = special; type[0] != 0 || type == special + 3; type++)
            if (mg->mg_type == *type) shm_cannot(aTHX_ "a special variable of Perl's, or an element of a tied one");
    if ((SvTYPE(target) == SVt_PVHV || SvTYPE(target) == SVt_PVAV) && SvREADONLY(target)) shm_cannot(aTHX_ "a read-only array or hash");
}

static void shm_move_value(pTHX_ shm_move_t *move, SV *sv)
{
    if (sv == NULL || sv == &PL_sv_placeholder) return;
    SvGETMAGIC(sv);
    if (SvROK(sv))
        shm_move_add(aTHX_ move, sv);
    else
        shm_check_value(aTHX_ sv);
}

static void shm_move_content(pTHX_ shm_move_t *move, SV *target)
{
    if (SvTYPE(target) == SVt_PVAV) {
        SSize_t i;
        for (i = 0; i <= AvFILLp((AV *)target); i++) shm_move_value(aTHX_ move, AvARRAY((AV *)target)[i]);
    }
    else if (SvTYPE(target) == SVt_PVHV) {
        HE   **buckets = HvARRAY((HV *)target), *entry;
        STRLEN i, max = HvMAX((HV *)target);
        for (i = 0; buckets != NULL && i <= max; i++)
            for (entry = buckets[i]; entry != NULL; entry = HeNEXT(entry)) shm_move_value(aTHX_ move, HeVAL(entry));
    }
    else
        shm_move_value(aTHX_ move, target);
}

/* Note the target of a reference, unless it is shared already. A constant gets
 * a writable double. */
static void shm_move_add(pTHX_ shm_move_t *move, SV *reference)
{
    SV        *target = SvRV(reference), *known;
    bool       foreign;
    shm_var_t *var;

    if (hv_exists(move->seen, (const char *)&target, sizeof target)) return;
    var = shm_handle_of_container(aTHX_ target, &foreign);
    if (var != NULL && var->space != move->space) shm_cannot(aTHX_ "a reference to a variable of another namespace");
    if (foreign) shm_cannot(aTHX_ "a variable that is tied to something else");
    if (var == NULL) shm_check_container(aTHX_ target);
    known = var == NULL && SvREADONLY(target) ? newRV_noinc(newSVsv(target)) : newRV_inc(target);
    if (SvRV(known) != target && SvOBJECT(target)) sv_bless(known, SvSTASH(target));
    (void)hv_store(move->seen, (const char *)&target, sizeof target, known, 0);
    move->objects = move->objects || SvOBJECT(target) || (var != NULL && var->objects);
    if (var == NULL)
        av_push(move->targets, newRV_inc(SvRV(known)));
    else
        shm_know_container(aTHX_ var, target);
}

/* A copy of a value for the cache of a new variable. */
static SV *shm_move_copy(pTHX_ shm_move_t *move, SV *sv)
{
    SV **known;
    if (!SvROK(sv)) {
        SV *copy = newSV(0);
        sv_setsv_flags(copy, sv, SV_NOSTEAL);
        return copy;
    }
    sv    = SvRV(sv);
    known = hv_fetch(move->seen, (const char *)&sv, sizeof sv, 0);
    return newRV_inc(known != NULL ? SvRV(*known) : sv);
}

static void shm_move_cache(pTHX_ shm_move_t *move, shm_var_t *var, SV *target)
{
    if (var->type == SHM_ARRAY) {
        AV     *from = (AV *)target, *to = (AV *)var->cache;
        SSize_t i;
        if (AvFILLp(from) >= 0) shm_fill_array(aTHX_ to, (uint64_t)(AvFILLp(from) + 1));
        for (i = 0; i <= AvFILLp(from); i++)
            if (AvARRAY(from)[i] != NULL) AvARRAY(to)[i] = shm_move_copy(aTHX_ move, AvARRAY(from)[i]);
    }
    else if (var->type == SHM_HASH) {
        HV    *from = (HV *)target, *to = (HV *)var->cache;
        HE   **buckets = HvARRAY(from), *entry;
        STRLEN i, max = HvMAX(from);
        for (i = 0; buckets != NULL && i <= max; i++)
            for (entry = buckets[i]; entry != NULL; entry = HeNEXT(entry)) {
                I32 length = (I32)HeKLEN(entry);
                if (HeVAL(entry) == &PL_sv_placeholder) continue;
                (void)hv_store(to, HeKEY(entry), HeKUTF8(entry) ? -length : length, shm_move_copy(aTHX_ move, HeVAL(entry)), HeHASH(entry));
            }
    }
    else {
        SvREFCNT_dec(var->cache);
        var->cache = shm_move_copy(aTHX_ move, target);
    }
}

static void shm_note_added(pTHX_ SV *sv)
{
    bool       foreign;
    shm_var_t *var;
    if (sv == NULL || !SvROK(sv)) return;
    var = shm_handle_of_container(aTHX_ SvRV(sv), &foreign);
    if (var != NULL) shm_buffer_put(&shm_work.added, &var->id, sizeof var->id);
}

/* The first content of a new variable, from its cache. The registry lock is held. */
static bool shm_move_write(pTHX_ shm_var_t *var)
{
    shm_draft_t *draft = &shm_work.draft;
    shm_delta_t  delta = { 0, 0, 0 };

    shm_work.added.length = shm_work.dropped.length = 0;
    if (var->type == SHM_ARRAY) {
        SSize_t i;
        for (i = 0; i <= AvFILLp((AV *)var->cache); i++) shm_note_added(aTHX_ AvARRAY((AV *)var->cache)[i]);
        delta.elements = AvFILLp((AV *)var->cache) + 1;
    }
    else if (var->type == SHM_HASH) {
        HE *entry;
        hv_iterinit((HV *)var->cache);
        while ((entry = hv_iternext((HV *)var->cache)) != NULL) shm_note_added(aTHX_ HeVAL(entry));
        delta.elements = (int64_t)HvUSEDKEYS((HV *)var->cache);
    }
    else
        shm_note_added(aTHX_ var->cache);
    delta.standins = (int64_t)(shm_work.added.length / sizeof(shm_id_t));
    shm_draft_begin(var->record, draft);
    if (!shm_rewrite(aTHX_ var, false)) {
        shm_discard(var->space, draft);
        return false;
    }
    shm_take_refs(aTHX_ var->space, &shm_work.added);
    shm_work.added.length = 0;
    shm_finish(aTHX_ var, &delta);
    return true;
}

/* The container is empty behind its tie: what it held is in the cache. */
static void shm_empty_behind(pTHX_ SV *container)
{
    U32 magical = SvMAGICAL(container);
    SvMAGICAL_off(container);
    if (SvTYPE(container) == SVt_PVAV)
        av_clear((AV *)container);
    else if (SvTYPE(container) == SVt_PVHV)
        hv_clear((HV *)container);
    else
        sv_setsv(container, &PL_sv_undef);
    SvFLAGS(container) |= magical;
}

static void shm_untie(pTHX_ shm_var_t *var, SV *container)
{
    sv_unmagicext(container, SHM_MAGIC_CONTAINER, &shm_container_vtbl);
    sv_unmagic(container, var->type == SHM_SCALAR ? PERL_MAGIC_tiedscalar : PERL_MAGIC_tied);
}

/* Move all noted targets into variables of their own; all or none. */
static void shm_move_all(pTHX_ shm_move_t *move)
{
    SSize_t      i, tied = 0, count = av_len(move->targets) + 1;
    pool_error_t err;
    bool         ok = true;
    shm_var_t  **vars;
    shm_buffer_t dropped = shm_work.dropped; /* may be a batch's */

    memset(&shm_work.dropped, 0, sizeof dropped);
    Newx(vars, count, shm_var_t *);
    SAVEFREEPV(vars);
    for (; ok && tied < count; tied++) {
        SV *target = SvRV(*av_fetch(move->targets, tied, 0));
        vars[tied] = shm_open_variable(aTHX_ move->space, shm_type_of(target), NULL, 0, true, &err);
        if (vars[tied] == NULL) {
            ok = false;
            if (err.code == POOL_FULL) shm_fail(&err, POOL_FULL, 0, "was removed", move->space->path);
            break;
        }
        shm_move_cache(aTHX_ move, vars[tied], target);
        vars[tied]->objects = move->objects;
        shm_tie(aTHX_ vars[tied], target);
    }
    for (i = 0; ok && i < count; i++) {
        shm_registry_enter(move->space);
        ok = shm_move_write(aTHX_ vars[i]);
        shm_registry_leave(move->space);
        if (!ok) err = shm_work.draft.err;
    }
    for (i = 0; i < tied; i++) {
        SV *target = SvRV(*av_fetch(move->targets, i, 0));
        if (ok)
            shm_empty_behind(aTHX_ target);
        else
            shm_untie(aTHX_ vars[i], target);
    }
    shm_buffer_free(&shm_work.dropped);
    shm_work.dropped = dropped;
    if (!ok) shm_no_room(aTHX_ move->space, err.text);
}

/* Make a value of the user's ready to be stored: its magic is read, and what it
 * refers to is shared. May run the user's code; call it before anything is
 * encoded. Returns the value to store, good until the end of the statement. */
static SV *shm_ready(pTHX_ shm_var_t *var, SV *sv)
{
    shm_move_t move;
    SSize_t    i;
    bool       foreign;
    SV       **known, *target;

    SvGETMAGIC(sv);
    if (POOL_LIKELY(!SvROK(sv))) {
        if (POOL_UNLIKELY(SvTYPE(sv) >= SVt_REGEXP)) shm_check_value(aTHX_ sv);
        return sv;
    }
    target = SvRV(sv);
    if (!SvREADONLY(target)) {
        shm_var_t *known_var = shm_handle_of_container(aTHX_ target, &foreign);
        if (known_var != NULL && known_var->space == var->space) {
            var->objects = var->objects || known_var->objects || SvOBJECT(target);
            shm_know_container(aTHX_ known_var, target);
            return sv;
        }
    }
    ENTER;
    move.space   = var->space;
    move.objects = false;
    move.targets = (AV *)sv_2mortal((SV *)newAV());
    move.seen    = (HV *)sv_2mortal((SV *)newHV());
    shm_move_add(aTHX_ & move, sv);
    for (i = 0; i <= av_len(move.targets); i++) shm_move_content(aTHX_ & move, SvRV(*av_fetch(move.targets, i, 0)));
    var->objects = var->objects || move.objects;
    shm_move_all(aTHX_ & move);
    LEAVE;
    known = hv_fetch(move.seen, (const char *)&target, sizeof target, 0);
    return sv_2mortal(newRV_inc(known != NULL ? SvRV(*known) : target));
}

/* Write a value that shm_ready() returned into a record. Runs no code. */
static inline void shm_encode(pTHX_ shm_buffer_t *out, SV *sv)
{
    if (POOL_LIKELY(!SvROK(sv))) {
        shm_put_plain(aTHX_ out, sv);
        return;
    }
    shm_note_added(aTHX_ sv);
    shm_put_value(aTHX_ out, sv);
}

/* Begin to make a record. */
static inline shm_buffer_t *shm_new_record(enum shm_op op)
{
    shm_work.record.length = shm_work.added.length = 0;
    shm_work.record.failed                         = false;
    shm_put_byte(&shm_work.record, (uint8_t)op);
    return &shm_work.record;
}

#endif /* SHM_MOVE_H */
