/*
 * Tokens, and claims sets by themselves, so that the fuzzer need not get past a signature.
 * Nothing it makes up may verify; claims that were read can be written and read again.
 */
#include "fuzz.h"

#include <latchkey/jwk.h>
#include <latchkey/token.h>

/* The public key of RFC 7515 A.3. */
static const char public_key[] = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"ec\","
                                 "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                                 "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}";

static bool
lies_in(struct lk_span span, const uint8_t *ptr, size_t len)
{
    uintptr_t from = (uintptr_t)span.ptr, room = (uintptr_t)ptr;

    return span.ptr == NULL || (from >= room && span.len <= len && from - room <= len - span.len);
}

static void
claims_equal(const struct lk_claims *a, const struct lk_claims *b)
{
    PROMISE(lk_span_equal(a->issuer, b->issuer));
    PROMISE(lk_span_equal(a->subject, b->subject));
    PROMISE(lk_span_equal(a->scope, b->scope));
    PROMISE(lk_span_equal(a->tenant, b->tenant));
    PROMISE(lk_span_equal(a->type, b->type));
    PROMISE(a->audience_count == b->audience_count && a->children_count == b->children_count);
    for (size_t i = 0; i < a->audience_count; i++)
        PROMISE(lk_span_equal(a->audience[i], b->audience[i]));
    for (size_t i = 0; i < a->children_count; i++)
        PROMISE(lk_span_equal(a->children[i], b->children[i]));
    PROMISE(a->has_expires == b->has_expires && a->expires_s == b->expires_s);
    PROMISE(a->has_not_before == b->has_not_before && a->not_before_s == b->not_before_s);
    PROMISE(a->has_issued == b->has_issued && a->issued_s == b->issued_s);
    PROMISE(a->has_generation == b->has_generation && a->generation == b->generation);
    PROMISE(a->cnf == b->cnf && lk_span_equal(a->cnf_value, b->cnf_value));
}

static void
claims_write_back(const struct lk_claims *claims)
{
    static uint8_t room[1 << 16], read_room[1 << 16];
    struct lk_claims again;
    struct lk_span out;

    if (lk_claims_write_jwt(claims, LK_BUF_OF(room), &out) == LK_OK &&
        (claims->cnf != LK_CNF_KEY || claims->format == LK_FORMAT_JWT)) {
        PROMISE(lk_claims_read_jwt(out, LK_BUF_OF(read_room), &again) == LK_OK);
        claims_equal(claims, &again);
        PROMISE(lk_span_equal(claims->client, again.client));
    }
    if (lk_claims_write_cwt(claims, LK_BUF_OF(room), &out) == LK_OK &&
        (claims->cnf != LK_CNF_KEY || claims->format == LK_FORMAT_CWT)) {
        PROMISE(lk_claims_read_cwt(out, &again) == LK_OK);
        claims_equal(claims, &again);
    }
}

static void
claims_alone(const uint8_t *data, size_t size)
{
    static uint8_t room[1 << 16];
    struct lk_claims claims;
    struct lk_span in = lk_span_of(data, size), value;
    uint8_t value_room[32];

    if (size > LK_TOKEN_MAX)
        return;
    if (lk_claims_read_jwt(in, LK_BUF_OF(room), &claims) == LK_OK) {
        (void)lk_claims_get_text(&claims, LK_SPAN("dty"), LK_BUF_OF(value_room), &value);
        claims_write_back(&claims);
    }
    if (lk_claims_read_cwt(in, &claims) == LK_OK) {
        (void)lk_claims_get_text(&claims, LK_SPAN("dty"), LK_BUF_OF(value_room), &value);
        claims_write_back(&claims);
    }
}

static void
open_key(struct lk_keyset *keyset)
{
    uint8_t text[sizeof(public_key)];
    struct lk_key key;
    size_t count;

    memcpy(text, public_key, sizeof(text));
    PROMISE(lk_jwks_read(text, sizeof(text) - 1, &key, 1, &count) == LK_OK && count == 1);
    PROMISE(lk_keyset_put(keyset, 0, &key, 1) == LK_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lk_keyset keyset;
    static uint8_t scratch[LK_TOKEN_SCRATCH_MAX];
    static const struct lk_issuer issuer = {.url = {(const uint8_t *)"https://as", 10}};
    static const struct lk_verifier verifier = {.keys = &keyset,
                                                .issuers = &issuer,
                                                .issuer_count = 1,
                                                .audience = {(const uint8_t *)"mqtt", 4}};
    struct lk_span text = lk_span_of(data, size);
    struct lk_token token;
    enum lk_err err;

    if (keyset.count == 0)
        open_key(&keyset);
    claims_alone(data, size);
    err = lk_token_parse(text, LK_BUF_OF(scratch), &token);
    PROMISE(size <= LK_TOKEN_MAX || err == LK_ERR_LIMIT);
    PROMISE(err != LK_ERR_NO_SPACE);
    if (err != LK_OK)
        return 0;
    PROMISE(lies_in(token.kid, data, size) || lies_in(token.kid, scratch, sizeof(scratch)));
    PROMISE(lies_in(token.claims.raw, data, size) ||
            lies_in(token.claims.raw, scratch, sizeof(scratch)));
    PROMISE(lies_in(token.signature, data, size) ||
            lies_in(token.signature, scratch, sizeof(scratch)));
    claims_write_back(&token.claims);
    /* the seeds are signed with other keys or for another time */
    PROMISE(lk_token_verify(&verifier, text, 1, LK_BUF_OF(scratch), &token) != LK_OK);
    return 0;
}
