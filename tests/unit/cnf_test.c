/*
 * From a token's cnf to a key, or to nothing.
 */
#include <stdio.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/cnf.h>
#include <latchkey/cose.h>
#include <latchkey/cose_key.h>
#include <latchkey/crypto.h>
#include <latchkey/jwk.h>

#include "aead_make.h"
#include "cmocka_all.h"
#include "guard.h"
#include "hex.h"
#include "token_keys.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static struct lk_key aead, aead_of_1;
static struct lk_keyset keyset;
static const struct lk_issuer issuers[] = {
    {.url = {(const uint8_t *)"https://as", 10}, .own = true},
    {.url = {(const uint8_t *)"https://id", 10}},
};
static const struct lk_verifier verifier = {.keys = &keyset,
                                            .issuers = issuers,
                                            .issuer_count = 2,
                                            .audience = {(const uint8_t *)"mqtt", 4}};
static struct guard guard, room_guard;

static const uint8_t rs_key[32] = "0123456789abcdef0123456789abcde";

#define EC_XY  "\"x\":\"" TEST_EC_X "\",\"y\":\"" TEST_EC_Y "\""
#define JWK_EC "{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY "}"

/* RFC 8392 A.2.3 as COSE_Key members, and 32 bytes of secret. */
#define CK_X   "215820143329cce7868e416927599cf65a34f3ce2ffda55a7eca69ed8919a394d42f0f"
#define CK_Y   "22582060f7f1a780d8a783bfb7a2dd6b2796e8128dbbcef9d3d168db9529971a36e7b9"
#define CK_D   "2358206c1382765aec5358f117733d281c1c7bdc39884d04a45a1e6c67c858bc206c19"
#define CK_K   "205820403697de87af64611c1d32a05dab0fe1fcb715a86ab435f1ec99192d79569388"
#define CK_EC  "a4 0102 2001" CK_X CK_Y
#define CK_PSK "a3 0104 024161" CK_K
#define CK_MAC "a4 0104 024161 0305" CK_K

/* A verified token of an issuer with this cnf. Its strings are kept until the next one. */
static struct lk_token
token_of(unsigned issuer, enum lk_format format, const char *cnf)
{
    static uint8_t room[1024], text[1024];
    struct lk_token token;
    struct lk_span in;
    char whole[1024];

    memset(&token, 0, sizeof(token));
    token.format = format;
    if (format == LK_FORMAT_CWT) {
        snprintf(whole, sizeof(whole), "a2 01 6a %s 08 %s",
                 issuer == 0 ? "68747470733a2f2f6173" : "68747470733a2f2f6964", cnf);
        in = hex_bytes(whole, LK_BUF_OF(text));
        in.ptr = guard_put(&guard, in.ptr, in.len);
        assert_int_equal(lk_claims_read_cwt(in, &token.claims), LK_OK);
    } else {
        snprintf(whole, sizeof(whole), "{\"iss\":\"https://%s\",\"cnf\":%s}",
                 issuer == 0 ? "as" : "id", cnf);
        in = lk_span_of(guard_put(&guard, whole, strlen(whole)), strlen(whole));
        assert_int_equal(lk_claims_read_jwt(in, LK_BUF_OF(room), &token.claims), LK_OK);
    }
    return token;
}

static void
a_cnf_leads_to_a_key_or_nowhere(void **state)
{
    static const struct {
        const char *name;
        enum lk_format format;
        const char *cnf;
        bool encrypted; /* the token around it */
        enum lk_alg use;
        enum lk_err err;
        enum lk_alg alg;
    } rows[] = {
        {"COSE_Key", LK_FORMAT_CWT, "a101" CK_EC, false, 0, LK_OK, LK_ALG_ES256},
        {"COSE_Key in an encrypted token", LK_FORMAT_CWT, "a101" CK_EC, true, 0, LK_OK,
         LK_ALG_ES256},
        {"COSE_Key with a private part", LK_FORMAT_CWT, "a101 a5 0102 2001" CK_X CK_Y CK_D, false,
         0, LK_ERR_BOUND, 0},
        {"COSE_Key with a private part, encrypted", LK_FORMAT_CWT,
         "a101 a5 0102 2001" CK_X CK_Y CK_D, true, 0, LK_ERR_KEY, 0},
        {"COSE_Key, not on the curve", LK_FORMAT_CWT,
         "a101 a4 0102 2001" CK_X
         "225820143329cce7868e416927599cf65a34f3ce2ffda55a7eca69ed8919a394d42f0f",
         false, 0, LK_ERR_KEY, 0},
        {"COSE_Key that may only sign", LK_FORMAT_CWT, "a101 a5 0102 048101 2001" CK_X CK_Y, false,
         0, LK_ERR_UNSUPPORTED, 0},
        {"COSE_Key P-384", LK_FORMAT_CWT, "a101 a4 0102 2002" CK_X CK_Y, false, 0,
         LK_ERR_UNSUPPORTED, 0},
        {"COSE_Key without kty", LK_FORMAT_CWT, "a101 a3 2001" CK_X CK_Y, false, 0, LK_ERR_MISSING,
         0},

        {"secret in the clear", LK_FORMAT_CWT, "a101" CK_PSK, false, 0, LK_ERR_BOUND, 0},
        {"secret in the clear, with a use", LK_FORMAT_CWT, "a101" CK_MAC, false, LK_ALG_HS256,
         LK_ERR_BOUND, 0},
        {"secret as a PSK", LK_FORMAT_CWT, "a101" CK_PSK, true, 0, LK_OK, LK_ALG_NONE},
        {"secret for a MAC", LK_FORMAT_CWT, "a101" CK_MAC, true, LK_ALG_HS256, LK_OK, LK_ALG_HS256},
        {"secret of no alg for a MAC", LK_FORMAT_CWT, "a101" CK_PSK, true, LK_ALG_HS256, LK_OK,
         LK_ALG_HS256},
        {"secret of no alg for a short MAC", LK_FORMAT_CWT, "a101" CK_PSK, true, LK_ALG_HS256_64,
         LK_OK, LK_ALG_HS256_64},
        {"secret for a MAC as a PSK", LK_FORMAT_CWT, "a101" CK_MAC, true, 0, LK_ERR_ALG, 0},
        {"secret for a MAC for a short MAC", LK_FORMAT_CWT, "a101" CK_MAC, true, LK_ALG_HS256_64,
         LK_ERR_ALG, 0},
        {"secret for AES for a MAC", LK_FORMAT_CWT, "a101 a3 0104 0303" CK_K, true, LK_ALG_HS256,
         LK_ERR_ALG, 0},
        {"secret with a text alg", LK_FORMAT_CWT, "a101 a3 0104 036161" CK_K, true, LK_ALG_HS256,
         LK_ERR_ALG, 0},
        {"secret that may only create MACs", LK_FORMAT_CWT, "a101 a3 0104 048109" CK_K, true,
         LK_ALG_HS256, LK_ERR_ALG, 0},
        {"secret that may verify MACs", LK_FORMAT_CWT, "a101 a3 0104 04810a" CK_K, true,
         LK_ALG_HS256, LK_OK, LK_ALG_HS256},
        {"secret that may verify MACs as a PSK", LK_FORMAT_CWT, "a101 a3 0104 04810a" CK_K, true, 0,
         LK_ERR_ALG, 0},
        {"secret that may derive as a PSK", LK_FORMAT_CWT, "a101 a3 0104 048107" CK_K, true, 0,
         LK_OK, LK_ALG_NONE},
        {"secret without k", LK_FORMAT_CWT, "a101 a1 0104", true, 0, LK_ERR_KEY, 0},
        {"secret of no bytes", LK_FORMAT_CWT, "a101 a2 0104 2040", true, 0, LK_ERR_KEY, 0},
        {"secret too short for a MAC", LK_FORMAT_CWT, "a101 a2 0104 2044 01020304", true,
         LK_ALG_HS256, LK_ERR_KEY, 0},
        {"secret as text", LK_FORMAT_CWT, "a101 a2 0104 206161", true, 0, LK_ERR_TYPE, 0},
        {"secret to sign with, which is no use", LK_FORMAT_CWT, "a101" CK_PSK, true, LK_ALG_ES256,
         LK_ERR_ALG, 0},

        {"jwk", LK_FORMAT_JWT, "{\"jwk\":" JWK_EC "}", false, 0, LK_OK, LK_ALG_ES256},
        {"jwk with a private part", LK_FORMAT_JWT, "{\"jwk\":" TEST_EC "}", false, 0, LK_ERR_BOUND,
         0},
        {"jwk oct", LK_FORMAT_JWT, "{\"jwk\":" TEST_OCT "}", false, LK_ALG_HS256, LK_ERR_BOUND, 0},
        {"jwk with its k written otherwise", LK_FORMAT_JWT,
         "{\"jwk\":{\"kty\":\"oct\",\"\\u006b\":\"AQ\"}}", false, 0, LK_ERR_BOUND, 0},
        {"jwk with a kty written otherwise", LK_FORMAT_JWT, "{\"jwk\":{\"kty\":\"\\u006fct\"}}",
         false, 0, LK_ERR_BOUND, 0},
        {"jwk that may not verify", LK_FORMAT_JWT,
         "{\"jwk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"key_ops\":[\"sign\"]," EC_XY "}}", false, 0,
         LK_ERR_UNSUPPORTED, 0},

        {"two keys", LK_FORMAT_CWT, "a2 01" CK_EC "0341ff", false, 0, LK_ERR_UNSUPPORTED, 0},
        {"two keys, encrypted", LK_FORMAT_CWT, "a2 01" CK_PSK "0341ff", true, 0, LK_ERR_UNSUPPORTED,
         0},
        {"osc", LK_FORMAT_CWT, "a1 04 a0", false, 0, LK_ERR_UNSUPPORTED, 0},
        {"nothing", LK_FORMAT_CWT, "a0", false, 0, LK_ERR_UNSUPPORTED, 0},
        {"x5t#S256", LK_FORMAT_JWT, "{\"x5t#S256\":\"" TEST_EC_X "\"}", false, 0,
         LK_ERR_UNSUPPORTED, 0},
        {"jkt", LK_FORMAT_JWT, "{\"jkt\":\"" TEST_EC_X "\"}", false, 0, LK_ERR_UNSUPPORTED, 0},

        {"kid", LK_FORMAT_CWT, "a1 03 48 0102030405060708", false, 0, LK_OK, LK_ALG_NONE},
        {"kid for a MAC", LK_FORMAT_JWT, "{\"kid\":\"AQIDBAUGBwg\"}", false, LK_ALG_HS256, LK_OK,
         LK_ALG_HS256},
        {"kid of another length from another issuer", LK_FORMAT_CWT, "a1 03 41ff", false, 0, LK_OK,
         LK_ALG_NONE},
        {"kid longer than ours may be", LK_FORMAT_CWT,
         "a1 03 5841 "
         "0000000000000000000000000000000000000000000000000000000000000000"
         "000000000000000000000000000000000000000000000000000000000000000000",
         false, 0, LK_ERR_LIMIT, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        static const struct lk_key zero;
        struct lk_token token = token_of(1, rows[i].format, rows[i].cnf);
        struct lk_cnf_use use = {.symmetric = rows[i].use,
                                 .rs_key = lk_span_of(rs_key, sizeof(rs_key)),
                                 .token = LK_SPAN("token")};
        struct lk_buf room = {guard_room(&room_guard, 512), 512};
        struct lk_key key;

        if (rows[i].encrypted)
            token.sealed.key = &aead;
        assert_err(rows[i].name, lk_cnf_key(&verifier, &token, &use, room, &key), rows[i].err);
        if (rows[i].err != LK_OK) {
            assert_memory_equal(&key, &zero, sizeof(key));
            continue;
        }
        assert_int_equal(key.alg, rows[i].alg);
        assert_int_equal(key.prepared != NULL, key.alg != LK_ALG_NONE);
        assert_int_equal(key.has_private, key.alg != LK_ALG_ES256);
        lk_key_wipe(&key);
    }
}

static void
no_token_leads_anywhere_by_default(void **state)
{
    const struct lk_cnf_use use = {.symmetric = LK_ALG_NONE};
    struct lk_token token = token_of(1, LK_FORMAT_CWT, "a1 03 48 0102030405060708");
    struct lk_buf room = {guard_room(&room_guard, 16), 16};
    struct lk_key key;

    (void)state;
    /* nothing shared with the issuer */
    assert_int_equal(lk_cnf_key(&verifier, &token, &use, room, &key), LK_ERR_KEY);
    token.claims.issuer = LK_SPAN("https://ix");
    assert_int_equal(lk_cnf_key(&verifier, &token, &use, room, &key), LK_ERR_ISSUER);
    token.claims.issuer = (struct lk_span){NULL, 0};
    assert_int_equal(lk_cnf_key(&verifier, &token, &use, room, &key), LK_ERR_ISSUER);
    memset(&token, 0, sizeof(token));
    assert_int_equal(lk_cnf_key(&verifier, &token, &use, room, &key), LK_ERR_CLAIM);
    assert_int_equal(lk_cnf_match_certificate(&token, LK_SPAN("\x30\x00")), LK_ERR_BOUND);
    assert_int_equal(lk_cnf_match_key(&token, &keyset.keys[0], room), LK_ERR_BOUND);
    /* a jwk needs room for a copy */
    token = token_of(1, LK_FORMAT_JWT, "{\"jwk\":" JWK_EC "}");
    assert_int_equal(lk_cnf_key(&verifier, &token, &use, room, &key), LK_ERR_NO_SPACE);
}

static void
a_kid_of_ours_has_one_form(void **state)
{
    static const struct {
        const char *name, *cnf;
        enum lk_err err;
    } rows[] = {
        {"good", "a1 03 48 0102030405060708", LK_OK},
        {"with a zero", "a1 03 48 0102030400060708", LK_ERR_FORM},
        {"too short", "a1 03 47 01020304050607", LK_ERR_FORM},
        {"too long", "a1 03 49 010203040506070809", LK_ERR_FORM},
    };
    const struct lk_cnf_use use = {.rs_key = lk_span_of(rs_key, sizeof(rs_key)),
                                   .token = LK_SPAN("token")};
    struct lk_buf room = {guard_room(&room_guard, 0), 0};
    uint8_t kid[LK_CNF_KID_LEN], other[LK_CNF_KID_LEN], wanted[LK_CNF_SECRET_LEN];
    struct lk_key key;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_token token = token_of(0, LK_FORMAT_CWT, rows[i].cnf);

        assert_err(rows[i].name, lk_cnf_key(&verifier, &token, &use, room, &key), rows[i].err);
        if (rows[i].err != LK_OK)
            continue;
        assert_int_equal(lk_cnf_derive(use.rs_key, use.token, LK_BUF_OF(wanted)), LK_OK);
        assert_int_equal(key.u.oct.len, sizeof(wanted));
        assert_memory_equal(key.u.oct.k, wanted, sizeof(wanted));
        assert_int_equal(key.kid_len, LK_CNF_KID_LEN);
        lk_key_wipe(&key);
    }
    for (unsigned i = 0; i < 300; i++) {
        assert_int_equal(lk_cnf_kid_new(kid), LK_OK);
        assert_true(lk_cnf_kid_is_own(lk_span_of(kid, sizeof(kid))));
    }
    assert_int_equal(lk_cnf_kid_new(other), LK_OK);
    assert_memory_not_equal(kid, other, sizeof(kid));
    assert_false(lk_cnf_kid_is_own((struct lk_span){NULL, 0}));
}

static void
what_is_derived_depends_on_all_of_it(void **state)
{
    static uint8_t long_token[LK_TOKEN_MAX + 1];
    uint8_t a[32], b[32], c[16];
    struct lk_span secret = lk_span_of(rs_key, sizeof(rs_key));
    static const uint8_t zeros[32];

    (void)state;
    assert_int_equal(lk_cnf_derive(secret, LK_SPAN("token"), LK_BUF_OF(a)), LK_OK);
    assert_int_equal(lk_cnf_derive(secret, LK_SPAN("tokem"), LK_BUF_OF(b)), LK_OK);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(lk_cnf_derive(lk_span_of(rs_key, 31), LK_SPAN("token"), LK_BUF_OF(b)), LK_OK);
    assert_memory_not_equal(a, b, sizeof(a));
    /* a shorter key is another one, not a part */
    assert_int_equal(lk_cnf_derive(secret, LK_SPAN("token"), LK_BUF_OF(c)), LK_OK);
    assert_memory_not_equal(a, c, sizeof(c));
    assert_int_equal(lk_cnf_derive(secret, lk_span_of(long_token, LK_TOKEN_MAX), LK_BUF_OF(a)),
                     LK_OK);
    assert_int_equal(lk_cnf_derive(secret, lk_span_of(long_token, LK_TOKEN_MAX + 1), LK_BUF_OF(a)),
                     LK_ERR_LIMIT);
    assert_memory_equal(a, zeros, sizeof(a));
    assert_int_equal(lk_cnf_derive(lk_span_of(rs_key, 15), LK_SPAN("token"), LK_BUF_OF(a)),
                     LK_ERR_KEY);
    assert_int_equal(lk_cnf_derive(secret, LK_SPAN(""), LK_BUF_OF(a)), LK_ERR_ARG);
    assert_int_equal(lk_cnf_derive(secret, LK_SPAN("token"), (struct lk_buf){a, 0}), LK_ERR_ARG);
}

/* Encrypted_COSE_Key */

static const char *
envelope(char *hex, size_t cap, const char *before, const char *unprotected,
         const struct lk_key *key, const char *plain_hex)
{
    static const uint8_t aad[] = {0x83, 0x68, 'E',  'n',  'c',  'r',  'y', 'p',
                                  't',  '0',  0x43, 0xa1, 0x01, 0x03, 0x40};
    static const uint8_t nonce[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    uint8_t plain_room[256], room[300];
    struct lk_span sealed =
        aead_make(key, lk_span_of(nonce, sizeof(nonce)), lk_span_of(aad, sizeof(aad)),
                  hex_bytes(plain_hex, LK_BUF_OF(plain_room)), LK_BUF_OF(room));
    size_t len = (size_t)snprintf(hex, cap, "a1 02 %s 83 43a10103 %s 58%02x", before, unprotected,
                                  (unsigned)sealed.len);

    for (size_t i = 0; i < sealed.len; i++)
        len += (size_t)snprintf(hex + len, cap - len, "%02x", sealed.ptr[i]);
    return hex;
}

#define IV "054c 000102030405060708090a0b"

static void
an_encrypted_key_is_opened_with_its_issuers_key(void **state)
{
    static const struct {
        const char *name, *before, *unprotected, *plain;
        const struct lk_key *key;
        enum lk_err err;
    } rows[] = {
        {"good", "d0", "a2 0442 6b31" IV, CK_PSK, &aead_of_1, LK_OK},
        {"untagged", "", "a2 0442 6b31" IV, CK_PSK, &aead_of_1, LK_OK},
        {"no kid", "", "a1" IV, CK_PSK, &aead_of_1, LK_OK},
        {"a public key in it", "", "a1" IV, CK_EC, &aead_of_1, LK_OK},
        {"a kid that is empty", "", "a2 0440" IV, CK_PSK, &aead_of_1, LK_ERR_KEY},
        {"a kid of another issuer's", "", "a2 0442 6b30" IV, CK_PSK, &aead, LK_ERR_KEY},
        {"another issuer's key", "", "a2 0442 6b31" IV, CK_PSK, &aead, LK_ERR_SIGNATURE},
        {"COSE_Encrypt", "d860", "a1" IV, CK_PSK, &aead_of_1, LK_ERR_UNSUPPORTED},
        {"a CWT", "d83dd0", "a1" IV, CK_PSK, &aead_of_1, LK_ERR_UNSUPPORTED},
        {"a key for a MAC", "", "a1" IV, CK_MAC, &aead_of_1, LK_ERR_ALG},
        {"a byte behind the key", "", "a1" IV, CK_PSK "00", &aead_of_1, LK_ERR_TRAILING},
        {"a private key", "", "a1" IV, "a5 0102 2001" CK_X CK_Y CK_D, &aead_of_1, LK_ERR_KEY},
        {"no key", "", "a1" IV, "", &aead_of_1, LK_ERR_TRUNCATED},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct lk_cnf_use use = {.symmetric = LK_ALG_NONE};
        static const uint8_t zeros[512];
        struct lk_buf room = {guard_room(&room_guard, sizeof(zeros)), sizeof(zeros)};
        char hex[1024];
        struct lk_token token = token_of(1, LK_FORMAT_CWT,
                                         envelope(hex, sizeof(hex), rows[i].before,
                                                  rows[i].unprotected, rows[i].key, rows[i].plain));
        struct lk_key key;

        memset(room.ptr, 0, room.cap);
        assert_err(rows[i].name, lk_cnf_key(&verifier, &token, &use, room, &key), rows[i].err);
        /* no secret stays behind, neither taken nor refused */
        assert_memory_equal(room.ptr, zeros, sizeof(zeros));
        if (rows[i].err == LK_OK && key.alg == LK_ALG_NONE) {
            assert_int_equal(key.u.oct.len, 32);
            assert_int_equal(key.u.oct.k[0], 0x40);
        }
        lk_key_wipe(&key);
        room.cap = 4;
        if (rows[i].err == LK_OK)
            assert_err(rows[i].name, lk_cnf_key(&verifier, &token, &use, room, &key),
                       LK_ERR_NO_SPACE);
        lk_key_wipe(&key);
    }
}

/* Matches */

static void
a_key_that_was_shown_is_the_tokens_or_not(void **state)
{
    struct lk_key ec = test_key(TEST_EC), okp = test_key(TEST_OKP), oct = test_key(TEST_OCT), none;
    struct lk_buf room = {guard_room(&room_guard, 512), 512};
    char text[256], hex[256], *at = hex;
    uint8_t print[32], cose_room[256];
    struct lk_cbor_out w;
    struct lk_token token;
    struct lk_span out;

    (void)state;
    memset(&none, 0, sizeof(none));
    token = token_of(1, LK_FORMAT_JWT, "{\"jwk\":" JWK_EC "}");
    assert_int_equal(lk_cnf_match_key(&token, &ec, room), LK_OK);
    assert_int_equal(lk_cnf_match_key(&token, &okp, room), LK_ERR_BOUND);
    assert_int_equal(lk_cnf_match_key(&token, &none, room), LK_ERR_BOUND);
    assert_int_equal(lk_cnf_match_key(&token, &ec, (struct lk_buf){room.ptr, 8}), LK_ERR_NO_SPACE);
    /* the same x, another y */
    token = token_of(1, LK_FORMAT_JWT,
                     "{\"jwk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" TEST_EC_X
                     "\",\"y\":\"" TEST_EC_X "\"}}");
    assert_int_equal(lk_cnf_match_key(&token, &ec, room), LK_ERR_BOUND);
    token = token_of(1, LK_FORMAT_JWT, "{\"jwk\":" TEST_EC "}");
    assert_int_equal(lk_cnf_match_key(&token, &ec, room), LK_ERR_BOUND);
    token = token_of(1, LK_FORMAT_JWT, "{\"jwk\":" TEST_OCT "}");
    assert_int_equal(lk_cnf_match_key(&token, &oct, room), LK_ERR_BOUND);

    lk_cbor_write_open(&w, LK_BUF_OF(cose_room));
    lk_cose_key_write_public(&w, &okp);
    assert_int_equal(lk_cbor_write_close(&w, &out), LK_OK);
    at += sprintf(at, "a101");
    for (size_t i = 0; i < out.len; i++)
        at += sprintf(at, "%02x", out.ptr[i]);
    token = token_of(1, LK_FORMAT_CWT, hex);
    assert_int_equal(lk_cnf_match_key(&token, &okp, room), LK_OK);
    assert_int_equal(lk_cnf_match_key(&token, &ec, room), LK_ERR_BOUND);

    /* jkt and ckt are different hashes of one key */
    assert_int_equal(lk_jwk_thumbprint(&ec, print), LK_OK);
    assert_int_equal(lk_base64url_encode(lk_span_of(print, 32), LK_BUF_OF(cose_room), &out), LK_OK);
    snprintf(text, sizeof(text), "{\"jkt\":\"%.*s\"}", (int)out.len, (const char *)out.ptr);
    token = token_of(1, LK_FORMAT_JWT, text);
    assert_int_equal(lk_cnf_match_key(&token, &ec, room), LK_OK);
    assert_int_equal(lk_cnf_match_key(&token, &okp, room), LK_ERR_BOUND);
    at = hex + sprintf(hex, "a1055820");
    for (size_t i = 0; i < 32; i++)
        at += sprintf(at, "%02x", print[i]);
    token = token_of(1, LK_FORMAT_CWT, hex);
    assert_int_equal(lk_cnf_match_key(&token, &ec, room), LK_ERR_BOUND);
    assert_int_equal(lk_cose_key_thumbprint(&ec, print), LK_OK);
    at = hex + sprintf(hex, "a1055820");
    for (size_t i = 0; i < 32; i++)
        at += sprintf(at, "%02x", print[i]);
    token = token_of(1, LK_FORMAT_CWT, hex);
    assert_int_equal(lk_cnf_match_key(&token, &ec, room), LK_OK);
    assert_int_equal(lk_cnf_match_key(&token, &oct, room), LK_ERR_BOUND);
    token = token_of(1, LK_FORMAT_CWT, "a1 03 48 0102030405060708");
    assert_int_equal(lk_cnf_match_key(&token, &ec, room), LK_ERR_BOUND);
    lk_key_wipe(&ec);
    lk_key_wipe(&okp);
    lk_key_wipe(&oct);
}

static void
a_certificate_is_the_tokens_or_not(void **state)
{
    static const struct {
        const char *name, *der;
        enum lk_err err;
    } rows[] = {
        {"whole", "3003 020101", LK_OK},
        {"long form", "308103 020101", LK_OK},
        {"another", "3003 020102", LK_OK},
        {"a byte behind it", "3003 020101 00", LK_ERR_MALFORMED},
        {"cut off", "3003 0201", LK_ERR_MALFORMED},
        {"a SET", "3103 020101", LK_ERR_MALFORMED},
        {"indefinite", "3080 020101 0000", LK_ERR_MALFORMED},
        {"a length of four bytes", "308400000003 020101", LK_ERR_MALFORMED},
        {"a length cut off", "3082 00", LK_ERR_MALFORMED},
        {"PEM", "2d2d2d2d2d424547494e", LK_ERR_MALFORMED},
        {"nothing", "", LK_ERR_MALFORMED},
    };
    uint8_t print[32], wanted[32], room[64], text_room[64];
    struct lk_span der = hex_bytes(rows[0].der, LK_BUF_OF(room)), text;
    struct lk_token token;
    char cnf[128];

    (void)state;
    assert_int_equal(lk_crypto_sha256(der, wanted), LK_OK);
    assert_int_equal(lk_certificate_thumbprint(der, print), LK_OK);
    assert_memory_equal(print, wanted, sizeof(print));
    assert_int_equal(lk_base64url_encode(lk_span_of(print, 32), LK_BUF_OF(text_room), &text),
                     LK_OK);
    snprintf(cnf, sizeof(cnf), "{\"x5t#S256\":\"%.*s\"}", (int)text.len, (const char *)text.ptr);
    token = token_of(1, LK_FORMAT_JWT, cnf);
    for (size_t i = 0; i < COUNT(rows); i++) {
        der = hex_bytes(rows[i].der, LK_BUF_OF(room));
        der.ptr = guard_put(&room_guard, der.ptr, der.len);
        assert_err(rows[i].name, lk_certificate_thumbprint(der, print), rows[i].err);
        assert_err(rows[i].name, lk_cnf_match_certificate(&token, der),
                   i == 0 ? LK_OK : LK_ERR_BOUND);
    }
    token = token_of(1, LK_FORMAT_JWT, "{\"jwk\":" JWK_EC "}");
    assert_int_equal(lk_cnf_match_certificate(&token, der), LK_ERR_BOUND);
}

static void
a_token_with_its_secret_in_the_clear_is_refused(void **state)
{
    static const struct {
        const char *name;
        enum lk_format format;
        const char *cnf;
        enum lk_err err;
    } rows[] = {
        {"public", LK_FORMAT_CWT, "a101" CK_EC, LK_OK},
        {"symmetric", LK_FORMAT_CWT, "a101" CK_PSK, LK_ERR_BOUND},
        {"kty at the end", LK_FORMAT_CWT, "a101 a2" CK_K "0104", LK_ERR_BOUND},
        {"private", LK_FORMAT_CWT, "a101 a5 0102 2001" CK_X CK_Y CK_D, LK_ERR_BOUND},
        {"private RSA", LK_FORMAT_CWT, "a101 a4 0103 2041ff 2143010001 2241ff", LK_ERR_BOUND},
        {"public RSA", LK_FORMAT_CWT, "a101 a3 0103 2041ff 2143010001", LK_OK},
        {"kid", LK_FORMAT_CWT, "a1 03 41ff", LK_OK},
        {"jwk", LK_FORMAT_JWT, "{\"jwk\":" JWK_EC "}", LK_OK},
        {"jwk oct", LK_FORMAT_JWT, "{\"jwk\":" TEST_OCT "}", LK_ERR_BOUND},
        {"jwk private", LK_FORMAT_JWT, "{\"jwk\":" TEST_OKP "}", LK_ERR_BOUND},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_token token = token_of(1, rows[i].format, rows[i].cnf);

        token.claims.subject = LK_SPAN("dev");
        token.claims.audience[0] = LK_SPAN("mqtt");
        token.claims.audience_count = 1;
        token.claims.has_expires = true;
        token.claims.expires_s = 1000;
        assert_err(rows[i].name, lk_token_check_claims(&verifier, &issuers[1], &token, 600),
                   rows[i].err);
        token.sealed.key = &aead;
        assert_err(rows[i].name, lk_token_check_claims(&verifier, &issuers[1], &token, 600), LK_OK);
    }
}

/* Identities */

static void
a_psk_identity_is_read_strictly(void **state)
{
    static const struct {
        const char *name, *hex;
        enum lk_err err;
    } rows[] = {
        {"RFC 9202 figure 9", "a108a101a201040248 3d027833fc6267ce", LK_OK},
        {"kid before kty", "a108a101a20248 3d027833fc6267ce 0104", LK_OK},
        {"another member beside cnf", "a2 08a101a201040241ff 01 6161", LK_ERR_MALFORMED},
        {"another member beside COSE_Key", "a108 a2 01a201040241ff 0341ff", LK_ERR_MALFORMED},
        {"another member in COSE_Key", "a108a101 a3 01040241ff 2041ff", LK_ERR_MALFORMED},
        {"no kid", "a108a101 a1 0104", LK_ERR_MALFORMED},
        {"k for kid", "a108a101 a2 0104 2041ff", LK_ERR_MALFORMED},
        {"kid empty", "a108a101a201040240", LK_ERR_MALFORMED},
        {"kid a text", "a108a101a2010402 6161", LK_ERR_TYPE},
        {"kid of 65 bytes",
         "a108a101a2010402 5841"
         "0000000000000000000000000000000000000000000000000000000000000000"
         "000000000000000000000000000000000000000000000000000000000000000000",
         LK_ERR_LIMIT},
        {"kty of a pair", "a108a101a2 0102 0241ff", LK_ERR_MALFORMED},
        {"kty a text", "a108a101a2 016161 0241ff", LK_ERR_TYPE},
        {"cnf by kid", "a108 a1 0341ff", LK_ERR_MALFORMED},
        {"another claim", "a101 a101a201040241ff", LK_ERR_MALFORMED},
        {"cnf no map", "a10801", LK_ERR_TYPE},
        {"a member twice", "a108a101a3 0104 0104 0241ff", LK_ERR_DUPLICATE},
        {"a byte behind it", "a108a101a201040241ff 00", LK_ERR_TRAILING},
        {"cut off", "a108a101a201040241", LK_ERR_TRUNCATED},
        {"a CWT", "d83dd2 84 40 a0 40 40", LK_ERR_TYPE},
        {"a text, as our own identities are", "7061", LK_ERR_TYPE},
        {"nothing", "", LK_ERR_TRUNCATED},
    };
    uint8_t room[LK_PSK_IDENTITY_MAX], long_kid[LK_KID_MAX + 1];
    struct lk_span kid, out;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t in_room[256];
        struct lk_span in = hex_bytes(rows[i].hex, LK_BUF_OF(in_room));

        in.ptr = guard_put(&guard, in.ptr, in.len);
        assert_err(rows[i].name, lk_psk_identity_read(in, &kid), rows[i].err);
        if (rows[i].err == LK_OK)
            assert_int_equal(kid.len, 8);
        else
            assert_null(kid.ptr);
    }
    memset(long_kid, 1, sizeof(long_kid));
    assert_int_equal(lk_psk_identity_write(lk_span_of(long_kid, LK_KID_MAX), LK_BUF_OF(room), &out),
                     LK_OK);
    assert_int_equal(lk_psk_identity_read(out, &kid), LK_OK);
    assert_true(lk_span_equal(kid, lk_span_of(long_kid, LK_KID_MAX)));
    assert_int_equal(
        lk_psk_identity_write(lk_span_of(long_kid, LK_KID_MAX + 1), LK_BUF_OF(room), &out),
        LK_ERR_ARG);
    assert_int_equal(lk_psk_identity_write(LK_SPAN(""), LK_BUF_OF(room), &out), LK_ERR_ARG);
    assert_int_equal(lk_psk_identity_write(LK_SPAN("k"), (struct lk_buf){room, 8}, &out),
                     LK_ERR_NO_SPACE);
    assert_null(out.ptr);
}

static struct lk_key
cipher_key(const char *kid, int fill)
{
    struct lk_key key = {.alg = LK_ALG_AEAD, .has_private = true};

    key.u.oct.cipher = LK_AEAD_A256GCM;
    key.u.oct.len = 32;
    memset(key.u.oct.k, fill, key.u.oct.len);
    key.kid_len = strlen(kid);
    memcpy(key.kid, kid, key.kid_len);
    return key;
}

static int
set_up(void **state)
{
    struct lk_key keys[2];

    (void)state;
    aead = cipher_key("k0", 1);
    aead_of_1 = cipher_key("k1", 2);
    keys[0] = aead;
    if (lk_key_open(&keys[0]) != LK_OK || lk_keyset_put(&keyset, 0, keys, 1) != LK_OK)
        return -1;
    keys[0] = aead_of_1;
    keys[1] = test_key(TEST_EC);
    if (lk_key_open(&keys[0]) != LK_OK || lk_keyset_put(&keyset, 1, keys, 2) != LK_OK)
        return -1;
    guard = guard_open(4096);
    room_guard = guard_open(4096);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    lk_keyset_wipe(&keyset);
    guard_close(&guard);
    guard_close(&room_guard);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cnf_leads_to_a_key_or_nowhere),
        cmocka_unit_test(no_token_leads_anywhere_by_default),
        cmocka_unit_test(a_kid_of_ours_has_one_form),
        cmocka_unit_test(what_is_derived_depends_on_all_of_it),
        cmocka_unit_test(an_encrypted_key_is_opened_with_its_issuers_key),
        cmocka_unit_test(a_key_that_was_shown_is_the_tokens_or_not),
        cmocka_unit_test(a_certificate_is_the_tokens_or_not),
        cmocka_unit_test(a_token_with_its_secret_in_the_clear_is_refused),
        cmocka_unit_test(a_psk_identity_is_read_strictly),
    };

    return cmocka_run_group_tests_name("cnf", tests, set_up, tear_down);
}
