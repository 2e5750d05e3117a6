/* COSE_Key (RFC 9052 section 7, RFC 9053 section 7). */
#include <latchkey/cose.h>

#include "cose_parts.h"
#include "key_fill.h"

#include <string.h>

/* RFC 9052 section 7.1, RFC 9053 section 7 */
#define KEY_KTY     1
#define KEY_KID     2
#define KEY_ALG     3
#define KEY_OPS     4
#define KEY_CRV     (-1)
#define KEY_X       (-2)
#define KEY_Y       (-3)
#define KEY_D       (-4)
#define KEY_K       (-1)
#define KTY_OKP     1
#define KTY_EC2     2
#define KTY_OCT     4
#define CRV_P256    1
#define CRV_ED25519 6
#define OP_VERIFY   2
#define OP_MAC      10

/* What a key may be used for must include what we would use it for. */
static bool
ops_permit(struct lk_cbor *r, int64_t wanted)
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

/* Labels below zero belong to the kind (RFC 9053 section 7): -1 is a curve or the secret itself. */
static enum lk_err
numbers_read(struct lk_cbor *r, int64_t kty, struct lk_key_members *m)
{
    int64_t crv;

    if (kty == KTY_OCT) {
        m->kty = LK_KTY_OCT;
        m->k = lk_cbor_map_bytes(r, KEY_K);
        return ops_permit(r, OP_MAC) ? LK_OK : LK_ERR_UNSUPPORTED;
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
    return ops_permit(r, OP_VERIFY) ? LK_OK : LK_ERR_UNSUPPORTED;
}

static enum lk_err
key_members_read(struct lk_cbor *r, struct lk_key_members *m)
{
    enum lk_err err;

    if (!lk_cbor_map_find(r, KEY_KTY))
        return r->err != LK_OK ? r->err : LK_ERR_MISSING;
    if (lk_cbor_peek(r) == LK_CBOR_TEXT)
        return LK_ERR_UNSUPPORTED;
    err = numbers_read(r, lk_cbor_int(r), m);
    if (r->err != LK_OK)
        return r->err;
    if (err != LK_OK)
        return err;
    m->kid = lk_cbor_map_bytes(r, KEY_KID);
    m->has_alg = lk_cbor_map_find(r, KEY_ALG);
    if (m->has_alg && lk_cose_alg_read(r, &m->alg) == LK_ERR_ALG)
        return LK_ERR_UNSUPPORTED;
    return r->err;
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
