#include "token_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/grant.h>

#include "bench.h"

#define SCOPES_MANY 64
#define CLIENTS     10000 /* of four kinds, in turn */
#define KINDS       4
#define CHILDREN    8

/* Maps: the built-in one, and one with scopes enough for as many as a token may hold. */

static struct lk_policy few_map, many_map;

/* Append rules to a map, one a scope. */
static size_t
append_rules(char *map, size_t at, const char *format)
{
    for (unsigned i = 0; i < SCOPES_MANY; i++)
        at += (size_t)snprintf(map + at, LK_POLICY_FILE_MAX - at, format, i, i);
    return at;
}

static void
make_maps(void)
{
    static char map[LK_POLICY_FILE_MAX];
    size_t at = (size_t)snprintf(map, sizeof(map), "%s", lk_policy_default);

    at = append_rules(map, at, "own%02u:use both devices/{device}/own%02u/#\n");
    at = append_rules(map, at, "all%02u:use both devices/+/all%02u/#\n");
    bench_need(at < sizeof(map), "the map is too long");
    bench_need(lk_policy_parse(lk_span_text(lk_policy_default), &few_map, NULL) == LK_OK &&
                   lk_policy_parse(lk_span_text(map), &many_map, NULL) == LK_OK,
               "a map is not read");
}

/* Six scopes each; a scope the map does not know counts too. With more of the same sort, 64: these
 * are in the way of the six, on the level where rules differ. */
enum actor { SENSOR, ACTUATOR, MONITOR, MIXED, ACTORS };

static const struct {
    const char *subject, *type; /* no type: not a device */
    const char *scopes;
    const char *more[2]; /* in turn */
} actors[ACTORS] = {
    [SENSOR] = {"sensor-1",
                "sensor",
                "telemetry:send config:read commands:receive status:send telemetry:relay logs:send",
                {"own", "own"}},
    [ACTUATOR] =
        {"actuator-1",
         "actuator",
         "telemetry:send config:read commands:receive status:send telemetry:relay logs:send",
         {"own", "own"}},
    [MONITOR] = {"monitor-1",
                 NULL,
                 "telemetry:read devices:read alerts:read status:read config:write audit:read",
                 {"all", "all"}},
    [MIXED] = {"sensor-1",
               "sensor",
               "telemetry:send config:read commands:receive status:send telemetry:read status:read",
               {"own", "all"}},
};

static struct lk_span
actor_scopes(enum actor actor, size_t count)
{
    static char room[2 * ACTORS][LK_SCOPE_MAX];
    static size_t used;
    char *text = room[used++];
    size_t at = (size_t)snprintf(text, LK_SCOPE_MAX, "%s", actors[actor].scopes);

    for (unsigned i = 6; i < count; i++)
        at += (size_t)snprintf(text + at, LK_SCOPE_MAX - at, " %s%02u:use",
                               actors[actor].more[i % 2], i);
    bench_need(at < LK_SCOPE_MAX, "the scopes are too long");
    return lk_span_of(text, at);
}

/* Grants that outlive the compiling, in blocks of their own as a broker has them. */

static struct lk_span
keep(struct lk_span bytes)
{
    uint8_t *copy = malloc(bytes.len + 1);

    bench_need(copy != NULL, "out of memory");
    memcpy(copy, bytes.ptr, bytes.len);
    return lk_span_of(copy, bytes.len);
}

static struct lk_grant
compile(const struct lk_policy *policy, const struct lk_identity *identity)
{
    static uint8_t shape_room[LK_GRANT_MAX], values_room[LK_VALUES_MAX];
    struct lk_grant grant;

    bench_need(lk_grant_compile(policy, identity, LK_BUF_OF(shape_room), &grant.shape,
                                LK_BUF_OF(values_room), &grant.values) == LK_OK,
               "a grant is not compiled");
    grant.values = keep(grant.values);
    return grant;
}

/* One topic and one grant, over and over. */

struct decision {
    struct lk_grant grant;
    struct lk_request request;
    enum lk_access expected;
};

static bool
decide(void *context, size_t turn)
{
    const struct decision *d = context;

    (void)turn;
    return lk_grant_check(&d->grant, &d->request).access == d->expected;
}

static bool
decide_nothing(void *context, size_t turn)
{
    const struct decision *d = context;

    (void)turn;
    return deny_at_once(&d->grant, &d->request).access == d->expected;
}

static const struct {
    const char *name, *name_many;
    enum actor actor;
    enum lk_action action;
    const char *topic;
    enum lk_access expected;
} decisions[] = {
    {"topic-6-publish", "topic-64-publish", SENSOR, LK_ACTION_PUBLISH, "devices/sensor-1/telemetry",
     LK_ACCESS_ALLOW},
    {"topic-6-publish-long", "topic-64-publish-long", SENSOR, LK_ACTION_PUBLISH,
     "devices/sensor-1/telemetry/temperature/inside", LK_ACCESS_ALLOW},
    {"topic-6-other-device", "topic-64-other-device", SENSOR, LK_ACTION_PUBLISH,
     "devices/sensor-2/telemetry", LK_ACCESS_DENY},
    {"topic-6-commands", "topic-64-commands", ACTUATOR, LK_ACTION_SUBSCRIBE,
     "devices/actuator-1/commands/+", LK_ACCESS_ALLOW},
    {"topic-6-receive", "topic-64-receive", MONITOR, LK_ACTION_RECEIVE,
     "devices/sensor-1/telemetry", LK_ACCESS_ALLOW},
    {"topic-6-subscribe", "topic-64-subscribe", MONITOR, LK_ACTION_SUBSCRIBE,
     "devices/+/telemetry/#", LK_ACCESS_ALLOW},
    {"topic-6-mixed-publish", "topic-64-mixed-publish", MIXED, LK_ACTION_PUBLISH,
     "devices/sensor-1/telemetry", LK_ACCESS_ALLOW},
    {"topic-6-mixed-other-device", "topic-64-mixed-other-device", MIXED, LK_ACTION_PUBLISH,
     "devices/sensor-2/telemetry", LK_ACCESS_DENY},
    {"topic-6-mixed-receive", "topic-64-mixed-receive", MIXED, LK_ACTION_RECEIVE,
     "devices/sensor-2/telemetry", LK_ACCESS_ALLOW},
};

#define DECISIONS (sizeof(decisions) / sizeof(decisions[0]))

static void
decision_rows(const struct lk_policy *policy, bool many)
{
    static struct decision all[2][DECISIONS];
    struct lk_span scopes[ACTORS];

    for (size_t i = 0; i < ACTORS; i++)
        scopes[i] = actor_scopes((enum actor)i, many ? SCOPES_MANY : 6);
    for (size_t i = 0; i < DECISIONS; i++) {
        struct decision *d = &all[many][i];
        enum actor actor = decisions[i].actor;
        struct lk_identity identity = {.subject = lk_span_text(actors[actor].subject),
                                       .client_id = lk_span_text(actors[actor].subject),
                                       .type = lk_span_text(actors[actor].type),
                                       .scope = scopes[actor]};

        d->grant = compile(policy, &identity);
        d->grant.shape = keep(d->grant.shape);
        d->request.action = decisions[i].action;
        d->request.topic = lk_span_text(decisions[i].topic);
        d->expected = decisions[i].expected;
        bench_row(many ? decisions[i].name_many : decisions[i].name, decide, d);
    }
}

/* Many clients, in random order. */

static const struct {
    const char *name, *scopes;
    size_t children;
    bool is_device;
    enum lk_action action;
    const char *topic; /* %u: the client's number */
} kinds[KINDS] = {
    {"sensor", "telemetry:send config:read", 0, true, LK_ACTION_PUBLISH,
     "devices/sensor-%u/telemetry"},
    {"actuator", "commands:receive status:send config:read", 0, true, LK_ACTION_PUBLISH,
     "devices/actuator-%u/status"},
    {"gateway", "telemetry:send telemetry:relay config:read", CHILDREN, true, LK_ACTION_PUBLISH,
     "devices/child-%u-3/telemetry"},
    {"monitor", "telemetry:read devices:read alerts:read status:read", 0, false, LK_ACTION_RECEIVE,
     "devices/sensor-%u/telemetry"},
};

struct traffic {
    struct lk_grant grant[CLIENTS];
    struct { /* packets as they come in */
        uint32_t client;
        uint8_t len, action;
        bool is_own; /* or else another client's topic */
        char topic[40];
    } packet[CLIENTS];
};

static bool
decide_next(void *context, size_t turn)
{
    const struct traffic *t = context;
    size_t at = turn % CLIENTS;
    struct lk_request request = {.action = (enum lk_action)t->packet[at].action,
                                 .topic = lk_span_of(t->packet[at].topic, t->packet[at].len)};

    return (lk_grant_check(&t->grant[t->packet[at].client], &request).access == LK_ACCESS_ALLOW) ==
           t->packet[at].is_own;
}

static struct lk_grant
client_grant(unsigned number)
{
    static struct lk_span shapes[KINDS];
    unsigned kind = number % KINDS;
    char subject[32], children[CHILDREN][32];
    struct lk_identity identity = {.scope = lk_span_text(kinds[kind].scopes),
                                   .children_count = kinds[kind].children};
    struct lk_grant grant;

    (void)snprintf(subject, sizeof(subject), "%s-%u", kinds[kind].name, number);
    identity.subject = identity.client_id = lk_span_text(subject);
    if (kinds[kind].is_device)
        identity.type = lk_span_text(kinds[kind].name);
    for (unsigned i = 0; i < identity.children_count; i++) {
        (void)snprintf(children[i], sizeof(children[i]), "child-%u-%u", number, i);
        identity.children[i] = lk_span_text(children[i]);
    }
    grant = compile(&few_map, &identity);
    if (shapes[kind].ptr == NULL)
        shapes[kind] = keep(grant.shape);
    bench_need(lk_span_equal(shapes[kind], grant.shape), "shapes of one kind differ");
    grant.shape = shapes[kind];
    return grant;
}

/* xorshift64: the same order every time. */
static uint32_t
random_below(uint32_t end)
{
    static uint64_t state = 0x9e3779b97f4a7c15;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 32) * end >> 32);
}

/* One in eight is about another client of the kind; a monitor may read them all. */
static void
make_traffic(struct traffic *t)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        t->grant[i] = client_grant(i);
    for (size_t i = 0; i < CLIENTS; i++) {
        uint32_t client = random_below(CLIENTS), kind = client % KINDS;
        bool is_own = kind == KINDS - 1 || random_below(8) > 0;
        uint32_t about = is_own ? client : (client + KINDS) % CLIENTS;

        t->packet[i].client = client;
        t->packet[i].action = (uint8_t)kinds[kind].action;
        t->packet[i].is_own = is_own;
        t->packet[i].len = (uint8_t)snprintf(t->packet[i].topic, sizeof(t->packet[i].topic),
                                             kinds[kind].topic, about);
    }
}

static void
grant_facts(const struct traffic *t)
{
    for (unsigned i = 0; i < KINDS; i++) {
        char name[32];

        (void)snprintf(name, sizeof(name), "grant-%s", kinds[i].name);
        bench_fact(name, "%zu %zu", t->grant[i].shape.len, t->grant[i].values.len);
    }
}

void
topic_rows(void)
{
    static struct traffic traffic;
    static struct decision nothing;

    make_maps();
    bench_row("empty-decide", decide_nothing, &nothing);
    decision_rows(&few_map, false);
    decision_rows(&many_map, true);
    make_traffic(&traffic);
    grant_facts(&traffic);
    bench_row("grants-10000", decide_next, &traffic);
}
