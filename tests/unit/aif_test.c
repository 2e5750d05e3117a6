/*
 * AIF against its vectors: both kinds, both notations, there and back.
 */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include <latchkey/aif.h>
#include <latchkey/base64url.h>
#include <latchkey/grant.h>
#include <latchkey/topic.h>

#include "cmocka_all.h"
#include "guard_span.h"
#include "hex.h"
#include "permissions.h"

static struct guard guard;
static struct lk_policy policy; /* no rule: what is permitted, the token itself permits */

static json_t *
load(void)
{
    json_error_t error;
    json_t *json = json_load_file(LK_VECTORS_DIR "/ace/aif.json", 0, &error);

    if (json == NULL)
        fail_msg("%s", error.text);
    return json;
}

static const char *
text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void
check_both_ways(const char *json, struct lk_span cbor, enum lk_aif_kind kind)
{
    struct lk_aif from_json, from_cbor;
    uint8_t room[1024], out_room[1024];
    struct lk_span out;

    assert_err(json,
               lk_aif_read(kind, LK_FORMAT_JWT, guard_place(&guard, lk_span_text(json)),
                           LK_BUF_OF(room), &from_json),
               LK_OK);
    assert_err(json, lk_aif_write(&from_json, LK_FORMAT_CWT, LK_BUF_OF(out_room), &out), LK_OK);
    assert_true(lk_span_equal(out, cbor));
    assert_err(json,
               lk_aif_read(kind, LK_FORMAT_CWT, guard_place(&guard, cbor), (struct lk_buf){NULL, 0},
                           &from_cbor),
               LK_OK);
    assert_err(json, lk_aif_write(&from_cbor, LK_FORMAT_JWT, LK_BUF_OF(out_room), &out), LK_OK);
    assert_true(lk_span_is(out, json));
    /* a byte too little at every size, a byte missing at every place */
    for (size_t len = 0; len < out.len; len++) {
        struct lk_buf little = {out_room, len};

        assert_err(json, lk_aif_write(&from_json, LK_FORMAT_JWT, little, &out), LK_ERR_NO_SPACE);
        assert_null(out.ptr);
        out.len = strlen(json);
    }
    for (size_t len = 0; len < cbor.len; len++) {
        assert_int_not_equal(lk_aif_read(kind, LK_FORMAT_CWT,
                                         guard_place(&guard, lk_span_of(cbor.ptr, len)),
                                         (struct lk_buf){NULL, 0}, &from_cbor),
                             LK_OK);
        assert_int_equal(from_cbor.count, 0);
    }
    /* the other kind is another kind */
    assert_err(json,
               lk_aif_read(kind == LK_AIF_MQTT ? LK_AIF_REST : LK_AIF_MQTT, LK_FORMAT_CWT, cbor,
                           (struct lk_buf){NULL, 0}, &from_cbor),
               LK_ERR_SCOPE);
}

/* By the plain reading: one permission matches the name, or covers the filter. */
static bool
is_permitted(const struct lk_identity *identity, bool is_publish, struct lk_span topic)
{
    struct lk_permissions walk;
    struct lk_permission p;
    bool is_found = false;

    lk_permissions_open(&walk, identity->permissions);
    while (lk_permissions_next(&walk, &p))
        is_found = is_found || (is_publish ? p.publish && lk_topic_matches(p.filter, topic)
                                           : p.subscribe && lk_filter_covers(p.filter, topic));
    assert_int_equal(lk_permissions_close(&walk), LK_OK);
    return is_found;
}

/* By the plain reading, and by a compiled grant. */
static void
run_checks(const json_t *checks, const struct lk_identity *identity)
{
    static uint8_t shape_room[LK_GRANT_MAX], values_room[LK_VALUES_MAX];
    struct lk_grant grant;
    json_t *check;
    size_t i;

    assert_int_equal(lk_grant_compile(&policy, identity, LK_BUF_OF(shape_room), &grant.shape,
                                      LK_BUF_OF(values_room), &grant.values),
                     LK_OK);
    json_array_foreach (checks, i, check) {
        const char *topic = json_string_value(json_array_get(check, 1));
        bool is_publish = strcmp(json_string_value(json_array_get(check, 0)), "pub") == 0;
        bool wanted = json_is_true(json_array_get(check, 2));
        struct lk_request request = {.action = is_publish ? LK_ACTION_PUBLISH : LK_ACTION_SUBSCRIBE,
                                     .topic = lk_span_text(topic)};
        struct lk_verdict verdict = lk_grant_check(&grant, &request);

        if (is_permitted(identity, is_publish, request.topic) != wanted ||
            (verdict.access == LK_ACCESS_ALLOW) != wanted ||
            (wanted && !(verdict.rule & LK_RULE_OF_TOKEN)))
            fail_msg("%s %s", is_publish ? "pub" : "sub", topic);
    }
}

static void
vectors_are_read_and_written(void **state)
{
    json_t *json = load(), *test;
    size_t i;

    (void)state;
    json_array_foreach (json_object_get(json, "tests"), i, test) {
        uint8_t cbor_room[256];
        struct lk_span cbor = hex_bytes(text_of(test, "cborHex"), LK_BUF_OF(cbor_room));
        bool is_mqtt = json_object_get(test, "checks") != NULL;

        check_both_ways(text_of(test, "json"), cbor, is_mqtt ? LK_AIF_MQTT : LK_AIF_REST);
    }
    json_decref(json);
}

static void
vectors_permit_what_they_say(void **state)
{
    json_t *json = load(), *test;
    size_t i;

    (void)state;
    json_array_foreach (json_object_get(json, "tests"), i, test) {
        const char *scope = text_of(test, "jwtScopeClaim");
        uint8_t room[LK_IDENTITY_ROOM], base64[256];
        struct lk_identity identity;
        struct lk_claims claims = {.format = LK_FORMAT_JWT, .subject = LK_SPAN("x")};
        struct lk_span out;

        if (scope == NULL)
            continue;
        assert_int_equal(
            lk_base64url_encode(lk_span_text(text_of(test, "json")), LK_BUF_OF(base64), &out),
            LK_OK);
        assert_true(lk_span_is(out, scope));
        claims.scope = out;
        assert_int_equal(
            lk_identity_from_claims(&policy, &claims, LK_SPAN("x"), LK_BUF_OF(room), &identity),
            LK_OK);
        run_checks(json_object_get(test, "checks"), &identity);
    }
    json_decref(json);
}

static void
what_is_invalid_is_refused(void **state)
{
    json_t *json = load(), *test;
    size_t i;

    (void)state;
    json_array_foreach (json_object_get(json, "invalidMqtt"), i, test) {
        uint8_t room[256];
        struct lk_aif aif;

        assert_err(text_of(test, "why"),
                   lk_aif_read(LK_AIF_MQTT, LK_FORMAT_JWT, lk_span_text(text_of(test, "json")),
                               LK_BUF_OF(room), &aif),
                   LK_ERR_SCOPE);
        assert_int_equal(aif.count, 0);
    }
    json_decref(json);
}

static void
edges(void **state)
{
    static const struct {
        const char *name, *json;
        enum lk_aif_kind kind;
        enum lk_err err;
        size_t count;
    } rows[] = {
        {"paths are merged", "[[\"/a\",1],[\"/a\",2]]", LK_AIF_REST, LK_OK, 1},
        {"a path with a query", "[[\"/a?b=+#\",1]]", LK_AIF_REST, LK_OK, 1},
        {"no method", "[[\"/a\",0]]", LK_AIF_REST, LK_OK, 1},
        {"the largest set", "[[\"/a\",9007199254740992]]", LK_AIF_REST, LK_OK, 1},
        {"beyond it", "[[\"/a\",9007199254740993]]", LK_AIF_REST, LK_ERR_SCOPE, 0},
        {"negative", "[[\"/a\",-1]]", LK_AIF_REST, LK_ERR_SCOPE, 0},
        {"a fraction", "[[\"/a\",1.5]]", LK_AIF_REST, LK_ERR_SCOPE, 0},
        {"words", "[[\"/a\",[\"pub\"]]]", LK_AIF_REST, LK_ERR_SCOPE, 0},
        {"a text", "\"a\"", LK_AIF_MQTT, LK_ERR_SCOPE, 0},
        {"nothing", "", LK_AIF_MQTT, LK_ERR_TRUNCATED, 0},
        {"cut off", "[[\"a\",[\"pub\"]]", LK_AIF_MQTT, LK_ERR_TRUNCATED, 0},
        {"cut off in a text", "[[\"a", LK_AIF_MQTT, LK_ERR_TRUNCATED, 0},
        {"behind it", "[] 1", LK_AIF_MQTT, LK_ERR_TRAILING, 0},
        {"a comma too many", "[[\"a\",[\"pub\"]],]", LK_AIF_MQTT, LK_ERR_MALFORMED, 0},
        {"no UTF-8", "[[\"\xff\",[\"pub\"]]]", LK_AIF_MQTT, LK_ERR_UTF8, 0},
        {"NUL", "[[\"\\u0000\",[\"pub\"]]]", LK_AIF_MQTT, LK_ERR_MALFORMED, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t room[256];
        struct lk_aif aif;

        assert_err(rows[i].name,
                   lk_aif_read(rows[i].kind, LK_FORMAT_JWT,
                               guard_place(&guard, lk_span_text(rows[i].json)), LK_BUF_OF(room),
                               &aif),
                   rows[i].err);
        assert_int_equal(aif.count, rows[i].count);
    }
}

static void
only_what_can_be_read_is_written(void **state)
{
    static struct lk_aif aif = {.kind = LK_AIF_MQTT, .count = 1};
    static const struct {
        const char *name, *target;
        uint64_t permissions;
        enum lk_err err;
    } rows[] = {
        {"specimen", "a/#", LK_AIF_PUB | LK_AIF_SUB, LK_OK},
        {"no permission", "a/#", 0, LK_ERR_ARG},
        {"an unknown one", "a/#", 4, LK_ERR_ARG},
        {"no filter", "a/#/b", LK_AIF_PUB, LK_ERR_ARG},
        {"the server's", "$SYS/#", LK_AIF_PUB, LK_ERR_ARG},
        {"empty", "", LK_AIF_PUB, LK_ERR_ARG},
    };
    uint8_t room[64];
    struct lk_span out;

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        aif.entry[0] =
            (struct lk_aif_entry){lk_span_text(rows[i / 2].target), rows[i / 2].permissions};
        assert_err(rows[i / 2].name,
                   lk_aif_write(&aif, i % 2 ? LK_FORMAT_JWT : LK_FORMAT_CWT, LK_BUF_OF(room), &out),
                   rows[i / 2].err);
    }
    aif.count = LK_PERMISSIONS_MAX + 1;
    assert_int_equal(lk_aif_write(&aif, LK_FORMAT_CWT, LK_BUF_OF(room), &out), LK_ERR_ARG);
}

static void
so_many_targets_and_no_more(void **state)
{
    static char json[4096];
    static uint8_t room[4096];
    struct lk_aif aif;

    (void)state;
    for (size_t entries = LK_PERMISSIONS_MAX; entries <= LK_PERMISSIONS_MAX + 1; entries++) {
        size_t len = (size_t)snprintf(json, sizeof(json), "[[\"0\",[\"sub\"]]");

        for (size_t i = 0; i < entries; i++)
            len += (size_t)snprintf(json + len, sizeof(json) - len, ",[\"%zu\",[\"pub\"]]", i);
        snprintf(json + len, sizeof(json) - len, "]");
        assert_int_equal(
            lk_aif_read(LK_AIF_MQTT, LK_FORMAT_JWT, lk_span_text(json), LK_BUF_OF(room), &aif),
            entries <= LK_PERMISSIONS_MAX ? LK_OK : LK_ERR_LIMIT);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_are_read_and_written),
        cmocka_unit_test(vectors_permit_what_they_say),
        cmocka_unit_test(what_is_invalid_is_refused),
        cmocka_unit_test(edges),
        cmocka_unit_test(only_what_can_be_read_is_written),
        cmocka_unit_test(so_many_targets_and_no_more),
    };

    guard = guard_open(4096);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
