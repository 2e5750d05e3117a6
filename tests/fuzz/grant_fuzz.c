/*
 * The first line is the client: subject, client id, type, tenant, scope, child and claim n, split
 * by tabs. The second is the request: p, s or r; QoS; R for retain or -; the topic. The rest is the
 * scope map. Check and explanation must agree, and a yes must have its reasons.
 */
#include "fuzz.h"

#include <latchkey/grant.h>
#include <latchkey/scope.h>
#include <latchkey/topic.h>

static struct lk_policy policy;
static uint8_t shape_room[LK_GRANT_MAX], values_room[LK_VALUES_MAX];

static struct lk_span
take_until(struct lk_span *rest, uint8_t separator)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->ptr, separator, rest->len) : NULL;
    struct lk_span taken = *rest;

    if (end == NULL) {
        *rest = (struct lk_span){NULL, 0};
        return taken;
    }
    taken.len = (size_t)(end - taken.ptr);
    *rest = lk_span_of(end + 1, rest->len - taken.len - 1);
    return taken;
}

static struct lk_identity
read_identity(struct lk_span line)
{
    struct lk_identity identity = {0};

    identity.subject = take_until(&line, '\t');
    identity.client_id = take_until(&line, '\t');
    identity.type = take_until(&line, '\t');
    identity.tenant = take_until(&line, '\t');
    if (identity.tenant.len == 0)
        identity.tenant.ptr = NULL;
    identity.scope = take_until(&line, '\t');
    identity.children[0] = take_until(&line, '\t');
    identity.children_count = 1;
    identity.named[0].name = LK_SPAN("n");
    identity.named[0].value = line;
    identity.named_count = 1;
    return identity;
}

static struct lk_request
read_request(struct lk_span line)
{
    struct lk_request request = {0};

    if (line.len < 3)
        return request;
    request.action = line.ptr[0] == 'p'   ? LK_ACTION_PUBLISH
                     : line.ptr[0] == 's' ? LK_ACTION_SUBSCRIBE
                                          : LK_ACTION_RECEIVE;
    request.qos = (uint8_t)(line.ptr[1] & 3);
    request.retain = line.ptr[2] == 'R';
    request.size = 100;
    request.topic = lk_span_of(line.ptr + 3, line.len - 3);
    return request;
}

static void
check_allowed(const struct lk_identity *identity, const struct lk_grant *grant,
              const struct lk_request *request, struct lk_verdict verdict)
{
    const struct lk_rule *rule = &policy.rules[verdict.rule];
    struct lk_request delivery = {.action = LK_ACTION_RECEIVE};
    struct lk_span group;

    PROMISE(verdict.rule < policy.rule_count);
    PROMISE(lk_scope_list_covers(identity->scope,
                                 lk_span_of(policy.text + rule->scope_at, rule->scope_len)));
    PROMISE(!lk_span_is(request->topic, "authz-info"));
    if (request->action != LK_ACTION_SUBSCRIBE) {
        PROMISE(lk_topic_is_valid(request->topic));
        return;
    }
    PROMISE(lk_filter_is_valid(request->topic));
    /* Who may subscribe to one topic may have it delivered. */
    (void)lk_filter_split_share(request->topic, &group, &delivery.topic);
    if (lk_topic_is_valid(delivery.topic))
        PROMISE(lk_grant_check(grant, &delivery).access == LK_ACCESS_ALLOW);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_span rest = lk_span_of(data, size);
    struct lk_identity identity = read_identity(take_until(&rest, '\n'));
    struct lk_request request = read_request(take_until(&rest, '\n'));
    struct lk_explanation e;
    struct lk_verdict verdict;
    struct lk_grant grant;

    if (lk_policy_parse(rest, &policy, NULL) != LK_OK)
        return 0;
    if (lk_grant_compile(&policy, &identity, LK_BUF_OF(shape_room), &grant.shape,
                         LK_BUF_OF(values_room), &grant.values) != LK_OK)
        return 0;
    verdict = lk_grant_check(&grant, &request);
    PROMISE(lk_grant_explain(&policy, &identity, &request, &e) == LK_OK);
    PROMISE(e.verdict.access == verdict.access && e.verdict.rule == verdict.rule);
    PROMISE((e.reason == LK_REASON_ALLOWED) == (verdict.access == LK_ACCESS_ALLOW));
    if (verdict.access == LK_ACCESS_ALLOW)
        check_allowed(&identity, &grant, &request, verdict);
    return 0;
}
