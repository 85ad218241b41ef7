/* trim.pml - memory of free slots is given back to a full filesystem, while others look.
 *
 * Stands for store/trim.c (space_trim, trim_may, trim_outwait), pool.h (pool_trim, pool_i_find_run,
 * pool_i_trim_run, pool_i_give_back, pool_i_finish_sparse, pool_i_restore), store/change.h (look_enter,
 * look_end) and store/var.c (whose mark it is: mark_lives, mark_reap, mark_looks, handle_adopt).
 *
 * A writer puts slots into a chain and takes them out. Two readers follow the chain: each access to a slot
 * whose page is gone is the end of the reader. What a reader stores into its mark waits in a buffer of its
 * processor, and its loads overtake it; the barrier empties the buffers. The second reader (-DTWO) is a child
 * that has taken its mark, or somebody who got the mark of the first one, which had died.
 *
 * With CRASHES up to so many of them all (with two readers: of the first one) are killed, or stopped for ever, between any two steps. In the end
 * somebody recovers and tries to give back what is free: nobody may keep him waiting, and nothing may be left
 * if nobody is in a look.
 *
 * -DFENCES: the kernel does not provide the barrier to the second reader, who has a fence instead.
 * -DBROKEN_... is the protocol with one mistake, which spin has to find.
 */
#ifndef CRASHES
#define CRASHES 0
#endif
#if defined(TWO) && CRASHES > 0
#define LOOKS   1
#define CHANGES 1
#elif defined(TWO) || CRASHES > 0
#define LOOKS   1
#define CHANGES 2
#else
#define LOOKS   2
#define CHANGES 3
#endif

#define SLOTS    2 /* 1 and 2; 0: none */
#define MARKS    2 /* 1 and 2 */
#define PATIENCE 1 /* looks at a mark after the first one */

/* Processes: 0 is the one that comes last; readers 1 and 2. */
#define WRITER  3
#define TRIMMER 4
#define NOBODY  5 /* owner of what is published */
#define FREE    6

#define LIVES   0
#define DEAD    1
#define STOPPED 2

byte fate[5];
bool ended[5];
#define STEP(x) atomic { fate[me] == LIVES -> x }

byte head, next[SLOTS + 1];
byte owner[SLOTS + 1], uses[SLOTS + 1];
bool marked[SLOTS + 1]; /* POOL_I_TRIMMED */
bool gone[SLOTS + 1];   /* the page */

bool looking[MARKS + 1];
byte holder[MARKS + 1];                         /* of the mark */
chan buffer[3] = [2] of { byte, bool };         /* of a reader's processor: marks, and what is stored there */

/* --- memory ----------------------------------------------------------------------- */

inline drain(r) {
        do
        :: buffer[r] ? b_mark, b_value -> looking[b_mark] = b_value
        :: empty(buffer[r]) -> break
        od;
        b_mark = 0; b_value = false
}

/* In its own time. */
proctype processors() {
        byte b_mark;
        bool b_value;
        do
        :: atomic { buffer[1] ? b_mark, b_value -> looking[b_mark] = b_value; b_mark = 0; b_value = false }
        :: atomic { buffer[2] ? b_mark, b_value -> looking[b_mark] = b_value; b_mark = 0; b_value = false }
        od
}

#define touch(s) assert(!gone[s])

/* --- looks -------------------------------------------------------------------------- */

/* A mark is of zeros when somebody gets it. */
inline get_mark() {
        if
        :: STEP(mine = me)
        :: atomic { me == 2 && fate[me] == LIVES && fate[1] == DEAD && holder[1] == 1 -> holder[1] = me; looking[1] = false; mine = 1 }
        fi
}

inline say(v) {
        atomic { fate[me] == LIVES && nfull(buffer[me]) -> buffer[me] ! mine, v }
}

inline look_enter() {
        say(true);
#ifdef FENCES
        if
        :: me == 2 -> atomic { fate[me] == LIVES && empty(buffer[me]) -> skip }
        :: else
        fi
#endif
}

proctype reader(byte me) {
        byte mine, c, last, looks;
#ifdef BROKEN_CHILD_SHARES_MARK
        mine = 1;
#else
        get_mark();
#endif
        do
        :: looks < LOOKS ->
                looks++;
#ifdef BROKEN_MARKED_LATE
                STEP(c = head);
                look_enter();
#else
                look_enter();
                STEP(c = head);
#endif
                do
                :: c != 0 -> STEP(touch(c); last = c; c = next[c])
                :: else -> break
                od;
#ifdef BROKEN_UNMARKED_EARLY
                say(false);
#endif
                if
                :: last != 0 -> STEP(touch(last); last = 0)      /* the value is copied */
                :: else
                fi;
#ifndef BROKEN_UNMARKED_EARLY
                say(false)
#endif
        :: else -> break
        od;
        STEP(ended[me] = true)
}

/* --- changes -------------------------------------------------------------------------- */

/* The pages are there before the mark goes. What was in the slot stays until then: a reader goes on from there. */
inline put(s) {
        atomic { fate[me] == LIVES && owner[s] == FREE -> owner[s] = me };
        if
        :: marked[s] ->
#ifndef BROKEN_NOT_RESTORED
                STEP(gone[s] = false);
#endif
                STEP(marked[s] = false)
        :: else
        fi;
        STEP(uses[s]++);
        STEP(touch(s); next[s] = head);
        STEP(head = s);
        STEP(owner[s] = NOBODY)
}

/* Unlinked, it becomes its own, and is freed. */
inline drop(s, place) {
        STEP(touch(s); place = next[s]);
        STEP(owner[s] = me);
        STEP(owner[s] = FREE)
}

proctype writer(byte me) {
        byte changes;
        do
        :: changes < CHANGES ->
                changes++;
                if
                :: put(1)
                :: put(2)
                :: head == 1 -> drop(1, head)
                :: head == 2 -> drop(2, head)
                :: head == 1 && next[1] == 2 -> drop(2, next[1])
                :: head == 2 && next[2] == 1 -> drop(1, next[2])
                :: true
                fi
        :: else -> break
        od;
        STEP(ended[me] = true)
}

/* --- giving back ------------------------------------------------------------------------ */

/* The uses come first: if the slot is used from then on, they are others later. */
inline find(s) {
#ifdef BROKEN_COUNTED_LATE
        STEP(found[s] = owner[s] == FREE && !marked[s]);
        STEP(count[s] = uses[s])
#else
        STEP(count[s] = uses[s]; found[s] = !marked[s]);
        STEP(found[s] = found[s] && owner[s] == FREE)
#endif
}

inline barrier() {
        atomic {
                fate[me] == LIVES;
                drain(1);
#if !defined(FENCES) && !defined(BROKEN_NOT_REGISTERED)
                drain(2)
#endif
        }
}

/* Until it was seen not looking, or its owner is dead; else `failed`. */
inline ask(m) {
        do
        :: atomic { fate[me] == LIVES && (failed || !looking[m]) -> tries = 0; break }
#ifdef BROKEN_DEAD_LOOK
        :: atomic { fate[me] == LIVES && !failed && looking[m] && tries == PATIENCE -> failed = true }
#else
        :: atomic { fate[me] == LIVES && !failed && looking[m] && fate[holder[m]] == DEAD -> tries = 0; break }
#ifndef BROKEN_WAITS_FOR_EVER
        :: atomic { fate[me] == LIVES && !failed && looking[m] && fate[holder[m]] != DEAD && tries == PATIENCE -> failed = true }
#endif
#endif
        :: atomic { fate[me] == LIVES && !failed && looking[m] && tries < PATIENCE -> tries++ }
        od
}

inline give_back(s) {
        if
#ifdef BROKEN_NOT_CLAIMED
        :: atomic { fate[me] == LIVES && found[s] && !failed && owner[s] == FREE && uses[s] == count[s] && !marked[s] -> marked[s] = true };
                STEP(gone[s] = true)
#else
        :: atomic { fate[me] == LIVES && found[s] && !failed && owner[s] == FREE -> owner[s] = me };
                if
#ifdef BROKEN_NOT_COUNTED
                :: atomic { fate[me] == LIVES && !marked[s] -> marked[s] = true };
                        STEP(gone[s] = true)
                :: atomic { fate[me] == LIVES && marked[s] -> skip }
#else
#ifdef BROKEN_GIVEN_BEFORE_MARKED
                :: atomic { fate[me] == LIVES && uses[s] == count[s] && !marked[s] -> gone[s] = true };
                        STEP(marked[s] = true)
#else
                :: atomic { fate[me] == LIVES && uses[s] == count[s] && !marked[s] -> marked[s] = true };
                        STEP(gone[s] = true)
#endif
                :: atomic { fate[me] == LIVES && (uses[s] != count[s] || marked[s]) -> skip }
#endif
                fi;
                STEP(owner[s] = FREE)
#endif
        :: atomic { fate[me] == LIVES && (!found[s] || failed || owner[s] != FREE) -> skip }
#ifdef BROKEN_NOT_CLAIMED
        :: atomic { fate[me] == LIVES && (uses[s] != count[s] || marked[s]) -> skip }
#endif
        fi
}

inline trim() {
        find(1);
        find(2);
#ifdef BROKEN_ASKED_FIRST
        ask(1);
        ask(2);
#endif
#ifndef BROKEN_NO_BARRIER
        barrier();
#endif
#if !defined(BROKEN_NOT_ASKED) && !defined(BROKEN_ASKED_FIRST)
        ask(1);
        ask(2);
#endif
        give_back(1);
        give_back(2)
}

proctype trimmer(byte me) {
        byte tries, count[SLOTS + 1], b_mark;
        bool found[SLOTS + 1], failed, b_value;
        trim();
        STEP(ended[me] = true)
}

/* --- fates --------------------------------------------------------------------------------- */

/* Who is taken off its processor leaves nothing in the buffer. */
inline meets(p, what) {
        atomic {
                left > 0 && fate[p] == LIVES && !ended[p] -> fate[p] = what; left--;
                if
                :: p <= 2 -> drain(p)
                :: else
                fi
        }
}

proctype killer() {
        byte left = CRASHES, b_mark;
        bool b_value;
        do
        :: meets(1, DEAD)
#ifndef TWO
        :: meets(1, STOPPED)
        :: meets(WRITER, DEAD)
        :: meets(WRITER, STOPPED)
        :: meets(TRIMMER, DEAD)
        :: meets(TRIMMER, STOPPED)
#endif
        :: break
        od;
        ended[0] = true
}

#define over(p)   (ended[p] || fate[p] != LIVES)
#define in_it(m)  (looking[m] && fate[holder[m]] != DEAD)
#define linked(c) (head == c || (head != 0 && next[head] == c))
#define kept(s)   (owner[s] == FREE && !gone[s])

/* The dead one's: its changes are finished or undone, see variable.pml. */
inline recover(s) {
        if
        :: owner[s] <= TRIMMER && fate[owner[s]] == DEAD -> owner[s] = (linked(s) -> NOBODY : FREE)
        :: owner[s] == NOBODY && !linked(s) && fate[WRITER] == DEAD -> owner[s] = FREE
        :: else
        fi
}

/* What the dead had is freed, then all that is free is given back. A process that died as it marked a slot, or
 * took that back, leaves a page, until the slot is used next. */
bool finished;
proctype survivor() {
        byte me = 0, tries, count[SLOTS + 1], b_mark;
        bool found[SLOTS + 1], failed, b_value;
        atomic {
                ended[0] && over(1) && over(2) && over(WRITER) && over(TRIMMER) && empty(buffer[1]) && empty(buffer[2]);
                recover(1);
                recover(2);
                assert(!gone[1] || marked[1]); /* who uses it next gets a page */
                assert(!gone[2] || marked[2]);
                trim();
                if
                :: in_it(1) || in_it(2)
                :: else ->
                        assert(!kept(1) || (marked[1] && (fate[TRIMMER] == DEAD || fate[WRITER] == DEAD)));
                        assert(!kept(2) || (marked[2] && (fate[TRIMMER] == DEAD || fate[WRITER] == DEAD)))
                fi;
                assert(!gone[1] || !linked(1));
                assert(!gone[2] || !linked(2));
                finished = true
        }
}

/* When nothing can happen any more. */
proctype watch() {
        timeout -> assert(finished)
}

init {
        atomic {
                head = 1; owner[1] = NOBODY; owner[2] = FREE; uses[1] = 1; uses[2] = 1;
                holder[1] = 1; holder[2] = 2;
                run processors();
                run reader(1);
#ifdef TWO
                run reader(2);
#else
                ended[2] = true;
#endif
                run writer(WRITER); run trimmer(TRIMMER);
                if
                :: CRASHES > 0 -> run killer()
                :: else -> ended[0] = true
                fi;
                run survivor();
                run watch()
        }
}
