/* life.pml - who is dead, told across PID namespaces, for the model checker spin.
 *
 * Two processes of a namespace X and one of a namespace Y come to a pool, take its one slot
 * and free it for as long as they like, and may be killed between any two steps. Somebody
 * outside, who sees none of them, frees what the dead hold, going by the locks of the two
 * namespaces; inside of a namespace its processes are seen. The table of namespaces has one
 * entry, which is taken over when nobody lives in the namespace that has it.
 *
 * The lock of a namespace is the kernel's: who dies holds it no longer. A process that cannot
 * take it says so in its name (NO_LOCK); one that finds no entry has none (NO_ENTRY).
 *
 * -DCRASHES=n: up to n processes are killed.
 * -DBROKEN_... is the protocol with one mistake, which spin has to find.
 */
#ifndef CRASHES
#define CRASHES 3
#endif

#define X 1
#define Y 2

/* Owner words: 0, or a process (1 and 2 in X, 3 in Y) and how it is judged. */
#define NO_ENTRY 0
#define ENTRY    1
#define NO_LOCK  2
#define word(process, tag) ((process) + 4 * (tag))
#define process_of(w)      ((w) % 4)
#define tag_of(w)          ((w) / 4)

byte owner;                             /* of the slot */
byte entry;                             /* of the table: 0, X or Y */
byte locks[3];                          /* how many mappings hold the lock of a namespace */
bool exclusive;                         /* Y's process has X's for itself */
bool mapped[4];                         /* the process has the lock of its namespace */
bool dead[4];
bool rests[4];                          /* the process has had enough, and lives; 0: so has the killer */

#define space_of(p) ((p) == 3 -> Y : X)

/* CAS owner: w -> 0, by who believes that its process is dead. */
inline bury(w)
{
    atomic {
        if
        :: owner == w -> assert(dead[process_of(w)]); /* nothing of the living is touched */
                         owner = 0
        :: else
        fi;
        w = 0
    }
}

/* From outside of the word's namespace. */
inline judge_outside(w, seen)
{
    w = owner;
    if
    :: w != 0 && tag_of(w) == ENTRY ->
        seen = entry;
        if
#ifndef BROKEN_GONE_LIVES
        :: locks[seen] == 0 && !(exclusive && seen == X) -> bury(w)
#endif
        :: else
        fi
#ifdef BROKEN_UNKNOWN_IS_DEAD
    :: w != 0 && tag_of(w) != ENTRY -> bury(w)
#endif
    :: else
    fi;
    w = 0; seen = 0
}

/* Use the slot until one has had enough. `same`: words that say they are of this namespace. */
inline live(tag, w, same)
{
    do
    :: atomic { owner == 0 -> owner = word(me, tag) }
    :: atomic { owner == word(me, tag) -> owner = 0 }
    :: atomic { owner != 0 && process_of(owner) != me -> w = owner };
        if
        :: same ->
            if
            :: space_of(process_of(w)) != space_of(me) || dead[process_of(w)] -> bury(w) /* kill(2): no such process */
            :: else
            fi
        :: else
        fi;
        w = 0
    :: break
    od
}

proctype in_X(byte me)
{
    byte tag = NO_LOCK, w;
    {
#ifdef BROKEN_NAMED_BEFORE_LOCKED
        atomic { if :: entry == 0 -> entry = X :: else fi; tag = (entry == X -> ENTRY : NO_ENTRY) };
        if
        :: atomic { owner == 0 -> owner = word(me, tag) }
        :: true
        fi;
#endif
#ifdef BROKEN_ENTRY_BEFORE_LOCK
        atomic { if :: entry == 0 -> entry = X :: else fi; tag = (entry == X -> ENTRY : NO_ENTRY) };
#endif
        if
        :: atomic { !exclusive -> locks[X]++; mapped[me] = true };
#if !defined(BROKEN_ENTRY_BEFORE_LOCK) && !defined(BROKEN_NAMED_BEFORE_LOCKED)
            atomic { if :: entry == 0 -> entry = X :: else fi; tag = (entry == X -> ENTRY : NO_ENTRY) }
#endif
        :: tag = NO_LOCK
        fi;
        live(tag, w, tag_of(w) == NO_LOCK || (tag_of(w) == ENTRY && entry == X));
        rests[me] = true
    } unless { dead[me] }
}

proctype in_Y(byte me)
{
    byte tag = NO_ENTRY, w;
    bool free_for_all;
    {
        atomic { locks[Y]++; mapped[me] = true };
        if
        :: atomic { entry == 0 -> entry = Y }; tag = ENTRY
        :: atomic { entry == X } ->
#ifdef BROKEN_TAKEN_WITHOUT_LOCK
            free_for_all = locks[X] == 0;
#else
            atomic { if :: locks[X] == 0 -> exclusive = true; free_for_all = true :: else fi };
#endif
            if
            :: free_for_all -> entry = Y; tag = ENTRY; exclusive = false
            :: else
            fi
        fi;
        live(tag, w, tag_of(w) == ENTRY && entry == Y);
        rests[me] = true
    } unless { dead[me] }
}

/* The kernel lets go of what a process held, as one step. */
proctype killer()
{
    byte kills = 0, victim;
    do
    :: kills < CRASHES ->
        atomic {
            if :: victim = 1 :: victim = 2 :: victim = 3 fi;
            if
            :: !dead[victim] ->
                dead[victim] = true;
                if :: mapped[victim] -> locks[space_of(victim)]-- :: else fi;
                if :: victim == 3 -> exclusive = false :: else fi;
                mapped[victim] = false
            :: else
            fi;
            victim = 0; kills++
        }
    :: break
    od;
    rests[0] = true
}

#define over(p) (dead[p] || rests[p])

active proctype outsider()
{
    byte w, seen;
    run in_X(1); run in_X(2); run in_Y(3); run killer();
    do
    :: judge_outside(w, seen)
    :: rests[0] && over(1) && over(2) && over(3) -> break
    od;
    judge_outside(w, seen);
    /* What is left is of the living, of an entry that says nothing, or under the name of
     * those who took the entry over and live: they see that it is dead. */
    assert(owner == 0 || !dead[process_of(owner)] || tag_of(owner) != ENTRY || locks[entry] > 0)
}
