/*
 * shm_batch.h - one Perl operation, one change.
 *
 * `%h = (…)` reaches a tied hash as a call of CLEAR and many of STORE. To publish
 * them together, the three operators that work like this on a whole variable
 * (list assignment, sort and reverse in place) are wrapped: what they do to one
 * shared variable is a batch. It is opened by the first change, and published
 * when the operator is done; if the operator dies, nothing of it happened.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_BATCH_H
#define SHM_BATCH_H

#include "shm_journal.h"

static OP *(*shm_pp_aassign)(pTHX), *(*shm_pp_sort)(pTHX), *(*shm_pp_reverse)(pTHX);

static void shm_batch_leave(pTHX_ void *unused)
{
    PERL_UNUSED_VAR(unused);
    if (shm_work.batching > 0) shm_work.batching--;
    if (shm_work.batch != NULL) shm_batch_abort(aTHX); /* left by an exception */
}

static OP *shm_batch_run(pTHX_ OP *(*operator)(pTHX))
{
    OP *next;
    ENTER;
    SAVEDESTRUCTOR_X(shm_batch_leave, NULL);
    shm_work.batching++;
    next = operator(aTHX);
    shm_batch_commit(aTHX);
    LEAVE;
    return next;
}

/* Is this a shared variable, or an element of one? */
static bool shm_is_ours(pTHX_ SV *sv)
{
    MAGIC *mg;
    for (mg = SvMAGIC(sv); mg != NULL; mg = mg->mg_moremagic)
        if ((mg->mg_type == PERL_MAGIC_tied || mg->mg_type == PERL_MAGIC_tiedelem || mg->mg_type == PERL_MAGIC_tiedscalar) && mg->mg_obj != NULL)
            return shm_handle_of(aTHX_ mg->mg_obj) != NULL;
    return false;
}

static OP *shm_batch_aassign(pTHX)
{
    SV **left = PL_stack_base + *PL_markstack_ptr + 1;
    for (; left <= PL_stack_sp; left++)
        if (*left != NULL && SvTYPE(*left) >= SVt_PVMG && POOL_UNLIKELY(SvMAGICAL(*left)) && shm_is_ours(aTHX_ *left)) return shm_batch_run(aTHX_ shm_pp_aassign);
    return shm_pp_aassign(aTHX);
}

static bool shm_in_place(pTHX_ U8 flag)
{
    SV *sv = *PL_stack_sp;
    return (PL_op->op_private & flag) != 0 && sv != NULL && SvTYPE(sv) == SVt_PVAV && SvMAGICAL(sv) && shm_is_ours(aTHX_ sv);
}

static OP *shm_batch_sort(pTHX)
{
    return shm_in_place(aTHX_ OPpSORT_INPLACE) ? shm_batch_run(aTHX_ shm_pp_sort) : shm_pp_sort(aTHX);
}

static OP *shm_batch_reverse(pTHX)
{
    return shm_in_place(aTHX_ OPpREVERSE_INPLACE) ? shm_batch_run(aTHX_ shm_pp_reverse) : shm_pp_reverse(aTHX);
}

/* Code that was compiled before this module was loaded has the old operators. */
static void shm_patch_ops(OP *op)
{
    OP *kid;
    if (op->op_ppaddr == shm_pp_aassign && op->op_type == OP_AASSIGN) op->op_ppaddr = shm_batch_aassign;
    else if (op->op_ppaddr == shm_pp_sort && op->op_type == OP_SORT) op->op_ppaddr = shm_batch_sort;
    else if (op->op_ppaddr == shm_pp_reverse && op->op_type == OP_REVERSE) op->op_ppaddr = shm_batch_reverse;
    if ((op->op_flags & OPf_KIDS) == 0) return;
    for (kid = cUNOPx(op)->op_first; kid != NULL; kid = OpSIBLING(kid)) shm_patch_ops(kid);
}

static void shm_patch_compiled(pTHX)
{
    SV *arena, *sv;
    if (PL_main_root != NULL) shm_patch_ops(PL_main_root);
    for (arena = PL_sv_arenaroot; arena != NULL; arena = (SV *)SvANY(arena))
        for (sv = arena + 1; sv < &arena[SvREFCNT(arena)]; sv++)
            if (SvREFCNT(sv) > 0 && SvTYPE(sv) == SVt_PVCV && !CvISXSUB((CV *)sv) && CvROOT((CV *)sv) != NULL) shm_patch_ops(CvROOT((CV *)sv));
}

/* Once a process: the table of operators is everybody's. */
static void shm_batch_install(pTHX)
{
    if (shm_pp_aassign != NULL) return;
    shm_pp_aassign             = PL_ppaddr[OP_AASSIGN];
    shm_pp_sort                = PL_ppaddr[OP_SORT];
    shm_pp_reverse             = PL_ppaddr[OP_REVERSE];
    PL_ppaddr[OP_AASSIGN] = shm_batch_aassign;
    PL_ppaddr[OP_SORT]    = shm_batch_sort;
    PL_ppaddr[OP_REVERSE] = shm_batch_reverse;
    shm_patch_compiled(aTHX);
}

#endif /* SHM_BATCH_H */
