/*
 * application/ace+cbor at the token endpoint: RFC 9200 section 5.8. The same map serves HTTP and
 * CoAP.
 */
#include "request.h"

#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/cbor.h>

/* RFC 9200 section 8.10, figure 12. */
enum ace_key {
    ACE_ACCESS_TOKEN = 1,
    ACE_EXPIRES_IN = 2,
    ACE_REQ_CNF = 4, /* RFC 9201 */
    ACE_AUDIENCE = 5,
    ACE_SCOPE = 9,
    ACE_CLIENT_ID = 24,
    ACE_CLIENT_SECRET = 25,
    ACE_ERROR = 30,
    ACE_ERROR_DESCRIPTION = 31,
    ACE_GRANT_TYPE = 33,
    ACE_TOKEN_TYPE = 34,
    ACE_REFRESH_TOKEN = 37,
    ACE_PROFILE = 38,
    ACE_TOKEN_FORMAT = -65537 /* ours: below -65536 is for private use */
};

#define ACE_TOKEN_TYPE_BEARER 1
#define ACE_PROFILE_COAP_DTLS 1 /* RFC 9202 */
#define ACE_PROFILE_MQTT_TLS  3 /* RFC 9431 */

static enum oauth_error
grant_take(struct lk_cbor *r, struct token_request *request)
{
    /* RFC 9200 section 5.8.1: without a grant_type it is client_credentials. */
    int64_t grant = lk_cbor_map_int(r, ACE_GRANT_TYPE, OAUTH_CLIENT_CREDENTIALS);

    if (r->err == LK_OK && grant != OAUTH_CLIENT_CREDENTIALS && grant != OAUTH_REFRESH_TOKEN)
        return OAUTH_UNSUPPORTED_GRANT_TYPE;
    request->grant = (enum oauth_grant)grant;
    return OAUTH_OK;
}

/** client_secret is a byte string: the 43 characters, or the 32 bytes they stand for. */
static void
secret_take(struct lk_cbor *r, struct token_request *request)
{
    struct lk_span secret = lk_cbor_map_bytes(r, ACE_CLIENT_SECRET);

    request->secret = secret;
    if (secret.len == SECRET_LEN &&
        lk_base64url_encode(secret,
                            (struct lk_buf){(uint8_t *)request->secret_text, SECRET_TEXT_LEN},
                            &request->secret) != LK_OK)
        request->secret = secret;
}

static enum oauth_error
format_take(struct lk_cbor *r, struct token_request *request)
{
    struct lk_span format = lk_cbor_map_text(r, ACE_TOKEN_FORMAT);

    if (r->err != LK_OK || format.ptr == NULL)
        return OAUTH_OK;
    if (lk_span_is(format, "jwt"))
        request->format = LK_FORMAT_JWT;
    else if (lk_span_is(format, "cwt"))
        request->format = LK_FORMAT_CWT;
    else
        return OAUTH_INVALID_REQUEST;
    return OAUTH_OK;
}

static enum oauth_error
scope_take(struct lk_cbor *r, struct token_request *request)
{
    if (!lk_cbor_map_find(r, ACE_SCOPE))
        return OAUTH_OK;
    /* A byte string would be an AIF structure (RFC 9237), which is not offered here. */
    if (lk_cbor_peek(r) == LK_CBOR_BYTES)
        return OAUTH_INVALID_SCOPE;
    request->scope = lk_cbor_text(r);
    return OAUTH_OK;
}

enum oauth_error
ace_take(struct lk_span body, struct token_request *request, const char **why)
{
    enum oauth_error grant, format, scope;
    bool has_req_cnf;
    int64_t expires_in;
    struct lk_span id;
    struct lk_cbor r;

    lk_cbor_open(&r, body);
    lk_cbor_enter_map(&r);
    grant = grant_take(&r, request);
    format = format_take(&r, request);
    scope = scope_take(&r, request);
    has_req_cnf = lk_cbor_map_find(&r, ACE_REQ_CNF);
    request->wants_profile = lk_cbor_map_find(&r, ACE_PROFILE);
    id = lk_cbor_map_text(&r, ACE_CLIENT_ID);
    if (request->by_header && id.ptr != NULL && !lk_span_equal(id, request->id))
        format = OAUTH_INVALID_REQUEST;
    else if (!request->by_header)
        request->id = id;
    if (request->secret.ptr == NULL)
        secret_take(&r, request);
    else if (lk_cbor_map_find(&r, ACE_CLIENT_SECRET))
        format = OAUTH_INVALID_REQUEST; /* RFC 6749 section 2.3: one method a request */
    request->audience = lk_cbor_map_text(&r, ACE_AUDIENCE);
    request->refresh = lk_cbor_map_bytes(&r, ACE_REFRESH_TOKEN);
    expires_in = lk_cbor_map_int(&r, ACE_EXPIRES_IN, 0);
    request->expires_in_s = expires_in;
    if (r.err == LK_OK && lk_cbor_map_find(&r, ACE_EXPIRES_IN) && expires_in < 1)
        format = OAUTH_INVALID_REQUEST;
    lk_cbor_leave_map(&r);
    *why = "the body is not the CBOR map RFC 9200 describes";
    if (lk_cbor_close(&r) != LK_OK)
        return OAUTH_INVALID_REQUEST;
    *why = "only client_credentials (2) and refresh_token (3) are offered";
    if (grant != OAUTH_OK)
        return grant;
    *why = "token_format, expires_in or the client authentication is not valid";
    if (format != OAUTH_OK)
        return format;
    *why = "scope must be text";
    if (scope != OAUTH_OK)
        return scope;
    *why = "tokens bound to a key are not offered";
    return has_req_cnf ? OAUTH_UNSUPPORTED_POP_KEY : OAUTH_OK;
}

enum lk_err
ace_write(const struct token_request *request, const struct token_answer *answer,
          struct lk_buf room, struct lk_span *out)
{
    struct lk_cbor_out w;

    lk_cbor_write_open(&w, room);
    lk_cbor_write_map(&w, 4 + (answer->has_refresh ? 1U : 0U) + (request->wants_profile ? 1U : 0U));
    lk_cbor_write_int(&w, ACE_ACCESS_TOKEN);
    lk_cbor_write_bytes(&w, answer->token);
    lk_cbor_write_int(&w, ACE_EXPIRES_IN);
    lk_cbor_write_int(&w, answer->expires_in_s);
    lk_cbor_write_int(&w, ACE_SCOPE);
    lk_cbor_write_text(&w, answer->scope);
    lk_cbor_write_int(&w, ACE_TOKEN_TYPE);
    lk_cbor_write_int(&w, ACE_TOKEN_TYPE_BEARER);
    if (answer->has_refresh) {
        lk_cbor_write_int(&w, ACE_REFRESH_TOKEN);
        lk_cbor_write_bytes(&w, lk_span_of(answer->refresh, sizeof(answer->refresh)));
    }
    if (request->wants_profile) {
        lk_cbor_write_int(&w, ACE_PROFILE);
        lk_cbor_write_int(&w, answer->audience == CONFIG_AUD_COAP ? ACE_PROFILE_COAP_DTLS
                                                                  : ACE_PROFILE_MQTT_TLS);
    }
    return lk_cbor_write_close(&w, out);
}

enum lk_err
ace_write_error(enum oauth_error error, const char *detail, struct lk_buf room, struct lk_span *out)
{
    struct lk_cbor_out w;

    lk_cbor_write_open(&w, room);
    lk_cbor_write_map(&w, 2);
    lk_cbor_write_int(&w, ACE_ERROR);
    lk_cbor_write_int(&w, error);
    lk_cbor_write_int(&w, ACE_ERROR_DESCRIPTION);
    lk_cbor_write_text(&w, lk_span_text(detail));
    return lk_cbor_write_close(&w, out);
}
