#include <stdio.h>
#include <string.h>
#include <time.h>

#include <latchkey/cbor.h>
#include <latchkey/grant.h>

#include "cmocka_all.h"
#include "guard_span.h"

/* Room that also shows a write beyond what the limits promise. */
struct compiled {
    uint8_t shape[LK_GRANT_MAX];
    uint8_t values[LK_VALUES_MAX];
    struct lk_grant grant;
};

static struct lk_policy policy;
static struct compiled compiled;

static void
load_policy(const char *text)
{
    struct lk_policy_error error;

    if (lk_policy_parse(lk_span_text(text), &policy, &error) != LK_OK)
        fail_msg("%u:%u %s", error.line, error.column, error.expected);
}

static struct lk_identity
person(const char *subject, const char *type, const char *tenant, const char *scope)
{
    struct lk_identity identity = {
        .subject = lk_span_text(subject),
        .client_id = lk_span_text(subject),
        .type = lk_span_text(type),
        .tenant = lk_span_text(tenant),
        .scope = lk_span_text(scope),
    };

    return identity;
}

static void
compile_into(struct compiled *c, const struct lk_identity *identity)
{
    assert_int_equal(lk_grant_compile(&policy, identity, LK_BUF_OF(c->shape), &c->grant.shape,
                                      LK_BUF_OF(c->values), &c->grant.values),
                     LK_OK);
}

static struct lk_request
request_of(enum lk_action action, const char *topic)
{
    return (struct lk_request){.action = action, .topic = lk_span_text(topic), .qos = 1};
}

static bool
may(const struct lk_identity *identity, enum lk_action action, const char *topic)
{
    struct lk_request request = request_of(action, topic);

    compile_into(&compiled, identity);
    return lk_grant_check(&compiled.grant, &request).access == LK_ACCESS_ALLOW;
}

enum who { SENSOR, ACTUATOR, GATEWAY, MONITOR, MANAGER, DESK, BRIDGE, ACME, ALL, LIAR, NOBODY };

static struct lk_identity
identity_of(enum who who)
{
    struct lk_identity identity;

    switch (who) {
    case SENSOR:
        return person("s-1", "sensor", NULL, "telemetry:send config:read");
    case ACTUATOR:
        return person("a-1", "actuator", NULL, "commands:receive status:send config:read");
    case GATEWAY:
        identity = person("g-1", "gateway", NULL, "telemetry:send telemetry:relay config:read");
        identity.children[0] = LK_SPAN("c-1");
        identity.children[1] = LK_SPAN("bad/child");
        identity.children[2] = LK_SPAN("c-2");
        identity.children_count = 3;
        return identity;
    case MONITOR:
        return person("m-1", NULL, NULL, "telemetry:read devices:read alerts:read status:read");
    case MANAGER:
        return person("d-1", NULL, NULL, "telemetry:* config:write status:read");
    case DESK:
        return person("desk", NULL, NULL, "desk:use");
    case BRIDGE:
        return person("bridge", NULL, NULL, "bridge:use");
    case ACME:
        return person("acme~s-1", "sensor", "acme", "telemetry:send config:read telemetry:read");
    case ALL:
        return person("desk", NULL, "*", "desk:use");
    case LIAR:
        return person("s-1", "sensor", "*", "telemetry:send telemetry:read");
    case NOBODY:
        break;
    }
    return person("n-1", "sensor", NULL, "unheard:of");
}

#define PUB LK_ACTION_PUBLISH
#define SUB LK_ACTION_SUBSCRIBE
#define GET LK_ACTION_RECEIVE

static void
the_default_map_does_what_its_table_says(void **state)
{
    static const struct {
        enum who who;
        enum lk_action action;
        const char *topic;
        bool allowed;
    } rows[] = {
        {SENSOR, PUB, "devices/s-1/telemetry", true},
        {SENSOR, PUB, "devices/s-1/telemetry/temp/inside", true},
        {SENSOR, PUB, "devices/s-1/telemetry/", true},
        {SENSOR, PUB, "devices/s-1/telemetryx", false},
        {SENSOR, PUB, "devices/s-1/telemetr", false},
        {SENSOR, PUB, "devices/s-1", false},
        {SENSOR, PUB, "devices/s-2/telemetry", false},
        {SENSOR, PUB, "devices/s-11/telemetry", false},
        {SENSOR, PUB, "devices//telemetry", false},
        {SENSOR, PUB, "Devices/s-1/telemetry", false},
        {SENSOR, PUB, "/devices/s-1/telemetry", false},
        {SENSOR, PUB, "devices/s-1/status", false},
        {SENSOR, PUB, "devices/s-1/config", false},
        {SENSOR, PUB, "devices/s-1/telemetry/+", false},
        {SENSOR, PUB, "devices/s-1/telemetry/#", false},
        {SENSOR, PUB, "devices/+/telemetry", false},
        {SENSOR, PUB, "devices/s-1/telemetry/a\xff", false},
        {SENSOR, PUB, "devices/s-1/telemetry/\xc3\xa9", true},
        {SENSOR, PUB, "", false},
        {SENSOR, PUB, "authz-info", false},
        {SENSOR, PUB, "$SYS/x", false},
        {SENSOR, SUB, "devices/s-1/config", true},
        {SENSOR, SUB, "devices/s-1/config/#", true},
        {SENSOR, SUB, "devices/s-1/config/+/x", true},
        {SENSOR, SUB, "$share/g/devices/s-1/config/#", true},
        {SENSOR, SUB, "devices/s-1/#", false},
        {SENSOR, SUB, "devices/+/config/#", false},
        {SENSOR, SUB, "devices/#", false},
        {SENSOR, SUB, "#", false},
        {SENSOR, SUB, "+/+/+", false},
        {SENSOR, SUB, "devices/s-1/telemetry/#", false},
        {SENSOR, SUB, "devices/+/commands/#", false},
        {SENSOR, SUB, "$share/g/devices/+/telemetry/#", false},
        {SENSOR, SUB, "$share/g/", false},
        {SENSOR, SUB, "devices/s-1/config/#/x", false},
        {SENSOR, SUB, "devices/s-1/config/a#", false},
        {SENSOR, GET, "devices/s-1/config/x", true},
        {SENSOR, GET, "devices/s-1/config", true},
        {SENSOR, GET, "devices/s-2/config/x", false},
        {SENSOR, GET, "devices/s-1/telemetry/x", false},
        {SENSOR, GET, "devices/s-1/config/#", false},

        {ACTUATOR, SUB, "devices/a-1/commands/+", true},
        {ACTUATOR, SUB, "devices/a-1/commands/7", true},
        {ACTUATOR, SUB, "devices/a-1/commands/#", false},
        {ACTUATOR, GET, "devices/a-1/commands/7", true},
        {ACTUATOR, GET, "devices/a-1/commands/7/result", false},
        {ACTUATOR, PUB, "devices/a-1/commands/7/result", true},
        {ACTUATOR, PUB, "devices/a-1/commands//result", true},
        {ACTUATOR, PUB, "devices/a-1/commands/7", false},
        {ACTUATOR, PUB, "devices/a-1/commands/7/8/result", false},
        {ACTUATOR, PUB, "devices/a-1/status", true},
        {ACTUATOR, PUB, "devices/a-1/telemetry", false},

        {GATEWAY, PUB, "devices/g-1/telemetry", true},
        {GATEWAY, PUB, "devices/c-1/telemetry/x", true},
        {GATEWAY, PUB, "devices/c-2/telemetry", true},
        {GATEWAY, PUB, "devices/c-3/telemetry", false},
        {GATEWAY, PUB, "devices/bad/child/telemetry", false},
        {GATEWAY, PUB, "devices/g-1/relay/anything/telemetry", true},
        {GATEWAY, PUB, "devices/c-1/relay/anything/telemetry", false},
        {GATEWAY, SUB, "devices/c-1/config/#", false},

        {MONITOR, SUB, "devices/+/telemetry/#", true},
        {MONITOR, SUB, "devices/s-1/telemetry/+", true},
        {MONITOR, SUB, "$share/monitors/devices/+/telemetry/#", true},
        {MONITOR, SUB, "devices/+/status/#", true},
        {MONITOR, SUB, "devices/+/presence", true},
        {MONITOR, SUB, "alerts/#", true},
        {MONITOR, SUB, "devices/#", false},
        {MONITOR, SUB, "devices/+/+", false},
        {MONITOR, SUB, "$share/latchkey/devices/+/telemetry/#", false},
        {MONITOR, SUB, "$share/latchkey-desk/alerts/#", false},
        {MONITOR, SUB, "$share/latchke/alerts/#", true},
        {MONITOR, PUB, "devices/m-1/telemetry", false},
        {MONITOR, PUB, "devices/s-1/telemetry", false},
        {MONITOR, GET, "devices/s-1/telemetry/x", true},
        {MONITOR, GET, "devices/s-1/commands/7", false},
        {MONITOR, GET, "t/acme/devices/s-1/telemetry", false},
        {MONITOR, SUB, "t/acme/devices/+/telemetry/#", false},
        {MONITOR, SUB, "t/+/devices/+/telemetry/#", false},

        {MANAGER, SUB, "devices/+/telemetry/#", true},
        {MANAGER, PUB, "devices/s-1/config/x", true},
        {MANAGER, PUB, "devices/d-1/telemetry", false}, /* not a device: {device} is void */

        {DESK, PUB, "devices/s-1/commands/7", true},
        {DESK, SUB, "devices/#", true},
        {DESK, SUB, "$share/latchkey-desk/devices/+/telemetry/#", true},
        {DESK, GET, "alerts/s-1/hot", true},
        {DESK, PUB, "t/acme/devices/s-1/commands/7", false},
        {DESK, SUB, "#", false},

        {BRIDGE, PUB, "devices/s-1/presence", true},
        {BRIDGE, SUB, "devices/+/commands/+", true},
        {BRIDGE, SUB, "$share/latchkey/devices/+/config/#", false},

        {ACME, PUB, "t/acme/devices/acme~s-1/telemetry", true},
        {ACME, PUB, "devices/acme~s-1/telemetry", false},
        {ACME, PUB, "t/other/devices/acme~s-1/telemetry", false},
        {ACME, PUB, "t/acme2/devices/acme~s-1/telemetry", false},
        {ACME, PUB, "t/acme", false},
        {ACME, PUB, "t", false},
        {ACME, SUB, "t/acme/devices/+/telemetry/#", true},
        {ACME, SUB, "$share/g/t/acme/devices/+/telemetry/#", true},
        {ACME, SUB, "t/+/devices/+/telemetry/#", false},
        {ACME, SUB, "+/acme/devices/+/telemetry/#", false},
        {ACME, SUB, "t/#", false},
        {ACME, SUB, "devices/+/telemetry/#", false},
        {ACME, GET, "t/acme/devices/x/telemetry/y", true},
        {ACME, GET, "devices/x/telemetry/y", false},

        {ALL, PUB, "devices/s-1/commands/7", true},
        {ALL, PUB, "t/acme/devices/s-1/commands/7", true},
        {ALL, SUB, "t/+/devices/#", true},
        {ALL, SUB, "t/acme/devices/#", true},
        {ALL, SUB, "devices/#", true},
        {ALL, SUB, "t/#", false},
        {ALL, SUB, "#", false},
        {ALL, GET, "t/x/alerts/y", true},
        {ALL, GET, "t/x/y/alerts/y", false},

        {LIAR, PUB, "devices/s-1/telemetry", false},
        {LIAR, PUB, "t/*/devices/s-1/telemetry", false},
        {LIAR, SUB, "devices/+/telemetry/#", false},

        {NOBODY, PUB, "devices/n-1/telemetry", false},
        {NOBODY, SUB, "devices/n-1/config/#", false},
        {NOBODY, SUB, "#", false},
    };

    (void)state;
    load_policy(lk_policy_default);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lk_identity identity = identity_of(rows[i].who);

        if (may(&identity, rows[i].action, rows[i].topic) != rows[i].allowed)
            fail_msg("row %zu: who %d action %d %s", i, (int)rows[i].who, (int)rows[i].action,
                     rows[i].topic);
    }
}

static void
wildcard_rules_keep_off_what_is_not_theirs(void **state)
{
    struct lk_identity plain = person("x", NULL, NULL, "all:x");
    struct lk_identity acme = person("x", NULL, "acme", "all:x");
    struct lk_identity sys = person("x", NULL, NULL, "sys:x");

    (void)state;
    load_policy("all:x both #\nall:x both authz-info\nall:x both +/a\nall:x both t/acme/#\n"
                "sys:x both $SYS/#\nsys:x both $CONTROL/x\n");
    assert_true(may(&plain, PUB, "a/b"));
    assert_true(may(&plain, SUB, "#"));
    assert_true(may(&plain, SUB, "$share/g/#"));
    assert_true(may(&plain, PUB, "t"));
    assert_false(may(&plain, PUB, "$SYS/x"));
    assert_false(may(&plain, GET, "$SYS/x"));
    assert_false(may(&plain, SUB, "$SYS/#"));
    assert_false(may(&plain, PUB, "$s/a"));
    assert_false(may(&plain, PUB, "$"));
    assert_false(may(&plain, PUB, "t/"));
    assert_false(may(&plain, PUB, "t/acme/a"));
    assert_false(may(&plain, GET, "t/acme/a"));
    assert_false(may(&plain, SUB, "t/#"));
    assert_false(may(&plain, SUB, "$share/g/t/acme/#"));
    assert_true(may(&plain, GET, "tt/acme/a"));
    assert_false(may(&plain, PUB, "authz-info"));
    assert_false(may(&plain, GET, "authz-info"));
    assert_false(may(&plain, SUB, "authz-info"));
    assert_false(may(&plain, SUB, "authz-info/#"));
    assert_false(may(&plain, SUB, "$share/g/authz-info"));
    assert_true(may(&plain, PUB, "authz-info2"));
    assert_true(may(&plain, PUB, "a/authz-info"));
    assert_true(may(&acme, PUB, "t/acme"));
    assert_true(may(&acme, PUB, "t/acme/$x"));
    assert_true(may(&acme, SUB, "t/acme/#"));
    assert_false(may(&acme, SUB, "#"));
    assert_false(may(&acme, GET, "authz-info"));
    assert_true(may(&sys, PUB, "$CONTROL/x"));
    assert_true(may(&sys, SUB, "$SYS/#"));
    assert_true(may(&sys, SUB, "$share/g/$SYS/+"));
    assert_false(may(&sys, SUB, "$CONTROL/#"));
    assert_false(may(&sys, SUB, "+/x"));
    assert_false(may(&sys, PUB, "SYS/x"));
}

static void
options_are_minded(void **state)
{
    static const struct {
        const char *name, *options;
        struct lk_request request;
        bool allowed;
    } rows[] = {
        {"nothing said", "", {PUB, {0}, 2, true, UINT32_MAX}, true},
        {"retained", "retain=no", {PUB, {0}, 0, true, 0}, false},
        {"not retained", "retain=no", {PUB, {0}, 0, false, 0}, true},
        {"size just right", "size<=100", {PUB, {0}, 0, false, 100}, true},
        {"a byte too many", "size<=100", {PUB, {0}, 0, false, 101}, false},
        {"empty only", "size<=0", {PUB, {0}, 0, false, 1}, false},
        {"QoS just right", "qos<=1", {PUB, {0}, 1, false, 0}, true},
        {"QoS too high", "qos<=1", {PUB, {0}, 2, false, 0}, false},
        {"no such QoS", "", {PUB, {0}, 3, false, 0}, false},
        {"subscription's QoS", "qos<=1", {SUB, {0}, 2, false, 0}, false},
        {"delivery: the publisher's QoS", "qos<=1", {GET, {0}, 2, false, 0}, true},
        {"delivery: retained", "retain=no", {GET, {0}, 0, true, 0}, true},
        {"delivery: size", "size<=1", {GET, {0}, 0, false, 2}, true},
        {"no such action", "", {(enum lk_action)0, {0}, 0, false, 0}, false},
        {"nor this one", "", {(enum lk_action)4, {0}, 0, false, 0}, false},
    };
    struct lk_identity identity = person("x", NULL, NULL, "a:b");
    char map[100];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lk_request request = rows[i].request;

        snprintf(map, sizeof(map), "a:b both x/y %s", rows[i].options);
        load_policy(map);
        compile_into(&compiled, &identity);
        request.topic = LK_SPAN("x/y");
        if ((lk_grant_check(&compiled.grant, &request).access == LK_ACCESS_ALLOW) !=
            rows[i].allowed)
            fail_msg("%s", rows[i].name);
    }
    load_policy("a:b subscribe x/# share=no");
    assert_true(may(&identity, SUB, "x/#"));
    assert_false(may(&identity, SUB, "$share/g/x/#"));
    load_policy("a:b subscribe x/# share=no\na:b subscribe x/y");
    assert_true(may(&identity, SUB, "$share/g/x/y"));
    assert_false(may(&identity, SUB, "$share/g/x/z"));
}

static void
the_best_rate_wins(void **state)
{
    struct lk_identity identity = person("x", NULL, NULL, "a:b");
    struct lk_request request = request_of(PUB, "x/y");
    struct lk_verdict verdict;

    (void)state;
    load_policy("a:b publish x/# rate<=5/s\na:b publish x/+ rate<=7/s\na:b publish x/y rate<=6/s");
    compile_into(&compiled, &identity);
    verdict = lk_grant_check(&compiled.grant, &request);
    assert_int_equal(verdict.rule, 1);
    assert_int_equal(verdict.rate_max, 7);
    load_policy("a:b publish x/y rate<=5/s\na:b publish x/y\na:b publish x/y rate<=7/s");
    compile_into(&compiled, &identity);
    verdict = lk_grant_check(&compiled.grant, &request);
    assert_int_equal(verdict.rule, 1);
    assert_int_equal(verdict.rate_max, 0);
    load_policy("a:b publish x/y size<=1\na:b publish x/# rate<=7/s");
    compile_into(&compiled, &identity);
    request.size = 2;
    assert_int_equal(lk_grant_check(&compiled.grant, &request).rate_max, 7);
    request.size = 1;
    assert_int_equal(lk_grant_check(&compiled.grant, &request).rate_max, 0);
    load_policy("a:b both x/# rate<=5/s");
    compile_into(&compiled, &identity);
    request.action = GET;
    assert_int_equal(lk_grant_check(&compiled.grant, &request).rate_max, 0);
}

static void
values_that_could_widen_a_rule_void_it(void **state)
{
    static const char *const bad[] = {"",      "a/b",      "/",         "+",           "a+", "#",
                                      "a#b",   "$x",       "a\x01",     "a\x7f",       "\n", "\xff",
                                      "a\xc3", "\xc2\x80", "x\xc2\x9f", "\xed\xa0\x80"};
    struct lk_identity identity = person("s", "t", NULL, "a:b");

    (void)state;
    load_policy("a:b publish c/{client}\na:b publish n/{claim.n}\na:b publish k/{children}\n"
                "a:b publish d/{device}\na:b publish y/{type}\na:b publish e/{tenant}\n");
    assert_true(may(&identity, PUB, "c/s"));
    assert_true(may(&identity, PUB, "d/s"));
    assert_true(may(&identity, PUB, "y/t"));
    assert_false(may(&identity, PUB, "e/"));
    assert_false(may(&identity, PUB, "n/"));
    identity.named[0].name = LK_SPAN("n");
    identity.named[0].value = LK_SPAN("v\xc2\xa0$");
    identity.named_count = 1;
    assert_true(may(&identity, PUB, "n/v\xc2\xa0$"));
    identity.named[0].name = LK_SPAN("m");
    assert_false(may(&identity, PUB, "n/v\xc2\xa0$"));
    identity.named[0].name = LK_SPAN("n");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char topic[40];

        identity.subject = identity.client_id = identity.type = lk_span_text(bad[i]);
        identity.named[0].value = identity.children[0] = lk_span_text(bad[i]);
        identity.children_count = 1;
        for (const char *c = "cnkdy"; *c != '\0'; c++) {
            snprintf(topic, sizeof(topic), "%c/%s", *c, bad[i]);
            assert_false(may(&identity, PUB, topic));
            assert_false(may(&identity, SUB, topic));
        }
    }
    identity = person("s", "t", "acme", "a:b");
    assert_true(may(&identity, PUB, "t/acme/e/acme"));
    identity.client_id = (struct lk_span){(const uint8_t *)"a\0b", 3};
    compile_into(&compiled, &identity);
    {
        struct lk_request request = {PUB, {(const uint8_t *)"t/acme/c/a\0b", 12}, 0, false, 0};

        assert_int_equal(lk_grant_check(&compiled.grant, &request).access, LK_ACCESS_DENY);
    }
}

static void
odd_tenants_get_nothing(void **state)
{
    static const char *const tenants[] = {"", "Acme", "a/b", "+", "#", "**", "a b", "$x"};

    (void)state;
    load_policy("desk:use both #\n");
    for (size_t i = 0; i < sizeof(tenants) / sizeof(tenants[0]); i++) {
        struct lk_identity identity = person("s", NULL, tenants[i], "desk:use");

        assert_false(may(&identity, PUB, "a"));
        assert_false(may(&identity, PUB, "t/a/b"));
        assert_false(may(&identity, PUB, "t//b"));
        assert_false(may(&identity, SUB, "#"));
    }
}

static void
shapes_are_equal_where_only_values_differ(void **state)
{
    static struct compiled other;
    struct lk_identity a = identity_of(GATEWAY), b = identity_of(GATEWAY);

    (void)state;
    load_policy(lk_policy_default);
    b.subject = LK_SPAN("quite-another-gateway");
    b.client_id = LK_SPAN("quite-another-gateway:2");
    b.children_count = 1;
    b.scope = LK_SPAN("config:read telemetry:relay  telemetry:send unheard:of");
    compile_into(&compiled, &a);
    compile_into(&other, &b);
    assert_true(lk_span_equal(compiled.grant.shape, other.grant.shape));
    assert_false(lk_span_equal(compiled.grant.values, other.grant.values));
    /* all tenants share one shape, but not with the default tenant */
    a.tenant = LK_SPAN("acme");
    b.tenant = LK_SPAN("another");
    compile_into(&compiled, &a);
    assert_false(lk_span_equal(compiled.grant.shape, other.grant.shape));
    compile_into(&other, &b);
    assert_true(lk_span_equal(compiled.grant.shape, other.grant.shape));
    b.scope = LK_SPAN("config:read telemetry:send");
    compile_into(&other, &b);
    assert_false(lk_span_equal(compiled.grant.shape, other.grant.shape));
}

static void
a_grant_may_stand_at_any_address(void **state)
{
    struct lk_identity identity = identity_of(GATEWAY);
    struct guard shapes = guard_open(LK_GRANT_MAX), values = guard_open(LK_VALUES_MAX);
    struct guard topics = guard_open(64);
    static const char *const allowed[] = {"devices/g-1/telemetry/x", "devices/c-2/telemetry"};
    static uint8_t room[LK_GRANT_MAX + 8];

    (void)state;
    load_policy(lk_policy_default);
    compile_into(&compiled, &identity);
    for (size_t shift = 0; shift < 8; shift++) {
        struct lk_grant grant = {guard_place(&shapes, compiled.grant.shape),
                                 guard_place(&values, compiled.grant.values)};

        for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
            struct lk_request request = request_of(PUB, allowed[i]);

            request.topic = guard_place(&topics, request.topic);
            assert_int_equal(lk_grant_check(&grant, &request).access, LK_ACCESS_ALLOW);
            memcpy(room + shift, grant.shape.ptr, grant.shape.len);
            grant.shape = lk_span_of(room + shift, grant.shape.len);
            assert_int_equal(lk_grant_check(&grant, &request).access, LK_ACCESS_ALLOW);
        }
    }
    guard_close(&shapes);
    guard_close(&values);
    guard_close(&topics);
}

static void
a_zeroed_grant_denies(void **state)
{
    struct lk_grant grant = {{NULL, 0}, {NULL, 0}};
    struct lk_request request = request_of(PUB, "devices/s-1/telemetry");

    (void)state;
    assert_int_equal(lk_grant_check(&grant, &request).access, LK_ACCESS_DENY);
}

/* Every amount of room up to enough: an error and nothing handed out, and never a byte beyond. */
static void
too_little_room_is_said(void **state)
{
    struct guard shapes = guard_open(LK_GRANT_MAX), values = guard_open(LK_VALUES_MAX);
    struct lk_identity identity = identity_of(GATEWAY);
    struct lk_span shape, value;
    size_t shape_len, values_len;

    (void)state;
    load_policy(lk_policy_default);
    compile_into(&compiled, &identity);
    shape_len = compiled.grant.shape.len;
    values_len = compiled.grant.values.len;
    for (size_t cap = 0; cap <= shape_len; cap++) {
        struct lk_buf room = {guard_room(&shapes, cap), cap};
        enum lk_err err =
            lk_grant_compile(&policy, &identity, room, &shape, LK_BUF_OF(compiled.values), &value);

        assert_int_equal(err, cap < shape_len ? LK_ERR_NO_SPACE : LK_OK);
        assert_int_equal(shape.len, cap < shape_len ? 0 : shape_len);
        assert_true(err == LK_OK || (shape.ptr == NULL && value.ptr == NULL));
    }
    for (size_t cap = 0; cap <= values_len; cap++) {
        struct lk_buf room = {guard_room(&values, cap), cap};
        enum lk_err err =
            lk_grant_compile(&policy, &identity, LK_BUF_OF(compiled.shape), &shape, room, &value);

        assert_int_equal(err, cap < values_len ? LK_ERR_NO_SPACE : LK_OK);
    }
    guard_close(&shapes);
    guard_close(&values);
}

static void
limits_hold(void **state)
{
    struct lk_identity identity = person("s", "t", NULL, "a:b");
    static uint8_t long_id[LK_VALUES_MAX + 1];
    static char scopes[2 * LK_SCOPES_MAX + 2], map[LK_POLICY_FILE_MAX];
    struct lk_span shape, values;
    size_t len = 0;

    (void)state;
    load_policy("a:b publish {client}\n");
    memset(long_id, 'x', sizeof(long_id));
    identity.client_id = lk_span_of(long_id, sizeof(long_id));
    assert_int_equal(lk_grant_compile(&policy, &identity, LK_BUF_OF(compiled.shape), &shape,
                                      LK_BUF_OF(compiled.values), &values),
                     LK_ERR_LIMIT);
    identity.client_id = LK_SPAN("x");
    for (size_t i = 0; i < sizeof(scopes) - 1; i++)
        scopes[i] = i % 2 ? ' ' : 'x';
    identity.scope = lk_span_text(scopes);
    assert_int_equal(lk_grant_compile(&policy, &identity, LK_BUF_OF(compiled.shape), &shape,
                                      LK_BUF_OF(compiled.values), &values),
                     LK_ERR_LIMIT);
    /* 256 rules of 16 levels that share nothing do not fit into a shape */
    for (unsigned i = 0; i < LK_POLICY_RULES_MAX; i++)
        len += (size_t)snprintf(map + len, sizeof(map) - len,
                                "a:b publish %u/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f\n", i);
    load_policy(map);
    identity.scope = LK_SPAN("a:b");
    assert_int_equal(lk_grant_compile(&policy, &identity, LK_BUF_OF(compiled.shape), &shape,
                                      LK_BUF_OF(compiled.values), &values),
                     LK_ERR_LIMIT);
    assert_null(shape.ptr);
}

static void
rules_that_say_nothing_new_cost_nothing(void **state)
{
    static char map[LK_POLICY_FILE_MAX];
    struct lk_identity identity = person("s", "t", NULL, "a:*");
    size_t one, len = 0;

    (void)state;
    load_policy("a:0 publish x/y\n");
    compile_into(&compiled, &identity);
    one = compiled.grant.shape.len;
    for (unsigned i = 0; i < 64; i++)
        len += (size_t)snprintf(map + len, sizeof(map) - len, "a:%u publish x/y\n", i);
    load_policy(map);
    compile_into(&compiled, &identity);
    assert_int_equal(compiled.grant.shape.len, one);
}

static void
many_children_are_told_apart(void **state)
{
    static char names[LK_CHILDREN_MAX][16];
    struct lk_identity identity = identity_of(GATEWAY);
    char topic[64];

    (void)state;
    load_policy(lk_policy_default);
    for (unsigned i = 0; i < LK_CHILDREN_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "child-%u", i);
        identity.children[i] = lk_span_text(names[i]);
    }
    identity.children_count = LK_CHILDREN_MAX;
    identity.children[7] = identity.children[6];
    for (unsigned i = 0; i < LK_CHILDREN_MAX + 8; i++) {
        snprintf(topic, sizeof(topic), "devices/child-%u/telemetry", i);
        assert_int_equal(may(&identity, PUB, topic), i < LK_CHILDREN_MAX && i != 7);
    }
}

/* Identities: stored and read back. */

static void
identities_survive_being_stored(void **state)
{
    static const uint8_t sensor[] = {0xa4, 0x01, 0x43, 's', '-',  '1',  0x02, 0x43, 's', '-',
                                     '1',  0x03, 0x41, 't', 0x05, 0x43, 'a',  ':',  'b'};
    struct lk_identity identity = person("s-1", "t", NULL, "a:b"), back;
    struct guard guard = guard_open(4096);
    uint8_t room[4096], again[4096];
    struct lk_span out, out_again;

    (void)state;
    assert_int_equal(lk_identity_write(&identity, LK_BUF_OF(room), &out), LK_OK);
    assert_true(lk_span_equal(out, lk_span_of(sensor, sizeof(sensor))));
    identity.tenant = LK_SPAN(""); /* there, and empty: not the same as absent */
    identity.children[0] = LK_SPAN("c-1");
    identity.children[1] = LK_SPAN("\xff not UTF-8");
    identity.children_count = 2;
    identity.named[0].name = LK_SPAN("zone");
    identity.named[0].value = LK_SPAN("7");
    identity.named[1].name = LK_SPAN("a-long-name");
    identity.named[1].value = LK_SPAN("x");
    identity.named[2].name = LK_SPAN("area");
    identity.named[2].value = LK_SPAN("");
    identity.named_count = 3;
    assert_int_equal(lk_identity_write(&identity, LK_BUF_OF(room), &out), LK_OK);
    assert_int_equal(lk_identity_read(guard_place(&guard, out), &back), LK_OK);
    assert_true(lk_span_equal(back.subject, identity.subject));
    assert_non_null(back.tenant.ptr);
    assert_int_equal(back.children_count, 2);
    assert_true(lk_span_equal(back.children[1], identity.children[1]));
    assert_int_equal(back.named_count, 3);
    assert_true(lk_span_is(back.named[0].name, "area"));
    assert_true(lk_span_is(back.named[1].name, "zone"));
    assert_true(lk_span_is(back.named[2].name, "a-long-name"));
    assert_int_equal(lk_identity_write(&back, LK_BUF_OF(again), &out_again), LK_OK);
    assert_true(lk_span_equal(out, out_again));
    /* one byte missing, at every place; room one byte short, at every size */
    for (size_t len = 0; len < out.len; len++) {
        struct lk_buf little = {guard_room(&guard, len), len};

        assert_int_not_equal(lk_identity_read(guard_place(&guard, lk_span_of(out.ptr, len)), &back),
                             LK_OK);
        assert_null(back.subject.ptr);
        assert_int_equal(back.children_count, 0);
        assert_int_equal(lk_identity_write(&identity, little, &out_again), LK_ERR_NO_SPACE);
        assert_null(out_again.ptr);
    }
    assert_int_equal(lk_identity_read(lk_span_of(room, out.len + 1), &back), LK_ERR_TRAILING);
    guard_close(&guard);
}

static void
too_many_of_anything_is_refused(void **state)
{
    struct lk_identity identity = person("s-1", "t", NULL, "a:b");
    uint8_t room[256];
    struct lk_cbor_out w;
    struct lk_span out;

    (void)state;
    identity.children_count = LK_CHILDREN_MAX + 1;
    assert_int_equal(lk_identity_write(&identity, LK_BUF_OF(room), &out), LK_ERR_ARG);
    identity.children_count = 0;
    identity.named_count = LK_NAMED_MAX + 1;
    assert_int_equal(lk_identity_write(&identity, LK_BUF_OF(room), &out), LK_ERR_ARG);
    identity.named_count = 0;
    identity.permissions = lk_span_of(room, LK_PERMISSIONS_ROOM + 1);
    assert_int_equal(lk_identity_write(&identity, LK_BUF_OF(room), &out), LK_ERR_ARG);
    assert_null(out.ptr);
    lk_cbor_write_open(&w, LK_BUF_OF(room));
    lk_cbor_write_map(&w, 1);
    lk_cbor_write_uint(&w, 6);
    lk_cbor_write_array(&w, LK_CHILDREN_MAX + 1);
    for (size_t i = 0; i < LK_CHILDREN_MAX + 1; i++)
        lk_cbor_write_bytes(&w, LK_SPAN("x"));
    assert_int_equal(lk_cbor_write_close(&w, &out), LK_OK);
    assert_int_equal(lk_identity_read(out, &identity), LK_ERR_LIMIT);
    lk_cbor_write_open(&w, LK_BUF_OF(room));
    lk_cbor_write_map(&w, 1);
    lk_cbor_write_uint(&w, 7);
    lk_cbor_write_map(&w, LK_NAMED_MAX + 1);
    for (uint8_t i = 0; i < LK_NAMED_MAX + 1; i++) {
        lk_cbor_write_bytes(&w, lk_span_of(&i, 1));
        lk_cbor_write_bytes(&w, LK_SPAN("x"));
    }
    assert_int_equal(lk_cbor_write_close(&w, &out), LK_OK);
    assert_int_equal(lk_identity_read(out, &identity), LK_ERR_LIMIT);
}

static void
claims_become_an_identity(void **state)
{
    static const char cwt[] = "\xa4\x02\x63s-1\x09\x63"
                              "a:b\x64zone\x61"
                              "7\x64"
                              "area\x01";
    struct lk_claims claims;
    struct lk_identity identity;
    uint8_t room[64];

    (void)state;
    load_policy("a:b publish {claim.zone}/{claim.area}/{claim.none}\n");
    assert_int_equal(lk_claims_read_cwt(lk_span_of(cwt, sizeof(cwt) - 1), &claims), LK_OK);
    assert_int_equal(
        lk_identity_from_claims(&policy, &claims, LK_SPAN("s-1:x"), LK_BUF_OF(room), &identity),
        LK_OK);
    assert_true(lk_span_is(identity.subject, "s-1"));
    assert_true(lk_span_is(identity.client_id, "s-1:x"));
    assert_true(lk_span_is(identity.scope, "a:b"));
    assert_null(identity.tenant.ptr);
    assert_null(identity.type.ptr);
    assert_int_equal(identity.named_count, 1);
    assert_true(lk_span_is(identity.named[0].name, "zone"));
    assert_true(lk_span_is(identity.named[0].value, "7"));
}

static void
escaped_claims_do_not_overwrite_each_other(void **state)
{
    static const char jwt[] = "{\"sub\":\"s\",\"zone\":\"a\\u0041\",\"area\":\"b\\u0042\"}";
    struct lk_claims claims;
    struct lk_identity identity;
    uint8_t text[64], room[64];

    (void)state;
    load_policy("a:b publish {claim.zone}/{claim.area}\n");
    assert_int_equal(lk_claims_read_jwt(lk_span_text(jwt), LK_BUF_OF(text), &claims), LK_OK);
    assert_int_equal(
        lk_identity_from_claims(&policy, &claims, LK_SPAN("s"), LK_BUF_OF(room), &identity), LK_OK);
    assert_int_equal(identity.named_count, 2);
    assert_true(lk_span_is(identity.named[0].value, "aA"));
    assert_true(lk_span_is(identity.named[1].value, "bB"));
}

/* Explanations. */

static void
denials_are_explained(void **state)
{
    static const struct {
        enum who who;
        struct lk_request request;
        const char *topic;
        enum lk_reason reason;
        int line; /* of the rule in the map below; 0: none */
        const char *detail;
    } rows[] = {
        {SENSOR, {PUB, {0}, 1, false, 9}, "devices/s-1/telemetry", LK_REASON_ALLOWED, 1, ""},
        {SENSOR,
         {PUB, {0}, 1, false, 10},
         "devices/s-1/telemetry",
         LK_REASON_OPTION,
         1,
         "size<=BYTES"},
        {SENSOR, {PUB, {0}, 1, true, 9}, "devices/s-1/telemetry", LK_REASON_OPTION, 1, "retain=no"},
        {SENSOR, {PUB, {0}, 2, false, 9}, "devices/s-1/telemetry", LK_REASON_OPTION, 1, "qos<=N"},
        {SENSOR,
         {SUB, {0}, 1, false, 0},
         "$share/g/devices/s-1/config/x",
         LK_REASON_OPTION,
         4,
         "share=no"},
        {SENSOR, {PUB, {0}, 1, false, 9}, "devices/s-2/telemetry", LK_REASON_OTHER_VALUE, 1, "s-1"},
        {SENSOR, {SUB, {0}, 1, false, 0}, "devices/+/config/#", LK_REASON_TOO_WIDE, 4, ""},
        {SENSOR, {SUB, {0}, 1, false, 0}, "#", LK_REASON_TOO_WIDE, 4, ""},
        {SENSOR, {GET, {0}, 1, false, 0}, "devices/s-2/config/x", LK_REASON_OTHER_VALUE, 4, "s-1"},
        {SENSOR, {SUB, {0}, 1, false, 0}, "devices/s-1/commands/+", LK_REASON_NO_SCOPE, 3, ""},
        {SENSOR, {SUB, {0}, 1, false, 0}, "devices/s-1/telemetry", LK_REASON_OTHER_ACTION, 1, ""},
        {SENSOR, {PUB, {0}, 1, false, 0}, "nothing/like/it", LK_REASON_NO_RULE, 0, ""},
        {SENSOR, {PUB, {0}, 1, false, 0}, "authz-info", LK_REASON_RESERVED, 0, ""},
        {SENSOR, {SUB, {0}, 1, false, 0}, "$SYS/#", LK_REASON_RESERVED, 0, ""},
        {SENSOR,
         {SUB, {0}, 1, false, 0},
         "$share/latchkey/devices/s-1/config/x",
         LK_REASON_RESERVED,
         0,
         ""},
        {SENSOR, {PUB, {0}, 1, false, 0}, "devices/+/telemetry", LK_REASON_MALFORMED, 0, ""},
        {SENSOR, {SUB, {0}, 1, false, 0}, "$share/g/", LK_REASON_MALFORMED, 0, ""},
        {SENSOR, {PUB, {0}, 3, false, 0}, "devices/s-1/telemetry", LK_REASON_MALFORMED, 0, ""},
        {SENSOR,
         {PUB, {0}, 1, false, 0},
         "t/acme/devices/s-1/telemetry",
         LK_REASON_OTHER_VALUE,
         0,
         ""},
        {ACME,
         {PUB, {0}, 1, false, 0},
         "devices/acme~s-1/telemetry",
         LK_REASON_OTHER_VALUE,
         0,
         "acme"},
        {ACME,
         {PUB, {0}, 1, false, 0},
         "t/acme/devices/s-1/telemetry",
         LK_REASON_OTHER_VALUE,
         1,
         "acme~s-1"},
        {MONITOR, {PUB, {0}, 1, false, 0}, "devices/x/telemetry", LK_REASON_OTHER_ACTION, 2, ""},
        {MANAGER, {PUB, {0}, 1, false, 0}, "devices/d-1/telemetry", LK_REASON_VOID, 1, "{device}"},
        {GATEWAY, {PUB, {0}, 1, false, 0}, "relay/c-9", LK_REASON_OTHER_VALUE, 5, "c-1"},
    };

    (void)state;
    load_policy("telemetry:send publish devices/{device}/telemetry/# retain=no size<=9 qos<=1\n"
                "telemetry:read subscribe devices/+/telemetry/#\n"
                "commands:receive subscribe devices/{device}/commands/+\n"
                "config:read subscribe devices/{device}/config/# share=no\n"
                "telemetry:relay publish relay/{children}\n");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lk_identity identity = identity_of(rows[i].who);
        struct lk_request request = rows[i].request;
        struct lk_explanation e;

        request.topic = lk_span_text(rows[i].topic);
        assert_int_equal(lk_grant_explain(&policy, &identity, &request, &e), LK_OK);
        if (e.reason != rows[i].reason || e.has_rule != (rows[i].line > 0) ||
            (e.has_rule && (int)policy.rules[e.rule].line != rows[i].line) ||
            !lk_span_is(e.detail, rows[i].detail))
            fail_msg("row %zu %s: %s, rule %d, %.*s", i, rows[i].topic, lk_reason_text(e.reason),
                     e.has_rule ? (int)e.rule + 1 : 0, (int)e.detail.len,
                     (const char *)e.detail.ptr);
    }
}

/* Who has none of the values, and who has them all. */
static void
what_stands_for_a_placeholder_is_explained(void **state)
{
    static const struct {
        const char *rule, *topic, *placeholder, *value;
    } rows[] = {
        {"a:b publish x/{device}/y", "x/other/y", "{device}", "s-1"},
        {"a:b publish x/{client}/y", "x/other/y", "{client}", "c-1"},
        {"a:b publish x/{type}/y", "x/other/y", "{type}", "sensor"},
        {"a:b publish x/{children}/y", "x/other/y", "{children}", "k-1"},
        {"a:b publish x/{claim.zone}/y", "x/other/y", "{claim.NAME}", "z-1"},
        {"a:b publish x/{tenant}/y", "x/other/y", "{tenant}", NULL},
        {"a:b publish {device}/{client}/#", "s-1/other/y/z", "{device}", "c-1"},
        {"a:b publish {device}/+/{client}", "s-1/x/other", "{device}", "c-1"},
    };
    struct lk_identity nothing = {.subject = LK_SPAN("s-1"), .scope = LK_SPAN("a:b")};
    struct lk_identity all = person("s-1", "sensor", NULL, "a:b");
    struct lk_explanation e;

    (void)state;
    all.client_id = LK_SPAN("c-1");
    all.children[0] = LK_SPAN("not/usable");
    all.children[1] = LK_SPAN("k-1");
    all.children_count = 2;
    all.named[0].name = LK_SPAN("zone");
    all.named[0].value = LK_SPAN("z-1");
    all.named_count = 1;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lk_request request = request_of(PUB, rows[i].topic);

        load_policy(rows[i].rule);
        assert_int_equal(lk_grant_explain(&policy, &nothing, &request, &e), LK_OK);
        if (e.reason != LK_REASON_VOID || !lk_span_is(e.detail, rows[i].placeholder))
            fail_msg("%s: %s, %.*s", rows[i].rule, lk_reason_text(e.reason), (int)e.detail.len,
                     (const char *)e.detail.ptr);
        if (rows[i].value == NULL)
            continue;
        assert_int_equal(lk_grant_explain(&policy, &all, &request, &e), LK_OK);
        if (e.reason != LK_REASON_OTHER_VALUE || !lk_span_is(e.detail, rows[i].value))
            fail_msg("%s: %s, %.*s", rows[i].rule, lk_reason_text(e.reason), (int)e.detail.len,
                     (const char *)e.detail.ptr);
    }
}

static void
what_is_no_request_is_explained(void **state)
{
    static const struct lk_request requests[] = {
        {(enum lk_action)0, {(const uint8_t *)"x", 1}, 0, false, 0},
        {(enum lk_action)9, {(const uint8_t *)"x", 1}, 0, false, 0},
        {SUB, {(const uint8_t *)"y", 1}, 3, false, 0},
        {GET, {(const uint8_t *)"+", 1}, 0, false, 0},
        {PUB, {NULL, 0}, 0, false, 0},
    };
    struct lk_identity identity = person("x", NULL, NULL, "a:b");
    struct lk_explanation e;

    (void)state;
    load_policy("a:b both x");
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        assert_int_equal(lk_grant_explain(&policy, &identity, &requests[i], &e), LK_OK);
        assert_int_equal(e.verdict.access, LK_ACCESS_DENY);
        assert_int_equal(e.reason, LK_REASON_MALFORMED);
        assert_false(e.has_rule);
    }
    identity.children_count = LK_CHILDREN_MAX + 1;
    assert_int_equal(lk_grant_explain(&policy, &identity, &requests[0], &e), LK_ERR_LIMIT);
    assert_int_equal(e.verdict.access, LK_ACCESS_DENY);
}

static void
every_reason_has_a_sentence_of_its_own(void **state)
{
    const char *sentences[LK_REASON_MALFORMED + 1];

    (void)state;
    for (int i = 0; i <= LK_REASON_MALFORMED; i++) {
        sentences[i] = lk_reason_text((enum lk_reason)i);
        assert_string_not_equal(sentences[i], "unknown");
        for (int k = 0; k < i; k++)
            assert_string_not_equal(sentences[i], sentences[k]);
    }
    assert_string_equal(lk_reason_text((enum lk_reason)(LK_REASON_MALFORMED + 1)), "unknown");
}

/* What a check costs, for people; nothing is asserted about time. */

static double
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void
print_cost(const char *name, const struct lk_grant *grant, enum lk_action action, const char *topic)
{
    struct lk_request request = request_of(action, topic);
    unsigned allowed = 0;
    const unsigned rounds = 200000;
    double start = now_ns();

    for (unsigned i = 0; i < rounds; i++)
        allowed += lk_grant_check(grant, &request).access == LK_ACCESS_ALLOW;
    print_message("%-10s %-9s %6.1f ns  %s  %s\n", name,
                  action == PUB   ? "publish"
                  : action == SUB ? "subscribe"
                                  : "receive",
                  (now_ns() - start) / rounds, allowed > 0 ? "allowed" : "denied ", topic);
    assert_true(allowed == 0 || allowed == rounds);
}

static void
print_map_of(unsigned scopes)
{
    static char map[LK_POLICY_FILE_MAX], held[LK_SCOPE_MAX];
    char name[20];
    size_t len = 0, held_len = 0;
    struct lk_identity identity;

    for (unsigned i = 0; i < scopes; i++) {
        len += (size_t)snprintf(map + len, sizeof(map) - len,
                                "res%u:do both devices/{device}/topic%u/#\n", i, i);
        held_len += (size_t)snprintf(held + held_len, sizeof(held) - held_len, "res%u:do ", i);
    }
    load_policy(map);
    identity = person("sensor-7f3a91", "sensor", NULL, held);
    compile_into(&compiled, &identity);
    snprintf(name, sizeof(name), "%u scopes", scopes);
    print_message("%-10s shape %zu bytes, values %zu bytes\n", name, compiled.grant.shape.len,
                  compiled.grant.values.len);
    print_cost(name, &compiled.grant, PUB, "devices/sensor-7f3a91/topic5/temp");
    print_cost(name, &compiled.grant, PUB, "devices/sensor-000000/topic5/temp");
}

static void
costs_are_printed(void **state)
{
    struct lk_identity identity =
        person("sensor-7f3a91", "sensor", NULL, "telemetry:send config:read");

    (void)state;
    load_policy(lk_policy_default);
    compile_into(&compiled, &identity);
    print_message("a sensor   shape %zu bytes, values %zu bytes\n", compiled.grant.shape.len,
                  compiled.grant.values.len);
    print_cost("a sensor", &compiled.grant, PUB, "devices/sensor-7f3a91/telemetry/temp");
    print_cost("a sensor", &compiled.grant, SUB, "devices/sensor-7f3a91/config/#");
    identity = identity_of(MONITOR);
    compile_into(&compiled, &identity);
    print_cost("a monitor", &compiled.grant, GET, "devices/sensor-7f3a91/telemetry/temp");
    print_map_of(6);
    print_map_of(64);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_map_does_what_its_table_says),
        cmocka_unit_test(wildcard_rules_keep_off_what_is_not_theirs),
        cmocka_unit_test(options_are_minded),
        cmocka_unit_test(the_best_rate_wins),
        cmocka_unit_test(values_that_could_widen_a_rule_void_it),
        cmocka_unit_test(odd_tenants_get_nothing),
        cmocka_unit_test(shapes_are_equal_where_only_values_differ),
        cmocka_unit_test(a_grant_may_stand_at_any_address),
        cmocka_unit_test(a_zeroed_grant_denies),
        cmocka_unit_test(too_little_room_is_said),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(rules_that_say_nothing_new_cost_nothing),
        cmocka_unit_test(many_children_are_told_apart),
        cmocka_unit_test(identities_survive_being_stored),
        cmocka_unit_test(too_many_of_anything_is_refused),
        cmocka_unit_test(claims_become_an_identity),
        cmocka_unit_test(escaped_claims_do_not_overwrite_each_other),
        cmocka_unit_test(denials_are_explained),
        cmocka_unit_test(what_stands_for_a_placeholder_is_explained),
        cmocka_unit_test(what_is_no_request_is_explained),
        cmocka_unit_test(every_reason_has_a_sentence_of_its_own),
        cmocka_unit_test(costs_are_printed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
