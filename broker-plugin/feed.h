/*
 * feed.h - the thread that reads latchkeyd's feed of revocations: a long poll that never ends.
 *
 *     GET {issuer}/v1/feed?epoch=E&after=N&wait=30      (bearer: scope feed:read)
 *
 * Beside worker.h, because a request lasts half a minute and keys must not wait for it. What an
 * answer says goes to the broker's thread as a note, at once; then into a set of the thread's own,
 * which is what the file in state_dir is written from. Where the feed was read up to is kept there
 * too. A list that comes in pages counts when the last is here; a broken connection goes on where
 * it broke.
 *
 * An answer that contradicts what is known (another epoch, or numbers that went back, without a
 * full list) is not believed; a full list is asked for. Until one comes, what is known stays.
 */
#ifndef PLUGIN_FEED_H
#define PLUGIN_FEED_H

#include "bearer.h"
#include "feed_news.h"
#include "worker.h"

struct feed {
    /* Set before the thread starts, read by it only. */
    struct worker *worker; /* takes the notes */
    const struct state *state;
    const char *issuer, *ca_file, *client_id, *client_secret_file;
    struct feed_position position; /* what the file said; the thread's own afterwards */
    struct revocations set;        /* the same */

    _Atomic int64_t wait_s; /* asked of the server, at most FEED_WAIT_S */
    atomic_uint waiting;    /* news that the broker's thread has not worked off */
    volatile int stop;
    int event_fd;
    pthread_t thread;
    bool running;

    /* The thread's own. */
    struct lk_fetch *fetch;
    struct bearer bearer;
    struct lk_buf body;
    int64_t due_ms, saved_ms, failing_since_s;
    unsigned failures;
    bool heard; /* in this process */
    bool changed, aged, save_failed, told_unknown;
};

/** Seconds a request is held, so that max_feed_age is not reached by waiting. */
int64_t feed_wait_s(int64_t max_feed_age_s);

/** @return LK_OK, LK_ERR_UNAVAILABLE (no thread), LK_ERR_NOMEM. */
LK_MUST_CHECK enum lk_err feed_start(struct feed *f);

/** Tell it to stop; it gives up a request under way. */
void feed_ask_stop(struct feed *f);
/** Stop, join, write the file, free the set. Also without a start. */
void feed_close(struct feed *f);

#endif
