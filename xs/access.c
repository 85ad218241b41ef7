/*
 * access.c - elements: what FETCH and STORE and the other calls of perl's do, and the
 * short way from an operator of perl to them.
 *
 * THE SHORT WAY. For `$h{x}` perl makes a temporary with element magic and calls its get
 * function, which for a tied hash looks up the method FETCH and calls it: that takes
 * longer than all that FETCH does. A variable that is tied here has the same magic (so
 * `tied`, `untie` and all else find what they expect), but with functions of its own for
 * get, set and size, which do what the methods do. An object that was blessed into
 * another class has methods of its own: they are called.
 */
#include "shm.h"

/* --- changes ------------------------------------------------------------------------ */

/* The variable in which an operator has begun a change that has not ended yet. */
static __thread shm_var_t *shm_batch;

void shm_batch_forget(void)
{
    shm_batch = NULL;
}

void shm_batch_commit(pTHX_ shm_var_t *var)
{
    if (shm_batch == var) shm_batch = NULL;
    if (var->var != NULL) store_commit(var->var);
    shm_tend(aTHX);
}

void shm_batch_abort(pTHX_ shm_var_t *var)
{
    PERL_UNUSED_CONTEXT;
    if (shm_batch == var) shm_batch = NULL;
    if (var->var != NULL) store_abort(var->var);
}

/* A signal handler that ran during the wait may have begun a change and left it open. */
static int shm_begin_if_none(store_var_t *its, bool *begun)
{
    *begun = !store_is_open(its);
    return *begun ? store_begin(its, STORE_FOREVER) : (int)STORE_OK;
}

/* When an operator goes on to its next variable, it ends the change of the one before: with two open at a
 * time, two processes could wait for each other. */
void shm_begin(pTHX_ shm_var_t *var, const shm_loan_t *loan)
{
    store_var_t *its = shm_store_of(aTHX_ var);
    int          code;
    bool         begun;
    dSAVE_ERRNO;
    if (SHM_UNLIKELY(shm_joints != 0)) {
        shm_keep_loan(aTHX_ loan);
        shm_join(aTHX_ var);
    }
    if (store_is_open(its)) return;
    if (var->armed && shm_batch != NULL && shm_batch != var) shm_batch_commit(aTHX_ shm_batch);
    SHM_UNINTERRUPTED_WITH(var, code, loan, shm_begin_if_none(its, &begun));
    if (code != STORE_OK) shm_fail(aTHX_ var, code, "store");
    if (var->armed && begun) shm_batch = var;
    RESTORE_ERRNO;
}

/* This change does not belong to the operator, so no operator commits it on the way. The variable is armed
 * when the change has begun: what a signal handler stores before is a change of its own. */
bool shm_begin_armed(pTHX_ shm_var_t *var, const shm_loan_t *loan)
{
    store_var_t *its = shm_store_of(aTHX_ var);
    int          code;
    bool         begun;
    /* As part of a joint change: who holds it may wait for others, and looks whether they wait for it. */
    SHM_UNINTERRUPTED_WITH(var, code, loan, (begun = !store_is_open(its)) ? store_begin_joint(its, STORE_FOREVER) : (int)STORE_OK);
    if (code != STORE_OK) shm_fail(aTHX_ var, code, "store");
    if (begun) var->armed++;
    return begun;
}

/* An operator ends what it has begun, also if it is left by an exception. */
void shm_end(pTHX_ shm_var_t *var, int code)
{
    if (!var->armed) {
        if (code == STORE_OK)
            store_commit(var->var);
        else
            store_abort(var->var);
    }
    if (SHM_UNLIKELY(code != STORE_OK)) shm_fail(aTHX_ var, code, "store");
    shm_tend(aTHX);
}

void shm_begin_whole(pTHX_ shm_var_t *var, const shm_loan_t *loan)
{
    shm_keep_loan(aTHX_ loan);
    shm_join(aTHX_ var);
    if (var->armed) shm_begin(aTHX_ var, NULL);
}

static bool shm_is_large(const SV *sv)
{
    return SvTYPE(sv) >= SVt_PV && SvLEN(sv) > 65536;
}

/* --- looks at one value --------------------------------------------------------------- */

int shm_get(shm_var_t *var, const shm_place_t *place, store_value_t *value, const store_buffer_t *buffer)
{
    if (place->key != NULL) return store_hash_get(var->var, place->key, value, buffer);
    return var->type == STORE_ARRAY ? store_array_get(var->var, place->index, value, buffer) : store_scalar_get(var->var, value, buffer);
}

/* A value that is larger than the buffer that was at hand. */
static int shm_get_long(shm_var_t *var, const shm_place_t *place, store_value_t *value, char **memory)
{
    store_buffer_t buffer;
    int            code = STORE_MORE, tries;
    for (tries = 0; code == STORE_MORE && tries < 100; tries++) {
        free(*memory);
        buffer.capacity = value->length + value->length / 8;
        buffer.space = *memory = (char *)malloc(buffer.capacity);
        if (*memory == NULL) return STORE_E_SYSTEM;
        code = shm_get(var, place, value, &buffer);
    }
    return code;
}

/* Put the value into `sv`. False: there is none. A reference that leads nowhere any more has been
 * overwritten meanwhile: then the look is repeated. */
bool shm_fetch(pTHX_ shm_var_t *var, const shm_place_t *place, SV *sv)
{
    char           space[1024], *memory;
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value;
    shm_loan_t     loan = { place->key, NULL, 0 };
    int            code, tries;
    bool           whole;

    shm_tend(aTHX);
    for (tries = 0; tries < 1000; tries++) {
        memory = NULL;
        SHM_UNINTERRUPTED_WITH(var, code, &loan, shm_get(var, place, &value, &buffer));
        if (SHM_UNLIKELY(code == STORE_MORE)) code = shm_get_long(var, place, &value, &memory);
        if (SHM_UNLIKELY(code == STORE_INTERRUPTED)) {
            free(memory);
            continue;
        }
        if (code == STORE_ABSENT) {
            free(memory);
            break;
        }
        if (SHM_UNLIKELY(code != STORE_OK)) {
            free(memory);
            shm_fail(aTHX_ var, code, "read");
        }
        whole = shm_decode(aTHX_ var, &value, sv);
        if (SHM_UNLIKELY(memory != NULL)) free(memory);
        if (SHM_LIKELY(whole)) return true;
    }
    sv_setsv(sv, &PL_sv_undef);
    return false;
}

/* --- hashes ------------------------------------------------------------------------------ */

bool shm_hash_fetch(pTHX_ shm_var_t *var, SV *key, SV *sv)
{
    store_key_t its   = shm_store_key(aTHX_ var->store, shm_key(aTHX_ key));
    shm_place_t place = { &its, 0 };
    (void)shm_store_of(aTHX_ var);
    return shm_fetch(aTHX_ var, &place, sv);
}

/* A single scalar for all values that the next operator copies. It is not in use while the user's code may
 * run; references and large values are not kept in it. */
SV *shm_hash_lend(pTHX_ shm_var_t *var, SV *key)
{
    SV *value  = var->value;
    var->value = NULL;
    if (value == NULL || SvREFCNT(value) > 1) {
        SvREFCNT_dec(value);
        value = newSV(0);
    }
    sv_2mortal(value);
    SvTEMP_off(value); /* else who copies it takes its memory */
    shm_hash_fetch(aTHX_ var, key, value);
    if (var->value == NULL && !SvROK(value) && !shm_is_large(value)) var->value = SvREFCNT_inc_simple_NN(value);
    return value;
}

bool shm_hash_exists(pTHX_ shm_var_t *var, SV *key)
{
    store_key_t its  = shm_store_key(aTHX_ var->store, shm_key(aTHX_ key));
    shm_loan_t  loan = { &its, NULL, 0 };
    int         code;
    (void)shm_store_of(aTHX_ var);
    SHM_UNINTERRUPTED_WITH(var, code, &loan, store_hash_get(var->var, &its, NULL, NULL));
    if (code != STORE_OK && code != STORE_ABSENT) shm_fail(aTHX_ var, code, "read");
    return code == STORE_OK;
}

void shm_hash_store(pTHX_ shm_var_t *var, SV *key, SV *sv, uint64_t expires)
{
    SV           *ready = shm_ready(aTHX_ var, sv);
    store_key_t   its   = shm_store_key(aTHX_ var->store, shm_key(aTHX_ key));
    store_value_t value;
    shm_loan_t    loan = { &its, &value, 1 };
    int           code;
    shm_encode(aTHX_ ready, &value);
    (void)shm_store_of(aTHX_ var);
    SHM_CHANGE(var, code, &loan, store_hash_put(var->var, &its, &value, expires));
}

/* A code that only says that the short way is not possible here. */
static int shm_short(int code, bool *done)
{
    *done = code == STORE_OK;
    return code == STORE_E_ARGUMENT || code == STORE_MORE || code == STORE_ABSENT ? (int)STORE_OK : code;
}

bool shm_hash_add(pTHX_ shm_var_t *var, store_key_t *key, int64_t delta, int64_t *sum)
{
    shm_loan_t loan = { key, NULL, 0 };
    bool       added;
    int        code;
    SHM_CHANGE(var, code, &loan, shm_short(store_hash_add(var->var, key, delta, sum), &added));
    return added;
}

/* A value that is removed and returned is fetched first, so that what it leads to stays. */
SV *shm_hash_delete(pTHX_ shm_var_t *var, SV *key)
{
    SV         *old   = sv_newmortal();
    store_key_t its   = shm_store_key(aTHX_ var->store, shm_key(aTHX_ key));
    shm_place_t place = { &its, 0 };
    shm_loan_t  loan  = { &its, NULL, 0 };
    int         code  = STORE_OK;
    shm_begin(aTHX_ var, &loan);
    if (!shm_fetch(aTHX_ var, &place, old)) old = &PL_sv_undef;
    code = store_hash_delete(var->var, &its);
    shm_end(aTHX_ var, code == STORE_ABSENT ? (int)STORE_OK : code);
    shm_show(aTHX_ old);
    return old;
}

/* `key`: the one that was given last; NULL: begin. */
SV *shm_hash_next(pTHX_ shm_var_t *var, SV *key)
{
    char           space[256], *memory = NULL;
    store_buffer_t buffer = { space, sizeof space };
    store_key_t    its, next;
    shm_loan_t     loan = { key != NULL ? &its : NULL, NULL, 0 };
    store_value_t  value;
    SV            *sv;
    int            code;

    if (key != NULL) its = shm_store_key(aTHX_ var->store, key);
    (void)shm_store_of(aTHX_ var);
    for (;;) {
        SHM_UNINTERRUPTED_WITH(var, code, &loan, store_hash_next(var->var, key != NULL ? &its : NULL, &next, &buffer));
        if (code != STORE_MORE) break;
        free(memory);
        buffer.capacity = next.length + 1u;
        if ((buffer.space = memory = (char *)malloc(buffer.capacity)) == NULL) shm_fail(aTHX_ var, STORE_E_SYSTEM, "read");
    }
    if (code != STORE_OK) free(memory);
    if (code == STORE_ABSENT) {
        shm_drop_iterated(aTHX_ var);
        return &PL_sv_undef;
    }
    if (code != STORE_OK) shm_fail(aTHX_ var, code, "read");
    shm_keep_iterated(aTHX_ var);
    value = store_text(next.bytes, next.length, next.is_text);
    sv    = sv_2mortal(shm_key_sv(aTHX_ & value));
    free(memory);
    /* Text that is none, or need not be, is another key to perl: it would be given again and again. */
    if (next.is_text && !shm_store_key(aTHX_ var->store, sv).is_text) shm_fail(aTHX_ var, STORE_E_DAMAGED, "read");
    return sv;
}

UV shm_hash_count(pTHX_ shm_var_t *var)
{
    uint64_t count;
    int      code;
    (void)shm_store_of(aTHX_ var);
    SHM_UNINTERRUPTED(var, code, store_hash_count(var->var, &count));
    if (code != STORE_OK) shm_fail(aTHX_ var, code, "read");
    return (UV)count;
}

/* A reference to a hash, not blessed into a class that overloads that. */
static bool shm_leads_on(pTHX_ const store_value_t *value)
{
    HV *stash;
    if (value->kind != STORE_REF || value->number.ref.type != STORE_HASH) return false;
    if (value->length == 0) return true;
    stash = gv_stashpvn(value->text, (U32)value->length, value->number.ref.is_text ? SVf_UTF8 : 0);
    return stash == NULL || !Gv_AMG(stash);
}

SV *shm_fetch_chain(pTHX_ shm_var_t *var, SV **keys, int depth)
{
    char           space[1024];
    store_buffer_t buffer = { space, sizeof space };
    store_glance_t glance;
    store_var_t   *at = shm_store_of(aTHX_ var);
    store_value_t  value;
    int            i, code;
    SV            *sv;
    for (i = 0; i < depth; i++) {
        store_key_t key = shm_store_key(aTHX_ var->store, shm_key(aTHX_ keys[i]));
        store_ref_t ref;
        code = store_hash_get(at, &key, &value, &buffer);
        if (code == STORE_ABSENT && i + 1 == depth) return &PL_sv_undef;
        if (code != STORE_OK) return NULL;
        if (i + 1 == depth) break;
        if (!shm_leads_on(aTHX_ & value)) return NULL;
        ref = value.number.ref;
        if ((at = store_glance(at, &ref, &glance)) == NULL) return NULL;
    }
    sv = sv_newmortal();
    return shm_decode(aTHX_ var, &value, sv) ? sv : NULL;
}

/* --- arrays --------------------------------------------------------------------------------- */

#define SHM_MAX_INDEX ((IV)1 << 30)

void shm_check_index(pTHX_ IV index)
{
    if (index < 0 || index >= SHM_MAX_INDEX) croak("An array index of %" IVdf " is out of range", index);
}

bool shm_array_fetch(pTHX_ shm_var_t *var, IV index, SV *sv)
{
    shm_place_t place = { NULL, (uint64_t)index };
    (void)shm_store_of(aTHX_ var);
    if (index >= 0) return shm_fetch(aTHX_ var, &place, sv);
    sv_setsv(sv, &PL_sv_undef);
    return false;
}

void shm_array_store(pTHX_ shm_var_t *var, IV index, SV *sv)
{
    store_value_t value;
    shm_loan_t    loan = { NULL, &value, 1 };
    int           code;
    shm_check_index(aTHX_ index);
    sv = shm_ready(aTHX_ var, sv);
    shm_encode(aTHX_ sv, &value);
    (void)shm_store_of(aTHX_ var);
    SHM_CHANGE(var, code, &loan, store_array_put(var->var, (uint64_t)index, &value));
}

IV shm_array_size(pTHX_ shm_var_t *var)
{
    uint64_t size;
    int      code;
    (void)shm_store_of(aTHX_ var);
    SHM_UNINTERRUPTED(var, code, store_array_size(var->var, &size));
    if (code != STORE_OK) shm_fail(aTHX_ var, code, "read");
    return (IV)size;
}

void shm_array_resize(pTHX_ shm_var_t *var, IV size)
{
    int code;
    if (size < 0) size = 0;
    if (size > 0) shm_check_index(aTHX_ size - 1);
    (void)shm_store_of(aTHX_ var);
    SHM_CHANGE(var, code, NULL, store_array_resize(var->var, (uint64_t)size));
}

/* As in perl: without its last element, an array ends with the last existing one before it. */
static int shm_array_remove(shm_var_t *var, uint64_t index, uint64_t size)
{
    if (index + 1 < size) return store_array_delete(var->var, index);
    while (index > 0 && store_array_get(var->var, index - 1, NULL, NULL) == STORE_ABSENT) index--;
    return store_array_resize(var->var, index);
}

SV *shm_array_delete(pTHX_ shm_var_t *var, IV index)
{
    SV         *old   = sv_newmortal();
    shm_place_t place = { NULL, (uint64_t)index };
    int         code  = STORE_OK;
    IV          size;
    if (index < 0) return &PL_sv_undef;
    shm_begin(aTHX_ var, NULL);
    size = shm_array_size(aTHX_ var);
    if (!shm_fetch(aTHX_ var, &place, old)) old = &PL_sv_undef;
    if (index < size) code = shm_array_remove(var, (uint64_t)index, (uint64_t)size);
    shm_end(aTHX_ var, code);
    shm_show(aTHX_ old);
    return old;
}

/* The short way, with one call. False: nothing was taken, because the array is empty, or the value is
 * large or a reference. */
static bool shm_array_take_plain(pTHX_ shm_var_t *var, bool last, SV *sv)
{
    char           space[256];
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value;
    bool           taken;
    int            code;
    (void)shm_store_of(aTHX_ var);
    SHM_CHANGE(var, code, NULL, shm_short(store_array_take(var->var, last, &value, &buffer), &taken));
    return taken && shm_decode(aTHX_ var, &value, sv);
}

SV *shm_array_take(pTHX_ shm_var_t *var, bool last)
{
    SV         *old   = sv_newmortal();
    shm_place_t place = { NULL, 0 };
    int         code  = STORE_OK;
    IV          size;
    if (!last && SHM_UNLIKELY(store_queue_is_used(shm_store_of(aTHX_ var)))) /* what the dead had reserved comes first */
        return shm_queue_take(aTHX_ var, old, NULL) ? old : &PL_sv_undef;
    if (SHM_LIKELY(shm_array_take_plain(aTHX_ var, last, old))) return old;
    shm_begin(aTHX_ var, NULL);
    size = shm_array_size(aTHX_ var);
    if (last && size > 0) place.index = (uint64_t)size - 1;
    if (size == 0)
        old = &PL_sv_undef;
    else {
        shm_fetch(aTHX_ var, &place, old);
        code = store_array_splice(var->var, place.index, 1, NULL, 0);
    }
    shm_end(aTHX_ var, code);
    shm_show(aTHX_ old);
    return old;
}

#define SHM_FEW 4

/* Make the values on Perl's stack ready, which may move it, then encode them: into `few`, or memory
 * that is freed at the end of the scope. */
static store_value_t *shm_encode_list(pTHX_ shm_var_t *var, SSize_t first, SSize_t count, store_value_t few[SHM_FEW])
{
    store_value_t *values = few;
    SSize_t        i;
    for (i = 0; i < count; i++) {
        SV *ready                = shm_ready(aTHX_ var, PL_stack_base[first + i]); /* which may move the stack */
        PL_stack_base[first + i] = ready;
    }
    if (count > SHM_FEW) {
        Newx(values, (size_t)count, store_value_t);
        SAVEFREEPV(values);
    }
    for (i = 0; i < count; i++) shm_encode(aTHX_ PL_stack_base[first + i], &values[i]);
    return values;
}

/* Apply perl's arguments to a size. Dies for an offset before the beginning. */
static void shm_splice_bounds(pTHX_ shm_var_t *var, shm_splice_t *splice, IV size)
{
    IV offset = splice->offset;
    if (offset < 0 && (offset += size) < 0) {
        if (!var->armed) store_abort(var->var);
        croak("Modification of non-creatable array value attempted, subscript %" IVdf, offset - size);
    }
    splice->past = offset > size;
    if (splice->past) offset = size;
    if (splice->to_end)
        splice->length = size - offset;
    else if (splice->length < 0 && (splice->length += size - offset) < 0)
        splice->length = 0;
    if (splice->length > size - offset) splice->length = size - offset;
    splice->offset = offset;
}

IV shm_array_splice(pTHX_ shm_var_t *var, shm_splice_t *splice)
{
    store_value_t few[SHM_FEW], *values;
    int           code = STORE_OK;
    IV            size, i;
    shm_loan_t    loan = { NULL, NULL, splice->count };
    if (splice->count > SHM_FEW) ENTER;
    loan.values = values = shm_encode_list(aTHX_ var, splice->first, splice->count, few);
    shm_begin(aTHX_ var, &loan);
    size = shm_array_size(aTHX_ var);
    shm_splice_bounds(aTHX_ var, splice, size);
    for (i = 0; splice->removed != NULL && i < splice->length; i++) {
        shm_place_t place = { NULL, (uint64_t)(splice->offset + i) };
        SV         *old   = newSV(0);
        av_push(splice->removed, old);
        shm_fetch(aTHX_ var, &place, old);
    }
    if (splice->length > 0 || splice->count > 0)
        code = store_array_splice(var->var, (uint64_t)splice->offset, (uint64_t)splice->length, values, (uint64_t)splice->count);
    shm_end(aTHX_ var, code);
    for (i = 0; splice->removed != NULL && i <= av_len(splice->removed); i++) shm_show(aTHX_ AvARRAY(splice->removed)[i]);
    if (splice->count > SHM_FEW) LEAVE;
    return size - splice->length + splice->count;
}

IV shm_array_push(pTHX_ shm_var_t *var, SSize_t first, SSize_t count)
{
    shm_splice_t  splice = { IV_MAX, 0, false, false, first, count, NULL };
    store_value_t value;
    shm_loan_t    loan = { NULL, &value, 1 };
    uint64_t      size;
    int           code;
    if (count != 1) return shm_array_splice(aTHX_ var, &splice);
    shm_encode(aTHX_ shm_ready(aTHX_ var, PL_stack_base[first]), &value);
    (void)shm_store_of(aTHX_ var);
    SHM_CHANGE(var, code, &loan, store_array_push(var->var, &value, &size));
    return (IV)size;
}

/* --- scalars ----------------------------------------------------------------------------------- */

/* The value that was decoded last; it is valid as long as the variable does not change. */
SV *shm_scalar_fetch(pTHX_ shm_var_t *var)
{
    shm_place_t place = { NULL, 0 };
    if (SHM_LIKELY(var->value != NULL && store_is_unchanged(shm_store_of(aTHX_ var), var->serial))) return var->value;
    if (var->value == NULL || SvREFCNT(var->value) > 1 || SvROK(var->value) || shm_is_large(var->value)) {
        sv_2mortal(var->value); /* its destructor may run the user's code */
        var->value = newSV(0);
    }
    var->serial = UINT64_MAX;
    (void)shm_store_of(aTHX_ var);
    {
        SV      *value  = var->value; /* a handler may come in between */
        uint64_t serial = store_serial(var->var);
        bool     open   = store_is_open(var->var);
        SvREFCNT_inc_simple_void_NN(value);
        sv_2mortal(value);
        shm_fetch(aTHX_ var, &place, value);
        if (var->value == value && !open && store_serial(var->var) == serial) var->serial = serial;
        return value;
    }
}

void shm_scalar_store(pTHX_ shm_var_t *var, SV *sv)
{
    store_value_t value;
    shm_loan_t    loan = { NULL, &value, 1 };
    int           code;
    sv = shm_ready(aTHX_ var, sv);
    shm_encode(aTHX_ sv, &value);
    (void)shm_store_of(aTHX_ var);
    code = (var->armed | shm_joints) != 0 ? (int)STORE_INTERRUPTED : store_scalar_put(var->var, &value);
    if (SHM_UNLIKELY(code == STORE_INTERRUPTED)) {
        if (SvROK(sv)) sv_2mortal(SvREFCNT_inc_NN(SvRV(sv))); /* it may be overwritten by a handler */
        shm_keep_loan(aTHX_ & loan);
        shm_run_handlers(aTHX_ var);
        SHM_CHANGE(var, code, &loan, store_scalar_put(var->var, &value));
    }
    if (code != STORE_OK) shm_fail(aTHX_ var, code, "store");
    shm_tend(aTHX);
    if (var->value != NULL && (SvROK(var->value) || shm_is_large(var->value))) { /* nobody needs it any more */
        sv_2mortal(var->value);
        var->value = NULL;
    }
}

void shm_clear(pTHX_ shm_var_t *var)
{
    int code;
    (void)shm_store_of(aTHX_ var);
    SHM_CHANGE(var, code, NULL, var->type == STORE_HASH ? store_hash_clear(var->var) : store_array_resize(var->var, 0));
}

/* Of a number beyond IV_MAX and a negative one: it is always in the range of one of the two. */
static SV *shm_difference(pTHX_ UV large, IV negative)
{
    UV wrapped = large + (UV)negative;
    return sv_2mortal(large >= 0 - (UV)negative ? newSVuv(wrapped) : newSViv((IV)wrapped));
}

/* With integers where that is exact. NULL: this is not a number. */
SV *shm_sum(pTHX_ SV *value, SV *delta)
{
    SV *a = sv_2mortal(newSV(0)), *b = sv_2mortal(newSVsv(delta));
    IV  sum;
    UV  usum;
    if (SvROK(value) || (SvOK(value) && !looks_like_number(value)) || !looks_like_number(b)) return NULL;
    sv_setsv(a, SvOK(value) ? value : sv_2mortal(newSViv(0)));
    (void)SvIV(a);
    (void)SvIV(b);
    if (SvIOK(a) && SvIOK(b) && !SvIsUV(a) && !SvIsUV(b) && !__builtin_add_overflow(SvIVX(a), SvIVX(b), &sum))
        return sv_2mortal(newSViv(sum));
    if (SvIOK(a) && SvIOK(b) && (SvIsUV(a) || SvIVX(a) >= 0) && (SvIsUV(b) || SvIVX(b) >= 0)
        && !__builtin_add_overflow(SvUVX(a), SvUVX(b), &usum))
        return sv_2mortal(newSVuv(usum));
    if (SvIOK(a) && SvIOK(b) && SvIsUV(a) && !SvIsUV(b) && SvIVX(b) < 0) return shm_difference(aTHX_ SvUVX(a), SvIVX(b));
    if (SvIOK(a) && SvIOK(b) && SvIsUV(b) && !SvIsUV(a) && SvIVX(a) < 0) return shm_difference(aTHX_ SvUVX(b), SvIVX(a));
    return sv_2mortal(newSVnv(SvNV(a) + SvNV(b)));
}

/* --- autovivification ------------------------------------------------------------------------------ */

/* Does perl store a new, empty container because the element was undefined a moment ago? Another process
 * may have stored one since: then that is used. */
static bool shm_vivifies(pTHX_ SV *sv)
{
    const OP *op = PL_op;
    SV       *target;
    if (!SvROK(sv) || op == NULL) return false;
    switch (op->op_type) {
    case OP_HELEM:
    case OP_AELEM:
    case OP_PADSV:
    case OP_RV2SV:
        if ((op->op_private & OPpDEREF) == 0) return false;
        break;
    case OP_MULTIDEREF: break;
    default: return false;
    }
    target = SvRV(sv);
    if (SvREFCNT(target) != 1 || SvOBJECT(target) || SvMAGICAL(target)) return false;
    if (SvTYPE(target) == SVt_PVHV) return HvUSEDKEYS((HV *)target) == 0;
    return SvTYPE(target) == SVt_PVAV ? AvFILLp((AV *)target) < 0 : !SvOK(target);
}

static void shm_vivify(pTHX_ shm_var_t *var, const shm_place_t *place, SV *sv)
{
    store_value_t value, found;
    shm_loan_t    loan = { place->key, &value, 1 };
    int           code;
    sv = shm_ready(aTHX_ var, sv);
    shm_encode(aTHX_ sv, &value);
    shm_begin(aTHX_ var, &loan);
    code = shm_get(var, place, &found, NULL);
    if (code == STORE_ABSENT || (code == STORE_OK && found.kind == STORE_UNDEF)) {
        code = place->key != NULL         ? store_hash_put(var->var, place->key, &value, 0)
               : var->type == STORE_ARRAY ? store_array_put(var->var, place->index, &value)
                                          : store_scalar_put(var->var, &value);
        shm_end(aTHX_ var, code);
        return;
    }
    shm_end(aTHX_ var, STORE_OK);
}

/* --- the short way ------------------------------------------------------------------------------------ */

shm_var_t *shm_of_magic(pTHX_ const MAGIC *mg)
{
    static const char *const classes[] = { "", "IPC::Shm::Scalar", "IPC::Shm::Array", "IPC::Shm::Hash" };
    shm_var_t               *var       = mg->mg_obj != NULL ? shm_handle_of(aTHX_ mg->mg_obj) : NULL;
    HV                      *stash;
    if (var == NULL) return NULL;
    stash = SvSTASH(SvRV(mg->mg_obj));
    if (SHM_LIKELY(stash == var->stash)) return var;
    if (stash != gv_stashpv(classes[var->type], 0)) return NULL;
    var->stash = stash; /* not made by shm_object(): cloned */
    return var;
}

static int shm_magic_get(pTHX_ SV *sv, MAGIC *mg)
{
    shm_var_t *var = shm_of_magic(aTHX_ mg);
    if (SHM_UNLIKELY(var == NULL)) return PL_vtbl_packelem.svt_get(aTHX_ sv, mg);
    if (var->type == STORE_SCALAR)
        sv_setsv(sv, shm_scalar_fetch(aTHX_ var));
    else {
        mg->mg_flags |= MGf_GSKIP; /* once is enough, as with any tied element */
        if (var->type == STORE_HASH)
            shm_hash_fetch(aTHX_ var, (SV *)(void *)mg->mg_ptr, sv);
        else
            shm_array_fetch(aTHX_ var, (IV)mg->mg_len, sv);
    }
    return 0;
}

static int shm_magic_set(pTHX_ SV *sv, MAGIC *mg)
{
    shm_var_t  *var = shm_of_magic(aTHX_ mg);
    store_key_t key;
    shm_place_t place = { NULL, (uint64_t)mg->mg_len };
    if (SHM_UNLIKELY(var == NULL)) return PL_vtbl_packelem.svt_set(aTHX_ sv, mg);
    if (SHM_UNLIKELY(shm_vivifies(aTHX_ sv))) {
        if (var->type == STORE_ARRAY) shm_check_index(aTHX_(IV) mg->mg_len);
        if (var->type == STORE_HASH) {
            key       = shm_store_key(aTHX_ var->store, shm_key(aTHX_(SV *)(void *) mg->mg_ptr));
            place.key = &key;
        }
        shm_vivify(aTHX_ var, &place, sv);
    }
    else if (var->type == STORE_HASH)
        shm_hash_store(aTHX_ var, (SV *)(void *)mg->mg_ptr, sv, 0);
    else if (var->type == STORE_ARRAY)
        shm_array_store(aTHX_ var, (IV)mg->mg_len, sv);
    else
        shm_scalar_store(aTHX_ var, sv);
    return 0;
}

/* The highest index of an array: what `$#a` and negative indices ask for. */
static U32 shm_magic_size(pTHX_ SV *sv, MAGIC *mg)
{
    shm_var_t *var = SvTYPE(sv) == SVt_PVAV ? shm_of_magic(aTHX_ mg) : NULL;
    if (SHM_UNLIKELY(var == NULL)) return PL_vtbl_pack.svt_len(aTHX_ sv, mg);
    shm_meet(aTHX);
    return (U32)(shm_array_size(aTHX_ var) - 1);
}

MGVTBL shm_element_vtbl, shm_tied_vtbl;

/* It keeps the value of its moment. But without a get function perl would take it for a plain number, and
 * `$_++` would change it without telling anybody. */
static int shm_alias_get(pTHX_ SV *sv, MAGIC *mg)
{
    PERL_UNUSED_CONTEXT;
    PERL_UNUSED_VAR(sv);
    PERL_UNUSED_VAR(mg);
    return 0;
}
static MGVTBL shm_alias_vtbl = { shm_alias_get, shm_magic_set, 0, 0, 0, 0, 0, 0 };

void shm_make_alias(pTHX_ SV *sv, SV *object, SV *key, IV index)
{
    SvTEMP_off(sv); /* a list assignment takes temporaries as they are, magic and all */
    if (key != NULL)
        sv_magicext(sv, object, PERL_MAGIC_tiedelem, &shm_alias_vtbl, (const char *)key, HEf_SVKEY);
    else
        sv_magicext(sv, object, PERL_MAGIC_tiedelem, &shm_alias_vtbl, NULL, (I32)index);
}

/* A temporary `element` for an access to the tied container gets its magic. */
static int shm_magic_copy(pTHX_ SV *container, MAGIC *mg, SV *element, const char *key, I32 length)
{
    bool keyed = SvTYPE(container) == SVt_PVHV ? length == HEf_SVKEY && key != NULL : key == NULL;
    shm_meet(aTHX);
    if (keyed && mg->mg_obj != NULL)
        sv_magicext(element, mg->mg_obj, PERL_MAGIC_tiedelem, &shm_element_vtbl, key, length);
    else
        sv_magic(element, SvTIED_obj(container, mg), PERL_MAGIC_tiedelem, key, length);
    return 1;
}

/* As perl's own, but for what is above. */
void shm_magic_prepare(void)
{
    shm_element_vtbl         = PL_vtbl_packelem;
    shm_element_vtbl.svt_get = shm_magic_get;
    shm_element_vtbl.svt_set = shm_magic_set;
    shm_tied_vtbl            = PL_vtbl_pack;
    shm_tied_vtbl.svt_len    = shm_magic_size;
    shm_tied_vtbl.svt_copy   = shm_magic_copy;
}

void shm_quicken(pTHX_ SV *container)
{
    bool       scalar = shm_type_of(container) == STORE_SCALAR;
    MAGIC     *mg     = SvTYPE(container) >= SVt_PVMG ? mg_find(container, scalar ? PERL_MAGIC_tiedscalar : PERL_MAGIC_tied) : NULL;
    shm_var_t *var    = mg != NULL && mg->mg_obj != NULL ? shm_handle_of(aTHX_ mg->mg_obj) : NULL;
    if (var == NULL) return;
    mg->mg_virtual = scalar ? &shm_element_vtbl : &shm_tied_vtbl;
    if (!scalar) mg->mg_flags |= MGf_COPY;
    shm_know_container(aTHX_ var, container);
}
