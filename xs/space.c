/* space.c - namespaces as objects, and what is said of what is in them: see shm.h. */
#include "shm.h"

/* --- the object of an open namespace ---------------------------------------------- */

static int shm_space_free(pTHX_ SV *sv, MAGIC *mg)
{
    PERL_UNUSED_CONTEXT;
    PERL_UNUSED_VAR(sv);
    store_close((store_t *)(void *)mg->mg_ptr);
    mg->mg_ptr = NULL;
    return 0;
}

static int shm_space_dup(pTHX_ MAGIC *mg, CLONE_PARAMS *param)
{
    PERL_UNUSED_CONTEXT;
    PERL_UNUSED_VAR(param);
    if (mg->mg_ptr != NULL) store_retain((store_t *)(void *)mg->mg_ptr);
    return 0;
}

static MGVTBL shm_space_vtbl = { 0, 0, 0, 0, shm_space_free, 0, shm_space_dup, 0 };

store_t *shm_space_of(pTHX_ SV *object)
{
    MAGIC *mg = SvROK(object) && SvTYPE(SvRV(object)) >= SVt_PVMG ? mg_findext(SvRV(object), PERL_MAGIC_ext, &shm_space_vtbl) : NULL;
    PERL_UNUSED_CONTEXT;
    if (mg == NULL || mg->mg_ptr == NULL) croak("Not an open namespace of IPC::Shm");
    return (store_t *)(void *)mg->mg_ptr;
}

/* Also free what dead processes have left in it. */
SV *shm_space_object(pTHX_ const char *path, const store_options_t *options)
{
    store_error_t err;
    store_t      *store = store_open(path, options, &err);
    SV           *object;
    MAGIC        *mg;
    if (store == NULL) croak("%s", err.text);
    object = newSV_type(SVt_PVMG);
    mg     = sv_magicext(object, NULL, PERL_MAGIC_ext, &shm_space_vtbl, (const char *)store, 0);
    mg->mg_flags |= MGf_DUP;
    if (store_has_dead(store)) store_recover(store);
    return newRV_noinc(object);
}

/* --- variables ---------------------------------------------------------------------- */

static void shm_run_pending(pTHX)
{
    shm_handlers_now(aTHX);
}

SV *shm_space_variable(pTHX_ store_t *store, uint32_t type, SV *name, bool create)
{
    store_error_t err;
    const char   *text   = NULL;
    STRLEN        length = 0;
    store_var_t  *var;

    if (type < STORE_SCALAR || type > STORE_HASH) croak("Unknown type of variable");
    if (SvOK(name)) {
        text = SvPVutf8(name, length);
        if (length > STORE_NAME_MAX && !create) return newSV(0);
        if (length > STORE_NAME_MAX) croak("The name of a shared variable is too long: %" UVuf " bytes", (UV)length);
    }
    for (;;) {
        var = text != NULL ? store_declare(store, type, text, length, create, &err) : store_new(store, type, &err);
        if (var != NULL || err.code != STORE_INTERRUPTED) break;
        shm_run_pending(aTHX);
    }
    if (var == NULL && (err.code == STORE_ABSENT || err.code == STORE_E_CLOSED)) return newSV(0);
    if (var == NULL) croak("Cannot %s a shared variable: %s", create ? "create" : "open", err.text);
    return shm_object(aTHX_ shm_handle(aTHX_ var, text, length));
}

void shm_remove(pTHX_ shm_var_t *var)
{
    int code;
    if (store_is_open(shm_store_of(aTHX_ var))) croak("A change of this variable is open: it cannot be removed");
    SHM_UNINTERRUPTED(var, code, store_remove(var->var, var->name, var->name != NULL ? strlen(var->name) : 0));
    if (code != STORE_OK) shm_fail(aTHX_ var, code, "remove");
    store_unlock_write(var->var);
    store_unlock_read(var->var);
}

/* --- names ---------------------------------------------------------------------------- */

static void shm_push_name(const char *name, size_t length, const store_ref_t *ref, void *context)
{
    dTHX;
    SV *sv = newSVpvn(name, length);
    PERL_UNUSED_VAR(ref);
    sv_utf8_decode(sv);
    av_push((AV *)context, sv);
}

static void shm_push_list(pTHX_ AV *list)
{
    SSize_t i, count = av_len(list) + 1;
    dSP;
    EXTEND(SP, count);
    for (i = 0; i < count; i++) PUSHs(sv_2mortal(SvREFCNT_inc_NN(AvARRAY(list)[i])));
    PUTBACK;
}

void shm_space_names(pTHX_ store_t *store)
{
    AV *list = (AV *)sv_2mortal((SV *)newAV());
    int code;
    while ((code = store_names(store, shm_push_name, list)) == STORE_INTERRUPTED) shm_run_pending(aTHX);
    if (code != STORE_OK) croak("Cannot read the names of %s: %s", store_path(store), store_strerror(code));
    shm_push_list(aTHX_ list);
}

/* The name of the package variable, or NULL if this is a lexical. If several names lead to it (an alias),
 * the first one in alphabetical order, so that all programs agree. */
static GV *shm_find_glob(pTHX_ SV *target, HV *stash)
{
    HE   **buckets = HvARRAY(stash), *entry;
    STRLEN i, max = HvMAX(stash);
    GV    *found = NULL;
    PERL_UNUSED_CONTEXT;
    for (i = 0; buckets != NULL && i <= max; i++)
        for (entry = buckets[i]; entry != NULL; entry = HeNEXT(entry)) {
            GV *gv = (GV *)HeVAL(entry);
            if (gv == NULL || SvTYPE((SV *)gv) != SVt_PVGV || !isGV_with_GP(gv)) continue;
            if ((SV *)GvSV(gv) != target && (SV *)GvAV(gv) != target && (SV *)GvHV(gv) != target) continue;
            if (found == NULL || strcmp(GvNAME(gv), GvNAME(found)) < 0) found = gv;
        }
    return found;
}

SV *shm_find_name(pTHX_ SV *reference, SV *package)
{
    HV *stash = gv_stashsv(package, 0);
    GV *gv    = stash != NULL && SvROK(reference) ? shm_find_glob(aTHX_ SvRV(reference), stash) : NULL;
    return gv != NULL ? newSVhek(GvNAME_HEK(gv)) : newSV(0);
}

/* --- lists and statistics ---------------------------------------------------------------- */

static void shm_set(pTHX_ HV *hv, const char *key, SV *value)
{
    (void)hv_store(hv, key, (I32)strlen(key), value, 0);
}

static SV *shm_pids(pTHX_ const uint64_t *pid, size_t count)
{
    AV    *list = newAV();
    size_t i;
    for (i = 0; i < count; i++) av_push(list, newSVuv((UV)pid[i]));
    return newRV_noinc((SV *)list);
}

static void shm_push_listed(const store_listed_t *one, void *context)
{
    static const char *const types[] = { "UNKNOWN", "SCALAR", "ARRAY", "HASH" };
    dTHX;
    HV *hv   = newHV();
    SV *name = newSV(0);
    if (one->name != NULL) {
        sv_setpvn(name, one->name, one->name_length);
        sv_utf8_decode(name);
    }
    shm_set(aTHX_ hv, "name", name);
    shm_set(aTHX_ hv, "type", newSVpv(types[one->ref.type <= STORE_HASH ? one->ref.type : 0], 0));
    shm_set(aTHX_ hv, "elements", newSVuv((UV)one->elements));
    shm_set(aTHX_ hv, "bytes", newSVuv((UV)one->bytes));
    shm_set(aTHX_ hv, "blocks", newSVuv((UV)one->blocks));
    shm_set(aTHX_ hv, "serial", newSVuv((UV)one->serial));
    shm_set(aTHX_ hv, "refs", newSVuv((UV)one->refs));
    shm_set(aTHX_ hv, "removed", newSVuv(one->removed ? 1 : 0));
    shm_set(aTHX_ hv, "writer", one->writer != 0 ? newSVuv((UV)one->writer) : newSV(0));
    shm_set(aTHX_ hv, "readers", shm_pids(aTHX_ one->readers, one->reader_count));
    shm_set(aTHX_ hv, "attached", shm_pids(aTHX_ one->attached, one->attached_count));
    av_push((AV *)context, newRV_noinc((SV *)hv));
}

void shm_space_list(pTHX_ store_t *store)
{
    AV *list = (AV *)sv_2mortal((SV *)newAV());
    int code = store_list(store, shm_push_listed, list);
    if (code != STORE_OK) croak("Cannot list the variables of %s: %s", store_path(store), store_strerror(code));
    shm_push_list(aTHX_ list);
}

SV *shm_space_stats(pTHX_ store_t *store)
{
    store_stats_t stats;
    HV           *hv = newHV();
    store_stats(store, &stats);
    shm_set(aTHX_ hv, "variables", newSVuv((UV)stats.variables));
    shm_set(aTHX_ hv, "named", newSVuv((UV)stats.named));
    shm_set(aTHX_ hv, "attachments", newSVuv((UV)stats.attachments));
    shm_set(aTHX_ hv, "blocks", newSVuv((UV)stats.blocks));
    shm_set(aTHX_ hv, "block_size", newSVuv((UV)stats.block_size));
    shm_set(aTHX_ hv, "bytes_used", newSVuv((UV)stats.bytes_used));
    shm_set(aTHX_ hv, "bytes_reserved", newSVuv((UV)stats.bytes_reserved));
    shm_set(aTHX_ hv, "bytes_total", newSVuv((UV)stats.bytes_total));
    return newRV_noinc((SV *)hv);
}

/* --- locks and waiting ---------------------------------------------------------------------- */

int64_t shm_timeout(pTHX_ SV *seconds)
{
    NV nv;
    if (seconds == NULL) return STORE_FOREVER;
    if (SHM_LIKELY(SvIOK_notUV(seconds) && !SvMAGICAL(seconds) && SvIVX(seconds) >= 0 && SvIVX(seconds) < 9000000000))
        return (int64_t)SvIVX(seconds) * 1000000000;
    SvGETMAGIC(seconds);
    if (!SvOK(seconds)) return STORE_FOREVER;
    nv = (SvROK(seconds) ? SvAMAGIC(seconds) : looks_like_number(seconds)) ? SvNV_nomg(seconds) : -1;
    if (!(nv >= 0)) croak("A time limit must be a number of seconds, not '%" SVf "'; it cannot be negative", SVfARG(seconds));
    return nv > 9e9 ? STORE_FOREVER : (int64_t)(nv * 1e9);
}

SV *shm_lock(pTHX_ shm_var_t *var, bool write, int64_t timeout_ns)
{
    int64_t deadline = store_deadline(timeout_ns);
    bool    had      = false;
    int     code;
    (void)shm_store_of(aTHX_ var);
    SHM_UNINTERRUPTED(var, code, write ? store_lock_write(var->var, deadline, &had) : store_lock_read(var->var, deadline, &had));
    if (code == STORE_TIMEOUT) return newSV(0);
    if (code != STORE_OK) shm_fail(aTHX_ var, code, "lock");
    return newSViv(had ? 0 : 1);
}

bool shm_wait_change(pTHX_ shm_var_t *var, int64_t timeout_ns)
{
    int64_t deadline = store_deadline(timeout_ns);
    int     code;
    (void)shm_store_of(aTHX_ var);
    SHM_UNINTERRUPTED(var, code, store_wait_change(var->var, deadline));
    if (code == STORE_TIMEOUT) return false;
    if (code != STORE_OK) shm_fail(aTHX_ var, code, "wait");
    return true;
}

/* An offset or length as perl takes it: undef is 0, with a warning. */
IV shm_splice_argument(pTHX_ SV *sv)
{
    SvGETMAGIC(sv);
    if (SvOK(sv)) return SvIV_nomg(sv);
    Perl_ck_warner(aTHX_ packWARN(WARN_UNINITIALIZED), "Use of uninitialized value in splice");
    return 0;
}
