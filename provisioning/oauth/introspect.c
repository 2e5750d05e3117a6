/*
 * POST /oauth/introspect: is a token good, and what does it say? RFC 7662 as a form with JSON,
 * RFC 9200 section 5.9 as CBOR. For whom the scope tokens:introspect was given: a bearer token, or
 * the client's own credentials.
 */
#include "token.h"

#include <string.h>
#include <strings.h>

#include <latchkey/base64url.h>
#include <latchkey/cbor.h>
#include <latchkey/json.h>
#include <latchkey/scope.h>

#include "../http/form.h"
#include "client_auth.h"
#include "inspect.h"

#define SCOPE    "tokens:introspect"
#define ACE_TYPE "application/ace+cbor"

/* RFC 9200 section 8.14; not the numbers of the token endpoint. */
enum introspect_key {
    INTRO_ISS = 1,
    INTRO_SUB = 2,
    INTRO_AUD = 3,
    INTRO_EXP = 4,
    INTRO_IAT = 6,
    INTRO_CTI = 7,
    INTRO_SCOPE = 9,
    INTRO_ACTIVE = 10,
    INTRO_TOKEN = 11,
    INTRO_CLIENT_ID = 24,
    INTRO_TOKEN_TYPE = 34
};

#define TOKEN_TYPE_BEARER 1

struct question {
    struct token_request request;
    struct principal principal;
    struct http_form form;
    struct lk_span text; /* the token */
    struct lk_token token;
    uint8_t id[16];
};

/* --- Answers --------------------------------------------------------------------------------- */

static void
name_text(struct lk_json_out *w, const char *name, struct lk_span text)
{
    if (text.len == 0)
        return;
    lk_json_write_name(w, name);
    lk_json_write_string(w, text);
}

static void
name_int(struct lk_json_out *w, const char *name, int64_t value)
{
    lk_json_write_name(w, name);
    lk_json_write_int(w, value);
}

static void
json_claims(struct lk_json_out *w, const struct question *q)
{
    const struct lk_claims *c = &q->token.claims;

    name_text(w, "iss", c->issuer);
    name_text(w, "sub", c->subject);
    name_text(w, "client_id", c->subject); /* ours are issued to their subject */
    name_text(w, "aud", c->audience[0]);
    name_text(w, "scope", c->scope);
    name_text(w, "tnt", c->tenant);
    name_text(w, "dty", c->type);
    name_text(w, "token_type", LK_SPAN("Bearer"));
    lk_json_write_name(w, "jti");
    lk_json_write_base64url(w, lk_span_of(q->id, sizeof(q->id)));
    name_int(w, "exp", c->expires_s);
    name_int(w, "iat", c->issued_s);
    name_int(w, "gen", (int64_t)c->generation);
}

static enum lk_err
json_answer(const struct question *q, bool active, struct lk_buf room, struct lk_span *out)
{
    struct lk_json_out w;

    lk_json_write_open(&w, room);
    lk_json_write_object(&w);
    lk_json_write_name(&w, "active");
    lk_json_write_bool(&w, active);
    if (active)
        json_claims(&w, q);
    lk_json_write_object_end(&w);
    return lk_json_write_close(&w, out);
}

static void
cbor_claims(struct lk_cbor_out *w, const struct question *q)
{
    const struct lk_claims *c = &q->token.claims;

    lk_cbor_write_int(w, INTRO_ISS);
    lk_cbor_write_text(w, c->issuer);
    lk_cbor_write_int(w, INTRO_SUB);
    lk_cbor_write_text(w, c->subject);
    lk_cbor_write_int(w, INTRO_AUD);
    lk_cbor_write_text(w, c->audience[0]);
    lk_cbor_write_int(w, INTRO_EXP);
    lk_cbor_write_int(w, c->expires_s);
    lk_cbor_write_int(w, INTRO_IAT);
    lk_cbor_write_int(w, c->issued_s);
    lk_cbor_write_int(w, INTRO_CTI);
    lk_cbor_write_bytes(w, lk_span_of(q->id, sizeof(q->id)));
    lk_cbor_write_int(w, INTRO_SCOPE);
    lk_cbor_write_text(w, c->scope);
}

static enum lk_err
cbor_answer(const struct question *q, bool active, struct lk_buf room, struct lk_span *out)
{
    struct lk_cbor_out w;

    lk_cbor_write_open(&w, room);
    lk_cbor_write_map(&w, active ? 10 : 1);
    if (active)
        cbor_claims(&w, q);
    lk_cbor_write_int(&w, INTRO_ACTIVE);
    lk_cbor_write_bool(&w, active);
    if (active) {
        lk_cbor_write_int(&w, INTRO_CLIENT_ID);
        lk_cbor_write_text(&w, q->token.claims.subject);
        lk_cbor_write_int(&w, INTRO_TOKEN_TYPE);
        lk_cbor_write_int(&w, TOKEN_TYPE_BEARER);
    }
    return lk_cbor_write_close(&w, out);
}

static void
answer(struct http_call *call, const struct question *q, bool active)
{
    uint8_t room[LK_TOKEN_MAX];
    struct lk_span body;
    enum lk_err err = q->request.is_cbor ? cbor_answer(q, active, LK_BUF_OF(room), &body)
                                         : json_answer(q, active, LK_BUF_OF(room), &body);

    if (err != LK_OK)
        http_fail(call, err);
    else
        http_answer_bytes(call, 200, q->request.is_cbor ? ACE_TYPE : "application/json", body);
}

/* --- Who asks, and about what ------------------------------------------------------------------
 */

static bool
token_take(struct http_call *call, struct question *q)
{
    struct http_inner *in = call_inner(call);
    struct lk_cbor r;

    if (!q->request.is_cbor) {
        q->text = form_get(&q->form, "token");
    } else {
        lk_cbor_open(&r, in->raw_body);
        lk_cbor_enter_map(&r);
        q->text = lk_cbor_map_bytes(&r, INTRO_TOKEN);
        lk_cbor_leave_map(&r);
        if (lk_cbor_close(&r) != LK_OK)
            q->text = (struct lk_span){NULL, 0};
    }
    if (q->text.ptr == NULL)
        oauth_refuse(call, &q->request, OAUTH_INVALID_REQUEST, "token is missing");
    return q->text.ptr != NULL;
}

/** By the role as it is configured now, and by the scopes of the client's own, if it has some. */
static bool
holds_scope(const struct principal *p)
{
    struct lk_span scope = LK_SPAN(SCOPE);

    if (p->is_device || p->kind == NULL ||
        !lk_scope_list_covers(lk_span_text(p->kind->scopes), scope))
        return false;
    return p->client.scopes[0] == '\0' ||
           lk_scope_list_covers(lk_span_text(p->client.scopes), scope);
}

static bool
credentials_check(struct http_call *call, struct question *q)
{
    if (q->request.is_cbor ? !request_take_header(call, &q->request)
                           : !request_take_form(call, &q->request, &q->form))
        return false;
    if (!client_authenticate(call, &q->request, "token.introspect", &q->principal))
        return false;
    http_audit(call, NULL, (struct lk_span){NULL, 0}); /* questions leave no trace, refusals do */
    if (holds_scope(&q->principal))
        return true;
    oauth_refuse(call, &q->request, OAUTH_UNAUTHORIZED_CLIENT, "this client does not hold " SCOPE);
    return false;
}

static bool
asker_check(struct http_call *call, struct question *q)
{
    const char *header = http_request_header(call, "Authorization", NULL);

    q->request.is_cbor = http_is_type(call, ACE_TYPE);
    if (header == NULL || strncasecmp(header, "Bearer ", 7) != 0)
        return credentials_check(call, q);
    if (!auth_check(call, SCOPE))
        return false;
    return q->request.is_cbor || request_parse_form(call, &q->request, &q->form);
}

void
oauth_introspect(struct http_call *call)
{
    struct question *q = http_room(call, sizeof(*q));
    uint8_t scratch[LK_TOKEN_SCRATCH_MAX];
    enum lk_err err;

    if (q == NULL) {
        http_fail(call, LK_ERR_NOMEM);
        return;
    }
    if (!asker_check(call, q) || !token_take(call, q))
        return;
    err = inspect_token(call->service, call->config, call->db, q->text, (struct lk_span){NULL, 0},
                        call->now_s, LK_BUF_OF(scratch), &q->token);
    if (err == LK_OK)
        err = inspect_token_id(&q->token, q->id);
    if (err >= LK_ERR_IO)
        http_fail(call, err);
    else
        answer(call, q, err == LK_OK);
}
