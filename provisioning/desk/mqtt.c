#include "mqtt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <mosquitto.h>
#include <mqtt_protocol.h>

#include <latchkey/host/clock.h>
#include <latchkey/host/log.h>

#include "limits.h"

#define CONNACK_SESSION_PRESENT 0x01 /* MQTT 5.0 section 3.2.2.1.1 */
#define REASON_FAILURE          0x80 /* this and above: refused (MQTT 5.0 section 2.4) */

struct mqtt {
    struct mosquitto *mosq;
    struct mqtt_handler handler;
    bool is_resumed;
    bool is_ready;
    bool is_refused;
    int64_t ready_until_ms; /* give up when not ready by then */
    int64_t misc_at_ms;     /* next keep-alive turn */
};

/* Everything the desk takes in; the same once more for every tenant but the default one. */
static char *const filters[] = {
    "devices/+/telemetry/#",           "devices/+/status/#",
    "devices/+/commands/+/result",     "devices/+/presence",
    "t/+/devices/+/telemetry/#",       "t/+/devices/+/status/#",
    "t/+/devices/+/commands/+/result", "t/+/devices/+/presence",
};
#define FILTER_COUNT (int)(sizeof(filters) / sizeof(filters[0]))

enum lk_err
mqtt_library_open(void)
{
    return mosquitto_lib_init() == MOSQ_ERR_SUCCESS ? LK_OK : LK_ERR_UNAVAILABLE;
}

void
mqtt_library_close(void)
{
    (void)mosquitto_lib_cleanup();
}

/* The library's sentence, or a better one where the remedy is known. */
static const char *
why(int rc)
{
    if (rc == MOSQ_ERR_ERRNO)
        return strerror(errno);
    if (rc == MOSQ_ERR_TLS)
        return "TLS failed: mqtt_ca must hold the broker's CA, and its certificate mqtt_host";
    return mosquitto_strerror(rc);
}

static void
on_connect(struct mosquitto *mosq, void *context, int reason, int flags,
           const mosquitto_property *properties)
{
    struct mqtt *mqtt = context;
    int rc;

    (void)properties;
    if (reason != 0) {
        lk_log(LK_LOG_WARN, "desk.connect outcome=refused reason=%d detail=%s", reason,
               mosquitto_reason_string(reason));
        mqtt->is_refused = true;
        return;
    }
    mqtt->is_resumed = (flags & CONNACK_SESSION_PRESENT) != 0;
    /* "Send retained only if new": else every renewal would bring every retained status again. */
    rc = mosquitto_subscribe_multiple(mosq, NULL, FILTER_COUNT, filters, 1,
                                      MQTT_SUB_OPT_SEND_RETAIN_NEW, NULL);
    if (rc != MOSQ_ERR_SUCCESS) {
        lk_log(LK_LOG_WARN, "desk.subscribe outcome=failed detail=%s", why(rc));
        mqtt->is_refused = true;
    }
}

static void
on_subscribe(struct mosquitto *mosq, void *context, int mid, int count, const int *granted,
             const mosquitto_property *properties)
{
    struct mqtt *mqtt = context;

    (void)mosq;
    (void)mid;
    (void)properties;
    for (int i = 0; i < count; i++) {
        if (granted[i] < REASON_FAILURE)
            continue;
        lk_log(LK_LOG_ERROR, "desk.subscribe outcome=refused reason=%d filter=%s", granted[i],
               i < FILTER_COUNT ? filters[i] : "-");
        mqtt->is_refused = true;
    }
    if (mqtt->is_refused || mqtt->is_ready)
        return;
    mqtt->is_ready = true;
    mqtt->handler.on_ready(mqtt->handler.context, mqtt->is_resumed);
}

static void
on_message(struct mosquitto *mosq, void *context, const struct mosquitto_message *message,
           const mosquitto_property *properties)
{
    struct mqtt *mqtt = context;

    (void)mosq;
    (void)properties;
    mqtt->handler.on_message(mqtt->handler.context, lk_span_text(message->topic),
                             lk_span_of(message->payload, (size_t)message->payloadlen),
                             message->retain);
}

static void
on_publish(struct mosquitto *mosq, void *context, int mid, int reason,
           const mosquitto_property *properties)
{
    struct mqtt *mqtt = context;

    (void)mosq;
    (void)properties;
    mqtt->handler.on_sent(mqtt->handler.context, mid, reason);
}

static enum lk_err
set_tls(struct mosquitto *mosq, const struct mqtt_target *target)
{
    int rc;

    if (target->ca_file == NULL)
        return LK_OK;
    rc = mosquitto_tls_set(mosq, target->ca_file, NULL, NULL, NULL, NULL);
    if (rc == MOSQ_ERR_SUCCESS)
        return LK_OK;
    lk_log(LK_LOG_ERROR, "desk.tls ca_file=%s detail=%s", lk_log_text(target->ca_file), why(rc));
    return LK_ERR_ARG;
}

static enum lk_err
set_options(struct mqtt *mqtt, const struct mqtt_target *target, const char *token)
{
    struct mosquitto *mosq = mqtt->mosq;

    mosquitto_connect_v5_callback_set(mosq, on_connect);
    mosquitto_subscribe_v5_callback_set(mosq, on_subscribe);
    mosquitto_message_v5_callback_set(mosq, on_message);
    mosquitto_publish_v5_callback_set(mosq, on_publish);
    if (mosquitto_int_option(mosq, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5) != 0 ||
        mosquitto_int_option(mosq, MOSQ_OPT_TCP_NODELAY, 1) != 0 ||
        mosquitto_username_pw_set(mosq, target->client_id, token) != 0)
        return LK_ERR_NOMEM;
    return set_tls(mosq, target);
}

static int
connect_properties(mosquitto_property **properties)
{
    int rc = mosquitto_property_add_int32(properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL,
                                          DESK_SESSION_EXPIRY_S);

    /* The broker drops what is longer, before this process has to hold it. */
    if (rc == MOSQ_ERR_SUCCESS)
        rc = mosquitto_property_add_int32(properties, MQTT_PROP_MAXIMUM_PACKET_SIZE,
                                          DESK_PACKET_MAX);
    return rc;
}

static enum lk_err
start_connect(struct mqtt *mqtt, const struct mqtt_target *target)
{
    mosquitto_property *properties = NULL;
    int rc = connect_properties(&properties);

    if (rc == MOSQ_ERR_SUCCESS)
        rc = mosquitto_connect_bind_v5(mqtt->mosq, target->host, target->port, DESK_KEEPALIVE_S,
                                       NULL, properties);
    mosquitto_property_free_all(&properties);
    if (rc == MOSQ_ERR_SUCCESS)
        return LK_OK;
    lk_log(LK_LOG_WARN, "desk.connect outcome=unavailable host=%s port=%u detail=%s",
           lk_log_text(target->host), (unsigned)target->port, why(rc));
    return rc == MOSQ_ERR_NOMEM ? LK_ERR_NOMEM : LK_ERR_UNAVAILABLE;
}

enum lk_err
mqtt_open(const struct mqtt_target *target, const struct mqtt_handler *handler, const char *token,
          struct mqtt **mqtt)
{
    struct mqtt *m = calloc(1, sizeof(*m));
    enum lk_err err = LK_ERR_NOMEM;

    *mqtt = NULL;
    if (m == NULL)
        return LK_ERR_NOMEM;
    m->handler = *handler;
    m->ready_until_ms = lk_clock_monotonic_ms() + DESK_READY_TIMEOUT_MS;
    m->mosq = mosquitto_new(target->client_id, false, m);
    if (m->mosq == NULL)
        goto out;
    err = set_options(m, target, token);
    if (err == LK_OK)
        err = start_connect(m, target);
out:
    if (err != LK_OK) {
        mqtt_close(m);
        m = NULL;
    }
    *mqtt = m;
    return err;
}

void
mqtt_close(struct mqtt *mqtt)
{
    if (mqtt == NULL)
        return;
    if (mqtt->mosq != NULL && mosquitto_socket(mqtt->mosq) >= 0)
        (void)mosquitto_disconnect_v5(mqtt->mosq, 0, NULL);
    if (mqtt->mosq != NULL)
        mosquitto_destroy(mqtt->mosq);
    free(mqtt);
}

int
mqtt_fd(const struct mqtt *mqtt)
{
    return mosquitto_socket(mqtt->mosq);
}

bool
mqtt_wants_write(const struct mqtt *mqtt)
{
    return mosquitto_want_write(mqtt->mosq);
}

static int
turn(struct mqtt *mqtt, bool is_readable, bool is_writable)
{
    int rc = MOSQ_ERR_SUCCESS;
    int64_t now_ms = lk_clock_monotonic_ms();

    if (is_readable)
        rc = mosquitto_loop_read(mqtt->mosq, 1);
    if (rc == MOSQ_ERR_SUCCESS && is_writable)
        rc = mosquitto_loop_write(mqtt->mosq, 1);
    if (rc == MOSQ_ERR_SUCCESS && now_ms >= mqtt->misc_at_ms) {
        mqtt->misc_at_ms = now_ms + DESK_MISC_INTERVAL_MS;
        rc = mosquitto_loop_misc(mqtt->mosq);
    }
    return rc;
}

enum lk_err
mqtt_step(struct mqtt *mqtt, bool is_readable, bool is_writable)
{
    int rc = turn(mqtt, is_readable, is_writable);

    if (mqtt->is_refused)
        return LK_ERR_DENIED;
    if (rc == MOSQ_ERR_SUCCESS && mosquitto_socket(mqtt->mosq) < 0)
        rc = MOSQ_ERR_CONN_LOST;
    if (rc != MOSQ_ERR_SUCCESS) {
        lk_log(LK_LOG_WARN, "desk.connection outcome=lost detail=%s", why(rc));
        return LK_ERR_CLOSED;
    }
    if (!mqtt->is_ready && lk_clock_monotonic_ms() > mqtt->ready_until_ms) {
        lk_log(LK_LOG_WARN, "desk.connect outcome=timeout timeout_ms=%d", DESK_READY_TIMEOUT_MS);
        return LK_ERR_CLOSED;
    }
    return LK_OK;
}

enum lk_err
mqtt_publish(struct mqtt *mqtt, const char *topic, struct lk_span payload, uint32_t expiry_s,
             int *mid)
{
    mosquitto_property *properties = NULL;
    int rc = mosquitto_property_add_int32(&properties, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, expiry_s);

    *mid = 0;
    if (rc == MOSQ_ERR_SUCCESS)
        rc = mosquitto_publish_v5(mqtt->mosq, mid, topic, (int)payload.len, payload.ptr, 1, false,
                                  properties);
    mosquitto_property_free_all(&properties);
    return rc == MOSQ_ERR_SUCCESS ? LK_OK : LK_ERR_UNAVAILABLE;
}
