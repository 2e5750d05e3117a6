#include "keys.h"

#include <stdlib.h>
#include <string.h>

#include <latchkey/jwk.h>

enum lk_err
keys_parse(uint8_t *text, size_t len, struct lk_key **keys, size_t *count)
{
    enum lk_err err;

    *count = 0;
    *keys = calloc(LK_KEYS_MAX, sizeof(struct lk_key));
    if (*keys == NULL)
        return LK_ERR_NOMEM;
    err = lk_jwks_read(text, len, *keys, LK_KEYS_MAX, count);
    if (err == LK_OK && *count == 0)
        err = LK_ERR_MISSING;
    if (err != LK_OK) {
        keys_free(*keys, *count);
        *keys = NULL;
        *count = 0;
    }
    return err;
}

void
keys_free(struct lk_key *keys, size_t count)
{
    for (size_t i = 0; keys != NULL && i < count; i++)
        lk_key_wipe(&keys[i]);
    free(keys);
}

/* What a signature depends on; not what a crypto library hangs on the key. */
static enum lk_err
key_print(const struct lk_key *key, uint8_t print[LK_SHA256_LEN])
{
    uint8_t head[8 + LK_KID_MAX] = {(uint8_t)key->alg, (uint8_t)key->issuer, (uint8_t)key->kid_len};
    struct lk_span parts[3] = {lk_span_of(head, sizeof(head))};

    memcpy(head + 8, key->kid, key->kid_len);
    switch (key->alg) {
    case LK_ALG_ES256:
        parts[1] = lk_span_of(key->u.ec.x, sizeof(key->u.ec.x));
        parts[2] = lk_span_of(key->u.ec.y, sizeof(key->u.ec.y));
        break;
    case LK_ALG_EDDSA:
        parts[1] = lk_span_of(key->u.okp.x, sizeof(key->u.okp.x));
        break;
    case LK_ALG_RS256:
        parts[1] = lk_span_of(key->u.rsa.n, key->u.rsa.n_len);
        parts[2] = lk_span_of(key->u.rsa.e, key->u.rsa.e_len);
        break;
    case LK_ALG_HS256:
    case LK_ALG_HS256_64:
    case LK_ALG_AEAD:
        parts[1] = lk_span_of(key->u.oct.k, key->u.oct.len);
        break;
    case LK_ALG_NONE:
        break;
    }
    /* An HMAC as a hash over parts: its key is public and empty. */
    return lk_crypto_hmac_sha256(LK_SPAN("latchkey-key-print"), parts, 3, print);
}

static uint64_t
known_serial(const struct keys *before, size_t before_count, const uint8_t print[LK_SHA256_LEN])
{
    for (size_t i = 0; i < before_count; i++)
        if (memcmp(before->known[i].print, print, LK_SHA256_LEN) == 0)
            return before->known[i].serial;
    return 0;
}

enum lk_err
keys_adopt(struct keys *k, uint32_t issuer, struct lk_key *keys, size_t count)
{
    struct keys *before = malloc(sizeof(*before));
    size_t before_count = k->set.count;
    enum lk_err err = LK_ERR_NOMEM;

    if (before == NULL)
        return err;
    memcpy(before->known, k->known, sizeof(before->known));
    err = lk_keyset_put(&k->set, issuer, keys, count);
    if (err != LK_OK)
        goto out;
    memset(k->known, 0, sizeof(k->known));
    for (size_t i = 0; i < k->set.count; i++) {
        /* Without a print the serial stays 0, which the cache never takes. */
        if (key_print(&k->set.keys[i], k->known[i].print) != LK_OK ||
            revocation_kid_print(lk_key_kid(&k->set.keys[i]), k->known[i].kid) != LK_OK)
            continue;
        k->known[i].serial = known_serial(before, before_count, k->known[i].print);
        if (k->known[i].serial == 0)
            k->known[i].serial = ++k->next_serial;
    }
out:
    free(before);
    return err;
}

uint64_t
keys_serial(const struct keys *k, const struct lk_key *key)
{
    return k->known[key - k->set.keys].serial;
}

const uint8_t *
keys_kid(const struct keys *k, const struct lk_key *key)
{
    return k->known[key - k->set.keys].kid;
}

static void
drop(struct keys *k, size_t at)
{
    size_t last = k->set.count - 1;

    lk_key_wipe(&k->set.keys[at]);
    if (at != last) {
        k->set.keys[at] = k->set.keys[last];
        k->known[at] = k->known[last];
    }
    /* Not lk_key_wipe: what is prepared lives on in its new place. */
    lk_wipe(&k->set.keys[last], sizeof(k->set.keys[last]));
    memset(&k->known[last], 0, sizeof(k->known[last]));
    k->set.count = last;
}

size_t
keys_drop_revoked(struct keys *k, const struct revocations *revoked)
{
    uint8_t key[REVOCATION_KEY_LEN];
    size_t gone = 0;

    for (size_t i = k->set.count; i-- > 0;) {
        revocation_kid_key(k->known[i].kid, key);
        if (revocations_has(revoked, REVOCATION_KID, key, 0)) {
            drop(k, i);
            gone++;
        }
    }
    return gone;
}

void
keys_wipe(struct keys *k)
{
    lk_keyset_wipe(&k->set);
    lk_wipe(k, sizeof(*k));
}
