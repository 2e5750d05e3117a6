#include <latchkey/grant.h>

#include <string.h>

#include <latchkey/scope.h>
#include <latchkey/topic.h>

#include "level.h"
#include "permissions.h"
#include "rules.h"

/* How a rule's filter stands to what is asked for. */
enum fit {
    FIT_APART,    /* no topic in common */
    FIT_OVERLAPS, /* a filter that asks for more than the rule covers */
    FIT_COVERS
};

/* What is asked, without `$share/<group>/` and without the tenant's prefix. */
struct question {
    const struct lk_policy *policy;
    const struct lk_identity *identity;
    const struct lk_request *request;
    const uint8_t *text; /* what the levels of the rule that is looked at point into */
    struct lk_span topic;
    const uint8_t *at; /* in topic, behind the tenant's prefix; NULL: nothing is left */
    bool is_shared;
    bool has_dollar; /* the topic begins with `$` and a leading wildcard does not match it */
};

/* With which value a placeholder is compared. */
enum value_mode {
    VALUE_OWN, /* the client's; a {children} level: the given child */
    VALUE_ANY  /* as if it were the right one */
};

static bool
levels_equal(struct lk_span value, const struct lk_topic_level *level)
{
    return lk_span_equal(value, lk_span_of(level->ptr, level->len));
}

static struct lk_span
level_text(const struct question *q, const struct lk_level *level)
{
    return lk_span_of(q->text + level->text_at, level->text_len);
}

static struct lk_span
level_value(const struct question *q, const struct lk_level *level, struct lk_span child)
{
    if (level->kind == LK_LEVEL_TEXT)
        return level_text(q, level);
    if (level->kind == LK_LEVEL_CHILDREN)
        return child;
    return lk_rule_value(q->policy, level, q->identity);
}

/* One level against one level that is not `#`, on either side. */
static enum fit
fit_level(const struct question *q, const struct lk_level *level,
          const struct lk_topic_level *asked, enum value_mode mode, struct lk_span child)
{
    if (level->kind == LK_LEVEL_PLUS)
        return FIT_COVERS;
    if (q->request->action == LK_ACTION_SUBSCRIBE && lk_level_is(asked, '+'))
        return FIT_OVERLAPS;
    if (level->kind != LK_LEVEL_TEXT && mode == VALUE_ANY)
        return FIT_COVERS;
    return levels_equal(level_value(q, level, child), asked) ? FIT_COVERS : FIT_APART;
}

static bool
starts_with_wildcard(const struct lk_rule *rule)
{
    return rule->level[0].kind == LK_LEVEL_PLUS || rule->level[0].kind == LK_LEVEL_HASH;
}

static bool
starts_with_dollar(const struct question *q, const struct lk_rule *rule)
{
    struct lk_span text = level_text(q, &rule->level[0]);

    return rule->level[0].kind == LK_LEVEL_TEXT && text.len > 0 && text.ptr[0] == '$';
}

static enum fit
fit_levels(const struct question *q, const struct lk_rule *rule, enum value_mode mode,
           struct lk_span child)
{
    const uint8_t *end = q->topic.ptr + q->topic.len;
    enum fit worst = FIT_COVERS;
    const uint8_t *at = q->at;

    for (size_t i = 0; i < rule->level_count; i++) {
        struct lk_topic_level asked;
        enum fit fit;

        if (rule->level[i].kind == LK_LEVEL_HASH)
            return worst;
        if (at == NULL)
            return FIT_APART;
        asked = lk_level_read(q->topic.ptr, at, end);
        if (lk_level_is(&asked, '#'))
            return FIT_OVERLAPS;
        fit = fit_level(q, &rule->level[i], &asked, mode, child);
        if (fit == FIT_APART)
            return FIT_APART;
        if (fit < worst)
            worst = fit;
        at = asked.next;
    }
    if (at == NULL)
        return worst;
    /* a/# asks for its parent a as well */
    return end - at == 1 && *at == '#' ? FIT_OVERLAPS : FIT_APART;
}

static enum fit
fit_rule(const struct question *q, const struct lk_rule *rule, enum value_mode mode,
         struct lk_span child)
{
    bool is_tree_top = q->at == q->topic.ptr;

    if (q->has_dollar && starts_with_wildcard(rule))
        return FIT_APART;
    /* The other way round: a filter with a leading wildcard asks for no $-topic. */
    if (is_tree_top && (*q->at == '+' || *q->at == '#') && starts_with_dollar(q, rule))
        return FIT_APART;
    return fit_levels(q, rule, mode, child);
}

static bool
has_children(const struct lk_rule *rule)
{
    for (size_t i = 0; i < rule->level_count; i++) {
        if (rule->level[i].kind == LK_LEVEL_CHILDREN)
            return true;
    }
    return false;
}

/* With the client's own values; of {children} with the one that fits best. */
static enum fit
fit_own(const struct question *q, const struct lk_rule *rule)
{
    enum fit best = FIT_APART;

    if (!has_children(rule))
        return fit_rule(q, rule, VALUE_OWN, (struct lk_span){NULL, 0});
    for (size_t i = 0; i < q->identity->children_count; i++) {
        struct lk_span child = q->identity->children[i];
        enum fit fit = lk_value_is_usable(child) ? fit_rule(q, rule, VALUE_OWN, child) : FIT_APART;

        if (fit > best)
            best = fit;
    }
    return best;
}

/* The first option that is in the way, as it stands in the scope map; NULL if none is. */
static const char *
option_in_the_way(const struct question *q, const struct lk_rule *rule)
{
    const struct lk_request *request = q->request;

    if (request->action == LK_ACTION_RECEIVE)
        return NULL;
    if (request->qos > rule->qos_max)
        return "qos<=N";
    if (request->action == LK_ACTION_SUBSCRIBE)
        return q->is_shared && (rule->flags & LK_RULE_SHARE_NO) ? "share=no" : NULL;
    if (request->retain && (rule->flags & LK_RULE_RETAIN_NO))
        return "retain=no";
    return request->size > rule->size_max ? "size<=BYTES" : NULL;
}

static const char *
placeholder_text(const struct lk_level *level)
{
    switch ((enum lk_level_kind)level->kind) {
    case LK_LEVEL_DEVICE:
        return "{device}";
    case LK_LEVEL_CLIENT:
        return "{client}";
    case LK_LEVEL_TENANT:
        return "{tenant}";
    case LK_LEVEL_TYPE:
        return "{type}";
    case LK_LEVEL_CHILDREN:
        return "{children}";
    case LK_LEVEL_CLAIM:
        return "{claim.NAME}";
    case LK_LEVEL_TEXT:
    case LK_LEVEL_PLUS:
    case LK_LEVEL_HASH:
        break;
    }
    return "";
}

static struct lk_span
first_child(const struct lk_identity *identity)
{
    for (size_t i = 0; i < identity->children_count; i++) {
        if (lk_value_is_usable(identity->children[i]))
            return identity->children[i];
    }
    return (struct lk_span){NULL, 0};
}

/* The value that should have stood where another one stands. */
static struct lk_span
value_wanted(const struct question *q, const struct lk_rule *rule)
{
    const uint8_t *at = q->at;

    for (size_t i = 0; i < rule->level_count && at != NULL; i++) {
        const struct lk_level *level = &rule->level[i];
        struct lk_topic_level asked = lk_level_read(q->topic.ptr, at, q->topic.ptr + q->topic.len);
        struct lk_span value = level_value(q, level, first_child(q->identity));

        if (level->kind >= LK_LEVEL_DEVICE && !levels_equal(value, &asked))
            return value;
        at = asked.next;
    }
    return (struct lk_span){NULL, 0};
}

/* What one rule has to say about a request that was denied. */
static enum lk_reason
judge_rule(const struct question *q, const struct lk_rule *rule, bool is_held,
           struct lk_span *detail)
{
    bool is_direction = q->request->action == LK_ACTION_PUBLISH ? rule->publish : rule->subscribe;
    const struct lk_level *void_level = NULL;
    bool is_void = !lk_rule_has_values(q->policy, rule, q->identity, &void_level);
    enum fit own = is_void ? FIT_APART : fit_own(q, rule);
    enum fit any = fit_rule(q, rule, VALUE_ANY, (struct lk_span){NULL, 0});
    const char *option;

    *detail = (struct lk_span){NULL, 0};
    if (!is_held)
        return is_direction && own == FIT_COVERS ? LK_REASON_NO_SCOPE : LK_REASON_NO_RULE;
    if (!is_direction)
        return own == FIT_COVERS ? LK_REASON_OTHER_ACTION : LK_REASON_NO_RULE;
    if (own == FIT_OVERLAPS)
        return LK_REASON_TOO_WIDE;
    if (own == FIT_COVERS) {
        option = option_in_the_way(q, rule);
        *detail = lk_span_text(option);
        return option != NULL ? LK_REASON_OPTION : LK_REASON_NO_RULE;
    }
    if (any == FIT_APART)
        return LK_REASON_NO_RULE;
    if (is_void) {
        *detail = lk_span_text(placeholder_text(void_level));
        return LK_REASON_VOID;
    }
    *detail = value_wanted(q, rule);
    return LK_REASON_OTHER_VALUE;
}

/* The smaller, the nearer a rule came. Held rules come first: who lacks a scope mostly lacks it on
 * purpose, and rules like the desk's fit nearly everything. */
static unsigned
distance(enum lk_reason reason)
{
    static const enum lk_reason order[] = {
        LK_REASON_OPTION, LK_REASON_TOO_WIDE,     LK_REASON_OTHER_VALUE,
        LK_REASON_VOID,   LK_REASON_OTHER_ACTION, LK_REASON_NO_SCOPE,
    };
    unsigned i = 0;

    while (i < sizeof(order) / sizeof(order[0]) && order[i] != reason)
        i++;
    return i;
}

/* Is this rule nearer than the nearest so far? Then it is that. */
static bool
consider(const struct question *q, const struct lk_rule *rule, bool is_held, uint16_t number,
         struct lk_explanation *explanation)
{
    struct lk_span detail;
    enum lk_reason reason = judge_rule(q, rule, is_held, &detail);

    if (distance(reason) >= distance(explanation->reason))
        return false;
    explanation->reason = reason;
    explanation->rule = number;
    explanation->has_rule = true;
    explanation->detail = detail;
    return true;
}

static void
find_nearest_permission(struct question *q, struct lk_explanation *explanation)
{
    struct lk_span stored = q->identity->permissions;
    struct lk_permissions walk;
    struct lk_permission permission;
    struct lk_rule rule;

    q->text = stored.ptr;
    lk_permissions_open(&walk, stored);
    for (uint16_t i = LK_RULE_OF_TOKEN; lk_permissions_next(&walk, &permission); i++) {
        if (!lk_permission_counts(q->policy, &permission))
            continue;
        lk_permission_rule(&permission, stored.ptr, &rule);
        if (consider(q, &rule, true, i, explanation))
            explanation->filter = permission.filter;
    }
}

static void
find_nearest_rule(struct question *q, struct lk_explanation *explanation)
{
    explanation->reason = LK_REASON_NO_RULE;
    q->text = q->policy->text;
    for (uint32_t i = 0; i < q->policy->rule_count; i++) {
        const struct lk_rule *rule = &q->policy->rules[i];
        bool is_held = lk_scope_list_covers(q->identity->scope, lk_rule_scope(q->policy, rule));

        (void)consider(q, rule, is_held, (uint16_t)i, explanation);
    }
    find_nearest_permission(q, explanation);
    if (explanation->reason == LK_REASON_NO_RULE && q->has_dollar)
        explanation->reason = LK_REASON_RESERVED;
}

/* Take the tenant's prefix off. False: the client is in another tree than its topic. */
static bool
enter_tree(struct question *q)
{
    enum lk_tenancy tenancy = lk_tenancy_of(q->identity);
    bool in_tenants_tree = q->topic.len >= 2 && memcmp(q->topic.ptr, "t/", 2) == 0;
    struct lk_topic_level tenant;

    q->at = q->topic.ptr;
    q->has_dollar = q->topic.ptr[0] == '$';
    if (!in_tenants_tree)
        return tenancy == LK_TENANCY_DEFAULT || tenancy == LK_TENANCY_ALL;
    tenant = lk_level_read(q->topic.ptr, q->topic.ptr + 2, q->topic.ptr + q->topic.len);
    q->at = tenant.next;
    if (tenancy == LK_TENANCY_ONE)
        return levels_equal(q->identity->tenant, &tenant);
    return tenancy == LK_TENANCY_ALL && !lk_level_is(&tenant, '#');
}

static bool
is_well_formed(const struct lk_request *request)
{
    switch (request->action) {
    case LK_ACTION_PUBLISH:
        return request->qos <= 2 && lk_topic_is_valid(request->topic);
    case LK_ACTION_SUBSCRIBE:
        return request->qos <= 2 && lk_filter_is_valid(request->topic);
    case LK_ACTION_RECEIVE:
        return lk_topic_is_valid(request->topic);
    }
    return false;
}

static void
explain_denial(struct question *q, struct lk_explanation *explanation)
{
    bool has_desk = lk_scope_list_covers(q->identity->scope, LK_SPAN("desk:use"));
    struct lk_span group = {NULL, 0};

    if (!is_well_formed(q->request)) {
        explanation->reason = LK_REASON_MALFORMED;
        return;
    }
    q->topic = q->request->topic;
    if (q->request->action == LK_ACTION_SUBSCRIBE)
        q->is_shared = lk_filter_split_share(q->request->topic, &group, &q->topic);
    if (lk_topic_is_authz_info(q->topic) || (lk_group_is_reserved(group) && !has_desk)) {
        explanation->reason = LK_REASON_RESERVED;
        return;
    }
    if (!enter_tree(q)) {
        explanation->reason = LK_REASON_OTHER_VALUE;
        explanation->detail = q->identity->tenant;
        return;
    }
    find_nearest_rule(q, explanation);
}

/* The verdict itself, by the same code that decides in the broker. */
static enum lk_err
decide(const struct lk_policy *policy, const struct lk_identity *identity,
       const struct lk_request *request, struct lk_verdict *verdict)
{
    uint8_t shape_room[LK_GRANT_MAX];
    uint8_t values_room[LK_VALUES_MAX];
    struct lk_grant grant;
    enum lk_err err;

    err = lk_grant_compile(policy, identity, LK_BUF_OF(shape_room), &grant.shape,
                           LK_BUF_OF(values_room), &grant.values);
    if (err == LK_OK)
        *verdict = lk_grant_check(&grant, request);
    return err;
}

/* The filter of the token's own rule that decided. */
static struct lk_span
own_filter(const struct lk_identity *identity, uint16_t rule)
{
    struct lk_permissions walk;
    struct lk_permission permission;

    lk_permissions_open(&walk, identity->permissions);
    for (uint16_t i = LK_RULE_OF_TOKEN; lk_permissions_next(&walk, &permission); i++) {
        if (i == rule)
            return permission.filter;
    }
    return (struct lk_span){NULL, 0};
}

enum lk_err
lk_grant_explain(const struct lk_policy *policy, const struct lk_identity *identity,
                 const struct lk_request *request, struct lk_explanation *explanation)
{
    struct question q = {.policy = policy, .identity = identity, .request = request};
    enum lk_err err;

    memset(explanation, 0, sizeof(*explanation));
    err = decide(policy, identity, request, &explanation->verdict);
    if (err != LK_OK)
        return err;
    if (explanation->verdict.access == LK_ACCESS_ALLOW) {
        explanation->reason = LK_REASON_ALLOWED;
        explanation->rule = explanation->verdict.rule;
        explanation->has_rule = true;
        explanation->filter = own_filter(identity, explanation->rule);
        return LK_OK;
    }
    explain_denial(&q, explanation);
    return LK_OK;
}

const char *
lk_reason_text(enum lk_reason reason)
{
    switch (reason) {
    case LK_REASON_ALLOWED:
        return "a rule allows it";
    case LK_REASON_NO_SCOPE:
        return "a rule fits, but its scope is not held";
    case LK_REASON_VOID:
        return "a rule fits, but its placeholder has no value for this client";
    case LK_REASON_OTHER_VALUE:
        return "a rule fits, but for another device, client, tenant or claim";
    case LK_REASON_OTHER_ACTION:
        return "a rule fits, but for the other direction";
    case LK_REASON_OPTION:
        return "a rule fits, but one of its options does not";
    case LK_REASON_TOO_WIDE:
        return "the filter asks for more than the rule covers";
    case LK_REASON_NO_RULE:
        return "no rule comes near";
    case LK_REASON_RESERVED:
        return "the topic or share group is reserved";
    case LK_REASON_MALFORMED:
        return "not a valid topic or filter";
    }
    return "unknown";
}
