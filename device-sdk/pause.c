#include "pause.h"

uint64_t
pause_pick(const struct lk_random *random, uint64_t max)
{
    uint32_t bits = 0;

    if (max == 0)
        return 0;
    if (random->fill(random->ctx, (struct lk_buf){(uint8_t *)&bits, sizeof(bits)}) != LK_OK)
        return max;
    /* Spreads fairly enough for any max below 2^32 ms; no division that an M0 would lack. */
    if (max >= UINT32_MAX)
        return bits;
    return ((uint64_t)bits * (max + 1)) >> 32;
}

uint64_t
pause_backoff(const struct lk_random *random, unsigned failures, uint64_t base_ms, uint64_t max_ms)
{
    uint64_t bound_ms = base_ms;

    if (failures == 0)
        return 0;
    while (--failures > 0 && bound_ms < max_ms)
        bound_ms *= 2;
    return pause_pick(random, pause_sooner(bound_ms, max_ms));
}
