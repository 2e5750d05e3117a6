/*
 * The n-th allocation inside OpenSSL fails, for n = 1, 2, 3 ... until the operation passes
 * untouched. Each time there is an error or the right answer, nothing is half done and nothing
 * leaks (which AddressSanitizer tells).
 *
 * Built once more with LK_CALLS_FAIL, it is the n-th call to OpenSSL that fails (crypto_calls.h).
 * OpenSSL may get over an allocation; a call that failed must make the operation fail, or be made
 * good by another way that the operation names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include <latchkey/crypto.h>

#include "aead_make.h"
#include "cmocka_all.h"
#include "crypto_calls.h"
#include "hex.h"
#include "token_keys.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static unsigned long calls, fail_at; /* fail_at 0: none */
static bool was_failed;

static bool
fails(void)
{
    if (++calls != fail_at)
        return false;
    was_failed = true;
    return true;
}

#ifdef LK_CALLS_FAIL
enum { CALLS_FAIL = true };
#else
enum { CALLS_FAIL = false };
bool (*crypto_call_fails)(void);
bool crypto_verify_breaks;
#endif

static void *
memory_get(size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    return !CALLS_FAIL && fails() ? NULL : malloc(len);
}

static void *
memory_resize(void *old, size_t len, const char *file, int line)
{
    (void)file;
    (void)line;
    if (len == 0) {
        free(old);
        return NULL;
    }
    return !CALLS_FAIL && fails() ? NULL : realloc(old, len);
}

static void
memory_put(void *old, const char *file, int line)
{
    (void)file;
    (void)line;
    free(old);
}

static void
arm(unsigned long n)
{
    calls = 0;
    was_failed = false;
    fail_at = n;
}

/* What the operations work on. */

static const struct lk_span parts[] = {{(const uint8_t *)"header", 6}, {(const uint8_t *)".", 1}};

static const char *const key_texts[] = {TEST_EC, TEST_OKP, TEST_OCT};

static struct lk_key key; /* the one the operation uses; not open where it opens it */
static uint8_t room[512];
static struct lk_span signature;
static uint8_t seal_key[32] = {7};

static void
key_close(void)
{
    struct lk_key closed = key;

    lk_key_wipe(&key);
    closed.prepared = NULL;
    key = closed;
}

static void
key_reopen(void)
{
    key_close();
    assert_int_equal(lk_key_open(&key), LK_OK);
}

static void
nothing(void)
{
}

/* Operations. A check runs with all memory there; `err` is what the operation said. */

static enum lk_err
open_run(void)
{
    return lk_key_open(&key);
}

static void
open_check(enum lk_err err)
{
    assert_int_equal(err == LK_OK, key.prepared != NULL);
    assert_int_equal(lk_key_open(&key), LK_OK);
}

static enum lk_err
verify_run(void)
{
    return lk_crypto_verify(&key, parts, COUNT(parts), signature);
}

static void
verify_check(enum lk_err err)
{
    (void)err;
    assert_int_equal(verify_run(), LK_OK);
    assert_int_equal(lk_crypto_verify(&key, parts, 1, signature), LK_ERR_SIGNATURE);
}

/* A signature that is not good must not become so. */
static enum lk_err
refuse_run(void)
{
    enum lk_err err = lk_crypto_verify(&key, parts, 1, signature);

    assert_int_not_equal(err, LK_OK);
    return err == LK_ERR_SIGNATURE ? LK_OK : err;
}

/* When OpenSSL fails to verify it is no "no", whatever else fails on the way. */
static enum lk_err
broken_run(void)
{
    enum lk_err err;

    crypto_verify_breaks = true;
    err = verify_run();
    crypto_verify_breaks = false;
    assert_int_equal(err, LK_ERR_CRYPTO);
    return was_failed ? err : LK_OK;
}

static enum lk_err
sign_run(void)
{
    memset(room, 0xee, sizeof(room));
    return lk_crypto_sign(&key, parts, COUNT(parts), LK_BUF_OF(room), &signature);
}

static void
sign_prepare(void)
{
    assert_int_equal(sign_run(), LK_OK);
}

static void
sign_check(enum lk_err err)
{
    assert_int_equal(err == LK_OK, signature.ptr != NULL);
    if (err != LK_OK)
        assert_int_equal(sign_run(), LK_OK);
    assert_int_equal(verify_run(), LK_OK);
}

static enum lk_err
accelerate_run(void)
{
    enum lk_err err = lk_key_accelerate(&key);

    /* A libcrypto that makes no table is one more way to have none. */
    return err == LK_ERR_UNSUPPORTED ? LK_ERR_CRYPTO : err;
}

static enum lk_err
generate_run(void)
{
    enum lk_alg alg = key.alg;
    struct lk_key fresh;
    enum lk_err err = lk_crypto_generate(alg, &fresh);

    assert_int_equal(err == LK_OK, fresh.prepared != NULL);
    assert_int_equal(err == LK_OK, fresh.alg != LK_ALG_NONE);
    if (err == LK_OK) {
        fail_at = 0;
        assert_int_equal(lk_crypto_sign(&fresh, parts, 1, LK_BUF_OF(room), &signature), LK_OK);
        assert_int_equal(lk_crypto_verify(&fresh, parts, 1, signature), LK_OK);
    }
    lk_key_wipe(&fresh);
    return err;
}

static void
no_check(enum lk_err err)
{
    (void)err;
}

/* What a failed call gave must be zero, what it gave else must be this. */
static void
is_zero_or(enum lk_err err, const char *hex, size_t len)
{
    static const uint8_t zeros[64];
    uint8_t wanted[64];

    hex_bytes(hex, LK_BUF_OF(wanted));
    assert_memory_equal(room, err == LK_OK ? wanted : zeros, len);
}

static enum lk_err
hash_run(void)
{
    memset(room, 0xee, sizeof(room));
    return lk_crypto_sha256(LK_SPAN("abc"), room);
}

static void
hash_check(enum lk_err err)
{
    is_zero_or(err, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 32);
}

static enum lk_err
hmac_run(void)
{
    struct lk_span part = LK_SPAN("what do ya want for nothing?");

    memset(room, 0xee, sizeof(room));
    return lk_crypto_hmac_sha256(LK_SPAN("Jefe"), &part, 1, room);
}

/* RFC 4231 section 4.3. */
static void
hmac_check(enum lk_err err)
{
    is_zero_or(err, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", 32);
}

static enum lk_err
hkdf_run(void)
{
    uint8_t secret[22], salt[13], info[10];

    memset(secret, 0x0b, sizeof(secret));
    for (uint8_t i = 0; i < sizeof(salt); i++)
        salt[i] = i;
    for (uint8_t i = 0; i < sizeof(info); i++)
        info[i] = (uint8_t)(0xf0 + i);
    memset(room, 0xee, sizeof(room));
    return lk_crypto_hkdf_sha256(lk_span_of(secret, sizeof(secret)), lk_span_of(salt, sizeof(salt)),
                                 lk_span_of(info, sizeof(info)), (struct lk_buf){room, 42});
}

/* RFC 5869 A.1. */
static void
hkdf_check(enum lk_err err)
{
    is_zero_or(err,
               "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
               "34007208d5b887185865",
               42);
}

static enum lk_err
random_run(void)
{
    return lk_crypto_random((struct lk_buf){room, 32});
}

static enum lk_err
seal_run(void)
{
    memset(room, 0xee, sizeof(room));
    return lk_crypto_seal(seal_key, LK_SPAN("bound"), LK_SPAN("plain"), LK_BUF_OF(room),
                          &signature);
}

static void
seal_check(enum lk_err err)
{
    static const uint8_t zeros[5 + LK_SEAL_OVERHEAD];
    uint8_t opened[5];
    struct lk_span out;

    assert_int_equal(err == LK_OK, signature.ptr != NULL);
    if (err != LK_OK) {
        assert_memory_equal(room, zeros, sizeof(zeros));
        return;
    }
    assert_int_equal(
        lk_crypto_unseal(seal_key, LK_SPAN("bound"), signature, LK_BUF_OF(opened), &out), LK_OK);
    assert_true(lk_span_equal(out, LK_SPAN("plain")));
}

static void
seal_prepare(void)
{
    assert_int_equal(seal_run(), LK_OK);
}

static enum lk_err
unseal_run(void)
{
    uint8_t opened[5] = {0};
    struct lk_span out;
    enum lk_err err =
        lk_crypto_unseal(seal_key, LK_SPAN("bound"), signature, LK_BUF_OF(opened), &out);

    if (err == LK_OK)
        assert_true(lk_span_equal(out, LK_SPAN("plain")));
    else
        assert_true(out.ptr == NULL && opened[0] == 0);
    return err;
}

static struct lk_span nonce;

/* The ciphertext stands in `room`, the plaintext before the tag. */
static void
encrypt_with(enum lk_aead cipher)
{
    static const uint8_t bytes[13] = {1, 2, 3};
    struct lk_aead_sizes sizes = lk_aead_sizes_of(cipher);

    lk_key_wipe(&key);
    key = (struct lk_key){.alg = LK_ALG_AEAD, .u.oct = {.len = sizes.key, .cipher = cipher}};
    assert_int_equal(lk_key_open(&key), LK_OK);
    nonce = lk_span_of(bytes, sizes.nonce);
    signature = aead_make(&key, nonce, LK_SPAN("header."), LK_SPAN("plain"), LK_BUF_OF(room));
}

static void
gcm_prepare(void)
{
    encrypt_with(LK_AEAD_A256GCM);
}

static void
ccm_prepare(void)
{
    encrypt_with(LK_AEAD_CCM_16_64_128);
}

static enum lk_err
decrypt_run(void)
{
    uint8_t opened[5] = {0};
    struct lk_span out;
    enum lk_err err =
        lk_crypto_decrypt(&key, nonce, parts, COUNT(parts), signature, LK_BUF_OF(opened), &out);

    if (err == LK_OK)
        assert_true(lk_span_equal(out, LK_SPAN("plain")));
    else
        assert_true(out.ptr == NULL && opened[0] == 0);
    return err;
}

struct operation {
    const char *name;
    void (*prepare)(void); /* before every run */
    enum lk_err (*run)(void);
    void (*check)(enum lk_err err);
    bool has_another_way; /* to the right answer, or no other answer than "no" */
};

/* Every n up to 100, or 300 calls; then, where an operation allocates thousands of times, one in
 * eight or fewer.
 */
static void
each_failure(const struct operation *operation)
{
    unsigned long n = 1;
    enum lk_err err;
    bool was_reached;

    do {
        operation->prepare();
        arm(n);
        err = operation->run();
        was_reached = was_failed;
        arm(0);
        assert_int_equal(ERR_peek_error(), 0);
        if (CALLS_FAIL && was_reached && !operation->has_another_way && err == LK_OK)
            fail_msg("%s: call %lu failed, and nobody noticed", operation->name, n);
        if (err != LK_OK && err != LK_ERR_CRYPTO && err != LK_ERR_KEY && err != LK_ERR_SIGNATURE)
            fail_msg("%s: call %lu failed, and it is %s", operation->name, n, lk_err_name(err));
        operation->check(err);
        n += n > (CALLS_FAIL ? 300 : 100) ? n / 16 + 1 : 1;
    } while (was_reached);
    assert_err(operation->name, err, LK_OK);
}

static void
each_failure_of(const struct operation *operations, size_t count)
{
    for (size_t i = 0; i < count; i++)
        each_failure(&operations[i]);
}

static const struct operation keyless[] = {
    {"sha256", nothing, hash_run, hash_check, false},
    {"hmac", nothing, hmac_run, hmac_check, false},
    {"hkdf", nothing, hkdf_run, hkdf_check, false},
    {"seal", nothing, seal_run, seal_check, false},
    {"unseal", seal_prepare, unseal_run, no_check, false},
    {"random", nothing, random_run, no_check, false},
    {"decrypt GCM", gcm_prepare, decrypt_run, no_check, false},
    {"decrypt CCM", ccm_prepare, decrypt_run, no_check, false},
};

static void
nothing_wrong_without_a_key(void **state)
{
    (void)state;
    each_failure_of(keyless, COUNT(keyless));
    lk_key_wipe(&key);
}

static const struct operation opening = {"open", key_close, open_run, open_check, false};

static void
number_get(const EVP_PKEY *pkey, const char *name, struct lk_buf out, size_t *len)
{
    BIGNUM *number = NULL;

    assert_int_equal(EVP_PKEY_get_bn_param(pkey, name, &number), 1);
    assert_true((size_t)BN_num_bytes(number) <= out.cap);
    *len = (size_t)BN_bn2bin(number, out.ptr);
    BN_free(number);
}

/* A foreign issuer's key and a signature of theirs; we only verify these. */
static void
rsa_make(void)
{
    EVP_PKEY *pkey = EVP_RSA_gen(2048);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = sizeof(room);

    assert_true(pkey != NULL && ctx != NULL);
    key = (struct lk_key){.alg = LK_ALG_RS256};
    number_get(pkey, OSSL_PKEY_PARAM_RSA_N, LK_BUF_OF(key.u.rsa.n), &key.u.rsa.n_len);
    number_get(pkey, OSSL_PKEY_PARAM_RSA_E, LK_BUF_OF(key.u.rsa.e), &key.u.rsa.e_len);
    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, pkey, NULL), 1);
    assert_int_equal(EVP_DigestSign(ctx, room, &len, (const uint8_t *)"header.", 7), 1);
    signature = lk_span_of(room, len);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
}

/* With a key as it was opened, and with one that has contexts to spare. */
static const struct operation keyed[] = {
    {"first verify", key_reopen, verify_run, verify_check, false},
    {"verify", nothing, verify_run, verify_check, false},
    {"first refusal", key_reopen, refuse_run, verify_check, true},
    {"refusal", nothing, refuse_run, verify_check, true},
};
static const struct operation signing[] = {
    {"first sign", key_reopen, sign_run, sign_check, false},
    {"sign", nothing, sign_run, sign_check, false},
    {"generate", nothing, generate_run, no_check, false},
};

static const struct operation broken = {"verify that breaks", sign_prepare, broken_run,
                                        verify_check, false};

static void
nothing_wrong_with_a_key_of_ours(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(key_texts); i++) {
        key = test_key(key_texts[i]);
        assert_int_not_equal(key.alg, LK_ALG_NONE);
        each_failure(&opening);
        assert_int_equal(sign_run(), LK_OK);
        each_failure_of(keyed, COUNT(keyed));
        each_failure_of(signing, COUNT(signing));
        if (CALLS_FAIL && key.alg == LK_ALG_ES256)
            each_failure(&broken);
        lk_key_wipe(&key);
    }
}

static void
nothing_wrong_with_a_foreign_key(void **state)
{
    (void)state;
    rsa_make();
    each_failure(&opening);
    each_failure_of(keyed, COUNT(keyed));
    lk_key_wipe(&key);
}

static const struct operation accelerating = {"accelerate", key_reopen, accelerate_run,
                                              verify_check, false};
static const struct operation accelerated[] = {
    {"verify by table", nothing, verify_run, verify_check, true},
    {"refusal by table", nothing, refuse_run, verify_check, true},
};

static void
nothing_wrong_with_a_table(void **state)
{
    (void)state;
    key = test_key(TEST_EC);
    assert_int_equal(sign_run(), LK_OK);
    if (lk_key_accelerate(&key) == LK_ERR_UNSUPPORTED)
        print_message("a build without tables\n");
    else
        each_failure(&accelerating);
    each_failure_of(accelerated, COUNT(accelerated));
    lk_key_wipe(&key);
}

/* OpenSSL sets itself up once, and does not try again what failed then: that is not ours to test.
 */
static void
openssl_warm_up(void)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    uint8_t bytes[32];

    ERR_clear_error();
    RAND_bytes(bytes, sizeof(bytes));
    RAND_priv_bytes(bytes, sizeof(bytes));
    EVP_PKEY_free(pkey);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_wrong_without_a_key),
        cmocka_unit_test(nothing_wrong_with_a_key_of_ours),
        cmocka_unit_test(nothing_wrong_with_a_foreign_key),
        cmocka_unit_test(nothing_wrong_with_a_table),
    };

    if (CRYPTO_set_mem_functions(memory_get, memory_resize, memory_put) != 1) {
        fprintf(stderr, "OpenSSL has allocated already\n");
        return 1;
    }
    openssl_warm_up();
    crypto_call_fails = fails;
    return cmocka_run_group_tests_name(CALLS_FAIL ? "crypto_calls" : "crypto_memory", tests, NULL,
                                       NULL);
}
