/* Three lines: rule, filter, topic. Matching, containment and validity must agree. */
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_span rest = lk_span_of(data, size);
    struct lk_span rule = take_line(&rest), filter = take_line(&rest), topic = rest;
    struct lk_span group, inner;
    bool matches = lk_topic_matches(filter, topic);
    bool is_shared = lk_filter_split_share(filter, &group, &inner);

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
