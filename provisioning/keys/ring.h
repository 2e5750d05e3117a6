/*
 * provisioning/keys/ring.h - the signing keys: one signs, all are published and verify.
 *
 * A ring is only read once it is loaded, so every thread may use it. When the keys change, a new
 * one takes its place (service_ring_reload); whoever works with one holds it until done.
 */
#ifndef PROVISIONING_RING_H
#define PROVISIONING_RING_H

#include <latchkey/crypto.h>
#include <latchkey/keyset.h>

#include "../store/store.h"
#include "seal.h"

struct ring;

/* x || y || d for ES256, x || d for EdDSA */
#define KEY_BYTES_MAX 96

/** A new key on its way to the store. */
struct ring_key {
    struct store_key row;
    uint8_t sealed[KEY_BYTES_MAX + LK_SEAL_OVERHEAD];
};

/** Make one. `row` is for store_key_put(); it points into `out`, which must not be moved. */
LK_MUST_CHECK enum lk_err ring_make(const struct seal *seal, enum lk_alg alg, int64_t now_s,
                                    int64_t signs_from_s, struct ring_key *out);

/** Make a signing key and put it into the store, sealed, as the one that signs. */
LK_MUST_CHECK enum lk_err ring_generate(struct store *store, const struct seal *seal,
                                        enum lk_alg alg, int64_t now_s);

/** @return LK_ERR_SIGNATURE: sealed under another master key; LK_ERR_NOT_FOUND: none signs. */
LK_MUST_CHECK enum lk_err ring_open(struct store_db *db, const struct seal *seal,
                                    struct ring **out);
void ring_hold(struct ring *ring);
void ring_close(struct ring *ring); /* one holder less, the last frees; NULL is fine */

/** The newest key whose time to sign has come. */
const struct lk_key *ring_signer(const struct ring *ring, int64_t now_s);
const struct lk_keyset *ring_keys(const struct ring *ring); /* issuer index 0 */
struct lk_span ring_jwks(const struct ring *ring);          /* public parts, as JSON */

#endif
