#include <latchkey/device/http.h>

#include <string.h>

#include "cmocka_all.h"
#include "guard.h"

#define OK_LINE  "HTTP/1.1 200 OK\r\n"
#define ACE      "Content-Type: application/ace+cbor\r\n"
#define DATE     "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
#define LONG_20  "abcdefghijklmnopqrst"
#define LONG_100 LONG_20 LONG_20 LONG_20 LONG_20 LONG_20

static const struct {
    const char *name, *text;
    enum lk_err want;
    int status;
    const char *body;
    int32_t retry_after_s;
    bool is_ace_cbor;
} answers[] = {
    {"length", OK_LINE ACE "Content-Length: 5\r\n\r\nhello", LK_OK, 200, "hello", -1, true},
    {"length, names in any case",
     OK_LINE "cOnTeNt-LENGTH:5\r\nCONTENT-TYPE:APPLICATION/ACE+CBOR\r\n\r\nhello", LK_OK, 200,
     "hello", -1, true},
    {"type with a parameter",
     OK_LINE "Content-Type: application/ace+cbor ; q=1\r\nContent-Length: 1\r\n\r\nx", LK_OK, 200,
     "x", -1, true},
    {"another type", OK_LINE "Content-Type: application/ace+cborx\r\nContent-Length: 1\r\n\r\nx",
     LK_OK, 200, "x", -1, false},
    {"spaces around a value", OK_LINE "Content-Length: \t 5 \t\r\n\r\nhello", LK_OK, 200, "hello",
     -1, false},
    {"no reason phrase", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", LK_OK, 200, "", -1, false},
    {"no reason phrase and no space", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", LK_OK, 200, "",
     -1, false},
    {"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", LK_OK, 200, "hi", -1, false},
    {"no length: no body", "HTTP/1.1 503 Busy\r\nRetry-After: 30\r\n\r\n", LK_OK, 503, "", 30,
     false},
    {"204", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", LK_OK, 204, "", -1, false},
    {"100 first", "HTTP/1.1 100 Continue\r\n\r\n" OK_LINE "Content-Length: 2\r\n\r\nhi", LK_OK, 200,
     "hi", -1, false},
    {"a long header", OK_LINE "X-Long: " LONG_100 LONG_100 "\r\nContent-Length: 2\r\n\r\nhi", LK_OK,
     200, "hi", -1, false},
    {"a long reason", "HTTP/1.1 200 " LONG_100 "\r\nContent-Length: 2\r\n\r\nhi", LK_OK, 200, "hi",
     -1, false},
    {"empty header value", OK_LINE "X-Empty:\r\nContent-Length: 2\r\n\r\nhi", LK_OK, 200, "hi", -1,
     false},
    {"chunked", OK_LINE "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", LK_OK,
     200, "hello", -1, false},
    {"chunked, hex in both cases",
     OK_LINE "Transfer-Encoding: Chunked\r\n\r\n0a\r\n0123456789\r\n00B\r\n"
             "0123456789a\r\n0\r\n\r\n",
     LK_OK, 200, "01234567890123456789a", -1, false},
    {"chunked, extension and trailer",
     OK_LINE "Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\n"
             "X-Sum: 1\r\n\r\n",
     LK_OK, 200, "hi", -1, false},
    {"retry in seconds", "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", LK_OK,
     429, "", 7, false},
    {"retry longer than believed",
     "HTTP/1.1 429 Slow\r\nRetry-After: 999999\r\nContent-Length: 0\r\n\r\n", LK_OK, 429, "",
     LK_HTTP_RETRY_MAX_S, false},
    {"retry at a date",
     "HTTP/1.1 503 No\r\n" DATE
     "Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\nContent-Length: 0\r\n\r\n",
     LK_OK, 503, "", 60, false},
    {"retry at a date that is over",
     "HTTP/1.1 503 No\r\n" DATE
     "Retry-After: Sun, 06 Nov 1994 08:40:37 GMT\r\nContent-Length: 0\r\n\r\n",
     LK_OK, 503, "", 0, false},
    {"retry at a date, no Date",
     "HTTP/1.1 503 No\r\n"
     "Retry-After: Sun, 06 Nov 1994 08:50:37 GMT\r\nContent-Length: 0\r\n\r\n",
     LK_OK, 503, "", -1, false},
    {"retry nonsense", "HTTP/1.1 503 No\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", LK_OK,
     503, "", -1, false},

    {"another protocol", "ICAP/1.0 200 OK\r\n\r\n", LK_ERR_MALFORMED, 0, "", -1, false},
    {"HTTP/2 in text", "HTTP/2.0 200 OK\r\n\r\n", LK_ERR_UNSUPPORTED, 0, "", -1, false},
    {"status of two digits", "HTTP/1.1 20 OK ok\r\n\r\n", LK_ERR_MALFORMED, 0, "", -1, false},
    {"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", LK_ERR_MALFORMED, 0, "", -1, false},
    {"status 099", "HTTP/1.1 099 OK\r\n\r\n", LK_ERR_MALFORMED, 0, "", -1, false},
    {"status 600", "HTTP/1.1 600 OK\r\n\r\n", LK_ERR_MALFORMED, 0, "", -1, false},
    {"short line", "HTTP/1.1\r\n\r\n", LK_ERR_MALFORMED, 0, "", -1, false},
    {"bare LF", "HTTP/1.1 200 OK\n\n", LK_ERR_MALFORMED, 0, "", -1, false},
    {"CR inside a line", "HTTP/1.1 200 O\rK\r\n\r\n", LK_ERR_MALFORMED, 0, "", -1, false},
    {"folded header", OK_LINE "X-A: b\r\n c\r\n\r\n", LK_ERR_MALFORMED, 200, "", -1, false},
    {"space before the colon", OK_LINE "Content-Length : 5\r\n\r\nhello", LK_ERR_MALFORMED, 200, "",
     -1, false},
    {"header without colon", OK_LINE "Content-Length\r\n\r\n", LK_ERR_MALFORMED, 200, "", -1,
     false},
    {"header without name", OK_LINE ": 5\r\n\r\n", LK_ERR_MALFORMED, 200, "", -1, false},
    {"length twice", OK_LINE "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
     LK_ERR_MALFORMED, 200, "", -1, false},
    {"length as a list", OK_LINE "Content-Length: 5, 5\r\n\r\nhello", LK_ERR_MALFORMED, 200, "", -1,
     false},
    {"length negative", OK_LINE "Content-Length: -5\r\n\r\n", LK_ERR_MALFORMED, 200, "", -1, false},
    {"length with a plus", OK_LINE "Content-Length: +5\r\n\r\nhello", LK_ERR_MALFORMED, 200, "", -1,
     false},
    {"length in hex", OK_LINE "Content-Length: 0x5\r\n\r\nhello", LK_ERR_MALFORMED, 200, "", -1,
     false},
    {"length empty", OK_LINE "Content-Length:\r\n\r\n", LK_ERR_MALFORMED, 200, "", -1, false},
    {"length beyond 2^64", OK_LINE "Content-Length: 18446744073709551621\r\n\r\nhello",
     LK_ERR_MALFORMED, 200, "", -1, false},
    {"length behind a long blank",
     OK_LINE "Content-Length:                                                "
             "                    5\r\n\r\nhello",
     LK_ERR_MALFORMED, 200, "", -1, false},
    {"length and chunked", OK_LINE "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
     LK_ERR_MALFORMED, 200, "", -1, false},
    {"chunked and length", OK_LINE "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
     LK_ERR_MALFORMED, 200, "", -1, false},
    {"another coding", OK_LINE "Transfer-Encoding: gzip\r\n\r\n", LK_ERR_UNSUPPORTED, 200, "", -1,
     false},
    {"two codings", OK_LINE "Transfer-Encoding: gzip, chunked\r\n\r\n", LK_ERR_UNSUPPORTED, 200, "",
     -1, false},
    {"body longer than the room", OK_LINE "Content-Length: 65\r\n\r\n", LK_ERR_NO_SPACE, 200, "",
     -1, false},
    {"bytes behind the body", OK_LINE "Content-Length: 2\r\n\r\nhix", LK_ERR_TRAILING, 200, "hi",
     -1, false},
    {"100 without end",
     "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\n"
     "HTTP/1.1 100 C\r\n\r\n",
     LK_ERR_MALFORMED, 100, "", -1, false},
    {"100 with a body", "HTTP/1.1 100 C\r\nContent-Length: 2\r\n\r\nhi", LK_ERR_MALFORMED, 100, "",
     -1, false},
    {"chunk size missing", OK_LINE "Transfer-Encoding: chunked\r\n\r\n\r\n", LK_ERR_MALFORMED, 200,
     "", -1, false},
    {"chunk size no number", OK_LINE "Transfer-Encoding: chunked\r\n\r\n2x\r\nhi\r\n",
     LK_ERR_MALFORMED, 200, "", -1, false},
    {"chunk size 2^64 + 2", OK_LINE "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\nhi\r\n",
     LK_ERR_LIMIT, 200, "", -1, false},
    {"chunk longer than the room", OK_LINE "Transfer-Encoding: chunked\r\n\r\n41\r\n",
     LK_ERR_NO_SPACE, 200, "", -1, false},
    {"chunk longer than it said", OK_LINE "Transfer-Encoding: chunked\r\n\r\n2\r\nhix\r\n0\r\n\r\n",
     LK_ERR_MALFORMED, 200, "hi", -1, false},
};

#define ANSWER_COUNT (sizeof(answers) / sizeof(answers[0]))

static enum lk_err
feed(struct lk_http_answer *a, struct lk_buf body, struct lk_span text, size_t cut, size_t piece,
     const struct guard *guard)
{
    enum lk_err err = LK_OK;
    size_t at = 0;

    lk_http_answer_open(a, body);
    while (at < text.len) {
        size_t len = at < cut ? cut - at : text.len - at;

        if (len > piece)
            len = piece;
        err = lk_http_answer_feed(a, lk_span_of(guard_put(guard, text.ptr + at, len), len));
        at += len;
    }
    return err;
}

static void
check(size_t row, const struct lk_http_answer *a, enum lk_err err)
{
    const char *name = answers[row].name;

    assert_err(name, err, answers[row].want);
    if (a->status != answers[row].status || !lk_span_is(a->body, answers[row].body))
        fail_msg("%s: status %d, body of %zu", name, a->status, a->body.len);
    if (err != LK_OK)
        return;
    if (!lk_http_answer_is_done(a) || a->retry_after_s != answers[row].retry_after_s ||
        a->is_ace_cbor != answers[row].is_ace_cbor)
        fail_msg("%s: done %d, retry %d", name, lk_http_answer_is_done(a), (int)a->retry_after_s);
}

static void
answers_are_read_in_any_pieces(void **state)
{
    struct guard guard = guard_open(2048);
    struct guard body = guard_open(64);
    struct lk_buf room = {guard_room(&body, 64), 64};
    size_t row, cut;

    (void)state;
    for (row = 0; row < ANSWER_COUNT; row++) {
        struct lk_span text = lk_span_text(answers[row].text);
        struct lk_http_answer a;
        enum lk_err err = feed(&a, room, text, 0, SIZE_MAX, &guard);

        check(row, &a, err);
        err = feed(&a, room, text, 0, 1, &guard);
        check(row, &a, err);
        for (cut = 1; cut < text.len; cut++) {
            err = feed(&a, room, text, cut, SIZE_MAX, &guard);
            check(row, &a, err);
        }
    }
    guard_close(&guard);
    guard_close(&body);
}

static void
answers_cut_short_are_not_done(void **state)
{
    struct guard guard = guard_open(2048);
    uint8_t body[64];
    size_t row, cut;

    (void)state;
    for (row = 0; row < ANSWER_COUNT; row++) {
        struct lk_span text = lk_span_text(answers[row].text);
        struct lk_http_answer a;

        if (answers[row].want != LK_OK)
            continue;
        for (cut = 0; cut < text.len; cut++) {
            enum lk_err err =
                feed(&a, LK_BUF_OF(body), lk_span_of(text.ptr, cut), 0, SIZE_MAX, &guard);

            assert_err(answers[row].name, err, LK_OK);
            if (lk_http_answer_is_done(&a))
                fail_msg("%s: done after %zu bytes", answers[row].name, cut);
        }
    }
    guard_close(&guard);
}

static void
an_endless_head_ends(void **state)
{
    struct lk_http_answer a;
    uint8_t body[16];
    enum lk_err err = LK_OK;
    unsigned lines = 0;

    (void)state;
    lk_http_answer_open(&a, LK_BUF_OF(body));
    assert_err("status", lk_http_answer_feed(&a, lk_span_text(OK_LINE)), LK_OK);
    while (err == LK_OK && lines++ < 10000)
        err = lk_http_answer_feed(&a, LK_SPAN("X: y\r\n"));
    assert_err("headers", err, LK_ERR_LIMIT);
    assert_err("sticks", lk_http_answer_feed(&a, LK_SPAN("\r\n")), LK_ERR_LIMIT);
}

static const struct {
    const char *name, *text;
    enum lk_err want;
    int64_t seconds;
} dates[] = {
    {"RFC 9110's own", "Sun, 06 Nov 1994 08:49:37 GMT", LK_OK, 784111777},
    {"the beginning", "Thu, 01 Jan 1970 00:00:00 GMT", LK_OK, 0},
    {"a leap day", "Thu, 29 Feb 2024 12:00:00 GMT", LK_OK, 1709208000},
    {"after a leap day", "Fri, 01 Mar 2024 00:00:00 GMT", LK_OK, 1709251200},
    {"2000 was a leap year", "Wed, 01 Mar 2000 00:00:00 GMT", LK_OK, 951868800},
    {"2100 is none", "Mon, 01 Mar 2100 00:00:00 GMT", LK_OK, 4107542400},
    {"beyond 2038", "Fri, 01 Jan 2066 00:00:00 GMT", LK_OK, 3029529600},
    {"a leap second", "Sat, 31 Dec 2016 23:59:60 GMT", LK_OK, 1483228800},
    {"1969", "Wed, 31 Dec 1969 23:59:59 GMT", LK_ERR_RANGE, 0},
    {"day 0", "Sun, 00 Nov 1994 08:49:37 GMT", LK_ERR_RANGE, 0},
    {"day 31 in November", "Sun, 31 Nov 1994 08:49:37 GMT", LK_ERR_RANGE, 0},
    {"hour 24", "Sun, 06 Nov 1994 24:49:37 GMT", LK_ERR_RANGE, 0},
    {"minute 60", "Sun, 06 Nov 1994 08:60:37 GMT", LK_ERR_RANGE, 0},
    {"another month", "Sun, 06 nov 1994 08:49:37 GMT", LK_ERR_SYNTAX, 0},
    {"another zone", "Sun, 06 Nov 1994 08:49:37 UTC", LK_ERR_SYNTAX, 0},
    {"a sign", "Sun, +6 Nov 1994 08:49:37 GMT", LK_ERR_SYNTAX, 0},
    {"RFC 850", "Sunday, 06-Nov-94 08:49:37 GMT", LK_ERR_SYNTAX, 0},
    {"asctime", "Sun Nov  6 08:49:37 1994", LK_ERR_SYNTAX, 0},
    {"nothing", "", LK_ERR_SYNTAX, 0},
};

static void
dates_are_read(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
        int64_t seconds = -1;

        assert_err(dates[i].name, lk_http_date_parse(lk_span_text(dates[i].text), &seconds),
                   dates[i].want);
        if (seconds != dates[i].seconds)
            fail_msg("%s: %lld", dates[i].name, (long long)seconds);
    }
}

static void
requests_are_written(void **state)
{
    static const char want[] =
        "POST /oauth/token HTTP/1.1\r\nHost: h:8443\r\nConnection: close\r\n"
        "Content-Type: a/b\r\nAccept: a/b\r\nContent-Length: 10\r\n\r\n0123456789";
    struct lk_http_request q = {.host = LK_SPAN("h:8443"),
                                .path = LK_SPAN("/oauth/token"),
                                .content_type = LK_SPAN("a/b"),
                                .body = LK_SPAN("0123456789")};
    struct guard guard = guard_open(512);
    struct lk_span out;
    size_t cap;

    (void)state;
    for (cap = 0; cap < sizeof(want) - 1; cap++) {
        struct lk_buf room = {guard_room(&guard, cap), cap};

        assert_err("room", lk_http_request_write(&q, room, &out), LK_ERR_NO_SPACE);
        assert_null(out.ptr);
    }
    /* The body may wait at the end of the room, if the head does not reach it. */
    for (cap = sizeof(want) - 12; cap < sizeof(want) + 12; cap++) {
        struct lk_buf room = {guard_room(&guard, cap), cap};

        q.body = lk_span_of(memcpy(room.ptr + cap - 10, "0123456789", 10), 10);
        assert_err("same room", lk_http_request_write(&q, room, &out),
                   cap < sizeof(want) - 1 ? LK_ERR_NO_SPACE : LK_OK);
        if (cap >= sizeof(want) - 1)
            assert_true(lk_span_is(out, want));
    }
    guard_close(&guard);
}

static void
requests_cannot_be_split(void **state)
{
    static const char *const bad[] = {"", "a b", "a\r\nX: y", "a\n", "\x7f", "\xc3\xa9"};
    struct lk_http_request good = {
        .host = LK_SPAN("h"), .path = LK_SPAN("/"), .content_type = LK_SPAN("a/b")};
    uint8_t bytes[512];
    struct lk_span out;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct lk_http_request q = good;

        q.host = lk_span_text(bad[i]);
        assert_err("host", lk_http_request_write(&q, LK_BUF_OF(bytes), &out), LK_ERR_ARG);
        q = good;
        q.path = lk_span_text(bad[i]);
        assert_err("path", lk_http_request_write(&q, LK_BUF_OF(bytes), &out), LK_ERR_ARG);
        q = good;
        q.content_type = lk_span_text(bad[i]);
        assert_err("type", lk_http_request_write(&q, LK_BUF_OF(bytes), &out), LK_ERR_ARG);
    }
    good.path = LK_SPAN("token");
    assert_err("relative", lk_http_request_write(&good, LK_BUF_OF(bytes), &out), LK_ERR_ARG);
}

static void
mutations_stay_inside(void **state)
{
    struct guard guard = guard_open(2048);
    struct guard body = guard_open(64);
    struct lk_buf room = {guard_room(&body, 64), 64};
    uint32_t seed = 88172645u;
    unsigned round;

    (void)state;
    for (round = 0; round < 100000; round++) {
        struct lk_span text;
        struct lk_http_answer a;
        uint8_t copy[2048];
        unsigned changes = 1 + round % 3;
        enum lk_err err;

        seed = seed * 1664525u + 1013904223u;
        text = lk_span_text(answers[(seed >> 8) % ANSWER_COUNT].text);
        memcpy(copy, text.ptr, text.len);
        while (changes-- > 0) {
            seed = seed * 1664525u + 1013904223u;
            copy[(seed >> 8) % text.len] = (uint8_t)(seed >> 3);
        }
        err = feed(&a, room, lk_span_of(copy, text.len), seed % text.len, SIZE_MAX, &guard);
        assert_true(a.body.len <= 64);
        assert_int_equal(err, a.err);
    }
    guard_close(&guard);
    guard_close(&body);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_read_in_any_pieces),
        cmocka_unit_test(answers_cut_short_are_not_done),
        cmocka_unit_test(an_endless_head_ends),
        cmocka_unit_test(dates_are_read),
        cmocka_unit_test(requests_are_written),
        cmocka_unit_test(requests_cannot_be_split),
        cmocka_unit_test(mutations_stay_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
