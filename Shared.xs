/* Data::Pool::Shared: the Perl binding of pool.h. Arguments are checked here,
 * the work is done there. */
#define PERL_NO_GET_CONTEXT
#include "EXTERN.h"
#include "perl.h"
#include "XSUB.h"

#include "pool.h"
#include "xs/shm.h"

#if IVSIZE < 8
#error "Data::Pool::Shared needs a perl with 64-bit integers"
#endif

#define CLASS "Data::Pool::Shared"
#define INTEGER_FITS(nv) ((nv) >= -9223372036854775808.0 && (nv) < 9223372036854775808.0)

typedef uint64_t slot_t;
typedef pool_t   readable_t; /* a pool that need not be writable: see the typemap */
typedef int      descriptor_t;

/* ------------------------------------------------------------------------
 * Objects. Each is a blessed scalar with a magic that only this file can make:
 * an integer forged by somebody else is never taken for an address.
 * --------------------------------------------------------------------- */

static int pool_magic_free(pTHX_ SV *sv, MAGIC *mg)
{
    PERL_UNUSED_ARG(sv);
    pool_close((pool_t *)mg->mg_ptr);
    mg->mg_ptr = NULL;
    return 0;
}

/* A cloned interpreter (ithreads) is one more user of the same handle. */
static int pool_magic_dup(pTHX_ MAGIC *mg, CLONE_PARAMS *params)
{
    PERL_UNUSED_ARG(params);
    if (mg->mg_ptr) pool_retain((pool_t *)mg->mg_ptr);
    return 0;
}

static MGVTBL pool_vtbl = { NULL, NULL, NULL, NULL, pool_magic_free, NULL, pool_magic_dup, NULL };

/* A pool that was attached to with the option readonly has the other one, so that the
 * methods that write do not find it, and no call pays for the question. */
static MGVTBL readonly_vtbl = { NULL, NULL, NULL, NULL, pool_magic_free, NULL, pool_magic_dup, NULL };

static MAGIC *attach_magic(pTHX_ SV *sv, int type, MGVTBL *vtbl, void *what)
{
    MAGIC *mg = sv_magicext(sv, NULL, type, vtbl, (const char *)what, 0);
    mg->mg_flags |= MGf_DUP;
    if (vtbl->svt_local) mg->mg_flags |= MGf_LOCAL;
    return mg;
}

static SV *new_object(pTHX_ const char *class, MGVTBL *vtbl, void *what)
{
    SV *body = newSV_type(SVt_PVMG);
    attach_magic(aTHX_ body, PERL_MAGIC_ext, vtbl, what);
    return sv_bless(newRV_noinc(body), gv_stashpv(class, GV_ADD));
}

PERL_STATIC_INLINE MAGIC *find_magic(SV *self, const MGVTBL *vtbl)
{
    MAGIC *mg;
    if (SvROK(self) && SvTYPE(SvRV(self)) >= SVt_PVMG)
        for (mg = SvMAGIC(SvRV(self)); mg; mg = mg->mg_moremagic)
            if (mg->mg_virtual == vtbl) return mg;
    return NULL;
}

static MAGIC *find_any_pool(SV *self)
{
    MAGIC *mg = find_magic(self, &pool_vtbl);
    return mg ? mg : find_magic(self, &readonly_vtbl);
}

static void no_pool(pTHX_ SV *self)
{
    MAGIC *mg = find_any_pool(self);
    if (mg && mg->mg_ptr) croak("writing is needed, and this " CLASS " object was made with the option readonly");
    if (mg) croak("This " CLASS " object was destroyed");
    croak("Expected a " CLASS " object");
}

PERL_STATIC_INLINE pool_t *pool_of(pTHX_ SV *self)
{
    MAGIC *mg = find_magic(self, &pool_vtbl);
    if (UNLIKELY(!mg || !mg->mg_ptr)) no_pool(aTHX_ self);
    return (pool_t *)mg->mg_ptr;
}

static pool_t *readonly_of(pTHX_ SV *self)
{
    MAGIC *mg = find_magic(self, &readonly_vtbl);
    if (!mg || !mg->mg_ptr) no_pool(aTHX_ self);
    return (pool_t *)mg->mg_ptr;
}

/* For methods that only read. */
PERL_STATIC_INLINE pool_t *readable_of(pTHX_ SV *self)
{
    MAGIC *mg = find_magic(self, &pool_vtbl);
    return LIKELY(mg && mg->mg_ptr) ? (pool_t *)mg->mg_ptr : readonly_of(aTHX_ self);
}

/* Keep the handle until the statement ends: for calls that may run Perl code
 * (signal handlers, warnings, overloading), which may drop the last object. */
static pool_t *hold(pTHX_ pool_t *pool)
{
    SV *holder = sv_newmortal();
    attach_magic(aTHX_ holder, PERL_MAGIC_ext, &pool_vtbl, pool_retain(pool));
    return pool;
}

/* What blocked calls do every 0.1 s and after each signal: Perl's handlers. */
static void run_signal_handlers(void)
{
    dTHX;
    PERL_ASYNC_CHECK();
}

/* ------------------------------------------------------------------------
 * Arguments
 * --------------------------------------------------------------------- */

/* An argument as a message shows it: in ASCII, which every handle prints, and short. */
static const char *shown(pTHX_ SV *sv)
{
    STRLEN      length;
    const char *text = SvPV_nomg(sv, length);
    return pv_pretty(newSVpvs_flags("", SVs_TEMP), text, length, 60, NULL, NULL,
                     PERL_PV_ESCAPE_NONASCII | PERL_PV_PRETTY_ELLIPSES | (SvUTF8(sv) ? PERL_PV_ESCAPE_UNI : 0));
}

/* The number that an object is by overloading; NULL: it is none. */
static SV *number_behind(pTHX_ SV *ref)
{
    SV *number = SvAMAGIC(ref) ? AMG_CALLunary(ref, numer_amg) : NULL;
    return number && !SvROK(number) ? number : NULL;
}

/* The index that an argument is: a whole number, or text or an object that is one. */
static slot_t slot_of_slow(pTHX_ const pool_t *pool, SV *sv)
{
    SV *number = sv;
    NV  nv;
    hold(aTHX_ (pool_t *)pool);
    SvGETMAGIC(sv);
    if (!SvOK(sv)) croak("undef slot: not an index");
    if (SvROK(sv)) number = number_behind(aTHX_ sv);
    if (!number || !looks_like_number(number))
        croak("slot %s is out of range: it is not a number, and the pool has slots 0 to %" UVuf, shown(aTHX_ sv), (UV)pool->capacity - 1);
    nv = SvNV_nomg(number);
    if (!(nv >= 0 && nv < (NV)pool->capacity && (NV)(slot_t)nv == nv))
        croak("slot %s is out of range: the pool has slots 0 to %" UVuf, shown(aTHX_ number), (UV)pool->capacity - 1);
    return (slot_t)nv;
}

PERL_STATIC_INLINE slot_t slot_of(pTHX_ const pool_t *pool, SV *sv)
{
    if (LIKELY(SvIOK(sv) && !SvGMAGICAL(sv) && (UV)SvIVX(sv) < pool->capacity)) return (slot_t)SvIVX(sv);
    return slot_of_slow(aTHX_ pool, sv);
}

static void not_allocated(pTHX_ slot_t slot)
{
    croak("slot %" UVuf " is not allocated", (UV)slot);
}

#define NEEDS_ALLOCATED(pool, slot) \
    if (UNLIKELY(!pool_is_allocated(pool, slot))) not_allocated(aTHX_ slot)

/* Text just below the smallest integer is rounded to that when it becomes a double. */
static bool is_text_below_smallest(pTHX_ SV *sv)
{
    STRLEN      length;
    UV          magnitude = 0;
    const char *text      = SvPOK(sv) ? SvPV_nomg(sv, length) : NULL;
    return text && (grok_number(text, length, &magnitude) & (IS_NUMBER_IN_UV | IS_NUMBER_NEG)) == (IS_NUMBER_IN_UV | IS_NUMBER_NEG)
           && magnitude > (UV)IV_MAX + 1;
}

/* A file descriptor, as fileno() gives it. */
static int descriptor_of(pTHX_ SV *sv)
{
    SV *number;
    NV  nv;
    SvGETMAGIC(sv);
    number = SvROK(sv) ? number_behind(aTHX_ sv) : sv;
    if (!number || !looks_like_number(number)) croak("%s is not a file descriptor", SvOK(sv) ? shown(aTHX_ sv) : "undef");
    nv = SvNV_nomg(number);
    if (!(nv >= INT32_MIN && nv <= INT32_MAX && (NV)(int)nv == nv)) croak("%s is not a file descriptor", shown(aTHX_ number));
    return (int)nv;
}

/* A process ID as owner() gives it; 0: nobody. */
static pid_t pid_of(pTHX_ SV *sv)
{
    SV *number;
    NV  nv;
    SvGETMAGIC(sv);
    number = SvROK(sv) ? number_behind(aTHX_ sv) : sv;
    nv     = number && looks_like_number(number) ? SvNV_nomg(number) : -1;
    if (!(nv >= 0 && nv <= INT32_MAX && (NV)(pid_t)nv == nv)) croak("%s is not a process ID", SvOK(sv) ? shown(aTHX_ sv) : "undef");
    return (pid_t)nv;
}

/* What a reference is stored as is not its address. */
static __attribute__((noreturn, noinline)) void no_value(pTHX_ SV *ref)
{
    croak("value %s is a reference: not a value of a slot", shown(aTHX_ ref));
}

static SV *number_of_object(pTHX_ SV *ref)
{
    SV *number = number_behind(aTHX_ ref);
    if (!number) no_value(aTHX_ ref);
    return number;
}

static __attribute__((noinline)) NV number_of_slow(pTHX_ SV *sv)
{
    SvGETMAGIC(sv);
    return SvNV_nomg(SvROK(sv) ? number_of_object(aTHX_ sv) : sv);
}

PERL_STATIC_INLINE NV number_of(pTHX_ SV *sv)
{
    return LIKELY((SvFLAGS(sv) & (SVf_NOK | SVs_GMG)) == SVf_NOK) ? SvNVX(sv) : number_of_slow(aTHX_ sv);
}

/* An integer of 64 bits, as Perl converts it (with its warnings); dies where
 * it does not fit. */
static IV integer_of_slow(pTHX_ SV *sv)
{
    IV iv;
    NV nv;
    SvGETMAGIC(sv);
    if (SvROK(sv)) sv = number_of_object(aTHX_ sv);
    iv = SvIV_nomg(sv);
    if (!SvOK(sv) || (SvIOK(sv) && !(SvIsUV(sv) && SvUVX(sv) > (UV)IV_MAX))) return iv;
    nv = SvNV_nomg(sv);
    if (SvIOK(sv) || !INTEGER_FITS(nv) || is_text_below_smallest(aTHX_ sv)) croak("value %s does not fit into 64 bits", shown(aTHX_ sv));
    return (IV)nv;
}

PERL_STATIC_INLINE IV integer_of(pTHX_ SV *sv)
{
    return LIKELY((SvFLAGS(sv) & (SVf_IOK | SVf_IVisUV | SVs_GMG)) == SVf_IOK) ? SvIVX(sv) : integer_of_slow(aTHX_ sv);
}

static int32_t int32_of(pTHX_ SV *sv)
{
    IV iv = integer_of(aTHX_ sv);
    if (UNLIKELY(iv < INT32_MIN || iv > INT32_MAX)) croak("value %" IVdf " does not fit into 32 bits", iv);
    return (int32_t)iv;
}

/* Seconds to nanoseconds. Not given, undef or negative: without limit. */
static int64_t timeout_of(pTHX_ SV *sv)
{
    NV seconds;
    if (!sv) return POOL_FOREVER;
    SvGETMAGIC(sv);
    if (!SvOK(sv)) return POOL_FOREVER;
    if (SvROK(sv) && !(sv = number_behind(aTHX_ sv))) croak("timeout is not a number");
    seconds = SvNV_nomg(sv);
    if (seconds != seconds) croak("timeout is not a number");
    if (seconds < 0) return POOL_FOREVER;
    return seconds < 9e9 ? (int64_t)(seconds * 1e9) : INT64_MAX;
}

/* ------------------------------------------------------------------------
 * Values: what goes into a slot, whatever the class. Converting one may run
 * Perl code and may die, storing it does neither.
 * --------------------------------------------------------------------- */

typedef struct {
    IV          integer;
    NV          number;
    const char *bytes;
    STRLEN      length;
    bool        utf8;
} value_t;

/* The longest beginning of at most `max` bytes that ends with a character. */
static STRLEN whole_characters(const char *text, STRLEN max)
{
    while (max > 0 && UTF8_IS_CONTINUATION((U8)text[max])) max--;
    return max;
}

/* The warning is Perl's business: lexical, perhaps fatal. */
static void warn_cut(pTHX_ STRLEN length, STRLEN max)
{
    dSP;
    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    mXPUSHs(newSVuv(length));
    mXPUSHs(newSVuv(max));
    PUTBACK;
    call_pv(CLASS "::_warn_cut", G_VOID | G_DISCARD);
    FREETMPS;
    LEAVE;
}

/* What an object is as text. */
static SV *text_of_object(pTHX_ SV *ref)
{
    SV *text = SvAMAGIC(ref) ? AMG_CALLunary(ref, string_amg) : NULL;
    if (!text || SvROK(text)) no_value(aTHX_ ref);
    return sv_mortalcopy(text);
}

static void bytes_of_slow(pTHX_ const pool_t *pool, SV *sv, STRLEN max, value_t *value)
{
    sv = sv_mortalcopy(sv); /* what Perl code may do to the original is nothing to us */
    if (SvROK(sv)) sv = text_of_object(aTHX_ sv);
    value->bytes  = SvPV(sv, value->length);
    value->utf8   = cBOOL(SvUTF8(sv));
    if (value->utf8 && pool->variant == POOL_RAW) {
        if (!sv_utf8_downgrade(sv, TRUE)) croak("Wide character in a value for a raw slot, which holds bytes");
        value->bytes = SvPV(sv, value->length);
    }
    if (value->length <= max) return;
    warn_cut(aTHX_ value->length, max);
    value->length = value->utf8 && pool->variant == POOL_STR ? whole_characters(value->bytes, max) : max;
}

/* Bytes that can be stored as they are, without running Perl code. */
PERL_STATIC_INLINE bool is_plain(const pool_t *pool, SV *sv, STRLEN max)
{
    return (SvFLAGS(sv) & (SVf_POK | SVs_GMG | SVf_ROK)) == SVf_POK && SvCUR(sv) <= max && (!SvUTF8(sv) || pool->variant == POOL_STR);
}

PERL_STATIC_INLINE STRLEN most_bytes(const pool_t *pool)
{
    return pool->variant == POOL_STR ? pool->elem_size - POOL_STR_HEAD : pool->elem_size;
}

static void bytes_of(pTHX_ const pool_t *pool, SV *sv, value_t *value)
{
    STRLEN max = most_bytes(pool);
    if (LIKELY(is_plain(pool, sv, max))) {
        value->bytes  = SvPVX_const(sv);
        value->length = SvCUR(sv);
        value->utf8   = cBOOL(SvUTF8(sv));
    }
    else
        bytes_of_slow(aTHX_ hold(aTHX_ (pool_t *)pool), sv, max, value);
}

/* Convert sv for this pool. In the cases that can run Perl code, hold the pool. */
PERL_STATIC_INLINE void value_of(pTHX_ pool_t *pool, SV *sv, value_t *value)
{
    if (!SvNIOK(sv) || SvGMAGICAL(sv)) {
        if (pool->variant == POOL_RAW || pool->variant == POOL_STR) {
            bytes_of(aTHX_ pool, sv, value);
            return;
        }
        hold(aTHX_ pool);
    }
    switch (pool->variant) {
    case POOL_I64: value->integer = integer_of(aTHX_ sv); break;
    case POOL_I32: value->integer = int32_of(aTHX_ sv); break;
    case POOL_F64: value->number = number_of(aTHX_ sv); break;
    default: bytes_of(aTHX_ pool, sv, value);
    }
}

/* Before Perl code runs that may change the variable whose bytes these are. */
static void keep_bytes(pTHX_ const pool_t *pool, value_t *value)
{
    if (pool->variant == POOL_RAW || pool->variant == POOL_STR) value->bytes = SvPVX(newSVpvn_flags(value->bytes, value->length, SVs_TEMP));
}

PERL_STATIC_INLINE void store(pool_t *pool, slot_t slot, const value_t *value)
{
    switch (pool->variant) {
    case POOL_I64: pool_i64_set(pool, slot, value->integer); break;
    case POOL_I32: pool_i32_set(pool, slot, (int32_t)value->integer); break;
    case POOL_F64: pool_f64_set(pool, slot, value->number); break;
    case POOL_STR: pool_str_set(pool, slot, value->bytes, (uint32_t)value->length, value->utf8); break;
    default:
        memcpy(pool_ptr(pool, slot), value->bytes, value->length);
        memset((char *)pool_ptr(pool, slot) + value->length, 0, pool->elem_size - value->length);
    }
}

/* Load the text of a Str slot. A peer may be writing to it: characters are
 * checked in our own copy, and what is torn comes as bytes. */
static void load_text(pTHX_ const pool_t *pool, slot_t slot, SV *sv)
{
    uint32_t    length;
    bool        utf8;
    const char *text = pool_str_get(pool, slot, &length, &utf8);
    sv_setpvn(sv, text, length);
    SvUTF8_off(sv);
    if (utf8 && is_utf8_string((const U8 *)SvPVX_const(sv), length)) SvUTF8_on(sv);
}

static void load(pTHX_ const pool_t *pool, slot_t slot, SV *sv)
{
    switch (pool->variant) {
    case POOL_I64: sv_setiv(sv, (IV)pool_i64_get(pool, slot)); break;
    case POOL_I32: sv_setiv(sv, (IV)pool_i32_get(pool, slot)); break;
    case POOL_F64: sv_setnv(sv, pool_f64_get(pool, slot)); break;
    case POOL_STR: load_text(aTHX_ pool, slot, sv); break;
    default:
        sv_setpvn(sv, (const char *)pool_ptr(pool, slot), pool->elem_size);
        SvUTF8_off(sv);
    }
}

/* ------------------------------------------------------------------------
 * Many slots: arrays of indices and values
 * --------------------------------------------------------------------- */

/* A buffer that is freed when the statement ends, or when it dies. */
static void *buffer(pTHX_ size_t bytes)
{
    return SvPVX(sv_2mortal(newSV(bytes ? bytes : 1)));
}

/* Kept until the statement ends, as reading its elements may run Perl code. */
static AV *array_of(pTHX_ SV *sv)
{
    SvGETMAGIC(sv);
    if (!SvROK(sv) || SvTYPE(SvRV(sv)) != SVt_PVAV) croak("expected arrayref");
    return (AV *)sv_2mortal(SvREFCNT_inc_simple_NN(SvRV(sv)));
}

static SV *element(pTHX_ AV *array, SSize_t i)
{
    SV **found = UNLIKELY(SvRMAGICAL((SV *)array)) ? av_fetch(array, i, 0) : i <= AvFILLp(array) ? &AvARRAY(array)[i] : NULL;
    return found && *found ? *found : &PL_sv_undef;
}

/* All indices, checked before anything is done with the first. */
static slot_t *slots_of(pTHX_ pool_t *pool, SV *sv, size_t *n)
{
    AV     *array = array_of(aTHX_ sv);
    slot_t *slots;
    size_t  i;

    *n    = (size_t)(av_len(array) + 1);
    slots = (slot_t *)buffer(aTHX_ *n * sizeof *slots);
    for (i = 0; i < *n; i++) slots[i] = slot_of(aTHX_ pool, element(aTHX_ array, (SSize_t)i));
    return slots;
}

static void all_allocated(pTHX_ const pool_t *pool, const slot_t *slots, size_t n)
{
    size_t i;
    for (i = 0; i < n; i++) NEEDS_ALLOCATED(pool, slots[i]);
}

static AV *new_array(pTHX_ size_t n)
{
    AV *array = (AV *)sv_2mortal((SV *)newAV());
    if (n > 0) av_extend(array, (SSize_t)n - 1);
    return array;
}

/* Append to an array made by new_array(): there is room. */
PERL_STATIC_INLINE void append(AV *array, SV *sv)
{
    AvARRAY(array)[++AvFILLp(array)] = sv;
}

/* The values for n slots: of an array as long as theirs, or NULL: one for all.
 * Where taking the bytes of one may run Perl code, which might change another,
 * they are copies. */
static AV *values_of(pTHX_ const pool_t *pool, SV *sv, size_t n)
{
    AV     *array, *copy;
    SSize_t i, length;

    if (!SvROK(sv) || SvTYPE(SvRV(sv)) != SVt_PVAV) return NULL;
    array  = array_of(aTHX_ sv);
    length = av_len(array) + 1;
    if ((size_t)length != n) croak("expected arrayref of %" UVuf " values, as many as slots", (UV)n);
    if (pool->variant != POOL_RAW && pool->variant != POOL_STR) return array;
    for (i = 0; i < length && is_plain(pool, element(aTHX_ array, i), most_bytes(pool)); i++) {}
    if (i == length) return array;
    copy = new_array(aTHX_ n);
    for (i = 0; i < length; i++) append(copy, newSVsv(element(aTHX_ array, i)));
    return copy;
}

static SV *nth_value(pTHX_ AV *values, SV *sv, size_t i)
{
    return values ? element(aTHX_ values, (SSize_t)i) : sv;
}

/* A code reference that stays one, whatever the code does to the caller's. */
static SV *code_of(pTHX_ SV *sv)
{
    SvGETMAGIC(sv);
    if (!SvROK(sv) || SvTYPE(SvRV(sv)) != SVt_PVCV) croak("expected a code reference");
    return sv_mortalcopy(sv);
}

/* Call it with one or two integers. On a stack of its own, so that a `last` that
 * wants to leave it is an error, not the end of perl. */
static void call_code(pTHX_ SV *code, int n, IV first, IV second)
{
    dSP;
    ENTER;
    SAVETMPS;
    PUSHSTACKi(PERLSI_MAGIC);
    PUSHMARK(SP);
    EXTEND(SP, 2);
    mPUSHi(first);
    if (n > 1) mPUSHi(second);
    PUTBACK;
    call_sv(code, G_VOID | G_DISCARD);
    POPSTACK;
    FREETMPS;
    LEAVE;
}

static SV *new_value(pTHX_ const pool_t *pool, slot_t slot)
{
    SV *sv;
    if (pool->variant == POOL_I64) return newSViv((IV)pool_i64_get(pool, slot));
    if (pool->variant == POOL_I32) return newSViv((IV)pool_i32_get(pool, slot));
    if (pool->variant == POOL_F64) return newSVnv(pool_f64_get(pool, slot));
    sv = newSV(0);
    load(aTHX_ pool, slot, sv);
    return sv;
}

/* ------------------------------------------------------------------------
 * Allocating
 * --------------------------------------------------------------------- */

static __attribute__((noinline)) void not_in_fixed(pTHX_ const pool_t *pool, const char *what)
{
    if (pool->fixed) croak("cannot %s: the slots of this pool are fixed, all are allocated from the start and none is ever free", what);
}

static void no_space(pTHX)
{
    if (errno == ENOSPC || errno == EDQUOT) croak("cannot allocate a slot: no space left on the filesystem of this sparse pool");
    croak("cannot allocate a slot: no space can be reserved for this sparse pool: %s", Strerror(errno));
}

/* Allocate n slots; false if there are not so many in time. */
static bool allocate(pTHX_ pool_t *pool, size_t n, int64_t timeout_ns, slot_t *slots)
{
    int code;
    not_in_fixed(aTHX_ pool, "allocate");
    code = pool_alloc_n(timeout_ns == 0 ? pool : hold(aTHX_ pool), n, timeout_ns, slots);
    if (code == POOL_E_NOSPC) no_space(aTHX);
    return code == POOL_OK;
}

static slot_t allocate_one(pTHX_ pool_t *pool, int64_t timeout_ns)
{
    slot_t slot = pool_try_alloc(pool);
    if (LIKELY(slot < POOL_NOSPC)) return slot;
    if (slot == POOL_NOSPC) no_space(aTHX);
    not_in_fixed(aTHX_ pool, "allocate");
    return timeout_ns != 0 && allocate(aTHX_ pool, 1, timeout_ns, &slot) ? slot : POOL_NONE;
}

/* How long a method waits: `try` never does, others as their last argument says. */
enum { WAITS = 0, TRIES = 1 };
#define TIMEOUT(timeout) (ix == TRIES ? 0 : timeout_of(aTHX_ timeout))

/* ------------------------------------------------------------------------
 * Guards: free their slot when they go, in the process and interpreter that
 * made them, and only that very allocation.
 * --------------------------------------------------------------------- */

typedef struct {
    pool_t  *pool;
    slot_t   slot;
    uint64_t generation;
} guard_t;

/* Frees nothing in a forked child: there pool_free_generation() asks for a slot
 * of the child, and this one is its parent's. */
static bool guard_release(guard_t *guard, bool free_slot)
{
    bool freed = guard->pool && free_slot && pool_free_generation(guard->pool, guard->slot, guard->generation);
    pool_close(guard->pool);
    guard->pool = NULL;
    return freed;
}

static int guard_magic_free(pTHX_ SV *sv, MAGIC *mg)
{
    PERL_UNUSED_ARG(sv);
    if (mg->mg_ptr) guard_release((guard_t *)mg->mg_ptr, true);
    Safefree(mg->mg_ptr);
    mg->mg_ptr = NULL;
    return 0;
}

/* The copy in a cloned interpreter guards nothing. */
static int guard_magic_dup(pTHX_ MAGIC *mg, CLONE_PARAMS *params)
{
    PERL_UNUSED_ARG(params);
    mg->mg_ptr = NULL;
    return 0;
}

static MGVTBL guard_vtbl = { NULL, NULL, NULL, NULL, guard_magic_free, NULL, guard_magic_dup, NULL };

static SV *new_guard(pTHX_ pool_t *pool, slot_t slot)
{
    guard_t *guard;
    Newx(guard, 1, guard_t);
    guard->pool       = pool_retain(pool);
    guard->slot       = slot;
    guard->generation = pool_generation(pool, slot);
    return new_object(aTHX_ CLASS "::Guard", &guard_vtbl, guard);
}

static guard_t *guard_of(pTHX_ SV *self)
{
    MAGIC *mg = find_magic(self, &guard_vtbl);
    if (!mg) croak("Expected a " CLASS "::Guard object");
    return (guard_t *)mg->mg_ptr;
}

/* ------------------------------------------------------------------------
 * Scalars that are slots: bound ones, and views of the memory
 * --------------------------------------------------------------------- */

/* The type of a bound scalar's magic. mg_get() of perl saves and restores the
 * variable's flags around every read, a third of its price, unless the magic is
 * of this type; bound_get() needs no such care. Under -T perl keeps its mark of
 * taint in the lowest bit of mg_len. A positive mg_len would mean that mg_ptr is
 * a string of this length, which a new thread copies: so start below zero. */
#define BOUND_MAGIC  PERL_MAGIC_taint
#define BOUND_LENGTH (-4)

typedef struct {
    pool_t *pool;
    slot_t  slot;
} bound_t;

/* What says of which kind a scalar's value is, and where its text begins. */
#define BOUND_KINDS (SVf_IOK | SVf_NOK | SVf_POK | SVf_ROK | SVp_IOK | SVp_NOK | SVp_POK | SVf_IVisUV | SVf_UTF8 | SVf_OOK)

static int bound_get(pTHX_ SV *sv, MAGIC *mg)
{
    const bound_t *bound = (const bound_t *)mg->mg_ptr;
    const pool_t  *pool  = bound->pool;

    NEEDS_ALLOCATED(pool, bound->slot);
    if (LIKELY(pool->variant == POOL_I64 && SvTYPE(sv) >= SVt_PVMG && !SvTHINKFIRST(sv))) {
        SvIV_set(sv, (IV)pool_i64_get(pool, bound->slot));
        if (UNLIKELY((SvFLAGS(sv) & BOUND_KINDS) != (SVf_IOK | SVp_IOK))) (void)SvIOK_only(sv); /* else it was that before */
    }
    else
        load(aTHX_ pool, bound->slot, sv);
    return 0;
}

static int bound_set(pTHX_ SV *sv, MAGIC *mg)
{
    const bound_t *bound = (const bound_t *)mg->mg_ptr;
    pool_t        *pool  = bound->pool;
    slot_t         slot  = bound->slot;
    value_t        value;

    if (LIKELY(pool->variant == POOL_I64 && (SvFLAGS(sv) & (SVf_IOK | SVf_IVisUV)) == SVf_IOK)) {
        NEEDS_ALLOCATED(pool, slot);
        pool_i64_set(pool, slot, SvIVX(sv));
        return 0;
    }
    value_of(aTHX_ pool, sv, &value);
    NEEDS_ALLOCATED(pool, slot);
    store(pool, slot, &value);
    return 0;
}

static int bound_free(pTHX_ SV *sv, MAGIC *mg)
{
    PERL_UNUSED_ARG(sv);
    pool_close(((bound_t *)mg->mg_ptr)->pool);
    Safefree(mg->mg_ptr);
    mg->mg_ptr = NULL;
    return 0;
}

static int bound_dup(pTHX_ MAGIC *mg, CLONE_PARAMS *params)
{
    const bound_t *old = (const bound_t *)mg->mg_ptr;
    bound_t       *bound;
    PERL_UNUSED_ARG(params);
    Newx(bound, 1, bound_t);
    *bound = *old;
    pool_retain(bound->pool);
    mg->mg_ptr = (char *)bound;
    return 0;
}

/* `local $x` makes a plain variable for a while. */
static int without_magic(pTHX_ SV *sv, MAGIC *mg)
{
    PERL_UNUSED_ARG(sv);
    PERL_UNUSED_ARG(mg);
    return 0;
}

static MGVTBL bound_vtbl = { bound_get, bound_set, NULL, NULL, bound_free, NULL, bound_dup, without_magic };

static void bind_scalar(pTHX_ pool_t *pool, slot_t slot, SV *sv)
{
    bound_t *bound;
    if (SvTYPE(sv) == SVt_PVLV && LvTYPE(sv) == 'y') { /* an element that does not exist yet: make it */
        mg_set(sv);
        if (LvTARG(sv)) sv = LvTARG(sv);
    }
    if (SvREADONLY(sv)) croak("cannot bind a read-only value");
    if (SvTYPE(sv) > SVt_PVMG) croak("cannot bind: not a plain scalar");
    Newx(bound, 1, bound_t);
    bound->pool = pool_retain(pool);
    bound->slot = slot;
    sv_unmagicext(sv, BOUND_MAGIC, &bound_vtbl);
    SvUPGRADE(sv, SVt_PVMG);
    attach_magic(aTHX_ sv, BOUND_MAGIC, &bound_vtbl, bound)->mg_len = BOUND_LENGTH;
}

/* A view of a Str slot shows as much text as there is when it is read. */
static int text_view_get(pTHX_ SV *sv, MAGIC *mg)
{
    const pool_t *pool = (const pool_t *)mg->mg_ptr;
    uint32_t      length;
    bool          utf8;
    pool_str_get(pool, (slot_t)((uint8_t *)SvPVX(sv) - POOL_STR_HEAD - pool->data) / pool->elem_size, &length, &utf8);
    SvCUR_set(sv, length);
    SvPOK_only(sv);
    return 0;
}

static MGVTBL view_vtbl      = { NULL, NULL, NULL, NULL, pool_magic_free, NULL, pool_magic_dup, without_magic };
static MGVTBL text_view_vtbl = { text_view_get, NULL, NULL, NULL, pool_magic_free, NULL, pool_magic_dup, without_magic };

/* A read-only scalar whose buffer is the slot. It keeps the pool by itself. */
static SV *new_view(pTHX_ pool_t *pool, slot_t slot)
{
    SV  *sv   = newSV_type(SVt_PVMG);
    bool text = pool->variant == POOL_STR;
    SvPV_set(sv, (char *)pool_ptr(pool, slot) + (text ? POOL_STR_HEAD : 0));
    SvLEN_set(sv, 0); /* not perl's to free */
    SvCUR_set(sv, text ? 0 : pool->elem_size);
    SvPOK_only(sv);
    attach_magic(aTHX_ sv, PERL_MAGIC_ext, text ? &text_view_vtbl : &view_vtbl, pool_retain(pool));
    if (text) mg_get(sv);
    SvREADONLY_on(sv);
    return sv;
}

/* ------------------------------------------------------------------------
 * Constructing
 * --------------------------------------------------------------------- */

/* A number of slots or bytes; undef is 0: as the existing pool has it. */
static uint64_t size_of(pTHX_ SV *given, const char *what, uint64_t most)
{
    SV *sv = given;
    NV  nv;
    if (!sv) return 0;
    SvGETMAGIC(sv);
    if (!SvOK(sv)) return 0;
    nv = SvROK(sv) && !(sv = number_behind(aTHX_ given)) ? 0 : SvNV_nomg(sv);
    if (!(nv >= 1)) croak("%s must be at least 1, not %s", what, shown(aTHX_ given));
    if (nv > (NV)most) croak("%s must be at most %" UVuf ", not %s", what, (UV)most, shown(aTHX_ given));
    return (uint64_t)nv;
}

static void option_of(pTHX_ pool_spec_t *spec, const char *name, SV *value)
{
    if (strEQ(name, "mode")) {
        IV mode = !SvROK(value) && looks_like_number(value) ? SvIV(value) : -1;
        if (mode < 0 || mode > 0777) croak("option mode must be permission bits from 0 to 0777");
        spec->flags |= POOL_MODE;
        spec->mode = (uint32_t)mode;
    }
    else if (strEQ(name, "sparse"))
        spec->flags |= SvTRUE(value) ? POOL_SPARSE : 0;
    else if (strEQ(name, "populate"))
        spec->flags |= SvTRUE(value) ? POOL_POPULATE : 0;
    else if (strEQ(name, "fixed"))
        spec->flags |= SvTRUE(value) ? POOL_FIXED : 0;
    else if (strEQ(name, "readonly"))
        spec->flags |= SvTRUE(value) ? POOL_READONLY : 0;
    else
        croak("unknown option %s: the options are mode, sparse, populate, fixed and readonly", shown(aTHX_ sv_2mortal(newSVpv(name, 0))));
}

static void options_of(pTHX_ pool_spec_t *spec, HV *options)
{
    HE *entry;
    hv_iterinit(options);
    while ((entry = hv_iternext(options))) {
        I32 length;
        option_of(aTHX_ spec, hv_iterkey(entry, &length), hv_iterval(options, entry));
    }
}

/* The arguments after the path, name or descriptor: capacity, for some classes
 * the size of an element, and options. */
static void spec_of(pTHX_ pool_spec_t *spec, uint32_t variant, SV **args, int n)
{
    const bool sized = variant == POOL_RAW || variant == POOL_STR;

    memset(spec, 0, sizeof *spec);
    spec->variant = variant;
    if (n > 0 && SvROK(args[n - 1]) && SvTYPE(SvRV(args[n - 1])) == SVt_PVHV) options_of(aTHX_ spec, (HV *)SvRV(args[--n]));
    if (n > (sized ? 2 : 1)) croak("too many arguments");
    spec->capacity = size_of(aTHX_ n > 0 ? args[0] : NULL, "capacity", POOL_MAX_CAPACITY);
    if (variant == POOL_STR) {
        spec->elem_size = size_of(aTHX_ n > 1 ? args[1] : NULL, "max_len", INT32_MAX - (UV)POOL_STR_HEAD);
        if (spec->elem_size) spec->elem_size += POOL_STR_HEAD;
    }
    else
        spec->elem_size = sized ? size_of(aTHX_ n > 1 ? args[1] : NULL, "elem_size", POOL_MAX_ELEM_SIZE) : variant == POOL_I32 ? 4 : 8;
    if (spec->capacity && !spec->elem_size) croak("%s is missing", variant == POOL_STR ? "max_len" : "elem_size");
}

static const char *text_of(pTHX_ SV *sv, const char *what)
{
    STRLEN      length;
    const char *text = SvPV(sv, length);
    if (strlen(text) != length) croak("the %s contains a NUL character", what);
    return text;
}

/* `$pool->new(...)` makes another of the same class. */
static const char *class_of(pTHX_ SV *sv)
{
    return SvROK(sv) ? sv_reftype(SvRV(sv), TRUE) : SvPV_nolen(sv);
}

static SV *new_pool(pTHX_ const char *class, pool_t *pool, const pool_error_t *error)
{
    if (!pool) croak("%s", error->text);
    pool_on_idle(pool, run_signal_handlers);
    return new_object(aTHX_ class, pool->readonly ? &readonly_vtbl : &pool_vtbl, pool);
}

/* The object of a pool of a class that the caller did not know. */
static SV *new_pool_of_variant(pTHX_ pool_t *pool, const pool_error_t *error)
{
    SV *class = sv_2mortal(newSVpvs(CLASS));
    if (pool && pool->variant != POOL_RAW) sv_catpvf(class, "::%s", pool_variant_name(pool->variant));
    return new_pool(aTHX_ SvPV_nolen(class), pool, error);
}

/* ------------------------------------------------------------------------
 * Who holds how many slots: counted in a hash by owner word
 * --------------------------------------------------------------------- */

static void count_holder(pTHX_ HV *counts, uint64_t owner, UV slots)
{
    SV **count = hv_fetch(counts, (const char *)&owner, sizeof owner, TRUE);
    sv_setuv(*count, (SvOK(*count) ? SvUV(*count) : 0) + slots);
}

/* Runs of one owner are counted before the hash is asked: neighbours mostly
 * are of one process. */
static HV *count_holders(pTHX_ const pool_t *pool, slot_t from, slot_t to)
{
    HV      *counts = (HV *)sv_2mortal((SV *)newHV());
    uint64_t owner  = 0;
    UV       run    = 0;
    slot_t   slot;

    for (slot = pool_next_held(pool, from); slot < to; slot = pool_next_held(pool, slot + 1)) {
        uint64_t now = pool_owner_word(pool, slot) & ~POOL_I_BUSY;
        if (now == 0) continue; /* freed just now */
        if (now != owner && run > 0) {
            count_holder(aTHX_ counts, owner, run);
            run = 0;
        }
        owner = now;
        run++;
    }
    if (run > 0) count_holder(aTHX_ counts, owner, run);
    return counts;
}

static SV *new_holder(pTHX_ HE *entry)
{
    HV      *holder = newHV();
    uint64_t owner;
    memcpy(&owner, HeKEY(entry), sizeof owner);
    (void)hv_stores(holder, "owner", newSVuv((UV)owner));
    (void)hv_stores(holder, "pid", newSViv((IV)pool_owner_pid(owner)));
    (void)hv_stores(holder, "slots", newSVsv(HeVAL(entry)));
    return newRV_noinc((SV *)holder);
}

/* ------------------------------------------------------------------------
 * Recovery
 * --------------------------------------------------------------------- */

typedef struct {
    pool_t  *pool;
    SV      *callback;
    slot_t   slot;
    uint64_t owner;
    uint64_t generation;
    bool     returned;
} stale_t;

/* The callback died: the slot stays stale, for the next recovery to find, unless
 * it was freed and allocated again in there. */
static void stale_unwind(pTHX_ void *context)
{
    stale_t *stale = (stale_t *)context;
    if (!stale->returned) pool_unadopt(stale->pool, stale->slot, stale->generation, stale->owner);
}

static bool stale_callback(pool_t *pool, uint64_t slot, uint64_t owner, void *context)
{
    dTHX;
    stale_t *stale = (stale_t *)context;

    stale->slot       = slot;
    stale->owner      = owner;
    stale->generation = pool_generation(pool, slot);
    stale->returned   = false;
    ENTER;
    SAVEDESTRUCTOR_X(stale_unwind, stale);
    call_code(aTHX_ stale->callback, 2, (IV)slot, (IV)pool_owner_pid(owner));
    stale->returned = true;
    LEAVE;
    return true;
}

/* Results in the call's own target, as perl's operators do. */
#define RETURN_IV(value)  \
    STMT_START {          \
        dXSTARG;          \
        XSprePUSH;        \
        PUSHi(value);     \
        XSRETURN(1);      \
    } STMT_END
#define RETURN_UV(value)  \
    STMT_START {          \
        dXSTARG;          \
        XSprePUSH;        \
        PUSHu(value);     \
        XSRETURN(1);      \
    } STMT_END
#define RETURN_NV(value)  \
    STMT_START {          \
        dXSTARG;          \
        XSprePUSH;        \
        PUSHn(value);     \
        XSRETURN(1);      \
    } STMT_END
#define RETURN_BOOL(value) \
    STMT_START {           \
        ST(0) = boolSV(value); \
        XSRETURN(1);       \
    } STMT_END
#define RETURN_SLOT(slot)                        \
    STMT_START {                                 \
        if ((slot) == POOL_NONE) XSRETURN_UNDEF; \
        RETURN_IV((IV)(slot));                   \
    } STMT_END

/* One body for the integers of 64 and 32 bits. */
#define INTEGER_CALL(pool, call64, call32) ((pool)->variant == POOL_I64 ? (IV)(call64) : (IV)(call32))

static void needs_number(pTHX_ const pool_t *pool)
{
    if (UNLIKELY(pool->variant == POOL_RAW || pool->variant == POOL_STR)) croak("Expected a " CLASS " object of numbers");
}

static void needs_integer(pTHX_ const pool_t *pool)
{
    if (UNLIKELY(pool->variant != POOL_I64 && pool->variant != POOL_I32)) croak("Expected a " CLASS " object of integers");
}


MODULE = Data::Pool::Shared    PACKAGE = Data::Pool::Shared

PROTOTYPES: DISABLE

void
new(class, path, ...)
    SV *class
    SV *path
  ALIAS:
    Data::Pool::Shared::new      = POOL_RAW
    Data::Pool::Shared::I64::new = POOL_I64
    Data::Pool::Shared::I32::new = POOL_I32
    Data::Pool::Shared::F64::new = POOL_F64
    Data::Pool::Shared::Str::new = POOL_STR
  PREINIT:
    pool_spec_t  spec;
    pool_error_t error;
    pool_t      *pool;
  PPCODE:
    spec_of(aTHX_ &spec, (uint32_t)ix, &ST(2), items - 2);
    SvGETMAGIC(path);
    if (!SvOK(path) && !spec.capacity) croak("capacity is missing: a pool without a path is a new one");
    if (!SvOK(path) && (spec.flags & POOL_READONLY)) croak("a new pool cannot be readonly");
    while (!(pool = pool_open(SvOK(path) ? text_of(aTHX_ path, "path") : NULL, &spec, &error)) && error.code == POOL_INTERRUPTED)
        PERL_ASYNC_CHECK();
    ST(0) = sv_2mortal(new_pool(aTHX_ class_of(aTHX_ class), pool, &error));
    XSRETURN(1);

void
new_memfd(class, name, ...)
    SV *class
    SV *name
  ALIAS:
    Data::Pool::Shared::new_memfd      = POOL_RAW
    Data::Pool::Shared::I64::new_memfd = POOL_I64
    Data::Pool::Shared::I32::new_memfd = POOL_I32
    Data::Pool::Shared::F64::new_memfd = POOL_F64
    Data::Pool::Shared::Str::new_memfd = POOL_STR
  PREINIT:
    pool_spec_t  spec;
    pool_error_t error;
  PPCODE:
    spec_of(aTHX_ &spec, (uint32_t)ix, &ST(2), items - 2);
    if (!spec.capacity) croak("capacity is missing: a memfd is a new pool");
    if (spec.flags & POOL_READONLY) croak("a new pool cannot be readonly");
    ST(0) = sv_2mortal(new_pool(aTHX_ class_of(aTHX_ class), pool_open_memfd(text_of(aTHX_ name, "name"), &spec, &error), &error));
    XSRETURN(1);

void
new_from_fd(class, fd, ...)
    SV *class
    descriptor_t fd
  ALIAS:
    Data::Pool::Shared::new_from_fd      = POOL_RAW
    Data::Pool::Shared::I64::new_from_fd = POOL_I64
    Data::Pool::Shared::I32::new_from_fd = POOL_I32
    Data::Pool::Shared::F64::new_from_fd = POOL_F64
    Data::Pool::Shared::Str::new_from_fd = POOL_STR
  PREINIT:
    pool_spec_t  spec;
    pool_error_t error;
  PPCODE:
    spec_of(aTHX_ &spec, (uint32_t)ix, &ST(2), items - 2);
    ST(0) = sv_2mortal(new_pool(aTHX_ class_of(aTHX_ class), pool_open_fd(fd, &spec, &error), &error));
    XSRETURN(1);

void
attach(class, path, options = NULL)
    SV *class
    SV *path
    SV *options
  PREINIT:
    pool_spec_t  spec;
    pool_error_t error;
  PPCODE:
    PERL_UNUSED_VAR(class);
    if (options && !(SvROK(options) && SvTYPE(SvRV(options)) == SVt_PVHV)) croak("expected a hash reference of options");
    spec_of(aTHX_ &spec, POOL_RAW, &options, options ? 1 : 0);
    spec.variant   = POOL_ANY;
    spec.elem_size = 0;
    SvGETMAGIC(path);
    if (!SvOK(path)) croak("path is missing: there is nothing to attach to");
    ST(0) = sv_2mortal(new_pool_of_variant(aTHX_ pool_open(text_of(aTHX_ path, "path"), &spec, &error), &error));
    XSRETURN(1);

void
DESTROY(self)
    SV *self
  PREINIT:
    MAGIC *mg = find_any_pool(self);
  CODE:
    if (mg && mg->mg_ptr) pool_magic_free(aTHX_ self, mg);

# ---- allocate and free

void
alloc(pool, timeout = NULL)
    pool_t *pool
    SV *timeout
  ALIAS:
    try_alloc = TRIES
  PREINIT:
    slot_t slot;
  PPCODE:
    slot = pool_try_alloc(pool);
    if (UNLIKELY(slot >= POOL_NOSPC)) slot = allocate_one(aTHX_ pool, TIMEOUT(timeout));
    RETURN_SLOT(slot);

void
alloc_set(pool, sv, timeout = NULL)
    pool_t *pool
    SV *sv
    SV *timeout
  ALIAS:
    try_alloc_set = TRIES
  PREINIT:
    value_t value;
    slot_t  slot;
  PPCODE:
    value_of(aTHX_ pool, sv, &value);
    slot = pool_try_alloc(pool);
    if (UNLIKELY(slot >= POOL_NOSPC)) {
        keep_bytes(aTHX_ pool, &value);
        slot = allocate_one(aTHX_ pool, TIMEOUT(timeout));
    }
    if (LIKELY(slot != POOL_NONE)) store(pool, slot, &value);
    RETURN_SLOT(slot);

void
alloc_guard(pool, timeout = NULL)
    pool_t *pool
    SV *timeout
  ALIAS:
    try_alloc_guard = TRIES
  PREINIT:
    slot_t slot;
    SV    *guard;
  PPCODE:
    slot = allocate_one(aTHX_ pool, TIMEOUT(timeout));
    if (slot == POOL_NONE) XSRETURN_EMPTY;
    guard = sv_2mortal(new_guard(aTHX_ pool, slot));
    if (GIMME_V == G_ARRAY) {
        EXTEND(SP, 2);
        mPUSHu((UV)slot);
    }
    PUSHs(guard);

void
free(pool, slot)
    pool_t *pool
    slot_t slot
  PPCODE:
    if (pool_free(pool, slot)) XSRETURN_YES;
    not_in_fixed(aTHX_ pool, "free");
    XSRETURN_NO;

void
alloc_n(pool, n, timeout = NULL)
    pool_t *pool
    SV *n
    SV *timeout
  PREINIT:
    IV      count;
    size_t  i;
    slot_t *slots;
    AV     *result;
    int64_t timeout_ns;
  PPCODE:
    count      = integer_of(aTHX_ n);
    timeout_ns = timeout_of(aTHX_ timeout);
    pool       = pool_of(aTHX_ ST(0)); /* those two may have run Perl code */
    if (count < 0) croak("cannot allocate %" IVdf " slots", count);
    not_in_fixed(aTHX_ pool, "allocate");
    if ((UV)count > pool->capacity) XSRETURN_UNDEF;
    slots = (slot_t *)buffer(aTHX_ (size_t)count * sizeof *slots);
    if (!allocate(aTHX_ pool, (size_t)count, timeout_ns, slots)) XSRETURN_UNDEF;
    result = new_array(aTHX_ (size_t)count);
    for (i = 0; i < (size_t)count; i++) append(result, newSVuv((UV)slots[i]));
    ST(0) = sv_2mortal(newRV_inc((SV *)result));
    XSRETURN(1);

void
free_n(pool, slots)
    pool_t *pool
    SV *slots
  PREINIT:
    size_t  n;
    slot_t *freed;
  PPCODE:
    freed = slots_of(aTHX_ hold(aTHX_ pool), slots, &n);
    not_in_fixed(aTHX_ pool, "free");
    RETURN_UV((UV)pool_free_n(pool, freed, n));

void
reset(pool)
    pool_t *pool
  PPCODE:
    not_in_fixed(aTHX_ pool, "reset");
    RETURN_UV((UV)pool_reset(pool));

# ---- read and write

void
get(pool, slot)
    readable_t *pool
    slot_t slot
  PPCODE:
    NEEDS_ALLOCATED(pool, slot);
    switch (pool->variant) {
    case POOL_I64: RETURN_IV((IV)pool_i64_get(pool, slot));
    case POOL_I32: RETURN_IV((IV)pool_i32_get(pool, slot));
    case POOL_F64: RETURN_NV(pool_f64_get(pool, slot));
    default:
        ST(0) = sv_2mortal(new_value(aTHX_ pool, slot));
        XSRETURN(1);
    }

void
set(pool, slot, sv)
    pool_t *pool
    slot_t slot
    SV *sv
  PREINIT:
    value_t value;
  PPCODE:
    value_of(aTHX_ pool, sv, &value);
    NEEDS_ALLOCATED(pool, slot);
    store(pool, slot, &value);
    XSRETURN_EMPTY;

void
get_n(pool, slots)
    readable_t *pool
    SV *slots
  PREINIT:
    size_t  i, n;
    slot_t *wanted;
    AV     *result;
  PPCODE:
    wanted = slots_of(aTHX_ hold(aTHX_ pool), slots, &n);
    all_allocated(aTHX_ pool, wanted, n);
    result = new_array(aTHX_ n);
    for (i = 0; i < n; i++) append(result, new_value(aTHX_ pool, wanted[i]));
    ST(0) = sv_2mortal(newRV_inc((SV *)result));
    XSRETURN(1);

void
set_n(pool, slots, values)
    pool_t *pool
    SV *slots
    SV *values
  PREINIT:
    size_t   i, n;
    slot_t  *wanted;
    value_t *value;
    AV      *array;
  PPCODE:
    wanted = slots_of(aTHX_ hold(aTHX_ pool), slots, &n);
    array  = values_of(aTHX_ pool, values, n);
    value  = (value_t *)buffer(aTHX_ n * sizeof *value);
    for (i = 0; i < n; i++) value_of(aTHX_ pool, nth_value(aTHX_ array, values, i), &value[i]);
    all_allocated(aTHX_ pool, wanted, n);
    for (i = 0; i < n; i++) store(pool, wanted[i], &value[i]);
    RETURN_UV((UV)n);

void
ptr(pool, slot)
    readable_t *pool
    slot_t slot
  PPCODE:
    NEEDS_ALLOCATED(pool, slot);
    RETURN_UV(PTR2UV(pool_ptr(pool, slot)));

void
data_ptr(pool)
    readable_t *pool
  PPCODE:
    RETURN_UV(PTR2UV(pool->data));

SV *
slot_sv(pool, slot)
    readable_t *pool
    slot_t slot
  CODE:
    NEEDS_ALLOCATED(pool, slot);
    RETVAL = new_view(aTHX_ pool, slot);
  OUTPUT:
    RETVAL

void
bind(pool, slot, variable)
    pool_t *pool
    slot_t slot
    SV *variable
  PPCODE:
    NEEDS_ALLOCATED(pool, slot);
    bind_scalar(aTHX_ pool, slot, variable);
    XSRETURN_EMPTY;

# ---- own and recover

void
is_allocated(pool, slot)
    readable_t *pool
    slot_t slot
  PPCODE:
    RETURN_BOOL(pool_is_allocated(pool, slot));

void
owner(pool, slot)
    readable_t *pool
    slot_t slot
  PPCODE:
    RETURN_IV((IV)pool_owner(pool, slot));

void
is_stale(pool, slot)
    readable_t *pool
    slot_t slot
  PPCODE:
    RETURN_BOOL(pool_is_stale(pool, slot));

void
owner_word(pool, slot)
    readable_t *pool
    slot_t slot
  PPCODE:
    RETURN_UV((UV)(pool_owner_word(pool, slot) & ~POOL_I_BUSY));

void
owner_pid(pool, owner)
    readable_t *pool
    UV owner
  PPCODE:
    PERL_UNUSED_VAR(pool);
    RETURN_IV((IV)pool_owner_pid(owner));

void
owner_is_dead(pool, owner)
    readable_t *pool
    UV owner
  PPCODE:
    RETURN_BOOL(pool_owner_is_dead(pool, owner));

void
owner_is_unknown(pool, owner)
    readable_t *pool
    UV owner
  PPCODE:
    RETURN_BOOL(pool_owner_life(pool, owner) == POOL_UNKNOWN);

void
owner_age(pool, owner)
    readable_t *pool
    UV owner
  PREINIT:
    NV age;
  PPCODE:
    age = pool_owner_age(pool, owner);
    if (age < 0) XSRETURN_UNDEF;
    RETURN_NV(age);

void
holders(pool, from = NULL, to = NULL)
    readable_t *pool
    SV *from
    SV *to
  PREINIT:
    slot_t first, last;
    HV    *counts;
    HE    *entry;
    AV    *result;
  PPCODE:
    first  = from ? slot_of(aTHX_ pool, from) : 0;
    last   = to ? slot_of(aTHX_ pool, to) : pool->capacity - 1;
    counts = count_holders(aTHX_ pool, first, last + 1);
    result = new_array(aTHX_ (size_t)HvUSEDKEYS(counts));
    hv_iterinit(counts);
    while ((entry = hv_iternext(counts))) append(result, new_holder(aTHX_ entry));
    ST(0) = sv_2mortal(newRV_inc((SV *)result));
    XSRETURN(1);

void
adopt(pool, slot, from = NULL)
    pool_t *pool
    slot_t slot
    SV *from
  PPCODE:
    RETURN_BOOL(from ? pool_adopt_from(pool, slot, pid_of(aTHX_ from)) : pool_adopt(pool, slot));

void
disown(pool, slot)
    pool_t *pool
    slot_t slot
  PPCODE:
    RETURN_BOOL(pool_disown(pool, slot));

void
recover_stale(pool, callback = NULL)
    pool_t *pool
    SV *callback
  ALIAS:
    recover_unknown = 1
  PREINIT:
    stale_t        stale;
    pool_stale_fn *tell = NULL;
  PPCODE:
    if (callback) SvGETMAGIC(callback);
    if (callback && SvOK(callback)) {
        stale.pool     = hold(aTHX_ pool);
        stale.callback = code_of(aTHX_ callback);
        tell           = stale_callback;
    }
    RETURN_UV((UV)(ix ? pool_recover_unknown(pool, tell, &stale) : pool_recover(pool, tell, &stale)));

void
auto_recover(pool, seconds)
    pool_t *pool
    SV *seconds
  PREINIT:
    int64_t every_ns;
  PPCODE:
    every_ns = timeout_of(aTHX_ seconds);
    pool_auto_recover(pool, every_ns == POOL_FOREVER ? 0 : every_ns);
    XSRETURN_EMPTY;

# ---- status

void
capacity(pool)
    readable_t *pool
  ALIAS:
    elem_size = 1
    used      = 2
    available = 3
  PREINIT:
    UV value;
  PPCODE:
    value = ix == 0   ? (UV)pool->capacity
            : ix == 1 ? (UV)pool->elem_size
            : ix == 2 ? (UV)pool_used(pool)
                      : (UV)(pool->capacity - pool_used(pool));
    RETURN_UV(value);

void
allocated_slots(pool)
    readable_t *pool
  PREINIT:
    AV    *result;
    slot_t slot;
  PPCODE:
    result = (AV *)sv_2mortal((SV *)newAV());
    for (slot = pool_next_allocated(pool, 0); slot != POOL_NONE; slot = pool_next_allocated(pool, slot + 1)) av_push(result, newSVuv((UV)slot));
    ST(0) = sv_2mortal(newRV_inc((SV *)result));
    XSRETURN(1);

void
each_allocated(pool, callback)
    readable_t *pool
    SV *callback
  PREINIT:
    slot_t slot;
  PPCODE:
    callback = code_of(aTHX_ callback);
    hold(aTHX_ pool);
    for (slot = pool_next_allocated(pool, 0); slot != POOL_NONE; slot = pool_next_allocated(pool, slot + 1))
        call_code(aTHX_ callback, 1, (IV)slot, (IV)0);
    XSRETURN_EMPTY;

void
stats(pool)
    readable_t *pool
  PREINIT:
    HV           *stats;
    pool_counts_t counts;
  PPCODE:
    pool_stats(pool, &counts);
    stats = (HV *)sv_2mortal((SV *)newHV());
    (void)hv_stores(stats, "capacity", newSVuv((UV)pool->capacity));
    (void)hv_stores(stats, "elem_size", newSVuv((UV)pool->elem_size));
    (void)hv_stores(stats, "mmap_size", newSVuv((UV)pool->total_size));
    (void)hv_stores(stats, "used", newSVuv((UV)counts.used));
    (void)hv_stores(stats, "available", newSVuv((UV)(pool->capacity - counts.used)));
    (void)hv_stores(stats, "waiters", newSVuv((UV)counts.waiters));
    (void)hv_stores(stats, "allocs", newSVuv((UV)counts.allocs));
    (void)hv_stores(stats, "frees", newSVuv((UV)counts.frees));
    (void)hv_stores(stats, "waits", newSVuv((UV)counts.waits));
    (void)hv_stores(stats, "timeouts", newSVuv((UV)counts.timeouts));
    (void)hv_stores(stats, "recoveries", newSVuv((UV)counts.recoveries));
    ST(0) = sv_2mortal(newRV_inc((SV *)stats));
    XSRETURN(1);

void
variant(pool)
    readable_t *pool
  PPCODE:
    ST(0) = sv_2mortal(newSVpv(pool_variant_name(pool->variant), 0));
    XSRETURN(1);

void
format_version(pool)
    readable_t *pool
  PPCODE:
    PERL_UNUSED_VAR(pool);
    RETURN_UV(POOL_VERSION); /* of another version there are no handles */

void
is_sparse(pool)
    readable_t *pool
  ALIAS:
    is_fixed    = 1
    is_readonly = 2
  PPCODE:
    RETURN_BOOL(ix == 0 ? pool->extents != NULL : ix == 1 ? pool->fixed : pool->readonly);

void
path(pool)
    readable_t *pool
  PPCODE:
    ST(0) = pool->path ? sv_2mortal(newSVpv(pool->path, 0)) : &PL_sv_undef;
    XSRETURN(1);

void
memfd(pool)
    readable_t *pool
  PPCODE:
    RETURN_IV(pool->is_memfd ? pool_descriptor(pool) : -1);

void
sync(pool)
    readable_t *pool
  PPCODE:
    if (pool_sync(pool) != POOL_OK) croak("cannot sync pool: %s", Strerror(errno));
    XSRETURN_YES;

void
unlink(self, path = NULL)
    SV *self
    SV *path
  PREINIT:
    const char *name;
    int         failed;
  PPCODE:
    if (path && !SvROK(self)) {
        SvGETMAGIC(path);
        if (!SvOK(path)) croak("cannot unlink: no path");
        name   = text_of(aTHX_ path, "path");
        failed = unlink(name);
    }
    else if (path || !SvROK(self))
        croak(path ? "cannot unlink: a pool removes its own file only" : "cannot unlink: no path");
    else {
        pool_t *pool = pool_of(aTHX_ self);
        if (!(name = pool->path)) croak("cannot unlink: this pool has no path");
        failed = pool_unlink(pool);
    }
    if (failed && errno != ENOENT) croak("cannot unlink %s: %s", name, Strerror(errno));
    RETURN_BOOL(!failed);

# ---- event loops

void
eventfd(pool)
    readable_t *pool
  PREINIT:
    int fd;
  PPCODE:
    if ((fd = pool_eventfd(pool)) < 0) croak("cannot create an eventfd: %s", Strerror(errno));
    RETURN_IV(fd);

void
eventfd_set(pool, fd)
    readable_t *pool
    descriptor_t fd
  PPCODE:
    switch (pool_eventfd_set(pool, fd)) {
    case POOL_OK: break;
    case POOL_E_ARGUMENT: croak("cannot use descriptor %d: it is not an eventfd", fd);
    default: croak("cannot use descriptor %d: %s", fd, Strerror(errno));
    }
    XSRETURN_EMPTY;

void
fileno(pool)
    readable_t *pool
  PPCODE:
    RETURN_IV(pool_eventfd_get(pool));

void
notify(pool)
    readable_t *pool
  PPCODE:
    RETURN_BOOL(pool_notify(pool));

void
eventfd_consume(pool)
    readable_t *pool
  PREINIT:
    uint64_t count;
  PPCODE:
    if (!(count = pool_eventfd_consume(pool))) XSRETURN_UNDEF;
    RETURN_UV((UV)count);

BOOT:
    (void)pool_identify(); /* before a chroot, or the last descriptor is used */

MODULE = Data::Pool::Shared    PACKAGE = Data::Pool::Shared::Number

# ---- atomic arithmetic: I64, I32, F64

void
add(pool, slot, delta)
    pool_t *pool
    slot_t slot
    SV *delta
  PREINIT:
    IV iv;
    NV nv;
  PPCODE:
    if (LIKELY(pool->variant == POOL_I64 || pool->variant == POOL_I32)) {
        iv = integer_of(aTHX_ delta);
        NEEDS_ALLOCATED(pool, slot);
        RETURN_IV(INTEGER_CALL(pool, pool_i64_add(pool, slot, iv), pool_i32_add(pool, slot, (int32_t)(uint32_t)(UV)iv)));
    }
    needs_number(aTHX_ pool);
    nv = number_of(aTHX_ delta);
    NEEDS_ALLOCATED(pool, slot);
    RETURN_NV(pool_f64_add(pool, slot, nv));

void
incr(pool, slot)
    pool_t *pool
    slot_t slot
  ALIAS:
    decr = 1
  PPCODE:
    needs_number(aTHX_ pool);
    NEEDS_ALLOCATED(pool, slot);
    if (pool->variant == POOL_F64) RETURN_NV(pool_f64_add(pool, slot, ix ? -1 : 1));
    RETURN_IV(INTEGER_CALL(pool, pool_i64_add(pool, slot, ix ? -1 : 1), pool_i32_add(pool, slot, ix ? -1 : 1)));

void
xchg(pool, slot, sv)
    pool_t *pool
    slot_t slot
    SV *sv
  PREINIT:
    value_t value;
  PPCODE:
    needs_number(aTHX_ pool);
    value_of(aTHX_ pool, sv, &value);
    NEEDS_ALLOCATED(pool, slot);
    if (pool->variant == POOL_F64) RETURN_NV(pool_f64_xchg(pool, slot, value.number));
    RETURN_IV(INTEGER_CALL(pool, pool_i64_xchg(pool, slot, value.integer), pool_i32_xchg(pool, slot, (int32_t)value.integer)));

void
cmpxchg(pool, slot, old_sv, new_sv)
    pool_t *pool
    slot_t slot
    SV *old_sv
    SV *new_sv
  ALIAS:
    cas = 1
  PREINIT:
    value_t old_value, new_value;
    bool    done;
    IV      iv = 0;
    NV      nv = 0;
  PPCODE:
    needs_number(aTHX_ pool);
    value_of(aTHX_ pool, old_sv, &old_value);
    value_of(aTHX_ pool, new_sv, &new_value);
    NEEDS_ALLOCATED(pool, slot);
    if (pool->variant == POOL_F64)
        nv = pool_f64_cas(pool, slot, old_value.number, new_value.number, &done);
    else
        iv = INTEGER_CALL(pool, pool_i64_cas(pool, slot, old_value.integer, new_value.integer, &done),
                          pool_i32_cas(pool, slot, (int32_t)old_value.integer, (int32_t)new_value.integer, &done));
    if (ix) RETURN_BOOL(done);
    if (pool->variant == POOL_F64) RETURN_NV(nv);
    RETURN_IV(iv);

void
add_n(pool, slots, deltas)
    pool_t *pool
    SV *slots
    SV *deltas
  PREINIT:
    size_t   i, n;
    slot_t  *wanted;
    value_t *delta;
    AV      *array, *sums;
  PPCODE:
    needs_number(aTHX_ pool);
    wanted = slots_of(aTHX_ hold(aTHX_ pool), slots, &n);
    array  = values_of(aTHX_ pool, deltas, n);
    delta  = (value_t *)buffer(aTHX_ n * sizeof *delta);
    for (i = 0; i < n; i++) {
        SV *sv = nth_value(aTHX_ array, deltas, i);
        if (pool->variant == POOL_F64)
            delta[i].number = number_of(aTHX_ sv);
        else
            delta[i].integer = integer_of(aTHX_ sv);
    }
    all_allocated(aTHX_ pool, wanted, n);
    sums = new_array(aTHX_ GIMME_V == G_VOID ? 0 : n);
    for (i = 0; i < n; i++) {
        NV nv = 0;
        IV iv = 0;
        if (pool->variant == POOL_F64)
            nv = pool_f64_add(pool, wanted[i], delta[i].number);
        else
            iv = INTEGER_CALL(pool, pool_i64_add(pool, wanted[i], delta[i].integer), pool_i32_add(pool, wanted[i], (int32_t)(uint32_t)(UV)delta[i].integer));
        if (GIMME_V != G_VOID) append(sums, pool->variant == POOL_F64 ? newSVnv(nv) : newSViv(iv));
    }
    ST(0) = sv_2mortal(newRV_inc((SV *)sums));
    XSRETURN(1);

MODULE = Data::Pool::Shared    PACKAGE = Data::Pool::Shared::Integer

# ---- sleep on a value: I64, I32

void
wait(pool, slot, old_sv, timeout = NULL)
    readable_t *pool
    slot_t slot
    SV *old_sv
    SV *timeout
  PREINIT:
    value_t old_value;
    int64_t timeout_ns;
  PPCODE:
    needs_integer(aTHX_ pool);
    value_of(aTHX_ pool, old_sv, &old_value);
    timeout_ns = timeout_of(aTHX_ timeout);
    NEEDS_ALLOCATED(pool, slot);
    RETURN_BOOL(pool_wait(hold(aTHX_ pool), slot, old_value.integer, timeout_ns) == POOL_OK);

void
wake(pool, slot, n = NULL)
    pool_t *pool
    slot_t slot
    SV *n
  PREINIT:
    IV most = INT32_MAX;
  PPCODE:
    needs_integer(aTHX_ pool);
    if (n && SvOK(n)) most = integer_of(aTHX_ n);
    NEEDS_ALLOCATED(pool, slot);
    RETURN_UV(most > 0 ? (UV)pool_wake(pool, slot, (uint64_t)most) : 0);

MODULE = Data::Pool::Shared    PACKAGE = Data::Pool::Shared::Str

void
max_len(pool)
    readable_t *pool
  PPCODE:
    if (pool->variant != POOL_STR) croak("Expected a " CLASS "::Str object");
    RETURN_UV((UV)(pool->elem_size - POOL_STR_HEAD));

MODULE = Data::Pool::Shared    PACKAGE = Data::Pool::Shared::Guard

void
index(self)
    SV *self
  PREINIT:
    guard_t *guard;
  PPCODE:
    guard = guard_of(aTHX_ self);
    if (!guard || !guard->pool) XSRETURN_UNDEF;
    RETURN_UV((UV)guard->slot);

void
release(self)
    SV *self
  ALIAS:
    cancel = 1
  PREINIT:
    guard_t *guard;
    bool     held;
  PPCODE:
    guard = guard_of(aTHX_ self);
    held  = guard && guard->pool;
    RETURN_BOOL(held && (guard_release(guard, ix == 0) || ix == 1));

INCLUDE: xs/shm.xs
