#include "ring.h"

#include <stdlib.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/crypto.h>
#include <latchkey/host/log.h>
#include <latchkey/jwk.h>

/* Sealed form: x || y || d for ES256, x || d for EdDSA. */
#define KEY_BYTES_MAX 96
#define JWK_TEXT_MAX  512
#define KID_BYTES     8 /* of the thumbprint: 11 characters */

struct ring {
    struct lk_keyset set;
    const struct lk_key *signer;
    size_t jwks_len;
    uint8_t jwks[LK_KEYS_MAX * JWK_TEXT_MAX];
};

/* --- Bytes of a key ------------------------------------------------------------------------- */

static size_t
key_export(const struct lk_key *key, uint8_t out[KEY_BYTES_MAX])
{
    if (key->alg == LK_ALG_ES256) {
        memcpy(out, key->u.ec.x, 32);
        memcpy(out + 32, key->u.ec.y, 32);
        memcpy(out + 64, key->u.ec.d, 32);
        return 96;
    }
    if (key->alg == LK_ALG_EDDSA) {
        memcpy(out, key->u.okp.x, 32);
        memcpy(out + 32, key->u.okp.d, 32);
        return 64;
    }
    return 0;
}

static enum lk_err
key_import(enum lk_alg alg, struct lk_span bytes, struct lk_key *key)
{
    memset(key, 0, sizeof(*key));
    key->alg = alg;
    key->has_private = true;
    if (alg == LK_ALG_ES256 && bytes.len == 96) {
        memcpy(key->u.ec.x, bytes.ptr, 32);
        memcpy(key->u.ec.y, bytes.ptr + 32, 32);
        memcpy(key->u.ec.d, bytes.ptr + 64, 32);
        return LK_OK;
    }
    if (alg == LK_ALG_EDDSA && bytes.len == 64) {
        memcpy(key->u.okp.x, bytes.ptr, 32);
        memcpy(key->u.okp.d, bytes.ptr + 32, 32);
        return LK_OK;
    }
    return LK_ERR_KEY;
}

/* --- Making one ------------------------------------------------------------------------------ */

static enum lk_err
kid_make(struct lk_key *key)
{
    uint8_t print[32];
    struct lk_span kid;
    enum lk_err err = lk_jwk_thumbprint(key, print);

    if (err == LK_OK)
        err = lk_base64url_encode(lk_span_of(print, KID_BYTES), LK_BUF_OF(key->kid), &kid);
    if (err == LK_OK)
        key->kid_len = kid.len;
    return err;
}

static enum lk_err
key_put(struct store_db *db, void *arg)
{
    return store_key_put(db, arg);
}

enum lk_err
ring_generate(struct store *store, const struct seal *seal, enum lk_alg alg, int64_t now_s)
{
    struct lk_key key;
    struct store_key row = {.alg = (int)alg, .signs = true, .created_s = now_s};
    uint8_t plain[KEY_BYTES_MAX], sealed[KEY_BYTES_MAX + LK_SEAL_OVERHEAD];
    size_t len;
    enum lk_err err = lk_crypto_generate(alg, &key);

    if (err != LK_OK)
        return err;
    err = kid_make(&key);
    if (err != LK_OK)
        goto out;
    memcpy(row.kid, key.kid, key.kid_len);
    len = key_export(&key, plain);
    err = seal_put(seal, SEAL_SIGNING_KEY, lk_key_kid(&key), lk_span_of(plain, len),
                   LK_BUF_OF(sealed), &row.sealed);
    if (err == LK_OK)
        err = store_write_wait(store, key_put, &row);
out:
    lk_wipe(plain, sizeof(plain));
    lk_key_wipe(&key);
    return err;
}

/* --- Loading -----------------------------------------------------------------------------------
 */

struct loading {
    const struct seal *seal;
    struct lk_key keys[LK_KEYS_MAX];
    size_t count;
    char signer[LK_KID_MAX + 1]; /* the newest one that signs */
};

static enum lk_err
key_load(const struct store_key *row, void *arg)
{
    struct loading *l = arg;
    struct lk_key *key = &l->keys[l->count];
    uint8_t room[KEY_BYTES_MAX];
    struct lk_span plain;
    enum lk_err err;

    if (l->count == LK_KEYS_MAX)
        return LK_ERR_LIMIT;
    err = seal_get(l->seal, SEAL_SIGNING_KEY, lk_span_text(row->kid), row->sealed, LK_BUF_OF(room),
                   &plain);
    if (err == LK_OK)
        err = key_import((enum lk_alg)row->alg, plain, key);
    if (err == LK_OK) {
        key->kid_len = strlen(row->kid);
        memcpy(key->kid, row->kid, key->kid_len);
        err = lk_key_open(key);
    }
    lk_wipe(room, sizeof(room));
    if (err != LK_OK) {
        lk_log(LK_LOG_ERROR, "keys kid=%s err=%s %s", lk_log_text(row->kid), lk_err_name(err),
               err == LK_ERR_SIGNATURE ? "the master key is not the one this key was sealed with"
                                       : lk_err_text(err));
        lk_key_wipe(key);
        return err;
    }
    l->count++;
    if (row->signs)
        memcpy(l->signer, row->kid, sizeof(l->signer));
    return LK_OK;
}

static enum lk_err
jwks_write(struct ring *ring)
{
    struct lk_json_out w;
    struct lk_span text;
    enum lk_err err;

    lk_json_write_open(&w, LK_BUF_OF(ring->jwks));
    lk_json_write_object(&w);
    lk_json_write_name(&w, "keys");
    lk_json_write_array(&w);
    for (size_t i = 0; i < ring->set.count; i++)
        lk_jwk_write_public(&w, &ring->set.keys[i]);
    lk_json_write_array_end(&w);
    lk_json_write_object_end(&w);
    err = lk_json_write_close(&w, &text);
    ring->jwks_len = text.len;
    return err;
}

enum lk_err
ring_open(struct store_db *db, const struct seal *seal, struct ring **out)
{
    struct ring *ring = calloc(1, sizeof(*ring));
    struct loading *l = calloc(1, sizeof(*l));
    enum lk_err err = LK_ERR_NOMEM;

    *out = NULL;
    if (ring == NULL || l == NULL)
        goto out;
    l->seal = seal;
    err = store_key_list(db, key_load, l);
    if (err == LK_OK)
        err = lk_keyset_put(&ring->set, 0, l->keys, l->count);
    if (err == LK_OK)
        l->count = 0; /* moved */
    if (err == LK_OK)
        err = jwks_write(ring);
    if (err != LK_OK)
        goto out;
    ring->signer =
        l->signer[0] == '\0' ? NULL : lk_keyset_get(&ring->set, 0, lk_span_text(l->signer));
    if (ring->signer == NULL) {
        err = LK_ERR_NOT_FOUND;
        goto out;
    }
    *out = ring;
    ring = NULL;
out:
    for (size_t i = 0; l != NULL && i < l->count; i++)
        lk_key_wipe(&l->keys[i]);
    free(l);
    ring_close(ring);
    return err;
}

void
ring_close(struct ring *ring)
{
    if (ring == NULL)
        return;
    lk_keyset_wipe(&ring->set);
    free(ring);
}

const struct lk_key *
ring_signer(const struct ring *ring)
{
    return ring->signer;
}

const struct lk_keyset *
ring_keys(const struct ring *ring)
{
    return &ring->set;
}

struct lk_span
ring_jwks(const struct ring *ring)
{
    return lk_span_of(ring->jwks, ring->jwks_len);
}
