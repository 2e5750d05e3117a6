/*
 * latchkey/key.h - algorithms and keys.
 *
 * A key is for one algorithm; the algorithm is a property of the key, never of the message
 * (RFC 8725 section 3.1). A message that names another algorithm than its key's is refused.
 */
#ifndef LATCHKEY_KEY_H
#define LATCHKEY_KEY_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>
#include <latchkey/limits.h>

enum lk_alg {
    LK_ALG_NONE = 0,
    LK_ALG_ES256,    /* COSE -7 or -9 (ESP256), JOSE "ES256" */
    LK_ALG_EDDSA,    /* Ed25519 only: COSE -8 or -19, JOSE "EdDSA" or "Ed25519" */
    LK_ALG_HS256,    /* COSE 5, JOSE "HS256" */
    LK_ALG_HS256_64, /* COSE 4; tags of 8 bytes */
    LK_ALG_RS256,    /* JOSE "RS256"; verify only, for foreign issuers; COSE -257 */
    LK_ALG_AEAD      /* a key that decrypts, with the cipher in u.oct.cipher; signs nothing */
};

/** @return LK_ALG_NONE for anything we do not take. */
enum lk_alg lk_alg_from_cose(int64_t id);
enum lk_alg lk_alg_from_jose(struct lk_span name);
int64_t lk_alg_to_cose(enum lk_alg alg);      /* the classic id: -7, -8, 5, 4, -257 */
const char *lk_alg_name(enum lk_alg alg);     /* "ES256"; for JOSE and for logs */
size_t lk_alg_signature_len(enum lk_alg alg); /* bytes; 0 for RS256, whose key decides */

/**
 * Ciphers that authenticate (RFC 9053 section 4). A type of their own: no signed message can name
 * one, no encrypted message a signature, and LK_ALG_AEAD is what neither can name. The numbers of
 * CCM are the length field in bits, the tag's bits and the key's bits.
 */
enum lk_aead {
    LK_AEAD_NONE = 0,
    LK_AEAD_A128GCM,        /* COSE 1, JOSE "A128GCM" */
    LK_AEAD_A192GCM,        /* COSE 2, JOSE "A192GCM" */
    LK_AEAD_A256GCM,        /* COSE 3, JOSE "A256GCM" */
    LK_AEAD_CCM_16_64_128,  /* COSE 10; JOSE has no CCM */
    LK_AEAD_CCM_16_64_256,  /* COSE 11 */
    LK_AEAD_CCM_64_64_128,  /* COSE 12 */
    LK_AEAD_CCM_64_64_256,  /* COSE 13 */
    LK_AEAD_CCM_16_128_128, /* COSE 30 */
    LK_AEAD_CCM_16_128_256, /* COSE 31 */
    LK_AEAD_CCM_64_128_128, /* COSE 32 */
    LK_AEAD_CCM_64_128_256  /* COSE 33 */
};

/** Bytes; all 0 for LK_AEAD_NONE. Only these lengths are taken. */
struct lk_aead_sizes {
    uint8_t key, nonce, tag;
};

/** @return LK_AEAD_NONE for anything we do not take. */
enum lk_aead lk_aead_from_cose(int64_t id);
enum lk_aead lk_aead_from_jose(struct lk_span name);
int64_t lk_aead_to_cose(enum lk_aead cipher);
const char *lk_aead_name(enum lk_aead cipher); /* "A128GCM", "AES-CCM-16-64-128" */
struct lk_aead_sizes lk_aead_sizes_of(enum lk_aead cipher);

/** Is the whole key a secret, rather than one half of a pair? */
static inline bool
lk_alg_is_symmetric(enum lk_alg alg)
{
    return alg == LK_ALG_HS256 || alg == LK_ALG_HS256_64 || alg == LK_ALG_AEAD;
}

#define LK_RSA_MODULUS_MAX 512 /* bytes: RSA-4096 */
#define LK_SECRET_KEY_MAX  128 /* bytes of a symmetric key; HMAC asks for at least 32 */

/**
 * A key the caller places. Plain data; the crypto port may hang a prepared form on it
 * (lk_key_open), which lk_key_wipe gives back.
 */
struct lk_key {
    enum lk_alg alg;
    uint8_t kid[LK_KID_MAX];
    size_t kid_len;
    bool has_private; /* d below is filled: the key can sign, or is symmetric */
    uint32_t issuer;  /* index of the verifier's issuer this key belongs to; see keyset.h */
    union {
        struct {
            uint8_t x[32], y[32], d[32];
        } ec; /* P-256, big-endian */
        struct {
            uint8_t x[32], d[32];
        } okp; /* Ed25519 */
        struct {
            uint8_t k[LK_SECRET_KEY_MAX];
            size_t len;
            enum lk_aead cipher; /* of an LK_ALG_AEAD key */
        } oct;
        struct {
            uint8_t n[LK_RSA_MODULUS_MAX];
            size_t n_len;
            uint8_t e[8];
            size_t e_len;
        } rsa;
    } u;
    void *prepared; /* owned by the crypto port */
};

/**
 * Check the key (point on its curve, sizes, at least 32 bytes for HS256, at least 2048 bits for
 * RSA, exactly the cipher's for AEAD) and prepare it for fast use. Must be called once before
 * sign, verify or decrypt.
 *
 * Once open, one key serves any number of threads at a time: each call on it works with contexts of
 * its own, of which the key keeps a few at hand. A key that is open already stays as it is.
 *
 * @return LK_OK, LK_ERR_KEY for a key that is not valid, LK_ERR_UNSUPPORTED, LK_ERR_CRYPTO. After
 * an error the key is as it was before.
 */
LK_MUST_CHECK enum lk_err lk_key_open(struct lk_key *key);

/**
 * Make verifications with an opened ES256 key about twice as fast, by a table of multiples of its
 * point. For the few keys of issuers one knows; without this call all is done the ordinary way.
 *
 * Takes 20 to 40 ms once and about 156 KB until lk_key_wipe: not for a thread that may not wait.
 * Nobody else may use the key meanwhile; afterwards any number of threads may, as before. The table
 * is tested against the ordinary way before it is used. Every answer of lk_crypto_verify stays the
 * same, and where the table cannot give one (no memory) the ordinary way does. Twice is once.
 *
 * @return LK_OK; LK_ERR_STATE for a key that was not opened; LK_ERR_UNSUPPORTED for another
 *         algorithm or a crypto library or build that cannot; LK_ERR_CRYPTO when the self-test or
 *         the crypto library failed. After an error the key goes on the ordinary way.
 */
LK_MUST_CHECK enum lk_err lk_key_accelerate(struct lk_key *key);

/** Give back what lk_key_open prepared and zero the whole key. Safe on a zeroed key. */
void lk_key_wipe(struct lk_key *key);

static inline struct lk_span
lk_key_kid(const struct lk_key *key)
{
    return lk_span_of(key->kid, key->kid_len);
}

#endif
