/*
 * latchkey/host/clock.h - the two clocks.
 */
#ifndef LATCHKEY_HOST_CLOCK_H
#define LATCHKEY_HOST_CLOCK_H

#include <stdint.h>

int64_t lk_clock_wall_s(void); /* seconds since 1970-01-01 UTC; may jump */
int64_t lk_clock_wall_ms(void);
int64_t lk_clock_monotonic_ms(void); /* never goes back; only differences mean something */

#endif
