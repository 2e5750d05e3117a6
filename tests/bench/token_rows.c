#include "token_bench.h"

#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <latchkey/base64url.h>
#include <latchkey/cbor.h>
#include <latchkey/crypto.h>
#include <latchkey/token.h>

#include "bench.h"

#define NOW_S 1760000000

/* The names every figure of this file depends on. */
#define ISSUER  "https://as.example.com"
#define SUBJECT "sensor-1"
#define SCOPES  "telemetry:send config:read"
#define ES_KID  "k7Qm2xT9aZc" /* as latchkeyd makes them: 11 characters */
#define MAC_KID "m1" /* of a key both sides are given by file: whoever writes it, names it */
#define FOREIGN "https://login.example.net"

static const uint8_t token_id[16] = {0x9e, 0x1d, 0x4c, 0x70, 0x2b, 0x85, 0xf3, 0x16,
                                     0x58, 0xa9, 0x03, 0xd7, 0xee, 0x61, 0xb4, 0x2f};

enum { KEY_ES256, KEY_EDDSA, KEY_HS256, KEY_HS256_64, OWN_KEYS };

static const struct {
    enum lk_alg alg;
    const char *kid;
} own_keys[OWN_KEYS] = {
    [KEY_ES256] = {LK_ALG_ES256, ES_KID},
    [KEY_EDDSA] = {LK_ALG_EDDSA, "e7Qm2xT9aZc"},
    [KEY_HS256] = {LK_ALG_HS256, "m0"},
    [KEY_HS256_64] = {LK_ALG_HS256_64, MAC_KID},
};

/* LK_SPAN is no constant expression. */
#define CONST_SPAN(literal)                                                                        \
    {                                                                                              \
        (const uint8_t *)("" literal), sizeof(literal) - 1                                         \
    }

static const struct lk_issuer issuers[] = {
    {.url = CONST_SPAN(ISSUER), .own = true, .typ = CONST_SPAN("at+jwt")},
    {.url = CONST_SPAN(FOREIGN)},
};

static struct lk_keyset keyset, keyset_with_table;

static const struct lk_verifier verifier = {.keys = &keyset,
                                            .issuers = issuers,
                                            .issuer_count = 2,
                                            .audience = CONST_SPAN("mqtt"),
                                            .leeway_s = 30};
static const struct lk_verifier verifier_with_table = {.keys = &keyset_with_table,
                                                       .issuers = issuers,
                                                       .issuer_count = 1,
                                                       .audience = CONST_SPAN("mqtt"),
                                                       .leeway_s = 30};

struct sample {
    const struct lk_verifier *verifier;
    uint8_t room[1024];
    struct lk_span text;
};

static uint8_t scratch[LK_TOKEN_SCRATCH_MAX];

/* What latchkeyd puts into the token of a sensor. */
static struct lk_claims
sensor_claims(void)
{
    struct lk_claims c = {.issuer = LK_SPAN(ISSUER),
                          .subject = LK_SPAN(SUBJECT),
                          .client = LK_SPAN(SUBJECT),
                          .scope = LK_SPAN(SCOPES),
                          .token_id = {token_id, sizeof(token_id)},
                          .type = LK_SPAN("sensor"),
                          .audience = {LK_SPAN("mqtt")},
                          .audience_count = 1,
                          .has_expires = true,
                          .has_issued = true,
                          .has_generation = true,
                          .expires_s = NOW_S + 3600,
                          .issued_s = NOW_S,
                          .generation = 1};

    return c;
}

/* Seven claims, and an issuer whose name makes the token 170 bytes long. */
static struct lk_claims
short_claims(void)
{
    struct lk_claims c = sensor_claims();

    c.issuer = LK_SPAN("https://as.example");
    c.subject = LK_SPAN("pump7");
    c.scope = LK_SPAN("telemetry:send");
    c.type = (struct lk_span){NULL, 0};
    c.has_generation = false;
    return c;
}

static void
issue(struct sample *sample, const struct lk_claims *claims, enum lk_format format,
      const struct lk_key *key)
{
    sample->verifier = &verifier;
    bench_need(lk_token_issue(claims, format, key, LK_BUF_OF(sample->room), &sample->text) == LK_OK,
               "a token is not issued");
}

/* The operations. */

static bool
parse(void *context, size_t turn)
{
    const struct sample *sample = context;
    struct lk_token token;

    (void)turn;
    return lk_token_parse(sample->text, LK_BUF_OF(scratch), &token) == LK_OK &&
           token.claims.has_expires;
}

static bool
verify(void *context, size_t turn)
{
    const struct sample *sample = context;
    struct lk_token token;

    (void)turn;
    return lk_token_verify(sample->verifier, sample->text, NOW_S, LK_BUF_OF(scratch), &token) ==
           LK_OK;
}

/* The base line: the least that OpenSSL can be asked to do for the same answer. */
struct bare {
    EVP_MD *md;
    EVP_MD_CTX *hash;
    EVP_PKEY_CTX *key;
    uint8_t message[1024];
    size_t message_len;
    uint8_t *der; /* the signature as OpenSSL wants it */
    int der_len;
};

static bool
bare_verify(void *context, size_t turn)
{
    struct bare *b = context;
    uint8_t hash[LK_SHA256_LEN];

    (void)turn;
    return EVP_DigestInit_ex2(b->hash, b->md, NULL) == 1 &&
           EVP_DigestUpdate(b->hash, b->message, b->message_len) == 1 &&
           EVP_DigestFinal_ex(b->hash, hash, NULL) == 1 &&
           EVP_PKEY_verify(b->key, b->der, (size_t)b->der_len, hash, sizeof(hash)) == 1;
}

static EVP_PKEY *
bare_key(const struct lk_key *key)
{
    uint8_t point[65] = {0x04};
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM params[] = {OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char[]){"P-256"}, 5),
                           OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)),
                           OSSL_PARAM_END};

    memcpy(point + 1, key->u.ec.x, 32);
    memcpy(point + 33, key->u.ec.y, 32);
    bench_need(ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
                   EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) == 1,
               "OpenSSL does not take the key");
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static void
bare_signature(struct bare *b, struct lk_span raw)
{
    ECDSA_SIG *signature = ECDSA_SIG_new();

    bench_need(signature != NULL && raw.len == 64 &&
                   ECDSA_SIG_set0(signature, BN_bin2bn(raw.ptr, 32, NULL),
                                  BN_bin2bn(raw.ptr + 32, 32, NULL)) == 1,
               "OpenSSL does not take the signature");
    b->der_len = i2d_ECDSA_SIG(signature, &b->der);
    ECDSA_SIG_free(signature);
}

static void
bare_prepare(struct bare *b, struct lk_span text, const struct lk_key *key)
{
    EVP_PKEY *pkey = bare_key(key);
    struct lk_token token;

    bench_need(lk_token_parse(text, LK_BUF_OF(scratch), &token) == LK_OK, "a token is not read");
    for (size_t i = 0; i < token.part_count; i++) {
        memcpy(b->message + b->message_len, token.parts[i].ptr, token.parts[i].len);
        b->message_len += token.parts[i].len;
    }
    bare_signature(b, token.signature);
    b->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    b->hash = EVP_MD_CTX_new();
    b->key = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    bench_need(b->key != NULL && EVP_PKEY_verify_init(b->key) == 1 &&
                   EVP_PKEY_CTX_set_signature_md(b->key, b->md) == 1,
               "OpenSSL does not verify");
    EVP_PKEY_free(pkey);
}

/* A foreign issuer's RS256, which the library only verifies: OpenSSL signs. */

static size_t
rsa_number(const EVP_PKEY *pkey, const char *name, uint8_t *out, int max)
{
    BIGNUM *number = NULL;
    int len;

    bench_need(EVP_PKEY_get_bn_param(pkey, name, &number) == 1 && BN_num_bytes(number) <= max,
               "no RSA key");
    len = BN_bn2bin(number, out);
    BN_free(number);
    return (size_t)len;
}

static void
foreign_key(const EVP_PKEY *pkey, struct lk_key *key)
{
    memset(key, 0, sizeof(*key));
    key->alg = LK_ALG_RS256;
    key->kid_len = 5;
    memcpy(key->kid, "rsa-1", key->kid_len);
    key->u.rsa.n_len = rsa_number(pkey, OSSL_PKEY_PARAM_RSA_N, key->u.rsa.n, LK_RSA_MODULUS_MAX);
    key->u.rsa.e_len = rsa_number(pkey, OSSL_PKEY_PARAM_RSA_E, key->u.rsa.e, 8);
    bench_need(lk_key_open(key) == LK_OK, "the RSA key is not taken");
}

/* Append base64url of some bytes to a text. */
static size_t
append(struct sample *sample, size_t at, struct lk_span bytes)
{
    struct lk_span out;

    bench_need(lk_base64url_encode(bytes,
                                   (struct lk_buf){sample->room + at, sizeof(sample->room) - at},
                                   &out) == LK_OK,
               "no room for the RS256 token");
    return at + out.len;
}

static void
issue_foreign(struct sample *sample, EVP_PKEY *pkey)
{
    struct lk_claims claims = sensor_claims();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t payload_room[512], signature[256];
    size_t len, signature_len = sizeof(signature);
    struct lk_span payload;

    claims.issuer = LK_SPAN(FOREIGN);
    bench_need(lk_claims_write_jwt(&claims, LK_BUF_OF(payload_room), &payload) == LK_OK,
               "claims are not written");
    len = append(sample, 0, LK_SPAN("{\"alg\":\"RS256\",\"kid\":\"rsa-1\",\"typ\":\"JWT\"}"));
    sample->room[len] = '.';
    len = append(sample, len + 1, payload);
    bench_need(ctx != NULL &&
                   EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, pkey, NULL) == 1 &&
                   EVP_DigestSign(ctx, signature, &signature_len, sample->room, len) == 1,
               "RS256 is not signed");
    sample->room[len] = '.';
    len = append(sample, len + 1, lk_span_of(signature, signature_len));
    sample->text = lk_span_of(sample->room, len);
    sample->verifier = &verifier;
    EVP_MD_CTX_free(ctx);
}

/* Sizes. */

static size_t
text_item(size_t len)
{
    return len + (len < 24 ? 1 : 2);
}

/* Where the bytes of a Mac0 go; the parts add up to the token or the program ends. */
static void
mac0_fact(const char *name, const struct sample *sample, const struct lk_claims *c)
{
    struct {
        const char *what;
        size_t len;
    } part[] = {
        {"tags 61 and 17, array", 4},
        {"alg", 2},
        {"kid and its map", 2 + 1 + text_item(sizeof(MAC_KID) - 1)},
        {"unprotected", 1},
        {"head of the claims", 3},
        {"iss", 1 + text_item(c->issuer.len)},
        {"sub", 1 + text_item(c->subject.len)},
        {"aud", 1 + text_item(c->audience[0].len)},
        {"exp", 6},
        {"iat", 6},
        {"cti", 1 + 1 + sizeof(token_id)},
        {"scope", 1 + text_item(c->scope.len)},
        {"dty", 4 + text_item(c->type.len)},
        {"gen", 4 + 1},
        {"tag of 64 bits", 1 + 8},
    };
    size_t total = 0;
    char text[512] = "";

    for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
        size_t at = strlen(text);

        total += part[i].len;
        (void)snprintf(text + at, sizeof(text) - at, "%s%s %zu", i > 0 ? ", " : "", part[i].what,
                       part[i].len);
    }
    bench_need(total == sample->text.len, "the parts of the Mac0 do not add up");
    bench_fact(name, "%s", text);
}

static void
size_facts(const struct sample *cwt, const struct sample *jwt, const struct lk_key *mac)
{
    static struct sample mac0, mac0_all;
    struct lk_claims claims = sensor_claims();

    issue(&mac0_all, &claims, LK_FORMAT_CWT, mac);
    claims.scope = LK_SPAN("telemetry:send");
    issue(&mac0, &claims, LK_FORMAT_CWT, mac);
    bench_fact("claims",
               "iss %s, sub and client_id %s, aud mqtt, exp, iat, jti of 16 bytes,"
               " scope \"%s\", dty sensor, gen 1; kid %s, of the MAC %s",
               ISSUER, SUBJECT, SCOPES, ES_KID, MAC_KID);
    bench_fact("cwt-bytes", "%zu", cwt->text.len);
    bench_fact("jwt-bytes", "%zu", jwt->text.len);
    bench_fact("mac0-bytes", "%zu", mac0.text.len);
    bench_fact("mac0-both-scopes-bytes", "%zu", mac0_all.text.len);
    mac0_fact("mac0-parts", &mac0, &claims);
}

static void
make_own_keys(struct lk_key keys[OWN_KEYS])
{
    for (size_t i = 0; i < OWN_KEYS; i++) {
        bench_need(lk_crypto_generate(own_keys[i].alg, &keys[i]) == LK_OK, "no key");
        keys[i].kid_len = strlen(own_keys[i].kid);
        memcpy(keys[i].kid, own_keys[i].kid, keys[i].kid_len);
    }
}

static void
make_foreign(struct sample *sample)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    struct lk_key key;

    bench_need(pkey != NULL, "no RSA key");
    foreign_key(pkey, &key);
    issue_foreign(sample, pkey);
    bench_need(lk_keyset_put(&keyset, 1, &key, 1) == LK_OK, "the keyset is full");
    EVP_PKEY_free(pkey);
}

/* The same key once more, with its table. */
static void
rows_with_table(const struct lk_key *es256, const struct sample *cwt, const struct sample *jwt)
{
    static struct sample fast_cwt, fast_jwt;
    struct lk_key key = *es256;
    enum lk_err err;

    key.prepared = NULL;
    bench_need(lk_key_open(&key) == LK_OK, "the key is not taken");
    err = lk_key_accelerate(&key);
    if (err == LK_ERR_UNSUPPORTED)
        return;
    bench_need(err == LK_OK, "no table");
    bench_need(lk_keyset_put(&keyset_with_table, 0, &key, 1) == LK_OK, "the keyset is full");
    fast_cwt = *cwt;
    fast_jwt = *jwt;
    fast_cwt.verifier = fast_jwt.verifier = &verifier_with_table;
    bench_row("verify-es256-cwt-table", verify, &fast_cwt);
    bench_row("verify-es256-jwt-table", verify, &fast_jwt);
}

void
token_rows(void)
{
    static struct sample small, cwt, jwt, eddsa, hs256, hs256_jwt, hs256_64, rs256;
    static struct bare bare_cwt, bare_jwt;
    struct lk_claims claims = sensor_claims(), few = short_claims();
    struct lk_key keys[OWN_KEYS];

    make_own_keys(keys);
    issue(&small, &few, LK_FORMAT_CWT, &keys[KEY_ES256]);
    issue(&cwt, &claims, LK_FORMAT_CWT, &keys[KEY_ES256]);
    issue(&jwt, &claims, LK_FORMAT_JWT, &keys[KEY_ES256]);
    issue(&eddsa, &claims, LK_FORMAT_CWT, &keys[KEY_EDDSA]);
    issue(&hs256, &claims, LK_FORMAT_CWT, &keys[KEY_HS256]);
    issue(&hs256_jwt, &claims, LK_FORMAT_JWT, &keys[KEY_HS256]);
    issue(&hs256_64, &claims, LK_FORMAT_CWT, &keys[KEY_HS256_64]);
    make_foreign(&rs256);
    bare_prepare(&bare_cwt, cwt.text, &keys[KEY_ES256]);
    bare_prepare(&bare_jwt, jwt.text, &keys[KEY_ES256]);
    bench_fact("parse-cwt-bytes", "%zu", small.text.len);
    size_facts(&cwt, &jwt, &keys[KEY_HS256_64]);

    bench_row("parse-cwt", parse, &small);
    bench_row("parse-cwt-sensor", parse, &cwt);
    bench_row("parse-jwt", parse, &jwt);
    bench_row("bare-es256-cwt", bare_verify, &bare_cwt);
    bench_row("verify-es256-cwt", verify, &cwt);
    bench_row("bare-es256-jwt", bare_verify, &bare_jwt);
    bench_row("verify-es256-jwt", verify, &jwt);
    rows_with_table(&keys[KEY_ES256], &cwt, &jwt);
    bench_row("verify-eddsa-cwt", verify, &eddsa);
    bench_row("verify-rs256-jwt", verify, &rs256);
    bench_row("verify-hs256-cwt", verify, &hs256);
    bench_row("verify-hs256-jwt", verify, &hs256_jwt);
    bench_row("verify-hs256-64-cwt", verify, &hs256_64);
    bench_need(lk_keyset_put(&keyset, 0, keys, OWN_KEYS) == LK_OK, "the keyset is full");
}
