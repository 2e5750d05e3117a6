/* What is accepted is a list of valid filters; what is refused leaves nothing and says where. */
#include "fuzz.h"

#include <latchkey/policy.h>
#include <latchkey/scope.h>
#include <latchkey/topic.h>

static struct lk_policy policy;

/* The rule's filter with `+` for placeholders. */
static size_t
write_filter(const struct lk_rule *rule, uint8_t *out)
{
    size_t len = 0;

    for (size_t i = 0; i < rule->level_count; i++) {
        const struct lk_level *level = &rule->level[i];

        if (i > 0)
            out[len++] = '/';
        if (level->kind == LK_LEVEL_TEXT) {
            memcpy(out + len, policy.text + level->text_at, level->text_len);
            len += level->text_len;
        } else {
            out[len++] = level->kind == LK_LEVEL_HASH ? '#' : '+';
        }
    }
    return len;
}

static void
check_rule(const struct lk_rule *rule)
{
    static uint8_t filter[LK_POLICY_FILE_MAX];
    struct lk_span scope = lk_span_of(policy.text + rule->scope_at, rule->scope_len);

    PROMISE(rule->publish || rule->subscribe);
    PROMISE(rule->qos_max <= 2 && rule->line > 0);
    PROMISE(rule->level_count >= 1 && rule->level_count <= LK_POLICY_LEVELS_MAX);
    PROMISE(scope.len > 0 && memchr(scope.ptr, ' ', scope.len) == NULL);
    PROMISE(scope.len > LK_SCOPE_MAX || lk_scope_check(scope) == LK_OK);
    PROMISE(lk_filter_is_valid(lk_span_of(filter, write_filter(rule, filter))));
    for (size_t i = 0; i < rule->level_count; i++)
        PROMISE(rule->level[i].kind != LK_LEVEL_CLAIM || rule->level[i].name < policy.name_count);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct lk_policy nothing;
    struct lk_policy_error error;
    enum lk_err err = lk_policy_parse(lk_span_of(data, size), &policy, &error);

    if (err != LK_OK) {
        PROMISE(err == LK_ERR_SYNTAX || err == LK_ERR_LIMIT);
        PROMISE(error.line > 0 && error.column > 0 && error.expected[0] != '\0');
        PROMISE(memcmp(&policy, &nothing, sizeof(policy)) == 0);
        return 0;
    }
    PROMISE((policy.token_rules & ~(uint32_t)(LK_TOKEN_RULES_ACL | LK_TOKEN_RULES_PUBL_SUBS)) == 0);
    for (uint32_t i = 0; i < policy.rule_count; i++)
        check_rule(&policy.rules[i]);
    return 0;
}
