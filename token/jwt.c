#include "jwt.h"

#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/crypto.h>
#include <latchkey/json.h>

/* {"alg":"ES256","kid":"...","typ":"at+jwt"}: every byte of a kid may need six. */
#define HEADER_ROOM (64 + 6 * LK_KID_MAX)

static const uint8_t *
dot_find(struct lk_span text)
{
    return text.len == 0 ? NULL : memchr(text.ptr, '.', text.len);
}

/* What stands before the first dot; `text` becomes what stands behind it. */
static bool
segment_take(struct lk_span *text, struct lk_span *segment)
{
    const uint8_t *dot = dot_find(*text);

    if (dot == NULL)
        return false;
    *segment = lk_span_of(text->ptr, (size_t)(dot - text->ptr));
    *text = lk_span_of(dot + 1, text->len - segment->len - 1);
    return true;
}

enum lk_err
lk_jwt_split(struct lk_span text, struct lk_jwt *jwt)
{
    struct lk_span rest = text;

    memset(jwt, 0, sizeof(*jwt));
    if (!segment_take(&rest, &jwt->header) || !segment_take(&rest, &jwt->payload) ||
        dot_find(rest) != NULL)
        return LK_ERR_MALFORMED;
    jwt->signature = rest;
    jwt->signed_part = lk_span_of(text.ptr, jwt->header.len + 1 + jwt->payload.len);
    return LK_OK;
}

enum lk_err
lk_jwt_read_header(uint8_t *text, size_t len, struct lk_jwt_header *header)
{
    struct lk_span name, alg = {NULL, 0};
    bool has_crit = false;
    struct lk_json r;
    enum lk_err err;

    memset(header, 0, sizeof(*header));
    lk_json_open(&r, text, len);
    lk_json_enter_object(&r);
    while (lk_json_next_member(&r, &name)) {
        if (lk_span_is(name, "alg")) {
            alg = lk_json_string(&r);
        } else if (lk_span_is(name, "kid")) {
            header->kid = lk_json_string(&r);
        } else if (lk_span_is(name, "typ")) {
            header->typ = lk_json_string(&r);
        } else {
            has_crit = has_crit || lk_span_is(name, "crit");
            lk_json_skip(&r);
        }
    }
    lk_json_leave_object(&r);
    err = lk_json_close(&r);
    /* RFC 7515 section 4.1.11: we understand no extension, so any list is too long. */
    if (err == LK_OK && has_crit)
        err = LK_ERR_CRIT;
    if (err == LK_OK && alg.ptr == NULL)
        err = LK_ERR_MISSING;
    header->alg = lk_alg_from_jose(alg);
    if (err == LK_OK && header->alg == LK_ALG_NONE)
        err = LK_ERR_ALG;
    if (err != LK_OK)
        memset(header, 0, sizeof(*header));
    return err;
}

static enum lk_err
header_write(const struct lk_key *key, struct lk_buf room, struct lk_span *out)
{
    struct lk_json_out w;

    lk_json_write_open(&w, room);
    lk_json_write_object(&w);
    lk_json_write_name(&w, "alg");
    lk_json_write_string(&w, lk_span_text(lk_alg_name(key->alg)));
    lk_json_write_name(&w, "kid");
    lk_json_write_string(&w, lk_key_kid(key));
    lk_json_write_name(&w, "typ");
    lk_json_write_string(&w, LK_SPAN("at+jwt"));
    lk_json_write_object_end(&w);
    return lk_json_write_close(&w, out);
}

/* Append base64url of bytes and, if asked, a dot. */
static enum lk_err
segment_put(struct lk_buf room, size_t *len, struct lk_span bytes, bool dot)
{
    struct lk_buf rest = {room.ptr + *len, room.cap - *len};
    struct lk_span text;
    enum lk_err err = lk_base64url_encode(bytes, rest, &text);

    if (err != LK_OK)
        return err;
    *len += text.len;
    if (!dot)
        return LK_OK;
    if (*len == room.cap)
        return LK_ERR_NO_SPACE;
    room.ptr[(*len)++] = '.';
    return LK_OK;
}

enum lk_err
lk_jwt_write(const struct lk_key *key, struct lk_span payload, struct lk_buf room,
             struct lk_span *out)
{
    uint8_t header_room[HEADER_ROOM], signature_room[64];
    struct lk_span header, signature, signed_part;
    size_t len = 0;
    enum lk_err err;

    *out = (struct lk_span){NULL, 0};
    if (key->kid_len == 0)
        return LK_ERR_KEY;
    if (lk_alg_from_jose(lk_span_text(lk_alg_name(key->alg))) == LK_ALG_NONE)
        return LK_ERR_UNSUPPORTED;
    err = header_write(key, LK_BUF_OF(header_room), &header);
    if (err == LK_OK)
        err = segment_put(room, &len, header, true);
    if (err == LK_OK)
        err = segment_put(room, &len, payload, true);
    if (err != LK_OK)
        return err;
    signed_part = lk_span_of(room.ptr, len - 1);
    err = lk_crypto_sign(key, &signed_part, 1, LK_BUF_OF(signature_room), &signature);
    if (err == LK_OK)
        err = segment_put(room, &len, signature, false);
    if (err == LK_OK)
        *out = lk_span_of(room.ptr, len);
    return err;
}

static uint8_t
lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool
begins_with(struct lk_span text, struct lk_span wanted)
{
    if (text.len < wanted.len)
        return false;
    for (size_t i = 0; i < wanted.len; i++)
        if (lower(text.ptr[i]) != lower(wanted.ptr[i]))
            return false;
    return true;
}

bool
lk_jwt_typ_is(struct lk_span typ, struct lk_span wanted)
{
    struct lk_span prefix = LK_SPAN("application/");

    /* RFC 7515 section 4.1.9: the prefix may be left out. */
    if (begins_with(typ, prefix))
        typ = lk_span_of(typ.ptr + prefix.len, typ.len - prefix.len);
    return typ.len == wanted.len && begins_with(typ, wanted);
}
