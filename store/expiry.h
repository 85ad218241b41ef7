/*
 * expiry.h - elements that expire, and those beyond the limit of a hash. Internal to store/.
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#ifndef STORE_EXPIRY_H
#define STORE_EXPIRY_H

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

/* As the writer, and before the element is published: note when it expires, for the hand. */
void hash_expect(store_record_t *record, uint64_t expires_ns);

/* In passing, at a store: delete some of what has expired, and what is beyond the limit. */
void hash_make_room(store_var_t *var, bool is_timed);

#ifdef __cplusplus
}
#endif
#endif /* STORE_EXPIRY_H */
