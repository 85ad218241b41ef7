/*
 * shm_fork.h - attachments and locks at fork and exec.
 *
 * The attachments of the child are made before the fork, by and in the
 * name of the parent ("in transit"), and taken over by the child when it first
 * runs Perl code: from before the fork on there is always one. A child that is
 * made to execute a command (system, backticks, a pipe from or to a command) gets
 * none; one that executes another program in another way never takes them, and
 * they expire. exec() puts a process's own attachments in transit.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_FORK_H
#define SHM_FORK_H

#include "shm_record.h"

/* --- fork ------------------------------------------------------------- */

/* Attachments made for children that may not have taken them. */
typedef struct shm_transit {
    shm_space_t *space;
    shm_id_t     id;
    uint64_t     slot, slot_generation;
    int64_t      when;
} shm_transit_t;

static shm_buffer_t shm_transits;  /* shm_transit_t; only in fork, under shm_table_lock */
static size_t       shm_last_fork; /* where those of the last fork begin */
static __thread OP *shm_command;   /* the operator that is about to execute a command in a child */
static void (*shm_old_signalhook)(pTHX);

/* Let go what children did not take in time: they became other programs. The
 * slot may have been taken and freed since; its owner word then is not ours. */
static void shm_expire_transits(int64_t now)
{
    shm_transit_t *all = (shm_transit_t *)(void *)shm_transits.data;
    size_t         i, kept = 0, count = shm_transits.length / sizeof *all;

    for (i = 0; i < count; i++) {
        shm_transit_t *one   = &all[i];
        pool_t        *part  = pool_grow_have(&one->space->attach, one->slot);
        uint64_t       index = pool_grow_index(one->slot);
        bool ours = pool_generation(part, index) == one->slot_generation && shm_same_process(pool_owner_word(part, index), pool_i_me(part));
        if (ours && now - one->when < SHM_TRANSIT_NS) {
            all[kept++] = *one;
            continue;
        }
        shm_registry_lock(one->space);
        if (ours && pool_free_generation(part, index, one->slot_generation)) shm_drop_ref(one->space, one->id);
        shm_registry_unlock(one->space);
        one->space->users--; /* if this was the last, the mapping stays: there may be more */
    }
    shm_transits.length = kept * sizeof *all;
}

/* Is this fork for the sake of a command, so that the child never runs Perl code? */
static bool shm_forks_command(pTHX)
{
    if (!SHM_HAS_PERL || PL_op == NULL) return false;
    return PL_op == shm_command || PL_op->op_type == OP_SYSTEM || PL_op->op_type == OP_BACKTICK;
}

static void shm_fork_prepare(void)
{
    int64_t    now = shm_boottime();
    uint32_t   bucket;
    bool       command;
    shm_var_t *var;
    dTHX;

    command = shm_forks_command(aTHX);

    pthread_mutex_lock(&shm_table_lock);
    shm_expire_transits(now);
    shm_last_fork = shm_transits.length;
    for (bucket = 0; bucket < SHM_BUCKETS; bucket++)
        for (var = shm_table[bucket]; var != NULL; var = var->next) {
            pool_error_t  err;
            shm_transit_t one;
            var->child_attach = SHM_NONE;
            if (command || (void *)var->perl != (void *)SHM_PERL || var->attach == SHM_NONE) continue;
            shm_registry_lock(var->space);
            if (shm_exists(var->space, var->id)) var->child_attach = shm_attach_new(var->space, var->id, now, &err);
            shm_registry_unlock(var->space);
            if (var->child_attach == SHM_NONE) continue;
            one.space           = var->space;
            one.id              = var->id;
            one.slot            = var->child_attach;
            one.slot_generation = pool_grow_generation(&var->space->attach, one.slot);
            one.when            = now;
            var->space->users++;
            shm_buffer_put(&shm_transits, &one, sizeof one);
        }
}

static void shm_fork_parent(void)
{
    pthread_mutex_unlock(&shm_table_lock);
}

/* The child of the last fork has this PID: if it dies before it takes its
 * attachments, they need not wait until they expire. */
static void shm_fork_pid(pid_t pid)
{
    size_t at;
    pthread_mutex_lock(&shm_table_lock);
    for (at = shm_last_fork; at + sizeof(shm_transit_t) <= shm_transits.length; at += sizeof(shm_transit_t)) {
        shm_transit_t one;
        shm_attach_t *mark;
        memcpy(&one, shm_transits.data + at, sizeof one);
        mark = (shm_attach_t *)pool_grow_ptr(&one.space->attach, one.slot);
        if (pool_grow_generation(&one.space->attach, one.slot) == one.slot_generation) mark->child = (uint64_t)pid;
    }
    shm_last_fork = shm_transits.length;
    pthread_mutex_unlock(&shm_table_lock);
}

/* The child takes the attachment that was made for it. It may be too late for that,
 * after a long stop: then it attaches anew, if there still is something to attach
 * to. Attachments come and go under the registry lock only. */
static void shm_adopt_attachment(shm_var_t *var)
{
    pool_grow_t  *row  = &var->space->attach;
    shm_attach_t *mark = (shm_attach_t *)pool_grow_ptr(row, var->attach);
    pool_error_t  err;

    shm_registry_lock(var->space);
    if (pool_grow_generation(row, var->attach) == var->attach_generation && pool_grow_adopt(row, var->attach))
        mark->transit = mark->child = 0;
    else
        var->attach = shm_exists(var->space, var->id) ? shm_attach_new(var->space, var->id, 0, &err) : SHM_NONE;
    shm_registry_unlock(var->space);
    if (var->attach == SHM_NONE) var->removed = true;
}

static void shm_adopt(void)
{
    uint32_t   bucket;
    shm_var_t *var;

    if (!shm_child) return;
    shm_child = false;
    for (bucket = 0; bucket < SHM_BUCKETS; bucket++)
        for (var = shm_table[bucket]; var != NULL; var = var->next) {
            if (!var->adopt) continue;
            var->adopt = false;
            if (var->attach != SHM_NONE) shm_adopt_attachment(var);
        }
}

static void shm_signalhook(pTHX)
{
    PL_signalhook = shm_old_signalhook;
    shm_adopt();
    PL_signalhook(aTHX);
}

/* A child holds no locks. If perl's fork made it, it takes its attachments at
 * once; else at the next statement: it may be about to become another program. */
static void shm_fork_child(void)
{
    uint32_t   bucket;
    shm_var_t *var;
    dTHX;

    for (bucket = 0; bucket < SHM_BUCKETS; bucket++)
        for (var = shm_table[bucket]; var != NULL; var = var->next) {
            shm_attach_t *mark     = (shm_attach_t *)pool_grow_ptr(&var->space->attach, var->child_attach);
            var->attach            = var->child_attach;
            var->adopt             = true;
            var->attach_generation = pool_grow_generation(&var->space->attach, var->attach);
            if (mark != NULL) mark->child = (uint64_t)getpid(); /* whatever it becomes, when it ends they expire */
            var->write_held = var->read_held = false;
            shm_child                        = true;
        }
    shm_transits.length = 0;
    shm_batch_forget();
    pthread_mutex_unlock(&shm_table_lock);
    if (!SHM_HAS_PERL) return;
    if (PL_op != NULL && PL_op->op_type == OP_FORK) shm_adopt();
    if (shm_child) {
        if (PL_signalhook != shm_signalhook) shm_old_signalhook = PL_signalhook;
        PL_signalhook  = shm_signalhook;
        PL_sig_pending = 1;
    }
}

/* --- exec ------------------------------------------------------------- */

/* This process is about to become another program, or not, if that fails (when is
 * 0 then). The program holds no lock, and its attachments expire. */
static void shm_exec_transit(int64_t when)
{
    uint32_t   bucket;
    shm_var_t *var;

    pthread_mutex_lock(&shm_table_lock);
    for (bucket = 0; bucket < SHM_BUCKETS; bucket++)
        for (var = shm_table[bucket]; var != NULL; var = var->next) {
            shm_attach_t *mark = (shm_attach_t *)pool_grow_ptr(&var->space->attach, var->attach);
            if (mark == NULL || var->adopt) continue;
            if (when != 0) shm_unlock_all(var);
            mark->child   = when != 0 ? (uint64_t)getpid() : 0;
            mark->transit = (uint64_t)when;
        }
    pthread_mutex_unlock(&shm_table_lock);
}

#endif /* SHM_FORK_H */
