/*
 * Three lines: rule, filter, topic. Matching, containment and validity must agree with each other,
 * and with a second opinion that walks levels one by one.
 */
#include "fuzz.h"

#include <latchkey/limits.h>
#include <latchkey/topic.h>

static struct lk_span
take_line(struct lk_span *rest)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
    struct lk_span line = *rest;

    if (end == NULL) {
        *rest = (struct lk_span){NULL, 0};
        return line;
    }
    line.len = (size_t)(end - line.ptr);
    *rest = lk_span_of(end + 1, rest->len - line.len - 1);
    return line;
}

/* The second opinion: MQTT 5.0 section 4.7, level by level. */

static struct lk_span
take_level(struct lk_span *rest)
{
    struct lk_span level = *rest;

    level.len = 0;
    while (level.len < rest->len && rest->ptr[level.len] != '/')
        level.len++;
    /* behind the last level there is nothing, not even an empty one */
    if (level.len == rest->len)
        *rest = (struct lk_span){NULL, 0};
    else
        *rest = lk_span_of(rest->ptr + level.len + 1, rest->len - level.len - 1);
    return level;
}

static bool
ref_is_valid(struct lk_span text, bool is_filter)
{
    struct lk_span rest = text, level;

    if (text.len == 0 || text.len > LK_TOPIC_MAX || !lk_utf8_is_valid(text) ||
        memchr(text.ptr, 0, text.len) != NULL)
        return false;
    while (rest.ptr != NULL) {
        level = take_level(&rest);
        if (level.len == 0)
            continue;
        if (memchr(level.ptr, '#', level.len) != NULL &&
            (!is_filter || level.len > 1 || rest.ptr != NULL))
            return false;
        if (memchr(level.ptr, '+', level.len) != NULL && (!is_filter || level.len > 1))
            return false;
    }
    return true;
}

/* `asked` is a topic or a filter: what is said of one level is said of all it stands for. */
static bool
ref_covers(struct lk_span rule, struct lk_span asked)
{
    bool is_special = asked.ptr[0] == '$';

    if (is_special && (rule.ptr[0] == '+' || rule.ptr[0] == '#'))
        return false;
    for (;;) {
        struct lk_span want = take_level(&rule), have = take_level(&asked);

        if (lk_span_is(want, "#"))
            return true;
        if (lk_span_is(have, "#") || (!lk_span_is(want, "+") && !lk_span_equal(want, have)))
            return false;
        if (asked.ptr == NULL) /* "a/#" has its parent "a" too */
            return rule.ptr == NULL || lk_span_is(rule, "#");
        if (rule.ptr == NULL)
            return false;
    }
}

/* `$share/<group>/<filter>` (MQTT 5.0 section 4.8.2); `$share` alone is a bad one. */
static bool
ref_is_shared(struct lk_span filter, bool *is_valid, struct lk_span *inner)
{
    struct lk_span rest = filter, share = take_level(&rest), group;

    *inner = filter;
    *is_valid = ref_is_valid(filter, true);
    if (!lk_span_is(share, "$share"))
        return false;
    group = rest.ptr != NULL ? take_level(&rest) : rest;
    *inner = rest;
    *is_valid = *is_valid && group.len > 0 && memchr(group.ptr, '+', group.len) == NULL &&
                memchr(group.ptr, '#', group.len) == NULL && rest.len > 0;
    return true;
}

static void
second_opinion(struct lk_span rule, struct lk_span filter, struct lk_span topic)
{
    bool rule_is_valid, filter_is_valid, is_shared, rule_is_shared;
    struct lk_span inner;

    rule_is_shared = ref_is_shared(rule, &rule_is_valid, &inner);
    is_shared = ref_is_shared(filter, &filter_is_valid, &inner);
    PROMISE(lk_topic_is_valid(topic) == ref_is_valid(topic, false));
    PROMISE(lk_filter_is_valid(filter) == filter_is_valid);
    if (filter_is_valid && ref_is_valid(topic, false))
        PROMISE(lk_topic_matches(filter, topic) == ref_covers(inner, topic));
    else
        PROMISE(!lk_topic_matches(filter, topic));
    if (is_shared || rule_is_shared)
        return; /* containment is asked of what is inside */
    if (rule_is_valid && filter_is_valid)
        PROMISE(lk_filter_covers(rule, filter) == ref_covers(rule, filter));
    else
        PROMISE(!lk_filter_covers(rule, filter));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_span rest = lk_span_of(data, size);
    struct lk_span rule = take_line(&rest), filter = take_line(&rest), topic = rest;
    struct lk_span group, inner;
    bool matches = lk_topic_matches(filter, topic);
    bool is_shared = lk_filter_split_share(filter, &group, &inner);

    second_opinion(rule, filter, topic);
    PROMISE(!matches || (lk_filter_is_valid(filter) && lk_topic_is_valid(topic)));
    PROMISE(!lk_topic_is_valid(topic) || lk_utf8_is_valid(topic));
    PROMISE(!is_shared || (group.len > 0 && inner.len > 0 && lk_filter_is_valid(filter)));
    PROMISE(!is_shared || inner.ptr + inner.len == filter.ptr + filter.len);
    if (matches && lk_filter_covers(rule, inner))
        PROMISE(lk_topic_matches(rule, topic));
    if (!is_shared && lk_topic_is_valid(topic) && lk_filter_is_valid(filter))
        PROMISE(matches == lk_filter_covers(filter, topic));
    /* a filter covers itself */
    if (!is_shared && filter.len > 0 && filter.len <= LK_TOPIC_MAX && lk_filter_is_valid(filter))
        PROMISE(lk_filter_covers(filter, filter));
    return 0;
}
