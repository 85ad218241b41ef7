/* queue.c - elements of an array that are reserved: see shm.h. */
#include "shm.h"

#define SHM_TICKET_DIGITS (2 * sizeof(store_reservation_t))

/* A ticket is the reservation in hexadecimal digits. */
static void shm_write_ticket(pTHX_ SV *sv, const store_reservation_t *reservation)
{
    sv_setpvf(sv, "%016lx%016lx%016lx", (unsigned long)reservation->owner, (unsigned long)reservation->since_ns,
              (unsigned long)reservation->order);
}

static bool shm_read_ticket(pTHX_ SV *sv, store_reservation_t *reservation)
{
    uint64_t    word[3] = { 0, 0, 0 };
    STRLEN      length, i;
    const char *text = SvPV_const(sv, length);
    if (length != SHM_TICKET_DIGITS) return false;
    for (i = 0; i < length; i++) {
        if (!isXDIGIT(text[i])) return false;
        word[i / 16] = word[i / 16] << 4 | (uint64_t)(isDIGIT(text[i]) ? text[i] - '0' : (text[i] | 32) - 'a' + 10);
    }
    reservation->owner    = word[0];
    reservation->since_ns = word[1];
    reservation->order    = word[2];
    return true;
}

/* Of the jobs that dead processes had reserved, the one that was nearest to the head. */
typedef struct shm_search {
    store_t            *store;
    bool                found;
    store_reservation_t first;
} shm_search_t;

static void shm_search_dead(const store_reservation_t *reservation, void *context)
{
    shm_search_t *search = (shm_search_t *)context;
    if (search->found && search->first.order <= reservation->order) return;
    if (!store_owner_is_dead(search->store, reservation->owner)) return;
    search->found = true;
    search->first = *reservation;
}

/* The value of a reservation into `sv`. */
static int shm_queue_fetch(pTHX_ shm_var_t *var, const store_reservation_t *reservation, SV *sv)
{
    char           space[1024], *memory = NULL;
    store_buffer_t buffer = { space, sizeof space };
    store_value_t  value;
    int            code = store_queue_get(var->var, reservation, &value, &buffer);
    if (code == STORE_MORE) {
        buffer.capacity = value.length;
        if ((buffer.space = memory = (char *)malloc(buffer.capacity)) == NULL) return STORE_E_SYSTEM;
        code = store_queue_get(var->var, reservation, &value, &buffer);
    }
    if (code == STORE_OK && !shm_decode(aTHX_ var, &value, sv)) code = STORE_E_REMOVED;
    free(memory);
    return code;
}

static int shm_queue_keep(pTHX_ shm_var_t *var, SV *job, uint64_t order, SV *ticket)
{
    store_reservation_t reservation = { store_me(var->store), 0, order };
    store_value_t       value;
    struct timespec     now;
    int                 code;
    clock_gettime(CLOCK_REALTIME, &now);
    reservation.since_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    shm_encode(aTHX_ job, &value);
    if ((code = store_queue_keep(var->var, &reservation, &value)) == STORE_OK) shm_write_ticket(aTHX_ ticket, &reservation);
    return code;
}

bool shm_queue_take(pTHX_ shm_var_t *var, SV *job, SV *ticket)
{
    shm_search_t search = { var->store, false, { 0, 0, 0 } };
    shm_place_t  place  = { NULL, 0 };
    int          code   = STORE_OK;
    bool         there  = true;
    shm_begin(aTHX_ var, NULL);
    if (store_queue_is_used(var->var)) code = store_queue_each(var->var, shm_search_dead, &search);
    if (code == STORE_OK && search.found) {
        if ((code = shm_queue_fetch(aTHX_ var, &search.first, job)) == STORE_OK) code = store_queue_drop(var->var, &search.first);
    }
    else if (code == STORE_OK && shm_array_size(aTHX_ var) > 0) {
        shm_fetch(aTHX_ var, &place, job);
        code = store_array_splice(var->var, 0, 1, NULL, 0);
    }
    else
        there = false;
    if (code == STORE_OK && there && ticket != NULL) code = shm_queue_keep(aTHX_ var, job, search.first.order, ticket);
    shm_end(aTHX_ var, code);
    shm_show(aTHX_ job);
    return there;
}

/* The longest time until a waiter notices that a process with a job has died: nobody tells it. */
#define SHM_QUEUE_LOOK_NS INT64_C(250000000)

/* The size is read before looking for a job: anything pushed after that ends the wait. */
bool shm_queue_await(pTHX_ shm_var_t *var, SV *job, SV *ticket, SV *seconds)
{
    int64_t timeout = shm_timeout(aTHX_ seconds), deadline = STORE_FOREVER;
    bool    begun = false;
    for (;;) {
        bool    some = shm_array_size(aTHX_ var) > 0, used = store_queue_is_used(var->var);
        int64_t until;
        int     code;
        if ((some || used) && shm_queue_take(aTHX_ var, job, ticket)) return true;
        if (timeout == 0) return false;
        if (!begun) deadline = store_deadline(timeout);
        begun = true;
        if (deadline != STORE_FOREVER && store_deadline(0) >= deadline) return false;
        until = used ? store_deadline(SHM_QUEUE_LOOK_NS) : deadline;
        if (deadline != STORE_FOREVER && until > deadline) until = deadline;
        SHM_UNINTERRUPTED(var, code, store_wait_change(shm_store_of(aTHX_ var), until));
        if (code != STORE_OK && code != STORE_TIMEOUT) shm_fail(aTHX_ var, code, "wait");
    }
}

/* End the reservation (false: there is none with that ticket any more), or put the element back to the
 * head. */
bool shm_queue_end(pTHX_ shm_var_t *var, SV *ticket, bool back)
{
    store_reservation_t reservation;
    store_value_t       value;
    SV                 *job  = sv_newmortal();
    int                 code = STORE_OK;
    (void)shm_store_of(aTHX_ var);
    if (!shm_read_ticket(aTHX_ ticket, &reservation)) croak("'%" SVf "' is not a ticket that reserve() gave", SVfARG(ticket));
    shm_begin(aTHX_ var, NULL);
    if (back) code = shm_queue_fetch(aTHX_ var, &reservation, job);
    if (code == STORE_OK) code = store_queue_drop(var->var, &reservation);
    if (code == STORE_OK && back) {
        shm_encode(aTHX_ job, &value);
        code = store_array_splice(var->var, 0, 0, &value, 1);
    }
    shm_end(aTHX_ var, code == STORE_ABSENT ? (int)STORE_OK : code);
    return code == STORE_OK;
}

static void shm_note_reservation(const store_reservation_t *reservation, void *context)
{
    dTHX;
    av_push((AV *)context, newSVpvn((const char *)reservation, sizeof *reservation));
}

static void shm_set(pTHX_ HV *hv, const char *key, SV *value)
{
    (void)hv_store(hv, key, (I32)strlen(key), value, 0);
}

void shm_queue_list(pTHX_ shm_var_t *var)
{
    AV     *list = (AV *)sv_2mortal((SV *)newAV()), *jobs = (AV *)sv_2mortal((SV *)newAV());
    SSize_t i;
    int     code;
    dSP;
    shm_begin(aTHX_ var, NULL);
    code = store_queue_each(var->var, shm_note_reservation, list);
    for (i = 0; code == STORE_OK && i <= av_len(list); i++) {
        store_reservation_t reservation;
        HV                 *one = newHV();
        SV                 *job = newSV(0), *ticket = newSV(0);
        av_push(jobs, SvREFCNT_inc_simple_NN(job));
        XPUSHs(sv_2mortal(newRV_noinc((SV *)one)));
        memcpy(&reservation, SvPVX_const(AvARRAY(list)[i]), sizeof reservation);
        shm_set(aTHX_ one, "job", job);
        shm_set(aTHX_ one, "ticket", ticket);
        shm_set(aTHX_ one, "pid", newSVuv((UV)store_owner_pid(reservation.owner)));
        shm_set(aTHX_ one, "since", newSVnv((NV)reservation.since_ns / 1e9));
        shm_set(aTHX_ one, "dead", newSVuv(store_owner_is_dead(var->store, reservation.owner) ? 1 : 0));
        shm_set(aTHX_ one, "order", newSVuv((UV)reservation.order));
        shm_write_ticket(aTHX_ ticket, &reservation);
        code = shm_queue_fetch(aTHX_ var, &reservation, job);
    }
    PUTBACK;
    shm_end(aTHX_ var, code);
    for (i = 0; i <= av_len(jobs); i++) shm_show(aTHX_ AvARRAY(jobs)[i]);
}
