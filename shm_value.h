/*
 * shm_value.h - Perl values as tagged bytes, and back.
 *
 *   00..5f      a byte string of so many bytes
 *   60..7f      an integer from 0 to 31
 *   80 undef    81 integer >= 0 (varint)   82 integer < 0 (varint of -1 - n)
 *   83 double (8 bytes)    84 byte string (varint length)    85 characters
 *   86 a reference: a stand-in for another variable    87 no element (arrays)
 *   88 true     89 false
 *
 * A varint has seven bits a byte, low ones first. Bytes that were read are data:
 * every length is checked, and nothing in them names code to be run.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_VALUE_H
#define SHM_VALUE_H

#include "shm_stream.h"

enum shm_tag {
    SHM_T_SHORT = 0x60, /* below: a short byte string */
    SHM_T_SMALL = 0x80, /* below: a small integer     */
    SHM_T_UNDEF = 0x80,
    SHM_T_POSITIVE,
    SHM_T_NEGATIVE,
    SHM_T_DOUBLE,
    SHM_T_BYTES,
    SHM_T_CHARS,
    SHM_T_STANDIN,
    SHM_T_HOLE,
    SHM_T_TRUE,
    SHM_T_FALSE
};

/* A stand-in as it is stored: the variable, and the class that the reference is
 * blessed into (class_length 0: none). */
typedef struct shm_standin {
    shm_id_t    id;
    uint32_t    type;
    const char *class_name;
    size_t      class_length;
    bool        class_utf8;
} shm_standin_t;

/* Bytes to be read. `bad` is set where they end too early or make no sense. */
typedef struct shm_reader {
    const uint8_t *at, *end;
    bool           bad;
} shm_reader_t;

/* --- writing ---------------------------------------------------------- */

static inline void shm_put_byte(shm_buffer_t *out, uint8_t byte)
{
    if (shm_buffer_reserve(out, 1)) out->data[out->length++] = byte;
}

static inline void shm_put_varint(shm_buffer_t *out, uint64_t value)
{
    if (!shm_buffer_reserve(out, 10)) return;
    for (; value >= 0x80; value >>= 7) out->data[out->length++] = (uint8_t)(value | 0x80);
    out->data[out->length++] = (uint8_t)value;
}

static inline size_t shm_varint_size(uint64_t value)
{
    size_t size = 1;
    for (; value >= 0x80; value >>= 7) size++;
    return size;
}

/* Length and mark of characters, then the text: of keys and class names. */
static inline void shm_put_text(shm_buffer_t *out, const char *text, size_t length, bool utf8)
{
    shm_put_varint(out, (uint64_t)length << 1 | (utf8 ? 1 : 0));
    shm_buffer_put(out, text, length);
}

static inline void shm_put_integer(shm_buffer_t *out, IV value, bool is_uv)
{
    if (is_uv || value >= 0) {
        if ((UV)value < 32)
            shm_put_byte(out, (uint8_t)(SHM_T_SHORT + (UV)value));
        else {
            shm_put_byte(out, SHM_T_POSITIVE);
            shm_put_varint(out, (UV)value);
        }
        return;
    }
    shm_put_byte(out, SHM_T_NEGATIVE);
    shm_put_varint(out, (UV) - (value + 1));
}

static inline void shm_put_string(shm_buffer_t *out, const char *text, size_t length, bool utf8)
{
    if (!utf8 && length < SHM_T_SHORT)
        shm_put_byte(out, (uint8_t)length);
    else {
        shm_put_byte(out, utf8 ? SHM_T_CHARS : SHM_T_BYTES);
        shm_put_varint(out, length);
    }
    shm_buffer_put(out, text, length);
}

static inline void shm_put_standin(shm_buffer_t *out, const shm_standin_t *standin)
{
    shm_put_byte(out, SHM_T_STANDIN);
    shm_put_byte(out, (uint8_t)standin->type);
    shm_put_varint(out, standin->id.slot);
    shm_put_varint(out, standin->id.generation);
    shm_put_text(out, standin->class_name, standin->class_length, standin->class_utf8);
}

#ifdef SvIsBOOL
#define SHM_IS_BOOL(sv) SvIsBOOL(sv)
#else
#define SHM_IS_BOOL(sv) ((sv) == &PL_sv_yes || (sv) == &PL_sv_no)
#endif

/* Is a number that is both integer and double told whole by its integer? */
static inline bool shm_is_integer(SV *sv)
{
    NV number, integer;
    if (!SvIOK(sv)) return false;
    if (!SvNOK(sv)) return true;
    number  = SvNVX(sv);
    integer = SvIsUV(sv) ? (NV)SvUVX(sv) : (NV)SvIVX(sv);
    return memcmp(&number, &integer, sizeof(double)) == 0; /* NOLINT(bugprone-suspicious-memory-comparison): to the last bit */
}

/* A value that is no reference. Runs no code: get magic is the caller's. */
static inline void shm_put_plain(pTHX_ shm_buffer_t *out, SV *sv)
{
    if (SHM_IS_BOOL(sv))
        shm_put_byte(out, SvTRUE_nomg_NN(sv) ? SHM_T_TRUE : SHM_T_FALSE);
    else if (SvPOK(sv))
        shm_put_string(out, SvPVX_const(sv), SvCUR(sv), cBOOL(SvUTF8(sv)));
    else if (shm_is_integer(sv))
        shm_put_integer(out, SvIVX(sv), cBOOL(SvIsUV(sv)));
    else if (SvNOK(sv)) {
        double number = (double)SvNVX(sv);
        shm_put_byte(out, SHM_T_DOUBLE);
        shm_buffer_put(out, &number, sizeof number);
    }
    else if (SvOK(sv)) { /* private flags only: a value that came through magic */
        STRLEN      length;
        const char *text = SvPV_nomg_const(sv, length);
        shm_put_string(out, text, length, cBOOL(SvUTF8(sv)));
    }
    else
        shm_put_byte(out, SHM_T_UNDEF);
}

/* About what shm_put_plain() would write. */
static inline size_t shm_plain_size(SV *sv)
{
    if (SvPOK(sv)) return SvCUR(sv) + (SvCUR(sv) < SHM_T_SHORT && !SvUTF8(sv) ? 1 : 1 + shm_varint_size(SvCUR(sv)));
    if (SvIOK(sv)) return (UV)SvIVX(sv) < 32 ? 1 : 1 + shm_varint_size((UV)(SvIVX(sv) < 0 && !SvIsUV(sv) ? -(SvIVX(sv) + 1) : SvIVX(sv)));
    if (SvNOK(sv)) return 9;
    return SvROK(sv) || SvMAGICAL(sv) ? 8 : 1;
}

/* --- reading ---------------------------------------------------------- */

static inline uint8_t shm_get_byte(shm_reader_t *in)
{
    if (in->at < in->end) return *in->at++;
    in->bad = true;
    return 0;
}

static inline uint64_t shm_get_varint(shm_reader_t *in)
{
    uint64_t value = 0;
    int      shift;
    for (shift = 0; shift < 64; shift += 7) {
        uint8_t byte = shm_get_byte(in);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
    in->bad = true;
    return 0;
}

static inline const char *shm_get_bytes(shm_reader_t *in, uint64_t length)
{
    const uint8_t *at = in->at;
    if (in->bad || length > (uint64_t)(in->end - in->at)) {
        in->bad = true;
        return "";
    }
    in->at += length;
    return (const char *)at;
}

/* is_utf8_string() takes a length of 0 for "up to the next NUL". */
static inline bool shm_is_utf8(const char *text, size_t length)
{
    return length == 0 || is_utf8_string((const U8 *)text, length);
}

static inline const char *shm_get_text(shm_reader_t *in, size_t *length, bool *utf8)
{
    uint64_t    head = shm_get_varint(in);
    const char *text = shm_get_bytes(in, head >> 1);
    *length          = in->bad ? 0 : (size_t)(head >> 1);
    *utf8            = (head & 1) != 0 && shm_is_utf8(text, *length);
    return text;
}

/* After the tag. */
static inline void shm_get_standin(shm_reader_t *in, shm_standin_t *standin)
{
    standin->type          = shm_get_byte(in);
    standin->id.slot       = shm_get_varint(in);
    standin->id.generation = shm_get_varint(in);
    standin->class_name    = shm_get_text(in, &standin->class_length, &standin->class_utf8);
    if (standin->type < SHM_SCALAR || standin->type > SHM_HASH) in->bad = true;
}

/* Skip a value. Returns whether it is a stand-in, which is then in *standin. */
static inline bool shm_skip(shm_reader_t *in, shm_standin_t *standin)
{
    uint8_t tag = shm_get_byte(in);
    if (tag < SHM_T_SHORT)
        shm_get_bytes(in, tag);
    else if (tag >= SHM_T_SMALL)
        switch (tag) {
        case SHM_T_POSITIVE:
        case SHM_T_NEGATIVE: shm_get_varint(in); break;
        case SHM_T_DOUBLE: shm_get_bytes(in, sizeof(double)); break;
        case SHM_T_BYTES:
        case SHM_T_CHARS: shm_get_bytes(in, shm_get_varint(in)); break;
        case SHM_T_STANDIN: shm_get_standin(in, standin); return !in->bad;
        case SHM_T_UNDEF:
        case SHM_T_HOLE:
        case SHM_T_TRUE:
        case SHM_T_FALSE: break;
        default: in->bad = true;
        }
    return false;
}

/* A reference that nobody has looked at yet is kept as it is stored, in magic on
 * an undefined value: its variable is attached when it is fetched. */
static int shm_standin_free(pTHX_ SV *sv, MAGIC *mg)
{
    PERL_UNUSED_VAR(sv);
    PERL_UNUSED_VAR(mg);
    return 0;
}

static MGVTBL shm_standin_vtbl = { 0, 0, 0, 0, shm_standin_free, 0, 0, 0 };

static inline bool shm_is_standin(SV *sv)
{
    return SvTYPE(sv) >= SVt_PVMG && SvMAGICAL(sv) && mg_findext(sv, PERL_MAGIC_ext, &shm_standin_vtbl) != NULL;
}

/* Read a value into sv, which holds neither a reference nor a stand-in. False:
 * there is no element (a hole). */
static inline bool shm_get_value(pTHX_ shm_reader_t *in, SV *sv)
{
    const uint8_t *start = in->at;
    uint8_t        tag   = shm_get_byte(in);
    uint64_t       length;
    const char    *text;
    shm_standin_t  standin;
    double         number;

    if (tag < SHM_T_SHORT) {
        text = shm_get_bytes(in, tag);
        if (!in->bad) sv_setpvn(sv, text, tag);
        SvUTF8_off(sv);
        return true;
    }
    if (tag < SHM_T_SMALL) {
        sv_setiv(sv, tag - SHM_T_SHORT);
        return true;
    }
    switch (tag) {
    case SHM_T_UNDEF: sv_setsv(sv, &PL_sv_undef); break;
    case SHM_T_TRUE: sv_setsv(sv, &PL_sv_yes); break;
    case SHM_T_FALSE: sv_setsv(sv, &PL_sv_no); break;
    case SHM_T_POSITIVE: sv_setuv(sv, shm_get_varint(in)); break;
    case SHM_T_NEGATIVE: sv_setiv(sv, -1 - (IV)shm_get_varint(in)); break;
    case SHM_T_DOUBLE:
        text = shm_get_bytes(in, sizeof number);
        if (in->bad) break;
        memcpy(&number, text, sizeof number);
        sv_setnv(sv, number);
        break;
    case SHM_T_BYTES:
    case SHM_T_CHARS:
        length = shm_get_varint(in);
        text   = shm_get_bytes(in, length);
        if (in->bad) break;
        sv_setpvn(sv, text, length);
        if (tag == SHM_T_CHARS && shm_is_utf8(text, length))
            SvUTF8_on(sv);
        else
            SvUTF8_off(sv);
        break;
    case SHM_T_STANDIN:
        shm_get_standin(in, &standin);
        sv_setsv(sv, &PL_sv_undef);
        if (!in->bad) sv_magicext(sv, NULL, PERL_MAGIC_ext, &shm_standin_vtbl, (const char *)start, (I32)(in->at - start));
        break;
    case SHM_T_HOLE: return false;
    default: in->bad = true;
    }
    return true;
}

/* What a stand-in value stands for. */
static inline void shm_standin_of(SV *sv, shm_standin_t *standin)
{
    MAGIC       *mg = mg_findext(sv, PERL_MAGIC_ext, &shm_standin_vtbl);
    shm_reader_t in;
    in.at  = (const uint8_t *)mg->mg_ptr + 1;
    in.end = (const uint8_t *)mg->mg_ptr + mg->mg_len;
    in.bad = false;
    shm_get_standin(&in, standin);
}

#endif /* SHM_VALUE_H */
