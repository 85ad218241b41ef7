/* The one place where the cold half of pool.h is compiled. A C program embeds
 * the pool with `cc app.c pool.c`; the Perl binding links this same object. */
#define POOL_IMPLEMENTATION
#include "pool.h"
