#include <latchkey/device/token_request.h>

#include <latchkey/cbor.h>
#include <latchkey/device/limits.h>

/* RFC 9200 section 8.10: keys of the token endpoint. They are not those of CWT or introspection. */
enum ace_key {
    ACE_ACCESS_TOKEN = 1,
    ACE_EXPIRES_IN = 2,
    ACE_AUDIENCE = 5,
    ACE_CNF = 8,
    ACE_SCOPE = 9,
    ACE_CLIENT_ID = 24,
    ACE_CLIENT_SECRET = 25,
    ACE_ERROR = 30,
    ACE_ERROR_DESCRIPTION = 31,
    ACE_GRANT_TYPE = 33,
    ACE_TOKEN_TYPE = 34,
    ACE_REFRESH_TOKEN = 37,
    ACE_TOKEN_FORMAT = -65537
};

enum { GRANT_CLIENT_CREDENTIALS = 2, GRANT_REFRESH_TOKEN = 3, TOKEN_TYPE_BEARER = 1 };

static bool
is_there(struct lk_span value)
{
    return value.ptr != NULL;
}

static bool
request_is_valid(const struct lk_token_request *q)
{
    return q->client_id.len > 0 && q->client_secret.len > 0 && lk_utf8_is_valid(q->client_id) &&
           lk_utf8_is_valid(q->audience) && lk_utf8_is_valid(q->scope);
}

static void
put_text(struct lk_cbor_out *w, int64_t key, struct lk_span text)
{
    if (!is_there(text))
        return;
    lk_cbor_write_int(w, key);
    lk_cbor_write_text(w, text);
}

static void
put_bytes(struct lk_cbor_out *w, int64_t key, struct lk_span bytes)
{
    if (!is_there(bytes))
        return;
    lk_cbor_write_int(w, key);
    lk_cbor_write_bytes(w, bytes);
}

enum lk_err
lk_token_request_write(const struct lk_token_request *q, struct lk_buf room, struct lk_span *body)
{
    struct lk_cbor_out w;
    size_t pairs = 3; /* client_id, client_secret, grant_type */

    *body = (struct lk_span){NULL, 0};
    if (!request_is_valid(q))
        return LK_ERR_ARG;
    pairs += q->expires_in_s != 0 ? 1 : 0;
    pairs += is_there(q->audience) ? 1 : 0;
    pairs += is_there(q->scope) ? 1 : 0;
    pairs += is_there(q->refresh_token) ? 1 : 0;
    pairs += q->format != LK_FORMAT_NONE ? 1 : 0;

    /* In the order of RFC 8949 section 4.2.1, which is not that of the numbers: -65537 is last. */
    lk_cbor_write_open(&w, room);
    lk_cbor_write_map(&w, pairs);
    if (q->expires_in_s != 0) {
        lk_cbor_write_int(&w, ACE_EXPIRES_IN);
        lk_cbor_write_uint(&w, q->expires_in_s);
    }
    put_text(&w, ACE_AUDIENCE, q->audience);
    put_text(&w, ACE_SCOPE, q->scope);
    put_text(&w, ACE_CLIENT_ID, q->client_id);
    put_bytes(&w, ACE_CLIENT_SECRET, q->client_secret);
    lk_cbor_write_int(&w, ACE_GRANT_TYPE);
    lk_cbor_write_uint(&w,
                       is_there(q->refresh_token) ? GRANT_REFRESH_TOKEN : GRANT_CLIENT_CREDENTIALS);
    put_bytes(&w, ACE_REFRESH_TOKEN, q->refresh_token);
    if (q->format != LK_FORMAT_NONE)
        put_text(&w, ACE_TOKEN_FORMAT,
                 q->format == LK_FORMAT_JWT ? LK_SPAN("jwt") : LK_SPAN("cwt"));
    return lk_cbor_write_close(&w, body);
}

static enum lk_err
answer_check(const struct lk_token_answer *a, int64_t expires_in_s, int64_t token_type,
             bool has_cnf)
{
    if (a->error != 0)
        return is_there(a->access_token) ? LK_ERR_MALFORMED : LK_OK;
    if (a->access_token.len == 0 || expires_in_s == 0)
        return LK_ERR_MISSING;
    if (expires_in_s < 0)
        return LK_ERR_RANGE;
    /* RFC 9200 section 5.8.2: an absent token_type means PoP; without a key there is no proof. */
    if (token_type != TOKEN_TYPE_BEARER || has_cnf)
        return LK_ERR_BOUND;
    return LK_OK;
}

enum lk_err
lk_token_answer_parse(struct lk_span body, struct lk_token_answer *answer)
{
    struct lk_token_answer a = {0};
    struct lk_cbor r;
    int64_t expires_in_s, token_type, error = 0;
    bool has_cnf;
    enum lk_err err;

    *answer = a;
    lk_cbor_open(&r, body);
    lk_cbor_enter_map(&r);
    a.access_token = lk_cbor_map_bytes(&r, ACE_ACCESS_TOKEN);
    a.refresh_token = lk_cbor_map_bytes(&r, ACE_REFRESH_TOKEN);
    expires_in_s = lk_cbor_map_int(&r, ACE_EXPIRES_IN, 0);
    token_type = lk_cbor_map_int(&r, ACE_TOKEN_TYPE, TOKEN_TYPE_BEARER);
    if (lk_cbor_map_find(&r, ACE_ERROR)) {
        error = lk_cbor_int(&r);
        if (error == 0 || error > INT32_MAX || error < INT32_MIN)
            error = LK_OAUTH_INVALID_REQUEST;
    }
    a.error_description = lk_cbor_map_text(&r, ACE_ERROR_DESCRIPTION);
    has_cnf = lk_cbor_map_find(&r, ACE_CNF);
    if (has_cnf)
        lk_cbor_skip(&r);
    /* A scope may also be a byte string (AIF); a device has no use for that one. */
    if (lk_cbor_map_find(&r, ACE_SCOPE)) {
        if (lk_cbor_peek(&r) == LK_CBOR_TEXT)
            a.scope = lk_cbor_text(&r);
        else
            lk_cbor_skip(&r);
    }
    lk_cbor_leave_map(&r);
    err = lk_cbor_close(&r);
    if (err != LK_OK)
        return err;

    a.error = (int32_t)error;
    err = answer_check(&a, expires_in_s, token_type, has_cnf);
    if (err != LK_OK)
        return err;
    if (expires_in_s > LK_SOURCE_LIFETIME_MAX_S)
        expires_in_s = LK_SOURCE_LIFETIME_MAX_S;
    a.expires_in_s = (uint32_t)expires_in_s;
    *answer = a;
    return LK_OK;
}

const char *
lk_oauth_error_name(int32_t error)
{
    static const char *const names[] = {
        "none",          "invalid_request",     "invalid_client",
        "invalid_grant", "unauthorized_client", "unsupported_grant_type",
        "invalid_scope", "unsupported_pop_key", "incompatible_ace_profiles",
    };

    if (error < 0 || (size_t)error >= sizeof(names) / sizeof(names[0]))
        return "unknown";
    return names[error];
}
