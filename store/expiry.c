/* expiry.c - elements that vanish: see expiry.h. */
#include "expiry.h"

bool store_hash_is_timed(const store_var_t *var)
{
    return STORE_LOAD(var->record->soonest) != 0;
}

void hash_expect_when(store_record_t *record, uint32_t when)
{
    if (record->soonest == 0) STORE_STORE(record->coming, HASH_NOTHING_COMES); /* and no round is under way */
    if (when < record->coming) STORE_STORE(record->coming, when);
    if (record->soonest == 0 || when < record->soonest) STORE_STORE(record->soonest, when);
}

static uint32_t hash_next_bucket(store_record_t *record, uint32_t buckets)
{
    if (record->hand + 1 < buckets) {
        STORE_STORE(record->hand, record->hand + 1);
        return record->hand;
    }
    if (record->soonest != 0) STORE_STORE(record->soonest, record->coming);
    STORE_STORE(record->coming, HASH_NOTHING_COMES);
    STORE_STORE(record->hand, 0);
    return 0;
}

/* What the hand of expiry and limit does to an element, in the open change. A limit: what was
 * used since the hand came by is spared once. Returns whether it ends. */
static bool hash_tend_cell(store_var_t *var, store_link_t link, store_cell_t *cell, uint64_t limit, uint64_t now)
{
    uint64_t expires = cell_expires(var->space, link, cell);
    bool     over    = limit != 0 && change_draft(var)->length > limit;
    if (cell_exists(cell, change_serial(var)) && cell->from != change_serial(var)) {
        if ((expires != 0 && expires <= now) || (over && cell->used == 0)) {
            hash_end_cell(var, link, cell);
            row_fetch_owner(var->space, link); /* it is freed at the end of the change */
            return true;
        }
        if (over) STORE_STORE(cell->used, 0);
    }
    if (expires != 0) hash_expect(var->record, expires);
    return false;
}

/* A whole chain; returns how many end. */
static uint64_t hash_tend(store_var_t *var, store_link_t *place, uint64_t limit, uint64_t now)
{
    uint64_t     ended = 0;
    store_walk_t walk  = { 0, 0 };
    while (*place != 0 && !walk_goes_round(&walk, *place)) {
        store_cell_t *cell = cell_at(var->space, *place);
        if (cell == NULL) break;
        if (hash_tend_cell(var, *place, cell, limit, now)) ended++;
        place = &cell->next;
    }
    return ended;
}

/* How many buckets a store looks at: two elements or so. */
#define HASH_TENDED 4u

void hash_make_room_at(store_var_t *var, uint64_t now)
{
    store_record_t *record  = var->record;
    uint32_t        buckets = hash_buckets(hash_table(record)), looks;
    store_link_t   *heads;
    uint64_t        limit = record->limit;
    bool            over  = hash_is_over(var);
    for (looks = 0; looks < (over ? 2 * buckets + 2 : HASH_TENDED); looks++) {
        uint32_t bucket = hash_next_bucket(record, buckets), count;
        count           = hash_heads(var->space, record, hash_table(record), bucket, &heads);
        if (heads != NULL)
            hash_tend(var, heads, limit, now);
        else {
            looks += count - 1;
            STORE_STORE(record->hand, bucket + count - 1);
        }
        if (over && change_draft(var)->length <= limit) break;
    }
}

/* How many elements a sweep ends in one change, at most: so many are still in the processor's cache when
 * they are freed; and how many chains it looks at: others want to store meanwhile. */
#define HASH_SWEPT        128u
#define HASH_SWEPT_CHAINS 4096u

/* A sweep comes to cells all over the memory: long before a chain's turn its first cell is fetched, and
 * shortly before, when that is here and says where it is, the second. */
#define HASH_FETCH_FIRST  24u
#define HASH_FETCH_SECOND 8u

static void hash_fetch_chains(store_t *space, const store_link_t *heads, uint32_t count)
{
    if (count > HASH_FETCH_FIRST) cell_fetch(cell_at(space, heads[HASH_FETCH_FIRST]));
    if (count > HASH_FETCH_SECOND) {
        const store_cell_t *first = cell_at(space, heads[HASH_FETCH_SECOND]);
        if (first != NULL) cell_fetch(cell_at(space, first->next));
    }
}

/* From a bucket on, which is less than the number of buckets; returns where to go on. */
static uint32_t hash_sweep_some(store_var_t *var, uint32_t bucket, uint64_t *freed)
{
    store_table_t table   = hash_table(var->record);
    uint32_t      buckets = hash_buckets(table), looks = HASH_SWEPT_CHAINS;
    uint64_t      now = store_clock_tick(), ended = 0;
    if (bucket >= buckets) return buckets; /* it was damaged since it was looked at */
    if (buckets - bucket > looks) buckets = bucket + looks;
    while (bucket < buckets && ended < HASH_SWEPT) {
        store_link_t *heads;
        uint32_t      count = hash_heads(var->space, var->record, table, bucket, &heads), i;
        if (count > buckets - bucket) count = buckets - bucket;
        for (i = 0; heads != NULL && i < count && ended < HASH_SWEPT; i++) {
            hash_fetch_chains(var->space, &heads[i], count - i);
            ended += hash_tend(var, &heads[i], 0, now);
        }
        bucket += heads != NULL ? i : count;
    }
    *freed += ended;
    return bucket;
}

/* What has expired is not there: to free it is no change that anybody sees, so it may be many. */
int store_hash_sweep(store_var_t *var, store_sweep_t *sweep)
{
    bool own, more = true;
    int  code = STORE_OK;
    if (!var_is(var, STORE_HASH)) return STORE_E_ARGUMENT;
    while (more && code == STORE_OK) {
        if ((code = change_enter(var, &own)) != STORE_OK) return code;
        if (sweep->place < hash_buckets(hash_table(var->record))) sweep->place = hash_sweep_some(var, sweep->place, &sweep->freed);
        more = sweep->place < hash_buckets(hash_table(var->record));
        code = change_leave(var, own, STORE_OK);
    }
    return code;
}

int store_hash_expire_after(store_var_t *var, uint64_t ns)
{
    bool own;
    int  code = change_enter_as(var, STORE_HASH, &own);
    if (code != STORE_OK) return code;
    STORE_STORE(var->record->expire_ns, ns);
    return change_leave(var, own, STORE_OK);
}

int store_hash_limit(store_var_t *var, uint64_t elements)
{
    bool own;
    int  code = change_enter_as(var, STORE_HASH, &own);
    if (code != STORE_OK) return code;
    STORE_STORE(var->record->limit, elements < UINT32_MAX ? (uint32_t)elements : 0u); /* never so many are stored */
    hash_make_room(var, false);
    return change_leave(var, own, STORE_OK);
}
