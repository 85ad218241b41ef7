/*
 * object.c - objects with destructors.
 *
 * DESTROY runs in each process that has had the object, when that process lets go of it: when no
 * stored reference leads to it any more, and nothing in the program refers to it. A Perl container
 * that merely stands for what is stored ends with the statement, and perl would call DESTROY each
 * time. So containers of classes with a destructor are kept, in @IPC::Shm::Tied::KEPT, as long as
 * references to them are stored. Each use of a shared variable checks some of them, and frees
 * those that need not be kept any more; the rest are freed at the end of the program.
 */
#include "shm.h"

#define SHM_TENDED 8 /* at a time */

__thread UV        shm_kept;
static __thread IV shm_next;

static AV *shm_kept_list(pTHX)
{
    return get_av("IPC::Shm::Tied::KEPT", GV_ADD);
}

void shm_keep(pTHX_ shm_var_t *var, SV *container)
{
    GV *destroy;
    if (var->kept || !SvOBJECT(container)) return;
    destroy = gv_fetchmeth_pvn(SvSTASH(container), "DESTROY", 7, 0, 0);
    if (destroy == NULL || GvCV(destroy) == NULL) return;
    var->kept = true;
    av_push(shm_kept_list(aTHX), newRV_inc(container));
    shm_kept++;
}

/* The last one takes its place. The destructor runs at the end of the statement. */
static void shm_drop_kept(pTHX_ AV *list, IV at)
{
    SV        *reference = AvARRAY(list)[at];
    SV        *last      = av_pop(list);
    bool       foreign;
    shm_var_t *var = shm_handle_of_container(aTHX_ SvRV(reference), &foreign);
    if (last != reference) AvARRAY(list)[at] = last;
    if (var != NULL) var->kept = false;
    sv_2mortal(reference);
    shm_kept--;
}

void shm_tend_kept(pTHX)
{
    AV *list = shm_kept_list(aTHX);
    int steps;
    if (PL_dirty) return;
    for (steps = 0; steps < SHM_TENDED && AvFILLp(list) >= 0; steps++) {
        SV        *reference;
        bool       foreign;
        shm_var_t *var;
        if (shm_next > AvFILLp(list)) shm_next = 0;
        reference = AvARRAY(list)[shm_next];
        var       = SvROK(reference) ? shm_handle_of_container(aTHX_ SvRV(reference), &foreign) : NULL;
        if (var == NULL || var->var == NULL || store_references(var->var) == 0)
            shm_drop_kept(aTHX_ list, shm_next);
        else
            shm_next++;
    }
    if (AvFILLp(list) < 0) shm_kept = 0;
}

/* At the end of the program, before perl destroys the objects behind variables, in no particular order,
 * and with them what destructors need. */
void shm_drop_all_kept(pTHX)
{
    AV     *list = shm_kept_list(aTHX);
    SSize_t left;
    ENTER;
    SAVETMPS;
    if (AvFILLp(list) >= 0) shm_drop_fetched(aTHX);
    for (left = AvFILLp(list) + 1; left > 0 && AvFILLp(list) >= 0; left--) shm_drop_kept(aTHX_ list, AvFILLp(list));
    FREETMPS;
    LEAVE;
}

/* --- hashes that are gone through ------------------------------------------------- */

#define SHM_ITERATED 16 /* the most that are kept: loops that are left early leave theirs behind */

static AV *shm_iterated_list(pTHX)
{
    return get_av("IPC::Shm::Tied::ITERATED", GV_ADD);
}

static void shm_forget_iterated(pTHX_ SV *reference)
{
    bool       foreign;
    shm_var_t *var = SvROK(reference) ? shm_handle_of_container(aTHX_ SvRV(reference), &foreign) : NULL;
    if (var != NULL) var->iterated = false;
    sv_2mortal(reference);
}

void shm_keep_iterated(pTHX_ shm_var_t *var)
{
    AV *list;
    if (var->iterated || !var->fetched || var->container == NULL) return;
    list          = shm_iterated_list(aTHX);
    var->iterated = true;
    av_push(list, newRV_inc(var->container));
    if (AvFILLp(list) >= SHM_ITERATED) shm_forget_iterated(aTHX_ av_shift(list));
}

void shm_drop_iterated(pTHX_ shm_var_t *var)
{
    AV     *list = shm_iterated_list(aTHX);
    SSize_t i;
    if (!var->iterated) return;
    for (i = 0; i <= AvFILLp(list); i++) {
        SV *reference = AvARRAY(list)[i], *last;
        if (!SvROK(reference) || SvRV(reference) != var->container) continue;
        last = av_pop(list);
        if (last != reference) AvARRAY(list)[i] = last;
        shm_forget_iterated(aTHX_ reference);
        return;
    }
}
