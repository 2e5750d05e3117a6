#include <latchkey/claims.h>

#include "json_find.h"

#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/cbor.h>

/* RFC 8392 section 4, RFC 8747 section 7.1, RFC 9200 section 8.14 */
#define CWT_ISS   1
#define CWT_SUB   2
#define CWT_AUD   3
#define CWT_EXP   4
#define CWT_NBF   5
#define CWT_IAT   6
#define CWT_CTI   7
#define CWT_CNF   8
#define CWT_SCOPE 9

/* RFC 8747 section 3.1 */
#define CNF_COSE_KEY  1
#define CNF_ENCRYPTED 2
#define CNF_KID       3
#define CNF_OSC       4

#define THUMBPRINT_LEN 32

/* The claims we know, by either name. */
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
    C_UNKNOWN
};

/* cwt 0: in a CWT the claim has its name as a text key, but for client_id, which it has not. */
static const struct {
    const char *name;
    int64_t cwt;
} claim_names[C_UNKNOWN] = {
    [C_ISS] = {"iss", CWT_ISS},     [C_SUB] = {"sub", CWT_SUB},  [C_AUD] = {"aud", CWT_AUD},
    [C_EXP] = {"exp", CWT_EXP},     [C_NBF] = {"nbf", CWT_NBF},  [C_IAT] = {"iat", CWT_IAT},
    [C_ID] = {"jti", CWT_CTI},      [C_CNF] = {"cnf", CWT_CNF},  [C_SCOPE] = {"scope", CWT_SCOPE},
    [C_CLIENT] = {"client_id", 0},  [C_TENANT] = {"tnt", 0},     [C_TYPE] = {"dty", 0},
    [C_CHILDREN] = {"children", 0}, [C_GENERATION] = {"gen", 0},
};

static enum claim
claim_by_name(struct lk_span name)
{
    for (unsigned i = 0; i < C_UNKNOWN; i++)
        if (lk_span_is(name, claim_names[i].name))
            return (enum claim)i;
    return C_UNKNOWN;
}

static enum claim
claim_by_number(int64_t number)
{
    for (unsigned i = 0; i < C_UNKNOWN; i++)
        if (claim_names[i].cwt == number && number != 0)
            return (enum claim)i;
    return C_UNKNOWN;
}

/* CWT */

/* The key of a claims map: our own claims have text keys, and the registered ones never do. */
static enum claim
cwt_key(struct lk_cbor *r)
{
    enum claim claim;

    if (lk_cbor_peek(r) == LK_CBOR_TEXT) {
        claim = claim_by_name(lk_cbor_text(r));
        return claim >= C_TENANT ? claim : C_UNKNOWN;
    }
    if (lk_cbor_peek(r) == LK_CBOR_BYTES) {
        lk_cbor_skip(r);
        return C_UNKNOWN;
    }
    return claim_by_number(lk_cbor_int(r));
}

/* A text without NUL, as in JSON: what ends up as a C string must not be cut short. */
static struct lk_span
cwt_text(struct lk_cbor *r)
{
    struct lk_span text = lk_cbor_text(r);

    if (text.len > 0 && memchr(text.ptr, 0, text.len) != NULL) {
        r->err = LK_ERR_MALFORMED;
        return (struct lk_span){NULL, 0};
    }
    return text;
}

static size_t
cwt_texts(struct lk_cbor *r, struct lk_span *out, size_t max)
{
    size_t count = lk_cbor_enter_array(r);

    if (r->err == LK_OK && count > max)
        r->err = LK_ERR_LIMIT;
    for (size_t i = 0; i < count && r->err == LK_OK; i++)
        out[i] = cwt_text(r);
    lk_cbor_leave_array(r);
    return r->err == LK_OK ? count : 0;
}

static void
cwt_audience(struct lk_cbor *r, struct lk_claims *c)
{
    if (lk_cbor_peek(r) == LK_CBOR_ARRAY) {
        c->audience_count = cwt_texts(r, c->audience, LK_AUDIENCE_MAX);
        return;
    }
    c->audience[0] = cwt_text(r);
    c->audience_count = 1;
}

/* One known member makes it what it is, members nobody knows are passed over; two known ones could
 * mean two keys (RFC 8747 section 3.1), and none means nothing we could check. */
static void
cwt_confirmation(struct lk_cbor *r, struct lk_claims *c)
{
    size_t pairs = lk_cbor_enter_map(r);
    unsigned known = 0;

    c->cnf = LK_CNF_OTHER;
    for (size_t i = 0; i < pairs && r->err == LK_OK; i++) {
        enum lk_cbor_type type = lk_cbor_peek(r);
        int64_t member = 0;

        if (type == LK_CBOR_UINT || type == LK_CBOR_NEGINT)
            member = lk_cbor_int(r);
        else
            lk_cbor_skip(r);
        known += member >= CNF_COSE_KEY && member <= CNF_OSC;
        if (member == CNF_COSE_KEY) {
            if (r->err == LK_OK && lk_cbor_peek(r) != LK_CBOR_MAP)
                r->err = LK_ERR_TYPE;
            c->cnf_value = lk_cbor_raw(r);
            c->cnf = LK_CNF_KEY;
        } else if (member == CNF_KID) {
            c->cnf_value = lk_cbor_bytes(r);
            c->cnf = LK_CNF_KID;
        } else {
            lk_cbor_skip(r);
        }
    }
    lk_cbor_leave_map(r);
    if (known != 1 || c->cnf_value.ptr == NULL) {
        c->cnf = LK_CNF_OTHER;
        c->cnf_value = (struct lk_span){NULL, 0};
    }
}

static void
cwt_claim(struct lk_cbor *r, enum claim claim, struct lk_claims *c)
{
    switch (claim) {
    case C_ISS:
        c->issuer = cwt_text(r);
        break;
    case C_SUB:
        c->subject = cwt_text(r);
        break;
    case C_AUD:
        cwt_audience(r, c);
        break;
    case C_EXP:
        c->expires_s = lk_cbor_numeric_date(r);
        c->has_expires = true;
        break;
    case C_NBF:
        c->not_before_s = lk_cbor_numeric_date(r);
        c->has_not_before = true;
        break;
    case C_IAT:
        c->issued_s = lk_cbor_numeric_date(r);
        c->has_issued = true;
        break;
    case C_ID:
        c->token_id = lk_cbor_bytes(r);
        break;
    case C_CNF:
        cwt_confirmation(r, c);
        break;
    case C_SCOPE:
        /* RFC 9200 section 5.8.1 lets it be bytes, as an AIF structure is: not a scope text. */
        if (lk_cbor_peek(r) == LK_CBOR_TEXT)
            c->scope = cwt_text(r);
        else
            lk_cbor_skip(r);
        break;
    case C_TENANT:
        c->tenant = cwt_text(r);
        break;
    case C_TYPE:
        c->type = cwt_text(r);
        break;
    case C_CHILDREN:
        c->children_count = cwt_texts(r, c->children, LK_CHILDREN_MAX);
        break;
    case C_GENERATION:
        c->generation = lk_cbor_uint(r);
        c->has_generation = true;
        break;
    case C_CLIENT:
    case C_UNKNOWN:
        lk_cbor_skip(r);
        break;
    }
}

enum lk_err
lk_claims_read_cwt(struct lk_span payload, struct lk_claims *claims)
{
    struct lk_cbor r;
    size_t pairs;
    enum lk_err err;

    memset(claims, 0, sizeof(*claims));
    lk_cbor_open(&r, payload);
    pairs = lk_cbor_enter_map(&r);
    for (size_t i = 0; i < pairs && r.err == LK_OK; i++) {
        enum claim claim = cwt_key(&r);

        /* RFC 8392 section 3: no claim's value is tagged, not even one we do not know. */
        if (lk_cbor_peek(&r) == LK_CBOR_TAG)
            r.err = LK_ERR_TYPE;
        cwt_claim(&r, claim, claims);
    }
    lk_cbor_leave_map(&r);
    err = lk_cbor_close(&r);
    if (err != LK_OK) {
        memset(claims, 0, sizeof(*claims));
        return err;
    }
    claims->format = LK_FORMAT_CWT;
    claims->raw = payload;
    return LK_OK;
}

/* JWT */

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
    /* RFC 7800 section 3, RFC 9449 section 6.1, RFC 9203 section 3.2 */
    if (lk_span_is(member, "jwe") || lk_span_is(member, "jku") || lk_span_is(member, "jkt") ||
        lk_span_is(member, "osc"))
        return LK_CNF_OTHER;
    return LK_CNF_NONE;
}

/* As cwt_confirmation. */
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
        else if (kind == LK_CNF_KID || kind == LK_CNF_X5T)
            c->cnf_value = jwt_bytes(r);
        else
            lk_json_skip(r);
        if (kind != LK_CNF_NONE)
            c->cnf = kind;
    }
    lk_json_leave_object(r);
    if (known != 1 || c->cnf_value.len == 0 ||
        (c->cnf == LK_CNF_X5T && c->cnf_value.len != THUMBPRINT_LEN)) {
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
        /* Some issuers write an array: not a scope text. */
        if (lk_json_peek(r) == LK_JSON_STRING)
            c->scope = lk_json_string(r);
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

enum lk_err
lk_claims_read_jwt(struct lk_span text, struct lk_buf room, struct lk_claims *claims)
{
    struct lk_span name;
    struct lk_json r;
    enum lk_err err;

    memset(claims, 0, sizeof(*claims));
    if (text.len > room.cap)
        return LK_ERR_NO_SPACE;
    if (text.len > 0)
        memcpy(room.ptr, text.ptr, text.len);
    lk_json_open(&r, room.ptr, text.len);
    lk_json_enter_object(&r);
    while (lk_json_next_member(&r, &name))
        jwt_claim(&r, claim_by_name(name), claims);
    lk_json_leave_object(&r);
    err = lk_json_close(&r);
    if (err != LK_OK) {
        memset(claims, 0, sizeof(*claims));
        return err;
    }
    claims->format = LK_FORMAT_JWT;
    claims->raw = text;
    return LK_OK;
}

/* Writing */

static size_t
cwt_pairs(const struct lk_claims *c)
{
    const bool there[] = {
        c->issuer.ptr != NULL, c->subject.ptr != NULL,  c->audience_count > 0,
        c->has_expires,        c->has_not_before,       c->has_issued,
        c->scope.ptr != NULL,  c->token_id.ptr != NULL, c->cnf != LK_CNF_NONE,
        c->type.ptr != NULL,   c->has_generation,       c->tenant.ptr != NULL,
        c->children_count > 0,
    };
    size_t pairs = 0;

    for (size_t i = 0; i < sizeof(there) / sizeof(there[0]); i++)
        pairs += there[i];
    return pairs;
}

static void
cwt_put_text(struct lk_cbor_out *w, int64_t key, struct lk_span text)
{
    if (text.ptr == NULL)
        return;
    lk_cbor_write_int(w, key);
    lk_cbor_write_text(w, text);
}

static void
cwt_put_named(struct lk_cbor_out *w, struct lk_span name, struct lk_span text)
{
    if (text.ptr == NULL)
        return;
    lk_cbor_write_text(w, name);
    lk_cbor_write_text(w, text);
}

static void
cwt_put_date(struct lk_cbor_out *w, int64_t key, bool there, int64_t date_s)
{
    if (!there)
        return;
    lk_cbor_write_int(w, key);
    lk_cbor_write_int(w, date_s);
}

static void
cwt_put_texts(struct lk_cbor_out *w, const struct lk_span *texts, size_t count)
{
    lk_cbor_write_array(w, count);
    for (size_t i = 0; i < count; i++)
        lk_cbor_write_text(w, texts[i]);
}

static void
cwt_put_audience(struct lk_cbor_out *w, const struct lk_claims *c)
{
    if (c->audience_count == 0)
        return;
    lk_cbor_write_int(w, CWT_AUD);
    if (c->audience_count == 1)
        lk_cbor_write_text(w, c->audience[0]);
    else
        cwt_put_texts(w, c->audience, c->audience_count);
}

static void
cwt_put_confirmation(struct lk_cbor_out *w, const struct lk_claims *c)
{
    if (c->cnf == LK_CNF_NONE)
        return;
    lk_cbor_write_int(w, CWT_CNF);
    lk_cbor_write_map(w, 1);
    if (c->cnf == LK_CNF_KEY) {
        lk_cbor_write_int(w, CNF_COSE_KEY);
        lk_cbor_write_raw(w, c->cnf_value);
    } else {
        lk_cbor_write_int(w, CNF_KID);
        lk_cbor_write_bytes(w, c->cnf_value);
    }
}

/* What both writers ask of the claims. */
static enum lk_err
writable_check(const struct lk_claims *c, bool takes_x5t)
{
    const int64_t dates[] = {c->has_expires ? c->expires_s : 0,
                             c->has_not_before ? c->not_before_s : 0,
                             c->has_issued ? c->issued_s : 0};

    if (c->audience_count > LK_AUDIENCE_MAX || c->children_count > LK_CHILDREN_MAX)
        return LK_ERR_LIMIT;
    for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++)
        if (dates[i] < 0 || dates[i] > (int64_t)1 << 53)
            return LK_ERR_RANGE;
    if (c->has_generation && c->generation > (uint64_t)1 << 53)
        return LK_ERR_RANGE;
    if (c->cnf == LK_CNF_OTHER || (c->cnf == LK_CNF_X5T && !takes_x5t))
        return LK_ERR_UNSUPPORTED;
    if (c->cnf != LK_CNF_NONE && c->cnf_value.len == 0)
        return LK_ERR_ARG;
    return LK_OK;
}

enum lk_err
lk_claims_write_cwt(const struct lk_claims *claims, struct lk_buf room, struct lk_span *out)
{
    const struct lk_claims *c = claims;
    enum lk_err err = writable_check(c, false);
    struct lk_cbor_out w;

    *out = (struct lk_span){NULL, 0};
    if (err != LK_OK)
        return err;
    /* RFC 8949 section 4.2.1: numbers first, then names by their encoded bytes, so the shorter
     * ones come before. */
    lk_cbor_write_open(&w, room);
    lk_cbor_write_map(&w, cwt_pairs(c));
    cwt_put_text(&w, CWT_ISS, c->issuer);
    cwt_put_text(&w, CWT_SUB, c->subject);
    cwt_put_audience(&w, c);
    cwt_put_date(&w, CWT_EXP, c->has_expires, c->expires_s);
    cwt_put_date(&w, CWT_NBF, c->has_not_before, c->not_before_s);
    cwt_put_date(&w, CWT_IAT, c->has_issued, c->issued_s);
    if (c->token_id.ptr != NULL) {
        lk_cbor_write_int(&w, CWT_CTI);
        lk_cbor_write_bytes(&w, c->token_id);
    }
    cwt_put_confirmation(&w, c);
    cwt_put_text(&w, CWT_SCOPE, c->scope);
    cwt_put_named(&w, LK_SPAN("dty"), c->type);
    if (c->has_generation) {
        lk_cbor_write_text(&w, LK_SPAN("gen"));
        lk_cbor_write_uint(&w, c->generation);
    }
    cwt_put_named(&w, LK_SPAN("tnt"), c->tenant);
    if (c->children_count > 0) {
        lk_cbor_write_text(&w, LK_SPAN("children"));
        cwt_put_texts(&w, c->children, c->children_count);
    }
    return lk_cbor_write_close(&w, out);
}

static void
jwt_put_text(struct lk_json_out *w, const char *name, struct lk_span text)
{
    if (text.ptr == NULL)
        return;
    lk_json_write_name(w, name);
    lk_json_write_string(w, text);
}

static void
jwt_put_date(struct lk_json_out *w, const char *name, bool there, int64_t date_s)
{
    if (!there)
        return;
    lk_json_write_name(w, name);
    lk_json_write_int(w, date_s);
}

static void
jwt_put_texts(struct lk_json_out *w, const char *name, const struct lk_span *texts, size_t count)
{
    lk_json_write_name(w, name);
    lk_json_write_array(w);
    for (size_t i = 0; i < count; i++)
        lk_json_write_string(w, texts[i]);
    lk_json_write_array_end(w);
}

static void
jwt_put_confirmation(struct lk_json_out *w, const struct lk_claims *c)
{
    if (c->cnf == LK_CNF_NONE)
        return;
    lk_json_write_name(w, "cnf");
    lk_json_write_object(w);
    if (c->cnf == LK_CNF_KEY) {
        lk_json_write_name(w, "jwk");
        lk_json_write_raw(w, c->cnf_value);
    } else {
        lk_json_write_name(w, c->cnf == LK_CNF_KID ? "kid" : "x5t#S256");
        lk_json_write_base64url(w, c->cnf_value);
    }
    lk_json_write_object_end(w);
}

enum lk_err
lk_claims_write_jwt(const struct lk_claims *claims, struct lk_buf room, struct lk_span *out)
{
    const struct lk_claims *c = claims;
    enum lk_err err = writable_check(c, true);
    struct lk_json_out w;

    *out = (struct lk_span){NULL, 0};
    if (err != LK_OK)
        return err;
    lk_json_write_open(&w, room);
    lk_json_write_object(&w);
    jwt_put_text(&w, "iss", c->issuer);
    jwt_put_text(&w, "sub", c->subject);
    if (c->audience_count == 1)
        jwt_put_text(&w, "aud", c->audience[0]);
    else if (c->audience_count > 1)
        jwt_put_texts(&w, "aud", c->audience, c->audience_count);
    jwt_put_date(&w, "exp", c->has_expires, c->expires_s);
    jwt_put_date(&w, "nbf", c->has_not_before, c->not_before_s);
    jwt_put_date(&w, "iat", c->has_issued, c->issued_s);
    if (c->token_id.ptr != NULL) {
        lk_json_write_name(&w, "jti");
        lk_json_write_base64url(&w, c->token_id);
    }
    jwt_put_confirmation(&w, c);
    jwt_put_text(&w, "scope", c->scope);
    jwt_put_text(&w, "client_id", c->client);
    jwt_put_text(&w, "dty", c->type);
    if (c->has_generation) {
        lk_json_write_name(&w, "gen");
        lk_json_write_int(&w, (int64_t)c->generation);
    }
    jwt_put_text(&w, "tnt", c->tenant);
    if (c->children_count > 0)
        jwt_put_texts(&w, "children", c->children, c->children_count);
    lk_json_write_object_end(&w);
    return lk_json_write_close(&w, out);
}

bool
lk_claims_get_text(const struct lk_claims *claims, struct lk_span name, struct lk_buf room,
                   struct lk_span *value)
{
    struct lk_cbor r;

    *value = (struct lk_span){NULL, 0};
    if (claims->format == LK_FORMAT_JWT)
        return lk_json_find_text(claims->raw, name, room, value);
    if (claims->format != LK_FORMAT_CWT)
        return false;
    lk_cbor_open(&r, claims->raw);
    (void)lk_cbor_enter_map(&r);
    if (!lk_cbor_map_find_text(&r, name))
        return false;
    *value = cwt_text(&r);
    return r.err == LK_OK;
}
