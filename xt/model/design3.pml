/* design3.pml - the protocol that pool.h does not follow, and why.
 *
 * Here a slot is a bit in a bitmap and an owner word. A release clears the bit with
 * fetch_and and then stores 0 into the owner word without looking; whoever releases the
 * slot of another process first makes itself the owner.
 *
 * One slot and three processes, which allocate, free and recover for as long as they
 * like; each access is a step. Up to CRASHES of them are killed (unless that is 0, at
 * least one), and in the end somebody recovers. Then the slot has to be free or belong to
 * its holder; with -DLOSSES it only has to be one of taken and free.
 *
 * The text leaves some room, and each reading is a build:
 *   (none)          free returns false when it finds the bit clear
 *   -DPUT_BACK      ... after giving the slot back to the process it was taken from
 *   -DLOOK_FIRST    ... and takes no slot from its owner while the bit is clear
 *   -DOWN_ONLY      nobody frees the slots of others
 *
 * The messages tell the story when spin replays a counterexample.
 */
#ifndef CRASHES
#define CRASHES 0
#endif
#define FREE     0
#define SURVIVOR 4

byte owner;
bool taken;                     /* the bit */
byte holder;                    /* whose it is by what the calls promised; never read */
bool dead[5];
byte may_stop = 1;              /* they stop in order: they are all alike */
chan kill = [0] of { byte };

inline alloc() {
        !taken;
        if
        :: d_step {
                owner == FREE ->
                assert(holder == FREE);
                owner = me; holder = me;
                printf("%d alloc: owner 0 -> %d\n", me, me)
           }
           d_step { taken = true; printf("%d alloc: sets the bit\n", me) }
        :: owner != FREE
        fi
}

inline free() {
#ifdef LOOK_FIRST
        taken;
#endif
        if
        :: owner == FREE
        :: owner == me -> release()
#ifndef OWN_ONLY
        :: d_step { owner != FREE && owner != me -> o = owner }
           if
           :: d_step {
                owner == o -> owner = me;
                printf("%d free: owner %d -> %d\n", me, o, me)
              }
              release()
           :: owner != o
           fi;
           o = 0
#endif
        fi
}

inline release() {
        if
        :: d_step {
                taken -> taken = false; holder = FREE;
                printf("%d free: clears the bit\n", me)
           }
           d_step { owner = FREE; printf("%d free: stores owner = 0, returns true\n", me) }
        :: d_step { !taken -> printf("%d free: finds the bit clear, returns false\n", me) }
#ifdef PUT_BACK
           if
           :: d_step {
                o && owner == me -> owner = o;
                printf("%d free: owner %d -> %d\n", me, me, o)
              }
           :: !o || owner != me
           fi
#endif
        fi
}

inline recover() {
        if
        :: d_step {
                dead[owner] ->
                printf("%d recover: owner %d -> %d\n", me, owner, me);
                owner = me
           }
           d_step { taken = false; holder = FREE; printf("%d recover: clears the bit\n", me) }
           d_step { owner = FREE; printf("%d recover: stores owner = 0\n", me) }
        :: !dead[owner]
        fi
}

proctype process(byte me) {
        byte o;
        {
                do
                :: alloc()
                :: free()
                :: recover()
                :: may_stop == me -> may_stop++; break
                od;
end_stopped:    false
        } unless {
                atomic {
                        kill?eval(me) ->
                        dead[me] = true; o = 0;
                        printf("%d is killed\n", me)
                }
        }
}

#if CRASHES > 0
proctype fate() {
        byte victim = 1;
        may_stop = 0;
        do
        :: victim <= CRASHES -> kill!victim; victim++
        :: victim > 1 -> break
        od;
        may_stop = victim
}
#endif

init {
        byte me = SURVIVOR;
        atomic {
                run process(1);
                run process(2);
                run process(3);
#if CRASHES > 0
                run fate()
#endif
        }
        timeout;
        recover();
        printf("in the end: owner %d, bit %d; it should be the slot of %d\n", owner, taken, holder);
        assert(taken == (owner != FREE));
#ifndef LOSSES
        assert(owner == holder && !dead[owner])
#endif
}
