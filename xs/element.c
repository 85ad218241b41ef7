/* element.c - elements: additions, and when they vanish. See shm.h. */
#include "shm.h"

shm_place_t shm_place_of(pTHX_ shm_var_t *var, SV *where, store_key_t *key)
{
    shm_place_t place = { NULL, 0 };
    (void)shm_store_of(aTHX_ var);
    if (var->type == STORE_HASH) {
        *key      = shm_store_key(aTHX_ var->store, shm_key(aTHX_ where));
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

/* The short way: two integers whose sum is one. */
static bool shm_add_integers(int code, const store_value_t *value, SV *delta, int64_t *sum)
{
    int64_t old = code == STORE_OK && value->kind == STORE_INT ? value->number.i : 0;
    if (code == STORE_OK && value->kind != STORE_INT && value->kind != STORE_UNDEF) return false;
    if (!SvIOK(delta) || SvIsUV(delta) || SvNOK(delta)) return false;
    return !__builtin_add_overflow(old, (int64_t)SvIVX(delta), sum);
}

static int shm_put(shm_var_t *var, const shm_place_t *place, const store_value_t *value, uint64_t expires)
{
    if (place->key != NULL) return store_hash_put(var->var, place->key, value, expires);
    return var->type == STORE_ARRAY ? store_array_put(var->var, place->index, value) : store_scalar_put(var->var, value);
}

/* What a change of an element keeps: when it vanishes. For store_hash_put(). */
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

SV *shm_add(pTHX_ shm_var_t *var, const shm_place_t *place, SV *delta)
{
    char           space[64];
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value, new_value;
    uint64_t       expires;
    int64_t        number;
    SV            *sum;
    bool           there;
    int            code;

    SvGETMAGIC(delta);
    if (SvROK(delta) || !looks_like_number(delta)) croak("Cannot add what is not a number");
    shm_begin(aTHX_ var);
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

/* --- when they vanish ------------------------------------------------------------------- */

/* From a time limit of the user's, as in shm_timeout(): none at all: as the variable has it; undef: never. */
uint64_t shm_expires(pTHX_ SV *seconds)
{
    int64_t ns;
    if (seconds == NULL) return 0;
    ns = shm_timeout(aTHX_ seconds);
    return ns == STORE_FOREVER ? STORE_NEVER : store_clock() + (uint64_t)ns;
}

/* In the open change: it gets a new value, and vanishes when it would have. */
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
    bool          there;
    shm_begin(aTHX_ var);
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
    int         code;
    (void)shm_place_of(aTHX_ var, key, &its);
    SHM_UNINTERRUPTED(var, code, store_hash_expiry(var->var, &its, &expires));
    if (code == STORE_ABSENT) return newSViv(-1);
    if (code != STORE_OK) shm_fail(aTHX_ var, code, "read");
    if (expires == 0) return newSV(0);
    return newSVnv(expires > now ? (NV)(expires - now) / 1e9 : 0.0);
}

void shm_hash_expire(pTHX_ shm_var_t *var, SV *seconds)
{
    int64_t ns = shm_timeout(aTHX_ seconds);
    int     code;
    if (ns == 0) croak("Elements that vanish at once cannot be stored");
    shm_begin(aTHX_ var);
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
    shm_begin(aTHX_ var);
    code = store_hash_limit(var->var, (uint64_t)limit);
    shm_end(aTHX_ var, code);
}

UV shm_hash_sweep(pTHX_ shm_var_t *var)
{
    uint64_t freed = 0;
    int      code;
    shm_begin(aTHX_ var);
    code = store_hash_sweep(var->var, &freed);
    shm_end(aTHX_ var, code);
    return (UV)freed;
}
