#include <latchkey/device/mqtt.h>

#include <string.h>

#include "cmocka_all.h"
#include "guard.h"
#include "hex.h"

/* LK_SPAN() for tables, which want constants. */
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (const uint8_t *)("" literal), sizeof(literal) - 1                                         \
    }

/* ---- reading: good specimens, and each of their parts broken in turn ---- */

static const struct {
    const char *name;
    uint8_t version;
    const char *hex;
    enum lk_err want;
    uint8_t reason;
    uint16_t packet_id;
} packets[] = {
    {"CONNACK", 5, "20 03 00 00 00", LK_OK, 0x00, 0},
    {"CONNACK, session present", 5, "20 03 01 00 00", LK_OK, 0x00, 0},
    {"CONNACK with every property", 5,
     "20 47 00 00 44 11 0000000a 21 0014 24 01 25 01 27 00010000 12 0003 616263 22 000a"
     " 1f 0002 6f6b 26 0001 61 0001 62 26 0001 61 0001 62 28 01 29 01 2a 01 13 001e 1a 0000 1c 0000"
     " 15 0001 6d 16 0001 00",
     LK_OK, 0x00, 0},
    {"CONNACK refused", 5, "20 03 00 87 00", LK_OK, 0x87, 0},
    {"CONNACK 3.1.1", 4, "20 02 00 00", LK_OK, 0x00, 0},
    {"CONNACK 3.1.1, session present", 4, "20 02 01 00", LK_OK, 0x00, 0},
    {"CONNACK 3.1.1 not authorised", 4, "20 02 00 05", LK_OK, 0x87, 0},
    {"CONNACK 3.1.1 bad password", 4, "20 02 00 04", LK_OK, 0x86, 0},
    {"CONNACK 3.1.1 unavailable", 4, "20 02 00 03", LK_OK, 0x88, 0},
    {"CONNACK 3.1.1 identifier", 4, "20 02 00 02", LK_OK, 0x85, 0},
    {"CONNACK 3.1.1 version", 4, "20 02 00 01", LK_OK, 0x84, 0},
    {"CONNACK 3.1.1 unknown code", 4, "20 02 00 06", LK_ERR_RANGE, 0, 0},
    {"CONNACK flags in the header", 5, "21 03 00 00 00", LK_ERR_MALFORMED, 0, 0},
    {"CONNACK reserved acknowledge flag", 5, "20 03 02 00 00", LK_ERR_MALFORMED, 0, 0},
    {"CONNACK unknown reason", 5, "20 03 00 01 00", LK_ERR_RANGE, 0, 0},
    {"CONNACK refused with a session", 5, "20 03 01 87 00", LK_ERR_MALFORMED, 0, 0},
    {"CONNACK without properties", 5, "20 02 00 00", LK_ERR_TRUNCATED, 0, 0},
    {"CONNACK property of PUBLISH", 5, "20 06 00 00 03 23 0001", LK_ERR_MALFORMED, 0, 0},
    {"CONNACK unknown property", 5, "20 05 00 00 02 04 00", LK_ERR_MALFORMED, 0, 0},
    {"CONNACK property twice", 5, "20 09 00 00 06 21 0014 21 0014", LK_ERR_DUPLICATE, 0, 0},
    {"CONNACK property too long for its length", 5, "20 05 00 00 02 21 00", LK_ERR_TRUNCATED, 0, 0},
    {"CONNACK receive maximum 0", 5, "20 06 00 00 03 21 0000", LK_ERR_MALFORMED, 0, 0},
    {"CONNACK packet maximum 0", 5, "20 08 00 00 05 27 00000000", LK_ERR_MALFORMED, 0, 0},
    {"CONNACK maximum QoS 2", 5, "20 05 00 00 02 24 02", LK_ERR_MALFORMED, 0, 0},
    {"CONNACK data without method", 5, "20 07 00 00 04 16 0001 00", LK_ERR_MALFORMED, 0, 0},
    {"CONNACK text not UTF-8", 5, "20 08 00 00 05 1f 0002 c328", LK_ERR_UTF8, 0, 0},
    {"CONNACK text with U+0000", 5, "20 07 00 00 04 1f 0001 00", LK_ERR_UTF8, 0, 0},
    {"CONNACK bytes behind the properties", 5, "20 04 00 00 00 00", LK_ERR_TRAILING, 0, 0},
    {"CONNACK property length in two bytes", 5, "20 04 00 00 80 00", LK_ERR_MALFORMED, 0, 0},

    {"remaining length, one byte too many", 5, "20 04 00 00 00", LK_ERR_TRUNCATED, 0, 0},
    {"remaining length, one byte too few", 5, "20 02 00 00 00", LK_ERR_TRAILING, 0, 0},
    {"remaining length not in shortest form", 5, "20 83 00 00 00 00", LK_ERR_MALFORMED, 0, 0},
    {"remaining length of five bytes", 5, "20 80 80 80 80 01", LK_ERR_MALFORMED, 0, 0},
    {"no remaining length", 5, "20", LK_ERR_TRUNCATED, 0, 0},
    {"nothing", 5, "", LK_ERR_TRUNCATED, 0, 0},

    {"PUBLISH QoS 0", 5, "30 05 0001 61 00 78", LK_OK, 0, 0},
    {"PUBLISH QoS 0 3.1.1", 4, "30 04 0001 61 78", LK_OK, 0, 0},
    {"PUBLISH QoS 1", 5, "32 07 0001 61 000a 00 78", LK_OK, 0, 10},
    {"PUBLISH QoS 1 DUP retained", 5, "3b 07 0001 61 000a 00 78", LK_OK, 0, 10},
    {"PUBLISH without payload", 5, "30 04 0001 61 00", LK_OK, 0, 0},
    {"PUBLISH with its properties", 5,
     "30 1f 0001 61 1a 01 01 02 0000003c 03 0001 6a 08 0001 62 09 0001 00 26 0001 61 0001 62 78",
     LK_OK, 0, 0},
    {"PUBLISH QoS 2", 5, "34 07 0001 61 000a 00 78", LK_ERR_UNSUPPORTED, 0, 0},
    {"PUBLISH QoS 3", 5, "36 07 0001 61 000a 00 78", LK_ERR_MALFORMED, 0, 0},
    {"PUBLISH DUP with QoS 0", 5, "38 05 0001 61 00 78", LK_ERR_MALFORMED, 0, 0},
    {"PUBLISH packet id 0", 5, "32 07 0001 61 0000 00 78", LK_ERR_MALFORMED, 0, 0},
    {"PUBLISH without topic", 5, "30 04 0000 00 78", LK_ERR_MALFORMED, 0, 0},
    {"PUBLISH topic with +", 5, "30 05 0001 2b 00 78", LK_ERR_MALFORMED, 0, 0},
    {"PUBLISH topic with #", 5, "30 05 0001 23 00 78", LK_ERR_MALFORMED, 0, 0},
    {"PUBLISH topic not UTF-8", 5, "30 05 0001 ff 00 78", LK_ERR_UTF8, 0, 0},
    {"PUBLISH topic longer than the packet", 5, "30 05 00ff 61 00 78", LK_ERR_TRUNCATED, 0, 0},
    {"PUBLISH topic alias", 5, "30 08 0001 61 03 23 0001 78", LK_ERR_UNSUPPORTED, 0, 0},
    {"PUBLISH subscription id", 5, "30 07 0001 61 02 0b 01 78", LK_ERR_MALFORMED, 0, 0},
    {"PUBLISH payload format 2", 5, "30 07 0001 61 02 01 02 78", LK_ERR_MALFORMED, 0, 0},

    {"PUBACK", 5, "40 02 000a", LK_OK, 0, 10},
    {"PUBACK with reason", 5, "40 03 000a 10", LK_OK, 0x10, 10},
    {"PUBACK with reason and properties", 5, "40 09 000a 87 05 1f 0002 6e6f", LK_OK, 0x87, 10},
    {"PUBACK 3.1.1", 4, "40 02 000a", LK_OK, 0, 10},
    {"PUBACK 3.1.1 with reason", 4, "40 03 000a 00", LK_ERR_TRAILING, 0, 0},
    {"PUBACK packet id 0", 5, "40 02 0000", LK_ERR_MALFORMED, 0, 0},
    {"PUBACK unknown reason", 5, "40 03 000a 18", LK_ERR_RANGE, 0, 0},
    {"PUBACK half an id", 5, "40 01 00", LK_ERR_TRUNCATED, 0, 0},
    {"PUBACK flags", 5, "42 02 000a", LK_ERR_MALFORMED, 0, 0},
    {"PUBREC", 5, "50 02 000a", LK_ERR_TYPE, 0, 0},

    {"SUBACK", 5, "90 04 000b 00 01", LK_OK, 0, 11},
    {"SUBACK refused", 5, "90 05 000b 00 01 87", LK_OK, 0, 11},
    {"SUBACK 3.1.1", 4, "90 03 000b 80", LK_OK, 0, 11},
    {"SUBACK 3.1.1 with a code of MQTT 5", 4, "90 03 000b 87", LK_ERR_RANGE, 0, 0},
    {"SUBACK without codes", 5, "90 03 000b 00", LK_ERR_TRUNCATED, 0, 0},
    {"SUBACK unknown code", 5, "90 04 000b 00 03", LK_ERR_RANGE, 0, 0},
    {"SUBACK packet id 0", 5, "90 04 0000 00 01", LK_ERR_MALFORMED, 0, 0},
    {"UNSUBACK", 5, "b0 04 000b 00 11", LK_OK, 0, 11},
    {"UNSUBACK 3.1.1", 4, "b0 02 000b", LK_OK, 0, 11},
    {"UNSUBACK granted QoS", 5, "b0 04 000b 00 01", LK_ERR_RANGE, 0, 0},

    {"PINGRESP", 4, "d0 00", LK_OK, 0, 0},
    {"PINGRESP with content", 5, "d0 01 00", LK_ERR_TRAILING, 0, 0},

    {"DISCONNECT", 5, "e0 00", LK_OK, 0x00, 0},
    {"DISCONNECT administrative", 5, "e0 01 98", LK_OK, 0x98, 0},
    {"DISCONNECT with properties", 5, "e0 07 87 05 1f 0002 6e6f", LK_OK, 0x87, 0},
    {"DISCONNECT with will", 5, "e0 01 04", LK_ERR_RANGE, 0, 0},
    {"DISCONNECT session expiry from a server", 5, "e0 07 00 05 11 00000000", LK_ERR_MALFORMED, 0,
     0},
    {"DISCONNECT 3.1.1", 4, "e0 00", LK_ERR_TYPE, 0, 0},

    {"AUTH success", 5, "f0 08 00 06 15 0003 616365", LK_OK, 0x00, 0},
    {"AUTH success, short", 5, "f0 00", LK_OK, 0x00, 0},
    {"AUTH continue", 5, "f0 0c 18 0a 15 0003 616365 16 0001 00", LK_OK, 0x18, 0},
    {"AUTH re-authenticate from a server", 5, "f0 08 19 06 15 0003 616365", LK_ERR_RANGE, 0, 0},
    {"AUTH data without method", 5, "f0 06 18 04 16 0001 00", LK_ERR_MALFORMED, 0, 0},
    {"AUTH 3.1.1", 4, "f0 00", LK_ERR_TYPE, 0, 0},

    {"CONNECT from a server", 5, "10 0d 0004 4d515454 05 02 003c 00 0000", LK_ERR_TYPE, 0, 0},
    {"PINGREQ from a server", 5, "c0 00", LK_ERR_TYPE, 0, 0},
    {"type 0", 5, "00 00", LK_ERR_TYPE, 0, 0},
    {"version 3", 3, "d0 00", LK_ERR_ARG, 0, 0},
};

#define PACKET_COUNT (sizeof(packets) / sizeof(packets[0]))

static void
packets_are_read(void **state)
{
    struct guard guard = guard_open(256);
    size_t i;

    (void)state;
    for (i = 0; i < PACKET_COUNT; i++) {
        uint8_t room[256];
        struct lk_span bytes = hex_bytes(packets[i].hex, LK_BUF_OF(room));
        struct lk_mqtt_packet p;

        bytes.ptr = guard_put(&guard, bytes.ptr, bytes.len);
        assert_err(packets[i].name, lk_mqtt_parse(packets[i].version, bytes, &p), packets[i].want);
        if (p.reason != packets[i].reason || p.packet_id != packets[i].packet_id)
            fail_msg("%s: reason 0x%02x, packet id %u", packets[i].name, p.reason, p.packet_id);
        if (packets[i].want != LK_OK)
            assert_int_equal(p.type, 0);
    }
    guard_close(&guard);
}

/* A packet cut anywhere, its remaining length put right or not, is never taken for another whole
 * one, except where MQTT lets an end be left out. */
static void
packets_cut_anywhere_are_refused(void **state)
{
    struct guard guard = guard_open(256);
    size_t i, cut;

    (void)state;
    for (i = 0; i < PACKET_COUNT; i++) {
        uint8_t room[256];
        struct lk_span bytes = hex_bytes(packets[i].hex, LK_BUF_OF(room));
        struct lk_mqtt_packet p;

        if (packets[i].want != LK_OK)
            continue;
        for (cut = 0; cut < bytes.len; cut++) {
            struct lk_span part = {guard_put(&guard, bytes.ptr, cut), cut};

            assert_err(packets[i].name, lk_mqtt_parse(packets[i].version, part, &p),
                       LK_ERR_TRUNCATED);
        }
        for (cut = 2; cut < bytes.len; cut++) {
            uint8_t *part = guard_put(&guard, bytes.ptr, cut);

            part[1] = (uint8_t)(cut - 2);
            if (lk_mqtt_parse(packets[i].version, lk_span_of(part, cut), &p) == LK_OK &&
                p.type == LK_MQTT_CONNACK)
                fail_msg("%s: cut to %zu bytes and still read", packets[i].name, cut);
        }
    }
    guard_close(&guard);
}

static void
properties_are_kept(void **state)
{
    uint8_t room[256];
    struct lk_mqtt_packet p;
    struct lk_span bytes = hex_bytes(packets[2].hex, LK_BUF_OF(room));

    (void)state;
    assert_err("properties", lk_mqtt_parse(5, bytes, &p), LK_OK);
    assert_int_equal(p.props.receive_max, 20);
    assert_int_equal(p.props.packet_max, 65536);
    assert_int_equal(p.props.qos_max, 1);
    assert_int_equal(p.props.keep_alive_s, 30);
    assert_true(p.props.has_keep_alive);
    assert_true(p.props.retain_available);
    assert_true(lk_span_is(p.props.assigned_client_id, "abc"));
    assert_true(lk_span_is(p.props.reason_string, "ok"));
    assert_true(lk_span_is(p.props.auth_method, "m"));
    assert_int_equal(p.props.auth_data.len, 1);
}

static const struct {
    const char *name, *hex;
    enum lk_err want;
    size_t len;
} frames[] = {
    {"nothing", "", LK_ERR_TRUNCATED, 0},
    {"type only", "30", LK_ERR_TRUNCATED, 0},
    {"empty", "d0 00", LK_OK, 2},
    {"127", "30 7f", LK_OK, 129},
    {"128", "30 80 01", LK_OK, 131},
    {"128, half", "30 80", LK_ERR_TRUNCATED, 0},
    {"16383", "30 ff 7f", LK_OK, 16386},
    {"16384", "30 80 80 01", LK_OK, 16388},
    {"2097151", "30 ff ff 7f", LK_OK, 2097155},
    {"2097152", "30 80 80 80 01", LK_OK, 2097157},
    {"the longest", "30 ff ff ff 7f", LK_OK, 268435460},
    {"five bytes", "30 ff ff ff ff", LK_ERR_MALFORMED, 0},
    {"0 in two bytes", "30 80 00", LK_ERR_MALFORMED, 0},
    {"127 in two bytes", "30 ff 00", LK_ERR_MALFORMED, 0},
    {"128 in three bytes", "30 80 81 00", LK_ERR_MALFORMED, 0},
};

static void
frames_are_measured(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        uint8_t room[16], first;
        size_t len;

        assert_err(frames[i].name,
                   lk_mqtt_frame(hex_bytes(frames[i].hex, LK_BUF_OF(room)), &first, &len),
                   frames[i].want);
        if (len != frames[i].len)
            fail_msg("%s: %zu", frames[i].name, len);
    }
}

/* ---- writing ---- */

static void
assert_hex(const char *name, enum lk_err err, struct lk_span got, const char *hex)
{
    uint8_t room[1024];
    struct lk_span want = hex_bytes(hex, LK_BUF_OF(room));

    assert_err(name, err, LK_OK);
    if (!lk_span_equal(got, want))
        fail_msg("%s: other bytes", name);
}

static void
packets_are_written(void **state)
{
    const struct lk_mqtt_publish qos0 = {.topic = LK_SPAN("a"), .payload = LK_SPAN("x")};
    const struct lk_mqtt_publish qos1 = {.topic = LK_SPAN("a"),
                                         .payload = LK_SPAN("x"),
                                         .qos = 1,
                                         .packet_id = 10,
                                         .dup = true,
                                         .retain = true};
    uint8_t bytes[256];
    struct lk_buf room = LK_BUF_OF(bytes);
    struct lk_span out;
    enum lk_err err;

    (void)state;
    err = lk_mqtt_write_publish(5, &qos0, room, &out);
    assert_hex("PUBLISH QoS 0", err, out, "30 05 0001 61 00 78");
    err = lk_mqtt_write_publish(4, &qos0, room, &out);
    assert_hex("PUBLISH QoS 0 3.1.1", err, out, "30 04 0001 61 78");
    err = lk_mqtt_write_publish(5, &qos1, room, &out);
    assert_hex("PUBLISH QoS 1", err, out, "3b 07 0001 61 000a 00 78");
    err = lk_mqtt_write_puback(5, 10, 0x00, room, &out);
    assert_hex("PUBACK", err, out, "40 02 000a");
    err = lk_mqtt_write_puback(5, 10, 0x87, room, &out);
    assert_hex("PUBACK refused", err, out, "40 03 000a 87");
    err = lk_mqtt_write_puback(4, 10, 0x87, room, &out);
    assert_hex("PUBACK refused 3.1.1", err, out, "40 02 000a");
    err = lk_mqtt_write_subscribe(5, 11, LK_SPAN("a/+"), 1, room, &out);
    assert_hex("SUBSCRIBE", err, out, "82 09 000b 00 0003 612f2b 01");
    err = lk_mqtt_write_subscribe(4, 11, LK_SPAN("a/+"), 1, room, &out);
    assert_hex("SUBSCRIBE 3.1.1", err, out, "82 08 000b 0003 612f2b 01");
    err = lk_mqtt_write_unsubscribe(5, 11, LK_SPAN("a/+"), room, &out);
    assert_hex("UNSUBSCRIBE", err, out, "a2 08 000b 00 0003 612f2b");
    err = lk_mqtt_write_unsubscribe(4, 11, LK_SPAN("a/+"), room, &out);
    assert_hex("UNSUBSCRIBE 3.1.1", err, out, "a2 07 000b 0003 612f2b");
    err = lk_mqtt_write_pingreq(room, &out);
    assert_hex("PINGREQ", err, out, "c0 00");
    err = lk_mqtt_write_disconnect(5, 0x00, room, &out);
    assert_hex("DISCONNECT", err, out, "e0 00");
    err = lk_mqtt_write_disconnect(5, 0x82, room, &out);
    assert_hex("DISCONNECT with reason", err, out, "e0 01 82");
    err = lk_mqtt_write_disconnect(4, 0x82, room, &out);
    assert_hex("DISCONNECT 3.1.1", err, out, "e0 00");
    err = lk_mqtt_write_auth(LK_MQTT_REAUTHENTICATE, LK_SPAN("m"), LK_SPAN("d"), room, &out);
    assert_hex("AUTH", err, out, "f0 0a 19 08 15 0001 6d 16 0001 64");
}

static const struct lk_mqtt_will a_will = {
    .topic = TEXT("w"), .payload = TEXT("off"), .qos = 1, .retain = true, .delay_s = 5};

static const struct {
    const char *name;
    struct lk_mqtt_connect connect;
    enum lk_err want;
    const char *hex;
} connects[] = {
    {"5, least",
     {.version = 5, .clean_start = true, .keep_alive_s = 60, .client_id = TEXT("d")},
     LK_OK,
     "10 0e 0004 4d515454 05 02 003c 00 0001 64"},
    {"3.1.1 with password",
     {.version = 4,
      .keep_alive_s = 60,
      .client_id = TEXT("d"),
      .username = TEXT("u"),
      .password = TEXT("p")},
     LK_OK,
     "10 13 0004 4d515454 04 c0 003c 0001 64 0001 75 0001 70"},
    {"password in base64url",
     {.version = 5,
      .client_id = TEXT("d"),
      .password = TEXT("\x01\xff"),
      .password_base64url = true},
     LK_OK,
     "10 13 0004 4d515454 05 40 0000 00 0001 64 0003 416638"},
    {"5 with a will",
     {.version = 5, .client_id = TEXT("d"), .will = &a_will},
     LK_OK,
     "10 1c 0004 4d515454 05 2c 0000 00 0001 64 05 18 00000005 0001 77 0003 6f6666"},
    {"3.1.1 with a will",
     {.version = 4, .clean_start = true, .client_id = TEXT("d"), .will = &a_will},
     LK_OK,
     "10 15 0004 4d515454 04 2e 0000 0001 64 0001 77 0003 6f6666"},
    {"5 with properties",
     {.version = 5,
      .client_id = TEXT("d"),
      .session_expiry_s = 300,
      .receive_max = 4,
      .packet_max = 512,
      .auth_method = TEXT("m"),
      .auth_data = TEXT("t")},
     LK_OK,
     "10 23 0004 4d515454 05 00 0000 15 11 0000012c 21 0004 27 00000200 15 0001 6d 16 0001 74 0001 "
     "64"},
    {"3.1.1 password without user name",
     {.version = 4, .client_id = TEXT("d"), .password = TEXT("p")},
     LK_ERR_ARG,
     ""},
    {"3.1.1 without id, session kept", {.version = 4, .client_id = TEXT("")}, LK_ERR_ARG, ""},
    {"3.1.1 with a method",
     {.version = 4, .client_id = TEXT("d"), .auth_method = TEXT("m")},
     LK_ERR_ARG,
     ""},
    {"data without method",
     {.version = 5, .client_id = TEXT("d"), .auth_data = TEXT("t")},
     LK_ERR_ARG,
     ""},
    {"version 3", {.version = 3, .client_id = TEXT("d")}, LK_ERR_ARG, ""},
    {"id not UTF-8", {.version = 5, .client_id = TEXT("\xff")}, LK_ERR_ARG, ""},
};

static void
connects_are_written(void **state)
{
    struct guard guard = guard_open(256);
    size_t i, cap;

    (void)state;
    for (i = 0; i < sizeof(connects) / sizeof(connects[0]); i++) {
        uint8_t bytes[256];
        struct lk_span out;
        enum lk_err err = lk_mqtt_write_connect(&connects[i].connect, LK_BUF_OF(bytes), &out);

        if (connects[i].want != LK_OK) {
            assert_err(connects[i].name, err, connects[i].want);
            assert_null(out.ptr);
            continue;
        }
        assert_hex(connects[i].name, err, out, connects[i].hex);
        for (cap = 0; cap < out.len; cap++) {
            struct lk_buf room = {guard_room(&guard, cap), cap};
            struct lk_span none;

            assert_err(connects[i].name, lk_mqtt_write_connect(&connects[i].connect, room, &none),
                       LK_ERR_NO_SPACE);
            assert_null(none.ptr);
        }
    }
    guard_close(&guard);
}

static void
what_mqtt_forbids_is_not_written(void **state)
{
    static const struct {
        const char *name;
        struct lk_mqtt_publish publish;
    } rows[] = {
        {"no topic", {.payload = TEXT("x")}},
        {"wildcard +", {.topic = TEXT("a/+")}},
        {"wildcard #", {.topic = TEXT("#")}},
        {"U+0000", {.topic = TEXT("a\0b")}},
        {"not UTF-8", {.topic = TEXT("\xc3\x28")}},
        {"QoS 2", {.topic = TEXT("a"), .qos = 2, .packet_id = 1}},
        {"QoS 1 without id", {.topic = TEXT("a"), .qos = 1}},
        {"QoS 0 with id", {.topic = TEXT("a"), .packet_id = 1}},
        {"QoS 0 DUP", {.topic = TEXT("a"), .dup = true}},
    };
    static uint8_t long_text[70000], bytes[140000];
    struct lk_mqtt_publish p = {.topic = LK_SPAN("a")};
    struct lk_buf room = LK_BUF_OF(bytes);
    struct lk_span out;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_err(rows[i].name, lk_mqtt_write_publish(5, &rows[i].publish, room, &out),
                   LK_ERR_ARG);
    memset(long_text, 'a', sizeof(long_text));
    p.topic = lk_span_of(long_text, 65535);
    assert_err("longest topic", lk_mqtt_write_publish(5, &p, room, &out), LK_OK);
    p.topic = lk_span_of(long_text, 65536);
    assert_err("topic too long", lk_mqtt_write_publish(5, &p, room, &out), LK_ERR_LIMIT);
    p.topic = LK_SPAN("a");
    p.payload = lk_span_of(long_text, LK_MQTT_PACKET_MAX);
    assert_err("packet too long", lk_mqtt_write_publish(5, &p, (struct lk_buf){bytes, 16}, &out),
               LK_ERR_LIMIT);
    assert_err("PUBACK 0", lk_mqtt_write_puback(5, 0, 0, room, &out), LK_ERR_ARG);
    assert_err("SUBSCRIBE QoS 2", lk_mqtt_write_subscribe(5, 1, LK_SPAN("a"), 2, room, &out),
               LK_ERR_ARG);
    assert_err("SUBSCRIBE nothing", lk_mqtt_write_subscribe(5, 1, LK_SPAN(""), 1, room, &out),
               LK_ERR_ARG);
    assert_err("AUTH success", lk_mqtt_write_auth(0, LK_SPAN("m"), LK_SPAN("d"), room, &out),
               LK_ERR_ARG);
    assert_err("AUTH without method",
               lk_mqtt_write_auth(0x19, LK_SPAN(""), LK_SPAN("d"), room, &out), LK_ERR_ARG);
    assert_err("no room at all", lk_mqtt_write_pingreq((struct lk_buf){NULL, 0}, &out),
               LK_ERR_NO_SPACE);
}

/* ---- chance ---- */

static uint32_t seed = 2463534242u;

static uint32_t
chance(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

static bool
is_inside(struct lk_span part, struct lk_span all)
{
    return part.ptr == NULL || (part.ptr >= all.ptr && part.ptr + part.len <= all.ptr + all.len);
}

static void
mutations_stay_inside(void **state)
{
    struct guard guard = guard_open(256);
    unsigned round;

    (void)state;
    for (round = 0; round < 200000; round++) {
        size_t row = chance() % PACKET_COUNT;
        uint8_t room[256];
        struct lk_span bytes = hex_bytes(packets[row].hex, LK_BUF_OF(room));
        unsigned changes = 1 + chance() % 4;
        struct lk_mqtt_packet p;

        while (bytes.len > 0 && changes-- > 0)
            room[chance() % bytes.len] = (uint8_t)chance();
        if (chance() % 4 == 0 && bytes.len > 2)
            bytes.len -= chance() % (bytes.len - 1);
        bytes.ptr = guard_put(&guard, bytes.ptr, bytes.len);
        if (lk_mqtt_parse(4 + chance() % 2, bytes, &p) != LK_OK)
            continue;
        assert_true(is_inside(p.topic, bytes) && is_inside(p.payload, bytes) &&
                    is_inside(p.reasons, bytes) && is_inside(p.props.auth_data, bytes) &&
                    is_inside(p.props.auth_method, bytes) &&
                    is_inside(p.props.reason_string, bytes));
    }
    guard_close(&guard);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_are_read),
        cmocka_unit_test(packets_cut_anywhere_are_refused),
        cmocka_unit_test(properties_are_kept),
        cmocka_unit_test(frames_are_measured),
        cmocka_unit_test(packets_are_written),
        cmocka_unit_test(connects_are_written),
        cmocka_unit_test(what_mqtt_forbids_is_not_written),
        cmocka_unit_test(mutations_stay_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
