/*
 * var.h - the handle of a variable, references to variables, and who uses them.
 * Internal to store/.
 *
 * A variable exists as long as its `count` is not 0. It counts stored references (including those in
 * the variable that holds the names) and handles. A count goes up before the thing that it
 * counts exists, and down after it is gone, so a death in between leaves it too large,
 * never too small; variables that are unreachable for this reason are found by the search for
 * garbage (recover.c). The process that brings the count to 0 destroys the variable; it never rises again.
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
    store_link_t      mark; /* 0: a glance, or there was no room for the mark of a child */
    bool              is_glance;
    bool              is_internal;           /* of this library itself, for a variable that exists as long as the namespace */
    bool              write_held, read_held; /* locks by name */
    bool              open;                  /* a change is open */
    bool              changed;               /* something was done in it */
    uint32_t          kept_waiting;          /* changes that ended while somebody waited: now and then that one goes first */
    bool              courteous;             /* next time, let the waiting one go first */
    bool              is_joint;              /* the change is to be committed with others */
    bool              is_new_tree;           /* the draft of an array has a tree of its own */
    bool              adopting;              /* a child that has not taken its mark yet */
    uint64_t          interrupted;           /* since when it has waited for the lock, if a signal interrupted that; else 0 */
    uint64_t          seen;                  /* the serial of the last look */
    store_link_t      child_mark;            /* between the halves of a fork */
    uint64_t          mark_generation;       /* of a mark that is to be taken over, and that mark's owner */
    uint64_t          mark_owner;
    uint32_t         *looking;      /* in its mark; NULL: there is none, or a child has not taken it yet */
    struct store_var *from;         /* the handle whose `looking` is used: this one; for a glance, the one that it comes from */
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

/* Count one more reference to it (false: it is gone), or one less. */
bool ref_take(store_t *space, const store_ref_t *ref);
void ref_drop(store_t *space, const store_ref_t *ref, store_doomed_t *doomed);

/* Drop the cell's reference, if it has one that is counted. The cell is owned by this process,
 * and on no list. */
void ref_drop_cell(store_t *space, store_link_t link, store_doomed_t *doomed);

/* The same for something that a dead process owned: a cell, or a block or page with any contents. */
void ref_drop_piece(store_t *space, store_link_t link, store_doomed_t *doomed);

/* Count the reference in a new cell. False: what it leads to is gone. */
bool ref_count_cell(store_t *space, store_link_t link);

/* A reference was published: make sure that a search for garbage that is under way does not miss it. */
void ref_shade_cell(store_t *space, store_link_t link);

/* Keep a variable, for which this process has no handle, from being destroyed for a while.
 * False: it is gone. A process that dies meanwhile leaves a count that is too large. */
bool record_pin(store_t *space, store_link_t link, store_ref_t *ref);
void record_unpin(store_t *space, const store_ref_t *ref);

/* Put a variable that this process owns, and whose count is 0, onto the list. */
void ref_doom(store_t *space, store_link_t link, store_doomed_t *doomed);

/* Destroy the variables on the list, then those to which they held the last references, and so on. The
 * caller holds no lock. */
void ref_destroy(store_t *space, store_doomed_t *doomed);

/* --- handles ------------------------------------------------------------------------ */

/* A mark of this process on a variable; 0 with *err (STORE_E_REMOVED: it is gone). */
store_link_t mark_new(store_t *space, const store_ref_t *ref, store_error_t *err);
void         mark_free(store_t *space, store_link_t mark, store_doomed_t *doomed);

/* Does the mark belong to a live process, or to a child that may still take it? *ref: the variable that it is
 * for (generation 0: not set yet). */
bool mark_lives(store_t *space, store_link_t link, store_ref_t *ref);

/* Make a mark on no variable, for looks without a handle: it says that this process is looking, until
 * mark_looks_end(). 0 with *err. */
store_link_t mark_looks(store_t *space, store_error_t *err);
void         mark_looks_end(store_t *space, store_link_t mark);

/* Free the marks of the dead. Returns how many. */
uint64_t marks_reap(store_t *space);

/* A record for a new variable, owned by this process, with this count; 0 with *err. */
store_link_t record_new(store_t *space, uint32_t type, uint64_t count, store_ref_t *ref, store_error_t *err);

/* Set up a handle on the stack, for a variable that exists as long as the namespace, or that
 * the caller otherwise knows to stay. */
void handle_internal(store_var_t *var, store_t *space, const store_ref_t *ref);

/* Take and release the lock on the lists of what this process has open. */
void handles_hold(void);
void handles_let_go(void);

/* Under handles_hold(): this namespace is about to be unmapped. */
void transits_forget(const store_t *space);

/* In a child: take over the marks that the parent made, if that has not been done yet. */
void handles_adopt(void);

static inline const store_mark_t *mark_at(store_t *space, store_link_t link)
{
    return (const store_mark_t *)row_ptr(space, link);
}

#ifdef __cplusplus
}
#endif
#endif /* STORE_VAR_H */
