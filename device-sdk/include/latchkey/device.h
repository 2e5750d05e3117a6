/*
 * latchkey/device.h - a device on an MQTT broker, with a token that renews itself.
 *
 * The third layer of the SDK, on top of the token source (latchkey/device/source.h) and the codecs
 * (mqtt.h, http.h, token_request.h); each layer can be used without those above it.
 *
 * The caller places the structs and lends the rooms, steps the machine, and waits as it is told:
 *
 *     for (;;) {
 *         struct lk_device_want want = lk_device_step(&device, now_ms());
 *         wait_for(&want);
 *     }
 *
 * It gets a token, connects, subscribes, keeps alive, and renews: on MQTT 5 by AUTH on the open
 * connection (enhanced authentication OAUTH2-CWT or OAUTH2-JWT; publishing goes on meanwhile),
 * otherwise by reconnecting with the new token as password, before the old one ends. A connection
 * the broker ends because of the token (DISCONNECT 0x87 or 0x98, CONNACK 0x86 or 0x87) leads to a
 * new token and then a new connection. Pauses between attempts are full-jitter, 1 s doubling to
 * 60 s.
 *
 * QoS 1 messages stay in the outbox until the broker has acknowledged them; after a reconnect they
 * are sent again, marked DUP where the broker kept the session.
 *
 * Rules for all of it: no heap, no globals, nothing blocks; one thread at a time per device. Rooms
 * are wiped when what passed through them is done with.
 *
 * Not here: QoS 2, dynamic subscriptions (list the filters in the configuration), storage of
 * messages across a reboot, parsing of payloads (but see lk_command_parse).
 */
#ifndef LATCHKEY_DEVICE_H
#define LATCHKEY_DEVICE_H

#include <latchkey/device/mqtt.h>
#include <latchkey/device/platform.h>
#include <latchkey/device/source.h>

struct lk_device;

struct lk_device_filter {
    struct lk_span filter;
    uint8_t qos; /* 0 or 1 */
};

enum lk_device_event_kind {
    LK_DEVICE_TOKEN,        /* the server gave a new token */
    LK_DEVICE_TOKEN_FAILED, /* an attempt failed: err, reason = OAuth error, until_ms = the next */
    LK_DEVICE_CONNECTED,    /* session_present */
    LK_DEVICE_RENEWED, /* on the open connection; count = renewals since the connection began */
    LK_DEVICE_DISCONNECTED, /* reason: the broker's code, 0 without one; err; until_ms = the next
                               attempt at the earliest */
    LK_DEVICE_SUBSCRIBED,   /* topic = the filter, reason = what the broker granted, >= 0x80 refused
                             */
    LK_DEVICE_PUBLISHED,    /* packet_id acknowledged; reason >= 0x80: the broker refused it */
    LK_DEVICE_MESSAGE,      /* topic, payload, retain; err = LK_ERR_LIMIT: too long, payload lost */
    LK_DEVICE_COMMAND       /* command_id, payload: a message to devices/{id}/commands/{command} */
};

/** Spans are valid until the callback returns. */
struct lk_device_event {
    enum lk_device_event_kind kind;
    enum lk_err err;
    uint8_t reason;
    bool session_present, retain;
    uint16_t packet_id;
    uint32_t count;
    uint64_t until_ms;
    struct lk_span topic, payload, command_id;
};

/**
 * Called from lk_device_step(). May publish and stop; must not step or wipe the device. A message
 * is acknowledged to the broker when the callback has returned; one may come twice.
 */
typedef void (*lk_device_event_fn)(void *ctx, struct lk_device *device,
                                   const struct lk_device_event *event);

/** Everything it points to is borrowed for as long as the device is used. */
struct lk_device_config {
    struct lk_source *source; /* initialised; the device steps it from now on */
    struct lk_transport link; /* to the broker; TLS, unless both are on one machine */
    struct lk_random random;
    uint8_t version;                 /* LK_MQTT_5 or LK_MQTT_311 */
    bool bearer;                     /* MQTT 5: token as password, not by enhanced authentication */
    struct lk_span id;               /* the device's id, as the server knows it */
    struct lk_span client_id;        /* absent: the id; or the id, ':' and a suffix */
    uint16_t keep_alive_s;           /* 0: no pings, and a dead broker is noticed late */
    uint32_t session_expiry_s;       /* how long the broker keeps session and commands of an absent
                                        device; 0: not at all. In 3.1.1: 0 or not 0 */
    const struct lk_mqtt_will *will; /* NULL: none */
    bool commands;                   /* subscribe to devices/{id}/commands/+ */
    const struct lk_device_filter *filters; /* subscribed to after every connect */
    size_t filter_count;
    struct lk_buf in_room; /* one packet from the broker; MQTT 5 brokers are told its size */
    struct lk_buf
        out_room;         /* packets to the broker; CONNECT: token (base64url as password) + 128 */
    struct lk_buf outbox; /* QoS 1 messages until acknowledged, 16 bytes more each; may be empty */
    lk_device_event_fn on_event; /* may be NULL */
    void *ctx;
};

/** QoS 1 messages, whole packets one behind the other, oldest first. */
struct lk_outbox {
    struct lk_buf room;
    size_t len;
    uint16_t last_id;
};

/** Fields are the device's own; use the calls. */
struct lk_device {
    struct lk_device_config config;
    uint8_t state;
    bool auth_pending, ping_pending, ping_owed, stopping, said_goodbye, ask_source;
    uint8_t failures; /* in a row */
    uint8_t token_failures;
    uint16_t receive_max; /* the broker's, of this connection */
    uint16_t sub_next;    /* the next filter to subscribe to */
    uint32_t packet_max;
    uint32_t keep_alive_ms;
    uint32_t serial_seen, serial_used, serial_auth, serial_spent; /* of tokens */
    uint32_t renewals;
    uint64_t skip; /* bytes of a message that is too long, still to be read past */
    size_t in_len, out_at, out_len;
    struct lk_outbox outbox;
    uint64_t next_ms;     /* next attempt to connect */
    uint64_t deadline_ms; /* of opening, CONNACK, goodbye */
    uint64_t auth_by_ms, pong_by_ms;
    uint64_t up_ms, sent_ms, heard_ms;
};

/** What to wait for: bytes on either transport (LK_WANT_ bits), or the time, whichever is first. */
struct lk_device_want {
    unsigned source_io; /* on the token source's transport */
    unsigned link_io;   /* on the broker's transport */
    uint64_t until_ms;
};

/** @return LK_OK, LK_ERR_ARG (something required is missing, or does not fit the version). */
LK_MUST_CHECK enum lk_err lk_device_init(struct lk_device *device,
                                         const struct lk_device_config *config);

/**
 * Do what can be done now. Never blocks; handles at most LK_DEVICE_PACKETS_MAX packets.
 * @param now_ms  milliseconds of a clock that never goes back.
 */
struct lk_device_want lk_device_step(struct lk_device *device, uint64_t now_ms);

/**
 * Publish. QoS 0 goes out on the open connection; QoS 1 goes to the outbox, also while there is no
 * connection.
 *
 * @param packet_id  [out] QoS 1: what LK_DEVICE_PUBLISHED will name; may be NULL.
 * @return LK_OK; LK_ERR_STATE: QoS 0 without a connection, or stopping; LK_ERR_BUSY: no room just
 *         now, step and try again; LK_ERR_LIMIT: will never fit the room, or the broker's maximum
 *         packet size; LK_ERR_ARG: topic or QoS not valid.
 */
LK_MUST_CHECK enum lk_err lk_device_publish(struct lk_device *device, struct lk_span topic,
                                            struct lk_span payload, uint8_t qos, bool retain,
                                            uint16_t *packet_id);

/** Publish to devices/{id}/telemetry. Errors as lk_device_publish(). */
LK_MUST_CHECK enum lk_err lk_device_telemetry(struct lk_device *device, struct lk_span payload,
                                              uint8_t qos, uint16_t *packet_id);

/** Publish, retained, to devices/{id}/status. Errors as lk_device_publish(). */
LK_MUST_CHECK enum lk_err lk_device_status(struct lk_device *device, struct lk_span payload,
                                           uint8_t qos, uint16_t *packet_id);

enum lk_result { LK_RESULT_RECEIVED, LK_RESULT_DONE, LK_RESULT_FAILED };

/**
 * Answer a command: {"state":"received"|"done"|"failed","detail":…} to
 * devices/{id}/commands/{command}/result, QoS 1.
 *
 * @param command_id  as the event brought it.
 * @param detail      text for people, at most LK_DEVICE_DETAIL_MAX bytes; absent: none.
 * @return as lk_device_publish(); LK_ERR_UTF8, LK_ERR_LIMIT for the detail.
 */
LK_MUST_CHECK enum lk_err lk_device_result(struct lk_device *device, struct lk_span command_id,
                                           enum lk_result result, struct lk_span detail);

/** Write "[t/{tenant}/]devices/{id}/{tail}". @return LK_OK, LK_ERR_NO_SPACE. */
LK_MUST_CHECK enum lk_err lk_device_topic(const struct lk_device *device, struct lk_span tail,
                                          struct lk_buf room, struct lk_span *out);

/** Is the connection open and accepted? */
bool lk_device_is_connected(const struct lk_device *device);

/** Messages in the outbox, sent or not. */
size_t lk_device_pending(const struct lk_device *device);

/**
 * Deliver the outbox, at most LK_DEVICE_STOP_MS long, say goodbye, close. Step on until
 * lk_device_is_stopped(). The will is not published.
 */
void lk_device_stop(struct lk_device *device);
bool lk_device_is_stopped(const struct lk_device *device);

/** Close at once and wipe rooms and struct. The source is the caller's to wipe. */
void lk_device_wipe(struct lk_device *device);

/** A command's payload taken apart; spans point into it. */
struct lk_command {
    struct lk_span id, name;
    struct lk_span args; /* as it stands in the payload, JSON or CBOR; absent if there are none */
    bool is_cbor;
    int64_t expires_at_s; /* seconds since 1970; 0: not said */
};

/**
 * Read {"id","name","args"?,"issued_at","expires_at"} in JSON or CBOR.
 *
 * @param payload  of LK_DEVICE_COMMAND. JSON texts are unescaped in place: pass a copy if the bytes
 *                 are needed afterwards.
 * @return LK_OK; LK_ERR_MISSING without a name; LK_ERR_MALFORMED and its range. On error the
 *         command is zeroed.
 */
LK_MUST_CHECK enum lk_err lk_command_parse(struct lk_buf payload, struct lk_command *command);

#endif
