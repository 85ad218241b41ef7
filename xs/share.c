/*
 * share.c - storing references: what they lead to becomes shared.
 *
 * First the target of the reference that is stored is found, and what that refers to in turn; then
 * each becomes a variable of its own, and is tied to it, keeping its content. Either all of them
 * become shared, or none: if one cannot be shared, or there is no room.
 */
#include "shm.h"

/* What is being moved into shared memory by one store. */
typedef struct shm_move {
    store_t *store;
    AV      *targets; /* containers that are not shared yet */
    HV      *seen;    /* address -> reference to it, or to its double */
} shm_move_t;

static void shm_cannot(pTHX_ const char *what) __attribute__((noreturn));
static void shm_cannot(pTHX_ const char *what)
{
    croak("Cannot share %s", what);
}

/* A value within what is stored: can it be stored? */
void shm_check_value(pTHX_ SV *sv)
{
    if (isGV_with_GP(sv)) shm_cannot(aTHX_ "a glob or filehandle");
    if (SvTYPE(sv) == SVt_REGEXP) shm_cannot(aTHX_ "a regular expression");
}

static void shm_check_magic(pTHX_ SV *target)
{
    static const char special[] = { PERL_MAGIC_env,   PERL_MAGIC_sig,    PERL_MAGIC_isa, PERL_MAGIC_sv,      PERL_MAGIC_regdata,
                                    PERL_MAGIC_hints, PERL_MAGIC_substr, PERL_MAGIC_vec, PERL_MAGIC_defelem, PERL_MAGIC_tiedelem };
    MAGIC            *mg;
    size_t            i;
    if (SvTYPE(target) < SVt_PVMG) return;
    for (mg = SvMAGIC(target); mg != NULL; mg = mg->mg_moremagic)
        for (i = 0; i < sizeof special; i++)
            if (mg->mg_type == special[i]) shm_cannot(aTHX_ "a special variable of Perl's, or an element of a tied one");
}

static void shm_check_container(pTHX_ SV *target)
{
    switch (SvTYPE(target)) {
    case SVt_PVCV: shm_cannot(aTHX_ "code");
    case SVt_PVIO: shm_cannot(aTHX_ "a filehandle");
    case SVt_PVFM: shm_cannot(aTHX_ "a format");
    case SVt_REGEXP: shm_cannot(aTHX_ "a regular expression");
    case SVt_PVLV:
        if (!isGV_with_GP(target))
            shm_cannot(aTHX_ "a reference to a part of something (an element of a tied variable, substr, ...)"); /* FALLTHROUGH */
    default:
        if (isGV_with_GP(target)) shm_cannot(aTHX_ "a glob or filehandle");
    }
    shm_check_magic(aTHX_ target);
    if ((SvTYPE(target) == SVt_PVHV || SvTYPE(target) == SVt_PVAV) && SvREADONLY(target)) shm_cannot(aTHX_ "a read-only array or hash");
}

/* Note the target of a reference, unless it is shared already. A constant gets a copy. */
static void shm_move_add(pTHX_ shm_move_t *move, SV *reference)
{
    SV        *target = SvRV(reference), *known;
    bool       foreign, twice;
    shm_var_t *var;

    if (shm_is_constant(aTHX_ reference) || hv_exists(move->seen, (const char *)&target, sizeof target)) return;
    var = shm_handle_of_container(aTHX_ target, &foreign);
    if (var != NULL && var->store != move->store) shm_cannot(aTHX_ "a reference to a variable of another namespace");
    if (foreign) shm_cannot(aTHX_ "a variable that is tied to something else");
    if (var == NULL) shm_check_container(aTHX_ target);
    twice = var == NULL && SvREADONLY(target);
    known = twice ? newRV_noinc(newSVsv(target)) : newRV_inc(target);
    if (twice && SvOBJECT(target)) sv_bless(known, SvSTASH(target));
    (void)hv_store(move->seen, (const char *)&target, sizeof target, known, 0);
    if (var == NULL)
        av_push(move->targets, newRV_inc(SvRV(known)));
    else
        shm_know_container(aTHX_ var, target);
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

/* The value as it is to be stored; a reference leads to what has been tied by now. */
static void shm_move_encode(pTHX_ shm_move_t *move, SV *sv, store_value_t *value)
{
    if (SvROK(sv)) {
        SV  *target = SvRV(sv);
        SV **known  = hv_fetch(move->seen, (const char *)&target, sizeof target, 0);
        if (known != NULL) sv = *known;
    }
    shm_encode(aTHX_ sv, value);
}

static int shm_move_array(pTHX_ shm_move_t *move, shm_var_t *var, AV *from)
{
    SSize_t i;
    int     code = AvFILLp(from) >= 0 ? store_array_resize(var->var, (uint64_t)AvFILLp(from) + 1) : (int)STORE_OK;
    for (i = 0; i <= AvFILLp(from) && code == STORE_OK; i++) {
        store_value_t value;
        if (AvARRAY(from)[i] == NULL) continue;
        shm_move_encode(aTHX_ move, AvARRAY(from)[i], &value);
        code = store_array_put(var->var, (uint64_t)i, &value);
    }
    return code;
}

/* A key of a plain Perl hash is bytes, or characters that bytes cannot express. */
static int shm_move_entry(pTHX_ shm_move_t *move, shm_var_t *var, HE *entry)
{
    store_value_t value;
    store_key_t   key;
    if (HeVAL(entry) == &PL_sv_placeholder) return STORE_OK;
    shm_move_encode(aTHX_ move, HeVAL(entry), &value);
    if (HeKLEN(entry) == HEf_SVKEY)
        key = shm_store_key(aTHX_ var->store, HeKEY_sv(entry));
    else
        key = store_key(var->store, HeKEY(entry), (uint32_t)HeKLEN(entry), cBOOL(HeKUTF8(entry)));
    return store_hash_put(var->var, &key, &value, 0);
}

static int shm_move_hash(pTHX_ shm_move_t *move, shm_var_t *var, HV *from)
{
    HE   **buckets = HvARRAY(from), *entry;
    STRLEN i, max = HvMAX(from);
    int    code = STORE_OK;
    for (i = 0; buckets != NULL && i <= max; i++)
        for (entry = buckets[i]; entry != NULL && code == STORE_OK; entry = HeNEXT(entry)) code = shm_move_entry(aTHX_ move, var, entry);
    return code;
}

/* The first content of a new variable, in one change. */
static int shm_move_write(pTHX_ shm_move_t *move, shm_var_t *var, SV *target)
{
    store_value_t value;
    int           code = store_begin(var->var, STORE_FOREVER);
    if (code != STORE_OK) return code;
    if (var->type == STORE_ARRAY)
        code = shm_move_array(aTHX_ move, var, (AV *)target);
    else if (var->type == STORE_HASH)
        code = shm_move_hash(aTHX_ move, var, (HV *)target);
    else {
        shm_move_encode(aTHX_ move, target, &value);
        code = store_scalar_put(var->var, &value);
    }
    if (code == STORE_OK)
        store_commit(var->var);
    else
        store_abort(var->var);
    return code;
}

/* Empty the container behind its tie: what it held is now shared. */
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

/* Make a variable for each of them, and tie it. Returns how many were made; *code says why not all. */
static SSize_t shm_move_tie(pTHX_ shm_move_t *move, shm_var_t **vars, SSize_t count, int *code)
{
    SSize_t tied;
    *code = STORE_OK;
    for (tied = 0; tied < count; tied++) {
        SV           *target = SvRV(*av_fetch(move->targets, tied, 0));
        store_error_t err;
        store_var_t  *its = store_new(move->store, shm_type_of(target), &err);
        if (its == NULL) {
            *code = err.code;
            break;
        }
        vars[tied] = shm_handle(aTHX_ its, NULL, 0);
        shm_tie(aTHX_ vars[tied], target);
    }
    return tied;
}

/* Move all noted targets into variables of their own; all or none. */
static void shm_move_all(pTHX_ shm_move_t *move, const shm_var_t *into)
{
    SSize_t     i, tied, count = av_len(move->targets) + 1;
    shm_var_t **vars;
    int         code;

    if (store_is_closed(move->store)) croak("The namespace %s was removed", store_path(move->store));
    Newx(vars, (size_t)count + 1, shm_var_t *);
    SAVEFREEPV(vars);
    tied = shm_move_tie(aTHX_ move, vars, count, &code);
    for (i = 0; code == STORE_OK && i < count; i++) code = shm_move_write(aTHX_ move, vars[i], SvRV(*av_fetch(move->targets, i, 0)));
    for (i = 0; i < tied; i++) {
        SV *target = SvRV(*av_fetch(move->targets, i, 0));
        if (code == STORE_OK)
            shm_empty_behind(aTHX_ target);
        else
            shm_untie(aTHX_ vars[i], target);
    }
    if (code != STORE_OK) shm_fail(aTHX_ into, code, "store");
}

SV *shm_ready_reference(pTHX_ shm_var_t *var, SV *sv)
{
    shm_move_t move;
    SSize_t    i;
    bool       foreign;
    SV       **known, *target = SvRV(sv);

    if (SHM_UNLIKELY(SvOBJECT(target)) && shm_is_constant(aTHX_ sv)) return sv;
    if (!SvREADONLY(target)) {
        shm_var_t *known_var = shm_handle_of_container(aTHX_ target, &foreign);
        if (known_var != NULL && known_var->store == var->store) {
            shm_know_container(aTHX_ known_var, target);
            return sv;
        }
    }
    ENTER;
    move.store   = var->store;
    move.targets = (AV *)sv_2mortal((SV *)newAV());
    move.seen    = (HV *)sv_2mortal((SV *)newHV());
    shm_move_add(aTHX_ & move, sv);
    for (i = 0; i <= av_len(move.targets); i++) shm_move_content(aTHX_ & move, SvRV(*av_fetch(move.targets, i, 0)));
    shm_move_all(aTHX_ & move, var);
    LEAVE;
    known = hv_fetch(move.seen, (const char *)&target, sizeof target, 0);
    return sv_2mortal(newRV_inc(known != NULL ? SvRV(*known) : target));
}
