/* Whatever is written into an element, who goes from key to key comes to an end: each bit of its
 * head is turned, one after the other. */
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

int main(void)
{
    static const char name[]  = "damaged";
    int               endless = 0, damaged = 0, lost = 0, wrong = 0, keys, code, file, byte, bit, i;
    char              path[420];
    off_t             at;
    test_begin();
    store = space_new("damage");
    hash  = var_named(store, STORE_HASH, "%damaged");
    for (i = 0; i < KEYS; i++) {
        char          text[40];
        int           length = snprintf(text, sizeof text, "%s %d", name, i);
        store_key_t   key    = store_key(store, text, (uint32_t)length, false);
        store_value_t value  = store_int(i);
        MUST(store_hash_put(hash, &key, &value, 0));
    }
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
    if (file >= 0) close(file);
    store_release(hash);
    store_close(store);
    return test_done();
}
