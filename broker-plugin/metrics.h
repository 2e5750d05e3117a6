/*
 * metrics.h - what is counted, and the page that Prometheus reads (contracts section 12).
 *
 * Counted on the broker's thread: a plain load, add and store, no lock, no allocation. Read by any
 * thread while that goes on; every number is whole, though a page is no snapshot of one moment.
 * No label names a device, a client or a topic, so a page has a size that is known beforehand.
 */
#ifndef PLUGIN_METRICS_H
#define PLUGIN_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <latchkey/bytes.h>
#include <latchkey/err.h>

#define METRICS_REASONS 80 /* every number of latchkey/err.h is below it */
#define METRICS_METHODS 6
#define METRICS_ACTIONS 16 /* MOSQ_ACL_*: 1, 2, 4, 8 */
#define METRICS_BUCKETS 12 /* the last has no upper bound */

enum metrics_outcome {
    OUTCOME_OK,
    OUTCOME_UNAUTHORIZED,
    OUTCOME_FORBIDDEN,
    OUTCOME_UNAVAILABLE,
    OUTCOME_MALFORMED,
    OUTCOMES
};

typedef _Atomic uint64_t metrics_count;

struct metrics {
    metrics_count logins[METRICS_METHODS][METRICS_REASONS];
    metrics_count login_buckets[METRICS_BUCKETS]; /* not cumulative; the page adds them up */
    metrics_count login_ns;
    metrics_count checks[OUTCOMES][METRICS_ACTIONS];
    metrics_count cache_hits, cache_misses;
    metrics_count disconnects[METRICS_REASONS];
    metrics_count sessions;       /* connected now */
    metrics_count keys_success_s; /* wall clock; 0: not yet, and then not on the page */
    metrics_count feed_success_s; /* likewise */
    atomic_bool tick_missing;     /* one was due long ago */
};

static inline void
metrics_add(metrics_count *count, uint64_t n)
{
    /* One thread writes: no locked instruction is needed, only that a reader sees whole numbers. */
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline void
metrics_set(metrics_count *count, uint64_t value)
{
    atomic_store_explicit(count, value, memory_order_relaxed);
}

/** What a reason is called by somebody who need not know it. */
enum metrics_outcome metrics_outcome(enum lk_err reason);

/** Nanoseconds on the monotonic clock, exact. */
int64_t metrics_now_ns(void);

/** A login or renewal was judged. @param method  as in the log; what is unknown counts as "other".
 */
void metrics_login(struct metrics *m, const char *method, enum lk_err reason, int64_t began_ns);

/** The plugin ended a connection, and this was why. */
void metrics_disconnect(struct metrics *m, enum lk_err cause);

/** A topic was judged. @param access  MOSQ_ACL_* */
static inline void
metrics_check(struct metrics *m, int access, enum metrics_outcome outcome)
{
    metrics_add(&m->checks[outcome][(unsigned)access % METRICS_ACTIONS], 1);
}

/**
 * The page, in the text format of Prometheus, version 0.0.4.
 * @return LK_OK, LK_ERR_NO_SPACE (METRICS_PAGE_MAX bytes are enough).
 */
LK_MUST_CHECK enum lk_err metrics_write(const struct metrics *m, struct lk_buf room,
                                        struct lk_span *page);

#endif
