/*
 * watch.c - latchkey watch: messages as they arrive. The only file that knows libmosquitto.
 *
 * libmosquitto cannot send AUTH, so a token is renewed by a short reconnection: the broker keeps
 * the session, and the messages meanwhile, for WATCH_SESSION_S seconds.
 */
#include "api.h"
#include "claims_json.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mosquitto.h>
#include <mqtt_protocol.h>

#include <latchkey/crypto.h>
#include <latchkey/topic.h>
#include <latchkey/host/clock.h>

#define KEEPALIVE_S    30
#define LOOP_MS        500
#define RENEW_AGAIN_MS 5000 /* the server did not answer; the old token still works */

struct watch {
    const struct cli *cli;
    struct api api;
    struct mosquitto *mosq;
    char host[256];
    int port;
    char *filter[ARGS_MAX];
    int filter_count;
    int64_t renew_at_ms; /* monotonic */
    bool connected;      /* CONNACK said yes, and nothing has broken since */
    bool was_connected;  /* at least once */
    bool told;           /* the loss has been told */
    int connack;         /* reason code of the last CONNACK; -1: none */
    int code;            /* why we stop, unless CLI_DONE */
};

static volatile sig_atomic_t stop;

static void
on_signal(int number)
{
    (void)number;
    stop = 1;
}

static void
signals_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: waiting calls return */

    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

static void
on_connect(struct mosquitto *mosq, void *user, int reason, int flags,
           const mosquitto_property *properties)
{
    struct watch *w = user;

    (void)properties;
    w->connack = reason;
    if (reason != 0)
        return;
    if (w->told)
        cli_note("connected again");
    w->connected = w->was_connected = true;
    w->told = false;
    /* A session that was kept has its subscriptions; asking again would repeat retained messages.
     */
    if ((flags & 1) == 0)
        (void)mosquitto_subscribe_multiple(mosq, NULL, w->filter_count, w->filter, 1, 0, NULL);
}

static void
on_subscribe(struct mosquitto *mosq, void *user, int mid, int count, const int *granted,
             const mosquitto_property *properties)
{
    struct watch *w = user;
    int refused = 0, i;

    (void)mosq, (void)mid, (void)properties;
    for (i = 0; i < count && i < w->filter_count; i++) {
        if (granted[i] < 0x80)
            continue;
        refused++;
        cli_note("the broker does not permit '%s'", w->filter[i]);
    }
    if (refused > 0 && refused == count) {
        w->code = cli_refused("nothing left to watch");
        stop = 1;
    }
}

static void
print_json(const struct mosquitto_message *message)
{
    const char *payload = message->payloadlen > 0 ? message->payload : "";
    struct lk_span bytes = lk_span_of(payload, (size_t)message->payloadlen);
    json_t *line =
        json_pack("{s:s, s:i, s:b, s:I}", "topic", message->topic, "qos", message->qos, "retain",
                  message->retain ? 1 : 0, "received_at", (json_int_t)lk_clock_wall_s());

    if (lk_utf8_is_valid(bytes))
        (void)json_object_set_new(line, "payload", json_stringn(payload, bytes.len));
    else
        (void)json_object_set_new(line, "payload_hex", hex_json(bytes));
    (void)json_dumpf(line, stdout, JSON_COMPACT);
    (void)putchar('\n');
    json_decref(line);
}

static void
on_message(struct mosquitto *mosq, void *user, const struct mosquitto_message *message,
           const mosquitto_property *properties)
{
    struct watch *w = user;

    (void)mosq, (void)properties;
    if (w->cli->json) {
        print_json(message);
    } else {
        out_text(message->topic, strlen(message->topic));
        (void)putchar(' ');
        if (message->payloadlen > 0)
            out_text(message->payload, (size_t)message->payloadlen);
        (void)putchar('\n');
    }
    (void)fflush(stdout);
    if (ferror(stdout))
        stop = 1; /* nobody reads us any more */
}

static void
on_disconnect(struct mosquitto *mosq, void *user, int reason, const mosquitto_property *properties)
{
    struct watch *w = user;

    (void)mosq, (void)reason, (void)properties;
    w->connected = false;
}

/* The host part of a URL, with or without brackets, port and path. */
static void
host_of(const char *url, char *room, size_t cap)
{
    const char *host = strstr(url, "://");
    size_t len;

    host = host != NULL ? host + 3 : url;
    if (host[0] == '[') {
        host++;
        len = strcspn(host, "]");
    } else {
        len = strcspn(host, ":/");
    }
    (void)snprintf(room, cap, "%.*s", (int)len, host);
}

static int
broker_find(struct watch *w)
{
    const char *host = getenv("LATCHKEY_MQTT_HOST"), *port = getenv("LATCHKEY_MQTTS_PORT");
    char *end = NULL;
    long number = 8883;

    if (host != NULL && host[0] != '\0')
        (void)snprintf(w->host, sizeof(w->host), "%s", host);
    else
        host_of(w->api.url, w->host, sizeof(w->host));
    if (port != NULL && port[0] != '\0') {
        number = strtol(port, &end, 10);
        if (*end != '\0' || number < 1 || number > 65535)
            return cli_usage(w->cli, "LATCHKEY_MQTTS_PORT: expected a port, not '%s'", port);
    }
    w->port = (int)number;
    return CLI_DONE;
}

static int
client_make(struct watch *w)
{
    char id[LK_SUBJECT_MAX + 24];
    uint8_t random[4];

    if (lk_crypto_random(LK_BUF_OF(random)) != LK_OK)
        return cli_refused("no random numbers to be had");
    /* Contracts section 3: the subject, a colon and a suffix. */
    (void)snprintf(id, sizeof(id), "%.*s:watch-%02x%02x%02x%02x", LK_SUBJECT_MAX, w->api.client_id,
                   random[0], random[1], random[2], random[3]);
    w->mosq = mosquitto_new(id, false, w);
    if (w->mosq == NULL)
        return cli_refused("%s", strerror(errno));
    (void)mosquitto_int_option(w->mosq, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
    if (w->api.ca_file == NULL)
        (void)mosquitto_int_option(w->mosq, MOSQ_OPT_TLS_USE_OS_CERTS, 1);
    else if (mosquitto_tls_set(w->mosq, w->api.ca_file, NULL, NULL, NULL, NULL) != MOSQ_ERR_SUCCESS)
        return cli_usage(w->cli, "LATCHKEY_CA: cannot read '%s'", w->api.ca_file);
    mosquitto_connect_v5_callback_set(w->mosq, on_connect);
    mosquitto_subscribe_v5_callback_set(w->mosq, on_subscribe);
    mosquitto_message_v5_callback_set(w->mosq, on_message);
    mosquitto_disconnect_v5_callback_set(w->mosq, on_disconnect);
    return CLI_DONE;
}

/* A fresh token for the next connection; renewed when three quarters of its life are over. */
static int
token_fetch(struct watch *w)
{
    static const struct token_wish wish = {.audience = "mqtt"};
    json_t *answer = NULL;
    int64_t life_ms;
    int code = api_token(&w->api, &wish, &answer);

    if (code == CLI_DONE) {
        life_ms = (int64_t)json_integer_value(json_object_get(answer, "expires_in")) * 1000;
        if (mosquitto_username_pw_set(w->mosq, "x",
                                      json_string_value(json_object_get(answer, "access_token"))) !=
            MOSQ_ERR_SUCCESS)
            code = cli_refused("%s", lk_err_text(LK_ERR_NOMEM));
        w->renew_at_ms = lk_clock_monotonic_ms() + life_ms / 4 * 3;
    }
    json_decref(answer);
    return code;
}

static int
connect_once(struct watch *w)
{
    mosquitto_property *properties = NULL;
    int rc;

    w->connack = -1;
    w->connected = false;
    (void)mosquitto_property_add_int32(&properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL,
                                       WATCH_SESSION_S);
    rc = mosquitto_connect_bind_v5(w->mosq, w->host, w->port, KEEPALIVE_S, NULL, properties);
    mosquitto_property_free_all(&properties);
    while (rc == MOSQ_ERR_SUCCESS && w->connack < 0 && !stop)
        rc = mosquitto_loop(w->mosq, LOOP_MS, 1);
    return rc;
}

/* MQTT 5 section 3.2.2.2: these say that the token, not the moment, is wrong. */
static bool
is_final(int connack)
{
    return connack == MQTT_RC_BAD_USERNAME_OR_PASSWORD || connack == MQTT_RC_NOT_AUTHORIZED ||
           connack == MQTT_RC_BANNED || connack == MQTT_RC_CLIENTID_NOT_VALID;
}

static void
leave(struct watch *w, bool for_good)
{
    mosquitto_property *properties = NULL;
    int i;

    if (!w->connected)
        return;
    if (for_good)
        (void)mosquitto_property_add_int32(&properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL, 0);
    (void)mosquitto_disconnect_v5(w->mosq, 0, properties);
    mosquitto_property_free_all(&properties);
    for (i = 0; i < 4 && w->connected; i++) {
        if (mosquitto_loop(w->mosq, LOOP_MS, 1) != MOSQ_ERR_SUCCESS)
            break;
    }
    w->connected = false;
}

static void
pause_s(unsigned seconds)
{
    struct timespec left = {.tv_sec = (time_t)seconds};

    while (!stop && nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

/* Read until the connection breaks, the token gets old or somebody stops us. */
static void
read_on(struct watch *w)
{
    while (!stop && w->connected) {
        if (mosquitto_loop(w->mosq, LOOP_MS, 1) != MOSQ_ERR_SUCCESS)
            w->connected = false;
        if (!w->connected || lk_clock_monotonic_ms() < w->renew_at_ms)
            continue;
        /* The new token first, so that the gap is only the reconnection. */
        if (token_fetch(w) == CLI_DONE)
            return;
        w->renew_at_ms = lk_clock_monotonic_ms() + RENEW_AGAIN_MS;
    }
}

/* @return how long to wait before the next try; 0 after a renewal. */
static unsigned
turn(struct watch *w, unsigned pause)
{
    int rc;

    if (lk_clock_monotonic_ms() >= w->renew_at_ms) {
        w->code = token_fetch(w);
        if (w->code != CLI_DONE && (!w->was_connected || w->code != CLI_UNREACHABLE)) {
            stop = 1;
            return 0;
        }
    }
    rc = w->code == CLI_DONE ? connect_once(w) : MOSQ_ERR_NO_CONN;
    w->code = CLI_DONE;
    if (w->connected) {
        read_on(w);
        if (w->connected) { /* renewed, or stopped */
            leave(w, stop != 0);
            return 0;
        }
        pause = 0;
    } else if (is_final(w->connack)) {
        w->code = cli_refused("the broker: %s", mosquitto_reason_string(w->connack));
        stop = 1;
    } else if (!w->was_connected && !stop) {
        w->code = cli_unreachable("the broker %s, port %d: %s", w->host, w->port,
                                  w->connack > 0         ? mosquitto_reason_string(w->connack)
                                  : rc == MOSQ_ERR_ERRNO ? strerror(errno)
                                                         : mosquitto_strerror(rc));
        stop = 1;
    }
    if (!stop && !w->told)
        cli_note("the connection to the broker is lost; trying again");
    w->told = true;
    w->renew_at_ms = 0; /* whatever happened, come back with a fresh token */
    pause = pause == 0 ? WATCH_RETRY_MIN_S : pause * 2;
    return pause < WATCH_RETRY_MAX_S ? pause : WATCH_RETRY_MAX_S;
}

static int
filters_take(struct watch *w, const struct texts *rest)
{
    static const char *const all[] = {"devices/+/telemetry/#", "devices/+/status/#",
                                      "devices/+/presence", "alerts/#"};
    const char *const *from = rest->count > 0 ? rest->item : all;
    size_t count = rest->count > 0 ? rest->count : sizeof(all) / sizeof(all[0]), i;

    for (i = 0; i < count; i++) {
        if (!lk_filter_is_valid(lk_span_text(from[i])))
            return cli_usage(w->cli, "not a valid topic filter: '%s'", from[i]);
        w->filter[i] = (char *)(uintptr_t)from[i]; /* libmosquitto only reads it */
    }
    w->filter_count = (int)count;
    return CLI_DONE;
}

int
watch_run(struct cli *cli, int argc, char **argv)
{
    static const struct opt options[] = {{NULL, OPT_FLAG, NULL}};
    static struct watch w;
    struct texts rest;
    unsigned pause = 0;

    if (!options_parse(cli, argc, argv, options, 0, ARGS_MAX, &rest))
        return CLI_USAGE;
    w.cli = cli;
    w.code = filters_take(&w, &rest);
    if (w.code == CLI_DONE)
        w.code = api_open(cli, &w.api);
    if (w.code != CLI_DONE)
        return w.code;
    signals_catch();
    w.api.cancel = &stop;
    (void)mosquitto_lib_init();
    w.code = broker_find(&w);
    if (w.code == CLI_DONE)
        w.code = client_make(&w);
    while (w.code == CLI_DONE && !stop) {
        pause = turn(&w, pause);
        pause_s(pause);
    }
    mosquitto_destroy(w.mosq);
    (void)mosquitto_lib_cleanup();
    api_close(&w.api);
    return w.code;
}
