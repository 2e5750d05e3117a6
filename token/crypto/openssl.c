/*
 * The crypto port on OpenSSL 3: keys and signatures. Errors of OpenSSL stop here: each public call
 * marks the thread's error queue and goes back to the mark. What a key keeps is in prepared.h.
 */
#include "prepared.h"

#include <limits.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#define EDDSA_LEN    64
#define HMAC_KEY_MIN 32  /* bytes; RFC 7518 section 3.2 */
#define RSA_MIN      256 /* bytes of modulus: 2048 bits */

/* Keys. */

static void
prepared_free(struct lk_prepared *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < LK_KIT_SPARES; i++)
        lk_kit_free(atomic_load_explicit(&p->spare[i], memory_order_acquire));
    lk_table_free(p->table);
    EVP_PKEY_free(p->pkey);
    EVP_MAC_CTX_free(p->mac);
    OPENSSL_free(p);
}

/* A key from its numbers. `selection` says whether the private part is among them. */
static EVP_PKEY *
pkey_from_params(const char *type, OSSL_PARAM_BLD *build, int selection)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;

    if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, selection, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

/* Is the point on the curve, and does the private part, if there, belong to it? */
static bool
pkey_is_consistent(EVP_PKEY *pkey, bool has_private)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    bool ok = ctx != NULL && EVP_PKEY_public_check(ctx) == 1 &&
              (!has_private || EVP_PKEY_pairwise_check(ctx) == 1);

    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static enum lk_err
open_ec(const struct lk_key *key, struct lk_prepared *p)
{
    uint8_t point[1 + 2 * LK_ES256_HALF] = {0x04}; /* SEC 1 section 2.3.3: uncompressed */
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *d = NULL;
    enum lk_err err = LK_ERR_CRYPTO;

    memcpy(point + 1, key->u.ec.x, LK_ES256_HALF);
    memcpy(point + 1 + LK_ES256_HALF, key->u.ec.y, LK_ES256_HALF);
    if (build == NULL ||
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) != 1)
        goto out;
    if (key->has_private) {
        if (!lk_es256_scalar_is_valid(key->u.ec.d)) {
            err = LK_ERR_KEY;
            goto out;
        }
        d = BN_secure_new();
        if (d == NULL || BN_bin2bn(key->u.ec.d, LK_ES256_HALF, d) == NULL ||
            OSSL_PARAM_BLD_push_BN_pad(build, OSSL_PKEY_PARAM_PRIV_KEY, d, LK_ES256_HALF) != 1)
            goto out;
        BN_set_flags(d, BN_FLG_CONSTTIME);
    }
    err = LK_ERR_KEY;
    p->pkey =
        pkey_from_params("EC", build, key->has_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY);
    if (p->pkey != NULL && pkey_is_consistent(p->pkey, key->has_private))
        err = LK_OK;
out:
    BN_clear_free(d);
    OSSL_PARAM_BLD_free(build);
    return err;
}

/* With a private part the public one is computed, and compared with what the key says. */
static enum lk_err
open_okp(const struct lk_key *key, struct lk_prepared *p)
{
    uint8_t x[32];
    size_t len = sizeof(x);

    if (!key->has_private) {
        p->pkey = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, key->u.okp.x, sizeof(x));
        return p->pkey != NULL ? LK_OK : LK_ERR_KEY;
    }
    p->pkey = EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, key->u.okp.d, sizeof(x));
    if (p->pkey == NULL || EVP_PKEY_get_raw_public_key(p->pkey, x, &len) != 1)
        return LK_ERR_CRYPTO;
    return len == sizeof(x) && memcmp(x, key->u.okp.x, sizeof(x)) == 0 ? LK_OK : LK_ERR_KEY;
}

/* An odd exponent of at least 3 and an odd modulus of at least 2048 bits; zeros in front do not
 * count. */
static enum lk_err
open_rsa(const struct lk_key *key, struct lk_prepared *p)
{
    OSSL_PARAM_BLD *build = NULL;
    BIGNUM *n = NULL, *e = NULL;
    enum lk_err err = LK_ERR_KEY;

    if (key->u.rsa.n_len < RSA_MIN || key->u.rsa.n_len > sizeof(key->u.rsa.n) ||
        key->u.rsa.e_len == 0 || key->u.rsa.e_len > sizeof(key->u.rsa.e))
        return LK_ERR_KEY;
    n = BN_bin2bn(key->u.rsa.n, (int)key->u.rsa.n_len, NULL);
    e = BN_bin2bn(key->u.rsa.e, (int)key->u.rsa.e_len, NULL);
    if (n == NULL || e == NULL) {
        err = LK_ERR_CRYPTO;
        goto out;
    }
    if (BN_num_bits(n) < RSA_MIN * CHAR_BIT || !BN_is_odd(n) || !BN_is_odd(e) || BN_is_one(e))
        goto out;
    err = LK_ERR_CRYPTO;
    build = OSSL_PARAM_BLD_new();
    if (build == NULL || OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) != 1 ||
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) != 1)
        goto out;
    p->pkey = pkey_from_params("RSA", build, EVP_PKEY_PUBLIC_KEY);
    err = p->pkey != NULL ? LK_OK : LK_ERR_KEY;
out:
    OSSL_PARAM_BLD_free(build);
    BN_free(n);
    BN_free(e);
    return err;
}

static enum lk_err
open_oct(const struct lk_key *key, struct lk_prepared *p)
{
    if (key->u.oct.len < HMAC_KEY_MIN || key->u.oct.len > sizeof(key->u.oct.k))
        return LK_ERR_KEY;
    p->mac = lk_hmac_new(lk_span_of(key->u.oct.k, key->u.oct.len));
    return p->mac != NULL ? LK_OK : LK_ERR_CRYPTO;
}

static enum lk_err
open_by_alg(const struct lk_key *key, struct lk_prepared *p)
{
    switch (key->alg) {
    case LK_ALG_ES256:
        return open_ec(key, p);
    case LK_ALG_EDDSA:
        return open_okp(key, p);
    case LK_ALG_HS256:
    case LK_ALG_HS256_64:
        return open_oct(key, p);
    case LK_ALG_RS256:
        return open_rsa(key, p);
    case LK_ALG_AEAD:
        return lk_aead_key_check(key);
    case LK_ALG_NONE:
        break;
    }
    return LK_ERR_UNSUPPORTED;
}

enum lk_err
lk_key_open(struct lk_key *key)
{
    struct lk_prepared *p;
    enum lk_err err;

    if (key->prepared != NULL)
        return LK_OK;
    ERR_set_mark();
    p = OPENSSL_zalloc(sizeof(*p));
    err = p != NULL ? open_by_alg(key, p) : LK_ERR_CRYPTO;
    if (err != LK_OK)
        prepared_free(p);
    else
        key->prepared = p;
    ERR_pop_to_mark();
    return err;
}

void
lk_key_wipe(struct lk_key *key)
{
    prepared_free(key->prepared);
    lk_wipe(key, sizeof(*key));
}

enum lk_err
lk_key_accelerate(struct lk_key *key)
{
    struct lk_prepared *p = key->prepared;
    enum lk_err err;

    if (p == NULL)
        return LK_ERR_STATE;
    if (key->alg != LK_ALG_ES256)
        return LK_ERR_UNSUPPORTED;
    if (p->table != NULL)
        return LK_OK;
    ERR_set_mark();
    err = lk_table_new(key, &p->table);
    ERR_pop_to_mark();
    return err;
}

/* Signatures and MACs. */

static bool
kit_mac(const struct lk_prepared *p, struct lk_kit *kit, const struct lk_span *parts,
        size_t part_count, uint8_t tag[LK_SHA256_LEN])
{
    if (kit->mac == NULL)
        kit->mac = EVP_MAC_CTX_dup(p->mac);
    return kit->mac != NULL && lk_hmac_run(kit->mac, parts, part_count, tag);
}

static enum lk_err
verify_mac(enum lk_alg alg, const struct lk_prepared *p, struct lk_kit *kit,
           const struct lk_span *parts, size_t part_count, struct lk_span signature)
{
    uint8_t tag[LK_SHA256_LEN];
    enum lk_err err = LK_ERR_SIGNATURE;

    if (signature.len != lk_alg_signature_len(alg))
        return LK_ERR_SIGNATURE;
    if (!kit_mac(p, kit, parts, part_count, tag))
        return LK_ERR_CRYPTO;
    if (lk_equal_ct(lk_span_of(tag, signature.len), signature))
        err = LK_OK;
    lk_wipe(tag, sizeof(tag));
    return err;
}

static bool
kit_hash(struct lk_kit *kit, const struct lk_span *parts, size_t part_count,
         uint8_t hash[LK_SHA256_LEN])
{
    if (kit->hash == NULL)
        kit->hash = EVP_MD_CTX_new();
    return kit->hash != NULL && lk_hash_run(kit->hash, parts, part_count, hash);
}

/* One operation after another on the shared key: what is set here stays set. */
static EVP_PKEY_CTX *
operation_new(const struct lk_prepared *p, enum lk_alg alg, bool sign)
{
    const EVP_MD *md = lk_fetched_sha256();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, p->pkey, NULL);
    bool ok = md != NULL && ctx != NULL &&
              (sign ? EVP_PKEY_sign_init(ctx) : EVP_PKEY_verify_init(ctx)) == 1 &&
              EVP_PKEY_CTX_set_signature_md(ctx, md) == 1 &&
              (alg != LK_ALG_RS256 || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1);

    if (ok)
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

/* Verify a signature, in the form OpenSSL has it, over a hash. */
static enum lk_err
verify_hash(enum lk_alg alg, const struct lk_prepared *p, struct lk_kit *kit,
            const uint8_t hash[LK_SHA256_LEN], struct lk_span signature)
{
    int verdict = -1;

    if (kit->verify == NULL)
        kit->verify = operation_new(p, alg, false);
    if (kit->verify != NULL)
        verdict = EVP_PKEY_verify(kit->verify, signature.ptr, signature.len, hash, LK_SHA256_LEN);
    if (verdict == 1)
        return LK_OK;
    return verdict == 0 ? LK_ERR_SIGNATURE : LK_ERR_CRYPTO;
}

/*
 * Is e*G + r*Q the point at infinity? Who has the private key can make such a signature. It is not
 * valid (FIPS 186-5 section 6.4.2), but OpenSSL says "failed" and not "no", as for lack of memory.
 */
static bool
sum_is_infinite(const struct lk_key *key, const uint8_t hash[LK_SHA256_LEN],
                const uint8_t r_bytes[LK_ES256_HALF])
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *q = group != NULL ? EC_POINT_new(group) : NULL;
    EC_POINT *sum = group != NULL ? EC_POINT_new(group) : NULL;
    BIGNUM *x = BN_bin2bn(key->u.ec.x, LK_ES256_HALF, NULL);
    BIGNUM *y = BN_bin2bn(key->u.ec.y, LK_ES256_HALF, NULL);
    BIGNUM *e = BN_bin2bn(hash, LK_SHA256_LEN, NULL);
    BIGNUM *r = BN_bin2bn(r_bytes, LK_ES256_HALF, NULL);
    bool yes = q != NULL && sum != NULL && x != NULL && y != NULL && e != NULL && r != NULL &&
               EC_POINT_set_affine_coordinates(group, q, x, y, NULL) == 1 &&
               EC_POINT_mul(group, sum, e, q, r, NULL) == 1 && EC_POINT_is_at_infinity(group, sum);

    BN_free(r);
    BN_free(e);
    BN_free(y);
    BN_free(x);
    EC_POINT_free(sum);
    EC_POINT_free(q);
    EC_GROUP_free(group);
    return yes;
}

static enum lk_err
verify_ecdsa(const struct lk_key *key, const struct lk_prepared *p, struct lk_kit *kit,
             const struct lk_span *parts, size_t part_count, struct lk_span signature)
{
    uint8_t hash[LK_SHA256_LEN], der[LK_ES256_DER];
    enum lk_table_verdict verdict = LK_VERDICT_NONE;
    enum lk_err err;

    if (signature.len != LK_ES256_LEN || !lk_es256_scalar_is_valid(signature.ptr) ||
        !lk_es256_scalar_is_valid(signature.ptr + LK_ES256_HALF))
        return LK_ERR_SIGNATURE;
    if (!kit_hash(kit, parts, part_count, hash))
        return LK_ERR_CRYPTO;
    if (p->table != NULL)
        verdict = lk_table_verify(p->table, &kit->room, hash, signature.ptr);
    if (verdict != LK_VERDICT_NONE)
        return verdict == LK_VERDICT_VALID ? LK_OK : LK_ERR_SIGNATURE;
    err = verify_hash(LK_ALG_ES256, p, kit, hash,
                      lk_span_of(der, lk_es256_to_der(signature.ptr, der)));
    if (err == LK_ERR_CRYPTO && sum_is_infinite(key, hash, signature.ptr))
        return LK_ERR_SIGNATURE;
    return err;
}

static enum lk_err
verify_rsa(const struct lk_prepared *p, struct lk_kit *kit, const struct lk_span *parts,
           size_t part_count, struct lk_span signature)
{
    uint8_t hash[LK_SHA256_LEN];

    if (signature.len != (size_t)EVP_PKEY_get_size(p->pkey))
        return LK_ERR_SIGNATURE;
    if (!kit_hash(kit, parts, part_count, hash))
        return LK_ERR_CRYPTO;
    return verify_hash(LK_ALG_RS256, p, kit, hash, signature);
}

/* Ed25519 reads its message twice, so OpenSSL wants it in one piece. Freed by the caller. */
static bool
message_join(const struct lk_span *parts, size_t part_count, uint8_t **message, size_t *len)
{
    size_t total = 0, at = 0;

    *message = NULL;
    *len = 0;
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].len > SIZE_MAX - 1 - total)
            return false;
        total += parts[i].len;
    }
    *message = OPENSSL_malloc(total + 1);
    if (*message == NULL)
        return false;
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].len > 0)
            memcpy(*message + at, parts[i].ptr, parts[i].len);
        at += parts[i].len;
    }
    *len = total;
    return true;
}

static enum lk_err
verify_eddsa(const struct lk_prepared *p, struct lk_kit *kit, const struct lk_span *parts,
             size_t part_count, struct lk_span signature)
{
    uint8_t *message = NULL;
    size_t len;
    enum lk_err err = LK_ERR_CRYPTO;

    if (signature.len != EDDSA_LEN)
        return LK_ERR_SIGNATURE;
    if (kit->verify_whole == NULL)
        kit->verify_whole = EVP_MD_CTX_new();
    if (kit->verify_whole == NULL || !message_join(parts, part_count, &message, &len) ||
        EVP_DigestVerifyInit_ex(kit->verify_whole, NULL, NULL, NULL, NULL, p->pkey, NULL) != 1)
        goto out;
    err = LK_ERR_SIGNATURE;
    if (EVP_DigestVerify(kit->verify_whole, signature.ptr, signature.len, message, len) == 1)
        err = LK_OK;
out:
    OPENSSL_free(message);
    return err;
}

static enum lk_err
verify_by_alg(const struct lk_key *key, const struct lk_prepared *p, struct lk_kit *kit,
              const struct lk_span *parts, size_t part_count, struct lk_span signature)
{
    switch (key->alg) {
    case LK_ALG_ES256:
        return verify_ecdsa(key, p, kit, parts, part_count, signature);
    case LK_ALG_EDDSA:
        return verify_eddsa(p, kit, parts, part_count, signature);
    case LK_ALG_HS256:
    case LK_ALG_HS256_64:
        return verify_mac(key->alg, p, kit, parts, part_count, signature);
    case LK_ALG_RS256:
        return verify_rsa(p, kit, parts, part_count, signature);
    case LK_ALG_AEAD:
    case LK_ALG_NONE:
        break;
    }
    return LK_ERR_UNSUPPORTED;
}

enum lk_err
lk_crypto_verify(const struct lk_key *key, const struct lk_span *parts, size_t part_count,
                 struct lk_span signature)
{
    struct lk_prepared *p = key->prepared;
    enum lk_err err = LK_ERR_CRYPTO;
    struct lk_kit *kit;

    if (p == NULL)
        return LK_ERR_STATE;
    if (part_count > LK_PARTS_MAX)
        return LK_ERR_ARG;
    ERR_set_mark();
    kit = lk_kit_take(p);
    if (kit != NULL) {
        err = verify_by_alg(key, p, kit, parts, part_count, signature);
        lk_kit_put(p, kit, err == LK_OK || err == LK_ERR_SIGNATURE);
    }
    ERR_pop_to_mark();
    return err;
}

static enum lk_err
sign_ecdsa(const struct lk_prepared *p, struct lk_kit *kit, const struct lk_span *parts,
           size_t part_count, uint8_t *out)
{
    uint8_t hash[LK_SHA256_LEN], der[LK_ES256_DER];
    size_t der_len = sizeof(der);

    if (!kit_hash(kit, parts, part_count, hash))
        return LK_ERR_CRYPTO;
    if (kit->sign == NULL)
        kit->sign = operation_new(p, LK_ALG_ES256, true);
    if (kit->sign == NULL || EVP_PKEY_sign(kit->sign, der, &der_len, hash, sizeof(hash)) != 1)
        return LK_ERR_CRYPTO;
    /* Out of memory, 3.0 can say that all went well and that there are 2^32 - 1 bytes. */
    if (der_len > sizeof(der) || !lk_es256_from_der(lk_span_of(der, der_len), out))
        return LK_ERR_CRYPTO;
    /* (r, s) and (r, n - s) both verify; one of the two is the one we write. */
    if (!lk_crypto_is_low_s(lk_span_of(out, LK_ES256_LEN)))
        lk_es256_negate_s(out + LK_ES256_HALF);
    return LK_OK;
}

static enum lk_err
sign_eddsa(const struct lk_prepared *p, struct lk_kit *kit, const struct lk_span *parts,
           size_t part_count, uint8_t *out)
{
    uint8_t *message = NULL;
    size_t len, out_len = EDDSA_LEN;
    bool ok;

    if (kit->sign_whole == NULL)
        kit->sign_whole = EVP_MD_CTX_new();
    ok = kit->sign_whole != NULL && message_join(parts, part_count, &message, &len) &&
         EVP_DigestSignInit_ex(kit->sign_whole, NULL, NULL, NULL, NULL, p->pkey, NULL) == 1 &&
         EVP_DigestSign(kit->sign_whole, out, &out_len, message, len) == 1 && out_len == EDDSA_LEN;
    OPENSSL_free(message);
    return ok ? LK_OK : LK_ERR_CRYPTO;
}

static enum lk_err
sign_mac(enum lk_alg alg, const struct lk_prepared *p, struct lk_kit *kit,
         const struct lk_span *parts, size_t part_count, uint8_t *out)
{
    uint8_t tag[LK_SHA256_LEN];

    if (!kit_mac(p, kit, parts, part_count, tag))
        return LK_ERR_CRYPTO;
    memcpy(out, tag, lk_alg_signature_len(alg));
    lk_wipe(tag, sizeof(tag));
    return LK_OK;
}

static enum lk_err
sign_by_alg(enum lk_alg alg, const struct lk_prepared *p, struct lk_kit *kit,
            const struct lk_span *parts, size_t part_count, uint8_t *out)
{
    switch (alg) {
    case LK_ALG_ES256:
        return sign_ecdsa(p, kit, parts, part_count, out);
    case LK_ALG_EDDSA:
        return sign_eddsa(p, kit, parts, part_count, out);
    case LK_ALG_HS256:
    case LK_ALG_HS256_64:
        return sign_mac(alg, p, kit, parts, part_count, out);
    case LK_ALG_RS256:
    case LK_ALG_AEAD:
    case LK_ALG_NONE:
        break;
    }
    return LK_ERR_UNSUPPORTED;
}

enum lk_err
lk_crypto_sign(const struct lk_key *key, const struct lk_span *parts, size_t part_count,
               struct lk_buf room, struct lk_span *out)
{
    struct lk_prepared *p = key->prepared;
    size_t len = lk_alg_signature_len(key->alg);
    enum lk_err err = LK_ERR_CRYPTO;
    struct lk_kit *kit;

    *out = (struct lk_span){NULL, 0};
    if (len == 0)
        return LK_ERR_UNSUPPORTED;
    if (p == NULL)
        return LK_ERR_STATE;
    if (!key->has_private)
        return LK_ERR_KEY;
    if (part_count > LK_PARTS_MAX)
        return LK_ERR_ARG;
    if (room.cap < len)
        return LK_ERR_NO_SPACE;
    ERR_set_mark();
    kit = lk_kit_take(p);
    if (kit != NULL) {
        err = sign_by_alg(key->alg, p, kit, parts, part_count, room.ptr);
        lk_kit_put(p, kit, err == LK_OK);
    }
    ERR_pop_to_mark();
    if (err == LK_OK)
        *out = lk_span_of(room.ptr, len);
    else
        lk_wipe(room.ptr, len);
    return err;
}

/* A number of a key as 32 bytes, big-endian. */
static bool
number_get(const EVP_PKEY *pkey, const char *name, uint8_t out[32])
{
    BIGNUM *number = NULL;
    bool ok =
        EVP_PKEY_get_bn_param(pkey, name, &number) == 1 && BN_bn2binpad(number, out, 32) == 32;

    BN_clear_free(number);
    return ok;
}

static bool
generate_ec(struct lk_key *key)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    bool ok = pkey != NULL && number_get(pkey, OSSL_PKEY_PARAM_EC_PUB_X, key->u.ec.x) &&
              number_get(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, key->u.ec.y) &&
              number_get(pkey, OSSL_PKEY_PARAM_PRIV_KEY, key->u.ec.d);

    EVP_PKEY_free(pkey);
    return ok;
}

static bool
generate_okp(struct lk_key *key)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    size_t x_len = sizeof(key->u.okp.x), d_len = sizeof(key->u.okp.d);
    bool ok = pkey != NULL && EVP_PKEY_get_raw_public_key(pkey, key->u.okp.x, &x_len) == 1 &&
              EVP_PKEY_get_raw_private_key(pkey, key->u.okp.d, &d_len) == 1;

    EVP_PKEY_free(pkey);
    return ok;
}

static bool
generate_oct(struct lk_key *key)
{
    key->u.oct.len = HMAC_KEY_MIN;
    return RAND_priv_bytes_ex(NULL, key->u.oct.k, HMAC_KEY_MIN, 0) == 1;
}

enum lk_err
lk_crypto_generate(enum lk_alg alg, struct lk_key *key)
{
    enum lk_err err = LK_ERR_UNSUPPORTED;
    bool ok = false;

    memset(key, 0, sizeof(*key));
    ERR_set_mark();
    if (alg == LK_ALG_ES256)
        ok = generate_ec(key);
    else if (alg == LK_ALG_EDDSA)
        ok = generate_okp(key);
    else if (alg == LK_ALG_HS256 || alg == LK_ALG_HS256_64)
        ok = generate_oct(key);
    else
        goto out;
    key->alg = alg;
    key->has_private = true;
    err = ok ? lk_key_open(key) : LK_ERR_CRYPTO;
out:
    ERR_pop_to_mark();
    if (err != LK_OK)
        lk_key_wipe(key);
    return err;
}
