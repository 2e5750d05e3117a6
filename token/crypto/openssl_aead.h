/*
 * openssl_aead.h - what the OpenSSL port's two files share.
 */
#ifndef LK_OPENSSL_AEAD_H
#define LK_OPENSSL_AEAD_H

#include <latchkey/crypto.h>

/** Is an LK_ALG_AEAD key as long as its cipher wants? LK_OK, LK_ERR_KEY, LK_ERR_UNSUPPORTED. */
enum lk_err aead_key_check(const struct lk_key *key);

#endif
