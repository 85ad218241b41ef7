/* key.c - keys and their hashes. */
#include "table.h"

#include <endian.h>

__extension__ typedef unsigned __int128 hash_wide_t;

/* Multiplying to twice the width and folding mixes all bits of both factors. */
static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
    hash_wide_t product = (hash_wide_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

#define HASH_ODD_1 UINT64_C(0x9e3779b97f4a7c15)
#define HASH_ODD_2 UINT64_C(0xd6e8feb86659fd93)

static inline uint64_t hash_load_8(const char *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return le64toh(word);
}

static inline uint64_t hash_load_4(const char *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return le32toh(word);
}

/* The last eight bytes, or as many as there are: the last one is the uppermost. */
static inline uint64_t hash_end(const char *bytes, uint32_t length)
{
    if (POOL_LIKELY(length >= 8)) return hash_load_8(bytes + length - 8);
    if (length >= 4) return hash_load_4(bytes + length - 4) << 32 | hash_load_4(bytes);
    if (length == 0) return 0;
    return (uint64_t)(uint8_t)bytes[length - 1] << 56 | (uint64_t)(uint8_t)bytes[length / 2] << 8 | (uint8_t)bytes[0];
}

/* Keys that differ in the low half of their last byte only, as numbers in a row do, have hashes
 * that differ in the uppermost bits only: those say which of 16 buckets side by side it is. They
 * never share one; and who goes through them finds the next chain's head in the cache. */
#define HASH_NEAR (UINT64_C(15) << 56)

static uint32_t hash_bytes(uint64_t seed, const char *bytes, uint32_t length)
{
    uint64_t h = seed ^ hash_fold(length ^ HASH_ODD_1, HASH_ODD_2), end = hash_end(bytes, length);
    for (; length > 8; length -= 8, bytes += 8) h = hash_fold(h ^ hash_load_8(bytes), HASH_ODD_1);
    h = hash_fold(h ^ (end & ~HASH_NEAR), HASH_ODD_2 ^ seed);
    return (uint32_t)(h ^ h >> 32) ^ hash_reverse((uint32_t)((end & HASH_NEAR) >> 56));
}

store_key_t store_key(const store_t *store, const char *bytes, uint32_t length, bool is_text)
{
    store_key_t key = { bytes, length, hash_bytes(store->seed, bytes, length), is_text };
    return key; /* any 32 bits will do: these are the reversed ones */
}
