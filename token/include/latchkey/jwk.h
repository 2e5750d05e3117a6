/*
 * latchkey/jwk.h - keys as JSON: JWK, JWKS (RFC 7517, 7518, 8037) and thumbprints (RFC 7638).
 */
#ifndef LATCHKEY_JWK_H
#define LATCHKEY_JWK_H

#include <latchkey/json.h>
#include <latchkey/key.h>

/**
 * Read one JWK. `alg` decides; without it EC P-256 means ES256, OKP Ed25519 EdDSA, RSA RS256, and
 * an oct key is refused (it could be anything). `use` must be "sig" and `key_ops` contain "verify"
 * where they are there; of an oct key whose `alg` is A128GCM, A192GCM or A256GCM, "enc" and
 * "decrypt". The key is not opened. A private part is read where it is there.
 *
 * @param r  At the object. Its text is lent and changed (unescaped, base64url decoded in place).
 * @return LK_OK, LK_ERR_UNSUPPORTED for a kind we do not take (skip it, RFC 7517 section 5),
 *         LK_ERR_MISSING, LK_ERR_MALFORMED, LK_ERR_BASE64, LK_ERR_LIMIT, or the reader's error.
 */
LK_MUST_CHECK enum lk_err lk_jwk_read(struct lk_json *r, struct lk_key *key);

/**
 * Read a JWKS, or a single JWK, from a text that is lent and changed. Keys of kinds we do not take
 * are left out; two keys with one kid, or public and secret keys mixed, refuse the whole set.
 * The keys are opened.
 *
 * @param count [out] keys written; at most `max` (more: LK_ERR_LIMIT).
 */
LK_MUST_CHECK enum lk_err lk_jwks_read(uint8_t *text, size_t len, struct lk_key *keys, size_t max,
                                       size_t *count);

/** Write the public part with kid, alg and use; a symmetric key is LK_ERR_UNSUPPORTED. */
void lk_jwk_write_public(struct lk_json_out *w, const struct lk_key *key);

/** RFC 7638, SHA-256. @return LK_OK, LK_ERR_CRYPTO. */
LK_MUST_CHECK enum lk_err lk_jwk_thumbprint(const struct lk_key *key, uint8_t out[32]);

#endif
