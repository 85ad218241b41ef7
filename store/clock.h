/*
 * clock.h - the clock of expiry times, in addition to what store.h has. Internal to store/.
 *
 * This is free software; you can redistribute it and/or modify it under the same
 * terms as Perl itself.
 */
#ifndef STORE_CLOCK_H
#define STORE_CLOCK_H

#include "cell.h"

#ifdef __cplusplus
extern "C" {
#endif

/* When a namespace is opened: find out what this machine keeps the time by. Later the path to it may be out of reach. */
void clock_choose(void);

/* In a child: it may be in a time namespace, where the clock is behind. Async-signal-safe. */
void clock_forget(void);

/* What store_clock_tick() last returned in this process: a time that has passed. */
uint64_t store_clock_seen(void);

#ifdef __cplusplus
}
#endif
#endif /* STORE_CLOCK_H */
