/*
 * whole.c - the whole content of a variable as one argument for Redis, written in one go from perl's stack. A client
 * handles each argument by itself, and a method of perl for each element would cost more than all the rest.
 *
 *   MessagePack:       dd  4 number of texts  (db  4 length  text) ...        what scripts can read
 *   as Redis dumps it: 04  number of elements  (length key  length value) ...  09 00  8 CRC-64 of all that
 *
 * RESTORE makes a table of the latter in half the time that HSET takes, for no text goes through Lua. A length
 * is 1, 2 or 5 bytes there, and the keys of an array are its indices. A key that comes twice is an error for
 * the server: then there is no dump.
 */
#include "shm.h"

#include <pthread.h>

/* --- what a dump has ------------------------------------------------------- */

#define DUMP_CRC_POLYNOMIAL UINT64_C(0x95ac9329ac4bc9b5)

/* Little-endian, which compilers know to be one load. */
static uint64_t dump_word(const unsigned char *at)
{
    return (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 24 | (uint64_t)at[4] << 32
           | (uint64_t)at[5] << 40 | (uint64_t)at[6] << 48 | (uint64_t)at[7] << 56;
}

/* Eight bytes a step. */
static uint64_t dump_table[8][256];

static void dump_make_table(void)
{
    uint64_t crc;
    size_t   i, j;
    for (i = 0; i < 256; i++) {
        crc = i;
        for (j = 0; j < 8; j++) crc = crc >> 1 ^ (DUMP_CRC_POLYNOMIAL & (UINT64_C(0) - (crc & 1)));
        dump_table[0][i] = crc;
    }
    for (j = 1; j < 8; j++) {
        for (i = 0; i < 256; i++) dump_table[j][i] = dump_table[0][dump_table[j - 1][i] & 0xff] ^ dump_table[j - 1][i] >> 8;
    }
}

static uint64_t dump_crc(const unsigned char *bytes, size_t n)
{
    static pthread_once_t once  = PTHREAD_ONCE_INIT;
    uint64_t(*const table)[256] = dump_table;
    uint64_t crc;
    pthread_once(&once, dump_make_table);
    for (crc = 0; n >= 8; n -= 8, bytes += 8) {
        crc ^= dump_word(bytes);
        crc = table[7][crc & 0xff] ^ table[6][crc >> 8 & 0xff] ^ table[5][crc >> 16 & 0xff] ^ table[4][crc >> 24 & 0xff]
              ^ table[3][crc >> 32 & 0xff] ^ table[2][crc >> 40 & 0xff] ^ table[1][crc >> 48 & 0xff] ^ table[0][crc >> 56];
    }
    for (; n > 0; n--) crc = table[0][(crc ^ *bytes++) & 0xff] ^ crc >> 8;
    return crc;
}

static unsigned char *dump_length(unsigned char *to, size_t n)
{
    if (n < 0x40)
        *to++ = (unsigned char)n;
    else if (n < 0x4000) {
        *to++ = (unsigned char)(0x40 | n >> 8);
        *to++ = (unsigned char)(n & 0xff);
    }
    else {
        *to++ = 0x80;
        *to++ = (unsigned char)(n >> 24 & 0xff);
        *to++ = (unsigned char)(n >> 16 & 0xff);
        *to++ = (unsigned char)(n >> 8 & 0xff);
        *to++ = (unsigned char)(n & 0xff);
    }
    return to;
}

/* Which keys a dump has: where they are in it, 0 for none. mask + 1 is at least twice their number. */
typedef struct {
    size_t *place;
    size_t  mask;
} dump_keys;

static dump_keys dump_keys_for(pTHX_ size_t n)
{
    dump_keys keys = { NULL, 1 };
    SV       *table;
    size_t    size;
    while (keys.mask < 2 * n) keys.mask = 2 * keys.mask + 1;
    size       = (keys.mask + 1) * sizeof *keys.place;
    table      = sv_2mortal(newSV(size));
    keys.place = (size_t *)(void *)SvPVX(table);
    memset(keys.place, 0, size);
    return keys;
}

/* The `n` bytes that end the dump are a key, with its length. */
static bool dump_is_new(pTHX_ const dump_keys *keys, SV *dump, size_t n)
{
    const char *begin = SvPVX_const(dump);
    size_t      at    = SvCUR(dump) - n, i;
    U32         hash;
    PERL_HASH(hash, begin + at, n);
    for (i = hash & keys->mask; keys->place[i] != 0; i = (i + 1) & keys->mask) {
        if (memcmp(begin + keys->place[i], begin + at, n) == 0) return false;
    }
    keys->place[i] = at;
    return true;
}

/* Its end, for which there is room. */
static void dump_finish(SV *dump)
{
    unsigned char *begin = (unsigned char *)SvPVX(dump), *to = begin + SvCUR(dump);
    uint64_t       crc;
    size_t         i;
    *to++ = 9;
    *to++ = 0;
    crc   = dump_crc(begin, (size_t)(to - begin));
    for (i = 0; i < 8; i++) *to++ = (unsigned char)(crc >> 8 * i & 0xff);
    SvCUR_set(dump, (STRLEN)(to - begin));
}

/* --- texts --------------------------------------------------------------------- */

/* Behind each text there is room for what ends a dump. */
#define WHOLE_ROOM 32u

typedef struct {
    SV       *out;
    bool      is_dump;
    dump_keys keys;
} whole_t;

static unsigned char *whole_number(unsigned char *to, U8 kind, size_t n)
{
    to[0] = kind;
    to[1] = (unsigned char)(n >> 24 & 0xff);
    to[2] = (unsigned char)(n >> 16 & 0xff);
    to[3] = (unsigned char)(n >> 8 & 0xff);
    to[4] = (unsigned char)(n & 0xff);
    return to + 5;
}

/* Written in place: four calls of perl's for each element would cost more than all the rest. */
static bool whole_add(pTHX_ whole_t *whole, char kind, const char *text, STRLEN length)
{
    STRLEN         used = SvCUR(whole->out);
    unsigned char *begin, *to;
    if (length >= 0xffffffff) return false;
    begin = (unsigned char *)SvGROW(whole->out, used + length + WHOLE_ROOM);
    to    = whole->is_dump ? dump_length(begin + used, length + 1) : whole_number(begin + used, 0xdb, length + 1);
    *to++ = (unsigned char)kind;
    memcpy(to, text, length);
    SvCUR_set(whole->out, (STRLEN)(to - begin) + length);
    return true;
}

/* A key without bytes that are characters: `=`, where need be after a conversion; else `~`. */
static bool whole_add_key(pTHX_ whole_t *whole, SV *key)
{
    STRLEN      length, before = SvCUR(whole->out);
    const char *text    = SvPV_nomg_const(key, length);
    bool        is_utf8 = SvUTF8(key) != 0, done;
    if (!is_utf8)
        done = whole_add(aTHX_ whole, '=', text, length);
    else {
        U8 *bytes = bytes_from_utf8((const U8 *)text, &length, &is_utf8); /* a new one, if it could */
        done      = whole_add(aTHX_ whole, is_utf8 ? '~' : '=', (const char *)bytes, length);
        if (!is_utf8) Safefree(bytes);
    }
    return done && (!whole->is_dump || dump_is_new(aTHX_ & whole->keys, whole->out, SvCUR(whole->out) - before));
}

static void whole_add_index(pTHX_ whole_t *whole, size_t index)
{
    char text[24];
    int  length = my_snprintf(text, sizeof text, "%lu", (unsigned long)index);
    whole_add(aTHX_ whole, text[0], text + 1, (STRLEN)length - 1);
}

/* What Value.pm's encode() makes of the value; numbers with a fraction are left to that. */
static bool whole_add_value(pTHX_ whole_t *whole, SV *value)
{
    STRLEN      length;
    const char *text;
    dSP;
    int n;
    if (SvROK(value) || isGV_with_GP(value)) return false;
    if (!SvOK(value)) return whole_add(aTHX_ whole, 'u', "", 0);
#ifdef SvIsBOOL
    if (SvIsBOOL(value)) return whole_add(aTHX_ whole, SvTRUE_nomg(value) ? 't' : 'f', "", 0);
#endif
    if (SvPOK(value) && (SvCUR(value) > 0 || !SvNIOK(value)))
        return whole_add(aTHX_ whole, SvUTF8(value) ? 'c' : 'b', SvPVX_const(value), SvCUR(value));
    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    XPUSHs(value);
    PUTBACK;
    n = call_pv("IPC::Shm::Engine::Redis::Value::encode", G_SCALAR);
    SPAGAIN;
    text = n > 0 ? SvPV_const(TOPs, length) : NULL;
    if (text != NULL && length > 0) whole_add(aTHX_ whole, *text, text + 1, length - 1);
    if (n > 0) (void)POPs;
    PUTBACK;
    FREETMPS;
    LEAVE;
    return text != NULL;
}

/* --- lists --------------------------------------------------------------------------- */

static void whole_begin(pTHX_ whole_t *whole, size_t n, bool is_hash, bool is_dump)
{
    size_t         elements = is_hash ? n / 2 : n;
    unsigned char *begin, *to;
    whole->out     = sv_2mortal(newSV(n * 16 + WHOLE_ROOM));
    whole->is_dump = is_dump;
    begin          = (unsigned char *)SvPVX(whole->out);
    if (is_dump) {
        *begin      = 4;
        to          = dump_length(begin + 1, elements);
        whole->keys = dump_keys_for(aTHX_ is_hash ? elements : 0);
    }
    else
        to = whole_number(begin, 0xdd, n);
    SvCUR_set(whole->out, (STRLEN)(to - begin));
    SvPOK_only(whole->out);
}

/* One of the list; `i` from 0 on. False: it cannot be among them. */
static bool whole_add_one(pTHX_ whole_t *whole, SV *sv, size_t i, bool is_hash)
{
    if (sv == NULL) return false;
    if (is_hash && i % 2 == 0) return !SvROK(sv) && SvOK(sv) && whole_add_key(aTHX_ whole, sv);
    if (!is_hash && whole->is_dump) whole_add_index(aTHX_ whole, i);
    return whole_add_value(aTHX_ whole, sv);
}

/* The list on the stack as one text, each value or, for a hash, each key and value. NULL: there are references
 * in it, or a dump cannot have it. */
static SV *whole_list(pTHX_ SSize_t from, SSize_t to, bool is_hash, bool is_dump)
{
    size_t  n = (size_t)(to - from), i;
    whole_t list, *whole = &list;
    whole_begin(aTHX_ whole, n, is_hash, is_dump);
    for (i = 0; i < n; i++) {
        if (!whole_add_one(aTHX_ whole, PL_stack_base[from + (SSize_t)i], i, is_hash)) return NULL;
    }
    if (is_dump) dump_finish(whole->out);
    *SvEND(whole->out) = '\0';
    return whole->out;
}

/* --- from one to the other ------------------------------------------------------------- */

static size_t dump_read_length(const unsigned char **at)
{
    const unsigned char *from = *at;
    if (*from < 0x40) {
        *at += 1;
        return *from;
    }
    if (*from < 0x80) {
        *at += 2;
        return (size_t)(*from & 0x3f) << 8 | from[1];
    }
    *at += 5;
    return (size_t)from[1] << 24 | (size_t)from[2] << 16 | (size_t)from[3] << 8 | from[4];
}

/* The same list as MessagePack, from its dump: by now the stack may lead to what a handler of a signal has freed. */
static SV *whole_repack(pTHX_ SV *dump, size_t n, bool is_hash)
{
    const unsigned char *at    = (const unsigned char *)SvPVX_const(dump) + 1;
    size_t               texts = 2 * dump_read_length(&at), i;
    whole_t              list, *whole = &list;
    whole_begin(aTHX_ whole, n, is_hash, false);
    for (i = 0; i < texts; i++) {
        size_t length = dump_read_length(&at);
        if (is_hash || i % 2 == 1) whole_add(aTHX_ whole, (char)*at, (const char *)at + 1, length - 1);
        at += length;
    }
    *SvEND(whole->out) = '\0';
    return whole->out;
}

/* A dump is worth its two commands from so many texts on. */
#define WHOLE_DUMPED 200

/* Give the elements on the stack to the container as its whole content. False: they have to be stored one
 * by one. They are read before a method is called, for the stack does not keep them alive. */
bool shm_engine_assign(pTHX_ SV *object, SSize_t from, SSize_t to, bool is_hash)
{
    SV *whole = NULL;
    if ((is_hash && (to - from) % 2 != 0) || to - from > 0x7fffffff) return false;
    if (to - from > WHOLE_DUMPED) whole = whole_list(aTHX_ from, to, is_hash, true);
    if (whole == NULL)
        whole = whole_list(aTHX_ from, to, is_hash, false);
    else if (shm_engine_ask(aTHX_ object, "_assign_dump", whole, false))
        return true;
    else
        whole = whole_repack(aTHX_ whole, (size_t)(to - from), is_hash);
    return whole != NULL && shm_engine_ask(aTHX_ object, "_assign_packed", whole, false);
}
