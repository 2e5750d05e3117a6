/*
 * One good token, and each part of it broken in turn.
 */
#include <stdio.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/cose.h>
#include <latchkey/crypto.h>
#include <latchkey/token.h>

#include "cmocka_all.h"
#include "cose_parts.h"
#include "guard.h"
#include "hex.h"
#include "token_keys.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define NOW          600

static struct lk_key ec, okp, oct, oct64;
static struct lk_keyset keyset;
static const struct lk_issuer issuers[] = {
    {.url = {(const uint8_t *)"https://as", 10},
     .own = true,
     .typ = {(const uint8_t *)"at+jwt", 6}},
    {.url = {(const uint8_t *)"https://id", 10}, .own = false, .typ = {NULL, 0}},
};
static const struct lk_verifier verifier = {.keys = &keyset,
                                            .issuers = issuers,
                                            .issuer_count = 2,
                                            .audience = {(const uint8_t *)"mqtt", 4},
                                            .leeway_s = 30};
static struct guard guard, scratch_guard;

static enum lk_err
verify(struct lk_span text, int64_t now_s, struct lk_token *token)
{
    struct lk_buf scratch = {guard_room(&scratch_guard, LK_TOKEN_SCRATCH_MAX),
                             LK_TOKEN_SCRATCH_MAX};

    text.ptr = guard_put(&guard, text.ptr, text.len);
    return lk_token_verify(&verifier, text, now_s, scratch, token);
}

/* JWT */

#define HEADER "{\"alg\":\"ES256\",\"kid\":\"ec\",\"typ\":\"at+jwt\"}"
#define CLAIMS                                                                                     \
    "\"iss\":\"https://"                                                                           \
    "as\",\"sub\":\"dev\",\"aud\":\"mqtt\",\"exp\":1000,\"iat\":500,\"jti\":\"x\""
#define PAYLOAD "{" CLAIMS "}"
#define FOREIGN "{\"iss\":\"https://id\",\"sub\":\"u\",\"aud\":[\"web\",\"mqtt\"],\"exp\":1000}"

static struct lk_span
append_base64url(struct lk_buf room, size_t *len, struct lk_span bytes)
{
    struct lk_span out;

    assert_int_equal(
        lk_base64url_encode(bytes, (struct lk_buf){room.ptr + *len, room.cap - *len}, &out), LK_OK);
    *len += out.len;
    return lk_span_of(room.ptr, *len);
}

/* Sign any header and payload. */
static struct lk_span
jwt_make(const char *header, const char *payload, const struct lk_key *key, struct lk_buf room)
{
    uint8_t signature_room[64];
    struct lk_span text, signature;
    size_t len = 0;

    append_base64url(room, &len, lk_span_text(header));
    room.ptr[len++] = '.';
    text = append_base64url(room, &len, lk_span_text(payload));
    assert_int_equal(lk_crypto_sign(key, &text, 1, LK_BUF_OF(signature_room), &signature), LK_OK);
    room.ptr[len++] = '.';
    return append_base64url(room, &len, signature);
}

static void
a_jwt_is_taken_or_refused(void **state)
{
    static const struct {
        const char *name, *header, *payload;
        const struct lk_key *key;
        int64_t now_s;
        enum lk_err err;
    } rows[] = {
        {"good", HEADER, PAYLOAD, &ec, NOW, LK_OK},
        {"EdDSA", "{\"alg\":\"EdDSA\",\"kid\":\"okp\",\"typ\":\"at+jwt\"}", PAYLOAD, &okp, NOW,
         LK_OK},
        {"Ed25519", "{\"alg\":\"Ed25519\",\"kid\":\"okp\",\"typ\":\"at+jwt\"}", PAYLOAD, &okp, NOW,
         LK_OK},
        {"HS256", "{\"alg\":\"HS256\",\"kid\":\"oct\",\"typ\":\"at+jwt\"}", PAYLOAD, &oct, NOW,
         LK_OK},
        {"typ in capitals", "{\"alg\":\"ES256\",\"kid\":\"ec\",\"typ\":\"AT+JWT\"}", PAYLOAD, &ec,
         NOW, LK_OK},
        {"typ with application/",
         "{\"alg\":\"ES256\",\"kid\":\"ec\",\"typ\":\"application/at+jwt\"}", PAYLOAD, &ec, NOW,
         LK_OK},
        {"unknown members, keys offered in the header",
         "{\"alg\":\"ES256\",\"kid\":\"ec\",\"typ\":\"at+jwt\",\"jwk\":{\"kty\":\"oct\"},\"jku\":"
         "\"x\","
         "\"x5u\":\"x\",\"x5c\":[\"x\"]}",
         PAYLOAD, &ec, NOW, LK_OK},
        {"alg none", "{\"alg\":\"none\",\"kid\":\"ec\",\"typ\":\"at+jwt\"}", PAYLOAD, &ec, NOW,
         LK_ERR_ALG},
        {"alg NoNe", "{\"alg\":\"NoNe\",\"kid\":\"ec\",\"typ\":\"at+jwt\"}", PAYLOAD, &ec, NOW,
         LK_ERR_ALG},
        {"alg ES384", "{\"alg\":\"ES384\",\"kid\":\"ec\",\"typ\":\"at+jwt\"}", PAYLOAD, &ec, NOW,
         LK_ERR_ALG},
        {"HS256 with the kid of an ES256 key",
         "{\"alg\":\"HS256\",\"kid\":\"ec\",\"typ\":\"at+jwt\"}", PAYLOAD, &oct, NOW, LK_ERR_ALG},
        {"ES256 with the kid of an EdDSA key",
         "{\"alg\":\"ES256\",\"kid\":\"okp\",\"typ\":\"at+jwt\"}", PAYLOAD, &ec, NOW, LK_ERR_ALG},
        {"no alg", "{\"kid\":\"ec\",\"typ\":\"at+jwt\"}", PAYLOAD, &ec, NOW, LK_ERR_MISSING},
        {"alg a number", "{\"alg\":7,\"kid\":\"ec\",\"typ\":\"at+jwt\"}", PAYLOAD, &ec, NOW,
         LK_ERR_TYPE},
        {"alg twice", "{\"alg\":\"none\",\"alg\":\"ES256\",\"kid\":\"ec\",\"typ\":\"at+jwt\"}",
         PAYLOAD, &ec, NOW, LK_ERR_DUPLICATE},
        {"crit",
         "{\"alg\":\"ES256\",\"kid\":\"ec\",\"typ\":\"at+jwt\",\"crit\":[\"b64\"],\"b64\":true}",
         PAYLOAD, &ec, NOW, LK_ERR_CRIT},
        {"an empty crit", "{\"alg\":\"ES256\",\"kid\":\"ec\",\"typ\":\"at+jwt\",\"crit\":[]}",
         PAYLOAD, &ec, NOW, LK_ERR_CRIT},
        {"header an array", "[]", PAYLOAD, &ec, NOW, LK_ERR_TYPE},
        {"header empty", "", PAYLOAD, &ec, NOW, LK_ERR_TRUNCATED},
        {"no kid, several keys", "{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}", PAYLOAD, &ec, NOW,
         LK_ERR_KEY},
        {"unknown kid", "{\"alg\":\"ES256\",\"kid\":\"ed\",\"typ\":\"at+jwt\"}", PAYLOAD, &ec, NOW,
         LK_ERR_KEY},
        {"empty kid", "{\"alg\":\"ES256\",\"kid\":\"\",\"typ\":\"at+jwt\"}", PAYLOAD, &ec, NOW,
         LK_ERR_KEY},
        {"no typ", "{\"alg\":\"ES256\",\"kid\":\"ec\"}", PAYLOAD, &ec, NOW, LK_ERR_TYP},
        {"typ JWT", "{\"alg\":\"ES256\",\"kid\":\"ec\",\"typ\":\"JWT\"}", PAYLOAD, &ec, NOW,
         LK_ERR_TYP},
        {"last valid second", HEADER, PAYLOAD, &ec, 1029, LK_OK},
        {"leeway used up", HEADER, PAYLOAD, &ec, 1030, LK_ERR_EXPIRED},
        {"issued just inside the leeway", HEADER, PAYLOAD, &ec, 470, LK_OK},
        {"issued in the future", HEADER, PAYLOAD, &ec, 469, LK_ERR_NOT_YET},
        {"nbf just inside the leeway", HEADER, "{" CLAIMS ",\"nbf\":630}", &ec, NOW, LK_OK},
        {"a second before nbf", HEADER, "{" CLAIMS ",\"nbf\":631}", &ec, NOW, LK_ERR_NOT_YET},
        {"exp with a fraction", HEADER,
         "{\"iss\":\"https://as\",\"sub\":\"dev\",\"aud\":\"mqtt\",\"exp\":1000.9,\"iat\":500.1,"
         "\"jti\":\"x\"}",
         &ec, 1030, LK_ERR_EXPIRED},
        {"exp a text", HEADER, "{\"iss\":\"https://as\",\"sub\":\"dev\",\"exp\":\"1000\"}", &ec,
         NOW, LK_ERR_TYPE},
        {"exp null", HEADER, "{\"iss\":\"https://as\",\"sub\":\"dev\",\"exp\":null}", &ec, NOW,
         LK_ERR_TYPE},
        {"exp negative", HEADER, "{\"iss\":\"https://as\",\"sub\":\"dev\",\"exp\":-1}", &ec, NOW,
         LK_ERR_RANGE},
        {"exp of 2^63", HEADER,
         "{\"iss\":\"https://as\",\"sub\":\"dev\",\"exp\":9223372036854775808}", &ec, NOW,
         LK_ERR_RANGE},
        {"no exp", HEADER,
         "{\"iss\":\"https://as\",\"sub\":\"dev\",\"aud\":\"mqtt\",\"iat\":500,\"jti\":\"x\"}", &ec,
         NOW, LK_ERR_CLAIM},
        {"no sub", HEADER,
         "{\"iss\":\"https://as\",\"aud\":\"mqtt\",\"exp\":1000,\"iat\":500,\"jti\":\"x\"}", &ec,
         NOW, LK_ERR_CLAIM},
        {"empty sub", HEADER,
         "{\"iss\":\"https://"
         "as\",\"sub\":\"\",\"aud\":\"mqtt\",\"exp\":1000,\"iat\":500,\"jti\":\"x\"}",
         &ec, NOW, LK_ERR_CLAIM},
        {"no aud", HEADER,
         "{\"iss\":\"https://as\",\"sub\":\"dev\",\"exp\":1000,\"iat\":500,\"jti\":\"x\"}", &ec,
         NOW, LK_ERR_CLAIM},
        {"no iat", HEADER,
         "{\"iss\":\"https://as\",\"sub\":\"dev\",\"aud\":\"mqtt\",\"exp\":1000,\"jti\":\"x\"}",
         &ec, NOW, LK_ERR_CLAIM},
        {"no jti", HEADER,
         "{\"iss\":\"https://as\",\"sub\":\"dev\",\"aud\":\"mqtt\",\"exp\":1000,\"iat\":500}", &ec,
         NOW, LK_ERR_CLAIM},
        {"no iss", HEADER, "{\"sub\":\"dev\",\"aud\":\"mqtt\",\"exp\":1000}", &ec, NOW,
         LK_ERR_ISSUER},
        {"unknown iss", HEADER, "{\"iss\":\"https://as/\",\"sub\":\"dev\"}", &ec, NOW,
         LK_ERR_ISSUER},
        {"our key, but the other issuer's name", HEADER,
         "{\"iss\":\"https://id\",\"sub\":\"dev\",\"aud\":\"mqtt\",\"exp\":1000}", &ec, NOW,
         LK_ERR_KEY},
        {"another aud", HEADER,
         "{\"iss\":\"https://"
         "as\",\"sub\":\"dev\",\"aud\":\"mqt\",\"exp\":1000,\"iat\":500,\"jti\":\"x\"}",
         &ec, NOW, LK_ERR_AUDIENCE},
        {"aud an empty array", HEADER,
         "{\"iss\":\"https://"
         "as\",\"sub\":\"dev\",\"aud\":[],\"exp\":1000,\"iat\":500,\"jti\":\"x\"}",
         &ec, NOW, LK_ERR_CLAIM},
        {"aud an array", HEADER,
         "{\"iss\":\"https://"
         "as\",\"sub\":\"dev\",\"aud\":[\"coap\",\"mqtt\"],\"exp\":1000,\"iat\":500,"
         "\"jti\":\"x\"}",
         &ec, NOW, LK_OK},
        {"aud with nine entries", HEADER,
         "{\"aud\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}", &ec, NOW,
         LK_ERR_LIMIT},
        {"aud an object", HEADER, "{\"aud\":{}}", &ec, NOW, LK_ERR_TYPE},
        {"sub with NUL", HEADER, "{\"iss\":\"https://as\",\"sub\":\"dev\\u0000x\"}", &ec, NOW,
         LK_ERR_MALFORMED},
        {"a claim twice", HEADER, "{" CLAIMS ",\"sub\":\"dev\"}", &ec, NOW, LK_ERR_DUPLICATE},
        {"a claim twice, once escaped", HEADER, "{" CLAIMS ",\"\\u0073ub\":\"dev\"}", &ec, NOW,
         LK_ERR_DUPLICATE},
        {"payload an array", HEADER, "[" PAYLOAD "]", &ec, NOW, LK_ERR_TYPE},
        {"something behind the payload", HEADER, PAYLOAD "{}", &ec, NOW, LK_ERR_TRAILING},
        {"scope an array", HEADER, "{" CLAIMS ",\"scope\":[\"a:b\"]}", &ec, NOW, LK_OK},
        {"gen negative", HEADER, "{" CLAIMS ",\"gen\":-1}", &ec, NOW, LK_ERR_RANGE},
        {"tnt a number", HEADER, "{" CLAIMS ",\"tnt\":1}", &ec, NOW, LK_ERR_TYPE},
        {"foreign, without kid: the only key", "{\"alg\":\"ES256\"}", FOREIGN, &ec, NOW, LK_OK},
        {"foreign, with another kid", HEADER, FOREIGN, &ec, NOW, LK_ERR_KEY},
        {"foreign, another algorithm", "{\"alg\":\"EdDSA\",\"kid\":\"f\"}", FOREIGN, &okp, NOW,
         LK_ERR_ALG},
        {"foreign, expired", "{\"alg\":\"ES256\",\"kid\":\"f\"}", FOREIGN, &ec, 2000,
         LK_ERR_EXPIRED},
        {"foreign, no aud", "{\"alg\":\"ES256\",\"kid\":\"f\"}",
         "{\"iss\":\"https://id\",\"sub\":\"u\",\"exp\":1000}", &ec, NOW, LK_ERR_AUDIENCE},
        {"a clock at the end of time", HEADER, PAYLOAD, &ec, INT64_MAX, LK_ERR_EXPIRED},
        {"a clock at the start of time", HEADER, PAYLOAD, &ec, INT64_MIN, LK_ERR_NOT_YET},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        static const struct lk_token zero;
        static uint8_t room[LK_TOKEN_MAX];
        struct lk_token token;
        struct lk_span jwt =
            jwt_make(rows[i].header, rows[i].payload, rows[i].key, LK_BUF_OF(room));

        assert_err(rows[i].name, verify(jwt, rows[i].now_s, &token), rows[i].err);
        if (rows[i].err != LK_OK)
            assert_memory_equal(&token, &zero, sizeof(token));
        else
            assert_int_equal(token.format, LK_FORMAT_JWT);
    }
}

static void
a_jwt_has_one_text(void **state)
{
    static const struct {
        const char *name, *find, *put;
        enum lk_err err;
    } rows[] = {
        {"padding behind the header", ".", "=.", LK_ERR_BASE64},
        {"space before the payload", ".", ". ", LK_ERR_BASE64},
        {"a third dot", ".", "..", LK_ERR_MALFORMED},
        {"no dot at the first place", ".", "", LK_ERR_MALFORMED},
        {"a character that is none", "ey", "e!", LK_ERR_BASE64},
    };
    static uint8_t room[LK_TOKEN_MAX], changed[LK_TOKEN_MAX];
    struct lk_span jwt = jwt_make(HEADER, PAYLOAD, &ec, LK_BUF_OF(room));
    struct lk_token token;
    uint8_t last;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const char *text = (const char *)jwt.ptr;
        size_t find = strlen(rows[i].find), put = strlen(rows[i].put), at = 0;

        while (memcmp(text + at, rows[i].find, find) != 0)
            at++;
        memcpy(changed, text, at);
        memcpy(changed + at, rows[i].put, put);
        memcpy(changed + at + put, text + at + find, jwt.len - at - find);
        assert_err(rows[i].name, verify(lk_span_of(changed, jwt.len - find + put), NOW, &token),
                   rows[i].err);
    }
    memcpy(changed, jwt.ptr, jwt.len);
    memcpy(changed + jwt.len, "=\n", 2);
    assert_int_equal(verify(lk_span_of(changed, jwt.len + 1), NOW, &token), LK_ERR_BASE64);
    changed[jwt.len] = '\n';
    assert_int_equal(verify(lk_span_of(changed, jwt.len + 1), NOW, &token), LK_ERR_BASE64);
    /* 64 bytes end in a character of which only two bits count: the others must be zero */
    last = changed[jwt.len - 1];
    changed[jwt.len - 1] =
        last == 'A' || last == 'Q' || last == 'g' || last == 'w' ? last + 1 : 'B';
    assert_int_equal(verify(lk_span_of(changed, jwt.len), NOW, &token), LK_ERR_BASE64);
}

/* CWT */

#define C_HEAD "a6"
#define C_ISS  "01 6a 68747470733a2f2f6173"
#define C_SUB  "02 63 646576"
#define C_AUD  "03 64 6d717474"
#define C_EXP  "04 1903e8"
#define C_IAT  "06 1901f4"
#define C_CTI  "07 50 000102030405060708090a0b0c0d0e0f"
#define C_GOOD C_ISS C_SUB C_AUD C_EXP C_IAT C_CTI
#define C_OK   C_HEAD C_GOOD
#define P_EC   "a2 0126 0442 6563"   /* {1: -7, 4: 'ec'} */
#define P_OKP  "a2 0127 0443 6f6b70" /* {1: -8, 4: 'okp'} */
#define P_OCT  "a2 0105 0443 6f6374" /* {1: 5, 4: 'oct'} */
#define P_O64  "a2 0104 0443 6f3634" /* {1: 4, 4: 'o64'} */
#define TAGS   "d83dd2"
#define MTAGS  "d83dd1"

/* Sign any buckets and payload; `tags` go before the array as they stand. */
static struct lk_span
cwt_make(const char *tags, const char *protected_hex, const char *unprotected_hex,
         const char *payload_hex, const struct lk_key *key, struct lk_buf room)
{
    uint8_t protected_room[256], unprotected_room[256], payload_room[1024], tags_room[16];
    uint8_t heads[LK_COSE_HEADS][LK_COSE_HEAD_MAX], signature_room[64];
    struct lk_span parts[LK_PARTS_MAX], signature, out;
    struct lk_cose message = {
        .kind = key == &oct || key == &oct64 ? LK_COSE_MAC0 : LK_COSE_SIGN1,
        .protected_ = hex_bytes(protected_hex, LK_BUF_OF(protected_room)),
        .payload = hex_bytes(payload_hex, LK_BUF_OF(payload_room)),
    };
    struct lk_span on_wire = message.protected_;
    struct lk_cbor_out w;
    size_t count;

    /* the empty map is signed as nothing */
    if (on_wire.len == 1)
        message.protected_.len = 0;
    count = lk_cose_parts(&message, (struct lk_span){NULL, 0}, heads, parts);
    assert_int_equal(lk_crypto_sign(key, parts, count, LK_BUF_OF(signature_room), &signature),
                     LK_OK);
    lk_cbor_write_open(&w, room);
    lk_cbor_write_raw(&w, hex_bytes(tags, LK_BUF_OF(tags_room)));
    lk_cbor_write_array(&w, 4);
    lk_cbor_write_bytes(&w, on_wire);
    lk_cbor_write_raw(&w, hex_bytes(unprotected_hex, LK_BUF_OF(unprotected_room)));
    lk_cbor_write_bytes(&w, message.payload);
    lk_cbor_write_bytes(&w, signature);
    assert_int_equal(lk_cbor_write_close(&w, &out), LK_OK);
    return out;
}

static void
a_cwt_is_taken_or_refused(void **state)
{
    static const struct {
        const char *name, *tags, *protected_hex, *unprotected_hex, *payload;
        const struct lk_key *key;
        enum lk_err err;
    } rows[] = {
        {"good", TAGS, P_EC, "a0", C_OK, &ec, LK_OK},
        {"good EdDSA", TAGS, P_OKP, "a0", C_OK, &okp, LK_OK},
        {"good Mac0", MTAGS, P_OCT, "a0", C_OK, &oct, LK_OK},
        {"good Mac0 with short tags", MTAGS, P_O64, "a0", C_OK, &oct64, LK_OK},
        {"Mac0 in the array of a Sign1", TAGS, P_OCT, "a0", C_OK, &oct, LK_ERR_ALG},
        {"ES256 in a Mac0", MTAGS, P_EC, "a0", C_OK, &ec, LK_ERR_ALG},
        {"MAC with the kid of an ES256 key", MTAGS, "a2 0105 0442 6563", "a0", C_OK, &oct,
         LK_ERR_ALG},
        {"short tag with the kid of a key for long ones", MTAGS, "a2 0104 0443 6f6374", "a0", C_OK,
         &oct64, LK_ERR_ALG},
        {"only tag 18", "d2", P_EC, "a0", C_OK, &ec, LK_ERR_FORM},
        {"no tag", "", P_EC, "a0", C_OK, &ec, LK_ERR_FORM},
        {"tag 18 in two bytes", "d83dd812", P_EC, "a0", C_OK, &ec, LK_ERR_FORM},
        {"tag 61 in three bytes", "d9003dd2", P_EC, "a0", C_OK, &ec, LK_ERR_FORM},
        {"tag 61 alone", "d83d", P_EC, "a0", C_OK, &ec, LK_ERR_MALFORMED},
        {"tag 61 twice", "d83dd83dd2", P_EC, "a0", C_OK, &ec, LK_ERR_MALFORMED},
        {"tag 18 outside tag 61", "d2d83d", P_EC, "a0", C_OK, &ec, LK_ERR_TYPE},
        {"tag 16 around four items", "d83dd0", P_EC, "a0", C_OK, &ec, LK_ERR_MALFORMED},
        {"tag 96", "d83dd860", P_EC, "a0", C_OK, &ec, LK_ERR_UNSUPPORTED},
        {"tag 98", "d83dd862", P_EC, "a0", C_OK, &ec, LK_ERR_UNSUPPORTED},
        {"tag 55799 outside", "d9d9f7d83dd2", P_EC, "a0", C_OK, &ec, LK_ERR_MALFORMED},
        {"kid unprotected", TAGS, "a10126", "a1044265 63", C_OK, &ec, LK_ERR_FORM},
        {"kid in both buckets", TAGS, P_EC, "a10442 6563", C_OK, &ec, LK_ERR_DUPLICATE},
        {"kid twice", TAGS, "a3 0126 0442 6563 0442 6563", "a0", C_OK, &ec, LK_ERR_DUPLICATE},
        {"kid as text", TAGS, "a2 0126 0462 6563", "a0", C_OK, &ec, LK_ERR_TYPE},
        {"no kid", TAGS, "a10126", "a0", C_OK, &ec, LK_ERR_KEY},
        {"an unknown unprotected label", TAGS, P_EC, "a1 1901f4 01", C_OK, &ec, LK_ERR_FORM},
        {"an unknown protected label", TAGS, "a3 0126 0442 6563 1901f4 01", "a0", C_OK, &ec,
         LK_ERR_FORM},
        {"a text label in both buckets", TAGS, "a3 0126 0442 6563 6161 01", "a1 6161 02", C_OK, &ec,
         LK_ERR_DUPLICATE},
        {"a label in bytes", TAGS, P_EC, "a1 4101 02", C_OK, &ec, LK_ERR_TYPE},
        {"alg only unprotected", TAGS, "a10442 6563", "a10126", C_OK, &ec, LK_ERR_ALG},
        {"alg in both buckets", TAGS, P_EC, "a10126", C_OK, &ec, LK_ERR_DUPLICATE},
        {"no alg", TAGS, "a10442 6563", "a0", C_OK, &ec, LK_ERR_MISSING},
        {"no alg, nothing protected", TAGS, "", "a0", C_OK, &ec, LK_ERR_MISSING},
        {"no alg, an empty map protected", TAGS, "a0", "a0", C_OK, &ec, LK_ERR_MISSING},
        {"alg as text", TAGS, "a2 01646e6f6e65 0442 6563", "a0", C_OK, &ec, LK_ERR_ALG},
        {"alg ES384", TAGS, "a2 013822 0442 6563", "a0", C_OK, &ec, LK_ERR_ALG},
        {"alg twice", TAGS, "a3 0126 0126 0442 6563", "a0", C_OK, &ec, LK_ERR_DUPLICATE},
        {"alg by its new id", TAGS, "a2 0128 0442 6563", "a0", C_OK, &ec, LK_ERR_FORM},
        {"alg in two bytes", TAGS, "a2 013806 0442 6563", "a0", C_OK, &ec, LK_ERR_FORM},
        {"labels in the other order", TAGS, "a2 0442 6563 0126", "a0", C_OK, &ec, LK_ERR_FORM},
        {"crit with what we know", TAGS, "a3 0126 028101 0442 6563", "a0", C_OK, &ec, LK_ERR_FORM},
        {"crit with what we do not know", TAGS, "a4 0126 02811901f4 0442 6563 1901f4 01", "a0",
         C_OK, &ec, LK_ERR_CRIT},
        {"crit with what is not there", TAGS, "a2 0126 028104", "a10442 6563", C_OK, &ec,
         LK_ERR_CRIT},
        {"crit empty", TAGS, "a3 0126 0280 0442 6563", "a0", C_OK, &ec, LK_ERR_CRIT},
        {"crit no array", TAGS, "a3 0126 0201 0442 6563", "a0", C_OK, &ec, LK_ERR_CRIT},
        {"crit unprotected", TAGS, P_EC, "a1028101", C_OK, &ec, LK_ERR_CRIT},
        {"protected no map", TAGS, "8126", "a0", C_OK, &ec, LK_ERR_TYPE},
        {"something behind the protected map", TAGS, P_EC "00", "a0", C_OK, &ec, LK_ERR_TRAILING},
        {"unprotected no map", TAGS, P_EC, "80", C_OK, &ec, LK_ERR_TYPE},
        {"unprotected map longer written", TAGS, P_EC, "b800", C_OK, &ec, LK_ERR_FORM},
        {"no exp", TAGS, P_EC, "a0", "a5" C_ISS C_SUB C_AUD C_IAT C_CTI, &ec, LK_ERR_CLAIM},
        {"no cti", TAGS, P_EC, "a0", "a5" C_ISS C_SUB C_AUD C_EXP C_IAT, &ec, LK_ERR_CLAIM},
        {"no iss", TAGS, P_EC, "a0", "a5" C_SUB C_AUD C_EXP C_IAT C_CTI, &ec, LK_ERR_ISSUER},
        {"exp tagged", TAGS, P_EC, "a0", "a6" C_ISS C_SUB C_AUD "04c11903e8" C_IAT C_CTI, &ec,
         LK_ERR_TYPE},
        {"exp as text", TAGS, P_EC, "a0", "a6" C_ISS C_SUB C_AUD "046131" C_IAT C_CTI, &ec,
         LK_ERR_TYPE},
        {"exp as float", TAGS, P_EC, "a0", "a6" C_ISS C_SUB C_AUD "04fa447a0000" C_IAT C_CTI, &ec,
         LK_OK},
        {"exp a NaN", TAGS, P_EC, "a0", "a6" C_ISS C_SUB C_AUD "04f97e00" C_IAT C_CTI, &ec,
         LK_ERR_RANGE},
        {"exp past", TAGS, P_EC, "a0", "a6" C_ISS C_SUB C_AUD "0401" C_IAT C_CTI, &ec,
         LK_ERR_EXPIRED},
        {"nbf in the future", TAGS, P_EC, "a0", "a7" C_GOOD "051903e7", &ec, LK_ERR_NOT_YET},
        {"aud an array", TAGS, P_EC, "a0", "a6" C_ISS C_SUB "0382616164 6d717474" C_EXP C_IAT C_CTI,
         &ec, LK_OK},
        {"aud other", TAGS, P_EC, "a0", "a6" C_ISS C_SUB "036161" C_EXP C_IAT C_CTI, &ec,
         LK_ERR_AUDIENCE},
        {"aud of bytes", TAGS, P_EC, "a0", "a6" C_ISS C_SUB "03446d717474" C_EXP C_IAT C_CTI, &ec,
         LK_ERR_TYPE},
        {"sub not UTF-8", TAGS, P_EC, "a0", "a1 0261ff", &ec, LK_ERR_UTF8},
        {"sub with NUL", TAGS, P_EC, "a0", "a1 0263640065", &ec, LK_ERR_MALFORMED},
        {"sub by its name is another claim", TAGS, P_EC, "a0", "a7" C_GOOD "63737562 01", &ec,
         LK_OK},
        {"sub twice", TAGS, P_EC, "a0", "a7" C_GOOD C_SUB, &ec, LK_ERR_DUPLICATE},
        {"sub twice, once longer", TAGS, P_EC, "a0", "a7" C_GOOD "1802 63 646576", &ec,
         LK_ERR_DUPLICATE},
        {"scope as text", TAGS, P_EC, "a0", "a7" C_GOOD "0963613a62", &ec, LK_OK},
        {"scope as bytes (RFC 9431)", TAGS, P_EC, "a0", "a7" C_GOOD "094180", &ec, LK_OK},
        {"scope as an AIF array", TAGS, P_EC, "a0", "a7" C_GOOD "098182616101", &ec, LK_OK},
        {"an unknown claim, tagged", TAGS, P_EC, "a0", "a7" C_GOOD "1864 c001", &ec, LK_ERR_TYPE},
        {"an unknown claim of any shape", TAGS, P_EC, "a0", "a7" C_GOOD "1864 a18001", &ec, LK_OK},
        {"cnf no map", TAGS, P_EC, "a0", "a7" C_GOOD "0801", &ec, LK_ERR_TYPE},
        {"gen negative", TAGS, P_EC, "a0", "a7" C_GOOD "6367656e20", &ec, LK_ERR_TYPE},
        {"payload an array", TAGS, P_EC, "a0", "80", &ec, LK_ERR_TYPE},
        {"payload empty", TAGS, P_EC, "a0", "", &ec, LK_ERR_TRUNCATED},
        {"something behind the claims", TAGS, P_EC, "a0", C_OK "00", &ec, LK_ERR_TRAILING},
        {"a token in a token", TAGS, P_EC, "a0", "d28440a04040", &ec, LK_ERR_TYPE},
        {"claims of indefinite length", TAGS, P_EC, "a0", "bf" C_GOOD "ff", &ec, LK_ERR_MALFORMED},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        static uint8_t room[2048], text_room[4096];
        struct lk_token token;
        struct lk_span text,
            cwt = cwt_make(rows[i].tags, rows[i].protected_hex, rows[i].unprotected_hex,
                           rows[i].payload, rows[i].key, LK_BUF_OF(room));

        assert_err(rows[i].name, verify(cwt, NOW, &token), rows[i].err);
        if (rows[i].err == LK_OK) {
            assert_int_equal(token.format, LK_FORMAT_CWT);
            assert_true(lk_span_is(token.claims.subject, "dev"));
        }
        /* The same as an MQTT password has it. */
        assert_int_equal(lk_base64url_encode(cwt, LK_BUF_OF(text_room), &text), LK_OK);
        assert_err(rows[i].name, verify(text, NOW, &token), rows[i].err);
    }
}

/* (r, n - s) verifies too: our own issuer never writes it, so it is not taken from it. */
static void
a_high_s_is_refused_from_our_own_issuer(void **state)
{
    static const uint8_t n[32] = {0xff, 0xff, 0xff, 0xff, 0,    0,    0,    0,    0xff, 0xff, 0xff,
                                  0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
                                  0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    uint8_t room[512];
    struct lk_span cwt = cwt_make(TAGS, P_EC, "a0", C_OK, &ec, LK_BUF_OF(room));
    uint8_t *s = room + cwt.len - 32;
    struct lk_token token;
    int borrow = 0;

    (void)state;
    assert_int_equal(verify(cwt, NOW, &token), LK_OK);
    for (int i = 31; i >= 0; i--) {
        int difference = n[i] - s[i] - borrow;

        borrow = difference < 0;
        s[i] = (uint8_t)(difference + 256 * borrow);
    }
    assert_int_equal(verify(cwt, NOW, &token), LK_ERR_FORM);
}

static void
scope_that_is_no_text_is_absent(void **state)
{
    static const char *const scopes[] = {"094180", "098182616101"};
    uint8_t room[512];
    struct lk_token token;

    (void)state;
    for (size_t i = 0; i < COUNT(scopes); i++) {
        char payload[512];

        snprintf(payload, sizeof(payload), "%s%s", "a7" C_GOOD, scopes[i]);
        assert_int_equal(
            verify(cwt_make(TAGS, P_EC, "a0", payload, &ec, LK_BUF_OF(room)), NOW, &token), LK_OK);
        assert_null(token.claims.scope.ptr);
    }
}

static void
what_is_no_token_is_refused(void **state)
{
    static const struct {
        const char *name, *text;
        enum lk_err err;
    } rows[] = {
        {"nothing", "", LK_ERR_TRUNCATED},
        {"a password", "hunter2!", LK_ERR_BASE64},
        {"a password of the alphabet", "hunter2a", LK_ERR_TRUNCATED},
        {"another password of the alphabet", "abcdefgh", LK_ERR_TYPE},
        {"a dot", ".", LK_ERR_MALFORMED},
        {"two dots", "..", LK_ERR_TRUNCATED},
        {"four dots (a JWE)", "a.b.c.d.e", LK_ERR_MALFORMED},
        {"a JSON serialization", "{\"payload\":\"Zm9v.\",\"x\":\".\"}", LK_ERR_BASE64},
        {"a high byte", "\xff", LK_ERR_MALFORMED},
        {"a map", "\xa0", LK_ERR_TYPE},
        {"an array of three", "\x83\x40\xa0\x40", LK_ERR_MALFORMED},
    };
    static uint8_t large[LK_TOKEN_MAX + 1];
    struct lk_token token;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_err(rows[i].name, verify(lk_span_text(rows[i].text), NOW, &token), rows[i].err);
    memset(large, 'A', sizeof(large));
    assert_int_equal(verify(lk_span_of(large, sizeof(large)), NOW, &token), LK_ERR_LIMIT);
    assert_int_not_equal(verify(lk_span_of(large, LK_TOKEN_MAX), NOW, &token), LK_ERR_LIMIT);
}

/* It is no algorithm, and must not pass for the lack of one. */
static void
the_reserved_algorithm_is_no_algorithm(void **state)
{
    uint8_t bytes[64], scratch[64];
    struct lk_token token;

    (void)state;
    assert_int_equal(
        lk_token_parse(hex_bytes("d83dd2 84 47 a2010004426563 a0 41a0 4101", LK_BUF_OF(bytes)),
                       LK_BUF_OF(scratch), &token),
        LK_ERR_ALG);
}

static void
detached_payloads_are_refused(void **state)
{
    uint8_t bytes[64];
    struct lk_token token;

    (void)state;
    assert_int_equal(
        verify(hex_bytes("d83dd2 84 47 a2012604426563 a0 f6 40", LK_BUF_OF(bytes)), NOW, &token),
        LK_ERR_MISSING);
}

/* Issuing */

static const uint8_t token_id[16] = {0xf0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static struct lk_claims
full_claims(void)
{
    return (struct lk_claims){
        .issuer = LK_SPAN("https://as"),
        .subject = LK_SPAN("acme~pump-7"),
        .client = LK_SPAN("acme~pump-7"),
        .scope = LK_SPAN("telemetry:send commands:receive"),
        .token_id = {token_id, sizeof(token_id)},
        .tenant = LK_SPAN("acme"),
        .type = LK_SPAN("p\"ump\\ \xc3\xa9"),
        .audience = {LK_SPAN("mqtt"), LK_SPAN("coap")},
        .audience_count = 2,
        .children = {LK_SPAN("c1"), LK_SPAN("c2"), LK_SPAN("c3")},
        .children_count = 3,
        .has_expires = true,
        .expires_s = 1000,
        .has_not_before = true,
        .not_before_s = 400,
        .has_issued = true,
        .issued_s = 500,
        .has_generation = true,
        .generation = 7,
        .cnf = LK_CNF_KID,
        .cnf_value = LK_SPAN("\x01\x02\x03\x04\x05\x06\x07\x08"),
    };
}

static void
claims_equal(const struct lk_claims *a, const struct lk_claims *b)
{
    assert_true(lk_span_equal(a->issuer, b->issuer));
    assert_true(lk_span_equal(a->subject, b->subject));
    assert_true(lk_span_equal(a->scope, b->scope));
    assert_true(lk_span_equal(a->tenant, b->tenant));
    assert_true(lk_span_equal(a->type, b->type));
    assert_int_equal(a->audience_count, b->audience_count);
    assert_true(lk_span_equal(a->audience[1], b->audience[1]));
    assert_int_equal(a->children_count, b->children_count);
    assert_true(lk_span_equal(a->children[2], b->children[2]));
    assert_int_equal(a->expires_s, b->expires_s);
    assert_int_equal(a->not_before_s, b->not_before_s);
    assert_int_equal(a->issued_s, b->issued_s);
    assert_int_equal(a->generation, b->generation);
    assert_int_equal(a->cnf, b->cnf);
    assert_true(lk_span_equal(a->cnf_value, b->cnf_value));
}

static void
what_is_issued_is_taken(void **state)
{
    const struct lk_key *keys[] = {&ec, &okp, &oct};
    struct lk_claims claims = full_claims();

    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        static uint8_t room[LK_TOKEN_MAX];
        uint8_t value_room[64];
        struct lk_span text, value;
        struct lk_token token;

        assert_int_equal(lk_token_issue(&claims, LK_FORMAT_JWT, keys[i], LK_BUF_OF(room), &text),
                         LK_OK);
        assert_int_equal(verify(text, NOW, &token), LK_OK);
        assert_true(token.own_form);
        claims_equal(&token.claims, &claims);
        assert_true(lk_span_equal(token.claims.client, claims.client));
        assert_true(lk_span_is(token.claims.token_id, "8AECAwQFBgcICQoLDA0ODw"));
        assert_true(
            lk_claims_get_text(&token.claims, LK_SPAN("dty"), LK_BUF_OF(value_room), &value));
        assert_true(lk_span_equal(value, claims.type));
        assert_false(
            lk_claims_get_text(&token.claims, LK_SPAN("gen"), LK_BUF_OF(value_room), &value));
        assert_false(
            lk_claims_get_text(&token.claims, LK_SPAN("nope"), LK_BUF_OF(value_room), &value));

        assert_int_equal(lk_token_issue(&claims, LK_FORMAT_CWT, keys[i], LK_BUF_OF(room), &text),
                         LK_OK);
        assert_int_equal(verify(text, NOW, &token), LK_OK);
        assert_true(token.own_form);
        claims_equal(&token.claims, &claims);
        assert_null(token.claims.client.ptr);
        assert_memory_equal(token.claims.token_id.ptr, token_id, sizeof(token_id));
        assert_true(
            lk_claims_get_text(&token.claims, LK_SPAN("tnt"), LK_BUF_OF(value_room), &value));
        assert_true(lk_span_is(value, "acme"));
        assert_false(
            lk_claims_get_text(&token.claims, LK_SPAN("gen"), LK_BUF_OF(value_room), &value));
        assert_false(
            lk_claims_get_text(&token.claims, LK_SPAN("sub"), LK_BUF_OF(value_room), &value));
    }
}

/* RFC 8949 section 4.2.1: keys 1 to 9, then dty, gen, tnt, children. */
static void
a_cwt_claims_set_is_deterministic(void **state)
{
    static const uint8_t order[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    static const char *const names[] = {"dty", "gen", "tnt", "children"};
    struct lk_claims claims = full_claims();
    uint8_t room[512];
    struct lk_span out;
    struct lk_cbor r;

    (void)state;
    assert_int_equal(lk_claims_write_cwt(&claims, LK_BUF_OF(room), &out), LK_OK);
    lk_cbor_open(&r, out);
    assert_int_equal(lk_cbor_enter_map(&r), 13);
    for (size_t i = 0; i < COUNT(order); i++) {
        assert_int_equal(lk_cbor_uint(&r), order[i]);
        lk_cbor_skip(&r);
    }
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_true(lk_span_is(lk_cbor_text(&r), names[i]));
        lk_cbor_skip(&r);
    }
    lk_cbor_leave_map(&r);
    assert_int_equal(lk_cbor_close(&r), LK_OK);
    for (size_t cap = 0; cap < out.len; cap++) {
        struct lk_span none;
        uint8_t small[512];

        assert_int_equal(lk_claims_write_cwt(&claims, (struct lk_buf){small, cap}, &none),
                         LK_ERR_NO_SPACE);
        assert_null(none.ptr);
    }
}

/* What would be read back otherwise, or not at all, is not written. */
static void
claims_out_of_range_are_not_written(void **state)
{
    enum {
        AUDIENCES = 1,
        CHILDREN,
        EXP_NEGATIVE,
        EXP_LATE,
        NBF_LATE,
        IAT_LATE,
        GEN,
        GEN_AT,
        OTHER,
        PRINT,
        SEALED,
        NO_KID,
        X5T
    };
    static const struct {
        const char *name;
        int what;
        enum lk_err jwt, cwt;
    } rows[] = {
        {"specimen", 0, LK_OK, LK_OK},
        {"too many audiences", AUDIENCES, LK_ERR_LIMIT, LK_ERR_LIMIT},
        {"too many children", CHILDREN, LK_ERR_LIMIT, LK_ERR_LIMIT},
        {"exp before 1970", EXP_NEGATIVE, LK_ERR_RANGE, LK_ERR_RANGE},
        {"exp beyond 2^53", EXP_LATE, LK_ERR_RANGE, LK_ERR_RANGE},
        {"nbf beyond 2^53", NBF_LATE, LK_ERR_RANGE, LK_ERR_RANGE},
        {"iat beyond 2^53", IAT_LATE, LK_ERR_RANGE, LK_ERR_RANGE},
        {"gen beyond 2^53", GEN, LK_ERR_RANGE, LK_ERR_RANGE},
        {"gen of 2^53", GEN_AT, LK_OK, LK_OK},
        {"cnf of an unknown kind", OTHER, LK_ERR_UNSUPPORTED, LK_ERR_UNSUPPORTED},
        {"cnf of a thumbprint", PRINT, LK_ERR_UNSUPPORTED, LK_ERR_UNSUPPORTED},
        {"cnf of an encrypted key", SEALED, LK_ERR_UNSUPPORTED, LK_ERR_UNSUPPORTED},
        {"cnf without its value", NO_KID, LK_ERR_ARG, LK_ERR_ARG},
        {"x5t#S256, which is JSON's", X5T, LK_OK, LK_ERR_UNSUPPORTED},
    };
    static const int64_t late = ((int64_t)1 << 53) + 1;
    uint8_t room[LK_TOKEN_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int what = rows[i].what;
        struct lk_claims c = full_claims();
        struct lk_span out;

        c.audience_count = what == AUDIENCES ? LK_AUDIENCE_MAX + 1 : c.audience_count;
        c.children_count = what == CHILDREN ? LK_CHILDREN_MAX + 1 : c.children_count;
        c.expires_s = what == EXP_NEGATIVE ? -1 : what == EXP_LATE ? late : c.expires_s;
        c.not_before_s = what == NBF_LATE ? late : c.not_before_s;
        c.issued_s = what == IAT_LATE ? late : c.issued_s;
        c.generation = (uint64_t)late - (what == GEN ? 0 : 1);
        c.cnf_value = LK_SPAN("0123456789abcdef0123456789abcdef");
        c.cnf = what == OTHER    ? LK_CNF_OTHER
                : what == PRINT  ? LK_CNF_THUMBPRINT
                : what == SEALED ? LK_CNF_ENCRYPTED
                : what == X5T    ? LK_CNF_X5T
                                 : LK_CNF_KID;
        if (what == NO_KID)
            c.cnf_value.len = 0;
        assert_err(rows[i].name, lk_token_issue(&c, LK_FORMAT_JWT, &ec, LK_BUF_OF(room), &out),
                   rows[i].jwt);
        assert_int_equal(out.ptr != NULL, rows[i].jwt == LK_OK);
        assert_err(rows[i].name, lk_token_issue(&c, LK_FORMAT_CWT, &ec, LK_BUF_OF(room), &out),
                   rows[i].cwt);
        assert_int_equal(out.ptr != NULL, rows[i].cwt == LK_OK);
    }
}

static void
what_may_not_be_issued_is_refused(void **state)
{
    enum missing { NONE, ISS, SUB, AUD, EXP, IAT, ID, ID15, CLIENT };
    static const struct {
        const char *name;
        enum missing missing;
        enum lk_err jwt, cwt;
    } rows[] = {
        {"nothing missing", NONE, LK_OK, LK_OK},
        {"no issuer", ISS, LK_ERR_CLAIM, LK_ERR_CLAIM},
        {"no subject", SUB, LK_ERR_CLAIM, LK_ERR_CLAIM},
        {"no audience", AUD, LK_ERR_CLAIM, LK_ERR_CLAIM},
        {"no expiry", EXP, LK_ERR_CLAIM, LK_ERR_CLAIM},
        {"no time of issue", IAT, LK_ERR_CLAIM, LK_ERR_CLAIM},
        {"no token id", ID, LK_ERR_CLAIM, LK_ERR_CLAIM},
        {"a token id of 15 bytes", ID15, LK_ERR_CLAIM, LK_ERR_CLAIM},
        {"no client", CLIENT, LK_ERR_CLAIM, LK_OK},
    };
    static uint8_t room[LK_TOKEN_MAX + 100], long_scope[LK_TOKEN_MAX];
    struct lk_key public_key = ec;
    struct lk_claims c;
    struct lk_span out;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        c = full_claims();
        c.issuer.len = rows[i].missing == ISS ? 0 : c.issuer.len;
        c.subject.len = rows[i].missing == SUB ? 0 : c.subject.len;
        c.audience_count = rows[i].missing == AUD ? 0 : 1;
        c.has_expires = rows[i].missing != EXP;
        c.has_issued = rows[i].missing != IAT;
        c.token_id.len = rows[i].missing == ID ? 0 : rows[i].missing == ID15 ? 15 : 16;
        c.client.len = rows[i].missing == CLIENT ? 0 : c.client.len;
        assert_err(rows[i].name, lk_token_issue(&c, LK_FORMAT_JWT, &ec, LK_BUF_OF(room), &out),
                   rows[i].jwt);
        assert_err(rows[i].name, lk_token_issue(&c, LK_FORMAT_CWT, &ec, LK_BUF_OF(room), &out),
                   rows[i].cwt);
    }
    c = full_claims();
    assert_int_equal(lk_token_issue(&c, LK_FORMAT_NONE, &ec, LK_BUF_OF(room), &out), LK_ERR_ARG);
    assert_int_equal(lk_token_issue(&c, LK_FORMAT_JWT, &oct64, LK_BUF_OF(room), &out),
                     LK_ERR_UNSUPPORTED);
    assert_int_equal(lk_token_issue(&c, LK_FORMAT_CWT, &oct64, LK_BUF_OF(room), &out), LK_OK);
    public_key.has_private = false;
    assert_int_equal(lk_token_issue(&c, LK_FORMAT_JWT, &public_key, LK_BUF_OF(room), &out),
                     LK_ERR_KEY);
    public_key = ec;
    public_key.kid_len = 0;
    assert_int_equal(lk_token_issue(&c, LK_FORMAT_JWT, &public_key, LK_BUF_OF(room), &out),
                     LK_ERR_KEY);
    assert_int_equal(lk_token_issue(&c, LK_FORMAT_CWT, &public_key, LK_BUF_OF(room), &out),
                     LK_ERR_KEY);
    assert_int_equal(lk_token_issue(&c, LK_FORMAT_CWT, &ec, (struct lk_buf){room, 100}, &out),
                     LK_ERR_NO_SPACE);
    assert_int_equal(lk_token_issue(&c, LK_FORMAT_JWT, &ec, (struct lk_buf){room, 100}, &out),
                     LK_ERR_NO_SPACE);
    memset(long_scope, 's', sizeof(long_scope));
    c.scope = lk_span_of(long_scope, LK_TOKEN_MAX - 300);
    assert_int_equal(lk_token_issue(&c, LK_FORMAT_JWT, &ec, LK_BUF_OF(room), &out), LK_ERR_LIMIT);
    c.scope.len = LK_TOKEN_MAX;
    assert_int_equal(lk_token_issue(&c, LK_FORMAT_CWT, &ec, LK_BUF_OF(room), &out), LK_ERR_LIMIT);
    assert_null(out.ptr);
    c = full_claims();
    c.cnf = LK_CNF_OTHER;
    assert_int_equal(lk_token_issue(&c, LK_FORMAT_JWT, &ec, LK_BUF_OF(room), &out),
                     LK_ERR_UNSUPPORTED);
    c.cnf = LK_CNF_X5T;
    assert_int_equal(lk_token_issue(&c, LK_FORMAT_CWT, &ec, LK_BUF_OF(room), &out),
                     LK_ERR_UNSUPPORTED);
    c = full_claims();
    c.subject = LK_SPAN("\xff");
    assert_int_equal(lk_token_issue(&c, LK_FORMAT_JWT, &ec, LK_BUF_OF(room), &out), LK_ERR_UTF8);
    c = full_claims();
    c.expires_s = -1;
    assert_int_equal(lk_token_issue(&c, LK_FORMAT_CWT, &ec, LK_BUF_OF(room), &out), LK_ERR_RANGE);
}

static void
confirmations_are_understood_or_set_aside(void **state)
{
    static const struct {
        const char *name, *json;
        enum lk_cnf_kind kind;
        size_t len;
    } rows[] = {
        {"jwk", "{\"jwk\":{\"kty\":\"EC\"}}", LK_CNF_KEY, 12},
        {"jwk and something unknown", "{\"jwk\":{\"kty\":\"EC\"},\"x\":1}", LK_CNF_KEY, 12},
        {"jwk no object", "{\"jwk\":\"x\"}", LK_CNF_OTHER, 0},
        {"kid", "{\"kid\":\"AQIDBAUGBwg\"}", LK_CNF_KID, 8},
        {"kid that is no base64url", "{\"kid\":\"a key!\"}", LK_CNF_OTHER, 0},
        {"kid empty", "{\"kid\":\"\"}", LK_CNF_OTHER, 0},
        {"kid a number", "{\"kid\":1}", LK_CNF_OTHER, 0},
        {"x5t#S256", "{\"x5t#S256\":\"" TEST_EC_X "\"}", LK_CNF_X5T, 32},
        {"x5t#S256 too short", "{\"x5t#S256\":\"AQID\"}", LK_CNF_OTHER, 0},
        {"jkt", "{\"jkt\":\"" TEST_EC_X "\"}", LK_CNF_THUMBPRINT, 32},
        {"jkt too short", "{\"jkt\":\"AQID\"}", LK_CNF_OTHER, 0},
        {"jkt a number", "{\"jkt\":1}", LK_CNF_OTHER, 0},
        {"jkt and x5t#S256", "{\"jkt\":\"" TEST_EC_X "\",\"x5t#S256\":\"" TEST_EC_X "\"}",
         LK_CNF_OTHER, 0},
        {"jwe", "{\"jwe\":\"a.b.c.d.e\"}", LK_CNF_OTHER, 0},
        {"jwk and jkt", "{\"jwk\":{},\"jkt\":\"x\"}", LK_CNF_OTHER, 0},
        {"kid and jwk", "{\"kid\":\"AQID\",\"jwk\":{}}", LK_CNF_OTHER, 0},
        {"nothing known", "{\"x\":1}", LK_CNF_OTHER, 0},
        {"empty", "{}", LK_CNF_OTHER, 0},
    };
    static const struct {
        const char *name, *hex;
        enum lk_cnf_kind kind;
        size_t len;
    } cwt_rows[] = {
        {"COSE_Key", "a108a101a10102", LK_CNF_KEY, 3},
        {"kid", "a108a1034401020304", LK_CNF_KID, 4},
        {"Encrypted_COSE_Key of no items", "a108a10280", LK_CNF_OTHER, 0},
        {"Encrypted_COSE_Key", "a108a1028340a040", LK_CNF_ENCRYPTED, 4},
        {"Encrypted_COSE_Key, tagged", "a108a102d08340a040", LK_CNF_ENCRYPTED, 5},
        {"Encrypted_COSE_Key, COSE_Encrypt", "a108a102d8608340a040", LK_CNF_OTHER, 0},
        {"Encrypted_COSE_Key and COSE_Key", "a108a201a10102028340a040", LK_CNF_OTHER, 0},
        {"ckt",
         "a108a1055820"
         "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
         LK_CNF_THUMBPRINT, 32},
        {"ckt too short", "a108a10541ff", LK_CNF_OTHER, 0},
        {"kid and ckt", "a108a20341010541ff", LK_CNF_OTHER, 0},
        {"osc", "a108a104a0", LK_CNF_OTHER, 0},
        {"COSE_Key and kid", "a108a201a10102034101", LK_CNF_OTHER, 0},
        {"kid and something unknown", "a108a203410118640 0", LK_CNF_KID, 1},
        {"a text member", "a108a1616101", LK_CNF_OTHER, 0},
        {"empty", "a108a0", LK_CNF_OTHER, 0},
    };
    struct lk_claims claims;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[256];
        uint8_t room[256];

        snprintf(text, sizeof(text), "{\"cnf\":%s}", rows[i].json);
        assert_err(rows[i].name, lk_claims_read_jwt(lk_span_text(text), LK_BUF_OF(room), &claims),
                   LK_OK);
        if (claims.cnf != rows[i].kind || claims.cnf_value.len != rows[i].len)
            fail_msg("%s: kind %d, %zu bytes", rows[i].name, (int)claims.cnf, claims.cnf_value.len);
        assert_true(lk_span_is(claims.raw, text));
        assert_int_equal(lk_claims_read_jwt(lk_span_text(text),
                                            (struct lk_buf){room, strlen(text) - 1}, &claims),
                         LK_ERR_NO_SPACE);
    }
    for (size_t i = 0; i < COUNT(cwt_rows); i++) {
        uint8_t room[64];
        char hex[128];
        size_t len = 0;

        for (const char *c = cwt_rows[i].hex; *c != '\0'; c++)
            if (*c != ' ')
                hex[len++] = *c;
        hex[len] = '\0';
        assert_err(cwt_rows[i].name, lk_claims_read_cwt(hex_bytes(hex, LK_BUF_OF(room)), &claims),
                   LK_OK);
        if (claims.cnf != cwt_rows[i].kind || claims.cnf_value.len != cwt_rows[i].len)
            fail_msg("%s: kind %d", cwt_rows[i].name, (int)claims.cnf);
    }
}

/* Hostile input: every cut and every change of a byte of good tokens. */

static unsigned hostile_tried;

static void
hostile_loop(struct lk_span good)
{
    static uint8_t copy[LK_TOKEN_MAX];
    struct lk_token token;

    memcpy(copy, good.ptr, good.len);
    assert_int_equal(verify(lk_span_of(copy, good.len), NOW, &token), LK_OK);
    for (size_t len = 0; len < good.len; len++, hostile_tried++)
        assert_int_not_equal(verify(lk_span_of(copy, len), NOW, &token), LK_OK);
    for (size_t at = 0; at < good.len; at++) {
        static const uint8_t changes[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff};

        for (size_t i = 0; i < COUNT(changes); i++, hostile_tried++) {
            copy[at] ^= changes[i];
            if (verify(lk_span_of(copy, good.len), NOW, &token) == LK_OK)
                fail_msg("byte %zu changed by %02x is taken", at, changes[i]);
            copy[at] ^= changes[i];
        }
    }
    for (size_t extra = 1; extra < 4; extra++, hostile_tried++) {
        memset(copy + good.len, 'A', extra);
        assert_int_not_equal(verify(lk_span_of(copy, good.len + extra), NOW, &token), LK_OK);
    }
}

static void
nothing_but_the_token_itself_is_taken(void **state)
{
    const struct lk_key *keys[] = {&ec, &okp, &oct};
    struct lk_claims claims = full_claims();

    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        uint8_t room[LK_TOKEN_MAX], text_room[LK_TOKEN_MAX];
        struct lk_span out, text;

        assert_int_equal(lk_token_issue(&claims, LK_FORMAT_JWT, keys[i], LK_BUF_OF(room), &out),
                         LK_OK);
        hostile_loop(out);
        assert_int_equal(lk_token_issue(&claims, LK_FORMAT_CWT, keys[i], LK_BUF_OF(room), &out),
                         LK_OK);
        hostile_loop(out);
        assert_int_equal(lk_base64url_encode(out, LK_BUF_OF(text_room), &text), LK_OK);
        hostile_loop(text);
    }
    print_message("%u broken tokens refused\n", hostile_tried);
    assert_true(hostile_tried > 20000);
}

/* Too little scratch is an error, and what does suffice suffices. */
static void
scratch_is_never_overrun(void **state)
{
    struct lk_claims claims = full_claims();
    static uint8_t room[LK_TOKEN_MAX];
    struct lk_span text;
    bool enough = false;

    (void)state;
    assert_int_equal(lk_token_issue(&claims, LK_FORMAT_JWT, &ec, LK_BUF_OF(room), &text), LK_OK);
    for (size_t cap = 0; cap < 2 * text.len; cap++) {
        struct lk_token token;
        enum lk_err err =
            lk_token_parse(text, (struct lk_buf){guard_room(&scratch_guard, cap), cap}, &token);

        assert_int_equal(err, enough || err == LK_OK ? LK_OK : LK_ERR_NO_SPACE);
        enough = err == LK_OK;
    }
    assert_true(enough);
}

static int
set_up(void **state)
{
    struct lk_key keys[4], foreign = test_key(TEST_EC);

    (void)state;
    ec = test_key(TEST_EC);
    okp = test_key(TEST_OKP);
    oct = test_key(TEST_OCT);
    oct64 = oct;
    oct64.alg = LK_ALG_HS256_64;
    memcpy(oct64.kid, "o64", 3);
    oct64.prepared = NULL;
    if (lk_key_open(&oct64) != LK_OK)
        return -1;
    memcpy(keys, (struct lk_key[]){ec, okp, oct, oct64}, sizeof(keys));
    for (size_t i = 0; i < COUNT(keys); i++) {
        keys[i].prepared = NULL;
        keys[i].has_private = keys[i].alg == LK_ALG_HS256 || keys[i].alg == LK_ALG_HS256_64;
        if (lk_key_open(&keys[i]) != LK_OK)
            return -1;
    }
    foreign.kid[0] = 'f';
    foreign.kid_len = 1;
    if (lk_keyset_put(&keyset, 0, keys, 4) != LK_OK ||
        lk_keyset_put(&keyset, 1, &foreign, 1) != LK_OK)
        return -1;
    guard = guard_open(LK_TOKEN_MAX + 1);
    scratch_guard = guard_open(LK_TOKEN_SCRATCH_MAX);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    lk_keyset_wipe(&keyset);
    lk_key_wipe(&ec);
    lk_key_wipe(&okp);
    lk_key_wipe(&oct);
    lk_key_wipe(&oct64);
    guard_close(&guard);
    guard_close(&scratch_guard);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_jwt_is_taken_or_refused),
        cmocka_unit_test(a_jwt_has_one_text),
        cmocka_unit_test(a_cwt_is_taken_or_refused),
        cmocka_unit_test(a_high_s_is_refused_from_our_own_issuer),
        cmocka_unit_test(scope_that_is_no_text_is_absent),
        cmocka_unit_test(what_is_no_token_is_refused),
        cmocka_unit_test(the_reserved_algorithm_is_no_algorithm),
        cmocka_unit_test(detached_payloads_are_refused),
        cmocka_unit_test(what_is_issued_is_taken),
        cmocka_unit_test(a_cwt_claims_set_is_deterministic),
        cmocka_unit_test(claims_out_of_range_are_not_written),
        cmocka_unit_test(what_may_not_be_issued_is_refused),
        cmocka_unit_test(confirmations_are_understood_or_set_aside),
        cmocka_unit_test(nothing_but_the_token_itself_is_taken),
        cmocka_unit_test(scratch_is_never_overrun),
    };

    return cmocka_run_group_tests_name("token", tests, set_up, tear_down);
}
