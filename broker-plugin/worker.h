/*
 * worker.h - a background thread: fetches keys, writes the state files. All that may block. (The
 * feed, whose requests last half a minute, has a thread of its own: feed.h.)
 *
 * To the broker's thread it speaks in notes, taken in TICK; from it, it takes chunks of the session
 * table and the wish for new keys. Neither side ever waits for the other.
 */
#ifndef PLUGIN_WORKER_H
#define PLUGIN_WORKER_H

#include <stdarg.h>

#include <latchkey/crypto.h>
#include <latchkey/host/log.h>

#include "feed_news.h"
#include "keys.h"
#include "state.h"
#include "wake.h"

struct lk_fetch;

/** Something the broker's thread should know. From malloc; free it with note_free. */
struct note {
    struct note *next;
    enum lk_log_level level;
    char text[LOG_LINE]; /* empty: nothing to say */
    struct lk_key *keys; /* NULL: no keys */
    size_t key_count;
    bool keys_are_fresh;    /* the issuer has just said which they are; new ones or the same */
    struct feed_news *news; /* NULL: no revocations */
    bool feed_is_fresh;     /* the feed has just been heard; with news or without */
    int64_t server_date_s;  /* 0: unknown */
};

struct worker {
    /* Set before the thread starts, read by it only. */
    struct wake *wake;
    const struct state *state;
    const char *issuer, *jwks_uri, *ca_file; /* jwks_uri NULL: keys come from a file */

    _Atomic int64_t refresh_interval_s;
    atomic_bool keys_wanted, keys_wanted_anew;
    volatile int stop; /* lk_fetch looks at it too */
    int event_fd;
    pthread_t thread;
    bool running;

    _Atomic(struct note *) notes; /* newest first */
    atomic_uint note_count;

    /* A ring with one producer, the broker's thread, and one consumer. */
    struct state_chunk chunks[STATE_SLOTS];
    atomic_uint chunks_in, chunks_out;

    /* The thread's own. */
    struct seal seal;
    struct lk_fetch *fetch;
    uint8_t body[JWKS_MAX];
    uint8_t digest[LK_SHA256_LEN]; /* of the document adopted last */
    int64_t fetch_due_ms, fetched_ms;
    unsigned failures;
    bool save_failed;
};

/** @return LK_OK, LK_ERR_UNAVAILABLE (no thread). */
LK_MUST_CHECK enum lk_err worker_start(struct worker *w);
/** Stop and join; notes not taken are freed. A request under way is given up. */
void worker_stop(struct worker *w);

/** Please fetch keys soon: an unknown kid was seen. Never blocks. */
void worker_want_keys(struct worker *w);
/** The same, and also if they are those it fetched last: we have let some of them go. */
void worker_want_keys_anew(struct worker *w);

/** A line for the broker's log, from any thread. Lost where nobody takes notes any more. */
void worker_say(struct worker *w, enum lk_log_level level, const char *line);

/** A note of one's own, from any thread. @return NULL if too many wait, or without memory. */
struct note *worker_note_new(struct worker *w);
void worker_post(struct worker *w, struct note *note);

/** A free chunk to fill, or NULL when the thread is behind; then hand it over. */
struct state_chunk *worker_chunk(struct worker *w);
void worker_hand_over(struct worker *w);

/** All notes, oldest first; NULL if there are none. */
struct note *worker_take_notes(struct worker *w);
void note_free(struct note *note);

#endif
