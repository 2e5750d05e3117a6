/* The claims set of a JWT (RFC 7519, RFC 9068), read. */
#include <latchkey/claims.h>

#include "json_members.h"

#include <string.h>

#include <latchkey/base64url.h>

#define THUMBPRINT_LEN 32

/* The claims we know. */
enum claim {
    C_ISS,
    C_SUB,
    C_AUD,
    C_EXP,
    C_NBF,
    C_IAT,
    C_ID,
    C_CNF,
    C_SCOPE,
    C_CLIENT,
    C_TENANT,
    C_TYPE,
    C_CHILDREN,
    C_GENERATION,
    C_UNKNOWN = LK_JSON_KNOWN_MAX
};

#define LETTERS(a, b, c) ((uint32_t)(a) << 16 | (uint32_t)(b) << 8 | (uint32_t)(c))

static enum claim
claim_by_letters(uint32_t letters)
{
    switch (letters) {
    case LETTERS('i', 's', 's'):
        return C_ISS;
    case LETTERS('s', 'u', 'b'):
        return C_SUB;
    case LETTERS('a', 'u', 'd'):
        return C_AUD;
    case LETTERS('e', 'x', 'p'):
        return C_EXP;
    case LETTERS('n', 'b', 'f'):
        return C_NBF;
    case LETTERS('i', 'a', 't'):
        return C_IAT;
    case LETTERS('j', 't', 'i'):
        return C_ID;
    case LETTERS('c', 'n', 'f'):
        return C_CNF;
    case LETTERS('t', 'n', 't'):
        return C_TENANT;
    case LETTERS('d', 't', 'y'):
        return C_TYPE;
    case LETTERS('g', 'e', 'n'):
        return C_GENERATION;
    default:
        return C_UNKNOWN;
    }
}

static enum claim
claim_by_name(struct lk_span name)
{
    if (name.len == 3)
        return claim_by_letters(LETTERS(name.ptr[0], name.ptr[1], name.ptr[2]));
    if (lk_json_name_is(name, "scope"))
        return C_SCOPE;
    if (lk_json_name_is(name, "client_id"))
        return C_CLIENT;
    return lk_json_name_is(name, "children") ? C_CHILDREN : C_UNKNOWN;
}

static size_t
jwt_texts(struct lk_json *r, struct lk_span *out, size_t max)
{
    size_t count = 0;

    lk_json_enter_array(r);
    while (lk_json_next_item(r)) {
        if (count == max) {
            r->err = LK_ERR_LIMIT;
            break;
        }
        out[count++] = lk_json_string(r);
    }
    lk_json_leave_array(r);
    return r->err == LK_OK ? count : 0;
}

static void
jwt_audience(struct lk_json *r, struct lk_claims *c)
{
    if (lk_json_peek(r) == LK_JSON_ARRAY) {
        c->audience_count = jwt_texts(r, c->audience, LK_AUDIENCE_MAX);
        return;
    }
    c->audience[0] = lk_json_string(r);
    c->audience_count = 1;
}

/* Bytes that JSON has as base64url, decoded in place. Absent if they are none. */
static struct lk_span
jwt_bytes(struct lk_json *r)
{
    struct lk_span text, bytes;
    struct lk_buf room;

    if (lk_json_peek(r) != LK_JSON_STRING) {
        lk_json_skip(r);
        return (struct lk_span){NULL, 0};
    }
    text = lk_json_string(r);
    if (r->err != LK_OK)
        return text;
    room = (struct lk_buf){r->pos - (r->pos - text.ptr), text.len};
    if (lk_base64url_decode(text, room, &bytes) != LK_OK)
        return (struct lk_span){NULL, 0};
    return bytes;
}

static enum lk_cnf_kind
jwt_confirmation_kind(struct lk_span member)
{
    if (lk_span_is(member, "jwk"))
        return LK_CNF_KEY;
    if (lk_span_is(member, "kid"))
        return LK_CNF_KID;
    if (lk_span_is(member, "x5t#S256"))
        return LK_CNF_X5T;
    if (lk_span_is(member, "jkt"))
        return LK_CNF_THUMBPRINT; /* RFC 9449 section 6.1 */
    /* RFC 7800 section 3, RFC 9203 section 3.2 */
    if (lk_span_is(member, "jwe") || lk_span_is(member, "jku") || lk_span_is(member, "osc"))
        return LK_CNF_OTHER;
    return LK_CNF_NONE;
}

/* One known member makes it what it is, members nobody knows are passed over; two known ones could
 * mean two keys (RFC 7800 section 3.1), and none means nothing we could check. */
static void
jwt_confirmation(struct lk_json *r, struct lk_claims *c)
{
    struct lk_span member;
    unsigned known = 0;

    c->cnf = LK_CNF_OTHER;
    lk_json_enter_object(r);
    while (lk_json_next_member(r, &member)) {
        enum lk_cnf_kind kind = jwt_confirmation_kind(member);

        known += kind != LK_CNF_NONE;
        if (kind == LK_CNF_KEY && lk_json_peek(r) == LK_JSON_OBJECT)
            c->cnf_value = lk_json_raw(r);
        else if (kind == LK_CNF_KID || kind == LK_CNF_X5T || kind == LK_CNF_THUMBPRINT)
            c->cnf_value = jwt_bytes(r);
        else
            lk_json_skip(r);
        if (kind != LK_CNF_NONE)
            c->cnf = kind;
    }
    lk_json_leave_object(r);
    if (known != 1 || c->cnf_value.len == 0 ||
        ((c->cnf == LK_CNF_X5T || c->cnf == LK_CNF_THUMBPRINT) &&
         c->cnf_value.len != THUMBPRINT_LEN)) {
        c->cnf = LK_CNF_OTHER;
        c->cnf_value = (struct lk_span){NULL, 0};
    }
}

static uint64_t
jwt_generation(struct lk_json *r)
{
    int64_t value = lk_json_int(r);

    if (value < 0 && r->err == LK_OK)
        r->err = LK_ERR_RANGE;
    return value < 0 ? 0 : (uint64_t)value;
}

static void
jwt_claim(struct lk_json *r, enum claim claim, struct lk_claims *c)
{
    switch (claim) {
    case C_ISS:
        c->issuer = lk_json_string(r);
        break;
    case C_SUB:
        c->subject = lk_json_string(r);
        break;
    case C_AUD:
        jwt_audience(r, c);
        break;
    case C_EXP:
        c->expires_s = lk_json_numeric_date(r);
        c->has_expires = true;
        break;
    case C_NBF:
        c->not_before_s = lk_json_numeric_date(r);
        c->has_not_before = true;
        break;
    case C_IAT:
        c->issued_s = lk_json_numeric_date(r);
        c->has_issued = true;
        break;
    case C_ID:
        c->token_id = lk_json_string(r);
        break;
    case C_CNF:
        jwt_confirmation(r, c);
        break;
    case C_SCOPE:
        /* Some issuers write an array. */
        if (lk_json_peek(r) == LK_JSON_STRING)
            c->scope = lk_json_string(r);
        else if (lk_json_peek(r) == LK_JSON_ARRAY)
            c->scope_data = lk_json_raw(r);
        else
            lk_json_skip(r);
        break;
    case C_CLIENT:
        c->client = lk_json_string(r);
        break;
    case C_TENANT:
        c->tenant = lk_json_string(r);
        break;
    case C_TYPE:
        c->type = lk_json_string(r);
        break;
    case C_CHILDREN:
        c->children_count = jwt_texts(r, c->children, LK_CHILDREN_MAX);
        break;
    case C_GENERATION:
        c->generation = jwt_generation(r);
        c->has_generation = true;
        break;
    case C_UNKNOWN:
        lk_json_skip(r);
        break;
    }
}

static enum lk_err
jwt_claims(struct lk_json *r, struct lk_claims *c)
{
    struct lk_json_members members;
    struct lk_span name;

    lk_json_enter_members(r, &members);
    while (lk_json_next_member(r, &name)) {
        enum claim claim = claim_by_name(name);

        lk_json_members_note(r, &members, name, claim);
        jwt_claim(r, claim, c);
    }
    lk_json_leave_object(r);
    return lk_json_close(r);
}

enum lk_err
lk_claims_read_jwt(struct lk_span text, struct lk_buf room, struct lk_claims *claims)
{
    struct lk_json r;
    enum lk_err err;

    memset(claims, 0, sizeof(*claims));
    if (text.len > room.cap)
        return LK_ERR_NO_SPACE;
    /* Strings are unescaped and decoded in the copy: raw stays what was signed. */
    if (text.len > 0)
        memcpy(room.ptr, text.ptr, text.len);
    lk_json_open(&r, room.ptr, text.len);
    err = jwt_claims(&r, claims);
    if (err != LK_OK) {
        memset(claims, 0, sizeof(*claims));
        return err;
    }
    claims->format = LK_FORMAT_JWT;
    claims->raw = text;
    return LK_OK;
}
