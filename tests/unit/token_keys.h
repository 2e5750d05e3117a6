/*
 * token_keys.h - published keys for tests: RFC 7515 A.3 and A.1, RFC 8037 A.1.
 */
#ifndef LK_TESTS_TOKEN_KEYS_H
#define LK_TESTS_TOKEN_KEYS_H

#include <string.h>

#include <latchkey/jwk.h>

#define TEST_EC_X  "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define TEST_EC_Y  "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define TEST_EC_D  "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
#define TEST_OKP_X "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define TEST_OKP_D "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
#define TEST_OCT_K                                                                                 \
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"

#define TEST_EC                                                                                    \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"ec\",\"x\":\"" TEST_EC_X "\",\"y\":\"" TEST_EC_Y  \
    "\",\"d\":\"" TEST_EC_D "\"}"
#define TEST_OKP                                                                                   \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"okp\",\"x\":\"" TEST_OKP_X                     \
    "\",\"d\":\"" TEST_OKP_D "\"}"
#define TEST_OCT "{\"kty\":\"oct\",\"alg\":\"HS256\",\"kid\":\"oct\",\"k\":\"" TEST_OCT_K "\"}"

/* Read keys from a JWK or JWKS text. */
static inline enum lk_err
test_keys(const char *json, struct lk_key *keys, size_t max, size_t *count)
{
    static uint8_t text[16384];
    size_t len = strlen(json);

    if (len > sizeof(text))
        return LK_ERR_LIMIT;
    memcpy(text, json, len);
    return lk_jwks_read(text, len, keys, max, count);
}

static inline struct lk_key
test_key(const char *json)
{
    struct lk_key key;
    size_t count;

    memset(&key, 0, sizeof(key));
    if (test_keys(json, &key, 1, &count) != LK_OK)
        key.alg = LK_ALG_NONE;
    return key;
}

#endif
