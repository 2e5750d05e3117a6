#include "jwt.h"

#include "json_members.h"

#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/crypto.h>

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

/* The header parameters we know. */
enum param { P_ALG, P_KID, P_TYP, P_CRIT, P_UNKNOWN = LK_JSON_KNOWN_MAX };

static enum param
param_by_name(struct lk_span name)
{
    if (lk_json_name_is(name, "alg"))
        return P_ALG;
    if (lk_json_name_is(name, "kid"))
        return P_KID;
    if (lk_json_name_is(name, "typ"))
        return P_TYP;
    return lk_json_name_is(name, "crit") ? P_CRIT : P_UNKNOWN;
}

/* Read all parameters. `values` has those with a text; what crit says does not matter. */
static enum lk_err
params_read(struct lk_json *r, struct lk_span values[P_CRIT], bool *has_crit)
{
    struct lk_json_members members;
    struct lk_span name;

    lk_json_enter_members(r, &members);
    while (lk_json_next_member(r, &name)) {
        enum param param = param_by_name(name);

        lk_json_members_note(r, &members, name, param);
        if (param < P_CRIT)
            values[param] = lk_json_string(r);
        else
            lk_json_skip(r);
    }
    lk_json_leave_object(r);
    *has_crit = (members.known >> P_CRIT & 1) != 0;
    return lk_json_close(r);
}

enum lk_err
lk_jwt_read_header(uint8_t *text, size_t len, struct lk_jwt_header *header)
{
    struct lk_span values[P_CRIT] = {{NULL, 0}};
    bool has_crit;
    struct lk_json r;
    enum lk_err err;

    memset(header, 0, sizeof(*header));
    lk_json_open(&r, text, len);
    err = params_read(&r, values, &has_crit);
    /* RFC 7515 section 4.1.11: we understand no extension, so any list is too long. */
    if (err == LK_OK && has_crit)
        err = LK_ERR_CRIT;
    if (err == LK_OK && values[P_ALG].ptr == NULL)
        err = LK_ERR_MISSING;
    if (err != LK_OK)
        return err;
    header->alg = lk_alg_from_jose(values[P_ALG]);
    if (header->alg == LK_ALG_NONE)
        return LK_ERR_ALG;
    header->kid = values[P_KID];
    header->typ = values[P_TYP];
    return LK_OK;
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

    if (lk_span_equal(typ, wanted))
        return true; /* mostly */
    /* RFC 7515 section 4.1.9: the prefix may be left out. */
    if (begins_with(typ, prefix))
        typ = lk_span_of(typ.ptr + prefix.len, typ.len - prefix.len);
    return typ.len == wanted.len && begins_with(typ, wanted);
}
