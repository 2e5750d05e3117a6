/*
 * keys.h - the keys of the issuer, each with a serial number.
 *
 * A key that comes again unchanged keeps its serial; one that changed, or went and came back, gets
 * a new one. So what the cache says under an old serial stops to count by itself.
 */
#ifndef PLUGIN_KEYS_H
#define PLUGIN_KEYS_H

#include <latchkey/token.h>

#define KEYS_FILE    "keys.state"
#define KEYS_PURPOSE "latchkey keys v1"

struct keys {
    struct lk_keyset set;
    uint64_t serials[LK_KEYS_MAX]; /* beside set.keys */
    uint64_t serial_last;
    struct lk_issuer issuer;
    struct lk_verifier verifier;
};

/** Take a new set over: `keys` are wiped whatever the answer. */
LK_MUST_CHECK enum lk_err keys_put(struct keys *k, struct lk_key *keys, size_t count);

uint64_t keys_serial(const struct keys *k, const struct lk_key *key);

/** Read a JWKS from a file. */
LK_MUST_CHECK enum lk_err keys_load(struct keys *k, const char *path);

void keys_close(struct keys *k);

#endif
