#include "issue.h"

#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/crypto.h>
#include <latchkey/host/clock.h>
#include <latchkey/token.h>

#include "../keys/ring.h"

static enum lk_err
claims_fill(const struct config *config, const struct issue *issue, int64_t now_s,
            struct lk_span token_id, struct lk_claims *claims)
{
    memset(claims, 0, sizeof(*claims));
    claims->issuer = lk_span_text(config->issuer);
    claims->subject = issue->subject;
    claims->client = issue->subject;
    claims->scope = issue->scopes;
    claims->token_id = token_id;
    if (issue->tenant.len > 0)
        claims->tenant = issue->tenant;
    if (issue->type.len > 0)
        claims->type = issue->type;
    claims->audience[0] = lk_span_text(config_audience_name(issue->audience));
    claims->audience_count = 1;
    if (claims->audience[0].len == 0)
        return LK_ERR_AUDIENCE;
    for (size_t i = 0; issue->children != NULL && i < issue->children->count; i++)
        claims->children[claims->children_count++] = lk_span_text(issue->children->id[i]);
    claims->has_issued = claims->has_expires = claims->has_generation = true;
    claims->issued_s = now_s;
    claims->expires_s = now_s + issue->lifetime_s;
    claims->generation = issue->generation;
    return LK_OK;
}

enum lk_err
oauth_issue(struct service *service, const struct issue *issue, int64_t now_s, struct lk_buf room,
            struct issued *out)
{
    struct config *config = service_config_hold(service);
    struct ring *ring = service_ring_hold(service);
    uint8_t token_id[16];
    struct lk_span jti = {NULL, 0};
    struct lk_claims claims;
    enum lk_err err = lk_crypto_random(LK_BUF_OF(token_id));

    memset(out, 0, sizeof(*out));
    if (err == LK_OK)
        err =
            lk_base64url_encode(lk_span_of(token_id, sizeof(token_id)), LK_BUF_OF(out->jti), &jti);
    if (err == LK_OK)
        err = claims_fill(config, issue, now_s, lk_span_of(token_id, sizeof(token_id)), &claims);
    if (err == LK_OK)
        err = lk_token_issue(&claims, issue->format, ring_signer(ring, now_s), room, &out->token);
    ring_close(ring);
    config_drop(config);
    if (err != LK_OK) {
        memset(out, 0, sizeof(*out));
        return err;
    }
    out->jti[jti.len] = '\0';
    memcpy(out->id, token_id, sizeof(out->id));
    out->expires_s = claims.expires_s;
    return LK_OK;
}

enum lk_err
oauth_issue_desk(struct service *service, const char *subject, struct lk_buf room,
                 struct lk_span *jwt, int64_t *expires_s)
{
    struct config *config = service_config_hold(service);
    const struct config_kind *role = config_role(config, LK_SPAN("desk"));
    struct issued issued;
    struct issue issue = {.subject = lk_span_text(subject),
                          .tenant = LK_SPAN("*"),
                          .scopes = LK_SPAN("desk:use"),
                          .audience = CONFIG_AUD_MQTT,
                          .lifetime_s =
                              role == NULL ? config->access_lifetime_s : role->access_lifetime_s,
                          .format = LK_FORMAT_JWT};
    enum lk_err err = oauth_issue(service, &issue, lk_clock_wall_s(), room, &issued);

    config_drop(config);
    *jwt = issued.token;
    *expires_s = issued.expires_s;
    return err;
}
