/*
 * The crypto port on OpenSSL 3. A prepared key is only read after lk_key_open: every call makes
 * its own context, so one key serves any number of threads. Errors of OpenSSL stop here: each
 * public call marks the thread's error queue and goes back to the mark.
 */
#include "openssl_aead.h"

#include <limits.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#define ES256_LEN    64
#define ES256_HALF   32
#define EDDSA_LEN    64
#define HMAC_KEY_MIN 32  /* bytes; RFC 7518 section 3.2 */
#define RSA_MIN      256 /* bytes of modulus: 2048 bits */
#define DER_MAX      72  /* bytes of an ECDSA signature on P-256: 2 + 2 * (2 + 33) */
#define GCM_NONCE    12
#define GCM_TAG      16
#define HKDF_MAX     ((size_t)255 * LK_SHA256_LEN)

/* Order of P-256 and half of it (SEC 2 section 2.4.2), big-endian. */
static const uint8_t p256_n[ES256_HALF] = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
static const uint8_t p256_half_n[ES256_HALF] = {
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8};

struct prepared {
    EVP_PKEY *pkey;   /* ES256, EdDSA, RS256 */
    EVP_MD *md;       /* SHA-256, fetched once: a fetch by name costs a lock and a search */
    EVP_MAC_CTX *mac; /* HS256: keyed, never used itself, only duplicated */
};

static bool
is_zero(const uint8_t *value, size_t len)
{
    uint8_t any = 0;

    for (size_t i = 0; i < len; i++)
        any |= value[i];
    return any == 0;
}

/* Half of an ES256 signature: 1 to n - 1. */
static bool
scalar_is_valid(const uint8_t scalar[ES256_HALF])
{
    return !is_zero(scalar, ES256_HALF) && memcmp(scalar, p256_n, ES256_HALF) < 0;
}

bool
lk_crypto_is_low_s(struct lk_span signature)
{
    return signature.len == ES256_LEN &&
           memcmp(signature.ptr + ES256_HALF, p256_half_n, ES256_HALF) <= 0;
}

/* s becomes n - s. */
static void
negate_s(uint8_t s[ES256_HALF])
{
    unsigned borrow = 0;

    for (size_t i = ES256_HALF; i-- > 0;) {
        unsigned difference = 0x100u + p256_n[i] - s[i] - borrow;

        s[i] = (uint8_t)difference;
        borrow = difference < 0x100;
    }
}

/* Append a DER INTEGER: no leading zeros but the one that keeps it positive (X.690 8.3). */
static size_t
der_put_integer(uint8_t *out, const uint8_t value[ES256_HALF])
{
    size_t skip = 0, pad, len;

    while (skip < ES256_HALF - 1 && value[skip] == 0)
        skip++;
    pad = value[skip] >> 7;
    len = ES256_HALF - skip;
    out[0] = 0x02;
    out[1] = (uint8_t)(pad + len);
    out[2] = 0;
    memcpy(out + 2 + pad, value + skip, len);
    return 2 + pad + len;
}

static size_t
der_from_raw(const uint8_t raw[ES256_LEN], uint8_t der[DER_MAX])
{
    size_t len = 2;

    len += der_put_integer(der + len, raw);
    len += der_put_integer(der + len, raw + ES256_HALF);
    der[0] = 0x30;
    der[1] = (uint8_t)(len - 2);
    return len;
}

/* Take a DER INTEGER off the front, into 32 bytes. */
static bool
der_take_integer(struct lk_span *der, uint8_t value[ES256_HALF])
{
    size_t len, skip = 0;

    if (der->len < 3 || der->ptr[0] != 0x02 || der->ptr[1] > der->len - 2)
        return false;
    len = der->ptr[1];
    while (skip < len && der->ptr[2 + skip] == 0)
        skip++;
    if (len - skip > ES256_HALF)
        return false;
    memset(value, 0, ES256_HALF);
    memcpy(value + ES256_HALF - (len - skip), der->ptr + 2 + skip, len - skip);
    *der = lk_span_of(der->ptr + 2 + len, der->len - 2 - len);
    return true;
}

/* What OpenSSL's own signer wrote. */
static bool
raw_from_der(struct lk_span der, uint8_t raw[ES256_LEN])
{
    if (der.len < 2 || der.ptr[0] != 0x30 || der.ptr[1] != der.len - 2)
        return false;
    der = lk_span_of(der.ptr + 2, der.len - 2);
    return der_take_integer(&der, raw) && der_take_integer(&der, raw + ES256_HALF) &&
           der.len == 0 && scalar_is_valid(raw) && scalar_is_valid(raw + ES256_HALF);
}

/* Keys. */

static void
prepared_free(struct prepared *p)
{
    if (p == NULL)
        return;
    EVP_PKEY_free(p->pkey);
    EVP_MD_free(p->md);
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
open_ec(const struct lk_key *key, struct prepared *p)
{
    uint8_t point[1 + 2 * ES256_HALF] = {0x04}; /* SEC 1 section 2.3.3: uncompressed */
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *d = NULL;
    enum lk_err err = LK_ERR_CRYPTO;

    memcpy(point + 1, key->u.ec.x, ES256_HALF);
    memcpy(point + 1 + ES256_HALF, key->u.ec.y, ES256_HALF);
    if (build == NULL ||
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) != 1)
        goto out;
    if (key->has_private) {
        if (!scalar_is_valid(key->u.ec.d)) {
            err = LK_ERR_KEY;
            goto out;
        }
        d = BN_secure_new();
        if (d == NULL || BN_bin2bn(key->u.ec.d, ES256_HALF, d) == NULL ||
            OSSL_PARAM_BLD_push_BN_pad(build, OSSL_PKEY_PARAM_PRIV_KEY, d, ES256_HALF) != 1)
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
open_okp(const struct lk_key *key, struct prepared *p)
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

/* An odd exponent of at least 3 and a modulus without leading zeros that counts its bytes. */
static enum lk_err
open_rsa(const struct lk_key *key, struct prepared *p)
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

/* A context with its key set, to be duplicated or used up. */
static EVP_MAC_CTX *
hmac_new(struct lk_span key)
{
    /* OpenSSL takes a NULL key as "keep the one that is set". */
    static const uint8_t nothing[1];
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;

    EVP_MAC_free(mac); /* the context holds it */
    if (ctx != NULL && EVP_MAC_init(ctx, key.len > 0 ? key.ptr : nothing, key.len, params) != 1) {
        EVP_MAC_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

static enum lk_err
open_oct(const struct lk_key *key, struct prepared *p)
{
    if (key->u.oct.len < HMAC_KEY_MIN || key->u.oct.len > sizeof(key->u.oct.k))
        return LK_ERR_KEY;
    p->mac = hmac_new(lk_span_of(key->u.oct.k, key->u.oct.len));
    return p->mac != NULL ? LK_OK : LK_ERR_CRYPTO;
}

static enum lk_err
open_by_alg(const struct lk_key *key, struct prepared *p)
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
        return aead_key_check(key);
    case LK_ALG_NONE:
        break;
    }
    return LK_ERR_UNSUPPORTED;
}

enum lk_err
lk_key_open(struct lk_key *key)
{
    struct prepared *p;
    enum lk_err err;

    if (key->prepared != NULL)
        return LK_OK;
    p = OPENSSL_zalloc(sizeof(*p));
    if (p == NULL)
        return LK_ERR_CRYPTO;
    ERR_set_mark();
    p->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    err = p->md != NULL ? open_by_alg(key, p) : LK_ERR_CRYPTO;
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

/* Signatures and MACs. */

static enum lk_err
hmac_run(EVP_MAC_CTX *ctx, const struct lk_span *parts, size_t part_count,
         uint8_t tag[LK_SHA256_LEN])
{
    bool ok = ctx != NULL && part_count <= LK_PARTS_MAX;
    size_t len = 0;

    for (size_t i = 0; ok && i < part_count; i++)
        ok = parts[i].len == 0 || EVP_MAC_update(ctx, parts[i].ptr, parts[i].len) == 1;
    ok = ok && EVP_MAC_final(ctx, tag, &len, LK_SHA256_LEN) == 1 && len == LK_SHA256_LEN;
    EVP_MAC_CTX_free(ctx);
    if (!ok)
        lk_wipe(tag, LK_SHA256_LEN);
    return ok ? LK_OK : LK_ERR_CRYPTO;
}

static enum lk_err
verify_mac(const struct lk_key *key, const struct prepared *p, const struct lk_span *parts,
           size_t part_count, struct lk_span signature)
{
    uint8_t tag[LK_SHA256_LEN];
    enum lk_err err;

    if (signature.len != lk_alg_signature_len(key->alg))
        return LK_ERR_SIGNATURE;
    err = hmac_run(EVP_MAC_CTX_dup(p->mac), parts, part_count, tag);
    if (err == LK_OK && !lk_equal_ct(lk_span_of(tag, signature.len), signature))
        err = LK_ERR_SIGNATURE;
    lk_wipe(tag, sizeof(tag));
    return err;
}

/* Feed the parts to a digest-and-verify or digest-and-sign that was begun. */
static bool
update_all(EVP_MD_CTX *ctx, const struct lk_span *parts, size_t part_count)
{
    for (size_t i = 0; i < part_count; i++)
        if (parts[i].len > 0 && EVP_DigestUpdate(ctx, parts[i].ptr, parts[i].len) != 1)
            return false;
    return true;
}

static enum lk_err
hash_parts(const EVP_MD *md, const struct lk_span *parts, size_t part_count,
           uint8_t hash[LK_SHA256_LEN])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned len = 0;
    bool ok = ctx != NULL && part_count <= LK_PARTS_MAX && EVP_DigestInit_ex2(ctx, md, NULL) == 1 &&
              update_all(ctx, parts, part_count) && EVP_DigestFinal_ex(ctx, hash, &len) == 1 &&
              len == LK_SHA256_LEN;

    EVP_MD_CTX_free(ctx);
    if (!ok)
        lk_wipe(hash, LK_SHA256_LEN);
    return ok ? LK_OK : LK_ERR_CRYPTO;
}

/* A context of its own for one operation on the shared key. */
static EVP_PKEY_CTX *
operation_new(const struct prepared *p, enum lk_alg alg, bool sign)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, p->pkey, NULL);
    bool ok = ctx != NULL && (sign ? EVP_PKEY_sign_init(ctx) : EVP_PKEY_verify_init(ctx)) == 1 &&
              EVP_PKEY_CTX_set_signature_md(ctx, p->md) == 1 &&
              (alg != LK_ALG_RS256 || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) == 1);

    if (ok)
        return ctx;
    EVP_PKEY_CTX_free(ctx);
    return NULL;
}

/* Verify a signature, in the form OpenSSL has it, over the hash of the parts. */
static enum lk_err
verify_hashed(const struct lk_key *key, const struct prepared *p, const struct lk_span *parts,
              size_t part_count, struct lk_span signature)
{
    uint8_t hash[LK_SHA256_LEN];
    EVP_PKEY_CTX *ctx;
    int verdict = -1;

    if (hash_parts(p->md, parts, part_count, hash) != LK_OK)
        return LK_ERR_CRYPTO;
    ctx = operation_new(p, key->alg, false);
    if (ctx != NULL)
        verdict = EVP_PKEY_verify(ctx, signature.ptr, signature.len, hash, sizeof(hash));
    EVP_PKEY_CTX_free(ctx);
    if (verdict == 1)
        return LK_OK;
    return verdict == 0 ? LK_ERR_SIGNATURE : LK_ERR_CRYPTO;
}

static enum lk_err
verify_ecdsa(const struct lk_key *key, const struct prepared *p, const struct lk_span *parts,
             size_t part_count, struct lk_span signature)
{
    uint8_t der[DER_MAX];

    if (signature.len != ES256_LEN || !scalar_is_valid(signature.ptr) ||
        !scalar_is_valid(signature.ptr + ES256_HALF))
        return LK_ERR_SIGNATURE;
    return verify_hashed(key, p, parts, part_count,
                         lk_span_of(der, der_from_raw(signature.ptr, der)));
}

static enum lk_err
verify_rsa(const struct lk_key *key, const struct prepared *p, const struct lk_span *parts,
           size_t part_count, struct lk_span signature)
{
    if (signature.len != (size_t)EVP_PKEY_get_size(p->pkey))
        return LK_ERR_SIGNATURE;
    return verify_hashed(key, p, parts, part_count, signature);
}

/* Ed25519 reads its message twice, so OpenSSL wants it in one piece. Freed with message_free. */
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
verify_eddsa(const struct prepared *p, const struct lk_span *parts, size_t part_count,
             struct lk_span signature)
{
    EVP_MD_CTX *ctx = NULL;
    uint8_t *message = NULL;
    size_t len;
    enum lk_err err = LK_ERR_CRYPTO;

    if (signature.len != EDDSA_LEN)
        return LK_ERR_SIGNATURE;
    ctx = EVP_MD_CTX_new();
    if (ctx == NULL || !message_join(parts, part_count, &message, &len) ||
        EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL, p->pkey, NULL) != 1)
        goto out;
    err = LK_ERR_SIGNATURE;
    if (EVP_DigestVerify(ctx, signature.ptr, signature.len, message, len) == 1)
        err = LK_OK;
out:
    OPENSSL_free(message);
    EVP_MD_CTX_free(ctx);
    return err;
}

static enum lk_err
verify_by_alg(const struct lk_key *key, const struct lk_span *parts, size_t part_count,
              struct lk_span signature)
{
    const struct prepared *p = key->prepared;

    switch (key->alg) {
    case LK_ALG_ES256:
        return verify_ecdsa(key, p, parts, part_count, signature);
    case LK_ALG_EDDSA:
        return verify_eddsa(p, parts, part_count, signature);
    case LK_ALG_HS256:
    case LK_ALG_HS256_64:
        return verify_mac(key, p, parts, part_count, signature);
    case LK_ALG_RS256:
        return verify_rsa(key, p, parts, part_count, signature);
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
    enum lk_err err;

    if (key->prepared == NULL)
        return LK_ERR_STATE;
    if (part_count > LK_PARTS_MAX)
        return LK_ERR_ARG;
    ERR_set_mark();
    err = verify_by_alg(key, parts, part_count, signature);
    ERR_pop_to_mark();
    return err;
}

static enum lk_err
sign_ecdsa(const struct lk_key *key, const struct lk_span *parts, size_t part_count, uint8_t *out)
{
    const struct prepared *p = key->prepared;
    uint8_t hash[LK_SHA256_LEN], der[DER_MAX];
    size_t der_len = sizeof(der);
    EVP_PKEY_CTX *ctx;
    bool ok;

    if (hash_parts(p->md, parts, part_count, hash) != LK_OK)
        return LK_ERR_CRYPTO;
    ctx = operation_new(p, key->alg, true);
    ok = ctx != NULL && EVP_PKEY_sign(ctx, der, &der_len, hash, sizeof(hash)) == 1 &&
         raw_from_der(lk_span_of(der, der_len), out);
    EVP_PKEY_CTX_free(ctx);
    if (!ok)
        return LK_ERR_CRYPTO;
    /* (r, s) and (r, n - s) both verify; one of the two is the one we write. */
    if (!lk_crypto_is_low_s(lk_span_of(out, ES256_LEN)))
        negate_s(out + ES256_HALF);
    return LK_OK;
}

static enum lk_err
sign_eddsa(const struct prepared *p, const struct lk_span *parts, size_t part_count, uint8_t *out)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t *message = NULL;
    size_t len, out_len = EDDSA_LEN;
    bool ok = ctx != NULL && message_join(parts, part_count, &message, &len) &&
              EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, p->pkey, NULL) == 1 &&
              EVP_DigestSign(ctx, out, &out_len, message, len) == 1 && out_len == EDDSA_LEN;

    OPENSSL_free(message);
    EVP_MD_CTX_free(ctx);
    return ok ? LK_OK : LK_ERR_CRYPTO;
}

static enum lk_err
sign_mac(const struct lk_key *key, const struct lk_span *parts, size_t part_count, uint8_t *out)
{
    const struct prepared *p = key->prepared;
    uint8_t tag[LK_SHA256_LEN];
    enum lk_err err = hmac_run(EVP_MAC_CTX_dup(p->mac), parts, part_count, tag);

    if (err == LK_OK)
        memcpy(out, tag, lk_alg_signature_len(key->alg));
    lk_wipe(tag, sizeof(tag));
    return err;
}

static enum lk_err
sign_by_alg(const struct lk_key *key, const struct lk_span *parts, size_t part_count, uint8_t *out)
{
    switch (key->alg) {
    case LK_ALG_ES256:
        return sign_ecdsa(key, parts, part_count, out);
    case LK_ALG_EDDSA:
        return sign_eddsa(key->prepared, parts, part_count, out);
    case LK_ALG_HS256:
    case LK_ALG_HS256_64:
        return sign_mac(key, parts, part_count, out);
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
    size_t len = lk_alg_signature_len(key->alg);
    enum lk_err err;

    *out = (struct lk_span){NULL, 0};
    if (len == 0)
        return LK_ERR_UNSUPPORTED;
    if (key->prepared == NULL)
        return LK_ERR_STATE;
    if (!key->has_private)
        return LK_ERR_KEY;
    if (part_count > LK_PARTS_MAX)
        return LK_ERR_ARG;
    if (room.cap < len)
        return LK_ERR_NO_SPACE;
    ERR_set_mark();
    err = sign_by_alg(key, parts, part_count, room.ptr);
    ERR_pop_to_mark();
    if (err == LK_OK)
        *out = lk_span_of(room.ptr, len);
    return err;
}

/* Hashes, derivation, randomness. */

enum lk_err
lk_crypto_sha256(struct lk_span in, uint8_t out[LK_SHA256_LEN])
{
    size_t len = 0;
    bool ok;

    ERR_set_mark();
    ok = EVP_Q_digest(NULL, "SHA256", NULL, in.ptr, in.len, out, &len) == 1 && len == LK_SHA256_LEN;
    ERR_pop_to_mark();
    if (!ok)
        lk_wipe(out, LK_SHA256_LEN);
    return ok ? LK_OK : LK_ERR_CRYPTO;
}

enum lk_err
lk_crypto_hmac_sha256(struct lk_span key, const struct lk_span *parts, size_t part_count,
                      uint8_t out[LK_SHA256_LEN])
{
    enum lk_err err;

    ERR_set_mark();
    err = hmac_run(hmac_new(key), parts, part_count, out);
    ERR_pop_to_mark();
    return err;
}

/* RFC 5869 sections 2.2 and 2.3. */
enum lk_err
lk_crypto_hkdf_sha256(struct lk_span key, struct lk_span salt, struct lk_span info,
                      struct lk_buf out)
{
    uint8_t secret[LK_SHA256_LEN], block[LK_SHA256_LEN], count = 0;
    size_t done = 0, block_len = 0;
    enum lk_err err;

    if (out.cap > HKDF_MAX)
        return LK_ERR_LIMIT;
    err = lk_crypto_hmac_sha256(salt, &key, 1, secret);
    while (err == LK_OK && done < out.cap) {
        struct lk_span parts[] = {{block, block_len}, info, {&count, 1}};
        size_t take = out.cap - done < sizeof(block) ? out.cap - done : sizeof(block);

        count++;
        err = lk_crypto_hmac_sha256(lk_span_of(secret, sizeof(secret)), parts, 3, block);
        block_len = sizeof(block);
        if (err == LK_OK)
            memcpy(out.ptr + done, block, take);
        done += take;
    }
    if (err != LK_OK)
        lk_wipe(out.ptr, out.cap);
    lk_wipe(secret, sizeof(secret));
    lk_wipe(block, sizeof(block));
    return err;
}

enum lk_err
lk_crypto_random(struct lk_buf out)
{
    bool ok;

    ERR_set_mark();
    ok = RAND_bytes_ex(NULL, out.ptr, out.cap, 0) == 1;
    ERR_pop_to_mark();
    if (!ok)
        lk_wipe(out.ptr, out.cap);
    return ok ? LK_OK : LK_ERR_CRYPTO;
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

/* Sealing. */

enum lk_err
lk_crypto_seal(const uint8_t key[32], struct lk_span bound, struct lk_span plain,
               struct lk_buf room, struct lk_span *out)
{
    EVP_CIPHER_CTX *ctx = NULL;
    EVP_CIPHER *cipher = NULL;
    uint8_t *nonce, *text, *tag;
    int len = 0, final_len = 0;
    enum lk_err err = LK_ERR_CRYPTO;

    *out = (struct lk_span){NULL, 0};
    if (room.cap < LK_SEAL_OVERHEAD || plain.len > room.cap - LK_SEAL_OVERHEAD)
        return LK_ERR_NO_SPACE;
    if (plain.len > INT_MAX || bound.len > INT_MAX)
        return LK_ERR_LIMIT;
    nonce = room.ptr;
    text = nonce + GCM_NONCE;
    tag = text + plain.len;
    ERR_set_mark();
    ctx = EVP_CIPHER_CTX_new();
    cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (ctx == NULL || cipher == NULL || RAND_bytes_ex(NULL, nonce, GCM_NONCE, 0) != 1 ||
        EVP_EncryptInit_ex2(ctx, cipher, key, nonce, NULL) != 1)
        goto out;
    if (bound.len > 0 && EVP_EncryptUpdate(ctx, NULL, &len, bound.ptr, (int)bound.len) != 1)
        goto out;
    len = 0;
    if (plain.len > 0 && EVP_EncryptUpdate(ctx, text, &len, plain.ptr, (int)plain.len) != 1)
        goto out;
    if (EVP_EncryptFinal_ex(ctx, text + len, &final_len) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, GCM_TAG, tag) != 1)
        goto out;
    *out = lk_span_of(room.ptr, plain.len + LK_SEAL_OVERHEAD);
    err = LK_OK;
out:
    EVP_CIPHER_free(cipher);
    EVP_CIPHER_CTX_free(ctx);
    ERR_pop_to_mark();
    if (err != LK_OK)
        lk_wipe(room.ptr, plain.len + LK_SEAL_OVERHEAD);
    return err;
}

enum lk_err
lk_crypto_unseal(const uint8_t key[32], struct lk_span bound, struct lk_span sealed,
                 struct lk_buf room, struct lk_span *out)
{
    EVP_CIPHER_CTX *ctx = NULL;
    EVP_CIPHER *cipher = NULL;
    uint8_t tag[GCM_TAG];
    size_t plain_len;
    int len = 0, final_len = 0;
    enum lk_err err = LK_ERR_CRYPTO;

    *out = (struct lk_span){NULL, 0};
    if (sealed.len < LK_SEAL_OVERHEAD)
        return LK_ERR_SIGNATURE;
    plain_len = sealed.len - LK_SEAL_OVERHEAD;
    if (plain_len > room.cap)
        return LK_ERR_NO_SPACE;
    if (plain_len > INT_MAX || bound.len > INT_MAX)
        return LK_ERR_LIMIT;
    memcpy(tag, sealed.ptr + GCM_NONCE + plain_len, GCM_TAG);
    ERR_set_mark();
    ctx = EVP_CIPHER_CTX_new();
    cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (ctx == NULL || cipher == NULL ||
        EVP_DecryptInit_ex2(ctx, cipher, key, sealed.ptr, NULL) != 1)
        goto out;
    if (bound.len > 0 && EVP_DecryptUpdate(ctx, NULL, &len, bound.ptr, (int)bound.len) != 1)
        goto out;
    len = 0;
    if (plain_len > 0 &&
        EVP_DecryptUpdate(ctx, room.ptr, &len, sealed.ptr + GCM_NONCE, (int)plain_len) != 1)
        goto out;
    if (EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, GCM_TAG, tag) != 1)
        goto out;
    err = LK_ERR_SIGNATURE;
    if (EVP_DecryptFinal_ex(ctx, plain_len > 0 ? room.ptr + len : tag, &final_len) != 1)
        goto out;
    *out = lk_span_of(room.ptr, plain_len);
    err = LK_OK;
out:
    EVP_CIPHER_free(cipher);
    EVP_CIPHER_CTX_free(ctx);
    ERR_pop_to_mark();
    if (err != LK_OK)
        lk_wipe(room.ptr, plain_len);
    return err;
}
