#include "inspect.h"

#include <string.h>

#include <latchkey/base64url.h>

#include "../keys/ring.h"
#include "client_auth.h"

#define LEEWAY_S 5 /* issuer and verifier share a clock; this is for several servers */

static enum lk_err
device_check(struct store_db *db, const struct lk_claims *claims, int64_t now_s)
{
    struct store_device device;
    enum lk_err err = store_device_get(db, claims->subject, &device);

    if (err != LK_OK)
        return err == LK_ERR_NOT_FOUND ? LK_ERR_REVOKED : err;
    return device.state == STORE_ACTIVE && claims->has_generation &&
                   claims->generation >= device_generation_floor(&device, now_s)
               ? LK_OK
               : LK_ERR_REVOKED;
}

static enum lk_err
client_check(struct store_db *db, const struct lk_claims *claims, int64_t now_s)
{
    struct store_client client;
    char kind[16];
    enum lk_err err = store_client_get(db, claims->subject, &client);

    /* The desk is nobody's client: it lives as long as its id is its own. */
    if (err == LK_ERR_NOT_FOUND && store_id_kind(db, claims->subject, kind, sizeof(kind)) == LK_OK)
        return strcmp(kind, "desk") == 0 ? LK_OK : LK_ERR_REVOKED;
    if (err != LK_OK)
        return err == LK_ERR_NOT_FOUND ? LK_ERR_REVOKED : err;
    return client.state == STORE_ACTIVE && claims->has_generation &&
                   claims->generation >= client_generation_floor(&client, now_s)
               ? LK_OK
               : LK_ERR_REVOKED;
}

/** A JWT has the text; of a CWT it is made from the bytes. */
static enum lk_err
id_check(struct store_db *db, const struct lk_token *token)
{
    struct lk_span jti = token->claims.token_id;
    uint8_t room[FEED_VALUE_MAX];
    enum lk_err err = LK_OK;

    if (token->format == LK_FORMAT_CWT)
        err = lk_base64url_encode(token->claims.token_id, LK_BUF_OF(room), &jti);
    if (err == LK_OK)
        err = store_feed_has(db, STORE_FEED_JTI, jti);
    if (err == LK_ERR_NOT_FOUND)
        return LK_OK;
    return err == LK_OK ? LK_ERR_REVOKED : err;
}

enum lk_err
inspect_token_id(const struct lk_token *token, uint8_t id[16])
{
    uint8_t room[16];
    struct lk_span bytes = token->claims.token_id;

    if (token->format == LK_FORMAT_JWT &&
        lk_base64url_decode(token->claims.token_id, LK_BUF_OF(room), &bytes) != LK_OK)
        return LK_ERR_CLAIM;
    if (bytes.len != 16)
        return LK_ERR_CLAIM;
    memcpy(id, bytes.ptr, 16);
    return LK_OK;
}

static enum lk_err
verify(struct service *service, const struct config *config, struct lk_span text,
       struct lk_span audience, int64_t now_s, struct lk_buf scratch, struct lk_token *token)
{
    const struct lk_issuer issuer = {
        .url = lk_span_text(config->issuer), .own = true, .typ = LK_SPAN("at+jwt")};
    struct ring *ring = service_ring_hold(service);
    const struct lk_verifier verifier = {.keys = ring_keys(ring),
                                         .issuers = &issuer,
                                         .issuer_count = 1,
                                         .audience = audience,
                                         .leeway_s = LEEWAY_S};
    enum lk_err err = lk_token_verify(&verifier, text, now_s, scratch, token);

    ring_close(ring);
    return err;
}

/** Whom the token says it is for; our own name exactly one. */
static enum lk_err
audience_find(struct lk_span text, struct lk_buf scratch, struct lk_span *audience)
{
    struct lk_token token;
    enum lk_err err = lk_token_parse(text, scratch, &token);
    unsigned known;

    if (err != LK_OK)
        return err;
    if (token.claims.audience_count == 0)
        return LK_ERR_AUDIENCE;
    known = config_audience_of(token.claims.audience[0]);
    *audience = lk_span_text(config_audience_name(known));
    return known == 0 ? LK_ERR_AUDIENCE : LK_OK;
}

enum lk_err
inspect_token(struct service *service, const struct config *config, struct store_db *db,
              struct lk_span text, struct lk_span audience, int64_t now_s, struct lk_buf scratch,
              struct lk_token *token)
{
    enum lk_err err = LK_OK;

    memset(token, 0, sizeof(*token));
    if (audience.ptr == NULL)
        err = audience_find(text, scratch, &audience);
    if (err == LK_OK)
        err = verify(service, config, text, audience, now_s, scratch, token);
    if (err == LK_OK)
        err = token->claims.type.len > 0 ? device_check(db, &token->claims, now_s)
                                         : client_check(db, &token->claims, now_s);
    return err == LK_OK ? id_check(db, token) : err;
}
