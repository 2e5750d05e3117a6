/* Payloads of contracts section 10, as JSON and as CBOR, and the topics they come on. */
#include "cmocka_all.h"

#include <string.h>

#include "guard.h"
#include "desk/message.h"
#include "desk/topic.h"
#include "limits.h"

/* --- input right before a page that cannot be read -------------------------------------------- */

static uint8_t room[TELEMETRY_MAX];
static struct guard guard;

static int
suite_open(void **state)
{
    (void)state;
    guard = guard_open(2 * TELEMETRY_MAX);
    return 0;
}

static int
suite_close(void **state)
{
    (void)state;
    guard_close(&guard);
    return 0;
}

static enum lk_err
read_bytes(const void *bytes, size_t len, char *json, size_t size)
{
    uint8_t *copy = guard_put(&guard, bytes, len);
    struct message message;
    enum lk_err err = message_read(lk_span_of(copy, len), LK_BUF_OF(room), &message);

    json[0] = '\0';
    if (err == LK_OK) {
        assert_true(message.json.len < size);
        memcpy(json, message.json.ptr, message.json.len);
        json[message.json.len] = '\0';
    } else {
        assert_null(message.object);
        assert_null(message.json.ptr);
    }
    message_free(&message);
    return err;
}

/* --- tables ----------------------------------------------------------------------------------- */

#define DEPTH_16 "{\"a\":[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}"
#define DEPTH_17 "{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}"

static const struct {
    const char *name;
    const char *in;
    enum lk_err err;
    const char *out; /* NULL: the input */
} texts[] = {
    {"telemetry", "{\"temperature\":21.5,\"battery\":88,\"rssi\":-61}", LK_OK, NULL},
    {"empty object", "{}", LK_OK, NULL},
    {"white space goes", " {\r\n\t\"a\" : [ 1 , 2 ] }\n", LK_OK, "{\"a\":[1,2]}"},
    {"order stays", "{\"z\":1,\"a\":2}", LK_OK, NULL},
    {"a tenth stays a tenth", "{\"v\":0.1}", LK_OK, NULL},
    {"a real stays a real", "{\"v\":3.0}", LK_OK, NULL},
    {"large exponent", "{\"v\":1e300}", LK_OK, "{\"v\":1e+300}"},
    {"largest integer", "{\"v\":9223372036854775807}", LK_OK, NULL},
    {"smallest integer", "{\"v\":-9223372036854775808}", LK_OK, NULL},
    {"all the words", "{\"v\":[true,false,null]}", LK_OK, NULL},
    {"escapes", "{\"v\":\"a\\u0041\\n\\\"\\\\\\u0001\"}", LK_OK,
     "{\"v\":\"aA\\n\\\"\\\\\\u0001\"}"},
    {"UTF-8", "{\"v\":\"\xc3\xa9\"}", LK_OK, NULL},
    {"depth 16", DEPTH_16, LK_OK, NULL},
    {"depth 17", DEPTH_17, LK_ERR_DEPTH, NULL},
    {"nothing", "", LK_ERR_MALFORMED, NULL},
    {"array", "[1]", LK_ERR_TYPE, NULL},
    {"number", "1", LK_ERR_TYPE, NULL},
    {"cut off", "{\"a\":1", LK_ERR_MALFORMED, NULL},
    {"bytes behind", "{} x", LK_ERR_MALFORMED, NULL},
    {"two objects", "{}{}", LK_ERR_MALFORMED, NULL},
    {"member twice", "{\"a\":1,\"a\":1}", LK_ERR_MALFORMED, NULL},
    {"member twice, once escaped", "{\"a\":1,\"\\u0061\":1}", LK_ERR_MALFORMED, NULL},
    {"integer of 65 bits", "{\"v\":18446744073709551616}", LK_ERR_MALFORMED, NULL},
    {"real beyond double", "{\"v\":1e999}", LK_ERR_MALFORMED, NULL},
    {"NaN", "{\"v\":NaN}", LK_ERR_MALFORMED, NULL},
    {"NUL in a string", "{\"v\":\"\\u0000\"}", LK_ERR_MALFORMED, NULL},
    {"lone surrogate", "{\"v\":\"\\ud800\"}", LK_ERR_MALFORMED, NULL},
    {"not UTF-8", "{\"v\":\"\xc3\"}", LK_ERR_MALFORMED, NULL},
    {"byte order mark", "\xef\xbb\xbf{}", LK_ERR_MALFORMED, NULL},
    {"comma too many", "{\"a\":1,}", LK_ERR_MALFORMED, NULL},
    {"leading zero", "{\"a\":01}", LK_ERR_MALFORMED, NULL},
};

static void
json_rows(void **state)
{
    static char json[TELEMETRY_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        enum lk_err err = read_bytes(texts[i].in, strlen(texts[i].in), json, sizeof(json));

        assert_err(texts[i].name, err, texts[i].err);
        if (err == LK_OK)
            assert_string_equal(json, texts[i].out != NULL ? texts[i].out : texts[i].in);
    }
}

#define ROW(name, hex, err, out)                                                                   \
    {                                                                                              \
        name, hex, sizeof(hex) - 1, err, out                                                       \
    }

static const struct {
    const char *name;
    const char *in;
    size_t len;
    enum lk_err err;
    const char *out;
} binaries[] = {
    ROW("{\"battery\": 88}",
        "\xa1\x67"
        "battery"
        "\x18\x58",
        LK_OK, "{\"battery\":88}"),
    ROW("empty map", "\xa0", LK_OK, "{}"),
    ROW("self-described", "\xd9\xd9\xf7\xa0", LK_OK, "{}"),
    ROW("negative", "\xa1\x61v\x38\x3c", LK_OK, "{\"v\":-61}"),
    ROW("half 1.5", "\xa1\x61v\xf9\x3e\x00", LK_OK, "{\"v\":1.5}"),
    ROW("single 21.3 in the fewest digits", "\xa1\x61v\xfa\x41\xaa\x66\x66", LK_OK, "{\"v\":21.3}"),
    ROW("double 0.1", "\xa1\x61v\xfb\x3f\xb9\x99\x99\x99\x99\x99\x9a", LK_OK, "{\"v\":0.1}"),
    ROW("NaN becomes null", "\xa1\x61v\xf9\x7e\x00", LK_OK, "{\"v\":null}"),
    ROW("infinity becomes null", "\xa1\x61v\xf9\x7c\x00", LK_OK, "{\"v\":null}"),
    ROW("undefined becomes null", "\xa1\x61v\xf7", LK_OK, "{\"v\":null}"),
    ROW("words", "\xa1\x61v\x83\xf5\xf4\xf6", LK_OK, "{\"v\":[true,false,null]}"),
    ROW("bytes become base64url", "\xa1\x61v\x43\xff\xfe\xfd", LK_OK, "{\"v\":\"__79\"}"),
    ROW("a tag is dropped", "\xa1\x61v\xc1\x1a\x65\x53\xf1\x00", LK_OK, "{\"v\":1700000000}"),
    ROW("integer key", "\xa1\x05\x01", LK_OK, "{\"5\":1}"),
    ROW("negative key", "\xa1\x24\x01", LK_OK, "{\"-5\":1}"),
    ROW("bytes key", "\xa1\x41\xff\x01", LK_OK, "{\"_w\":1}"),
    ROW("text is escaped", "\xa1\x61v\x62\"\n", LK_OK, "{\"v\":\"\\\"\\n\"}"),
    ROW("wide head", "\xb8\x01\x61v\x1b\x00\x00\x00\x00\x00\x00\x00\x07", LK_OK, "{\"v\":7}"),
    ROW("keys 1 and \"1\"",
        "\xa2\x01\x01\x61"
        "1"
        "\x02",
        LK_ERR_MALFORMED, NULL),
    ROW("key twice", "\xa2\x61v\x01\x61v\x02", LK_ERR_DUPLICATE, NULL),
    ROW("map cut off", "\xa2\x61v\x01", LK_ERR_TRUNCATED, NULL),
    ROW("a length that lies", "\xa1\x61v\x5b\xff\xff\xff\xff\xff\xff\xff\xff", LK_ERR_TRUNCATED,
        NULL),
    ROW("a count that lies", "\xbb\xff\xff\xff\xff\xff\xff\xff\xff", LK_ERR_TRUNCATED, NULL),
    ROW("bytes behind", "\xa0\x00", LK_ERR_TRAILING, NULL),
    ROW("indefinite map", "\xbf\xff", LK_ERR_MALFORMED, NULL),
    ROW("indefinite text",
        "\xa1\x61v\x7f\x61"
        "a"
        "\xff",
        LK_ERR_MALFORMED, NULL),
    ROW("unsigned of 64 bits", "\xa1\x61v\x1b\xff\xff\xff\xff\xff\xff\xff\xff", LK_ERR_RANGE, NULL),
    ROW("negative of 65 bits", "\xa1\x61v\x3b\xff\xff\xff\xff\xff\xff\xff\xff", LK_ERR_RANGE, NULL),
    ROW("unassigned simple value", "\xa1\x61v\xe0", LK_ERR_TYPE, NULL),
    ROW("text not UTF-8", "\xa1\x61v\x61\xff", LK_ERR_UTF8, NULL),
    ROW("NUL in a text", "\xa1\x61v\x61\x00", LK_ERR_MALFORMED, NULL),
    ROW("only a tag", "\xc1", LK_ERR_TRUNCATED, NULL),
    ROW("tagged number", "\xc1\x01", LK_ERR_TYPE, NULL),
    ROW("depth 16", "\xa1\x61v\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x01",
        LK_OK, "{\"v\":[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}"),
    ROW("depth 17", "\xa1\x61v\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x81\x01",
        LK_ERR_DEPTH, NULL),
};

static void
cbor_rows(void **state)
{
    static char json[TELEMETRY_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(binaries) / sizeof(binaries[0]); i++) {
        enum lk_err err = read_bytes(binaries[i].in, binaries[i].len, json, sizeof(json));

        assert_err(binaries[i].name, err, binaries[i].err);
        if (err == LK_OK)
            assert_string_equal(json, binaries[i].out);
    }
}

/* Every prefix of a good message is refused, none is read beyond its end. */
static void
prefixes_are_refused(void **state)
{
    static const char json_text[] = "{\"a\":[1,{\"b\":\"c\\n\"}],\"d\":-1.5e3}";
    static const char cbor[] = "\xa2\x61"
                               "a"
                               "\x82\x01\xa1\x61"
                               "b"
                               "\x62"
                               "c\n"
                               "\x61"
                               "d"
                               "\xfb\xc0\x97\x70\x00\x00\x00\x00\x00";
    char out[256];

    (void)state;
    assert_int_equal(read_bytes(json_text, sizeof(json_text) - 1, out, sizeof(out)), LK_OK);
    assert_int_equal(read_bytes(cbor, sizeof(cbor) - 1, out, sizeof(out)), LK_OK);
    for (size_t len = 0; len < sizeof(json_text) - 1; len++)
        assert_int_not_equal(read_bytes(json_text, len, out, sizeof(out)), LK_OK);
    for (size_t len = 0; len < sizeof(cbor) - 1; len++)
        assert_int_not_equal(read_bytes(cbor, len, out, sizeof(out)), LK_OK);
}

static void
sizes_are_limited(void **state)
{
    static char big[TELEMETRY_MAX + 2], out[TELEMETRY_MAX + 1];
    size_t len;

    (void)state;
    /* {"v":"aaa..."}: 8 bytes around the text */
    memset(big, 'a', sizeof(big));
    memcpy(big, "{\"v\":\"", 6);
    memcpy(big + TELEMETRY_MAX - 2, "\"}", 2);
    assert_int_equal(read_bytes(big, TELEMETRY_MAX, out, sizeof(out)), LK_OK);
    memcpy(big + TELEMETRY_MAX - 2, "a\"}", 3);
    assert_int_equal(read_bytes(big, TELEMETRY_MAX + 1, out, sizeof(out)), LK_ERR_LIMIT);
    /* A byte string of 60000 bytes is 80000 characters of base64url. */
    memcpy(big, "\xa1\x61v\x59\xea\x60", 6);
    len = 6 + 60000;
    assert_int_equal(read_bytes(big, len, out, sizeof(out)), LK_ERR_LIMIT);
    /* Tags in tags, 65000 deep, take no stack. */
    memset(big, 0xc1, 65000);
    big[65000] = (char)0xa0;
    assert_int_equal(read_bytes(big, 65001, out, sizeof(out)), LK_OK);
    /* Arrays in arrays as far as they go. */
    memset(big, '[', TELEMETRY_MAX);
    memcpy(big, "{\"v\":", 5);
    assert_int_equal(read_bytes(big, TELEMETRY_MAX, out, sizeof(out)), LK_ERR_MALFORMED);
}

static void
parse(struct message *message, const char *json)
{
    assert_int_equal(message_read(lk_span_text(json), LK_BUF_OF(room), message), LK_OK);
}

static const struct {
    const char *json;
    bool has_battery, has_rssi, is_odd;
    double battery, rssi;
} vitals_rows[] = {
    {"{}", false, false, false, 0, 0},
    {"{\"battery\":0,\"rssi\":-200}", true, true, false, 0, -200},
    {"{\"battery\":100,\"rssi\":100}", true, true, false, 100, 100},
    {"{\"battery\":87.5}", true, false, false, 87.5, 0},
    {"{\"battery\":null,\"rssi\":null}", false, false, false, 0, 0},
    {"{\"battery\":100.1,\"rssi\":-60}", false, true, true, 0, -60},
    {"{\"battery\":-1}", false, false, true, 0, 0},
    {"{\"battery\":\"88\"}", false, false, true, 0, 0},
    {"{\"rssi\":[-60]}", false, false, true, 0, 0},
};

static void
vitals_are_taken_from_telemetry(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(vitals_rows) / sizeof(vitals_rows[0]); i++) {
        struct message_vitals vitals;
        struct message message;

        parse(&message, vitals_rows[i].json);
        message_vitals(&message, &vitals);
        assert_int_equal(vitals.has_battery, vitals_rows[i].has_battery);
        assert_int_equal(vitals.has_rssi, vitals_rows[i].has_rssi);
        assert_int_equal(vitals.is_odd, vitals_rows[i].is_odd);
        assert_true(vitals.battery == vitals_rows[i].battery);
        assert_true(vitals.rssi == vitals_rows[i].rssi);
        message_free(&message);
    }
}

static const struct {
    const char *json;
    enum lk_err err;
    enum message_result_state state;
    const char *detail; /* NULL: none */
} results[] = {
    {"{\"state\":\"received\"}", LK_OK, MESSAGE_RECEIVED, NULL},
    {"{\"state\":\"done\"}", LK_OK, MESSAGE_DONE, NULL},
    {"{\"state\":\"failed\",\"detail\":\"stuck\"}", LK_OK, MESSAGE_FAILED, "\"stuck\""},
    {"{\"state\":\"done\",\"detail\":{\"ms\":5}}", LK_OK, MESSAGE_DONE, "{\"ms\":5}"},
    {"{\"state\":\"done\",\"detail\":\"0123456789012345678901234567890123456789\"}", LK_OK,
     MESSAGE_DONE, NULL},
    {"{\"detail\":1}", LK_ERR_MISSING, MESSAGE_RECEIVED, NULL},
    {"{\"state\":\"Done\"}", LK_ERR_SYNTAX, MESSAGE_RECEIVED, NULL},
    {"{\"state\":\"pending\"}", LK_ERR_SYNTAX, MESSAGE_RECEIVED, NULL},
    {"{\"state\":1}", LK_ERR_SYNTAX, MESSAGE_RECEIVED, NULL},
};

static void
results_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        enum message_result_state found;
        struct message message;
        uint8_t detail_room[32];
        struct lk_span detail;

        parse(&message, results[i].json);
        assert_int_equal(message_result(&message, LK_BUF_OF(detail_room), &found, &detail),
                         results[i].err);
        if (results[i].err == LK_OK)
            assert_int_equal(found, results[i].state);
        if (results[i].detail == NULL)
            assert_null(detail.ptr);
        else
            assert_true(lk_span_is(detail, results[i].detail));
        message_free(&message);
    }
}

static const struct {
    const char *json;
    enum lk_err err;
    bool online;
    int64_t since_s;
} presences[] = {
    {"{\"online\":true,\"since\":1700000000}", LK_OK, true, 1700000000},
    {"{\"online\":false,\"since\":1,\"reason\":\"expired\"}", LK_OK, false, 1},
    {"{\"online\":true}", LK_OK, true, 0},
    {"{\"since\":1}", LK_ERR_MISSING, false, 0},
    {"{\"online\":1}", LK_ERR_MISSING, false, 0},
    {"{\"online\":true,\"since\":-1}", LK_ERR_RANGE, false, 0},
    {"{\"online\":true,\"since\":1.5}", LK_ERR_RANGE, false, 0},
};

static void
presence_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(presences) / sizeof(presences[0]); i++) {
        struct message message;
        bool online;
        int64_t since_s;

        parse(&message, presences[i].json);
        assert_int_equal(message_presence(&message, &online, &since_s), presences[i].err);
        assert_int_equal(online, presences[i].online);
        assert_int_equal(since_s, presences[i].since_s);
        message_free(&message);
    }
}

/* --- topics ----------------------------------------------------------------------------------- */

#define ID "0123456789abcdefghijklmnop"

static const struct {
    const char *topic;
    bool ok;
    enum desk_topic_kind kind;
    const char *device;
    const char *command;
} topics[] = {
    {"devices/d1/telemetry", true, DESK_TOPIC_TELEMETRY, "d1", ""},
    {"devices/d1/telemetry/a/b", true, DESK_TOPIC_TELEMETRY, "d1", ""},
    {"devices/d1/status", true, DESK_TOPIC_STATUS, "d1", ""},
    {"devices/d1/status/valve", true, DESK_TOPIC_STATUS, "d1", ""},
    {"devices/d1/presence", true, DESK_TOPIC_PRESENCE, "d1", ""},
    {"devices/d1/commands/" ID "/result", true, DESK_TOPIC_RESULT, "d1", ID},
    {"t/acme/devices/acme~d1/telemetry", true, DESK_TOPIC_TELEMETRY, "acme~d1", ""},
    {"t/acme/devices/acme~d1/commands/" ID "/result", true, DESK_TOPIC_RESULT, "acme~d1", ID},
    {"t/acme/devices/d1/telemetry", false, 0, "", ""},
    {"t/acme/devices/other~d1/telemetry", false, 0, "", ""},
    {"t/acme2/devices/acme~d1/telemetry", false, 0, "", ""},
    {"devices/acme~d1/telemetry", false, 0, "", ""},
    {"t//devices/d1/telemetry", false, 0, "", ""},
    {"t/acme", false, 0, "", ""},
    {"t", false, 0, "", ""},
    {"", false, 0, "", ""},
    {"/", false, 0, "", ""},
    {"devices", false, 0, "", ""},
    {"devices//telemetry", false, 0, "", ""},
    {"devices/-d1/telemetry", false, 0, "", ""},
    {"devices/d 1/telemetry", false, 0, "", ""},
    {"devices/d1", false, 0, "", ""},
    {"devices/d1/", false, 0, "", ""},
    {"devices/d1/config", false, 0, "", ""},
    {"devices/d1/presence/x", false, 0, "", ""},
    {"devices/d1/commands/" ID, false, 0, "", ""},
    {"devices/d1/commands/" ID "/result/x", false, 0, "", ""},
    {"devices/d1/commands/short/result", false, 0, "", ""},
    {"devices/d1/commands/0123456789ABCDEFGHIJKLMNOP/result", false, 0, "", ""},
    {"devices/d1/commands//result", false, 0, "", ""},
    {"devices/d1/relay/d2/telemetry", false, 0, "", ""},
    {"xdevices/d1/telemetry", false, 0, "", ""},
};

static void
topics_are_taken_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        size_t len = strlen(topics[i].topic);
        uint8_t *copy = guard_put(&guard, topics[i].topic, len);
        struct desk_topic parts;

        if (desk_topic_parse(lk_span_of(copy, len), &parts) != topics[i].ok)
            fail_msg("%s", topics[i].topic);
        assert_true(lk_span_is(parts.device, topics[i].device));
        assert_true(lk_span_is(parts.command, topics[i].command));
        if (topics[i].ok)
            assert_int_equal(parts.kind, topics[i].kind);
    }
}

static void
commands_have_their_topic(void **state)
{
    char text[64];

    (void)state;
    assert_true(desk_topic_of_command(LK_SPAN("d1"), LK_SPAN("c1"), LK_BUF_OF(text)));
    assert_string_equal(text, "devices/d1/commands/c1");
    assert_true(desk_topic_of_command(LK_SPAN("acme~d1"), LK_SPAN("c1"), LK_BUF_OF(text)));
    assert_string_equal(text, "t/acme/devices/acme~d1/commands/c1");
    assert_true(
        desk_topic_of_command(LK_SPAN("d1"), LK_SPAN("c1"), (struct lk_buf){(uint8_t *)text, 23}));
    assert_false(
        desk_topic_of_command(LK_SPAN("d1"), LK_SPAN("c1"), (struct lk_buf){(uint8_t *)text, 22}));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_rows),
        cmocka_unit_test(cbor_rows),
        cmocka_unit_test(prefixes_are_refused),
        cmocka_unit_test(sizes_are_limited),
        cmocka_unit_test(vitals_are_taken_from_telemetry),
        cmocka_unit_test(results_are_read),
        cmocka_unit_test(presence_is_read),
        cmocka_unit_test(topics_are_taken_apart),
        cmocka_unit_test(commands_have_their_topic),
    };

    return cmocka_run_group_tests_name("desk_message", tests, suite_open, suite_close);
}
