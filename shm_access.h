/*
 * shm_access.h - fetching and storing, element by element: what FETCH and STORE
 * do, and the short way from an operator of perl to them.
 *
 * THE SHORT WAY. For `$h{x}` perl makes a temporary with element magic and calls
 * its get function, which for a tied hash looks up the method FETCH and calls it:
 * that takes longer than all that FETCH does. A variable that is tied here has
 * the same magic (so `tied`, `untie` and all else find what they expect), but
 * with functions of its own for get, set and size, which do what the methods do.
 * An object that was blessed into another class has methods of its own: they are
 * called.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_ACCESS_H
#define SHM_ACCESS_H

#include "shm_move.h"

/* --- hashes --------------------------------------------------------------- */

/* The way to a value: bucket, entry, key and value, string. In a large hash each
 * step is a cache miss that has to wait for the one before. A store has other work
 * to do, and goes one step ahead between each two pieces of that. */
static inline void shm_ahead_bucket(const HV *hv, U32 hash)
{
    if (hv != NULL && HvARRAY(hv) != NULL) __builtin_prefetch(&HvARRAY(hv)[hash & HvMAX(hv)]);
}

static inline const HE *shm_ahead_entry(const HV *hv, U32 hash)
{
    const HE *entry = hash != 0 && hv != NULL && HvARRAY(hv) != NULL ? HvARRAY(hv)[hash & HvMAX(hv)] : NULL;
    __builtin_prefetch(entry);
    return entry;
}

static inline const HE *shm_ahead_value(const HE *entry, U32 hash)
{
    while (entry != NULL && HeHASH(entry) != hash) entry = HeNEXT(entry);
    if (entry != NULL) __builtin_prefetch(HeVAL(entry));
    return entry;
}

static inline void shm_ahead_string(const HE *entry)
{
    if (entry == NULL) return;
    __builtin_prefetch(SvANY(HeVAL(entry)));
    __builtin_prefetch(HeVAL(entry)->sv_u.svu_pv);
}

/* A key as text, good until the end of the statement. To find it may run the user's
 * code, so that is done once, and before anything is locked. An undefined key is the
 * empty one; perl has warned of it. */
static SV *shm_text_key(pTHX_ SV *key)
{
    STRLEN      length;
    const char *text;
    SvGETMAGIC(key);
    if (!SvOK(key)) return &PL_sv_no;
    text = SvPV_nomg_const(key, length);
    return newSVpvn_flags(text, length, SVs_TEMP | (SvUTF8(key) ? SVf_UTF8 : 0));
}

static inline SV *shm_key(pTHX_ SV *key)
{
    return POOL_LIKELY(SvOK(key) && !SvROK(key) && !SvGMAGICAL(key)) ? key : shm_text_key(aTHX_ key);
}

static SV *shm_hash_fetch(pTHX_ shm_var_t *var, SV *key)
{
    HE *entry;
    SV *value;
    key = shm_key(aTHX_ key);
    shm_refresh(aTHX_ var);
    do {
        entry = hv_fetch_ent((HV *)var->cache, key, 0, 0);
        value = entry != NULL ? shm_present(aTHX_ var, HeVAL(entry)) : &PL_sv_undef;
    } while (value == NULL);
    return value;
}

static bool shm_hash_exists(pTHX_ shm_var_t *var, SV *key)
{
    key = shm_key(aTHX_ key);
    shm_refresh(aTHX_ var);
    return cBOOL(hv_exists_ent((HV *)var->cache, key, 0));
}

/* Begin a record about a key that shm_key() returned. Returns the hash of the key;
 * 0: not known, for characters may be stored as bytes, with the hash of those. */
static U32 shm_key_record(pTHX_ enum shm_op op, SV *key, const shm_var_t *var)
{
    STRLEN      length;
    U32         hash = 0;
    const char *text;
    text = SvPV_const(key, length);
    if (length > I32_MAX / 2) croak("A key of %" UVuf " bytes is too long", (UV)length);
    if (!SvUTF8(key)) {
        PERL_HASH(hash, text, length);
        shm_ahead_bucket((const HV *)var->cache, hash);
    }
    shm_put_text(shm_new_record(op), text, length, cBOOL(SvUTF8(key)));
    return hash;
}

static void shm_hash_store(pTHX_ shm_var_t *var, SV *key, SV *value)
{
    const HE *entry;
    uint64_t  serial;
    U32       hash;
    value  = shm_ready(aTHX_ var, value);
    hash   = shm_key_record(aTHX_ SHM_SET, shm_key(aTHX_ key), var);
    entry  = shm_ahead_entry((const HV *)var->cache, hash);
    serial = var->at.serial;
    shm_encode(aTHX_ & shm_work.record, value);
    entry = shm_ahead_value(entry, hash);
    shm_begin(aTHX_ var);
    if (var->at.serial == serial) shm_ahead_string(entry); /* else the entry may be no more */
    shm_work.hash = hash;
    shm_write(aTHX_ var, &shm_work.record, NULL);
}

/* --- arrays ----------------------------------------------------------------- */

static IV shm_array_size(const shm_var_t *var)
{
    return AvFILLp((AV *)var->cache) + 1;
}

static SV *shm_array_fetch(pTHX_ shm_var_t *var, IV index)
{
    SV *value;
    shm_refresh(aTHX_ var);
    do {
        AV *av = (AV *)var->cache;
        value  = index >= 0 && index <= AvFILLp(av) && AvARRAY(av)[index] != NULL ? AvARRAY(av)[index] : &PL_sv_undef;
        if (value != &PL_sv_undef) value = shm_present(aTHX_ var, value);
    } while (value == NULL);
    return value;
}

static void shm_check_index(pTHX_ IV index)
{
    if (index < 0 || !shm_sane_length((uint64_t)index)) croak("An array index of %" IVdf " is out of range", index);
}

static void shm_array_store(pTHX_ shm_var_t *var, IV index, SV *value)
{
    shm_buffer_t *record;
    shm_check_index(aTHX_ index);
    value  = shm_ready(aTHX_ var, value);
    record = shm_new_record(SHM_SET);
    shm_put_varint(record, (uint64_t)index);
    shm_encode(aTHX_ record, value);
    shm_begin(aTHX_ var);
    shm_write(aTHX_ var, record, NULL);
}

/* --- scalars ------------------------------------------------------------------ */

static SV *shm_scalar_fetch(pTHX_ shm_var_t *var)
{
    SV *value;
    shm_refresh(aTHX_ var);
    while ((value = shm_present(aTHX_ var, var->cache)) == NULL) {}
    return value;
}

static void shm_scalar_store(pTHX_ shm_var_t *var, SV *value)
{
    shm_buffer_t *record;
    value  = shm_ready(aTHX_ var, value);
    record = shm_new_record(SHM_SET);
    shm_encode(aTHX_ record, value);
    shm_begin(aTHX_ var);
    shm_write(aTHX_ var, record, NULL);
}

/* --- the short way ------------------------------------------------------------- */

/* The variable that magic leads to, if its methods are ours; or NULL. */
static shm_var_t *shm_of_magic(pTHX_ const MAGIC *mg)
{
    shm_var_t *var = mg->mg_obj != NULL ? shm_handle_of(aTHX_ mg->mg_obj) : NULL;
    HV        *stash;
    if (var == NULL) return NULL;
    stash = SvSTASH(SvRV(mg->mg_obj));
    if (POOL_LIKELY(stash == var->stash)) return var;
    if (stash != gv_stashpv(shm_classes[var->type], 0)) return NULL;
    var->stash = stash; /* made by another way than shm_object(): cloned */
    return var;
}

static int shm_magic_get(pTHX_ SV *sv, MAGIC *mg)
{
    shm_var_t *var = shm_of_magic(aTHX_ mg);
    SV        *value;
    if (POOL_UNLIKELY(var == NULL)) return PL_vtbl_packelem.svt_get(aTHX_ sv, mg);
    if (var->type == SHM_SCALAR)
        value = shm_scalar_fetch(aTHX_ var);
    else {
        mg->mg_flags |= MGf_GSKIP; /* once is enough, as with any tied element */
        value = var->type == SHM_HASH ? shm_hash_fetch(aTHX_ var, (SV *)(void *)mg->mg_ptr) : shm_array_fetch(aTHX_ var, (IV)mg->mg_len);
    }
    sv_setsv(sv, value);
    return 0;
}

static int shm_magic_set(pTHX_ SV *sv, MAGIC *mg)
{
    shm_var_t *var = shm_of_magic(aTHX_ mg);
    if (POOL_UNLIKELY(var == NULL)) return PL_vtbl_packelem.svt_set(aTHX_ sv, mg);
    if (var->type == SHM_HASH)
        shm_hash_store(aTHX_ var, (SV *)(void *)mg->mg_ptr, sv);
    else if (var->type == SHM_ARRAY)
        shm_array_store(aTHX_ var, (IV)mg->mg_len, sv);
    else
        shm_scalar_store(aTHX_ var, sv);
    return 0;
}

/* The highest index of an array: what `$#a` and negative indices ask for. */
static U32 shm_magic_size(pTHX_ SV *sv, MAGIC *mg)
{
    shm_var_t *var = SvTYPE(sv) == SVt_PVAV ? shm_of_magic(aTHX_ mg) : NULL;
    if (POOL_UNLIKELY(var == NULL)) return PL_vtbl_pack.svt_len(aTHX_ sv, mg);
    shm_refresh(aTHX_ var);
    return (U32)(shm_array_size(var) - 1);
}

static MGVTBL shm_element_vtbl, shm_tied_vtbl;

/* A temporary `element` for an access to the tied container gets its magic. */
static int shm_magic_copy(pTHX_ SV *container, MAGIC *mg, SV *element, const char *key, I32 length)
{
    bool keyed = SvTYPE(container) == SVt_PVHV ? length == HEf_SVKEY && key != NULL : key == NULL;
    if (keyed && mg->mg_obj != NULL)
        sv_magicext(element, mg->mg_obj, PERL_MAGIC_tiedelem, &shm_element_vtbl, key, length);
    else
        sv_magic(element, SvTIED_obj(container, mg), PERL_MAGIC_tiedelem, key, length);
    return 1;
}

/* As perl's own, but for what is above. */
static void shm_magic_prepare(void)
{
    shm_element_vtbl         = PL_vtbl_packelem;
    shm_element_vtbl.svt_get = shm_magic_get;
    shm_element_vtbl.svt_set = shm_magic_set;
    shm_tied_vtbl            = PL_vtbl_pack;
    shm_tied_vtbl.svt_len    = shm_magic_size;
    shm_tied_vtbl.svt_copy   = shm_magic_copy;
}

/* A container is tied to one of our objects: let its magic take the short way. */
static void shm_quicken(pTHX_ SV *container)
{
    bool       scalar = shm_type_of(container) == SHM_SCALAR;
    MAGIC     *mg     = SvTYPE(container) >= SVt_PVMG ? mg_find(container, scalar ? PERL_MAGIC_tiedscalar : PERL_MAGIC_tied) : NULL;
    shm_var_t *var    = mg != NULL && mg->mg_obj != NULL ? shm_handle_of(aTHX_ mg->mg_obj) : NULL;
    if (var == NULL) return;
    mg->mg_virtual = scalar ? &shm_element_vtbl : &shm_tied_vtbl;
    if (!scalar) mg->mg_flags |= MGf_COPY;
    shm_know_container(aTHX_ var, container);
}

#endif /* SHM_ACCESS_H */
