/*
 * sessions.h - who is, or was, connected, and what he may do. The plugin's heart; the reasons stand
 * in DESIGN.md.
 *
 * A session is found by the broker's client pointer, and then only if its client id is the one it
 * had: pointers are reused at once. It outlives its connection, to judge the will and the messages
 * queued for a sleeping device. One that was read from the state file has no pointer; it is found
 * by client id, for the broker's stand-ins only (access.c).
 *
 * For the broker's thread only. Times are monotonic milliseconds unless the name says otherwise.
 */
#ifndef PLUGIN_SESSIONS_H
#define PLUGIN_SESSIONS_H

#include "bond.h"
#include "grants.h"
#include "limits.h"
#include "revocations.h"

struct mosquitto;
struct presence_device;
struct session;

enum session_state {
    SESSION_ONLINE,  /* accepted, no DISCONNECT since */
    SESSION_OFFLINE, /* after DISCONNECT, or from the state file */
    SESSION_DYING    /* replaced by a newer one; judges its will, then is forgotten */
};

enum session_proof {
    PROOF_PASSWORD = 1,
    PROOF_METHOD_JWT = 2,
    PROOF_METHOD_CWT = 3,
    PROOF_METHOD_ACE = 4
};

/** Messages a second, for one subject and one rule of the scope map, or for renewals by topic. */
#define RATE_AUTHZ_INFO UINT16_MAX

struct rate {
    struct rate *next;
    uint16_t rule;
    uint32_t policy_serial;
    int64_t left_milli; /* thousandths of a message */
    int64_t then_ms;
};

/** What all sessions of one subject have in common. */
struct subject {
    struct subject *next;
    struct session *newest, *oldest;
    struct rate *rates;
    struct presence_device *presence; /* presence.h; NULL: not a device, or not online */
    uint32_t session_count;
    uint32_t online_count;
    size_t len;
    char name[]; /* terminated */
};

struct session {
    struct session *client_next, *id_next;  /* chains of the two tables */
    struct session *age_prev, *age_next;    /* offline or dying ones, oldest first */
    struct session *newer, *older;          /* of the same subject */
    struct session *token_next, **token_at; /* chain of the table by token; NULL: not in it */
    struct subject *subject;
    struct shape *shape;
    struct mosquitto *client; /* NULL: no context of the broker is known to be this session's */
    uint8_t *room;            /* identity, then the grant's values */
    struct bond *bond;        /* what its token is bound to; NULL: nothing. Not kept on disk */
    int64_t expires_s;        /* wall clock: exp of the token */
    int64_t deadline_ms;      /* exp + leeway */
    int64_t due_ms;           /* key in the expiry heap */
    int64_t since_ms;         /* offline or dying since */
    uint64_t generation;
    uint32_t heap_at; /* place in the expiry heap, from 1; 0: not in it */
    uint32_t identity_len, values_len;
    uint32_t policy_serial; /* the scope map its grant was compiled from; 0: none yet */
    uint32_t reload_serial; /* the last SIGHUP whose re-check it answered */
    uint32_t denied_quietly;
    int64_t denied_ms;
    uint8_t denied_budget;
    uint8_t state;      /* enum session_state */
    uint8_t proof;      /* enum session_proof */
    bool superseded;    /* a newer login with this client id was accepted */
    bool for_denial;    /* due for on_deny=disconnect, not for its age */
    bool delivery_only; /* from a state file without a key: serves deliveries, nothing else */
    bool revoked; /* may do nothing any more; never comes back, a new login is a new session */
    uint8_t kid[KID_PRINT_LEN];
    uint8_t token_id[REVOCATION_KEY_LEN]; /* all zero: it has none */
    uint8_t credential[16];               /* of SHA-256 of the password it came with */
    uint16_t id_len;
    char id[]; /* terminated */
};

struct session_list {
    struct session *first, *last;
};

struct sessions {
    struct grants *grants;
    struct session **by_client, **by_id, **by_token;
    struct subject **subjects;
    size_t buckets; /* a power of two, of each table */
    size_t count, count_max;
    size_t online_count;
    struct session_list offline, dying;
    uint8_t hash_key[16];
    uint64_t changes; /* anything worth saving */
};

/** What a login establishes. Spans are copied. */
struct session_facts {
    struct lk_span id, subject, identity, values;
    struct shape *shape; /* taken over, also on failure */
    struct bond *bond;   /* the same; NULL: a bearer token */
    struct mosquitto *client;
    int64_t expires_s, deadline_ms;
    uint64_t generation;
    uint32_t policy_serial;
    uint8_t proof;
    uint8_t kid[KID_PRINT_LEN];
    uint8_t token_id[REVOCATION_KEY_LEN];
    uint8_t credential[16];
};

/** @return LK_OK, LK_ERR_NOMEM, LK_ERR_CRYPTO (no randomness). */
LK_MUST_CHECK enum lk_err sessions_open(struct sessions *t, struct grants *grants,
                                        size_t count_max);
void sessions_close(struct sessions *t);

/** By pointer and client id. NULL if unknown or the pointer now belongs to another id. */
struct session *sessions_of_client(const struct sessions *t, const struct mosquitto *client,
                                   const char *id);

/** By pointer alone: for DISCONNECT, where the id may be gone or merely claimed. */
struct session *sessions_of_pointer(const struct sessions *t, const struct mosquitto *client);

/** The newest session under a client id whose subject is `user`; replaced ones do not count. */
struct session *sessions_of_id(const struct sessions *t, const char *id, const char *user);

/** Is there a session under this client id whose subject is another one (or any, if absent)? */
bool sessions_id_is_taken(const struct sessions *t, struct lk_span id, struct lk_span subject);

/** The newest session under a client id, whoever its subject is; replaced ones do not count. */
struct session *sessions_newest_of_id(const struct sessions *t, struct lk_span id);

struct subject *sessions_subject(const struct sessions *t, struct lk_span name);

/** The sessions a token opened: the first (before: NULL), then those after it. NULL: no more. */
struct session *sessions_of_token(const struct sessions *t,
                                  const uint8_t token_id[REVOCATION_KEY_LEN],
                                  const struct session *before);

/** From now on it may do nothing. @return false if that was so already. */
bool sessions_revoke(struct sessions *t, struct session *s);

/**
 * Enter a session: online where facts.client is set, else offline since `now_ms`. Others under the
 * same client id are superseded; one that held the pointer loses it. When the table is full, or
 * the subject has more than `of_subject_max`, the oldest offline one gives way.
 *
 * @return LK_OK, LK_ERR_BUSY (full of live connections), LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err sessions_add(struct sessions *t, const struct session_facts *facts,
                                       size_t of_subject_max, int64_t now_ms,
                                       struct session **session);

/** Replace grant, identity, expiry and token of a session; the connection stays. */
LK_MUST_CHECK enum lk_err sessions_renew(struct sessions *t, struct session *s,
                                         const struct session_facts *facts);

/** Put a newly compiled grant into a session; the identity stays. Takes the shape over. */
LK_MUST_CHECK enum lk_err sessions_set_grant(struct sessions *t, struct session *s,
                                             struct shape *shape, struct lk_span values,
                                             uint32_t policy_serial);

/** The connection is gone. Out of the heap first. */
void sessions_set_offline(struct sessions *t, struct session *s, int64_t now_ms);

/** The broker's context under this pointer is not this session's any more. */
void sessions_drop_pointer(struct sessions *t, struct session *s);

/** Forget what has been dying or offline for so long. @return how many went. */
size_t sessions_reap(struct sessions *t, int64_t now_ms, int64_t dying_ms, int64_t offline_ms,
                     size_t most);

/** Where a walk stands; zeroed at its begin and again when it has come round. */
struct session_cursor {
    size_t bucket;
    size_t passed; /* sessions of this bucket that were seen already */
};

/**
 * Walk the table in slices: looks at up to `buckets` places from the cursor on and calls `each`
 * until it answers false (that session comes again). What comes or goes between two slices may be
 * seen twice or not at all.
 * @return true when the walk has come round.
 */
bool sessions_walk(const struct sessions *t, struct session_cursor *cursor, size_t buckets,
                   bool (*each)(void *context, struct session *s), void *context);

/** Take a message out of a bucket of `per_second`. @return false: one too many. */
bool sessions_take_rate(struct session *s, uint16_t rule, uint32_t per_second, int64_t now_ms);

static inline struct lk_grant
session_grant(const struct session *s)
{
    return (struct lk_grant){
        .shape = lk_span_of(s->shape->bytes, s->shape->len),
        .values = lk_span_of(s->room + s->identity_len, s->values_len),
    };
}

static inline struct lk_span
session_identity(const struct session *s)
{
    return lk_span_of(s->room, s->identity_len);
}

static inline struct lk_span
session_subject(const struct session *s)
{
    return lk_span_of(s->subject->name, s->subject->len);
}

#endif
