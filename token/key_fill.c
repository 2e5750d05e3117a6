#include "key_fill.h"

#include <string.h>

/* The algorithm a key is for. Only an oct key must say it: it could be for anything. */
static enum lk_err
alg_choose(const struct lk_key_members *m, enum lk_alg *alg)
{
    static const enum lk_alg natural[] = {
        [LK_KTY_EC] = LK_ALG_ES256,
        [LK_KTY_OKP] = LK_ALG_EDDSA,
        [LK_KTY_OCT] = LK_ALG_HS256,
        [LK_KTY_RSA] = LK_ALG_RS256,
    };

    *alg = natural[m->kty];
    if (!m->has_alg)
        return m->kty == LK_KTY_OCT ? LK_ERR_MISSING : LK_OK;
    if (m->alg == LK_ALG_NONE)
        return LK_ERR_UNSUPPORTED;
    if (m->kty == LK_KTY_OCT && (m->alg == LK_ALG_HS256_64 || m->alg == LK_ALG_AEAD))
        *alg = m->alg;
    return *alg == m->alg ? LK_OK : LK_ERR_MALFORMED;
}

/* A number of fixed width: leading zeros stay (RFC 7518 section 6.2.1.2, RFC 9053 section 7.1). */
static enum lk_err
fixed_copy(uint8_t out[32], struct lk_span in)
{
    if (in.ptr == NULL)
        return LK_ERR_MISSING;
    if (in.len != 32)
        return LK_ERR_MALFORMED;
    memcpy(out, in.ptr, 32);
    return LK_OK;
}

/* A number without leading zeros; some writers put one there all the same. */
static enum lk_err
number_copy(uint8_t *out, size_t cap, size_t *len, struct lk_span in)
{
    if (in.ptr == NULL)
        return LK_ERR_MISSING;
    while (in.len > 0 && in.ptr[0] == 0)
        in = lk_span_of(in.ptr + 1, in.len - 1);
    if (in.len == 0)
        return LK_ERR_MALFORMED;
    if (in.len > cap)
        return LK_ERR_LIMIT;
    memcpy(out, in.ptr, in.len);
    *len = in.len;
    return LK_OK;
}

static enum lk_err
numbers_copy(struct lk_key *key, const struct lk_key_members *m)
{
    enum lk_err err = LK_ERR_UNSUPPORTED;

    switch (m->kty) {
    case LK_KTY_EC:
        err = fixed_copy(key->u.ec.x, m->x);
        if (err == LK_OK)
            err = fixed_copy(key->u.ec.y, m->y);
        if (err == LK_OK && key->has_private)
            err = fixed_copy(key->u.ec.d, m->d);
        break;
    case LK_KTY_OKP:
        err = fixed_copy(key->u.okp.x, m->x);
        if (err == LK_OK && key->has_private)
            err = fixed_copy(key->u.okp.d, m->d);
        break;
    case LK_KTY_OCT:
        if (m->k.ptr == NULL)
            return LK_ERR_MISSING;
        if (m->k.len > sizeof(key->u.oct.k))
            return LK_ERR_LIMIT;
        if (m->k.len > 0)
            memcpy(key->u.oct.k, m->k.ptr, m->k.len);
        key->u.oct.len = m->k.len;
        key->u.oct.cipher = m->cipher;
        err = LK_OK;
        break;
    case LK_KTY_RSA:
        err = number_copy(key->u.rsa.n, sizeof(key->u.rsa.n), &key->u.rsa.n_len, m->n);
        if (err == LK_OK)
            err = number_copy(key->u.rsa.e, sizeof(key->u.rsa.e), &key->u.rsa.e_len, m->e);
        break;
    }
    return err;
}

enum lk_err
lk_key_fill(struct lk_key *key, const struct lk_key_members *m)
{
    enum lk_err err;

    memset(key, 0, sizeof(*key));
    err = alg_choose(m, &key->alg);
    if (err == LK_OK && m->kid.len > sizeof(key->kid))
        err = LK_ERR_LIMIT;
    if (err == LK_OK) {
        if (m->kid.len > 0)
            memcpy(key->kid, m->kid.ptr, m->kid.len);
        key->kid_len = m->kid.len;
        /* An RSA key only verifies here, whatever else the JWK holds. */
        key->has_private = m->kty == LK_KTY_OCT || (m->kty != LK_KTY_RSA && m->d.ptr != NULL);
        err = numbers_copy(key, m);
    }
    if (err != LK_OK)
        lk_wipe(key, sizeof(*key));
    return err;
}

enum lk_err
lk_keys_append(struct lk_key *keys, size_t max, size_t *count, struct lk_key *key)
{
    enum lk_err err = *count < max ? LK_OK : LK_ERR_LIMIT;

    for (size_t i = 0; i < *count && err == LK_OK; i++) {
        if (lk_span_equal(lk_key_kid(&keys[i]), lk_key_kid(key)))
            err = LK_ERR_DUPLICATE;
        else if (lk_alg_is_symmetric(keys[i].alg) != lk_alg_is_symmetric(key->alg))
            err = LK_ERR_MALFORMED;
    }
    if (err == LK_OK)
        err = lk_key_open(key);
    if (err == LK_OK)
        keys[(*count)++] = *key;
    else
        lk_key_wipe(key);
    lk_wipe(key, sizeof(*key));
    return err;
}
