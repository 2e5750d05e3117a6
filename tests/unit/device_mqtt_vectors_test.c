/*
 * tests/vectors/mqtt/ace_packets.json: what a client sends is written byte for byte, what a broker
 * sends is read as the vector says.
 */
#include <latchkey/device/mqtt.h>

#include <string.h>

#include <jansson.h>

#include "cmocka_all.h"
#include "hex.h"

static json_t *vectors;

static int
load(void **state)
{
    (void)state;
    vectors = json_load_file(LK_VECTORS_DIR "/mqtt/ace_packets.json", 0, NULL);
    return vectors == NULL ? -1 : 0;
}

static int
unload(void **state)
{
    (void)state;
    json_decref(vectors);
    return 0;
}

static struct lk_span
vector(int number, struct lk_buf room)
{
    json_t *tests = json_object_get(vectors, "tests"), *test;
    size_t i;

    json_array_foreach (tests, i, test) {
        if (json_integer_value(json_object_get(test, "n")) == number)
            return hex_bytes(json_string_value(json_object_get(test, "packetHex")), room);
    }
    fail_msg("no vector %d", number);
    return (struct lk_span){NULL, 0};
}

/* What stands behind `mark` in the packet, with the u16 length in front of it. */
static struct lk_span
behind(struct lk_span packet, struct lk_span mark)
{
    size_t i;

    for (i = 0; i + mark.len + 2 <= packet.len; i++) {
        const uint8_t *at = packet.ptr + i + mark.len;

        if (memcmp(packet.ptr + i, mark.ptr, mark.len) == 0)
            return lk_span_of(at + 2, (size_t)at[0] << 8 | at[1]);
    }
    fail_msg("mark not found");
    return (struct lk_span){NULL, 0};
}

#define ACE_METHOD                                                                                 \
    LK_SPAN("\x15\0\x03"                                                                           \
            "ace\x16")

static void
connects_are_written_as_the_vectors_have_them(void **state)
{
    static uint8_t room[2048], out_room[2048];
    const struct lk_mqtt_will will = {.topic = LK_SPAN("other/topic"), .payload = LK_SPAN("bye")};
    struct lk_span packet = vector(1, LK_BUF_OF(room)), out;
    struct lk_mqtt_connect c = {.version = 5,
                                .clean_start = true,
                                .keep_alive_s = 60,
                                .client_id = LK_SPAN("dev1"),
                                .auth_method = LK_SPAN("ace"),
                                .auth_data = behind(packet, ACE_METHOD)};

    (void)state;
    assert_err("1", lk_mqtt_write_connect(&c, LK_BUF_OF(out_room), &out), LK_OK);
    assert_true(lk_span_equal(out, packet));

    packet = vector(16, LK_BUF_OF(room));
    c.auth_data = behind(packet, ACE_METHOD);
    c.will = &will;
    assert_err("16", lk_mqtt_write_connect(&c, LK_BUF_OF(out_room), &out), LK_OK);
    assert_true(lk_span_equal(out, packet));

    packet = vector(13, LK_BUF_OF(room));
    c = (struct lk_mqtt_connect){.version = 4,
                                 .clean_start = true,
                                 .keep_alive_s = 60,
                                 .client_id = LK_SPAN("dev1"),
                                 .username = behind(packet, LK_SPAN("dev1"))};
    c.password = lk_span_of(c.username.ptr + c.username.len + 2, 32);
    assert_err("13", lk_mqtt_write_connect(&c, LK_BUF_OF(out_room), &out), LK_OK);
    assert_true(lk_span_equal(out, packet));
}

static void
auth_and_publish_are_written_as_the_vectors_have_them(void **state)
{
    static uint8_t room[2048], out_room[2048];
    struct lk_span packet = vector(7, LK_BUF_OF(room)), out;
    struct lk_mqtt_publish p = {.topic = LK_SPAN("authz-info"), .qos = 1, .packet_id = 1};

    (void)state;
    assert_err("7",
               lk_mqtt_write_auth(LK_MQTT_REAUTHENTICATE, LK_SPAN("ace"),
                                  behind(packet, ACE_METHOD), LK_BUF_OF(out_room), &out),
               LK_OK);
    assert_true(lk_span_equal(out, packet));

    packet = vector(17, LK_BUF_OF(room));
    p.payload = lk_span_of(packet.ptr + 18, packet.len - 18); /* 3 + 12 + 2 + 1 bytes of head */
    assert_err("17", lk_mqtt_write_publish(5, &p, LK_BUF_OF(out_room), &out), LK_OK);
    assert_true(lk_span_equal(out, packet));
}

static const struct {
    int number;
    uint8_t version, type, reason;
} answers[] = {
    {2, 5, LK_MQTT_AUTH, 0x18},     {4, 5, LK_MQTT_CONNACK, 0x00}, {5, 5, LK_MQTT_CONNACK, 0x87},
    {8, 5, LK_MQTT_AUTH, 0x00},     {10, 5, LK_MQTT_PUBACK, 0x87}, {11, 5, LK_MQTT_SUBACK, 0x00},
    {14, 4, LK_MQTT_CONNACK, 0x87}, /* 3.1.1's code 5 is MQTT 5's 0x87 */
};

static void
answers_are_read_as_the_vectors_have_them(void **state)
{
    static uint8_t room[2048];
    struct lk_mqtt_packet p;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct lk_span packet = vector(answers[i].number, LK_BUF_OF(room));

        assert_err("vector", lk_mqtt_parse(answers[i].version, packet, &p), LK_OK);
        assert_int_equal(p.type, answers[i].type);
        assert_int_equal(p.reason, answers[i].reason);
    }
    assert_err("2", lk_mqtt_parse(5, vector(2, LK_BUF_OF(room)), &p), LK_OK);
    assert_true(lk_span_is(p.props.auth_method, "ace"));
    assert_int_equal(p.props.auth_data.len, 8);
    assert_err("10", lk_mqtt_parse(5, vector(10, LK_BUF_OF(room)), &p), LK_OK);
    assert_int_equal(p.packet_id, 10);
    assert_err("11", lk_mqtt_parse(5, vector(11, LK_BUF_OF(room)), &p), LK_OK);
    assert_int_equal(p.reasons.len, 2);
    assert_int_equal(p.reasons.ptr[1], 0x87);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects_are_written_as_the_vectors_have_them),
        cmocka_unit_test(auth_and_publish_are_written_as_the_vectors_have_them),
        cmocka_unit_test(answers_are_read_as_the_vectors_have_them),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
