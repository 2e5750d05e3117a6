/*
 * revocations.h - what the issuer has taken back, for as long as a token could still claim it.
 *
 * By identity and not by bytes: the id of a token, a subject below a generation of its credentials,
 * a key. Names are kept as half of their SHA-256, so that every entry has the same size; looked up
 * in one step. No call allocates but revocations_open.
 *
 * A full list replaces the one before: between revocations_begin and revocations_end both hold, so
 * that nothing is let in meanwhile; what the new one does not name is gone at once afterwards, and
 * its place is free when revocations_sweep has come by.
 *
 * Room is for REVOCATIONS_MAX. What comes beyond cannot be remembered one by one, and neither it
 * nor an older one may be forgotten. So from then on every token is refused that was issued before
 * that moment: whatever was revoked is among those, and who was not revoked gets a new token. This
 * ends when the last such token has expired, or with a full list that fits.
 *
 * One thread at a time.
 */
#ifndef PLUGIN_REVOCATIONS_H
#define PLUGIN_REVOCATIONS_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>

#include "limits.h"

#define REVOCATION_KEY_LEN 16
#define KID_PRINT_LEN      8 /* what a session keeps of the kid that verified it */

enum revocation_kind {
    REVOCATION_NONE, /* a free place */
    REVOCATION_TOKEN,
    REVOCATION_SUBJECT,
    REVOCATION_KID,
    REVOCATION_KINDS
};

struct revocation {
    uint8_t key[REVOCATION_KEY_LEN];
    uint64_t gen_before; /* of a subject: tokens of an earlier generation are revoked */
    int64_t until_s;     /* no token it speaks of lives longer */
    uint32_t next;       /* in its chain, or among the free ones; from 1, 0 is the end */
    uint32_t round;      /* of full lists: the last one that named it */
    uint8_t kind;
};

struct revocations {
    struct revocation *places;
    uint32_t *chains;
    uint32_t place_count, used, free, hand;
    uint32_t chain_mask;
    size_t count_max, live, of_round;
    size_t of_kind[REVOCATION_KINDS];
    uint32_t round, kept_round;
    bool filling, round_overflowed;
    int64_t issued_before_s; /* what was issued before is refused; 0: nothing was too much */
    int64_t issued_until_s;  /* until then */
};

/** How far the feed has been read. */
struct feed_position {
    char epoch[FEED_EPOCH_MAX + 1]; /* empty: from the beginning */
    int64_t seq;
    int64_t answered_s; /* by the server's clock: its last answer */
};

/** 16 bytes that name a token: our own have just that; of another text, what a hash leaves. */
LK_MUST_CHECK enum lk_err revocation_token_key(struct lk_span id, uint8_t key[REVOCATION_KEY_LEN]);
LK_MUST_CHECK enum lk_err revocation_subject_key(struct lk_span subject,
                                                 uint8_t key[REVOCATION_KEY_LEN]);
LK_MUST_CHECK enum lk_err revocation_kid_print(struct lk_span kid, uint8_t print[KID_PRINT_LEN]);
void revocation_kid_key(const uint8_t print[KID_PRINT_LEN], uint8_t key[REVOCATION_KEY_LEN]);

/** @param count_max  entries of one full list. @return LK_OK, LK_ERR_NOMEM. */
LK_MUST_CHECK enum lk_err revocations_open(struct revocations *set, size_t count_max);
void revocations_close(struct revocations *set);

/**
 * Enter one. Known already: the higher generation and the later end count, except in a full list,
 * which is right where it differs from the one before.
 * @param now_s  the time of the answer it came in.
 * @return false if it did not fit: see above.
 */
bool revocations_put(struct revocations *set, enum revocation_kind kind,
                     const uint8_t key[REVOCATION_KEY_LEN], uint64_t gen_before, int64_t until_s,
                     int64_t now_s);

/** A full list begins, or begins again. */
void revocations_begin(struct revocations *set);
/** It is complete. Nothing happens if none was begun. */
void revocations_end(struct revocations *set);

/**
 * Clear up: what a full list left out, and what is over by REVOCATION_SLACK_S.
 * @param now_s   by the server's clock, so that no jump of ours revives a token; 0: not known.
 * @param places  to look at; a walk goes on where the last one stopped.
 * @return true when it has come round.
 */
bool revocations_sweep(struct revocations *set, int64_t now_s, size_t places);

/** Is it revoked? @param generation  of a subject's token; else not looked at. */
bool revocations_has(const struct revocations *set, enum revocation_kind kind,
                     const uint8_t key[REVOCATION_KEY_LEN], uint64_t generation);

/** Is every token of this age refused, since there were too many to remember? */
bool revocations_are_too_many(const struct revocations *set, int64_t issued_s);

/** Call `each` for every entry that holds, until it answers false. @return false then. */
bool revocations_each(const struct revocations *set,
                      bool (*each)(void *context, const struct revocation *r), void *context);

#endif
