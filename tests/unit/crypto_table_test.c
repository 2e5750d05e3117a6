/*
 * ES256 with the table of lk_key_accelerate against ES256 without: every answer must be the same.
 * LATCHKEY_SOAK_ROUNDS=20 runs twenty times as many random cases.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>

#include <latchkey/crypto.h>

#include "cmocka_all.h"
#include "crypto/prepared.h"
#include "hex.h"
#include "token_keys.h"

#define COUNT(table)   (sizeof(table) / sizeof((table)[0]))
#define SPAN_OF(array) lk_span_of((array), sizeof(array))
#define KEYS           8
#define ROUNDS         40

static EC_GROUP *group;
static const BIGNUM *order;
static BN_CTX *bn;

/* The same key twice: as it was opened, and accelerated. */
struct pair {
    struct lk_key plain, fast;
};

static bool
pair_open(struct pair *pair, const struct lk_key *key)
{
    pair->plain = *key;
    pair->plain.prepared = NULL;
    pair->fast = pair->plain;
    return lk_key_open(&pair->plain) == LK_OK && lk_key_open(&pair->fast) == LK_OK &&
           lk_key_accelerate(&pair->fast) == LK_OK;
}

static void
pair_close(struct pair *pair)
{
    lk_key_wipe(&pair->plain);
    lk_key_wipe(&pair->fast);
}

static void
hex_print(const char *name, struct lk_span bytes)
{
    fprintf(stderr, "%s ", name);
    for (size_t i = 0; i < bytes.len; i++)
        fprintf(stderr, "%02x", bytes.ptr[i]);
    fprintf(stderr, "\n");
}

/* What both keys say; they must agree, and the table must have had an answer of its own. */
static enum lk_err
ask(const char *row, const struct pair *pair, struct lk_span message, struct lk_span signature)
{
    const struct lk_prepared *p = pair->fast.prepared;
    enum lk_err plain = lk_crypto_verify(&pair->plain, &message, 1, signature);
    enum lk_err fast = lk_crypto_verify(&pair->fast, &message, 1, signature);
    enum lk_table_verdict wanted = plain == LK_OK ? LK_VERDICT_VALID : LK_VERDICT_INVALID;
    struct lk_table_room *room = NULL;
    uint8_t hash[LK_SHA256_LEN];

    if (plain != fast) {
        hex_print("x", lk_span_of(pair->plain.u.ec.x, 32));
        hex_print("y", lk_span_of(pair->plain.u.ec.y, 32));
        hex_print("message", message);
        hex_print("signature", signature);
    }
    assert_err(row, fast, plain);
    assert_int_equal(lk_crypto_sha256(message, hash), LK_OK);
    if (signature.len == LK_ES256_LEN && lk_es256_scalar_is_valid(signature.ptr) &&
        lk_es256_scalar_is_valid(signature.ptr + LK_ES256_HALF))
        assert_int_equal(lk_table_verify(p->table, &room, hash, signature.ptr), wanted);
    lk_table_room_free(room);
    assert_int_equal(ERR_peek_error(), 0);
    return plain;
}

/* Random cases. */

static unsigned
rounds(void)
{
    const char *factor = getenv("LATCHKEY_SOAK_ROUNDS");
    long times = factor != NULL ? strtol(factor, NULL, 10) : 1;

    return ROUNDS * (unsigned)(times > 0 ? times : 1);
}

/* half = half + sign * number, if that has a place in 32 bytes. */
static bool
shift(uint8_t half[32], int sign, const BIGNUM *number)
{
    BIGNUM *value = BN_bin2bn(half, 32, NULL);
    bool fits = (sign > 0 ? BN_add(value, value, number) : BN_sub(value, value, number)) == 1 &&
                !BN_is_negative(value) && BN_bn2binpad(value, half, 32) == 32;

    BN_free(value);
    return fits;
}

static void
set_near_order(uint8_t half[32], int offset)
{
    BN_bn2binpad(order, half, 32);
    if (offset != 0)
        shift(half, offset, BN_value_one());
}

enum change {
    NONE,
    R_BIT,
    S_BIT,
    MESSAGE_BIT,
    S_NEGATED,
    S_PLUS_ORDER,
    R_PLUS_ORDER,
    R_PLUS_ONE,
    S_PLUS_ONE,
    R_ZERO,
    S_ZERO,
    R_ORDER,
    S_ORDER,
    R_ORDER_LESS_ONE,
    S_ORDER_LESS_ONE,
    SWAPPED,
    RANDOM,
    CHANGES
};

static const struct {
    const char *name;
    bool is_valid;
} changes[CHANGES] = {
    [NONE] = {"as signed", true},
    [R_BIT] = {"a bit of r", false},
    [S_BIT] = {"a bit of s", false},
    [MESSAGE_BIT] = {"a bit of the message", false},
    [S_NEGATED] = {"n - s", true},
    [S_PLUS_ORDER] = {"s + n", false},
    [R_PLUS_ORDER] = {"r + n", false},
    [R_PLUS_ONE] = {"r + 1", false},
    [S_PLUS_ONE] = {"s + 1", false},
    [R_ZERO] = {"r = 0", false},
    [S_ZERO] = {"s = 0", false},
    [R_ORDER] = {"r = n", false},
    [S_ORDER] = {"s = n", false},
    [R_ORDER_LESS_ONE] = {"r = n - 1", false},
    [S_ORDER_LESS_ONE] = {"s = n - 1", false},
    [SWAPPED] = {"r and s swapped", false},
    [RANDOM] = {"random r and s", false},
};

static void
bit_flip(struct lk_buf bytes, uint32_t where)
{
    bytes.ptr[where / 8 % bytes.cap] ^= (uint8_t)(1u << where % 8);
}

/* Say false where the change has no place in 32 bytes. */
static bool
change(enum change what, uint32_t where, uint8_t r[32], uint8_t s[32], struct lk_buf message)
{
    uint8_t other[32];

    switch (what) {
    case NONE:
        break;
    case R_BIT:
        bit_flip((struct lk_buf){r, 32}, where);
        break;
    case S_BIT:
        bit_flip((struct lk_buf){s, 32}, where);
        break;
    case MESSAGE_BIT:
        bit_flip(message, where);
        break;
    case S_NEGATED:
        lk_es256_negate_s(s);
        break;
    case S_PLUS_ORDER:
        return shift(s, 1, order);
    case R_PLUS_ORDER:
        return shift(r, 1, order);
    case R_PLUS_ONE:
        return shift(r, 1, BN_value_one());
    case S_PLUS_ONE:
        return shift(s, 1, BN_value_one());
    case R_ZERO:
        memset(r, 0, 32);
        break;
    case S_ZERO:
        memset(s, 0, 32);
        break;
    case R_ORDER:
        set_near_order(r, 0);
        break;
    case S_ORDER:
        set_near_order(s, 0);
        break;
    case R_ORDER_LESS_ONE:
        set_near_order(r, -1);
        break;
    case S_ORDER_LESS_ONE:
        set_near_order(s, -1);
        break;
    case SWAPPED:
        memcpy(other, r, 32);
        memcpy(r, s, 32);
        memcpy(s, other, 32);
        break;
    case RANDOM:
        return lk_crypto_random((struct lk_buf){r, 32}) == LK_OK &&
               lk_crypto_random((struct lk_buf){s, 32}) == LK_OK;
    case CHANGES:
        break;
    }
    return true;
}

static void
try_changes(const struct pair *pair, struct lk_buf message, struct lk_span signed_as)
{
    for (int what = NONE; what < CHANGES; what++) {
        uint8_t raw[64], where[4], text[64];
        struct lk_buf changed = {text, message.cap};
        uint32_t bit;

        memcpy(raw, signed_as.ptr, sizeof(raw));
        memcpy(text, message.ptr, message.cap);
        assert_int_equal(lk_crypto_random(LK_BUF_OF(where)), LK_OK);
        memcpy(&bit, where, sizeof(bit));
        if (!change((enum change)what, bit, raw, raw + 32, changed))
            continue;
        assert_err(changes[what].name,
                   ask(changes[what].name, pair, lk_span_of(text, message.cap), SPAN_OF(raw)),
                   changes[what].is_valid ? LK_OK : LK_ERR_SIGNATURE);
    }
}

static void
random_signatures_get_the_same_answer(void **state)
{
    unsigned times = rounds();

    (void)state;
    for (unsigned k = 0; k < KEYS; k++) {
        struct lk_key key, stranger;
        struct pair pair;

        assert_int_equal(lk_crypto_generate(LK_ALG_ES256, &key), LK_OK);
        assert_int_equal(lk_crypto_generate(LK_ALG_ES256, &stranger), LK_OK);
        assert_true(pair_open(&pair, &key));
        for (unsigned i = 0; i < times; i++) {
            uint8_t room[64], bytes[64];
            struct lk_buf message = {bytes, 1 + i % sizeof(bytes)};
            struct lk_span part = {bytes, message.cap}, signature;

            assert_int_equal(lk_crypto_random(message), LK_OK);
            assert_int_equal(lk_crypto_sign(&key, &part, 1, LK_BUF_OF(room), &signature), LK_OK);
            try_changes(&pair, message, signature);
            assert_int_equal(lk_crypto_sign(&stranger, &part, 1, LK_BUF_OF(room), &signature),
                             LK_OK);
            assert_err("another key", ask("another key", &pair, part, signature), LK_ERR_SIGNATURE);
        }
        pair_close(&pair);
        lk_key_wipe(&key);
        lk_key_wipe(&stranger);
    }
}

/* Signatures made by choosing the key for them. */

/* The point with this x, or the next smaller x that has one. */
static EC_POINT *
point_at(BIGNUM *x)
{
    EC_POINT *point = EC_POINT_new(group);

    while (EC_POINT_set_compressed_coordinates(group, point, x, 0, bn) != 1)
        BN_sub_word(x, 1);
    ERR_clear_error();
    return point;
}

/* Q = (s*R - e*G)/r, under which (r, s) is a signature with e. */
static struct lk_key
key_for(const EC_POINT *sum, const BIGNUM *e, const BIGNUM *r, const BIGNUM *s)
{
    struct lk_key key = {.alg = LK_ALG_ES256};
    EC_POINT *q = EC_POINT_new(group);
    BIGNUM *inverse = BN_mod_inverse(NULL, r, order, bn), *a = BN_new(), *b = BN_new();

    BN_mod_mul(a, e, inverse, order, bn);
    BN_sub(a, order, a);
    BN_mod_mul(b, s, inverse, order, bn);
    assert_int_equal(EC_POINT_mul(group, q, a, sum, b, bn), 1);
    assert_int_equal(EC_POINT_get_affine_coordinates(group, q, a, b, bn), 1);
    BN_bn2binpad(a, key.u.ec.x, 32);
    BN_bn2binpad(b, key.u.ec.y, 32);
    BN_free(inverse);
    BN_free(a);
    BN_free(b);
    EC_POINT_free(q);
    return key;
}

static const struct {
    const char *name;
    const char *x; /* of the sum: this one or the next smaller on the curve */
    const char *s;
    bool is_wrapped; /* r is x - n */
} made[] = {
    {"x = n + 3", "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632554",
     "123456789ABCDEF0", true},
    {"x = n + 4", "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632555",
     "248D6A61D20638B8E5C026930C3E6039A33CE45964FF2167F6ECEDD419DB06C1", true},
    {"x in the middle of n and p",
     "FFFFFFFF00000001000000000000000000000000DDDDDDDDDDDDDDDDDDDDDDDD", "7", true},
    {"the largest x", "FFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFE",
     "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632550", true},
    {"the largest x below n", "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632550",
     "99", false},
    {"r + n just below p, but x = r",
     "00000000000000000000000043190552"
     "58E8617B0C46353D039CDAAD",
     "99", false},
    {"r + n at or above p",
     "00000000000000000000000043190552"
     "58E8617B0C46353D039CDABF",
     "99", false},
    {"small r", "5", "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD", false},
    {"s = 1", "6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296", "1", false},
    {"small s", "8888888888888888888888888888888888888888888888888888888888888888", "5", false},
};

static void
made_row_run(size_t row)
{
    struct lk_span message = LK_SPAN("made to fit"), other = LK_SPAN("made to fiz");
    BIGNUM *x = NULL, *s = NULL, *r = BN_new(), *e;
    uint8_t hash[32], raw[64], whole[64];
    struct pair pair;
    struct lk_key key;
    EC_POINT *sum;

    assert_true(BN_hex2bn(&x, made[row].x) > 0 && BN_hex2bn(&s, made[row].s) > 0);
    assert_int_equal(lk_crypto_sha256(message, hash), LK_OK);
    e = BN_bin2bn(hash, sizeof(hash), NULL);
    sum = point_at(x);
    assert_int_equal(BN_nnmod(r, x, order, bn), 1);
    assert_int_equal(BN_cmp(r, x) != 0, made[row].is_wrapped);
    key = key_for(sum, e, r, s);
    assert_true(pair_open(&pair, &key));
    BN_bn2binpad(r, raw, 32);
    BN_bn2binpad(s, raw + 32, 32);
    assert_err(made[row].name, ask(made[row].name, &pair, message, SPAN_OF(raw)), LK_OK);
    assert_err(made[row].name, ask(made[row].name, &pair, other, SPAN_OF(raw)), LK_ERR_SIGNATURE);
    for (int half = 0; half < 2; half++) {
        for (int by = -1; by <= 1; by += 2) {
            memcpy(whole, raw, sizeof(raw));
            shift(whole + 32 * half, by, BN_value_one());
            assert_err(made[row].name, ask(made[row].name, &pair, message, SPAN_OF(whole)),
                       LK_ERR_SIGNATURE);
            memcpy(whole, raw, sizeof(raw));
            if (shift(whole + 32 * half, by, order))
                assert_err(made[row].name, ask(made[row].name, &pair, message, SPAN_OF(whole)),
                           LK_ERR_SIGNATURE);
        }
    }
    pair_close(&pair);
    EC_POINT_free(sum);
    BN_free(x);
    BN_free(s);
    BN_free(r);
    BN_free(e);
}

static void
made_signatures_verify_and_their_neighbours_do_not(void **state)
{
    (void)state;
    for (size_t row = 0; row < COUNT(made); row++)
        made_row_run(row);
}

/* d = 1 makes Q = G, whose table libcrypto has itself; d = n - 1 makes Q = -G. */
static void
keys_next_to_the_generator_are_accelerated(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct lk_key key = {.alg = LK_ALG_ES256, .has_private = true};
        BIGNUM *x = BN_new(), *y = BN_new();
        uint8_t room[64], text[] = "near the generator";
        struct lk_span part = {text, sizeof(text)}, signature;
        struct pair pair;

        assert_int_equal(
            EC_POINT_get_affine_coordinates(group, EC_GROUP_get0_generator(group), x, y, bn), 1);
        set_near_order(key.u.ec.d, -1);
        if (i == 0) {
            memset(key.u.ec.d, 0, 31);
            key.u.ec.d[31] = 1;
        } else {
            BN_sub(y, EC_GROUP_get0_field(group), y);
        }
        BN_bn2binpad(x, key.u.ec.x, 32);
        BN_bn2binpad(y, key.u.ec.y, 32);
        assert_true(pair_open(&pair, &key));
        assert_int_equal(lk_crypto_sign(&pair.fast, &part, 1, LK_BUF_OF(room), &signature), LK_OK);
        try_changes(&pair, LK_BUF_OF(text), signature);
        pair_close(&pair);
        BN_free(x);
        BN_free(y);
    }
}

/* Wycheproof. */

static const char *
text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    assert_non_null(text);
    return text;
}

static unsigned
wycheproof_group(const json_t *tests, const struct pair *pair)
{
    unsigned valid = 0;
    json_t *test;
    size_t i;

    json_array_foreach (tests, i, test) {
        static uint8_t message_room[8192], signature_room[1024];
        struct lk_span message = hex_bytes(text_of(test, "msg"), LK_BUF_OF(message_room));
        struct lk_span signature = hex_bytes(text_of(test, "sig"), LK_BUF_OF(signature_room));
        const char *row = text_of(test, "comment");
        bool wanted = strcmp(text_of(test, "result"), "valid") == 0;

        assert_err(row, ask(row, pair, message, signature), wanted ? LK_OK : LK_ERR_SIGNATURE);
        valid += wanted;
    }
    return valid;
}

static void
wycheproof_gets_the_same_answers(void **state)
{
    json_t *json = json_load_file(
        LK_VECTORS_DIR "/wycheproof/ecdsa_secp256r1_sha256_p1363_test.json", 0, NULL);
    unsigned valid = 0;
    json_t *set;
    size_t i;

    (void)state;
    assert_non_null(json);
    json_array_foreach (json_object_get(json, "testGroups"), i, set) {
        const json_t *public = json_object_get(set, "publicKey");
        struct lk_key key = {.alg = LK_ALG_ES256};
        uint8_t room[65];
        struct lk_span point = hex_bytes(text_of(public, "uncompressed"), LK_BUF_OF(room));
        struct pair pair;

        assert_int_equal(point.len, 65);
        memcpy(key.u.ec.x, point.ptr + 1, 32);
        memcpy(key.u.ec.y, point.ptr + 33, 32);
        assert_true(pair_open(&pair, &key));
        valid += wycheproof_group(json_object_get(set, "tests"), &pair);
        pair_close(&pair);
    }
    assert_true(valid > 0);
    json_decref(json);
}

/* Threads. */

struct worker {
    pthread_t thread;
    const struct lk_key *key;
    struct lk_span message, signature;
    unsigned failures;
};

static void *
work(void *arg)
{
    struct worker *w = arg;

    for (unsigned i = 0; i < 300; i++) {
        struct lk_span parts[] = {w->message, LK_SPAN("more")};

        if (lk_crypto_verify(w->key, parts, 1, w->signature) != LK_OK)
            w->failures++;
        if (lk_crypto_verify(w->key, parts, 2, w->signature) != LK_ERR_SIGNATURE)
            w->failures++;
    }
    return NULL;
}

static void
four_threads_share(const struct lk_key *key, struct lk_span message, struct lk_span signature)
{
    struct worker workers[4];

    for (size_t i = 0; i < COUNT(workers); i++) {
        workers[i] = (struct worker){.key = key, .message = message, .signature = signature};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < COUNT(workers); i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].failures, 0);
    }
}

static void
four_threads_verify_with_one_key(void **state)
{
    struct lk_span message = LK_SPAN("shared"), signature;
    uint8_t room[64];
    struct lk_key key;
    struct pair pair;

    (void)state;
    assert_int_equal(lk_crypto_generate(LK_ALG_ES256, &key), LK_OK);
    assert_int_equal(lk_crypto_sign(&key, &message, 1, LK_BUF_OF(room), &signature), LK_OK);
    assert_true(pair_open(&pair, &key));
    four_threads_share(&pair.plain, message, signature);
    four_threads_share(&pair.fast, message, signature);
    pair_close(&pair);
    lk_key_wipe(&key);
}

/* A libcrypto that refuses, is wrong or fails: wrapped by the linker, see token_crypto.cmake. */

static enum fault {
    FAULT_NONE,
    FAULT_GENERATOR_REFUSED,
    FAULT_GENERATOR_WRONG,
    FAULT_NO_TABLE,
    FAULT_TABLE_FAILS,
    FAULT_X_WRONG,
    FAULT_X_FAILS
} fault;

int __real_EC_GROUP_set_generator(EC_GROUP *of, const EC_POINT *point, const BIGNUM *n,
                                  const BIGNUM *cofactor);
int __wrap_EC_GROUP_set_generator(EC_GROUP *of, const EC_POINT *point, const BIGNUM *n,
                                  const BIGNUM *cofactor);
int __real_EC_GROUP_precompute_mult(EC_GROUP *of, BN_CTX *ctx);
int __wrap_EC_GROUP_precompute_mult(EC_GROUP *of, BN_CTX *ctx);
int __real_EC_GROUP_have_precompute_mult(const EC_GROUP *of);
int __wrap_EC_GROUP_have_precompute_mult(const EC_GROUP *of);
int __real_EC_POINT_get_Jprojective_coordinates_GFp(const EC_GROUP *of, const EC_POINT *point,
                                                    BIGNUM *x, BIGNUM *y, BIGNUM *z, BN_CTX *ctx);
int __wrap_EC_POINT_get_Jprojective_coordinates_GFp(const EC_GROUP *of, const EC_POINT *point,
                                                    BIGNUM *x, BIGNUM *y, BIGNUM *z, BN_CTX *ctx);

int
__wrap_EC_GROUP_set_generator(EC_GROUP *of, const EC_POINT *point, const BIGNUM *n,
                              const BIGNUM *cofactor)
{
    EC_POINT *wrong;
    int ok;

    if (fault == FAULT_GENERATOR_REFUSED)
        return 0;
    if (fault != FAULT_GENERATOR_WRONG)
        return __real_EC_GROUP_set_generator(of, point, n, cofactor);
    wrong = EC_POINT_dup(point, of);
    ok = EC_POINT_invert(of, wrong, NULL) == 1 &&
         __real_EC_GROUP_set_generator(of, wrong, n, cofactor) == 1;
    EC_POINT_free(wrong);
    return ok;
}

int
__wrap_EC_GROUP_precompute_mult(EC_GROUP *of, BN_CTX *ctx)
{
    return fault == FAULT_TABLE_FAILS ? 0 : __real_EC_GROUP_precompute_mult(of, ctx);
}

int
__wrap_EC_GROUP_have_precompute_mult(const EC_GROUP *of)
{
    return fault == FAULT_NO_TABLE ? 0 : __real_EC_GROUP_have_precompute_mult(of);
}

int
__wrap_EC_POINT_get_Jprojective_coordinates_GFp(const EC_GROUP *of, const EC_POINT *point,
                                                BIGNUM *x, BIGNUM *y, BIGNUM *z, BN_CTX *ctx)
{
    int ok = __real_EC_POINT_get_Jprojective_coordinates_GFp(of, point, x, y, z, ctx);

    if (fault == FAULT_X_WRONG)
        ok = BN_add_word(x, 1);
    return fault == FAULT_X_FAILS ? 0 : ok;
}

static const struct {
    enum fault fault;
    const char *name;
    enum lk_err err;
} faults[] = {
    {FAULT_GENERATOR_REFUSED, "no generator of ours", LK_ERR_UNSUPPORTED},
    {FAULT_NO_TABLE, "no table made", LK_ERR_UNSUPPORTED},
    {FAULT_TABLE_FAILS, "the table fails", LK_ERR_CRYPTO},
    {FAULT_GENERATOR_WRONG, "the table is of another point", LK_ERR_CRYPTO},
    {FAULT_X_WRONG, "the x compared is another", LK_ERR_CRYPTO},
    {FAULT_X_FAILS, "the x cannot be had", LK_ERR_CRYPTO},
};

static void
verifies_as_it_should(const char *row, const struct lk_key *key)
{
    struct lk_span message = LK_SPAN("a"), other = LK_SPAN("b"), signature;
    uint8_t room[64];

    assert_err(row, lk_crypto_sign(key, &message, 1, LK_BUF_OF(room), &signature), LK_OK);
    assert_err(row, lk_crypto_verify(key, &message, 1, signature), LK_OK);
    assert_err(row, lk_crypto_verify(key, &other, 1, signature), LK_ERR_SIGNATURE);
    assert_int_equal(ERR_peek_error(), 0);
}

static void
what_is_not_right_is_not_used(void **state)
{
    struct lk_key key = test_key(TEST_EC);
    const struct lk_prepared *p = key.prepared;

    (void)state;
    for (size_t i = 0; i < COUNT(faults); i++) {
        fault = faults[i].fault;
        assert_err(faults[i].name, lk_key_accelerate(&key), faults[i].err);
        assert_null(p->table);
        verifies_as_it_should(faults[i].name, &key);
    }
    fault = FAULT_NONE;
    assert_err("no fault", lk_key_accelerate(&key), LK_OK);
    fault = FAULT_X_FAILS;
    verifies_as_it_should("a failure later", &key);
    fault = FAULT_NONE;
    lk_key_wipe(&key);
}

/* The call itself. */

static void
only_open_es256_keys_are_accelerated(void **state)
{
    struct lk_key closed = {.alg = LK_ALG_ES256}, key = test_key(TEST_EC);
    struct lk_key okp = test_key(TEST_OKP), oct = test_key(TEST_OCT);
    struct lk_prepared *p = key.prepared;
    const struct lk_table *table;

    (void)state;
    assert_int_equal(lk_key_accelerate(&closed), LK_ERR_STATE);
    assert_int_equal(lk_key_accelerate(&okp), LK_ERR_UNSUPPORTED);
    assert_int_equal(lk_key_accelerate(&oct), LK_ERR_UNSUPPORTED);
    assert_null(p->table);
    assert_int_equal(lk_key_accelerate(&key), LK_OK);
    table = p->table;
    assert_non_null(table);
    assert_int_equal(lk_key_accelerate(&key), LK_OK);
    assert_ptr_equal(p->table, table);
    lk_key_wipe(&key);
    assert_null(key.prepared);
    lk_key_wipe(&okp);
    lk_key_wipe(&oct);
}

static void
a_build_without_tables_says_so(void **state)
{
    struct lk_key key = test_key(TEST_EC);
    struct lk_span message = LK_SPAN("m"), signature;
    uint8_t room[64];

    (void)state;
    assert_int_equal(lk_key_accelerate(&key), LK_ERR_UNSUPPORTED);
    assert_int_equal(lk_crypto_sign(&key, &message, 1, LK_BUF_OF(room), &signature), LK_OK);
    assert_int_equal(lk_crypto_verify(&key, &message, 1, signature), LK_OK);
    lk_key_wipe(&key);
}

int
main(void)
{
    const struct CMUnitTest with[] = {
        cmocka_unit_test(only_open_es256_keys_are_accelerated),
        cmocka_unit_test(what_is_not_right_is_not_used),
        cmocka_unit_test(random_signatures_get_the_same_answer),
        cmocka_unit_test(made_signatures_verify_and_their_neighbours_do_not),
        cmocka_unit_test(keys_next_to_the_generator_are_accelerated),
        cmocka_unit_test(wycheproof_gets_the_same_answers),
        cmocka_unit_test(four_threads_verify_with_one_key),
    };
    const struct CMUnitTest without[] = {
        cmocka_unit_test(a_build_without_tables_says_so),
    };
    int failed;

    group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    order = EC_GROUP_get0_order(group);
    bn = BN_CTX_new();
    failed = LK_ES256_TABLE ? cmocka_run_group_tests_name("crypto_table", with, NULL, NULL)
                            : cmocka_run_group_tests_name("crypto_no_table", without, NULL, NULL);
    BN_CTX_free(bn);
    EC_GROUP_free(group);
    return failed;
}
