/*
 * operator.c - the operators of perl that know shared variables: one operation, one change; one
 * look. Which they are, and how they come to know, is in THE TABLE at the end.
 *
 * `%h = (…)` reaches a tied hash as a call of CLEAR and many of STORE. To publish them
 * together, the operators that work like this (list assignment, split to an array, sort
 * and reverse in place, delete of a slice) run within functions of ours: the variables that
 * they work on are armed, and what is done to one of those is one change. It is begun by the
 * first, and published when the operator is done; if the operator dies, nothing of it has
 * happened. What the user's code does to other variables meanwhile (a comparison,
 * overloading) is its own.
 *
 * `my %copy = %h` reaches it as FIRSTKEY, NEXTKEY, … and, later, many FETCH. The operators
 * that read many elements have functions of ours as well: they give those of one moment. What is
 * done with those is not always known (`for (sort @a)`, `f(reverse @a)`): so a store to one of
 * them goes on to the variable, unless they are copied at once. Not where perl itself
 * says that they may be assigned to (`for (@a)`, `map`, arguments of a sub): there they
 * are looked up one by one, when used.
 *
 * Elements of a hash, and push and its kin (ends.c), have a way of their own to be fast; tie,
 * so that what is tied by hand has the short way of access.c; fork and those that run another
 * program: see process.c.
 */
#include "shm.h"

shm_pp_t *shm_pp[MAXO];

/* --- changing ------------------------------------------------------------------- */

/* The variables that an operator works on, from before it begins until it has ended. */
typedef struct shm_work {
    SV    **object; /* counted */
    SSize_t count;
    bool    done;
    SV    **other; /* objects of engines in Perl, counted; each has a change open */
    SSize_t others;
} shm_work_t;

static void shm_work_leave(pTHX_ void *pointer)
{
    shm_work_t *work = (shm_work_t *)pointer;
    SSize_t     i;
    while (work->others > 0) shm_engine_end(aTHX_ sv_2mortal(work->other[--work->others]), false);
    for (i = 0; i < work->count; i++) {
        SV        *reference = sv_2mortal(newRV_noinc(work->object[i]));
        shm_var_t *var       = shm_handle_of(aTHX_ reference);
        if (var == NULL || --var->armed > 0 || var->var == NULL) continue;
        if (work->done)
            shm_batch_commit(aTHX_ var);
        else
            shm_batch_abort(aTHX_ var); /* left by an exception */
    }
    Safefree(work->object);
    Safefree(work->other);
    Safefree(work);
}

static shm_work_t *shm_work_new(pTHX_ SSize_t room)
{
    shm_work_t *work;
    Newxz(work, 1, shm_work_t);
    Newx(work->object, (size_t)room + 1, SV *);
    Newx(work->other, (size_t)room + 1, SV *);
    SAVEDESTRUCTOR_X(shm_work_leave, work);
    return work;
}

static void shm_work_arm(shm_work_t *work, shm_var_t *var)
{
    SSize_t i;
    for (i = 0; i < work->count; i++)
        if (work->object[i] == var->object) return;
    var->armed++;
    work->object[work->count++] = SvREFCNT_inc_NN(var->object);
}

/* Likewise, of an engine in Perl. */
static void shm_work_arm_other(pTHX_ shm_work_t *work, SV *object)
{
    SSize_t i;
    for (i = 0; i < work->others; i++)
        if (work->other[i] == object) return;
    if (shm_engine_begin(aTHX_ object)) work->other[work->others++] = SvREFCNT_inc_NN(object);
}

static OP *shm_work_run(pTHX_ shm_work_t *work, int number)
{
    OP *next   = shm_pp[number](aTHX);
    work->done = true;
    while (work->others > 0) shm_engine_end(aTHX_ sv_2mortal(work->other[--work->others]), true); /* may die */
    return next;
}

/* If this is a shared variable, or an element of one, that variable; or NULL. */
static shm_var_t *shm_of(pTHX_ SV *sv)
{
    MAGIC *mg;
    for (mg = SvMAGIC(sv); mg != NULL; mg = mg->mg_moremagic)
        if ((mg->mg_type == PERL_MAGIC_tied || mg->mg_type == PERL_MAGIC_tiedelem || mg->mg_type == PERL_MAGIC_tiedscalar)
            && mg->mg_obj != NULL)
            return shm_handle_of(aTHX_ mg->mg_obj);
    return NULL;
}

/* If sv is a shared variable, run the operator with it armed. */
static SHM_APART OP *shm_change_one(pTHX_ int number, SV *sv)
{
    shm_var_t  *var   = sv != NULL ? shm_of(aTHX_ sv) : NULL;
    SV         *other = sv != NULL && var == NULL ? shm_engine_object(aTHX_ sv) : NULL;
    OP         *next;
    shm_work_t *work;
    if (var == NULL && other == NULL) return shm_pp[number](aTHX);
    ENTER;
    work = shm_work_new(aTHX_ 1);
    if (var != NULL) shm_work_arm(work, var);
    if (other != NULL) shm_work_arm_other(aTHX_ work, other);
    next = shm_work_run(aTHX_ work, number);
    LEAVE;
    return next;
}

/* Fetch what will be assigned, before anything is changed or locked: it may be something
 * of the user's, or a variable that has to be waited for. */
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

/* Keys whose text the user's code makes are asked before, too. */
static void shm_text_right(pTHX)
{
    SSize_t i, last = PL_markstack_ptr[0];
    for (i = PL_markstack_ptr[-1] + 1; i <= last; i += 2) {
        SV *sv = PL_stack_base[i];
        if (sv == NULL || !SvROK(sv) || !SvAMAGIC(sv)) continue;
        sv               = shm_text_key(aTHX_ sv);
        PL_stack_base[i] = sv;
    }
}

static bool shm_is_magical(const SV *sv)
{
    return sv != NULL && SvTYPE(sv) >= SVt_PVMG && SHM_UNLIKELY(SvMAGICAL(sv));
}

/* `%h = (…)`, or `@a = (…)`, of an engine in Perl, in one go, where there is nothing else to it. */
static bool shm_change_whole(pTHX)
{
    SSize_t first = *PL_markstack_ptr + 1, from = PL_markstack_ptr[-1] + 1;
    SV     *container = PL_stack_base[first], *object;
    bool    is_hash   = container != NULL && SvTYPE(container) == SVt_PVHV;
    if (&PL_stack_base[first] != PL_stack_sp || GIMME_V != G_VOID || !shm_is_magical(container)) return false;
    if ((!is_hash && SvTYPE(container) != SVt_PVAV) || (PL_op->op_private & OPpLVAL_INTRO) != 0) return false;
    object = shm_of(aTHX_ container) == NULL ? shm_engine_object(aTHX_ container) : NULL;
    if (object == NULL || mg_find(container, PERL_MAGIC_arylen_p) != NULL) return false; /* each() on an array: perl resets it */
    shm_fetch_right(aTHX);
    if (is_hash) shm_text_right(aTHX);
    if (!shm_engine_assign(aTHX_ object, from, first, is_hash)) return false;
    if (is_hash) hv_iterinit((HV *)container);
    PL_markstack_ptr -= 2;
    PL_stack_sp = PL_stack_base + from - 1;
    return true;
}

static SHM_APART OP *shm_change_magical_list(pTHX)
{
    SSize_t     first = *PL_markstack_ptr + 1, i;
    shm_work_t *work  = NULL;
    OP         *next;
    if (shm_change_whole(aTHX)) return PL_op->op_next;
    for (i = first; &PL_stack_base[i] <= PL_stack_sp; i++) {
        shm_var_t *var   = shm_is_magical(PL_stack_base[i]) ? shm_of(aTHX_ PL_stack_base[i]) : NULL;
        SV        *other = var == NULL && shm_is_magical(PL_stack_base[i]) ? shm_engine_object(aTHX_ PL_stack_base[i]) : NULL;
        if (var == NULL && other == NULL) continue;
        if (work == NULL) {
            ENTER;
            work = shm_work_new(aTHX_ PL_stack_sp - PL_stack_base - first + 1);
        }
        if (var != NULL)
            shm_work_arm(work, var);
        else
            shm_work_arm_other(aTHX_ work, other);
    }
    if (work == NULL) return shm_pp[OP_AASSIGN](aTHX);
    shm_fetch_right(aTHX);
    if (SvTYPE(PL_stack_base[first]) == SVt_PVHV && &PL_stack_base[first] == PL_stack_sp) shm_text_right(aTHX);
    next = shm_work_run(aTHX_ work, OP_AASSIGN);
    LEAVE;
    return next;
}

/* Code that shares nothing pays for a look at the flags of what it assigns to. */
static OP *shm_change_list(pTHX)
{
    SV **last  = PL_stack_sp, **at;
    U32  flags = 0;
    for (at = PL_stack_base + *PL_markstack_ptr + 1; at <= last; at++)
        if (*at != NULL) flags |= SvFLAGS(*at);
    return SHM_UNLIKELY((flags & (SVs_GMG | SVs_SMG | SVs_RMG)) != 0) ? shm_change_magical_list(aTHX) : shm_pp[OP_AASSIGN](aTHX);
}

/* The same for two scalars. */
static OP *shm_change_two(pTHX)
{
    SV *const *last = PL_stack_sp;
    return SHM_UNLIKELY(((SvFLAGS(last[0]) | SvFLAGS(last[-1])) & (SVs_GMG | SVs_SMG | SVs_RMG)) != 0) ? shm_change_magical_list(aTHX)
                                                                                                       : shm_pp[OP_AASSIGN](aTHX);
}

/* The array on top of the stack that the operator changes in place, if it may be shared; or NULL. */
static SV *shm_in_place(pTHX_ U8 flag)
{
    SV *sv;
    if ((PL_op->op_private & flag) == 0) return NULL;
    sv = *PL_stack_sp;
    return sv != NULL && SvTYPE(sv) == SVt_PVAV && SvMAGICAL(sv) ? sv : NULL;
}

static OP *shm_change_sort(pTHX)
{
    SV *sv = shm_in_place(aTHX_ OPpSORT_INPLACE);
    return SHM_UNLIKELY(sv != NULL) ? shm_change_one(aTHX_ OP_SORT, sv) : shm_pp[OP_SORT](aTHX);
}

static OP *shm_change_reverse(pTHX)
{
    SV *sv = shm_in_place(aTHX_ OPpREVERSE_INPLACE);
    return SHM_UNLIKELY(sv != NULL) ? shm_change_one(aTHX_ OP_REVERSE, sv) : shm_pp[OP_REVERSE](aTHX);
}

/* Not what the operator makes local or declares: that must outlast the change. */
static bool shm_introduces(pTHX)
{
    return (PL_op->op_private & OPpLVAL_INTRO) != 0;
}

/* The array that `@a = split …` assigns to, or NULL. Each perl tells it in another way. */
static SV *shm_split_target(pTHX)
{
#ifdef OPpSPLIT_ASSIGN
    if ((PL_op->op_private & OPpSPLIT_ASSIGN) == 0) return NULL;
    if ((PL_op->op_flags & OPf_STACKED) != 0) return *PL_stack_sp;
    if ((PL_op->op_private & OPpSPLIT_LEX) != 0) return PAD_SVl(cPMOPx(PL_op)->op_pmreplrootu.op_pmtargetoff);
#ifdef USE_ITHREADS
    return (SV *)GvAV((GV *)PAD_SVl(cPMOPx(PL_op)->op_pmreplrootu.op_pmtargetoff));
#else
    return (SV *)GvAV(cPMOPx(PL_op)->op_pmreplrootu.op_pmtargetgv);
#endif
#else
    PMOP *pm = cPMOPx(cUNOPx(PL_op)->op_first);
#ifdef USE_ITHREADS
    return pm->op_pmreplrootu.op_pmtargetoff ? (SV *)GvAV((GV *)PAD_SVl(pm->op_pmreplrootu.op_pmtargetoff)) : NULL;
#else
    return pm->op_pmreplrootu.op_pmtargetgv ? (SV *)GvAV(pm->op_pmreplrootu.op_pmtargetgv) : NULL;
#endif
#endif
}

static OP *shm_change_split(pTHX)
{
    SV *target = shm_split_target(aTHX);
    if (SHM_UNLIKELY(target != NULL && SvTYPE(target) == SVt_PVAV && SvMAGICAL(target) && !shm_introduces(aTHX)))
        return shm_change_one(aTHX_ OP_SPLIT, target);
    return shm_pp[OP_SPLIT](aTHX);
}

#ifdef OPpKVSLICE
#define SHM_MANY (OPpSLICE | OPpKVSLICE)
#else
#define SHM_MANY OPpSLICE
#endif

/* `delete @h{…}` deletes one element after the other. */
static OP *shm_change_delete(pTHX)
{
    SV *sv = *PL_stack_sp;
    if (SHM_UNLIKELY(SvRMAGICAL(sv) && (PL_op->op_private & SHM_MANY) != 0 && SvTYPE(sv) >= SVt_PVAV && !shm_introduces(aTHX)))
        return shm_change_one(aTHX_ OP_DELETE, sv);
    return shm_pp[OP_DELETE](aTHX);
}

/* --- reading many ----------------------------------------------------------------- */

/* The shared variable of a container whose methods are ours, or NULL. */
static shm_var_t *shm_plain(pTHX_ SV *container)
{
    MAGIC *mg = container != NULL && SvTYPE(container) >= SVt_PVAV && SvRMAGICAL(container) ? mg_find(container, PERL_MAGIC_tied) : NULL;
    return mg != NULL && mg->mg_virtual == &shm_tied_vtbl ? shm_of_magic(aTHX_ mg) : NULL;
}

/* The object of a container of an engine in Perl, or NULL. */
static SV *shm_other(pTHX_ SV *container)
{
    MAGIC *mg = container != NULL && SvTYPE(container) >= SVt_PVAV && SvRMAGICAL(container) ? mg_find(container, PERL_MAGIC_tied) : NULL;
    return mg != NULL && mg->mg_virtual != &shm_tied_vtbl ? shm_engine_object(aTHX_ container) : NULL;
}

/* Is it read as a list, and not known to be assigned to? */
static bool shm_reads_list(pTHX)
{
    if ((PL_op->op_flags & (OPf_MOD | OPf_REF)) != 0 || (PL_op->op_private & OPpMAYBE_LVSUB) != 0) return false;
    return GIMME_V == SHM_G_LIST;
}

/* Is what is read copied at once? Then nobody can change a variable through it. Followed is
 * what comes next: operators that only put more on the stack, and those that take the list.
 * Each of those has a mark of its own, so the one at our depth is ours; list assignment has
 * two. What is not known here hands the elements on. */
static bool shm_is_copied(pTHX)
{
    const OP *op    = PL_op->op_next;
    int       depth = 0, steps;
    for (steps = 0; op != NULL && steps < 16; op = op->op_next, steps++) {
        switch (op->op_type) {
        case OP_NULL:
        case OP_CONST:
        case OP_GV:
        case OP_GVSV:
        case OP_PADSV:
        case OP_PADAV:
        case OP_PADHV:
        case OP_RV2AV:
        case OP_RV2HV: break;
        case OP_PUSHMARK:
        case OP_PADRANGE: depth++; break;
        case OP_AASSIGN: return depth == 1;
        case OP_JOIN:
        case OP_PUSH:
        case OP_UNSHIFT:
        case OP_ANONLIST:
        case OP_ANONHASH: return depth == 0;
        default: return false;
        }
    }
    return false;
}

/* The object behind a container, for elements that are handed on; NULL: they are copied. */
static SV *shm_hands_on(pTHX_ SV *container)
{
    return shm_is_copied(aTHX) ? NULL : mg_find(container, PERL_MAGIC_tied)->mg_obj;
}

/* What goes through a hash begins anew for `each`. */
static void shm_rewind(pTHX_ SV *container)
{
    if (SvTYPE(container) == SVt_PVHV) hv_iterinit((HV *)container);
}

/* Put the list in the place of what is on the stack from `from` on. */
static OP *shm_give_list(pTHX_ AV *list, SSize_t from)
{
    SSize_t i, count = AvFILLp(list) + 1;
    dSP;
    SP = PL_stack_base + from - 1;
    EXTEND(SP, count);
    for (i = 0; i < count; i++) PUSHs(AvARRAY(list)[i] != NULL ? AvARRAY(list)[i] : &PL_sv_undef);
    PUTBACK;
    return NORMAL;
}

static OP *shm_give_number(pTHX_ UV number, SSize_t from)
{
    dSP;
    SP = PL_stack_base + from - 1;
    EXTEND(SP, 1);
    PUSHs(sv_2mortal(newSVuv(number)));
    PUTBACK;
    return NORMAL;
}

/* The same of a variable of an engine in Perl. */
static AV *shm_look_other(pTHX_ SV *object, SV *container, shm_which_t which)
{
    SV     *tied  = shm_hands_on(aTHX_ container);
    bool    keyed = SvTYPE(container) == SVt_PVHV && (tied != NULL || which == SHM_PAIRS);
    AV     *list  = shm_engine_look(aTHX_ object, keyed ? "pairs" : "values", NULL), *handed;
    SSize_t i;
    if (tied == NULL) return list;
    handed = (AV *)sv_2mortal((SV *)newAV());
    for (i = 0; i <= AvFILLp(list); i++) {
        SV *key = keyed ? AvARRAY(list)[i++] : NULL, *sv = newSVsv(AvARRAY(list)[i]);
        shm_make_alias(aTHX_ sv, tied, key, (IV)i);
        if (which == SHM_PAIRS) av_push(handed, newSVsv(key));
        av_push(handed, sv);
    }
    return handed;
}

#ifdef OPpPADHV_ISKEYS
static bool shm_is_keys(const OP *op)
{
    return op->op_type == OP_PADHV ? (op->op_private & OPpPADHV_ISKEYS) != 0 : (op->op_private & OPpRV2HV_ISKEYS) != 0;
}
#else
static bool shm_is_keys(const OP *op)
{
    PERL_UNUSED_VAR(op);
    return false;
}
#endif

/* A hash as a list, or (`keys` that perl has made one operator with it) how many keys it has. */
static SHM_APART OP *shm_read_hash(pTHX_ int number, SV *hash, SSize_t from)
{
    bool       keys  = shm_is_keys(PL_op);
    shm_var_t *var   = (keys && GIMME_V == G_SCALAR) || shm_reads_list(aTHX) ? shm_plain(aTHX_ hash) : NULL;
    SV        *other = var == NULL && shm_reads_list(aTHX) && !shm_introduces(aTHX) ? shm_other(aTHX_ hash) : NULL;
    if (other != NULL) {
        shm_rewind(aTHX_ hash);
        return shm_give_list(aTHX_ keys ? shm_engine_look(aTHX_ other, "keys", NULL) : shm_look_other(aTHX_ other, hash, SHM_PAIRS), from);
    }
    if (var == NULL || shm_introduces(aTHX)) return shm_pp[number](aTHX);
    shm_rewind(aTHX_ hash);
    if (GIMME_V == G_SCALAR) return shm_give_number(aTHX_ shm_hash_count(aTHX_ var), from);
    return shm_give_list(aTHX_ keys ? shm_look(aTHX_ var, SHM_KEYS, NULL) : shm_look(aTHX_ var, SHM_PAIRS, shm_hands_on(aTHX_ hash)), from);
}

static SHM_APART OP *shm_read_array(pTHX_ int number, SV *array, SSize_t from)
{
    shm_var_t *var   = shm_reads_list(aTHX) && !shm_introduces(aTHX) ? shm_plain(aTHX_ array) : NULL;
    SV        *other = var == NULL && shm_reads_list(aTHX) && !shm_introduces(aTHX) ? shm_other(aTHX_ array) : NULL;
    if (other != NULL) return shm_give_list(aTHX_ shm_look_other(aTHX_ other, array, SHM_VALUES), from);
    return var != NULL ? shm_give_list(aTHX_ shm_look(aTHX_ var, SHM_VALUES, shm_hands_on(aTHX_ array)), from) : shm_pp[number](aTHX);
}

static OP *shm_read_padav(pTHX)
{
    SV *sv = PAD_SV(PL_op->op_targ);
    return SHM_UNLIKELY(SvRMAGICAL(sv)) ? shm_read_array(aTHX_ OP_PADAV, sv, PL_stack_sp - PL_stack_base + 1) : shm_pp[OP_PADAV](aTHX);
}
static OP *shm_read_padhv(pTHX)
{
    SV *sv = PAD_SV(PL_op->op_targ);
    return SHM_UNLIKELY(SvRMAGICAL(sv)) ? shm_read_hash(aTHX_ OP_PADHV, sv, PL_stack_sp - PL_stack_base + 1) : shm_pp[OP_PADHV](aTHX);
}

/* What rv2av and rv2hv work on, a reference or a glob, if it may be shared; or NULL. */
static inline SV *shm_dereferenced(pTHX_ bool hash)
{
    SV *sv = *PL_stack_sp;
    PERL_UNUSED_CONTEXT;
    if (SvROK(sv)) {
        if (!SvRMAGICAL(SvRV(sv)) || SvAMAGIC(sv)) return NULL;
        sv = SvRV(sv);
    }
    else if (isGV_with_GP(sv))
        sv = hash ? (SV *)GvHV((GV *)sv) : (SV *)GvAV((GV *)sv);
    return sv != NULL && SvRMAGICAL(sv) && SvTYPE(sv) == (hash ? SVt_PVHV : SVt_PVAV) ? sv : NULL;
}
static OP *shm_read_rv2av(pTHX)
{
    SV *sv = shm_dereferenced(aTHX_ false);
    return SHM_UNLIKELY(sv != NULL) ? shm_read_array(aTHX_ OP_RV2AV, sv, PL_stack_sp - PL_stack_base) : shm_pp[OP_RV2AV](aTHX);
}
static OP *shm_read_rv2hv(pTHX)
{
    SV *sv = shm_dereferenced(aTHX_ true);
    return SHM_UNLIKELY(sv != NULL) ? shm_read_hash(aTHX_ OP_RV2HV, sv, PL_stack_sp - PL_stack_base) : shm_pp[OP_RV2HV](aTHX);
}

/* `keys` gives copies, whatever is done with them: also `for (keys %h)` is a mere look. */
static SHM_APART OP *shm_read_magical_keys(pTHX)
{
    SV        *sv    = *PL_stack_sp;
    shm_var_t *var   = sv != NULL && SvTYPE(sv) == SVt_PVHV && SHM_UNLIKELY(SvRMAGICAL(sv)) ? shm_plain(aTHX_ sv) : NULL;
    SSize_t    at    = PL_stack_sp - PL_stack_base;
    SV        *other = var == NULL && GIMME_V == SHM_G_LIST && (PL_op->op_private & OPpMAYBE_LVSUB) == 0 ? shm_other(aTHX_ sv) : NULL;
    if (other != NULL) {
        shm_rewind(aTHX_ sv);
        return shm_give_list(aTHX_ shm_engine_look(aTHX_ other, "keys", NULL), at);
    }
    if (var == NULL || (PL_op->op_private & OPpMAYBE_LVSUB) != 0) return shm_pp[OP_KEYS](aTHX);
    if (GIMME_V == SHM_G_LIST || (GIMME_V == G_SCALAR && (PL_op->op_flags & OPf_MOD) == 0)) shm_rewind(aTHX_ sv);
    if (GIMME_V == SHM_G_LIST) return shm_give_list(aTHX_ shm_look(aTHX_ var, SHM_KEYS, NULL), at);
    if (GIMME_V == G_SCALAR && (PL_op->op_flags & OPf_MOD) == 0) return shm_give_number(aTHX_ shm_hash_count(aTHX_ var), at);
    return shm_pp[OP_KEYS](aTHX);
}

static OP *shm_read_keys(pTHX)
{
    return SHM_UNLIKELY(SvRMAGICAL(*PL_stack_sp)) ? shm_read_magical_keys(aTHX) : shm_pp[OP_KEYS](aTHX);
}

static SHM_APART OP *shm_read_all_values(pTHX_ int number)
{
    SV        *sv = *PL_stack_sp;
    shm_var_t *var =
        sv != NULL && SvTYPE(sv) >= SVt_PVAV && SHM_UNLIKELY(SvRMAGICAL(sv)) && shm_reads_list(aTHX) ? shm_plain(aTHX_ sv) : NULL;
    SV *other = var == NULL && shm_reads_list(aTHX) ? shm_other(aTHX_ sv) : NULL;
    if (other != NULL) {
        shm_rewind(aTHX_ sv);
        return shm_give_list(aTHX_ shm_look_other(aTHX_ other, sv, SHM_VALUES), PL_stack_sp - PL_stack_base);
    }
    if (var == NULL) return shm_pp[number](aTHX);
    shm_rewind(aTHX_ sv);
    return shm_give_list(aTHX_ shm_look(aTHX_ var, SHM_VALUES, shm_hands_on(aTHX_ sv)), PL_stack_sp - PL_stack_base);
}
static OP *shm_read_values(pTHX)
{
    return SHM_UNLIKELY(SvRMAGICAL(*PL_stack_sp)) ? shm_read_all_values(aTHX_ OP_VALUES) : shm_pp[OP_VALUES](aTHX);
}
static OP *shm_read_avalues(pTHX)
{
    return SHM_UNLIKELY(SvRMAGICAL(*PL_stack_sp)) ? shm_read_all_values(aTHX_ OP_AVALUES) : shm_pp[OP_AVALUES](aTHX);
}

static AV *shm_look_slice_other(pTHX_ SV *object, SV *tied, SSize_t first, SSize_t count)
{
    AV     *keys = (AV *)sv_2mortal((SV *)newAV()), *list;
    SSize_t i;
    for (i = 0; i < count; i++) av_push(keys, newSVsv(PL_stack_base[first + i]));
    list = shm_engine_look(aTHX_ object, NULL, keys);
    if (AvFILLp(list) != count - 1) croak("An engine gave another number of elements");
    for (i = 0; tied != NULL && i < count; i++) {
        SV *sv = sv_mortalcopy(AvARRAY(list)[i]), *key = AvARRAY(keys)[i];
        if (sv_derived_from(tied, "IPC::Shm::Hash"))
            shm_make_alias(aTHX_ sv, tied, key, 0);
        else
            shm_make_alias(aTHX_ sv, tied, NULL, SvIV(key));
        (void)av_store(keys, i, SvREFCNT_inc_NN(sv));
    }
    return tied != NULL ? keys : list;
}

/* Keys are on the stack, from the mark on, the variable above them; what is read takes the
 * place of all. */
static SHM_APART OP *shm_read_slice(pTHX_ int number, bool pairs)
{
    SV        *sv = *PL_stack_sp;
    shm_var_t *var =
        sv != NULL && SvTYPE(sv) >= SVt_PVAV && SHM_UNLIKELY(SvRMAGICAL(sv)) && shm_reads_list(aTHX) ? shm_plain(aTHX_ sv) : NULL;
    SSize_t mark, count, i;
    AV     *list, *all;
    SV     *other = var == NULL && shm_reads_list(aTHX) ? shm_other(aTHX_ sv) : NULL;
    if ((var == NULL && other == NULL) || shm_introduces(aTHX)) return shm_pp[number](aTHX);
    mark  = *PL_markstack_ptr;
    count = PL_stack_sp - PL_stack_base - mark - 1;
    list  = other != NULL ? shm_look_slice_other(aTHX_ other, pairs ? NULL : shm_hands_on(aTHX_ sv), mark + 1, count)
                          : shm_look_slice(aTHX_ var, mark + 1, count, pairs ? NULL : shm_hands_on(aTHX_ sv));
    if (pairs) {
        all = (AV *)sv_2mortal((SV *)newAV());
        AvREAL_off(all);
        if (count > 0) av_extend(all, count * 2);
        for (i = 0; i < count; i++) {
            AvARRAY(all)[++AvFILLp(all)] = PL_stack_base[mark + 1 + i];
            AvARRAY(all)[++AvFILLp(all)] = AvARRAY(list)[i];
        }
        list = all;
    }
    (void)POPMARK;
    return shm_give_list(aTHX_ list, mark + 1);
}
static OP *shm_read_hslice(pTHX)
{
    return SHM_UNLIKELY(SvRMAGICAL(*PL_stack_sp)) ? shm_read_slice(aTHX_ OP_HSLICE, false) : shm_pp[OP_HSLICE](aTHX);
}
static OP *shm_read_aslice(pTHX)
{
    return SHM_UNLIKELY(SvRMAGICAL(*PL_stack_sp)) ? shm_read_slice(aTHX_ OP_ASLICE, false) : shm_pp[OP_ASLICE](aTHX);
}
static OP *shm_read_kvhslice(pTHX)
{
    return SHM_UNLIKELY(SvRMAGICAL(*PL_stack_sp)) ? shm_read_slice(aTHX_ OP_KVHSLICE, true) : shm_pp[OP_KVHSLICE](aTHX);
}
static OP *shm_read_kvaslice(pTHX)
{
    return SHM_UNLIKELY(SvRMAGICAL(*PL_stack_sp)) ? shm_read_slice(aTHX_ OP_KVASLICE, true) : shm_pp[OP_KVASLICE](aTHX);
}

/* --- one element ----------------------------------------------------------------------- */

/* Reading `$h{x}` of a tied hash makes a temporary with magic, a key and an entry, each in
 * memory of its own. Where nothing but the value is asked for, that is what we give. */
#define SHM_OTHER_ACCESS (OPpLVAL_INTRO | OPpMAYBE_LVSUB)

/* `$x = $h{y};`, where $x is a plain variable: nothing else sees what is read. */
static bool shm_is_copied_next(pTHX)
{
    const OP *next = PL_op->op_next;
#if PERL_VERSION >= 38
    if (next != NULL && next->op_type == OP_PADSV_STORE) return true;
#endif
    return next != NULL && (next->op_type == OP_PADSV || next->op_type == OP_GVSV) && next->op_next != NULL
           && next->op_next->op_type == OP_SASSIGN && next->op_next->op_ppaddr == PL_ppaddr[OP_SASSIGN]
           && (next->op_next->op_private & OPpASSIGN_BACKWARDS) == 0;
}

static SV *shm_value(pTHX_ shm_var_t *var, SV *key)
{
    SV *value;
    if (shm_is_copied_next(aTHX)) return shm_hash_lend(aTHX_ var, key);
    value = sv_newmortal();
    shm_hash_fetch(aTHX_ var, key, value);
    return value;
}

/* The shared hash that this is; NULL: it is none, or has magic of somebody else's, who wants to be asked. */
static shm_var_t *shm_hash_of(pTHX_ SV *hash)
{
    MAGIC *mg = hash != NULL && SvTYPE(hash) == SVt_PVHV && SvRMAGICAL(hash) ? SvMAGIC(hash) : NULL, *tied = NULL;
    for (; mg != NULL; mg = mg->mg_moremagic)
        if (mg->mg_virtual == &shm_tied_vtbl)
            tied = mg;
        else if (mg->mg_virtual != &shm_container_vtbl)
            return NULL;
    return tied != NULL ? shm_of_magic(aTHX_ tied) : NULL;
}

/* The value of a key, or whether it exists, if the hash is a shared one; or NULL. */
static SV *shm_element(pTHX_ SV *hash, SV *key, bool exists)
{
    shm_var_t *var = shm_hash_of(aTHX_ hash);
    if (var == NULL || key == NULL || !SvOK(key) || SvGMAGICAL(key) || SvROK(key)) return NULL;
    return exists ? boolSV(shm_hash_exists(aTHX_ var, key)) : shm_value(aTHX_ var, key);
}

/* Does nothing ask for what the operator gives? A statement or a round that follows drops it. */
static bool shm_is_dropped(const OP *op)
{
    if ((op->op_flags & OPf_WANT) == OPf_WANT_VOID) return true;
    return op->op_next != NULL && (op->op_next->op_type == OP_NEXTSTATE || op->op_next->op_type == OP_UNSTACK);
}

/* `$h{x} = value;`: the element is followed by the assignment. Then the value is stored at
 * once, without an element. */
static bool shm_is_assigned(pTHX)
{
    const OP *next = PL_op->op_next;
    return next != NULL && next->op_type == OP_SASSIGN && next->op_ppaddr == PL_ppaddr[OP_SASSIGN]
           && (next->op_private & (OPpASSIGN_BACKWARDS | OPpASSIGN_CV_TO_GV)) == 0 && shm_is_dropped(next) && !TAINTING_get;
}

/* The shared hash to which a plain key is being assigned, or NULL. */
static shm_var_t *shm_assigned(pTHX_ SV *hash, SV *key)
{
    return key == NULL || !SvOK(key) || SvGMAGICAL(key) || SvROK(key) ? NULL : shm_hash_of(aTHX_ hash);
}

/* `$h{x} = "$y z";`: the element is followed by what joins the strings, which assigns, too. `last`:
 * the last of the strings. Nothing of the user's may run between: it might change the key. */
#ifdef OPpMULTICONCAT_APPEND
static bool shm_is_joined(pTHX_ SV **last)
{
    const OP *next = PL_op->op_next;
    SSize_t   count;
    if (next == NULL || next->op_type != OP_MULTICONCAT || next->op_ppaddr != PL_ppaddr[OP_MULTICONCAT]
        || (next->op_flags & OPf_STACKED) == 0 || (next->op_private & OPpMULTICONCAT_APPEND) != 0 || !shm_is_dropped(next) || TAINTING_get)
        return false;
    for (count = cUNOP_AUXx(next)->op_aux[PERL_MULTICONCAT_IX_NARGS].ssize; count > 0; count--, last--)
        if (!SvOK(*last) || SvROK(*last) || SvGMAGICAL(*last)) return false;
    return true;
}
#else
static bool shm_is_joined(pTHX_ SV **last)
{
    PERL_UNUSED_CONTEXT;
    PERL_UNUSED_VAR(last);
    return false;
}
#endif

/* Give the next operator a plain scalar to assign to, which is stored afterwards. */
static OP *shm_store_joined(pTHX_ shm_var_t *var, SV *key)
{
    SV *joined = sv_newmortal();
    OP *next;
    dSP;
    XPUSHs(joined);
    PUTBACK;
    PL_op = PL_op->op_next;
    next  = PL_op->op_ppaddr(aTHX);
    PL_stack_sp--;
    shm_hash_store(aTHX_ var, key, joined, 0);
    return next;
}

static OP *shm_read_helem(pTHX)
{
    SV        *value = NULL, *key;
    shm_var_t *var;
    bool       assigned;
    if ((PL_op->op_flags & OPf_MOD) != 0 && (PL_op->op_private & (SHM_OTHER_ACCESS | OPpDEREF | OPpLVAL_DEFER)) == 0
        && SHM_UNLIKELY(SvRMAGICAL(PL_stack_sp[-1])) && ((assigned = shm_is_assigned(aTHX)) || shm_is_joined(aTHX_ PL_stack_sp - 2))
        && (var = shm_assigned(aTHX_ PL_stack_sp[-1], PL_stack_sp[0])) != NULL) {
        key = *PL_stack_sp;
        PL_stack_sp -= 2;
        if (!assigned) return shm_store_joined(aTHX_ var, key);
        shm_hash_store(aTHX_ var, key, *PL_stack_sp, 0);
        PL_stack_sp--;
        return PL_op->op_next->op_next;
    }
    if ((PL_op->op_flags & OPf_MOD) == 0 && (PL_op->op_private & (SHM_OTHER_ACCESS | OPpDEREF)) == 0
        && SHM_UNLIKELY(SvRMAGICAL(PL_stack_sp[-1])))
        value = shm_element(aTHX_ PL_stack_sp[-1], PL_stack_sp[0], false);
    if (value == NULL) return shm_pp[OP_HELEM](aTHX);
    *--PL_stack_sp = value;
    return NORMAL;
}

static SV *shm_multideref_key(pTHX_ UV action, UNOP_AUX_item *item)
{
    SV *sv;
    if ((action & MDEREF_INDEX_MASK) == MDEREF_INDEX_padsv) return PAD_SVl(item->pad_offset);
    sv = UNOP_AUX_item_sv(item);
    return (action & MDEREF_INDEX_MASK) == MDEREF_INDEX_const ? sv : GvSV((GV *)sv);
}

/* The hash that `$h{x}…` or `$h->{x}…` begins with; *item is what comes before the key. NULL:
 * it begins with something else. */
static SV *shm_multideref_hash(pTHX_ UV action, UNOP_AUX_item **item)
{
    SV *sv;
    if ((action & MDEREF_INDEX_MASK) == MDEREF_INDEX_none) return NULL;
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

/* `$h{a}{b}…`: the values on the way are references to hashes; follow them in place, without handles.
 * NULL: it has to be done in perl's way. */
static SV *shm_multideref_chain(pTHX_ UNOP_AUX_item *item)
{
    UV         actions = item->uv, action = actions;
    SV        *hash = shm_multideref_hash(aTHX_ action, &item);
    shm_var_t *var  = shm_hash_of(aTHX_ hash);
    SV        *keys[8];
    int        depth = 0;

    if (var == NULL) return NULL;
    for (;;) {
        SV *key = shm_multideref_key(aTHX_ action, ++item);
        if (key == NULL || !SvOK(key) || SvGMAGICAL(key) || SvROK(key) || depth == 8) return NULL;
        keys[depth++] = key;
        if ((action & MDEREF_FLAG_last) != 0) break;
        actions >>= MDEREF_SHIFT;
        action = actions;
        if ((action & MDEREF_ACTION_MASK) != MDEREF_HV_vivify_rv2hv_helem || (action & MDEREF_INDEX_MASK) == MDEREF_INDEX_none) return NULL;
    }
    if (depth == 1) return shm_value(aTHX_ var, keys[0]);
    return shm_fetch_chain(aTHX_ var, keys, depth);
}

static SV *shm_multideref_exists(pTHX_ UNOP_AUX_item *item)
{
    UV  action = item->uv;
    SV *hash   = (action & MDEREF_FLAG_last) != 0 ? shm_multideref_hash(aTHX_ action, &item) : NULL;
    return hash != NULL && SHM_UNLIKELY(SvRMAGICAL(hash)) ? shm_element(aTHX_ hash, shm_multideref_key(aTHX_ action, item + 1), true)
                                                          : NULL;
}

/* The hash and the key of `$h{x}` as it is assigned to; NULL: it is something else. */
static shm_var_t *shm_multideref_assigned(pTHX_ UNOP_AUX_item *item, SV **key)
{
    UV  action = item->uv;
    SV *hash   = (action & MDEREF_FLAG_last) != 0 ? shm_multideref_hash(aTHX_ action, &item) : NULL;
    if (hash == NULL || !SvRMAGICAL(hash)) return NULL;
    *key = shm_multideref_key(aTHX_ action, item + 1);
    return shm_assigned(aTHX_ hash, *key);
}

static OP *shm_read_multideref(pTHX)
{
    UNOP_AUX_item *item  = cUNOP_AUXx(PL_op)->op_aux;
    U8             how   = PL_op->op_private;
    SV            *value = NULL, *key;
    shm_var_t     *var;
    bool           assigned;

    if ((PL_op->op_flags & OPf_MOD) != 0
        && (how & (SHM_OTHER_ACCESS | OPpMULTIDEREF_DELETE | OPpMULTIDEREF_EXISTS | OPpDEREF | OPpLVAL_DEFER)) == 0
        && ((assigned = shm_is_assigned(aTHX)) || shm_is_joined(aTHX_ PL_stack_sp))
        && (var = shm_multideref_assigned(aTHX_ item, &key)) != NULL) {
        if (!assigned) return shm_store_joined(aTHX_ var, key);
        shm_hash_store(aTHX_ var, key, *PL_stack_sp, 0);
        PL_stack_sp--;
        return PL_op->op_next->op_next;
    }

    if ((PL_op->op_flags & OPf_MOD) == 0 && (how & (SHM_OTHER_ACCESS | OPpMULTIDEREF_DELETE | OPpDEREF)) == 0)
        value = (how & OPpMULTIDEREF_EXISTS) != 0 ? shm_multideref_exists(aTHX_ item) : shm_multideref_chain(aTHX_ item);
    if (value == NULL) return shm_pp[OP_MULTIDEREF](aTHX);
    {
        dSP;
        XPUSHs(value);
        RETURN;
    }
}

/* --- tie, fork, open, exec ------------------------------------------------------------------ */

static OP *shm_tie_operator(pTHX)
{
    SV *container = SvREFCNT_inc_NN(PL_stack_base[*PL_markstack_ptr + 1]);
    OP *next;
    ENTER;
    SAVEFREESV(container);
    next = shm_pp[OP_TIE](aTHX);
    shm_quicken(aTHX_ container);
    shm_engine_tied(aTHX_ container);
    LEAVE;
    return next;
}

OP *shm_fork_operator(pTHX)
{
    OP *next = shm_pp[OP_FORK](aTHX);
    IV  pid  = SvOK(*PL_stack_sp) ? SvIV(*PL_stack_sp) : -1;
    if (pid != 0) store_fork_parent_pid((int)pid);
    return next;
}

/* Does open() execute a command? A mere dash forks. */
static bool shm_opens_command(pTHX_ SV **arguments, SSize_t count)
{
    SV         *how = count > 1 ? arguments[1] : NULL, *sv = count > 2 ? arguments[2] : how;
    STRLEN      length;
    const char *text;

    PERL_UNUSED_CONTEXT;
    if (how == NULL || sv == NULL || !SvPOK(how) || memchr(SvPVX_const(how), '|', SvCUR(how)) == NULL) return false;
    if (!SvPOK(sv) || SvGMAGICAL(sv)) return false;
    text = SvPVX_const(sv);
    for (length = SvCUR(sv); length > 0 && strchr(" -|", text[length - 1]) != NULL; length--) {}
    return length > 0;
}

static void shm_forget_command(pTHX_ void *unused)
{
    PERL_UNUSED_CONTEXT;
    PERL_UNUSED_VAR(unused);
    shm_command = NULL;
}

/* Also if it dies: there may be another operator at this address later, which forks. */
static OP *shm_open_operator(pTHX)
{
    SV **arguments = PL_stack_base + *PL_markstack_ptr + 1;
    OP  *next;
    if (!shm_opens_command(aTHX_ arguments, PL_stack_sp - arguments + 1)) return shm_pp[OP_OPEN](aTHX);
    ENTER;
    SAVEDESTRUCTOR_X(shm_forget_command, NULL);
    shm_command = PL_op;
    next        = shm_pp[OP_OPEN](aTHX);
    LEAVE;
    return next;
}

static OP *shm_exec_operator(pTHX)
{
    OP *next;
    store_exec_prepare(true);
    next = shm_pp[OP_EXEC](aTHX);
    store_exec_prepare(false);
    return next;
}

/* --- installing -------------------------------------------------------------------------------- */

/* THE TABLE: each operator, how it learns of shared variables, and what is lost without.
 *
 * NULL: met. Left alone until the container's magic swaps the function of the one operator
 * that comes to it (shm_meet()); code that meets no shared variable never runs ours. An element
 * is read by calls that can as well be made by perl itself, so the first run needs nothing.
 *
 * Otherwise: chosen when it is compiled, because its first run must be whole already, and when
 * the magic is asked perl is in the middle of it. The predicate says which of them may need it:
 * neither a `keys` that perl counts nor an array that is only named, as that of `$a[0]`. */
typedef bool shm_may_t(pTHX_ const OP *op);

static bool shm_may_always(pTHX_ const OP *op)
{
    PERL_UNUSED_CONTEXT;
    PERL_UNUSED_VAR(op);
    return true;
}

/* Not `my (...) = ...` without attributes: it assigns to new variables, which are not shared. */
static bool shm_may_assign(pTHX_ const OP *op)
{
    const OP *left = (op->op_flags & OPf_KIDS) != 0 ? cBINOPx(op)->op_last : NULL, *kid;
    PERL_UNUSED_CONTEXT;
    if (left == NULL || (left->op_flags & OPf_KIDS) == 0 || (left->op_type != OP_LIST && left->op_type != OP_NULL)) return true;
    for (kid = cLISTOPx(left)->op_first; kid != NULL; kid = OpSIBLING(kid)) {
        bool pad = kid->op_type == OP_PADSV || kid->op_type == OP_PADAV || kid->op_type == OP_PADHV;
        if (kid->op_type == OP_PUSHMARK || kid->op_type == OP_PADRANGE) continue;
        if (!pad || (kid->op_private & OPpLVAL_INTRO) == 0 || (kid->op_private & OPpPAD_STATE) != 0) return true;
    }
    return false;
}

static bool shm_may_sort(pTHX_ const OP *op)
{
    PERL_UNUSED_CONTEXT;
    return (op->op_private & OPpSORT_INPLACE) != 0;
}

static bool shm_may_reverse(pTHX_ const OP *op)
{
    PERL_UNUSED_CONTEXT;
    return (op->op_private & OPpREVERSE_INPLACE) != 0;
}

static bool shm_may_split(pTHX_ const OP *op)
{
    PERL_UNUSED_CONTEXT;
#ifdef OPpSPLIT_ASSIGN
    return (op->op_private & OPpSPLIT_ASSIGN) != 0;
#else
    PERL_UNUSED_VAR(op);
    return true; /* told by what perl has of the pattern */
#endif
}

static bool shm_may_delete(pTHX_ const OP *op)
{
    PERL_UNUSED_CONTEXT;
    return (op->op_private & SHM_MANY) != 0;
}

/* For the last statement of a sub, only the caller knows whether it is in list context. */
static bool shm_may_list(pTHX_ const OP *op)
{
    U8 want = op->op_flags & OPf_WANT;
    PERL_UNUSED_CONTEXT;
    if ((op->op_flags & (OPf_MOD | OPf_REF)) != 0 || (op->op_private & (OPpMAYBE_LVSUB | OPpLVAL_INTRO)) != 0) return false;
    return want == OPf_WANT_LIST || want == 0;
}

static bool shm_may_hash(pTHX_ const OP *op)
{
    if (shm_is_keys(op)) return (op->op_flags & OPf_WANT) != OPf_WANT_VOID;
    return shm_may_list(aTHX_ op);
}

static bool shm_may_keys(pTHX_ const OP *op)
{
    PERL_UNUSED_CONTEXT;
    return (op->op_private & OPpMAYBE_LVSUB) == 0 && (op->op_flags & OPf_WANT) != OPf_WANT_VOID;
}

/* A mode without a `|` runs no command. */
static bool shm_may_open(pTHX_ const OP *op)
{
    const OP *kid  = (op->op_flags & OPf_KIDS) != 0 ? cLISTOPx(op)->op_first : NULL;
    SV       *mode = NULL;
    PERL_UNUSED_CONTEXT;
    if (kid != NULL && kid->op_type == OP_PUSHMARK) kid = OpSIBLING(kid);
    if (kid != NULL) kid = OpSIBLING(kid);
    if (kid != NULL && kid->op_type == OP_CONST) mode = cSVOPx(kid)->op_sv; /* NULL: it has gone to the pad of its sub */
    return mode == NULL || !SvPOK(mode) || memchr(SvPVX_const(mode), '|', SvCUR(mode)) != NULL;
}

static const struct {
    int        number;
    shm_may_t *may;
    shm_pp_t  *ours;
} shm_operators[] = {
    { OP_HELEM, NULL, shm_read_helem },                  /* speed: no temporary with magic, key and entry */
    { OP_MULTIDEREF, NULL, shm_read_multideref },        /* the same; chains without handles */
    { OP_PUSH, NULL, shm_push_operator },                /* speed: no method is called; see ends.c */
    { OP_UNSHIFT, NULL, shm_unshift_operator },          /* the same */
    { OP_SHIFT, NULL, shm_take_operator },               /* the same */
    { OP_POP, NULL, shm_take_operator },                 /* the same */
    { OP_AASSIGN, shm_may_assign, shm_change_list },     /* one change; undone if it dies */
    { OP_SORT, shm_may_sort, shm_change_sort },          /* the same, in place */
    { OP_REVERSE, shm_may_reverse, shm_change_reverse }, /* the same */
    { OP_SPLIT, shm_may_split, shm_change_split },       /* the same, to an array */
    { OP_DELETE, shm_may_delete, shm_change_delete },    /* the same, of slices */
    { OP_PADAV, shm_may_list, shm_read_padav },          /* elements of one moment */
    { OP_RV2AV, shm_may_list, shm_read_rv2av },          /* the same */
    { OP_PADHV, shm_may_hash, shm_read_padhv },          /* the same; the number of keys */
    { OP_RV2HV, shm_may_hash, shm_read_rv2hv },          /* the same */
    { OP_KEYS, shm_may_keys, shm_read_keys },            /* the same */
    { OP_VALUES, shm_may_list, shm_read_values },        /* the same */
    { OP_AVALUES, shm_may_list, shm_read_avalues },      /* the same */
    { OP_HSLICE, shm_may_list, shm_read_hslice },        /* the same */
    { OP_ASLICE, shm_may_list, shm_read_aslice },        /* the same */
    { OP_KVHSLICE, shm_may_list, shm_read_kvhslice },    /* the same */
    { OP_KVASLICE, shm_may_list, shm_read_kvaslice },    /* the same */
    { OP_FORK, shm_may_always, shm_fork_operator },      /* if the child dies at once, its marks can be found */
    { OP_OPEN, shm_may_open, shm_open_operator },        /* a child for a command takes no marks */
    { OP_EXEC, shm_may_always, shm_exec_operator },      /* the marks of this process go, and come back if it fails */
    { OP_TIE, shm_may_always, shm_tie_operator },        /* the short way for what is tied by hand */
};

/* By number; all NULL while no operator is to be touched. */
static shm_pp_t  *shm_ours[MAXO];
static shm_may_t *shm_may[MAXO];

/* The operator that is at work has come to a shared variable. Threads share the code: each
 * would write the same, and either function does for any of them. */
void shm_meet(pTHX)
{
    shm_meet_operator(PL_op);
}

static void shm_swap(OP *op, shm_pp_t *ours)
{
    __atomic_store_n(&op->op_ppaddr, ours, __ATOMIC_RELAXED);
}

void shm_meet_operator(OP *op)
{
    shm_pp_t *ours;
    if (op == NULL || op->op_type >= MAXO || (ours = shm_ours[op->op_type]) == NULL || shm_may[op->op_type] != NULL) return;
    if (op->op_ppaddr == shm_pp[op->op_type]) shm_swap(op, ours);
}

/* A package variable `$x`: perl has merged two operators into one. */
static bool shm_is_global(const OP *op)
{
    return op->op_type == OP_NULL && op->op_targ == OP_RV2SV && (op->op_flags & OPf_KIDS) != 0 && cUNOPx(op)->op_first->op_type == OP_GVSV;
}

/* `($x, $y) = …`, the most common form apart from `my (…) = …`. */
static bool shm_assigns_two(const OP *op)
{
    const OP *left  = cBINOPx(op)->op_last, *kid;
    int       count = 0;
    if ((left->op_flags & OPf_KIDS) == 0) return false;
    for (kid = cLISTOPx(left)->op_first; kid != NULL; kid = OpSIBLING(kid)) {
        if (kid->op_type == OP_PUSHMARK || kid->op_type == OP_PADRANGE) continue;
        if (kid->op_type != OP_PADSV && !shm_is_global(kid)) return false;
        count++;
    }
    return count == 2;
}

/* If somebody else has since replaced an operator globally, ours goes on to that function. */
static SHM_APART void shm_choose(pTHX_ OP *op)
{
    size_t type = op->op_type;
    if (!shm_may[type](aTHX_ op)) return;
    if (op->op_ppaddr == PL_ppaddr[type] && shm_pp[type] != PL_ppaddr[type]) shm_pp[type] = PL_ppaddr[type];
    if (op->op_ppaddr != shm_pp[type]) return;
    shm_swap(op, type == OP_AASSIGN && shm_assigns_two(op) ? shm_change_two : shm_ours[type]);
}

/* These write to their operands, and perl does not say so where the element is looked up. */
static bool shm_writes_unsaid(size_t type)
{
    switch (type) {
    case OP_FORMLINE: /* formats, too: ^<<< */
    case OP_SSELECT:
    case OP_FCNTL:
    case OP_IOCTL:
    case OP_SYSCALL:
    case OP_SHMREAD:
    case OP_SHMCTL:
    case OP_MSGRCV:
    case OP_MSGCTL:
    case OP_SEMCTL: return true;
    default: return false;
    }
}

static OP *shm_perls_helem(pTHX)
{
    return shm_pp[OP_HELEM](aTHX);
}
static OP *shm_perls_multideref(pTHX)
{
    return shm_pp[OP_MULTIDEREF](aTHX);
}

/* Below those, elements are looked up in perl's way, by another function, so none is met. */
static SHM_APART void shm_leave_elements(OP *op)
{
    OP *kid;
    if (op->op_type == OP_HELEM && op->op_ppaddr == shm_pp[OP_HELEM]) shm_swap(op, shm_perls_helem);
    if (op->op_type == OP_MULTIDEREF && op->op_ppaddr == shm_pp[OP_MULTIDEREF]) shm_swap(op, shm_perls_multideref);
    if ((op->op_flags & OPf_KIDS) == 0) return;
    for (kid = cUNOPx(op)->op_first; kid != NULL; kid = OpSIBLING(kid)) shm_leave_elements(kid);
}

static void shm_choose_below(pTHX_ OP *op);

/* What a pattern has: the code of `s///e`, and of `(?{ })`, unless that is part of another sub. */
static SHM_APART void shm_choose_pattern(pTHX_ OP *op)
{
    if (op->op_type == OP_SUBST) shm_choose_below(aTHX_ cPMOPx(op)->op_pmreplrootu.op_pmreplroot);
    if ((cPMOPx(op)->op_pmflags & PMf_CODELIST_PRIVATE) == 0) shm_choose_below(aTHX_ cPMOPx(op)->op_code_list);
}

/* All operators of a piece of code. Of those that follow each other in a list (or in an
 * `elsif`) the last is no deeper than the first. */
static void shm_choose_below(pTHX_ OP *op)
{
    OP *kid, *next;
    for (; op != NULL; op = kid) {
        size_t type = op->op_type;
        if (type == OP_MATCH || type == OP_SUBST || type == OP_QR)
            shm_choose_pattern(aTHX_ op);
        else if (type < MAXO && shm_may[type] != NULL)
            shm_choose(aTHX_ op);
        else if (SHM_UNLIKELY(shm_writes_unsaid(type)))
            shm_leave_elements(op);
        if ((op->op_flags & OPf_KIDS) == 0) return;
        for (kid = cUNOPx(op)->op_first; kid != NULL && (next = OpSIBLING(kid)) != NULL; kid = next)
            if (kid->op_type != OP_NEXTSTATE && kid->op_type != OP_PUSHMARK) shm_choose_below(aTHX_ kid);
    }
}

/* --- what is compiled, and what was --- */

#define SHM_PEEP "IPC::Shm/peep" /* in PL_modglobal: who was to be called at the end of compiling, before us */

/* Called when a piece of code is complete: a sub, a format, a file, a string. Contexts and all
 * that perl makes of it are known then. What is part of another piece (the blocks of a
 * regex) is reached from there. */
static peep_t shm_first_peep; /* where an interpreter that is about to end has forgotten its own */

static void shm_peep(pTHX_ OP *start)
{
    SV **slot = PL_modglobal != NULL ? hv_fetchs(PL_modglobal, SHM_PEEP, false) : NULL;
    (slot != NULL ? INT2PTR(peep_t, SvUV(*slot)) : shm_first_peep)(aTHX_ start);
    if (PL_compcv != NULL && !CvISXSUB(PL_compcv) && CvSTART(PL_compcv) == start && CvROOT(PL_compcv) != NULL)
        shm_choose_below(aTHX_ CvROOT(PL_compcv));
    else if (PL_in_eval != 0 && PL_eval_start == start)
        shm_choose_below(aTHX_ PL_eval_root);
    else if (PL_main_start == start)
        shm_choose_below(aTHX_ PL_main_root);
}

/* Files and strings that are being run: only their callers know them. */
static void shm_choose_running(pTHX)
{
    const PERL_SI *info;
    I32            i;
    shm_choose_below(aTHX_ PL_eval_root);
    for (info = PL_curstackinfo; info != NULL; info = info->si_prev)
        for (i = info->si_cxix; i >= 0; i--)
            if (CxTYPE(&info->si_cxstack[i]) == CXt_EVAL && !CxTRYBLOCK(&info->si_cxstack[i]))
                shm_choose_below(aTHX_ info->si_cxstack[i].blk_eval.old_eval_root);
}

/* Subs and formats that were compiled before this module was loaded. */
static void shm_choose_compiled(pTHX)
{
    SV *arena, *sv;
    shm_choose_below(aTHX_ PL_main_root);
    shm_choose_running(aTHX);
    for (arena = PL_sv_arenaroot; arena != NULL; arena = (SV *)SvANY(arena))
        for (sv = arena + 1; sv < &arena[SvREFCNT(arena)]; sv++)
            if ((SvTYPE(sv) == SVt_PVCV || SvTYPE(sv) == SVt_PVFM) && SvREFCNT(sv) > 0 && !CvISXSUB((CV *)sv))
                shm_choose_below(aTHX_ CvROOT((CV *)sv));
}

/* The table belongs to the process, compiled code to each interpreter. */
void shm_operators_install(pTHX)
{
    size_t i;
    if (shm_operators_installed(aTHX)) return;
    for (i = 0; shm_first_peep == NULL && i < sizeof shm_operators / sizeof *shm_operators; i++) {
        int number       = shm_operators[i].number;
        shm_pp[number]   = PL_ppaddr[number];
        shm_may[number]  = shm_operators[i].may;
        shm_ours[number] = shm_operators[i].ours;
    }
    if (shm_first_peep == NULL) shm_first_peep = PL_peepp;
    (void)hv_stores(PL_modglobal, SHM_PEEP, newSVuv(PTR2UV(PL_peepp)));
    PL_peepp = shm_peep;
    shm_choose_compiled(aTHX);
}

bool shm_operators_installed(pTHX)
{
    return hv_exists(PL_modglobal, SHM_PEEP, sizeof SHM_PEEP - 1);
}
