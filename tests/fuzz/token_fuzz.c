/*
 * Tokens, and claims sets by themselves, so that the fuzzer need not get past a signature; and the
 * input once more as the plaintext of an encrypted token, so that it need not get past an AEAD.
 * No signature it makes up may verify; claims that were read can be written and read again.
 */
#include "fuzz.h"

#include <latchkey/cnf.h>
#include <latchkey/cose_key.h>
#include <latchkey/crypto.h>
#include <latchkey/jwk.h>

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

/* What encrypted tokens are sealed with: a key of issuer 1, which nobody else has. */
static const uint8_t secret[32] = "the fuzzer holds this key, too..";
static const struct lk_issuer sealing_issuers[] = {
    {.url = {(const uint8_t *)"https://as", 10}},
    {.url = {(const uint8_t *)"https://id", 10}},
};

static void
open_aead_key(struct lk_keyset *keyset)
{
    struct lk_key key = {.alg = LK_ALG_AEAD, .has_private = true};

    key.u.oct.cipher = LK_AEAD_A256GCM;
    key.u.oct.len = sizeof(secret);
    memcpy(key.u.oct.k, secret, sizeof(secret));
    PROMISE(lk_key_open(&key) == LK_OK);
    PROMISE(lk_keyset_put(keyset, 1, &key, 1) == LK_OK);
}

/* 61(16([{1: 3}, {5: nonce}, ciphertext])) */
static struct lk_span
seal(struct lk_span plain, struct lk_buf room)
{
    static const uint8_t aad[] = {0x83, 0x68, 'E',  'n',  'c',  'r',  'y', 'p',
                                  't',  '0',  0x43, 0xa1, 0x01, 0x03, 0x40};
    static uint8_t sealed_room[LK_TOKEN_MAX + LK_SEAL_OVERHEAD];
    struct lk_span sealed, out;
    struct lk_cbor_out w;

    PROMISE(lk_crypto_seal(secret, lk_span_of(aad, sizeof(aad)), plain, LK_BUF_OF(sealed_room),
                           &sealed) == LK_OK);
    lk_cbor_write_open(&w, room);
    lk_cbor_write_tag(&w, 61);
    lk_cbor_write_tag(&w, 16);
    lk_cbor_write_array(&w, 3);
    lk_cbor_write_bytes(&w, lk_span_of(aad + 11, 3));
    lk_cbor_write_map(&w, 1);
    lk_cbor_write_int(&w, 5);
    lk_cbor_write_bytes(&w, lk_span_of(sealed.ptr, 12));
    lk_cbor_write_bytes(&w, lk_span_of(sealed.ptr + 12, sealed.len - 12));
    PROMISE(lk_cbor_write_close(&w, &out) == LK_OK);
    return out;
}

/* Every use of cnf, on whatever claims there are: a key that is given is open, or a PSK. */
static void
confirm(const struct lk_verifier *verifier, const struct lk_token *token)
{
    static const enum lk_alg uses[] = {LK_ALG_NONE, LK_ALG_HS256, LK_ALG_HS256_64};
    static uint8_t room[LK_TOKEN_MAX];

    for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
        struct lk_cnf_use use = {.symmetric = uses[i],
                                 .rs_key = lk_span_of(secret, sizeof(secret)),
                                 .token = LK_SPAN("token")};
        struct lk_key key;
        enum lk_err err = lk_cnf_key(verifier, token, &use, LK_BUF_OF(room), &key);

        PROMISE(err != LK_ERR_NO_SPACE && err != LK_ERR_STATE && err != LK_ERR_ARG);
        if (err == LK_OK) {
            PROMISE((key.prepared != NULL) == (key.alg != LK_ALG_NONE));
            PROMISE(!lk_alg_is_symmetric(key.alg) || key.alg == uses[i]);
            PROMISE(lk_alg_is_symmetric(key.alg) || key.alg == LK_ALG_NONE || !key.has_private);
            /* a public key is found again by what the token says of it */
            if (token->claims.cnf == LK_CNF_KEY && !key.has_private)
                PROMISE(lk_cnf_match_key(token, &key, LK_BUF_OF(room)) == LK_OK);
        }
        lk_key_wipe(&key);
    }
    PROMISE(lk_cnf_match_key(token, &verifier->keys->keys[0], LK_BUF_OF(room)) != LK_ERR_NO_SPACE);
    PROMISE(lk_cnf_match_certificate(token, token->claims.cnf_value) != LK_OK);
}

/* What the AEAD vouches for is believed, as far as it goes: from that issuer, one layer deep. */
static void
plaintext_alone(const struct lk_verifier *verifier, struct lk_span plain)
{
    static uint8_t room[2 * LK_TOKEN_MAX], scratch[LK_TOKEN_SCRATCH_MAX];
    const struct lk_issuer *issuer;
    const struct lk_key *key;
    struct lk_token token;

    if (plain.len > LK_TOKEN_MAX - 64)
        return;
    PROMISE(lk_token_parse(seal(plain, LK_BUF_OF(room)), LK_BUF_OF(scratch), &token) == LK_OK);
    PROMISE(lk_token_find_key(verifier, &token, &issuer, &key) == LK_ERR_UNSUPPORTED);
    if (lk_token_decrypt(verifier, &token) != LK_OK) {
        PROMISE(token.format == LK_FORMAT_NONE && token.sealed.message.ptr == NULL);
        return;
    }
    PROMISE(lk_span_equal(token.claims.issuer, sealing_issuers[1].url));
    PROMISE(lies_in(token.claims.raw, scratch, sizeof(scratch)));
    if (lk_token_find_key(verifier, &token, &issuer, &key) == LK_OK) {
        PROMISE(issuer == &verifier->issuers[1]);
        PROMISE((lk_token_check_signature(&token, key) == LK_OK) == (token.part_count == 0));
        PROMISE(lk_token_check_claims(verifier, issuer, &token, 1) != LK_ERR_BOUND);
    }
    confirm(verifier, &token);
    token.sealed.key = NULL; /* as if the same claims had come in the clear */
    confirm(verifier, &token);
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
    static const struct lk_verifier sealing = {.keys = &keyset,
                                               .issuers = sealing_issuers,
                                               .issuer_count = 2,
                                               .audience = {(const uint8_t *)"mqtt", 4}};
    struct lk_span text = lk_span_of(data, size), kid;
    struct lk_token token;
    enum lk_err err;

    if (keyset.count == 0) {
        open_key(&keyset);
        open_aead_key(&keyset);
    }
    claims_alone(data, size);
    plaintext_alone(&sealing, text);
    if (lk_psk_identity_read(text, &kid) == LK_OK)
        PROMISE(kid.len > 0 && kid.len <= LK_KID_MAX && lies_in(kid, data, size));
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
