/* IPC::Shm: the tied classes, over the shm_*.h. Arguments are read and checked
 * here, which may run the user's code; what happens to the variable then does not. */
#define PERL_NO_GET_CONTEXT
#include "EXTERN.h"
#include "perl.h"
#include "XSUB.h"

#include "shm_access.h"
#include "shm_operator.h"
#include "shm_recover.h"
#include "xs/process.h"

#include <sys/statvfs.h>

static shm_var_t *shm_self(pTHX_ SV *self, uint32_t type)
{
    shm_var_t *var = shm_handle_of(aTHX_ self);
    if (POOL_UNLIKELY(var == NULL)) croak("Not an object of IPC::Shm");
    if (POOL_UNLIKELY(type != 0 && var->type != type)) croak("Not a shared %s", type == SHM_HASH ? "hash" : type == SHM_ARRAY ? "array" : "scalar");
    return var;
}

/* A timeout in seconds; undef or none: for ever. */
static int64_t shm_timeout(pTHX_ SV *seconds)
{
    NV nv;
    if (seconds == NULL) return POOL_FOREVER;
    SvGETMAGIC(seconds);
    if (!SvOK(seconds)) return POOL_FOREVER;
    if (SvROK(seconds) ? !SvAMAGIC(seconds) : !looks_like_number(seconds))
        croak("A timeout must be a number of seconds, not '%" SVf "'", SVfARG(seconds));
    nv = SvNV_nomg(seconds);
    if (!(nv >= 0)) croak("A timeout must be a number of seconds, not negative");
    return nv > 9e9 ? POOL_FOREVER : (int64_t)(nv * 1e9);
}

/* --- the namespace -------------------------------------------------------- */

/* The open namespace, with one user more for the caller; opened if need be, and
 * kept open until a cleanup removes it. */
static shm_space_t *shm_get_space(pTHX_ const char *path, bool private_to_user, uint64_t block_size, uint32_t mode)
{
    shm_space_t *space = shm_space_find(path);
    pool_error_t err;

    if (space != NULL) return space;
    space = shm_space_open(path, private_to_user, block_size, mode, &err);
    if (space == NULL) croak("%s", err.text);
    shm_space_enlist(space);
    if (shm_has_dead(space)) shm_recover(aTHX_ space);
    return shm_space_retain(space);
}

static shm_space_t *shm_space_arg(pTHX_ SV *path, bool private_to_user, UV block_size, UV mode)
{
    return shm_get_space(aTHX_ SvPV_nolen(path), private_to_user, block_size, (uint32_t)mode);
}

/* --- hashes ---------------------------------------------------------------- */

static SV *shm_next_key(pTHX_ shm_var_t *var)
{
    HV *hv = (HV *)var->cache;
    HE *entry;
    while (POOL_UNLIKELY(var->left != NULL) && av_len(var->left) >= 0) {
        SV *key = sv_2mortal(av_shift(var->left));
        if (hv_exists_ent(hv, key, 0)) return key;
    }
    if (var->left != NULL) return &PL_sv_undef;
    entry = hv_iternext(hv);
    return entry != NULL ? hv_iterkeysv(entry) : &PL_sv_undef;
}

/* --- arrays ------------------------------------------------------------------ */

/* The arguments from number `first` of the Perl stack on, ready, and encoded into
 * work.values. Making them ready may move the stack. */
static void shm_encode_list(pTHX_ shm_var_t *var, SSize_t first, SSize_t count)
{
    SSize_t i;
    for (i = 0; i < count; i++) PL_stack_base[first + i] = shm_ready(aTHX_ var, PL_stack_base[first + i]);
    shm_new_record(SHM_SPLICE);
    shm_work.values.length = 0;
    for (i = 0; i < count; i++) shm_encode(aTHX_ &shm_work.values, PL_stack_base[first + i]);
    if (shm_work.values.failed) {
        shm_work.values.failed = false;
        croak("Out of memory for shared values");
    }
}

/* The splice whose values are in work.values. The lock is held, and released. */
static void shm_splice(pTHX_ shm_var_t *var, uint64_t offset, uint64_t length, uint64_t count, AV *removed)
{
    shm_buffer_t *record = &shm_work.record;
    shm_put_varint(record, offset);
    shm_put_varint(record, length);
    shm_put_varint(record, count);
    shm_buffer_put(record, shm_work.values.data, shm_work.values.length);
    shm_write(aTHX_ var, record, removed);
}

/* Offset or length as perl takes it: undef is 0, and warned of. */
static IV shm_splice_argument(pTHX_ SV *sv)
{
    SvGETMAGIC(sv);
    if (SvOK(sv)) return SvIV_nomg(sv);
    Perl_ck_warner(aTHX_ packWARN(WARN_UNINITIALIZED), "Use of uninitialized value in splice");
    return 0;
}

/* What was removed, to be returned. A stand-in that is left leads nowhere. */
static SV *shm_present_removed(pTHX_ SV *sv)
{
    return shm_is_standin(sv) ? &PL_sv_undef : sv;
}

/* Before a value is removed that is to be returned: if it is a reference, attach
 * to its target, which may be nobody's afterwards. The lock is held. */
static void shm_hold(pTHX_ shm_var_t *var, SV *sv)
{
    pool_error_t err;
    if (sv == NULL || !shm_is_standin(sv) || shm_resolve(aTHX_ var, sv, &err) || err.code == POOL_FULL) return;
    shm_unlock(var);
    croak("Cannot attach: %s", err.text);
}

static void shm_hold_range(pTHX_ shm_var_t *var, IV offset, IV length)
{
    IV i;
    for (i = offset; i < offset + length; i++) shm_hold(aTHX_ var, AvARRAY((AV *)var->cache)[i]);
}

/* Remove one element from an end, and return it. */
static SV *shm_take_end(pTHX_ shm_var_t *var, bool last)
{
    AV *removed = (AV *)sv_2mortal((SV *)newAV());
    IV  size, index;

    shm_new_record(SHM_SPLICE);
    shm_work.values.length = 0;
    shm_begin(aTHX_ var);
    size = shm_array_size(var);
    if (size == 0) {
        shm_unlock(var);
        return &PL_sv_undef;
    }
    index = last ? size - 1 : 0;
    shm_hold_range(aTHX_ var, index, 1);
    shm_splice(aTHX_ var, (uint64_t)index, 1, 0, removed);
    return shm_present_removed(aTHX_ AvARRAY(removed)[0]);
}

/* --- scalars ------------------------------------------------------------------- */

/* The sum, in integers where that is exact. NULL: this is not a number. */
static SV *shm_sum(pTHX_ SV *value, SV *delta)
{
    SV *a = sv_2mortal(newSV(0)), *b = sv_2mortal(newSVsv(delta));
    IV  sum;
    UV  usum;
    if (SvROK(value) || (SvOK(value) && !looks_like_number(value)) || !looks_like_number(b)) return NULL;
    sv_setsv(a, SvOK(value) ? value : sv_2mortal(newSViv(0)));
    (void)SvIV(a);
    (void)SvIV(b);
    if (SvIOK(a) && SvIOK(b) && !SvIsUV(a) && !SvIsUV(b) && !__builtin_add_overflow(SvIVX(a), SvIVX(b), &sum)) return sv_2mortal(newSViv(sum));
    if (SvIOK(a) && SvIOK(b) && (SvIsUV(a) || SvIVX(a) >= 0) && (SvIsUV(b) || SvIVX(b) >= 0) && !__builtin_add_overflow(SvUVX(a), SvUVX(b), &usum))
        return sv_2mortal(newSVuv(usum));
    return sv_2mortal(newSVnv(SvNV(a) + SvNV(b)));
}

/* --- looking from outside --------------------------------------------------------- */

static SV *shm_pid_or_undef(uint64_t owner)
{
    dTHX;
    return (owner & POOL_I_PID_MASK) != 0 ? newSVuv(owner & POOL_I_PID_MASK) : newSV(0);
}

static void shm_set(pTHX_ HV *hv, const char *key, SV *value)
{
    (void)hv_store(hv, key, (I32)strlen(key), value, 0);
}

/* What there is to be said of a variable, but for its name and who is attached. */
static HV *shm_describe(pTHX_ shm_space_t *space, uint64_t slot)
{
    static const char *const types[] = { "UNKNOWN", "SCALAR", "ARRAY", "HASH" };
    shm_record_t *record = shm_record(space, slot);
    HV           *hv     = newHV();
    shm_state_t   state;
    uint64_t      serial, holder = record->exclusive;
    int           tries;

    for (tries = 0; !shm_read_state(record, &serial, &state) && tries < 1000; tries++) pool_lock_pause();
    shm_set(aTHX_ hv, "name", newSV(0));
    shm_set(aTHX_ hv, "type", newSVpv(types[record->type <= SHM_HASH ? record->type : 0], 0));
    shm_set(aTHX_ hv, "elements", newSVuv(record->type == SHM_SCALAR ? 1 : state.elements));
    shm_set(aTHX_ hv, "bytes", newSVuv(state.bytes));
    shm_set(aTHX_ hv, "serial", newSVuv(serial));
    shm_set(aTHX_ hv, "refs", newSVuv(record->refs));
    shm_set(aTHX_ hv, "removed", newSVuv(state.removed != 0));
    shm_set(aTHX_ hv, "writer", shm_pid_or_undef(holder != 0 && !pool_owner_is_dead(space->pool, holder) ? holder : 0));
    shm_set(aTHX_ hv, "readers", newRV_noinc((SV *)newAV()));
    shm_set(aTHX_ hv, "attached", newRV_noinc((SV *)newAV()));
    return hv;
}

/* The descriptions while they are made, by the slots of the variables. The registry
 * lock is held, so each file is gone through once. */
typedef struct shm_listing {
    shm_space_t *space;
    HV         **of;
    uint64_t     capacity;
} shm_listing_t;

static HV *shm_listed(const shm_listing_t *list, shm_id_t id)
{
    return id.slot < list->capacity && shm_exists(list->space, id) ? list->of[id.slot] : NULL;
}

static void shm_list_names(pTHX_ const shm_listing_t *list)
{
    pool_grow_t *names = &list->space->names;
    uint64_t     slot;
    for (slot = pool_grow_next(names, 0); slot != POOL_NONE; slot = pool_grow_next(names, slot + 1)) {
        const shm_name_t *entry = shm_name_at(list->space, slot);
        shm_id_t          id;
        HV               *hv;
        SV               *name;
        if (entry == NULL || entry->length > sizeof entry->text) continue;
        id.slot       = entry->variable;
        id.generation = entry->generation;
        if ((hv = shm_listed(list, id)) == NULL) continue;
        name = newSVpvn(entry->text, entry->length);
        sv_utf8_decode(name);
        shm_set(aTHX_ hv, "name", name);
    }
}

static void shm_list_pid(pTHX_ HV *hv, const char *key, uint64_t pid)
{
    AV     *pids = (AV *)SvRV(*hv_fetch(hv, key, (I32)strlen(key), 0));
    SSize_t i;
    for (i = 0; i <= AvFILLp(pids); i++)
        if (SvUVX(AvARRAY(pids)[i]) == pid) return;
    av_push(pids, newSVuv(pid));
}

/* Who is attached; those who hold a read lock also in `readers`. */
static void shm_list_attached(pTHX_ const shm_listing_t *list)
{
    pool_grow_t *attach = &list->space->attach;
    int64_t      now    = shm_boottime();
    uint64_t     slot, last = 0;
    bool         alive = false;
    for (slot = pool_grow_next(attach, 0); slot != POOL_NONE; slot = pool_grow_next(attach, slot + 1)) {
        const shm_attach_t *mark  = (const shm_attach_t *)pool_grow_ptr(attach, slot);
        uint64_t            owner = pool_owner_word(pool_grow_have(attach, slot), pool_grow_index(slot));
        HV                 *hv    = shm_listed(list, shm_attached_to(mark));
        if (hv == NULL || mark->transit != 0) continue;
        if (owner != last) alive = shm_is_attached(list->space, slot, now);
        last = owner;
        if (!alive) continue;
        shm_list_pid(aTHX_ hv, "attached", owner & POOL_I_PID_MASK);
        if (mark->reading != 0) shm_list_pid(aTHX_ hv, "readers", owner & POOL_I_PID_MASK);
    }
}

/* The bytes that the slots of a row take; *reserved: on the filesystem. */
static uint64_t shm_row_bytes(pool_grow_t *row, uint64_t *slots, uint64_t *reserved)
{
    char        path[POOL_GROW_PATH + 16];
    struct stat st;
    uint32_t    k;
    pool_grow_capacity(row, slots);
    for (k = 0; k < POOL_GROW_PARTS; k++) {
        snprintf(path, sizeof path, "%s.%u", row->path, (unsigned)k);
        if (stat(path, &st) != 0) break;
        *reserved += (uint64_t)st.st_blocks * 512;
    }
    return *slots * row->spec.elem_size;
}

/* The name of the package variable that this is, or NULL: it is a lexical. Of several
 * that lead to it (an alias), the first in the alphabet: all programs agree on it. */
static GV *shm_find_glob(pTHX_ SV *target, HV *stash)
{
    HE   **buckets = HvARRAY(stash), *entry;
    STRLEN i, max = HvMAX(stash);
    GV    *found = NULL;
    for (i = 0; buckets != NULL && i <= max; i++)
        for (entry = buckets[i]; entry != NULL; entry = HeNEXT(entry)) {
            GV *gv = (GV *)HeVAL(entry);
            if (gv == NULL || SvTYPE((SV *)gv) != SVt_PVGV || !isGV_with_GP(gv)) continue;
            if ((SV *)GvSV(gv) != target && (SV *)GvAV(gv) != target && (SV *)GvHV(gv) != target) continue;
            if (found == NULL || strcmp(GvNAME(gv), GvNAME(found)) < 0) found = gv;
        }
    return found;
}

MODULE = IPC::Shm  PACKAGE = IPC::Shm  

PROTOTYPES: DISABLE
VERSIONCHECK: DISABLE

BOOT:
    shm_magic_prepare();
    shm_operators_install(aTHX);
    {
        static bool installed;
        if (!installed) {
            installed = true;
            pthread_atfork(shm_fork_prepare, shm_fork_parent, shm_fork_child);
        }
    }

SV *
_variable(path, is_private, block_size, mode, type, name, create)
    SV *path
    bool is_private
    UV block_size
    UV mode
    UV type
    SV *name
    bool create
  PREINIT:
    shm_space_t *space;
    shm_var_t   *var;
    pool_error_t err;
    const char  *text = NULL;
    STRLEN       length = 0;
    bool         retry;
  CODE:
    if (SvOK(name)) {
        text = SvPVutf8(name, length);
        if (length > sizeof(((shm_name_t *)0)->text) && !create) XSRETURN_UNDEF;
        if (length > sizeof(((shm_name_t *)0)->text)) croak("The name of a shared variable is too long: %" UVuf " bytes", (UV)length);
    }
    if (type < SHM_SCALAR || type > SHM_HASH) croak("Unknown type of variable");
    shm_adopt();
    for (;;) {
        space = shm_space_arg(aTHX_ path, is_private, block_size, mode);
        var   = shm_open_variable(aTHX_ space, (uint32_t)type, text, length, create, &err);
        retry = var == NULL && (err.code == POOL_FULL || space->super->closed != 0); /* it was removed: there will be a new one */
        shm_space_release(space);
        if (!retry) break;
    }
    if (var == NULL && err.code == POOL_OK) XSRETURN_UNDEF;
    if (var == NULL) croak("Cannot %s a shared variable: %s", create ? "create" : "open", err.text);
    RETVAL = shm_object(aTHX_ var);
  OUTPUT:
    RETVAL

void
_tie(reference, object)
    SV *reference
    SV *object
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ object, 0);
    SV        *target;
  CODE:
    if (!SvROK(reference)) croak("Not a reference");
    target = SvRV(reference);
    if (shm_type_of(target) != var->type) croak("Not a variable of the right type");
    shm_untie(aTHX_ var, target);
    shm_tie(aTHX_ var, target);

bool
_is_shared(object)
    SV *object
  PREINIT:
    shm_var_t *var = shm_handle_of(aTHX_ object);
  CODE:
    RETVAL = var != NULL && !var->removed && !var->record->state[var->record->serial & 1].removed;
  OUTPUT:
    RETVAL

SV *
_reference(object)
    SV *object
  CODE:
    RETVAL = shm_reference(aTHX_ shm_self(aTHX_ object, 0));
  OUTPUT:
    RETVAL

SV *
_find_name(reference, package)
    SV *reference
    SV *package
  PREINIT:
    HV *stash = gv_stashsv(package, 0);
    GV *gv = stash != NULL && SvROK(reference) ? shm_find_glob(aTHX_ SvRV(reference), stash) : NULL;
  CODE:
    if (gv == NULL) XSRETURN_UNDEF;
    RETVAL = newSVhek(GvNAME_HEK(gv));
  OUTPUT:
    RETVAL

void
_names(path, is_private, block_size, mode)
    SV *path
    bool is_private
    UV block_size
    UV mode
  PREINIT:
    shm_space_t *space = shm_space_arg(aTHX_ path, is_private, block_size, mode);
    uint64_t     slot;
  PPCODE:
    shm_registry_lock(space);
    for (slot = pool_grow_next(&space->names, 0); slot != POOL_NONE; slot = pool_grow_next(&space->names, slot + 1)) {
        const shm_name_t *name = shm_name_at(space, slot);
        SV               *sv;
        if (name == NULL) continue;
        sv = sv_2mortal(newSVpvn(name->text, name->length <= sizeof name->text ? name->length : 0));
        sv_utf8_decode(sv);
        XPUSHs(sv);
    }
    shm_registry_unlock(space);
    shm_space_release(space);

void
_list(path, is_private, block_size, mode)
    SV *path
    bool is_private
    UV block_size
    UV mode
  PREINIT:
    shm_space_t  *space = shm_space_arg(aTHX_ path, is_private, block_size, mode);
    shm_listing_t list;
    uint64_t      slot;
  PPCODE:
    shm_registry_lock(space);
    list.space    = space;
    list.capacity = pool_grow_capacity(&space->vars, NULL);
    Newxz(list.of, list.capacity, HV *);
    for (slot = pool_grow_next(&space->vars, 0); slot < list.capacity; slot = pool_grow_next(&space->vars, slot + 1)) {
        list.of[slot] = shm_describe(aTHX_ space, slot);
        XPUSHs(sv_2mortal(newRV_noinc((SV *)list.of[slot])));
    }
    shm_list_names(aTHX_ &list);
    shm_list_attached(aTHX_ &list);
    shm_registry_unlock(space);
    Safefree(list.of);
    shm_space_release(space);

SV *
_stats(path, is_private, block_size, mode)
    SV *path
    bool is_private
    UV block_size
    UV mode
  PREINIT:
    shm_space_t   *space = shm_space_arg(aTHX_ path, is_private, block_size, mode);
    uint64_t       vars, blocks, names, attach, reserved = 0, used;
    struct statvfs fs;
    HV            *hv;
  CODE:
    used = shm_row_bytes(&space->vars, &vars, &reserved) + shm_row_bytes(&space->blocks, &blocks, &reserved)
         + shm_row_bytes(&space->names, &names, &reserved) + shm_row_bytes(&space->attach, &attach, &reserved);
    hv = newHV();
    shm_set(aTHX_ hv, "variables", newSVuv(vars));
    shm_set(aTHX_ hv, "named", newSVuv(names));
    shm_set(aTHX_ hv, "attachments", newSVuv(attach));
    shm_set(aTHX_ hv, "blocks", newSVuv(blocks));
    shm_set(aTHX_ hv, "block_size", newSVuv(space->super->block_size));
    shm_set(aTHX_ hv, "bytes_used", newSVuv(used));
    shm_set(aTHX_ hv, "bytes_reserved", newSVuv(reserved));
    shm_set(aTHX_ hv, "bytes_total", newSVuv(reserved + (statvfs(space->path, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : 0)));
    shm_space_release(space);
    RETVAL = newRV_noinc((SV *)hv);
  OUTPUT:
    RETVAL

UV
_recover(path, is_private, block_size, mode)
    SV *path
    bool is_private
    UV block_size
    UV mode
  PREINIT:
    shm_space_t *space = shm_space_arg(aTHX_ path, is_private, block_size, mode);
  CODE:
    RETVAL = shm_recover(aTHX_ space);
    shm_space_release(space);
  OUTPUT:
    RETVAL

void
_cleanup(path, is_private, block_size, mode)
    SV *path
    bool is_private
    UV block_size
    UV mode
  PREINIT:
    shm_space_t *space = shm_space_arg(aTHX_ path, is_private, block_size, mode);
  CODE:
    shm_cleanup(aTHX_ space);
    shm_space_release(space);
    shm_space_release(space); /* it need not be kept open any more */

MODULE = IPC::Shm  PACKAGE = IPC::Shm::Tied

SV *
writelock(self, timeout = NULL)
    SV *self
    SV *timeout
  PREINIT:
    shm_var_t   *var = shm_self(aTHX_ self, 0);
    int64_t      deadline;
    int          code;
  CODE:
    deadline = pool_lock_deadline(shm_timeout(aTHX_ timeout)); /* not above: xsubpp reads optional arguments later */
    if (var->write_held) XSRETURN_IV(0);
    shm_check(aTHX_ var);
    if (shm_work.batch != NULL) shm_batch_commit(aTHX);
    shm_be_courteous(var);
    for (;;) {
        shm_locker_t locker = shm_locker(var);
        code = shm_write_lock(&locker, deadline);
        if (code != POOL_INTERRUPTED) break;
        shm_run_handlers(aTHX_ var);
    }
    if (code == SHM_DEADLOCK) shm_deadlock(aTHX_ var);
    if (code == POOL_TIMEOUT) XSRETURN_UNDEF;
    var->write_held = true;
    shm_exclude(var->record, shm_me(var->space));
    RETVAL = newSViv(1);
  OUTPUT:
    RETVAL

SV *
readlock(self, timeout = NULL)
    SV *self
    SV *timeout
  PREINIT:
    shm_var_t   *var = shm_self(aTHX_ self, 0);
    int64_t      deadline;
    int          code;
  CODE:
    deadline = pool_lock_deadline(shm_timeout(aTHX_ timeout)); /* not above: xsubpp reads optional arguments later */
    if (var->write_held || var->read_held) XSRETURN_IV(0);
    shm_check(aTHX_ var);
    if (var->attach == SHM_NONE) croak("The shared variable is no longer attached");
    if (shm_work.batch != NULL) shm_batch_commit(aTHX);
    for (;;) {
        shm_locker_t locker = shm_locker(var);
        code = shm_read_lock(&locker, deadline);
        if (code != POOL_INTERRUPTED) break;
        shm_run_handlers(aTHX_ var);
    }
    if (code == POOL_TIMEOUT) XSRETURN_UNDEF;
    var->read_held = true;
    RETVAL = newSViv(1);
  OUTPUT:
    RETVAL

IV
unlock(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, 0);
  CODE:
    RETVAL = var->write_held || var->read_held;
    shm_unlock_all(var);
  OUTPUT:
    RETVAL

void
_unlock_write(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, 0);
    bool       reading = var->read_held;
  CODE:
    var->read_held = false; /* a read lock that was there before stays */
    shm_unlock_all(var);
    var->read_held = reading;

void
_unlock_read(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, 0);
    bool       writing = var->write_held;
  CODE:
    var->write_held = false;
    shm_unlock_all(var);
    var->write_held = writing;

bool
wait_change(self, timeout = NULL)
    SV *self
    SV *timeout
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, 0);
    int64_t    deadline;
    int        code = POOL_FULL;
  CODE:
    deadline = pool_lock_deadline(shm_timeout(aTHX_ timeout));
    shm_check(aTHX_ var);
    if (var->at.serial == UINT64_MAX) shm_refresh(aTHX_ var); /* not looked at before: wait for the next change */
    while (code != POOL_TIMEOUT) {
        uint32_t seen = pool_lock_announce(&var->record->lock, POOL_LOCK_WAIT_CHANGE);
        if (__atomic_load_n(&var->record->serial, __ATOMIC_SEQ_CST) != var->at.serial) break;
        code = pool_lock_sleep(&var->record->lock, seen, deadline, POOL_LOCK_WAIT_CHANGE);
        if (code == POOL_INTERRUPTED) shm_run_handlers(aTHX_ var);
    }
    RETVAL = __atomic_load_n(&var->record->serial, __ATOMIC_ACQUIRE) != var->at.serial;
    if (RETVAL) shm_refresh(aTHX_ var);
  OUTPUT:
    RETVAL

IV
remove(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, 0);
  CODE:
    shm_begin(aTHX_ var);
    shm_remove_name(var->space, var->id);
    shm_publish_removed(aTHX_ var->space, var->id);
    var->removed = true;
    shm_unlock(var);
    shm_unlock_all(var);
    RETVAL = 1;
  OUTPUT:
    RETVAL

SV *
name(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, 0);
  CODE:
    RETVAL = var->name != NULL ? newSVpv(var->name, 0) : newSV(0);
    if (var->name != NULL) sv_utf8_decode(RETVAL);
  OUTPUT:
    RETVAL

UV
serial(self)
    SV *self
  CODE:
    RETVAL = __atomic_load_n(&shm_self(aTHX_ self, 0)->record->serial, __ATOMIC_ACQUIRE);
  OUTPUT:
    RETVAL

void
DESTROY(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_handle_of(aTHX_ self);
  CODE:
    if (var != NULL && var->cache != NULL && PL_dirty) {
        if (shm_work.batch == var) shm_batch_abort(aTHX);
        shm_handle_release(aTHX_ var);
    }

MODULE = IPC::Shm  PACKAGE = IPC::Shm::Scalar

void
FETCH(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, SHM_SCALAR);
  PPCODE:
    ST(0) = shm_scalar_fetch(aTHX_ var);
    XSRETURN(1);

void
STORE(self, value)
    SV *self
    SV *value
  CODE:
    shm_scalar_store(aTHX_ shm_self(aTHX_ self, SHM_SCALAR), value);

void
add(self, delta)
    SV *self
    SV *delta
  PREINIT:
    shm_var_t    *var = shm_self(aTHX_ self, SHM_SCALAR);
    shm_buffer_t *record;
    SV           *sum;
  PPCODE:
    delta = sv_mortalcopy(delta);
    if (SvROK(delta) || !looks_like_number(delta)) croak("Cannot add what is not a number");
    shm_begin(aTHX_ var);
    sum = shm_sum(aTHX_ var->cache, delta);
    if (sum == NULL) {
        shm_unlock(var);
        croak("Cannot add to a value that is not a number");
    }
    record = shm_new_record(SHM_SET);
    shm_put_plain(aTHX_ record, sum);
    shm_write(aTHX_ var, record, NULL);
    ST(0) = sum;
    XSRETURN(1);

MODULE = IPC::Shm  PACKAGE = IPC::Shm::Hash

void
FETCH(self, key)
    SV *self
    SV *key
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, SHM_HASH);
  PPCODE:
    ST(0) = shm_hash_fetch(aTHX_ var, key);
    XSRETURN(1);

void
STORE(self, key, value)
    SV *self
    SV *key
    SV *value
  CODE:
    shm_hash_store(aTHX_ shm_self(aTHX_ self, SHM_HASH), key, value);

void
EXISTS(self, key)
    SV *self
    SV *key
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, SHM_HASH);
  PPCODE:
    ST(0) = boolSV(shm_hash_exists(aTHX_ var, key));
    XSRETURN(1);

void
DELETE(self, key)
    SV *self
    SV *key
  PREINIT:
    shm_var_t    *var = shm_self(aTHX_ self, SHM_HASH);
    HE        *entry;
    SV        *old;
  PPCODE:
    key = shm_key(aTHX_ key);
    shm_key_record(aTHX_ SHM_DELETE, key, var);
    shm_begin(aTHX_ var);
    entry = hv_fetch_ent((HV *)var->cache, key, 0, 0);
    if (entry == NULL) {
        shm_unlock(var);
        XSRETURN_UNDEF;
    }
    shm_hold(aTHX_ var, HeVAL(entry));
    old = sv_2mortal(SvREFCNT_inc_NN(HeVAL(entry)));
    shm_write(aTHX_ var, &shm_work.record, NULL);
    ST(0) = shm_present_removed(aTHX_ old);
    XSRETURN(1);

void
CLEAR(self)
    SV *self
  PREINIT:
    shm_var_t    *var = shm_self(aTHX_ self, SHM_HASH);
    shm_buffer_t *record;
  CODE:
    record = shm_new_record(SHM_CLEAR);
    shm_begin(aTHX_ var);
    shm_write(aTHX_ var, record, NULL);

void
FIRSTKEY(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, SHM_HASH);
  PPCODE:
    shm_refresh(aTHX_ var);
    hv_iterinit((HV *)var->cache);
    SvREFCNT_dec(var->left);
    var->left = NULL;
    ST(0)     = shm_next_key(aTHX_ var);
    XSRETURN(1);

void
NEXTKEY(self, last)
    SV *self
    SV *last
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, SHM_HASH);
  PPCODE:
    PERL_UNUSED_VAR(last);
    shm_refresh(aTHX_ var);
    ST(0) = shm_next_key(aTHX_ var);
    XSRETURN(1);

void
SCALAR(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, SHM_HASH);
  PPCODE:
    shm_refresh(aTHX_ var);
    ST(0) = sv_2mortal(newSVuv(HvUSEDKEYS((HV *)var->cache)));
    XSRETURN(1);

MODULE = IPC::Shm  PACKAGE = IPC::Shm::Array

void
FETCH(self, index)
    SV *self
    IV index
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, SHM_ARRAY);
  PPCODE:
    ST(0) = shm_array_fetch(aTHX_ var, index);
    XSRETURN(1);

void
STORE(self, index, value)
    SV *self
    IV index
    SV *value
  CODE:
    shm_array_store(aTHX_ shm_self(aTHX_ self, SHM_ARRAY), index, value);

IV
FETCHSIZE(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, SHM_ARRAY);
  CODE:
    shm_refresh(aTHX_ var);
    RETVAL = shm_array_size(var);
  OUTPUT:
    RETVAL

void
STORESIZE(self, size)
    SV *self
    IV size
  PREINIT:
    shm_var_t    *var = shm_self(aTHX_ self, SHM_ARRAY);
    shm_buffer_t *record;
  CODE:
    if (size < 0) size = 0;
    shm_check_index(aTHX_ size);
    record = shm_new_record(SHM_SIZE);
    shm_put_varint(record, (uint64_t)size);
    shm_begin(aTHX_ var);
    if (shm_array_size(var) == size) shm_unlock(var);
    else shm_write(aTHX_ var, record, NULL);

void
EXTEND(self, size)
    SV *self
    IV size
  CODE:
    PERL_UNUSED_VAR(self);
    PERL_UNUSED_VAR(size);

void
EXISTS(self, index)
    SV *self
    IV index
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, SHM_ARRAY);
  PPCODE:
    shm_refresh(aTHX_ var);
    ST(0) = boolSV(index >= 0 && index < shm_array_size(var) && AvARRAY((AV *)var->cache)[index] != NULL);
    XSRETURN(1);

void
DELETE(self, index)
    SV *self
    IV index
  PREINIT:
    shm_var_t    *var = shm_self(aTHX_ self, SHM_ARRAY);
    shm_buffer_t *record;
    SV           *old;
  PPCODE:
    if (index < 0) XSRETURN_UNDEF;
    record = shm_new_record(SHM_DELETE);
    shm_put_varint(record, (uint64_t)index);
    shm_begin(aTHX_ var);
    if (index >= shm_array_size(var)) {
        shm_unlock(var);
        XSRETURN_UNDEF;
    }
    shm_hold_range(aTHX_ var, index, 1);
    old = AvARRAY((AV *)var->cache)[index];
    if (old != NULL) sv_2mortal(SvREFCNT_inc_NN(old));
    shm_write(aTHX_ var, record, NULL);
    ST(0) = old != NULL ? shm_present_removed(aTHX_ old) : &PL_sv_undef;
    XSRETURN(1);

void
CLEAR(self)
    SV *self
  PREINIT:
    shm_var_t    *var = shm_self(aTHX_ self, SHM_ARRAY);
    shm_buffer_t *record;
  CODE:
    record = shm_new_record(SHM_CLEAR);
    shm_begin(aTHX_ var);
    shm_write(aTHX_ var, record, NULL);

IV
PUSH(self, ...)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, SHM_ARRAY);
  CODE:
    shm_encode_list(aTHX_ var, ax + 1, items - 1);
    shm_begin(aTHX_ var);
    RETVAL = shm_array_size(var) + items - 1;
    if (items > 1) shm_splice(aTHX_ var, (uint64_t)shm_array_size(var), 0, (uint64_t)(items - 1), NULL);
    else shm_unlock(var);
  OUTPUT:
    RETVAL

IV
UNSHIFT(self, ...)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, SHM_ARRAY);
  CODE:
    shm_encode_list(aTHX_ var, ax + 1, items - 1);
    shm_begin(aTHX_ var);
    RETVAL = shm_array_size(var) + items - 1;
    if (items > 1) shm_splice(aTHX_ var, 0, 0, (uint64_t)(items - 1), NULL);
    else shm_unlock(var);
  OUTPUT:
    RETVAL

void
POP(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, SHM_ARRAY);
    SV        *value;
  PPCODE:
    value = shm_take_end(aTHX_ var, true);
    ST(0) = value;
    XSRETURN(1);

void
SHIFT(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, SHM_ARRAY);
    SV        *value;
  PPCODE:
    value = shm_take_end(aTHX_ var, false);
    ST(0) = value;
    XSRETURN(1);

void
SPLICE(self, ...)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, SHM_ARRAY);
    IV         offset, length = 0, size, i, count = items > 3 ? items - 3 : 0;
    bool       whole = items < 3, past = false;
    AV        *removed;
  PPCODE:
    offset = items > 1 ? shm_splice_argument(aTHX_ ST(1)) : 0;
    length = items > 2 ? shm_splice_argument(aTHX_ ST(2)) : 0;
    shm_encode_list(aTHX_ var, ax + 3, count);
    removed = (AV *)sv_2mortal((SV *)newAV());
    shm_begin(aTHX_ var);
    size = shm_array_size(var);
    if (offset < 0 && (offset += size) < 0) {
        shm_unlock(var);
        croak("Modification of non-creatable array value attempted, subscript %" IVdf, offset - size);
    }
    if (offset > size) {
        past   = true;
        offset = size;
    }
    if (whole) length = size - offset;
    else if (length < 0 && (length += size - offset) < 0) length = 0;
    if (length > size - offset) length = size - offset;
    shm_hold_range(aTHX_ var, offset, length);
    if (length > 0 || count > 0) shm_splice(aTHX_ var, (uint64_t)offset, (uint64_t)length, (uint64_t)count, removed);
    else shm_unlock(var);
    if (past) Perl_ck_warner(aTHX_ packWARN(WARN_MISC), "splice() offset past end of array");
    if (GIMME_V == SHM_G_LIST) {
        SP = PL_stack_base + ax - 1;
        EXTEND(SP, length);
        for (i = 0; i < length; i++) PUSHs(sv_2mortal(SvREFCNT_inc_NN(shm_present_removed(aTHX_ AvARRAY(removed)[i]))));
        XSRETURN(length);
    }
    ST(0) = length > 0 ? sv_2mortal(SvREFCNT_inc_NN(shm_present_removed(aTHX_ AvARRAY(removed)[length - 1]))) : &PL_sv_undef;
    XSRETURN(1);

MODULE = IPC::Shm  PACKAGE = IPC::Shm::Engine::Redis::Connection

void
_watch_forks()
    CODE:
        process_watch_forks();

void
_hold_signals(bool hold)
    CODE:
        process_hold_signals(aTHX_ hold);

void
_tune_socket(int fd, int milliseconds)
    CODE:
        process_tune_socket(fd, milliseconds);
