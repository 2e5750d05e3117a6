/*
 * latchkey/crypto.h - the port: what the token library needs from a crypto library.
 *
 * Chosen at link time: token/crypto on servers (OpenSSL), tests/unit/crypto_fake.c in tests. A port
 * for devices does not exist yet: the SDK needs no token crypto of its own. lk_key_open,
 * lk_key_accelerate and lk_key_wipe (key.h) belong to the port too. Signatures are raw: r||s (64
 * bytes) for ES256, never DER; 64 bytes for Ed25519.
 */
#ifndef LATCHKEY_CRYPTO_H
#define LATCHKEY_CRYPTO_H

#include <latchkey/key.h>

#define LK_SHA256_LEN    32
#define LK_SIGNATURE_MAX LK_RSA_MODULUS_MAX
#define LK_PARTS_MAX     6 /* a COSE Sig_structure with external_aad, without copying */

/**
 * Verify a signature or MAC over the concatenation of up to LK_PARTS_MAX parts (more: LK_ERR_ARG).
 *
 * MAC tags are compared in constant time and must have exactly the length the algorithm has.
 * @return LK_OK, LK_ERR_SIGNATURE (also for a wrong length, r or s of 0 or >= n),
 *         LK_ERR_STATE for a key that was not opened, LK_ERR_CRYPTO.
 */
LK_MUST_CHECK enum lk_err lk_crypto_verify(const struct lk_key *key, const struct lk_span *parts,
                                           size_t part_count, struct lk_span signature);

/**
 * Sign, or compute a MAC. ES256 signatures come out in low-s form.
 * @param out [out] inside room; LK_SIGNATURE_MAX suffices.
 * @return LK_OK, LK_ERR_KEY without a private part, LK_ERR_STATE for a key that was not opened,
 *         LK_ERR_NO_SPACE, LK_ERR_UNSUPPORTED, LK_ERR_CRYPTO.
 */
LK_MUST_CHECK enum lk_err lk_crypto_sign(const struct lk_key *key, const struct lk_span *parts,
                                         size_t part_count, struct lk_buf room,
                                         struct lk_span *out);

/** Is s of an ES256 signature at most n/2? (RFC 9770 needs one form per token.) */
bool lk_crypto_is_low_s(struct lk_span signature);

/** @return LK_OK, LK_ERR_CRYPTO (out is zeroed). */
LK_MUST_CHECK enum lk_err lk_crypto_sha256(struct lk_span in, uint8_t out[LK_SHA256_LEN]);

/**
 * HMAC-SHA-256 over the concatenation of up to LK_PARTS_MAX parts. Any key, also an empty one; for
 * a secret used often, an opened HS256 key is several times faster.
 * @return LK_OK, LK_ERR_ARG for more parts, LK_ERR_CRYPTO (out is zeroed).
 */
LK_MUST_CHECK enum lk_err lk_crypto_hmac_sha256(struct lk_span key, const struct lk_span *parts,
                                                size_t part_count, uint8_t out[LK_SHA256_LEN]);

/** HKDF-SHA-256 (RFC 5869), at most 255 * 32 bytes. An empty salt is 32 zero bytes, as the RFC has
 * it. */
LK_MUST_CHECK enum lk_err lk_crypto_hkdf_sha256(struct lk_span key, struct lk_span salt,
                                                struct lk_span info, struct lk_buf out);

/** Random bytes of cryptographic strength. */
LK_MUST_CHECK enum lk_err lk_crypto_random(struct lk_buf out);

/** A new key pair (ES256, EdDSA) or 32-byte secret (HS256); opened, without kid. */
LK_MUST_CHECK enum lk_err lk_crypto_generate(enum lk_alg alg, struct lk_key *key);

/**
 * AES-256-GCM for secrets at rest. Sealed form: nonce (12) || ciphertext || tag (16).
 * `bound` is authenticated and not stored (what the secret belongs to).
 * @return LK_OK, LK_ERR_SIGNATURE when it does not open, LK_ERR_NO_SPACE, LK_ERR_CRYPTO.
 */
#define LK_SEAL_OVERHEAD 28
LK_MUST_CHECK enum lk_err lk_crypto_seal(const uint8_t key[32], struct lk_span bound,
                                         struct lk_span plain, struct lk_buf room,
                                         struct lk_span *out);
LK_MUST_CHECK enum lk_err lk_crypto_unseal(const uint8_t key[32], struct lk_span bound,
                                           struct lk_span sealed, struct lk_buf room,
                                           struct lk_span *out);

/**
 * Decrypt with an opened LK_ALG_AEAD key.
 *
 * @param nonce   exactly as long as the cipher's.
 * @param aad     authenticated beside it: the concatenation of up to LK_PARTS_MAX parts.
 * @param sealed  ciphertext, its tag behind it.
 * @param plain   [out] inside room, which must not overlap what is read. The caller wipes it.
 * @return LK_OK; LK_ERR_SIGNATURE when it does not open (also for a wrong length of nonce or tag):
 *         then nothing of the plaintext is left in room; LK_ERR_NO_SPACE, LK_ERR_LIMIT (longer than
 *         the cipher takes), LK_ERR_KEY for a key of another kind, LK_ERR_STATE for one that was
 *         not opened, LK_ERR_ARG, LK_ERR_CRYPTO.
 */
LK_MUST_CHECK enum lk_err lk_crypto_decrypt(const struct lk_key *key, struct lk_span nonce,
                                            const struct lk_span *aad, size_t aad_count,
                                            struct lk_span sealed, struct lk_buf room,
                                            struct lk_span *plain);

#endif
