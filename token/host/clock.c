/*
 * clock.c - the two clocks. clock_gettime() with these ids cannot fail on Linux.
 */
#include <latchkey/host/clock.h>

#include <time.h>

static int64_t
clock_ms(clockid_t id)
{
    struct timespec now = {0};

    (void)clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t
lk_clock_wall_s(void)
{
    return clock_ms(CLOCK_REALTIME) / 1000;
}

int64_t
lk_clock_wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

int64_t
lk_clock_monotonic_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}
