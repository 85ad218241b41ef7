/*
 * shm.h - what lies between Perl and store/: handles behind objects, values, and the
 * short way from perl's operators. Internal to the XS of IPC::Shm.
 *
 *   handle.c    handles, their table, containers that are tied to them
 *   value.c     Perl values to stored values, and back; references
 *   object.c    objects with destructors
 *   share.c     storing references: what they lead to becomes shared
 *   access.c    elements: what FETCH and STORE do, and magic that does it without methods
 *   element.c   one element by what it was, and when elements expire
 *   queue.c     elements that are reserved
 *   joint.c     one change of several variables
 *   look.c      many elements of one moment
 *   space.c     namespaces as objects; locks and waiting
 *   operator.c  the operators of perl that know shared variables
 *   ends.c      push, pop, shift and unshift, without a call of the method
 *   process.c   fork, exec, threads
 *   signal.c    handlers of signals that wait
 *   engine.c    what engines written in Perl need
 *   whole.c     whole contents as one argument for Redis
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#ifndef XS_SHM_H
#define XS_SHM_H

#ifndef PERL_NO_GET_CONTEXT
#define PERL_NO_GET_CONTEXT
#endif
#include "EXTERN.h"
#include "perl.h"
#include "XSUB.h"

#include "store/store.h"

#define SHM_LIKELY(x)   __builtin_expect(!!(x), 1)
#define SHM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define SHM_APART       __attribute__((noinline)) /* its caller has a shorter way, which then need not save registers */

#ifdef G_LIST
#define SHM_G_LIST G_LIST
#else
#define SHM_G_LIST G_ARRAY
#endif

/* A handle: one variable, in one interpreter. It belongs to the object behind `tied`. */
typedef struct shm_var {
    store_var_t    *var;   /* NULL: it is let go */
    store_t        *store; /* kept open */
    store_ref_t     id;
    uint32_t        type;
    uint32_t        armed;             /* an operator works on it: its stores are one change */
    bool            kept;              /* its container is, see object.c */
    bool            joint;             /* its change is to be committed with others */
    bool            guarded;           /* a method has a change open, which its scope undoes */
    bool            fetched, iterated; /* its container was made for a fetch; the container is kept while it is being iterated */
    SV             *object;            /* not counted */
    HV             *stash;             /* of its class, as far as known; not counted */
    SV             *container;         /* the tied variable, not counted; NULL: unknown or gone */
    HV             *blessed;           /* the class that a stored reference last named; not counted */
    char           *name;              /* sigil and full name, or NULL: anonymous */
    void           *perl;              /* the interpreter */
    SV             *value;             /* scalars: what was fetched last; hashes: what shm_hash_lend() lends, */
    uint64_t        serial;            /* and with which serial */
    struct shm_var *next, **link;      /* in the table of handles */
} shm_var_t;

/* The interpreter, if there can be several, and whether this thread belongs to perl. Without threads aTHX
 * is not an expression. */
#ifdef MULTIPLICITY
#define SHM_PERL     ((void *)aTHX)
#define SHM_HAS_PERL (aTHX != NULL)
#else
#define SHM_PERL     NULL
#define SHM_HAS_PERL true
#endif

/* --- handle.c ------------------------------------------------------------------- */

extern MGVTBL shm_handle_vtbl, shm_container_vtbl;

/* Not PERL_MAGIC_ext: bless() of a scalar with that stores the scalar. No variable that
 * can be shared has the magic of calls. */
#define SHM_MAGIC_CONTAINER PERL_MAGIC_checkcall

/* The handle behind an object, or NULL. */
static inline shm_var_t *shm_handle_of(pTHX_ SV *object)
{
    MAGIC *mg;
    PERL_UNUSED_CONTEXT;
    if (!SvROK(object) || SvTYPE(SvRV(object)) < SVt_PVMG) return NULL;
    for (mg = SvMAGIC(SvRV(object)); mg != NULL; mg = mg->mg_moremagic)
        if (mg->mg_virtual == &shm_handle_vtbl) return (shm_var_t *)(void *)mg->mg_ptr;
    return NULL;
}

/* The handle of a method's object, of that type (0: any); croaks if it is not such an object. */
shm_var_t *shm_self(pTHX_ SV *self, uint32_t type);

/* The handle of a container that is tied to a shared variable, or NULL. *foreign: it is
 * tied to something else. */
shm_var_t *shm_handle_of_container(pTHX_ SV *container, bool *foreign);

/* A handle for a variable that was opened: a new one, or the existing one (then `var` is released). */
shm_var_t *shm_handle(pTHX_ store_var_t *var, const char *name, STRLEN length);

/* This interpreter's handle of a variable, or NULL. */
shm_var_t *shm_find(pTHX_ store_t *store, const store_ref_t *ref);

SV      *shm_object(pTHX_ shm_var_t *var);    /* a counted reference to its object */
SV      *shm_reference(pTHX_ shm_var_t *var); /* a counted reference to the container tied to it */
uint32_t shm_type_of(SV *target);
void     shm_tie(pTHX_ shm_var_t *var, SV *container);
void     shm_untie(pTHX_ shm_var_t *var, SV *container);
void     shm_know_container(pTHX_ shm_var_t *var, SV *container);
void     shm_let_go(pTHX_ shm_var_t *var);
void     shm_drop_fetched(pTHX);

/* For the clone of an interpreter. */
void shm_lock_table(void);
void shm_unlock_table(void);

/* Throw an exception that says what a code means for this variable. Does not return. */
void shm_fail(pTHX_ const shm_var_t *var, int code, const char *doing) __attribute__((noreturn));

/* Run the signal handlers that are pending, while waiting for this variable. They may die. */
void shm_run_handlers(pTHX_ shm_var_t *var);

/* --- signal.c: handlers that wait --- */
void shm_boot_signals(pTHX);
void shm_handlers_later(pTHX);           /* handlers wait, until the scope ends */
void shm_handlers_now(pTHX);             /* those that are pending run: we wait for others. They may die. */
void shm_destroy_held(pTHX_ SV *object); /* call its method `_destroyed` while handlers wait: one cannot die out of it */

/* The store behind the handle, or an exception. */
static inline store_var_t *shm_store_of(pTHX_ shm_var_t *var)
{
    if (SHM_UNLIKELY(var->var == NULL)) croak("The shared variable is no longer attached");
    return var->var;
}

/* Call `operation` until no signal interrupts it. */
#define SHM_UNINTERRUPTED(var, code, operation) SHM_UNINTERRUPTED_WITH(var, code, NULL, operation)

/* What such an operation has borrowed from perl's memory: a key, and values. A handler may change the
 * variables that they come from, so they are copied before a handler runs. */
typedef struct shm_loan {
    store_key_t   *key;    /* or NULL */
    store_value_t *values; /* or NULL */
    SSize_t        count;
} shm_loan_t;
void shm_keep_loan(pTHX_ const shm_loan_t *loan); /* NULL: nothing is borrowed */
#define SHM_UNINTERRUPTED_WITH(var, code, loan, operation)              \
    while (SHM_UNLIKELY(((code) = (operation)) == STORE_INTERRUPTED)) { \
        shm_keep_loan(aTHX_(loan));                                     \
        shm_run_handlers(aTHX_(var));                                   \
    }

/* --- value.c ------------------------------------------------------------------------ */

/* Make a value to be stored of a Perl value that shm_ready() returned; it borrows the text. Runs no code. */
void shm_encode(pTHX_ SV *sv, store_value_t *value);

/* Is it a reference to a constant of a class, such as the booleans of JSON? The program does not mean to
 * share that. */
bool shm_is_constant(pTHX_ SV *reference);

/* What was put into `sv` while a change was open may be a reference to a scalar that has not been read since: read it,
 * unless that would mean to wait. */
void shm_show(pTHX_ SV *sv);

/* Put a stored value into `sv`. False: it is a reference to a variable that is gone meanwhile. May die. */
bool shm_decode(pTHX_ shm_var_t *var, const store_value_t *value, SV *sv);

/* A key as text, valid until the end of the statement. May run the user's code. */
SV               *shm_text_key(pTHX_ SV *key);
static inline SV *shm_key(pTHX_ SV *key)
{
    return SHM_LIKELY(SvPOK(key) && !SvROK(key) && !SvGMAGICAL(key)) ? key : shm_text_key(aTHX_ key);
}

/* The stored form of a key that shm_key() returned: as bytes, if bytes can express it. */
store_key_t shm_store_key(pTHX_ store_t *store, SV *key);
SV         *shm_key_sv(pTHX_ const store_value_t *key);

/* --- object.c ---------------------------------------------------------------------------------- */

/* An object with a destructor is kept by this process while a stored reference leads to it. */
void shm_keep(pTHX_ shm_var_t *var, SV *container);

/* `each %{$h{x}}` fetches the same hash again and again: it is kept from the first key to
 * the last, so that perl does not lose its place. */
void shm_keep_iterated(pTHX_ shm_var_t *var);
void shm_drop_iterated(pTHX_ shm_var_t *var);

/* Let go of those that no stored reference leads to any more. */
extern __thread UV shm_kept;
void               shm_tend_kept(pTHX);
void               shm_drop_all_kept(pTHX);
static inline void shm_tend(pTHX)
{
    if (SHM_UNLIKELY(shm_kept != 0)) shm_tend_kept(aTHX);
}

/* --- share.c ----------------------------------------------------------------------------- */

/* Prepare a value of the user's to be stored: read its magic, and share what it refers to. May run the
 * user's code. The result is valid until the end of the statement. */
SV               *shm_ready_reference(pTHX_ shm_var_t *var, SV *sv);
void              shm_check_value(pTHX_ SV *sv);
static inline SV *shm_ready(pTHX_ shm_var_t *var, SV *sv)
{
    SvGETMAGIC(sv);
    if (SHM_UNLIKELY(SvROK(sv))) return shm_ready_reference(aTHX_ var, sv);
    if (SHM_UNLIKELY(SvTYPE(sv) >= SVt_REGEXP)) shm_check_value(aTHX_ sv);
    return sv;
}

/* --- access.c ---------------------------------------------------------------------------- */

extern MGVTBL shm_element_vtbl, shm_tied_vtbl;
void          shm_magic_prepare(void);

/* Make `sv`, which has the value of an element, store to that element when it is assigned to. A key or, if
 * that is NULL, an index. */
void shm_make_alias(pTHX_ SV *sv, SV *object, SV *key, IV index);

/* A container is tied to one of our objects: let its magic take the short way. */
void shm_quicken(pTHX_ SV *container);

/* The variable that magic leads to, if its methods are ours; or NULL. */
shm_var_t *shm_of_magic(pTHX_ const MAGIC *mg);

/* Begin the change that a store is part of, unless the current operator has begun it; end it, unless the
 * operator continues it. */
void shm_begin(pTHX_ shm_var_t *var, const shm_loan_t *loan);
void shm_end(pTHX_ shm_var_t *var, int code);
bool shm_begin_armed(pTHX_ shm_var_t *var, const shm_loan_t *loan); /* by a method: until commit or abort; false: one is open */

/* For a call that is otherwise a change of its own: begin the change that it is part of. */
SHM_APART void shm_begin_whole(pTHX_ shm_var_t *var, const shm_loan_t *loan);

/* One call of store/ that is a change of its own, or part of the change of an operator or of several
 * variables. */
#define SHM_CHANGE(var, code, loan, operation)                                                 \
    do {                                                                                       \
        if (SHM_UNLIKELY(((var)->armed | shm_joints) != 0)) shm_begin_whole(aTHX_(var), loan); \
        SHM_UNINTERRUPTED_WITH(var, code, loan, operation)                                     \
        if (SHM_UNLIKELY((code) != STORE_OK)) shm_fail(aTHX_(var), code, "store");             \
        shm_tend(aTHX);                                                                        \
    } while (0)

void shm_batch_commit(pTHX_ shm_var_t *var);
void shm_batch_abort(pTHX_ shm_var_t *var);

/* Where a value is: a key, or an index, or (neither) the scalar. */
typedef struct shm_place {
    store_key_t *key;
    uint64_t     index;
} shm_place_t;
int  shm_get(shm_var_t *var, const shm_place_t *place, store_value_t *value, const store_buffer_t *buffer);
bool shm_fetch(pTHX_ shm_var_t *var, const shm_place_t *place, SV *sv);
void shm_check_index(pTHX_ IV index);

/* Put the value into `sv`; false: there is none (then sv is undef). */
bool shm_hash_fetch(pTHX_ shm_var_t *var, SV *key, SV *sv);
bool shm_hash_exists(pTHX_ shm_var_t *var, SV *key);
SV  *shm_hash_lend(pTHX_ shm_var_t *var, SV *key); /* as fetch, where the next operator copies it */
void shm_hash_store(pTHX_ shm_var_t *var, SV *key, SV *value, uint64_t expires);

/* Add to an element. False: they are not two integers with an integer sum, and nothing has happened. */
bool shm_hash_add(pTHX_ shm_var_t *var, store_key_t *key, int64_t delta, int64_t *sum);
SV  *shm_hash_delete(pTHX_ shm_var_t *var, SV *key);
SV  *shm_hash_next(pTHX_ shm_var_t *var, SV *key);
UV   shm_hash_count(pTHX_ shm_var_t *var);
bool shm_array_fetch(pTHX_ shm_var_t *var, IV index, SV *sv);
void shm_array_store(pTHX_ shm_var_t *var, IV index, SV *value);
IV   shm_array_size(pTHX_ shm_var_t *var);
SV  *shm_array_delete(pTHX_ shm_var_t *var, IV index);
void shm_array_resize(pTHX_ shm_var_t *var, IV size);
SV  *shm_scalar_fetch(pTHX_ shm_var_t *var);
void shm_scalar_store(pTHX_ shm_var_t *var, SV *value);
void shm_clear(pTHX_ shm_var_t *var);
SV  *shm_sum(pTHX_ SV *value, SV *delta);

/* Put the values on Perl's stack, from `first` on, in place of elements; removed (may be NULL) gets the
 * old ones. Negative offset and length as in perl's splice. Returns the new size. */
typedef struct shm_splice {
    IV      offset, length;
    bool    to_end; /* length: up to the end */
    bool    past;   /* out: the offset was beyond the end */
    SSize_t first, count;
    AV     *removed;
} shm_splice_t;
IV  shm_array_splice(pTHX_ shm_var_t *var, shm_splice_t *splice);
SV *shm_array_take(pTHX_ shm_var_t *var, bool last);

/* Append the values on Perl's stack, from `first` on. Returns the new size. */
IV shm_array_push(pTHX_ shm_var_t *var, SSize_t first, SSize_t count);

/* The value of $h{a}{b}…, found by following references in place; NULL: it has to be done in perl's way. */
SV *shm_fetch_chain(pTHX_ shm_var_t *var, SV **keys, int depth);

/* --- element.c ------------------------------------------------------------------------------- */

/* The key, or the place, that a method's arguments (a key, an index, or nothing) stand for; `key` is room for it. */
store_key_t shm_key_of(pTHX_ shm_var_t *var, SV *where);
shm_place_t shm_place_of(pTHX_ shm_var_t *var, SV *where, store_key_t *key);

/* Check the arguments of such a method: a place, which is returned (NULL for scalars), and `more` others,
 * which the message calls `what`. Dies if their number is wrong. */
SV *shm_arguments(pTHX_ const shm_var_t *var, const char *method, I32 given, I32 more, const char *what, SV *first);

SV      *shm_add(pTHX_ shm_var_t *var, const shm_place_t *place, SV *delta, SV *target);
bool     shm_insert(pTHX_ shm_var_t *var, SV *where, SV *sv);
bool     shm_replace(pTHX_ shm_var_t *var, SV *where, SV *old, SV *sv);
SV      *shm_exchange(pTHX_ shm_var_t *var, SV *where, SV *sv);
SV      *shm_update(pTHX_ shm_var_t *var, SV *where, SV *code);
uint64_t shm_expires(pTHX_ SV *seconds); /* CLOCK_BOOTTIME, for store_hash_put() */
uint64_t shm_expiry(pTHX_ shm_var_t *var, const shm_place_t *place, bool *there);
void     shm_hash_keep_expiry(pTHX_ shm_var_t *var, SV *key, SV *value);
bool     shm_hash_touch(pTHX_ shm_var_t *var, SV *key, uint64_t expires);
SV      *shm_hash_ttl(pTHX_ shm_var_t *var, SV *key);
void     shm_hash_expire(pTHX_ shm_var_t *var, SV *seconds);
void     shm_hash_limit(pTHX_ shm_var_t *var, SV *elements);
UV       shm_hash_sweep(pTHX_ shm_var_t *var);

/* --- queue.c --------------------------------------------------------------------------------- */

/* Take the next element; jobs that dead processes had reserved come first. False: there is none. If ticket
 * is not NULL, the element is reserved. */
bool shm_queue_take(pTHX_ shm_var_t *var, SV *job, SV *ticket);
bool shm_queue_await(pTHX_ shm_var_t *var, SV *job, SV *ticket, SV *seconds); /* the same, but waits for it */
bool shm_queue_end(pTHX_ shm_var_t *var, SV *ticket, bool back);
void shm_queue_list(pTHX_ shm_var_t *var); /* pushed onto Perl's stack */

/* --- joint.c --------------------------------------------------------------------------------- */

/* From here to the end, everything that this interpreter stores in the namespace of that variable is one
 * change. False: one is open already. */
bool shm_joint_begin(pTHX_ shm_var_t *var);
void shm_joint_commit(pTHX); /* dies, undone, where there is no room */
void shm_joint_abort(pTHX);
void shm_joint_forget(pTHX);

/* If such a change is open, and the variable can take part in it, let it take part; waits for it. */
extern unsigned shm_joints __attribute__((visibility("hidden")));
void            shm_join(pTHX_ shm_var_t *var);

/* --- look.c ------------------------------------------------------------------------------- */

/* The whole content at one moment, as mortal SVs in an array that is mortal too: keys, or keys and values
 * (hashes), or values. If the object that the container is tied to is given, the values are aliases: a
 * store to one is a store to the element. */
typedef enum shm_which { SHM_KEYS, SHM_VALUES, SHM_PAIRS } shm_which_t;
AV *shm_look(pTHX_ shm_var_t *var, shm_which_t which, SV *object);

/* The same as a reference to a new plain array or hash; for a scalar, its value. */
SV *shm_all(pTHX_ shm_var_t *var);

/* The values of these keys (SVs on Perl's stack) at one moment. */
AV *shm_look_slice(pTHX_ shm_var_t *var, SSize_t first, SSize_t count, SV *object);

/* --- space.c --------------------------------------------------------------------------------- */

store_t *shm_space_of(pTHX_ SV *object);
SV      *shm_space_object(pTHX_ const char *path, const store_options_t *options);
SV     *shm_space_variable(pTHX_ store_t *store, uint32_t type, SV *name, bool create); /* undef: not there, or the namespace was removed */
void    shm_space_names(pTHX_ store_t *store);                                          /* pushed onto Perl's stack */
void    shm_space_list(pTHX_ store_t *store);
SV     *shm_space_stats(pTHX_ store_t *store);
SV     *shm_find_name(pTHX_ SV *reference, SV *package);
void    shm_remove(pTHX_ shm_var_t *var);
int64_t shm_timeout(pTHX_ SV *seconds); /* ns; undef or none: for ever */
SV     *shm_lock(pTHX_ shm_var_t *var, bool write, int64_t timeout_ns);
bool    shm_wait_change(pTHX_ shm_var_t *var, int64_t timeout_ns);
IV      shm_splice_argument(pTHX_ SV *sv);

/* --- operator.c, process.c ------------------------------------------------------------------- */

/* perl's own operators, by number. */
typedef OP      *shm_pp_t(pTHX);
extern shm_pp_t *shm_pp[MAXO];

void                shm_operators_install(pTHX);
bool                shm_operators_installed(pTHX);
void                shm_meet(pTHX); /* the operator that is at work has come to a shared variable */
void                shm_meet_operator(OP *op);
void                shm_process_install(pTHX);
extern __thread OP *shm_command;
OP                 *shm_fork_operator(pTHX);
void                shm_batch_forget(void);

/* --- ends.c ------------------------------------------------------------------------------------- */

OP *shm_push_operator(pTHX);
OP *shm_unshift_operator(pTHX);
OP *shm_take_operator(pTHX);

/* Called by a method: from now on, the operator of that number that has called it runs our function. */
void shm_meet_statement(pTHX_ int number);

/* --- engine.c: engines in Perl ---------------------------------------------------------------- */

void shm_engine_watch_forks(void);
void shm_engine_tune_socket(int fd, int milliseconds);

void shm_engine_in_perl(void); /* there is one from now on */
/* The object that sv, or the container of which it is an element, is tied to, if it belongs to such an
 * engine; or NULL. */
SV  *shm_engine_object(pTHX_ SV *sv);
bool shm_engine_begin(pTHX_ SV *object); /* false: a change is open already */
void shm_engine_end(pTHX_ SV *object, bool done);
void shm_engine_tied(pTHX_ SV *container); /* the container was tied, perhaps to an object of such an engine */
AV  *shm_engine_look(pTHX_ SV *object, const char *how, AV *keys);
/* Does a method return a true value? `held`: handlers of signals wait, so that what it begins or ends is known as soon as it is so. */
bool shm_engine_ask(pTHX_ SV *object, const char *method, SV *argument, bool held);

/* --- whole.c: whole contents for Redis ------------------------------------------------------------ */

bool shm_engine_assign(pTHX_ SV *object, SSize_t from, SSize_t to, bool is_hash); /* false: not done */

#endif /* XS_SHM_H */
