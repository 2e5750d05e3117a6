#include "trusted.h"

#include <latchkey/cose.h>
#include <latchkey/jwk.h>

#include "fuzz.h"

/* RFC 7515 A.3, RFC 8037 A.1, and two made up. */
static const char *const jwks[] = {
    ("{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"es\","
     "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
     "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\","
     "\"d\":\"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI\"}"),
    ("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\","
     "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\","
     "\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}"),
    ("{\"kty\":\"oct\",\"alg\":\"HS256\",\"kid\":\"hs\","
     "\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}"),
};
static const uint8_t h64_cose_key[] = {
    0xa4, 0x01, 0x04, 0x02, 0x43, 'h', '6', '4', 0x03, 0x04, 0x20, 0x58, 0x20, 1,  2,
    3,    4,    5,    6,    7,    8,   9,   10,  11,   12,   13,   14,   15,   16, 17,
    18,   19,   20,   21,   22,   23,  24,  25,  26,   27,   28,   29,   30,   31, 32};

#define KEYS 4

static struct lk_keyset keyset;
static const struct lk_issuer issuers[] = {
    {.url = {(const uint8_t *)"https://as", 10},
     .own = true,
     .typ = {(const uint8_t *)"at+jwt", 6}},
    {.url = {(const uint8_t *)"https://other", 13}},
};
static const struct lk_verifier verifier = {.keys = &keyset,
                                            .issuers = issuers,
                                            .issuer_count = 2,
                                            .audience = {(const uint8_t *)"mqtt", 4},
                                            .leeway_s = 30};

static void
keys_read(struct lk_key keys[KEYS])
{
    char text[256];
    size_t count;

    for (size_t i = 0; i < KEYS - 1; i++) {
        strcpy(text, jwks[i]);
        PROMISE(lk_jwks_read((uint8_t *)text, strlen(text), &keys[i], 1, &count) == LK_OK);
        PROMISE(count == 1 && keys[i].has_private);
    }
    PROMISE(lk_cose_key_parse(lk_span_of(h64_cose_key, sizeof(h64_cose_key)), &keys[KEYS - 1]) ==
            LK_OK);
    PROMISE(lk_key_open(&keys[KEYS - 1]) == LK_OK);
}

const struct lk_verifier *
trusted_verifier(void)
{
    struct lk_key keys[KEYS];

    for (uint32_t issuer = 0; issuer < 2 && keyset.count < 2 * (size_t)KEYS; issuer++) {
        memset(keys, 0, sizeof(keys));
        keys_read(keys);
        PROMISE(lk_keyset_put(&keyset, issuer, keys, KEYS) == LK_OK);
    }
    return &verifier;
}

const struct lk_key *
trusted_key(enum lk_alg alg)
{
    (void)trusted_verifier();
    for (size_t i = 0; i < KEYS; i++)
        if (keyset.keys[i].alg == alg)
            return &keyset.keys[i];
    return NULL;
}

bool
lies_in(struct lk_span span, struct lk_span room)
{
    uintptr_t from = (uintptr_t)span.ptr, start = (uintptr_t)room.ptr;

    return span.ptr == NULL ||
           (from >= start && span.len <= room.len && from - start <= room.len - span.len);
}

void
token_lies_in(const struct lk_token *token, struct lk_span bytes, struct lk_span scratch)
{
    const struct lk_claims *c = &token->claims;
    const struct lk_span spans[] = {
        token->kid,    token->typ, token->signature, c->issuer,   c->subject,   c->client, c->scope,
        c->scope_data, c->tenant,  c->type,          c->token_id, c->cnf_value, c->raw};

    for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++)
        PROMISE(lies_in(spans[i], bytes) || lies_in(spans[i], scratch));
    PROMISE(c->audience_count <= LK_AUDIENCE_MAX && c->children_count <= LK_CHILDREN_MAX);
    for (size_t i = 0; i < c->audience_count; i++)
        PROMISE(lies_in(c->audience[i], bytes) || lies_in(c->audience[i], scratch));
    for (size_t i = 0; i < c->children_count; i++)
        PROMISE(lies_in(c->children[i], bytes) || lies_in(c->children[i], scratch));
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

void
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

/* One bit of what is signed, or of the signature, and it is another token, or none. */
static void
changed_is_refused(struct lk_span text, struct lk_span part)
{
    static uint8_t scratch[LK_TOKEN_SCRATCH_MAX], copy[LK_TOKEN_MAX];
    size_t step = part.len / 4 + 1, start = (size_t)(part.ptr - text.ptr);
    struct lk_token token;

    memcpy(copy, text.ptr, text.len);
    for (size_t at = start + part.len % step; at < start + part.len; at += step) {
        copy[at] ^= 4;
        PROMISE(lk_token_verify(&verifier, lk_span_of(copy, text.len), TRUSTED_NOW_S,
                                LK_BUF_OF(scratch), &token) != LK_OK);
        copy[at] ^= 4;
    }
}

static bool
is_for_us(const struct lk_claims *c)
{
    for (size_t i = 0; i < c->audience_count; i++)
        if (lk_span_is(c->audience[i], "mqtt"))
            return true;
    return false;
}

void
accepted_holds(struct lk_span text, const struct lk_token *token)
{
    const struct lk_claims *c = &token->claims;
    bool is_own = lk_span_is(c->issuer, "https://as");
    int64_t horizon_s = TRUSTED_NOW_S + verifier.leeway_s;

    PROMISE(is_own || lk_span_is(c->issuer, "https://other"));
    PROMISE(!is_own || (token->own_form && c->has_issued && c->token_id.len > 0));
    PROMISE(c->subject.len > 0 && is_for_us(c));
    PROMISE(c->has_expires && c->expires_s + verifier.leeway_s > TRUSTED_NOW_S);
    PROMISE(!c->has_not_before || c->not_before_s <= horizon_s);
    PROMISE(!c->has_issued || c->issued_s <= horizon_s);
    if (token->format == LK_FORMAT_JWT) {
        changed_is_refused(text, text);
    } else {
        changed_is_refused(text, c->raw);
        changed_is_refused(text, token->signature);
    }
}
