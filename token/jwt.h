/*
 * jwt.h - compact JWS (RFC 7515 section 7.1) with a JWT inside; private to the token library.
 */
#ifndef LK_JWT_H
#define LK_JWT_H

#include <latchkey/key.h>

struct lk_jwt {
    struct lk_span header, payload, signature; /* base64url, as received */
    struct lk_span signed_part;                /* header "." payload */
};

struct lk_jwt_header {
    enum lk_alg alg;
    struct lk_span kid, typ; /* absent: {NULL, 0} */
};

/** Split at two dots. @return LK_OK, LK_ERR_MALFORMED for another number. */
LK_MUST_CHECK enum lk_err lk_jwt_split(struct lk_span text, struct lk_jwt *jwt);

/**
 * Read a decoded header from a text that is lent and changed. Members but alg, kid, typ and crit
 * are passed over; keys and addresses of keys in it (jwk, jku, x5c, x5u) are never looked at.
 *
 * @return LK_OK, LK_ERR_ALG for none or one we do not take, LK_ERR_CRIT for any crit,
 *         LK_ERR_MISSING without alg, or the JSON reader's error.
 */
LK_MUST_CHECK enum lk_err lk_jwt_read_header(uint8_t *text, size_t len,
                                             struct lk_jwt_header *header);

/** Write header, payload and signature. @return LK_OK, LK_ERR_NO_SPACE, LK_ERR_UTF8 for the kid,
 *          or the error of signing. */
LK_MUST_CHECK enum lk_err lk_jwt_write(const struct lk_key *key, struct lk_span payload,
                                       struct lk_buf room, struct lk_span *out);

/** Is this typ, with or without "application/", the wanted one? Case does not matter. */
bool lk_jwt_typ_is(struct lk_span typ, struct lk_span wanted);

#endif
