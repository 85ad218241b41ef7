/* element.c - one element by what it was: additions and exchanges; and when elements vanish. See shm.h. */
#include "shm.h"

store_key_t shm_key_of(pTHX_ shm_var_t *var, SV *where)
{
    (void)shm_store_of(aTHX_ var);
    return shm_store_key(aTHX_ var->store, shm_key(aTHX_ where));
}

shm_place_t shm_place_of(pTHX_ shm_var_t *var, SV *where, store_key_t *key)
{
    shm_place_t place = { NULL, 0 };
    (void)shm_store_of(aTHX_ var);
    if (var->type == STORE_HASH) {
        *key      = shm_key_of(aTHX_ var, where);
        place.key = key;
    }
    else if (var->type == STORE_ARRAY) {
        IV index = SvIV(where);
        shm_check_index(aTHX_ index);
        place.index = (uint64_t)index;
    }
    return place;
}

/* --- additions ---------------------------------------------------------------------- */

static inline bool shm_is_integer(const SV *sv)
{
    return SvIOK(sv) && !SvIsUV(sv) && !SvNOK(sv);
}

/* The short way: two integers whose sum is one. */
static bool shm_add_integers(int code, const store_value_t *value, SV *delta, int64_t *sum)
{
    int64_t old = code == STORE_OK && value->kind == STORE_INT ? value->number.i : 0;
    if (code == STORE_OK && value->kind != STORE_INT && value->kind != STORE_UNDEF) return false;
    if (!shm_is_integer(delta)) return false;
    return !__builtin_add_overflow(old, (int64_t)SvIVX(delta), sum);
}

static int shm_put(shm_var_t *var, const shm_place_t *place, const store_value_t *value, uint64_t expires)
{
    if (place->key != NULL) return store_hash_put(var->var, place->key, value, expires);
    return var->type == STORE_ARRAY ? store_array_put(var->var, place->index, value) : store_scalar_put(var->var, value);
}

/* What a change of an element leaves as it is: its expiry time. For store_hash_put(). */
uint64_t shm_expiry(pTHX_ shm_var_t *var, const shm_place_t *place, bool *there)
{
    uint64_t expires = 0;
    int      code    = STORE_ABSENT;
    PERL_UNUSED_CONTEXT;
    *there = false;
    if (place->key == NULL || !store_hash_is_timed(var->var)) return 0;
    code   = store_hash_expiry(var->var, place->key, &expires);
    *there = code == STORE_OK;
    return !*there ? 0 : expires != 0 ? expires : STORE_NEVER;
}

/* Whatever the two numbers are. */
static SHM_APART SV *shm_add_any(pTHX_ shm_var_t *var, const shm_place_t *place, SV *delta)
{
    char           space[64];
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value, new_value;
    uint64_t       expires;
    int64_t        number;
    SV            *sum;
    bool           there;
    shm_loan_t     loan = { place->key, NULL, 0 };
    int            code;

    if (SvROK(delta) || !looks_like_number(delta)) croak("Cannot add what is not a number");
    shm_begin(aTHX_ var, &loan);
    code = shm_get(var, place, &value, &buffer);
    if (SHM_LIKELY(shm_add_integers(code, &value, delta, &number))) {
        sum       = sv_2mortal(newSViv((IV)number));
        new_value = store_int(number);
    }
    else {
        SV *old = sv_newmortal();
        shm_fetch(aTHX_ var, place, old);
        if ((sum = shm_sum(aTHX_ old, delta)) == NULL) {
            shm_end(aTHX_ var, STORE_OK);
            croak("Cannot add to a value that is not a number");
        }
        shm_encode(aTHX_ sum, &new_value);
    }
    expires = shm_expiry(aTHX_ var, place, &there);
    shm_end(aTHX_ var, shm_put(var, place, &new_value, expires));
    return sum;
}

/* The magic of delta has been got. The sum is put into `target`, where an integer will do. */
SV *shm_add(pTHX_ shm_var_t *var, const shm_place_t *place, SV *delta, SV *target)
{
    int64_t sum;
    if (SHM_LIKELY(place->key != NULL && shm_is_integer(delta) && !SvROK(delta) && (!SvPOK(delta) || looks_like_number(delta)))) {
        if (SHM_LIKELY(shm_hash_add(aTHX_ var, place->key, (int64_t)SvIVX(delta), &sum))) {
            sv_setiv(target, (IV)sum);
            return target;
        }
    }
    return shm_add_any(aTHX_ var, place, delta);
}

/* --- by what it was ------------------------------------------------------------------- */

SV *shm_arguments(pTHX_ const shm_var_t *var, const char *method, I32 given, I32 more, const char *what, SV *first)
{
    bool placed = var->type != STORE_SCALAR;
    if (SHM_UNLIKELY(given != more + (placed ? 1 : 0)))
        croak("%s takes %s%s", method, !placed ? "" : var->type == STORE_ARRAY ? "an index and " : "a key and ", what);
    return placed ? first : NULL;
}

/* A change that is undone if its scope is left by an exception or by exit. There is only one at a time: a
 * change within another one is part of that. */
static void shm_undo(pTHX_ void *at)
{
    shm_var_t *var = (shm_var_t *)at;
    if (!var->guarded) return;
    var->guarded = false;
    if (var->armed > 0) var->armed--;
    shm_batch_abort(aTHX_ var);
}

/* Begin it, after ENTER; false: it is part of an open change. The object stays until the end of the
 * statement, whatever happens to it meanwhile. */
static bool shm_begin_guarded(pTHX_ shm_var_t *var, const shm_loan_t *loan)
{
    if (SHM_UNLIKELY(shm_joints != 0)) {
        shm_keep_loan(aTHX_ loan);
        shm_join(aTHX_ var);
    }
    if (store_is_open(shm_store_of(aTHX_ var))) return false;
    sv_2mortal(SvREFCNT_inc_NN(var->object));
    shm_batch_forget();
    if (!shm_begin_armed(aTHX_ var, loan)) return false;
    var->guarded = true;
    SAVEDESTRUCTOR_X(shm_undo, var);
    return true;
}

static void shm_commit_guarded(pTHX_ shm_var_t *var, bool own, int code)
{
    if (SHM_UNLIKELY(code != STORE_OK)) shm_fail(aTHX_ var, code, "store");
    if (!own) return;
    var->guarded = false;
    if (var->armed > 0) var->armed--;
    shm_batch_commit(aTHX_ var);
}

/* A scalar is there if it is defined. */
static int shm_is_there(shm_var_t *var, const shm_place_t *place, bool *there)
{
    store_value_t value;
    int           code = shm_get(var, place, var->type == STORE_SCALAR ? &value : NULL, NULL);
    if (code == STORE_MORE) code = STORE_OK;
    *there = code == STORE_OK && (var->type != STORE_SCALAR || value.kind != STORE_UNDEF);
    return code == STORE_ABSENT ? (int)STORE_OK : code;
}

/* Store into `place`; the expiry time stays as it is. */
static int shm_put_again(pTHX_ shm_var_t *var, const shm_place_t *place, const store_value_t *value)
{
    bool there;
    return shm_put(var, place, value, shm_expiry(aTHX_ var, place, &there));
}

/* The first look takes no lock, and does not share anything unnecessarily. */
bool shm_insert(pTHX_ shm_var_t *var, SV *where, SV *sv)
{
    store_key_t   key;
    shm_place_t   place = shm_place_of(aTHX_ var, where, &key);
    store_value_t value;
    shm_loan_t    looked = { place.key, NULL, 0 }, loan = { place.key, &value, 1 };
    bool          there;
    int           code;
    SHM_UNINTERRUPTED_WITH(var, code, &looked, shm_is_there(var, &place, &there));
    if (code != STORE_OK) shm_fail(aTHX_ var, code, "read");
    if (there) return false;
    sv    = shm_ready(aTHX_ var, sv);
    place = shm_place_of(aTHX_ var, where, &key); /* that may have run the user's code */
    shm_encode(aTHX_ sv, &value);
    shm_begin(aTHX_ var, &loan);
    code = shm_is_there(var, &place, &there);
    if (code == STORE_OK && !there) code = shm_put(var, &place, &value, 0);
    shm_end(aTHX_ var, code);
    return !there;
}

/* Is the value `old`? Values are compared as text, references by what they lead to; undef means that there
 * is none. */
static bool shm_is_still(pTHX_ shm_var_t *var, const shm_place_t *place, SV *old)
{
    SV  *value = sv_newmortal();
    bool there = shm_fetch(aTHX_ var, place, value);
    if (!SvOK(old)) return var->type == STORE_SCALAR ? !SvOK(value) : !there;
    if (!SvOK(value)) return false;
    if (SvROK(old) || SvROK(value)) return SvROK(old) && SvROK(value) && SvRV(old) == SvRV(value);
    return sv_eq_flags(value, old, 0) != 0;
}

bool shm_replace(pTHX_ shm_var_t *var, SV *where, SV *old, SV *sv)
{
    store_key_t   key;
    shm_place_t   place;
    store_value_t value;
    shm_loan_t    loan;
    bool          own, same;
    SvGETMAGIC(old);
    place = shm_place_of(aTHX_ var, where, &key);
    if (SvROK(sv) && !shm_is_still(aTHX_ var, &place, old)) return false; /* nothing is shared in vain */
    sv    = shm_ready(aTHX_ var, sv);
    place = shm_place_of(aTHX_ var, where, &key);
    shm_encode(aTHX_ sv, &value);
    loan = (shm_loan_t){ place.key, &value, 1 };
    ENTER;
    own  = shm_begin_guarded(aTHX_ var, &loan);
    same = shm_is_still(aTHX_ var, &place, old);
    shm_commit_guarded(aTHX_ var, own, same ? shm_put_again(aTHX_ var, &place, &value) : (int)STORE_OK);
    LEAVE;
    return same;
}

SV *shm_exchange(pTHX_ shm_var_t *var, SV *where, SV *sv)
{
    SV           *old = sv_newmortal();
    store_key_t   key;
    shm_place_t   place;
    store_value_t value;
    shm_loan_t    loan;
    bool          own;
    sv    = shm_ready(aTHX_ var, sv);
    place = shm_place_of(aTHX_ var, where, &key);
    shm_encode(aTHX_ sv, &value);
    loan = (shm_loan_t){ place.key, &value, 1 };
    ENTER;
    own = shm_begin_guarded(aTHX_ var, &loan);
    shm_fetch(aTHX_ var, &place, old);
    shm_commit_guarded(aTHX_ var, own, shm_put_again(aTHX_ var, &place, &value));
    LEAVE;
    return old;
}

/* Call the user's sub with `$_` being that value. It runs on a stack of its own, like the block of sort,
 * so `last` and `next` cannot leave it. */
static void shm_call(pTHX_ SV *code, SV *value)
{
    dSP;
    ENTER;
    (void)GvSVn(PL_defgv);
    SAVEGENERICSV(GvSV(PL_defgv));
    GvSV(PL_defgv) = SvREFCNT_inc_NN(value);
    PUSHSTACKi(PERLSI_UNKNOWN);
    PUSHMARK(SP);
    PUTBACK;
    call_sv(code, G_VOID | G_DISCARD);
    SPAGAIN;
    POPSTACK;
    LEAVE;
}

SV *shm_update(pTHX_ shm_var_t *var, SV *where, SV *code)
{
    SV           *value = sv_newmortal();
    store_key_t   key;
    shm_place_t   place;
    store_value_t new_value;
    shm_loan_t    loan;
    bool          own;
    if (!SvROK(code) || SvTYPE(SvRV(code)) != SVt_PVCV) croak("update takes a sub");
    if (where != NULL) where = sv_mortalcopy(where); /* the sub may change the variable that it came in */
    SvTEMP_off(value);                               /* nor may it steal what it is */
    place = shm_place_of(aTHX_ var, where, &key);
    loan  = (shm_loan_t){ place.key, NULL, 0 };
    ENTER;
    own = shm_begin_guarded(aTHX_ var, &loan);
    shm_fetch(aTHX_ var, &place, value);
    shm_call(aTHX_ code, value);
    (void)shm_store_of(aTHX_ var);
    shm_encode(aTHX_ shm_ready(aTHX_ var, value), &new_value);
    shm_commit_guarded(aTHX_ var, own, shm_put_again(aTHX_ var, &place, &new_value));
    LEAVE;
    return value;
}

/* --- when they vanish ------------------------------------------------------------------- */

/* From the user's time limit, as in shm_timeout(); if there is none at all, the default of the variable;
 * undef: never. */
uint64_t shm_expires(pTHX_ SV *seconds)
{
    int64_t ns;
    if (seconds == NULL) return 0;
    ns = shm_timeout(aTHX_ seconds);
    return ns == STORE_FOREVER ? STORE_NEVER : store_expires((uint64_t)ns);
}

/* In the open change: store a new value, and leave the expiry time as it is. */
void shm_hash_keep_expiry(pTHX_ shm_var_t *var, SV *key, SV *value)
{
    store_key_t its;
    shm_place_t place = shm_place_of(aTHX_ var, key, &its);
    bool        there;
    shm_hash_store(aTHX_ var, key, value, shm_expiry(aTHX_ var, &place, &there));
}

bool shm_hash_touch(pTHX_ shm_var_t *var, SV *key, uint64_t expires)
{
    SV           *old = sv_newmortal();
    store_key_t   its;
    store_value_t value;
    int           code  = STORE_OK;
    shm_place_t   place = shm_place_of(aTHX_ var, key, &its);
    shm_loan_t    loan  = { &its, NULL, 0 };
    bool          there;
    shm_begin(aTHX_ var, &loan);
    there = shm_fetch(aTHX_ var, &place, old);
    if (there) {
        shm_encode(aTHX_ old, &value);
        code = store_hash_put(var->var, &its, &value, expires);
    }
    shm_end(aTHX_ var, code);
    return there;
}

SV *shm_hash_ttl(pTHX_ shm_var_t *var, SV *key)
{
    store_key_t its;
    uint64_t    expires = 0, now = store_clock();
    shm_loan_t  loan = { &its, NULL, 0 };
    int         code;
    (void)shm_place_of(aTHX_ var, key, &its);
    SHM_UNINTERRUPTED_WITH(var, code, &loan, store_hash_expiry(var->var, &its, &expires));
    if (code == STORE_ABSENT) return newSViv(-1);
    if (code != STORE_OK) shm_fail(aTHX_ var, code, "read");
    if (expires == 0) return newSV(0);
    return newSVnv(expires > now ? (NV)(expires - now) / 1e9 : 0.0);
}

/* Settings of a hash are not part of a change, and so cannot be undone with it. */
static void shm_refuse_in_change(pTHX_ shm_var_t *var, const char *what)
{
    if (store_is_open(shm_store_of(aTHX_ var))) croak("A change of this variable is open: %s cannot be part of it", what);
}

void shm_hash_expire(pTHX_ shm_var_t *var, SV *seconds)
{
    int64_t ns = shm_timeout(aTHX_ seconds);
    int     code;
    if (ns == 0) croak("Elements that expire at once cannot be stored");
    shm_refuse_in_change(aTHX_ var, "expire");
    shm_begin(aTHX_ var, NULL);
    code = store_hash_expire_after(var->var, ns == STORE_FOREVER ? 0 : (uint64_t)ns);
    shm_end(aTHX_ var, code);
}

void shm_hash_limit(pTHX_ shm_var_t *var, SV *elements)
{
    IV  limit = 0;
    int code;
    SvGETMAGIC(elements);
    if (SvOK(elements)) {
        if (SvROK(elements) || !looks_like_number(elements) || (limit = SvIV_nomg(elements)) < 1 || SvNV_nomg(elements) != (NV)limit)
            croak("A limit must be a number of elements from 1 on, or undef, not '%" SVf "'", SVfARG(elements));
    }
    shm_refuse_in_change(aTHX_ var, "limit");
    shm_begin(aTHX_ var, NULL);
    code = store_hash_limit(var->var, (uint64_t)limit);
    shm_end(aTHX_ var, code);
}

UV shm_hash_sweep(pTHX_ shm_var_t *var)
{
    store_sweep_t sweep = { 0, 0 };
    int           code;
    (void)shm_store_of(aTHX_ var);
    SHM_CHANGE(var, code, NULL, store_hash_sweep(var->var, &sweep));
    return (UV)sweep.freed;
}
