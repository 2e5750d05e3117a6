/*
 * report.h - a thread that sends the last denials to the issuer: POST
 * {issuer}/v1/verifiers/denials, with a token of the verifier's own (client_credentials, scope
 * denials:write).
 *
 * The broker's thread hands over a batch when the one before is through, and never waits. What
 * cannot be sent stays, and meanwhile the ring folds and forgets; the log has everything anyway.
 */
#ifndef PLUGIN_REPORT_H
#define PLUGIN_REPORT_H

#include <pthread.h>

#include <latchkey/limits.h>

#include "denials.h"
#include "worker.h"

struct report {
    /* Set before the thread starts, read by it only. */
    struct worker *worker; /* takes lines for the log */
    const char *issuer, *ca_file, *client_id, *client_secret_file;

    /* One batch under way: the broker's thread fills it and sets `count`, the thread zeroes it. */
    struct denial batch[DENIALS_BATCH];
    atomic_size_t count;
    atomic_bool waiting; /* there are more, but it is too early for them */
    int64_t next_ms;     /* the broker's thread: no batch before */

    int event_fd;
    pthread_t thread;
    bool running;
    volatile int stop; /* lk_fetch looks at it too */

    /* The thread's own. */
    struct lk_fetch *fetch;
    int64_t due_ms; /* no request before */
    unsigned failures;
    char key[32]; /* Idempotency-Key of the batch; empty: none yet */
    char token[LK_TOKEN_MAX + 1];
    int64_t token_until_ms;
    uint8_t body[DENIALS_BODY_MAX];
    uint8_t answer[DENIALS_ANSWER_MAX];
};

/** @return LK_OK, LK_ERR_UNAVAILABLE (no thread). */
LK_MUST_CHECK enum lk_err report_start(struct report *r);
/** Stop and join. A request under way is given up. */
void report_stop(struct report *r);

/** Once a turn, on the broker's thread: hand over what has gathered, if it is time. */
void report_hand_over(struct report *r, struct denials *denials, int64_t now_ms);

#endif
