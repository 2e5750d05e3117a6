/*
 * POST /oauth/revoke (RFC 7009): a client takes back a token of its own.
 */
#include "token.h"

#include <stdio.h>
#include <string.h>

#include "../http/form.h"
#include "client_auth.h"
#include "inspect.h"

struct revocation {
    struct token_request request;
    struct principal principal;
    struct http_form form;
    struct refresh refresh;
    bool is_refresh;
    struct store_token token; /* an access token */
};

/** RFC 7009 section 2.2: also for a token that is unknown or no good any more. */
static void
answer_done(struct http_call *call)
{
    http_answer_bytes(call, 200, "application/json", (struct lk_span){NULL, 0});
}

/* RFC 7009 section 2.1: a token of somebody else is refused, and the client is told. */
static enum lk_err
refuse_foreign(struct http_call *call)
{
    struct revocation *r = call->op;

    oauth_refuse(call, &r->request, OAUTH_UNAUTHORIZED_CLIENT,
                 "the token was issued to another client");
    return LK_ERR_DENIED;
}

static enum lk_err
family_end(struct store_db *db, struct http_call *call)
{
    struct revocation *r = call->op;
    struct store_family family;
    enum lk_err err = store_family_get(db, r->refresh.family, &family);

    if (err == LK_ERR_NOT_FOUND || (err == LK_OK && family.revoked_s != 0))
        return LK_OK;
    if (err == LK_OK && strcmp(family.device, call->caller.id) != 0)
        return refuse_foreign(call);
    return err == LK_OK ? store_family_revoke(db, &family, call->now_s) : err;
}

/** On the writer's thread. */
static enum lk_err
revocation_write(struct store_db *db, struct http_call *call)
{
    struct revocation *r = call->op;
    enum lk_err err =
        r->is_refresh ? family_end(db, call) : store_token_revoke(db, &r->token, call->now_s);

    if (err == LK_OK)
        answer_done(call);
    return err;
}

/** @return LK_OK: it is a good one of this client. */
static enum lk_err
access_take(struct http_call *call, struct lk_span text)
{
    struct revocation *r = call->op;
    uint8_t scratch[LK_TOKEN_SCRATCH_MAX];
    struct lk_token token;
    enum lk_err err =
        inspect_token(call->service, call->config, call->db, text, (struct lk_span){NULL, 0},
                      call->now_s, LK_BUF_OF(scratch), &token);

    if (err != LK_OK)
        return err;
    if (!lk_span_equal(token.claims.subject, lk_span_text(call->caller.id)))
        return LK_ERR_DENIED;
    r->token.who = r->principal.is_device ? STORE_DEVICE : STORE_CLIENT;
    snprintf(r->token.subject, sizeof(r->token.subject), "%s", call->caller.id);
    r->token.generation = token.claims.generation;
    r->token.expires_s = token.claims.expires_s;
    return inspect_token_id(&token, r->token.id);
}

void
oauth_revoke(struct http_call *call)
{
    struct revocation *r = http_room(call, sizeof(*r));
    struct lk_span text;
    enum lk_err err;

    call->op = r;
    if (r == NULL) {
        http_fail(call, LK_ERR_NOMEM);
        return;
    }
    if (!request_take_form(call, &r->request, &r->form) ||
        !client_authenticate(call, &r->request, "token.revoke", &r->principal))
        return;
    text = form_get(&r->form, "token");
    if (text.ptr == NULL) {
        oauth_refuse(call, &r->request, OAUTH_INVALID_REQUEST, "token is missing");
        return;
    }
    /* token_type_hint is a hint; what it is shows by itself. */
    r->is_refresh = refresh_parse(call->service->seal, text, &r->refresh) == LK_OK;
    err = r->is_refresh ? LK_OK : access_take(call, text);
    if (err == LK_OK)
        http_write(call, revocation_write, NULL);
    else if (err == LK_ERR_DENIED)
        (void)refuse_foreign(call);
    else if (err >= LK_ERR_IO)
        http_fail(call, err); /* RFC 7009 section 2.2.1: 503 says that the token still exists */
    else {
        http_audit(call, NULL, (struct lk_span){NULL, 0}); /* nothing was done */
        answer_done(call);
    }
}
