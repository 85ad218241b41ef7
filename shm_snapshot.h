/*
 * shm_snapshot.h - values into records, and the whole copy as one record.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_SNAPSHOT_H
#define SHM_SNAPSHOT_H

#include "shm_record.h"

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
        if (HeVAL(entries[i]) == &PL_sv_placeholder) continue;
        shm_put_text(out, HEK_KEY(key), (size_t)HEK_LEN(key), cBOOL(HEK_UTF8(key)));
        shm_put_value(aTHX_ out, HeVAL(entries[i]));
    }
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

/* Of the entries `from`, put those that are elements; `next` receives what is behind
 * them in their buckets. Returns how many that are. */
static size_t shm_put_level(pTHX_ shm_sink_t *sink, HE *const *from, size_t count, HE **next)
{
    size_t i, k, more = 0;
    for (i = 0; i < count && shm_pass_on(sink, SHM_PIECE); i += k) {
        size_t some = count - i < SHM_SOME_ENTRIES ? count - i : SHM_SOME_ENTRIES;
        for (k = 0; k < some; k++)
            if (HeNEXT(from[i + k]) != NULL) next[more++] = HeNEXT(from[i + k]);
        shm_put_entries(aTHX_ sink->piece, from + i, some);
    }
    return sink->ok ? more : 0;
}

/* Not by the iterator, which is the user's: first the first entries of all buckets,
 * then the second ones, …, each level in the order of its addresses. */
static void shm_put_hash(pTHX_ shm_sink_t *sink, HV *hv)
{
    shm_buffer_t *room    = &shm_work.entries;
    HE          **buckets = HvARRAY(hv), **level, **other;
    size_t        count = 0, total = HvTOTALKEYS(hv), i;

    shm_put_varint(sink->piece, HvUSEDKEYS(hv));
    if (buckets == NULL || total == 0) return;
    room->length = 0;
    if (!shm_buffer_reserve(room, 2 * total * sizeof(HE *))) {
        room->failed        = false;
        sink->piece->failed = true;
        return;
    }
    level = (HE **)(void *)room->data;
    other = level + total;
    for (i = 0; i <= HvMAX(hv); i++)
        if (buckets[i] != NULL) level[count++] = buckets[i];
    while (count > 0) {
        HE **from = level;
        if (count >= SHM_MANY_ENTRIES && count <= UINT32_MAX) {
            shm_sort_entries(level, other, count);
            from  = other;
            other = level;
        }
        count = shm_put_level(aTHX_ sink, from, count, other);
        level = other;
        other = from;
    }
    shm_buffer_trim(room);
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

#endif /* SHM_SNAPSHOT_H */
