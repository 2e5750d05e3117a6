/*
 * aead_make.h - encrypt for tests, with OpenSSL itself: the library only decrypts.
 */
#ifndef LK_TESTS_AEAD_MAKE_H
#define LK_TESTS_AEAD_MAKE_H

#include <string.h>

#include <openssl/evp.h>

#include <latchkey/key.h>

/* Ciphertext and tag. A failure ends the test program. */
static inline struct lk_span
aead_make(const struct lk_key *key, struct lk_span nonce, struct lk_span aad, struct lk_span plain,
          struct lk_buf room)
{
    struct lk_aead_sizes sizes = lk_aead_sizes_of(key->u.oct.cipher);
    bool ccm = strstr(lk_aead_name(key->u.oct.cipher), "CCM") != NULL;
    const EVP_CIPHER *gcms[] = {EVP_aes_128_gcm(), EVP_aes_192_gcm(), EVP_aes_256_gcm()};
    const EVP_CIPHER *ccms[] = {EVP_aes_128_ccm(), EVP_aes_192_ccm(), EVP_aes_256_ccm()};
    size_t row = sizes.key / 8u - 2u;
    const EVP_CIPHER *cipher = ccm ? ccms[row] : gcms[row];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t nothing[1] = {0};
    int len = 0, more = 0;
    bool ok;

    if (room.cap < plain.len + sizes.tag)
        abort();
    ok = EVP_EncryptInit_ex(ctx, cipher, NULL, NULL, NULL) == 1 &&
         EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_IVLEN, (int)nonce.len, NULL) == 1 &&
         (!ccm || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizes.tag, NULL) == 1) &&
         EVP_EncryptInit_ex(ctx, NULL, NULL, key->u.oct.k, nonce.ptr) == 1 &&
         (!ccm || EVP_EncryptUpdate(ctx, NULL, &len, NULL, (int)plain.len) == 1) &&
         (aad.len == 0 || EVP_EncryptUpdate(ctx, NULL, &len, aad.ptr, (int)aad.len) == 1) &&
         EVP_EncryptUpdate(ctx, room.ptr, &len, plain.len > 0 ? plain.ptr : nothing,
                           (int)plain.len) == 1 &&
         EVP_EncryptFinal_ex(ctx, room.ptr + plain.len, &more) == 1 &&
         EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, sizes.tag, room.ptr + plain.len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok)
        abort();
    return lk_span_of(room.ptr, plain.len + sizes.tag);
}

#endif
