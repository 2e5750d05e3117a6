/*
 * prepared.h - what lk_key_open hangs on a key; private to the OpenSSL port.
 *
 * A prepared key is only read after lk_key_open, but for its spare kits: an operation takes a kit
 * out with one atomic exchange, so no two threads ever hold the same, and puts it back when it is
 * through. So one key serves any number of threads, and contexts are seldom made anew.
 */
#ifndef LK_CRYPTO_PREPARED_H
#define LK_CRYPTO_PREPARED_H

#include <stdatomic.h>

#include <openssl/evp.h>

#include <latchkey/crypto.h>

#if OPENSSL_VERSION_NUMBER < 0x30000030L
#error "OpenSSL 3.0.3 or later: before it a used HMAC context could not begin anew (issue 17811)"
#endif

#define LK_ES256_LEN  64
#define LK_ES256_HALF 32
#define LK_ES256_DER  72 /* bytes of an ECDSA signature on P-256: 2 + 2 * (2 + 33) */
#define LK_KIT_SPARES 4  /* kits a key keeps: more threads at one moment make their own */

struct lk_table;
struct lk_table_room;

/* The contexts one operation works with. Each is made when it is first needed. */
struct lk_kit {
    EVP_MD_CTX *hash;                      /* SHA-256, for ES256 and RS256 */
    EVP_PKEY_CTX *verify;                  /* ES256, RS256: verifies hashes */
    EVP_PKEY_CTX *sign;                    /* ES256: signs hashes */
    EVP_MD_CTX *verify_whole, *sign_whole; /* EdDSA: whole messages */
    EVP_MAC_CTX *mac;                      /* HS256 */
    struct lk_table_room *room;            /* ES256 by table */
};

struct lk_prepared {
    EVP_PKEY *pkey;         /* ES256, EdDSA, RS256 */
    EVP_MAC_CTX *mac;       /* HS256: keyed, never used itself, only duplicated */
    struct lk_table *table; /* ES256 after lk_key_accelerate */
    _Atomic(struct lk_kit *) spare[LK_KIT_SPARES];
};

/* A spare kit or a new one; NULL: out of memory. Goes back with lk_kit_put. */
struct lk_kit *lk_kit_take(struct lk_prepared *p);

/* Give it back. One whose contexts may be half done (`is_good` false) is not used again. */
void lk_kit_put(struct lk_prepared *p, struct lk_kit *kit, bool is_good);

void lk_kit_free(struct lk_kit *kit);

/*
 * Algorithms fetched by name once: a fetch costs a lock and a search, more than a short hash. They
 * are made when first asked for, never change and live as long as the process. NULL: that failed,
 * and the next call tries again.
 */
const EVP_MD *lk_fetched_sha256(void);
const EVP_CIPHER *lk_fetched_aes256gcm(void);

/* Is an LK_ALG_AEAD key as long as its cipher wants? LK_OK, LK_ERR_KEY, LK_ERR_UNSUPPORTED. */
LK_MUST_CHECK enum lk_err lk_aead_key_check(const struct lk_key *key);

/* An HMAC-SHA-256 context with its key set. NULL: that failed. */
EVP_MAC_CTX *lk_hmac_new(struct lk_span key);

/* Begin `ctx` anew with the key it has, and run it over the parts. */
LK_MUST_CHECK bool lk_hmac_run(EVP_MAC_CTX *ctx, const struct lk_span *parts, size_t part_count,
                               uint8_t tag[LK_SHA256_LEN]);

LK_MUST_CHECK bool lk_hash_run(EVP_MD_CTX *ctx, const struct lk_span *parts, size_t part_count,
                               uint8_t hash[LK_SHA256_LEN]);

/* ES256 signatures: raw r||s is what we speak, DER what OpenSSL does. */

/* 1 to n - 1? */
bool lk_es256_scalar_is_valid(const uint8_t scalar[LK_ES256_HALF]);

/* s becomes n - s. */
void lk_es256_negate_s(uint8_t s[LK_ES256_HALF]);

size_t lk_es256_to_der(const uint8_t raw[LK_ES256_LEN], uint8_t der[LK_ES256_DER]);
bool lk_es256_from_der(struct lk_span der, uint8_t raw[LK_ES256_LEN]);

/*
 * ES256 verification with a table of multiples of the key's point (openssl_table.c, or
 * openssl_no_table.c in a build without it).
 */

enum lk_table_verdict { LK_VERDICT_NONE, LK_VERDICT_VALID, LK_VERDICT_INVALID };

/* LK_OK after its self-test; LK_ERR_UNSUPPORTED, LK_ERR_CRYPTO. */
LK_MUST_CHECK enum lk_err lk_table_new(const struct lk_key *key, struct lk_table **table);
void lk_table_free(struct lk_table *table);

/* `raw` has valid scalars. LK_VERDICT_NONE: something failed, ask EVP. */
enum lk_table_verdict lk_table_verify(const struct lk_table *table, struct lk_table_room **room,
                                      const uint8_t hash[LK_SHA256_LEN],
                                      const uint8_t raw[LK_ES256_LEN]);
void lk_table_room_free(struct lk_table_room *room);

#endif
