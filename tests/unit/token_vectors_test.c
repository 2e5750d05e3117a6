/*
 * The published and computed vectors of tests/vectors, read as data: a new file of a known shape
 * needs no new code. What a file holds that is not ours (other structures, curves, algorithms) is
 * counted and said, never silently passed.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include <latchkey/base64url.h>
#include <latchkey/cnf.h>
#include <latchkey/cose.h>
#include <latchkey/cose_encrypt.h>
#include <latchkey/crypto.h>
#include <latchkey/grant.h>
#include <latchkey/jwk.h>
#include <latchkey/token.h>

#include "cmocka_all.h"
#include "cose_parts.h"
#include "guard.h"
#include "hex.h"
#include "jwt.h"

static struct guard guard;

/* What became of the vectors of one group. */
static struct {
    unsigned passed, skipped, stricter;
} tally;

static void
tally_print(const char *what)
{
    print_message("%s: %u as wanted, %u not ours, %u refused because we are stricter\n", what,
                  tally.passed, tally.skipped, tally.stricter);
    assert_true(tally.passed > 0);
    memset(&tally, 0, sizeof(tally));
}

static json_t *
load(const char *name, size_t flags)
{
    char path[512];
    json_error_t error;
    json_t *json;

    snprintf(path, sizeof(path), "%s/%s", LK_VECTORS_DIR, name);
    json = json_load_file(path, flags, &error);
    if (json == NULL)
        fail_msg("%s: %s", path, error.text);
    return json;
}

/* Run over every .json file of a folder. */
static void
each_file(const char *folder, void (*run)(const char *name, json_t *json))
{
    char path[512];
    struct dirent *entry;
    DIR *dir;

    snprintf(path, sizeof(path), "%s/%s", LK_VECTORS_DIR, folder);
    dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name);
        json_t *json;

        if (len < 6 || strcmp(entry->d_name + len - 5, ".json") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        json = load(path, JSON_ALLOW_NUL);
        run(path, json);
        json_decref(json);
    }
    closedir(dir);
}

static const char *
text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static struct lk_span
hex_of(const json_t *object, const char *name, struct lk_buf room)
{
    const char *hex = text_of(object, name);

    return hex == NULL ? (struct lk_span){NULL, 0} : hex_bytes(hex, room);
}

/* Put the bytes before the unreadable page. */
static struct lk_span
placed(struct lk_span in)
{
    return lk_span_of(guard_put(&guard, in.ptr, in.len), in.len);
}

/* A JWK or JWKS of jansson's through our reader; keys are opened. */
static enum lk_err
keys_from_json(const json_t *json, struct lk_key *keys, size_t max, size_t *count)
{
    char *dump = json_dumps(json, JSON_COMPACT);
    enum lk_err err;

    assert_non_null(dump);
    err = lk_jwks_read((uint8_t *)dump, strlen(dump), keys, max, count);
    free(dump);
    return err;
}

static bool
is_accept(const json_t *test)
{
    const char *result = text_of(test, "result");

    return strncmp(result, "accept", 6) == 0 || strcmp(result, "valid") == 0;
}

/* CBOR */

/* Compare what a reader finds with what jansson found; numbers as doubles, keys as text. */
static bool
item_equals(struct lk_cbor *r, const json_t *json)
{
    size_t items;
    bool equal = true;

    switch (lk_cbor_peek(r)) {
    case LK_CBOR_UINT:
        return (double)lk_cbor_uint(r) == json_number_value(json);
    case LK_CBOR_NEGINT: {
        /* -2^64 does not fit an int64 */
        struct lk_cbor copy = *r;
        double value = (double)lk_cbor_int(&copy);

        if (copy.err == LK_ERR_RANGE) {
            lk_cbor_skip(r);
            return json_number_value(json) < -9.2e18;
        }
        *r = copy;
        return value == json_number_value(json);
    }
    case LK_CBOR_TEXT:
        return lk_span_is(lk_cbor_text(r), json_string_value(json));
    case LK_CBOR_FLOAT:
        return lk_cbor_float(r) == json_number_value(json);
    case LK_CBOR_ARRAY:
        items = lk_cbor_enter_array(r);
        equal = json_is_array(json) && json_array_size(json) == items;
        for (size_t i = 0; equal && i < items; i++)
            equal = item_equals(r, json_array_get(json, i));
        lk_cbor_leave_array(r);
        return equal;
    case LK_CBOR_MAP:
        items = lk_cbor_enter_map(r);
        equal = json_is_object(json) && json_object_size(json) == items;
        for (size_t i = 0; equal && i < items; i++) {
            struct lk_span key = lk_cbor_text(r);
            char name[64];

            snprintf(name, sizeof(name), "%.*s", (int)key.len, (const char *)key.ptr);
            equal = item_equals(r, json_object_get(json, name));
        }
        lk_cbor_leave_map(r);
        return equal;
    case LK_CBOR_SIMPLE:
        if (json_is_null(json))
            lk_cbor_null(r);
        else
            return lk_cbor_bool(r) == json_is_true(json) && json_is_boolean(json);
        return r->err == LK_OK;
    case LK_CBOR_BYTES:
    case LK_CBOR_TAG:
    case LK_CBOR_END:
        break;
    }
    return false;
}

static void
cbor_appendix_a(void **state)
{
    json_t *json = load("cbor/appendix_a.json", JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL), *test;
    size_t i;

    (void)state;
    json_array_foreach (json_object_get(json, "tests"), i, test) {
        static uint8_t room[4096];
        struct lk_span in = placed(hex_of(test, "hex", LK_BUF_OF(room)));
        const json_t *decoded = json_object_get(test, "decoded");
        bool roundtrip = json_is_true(json_object_get(test, "roundtrip"));
        const char *hex = text_of(test, "hex");
        struct lk_cbor r;
        enum lk_err err;

        lk_cbor_open(&r, in);
        lk_cbor_skip(&r);
        err = lk_cbor_close(&r);
        if (err == LK_ERR_MALFORMED && !roundtrip && in.ptr[in.len - 1] == 0xff) {
            tally.stricter++; /* indefinite lengths are refused by design */
            continue;
        }
        if (err == LK_ERR_MALFORMED && in.ptr[0] == 0xf8 && in.ptr[1] < 32) {
            tally.stricter++; /* RFC 7049 had simple(24); RFC 8949 section 3.3 has not */
            continue;
        }
        assert_err(hex, err, LK_OK);
        tally.passed++;
        if (decoded == NULL || json_object_get(test, "diagnostic") != NULL)
            continue;
        lk_cbor_open(&r, in);
        /* Bignums and byte strings have no JSON form of their own. */
        if (lk_cbor_peek(&r) == LK_CBOR_TAG || lk_cbor_peek(&r) == LK_CBOR_BYTES)
            continue;
        if (!item_equals(&r, decoded) || lk_cbor_close(&r) != LK_OK)
            fail_msg("%s is read as another value", hex);
    }
    json_decref(json);
    tally_print("cbor/appendix_a.json");
}

static void
cbor_not_well_formed(void **state)
{
    json_t *json = load("cbor/not_well_formed.json", 0), *test;
    size_t i;

    (void)state;
    json_array_foreach (json_object_get(json, "tests"), i, test) {
        uint8_t room[256];
        struct lk_cbor r;

        lk_cbor_open(&r, placed(hex_of(test, "hex", LK_BUF_OF(room))));
        lk_cbor_skip(&r);
        if (lk_cbor_close(&r) == LK_OK)
            fail_msg("%s (%s)", text_of(test, "hex"), text_of(test, "why"));
        tally.passed++;
    }
    json_decref(json);
    tally_print("cbor/not_well_formed.json");
}

/* COSE */

/* The examples write numbers as base64url, or as hex under NAME_hex. */
static bool
number_get(const json_t *key, const char *name, struct lk_buf room, size_t *len)
{
    const char *text = text_of(key, name);
    struct lk_span out;
    char hex_name[32];

    *len = 0;
    if (text != NULL) {
        if (lk_base64url_decode(lk_span_text(text), room, &out) != LK_OK)
            return false;
    } else {
        snprintf(hex_name, sizeof(hex_name), "%s_hex", name);
        out = hex_of(key, hex_name, room);
    }
    *len = out.len;
    return out.len > 0;
}

/* The examples call AES-CCM-16-64-128 by "AES-CCM-16-128/64". */
static enum lk_aead
example_cipher(const char *name)
{
    unsigned field, key, tag;
    char ours[64] = "";

    if (sscanf(name, "AES-CCM-%u-%u/%u", &field, &key, &tag) == 3)
        snprintf(ours, sizeof(ours), "AES-CCM-%u-%u-%u", field, tag, key);
    for (enum lk_aead cipher = LK_AEAD_A128GCM; cipher <= LK_AEAD_CCM_64_128_256; cipher++)
        if (strcmp(lk_aead_name(cipher), name) == 0 || strcmp(lk_aead_name(cipher), ours) == 0)
            return cipher;
    return LK_AEAD_NONE;
}

/* A key for the algorithm an example names; false for kinds that are not ours. */
static bool
example_key(const json_t *json, const char *alg, struct lk_key *key)
{
    const char *kty = text_of(json, "kty"), *crv = text_of(json, "crv");
    size_t len;

    memset(key, 0, sizeof(*key));
    if (kty == NULL || alg == NULL)
        return false;
    key->alg = strcmp(alg, "HS256/64") == 0 ? LK_ALG_HS256_64 : lk_alg_from_jose(lk_span_text(alg));
    if (strcmp(kty, "EC") == 0 && strcmp(crv, "P-256") == 0 && key->alg == LK_ALG_ES256) {
        return number_get(json, "x", LK_BUF_OF(key->u.ec.x), &len) &&
               number_get(json, "y", LK_BUF_OF(key->u.ec.y), &len) && lk_key_open(key) == LK_OK;
    }
    if (strcmp(kty, "OKP") == 0 && strcmp(crv, "Ed25519") == 0 && key->alg == LK_ALG_EDDSA)
        return number_get(json, "x", LK_BUF_OF(key->u.okp.x), &len) && lk_key_open(key) == LK_OK;
    key->u.oct.cipher = example_cipher(alg);
    if (key->u.oct.cipher != LK_AEAD_NONE)
        key->alg = LK_ALG_AEAD;
    if (strcmp(kty, "oct") == 0 &&
        (key->alg == LK_ALG_AEAD || key->alg == LK_ALG_HS256 || key->alg == LK_ALG_HS256_64)) {
        return number_get(json, "k", LK_BUF_OF(key->u.oct.k), &key->u.oct.len) &&
               lk_key_open(key) == LK_OK;
    }
    return false;
}

/* What we sign must be, byte by byte, what the example signs. */
static void
check_to_be_signed(const char *name, const struct lk_cose *message, struct lk_span aad,
                   const json_t *intermediates)
{
    uint8_t heads[LK_COSE_HEADS][LK_COSE_HEAD_MAX], room[512], joined[512];
    struct lk_span parts[LK_PARTS_MAX];
    struct lk_span wanted =
        hex_of(intermediates, message->kind == LK_COSE_MAC0 ? "ToMac_hex" : "ToBeSign_hex",
               LK_BUF_OF(room));
    size_t count = lk_cose_parts(message, aad, heads, parts), len = 0;

    for (size_t i = 0; i < count; i++) {
        assert_true(len + parts[i].len <= sizeof(joined));
        if (parts[i].len > 0)
            memcpy(joined + len, parts[i].ptr, parts[i].len);
        len += parts[i].len;
    }
    if (!lk_span_equal(wanted, lk_span_of(joined, len)))
        fail_msg("%s: another structure is signed", name);
}

static enum lk_err
example_verify(const char *name, struct lk_span message, const struct lk_key *key,
               struct lk_span aad, const json_t *json)
{
    struct lk_cose cose;
    enum lk_err err = lk_cose_parse(message, LK_COSE_NONE, &cose);

    if (err == LK_OK)
        err = lk_cose_verify(&cose, key, aad);
    if (err != LK_OK)
        return err;
    check_to_be_signed(name, &cose, aad, json_object_get(json, "intermediates"));
    assert_err(name, lk_cose_verify(&cose, key, LK_SPAN("other")), LK_ERR_SIGNATURE);
    return LK_OK;
}

static enum lk_err
example_decrypt(const char *name, struct lk_span message, const struct lk_key *key,
                struct lk_span aad, const json_t *json)
{
    uint8_t room[1024];
    struct lk_cose_encrypt0 cose;
    struct lk_span plain;
    enum lk_err err = lk_cose_encrypt0_parse(message, false, &cose);

    if (err == LK_OK)
        err = lk_cose_encrypt0_decrypt(&cose, key, aad, LK_BUF_OF(room), &plain);
    if (err != LK_OK)
        return err;
    assert_true(lk_span_is(plain, text_of(json_object_get(json, "input"), "plaintext")));
    assert_err(name,
               lk_cose_encrypt0_decrypt(&cose, key, LK_SPAN("other"), LK_BUF_OF(room), &plain),
               LK_ERR_SIGNATURE);
    return LK_OK;
}

static const json_t *
first_recipient_key(const json_t *body)
{
    return json_object_get(json_array_get(json_object_get(body, "recipients"), 0), "key");
}

static void
cose_run(const char *name, json_t *json)
{
    const json_t *input = json_object_get(json, "input");
    const json_t *mac = json_object_get(input, "mac0"), *sign = json_object_get(input, "sign0");
    const json_t *sealed = json_object_get(input, "encrypted");
    const json_t *body = mac != NULL ? mac : sign != NULL ? sign : sealed;
    const json_t *key_json =
        sign != NULL ? json_object_get(sign, "key") : first_recipient_key(body);
    const char *alg = text_of(body, "alg"), *loose;
    uint8_t room[1024], aad_room[128];
    struct lk_span message, aad = hex_of(body, "external", LK_BUF_OF(aad_room));
    struct lk_cose_encrypt0 encrypted;
    struct lk_cose cose;
    struct lk_key key;
    enum lk_err err;

    message = placed(hex_of(json_object_get(json, "output"), "cbor", LK_BUF_OF(room)));
    loose = text_of(json_object_get(body, "unprotected"), "alg");
    if (alg == NULL)
        alg = loose != NULL ? loose : text_of(json_object_get(body, "protected"), "alg");
    if (body == NULL || !example_key(key_json, alg, &key)) {
        /* another structure or algorithm: it must be refused all the same */
        assert_int_not_equal(lk_cose_parse(message, LK_COSE_NONE, &cose), LK_OK);
        assert_int_not_equal(lk_cose_encrypt0_parse(message, false, &encrypted), LK_OK);
        tally.skipped++;
        return;
    }
    err = body == sealed ? example_decrypt(name, message, &key, aad, json)
                         : example_verify(name, message, &key, aad, json);
    if (json_is_true(json_object_get(json, "fail"))) {
        if (err == LK_OK)
            fail_msg("%s was taken", name);
        tally.passed++;
    } else if (err == LK_ERR_ALG && loose != NULL) {
        tally.stricter++; /* alg outside the protected bucket */
    } else {
        assert_err(name, err, LK_OK);
        tally.passed++;
    }
    lk_key_wipe(&key);
}

static void
cose_examples(void **state)
{
    (void)state;
    each_file("cose/sign1-tests", cose_run);
    each_file("cose/mac0-tests", cose_run);
    each_file("cose/ecdsa-examples", cose_run);
    each_file("cose/eddsa-examples", cose_run);
    each_file("cose/hmac-examples", cose_run);
    tally_print("cose/*");
    each_file("cose/encrypted-tests", cose_run);
    tally_print("cose/encrypted-tests");
}

static void
cose_key_thumbprints(void **state)
{
    json_t *json = load("cose/key_thumbprints.json", 0), *test;
    size_t i;

    (void)state;
    json_array_foreach (json_object_get(json, "tests"), i, test) {
        uint8_t key_room[1024], print_room[32], print[32];
        struct lk_span in = placed(hex_of(test, "coseKeyHex", LK_BUF_OF(key_room)));
        struct lk_span wanted = hex_of(test, "sha256Hex", LK_BUF_OF(print_room));
        struct lk_key key;

        assert_err(text_of(test, "source"), lk_cose_key_parse(in, &key), LK_OK);
        assert_int_equal(lk_cose_key_thumbprint(&key, print), LK_OK);
        assert_int_equal(wanted.len, sizeof(print));
        assert_memory_equal(print, wanted.ptr, sizeof(print));
        lk_key_wipe(&key);
        tally.passed++;
    }
    json_decref(json);
    tally_print("cose/key_thumbprints.json");
}

/* CWT */

static struct lk_keyset keyset;

/* All keys of the appendix, found by their kids, as those of one issuer. */
static void
rfc8392_keys(const json_t *json)
{
    struct lk_key keys[8];
    const char *name;
    json_t *value;
    size_t count = 0;

    json_object_foreach (json_object_get(json, "keys"), name, value) {
        uint8_t room[256];
        struct lk_span in = hex_bytes(json_string_value(value), LK_BUF_OF(room));

        /* keyNotes: the key for HMAC 256/64 names AES-CCM; alg is the last member's value */
        if (strcmp(name, "sym256_cosekey") == 0)
            room[in.len - 1] = (uint8_t)lk_alg_to_cose(LK_ALG_HS256_64);
        assert_true(count < sizeof(keys) / sizeof(keys[0]));
        assert_err(name, lk_cose_key_parse(in, &keys[count]), LK_OK);
        assert_err(name, lk_key_open(&keys[count++]), LK_OK);
    }
    assert_int_equal(lk_keyset_put(&keyset, 0, keys, count), LK_OK);
}

static void
cwt_rfc8392(void **state)
{
    json_t *json = load("cwt/rfc8392_appendix_a.json", 0), *test;
    const struct lk_issuer as = {.url = LK_SPAN("coap://as.example.com")}, *issuer;
    const struct lk_verifier verifier = {.keys = &keyset,
                                         .issuers = &as,
                                         .issuer_count = 1,
                                         .audience = LK_SPAN("coap://light.example.com")};
    const char *name;

    (void)state;
    rfc8392_keys(json);
    json_object_foreach (json_object_get(json, "tests"), name, test) {
        uint8_t room[512], claims_room[256], scratch[LK_TOKEN_SCRATCH_MAX];
        struct lk_span cwt = placed(hex_of(test, "cwt", LK_BUF_OF(room)));
        struct lk_span claims =
            hex_of(json_object_get(json, text_of(test, "claims")), "hex", LK_BUF_OF(claims_room));
        const struct lk_key *key;
        struct lk_token token;

        assert_err(name, lk_token_parse(cwt, LK_BUF_OF(scratch), &token), LK_OK);
        assert_err(name, lk_token_decrypt(&verifier, &token), LK_OK);
        assert_true(lk_span_equal(token.claims.raw, claims));
        assert_int_equal(token.claims.issued_s, 1443944944);
        assert_false(token.own_form);
        if (token.claims.issuer.ptr == NULL) { /* A.7 says no more than when */
            key = lk_keyset_get(&keyset, 0, token.kid);
            assert_non_null(key);
            assert_err(name, lk_token_check_signature(&token, key), LK_OK);
        } else {
            assert_err(name, lk_token_find_key(&verifier, &token, &issuer, &key), LK_OK);
            assert_err(name, lk_token_check_signature(&token, key), LK_OK);
            assert_err(name, lk_token_check_claims(&verifier, issuer, &token, 1444000000), LK_OK);
            assert_err(name,
                       lk_token_verify(&verifier, cwt, 1444064944, LK_BUF_OF(scratch), &token),
                       LK_ERR_EXPIRED);
        }
        tally.passed++;
    }
    lk_keyset_wipe(&keyset);
    json_decref(json);
    tally_print("cwt/rfc8392_appendix_a.json");
}

/* Proof-of-possession profiles (RFC 9201, RFC 9431): cnf must be there, and lead to a key. */
static enum lk_err
check_confirmation(const struct lk_verifier *verifier, const struct lk_token *token)
{
    const struct lk_cnf_use use = {.symmetric = LK_ALG_NONE};
    uint8_t room[LK_TOKEN_MAX];
    struct lk_key key;
    enum lk_err err = lk_cnf_key(verifier, token, &use, LK_BUF_OF(room), &key);

    lk_key_wipe(&key);
    return err;
}

/* Whoever asks what the token permits finds out whether its scope can be read (AIF, RFC 9237). */
static enum lk_err
check_scope(const struct lk_claims *claims)
{
    static const struct lk_policy no_rules;
    uint8_t room[LK_IDENTITY_ROOM];
    struct lk_identity identity;

    return lk_identity_from_claims(&no_rules, claims, (struct lk_span){NULL, 0}, LK_BUF_OF(room),
                                   &identity);
}

static enum lk_err
verify_in_steps(const struct lk_verifier *verifier, struct lk_span text, int64_t now_s)
{
    uint8_t scratch[LK_TOKEN_SCRATCH_MAX];
    const struct lk_issuer *issuer;
    const struct lk_key *key;
    struct lk_token token;
    enum lk_err err = lk_token_parse(text, LK_BUF_OF(scratch), &token);

    if (err == LK_OK)
        err = lk_token_decrypt(verifier, &token);
    if (err == LK_OK)
        err = lk_token_find_key(verifier, &token, &issuer, &key);
    if (err == LK_OK)
        err = lk_token_check_signature(&token, key);
    if (err != LK_OK)
        return err;
    /* ACE tokens may do without a subject; ours may not. */
    if (token.claims.subject.ptr == NULL)
        token.claims.subject = LK_SPAN("somebody");
    err = lk_token_check_claims(verifier, issuer, &token, now_s);
    if (err == LK_OK)
        err = check_scope(&token.claims);
    return err == LK_OK ? check_confirmation(verifier, &token) : err;
}

/* The key of a case, under the kid its token names. */
static struct lk_key
validator_key(const json_t *test, struct lk_span cwt, const struct lk_key *default_key)
{
    struct lk_key key = *default_key;
    struct lk_cose_encrypt0 encrypted;
    struct lk_cose message;
    struct lk_span kid;

    key.prepared = NULL;
    if (text_of(test, "key") == NULL)
        return key;
    memset(&key, 0, sizeof(key));
    key.alg = LK_ALG_HS256;
    key.u.oct.len = hex_of(test, "key", LK_BUF_OF(key.u.oct.k)).len;
    if (lk_cose_encrypt0_parse(cwt, false, &encrypted) == LK_OK) {
        key.alg = LK_ALG_AEAD;
        key.u.oct.cipher = encrypted.cipher;
        kid = encrypted.kid;
    } else {
        assert_err(text_of(test, "name"), lk_cose_parse(cwt, LK_COSE_NONE, &message), LK_OK);
        kid = message.kid;
    }
    if (kid.len > 0)
        memcpy(key.kid, kid.ptr, kid.len);
    key.kid_len = kid.len;
    return key;
}

static void
cwt_validator_run(json_t *file, const json_t *test, const struct lk_key *default_key)
{
    struct lk_issuer issuer = {.url = lk_span_text(text_of(file, "issuer"))};
    struct lk_verifier verifier = {.keys = &keyset,
                                   .issuers = &issuer,
                                   .issuer_count = 1,
                                   .audience = lk_span_text(text_of(file, "audience"))};
    const char *name = text_of(test, "name");
    uint8_t room[2048];
    struct lk_span cwt = placed(hex_of(test, "cwtHex", LK_BUF_OF(room)));
    struct lk_key key = validator_key(test, cwt, default_key);
    enum lk_err err;

    assert_err(name, lk_key_open(&key), LK_OK);
    assert_err(name, lk_keyset_put(&keyset, 0, &key, 1), LK_OK);
    err = verify_in_steps(&verifier, cwt, json_integer_value(json_object_get(file, "now")));
    if (is_accept(test))
        assert_err(name, err, LK_OK);
    else if (err == LK_OK)
        fail_msg("%s was taken", name);
    if (strcmp(name, "scope bytes are not valid AIF") == 0)
        assert_err(name, err, LK_ERR_TRUNCATED);
    tally.passed++;
}

static void
cwt_validator_cases(void **state)
{
    json_t *json = load("cwt/validator_cases.json", 0), *test;
    json_t *rfc = load("cwt/rfc8392_appendix_a.json", 0);
    struct lk_key key;
    uint8_t room[256];
    size_t i;

    (void)state;
    assert_int_equal(
        lk_cose_key_parse(hex_of(json_object_get(rfc, "keys"), "p256_cosekey", LK_BUF_OF(room)),
                          &key),
        LK_OK);
    json_array_foreach (json_object_get(json, "tests"), i, test) {
        cwt_validator_run(json, test, &key);
    }
    lk_keyset_wipe(&keyset);
    json_decref(json);
    json_decref(rfc);
    tally_print("cwt/validator_cases.json");
}

/* ACE */

static void
ace_encodings(void **state)
{
    json_t *json = load("ace/encodings.json", 0), *test;
    size_t i;

    (void)state;
    json_array_foreach (json_object_get(json, "tests"), i, test) {
        uint8_t room[256], again_room[LK_PSK_IDENTITY_MAX];
        struct lk_span in = placed(hex_of(test, "cborHex", LK_BUF_OF(room))), kid, again;

        if (strstr(text_of(test, "name"), "PSK identity") == NULL) {
            /* requests and answers, which are not read here: no identity, for one thing */
            assert_int_not_equal(lk_psk_identity_read(in, &kid), LK_OK);
            tally.skipped++;
            continue;
        }
        assert_err(text_of(test, "name"), lk_psk_identity_read(in, &kid), LK_OK);
        assert_int_equal(lk_psk_identity_write(kid, LK_BUF_OF(again_room), &again), LK_OK);
        assert_true(lk_span_equal(in, again));
        tally.passed++;
    }
    json_array_foreach (json_object_get(json, "pskDerivation"), i, test) {
        uint8_t secret_room[64], token_room[512], wanted_room[64], out[64];
        struct lk_span secret = hex_of(test, "ikmHex", LK_BUF_OF(secret_room));
        struct lk_span token = placed(hex_of(test, "accessTokenHex", LK_BUF_OF(token_room)));
        struct lk_span wanted = hex_of(test, "pskHex", LK_BUF_OF(wanted_room));
        struct lk_buf psk = {out, (size_t)json_integer_value(json_object_get(test, "L"))};

        assert_int_equal(lk_cnf_derive(secret, token, psk), LK_OK);
        assert_true(lk_span_equal(lk_span_of(out, psk.cap), wanted));
        tally.passed++;
    }
    json_decref(json);
    tally_print("ace/encodings.json");
}

/* JOSE */

static void
jwt_validator_cases(void **state)
{
    json_t *json = load("jose/jwt_validator_cases.json", 0), *test;
    struct lk_issuer issuer = {.url = lk_span_text(text_of(json, "issuer")),
                               .typ = LK_SPAN("at+jwt")};
    struct lk_verifier verifier = {.keys = &keyset,
                                   .issuers = &issuer,
                                   .issuer_count = 1,
                                   .audience = lk_span_text(text_of(json, "audience"))};
    struct lk_key keys[4];
    size_t i, count;

    (void)state;
    assert_int_equal(keys_from_json(json_object_get(json, "jwks"), keys, 4, &count), LK_OK);
    assert_int_equal(lk_keyset_put(&keyset, 0, keys, count), LK_OK);
    json_array_foreach (json_object_get(json, "tests"), i, test) {
        const char *name = text_of(test, "name");
        struct lk_span jwt = placed(lk_span_text(text_of(test, "jwt")));
        enum lk_err err =
            verify_in_steps(&verifier, jwt, json_integer_value(json_object_get(json, "now")));

        if (is_accept(test)) {
            assert_err(name, err, LK_OK);
        } else if (err == LK_OK && strstr(text_of(test, "result"), "RFC 9068") != NULL) {
            tally.skipped++; /* client_id: asked of what we issue, not of foreign issuers */
            continue;
        } else if (err == LK_OK) {
            fail_msg("%s was taken", name);
        }
        tally.passed++;
    }
    lk_keyset_wipe(&keyset);
    json_decref(json);
    tally_print("jose/jwt_validator_cases.json");
}

/* A compact JWS over any payload, the way a token is verified but for the claims. */
static enum lk_err
jws_verify(struct lk_span text, const struct lk_key *keys, size_t count)
{
    static uint8_t header_room[8192], payload_room[8192], signature_room[1024];
    struct lk_span header_text, payload, signature;
    struct lk_jwt_header header;
    struct lk_jwt jwt;
    enum lk_err err = lk_jwt_split(text, &jwt);

    if (err == LK_OK)
        err = lk_base64url_decode(jwt.header, LK_BUF_OF(header_room), &header_text);
    if (err == LK_OK)
        err = lk_jwt_read_header(header_room, header_text.len, &header);
    if (err == LK_OK)
        err = lk_base64url_decode(jwt.payload, LK_BUF_OF(payload_room), &payload);
    if (err == LK_OK)
        err = lk_base64url_decode(jwt.signature, LK_BUF_OF(signature_room), &signature);
    if (err != LK_OK)
        return err;
    for (size_t i = 0; i < count; i++) {
        if (header.kid.ptr != NULL && keys[i].kid_len > 0 &&
            !lk_span_equal(header.kid, lk_key_kid(&keys[i])))
            continue;
        if (keys[i].alg != header.alg)
            return LK_ERR_ALG;
        return lk_crypto_verify(&keys[i], &jwt.signed_part, 1, signature);
    }
    return LK_ERR_KEY;
}

static void
jws_rfc7515(void **state)
{
    json_t *json = load("jose/rfc7515_appendix_a.json", 0), *test;
    size_t i;

    (void)state;
    json_array_foreach (json_object_get(json, "tests"), i, test) {
        const char *id = text_of(test, "id");
        struct lk_span jws = placed(lk_span_text(text_of(test, "jws")));
        json_t *key_json = json_object_get(test, "key");
        struct lk_key key;
        size_t count = 0;

        memset(&key, 0, sizeof(key));
        if (key_json != NULL) {
            /* The RFC's oct key does not say what it is for, and we ask for that. */
            json_object_set(key_json, "alg", json_object_get(test, "alg"));
            assert_err(id, keys_from_json(key_json, &key, 1, &count), LK_OK);
            assert_err(id, jws_verify(jws, &key, count), LK_OK);
        } else {
            assert_err(id, jws_verify(jws, &key, count), LK_ERR_ALG);
        }
        lk_key_wipe(&key);
        tally.passed++;
    }
    json_decref(json);
    tally_print("jose/rfc7515_appendix_a.json");
}

static void
rfc7520_run(const char *name, json_t *json)
{
    json_t *input = json_object_get(json, "input"), *key_json = json_object_get(input, "key");
    const char *compact = text_of(json_object_get(json, "output"), "compact");
    struct lk_key key;
    size_t count;
    enum lk_err err;

    memset(&key, 0, sizeof(key));
    if (text_of(json, "kty") != NULL) { /* a key by itself */
        err = keys_from_json(json, &key, 1, &count);
        assert_err(name, err, LK_OK);
        if (count == 0)
            tally.skipped++;
        else
            tally.passed++;
        lk_key_wipe(&key);
        return;
    }
    if (compact == NULL || key_json == NULL || keys_from_json(key_json, &key, 1, &count) != LK_OK ||
        count == 0) {
        tally.skipped++;
        lk_key_wipe(&key);
        return;
    }
    err = jws_verify(placed(lk_span_text(compact)), &key, count);
    if (strstr(compact, "..") != NULL)
        assert_err(name, err, LK_ERR_SIGNATURE); /* detached content is not there to be verified */
    else
        assert_err(name, err, LK_OK);
    tally.passed++;
    lk_key_wipe(&key);
}

static void
jose_cookbook(void **state)
{
    (void)state;
    each_file("jose/rfc7520", rfc7520_run);
    tally_print("jose/rfc7520/*");
}

static void
jwk_thumbprints(void **state)
{
    json_t *json = load("jose/jwk_thumbprints.json", 0), *test;
    size_t i;

    (void)state;
    json_array_foreach (json_object_get(json, "tests"), i, test) {
        json_t *jwk = json_object_get(test, "jwk");
        uint8_t print[32], room[32];
        struct lk_span wanted;
        struct lk_key key;
        size_t count;

        if (strcmp(text_of(jwk, "kty"), "oct") == 0)
            json_object_set_new(jwk, "alg", json_string("HS256"));
        assert_int_equal(
            lk_base64url_decode(lk_span_text(text_of(test, "sha256")), LK_BUF_OF(room), &wanted),
            LK_OK);
        assert_err(text_of(test, "source"), keys_from_json(jwk, &key, 1, &count), LK_OK);
        assert_int_equal(count, 1);
        assert_int_equal(lk_jwk_thumbprint(&key, print), LK_OK);
        assert_memory_equal(print, wanted.ptr, sizeof(print));
        lk_key_wipe(&key);
        tally.passed++;
    }
    json_decref(json);
    tally_print("jose/jwk_thumbprints.json");
}

/* Wycheproof */

static void
judge(const char *file, const json_t *test, enum lk_err err)
{
    const char *result = text_of(test, "result");
    char name[256];

    snprintf(name, sizeof(name), "%s tcId %lld %s", file,
             (long long)json_integer_value(json_object_get(test, "tcId")),
             text_of(test, "comment"));
    if (strcmp(result, "invalid") == 0) {
        if (err == LK_OK && strstr(name, "Roca") != NULL) {
            tally.skipped++; /* weak primes of one smart card: not looked for */
            return;
        }
        if (err == LK_OK)
            fail_msg("%s was taken", name);
    } else if (strcmp(result, "valid") == 0) {
        if (err == LK_ERR_BASE64) {
            tally.stricter++; /* a character that is not of the alphabet, which some skip */
            return;
        }
        assert_err(name, err, LK_OK);
    }
    tally.passed++;
}

/* The key of a group: a JWK where there is one, else the point or the bytes. */
static enum lk_err
group_key(const json_t *group, struct lk_key *key)
{
    const json_t *jwk = json_object_get(group, "publicKeyJwk");
    const json_t *public = json_object_get(group, "publicKey");
    uint8_t room[65];
    struct lk_span point;
    size_t count = 0;
    enum lk_err err;

    memset(key, 0, sizeof(*key));
    if (jwk != NULL) {
        err = keys_from_json(jwk, key, 1, &count);
        return err == LK_OK && count == 0 ? LK_ERR_UNSUPPORTED : err;
    }
    point = hex_of(public, "uncompressed", LK_BUF_OF(room));
    if (point.len != sizeof(room))
        return LK_ERR_UNSUPPORTED;
    key->alg = LK_ALG_ES256;
    memcpy(key->u.ec.x, room + 1, 32);
    memcpy(key->u.ec.y, room + 33, 32);
    return lk_key_open(key);
}

static void
wycheproof_signatures(const char *file, const json_t *group)
{
    const json_t *tests = json_object_get(group, "tests");
    struct lk_key key;
    json_t *test;
    size_t i;
    enum lk_err err = group_key(group, &key);

    if (err == LK_ERR_UNSUPPORTED) {
        tally.skipped += (unsigned)json_array_size(tests);
        return;
    }
    json_array_foreach (tests, i, test) {
        static uint8_t message_room[8192], signature_room[1024];
        struct lk_span message = hex_of(test, "msg", LK_BUF_OF(message_room));
        struct lk_span signature = placed(hex_of(test, "sig", LK_BUF_OF(signature_room)));

        judge(file, test, err != LK_OK ? err : lk_crypto_verify(&key, &message, 1, signature));
    }
    lk_key_wipe(&key);
}

static void
wycheproof_macs(const char *file, const json_t *group)
{
    const json_t *tests = json_object_get(group, "tests");
    size_t tag_len = (size_t)json_integer_value(json_object_get(group, "tagSize")) / 8;
    json_t *test;
    size_t i;

    json_array_foreach (tests, i, test) {
        static uint8_t message_room[8192], tag_room[64], key_room[256];
        struct lk_span message = hex_of(test, "msg", LK_BUF_OF(message_room));
        struct lk_span tag = hex_of(test, "tag", LK_BUF_OF(tag_room));
        struct lk_span secret = hex_of(test, "key", LK_BUF_OF(key_room));
        struct lk_key key = {.alg = LK_ALG_HS256};
        uint8_t whole[LK_SHA256_LEN];
        enum lk_err err;

        /* Short keys and 128-bit tags exist only below the key interface. */
        err = lk_crypto_hmac_sha256(secret, &message, 1, whole);
        if (err == LK_OK && !lk_equal_ct(lk_span_of(whole, tag_len), tag))
            err = LK_ERR_SIGNATURE;
        judge(file, test, err);
        if (tag_len != LK_SHA256_LEN || secret.len < 32 || secret.len > sizeof(key.u.oct.k))
            continue;
        memcpy(key.u.oct.k, secret.ptr, secret.len);
        key.u.oct.len = secret.len;
        assert_int_equal(lk_key_open(&key), LK_OK);
        judge(file, test, lk_crypto_verify(&key, &message, 1, tag));
        lk_key_wipe(&key);
    }
}

/* Some cases lost what made them invalid: they are, letter by letter, a valid one. */
static bool
is_also_valid(const json_t *tests, const char *jws)
{
    json_t *test;
    size_t i;

    json_array_foreach (tests, i, test) {
        if (strcmp(text_of(test, "result"), "valid") == 0 && strcmp(text_of(test, "jws"), jws) == 0)
            return true;
    }
    return false;
}

/* Keys and the JWS under them. A group whose keys are refused or left out refuses every JWS. */
static void
wycheproof_jws(const char *file, const json_t *group)
{
    const json_t *json = json_object_get(group, "public");
    struct lk_key keys[4];
    json_t *test;
    size_t i, count;
    enum lk_err err;

    memset(keys, 0, sizeof(keys));
    if (json == NULL)
        json = json_object_get(group, "private");
    err = keys_from_json(json, keys, 4, &count);
    json_array_foreach (json_object_get(group, "tests"), i, test) {
        const char *jws = text_of(test, "jws");
        bool wanted = strcmp(text_of(test, "result"), "valid") == 0;

        if (jws == NULL) {
            judge(file, test, err);
            continue;
        }
        if ((wanted && err == LK_OK && count == 0) || /* P-521, HS384 and so on */
            (!wanted && is_also_valid(json_object_get(group, "tests"), jws))) {
            tally.skipped++;
            continue;
        }
        judge(file, test, err != LK_OK ? err : jws_verify(placed(lk_span_text(jws)), keys, count));
    }
    while (count > 0)
        lk_key_wipe(&keys[--count]);
}

static void
wycheproof_run(const char *name, json_t *json)
{
    static const struct {
        const char *type;
        void (*run)(const char *file, const json_t *group);
    } kinds[] = {
        {"EcdsaP1363Verify", wycheproof_signatures},
        {"EddsaVerify", wycheproof_signatures},
        {"MacTest", wycheproof_macs},
        {"JsonWebSignature", wycheproof_jws},
        {"JsonWebKey", wycheproof_jws},
    };
    json_t *group;
    size_t i;
    bool known = false;

    json_array_foreach (json_object_get(json, "testGroups"), i, group) {
        for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
            if (strcmp(text_of(group, "type"), kinds[k].type) == 0) {
                kinds[k].run(name, group);
                known = true;
            }
        }
    }
    if (known)
        tally_print(name);
    else
        print_message("%s: not ours (DER signatures and the like)\n", name);
    memset(&tally, 0, sizeof(tally));
}

static void
wycheproof(void **state)
{
    (void)state;
    each_file("wycheproof", wycheproof_run);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cbor_appendix_a),      cmocka_unit_test(cbor_not_well_formed),
        cmocka_unit_test(cose_examples),        cmocka_unit_test(cwt_rfc8392),
        cmocka_unit_test(cwt_validator_cases),  cmocka_unit_test(jwt_validator_cases),
        cmocka_unit_test(jws_rfc7515),          cmocka_unit_test(jose_cookbook),
        cmocka_unit_test(jwk_thumbprints),      cmocka_unit_test(wycheproof),
        cmocka_unit_test(cose_key_thumbprints), cmocka_unit_test(ace_encodings),
    };

    guard = guard_open(65536);
    return cmocka_run_group_tests_name("token_vectors", tests, NULL, NULL);
}
