#include "failures.h"

#include <stddef.h>

/* FNV-1a. Two addresses in one place share its rate; that costs lines in a log, nothing else. */
static uint64_t
address_hash(const char *address)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (; address != NULL && *address != '\0'; address++)
        hash = (hash ^ (uint8_t)*address) * UINT64_C(1099511628211);
    return hash;
}

bool
failures_add(struct failures *f, const char *address, int64_t now_ms, int64_t rate,
             uint32_t *quietly)
{
    uint64_t hash = address_hash(address);
    size_t at = (size_t)(hash & (FAIL_ADDRESSES - 1));

    if (f->of[at].second != now_ms / 1000) {
        f->of[at].second = now_ms / 1000;
        f->of[at].count = 0;
    }
    if (++f->of[at].count > rate) {
        f->of[at].quietly++;
        return false;
    }
    *quietly = f->of[at].quietly;
    f->of[at].quietly = 0;
    return true;
}
