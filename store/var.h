/*
 * var.h - the handle of a variable, references to variables, and who uses them.
 * Internal to store/.
 *
 * A variable lives while its `count` is not 0: stored references (names are such, in
 * the variable that holds the names) and handles. Each count goes up before what it
 * counts is there and down after it is gone, so a death in between leaves it too large,
 * never too small; what is then reachable by nothing the search for garbage finds
 * (recover.c). Who brings it to 0 destroys the variable; nobody brings it up again.
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#ifndef STORE_VAR_H
#define STORE_VAR_H

#include "cell.h"

#ifdef __cplusplus
extern "C" {
#endif

struct store_var {
    store_t          *space;
    store_record_t   *record;
    store_ref_t       id;
    store_link_t      mark; /* 0: a glance, or a child's that could not be had */
    bool              is_glance;
    bool              is_internal;           /* this library's own, of what is there as long as the namespace */
    bool              write_held, read_held; /* locks by name */
    bool              open;                  /* a change is */
    bool              changed;               /* something was done in it */
    uint32_t          kept_waiting;          /* changes that ended while somebody waited: now and then he goes first */
    bool              courteous;             /* let who waits go first, next time */
    bool              is_joint;              /* it is to be committed with others */
    bool              is_new_tree;           /* the draft of an array has a tree of its own */
    bool              adopting;              /* a child that has not taken its mark yet */
    uint64_t          interrupted;           /* since when it had waited for the lock, when a signal came; else 0 */
    uint64_t          seen;                  /* the serial of the last look */
    store_link_t      child_mark;            /* between the halves of a fork */
    uint64_t          mark_generation;       /* of a mark that is to be taken, and whose it is */
    uint64_t          mark_owner;
    struct store_var *next, **link; /* all handles of this process */
};

POOL_STATIC_ASSERT(sizeof(struct store_var) <= sizeof(store_glance_t), "a glance holds a handle");

static inline store_record_t *record_at(store_t *space, uint32_t slot)
{
    return (store_record_t *)row_ptr(space, row_link(STORE_ROW_VARIABLES, slot));
}

/* Variables that nothing uses any more, linked through record->doomed: destroyed when no
 * lock is held. */
typedef store_link_t store_doomed_t;

/* --- references ------------------------------------------------------------------ */

/* One reference to it more; false: it is gone. And one less. */
bool ref_take(store_t *space, const store_ref_t *ref);
void ref_drop(store_t *space, const store_ref_t *ref, store_doomed_t *doomed);

/* The cell's reference, if it has one that is counted, is dropped. The cell is this process's,
 * on no list. */
void ref_drop_cell(store_t *space, store_link_t link, store_doomed_t *doomed);

/* The same for what a dead process owned: a cell, or a block or page that says anything. */
void ref_drop_piece(store_t *space, store_link_t link, store_doomed_t *doomed);

/* Count the reference in a new cell. False: what it leads to is gone. */
bool ref_count_cell(store_t *space, store_link_t link);

/* A reference was published: no search for garbage that is under way may miss it. */
void ref_shade_cell(store_t *space, store_link_t link);

/* Keep a variable, which this process has no handle of, from being destroyed for a while.
 * False: it is gone. Who dies leaves a count that is too large. */
bool record_pin(store_t *space, store_link_t link, store_ref_t *ref);
void record_unpin(store_t *space, const store_ref_t *ref);

/* Put one that is this process's, and that no count leads to, onto the list. */
void ref_doom(store_t *space, store_link_t link, store_doomed_t *doomed);

/* Destroy what is on the list, and what that was the last to lead to, and so on. No lock
 * is held. */
void ref_destroy(store_t *space, store_doomed_t *doomed);

/* --- handles ------------------------------------------------------------------------ */

/* A mark of this process on a variable; 0 with *err (STORE_E_REMOVED: it is gone). */
store_link_t mark_new(store_t *space, const store_ref_t *ref, store_error_t *err);
void         mark_free(store_t *space, store_link_t mark, store_doomed_t *doomed);

/* Is a mark of a live process, or for a child that may yet come? *ref: the variable that it is
 * on (generation 0: not said yet). */
bool mark_lives(store_t *space, store_link_t link, store_ref_t *ref);

/* Free the marks of the dead. Returns how many. */
uint64_t marks_reap(store_t *space);

/* A record for a variable that is this process's, with such a count; 0 with *err. */
store_link_t record_new(store_t *space, uint32_t type, uint64_t count, store_ref_t *ref, store_error_t *err);

/* A handle on the stack, for a variable that is there as long as the namespace, or that
 * the caller otherwise knows to stay. */
void handle_internal(store_var_t *var, store_t *space, const store_ref_t *ref);

/* The lock of what this process has open. */
void handles_hold(void);
void handles_let_go(void);

/* Under handles_hold(): this namespace is about to be unmapped. */
void transits_forget(const store_t *space);

/* In a child: take the marks that the parent made, if that is still to be done. */
void handles_adopt(void);

static inline const store_mark_t *mark_at(store_t *space, store_link_t link)
{
    return (const store_mark_t *)row_ptr(space, link);
}

#ifdef __cplusplus
}
#endif
#endif /* STORE_VAR_H */
