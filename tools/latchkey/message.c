/*
 * message.c - a message taken apart: compact JWS (RFC 7515), COSE_Sign1, COSE_Mac0 and
 * COSE_Encrypt0 (RFC 9052). Unlike lk_token_parse() it takes any payload.
 */
#include "message.h"

#include <ctype.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/crypto.h>
#include <latchkey/json.h>

static int
hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

enum lk_err
hex_decode(struct lk_span text, struct lk_buf room, struct lk_span *out)
{
    size_t i, to = 0;
    int high = -1, value;

    *out = (struct lk_span){NULL, 0};
    for (i = 0; i < text.len; i++) {
        if (high < 0 && isspace(text.ptr[i]))
            continue;
        value = hex_value(text.ptr[i]);
        if (value < 0)
            return LK_ERR_SYNTAX;
        if (high < 0) {
            high = value;
            continue;
        }
        if (to == room.cap)
            return LK_ERR_NO_SPACE;
        room.ptr[to++] = (uint8_t)(high << 4 | value);
        high = -1;
    }
    if (high >= 0)
        return LK_ERR_SYNTAX;
    *out = lk_span_of(room.ptr, to);
    return LK_OK;
}

/* Hex of a COSE message begins with tag 61, 16, 17 or 18 or an array of three or four; read as
 * base64url, no such text begins a COSE message. */
static bool
looks_hex(struct lk_span text)
{
    static const char *const heads[] = {"d83d", "d0", "d1", "d2", "83", "84"};
    char head[5] = "";
    size_t i;

    for (i = 0; i < text.len; i++) {
        if (hex_value(text.ptr[i]) < 0 && !isspace(text.ptr[i]))
            return false;
        if (i < 4)
            head[i] = (char)tolower(text.ptr[i]);
    }
    for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        if (strncmp(head, heads[i], strlen(heads[i])) == 0)
            return true;
    }
    return false;
}

static enum lk_err
header_read(struct message *m, uint8_t *text, size_t len)
{
    struct lk_json r;
    struct lk_span name, alg = {NULL, 0};
    bool critical = false;
    enum lk_err err;

    lk_json_open(&r, text, len);
    lk_json_enter_object(&r);
    while (lk_json_next_member(&r, &name)) {
        if (lk_span_is(name, "alg")) {
            alg = lk_json_string(&r);
        } else if (lk_span_is(name, "kid")) {
            m->kid = lk_json_string(&r);
        } else {
            /* RFC 7515 section 4.1.11: we understand no extension. */
            critical = critical || lk_span_is(name, "crit");
            lk_json_skip(&r);
        }
    }
    lk_json_leave_object(&r);
    err = lk_json_close(&r);
    if (err != LK_OK)
        return err;
    if (alg.ptr == NULL)
        return LK_ERR_MISSING;
    m->alg = lk_alg_from_jose(alg);
    if (m->alg == LK_ALG_NONE)
        return LK_ERR_ALG;
    return critical ? LK_ERR_CRIT : LK_OK;
}

static enum lk_err
part_decode(struct lk_span part, struct lk_buf *left, struct lk_span *out)
{
    enum lk_err err = lk_base64url_decode(part, *left, out);

    if (err != LK_OK)
        return err;
    left->ptr += out->len;
    left->cap -= out->len;
    return LK_OK;
}

static struct lk_span
part_take(struct lk_span *rest)
{
    const uint8_t *dot = rest->len > 0 ? memchr(rest->ptr, '.', rest->len) : NULL;
    struct lk_span part = *rest;

    if (dot == NULL) {
        *rest = (struct lk_span){NULL, 0};
        return part;
    }
    part.len = (size_t)(dot - rest->ptr);
    *rest = lk_span_of(dot + 1, rest->len - part.len - 1);
    return part;
}

static enum lk_err
jws_parse(struct message *m, struct lk_span text)
{
    struct lk_buf left = LK_BUF_OF(m->room);
    struct lk_span rest = text, header, payload, signature, copy;
    enum lk_err err;

    m->is_jws = true;
    m->whole = text;
    header = part_take(&rest);
    payload = part_take(&rest);
    if (rest.ptr == NULL || memchr(rest.ptr, '.', rest.len) != NULL)
        return LK_ERR_MALFORMED; /* not three parts: RFC 7515 section 7.1 */
    signature = rest;
    m->signing_input = lk_span_of(text.ptr, header.len + 1 + payload.len);
    err = part_decode(header, &left, &m->header);
    if (err == LK_OK)
        err = part_decode(header, &left, &copy); /* reading changes it in place */
    if (err == LK_OK)
        err = part_decode(payload, &left, &m->payload);
    if (err == LK_OK)
        err = part_decode(signature, &left, &m->signature);
    if (err != LK_OK)
        return err;
    return header_read(m, (uint8_t *)(uintptr_t)copy.ptr, copy.len);
}

/* The tags lk_cose_parse() takes, and a message with the alg in the unprotected bucket behind them.
 * RFC 9052 section 3.1 wants alg protected where the context does not fix it. Here every key is for
 * one algorithm, so an attacker who changes the label wins nothing; as a token's form it is still
 * refused, which is why only --signature-only comes here. */
static enum lk_err
cose_parse_unprotected_alg(struct lk_span in, struct lk_cose *cose)
{
    struct lk_span protected_;
    struct lk_cbor r;
    uint64_t tag = 0;

    *cose = (struct lk_cose){0};
    lk_cbor_open(&r, in);
    while (lk_cbor_peek(&r) == LK_CBOR_TAG && !cose->cose_tag) {
        tag = lk_cbor_tag(&r);
        if (tag == 61 && !cose->cwt_tag)
            cose->cwt_tag = true;
        else
            cose->cose_tag = true;
    }
    if (lk_cbor_enter_array(&r) != 4)
        return r.err != LK_OK ? r.err : LK_ERR_MALFORMED;
    protected_ = lk_cbor_bytes(&r);
    (void)lk_cbor_enter_map(&r);
    cose->alg = lk_alg_from_cose(lk_cbor_map_int(&r, 1, 0));
    cose->kid = lk_cbor_map_bytes(&r, 4);
    if (lk_cbor_map_find(&r, 2))
        return LK_ERR_CRIT;
    lk_cbor_leave_map(&r);
    cose->payload = lk_cbor_bytes(&r);
    cose->signature = lk_cbor_bytes(&r);
    lk_cbor_leave_array(&r);
    if (lk_cbor_close(&r) != LK_OK)
        return r.err;
    if (cose->alg == LK_ALG_NONE)
        return LK_ERR_ALG;
    /* Nothing protected at all: the zero-length string, or an empty map that is signed as one. */
    if (protected_.len > 1 || (protected_.len == 1 && protected_.ptr[0] != 0xa0))
        return LK_ERR_MISSING;
    cose->kind =
        cose->alg == LK_ALG_HS256 || cose->alg == LK_ALG_HS256_64 ? LK_COSE_MAC0 : LK_COSE_SIGN1;
    if (cose->cose_tag && tag != (uint64_t)cose->kind)
        return LK_ERR_ALG;
    return cose->cwt_tag && !cose->cose_tag ? LK_ERR_MALFORMED : LK_OK;
}

static enum lk_err
cose_parse(struct message *m, struct lk_span in, bool alg_unprotected)
{
    enum lk_err err = lk_cose_parse(in, LK_COSE_SIGN1, &m->cose), other;

    m->whole = in;
    /* Sign1 and Mac0 look alike without a tag: the algorithm tells. */
    if (err == LK_ERR_ALG)
        err = lk_cose_parse(in, LK_COSE_MAC0, &m->cose);
    if ((err == LK_ERR_ALG || err == LK_ERR_MISSING) && alg_unprotected) {
        other = cose_parse_unprotected_alg(in, &m->cose);
        m->alg_unprotected = other == LK_OK;
        err = other == LK_OK ? LK_OK : err;
    }
    if (err != LK_OK)
        return err;
    m->alg = m->cose.alg;
    m->kid = m->cose.kid;
    m->payload = m->cose.payload;
    return LK_OK;
}

static enum lk_err
sealed_parse(struct message *m, struct lk_span in)
{
    enum lk_err err = lk_cose_encrypt0_parse(in, true, &m->sealed);

    m->whole = in;
    if (err != LK_OK)
        return err;
    m->is_sealed = true;
    m->alg = LK_ALG_AEAD;
    m->kid = m->sealed.kid;
    return LK_OK;
}

/* Without a tag a COSE_Encrypt0 is told by its three items; the others have four. */
static bool
looks_sealed(struct lk_span raw)
{
    struct lk_cbor r;

    if (lk_cose_is_encrypt0(raw))
        return true;
    lk_cbor_open(&r, raw);
    return lk_cbor_peek(&r) == LK_CBOR_ARRAY && lk_cbor_enter_array(&r) == 3;
}

enum lk_err
message_parse(struct lk_span in, const struct message_wish *wish, struct message *m)
{
    struct lk_span text = input_trim(in), raw = in;
    enum lk_err err = LK_OK;

    memset(m, 0, sizeof(*m));
    if (text.len == 0)
        return LK_ERR_TRUNCATED;
    if (wish->hex || (text.ptr[0] < 0x80 && looks_hex(text))) {
        err = hex_decode(text, LK_BUF_OF(m->text), &raw);
    } else if (text.ptr[0] < 0x80) {
        if (text.len > LK_TOKEN_MAX)
            return LK_ERR_LIMIT;
        if (memchr(text.ptr, '.', text.len) != NULL)
            return jws_parse(m, text);
        err = lk_base64url_decode(text, LK_BUF_OF(m->text), &raw);
    }
    if (err == LK_ERR_NO_SPACE || (err == LK_OK && raw.len > LK_TOKEN_MAX))
        return LK_ERR_LIMIT;
    if (err != LK_OK)
        return err;
    return looks_sealed(raw) ? sealed_parse(m, raw) : cose_parse(m, raw, wish->alg_unprotected);
}

enum lk_err
message_open(struct message *m, const struct lk_key *key, struct lk_span external_aad)
{
    struct lk_cbor r;
    enum lk_err err =
        lk_cose_encrypt0_decrypt(&m->sealed, key, external_aad, LK_BUF_OF(m->room), &m->payload);

    if (err != LK_OK)
        return err;
    lk_cbor_open(&r, m->payload);
    if (lk_cbor_peek(&r) != LK_CBOR_TAG)
        return LK_OK;
    if (lk_cose_is_encrypt0(m->payload))
        return LK_ERR_DEPTH;
    err = lk_cose_parse(m->payload, LK_COSE_NONE, &m->cose);
    m->is_nested = err == LK_OK;
    m->alg = m->cose.alg;
    m->kid = m->cose.kid;
    m->payload = m->cose.payload;
    return err;
}

enum lk_err
message_verify(const struct message *m, const struct lk_key *key, struct lk_span external_aad)
{
    if (!m->is_jws)
        return lk_cose_verify(&m->cose, key, external_aad);
    if (key->alg != m->alg)
        return LK_ERR_ALG;
    return lk_crypto_verify(key, &m->signing_input, 1, m->signature);
}

const char *
message_alg(const struct message *m)
{
    return m->is_sealed && !m->is_nested ? lk_aead_name(m->sealed.cipher) : lk_alg_name(m->alg);
}

const char *
message_kind(const struct message *m)
{
    if (m->is_jws)
        return "JWT";
    if (m->is_sealed)
        return m->sealed.cwt_tag ? "CWT (COSE_Encrypt0)" : "COSE_Encrypt0";
    if (m->cose.cwt_tag)
        return m->cose.kind == LK_COSE_MAC0 ? "CWT (COSE_Mac0)" : "CWT (COSE_Sign1)";
    return m->cose.kind == LK_COSE_MAC0 ? "COSE_Mac0" : "COSE_Sign1";
}
