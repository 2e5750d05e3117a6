/*
 * pause.h - how long to wait: full-jitter exponential back-off, and spreading of renewals.
 */
#ifndef LATCHKEY_DEVICE_PAUSE_H
#define LATCHKEY_DEVICE_PAUSE_H

#include <latchkey/device/platform.h>

/** A number from 0 to `max`, both possible. Without randomness: `max`, the polite end. */
uint64_t pause_pick(const struct lk_random *random, uint64_t max);

/** From 0 to min(max_ms, base_ms * 2^(failures - 1)); 0 for no failures. */
uint64_t pause_backoff(const struct lk_random *random, unsigned failures, uint64_t base_ms,
                       uint64_t max_ms);

static inline uint64_t
pause_sooner(uint64_t a_ms, uint64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

/** What a transport waits for after LK_ERR_BUSY; `usual` where it does not say. */
static inline unsigned
pause_wants(const struct lk_transport *link, unsigned usual)
{
    return link->wants != NULL ? link->wants(link->ctx) : usual;
}

#define PAUSE_POLL_MS 10 /* for a transport that waits for something it cannot name */

#endif
