/* look.c - looks at the whole content of a variable, of one moment. */
#include "types.h"

#include <stdlib.h>

/* The copy while it grows. Texts are told by their offset until all of it is there. */
typedef struct look_copy {
    store_value_t *items; /* key, value, key, value … or values */
    uint64_t       count, room;
    char          *text;
    uint64_t       length, capacity;
    bool           with_keys, with_values, failed;
} look_copy_t;

static bool look_grow(look_copy_t *copy, uint64_t items, uint64_t bytes)
{
    if (copy->count + items > copy->room) {
        uint64_t       room = copy->room * 2 + items + 16;
        store_value_t *more = (store_value_t *)realloc(copy->items, room * sizeof *more);
        if (more == NULL) return false;
        copy->items = more;
        copy->room  = room;
    }
    if (copy->capacity - copy->length < bytes) {
        uint64_t capacity = copy->capacity * 2 + bytes + 1024;
        char    *more     = (char *)realloc(copy->text, capacity);
        if (more == NULL) return false;
        copy->text     = more;
        copy->capacity = capacity;
    }
    return true;
}

static store_buffer_t look_room(const look_copy_t *copy)
{
    store_buffer_t buffer = { copy->text + copy->length, copy->capacity - copy->length };
    return buffer;
}

/* Lengths that a torn cell tells are bounded by those of the namespace, so that what is
 * asked of malloc() is bounded, too; the look is then found to be torn. */
static bool look_add_key(look_copy_t *copy, store_t *space, store_link_t link, const store_cell_t *cell)
{
    store_key_t    key;
    store_buffer_t buffer = look_room(copy);
    store_value_t *item   = &copy->items[copy->count];
    int            code   = cell_key(space, link, cell, &key, &buffer);
    if (code == STORE_MORE) {
        if (!look_grow(copy, 2, key.length)) return false;
        item   = &copy->items[copy->count];
        buffer = look_room(copy);
        code   = cell_key(space, link, cell, &key, &buffer);
    }
    if (code != STORE_OK) return code != STORE_MORE;
    *item = store_text((const char *)(uintptr_t)copy->length, key.length, key.is_text);
    copy->length += key.length;
    copy->count++;
    return true;
}

static bool look_add_value(look_copy_t *copy, store_t *space, store_link_t link, const store_cell_t *cell)
{
    store_buffer_t buffer = look_room(copy);
    store_value_t *item   = &copy->items[copy->count];
    int            code;
    if (cell == NULL) {
        *item = store_none(STORE_KINDS);
        copy->count++;
        return true;
    }
    code = cell_value(space, link, cell, item, &buffer);
    if (code == STORE_MORE) {
        if (!look_grow(copy, 2, item->length)) return false;
        item   = &copy->items[copy->count];
        buffer = look_room(copy);
        code   = cell_value(space, link, cell, item, &buffer);
    }
    if (code != STORE_OK) return code != STORE_MORE;
    item->text = (const char *)(uintptr_t)copy->length;
    copy->length += item->length;
    copy->count++;
    return true;
}

static void look_add(store_t *space, store_link_t link, const store_cell_t *cell, void *context)
{
    look_copy_t *copy = (look_copy_t *)context;
    if (copy->failed || !look_grow(copy, 2, 64)) {
        copy->failed = true;
        return;
    }
    if (copy->with_keys && !look_add_key(copy, space, link, cell)) copy->failed = true;
    if (copy->with_values && !copy->failed && !look_add_value(copy, space, link, cell)) copy->failed = true;
}

static int look_scalar(store_var_t *var, look_copy_t *copy)
{
    store_buffer_t buffer;
    int            code;
    if (!look_grow(copy, 2, 64)) return STORE_E_SYSTEM;
    for (;;) {
        buffer = look_room(copy);
        code   = store_scalar_get(var, &copy->items[0], &buffer);
        if (code != STORE_MORE) break;
        if (!look_grow(copy, 2, copy->items[0].length)) return STORE_E_SYSTEM;
    }
    copy->items[0].text = NULL; /* its offset */
    copy->count         = 1;
    return code;
}

/* One try. *torn: it was not of one moment. */
static int look_try(store_var_t *var, look_copy_t *copy, uint64_t *serial, bool *torn)
{
    store_sight_t sight;
    bool          ok;
    int           code = look_begin(var, &sight);
    *torn              = false;
    if (code != STORE_OK) return code;
    *serial     = sight.serial;
    copy->count = copy->length = 0;
    if (var->id.type == STORE_SCALAR) {
        look_end(&sight);
        return look_scalar(var, copy);
    }
    ok    = var->id.type == STORE_HASH ? hash_each(var, &sight, look_add, copy) : array_each(var, &sight, look_add, copy);
    *torn = !ok || !look_is_current(var, &sight);
    look_end(&sight);
    return copy->failed && !*torn ? (int)STORE_E_SYSTEM : (int)STORE_OK;
}

/* Offsets become addresses; keys and values each get a row of their own. */
static int look_finish(store_var_t *var, look_copy_t *copy, store_look_t *look)
{
    bool           both  = copy->with_keys && copy->with_values;
    uint64_t       count = both ? copy->count / 2 : copy->count, i;
    store_value_t *rows  = copy->items;
    (void)var;
    for (i = 0; i < copy->count; i++)
        if (copy->items[i].kind >= STORE_BYTES && copy->items[i].kind < STORE_KINDS)
            copy->items[i].text = copy->text + (uintptr_t)copy->items[i].text;
    look->count  = count;
    look->keys   = copy->with_keys ? rows : NULL;
    look->values = copy->with_values && rows != NULL ? rows + (copy->with_keys ? 1 : 0) : NULL; /* nothing there: no row */
    look->stride = both ? 2 : 1;
    look->memory = copy->text;
    look->items  = rows;
    return STORE_OK;
}

int store_look(store_var_t *var, bool with_values, store_look_t *look)
{
    look_copy_t copy;
    int         tries, code = STORE_OK;
    bool        torn = true, own;

    memset(look, 0, sizeof *look);
    memset(&copy, 0, sizeof copy);
    copy.with_keys   = var->id.type == STORE_HASH;
    copy.with_values = with_values || !copy.with_keys;
    for (tries = 0; tries < LOOK_TRIES / 2 && torn && code == STORE_OK; tries++) {
        copy.failed = false;
        code        = look_try(var, &copy, &look->serial, &torn);
    }
    if (torn && code == STORE_OK && (code = change_enter(var, &own)) == STORE_OK) { /* disturbed too often: nobody writes meanwhile */
        copy.failed = false;
        code        = look_try(var, &copy, &look->serial, &torn);
        if (code == STORE_OK && torn) code = STORE_E_DAMAGED;
        change_leave(var, own, STORE_OK);
    }
    if (code == STORE_OK) return look_finish(var, &copy, look);
    free(copy.items);
    free(copy.text);
    return code;
}

void store_look_free(store_look_t *look)
{
    free(look->items);
    free(look->memory);
    memset(look, 0, sizeof *look);
}
