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
    enum lk_aead cipher; /* where alg is LK_ALG_AEAD */
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

/**
 * Open a key and move it behind the ones of a set. Two keys with one kid, or public and secret keys
 * in one set, could be mistaken for each other.
 * @return LK_OK; LK_ERR_LIMIT, LK_ERR_DUPLICATE, LK_ERR_MALFORMED (mixed), or the error of opening.
 *         The key is wiped in every case, the set changed only on success.
 */
LK_MUST_CHECK enum lk_err lk_keys_append(struct lk_key *keys, size_t max, size_t *count,
                                         struct lk_key *key);

#endif
