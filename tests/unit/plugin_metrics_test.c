#include <string.h>

#include "metrics.h"
#include "scrape.h"

#include "cmocka_all.h"
#include "compat.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static struct metrics m;
static uint8_t room[METRICS_PAGE_MAX + 1];

static int
clear(void **state)
{
    (void)state;
    memset(&m, 0, sizeof(m));
    return 0;
}

static const char *
page(void)
{
    struct lk_span out;

    assert_int_equal(metrics_write(&m, (struct lk_buf){room, METRICS_PAGE_MAX}, &out), LK_OK);
    room[out.len] = '\0';
    return (const char *)room;
}

static bool
has_line(const char *line)
{
    const char *at = page();
    size_t len = strlen(line);

    for (; at != NULL && *at != '\0'; at = strchr(at, '\n') + 1)
        if (strncmp(at, line, len) == 0 && at[len] == '\n')
            return true;
    return false;
}

/* A login that took so long; what the call itself takes is less than the gaps between bounds. */
static void
login_of(const char *method, enum lk_err reason, int64_t ns)
{
    metrics_login(&m, method, reason, metrics_now_ns() - ns);
}

static void
logins_have_method_outcome_and_reason(void **state)
{
    static const struct {
        const char *method;
        enum lk_err reason;
        const char *line;
    } rows[] = {
        {"password", LK_OK,
         "latchkey_auth_total{method=\"password\",outcome=\"ok\",reason=\"OK\"} 1"},
        {"OAUTH2-JWT", LK_ERR_EXPIRED,
         "latchkey_auth_total{method=\"OAUTH2-JWT\",outcome=\"unauthorized\",reason=\"EXPIRED\"} "
         "1"},
        {"OAUTH2-CWT", LK_ERR_MALFORMED,
         "latchkey_auth_total{method=\"OAUTH2-CWT\",outcome=\"malformed\",reason=\"MALFORMED\"} "
         "1"},
        {"ace", LK_ERR_SUBJECT,
         "latchkey_auth_total{method=\"ace\",outcome=\"forbidden\",reason=\"SUBJECT\"} 1"},
        {"authz-info", LK_ERR_BUSY,
         "latchkey_auth_total{method=\"authz-info\",outcome=\"unavailable\",reason=\"BUSY\"} 1"},
        {"password", LK_ERR_LIMIT,
         "latchkey_auth_total{method=\"password\",outcome=\"unavailable\",reason=\"LIMIT\"} 1"},
        {"of tomorrow", LK_ERR_PERMISSION,
         "latchkey_auth_total{method=\"other\",outcome=\"unavailable\",reason=\"PERMISSION\"} 1"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_false(has_line(rows[i].line));
        login_of(rows[i].method, rows[i].reason, 0);
        if (!has_line(rows[i].line))
            fail_msg("missing: %s\n%s", rows[i].line, page());
    }
}

static void
the_histogram_is_cumulative(void **state)
{
    (void)state;
    login_of("password", LK_OK, 1);
    login_of("password", LK_OK, 700000);
    login_of("password", LK_ERR_KEY, 50000000);
    login_of("password", LK_ERR_KEY, INT64_C(3000000000));
    assert_true(has_line("latchkey_auth_duration_seconds_bucket{le=\"0.0005\"} 1"));
    assert_true(has_line("latchkey_auth_duration_seconds_bucket{le=\"0.001\"} 2"));
    assert_true(has_line("latchkey_auth_duration_seconds_bucket{le=\"0.01\"} 2"));
    assert_true(has_line("latchkey_auth_duration_seconds_bucket{le=\"0.1\"} 3"));
    assert_true(has_line("latchkey_auth_duration_seconds_bucket{le=\"+Inf\"} 4"));
    assert_true(has_line("latchkey_auth_duration_seconds_count 4"));
    assert_non_null(strstr(page(), "latchkey_auth_duration_seconds_sum 3.05"));
}

static void
checks_have_action_and_outcome(void **state)
{
    (void)state;
    metrics_check(&m, MOSQ_ACL_WRITE, OUTCOME_OK);
    metrics_check(&m, MOSQ_ACL_WRITE, OUTCOME_OK);
    metrics_check(&m, MOSQ_ACL_SUBSCRIBE, metrics_outcome(LK_ERR_DENIED));
    metrics_check(&m, MOSQ_ACL_READ, metrics_outcome(LK_ERR_EXPIRED));
    metrics_check(&m, MOSQ_ACL_WRITE, metrics_outcome(LK_ERR_LIMIT));
    assert_true(has_line("latchkey_acl_total{action=\"publish\",outcome=\"ok\"} 2"));
    assert_true(has_line("latchkey_acl_total{action=\"publish\",outcome=\"forbidden\"} 0"));
    assert_true(has_line("latchkey_acl_total{action=\"publish\",outcome=\"unavailable\"} 1"));
    assert_true(has_line("latchkey_acl_total{action=\"subscribe\",outcome=\"forbidden\"} 1"));
    assert_true(has_line("latchkey_acl_total{action=\"receive\",outcome=\"unauthorized\"} 1"));
    assert_true(has_line("latchkey_acl_total{action=\"unsubscribe\",outcome=\"ok\"} 0"));
}

static void
a_time_that_is_not_known_is_not_on_the_page(void **state)
{
    (void)state;
    assert_null(strstr(page(), "latchkey_keys_last"));
    assert_null(strstr(page(), "latchkey_feed_last"));
    metrics_set(&m.keys_success_s, 1700000000);
    metrics_set(&m.feed_success_s, 1700000001);
    assert_true(has_line("latchkey_keys_last_success_timestamp_seconds 1700000000"));
    assert_true(has_line("latchkey_feed_last_success_timestamp_seconds 1700000001"));
}

static void
a_missing_tick_shows(void **state)
{
    (void)state;
    assert_true(has_line("latchkey_tick_ok 1"));
    atomic_store(&m.tick_missing, true);
    assert_true(has_line("latchkey_tick_ok 0"));
}

static void
disconnects_have_a_cause(void **state)
{
    (void)state;
    assert_true(has_line("latchkey_disconnects_total{cause=\"EXPIRED\"} 0"));
    metrics_disconnect(&m, LK_ERR_EXPIRED);
    metrics_disconnect(&m, LK_ERR_REVOKED);
    assert_true(has_line("latchkey_disconnects_total{cause=\"EXPIRED\"} 1"));
    assert_true(has_line("latchkey_disconnects_total{cause=\"REVOKED\"} 1"));
}

/* Every counter there is at its highest: the largest page fits, and a byte less room does not. */
static void
the_largest_page_fits(void **state)
{
    struct lk_span out;
    size_t len;

    (void)state;
    memset(&m, 0xff, sizeof(m));
    assert_int_equal(metrics_write(&m, (struct lk_buf){room, METRICS_PAGE_MAX}, &out), LK_OK);
    len = out.len;
    print_message("the largest page has %zu bytes\n", len);
    for (size_t cap = 0; cap <= len; cap += cap < 200 || cap > len - 200 ? 1 : 997) {
        memset(room, 0x55, sizeof(room));
        assert_int_equal(metrics_write(&m, (struct lk_buf){room, cap}, &out), LK_ERR_NO_SPACE);
        assert_null(out.ptr);
        assert_int_equal(room[cap], 0x55);
    }
    assert_int_equal(metrics_write(&m, (struct lk_buf){room, len + 1}, &out), LK_OK);
}

/* --- the place, the request ---------------------------------------------------------------- */

static void
places(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        enum scrape_kind kind;
        bool is_public;
    } rows[] = {
        {"", true, SCRAPE_OFF, false},
        {"off", true, SCRAPE_OFF, false},
        {"127.0.0.1:9100", true, SCRAPE_TCP, false},
        {"localhost:9100", true, SCRAPE_TCP, false},
        {"127.1.2.3:1", true, SCRAPE_TCP, false},
        {"[::1]:65535", true, SCRAPE_TCP, false},
        {"0.0.0.0:9100", true, SCRAPE_TCP, true},
        {"[::]:9100", true, SCRAPE_TCP, true},
        {"10.0.0.1:9100", true, SCRAPE_TCP, true},
        {"unix:/run/latchkey.sock", true, SCRAPE_UNIX, false},
        {"/var/lib/node_exporter/latchkey.prom", true, SCRAPE_FILE, false},
        {"on", false, SCRAPE_TCP, false},
        {"9100", false, SCRAPE_TCP, false},
        {":9100", false, SCRAPE_TCP, false},
        {"127.0.0.1", false, SCRAPE_TCP, false},
        {"127.0.0.1:", false, SCRAPE_TCP, false},
        {"127.0.0.1:0", false, SCRAPE_TCP, false},
        {"127.0.0.1:65536", false, SCRAPE_TCP, false},
        {"127.0.0.1:9100x", false, SCRAPE_TCP, false},
        {"127.0.0.1:-1", false, SCRAPE_TCP, false},
        {"127.0.0.1:000080", false, SCRAPE_TCP, false},
        {"example.test:9100", false, SCRAPE_TCP, false},
        {"unix:relative", false, SCRAPE_UNIX, false},
        {"unix:", false, SCRAPE_UNIX, false},
        {"unix:/0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
         "2345678901234567890123456789",
         false, SCRAPE_UNIX, false},
    };
    struct scrape_place place;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (scrape_parse(rows[i].text, &place) != rows[i].ok)
            fail_msg("%s: expected %s", rows[i].text, rows[i].ok ? "a place" : "none");
        if (!rows[i].ok)
            continue;
        assert_int_equal(place.kind, rows[i].kind);
        assert_int_equal(place.is_public, rows[i].is_public);
    }
}

static void
requests(void **state)
{
    static const struct {
        const char *text;
        unsigned status;
        bool head_only;
    } rows[] = {
        {"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200, false},
        {"GET /metrics HTTP/1.0\r\n\r\n", 200, false},
        {"GET /metrics?x=1 HTTP/1.1\r\n\r\n", 200, false},
        {"HEAD /metrics HTTP/1.1\r\n\r\n", 200, true},
        {"GET /metrics HTTP/1.1\r\n\r\nbody", 200, false},
        {"", 0, false},
        {"GET", 0, false},
        {"GET /metrics HTTP/1.1\r\n", 0, false},
        {"GET /metrics HTTP/1.1\r\nHost: x\r\n", 0, false},
        {"GET / HTTP/1.1\r\n\r\n", 404, false},
        {"GET /metricsx HTTP/1.1\r\n\r\n", 404, false},
        {"GET /metrics/ HTTP/1.1\r\n\r\n", 404, false},
        {"GET /METRICS HTTP/1.1\r\n\r\n", 404, false},
        {"POST /metrics HTTP/1.1\r\n\r\n", 405, false},
        {"get /metrics HTTP/1.1\r\n\r\n", 405, false},
        {"GET /metrics HTTP/2.0\r\n\r\n", 505, false},
        {"GET /metrics\r\n\r\n", 400, false},
        {"GET /metrics HTTP/1.1 x\r\n\r\n", 400, false},
        {"GET  /metrics HTTP/1.1\r\n\r\n", 400, false},
        {" GET /metrics HTTP/1.1\r\n\r\n", 400, false},
        {"GET http://x/metrics HTTP/1.1\r\n\r\n", 400, false},
        {"GET /met\trics HTTP/1.1\r\n\r\n", 400, false},
        {"GET /met\x80rics HTTP/1.1\r\n\r\n", 400, false},
        {"\r\n\r\n", 400, false},
        {"\x16\x03\x01\x02", 0, false},
    };
    bool head_only;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned status = scrape_judge(lk_span_text(rows[i].text), &head_only);

        if (status != rows[i].status || head_only != rows[i].head_only)
            fail_msg("%s: %u, expected %u", rows[i].text, status, rows[i].status);
    }
    assert_int_equal(scrape_judge(lk_span_of("GET /\0", 6), &head_only), 400);
    memset(room, 'a', METRICS_REQUEST);
    assert_int_equal(scrape_judge(lk_span_of(room, METRICS_REQUEST - 1), &head_only), 0);
    assert_int_equal(scrape_judge(lk_span_of(room, METRICS_REQUEST), &head_only), 431);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(logins_have_method_outcome_and_reason, clear),
        cmocka_unit_test_setup(the_histogram_is_cumulative, clear),
        cmocka_unit_test_setup(checks_have_action_and_outcome, clear),
        cmocka_unit_test_setup(a_time_that_is_not_known_is_not_on_the_page, clear),
        cmocka_unit_test_setup(a_missing_tick_shows, clear),
        cmocka_unit_test_setup(disconnects_have_a_cause, clear),
        cmocka_unit_test_setup(the_largest_page_fits, clear),
        cmocka_unit_test(places),
        cmocka_unit_test(requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
