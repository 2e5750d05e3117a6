/*
 * key_fill.h - put the members of a JWK or a COSE_Key into a key; private to the token library.
 */
#ifndef LK_KEY_FILL_H
#define LK_KEY_FILL_H

#include <latchkey/key.h>

enum lk_kty { LK_KTY_EC, LK_KTY_OKP, LK_KTY_OCT, LK_KTY_RSA };

/* What was read, before anything of it is believed. Absent members are {NULL, 0}. */
struct lk_key_members {
    enum lk_kty kty;
    bool has_alg;
    enum lk_alg alg;
    struct lk_span kid;
    struct lk_span x, y, d; /* EC, OKP */
    struct lk_span k;       /* oct */
    struct lk_span n, e;    /* RSA */
};

/**
 * Check sizes and that kind and algorithm fit, and copy.
 * @return LK_OK; LK_ERR_UNSUPPORTED, LK_ERR_MISSING, LK_ERR_MALFORMED, LK_ERR_LIMIT with the key
 *         zeroed.
 */
LK_MUST_CHECK enum lk_err lk_key_fill(struct lk_key *key, const struct lk_key_members *m);

#endif
