/*
 * desk/mqtt.h - one MQTT 5 connection on libmosquitto, driven by the caller's poll loop.
 *
 * One object is one connection: it is opened, stepped, and closed when it breaks; the next
 * connection is a new object. What the broker should keep meanwhile is in its session (clean start
 * off, DESK_SESSION_EXPIRY_S). All calls from one thread; nothing here knows the store.
 *
 * libmosquitto acknowledges a QoS 1 message before it hands it over: see DESIGN.md.
 */
#ifndef DESK_MQTT_H
#define DESK_MQTT_H

#include <stdbool.h>
#include <stdint.h>

#include <latchkey/bytes.h>
#include <latchkey/err.h>

struct mqtt_target {
    const char *host;
    uint16_t port;
    const char *ca_file;   /* PEM; NULL: plain TCP */
    const char *client_id; /* also names the session */
};

/** Called from mqtt_step. The spans are the library's: copy what is to be kept. */
struct mqtt_handler {
    void *context;
    /** Connected and subscribed. `is_resumed`: the broker still had the session. */
    void (*on_ready)(void *context, bool is_resumed);
    void (*on_message)(void *context, struct lk_span topic, struct lk_span payload,
                       bool is_retained);
    /** The broker answered a publish: an MQTT 5 reason code, 0 and 0x10 are no errors. */
    void (*on_sent)(void *context, int mid, int reason);
};

#define MQTT_REASON_NO_SUBSCRIBERS 0x10

struct mqtt;

/** Once in a process, before and after everything else here. */
LK_MUST_CHECK enum lk_err mqtt_library_open(void);
void mqtt_library_close(void);

/**
 * Connect, waiting for TCP only; CONNACK and SUBACK are awaited by mqtt_step.
 *
 * @param handler  copied.
 * @param token    password of CONNECT, terminated; the library keeps a copy until mqtt_close.
 * @return LK_OK; LK_ERR_ARG (a TLS file cannot be read), LK_ERR_UNAVAILABLE, LK_ERR_NOMEM. All
 *         logged.
 */
LK_MUST_CHECK enum lk_err mqtt_open(const struct mqtt_target *target,
                                    const struct mqtt_handler *handler, const char *token,
                                    struct mqtt **mqtt);

/** Send DISCONNECT if connected (the session stays), free. NULL is fine. */
void mqtt_close(struct mqtt *mqtt);

int mqtt_fd(const struct mqtt *mqtt); /* for poll; -1 when the connection is gone */
bool mqtt_wants_write(const struct mqtt *mqtt);

/**
 * Read, write and keep alive after poll.
 * @return LK_OK; LK_ERR_DENIED (CONNECT or SUBSCRIBE refused), LK_ERR_CLOSED: close it. Logged.
 */
LK_MUST_CHECK enum lk_err mqtt_step(struct mqtt *mqtt, bool is_readable, bool is_writable);

/**
 * Publish with QoS 1, not retained.
 * @param expiry_s  message expiry interval.
 * @param mid       [out] comes back in on_sent.
 */
LK_MUST_CHECK enum lk_err mqtt_publish(struct mqtt *mqtt, const char *topic, struct lk_span payload,
                                       uint32_t expiry_s, int *mid);

#endif
