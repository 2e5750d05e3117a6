/*
 * Let the n-th crypto call fail, for n = 1, 2, 3 ..., and see that nothing is left half done: the
 * error comes out, outputs are zeroed, no key stays open.
 */
#include <stdio.h>
#include <string.h>

#include <latchkey/cnf.h>
#include <latchkey/cose.h>
#include <latchkey/crypto.h>

#include "cmocka_all.h"
#include "crypto_fake.h"
#include "hex.h"
#include "token_keys.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static struct lk_key key;
static char sealed_key_hex[512];
static uint8_t ckt[32], x5t[32];

static struct lk_claims
some_claims(void)
{
    return (struct lk_claims){
        .issuer = LK_SPAN("https://as"),
        .subject = LK_SPAN("dev"),
        .client = LK_SPAN("dev"),
        .token_id = LK_SPAN("0123456789abcdef"),
        .audience = {LK_SPAN("mqtt")},
        .audience_count = 1,
        .has_expires = true,
        .expires_s = 1000,
        .has_issued = true,
        .issued_s = 500,
    };
}

/* Each returns what the call under test returned, after checking what it left. */

static enum lk_err
read_jwks(void)
{
    struct lk_key keys[2];
    size_t count;
    enum lk_err err = test_keys("{\"keys\":[" TEST_EC "," TEST_OKP "]}", keys, 2, &count);

    assert_int_equal(count, err == LK_OK ? 2 : 0);
    while (count > 0)
        lk_key_wipe(&keys[--count]);
    return err;
}

static enum lk_err
thumbprint(void)
{
    static const uint8_t zeros[32];
    uint8_t print[32];
    enum lk_err err = lk_jwk_thumbprint(&key, print);

    if (err != LK_OK)
        assert_memory_equal(print, zeros, sizeof(print));
    return err;
}

static enum lk_err
issue(enum lk_format format)
{
    static uint8_t room[LK_TOKEN_MAX];
    struct lk_claims claims = some_claims();
    struct lk_span out;
    enum lk_err err = lk_token_issue(&claims, format, &key, LK_BUF_OF(room), &out);

    assert_int_equal(out.ptr == NULL, err != LK_OK);
    return err;
}

static enum lk_err
issue_jwt(void)
{
    return issue(LK_FORMAT_JWT);
}

static enum lk_err
issue_cwt(void)
{
    return issue(LK_FORMAT_CWT);
}

/* Signs with the fault already set, so the fault may hit either half. */
static enum lk_err
issue_and_verify(void)
{
    static const struct lk_token zero;
    static uint8_t room[LK_TOKEN_MAX], scratch[LK_TOKEN_SCRATCH_MAX];
    static struct lk_keyset keyset;
    const struct lk_issuer issuer = {.url = LK_SPAN("https://as"), .own = true};
    const struct lk_verifier verifier = {
        .keys = &keyset, .issuers = &issuer, .issuer_count = 1, .audience = LK_SPAN("mqtt")};
    struct lk_claims claims = some_claims();
    struct lk_token token;
    struct lk_span out;
    enum lk_err err = lk_token_issue(&claims, LK_FORMAT_CWT, &key, LK_BUF_OF(room), &out);

    if (err != LK_OK)
        return err;
    keyset.keys[0] = key;
    keyset.count = 1;
    err = lk_token_verify(&verifier, out, 600, LK_BUF_OF(scratch), &token);
    if (err != LK_OK)
        assert_memory_equal(&token, &zero, sizeof(token));
    memset(&keyset, 0, sizeof(keyset));
    return err;
}

/* Encrypted tokens: the key of issuer 1, and what is sealed with it while nothing fails. */

static const uint8_t secret[32] = "0123456789abcdef0123456789abcde";

static struct lk_key
aead_key(void)
{
    struct lk_key aead = {.alg = LK_ALG_AEAD, .has_private = true};

    aead.u.oct.cipher = LK_AEAD_A256GCM;
    aead.u.oct.len = sizeof(secret);
    memcpy(aead.u.oct.k, secret, sizeof(secret));
    return aead;
}

static struct lk_span
seal(struct lk_span plain, struct lk_buf room)
{
    static const uint8_t protected_[] = {0xa1, 0x01, 0x03};
    static const uint8_t aad[] = {0x83, 0x68, 'E',  'n',  'c',  'r',  'y', 'p',
                                  't',  '0',  0x43, 0xa1, 0x01, 0x03, 0x40};
    uint8_t sealed_room[1024];
    struct lk_span sealed, out;
    struct lk_cbor_out w;

    assert_int_equal(lk_crypto_seal(secret, lk_span_of(aad, sizeof(aad)), plain,
                                    LK_BUF_OF(sealed_room), &sealed),
                     LK_OK);
    lk_cbor_write_open(&w, room);
    lk_cbor_write_tag(&w, 16);
    lk_cbor_write_array(&w, 3);
    lk_cbor_write_bytes(&w, lk_span_of(protected_, sizeof(protected_)));
    lk_cbor_write_map(&w, 1);
    lk_cbor_write_int(&w, 5);
    lk_cbor_write_bytes(&w, lk_span_of(sealed.ptr, 12));
    lk_cbor_write_bytes(&w, lk_span_of(sealed.ptr + 12, sealed.len - 12));
    assert_int_equal(lk_cbor_write_close(&w, &out), LK_OK);
    return out;
}

static const struct lk_issuer other_issuer = {.url = {(const uint8_t *)"https://as", 10}};

/* Verify, with both keys opened before anything fails, and see what is left. */
static enum lk_err
verify_sealed(struct lk_span cwt, unsigned fail_at)
{
    static const struct lk_token zero;
    static uint8_t scratch[LK_TOKEN_SCRATCH_MAX];
    static const uint8_t zeros[LK_TOKEN_SCRATCH_MAX];
    static struct lk_keyset keyset;
    const struct lk_verifier verifier = {
        .keys = &keyset, .issuers = &other_issuer, .issuer_count = 1, .audience = LK_SPAN("mqtt")};
    struct lk_token token;
    enum lk_err err;

    memset(scratch, 0, sizeof(scratch));
    keyset.keys[0] = aead_key();
    assert_int_equal(lk_key_open(&keyset.keys[0]), LK_OK);
    keyset.keys[1] = key;
    keyset.count = 2;
    crypto_fake_fail_at(fail_at);
    err = lk_token_verify(&verifier, cwt, 600, LK_BUF_OF(scratch), &token);
    if (err != LK_OK) {
        assert_memory_equal(&token, &zero, sizeof(token));
        assert_memory_equal(scratch, zeros, sizeof(zeros));
    }
    lk_key_wipe(&keyset.keys[0]);
    memset(&keyset, 0, sizeof(keyset));
    return err;
}

static void
an_encrypted_token_may_fail(void **state)
{
    static const enum lk_err wanted[][4] = {
        {LK_OK, LK_ERR_CRYPTO, LK_OK, LK_OK},         /* claims: decrypt */
        {LK_OK, LK_ERR_CRYPTO, LK_ERR_CRYPTO, LK_OK}, /* a COSE_Sign1: decrypt, verify */
    };
    uint8_t claims_room[512], signed_room[1024], room[2048];
    struct lk_claims claims = some_claims();
    struct lk_span plain, inner, cwt;

    (void)state;
    crypto_fake_fail_at(0);
    assert_int_equal(lk_claims_write_cwt(&claims, LK_BUF_OF(claims_room), &plain), LK_OK);
    assert_int_equal(lk_cose_write_cwt(&key, plain, LK_BUF_OF(signed_room), &inner), LK_OK);
    for (unsigned nested = 0; nested < 2; nested++) {
        crypto_fake_fail_at(0);
        cwt = seal(nested ? inner : plain, LK_BUF_OF(room));
        for (unsigned n = 0; n < 4; n++) {
            crypto_fake_fail_at(0);
            assert_err(nested ? "nested" : "claims", verify_sealed(cwt, n), wanted[nested][n]);
        }
    }
}

/* Claims bound to a key, and the rooms the key is made in. */
static enum lk_err
confirmation_key(const char *cnf_hex, enum lk_cnf_kind kind)
{
    static const struct lk_key zero;
    static struct lk_keyset keyset;
    static uint8_t room[LK_TOKEN_MAX], cnf_room[512];
    const struct lk_verifier verifier = {
        .keys = &keyset, .issuers = &other_issuer, .issuer_count = 1};
    const struct lk_cnf_use use = {.symmetric = LK_ALG_HS256,
                                   .rs_key = lk_span_of(secret, sizeof(secret)),
                                   .token = LK_SPAN("token")};
    struct lk_token token = {.format = LK_FORMAT_CWT};
    struct lk_key made;
    enum lk_err err;

    keyset.keys[0] = aead_key();
    keyset.keys[0].prepared = room; /* as if it were open, without a call */
    keyset.count = 1;
    token.claims = (struct lk_claims){.format = LK_FORMAT_CWT,
                                      .issuer = other_issuer.url,
                                      .cnf = kind,
                                      .cnf_value = hex_bytes(cnf_hex, LK_BUF_OF(cnf_room))};
    err = lk_cnf_key(&verifier, &token, &use, LK_BUF_OF(room), &made);
    if (err != LK_OK)
        assert_memory_equal(&made, &zero, sizeof(made));
    lk_key_wipe(&made);
    memset(&keyset, 0, sizeof(keyset));
    return err;
}

static enum lk_err
public_confirmation(void)
{
    return confirmation_key(
        "a3 0101 2006 215820d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        LK_CNF_KEY);
}

static enum lk_err
derived_confirmation(void)
{
    return confirmation_key("0102030405060708", LK_CNF_KID);
}

static enum lk_err
encrypted_confirmation(void)
{
    /* {1: 4, 3: 5, -1: 32 bytes}, sealed by seal() when nothing fails */
    return confirmation_key(sealed_key_hex, LK_CNF_ENCRYPTED);
}

static enum lk_err
match_key(void)
{
    struct lk_token token = {.format = LK_FORMAT_CWT};
    uint8_t room[8];

    token.claims = (struct lk_claims){.format = LK_FORMAT_CWT,
                                      .cnf = LK_CNF_THUMBPRINT,
                                      .cnf_value = lk_span_of(ckt, sizeof(ckt))};
    return lk_cnf_match_key(&token, &key, LK_BUF_OF(room));
}

static enum lk_err
match_certificate(void)
{
    struct lk_token token = {.format = LK_FORMAT_JWT};

    token.claims = (struct lk_claims){
        .format = LK_FORMAT_JWT, .cnf = LK_CNF_X5T, .cnf_value = lk_span_of(x5t, sizeof(x5t))};
    return lk_cnf_match_certificate(&token, LK_SPAN("\x30\x00"));
}

static enum lk_err
new_kid(void)
{
    static const uint8_t zeros[LK_CNF_KID_LEN];
    uint8_t kid[LK_CNF_KID_LEN];
    enum lk_err err = lk_cnf_kid_new(kid);

    if (err != LK_OK)
        assert_memory_equal(kid, zeros, sizeof(kid));
    return err;
}

static enum lk_err
read_cose_keyset(void)
{
    uint8_t in[256];
    struct lk_key keys[2];
    size_t count;
    enum lk_err err = lk_cose_keyset_read(
        hex_bytes("82 a4 0101 024161 2006 "
                  "215820d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
                  "a4 0101 024162 2006 "
                  "215820d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                  LK_BUF_OF(in)),
        keys, 2, &count);

    assert_int_equal(count, err == LK_OK ? 2 : 0);
    while (count > 0)
        lk_key_wipe(&keys[--count]);
    return err;
}

static enum lk_err
generate(void)
{
    static const struct lk_key zero;
    struct lk_key made;
    enum lk_err err = lk_crypto_generate(LK_ALG_ES256, &made);

    if (err != LK_OK)
        assert_memory_equal(&made, &zero, sizeof(made));
    lk_key_wipe(&made);
    return err;
}

static void
every_call_may_fail(void **state)
{
    static const struct {
        const char *name;
        enum lk_err (*run)(void);
        unsigned calls;
    } rows[] = {
        {"read a JWKS", read_jwks, 2},
        {"thumbprint", thumbprint, 1},
        {"issue a JWT", issue_jwt, 1},
        {"issue a CWT", issue_cwt, 1},
        {"verify", issue_and_verify, 2},
        {"generate", generate, 2},
        {"cnf: a public key", public_confirmation, 1},
        {"cnf: a derived key", derived_confirmation, 2},
        {"cnf: an encrypted key", encrypted_confirmation, 2},
        {"cnf: a thumbprint", match_key, 1},
        {"cnf: a certificate", match_certificate, 1},
        {"a kid", new_kid, 1},
        {"read a COSE_KeySet", read_cose_keyset, 2},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int before = crypto_fake_open_keys();
        unsigned n = 0;
        enum lk_err err;

        do {
            crypto_fake_fail_at(++n);
            err = rows[i].run();
            assert_int_equal(crypto_fake_open_keys(), before);
            if (crypto_fake_calls() >= n)
                assert_err(rows[i].name, err, LK_ERR_CRYPTO);
        } while (err != LK_OK && n < 100);
        assert_err(rows[i].name, err, LK_OK);
        if (n != rows[i].calls + 1)
            fail_msg("%s makes %u calls, not %u", rows[i].name, n - 1, rows[i].calls);
    }
}

/* What the fake makes of keys and certificates, while nothing fails. */
static void
specimens_make(void)
{
    uint8_t plain[128], room[512];
    char *at = sealed_key_hex;
    struct lk_span sealed = seal(hex_bytes("a3 0104 0305 205820"
                                           "000102030405060708090a0b0c0d0e0f"
                                           "101112131415161718191a1b1c1d1e1f",
                                           LK_BUF_OF(plain)),
                                 LK_BUF_OF(room));

    for (size_t i = 0; i < sealed.len; i++)
        at += sprintf(at, "%02x", sealed.ptr[i]);
    if (lk_cose_key_thumbprint(&key, ckt) != LK_OK ||
        lk_certificate_thumbprint(LK_SPAN("\x30\x00"), x5t) != LK_OK)
        abort();
}

static int
set_up(void **state)
{
    (void)state;
    key = test_key(TEST_EC);
    specimens_make();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_may_fail),
        cmocka_unit_test(an_encrypted_token_may_fail),
    };

    return cmocka_run_group_tests_name("token_fail", tests, set_up, NULL);
}
