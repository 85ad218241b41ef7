/*
 * shm_journal.h - from the stream of bytes to the native variable, and back.
 *
 * A change is encoded as a record, the record is written behind the stream, then
 * carried out on this process's copy of the variable by the same function that
 * other processes will replay it with, and then published. So all see the same.
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
 * A BATCH is what one Perl operation (a list assignment) does to a variable in
 * many calls: its records are collected, and published together when it ends.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_JOURNAL_H
#define SHM_JOURNAL_H

#include "shm_var.h"

enum shm_op { SHM_SET = 1, SHM_DELETE, SHM_CLEAR, SHM_SIZE, SHM_SPLICE, SHM_LOAD };

#define SHM_TRIES 16 /* copies without a lock that a reader loses before it takes the lock */

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
    return !in.bad;
}

/* --- values into records ------------------------------------------------ */

/* A value of the copy or of the caller, whose references all are to shared
 * variables by now. */
static void shm_put_value(pTHX_ shm_buffer_t *out, SV *sv)
{
    if (sv == NULL)
        shm_put_byte(out, SHM_T_HOLE);
    else if (SvROK(sv)) {
        SV           *target = SvRV(sv);
        bool          foreign;
        shm_var_t    *var = shm_handle_of_container(aTHX_ target, &foreign);
        shm_standin_t standin;
        if (var == NULL) {
            shm_put_byte(out, SHM_T_UNDEF);
            return;
        }
        memset(&standin, 0, sizeof standin);
        standin.id   = var->id;
        standin.type = var->type;
        if (SvOBJECT(target)) {
            HEK *name    = HvNAME_HEK(SvSTASH(target));
            var->blessed = SvSTASH(target);
            if (name != NULL) {
                standin.class_name   = HEK_KEY(name);
                standin.class_length = (size_t)HEK_LEN(name);
                standin.class_utf8   = cBOOL(HEK_UTF8(name));
            }
        }
        if (standin.class_name == NULL) standin.class_name = "";
        shm_put_standin(out, &standin);
    }
    else if (shm_is_standin(sv)) {
        MAGIC *mg = mg_findext(sv, PERL_MAGIC_ext, &shm_standin_vtbl);
        shm_buffer_put(out, mg->mg_ptr, (size_t)mg->mg_len);
    }
    else
        shm_put_plain(aTHX_ out, sv);
}

/* Where a snapshot goes: piece by piece behind the end of the draft, so that it is
 * not in memory as a whole. */
#define SHM_PIECE ((size_t)1 << 16)
typedef struct shm_sink {
    shm_var_t    *var;
    shm_draft_t  *draft;
    shm_buffer_t *piece;
    bool          ok;
} shm_sink_t;

/* Write the piece if it has at least so many bytes. False, with draft->err: it
 * could not be written, nor will the rest. */
static bool shm_pass_on(shm_sink_t *sink, size_t least)
{
    const shm_space_t *space = sink->var->space;
    if (POOL_UNLIKELY(sink->piece->failed)) sink->ok = shm_fail(&sink->draft->err, POOL_E_SYSTEM, ENOMEM, "cannot be written", space->path);
    if (POOL_LIKELY(!sink->ok || sink->piece->length < least)) return sink->ok;
    sink->ok            = shm_append(sink->var->space, sink->var->id.slot, sink->draft, sink->piece->data, sink->piece->length);
    sink->piece->length = 0;
    return sink->ok;
}

/* Some entries: a step of the way from entry to string for all of them, so that
 * most of their cache misses overlap. */
static void shm_put_entries(pTHX_ shm_buffer_t *out, HE *const *entries, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++) {
        __builtin_prefetch(HeKEY_hek(entries[i]));
        __builtin_prefetch(HeVAL(entries[i]));
    }
    for (i = 0; i < count; i++) {
        __builtin_prefetch(SvANY(HeVAL(entries[i])));
        __builtin_prefetch(HeVAL(entries[i])->sv_u.svu_pv); /* whatever it is, if it is no string */
    }
    for (i = 0; i < count; i++) {
        HEK *key = HeKEY_hek(entries[i]);
        shm_put_text(out, HEK_KEY(key), (size_t)HEK_LEN(key), cBOOL(HEK_UTF8(key)));
        shm_put_value(aTHX_ out, HeVAL(entries[i]));
    }
}

/* The entries of a hash; not by the iterator, which is the user's. With room
 * behind them to sort them. False: out of memory. */
static bool shm_gather_entries(HV *hv, shm_buffer_t *entries)
{
    HE   **buckets = HvARRAY(hv), *entry;
    STRLEN i, max = HvMAX(hv);
    entries->length = 0;
    entries->failed = false;
    if (buckets == NULL) return true;
    if (!shm_buffer_reserve(entries, 2 * HvTOTALKEYS(hv) * sizeof entry)) return false;
    for (i = 0; i <= max; i++) {
        if (i + 16 <= max) __builtin_prefetch(buckets[i + 16]);
        for (entry = buckets[i]; entry != NULL; entry = HeNEXT(entry))
            if (HeVAL(entry) != &PL_sv_placeholder) shm_buffer_put(entries, &entry, sizeof entry);
    }
    return true;
}

#define SHM_SORT_PLACES 4096u

/* In the order of the buckets, a large hash is a walk all over memory. What was
 * stored at the same time lies side by side: bring the entries into the order of
 * their addresses, roughly, by one pass of a counting sort from `from` to `to`. */
static void shm_sort_entries(HE *const *from, HE **to, size_t count)
{
    uint32_t  place[SHM_SORT_PLACES] = { 0 }, sum = 0;
    uintptr_t low = UINTPTR_MAX, high = 0;
    unsigned  shift = 0;
    size_t    i;

    for (i = 0; i < count; i++) {
        if ((uintptr_t)from[i] < low) low = (uintptr_t)from[i];
        if ((uintptr_t)from[i] > high) high = (uintptr_t)from[i];
    }
    while ((high - low) >> shift >= SHM_SORT_PLACES) shift++;
    for (i = 0; i < count; i++) place[((uintptr_t)from[i] - low) >> shift]++;
    for (i = 0; i < SHM_SORT_PLACES; i++) {
        uint32_t here = place[i];
        place[i]      = sum;
        sum += here;
    }
    for (i = 0; i < count; i++) to[place[((uintptr_t)from[i] - low) >> shift]++] = from[i];
}

#define SHM_SOME_ENTRIES 64u
#define SHM_MANY_ENTRIES 4096u /* from here on a hash does not fit into the fast caches */

static void shm_put_hash(pTHX_ shm_sink_t *sink, HV *hv)
{
    shm_buffer_t *all     = &shm_work.entries;
    bool          fails   = !shm_gather_entries(hv, all);
    size_t        count   = all->length / sizeof(HE *), i;
    HE          **entries = (HE **)(void *)all->data;

    sink->piece->failed = sink->piece->failed || fails;
    if (count >= SHM_MANY_ENTRIES && count <= UINT32_MAX && !fails) {
        entries += count;
        shm_sort_entries(entries - count, entries, count);
    }
    shm_put_varint(sink->piece, count);
    for (i = 0; i < count && shm_pass_on(sink, SHM_PIECE); i += SHM_SOME_ENTRIES)
        shm_put_entries(aTHX_ sink->piece, entries + i, count - i < SHM_SOME_ENTRIES ? count - i : SHM_SOME_ENTRIES);
    shm_buffer_trim(all);
}

/* The copy as one record. */
static void shm_put_snapshot(pTHX_ shm_sink_t *sink, shm_var_t *var)
{
    AV     *av = (AV *)var->cache;
    SSize_t i;
    if (var->type == SHM_SCALAR) {
        shm_put_byte(sink->piece, SHM_SET);
        shm_put_value(aTHX_ sink->piece, var->cache);
        return;
    }
    shm_put_byte(sink->piece, SHM_LOAD);
    if (var->type == SHM_HASH) {
        shm_put_hash(aTHX_ sink, (HV *)var->cache);
        return;
    }
    shm_put_varint(sink->piece, 0);
    shm_put_varint(sink->piece, 0);
    shm_put_varint(sink->piece, (uint64_t)(AvFILLp(av) + 1));
    for (i = 0; i <= AvFILLp(av) && shm_pass_on(sink, SHM_PIECE); i++) shm_put_value(aTHX_ sink->piece, AvARRAY(av)[i]);
}

/* --- reading ------------------------------------------------------------ */

static const char *shm_label(const shm_var_t *var)
{
    static const char *const labels[] = { "variable", "scalar", "array", "hash" };
    return var->name != NULL ? var->name : labels[var->type];
}

static void shm_damaged(pTHX_ shm_var_t *var) __attribute__((noreturn));
static void shm_damaged(pTHX_ shm_var_t *var)
{
    pool_error_t err;
    shm_cursor_reset(&var->at);
    var->at.serial = UINT64_MAX;
    if (!pool_grow_open_all(&var->space->blocks, &err)) croak("Cannot read the shared %s: %s", shm_label(var), err.text);
    croak("The shared %s is damaged: what is stored of it makes no sense", shm_label(var));
}

static void shm_gone(pTHX_ shm_var_t *var) __attribute__((noreturn));
static void shm_gone(pTHX_ shm_var_t *var)
{
    croak("The shared %s was removed", shm_label(var));
}

/* Bring into work.copy what this copy of the variable lacks of the current state,
 * and set *from to where that begins. False: somebody is writing; try again.
 * *damaged: there is a state, but its chain is broken. */
static bool shm_fetch_news(shm_var_t *var, shm_state_t *state, shm_cursor_t *to, bool *reload, bool *damaged)
{
    uint64_t serial;

    *damaged = false;
    if (!shm_read_state(var->record, &serial, state)) return false;
    *to                  = var->at;
    shm_work.copy.length = 0;
    *reload              = state->epoch != var->at.epoch || state->bytes < var->at.bytes || var->at.serial == UINT64_MAX;
    if (*reload && var->at.serial != UINT64_MAX && state->old_epoch == var->at.epoch && state->old_bytes == var->at.bytes
        && state->old_epoch != 0) {
        *reload   = false; /* the new chain begins with what this copy is */
        to->block = SHM_NONE;
        to->bytes = state->snapshot;
    }
    else if (*reload)
        shm_cursor_reset(to);
    to->serial = serial;
    to->epoch  = state->epoch;
    if (state->epoch != 0 && !shm_copy(var->space, state, to, state->bytes, &shm_work.copy)) {
        *damaged             = shm_still(var->record, serial) && !shm_work.copy.failed;
        shm_work.copy.failed = false;
        return false;
    }
    return shm_still(var->record, serial);
}

enum shm_news { SHM_CURRENT, SHM_DAMAGED, SHM_REMOVED };

/* Make the copy current. Whoever holds the lock has nobody to race with; a
 * reader that loses the race too often takes the lock. */
static enum shm_news shm_catch_up(pTHX_ shm_var_t *var)
{
    shm_state_t  state;
    shm_cursor_t to;
    shm_delta_t  ignored = { 0, 0, 0 };
    bool         reload, damaged, ok;
    int          tries;

    for (tries = 0; !shm_fetch_news(var, &state, &to, &reload, &damaged); tries++) {
        shm_locker_t locker = shm_locker(var);
        if (damaged) return SHM_DAMAGED;
        if (tries < SHM_TRIES || var->write_held || shm_write_lock(&locker, POOL_FOREVER) != POOL_OK) continue;
        ok = shm_fetch_news(var, &state, &to, &reload, &damaged);
        shm_write_unlock(var->record);
        if (!ok) return SHM_DAMAGED;
        break;
    }
    if (state.removed) return SHM_REMOVED;
    if (reload && var->type == SHM_HASH) shm_keep_iteration(aTHX_ var);
    if (reload) shm_clear_copy(aTHX_ var, &ignored);
    var->at = to;
    ok      = shm_apply(aTHX_ var, shm_work.copy.data, shm_work.copy.length, NULL, &ignored);
    shm_keep_objects(aTHX_ var);
    shm_work.dropped.length = 0; /* who made the change has dropped them */
    shm_buffer_trim(&shm_work.copy);
    return ok ? SHM_CURRENT : SHM_DAMAGED;
}

static void shm_report(pTHX_ shm_var_t *var, enum shm_news news)
{
    if (news == SHM_DAMAGED) shm_damaged(aTHX_ var);
    if (news == SHM_REMOVED) {
        var->removed = true;
        shm_gone(aTHX_ var);
    }
}

static void shm_work_free(shm_work_t *work)
{
    shm_buffer_free(&work->record);
    shm_buffer_free(&work->values);
    shm_buffer_free(&work->copy);
    shm_buffer_free(&work->snapshot);
    shm_buffer_free(&work->entries);
    shm_buffer_free(&work->pending);
    shm_buffer_free(&work->dropped);
    shm_buffer_free(&work->added);
    shm_buffer_free(&work->batch_added);
    shm_buffer_free(&work->kept);
    shm_buffer_free(&work->draft.taken);
}

static void shm_work_restore(pTHX_ void *outer)
{
    PERL_UNUSED_CONTEXT;
    shm_work_free(&shm_work);
    shm_work = *(shm_work_t *)outer;
    Safefree(outer);
}

/* While perl is in a scalar's magic, that is switched off. Returns what was on, to
 * be handed to the other one. */
static U32 shm_magic_on(pTHX_ SV *container)
{
    U32 was = container != NULL ? SvMAGICAL(container) : 0;
    if (container != NULL) mg_magical(container);
    return was;
}

static void shm_magic_as_it_was(SV *container, U32 was)
{
    if (container == NULL) return;
    SvMAGICAL_off(container);
    SvFLAGS(container) |= was;
}

/* Run signal handlers; they may die. An operation on `var` is waiting, with its record
 * made: handlers that use shared variables have a work space of their own meanwhile,
 * this variable is shared for them as well, and it lives on if they let go of it. */
static void shm_run_handlers(pTHX_ shm_var_t *var)
{
    shm_work_t *outer;
    SV         *container = var->container;
    U32         magic;
    if (!PL_sig_pending) return;
    sv_2mortal(SvREFCNT_inc(var->object));
    magic = shm_magic_on(aTHX_ container);
    ENTER;
    Newx(outer, 1, shm_work_t);
    *outer = shm_work;
    Zero(&shm_work, 1, shm_work_t);
    SAVEDESTRUCTOR_X(shm_work_restore, outer);
    PERL_ASYNC_CHECK();
    LEAVE;
    if (var->container == container) shm_magic_as_it_was(container, magic); /* not if it is gone */
}

/* Another process holds a write lock: wait until it does not. */
static void shm_wait_readable(pTHX_ shm_var_t *var)
{
    shm_locker_t locker = shm_locker(var);
    while (shm_await_readable(&locker, POOL_FOREVER) != POOL_OK) shm_run_handlers(aTHX_ var);
}

static inline bool shm_excluded(const shm_var_t *var)
{
    return __atomic_load_n(&var->record->exclusive, __ATOMIC_ACQUIRE) != 0 && !var->write_held; /* pairs with shm_exclude() */
}

/* Can this handle be used? */
static void shm_check(pTHX_ shm_var_t *var)
{
    shm_adopt();
    if (var->cache == NULL) croak("The shared variable is no longer attached");
    if (var->removed || var->record->state[var->record->serial & 1].removed) {
        var->removed = true;
        shm_gone(aTHX_ var);
    }
}

static void shm_batch_commit(pTHX);

/* Acquire pairs with shm_publish(). Who waits holds no lock of a batch on another
 * variable: its holder may be waiting for that. */
static void shm_refresh_slow(pTHX_ shm_var_t *var)
{
    dSAVE_ERRNO; /* the user only looks at a variable */
    shm_check(aTHX_ var);
    while (shm_excluded(var)) {
        if (shm_work.batch != NULL) shm_batch_commit(aTHX);
        shm_wait_readable(aTHX_ var);
    }
    if (__atomic_load_n(&var->record->serial, __ATOMIC_ACQUIRE) != var->at.serial) shm_report(aTHX_ var, shm_catch_up(aTHX_ var));
    RESTORE_ERRNO;
}

/* Before every read: is the copy current? Two loads. Acquire pairs with shm_publish(). */
static inline void shm_refresh(pTHX_ shm_var_t *var)
{
    if (POOL_UNLIKELY(__atomic_load_n(&var->record->serial, __ATOMIC_ACQUIRE) != var->at.serial || shm_excluded(var)))
        if (var != shm_work.batch && !var->frozen) shm_refresh_slow(aTHX_ var);
}

/* Whoever unlocks and locks again in a loop would never let a sleeper in: if
 * somebody waited, give him a millisecond to come first. */
static void shm_be_courteous(shm_var_t *var)
{
    struct timespec moment = { 0, 50000 };
    int             i;
    if (!var->courteous) return;
    var->courteous = false;
    for (i = 0; i < 20 && __atomic_load_n(&var->record->lock.holder, __ATOMIC_RELAXED) == 0; i++) nanosleep(&moment, NULL);
}

/* --- writing ------------------------------------------------------------ */

static void shm_no_room(pTHX_ const shm_space_t *space, const char *text) __attribute__((noreturn));
static void shm_no_room(pTHX_ const shm_space_t *space, const char *text)
{
    if (__atomic_load_n(&space->super->closed, __ATOMIC_ACQUIRE) != 0)
        croak("The namespace %s was removed", space->path); /* pairs with shm_space_remove() */
    croak("Cannot store: %s", text);
}

static void shm_deadlock(pTHX_ shm_var_t *var) __attribute__((noreturn));
static void shm_deadlock(pTHX_ shm_var_t *var)
{
    croak("Deadlock on the shared %s: this process and another one hold read locks, and both want to write", shm_label(var));
}

static void shm_lock_slow(pTHX_ shm_var_t *var)
{
    shm_locker_t locker = shm_locker(var);
    int          code;
    dSAVE_ERRNO;
    while ((code = shm_write_lock(&locker, POOL_FOREVER)) != POOL_OK) {
        if (code == SHM_DEADLOCK) shm_deadlock(aTHX_ var);
        shm_run_handlers(aTHX_ var);
        locker = shm_locker(var);
    }
    RESTORE_ERRNO;
}

static void shm_unlock(shm_var_t *var)
{
    if (!var->write_held && shm_work.batch != var) shm_write_unlock(var->record);
}

static void shm_registry_enter(shm_space_t *space)
{
    if (shm_work.registry) return;
    shm_registry_lock(space);
    shm_work.registry = true;
}

static void shm_registry_leave(shm_space_t *space)
{
    if (!shm_work.registry) return;
    shm_work.registry = false;
    shm_registry_unlock(space);
}

/* Become the writer, with a current copy. Dies holding nothing. */
static void shm_begin(pTHX_ shm_var_t *var)
{
    if (shm_work.batch == var) return;
    if (POOL_UNLIKELY(var->removed || shm_child || var->cache == NULL)) shm_check(aTHX_ var);
    if (POOL_UNLIKELY(shm_work.batch != NULL)) shm_batch_commit(aTHX);
    if (!var->write_held && POOL_UNLIKELY(!shm_try_write_lock(var->record, shm_me(var->space)))) shm_lock_slow(aTHX_ var);
    if (POOL_UNLIKELY(var->record->serial != var->at.serial)) {
        enum shm_news news = shm_catch_up(aTHX_ var);
        if (news != SHM_CURRENT) {
            shm_unlock(var);
            shm_report(aTHX_ var, news);
        }
    }
    if (shm_work.batching > 0) {
        shm_work.batch          = var;
        shm_work.replaced       = false;
        shm_work.pending.length = shm_work.dropped.length = shm_work.batch_added.length = 0;
        memset(&shm_work.delta, 0, sizeof shm_work.delta);
    }
}

/* Would the record open a new block of a stream that is mostly history? Then it
 * is time for a new snapshot. */
static inline bool shm_is_old(const shm_space_t *space, const shm_state_t *state, size_t more)
{
    uint64_t end = state->bytes + more;
    return POOL_UNLIKELY((state->bytes % space->payload) + more > space->payload || state->bytes % space->payload == 0)
           && end > 2 * state->live + space->payload / 2;
}

/* Begin the draft in a new chain: with the copy as its snapshot, which is the
 * content of the old stream (current), or of none. */
static bool shm_rewrite(pTHX_ shm_var_t *var, bool current)
{
    shm_draft_t *draft = &shm_work.draft;
    shm_sink_t   sink  = { var, draft, &shm_work.snapshot, true };
    shm_draft_anew(var->record, draft);
    pool_grow_rewind(&var->space->blocks);
    if (!current) draft->state.old_epoch = 0;
    sink.piece->length = 0;
    sink.piece->failed = false;
    shm_put_snapshot(aTHX_ & sink, var);
    if (!shm_pass_on(&sink, 0)) return false;
    draft->state.snapshot = draft->state.live = draft->state.bytes;
    shm_buffer_trim(&shm_work.snapshot);
    return true;
}

/* Does the record leave nothing of what was there before? */
static bool shm_replaces_all(const shm_var_t *var, const shm_buffer_t *record)
{
    return record->data[0] == SHM_CLEAR || (var->type == SHM_SCALAR && record->data[0] == SHM_SET);
}

/* The draft is complete: publish it, and let the copy know that it is what was
 * published. References that are gone are dropped after that, under the registry
 * lock from before, so that a recount never sees a number that is too small. */
static void shm_finish(pTHX_ shm_var_t *var, const shm_delta_t *delta)
{
    shm_draft_t *draft = &shm_work.draft;
    shm_state_t *state = &draft->state;

    PERL_UNUSED_CONTEXT;
    state->live     = (uint64_t)((int64_t)state->live + delta->live > 0 ? (int64_t)state->live + delta->live : 0);
    state->elements = (uint64_t)((int64_t)state->elements + delta->elements);
    state->standins = (uint64_t)((int64_t)state->standins + delta->standins);
    if (shm_work.dropped.length > 0) shm_registry_enter(var->space);
    shm_publish(var->space, var->record, draft);
    var->at.serial = var->record->serial;
    var->at.epoch  = state->epoch;
    var->at.bytes  = state->bytes;
    var->at.block  = state->bytes > 0 ? state->tail : SHM_NONE;
    var->at.index  = state->bytes > 0 ? (state->bytes - 1) / var->space->payload : 0;
    if (shm_work.dropped.length > 0) shm_drop_refs(var->space, &shm_work.dropped);
    shm_registry_leave(var->space);
}

/* Write one record, carry it out, publish. Between shm_begin() and the return
 * the variable is locked; after it, it is not, whatever happened. */
static void shm_write(pTHX_ shm_var_t *var, shm_buffer_t *record, AV *removed)
{
    shm_draft_t *draft = &shm_work.draft;
    shm_delta_t  delta = { 0, 0, 0 };
    U32          hash  = shm_work.hash;
    bool         ok, anew = false;

    shm_work.hash = 0; /* whatever happens: it belongs to this record */
    if (record->failed) {
        record->failed = false;
        shm_unlock(var);
        croak("Out of memory for a shared value");
    }
    if (shm_work.added.length > 0) {
        shm_registry_enter(var->space);
        shm_take_refs(aTHX_ var->space, &shm_work.added);
    }
    if (shm_work.batch == var) {
        if (record->data[0] == SHM_CLEAR) {
            shm_work.pending.length = 0;
            shm_work.replaced       = true;
        }
        else
            shm_buffer_put(&shm_work.pending, record->data, record->length);
        shm_work.hash = hash;
        shm_apply(aTHX_ var, record->data, record->length, removed, &shm_work.delta);
        shm_buffer_put(&shm_work.batch_added, shm_work.added.data, shm_work.added.length);
        shm_work.added.length = 0;
        shm_registry_leave(var->space);
        shm_keep_objects(aTHX_ var);
        return;
    }
    shm_work.dropped.length = 0;
    shm_draft_begin(var->record, draft);
    if (POOL_UNLIKELY(shm_replaces_all(var, record))
        && (record->data[0] == SHM_CLEAR || draft->state.bytes % var->space->payload + record->length > var->space->payload
            || draft->state.bytes == 0)) {
        shm_draft_anew(var->record, draft);
        draft->state.old_epoch = 0;
        ok                     = record->data[0] == SHM_CLEAR || shm_append(var->space, var->id.slot, draft, record->data, record->length);
        anew                   = true;
    }
    else {
        ok = draft->state.epoch != 0 && !shm_is_old(var->space, &draft->state, record->length);
        ok = (ok || shm_rewrite(aTHX_ var, true)) && shm_append(var->space, var->id.slot, draft, record->data, record->length);
    }
    if (!ok) {
        shm_discard(var->space, draft);
        if (shm_work.added.length > 0) shm_drop_refs(var->space, &shm_work.added);
        shm_registry_leave(var->space);
        shm_unlock(var);
        shm_no_room(aTHX_ var->space, draft->err.text);
    }
    shm_work.hash = hash;
    shm_apply(aTHX_ var, record->data, record->length, removed, &delta);
    if (anew) delta.live = (int64_t)draft->state.bytes - (int64_t)draft->state.live;
    shm_work.added.length = 0;
    shm_finish(aTHX_ var, &delta);
    shm_unlock(var);
    shm_keep_objects(aTHX_ var);
}

/* --- batches ------------------------------------------------------------ */

/* Throw away what the batch did: the copy is read anew, and what its records would
 * have referred to is let go. */
static void shm_batch_abort(pTHX)
{
    shm_var_t *var = shm_work.batch;
    PERL_UNUSED_CONTEXT;
    if (var == NULL) return;
    shm_work.batch          = NULL;
    shm_work.dropped.length = 0;
    if (shm_work.batch_added.length > 0) {
        shm_registry_enter(var->space);
        shm_drop_refs(var->space, &shm_work.batch_added);
        shm_registry_leave(var->space);
    }
    shm_cursor_reset(&var->at);
    var->at.serial = UINT64_MAX;
    shm_unlock(var);
}

/* Publish what the batch did, as one change. */
static void shm_batch_commit(pTHX)
{
    shm_var_t   *var   = shm_work.batch;
    shm_draft_t *draft = &shm_work.draft;
    bool         ok;

    if (var == NULL) return;
    if (shm_work.pending.length == 0 && !shm_work.replaced) {
        shm_work.batch = NULL;
        shm_unlock(var);
        return;
    }
    shm_draft_begin(var->record, draft);
    if (shm_work.pending.failed) {
        shm_work.pending.failed = false;
        ok                      = shm_fail(&draft->err, POOL_E_SYSTEM, ENOMEM, "cannot be written", var->space->path);
    }
    else if (shm_work.replaced && shm_work.pending.length == 0) { /* it is empty: that takes no room */
        shm_draft_anew(var->record, draft);
        draft->state.old_epoch = draft->state.live = 0;
        shm_work.delta.live                        = 0;
        ok                                         = true;
    }
    else if (shm_work.replaced || draft->state.epoch == 0 || shm_is_old(var->space, &draft->state, shm_work.pending.length)) {
        ok                  = shm_rewrite(aTHX_ var, false);
        shm_work.delta.live = 0; /* the snapshot was counted */
    }
    else
        ok = shm_append(var->space, var->id.slot, draft, shm_work.pending.data, shm_work.pending.length);
    if (!ok) {
        shm_discard(var->space, draft);
        shm_batch_abort(aTHX);
        shm_no_room(aTHX_ var->space, draft->err.text);
    }
    shm_work.batch = NULL;
    shm_finish(aTHX_ var, &shm_work.delta);
    shm_unlock(var);
}

#endif /* SHM_JOURNAL_H */
