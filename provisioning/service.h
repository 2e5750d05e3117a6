/*
 * provisioning/service.h - the running latchkeyd: passed to everything, never global.
 *
 * Threads: the main thread takes signals, re-reads the configuration and starts the cleaning;
 * `workers` threads each run an event loop with HTTP connections and a read connection to the
 * store; one thread writes to the store; the desk has a thread of its own. What stands here is
 * set before the workers start and is not changed afterwards, except `config` and `ring`, which are
 * swapped.
 */
#ifndef PROVISIONING_SERVICE_H
#define PROVISIONING_SERVICE_H

#include <pthread.h>

#include "config.h"

struct store;  /* store/store.h */
struct ring;   /* keys/ring.h */
struct seal;   /* keys/seal.h */
struct guess;  /* oauth/guess.h */
struct server; /* http/server.h */
struct desk;   /* desk/desk.h */
struct feed;   /* feed/feed.h */
struct store_db;

struct service {
    pthread_mutex_t config_lock;
    struct config *config; /* through service_config_hold only */
    struct seal *seal;     /* master key: seals and derives */
    struct store *store;
    struct ring *ring;         /* signing keys: through service_ring_hold only */
    pthread_mutex_t ring_lock; /* one reload at a time, so that the newest stays */
    struct feed *feed;
    struct guess *guess; /* failures of credentials */
    struct server *server;
    struct desk *desk; /* NULL: switched off */

    /* Refusals that are audited in this second: strangers must not push the rest out. */
    pthread_mutex_t audit_lock;
    int64_t audit_second;
    unsigned audit_count;
};

/** The current configuration; give it back with config_drop(). Never NULL. */
struct config *service_config_hold(struct service *service);

/** Swap in a new one (takes over the caller's reference). */
void service_config_put(struct service *service, struct config *config);

/** The current signing keys; give them back with ring_close(). Never NULL. */
struct ring *service_ring_hold(struct service *service);

/** Load the keys again. On error the old ones stay, and the log says so. */
LK_MUST_CHECK enum lk_err service_ring_reload(struct service *service, struct store_db *db);

#endif
