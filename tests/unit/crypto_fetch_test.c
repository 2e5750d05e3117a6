/*
 * Algorithms are fetched once for all threads. Here another thread is always first: what it fetched
 * is used by both, and ours goes back (that nothing leaks AddressSanitizer tells).
 */
#include <latchkey/crypto.h>

#include "cmocka_all.h"
#include "crypto/prepared.h"
#include "crypto_calls.h"
#include "hex.h"

static const void *others;
static uint8_t others_tag[LK_SHA256_LEN];

static void
fetch_sha256(void)
{
    others = lk_fetched_sha256();
}

static void
fetch_aes256gcm(void)
{
    others = lk_fetched_aes256gcm();
}

static void
fetch_hmac(void)
{
    assert_int_equal(lk_crypto_hmac_sha256(LK_SPAN("Jefe"), NULL, 0, others_tag), LK_OK);
}

static void
both_use_the_digest_of_the_first(void **state)
{
    const void *ours;

    (void)state;
    crypto_fetch_meanwhile = fetch_sha256;
    ours = lk_fetched_sha256();
    assert_ptr_equal(ours, others);
    assert_non_null(others);
    assert_null(crypto_fetch_meanwhile);
    assert_ptr_equal(lk_fetched_sha256(), others);
}

static void
both_use_the_cipher_of_the_first(void **state)
{
    const void *ours;

    (void)state;
    crypto_fetch_meanwhile = fetch_aes256gcm;
    ours = lk_fetched_aes256gcm();
    assert_ptr_equal(ours, others);
    assert_non_null(others);
    assert_null(crypto_fetch_meanwhile);
    assert_ptr_equal(lk_fetched_aes256gcm(), others);
}

static void
both_get_the_same_tag(void **state)
{
    uint8_t tag[LK_SHA256_LEN];

    (void)state;
    crypto_fetch_meanwhile = fetch_hmac;
    assert_int_equal(lk_crypto_hmac_sha256(LK_SPAN("Jefe"), NULL, 0, tag), LK_OK);
    assert_null(crypto_fetch_meanwhile);
    assert_memory_equal(tag, others_tag, sizeof(tag));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_use_the_digest_of_the_first),
        cmocka_unit_test(both_use_the_cipher_of_the_first),
        cmocka_unit_test(both_get_the_same_tag),
    };

    return cmocka_run_group_tests_name("crypto_fetch", tests, NULL, NULL);
}
