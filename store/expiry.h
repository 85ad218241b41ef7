/*
 * expiry.h - elements that expire, and those beyond the limit of a hash. Internal to store/.
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#ifndef STORE_EXPIRY_H
#define STORE_EXPIRY_H

#include "clock.h"
#include "table.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Not yet expired? The clock is read when it is first needed. */
static inline bool hash_is_fresh(store_t *space, store_link_t link, const store_cell_t *cell, uint64_t *now)
{
    uint64_t expires;
    if (POOL_LIKELY((STORE_LOAD(cell->flags) & STORE_CELL_EXPIRES) == 0)) return true;
    expires = cell_expires(space, link, cell);
    if (*now == 0) *now = store_clock_tick();
    return expires == 0 || expires > *now;
}

/* WHEN THE HAND GOES ROUND. Stores look for what has expired only when something may have:
 * `soonest` is no later than the first that will. Both words are the lock holder's, and only
 * ever too early: what is stored lowers both before it is published, what the hand passes lowers
 * `coming`, and where the hand begins anew, `soonest` is what was coming, and then nothing is
 * coming. Who dies between any two of these leaves one that is too early: a round in vain. */
#define HASH_NOTHING_COMES UINT32_MAX
#define HASH_WHEN_BITS     28u /* a quarter of a second, so 32 bits are 36 years */

static inline uint32_t hash_when(uint64_t ns)
{
    uint64_t when = ns >> HASH_WHEN_BITS;
    return when == 0 ? 1 : when < HASH_NOTHING_COMES ? (uint32_t)when : HASH_NOTHING_COMES - 1;
}

void hash_expect_when(store_record_t *record, uint32_t when);

/* As the writer, and before the element is published: note when it expires, for the hand. Most expire later
 * than others that are there. */
static inline void hash_expect(store_record_t *record, uint64_t expires_ns)
{
    uint32_t when = hash_when(expires_ns);
    if (POOL_UNLIKELY(record->soonest == 0 || when < record->soonest || when < record->coming)) hash_expect_when(record, when);
}

/* Are there more elements than its limit allows? */
static inline bool hash_is_over(store_var_t *var)
{
    uint64_t limit = var->record->limit;
    return limit != 0 && change_draft(var)->length > limit;
}

void hash_make_room_at(store_var_t *var, uint64_t now);

/* In passing, at a store: delete some of what has expired, and what is beyond the limit. Who stores what
 * vanishes has most likely just looked at the clock, to say when: now and then this does. */
static inline void hash_make_room(store_var_t *var, bool is_timed)
{
    store_record_t *record  = var->record;
    uint64_t        soonest = (uint64_t)record->soonest << HASH_WHEN_BITS, now;
    bool            over    = hash_is_over(var);
    if (POOL_LIKELY(soonest == 0 && !over)) return;
    now = is_timed && record->serial % 16 != 0 ? store_clock_seen() : store_clock_tick();
    if (POOL_UNLIKELY(now >= soonest || over)) hash_make_room_at(var, now);
}

#ifdef __cplusplus
}
#endif
#endif /* STORE_EXPIRY_H */
