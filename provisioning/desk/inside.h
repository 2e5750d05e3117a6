/*
 * desk/inside.h - what the desk's own files share; nobody else includes it.
 *
 * The thread, its connection and everything in struct desk belong to the desk's thread, except what
 * is marked. A turn of the thread: poll the socket and the wake-up, step the connection, commit
 * what came in, publish what is due, expire what is over.
 */
#ifndef DESK_INSIDE_H
#define DESK_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <latchkey/bytes.h>
#include <latchkey/err.h>

#include "limits.h"
#include "desk/message.h"
#include "desk/mqtt.h"
#include "desk/topic.h"
#include "store/store.h"

struct http_call;
struct service;

/* --- intake.c: messages of devices, collected and committed together -------------------------- */

struct intake_item {
    enum desk_topic_kind kind;
    bool is_seen; /* says that the device is there now: not a retained message of yesterday */
    bool online;  /* presence */
    int64_t since_s;
    int64_t received_ms;
    enum store_command_state state; /* result */
    struct message_vitals vitals;   /* telemetry */
    char device[LK_SUBJECT_MAX + 1];
    char command[COMMAND_ID_LEN + 1];
    uint8_t *text; /* telemetry: the payload; result: the detail; owned, NULL: none */
    size_t text_len;
    /* Written by the commit */
    enum lk_err outcome;
};

/** Refusals of one kind: all are counted, few are logged. */
struct intake_count {
    uint64_t count, told;
    int64_t quiet_until_ms;
};

struct intake {
    struct intake_item item[DESK_BATCH_MAX];
    size_t count;
    size_t bytes;      /* of all texts */
    int64_t oldest_ms; /* monotonic: when the first came */
    unsigned tries;    /* commits of this batch the store refused */
    int64_t retry_at_ms;
    uint64_t stored;
    struct intake_count malformed, unknown, late, lost;
    uint8_t room[TELEMETRY_MAX]; /* for taking payloads apart */
};

/** Take a message in; a bad one is counted and forgotten. Telemetry replaces older telemetry of the
 * same device in the batch. The caller commits first when the batch is full. */
void intake_put(struct intake *intake, struct lk_span topic, struct lk_span payload,
                bool is_retained, int64_t now_ms, int64_t monotonic_ms);

bool intake_is_full(const struct intake *intake);
/** Is it time to commit? Never before retry_at_ms. */
bool intake_is_due(const struct intake *intake, int64_t monotonic_ms);

typedef void (*intake_finished_fn)(const char *command, void *arg);

/**
 * Commit the batch; on success it is empty, and `finished` was told of every command that came to
 * its end. Blocks until the commit is on disk.
 * @return LK_OK; another error: the store will not have it now, the batch stays (until it has been
 *         refused DESK_FLUSH_TRIES_MAX times; then it is dropped, counted, and LK_OK).
 */
LK_MUST_CHECK enum lk_err intake_commit(struct intake *intake, struct store *store,
                                        int64_t monotonic_ms, intake_finished_fn finished,
                                        void *arg);
void intake_wipe(struct intake *intake);

/* --- outbox.c: commands on their way to the broker -------------------------------------------- */

struct outbox_item {
    char id[COMMAND_ID_LEN + 1];
    int64_t issued_s;
    int mid;          /* of libmosquitto */
    bool is_answered; /* by the broker; waits for its place in the store */
    int64_t due_s;    /* then: when it is due again */
};

struct outbox {
    struct outbox_item item[DESK_INFLIGHT_MAX];
    size_t count;
    bool is_more;        /* the store may have more that is due */
    int64_t answered_ms; /* monotonic: when the first of those that wait was answered; 0: none */
};

/** The message of contracts section 10. @return LK_ERR_LIMIT: the room is too small. */
LK_MUST_CHECK enum lk_err outbox_message(const struct store_command *command, struct lk_buf room,
                                         struct lk_span *json);

/** Publish what is due, as far as there is room. */
void outbox_fill(struct outbox *outbox, struct store_db *db, struct mqtt *mqtt, int64_t now_s);
void outbox_on_sent(struct outbox *outbox, int mid, int reason, int64_t now_s,
                    int64_t monotonic_ms);
bool outbox_has_answers(const struct outbox *outbox);
/** Is it time to write the broker's answers down? */
bool outbox_is_due(const struct outbox *outbox, int64_t monotonic_ms);
/** Do so. Blocks until the commit is on disk. */
void outbox_commit(struct outbox *outbox, struct store *store, int64_t monotonic_ms);
bool outbox_is_idle(const struct outbox *outbox);
/** The connection is gone: what was not acknowledged will be published again. */
void outbox_drop(struct outbox *outbox);

/** When a command nobody was subscribed for goes again: half its age, within limits. */
int64_t outbox_retry_s(int64_t issued_s, int64_t now_s);

/* --- waiters.c: HTTP requests that wait for a command's end ----------------------------------- */

struct waiter;

struct waiters {
    pthread_mutex_t lock;
    struct waiter *first; /* under lock */
    unsigned count;       /* under lock */
    bool is_closed;       /* under lock */
};

enum lk_err waiters_open(struct waiters *waiters);
void waiters_free(struct waiters *waiters);

/** Hold an answered call for at most `wait_s` seconds, then send it with the command as it is. */
void waiters_hold(struct waiters *waiters, struct http_call *call, const char *command,
                  unsigned wait_s);
/** Any thread: a command came to its end. NULL: whatever they wait for. */
void waiters_tell(struct waiters *waiters, const char *command);
/** Tell everybody and hold nobody any more. */
void waiters_close(struct waiters *waiters);

/* --- command_json.c, commands.c, status.c ------------------------------------------------------
 */

/** A command as /v1 shows it. NULL: out of memory. */
json_t *command_json(const struct store_command *command);
const char *command_state_name(enum store_command_state state);

void commands_post(struct http_call *call);
void commands_list(struct http_call *call);
void commands_get(struct http_call *call);
void status_get(struct http_call *call);

/* --- desk.c ----------------------------------------------------------------------------------- */

struct desk {
    struct service *service;
    struct waiters waiters; /* any thread */
    atomic_bool stop;
    atomic_bool is_connected;
    atomic_bool is_connecting; /* inside a call that may block for long: desk_stop interrupts it */
    int wake_fd;               /* eventfd */
    pthread_t thread;
    pthread_mutex_t done_lock;
    pthread_cond_t done_cond;
    bool is_done; /* under done_lock */

    struct store_db *db;
    struct mqtt *mqtt; /* NULL: not connected */
    bool is_ready;
    int64_t ready_at_ms;
    int64_t renew_at_ms; /* the token grows old: with nothing on its way, reconnect */
    int64_t renew_by_ms; /* or no later than this */
    int64_t connect_at_ms;
    unsigned failures; /* connections that did not last, in a row */
    int64_t sweep_at_ms;
    bool is_undefer_due; /* the broker lost its sessions: commands it had are due again */
    struct intake intake;
    struct outbox outbox;
};

#endif
