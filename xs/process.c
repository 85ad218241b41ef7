/*
 * process.c - fork and exec, as far as perl is concerned.
 *
 * The marks of a child are made before the fork (store_fork_prepare()). A child that is made to
 * execute a command (system, backticks, a pipe from or to a command) gets none. One that executes
 * another program in another way never takes its marks, and they expire. A child of perl's fork
 * takes its marks at once; any other takes them at its next statement, because it may be about to
 * become another program.
 */
#include "shm.h"

#include <pthread.h>

__thread OP *shm_command; /* the operator that is about to execute a command in a child */
static bool  shm_prepared;
static void (*shm_old_signalhook)(pTHX);

/* Perl's fork continues in Perl, and tells its parent the PID. A fork made to run a command never runs
 * Perl code. */
static int shm_what_forks(pTHX)
{
    if (!SHM_HAS_PERL || PL_op == NULL) return STORE_FORK_PERHAPS;
    if (PL_op->op_ppaddr == shm_fork_operator) return STORE_FORK_GOES_ON;
    return PL_op == shm_command || PL_op->op_type == OP_SYSTEM || PL_op->op_type == OP_BACKTICK ? STORE_FORK_COMMAND : STORE_FORK_PERHAPS;
}

static void shm_fork_prepare(void)
{
    dTHX;
    shm_lock_table();
    store_fork_prepare(shm_what_forks(aTHX));
    shm_prepared = true;
}

static void shm_fork_parent(void)
{
    store_fork_parent();
    shm_unlock_table();
}

static void shm_signalhook(pTHX)
{
    PL_signalhook = shm_old_signalhook;
    store_fork_adopt();
    PL_signalhook(aTHX);
}

static void shm_fork_child(void)
{
    dTHX;
    store_fork_child();
    shm_batch_forget();
    shm_joint_forget(aTHX);
    shm_unlock_table();
    if (!SHM_HAS_PERL) return;
    if (PL_op != NULL && PL_op->op_type == OP_FORK) {
        store_fork_adopt();
        return;
    }
    if (PL_signalhook != shm_signalhook) shm_old_signalhook = PL_signalhook;
    PL_signalhook  = shm_signalhook;
    PL_sig_pending = 1;
}

void shm_process_install(pTHX)
{
    static bool installed;
    PERL_UNUSED_CONTEXT;
    if (installed) return;
    installed = true;
    pthread_atfork(shm_fork_prepare, shm_fork_parent, shm_fork_child);
}
