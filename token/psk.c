/* Keys derived for a token, and the identities that name them (RFC 9202 section 3.3). */
#include <latchkey/cnf.h>

#include "cose_key_labels.h"
#include "cwt_labels.h"

#include <string.h>

#include <latchkey/cbor.h>
#include <latchkey/crypto.h>

#define RS_KEY_MIN 16 /* bytes */
#define KID_TRIES  64 /* a draw has a zero in it once in 32 times */

#define DERIVATION "ACE-CoAP-DTLS-key-derivation"
#define INFO_ROOM  (LK_TOKEN_MAX + 64) /* the token, the name and heads */

static enum lk_err
info_write(struct lk_span token, size_t key_len, struct lk_buf room, struct lk_span *out)
{
    struct lk_cbor_out w;

    lk_cbor_write_open(&w, room);
    lk_cbor_write_array(&w, 3);
    lk_cbor_write_text(&w, LK_SPAN(DERIVATION));
    lk_cbor_write_uint(&w, key_len);
    lk_cbor_write_bytes(&w, token);
    return lk_cbor_write_close(&w, out);
}

enum lk_err
lk_cnf_derive(struct lk_span rs_key, struct lk_span token, struct lk_buf out)
{
    uint8_t room[INFO_ROOM];
    struct lk_span info;
    enum lk_err err = LK_OK;

    if (rs_key.len < RS_KEY_MIN)
        err = LK_ERR_KEY;
    else if (token.len == 0 || out.cap == 0)
        err = LK_ERR_ARG;
    else if (token.len > LK_TOKEN_MAX)
        err = LK_ERR_LIMIT;
    if (err == LK_OK)
        err = info_write(token, out.cap, LK_BUF_OF(room), &info);
    if (err == LK_OK)
        err = lk_crypto_hkdf_sha256(rs_key, LK_SPAN(""), info, out);
    if (err != LK_OK)
        lk_wipe(out.ptr, out.cap);
    return err;
}

bool
lk_cnf_kid_is_own(struct lk_span kid)
{
    return kid.len == LK_CNF_KID_LEN && memchr(kid.ptr, 0, kid.len) == NULL;
}

enum lk_err
lk_cnf_kid_new(uint8_t kid[LK_CNF_KID_LEN])
{
    enum lk_err err = LK_OK;

    for (unsigned i = 0; i < KID_TRIES && err == LK_OK; i++) {
        err = lk_crypto_random((struct lk_buf){kid, LK_CNF_KID_LEN});
        if (err == LK_OK && lk_cnf_kid_is_own(lk_span_of(kid, LK_CNF_KID_LEN)))
            return LK_OK;
    }
    lk_wipe(kid, LK_CNF_KID_LEN);
    return LK_ERR_CRYPTO;
}

enum lk_err
lk_psk_identity_write(struct lk_span kid, struct lk_buf room, struct lk_span *out)
{
    struct lk_cbor_out w;

    *out = (struct lk_span){NULL, 0};
    if (kid.len == 0 || kid.len > LK_KID_MAX)
        return LK_ERR_ARG;
    lk_cbor_write_open(&w, room);
    lk_cbor_write_map(&w, 1);
    lk_cbor_write_int(&w, CWT_CNF);
    lk_cbor_write_map(&w, 1);
    lk_cbor_write_int(&w, CNF_COSE_KEY);
    lk_cbor_write_map(&w, 2);
    lk_cbor_write_int(&w, KEY_KTY);
    lk_cbor_write_int(&w, KTY_OCT);
    lk_cbor_write_int(&w, KEY_KID);
    lk_cbor_write_bytes(&w, kid);
    return lk_cbor_write_close(&w, out);
}

/* Step into a map of so many pairs and to the value of a label. */
static void
enter(struct lk_cbor *r, size_t pairs, int64_t label)
{
    size_t found = lk_cbor_enter_map(r);

    if (r->err == LK_OK && (found != pairs || !lk_cbor_map_find(r, label)) && r->err == LK_OK)
        r->err = LK_ERR_MALFORMED;
}

enum lk_err
lk_psk_identity_read(struct lk_span identity, struct lk_span *kid)
{
    struct lk_cbor r;
    enum lk_err err;

    *kid = (struct lk_span){NULL, 0};
    lk_cbor_open(&r, identity);
    enter(&r, 1, CWT_CNF);
    enter(&r, 1, CNF_COSE_KEY);
    enter(&r, 2, KEY_KTY);
    if (lk_cbor_int(&r) != KTY_OCT && r.err == LK_OK)
        r.err = LK_ERR_MALFORMED;
    *kid = lk_cbor_map_bytes(&r, KEY_KID);
    lk_cbor_leave_map(&r);
    lk_cbor_leave_map(&r);
    lk_cbor_leave_map(&r);
    err = lk_cbor_close(&r);
    if (err == LK_OK && kid->len == 0)
        err = LK_ERR_MALFORMED;
    if (err == LK_OK && kid->len > LK_KID_MAX)
        err = LK_ERR_LIMIT;
    if (err != LK_OK)
        *kid = (struct lk_span){NULL, 0};
    return err;
}
