/*
 * layout.h - what lies in the shared memory of a namespace, and who may write which
 * word of it when. Internal to store/.
 *
 * ONE FILE, sparse, mapped completely and only once: a header, then pools (pool.h) one
 * behind the other, as they are needed. Neither path nor descriptor is needed after the
 * file was opened: what a process has attached to remains usable after chroot(), setuid(),
 * the closing of all descriptors, and the removal of the file.
 *
 * ROWS. Things of one size are slots of a row: pools of 64, 128, 256, … slots. A LINK
 * is 32 bits: (slot + 1) << 5 | row; 0 leads nowhere. Links that are read are treated as
 * data: row_ptr() checks them.
 *
 * OWNERS. A slot that is being made belongs to its maker (the owner word of pool.h), a
 * published one to nobody. So what a dead process made and did not publish is found by its name.
 *
 * A CELL is a value, with its key in a hash. It is written once, by its owner, and
 * never changed while it is published. It exists for the serials from <= s < until
 * (until 0: no end).
 *
 * A CHANGE of a variable, by the holder of its lock, at serial s:
 *
 *   1. cells are made (owner: me), nothing leads to them          dies: recovery frees them
 *   2. each new cell gets from = s + 1, goes onto the list `todo`, and is
 *      linked; each cell that goes is put onto it and gets until = s + 1   dies: undone
 *   3. serial = s + 1                                              THE CHANGE HAS HAPPENED
 *   4. along `todo`: new cells become nobody's; old ones are unlinked,
 *      become mine, leave the list, and are freed                  dies: finished
 *
 * The process that takes the lock over from the dead one undoes or finishes the change, by the same
 * routine that live writers use (change.c): a cell whose from or until is beyond the serial is undone.
 *
 * ONE CHANGE OF SEVERAL VARIABLES, by a process that holds all their locks: 1 and 2 for each, then
 *
 *   a. a cell of its own, the JOINT, is made (owner: me), with from = 0
 *   b. each draft gets `joint`, a link to it                       dies: each is undone
 *   c. from = 1 in the joint                                       THE CHANGE HAS HAPPENED
 *   d. 3 for each; 4 and unlocking for each                        dies: the heir of each does 3, for the joint says so
 *   e. the joint is freed
 *
 * `joint` becomes void with the serial: 3 makes the other state the draft, whose `joint` is 0, so 3 is
 * not done twice. 4 begins by clearing it. The links to the joint need not be counted:
 * like other cells of a dead process, it is freed by a recovery when all changes of that process are
 * settled. From a. to 4 the variables are `exclusive`, so that nobody sees one changed and another not.
 *
 * A READER reads `retired`, then the serial, follows links to the cells that exist at
 * that serial, copies, and reads `retired` again. Before a cell is unlinked, and before it (or
 * a page) is freed, `retired` is incremented. If it is unchanged, nothing that the reader looked for was
 * taken away meanwhile; otherwise the reader starts over. It never waits for a writer that is stopped or dead.
 * Meanwhile its mark says that it is looking: what it may reach keeps its memory (trim.c).
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#ifndef STORE_LAYOUT_H
#define STORE_LAYOUT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* clocks, futexes; before the first system header */
#endif

#include <errno.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "../pool.h"
#include "../pool_lock.h"
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef uint32_t store_link_t;

#define STORE_ROW_BITS 5u
#define STORE_ROWS     (1u << STORE_ROW_BITS)
#define STORE_PARTS    22u /* of a row: 64 << 21 slots in the last */
#define STORE_SLOTS    (UINT64_C(1) << (32u - STORE_ROW_BITS))

/* Rows of special use; then cells and pages by size. */
enum store_row { STORE_ROW_VARIABLES, STORE_ROW_MARKS, STORE_ROW_CELLS };

/* --- the header --------------------------------------------------------------- */

#define STORE_MAGIC   UINT64_C(0x32454c424d485349) /* "ISHMBLE2" */
#define STORE_VERSION 4u

/* Written by the creator before the file has its name; afterwards only as the comments say. */
typedef struct store_header {
    uint64_t    magic;
    uint32_t    version;
    uint32_t    block_size; /* bytes of the largest cells */
    uint64_t    seed;       /* of the hash function       */
    uint64_t    size;       /* of the mapping             */
    uint64_t    closed;     /* 1: removed, for ever       */
    uint64_t    next;       /* where the next pool begins: fetch_add, so a death wastes addresses, not memory */
    uint64_t    epoch;      /* number of the search for garbage; incremented by the holder of `recovery` */
    uint64_t    names;      /* the variable of the names: generation << 32 | slot + 1; by CAS, once */
    pool_lock_t recovery;   /* held by the process that recovers */
    uint8_t     pad2[48];
    /* Where the parts of the rows are: 0, or an offset, by CAS, for ever. */
    uint64_t    parts[STORE_ROWS][STORE_PARTS];
} store_header_t;

POOL_STATIC_ASSERT(offsetof(store_header_t, parts) == 128, "the table of parts begins a cache line");

/* --- variables ------------------------------------------------------------------- */

#define STORE_FLAG_TYPE    3u
#define STORE_FLAG_REMOVED 4u

/* What a serial publishes, in addition to cells: state[s & 1] belongs to serial s; the other one
 * is the writer's draft of s + 1. Readers that find that the serial has advanced by two start over. */
typedef struct store_state {
    store_link_t root;   /* scalars: the cell; arrays: the page of links        */
    uint32_t     tier;   /* scalars without a cell: kind and length; arrays: of `root` */
    uint64_t     first;  /* scalars without a cell: 8 bytes; arrays: position of element 0 */
    uint64_t     length; /* scalars without a cell: 8 bytes more; else: elements */
    store_link_t joint;  /* of a draft: the cell that says whether the change has happened; else 0 */
    uint32_t     flags;  /* STORE_FLAG_REMOVED                                  */
} store_state_t;

/* What the holder of the lock is doing to a page, so that its heir can finish it. */
enum store_intent {
    STORE_INTENT_NONE,
    STORE_INTENT_SPLIT,  /* bucket `place` is new: the chain it came from is to be cut   */
    STORE_INTENT_ROOT,   /* the new directory `page` replaces the page `place`          */
    STORE_INTENT_PAGE,   /* the new page `page` is linked at `place`                     */
    STORE_INTENT_UNPAGE, /* the page `page` at `place` is removed                      */
    STORE_INTENT_TREE,   /* arrays: state[s + 1] has a tree of its own                   */
    STORE_INTENT_MOVE    /* arrays: links were moved over gaps, from `place` on, in the change `hand` to the serial */
};

/* In `exclusive`: the holder of the lock, whatever process it is, moves links where readers would look. */
#define STORE_MOVING UINT64_MAX

/* Where the chains of a hash begin, in one word: with tier 0 `root` is the head of the one
 * chain, else a page of a tree of heads. The shape is tier << 28 | number of buckets. */
typedef union store_table {
    uint64_t word;
    struct {
        store_link_t root;
        uint32_t     shape;
    } is;
} store_table_t;

typedef struct store_record {
    /* Read by every look. */
    uint64_t      serial;    /* the holder of the lock; release */
    uint64_t      retired;   /* the same, or who destroys it    */
    uint64_t      exclusive; /* others may not read: owner word of the holder of a write lock by name, or STORE_MOVING; else 0 */
    store_table_t table;     /* hashes, and what is reserved of arrays: the holder of the lock; release */
    store_state_t state[2];
    /* Written by writers, and by processes that attach and detach. */
    pool_lock_t   lock;
    uint64_t      count;    /* stored references << 32 | handles; 0: being destroyed, for ever */
    uint32_t      readers;  /* not 0: there may be read locks */
    uint32_t      settling; /* not 0: the holder may be settling what a dead holder left: see lock_inherit() */
    store_link_t  todo;     /* of an open change             */
    uint32_t      generation;
    uint32_t      type;
    uint32_t      intent;
    uint64_t      intent_place;
    store_link_t  intent_page;
    uint32_t      hand;      /* hashes: where the last search for expired elements ended; arrays: see STORE_INTENT_MOVE */
    uint64_t      epoch;     /* of the last search for garbage that must not free it */
    uint64_t      expire_ns; /* hashes: default */
    uint32_t      limit;     /* hashes: the most elements, or 0 */
    uint32_t      soonest;   /* hashes: 0: no element ever expires; else no element expires before this time */
    uint32_t      coming;    /* hashes: the same for elements that the hand has passed, and those stored since it began */
    store_link_t  doomed;    /* the next variable that the destroyer of this one has to destroy */
} store_record_t;

POOL_STATIC_ASSERT(sizeof(store_record_t) == 192, "a variable has three cache lines");

/* "This process uses that variable": a slot of its own, so it is found when it is dead. A cache
 * line of its own: each look writes there. */
enum store_mark_state { STORE_MARK_NONE, STORE_MARK_COUNTED };

#define STORE_MARK_GENERATIONS 0x1ffu
#define STORE_MARK_COMES       0x80000000u /* the child takes the mark if it lives, whenever that is */

typedef struct store_mark {
    uint32_t slot, generation; /* the variable */
    uint32_t state;            /* COUNTED: record->count certainly includes it */
    uint32_t reading;          /* has a read lock */
    uint64_t transit;          /* made for a child that has not taken it yet: CLOCK_BOOTTIME of when its time is over; 0: not so */
    uint32_t child;            /* its PID as soon as that is known, 9 bits of the mark's own generation, COMES */
    uint32_t waiting;          /* waits for the write lock */
    uint64_t since;            /* CLOCK_MONOTONIC ns, of the waiting */
    uint32_t looking;          /* in a look: only written by the user of the handle; see trim.c */
    uint32_t pad[5];
} store_mark_t;

POOL_STATIC_ASSERT(sizeof(store_mark_t) == 64, "a mark has a cache line");

/* --- cells ------------------------------------------------------------------------- */

#define STORE_CELL_KEY_TEXT 1u /* the key is characters                              */
#define STORE_CELL_LONG     2u /* payload goes on in blocks                          */
#define STORE_CELL_EXPIRES  4u /* payload begins with 8 bytes of CLOCK_BOOTTIME       */
#define STORE_CELL_COUNTED  8u /* the reference in it is in its variable's count      */

typedef struct store_cell {
    store_link_t next; /* hashes: the next in the chain, by (hash, key), the newest version of a key first; arrays: the older version */
    store_link_t todo; /* the next on the list of a change; the cell itself: it is on no list, and has a counted reference */
    uint64_t     from, until;
    uint32_t     hash; /* bits reversed; arrays: low bits of the position */
    uint32_t     key_length;
    uint32_t     value_length; /* bytes behind the key */
    uint8_t      kind;         /* enum store_kind      */
    uint8_t      flags;
    uint8_t      used; /* read or stored since the hand of the limit last passed */
    uint8_t      pad;
    /* payload: [expires 8] key value; of a LONG cell the last 4 bytes are a link to the next block */
} store_cell_t;

POOL_STATIC_ASSERT(sizeof(store_cell_t) == 40, "the head of a cell is packed");

/* A reference as it is stored in a cell; the class name follows. */
typedef struct store_stored_ref {
    uint32_t slot, generation;
    uint8_t  type, is_text;
    uint8_t  pad[2];
} store_stored_ref_t;

#ifdef __cplusplus
}
#endif
#endif /* STORE_LAYOUT_H */
