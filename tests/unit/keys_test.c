#define _GNU_SOURCE /* memmem */
#include <stdio.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/cose.h>
#include <latchkey/crypto.h>
#include <latchkey/jwk.h>
#include <latchkey/keyset.h>

#include "cmocka_all.h"
#include "guard.h"
#include "hex.h"
#include "token_keys.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define EC_XY "\"x\":\"" TEST_EC_X "\",\"y\":\"" TEST_EC_Y "\""
#define X31   "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define AES_256_MEMBERS                                                                            \
    "\"kty\":\"oct\",\"alg\":\"A256GCM\",\"kid\":\"aes\",\"k\":\"" TEST_OKP_X "\""
#define AES_256 "{" AES_256_MEMBERS "}"
#define KID65   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void
a_jwk_is_read_or_refused(void **state)
{
    static const struct {
        const char *name, *json;
        enum lk_err err;
        enum lk_alg alg;
    } rows[] = {
        {"EC", "{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY "}", LK_OK, LK_ALG_ES256},
        {"EC with everything",
         "{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY
         ",\"alg\":\"ES256\",\"use\":\"sig\",\"key_ops\":[\"sign\",\"verify\"],\"kid\":\"k\","
         "\"x5c\":[\"x\"]}",
         LK_OK, LK_ALG_ES256},
        {"OKP", TEST_OKP, LK_OK, LK_ALG_EDDSA},
        {"OKP, the new name of the algorithm",
         "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"Ed25519\",\"x\":\"" TEST_OKP_X "\"}",
         LK_OK, LK_ALG_EDDSA},
        {"oct", TEST_OCT, LK_OK, LK_ALG_HS256},
        {"oct without alg", "{\"kty\":\"oct\",\"k\":\"" TEST_OCT_K "\"}", LK_ERR_MISSING, 0},
        {"oct for decryption", AES_256, LK_OK, LK_ALG_AEAD},
        {"oct for decryption, with use and key_ops",
         "{" AES_256_MEMBERS ",\"use\":\"enc\",\"key_ops\":[\"encrypt\",\"decrypt\"]}", LK_OK,
         LK_ALG_AEAD},
        {"oct for decryption that says sig", "{" AES_256_MEMBERS ",\"use\":\"sig\"}",
         LK_ERR_UNSUPPORTED, 0},
        {"oct for decryption that may only encrypt",
         "{" AES_256_MEMBERS ",\"key_ops\":[\"encrypt\",\"verify\"]}", LK_ERR_UNSUPPORTED, 0},
        {"oct for decryption without k", "{\"kty\":\"oct\",\"alg\":\"A128GCM\"}", LK_ERR_MISSING,
         0},
        {"a MAC key that says enc",
         "{\"kty\":\"oct\",\"alg\":\"HS256\",\"use\":\"enc\",\"k\":\"" TEST_OCT_K "\"}",
         LK_ERR_UNSUPPORTED, 0},
        {"a MAC key that may only decrypt",
         "{\"kty\":\"oct\",\"alg\":\"HS256\",\"key_ops\":[\"decrypt\"],\"k\":\"" TEST_OCT_K "\"}",
         LK_ERR_UNSUPPORTED, 0},
        {"CCM, which JOSE has not",
         "{\"kty\":\"oct\",\"alg\":\"AES-CCM-16-64-256\",\"k\":\"" TEST_OKP_X "\"}",
         LK_ERR_UNSUPPORTED, 0},
        {"EC with a cipher", "{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY ",\"alg\":\"A256GCM\"}",
         LK_ERR_MALFORMED, 0},
        {"oct without k", "{\"kty\":\"oct\",\"alg\":\"HS256\"}", LK_ERR_MISSING, 0},
        {"EC with an oct algorithm",
         "{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY ",\"alg\":\"HS256\"}", LK_ERR_MALFORMED, 0},
        {"oct with an EC algorithm", "{\"kty\":\"oct\",\"alg\":\"ES256\",\"k\":\"" TEST_OCT_K "\"}",
         LK_ERR_MALFORMED, 0},
        {"EC for key agreement", "{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY ",\"alg\":\"ECDH-ES\"}",
         LK_ERR_UNSUPPORTED, 0},
        {"no kty", "{\"crv\":\"P-256\"," EC_XY "}", LK_ERR_MISSING, 0},
        {"unknown kty", "{\"kty\":\"AKP\"}", LK_ERR_UNSUPPORTED, 0},
        {"kty in small letters", "{\"kty\":\"ec\",\"crv\":\"P-256\"," EC_XY "}", LK_ERR_UNSUPPORTED,
         0},
        {"kty a number", "{\"kty\":2}", LK_ERR_TYPE, 0},
        {"no curve", "{\"kty\":\"EC\"," EC_XY "}", LK_ERR_MISSING, 0},
        {"another curve", "{\"kty\":\"EC\",\"crv\":\"secp256k1\"," EC_XY "}", LK_ERR_UNSUPPORTED,
         0},
        {"X25519", "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" TEST_OKP_X "\"}",
         LK_ERR_UNSUPPORTED, 0},
        {"no y", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" TEST_EC_X "\"}", LK_ERR_MISSING, 0},
        {"x too short",
         "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" X31 "\",\"y\":\"" TEST_EC_Y "\"}",
         LK_ERR_MALFORMED, 0},
        {"x with padding",
         "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" TEST_EC_X "=\",\"y\":\"" TEST_EC_Y "\"}",
         LK_ERR_BASE64, 0},
        {"d too short", "{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY ",\"d\":\"" X31 "\"}",
         LK_ERR_MALFORMED, 0},
        {"for encryption", "{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY ",\"use\":\"enc\"}",
         LK_ERR_UNSUPPORTED, 0},
        {"may not verify", "{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY ",\"key_ops\":[\"encrypt\"]}",
         LK_ERR_UNSUPPORTED, 0},
        {"may do nothing", "{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY ",\"key_ops\":[]}",
         LK_ERR_UNSUPPORTED, 0},
        {"key_ops a text", "{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY ",\"key_ops\":\"verify\"}",
         LK_ERR_TYPE, 0},
        {"a member twice", "{\"kty\":\"EC\",\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY "}",
         LK_ERR_DUPLICATE, 0},
        {"a kid too long", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"" KID65 "\"," EC_XY "}",
         LK_ERR_LIMIT, 0},
        {"RSA without e", "{\"kty\":\"RSA\",\"n\":\"AQAB\"}", LK_ERR_MISSING, 0},
        {"RSA with an empty n", "{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"AQAB\"}", LK_ERR_MALFORMED, 0},
        {"RSA with an e of nine bytes", "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAAAAAAAAAB\"}",
         LK_ERR_LIMIT, 0},
        {"an array", "[]", LK_ERR_TYPE, 0},
        {"cut off", "{\"kty\":\"EC\"", LK_ERR_TRUNCATED, 0},
    };
    struct guard g = guard_open(4096);

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        static const struct lk_key zero;
        size_t len = strlen(rows[i].json);
        struct lk_json r;
        struct lk_key key;

        lk_json_open(&r, guard_put(&g, rows[i].json, len), len);
        assert_err(rows[i].name, lk_jwk_read(&r, &key), rows[i].err);
        if (rows[i].err == LK_OK)
            assert_int_equal(key.alg, rows[i].alg);
        else
            assert_memory_equal(&key, &zero, sizeof(key));
        lk_key_wipe(&key);
    }
    guard_close(&g);
}

static void
a_jwks_is_read_whole_or_refused(void **state)
{
    static const struct {
        const char *name, *json;
        enum lk_err err;
        size_t count;
    } rows[] = {
        {"one key by itself", TEST_EC, LK_OK, 1},
        {"two keys", "{\"keys\":[" TEST_EC "," TEST_OKP "]}", LK_OK, 2},
        {"no keys", "{\"keys\":[]}", LK_OK, 0},
        {"unknown members", "{\"a\":[1],\"keys\":[" TEST_EC "],\"z\":{}}", LK_OK, 1},
        {"a kind we do not take is left out",
         "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":\"AA\",\"y\":\"AA\",\"kid\":\"ec\"}"
         "," TEST_EC "]}",
         LK_OK, 1},
        {"two keys with one kid", "{\"keys\":[" TEST_EC "," TEST_EC "]}", LK_ERR_DUPLICATE, 0},
        {"secret and public mixed", "{\"keys\":[" TEST_EC "," TEST_OCT "]}", LK_ERR_MALFORMED, 0},
        {"keys that decrypt and keys that verify, all secret",
         "{\"keys\":[" TEST_OCT "," AES_256 "]}", LK_OK, 2},
        {"a key that decrypts among public ones", "{\"keys\":[" TEST_EC "," AES_256 "]}",
         LK_ERR_MALFORMED, 0},
        {"a cipher's key twice", "{\"keys\":[" AES_256 "," AES_256 "]}", LK_ERR_DUPLICATE, 0},
        {"a key longer than its cipher's",
         "{\"kty\":\"oct\",\"alg\":\"A192GCM\",\"k\":\"" TEST_OKP_X "\"}", LK_ERR_KEY, 0},
        {"a key shorter than its cipher's",
         "{\"kty\":\"oct\",\"alg\":\"A256GCM\",\"k\":\"AAAAAAAAAAAAAAAAAAAAAA\"}", LK_ERR_KEY, 0},
        {"a point that is not on the curve",
         "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" TEST_EC_X "\",\"y\":\"" TEST_EC_X "\"}",
         LK_ERR_KEY, 0},
        {"a private part of another key",
         "{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY ",\"d\":\"" TEST_OKP_D "\"}", LK_ERR_KEY, 0},
        {"an Ed25519 private part of another key",
         "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" TEST_OKP_X "\",\"d\":\"" TEST_EC_D "\"}",
         LK_ERR_KEY, 0},
        {"a secret of 31 bytes", "{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"" X31 "\"}",
         LK_ERR_KEY, 0},
        {"RSA of 17 bits", "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", LK_ERR_KEY, 0},
        {"more than there is room for",
         "{\"keys\":[" TEST_EC "," TEST_OKP ",{\"kty\":\"EC\",\"crv\":\"P-256\"," EC_XY "}]}",
         LK_ERR_LIMIT, 0},
        {"one broken key refuses all",
         "{\"keys\":[" TEST_EC ",{\"kty\":\"EC\",\"crv\":\"P-256\"}]}", LK_ERR_MISSING, 0},
        {"keys is no array", "{\"keys\":{}}", LK_ERR_TYPE, 0},
        {"a key is no object", "{\"keys\":[1]}", LK_ERR_TYPE, 0},
        {"keys twice", "{\"keys\":[],\"keys\":[]}", LK_ERR_DUPLICATE, 0},
        {"something follows", "{\"keys\":[" TEST_EC "]} x", LK_ERR_TRAILING, 0},
        {"cut off", "{\"keys\":[" TEST_EC, LK_ERR_TRUNCATED, 0},
        {"nothing", "", LK_ERR_TRUNCATED, 0},
    };
    struct guard g = guard_open(4096);
    struct lk_key keys[2];

    (void)state;
    memset(keys, 0, sizeof(keys));
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = strlen(rows[i].json), count = 99;

        assert_err(rows[i].name,
                   lk_jwks_read(guard_put(&g, rows[i].json, len), len, keys, COUNT(keys), &count),
                   rows[i].err);
        assert_int_equal(count, rows[i].count);
        while (count > 0)
            lk_key_wipe(&keys[--count]);
    }
    guard_close(&g);
}

static void
a_public_key_is_written_and_read_back(void **state)
{
    static const char *const keys[] = {TEST_EC, TEST_OKP};

    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        struct lk_key key = test_key(keys[i]), again;
        uint8_t room[512], print[32], print_again[32];
        struct lk_json_out w;
        struct lk_span out;
        struct lk_json r;

        lk_json_write_open(&w, LK_BUF_OF(room));
        lk_jwk_write_public(&w, &key);
        assert_int_equal(lk_json_write_close(&w, &out), LK_OK);
        assert_null(memmem(out.ptr, out.len, "\"d\"", 3));
        assert_int_equal(lk_jwk_thumbprint(&key, print), LK_OK);
        lk_json_open(&r, room, out.len);
        assert_int_equal(lk_jwk_read(&r, &again), LK_OK);
        assert_false(again.has_private);
        assert_true(lk_span_equal(lk_key_kid(&key), lk_key_kid(&again)));
        assert_int_equal(lk_jwk_thumbprint(&again, print_again), LK_OK);
        assert_memory_equal(print, print_again, sizeof(print));
        lk_key_wipe(&key);
    }
}

static void
a_secret_key_is_never_written(void **state)
{
    struct lk_key key = test_key(TEST_OCT);
    struct lk_json_out w;
    struct lk_span out;
    uint8_t room[512];

    (void)state;
    lk_json_write_open(&w, LK_BUF_OF(room));
    lk_jwk_write_public(&w, &key);
    assert_int_equal(lk_json_write_close(&w, &out), LK_ERR_UNSUPPORTED);
    lk_key_wipe(&key);
}

/* Keys of RFC 8392 A.2.3 and RFC 8037 A.1 as COSE_Key. */
#define CK_X "215820143329cce7868e416927599cf65a34f3ce2ffda55a7eca69ed8919a394d42f0f"
#define CK_Y "22582060f7f1a780d8a783bfb7a2dd6b2796e8128dbbcef9d3d168db9529971a36e7b9"
#define CK_D "2358206c1382765aec5358f117733d281c1c7bdc39884d04a45a1e6c67c858bc206c19"
#define CK_K "205820403697de87af64611c1d32a05dab0fe1fcb715a86ab435f1ec99192d79569388"
#define CK_O "215820d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

static void
a_cose_key_is_read_or_refused(void **state)
{
    static const struct {
        const char *name, *hex;
        enum lk_err err;
        enum lk_alg alg;
        bool has_private;
    } rows[] = {
        {"EC2", "a4 0102 2001" CK_X CK_Y, LK_OK, LK_ALG_ES256, false},
        {"EC2 private, kid, alg, key_ops", "a8 0102 024161 0326 04820102 2001" CK_X CK_Y CK_D,
         LK_OK, LK_ALG_ES256, true},
        {"EC2, new algorithm id", "a5 0102 0328 2001" CK_X CK_Y, LK_OK, LK_ALG_ES256, false},
        {"OKP", "a3 0101 2006" CK_O, LK_OK, LK_ALG_EDDSA, false},
        {"symmetric, 256", "a3 0104 0305" CK_K, LK_OK, LK_ALG_HS256, true},
        {"symmetric, 64", "a3 0104 0304" CK_K, LK_OK, LK_ALG_HS256_64, true},
        {"symmetric without alg", "a2 0104" CK_K, LK_ERR_MISSING, 0, false},
        {"symmetric for decryption", "a3 0104 030b" CK_K, LK_OK, LK_ALG_AEAD, true},
        {"symmetric for decryption, key_ops", "a4 0104 030b 048104" CK_K, LK_OK, LK_ALG_AEAD, true},
        {"symmetric for decryption that may only encrypt", "a4 0104 030b 048103" CK_K,
         LK_ERR_UNSUPPORTED, 0, false},
        {"symmetric for decryption that may verify", "a4 0104 030b 04810a" CK_K, LK_ERR_UNSUPPORTED,
         0, false},
        {"a MAC key that may decrypt", "a4 0104 0305 048104" CK_K, LK_ERR_UNSUPPORTED, 0, false},
        {"ChaCha20", "a3 0104 0318 18" CK_K, LK_ERR_UNSUPPORTED, 0, false},
        {"EC2 with a cipher", "a5 0102 0303 2001" CK_X CK_Y, LK_ERR_MALFORMED, 0, false},
        {"symmetric that may only create", "a4 0104 0305 048109" CK_K, LK_ERR_UNSUPPORTED, 0,
         false},
        {"symmetric that may verify", "a4 0104 0305 04810a" CK_K, LK_OK, LK_ALG_HS256, true},
        {"EC2 that may only sign", "a5 0102 048101 2001" CK_X CK_Y, LK_ERR_UNSUPPORTED, 0, false},
        {"EC2 with another algorithm", "a5 0102 0327 2001" CK_X CK_Y, LK_ERR_MALFORMED, 0, false},
        {"EC2 with a text algorithm", "a5 0102 036161 2001" CK_X CK_Y, LK_ERR_UNSUPPORTED, 0,
         false},
        {"P-384", "a4 0102 2002" CK_X CK_Y, LK_ERR_UNSUPPORTED, 0, false},
        {"Ed448", "a3 0101 2007" CK_O, LK_ERR_UNSUPPORTED, 0, false},
        {"compressed point", "a4 0102 2001" CK_X "22f5", LK_ERR_UNSUPPORTED, 0, false},
        {"no curve", "a3 0102" CK_X CK_Y, LK_ERR_MISSING, 0, false},
        {"no x", "a3 0102 2001" CK_Y, LK_ERR_MISSING, 0, false},
        {"x of 31 bytes",
         "a4 0102 2001 21581f143329cce7868e416927599cf65a34f3ce2ffda55a7eca69ed8919a394d42f" CK_Y,
         LK_ERR_MALFORMED, 0, false},
        {"x as text", "a3 0101 2006 216161", LK_ERR_TYPE, 0, false},
        {"no kty", "a3 2001" CK_X CK_Y, LK_ERR_MISSING, 0, false},
        {"kty RSA", "a1 0103", LK_ERR_UNSUPPORTED, 0, false},
        {"kty as text", "a1 01634f4b50", LK_ERR_UNSUPPORTED, 0, false},
        {"kty as bytes", "a1 014101", LK_ERR_TYPE, 0, false},
        {"a label twice", "a5 0102 0102 2001" CK_X CK_Y, LK_ERR_DUPLICATE, 0, false},
        {"a byte follows", "a4 0102 2001" CK_X CK_Y "00", LK_ERR_TRAILING, 0, false},
        {"an array", "80", LK_ERR_TYPE, 0, false},
        {"nothing", "", LK_ERR_TRUNCATED, 0, false},
    };
    struct guard g = guard_open(512);

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t room[256];
        struct lk_span in = hex_bytes(rows[i].hex, LK_BUF_OF(room));
        struct lk_key key;

        in.ptr = guard_put(&g, in.ptr, in.len);
        assert_err(rows[i].name, lk_cose_key_parse(in, &key), rows[i].err);
        assert_int_equal(key.alg, rows[i].alg);
        assert_int_equal(key.has_private, rows[i].has_private);
        if (rows[i].err == LK_OK)
            assert_err(rows[i].name, lk_key_open(&key), LK_OK);
        lk_key_wipe(&key);
    }
    guard_close(&g);
}

#define CK_EC  "a5 0102 024161 2001" CK_X CK_Y
#define CK_OKP "a4 0101 024162 2006" CK_O
#define CK_AES "a4 0104 024163 030b" CK_K
#define CK_MAC "a4 0104 024164 0305" CK_K

static void
a_cose_keyset_is_read_whole_or_refused(void **state)
{
    static const struct {
        const char *name, *hex;
        enum lk_err err;
        size_t count;
    } rows[] = {
        {"one key by itself", CK_EC, LK_OK, 1},
        {"one key", "81" CK_EC, LK_OK, 1},
        {"two keys", "82" CK_EC CK_OKP, LK_OK, 2},
        {"keys that decrypt and keys that verify, all secret", "82" CK_MAC CK_AES, LK_OK, 2},
        {"no keys", "80", LK_ERR_MALFORMED, 0},
        {"a kind we do not take is left out", "82 a20103 024161" CK_EC, LK_OK, 1},
        {"a kind we do not take by itself", "a20103024161", LK_OK, 0},
        {"two keys with one kid", "82" CK_EC CK_EC, LK_ERR_DUPLICATE, 0},
        {"two keys without a kid", "82 a3 0101 2006" CK_O "a4 0102 2001" CK_X CK_Y,
         LK_ERR_DUPLICATE, 0},
        {"secret and public mixed", "82" CK_EC CK_AES, LK_ERR_MALFORMED, 0},
        {"a key without x", "82" CK_EC "a3 0101 024162 2006", LK_ERR_MISSING, 0},
        {"a point that is not on the curve",
         "81 a5 0102 024161 2001" CK_X "2258"
         "20143329cce7868e416927599cf65a34f3ce2ffda55a7eca69ed8919a394d42f0f",
         LK_ERR_KEY, 0},
        {"a key shorter than its cipher's", "81 a4 0104 024163 030b 2044 01020304", LK_ERR_KEY, 0},
        {"a member that is no map", "82" CK_EC "01", LK_ERR_TYPE, 0},
        {"more than there is room for", "83" CK_EC CK_OKP "a4 0101 024163 2006" CK_O, LK_ERR_LIMIT,
         0},
        {"a byte follows", "81" CK_EC "00", LK_ERR_TRAILING, 0},
        {"cut off", "82" CK_EC, LK_ERR_TRUNCATED, 0},
        {"text", "6161", LK_ERR_TYPE, 0},
        {"nothing", "", LK_ERR_TRUNCATED, 0},
    };
    struct guard g = guard_open(512);

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        static const struct lk_key zero;
        uint8_t room[512];
        struct lk_span in = hex_bytes(rows[i].hex, LK_BUF_OF(room));
        struct lk_key keys[2];
        size_t count = 99;

        memset(keys, 0, sizeof(keys));
        in.ptr = guard_put(&g, in.ptr, in.len);
        assert_err(rows[i].name, lk_cose_keyset_read(in, keys, COUNT(keys), &count), rows[i].err);
        if (count != rows[i].count)
            fail_msg("%s: %zu keys", rows[i].name, count);
        for (size_t k = 0; k < COUNT(keys); k++) {
            if (k < count)
                assert_non_null(keys[k].prepared);
            else
                assert_memory_equal(&keys[k], &zero, sizeof(zero));
            lk_key_wipe(&keys[k]);
        }
    }
    guard_close(&g);
}

static void
a_cose_key_is_written_and_read_back(void **state)
{
    static const char *const keys[] = {TEST_EC, TEST_OKP};

    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        struct lk_key key = test_key(keys[i]), again;
        uint8_t room[256], print[32], print_again[32];
        struct lk_cbor_out w;
        struct lk_span out;

        lk_cbor_write_open(&w, LK_BUF_OF(room));
        lk_cose_key_write_public(&w, &key);
        assert_int_equal(lk_cbor_write_close(&w, &out), LK_OK);
        assert_int_equal(lk_cose_key_parse(out, &again), LK_OK);
        assert_false(again.has_private);
        assert_int_equal(again.alg, key.alg);
        assert_true(lk_span_equal(lk_key_kid(&key), lk_key_kid(&again)));
        assert_int_equal(lk_cose_key_thumbprint(&key, print), LK_OK);
        assert_int_equal(lk_cose_key_thumbprint(&again, print_again), LK_OK);
        assert_memory_equal(print, print_again, sizeof(print));
        lk_key_wipe(&key);
    }
}

/* Byte by byte: kty, kid, alg and then what is the kind's own, each once, in order. */
static void
a_cose_key_has_one_form(void **state)
{
    struct lk_key key;
    uint8_t wanted_room[256], room[256];
    struct lk_span wanted = hex_bytes("a6 0102 024161 0326 2001" CK_X CK_Y, LK_BUF_OF(wanted_room));
    struct lk_cbor_out w;
    struct lk_span out;

    (void)state;
    assert_int_equal(lk_cose_key_parse(wanted, &key), LK_OK);
    lk_cbor_write_open(&w, LK_BUF_OF(room));
    lk_cose_key_write_public(&w, &key);
    assert_int_equal(lk_cbor_write_close(&w, &out), LK_OK);
    assert_true(lk_span_equal(out, wanted));
}

static void
a_secret_key_is_never_written_as_cbor(void **state)
{
    static const char *const keys[] = {TEST_OCT, AES_256};
    struct lk_cbor_out w;
    struct lk_span out;
    uint8_t room[512], print[32];
    struct lk_key none = {.alg = LK_ALG_NONE};

    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        struct lk_key key = test_key(keys[i]);

        lk_cbor_write_open(&w, LK_BUF_OF(room));
        lk_cose_key_write_public(&w, &key);
        assert_int_equal(lk_cbor_write_close(&w, &out), LK_ERR_UNSUPPORTED);
        assert_int_equal(w.len, 0);
        assert_int_equal(lk_cose_key_thumbprint(&key, print), LK_OK);
        lk_key_wipe(&key);
    }
    assert_int_equal(lk_cose_key_thumbprint(&none, print), LK_ERR_UNSUPPORTED);
}

static void
algorithms_have_names_for_people(void **state)
{
    (void)state;
    assert_string_equal(lk_alg_name(LK_ALG_ES256), "ES256");
    assert_string_equal(lk_alg_name(LK_ALG_AEAD), "AEAD");
    assert_string_equal(lk_alg_name(LK_ALG_NONE), "none");
    assert_int_equal(lk_alg_to_cose(LK_ALG_AEAD), 0);
    assert_int_equal(lk_alg_to_cose(LK_ALG_NONE), 0);
    assert_int_equal(lk_alg_from_cose(0), LK_ALG_NONE);
    assert_int_equal(lk_alg_from_cose(1000), LK_ALG_NONE);
    assert_int_equal(lk_alg_from_cose(INT64_MIN), LK_ALG_NONE);
}

static void
ciphers_have_the_numbers_of_rfc_9053(void **state)
{
    static const struct {
        int64_t cose;
        const char *name;
        struct lk_aead_sizes sizes;
        bool is_jose;
    } rows[] = {
        {1, "A128GCM", {16, 12, 16}, true},
        {2, "A192GCM", {24, 12, 16}, true},
        {3, "A256GCM", {32, 12, 16}, true},
        {10, "AES-CCM-16-64-128", {16, 13, 8}, false},
        {11, "AES-CCM-16-64-256", {32, 13, 8}, false},
        {12, "AES-CCM-64-64-128", {16, 7, 8}, false},
        {13, "AES-CCM-64-64-256", {32, 7, 8}, false},
        {30, "AES-CCM-16-128-128", {16, 13, 16}, false},
        {31, "AES-CCM-16-128-256", {32, 13, 16}, false},
        {32, "AES-CCM-64-128-128", {16, 7, 16}, false},
        {33, "AES-CCM-64-128-256", {32, 7, 16}, false},
    };
    static const int64_t others[] = {0, 4, 5, 14, 24, -7, -3, 34};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum lk_aead cipher = lk_aead_from_cose(rows[i].cose);
        struct lk_aead_sizes sizes = lk_aead_sizes_of(cipher);

        assert_int_not_equal(cipher, LK_AEAD_NONE);
        assert_int_equal(lk_aead_to_cose(cipher), rows[i].cose);
        assert_string_equal(lk_aead_name(cipher), rows[i].name);
        assert_memory_equal(&sizes, &rows[i].sizes, sizeof(sizes));
        assert_int_equal(lk_aead_from_jose(lk_span_text(rows[i].name)),
                         rows[i].is_jose ? cipher : LK_AEAD_NONE);
        /* a signed message never names one, whatever it says */
        assert_int_equal(lk_alg_from_cose(rows[i].cose), LK_ALG_NONE);
        assert_int_equal(lk_alg_from_jose(lk_span_text(rows[i].name)), LK_ALG_NONE);
    }
    for (size_t i = 0; i < COUNT(others); i++)
        assert_int_equal(lk_aead_from_cose(others[i]), LK_AEAD_NONE);
    assert_int_equal(lk_aead_from_jose(LK_SPAN("")), LK_AEAD_NONE);
    assert_int_equal(lk_aead_sizes_of((enum lk_aead)99).key, 0);
}

static void
fill(struct lk_key *keys, size_t count, const char *prefix)
{
    for (size_t i = 0; i < count; i++) {
        keys[i] = test_key(TEST_OKP);
        keys[i].kid_len =
            (size_t)snprintf((char *)keys[i].kid, sizeof(keys[i].kid), "%s%zu", prefix, i);
    }
}

static void
a_keyset_keeps_issuers_apart(void **state)
{
    static struct lk_keyset set;
    static struct lk_key keys[LK_KEYS_MAX], more[4];
    static const struct lk_key zero;

    (void)state;
    fill(keys, 3, "a");
    assert_int_equal(lk_keyset_put(&set, 0, keys, 3), LK_OK);
    assert_memory_equal(&keys[0], &zero, sizeof(zero));
    fill(keys, 1, "a");
    assert_int_equal(lk_keyset_put(&set, 1, keys, 1), LK_OK);
    assert_int_equal(set.count, 4);
    assert_non_null(lk_keyset_get(&set, 0, LK_SPAN("a2")));
    assert_int_equal(lk_keyset_get(&set, 1, LK_SPAN("a0"))->issuer, 1);
    assert_null(lk_keyset_get(&set, 1, LK_SPAN("a1")));
    assert_null(lk_keyset_get(&set, 2, LK_SPAN("a0")));
    /* without a kid: only where there is no choice */
    assert_non_null(lk_keyset_get(&set, 1, (struct lk_span){NULL, 0}));
    assert_null(lk_keyset_get(&set, 0, (struct lk_span){NULL, 0}));
    assert_null(lk_keyset_get(&set, 1, LK_SPAN("")));

    /* a key that decrypts is found by its kid, and is no choice among those that verify */
    fill(more, 1, "v");
    more[1] = test_key(AES_256);
    assert_int_equal(lk_keyset_put(&set, 2, more, 2), LK_OK);
    assert_int_equal(lk_keyset_get(&set, 2, (struct lk_span){NULL, 0})->alg, LK_ALG_EDDSA);
    assert_int_equal(lk_keyset_get(&set, 2, LK_SPAN("aes"))->alg, LK_ALG_AEAD);
    assert_int_equal(lk_keyset_put(&set, 2, NULL, 0), LK_OK);
    assert_int_equal(set.count, 4);

    fill(more, 4, "b");
    memcpy(more[3].kid, more[1].kid, more[1].kid_len);
    assert_int_equal(lk_keyset_put(&set, 0, more, 4), LK_ERR_DUPLICATE);
    assert_int_equal(set.count, 4);
    assert_non_null(lk_keyset_get(&set, 0, LK_SPAN("a0")));
    assert_int_equal(lk_keyset_put(&set, 0, more, 2), LK_OK);
    assert_null(lk_keyset_get(&set, 0, LK_SPAN("a0")));
    assert_non_null(lk_keyset_get(&set, 0, LK_SPAN("b1")));
    assert_non_null(lk_keyset_get(&set, 1, LK_SPAN("a0")));
    assert_int_equal(set.count, 3);
    lk_key_wipe(&more[2]);
    lk_key_wipe(&more[3]);

    fill(keys, LK_KEYS_MAX, "c");
    assert_int_equal(lk_keyset_put(&set, 0, keys, LK_KEYS_MAX), LK_ERR_LIMIT);
    assert_int_equal(set.count, 3);
    assert_int_equal(lk_keyset_put(&set, 0, keys, LK_KEYS_MAX - 1), LK_OK);
    assert_int_equal(set.count, LK_KEYS_MAX);
    lk_key_wipe(&keys[LK_KEYS_MAX - 1]);
    assert_int_equal(lk_keyset_put(&set, 0, NULL, 0), LK_OK);
    assert_int_equal(set.count, 1);
    lk_keyset_wipe(&set);
    assert_int_equal(set.count, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_jwk_is_read_or_refused),
        cmocka_unit_test(a_jwks_is_read_whole_or_refused),
        cmocka_unit_test(a_public_key_is_written_and_read_back),
        cmocka_unit_test(a_secret_key_is_never_written),
        cmocka_unit_test(a_cose_key_is_read_or_refused),
        cmocka_unit_test(a_cose_keyset_is_read_whole_or_refused),
        cmocka_unit_test(a_cose_key_is_written_and_read_back),
        cmocka_unit_test(a_cose_key_has_one_form),
        cmocka_unit_test(a_secret_key_is_never_written_as_cbor),
        cmocka_unit_test(algorithms_have_names_for_people),
        cmocka_unit_test(ciphers_have_the_numbers_of_rfc_9053),
        cmocka_unit_test(a_keyset_keeps_issuers_apart),
    };

    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
