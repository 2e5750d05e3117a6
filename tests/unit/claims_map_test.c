/*
 * What other issuers call by other names: scopes, subject, tenant; and the algorithms they may use.
 */
#include <stdio.h>
#include <string.h>

#include <latchkey/aif.h>
#include <latchkey/base64url.h>
#include <latchkey/cbor.h>
#include <latchkey/crypto.h>
#include <latchkey/token.h>

#include "cmocka_all.h"
#include "guard_span.h"
#include "token_keys.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define S(text)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static struct guard guard, scratch_guard;
static struct lk_token token;

/* An unsigned JWT, to be taken apart: mapping does not look at the signature. */
static struct lk_span
jwt_of(const char *claims, struct lk_buf room)
{
    static const char header[] = "{\"alg\":\"ES256\",\"kid\":\"ec\"}";
    struct lk_span part;
    size_t len;

    assert_int_equal(lk_base64url_encode(lk_span_text(header), room, &part), LK_OK);
    len = part.len;
    room.ptr[len++] = '.';
    assert_int_equal(lk_base64url_encode(lk_span_text(claims),
                                         (struct lk_buf){room.ptr + len, room.cap - len}, &part),
                     LK_OK);
    len += part.len;
    memcpy(room.ptr + len, ".AAAA", 5);
    return lk_span_of(room.ptr, len + 5);
}

static enum lk_err
map(const struct lk_issuer *issuer, const char *claims)
{
    struct lk_buf scratch = {guard_room(&scratch_guard, LK_TOKEN_SCRATCH_MAX),
                             LK_TOKEN_SCRATCH_MAX};
    static uint8_t room[LK_TOKEN_MAX];
    enum lk_err err = LK_ERR_LIMIT;

    assert_int_equal(
        lk_token_parse(guard_place(&guard, jwt_of(claims, LK_BUF_OF(room))), scratch, &token),
        LK_OK);
    /* may be repeated */
    for (int i = 0; i < 2; i++)
        err = lk_token_map_claims(issuer, scratch, &token);
    return err;
}

static bool
span_is(struct lk_span span, const char *text)
{
    return text == NULL ? span.ptr == NULL : span.ptr != NULL && lk_span_is(span, text);
}

#define KEYCLOAK "{\"realm_access\":{\"roles\":[\"mqtt/a:b\",\"offline_access\",\"mqtt/c:d\"]}}"

static void
scopes_come_from_where_the_issuer_has_them(void **state)
{
    static const struct {
        const char *name;
        struct lk_issuer issuer;
        const char *claims, *scope;
        enum lk_err err;
    } rows[] = {
        {"Keycloak",
         {.scope_claim = S("realm_access.roles"), .scope_prefix = S("mqtt/")},
         KEYCLOAK,
         "a:b c:d",
         LK_OK},
        {"without the prefix",
         {.scope_claim = S("realm_access.roles")},
         KEYCLOAK,
         "mqtt/a:b offline_access mqtt/c:d",
         LK_OK},
        {"Entra: a text", {.scope_claim = S("scp")}, "{\"scp\":\"a:b  c:d\"}", "a:b c:d", LK_OK},
        {"Entra: roles", {.scope_claim = S("roles")}, "{\"roles\":[\"a:b\"]}", "a:b", LK_OK},
        {"Auth0",
         {.scope_claim = S("permissions")},
         "{\"scope\":\"openid\",\"permissions\":[\"a:b\",\"c:d\"]}",
         "a:b c:d",
         LK_OK},
        {"white space before the claims",
         {.scope_claim = S("scp")},
         " {\"scp\":\"a:b\"}",
         "a:b",
         LK_OK},
        {"a name with dots before a path",
         {.scope_claim = S("a.b")},
         "{\"a\":{\"b\":\"path\"},\"a.b\":\"name\"}",
         "name",
         LK_OK},
        {"a URL as a name",
         {.scope_claim = S("https://x.test/roles")},
         "{\"https://x.test/roles\":[\"a:b\"]}",
         "a:b",
         LK_OK},
        {"a deeper path",
         {.scope_claim = S("a.b.c")},
         "{\"a\":{\"b\":{\"c\":[\"a:b\"]}}}",
         "a:b",
         LK_OK},
        {"a dotted name behind a dot",
         {.scope_claim = S("a.b.c")},
         "{\"a\":{\"b.c\":\"a:b\"}}",
         "a:b",
         LK_OK},
        {"not there", {.scope_claim = S("roles")}, "{\"scope\":\"a:b\"}", NULL, LK_OK},
        {"a path that ends in a text", {.scope_claim = S("a.b")}, "{\"a\":\"a:b\"}", NULL, LK_OK},
        {"a path of dots", {.scope_claim = S("..")}, "{\"a\":\"a:b\"}", NULL, LK_OK},
        {"a name that is only the start", {.scope_claim = S("a")}, "{\"ab\":\"a:b\"}", NULL, LK_OK},
        {"an empty array", {.scope_claim = S("r")}, "{\"r\":[]}", NULL, LK_OK},
        {"a space makes no two scopes of one",
         {.scope_claim = S("r")},
         "{\"r\":[\"a:b desk:use\",\"c:d\"]}",
         "c:d",
         LK_OK},
        {"no scope characters",
         {.scope_claim = S("r")},
         "{\"r\":[\"\\u00e9\",\"a\\\\b\",\"a\\\"b\",\"\",\"\\u0001\",\"c:d\"]}",
         "c:d",
         LK_OK},
        {"no scope characters in a text",
         {.scope_claim = S("r")},
         "{\"r\":\"a:\\u00e9 c:d\"}",
         "c:d",
         LK_OK},
        {"escaped",
         {.scope_claim = S("r")},
         "{\"r\":[\"\\u0061:\\u0062\",\"c\\/d\"]}",
         "a:b c/d",
         LK_OK},
        {"the prefix alone is no scope",
         {.scope_claim = S("r"), .scope_prefix = S("p/")},
         "{\"r\":[\"p/\",\"p/a\",\"P/b\",\"xp/c\"]}",
         "a",
         LK_OK},
        {"a prefix and the usual claim",
         {.scope_prefix = S("p/")},
         "{\"scope\":\"openid p/a:b q/c\"}",
         "a:b",
         LK_OK},
        {"a prefix nothing has", {.scope_prefix = S("p/")}, "{\"scope\":\"a:b\"}", NULL, LK_OK},
        {"nothing to map", {.own = false}, "{\"scope\":\"a:b\"}", "a:b", LK_OK},
        {"an array in the usual claim",
         {.own = false},
         "{\"scope\":[\"a:b\",\"c:d\"]}",
         "a:b c:d",
         LK_OK},
        {"our own issuer",
         {.own = true, .scope_claim = S("r"), .scope_prefix = S("p/")},
         "{\"scope\":\"a:b\",\"r\":[\"p/c\"]}",
         "a:b",
         LK_OK},
        {"a number", {.scope_claim = S("r")}, "{\"r\":7}", NULL, LK_ERR_SCOPE},
        {"null", {.scope_claim = S("r")}, "{\"r\":null}", NULL, LK_ERR_SCOPE},
        {"an object", {.scope_claim = S("r")}, "{\"r\":{\"a\":\"b\"}}", NULL, LK_ERR_SCOPE},
        {"a number in the array",
         {.scope_claim = S("r")},
         "{\"r\":[\"a:b\",7]}",
         NULL,
         LK_ERR_SCOPE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_err(rows[i].name, map(&rows[i].issuer, rows[i].claims), rows[i].err);
        if (rows[i].err == LK_OK && !span_is(token.claims.scope, rows[i].scope))
            fail_msg("%s: %.*s", rows[i].name, (int)token.claims.scope.len,
                     (const char *)token.claims.scope.ptr);
    }
}

static void
what_is_mapped_is_never_aif(void **state)
{
    static const struct {
        struct lk_issuer issuer;
        const char *claims;
        bool is_aif;
    } rows[] = {
        {{.own = false}, "{\"scope\":\"W1siYSIsWyJwdWIiXV1d\"}", true},
        {{.own = false}, "{\"scope\":[[\"a\",[\"pub\"]]]}", true},
        {{.scope_claim = S("scope")}, "{\"scope\":\"W1siYSIsWyJwdWIiXV1d\"}", false},
        {{.scope_claim = S("r")}, "{\"r\":[\"W1siYSIsWyJwdWIiXV1d\"]}", false},
        {{.scope_claim = S("r")}, "{\"scope\":[[\"a\",[\"pub\"]]]}", false},
        {{.scope_prefix = S("p")}, "{\"scope\":[[\"a\",[\"pub\"]]]}", false},
        {{.scope_prefix = S("W")}, "{\"scope\":\"WW1siYSIsWyJwdWIiXV1d\"}", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t bytes[256];
        struct lk_buf room = LK_BUF_OF(bytes);
        struct lk_aif aif;
        bool found;

        assert_err(rows[i].claims, map(&rows[i].issuer, rows[i].claims), LK_OK);
        assert_err(rows[i].claims, lk_aif_from_claims(&token.claims, &room, &aif, &found), LK_OK);
        assert_int_equal(found, rows[i].is_aif);
        assert_int_equal(aif.count, rows[i].is_aif);
    }
}

static void
subjects_and_tenants_are_mapped(void **state)
{
    static const struct {
        const char *name;
        struct lk_issuer issuer;
        const char *claims, *subject, *tenant;
        enum lk_err err;
    } rows[] = {
        {"nothing to map", {.own = false}, "{\"sub\":\"s\",\"tnt\":\"t\"}", "s", "t", LK_OK},
        {"another claim",
         {.subject_claim = S("azp")},
         "{\"sub\":\"s\",\"azp\":\"a-1\"}",
         "a-1",
         NULL,
         LK_OK},
        {"a path",
         {.subject_claim = S("a.b")},
         "{\"a\":{\"b\":\"a\\u002d1\"}}",
         "a-1",
         NULL,
         LK_OK},
        {"a forced tenant",
         {.tenant = S("acme")},
         "{\"sub\":\"s\",\"tnt\":\"*\"}",
         "s",
         "acme",
         LK_OK},
        {"where none was", {.tenant = S("acme")}, "{\"sub\":\"s\"}", "s", "acme", LK_OK},
        {"our own issuer",
         {.own = true, .subject_claim = S("azp"), .tenant = S("acme")},
         "{\"sub\":\"s\",\"azp\":\"a\"}",
         "s",
         NULL,
         LK_OK},
        {"not there", {.subject_claim = S("azp")}, "{\"sub\":\"s\"}", NULL, NULL, LK_ERR_CLAIM},
        {"no text",
         {.subject_claim = S("azp")},
         "{\"sub\":\"s\",\"azp\":7}",
         NULL,
         NULL,
         LK_ERR_CLAIM},
        {"an array",
         {.subject_claim = S("azp")},
         "{\"sub\":\"s\",\"azp\":[\"a\"]}",
         NULL,
         NULL,
         LK_ERR_CLAIM},
        {"empty",
         {.subject_claim = S("azp")},
         "{\"sub\":\"s\",\"azp\":\"\"}",
         NULL,
         NULL,
         LK_ERR_CLAIM},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_err(rows[i].name, map(&rows[i].issuer, rows[i].claims), rows[i].err);
        if (rows[i].err == LK_OK && (!span_is(token.claims.subject, rows[i].subject) ||
                                     !span_is(token.claims.tenant, rows[i].tenant)))
            fail_msg("%s", rows[i].name);
    }
}

/* What was there before mapping is still what it was. */
static void
nothing_else_is_touched(void **state)
{
    static const struct lk_issuer issuer = {
        .subject_claim = S("azp"), .scope_claim = S("roles"), .tenant = S("acme")};
    struct lk_span value;
    uint8_t room[64];

    (void)state;
    assert_int_equal(map(&issuer,
                         "{\"iss\":\"https:\\/\\/id\",\"azp\":\"x\",\"roles\":[\"a\",\"b\"],"
                         "\"aud\":[\"m\\u0071tt\"],\"zone\":\"n\\u006frth\"}"),
                     LK_OK);
    assert_true(span_is(token.claims.issuer, "https://id"));
    assert_true(span_is(token.claims.audience[0], "mqtt"));
    assert_true(span_is(token.claims.subject, "x"));
    assert_true(span_is(token.claims.scope, "a b"));
    assert_true(lk_claims_get_text(&token.claims, LK_SPAN("zone"), LK_BUF_OF(room), &value));
    assert_true(span_is(value, "north"));
    assert_true(lk_span_is(token.kid, "ec"));
    assert_int_equal(token.signature.len, 3);
}

static void
limits_hold(void **state)
{
    static const struct lk_issuer issuer = {.scope_claim = S("r"), .scope_prefix = S("p")};
    static char claims[LK_TOKEN_MAX];
    size_t len;

    (void)state;
    for (size_t scopes = LK_SCOPES_MAX; scopes <= LK_SCOPES_MAX + 1; scopes++) {
        len = (size_t)snprintf(claims, sizeof(claims), "{\"r\":[\"other\"");
        for (size_t i = 0; i < scopes; i++)
            len += (size_t)snprintf(claims + len, sizeof(claims) - len, ",\"p%zu\"", i);
        snprintf(claims + len, sizeof(claims) - len, "]}");
        assert_int_equal(map(&issuer, claims), scopes <= LK_SCOPES_MAX ? LK_OK : LK_ERR_LIMIT);
    }
    /* two scopes and the space between them; the prefix does not count */
    for (size_t size = LK_SCOPE_MAX; size <= LK_SCOPE_MAX + 1; size++) {
        len = (size_t)snprintf(claims, sizeof(claims), "{\"r\":\"pa p");
        memset(claims + len, 'x', size - 2);
        snprintf(claims + len + size - 2, sizeof(claims) - len - size, "\"}");
        assert_int_equal(map(&issuer, claims), size <= LK_SCOPE_MAX ? LK_OK : LK_ERR_LIMIT);
        assert_true(size > LK_SCOPE_MAX || token.claims.scope.len == size);
    }
    /* one that is longer by itself is none */
    len = (size_t)snprintf(claims, sizeof(claims), "{\"r\":\"pa p");
    memset(claims + len, 'x', LK_SCOPE_MAX);
    snprintf(claims + len + LK_SCOPE_MAX, sizeof(claims) - len - LK_SCOPE_MAX, "\"}");
    assert_int_equal(map(&issuer, claims), LK_OK);
    assert_true(span_is(token.claims.scope, "a"));
    /* of a token of the longest kind a scope claim that leaves no room to be read once more */
    for (size_t size = 4900; size <= 6000; size += 1100) {
        len = (size_t)snprintf(claims, sizeof(claims), "{\"r\":\"");
        memset(claims + len, ' ', size);
        snprintf(claims + len + size, sizeof(claims) - len - size, "\"}");
        assert_int_equal(map(&issuer, claims), size == 4900 ? LK_OK : LK_ERR_LIMIT);
    }
}

/* Names of text in a CWT; its own scope has a number. */
static void
a_cwt_is_mapped_too(void **state)
{
    static const struct lk_issuer issuer = {
        .scope_claim = S("a.r"), .scope_prefix = S("p/"), .subject_claim = S("azp")};
    static const struct lk_issuer prefix_only = {.scope_prefix = S("p/")};
    uint8_t room[256], scratch[64];
    struct lk_cbor_out w;
    struct lk_span payload;
    struct lk_token cwt;

    (void)state;
    lk_cbor_write_open(&w, LK_BUF_OF(room));
    lk_cbor_write_map(&w, 3);
    lk_cbor_write_uint(&w, 9);
    lk_cbor_write_text(&w, LK_SPAN("p/x y"));
    lk_cbor_write_text(&w, LK_SPAN("a"));
    lk_cbor_write_map(&w, 1);
    lk_cbor_write_text(&w, LK_SPAN("r"));
    lk_cbor_write_array(&w, 3);
    lk_cbor_write_text(&w, LK_SPAN("p/a:b"));
    lk_cbor_write_text(&w, LK_SPAN("c"));
    lk_cbor_write_text(&w, LK_SPAN("p/d"));
    lk_cbor_write_text(&w, LK_SPAN("azp"));
    lk_cbor_write_text(&w, LK_SPAN("dev"));
    assert_int_equal(lk_cbor_write_close(&w, &payload), LK_OK);
    memset(&cwt, 0, sizeof(cwt));
    cwt.format = LK_FORMAT_CWT;
    assert_int_equal(lk_claims_read_cwt(payload, &cwt.claims), LK_OK);
    assert_int_equal(lk_token_map_claims(&prefix_only, LK_BUF_OF(scratch), &cwt), LK_OK);
    assert_true(span_is(cwt.claims.scope, "x"));
    assert_int_equal(lk_claims_read_cwt(payload, &cwt.claims), LK_OK);
    assert_int_equal(lk_token_map_claims(&issuer, LK_BUF_OF(scratch), &cwt), LK_OK);
    assert_true(span_is(cwt.claims.scope, "a:b d"));
    assert_true(span_is(cwt.claims.subject, "dev"));
    /* room for one byte less than the scopes */
    assert_int_equal(lk_claims_read_cwt(payload, &cwt.claims), LK_OK);
    assert_int_equal(lk_token_map_claims(&issuer, (struct lk_buf){scratch, 4}, &cwt),
                     LK_ERR_NO_SPACE);
}

/* All of it, in its order: a signature first, then the mapped subject counts as one. */
static void
verified_tokens_are_mapped(void **state)
{
    static const char good[] =
        "{\"iss\":\"https://id\",\"azp\":\"u\",\"aud\":\"mqtt\",\"exp\":1000,\"scp\":\"a:b\"}";
    static const char nobody[] =
        "{\"iss\":\"https://id\",\"sub\":\"u\",\"aud\":\"mqtt\",\"exp\":1000,\"scp\":\"a:b\"}";
    static struct lk_keyset keys;
    struct lk_issuer issuer = {
        .url = S("https://id"), .scope_claim = S("scp"), .subject_claim = S("azp")};
    const struct lk_verifier verifier = {
        .keys = &keys, .issuers = &issuer, .issuer_count = 1, .audience = S("mqtt")};
    struct lk_buf scratch = {guard_room(&scratch_guard, LK_TOKEN_SCRATCH_MAX),
                             LK_TOKEN_SCRATCH_MAX};
    static const struct {
        const char *name, *claims;
        uint32_t algs;
        bool is_forged;
        enum lk_err err;
    } rows[] = {
        {"good", good, 0, false, LK_OK},
        {"its algorithm is taken", good, 1 << LK_ALG_ES256 | 1 << LK_ALG_RS256, false, LK_OK},
        {"its algorithm is not", good, 1 << LK_ALG_RS256, false, LK_ERR_ALG},
        {"forged", good, 0, true, LK_ERR_SIGNATURE},
        {"forged, and no subject", nobody, 0, true, LK_ERR_SIGNATURE},
        {"no subject", nobody, 0, false, LK_ERR_CLAIM},
    };
    struct lk_key key = test_key(TEST_EC), public = test_key(TEST_EC);

    (void)state;
    public.has_private = false;
    assert_int_equal(lk_key_open(&key), LK_OK);
    assert_int_equal(lk_key_open(&public), LK_OK);
    assert_int_equal(lk_keyset_put(&keys, 0, &public, 1), LK_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t room[1024], signature_room[64];
        struct lk_span text = jwt_of(rows[i].claims, LK_BUF_OF(room)), signature, out;
        size_t len = text.len - 4;

        text.len -= 5;
        assert_int_equal(lk_crypto_sign(&key, &text, 1, LK_BUF_OF(signature_room), &signature),
                         LK_OK);
        signature_room[0] ^= rows[i].is_forged;
        assert_int_equal(
            lk_base64url_encode(signature, (struct lk_buf){room + len, sizeof(room) - len}, &out),
            LK_OK);
        issuer.algs = rows[i].algs;
        assert_err(
            rows[i].name,
            lk_token_verify(&verifier, lk_span_of(room, len + out.len), 600, scratch, &token),
            rows[i].err);
        if (rows[i].err != LK_OK)
            continue;
        assert_true(span_is(token.claims.subject, "u"));
        assert_true(span_is(token.claims.scope, "a:b"));
    }
    lk_keyset_wipe(&keys);
    lk_key_wipe(&key);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scopes_come_from_where_the_issuer_has_them),
        cmocka_unit_test(what_is_mapped_is_never_aif),
        cmocka_unit_test(subjects_and_tenants_are_mapped),
        cmocka_unit_test(nothing_else_is_touched),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(a_cwt_is_mapped_too),
        cmocka_unit_test(verified_tokens_are_mapped),
    };

    guard = guard_open(LK_TOKEN_MAX);
    scratch_guard = guard_open(LK_TOKEN_SCRATCH_MAX);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
