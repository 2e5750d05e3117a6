/*
 * Bearer tokens of management calls (RFC 6750): our own, for latchkey-api, of somebody who is still
 * registered, still active, and whose credentials are still of that generation.
 */
#include "call.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <latchkey/host/log.h>
#include <latchkey/scope.h>
#include <latchkey/token.h>

#include "../audit.h"
#include "../oauth/inspect.h"

static void
refuse(struct http_call *call, unsigned status, const char *code, const char *detail,
       const char *scope, struct lk_span who, enum lk_err why)
{
    struct store_audit audit;
    char challenge[200];

    /* RFC 6750 section 3.1: no error attribute when no credentials were sent. */
    if (code == NULL)
        snprintf(challenge, sizeof(challenge), "Bearer realm=\"latchkey\"");
    else
        snprintf(challenge, sizeof(challenge), "Bearer realm=\"latchkey\", error=\"%s\"%s%s%s",
                 code, scope != NULL ? ", scope=\"" : "", scope != NULL ? scope : "",
                 scope != NULL ? "\"" : "");
    http_header(call, "WWW-Authenticate", challenge);
    if (code != NULL) {
        audit_of(call, "api.access", who, lk_span_text(call->route->path), lk_err_name(why),
                 &audit);
        audit_spare(call->service, &audit);
    }
    http_problem(call, status, code == NULL ? "unauthorized" : code, detail);
}

/** @return the token's text; absent, with the refusal sent, if there is none. */
static struct lk_span
bearer_get(struct http_call *call)
{
    static const struct lk_span none = {NULL, 0};
    bool many;
    const char *header = http_request_header(call, "Authorization", &many);

    if (many) {
        refuse(call, 400, "invalid_request", "more than one Authorization header", NULL, none,
               LK_ERR_DUPLICATE);
        return none;
    }
    if (header == NULL || strncasecmp(header, "Bearer ", 7) != 0) {
        refuse(call, 401, NULL, "a bearer token is needed", NULL, none, LK_OK);
        return none;
    }
    header += 7;
    return lk_span_of(header + strspn(header, " "), strlen(header + strspn(header, " ")));
}

static void
text_put(char *out, size_t size, struct lk_span text)
{
    size_t len = text.len < size ? text.len : size - 1;

    if (len > 0)
        memcpy(out, text.ptr, len);
    out[len] = '\0';
}

static enum lk_err
token_check(struct http_call *call, struct lk_span text, struct lk_buf scratch,
            struct lk_token *token)
{
    enum lk_err err = inspect_token(call->service, call->config, call->db, text,
                                    LK_SPAN("latchkey-api"), call->now_s, scratch, token);

    if (err == LK_OK && token->claims.cnf != LK_CNF_NONE)
        err = LK_ERR_BOUND; /* proof of possession is not offered on this interface */
    return err;
}

static bool
is_world(enum lk_err err)
{
    return err >= LK_ERR_IO;
}

bool
auth_require(struct http_call *call, const char *scope)
{
    /* A device's audience latchkey-api is for its own matters only, whatever its type may do. */
    if (!call->caller.is_device &&
        lk_scope_list_covers(lk_span_text(call->caller.scopes), lk_span_text(scope)))
        return true;
    refuse(call, 403, "insufficient_scope", "the token does not hold the scope for this", scope,
           (struct lk_span){NULL, 0}, LK_ERR_SCOPE);
    return false;
}

bool
auth_check(struct http_call *call, const char *scope)
{
    uint8_t scratch[LK_TOKEN_SCRATCH_MAX];
    struct lk_token token;
    struct lk_span text = bearer_get(call);
    enum lk_err err;

    if (text.ptr == NULL)
        return false;
    err = token_check(call, text, LK_BUF_OF(scratch), &token);
    if (err != LK_OK && is_world(err)) {
        http_fail(call, err);
        return false;
    }
    if (err != LK_OK) {
        lk_log(LK_LOG_INFO, "api request=%s err=%s %s", call->request_id, lk_err_name(err),
               lk_err_text(err));
        refuse(call, 401, "invalid_token", "the token is not valid here", NULL, LK_SPAN("-"), err);
        return false;
    }
    text_put(call->caller.id, sizeof(call->caller.id), token.claims.subject);
    text_put(call->caller.tenant, sizeof(call->caller.tenant), token.claims.tenant);
    text_put(call->caller.scopes, sizeof(call->caller.scopes), token.claims.scope);
    call->caller.is_device = token.claims.type.len > 0;
    return auth_require(call, scope);
}
