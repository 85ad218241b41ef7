/*
 * shm_record.h - what happens to a variable, as records, and carrying them out on
 * this process's copy of it.
 *
 *   record   = op, operands
 *   SET      value                          (scalars)
 *   SET      key, value                     (hashes)
 *   SET      index, value                   (arrays)
 *   DELETE   key | index
 *   CLEAR
 *   SIZE     new length                     (arrays)
 *   SPLICE   offset, length, count, values  (arrays: push, shift and all)
 *   LOAD     count, then values | keys and values: a snapshot
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_RECORD_H
#define SHM_RECORD_H

#include "shm_var.h"

enum shm_op { SHM_SET = 1, SHM_DELETE, SHM_CLEAR, SHM_SIZE, SHM_SPLICE, SHM_LOAD };

/* What a record changed. */
typedef struct shm_delta {
    int64_t live, elements, standins;
} shm_delta_t;

/* The work space of a thread: the records that are being made, and the batch. */
typedef struct shm_work {
    shm_buffer_t record, values, copy, snapshot, entries, pending;
    shm_buffer_t dropped;     /* shm_id_t: variables that the change no longer refers to */
    shm_buffer_t added;       /* shm_id_t: variables that a record refers to */
    shm_buffer_t batch_added; /* likewise, the pending records */
    shm_buffer_t kept;        /* SV *, counted: what may lead to objects that this process has */
    shm_draft_t  draft;
    shm_var_t   *batch; /* locked, with records pending */
    uint32_t     batching;
    bool         replaced; /* the pending records start from an empty variable */
    U32          hash;     /* of the key of the record that is written; 0: not known */
    shm_delta_t  delta;
    bool         registry; /* the registry lock is held */
    shm_var_t   *applying; /* whose copy records are carried out on; NULL: nobody's, it is only looked at */
} shm_work_t;

static __thread shm_work_t shm_work;

static void shm_take_refs(pTHX_ shm_space_t *space, const shm_buffer_t *ids); /* shm_refs.h */
static void shm_drop_refs(shm_space_t *space, shm_buffer_t *ids);
static void shm_note_kept(pTHX_ const shm_var_t *var, SV *sv);
static void shm_keep_objects(pTHX_ shm_var_t *var);

static void shm_batch_forget(void)
{
    if (shm_work.batch != NULL) shm_cursor_reset(&shm_work.batch->at);
    shm_work.batch    = NULL;
    shm_work.batching = 0;
}

/* --- values in the copy ------------------------------------------------ */

/* Remember what a value refers to, if it does, as no longer referred to. */
static void shm_note_dropped(pTHX_ SV *sv, shm_delta_t *delta)
{
    shm_standin_t standin;
    if (sv == NULL) return;
    if (SvROK(sv)) {
        bool       foreign;
        shm_var_t *var = shm_handle_of_container(aTHX_ SvRV(sv), &foreign);
        if (var == NULL) return;
        standin.id = var->id;
    }
    else if (shm_is_standin(sv))
        shm_standin_of(sv, &standin);
    else
        return;
    delta->standins--;
    shm_buffer_put(&shm_work.dropped, &standin.id, sizeof standin.id);
}

/* Read a value over *place, which may be NULL: there was none. References are
 * let go at the end of the statement: their destructors may run code, which must
 * not happen in here. NULL is returned for a hole. */
static SV *shm_replace(pTHX_ shm_reader_t *in, SV *old, shm_delta_t *delta)
{
    const uint8_t *start = in->at;
    if (old != NULL && (SvROK(old) || SvMAGICAL(old))) {
        shm_note_dropped(aTHX_ old, delta);
        sv_2mortal(old);
        old = NULL;
    }
    if (old == NULL) old = newSV(0);
    if (!shm_get_value(aTHX_ in, old)) {
        sv_2mortal(old);
        return NULL;
    }
    if (*start == SHM_T_STANDIN) {
        delta->standins++;
        if (shm_work.applying != NULL) shm_note_kept(aTHX_ shm_work.applying, old);
    }
    return old;
}

static void shm_forget_value(pTHX_ SV *sv, shm_delta_t *delta)
{
    if (sv == NULL) return;
    shm_note_dropped(aTHX_ sv, delta);
    delta->live -= (int64_t)shm_plain_size(sv);
}

/* Empty the copy. References are let go at the end of the statement. */
static void shm_clear_copy(pTHX_ shm_var_t *var, shm_delta_t *delta)
{
    if (var->type == SHM_SCALAR) {
        SV *old = var->cache;
        shm_forget_value(aTHX_ old, delta);
        var->cache = newSV(0);
        sv_2mortal(old);
        return;
    }
    if (var->type == SHM_HASH) {
        HV    *hv = (HV *)var->cache;
        STRLEN i, max = HvMAX(hv);
        HE   **buckets = HvARRAY(hv), *entry;
        if (buckets != NULL && HvUSEDKEYS(hv) > 0)
            for (i = 0; i <= max; i++)
                for (entry = buckets[i]; entry != NULL; entry = HeNEXT(entry)) {
                    shm_note_dropped(aTHX_ HeVAL(entry), delta);
                    if (SvROK(HeVAL(entry))) sv_2mortal(SvREFCNT_inc_NN(HeVAL(entry)));
                }
        delta->elements -= (int64_t)HvUSEDKEYS(hv);
        hv_clear(hv);
        return;
    }
    else {
        AV     *av = (AV *)var->cache;
        SSize_t i;
        for (i = 0; i <= AvFILLp(av); i++)
            if (AvARRAY(av)[i] != NULL && (SvROK(AvARRAY(av)[i]) || SvMAGICAL(AvARRAY(av)[i]))) {
                shm_note_dropped(aTHX_ AvARRAY(av)[i], delta);
                sv_2mortal(SvREFCNT_inc_NN(AvARRAY(av)[i]));
            }
        delta->elements -= (int64_t)(AvFILLp(av) + 1);
        av_clear(av);
    }
}

/* --- records ----------------------------------------------------------- */

/* The place of a key, made if there is none. Where the record is our own, its hash
 * is known already. */
static SV **shm_hash_place(pTHX_ HV *hv, const char *key, I32 length)
{
    U32 hash      = shm_work.hash;
    shm_work.hash = 0;
    return (SV **)hv_common_key_len(hv, key, length, HV_FETCH_JUST_SV | HV_FETCH_LVALUE, NULL, hash);
}

static void shm_apply_hash_set(pTHX_ HV *hv, shm_reader_t *in, shm_delta_t *delta)
{
    size_t      length, before = HvUSEDKEYS(hv);
    bool        utf8;
    const char *key  = shm_get_text(in, &length, &utf8);
    int64_t     size = (int64_t)(in->end - in->at);
    SV        **place, *value;

    if (in->bad || length > I32_MAX || (place = shm_hash_place(aTHX_ hv, key, utf8 ? -(I32)length : (I32)length)) == NULL) {
        in->bad = true;
        return;
    }
    if (HvUSEDKEYS(hv) != before) {
        delta->elements++;
        delta->live += 1 + (int64_t)length;
    }
    else
        delta->live -= (int64_t)shm_plain_size(*place);
    if ((value = shm_replace(aTHX_ in, *place, delta)) == NULL) value = newSV(0);
    *place = value;
    delta->live += size - (int64_t)(in->end - in->at);
}

static void shm_apply_hash_delete(pTHX_ HV *hv, shm_reader_t *in, shm_delta_t *delta)
{
    size_t      length;
    bool        utf8;
    const char *key = shm_get_text(in, &length, &utf8);
    SV         *old;

    if (in->bad || length > I32_MAX) return;
    old = hv_delete(hv, key, utf8 ? -(I32)length : (I32)length, 0); /* a mortal */
    if (old == NULL) return;
    shm_forget_value(aTHX_ old, delta);
    delta->elements--;
    delta->live -= 1 + (int64_t)length;
}

static void shm_apply_hash(pTHX_ shm_var_t *var, enum shm_op op, shm_reader_t *in, shm_delta_t *delta)
{
    HV      *hv = (HV *)var->cache;
    uint64_t count;
    switch (op) {
    case SHM_SET: shm_apply_hash_set(aTHX_ hv, in, delta); break;
    case SHM_DELETE: shm_apply_hash_delete(aTHX_ hv, in, delta); break;
    case SHM_CLEAR: shm_clear_copy(aTHX_ var, delta); break;
    case SHM_LOAD:
        count = shm_get_varint(in);
        if (count > HvMAX(hv) && count < (uint64_t)(in->end - in->at)) hv_ksplit(hv, (IV)count);
        for (; count > 0 && !in->bad; count--) shm_apply_hash_set(aTHX_ hv, in, delta);
        break;
    default: in->bad = true;
    }
}

/* Room for a length that a record asks for? Not more than Perl can have. */
static bool shm_sane_length(uint64_t length)
{
    return length < ((uint64_t)1 << 40);
}

/* Let the array have `length` elements, the new ones holes. Not av_fill(), which
 * takes what is behind the end for holes: perl 5.36 leaves stale pointers there
 * when it extends an array that was shifted. */
static void shm_fill_array(pTHX_ AV *av, uint64_t length)
{
    SSize_t i;
    av_extend(av, (SSize_t)length - 1);
    for (i = AvFILLp(av) + 1; i < (SSize_t)length; i++) AvARRAY(av)[i] = NULL;
    AvFILLp(av) = (SSize_t)length - 1;
}

static void shm_trim_array(pTHX_ AV *av, uint64_t length, shm_delta_t *delta)
{
    while ((uint64_t)(AvFILLp(av) + 1) > length) {
        SV *old = av_pop(av);
        if (old == NULL || old == &PL_sv_undef) continue;
        shm_forget_value(aTHX_ old, delta);
        sv_2mortal(old);
    }
}

/* Make `count` places at `offset` in place of `length` that were there. What was
 * there goes into `removed` (holes as undef), or is let go. */
static void shm_open_gap(pTHX_ AV *av, uint64_t offset, uint64_t length, uint64_t count, AV *removed, shm_delta_t *delta)
{
    uint64_t size = (uint64_t)(AvFILLp(av) + 1), i, tail = size - offset - length;
    SV     **array;

    for (i = 0; i < length; i++) {
        SV *old = AvARRAY(av)[offset + i];
        shm_forget_value(aTHX_ old, delta);
        if (removed != NULL)
            av_push(removed, old != NULL ? old : newSV(0));
        else if (old != NULL)
            sv_2mortal(old);
        AvARRAY(av)[offset + i] = NULL;
    }
    if (length > 0 && count == 0 && offset == 0) { /* shift: no element moves */
        for (i = 0; i < length; i++) SvREFCNT_dec(av_shift(av));
        return;
    }
    if (offset == 0 && length == 0 && count > 0 && size > 0) {
        av_unshift(av, (SSize_t)count);
        for (i = 0; i < count; i++) AvARRAY(av)[i] = NULL; /* see shm_fill_array() */
        return;
    }
    if (count > length) av_extend(av, (SSize_t)(size + count - length) - 1);
    array = AvARRAY(av);
    if (tail > 0 && count != length) Move(array + offset + length, array + offset + count, tail, SV *);
    AvFILLp(av) = (SSize_t)(size + count - length) - 1;
    for (i = 0; i < count; i++) array[offset + i] = NULL;
    for (i = size + count - length; i < size; i++) array[i] = NULL;
}

static void shm_apply_splice(pTHX_ AV *av, shm_reader_t *in, AV *removed, shm_delta_t *delta)
{
    uint64_t offset = shm_get_varint(in), length = shm_get_varint(in), count = shm_get_varint(in), i;
    uint64_t size = (uint64_t)(AvFILLp(av) + 1);
    int64_t  left = (int64_t)(in->end - in->at);

    if (in->bad || offset > size || length > size - offset || count > (uint64_t)left) {
        in->bad = true;
        return;
    }
    shm_open_gap(aTHX_ av, offset, length, count, removed, delta);
    for (i = 0; i < count && !in->bad; i++) AvARRAY(av)[offset + i] = shm_replace(aTHX_ in, NULL, delta);
    delta->live += left - (int64_t)(in->end - in->at);
}

static void shm_apply_array(pTHX_ shm_var_t *var, enum shm_op op, shm_reader_t *in, AV *removed, shm_delta_t *delta)
{
    AV      *av     = (AV *)var->cache;
    int64_t  before = AvFILLp(av) + 1, left;
    uint64_t index;
    SV     **place;

    switch (op) {
    case SHM_SET:
        index = shm_get_varint(in);
        left  = (int64_t)(in->end - in->at);
        if (in->bad || !shm_sane_length(index)) {
            in->bad = true;
            return;
        }
        if (index >= (uint64_t)before) shm_fill_array(aTHX_ av, index + 1);
        place = &AvARRAY(av)[index];
        if (*place != NULL) delta->live -= (int64_t)shm_plain_size(*place);
        *place = shm_replace(aTHX_ in, *place, delta);
        delta->live += left - (int64_t)(in->end - in->at);
        break;
    case SHM_DELETE: {
        SV *old;
        index = shm_get_varint(in);
        if (in->bad || !shm_sane_length(index)) return;
        old = av_delete(av, (SSize_t)index, 0); /* a mortal */
        shm_forget_value(aTHX_ old, delta);
        break;
    }
    case SHM_CLEAR: shm_clear_copy(aTHX_ var, delta); return;
    case SHM_SIZE:
        index = shm_get_varint(in);
        if (in->bad || !shm_sane_length(index)) {
            in->bad = true;
            return;
        }
        shm_trim_array(aTHX_ av, index, delta);
        if (index > (uint64_t)(AvFILLp(av) + 1)) shm_fill_array(aTHX_ av, index);
        break;
    case SHM_SPLICE:
    case SHM_LOAD: shm_apply_splice(aTHX_ av, in, removed, delta); break;
    default: in->bad = true;
    }
    delta->elements += AvFILLp(av) + 1 - before;
}

static void shm_apply_scalar(pTHX_ shm_var_t *var, enum shm_op op, shm_reader_t *in, shm_delta_t *delta)
{
    int64_t left = (int64_t)(in->end - in->at);
    SV     *value;
    if (op == SHM_CLEAR) {
        shm_clear_copy(aTHX_ var, delta);
        return;
    }
    if (op != SHM_SET) {
        in->bad = true;
        return;
    }
    delta->live -= (int64_t)shm_plain_size(var->cache);
    if ((value = shm_replace(aTHX_ in, var->cache, delta)) == NULL) value = newSV(0);
    var->cache = value;
    delta->live += left - (int64_t)(in->end - in->at);
}

/* A hash is about to change while the user is in the middle of going through it:
 * let him go on with the keys that were left. */
static void shm_keep_iteration(pTHX_ shm_var_t *var)
{
    HV *hv = (HV *)var->cache;
    HE *entry;
    if (var->left != NULL || !SvOOK(hv) || HvEITER_get(hv) == NULL) return;
    var->left = newAV();
    while ((entry = hv_iternext(hv)) != NULL) av_push(var->left, newSVsv(hv_iterkeysv(entry)));
    hv_iterinit(hv);
}

/* Carry out records. `removed` (may be NULL) receives what a splice takes out.
 * False: the bytes make no sense. */
static bool shm_apply(pTHX_ shm_var_t *var, const uint8_t *data, size_t length, AV *removed, shm_delta_t *delta)
{
    shm_reader_t in;
    in.at  = data;
    in.end = data + length;
    in.bad = false;
    if (var->type == SHM_HASH && length > 0) shm_keep_iteration(aTHX_ var);
    shm_work.applying = var->object != NULL ? var : NULL;
    while (in.at < in.end && !in.bad) {
        enum shm_op op = (enum shm_op)shm_get_byte(&in);
        if (var->type == SHM_HASH)
            shm_apply_hash(aTHX_ var, op, &in, delta);
        else if (var->type == SHM_ARRAY)
            shm_apply_array(aTHX_ var, op, &in, removed, delta);
        else
            shm_apply_scalar(aTHX_ var, op, &in, delta);
    }
    shm_work.applying = NULL;
    return !in.bad;
}

#endif /* SHM_RECORD_H */
