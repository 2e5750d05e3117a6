#include <latchkey/cose_key.h>

#include "cose_key_labels.h"
#include "key_fill.h"

#include <string.h>

#include <latchkey/crypto.h>

/* bytes: the modulus and exponent of RSA-4096, and heads */
#define THUMBPRINT_ROOM (LK_RSA_MODULUS_MAX + 64)

bool
lk_cose_key_permits(struct lk_cbor *r, int64_t wanted)
{
    bool found = false;
    size_t count;

    if (!lk_cbor_map_find(r, KEY_OPS))
        return true;
    count = lk_cbor_enter_array(r);
    for (size_t i = 0; i < count && r->err == LK_OK; i++) {
        if (lk_cbor_peek(r) == LK_CBOR_TEXT)
            lk_cbor_skip(r);
        else if (lk_cbor_int(r) == wanted)
            found = true;
    }
    lk_cbor_leave_array(r);
    return found;
}

static enum lk_err
numbers_read(struct lk_cbor *r, int64_t kty, struct lk_key_members *m)
{
    int64_t crv;

    if (kty == KTY_OCT) {
        m->kty = LK_KTY_OCT;
        m->k = lk_cbor_map_bytes(r, KEY_K);
        return lk_cose_key_permits(r, m->alg == LK_ALG_AEAD ? OP_DECRYPT : OP_MAC)
                   ? LK_OK
                   : LK_ERR_UNSUPPORTED;
    }
    if (kty != KTY_OKP && kty != KTY_EC2)
        return LK_ERR_UNSUPPORTED;
    m->kty = kty == KTY_OKP ? LK_KTY_OKP : LK_KTY_EC;
    crv = lk_cbor_map_int(r, KEY_CRV, 0);
    if (crv == 0)
        return LK_ERR_MISSING;
    if (crv != (kty == KTY_OKP ? CRV_ED25519 : CRV_P256))
        return LK_ERR_UNSUPPORTED;
    m->x = lk_cbor_map_bytes(r, KEY_X);
    m->d = lk_cbor_map_bytes(r, KEY_D);
    if (kty == KTY_EC2 && lk_cbor_map_find(r, KEY_Y)) {
        /* a sign bit: a compressed point */
        if (lk_cbor_peek(r) == LK_CBOR_SIMPLE)
            return LK_ERR_UNSUPPORTED;
        m->y = lk_cbor_bytes(r);
    }
    return lk_cose_key_permits(r, OP_VERIFY) ? LK_OK : LK_ERR_UNSUPPORTED;
}

/* No text is registered for an algorithm of ours. */
static enum lk_err
alg_read(struct lk_cbor *r, struct lk_key_members *m)
{
    int64_t id;

    m->has_alg = lk_cbor_map_find(r, KEY_ALG);
    if (!m->has_alg)
        return r->err;
    if (lk_cbor_peek(r) == LK_CBOR_TEXT)
        return LK_ERR_UNSUPPORTED;
    id = lk_cbor_int(r);
    m->alg = lk_alg_from_cose(id);
    m->cipher = lk_aead_from_cose(id);
    if (m->cipher != LK_AEAD_NONE)
        m->alg = LK_ALG_AEAD;
    if (r->err != LK_OK)
        return r->err;
    return m->alg == LK_ALG_NONE ? LK_ERR_UNSUPPORTED : LK_OK;
}

static enum lk_err
key_members_read(struct lk_cbor *r, struct lk_key_members *m)
{
    int64_t kty;
    enum lk_err err;

    if (!lk_cbor_map_find(r, KEY_KTY))
        return r->err != LK_OK ? r->err : LK_ERR_MISSING;
    if (lk_cbor_peek(r) == LK_CBOR_TEXT)
        return LK_ERR_UNSUPPORTED;
    kty = lk_cbor_int(r);
    err = alg_read(r, m);
    if (err == LK_OK)
        err = numbers_read(r, kty, m);
    if (r->err != LK_OK)
        return r->err;
    m->kid = lk_cbor_map_bytes(r, KEY_KID);
    return r->err != LK_OK ? r->err : err;
}

enum lk_err
lk_cose_key_parse(struct lk_span in, struct lk_key *key)
{
    struct lk_key_members m = {.kid = {NULL, 0}};
    struct lk_cbor r;
    enum lk_err err;

    memset(key, 0, sizeof(*key));
    lk_cbor_open(&r, in);
    (void)lk_cbor_enter_map(&r);
    err = key_members_read(&r, &m);
    lk_cbor_leave_map(&r);
    if (lk_cbor_close(&r) != LK_OK)
        err = r.err;
    if (err != LK_OK)
        return err;
    return lk_key_fill(key, &m);
}

/* Read and open one key behind the ones there are. */
static enum lk_err
key_append(struct lk_span in, struct lk_key *keys, size_t max, size_t *count)
{
    struct lk_key key;
    enum lk_err err = lk_cose_key_parse(in, &key);

    if (err == LK_ERR_UNSUPPORTED)
        return LK_OK;
    return err == LK_OK ? lk_keys_append(keys, max, count, &key) : err;
}

static enum lk_err
set_read(struct lk_span in, struct lk_key *keys, size_t max, size_t *count)
{
    struct lk_cbor r;
    size_t items;
    enum lk_err err = LK_OK;

    lk_cbor_open(&r, in);
    items = lk_cbor_enter_array(&r);
    for (size_t i = 0; i < items && r.err == LK_OK && err == LK_OK; i++) {
        struct lk_span item = lk_cbor_raw(&r);

        if (r.err == LK_OK)
            err = key_append(item, keys, max, count);
    }
    lk_cbor_leave_array(&r);
    if (err == LK_OK)
        err = lk_cbor_close(&r);
    /* RFC 9052 section 7: [+ COSE_Key] */
    return err == LK_OK && items == 0 ? LK_ERR_MALFORMED : err;
}

enum lk_err
lk_cose_keyset_read(struct lk_span in, struct lk_key *keys, size_t max, size_t *count)
{
    struct lk_cbor r;
    enum lk_err err;

    *count = 0;
    lk_cbor_open(&r, in);
    if (lk_cbor_peek(&r) == LK_CBOR_ARRAY)
        err = set_read(in, keys, max, count);
    else
        err = key_append(in, keys, max, count);
    while (err != LK_OK && *count > 0)
        lk_key_wipe(&keys[--*count]);
    return err;
}

static void
write_bytes(struct lk_cbor_out *w, int64_t label, const uint8_t *bytes, size_t len)
{
    lk_cbor_write_int(w, label);
    lk_cbor_write_bytes(w, lk_span_of(bytes, len));
}

static void
write_number(struct lk_cbor_out *w, int64_t label, int64_t value)
{
    lk_cbor_write_int(w, label);
    lk_cbor_write_int(w, value);
}

/* kty, crv, kid and alg stand in front of a key's own numbers in deterministic order: 1, 2, 3 come
 * before -1. Without kid and alg it is what RFC 9679 section 4 hashes. */
static void
write_head(struct lk_cbor_out *w, const struct lk_key *key, int64_t kty, size_t pairs, bool full)
{
    size_t more = !full ? 0 : key->kid_len > 0 ? 2 : 1;

    lk_cbor_write_map(w, pairs + more);
    write_number(w, KEY_KTY, kty);
    if (more == 2)
        write_bytes(w, KEY_KID, key->kid, key->kid_len);
    if (more > 0)
        write_number(w, KEY_ALG, lk_alg_to_cose(key->alg));
}

static void
write_public(struct lk_cbor_out *w, const struct lk_key *key, bool full)
{
    switch (key->alg) {
    case LK_ALG_ES256:
        write_head(w, key, KTY_EC2, 4, full);
        write_number(w, KEY_CRV, CRV_P256);
        write_bytes(w, KEY_X, key->u.ec.x, sizeof(key->u.ec.x));
        write_bytes(w, KEY_Y, key->u.ec.y, sizeof(key->u.ec.y));
        break;
    case LK_ALG_EDDSA:
        write_head(w, key, KTY_OKP, 3, full);
        write_number(w, KEY_CRV, CRV_ED25519);
        write_bytes(w, KEY_X, key->u.okp.x, sizeof(key->u.okp.x));
        break;
    case LK_ALG_RS256:
        write_head(w, key, KTY_RSA, 3, full);
        write_bytes(w, KEY_RSA_N, key->u.rsa.n, key->u.rsa.n_len);
        write_bytes(w, KEY_RSA_E, key->u.rsa.e, key->u.rsa.e_len);
        break;
    case LK_ALG_HS256:
    case LK_ALG_HS256_64:
    case LK_ALG_AEAD:
        write_head(w, key, KTY_OCT, 2, full);
        write_bytes(w, KEY_K, key->u.oct.k, key->u.oct.len);
        break;
    case LK_ALG_NONE:
        if (w->err == LK_OK)
            w->err = LK_ERR_UNSUPPORTED;
        break;
    }
}

void
lk_cose_key_write_public(struct lk_cbor_out *w, const struct lk_key *key)
{
    /* RSA we could write, but not read. */
    if ((lk_alg_is_symmetric(key->alg) || key->alg == LK_ALG_RS256) && w->err == LK_OK)
        w->err = LK_ERR_UNSUPPORTED;
    if (w->err == LK_OK)
        write_public(w, key, true);
}

enum lk_err
lk_cose_key_thumbprint(const struct lk_key *key, uint8_t out[32])
{
    uint8_t room[THUMBPRINT_ROOM];
    struct lk_cbor_out w;
    struct lk_span members;
    enum lk_err err;

    lk_cbor_write_open(&w, LK_BUF_OF(room));
    write_public(&w, key, false);
    err = lk_cbor_write_close(&w, &members);
    if (err == LK_OK)
        err = lk_crypto_sha256(members, out);
    if (err != LK_OK)
        lk_wipe(out, 32);
    lk_wipe(room, sizeof(room));
    return err;
}
