/* value.c - Perl values to stored values, and back: see shm.h. */
#include "shm.h"

#ifdef SvIsBOOL
#define SHM_IS_BOOL(sv) SvIsBOOL(sv)
#else
#define SHM_IS_BOOL(sv) ((sv) == &PL_sv_yes || (sv) == &PL_sv_no)
#endif

/* Does the integer of a number that is both integer and double say all of it? */
static bool shm_is_integer(SV *sv)
{
    NV number, integer;
    if (!SvIOK(sv)) return false;
    if (!SvNOK(sv)) return true;
    number  = SvNVX(sv);
    integer = SvIsUV(sv) ? (NV)SvUVX(sv) : (NV)SvIVX(sv);
    return memcmp(&number, &integer, sizeof(double)) == 0; /* NOLINT(bugprone-suspicious-memory-comparison): to the last bit */
}

/* Does the text express the number that is beside it? */
static bool shm_says_number(pTHX_ SV *sv)
{
    UV  whole = 0;
    int kind  = grok_number(SvPVX_const(sv), SvCUR(sv), &whole);
    NV  said, number;
    if (kind == IS_NUMBER_IN_UV && !SvNOK(sv) && SvUVX(sv) == whole && (SvIsUV(sv) || SvIVX(sv) >= 0)) return true;
    number = SvNOK(sv) ? SvNVX(sv) : SvIsUV(sv) ? (NV)SvUVX(sv) : (NV)SvIVX(sv);
    said   = Atof(SvPVX_const(sv));
    return number == said || (Perl_isnan(number) && Perl_isnan(said));
}

/* A string that is also a number which the text does not express, such as $!. */
static bool shm_is_dual(pTHX_ SV *sv, store_value_t *value)
{
    if (!(SvIOK(sv) || SvNOK(sv)) || SvUTF8(sv) || shm_says_number(aTHX_ sv)) return false;
    if (SvIOK(sv) && shm_is_integer(sv) && !(SvIsUV(sv) && SvUVX(sv) > (UV)IV_MAX)) {
        value->kind     = STORE_DUAL_INT;
        value->number.i = SvIVX(sv);
    }
    else {
        value->kind     = STORE_DUAL_DOUBLE;
        value->number.d = SvNOK(sv) ? (double)SvNVX(sv) : (double)SvUVX(sv);
    }
    return true;
}

static void shm_encode_string(pTHX_ SV *sv, store_value_t *value)
{
    *value = store_text(SvPVX_const(sv), SvCUR(sv), cBOOL(SvUTF8(sv)));
    (void)shm_is_dual(aTHX_ sv, value);
}

static void shm_encode_number(SV *sv, store_value_t *value)
{
    if (!shm_is_integer(sv)) {
        *value = store_double((double)SvNVX(sv));
        return;
    }
    *value = store_int(SvIVX(sv));
    if (SvIsUV(sv) && SvUVX(sv) > (UV)IV_MAX) {
        value->kind     = STORE_UINT;
        value->number.u = SvUVX(sv);
    }
}

/* A constant of a class is stored by value: its number, and the class. */
bool shm_is_constant(pTHX_ SV *reference)
{
    static const char *const classes[] = { "JSON::PP::Boolean", "Types::Serialiser::Boolean", "Types::Serialiser::BooleanBase", "boolean" };
    SV                      *target    = SvRV(reference);
    size_t                   i;
    if (!SvOBJECT(target) || SvTYPE(target) >= SVt_PVAV || SvROK(target) || !(SvIOK(target) || looks_like_number(target))) return false;
    if (SvREADONLY(target) && !SvMAGICAL(target)) return SvIOK(target) && !SvPOK(target);
    for (i = 0; i < sizeof classes / sizeof *classes; i++)
        if (sv_derived_from(reference, classes[i])) return !SvMAGICAL(target);
    return false;
}

static void shm_name_class(SV *target, store_value_t *value)
{
    HV *stash     = SvSTASH(target);
    value->text   = HvNAME_get(stash);
    value->length = (uint64_t)HvNAMELEN_get(stash);
}

static void shm_encode_reference(pTHX_ SV *sv, store_value_t *value)
{
    bool       foreign;
    SV        *target = SvRV(sv);
    shm_var_t *var    = shm_handle_of_container(aTHX_ target, &foreign);
    *value            = store_none(STORE_REF);
    if (var == NULL && shm_is_constant(aTHX_ sv)) {
        *value          = store_none(STORE_CONSTANT);
        value->number.i = SvIV(target);
        shm_name_class(target, value);
        return;
    }
    if (var == NULL) { /* cannot be: shm_ready() has shared it */
        *value = store_none(STORE_UNDEF);
        return;
    }
    value->number.ref = var->id;
    if (SvOBJECT(target)) {
        HV *stash    = SvSTASH(target);
        var->blessed = stash; /* what is fetched says nothing new */
        shm_keep(aTHX_ var, target);
        shm_name_class(target, value);
        value->number.ref.is_text = HvNAMEUTF8(stash) ? 1u : 0u;
    }
}

void shm_encode(pTHX_ SV *sv, store_value_t *value)
{
    if (SvROK(sv))
        shm_encode_reference(aTHX_ sv, value);
    else if (SHM_IS_BOOL(sv))
        *value = store_none(SvTRUE_nomg_NN(sv) ? STORE_TRUE : STORE_FALSE);
    else if (SvPOK(sv))
        shm_encode_string(aTHX_ sv, value);
    else if (SvIOK(sv) || SvNOK(sv))
        shm_encode_number(sv, value);
    else if (SvOK(sv)) { /* private flags only: a value that came through magic */
        STRLEN      length;
        const char *text = SvPV_nomg_const(sv, length);
        *value           = store_text(text, length, cBOOL(SvUTF8(sv)));
    }
    else
        *value = store_none(STORE_UNDEF);
}

/* --- and back ------------------------------------------------------------------------ */

/* Bless what a stored reference leads to into the class that was stored with it. If the program has
 * reblessed it meanwhile, that stays until a reference with another class is fetched. */
static void shm_bless(pTHX_ shm_var_t *var, SV *reference, const store_value_t *value)
{
    HV *stash = gv_stashpvn(value->text, (U32)value->length, GV_ADD | (value->number.ref.is_text ? SVf_UTF8 : 0));
    if (stash != var->blessed || !SvOBJECT(SvRV(reference))) sv_bless(reference, stash);
    var->blessed = stash;
}

/* A scalar that holds a reference shows it: ref() says REF. */
void shm_show(pTHX_ SV *sv)
{
    const MAGIC *mg  = SvROK(sv) && SvTYPE(SvRV(sv)) < SVt_PVAV ? mg_find(SvRV(sv), PERL_MAGIC_tiedscalar) : NULL;
    shm_var_t   *var = mg != NULL ? shm_of_magic(aTHX_ mg) : NULL;
    if (var != NULL && var->var != NULL && !store_is_removed(var->var) && !store_would_wait(var->var)) SvGETMAGIC(SvRV(sv));
}

static bool shm_decode_reference(pTHX_ shm_var_t *var, const store_value_t *value, SV *sv)
{
    shm_var_t    *target = shm_find(aTHX_ var->store, &value->number.ref);
    store_error_t err;
    SV           *reference;
    if (target == NULL || target->var == NULL) {
        store_var_t *its = store_attach(var->store, &value->number.ref, &err);
        if (its == NULL && err.code == STORE_E_REMOVED) return false;
        if (its == NULL) {
            if (!var->armed && var->var != NULL) store_abort(var->var); /* as shm_fail() */
            croak("Cannot attach: %s", err.text);
        }
        target = shm_handle(aTHX_ its, NULL, 0);
    }
    reference = shm_reference(aTHX_ target);
    if (value->length > 0) {
        shm_bless(aTHX_ target, reference, value);
        shm_keep(aTHX_ target, SvRV(reference));
    }
    sv_setsv(sv, reference);
    SvREFCNT_dec_NN(reference);
    /* As shm_show(), which is for later where the scalar may be locked, and others wait for what is changed here. */
    if (SvTYPE(SvRV(sv)) < SVt_PVAV && (var->armed || var->var == NULL || !store_is_open(var->var))) SvGETMAGIC(SvRV(sv));
    return true;
}

/* Anybody may have written the bytes: check that what claims to be UTF-8 is UTF-8. */
static void shm_decode_text(pTHX_ const store_value_t *value, SV *sv)
{
    sv_setpvn(sv, value->length > 0 ? value->text : "", (STRLEN)value->length);
    if (value->kind == STORE_TEXT && (value->length == 0 || is_utf8_string((const U8 *)value->text, (STRLEN)value->length)))
        SvUTF8_on(sv);
    else
        SvUTF8_off(sv);
}

static void shm_decode_constant(pTHX_ const store_value_t *value, SV *sv)
{
    SV *reference = newRV_noinc(newSViv((IV)value->number.i));
    sv_bless(reference, gv_stashpvn(value->text, (U32)value->length, GV_ADD));
    sv_setsv(sv, reference);
    SvREFCNT_dec_NN(reference);
}

bool shm_decode(pTHX_ shm_var_t *var, const store_value_t *value, SV *sv)
{
    switch (value->kind) {
    case STORE_FALSE: sv_setsv(sv, &PL_sv_no); break;
    case STORE_TRUE: sv_setsv(sv, &PL_sv_yes); break;
    case STORE_INT: sv_setiv(sv, (IV)value->number.i); break;
    case STORE_UINT: sv_setuv(sv, (UV)value->number.u); break;
    case STORE_DOUBLE: sv_setnv(sv, value->number.d); break;
    case STORE_BYTES:
    case STORE_TEXT: shm_decode_text(aTHX_ value, sv); break;
    case STORE_REF: return shm_decode_reference(aTHX_ var, value, sv);
    case STORE_DUAL_INT:
        sv_setiv(sv, (IV)value->number.i); /* as dualvar() does: the number, then the string */
        {
            IV number = (IV)value->number.i;
            shm_decode_text(aTHX_ value, sv);
            (void)SvUPGRADE(sv, SVt_PVNV);
            SvIV_set(sv, number);
            SvIOK_on(sv);
        }
        break;
    case STORE_CONSTANT: shm_decode_constant(aTHX_ value, sv); break;
    case STORE_DUAL_DOUBLE:
        shm_decode_text(aTHX_ value, sv);
        (void)SvUPGRADE(sv, SVt_PVNV);
        SvNV_set(sv, value->number.d);
        SvNOK_on(sv);
        break;
    default: sv_setsv(sv, &PL_sv_undef);
    }
    return true;
}

/* --- keys -------------------------------------------------------------------------------- */

SV *shm_text_key(pTHX_ SV *key)
{
    STRLEN      length;
    const char *text;
    SvGETMAGIC(key);
    if (!SvOK(key)) return &PL_sv_no; /* perl has warned of it */
    text = SvPV_nomg_const(key, length);
    return newSVpvn_flags(text, length, SVs_TEMP | (SvUTF8(key) ? SVf_UTF8 : 0));
}

store_key_t shm_store_key(pTHX_ store_t *store, SV *key)
{
    STRLEN      length;
    const char *text    = SvPV_const(key, length);
    bool        is_text = cBOOL(SvUTF8(key));
    if (length > I32_MAX / 2) croak("A key of %" UVuf " bytes is too long", (UV)length);
    if (is_text) {
        const U8 *bytes = bytes_from_utf8((const U8 *)text, &length, &is_text);
        if (bytes != (const U8 *)text) SAVEFREEPV(bytes);
        text = (const char *)bytes;
    }
    return store_key(store, text, (uint32_t)length, is_text);
}

SV *shm_key_sv(pTHX_ const store_value_t *key)
{
    bool is_text = key->kind == STORE_TEXT && (key->length == 0 || is_utf8_string((const U8 *)key->text, (STRLEN)key->length));
    return newSVpvn_flags(key->length > 0 ? key->text : "", (STRLEN)key->length, is_text ? SVf_UTF8 : 0);
}
