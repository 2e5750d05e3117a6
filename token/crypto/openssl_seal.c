/*
 * Secrets at rest: AES-256-GCM.
 */
#include "prepared.h"

#include <limits.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/rand.h>

#define GCM_NONCE 12
#define GCM_TAG   16

enum lk_err
lk_crypto_seal(const uint8_t key[32], struct lk_span bound, struct lk_span plain,
               struct lk_buf room, struct lk_span *out)
{
    EVP_CIPHER_CTX *ctx = NULL;
    const EVP_CIPHER *cipher;
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
    cipher = lk_fetched_aes256gcm();
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
    const EVP_CIPHER *cipher;
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
    cipher = lk_fetched_aes256gcm();
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
    EVP_CIPHER_CTX_free(ctx);
    ERR_pop_to_mark();
    if (err != LK_OK)
        lk_wipe(room.ptr, plain_len);
    return err;
}
