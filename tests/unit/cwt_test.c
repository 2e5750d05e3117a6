/*
 * The one pass through a CWT: what its claims are told apart by, and the strict form of a message.
 */
#include <stdio.h>
#include <string.h>

#include <latchkey/claims.h>
#include <latchkey/cose.h>
#include <latchkey/crypto.h>

#include "cmocka_all.h"
#include "cose_parts.h"
#include "guard.h"
#include "hex.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define TEN     "00010203040506070809"
#define BYTES32 TEN TEN TEN "0a0b"

static struct guard guard;

/* Hex, placed against the unreadable page. */
static struct lk_span
placed(const char *hex)
{
    uint8_t room[1024];
    struct lk_span in = hex_bytes(hex, LK_BUF_OF(room));

    return lk_span_of(guard_put(&guard, in.ptr, in.len), in.len);
}

/* Read over what another claims set left behind. */
static enum lk_err
claims_read(struct lk_span in, struct lk_claims *claims)
{
    static const struct lk_claims zero;
    enum lk_err err;

    memset(claims, 0xa5, sizeof(*claims));
    err = lk_claims_read_cwt(in, claims);
    if (err != LK_OK)
        assert_memory_equal(claims, &zero, sizeof(zero));
    return err;
}

static void
claims_are_taken_or_refused(void **state)
{
    static const struct {
        const char *name, *hex;
        enum lk_err err;
    } rows[] = {
        {"nothing", "", LK_ERR_TRUNCATED},
        {"no claims", "a0", LK_OK},
        {"an array", "80", LK_ERR_TYPE},
        {"indefinite", "bf01 6161 ff", LK_ERR_MALFORMED},
        {"more pairs than bytes", "a2 01 6161", LK_ERR_TRUNCATED},
        {"more pairs than memory", "bbffffffffffffffff", LK_ERR_TRUNCATED},
        {"something behind", "a0 00", LK_ERR_TRAILING},
        {"iss twice", "a2 01 6161 01 6161", LK_ERR_DUPLICATE},
        {"iss twice, once longer", "a2 01 6161 1801 6161", LK_ERR_DUPLICATE},
        {"dty twice", "a2 63647479 6161 63647479 6161", LK_ERR_DUPLICATE},
        {"dty twice, once longer", "a2 63647479 6161 7803647479 6161", LK_ERR_DUPLICATE},
        {"an unknown number twice", "a2 1864 00 1864 00", LK_ERR_DUPLICATE},
        {"an unknown number twice, once longer", "a2 1864 00 190064 00", LK_ERR_DUPLICATE},
        {"a number below zero twice", "a2 20 00 20 00", LK_ERR_DUPLICATE},
        {"0 twice", "a2 00 00 00 00", LK_ERR_DUPLICATE},
        {"an unknown text twice", "a2 6178 00 6178 00", LK_ERR_DUPLICATE},
        {"unknown bytes twice", "a2 4178 00 4178 00", LK_ERR_DUPLICATE},
        {"unknown bytes twice, others between", "a4 4178 00 20 00 01 6161 4178 00",
         LK_ERR_DUPLICATE},
        {"empty text and empty bytes", "a2 60 00 40 00", LK_OK},
        {"the same as text, bytes, number, and below zero", "a4 6101 00 4101 00 0a 00 2a 00",
         LK_OK},
        {"a label beyond 63 bits", "a1 1b8000000000000000 00", LK_ERR_RANGE},
        {"the greatest label", "a1 1b7fffffffffffffff 00", LK_OK},
        {"a label that is 1 in its lower half", "a2 01 6161 1b0000000100000001 00", LK_OK},
        {"an array as label", "a1 80 00", LK_ERR_TYPE},
        {"a tagged label", "a1 c101 6161", LK_ERR_TYPE},
        {"an unknown label that is not UTF-8", "a1 61ff 00", LK_ERR_UTF8},
        {"an unknown value that is not UTF-8", "a1 0a 61ff", LK_ERR_UTF8},
        {"an unknown value cut off", "a1 0a 8201", LK_ERR_TRUNCATED},
        {"an unknown value tagged", "a1 0a c101", LK_ERR_TYPE},
        {"an unknown value with a tag inside", "a1 0a 81c101", LK_OK},
        {"an unknown value 15 deep", "a1 0a 8181818181818181 81818181818181 00", LK_OK},
        {"an unknown value 16 deep", "a1 0a 8181818181818181 8181818181818181 00", LK_ERR_DEPTH},
        {"iss a number", "a1 01 01", LK_ERR_TYPE},
        {"iss bytes", "a1 01 4161", LK_ERR_TYPE},
        {"iss an array", "a1 01 816161", LK_ERR_TYPE},
        {"iss missing", "a1 01", LK_ERR_TRUNCATED},
        {"iss cut off", "a1 01 6261", LK_ERR_TRUNCATED},
        {"iss longer than memory", "a1 01 7bffffffffffffffff", LK_ERR_TRUNCATED},
        {"iss tagged", "a1 01 c16161", LK_ERR_TYPE},
        {"iss empty", "a1 01 60", LK_OK},
        {"aud empty", "a1 03 80", LK_OK},
        {"aud a number", "a1 03 01", LK_ERR_TYPE},
        {"aud with a number", "a1 03 82 6161 01", LK_ERR_TYPE},
        {"aud with 8", "a1 03 88 6161 6161 6161 6161 6161 6161 6161 6161", LK_OK},
        {"aud with 9", "a1 03 89 6161 6161 6161 6161 6161 6161 6161 6161 6161", LK_ERR_LIMIT},
        {"aud longer than the input", "a1 03 88 6161", LK_ERR_TRUNCATED},
        {"children a text", "a1 686368696c6472656e 6161", LK_ERR_TYPE},
        {"children cut off", "a1 686368696c6472656e 82 6161", LK_ERR_TRUNCATED},
        {"cti a text", "a1 07 6161", LK_ERR_TYPE},
        {"cti cut off", "a1 07 4261", LK_ERR_TRUNCATED},
        {"gen below zero", "a1 6367656e 20", LK_ERR_TYPE},
        {"gen a float", "a1 6367656e f90000", LK_ERR_TYPE},
        {"scope a text with NUL", "a1 09 6100", LK_ERR_MALFORMED},
        {"scope an array cut off", "a1 09 8201", LK_ERR_TRUNCATED},
        {"scope a map", "a1 09 a0", LK_OK},
        {"exp a text", "a1 04 6131", LK_ERR_TYPE},
        {"exp below zero", "a1 04 20", LK_ERR_RANGE},
        {"exp of 2^53", "a1 04 1b0020000000000000", LK_OK},
        {"exp beyond", "a1 04 1b0020000000000001", LK_ERR_RANGE},
        {"exp a float beyond", "a1 04 fb4340000000000001", LK_ERR_RANGE},
        {"exp null", "a1 04 f6", LK_ERR_TYPE},
        {"exp an array", "a1 04 80", LK_ERR_TYPE},
    };
    struct lk_claims claims;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_err(rows[i].name, claims_read(placed(rows[i].hex), &claims), rows[i].err);
}

static void
claims_end_up_in_their_places(void **state)
{
    struct lk_claims c;

    (void)state;
    assert_int_equal(
        claims_read(placed("ad 01 6131 02 6132 03 82 6133 6134 04 05 05 f94600 06 1864 07 4137"
                           "09 6139 6367656e 1b0000000100000002 63647479 6164 63746e74 6174"
                           "686368696c6472656e 82 6178 6179 0a 6130"),
                    &c),
        LK_OK);
    assert_int_equal(c.format, LK_FORMAT_CWT);
    assert_true(lk_span_is(c.issuer, "1") && lk_span_is(c.subject, "2"));
    assert_int_equal(c.audience_count, 2);
    assert_true(lk_span_is(c.audience[0], "3") && lk_span_is(c.audience[1], "4"));
    assert_true(c.has_expires && c.has_not_before && c.has_issued && c.has_generation);
    assert_int_equal(c.expires_s, 5);
    assert_int_equal(c.not_before_s, 6);
    assert_int_equal(c.issued_s, 100);
    assert_true(c.generation == 0x100000002);
    assert_true(lk_span_is(c.token_id, "7") && lk_span_is(c.scope, "9"));
    assert_true(lk_span_is(c.type, "d") && lk_span_is(c.tenant, "t"));
    assert_int_equal(c.children_count, 2);
    assert_true(lk_span_is(c.children[0], "x") && lk_span_is(c.children[1], "y"));
    assert_null(c.client.ptr);
    assert_null(c.scope_data.ptr);
    assert_int_equal(c.cnf, LK_CNF_NONE);
    assert_int_equal(claims_read(placed("a0"), &c), LK_OK);
    assert_true(c.audience_count == 0 && c.children_count == 0 && !c.has_expires);
    assert_null(c.issuer.ptr);
}

/* Any two of many keys that are the same are found, also those that are far from each other. */
/* By name: {"zone": "7", "gen": 1, "none": "", "cut": "a\0b", "list": [1], 2: "s"}. */
static void
claims_are_found_by_name(void **state)
{
    static const char hex[] = "a6 647a6f6e65 6137 6367656e 01 646e6f6e65 60 63637574 63610062"
                              " 646c697374 8101 02 6173";
    static const struct {
        const char *name, *text, *raw; /* NULL: not found */
    } rows[] = {
        {"zone", "7", "6137"},  {"gen", NULL, "01"},  {"none", "", "60"}, {"cut", NULL, "63610062"},
        {"list", NULL, "8101"}, {"nope", NULL, NULL}, {"", NULL, NULL},
    };
    struct lk_claims claims, nothing = {.format = LK_FORMAT_NONE};
    uint8_t room[16], wanted[16];
    struct lk_span value;

    (void)state;
    assert_int_equal(claims_read(placed(hex), &claims), LK_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_span name = lk_span_text(rows[i].name);

        assert_int_equal(lk_claims_get_text(&claims, name, LK_BUF_OF(room), &value),
                         rows[i].text != NULL);
        if (rows[i].text != NULL)
            assert_true(lk_span_is(value, rows[i].text));
        else
            assert_null(value.ptr);
        assert_int_equal(lk_claims_get_raw(&claims, name, &value), rows[i].raw != NULL);
        if (rows[i].raw != NULL)
            assert_true(lk_span_equal(value, hex_bytes(rows[i].raw, LK_BUF_OF(wanted))));
        assert_false(lk_claims_get_text(&nothing, name, LK_BUF_OF(room), &value));
        assert_false(lk_claims_get_raw(&nothing, name, &value));
        assert_null(value.ptr);
    }
}

static void
no_key_is_twice(void **state)
{
    static const char *const forms[] = {"18%02x00", "1900%02x00", "1a000000%02x00"};
    struct lk_claims claims;

    (void)state;
    for (size_t a = 0; a < 40; a++) {
        for (size_t b = a; b < 40; b++) {
            char hex[2 + 2 + 40 * 12 + 1] = "b828";
            size_t len = 4;

            for (size_t i = 0; i < 40; i++)
                len += (size_t)snprintf(hex + len, sizeof(hex) - len, forms[i % COUNT(forms)],
                                        (unsigned)(100 + (i == b ? a : i)));
            assert_int_equal(claims_read(placed(hex), &claims), a == b ? LK_OK : LK_ERR_DUPLICATE);
        }
    }
}

/* Texts of every length, with something else than ASCII at every place. */
static void
texts_are_utf8_without_nul(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum lk_err err;
    } rows[] = {
        {"a", 1, LK_OK},
        {"\x7f", 1, LK_OK},
        {"\0", 1, LK_ERR_MALFORMED},
        {"\x80", 1, LK_ERR_UTF8},
        {"\xc3\xa9", 2, LK_OK},
        {"\xc3", 1, LK_ERR_UTF8},
        {"\xf0\x9f\x98\x80", 4, LK_OK},
        {"\xed\xa0\x80", 3, LK_ERR_UTF8},
    };

    (void)state;
    for (size_t len = 1; len < 24; len++) {
        for (size_t at = 0; at < len; at++) {
            for (size_t i = 0; i < COUNT(rows); i++) {
                uint8_t in[32] = {0xa1, 0x01, (uint8_t)(0x60 | len)};
                struct lk_claims c;

                if (rows[i].len > len - at)
                    continue;
                memset(in + 3, 'x', len);
                memcpy(in + 3 + at, rows[i].bytes, rows[i].len);
                /* a lead byte alone: nothing may follow that would complete it */
                assert_err("text",
                           claims_read(lk_span_of(guard_put(&guard, in, 3 + len), 3 + len), &c),
                           rows[i].err);
                if (rows[i].err == LK_OK)
                    assert_int_equal(c.issuer.len, len);
            }
        }
    }
}

static void
confirmations_are_of_one_kind(void **state)
{
    static const struct {
        const char *name, *hex;
        enum lk_err err;
        enum lk_cnf_kind kind;
        size_t len;
    } rows[] = {
        {"COSE_Key", "a1 01 a10102", LK_OK, LK_CNF_KEY, 3},
        {"COSE_Key no map", "a1 01 4101", LK_ERR_TYPE, LK_CNF_NONE, 0},
        {"COSE_Key bytes, a map follows", "a2 01 40 a0 01", LK_ERR_TYPE, LK_CNF_NONE, 0},
        {"COSE_Key a symmetric one", "a1 01 a20104204101", LK_OK, LK_CNF_KEY, 6},
        {"COSE_Encrypt0", "a1 02 8340a040", LK_OK, LK_CNF_ENCRYPTED, 4},
        {"COSE_Encrypt0 tagged", "a1 02 d08340a040", LK_OK, LK_CNF_ENCRYPTED, 5},
        {"COSE_Encrypt0, its tag in two bytes", "a1 02 d8108340a040", LK_OK, LK_CNF_ENCRYPTED, 6},
        {"COSE_Encrypt0 tagged twice", "a1 02 d0d08340a040", LK_OK, LK_CNF_OTHER, 0},
        {"COSE_Encrypt0 with another tag", "a1 02 d18340a040", LK_OK, LK_CNF_OTHER, 0},
        {"COSE_Encrypt", "a1 02 8440a04080", LK_OK, LK_CNF_OTHER, 0},
        {"COSE_Encrypt0 no array", "a1 02 43010203", LK_OK, LK_CNF_OTHER, 0},
        {"COSE_Encrypt0 cut off", "a1 02 8340a0", LK_ERR_TRUNCATED, LK_CNF_NONE, 0},
        {"tag 16 on nothing", "a1 02 d0", LK_ERR_TRUNCATED, LK_CNF_NONE, 0},
        {"kid", "a1 03 4401020304", LK_OK, LK_CNF_KID, 4},
        {"kid a text", "a1 03 6161", LK_ERR_TYPE, LK_CNF_NONE, 0},
        {"kid cut off", "a1 03 44010203", LK_ERR_TRUNCATED, LK_CNF_NONE, 0},
        {"osc", "a1 04 a0", LK_OK, LK_CNF_OTHER, 0},
        {"ckt", "a1 05 5820" BYTES32, LK_OK, LK_CNF_THUMBPRINT, 32},
        {"ckt too short", "a1 05 581f" TEN TEN TEN "0a", LK_OK, LK_CNF_OTHER, 0},
        {"ckt too long", "a1 05 5821" BYTES32 "00", LK_OK, LK_CNF_OTHER, 0},
        {"ckt a text", "a1 05 7820" BYTES32, LK_OK, LK_CNF_OTHER, 0},
        {"ckt a number", "a1 05 1820", LK_OK, LK_CNF_OTHER, 0},
        {"ckt and kid", "a2 05 5820" BYTES32 "03 4101", LK_OK, LK_CNF_OTHER, 0},
        {"kid and ckt too short", "a2 03 4101 05 4101", LK_OK, LK_CNF_OTHER, 0},
        {"COSE_Encrypt0 and COSE_Key", "a2 02 8340a040 01 a0", LK_OK, LK_CNF_OTHER, 0},
        {"kid and osc", "a2 03 4101 04 a0", LK_OK, LK_CNF_OTHER, 0},
        {"ckt and something unknown", "a2 6178 00 05 5820" BYTES32, LK_OK, LK_CNF_THUMBPRINT, 32},
        {"ckt and 6", "a2 05 5820" BYTES32 "06 00", LK_OK, LK_CNF_THUMBPRINT, 32},
        {"kid and a label that is 3 in its lower half", "a2 03 4101 1b0000000100000003 00", LK_OK,
         LK_CNF_KID, 1},
        {"kid twice", "a2 03 4101 03 4101", LK_ERR_DUPLICATE, LK_CNF_NONE, 0},
        {"something unknown twice", "a3 03 4101 20 00 20 00", LK_ERR_DUPLICATE, LK_CNF_NONE, 0},
        {"an array as label", "a1 80 00", LK_ERR_TYPE, LK_CNF_NONE, 0},
        {"no map", "80", LK_ERR_TYPE, LK_CNF_NONE, 0},
        {"a value 14 deep", "a1 20 8181818181818181 818181818181 00", LK_OK, LK_CNF_OTHER, 0},
        {"a value 15 deep", "a1 20 8181818181818181 81818181818181 00", LK_ERR_DEPTH, LK_CNF_NONE,
         0},
    };
    struct lk_claims claims;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char hex[256];

        snprintf(hex, sizeof(hex), "a1 08 %s", rows[i].hex);
        assert_err(rows[i].name, claims_read(placed(hex), &claims), rows[i].err);
        if (claims.cnf != rows[i].kind || claims.cnf_value.len != rows[i].len)
            fail_msg("%s: kind %d, %zu bytes", rows[i].name, (int)claims.cnf, claims.cnf_value.len);
    }
}

static void
labels_are_told_apart(void **state)
{
    static const struct {
        const char *name, *hex; /* of an array without its signature */
        enum lk_err err;
    } rows[] = {
        {"good", "84 43a10126 a0 41a0", LK_OK},
        {"an unknown label in each bucket", "84 46a20126186400 a1 186500 41a0", LK_OK},
        {"the same unknown label in both buckets", "84 46a20126186400 a1 186400 41a0",
         LK_ERR_DUPLICATE},
        {"the same, once longer", "84 46a20126186400 a1 19006400 41a0", LK_ERR_DUPLICATE},
        {"the same below zero", "84 45a201262000 a1 2000 41a0", LK_ERR_DUPLICATE},
        {"a number and the one below zero with its argument", "84 46a20126186400 a1 386400 41a0",
         LK_OK},
        {"an unknown label twice, unprotected", "84 43a10126 a2 186400 186400 41a0",
         LK_ERR_DUPLICATE},
        {"a small unknown label twice, unprotected", "84 43a10126 a2 0500 0500 41a0",
         LK_ERR_DUPLICATE},
        {"a small unknown label in both buckets", "84 45a201260500 a1 0500 41a0", LK_ERR_DUPLICATE},
        {"a text label twice, protected", "84 49a30126617800617800 a0 41a0", LK_ERR_DUPLICATE},
        {"a label beyond 63 bits", "84 43a10126 a1 1bffffffffffffffff00 41a0", LK_ERR_RANGE},
        {"a label that is 1 in its lower half", "84 43a10126 a1 1b000000010000000100 41a0", LK_OK},
        {"alg beyond 63 bits", "84 4ba1013bffffffffffffffff a0 41a0", LK_ERR_RANGE},
        {"alg an array", "84 43a10180 a0 41a0", LK_ERR_TYPE},
        {"alg unprotected, of any type", "84 40 a10180 41a0", LK_ERR_ALG},
        {"three items", "83 43a10126 a0 41a0", LK_ERR_MALFORMED},
        {"payload null", "84 43a10126 a0 f6", LK_ERR_MISSING},
        {"payload a float", "84 43a10126 a0 f90000", LK_ERR_TYPE},
        {"payload a text", "84 43a10126 a0 6161", LK_ERR_TYPE},
        {"protected a map", "84 a10126 a0 41a0", LK_ERR_TYPE},
        {"crit names a label below zero", "84 46a2012602 8120 a0 41a0", LK_ERR_CRIT},
        {"crit names itself", "84 46a2012602 8102 a0 41a0", LK_ERR_CRIT},
        {"crit cut off", "84 46a2012602 8201 a0 41a0", LK_ERR_TRUNCATED},
        {"crit names alg twice", "84 47a2012602 820101 a0 41a0", LK_OK},
    };
    static const struct lk_cose zero;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char hex[128];
        struct lk_cose cose;

        snprintf(hex, sizeof(hex), "%s 4100", rows[i].hex);
        assert_err(rows[i].name, lk_cose_parse(placed(hex), LK_COSE_SIGN1, &cose), rows[i].err);
        if (rows[i].err != LK_OK)
            assert_memory_equal(&cose, &zero, sizeof(zero));
    }
}

static struct lk_key
key_make(enum lk_alg alg, size_t kid_len)
{
    struct lk_key key = {.alg = alg, .kid_len = kid_len, .has_private = true};

    memset(key.kid, 'k', kid_len);
    if (alg == LK_ALG_HS256 || alg == LK_ALG_HS256_64)
        key.u.oct.len = 32;
    assert_int_equal(lk_key_open(&key), LK_OK);
    return key;
}

/* What is written is read as our own form, and it is what any reader reads. Nothing else is. */
static void
own_form(enum lk_alg alg, size_t kid_len, size_t payload_len)
{
    static uint8_t payload[70000], room[71000];
    static const struct lk_cose zero;
    struct lk_key key = key_make(alg, kid_len);
    struct lk_cose own, any;
    struct lk_span out;

    assert_int_equal(
        lk_cose_write_cwt(&key, lk_span_of(payload, payload_len), LK_BUF_OF(room), &out), LK_OK);
    memset(&own, 0, sizeof(own));
    assert_true(lk_cose_parse_own(out, &own));
    assert_int_equal(lk_cose_parse(out, LK_COSE_NONE, &any), LK_OK);
    assert_memory_equal(&own, &any, sizeof(any));
    assert_int_equal(own.alg, alg);
    assert_int_equal(own.kid.len, kid_len);
    assert_int_equal(own.payload.len, payload_len);
    for (size_t at = 0; at < (size_t)(own.signature.ptr - out.ptr) && payload_len < 300; at++) {
        bool is_content = at >= (size_t)(own.payload.ptr - out.ptr) &&
                          at < (size_t)(own.payload.ptr - out.ptr) + payload_len;
        bool is_kid =
            at >= (size_t)(own.kid.ptr - out.ptr) && at < (size_t)(own.kid.ptr - out.ptr) + kid_len;
        struct lk_cose read;

        room[at] ^= 0x40;
        if (lk_cose_parse_own(out, &read) != (is_content || is_kid))
            fail_msg("byte %zu changed", at);
        if (!is_content && !is_kid)
            assert_memory_equal(&read, &zero, sizeof(zero));
        room[at] ^= 0x40;
        assert_false(lk_cose_parse_own(lk_span_of(out.ptr, at), &read));
    }
    room[out.len] = 0;
    assert_false(lk_cose_parse_own(lk_span_of(out.ptr, out.len + 1), &own));
    lk_key_wipe(&key);
}

static void
our_own_form_is_one(void **state)
{
    static const enum lk_alg algs[] = {LK_ALG_ES256, LK_ALG_EDDSA, LK_ALG_HS256, LK_ALG_HS256_64};
    static const size_t kids[] = {1, 11, 17, 18, 23, 24, LK_KID_MAX};
    static const size_t payloads[] = {0, 23, 24, 255, 256, 65535, 65536};

    (void)state;
    for (size_t a = 0; a < COUNT(algs); a++)
        for (size_t k = 0; k < COUNT(kids); k++)
            for (size_t p = 0; p < COUNT(payloads); p++)
                own_form(algs[a], kids[k], payloads[p]);
}

/* Good messages, but not in our own form. The first one is, so the others fail for their reason. */
static void
other_forms_are_not_our_own(void **state)
{
    static const struct {
        const char *name, *hex;
        bool own;
    } rows[] = {
        {"own", "d83dd284 47a20126044 26563 a0 41a0 5840", true},
        {"no tag 61", "d284 47a20126044 26563 a0 41a0 5840", false},
        {"untagged", "84 47a20126044 26563 a0 41a0 5840", false},
        {"tag 61 in three bytes", "d9003dd284 47a20126044 26563 a0 41a0 5840", false},
        {"tag 18 in two bytes", "d83dd81284 47a20126044 26563 a0 41a0 5840", false},
        {"array in two bytes", "d83dd29804 47a20126044 26563 a0 41a0 5840", false},
        {"protected in two bytes", "d83dd284 5807a20126044 26563 a0 41a0 5840", false},
        {"protected map in two bytes", "d83dd284 48b8020126044 26563 a0 41a0 5840", false},
        {"label in two bytes", "d83dd284 48a2180126044 26563 a0 41a0 5840", false},
        {"alg in two bytes", "d83dd284 48a2013806044 26563 a0 41a0 5840", false},
        {"alg by its new id", "d83dd284 47a20128044 26563 a0 41a0 5840", false},
        {"alg behind kid", "d83dd284 47a20442 65630126 a0 41a0 5840", false},
        {"kid in two bytes", "d83dd284 48a2012604580 26563 a0 41a0 5840", false},
        {"kid empty", "d83dd284 45a201260440 a0 41a0 5840", false},
        {"no kid", "d83dd284 43a10126 a0 41a0 5840", false},
        {"another label behind", "d83dd284 49a30126044 265630500 a0 41a0 5840", false},
        {"unprotected map in two bytes", "d83dd284 47a20126044 26563 b800 41a0 5840", false},
        {"something unprotected", "d83dd284 47a20126044 26563 a10500 41a0 5840", false},
        {"payload in two bytes", "d83dd284 47a20126044 26563 a0 5801a0 5840", false},
        {"signature in three bytes", "d83dd284 47a20126044 26563 a0 41a0 590040", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char hex[256];
        size_t len = 0;
        struct lk_cose own, any;
        struct lk_span in;

        for (const char *c = rows[i].hex; *c != '\0'; c++)
            if (*c != ' ')
                hex[len++] = *c;
        memset(hex + len, '1', 128); /* a signature with a low s */
        hex[len + 128] = '\0';
        in = placed(hex);
        assert_err(rows[i].name, lk_cose_parse(in, LK_COSE_SIGN1, &any), LK_OK);
        if (lk_cose_parse_own(in, &own) != rows[i].own)
            fail_msg("%s", rows[i].name);
        memset(hex + len, 'f', 128);
        assert_false(lk_cose_parse_own(placed(hex), &own));
    }
    assert_false(lk_cose_parse_own((struct lk_span){NULL, 0}, &(struct lk_cose){.kid = {NULL, 0}}));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_are_taken_or_refused),
        cmocka_unit_test(claims_end_up_in_their_places),
        cmocka_unit_test(claims_are_found_by_name),
        cmocka_unit_test(no_key_is_twice),
        cmocka_unit_test(texts_are_utf8_without_nul),
        cmocka_unit_test(confirmations_are_of_one_kind),
        cmocka_unit_test(labels_are_told_apart),
        cmocka_unit_test(our_own_form_is_one),
        cmocka_unit_test(other_forms_are_not_our_own),
    };
    int failed;

    guard = guard_open(1024);
    failed = cmocka_run_group_tests_name("cwt", tests, NULL, NULL);
    guard_close(&guard);
    return failed;
}
