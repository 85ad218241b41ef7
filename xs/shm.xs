MODULE = Data::Pool::Shared    PACKAGE = IPC::Shm::Engine::Memory

 # A namespace that is open, kept so by an object.

BOOT:
    shm_magic_prepare();
    shm_process_install(aTHX);
    shm_boot_signals(aTHX);

SV *
_open(path, is_private, block_size, mode, attach)
    const char *path
    bool is_private
    UV block_size
    UV mode
    bool attach
  PREINIT:
    store_options_t options = { (uint32_t)mode, (uint32_t)block_size, is_private, attach };
  CODE:
    RETVAL = shm_space_object(aTHX_ path, &options);
  OUTPUT:
    RETVAL

bool
_is_current(space, path)
    store_t *space
    const char *path
  CODE:
    RETVAL = !store_is_closed(space) && store_is_at(space, path);
  OUTPUT:
    RETVAL

SV *
_variable(space, type, name, create)
    store_t *space
    UV type
    SV *name
    bool create
  CODE:
    RETVAL = shm_space_variable(aTHX_ space, (uint32_t)type, name, create);
  OUTPUT:
    RETVAL

void
_names(space)
    store_t *space
  PPCODE:
    PUTBACK;
    shm_space_names(aTHX_ space);
    SPAGAIN;

void
_list(space)
    store_t *space
  PPCODE:
    PUTBACK;
    shm_space_list(aTHX_ space);
    SPAGAIN;

SV *
_stats(space)
    store_t *space
  CODE:
    RETVAL = shm_space_stats(aTHX_ space);
  OUTPUT:
    RETVAL

UV
_recover(space)
    store_t *space
  CODE:
    RETVAL = (UV)store_recover(space);
  OUTPUT:
    RETVAL

void
_cleanup(space, seconds)
    store_t *space
    NV seconds
  CODE:
    store_remove_all(space, (int64_t)(seconds * 1e9));

MODULE = Data::Pool::Shared    PACKAGE = IPC::Shm

void
_wrap_operators()
  CODE:
    shm_operators_install(aTHX);

bool
_has_operators()
  CODE:
    RETVAL = shm_operators_installed(aTHX);
  OUTPUT:
    RETVAL

void
_drop_all_kept()
  CODE:
    shm_drop_all_kept(aTHX);

 # What Scalar::Util has: loading that would be a tenth of loading this.

SV *
_class(reference)
    SV *reference
  CODE:
    SvGETMAGIC(reference);
    RETVAL = SvROK(reference) && SvOBJECT(SvRV(reference)) ? sv_ref(newSV(0), SvRV(reference), true) : newSV(0);
  OUTPUT:
    RETVAL

SV *
_kind(reference)
    SV *reference
  CODE:
    SvGETMAGIC(reference);
    RETVAL = SvROK(reference) ? newSVpv(sv_reftype(SvRV(reference), false), 0) : newSV(0);
  OUTPUT:
    RETVAL

bool
_is_same(one, other)
    SV *one
    SV *other
  CODE:
    RETVAL = SvROK(one) && SvROK(other) && SvRV(one) == SvRV(other);
  OUTPUT:
    RETVAL

bool
_is_number(sv)
    SV *sv
  CODE:
    SvGETMAGIC(sv);
    RETVAL = SvROK(sv) ? SvAMAGIC(sv) : looks_like_number(sv) != 0;
  OUTPUT:
    RETVAL

SV *
_find_name(reference, package)
    SV *reference
    SV *package
  CODE:
    RETVAL = shm_find_name(aTHX_ reference, package);
  OUTPUT:
    RETVAL

MODULE = Data::Pool::Shared    PACKAGE = IPC::Shm::Attribute

void
_exchange_sub(glob, sub)
    SV *glob
    SV *sub
  PREINIT:
    GV *gv = SvROK(glob) && isGV_with_GP(SvRV(glob)) ? (GV *)SvRV(glob) : NULL;
    CV *old;
  CODE:
    if (gv == NULL || !SvROK(sub) || SvTYPE(SvRV(sub)) != SVt_PVCV) croak("Not a glob and a sub");
    old = GvCV(gv);
    GvCV_set(gv, (CV *)SvREFCNT_inc_NN(SvRV(sub)));
    GvCVGEN(gv) = 0;
    mro_method_changed_in(GvSTASH(gv));
    SvREFCNT_dec((SV *)old);

MODULE = Data::Pool::Shared    PACKAGE = IPC::Shm::Tied

void
_tie(self, reference)
    SV *self
    SV *reference
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, 0);
  CODE:
    if (!SvROK(reference)) croak("Not a reference");
    if (shm_type_of(SvRV(reference)) != var->type) croak("Not a variable of the right type");
    shm_untie(aTHX_ var, SvRV(reference));
    shm_tie(aTHX_ var, SvRV(reference));

bool
_is_shared(object)
    SV *object
  PREINIT:
    shm_var_t *var = shm_handle_of(aTHX_ object);
  CODE:
    RETVAL = var != NULL && var->var != NULL && !store_is_removed(var->var);
  OUTPUT:
    RETVAL

SV *
_reference(self)
    SV *self
  CODE:
    RETVAL = shm_reference(aTHX_ shm_self(aTHX_ self, 0));
  OUTPUT:
    RETVAL

SV *
id(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, 0);
  CODE:
    RETVAL = newSVpvf("%lu.%lu", (unsigned long)var->id.slot, (unsigned long)var->id.generation);
  OUTPUT:
    RETVAL

SV *
lock(self, kind, timeout = NULL)
    SV *self
    const char *kind
    SV *timeout
  CODE:
    RETVAL = shm_lock(aTHX_ shm_self(aTHX_ self, 0), kind[0] == 'w', shm_timeout(aTHX_ timeout));
  OUTPUT:
    RETVAL

bool
unlock_kind(self, kind)
    SV *self
    const char *kind
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, 0);
  CODE:
    RETVAL = var->var != NULL && (kind[0] == 'w' ? store_unlock_write(var->var) : store_unlock_read(var->var));
  OUTPUT:
    RETVAL

bool
begin(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, 0);
  CODE:
    if (shm_joints != 0) shm_join(aTHX_ var);
    if (store_is_open(shm_store_of(aTHX_ var)) && !var->joint) croak("A change of this variable is open already");
    shm_batch_forget();
    if (var->joint)
        var->armed++;
    else if (!shm_begin_armed(aTHX_ var, NULL))
        croak("A change of this variable is open already");
    RETVAL = true;
  OUTPUT:
    RETVAL

bool
commit(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, 0);
  CODE:
    RETVAL = var->var != NULL && store_is_open(var->var);
    if (var->armed > (var->joint ? 1u : 0u)) var->armed--;
    if (!var->joint) shm_batch_commit(aTHX_ var);
  OUTPUT:
    RETVAL

bool
abort(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, 0);
  CODE:
    RETVAL = var->var != NULL && store_is_open(var->var);
    if (var->armed > (var->joint ? 1u : 0u)) var->armed--;
    if (var->joint) croak("This change is part of that of done: it is undone when the sub dies");
    shm_batch_abort(aTHX_ var);
  OUTPUT:
    RETVAL

SV *
all(self)
    SV *self
  CODE:
    RETVAL = shm_all(aTHX_ shm_self(aTHX_ self, 0));
  OUTPUT:
    RETVAL

bool
is_open(self)
    SV *self
  CODE:
    RETVAL = store_is_open(shm_store_of(aTHX_ shm_self(aTHX_ self, 0)));
  OUTPUT:
    RETVAL

bool
wait_change(self, timeout = NULL)
    SV *self
    SV *timeout
  CODE:
    RETVAL = shm_wait_change(aTHX_ shm_self(aTHX_ self, 0), shm_timeout(aTHX_ timeout));
  OUTPUT:
    RETVAL

IV
remove(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, 0);
  CODE:
    shm_remove(aTHX_ var);
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
    RETVAL = (UV)store_serial(shm_store_of(aTHX_ shm_self(aTHX_ self, 0)));
  OUTPUT:
    RETVAL

void
DESTROY(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_handle_of(aTHX_ self);
  CODE:
    if (var != NULL && var->var != NULL && PL_dirty) shm_let_go(aTHX_ var);

MODULE = Data::Pool::Shared    PACKAGE = IPC::Shm::Scalar

void
FETCH(self)
    SV *self
  PPCODE:
    ST(0) = sv_mortalcopy(shm_scalar_fetch(aTHX_ shm_self(aTHX_ self, STORE_SCALAR))); /* the other is kept */
    XSRETURN(1);

void
STORE(self, value)
    SV *self
    SV *value
  CODE:
    shm_scalar_store(aTHX_ shm_self(aTHX_ self, STORE_SCALAR), value);

void
add(self, delta)
    SV *self
    SV *delta
  PREINIT:
    dXSTARG;
    shm_place_t place = { NULL, 0 };
  PPCODE:
    SvGETMAGIC(delta);
    ST(0) = shm_add(aTHX_ shm_self(aTHX_ self, STORE_SCALAR), &place, delta, TARG);
    XSRETURN(1);

MODULE = Data::Pool::Shared    PACKAGE = IPC::Shm::Hash

void
FETCH(self, key)
    SV *self
    SV *key
  PREINIT:
    SV *value = sv_newmortal();
  PPCODE:
    shm_hash_fetch(aTHX_ shm_self(aTHX_ self, STORE_HASH), key, value);
    ST(0) = value;
    XSRETURN(1);

void
STORE(self, key, value)
    SV *self
    SV *key
    SV *value
  CODE:
    shm_hash_store(aTHX_ shm_self(aTHX_ self, STORE_HASH), key, value, 0);

void
EXISTS(self, key)
    SV *self
    SV *key
  PPCODE:
    ST(0) = boolSV(shm_hash_exists(aTHX_ shm_self(aTHX_ self, STORE_HASH), key));
    XSRETURN(1);

void
DELETE(self, key)
    SV *self
    SV *key
  PPCODE:
    ST(0) = shm_hash_delete(aTHX_ shm_self(aTHX_ self, STORE_HASH), shm_key(aTHX_ key));
    XSRETURN(1);

void
CLEAR(self)
    SV *self
  CODE:
    shm_clear(aTHX_ shm_self(aTHX_ self, STORE_HASH));

void
FIRSTKEY(self)
    SV *self
  PPCODE:
    ST(0) = shm_hash_next(aTHX_ shm_self(aTHX_ self, STORE_HASH), NULL);
    XSRETURN(1);

void
NEXTKEY(self, last)
    SV *self
    SV *last
  PPCODE:
    ST(0) = shm_hash_next(aTHX_ shm_self(aTHX_ self, STORE_HASH), last);
    XSRETURN(1);

UV
SCALAR(self)
    SV *self
  CODE:
    RETVAL = shm_hash_count(aTHX_ shm_self(aTHX_ self, STORE_HASH));
  OUTPUT:
    RETVAL

void
add(self, key, delta)
    SV *self
    SV *key
    SV *delta
  PREINIT:
    dXSTARG;
    shm_var_t *var = shm_self(aTHX_ self, STORE_HASH);
  PPCODE:
    SvGETMAGIC(delta);    /* before the key is borrowed: it may run the user's code, which may change the key */
    {
        store_key_t its   = shm_key_of(aTHX_ var, key);
        shm_place_t place = { &its, 0 };
        ST(0)             = shm_add(aTHX_ var, &place, delta, TARG);
    }
    XSRETURN(1);

void
store(self, key, value, seconds = NULL)
    SV *self
    SV *key
    SV *value
    SV *seconds
  CODE:
    shm_hash_store(aTHX_ shm_self(aTHX_ self, STORE_HASH), key, value, shm_expires(aTHX_ seconds));

void
_keep_expiry(self, key, value)
    SV *self
    SV *key
    SV *value
  CODE:
    shm_hash_keep_expiry(aTHX_ shm_self(aTHX_ self, STORE_HASH), key, value);

bool
touch(self, key, seconds)
    SV *self
    SV *key
    SV *seconds
  CODE:
    RETVAL = shm_hash_touch(aTHX_ shm_self(aTHX_ self, STORE_HASH), key, shm_expires(aTHX_ seconds));
  OUTPUT:
    RETVAL

SV *
ttl(self, key)
    SV *self
    SV *key
  CODE:
    RETVAL = shm_hash_ttl(aTHX_ shm_self(aTHX_ self, STORE_HASH), key);
  OUTPUT:
    RETVAL

void
expire(self, seconds)
    SV *self
    SV *seconds
  CODE:
    shm_hash_expire(aTHX_ shm_self(aTHX_ self, STORE_HASH), seconds);

void
limit(self, elements)
    SV *self
    SV *elements
  CODE:
    shm_hash_limit(aTHX_ shm_self(aTHX_ self, STORE_HASH), elements);

UV
sweep(self)
    SV *self
  CODE:
    RETVAL = shm_hash_sweep(aTHX_ shm_self(aTHX_ self, STORE_HASH));
  OUTPUT:
    RETVAL

void
insert(self, ...)
    SV *self
  ALIAS:
    IPC::Shm::Array::insert  = 1
    IPC::Shm::Scalar::insert = 2
  PREINIT:
    shm_var_t *var   = shm_self(aTHX_ self, 0);
    SV        *where = shm_arguments(aTHX_ var, "insert", items - 1, 1, "a value", ST(1));
  PPCODE:
    PERL_UNUSED_VAR(ix);
    ST(0) = boolSV(shm_insert(aTHX_ var, where, ST(items - 1)));
    XSRETURN(1);

void
replace(self, ...)
    SV *self
  ALIAS:
    IPC::Shm::Array::replace  = 1
    IPC::Shm::Scalar::replace = 2
  PREINIT:
    shm_var_t *var   = shm_self(aTHX_ self, 0);
    SV        *where = shm_arguments(aTHX_ var, "replace", items - 1, 2, "an old and a new value", ST(1));
  PPCODE:
    PERL_UNUSED_VAR(ix);
    ST(0) = boolSV(shm_replace(aTHX_ var, where, ST(items - 2), ST(items - 1)));
    XSRETURN(1);

void
exchange(self, ...)
    SV *self
  ALIAS:
    IPC::Shm::Array::exchange  = 1
    IPC::Shm::Scalar::exchange = 2
  PREINIT:
    shm_var_t *var   = shm_self(aTHX_ self, 0);
    SV        *where = shm_arguments(aTHX_ var, "exchange", items - 1, 1, "a value", ST(1));
  PPCODE:
    PERL_UNUSED_VAR(ix);
    ST(0) = shm_exchange(aTHX_ var, where, ST(items - 1));
    XSRETURN(1);

void
update(self, ...)
    SV *self
  ALIAS:
    IPC::Shm::Array::update  = 1
    IPC::Shm::Scalar::update = 2
  PREINIT:
    shm_var_t *var   = shm_self(aTHX_ self, 0);
    SV        *where = shm_arguments(aTHX_ var, "update", items - 1, 1, "a sub", ST(1));
  PPCODE:
    PERL_UNUSED_VAR(ix);
    ST(0) = shm_update(aTHX_ var, where, ST(items - 1));
    XSRETURN(1);

MODULE = Data::Pool::Shared    PACKAGE = IPC::Shm::Queue::Joint

void
commit(self)
    SV *self
  CODE:
    PERL_UNUSED_VAR(self);
    shm_joint_commit(aTHX);

void
abort(self)
    SV *self
  CODE:
    PERL_UNUSED_VAR(self);
    shm_joint_abort(aTHX);

MODULE = Data::Pool::Shared    PACKAGE = IPC::Shm::Array

void
take(self, seconds = NULL)
    SV *self
    SV *seconds
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, STORE_ARRAY);
    SV        *job = sv_newmortal();
  PPCODE:
    ST(0) = shm_queue_await(aTHX_ var, job, NULL, seconds) ? job : &PL_sv_undef;
    XSRETURN(1);

void
reserve(self, seconds = NULL)
    SV *self
    SV *seconds
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, STORE_ARRAY);
    SV        *job = sv_newmortal(), *ticket = sv_newmortal();
  PPCODE:
    if (!shm_queue_await(aTHX_ var, job, ticket, seconds)) XSRETURN_EMPTY;
    EXTEND(SP, 2);
    ST(0) = job;
    ST(1) = ticket;
    XSRETURN(2);

bool
_end(self, ticket, back)
    SV *self
    SV *ticket
    bool back
  CODE:
    RETVAL = shm_queue_end(aTHX_ shm_self(aTHX_ self, STORE_ARRAY), ticket, back);
  OUTPUT:
    RETVAL

bool
_begin_joint(self)
    SV *self
  PREINIT:
    shm_var_t *var = shm_self(aTHX_ self, 0);
  CODE:
    if (store_is_open(shm_store_of(aTHX_ var)) && !var->joint) croak("A change of the queue is open already: done with a sub is one of its own");
    RETVAL = shm_joint_begin(aTHX_ var);
  OUTPUT:
    RETVAL

void
_reserved(self)
    SV *self
  PPCODE:
    PUTBACK;
    shm_queue_list(aTHX_ shm_self(aTHX_ self, STORE_ARRAY));
    SPAGAIN;

bool
_is_reserved(self)
    SV *self
  CODE:
    RETVAL = store_queue_is_used(shm_store_of(aTHX_ shm_self(aTHX_ self, STORE_ARRAY)));
  OUTPUT:
    RETVAL

void
add(self, index, delta)
    SV *self
    SV *index
    SV *delta
  PREINIT:
    dXSTARG;
    shm_var_t  *var = shm_self(aTHX_ self, STORE_ARRAY);
    shm_place_t place;
  PPCODE:
    SvGETMAGIC(delta);
    place = shm_place_of(aTHX_ var, index, NULL);
    ST(0) = shm_add(aTHX_ var, &place, delta, TARG);
    XSRETURN(1);

void
FETCH(self, index)
    SV *self
    IV index
  PREINIT:
    SV *value = sv_newmortal();
  PPCODE:
    shm_array_fetch(aTHX_ shm_self(aTHX_ self, STORE_ARRAY), index, value);
    ST(0) = value;
    XSRETURN(1);

void
STORE(self, index, value)
    SV *self
    IV index
    SV *value
  CODE:
    shm_array_store(aTHX_ shm_self(aTHX_ self, STORE_ARRAY), index, value);

IV
FETCHSIZE(self)
    SV *self
  CODE:
    RETVAL = shm_array_size(aTHX_ shm_self(aTHX_ self, STORE_ARRAY));
  OUTPUT:
    RETVAL

void
STORESIZE(self, size)
    SV *self
    IV size
  CODE:
    shm_array_resize(aTHX_ shm_self(aTHX_ self, STORE_ARRAY), size);

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
  PPCODE:
    ST(0) = boolSV(shm_array_fetch(aTHX_ shm_self(aTHX_ self, STORE_ARRAY), index, sv_newmortal()));
    XSRETURN(1);

void
DELETE(self, index)
    SV *self
    IV index
  PPCODE:
    ST(0) = shm_array_delete(aTHX_ shm_self(aTHX_ self, STORE_ARRAY), index);
    XSRETURN(1);

void
CLEAR(self)
    SV *self
  CODE:
    shm_clear(aTHX_ shm_self(aTHX_ self, STORE_ARRAY));

IV
PUSH(self, ...)
    SV *self
  CODE:
    shm_meet_statement(aTHX_ OP_PUSH);
    RETVAL = shm_array_push(aTHX_ shm_self(aTHX_ self, STORE_ARRAY), ax + 1, items - 1);
  OUTPUT:
    RETVAL

IV
UNSHIFT(self, ...)
    SV *self
  PREINIT:
    shm_splice_t splice = { 0, 0, false, false, ax + 1, items - 1, NULL };
  CODE:
    shm_meet_statement(aTHX_ OP_UNSHIFT);
    RETVAL = shm_array_splice(aTHX_ shm_self(aTHX_ self, STORE_ARRAY), &splice);
  OUTPUT:
    RETVAL

void
POP(self)
    SV *self
  PPCODE:
    shm_meet_statement(aTHX_ OP_POP);
    ST(0) = shm_array_take(aTHX_ shm_self(aTHX_ self, STORE_ARRAY), true);
    XSRETURN(1);

void
SHIFT(self)
    SV *self
  PPCODE:
    shm_meet_statement(aTHX_ OP_SHIFT);
    ST(0) = shm_array_take(aTHX_ shm_self(aTHX_ self, STORE_ARRAY), false);
    XSRETURN(1);

void
SPLICE(self, ...)
    SV *self
  PREINIT:
    shm_splice_t splice = { 0, 0, false, false, ax + 3, items > 3 ? items - 3 : 0, NULL };
    IV           i;
  PPCODE:
    splice.offset  = items > 1 ? shm_splice_argument(aTHX_ ST(1)) : 0;
    splice.length  = items > 2 ? shm_splice_argument(aTHX_ ST(2)) : 0;
    splice.to_end  = items < 3;
    splice.removed = (AV *)sv_2mortal((SV *)newAV());
    shm_array_splice(aTHX_ shm_self(aTHX_ self, STORE_ARRAY), &splice);
    if (splice.past) Perl_ck_warner(aTHX_ packWARN(WARN_MISC), "splice() offset past end of array");
    if (GIMME_V != SHM_G_LIST) {
        ST(0) = splice.length > 0 ? sv_2mortal(SvREFCNT_inc_NN(AvARRAY(splice.removed)[splice.length - 1])) : &PL_sv_undef;
        XSRETURN(1);
    }
    SP = PL_stack_base + ax - 1;
    EXTEND(SP, splice.length);
    for (i = 0; i < splice.length; i++) PUSHs(sv_2mortal(SvREFCNT_inc_NN(AvARRAY(splice.removed)[i])));
    XSRETURN(splice.length);

MODULE = Data::Pool::Shared    PACKAGE = IPC::Shm::Guard

void
DESTROY(self)
    SV *self
  CODE:
    shm_destroy_held(aTHX_ self);

MODULE = Data::Pool::Shared    PACKAGE = IPC::Shm::Elements::Change

void
DESTROY(self)
    SV *self
  CODE:
    shm_destroy_held(aTHX_ self);

MODULE = Data::Pool::Shared    PACKAGE = IPC::Shm::Engine::Redis::Variable

void
DESTROY(self)
    SV *self
  CODE:
    shm_destroy_held(aTHX_ self);

MODULE = Data::Pool::Shared    PACKAGE = IPC::Shm::Engine

void
_is_in_perl()
  CODE:
    shm_engine_in_perl();

MODULE = Data::Pool::Shared    PACKAGE = IPC::Shm::Engine::Redis::Connection

void
_watch_forks()
  CODE:
    shm_engine_watch_forks();

void
_tune_socket(fd, milliseconds)
    int fd
    int milliseconds
  CODE:
    shm_engine_tune_socket(fd, milliseconds);

MODULE = Data::Pool::Shared    PACKAGE = IPC::Shm::Engine::Redis::Value

bool
is_bool(value)
    SV *value
  CODE:
#ifdef SvIsBOOL
    RETVAL = SvIsBOOL(value); /* neither a number nor a text */
#else
    RETVAL = false;
    PERL_UNUSED_VAR(value);
#endif
  OUTPUT:
    RETVAL
