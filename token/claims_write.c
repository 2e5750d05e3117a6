/* Claims sets, written. */
#include <latchkey/claims.h>

#include "cwt_labels.h"

#include <latchkey/cbor.h>
#include <latchkey/json.h>

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
    /* Thumbprints and encrypted keys are only read: nobody here issues them. */
    if (c->cnf == LK_CNF_OTHER || c->cnf == LK_CNF_THUMBPRINT || c->cnf == LK_CNF_ENCRYPTED ||
        (c->cnf == LK_CNF_X5T && !takes_x5t))
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
