#include "cache.h"

#include <string.h>

#include "compat.h"

#define WAYS 4 /* places a digest may be in */

enum lk_err
cache_open(struct cache *cache, size_t size)
{
    *cache = (struct cache){0};
    if (size == 0)
        return LK_OK;
    cache->sets = 1;
    while (cache->sets * WAYS < size)
        cache->sets *= 2;
    cache->entries = mosquitto_calloc(cache->sets * WAYS, sizeof(struct cache_entry));
    if (cache->entries != NULL)
        return LK_OK;
    cache->sets = 0;
    return LK_ERR_NOMEM;
}

void
cache_close(struct cache *cache)
{
    mosquitto_free(cache->entries);
    *cache = (struct cache){0};
}

/* Only digests of tokens that verified get in, so nobody can aim at a set. */
static struct cache_entry *
set_of(const struct cache *cache, const uint8_t digest[LK_SHA256_LEN])
{
    uint64_t index;

    memcpy(&index, digest, sizeof(index));
    return cache->entries + (size_t)(index & (cache->sets - 1)) * WAYS;
}

bool
cache_has(const struct cache *cache, const uint8_t digest[LK_SHA256_LEN], uint64_t key_serial)
{
    const struct cache_entry *set;

    if (cache->sets == 0 || key_serial == 0)
        return false;
    set = set_of(cache, digest);
    for (int i = 0; i < WAYS; i++)
        if (set[i].key_serial == key_serial && memcmp(set[i].digest, digest, LK_SHA256_LEN) == 0)
            return true;
    return false;
}

void
cache_put(struct cache *cache, const uint8_t digest[LK_SHA256_LEN], uint64_t key_serial)
{
    struct cache_entry *set, *place;

    if (cache->sets == 0 || key_serial == 0)
        return;
    set = set_of(cache, digest);
    place = &set[cache->turn++ % WAYS];
    for (int i = 0; i < WAYS; i++)
        if (set[i].key_serial == 0)
            place = &set[i];
    memcpy(place->digest, digest, LK_SHA256_LEN);
    place->key_serial = key_serial;
}
