/* cell.c - cells: see cell.h. */
#include "cell.h"

/* The bytes behind the head of a cell; the last 4 bytes of a long one are a link to the first block. */
static uint8_t *cell_payload(store_cell_t *cell)
{
    return (uint8_t *)(cell + 1);
}

static uint64_t cell_room(uint32_t size, bool is_long)
{
    return size - sizeof(store_cell_t) - (is_long ? sizeof(store_link_t) : 0);
}

/* A block of a long cell: a link to the next one, padding, bytes. */
#define CELL_BLOCK_HEAD 8u

static bool cell_is_long(const store_cell_t *cell)
{
    return (STORE_LOAD(cell->flags) & STORE_CELL_LONG) != 0;
}

static store_link_t *cell_first_block(store_cell_t *cell, uint32_t size)
{
    return (store_link_t *)(void *)((uint8_t *)cell + size - sizeof(store_link_t));
}

/* A cursor over the bytes of a cell, piece by piece. */
typedef struct cell_cursor {
    store_t     *space;
    uint8_t     *at;
    uint64_t     left; /* bytes at `at`; 0: no more, or it is torn */
    store_link_t next;
} cell_cursor_t;

static void cell_open(cell_cursor_t *cursor, store_t *space, store_link_t link, store_cell_t *cell)
{
    uint32_t size = row_size(space, link);
    bool     more = cell_is_long(cell);
    cursor->space = space;
    cursor->at    = cell_payload(cell);
    cursor->left  = cell_room(size, more);
    cursor->next  = more ? STORE_LOAD(*cell_first_block(cell, size)) : 0;
}

/* Acquire: a block is whole before a link leads to it. */
static void cell_next_block(cell_cursor_t *cursor)
{
    uint8_t *block = row_of(cursor->next) == cursor->space->block_row ? (uint8_t *)row_ptr(cursor->space, cursor->next) : NULL;
    cursor->left   = 0;
    if (block == NULL || !row_is_allocated(cursor->space, cursor->next)) return; /* its memory may not be reserved, or be given back */
    cursor->next =
        __atomic_load_n((store_link_t *)(void *)block, __ATOMIC_ACQUIRE); /* pairs with row_alloc(), which comes before the link */
    cursor->at   = block + CELL_BLOCK_HEAD;
    cursor->left = cursor->space->block_size - CELL_BLOCK_HEAD;
}

/* The piece at the cursor, at most `length` bytes of it; 0: torn. */
static uint64_t cell_piece(cell_cursor_t *cursor, uint64_t length)
{
    if (cursor->left == 0) cell_next_block(cursor);
    return length < cursor->left ? length : cursor->left;
}

static void cell_advance(cell_cursor_t *cursor, uint64_t bytes)
{
    cursor->at += bytes;
    cursor->left -= bytes;
}

static uint64_t cell_skip_head(const store_cell_t *cell)
{
    return (STORE_LOAD(cell->flags) & STORE_CELL_EXPIRES) != 0 ? 8 : 0;
}

/* Where its key begins, if the key and `length` bytes lie in one piece, as is nearly always the case; else
 * NULL. */
static inline const uint8_t *cell_body(store_t *space, store_link_t link, const store_cell_t *cell, uint64_t length)
{
    uint64_t head = cell_skip_head(cell);
    return POOL_LIKELY(!cell_is_long(cell) && head + length <= row_size(space, link) - sizeof(store_cell_t))
               ? (const uint8_t *)(cell + 1) + head
               : NULL;
}

/* Copy the next bytes out (to NULL: skip them). False: torn. */
static bool cell_read(cell_cursor_t *cursor, void *to, uint64_t length)
{
    uint8_t *out = (uint8_t *)to;
    while (length > 0) {
        uint64_t piece = cell_piece(cursor, length);
        if (piece == 0) return false;
        if (out != NULL) {
            store_copy_out(out, cursor->at, piece);
            out += piece;
        }
        cell_advance(cursor, piece);
        length -= piece;
    }
    return true;
}

static void cell_write(cell_cursor_t *cursor, const void *from, uint64_t length)
{
    const uint8_t *in = (const uint8_t *)from;
    while (length > 0) {
        uint64_t piece = cell_piece(cursor, length);
        if (piece == 0) return;
        store_copy_in(cursor->at, in, piece);
        cell_advance(cursor, piece);
        in += piece;
        length -= piece;
    }
}

/* --- making ----------------------------------------------------------------- */

/* The kinds of value that have a number of eight bytes. */
#define CELL_NUMBERS \
    (1u << STORE_INT | 1u << STORE_UINT | 1u << STORE_DOUBLE | 1u << STORE_DUAL_INT | 1u << STORE_DUAL_DOUBLE | 1u << STORE_CONSTANT)

/* The number of bytes that a value of this kind has in addition to its text. */
static inline uint64_t cell_digits(uint32_t kind)
{
    return kind == STORE_REF ? sizeof(store_stored_ref_t) : (CELL_NUMBERS >> kind & 1u) * 8u;
}

/* They are these. */
static void cell_take_number(const store_value_t *value, uint8_t number[sizeof(store_stored_ref_t)])
{
    store_stored_ref_t ref;
    if (value->kind != STORE_REF) {
        memcpy(number, &value->number.u, 8);
        return;
    }
    memset(&ref, 0, sizeof ref);
    ref.slot       = value->number.ref.slot;
    ref.generation = value->number.ref.generation;
    ref.type       = (uint8_t)value->number.ref.type;
    ref.is_text    = value->number.ref.is_text != 0;
    memcpy(number, &ref, sizeof ref);
}

static bool cell_has_text(uint32_t kind)
{
    return kind >= STORE_BYTES && kind < STORE_KINDS;
}

/* Link this many blocks behind the head. False: there is no room; the blocks taken so far are freed. */
static bool cell_add_blocks(store_t *space, store_cell_t *cell, uint32_t size, uint64_t bytes, store_error_t *err)
{
    store_link_t *place = cell_first_block(cell, size);
    uint64_t      room  = space->block_size - CELL_BLOCK_HEAD;
    for (; bytes > 0; bytes -= bytes < room ? bytes : room) {
        store_link_t block = row_alloc(space, space->block_row, err);
        if (block == 0) return false;
        STORE_STORE(*place, block);
        place = (store_link_t *)row_ptr(space, block);
    }
    return true;
}

/* What is written behind a new cell's head. */
typedef struct cell_content {
    const store_key_t   *key; /* or NULL */
    const store_value_t *value;
    uint64_t             expires_ns; /* 0: none */
    uint64_t             digits, text;
    uint8_t              number[sizeof(store_stored_ref_t)];
} cell_content_t;

static inline uint64_t cell_need(const cell_content_t *content)
{
    return (content->expires_ns != 0 ? 8 : 0) + (content->key != NULL ? content->key->length : 0) + content->digits + content->text;
}

/* All of it in one piece, as is nearly always the case: then the compiler knows most lengths. */
static inline void cell_fill_short(uint8_t *at, const cell_content_t *content)
{
    if (content->expires_ns != 0) {
        store_copy_in(at, &content->expires_ns, 8);
        at += 8;
    }
    if (content->key != NULL) {
        store_copy_in(at, content->key->bytes, content->key->length);
        at += content->key->length;
    }
    if (content->digits == 8)
        store_copy_in(at, content->number, 8);
    else if (content->digits > 0)
        store_copy_in(at, content->number, sizeof content->number);
    if (content->text > 0) store_copy_in(at + content->digits, content->value->text, content->text);
}

static void cell_fill_long(cell_cursor_t *cursor, const cell_content_t *content)
{
    if (content->expires_ns != 0) cell_write(cursor, &content->expires_ns, 8);
    if (content->key != NULL) cell_write(cursor, content->key->bytes, content->key->length);
    cell_write(cursor, content->number, content->digits);
    cell_write(cursor, content->value->text, content->text);
}

store_link_t cell_make(store_t *space, const store_key_t *key, const store_value_t *value, uint64_t expires_ns, store_error_t *err)
{
    cell_content_t content;
    uint64_t       need;
    uint32_t       row, size;
    bool           is_long;
    store_link_t   link;
    store_cell_t  *cell;
    cell_cursor_t  cursor;

    content.key        = key;
    content.value      = value;
    content.expires_ns = expires_ns;
    content.digits     = value->kind < STORE_KINDS ? cell_digits(value->kind) : 0;
    content.text       = cell_has_text(value->kind) ? value->length : 0;
    if (value->kind >= STORE_KINDS || content.text > UINT32_MAX - content.digits) {
        space_fail(err, STORE_E_ARGUMENT, 0, space->path,
                   value->kind >= STORE_KINDS ? "cannot hold a value of no kind" : "cannot hold a value of more than 4 GB");
        return 0;
    }
    if (content.digits > 0) cell_take_number(value, content.number);
    need    = cell_need(&content);
    row     = row_for(space, need + sizeof(store_cell_t));
    size    = space->row[row].size;
    is_long = need > cell_room(size, false);
    if ((link = row_alloc(space, row, err)) == 0) return 0;
    cell = (store_cell_t *)row_ptr(space, link);
    STORE_STORE(cell->hash, key != NULL ? key->hash : 0);
    STORE_STORE(cell->key_length, key != NULL ? key->length : 0);
    STORE_STORE(cell->value_length, (uint32_t)(content.digits + content.text));
    STORE_STORE(cell->kind, (uint8_t)value->kind);
    STORE_STORE(cell->used, 1);
    STORE_STORE(cell->flags, (uint8_t)((key != NULL && key->is_text ? STORE_CELL_KEY_TEXT : 0) | (is_long ? STORE_CELL_LONG : 0)
                                       | (expires_ns != 0 ? STORE_CELL_EXPIRES : 0)));
    if (POOL_LIKELY(!is_long)) {
        cell_fill_short(cell_payload(cell), &content);
        return link;
    }
    if (!cell_add_blocks(space, cell, size, need - cell_room(size, true), err)) {
        cell_free(space, link);
        return 0;
    }
    cell_open(&cursor, space, link, cell);
    cell_fill_long(&cursor, &content);
    return link;
}

/* --- reading ---------------------------------------------------------------- */

uint64_t cell_expires(store_t *space, store_link_t link, const store_cell_t *cell)
{
    cell_cursor_t cursor;
    uint64_t      expires = 0;
    if (POOL_LIKELY((STORE_LOAD(cell->flags) & STORE_CELL_EXPIRES) == 0)) return 0;
    if (POOL_LIKELY(!cell_is_long(cell))) { /* the smallest cell has room for it */
        store_copy_out(&expires, cell_payload((store_cell_t *)cell), 8);
        return expires;
    }
    cell_open(&cursor, space, link, (store_cell_t *)cell);
    return cell_read(&cursor, &expires, 8) ? expires : 0;
}

/* Copy the text at the cursor, `length` bytes of it, to the buffer. */
static int cell_text(cell_cursor_t *cursor, uint64_t length, const store_buffer_t *buffer)
{
    if (buffer == NULL || buffer->capacity < length) return STORE_MORE;
    return cell_read(cursor, buffer->space, length) ? STORE_OK : STORE_E_DAMAGED;
}

static void cell_give_number(store_value_t *value, const uint8_t number[sizeof(store_stored_ref_t)])
{
    store_stored_ref_t ref;
    if (value->kind != STORE_REF) {
        memcpy(&value->number.u, number, 8);
        return;
    }
    memcpy(&ref, number, sizeof ref);
    value->number.ref.slot       = ref.slot;
    value->number.ref.generation = ref.generation;
    value->number.ref.type       = ref.type;
    value->number.ref.is_text    = ref.is_text;
}

/* A value in one piece, as is nearly always the case. */
static inline int cell_value_short(const uint8_t *at, uint64_t digits, store_value_t *value, const store_buffer_t *buffer)
{
    uint8_t number[sizeof(store_stored_ref_t)];
    if (digits > 0) {
        if (digits == 8)
            store_copy_out(number, at, 8);
        else
            store_copy_out(number, at, sizeof number);
        cell_give_number(value, number);
    }
    if (!cell_has_text(value->kind)) return STORE_OK;
    if (buffer == NULL || buffer->capacity < value->length) return STORE_MORE;
    store_copy_out(buffer->space, at + digits, value->length);
    return STORE_OK;
}

/* With the cursor behind the key. */
static int cell_value_long(cell_cursor_t *cursor, uint64_t digits, store_value_t *value, const store_buffer_t *buffer)
{
    uint8_t number[sizeof(store_stored_ref_t)];
    if (digits > 0) {
        if (!cell_read(cursor, number, digits)) return STORE_E_DAMAGED;
        cell_give_number(value, number);
    }
    return cell_has_text(value->kind) ? cell_text(cursor, value->length, buffer) : (int)STORE_OK;
}

int cell_value(store_t *space, store_link_t link, const store_cell_t *cell, store_value_t *value, const store_buffer_t *buffer)
{
    uint64_t       key_length = STORE_LOAD(cell->key_length), length = STORE_LOAD(cell->value_length), digits;
    const uint8_t *body = cell_body(space, link, cell, key_length + length);
    cell_cursor_t  cursor;

    value->kind = STORE_LOAD(cell->kind);
    value->text = buffer != NULL ? buffer->space : NULL;
    if (value->kind >= STORE_KINDS || length > space->size || length < (digits = cell_digits(value->kind))) {
        value->length = 0;
        return STORE_E_DAMAGED;
    }
    value->length = cell_has_text(value->kind) ? length - digits : 0;
    if (POOL_LIKELY(body != NULL)) return cell_value_short(body + key_length, digits, value, buffer);
    cell_open(&cursor, space, link, (store_cell_t *)cell);
    if (!cell_read(&cursor, NULL, cell_skip_head(cell) + key_length)) return STORE_E_DAMAGED;
    return cell_value_long(&cursor, digits, value, buffer);
}

int cell_integer(store_t *space, store_link_t link, const store_cell_t *cell, int64_t *integer)
{
    uint64_t       key_length = STORE_LOAD(cell->key_length);
    const uint8_t *body       = cell_body(space, link, cell, key_length + 8);
    store_value_t  value;
    int            code;
    if (POOL_LIKELY(body != NULL && STORE_LOAD(cell->value_length) == 8)) {
        store_copy_out(integer, body + key_length, 8);
        return STORE_OK;
    }
    code = cell_value(space, link, cell, &value, NULL);
    if (code == STORE_OK && value.kind != STORE_INT) code = STORE_E_DAMAGED;
    if (code == STORE_OK) *integer = value.number.i;
    return code;
}

int cell_key(store_t *space, store_link_t link, const store_cell_t *cell, store_key_t *key, const store_buffer_t *buffer)
{
    cell_cursor_t cursor;
    key->hash    = STORE_LOAD(cell->hash);
    key->length  = STORE_LOAD(cell->key_length);
    key->is_text = (STORE_LOAD(cell->flags) & STORE_CELL_KEY_TEXT) != 0;
    key->bytes   = buffer->space;
    if (key->length > space->size) return STORE_E_DAMAGED;
    cell_open(&cursor, space, link, (store_cell_t *)cell);
    if (!cell_read(&cursor, NULL, cell_skip_head(cell))) return STORE_E_DAMAGED;
    return cell_text(&cursor, key->length, buffer);
}

/* memcmp() with what is at the cursor. */
static int cell_compare_bytes(cell_cursor_t *cursor, const char *bytes, uint64_t length)
{
    while (length > 0) {
        uint64_t piece = cell_piece(cursor, length);
        int      order;
        if (piece == 0) return -1;
        order = store_compare(cursor->at, bytes, piece);
        if (order != 0) return order;
        cell_advance(cursor, piece);
        bytes += piece;
        length -= piece;
    }
    return 0;
}

int cell_compare(store_t *space, store_link_t link, const store_cell_t *cell, const store_key_t *key)
{
    uint32_t       hash = STORE_LOAD(cell->hash), length = STORE_LOAD(cell->key_length);
    bool           is_text = (STORE_LOAD(cell->flags) & STORE_CELL_KEY_TEXT) != 0;
    const uint8_t *body;
    cell_cursor_t  cursor;

    if (hash != key->hash) return hash < key->hash ? -1 : 1;
    if (length != key->length) return length < key->length ? -1 : 1;
    if (is_text != key->is_text) return is_text ? 1 : -1;
    if ((body = cell_body(space, link, cell, length)) != NULL) return store_compare(body, key->bytes, length);
    cell_open(&cursor, space, link, (store_cell_t *)cell);
    if (!cell_read(&cursor, NULL, cell_skip_head(cell))) return -1;
    return cell_compare_bytes(&cursor, key->bytes, key->length);
}

bool cell_ref(store_t *space, store_link_t link, const store_cell_t *cell, store_ref_t *ref)
{
    store_value_t value;
    int           code;
    if (STORE_LOAD(cell->kind) != STORE_REF) return false;
    code = cell_value(space, link, cell, &value, NULL);
    *ref = value.number.ref;
    return code == STORE_OK || code == STORE_MORE;
}

/* --- whose it is ------------------------------------------------------------- */

/* Do something with each block of a long cell, then with the cell. A link is read before its block is
 * given away. Links are data, so no more blocks are visited than the length says. */
static void cell_each_piece(store_t *space, store_link_t link, bool (*act)(store_t *, store_link_t))
{
    store_cell_t *cell = cell_at(space, link);
    if (cell == NULL) return;
    if (cell_is_long(cell)) {
        uint32_t     size  = row_size(space, link);
        uint64_t     most  = (uint64_t)(cell->key_length + 8u + (uint64_t)cell->value_length) / (space->block_size - CELL_BLOCK_HEAD) + 1;
        store_link_t block = *cell_first_block(cell, size);
        while (row_of(block) == space->block_row && most-- > 0) {
            store_link_t *head = (store_link_t *)row_ptr(space, block), next;
            if (head == NULL) break;
            next = *head;
            act(space, block);
            block = next;
        }
    }
    act(space, link);
}

void cell_disown(store_t *space, store_link_t link)
{
    const store_cell_t *cell = cell_at(space, link);
    if (POOL_LIKELY(cell != NULL && !cell_is_long(cell)))
        row_disown(space, link);
    else
        cell_each_piece(space, link, row_disown);
}

void cell_adopt(store_t *space, store_link_t link)
{
    const store_cell_t *cell = cell_at(space, link);
    if (POOL_LIKELY(cell != NULL && !cell_is_long(cell)))
        row_adopt(space, link);
    else
        cell_each_piece(space, link, row_adopt);
}

void cell_free(store_t *space, store_link_t link)
{
    const store_cell_t *cell = cell_at(space, link);
    if (POOL_LIKELY(cell != NULL && !cell_is_long(cell)))
        row_free(space, link);
    else
        cell_each_piece(space, link, row_free);
}

/* Blocks behind the head of a long cell. */
static uint64_t cell_blocks(store_t *space, store_link_t link, const store_cell_t *cell)
{
    uint64_t need = cell_skip_head(cell) + STORE_LOAD(cell->key_length) + STORE_LOAD(cell->value_length),
             room = space->block_size - CELL_BLOCK_HEAD;
    uint64_t here = cell_room(row_size(space, link), true);
    return cell_is_long(cell) && need > here ? (need - here + room - 1) / room : 0;
}

uint64_t cell_pieces(store_t *space, store_link_t link, const store_cell_t *cell)
{
    return 1 + cell_blocks(space, link, cell);
}

uint64_t cell_bytes(store_t *space, store_link_t link, const store_cell_t *cell)
{
    return row_size(space, link) + cell_blocks(space, link, cell) * space->block_size;
}
