#include <latchkey/device/token_request.h>

#include <string.h>

#include "cmocka_all.h"
#include "guard.h"
#include "hex.h"

static void
assert_request(const char *name, const struct lk_token_request *q, const char *hex)
{
    struct guard guard = guard_open(512);
    uint8_t bytes[512], want_room[512];
    struct lk_span body, want = hex_bytes(hex, LK_BUF_OF(want_room));
    size_t cap;

    assert_err(name, lk_token_request_write(q, LK_BUF_OF(bytes), &body), LK_OK);
    if (!lk_span_equal(body, want))
        fail_msg("%s: other bytes", name);
    for (cap = 0; cap < want.len; cap++) {
        struct lk_buf room = {guard_room(&guard, cap), cap};

        assert_err(name, lk_token_request_write(q, room, &body), LK_ERR_NO_SPACE);
        assert_null(body.ptr);
    }
    guard_close(&guard);
}

static void
requests_are_deterministic_cbor(void **state)
{
    struct lk_token_request q = {.client_id = LK_SPAN("dev1"), .client_secret = LK_SPAN("sek")};

    (void)state;
    assert_request("client_credentials, least", &q, "a3 1818 6464657631 1819 4373656b 1821 02");
    q.format = LK_FORMAT_CWT;
    q.expires_in_s = 20;
    assert_request("with format and lifetime", &q,
                   "a5 02 14 1818 6464657631 1819 4373656b 1821 02 3a00010000 63637774");
    q.format = LK_FORMAT_JWT;
    q.audience = LK_SPAN("mqtt");
    q.scope = LK_SPAN("a:b");
    q.refresh_token = LK_SPAN("r");
    assert_request("refresh_token, all there is", &q,
                   "a8 02 14 05 646d717474 09 63613a62 1818 6464657631 1819 4373656b 1821 03"
                   " 1825 4172 3a00010000 636a7774");
}

static void
requests_need_id_and_secret(void **state)
{
    const struct lk_token_request rows[] = {
        {.client_secret = LK_SPAN("s")},
        {.client_id = LK_SPAN("d")},
        {.client_id = LK_SPAN("\xff"), .client_secret = LK_SPAN("s")},
        {.client_id = LK_SPAN("d"), .client_secret = LK_SPAN("s"), .scope = LK_SPAN("\xff")},
        {.client_id = LK_SPAN("d"), .client_secret = LK_SPAN("s"), .audience = LK_SPAN("\xff")},
    };
    uint8_t bytes[64];
    struct lk_span body;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_err("row", lk_token_request_write(&rows[i], LK_BUF_OF(bytes), &body), LK_ERR_ARG);
}

static const struct {
    const char *name, *hex;
    enum lk_err want;
    uint32_t expires_in_s;
    int32_t error;
} answers[] = {
    {"token", "a2 01 43 aabbcc 02 1903e8", LK_OK, 1000, 0},
    {"token, bearer, refresh, scope", "a5 01 43 aabbcc 02 14 09 63 613a62 1822 01 1825 42 7272",
     LK_OK, 20, 0},
    {"unknown keys are ignored", "a4 01 41 aa 02 14 1903e7 01 61 78 80", LK_OK, 20, 0},
    {"scope as bytes", "a3 01 41 aa 02 14 09 41 80", LK_OK, 20, 0},
    {"lifetime longer than believed", "a2 01 41 aa 02 1b 00000001 00000000", LK_OK, 31622400, 0},
    {"error", "a1 181e 02", LK_OK, 0, 2},
    {"error with description", "a2 181e 03 181f 62 6e6f", LK_OK, 0, 3},
    {"error of private use", "a1 181e 3a 00010000", LK_OK, 0, -65537},
    {"error 0 is an error", "a1 181e 00", LK_OK, 0, 1},

    {"no token", "a1 02 14", LK_ERR_MISSING, 0, 0},
    {"empty token", "a2 01 40 02 14", LK_ERR_MISSING, 0, 0},
    {"no lifetime", "a1 01 41 aa", LK_ERR_MISSING, 0, 0},
    {"lifetime 0", "a2 01 41 aa 02 00", LK_ERR_MISSING, 0, 0},
    {"lifetime negative", "a2 01 41 aa 02 20", LK_ERR_RANGE, 0, 0},
    {"lifetime beyond 2^63", "a2 01 41 aa 02 1b ffffffffffffffff", LK_ERR_RANGE, 0, 0},
    {"lifetime as text", "a2 01 41 aa 02 61 35", LK_ERR_TYPE, 0, 0},
    {"token as text", "a2 01 61 61 02 14", LK_ERR_TYPE, 0, 0},
    {"refresh token as text", "a3 01 41 aa 02 14 1825 61 72", LK_ERR_TYPE, 0, 0},
    {"proof of possession", "a3 01 41 aa 02 14 1822 02", LK_ERR_BOUND, 0, 0},
    {"a key", "a3 01 41 aa 02 14 08 a0", LK_ERR_BOUND, 0, 0},
    {"error as text", "a1 181e 61 78", LK_ERR_TYPE, 0, 0},
    {"token and error", "a3 01 41 aa 02 14 181e 02", LK_ERR_MALFORMED, 0, 0},
    {"token twice", "a3 01 41 aa 01 41 bb 02 14", LK_ERR_DUPLICATE, 0, 0},
    {"an array", "82 41 aa 14", LK_ERR_TYPE, 0, 0},
    {"bytes behind the map", "a2 01 41 aa 02 14 00", LK_ERR_TRAILING, 0, 0},
    {"an indefinite map", "bf 01 41 aa 02 14 ff", LK_ERR_MALFORMED, 0, 0},
};

static void
answers_are_read(void **state)
{
    struct guard guard = guard_open(256);
    size_t i, cut;

    (void)state;
    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        uint8_t room[256];
        struct lk_span body = hex_bytes(answers[i].hex, LK_BUF_OF(room));
        struct lk_token_answer a;

        body.ptr = guard_put(&guard, body.ptr, body.len);
        assert_err(answers[i].name, lk_token_answer_parse(body, &a), answers[i].want);
        if (a.expires_in_s != answers[i].expires_in_s || a.error != answers[i].error)
            fail_msg("%s: %u s, error %d", answers[i].name, a.expires_in_s, (int)a.error);
        if (answers[i].want != LK_OK)
            continue;
        for (cut = 0; cut < body.len; cut++) {
            struct lk_span part = {
                guard_put(&guard, hex_bytes(answers[i].hex, LK_BUF_OF(room)).ptr, cut), cut};

            if (lk_token_answer_parse(part, &a) == LK_OK)
                fail_msg("%s: read after %zu bytes", answers[i].name, cut);
            assert_null(a.access_token.ptr);
        }
    }
    guard_close(&guard);
}

static void
parts_of_an_answer(void **state)
{
    uint8_t room[64];
    struct lk_token_answer a;

    (void)state;
    assert_err("parts", lk_token_answer_parse(hex_bytes(answers[1].hex, LK_BUF_OF(room)), &a),
               LK_OK);
    assert_int_equal(a.access_token.len, 3);
    assert_int_equal(a.access_token.ptr[2], 0xcc);
    assert_true(lk_span_is(a.refresh_token, "rr"));
    assert_true(lk_span_is(a.scope, "a:b"));
    assert_string_equal(lk_oauth_error_name(LK_OAUTH_INVALID_GRANT), "invalid_grant");
    assert_string_equal(lk_oauth_error_name(-65537), "unknown");
    assert_string_equal(lk_oauth_error_name(9), "unknown");
}

static void
mutations_stay_inside(void **state)
{
    struct guard guard = guard_open(256);
    uint32_t seed = 521288629u;
    unsigned round;

    (void)state;
    for (round = 0; round < 200000; round++) {
        uint8_t room[256];
        size_t row = round % (sizeof(answers) / sizeof(answers[0]));
        struct lk_span body = hex_bytes(answers[row].hex, LK_BUF_OF(room));
        struct lk_token_answer a;
        unsigned changes = 1 + round % 3;

        while (changes-- > 0) {
            seed = seed * 1664525u + 1013904223u;
            room[(seed >> 8) % body.len] = (uint8_t)(seed >> 16);
        }
        body.ptr = guard_put(&guard, body.ptr, body.len);
        if (lk_token_answer_parse(body, &a) == LK_OK && a.error == 0)
            assert_true(a.access_token.ptr >= body.ptr &&
                        a.access_token.ptr + a.access_token.len <= body.ptr + body.len &&
                        a.expires_in_s > 0);
    }
    guard_close(&guard);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_deterministic_cbor),
        cmocka_unit_test(requests_need_id_and_secret),
        cmocka_unit_test(answers_are_read),
        cmocka_unit_test(parts_of_an_answer),
        cmocka_unit_test(mutations_stay_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
