/*
 * keys.h - the keys of `token verify --jwks FILE`.
 */
#ifndef LATCHKEY_CLI_KEYS_H
#define LATCHKEY_CLI_KEYS_H

#include "message.h"

struct keys {
    struct lk_key key[KEYS_MAX];
    size_t count;
};

/**
 * Read a JWKS or a single JWK, a COSE_KeySet or a single COSE_Key, these as raw bytes or hex. A key
 * we cannot use is left out with a note (RFC 7517 section 5, RFC 9052 section 7).
 * A symmetric key without `alg` is taken for HMAC 256/256 and for HMAC 256/64: whoever names a key
 * file by hand has chosen, and the two cannot be mistaken for a public key. A key that decrypts
 * must say so; it may stand beside others, since no signature is ever verified with it.
 */
int keys_read(const struct cli *cli, const char *path, struct keys *keys);

void keys_wipe(struct keys *keys);

/**
 * Open an encrypted message with the keys that come into question, as keys_verify().
 * @return LK_OK; LK_ERR_SIGNATURE if none of them opens it; LK_ERR_ALG; LK_ERR_KEY; the errors of
 * message_open().
 */
LK_MUST_CHECK enum lk_err keys_open(const struct keys *keys, struct message *m,
                                    struct lk_span external_aad);

/**
 * Verify with the keys that come into question: of the message's algorithm, with its key id or
 * without any.
 * @return LK_OK; LK_ERR_SIGNATURE if there were such keys; LK_ERR_ALG if the key with this id is
 * for another algorithm; LK_ERR_KEY.
 */
LK_MUST_CHECK enum lk_err keys_verify(const struct keys *keys, struct message *m,
                                      struct lk_span external_aad);

#endif
