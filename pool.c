/* The one place where the cold halves of pool.h and pool_lock.h are compiled. A C
 * program embeds the pool with `cc app.c pool.c`; the Perl binding links this same
 * object. Whoever has no use for locks need not have pool_lock.h. */
#define POOL_IMPLEMENTATION
#include "pool.h"
#ifdef __has_include
#if __has_include("pool_lock.h")
#include "pool_lock.h"
#endif
#endif
