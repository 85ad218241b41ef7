/* pool.pml - the slot protocol of pool.h, for the model checker spin.
 *
 * Each access to shared memory is a step of its own, and a process may be killed between
 * any two steps. The model is sequentially consistent: it says nothing about memory
 * orders, which are tested elsewhere.
 *
 * Three processes go on choosing operations for as long as they like and may stop after
 * any: histories have no bound. A fourth, which nobody kills, recovers in the end.
 *
 * One scenario a build, so that each can be explored fully (see ./run):
 *   -DSLOTS     owner words: alloc, free, guards, adopt, disown, recovery with callback
 *   -DBATCH     alloc_n of both slots against single allocations
 *   -DINDEX     the "full" bit of a group; with -DUPPER also that of a level above
 *   -DWAIT      together with -DBATCH or -DINDEX: waiting for slots
 * -DCRASHES=n: up to n processes are killed, and unless n is 0 at least one.
 *
 * Counters that never repeat in practice (`event`, `uses`, the ticket in `waiting`) would
 * make the model infinite. The protocol only asks whether they moved since they were read,
 * so the model keeps that answer for each reader.
 *
 * -DBROKEN_... is the protocol with one mistake, which spin has to find.
 */
#ifndef CRASHES
#define CRASHES 2
#endif

/* Owner words: FREE, or a process (1 to 3, SURVIVOR) or NOBODY, perhaps with BUSY. */
#define FREE      0
#define SURVIVOR  4
#define NOBODY    5                     /* owns disowned slots and is never dead */
#define IDS       6
#define BUSY      8
#define pid(o)    ((o) & 7)

/* Two slots of one group: groups share nothing that the protocol reads, and slots only
 * what is said of their group. */
byte owner[2];
bool closed;                            /* the "full" bit of the group, ... */
bool upper;                             /* ... and of the word that this one bit fills */
byte waiting;                           /* 0, or ONE, or ONE | MANY */
#define ONE  1                          /* somebody may be asleep, ... */
#define MANY 2                          /* ... and want more than one slot */

/* What a process remembers of a counter. */
#define NOTHING 0
#define SAME    1                       /* it has not moved since */
#define MOVED   2

#ifdef WAIT
byte event_read[IDS];                   /* a waiter, of `event` */
byte ticket_read[IDS];                  /* a waker, of `waiting` */
byte asleep[IDS];                       /* 0, or ONE or MANY: in the queue of the futex */
byte audited = 2;                       /* the slot that audits look at; 2: none */
#endif
#ifdef SLOTS
byte guard_gen[IDS];                    /* a guard, of uses[0] */
byte stale_gen[IDS];                    /* a recovery, of uses[0] */
#endif

/* Who has a slot, going by what the calls promised. The protocol never reads it; its steps
 * are judged by it. */
byte holder[2];

bool dead[IDS];
bool recovered;                         /* after the last death */
byte may_stop = 1;                      /* they stop in order: they are all alike */
#if CRASHES > 0
chan kill = [0] of { byte };
#endif

byte k;                                 /* of loops within one step; 0 between steps */
#define each_process(step) \
        k = 1; do :: k <= SURVIVOR -> step; k++ :: else -> break od; k = 0
#define moves(note) \
        if :: note == SAME -> note = MOVED :: else fi

/* ---- waking ------------------------------------------------------------------------ */

#ifdef BROKEN_COUNT
/* Tickets are a count that starts again at 0. There is a table of waiters (a bit for
 * each), and to be kind it is read in one step. */
byte table;
#define ENOUGH 7
#endif

/* pool_i_draw_ticket. The ticket counts in the same word as the flags and is not cleared
 * with them, so that an old value never comes back. */
inline draw_ticket() {
#ifndef BROKEN_COUNT
        d_step { waiting = waiting | ONE | want; each_process(moves(ticket_read[k])) }
#else
        table = table | (1 << me);
end_enough:
        d_step { waiting < ENOUGH -> waiting++ }
#endif
}

#define see_waiting     w = waiting; ticket_read[me] = SAME
#define leave_futex(p)  asleep[p] = 0; woken = true
#define wake_is_done    w = 0; woken = false; all = false; ticket_read[me] = NOTHING

/* pool_i_forget_waiters */
inline clear_waiting() {
#ifndef BROKEN_COUNT
        d_step {
                if
                :: ticket_read[me] == SAME ->
                        waiting = 0;
                        each_process(moves(ticket_read[k]))
                :: else
                fi;
                wake_is_done
        }
#else
        if
        :: table != 0
        :: table == 0 ->
                if
                :: d_step { waiting == w -> waiting = 0 }
                :: waiting != w
                fi
        fi;
        d_step { wake_is_done }
#endif
}

/* Those who want one slot and those who want more wait with different bits of the futex.
 * Otherwise a slot's only wake could go to somebody whom one slot does not help. */
#ifndef BROKEN_ONE_QUEUE
#define wants_one(p)  (asleep[p] == ONE)
#define wants_many(p) (asleep[p] == MANY)
#else
#define wants_one(p)  asleep[p]
#define wants_many(p) false
#endif

/* pool_i_wake, with what was seen in `waiting` before `event` moves. Whoever has an older
 * ticket is asleep and can be woken, or sees `event` move and does not fall asleep. So if
 * nobody was woken and no ticket drawn since, nobody sleeps, and the flags may go. This
 * does not rest on the table of waiters, and the model has none. */
inline wake() {
        d_step { each_process(moves(event_read[k])) }
#ifdef BROKEN_SEE_LATE
        d_step { see_waiting };
#endif
        atomic {                                /* futex_wake, those who want one */
                if
                :: all  -> each_process(if :: wants_one(k) -> leave_futex(k) :: else fi)
                :: !all ->
                        if
                        :: wants_one(1) -> leave_futex(1)
                        :: wants_one(2) -> leave_futex(2)
                        :: wants_one(3) -> leave_futex(3)
                        :: else
                        fi
                fi;
                if
                :: woken && !(w & MANY) -> wake_is_done
                :: else
                fi
        }
#ifdef BATCH
        if                                      /* futex_wake, all who want more */
        :: d_step {
                w & MANY ->
                each_process(if :: wants_many(k) -> leave_futex(k) :: else fi);
                if
                :: woken -> wake_is_done
                :: else
                fi
           }
        :: !(w & MANY)
        fi;
#endif
        if
        :: w -> clear_waiting()
        :: !w
        fi
}

/* `all` or one; then `all` is false again. */
inline wake_waiters() {
#ifdef WAIT
        if
        :: d_step { waiting == 0 -> all = false }
        :: d_step { waiting -> see_waiting } wake()
        fi
#else
        all = false
#endif
}

/* ---- the index --------------------------------------------------------------------- */

#ifndef BROKEN_UPPER_WAKES_ONE
#define upper_wakes_all  all = true
#else
#define upper_wakes_all  skip
#endif

/* While the upper bit is set, those who are woken for slots that others free in this
 * group see the bit and fall asleep again. So whoever clears it wakes all. */
inline open_upper() {
#ifdef UPPER
        if
        :: upper -> d_step { upper = false; upper_wakes_all }
        :: !upper
        fi
#else
        skip
#endif
}

/* pool_i_open_from the lowest level */
inline mark_open() {
        if
        :: closed -> closed = false
        :: !closed
        fi;
        open_upper()
}

/* After a bit was taken back that should not have been set: it may have hidden several
 * free slots from several who fell asleep, so all are woken. */
inline undone() {
#ifdef BROKEN_UNDO_WAKES_NONE
        all = false
#else
#ifdef BROKEN_UNDO_WAKES_ONE
        all = false;
#endif
        wake_waiters()
#endif
}

/* The second look. `all`: a slot of the group is free, and all are to be woken. */
inline look_at_owners() {
        if
        :: d_step { owner[0] == FREE -> all = true }
        :: owner[0] != FREE ->
                if
                :: d_step { owner[1] == FREE -> all = true }
                :: owner[1] != FREE
                fi
        fi
}

/* pool_i_mark_full */
inline mark_full() {
        closed = true;
#ifndef BROKEN_NO_SECOND_LOOK
        look_at_owners();
        if
        :: all  -> mark_open(); undone()
        :: !all ->
#ifdef UPPER
                upper = true;
                if
                :: closed
                :: d_step { !closed -> all = true } open_upper(); undone()
                fi
#endif
        fi
#endif
}

/* ---- slots ------------------------------------------------------------------------- */

#define taken(s)       (owner[s] != FREE)
#define allocated(s)   (taken(s) && !(owner[s] & BUSY))
#define stale(s)       dead[pid(owner[s])]
#define is_now(s, who) owner[s] = who; holder[s] = who

/* pool_i_claim */
inline claim(s) {
        d_step {
                owner[s] == FREE ->
                assert(holder[s] == FREE);
                is_now(s, me | BUSY);
#ifdef BROKEN_TAKEN_FIRST
                owner[s] = NOBODY | BUSY
        }
        owner[s] = me | BUSY
#else
        }
#endif
}

/* A CAS. The load before it needs no step: where the CAS succeeds, the word was as it had
 * been loaded; where it fails, nothing happens. */
inline set_owner(s, cond, who) {
        d_step { cond -> is_now(s, who) }
}

/* A plain store, right only while nobody else may touch the slot. */
inline store_owner(s, who) {
        d_step {
                assert(owner[s] == (me | BUSY) && holder[s] == (me | BUSY));
                is_now(s, who)
        }
}

#ifndef WAIT
#define search_ends  skip
#elif !defined(BROKEN_COUNT)
#define search_ends  event_read[me] = NOTHING; want = 0
#else
#define search_ends  event_read[me] = NOTHING; table = table & ~(1 << me)
#endif

/* pool_i_claim and pool_i_publish, where others do not see the time between. */
inline allocate(s) {
        d_step {
                owner[s] == FREE ->
                assert(holder[s] == FREE);
                is_now(s, self);
                search_ends
        }
}

/* pool_i_announce, which follows each release of a slot */
inline announce() {
#ifdef BROKEN_WAKE_BEFORE_OPEN
        wake_waiters();
#endif
#ifdef INDEX
        if
        :: closed -> mark_open()
        :: !closed
        fi;
#endif
#ifndef BROKEN_WAKE_BEFORE_OPEN
        wake_waiters()
#endif
}

/* pool_free of either slot */
inline free() {
#ifdef BROKEN_LOOK_EARLY
        d_step { see_waiting };
#endif
        if
        :: set_owner(0, allocated(0), FREE)
        :: set_owner(1, allocated(1), FREE)
#ifdef BROKEN_LOOK_EARLY
        :: !allocated(0) && !allocated(1)
        fi;
        if
        :: w  -> wake()
        :: !w
        fi
#else
        fi;
        announce()
#endif
}

/* ---- one slot and all that can happen to it ---------------------------------------- */

#ifdef SLOTS

/* pool_i_publish. Whoever wants a guard has to read the generation here, while nobody can
 * move it. */
inline publish(guard) {
        d_step {                                /* uses[0]++ */
                assert(owner[0] == (me | BUSY) && holder[0] == (me | BUSY));
                each_process(moves(guard_gen[k]); moves(stale_gen[k]));
                guard_gen[me] = (guard -> SAME : guard_gen[me])
        }
        store_owner(0, me)
}

/* pool_free_generation */
inline free_generation(gen) {
        if
        :: set_owner(0, owner[0] == me, me | BUSY);
                if
                :: gen == SAME -> assert(!anew); store_owner(0, FREE)
                :: gen != SAME -> store_owner(0, me)
                fi
        :: owner[0] != me
        fi
}

/* pool_i_recover_slot with a callback. The callback may itself free the slot and allocate
 * it anew. Then it is not for recovery to free, as only the generation tells. */
inline recover_calling() {
        d_step { stale(0) -> is_now(0, me); stale_gen[me] = SAME }
        if
        :: true
        :: set_owner(0, allocated(0), FREE);
                if
                :: claim(0); publish(false); anew = true
                :: taken(0)
                fi
        fi;
#ifndef BROKEN_CALLBACK
        free_generation(stale_gen[me]);
#else
        if
        :: set_owner(0, owner[0] == me, FREE); assert(!anew)
        :: owner[0] != me
        fi;
#endif
        d_step { anew = false; stale_gen[me] = NOTHING }
}

#endif

/* ---- recovery ---------------------------------------------------------------------- */

/* pool_i_recover_slot */
inline recover_slot(s) {
        if
        :: set_owner(s, stale(s), FREE)
        :: !stale(s)
        fi
}

/* pool_recover. It repairs the index even if no slot was stale, and then wakes all:
 * somebody may have died between a release and the wake that was due, and nobody knows
 * how often that happened. */
inline recover() {
        recover_slot(0);
        recover_slot(1);
#ifdef INDEX
        look_at_owners();
        if
        :: all  -> mark_open()
        :: !all
        fi;
#ifdef UPPER
        if
        :: closed
        :: !closed -> upper = false
        fi;
#endif
#endif
#ifndef BROKEN_RECOVERY_WAKES_ONE
        all = true;
#else
        all = false;
#endif
        wake_waiters()
}

/* ---- allocating -------------------------------------------------------------------- */

/* pool_i_take; breaks the loop around it with a slot. */
inline take() {
#ifdef UPPER
        if
        :: upper
        :: !upper ->
#endif
#ifdef INDEX
        if
        :: closed
        :: !closed ->
#endif
                if
                :: allocate(0) -> break
                :: taken(0) ->
                        if
                        :: allocate(1) -> break
                        :: taken(1)
                        fi
                fi;
#ifdef INDEX
                mark_full()
        fi
#endif
#ifdef UPPER
        fi
#endif
}

/* pool_i_try for both slots; breaks the loop around it with them. */
inline take_both() {
        if
        :: claim(0);
                if
                :: claim(1);
                   store_owner(0, self);
                   store_owner(1, self);
                   d_step { search_ends }
                   break
                :: taken(1) -> store_owner(0, FREE)
                fi
        :: taken(0) ->
                if
                :: claim(1); store_owner(1, FREE)
                :: taken(1) -> goto beaten
                fi
        fi;
        announce();
beaten: skip
}

#ifdef WAIT

/* pool_i_search, up to its audit. Who wants both slots first looks whether they are free
 * (pool_i_enough), so as not to claim in vain. */
inline search() {
        if
        :: !want -> take()
#ifdef BATCH
        :: want ->
                if
                :: taken(0)
                :: !taken(0) ->
                        if
                        :: taken(1)
                        :: !taken(1) -> take_both()
                        fi
                fi
#endif
        fi
}

/* pool_i_audit, which found a slot and now mends the index */
inline mend() {
        mark_open();
#ifdef BROKEN_AUDIT_WAKES_NONE
        all = false;
#endif
        if
        :: all  -> wake_waiters()
        :: !all
        fi
}

/* pool_i_audit: slots that the index may hide */
inline audit() {
        if
#if CRASHES == 0
        :: true                                 /* it looks elsewhere */
        :: if
           :: allocate(0)
           :: allocate(1)
           fi;
           mend();
           break
#else                                           /* it matters only once the slices count */
        :: audited == 2
        :: audited < 2 ->
                if
                :: allocate(audited); mend(); break
                :: taken(audited)
                fi
#endif
        fi
}

/* pool_i_round again and again, until there is a slot or the caller loses patience: its
 * time is up, or a signal handler dies. It may have been woken for a slot by then, and so
 * has to search before that. (Left out where the model is large, and where dying is
 * impatience enough. Who wants many need not: all of them are woken.) */
inline wait() {
        do
        :: event_read[me] = SAME;
           draw_ticket();
           search();
#ifdef INDEX
           audit();
#endif
           if                                   /* pool_i_sleep */
           :: d_step { event_read[me] == MOVED -> event_read[me] = NOTHING }
           :: d_step {
                event_read[me] == SAME ->
                event_read[me] = NOTHING;
                asleep[me] = (want -> MANY : ONE)
              }
end_asleep:   asleep[me] == 0
           fi;
#ifdef BROKEN_COUNT
           table = table & ~(1 << me);
#endif
           if
           :: true
#if CRASHES == 0 && !defined(UPPER)
           :: want -> want = 0; break
           :: !want ->
#ifndef BROKEN_LEAVE
                take();
#endif
                break
#endif
           fi
        od
}

#endif

/* ---- processes --------------------------------------------------------------------- */

/* `self` is the owner word. Waiters do not care who has which slot, so there one word is
 * everybody's, and any slot may turn out to have been that of a process that dies. */
#ifndef WAIT
#define word(me) me
#else
#define word(me) 3

inline dies_with(s) {
        if
        :: owner[s] == self || owner[s] == (me | BUSY) -> is_now(s, me)
        :: owner[s] != (me | BUSY)
        fi
}
#endif

proctype process(byte me, self) {
        byte w, want;
        bool all, woken, anew;
        {
                do
#ifdef SLOTS
                :: claim(0); publish(true)
                :: claim(0); publish(false)
                :: guard_gen[me] -> free_generation(guard_gen[me]); guard_gen[me] = NOTHING
                :: set_owner(0, allocated(0), me)               /* pool_adopt */
                :: set_owner(0, allocated(0), NOBODY)           /* pool_disown */
                :: recover_calling()
                :: claim(1); store_owner(1, me)
#elif defined(BATCH)
                :: allocate(0)
                :: allocate(1)
#elif !defined(WAIT) || CRASHES == 0                    /* else waiters do it all */
                :: do :: take(); break od
#endif
                :: free()
#ifndef WAIT
#ifdef BATCH
                :: do :: take_both(); break od
#endif
#ifndef UPPER
                :: recover()
#else
                :: me == 1 -> recover()         /* one is enough, and it may be killed */
#endif
#else
                :: if
#ifdef BATCH
                   :: want = MANY
#endif
                   :: want = 0
                   fi;
                   wait()
#endif
                :: may_stop == me -> may_stop++; break
                od;
end_stopped:    false
        }
#if CRASHES > 0
        unless {
                atomic {
                        kill?eval(me) ->
                        dead[me] = true;
                        w = 0; want = 0; all = false; woken = false; anew = false;
#ifdef WAIT
                        event_read[me] = NOTHING;
                        ticket_read[me] = NOTHING;
                        asleep[me] = 0;
                        dies_with(0);
                        dies_with(1)
#endif
#ifdef SLOTS
                        guard_gen[me] = NOTHING;
                        stale_gen[me] = NOTHING
#endif
                }
        }
#endif
}

/* Kills processes at any time and in order, since they are all alike. Only then do the
 * others stop: to stop and to choose nothing for a while is the same. */
#if CRASHES > 0
proctype fate() {
        byte w, victim = 1, me = SURVIVOR;
        bool all, woken;
        may_stop = 0;
        do
        :: victim <= CRASHES -> kill!victim; victim++
        :: victim > 1 -> break
        od;
        may_stop = victim;
        victim = 0;
        if
        :: recovered = true; recover()
#ifdef WAIT
        :: true
#endif
        fi
}
#endif

/* ---- the promises ------------------------------------------------------------------ */

#define is_known(s)      (owner[s] == holder[s] && !(owner[s] & BUSY) && !stale(s))
#define is_hidden(s)     ((closed || upper) && !taken(s))
#define sleeps_in_vain(p) \
        ((asleep[p] & ONE) && (!taken(0) || !taken(1)) || \
         (asleep[p] & MANY) && !taken(0) && !taken(1))

/* `timeout` is true when nobody else can move: all have stopped, died or sleep. */
init {
        atomic {
                run process(1, word(1));
                run process(2, word(2));
                run process(3, word(3));
#if CRASHES > 0
                run fate()
#endif
        }
        timeout;
        if
        :: CRASHES == 0 || recovered ->
                assert(is_known(0) && is_known(1));
                assert(!is_hidden(0) && !is_hidden(1))
#ifdef WAIT
        :: else ->
                /* Nobody recovers. The sleepers' slices end twice: both slots have then
                 * been audited. */
                audited = 0;
                d_step { each_process(asleep[k] = 0) }
                timeout;
                audited = 1;
                d_step { each_process(asleep[k] = 0) }
                timeout
#endif
        fi;
#ifdef BROKEN_COUNT
end_enough:
        waiting < ENOUGH;
#endif
#ifdef WAIT
        assert(!sleeps_in_vain(1) && !sleeps_in_vain(2) && !sleeps_in_vain(3))
#endif
}
