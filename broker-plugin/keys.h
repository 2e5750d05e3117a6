/*
 * keys.h - the keys of the issuer, as the broker's thread uses them.
 *
 * Every key has a serial. A key that is still there after a refresh keeps it; one that is new, or
 * has other bytes under an old kid, gets a new one. The cache of verified tokens hangs on it.
 */
#ifndef PLUGIN_KEYS_H
#define PLUGIN_KEYS_H

#include <latchkey/crypto.h>
#include <latchkey/keyset.h>

#include "revocations.h"

struct keys {
    struct lk_keyset set;
    struct {
        uint8_t print[LK_SHA256_LEN];
        uint64_t serial;
        uint8_t kid[KID_PRINT_LEN];
    } known[LK_KEYS_MAX]; /* in step with set.keys */
    uint64_t next_serial;
};

/**
 * Parse a JWKS into a new array of LK_KEYS_MAX keys, opened. Any thread.
 * @param text  lent and changed.
 * @param keys  [out] give it back with keys_free, also after keys_adopt.
 * @return LK_OK; LK_ERR_MISSING for a set without a usable key; what lk_jwks_read says.
 */
LK_MUST_CHECK enum lk_err keys_parse(uint8_t *text, size_t len, struct lk_key **keys,
                                     size_t *count);
void keys_free(struct lk_key *keys, size_t count);

/** Replace the keys of one issuer; on success the array is emptied. Broker's thread. */
LK_MUST_CHECK enum lk_err keys_adopt(struct keys *k, uint32_t issuer, struct lk_key *keys,
                                     size_t count);

/** @param key  out of k->set. */
uint64_t keys_serial(const struct keys *k, const struct lk_key *key);
/** What a session keeps of the key's name. */
const uint8_t *keys_kid(const struct keys *k, const struct lk_key *key);

/** Take out what is revoked, and with it what it vouched for. @return how many went. */
size_t keys_drop_revoked(struct keys *k, const struct revocations *revoked);

void keys_wipe(struct keys *k);

#endif
