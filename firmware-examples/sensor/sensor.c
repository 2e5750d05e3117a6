/*
 * A sensor: gets a token, publishes a reading now and then, renews its token while it publishes.
 *
 * Copy from here. What belongs to Linux is in ../posix/board.c.
 */
#include <inttypes.h>
#include <stdio.h>

#include "../posix/board.h"

static const char usage[] =
    "usage: latchkey-example-sensor [options]\n"
    "  --count N       send N readings, then end\n"
    "  --interval MS   between readings (5000)\n"
    "  --lifetime S    ask for tokens that live S seconds\n"
    "  --renewals N    end after N renewals of the token\n"
    "  --mqtt 3|5      MQTT 3.1.1 or 5 (5)\n"
    "  --bearer        MQTT 5 with the token as password\n"
    "  --jwt           tokens as JWT instead of CWT\n"
    "environment: LATCHKEY_URL LATCHKEY_CA LATCHKEY_CLIENT_ID LATCHKEY_CLIENT_SECRET[_FILE]\n"
    "             LATCHKEY_MQTT_HOST LATCHKEY_MQTTS_PORT or LATCHKEY_MQTT_PORT\n";

/* All memory of the device: no heap is used but that of mbedTLS. */
static struct lk_source source;
static struct lk_device device;
static uint8_t token_room[1024], work_room[2048], in_room[512], out_room[2048], outbox[1024];

struct sensor {
    struct board board;
    uint32_t sent, acknowledged, renewals;
    uint32_t serial;  /* of the token the last connection began with */
    uint64_t next_ms; /* reading */
    int32_t centi_celsius;
};

static void
leave_if_done(struct sensor *s)
{
    const struct options *o = &s->board.options;

    if ((o->count > 0 && s->acknowledged >= o->count) ||
        (o->renewals > 0 && s->renewals >= o->renewals))
        lk_device_stop(&device);
}

static void
on_event(void *ctx, struct lk_device *d, const struct lk_device_event *event)
{
    struct sensor *s = ctx;

    (void)d;
    board_print(&s->board, event);
    switch (event->kind) {
    case LK_DEVICE_PUBLISHED:
        s->acknowledged++;
        if (event->reason < 0x80)
            printf("published n=%" PRIu32 "\n", s->acknowledged);
        else
            printf("refused n=%" PRIu32 " reason=0x%02x (%s)\n", s->acknowledged, event->reason,
                   lk_mqtt_reason_text(event->reason));
        break;
    case LK_DEVICE_RENEWED:
        s->renewals++;
        break;
    case LK_DEVICE_CONNECTED:
        /* Where the token is the password, a new one comes with a new connection. */
        if (s->serial != 0 && s->serial != lk_source_serial(&source) &&
            (s->board.options.bearer || s->board.options.version != LK_MQTT_5))
            printf("renewed token with a new connection n=%" PRIu32 "\n", ++s->renewals);
        s->serial = lk_source_serial(&source);
        break;
    case LK_DEVICE_TOKEN:
    case LK_DEVICE_TOKEN_FAILED:
    case LK_DEVICE_DISCONNECTED:
    case LK_DEVICE_SUBSCRIBED:
    case LK_DEVICE_MESSAGE:
    case LK_DEVICE_COMMAND:
        break;
    }
    leave_if_done(s);
}

/* Where a real sensor would ask its hardware. */
static size_t
take_reading(struct sensor *s, char *room, size_t cap)
{
    uint8_t chance = 0;
    struct lk_random random = lk_posix_random();
    int64_t now_s = lk_posix_wall_s(NULL);
    int len = 0;

    if (random.fill(random.ctx, (struct lk_buf){&chance, 1}) == LK_OK)
        s->centi_celsius += chance % 21 - 10;
    /* A device without a clock leaves "ts" out, and the server takes the time of arrival. */
    if (now_s > 0)
        len = snprintf(room, cap, "{\"ts\":%" PRId64 ",", now_s);
    else
        len = snprintf(room, cap, "{");
    len +=
        snprintf(room + len, cap - (size_t)len,
                 "\"battery\":%u,\"rssi\":-%u,\"temperature\":%d.%02d}", 100 - s->sent / 1000 % 100,
                 50u + chance % 20, s->centi_celsius / 100, s->centi_celsius % 100);
    return (size_t)len;
}

static void
read_and_publish(struct sensor *s, uint64_t now_ms)
{
    const struct options *o = &s->board.options;
    char payload[128];
    size_t len;

    if (now_ms < s->next_ms || (o->count > 0 && s->sent >= o->count) ||
        !lk_device_is_connected(&device))
        return;
    s->next_ms = now_ms + o->interval_ms;
    len = take_reading(s, payload, sizeof(payload));
    /* QoS 1: kept in the outbox until the broker has it. A full outbox costs this reading. */
    if (lk_device_telemetry(&device, lk_span_of(payload, len), 1, NULL) == LK_OK)
        s->sent++;
}

static enum lk_err
start(struct sensor *s)
{
    struct board *b = &s->board;
    struct lk_source_config token = {
        .link = b->source_link,
        .random = lk_posix_random(),
        .host = b->source_host,
        .client_id = b->id,
        .client_secret = b->secret,
        .format = b->options.format,
        .expires_in_s = b->options.lifetime_s,
        .token_room = LK_BUF_OF(token_room),
        .work_room = LK_BUF_OF(work_room),
    };
    struct lk_device_config mqtt = {
        .source = &source,
        .link = b->broker_link,
        .random = lk_posix_random(),
        .version = b->options.version,
        .bearer = b->options.bearer,
        .id = b->id,
        .keep_alive_s = 30,
        .session_expiry_s = 300,
        .in_room = LK_BUF_OF(in_room),
        .out_room = LK_BUF_OF(out_room),
        .outbox = LK_BUF_OF(outbox),
        .on_event = on_event,
        .ctx = s,
    };
    enum lk_err err = lk_source_init(&source, &token);

    return err == LK_OK ? lk_device_init(&device, &mqtt) : err;
}

int
main(int argc, char **argv)
{
    static struct sensor s = {.centi_celsius = 2150};
    struct options defaults = {usage, 0, 0, 5000, 0, LK_MQTT_5, false, LK_FORMAT_CWT};
    int status = 2;

    if (!board_open(&s.board, defaults, argc, argv) || start(&s) != LK_OK)
        goto out;
    while (!lk_device_is_stopped(&device)) {
        struct lk_device_want want;

        if (board_is_leaving())
            lk_device_stop(&device);
        read_and_publish(&s, lk_posix_now_ms());
        want = lk_device_step(&device, lk_posix_now_ms());
        if (lk_device_is_connected(&device) && s.next_ms < want.until_ms)
            want.until_ms = s.next_ms;
        lk_posix_wait(&want, &s.board.source_tcp, &s.board.broker_tcp);
    }
    printf("done published=%" PRIu32 " renewals=%" PRIu32 "\n", s.acknowledged, s.renewals);
    status = 0;
out:
    lk_device_wipe(&device);
    lk_source_wipe(&source);
    board_close(&s.board);
    return status;
}
