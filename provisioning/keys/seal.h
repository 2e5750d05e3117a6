/*
 * provisioning/keys/seal.h - the master key: what is sealed under it, and what is derived from it.
 *
 * The master key is 32 random bytes, kept as 43 base64url characters in a file of mode 0600. Each
 * use has a key of its own (HKDF), so a sealed value of one kind never opens as another.
 */
#ifndef PROVISIONING_SEAL_H
#define PROVISIONING_SEAL_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>

struct seal;

enum seal_use {
    SEAL_SIGNING_KEY, /* private signing keys */
    SEAL_PSK,         /* DTLS keys of devices */
    SEAL_ANSWER,      /* answers kept for Idempotency-Key */
    SEAL_REFRESH,     /* MAC of refresh tokens: seal_key() only */
    SEAL_USES
};

/** Write a new master key; LK_ERR_EXISTS if the file is there. */
LK_MUST_CHECK enum lk_err seal_create(const char *path);

/** @return LK_ERR_NOT_FOUND, LK_ERR_PERMISSION (others can read it), LK_ERR_BASE64, ... */
LK_MUST_CHECK enum lk_err seal_open(const char *path, struct seal **out);
/** From 32 bytes: for tests. */
LK_MUST_CHECK enum lk_err seal_new(const uint8_t master[32], struct seal **out);
void seal_free(struct seal *seal); /* wipes; NULL is fine */

/** @param bound  what the value belongs to (a kid, an id); the same is needed to open it.
 *  @param room  plain.len + LK_SEAL_OVERHEAD. */
LK_MUST_CHECK enum lk_err seal_put(const struct seal *seal, enum seal_use use, struct lk_span bound,
                                   struct lk_span plain, struct lk_buf room, struct lk_span *out);
LK_MUST_CHECK enum lk_err seal_get(const struct seal *seal, enum seal_use use, struct lk_span bound,
                                   struct lk_span sealed, struct lk_buf room, struct lk_span *out);

/** The 32-byte key of a use. */
struct lk_span seal_key(const struct seal *seal, enum seal_use use);

#endif
