#include <latchkey/topic.h>

#include <latchkey/limits.h>

#include "level.h"

static const uint8_t SHARE[] = {'$', 's', 'h', 'a', 'r', 'e'};

bool
lk_topic_is_valid(struct lk_span topic)
{
    return topic.len >= 1 && topic.len <= LK_TOPIC_MAX &&
           lk_text_is_plain(topic.ptr, topic.ptr, topic.ptr + topic.len);
}

size_t
lk_level_skip_odd(const uint8_t *text, size_t at, size_t len)
{
    struct lk_topic_level level = lk_level_read(text, text + at, text + len);

    return lk_text_is_plain(text, level.ptr, level.ptr + level.len) ? at + level.len : LK_NOT_PLAIN;
}

bool
lk_filter_rest_is_valid(const uint8_t *begin, const uint8_t *at, const uint8_t *end)
{
    struct lk_topic_level level;

    do {
        level = lk_level_read(begin, at, end);
        if (lk_level_is(&level, '#'))
            return level.next == NULL;
        if (!lk_filter_level_is_valid(begin, &level))
            return false;
        at = level.next;
    } while (at != NULL);
    return true;
}

static bool
is_plain_filter(struct lk_span filter)
{
    return filter.len >= 1 && filter.len <= LK_TOPIC_MAX &&
           lk_filter_rest_is_valid(filter.ptr, filter.ptr, filter.ptr + filter.len);
}

/* `$share` alone counts: it has neither group nor filter, and is refused as a bad share. */
static bool
is_shared(struct lk_span filter)
{
    return filter.len >= sizeof(SHARE) && memcmp(filter.ptr, SHARE, sizeof(SHARE)) == 0 &&
           (filter.len == sizeof(SHARE) || filter.ptr[sizeof(SHARE)] == '/');
}

bool
lk_filter_split_share(struct lk_span filter, struct lk_span *group, struct lk_span *inner)
{
    struct lk_topic_level level;
    struct lk_span rest;
    const uint8_t *end;

    *group = (struct lk_span){NULL, 0};
    *inner = filter;
    if (!is_shared(filter) || filter.len <= sizeof(SHARE) + 1)
        return false;
    end = filter.ptr + filter.len;
    level = lk_level_read(filter.ptr, filter.ptr + sizeof(SHARE) + 1, end);
    /* MQTT 5.0 section 4.8.2: a name of at least one character, without / + #. */
    if (level.len == 0 || level.next == NULL || level.next == end ||
        !lk_text_is_plain(filter.ptr, level.ptr, level.ptr + level.len))
        return false;
    rest = lk_span_of(level.next, (size_t)(end - level.next));
    if (!is_plain_filter(rest))
        return false;
    *group = lk_span_of(level.ptr, level.len);
    *inner = rest;
    return true;
}

bool
lk_filter_is_valid(struct lk_span filter)
{
    struct lk_span group, inner;

    if (is_shared(filter))
        return filter.len <= LK_TOPIC_MAX && lk_filter_split_share(filter, &group, &inner);
    return is_plain_filter(filter);
}

/*
 * The one walk behind matching and containment. A name has no wildcards, so for both it holds: `#`
 * is covered by `#` only, `+` by `+` and `#`, a literal by itself, `+` and `#`.
 */
static bool
covers(struct lk_span rule, struct lk_span asked)
{
    const uint8_t *rule_end = rule.ptr + rule.len;
    const uint8_t *asked_end = asked.ptr + asked.len;
    const uint8_t *r = rule.ptr;
    const uint8_t *a = asked.ptr;

    /* MQTT 5.0 section 4.7.2: a leading wildcard keeps off topics that begin with `$`. */
    if (asked.ptr[0] == '$' && (rule.ptr[0] == '+' || rule.ptr[0] == '#'))
        return false;
    while (r != NULL) {
        struct lk_topic_level want = lk_level_read(rule.ptr, r, rule_end);
        struct lk_topic_level have;

        if (lk_level_is(&want, '#'))
            return true;
        if (a == NULL)
            return false;
        have = lk_level_read(asked.ptr, a, asked_end);
        if (lk_level_is(&have, '#'))
            return false;
        if (!lk_level_is(&want, '+') &&
            !lk_span_equal(lk_span_of(want.ptr, want.len), lk_span_of(have.ptr, have.len)))
            return false;
        r = want.next;
        a = have.next;
    }
    return a == NULL;
}

bool
lk_topic_matches(struct lk_span filter, struct lk_span topic)
{
    struct lk_span group, inner;

    if (!lk_filter_is_valid(filter) || !lk_topic_is_valid(topic))
        return false;
    (void)lk_filter_split_share(filter, &group, &inner);
    return covers(inner, topic);
}

bool
lk_filter_covers(struct lk_span rule, struct lk_span filter)
{
    return is_plain_filter(rule) && is_plain_filter(filter) && covers(rule, filter);
}
