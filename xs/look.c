/* look.c - many elements of one moment: see shm.h. */
#include "shm.h"

static void shm_free_look(pTHX_ void *look)
{
    PERL_UNUSED_CONTEXT;
    store_look_free((store_look_t *)look);
    Safefree(look);
}

/* An array of mortal SVs that it does not count. */
static AV *shm_mortal_list(pTHX_ SSize_t room)
{
    AV *list = (AV *)sv_2mortal((SV *)newAV());
    AvREAL_off(list);
    if (room > 0) av_extend(list, room);
    return list;
}

static void shm_list_add(AV *list, SV *sv)
{
    AvARRAY(list)[++AvFILLp(list)] = sv;
}

/* False: a reference leads to a variable that is gone, so the look is out of date. */
static bool shm_look_take(pTHX_ shm_var_t *var, const store_look_t *look, shm_which_t which, SV *object, AV *list)
{
    bool     keyed = look->keys != NULL && (which != SHM_VALUES || object != NULL);
    uint64_t i;
    for (i = 0; i < look->count; i++) {
        SV *key = keyed ? sv_2mortal(shm_key_sv(aTHX_ & look->keys[i * look->stride])) : NULL;
        if (which != SHM_VALUES && keyed) shm_list_add(list, object != NULL ? sv_2mortal(newSVsv(key)) : key); /* the alias has its own */
        if (which != SHM_KEYS) {
            SV *sv = sv_newmortal();
            if (!shm_decode(aTHX_ var, &look->values[i * look->stride], sv)) return false;
            if (object != NULL) shm_make_alias(aTHX_ sv, object, key, (IV)i);
            shm_list_add(list, sv);
        }
    }
    return true;
}

AV *shm_look(pTHX_ shm_var_t *var, shm_which_t which, SV *object)
{
    store_look_t *look;
    AV           *list;
    int           code, tries;
    bool          whole = false;
    (void)shm_store_of(aTHX_ var);
    for (tries = 0;; tries++) {
        ENTER;
        Newxz(look, 1, store_look_t);
        SAVEDESTRUCTOR_X(shm_free_look, look);
        SHM_UNINTERRUPTED(var, code, store_look(var->var, which != SHM_KEYS, look));
        if (code != STORE_OK) shm_fail(aTHX_ var, code, "read");
        list  = shm_mortal_list(aTHX_(SSize_t)(look->count * 2));
        whole = shm_look_take(aTHX_ var, look, which, object, list);
        LEAVE;
        if (whole || tries > 1000) return list;
    }
}

/* One try. */
static bool shm_look_slice_once(pTHX_ shm_var_t *var, SSize_t first, SSize_t count, SV *object, AV *list)
{
    uint64_t serial = store_serial(var->var);
    SSize_t  i;
    AvFILLp(list) = -1;
    for (i = 0; i < count; i++) {
        SV *sv = sv_newmortal(), *key = PL_stack_base[first + i];
        IV  index = 0;
        if (var->type == STORE_HASH)
            shm_hash_fetch(aTHX_ var, key, sv);
        else {
            index = SvIV(key);
            if (index < 0) index += shm_array_size(aTHX_ var);
            shm_array_fetch(aTHX_ var, index, sv);
        }
        if (object != NULL && index >= 0) shm_make_alias(aTHX_ sv, object, var->type == STORE_HASH ? key : NULL, index);
        shm_list_add(list, sv);
    }
    return store_is_open(var->var) || store_serial(var->var) == serial;
}

/* If others store all the time, take the lock, so that nobody stores for a moment. */
AV *shm_look_slice(pTHX_ shm_var_t *var, SSize_t first, SSize_t count, SV *object)
{
    AV     *list = shm_mortal_list(aTHX_ count);
    SSize_t i;
    int     tries;
    for (i = 0; i < count; i++) { /* a key is asked once what it is */
        SV *key = PL_stack_base[first + i];
        if (var->type == STORE_HASH ? !SvPOK(key) || SvGMAGICAL(key) || SvROK(key) : SvGMAGICAL(key) || SvROK(key)) {
            SV *plain;
            if (!SvOK(key) && var->type == STORE_HASH) (void)SvPV_nolen_const(key); /* which warns */
            plain                    = var->type == STORE_HASH ? shm_text_key(aTHX_ key) : sv_2mortal(newSViv(SvIV(key)));
            PL_stack_base[first + i] = plain;
        }
    }
    (void)shm_store_of(aTHX_ var);
    for (tries = 0; tries < 10; tries++)
        if (shm_look_slice_once(aTHX_ var, first, count, object, list)) return list;
    shm_begin(aTHX_ var, NULL);
    shm_look_slice_once(aTHX_ var, first, count, object, list);
    shm_end(aTHX_ var, STORE_OK);
    for (i = 0; i <= AvFILLp(list); i++) shm_show(aTHX_ AvARRAY(list)[i]);
    return list;
}

SV *shm_all(pTHX_ shm_var_t *var)
{
    AV     *list;
    SSize_t i;
    if (var->type == STORE_SCALAR) return newSVsv(shm_scalar_fetch(aTHX_ var));
    list = shm_look(aTHX_ var, var->type == STORE_HASH ? SHM_PAIRS : SHM_VALUES, NULL);
    if (var->type == STORE_HASH) {
        HV *hash = newHV();
        for (i = 0; i < AvFILLp(list); i += 2) (void)hv_store_ent(hash, AvARRAY(list)[i], SvREFCNT_inc_NN(AvARRAY(list)[i + 1]), 0);
        return newRV_noinc((SV *)hash);
    }
    else {
        AV *array = newAV();
        for (i = 0; i <= AvFILLp(list); i++) av_push(array, AvARRAY(list)[i] != NULL ? SvREFCNT_inc_NN(AvARRAY(list)[i]) : newSV(0));
        return newRV_noinc((SV *)array);
    }
}
