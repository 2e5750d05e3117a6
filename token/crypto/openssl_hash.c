/*
 * Hashes, derivation and randomness, and the algorithms they are fetched from.
 */
#include "prepared.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#define HKDF_MAX ((size_t)255 * LK_SHA256_LEN)

const EVP_MD *
lk_fetched_sha256(void)
{
    static _Atomic(EVP_MD *) fetched;
    EVP_MD *md = atomic_load_explicit(&fetched, memory_order_acquire), *first = NULL;

    if (md != NULL)
        return md;
    md = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (md == NULL || atomic_compare_exchange_strong(&fetched, &first, md))
        return md;
    EVP_MD_free(md); /* another thread was first */
    return first;
}

const EVP_CIPHER *
lk_fetched_aes256gcm(void)
{
    static _Atomic(EVP_CIPHER *) fetched;
    EVP_CIPHER *cipher = atomic_load_explicit(&fetched, memory_order_acquire), *first = NULL;

    if (cipher != NULL)
        return cipher;
    cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (cipher == NULL || atomic_compare_exchange_strong(&fetched, &first, cipher))
        return cipher;
    EVP_CIPHER_free(cipher);
    return first;
}

/* HMAC with its digest and an empty key. */
static EVP_MAC_CTX *
hmac_make(void)
{
    /* OpenSSL takes a NULL key as "keep the one that is set". */
    static const uint8_t nothing[1];
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;

    EVP_MAC_free(mac); /* the context holds it */
    if (ctx != NULL && EVP_MAC_init(ctx, nothing, 0, params) != 1) {
        EVP_MAC_CTX_free(ctx);
        ctx = NULL;
    }
    return ctx;
}

static const EVP_MAC_CTX *
fetched_hmac(void)
{
    static _Atomic(EVP_MAC_CTX *) fetched;
    EVP_MAC_CTX *ctx = atomic_load_explicit(&fetched, memory_order_acquire), *first = NULL;

    if (ctx != NULL)
        return ctx;
    ctx = hmac_make();
    if (ctx == NULL || atomic_compare_exchange_strong(&fetched, &first, ctx))
        return ctx;
    EVP_MAC_CTX_free(ctx);
    return first;
}

EVP_MAC_CTX *
lk_hmac_new(struct lk_span key)
{
    const EVP_MAC_CTX *empty = fetched_hmac();
    EVP_MAC_CTX *ctx = empty != NULL ? EVP_MAC_CTX_dup(empty) : NULL;

    if (ctx == NULL || key.len == 0 || EVP_MAC_init(ctx, key.ptr, key.len, NULL) == 1)
        return ctx;
    EVP_MAC_CTX_free(ctx);
    return NULL;
}

bool
lk_hmac_run(EVP_MAC_CTX *ctx, const struct lk_span *parts, size_t part_count,
            uint8_t tag[LK_SHA256_LEN])
{
    /* No key: the one it has. */
    bool ok = EVP_MAC_init(ctx, NULL, 0, NULL) == 1;
    size_t len = 0;

    for (size_t i = 0; ok && i < part_count; i++)
        ok = parts[i].len == 0 || EVP_MAC_update(ctx, parts[i].ptr, parts[i].len) == 1;
    ok = ok && EVP_MAC_final(ctx, tag, &len, LK_SHA256_LEN) == 1 && len == LK_SHA256_LEN;
    if (!ok)
        lk_wipe(tag, LK_SHA256_LEN);
    return ok;
}

bool
lk_hash_run(EVP_MD_CTX *ctx, const struct lk_span *parts, size_t part_count,
            uint8_t hash[LK_SHA256_LEN])
{
    const EVP_MD *md = lk_fetched_sha256();
    bool ok = md != NULL && EVP_DigestInit_ex2(ctx, md, NULL) == 1;
    unsigned len = 0;

    for (size_t i = 0; ok && i < part_count; i++)
        ok = parts[i].len == 0 || EVP_DigestUpdate(ctx, parts[i].ptr, parts[i].len) == 1;
    ok = ok && EVP_DigestFinal_ex(ctx, hash, &len) == 1 && len == LK_SHA256_LEN;
    if (!ok)
        lk_wipe(hash, LK_SHA256_LEN);
    return ok;
}

enum lk_err
lk_crypto_sha256(struct lk_span in, uint8_t out[LK_SHA256_LEN])
{
    const EVP_MD *md;
    unsigned len = 0;
    bool ok;

    ERR_set_mark();
    md = lk_fetched_sha256();
    ok = md != NULL && EVP_Digest(in.ptr, in.len, out, &len, md, NULL) == 1 && len == LK_SHA256_LEN;
    ERR_pop_to_mark();
    if (!ok)
        lk_wipe(out, LK_SHA256_LEN);
    return ok ? LK_OK : LK_ERR_CRYPTO;
}

enum lk_err
lk_crypto_hmac_sha256(struct lk_span key, const struct lk_span *parts, size_t part_count,
                      uint8_t out[LK_SHA256_LEN])
{
    EVP_MAC_CTX *ctx;
    bool ok;

    if (part_count > LK_PARTS_MAX) {
        lk_wipe(out, LK_SHA256_LEN);
        return LK_ERR_ARG;
    }
    ERR_set_mark();
    ctx = lk_hmac_new(key);
    ok = ctx != NULL && lk_hmac_run(ctx, parts, part_count, out);
    EVP_MAC_CTX_free(ctx);
    ERR_pop_to_mark();
    if (!ok)
        lk_wipe(out, LK_SHA256_LEN);
    return ok ? LK_OK : LK_ERR_CRYPTO;
}

/* RFC 5869 section 2.3: each block is over the one before it, the info and a count. */
static bool
hkdf_expand(EVP_MAC_CTX *ctx, struct lk_span info, struct lk_buf out)
{
    uint8_t block[LK_SHA256_LEN], count = 0;
    size_t done = 0, block_len = 0;
    bool ok = true;

    while (ok && done < out.cap) {
        struct lk_span parts[] = {{block, block_len}, info, {&count, 1}};
        size_t take = out.cap - done < sizeof(block) ? out.cap - done : sizeof(block);

        count++;
        ok = lk_hmac_run(ctx, parts, 3, block);
        block_len = sizeof(block);
        memcpy(out.ptr + done, block, take);
        done += take;
    }
    lk_wipe(block, sizeof(block));
    return ok;
}

enum lk_err
lk_crypto_hkdf_sha256(struct lk_span key, struct lk_span salt, struct lk_span info,
                      struct lk_buf out)
{
    uint8_t secret[LK_SHA256_LEN];
    EVP_MAC_CTX *ctx = NULL;
    enum lk_err err;

    if (out.cap > HKDF_MAX)
        return LK_ERR_LIMIT;
    ERR_set_mark();
    err = lk_crypto_hmac_sha256(salt, &key, 1, secret);
    if (err == LK_OK) {
        ctx = lk_hmac_new(lk_span_of(secret, sizeof(secret)));
        if (ctx == NULL || !hkdf_expand(ctx, info, out))
            err = LK_ERR_CRYPTO;
    }
    EVP_MAC_CTX_free(ctx);
    ERR_pop_to_mark();
    if (err != LK_OK)
        lk_wipe(out.ptr, out.cap);
    lk_wipe(secret, sizeof(secret));
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
