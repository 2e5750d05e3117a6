#include "request.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <latchkey/base64url.h>
#include <latchkey/json.h>

#include "../http/form.h"

#define FORM_TYPE "application/x-www-form-urlencoded"
#define ACE_TYPE  "application/ace+cbor"

/* What surrounds the token in an answer: scope, refresh token, member names. */
#define ANSWER_EXTRA (LK_SCOPE_MAX + 1024)

static const char *const error_names[] = {
    [OAUTH_OK] = "ok",
    [OAUTH_INVALID_REQUEST] = "invalid_request",
    [OAUTH_INVALID_CLIENT] = "invalid_client",
    [OAUTH_INVALID_GRANT] = "invalid_grant",
    [OAUTH_UNAUTHORIZED_CLIENT] = "unauthorized_client",
    [OAUTH_UNSUPPORTED_GRANT_TYPE] = "unsupported_grant_type",
    [OAUTH_INVALID_SCOPE] = "invalid_scope",
    [OAUTH_UNSUPPORTED_POP_KEY] = "unsupported_pop_key",
};

/* --- Answers --------------------------------------------------------------------------------- */

static enum lk_err
json_write_error(enum oauth_error error, const char *detail, struct lk_buf room,
                 struct lk_span *out)
{
    struct lk_json_out w;

    lk_json_write_open(&w, room);
    lk_json_write_object(&w);
    lk_json_write_name(&w, "error");
    lk_json_write_string(&w, lk_span_text(error_names[error]));
    lk_json_write_name(&w, "error_description");
    lk_json_write_string(&w, lk_span_text(detail));
    lk_json_write_object_end(&w);
    return lk_json_write_close(&w, out);
}

static void
refuse_with(struct http_call *call, const struct token_request *request, unsigned status,
            enum oauth_error error, const char *detail)
{
    uint8_t room[512];
    struct lk_span body;
    enum lk_err err = request->is_cbor ? ace_write_error(error, detail, LK_BUF_OF(room), &body)
                                       : json_write_error(error, detail, LK_BUF_OF(room), &body);

    if (err != LK_OK)
        body = (struct lk_span){NULL, 0};
    if (status == 401) /* RFC 6749 section 5.2, RFC 9110 section 11.6.1 */
        http_header(call, "WWW-Authenticate", "Basic realm=\"latchkey\", charset=\"UTF-8\"");
    http_header(call, "Pragma", "no-cache");
    http_code(call, error_names[error]);
    http_answer_bytes(call, status, request->is_cbor ? ACE_TYPE : "application/json", body);
    http_code(call, error_names[error]);
}

void
oauth_refuse(struct http_call *call, const struct token_request *request, enum oauth_error error,
             const char *detail)
{
    unsigned status = error == OAUTH_INVALID_CLIENT ? 401 : 400;

    if (call_inner(call)->retry_after_s > 0)
        status = 429;
    refuse_with(call, request, status, error, detail);
}

static void
json_write_token(struct lk_json_out *w, const struct token_answer *answer)
{
    lk_json_write_name(w, "access_token");
    if (answer->format == LK_FORMAT_CWT)
        lk_json_write_base64url(w, answer->token); /* RFC 9200 section 5.8.2: as text in JSON */
    else
        lk_json_write_string(w, answer->token);
    lk_json_write_name(w, "token_type");
    lk_json_write_string(w, LK_SPAN("Bearer"));
}

static enum lk_err
json_write(const struct token_request *request, const struct token_answer *answer,
           struct lk_buf room, struct lk_span *out)
{
    struct lk_json_out w;

    lk_json_write_open(&w, room);
    lk_json_write_object(&w);
    json_write_token(&w, answer);
    lk_json_write_name(&w, "expires_in");
    lk_json_write_int(&w, answer->expires_in_s);
    lk_json_write_name(&w, "scope");
    lk_json_write_string(&w, answer->scope);
    if (answer->has_refresh) {
        lk_json_write_name(&w, "refresh_token");
        lk_json_write_base64url(&w, lk_span_of(answer->refresh, sizeof(answer->refresh)));
    }
    if (request->wants_profile) {
        lk_json_write_name(&w, "ace_profile");
        lk_json_write_string(&w, answer->audience == CONFIG_AUD_COAP ? LK_SPAN("coap_dtls")
                                                                     : LK_SPAN("mqtt_tls"));
    }
    lk_json_write_object_end(&w);
    return lk_json_write_close(&w, out);
}

enum lk_err
answer_send(struct http_call *call, const struct token_request *request,
            const struct token_answer *answer)
{
    /* base64url of a CWT of the greatest length, and the rest */
    uint8_t room[LK_BASE64URL_LEN(LK_TOKEN_MAX) + ANSWER_EXTRA];
    struct lk_span body;
    enum lk_err err = request->is_cbor ? ace_write(request, answer, LK_BUF_OF(room), &body)
                                       : json_write(request, answer, LK_BUF_OF(room), &body);

    if (err == LK_OK) {
        http_header(call, "Pragma", "no-cache"); /* RFC 6749 section 5.1; no-store is always set */
        http_answer_bytes(call, 200, request->is_cbor ? ACE_TYPE : "application/json", body);
    }
    lk_wipe(room, sizeof(room));
    return err;
}

/* --- Requests: the form
 * --------------------------------------------------------------------------- */

static enum oauth_error
form_grant(const struct http_form *form, struct token_request *request, const char **why)
{
    struct lk_span grant = form_get(form, "grant_type");

    *why = "grant_type is missing";
    if (grant.ptr == NULL)
        return OAUTH_INVALID_REQUEST;
    *why = "only client_credentials and refresh_token are offered";
    if (lk_span_is(grant, "client_credentials"))
        request->grant = OAUTH_CLIENT_CREDENTIALS;
    else if (lk_span_is(grant, "refresh_token"))
        request->grant = OAUTH_REFRESH_TOKEN;
    else
        return OAUTH_UNSUPPORTED_GRANT_TYPE;
    return OAUTH_OK;
}

static enum oauth_error
form_credentials(const struct http_form *form, struct token_request *request, const char **why)
{
    struct lk_span id = form_get(form, "client_id");
    struct lk_span secret = form_get(form, "client_secret");

    *why = "client authentication by more than one method";
    if (request->by_header && secret.ptr != NULL)
        return OAUTH_INVALID_REQUEST;
    *why = "client_id is not the one in the Authorization header";
    if (request->by_header && id.ptr != NULL && !lk_span_equal(id, request->id))
        return OAUTH_INVALID_REQUEST;
    *why = "client_assertion is not offered";
    if (form_get(form, "client_assertion").ptr != NULL)
        return request->by_header || secret.ptr != NULL ? OAUTH_INVALID_REQUEST
                                                        : OAUTH_INVALID_CLIENT;
    if (!request->by_header) {
        request->id = id;
        request->secret = secret;
    }
    return OAUTH_OK;
}

static bool
number_take(struct lk_span text, int64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || *out > INT32_MAX)
            return false;
        *out = *out * 10 + (text.ptr[i] - '0');
    }
    return *out > 0;
}

static enum oauth_error
form_options(const struct http_form *form, struct token_request *request, const char **why)
{
    struct lk_span format = form_get(form, "token_format");
    struct lk_span expires_in = form_get(form, "expires_in");

    *why = "token_format must be jwt or cwt";
    if (lk_span_is(format, "jwt"))
        request->format = LK_FORMAT_JWT;
    else if (lk_span_is(format, "cwt"))
        request->format = LK_FORMAT_CWT;
    else if (format.ptr != NULL)
        return OAUTH_INVALID_REQUEST;
    *why = "expires_in must be a number of seconds";
    if (expires_in.ptr != NULL && !number_take(expires_in, &request->expires_in_s))
        return OAUTH_INVALID_REQUEST;
    request->scope = form_get(form, "scope");
    request->audience = form_get(form, "audience");
    request->refresh = form_get(form, "refresh_token");
    *why = "tokens bound to a key are not offered";
    return form_get(form, "req_cnf").ptr != NULL ? OAUTH_UNSUPPORTED_POP_KEY : OAUTH_OK;
}

/** RFC 9200 section 5.8.4.3: present and empty asks for it; and an empty value counts as none. */
static bool
form_wants_profile(const struct http_form *form)
{
    for (size_t i = 0; i < form->count; i++)
        if (lk_span_is(form->param[i].name, "ace_profile"))
            return true;
    return false;
}

static enum oauth_error
form_take(struct lk_span body, struct token_request *request, const char **why)
{
    struct http_form form;
    enum oauth_error error;
    /* The body is the call's own buffer: lent, and wiped at the end. */
    enum lk_err err = form_parse((char *)(uintptr_t)body.ptr, body.len, &form);

    *why = err == LK_ERR_DUPLICATE ? "a parameter appears twice"
                                   : "the body is not a form of valid UTF-8";
    if (err != LK_OK)
        return OAUTH_INVALID_REQUEST;
    request->wants_profile = form_wants_profile(&form);
    error = form_credentials(&form, request, why);
    if (error == OAUTH_OK)
        error = form_grant(&form, request, why);
    return error == OAUTH_OK ? form_options(&form, request, why) : error;
}

/* --- Requests
 * ------------------------------------------------------------------------------------------ */

static enum oauth_error
header_take(struct http_call *call, struct token_request *request, const char **why)
{
    bool many;
    const char *header = http_request_header(call, "Authorization", &many);
    size_t len = header == NULL ? 0 : strlen(header);
    uint8_t *room;

    *why = "more than one Authorization header";
    if (many)
        return OAUTH_INVALID_REQUEST;
    if (header == NULL)
        return OAUTH_OK;
    *why = "Authorization must be Basic, with a form-urlencoded id and secret";
    request->by_header = true;
    if (len > 1024 || strncasecmp(header, "Basic ", 6) != 0)
        return OAUTH_INVALID_CLIENT;
    room = http_room(call, len);
    header += 6 + strspn(header + 6, " ");
    if (room == NULL ||
        basic_parse(header, (struct lk_buf){room, len}, &request->id, &request->secret) != LK_OK)
        return OAUTH_INVALID_CLIENT;
    return OAUTH_OK;
}

bool
request_parse_form(struct http_call *call, struct token_request *request, struct http_form *form)
{
    struct http_inner *in = call_inner(call);

    if (!http_is_type(call, FORM_TYPE)) {
        refuse_with(call, request, 415, OAUTH_INVALID_REQUEST,
                    "Content-Type " FORM_TYPE " expected");
        return false;
    }
    if (in->raw_body.len > HTTP_TOKEN_BODY_MAX) {
        refuse_with(call, request, 413, OAUTH_INVALID_REQUEST, "the body is too long");
        return false;
    }
    if (form_parse((char *)(uintptr_t)in->raw_body.ptr, in->raw_body.len, form) == LK_OK)
        return true;
    oauth_refuse(call, request, OAUTH_INVALID_REQUEST,
                 "the body is not a form of valid UTF-8, or names a parameter twice");
    return false;
}

bool
request_take_header(struct http_call *call, struct token_request *request)
{
    const char *why = "";
    enum oauth_error error = header_take(call, request, &why);

    if (error != OAUTH_OK)
        oauth_refuse(call, request, error, why);
    return error == OAUTH_OK;
}

bool
request_take_form(struct http_call *call, struct token_request *request, struct http_form *form)
{
    const char *why = "";
    enum oauth_error error;

    if (!request_parse_form(call, request, form))
        return false;
    error = header_take(call, request, &why);
    if (error == OAUTH_OK)
        error = form_credentials(form, request, &why);
    if (error == OAUTH_OK)
        return true;
    oauth_refuse(call, request, error, why);
    return false;
}

bool
request_take(struct http_call *call, struct token_request *request)
{
    struct http_inner *in = call_inner(call);
    const char *why = "";
    enum oauth_error error;

    request->is_cbor = http_is_type(call, ACE_TYPE);
    if (!request->is_cbor && !http_is_type(call, FORM_TYPE)) {
        refuse_with(call, request, 415, OAUTH_INVALID_REQUEST,
                    "Content-Type " FORM_TYPE " or " ACE_TYPE " expected");
        return false;
    }
    if (in->raw_body.len > HTTP_TOKEN_BODY_MAX) {
        refuse_with(call, request, 413, OAUTH_INVALID_REQUEST, "the body is too long");
        return false;
    }
    error = header_take(call, request, &why);
    if (error == OAUTH_OK)
        error = request->is_cbor ? ace_take(in->raw_body, request, &why)
                                 : form_take(in->raw_body, request, &why);
    if (error == OAUTH_OK)
        return true;
    oauth_refuse(call, request, error, why);
    return false;
}
