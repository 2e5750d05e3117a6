/*
 * worker.h - the one background thread: fetches keys, writes the state file, wakes the broker.
 *
 * The two threads meet in this file only. The broker's thread never waits: it takes the lock if it
 * is free and comes back a turn later otherwise; the worker holds it for a few pointer moves.
 * What the worker has to say (keys, log lines) lies in a queue until worker_take.
 *
 * Waking: no call of the broker may be made from here, and an idle broker turns only every 100 ms
 * (2.0) or not at all (2.1). The worker sends the broker's thread a real-time signal with an empty
 * handler, which ends its epoll_wait, again and again until the queue has been emptied.
 */
#ifndef PLUGIN_WORKER_H
#define PLUGIN_WORKER_H

#include <latchkey/key.h>
#include <latchkey/host/log.h>

#include "limits.h"
#include "options.h"

struct worker;

enum note_kind { NOTE_LOG = 1, NOTE_KEYS };

struct note {
    struct note *next;
    enum note_kind kind;
    enum lk_log_level level; /* NOTE_LOG */
    char line[LOG_LINE];
    struct lk_key *keys; /* NOTE_KEYS: opened; from malloc; the taker wipes and frees them */
    size_t key_count;
    int64_t server_date_s; /* NOTE_KEYS: of the answer, or 0 */
};

/** A piece of the state file, filled by the broker's thread. */
struct state_chunk {
    struct state_chunk *next;
    bool first, last; /* begins, ends a file */
    size_t len;
    uint8_t bytes[STATE_CHUNK];
};

/** @param secret  of the verifier client, may be empty. Starts the thread. */
LK_MUST_CHECK enum lk_err worker_open(const struct options *options, struct lk_span secret,
                                      bool fetch_keys, struct worker **out);

/** Ends the thread (a request under way is given up) after it has written what it was given. */
void worker_close(struct worker *worker);

/** Ask for keys now rather than later; at most once per KEYS_ASK_MS. */
void worker_ask_keys(struct worker *worker);

/** All notes that wait, oldest first; NULL if there are none or the lock is taken. Free each. */
struct note *worker_take(struct worker *worker);
void note_free(struct note *note);

/** An empty chunk, or NULL if none is free just now. */
struct state_chunk *worker_chunk_get(struct worker *worker);
/** Hand a filled chunk over. Chunks arrive in the order they were handed over. */
void worker_chunk_put(struct worker *worker, struct state_chunk *chunk);

/** Did the signal of the self-test end a wait of the broker? 0: not known yet. */
int worker_wake_works(const struct worker *worker);

#endif
