/*
 * shm_stream.h - what a variable holds: a snapshot and a journal, as one stream
 * of bytes in a chain of blocks.
 *
 * Published bytes never change, so a reader that knows the stream up to some
 * length needs only what is new. A writer, which holds the variable's lock,
 * appends behind the published bytes, or writes a whole new chain where the
 * stream has become much longer than its content (a new epoch); one release
 * store of the serial publishes either.
 *
 * DEATH OF A WRITER. Until the serial is stored, the old state stands, and what
 * was written behind its end is overwritten by the next writer. Blocks that are
 * taken into a chain, or are about to leave it, belong to the writer meanwhile
 * (published ones are nobody's), so what a dead writer leaves is known by its
 * name; whether such a block is part of the published chain decides whether
 * recovery keeps it or frees it (shm_recover.h).
 *
 * READING WITHOUT A LOCK. A reader copies the state and the bytes, and looks at
 * the serial again: if it moved, blocks may have been freed and used anew, and
 * the copy is thrown away. Until then nothing that was read is believed: block
 * numbers and lengths are bounded by what exists.
 *
 * This is free software; you can redistribute it and/or modify it under the
 * same terms as Perl itself.
 */
#ifndef SHM_STREAM_H
#define SHM_STREAM_H

#include "shm_space.h"

/* Bytes that grow. A failed allocation is remembered, and later calls do nothing. */
typedef struct shm_buffer {
    uint8_t *data;
    size_t   length, room;
    bool     failed;
} shm_buffer_t;

static inline bool shm_buffer_reserve(shm_buffer_t *buffer, size_t more)
{
    size_t   room = buffer->room != 0 ? buffer->room : 256;
    uint8_t *data;
    if (POOL_LIKELY(buffer->room - buffer->length >= more)) return true;
    while (room - buffer->length < more && room < SIZE_MAX / 4) room *= 2;
    data = room - buffer->length < more ? NULL : (uint8_t *)realloc(buffer->data, room);
    if (data == NULL) return !(buffer->failed = true);
    buffer->data = data;
    buffer->room = room;
    return true;
}

static inline void shm_buffer_put(shm_buffer_t *buffer, const void *data, size_t length)
{
    if (!shm_buffer_reserve(buffer, length)) return;
    if (length != 0) memcpy(buffer->data + buffer->length, data, length); /* data may be NULL then */
    buffer->length += length;
}

static inline void shm_buffer_free(shm_buffer_t *buffer)
{
    free(buffer->data);
    memset(buffer, 0, sizeof *buffer);
}

/* A buffer that is used again and again keeps its memory, unless it is a lot. */
static inline void shm_buffer_trim(shm_buffer_t *buffer)
{
    if (buffer->room > (size_t)1 << 20) shm_buffer_free(buffer);
}

/* A place in a stream: so many bytes, and the block where they end. */
typedef struct shm_cursor {
    uint64_t serial, epoch, bytes;
    uint64_t block; /* number `index` of the chain, SHM_NONE: the stream is empty */
    uint64_t index;
} shm_cursor_t;

/* The state of serial number `serial`, if it is (still) the current one. The
 * acquire load pairs with shm_publish(). The fence keeps the copy before the
 * second look; it pairs with the fence in shm_prepare(). */
static inline bool shm_read_state(const shm_record_t *record, uint64_t *serial, shm_state_t *state)
{
    *serial = __atomic_load_n(&record->serial, __ATOMIC_ACQUIRE);
    memcpy(state, &record->state[*serial & 1], sizeof *state);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&record->serial, __ATOMIC_RELAXED) == *serial;
}

static inline bool shm_still(const shm_record_t *record, uint64_t serial)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* as in shm_read_state() */
    return __atomic_load_n(&record->serial, __ATOMIC_RELAXED) == serial;
}

/* For a writer, before it touches what readers of the state before last, or of
 * a chain that is no longer published, may still look at. The fence pairs with
 * those in shm_read_state() and shm_still(). */
static inline void shm_prepare(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline shm_block_t *shm_block(shm_space_t *space, uint64_t id)
{
    return (shm_block_t *)pool_grow_ptr(&space->blocks, id);
}

/* Move the cursor to the block in which byte number `bytes` lies (or would). */
static inline bool shm_seek(shm_space_t *space, const shm_state_t *state, shm_cursor_t *at, uint64_t bytes)
{
    uint64_t index = bytes / space->payload;
    if (at->block == SHM_NONE) {
        at->block = state->head;
        at->index = 0;
    }
    while (at->index < index) {
        shm_block_t *block = shm_block(space, at->block);
        if (block == NULL) return false;
        at->block = __atomic_load_n(&block->next, __ATOMIC_RELAXED);
        at->index++;
    }
    at->bytes = bytes;
    return true;
}

/* Append bytes [at->bytes, end) of the stream to the buffer, moving the cursor.
 * False: the chain does not go that far, it is torn or damaged. */
static inline bool shm_copy(shm_space_t *space, const shm_state_t *state, shm_cursor_t *at, uint64_t end, shm_buffer_t *buffer)
{
    if (end < at->bytes || end / space->payload > pool_grow_base(POOL_GROW_PARTS)) return false;
    if (end == at->bytes) return true;
    if (end - at->bytes > 64 * space->payload && end / space->payload > pool_grow_capacity(&space->blocks, NULL)) return false;
    if (!shm_buffer_reserve(buffer, end - at->bytes)) return false;
    while (at->bytes < end) {
        uint64_t     from = at->bytes % space->payload, n = space->payload - from;
        shm_block_t *block;
        if (!shm_seek(space, state, at, at->bytes) || (block = shm_block(space, at->block)) == NULL) return false;
        if (n > end - at->bytes) n = end - at->bytes;
        shm_buffer_put(buffer, (const uint8_t *)(block + 1) + from, n);
        at->bytes += n;
    }
    return true;
}

/* A writer's next state while it is being made, and the blocks it took. */
typedef struct shm_draft {
    shm_state_t  state;
    shm_buffer_t taken; /* uint64_t block numbers */
    pool_error_t err;
} shm_draft_t;

static inline uint64_t *shm_taken(const shm_draft_t *draft, uint64_t *count)
{
    *count = draft->taken.length / sizeof(uint64_t);
    return (uint64_t *)(void *)draft->taken.data;
}

/* Give the blocks back: the draft will not be published. */
static inline void shm_discard(shm_space_t *space, shm_draft_t *draft)
{
    uint64_t count, i, *taken = shm_taken(draft, &count);
    for (i = 0; i < count; i++) pool_grow_free(&space->blocks, taken[i]);
    draft->taken.length = 0;
}

/* One more block at the end of the draft's chain. It is linked before it is
 * published: readers do not look behind the published bytes. */
static inline bool shm_extend(shm_space_t *space, uint64_t variable, shm_draft_t *draft)
{
    uint64_t     id = pool_grow_alloc(&space->blocks, &draft->err);
    shm_block_t *block;

    if (id == POOL_NONE) return false;
    block           = shm_block(space, id);
    block->next     = SHM_NONE;
    block->variable = variable;
    shm_buffer_put(&draft->taken, &id, sizeof id);
    if (draft->taken.failed) {
        pool_grow_free(&space->blocks, id);
        return shm_fail(&draft->err, POOL_E_SYSTEM, ENOMEM, "cannot be written", space->path);
    }
    if (draft->state.head == SHM_NONE)
        draft->state.head = id;
    else
        __atomic_store_n(&shm_block(space, draft->state.tail)->next, id, __ATOMIC_RELAXED);
    draft->state.tail = id;
    return true;
}

/* Write behind the end of the draft. False, with draft->err: no room. */
static inline bool shm_append(shm_space_t *space, uint64_t variable, shm_draft_t *draft, const uint8_t *data, size_t length)
{
    while (length > 0) {
        uint64_t     from = draft->state.bytes % space->payload, n = space->payload - from;
        shm_block_t *block;
        if (from == 0 && !shm_extend(space, variable, draft)) return false;
        if ((block = shm_block(space, draft->state.tail)) == NULL)
            return shm_fail(&draft->err, POOL_E_INVALID, 0, "is damaged: a variable has lost its end", space->path);
        if (n > length) n = length;
        memcpy((uint8_t *)(block + 1) + from, data, n);
        draft->state.bytes += n;
        data += n;
        length -= n;
    }
    return true;
}

/* Begin a draft: what is published, to be added to. */
static inline void shm_draft_begin(const shm_record_t *record, shm_draft_t *draft)
{
    draft->state        = record->state[record->serial & 1];
    draft->taken.length = 0;
    draft->taken.failed = false;
    if (draft->state.epoch == 0) draft->state.head = draft->state.tail = SHM_NONE; /* never written */
}

/* Let the draft be a new chain, empty so far. Its epoch is used up at once: no
 * other attempt ever has it. */
static inline void shm_draft_anew(shm_record_t *record, shm_draft_t *draft)
{
    draft->state.old_epoch = draft->state.epoch;
    draft->state.old_bytes = draft->state.bytes;
    draft->state.epoch     = ++record->epochs;
    draft->state.head = draft->state.tail = SHM_NONE;
    draft->state.bytes = draft->state.snapshot = 0;
}

/* Call `step` with each block of a published chain. Bounded by what exists. */
static inline void shm_each_block(shm_space_t *space, const shm_state_t *state, void (*step)(shm_space_t *, uint64_t))
{
    uint64_t blocks = (state->bytes + space->payload - 1) / space->payload, id = state->head;
    while (state->epoch != 0 && blocks-- > 0) {
        shm_block_t *block = shm_block(space, id);
        uint64_t     next;
        if (block == NULL) return;
        next = block->next;
        step(space, id);
        id = next;
    }
}

static inline void shm_adopt_block(shm_space_t *space, uint64_t id)
{
    pool_grow_adopt(&space->blocks, id);
}

static inline void shm_free_block(shm_space_t *space, uint64_t id)
{
    pool_grow_free(&space->blocks, id);
}

/* Publish the draft; the store of the serial is the commit. Acquire loads in
 * shm_read_state() and in freshness checks pair with it. Before it, the blocks
 * of an old chain become ours; after it they are freed and the new ones made
 * nobody's. Whoever dies in between leaves them under its name. */
static inline void shm_publish(shm_space_t *space, shm_record_t *record, shm_draft_t *draft)
{
    uint64_t    serial = record->serial, count, i, *taken = shm_taken(draft, &count);
    shm_state_t old  = record->state[serial & 1];
    bool        anew = old.epoch != draft->state.epoch;

    if (anew) shm_each_block(space, &old, shm_adopt_block);
    shm_prepare();
    record->state[(serial + 1) & 1] = draft->state;
    __atomic_store_n(&record->serial, serial + 1, __ATOMIC_RELEASE);
    for (i = 0; i < count; i++) pool_grow_disown(&space->blocks, taken[i]);
    draft->taken.length = 0;
    if (anew) {
        shm_prepare();
        shm_each_block(space, &old, shm_free_block);
    }
}

#endif /* SHM_STREAM_H */
