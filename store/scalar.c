/*
 * scalar.c - shared scalars: numbers, undef and short strings lie in the state that the serial
 * publishes, other values in a cell that it leads to.
 */
#include "types.h"

#include <stdlib.h>

/* In addition to the kind, `tier` has the length of a short string, whose bytes are in `first` and
 * `length` of the state. */
#define SCALAR_LENGTH_BIT 8u
#define SCALAR_SHORT      16u

/* Does the state hold it? */
static bool scalar_is_small(const store_value_t *value)
{
    return value->kind < STORE_BYTES || (value->kind <= STORE_TEXT && value->length <= SCALAR_SHORT);
}

static void scalar_pack(store_state_t *draft, const store_value_t *value)
{
    uint64_t words[2] = { value->number.u, 0 };
    uint32_t tier     = value->kind;
    if (value->kind >= STORE_BYTES) {
        words[0] = 0;
        memcpy(words, value->text, value->length);
        tier |= (uint32_t)value->length << SCALAR_LENGTH_BIT;
    }
    STORE_STORE(draft->tier, tier);
    STORE_STORE(draft->first, words[0]);
    STORE_STORE(draft->length, words[1]);
}

static int scalar_unpack(const store_state_t *state, store_value_t *value, const store_buffer_t *buffer)
{
    uint64_t words[2] = { state->first, state->length };
    uint32_t kind = state->tier & ((1u << SCALAR_LENGTH_BIT) - 1), length = state->tier >> SCALAR_LENGTH_BIT;
    if (kind > STORE_TEXT || length > SCALAR_SHORT) return STORE_E_DAMAGED;
    *value = store_none(kind);
    if (kind < STORE_BYTES) {
        value->number.u = words[0];
        return STORE_OK;
    }
    value->length = length;
    value->text   = buffer != NULL ? buffer->space : NULL;
    if (buffer == NULL || buffer->capacity < length) return STORE_MORE;
    memcpy(buffer->space, words, length);
    return STORE_OK;
}

static int scalar_look_up(store_var_t *var, const store_sight_t *sight, store_value_t *value, const store_buffer_t *buffer)
{
    const store_cell_t *cell;
    if (sight->state.root == 0) return scalar_unpack(&sight->state, value, buffer);
    cell = cell_at(var->space, sight->state.root);
    return cell != NULL ? cell_value(var->space, sight->state.root, cell, value, buffer) : (int)STORE_E_DAMAGED;
}

int store_scalar_get(store_var_t *var, store_value_t *value, const store_buffer_t *buffer)
{
    store_sight_t sight;
    int           tries, code, result;
    bool          own;
    if (!var_is(var, STORE_SCALAR)) return STORE_E_ARGUMENT;
    for (tries = 0; look_again(var, tries); tries++) {
        if ((code = look_begin(var, &sight)) != STORE_OK) return code;
        result = scalar_look_up(var, &sight, value, buffer);
        look_end(&sight);
        if (look_holds(var, &sight)) return result;
    }
    if ((code = look_lock(var, &own)) != STORE_OK) return code;
    if ((code = look_begin(var, &sight)) == STORE_OK) code = scalar_look_up(var, &sight, value, buffer);
    change_leave(var, own, STORE_OK);
    return code;
}

/* End the present cell, in the open change. */
static void scalar_end(store_var_t *var)
{
    store_state_t *draft = change_draft(var);
    store_cell_t  *cell  = cell_at(var->space, draft->root);
    if (cell != NULL) change_end(var, draft->root, cell);
    STORE_STORE(draft->root, 0);
}

static void scalar_set(store_var_t *var, const store_value_t *value, store_link_t link)
{
    store_state_t *draft = change_draft(var);
    scalar_end(var);
    var->changed = true;
    if (link == 0) {
        scalar_pack(draft, value);
        return;
    }
    change_add(var, link, cell_at(var->space, link));
    STORE_STORE(draft->root, link);
}

int store_scalar_put(store_var_t *var, const store_value_t *value)
{
    store_doomed_t doomed = 0;
    store_link_t   link   = 0;
    bool           own;
    int            code;
    if (!var_is(var, STORE_SCALAR)) return STORE_E_ARGUMENT;

    if (!scalar_is_small(value) && (link = change_make(var, NULL, value, 0, &code)) == 0) return code;
    if ((code = change_enter(var, &own)) == STORE_OK) {
        scalar_set(var, value, link);
        change_leave(var, own, STORE_OK);
    }
    else if (link != 0)
        change_discard(var->space, link, &doomed);
    ref_destroy(var->space, &doomed);
    return code;
}
