#include <latchkey/device/source.h>

#include <stdio.h>
#include <string.h>

#include <latchkey/cbor.h>

#include "cmocka_all.h"
#include "device_script.h"

#define T0 1000000u /* the clock need not begin at 0 */

struct bench {
    struct script link;
    struct chance chance;
    struct lk_source source;
    uint64_t now_ms;
    uint8_t token_room[256], work_room[768];
};

static void
bench_open(struct bench *b)
{
    struct lk_source_config config;

    memset(b, 0, sizeof(*b));
    b->link.end = LK_ERR_BUSY;
    b->now_ms = T0;
    b->chance.bits = UINT32_MAX / 2; /* the middle */
    config = (struct lk_source_config){
        .link = script_transport(&b->link),
        .random = chance_random(&b->chance),
        .host = LK_SPAN("latchkey.example:8443"),
        .client_id = LK_SPAN("pump-7"),
        .client_secret = LK_SPAN("a-secret-of-the-device"),
        .format = LK_FORMAT_CWT,
        .token_room = LK_BUF_OF(b->token_room),
        .work_room = LK_BUF_OF(b->work_room),
    };
    assert_err("init", lk_source_init(&b->source, &config), LK_OK);
}

static struct lk_want
step(struct bench *b)
{
    return lk_source_step(&b->source, b->now_ms);
}

static bool
holds(const void *room, size_t len, const char *text)
{
    size_t want = strlen(text), i;

    for (i = 0; i + want <= len; i++) {
        if (memcmp((const uint8_t *)room + i, text, want) == 0)
            return true;
    }
    return false;
}

/* Status, optional headers and a body of CBOR. */
static void
say_answer(struct bench *b, unsigned status, const char *headers, struct lk_span body)
{
    char head[512];
    int len = snprintf(head, sizeof(head),
                       "HTTP/1.1 %u X\r\nContent-Type: application/ace+cbor\r\n%sContent-Length: "
                       "%zu\r\n\r\n",
                       status, headers, body.len);

    script_say(&b->link, lk_span_of(head, (size_t)len));
    script_say(&b->link, body);
}

static struct lk_span
token_body(struct lk_buf room, const char *token, const char *refresh, uint32_t expires_in_s)
{
    struct lk_cbor_out w;
    struct lk_span body;

    lk_cbor_write_open(&w, room);
    lk_cbor_write_map(&w, refresh != NULL ? 3 : 2);
    lk_cbor_write_int(&w, 1);
    lk_cbor_write_bytes(&w, lk_span_text(token));
    lk_cbor_write_int(&w, 2);
    lk_cbor_write_uint(&w, expires_in_s);
    if (refresh != NULL) {
        lk_cbor_write_int(&w, 37);
        lk_cbor_write_bytes(&w, lk_span_text(refresh));
    }
    assert_err("body", lk_cbor_write_close(&w, &body), LK_OK);
    return body;
}

static struct lk_span
error_body(struct lk_buf room, int64_t error)
{
    struct lk_cbor_out w;
    struct lk_span body;

    lk_cbor_write_open(&w, room);
    lk_cbor_write_map(&w, 1);
    lk_cbor_write_int(&w, 30);
    lk_cbor_write_int(&w, error);
    assert_err("body", lk_cbor_write_close(&w, &body), LK_OK);
    return body;
}

/* One whole attempt that brings a token. */
static void
get_token(struct bench *b, const char *token, const char *refresh, uint32_t expires_in_s)
{
    uint8_t room[512];
    uint32_t before = lk_source_serial(&b->source);

    b->link.sent_len = 0;
    (void)step(b);
    assert_true(b->link.is_open);
    say_answer(b, 200, "", token_body(LK_BUF_OF(room), token, refresh, expires_in_s));
    (void)step(b);
    assert_int_equal(lk_source_serial(&b->source), before + 1);
    assert_false(b->link.is_open);
}

static void
fail_once(struct bench *b, unsigned status, const char *headers, int64_t error)
{
    uint8_t room[64];

    b->link.sent_len = 0;
    (void)step(b);
    assert_true(b->link.is_open);
    say_answer(b, status, headers, error_body(LK_BUF_OF(room), error));
    (void)step(b);
}

static void
gets_a_token_and_leaves_no_secret_behind(void **state)
{
    static struct bench b;
    size_t i;

    (void)state;
    bench_open(&b);
    assert_null(lk_source_token(&b.source, b.now_ms).ptr);
    get_token(&b, "token-one", "refresh-one", 3600);
    assert_true(holds(b.link.sent, b.link.sent_len, "POST /oauth/token HTTP/1.1\r\n"));
    assert_true(holds(b.link.sent, b.link.sent_len, "Host: latchkey.example:8443\r\n"));
    assert_true(holds(b.link.sent, b.link.sent_len, "a-secret-of-the-device"));
    assert_false(holds(b.link.sent, b.link.sent_len, "refresh"));
    assert_true(lk_span_is(lk_source_token(&b.source, b.now_ms), "token-one"));
    for (i = 0; i < sizeof(b.work_room); i++)
        assert_int_equal(b.work_room[i], 0);
    assert_int_equal(lk_source_expires_ms(&b.source), T0 + 3600000);
    assert_null(lk_source_token(&b.source, T0 + 3600000).ptr);

    lk_source_wipe(&b.source);
    assert_false(holds(b.token_room, sizeof(b.token_room), "token"));
    assert_false(holds(&b.source, sizeof(b.source), "refresh"));
}

static void
works_in_pieces_of_any_size(void **state)
{
    static struct bench b;
    size_t piece;

    (void)state;
    for (piece = 1; piece < 200; piece += 3) {
        bench_open(&b);
        b.link.piece = piece;
        b.link.open_busy = 2;
        while (b.link.sent_len == 0 || !holds(b.link.sent, b.link.sent_len, "cwt")) {
            struct lk_want want = step(&b);

            assert_true(want.io != 0);
            assert_true(want.until_ms > b.now_ms);
        }
        get_token(&b, "token", "refresh", 60);
        assert_true(lk_span_is(lk_source_token(&b.source, b.now_ms), "token"));
    }
}

/* 75 % of the lifetime, 5 % to either side, and every part of that range is used. */
static void
renews_at_a_jittered_75_percent(void **state)
{
    static struct bench b;
    uint64_t least = UINT64_MAX, most = 0, at_ms;
    unsigned i;

    (void)state;
    for (i = 0; i < 2000; i++) {
        bench_open(&b);
        b.chance.bits = i * 2654435761u;
        b.chance.runs = true;
        get_token(&b, "token", NULL, 1000);
        at_ms = step(&b).until_ms - T0;
        assert_in_range(at_ms, 700000, 800000);
        least = at_ms < least ? at_ms : least;
        most = at_ms > most ? at_ms : most;
    }
    assert_in_range(least, 700000, 702000);
    assert_in_range(most, 798000, 800000);

    bench_open(&b);
    b.chance.bits = 0;
    get_token(&b, "token", NULL, 20);
    b.now_ms = T0 + 13999;
    (void)step(&b);
    assert_false(b.link.is_open);
    b.now_ms = T0 + 14000;
    (void)step(&b);
    assert_true(b.link.is_open);
    assert_true(lk_span_is(lk_source_token(&b.source, b.now_ms), "token")); /* still there */
}

/* The lifetime runs from the moment the request was sent. */
static void
a_slow_answer_does_not_make_a_token_younger(void **state)
{
    static struct bench b;
    uint8_t room[128];

    (void)state;
    bench_open(&b);
    (void)step(&b);
    b.now_ms += 5000;
    say_answer(&b, 200, "", token_body(LK_BUF_OF(room), "token", NULL, 20));
    (void)step(&b);
    assert_int_equal(lk_source_expires_ms(&b.source), T0 + 20000);
}

static void
an_expired_token_is_forgotten(void **state)
{
    static struct bench b;

    (void)state;
    bench_open(&b);
    get_token(&b, "token", NULL, 20);
    b.link.open_err = LK_ERR_UNAVAILABLE;
    b.now_ms = T0 + 20000;
    (void)step(&b);
    assert_null(lk_source_token(&b.source, b.now_ms).ptr);
    assert_false(holds(b.token_room, sizeof(b.token_room), "token"));
}

static void
refreshes_and_falls_back(void **state)
{
    static struct bench b;

    (void)state;
    bench_open(&b);
    get_token(&b, "one", "refresh-one", 20);
    b.now_ms += 15100;
    get_token(&b, "two", "refresh-two", 20);
    assert_true(holds(b.link.sent, b.link.sent_len, "refresh-one"));

    /* invalid_grant: client_credentials at once, and no failure has happened. */
    b.now_ms += 15100;
    fail_once(&b, 400, "", LK_OAUTH_INVALID_GRANT);
    assert_true(holds(b.link.sent, b.link.sent_len, "refresh-two"));
    assert_true(b.link.is_open);
    assert_int_equal(b.link.opens, 4);
    assert_false(lk_source_is_failing(&b.source));
    b.link.sent_len = 0;
    b.now_ms += 40000; /* it times out, and the next attempt shows what is sent */
    (void)step(&b);
    b.now_ms += 2000;
    get_token(&b, "three", NULL, 20);
    assert_false(holds(b.link.sent, b.link.sent_len, "refresh"));
}

/* invalid_grant to client_credentials is a failure like any other. */
static void
invalid_grant_without_a_refresh_token_is_a_failure(void **state)
{
    static struct bench b;

    (void)state;
    bench_open(&b);
    fail_once(&b, 400, "", LK_OAUTH_INVALID_GRANT);
    assert_true(lk_source_is_failing(&b.source));
    assert_false(b.link.is_open);
    assert_err("report", lk_source_last(&b.source)->err, LK_ERR_DENIED);
}

/* An answer may have been lost: the same token again, but not so late that it kills the family. */
static void
repeats_a_refresh_only_within_the_grace(void **state)
{
    static struct bench b;

    (void)state;
    bench_open(&b);
    get_token(&b, "one", "refresh-one", 300);
    b.now_ms += 230000;
    (void)step(&b);
    assert_true(holds(b.link.sent, b.link.sent_len, "refresh-one"));
    b.link.end = LK_ERR_CLOSED; /* the answer is lost */
    (void)step(&b);
    assert_err("report", lk_source_last(&b.source)->err, LK_ERR_CLOSED);
    b.link.end = LK_ERR_BUSY;

    b.link.sent_len = 0;
    b.now_ms += 1000;
    (void)step(&b);
    assert_true(holds(b.link.sent, b.link.sent_len, "refresh-one"));
    b.link.end = LK_ERR_CLOSED;
    (void)step(&b);
    b.link.end = LK_ERR_BUSY;

    b.link.sent_len = 0;
    b.now_ms += LK_SOURCE_GRACE_MS;
    (void)step(&b);
    assert_true(holds(b.link.sent, b.link.sent_len, "pump-7"));
    assert_false(holds(b.link.sent, b.link.sent_len, "refresh-one"));
}

static void
a_refresh_token_too_long_is_not_kept(void **state)
{
    static struct bench b;
    char refresh[LK_SOURCE_REFRESH_MAX + 2];

    (void)state;
    memset(refresh, 'r', sizeof(refresh) - 1);
    refresh[sizeof(refresh) - 1] = '\0';
    bench_open(&b);
    get_token(&b, "one", refresh, 20);
    b.now_ms += 15100;
    get_token(&b, "two", refresh + 1, 20);
    assert_false(holds(b.link.sent, b.link.sent_len, "rrrr"));
    b.now_ms += 15100;
    get_token(&b, "three", NULL, 20);
    assert_true(holds(b.link.sent, b.link.sent_len, "rrrr"));
}

/* Pauses: full jitter, doubling, bounded; then the breaker. */
static void
backs_off(void **state)
{
    static const uint64_t bounds_ms[] = {1000, 2000, 4000, 8000, 16000};
    static struct bench b;
    unsigned low, i;

    (void)state;
    for (low = 0; low < 2; low++) {
        bench_open(&b);
        b.chance.bits = low ? 0 : UINT32_MAX;
        b.link.open_err = LK_ERR_UNAVAILABLE;
        for (i = 0; i < 5; i++) {
            uint64_t wait_ms = step(&b).until_ms - b.now_ms;

            assert_int_equal(wait_ms, low ? 0 : bounds_ms[i]);
            assert_int_equal(b.link.opens, i + 1);
            b.now_ms += wait_ms;
        }
        for (i = 0; i < 3; i++) { /* the breaker is open; each attempt keeps it so */
            uint64_t wait_ms = step(&b).until_ms - b.now_ms;

            assert_int_equal(wait_ms, LK_SOURCE_BREAKER_MS + (low ? 0 : LK_SOURCE_BREAKER_MS / 2));
            b.now_ms += wait_ms - 1;
            (void)step(&b);
            assert_int_equal(b.link.opens, 6 + i);
            b.now_ms++;
        }
        b.link.open_err = LK_OK;
        get_token(&b, "token", NULL, 1000);
        assert_false(lk_source_is_failing(&b.source));
        b.link.open_err = LK_ERR_UNAVAILABLE;
        b.now_ms += 801000;
        assert_int_equal(step(&b).until_ms - b.now_ms, low ? 0 : 1000); /* from the beginning */
    }
}

static void
without_randomness_pauses_are_long(void **state)
{
    static struct bench b;

    (void)state;
    bench_open(&b);
    b.chance.err = LK_ERR_IO;
    b.link.open_err = LK_ERR_IO;
    assert_int_equal(step(&b).until_ms - b.now_ms, 1000);
}

static void
honours_retry_after_and_impatience_does_not_shorten_it(void **state)
{
    static struct bench b;

    (void)state;
    bench_open(&b);
    b.chance.bits = 0;
    fail_once(&b, 429, "Retry-After: 30\r\n", LK_OAUTH_INVALID_REQUEST);
    assert_err("report", lk_source_last(&b.source)->err, LK_ERR_UNAVAILABLE);
    assert_int_equal(lk_source_last(&b.source)->status, 429);
    assert_int_equal(lk_source_last(&b.source)->next_ms, b.now_ms + 30000);
    lk_source_renew(&b.source, b.now_ms);
    b.now_ms += 29999;
    (void)step(&b);
    assert_false(b.link.is_open);
    b.now_ms++;
    (void)step(&b);
    assert_true(b.link.is_open);
}

static const struct {
    const char *name;
    unsigned status;
    int64_t error;
    enum lk_err want;
} refusals[] = {
    {"invalid_client", 401, LK_OAUTH_INVALID_CLIENT, LK_ERR_CREDENTIAL},
    {"invalid_client with 400", 400, LK_OAUTH_INVALID_CLIENT, LK_ERR_CREDENTIAL},
    {"invalid_scope", 400, LK_OAUTH_INVALID_SCOPE, LK_ERR_DENIED},
    {"a 404", 404, LK_OAUTH_INVALID_REQUEST, LK_ERR_DENIED},
    {"a redirect", 302, LK_OAUTH_INVALID_REQUEST, LK_ERR_DENIED},
    {"500", 500, LK_OAUTH_INVALID_REQUEST, LK_ERR_UNAVAILABLE},
    {"503", 503, LK_OAUTH_INVALID_REQUEST, LK_ERR_UNAVAILABLE},
    {"an error with 200", 200, LK_OAUTH_INVALID_CLIENT, LK_ERR_MALFORMED},
};

static void
tells_refusals_apart(void **state)
{
    static struct bench b;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        bench_open(&b);
        fail_once(&b, refusals[i].status, "", refusals[i].error);
        assert_err(refusals[i].name, lk_source_last(&b.source)->err, refusals[i].want);
        assert_int_equal(lk_source_last(&b.source)->status, refusals[i].status);
        assert_null(lk_source_token(&b.source, b.now_ms).ptr);
        assert_true(lk_source_is_failing(&b.source));
        assert_false(b.link.is_open);
    }
}

static const struct {
    const char *name, *text;
    enum lk_err want;
} bad_answers[] = {
    {"a web page", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
     LK_ERR_TYPE},
    {"no HTTP", "220 smtp.example ESMTP\r\n", LK_ERR_MALFORMED},
    {"empty", "HTTP/1.1 200 OK\r\nContent-Type: application/ace+cbor\r\n\r\n", LK_ERR_TRUNCATED},
    {"body too long", "HTTP/1.1 200 OK\r\nContent-Length: 769\r\n\r\n", LK_ERR_NO_SPACE},
    {"token too long",
     "HTTP/1.1 200 OK\r\nContent-Type: application/ace+cbor\r\nContent-Length: "
     "6\r\n\r\n\xa2\x02\x14\x01"
     "\x59\x01",
     LK_ERR_TRUNCATED},
};

static void
refuses_bad_answers(void **state)
{
    static struct bench b;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad_answers) / sizeof(bad_answers[0]); i++) {
        bench_open(&b);
        (void)step(&b);
        script_say(&b.link, lk_span_text(bad_answers[i].text));
        (void)step(&b);
        assert_err(bad_answers[i].name, lk_source_last(&b.source)->err, bad_answers[i].want);
    }
}

static void
a_token_longer_than_its_room_is_refused(void **state)
{
    static struct bench b;
    uint8_t room[512];
    char token[258];

    (void)state;
    memset(token, 't', sizeof(token) - 1);
    token[257] = '\0';
    bench_open(&b);
    (void)step(&b);
    say_answer(&b, 200, "", token_body(LK_BUF_OF(room), token, NULL, 20));
    (void)step(&b);
    assert_err("report", lk_source_last(&b.source)->err, LK_ERR_NO_SPACE);
    b.now_ms += 1000;
    get_token(&b, token + 1, NULL, 20);
}

static void
gives_up_a_server_that_says_nothing(void **state)
{
    static struct bench b;
    struct lk_want want;

    (void)state;
    bench_open(&b);
    b.link.open_busy = 1000000;
    want = step(&b);
    assert_int_equal(want.until_ms, T0 + LK_SOURCE_TIMEOUT_MS);
    b.now_ms = want.until_ms;
    (void)step(&b);
    assert_err("connecting", lk_source_last(&b.source)->err, LK_ERR_TIMEOUT);

    bench_open(&b);
    want = step(&b);
    assert_int_equal(want.io, LK_WANT_READ);
    b.now_ms = want.until_ms;
    (void)step(&b);
    assert_err("answering", lk_source_last(&b.source)->err, LK_ERR_TIMEOUT);
    assert_false(b.link.is_open);
}

static void
every_failing_call_is_survived(void **state)
{
    static const enum lk_err errors[] = {LK_ERR_IO, LK_ERR_CLOSED, LK_ERR_CRYPTO, LK_ERR_ISSUER};
    static struct bench b;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        bench_open(&b);
        b.link.open_err = errors[i];
        (void)step(&b);
        assert_err("open", lk_source_last(&b.source)->err, errors[i]);
        bench_open(&b);
        b.link.write_err = errors[i];
        (void)step(&b);
        assert_err("write", lk_source_last(&b.source)->err, errors[i]);
        assert_false(holds(b.work_room, sizeof(b.work_room), "secret"));
        bench_open(&b);
        b.link.end = errors[i];
        (void)step(&b);
        assert_err("read", lk_source_last(&b.source)->err, errors[i]);
        assert_false(b.link.is_open);
    }
}

static void
knows_the_time_from_the_server(void **state)
{
    static struct bench b;
    uint8_t room[128];

    (void)state;
    bench_open(&b);
    assert_int_equal(lk_source_wall_s(&b.source, b.now_ms), 0);
    (void)step(&b);
    say_answer(&b, 200, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
               token_body(LK_BUF_OF(room), "token", NULL, 20));
    (void)step(&b);
    assert_int_equal(lk_source_wall_s(&b.source, b.now_ms + 5999), 784111782);
}

static void
renews_when_asked_and_spreads_the_first_attempt(void **state)
{
    static struct bench b;

    (void)state;
    bench_open(&b);
    lk_source_spread(&b.source, b.now_ms, 10000);
    assert_in_range(step(&b).until_ms, T0 + 4990, T0 + 5010);
    assert_false(b.link.is_open);
    b.now_ms += 5010;
    get_token(&b, "one", NULL, 3600);
    (void)step(&b);
    assert_false(b.link.is_open);
    lk_source_renew(&b.source, b.now_ms);
    get_token(&b, "two", NULL, 3600);
}

static void
refuses_half_a_configuration(void **state)
{
    static struct bench b;
    struct lk_source_config good, c;

    (void)state;
    bench_open(&b);
    good = b.source.config;
#define WITHOUT(field)                                                                             \
    c = good;                                                                                      \
    memset(&c.field, 0, sizeof(c.field));                                                          \
    assert_err(#field, lk_source_init(&b.source, &c), LK_ERR_ARG)
    WITHOUT(link);
    WITHOUT(random);
    WITHOUT(host);
    WITHOUT(client_id);
    WITHOUT(client_secret);
    WITHOUT(token_room);
    WITHOUT(work_room);
#undef WITHOUT
    c = good;
    c.work_room.cap = 100; /* too small for the request: an error, not a cut */
    assert_err("small room", lk_source_init(&b.source, &c), LK_OK);
    (void)step(&b);
    assert_err("small room", lk_source_last(&b.source)->err, LK_ERR_NO_SPACE);
    assert_int_equal(b.link.sent_len, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gets_a_token_and_leaves_no_secret_behind),
        cmocka_unit_test(works_in_pieces_of_any_size),
        cmocka_unit_test(renews_at_a_jittered_75_percent),
        cmocka_unit_test(a_slow_answer_does_not_make_a_token_younger),
        cmocka_unit_test(an_expired_token_is_forgotten),
        cmocka_unit_test(refreshes_and_falls_back),
        cmocka_unit_test(invalid_grant_without_a_refresh_token_is_a_failure),
        cmocka_unit_test(repeats_a_refresh_only_within_the_grace),
        cmocka_unit_test(a_refresh_token_too_long_is_not_kept),
        cmocka_unit_test(backs_off),
        cmocka_unit_test(without_randomness_pauses_are_long),
        cmocka_unit_test(honours_retry_after_and_impatience_does_not_shorten_it),
        cmocka_unit_test(tells_refusals_apart),
        cmocka_unit_test(refuses_bad_answers),
        cmocka_unit_test(a_token_longer_than_its_room_is_refused),
        cmocka_unit_test(gives_up_a_server_that_says_nothing),
        cmocka_unit_test(every_failing_call_is_survived),
        cmocka_unit_test(knows_the_time_from_the_server),
        cmocka_unit_test(renews_when_asked_and_spreads_the_first_attempt),
        cmocka_unit_test(refuses_half_a_configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
