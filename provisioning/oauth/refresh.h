/*
 * provisioning/oauth/refresh.h - refresh tokens: families that rotate (contracts section 8).
 *
 * A token is family (16) || counter (4, big-endian) || HMAC-SHA-256 of both (32), as base64url. The
 * key of the MAC comes from the master key, so nothing of a token is stored, any token of a family
 * can be computed again, and a forged one costs no look in the database.
 *
 *     1 ──used──▶ 2 ──used──▶ 3      the newest: the next one is given out
 *                 ▲           ▲
 *                 │           └ the newest
 *                 └ the one before: for 60 s gives the same 3 again, until 3 is used; then, or for
 *                   any older one, the family dies
 */
#ifndef PROVISIONING_REFRESH_H
#define PROVISIONING_REFRESH_H

#include "../keys/seal.h"
#include "../store/store.h"

#define REFRESH_BYTES (STORE_FAMILY_LEN + 4 + 32)
#define REFRESH_TEXT  70 /* characters */

struct refresh {
    uint8_t family[STORE_FAMILY_LEN];
    uint32_t counter;
};

enum refresh_verdict {
    REFRESH_ROTATED,  /* the newest was used: the family now has another newest */
    REFRESH_REPEATED, /* the one before, in its grace: the newest is given out once more */
    REFRESH_REUSED,   /* an old one: the family is revoked now */
    REFRESH_DEAD      /* expired or revoked before */
};

/** Raw bytes and text alike; LK_ERR_CREDENTIAL for anything that is not a token of ours. */
LK_MUST_CHECK enum lk_err refresh_parse(const struct seal *seal, struct lk_span token,
                                        struct refresh *out);

LK_MUST_CHECK enum lk_err refresh_write(const struct seal *seal, const struct refresh *refresh,
                                        uint8_t out[REFRESH_BYTES]);

/** Decide, and change the family as decided. Only computes. */
enum refresh_verdict refresh_judge(struct store_family *family, uint32_t counter, int64_t now_ms,
                                   int64_t lifetime_s, int64_t grace_s);

#endif
