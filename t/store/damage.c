/* Damaged memory. Whatever is written into an element, who goes from key to key comes to an end: each bit of
 * its head is turned, one after the other. What a hash says of its buckets does not lead out of its pages, and
 * who frees a chain that leads in a circle comes to an end. Nothing is freed because the names cannot be found, no
 * part is made inside another, and what a variable had before is not taken for what it has. */
#include "../../store/table.h"
#include "store_test.h"

#include <fcntl.h>

enum { KEYS = 12, HEAD = 40, MOST = 100 };

static store_t     *store;
static store_var_t *hash;

/* Where the file has it; -1: nowhere. */
static off_t place_of(int file, const char *text)
{
    static char piece[1 << 16];
    size_t      length = strlen(text);
    off_t       at     = 0;
    while ((at = lseek(file, at, SEEK_DATA)) >= 0) {
        ssize_t count = pread(file, piece, sizeof piece, at), i;
        if (count <= (ssize_t)length) return -1;
        for (i = 0; i + (ssize_t)length <= count; i++)
            if (memcmp(piece + i, text, length) == 0) return at + i;
        at += count - (ssize_t)length;
    }
    return -1;
}

static bool turn_bit(int file, off_t at, int bit)
{
    unsigned char byte;
    if (pread(file, &byte, 1, at) != 1) return false;
    byte = (unsigned char)(byte ^ 1u << bit);
    return pwrite(file, &byte, 1, at) == 1;
}

/* How many keys it gives; more than MOST: it would not end. *code: what the last call said. */
static int walk(int *code)
{
    char           text[2][200];
    store_buffer_t buffer = { text[0], sizeof text[0] };
    store_key_t    key, next;
    int            keys = 0;
    for (*code = store_hash_next(hash, NULL, &next, &buffer); *code == STORE_OK; *code = store_hash_next(hash, &key, &next, &buffer)) {
        if (++keys > MOST) break;
        key          = store_key(store, next.bytes, next.length, next.is_text); /* as whoever kept its text */
        buffer.space = text[keys % 2];
    }
    return keys;
}

static void fill(store_var_t *var, const char *prefix)
{
    int i;
    for (i = 0; i < KEYS; i++) {
        char          text[40];
        int           length = snprintf(text, sizeof text, "%s %d", prefix, i);
        store_key_t   key    = store_key(store, text, (uint32_t)length, false);
        store_value_t value  = store_int(i);
        MUST(store_hash_put(var, &key, &value, 0));
    }
}

static bool is_whole(store_var_t *var, const char *prefix)
{
    int i, found = 0;
    for (i = 0; i < KEYS; i++) {
        char          text[40];
        int           length = snprintf(text, sizeof text, "%s %d", prefix, i);
        store_key_t   key    = store_key(store, text, (uint32_t)length, false);
        store_value_t value;
        found += store_hash_get(var, &key, &value, NULL) == STORE_OK && value.number.i == i;
    }
    return found == KEYS;
}

/* A hash that says to have more buckets than its page has heads: what lies behind the page, other
 * pages and cells, is not taken for heads. */
static void too_many_buckets(void)
{
    enum { HASHES = 8, BUCKETS = 1000 };
    static const char *const name[] = { "cleared", "swept", "limited", "destroyed" };
    store_var_t             *var[HASHES];
    store_sweep_t            sweep = { 0, 0 };
    unsigned                 way, i;
    for (way = 0; way < 4; way++) {
        char          prefix[20];
        store_value_t value = store_int(1);
        unsigned      whole = 0;
        for (i = 0; i < HASHES; i++) {
            store_error_t err;
            if ((var[i] = store_new(store, STORE_HASH, &err)) == NULL) test_die("a hash", err.text);
            snprintf(prefix, sizeof prefix, "other %u", i);
            fill(var[i], prefix);
        }
        var[0]->record->table.is.shape = (var[0]->record->table.is.shape >> HASH_TIER_BIT) << HASH_TIER_BIT | BUCKETS;
        var[0]->record->soonest        = 1; /* as if something might expire */
        if (way == 0) store_hash_clear(var[0]);
        if (way == 1) store_hash_sweep(var[0], &sweep);
        if (way == 2) {
            store_key_t key = store_key(store, "one more", 8, false);
            store_hash_limit(var[0], 1);
            store_hash_put(var[0], &key, &value, 0);
        }
        store_release(var[0]);
        for (i = 1; i < HASHES; i++) {
            snprintf(prefix, sizeof prefix, "other %u", i);
            whole += is_whole(var[i], prefix);
            store_release(var[i]);
        }
        ok(whole == HASHES - 1, "a hash that says to have too many buckets is %s: others keep theirs (%u of %d)", name[way], whole,
           HASHES - 1);
    }
}

/* A chain that leads back to a cell that has been freed. */
static void chain_in_a_circle(void)
{
    static const char text[500];
    store_error_t     err;
    store_var_t      *var   = store_new(store, STORE_SCALAR, &err);
    store_value_t     value = store_text(text, sizeof text, false);
    store_link_t      link;
    if (var == NULL) test_die("a scalar", err.text);
    MUST(store_scalar_put(var, &value));
    link                       = var->record->state[var->record->serial & 1].root;
    cell_at(store, link)->next = link;
    store_release(var); /* without an end, before: the limit of the whole test ends it */
    ok(true, "a chain in a circle is freed, and that ends");
}

/* How many of the bits of these bytes, turned during a recovery, make a variable with a name be lost. */
static int lost_by(store_t *space, void *place, unsigned bytes)
{
    unsigned bit;
    int      lost = 0;
    for (bit = 0; bit < 8 * bytes; bit++) {
        store_error_t err;
        store_var_t  *kept;
        uint8_t      *byte = (uint8_t *)place + bit / 8;
        *byte              = (uint8_t)(*byte ^ 1u << bit % 8);
        store_recover(space);
        *byte = (uint8_t)(*byte ^ 1u << bit % 8);
        kept  = store_declare(space, STORE_HASH, "%kept", 5, false, &err);
        lost += kept == NULL || !is_whole(kept, "kept");
        store_release(kept);
        if (kept != NULL) continue;
        kept = var_named(space, STORE_HASH, "%kept");
        fill(kept, "kept");
        store_release(kept);
    }
    return lost;
}

/* The variable of the names, and what the header says of it. */
static void names_not_found(void)
{
    store_t        *other = store, *space = space_new("names");
    store_var_t    *kept;
    store_record_t *names;
    int             i;
    store = space;
    kept  = var_named(space, STORE_HASH, "%kept");
    fill(kept, "kept");
    store_release(kept);
    for (i = 0; i < 20; i++) {
        char name[20];
        snprintf(name, sizeof name, "$%d", i);
        store_release(var_named(space, STORE_SCALAR, name));
    }
    names = record_at(space, (uint32_t)space->header->names - 1);
    ok(lost_by(space, &space->header->names, 8) == 0, "a recovery that does not find the names frees nothing: where they are");
    ok(lost_by(space, &names->generation, 4) == 0, "… the generation");
    ok(lost_by(space, &names->type, 4) == 0, "… the type");
    ok(lost_by(space, &names->count, 8) == 0, "… the count");
    ok(lost_by(space, &names->table, 8) == 0, "… the buckets");
    ok(lost_by(space, &names->state[names->serial & 1].length, 8) == 0, "… the number of names");
    for (i = 1; i < 64; i++) {
        space->header->closed = UINT64_C(1) << i;
        if (store_is_closed(space)) break;
    }
    space->header->closed = 0;
    ok(i == 64, "only one value says that a namespace was removed");
    store_close(space);
    store = other;
}

/* A value of so many bytes, under a key that says so. */
static int put_bytes(store_var_t *hash, uint64_t bytes, char fill)
{
    static char   text[30000];
    char          name[32];
    store_key_t   key   = key_number(store, name, (int64_t)bytes);
    store_value_t value = store_text(text, bytes, false);
    memset(text, fill, bytes);
    return store_hash_put(hash, &key, &value, 0);
}

static bool has_bytes(store_var_t *hash, uint64_t bytes, char fill)
{
    static char    text[30000], want[30000];
    char           name[32];
    store_key_t    key    = key_number(store, name, (int64_t)bytes);
    store_buffer_t buffer = { text, sizeof text };
    store_value_t  value;
    memset(want, fill, bytes);
    return store_hash_get(hash, &key, &value, &buffer) == STORE_OK && value.length == bytes && memcmp(text, want, bytes) == 0;
}

/* Where the next part begins, or where one begins: in the middle of another, where that has only zeros yet. */
static void part_in_a_part(bool is_next)
{
    store_t     *other = store, *space;
    store_var_t *large, *small;
    uint64_t     inside, i, whole;
    uint32_t     row;
    store = space = space_new("parts");
    large         = var_named(space, STORE_HASH, "%large");
    small         = var_named(space, STORE_HASH, "%small");
    MUST(put_bytes(large, 10000, 'a'));
    row    = row_for(space, 700);
    inside = (uint64_t)((uint8_t *)row_ptr(space, row_link(space->block_row, 20)) - space->base) / 4096 * 4096;
    if (space->header->parts[row][0] != 0) test_die("a part", "is there already");
    *(is_next ? &space->header->next : &space->header->parts[row][0]) = inside;
    put_bytes(small, 650, 'b'); /* it may say that there is no room */
    for (i = 0; i < 10; i++) MUST(put_bytes(large, 20000 + i, 'c'));
    put_bytes(small, 651, 'd');
    for (i = whole = 0; i < 10; i++) whole += has_bytes(large, 20000 + i, 'c');
    ok(whole == 10 && has_bytes(large, 10000, 'a'), "%s inside another part: that keeps what it has",
       is_next ? "where the next part is to begin is" : "a part is said to be");
    store_release(large);
    store_release(small);
    store_remove_all(space, 0);
    store_close(space);
    store = other;
}

/* The serial goes back by one, or on by one: what the variable had before, and others have by now, is not taken for
 * what it has. */
static void what_was_before(uint32_t type)
{
    store_t      *other = store, *space;
    store_var_t  *var, *hash_of_others;
    store_value_t value = store_none(STORE_UNDEF);
    uint64_t      i, whole, size;
    static char   text[3000];
    store = space  = space_new("before");
    var            = var_new(space, type);
    hash_of_others = var_named(space, STORE_HASH, "%others");
    MUST(put_bytes(hash_of_others, 1, 'a'));
    value = store_text(text, sizeof text, false);
    if (type == STORE_SCALAR) {
        MUST(store_scalar_put(var, &value));
        MUST(store_scalar_put(var, &value));
    }
    else {
        for (i = 0; i < 256; i++) MUST(push_int(var, 1)); /* full, so the next one makes it another tree */
        MUST(push_int(var, 1));
    }
    size = type == STORE_SCALAR ? 3000 : 950; /* what lies in cells of the size of what was freed */
    for (i = 0; i < 60; i++) MUST(put_bytes(hash_of_others, size + i, 'b'));
    var->record->serial ^= 1;
    if (type == STORE_SCALAR) {
        value = store_int(1);
        store_scalar_put(var, &value);
    }
    else {
        for (i = 0; i < 100; i++) store_array_put(var, i, &value);
        store_array_resize(var, 0);
    }
    store_release(var);
    var = var_named(space, STORE_HASH, "%more");
    for (i = 0; i < 200; i++) MUST(put_bytes(var, size + i, 'c'));
    for (i = whole = 0; i < 60; i++) whole += has_bytes(hash_of_others, size + i, 'b');
    ok(whole == 60, "%s that is told its serial of before: others keep theirs (%d of 60)", type == STORE_SCALAR ? "a scalar" : "an array",
       (int)whole);
    store_release(var);
    store_release(hash_of_others);
    store_remove_all(space, 0);
    store_close(space);
    store = other;
}

/* An intent is turned on, long after the page that it was about was freed. */
static void page_of_others(void)
{
    store_t      *other = store, *space;
    store_var_t  *array, *hash_of_others;
    store_value_t value;
    uint64_t      i, whole;
    store = space  = space_new("intent");
    array          = var_new(space, STORE_ARRAY);
    hash_of_others = var_named(space, STORE_HASH, "%others");
    for (i = 0; i < 3000; i++) MUST(push_int(array, 1));
    for (i = 0; i < 2500; i++) MUST(store_array_take(array, false, &value, NULL));
    for (i = 0; i < 10; i++) MUST(push_int(array, 1)); /* pages that it has left behind are freed */
    if (array->record->intent_place == 0) test_die("a page", "was not freed");
    for (i = 0; i < 80; i++) MUST(put_bytes(hash_of_others, 3600 + i, 'b'));
    array->record->intent = STORE_INTENT_UNPAGE;
    MUST(push_int(array, 1));
    for (i = 0; i < 200; i++) MUST(put_bytes(hash_of_others, 3700 + i, 'c'));
    for (i = whole = 0; i < 80; i++) whole += has_bytes(hash_of_others, 3600 + i, 'b');
    ok(whole == 80, "an array that is told to free a page again: others keep theirs (%d of 80)", (int)whole);
    store_release(array);
    store_release(hash_of_others);
    store_remove_all(space, 0);
    store_close(space);
    store = other;
}

/* A lock that says that it is held, but not by any process, is not waited for. */
static void held_by_nobody(void)
{
    store_var_t *var = var_new(store, STORE_HASH);
    int          bit, left = 0, waits = 0;
    for (bit = POOL_I_PID_BITS; bit < 64; bit++) {
        var->record->lock.holder = UINT64_C(1) << bit;
        waits += AGAIN(store_begin(var, store_deadline(1))) != STORE_OK;
        store_abort(var);
        store->header->recovery.holder = UINT64_C(1) << bit;
        if (left == 0) store_recover(store);
        left += store->header->recovery.holder != 0;
        store->header->recovery.holder = 0;
    }
    var->record->lock.holder = 0;
    store_release(var);
    ok(waits == 0 && left == 0, "a lock that no process holds is taken (%d times it is not; that of recovery, %d times)", waits, left);
}

int main(void)
{
    static const char name[]  = "damaged";
    int               endless = 0, damaged = 0, lost = 0, wrong = 0, keys, code, file, byte, bit;
    char              path[420];
    off_t             at;
    test_begin();
    store = space_new("damage");
    hash  = var_named(store, STORE_HASH, "%damaged");
    fill(hash, name);
    snprintf(path, sizeof path, "%s/namespace", space_path("damage"));
    file = open(path, O_RDWR);
    at   = file < 0 ? -1 : place_of(file, "damaged 0");
    ok(at > HEAD, "a key is found in the file");
    ok(walk(&code) == KEYS && code == STORE_ABSENT, "all keys are given");
    for (byte = -HEAD; at > HEAD && byte < (int)sizeof name; byte++)
        for (bit = 0; bit < 8; bit++) {
            if (!turn_bit(file, at + byte, bit)) test_die("the file", "cannot be written");
            keys = walk(&code);
            endless += keys > MOST;
            damaged += code == STORE_E_DAMAGED;
            lost += keys < KEYS;
            wrong += keys <= MOST && code != STORE_ABSENT && code != STORE_E_DAMAGED && code != STORE_MORE;
            if (!turn_bit(file, at + byte, bit)) test_die("the file", "cannot be written");
        }
    ok(endless == 0, "whichever bit is turned, they come to an end (%d did not)", endless);
    ok(wrong == 0, "… or it is damaged (%d times it is something else)", wrong);
    ok(damaged > 50 && lost > 50, "… which is told (%d times), and elements are lost (%d times)", damaged, lost);
    ok(walk(&code) == KEYS && code == STORE_ABSENT, "turned back, all is well");
    too_many_buckets();
    chain_in_a_circle();
    names_not_found();
    part_in_a_part(true);
    part_in_a_part(false);
    what_was_before(STORE_SCALAR);
    what_was_before(STORE_ARRAY);
    page_of_others();
    held_by_nobody();
    if (file >= 0) close(file);
    store_release(hash);
    store_close(store);
    return test_done();
}
