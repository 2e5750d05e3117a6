/*
 * Compiled grants against a second opinion: a plain reading of the rules with strings and loops,
 * written from contracts and MQTT alone. Random maps, identities and requests; the seed is fixed.
 */
#include <stdio.h>
#include <string.h>

#include <latchkey/grant.h>

#include "cmocka_all.h"
#include "guard_span.h"

#define LEVELS     6
#define RULES      12
#define TEXT       160
#define IDENTITIES 6000
#define REQUESTS   60

/* Random choices. */

static uint64_t seed = UINT64_C(0x2545f4914f6cdd1d);

static unsigned
below(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)((seed >> 33) % n);
}

#define PICK(array) ((array)[below(sizeof(array) / sizeof((array)[0]))])

/* The rules, as the reference sees them. */

struct ref_rule {
    const char *scope;
    bool publish, subscribe;
    char filter[TEXT];
    bool retain_no, share_no;
    unsigned qos_max, size_max, rate_max; /* UINT32_MAX, 0: nothing said */
};

static struct ref_rule rules[RULES];
static size_t rule_count;
static struct lk_policy policy;

static const char *const scopes[] = {"a:x", "a:y", "b:x", "desk:use", "bridge:use", "c:z"};

static void
random_filter(char *filter)
{
    static const char *const words[] = {
        "a",        "a",      "b",        "+",          "+",         "{device}",
        "{client}", "{type}", "{tenant}", "{claim.n}",  "%c",        "${username}",
        "",         "t",      "$s",       "authz-info", "c\xc3\xa9", "a-level-of-18-byte",
        "v",        "acme"};
    unsigned levels = 1 + below(4);
    bool has_children = false;

    filter[0] = '\0';
    for (unsigned i = 0; i < levels; i++) {
        const char *word = PICK(words);

        if (!has_children && below(12) == 0) {
            word = "{children}";
            has_children = true;
        }
        strcat(filter, i > 0 ? "/" : "");
        strcat(filter, word);
    }
    if (filter[0] == '\0')
        strcpy(filter, "a");
    if (below(3) == 0)
        strcat(filter, "/#");
    else if (below(20) == 0)
        strcpy(filter, "#");
}

static size_t
write_rule(const struct ref_rule *rule, char *map, size_t room)
{
    size_t len = (size_t)snprintf(map, room, "%s %s %s", rule->scope,
                                  rule->publish && rule->subscribe ? "both"
                                  : rule->publish                  ? "publish"
                                                                   : "subscribe",
                                  rule->filter);

    if (rule->retain_no)
        len += (size_t)snprintf(map + len, room - len, " retain=no");
    if (rule->share_no)
        len += (size_t)snprintf(map + len, room - len, " share=no");
    if (rule->qos_max < 2)
        len += (size_t)snprintf(map + len, room - len, " qos<=%u", rule->qos_max);
    if (rule->size_max != UINT32_MAX)
        len += (size_t)snprintf(map + len, room - len, " size<=%u", rule->size_max);
    if (rule->rate_max > 0)
        len += (size_t)snprintf(map + len, room - len, " rate<=%u/s", rule->rate_max);
    return len + (size_t)snprintf(map + len, room - len, "\n");
}

static void
random_map(void)
{
    static char map[RULES * 300];
    struct lk_policy_error error;
    size_t len = 0;

    rule_count = 1 + below(RULES);
    for (size_t i = 0; i < rule_count; i++) {
        struct ref_rule *rule = &rules[i];
        unsigned action = below(3);

        rule->scope = PICK(scopes);
        rule->publish = action != 1;
        rule->subscribe = action != 0;
        if (i > 0 && below(4) == 0)
            strcpy(rule->filter, rules[i - 1].filter);
        else
            random_filter(rule->filter);
        rule->retain_no = rule->publish && below(6) == 0;
        rule->share_no = rule->subscribe && below(6) == 0;
        rule->qos_max = below(5) == 0 ? below(2) : 2;
        rule->size_max = rule->publish && below(6) == 0 ? below(3) * 10 : UINT32_MAX;
        rule->rate_max = rule->publish && below(4) == 0 ? 1 + below(3) : 0;
        len += write_rule(rule, map + len, sizeof(map) - len);
    }
    if (lk_policy_parse(lk_span_of(map, len), &policy, &error) != LK_OK)
        fail_msg("%u:%u %s\n%s", error.line, error.column, error.expected, map);
}

/* Identities. */

static char texts[64][TEXT]; /* what the identity points into */
static size_t text_count;

static struct lk_span
keep(const char *text)
{
    char *room = texts[text_count++];

    strcpy(room, text);
    return lk_span_text(room);
}

static struct lk_span
random_value(void)
{
    static const char *const values[] = {
        "v", "a", "acme", "d-1", "c\xc3\xa9", "t", "a-value-longer-than-16-bytes"};
    static const char *const bad[] = {"", "x/y", "+", "#", "$v", "v\n", "\xff"};

    return keep(below(5) > 0 ? PICK(values) : PICK(bad));
}

static void
random_identity(struct lk_identity *identity)
{
    static const char *const tenants[] = {"acme", "acme", "acme", "t", "*",  "*",
                                          "*",    "v",    "Acme", "",  "a/b"};
    char held[TEXT] = "";

    text_count = 0;
    memset(identity, 0, sizeof(*identity));
    identity->subject = random_value();
    identity->client_id = random_value();
    if (below(4) > 0)
        identity->type = random_value();
    if (below(2) == 0)
        identity->tenant = keep(PICK(tenants));
    for (unsigned i = below(5) + 2; i > 0; i--) {
        static const char *const more[] = {"a:*", "*", "desk:*", "b:*", "a:x", "c:z", "c:z2"};

        strcat(held, below(3) == 0 ? PICK(more) : PICK(scopes));
        strcat(held, " ");
    }
    identity->scope = keep(held);
    identity->children_count = below(4);
    for (size_t i = 0; i < identity->children_count; i++)
        identity->children[i] = random_value();
    if (below(2) == 0) {
        identity->named[0].name = LK_SPAN("n");
        identity->named[0].value = random_value();
        identity->named_count = 1;
    }
}

/* The reference. */

struct level_list {
    char level[20][64];
    size_t count;
};

static void
split(const char *text, struct level_list *list)
{
    list->count = 0;
    for (;;) {
        size_t len = strcspn(text, "/");

        memcpy(list->level[list->count], text, len);
        list->level[list->count++][len] = '\0';
        if (text[len] == '\0')
            return;
        text += len + 1;
    }
}

static bool
ref_usable(const char *value)
{
    if (value == NULL || value[0] == '\0' || value[0] == '$')
        return false;
    for (const char *c = value; *c != '\0'; c++) {
        if (strchr("/+#\n", *c) != NULL || (unsigned char)*c == 0xff)
            return false;
    }
    return true;
}

static const char *
text_of(struct lk_span span)
{
    return (const char *)span.ptr; /* all of ours are terminated */
}

/* The value for one level of a rule, NULL if it is void; the level itself if it is no placeholder.
 */
static const char *
ref_fill(const char *level, const struct lk_identity *identity, const char *child)
{
    const char *value;

    if (strcmp(level, "{device}") == 0 || strcmp(level, "${username}") == 0)
        value = identity->type.len > 0 ? text_of(identity->subject) : NULL;
    else if (strcmp(level, "{client}") == 0 || strcmp(level, "%c") == 0)
        value = text_of(identity->client_id);
    else if (strcmp(level, "{type}") == 0)
        value = text_of(identity->type);
    else if (strcmp(level, "{tenant}") == 0)
        value = lk_span_is(identity->tenant, "*") ? NULL : text_of(identity->tenant);
    else if (strcmp(level, "{claim.n}") == 0)
        value = identity->named_count > 0 ? text_of(identity->named[0].value) : NULL;
    else if (strcmp(level, "{children}") == 0)
        value = child;
    else
        return level;
    return ref_usable(value) ? value : NULL;
}

static bool
ref_expand(const char *filter, const struct lk_identity *identity, const char *child,
           const char *prefix, char *out)
{
    static struct level_list list;

    split(filter, &list);
    strcpy(out, prefix);
    for (size_t i = 0; i < list.count; i++) {
        const char *value = ref_fill(list.level[i], identity, child);

        if (value == NULL)
            return false;
        strcat(out, i > 0 ? "/" : "");
        strcat(out, value);
    }
    return true;
}

static bool
ref_covers(const char *rule, const char *asked)
{
    static struct level_list r, a;

    split(rule, &r);
    split(asked, &a);
    if (asked[0] == '$' && (rule[0] == '+' || rule[0] == '#'))
        return false;
    for (size_t i = 0; i < r.count; i++) {
        if (strcmp(r.level[i], "#") == 0)
            return true;
        if (i >= a.count || strcmp(a.level[i], "#") == 0)
            return false;
        if (strcmp(r.level[i], "+") != 0 && strcmp(r.level[i], a.level[i]) != 0)
            return false;
    }
    return r.count == a.count;
}

static bool
ref_holds(const char *held, const char *wanted)
{
    char list[TEXT];

    strcpy(list, held);
    for (char *scope = strtok(list, " "); scope != NULL; scope = strtok(NULL, " ")) {
        size_t len = strlen(scope);

        if (strcmp(scope, wanted) == 0)
            return true;
        if (len > 2 && strcmp(scope + len - 2, ":*") == 0 && strcmp(scope, "desk:*") != 0 &&
            strncmp(scope, wanted, len - 1) == 0)
            return true;
    }
    return false;
}

static bool
ref_is_valid(const char *text, bool is_filter)
{
    static struct level_list list;

    if (text[0] == '\0' || strchr(text, '\xff') != NULL)
        return false;
    split(text, &list);
    for (size_t i = 0; i < list.count; i++) {
        const char *level = list.level[i];

        if (is_filter &&
            (strcmp(level, "+") == 0 || (strcmp(level, "#") == 0 && i + 1 == list.count)))
            continue;
        if (strpbrk(level, "+#") != NULL)
            return false;
    }
    return true;
}

static bool
ref_options_fit(const struct ref_rule *rule, const struct lk_request *request, bool is_shared)
{
    switch (request->action) {
    case LK_ACTION_PUBLISH:
        return rule->publish && request->qos <= rule->qos_max && request->size <= rule->size_max &&
               !(request->retain && rule->retain_no);
    case LK_ACTION_SUBSCRIBE:
        return rule->subscribe && request->qos <= rule->qos_max && !(is_shared && rule->share_no);
    case LK_ACTION_RECEIVE:
        return rule->subscribe;
    }
    return false;
}

/* Does the rule, filled in and prefixed in this way, cover the topic? */
static bool
ref_filter_fits(const struct ref_rule *rule, const struct lk_identity *identity, const char *prefix,
                const char *topic)
{
    char filter[TEXT * 2];

    if (strstr(rule->filter, "{children}") == NULL)
        return ref_expand(rule->filter, identity, NULL, prefix, filter) &&
               ref_covers(filter, topic);
    for (size_t i = 0; i < identity->children_count; i++) {
        if (ref_expand(rule->filter, identity, text_of(identity->children[i]), prefix, filter) &&
            ref_covers(filter, topic))
            return true;
    }
    return false;
}

static bool
ref_tenant_fits(const struct ref_rule *rule, const struct lk_identity *identity, const char *topic)
{
    bool is_tenants = strncmp(topic, "t/", 2) == 0;
    const char *tenant = text_of(identity->tenant);
    char prefix[TEXT];

    if (tenant == NULL)
        return !is_tenants && ref_filter_fits(rule, identity, "", topic);
    if (strcmp(tenant, "*") == 0) {
        if (!ref_holds(text_of(identity->scope), "desk:use") &&
            !ref_holds(text_of(identity->scope), "bridge:use"))
            return false;
        return ref_filter_fits(rule, identity, is_tenants ? "t/+/" : "", topic);
    }
    if (strlen(tenant) == 0 ||
        strspn(tenant, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(tenant))
        return false;
    snprintf(prefix, sizeof(prefix), "t/%s/", tenant);
    return ref_filter_fits(rule, identity, prefix, topic);
}

struct opinion {
    bool allowed;
    bool by_rule[RULES];
    unsigned rate_max; /* the best; 0: none */
};

static struct opinion
ref_check(const struct lk_identity *identity, const struct lk_request *request)
{
    const char *topic = text_of(request->topic);
    bool is_filter = request->action == LK_ACTION_SUBSCRIBE;
    bool is_shared = is_filter && strncmp(topic, "$share/", 7) == 0;
    struct opinion o = {false, {false}, UINT32_MAX};

    if (is_shared) {
        const char *group = topic + 7;
        size_t len = strcspn(group, "/");

        if (len == 0 || group[len] == '\0' || strcspn(group, "+#\xff") < len ||
            (strncmp(group, "latchkey", 8) == 0 &&
             !ref_holds(text_of(identity->scope), "desk:use")))
            return o;
        topic = group + len + 1;
    }
    if (!ref_is_valid(topic, is_filter) || strcmp(topic, "authz-info") == 0 ||
        strcmp(topic, "authz-info/#") == 0)
        return o;
    for (size_t i = 0; i < rule_count; i++) {
        unsigned rate = request->action == LK_ACTION_PUBLISH ? rules[i].rate_max : 0;

        if (!ref_holds(text_of(identity->scope), rules[i].scope) ||
            !ref_options_fit(&rules[i], request, is_shared) ||
            !ref_tenant_fits(&rules[i], identity, topic))
            continue;
        if (!o.allowed || rate == 0 || (o.rate_max != 0 && rate > o.rate_max))
            o.rate_max = rate;
        o.allowed = o.by_rule[i] = true;
    }
    return o;
}

/* Requests: mostly near a rule, else most would be denied for nothing. */

static void
random_topic(const struct lk_identity *identity, bool is_filter, char *topic)
{
    static const char *const words[] = {"a",
                                        "b",
                                        "v",
                                        "d-1",
                                        "acme",
                                        "t",
                                        "",
                                        "$s",
                                        "c\xc3\xa9",
                                        "a-value-longer-than-16-bytes",
                                        "a-level-of-18-byte"};
    static const char *const wild[] = {"+", "#", "a+", "\xff"};
    static const char *const prefixes[] = {"", "", "t/acme/", "t/v/", "t/+/", "t/"};
    const char *child = identity->children_count > 0 ? text_of(identity->children[0]) : "v";
    static struct level_list list;

    strcpy(topic, "");
    if (is_filter && below(5) == 0)
        strcpy(topic, below(4) > 0 ? "$share/g/" : below(3) > 0 ? "$share/latchkey-x/" : "$share/");
    if (identity->tenant.ptr != NULL && below(3) > 0)
        sprintf(topic + strlen(topic), "t/%s/",
                lk_span_is(identity->tenant, "*") ? "v" : text_of(identity->tenant));
    else if (identity->tenant.ptr != NULL || below(8) == 0)
        strcat(topic, PICK(prefixes));
    split(rules[below((unsigned)rule_count)].filter, &list);
    if (below(16) == 0)
        list.count = 1 + below((unsigned)list.count);
    for (size_t i = 0; i < list.count; i++) {
        const char *level = ref_fill(list.level[i], identity, child);

        if (level == NULL || below(16) == 0)
            level = PICK(words);
        if (strcmp(level, "#") == 0 && below(4) > 0)
            level = below(2) > 0 ? "a/b" : "";
        if (strcmp(level, "+") == 0 && (!is_filter || below(2) == 0) && below(8) > 0)
            level = PICK(words);
        if (below(40) == 0)
            level = PICK(wild);
        strcat(topic, i > 0 ? "/" : "");
        strcat(topic, level);
    }
    if (below(10) == 0)
        strcat(topic, is_filter ? "/#" : "/x");
}

static struct lk_request
random_request(const struct lk_identity *identity, char *topic)
{
    struct lk_request request = {0};

    request.action = (enum lk_action)(1 + below(3));
    random_topic(identity, request.action == LK_ACTION_SUBSCRIBE || below(30) == 0, topic);
    request.topic = lk_span_text(topic);
    request.qos = (uint8_t)below(3);
    request.retain = below(2) == 0;
    request.size = below(30);
    return request;
}

static void
check_explanation(const struct lk_identity *identity, const struct lk_request *request,
                  struct lk_verdict verdict)
{
    struct lk_request easy = *request;
    struct lk_explanation e;

    assert_int_equal(lk_grant_explain(&policy, identity, request, &e), LK_OK);
    assert_int_equal(e.verdict.access, verdict.access);
    assert_int_equal(e.verdict.rule, verdict.rule);
    assert_int_equal(e.verdict.rate_max, verdict.rate_max);
    assert_int_equal(e.reason == LK_REASON_ALLOWED, verdict.access == LK_ACCESS_ALLOW);
    assert_true(!e.has_rule || e.rule < policy.rule_count);
    switch (e.reason) {
    case LK_REASON_OPTION:
        /* without what an option can be against, it is allowed */
        easy.qos = 0;
        easy.size = 0;
        easy.retain = false;
        if (strncmp(text_of(easy.topic), "$share/", 7) == 0)
            easy.topic = lk_span_text(strchr(text_of(easy.topic) + 7, '/') + 1);
        assert_true(ref_check(identity, &easy).by_rule[e.rule]);
        break;
    case LK_REASON_NO_SCOPE:
        assert_false(ref_holds(text_of(identity->scope), rules[e.rule].scope));
        break;
    case LK_REASON_TOO_WIDE:
        assert_int_equal(request->action, LK_ACTION_SUBSCRIBE);
        break;
    case LK_REASON_OTHER_ACTION:
        assert_false(rules[e.rule].publish && rules[e.rule].subscribe);
        break;
    case LK_REASON_VOID:
    case LK_REASON_OTHER_VALUE:
        assert_true(!e.has_rule || strpbrk(rules[e.rule].filter, "{%") != NULL);
        break;
    case LK_REASON_ALLOWED:
    case LK_REASON_NO_RULE:
    case LK_REASON_RESERVED:
    case LK_REASON_MALFORMED:
        break;
    }
}

static struct guard shapes, values, topics;
static unsigned asked_count, allowed_count, rated_count;

static void
compare(const struct lk_identity *identity, const struct lk_grant *grant)
{
    char topic[TEXT * 4];
    struct lk_request request = random_request(identity, topic);
    struct lk_request guarded = request;
    struct opinion wanted = ref_check(identity, &request);
    struct lk_verdict got;

    guarded.topic = guard_place(&topics, request.topic);
    got = lk_grant_check(grant, &guarded);
    if ((got.access == LK_ACCESS_ALLOW) != wanted.allowed ||
        (wanted.allowed && (!wanted.by_rule[got.rule] || got.rate_max != wanted.rate_max))) {
        for (size_t i = 0; i < rule_count; i++)
            print_message("%zu %s %d%d %s\n", i, rules[i].scope, rules[i].publish,
                          rules[i].subscribe, rules[i].filter);
        print_message(
            "subject %s client %s type %s tenant %s scope %s\n", text_of(identity->subject),
            text_of(identity->client_id), identity->type.ptr ? text_of(identity->type) : "-",
            identity->tenant.ptr ? text_of(identity->tenant) : "-", text_of(identity->scope));
        fail_msg("action %d \"%s\" qos %u retain %d size %u: got %d by %u rate %u, wanted %d %u",
                 (int)request.action, topic, request.qos, request.retain, request.size,
                 (int)got.access, got.rule, got.rate_max, wanted.allowed, wanted.rate_max);
    }
    asked_count++;
    allowed_count += wanted.allowed;
    rated_count += wanted.allowed && wanted.rate_max > 0;
    if (asked_count % 4 == 0)
        check_explanation(identity, &request, got);
}

static void
grants_agree_with_a_second_opinion(void **state)
{
    static uint8_t shape_room[LK_GRANT_MAX], values_room[LK_VALUES_MAX];

    (void)state;
    shapes = guard_open(LK_GRANT_MAX);
    values = guard_open(LK_VALUES_MAX);
    topics = guard_open(4096);
    for (unsigned i = 0; i < IDENTITIES; i++) {
        struct lk_identity identity;
        struct lk_grant grant;

        if (i % 2 == 0)
            random_map();
        random_identity(&identity);
        assert_int_equal(lk_grant_compile(&policy, &identity, LK_BUF_OF(shape_room), &grant.shape,
                                          LK_BUF_OF(values_room), &grant.values),
                         LK_OK);
        grant.shape = guard_place(&shapes, grant.shape);
        grant.values = guard_place(&values, grant.values);
        for (unsigned k = 0; k < REQUESTS; k++)
            compare(&identity, &grant);
    }
    print_message("%u requests, %u allowed, %u with a rate\n", asked_count, allowed_count,
                  rated_count);
    assert_true(allowed_count > asked_count / 20 && rated_count > 1000);
    guard_close(&shapes);
    guard_close(&values);
    guard_close(&topics);
}

/* Bytes from nowhere: whatever is asked, a verdict comes back, and only for valid text a yes. */
static void
any_bytes_get_a_verdict(void **state)
{
    static uint8_t shape_room[LK_GRANT_MAX], values_room[LK_VALUES_MAX];
    struct lk_identity identity = {.subject = LK_SPAN("a"), .scope = LK_SPAN("a:x")};
    static const uint8_t alphabet[] = {'a', '/', '+', '#', '$', 0, 0xff, 0xc3, 0xa9, 't', 'b'};
    struct lk_grant grant;

    (void)state;
    assert_int_equal(
        lk_policy_parse(LK_SPAN("a:x both #\na:x both +/a/#\na:x both $/#\n"), &policy, NULL),
        LK_OK);
    assert_int_equal(lk_grant_compile(&policy, &identity, LK_BUF_OF(shape_room), &grant.shape,
                                      LK_BUF_OF(values_room), &grant.values),
                     LK_OK);
    topics = guard_open(4096);
    for (unsigned i = 0; i < 300000; i++) {
        struct lk_request request = {.action = (enum lk_action)(1 + below(3))};
        uint8_t bytes[20];
        size_t len = below(sizeof(bytes) + 1);

        for (size_t k = 0; k < len; k++)
            bytes[k] = PICK(alphabet);
        request.topic = guard_place(&topics, lk_span_of(bytes, len));
        if (lk_grant_check(&grant, &request).access == LK_ACCESS_ALLOW) {
            assert_true(lk_utf8_is_valid(request.topic));
            assert_null(memchr(bytes, 0, len));
            assert_true(request.action == LK_ACTION_SUBSCRIBE || memchr(bytes, '#', len) == NULL);
        }
    }
    guard_close(&topics);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_agree_with_a_second_opinion),
        cmocka_unit_test(any_bytes_get_a_verdict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
