/*
 * latchkey/cnf.h - proof of possession: from the claims of a verified token to the key whose
 * possession is to be proven.
 *
 * `cnf` says to whom a token belongs (RFC 7800, RFC 8747). What is done with each kind:
 *
 *     claims.cnf          | what to do
 *     --------------------+--------------------------------------------------------------------
 *     LK_CNF_NONE         | a bearer token; whoever asks for proof refuses it
 *     LK_CNF_KEY          | lk_cnf_key, then verify a signature or MAC; or lk_cnf_match_key with
 *                         | the raw public key of a handshake
 *     LK_CNF_KID          | lk_cnf_key: derived from the secret shared with the issuer
 *     LK_CNF_ENCRYPTED    | lk_cnf_key: opened with the issuer's AEAD key
 *     LK_CNF_THUMBPRINT   | lk_cnf_match_key with a key the client showed
 *     LK_CNF_X5T          | lk_cnf_match_certificate with the certificate of the handshake
 *     LK_CNF_OTHER        | nothing: refused
 *
 * All of it answers "no" unless it can say "yes". Nothing here proves anything: a key is what a
 * proof is checked with, and a match counts only for a key or certificate that the handshake has
 * proven already. The token must have been verified; a secret key in a token that was not encrypted
 * is refused here too.
 *
 *     struct lk_cnf_use use = {.symmetric = LK_ALG_HS256, .rs_key = rs_key, .token = text};
 *
 *     err = lk_cnf_key(&verifier, &token, &use, LK_BUF_OF(room), &key);
 *     if (err == LK_OK)
 *         err = lk_crypto_verify(&key, &challenge, 1, answer);
 *     lk_key_wipe(&key);
 */
#ifndef LATCHKEY_CNF_H
#define LATCHKEY_CNF_H

#include <latchkey/token.h>

#define LK_CNF_KID_LEN      8  /* bytes of a kid we give to a derived key; none of them is zero */
#define LK_CNF_SECRET_LEN   32 /* bytes of a key we derive (L of RFC 9202 section 3.3.1) */
#define LK_PSK_IDENTITY_MAX (LK_KID_MAX + 16) /* bytes */

/** What a symmetric key will be used for, and what one is derived from. Spans are borrowed. */
struct lk_cnf_use {
    /** LK_ALG_HS256 or LK_ALG_HS256_64 to verify a MAC. LK_ALG_NONE for the PSK of a handshake:
     *  the key is then no more than its bytes, key->u.oct, and cannot be used to verify. */
    enum lk_alg symmetric;
    struct lk_span rs_key; /* shared with the issuer; absent: no kid is a key to us */
    struct lk_span token; /* as its issuer made it: the JWT's text, or the CWT raw, not base64url */
};

/**
 * The key a token is bound to, opened (but for a PSK).
 *
 * A public key is public only: a private part in `cnf` is refused. A symmetric key must be for the
 * use: its `alg` and `key_ops`, where they are there, decide (RFC 9201 section 3.3); a PSK has no
 * `alg`. A kid of an issuer of our own has the form lk_cnf_kid_is_own asks for.
 *
 * @param room  working room, LK_TOKEN_MAX bytes always suffice. Wiped before it returns.
 * @param key   [out] to be wiped with lk_key_wipe; zeroed on error. A PSK has alg LK_ALG_NONE.
 *
 * @return LK_OK;
 *   LK_ERR_CLAIM        the token has no `cnf`
 *   LK_ERR_UNSUPPORTED  a kind that holds no key (x5t#S256, thumbprints), or one we do not take
 *   LK_ERR_BOUND        a secret or private key in a token that is not encrypted
 *   LK_ERR_KEY          a private part; no rs_key; no key of this issuer opens it; not a valid key
 *   LK_ERR_ALG          for another algorithm or use
 *   LK_ERR_FORM         not a kid of our own issuer
 *   LK_ERR_ISSUER       the verifier does not know the token's issuer
 *   LK_ERR_SIGNATURE    Encrypted_COSE_Key does not open
 *   LK_ERR_NO_SPACE, LK_ERR_CRYPTO, and the errors of reading a key
 */
LK_MUST_CHECK enum lk_err lk_cnf_key(const struct lk_verifier *verifier,
                                     const struct lk_token *token, const struct lk_cnf_use *use,
                                     struct lk_buf room, struct lk_key *key);

/**
 * Is a token bound to this public key? By the key itself (jwk, COSE_Key) or its thumbprint: jkt in
 * a JWT (RFC 9449), ckt in a CWT (RFC 9679).
 *
 * @param shown  a public key whose possession the handshake or a signature has proven.
 * @return LK_OK; LK_ERR_BOUND for another key, another kind of cnf, none, or a symmetric key;
 *         LK_ERR_CRYPTO; LK_ERR_NO_SPACE and the errors of reading a key.
 */
LK_MUST_CHECK enum lk_err lk_cnf_match_key(const struct lk_token *token, const struct lk_key *shown,
                                           struct lk_buf room);

/**
 * Is a token bound to this certificate (x5t#S256, RFC 8705 section 3.1)?
 *
 * @param der  the end-entity certificate of the handshake, DER.
 * @return LK_OK; LK_ERR_BOUND as above, and for what is no DER; LK_ERR_CRYPTO.
 */
LK_MUST_CHECK enum lk_err lk_cnf_match_certificate(const struct lk_token *token,
                                                   struct lk_span der);

/**
 * x5t#S256 of a certificate: SHA-256 of its DER. @return LK_OK; LK_ERR_MALFORMED for what is not
 * one whole SEQUENCE, PEM for instance; LK_ERR_CRYPTO.
 */
LK_MUST_CHECK enum lk_err lk_certificate_thumbprint(struct lk_span der, uint8_t out[32]);

/* Keys that are derived (RFC 9202 section 3.3.1). Issuer and verifier share rs_key. */

/**
 * HKDF-SHA-256 with an empty salt over rs_key; info is the CBOR array of
 * "ACE-CoAP-DTLS-key-derivation", out.cap, and the token.
 *
 * @param rs_key  at least 16 bytes; ours have 32.
 * @param token   as in struct lk_cnf_use; at most LK_TOKEN_MAX bytes.
 * @param out     filled whole; ours are LK_CNF_SECRET_LEN bytes. Zeroed on error.
 * @return LK_OK, LK_ERR_KEY (rs_key too short), LK_ERR_ARG (no token, no room), LK_ERR_LIMIT,
 *         LK_ERR_CRYPTO.
 */
LK_MUST_CHECK enum lk_err lk_cnf_derive(struct lk_span rs_key, struct lk_span token,
                                        struct lk_buf out);

/** A new kid for a derived key: random, LK_CNF_KID_LEN bytes, none zero: some DTLS libraries read
 *  identities as C strings. Zeroed on error. @return LK_OK, LK_ERR_CRYPTO. */
LK_MUST_CHECK enum lk_err lk_cnf_kid_new(uint8_t kid[LK_CNF_KID_LEN]);

/** Has it the form lk_cnf_kid_new makes? */
bool lk_cnf_kid_is_own(struct lk_span kid);

/**
 * The PSK identity that names a token uploaded before (RFC 9202 section 3.3): {8: {1: {1: 4,
 * 2: kid}}}. Reading is strict: these members and no others.
 *
 * @param kid  1 to LK_KID_MAX bytes; read, it points into the identity.
 * @return LK_OK; writing: LK_ERR_ARG, LK_ERR_NO_SPACE (LK_PSK_IDENTITY_MAX suffices); reading:
 *         LK_ERR_MALFORMED (other members, no kid), LK_ERR_TYPE, LK_ERR_LIMIT, or the CBOR reader's
 *         error.
 */
LK_MUST_CHECK enum lk_err lk_psk_identity_write(struct lk_span kid, struct lk_buf room,
                                                struct lk_span *out);
LK_MUST_CHECK enum lk_err lk_psk_identity_read(struct lk_span identity, struct lk_span *kid);

#endif
