#!/usr/bin/env perl
# The proofs can fail: pool.h is broken in many ways, one at a time, and each must be found.
use strict;
use warnings;
use Config;
use Test::More;
use FindBin;
use lib $FindBin::Bin;
use Proof;

# What is wrong, the code, what it becomes, who finds it (an operation of step.c, or torture.c).
my @mutants = (
    [
        'recovery overlooks slots that were being taken',
        'if (name == 0 || name == POOL_I_NOBODY) return false;',
        'if (name == 0 || name == POOL_I_NOBODY || name != owner) return false;',
        'alloc'
    ],
    [
        'a zombie counts as alive',
        q{stat->state == 'X' || stat->state == 'x' || (stat->state == 'Z' && stat->threads <= 1)},
        q{stat->state == 'X'}, 'alloc'
    ],
    [ 'a slot is not cleared', '        pool_i_clear(data, pool->elem_size);', '        (void)data;', 'alloc that searches' ],
    [
        'a slot is free for a moment while it is handed on',
        'if (__atomic_compare_exchange_n(word, &owner, heir, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) return true;',
        'if (__atomic_compare_exchange_n(word, &owner, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) '
            . 'return __atomic_store_n(word, heir, __ATOMIC_RELEASE), true;',
        'disown of another'
    ],
    [
        'recovery with a callback takes the name off before it has freed the slot',
        '    return stale(pool, slot, owner, context) && pool_free_generation(pool, slot, uses);',
        '    __atomic_store_n(&pool->records[slot].owner, POOL_I_BUSY + 0 * uses, __ATOMIC_SEQ_CST);'
            . ' return stale(pool, slot, owner, context) && pool_i_release(pool, slot, POOL_I_BUSY);',
        'recover with a callback'
    ],
    [
        'recovery leaves the full bit',
        'if (pool->levels != 0 && pool_i_has_free(pool, group)) pool_i_mark_open(pool, group);',
        '', 'free in a full group of'
    ],
    [
        'recovery leaves the upper bits',
        "    pool_i_repair_upper(pool);\n    pool_i_forget_waiters",
        '    pool_i_forget_waiters',
        'recover of an upper bit'
    ],
    [
        'recovery leaves dead waiters',
        'if (owner != 0 && pool_owner_is_dead(pool, owner)',
        'if (owner != 0 && owner == 1',
        'recover of a dead waiter'
    ],
    [
        'recovery wakes nobody if it freed nothing',
        'pool_i_wake_if_waiting(pool, POOL_I_ALL); /* also',
        'if (freed > 0) pool_i_wake_if_waiting(pool, POOL_I_ALL); /* also',
        "free of another's slot that wakes"
    ],
    [
        'free wakes nobody',
        'pool_i_wake_if_waiting(pool, pool_i_open_group_of(pool, slot));',
        '(void)pool_i_open_group_of(pool, slot);',
        "free of one's own slot that wakes"
    ],
    [
        'free does not tell the index',
        'pool_i_wake_if_waiting(pool, pool_i_open_group_of(pool, slot));',
        'pool_i_wake_if_waiting(pool, 1);',
        'free in a full group meets a free in it'
    ],
    [
        'who begins to wait does not look again',
        "    code = pool_i_search(pool, me, n, slots, &contended);\n    if (code == POOL_FULL && !contended) {",
        '    code = POOL_FULL, contended = false; {',
        'alloc that begins to wait meets a free'
    ],
    [
        'a group is marked full without a second look',
        'level == 0 ? pool_i_has_free(pool, group)',
        'level == 0 ? false',
        'alloc that finds a group full meets a free'
    ],
    [
        'a full bit is taken back without a look above',
        '            pool_i_open_from(pool, level, index);',
        '            __atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST);',
        'marking a group'
    ],
    [
        'a file says from the start that it is a pool',
        'const uint64_t creating = POOL_MAGIC_CREATING;',
        'const uint64_t creating = POOL_MAGIC;',
        'create'
    ],
    [
        'a file does not say that it is being created',
        'code == 0 && pwrite(fd, &creating, sizeof creating, 0) != (ssize_t)sizeof creating',
        'code == 0 && creating == 0', 'create'
    ],
    [
        'the blocks of a file are not reserved',
        'while (fallocate(fd, 0, 0, (off_t)size) != 0) {',
        'while (ftruncate(fd, (off_t)size) != 0) {',
        'create'
    ],
    [
        'freeing is a store, not a compare-and-swap',
        'return __atomic_compare_exchange_n(&pool->records[slot].owner, &owner, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);',
        'return __atomic_exchange_n(&pool->records[slot].owner, 0, __ATOMIC_SEQ_CST) == owner;',
        'recover meets a recover'
    ],
    [
        'taking is a store, not a compare-and-swap',
        'return __atomic_compare_exchange_n(owner, &nobody, me | POOL_I_BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);',
        'return __atomic_exchange_n(owner, me | POOL_I_BUSY, __ATOMIC_ACQUIRE) == nobody;',
        'alloc meets an alloc'
    ],
    [
        'a guard does not look at the generation',
        "    if (pool_generation(pool, slot) != uses) return false;\n",
        "    uses = pool_generation(pool, slot);\n",
        'torture'
    ],
    [
        'alloc_n keeps what it could not use',
        'for (i = got == n ? done + 1 : 0; i < got; i++) pool_i_unclaim',
        'for (i = got == n ? done + 1 : 1; i < got; i++) pool_i_unclaim',
        'torture'
    ],
    [
        'a slot that is being taken counts as free to be adopted',
        'while (owner != 0 && (owner & POOL_I_BUSY) == 0)',
        'while (owner != 0)',
        'alloc meets an adopt'
    ],
    [ 'a living process is taken for dead', 'return pool_i_is_over(&stat) ?', 'return pid % 2 == 0 || pool_i_is_over(&stat) ?', 'torture' ],
    [
        'who is of no known namespace is dead',
        'if (space == 0) return POOL_UNKNOWN;',
        'if (space == 0) return POOL_DEAD;',
        'recover that meets the unknown'
    ],
    [
        'who is of a namespace without a lock is dead',
        'if ((space & POOL_I_UNKEPT) != 0) return POOL_UNKNOWN;',
        'if ((space & POOL_I_UNKEPT) != 0) return POOL_DEAD;',
        'recover that meets the unknown'
    ],
    [
        'an unknown boot is another one',
        'return ((one ^ other) & POOL_I_BOOT_MASK) != 0 && (one & POOL_I_BOOT_MASK) != 0 && (other & POOL_I_BOOT_MASK) != 0;',
        'return ((one ^ other) & POOL_I_BOOT_MASK) != 0;',
        'recover that meets the unknown'
    ],
    [
        'when a process was seen counts as when it was started',
        'if ((owner & POOL_I_SEEN) != 0) return after == 0 || after > POOL_I_TIME_MASK / 2;',
        '', 'recover that meets the unknown'
    ],
    [
        'who cannot look at a process takes it for dead',
        "return kill((pid_t)pid, 0) != 0 && errno == ESRCH ? POOL_DEAD : POOL_ALIVE;\n    time_ns",
        "return POOL_DEAD;\n    time_ns", 'torture'
    ],
    [ 'another PID namespace is taken for one that is gone', 'if (told && lock.l_type != F_UNLCK) return POOL_ALIVE;', '', 'torture' ],
    [
        'a PID namespace that is gone is taken for one that lives',
        'return pool_i_seen_from_outside(space, owner) ? POOL_ALIVE : POOL_DEAD;',
        'return POOL_ALIVE;', 'torture'
    ],
    [
        'a child in a PID namespace of its own holds no lock of its own',
        'if (!pool_i_hold_anew(home, space)) return space | POOL_I_UNKEPT;',
        '', 'torture'
    ],
);

plan skip_all => 'stepping by instructions is written for x86-64' if $Config{archname} !~ /x86_64/;

my $files = scratch_folder();
$ENV{POOL_STEP_FIRST}      = 1;
$ENV{POOL_TORTURE_SECONDS} = 15;
$ENV{POOL_TORTURE_FIRST}   = 1;

for my $mutant (@mutants) {
    my ($what, $from, $to, $finder) = @$mutant;
    next if @ARGV && index("$what $finder", $ARGV[0]) < 0;    # prove xt/mutants.t :: PATTERN
    my $broken = broken_copy($from, $to);
    ok($broken, "$what: the code to break is there") or next;
    my $folder  = scratch_folder();
    my @command = $finder eq 'torture' ? build($folder, 'torture', $broken) : (build($folder, 'step', $broken), $files, $finder);
    my ($status, @complaints) = verdict(@command);
    for (my $again = 9; $status == 0 && $again > 0; $again--) { ($status, @complaints) = verdict(@command) }    # some are a matter of when
    is $status >> 8, 1, "$what: found by $finder" or diag "status $status";
    note $complaints[0] // 'no complaint';
}

done_testing;
