#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include <latchkey/crypto.h>

#include "aead_make.h"
#include "cmocka_all.h"
#include "crypto/prepared.h"
#include "guard.h"
#include "hex.h"
#include "token_keys.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct lk_span parts[] = {{(const uint8_t *)"header", 6},
                                       {NULL, 0},
                                       {(const uint8_t *)".", 1},
                                       {(const uint8_t *)"payload", 7}};

static const enum lk_alg signing[] = {LK_ALG_ES256, LK_ALG_EDDSA, LK_ALG_HS256, LK_ALG_HS256_64};

static void
what_is_signed_verifies_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(signing); i++) {
        struct lk_span joined = LK_SPAN("header.payload"), other = LK_SPAN("header.payloae");
        struct lk_key key, stranger;
        uint8_t room[LK_SIGNATURE_MAX];
        struct lk_span signature;

        assert_int_equal(lk_crypto_generate(signing[i], &key), LK_OK);
        assert_int_equal(lk_crypto_generate(signing[i], &stranger), LK_OK);
        assert_int_equal(lk_crypto_sign(&key, parts, COUNT(parts), LK_BUF_OF(room), &signature),
                         LK_OK);
        assert_int_equal(signature.len, lk_alg_signature_len(signing[i]));
        assert_int_equal(lk_crypto_verify(&key, parts, COUNT(parts), signature), LK_OK);
        assert_int_equal(lk_crypto_verify(&key, &joined, 1, signature), LK_OK);
        assert_int_equal(lk_crypto_verify(&key, &other, 1, signature), LK_ERR_SIGNATURE);
        assert_int_equal(lk_crypto_verify(&stranger, &joined, 1, signature), LK_ERR_SIGNATURE);
        for (size_t bit = 0; bit < signature.len * 8; bit++) {
            room[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(lk_crypto_verify(&key, &joined, 1, signature), LK_ERR_SIGNATURE);
            room[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (size_t len = 0; len < sizeof(room); len++) {
            if (len == signature.len)
                continue;
            assert_int_equal(lk_crypto_verify(&key, &joined, 1, lk_span_of(room, len)),
                             LK_ERR_SIGNATURE);
        }
        lk_key_wipe(&key);
        lk_key_wipe(&stranger);
    }
    assert_int_equal(ERR_peek_error(), 0);
}

/* The published example is a good specimen; each row breaks it. */
static void
es256_signatures_have_one_form(void **state)
{
#define N "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
    static const struct {
        const char *name, *r, *s; /* NULL: as it was signed */
    } rows[] = {
        {"as signed", NULL, NULL},
        {"r = 0", "0000000000000000000000000000000000000000000000000000000000000000", NULL},
        {"s = 0", NULL, "0000000000000000000000000000000000000000000000000000000000000000"},
        {"r = n", N, NULL},
        {"s = n", NULL, N},
        {"r = n + 1", "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632552", NULL},
        {"r = 2^256 - 1", "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", NULL},
        {"s = 2^256 - 1", NULL, "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},
        {"r = n - 1", "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550", NULL},
    };
#undef N
    struct lk_key key = test_key(TEST_EC);
    uint8_t room[64], raw[64], der[LK_ES256_DER + 8];
    struct lk_span signature;
    size_t der_len;

    (void)state;
    assert_int_equal(lk_crypto_sign(&key, parts, COUNT(parts), LK_BUF_OF(room), &signature), LK_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        memcpy(raw, room, sizeof(raw));
        if (rows[i].r != NULL)
            hex_bytes(rows[i].r, (struct lk_buf){raw, 32});
        if (rows[i].s != NULL)
            hex_bytes(rows[i].s, (struct lk_buf){raw + 32, 32});
        assert_err(rows[i].name, lk_crypto_verify(&key, parts, COUNT(parts), lk_span_of(raw, 64)),
                   i == 0 ? LK_OK : LK_ERR_SIGNATURE);
    }
    memset(der, 0, sizeof(der));
    der_len = lk_es256_to_der(room, der);
    assert_err("DER", lk_crypto_verify(&key, parts, COUNT(parts), lk_span_of(der, der_len)),
               LK_ERR_SIGNATURE);
    assert_err("DER, cut to 64 bytes",
               lk_crypto_verify(&key, parts, COUNT(parts), lk_span_of(der, 64)), LK_ERR_SIGNATURE);
    assert_err("DER, with zeros after it",
               lk_crypto_verify(&key, parts, COUNT(parts), lk_span_of(der, sizeof(der))),
               LK_ERR_SIGNATURE);
    lk_key_wipe(&key);
}

/* What the signer of OpenSSL writes, and what it must never be taken for. */
static void
der_is_read_in_its_one_form(void **state)
{
    static const struct {
        const char *name, *der;
        bool is_good;
    } rows[] = {
        {"smallest", "3006 020101 020101", true},
        {"a high bit needs a zero", "3007 02020080 020101", true},
        {"r = n - 1",
         "3026 022100ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550 020101",
         true},
        {"r = n",
         "3026 022100ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551 020101",
         false},
        {"r = 0", "3006 020100 020101", false},
        {"s = 0", "3006 020101 020100", false},
        {"33 bytes of number",
         "3026 022101ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550 020101",
         false},
        {"no sequence", "3106 020101 020101", false},
        {"sequence too short", "3005 020101 020101", false},
        {"sequence too long", "3007 020101 020101", false},
        {"bytes after s", "3008 020101 020101 0000", false},
        {"no s", "3003 020101", false},
        {"integer longer than the rest", "3006 020101 020201", false},
        {"another type", "3006 030101 020101", false},
        {"nothing", "", false},
        {"an empty sequence", "3000", false},
    };
    uint8_t room[LK_ES256_DER], raw[64], again[LK_ES256_DER];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_span der = hex_bytes(rows[i].der, LK_BUF_OF(room));

        if (lk_es256_from_der(der, raw) != rows[i].is_good)
            fail_msg("%s: %s", rows[i].name, rows[i].is_good ? "refused" : "taken");
        if (rows[i].is_good)
            assert_true(lk_span_equal(lk_span_of(again, lk_es256_to_der(raw, again)), der));
    }
}

static void
es256_signatures_have_a_low_s(void **state)
{
    /* n/2 rounded down, and one more: the border */
    static const char half[] = "7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8";
    struct lk_key key;
    uint8_t room[64], bytes[64] = {1};
    struct lk_span signature;

    (void)state;
    assert_int_equal(lk_crypto_generate(LK_ALG_ES256, &key), LK_OK);
    for (int i = 0; i < 64; i++) {
        uint8_t message = (uint8_t)i;
        struct lk_span part = {&message, 1};

        assert_int_equal(lk_crypto_sign(&key, &part, 1, LK_BUF_OF(room), &signature), LK_OK);
        assert_true(lk_crypto_is_low_s(signature));
        assert_int_equal(lk_crypto_verify(&key, &part, 1, signature), LK_OK);
    }
    lk_key_wipe(&key);
    hex_bytes(half, (struct lk_buf){bytes + 32, 32});
    assert_true(lk_crypto_is_low_s(lk_span_of(bytes, 64)));
    bytes[63]++;
    assert_false(lk_crypto_is_low_s(lk_span_of(bytes, 64)));
    assert_false(lk_crypto_is_low_s(lk_span_of(bytes, 63)));
}

static void
keys_are_asked_for_what_they_have(void **state)
{
    struct lk_key key = test_key(TEST_EC), closed = {.alg = LK_ALG_ES256};
    struct lk_span signature, many[LK_PARTS_MAX + 1] = {{NULL, 0}};
    uint8_t room[64];

    (void)state;
    assert_int_equal(lk_crypto_sign(&key, parts, 1, (struct lk_buf){room, 63}, &signature),
                     LK_ERR_NO_SPACE);
    assert_int_equal(lk_crypto_sign(&key, many, COUNT(many), LK_BUF_OF(room), &signature),
                     LK_ERR_ARG);
    assert_int_equal(lk_crypto_verify(&key, many, COUNT(many), lk_span_of(room, 64)), LK_ERR_ARG);
    assert_int_equal(lk_crypto_hmac_sha256(LK_SPAN("k"), many, COUNT(many), room), LK_ERR_ARG);
    assert_int_equal(lk_crypto_hmac_sha256(LK_SPAN("k"), many, COUNT(many) - 1, room), LK_OK);
    key.has_private = false;
    assert_int_equal(lk_crypto_sign(&key, parts, 1, LK_BUF_OF(room), &signature), LK_ERR_KEY);
    assert_null(signature.ptr);
    lk_key_wipe(&key);
    assert_int_equal(lk_crypto_sign(&closed, parts, 1, LK_BUF_OF(room), &signature), LK_ERR_STATE);
    assert_int_equal(lk_crypto_verify(&closed, parts, 1, lk_span_of(room, 64)), LK_ERR_STATE);
    assert_int_equal(lk_crypto_generate(LK_ALG_RS256, &key), LK_ERR_UNSUPPORTED);
    assert_int_equal(lk_crypto_generate(LK_ALG_NONE, &key), LK_ERR_UNSUPPORTED);
    closed.alg = LK_ALG_NONE;
    assert_int_equal(lk_key_open(&closed), LK_ERR_UNSUPPORTED);
    memset(&closed, 0, sizeof(closed));
    lk_key_wipe(&closed);
}

/* A modulus of 2048 bits that looks like one, and e = 65537: whether n is a product of two primes
 * nobody can see. */
static struct lk_key
rsa_specimen(void)
{
    struct lk_key key = {.alg = LK_ALG_RS256, .u.rsa = {.n_len = 256, .e = {1, 0, 1}, .e_len = 3}};

    memset(key.u.rsa.n, 0xa5, 256);
    return key;
}

static void
rsa_keys_are_odd_and_long(void **state)
{
    static const struct {
        const char *name;
        size_t n_len, e_len;
        uint8_t n_first, n_last;
        uint8_t e[8];
        enum lk_err err;
    } rows[] = {
        {"specimen", 256, 3, 0xa5, 0xa5, {1, 0, 1}, LK_OK},
        {"e = 3", 256, 1, 0xa5, 0xa5, {3}, LK_OK},
        {"2047 bits", 256, 3, 0x7f, 0xa5, {1, 0, 1}, LK_ERR_KEY},
        {"a leading zero", 257, 3, 0x00, 0xa5, {1, 0, 1}, LK_OK},
        {"255 bytes", 255, 3, 0xa5, 0xa5, {1, 0, 1}, LK_ERR_KEY},
        {"no n", 0, 3, 0xa5, 0xa5, {1, 0, 1}, LK_ERR_KEY},
        {"more n than there is room", LK_RSA_MODULUS_MAX + 1, 3, 1, 1, {1, 0, 1}, LK_ERR_KEY},
        {"even n", 256, 3, 0xa5, 0xa4, {1, 0, 1}, LK_ERR_KEY},
        {"even e", 256, 3, 0xa5, 0xa5, {1, 0, 0}, LK_ERR_KEY},
        {"e = 1", 256, 1, 0xa5, 0xa5, {1}, LK_ERR_KEY},
        {"e = 0", 256, 1, 0xa5, 0xa5, {0}, LK_ERR_KEY},
        {"no e", 256, 0, 0xa5, 0xa5, {0}, LK_ERR_KEY},
        {"more e than there is room", 256, 9, 0xa5, 0xa5, {1, 0, 1}, LK_ERR_KEY},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_key key = rsa_specimen();

        key.u.rsa.n_len = rows[i].n_len;
        key.u.rsa.n[0] = rows[i].n_first;
        if (rows[i].n_len > 0 && rows[i].n_len <= sizeof(key.u.rsa.n))
            key.u.rsa.n[rows[i].n_len - 1] = rows[i].n_last;
        key.u.rsa.e_len = rows[i].e_len;
        memcpy(key.u.rsa.e, rows[i].e, sizeof(key.u.rsa.e));
        assert_err(rows[i].name, lk_key_open(&key), rows[i].err);
        assert_int_equal(key.prepared != NULL, rows[i].err == LK_OK);
        lk_key_wipe(&key);
    }
    assert_int_equal(ERR_peek_error(), 0);
}

static void
a_key_is_for_its_algorithm_only(void **state)
{
    struct lk_key rsa = rsa_specimen(), oct = test_key(TEST_OCT), seal = {.alg = LK_ALG_AEAD};
    uint8_t room[LK_SIGNATURE_MAX] = {0};
    struct lk_span out;

    (void)state;
    assert_int_equal(lk_key_open(&rsa), LK_OK);
    assert_int_equal(lk_crypto_sign(&rsa, parts, 1, LK_BUF_OF(room), &out), LK_ERR_UNSUPPORTED);
    assert_null(out.ptr);
    seal.u.oct.cipher = LK_AEAD_A128GCM;
    seal.u.oct.len = 16;
    seal.has_private = true;
    assert_int_equal(lk_key_open(&seal), LK_OK);
    assert_int_equal(lk_crypto_sign(&seal, parts, 1, LK_BUF_OF(room), &out), LK_ERR_UNSUPPORTED);
    assert_int_equal(lk_crypto_verify(&seal, parts, 1, lk_span_of(room, 32)), LK_ERR_UNSUPPORTED);
    lk_key_wipe(&seal);
    lk_key_wipe(&rsa);
    lk_key_wipe(&oct);
    oct.alg = LK_ALG_HS256;
    for (oct.u.oct.len = 31; oct.u.oct.len <= sizeof(oct.u.oct.k) + 1; oct.u.oct.len++) {
        bool is_good = oct.u.oct.len >= 32 && oct.u.oct.len <= sizeof(oct.u.oct.k);
        struct lk_key key = oct;

        assert_int_equal(lk_key_open(&key), is_good ? LK_OK : LK_ERR_KEY);
        lk_key_wipe(&key);
    }
}

/* RFC 5869 appendix A, tests 1, 2 and 3. */
static void
hkdf_gives_the_published_values(void **state)
{
    static const struct {
        const char *key, *salt, *info, *out;
    } rows[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
         "f0f1f2f3f4f5f6f7f8f9",
         "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2"
         "c"
         "2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
         "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8"
         "c"
         "8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
         "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbd"
         "c"
         "dddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
         "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65"
         "e"
         "590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
         "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
    };
    static uint8_t large[255 * 32 + 1];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint8_t a[96], b[96], c[96], d[96], out[96];
        struct lk_span wanted = hex_bytes(rows[i].out, LK_BUF_OF(d));

        assert_int_equal(lk_crypto_hkdf_sha256(hex_bytes(rows[i].key, LK_BUF_OF(a)),
                                               hex_bytes(rows[i].salt, LK_BUF_OF(b)),
                                               hex_bytes(rows[i].info, LK_BUF_OF(c)),
                                               (struct lk_buf){out, wanted.len}),
                         LK_OK);
        assert_memory_equal(out, wanted.ptr, wanted.len);
    }
    assert_int_equal(lk_crypto_hkdf_sha256(LK_SPAN("k"), LK_SPAN(""), LK_SPAN(""),
                                           (struct lk_buf){large, sizeof(large) - 1}),
                     LK_OK);
    assert_int_equal(
        lk_crypto_hkdf_sha256(LK_SPAN("k"), LK_SPAN(""), LK_SPAN(""), LK_BUF_OF(large)),
        LK_ERR_LIMIT);
}

static void
hashes_give_the_published_values(void **state)
{
    uint8_t hash[32], wanted[32];

    (void)state;
    /* FIPS 180-4 examples: "" and "abc" */
    assert_int_equal(lk_crypto_sha256((struct lk_span){NULL, 0}, hash), LK_OK);
    hex_bytes("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
              LK_BUF_OF(wanted));
    assert_memory_equal(hash, wanted, sizeof(hash));
    assert_int_equal(lk_crypto_sha256(LK_SPAN("abc"), hash), LK_OK);
    hex_bytes("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
              LK_BUF_OF(wanted));
    assert_memory_equal(hash, wanted, sizeof(hash));
    /* HMAC of nothing under no key */
    assert_int_equal(lk_crypto_hmac_sha256((struct lk_span){NULL, 0}, NULL, 0, hash), LK_OK);
    hex_bytes("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad",
              LK_BUF_OF(wanted));
    assert_memory_equal(hash, wanted, sizeof(hash));
}

static void
what_is_sealed_opens_with_the_same_key_and_binding(void **state)
{
    static const size_t sizes[] = {0, 1, 16, 100};
    uint8_t key[32] = {7}, other[32] = {8};
    struct lk_span bound = LK_SPAN("device/pump-7");

    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        uint8_t plain[100], sealed_room[128], again[128], opened_room[100];
        struct lk_span sealed, twin, opened;

        memset(plain, 0x5a, sizeof(plain));
        assert_int_equal(
            lk_crypto_seal(key, bound, lk_span_of(plain, sizes[i]),
                           (struct lk_buf){sealed_room, sizes[i] + LK_SEAL_OVERHEAD - 1}, &sealed),
            LK_ERR_NO_SPACE);
        assert_int_equal(lk_crypto_seal(key, bound, lk_span_of(plain, sizes[i]),
                                        LK_BUF_OF(sealed_room), &sealed),
                         LK_OK);
        assert_int_equal(sealed.len, sizes[i] + LK_SEAL_OVERHEAD);
        assert_int_equal(
            lk_crypto_seal(key, bound, lk_span_of(plain, sizes[i]), LK_BUF_OF(again), &twin),
            LK_OK);
        assert_false(lk_span_equal(sealed, twin));
        assert_int_equal(lk_crypto_unseal(key, bound, sealed, LK_BUF_OF(opened_room), &opened),
                         LK_OK);
        assert_true(lk_span_equal(opened, lk_span_of(plain, sizes[i])));
        assert_int_equal(lk_crypto_unseal(other, bound, sealed, LK_BUF_OF(opened_room), &opened),
                         LK_ERR_SIGNATURE);
        assert_null(opened.ptr);
        assert_int_equal(
            lk_crypto_unseal(key, LK_SPAN("device"), sealed, LK_BUF_OF(opened_room), &opened),
            LK_ERR_SIGNATURE);
        for (size_t at = 0; at < sealed.len; at++) {
            sealed_room[at] ^= 1;
            assert_int_equal(lk_crypto_unseal(key, bound, sealed, LK_BUF_OF(opened_room), &opened),
                             LK_ERR_SIGNATURE);
            sealed_room[at] ^= 1;
        }
        for (size_t len = 0; len < sealed.len; len++)
            assert_int_equal(lk_crypto_unseal(key, bound, lk_span_of(sealed_room, len),
                                              LK_BUF_OF(opened_room), &opened),
                             LK_ERR_SIGNATURE);
        if (sizes[i] > 0)
            assert_int_equal(lk_crypto_unseal(key, bound, sealed,
                                              (struct lk_buf){opened_room, sizes[i] - 1}, &opened),
                             LK_ERR_NO_SPACE);
    }
    assert_int_equal(ERR_peek_error(), 0);
}

/* Nothing bound, and nothing that could be bound or sealed: OpenSSL counts with int. */
static void
what_is_sealed_has_a_length_openssl_can_count(void **state)
{
    static const uint8_t key[32] = {7};
    struct lk_span none = {NULL, 0}, byte = LK_SPAN("x"), sealed, opened;
    struct lk_span endless = {byte.ptr, (size_t)INT_MAX + 1};
    struct lk_buf endless_room;
    uint8_t room[64], opened_room[8];

    (void)state;
    assert_int_equal(lk_crypto_seal(key, none, byte, LK_BUF_OF(room), &sealed), LK_OK);
    assert_int_equal(lk_crypto_unseal(key, none, sealed, LK_BUF_OF(opened_room), &opened), LK_OK);
    assert_true(lk_span_equal(opened, byte));
    assert_int_equal(lk_crypto_unseal(key, byte, sealed, LK_BUF_OF(opened_room), &opened),
                     LK_ERR_SIGNATURE);
    assert_int_equal(lk_crypto_unseal(key, endless, sealed, LK_BUF_OF(opened_room), &opened),
                     LK_ERR_LIMIT);
    assert_int_equal(lk_crypto_seal(key, endless, byte, LK_BUF_OF(room), &sealed), LK_ERR_LIMIT);
    assert_null(sealed.ptr);
    endless_room = (struct lk_buf){room, (size_t)INT_MAX + 100};
    assert_int_equal(lk_crypto_seal(key, none, endless, endless_room, &sealed), LK_ERR_LIMIT);
    sealed = lk_span_of(room, (size_t)INT_MAX + 1 + LK_SEAL_OVERHEAD);
    assert_int_equal(lk_crypto_unseal(key, none, sealed, endless_room, &opened), LK_ERR_LIMIT);
    assert_int_equal(
        lk_crypto_seal(key, none, byte, (struct lk_buf){room, LK_SEAL_OVERHEAD - 1}, &sealed),
        LK_ERR_NO_SPACE);
}

static const struct lk_span aad_parts[] = {{(const uint8_t *)"head", 4},
                                           {(const uint8_t *)"er", 2},
                                           {NULL, 0},
                                           {(const uint8_t *)"external", 8}};
static const uint8_t nonce_bytes[13] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};

static struct lk_key
cipher_key(enum lk_aead cipher)
{
    struct lk_key key = {.alg = LK_ALG_AEAD, .has_private = true};

    key.u.oct.cipher = cipher;
    key.u.oct.len = lk_aead_sizes_of(cipher).key;
    memset(key.u.oct.k, 0x40 + (int)cipher, key.u.oct.len);
    assert_int_equal(lk_key_open(&key), LK_OK);
    return key;
}

/* Nothing but what was encrypted opens, and what does not open leaves nothing behind. */
static void
one_cipher_opens_what_was_encrypted(enum lk_aead cipher, struct lk_span plain)
{
    struct lk_key key = cipher_key(cipher), stranger = cipher_key(cipher);
    struct lk_span nonce = lk_span_of(nonce_bytes, lk_aead_sizes_of(cipher).nonce), sealed, out;
    uint8_t sealed_room[64], other_nonce[13];
    struct guard in = guard_open(64), room = guard_open(64);
    struct lk_buf to = {guard_room(&room, plain.len), plain.len};
    static const uint8_t zeros[64];

    sealed = aead_make(&key, nonce, LK_SPAN("headerexternal"), plain, LK_BUF_OF(sealed_room));
    sealed.ptr = guard_put(&in, sealed.ptr, sealed.len);
    assert_int_equal(lk_crypto_decrypt(&key, nonce, aad_parts, 4, sealed, to, &out), LK_OK);
    assert_true(lk_span_equal(out, plain));
    assert_int_equal(lk_crypto_decrypt(&key, nonce, aad_parts, 3, sealed, to, &out),
                     LK_ERR_SIGNATURE);
    assert_null(out.ptr);
    assert_memory_equal(to.ptr, zeros, to.cap);
    assert_int_equal(lk_crypto_decrypt(&key, nonce, NULL, 0, sealed, to, &out), LK_ERR_SIGNATURE);
    memcpy(other_nonce, nonce.ptr, nonce.len);
    other_nonce[0] ^= 1;
    assert_int_equal(
        lk_crypto_decrypt(&key, lk_span_of(other_nonce, nonce.len), aad_parts, 4, sealed, to, &out),
        LK_ERR_SIGNATURE);
    assert_int_equal(lk_crypto_decrypt(&key, lk_span_of(nonce_bytes, nonce.len - 1), aad_parts, 4,
                                       sealed, to, &out),
                     LK_ERR_SIGNATURE);
    stranger.u.oct.k[0] ^= 1;
    assert_int_equal(lk_crypto_decrypt(&stranger, nonce, aad_parts, 4, sealed, to, &out),
                     LK_ERR_SIGNATURE);
    for (size_t bit = 0; bit < sealed.len * 8; bit++) {
        uint8_t *byte = guard_room(&in, sealed.len) + bit / 8;

        *byte ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(lk_crypto_decrypt(&key, nonce, aad_parts, 4, sealed, to, &out),
                         LK_ERR_SIGNATURE);
        assert_memory_equal(to.ptr, zeros, to.cap);
        *byte ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < sealed.len; len++)
        assert_int_equal(
            lk_crypto_decrypt(&key, nonce, aad_parts, 4, lk_span_of(sealed.ptr, len), to, &out),
            LK_ERR_SIGNATURE);
    if (plain.len > 0) {
        to = (struct lk_buf){guard_room(&room, plain.len - 1), plain.len - 1};
        assert_int_equal(lk_crypto_decrypt(&key, nonce, aad_parts, 4, sealed, to, &out),
                         LK_ERR_NO_SPACE);
    }
    guard_close(&in);
    guard_close(&room);
    lk_key_wipe(&key);
    lk_key_wipe(&stranger);
}

static void
every_cipher_opens_what_was_encrypted(void **state)
{
    (void)state;
    for (enum lk_aead c = LK_AEAD_A128GCM; c <= LK_AEAD_CCM_64_128_256; c++) {
        one_cipher_opens_what_was_encrypted(c, LK_SPAN("this is the content"));
        one_cipher_opens_what_was_encrypted(c, LK_SPAN("x"));
        one_cipher_opens_what_was_encrypted(c, LK_SPAN(""));
    }
    assert_int_equal(ERR_peek_error(), 0);
}

static void
decryption_asks_for_a_key_that_decrypts(void **state)
{
    static uint8_t big[0x10000 + 8], room_bytes[sizeof(big)];
    struct lk_key gcm = cipher_key(LK_AEAD_A128GCM), ccm = cipher_key(LK_AEAD_CCM_16_64_128), mac;
    struct lk_buf room = LK_BUF_OF(room_bytes);
    struct lk_span nonce = lk_span_of(nonce_bytes, 12), sealed = lk_span_of(big, 32), out,
                   parts_7[7];
    uint8_t signature[64];

    (void)state;
    memset(parts_7, 0, sizeof(parts_7));
    assert_int_equal(lk_crypto_generate(LK_ALG_AEAD, &mac), LK_ERR_UNSUPPORTED);
    assert_int_equal(lk_crypto_generate(LK_ALG_HS256, &mac), LK_OK);
    assert_int_equal(lk_crypto_decrypt(&mac, nonce, NULL, 0, sealed, room, &out), LK_ERR_KEY);
    assert_int_equal(lk_crypto_decrypt(&gcm, nonce, parts_7, 7, sealed, room, &out), LK_ERR_ARG);
    /* it neither signs nor verifies */
    assert_int_equal(lk_crypto_sign(&gcm, parts, 1, LK_BUF_OF(signature), &out),
                     LK_ERR_UNSUPPORTED);
    assert_int_equal(lk_crypto_verify(&gcm, parts, 1, lk_span_of(signature, 32)),
                     LK_ERR_UNSUPPORTED);
    assert_int_equal(lk_crypto_verify(&gcm, parts, 1, lk_span_of(signature, 0)),
                     LK_ERR_UNSUPPORTED);
    /* a length field of 16 bits counts no further (RFC 3610 section 2.1) */
    nonce = lk_span_of(nonce_bytes, 13);
    assert_int_equal(
        lk_crypto_decrypt(&ccm, nonce, NULL, 0, lk_span_of(big, 0xffff + 8), room, &out),
        LK_ERR_SIGNATURE);
    assert_int_equal(
        lk_crypto_decrypt(&ccm, nonce, NULL, 0, lk_span_of(big, 0x10000 + 8), room, &out),
        LK_ERR_LIMIT);
    lk_key_wipe(&ccm);
    assert_int_equal(lk_crypto_decrypt(&ccm, nonce, NULL, 0, sealed, room, &out), LK_ERR_KEY);
    ccm.alg = LK_ALG_AEAD;
    ccm.u.oct.cipher = LK_AEAD_CCM_16_64_128;
    assert_int_equal(lk_crypto_decrypt(&ccm, nonce, NULL, 0, sealed, room, &out), LK_ERR_STATE);
    for (size_t len = 0; len <= 64; len++) {
        ccm.u.oct.len = len;
        assert_int_equal(lk_key_open(&ccm), len == 16 ? LK_OK : LK_ERR_KEY);
        if (len == 16) {
            lk_key_wipe(&ccm);
            ccm.alg = LK_ALG_AEAD;
            ccm.u.oct.cipher = LK_AEAD_CCM_16_64_128;
        }
    }
    ccm.u.oct.cipher = LK_AEAD_NONE;
    assert_int_equal(lk_key_open(&ccm), LK_ERR_UNSUPPORTED);
    lk_key_wipe(&gcm);
    lk_key_wipe(&mac);
    assert_int_equal(ERR_peek_error(), 0);
}

static void
randomness_differs(void **state)
{
    uint8_t a[32], b[32];

    (void)state;
    assert_int_equal(lk_crypto_random(LK_BUF_OF(a)), LK_OK);
    assert_int_equal(lk_crypto_random(LK_BUF_OF(b)), LK_OK);
    assert_memory_not_equal(a, b, sizeof(a));
}

/* Errors that were there before a call are still there after it, and none is added. */
static void
the_error_queue_is_left_as_it_was(void **state)
{
    struct lk_key key = test_key(TEST_EC), bad = key;
    uint8_t zeros[64] = {1};
    unsigned long before;

    (void)state;
    ERR_clear_error();
    ERR_raise(ERR_LIB_USER, 42);
    before = ERR_peek_last_error();
    bad.prepared = NULL;
    bad.u.ec.x[0] ^= 1;
    assert_int_equal(lk_key_open(&bad), LK_ERR_KEY);
    zeros[63] = 1;
    assert_int_equal(lk_crypto_verify(&key, parts, 1, lk_span_of(zeros, 64)), LK_ERR_SIGNATURE);
    assert_int_equal(ERR_peek_last_error(), before);
    ERR_clear_error();
    lk_key_wipe(&key);
}

struct worker {
    pthread_t thread;
    const struct lk_key *key;
    unsigned number, failures;
};

static void *
work(void *arg)
{
    struct worker *w = arg;

    for (unsigned i = 0; i < 200; i++) {
        unsigned message[2] = {w->number, i};
        struct lk_span part = {(const uint8_t *)message, sizeof(message)}, signature;
        uint8_t room[64];

        if (lk_crypto_sign(w->key, &part, 1, LK_BUF_OF(room), &signature) != LK_OK ||
            lk_crypto_verify(w->key, &part, 1, signature) != LK_OK)
            w->failures++;
        message[1]++;
        if (lk_crypto_verify(w->key, &part, 1, signature) != LK_ERR_SIGNATURE)
            w->failures++;
    }
    return NULL;
}

static void
one_key_serves_many_threads(void **state)
{
    (void)state;
    for (size_t a = 0; a < COUNT(signing); a++) {
        struct worker workers[8];
        struct lk_key key;

        assert_int_equal(lk_crypto_generate(signing[a], &key), LK_OK);
        for (unsigned i = 0; i < COUNT(workers); i++) {
            workers[i] = (struct worker){.key = &key, .number = i};
            assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
        }
        for (unsigned i = 0; i < COUNT(workers); i++) {
            pthread_join(workers[i].thread, NULL);
            assert_int_equal(workers[i].failures, 0);
        }
        lk_key_wipe(&key);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_signed_verifies_and_nothing_else),
        cmocka_unit_test(es256_signatures_have_one_form),
        cmocka_unit_test(der_is_read_in_its_one_form),
        cmocka_unit_test(es256_signatures_have_a_low_s),
        cmocka_unit_test(keys_are_asked_for_what_they_have),
        cmocka_unit_test(rsa_keys_are_odd_and_long),
        cmocka_unit_test(a_key_is_for_its_algorithm_only),
        cmocka_unit_test(hkdf_gives_the_published_values),
        cmocka_unit_test(hashes_give_the_published_values),
        cmocka_unit_test(what_is_sealed_opens_with_the_same_key_and_binding),
        cmocka_unit_test(what_is_sealed_has_a_length_openssl_can_count),
        cmocka_unit_test(every_cipher_opens_what_was_encrypted),
        cmocka_unit_test(decryption_asks_for_a_key_that_decrypts),
        cmocka_unit_test(randomness_differs),
        cmocka_unit_test(the_error_queue_is_left_as_it_was),
        cmocka_unit_test(one_key_serves_many_threads),
    };

    return cmocka_run_group_tests_name("crypto_openssl", tests, NULL, NULL);
}
