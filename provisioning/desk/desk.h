/*
 * desk/desk.h - the desk: latchkeyd's own place at the broker.
 *
 * One thread with an MQTT 5 client takes in telemetry, status, presence and command results, and
 * sends commands out. HTTP workers never wait for the broker: they write to the store and wake the
 * desk. The broker may be down for as long as it likes; commands stay pending meanwhile.
 *
 * The service keeps the pointer as `service->desk`; NULL where [desk] is switched off. Order:
 * desk_start after the store, the ring and the configuration are open and before the workers run;
 * desk_stop before the workers stop (it answers the requests it holds through their mailboxes);
 * desk_free after they have stopped, before store_close.
 */
#ifndef DESK_DESK_H
#define DESK_DESK_H

#include <stdbool.h>

#include <latchkey/err.h>

struct desk;
struct router;
struct service;

/**
 * Start the desk's thread. It connects in its own time: an absent broker is not an error here.
 *
 * @param service  borrowed until desk_free.
 * @param desk     [out] NULL on error, and with LK_OK when it is switched off.
 * @return LK_OK, LK_ERR_NOMEM, LK_ERR_UNAVAILABLE, or an error of store_reader_open. Logged.
 */
LK_MUST_CHECK enum lk_err desk_start(struct service *service, struct desk **desk);

/** Disconnect and join the thread; usually at once, at most a second. Handlers may still be called:
 * commands are stored and stay pending. NULL is fine. */
void desk_stop(struct desk *desk);

/** After desk_stop, when no handler can run any more. NULL is fine. */
void desk_free(struct desk *desk);

/** There may be a command to publish. From any thread; never blocks. NULL is fine. */
void desk_wake(struct desk *desk);

/** Connected and subscribed. From any thread. NULL is false. */
bool desk_is_connected(const struct desk *desk);

/**
 * POST /v1/devices/{id}/commands [commands:send]; GET the same, /v1/devices/{id}/commands/{cid} and
 * /v1/devices/{id}/status [devices:read]. With the desk switched off POST answers 503.
 */
LK_MUST_CHECK enum lk_err desk_add_routes(struct router *router);

#endif
