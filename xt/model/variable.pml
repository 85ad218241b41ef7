/* variable.pml - one hash in shared memory: two writers, a reader without a lock, deaths.
 *
 * Stands for store/change.c (change_add, change_end, change_publish, change_settle,
 * change_remove_cell), store/hash.c (hash_insert, hash_unlink, hash_find), store/table.c
 * (hash_split, hash_finish_page), store/lock.c (who inherits from the dead) and store/recover.c (cells
 * that the dead made). Each access to shared memory is a step; the writer's search along a
 * chain, which nobody else changes meanwhile, is one.
 *
 * The hash has two elements, in one chain. A change stores one of them or, as a batch,
 * both. A look takes both, and what it takes must be what they were at its serial. In the
 * end one recovery leaves the last published elements, and every other cell free.
 *
 * With -DGROW: a chain of two elements is split while a reader looks for each of them.
 *
 * With CRASHES up to so many writers are killed, anywhere. To keep that small: -DNO_READER, or
 * -DONE_WRITER, whom only the survivor inherits from.
 */
#ifndef CRASHES
#define CRASHES 0
#endif

#define NOBODY  3 /* owner of what is published */
#define STEP(x) atomic { !dead[me] -> x }

bool dead[3];
byte lock;                      /* its holder, or 0 */
bool ended[3];                  /* writers that have done their work */

inline take_lock() {
        atomic { !dead[me] && (lock == 0 || (lock != me && dead[lock])) -> died = (lock != 0); lock = me }
}

#ifndef GROW

#define CELLS 5                 /* 1 .. 4; 0: none */
#define KEYS  2

byte serial, retired, head, todo_head;
byte owner[CELLS], next[CELLS], todo[CELLS], from[CELLS], until[CELLS], key[CELLS], half[CELLS], other[CELLS];
byte was[8];                    /* what the elements were at a serial: 10 * first + second; never read by them */
byte latest[KEYS];

#define EXISTS(c, s) (from[c] <= s && (until[c] == 0 || until[c] > s))

/* In the open change: the newest version of the key that exists, and what leads to a cell. */
inline find_old(k) {
        d_step {
                old = head;
                do
                :: old != 0 && !(key[old] == k && EXISTS(old, serial + 1)) -> old = next[old]
                :: else -> break
                od;
                place = 0; at = head;
                do
                :: at != 0 && at != old -> place = at; at = next[at]
                :: else -> break
                od;
                at = 0
        }
}

inline find_place(c) {
        d_step {
                place = 0; at = head;
                do
                :: at != 0 && at != c -> place = at; at = next[at]
                :: else -> break
                od
        }
}

inline make(c, k) {
        atomic {
                !dead[me] && (owner[1] == 0 || owner[2] == 0 || owner[3] == 0 || owner[4] == 0);
                if
                :: owner[1] == 0 -> c = 1
                :: owner[1] != 0 && owner[2] == 0 -> c = 2
                :: owner[1] != 0 && owner[2] != 0 && owner[3] == 0 -> c = 3
                :: owner[1] != 0 && owner[2] != 0 && owner[3] != 0 && owner[4] == 0 -> c = 4
                fi;
                owner[c] = me
        }
        STEP(from[c] = 0; until[c] = 0);        /* it is of zeros */
        STEP(key[c] = k; half[c] = value);
        STEP(other[c] = value)
}

inline put(c, k) {
        find_old(k);
        if
        :: old != 0 ->
                STEP(todo[old] = todo_head);
                STEP(todo_head = old);
                STEP(until[old] = serial + 1)
        :: else
        fi;
        STEP(next[c] = old);
#ifndef BROKEN_LINKED_BEFORE_FROM
        STEP(from[c] = serial + 1);
#endif
#ifndef BROKEN_LINKED_BEFORE_LISTED
        STEP(todo[c] = todo_head);
        STEP(todo_head = c);
#endif
        if
        :: place == 0 -> STEP(head = c)
        :: else -> STEP(next[place] = c)
        fi;
#ifdef BROKEN_LINKED_BEFORE_FROM
        STEP(from[c] = serial + 1);
#endif
#ifdef BROKEN_LINKED_BEFORE_LISTED
        STEP(todo[c] = todo_head);
        STEP(todo_head = c);
#endif
}

inline count_retired() {
#ifdef BROKEN_NOT_RETIRED
        skip
#else
        STEP(retired++)
#endif
}

inline remove(c) {
#ifndef BROKEN_RETIRED_ONCE
        count_retired();
#endif
        find_place(c);
        if
        :: at == c ->
                if
                :: place == 0 -> STEP(head = next[c])
                :: else -> STEP(next[place] = next[c])
                fi
        :: else
        fi;
#ifdef BROKEN_RETIRED_AFTER
        STEP(owner[c] = me);
        STEP(todo_head = todo[c]);
        STEP(owner[c] = 0);
        count_retired()
#else
        count_retired();
#ifdef BROKEN_OFF_THE_LIST_FIRST
        STEP(todo_head = todo[c]);
        STEP(owner[c] = me);
#else
        STEP(owner[c] = me);
        STEP(todo_head = todo[c]);
#endif
        STEP(owner[c] = 0)
#endif
}

/* Along the list: what is published is finished, the rest undone. */
inline settle() {
        do
        :: atomic { !dead[me] && todo_head != 0 -> c = todo_head }
                if
                :: from[c] > serial || (until[c] != 0 && until[c] <= serial) -> remove(c)
                :: from[c] <= serial && until[c] > serial ->
#ifndef BROKEN_NOT_RESTORED
                        STEP(until[c] = 0);
#endif
                        STEP(todo_head = todo[c])
                :: from[c] <= serial && until[c] == 0 ->
                        STEP(owner[c] = NOBODY);
                        STEP(todo_head = todo[c])
                fi
        :: atomic { !dead[me] && todo_head == 0 -> c = 0; break }
        od
}

inline inherit() {
        if
#ifdef BROKEN_HEIR_DOES_NOT_SETTLE
        :: died -> died = false
#else
        :: died -> settle(); died = false
#endif
        :: else
        fi
}

proctype writer(byte me) {
        byte value, c, first, second, old, place, at;
        bool both, died;
        value = 2 + me;
        if
        :: both = true
        :: both = false
        fi;
        make(first, 0);
        if
        :: both -> make(second, 1)
        :: else
        fi;
        take_lock();
        inherit();
#ifdef BROKEN_PUBLISHED_FIRST
        atomic {
                !dead[me];
                latest[0] = value;
                if :: both -> latest[1] = value :: else fi;
                was[serial + 1] = 10 * latest[0] + latest[1];
                serial++
        }
        serial--;
#endif
        put(first, 0);
        if
        :: both -> put(second, 1)
        :: else
        fi;
        atomic {                /* THE CHANGE HAS HAPPENED */
                !dead[me];
                latest[0] = value;
                if :: both -> latest[1] = value :: else fi;
                was[serial + 1] = 10 * latest[0] + latest[1];
                serial++
        }
        settle();
        STEP(lock = 0);
        STEP(ended[me] = true)
}

/* One look, which begins again when something was freed meanwhile. */
proctype reader() {
        byte r, s, c, k, n, steps, taken[KEYS], halves[KEYS], tries;
        do
        :: tries < 3 ->
                tries++;
                r = retired;
                s = serial;
                c = head; steps = 0; taken[0] = 0; taken[1] = 0; halves[0] = 0; halves[1] = 0;
                do
                :: c != 0 && steps < CELLS ->
                        steps++;
                        k = key[c];
                        n = next[c];
                        if
                        :: from[c] <= s ->
                                if
                                :: taken[k] == 0 && (until[c] == 0 || until[c] > s) -> /* the newest comes first */
                                        taken[k] = half[c];
                                        halves[k] = other[c]
                                :: else
                                fi
                        :: else
                        fi;
                        c = n
                :: else -> break
                od;
                if
                :: retired == r ->
                        assert(taken[0] == halves[0] && taken[1] == halves[1]);         /* not torn */
                        assert(10 * taken[0] + taken[1] == was[s]);                     /* not mixed, none lost */
                        break
                :: else
                fi
        :: else -> break
        od
}

proctype killer() {
        byte left = CRASHES;
        do
        :: left > 0 -> atomic { !dead[1] -> dead[1] = true; left-- }
        :: left > 0 -> atomic { !dead[2] -> dead[2] = true; left-- }
        :: break
        od
}

/* When nobody works any more: one recovery, then all is as it should be. */
proctype survivor() {
        byte me = 0, c, old, place, at, free, i;
        bool died;
        (ended[1] || dead[1]) && (ended[2] || dead[2]);
        atomic { lock == 0 || dead[lock] -> died = (lock != 0); lock = 4 }
        inherit();
        lock = 0;
        c = 1;
        do
        :: c < CELLS ->
                if
                :: owner[c] != 0 && owner[c] != NOBODY && dead[owner[c]] -> owner[c] = 0
                :: else
                fi;
                c++
        :: else -> break
        od;
        atomic {
                c = head; i = 0; old = 0;
                do
                :: c != 0 ->
                        assert(owner[c] == NOBODY);                     /* no use of a freed cell */
                        assert(from[c] <= serial && until[c] == 0);
                        old = (key[c] == 0 -> old + 10 * half[c] : old + half[c]);
                        i++;
                        c = next[c]
                :: else -> break
                od;
                assert(i == KEYS && old == was[serial]);                /* no lost element */
                free = 0; c = 1;
                do
                :: c < CELLS -> free = free + (owner[c] == 0 -> 1 : 0); c++
                :: else -> break
                od;
                assert(free == CELLS - 1 - KEYS)                        /* no lost cell */
        }
}

init {
        atomic {
                owner[1] = NOBODY; owner[2] = NOBODY;
                key[1] = 0; key[2] = 1; half[1] = 1; half[2] = 1; other[1] = 1; other[2] = 1;
                head = 1; next[1] = 2;
                latest[0] = 1; latest[1] = 1; was[0] = 11;
                run writer(1);
#ifdef ONE_WRITER
                ended[2] = true;
#else
                run writer(2);
#endif
#ifndef NO_READER
                run reader();
#endif
                run survivor();
                if
                :: CRASHES > 0 -> run killer()
                :: else
                fi
        }
}

#else

/* Elements 1 and 2 in the chain of bucket 0; with two buckets the second belongs to bucket 1. */
byte heads[2], next[3], buckets = 1, intent;

inline cut() {
        STEP(next[1] = 0);
        STEP(intent = 0)
}

proctype grower(byte me) {
        bool died;
        take_lock();
        if
        :: died && intent == 1 && buckets == 2 -> cut()
        :: died && intent == 1 && buckets == 1 -> STEP(intent = 0)
        :: else
        fi;
        if
        :: buckets == 1 ->
#ifdef BROKEN_CUT_FIRST
                STEP(next[1] = 0);
#endif
                STEP(heads[1] = 2);
#ifndef BROKEN_NO_INTENT
                STEP(intent = 1);
#endif
                STEP(buckets = 2);
                cut()
        :: else
        fi;
        STEP(lock = 0);
        STEP(ended[me] = true)
}

proctype reader(byte wanted) {
        byte n, c;
again:  n = buckets;
        c = heads[(n == 2 && wanted == 2 -> 1 : 0)];
        do
        :: c != 0 && c != wanted -> c = next[c]
        :: else -> break
        od;
#ifndef BROKEN_NO_SECOND_LOOK
        if
        :: c == 0 && n != buckets -> goto again
        :: else
        fi;
#endif
        assert(c == wanted)
}

proctype killer() {
        if
        :: CRASHES > 0 -> dead[1] = true
        :: skip
        fi
}

/* Once somebody has written after the death, the old chain is cut. */
proctype survivor() {
        ended[2] && (ended[1] || dead[1]);
        assert(buckets == 2 && heads[1] == 2 && (next[1] == 0 || (dead[1] && lock != 0)))
}

init {
        atomic {
                heads[0] = 1; next[1] = 2;
                run grower(1); run grower(2); run reader(1); run reader(2); run killer(); run survivor()
        }
}
#endif
