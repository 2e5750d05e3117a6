#include "ring.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/crypto.h>
#include <latchkey/host/log.h>
#include <latchkey/jwk.h>

#define JWK_TEXT_MAX 512
#define KID_BYTES    8 /* of the thumbprint: 11 characters */

struct ring {
    atomic_uint holders;
    struct lk_keyset set;
    size_t signer_count; /* in the order in which they begin to sign */
    struct {
        const struct lk_key *key;
        int64_t from_s;
    } signer[KEYS_MAX];
    size_t jwks_len;
    uint8_t jwks[KEYS_MAX * JWK_TEXT_MAX];
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

static void
ring_free(struct ring *ring)
{
    if (ring == NULL)
        return;
    lk_keyset_wipe(&ring->set);
    free(ring);
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
    const struct ring_key *made = arg;

    return store_key_put(db, &made->row);
}

enum lk_err
ring_make(const struct seal *seal, enum lk_alg alg, int64_t now_s, int64_t signs_from_s,
          struct ring_key *out)
{
    struct lk_key key;
    uint8_t plain[KEY_BYTES_MAX];
    size_t len;
    enum lk_err err = lk_crypto_generate(alg, &key);

    memset(out, 0, sizeof(*out));
    if (err != LK_OK)
        return err;
    err = kid_make(&key);
    if (err != LK_OK)
        goto out;
    out->row = (struct store_key){
        .alg = (int)alg, .signs = true, .created_s = now_s, .signs_from_s = signs_from_s};
    memcpy(out->row.kid, key.kid, key.kid_len);
    len = key_export(&key, plain);
    err = seal_put(seal, SEAL_SIGNING_KEY, lk_key_kid(&key), lk_span_of(plain, len),
                   LK_BUF_OF(out->sealed), &out->row.sealed);
out:
    lk_wipe(plain, sizeof(plain));
    lk_key_wipe(&key);
    return err;
}

enum lk_err
ring_generate(struct store *store, const struct seal *seal, enum lk_alg alg, int64_t now_s)
{
    struct ring_key made;
    enum lk_err err = ring_make(seal, alg, now_s, now_s, &made);

    return err == LK_OK ? store_write_wait(store, key_put, &made) : err;
}

/* --- Loading -----------------------------------------------------------------------------------
 */

struct loading {
    const struct seal *seal;
    struct lk_key keys[KEYS_MAX];
    size_t count;
    size_t signer_count;
    struct {
        char kid[LK_KID_MAX + 1];
        int64_t from_s;
    } signer[KEYS_MAX];
};

static enum lk_err
key_load(const struct store_key *row, void *arg)
{
    struct loading *l = arg;
    struct lk_key *key = &l->keys[l->count];
    uint8_t room[KEY_BYTES_MAX];
    struct lk_span plain;
    enum lk_err err;

    if (l->count == KEYS_MAX)
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
    if (row->signs) {
        memcpy(l->signer[l->signer_count].kid, row->kid, sizeof(row->kid));
        l->signer[l->signer_count++].from_s = row->signs_from_s;
    }
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

static void
signers_put(struct ring *ring, const struct loading *l)
{
    for (size_t i = 0; i < l->signer_count; i++) {
        ring->signer[i].key = lk_keyset_get(&ring->set, 0, lk_span_text(l->signer[i].kid));
        ring->signer[i].from_s = l->signer[i].from_s;
    }
    ring->signer_count = l->signer_count;
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
    signers_put(ring, l);
    if (ring->signer_count == 0) {
        err = LK_ERR_NOT_FOUND;
        goto out;
    }
    atomic_init(&ring->holders, 1);
    *out = ring;
    ring = NULL;
out:
    for (size_t i = 0; l != NULL && i < l->count; i++)
        lk_key_wipe(&l->keys[i]);
    free(l);
    ring_free(ring);
    return err;
}

void
ring_hold(struct ring *ring)
{
    atomic_fetch_add(&ring->holders, 1);
}

void
ring_close(struct ring *ring)
{
    if (ring != NULL && atomic_fetch_sub(&ring->holders, 1) == 1)
        ring_free(ring);
}

const struct lk_key *
ring_signer(const struct ring *ring, int64_t now_s)
{
    size_t at = 0; /* a clock that was set back must not leave us without a key */

    while (at + 1 < ring->signer_count && ring->signer[at + 1].from_s <= now_s)
        at++;
    return ring->signer[at].key;
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
