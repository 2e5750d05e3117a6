/*
 * latchkey/cose_key.h - keys as CBOR: COSE_Key and COSE_KeySet (RFC 9052 section 7, RFC 9053
 * section 7), and thumbprints (RFC 9679). What jwk.h is for JSON.
 */
#ifndef LATCHKEY_COSE_KEY_H
#define LATCHKEY_COSE_KEY_H

#include <latchkey/cbor.h>
#include <latchkey/key.h>

/**
 * Read a COSE_Key. `alg` decides; without it EC2 P-256 means ES256 and OKP Ed25519 EdDSA, and a
 * symmetric key is refused (it could be anything). `key_ops`, where it is there, must contain what
 * we would do: verify, MAC verify, or decrypt. The key is not opened. A private part is read where
 * it is there.
 *
 * @return LK_OK, LK_ERR_UNSUPPORTED for a kind we do not take, LK_ERR_MISSING, LK_ERR_MALFORMED,
 *         LK_ERR_LIMIT, or the reader's error.
 */
LK_MUST_CHECK enum lk_err lk_cose_key_parse(struct lk_span in, struct lk_key *key);

/**
 * Read a COSE_KeySet, or a single COSE_Key. As lk_jwks_read: keys of kinds we do not take are left
 * out; a key that is malformed, two keys with one kid, or public and secret keys mixed, refuse the
 * whole set. RFC 9052 section 7 would pass over malformed keys; a set we trust has none.
 * The keys are opened.
 *
 * @param count [out] keys written; at most `max` (more: LK_ERR_LIMIT).
 */
LK_MUST_CHECK enum lk_err lk_cose_keyset_read(struct lk_span in, struct lk_key *keys, size_t max,
                                              size_t *count);

/**
 * Write the public part with kid and alg, in deterministic order; a symmetric key, and RSA, are
 * LK_ERR_UNSUPPORTED.
 */
void lk_cose_key_write_public(struct lk_cbor_out *w, const struct lk_key *key);

/** RFC 9679, SHA-256. Of a symmetric key it is a hash of the secret. @return LK_OK, LK_ERR_CRYPTO,
 *          LK_ERR_UNSUPPORTED for a key of no kind. */
LK_MUST_CHECK enum lk_err lk_cose_key_thumbprint(const struct lk_key *key, uint8_t out[32]);

#endif
