/*
 * Let the n-th crypto call fail, for n = 1, 2, 3 ..., and see that nothing is left half done: the
 * error comes out, outputs are zeroed, no key stays open.
 */
#include <stdio.h>
#include <string.h>

#include <latchkey/crypto.h>
#include <latchkey/token.h>

#include "cmocka_all.h"
#include "crypto_fake.h"
#include "token_keys.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static struct lk_key key;

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
        {"read a JWKS", read_jwks, 2},   {"thumbprint", thumbprint, 1},
        {"issue a JWT", issue_jwt, 1},   {"issue a CWT", issue_cwt, 1},
        {"verify", issue_and_verify, 2}, {"generate", generate, 2},
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_may_fail),
    };

    key = test_key(TEST_EC);
    return cmocka_run_group_tests_name("token_fail", tests, NULL, NULL);
}
