#include "failures.h"

#include <stddef.h>

/* Two addresses in one place push each other out: the count is then too low, never too high. */
static uint32_t
hash_of(const char *address)
{
    uint32_t hash = UINT32_C(2166136261);

    for (; address != NULL && *address != '\0'; address++)
        hash = (hash ^ (uint8_t)*address) * UINT32_C(16777619);
    return hash;
}

bool
failures_add(struct failures *f, const char *address, int64_t per_second, int64_t now_ms)
{
    uint32_t hash = hash_of(address);
    size_t at = (hash ^ hash >> 16) % FAIL_ADDRESSES;

    if (f->places[at].hash != hash || now_ms - f->places[at].since_ms >= 1000) {
        f->places[at].before = f->places[at].hash == hash &&
                               now_ms - f->places[at].since_ms < 2000 &&
                               f->places[at].count > per_second;
        f->places[at].hash = hash;
        f->places[at].count = 0;
        f->places[at].since_ms = now_ms;
    }
    f->places[at].count++;
    return f->places[at].count == per_second + 1;
}

bool
failures_are_many(const struct failures *f, const char *address, int64_t per_second, int64_t now_ms)
{
    uint32_t hash = hash_of(address);
    size_t at = (hash ^ hash >> 16) % FAIL_ADDRESSES;

    return f->places[at].hash == hash && now_ms - f->places[at].since_ms < 1000 &&
           f->places[at].count > per_second;
}

bool
failures_are_a_flood(const struct failures *f, const char *address, int64_t per_second,
                     int64_t now_ms)
{
    uint32_t hash = hash_of(address);
    size_t at = (hash ^ hash >> 16) % FAIL_ADDRESSES;
    int64_t age_ms = now_ms - f->places[at].since_ms;

    return f->places[at].hash == hash && ((age_ms < 2000 && f->places[at].count > per_second) ||
                                          (age_ms < 1000 && f->places[at].before));
}
