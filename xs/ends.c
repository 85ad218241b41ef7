/*
 * ends.c - push, pop, shift and unshift, without a call of the method. See shm.h.
 *
 * perl has no hook in these operators but the method itself. So the method, when such an
 * operator has called it, looks for the operator in the statement that is being run, and swaps
 * its function: from its second run on it comes here.
 */
#include "shm.h"

static shm_var_t *shm_array_of(pTHX_ SV *array)
{
    MAGIC *mg = array != NULL && SvTYPE(array) == SVt_PVAV && SvRMAGICAL(array) ? mg_find(array, PERL_MAGIC_tied) : NULL;
    return mg != NULL && mg->mg_virtual == &shm_tied_vtbl ? shm_of_magic(aTHX_ mg) : NULL;
}

/* The list on the stack goes to an end of the array in front of it. */
static OP *shm_put_at_end(pTHX_ bool last)
{
    SSize_t      first = *PL_markstack_ptr + 1, count = PL_stack_sp - PL_stack_base - first;
    shm_var_t   *var    = count >= 0 ? shm_array_of(aTHX_ PL_stack_base[first]) : NULL;
    shm_splice_t splice = { 0, 0, false, false, first + 1, count, NULL };
    IV           size;
    if (var == NULL) return shm_pp[PL_op->op_type](aTHX);
    size = last ? shm_array_push(aTHX_ var, first + 1, count) : shm_array_splice(aTHX_ var, &splice);
    {
        dSP;
        SP = PL_stack_base + *PL_markstack_ptr--;
        if (OP_GIMME(PL_op, 0) != G_VOID) mPUSHi(size);
        RETURN;
    }
}

OP *shm_push_operator(pTHX)
{
    return shm_put_at_end(aTHX_ true);
}

OP *shm_unshift_operator(pTHX)
{
    return shm_put_at_end(aTHX_ false);
}

/* pop and shift; `shift` alone takes from the arguments of the sub. */
OP *shm_take_operator(pTHX)
{
    shm_var_t *var = (PL_op->op_flags & OPf_SPECIAL) == 0 ? shm_array_of(aTHX_ * PL_stack_sp) : NULL;
    SV        *taken;
    if (var == NULL) return shm_pp[PL_op->op_type](aTHX);
    taken        = shm_array_take(aTHX_ var, PL_op->op_type == OP_POP);
    *PL_stack_sp = taken;
    return NORMAL;
}

#define SHM_LARGE_STATEMENT 200 /* operators; in a larger one they are not looked for */

static int shm_meet_below(OP *op, int number, int left)
{
    OP *kid;
    if (op->op_type == number) shm_meet_operator(op);
    if ((op->op_flags & OPf_KIDS) == 0) return left - 1;
    for (kid = cUNOPx(op)->op_first; kid != NULL && left > 0; kid = OpSIBLING(kid)) left = shm_meet_below(kid, number, left - 1);
    return left;
}

void shm_meet_statement(pTHX_ int number)
{
    OP *op = (OP *)PL_curcop;
    if (PL_op == NULL || PL_op->op_next != NULL || PL_curcop == &PL_compiling) return; /* a program has called the method by name */
    if ((op = OpSIBLING(op)) != NULL) (void)shm_meet_below(op, number, SHM_LARGE_STATEMENT);
}
