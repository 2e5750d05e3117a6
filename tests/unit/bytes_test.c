#include <stdio.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/bytes.h>
#include <latchkey/key.h>

#include "cmocka_all.h"
#include "guard.h"
#include "hex.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void
utf8_is_told_from_what_only_looks_like_it(void **state)
{
    static const struct {
        const char *name, *hex;
        bool valid;
    } rows[] = {
        {"nothing", "", true},
        {"ASCII with NUL", "6100", true},
        {"two bytes", "c3a9", true},
        {"three bytes", "e282ac", true},
        {"four bytes", "f09f9880", true},
        {"the last code point", "f48fbfbf", true},
        {"above the last code point", "f4908080", false},
        {"lead of five", "f888808080", false},
        {"overlong slash", "c0af", false},
        {"overlong in three", "e09fbf", false},
        {"overlong in four", "f08fbfbf", false},
        {"high surrogate", "eda080", false},
        {"low surrogate", "edbfbf", false},
        {"last before the surrogates", "ed9fbf", true},
        {"first behind the surrogates", "ee8080", true},
        {"continuation alone", "80", false},
        {"cut after one of two", "c3", false},
        {"cut after three of four", "f09f98", false},
        {"second byte of another kind", "c341", false},
        {"third byte of another kind", "e28241", false},
    };
    struct guard g = guard_open(64);
    uint8_t room[16];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_span in = hex_bytes(rows[i].hex, LK_BUF_OF(room));

        in.ptr = guard_put(&g, in.ptr, in.len);
        if (lk_utf8_is_valid(in) != rows[i].valid)
            fail_msg("%s", rows[i].name);
    }
    guard_close(&g);
}

/* Unicode, table 3-7, row by row: what every sequence is held against. */
static bool
is_sequence(const uint8_t *b, size_t len)
{
    static const struct {
        uint8_t len, lead_min, lead_max, second_min, second_max;
    } rows[] = {
        {1, 0x00, 0x7f, 0, 0},       {2, 0xc2, 0xdf, 0x80, 0xbf}, {3, 0xe0, 0xe0, 0xa0, 0xbf},
        {3, 0xe1, 0xec, 0x80, 0xbf}, {3, 0xed, 0xed, 0x80, 0x9f}, {3, 0xee, 0xef, 0x80, 0xbf},
        {4, 0xf0, 0xf0, 0x90, 0xbf}, {4, 0xf1, 0xf3, 0x80, 0xbf}, {4, 0xf4, 0xf4, 0x80, 0x8f},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].len != len || b[0] < rows[i].lead_min || b[0] > rows[i].lead_max)
            continue;
        if (len > 1 && (b[1] < rows[i].second_min || b[1] > rows[i].second_max))
            return false;
        for (size_t k = 2; k < len; k++)
            if (b[k] < 0x80 || b[k] > 0xbf)
                return false;
        return true;
    }
    return false;
}

static bool
is_text(const uint8_t *b, size_t len)
{
    for (size_t n = 1; n <= 4 && n <= len; n++)
        if (is_sequence(b, n))
            return is_text(b + n, len - n);
    return len == 0;
}

/* Every lead with every second byte, and with the ends of all ranges behind them. */
static void
utf8_is_what_the_table_says(void **state)
{
    static const uint8_t ends[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};

    (void)state;
    for (unsigned start = 0; start < 0x10000; start++) {
        for (size_t i = 0; i < COUNT(ends) * COUNT(ends); i++) {
            const uint8_t b[] = {(uint8_t)(start >> 8), (uint8_t)start, ends[i / COUNT(ends)],
                                 ends[i % COUNT(ends)]};

            for (size_t len = 1; len <= sizeof(b); len++)
                if (lk_utf8_is_valid(lk_span_of(b, len)) != is_text(b, len))
                    fail_msg("%02x%02x%02x%02x, %zu bytes", b[0], b[1], b[2], b[3], len);
        }
    }
}

/* Wherever it stands, in texts of every length up to some words. */
static void
utf8_is_seen_everywhere(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {{"\xc3\xa9", 2}, {"\xf0\x9f\x98\x80", 4}, {"\x80", 1}, {"\xff", 1}, {"\xc3", 1}};
    struct guard g = guard_open(64);

    (void)state;
    for (size_t len = 1; len < 40; len++) {
        for (size_t at = 0; at < len; at++) {
            for (size_t i = 0; i < COUNT(rows) && rows[i].len <= len - at; i++) {
                uint8_t *text = guard_room(&g, len);

                memset(text, 'x', len);
                memcpy(text + at, rows[i].bytes, rows[i].len);
                assert_int_equal(lk_utf8_is_valid(lk_span_of(text, len)), rows[i].len > 1);
            }
        }
    }
    guard_close(&g);
}

static void
spans_compare_by_content(void **state)
{
    (void)state;
    assert_true(lk_span_equal(lk_span_text("abc"), LK_SPAN("abc")));
    assert_false(lk_span_equal(LK_SPAN("abc"), LK_SPAN("abd")));
    assert_false(lk_span_equal(LK_SPAN("abc"), LK_SPAN("ab")));
    assert_true(lk_span_equal((struct lk_span){NULL, 0}, LK_SPAN("")));
    assert_true(lk_span_is(LK_SPAN("kid"), "kid"));
    assert_false(lk_span_is(LK_SPAN("kid"), "kids"));
    assert_null(lk_span_text(NULL).ptr);
    assert_true(lk_equal_ct(LK_SPAN("secret"), LK_SPAN("secret")));
    assert_false(lk_equal_ct(LK_SPAN("secret"), LK_SPAN("secreT")));
    assert_false(lk_equal_ct(LK_SPAN("Secret"), LK_SPAN("secret")));
    assert_false(lk_equal_ct(LK_SPAN("secret"), LK_SPAN("secre")));
    assert_true(lk_equal_ct((struct lk_span){NULL, 0}, LK_SPAN("")));
}

static void
wipe_leaves_zeros(void **state)
{
    uint8_t secret[40], zeros[40] = {0};

    (void)state;
    memset(secret, 0xa5, sizeof(secret));
    lk_wipe(secret, sizeof(secret));
    assert_memory_equal(secret, zeros, sizeof(secret));
    lk_wipe(NULL, 0);
}

static void
base64url_is_canonical(void **state)
{
    static const struct {
        const char *name, *text, *hex;
        enum lk_err err;
    } rows[] = {
        {"nothing", "", "", LK_OK},
        {"one byte", "Zg", "66", LK_OK},
        {"two bytes", "Zm8", "666f", LK_OK},
        {"three bytes", "Zm9v", "666f6f", LK_OK},
        {"both special characters", "-_-_", "fbffbf", LK_OK},
        {"all bits", "____", "ffffff", LK_OK},
        {"a left-over character", "Z", "", LK_ERR_BASE64},
        {"five characters", "Zm9vY", "", LK_ERR_BASE64},
        {"padding", "Zg==", "", LK_ERR_BASE64},
        {"the other alphabet", "+/+/", "", LK_ERR_BASE64},
        {"space", "Zm 9", "", LK_ERR_BASE64},
        {"line end", "Zm9\n", "", LK_ERR_BASE64},
        {"trailing bits of one byte", "Zh", "", LK_ERR_BASE64},
        {"trailing bits of two bytes", "Zm9", "", LK_ERR_BASE64},
        {"NUL", "Zm\x01v", "", LK_ERR_BASE64},
        {"a high byte",
         "Zm\xff"
         "v",
         "", LK_ERR_BASE64},
    };
    struct guard g = guard_open(64), h = guard_open(64);

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = strlen(rows[i].text), need = len * 3 / 4;
        struct lk_span text = {guard_put(&g, rows[i].text, len), len};
        struct lk_buf room = {guard_room(&h, need), need};
        uint8_t bytes[16];
        struct lk_span wanted = hex_bytes(rows[i].hex, LK_BUF_OF(bytes)), got, back;

        assert_err(rows[i].name, lk_base64url_decode(text, room, &got), rows[i].err);
        if (rows[i].err != LK_OK) {
            assert_null(got.ptr);
            continue;
        }
        assert_true(lk_span_equal(got, wanted));
        if (need > 0)
            assert_err(rows[i].name,
                       lk_base64url_decode(text, (struct lk_buf){room.ptr, need - 1}, &got),
                       LK_ERR_NO_SPACE);
        room = (struct lk_buf){guard_room(&h, len), len};
        assert_int_equal(LK_BASE64URL_LEN(wanted.len), len);
        assert_err(rows[i].name, lk_base64url_encode(wanted, room, &back), LK_OK);
        assert_true(lk_span_equal(back, text));
        if (len > 0)
            assert_err(rows[i].name,
                       lk_base64url_encode(wanted, (struct lk_buf){room.ptr, len - 1}, &back),
                       LK_ERR_NO_SPACE);
    }
    guard_close(&g);
    guard_close(&h);
}

/* Of all texts of one to three characters, those that decode are exactly those that encode. */
static void
base64url_has_one_text_for_a_value(void **state)
{
    uint8_t text[2], bytes[2], again[3];
    struct lk_span out, back;

    (void)state;
    for (unsigned i = 0; i < 0x10000; i++) {
        text[0] = (uint8_t)(i >> 8);
        text[1] = (uint8_t)i;
        if (lk_base64url_decode(lk_span_of(text, 2), LK_BUF_OF(bytes), &out) != LK_OK)
            continue;
        assert_int_equal(lk_base64url_encode(out, LK_BUF_OF(again), &back), LK_OK);
        assert_true(lk_span_equal(back, lk_span_of(text, 2)));
    }
}

static void
base64url_decodes_in_place(void **state)
{
    uint8_t text[] = "TGF0Y2hrZXk";
    struct lk_span in = lk_span_of(text, sizeof(text) - 1), out;

    (void)state;
    assert_int_equal(lk_base64url_decode(in, LK_BUF_OF(text), &out), LK_OK);
    assert_true(lk_span_is(out, "Latchkey"));
}

static void
errors_have_names(void **state)
{
    (void)state;
    assert_string_equal(lk_err_name(LK_OK), "OK");
    assert_string_equal(lk_err_name(LK_ERR_EXPIRED), "EXPIRED");
    assert_string_equal(lk_err_text(LK_ERR_EXPIRED), "the token has expired");
    assert_string_equal(lk_err_name((enum lk_err)999), "UNKNOWN");
    assert_non_null(lk_err_text((enum lk_err)999));
}

static void
algorithms_have_two_ids(void **state)
{
    static const struct {
        enum lk_alg alg;
        int64_t cose, also;
        const char *jose;
        size_t signature_len;
    } rows[] = {
        {LK_ALG_ES256, -7, -9, "ES256", 64},    {LK_ALG_EDDSA, -8, -19, "EdDSA", 64},
        {LK_ALG_HS256, 5, 5, "HS256", 32},      {LK_ALG_HS256_64, 4, 4, NULL, 8},
        {LK_ALG_RS256, -257, -257, "RS256", 0},
    };
    static const char *const none[] = {"none",  "None",   "NONE", "nOnE",
                                       "HS384", "ES256 ", "",     "HS256/64"};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(lk_alg_to_cose(rows[i].alg), rows[i].cose);
        assert_int_equal(lk_alg_from_cose(rows[i].cose), rows[i].alg);
        assert_int_equal(lk_alg_from_cose(rows[i].also), rows[i].alg);
        assert_int_equal(lk_alg_signature_len(rows[i].alg), rows[i].signature_len);
        if (rows[i].jose != NULL)
            assert_int_equal(lk_alg_from_jose(lk_span_text(rows[i].jose)), rows[i].alg);
    }
    assert_int_equal(lk_alg_from_jose(LK_SPAN("Ed25519")), LK_ALG_EDDSA);
    assert_int_equal(lk_alg_from_cose(0), LK_ALG_NONE);
    assert_int_equal(lk_alg_from_cose(-35), LK_ALG_NONE);
    for (size_t i = 0; i < COUNT(none); i++)
        assert_int_equal(lk_alg_from_jose(lk_span_text(none[i])), LK_ALG_NONE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_is_told_from_what_only_looks_like_it),
        cmocka_unit_test(utf8_is_what_the_table_says),
        cmocka_unit_test(utf8_is_seen_everywhere),
        cmocka_unit_test(spans_compare_by_content),
        cmocka_unit_test(wipe_leaves_zeros),
        cmocka_unit_test(base64url_is_canonical),
        cmocka_unit_test(base64url_has_one_text_for_a_value),
        cmocka_unit_test(base64url_decodes_in_place),
        cmocka_unit_test(errors_have_names),
        cmocka_unit_test(algorithms_have_two_ids),
    };

    return cmocka_run_group_tests_name("bytes", tests, NULL, NULL);
}
