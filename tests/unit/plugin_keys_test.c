#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "failures.h"
#include "keys.h"

#include "cmocka_all.h"
#include "plugin_memory.h"
#include "token_keys.h"

#define EC(kid, xy) "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"" kid "\"," xy "}"
#define XY1         "\"x\":\"" TEST_EC_X "\",\"y\":\"" TEST_EC_Y "\""
/* RFC 8392 appendix A.2.3. */
#define XY2                                                                                        \
    "\"x\":\"FDMpzOeGjkFpJ1mc9lo0884v_aVafspp7YkZo5TULw8\","                                       \
    "\"y\":\"YPfxp4DYp4O_t6LdayeW6BKNu87509Fo25Uplxo257k\""

static void
adopt(struct keys *k, const char *jwks)
{
    char *text = strdup(jwks);
    struct lk_key *keys;
    size_t count;

    assert_non_null(text);
    assert_err(jwks, keys_parse((uint8_t *)text, strlen(text), &keys, &count), LK_OK);
    assert_err(jwks, keys_adopt(k, 0, keys, count), LK_OK);
    keys_free(keys, LK_KEYS_MAX);
    free(text);
}

static uint64_t
serial(const struct keys *k, const char *kid)
{
    const struct lk_key *key = lk_keyset_get(&k->set, 0, lk_span_text(kid));

    return key != NULL ? keys_serial(k, key) : 0;
}

static void
a_key_keeps_its_serial_as_long_as_it_is_the_same(void **state)
{
    struct keys *k = calloc(1, sizeof(*k));
    uint64_t a, b;

    (void)state;
    assert_non_null(k);
    adopt(k, "{\"keys\":[" EC("a", XY1) "]}");
    a = serial(k, "a");
    assert_true(a != 0);
    adopt(k, "{\"keys\":[" EC("b", XY2) "," EC("a", XY1) "]}");
    b = serial(k, "b");
    assert_int_equal(serial(k, "a"), a);
    assert_true(b != 0 && b != a);
    adopt(k, "{\"keys\":[" EC("a", XY2) "]}"); /* another key under the old name */
    assert_true(serial(k, "a") != a && serial(k, "a") != b && serial(k, "a") != 0);
    adopt(k, "{\"keys\":[" EC("a", XY1) "]}"); /* what was gone does not come back as it was */
    assert_true(serial(k, "a") > b);
    keys_wipe(k);
    free(k);
}

static void
a_revoked_key_goes_and_what_it_vouched_for(void **state)
{
    struct keys *k = calloc(1, sizeof(*k));
    uint8_t print[KID_PRINT_LEN], key[REVOCATION_KEY_LEN];
    struct revocations revoked;
    uint64_t a, b;

    (void)state;
    assert_non_null(k);
    assert_err("open", revocations_open(&revoked, 10), LK_OK);
    adopt(k, "{\"keys\":[" EC("a", XY1) "," EC("b", XY2) "]}");
    a = serial(k, "a");
    b = serial(k, "b");
    assert_int_equal(keys_drop_revoked(k, &revoked), 0);
    assert_err("kid", revocation_kid_print(LK_SPAN("a"), print), LK_OK);
    assert_memory_equal(print, keys_kid(k, lk_keyset_get(&k->set, 0, LK_SPAN("a"))), sizeof(print));
    revocation_kid_key(print, key);
    assert_true(revocations_put(&revoked, REVOCATION_KID, key, 0, 1, 1));
    assert_int_equal(keys_drop_revoked(k, &revoked), 1);
    assert_int_equal(serial(k, "a"), 0);
    assert_int_equal(serial(k, "b"), b); /* which is in another place now */
    assert_int_equal(keys_drop_revoked(k, &revoked), 0);
    adopt(k, "{\"keys\":[" EC("a", XY1) "," EC("b", XY2) "]}");
    assert_true(serial(k, "a") > a && serial(k, "b") == b); /* and no hit of the cache is back */
    assert_int_equal(keys_drop_revoked(k, &revoked), 1);
    adopt(k, "{\"keys\":[" EC("a", XY1) "]}");
    assert_int_equal(keys_drop_revoked(k, &revoked), 1);
    assert_int_equal(k->set.count, 0);
    keys_wipe(k);
    free(k);
    revocations_close(&revoked);
}

static void
a_document_without_keys_is_refused(void **state)
{
    static const struct {
        const char *text;
        enum lk_err err;
    } rows[] = {
        {"{\"keys\":[]}", LK_ERR_MISSING},
        {"{\"keys\":[{\"kty\":\"AKP\"}]}", LK_ERR_MISSING},
        {"", LK_ERR_TRUNCATED},
    };
    char text[64];
    struct lk_key *keys;
    size_t count;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        (void)snprintf(text, sizeof(text), "%s", rows[i].text);
        assert_err(rows[i].text, keys_parse((uint8_t *)text, strlen(text), &keys, &count),
                   rows[i].err);
        assert_null(keys);
    }
}

static void
digest_of(unsigned n, uint8_t digest[LK_SHA256_LEN])
{
    assert_err("hash", lk_crypto_sha256(lk_span_of(&n, sizeof(n)), digest), LK_OK);
}

static void
a_hit_needs_the_digest_and_the_key(void **state)
{
    uint8_t one[LK_SHA256_LEN], two[LK_SHA256_LEN];
    struct cache cache;
    unsigned kept = 0;

    (void)state;
    digest_of(1, one);
    digest_of(2, two);
    assert_err("open", cache_open(&cache, 1000), LK_OK);
    assert_false(cache_has(&cache, one, 7));
    cache_put(&cache, one, 7);
    assert_true(cache_has(&cache, one, 7));
    assert_false(cache_has(&cache, one, 8));
    assert_false(cache_has(&cache, two, 7));
    cache_put(&cache, two, 0); /* a key without a serial */
    assert_false(cache_has(&cache, two, 0));
    for (unsigned n = 100; n < 5100; n++) {
        digest_of(n, two);
        cache_put(&cache, two, 9);
        assert_true(cache_has(&cache, two, 9));
    }
    for (unsigned n = 100; n < 5100; n++) {
        digest_of(n, two);
        kept += cache_has(&cache, two, 9);
    }
    assert_in_range(kept, 900, 1024);
    cache_close(&cache);
    assert_err("none", cache_open(&cache, 0), LK_OK);
    cache_put(&cache, one, 7);
    assert_false(cache_has(&cache, one, 7));
    cache_close(&cache);
    assert_int_equal(plugin_memory_held, 0);
}

static void
failures_are_counted_by_address_and_second(void **state)
{
    static struct failures f;

    (void)state;
    for (int n = 0; n < 10; n++) {
        assert_false(failures_add(&f, "10.0.0.1", 10, 5000));
        assert_false(failures_are_many(&f, "10.0.0.1", 10, 5000));
    }
    assert_true(failures_add(&f, "10.0.0.1", 10, 5999));
    assert_false(failures_add(&f, "10.0.0.1", 10, 5999)); /* said once */
    assert_true(failures_are_many(&f, "10.0.0.1", 10, 5999));
    assert_false(failures_are_many(&f, "10.0.0.2", 10, 5999));
    assert_false(failures_are_many(&f, NULL, 10, 5999));
    assert_false(failures_are_many(&f, "10.0.0.1", 10, 6000));
    assert_false(failures_add(&f, "10.0.0.1", 10, 6000));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_keeps_its_serial_as_long_as_it_is_the_same),
        cmocka_unit_test(a_revoked_key_goes_and_what_it_vouched_for),
        cmocka_unit_test(a_document_without_keys_is_refused),
        cmocka_unit_test(a_hit_needs_the_digest_and_the_key),
        cmocka_unit_test(failures_are_counted_by_address_and_second),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
