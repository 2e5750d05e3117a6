#include <latchkey/device.h>

#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "device_script.h"
#include "hex.h"

#define T0             5000u
#define CONNACK_5      "20 12 00 00 0f 15 000a 4f41555448322d435754 00"
#define CONNACK_METHOD "20 10 %s 00 0d 15 000a 4f41555448322d435754"
#define CONNACK_NEW    "20 10 00 00 0d 15 000a 4f41555448322d435754"
#define CONNACK_OLD    "20 10 01 00 0d 15 000a 4f41555448322d435754"
#define AUTH_OK        "f0 0f 00 0d 15 000a 4f41555448322d435754"

struct heard {
    enum lk_device_event_kind kind;
    enum lk_err err;
    uint8_t reason;
    uint16_t packet_id;
    bool session_present;
    char topic[64], payload[64], command_id[16];
};

struct bench {
    struct script as, broker;
    struct chance chance;
    struct lk_source source;
    struct lk_device device;
    uint64_t now_ms;
    uint8_t token_room[128], work_room[768], in_room[128], out_room[256], outbox[128];
    struct heard heard[64];
    size_t heard_len;
    size_t seen; /* of what the broker was sent */
    bool answer_commands;
};

static void
keep(char *to, size_t cap, struct lk_span from)
{
    size_t len = from.len < cap - 1 ? from.len : cap - 1;

    memcpy(to, from.ptr != NULL ? from.ptr : (const uint8_t *)"", from.ptr != NULL ? len : 0);
    to[from.ptr != NULL ? len : 0] = '\0';
}

static void
on_event(void *ctx, struct lk_device *device, const struct lk_device_event *event)
{
    struct bench *b = ctx;
    struct heard *h = &b->heard[b->heard_len++];

    assert_true(b->heard_len < 64);
    h->kind = event->kind;
    h->err = event->err;
    h->reason = event->reason;
    h->packet_id = event->packet_id;
    h->session_present = event->session_present;
    keep(h->topic, sizeof(h->topic), event->topic);
    keep(h->payload, sizeof(h->payload), event->payload);
    keep(h->command_id, sizeof(h->command_id), event->command_id);
    if (event->kind == LK_DEVICE_COMMAND && b->answer_commands)
        assert_err("result",
                   lk_device_result(device, event->command_id, LK_RESULT_DONE, LK_SPAN("ok")),
                   LK_OK);
}

static struct lk_device_config
bench_config(struct bench *b)
{
    struct lk_source_config token;

    memset(b, 0, sizeof(*b));
    b->as.end = b->broker.end = LK_ERR_BUSY;
    b->now_ms = T0;
    b->chance.bits = UINT32_MAX; /* the longest pauses, the latest renewals */
    token = (struct lk_source_config){
        .link = script_transport(&b->as),
        .random = chance_random(&b->chance),
        .host = LK_SPAN("as"),
        .client_id = LK_SPAN("pump-7"),
        .client_secret = LK_SPAN("secret"),
        .format = LK_FORMAT_CWT,
        .token_room = LK_BUF_OF(b->token_room),
        .work_room = LK_BUF_OF(b->work_room),
    };
    assert_err("source", lk_source_init(&b->source, &token), LK_OK);
    return (struct lk_device_config){
        .source = &b->source,
        .link = script_transport(&b->broker),
        .random = chance_random(&b->chance),
        .version = LK_MQTT_5,
        .id = LK_SPAN("pump-7"),
        .keep_alive_s = 60,
        .session_expiry_s = 300,
        .in_room = LK_BUF_OF(b->in_room),
        .out_room = LK_BUF_OF(b->out_room),
        .outbox = LK_BUF_OF(b->outbox),
        .on_event = on_event,
        .ctx = b,
    };
}

static struct lk_device_want
step(struct bench *b)
{
    return lk_device_step(&b->device, b->now_ms);
}

static struct lk_device_want
after(struct bench *b, uint64_t ms)
{
    b->now_ms += ms;
    return step(b);
}

static void
say(struct bench *b, const char *hex)
{
    uint8_t room[512];

    script_say(&b->broker, hex_bytes(hex, LK_BUF_OF(room)));
}

/* The authorization server, which is asked already, answers with a token of 100 s. */
static void
give_token(struct bench *b, char letter)
{
    char body[] = {(char)0xa2, 0x01, 0x45, 't', 'o', 'k', 'e', letter, 0x02, 0x18, 100};
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/ace+cbor\r\n"
                               "Content-Length: 11\r\n\r\n";

    assert_true(b->as.is_open);
    script_say(&b->as, lk_span_text(head));
    script_say(&b->as, lk_span_of(body, sizeof(body)));
    b->as.sent_len = 0;
    (void)step(b);
}

/* The next packet the device sent; fails if it is another type or none. */
static struct lk_span
sent(struct bench *b, enum lk_mqtt_type type)
{
    struct lk_span rest = {b->broker.sent + b->seen, b->broker.sent_len - b->seen};
    uint8_t first;
    size_t len;

    if (lk_mqtt_frame(rest, &first, &len) != LK_OK || len > rest.len)
        fail_msg("nothing sent, wanted type %d", type);
    if (first >> 4 != type)
        fail_msg("sent type %d, wanted %d", first >> 4, type);
    b->seen += len;
    return lk_span_of(rest.ptr, len);
}

static void
sent_nothing_more(struct bench *b)
{
    if (b->seen != b->broker.sent_len)
        fail_msg("sent type %d as well", b->broker.sent[b->seen] >> 4);
}

static const struct heard *
last(const struct bench *b, enum lk_device_event_kind kind)
{
    size_t i;

    for (i = b->heard_len; i > 0; i--) {
        if (b->heard[i - 1].kind == kind)
            return &b->heard[i - 1];
    }
    fail_msg("event %d never came", kind);
    return NULL;
}

static bool
contains(struct lk_span bytes, const char *text)
{
    size_t want = strlen(text), i;

    for (i = 0; i + want <= bytes.len; i++) {
        if (memcmp(bytes.ptr + i, text, want) == 0)
            return true;
    }
    return false;
}

static void
bench_up(struct bench *b, const struct lk_device_config *config)
{
    assert_err("init", lk_device_init(&b->device, config), LK_OK);
    (void)step(b);
    give_token(b, 'A');
    assert_true(contains(sent(b, LK_MQTT_CONNECT),
                         config->version == LK_MQTT_5 && !config->bearer ? "tokeA" : "dG9rZUE"));
    if (config->version == LK_MQTT_5 && !config->bearer)
        say(b, CONNACK_NEW);
    else
        say(b, config->version == LK_MQTT_5 ? "20 03 00 00 00" : "20 02 00 00");
    (void)step(b);
    assert_true(lk_device_is_connected(&b->device));
}

/* ---- connecting ---- */

static void
connects_with_enhanced_authentication(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    struct lk_span packet;
    uint8_t want_room[128];
    size_t i;

    (void)state;
    assert_err("init", lk_device_init(&b.device, &c), LK_OK);
    (void)step(&b);
    assert_false(b.broker.is_open);
    give_token(&b, 'A');
    packet = sent(&b, LK_MQTT_CONNECT);
    /* clean start 0, no user name, no password; expiry 300, packets up to 128 */
    assert_true(lk_span_equal(
        packet, hex_bytes("10 32 0004 4d515454 05 00 003c 1f 11 0000012c 27 00000080"
                          " 15 000a 4f41555448322d435754 16 0005 746f6b6541 0006 70756d702d37",
                          LK_BUF_OF(want_room))));
    for (i = 0; i < sizeof(b.out_room); i++) /* no token is left behind */
        assert_int_equal(b.out_room[i], 0);
    assert_false(lk_device_is_connected(&b.device));
    say(&b, CONNACK_OLD);
    (void)step(&b);
    assert_true(last(&b, LK_DEVICE_CONNECTED)->session_present);
    sent_nothing_more(&b);
}

static void
connects_with_a_password(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    uint8_t want_room[128];

    (void)state;
    c.version = LK_MQTT_311;
    c.session_expiry_s = 0;
    assert_err("init", lk_device_init(&b.device, &c), LK_OK);
    (void)step(&b);
    give_token(&b, 'A');
    assert_true(
        lk_span_equal(sent(&b, LK_MQTT_CONNECT),
                      hex_bytes("10 23 0004 4d515454 04 c2 003c 0006 70756d702d37 0006 70756d702d37"
                                " 0007 644739725a5545",
                                LK_BUF_OF(want_room))));
    say(&b, "20 02 00 00");
    (void)step(&b);
    assert_true(lk_device_is_connected(&b.device));
}

static void
a_broker_that_does_not_repeat_the_method_is_left(void **state)
{
    static const char *const answers[] = {
        "20 03 00 00 00",                              /* none */
        "20 10 00 00 0d 15 000a 4f41555448322d4a5754", /* OAUTH2-JWT */
        "90 04 000b 00 01",                            /* SUBACK first */
        "f0 00",                                       /* AUTH without having asked */
        "20 04 00 00 00",                              /* CONNACK, cut short by the next bytes */
        "30 05 0001 61 00 78",                         /* PUBLISH first */
    };
    static struct bench b;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct lk_device_config c = bench_config(&b);

        assert_err("init", lk_device_init(&b.device, &c), LK_OK);
        (void)step(&b);
        give_token(&b, 'A');
        (void)sent(&b, LK_MQTT_CONNECT);
        say(&b, answers[i]);
        say(&b, "d0 00");
        (void)step(&b);
        assert_int_equal(b.broker.closes, 1);
        assert_true(last(&b, LK_DEVICE_DISCONNECTED)->err >= LK_ERR_TRUNCATED);
        (void)sent(&b, LK_MQTT_DISCONNECT);
    }
}

static void
tells_why_it_was_refused_and_gets_a_new_token(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);

    (void)state;
    assert_err("init", lk_device_init(&b.device, &c), LK_OK);
    (void)step(&b);
    give_token(&b, 'A');
    (void)sent(&b, LK_MQTT_CONNECT);
    say(&b, "20 03 00 87 00");
    (void)step(&b);
    assert_int_equal(last(&b, LK_DEVICE_DISCONNECTED)->reason, 0x87);
    assert_true(b.as.is_open); /* at once */
    (void)after(&b, 5000);
    assert_false(b.broker.is_open); /* but never again with the old one */
    give_token(&b, 'B');
    assert_true(contains(sent(&b, LK_MQTT_CONNECT), "tokeB"));
}

/* If the server cannot be asked either, the old token is better than nothing. */
static void
a_refused_token_is_tried_again_while_the_server_is_away(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);

    (void)state;
    bench_up(&b, &c);
    b.as.open_err = LK_ERR_UNAVAILABLE;
    say(&b, "e0 01 98");
    (void)step(&b);
    assert_int_equal(last(&b, LK_DEVICE_TOKEN_FAILED)->err, LK_ERR_UNAVAILABLE);
    (void)after(&b, 1000);
    assert_true(contains(sent(&b, LK_MQTT_CONNECT), "tokeA"));
}

static void
a_refused_token_is_not_tried_again_by_a_refused_client(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    struct lk_device_want want;
    unsigned i;

    (void)state;
    bench_up(&b, &c);
    say(&b, "e0 01 98");
    (void)step(&b);
    script_say(&b.as, LK_SPAN("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"));
    want = step(&b);
    assert_int_equal(last(&b, LK_DEVICE_TOKEN_FAILED)->err, LK_ERR_CREDENTIAL);
    for (i = 0; i < 20; i++) {
        b.as.open_err = LK_ERR_BUSY;
        want = after(&b, 1000);
        assert_false(b.broker.is_open);
        assert_true(want.until_ms > b.now_ms);
    }
}

static void
backs_off_with_full_jitter(void **state)
{
    static const uint64_t bounds_ms[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    size_t i;

    (void)state;
    assert_err("init", lk_device_init(&b.device, &c), LK_OK);
    b.broker.open_err = LK_ERR_UNAVAILABLE;
    b.chance.bits = UINT32_MAX;
    (void)step(&b);
    b.source.config.expires_in_s = 0;
    give_token(&b, 'A');
    b.source.expires_ms = b.source.next_ms = UINT64_MAX / 2; /* the token is not the matter here */
    for (i = 0; i < sizeof(bounds_ms) / sizeof(bounds_ms[0]); i++) {
        struct lk_device_want want = step(&b);

        assert_int_equal(b.broker.opens, i + 1);
        assert_int_equal(want.until_ms - b.now_ms, bounds_ms[i]);
        b.now_ms = want.until_ms - 1;
        (void)step(&b);
        assert_int_equal(b.broker.opens, i + 1);
        b.now_ms++;
    }
    /* A connection that is lost at once goes on where the pauses were; one that stood does not. */
    b.broker.open_err = LK_OK;
    (void)step(&b);
    say(&b, CONNACK_NEW);
    (void)step(&b);
    b.broker.end = LK_ERR_CLOSED;
    assert_int_equal(step(&b).until_ms - b.now_ms, 60000);
    b.broker.end = LK_ERR_BUSY;
    (void)after(&b, 60000);
    say(&b, CONNACK_NEW);
    (void)step(&b);
    b.now_ms += LK_DEVICE_STABLE_MS;
    b.broker.end = LK_ERR_CLOSED;
    assert_int_equal(step(&b).until_ms - b.now_ms, 1000);
}

static void
gives_up_a_broker_that_says_nothing(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    struct lk_device_want want;

    (void)state;
    assert_err("init", lk_device_init(&b.device, &c), LK_OK);
    b.broker.open_busy = 1000000;
    (void)step(&b);
    give_token(&b, 'A');
    want = step(&b);
    assert_int_equal(want.link_io, LK_WANT_READ);
    assert_int_equal(want.until_ms, T0 + LK_DEVICE_OPEN_MS);
    (void)after(&b, LK_DEVICE_OPEN_MS);
    assert_int_equal(last(&b, LK_DEVICE_DISCONNECTED)->err, LK_ERR_TIMEOUT);
    b.broker.open_busy = 0;
    want = after(&b, 1000);
    (void)sent(&b, LK_MQTT_CONNECT);
    assert_int_equal(want.until_ms, b.now_ms + LK_DEVICE_CONNACK_MS);
    (void)after(&b, LK_DEVICE_CONNACK_MS);
    assert_int_equal(b.broker.closes, 2);
}

/* ---- renewal ---- */

static void
renews_on_the_open_connection_while_it_publishes(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    struct lk_span packet;
    unsigned round;

    (void)state;
    bench_up(&b, &c);
    for (round = 1; round <= 3; round++) {
        (void)after(&b, 81000); /* 75 % and 5 % of 100 s */
        if (b.seen < b.broker.sent_len) {
            (void)sent(&b, LK_MQTT_PINGREQ);
            say(&b, "d0 00");
        }
        give_token(&b, 'B');
        packet = sent(&b, LK_MQTT_AUTH);
        assert_int_equal(packet.ptr[2], LK_MQTT_REAUTHENTICATE);
        assert_true(contains(packet, "OAUTH2-CWT") && contains(packet, "tokeB"));
        assert_err("meanwhile",
                   lk_device_publish(&b.device, LK_SPAN("t"), LK_SPAN("x"), 0, false, NULL), LK_OK);
        (void)step(&b);
        (void)sent(&b, LK_MQTT_PUBLISH);
        say(&b, AUTH_OK);
        (void)step(&b);
        assert_int_equal(last(&b, LK_DEVICE_RENEWED)->kind, LK_DEVICE_RENEWED);
        sent_nothing_more(&b);
    }
    assert_int_equal(b.device.renewals, 3);
    assert_int_equal(b.broker.opens, 1);
    assert_int_equal(b.broker.closes, 0);
}

static const struct {
    const char *name, *hex;
} auth_refusals[] = {
    {"DISCONNECT 0x87", "e0 01 87"},
    {"CONNACK 0x87, as 2.0.11 has it", "20 03 00 87 00"},
};

static void
a_refused_renewal_means_a_new_token_and_a_new_connection(void **state)
{
    static struct bench b;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(auth_refusals) / sizeof(auth_refusals[0]); i++) {
        struct lk_device_config c = bench_config(&b);

        bench_up(&b, &c);
        (void)after(&b, 81000);
        give_token(&b, 'B');
        (void)sent(&b, LK_MQTT_PINGREQ);
        (void)sent(&b, LK_MQTT_AUTH);
        say(&b, auth_refusals[i].hex);
        (void)step(&b);
        assert_int_equal(last(&b, LK_DEVICE_DISCONNECTED)->reason, 0x87);
        give_token(&b, 'C');
        (void)after(&b, 1000);
        assert_true(contains(sent(&b, LK_MQTT_CONNECT), "tokeC"));
    }
}

static void
an_unanswered_renewal_ends_the_connection(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);

    (void)state;
    c.keep_alive_s = 0;
    bench_up(&b, &c);
    (void)after(&b, 81000);
    give_token(&b, 'B');
    (void)sent(&b, LK_MQTT_AUTH);
    assert_int_equal(step(&b).until_ms, b.now_ms + LK_DEVICE_AUTH_MS);
    (void)after(&b, LK_DEVICE_AUTH_MS);
    assert_int_equal(last(&b, LK_DEVICE_DISCONNECTED)->err, LK_ERR_TIMEOUT);
    (void)after(&b, 1000);
    assert_true(contains(sent(&b, LK_MQTT_CONNECT), "tokeB"));
}

static void
a_broker_that_wants_more_steps_is_left(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);

    (void)state;
    bench_up(&b, &c);
    (void)after(&b, 81000);
    give_token(&b, 'B');
    say(&b, "f0 13 18 11 15 000a 4f41555448322d435754 16 0001 00");
    (void)step(&b);
    assert_int_equal(b.broker.closes, 1);
}

static void
renews_by_reconnecting_where_the_token_is_the_password(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    uint16_t id;

    (void)state;
    c.version = LK_MQTT_311;
    c.keep_alive_s = 0;
    bench_up(&b, &c);
    assert_err("publish", lk_device_publish(&b.device, LK_SPAN("t"), LK_SPAN("x"), 1, false, &id),
               LK_OK);
    (void)step(&b);
    (void)sent(&b, LK_MQTT_PUBLISH);
    (void)after(&b, 81000);
    give_token(&b, 'B');
    sent_nothing_more(&b); /* what is under way is waited for */
    say(&b, "40 02 0001");
    (void)step(&b);
    (void)sent(&b, LK_MQTT_DISCONNECT);
    assert_true(contains(sent(&b, LK_MQTT_CONNECT), "dG9rZUI")); /* without a pause */
    assert_int_equal(last(&b, LK_DEVICE_DISCONNECTED)->err, LK_OK);
    say(&b, "20 02 01 00");
    (void)step(&b);
    assert_true(lk_device_is_connected(&b.device));
    assert_int_equal(b.broker.opens, 2);
}

static void
a_kick_means_renew_then_reconnect(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);

    (void)state;
    bench_up(&b, &c);
    say(&b, "e0 01 98");
    (void)step(&b);
    assert_int_equal(last(&b, LK_DEVICE_DISCONNECTED)->reason, 0x98);
    assert_true(b.as.is_open);
    give_token(&b, 'B');
    (void)after(&b, 1000);
    assert_true(contains(sent(&b, LK_MQTT_CONNECT), "tokeB"));
}

static void
a_restarting_broker_needs_no_new_token(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);

    (void)state;
    bench_up(&b, &c);
    say(&b, "e0 01 8b");
    (void)step(&b);
    (void)after(&b, 1000);
    assert_false(b.as.is_open);
    assert_true(contains(sent(&b, LK_MQTT_CONNECT), "tokeA"));
}

/* ---- messages ---- */

static void
qos_1_is_sent_again_until_acknowledged(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    struct lk_span packet;
    uint16_t first, second;

    (void)state;
    bench_up(&b, &c);
    assert_err("one", lk_device_telemetry(&b.device, LK_SPAN("1"), 1, &first), LK_OK);
    (void)step(&b);
    packet = sent(&b, LK_MQTT_PUBLISH);
    assert_int_equal(packet.ptr[0], 0x32);
    assert_true(contains(packet, "devices/pump-7/telemetry"));
    b.broker.end = LK_ERR_CLOSED;
    (void)step(&b);
    b.broker.end = LK_ERR_BUSY;
    assert_err("offline", lk_device_telemetry(&b.device, LK_SPAN("2"), 1, &second), LK_OK);
    assert_err("offline QoS 0", lk_device_telemetry(&b.device, LK_SPAN("3"), 0, NULL),
               LK_ERR_STATE);
    (void)after(&b, 1000);
    (void)sent(&b, LK_MQTT_CONNECT);
    say(&b, CONNACK_OLD);
    (void)step(&b);
    assert_int_equal(sent(&b, LK_MQTT_PUBLISH).ptr[0], 0x3a); /* DUP, and first */
    assert_int_equal(sent(&b, LK_MQTT_PUBLISH).ptr[0], 0x32);
    say(&b, "40 02 0001");
    say(&b, "40 03 0002 87");
    say(&b, "40 02 0007"); /* nobody's */
    (void)step(&b);
    assert_int_equal(lk_device_pending(&b.device), 0);
    assert_int_equal(last(&b, LK_DEVICE_PUBLISHED)->packet_id, second);
    assert_int_equal(last(&b, LK_DEVICE_PUBLISHED)->reason, 0x87);
    assert_true(first != second);
}

static void
keeps_to_the_brokers_limits(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    unsigned i;

    (void)state;
    assert_err("init", lk_device_init(&b.device, &c), LK_OK);
    (void)step(&b);
    for (i = 0; i < 3; i++)
        assert_err("queue",
                   lk_device_publish(&b.device, LK_SPAN("t"), LK_SPAN("x"), 1, false, NULL), LK_OK);
    assert_err("queue long",
               lk_device_publish(&b.device, LK_SPAN("t"),
                                 LK_SPAN("0123456789012345678901234567890"), 1, false, NULL),
               LK_OK);
    give_token(&b, 'A');
    (void)sent(&b, LK_MQTT_CONNECT);
    /* receive maximum 2, packets up to 30 bytes, keep alive 10 s */
    say(&b, "20 1b 00 00 18 15 000a 4f41555448322d435754 21 0002 27 0000001e 13 000a");
    (void)step(&b);
    (void)sent(&b, LK_MQTT_PUBLISH);
    (void)sent(&b, LK_MQTT_PUBLISH);
    sent_nothing_more(&b);
    say(&b, "40 02 0001");
    (void)step(&b);
    (void)sent(&b, LK_MQTT_PUBLISH);
    say(&b, "40 02 0002");
    (void)step(&b);
    sent_nothing_more(&b); /* the long one was given up, and the application told */
    assert_int_equal(last(&b, LK_DEVICE_PUBLISHED)->err, LK_ERR_LIMIT);
    assert_int_equal(lk_device_pending(&b.device), 1);
    assert_err("long now",
               lk_device_publish(&b.device, LK_SPAN("t"),
                                 LK_SPAN("0123456789012345678901234567890"), 0, false, NULL),
               LK_ERR_LIMIT);
    (void)after(&b, 7500);
    (void)sent(&b, LK_MQTT_PINGREQ);
}

static void
pings_and_notices_a_dead_broker(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);

    (void)state;
    bench_up(&b, &c);
    assert_int_equal(step(&b).until_ms, b.now_ms + 45000);
    (void)after(&b, 44999);
    sent_nothing_more(&b);
    (void)after(&b, 1);
    (void)sent(&b, LK_MQTT_PINGREQ);
    say(&b, "d0 00");
    (void)step(&b);
    /* Publishing all the time is no sign that the broker lives. */
    (void)after(&b, 30000);
    assert_err("publish", lk_device_publish(&b.device, LK_SPAN("t"), LK_SPAN("x"), 0, false, NULL),
               LK_OK);
    b.source.next_ms = b.source.expires_ms = UINT64_MAX / 2;
    (void)step(&b);
    (void)sent(&b, LK_MQTT_PUBLISH);
    (void)after(&b, 30000);
    (void)sent(&b, LK_MQTT_PINGREQ);
    assert_int_equal(step(&b).until_ms, b.now_ms + 30000);
    (void)after(&b, 30000);
    assert_int_equal(last(&b, LK_DEVICE_DISCONNECTED)->err, LK_ERR_TIMEOUT);
}

/* A broker that reads nothing: the ping cannot even be written. */
static void
notices_a_broker_that_reads_nothing(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    struct lk_device_want want;

    (void)state;
    c.keep_alive_s = 20;
    bench_up(&b, &c);
    b.broker.write_err = LK_ERR_BUSY;
    while (lk_device_publish(&b.device, LK_SPAN("t"), LK_SPAN("0123456789"), 0, false, NULL) ==
           LK_OK)
        continue;
    assert_err("full",
               lk_device_publish(&b.device, LK_SPAN("t"), LK_SPAN("0123456789"), 0, false, NULL),
               LK_ERR_BUSY);
    want = step(&b);
    assert_int_equal(want.link_io, LK_WANT_WRITE | LK_WANT_READ);
    want = after(&b, 15000);
    assert_int_equal(want.until_ms, b.now_ms + 10000); /* no spinning meanwhile */
    (void)after(&b, 10000);
    assert_int_equal(last(&b, LK_DEVICE_DISCONNECTED)->err, LK_ERR_TIMEOUT);
}

static void
subscribes_and_answers_commands(void **state)
{
    static const struct lk_device_filter filter = {{(const uint8_t *)"devices/pump-7/config/#", 23},
                                                   0};
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    struct lk_span packet;

    (void)state;
    c.commands = true;
    c.filters = &filter;
    c.filter_count = 1;
    b.answer_commands = true;
    bench_up(&b, &c);
    assert_true(contains(sent(&b, LK_MQTT_SUBSCRIBE), "devices/pump-7/config/#"));
    packet = sent(&b, LK_MQTT_SUBSCRIBE);
    assert_true(contains(packet, "devices/pump-7/commands/+"));
    assert_int_equal(packet.ptr[packet.len - 1], 1);
    say(&b, "90 04 f000 00 00");
    say(&b, "90 04 f001 00 87");
    say(&b, "90 04 f002 00 00"); /* nobody's */
    (void)step(&b);
    assert_string_equal(last(&b, LK_DEVICE_SUBSCRIBED)->topic, "devices/pump-7/commands/+");
    assert_int_equal(last(&b, LK_DEVICE_SUBSCRIBED)->reason, 0x87);

    /* devices/pump-7/commands/c1 {"name":"x"} */
    say(&b, "32 2b 001a 646576696365732f70756d702d372f636f6d6d616e64732f6331 0007 00"
            " 7b226e616d65223a2278227d");
    (void)step(&b);
    assert_string_equal(last(&b, LK_DEVICE_COMMAND)->command_id, "c1");
    assert_string_equal(last(&b, LK_DEVICE_COMMAND)->payload, "{\"name\":\"x\"}");
    packet = sent(&b, LK_MQTT_PUBACK);
    assert_int_equal(packet.ptr[3], 7);
    packet = sent(&b, LK_MQTT_PUBLISH);
    assert_true(contains(packet, "devices/pump-7/commands/c1/result"));
    assert_true(contains(packet, "{\"state\":\"done\",\"detail\":\"ok\"}"));

    /* deeper than a command: a message like any other */
    say(&b, "30 21 001e 646576696365732f70756d702d372f636f6d6d616e64732f63312f726573 00");
    (void)step(&b);
    assert_string_equal(last(&b, LK_DEVICE_MESSAGE)->topic, "devices/pump-7/commands/c1/res");
}

static void
topics_of_another_tenant(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    uint8_t room[64];
    struct lk_span topic;

    (void)state;
    c.id = LK_SPAN("acme~pump-7");
    assert_err("init", lk_device_init(&b.device, &c), LK_OK);
    assert_err("topic", lk_device_topic(&b.device, LK_SPAN("telemetry"), LK_BUF_OF(room), &topic),
               LK_OK);
    assert_true(lk_span_is(topic, "t/acme/devices/acme~pump-7/telemetry"));
    assert_err("room",
               lk_device_topic(&b.device, LK_SPAN("telemetry"), (struct lk_buf){room, 35}, &topic),
               LK_ERR_NO_SPACE);
}

/* 3.1.1 brokers cannot be told how much fits: the message is acknowledged, or it comes for ever. */
static void
a_message_too_long_is_read_past(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    uint8_t message[303] = {0x32, 0xac, 0x02, 0x00, 0x01, 'a', 0x00, 0x09};

    (void)state;
    c.version = LK_MQTT_311;
    bench_up(&b, &c);
    b.broker.piece = 50;
    script_say(&b.broker, lk_span_of(message, sizeof(message)));
    say(&b, "30 04 0001 62 78");
    (void)step(&b);
    (void)step(&b);
    assert_int_equal(sent(&b, LK_MQTT_PUBACK).ptr[3], 9);
    assert_string_equal(last(&b, LK_DEVICE_MESSAGE)->topic, "b");
    assert_int_equal(b.heard[b.heard_len - 2].err, LK_ERR_LIMIT);
    assert_string_equal(b.heard[b.heard_len - 2].topic, "a");
    assert_true(lk_device_is_connected(&b.device));

    /* An MQTT 5 broker was told. */
    c = bench_config(&b);
    bench_up(&b, &c);
    script_say(&b.broker, lk_span_of(message, sizeof(message)));
    (void)step(&b);
    assert_int_equal(last(&b, LK_DEVICE_DISCONNECTED)->err, LK_ERR_LIMIT);
    assert_int_equal(sent(&b, LK_MQTT_DISCONNECT).ptr[2], LK_MQTT_TOO_LARGE);
}

static void
stops_in_order(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);

    (void)state;
    bench_up(&b, &c);
    assert_err("publish", lk_device_publish(&b.device, LK_SPAN("t"), LK_SPAN("x"), 1, false, NULL),
               LK_OK);
    lk_device_stop(&b.device);
    assert_err("stopping", lk_device_publish(&b.device, LK_SPAN("t"), LK_SPAN("x"), 1, false, NULL),
               LK_ERR_STATE);
    (void)step(&b);
    (void)sent(&b, LK_MQTT_PUBLISH);
    sent_nothing_more(&b);
    assert_false(lk_device_is_stopped(&b.device));
    say(&b, "40 02 0001");
    (void)step(&b);
    (void)sent(&b, LK_MQTT_DISCONNECT);
    assert_true(lk_device_is_stopped(&b.device));
    assert_int_equal(b.broker.closes, 1);
    assert_int_equal(last(&b, LK_DEVICE_DISCONNECTED)->err, LK_OK);
    assert_int_equal(step(&b).until_ms, b.now_ms);

    /* Nobody answers: not for ever. */
    c = bench_config(&b);
    bench_up(&b, &c);
    assert_err("publish", lk_device_publish(&b.device, LK_SPAN("t"), LK_SPAN("x"), 1, false, NULL),
               LK_OK);
    lk_device_stop(&b.device);
    (void)step(&b);
    (void)after(&b, LK_DEVICE_STOP_MS);
    (void)sent(&b, LK_MQTT_PUBLISH);
    (void)sent(&b, LK_MQTT_DISCONNECT);
    assert_true(lk_device_is_stopped(&b.device));

    /* Before there was a connection, or a token. */
    c = bench_config(&b);
    assert_err("init", lk_device_init(&b.device, &c), LK_OK);
    (void)step(&b);
    lk_device_stop(&b.device);
    (void)step(&b);
    assert_true(lk_device_is_stopped(&b.device));
}

static void
stops_although_nothing_can_be_written(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);

    (void)state;
    bench_up(&b, &c);
    b.broker.write_err = LK_ERR_BUSY;
    lk_device_stop(&b.device);
    (void)step(&b);
    (void)after(&b, LK_DEVICE_GOODBYE_MS);
    assert_true(lk_device_is_stopped(&b.device));
}

static void
wipes_everything(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    size_t i;

    (void)state;
    bench_up(&b, &c);
    assert_err("publish", lk_device_publish(&b.device, LK_SPAN("t"), LK_SPAN("x"), 1, false, NULL),
               LK_OK);
    lk_device_wipe(&b.device);
    lk_source_wipe(&b.source);
    assert_false(b.broker.is_open);
    for (i = 0; i < sizeof(b.token_room); i++)
        assert_int_equal(b.token_room[i], 0);
    for (i = 0; i < sizeof(b.outbox); i++)
        assert_int_equal(b.outbox[i], 0);
    for (i = 0; i < sizeof(b.in_room); i++)
        assert_int_equal(b.in_room[i], 0);
}

/* Whatever the broker says, in whatever pieces: no crash, no spinning, and in the end a new start.
 */
static void
survives_a_mad_broker(void **state)
{
    static struct bench b;
    uint32_t seed = 12345;
    unsigned round, i;

    (void)state;
    for (round = 0; round < 3000; round++) {
        static const uint8_t firsts[] = {0x20, 0x30, 0x32, 0x40, 0x90, 0xd0, 0xe0, 0xf0};
        struct lk_device_config c = bench_config(&b);

        c.version = round % 3 == 0 ? LK_MQTT_311 : LK_MQTT_5;
        c.commands = true;
        b.answer_commands = false;
        bench_up(&b, &c);
        b.broker.piece = round % 7;
        for (i = 0; i < 40; i++) {
            uint8_t noise[40];
            size_t len, at;

            seed = seed * 1664525u + 1013904223u;
            len = 2 + (seed >> 16) % 12;
            for (at = 0; at < len; at++) {
                seed = seed * 1664525u + 1013904223u;
                noise[at] = (uint8_t)(seed >> 24);
            }
            noise[0] = firsts[(seed >> 8) % sizeof(firsts)];
            noise[1] = (uint8_t)(len - 2);
            if (b.broker.is_open)
                script_say(&b.broker, lk_span_of(noise, len));
            b.heard_len = 0;
            b.broker.sent_len = b.seen = 0;
            (void)after(&b, 1);
        }
        (void)after(&b, 5);
        b.heard_len = 0;
        assert_true(step(&b).until_ms > b.now_ms || !b.broker.is_open ||
                    b.broker.in_at < b.broker.in_len);
        lk_device_wipe(&b.device);
    }
}

/* ---- commands ---- */

static const struct {
    const char *name, *json;
    enum lk_err want;
    const char *command, *args;
} commands[] = {
    {"all there is",
     "{\"id\":\"c1\",\"name\":\"set\",\"args\":{\"v\":[1,2]},\"issued_at\":1,\"expires_at\":5}",
     LK_OK, "set", "{\"v\":[1,2]}"},
    {"a name only", "{\"name\":\"set\"}", LK_OK, "set", ""},
    {"unknown members", "{\"x\":{\"y\":null},\"name\":\"set\"}", LK_OK, "set", ""},
    {"no name", "{\"id\":\"c1\"}", LK_ERR_MISSING, "", ""},
    {"empty name", "{\"name\":\"\"}", LK_ERR_MISSING, "", ""},
    {"name is a number", "{\"name\":1}", LK_ERR_TYPE, "", ""},
    {"name twice", "{\"name\":\"a\",\"name\":\"b\"}", LK_ERR_DUPLICATE, "", ""},
    {"an array", "[]", LK_ERR_TYPE, "", ""},
    {"nothing", "", LK_ERR_TRUNCATED, "", ""},
};

static void
commands_are_read(void **state)
{
    uint8_t copy[256];
    struct lk_command command;
    struct lk_span cbor;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        size_t len = strlen(commands[i].json);

        memcpy(copy, commands[i].json, len);
        assert_err(commands[i].name, lk_command_parse((struct lk_buf){copy, len}, &command),
                   commands[i].want);
        if (!lk_span_is(command.name, commands[i].command) ||
            !lk_span_is(command.args, commands[i].args))
            fail_msg("%s: other parts", commands[i].name);
    }
    cbor = hex_bytes("a3 62 6964 62 6331 64 6e616d65 63 736574 64 61726773 81 01", LK_BUF_OF(copy));
    assert_err("CBOR", lk_command_parse((struct lk_buf){copy, cbor.len}, &command), LK_OK);
    assert_true(command.is_cbor && lk_span_is(command.name, "set") && command.args.len == 2);
    assert_err("CBOR cut", lk_command_parse((struct lk_buf){copy, cbor.len - 1}, &command),
               LK_ERR_TRUNCATED);
}

static void
results_keep_their_limits(void **state)
{
    static struct bench b;
    struct lk_device_config c = bench_config(&b);
    char detail[LK_DEVICE_DETAIL_MAX + 1];

    (void)state;
    memset(detail, 'd', sizeof(detail));
    bench_up(&b, &c);
    assert_err("long",
               lk_device_result(&b.device, LK_SPAN("c1"), LK_RESULT_FAILED,
                                lk_span_of(detail, sizeof(detail))),
               LK_ERR_LIMIT);
    assert_err("not UTF-8",
               lk_device_result(&b.device, LK_SPAN("c1"), LK_RESULT_FAILED, LK_SPAN("\xff")),
               LK_ERR_UTF8);
    assert_err("quotes",
               lk_device_result(&b.device, LK_SPAN("c1"), LK_RESULT_FAILED, LK_SPAN("a \"b\"")),
               LK_OK);
    (void)step(&b);
    assert_true(
        contains(sent(&b, LK_MQTT_PUBLISH), "{\"state\":\"failed\",\"detail\":\"a \\\"b\\\"\"}"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects_with_enhanced_authentication),
        cmocka_unit_test(connects_with_a_password),
        cmocka_unit_test(a_broker_that_does_not_repeat_the_method_is_left),
        cmocka_unit_test(tells_why_it_was_refused_and_gets_a_new_token),
        cmocka_unit_test(a_refused_token_is_tried_again_while_the_server_is_away),
        cmocka_unit_test(a_refused_token_is_not_tried_again_by_a_refused_client),
        cmocka_unit_test(backs_off_with_full_jitter),
        cmocka_unit_test(gives_up_a_broker_that_says_nothing),
        cmocka_unit_test(renews_on_the_open_connection_while_it_publishes),
        cmocka_unit_test(a_refused_renewal_means_a_new_token_and_a_new_connection),
        cmocka_unit_test(an_unanswered_renewal_ends_the_connection),
        cmocka_unit_test(a_broker_that_wants_more_steps_is_left),
        cmocka_unit_test(renews_by_reconnecting_where_the_token_is_the_password),
        cmocka_unit_test(a_kick_means_renew_then_reconnect),
        cmocka_unit_test(a_restarting_broker_needs_no_new_token),
        cmocka_unit_test(qos_1_is_sent_again_until_acknowledged),
        cmocka_unit_test(keeps_to_the_brokers_limits),
        cmocka_unit_test(pings_and_notices_a_dead_broker),
        cmocka_unit_test(notices_a_broker_that_reads_nothing),
        cmocka_unit_test(subscribes_and_answers_commands),
        cmocka_unit_test(topics_of_another_tenant),
        cmocka_unit_test(a_message_too_long_is_read_past),
        cmocka_unit_test(stops_in_order),
        cmocka_unit_test(stops_although_nothing_can_be_written),
        cmocka_unit_test(wipes_everything),
        cmocka_unit_test(survives_a_mad_broker),
        cmocka_unit_test(commands_are_read),
        cmocka_unit_test(results_keep_their_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
