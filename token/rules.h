/*
 * rules.h - what grants, permissions and explain.c must see alike: values, tenants, reserved
 * topics. Inside token/ only.
 */
#ifndef LATCHKEY_RULES_H
#define LATCHKEY_RULES_H

#include <latchkey/grant.h>

/** Whose topics a client's rules are about (contracts section 4). */
enum lk_tenancy {
    LK_TENANCY_NONE,    /* the tenant is not one: no rule holds */
    LK_TENANCY_DEFAULT, /* rules as they stand, and never t/... */
    LK_TENANCY_ONE,     /* every rule under t/<tenant>/ */
    LK_TENANCY_ALL      /* as they stand, and under t/<any one level>/ */
};

enum lk_tenancy lk_tenancy_of(const struct lk_identity *identity);

/** May a value fill a placeholder? */
bool lk_value_is_usable(struct lk_span value);

/** The value of a placeholder other than {children}; absent if it is void. */
struct lk_span lk_rule_value(const struct lk_policy *policy, const struct lk_level *level,
                             const struct lk_identity *identity);

/** Does every placeholder of a rule have a value? If not, `void_level` is the first without. */
bool lk_rule_has_values(const struct lk_policy *policy, const struct lk_rule *rule,
                        const struct lk_identity *identity, const struct lk_level **void_level);

static inline struct lk_span
lk_rule_scope(const struct lk_policy *policy, const struct lk_rule *rule)
{
    return lk_span_of(policy->text + rule->scope_at, rule->scope_len);
}

static inline struct lk_span
lk_level_text(const struct lk_policy *policy, const struct lk_level *level)
{
    return lk_span_of(policy->text + level->text_at, level->text_len);
}

/** `authz-info`, or a filter that names it: nobody's, under any rule (contracts section 6). */
bool lk_topic_is_authz_info(struct lk_span topic);

/** A share group of Latchkey's own. */
bool lk_group_is_reserved(struct lk_span group);

#endif
