/*
 * joint.c - one change of whatever a sub stores to: see shm.h.
 *
 * While it is open, the first store to a variable of its namespace begins a change of that (access.c:
 * each store asks), which nobody commits but all together. A joint belongs to one interpreter.
 */
#include "shm.h"

typedef struct shm_joint {
    void    *perl;
    store_t *store;
    SV     **reference; /* references to the objects that take part; counted, because a temporary container may be gone earlier */
    size_t   count, room;
} shm_joint_t;

static __thread shm_joint_t *shm_joint;

/* For the whole process, all threads: almost always 0. A thread that has a joint change has incremented
 * it. */
unsigned shm_joints;

static bool shm_joint_is_open(pTHX)
{
    PERL_UNUSED_CONTEXT;
    return shm_joint != NULL && shm_joint->perl == SHM_PERL;
}

bool shm_joint_begin(pTHX_ shm_var_t *var)
{
    shm_joint_t *joint;
    if (shm_joint_is_open(aTHX)) return false;
    if ((joint = (shm_joint_t *)calloc(1, sizeof *joint)) == NULL) croak("Out of memory for a change");
    joint->perl  = SHM_PERL;
    joint->store = store_retain(var->store);
    shm_joint    = joint;
    __atomic_fetch_add(&shm_joints, 1, __ATOMIC_RELAXED);
    return true;
}

static void shm_joint_add(pTHX_ shm_joint_t *joint, shm_var_t *var)
{
    if (joint->count == joint->room) {
        size_t room = joint->room * 2 + 8;
        SV   **more = (SV **)realloc(joint->reference, room * sizeof *more);
        if (more == NULL) {
            store_abort(var->var);
            croak("Out of memory for a change");
        }
        joint->reference = more;
        joint->room      = room;
    }
    joint->reference[joint->count++] = shm_object(aTHX_ var);
    var->joint                       = true;
    var->armed++;
}

/* A handler that ran while we waited for the variable may have made it take part, or ended the whole
 * change. */
void shm_join(pTHX_ shm_var_t *var)
{
    shm_joint_t *joint = shm_joint;
    int          code;
    if (!shm_joint_is_open(aTHX) || joint->store != var->store || store_is_open(shm_store_of(aTHX_ var))) return;
    sv_2mortal(shm_object(aTHX_ var));
    SHM_UNINTERRUPTED(var, code, store_is_open(shm_store_of(aTHX_ var)) ? (int)STORE_OK : store_begin_joint(var->var, STORE_FOREVER));
    if (code != STORE_OK) shm_fail(aTHX_ var, code, "store");
    if (!var->joint) shm_joint_add(aTHX_ joint, var);
}

/* Now no variable takes part, and the interpreter has no joint change open. */
static void shm_joint_free(pTHX_ shm_joint_t *joint)
{
    size_t i;
    shm_joint = NULL;
    __atomic_fetch_sub(&shm_joints, 1, __ATOMIC_RELAXED);
    for (i = 0; i < joint->count; i++) {
        shm_var_t *var = shm_handle_of(aTHX_ joint->reference[i]);
        if (var != NULL) {
            var->joint = false;
            if (var->armed > 0) var->armed--;
        }
    }
    for (i = 0; i < joint->count; i++) SvREFCNT_dec_NN(joint->reference[i]); /* may run the user's code */
    store_close(joint->store);
    free(joint->reference);
    free(joint);
    shm_tend(aTHX);
}

void shm_joint_abort(pTHX)
{
    shm_joint_t *joint = shm_joint;
    size_t       i;
    if (!shm_joint_is_open(aTHX)) return;
    for (i = joint->count; i-- > 0;) {
        shm_var_t *var = shm_handle_of(aTHX_ joint->reference[i]);
        if (var != NULL && var->var != NULL) store_abort(var->var);
    }
    shm_joint_free(aTHX_ joint);
}

void shm_joint_commit(pTHX)
{
    shm_joint_t  *joint = shm_joint;
    store_var_t **vars;
    size_t        i, count = 0;
    int           code;
    if (!shm_joint_is_open(aTHX)) return;
    Newx(vars, joint->count + 1, store_var_t *);
    SAVEFREEPV(vars);
    for (i = 0; i < joint->count; i++) {
        const shm_var_t *var = shm_handle_of(aTHX_ joint->reference[i]);
        if (var != NULL && var->var != NULL && store_is_open(var->var)) vars[count++] = var->var;
    }
    if ((code = store_commit_all(vars, count)) != STORE_OK) {
        shm_joint_abort(aTHX);
        croak("Cannot store: %s", store_strerror(code));
    }
    shm_joint_free(aTHX_ joint);
}

/* In a child: the changes belong to the parent. Their memory is lost in this process, which is about to
 * end or to become another program. */
void shm_joint_forget(pTHX)
{
    size_t i;
    if (SHM_HAS_PERL && shm_joint_is_open(aTHX)) {
        for (i = 0; i < shm_joint->count; i++) {
            shm_var_t *var = shm_handle_of(aTHX_ shm_joint->reference[i]);
            if (var == NULL) continue;
            var->joint = false;
            if (var->armed > 0) var->armed--;
        }
    }
    shm_joint = NULL;
    __atomic_store_n(&shm_joints, 0, __ATOMIC_RELAXED);
}
