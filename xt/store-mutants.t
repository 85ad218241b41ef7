#!/usr/bin/env perl
# The tests of store/ can fail: it is broken in many ways, one at a time, and each must be found
# by the program that is named, soon.
#
#   prove xt/store-mutants.t :: PATTERN    those with this text
use strict;
use warnings;
use Config;
use File::Copy     qw(copy);
use File::Path     qw(make_path);
use File::Basename qw(basename dirname);
use Test::More;
use FindBin;
use lib $FindBin::Bin;
use Proof;

# What is wrong, the file, the code, what it becomes, who finds it: a program of t/store, or an
# operation of store_step.c, or a pair of store_pairs.c.
my @mutants = (
    [ 'what was to end, and does not, ends', 'change.c', "        STORE_STORE(cell->until, 0);\n", '', 'step a batch undone' ],
    [
        'a cell is on the list before it says what comes next',
        'change.c',
        "    STORE_STORE(cell->todo, record->todo);\n    __atomic_store_n(&record->todo, link, __ATOMIC_RELEASE);",
        "    store_link_t next = record->todo;\n    __atomic_store_n(&record->todo, link, __ATOMIC_RELEASE);\n    STORE_STORE(cell->todo, next);",
        'step a batch'
    ],
    [
        'a cell says from when it is after it is on the list',
        'change.c',
        "    STORE_STORE(cell->from, change_serial(var));\n    change_list(var->record, link, cell);",
        "    change_list(var->record, link, cell);\n    STORE_STORE(cell->from, change_serial(var));",
        'step put of a new key'
    ],
    [
        'a cell ends before it is on the list',
        'change.c', 'if (STORE_LOAD(cell->from) != change_serial(var)) change_list(var->record, link, cell);',
        '',         'hash'
    ],
    [
        'a cell leaves the list before it is ours',
        'change.c',
        "    cell_adopt(space, link);\n    __atomic_store_n(&record->todo, next, __ATOMIC_RELEASE);",
        "    __atomic_store_n(&record->todo, next, __ATOMIC_RELEASE);\n    cell_adopt(space, link);",
        'step delete'
    ],
    [
        'readers are not told that a cell is freed',
        'change.h', '    __atomic_store_n(&record->retired, STORE_LOAD(record->retired) + 1, __ATOMIC_RELAXED);',
        '',         'readers'
    ],
    [
        'a lock by name that goes lets others see links that are being moved', 'lock.c',
        'if (STORE_LOAD(record->exclusive) != STORE_MOVING) __atomic_store_n', '__atomic_store_n',
        'moving'
    ],
    [ 'a look does not say that it is on', 'change.h', "    STORE_STORE(*looking, 1);\n", '', 'pairs fetch of a long value and stores' ],
    [ 'nobody is asked whether he looks',  'trim.c',   'return !wait.failed;',            'return true;', 'stopped' ],
    [
        'a look is over before the value is copied',
        'scalar.c',
        "        result = scalar_look_up(var, &sight, value, buffer);\n        look_end(&sight);",
        "        look_end(&sight);\n        result = scalar_look_up(var, &sight, value, buffer);", 'stopped'
    ],
    [
        'a block that is being given back is read',
        'cell.c',
        '!row_is_allocated(cursor->space, cursor->next)',
        'row_owner(cursor->space, cursor->next) == 0',
        'trim'
    ],
    [
        'who does not see a mark takes it for one that does not look',
        'trim.c',
        'if (!row_each(space, STORE_ROW_MARKS, trim_outwait, &wait)) wait.failed = true;',
        'row_each(space, STORE_ROW_MARKS, trim_outwait, &wait);', 'trim'
    ],
    [
        'the dead look for ever',
        'trim.c',
        "        if ((late || tries == TRIM_TRIES) && !mark_lives(space, link, &ref)) return;\n",
        "        (void)ref;\n", 'stopped'
    ],
    [ 'who looks is waited for at each store', 'trim.c', 'wait->failed = late;', 'wait->failed = late && tries >= TRIM_TRIES;', 'trim' ],
    [ 'a published cell stays its maker\'s',          'change.c', "    cell_disown(space, link);\n",    '', 'step put of a new key' ],
    [ 'a reference is not shaded as it is published', 'change.c', "    ref_shade_cell(space, link);\n", '', 'garbage' ],
    [
        'an array keeps the versions that are freed',
        'change.c',
        "        change_retire(record);\n        STORE_STORE(cell->next, 0);",
        '        change_retire(record);', 'array'
    ],
    [
        'a page that was being made is not looked after',
        'change.c',
        'if (record->intent != STORE_INTENT_NONE) {',
        'if (0) {',
        'step growth to 64 buckets'
    ],
    [
        'settling begins, and ends at the first cell',
        'change.c',
        "        change_settle_cell(space, record, link, &kept, doomed);\n",
        "        change_settle_cell(space, record, link, &kept, doomed);\n        break;\n",
        'step a batch'
    ],
    [
        'an undone change is published',
        'change.c',
        "    change_close(var);\n}\n\nbool store_is_open",
        "    change_publish(var);\n    change_close(var);\n}\n\nbool store_is_open", 'hash'
    ],
    [
        'a directory stays its maker\'s',
        'table.c',
        "    row_disown(space, page);\n    hash_give_up_root",
        '    hash_give_up_root',
        'step growth to 64 buckets'
    ],
    [
        'an old directory is given up before it is ours',
        'table.c',
        "    if (old != 0) row_adopt(space, old);\n    change_intended(record);",
        "    change_intended(record);\n    if (old != 0) row_adopt(space, old);",
        'step growth to 64 buckets'
    ],
    [
        'a page of heads stays its maker\'s',
        'table.c',
        "        hash_link(place, page);\n        row_disown(space, page);",
        '        hash_link(place, page);',
        'step one more page of buckets'
    ],
    [
        'a bucket is split, and the heir not told',
        'table.c', "    change_intend(record, STORE_INTENT_SPLIT, 0, fresh);\n",
        '',        'step growth to 16 buckets'
    ],
    [
        'a cell is linked before it leads on',
        'hash.c',
        "    STORE_STORE(cell->next, *place);\n    change_add(var, link, cell);\n    hash_link(place, link);",
        "    STORE_STORE(cell->next, 0);\n    change_add(var, link, cell);\n    hash_link(place, link);", 'hash'
    ],
    [
        'a state may be the draft of the serial after the next',
        'change.c',
        'return STORE_LOAD(record->serial) == sight->serial;',
        'return true;',
        'pairs scalar: fetch and numbers'
    ],
    [
        'a miss does not look at the number of buckets again',
        'hash.c',
        '    *torn = hash_table(var->record).word != table.word; /* its',
        '    *torn = false; /* its', 'looks'
    ],
    [
        'what went out of the middle is not put back',
        'array.c', "        array_put_back_ended(space, record, state);\n",
        '',        'step splice without room'
    ],
    [
        'links are moved while others read',
        'array.c',
        "        array_keep_out(record);\n    }\n    else if",
        "    }\n    else if",
        'pairs list and a splice without room'
    ],
    [
        'an heir puts back, and cells do not say where they were',
        'array.c', "        array_note_places(var, first, count);\n",
        '',        'step splices without room in one change'
    ],
    [
        'a second gap further down is not put back',
        'array.c', "        __atomic_store_n(&record->intent_place, where, __ATOMIC_RELEASE);",
        '',        'step splices without room'
    ],
    [
        'a place whose cell belongs elsewhere keeps it',
        'array.c', "if (place != NULL && (cell == NULL || array_at(space, state, STORE_LOAD(cell->hash)) != place)) array_link(place, 0);",
        ';',       'step splices without room'
    ],
    [
        'an heir lets others read before all is back',
        'lock.h',
        "    if (owner == STORE_MOVING) return true;\n",
        '',
        'step push after a dead splice without room'
    ],
    [
        'an array is read beyond its end', 'array.c', 'index < sight->state.length ? array_version(var',
        'true ? array_version(var',        'array'
    ],
    [
        'a sweep does not look at what was shaded since',
        'recover.c',
        "    if (__atomic_load_n(&record->epoch, __ATOMIC_SEQ_CST) == search->epoch) return;\n    if (!__atomic",
        '    if (!__atomic',
        'pairs recovery and the first variables'
    ],
    [
        'a dead writer is taken for alive',
        'lock.c',
        'if (!pool_lock_is_left(space->identity, holder)) return false;',
        'if (holder != UINT64_MAX) return false;', 'locks'
    ],
    [
        'a dead writer is listed',
        'lock.c',
        'return owner != 0 && owner != STORE_MOVING && !space_is_dead(space, owner) ? owner : 0;',
        'return owner;', 'locks'
    ],
    [
        'what is added to never vanishes again',
        'hash.c',
        '        expires_ns = cell_expires(var->space, old, cell);',
        '        expires_ns = 0;', 'hash'
    ],
    [
        'an addition that overflows is stored',
        'hash.c',
        'if (__builtin_add_overflow(integer, delta, sum)) return STORE_E_ARGUMENT;',
        '*sum = (int64_t)((uint64_t)integer + (uint64_t)delta);', 'hash'
    ],
    [ 'what is taken stays', 'array.c', 'return code == STORE_OK ? array_open_gap(var, index, 1, 0) : code;', 'return code;', 'array' ],
    [ 'what has expired is there', 'expiry.h', 'return expires == 0 || expires > *now;',                      'return true;', 'expiry' ],
    [
        'a store that fetches ahead does not say that it looks',
        'hash.c',
        '    look_enter(looking); /* the pages of the table',
        '    /* the pages of the table', 'stopped'
    ],
    [
        'a sweep that was interrupted begins anew',
        'expiry.c',
        '    while (more && code',
        "    sweep->place = 0;\n    while (more && code", 'expiry'
    ],
    [ 'a sweep is one change', 'expiry.c', '#define HASH_SWEPT        128u', '#define HASH_SWEPT        UINT64_MAX', 'expiry' ],
    [
        'what the clock was is taken for what it is',
        'clock.c',
        '__ATOMIC_ACQUIRE) < fresh)',
        '__ATOMIC_ACQUIRE) < fresh * 1000000000)',
        'clock'
    ],
    [
        'a tree is replaced, and nobody told',
        'array.c',     "    else\n        change_intend(var->record, STORE_INTENT_TREE, 0, change_serial(var));",
        '    else {}', 'step splice: more'
    ],
    [ 'a tree that is given up is not freed', 'array.c', "    tree_each_page(space, &tree, row_free); /* they are ours */\n", '', 'array' ],
    [
        'what is published of an array is overwritten',
        'array.c',
        'return !var->is_new_tree && !array_has_moved(var) && array_place(',
        'return false && array_place(',
        'step an array batch undone'
    ],
    [
        'an element that moved stays where it ended',
        'array.c', "    if (var->is_new_tree || array_has_moved(var)) array_link(place, 0);\n",
        '',        'array'
    ],
    [
        'the last one to use a variable leaves it',
        'var.c', 'if (count == one && row_take(space, link, 0)) ref_doom(space, link, doomed);',
        '',      'refs'
    ],
    [
        'a reference is dropped before it says so',
        'var.c',
        "    __atomic_store_n(&cell->flags, (uint8_t)(cell->flags & ~STORE_CELL_COUNTED), __ATOMIC_RELEASE);\n    ref_drop(space, &ref, doomed);",
        "    ref_drop(space, &ref, doomed);\n    __atomic_store_n(&cell->flags, (uint8_t)(cell->flags & ~STORE_CELL_COUNTED), __ATOMIC_RELEASE);",
        'step one of two references'
    ],
    [
        'a mark is counted down, then said not to be',
        'var.c', "    __atomic_store_n(&mark->state, STORE_MARK_NONE, __ATOMIC_RELEASE);",
        '',      'step attach and release'
    ],
    [
        'a new variable stays its maker\'s',
        'var.c',
        "    row_disown(space, link);\n    count_down(space, ref.slot",
        '    count_down(space, ref.slot', 'refs'
    ],
    [
        'a child thinks that it has the locks',
        'var.c', 'var->write_held = var->read_held = var->open = var->is_joint = false;',
        '',      'process'
    ],
    [
        'a child that gets the processor late has lost what its parent had',
        'var.c',
        'return (said & STORE_MARK_COMES) != 0 || store_clock() < until;',
        'return store_clock() < until;', 'process'
    ],
    [
        'an heir does not settle',
        'lock.c',
        "    change_settle(space, record, doomed);\n    __atomic_store_n(&record->exclusive",
        '    __atomic_store_n(&record->exclusive',
        'step put after a dead writer'
    ],
    [ 'readers are overlooked', 'lock.c', 'if (lock_find_reader(var, 0) != 0) return true;', '', 'locks' ],
    [
        'who cannot have a lock keeps others out',
        'lock.c', "    if (!lock_swap(lock, me | LOCK_PENDING, 0)) return POOL_FULL;\n",
        '',       'locks'
    ],
    [
        'a recovery settles nothing',
        'recover.c', 'if (lock_inherit(space, record, &recovery->doomed)) {',
        'if (0) {',  'step recovery of a dead writer'
    ],
    [
        'an heir does not ask the joint',
        'change.c',   'if (joint != 0 && joint_has_happened(space, joint))',
        'if (false)', 'step a joint change'
    ],
    [
        'a joint has always happened',
        'change.c',
        'if (joint != 0 && joint_has_happened(space, joint))',
        'if (joint != 0)',
        'step a joint change'
    ],
    [
        'a joint has happened before all drafts lead to it',
        'change.c',
        "    for (i = 0; i < count; i++)\n        if (joint != 0 && vars[i]->changed) joint_prepare(vars[i], joint);\n    if (joint != 0) joint_publish(vars[0]->space, joint);\n",
        "    if (joint != 0) joint_publish(vars[0]->space, joint);\n    for (i = 0; i < count; i++)\n        if (joint != 0 && vars[i]->changed) joint_prepare(vars[i], joint);\n",
        'step a joint change'
    ],
    [
        'the link to a joint stays behind',
        'change.c',
        "    __atomic_store_n(&record->state[0].joint, 0, __ATOMIC_RELEASE); /* after the serial: pairs with lock_inherit() */\n    __atomic_store_n(&record->state[1].joint, 0, __ATOMIC_RELEASE);\n",
        '',
        'joint'
    ],
    [
        'variables of a joint change are seen one after the other',
        'change.c',
        "    if (!var->write_held && STORE_LOAD(var->record->exclusive) != STORE_MOVING)\n        __atomic_store_n(&var->record->exclusive, space_me(var->space), __ATOMIC_SEQ_CST);",
        '',
        'joint'
    ],
    [
        'an heir of a joint change that dies is not waited for',
        'lock.h',
        'return (STORE_LOAD(record->state[0].joint) | STORE_LOAD(record->state[1].joint)) != 0;',
        'return false;',
        'step look after a dead joint change'
    ],
    [
        'who waits with a joint change open is not told of a circle', 'change.c',
        "    var->is_joint = true;\n    lock_count_held(1);\n",       '',
        'joint'
    ],
    [ 'a joint is kept', 'change.c', '    if (joint != 0) cell_free(vars[0]->space, joint);', '', 'joint' ],
    [
        'a recovery does not wait for an heir',
        'recover.c',
        'recovery->unsettled = true; /* the next',
        '{} /* the next',
        'step put after a dead writer'
    ],
    [ 'a recovery does not wait for who destroys', 'recover.c', "        recovery->unsettled = true;\n}", "        {}\n}",      'garbage' ],
    [ 'names that are not found are none', 'recover.c', "        search->failed = true;\n    else\n", "        {}\n    else\n", 'damage' ],
    [
        'a hash that says more than it has is believed',
        'recover.c',
        ' && search->visited != sight.state.length) return false;',
        ' && 0) return false;', 'damage'
    ],
    [
        'a part is made inside another',
        'space.c',     'if (other < place ? place - other < pool_size(&spec) : other - place < size) return false;',
        '(void)spec;', 'damage'
    ],
    [ 'a tree that was freed is led to', 'array.c', "        array_forget_tree(before);\n        tree", "        tree", 'damage' ],
    [
        'what is shaded is not looked at',
        'recover.c', "    row_each(search->space, STORE_ROW_VARIABLES, search_shaded, search);\n",
        '',          'garbage'
    ],
    [
        'what was made before there was no memory is kept',
        'array.c',
        "    array_drop_cells(var, &cells);\n    return code;",
        "    if (code == STORE_OK) array_drop_cells(var, &cells);\n    return code;", 'memory'
    ],
    [
        'blocks that were had before there was no room are kept',
        'cell.c',
        "        cell_free(space, link);\n        return 0;",
        '        return 0;', 'memory'
    ],
);

plan skip_all => 'stepping by stores is written for x86-64' if $Config{archname} !~ /x86_64/;

$ENV{STORE_STEP_PLACES} = 60;

my $here = dirname($FindBin::Bin);
my $copy = scratch_folder();
my ($cc) = split ' ', $ENV{CC} || $Config{cc};
my @make = ($cc, qw(-std=gnu11 -O1 -g -pthread -DSTORE_ASSERT));
make_path(map {"$copy/$_"} qw(t/c t/store xt store));
for my $file (map { glob "$here/$_" } qw(*.h pool.c t/c/test.h t/store/*.[ch] xt/store_*.[ch] store/*.[ch])) {
    copy($file, $copy . substr $file, length $here) or die "cannot copy $file: $!";
}

sub object { return "$copy/" . ($_[0] =~ s{[/.]}{_}gr) . '.o' }

sub compile {
    my ($source) = @_;
    my $said = qx{@make -c -o ${\ object($source)} $copy/$source 2>&1};
    return $? == 0 ? 1 : (diag($said), 0)[1];
}

my @library = map { substr $_, length "$here/" } "$here/pool.c", glob "$here/store/*.c";
my %program;    # what is compiled of the programs

# Build the program that finds it, and run it: its exit status, and what it complains of.
sub find {
    my ($finder) = @_;
    my ($source, @arguments) = $finder =~ /^(step|pairs) (.+)/ ? ("xt/store_$1.c", $2) : ("t/store/$finder.c");
    my $text    = do { local (@ARGV, $/) = "$copy/$source"; <> };
    my $whole   = $text =~ /^#define POOL_IMPLEMENTATION/m;
    my $fresh   = $whole || !$program{$source}++;
    my @objects = map { object($_) } $source, $whole ? () : @library;
    return -1 if $fresh && !compile($source);
    my $said = qx{@make -o $copy/program @objects 2>&1};
    return (diag($said), -1)[1] if $? != 0;
    local $ENV{TMPDIR}            = "$copy";
    local $ENV{STORE_STEP_PLACES} = 60;
    local $ENV{STORE_PAIR_PLACES} = 120;
    return verdict('timeout', '-k', '5', '60', "$copy/program", @arguments);
}

sub text_of {
    my ($file, $text) = @_;
    if (defined $text) {
        open my $out, '>', "$copy/store/$file" or die "cannot write $copy/store/$file: $!";
        print {$out} $text;
        close $out or die "cannot write $copy/store/$file: $!";
        return $text;
    }
    local (@ARGV, $/) = "$copy/store/$file";
    return scalar <>;
}

compile($_) || BAIL_OUT("cannot compile $_") for @library;

for my $mutant (@mutants) {
    my ($what, $file, $from, $to, $finder) = @$mutant;
    next if @ARGV && index("$what $finder", $ARGV[0]) < 0;
    my $good  = text_of($file);
    my $times = () = $good =~ /\Q$from\E/g;
    is($times, 1, "$what: the code to break is there") or next;
    text_of($file, $good =~ s/\Q$from\E/$to/r);
    my @changed = $file =~ /\.h\z/ ? @library : "store/$file";
    my ($status, @complaints) = (grep { !compile($_) } @changed) ? -1 : find($finder);
    for (my $again = 9; $status == 0 && $again > 0; $again--) { ($status, @complaints) = find($finder) }    # some are a matter of when
    ok($status > 0, "$what: found by $finder") or diag("status $status");
    note($complaints[0] // "no complaint, status $status");
    text_of($file, $good);
    compile($_) for @changed;
}

done_testing;
