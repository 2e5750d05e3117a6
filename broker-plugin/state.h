/*
 * state.h - what outlives the broker's process: sessions, keys and revocations, in sealed files of
 * state_dir.
 *
 * The broker's thread walks the session table in slices and fills chunks; the background thread
 * writes them (worker.c). Only at shutdown, when no loop waits any more, are they written at once.
 *
 * A file that was sealed with the verifier's secret is believed. Without a secret the session file
 * only shows that it is whole; its sessions then serve nothing but the delivery of messages to
 * sleeping devices, and neither keys nor revocations are kept.
 */
#ifndef PLUGIN_STATE_H
#define PLUGIN_STATE_H

#include "revocations.h"
#include "seal.h"
#include "sessions.h"

#define STATE_KEYS_PURPOSE        "latchkey-broker-keys-v1"
#define STATE_SESSIONS_PURPOSE    "latchkey-broker-sessions-v1"
#define STATE_REVOCATIONS_PURPOSE "latchkey-broker-revocations-v1"

struct state {
    bool enabled; /* there is a state_dir */
    bool has_secret;
    int lock_fd;
    char keys_path[OPTION_TEXT_MAX + 32];
    char sessions_path[OPTION_TEXT_MAX + 32];
    char revocations_path[OPTION_TEXT_MAX + 32];
    uint8_t keys_key[SEAL_KEY_LEN];
    uint8_t sessions_key[SEAL_KEY_LEN];
    uint8_t revocations_key[SEAL_KEY_LEN];
};

/**
 * Make the folder if need be, and lock it against a second plugin.
 * @param secret  the verifier's; absent: none.
 * @return LK_OK, LK_ERR_BUSY (locked by another), LK_ERR_PERMISSION, LK_ERR_IO, LK_ERR_CRYPTO.
 */
LK_MUST_CHECK enum lk_err state_open(struct state *state, const char *dir, struct lk_span secret);
void state_close(struct state *state);

/* --- keys: a document as the issuer had it */

LK_MUST_CHECK enum lk_err state_save_keys(const struct state *state, const char *issuer,
                                          int64_t now_s, struct lk_span jwks);
/** @return LK_OK, LK_ERR_NOT_FOUND (also: of another issuer), LK_ERR_SIGNATURE, LK_ERR_IO. */
LK_MUST_CHECK enum lk_err state_load_keys(const struct state *state, const char *issuer,
                                          struct lk_buf room, int64_t *saved_s,
                                          struct lk_span *jwks);

/* --- revocations, and how far the feed was read: written whole */

LK_MUST_CHECK enum lk_err state_save_revocations(const struct state *state, const char *issuer,
                                                 int64_t now_s,
                                                 const struct feed_position *position,
                                                 const struct revocations *set);
/**
 * Read them into an empty set.
 * @param position  [out] zeroed on error.
 * @return LK_OK, LK_ERR_NOT_FOUND (also: of another issuer), LK_ERR_SIGNATURE, LK_ERR_IO ...
 */
LK_MUST_CHECK enum lk_err state_load_revocations(const struct state *state, const char *issuer,
                                                 struct revocations *set, int64_t *saved_s,
                                                 struct feed_position *position);

/* --- sessions: a walk over the table, a chunk at a time */

enum state_chunk_kind { STATE_NOTHING, STATE_FIRST, STATE_MORE, STATE_LAST };

struct state_chunk {
    enum state_chunk_kind kind;
    size_t len;
    uint8_t bytes[STATE_CHUNK];
};

struct state_walk {
    bool running;
    struct session_cursor cursor;
    uint64_t changes;       /* of the table when the walk began */
    uint64_t saved_changes; /* of the last one that came through */
    int64_t next_ms;        /* not before */
};

/** Begin, if anything changed and it is time; or `now` in any case. */
bool state_walk_is_due(const struct state_walk *walk, const struct sessions *t, int64_t now_ms);

/**
 * Fill the next chunk. The first carries a head, the last ends the walk; STATE_NOTHING: come again.
 * @param buckets  places of the table to look at; SIZE_MAX: all that fit.
 */
void state_walk_step(struct state_walk *walk, struct sessions *t, const char *issuer,
                     int64_t now_ms, int64_t now_s, size_t buckets, size_t sessions,
                     struct state_chunk *chunk);

/** Write a chunk. After a failure the rest of that walk is ignored. Any one thread. */
LK_MUST_CHECK enum lk_err state_write(const struct state *state, struct seal *seal,
                                      const struct state_chunk *chunk);

/**
 * Read the sessions back into an empty table.
 * @param saved_s  [out] wall clock of the save.
 * @param count    [out] sessions entered.
 * @return LK_OK, LK_ERR_NOT_FOUND (also: of another issuer), LK_ERR_SIGNATURE, LK_ERR_IO ...
 */
LK_MUST_CHECK enum lk_err state_load_sessions(const struct state *state, const char *issuer,
                                              struct sessions *t, int64_t keep_s, int64_t now_ms,
                                              int64_t now_s, int64_t *saved_s, size_t *count);

#endif
