/* pool.pml - the slot protocol of pool.h, for the model checker spin.
 *
 * Each access to shared memory is a step of its own, and a process may be killed between
 * any two steps. The model is sequentially consistent: it says nothing about memory
 * orders, which are tested elsewhere.
 *
 * One scenario a build, so that each can be explored fully (see ./run):
 *   -DSLOTS     owner words: alloc, free, guards, adopt, disown, recovery, callbacks
 *   -DBATCH     alloc_n of both slots against single allocations
 *   -DINDEX     the "full" bit of a group
 *   -DWAIT      together with -DBATCH or -DINDEX: waiting for slots
 * -DPROCESSES=n, -DCRASHES=n: how many processes there are, how many are killed.
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
bool closed;                            /* the index, the "full" bit of the group */
byte waiting;                           /* 0, or ONE, or ONE | MANY */
#define ONE  1                          /* somebody may be asleep, ... */
#define MANY 2                          /* ... and want more than one slot */

bool dead[IDS];
bool asleep[IDS];                       /* in the futex's queue, ... */
byte wants[IDS];                        /* ... for so many slots */

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

/* The load of `waiting` in pool_free. The ticket counts in the same word as the flags
 * and is not cleared with them, so that an old value never comes back. */
inline look_waiting() {
        d_step { w = waiting; ticket_read[me] = (w -> SAME : NOTHING) }
}

#ifndef BROKEN_COUNT

inline take_ticket(many) {
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
                fi
        }
}

#define enter_table()  skip
#define leave_table()  skip

#else
/* Tickets are a count which starts again at 0. There is a table of waiters (a bit for
 * each), and to be kind it is read in the same step as the count. */
byte table;
#define enter_table()  table = table | (1 << me)
#define leave_table()  table = table & ~(1 << me)

inline take_ticket(many) {
        waiting < 7 -> waiting++
}

inline clear_waiting() {
        d_step {
                if
                :: table == 0 && waiting == w -> waiting = 0
                :: else
                fi
        }
}
#endif

/* pool_i_wake. `waiting` was read before `event` moves: whoever has an older ticket is
 * asleep and can be woken, or sees `event` move and does not fall asleep. So if nobody
 * was woken and no ticket taken since, nobody sleeps, and the flags may go. This does
 * not rest on the table of waiters, which the model therefore leaves out. */
inline wake(all) {
        if
        :: w ->
                d_step { each_process(moves(event_read[k])) }
                atomic {
                        woken = false;
                        if
                        :: all || (w & MANY) ->
                                each_process(woken = woken || asleep[k]; asleep[k] = false)
                        :: else ->
                                if
                                :: asleep[1] -> asleep[1] = false; woken = true
                                :: asleep[2] -> asleep[2] = false; woken = true
                                :: asleep[3] -> asleep[3] = false; woken = true
#if PROCESSES > 3
                                :: asleep[4] -> asleep[4] = false; woken = true
#endif
                                :: else
                                fi
                        fi
                }
                if
                :: !woken -> clear_waiting()
                :: else
                fi
        :: else
        fi;
        d_step { w = 0; woken = false; ticket_read[me] = NOTHING }
}

inline look_and_wake(all) {
#ifdef WAIT
        look_waiting();
        wake(all)
#else
        skip
#endif
}

/* ---- the index --------------------------------------------------------------------- */

/* pool_i_mark_open, after a release */
inline mark_open() {
#ifdef INDEX
        if
        :: closed -> closed = false
        :: else
        fi
#else
        skip
#endif
}

/* The second look of pool_i_mark_full, and recovery's check of the index. Others may
 * have fallen asleep because the bit hid free slots from them: all are woken. */
inline open_if_free() {
        if
        :: owner[0] == FREE -> got = true
        :: else ->
                if
                :: owner[1] == FREE -> got = true
                :: else
                fi
        fi;
        if
        :: got ->
                d_step { closed = false; got = false }
#ifndef BROKEN_SILENT_UNDO
                look_and_wake(true)
#endif
        :: else
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

/* Only recovery, free and their like tell a BUSY slot from an allocated one. Where this
 * does not matter a claim is an allocation, and the model smaller. */
#if defined(SLOTS) || defined(BATCH)
#define CLAIMED (me | BUSY)
#else
#define CLAIMED me
#endif

/* pool_i_claim */
inline claim(s) {
        d_step {
                if
                :: owner[s] == FREE ->
                        assert(holder[s] == FREE);
                        holder[s] = CLAIMED;
#ifndef BROKEN_TAKEN_FIRST
                        owner[s] = CLAIMED;
#else
                        owner[s] = NOBODY | BUSY;
#endif
                        got = true
                :: else -> got = false
                fi
        }
#ifdef BROKEN_TAKEN_FIRST
        if
        :: got -> owner[s] = CLAIMED
        :: else
        fi
#endif
}

/* A plain store is right only while nobody else may touch the slot. */
#define exclusive(s) (owner[s] == (me | BUSY) && holder[s] == (me | BUSY))

inline store_owner(s, new) {
        d_step { assert(exclusive(s)); owner[s] = new; holder[s] = new }
}

inline cas_owner(s, old, new) {
        d_step {
                if
                :: owner[s] == (old) -> owner[s] = new; holder[s] = new; got = true
                :: else -> got = false
                fi
        }
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

/* pool_free */
inline free(s) {
        o = owner[s];
        if
        :: o != FREE && !(o & BUSY) ->
#ifdef BROKEN_LOOK_EARLY
                look_waiting();
#endif
                cas_owner(s, o, FREE);
                if
                :: got ->
                        mark_open();
#ifndef BROKEN_LOOK_EARLY
                        look_and_wake(false)
#else
                        wake(false)
#endif
                :: else
                fi
        :: else
        fi;
        d_step { o = 0; got = false }
}

/* A free of what is exclusively ours. */
inline give_back(s) {
        store_owner(s, FREE);
        mark_open();
        look_and_wake(false)
}

/* pool_free_generation; `gen` is what is remembered of uses[s]. `got`: it was freed. */
inline free_generation(s, gen) {
        cas_owner(s, me, me | BUSY);
        if
        :: got ->
                if
                :: gen == SAME -> give_back(s)
                :: else        -> store_owner(s, me); got = false
                fi
        :: else
        fi
}

/* ---- recovery ---------------------------------------------------------------------- */

/* pool_recover for one slot */
inline recover_slot(s) {
        o = owner[s];
        if
        :: dead[pid(o)] -> cas_owner(s, o, FREE)
        :: else
        fi;
        d_step { o = 0; got = false }
}

/* The same with a callback. The callback may itself free the slot and allocate it again:
 * then it is not for recovery to free, which only the generation can tell. */
inline recover_slot_calling(s) {
        d_step {
                o = owner[s];
                stale_slot[me] = s;
                stale_gen[me] = (dead[pid(o)] -> SAME : NOTHING)
        }
        if
        :: stale_gen[me] ->
                cas_owner(s, o, me);
                if
                :: got ->
                        if
                        :: skip
                        :: free(s);
                           claim(s);
                           if
                           :: got -> finish(s, false); anew = true
                           :: else
                           fi
                        fi;
#ifndef BROKEN_CALLBACK
                        free_generation(s, stale_gen[me]);
#else
                        cas_owner(s, me, FREE);
#endif
                        assert(!(got && anew))
                :: else
                fi
        :: else
        fi;
        d_step { o = 0; got = false; anew = false; stale_slot[me] = 0; stale_gen[me] = NOTHING }
}

/* pool_recover. It repairs the index and wakes even if no slot was stale: somebody may
 * have died between a release and the wake that it owed. */
inline recover() {
#ifdef CALLBACK
        recover_slot_calling(0);
        recover_slot_calling(1);
#else
        recover_slot(0);
        recover_slot(1);
#endif
#ifdef INDEX
        if
        :: closed -> open_if_free()
        :: else
        fi;
#endif
        look_and_wake(true)
}

/* ---- allocating -------------------------------------------------------------------- */

/* pool_i_take: `got` and the slot `s`. */
inline take() {
        got = false;
#ifdef INDEX
        if
        :: closed
        :: else ->
#else
        if
        :: true ->
#endif
                claim(0);
                if
                :: got
                :: else ->
                        claim(1);
                        if
                        :: got -> s = 1
                        :: else ->
#ifdef INDEX
                                mark_full()
#endif
                        fi
                fi
        fi;
        if
        :: got -> finish(s, false); s = 0
        :: else
        fi
}

/* A failed search looks at the next slot without believing the index. */
inline audit() {
        if
        :: !got ->
                claim(cursor);
                cursor = 1 - cursor
        :: else
        fi
}

/* pool_alloc_n(2), one attempt */
inline take_both() {
        claim(0);
        if
        :: got ->
                claim(1);
                if
                :: got -> finish(0, false); finish(1, false)
                :: else -> give_back(0)
                fi
        :: else ->
                claim(1);
                if
                :: got -> give_back(1); got = false
                :: else
                fi
        fi
}

/* A batch that waits counts first: taking and giving back wakes others. */
inline take_both_if_free() {
        got = false;
        if
        :: owner[0] == FREE ->
                if
                :: owner[1] == FREE -> take_both()
                :: else
                fi
        :: else
        fi
}

/* pool_i_round again and again, until there is a slot or the caller loses patience: its
 * time is up, or a signal handler dies. It may have been woken for a slot by then, and
 * owes that wake to the next waiter. */
inline wait() {
        do
        :: event_read[me] = SAME;
           enter_table();
           take_ticket(many);
           if
           :: many -> take_both_if_free()
           :: else -> take();
#ifdef AUDIT
                audit()
#endif
           fi;
           if
           :: got -> d_step { got = false; event_read[me] = NOTHING }
              leave_table();
              break
           :: else
           fi;
           d_step {                             /* futex_wait */
                if
                :: event_read[me] == SAME -> asleep[me] = true; wants[me] = (many -> 2 : 1)
                :: else
                fi;
                event_read[me] = NOTHING
           }
end:       !asleep[me];
           leave_table();
           if
           :: true
           :: true ->
#ifndef BROKEN_LEAVE
                look_and_wake(false);
#endif
                break
           fi
        od;
        d_step { wants[me] = 0; many = false }
}

/* ---- processes --------------------------------------------------------------------- */

inline any_slot() {
        if
        :: s = 0
        :: s = 1
        fi
}

proctype process(byte me) {
        byte o, s, w;
        bool got, woken, anew, many, cursor;
        {
                do
#ifdef SLOTS
                :: any_slot();
                   claim(s);
                   if
                   :: got -> got = false;
                        if
                        :: finish(s, true)
                        :: finish(s, false)
                        fi
                   :: else
                   fi;
                   s = 0
                :: guard_gen[me] ->
                   s = guard_slot[me];
                   free_generation(s, guard_gen[me]);
                   d_step { got = false; guard_gen[me] = NOTHING; guard_slot[me] = 0; s = 0 }
                :: any_slot();                          /* pool_adopt, pool_disown */
                   o = owner[s];
                   if
                   :: o != FREE && !(o & BUSY) ->
                        if
                        :: cas_owner(s, o, me)
                        :: cas_owner(s, o, NOBODY)
                        fi
                   :: else
                   fi;
                   d_step { o = 0; got = false; s = 0 }
#endif
#if defined(INDEX) || defined(BATCH)
                :: take();
                   got = false
#endif
#ifdef BATCH
                :: take_both();
                   got = false
#endif
#ifdef WAIT
                :: if
#ifdef BATCH
                   :: many = true
#endif
                   :: many = false
                   fi;
                   wait()
#endif
                :: any_slot();
                   free(s);
                   s = 0
#if CRASHES > 0 && !defined(WAIT)
                :: recover()
#endif
                :: break
                od
        } unless {
                dead[me] -> o = 0; s = 0; w = 0;
                got = false; woken = false; anew = false; many = false; cursor = 0
        }
}

/* Kills processes at any time, also when they have stopped. */
proctype fate() {
        byte me, crashes;
        do
        :: crashes < CRASHES ->
                atomic {
                        if
                        :: !dead[1] -> me = 1
                        :: !dead[2] -> me = 2
                        :: !dead[3] -> me = 3
                        fi;
                        crashes++;
                        dead[me] = true;
                        asleep[me] = false;
                        wants[me] = 0;
                        event_read[me] = NOTHING;
                        ticket_read[me] = NOTHING;
                        guard_gen[me] = NOTHING;
                        guard_slot[me] = 0;
                        stale_gen[me] = NOTHING;
                        stale_slot[me] = 0;
                        me = 0
                }
        :: break
        od
}

/* ---- the promises ------------------------------------------------------------------ */

#define slot_is_sound(s) \
        owner[s] == holder[s] && !(owner[s] & BUSY) && !dead[owner[s]] && \
        !(closed && owner[s] == FREE)

#define free_slots ((owner[0] == FREE) + (owner[1] == FREE))

#define nobody_sleeps_in_vain \
        (!(asleep[1] && free_slots >= wants[1]) && \
         !(asleep[2] && free_slots >= wants[2]) && \
         !(asleep[3] && free_slots >= wants[3]))

/* Everybody has stopped, died or sleeps whenever init gets to move: `timeout` is true
 * when nobody else can. */
init {
        byte o, s, w, me = SURVIVOR;
        bool got, woken, anew;

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
        assert(slot_is_sound(0) && slot_is_sound(1));
        assert(nobody_sleeps_in_vain);
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
        assert(slot_is_sound(0) && slot_is_sound(1));
        assert(nobody_sleeps_in_vain)
#endif
}
