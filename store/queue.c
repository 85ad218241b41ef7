/*
 * queue.c - what workers have taken from an array and are not done with.
 *
 * The table of a hash's record is free in an array's: there they are, each a cell whose key
 * says who has it. An element leaves the ring and comes into the table by one change, and
 * back. Versions, undoing and finishing are those of hashes; the chain is one, and short:
 * there are as many elements in it as there are workers.
 */
#include "types.h"

#define QUEUE_KEY ((uint32_t)sizeof(store_reservation_t))

POOL_STATIC_ASSERT(sizeof(store_reservation_t) == 24, "a reservation is a key");

static store_key_t queue_key(store_var_t *var, const store_reservation_t *reservation)
{
    return store_key(var->space, (const char *)reservation, QUEUE_KEY, false);
}

static int queue_is_sound(const store_var_t *var)
{
    return var->id.type == STORE_ARRAY && var->open ? (int)STORE_OK : (int)STORE_E_ARGUMENT;
}

int store_queue_keep(store_var_t *var, store_reservation_t *reservation, const store_value_t *value)
{
    store_key_t key;
    int         code = queue_is_sound(var);
    if (code != STORE_OK) return code;
    if (reservation->order == 0) reservation->order = change_serial(var);
    for (;; reservation->since_ns++) { /* two in one change, and in one tick of the clock */
        key = queue_key(var, reservation);
        if ((code = table_get(var, &key, NULL, NULL)) != STORE_OK) break;
    }
    return code == STORE_ABSENT ? table_put(var, &key, value, STORE_NEVER) : code;
}

int store_queue_get(store_var_t *var, const store_reservation_t *reservation, store_value_t *value, const store_buffer_t *buffer)
{
    store_key_t key  = queue_key(var, reservation);
    int         code = queue_is_sound(var);
    return code == STORE_OK ? table_get(var, &key, value, buffer) : code;
}

int store_queue_drop(store_var_t *var, const store_reservation_t *reservation)
{
    store_key_t key  = queue_key(var, reservation);
    int         code = queue_is_sound(var);
    return code == STORE_OK ? table_delete(var, &key) : code;
}

typedef struct queue_walk {
    store_queue_fn *visit;
    void           *context;
} queue_walk_t;

static void queue_visit(store_t *space, store_link_t link, const store_cell_t *cell, void *context)
{
    const queue_walk_t *walk = (const queue_walk_t *)context;
    store_reservation_t reservation;
    store_key_t         key;
    char                bytes[sizeof reservation];
    store_buffer_t      buffer = { bytes, sizeof bytes };
    if (cell_key(space, link, cell, &key, &buffer) != STORE_OK || key.length != QUEUE_KEY) return;
    memcpy(&reservation, bytes, sizeof reservation);
    walk->visit(&reservation, walk->context);
}

int store_queue_each(store_var_t *var, store_queue_fn *visit, void *context)
{
    queue_walk_t  walk = { visit, context };
    store_sight_t sight;
    int           code = queue_is_sound(var);
    if (code != STORE_OK || (code = look_begin(var, &sight)) != STORE_OK) return code;
    return hash_each(var, &sight, queue_visit, &walk) ? (int)STORE_OK : (int)STORE_E_DAMAGED;
}

bool store_queue_is_used(const store_var_t *var)
{
    return var->id.type == STORE_ARRAY && STORE_LOAD(var->record->table.is.root) != 0;
}

uint64_t store_me(store_t *store)
{
    return space_me(store);
}

uint64_t store_owner_pid(uint64_t owner)
{
    return (uint64_t)pool_owner_pid(owner);
}

bool store_owner_is_dead(store_t *store, uint64_t owner)
{
    return space_is_dead(store, owner);
}
