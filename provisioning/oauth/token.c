/*
 * The token endpoint. The worker authenticates, decides and signs; the writer does what must be
 * exact between two requests (the refresh family) and durable (family and audit), and only then the
 * answer leaves.
 */
#include "token.h"

#include <stdio.h>
#include <string.h>

#include <latchkey/crypto.h>
#include <latchkey/host/clock.h>
#include <latchkey/host/log.h>
#include <latchkey/scope.h>

#include "client_auth.h"
#include "issue.h"
#include "refresh.h"

struct grant {
    struct token_request request;
    struct principal principal;
    struct refresh presented;   /* grant refresh_token */
    struct store_family family; /* of it; or the new one */
    struct store_children children;
    char scopes[LK_SCOPE_MAX + 1]; /* that this token gets */
    unsigned audience;
    uint64_t generation; /* of this token */
    struct issued issued;
    struct token_answer answer;
    uint8_t token[LK_TOKEN_MAX];
};

static bool
refuse(struct http_call *call, enum oauth_error error, const char *detail)
{
    const struct grant *g = call->op;

    oauth_refuse(call, &g->request, error, detail);
    return false;
}

/* --- Deciding: scope, audience, lifetime
 * ---------------------------------------------------------- */

static bool
scopes_have(const char *scopes, struct lk_span scope)
{
    struct lk_span rest = lk_span_text(scopes), one;

    while (lk_scope_next(&rest, &one))
        if (lk_span_equal(one, scope))
            return true;
    return false;
}

static void
scopes_add(char *scopes, struct lk_span scope)
{
    size_t len = strlen(scopes);

    if (scopes_have(scopes, scope) || len + scope.len + 1 > LK_SCOPE_MAX)
        return;
    if (len > 0)
        scopes[len++] = ' ';
    memcpy(scopes + len, scope.ptr, scope.len);
    scopes[len + scope.len] = '\0';
}

/** What the principal may have at most, by its type or role as configured today. */
static struct lk_span
scopes_held(const struct principal *p)
{
    if (!p->is_device && p->client.scopes[0] != '\0')
        return lk_span_text(p->client.scopes);
    return lk_span_text(p->kind->scopes);
}

/** Of `from`, what the type or role still holds today. */
static void
scopes_filter(const struct principal *p, struct lk_span from, char *out)
{
    struct lk_span scope;

    out[0] = '\0';
    while (lk_scope_next(&from, &scope))
        if (lk_scope_list_covers(lk_span_text(p->kind->scopes), scope))
            scopes_add(out, scope);
}

static bool
scopes_decide(struct http_call *call, struct lk_span held)
{
    struct grant *g = call->op;
    struct lk_span wanted = g->request.scope, scope;
    char most[LK_SCOPE_MAX + 1];

    scopes_filter(&g->principal, held, most);
    if (wanted.ptr == NULL) {
        memcpy(g->scopes, most, sizeof(g->scopes));
    } else {
        if (lk_scope_check(wanted) != LK_OK)
            return refuse(call, OAUTH_INVALID_SCOPE, "scope is malformed");
        while (lk_scope_next(&wanted, &scope)) {
            if (!lk_scope_list_covers(lk_span_text(most), scope))
                return refuse(call, OAUTH_INVALID_SCOPE, "a scope is more than this client holds");
            scopes_add(g->scopes, scope);
        }
    }
    if (g->scopes[0] == '\0')
        return refuse(call, OAUTH_INVALID_SCOPE, "no scope is left for this client");
    return true;
}

static bool
audience_decide(struct http_call *call)
{
    struct grant *g = call->op;
    const struct config_kind *kind = g->principal.kind;
    unsigned wanted = 0;

    if (g->request.audience.ptr != NULL) {
        wanted = config_audience_of(g->request.audience);
        if ((wanted & kind->audiences) == 0)
            return refuse(call, OAUTH_INVALID_REQUEST, "this client may not ask for that audience");
    }
    if (g->request.grant == OAUTH_CLIENT_CREDENTIALS) {
        g->audience = wanted != 0 ? wanted : kind->audience;
        return true;
    }
    /* RFC 9200 section 5.8.1: a refresh does not change the audience. */
    if (wanted != 0 && wanted != g->family.audience)
        return refuse(call, OAUTH_INVALID_REQUEST, "a refresh cannot change the audience");
    if ((g->family.audience & kind->audiences) == 0)
        return refuse(call, OAUTH_INVALID_GRANT, "the audience is not allowed any more");
    g->audience = g->family.audience;
    return true;
}

static int64_t
lifetime_decide(const struct grant *g)
{
    const struct principal *p = &g->principal;
    int64_t lifetime_s = p->kind->access_lifetime_s;

    if (!p->is_device && p->client.lifetime_s > 0) {
        lifetime_s = p->client.lifetime_s;
        if (lifetime_s > p->kind->access_lifetime_max_s)
            lifetime_s = p->kind->access_lifetime_max_s;
    }
    if (g->request.expires_in_s > 0 && g->request.expires_in_s < lifetime_s)
        lifetime_s = g->request.expires_in_s; /* shorter only */
    return lifetime_s;
}

/** The family of the presented token. What is decided here holds; whether it is the newest is
 * decided by the writer. */
static bool
family_find(struct http_call *call)
{
    struct grant *g = call->op;
    const struct principal *p = &g->principal;
    enum lk_err err;

    if (!p->is_device)
        return refuse(call, OAUTH_UNAUTHORIZED_CLIENT, "refresh tokens are for devices");
    if (g->request.refresh.ptr == NULL)
        return refuse(call, OAUTH_INVALID_REQUEST, "refresh_token is missing");
    err = refresh_parse(call->service->seal, g->request.refresh, &g->presented);
    if (err == LK_OK)
        err = store_family_get(call->db, g->presented.family, &g->family);
    if (err != LK_OK && err != LK_ERR_NOT_FOUND && err != LK_ERR_CREDENTIAL) {
        http_fail(call, err);
        return false;
    }
    if (err != LK_OK || strcmp(g->family.device, p->device.id) != 0 ||
        g->family.generation < device_generation_floor(&p->device, call->now_s))
        return refuse(call, OAUTH_INVALID_GRANT, "the refresh token is not valid");
    return true;
}

/* --- Writing
 * ------------------------------------------------------------------------------------------ */

static enum lk_err
family_begin(struct store_db *db, struct http_call *call)
{
    struct grant *g = call->op;
    struct store_family *f = &g->family;
    enum lk_err err = lk_crypto_random(LK_BUF_OF(f->id));

    if (err != LK_OK)
        return err;
    snprintf(f->device, sizeof(f->device), "%s", g->principal.device.id);
    memcpy(f->scopes, g->scopes, sizeof(f->scopes));
    f->audience = g->audience;
    f->generation = g->principal.generation;
    f->counter = 1;
    f->created_s = call->now_s;
    f->expires_s = call->now_s + call->config->refresh_lifetime_s;
    store_family_note(f, g->issued.id, g->issued.expires_s, call->now_s);
    return store_family_put(db, f, REFRESH_FAMILIES_MAX);
}

static enum lk_err
family_refuse(struct http_call *call, bool keeps)
{
    if (keeps)
        http_keep(call);
    refuse(call, OAUTH_INVALID_GRANT, "the refresh token is not valid");
    return keeps ? LK_OK : LK_ERR_DENIED;
}

static enum lk_err
family_rotate(struct store_db *db, struct http_call *call)
{
    struct grant *g = call->op;
    enum lk_err err = store_family_get(db, g->presented.family, &g->family);

    if (err == LK_ERR_NOT_FOUND)
        return family_refuse(call, false);
    if (err != LK_OK)
        return err;
    switch (refresh_judge(&g->family, g->presented.counter, lk_clock_wall_ms(),
                          call->config->refresh_lifetime_s, call->config->refresh_grace_s)) {
    case REFRESH_ROTATED:
    case REFRESH_REPEATED:
        store_family_note(&g->family, g->issued.id, g->issued.expires_s, call->now_s);
        return store_family_update(db, &g->family);
    case REFRESH_REUSED:
        lk_log(LK_LOG_WARN,
               "oauth device=%s request=%s an old refresh token was used again: its"
               " family and its access tokens are revoked",
               g->principal.device.id, call->request_id);
        err = store_family_revoke(db, &g->family, call->now_s);
        return err == LK_OK ? family_refuse(call, true) : err;
    case REFRESH_DEAD:
        break;
    }
    return family_refuse(call, false);
}

/** On the writer's thread. */
static enum lk_err
grant_write(struct store_db *db, struct http_call *call)
{
    struct grant *g = call->op;
    struct refresh refresh;
    enum lk_err err = LK_OK;

    if (g->request.grant == OAUTH_REFRESH_TOKEN)
        err = family_rotate(db, call);
    else if (g->principal.is_device)
        err = family_begin(db, call);
    if (err == LK_OK && http_status(call) == 0)
        err = store_token_issued(db, g->principal.is_device ? STORE_DEVICE : STORE_CLIENT,
                                 lk_span_text(call->caller.id), g->generation, g->issued.expires_s,
                                 call->now_s);
    if (err == LK_ERR_STATE)
        err = LK_ERR_BUSY; /* revoked in this moment: whoever asks again is told why */
    if (err != LK_OK || http_status(call) != 0)
        return err;
    if (g->principal.is_device) {
        memcpy(refresh.family, g->family.id, sizeof(refresh.family));
        refresh.counter = g->family.counter;
        err = refresh_write(call->service->seal, &refresh, g->answer.refresh);
        g->answer.has_refresh = true;
    }
    return err == LK_OK ? answer_send(call, &g->request, &g->answer) : err;
}

/* --- Signing
 * ------------------------------------------------------------------------------------------- */

static enum lk_err
children_load(struct http_call *call, struct grant *g)
{
    enum lk_err err =
        store_children_get(call->db, lk_span_text(g->principal.device.id), &g->children);

    if (err != LK_ERR_LIMIT)
        return err;
    lk_log(LK_LOG_WARN, "oauth device=%s only the first %d of its children are in the token",
           g->principal.device.id, LK_CHILDREN_MAX);
    return LK_OK;
}

/** That of the secret; and of the family, if that is of an older one. */
static uint64_t
generation_decide(const struct grant *g)
{
    if (g->request.grant == OAUTH_REFRESH_TOKEN && g->family.generation < g->principal.generation)
        return g->family.generation;
    return g->principal.generation;
}

static enum lk_err
grant_sign(struct http_call *call)
{
    struct grant *g = call->op;
    const struct principal *p = &g->principal;
    struct issue issue = {.subject = lk_span_text(call->caller.id),
                          .tenant = lk_span_text(call->caller.tenant),
                          .type = p->is_device ? lk_span_text(p->device.type)
                                               : (struct lk_span){NULL, 0},
                          .scopes = lk_span_text(g->scopes),
                          .audience = g->audience,
                          .generation = g->generation,
                          .lifetime_s = lifetime_decide(g),
                          .format = g->request.format,
                          .children = p->is_device ? &g->children : NULL};
    enum lk_err err = p->is_device ? children_load(call, g) : LK_OK;

    if (issue.format == LK_FORMAT_NONE)
        issue.format = g->request.is_cbor ? LK_FORMAT_CWT : LK_FORMAT_JWT;
    if (err == LK_OK)
        err = oauth_issue(call->service, &issue, call->now_s, LK_BUF_OF(g->token), &g->issued);
    g->answer = (struct token_answer){.token = g->issued.token,
                                      .format = issue.format,
                                      .expires_in_s = issue.lifetime_s,
                                      .scope = issue.scopes,
                                      .audience = g->audience};
    return err;
}

void
oauth_token(struct http_call *call)
{
    struct grant *g = http_room(call, sizeof(*g));
    enum lk_err err;

    call->op = g;
    if (g == NULL) {
        http_fail(call, LK_ERR_NOMEM);
        return;
    }
    if (!request_take(call, &g->request) ||
        !client_authenticate(call, &g->request, "token.issue", &g->principal))
        return;
    if (g->principal.kind == NULL) {
        refuse(call, OAUTH_UNAUTHORIZED_CLIENT,
               "the type or role of this client is not configured");
        return;
    }
    if (g->request.grant == OAUTH_REFRESH_TOKEN && !family_find(call))
        return;
    if (!audience_decide(call) || !scopes_decide(call, g->request.grant == OAUTH_REFRESH_TOKEN
                                                           ? lk_span_text(g->family.scopes)
                                                           : scopes_held(&g->principal)))
        return;
    g->generation = generation_decide(g);
    err = grant_sign(call);
    if (err != LK_OK) {
        http_fail(call, err);
        return;
    }
    http_audit(call, "token.issue", lk_span_text(g->issued.jti));
    http_write(call, grant_write, NULL);
}
