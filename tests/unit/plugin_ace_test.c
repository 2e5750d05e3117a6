/*
 * The method ace: the published vectors as data, each part broken in turn, and the challenges that
 * wait.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "ace.h"
#include "bond.h"
#include "keys.h"

#include "cmocka_all.h"
#include "guard.h"
#include "hex.h"
#include "plugin_memory.h"

static json_t *vectors;
static struct keys keys;
static struct lk_issuer issuer;
static struct lk_verifier verifier = {.keys = &keys.set, .issuers = &issuer, .issuer_count = 1};
static struct guard guard;
static uint8_t room[4096], scratch[LK_TOKEN_SCRATCH_MAX], work[LK_TOKEN_MAX];

static const char *
text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static struct lk_span
hex_of(const json_t *object, const char *name)
{
    const char *hex = text_of(object, name);
    struct lk_span bytes;

    assert_non_null(hex);
    bytes = hex_bytes(hex, LK_BUF_OF(room));
    return lk_span_of(guard_put(&guard, bytes.ptr, bytes.len), bytes.len);
}

/* The key of RFC 8392 A.2.3, which signs tok_ed, and the one tok_sym is encrypted with. */
static void
adopt_keys(void)
{
    struct lk_key *found = calloc(LK_KEYS_MAX, sizeof(struct lk_key));
    uint8_t bytes[32];

    assert_non_null(found);
    found[0] = (struct lk_key){.alg = LK_ALG_ES256, .kid = "AsymmetricECDSA256", .kid_len = 18};
    memcpy(found[0].u.ec.x,
           hex_bytes("143329cce7868e416927599cf65a34f3ce2ffda55a7eca69ed8919a394d42f0f",
                     LK_BUF_OF(bytes))
               .ptr,
           32);
    memcpy(found[0].u.ec.y,
           hex_bytes("60f7f1a780d8a783bfb7a2dd6b2796e8128dbbcef9d3d168db9529971a36e7b9",
                     LK_BUF_OF(bytes))
               .ptr,
           32);
    found[1] = (struct lk_key){.alg = LK_ALG_AEAD, .kid = "Symmetric128", .kid_len = 12};
    found[1].u.oct.cipher = LK_AEAD_CCM_16_64_128;
    found[1].u.oct.len = 16;
    memcpy(
        found[1].u.oct.k,
        hex_bytes(text_of(json_object_get(vectors, "keys"), "as_rs_aes_ccm_128"), LK_BUF_OF(bytes))
            .ptr,
        16);
    for (int i = 0; i < 2; i++)
        assert_err("a key", lk_key_open(&found[i]), LK_OK);
    assert_err("keys", keys_adopt(&keys, 0, found, 2), LK_OK);
    keys_free(found, 2);
}

static int
load(void **state)
{
    json_error_t error;

    (void)state;
    guard = guard_open(4096);
    issuer.url = LK_SPAN("coaps://as.example.com");
    vectors = json_load_file(LK_VECTORS_DIR "/ace/mqtt_auth_data.json", 0, &error);
    if (vectors == NULL)
        return -1;
    adopt_keys();
    return 0;
}

static int
unload(void **state)
{
    (void)state;
    json_decref(vectors);
    keys_wipe(&keys);
    return plugin_memory_held == 0 ? 0 : -1;
}

/* From the vector's token, verified but for its claims, to the key that proves possession. */
static void
key_of(const char *name, struct lk_key *key, struct bond *bond)
{
    struct lk_cnf_use use = {.symmetric = LK_ALG_HS256};
    const struct lk_issuer *of;
    const struct lk_key *as_key;
    struct lk_token token;
    uint8_t bytes[1024];

    use.token = hex_bytes(text_of(json_object_get(vectors, "tokens"), name), LK_BUF_OF(bytes));
    assert_err(name, lk_token_parse(use.token, LK_BUF_OF(scratch), &token), LK_OK);
    assert_err(name, lk_token_decrypt(&verifier, &token), LK_OK);
    assert_err(name, lk_token_find_key(&verifier, &token, &of, &as_key), LK_OK);
    assert_err(name, lk_token_check_signature(&token, as_key), LK_OK);
    assert_err(name, bond_by_key(bond, &verifier, &token, &use, LK_BUF_OF(work), key), LK_OK);
    assert_int_equal(bond->kind, BOND_KEY);
}

static enum lk_err
check_answer(const json_t *test)
{
    uint8_t nonce[ACE_NONCE_LEN];
    struct lk_key key;
    struct bond bond;
    enum lk_err err;

    memcpy(nonce, hex_of(test, "rsNonceHex").ptr, sizeof(nonce));
    key_of(text_of(test, "token"), &key, &bond);
    err = ace_check_answer(&key, nonce, hex_of(test, "authDataHex"));
    lk_key_wipe(&key);
    return err;
}

static void
published_vectors(void **state)
{
    struct lk_span token, whole;
    unsigned starts = 0, answers = 0;
    json_t *test;
    size_t i;

    (void)state;
    json_array_foreach (json_object_get(vectors, "tests"), i, test) {
        const char *name = text_of(test, "name");

        if (json_object_get(test, "signedHex") != NULL) {
            assert_err(name, check_answer(test), LK_OK);
            answers++;
        } else if (json_object_get(test, "tokenHex") && json_object_get(test, "authDataHex")) {
            bool proof = json_object_get(test, "exporterHex") != NULL;

            whole = hex_of(test, "authDataHex");
            assert_err(name, ace_read_token(whole, &token), proof ? LK_ERR_UNSUPPORTED : LK_OK);
            assert_true(proof ? token.ptr == NULL
                              : token.ptr == whole.ptr + 2 && token.len == whole.len - 2);
            starts++;
        }
    }
    assert_int_equal(starts, 3);
    assert_int_equal(answers, 2);
}

static void
published_wrong_ones(void **state)
{
    struct lk_span token;
    json_t *test;
    size_t i;

    (void)state;
    assert_int_equal(json_array_size(json_object_get(vectors, "negative")), 7);
    json_array_foreach (json_object_get(vectors, "negative"), i, test) {
        const char *name = text_of(test, "name");

        if (json_object_get(test, "rsNonceHex") != NULL)
            assert_err(name, check_answer(test), LK_ERR_SIGNATURE);
        else
            assert_err(name, ace_read_token(hex_of(test, "authDataHex"), &token), LK_ERR_MALFORMED);
    }
}

static void
first_packets(void **state)
{
    static const struct {
        const char *name, *hex;
        size_t token;
        enum lk_err err;
    } rows[] = {
        {"no data", "", 0, LK_OK},
        {"no token", "0000", 0, LK_OK},
        {"a token of a byte", "0001aa", 1, LK_OK},
        {"half a length", "00", 0, LK_ERR_MALFORMED},
        {"a length alone", "0001", 0, LK_ERR_MALFORMED},
        {"the greatest length", "ffffaa", 0, LK_ERR_MALFORMED},
        {"a byte behind no token", "0000aa", 0, LK_ERR_MALFORMED},
        {"a byte behind the token", "0001aabb", 0, LK_ERR_UNSUPPORTED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lk_span data = hex_bytes(rows[i].hex, LK_BUF_OF(room)), token;

        data = lk_span_of(guard_put(&guard, data.ptr, data.len), data.len);
        assert_err(rows[i].name, ace_read_token(data, &token), rows[i].err);
        assert_int_equal(token.len, rows[i].token);
    }
}

static void
answers_broken_in_turn(void **state)
{
    json_t *test;
    size_t i;

    (void)state;
    json_array_foreach (json_object_get(vectors, "tests"), i, test) {
        uint8_t nonce[ACE_NONCE_LEN], good[256];
        struct lk_key key;
        struct bond bond;
        size_t len;

        if (json_object_get(test, "signedHex") == NULL)
            continue;
        memcpy(nonce, hex_of(test, "rsNonceHex").ptr, sizeof(nonce));
        len = hex_of(test, "authDataHex").len;
        memcpy(good, hex_of(test, "authDataHex").ptr, len);
        key_of(text_of(test, "token"), &key, &bond);
        for (size_t at = 0; at < len; at++) {
            uint8_t *copy = guard_put(&guard, good, len);

            copy[at] ^= 0x10;
            assert_err("a bit", ace_check_answer(&key, nonce, lk_span_of(copy, len)),
                       LK_ERR_SIGNATURE);
            copy = guard_put(&guard, good, at);
            assert_err("cut off", ace_check_answer(&key, nonce, lk_span_of(copy, at)),
                       at <= ACE_NONCE_LEN ? LK_ERR_MALFORMED : LK_ERR_SIGNATURE);
        }
        for (size_t at = 0; at < sizeof(nonce); at++) {
            nonce[at] ^= 1;
            assert_err("another nonce", ace_check_answer(&key, nonce, lk_span_of(good, len)),
                       LK_ERR_SIGNATURE);
            nonce[at] ^= 1;
        }
        lk_key_wipe(&key);
    }
}

/* --- bonds --------------------------------------------------------------------------------- */

static void
bonds_are_compared(void **state)
{
    struct bond ed, sym, other;
    struct lk_key key;

    (void)state;
    key_of("tok_ed", &key, &ed);
    lk_key_wipe(&key);
    key_of("tok_sym", &key, &sym);
    lk_key_wipe(&key);
    assert_true(bond_is_same(&ed, &ed));
    assert_false(bond_is_same(&ed, &sym));
    assert_true(bond_is_same(NULL, NULL));
    assert_false(bond_is_same(&ed, NULL));
    assert_false(bond_is_same(NULL, &ed));
    other = ed;
    other.kind = BOND_CERTIFICATE_KEY;
    assert_false(bond_is_same(&ed, &other));
    other = ed;
    other.print[31] ^= 1;
    assert_false(bond_is_same(&ed, &other));
    other = ed;
    other.secret[0] ^= 1;
    assert_true(bond_is_same(&ed, &other));
}

static void
a_bond_is_copied_whole_or_not(void **state)
{
    struct bond bond = {.kind = BOND_KID, .print = {1}, .secret = {2}};
    struct bond *copy = bond_new(&bond, LK_SPAN("token"));

    (void)state;
    assert_non_null(copy);
    assert_true(bond_is_same(&bond, copy));
    assert_int_equal(copy->secret[0], 2);
    assert_int_equal(copy->token_len, 5);
    assert_memory_equal(copy->token, "token", 5);
    bond_free(copy);
    bond_free(NULL);
    for (int n = 1; n <= 2; n++) {
        plugin_memory_fail = n;
        assert_null(bond_new(&bond, LK_SPAN("token")));
    }
    plugin_memory_fail = 0;
    assert_int_equal(plugin_memory_held, 0);
}

/* --- challenges ---------------------------------------------------------------------------- */

static struct challenges all;

static const struct mosquitto *
client(uintptr_t n)
{
    return (const struct mosquitto *)(n << 4);
}

static struct challenge
ask(uintptr_t n, int64_t now_ms)
{
    struct challenge c = {.client = client(n), .key_serial = n};

    assert_err("a challenge", challenges_add(&all, &c, LK_SPAN("token"), now_ms), LK_OK);
    return c;
}

static void
one_answer_for_one_challenge(void **state)
{
    struct challenge c, asked = ask(1, 100);

    (void)state;
    ask(2, 100);
    assert_false(challenges_take(&all, client(3), &c));
    assert_true(challenges_take(&all, client(1), &c));
    assert_memory_equal(c.nonce, asked.nonce, sizeof(c.nonce));
    assert_int_equal(c.key_serial, 1);
    assert_int_equal(c.due_ms, 100 + CHALLENGE_MS);
    assert_memory_equal(c.token, "token", 5);
    challenge_wipe(&c);
    assert_null(c.token);
    assert_false(challenges_take(&all, client(1), &c));
    assert_true(challenges_take(&all, client(2), &c));
    challenge_wipe(&c);
    assert_int_equal(all.count, 0);
    assert_int_equal(plugin_memory_held, 0);
}

static void
a_new_challenge_replaces_the_old(void **state)
{
    struct challenge c, first = ask(1, 0), second = ask(1, 5);

    (void)state;
    assert_int_equal(all.count, 1);
    assert_true(memcmp(first.nonce, second.nonce, sizeof(first.nonce)) != 0);
    assert_true(challenges_take(&all, client(1), &c));
    assert_memory_equal(c.nonce, second.nonce, sizeof(c.nonce));
    challenge_wipe(&c);
    ask(1, 0);
    challenges_drop(&all, client(1));
    challenges_drop(&all, client(1));
    assert_int_equal(all.count, 0);
}

static void
too_late_is_still_known(void **state)
{
    struct challenge c;

    (void)state;
    ask(1, 0);
    ask(2, 10);
    challenges_expire(&all, CHALLENGE_MS - 1);
    assert_int_equal(plugin_memory_held, 2);
    challenges_expire(&all, CHALLENGE_MS);
    assert_int_equal(plugin_memory_held, 1);
    assert_true(challenges_take(&all, client(1), &c));
    assert_null(c.token);
    challenge_wipe(&c);
    challenges_expire(&all, CHALLENGE_MS + 10);
    assert_int_equal(plugin_memory_held, 0);
    challenges_close(&all);
}

static void
the_oldest_gives_way(void **state)
{
    struct challenge c;

    (void)state;
    for (uintptr_t n = 1; n <= CHALLENGES_MAX; n++)
        ask(n, (int64_t)(n == 7 ? 0 : 1000 + n));
    ask(CHALLENGES_MAX + 1, 5000);
    assert_int_equal(all.count, CHALLENGES_MAX);
    assert_false(challenges_take(&all, client(7), &c));
    for (uintptr_t n = 1; n <= CHALLENGES_MAX + 1; n++) {
        if (n == 7)
            continue;
        assert_true(challenges_take(&all, client(n), &c));
        assert_int_equal(c.key_serial, n);
        challenge_wipe(&c);
    }
    assert_int_equal(plugin_memory_held, 0);
}

static void
without_memory_nobody_is_asked(void **state)
{
    struct challenge c = {.client = client(1)};

    (void)state;
    plugin_memory_fail = 1;
    assert_err("no memory", challenges_add(&all, &c, LK_SPAN("token"), 0), LK_ERR_NOMEM);
    assert_int_equal(all.count, 0);
    ask(1, 0);
    challenges_close(&all);
    assert_int_equal(plugin_memory_held, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(published_wrong_ones),
        cmocka_unit_test(first_packets),
        cmocka_unit_test(answers_broken_in_turn),
        cmocka_unit_test(bonds_are_compared),
        cmocka_unit_test(a_bond_is_copied_whole_or_not),
        cmocka_unit_test(one_answer_for_one_challenge),
        cmocka_unit_test(a_new_challenge_replaces_the_old),
        cmocka_unit_test(too_late_is_still_known),
        cmocka_unit_test(the_oldest_gives_way),
        cmocka_unit_test(without_memory_nobody_is_asked),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
