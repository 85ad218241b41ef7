/*
 * engine.c - what an engine in Perl needs, and perl does not offer: to be called at a
 * fork, to set up a socket, to be told of operators.
 */
#include "shm.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>

/* --- fork --------------------------------------------------------------
 * Connections that a child inherits would keep its parent alive for the server, and
 * what only the parent holds would be let go before the child has spoken. So the
 * engine is told before the fork, and afterwards in both. It is called in the
 * thread that forks, if that is one of perl's. */

static const char *const engine_fork_hooks[] = { "IPC::Shm::Engine::Redis::Connection::before_fork",
                                                 "IPC::Shm::Engine::Redis::Connection::after_fork_in_parent",
                                                 "IPC::Shm::Engine::Redis::Connection::after_fork_in_child" };
static __thread bool     engine_forks; /* between before_fork and the other two */

static void engine_call_hook(pTHX_ int which)
{
    dSP;
    CV *code = get_cv(engine_fork_hooks[which], 0);
    if (code == NULL) return;
    ENTER;
    SAVETMPS;
    save_scalar(PL_errgv);
    PUSHMARK(SP);
    call_sv((SV *)code, G_VOID | G_DISCARD | G_EVAL);
    FREETMPS;
    LEAVE;
}

/* A child that is about to run a command (system, backticks) shares nothing. */
static void engine_before_fork(void)
{
    dTHX;
    engine_forks = PERL_GET_CONTEXT != NULL && PL_op != NULL && PL_op->op_type != OP_SYSTEM && PL_op->op_type != OP_BACKTICK;
    if (engine_forks) engine_call_hook(aTHX_ 0);
}

static void engine_after_fork_in_parent(void)
{
    dTHX;
    if (engine_forks) engine_call_hook(aTHX_ 1);
}

static void engine_after_fork_in_child(void)
{
    dTHX;
    if (engine_forks) engine_call_hook(aTHX_ 2);
}

static void engine_register(void)
{
    pthread_atfork(engine_before_fork, engine_after_fork_in_parent, engine_after_fork_in_child);
}

void shm_engine_watch_forks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, engine_register);
}

/* --- sockets -------------------------------------------------------------
 * Not for programs that are executed; a peer that is gone is noticed in the time. */

void shm_engine_tune_socket(int fd, int milliseconds)
{
    int on = 1, seconds = 1 + milliseconds / 3000, probes = 3;
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0) fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
}

/* --- operators -----------------------------------------------------------
 * A variable of such an engine is tied as perl does it. One operation is one change there,
 * too, and one look: by methods of its object. */

static bool engine_in_perl; /* never reset; set before the first such object is made */

void shm_engine_in_perl(void)
{
    __atomic_store_n(&engine_in_perl, true, __ATOMIC_RELAXED);
}

/* The object that a container, or the container of an element, is tied to, if it is one of an
 * engine in Perl; or NULL. */
SV *shm_engine_object(pTHX_ SV *sv)
{
    MAGIC *mg;
    if (!__atomic_load_n(&engine_in_perl, __ATOMIC_RELAXED)) return NULL;
    if (sv == NULL || SvTYPE(sv) < SVt_PVMG || !SvMAGICAL(sv)) return NULL;
    for (mg = SvMAGIC(sv); mg != NULL; mg = mg->mg_moremagic) {
        if (mg->mg_type != PERL_MAGIC_tied && mg->mg_type != PERL_MAGIC_tiedelem && mg->mg_type != PERL_MAGIC_tiedscalar) continue;
        if (mg->mg_obj == NULL || !SvROK(mg->mg_obj) || !SvOBJECT(SvRV(mg->mg_obj)) || SvTYPE(SvRV(mg->mg_obj)) != SVt_PVHV) return NULL;
        return sv_derived_from(mg->mg_obj, "IPC::Shm::Tied") ? SvRV(mg->mg_obj) : NULL;
    }
    return NULL;
}

static SV *engine_call(pTHX_ SV *object, const char *method, SV *argument, bool held)
{
    SV *result;
    dSP;
    ENTER;
    SAVETMPS;
    if (held) shm_handlers_later(aTHX);
    PUSHMARK(SP);
    EXTEND(SP, 2);
    PUSHs(sv_2mortal(newRV_inc(object)));
    if (argument != NULL) PUSHs(argument);
    PUTBACK;
    call_method(method, G_SCALAR);
    SPAGAIN;
    result = SvREFCNT_inc_NN(POPs);
    PUTBACK;
    FREETMPS;
    LEAVE;
    return sv_2mortal(result);
}

bool shm_engine_ask(pTHX_ SV *object, const char *method, SV *argument, bool held)
{
    SV *said = engine_call(aTHX_ object, method, argument, held);
    return SvTRUE(said); /* before perl 5.32 it evaluates its argument several times */
}

bool shm_engine_begin(pTHX_ SV *object)
{
    return shm_engine_ask(aTHX_ object, "_begin_operator", NULL, true);
}

void shm_engine_end(pTHX_ SV *object, bool done)
{
    engine_call(aTHX_ object, done ? "commit" : "abort", NULL, true);
}

/* Tell the object which container the user has tied to it. */
void shm_engine_tied(pTHX_ SV *container)
{
    SV *object = shm_engine_object(aTHX_ container);
    if (object != NULL && gv_fetchmethod_autoload(SvSTASH(object), "_is_tied_to", false) != NULL)
        engine_call(aTHX_ object, "_is_tied_to", sv_2mortal(newRV_inc(container)), false);
}

/* What `_look_at` returns: `how` is pairs, keys or values; with `keys`, the values of a slice. */
AV *shm_engine_look(pTHX_ SV *object, const char *how, AV *keys)
{
    SV *argument = keys != NULL ? sv_2mortal(newRV_inc((SV *)keys)) : sv_2mortal(newSVpv(how, 0));
    SV *list     = engine_call(aTHX_ object, "_look_at", argument, false);
    if (!SvROK(list) || SvTYPE(SvRV(list)) != SVt_PVAV) croak("An engine gave no list");
    return (AV *)SvRV(list);
}
