/*
 * server.h - what an engine in Perl needs of the process, and perl does not offer:
 * to be called at a fork, to have signal handlers wait, to set up a socket.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef XS_SERVER_H
#define XS_SERVER_H

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

static const char *const process_fork_hooks[] = { "IPC::Shm::Engine::Redis::Connection::before_fork",
                                                  "IPC::Shm::Engine::Redis::Connection::after_fork_in_parent",
                                                  "IPC::Shm::Engine::Redis::Connection::after_fork_in_child" };
static __thread bool     process_forks; /* between before_fork and the other two */

static void process_call_hook(pTHX_ int which)
{
    dSP;
    CV *code = get_cv(process_fork_hooks[which], 0);
    if (code == NULL) return;
    ENTER;
    SAVETMPS;
    save_scalar(PL_errgv);
    PUSHMARK(SP);
    call_sv((SV *)code, G_VOID | G_DISCARD | G_EVAL);
    FREETMPS;
    LEAVE;
}

/* A child that becomes a command at once (system, backticks) shares nothing. */
static void process_before_fork(void)
{
    dTHX;
    process_forks = PERL_GET_CONTEXT != NULL && PL_op != NULL && PL_op->op_type != OP_SYSTEM && PL_op->op_type != OP_BACKTICK;
    if (process_forks) process_call_hook(aTHX_ 0);
}

static void process_after_fork_in_parent(void)
{
    dTHX;
    if (process_forks) process_call_hook(aTHX_ 1);
}

static void process_after_fork_in_child(void)
{
    dTHX;
    if (process_forks) process_call_hook(aTHX_ 2);
}

static void process_register(void)
{
    pthread_atfork(process_before_fork, process_after_fork_in_parent, process_after_fork_in_child);
}

static void process_watch_forks(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, process_register);
}

/* --- signals ------------------------------------------------------------
 * While an exchange with a server is under way no handler may die out of it: the
 * answer would be lost. A signal without a handler of perl ends the process as ever. */

static void (*process_old_signalhook)(pTHX);

static void process_signalhook_later(pTHX)
{
    PERL_UNUSED_CONTEXT;
}

/* True: handlers wait. False: they run, and those that waited do at the next statement. */
static void process_hold_signals(pTHX_ bool hold)
{
    if (hold && PL_signalhook != process_signalhook_later) {
        process_old_signalhook = PL_signalhook;
        PL_signalhook          = process_signalhook_later;
    }
    else if (!hold && PL_signalhook == process_signalhook_later) {
        PL_signalhook = process_old_signalhook;
    }
}

/* --- sockets -------------------------------------------------------------
 * Not for programs that are executed; a peer that is gone is noticed in the time. */

static void process_tune_socket(int fd, int milliseconds)
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

#endif
