/*
 * signal.c - handlers of signals that wait: see shm.h.
 *
 * Perl runs handlers between any two operators, and they may die. Where something is begun, and known to
 * whoever ends it only some operators later, they wait; so they do during an exchange with a server, whose
 * answer would be lost, and while a module is loaded, half of which is of no use to them. A signal without
 * a handler of perl ends the process as ever.
 *
 * In Perl that is `local $IPC::Shm::HANDLERS_WAIT = 1`: the variable has magic, which perl calls at the end
 * of the scope, too. Where we wait for others, they do run.
 */
#include "shm.h"

static void (*shm_signalhook_before)(pTHX);

static void shm_signalhook_later(pTHX)
{
    PERL_UNUSED_CONTEXT;
}

static int shm_set_handlers_wait(pTHX_ SV *sv, MAGIC *mg)
{
    bool wait = SvTRUE_nomg(sv);
    PERL_UNUSED_ARG(mg);
    if (wait && PL_signalhook != shm_signalhook_later) {
        shm_signalhook_before = PL_signalhook;
        PL_signalhook         = shm_signalhook_later;
    }
    else if (!wait && PL_signalhook == shm_signalhook_later) {
        PL_signalhook = shm_signalhook_before;
    }
    return 0;
}

static MGVTBL shm_handlers_wait_vtbl = { NULL, shm_set_handlers_wait, NULL, NULL, NULL, NULL, NULL, NULL };

static GV *shm_handlers_wait_gv(pTHX)
{
    return gv_fetchpvs("IPC::Shm::HANDLERS_WAIT", GV_ADD | GV_ADDMULTI, SVt_PV);
}

void shm_boot_signals(pTHX)
{
    sv_magicext(GvSVn(shm_handlers_wait_gv(aTHX)), NULL, PERL_MAGIC_ext, &shm_handlers_wait_vtbl, NULL, 0);
}

static void shm_let_handlers_wait(pTHX_ bool wait)
{
    SV *sv = save_scalar(shm_handlers_wait_gv(aTHX));
    sv_setiv_mg(sv, wait ? 1 : 0);
}

void shm_handlers_later(pTHX)
{
    shm_let_handlers_wait(aTHX_ true);
}

void shm_handlers_now(pTHX)
{
    ENTER;
    if (PL_signalhook == shm_signalhook_later) shm_let_handlers_wait(aTHX_ false);
    PERL_ASYNC_CHECK();
    LEAVE;
}

void shm_destroy_held(pTHX_ SV *self)
{
    dSP;
    ENTER;
    SAVETMPS;
    shm_handlers_later(aTHX);
    PUSHMARK(SP);
    XPUSHs(self);
    PUTBACK;
    call_method("_destroyed", G_VOID | G_DISCARD);
    FREETMPS;
    LEAVE;
}
