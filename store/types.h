/*
 * types.h - what each type of variable does in the course of a change that is common to
 * all of them (change.c, var.c, recover.c). Internal to store/.
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#ifndef STORE_TYPES_H
#define STORE_TYPES_H

#include "change.h"
#include "tree.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Take a cell out of its chain; it may not be in it any more. `before` (or NULL): a cell that is
 * in a chain, perhaps the one that leads to it. */
void hash_unlink(store_t *space, store_record_t *record, store_link_t link, const store_cell_t *cell, store_cell_t *before);

/* What the hand of expiry had ended is not: it comes round again. */
static inline void hash_expect_again(store_record_t *record)
{
    STORE_STORE(record->coming, 1);
    STORE_STORE(record->soonest, 1);
}

/* Shared memory may say anything: is the window of an array in its ring? */
static inline bool array_is_sound(const store_state_t *state)
{
    return state->length <= tree_capacity(state->tier);
}

/* Where an element is at the position that the cell knows: what it had replaced, or
 * nothing, takes its place. */
void array_unlink(store_t *space, store_record_t *record, store_link_t link, const store_cell_t *cell);

/* What the writer was doing to pages when it died is finished, or was not begun. */
void hash_finish_page(store_t *space, store_record_t *record);
void array_finish_page(store_t *space, store_record_t *record);

/* An array whose draft has a tree of its own: that is given up (by its writer). */
void array_drop_draft(store_t *space, store_record_t *record);

/* Free all that a variable holds that nobody uses and that is this process's. */
void hash_destroy(store_t *space, store_record_t *record, store_doomed_t *doomed);
void array_destroy(store_t *space, store_record_t *record, store_doomed_t *doomed);

/* Free one cell of such a variable, which `*head` leads to: owned first, then unlinked. */
void cell_destroy(store_t *space, store_record_t *record, store_link_t *head, store_doomed_t *doomed);

/* Mark all elements as ended by the open change. */
int hash_end_all(store_var_t *var);
int array_end_all(store_var_t *var);

/* Call `visit` for each cell of the look. False: a page or cell made no sense. */
typedef void type_visit_fn(store_t *space, store_link_t link, const store_cell_t *cell, void *context);
bool         hash_each(store_var_t *var, const store_sight_t *sight, type_visit_fn *visit, void *context);
bool         array_each(store_var_t *var, const store_sight_t *sight, type_visit_fn *visit, void *context);

/* The pages that it has: of the directory, or of the links. */
uint64_t hash_pages(store_t *space, const store_record_t *record);
uint64_t array_pages(store_t *space, const store_state_t *state);

/* The version of an element that exists at a serial, from the newest on; 0: none. */
store_link_t version_at(store_t *space, store_link_t newest, uint64_t serial);

#ifdef __cplusplus
}
#endif
#endif /* STORE_TYPES_H */
