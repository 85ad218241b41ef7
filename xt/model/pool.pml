/* pool.pml - the slot protocol of pool.h, for the model checker spin.
 *
 * Each access to shared memory is one step, and a process may be killed between any two
 * steps. The model is sequentially consistent: it says nothing about memory orders,
 * which are tested elsewhere.
 *
 * One scenario a build, so that each can be explored fully (see ./run):
 *   -DSLOTS     owner words: alloc, free, guards, adopt, disown, recovery with callback
 *   -DBATCH     alloc_n of both slots against single allocations
 *   -DINDEX     the "full" bit of a group
 *   -DWAIT      together with -DBATCH or -DINDEX: waiting for slots
 * -DPROCESSES=n, -DCRASHES=n: how many processes there are, how many may be killed.
 *
 * A process goes on choosing operations for as long as it likes and may stop after any:
 * histories have no bound. Counters that never repeat in practice (`event`, `uses`, the
 * ticket in `waiting`) would then be infinite. The protocol only asks whether they moved
 * since they were read, so the model keeps that answer for each reader.
 *
 * -DBROKEN_... is the protocol with one mistake, which spin has to find.
 */
#ifndef PROCESSES
#define PROCESSES 3
#endif
#ifndef CRASHES
#define CRASHES 2
#endif

/* Processes are 1 to PROCESSES. Other values of an owner word: */
#define FREE      0
#define SURVIVOR  (PROCESSES + 1)       /* runs the last recovery, is never killed */
#define NOBODY    (PROCESSES + 2)       /* owns disowned slots, is never dead */
#define IDS       (PROCESSES + 3)
#define BUSY      8                     /* bit 63 of the word */
#define pid(o)    ((o) & 7)

/* Two slots of one group: groups share nothing that the protocol reads. */
byte owner[2];
bool closed;                            /* the "full" bit of the group */
byte waiting;                           /* 0, or ONE, or ONE | MANY */
#define ONE  1                          /* somebody may be asleep, ... */
#define MANY 2                          /* ... and want more than one slot */

bool dead[IDS];
bool asleep[IDS];                       /* in the queue of the futex */
bool greedy[IDS];                       /* wants both slots */
chan kill[IDS] = [0] of { bit };

/* What a process remembers of a counter. */
#define NOTHING 0
#define SAME    1                       /* it has not moved since */
#define MOVED   2
byte event_read[IDS];                   /* a waiter, of `event` */
byte ticket_read[IDS];                  /* a waker, of `waiting` */
byte guard_gen[IDS], guard_slot[IDS];   /* a guard, of uses[slot] */
byte stale_gen[IDS], stale_slot[IDS];   /* a recovery, of uses[slot] */

/* Who holds a slot, going by what the calls promised. The protocol never reads it; its
 * steps are judged by it. */
byte holder[2];

byte k;                                 /* of loops within one step; 0 between steps */

#define each_process(step) \
        k = 0; do :: k < IDS -> step; k++ :: else -> break od; k = 0
#define moves(note)           if :: note == SAME -> note = MOVED :: else fi
#define moves_of(s, at, note) if :: at == s && note == SAME -> note = MOVED :: else fi

/* ---- waking ------------------------------------------------------------------------ */

#ifndef BROKEN_COUNT

/* The ticket counts in the same word as the flags and is not cleared with them, so that
 * an old value never comes back. */
inline take_ticket() {
        d_step {
                waiting = waiting | (many -> ONE | MANY : ONE);
                each_process(moves(ticket_read[k]))
        }
}

inline clear_waiting() {
        d_step {
                if
                :: ticket_read[me] == SAME -> waiting = 0; each_process(moves(ticket_read[k]))
                :: else
                fi;
                w = 0; ticket_read[me] = NOTHING
        }
}

#else
/* Tickets are a count that starts again at 0. There is a table of waiters (a bit for
 * each), and to be kind it is read in the same step as the count. */
byte table;

inline take_ticket() {
        d_step { waiting < 7 -> waiting++ }
}

inline clear_waiting() {
        d_step {
                if
                :: table == 0 && waiting == w -> waiting = 0
                :: else
                fi;
                w = 0; ticket_read[me] = NOTHING
        }
}
#endif

#define somebody_asleep (asleep[1] || asleep[2] || asleep[3] || asleep[IDS - 3])

/* pool_i_wake, with what was seen in `waiting` before `event` moves. Whoever has an older
 * ticket is asleep and can be woken, or sees `event` move and does not fall asleep. So if
 * nobody was woken and no ticket taken since, nobody sleeps, and the flags may go. This
 * does not rest on the table of waiters, which the model therefore leaves out. */
inline wake(all) {
        d_step { each_process(moves(event_read[k])) }
        atomic {                                        /* futex_wake */
                if
                :: !somebody_asleep
                :: somebody_asleep && !(all || (w & MANY)) ->
                        if
                        :: asleep[1] -> asleep[1] = false
                        :: asleep[2] -> asleep[2] = false
                        :: asleep[3] -> asleep[3] = false
#if PROCESSES > 3
                        :: asleep[4] -> asleep[4] = false
#endif
                        fi;
                        w = 0; ticket_read[me] = NOTHING
                :: somebody_asleep && (all || (w & MANY)) ->
                        each_process(asleep[k] = false);
                        w = 0; ticket_read[me] = NOTHING
                fi
        }
        if
        :: w  -> clear_waiting()
        :: !w
        fi
}

#define see_waiting()  w = waiting; ticket_read[me] = SAME

inline look_and_wake(all) {
#ifdef WAIT
        if
        :: waiting == 0
        :: d_step { waiting -> see_waiting() }
           wake(all)
        fi
#else
        skip
#endif
}

/* ---- the index --------------------------------------------------------------------- */

/* Others may have fallen asleep because the bit hid free slots: all are woken. */
inline open_and_wake() {
        closed = false;
#ifndef BROKEN_SILENT_UNDO
#ifdef WAKE1
        look_and_wake(false)
#else
        look_and_wake(true)
#endif
#endif
}

/* The second look of pool_i_mark_full, and recovery's check of the index. */
inline open_if_free() {
        if
        :: owner[0] == FREE -> open_and_wake()
        :: owner[0] != FREE ->
                if
                :: owner[1] == FREE -> open_and_wake()
                :: owner[1] != FREE
                fi
        fi
}

/* pool_i_mark_full */
inline mark_full() {
        closed = true;
#ifndef BROKEN_NO_SECOND_LOOK
        open_if_free()
#endif
}

/* ---- slots ------------------------------------------------------------------------- */

/* Where it does not matter that a claim is not yet an allocation, it is one at once. */
#if defined(SLOTS) || defined(BATCH)
#define CLAIMED (me | BUSY)
#else
#define CLAIMED me
#endif

/* pool_i_claim; an option that can be chosen while the slot is free */
inline claim(s) {
        d_step {
                owner[s] == FREE ->
                assert(holder[s] == FREE);
                holder[s] = CLAIMED;
#ifndef BROKEN_TAKEN_FIRST
                owner[s] = CLAIMED
        }
#else
                owner[s] = NOBODY | BUSY
        }
        owner[s] = CLAIMED
#endif
}
#define taken(s) (owner[s] != FREE)

/* A plain store is right only while nobody else may touch the slot. */
#define exclusive(s) (owner[s] == (me | BUSY) && holder[s] == (me | BUSY))

inline store_owner(s, new) {
        d_step { assert(exclusive(s)); owner[s] = new; holder[s] = new }
}

/* pool_i_finish. A guard has to read the generation here, while nobody can move it. */
inline finish(s, guard) {
#ifdef SLOTS
        d_step {                                /* uses[s]++ */
                assert(exclusive(s));
                each_process(moves_of(s, guard_slot[k], guard_gen[k]);
                             moves_of(s, stale_slot[k], stale_gen[k]));
                if
                :: guard -> guard_slot[me] = s; guard_gen[me] = SAME
                :: else
                fi
        }
#endif
#if defined(SLOTS) || defined(BATCH)
        store_owner(s, me)
#else
        skip
#endif
}

/* What follows each release of a slot: pool_i_mark_open, pool_i_wake. */
inline released() {
#ifdef INDEX
        if
        :: closed -> closed = false
        :: !closed
        fi;
#endif
        look_and_wake(false)
}

#define allocated(s)  (owner[s] != FREE && !(owner[s] & BUSY))

/* The CAS of owner[s] from `o`, as two options. */
inline cas_owner(s, new) {
        d_step { owner[s] == o -> owner[s] = new; holder[s] = new; o = 0 }
}
#define cas_fails(s)  d_step { owner[s] != o -> o = 0 }

/* pool_free */
inline free(s) {
        if
        :: !allocated(s)
        :: d_step { allocated(s) -> o = owner[s] }
#ifndef BROKEN_LOOK_EARLY
           if
           :: cas_owner(s, FREE); released()
           :: cas_fails(s)
           fi
#else
           if
           :: waiting == 0 ->
                if
                :: cas_owner(s, FREE)
                :: cas_fails(s)
                fi
           :: d_step { waiting -> see_waiting() }
                if
                :: cas_owner(s, FREE); wake(false)
                :: cas_fails(s); d_step { w = 0; ticket_read[me] = NOTHING }
                fi
           fi
#endif
        fi
}

/* A release of what is exclusively ours. */
inline give_back(s) {
        store_owner(s, FREE);
        released()
}

/* pool_free_generation, `gen` being what is remembered of uses[s] */
inline free_generation(s, gen) {
        if
        :: d_step { owner[s] == me -> owner[s] = me | BUSY; holder[s] = me | BUSY }
           if
           :: gen == SAME -> assert(!anew); give_back(s)
           :: gen != SAME -> store_owner(s, me)
           fi
        :: owner[s] != me
        fi
}

/* ---- recovery ---------------------------------------------------------------------- */

#define stale(s) (dead[pid(owner[s])])

/* pool_recover for one slot */
inline recover_slot(s) {
        if
        :: !stale(s)
        :: d_step { stale(s) -> o = owner[s] }
           if
           :: cas_owner(s, FREE)
           :: cas_fails(s)
           fi
        fi
}

/* The same with a callback, which may itself free the slot and allocate it anew. Then it
 * is not for recovery to free, as only the generation can tell. */
inline recover_slot_calling(s) {
        if
        :: !stale(s)
        :: d_step { stale(s) -> o = owner[s]; stale_slot[me] = s; stale_gen[me] = SAME }
           if
           :: cas_owner(s, me);
                if
                :: true
                :: free(s);
                   if
                   :: claim(s); finish(s, false); anew = true
                   :: taken(s)
                   fi
                fi;
#ifndef BROKEN_CALLBACK
                free_generation(s, stale_gen[me]);
#else
                if
                :: d_step { owner[s] == me -> assert(!anew); owner[s] = FREE; holder[s] = FREE }
                :: owner[s] != me
                fi;
#endif
           :: cas_fails(s)
           fi;
           d_step { anew = false; stale_slot[me] = 0; stale_gen[me] = NOTHING }
        fi
}

/* pool_recover. It repairs the index and wakes even if no slot was stale: somebody may
 * have died between a release and the wake that was due. */
inline recover() {
#ifdef SLOTS
        recover_slot_calling(0);
#else
        recover_slot(0);
        recover_slot(1);
#endif
#ifdef INDEX
        if
        :: closed -> open_if_free()
        :: !closed
        fi;
#endif
        look_and_wake(true)
}

/* ---- allocating -------------------------------------------------------------------- */

/* pool_i_take */
inline take() {
#ifdef INDEX
        if
        :: closed
        :: !closed ->
#else
        if
        :: true ->
#endif
                if
                :: claim(0); finish(0, false); got = true
                :: taken(0) ->
                        if
                        :: claim(1); finish(1, false); got = true
                        :: taken(1) ->
#ifdef INDEX
                                mark_full()
#endif
                        fi
                fi
        fi
}

/* A failed search looks at the next slot without believing the index. */
inline audit() {
        if
        :: got
        :: !got ->
                if
                :: claim(cursor); got = true
                :: taken(cursor)
                fi;
                cursor = 1 - cursor
        fi
}

/* pool_alloc_n(2), one attempt */
inline take_both() {
        if
        :: claim(0);
                if
                :: claim(1); finish(0, false); finish(1, false); got = true
                :: taken(1) -> give_back(0)
                fi
        :: taken(0) ->
                if
                :: claim(1); give_back(1)
                :: taken(1)
                fi
        fi
}

/* A batch that waits counts first: taking and giving back would wake the others. */
inline take_both_if_free() {
        if
        :: taken(0)
        :: !taken(0) ->
                if
                :: taken(1)
                :: !taken(1) -> take_both()
                fi
        fi
}

/* pool_i_round again and again, until there is a slot or the caller loses patience: its
 * time is up, or a signal handler dies. It may have been woken for a slot by then, and
 * owes that wake to the next waiter. */
inline wait() {
        do
        :: event_read[me] = SAME;
#ifdef BROKEN_COUNT
           table = table | (1 << me);
#endif
           take_ticket();
#ifdef BATCH
           if
           :: many  -> take_both_if_free()
           :: !many -> take()
           fi;
#else
           take();
#endif
#ifdef AUDIT
           audit();
#endif
           if
           :: d_step { got -> got = false; event_read[me] = NOTHING }
#ifdef BROKEN_COUNT
              table = table & ~(1 << me);
#endif
              break
                                                        /* futex_wait */
           :: d_step { !got && event_read[me] == MOVED -> event_read[me] = NOTHING }
           :: d_step { !got && event_read[me] == SAME -> event_read[me] = NOTHING;
                       asleep[me] = true; greedy[me] = many }
end:          d_step { !asleep[me] -> greedy[me] = false }
           fi;
#ifdef BROKEN_COUNT
           table = table & ~(1 << me);
#endif
           if
           :: true
           :: true ->
#ifndef BROKEN_LEAVE
                look_and_wake(false);
#endif
                break
           fi
        od;
        many = false
}

/* ---- processes --------------------------------------------------------------------- */

proctype process(byte me) {
        byte o, w;
        bool got, anew, many, cursor;
        {
                do
#ifdef SLOTS
                :: claim(0); finish(0, true)
                :: claim(0); finish(0, false)
                :: d_step { guard_gen[me] } free_generation(guard_slot[me], guard_gen[me]);
                   d_step { guard_gen[me] = NOTHING; guard_slot[me] = 0 }
                :: d_step { allocated(0) -> o = owner[0] }      /* pool_adopt, pool_disown */
                        if
                        :: cas_owner(0, me)
                        :: cas_owner(0, NOBODY)
                        :: cas_fails(0)
                        fi
#endif
#if defined(INDEX) || defined(BATCH)
                :: take(); got = false
#endif
#ifdef BATCH
                :: take_both(); got = false
#endif
#ifdef WAIT
                :: wait()
#ifdef BATCH
                :: many = true
#endif
#endif
                :: free(0)
#ifndef SLOTS
                :: free(1)
#endif
#if CRASHES > 0 && !defined(WAIT)
                :: recover()
#endif
                :: break
                od;
end_stopped:    false
        } unless {
                atomic {
                        kill[me]?_ ->
                        dead[me] = true;
                        o = 0; w = 0; got = false; anew = false; many = false; cursor = 0;
                        asleep[me] = false;
                        greedy[me] = false;
                        event_read[me] = NOTHING;
                        ticket_read[me] = NOTHING;
                        guard_gen[me] = NOTHING;
                        guard_slot[me] = 0;
                        stale_gen[me] = NOTHING;
                        stale_slot[me] = 0
                }
        }
}

/* Kills processes at any time, also when they have stopped. */
proctype fate() {
        byte victim = 1;
        do
        :: victim <= CRASHES -> kill[victim]!0; victim++
        :: break
        od
}

/* ---- the promises ------------------------------------------------------------------ */

/* Free and not hidden, or held by somebody who lives, lived up to now and knows of it. */
#define sound(s) \
        (owner[s] == holder[s] && !(owner[s] & BUSY) && !dead[owner[s]] && \
         !(closed && owner[s] == FREE))

#define in_vain(p) \
        (asleep[p] && (owner[0] == FREE || owner[1] == FREE) && \
         !(greedy[p] && (owner[0] != FREE || owner[1] != FREE)))

#define nobody_sleeps_in_vain \
        !(in_vain(1) || in_vain(2) || in_vain(3) || in_vain(IDS - 3))

/* `timeout` is true when nobody else can move: all have stopped, died or sleep. */
init {
        byte o, w, me = SURVIVOR;
        bool got, anew;

        atomic {
                run process(1);
                run process(2);
                run process(3);
#if PROCESSES > 3
                run process(4);
#endif
                run fate()
        }

        timeout;
#if CRASHES == 0
        assert(sound(0) && sound(1));
        assert(nobody_sleeps_in_vain)
#else
#ifdef AUDIT
        /* The slices of the sleepers end, twice: an audit has then seen each slot. */
        d_step { each_process(asleep[k] = false) }
        timeout;
        d_step { each_process(asleep[k] = false) }
        timeout;
        assert(nobody_sleeps_in_vain);
#endif
        recover();
        timeout;
        assert(sound(0) && sound(1));
        assert(nobody_sleeps_in_vain)
#endif
}
