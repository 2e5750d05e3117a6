/*
 * provisioning/http/server.h - HTTPS: listening, connections, worker threads.
 *
 * Each worker has its own socket (SO_REUSEPORT), event loop, read connection to the store, and
 * mailbox. evhttp and its traps stay in server.c and call.c.
 */
#ifndef PROVISIONING_SERVER_H
#define PROVISIONING_SERVER_H

#include <pthread.h>

#include "call.h"

struct evhttp;
struct evhttp_request;
struct event;
struct evconnlistener;
struct connection;

struct worker {
    struct service *service;
    struct server *server;
    const struct router *router;
    struct event_base *base;
    struct evhttp *http;
    struct evconnlistener *listener;
    struct event *tick; /* every second: connections that take too long */
    struct mailbox *mailbox;
    struct store_db *db;
    struct connection *connections;
    unsigned connection_count;
    unsigned calls;           /* in hand, not answered yet */
    struct http_inner *spare; /* finished calls, kept for the next request */
    unsigned spare_count;
    bool stopping;
    int64_t stop_at_ms;
    char id_prefix[12]; /* of request ids */
    uint64_t id_next;
    pthread_t thread;
    bool runs;
    struct letter stop_letter;
};

/** Load certificate and key. May be called again while running: a bad file changes nothing. */
LK_MUST_CHECK enum lk_err server_load_tls(struct server *server, const struct config *config);

/**
 * Listen and start the workers. The store and keys of the service must be open.
 * @param router  borrowed.
 * @return LK_ERR_EXISTS: the port is taken (logged), LK_ERR_IO, LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err server_new(struct service *service, const struct router *router,
                                     struct server **out);
LK_MUST_CHECK enum lk_err server_start(struct server *server);

/** Stop accepting, answer what was accepted, join the workers. */
void server_stop(struct server *server);
void server_free(struct server *server); /* NULL is fine */

/** Requests from now on are told "stopping" by /readyz. */
bool server_is_stopping(const struct server *server);

/** A call begins and ends on this connection: it is not idle meanwhile. */
void connection_busy(struct evhttp_request *request, bool busy);

#endif
