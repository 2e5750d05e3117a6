/*
 * provisioning/store/store.h - everything that must survive: one interface, all SQL behind it.
 *
 * A store has one writer thread and any number of readers. A `struct store_db` is one connection
 * with its prepared statements; it belongs to one thread. Workers have one for reading, the desk
 * opens its own with store_reader_open().
 *
 * Writing: hand a function to store_write() or store_write_wait(). It runs on the writer's thread
 * inside a transaction together with others that wait (group commit), may call any number of the
 * functions below, and is undone alone if it returns an error. Its caller hears back only after
 * the commit is on disk.
 *
 *     static enum lk_err
 *     command_delivered(struct store_db *db, void *arg)
 *     {
 *         struct delivery *d = arg;
 *         return store_command_set_state(db, d->device, d->id, STORE_COMMAND_DELIVERED, none,
 * d->now_s);
 *     }
 *     ...
 *     err = store_write(store, NULL, command_delivered, NULL, d);
 *
 * Errors of all functions: LK_OK; LK_ERR_NOT_FOUND; LK_ERR_EXISTS; LK_ERR_STATE; LK_ERR_BUSY
 * (queue full, database locked) and LK_ERR_UNAVAILABLE (disk full, read-only, stopping): try again
 * later; LK_ERR_IO (the database is damaged or the file system failed).
 *
 * Texts in structs are terminated. Spans handed to a callback live until it returns.
 */
#ifndef PROVISIONING_STORE_H
#define PROVISIONING_STORE_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>
#include <latchkey/limits.h>

#include "../limits.h"

struct store;
struct store_db;
struct mailbox; /* mailbox.h: functions to be run on a thread's event loop */

/* --- The store itself ----------------------------------------------------------------------- */

/** Open and migrate; `create` makes the file (0600) and refuses one that is there. */
LK_MUST_CHECK enum lk_err store_open(const char *path, bool create, struct store **out);
/** Work off what was queued, then close. Readers must be closed before. NULL is fine. */
void store_close(struct store *store);

LK_MUST_CHECK enum lk_err store_reader_open(struct store *store, struct store_db **out);
void store_reader_close(struct store_db *db); /* NULL is fine */

typedef enum lk_err (*store_write_fn)(struct store_db *db, void *arg);
typedef void (*store_done_fn)(enum lk_err err, void *arg);

/**
 * Queue a write.
 *
 * @param reply  where `done` runs after the commit; NULL: `done` runs on the writer's thread and
 *               must be short (free something, post something).
 * @param done   gets the result of `run`, or of the commit; NULL: nobody is told.
 * @return LK_OK: queued, and `done` will be called exactly once. Anything else: it will not.
 */
LK_MUST_CHECK enum lk_err store_write(struct store *store, struct mailbox *reply,
                                      store_write_fn run, store_done_fn done, void *arg);

/** The same, blocking until it is committed. Never on a worker's thread. */
LK_MUST_CHECK enum lk_err store_write_wait(struct store *store, store_write_fn run, void *arg);

/** For writes nobody waits for: refused (LK_ERR_BUSY) earlier than the others when it piles up. */
LK_MUST_CHECK enum lk_err store_write_spare(struct store *store, store_write_fn run,
                                            store_done_fn done, void *arg);

/** Did the last commit succeed? For /readyz. */
bool store_is_healthy(struct store *store);

/* --- Ids: devices and clients share one space, and none is given out twice ------------------ */

/** @param kind  "device", "client", "service". LK_ERR_EXISTS. */
LK_MUST_CHECK enum lk_err store_id_reserve(struct store_db *db, struct lk_span id,
                                           const char *kind);
LK_MUST_CHECK enum lk_err store_id_kind(struct store_db *db, struct lk_span id, char *kind,
                                        size_t size);

/* --- Devices -------------------------------------------------------------------------------- */

/* DELETED only when read: a device keeps its own state while it is deleted, and has it again when
 * it is restored. */
enum store_state { STORE_ACTIVE = 1, STORE_SUSPENDED = 2, STORE_DELETED = 3 };

struct store_device {
    char id[LK_SUBJECT_MAX + 1];
    char tenant[LK_TENANT_MAX + 1]; /* empty: the default tenant */
    char type[TYPE_MAX_LEN + 1];
    char name[NAME_MAX_LEN + 1];
    char location[LOCATION_MAX_LEN + 1];
    char parent[LK_SUBJECT_MAX + 1]; /* empty: none */
    char tags[TAGS_TEXT_MAX + 1];    /* a JSON array of texts */
    char registered_by[LK_SUBJECT_MAX + 1];
    enum store_state state;
    uint64_t generation; /* of its credentials; tokens carry it as `gen` */
    int64_t registered_s;
    uint8_t secret_hash[32]; /* SHA-256 of the secret's text */
    int64_t old_until_s;     /* the secret before it works until then; 0: there is none */
    uint8_t old_hash[32];
    /* From its live record; 0 while it has never been seen */
    bool online;
    int64_t online_since_s; /* since when it is what `online` says */
    int64_t last_seen_s;
};

/** LK_ERR_EXISTS: the id is or was taken, by a device or a client. `psk` is sealed. */
LK_MUST_CHECK enum lk_err store_device_put(struct store_db *db, const struct store_device *device,
                                           struct lk_span psk_sealed);
LK_MUST_CHECK enum lk_err store_device_get(struct store_db *db, struct lk_span id,
                                           struct store_device *device);
/** Suspending ends all its tokens (store_tokens_end). @param device [out] as it is now. */
LK_MUST_CHECK enum lk_err store_device_set_state(struct store_db *db, struct lk_span id,
                                                 enum store_state state, int64_t now_s,
                                                 struct store_device *device);
/** Ends all its tokens; it is in no list any more and cannot log in. Said again: LK_OK. */
LK_MUST_CHECK enum lk_err store_device_delete(struct store_db *db, struct lk_span id,
                                              int64_t now_s);
LK_MUST_CHECK enum lk_err store_device_restore(struct store_db *db, struct lk_span id);
/** All that is known of it is gone, except that its id was taken. */
LK_MUST_CHECK enum lk_err store_device_purge(struct store_db *db, struct lk_span id, int64_t now_s);

/** Absent spans and 0 mean: whatever (state 0: all but the deleted). */
struct store_device_filter {
    struct lk_span tenant; /* always compared; empty: the default tenant */
    struct lk_span type, tag, query;
    struct lk_span after; /* ids greater than this */
    enum store_state state;
    unsigned limit;
};

typedef void (*store_device_fn)(const struct store_device *device, void *arg);

LK_MUST_CHECK enum lk_err store_device_list(struct store_db *db,
                                            const struct store_device_filter *filter,
                                            store_device_fn each, void *arg);
/** `after` and `limit` are not looked at. */
LK_MUST_CHECK enum lk_err store_device_count(struct store_db *db,
                                             const struct store_device_filter *filter,
                                             uint64_t *count);

struct store_children {
    size_t count;
    char id[LK_CHILDREN_MAX][LK_SUBJECT_MAX + 1];
};

/** The active devices whose parent this is, by id. @return LK_ERR_LIMIT: more than fit. */
LK_MUST_CHECK enum lk_err store_children_get(struct store_db *db, struct lk_span parent,
                                             struct store_children *children);

/** All devices with this parent, suspended ones too. */
LK_MUST_CHECK enum lk_err store_children_count(struct store_db *db, struct lk_span parent,
                                               uint64_t *count);

/* --- Clients -------------------------------------------------------------------------------- */

struct store_client {
    char id[LK_SUBJECT_MAX + 1];
    char tenant[LK_TENANT_MAX + 1];
    char role[TYPE_MAX_LEN + 1];
    char name[NAME_MAX_LEN + 1];
    char scopes[LK_SCOPE_MAX + 1]; /* empty: those of the role */
    char created_by[LK_SUBJECT_MAX + 1];
    enum store_state state;
    uint64_t generation;
    int64_t lifetime_s; /* of its access tokens; 0: the role's */
    int64_t created_s;
    uint8_t secret_hash[32];
    int64_t old_until_s; /* as for a device */
    uint8_t old_hash[32];
};

LK_MUST_CHECK enum lk_err store_client_put(struct store_db *db, const struct store_client *client);
LK_MUST_CHECK enum lk_err store_client_get(struct store_db *db, struct lk_span id,
                                           struct store_client *client);

/** As store_device_set_state. */
LK_MUST_CHECK enum lk_err store_client_set_state(struct store_db *db, struct lk_span id,
                                                 enum store_state state, int64_t now_s,
                                                 struct store_client *client);
/** For good; its id stays taken. */
LK_MUST_CHECK enum lk_err store_client_delete(struct store_db *db, struct lk_span id,
                                              int64_t now_s);

typedef void (*store_client_fn)(const struct store_client *client, void *arg);

LK_MUST_CHECK enum lk_err store_client_list(struct store_db *db, struct lk_span tenant,
                                            struct lk_span after, unsigned limit,
                                            store_client_fn each, void *arg);

/* --- What a device last said ---------------------------------------------------------------- */

#define STORE_NO_VALUE INT32_MIN

struct store_telemetry {
    int64_t received_ms;    /* since 1970 */
    struct lk_span payload; /* JSON text, at most TELEMETRY_MAX bytes */
    int32_t battery;        /* percent; STORE_NO_VALUE: not said */
    int32_t rssi;           /* dBm */
};

/**
 * Keep the latest telemetry and move last-seen forward. A value that is not said leaves the one
 * before. LK_ERR_NOT_FOUND for a device that is not registered; LK_ERR_LIMIT for a long payload.
 */
LK_MUST_CHECK enum lk_err store_telemetry_put(struct store_db *db, struct lk_span device,
                                              const struct store_telemetry *telemetry);
/** @param room  payload is copied into it; TELEMETRY_MAX suffices. LK_ERR_NOT_FOUND: none yet. */
LK_MUST_CHECK enum lk_err store_telemetry_get(struct store_db *db, struct lk_span device,
                                              struct lk_buf room,
                                              struct store_telemetry *telemetry);
/** Only last-seen, e.g. for a status message or a result. */
LK_MUST_CHECK enum lk_err store_seen_put(struct store_db *db, struct lk_span device,
                                         int64_t seen_s);
/** LK_ERR_NOT_FOUND for a device that is not registered. An older `since_s` than the stored one
 * changes nothing (retained messages arrive again on every reconnect). */
LK_MUST_CHECK enum lk_err store_presence_put(struct store_db *db, struct lk_span device,
                                             bool online, int64_t since_s);

/* --- Commands ------------------------------------------------------------------------------- */

enum store_command_state {
    STORE_COMMAND_PENDING = 1,
    STORE_COMMAND_DELIVERED,
    STORE_COMMAND_DONE,
    STORE_COMMAND_FAILED,
    STORE_COMMAND_EXPIRED,
    STORE_COMMAND_CANCELLED
};

struct store_command {
    char id[COMMAND_ID_LEN + 1]; /* ids sort by the time they were made */
    char device[LK_SUBJECT_MAX + 1];
    char name[COMMAND_NAME_MAX + 1];
    char sent_by[LK_SUBJECT_MAX + 1];
    enum store_command_state state;
    int64_t issued_s;
    int64_t expires_s;
    int64_t delivered_s;   /* 0: not yet */
    int64_t finished_s;    /* 0: not yet */
    struct lk_span args;   /* JSON text; absent: none */
    struct lk_span detail; /* JSON text of the result's detail; absent: none */
};

/** Time-ordered, unique: 26 characters of [0-9a-z], terminated. */
LK_MUST_CHECK enum lk_err store_command_new_id(char id[COMMAND_ID_LEN + 1]);

/** Put as pending. LK_ERR_LIMIT: the device has `pending_max` unfinished ones already. */
LK_MUST_CHECK enum lk_err store_command_put(struct store_db *db,
                                            const struct store_command *command,
                                            unsigned pending_max);

/** @param room  args and detail are copied into it; 64 KiB suffice. */
LK_MUST_CHECK enum lk_err store_command_get(struct store_db *db, struct lk_span id,
                                            struct lk_buf room, struct store_command *command);

/**
 * Move a command on: pending -> delivered | done | failed | expired | cancelled, delivered -> done
 * | failed | expired | cancelled. Anything else is LK_ERR_STATE and changes nothing (to the state
 * it is in: also LK_ERR_STATE, so a repeated "received" is recognised).
 * @param device  whose command it must be; otherwise LK_ERR_NOT_FOUND. Absent: any.
 * @param detail  at most COMMAND_DETAIL_MAX bytes of JSON text; absent: none.
 */
LK_MUST_CHECK enum lk_err store_command_set_state(struct store_db *db, struct lk_span device,
                                                  struct lk_span id, enum store_command_state state,
                                                  struct lk_span detail, int64_t now_s);

typedef void (*store_command_fn)(const struct store_command *command, void *arg);

/** Newest first, ids smaller than `before` (absent: from the newest). */
LK_MUST_CHECK enum lk_err store_command_list(struct store_db *db, struct lk_span device,
                                             struct lk_span before, unsigned limit,
                                             store_command_fn each, void *arg);

/**
 * Commands in state pending that have not expired, oldest first, ids greater than `after`.
 * @param device  absent: of all devices.
 */
LK_MUST_CHECK enum lk_err store_command_pending(struct store_db *db, struct lk_span device,
                                                struct lk_span after, int64_t now_s, unsigned limit,
                                                store_command_fn each, void *arg);

/**
 * Commands the desk should publish now: pending, not expired, due (see store_command_defer; a new
 * one is due at once). The longest due first. Uses `due_s`, an integer column that is 0 when put.
 */
LK_MUST_CHECK enum lk_err store_command_due(struct store_db *db, int64_t now_s, unsigned limit,
                                            store_command_fn each, void *arg);

#define STORE_NEVER_DUE INT64_MAX

/** Not due again before `due_s`; STORE_NEVER_DUE: the broker has it. Changes pending ones only, and
 * LK_OK when there is nothing to change. For the writer. */
LK_MUST_CHECK enum lk_err store_command_defer(struct store_db *db, struct lk_span id,
                                              int64_t due_s);

/**
 * Make deferred pending commands due at once. For the writer.
 * @param device     absent: of all devices.
 * @param also_never those the broker had, too: it has lost its sessions.
 */
LK_MUST_CHECK enum lk_err store_command_undefer(struct store_db *db, struct lk_span device,
                                                bool also_never);

/** Pending and delivered ones of a device. */
LK_MUST_CHECK enum lk_err store_command_count_open(struct store_db *db, struct lk_span device,
                                                   uint64_t *count);

/** Set what is due to expired, at most `limit`; each is told (args absent). For the writer. */
LK_MUST_CHECK enum lk_err store_command_expire(struct store_db *db, int64_t now_s, unsigned limit,
                                               store_command_fn each, void *arg);

/* --- Refresh families (oauth/refresh.c) ----------------------------------------------------- */

#define STORE_FAMILY_LEN   16
#define STORE_TOKEN_ID_LEN 16

struct store_family {
    uint8_t id[STORE_FAMILY_LEN];
    char device[LK_SUBJECT_MAX + 1];
    char scopes[LK_SCOPE_MAX + 1];
    unsigned audience;
    uint64_t generation;
    uint32_t counter; /* of the newest token given out */
    int64_t created_s;
    int64_t expires_s;  /* of the newest token */
    int64_t rotated_ms; /* when the newest took the place of the one before; 0: it is the first */
    int64_t revoked_s;  /* 0: alive */
    /* Its access tokens that have not expired, so that they can be revoked with it. */
    size_t token_count;
    bool crowded; /* there were more than fit */
    struct {
        uint8_t id[STORE_TOKEN_ID_LEN];
        int64_t expires_s;
    } token[FAMILY_TOKENS_MAX];
};

/** Put a new family; beyond `max` of one device the oldest are dropped. */
LK_MUST_CHECK enum lk_err store_family_put(struct store_db *db, const struct store_family *family,
                                           unsigned max);
LK_MUST_CHECK enum lk_err store_family_get(struct store_db *db, const uint8_t id[STORE_FAMILY_LEN],
                                           struct store_family *family);
/** Write counter, expires_s, rotated_ms, revoked_s and the tokens. */
LK_MUST_CHECK enum lk_err store_family_update(struct store_db *db,
                                              const struct store_family *family);
/** Note an access token, and forget those that have expired. Only computes. */
void store_family_note(struct store_family *family, const uint8_t id[STORE_TOKEN_ID_LEN],
                       int64_t expires_s, int64_t now_s);
/** The end of a family and of its access tokens. Of a crowded one: of all tokens of the device. */
LK_MUST_CHECK enum lk_err store_family_revoke(struct store_db *db, struct store_family *family,
                                              int64_t now_s);

/* --- Revocation -------------------------------------------------------------------------------
 *
 * Tokens carry the generation of the secret they were obtained with. The generation of a device or
 * client is that of its newest secret; while an old secret is valid, generation - 1 is good too.
 * Below that every token is void, and the feed says so. Each of these puts its entry into the feed
 * in the same transaction, so what was answered is in the feed.
 */

enum store_who { STORE_DEVICE = 1, STORE_CLIENT = 2 };

/** Note a token that is about to be given out. LK_ERR_STATE: not any more, it is suspended, gone or
 * of a newer generation. */
LK_MUST_CHECK enum lk_err store_token_issued(struct store_db *db, enum store_who who,
                                             struct lk_span id, uint64_t generation,
                                             int64_t expires_s, int64_t now_s);

/** Void every token of a device or client. `keep_families`: its refresh tokens stay good. */
LK_MUST_CHECK enum lk_err store_tokens_end(struct store_db *db, enum store_who who,
                                           struct lk_span id, int64_t now_s, bool keep_families);

struct store_token {
    enum store_who who;
    char subject[LK_SUBJECT_MAX + 1];
    uint8_t id[STORE_TOKEN_ID_LEN];
    uint64_t generation;
    int64_t expires_s;
};

/** One access token. With FEED_SUBJECT_MAX entries about its subject already, all of them. */
LK_MUST_CHECK enum lk_err store_token_revoke(struct store_db *db, const struct store_token *token,
                                             int64_t now_s);

/**
 * A new secret. @param old_until_s  the old one works until then, and tokens obtained with it die
 * then; not after now_s: at once. An older one that still worked ends now.
 * @param psk_sealed  devices only.
 */
LK_MUST_CHECK enum lk_err store_secret_replace(struct store_db *db, enum store_who who,
                                               struct lk_span id, const uint8_t hash[32],
                                               struct lk_span psk_sealed, int64_t old_until_s,
                                               int64_t now_s);
/** Is the time of an old secret over? For any connection. */
bool store_overlaps_wait(struct store_db *db, int64_t now_s);
LK_MUST_CHECK enum lk_err store_overlaps_end(struct store_db *db, int64_t now_s);

enum store_feed_kind {
    STORE_FEED_JTI = 1,
    STORE_FEED_FAMILY, /* not written: its tokens are listed one by one */
    STORE_FEED_SUB,
    STORE_FEED_KID
};

struct store_feed_entry {
    enum store_feed_kind kind;
    char value[FEED_VALUE_MAX + 1];
    uint64_t gen_before; /* STORE_FEED_SUB */
    int64_t until_s;     /* nothing it is about lives longer */
};

_Static_assert(FEED_VALUE_MAX >= LK_SUBJECT_MAX && FEED_VALUE_MAX >= LK_KID_MAX, "both fit");

struct store_feed_page {
    char epoch[FEED_EPOCH_MAX + 1];
    int64_t seq; /* the highest number that is covered */
    bool full;   /* this is the whole present set, or its beginning */
    bool more;   /* ask again from seq at once */
    unsigned count;
};

typedef void (*store_feed_fn)(const struct store_feed_entry *entry, void *arg);

/**
 * The entries after a number, in the order of their commits.
 * @param after  -1: from the beginning. A number of another epoch, one not given yet, and one from
 *               before what is kept give the whole set.
 * @param each   NULL: only count.
 */
LK_MUST_CHECK enum lk_err store_feed_read(struct store_db *db, struct lk_span epoch, int64_t after,
                                          unsigned limit, struct store_feed_page *page,
                                          store_feed_fn each, void *arg);
/** Epoch and newest number only. */
LK_MUST_CHECK enum lk_err store_feed_head(struct store_db *db, struct store_feed_page *page);
/** Is it in there? LK_ERR_NOT_FOUND: no. */
LK_MUST_CHECK enum lk_err store_feed_has(struct store_db *db, enum store_feed_kind kind,
                                         struct lk_span value);
/** Another epoch: for a database that was restored. */
LK_MUST_CHECK enum lk_err store_feed_renew(struct store_db *db);

/** `grew` runs on the writer's thread after each commit that may have added entries, and must be
 * short. Once, before anything is written. */
void store_feed_watch(struct store *store, void (*grew)(void *arg), void *arg);

/* --- Denials: what a verifier refused, the last few of each device ---------------------------- */

struct store_denial {
    struct lk_span device, client_id, action, topic, reason, reported_by;
    int64_t at_s;
    int64_t count;
};

typedef void (*store_denial_fn)(const struct store_denial *denial, void *arg);

LK_MUST_CHECK enum lk_err store_denial_put(struct store_db *db, const struct store_denial *denial);
/** Newest first. */
LK_MUST_CHECK enum lk_err store_denial_list(struct store_db *db, struct lk_span device,
                                            store_denial_fn each, void *arg);

/* --- Idempotency, audit, keys, cleaning ----------------------------------------------------- */

/** @param body  hash of method, path and body. LK_ERR_NOT_FOUND; LK_ERR_STATE: another body. */
LK_MUST_CHECK enum lk_err store_answer_get(struct store_db *db, struct lk_span caller,
                                           struct lk_span key, const uint8_t body[32],
                                           int64_t now_s, struct lk_buf room,
                                           struct lk_span *sealed);
LK_MUST_CHECK enum lk_err store_answer_put(struct store_db *db, struct lk_span caller,
                                           struct lk_span key, const uint8_t body[32],
                                           struct lk_span sealed, int64_t until_s);

struct store_audit {
    int64_t at_ms;
    char who[AUDIT_TEXT_MAX];    /* caller, as proven; "-" when it is not known */
    char what[64];               /* "device.create" */
    char target[AUDIT_TEXT_MAX]; /* what it was done to */
    char from[64];               /* address */
    char result[64];             /* "ok", or the error's code */
    char request_id[HTTP_REQUEST_ID_MAX + 1];
};

LK_MUST_CHECK enum lk_err store_audit_put(struct store_db *db, const struct store_audit *audit);

struct store_key {
    char kid[LK_KID_MAX + 1];
    int alg;    /* enum lk_alg */
    bool signs; /* not only kept to verify with */
    int64_t created_s;
    int64_t signs_from_s;  /* published before, so that verifiers have it by then */
    int64_t until_s;       /* when the last token it signed expires; 0: not known yet */
    struct lk_span sealed; /* keys/ring.c */
};

typedef enum lk_err (*store_key_fn)(const struct store_key *key, void *arg);

LK_MUST_CHECK enum lk_err store_key_put(struct store_db *db, const struct store_key *key);
LK_MUST_CHECK enum lk_err store_key_list(struct store_db *db, store_key_fn each, void *arg);

/** When the last of all tokens of devices and clients expires. */
LK_MUST_CHECK enum lk_err store_tokens_until(struct store_db *db, int64_t *until_s);
/** Delete a compromised key and tell the feed. */
LK_MUST_CHECK enum lk_err store_key_revoke(struct store_db *db, struct lk_span kid,
                                           int64_t until_s);
LK_MUST_CHECK enum lk_err store_key_begin(struct store_db *db, struct lk_span kid, int64_t at_s);
/** Has store_keys_retire() something to do? For any connection. */
bool store_keys_wait(struct store_db *db, int64_t now_s);
/** Give replaced keys an end, and delete those past it.
 * @param longest_s  the longest life of a token that is written down nowhere. */
LK_MUST_CHECK enum lk_err store_keys_retire(struct store_db *db, int64_t longest_s, int64_t now_s);

/** Delete what is past its time, at most STORE_CLEAN_BATCH rows of each kind.
 * @param more [out] there is more to do. */
LK_MUST_CHECK enum lk_err store_clean(struct store_db *db, int64_t now_s, bool *more);

#endif
