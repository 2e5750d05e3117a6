/*
 * denials.h - the last refusals, for `latchkey explain`: who was refused what, why and how often.
 *
 * Filled on the broker's thread, without allocation; report.c sends it to the issuer. The same
 * refusal again is counted in its place. When the room is used up the oldest gives way, and nobody
 * has more than a part of it: neither one subject, nor all who never proved to be anybody.
 *
 * Never in here: tokens, keys, passwords, payloads, user names, addresses.
 */
#ifndef PLUGIN_DENIALS_H
#define PLUGIN_DENIALS_H

#include <stdbool.h>
#include <stdint.h>

#include <latchkey/bytes.h>
#include <latchkey/err.h>
#include <latchkey/limits.h>

#include "limits.h"

enum denial_action {
    DENIAL_CONNECT,
    DENIAL_RENEW,
    DENIAL_PUBLISH,
    DENIAL_SUBSCRIBE,
    DENIAL_UNSUBSCRIBE
};

/** A refusal, as it happens. Texts are copied, and cut where they are longer than the room. */
struct denial_facts {
    struct lk_span subject; /* of a verified token; absent: the client id has to say whose it is */
    struct lk_span client_id; /* as claimed */
    struct lk_span topic;     /* absent for logins */
    enum denial_action action;
    enum lk_err reason;
};

struct denial {
    enum denial_action action;
    enum lk_err reason;
    bool claimed; /* the subject is what a stranger's client id says */
    uint32_t count;
    int64_t first_s, last_s; /* wall clock */
    char subject[LK_SUBJECT_MAX + 1];
    char client_id[CLIENT_ID_MAX + 1];
    char topic[DENIAL_TOPIC_MAX + 1];
};

struct denials {
    bool enabled; /* somebody fetches them */
    uint32_t used;
    uint32_t lost; /* gave way before they were taken */
    uint64_t clock;
    uint32_t hashes[DENIALS_KEPT];  /* of what is folded; apart, so that a search is short */
    uint32_t owners[DENIALS_KEPT];  /* who pays for the place; 0: strangers */
    uint64_t touched[DENIALS_KEPT]; /* 0: free */
    struct denial ring[DENIALS_KEPT];
};

void denials_note(struct denials *d, const struct denial_facts *facts, int64_t now_s);

/** Move up to `most` of them out, those that waited longest first. @return how many. */
size_t denials_take(struct denials *d, struct denial *out, size_t most);

/** "connect", "renew", "publish", "subscribe", "unsubscribe" */
const char *denial_action_name(enum denial_action action);

/**
 * The body of POST /v1/verifiers/denials:
 * {"denials":[{"subject","client_id","action","topic","reason","at","count"}]}.
 * @return LK_OK, LK_ERR_NO_SPACE (DENIALS_BODY_MAX is enough for DENIALS_BATCH).
 */
LK_MUST_CHECK enum lk_err denials_write(const struct denial *denials, size_t count,
                                        struct lk_buf room, struct lk_span *body);

#endif
