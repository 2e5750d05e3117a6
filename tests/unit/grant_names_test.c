/*
 * Names, values and prefixes of every length: what a rule says is allowed, and nothing that differs
 * from it by a byte. A check compares words of eight bytes and looks names up in tables; here are
 * the lengths and the names at which that could go wrong.
 */
#include <stdio.h>
#include <string.h>

#include <latchkey/grant.h>

#include "cmocka_all.h"
#include "guard.h"

#define PUB LK_ACTION_PUBLISH
#define SUB LK_ACTION_SUBSCRIBE
#define GET LK_ACTION_RECEIVE

#define LENGTHS 40 /* longer than what is compared word by word, twice */

static struct lk_policy policy;
static struct guard guard;
static uint8_t shape[LK_GRANT_MAX], values[LK_VALUES_MAX];
static struct lk_grant grant;

static void
compile(const char *map, const struct lk_identity *identity)
{
    struct lk_policy_error error;

    if (lk_policy_parse(lk_span_text(map), &policy, &error) != LK_OK)
        fail_msg("%u:%u %s", error.line, error.column, error.expected);
    assert_int_equal(lk_grant_compile(&policy, identity, LK_BUF_OF(shape), &grant.shape,
                                      LK_BUF_OF(values), &grant.values),
                     LK_OK);
}

static bool
may(enum lk_action action, struct lk_span topic)
{
    struct lk_request request = {.action = action};

    request.topic = lk_span_of(guard_put(&guard, topic.ptr, topic.len), topic.len);
    return lk_grant_check(&grant, &request).access == LK_ACCESS_ALLOW;
}

static void
expect(const char *why, const char *topic, bool wanted)
{
    static const enum lk_action actions[] = {PUB, SUB, GET};

    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
        if (may(actions[i], lk_span_text(topic)) != wanted)
            fail_msg("%s: %s is %s", why, topic, wanted ? "denied" : "allowed");
}

/* Each byte changed, and each cut. */
static void
nothing_near(const char *why, const char *topic)
{
    char other[200];
    size_t len = strlen(topic);

    for (size_t i = 0; i < len; i++) {
        memcpy(other, topic, len + 1);
        other[i] = topic[i] == '~' ? '!' : '~';
        expect(why, other, false);
        other[i] = '/';
        if (topic[i] != '/')
            expect(why, other, false);
        memcpy(other, topic, i);
        other[i] = '\0';
        expect(why, other, false);
    }
    snprintf(other, sizeof(other), "%s~", topic);
    expect(why, other, false);
    snprintf(other, sizeof(other), "/%s", topic);
    expect(why, other, false);
}

/* The topic of the only rule that is near it. */
static void
only_this(const char *why, const char *topic)
{
    char other[200];

    expect(why, topic, true);
    nothing_near(why, topic);
    snprintf(other, sizeof(other), "%s/", topic);
    expect(why, other, false);
    snprintf(other, sizeof(other), "$share/g/%s", topic);
    assert_true(may(SUB, lk_span_text(other)));
    assert_false(may(PUB, lk_span_text(other)));
}

static struct lk_identity
client(const char *name)
{
    return (struct lk_identity){
        .subject = lk_span_text(name), .client_id = lk_span_text(name), .scope = LK_SPAN("a:b")};
}

/* Different bytes at every place, and not the same ones as in the name of another length. */
static const char *
name_of(size_t len)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static char name[64];

    for (size_t i = 0; i < len; i++)
        name[i] = letters[(i * 7 + len) % (sizeof(letters) - 1)];
    name[len] = '\0';
    return name;
}

static void
names_of_every_length(void **state)
{
    static char map[LK_POLICY_FILE_MAX];
    struct lk_identity identity = client("c");
    char topic[80];
    size_t at = 0;

    (void)state;
    for (size_t len = 1; len <= LENGTHS; len++)
        at += (size_t)snprintf(map + at, sizeof(map) - at, "a:b both n/%s/e\n", name_of(len));
    compile(map, &identity);
    for (size_t len = 1; len <= LENGTHS; len++) {
        snprintf(topic, sizeof(topic), "n/%s/e", name_of(len));
        only_this("one of many names", topic);
    }
    for (size_t len = 1; len <= LENGTHS; len++) {
        snprintf(map, sizeof(map), "a:b both %s/e", name_of(len));
        compile(map, &identity);
        snprintf(topic, sizeof(topic), "%s/e", name_of(len));
        only_this("a name that is the prefix", topic);
    }
}

static void
values_of_every_length(void **state)
{
    struct lk_identity identity;
    char topic[80], name[64];

    (void)state;
    for (size_t len = 1; len <= LENGTHS; len++) {
        memcpy(name, name_of(len), len + 1);
        identity = client(name);
        compile("a:b both {client}/e", &identity);
        snprintf(topic, sizeof(topic), "%s/e", name);
        only_this("a value that is the prefix", topic);
        compile("a:b both c/{client}/e\na:b both d/x", &identity);
        snprintf(topic, sizeof(topic), "c/%s/e", name);
        only_this("a value", topic);
        only_this("a name beside it", "d/x");
        identity.children[0] = identity.client_id;
        identity.children_count = 1;
        compile("a:b both c/{children}/e", &identity);
        only_this("a child", topic);
        identity.tenant = LK_SPAN("acme");
        compile("a:b both c/{client}/e\na:b both d/x", &identity);
        snprintf(topic, sizeof(topic), "t/acme/c/%s/e", name);
        only_this("a value in a tenant's tree", topic);
        only_this("a name beside it", "t/acme/d/x");
    }
}

/* A prefix, a name and a #: what is decided without a walk. */
static void
names_before_a_hash(void **state)
{
    struct lk_identity identity;
    char map[200], topic[140], client_name[64];

    (void)state;
    for (size_t len = 1; len <= LENGTHS; len++) {
        memcpy(client_name, name_of(LENGTHS + 1 - len), LENGTHS + 2 - len);
        identity = client(client_name);
        snprintf(map, sizeof(map), "a:b both p/{client}/%s/#\na:b both p/{client}/other-name/#",
                 name_of(len));
        compile(map, &identity);
        snprintf(topic, sizeof(topic), "p/%s/%s", client_name, name_of(len));
        expect("before a #", topic, true);
        nothing_near("before a #", topic);
        strcat(topic, "/x\xc3\xa9/");
        expect("behind it", topic, true);
        strcat(topic, "\xff");
        expect("not UTF-8", topic, false);
        snprintf(topic, sizeof(topic), "p/%s/other-name", client_name);
        expect("the other name", topic, true);
        nothing_near("the other name", topic);
    }
}

static void
levels_may_be_empty(void **state)
{
    static const char *const filters[] = {"/", "//", "a/", "/a", "a//b", "//a", "a//", "a/b//c/d"};
    struct lk_identity identity = client("c");
    char map[100];

    (void)state;
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        snprintf(map, sizeof(map), "a:b both %s", filters[i]);
        compile(map, &identity);
        only_this("by itself", filters[i]);
        snprintf(map, sizeof(map), "a:b both %s\na:b both other/{client}/x\n", filters[i]);
        compile(map, &identity);
        only_this("beside another", filters[i]);
    }
}

/* Names are found by eight of their bytes. No eight bytes near their ends tell these apart, nor do
 * their first eight: they are compared one after the other. */
static void
names_that_no_window_tells_apart(void **state)
{
    static const char format[] =
        "same-beginning--%02u--and-the-same-long-end-of-more-than-40-bytes";
    static char map[LK_POLICY_FILE_MAX];
    struct lk_identity identity = client("c");
    char topic[100], name[90];
    size_t at = 0;

    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), format, i);
        at += (size_t)snprintf(map + at, sizeof(map) - at, "a:b both n/%s\n", name);
    }
    compile(map, &identity);
    for (unsigned i = 0; i < 100; i++) {
        at = (size_t)snprintf(topic, sizeof(topic), "n/");
        (void)snprintf(topic + at, sizeof(topic) - at, format, i);
        expect("alike", topic, i < 40);
    }
    snprintf(name, sizeof(name), format, 39);
    snprintf(topic, sizeof(topic), "n/%s", name);
    for (size_t i = 2; i < strlen(topic); i++) {
        char was = topic[i];

        topic[i] = '~';
        expect("alike but for a byte", topic, false);
        topic[i] = was;
    }
}

/* Names of eight bytes have but one window, and of so many some begin their search alike. */
static void
many_names_of_eight_bytes(void **state)
{
    static char map[LK_POLICY_FILE_MAX];
    struct lk_identity identity = client("c");
    char topic[40];
    size_t at = 0;

    (void)state;
    for (unsigned i = 0; i < 250; i++)
        at += (size_t)snprintf(map + at, sizeof(map) - at, "a:b both n/name%04u\n", i * 7);
    compile(map, &identity);
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(topic, sizeof(topic), "n/name%04u", i);
        expect("eight bytes", topic, i % 7 == 0 && i < 250 * 7);
        snprintf(topic, sizeof(topic), "n/name%03u", i);
        expect("seven", topic, strlen(topic) == 10 && i % 7 == 0 && i < 250 * 7);
        snprintf(topic, sizeof(topic), "n/name%04ux", i);
        expect("nine", topic, false);
    }
}

/* A prefix that looks like a tenant's tree is nobody's but the tenant's. */
static void
a_prefix_does_not_lead_into_a_tenants_tree(void **state)
{
    struct lk_identity t = client("t"), u = client("u"), tt = client("tt"), acme = client("t");

    (void)state;
    compile("a:b both {client}/acme/long-enough", &u);
    expect("not t", "u/acme/long-enough", true);
    compile("a:b both {client}/acme/long-enough", &tt);
    expect("nor tt", "tt/acme/long-enough", true);
    compile("a:b both {client}/acme/long-enough", &t);
    expect("t", "t/acme/long-enough", false);
    assert_false(may(SUB, LK_SPAN("$share/g/t/acme/long-enough")));
    compile("a:b both {client}/acme/long-enough/temperature/#", &t);
    expect("t, and eight bytes of prefix", "t/acme/long-enough/temperature", false);
    compile("a:b both {client}/acme/long-enough/temperature/#", &u);
    expect("u, and eight bytes of prefix", "u/acme/long-enough/temperature", true);
    compile("a:b both t/{client}/long-enough", &u);
    expect("t in the map", "t/u/long-enough", false);
    compile("a:b both {client}/+/#", &t);
    expect("t, then wildcards", "t/acme/x", false);
    acme.tenant = LK_SPAN("acme");
    compile("a:b both {client}/acme/long-enough", &acme);
    expect("the tenant's own", "t/acme/t/acme/long-enough", true);
    expect("without its tree", "t/acme/long-enough", false);
}

static void
odd_requests_are_denied(void **state)
{
    static const char *const maps[] = {"a:b both long-prefix/{client}/e", "a:b both s/e",
                                       "a:b both a/e\na:b both {client}/e"};
    static uint8_t much[LK_TOPIC_MAX + 1];
    static const enum lk_action actions[] = {PUB, SUB, GET};
    struct lk_identity identity = client("c");

    (void)state;
    memset(much, 'x', sizeof(much));
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        compile(maps[i], &identity);
        for (size_t k = 0; k < sizeof(actions) / sizeof(actions[0]); k++) {
            assert_false(may(actions[k], lk_span_of(NULL, 0)));
            assert_false(may(actions[k], lk_span_of(much, LK_TOPIC_MAX)));
        }
        for (size_t k = 0; k < sizeof(actions) / sizeof(actions[0]); k++) {
            struct lk_request request = {.action = actions[k],
                                         .topic = lk_span_of(much, sizeof(much))};

            assert_int_equal(lk_grant_check(&grant, &request).access, LK_ACCESS_DENY);
        }
        assert_false(may((enum lk_action)0, LK_SPAN("s/e")));
        assert_false(may((enum lk_action)7, LK_SPAN("long-prefix/c/e")));
    }
    compile("a:b both #", &identity);
    assert_true(may(PUB, lk_span_of(much, LK_TOPIC_MAX)));
}

static void
too_much_is_not_compiled(void **state)
{
    static char scopes[LK_SCOPE_MAX + 2];
    struct lk_identity identity = client("c");
    struct lk_span out[2];

    (void)state;
    compile("a:b both x", &identity);
    identity.named_count = LK_NAMED_MAX + 1;
    assert_int_equal(
        lk_grant_compile(&policy, &identity, LK_BUF_OF(shape), &out[0], LK_BUF_OF(values), &out[1]),
        LK_ERR_LIMIT);
    identity = client("c");
    memset(scopes, 'x', sizeof(scopes) - 1);
    identity.scope = lk_span_text(scopes);
    assert_int_equal(
        lk_grant_compile(&policy, &identity, LK_BUF_OF(shape), &out[0], LK_BUF_OF(values), &out[1]),
        LK_ERR_LIMIT);
    identity = client("c");
    identity.permissions = LK_SPAN("\xff");
    assert_int_equal(
        lk_grant_compile(&policy, &identity, LK_BUF_OF(shape), &out[0], LK_BUF_OF(values), &out[1]),
        LK_ERR_MALFORMED);
    assert_true(out[0].ptr == NULL && out[1].ptr == NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_every_length),
        cmocka_unit_test(values_of_every_length),
        cmocka_unit_test(names_before_a_hash),
        cmocka_unit_test(levels_may_be_empty),
        cmocka_unit_test(names_that_no_window_tells_apart),
        cmocka_unit_test(many_names_of_eight_bytes),
        cmocka_unit_test(a_prefix_does_not_lead_into_a_tenants_tree),
        cmocka_unit_test(odd_requests_are_denied),
        cmocka_unit_test(too_much_is_not_compiled),
    };

    guard = guard_open(LK_TOPIC_MAX + 1);
    return cmocka_run_group_tests_name("grant_names", tests, NULL, NULL);
}
