/*
 * state.h - sessions that survive a restart of the broker, so that messages go on collecting for
 * devices that sleep.
 *
 * The broker's thread writes records into chunks, some sessions a turn; the worker puts the chunks
 * into a sealed file (seal.h). A record is a CBOR array:
 *
 *     [client id, subject, identity : bstr, exp, gen, token id : bstr]
 *
 * and the first record of a file is the wall clock: a floor for the next start. Read once, at
 * start.
 */
#ifndef PLUGIN_STATE_H
#define PLUGIN_STATE_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>

#include "limits.h"

struct plugin;
struct state_chunk;

#define STATE_FILE    "sessions.state"
#define STATE_PURPOSE "latchkey sessions v1"

struct state {
    bool saving;
    bool is_first; /* the chunk begins a file */
    size_t walk_at;
    uint64_t changes; /* of the sessions, when the save began */
    uint64_t saved;   /* what the last finished save covered */
    int64_t saved_ms;
    unsigned turn_left; /* records this turn may still write */
    bool walked, paused;
    struct state_chunk *chunk;
};

/** Read the file; sessions in it become offline ones. Problems are logged, never fatal. */
void state_load(struct plugin *p, struct lk_span secret);

/** A turn's share of saving. */
void state_turn(struct plugin *p, int64_t now_ms);

/** Save everything now: at the end, when nobody waits any more. */
void state_finish(struct plugin *p);

#endif
