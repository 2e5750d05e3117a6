/*
 * latchkey/device/mqtt.h - the packets of an MQTT client, 3.1.1 and 5. Bytes only, no I/O.
 *
 * Writers take a struct and fill a room; nothing is written unless all of it fits. The reader takes
 * whole packets a broker may send and is strict: what the standards call malformed is refused.
 * `version` is 4 for MQTT 3.1.1 and 5 for MQTT 5.0 everywhere.
 *
 * Not here: QoS 2, topic aliases, subscription identifiers, user properties (skipped when read).
 */
#ifndef LATCHKEY_DEVICE_MQTT_H
#define LATCHKEY_DEVICE_MQTT_H

#include <latchkey/bytes.h>
#include <latchkey/device/limits.h>
#include <latchkey/err.h>

enum lk_mqtt_version { LK_MQTT_311 = 4, LK_MQTT_5 = 5 };

enum lk_mqtt_type {
    LK_MQTT_CONNECT = 1,
    LK_MQTT_CONNACK = 2,
    LK_MQTT_PUBLISH = 3,
    LK_MQTT_PUBACK = 4,
    LK_MQTT_SUBSCRIBE = 8,
    LK_MQTT_SUBACK = 9,
    LK_MQTT_UNSUBSCRIBE = 10,
    LK_MQTT_UNSUBACK = 11,
    LK_MQTT_PINGREQ = 12,
    LK_MQTT_PINGRESP = 13,
    LK_MQTT_DISCONNECT = 14,
    LK_MQTT_AUTH = 15
};

/** Reason codes that decide something here (MQTT 5.0 section 2.4). */
enum lk_mqtt_reason {
    LK_MQTT_SUCCESS = 0x00,
    LK_MQTT_CONTINUE_AUTH = 0x18,
    LK_MQTT_REAUTHENTICATE = 0x19,
    LK_MQTT_UNSPECIFIED = 0x80,
    LK_MQTT_MALFORMED = 0x81,
    LK_MQTT_PROTOCOL_ERROR = 0x82,
    LK_MQTT_BAD_PASSWORD = 0x86,
    LK_MQTT_NOT_AUTHORIZED = 0x87,
    LK_MQTT_SHUTTING_DOWN = 0x8B,
    LK_MQTT_KEEP_ALIVE = 0x8D,
    LK_MQTT_TAKEN_OVER = 0x8E,
    LK_MQTT_TOO_LARGE = 0x95,
    LK_MQTT_ADMINISTRATIVE = 0x98
};

struct lk_mqtt_will {
    struct lk_span topic, payload;
    uint8_t qos; /* 0 or 1 */
    bool retain;
    uint32_t delay_s; /* MQTT 5 */
};

struct lk_mqtt_connect {
    uint8_t version;
    bool clean_start;
    uint16_t keep_alive_s;
    struct lk_span client_id;
    struct lk_span username; /* absent: no user name; 3.1.1 needs one with a password */
    struct lk_span password;
    bool password_base64url;         /* send the password's base64url text instead of its bytes */
    const struct lk_mqtt_will *will; /* NULL: none */
    /* MQTT 5 only; 0 or absent is not sent */
    uint32_t session_expiry_s;
    uint16_t receive_max;
    uint32_t packet_max;
    struct lk_span auth_method, auth_data;
};

struct lk_mqtt_publish {
    struct lk_span topic, payload;
    uint8_t qos; /* 0 or 1 */
    bool retain, dup;
    uint16_t packet_id; /* QoS 1: not 0 */
};

/*
 * Writers. `out` is inside `room`, and absent on error.
 * @return LK_OK; LK_ERR_ARG for what the standard forbids (version, QoS, packet id 0, empty or
 *         malformed topic, password without user name in 3.1.1); LK_ERR_LIMIT for a string over
 *         65535 bytes or a packet over LK_MQTT_PACKET_MAX; LK_ERR_NO_SPACE.
 */
LK_MUST_CHECK enum lk_err lk_mqtt_write_connect(const struct lk_mqtt_connect *connect,
                                                struct lk_buf room, struct lk_span *out);
LK_MUST_CHECK enum lk_err lk_mqtt_write_publish(uint8_t version,
                                                const struct lk_mqtt_publish *publish,
                                                struct lk_buf room, struct lk_span *out);
LK_MUST_CHECK enum lk_err lk_mqtt_write_puback(uint8_t version, uint16_t packet_id, uint8_t reason,
                                               struct lk_buf room, struct lk_span *out);
LK_MUST_CHECK enum lk_err lk_mqtt_write_subscribe(uint8_t version, uint16_t packet_id,
                                                  struct lk_span filter, uint8_t qos,
                                                  struct lk_buf room, struct lk_span *out);
LK_MUST_CHECK enum lk_err lk_mqtt_write_unsubscribe(uint8_t version, uint16_t packet_id,
                                                    struct lk_span filter, struct lk_buf room,
                                                    struct lk_span *out);
LK_MUST_CHECK enum lk_err lk_mqtt_write_pingreq(struct lk_buf room, struct lk_span *out);
/** In 3.1.1 the reason stays at home. */
LK_MUST_CHECK enum lk_err lk_mqtt_write_disconnect(uint8_t version, uint8_t reason,
                                                   struct lk_buf room, struct lk_span *out);
/** MQTT 5 only. @param reason  LK_MQTT_CONTINUE_AUTH or LK_MQTT_REAUTHENTICATE. */
LK_MUST_CHECK enum lk_err lk_mqtt_write_auth(uint8_t reason, struct lk_span method,
                                             struct lk_span data, struct lk_buf room,
                                             struct lk_span *out);

/** The properties a small client acts on; the others are checked and dropped. */
struct lk_mqtt_properties {
    struct lk_span auth_method, auth_data;
    struct lk_span reason_string;
    struct lk_span assigned_client_id;
    struct lk_span content_type;
    bool has_keep_alive;
    uint16_t keep_alive_s; /* if has_keep_alive */
    uint16_t receive_max;  /* 65535 if not sent */
    uint32_t packet_max;   /* UINT32_MAX if not sent */
    uint8_t qos_max;       /* 2 if not sent */
    bool retain_available; /* true if not sent */
};

struct lk_mqtt_packet {
    enum lk_mqtt_type type;
    bool session_present;   /* CONNACK */
    uint8_t reason;         /* CONNACK, PUBACK, DISCONNECT, AUTH; 3.1.1 codes as their MQTT 5 kin */
    uint16_t packet_id;     /* PUBLISH with QoS 1, PUBACK, SUBACK, UNSUBACK */
    struct lk_span reasons; /* SUBACK, UNSUBACK: one byte per filter; UNSUBACK of 3.1.1: none */
    bool dup, retain;       /* PUBLISH */
    uint8_t qos;
    struct lk_span topic, payload;
    struct lk_mqtt_properties props;
};

/**
 * How long is the packet at the front?
 * @param type  [out] its type and flags byte; valid with LK_OK.
 * @param len   [out] bytes in all, header included; valid with LK_OK.
 * @return LK_OK, also if the packet itself is not there in full; LK_ERR_TRUNCATED: more bytes are
 *         needed to tell; LK_ERR_MALFORMED: a remaining length of more than four bytes, or not the
 *         shortest form.
 */
LK_MUST_CHECK enum lk_err lk_mqtt_frame(struct lk_span bytes, uint8_t *type, size_t *len);

/**
 * Read one whole packet, exactly `bytes`, as a broker may send it to this client.
 * @param packet  [out] its spans point into `bytes`; zeroed on error.
 * @return LK_OK; LK_ERR_UNSUPPORTED for QoS 2 and for topic aliases (never asked for);
 *         LK_ERR_TYPE for a packet only a client sends; LK_ERR_MALFORMED and its range otherwise.
 */
LK_MUST_CHECK enum lk_err lk_mqtt_parse(uint8_t version, struct lk_span bytes,
                                        struct lk_mqtt_packet *packet);

/** "not authorized" and so on, for log lines; "unknown" for other numbers. Never NULL. */
const char *lk_mqtt_reason_text(uint8_t reason);

#endif
