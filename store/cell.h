/*
 * cell.h - cells: a value, with its key in a hash, written once. Internal to store/.
 *
 * A cell may be freed and used again while a reader looks at it, and the shared
 * memory may contain anything. So every length and link is checked before use, which ensures that
 * only bytes of the namespace are read. `retired` (layout.h) tells the caller whether they were
 * the right ones.
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#ifndef STORE_CELL_H
#define STORE_CELL_H

#include "space.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Copy to and from shared memory that another process may be writing or reading, and
 * compare with it. The bytes may be torn, which is found out afterwards. Under the thread
 * sanitizer they are read and written one by one, as atomics, to tell it that this is
 * intended. */
#ifdef POOL_I_TSAN
static inline void store_copy_out(void *to, const void *from, size_t length)
{
    size_t i;
    for (i = 0; i < length; i++) ((uint8_t *)to)[i] = __atomic_load_n((const uint8_t *)from + i, __ATOMIC_RELAXED);
}
static inline void store_copy_in(void *to, const void *from, size_t length)
{
    size_t i;
    for (i = 0; i < length; i++) __atomic_store_n((uint8_t *)to + i, ((const uint8_t *)from)[i], __ATOMIC_RELAXED);
}
static inline int store_compare(const void *shared, const void *with, size_t length)
{
    size_t i;
    for (i = 0; i < length; i++) {
        uint8_t a = __atomic_load_n((const uint8_t *)shared + i, __ATOMIC_RELAXED), b = ((const uint8_t *)with)[i];
        if (a != b) return a < b ? -1 : 1;
    }
    return 0;
}
#else
static inline void store_copy_out(void *to, const void *from, size_t length)
{
    memcpy(to, from, length);
}
static inline void store_copy_in(void *to, const void *from, size_t length)
{
    memcpy(to, from, length);
}
static inline int store_compare(const void *shared, const void *with, size_t length)
{
    return memcmp(shared, with, length);
}
#endif

#define STORE_LOAD(word)         __atomic_load_n(&(word), __ATOMIC_RELAXED)
#define STORE_STORE(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELAXED)

static inline store_cell_t *cell_at(store_t *space, store_link_t link)
{
    return row_of(link) >= STORE_ROW_CELLS ? (store_cell_t *)row_ptr(space, link) : NULL;
}

/* Have its head, and when it expires, in the processor's cache: it may lie across two lines of that. */
static inline void cell_fetch(const store_cell_t *cell)
{
    if (cell == NULL) return;
    __builtin_prefetch(cell);
    __builtin_prefetch(cell + 1);
}

/* A walk along links, which may lead in a circle if the memory is damaged. The link at each power of two
 * of steps is kept: a walk that comes to it again goes in a circle (and 0, which leads nowhere, ends any walk). */
typedef struct store_walk {
    uint64_t     steps;
    store_link_t kept;
} store_walk_t;

static inline bool walk_goes_round(store_walk_t *walk, store_link_t link)
{
    if (POOL_UNLIKELY(link == walk->kept)) return true;
    if ((walk->steps & (walk->steps + 1)) == 0) walk->kept = link;
    walk->steps++;
    return false;
}

/* Does it exist at this serial? */
static inline bool cell_exists(const store_cell_t *cell, uint64_t serial)
{
    uint64_t until = STORE_LOAD(cell->until);
    return STORE_LOAD(cell->from) <= serial && (until == 0 || until > serial);
}

/* When it expires; 0: never. */
uint64_t cell_expires(store_t *space, store_link_t link, const store_cell_t *cell);

/* Make a new cell that is owned by this process and not linked; key may be NULL. A reference in it is not
 * counted yet. 0 with *err. */
store_link_t cell_make(store_t *space, const store_key_t *key, const store_value_t *value, uint64_t expires_ns, store_error_t *err);

/* Its value. STORE_OK, STORE_MORE, or STORE_E_DAMAGED if its bytes make no sense. */
int cell_value(store_t *space, store_link_t link, const store_cell_t *cell, store_value_t *value, const store_buffer_t *buffer);

/* The value of a cell of kind STORE_INT. */
int cell_integer(store_t *space, store_link_t link, const store_cell_t *cell, int64_t *integer);

/* Its key: the bytes go to the buffer. As cell_value(); STORE_MORE: key->length says how much. */
int cell_key(store_t *space, store_link_t link, const store_cell_t *cell, store_key_t *key, const store_buffer_t *buffer);

/* Order of keys: by hash, length, kind, bytes. `key->hash` has its bits reversed. */
int cell_compare(store_t *space, store_link_t link, const store_cell_t *cell, const store_key_t *key);

/* The reference in it. False: it has none. */
bool cell_ref(store_t *space, store_link_t link, const store_cell_t *cell, store_ref_t *ref);

/* Disown a new cell and its blocks; make this process the owner of an old cell and its blocks; free
 * a cell that this process owns, and that nothing leads to. */
void cell_disown(store_t *space, store_link_t link);
void cell_adopt(store_t *space, store_link_t link);
void cell_free(store_t *space, store_link_t link);

/* The number of pieces of memory that it consists of, and the bytes that it takes. */
uint64_t cell_pieces(store_t *space, store_link_t link, const store_cell_t *cell);
uint64_t cell_bytes(store_t *space, store_link_t link, const store_cell_t *cell);

#ifdef __cplusplus
}
#endif
#endif /* STORE_CELL_H */
