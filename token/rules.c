#include "rules.h"

#include <string.h>

#include <latchkey/id.h>
#include <latchkey/scope.h>

enum lk_tenancy
lk_tenancy_of(const struct lk_identity *identity)
{
    struct lk_span tenant = identity->tenant;

    if (tenant.ptr == NULL)
        return LK_TENANCY_DEFAULT;
    if (lk_span_is(tenant, "*")) {
        bool spans_all = lk_scope_list_covers(identity->scope, LK_SPAN("desk:use")) ||
                         lk_scope_list_covers(identity->scope, LK_SPAN("bridge:use"));

        return spans_all ? LK_TENANCY_ALL : LK_TENANCY_NONE;
    }
    return lk_tenant_is_valid(tenant) ? LK_TENANCY_ONE : LK_TENANCY_NONE;
}

bool
lk_value_is_usable(struct lk_span value)
{
    if (value.len == 0 || value.len > LK_TOPIC_MAX || value.ptr[0] == '$')
        return false;
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.ptr[i];

        if (c < 0x20 || c == 0x7f || c == '/' || c == '+' || c == '#')
            return false;
        /* U+0080 to U+009F are control characters too. */
        if (c == 0xc2 && i + 1 < value.len && value.ptr[i + 1] < 0xa0)
            return false;
    }
    return lk_utf8_is_valid(value);
}

static struct lk_span
claim_value(const struct lk_policy *policy, uint8_t name, const struct lk_identity *identity)
{
    struct lk_span wanted =
        lk_span_of(policy->text + policy->names[name].at, policy->names[name].len);

    for (size_t i = 0; i < identity->named_count; i++) {
        if (lk_span_equal(identity->named[i].name, wanted))
            return identity->named[i].value;
    }
    return (struct lk_span){NULL, 0};
}

struct lk_span
lk_rule_value(const struct lk_policy *policy, const struct lk_level *level,
              const struct lk_identity *identity)
{
    struct lk_span value = {NULL, 0};

    switch ((enum lk_level_kind)level->kind) {
    case LK_LEVEL_DEVICE:
        if (identity->type.len > 0)
            value = identity->subject;
        break;
    case LK_LEVEL_CLIENT:
        value = identity->client_id;
        break;
    case LK_LEVEL_TENANT:
        if (lk_tenancy_of(identity) == LK_TENANCY_ONE)
            value = identity->tenant;
        break;
    case LK_LEVEL_TYPE:
        value = identity->type;
        break;
    case LK_LEVEL_CLAIM:
        value = claim_value(policy, level->name, identity);
        break;
    case LK_LEVEL_TEXT:
    case LK_LEVEL_PLUS:
    case LK_LEVEL_HASH:
    case LK_LEVEL_CHILDREN:
        break;
    }
    return lk_value_is_usable(value) ? value : (struct lk_span){NULL, 0};
}

static bool
has_usable_child(const struct lk_identity *identity)
{
    for (size_t i = 0; i < identity->children_count; i++) {
        if (lk_value_is_usable(identity->children[i]))
            return true;
    }
    return false;
}

static bool
is_placeholder(const struct lk_level *level)
{
    return level->kind != LK_LEVEL_TEXT && level->kind != LK_LEVEL_PLUS &&
           level->kind != LK_LEVEL_HASH;
}

bool
lk_rule_has_values(const struct lk_policy *policy, const struct lk_rule *rule,
                   const struct lk_identity *identity, const struct lk_level **void_level)
{
    for (size_t i = 0; i < rule->level_count; i++) {
        const struct lk_level *level = &rule->level[i];
        bool has_value = level->kind == LK_LEVEL_CHILDREN
                             ? has_usable_child(identity)
                             : lk_rule_value(policy, level, identity).len > 0;

        if (is_placeholder(level) && !has_value) {
            *void_level = level;
            return false;
        }
    }
    return true;
}

bool
lk_topic_is_authz_info(struct lk_span topic)
{
    /* The filter authz-info/# matches its parent, authz-info. */
    return lk_span_is(topic, "authz-info") || lk_span_is(topic, "authz-info/#");
}

bool
lk_group_is_reserved(struct lk_span group)
{
    return group.len >= 8 && memcmp(group.ptr, "latchkey", 8) == 0;
}
