/*
 * cache.h - tokens whose signature has been verified, so that a reconnect costs one hash.
 *
 * A hit proves one thing: these very bytes once verified under the key with this serial. Expiry,
 * audience, client id and everything else are checked every time. A key that goes, or comes back
 * changed, gets another serial (keys.h), and what it vouched for is no hit any more.
 */
#ifndef PLUGIN_CACHE_H
#define PLUGIN_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <latchkey/crypto.h>

struct cache_entry {
    uint8_t digest[LK_SHA256_LEN];
    uint64_t key_serial; /* 0: free */
};

struct cache {
    struct cache_entry *entries;
    size_t sets; /* a power of two; 0: no cache */
    uint32_t turn;
};

/** @param size  entries, rounded up; 0 for none. @return LK_OK, LK_ERR_NOMEM. */
LK_MUST_CHECK enum lk_err cache_open(struct cache *cache, size_t size);
void cache_close(struct cache *cache);

bool cache_has(const struct cache *cache, const uint8_t digest[LK_SHA256_LEN], uint64_t key_serial);
void cache_put(struct cache *cache, const uint8_t digest[LK_SHA256_LEN], uint64_t key_serial);

#endif
