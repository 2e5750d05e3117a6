/*
 * provisioning/keys/ring.h - the signing keys: one signs, all are published and verify.
 *
 * Loaded once at start and only read afterwards, so every thread may use it.
 */
#ifndef PROVISIONING_RING_H
#define PROVISIONING_RING_H

#include <latchkey/keyset.h>

#include "../store/store.h"
#include "seal.h"

struct ring;

/** Make a signing key and put it into the store, sealed, as the one that signs. */
LK_MUST_CHECK enum lk_err ring_generate(struct store *store, const struct seal *seal,
                                        enum lk_alg alg, int64_t now_s);

/** @return LK_ERR_SIGNATURE: sealed under another master key; LK_ERR_NOT_FOUND: none signs. */
LK_MUST_CHECK enum lk_err ring_open(struct store_db *db, const struct seal *seal,
                                    struct ring **out);
void ring_close(struct ring *ring); /* NULL is fine */

const struct lk_key *ring_signer(const struct ring *ring);
const struct lk_keyset *ring_keys(const struct ring *ring); /* issuer index 0 */
struct lk_span ring_jwks(const struct ring *ring);          /* public parts, as JSON */

#endif
