/*
 * shm_operator.h - one Perl operation, one change; one look.
 *
 * `%h = (…)` reaches a tied hash as a call of CLEAR and many of STORE. To publish
 * them together, the three operators that work like this on a whole variable
 * (list assignment, sort and reverse in place) are wrapped: what they do to one
 * shared variable is a batch. It is opened by the first change, and published
 * when the operator is done; if the operator dies, nothing of it happened.
 *
 * `my %copy = %h` reaches it as FIRSTKEY, NEXTKEY, … and, later, many FETCH. The
 * operators that read many elements are wrapped as well: while one works on a
 * shared variable, what this process sees of it does not change, and the values
 * are fetched before it ends. Not where the elements may be assigned to (`for`,
 * `map`, arguments of a sub): there they are looked up one by one, when used.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_OPERATOR_H
#define SHM_OPERATOR_H

#include "shm_journal.h"

#ifdef G_LIST
#define SHM_G_LIST G_LIST
#else
#define SHM_G_LIST G_ARRAY
#endif

typedef OP *shm_pp_t(pTHX);

/* perl's own operators, by number. */
static shm_pp_t *shm_pp[MAXO];

/* --- changing ------------------------------------------------------------- */

static void shm_batch_leave(pTHX_ void *unused)
{
    PERL_UNUSED_VAR(unused);
    if (shm_work.batching > 0) shm_work.batching--;
    if (shm_work.batch != NULL) shm_batch_abort(aTHX); /* left by an exception */
}

static OP *shm_batch_run(pTHX_ int number)
{
    OP *next;
    ENTER;
    SAVEDESTRUCTOR_X(shm_batch_leave, NULL);
    shm_work.batching++;
    next = shm_pp[number](aTHX);
    shm_batch_commit(aTHX);
    LEAVE;
    return next;
}

/* Is this a shared variable, or an element of one? */
static bool shm_is_ours(pTHX_ SV *sv)
{
    MAGIC *mg;
    for (mg = SvMAGIC(sv); mg != NULL; mg = mg->mg_moremagic)
        if ((mg->mg_type == PERL_MAGIC_tied || mg->mg_type == PERL_MAGIC_tiedelem || mg->mg_type == PERL_MAGIC_tiedscalar)
            && mg->mg_obj != NULL)
            return shm_handle_of(aTHX_ mg->mg_obj) != NULL;
    return false;
}

static OP *shm_batch_aassign(pTHX)
{
    SV **left = PL_stack_base + *PL_markstack_ptr + 1;
    for (; left <= PL_stack_sp; left++)
        if (*left != NULL && SvTYPE(*left) >= SVt_PVMG && POOL_UNLIKELY(SvMAGICAL(*left)) && shm_is_ours(aTHX_ * left))
            return shm_batch_run(aTHX_ OP_AASSIGN);
    return shm_pp[OP_AASSIGN](aTHX);
}

static bool shm_in_place(pTHX_ U8 flag)
{
    SV *sv = *PL_stack_sp;
    return (PL_op->op_private & flag) != 0 && sv != NULL && SvTYPE(sv) == SVt_PVAV && SvMAGICAL(sv) && shm_is_ours(aTHX_ sv);
}

static OP *shm_batch_sort(pTHX)
{
    return shm_in_place(aTHX_ OPpSORT_INPLACE) ? shm_batch_run(aTHX_ OP_SORT) : shm_pp[OP_SORT](aTHX);
}

static OP *shm_batch_reverse(pTHX)
{
    return shm_in_place(aTHX_ OPpREVERSE_INPLACE) ? shm_batch_run(aTHX_ OP_REVERSE) : shm_pp[OP_REVERSE](aTHX);
}

/* --- reading -------------------------------------------------------------- */

static void shm_thaw(pTHX_ void *var)
{
    PERL_UNUSED_CONTEXT;
    ((shm_var_t *)var)->frozen = false;
}

/* Fetch the values among what the operator has pushed, and let them be values. */
static void shm_fetch_pushed(pTHX_ SSize_t from)
{
    SSize_t i;
    for (i = from; i <= PL_stack_sp - PL_stack_base; i++) {
        SV *sv = PL_stack_base[i];
        if (sv == NULL || SvTYPE(sv) < SVt_PVMG || !SvGMAGICAL(sv) || mg_find(sv, PERL_MAGIC_tiedelem) == NULL) continue;
        PL_stack_base[i] = sv_mortalcopy(sv);
    }
}

/* Run the operator on a variable that stands still meanwhile. `from` is the
 * stack position where its results begin. */
static OP *shm_read_run(pTHX_ int number, SV *container, SSize_t from)
{
    bool       foreign;
    shm_var_t *var = shm_handle_of_container(aTHX_ container, &foreign);
    OP        *next;

    if (var == NULL || var->frozen) return shm_pp[number](aTHX);
    shm_refresh(aTHX_ var);
    ENTER;
    SAVEDESTRUCTOR_X(shm_thaw, var);
    var->frozen = true;
    next        = shm_pp[number](aTHX);
    shm_fetch_pushed(aTHX_ from);
    LEAVE;
    return next;
}

/* Is it read as a list, and nothing else? */
#define SHM_READS_LIST() ((PL_op->op_flags & (OPf_MOD | OPf_REF)) == 0 && GIMME_V == SHM_G_LIST)

static OP *shm_read_pad(pTHX_ int number)
{
    SV *sv = PAD_SV(PL_op->op_targ);
    if (POOL_UNLIKELY(SvRMAGICAL(sv)) && SHM_READS_LIST()) return shm_read_run(aTHX_ number, sv, PL_stack_sp - PL_stack_base + 1);
    return shm_pp[number](aTHX);
}

/* What rv2av and rv2hv work on: a reference or a glob. */
static OP *shm_read_rv(pTHX_ int number, bool hash)
{
    SV *sv = *PL_stack_sp;
    if (SvROK(sv) && !SvAMAGIC(sv))
        sv = SvRV(sv);
    else if (isGV_with_GP(sv))
        sv = hash ? (SV *)GvHV((GV *)sv) : (SV *)GvAV((GV *)sv);
    if (sv != NULL && SvTYPE(sv) == (hash ? SVt_PVHV : SVt_PVAV) && POOL_UNLIKELY(SvRMAGICAL(sv)) && SHM_READS_LIST())
        return shm_read_run(aTHX_ number, sv, PL_stack_sp - PL_stack_base);
    return shm_pp[number](aTHX);
}

/* keys, values: the variable is on top of the stack. Slices: it is there, too,
 * above the keys, which the results replace. */
static OP *shm_read_top(pTHX_ int number, bool slice)
{
    SV *sv = *PL_stack_sp;
    if (sv != NULL && SvTYPE(sv) >= SVt_PVAV && POOL_UNLIKELY(SvRMAGICAL(sv)) && SHM_READS_LIST())
        return shm_read_run(aTHX_ number, sv, slice ? *PL_markstack_ptr + 1 : PL_stack_sp - PL_stack_base);
    return shm_pp[number](aTHX);
}

static OP *shm_read_padav(pTHX)
{
    return shm_read_pad(aTHX_ OP_PADAV);
}
static OP *shm_read_padhv(pTHX)
{
    return shm_read_pad(aTHX_ OP_PADHV);
}
static OP *shm_read_rv2av(pTHX)
{
    return shm_read_rv(aTHX_ OP_RV2AV, false);
}
static OP *shm_read_rv2hv(pTHX)
{
    return shm_read_rv(aTHX_ OP_RV2HV, true);
}
static OP *shm_read_keys(pTHX)
{
    return shm_read_top(aTHX_ OP_KEYS, false);
}
static OP *shm_read_values(pTHX)
{
    return shm_read_top(aTHX_ OP_VALUES, false);
}
static OP *shm_read_hslice(pTHX)
{
    return shm_read_top(aTHX_ OP_HSLICE, true);
}
static OP *shm_read_aslice(pTHX)
{
    return shm_read_top(aTHX_ OP_ASLICE, true);
}

/* --- fork -------------------------------------------------------------------- */

static OP *shm_fork(pTHX)
{
    OP *next = shm_pp[OP_FORK](aTHX);
    IV  pid  = SvOK(*PL_stack_sp) ? SvIV(*PL_stack_sp) : 0;
    if (pid > 0) shm_fork_pid((pid_t)pid);
    return next;
}

/* --- installing ------------------------------------------------------------- */

static const struct {
    int       number;
    shm_pp_t *ours;
} shm_operators[] = {
    { OP_AASSIGN, shm_batch_aassign }, { OP_SORT, shm_batch_sort },    { OP_REVERSE, shm_batch_reverse }, { OP_PADAV, shm_read_padav },
    { OP_PADHV, shm_read_padhv },      { OP_RV2AV, shm_read_rv2av },   { OP_RV2HV, shm_read_rv2hv },      { OP_KEYS, shm_read_keys },
    { OP_VALUES, shm_read_values },    { OP_HSLICE, shm_read_hslice }, { OP_ASLICE, shm_read_aslice },    { OP_FORK, shm_fork },
};

/* Code that was compiled before this module was loaded has the old operators. */
static void shm_patch_ops(OP *op)
{
    OP    *kid;
    size_t i;
    for (i = 0; i < sizeof shm_operators / sizeof *shm_operators; i++)
        if (op->op_type == shm_operators[i].number && op->op_ppaddr == shm_pp[op->op_type]) op->op_ppaddr = shm_operators[i].ours;
    if ((op->op_flags & OPf_KIDS) == 0) return;
    for (kid = cUNOPx(op)->op_first; kid != NULL; kid = OpSIBLING(kid)) shm_patch_ops(kid);
}

static void shm_patch_compiled(pTHX)
{
    SV *arena, *sv;
    if (PL_main_root != NULL) shm_patch_ops(PL_main_root);
    for (arena = PL_sv_arenaroot; arena != NULL; arena = (SV *)SvANY(arena))
        for (sv = arena + 1; sv < &arena[SvREFCNT(arena)]; sv++)
            if (SvTYPE(sv) == SVt_PVCV && SvREFCNT(sv) > 0 && !CvISXSUB((CV *)sv) && CvROOT((CV *)sv) != NULL)
                shm_patch_ops(CvROOT((CV *)sv));
}

/* Once a process: the table of operators is everybody's. */
static void shm_operators_install(pTHX)
{
    size_t i;
    if (shm_pp[OP_AASSIGN] != NULL) return;
    for (i = 0; i < sizeof shm_operators / sizeof *shm_operators; i++) {
        shm_pp[shm_operators[i].number]    = PL_ppaddr[shm_operators[i].number];
        PL_ppaddr[shm_operators[i].number] = shm_operators[i].ours;
    }
    shm_patch_compiled(aTHX);
}

#endif /* SHM_OPERATOR_H */
