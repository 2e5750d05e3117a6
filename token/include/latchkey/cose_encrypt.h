/*
 * latchkey/cose_encrypt.h - COSE_Encrypt0 (RFC 9052 section 5.2), read and decrypted.
 *
 * As strict as cose.h: a label twice or in both buckets, an unknown `crit`, `alg` outside the
 * protected bucket, a ciphertext that is not there are all refused. The nonce is the IV (label 5),
 * in either bucket, as long as the cipher's; a Partial IV is not put together with a Base IV.
 * Spans point into the message.
 */
#ifndef LATCHKEY_COSE_ENCRYPT_H
#define LATCHKEY_COSE_ENCRYPT_H

#include <latchkey/key.h>

struct lk_cose_encrypt0 {
    bool cwt_tag;  /* tag 61 was there */
    bool cose_tag; /* tag 16 was there */
    enum lk_aead cipher;
    struct lk_span kid;        /* absent: {NULL, 0} */
    struct lk_span protected_; /* content of the byte string; empty for 40 and for 41 a0 */
    struct lk_span iv;
    struct lk_span ciphertext; /* its tag at the end */
};

/** Has the message tag 16, by itself or within tag 61? Looks at the tags only. */
bool lk_cose_is_encrypt0(struct lk_span message);

/**
 * Read a message without trusting it.
 *
 * @param untagged  Take a message without tag 16; else it is LK_ERR_TYPE.
 * @return LK_OK, LK_ERR_ALG for a cipher we do not take, LK_ERR_CRIT, LK_ERR_DUPLICATE,
 *         LK_ERR_MALFORMED (also for an IV of another length), LK_ERR_TYPE, LK_ERR_MISSING (no alg,
 *         no IV, no ciphertext), LK_ERR_UNSUPPORTED (Partial IV, another COSE structure), or the
 *         CBOR reader's error.
 */
LK_MUST_CHECK enum lk_err lk_cose_encrypt0_parse(struct lk_span message, bool untagged,
                                                 struct lk_cose_encrypt0 *out);

/**
 * Decrypt with an opened key.
 *
 * @param external_aad  often empty.
 * @param plain         [out] inside room; the ciphertext's length suffices. The caller wipes it.
 * @return LK_OK; LK_ERR_ALG unless the key is for the message's cipher; LK_ERR_SIGNATURE when it
 *         does not open; LK_ERR_NO_SPACE, LK_ERR_LIMIT, LK_ERR_STATE, LK_ERR_CRYPTO. On error
 *         nothing of the plaintext is left in room.
 */
LK_MUST_CHECK enum lk_err lk_cose_encrypt0_decrypt(const struct lk_cose_encrypt0 *message,
                                                   const struct lk_key *key,
                                                   struct lk_span external_aad, struct lk_buf room,
                                                   struct lk_span *plain);

#endif
