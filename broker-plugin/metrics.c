#include "metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "compat.h"

/* --- counting ------------------------------------------------------------------------------ */

static const char *const methods[METRICS_METHODS] = {"password", "OAUTH2-JWT", "OAUTH2-CWT",
                                                     "ace",      "authz-info", "other"};

/* In seconds, as Prometheus has them, and in nanoseconds, as we do. From a cached token (a few
 * microseconds) over a signature (60 and more) to what would be a fault. */
static const struct {
    const char *text;
    uint64_t ns;
} bounds[METRICS_BUCKETS - 1] = {
    {"5e-06", 5000},     {"1e-05", 10000},    {"2.5e-05", 25000}, {"5e-05", 50000},
    {"0.0001", 100000},  {"0.00025", 250000}, {"0.0005", 500000}, {"0.001", 1000000},
    {"0.0025", 2500000}, {"0.01", 10000000},  {"0.1", 100000000},
};

enum metrics_outcome
metrics_outcome(enum lk_err reason)
{
    if (reason == LK_OK)
        return OUTCOME_OK;
    if (reason == LK_ERR_DENIED || reason == LK_ERR_SUBJECT || reason == LK_ERR_SCOPE ||
        reason == LK_ERR_STATE)
        return OUTCOME_FORBIDDEN;
    /* LIMIT is too many of something: later it may do. */
    if (reason == LK_ERR_LIMIT || reason >= LK_ERR_IO)
        return OUTCOME_UNAVAILABLE;
    return reason >= LK_ERR_ALG ? OUTCOME_UNAUTHORIZED : OUTCOME_MALFORMED;
}

int64_t
metrics_now_ns(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static size_t
method_index(const char *method)
{
    size_t i = 0;

    while (i < METRICS_METHODS - 1 && strcmp(method, methods[i]) != 0)
        i++;
    return i;
}

void
metrics_login(struct metrics *m, const char *method, enum lk_err reason, int64_t began_ns)
{
    uint64_t ns = (uint64_t)(metrics_now_ns() - began_ns);
    size_t bucket = 0;

    while (bucket < METRICS_BUCKETS - 1 && ns > bounds[bucket].ns)
        bucket++;
    metrics_add(&m->login_buckets[bucket], 1);
    metrics_add(&m->login_ns, ns);
    metrics_add(&m->logins[method_index(method)][(unsigned)reason % METRICS_REASONS], 1);
}

void
metrics_disconnect(struct metrics *m, enum lk_err cause)
{
    metrics_add(&m->disconnects[(unsigned)cause % METRICS_REASONS], 1);
}

/* --- the page ------------------------------------------------------------------------------ */

static const char *const outcomes[OUTCOMES] = {"ok", "unauthorized", "forbidden", "unavailable",
                                               "malformed"};

static const struct {
    int access;
    const char *name;
} actions[] = {
    {MOSQ_ACL_WRITE, "publish"},
    {MOSQ_ACL_SUBSCRIBE, "subscribe"},
    {MOSQ_ACL_UNSUBSCRIBE, "unsubscribe"},
    {MOSQ_ACL_READ, "receive"},
};

/** The first line that does not fit ends the page, and the caller is told. */
struct page {
    struct lk_buf room;
    size_t len;
    bool full;
};

__attribute__((format(printf, 2, 3))) static void
add(struct page *page, const char *format, ...)
{
    size_t left = page->room.cap - page->len;
    va_list args;
    int n;

    va_start(args, format);
    n = page->full ? -1 : vsnprintf((char *)page->room.ptr + page->len, left, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= left)
        page->full = true;
    else
        page->len += (size_t)n;
}

static void
head(struct page *page, const char *name, const char *type, const char *help)
{
    add(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static uint64_t
value(const metrics_count *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

/* What never happened is left out, but for the row that a rate is divided by. */
static void
add_logins(struct page *page, const struct metrics *m)
{
    head(page, "latchkey_auth_total", "counter", "Logins and renewals judged, by their outcome.");
    for (size_t i = 0; i < METRICS_METHODS; i++) {
        for (unsigned reason = 0; reason < METRICS_REASONS; reason++) {
            uint64_t n = value(&m->logins[i][reason]);

            if (n > 0 || (reason == LK_ERR_OK && i < METRICS_METHODS - 1))
                add(page,
                    "latchkey_auth_total{method=\"%s\",outcome=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
                    methods[i], outcomes[metrics_outcome((enum lk_err)reason)],
                    lk_err_name((enum lk_err)reason), n);
        }
    }
}

static void
add_durations(struct page *page, const struct metrics *m)
{
    uint64_t sum_ns = value(&m->login_ns), n = 0;

    head(page, "latchkey_auth_duration_seconds", "histogram",
         "Time the broker's thread spent on a login or renewal.");
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        n += value(&m->login_buckets[i]);
        add(page, "latchkey_auth_duration_seconds_bucket{le=\"%s\"} %" PRIu64 "\n",
            i < METRICS_BUCKETS - 1 ? bounds[i].text : "+Inf", n);
    }
    add(page, "latchkey_auth_duration_seconds_sum %" PRIu64 ".%09" PRIu64 "\n",
        sum_ns / UINT64_C(1000000000), sum_ns % UINT64_C(1000000000));
    add(page, "latchkey_auth_duration_seconds_count %" PRIu64 "\n", n);
}

static void
add_checks(struct page *page, const struct metrics *m)
{
    head(page, "latchkey_acl_total", "counter", "Topics judged, by action and outcome.");
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        for (unsigned outcome = 0; outcome < OUTCOMES; outcome++) {
            uint64_t n = value(&m->checks[outcome][actions[i].access]);

            if (n > 0 || outcome == OUTCOME_OK || outcome == OUTCOME_FORBIDDEN)
                add(page, "latchkey_acl_total{action=\"%s\",outcome=\"%s\"} %" PRIu64 "\n",
                    actions[i].name, outcomes[outcome], n);
        }
    }
}

static void
add_disconnects(struct page *page, const struct metrics *m)
{
    head(page, "latchkey_disconnects_total", "counter",
         "Connections the plugin ended, by the reason.");
    for (unsigned cause = 0; cause < METRICS_REASONS; cause++) {
        uint64_t n = value(&m->disconnects[cause]);

        if (n > 0 || cause == LK_ERR_EXPIRED || cause == LK_ERR_DENIED || cause == LK_ERR_REVOKED)
            add(page, "latchkey_disconnects_total{cause=\"%s\"} %" PRIu64 "\n",
                lk_err_name((enum lk_err)cause), n);
    }
}

static void
add_number(struct page *page, const char *name, const char *type, const char *help, uint64_t n)
{
    head(page, name, type, help);
    add(page, "%s %" PRIu64 "\n", name, n);
}

static void
add_time(struct page *page, const char *name, const char *help, uint64_t at_s)
{
    if (at_s > 0)
        add_number(page, name, "gauge", help, at_s);
}

enum lk_err
metrics_write(const struct metrics *m, struct lk_buf room, struct lk_span *out)
{
    struct page page = {.room = room};

    *out = (struct lk_span){NULL, 0};
    add_logins(&page, m);
    add_durations(&page, m);
    add_checks(&page, m);
    add_number(&page, "latchkey_sessions", "gauge", "Clients connected with a token.",
               value(&m->sessions));
    head(&page, "latchkey_token_cache_total", "counter",
         "Tokens looked up among those verified before.");
    add(&page, "latchkey_token_cache_total{outcome=\"hit\"} %" PRIu64 "\n", value(&m->cache_hits));
    add(&page, "latchkey_token_cache_total{outcome=\"miss\"} %" PRIu64 "\n",
        value(&m->cache_misses));
    add_disconnects(&page, m);
    add_time(&page, "latchkey_keys_last_success_timestamp_seconds",
             "When the issuer's keys were last known to be up to date.", value(&m->keys_success_s));
    add_time(&page, "latchkey_feed_last_success_timestamp_seconds",
             "When the issuer's revocations were last known to be up to date.",
             value(&m->feed_success_s));
    add_number(&page, "latchkey_tick_ok", "gauge",
               "1 while the broker's ticks come; without them nobody is disconnected in time.",
               atomic_load_explicit(&m->tick_missing, memory_order_relaxed) ? 0 : 1);
    head(&page, "latchkey_build_info", "gauge", "The plugin's version.");
    add(&page, "latchkey_build_info{version=\"%s\"} 1\n", PLUGIN_VERSION);
    if (page.full)
        return LK_ERR_NO_SPACE;
    *out = lk_span_of(page.room.ptr, page.len);
    return LK_OK;
}
