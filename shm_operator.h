/*
 * shm_operator.h - the operators of perl that are wrapped: one operation, one
 * change; one look.
 *
 * `%h = (…)` reaches a tied hash as a call of CLEAR and many of STORE. To publish
 * them together, the operators that work like this (list assignment, split to an
 * array, sort and reverse in place, delete of a slice) are wrapped: what they do to
 * one shared variable is a batch. It is opened by the first change, and published
 * when the operator is done; if the operator dies, nothing of it happened.
 *
 * `my %copy = %h` reaches it as FIRSTKEY, NEXTKEY, … and, later, many FETCH. The
 * operators that read many elements are wrapped as well: while one works on a
 * shared variable, what this process sees of it does not change, and the values
 * are fetched before it ends. Not where the elements may be assigned to (`for`,
 * `map`, arguments of a sub): there they are looked up one by one, when used.
 *
 * Reading one element of a hash is wrapped to be fast; tie, so that what is tied
 * by hand has the short way of shm_access.h; fork and those that run another
 * program, for the sake of attachments (shm_var.h).
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_OPERATOR_H
#define SHM_OPERATOR_H

#include "shm_access.h"
#include "shm_fork.h"

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

/* Fetch what will be assigned, before anything is changed or locked: it may be
 * something of the user's, or a variable that has to be waited for. */
static void shm_fetch_right(pTHX)
{
    SSize_t i, last = PL_markstack_ptr[0];
    for (i = PL_markstack_ptr[-1] + 1; i <= last; i++) {
        SV *sv = PL_stack_base[i];
        if (sv == NULL || !SvGMAGICAL(sv)) continue;
        sv               = sv_mortalcopy(sv); /* may move the stack */
        PL_stack_base[i] = sv;
    }
}

static OP *shm_batch_aassign(pTHX)
{
    SV **left = PL_stack_base + *PL_markstack_ptr + 1;
    for (; left <= PL_stack_sp; left++)
        if (*left != NULL && SvTYPE(*left) >= SVt_PVMG && POOL_UNLIKELY(SvMAGICAL(*left)) && shm_is_ours(aTHX_ * left)) {
            shm_fetch_right(aTHX);
            return shm_batch_run(aTHX_ OP_AASSIGN);
        }
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

/* Not what the operator makes local or declares: that must outlast the batch. */
static bool shm_introduces(pTHX)
{
    return (PL_op->op_private & OPpLVAL_INTRO) != 0;
}

/* `@a = split …` is one operator, which clears the array and pushes the parts. Each
 * perl tells in another way which array; a batch of nothing costs little. */
static OP *shm_batch_split(pTHX)
{
#ifdef OPpSPLIT_ASSIGN
    bool assigns = (PL_op->op_private & OPpSPLIT_ASSIGN) != 0;
#else
    bool assigns = true;
#endif
    return assigns && !shm_introduces(aTHX) ? shm_batch_run(aTHX_ OP_SPLIT) : shm_pp[OP_SPLIT](aTHX);
}

#ifdef OPpKVSLICE
#define SHM_MANY (OPpSLICE | OPpKVSLICE)
#else
#define SHM_MANY OPpSLICE
#endif

/* `delete @h{…}` deletes one element after the other. */
static OP *shm_batch_delete(pTHX)
{
    SV *sv = *PL_stack_sp;
    if ((PL_op->op_private & SHM_MANY) != 0 && !shm_introduces(aTHX) && SvTYPE(sv) >= SVt_PVAV && POOL_UNLIKELY(SvRMAGICAL(sv))
        && shm_is_ours(aTHX_ sv))
        return shm_batch_run(aTHX_ OP_DELETE);
    return shm_pp[OP_DELETE](aTHX);
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

/* If the value is a reference that nobody has looked at yet, attach to what it leads
 * to. False: that is gone, so the copy is out of date. */
static bool shm_attach_value(pTHX_ shm_var_t *var, SV *sv)
{
    pool_error_t err;
    if (sv == NULL || SvTYPE(sv) < SVt_PVMG || !shm_is_standin(sv) || shm_resolve(aTHX_ var, sv, &err)) return true;
    if (err.code != POOL_FULL) croak("Cannot attach: %s", err.text);
    return false;
}

static bool shm_attach_values(pTHX_ shm_var_t *var)
{
    AV     *av = (AV *)var->cache;
    HV     *hv = (HV *)var->cache;
    HE    **buckets, *entry;
    SSize_t i;
    bool    ok = true;
    if (var->type == SHM_ARRAY) {
        for (i = 0; ok && i <= AvFILLp(av); i++) ok = shm_attach_value(aTHX_ var, AvARRAY(av)[i]);
        return ok;
    }
    buckets = HvARRAY(hv);
    for (i = 0; buckets != NULL && i <= (SSize_t)HvMAX(hv); i++)
        for (entry = buckets[i]; ok && entry != NULL; entry = HeNEXT(entry)) ok = shm_attach_value(aTHX_ var, HeVAL(entry));
    return ok;
}

/* The same for the elements of a slice, whose keys are on the stack. */
static bool shm_attach_slice(pTHX_ shm_var_t *var, SSize_t from)
{
    AV     *av = (AV *)var->cache;
    bool    ok = true;
    SSize_t i;
    for (i = from; ok && &PL_stack_base[i] < PL_stack_sp; i++) {
        SV *key = PL_stack_base[i];
        if (SvROK(key) || SvGMAGICAL(key) || !(var->type == SHM_ARRAY ? SvIOK(key) : SvOK(key)))
            return shm_attach_values(aTHX_ var); /* to ask it twice may be seen */
        if (var->type == SHM_ARRAY) {
            IV index = SvIV(key);
            if (index < 0) index += AvFILLp(av) + 1;
            if (index >= 0 && index <= AvFILLp(av)) ok = shm_attach_value(aTHX_ var, AvARRAY(av)[index]);
        }
        else {
            HE *entry = hv_fetch_ent((HV *)var->cache, key, 0, 0);
            if (entry != NULL) ok = shm_attach_value(aTHX_ var, HeVAL(entry));
        }
    }
    return ok;
}

/* Make the copy current, with all references attached that the operator will read:
 * what others delete from then on could not be attached to any more. Each look has to
 * deal only with what has changed since the last. */
static void shm_refresh_all(pTHX_ shm_var_t *var, int number, SSize_t from)
{
    bool        slice = number == OP_HSLICE || number == OP_KVHSLICE || number == OP_ASLICE || number == OP_KVASLICE, ok = false;
    int         tries;
    uint64_t    serial;
    shm_state_t state;
    for (tries = 0; !ok && tries < 1000; tries++) {
        shm_refresh(aTHX_ var);
        if (number == OP_KEYS || (shm_read_state(var->record, &serial, &state) && serial == var->at.serial && state.standins == 0)) return;
        ok = slice ? shm_attach_slice(aTHX_ var, from) : shm_attach_values(aTHX_ var);
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
    shm_refresh_all(aTHX_ var, number, from);
    ENTER;
    SAVEDESTRUCTOR_X(shm_thaw, var);
    var->frozen = true;
    next        = shm_pp[number](aTHX);
    shm_fetch_pushed(aTHX_ from);
    LEAVE;
    return next;
}

/* Is it read as a list, and nothing else? Not as what a sub returns that may be
 * assigned to, nor before a `for (reverse @a)`, whose list has no mark of that. */
static bool shm_reads_list(pTHX)
{
    const OP *next = PL_op->op_next;
    if ((PL_op->op_flags & (OPf_MOD | OPf_REF)) != 0 || (PL_op->op_private & OPpMAYBE_LVSUB) != 0) return false;
    if (next != NULL && next->op_type == OP_ENTERITER && (next->op_private & OPpITER_REVERSED) != 0) return false;
    return GIMME_V == SHM_G_LIST;
}

static OP *shm_read_pad(pTHX_ int number)
{
    SV *sv = PAD_SV(PL_op->op_targ);
    if (POOL_UNLIKELY(SvRMAGICAL(sv)) && shm_reads_list(aTHX)) return shm_read_run(aTHX_ number, sv, PL_stack_sp - PL_stack_base + 1);
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
    if (sv != NULL && SvTYPE(sv) == (hash ? SVt_PVHV : SVt_PVAV) && POOL_UNLIKELY(SvRMAGICAL(sv)) && shm_reads_list(aTHX))
        return shm_read_run(aTHX_ number, sv, PL_stack_sp - PL_stack_base);
    return shm_pp[number](aTHX);
}

/* keys, values: the variable is on top of the stack. Slices: it is there, too,
 * above the keys, which the results replace. */
static OP *shm_read_top(pTHX_ int number, bool slice)
{
    SV *sv = *PL_stack_sp;
    if (sv != NULL && SvTYPE(sv) >= SVt_PVAV && POOL_UNLIKELY(SvRMAGICAL(sv)) && shm_reads_list(aTHX))
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
static OP *shm_read_avalues(pTHX)
{
    return shm_read_top(aTHX_ OP_AVALUES, false);
}
static OP *shm_read_kvhslice(pTHX)
{
    return shm_read_top(aTHX_ OP_KVHSLICE, true);
}
static OP *shm_read_kvaslice(pTHX)
{
    return shm_read_top(aTHX_ OP_KVASLICE, true);
}

/* --- one element -------------------------------------------------------------- */

/* Reading `$h{x}` of a tied hash makes a temporary with magic, a key and an
 * entry, each in memory of its own. Where nothing but the value is asked for,
 * that is what we give. */
#define SHM_OTHER_ACCESS (OPpLVAL_INTRO | OPpMAYBE_LVSUB)

/* The value of a key, or whether it exists, if the hash is a shared one; or NULL. */
static SV *shm_element(pTHX_ SV *hash, SV *key, bool exists)
{
    MAGIC     *mg  = hash != NULL && SvTYPE(hash) == SVt_PVHV && SvRMAGICAL(hash) ? mg_find(hash, PERL_MAGIC_tied) : NULL;
    shm_var_t *var = mg != NULL && mg->mg_virtual == &shm_tied_vtbl ? shm_of_magic(aTHX_ mg) : NULL;
    if (var == NULL || key == NULL || !SvOK(key) || SvGMAGICAL(key) || SvROK(key)) return NULL;
    if (!exists) return sv_mortalcopy(shm_hash_fetch(aTHX_ var, key));
    return boolSV(shm_hash_exists(aTHX_ var, key));
}

static OP *shm_read_helem(pTHX)
{
    SV *value = NULL;
    if ((PL_op->op_flags & OPf_MOD) == 0 && (PL_op->op_private & (SHM_OTHER_ACCESS | OPpDEREF)) == 0
        && POOL_UNLIKELY(SvRMAGICAL(PL_stack_sp[-1])))
        value = shm_element(aTHX_ PL_stack_sp[-1], PL_stack_sp[0], false);
    if (value == NULL) return shm_pp[OP_HELEM](aTHX);
    *--PL_stack_sp = value;
    return NORMAL;
}

/* The hash of `$h{x}` or `$h->{x}`, where the operator does no more than that; *item
 * is what comes before the key. NULL: it does something else. */
static SV *shm_multideref_hash(pTHX_ UNOP_AUX_item **item)
{
    UV  action = (*item)->uv;
    SV *sv;
    if ((action & MDEREF_FLAG_last) == 0 || (action & MDEREF_INDEX_MASK) == MDEREF_INDEX_none) return NULL;
    ++*item;
    switch (action & MDEREF_ACTION_MASK) {
    case MDEREF_HV_padhv_helem: return PAD_SVl((*item)->pad_offset);
    case MDEREF_HV_gvhv_helem: sv = UNOP_AUX_item_sv(*item); return (SV *)GvHV((GV *)sv);
    case MDEREF_HV_padsv_vivify_rv2hv_helem: sv = PAD_SVl((*item)->pad_offset); break;
    case MDEREF_HV_gvsv_vivify_rv2hv_helem:
        sv = UNOP_AUX_item_sv(*item);
        sv = GvSV((GV *)sv);
        break;
    default: return NULL;
    }
    return sv != NULL && SvROK(sv) && !SvGMAGICAL(sv) && !SvAMAGIC(sv) ? SvRV(sv) : NULL;
}

static SV *shm_multideref_key(pTHX_ UV action, UNOP_AUX_item *item)
{
    SV *sv;
    if ((action & MDEREF_INDEX_MASK) == MDEREF_INDEX_padsv) return PAD_SVl(item->pad_offset);
    sv = UNOP_AUX_item_sv(item);
    return (action & MDEREF_INDEX_MASK) == MDEREF_INDEX_const ? sv : GvSV((GV *)sv);
}

static OP *shm_read_multideref(pTHX)
{
    UNOP_AUX_item *item   = cUNOP_AUXx(PL_op)->op_aux;
    UV             action = item->uv;
    U8             how    = PL_op->op_private;
    SV            *hash, *value = NULL;

    if ((PL_op->op_flags & OPf_MOD) == 0 && (how & (SHM_OTHER_ACCESS | OPpMULTIDEREF_DELETE)) == 0
        && (hash = shm_multideref_hash(aTHX_ & item)) != NULL && POOL_UNLIKELY(SvRMAGICAL(hash)))
        value = shm_element(aTHX_ hash, shm_multideref_key(aTHX_ action, item + 1), (how & OPpMULTIDEREF_EXISTS) != 0);
    if (value == NULL) return shm_pp[OP_MULTIDEREF](aTHX);
    {
        dSP;
        XPUSHs(value);
        RETURN;
    }
}

/* --- tie --------------------------------------------------------------------- */

static OP *shm_tie_operator(pTHX)
{
    SV *container = sv_2mortal(SvREFCNT_inc_NN(PL_stack_base[*PL_markstack_ptr + 1]));
    OP *next      = shm_pp[OP_TIE](aTHX);
    shm_quicken(aTHX_ container);
    return next;
}

/* --- fork -------------------------------------------------------------------- */

static OP *shm_fork_operator(pTHX)
{
    OP *next = shm_pp[OP_FORK](aTHX);
    IV  pid  = SvOK(*PL_stack_sp) ? SvIV(*PL_stack_sp) : 0;
    if (pid > 0) shm_fork_pid((pid_t)pid);
    return next;
}

/* Does open() execute a command? What is only a dash forks. */
static bool shm_opens_command(pTHX_ SV **arguments, SSize_t count)
{
    SV         *sv = count == 2 ? arguments[1] : count > 2 ? arguments[2] : NULL;
    STRLEN      length, mode_length;
    const char *text, *mode;

    if (sv == NULL || !SvPOK(sv) || SvGMAGICAL(sv)) return false;
    text = SvPVX_const(sv);
    for (length = SvCUR(sv); length > 0 && strchr(" -|", text[length - 1]) != NULL; length--) {}
    if (length == 0) return false;
    if (count == 2) return memchr(text, '|', SvCUR(sv)) != NULL;
    if (!SvPOK(arguments[1])) return false;
    mode = SvPV_nomg_const(arguments[1], mode_length);
    return memchr(mode, '|', mode_length) != NULL;
}

static OP *shm_open_operator(pTHX)
{
    SV **arguments = PL_stack_base + *PL_markstack_ptr + 1;
    shm_command    = shm_opens_command(aTHX_ arguments, PL_stack_sp - arguments + 1) ? PL_op : NULL;
    return shm_pp[OP_OPEN](aTHX);
}

static OP *shm_exec_operator(pTHX)
{
    OP *next;
    if (shm_work.batch != NULL) shm_batch_abort(aTHX);
    shm_exec_transit(shm_boottime());
    next = shm_pp[OP_EXEC](aTHX);
    shm_exec_transit(0);
    return next;
}

/* --- installing ------------------------------------------------------------- */

static const struct {
    int       number;
    shm_pp_t *ours;
} shm_operators[] = {
    { OP_AASSIGN, shm_batch_aassign },  { OP_SORT, shm_batch_sort },
    { OP_REVERSE, shm_batch_reverse },  { OP_SPLIT, shm_batch_split },
    { OP_DELETE, shm_batch_delete },    { OP_PADAV, shm_read_padav },
    { OP_PADHV, shm_read_padhv },       { OP_RV2AV, shm_read_rv2av },
    { OP_RV2HV, shm_read_rv2hv },       { OP_KEYS, shm_read_keys },
    { OP_VALUES, shm_read_values },     { OP_HSLICE, shm_read_hslice },
    { OP_ASLICE, shm_read_aslice },     { OP_AVALUES, shm_read_avalues },
    { OP_KVHSLICE, shm_read_kvhslice }, { OP_KVASLICE, shm_read_kvaslice },
    { OP_FORK, shm_fork_operator },     { OP_OPEN, shm_open_operator },
    { OP_EXEC, shm_exec_operator },     { OP_TIE, shm_tie_operator },
    { OP_HELEM, shm_read_helem },       { OP_MULTIDEREF, shm_read_multideref },
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
