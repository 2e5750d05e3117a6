#include <latchkey/token.h>

#include "cnf_check.h"
#include "cose_parts.h"
#include "jwt.h"
#include "token_parts.h"

#include <string.h>

#include <latchkey/base64url.h>

#define TOKEN_ID_LEN 16

_Static_assert(sizeof(((struct lk_token *)0)->heads) == (size_t)LK_COSE_HEADS * LK_COSE_HEAD_MAX,
               "the heads of a token are those of its COSE message");
/* Header, payload and signature decoded, and the payload once more to be unescaped. */
_Static_assert(LK_TOKEN_SCRATCH_MAX >= 2 * (LK_TOKEN_MAX / 4 * 3), "no token needs more scratch");

/* Decode base64url into scratch and take what it fills off the front. */
static enum lk_err
scratch_decode(struct lk_buf *scratch, struct lk_span text, struct lk_buf *out)
{
    struct lk_span bytes;
    enum lk_err err = lk_base64url_decode(text, *scratch, &bytes);

    if (err != LK_OK)
        return err;
    *out = (struct lk_buf){scratch->ptr, bytes.len};
    scratch->cap -= bytes.len;
    if (bytes.len > 0)
        scratch->ptr += bytes.len;
    return LK_OK;
}

static enum lk_err
parse_jwt(struct lk_span text, struct lk_buf scratch, struct lk_token *token)
{
    struct lk_buf header_text = {NULL, 0}, payload = {NULL, 0}, signature = {NULL, 0};
    struct lk_jwt_header header;
    struct lk_jwt jwt;
    enum lk_err err = lk_jwt_split(text, &jwt);

    if (err == LK_OK)
        err = scratch_decode(&scratch, jwt.header, &header_text);
    if (err == LK_OK)
        err = lk_jwt_read_header(header_text.ptr, header_text.cap, &header);
    if (err == LK_OK)
        err = scratch_decode(&scratch, jwt.payload, &payload);
    if (err == LK_OK)
        err = scratch_decode(&scratch, jwt.signature, &signature);
    if (err == LK_OK)
        err = lk_claims_read_jwt(lk_span_of(payload.ptr, payload.cap), scratch, &token->claims);
    if (err != LK_OK)
        return err;
    token->format = LK_FORMAT_JWT;
    token->alg = header.alg;
    token->kid = header.kid;
    token->typ = header.typ;
    token->parts[0] = jwt.signed_part;
    token->part_count = 1;
    token->signature = lk_span_of(signature.ptr, signature.cap);
    token->own_form = lk_jwt_typ_is(header.typ, LK_SPAN("at+jwt"));
    return LK_OK;
}

enum lk_err
lk_token_parse_signed_cwt(struct lk_span bytes, struct lk_token *token)
{
    struct lk_cose message;
    bool own_form = lk_cose_parse_own(bytes, &message);
    enum lk_err err = own_form ? LK_OK : lk_cose_parse(bytes, LK_COSE_SIGN1, &message);

    if (err == LK_OK)
        err = lk_claims_read_cwt(message.payload, &token->claims);
    if (err != LK_OK)
        return err;
    token->format = LK_FORMAT_CWT;
    token->alg = message.alg;
    token->kid = message.kid;
    token->signature = message.signature;
    token->part_count =
        lk_cose_parts(&message, (struct lk_span){NULL, 0}, token->heads, token->parts);
    token->own_form = own_form;
    return LK_OK;
}

static enum lk_err
parse_cwt(struct lk_span bytes, struct lk_buf scratch, struct lk_token *token)
{
    enum lk_err err = lk_token_parse_signed_cwt(bytes, token);

    return err == LK_ERR_UNSUPPORTED ? lk_token_parse_sealed_cwt(bytes, scratch, token) : err;
}

/* Every CWT begins with a byte above 0x7f, a tag or an array; every text with one below. */
static enum lk_err
parse_any(struct lk_span text, struct lk_buf scratch, struct lk_token *token)
{
    struct lk_buf bytes;
    enum lk_err err;

    if (text.len == 0)
        return LK_ERR_TRUNCATED;
    if (text.ptr[0] >= 0x80)
        return parse_cwt(text, scratch, token);
    if (memchr(text.ptr, '.', text.len) != NULL)
        return parse_jwt(text, scratch, token);
    err = scratch_decode(&scratch, text, &bytes);
    return err != LK_OK ? err : parse_cwt(lk_span_of(bytes.ptr, bytes.cap), scratch, token);
}

enum lk_err
lk_token_parse(struct lk_span text, struct lk_buf scratch, struct lk_token *token)
{
    enum lk_err err = LK_ERR_LIMIT;

    lk_wipe(token, offsetof(struct lk_token, claims)); /* whoever reads the claims clears them */
    if (text.len <= LK_TOKEN_MAX)
        err = parse_any(text, scratch, token);
    if (err != LK_OK)
        memset(token, 0, sizeof(*token));
    return err;
}

enum lk_err
lk_token_find_key(const struct lk_verifier *verifier, const struct lk_token *token,
                  const struct lk_issuer **issuer, const struct lk_key **key)
{
    *issuer = NULL;
    *key = NULL;
    if (token->sealed.message.ptr != NULL)
        return lk_token_find_sealed_key(verifier, token, issuer, key);
    if (token->claims.issuer.len == 0)
        return LK_ERR_ISSUER;
    for (uint32_t i = 0; i < verifier->issuer_count; i++) {
        const struct lk_key *found;

        if (!lk_span_equal(verifier->issuers[i].url, token->claims.issuer))
            continue;
        found = lk_keyset_get(verifier->keys, i, token->kid);
        if (found == NULL)
            return LK_ERR_KEY;
        if (found->alg != token->alg || !lk_issuer_takes(&verifier->issuers[i], token->alg))
            return LK_ERR_ALG;
        *issuer = &verifier->issuers[i];
        *key = found;
        return LK_OK;
    }
    return LK_ERR_ISSUER;
}

enum lk_err
lk_token_check_signature(const struct lk_token *token, const struct lk_key *key)
{
    if (token->alg == LK_ALG_NONE || token->alg != key->alg)
        return LK_ERR_ALG;
    if (token->part_count == 0)
        return token->sealed.key == key ? LK_OK : LK_ERR_ALG;
    return lk_crypto_verify(key, token->parts, token->part_count, token->signature);
}

static enum lk_err
check_form(const struct lk_issuer *issuer, const struct lk_token *token)
{
    if (token->format == LK_FORMAT_JWT && issuer->typ.ptr != NULL &&
        !lk_jwt_typ_is(token->typ, issuer->typ))
        return LK_ERR_TYP;
    return issuer->own && !token->own_form ? LK_ERR_FORM : LK_OK;
}

static enum lk_err
check_required(const struct lk_issuer *issuer, const struct lk_claims *c)
{
    bool all = c->issuer.len > 0 && c->subject.len > 0 && c->has_expires;

    if (issuer->own)
        all = all && c->audience_count > 0 && c->has_issued && c->token_id.len > 0;
    return all ? LK_OK : LK_ERR_CLAIM;
}

/* Sum that stays at the ends of its range. */
static int64_t
later(int64_t time_s, int64_t by_s)
{
    if (by_s > 0 && time_s > INT64_MAX - by_s)
        return INT64_MAX;
    if (by_s < 0 && time_s < INT64_MIN - by_s)
        return INT64_MIN;
    return time_s + by_s;
}

static enum lk_err
check_times(const struct lk_claims *c, int64_t now_s, int64_t leeway_s)
{
    int64_t horizon_s = later(now_s, leeway_s);

    if (later(c->expires_s, leeway_s) <= now_s)
        return LK_ERR_EXPIRED;
    if ((c->has_not_before && c->not_before_s > horizon_s) ||
        (c->has_issued && c->issued_s > horizon_s))
        return LK_ERR_NOT_YET;
    return LK_OK;
}

static enum lk_err
check_audience(struct lk_span ours, const struct lk_claims *c)
{
    /* A verifier that was not told who it is takes nothing. */
    for (size_t i = 0; i < c->audience_count && ours.len > 0; i++)
        if (lk_span_equal(c->audience[i], ours))
            return LK_OK;
    return LK_ERR_AUDIENCE;
}

enum lk_err
lk_token_check_claims(const struct lk_verifier *verifier, const struct lk_issuer *issuer,
                      const struct lk_token *token, int64_t now_s)
{
    const struct lk_claims *c = &token->claims;
    enum lk_err err = check_form(issuer, token);

    if (err == LK_OK)
        err = check_required(issuer, c);
    if (err == LK_OK)
        err = check_times(c, now_s, verifier->leeway_s);
    if (err == LK_OK && !lk_span_equal(c->issuer, issuer->url))
        err = LK_ERR_ISSUER;
    if (err == LK_OK)
        err = check_audience(verifier->audience, c);
    if (err == LK_OK && c->cnf == LK_CNF_KEY && token->sealed.key == NULL && lk_cnf_is_secret(c))
        err = LK_ERR_BOUND;
    return err;
}

enum lk_err
lk_token_verify(const struct lk_verifier *verifier, struct lk_span text, int64_t now_s,
                struct lk_buf scratch, struct lk_token *token)
{
    const struct lk_issuer *issuer;
    const struct lk_key *key;
    enum lk_err err = lk_token_parse(text, scratch, token);

    if (err == LK_OK && token->sealed.message.ptr != NULL)
        err = lk_token_decrypt(verifier, token);
    if (err == LK_OK)
        err = lk_token_find_key(verifier, token, &issuer, &key);
    if (err == LK_OK)
        err = lk_token_check_signature(token, key);
    if (err == LK_OK)
        err = lk_token_map_claims(issuer, scratch, token);
    if (err == LK_OK)
        err = lk_token_check_claims(verifier, issuer, token, now_s);
    if (err != LK_OK) {
        if (token->sealed.key != NULL)
            lk_wipe(token->sealed.room.ptr, token->sealed.room.cap);
        memset(token, 0, sizeof(*token));
    }
    return err;
}

/* RFC 9068 section 2.2; a CWT has no claim for the client. */
static bool
claims_are_complete(const struct lk_claims *c, enum lk_format format)
{
    return c->issuer.len > 0 && c->subject.len > 0 && c->audience_count > 0 && c->has_expires &&
           c->has_issued && c->token_id.len == TOKEN_ID_LEN &&
           (format == LK_FORMAT_CWT || c->client.len > 0);
}

enum lk_err
lk_token_issue(const struct lk_claims *claims, enum lk_format format, const struct lk_key *key,
               struct lk_buf room, struct lk_span *out)
{
    uint8_t payload_room[LK_TOKEN_MAX];
    bool is_longest = room.cap >= LK_TOKEN_MAX;
    struct lk_span payload;
    enum lk_err err;

    *out = (struct lk_span){NULL, 0};
    if (format != LK_FORMAT_JWT && format != LK_FORMAT_CWT)
        return LK_ERR_ARG;
    if (!claims_are_complete(claims, format))
        return LK_ERR_CLAIM;
    if (is_longest)
        room.cap = LK_TOKEN_MAX;
    if (format == LK_FORMAT_JWT)
        err = lk_claims_write_jwt(claims, LK_BUF_OF(payload_room), &payload);
    else
        err = lk_claims_write_cwt(claims, LK_BUF_OF(payload_room), &payload);
    if (err == LK_ERR_NO_SPACE)
        return LK_ERR_LIMIT;
    if (err == LK_OK && format == LK_FORMAT_JWT)
        err = lk_jwt_write(key, payload, room, out);
    else if (err == LK_OK)
        err = lk_cose_write_cwt(key, payload, room, out);
    return err == LK_ERR_NO_SPACE && is_longest ? LK_ERR_LIMIT : err;
}
