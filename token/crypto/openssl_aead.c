/*
 * The crypto port on OpenSSL 3: decryption of COSE's AEAD ciphers, AES-GCM and AES-CCM.
 */
#include "prepared.h"

#include <limits.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

/* Of OpenSSL's ciphers the mode and the key's length are in the name, the rest are parameters. */
static const struct {
    const char *name;
    bool is_ccm;
} ciphers[] = {
    [LK_AEAD_NONE] = {NULL, false},
    [LK_AEAD_A128GCM] = {"AES-128-GCM", false},
    [LK_AEAD_A192GCM] = {"AES-192-GCM", false},
    [LK_AEAD_A256GCM] = {"AES-256-GCM", false},
    [LK_AEAD_CCM_16_64_128] = {"AES-128-CCM", true},
    [LK_AEAD_CCM_16_64_256] = {"AES-256-CCM", true},
    [LK_AEAD_CCM_64_64_128] = {"AES-128-CCM", true},
    [LK_AEAD_CCM_64_64_256] = {"AES-256-CCM", true},
    [LK_AEAD_CCM_16_128_128] = {"AES-128-CCM", true},
    [LK_AEAD_CCM_16_128_256] = {"AES-256-CCM", true},
    [LK_AEAD_CCM_64_128_128] = {"AES-128-CCM", true},
    [LK_AEAD_CCM_64_128_256] = {"AES-256-CCM", true},
};

/* What CCM's length field can count (RFC 3610 section 2.1); the others go as far as OpenSSL. */
static size_t
plain_max(size_t nonce_len)
{
    return nonce_len == 13 ? 0xffff : INT_MAX;
}

enum lk_err
lk_aead_key_check(const struct lk_key *key)
{
    struct lk_aead_sizes sizes = lk_aead_sizes_of(key->u.oct.cipher);

    if (sizes.key == 0)
        return LK_ERR_UNSUPPORTED;
    return key->u.oct.len == sizes.key ? LK_OK : LK_ERR_KEY;
}

/* GCM takes the pieces one by one. */
static bool
aad_update(EVP_CIPHER_CTX *ctx, const struct lk_span *aad, size_t count)
{
    int len = 0;

    for (size_t i = 0; i < count; i++)
        if (aad[i].len > 0 && EVP_DecryptUpdate(ctx, NULL, &len, aad[i].ptr, (int)aad[i].len) != 1)
            return false;
    return true;
}

/* CCM puts the length of it all in front, so OpenSSL wants it in one piece. */
static bool
aad_update_joined(EVP_CIPHER_CTX *ctx, const struct lk_span *aad, size_t count, size_t total)
{
    uint8_t *joined = OPENSSL_malloc(total + 1);
    size_t at = 0;
    int len = 0;
    bool ok;

    if (joined == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (aad[i].len > 0)
            memcpy(joined + at, aad[i].ptr, aad[i].len);
        at += aad[i].len;
    }
    ok = total == 0 || EVP_DecryptUpdate(ctx, NULL, &len, joined, (int)total) == 1;
    OPENSSL_free(joined);
    return ok;
}

/* Key, nonce and tag. CCM must have the lengths before the key, and the tag before the text. */
static bool
context_fill(EVP_CIPHER_CTX *ctx, const EVP_CIPHER *cipher, const struct lk_key *key,
             struct lk_span nonce, struct lk_span tag)
{
    uint8_t copy[16];

    memcpy(copy, tag.ptr, tag.len);
    return EVP_DecryptInit_ex2(ctx, cipher, NULL, NULL, NULL) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, (int)nonce.len, NULL) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, (int)tag.len, copy) == 1 &&
           EVP_DecryptInit_ex2(ctx, NULL, key->u.oct.k, nonce.ptr, NULL) == 1;
}

/* The tag is checked at the end, over all that went in. */
static enum lk_err
gcm_run(EVP_CIPHER_CTX *ctx, const struct lk_span *aad, size_t aad_count, struct lk_span text,
        uint8_t *plain)
{
    uint8_t none[16];
    int len = 0;

    if (!aad_update(ctx, aad, aad_count) ||
        (text.len > 0 && EVP_DecryptUpdate(ctx, plain, &len, text.ptr, (int)text.len) != 1))
        return LK_ERR_CRYPTO;
    return EVP_DecryptFinal_ex(ctx, none, &len) == 1 ? LK_OK : LK_ERR_SIGNATURE;
}

/* The length is said first; the tag is checked by the one call that decrypts. */
static enum lk_err
ccm_run(EVP_CIPHER_CTX *ctx, const struct lk_span *aad, size_t aad_count, size_t aad_len,
        struct lk_span text, uint8_t *plain)
{
    uint8_t none[1];
    int len = 0;

    /* OpenSSL would take a room that is NULL as "this is aad", and check no tag. */
    if (text.len == 0)
        plain = none;
    if (EVP_DecryptUpdate(ctx, NULL, &len, NULL, (int)text.len) != 1 ||
        !aad_update_joined(ctx, aad, aad_count, aad_len))
        return LK_ERR_CRYPTO;
    return EVP_DecryptUpdate(ctx, plain, &len, text.ptr, (int)text.len) == 1 ? LK_OK
                                                                             : LK_ERR_SIGNATURE;
}

static enum lk_err
decrypt(const struct lk_key *key, struct lk_span nonce, const struct lk_span *aad, size_t aad_count,
        size_t aad_len, struct lk_span text, struct lk_span tag, uint8_t *plain)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, ciphers[key->u.oct.cipher].name, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    enum lk_err err = LK_ERR_CRYPTO;

    if (cipher != NULL && ctx != NULL && context_fill(ctx, cipher, key, nonce, tag)) {
        if (ciphers[key->u.oct.cipher].is_ccm)
            err = ccm_run(ctx, aad, aad_count, aad_len, text, plain);
        else
            err = gcm_run(ctx, aad, aad_count, text, plain);
    }
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return err;
}

/* @return false if it is more than OpenSSL can count. */
static bool
aad_measure(const struct lk_span *aad, size_t count, size_t *total)
{
    *total = 0;
    for (size_t i = 0; i < count; i++) {
        if (aad[i].len > INT_MAX - *total)
            return false;
        *total += aad[i].len;
    }
    return true;
}

enum lk_err
lk_crypto_decrypt(const struct lk_key *key, struct lk_span nonce, const struct lk_span *aad,
                  size_t aad_count, struct lk_span sealed, struct lk_buf room,
                  struct lk_span *plain)
{
    struct lk_aead_sizes sizes;
    struct lk_span text, tag;
    size_t aad_len;
    enum lk_err err;

    *plain = (struct lk_span){NULL, 0};
    if (key->alg != LK_ALG_AEAD)
        return LK_ERR_KEY;
    if (key->prepared == NULL)
        return LK_ERR_STATE;
    if (aad_count > LK_PARTS_MAX)
        return LK_ERR_ARG;
    sizes = lk_aead_sizes_of(key->u.oct.cipher);
    if (nonce.len != sizes.nonce || sealed.len < sizes.tag)
        return LK_ERR_SIGNATURE;
    text = lk_span_of(sealed.ptr, sealed.len - sizes.tag);
    tag = lk_span_of(sealed.ptr + text.len, sizes.tag);
    if (text.len > plain_max(nonce.len) || !aad_measure(aad, aad_count, &aad_len))
        return LK_ERR_LIMIT;
    if (text.len > room.cap)
        return LK_ERR_NO_SPACE;
    ERR_set_mark();
    err = decrypt(key, nonce, aad, aad_count, aad_len, text, tag, room.ptr);
    ERR_pop_to_mark();
    if (err == LK_OK)
        *plain = lk_span_of(room.ptr, text.len);
    else if (text.len > 0)
        lk_wipe(room.ptr, text.len);
    return err;
}
