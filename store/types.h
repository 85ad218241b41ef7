/*
 * types.h - what each type of variable contributes to the code that is common to
 * all types (change.c, var.c, recover.c). Internal to store/.
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

/* Take a cell out of its chain, if it is still in it. `before` (or NULL): a cell in a chain, perhaps the
 * one that leads to this cell. */
void hash_unlink(store_t *space, store_record_t *record, store_link_t link, const store_cell_t *cell, store_cell_t *before);

/* What the hand of expiry had ended was undone: let the hand come round again. */
static inline void hash_expect_again(store_record_t *record)
{
    STORE_STORE(record->coming, 1);
    STORE_STORE(record->soonest, 1);
}

/* Shared memory may contain anything: does the window of an array fit into its ring? */
static inline bool array_is_sound(const store_state_t *state)
{
    return state->length <= tree_capacity(state->tier);
}

/* Take the cell out of the ring, at the position that it knows: what it had replaced, or
 * nothing, takes its place. */
void array_unlink(store_t *space, store_record_t *record, store_link_t link, const store_cell_t *cell);

/* Finish what the writer was doing to pages when it died, if it had begun. */
void hash_finish_page(store_t *space, store_record_t *record);
void array_finish_page(store_t *space, store_record_t *record);

/* If the draft of an array has a tree of its own, give that up (as its writer). */
void array_drop_draft(store_t *space, store_record_t *record);

/* Free all that a variable holds; nobody uses it any more, and this process owns it. */
void hash_destroy(store_t *space, store_record_t *record, store_doomed_t *doomed);
void array_destroy(store_t *space, store_record_t *record, store_doomed_t *doomed);

/* Free a chain of cells of such a variable, which `*head` leads to, one by one: own it first, then unlink it. */
void chain_destroy(store_t *space, store_record_t *record, store_link_t *head, store_doomed_t *doomed);

/* Mark all elements as ended by the open change. */
int hash_end_all(store_var_t *var);
int array_end_all(store_var_t *var);

/* The table of a hash, or of what is reserved of an array (queue.c): the caller has looked at the type. */
int table_get(store_var_t *var, const store_key_t *key, store_value_t *value, const store_buffer_t *buffer);
int table_put(store_var_t *var, const store_key_t *key, const store_value_t *value, uint64_t expires_ns);
int table_delete(store_var_t *var, const store_key_t *key);

/* Call `visit` for each cell of the look. False: a page or cell made no sense. */
typedef void type_visit_fn(store_t *space, store_link_t link, const store_cell_t *cell, void *context);
bool         hash_each(store_var_t *var, const store_sight_t *sight, type_visit_fn *visit, void *context);
bool         array_each(store_var_t *var, const store_sight_t *sight, type_visit_fn *visit, void *context);

/* The number of pages, as long as the look is valid: of the directory of a hash, or of the links of an array. */
uint64_t hash_pages(const store_var_t *var, const store_sight_t *sight);
uint64_t array_pages(const store_var_t *var, const store_sight_t *sight);

/* The version of an element that exists at a serial, from the newest on; 0: none. */
store_link_t version_at(store_t *space, store_link_t newest, uint64_t serial);

#ifdef __cplusplus
}
#endif
#endif /* STORE_TYPES_H */
