/*
 * Grants checked: a walk along the topic through the tree of grant_shape.h. This runs for every
 * message a broker handles, and once more for everyone it is delivered to.
 */
#include "grant_shape.h"

#include <latchkey/topic.h>

#include "rules.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NEVER_INLINE  __attribute__((noinline)) /* it would crowd the registers of its caller */
#define UNLIKELY(x)   __builtin_expect(!!(x), 0)

/* What is asked about. Behind the last level of a topic `at` is a byte behind its end, as if a
 * slash stood there. */
struct topic {
    const uint8_t *ptr; /* behind $share/<group>/ */
    size_t len;
};

ALWAYS_INLINE bool
is_at_end(struct topic topic, size_t at)
{
    return at > topic.len;
}

/* Eight bytes from there on, the first one lowest, zeros behind the end. */
ALWAYS_INLINE uint64_t
word_at(struct topic topic, size_t at)
{
    return lk_load_word(topic.ptr, topic.ptr + at, topic.ptr + topic.len);
}

/* Does a level end at `stop`, which is in the topic or at its end? */
ALWAYS_INLINE bool
level_ends(struct topic topic, size_t stop)
{
    return stop == topic.len || topic.ptr[stop] == '/';
}

/* The bytes of a text of eight or more. */
ALWAYS_INLINE bool
equals_long(const uint8_t *at, const uint8_t *text, size_t len)
{
    if (load64(at + len - 8) != load64(text + len - 8))
        return false;
    for (; len > 16; at += 8, text += 8, len -= 8)
        if (load64(at) != load64(text))
            return false;
    return load64(at) == load64(text);
}

/* Is this text at `at`, where `word` begins? */
ALWAYS_INLINE bool
has_text(struct topic topic, size_t at, uint64_t word, const uint8_t *text, size_t len)
{
    if (len > topic.len - at)
        return false;
    if (len >= 8)
        return equals_long(topic.ptr + at, text, len);
    return len == 0 || ((word ^ lk_load_le64(text)) << (64 - 8 * len)) == 0;
}

/* Where a step leads: the child, 0 for none, and where the next level begins. */
struct step {
    size_t at;
    uint16_t child;
};

/* A long name; where it ends is seen when one fits. */
static struct step
find_long(const uint8_t *shape, const uint8_t *node, const uint8_t *table, struct topic topic,
          size_t at)
{
    unsigned shift = node[NODE_LONGS], window = node[NODE_WINDOW];
    struct step step = {at, 0};

    if (topic.len - at < window + 8)
        return step;
    for (size_t i = name_start(lk_load_le64(topic.ptr + at + window), shift);;
         i = name_next(i, shift)) {
        const uint8_t *entry = table + i * LONG_SIZE;
        size_t len = load16(entry + LONG_LEN);

        step.child = load16(entry + LONG_CHILD);
        step.at = at + len + 1;
        if (step.child == 0 ||
            (has_text(topic, at, word_at(topic, at), shape + load16(entry + LONG_TEXT), len) &&
             level_ends(topic, at + len)))
            return step;
    }
}

/* The key of a level of less than eight bytes, and its end; false for a longer one. */
ALWAYS_INLINE bool
read_short(struct topic topic, size_t at, uint64_t *key, size_t *stop)
{
    uint64_t word = word_at(topic, at);
    uint64_t slashes = lk_zero_bytes(word ^ (LK_ONES * '/'));
    size_t len = topic.len - at;

    if (slashes != 0) {
        len = (size_t)__builtin_ctzll(slashes) / 8;
        word &= ((slashes & (0 - slashes)) - 1) >> 7; /* what is below the first slash */
    }
    *key = short_key(word, len);
    *stop = at + len;
    return len < 8;
}

static struct step
find_short(const uint8_t *node, const uint8_t *table, struct topic topic, size_t at)
{
    unsigned shift = node[NODE_SHORTS];
    struct step step = {at, 0};
    uint64_t key;

    if (!read_short(topic, at, &key, &step.at))
        return step;
    step.at++;
    for (size_t i = name_start(key, shift);; i = name_next(i, shift)) {
        const uint8_t *entry = table + i * SHORT_SIZE;

        step.child = load16(entry + SHORT_CHILD);
        if (step.child == 0 || load64(entry + SHORT_KEY) == key)
            return step;
    }
}

/* By name. `names`: the tables of the node. */
ALWAYS_INLINE struct step
find_any_name(const uint8_t *shape, const uint8_t *node, const uint8_t *names, struct topic topic,
              size_t at)
{
    struct step step = {at, 0};

    if (node[NODE_LONGS] != 0)
        step = find_long(shape, node, names, topic, at);
    if (step.child == 0 && node[NODE_SHORTS] != 0)
        step = find_short(node, names + table_size(node[NODE_LONGS], LONG_SIZE), topic, at);
    return step;
}

/* Is a level one of the children? Then `at` is behind it. */
static bool
find_child(const uint8_t *values, const uint8_t *entry, struct topic topic, size_t *at)
{
    const uint8_t *table = values + load16(entry + VALUE_AT);
    unsigned shift = load16(entry + VALUE_LEN);
    struct lk_topic_level level = lk_level_read(topic.ptr, topic.ptr + *at, topic.ptr + topic.len);

    for (size_t i = name_start(level.hash, shift);; i = name_next(i, shift)) {
        const uint8_t *child = table + i * LONG_SIZE;

        if (load16(child + LONG_CHILD) == 0)
            return false;
        if (load16(child + LONG_LEN) == level.len &&
            memcmp(values + load16(child + LONG_TEXT), level.ptr, level.len) == 0) {
            *at += level.len + 1;
            return true;
        }
    }
}

/* Is the level at `at` the value of a slot? Then `at` is behind it. */
ALWAYS_INLINE bool
value_matches(const uint8_t *values, size_t slot, struct topic topic, size_t *at)
{
    const uint8_t *entry = values + slot * VALUE_SIZE;
    size_t len = load16(entry + VALUE_LEN);

    if (!has_text(topic, *at, word_at(topic, *at), values + load16(entry + VALUE_AT), len) ||
        !level_ends(topic, *at + len))
        return false;
    *at += len + 1;
    return true;
}

/* The length of the grant's prefix, if the topic begins with it; else 0. */
ALWAYS_INLINE size_t
prefix_match(const uint8_t *values, struct topic topic)
{
    const uint8_t *text = values + load16(values + VALUE_AT);
    size_t len = load16(values + VALUE_LEN) >> 1;

    if (len < 8 || len > topic.len)
        return len <= topic.len && memcmp(text, topic.ptr, len) == 0 ? len : 0;
    return equals_long(topic.ptr, text, len) ? len : 0;
}

/* What a rule has to permit. */
ALWAYS_INLINE uint8_t
needs_of(const struct lk_request *request)
{
    if (request->action == LK_ACTION_PUBLISH)
        return (uint8_t)(PERMITS_PUBLISH | (request->retain ? PERMITS_RETAIN : 0));
    return PERMITS_SUBSCRIBE;
}

/* Does a rule permit it? A delivery has no QoS here: the broker asks with the publisher's, and the
 * subscription was held to its rule's. */
ALWAYS_INLINE bool
rule_fits(const uint8_t *rule, const struct lk_request *request, uint8_t needs)
{
    if ((rule[RULE_PERMITS] & needs) != needs)
        return false;
    if (request->action == LK_ACTION_PUBLISH)
        return request->qos <= rule[RULE_QOS] && request->size <= load32(rule + RULE_MAX);
    return request->action == LK_ACTION_RECEIVE ||
           (request->action == LK_ACTION_SUBSCRIBE && request->qos <= rule[RULE_QOS]);
}

/* The walk that can do everything. */

struct walk {
    const uint8_t *shape, *values;
    struct topic topic;
    const struct lk_request *request;
    uint8_t needs;  /* PERMITS_... */
    bool is_filter; /* the topic is one */
    bool is_valid;  /* all of the topic is known to be */
    struct lk_verdict verdict;
};

/*
 * What a `#` swallows has to be looked at, once; what led to it equals text known to be valid, or
 * was looked at by the `+` that let it through.
 */
static bool
rest_is_valid(struct walk *w, size_t at)
{
    const uint8_t *end = w->topic.ptr + w->topic.len;

    if (!is_at_end(w->topic, at) && !w->is_valid)
        w->is_valid = w->is_filter ? lk_filter_rest_is_valid(w->topic.ptr, w->topic.ptr + at, end)
                                   : lk_text_is_plain(w->topic.ptr, w->topic.ptr + at, end);
    return is_at_end(w->topic, at) || w->is_valid;
}

/* Take a rule that fits. Is there nothing better to find? */
static bool
take_rule(struct walk *w, const uint8_t *rule)
{
    uint32_t rate = w->request->action == LK_ACTION_PUBLISH ? load32(rule + RULE_RATE) : 0;

    if (rate == 0 || w->verdict.access == LK_ACCESS_DENY || rate > w->verdict.rate_max)
        w->verdict = (struct lk_verdict){LK_ACCESS_ALLOW, load16(rule + RULE_INDEX), rate};
    return rate == 0;
}

/* Try the rules that end at a node; `at` is what a `#` would swallow. Is the walk over? */
static bool
try_rules(struct walk *w, uint16_t list, size_t at)
{
    const uint8_t *rule = w->shape + list + 2;

    for (unsigned left = load16(w->shape + list); left > 0; left--, rule += RULE_SIZE)
        if (rule_fits(rule, w->request, w->needs) && (!rest_is_valid(w, at) || take_rule(w, rule)))
            return true;
    return false;
}

/* What ends at a node. Is the walk over? */
ALWAYS_INLINE bool
try_node(struct walk *w, const uint8_t *node, size_t at, bool no_wildcards)
{
    uint16_t list = load16(node + NODE_HASH);

    if (list != 0 && !no_wildcards && try_rules(w, list, at))
        return true;
    list = load16(node + NODE_EXACT);
    return list != 0 && is_at_end(w->topic, at) && try_rules(w, list, at);
}

static bool
slot_matches(const struct walk *w, uint16_t slot, size_t *at)
{
    const uint8_t *entry = w->values + (size_t)(slot & SLOT_NUMBER) * VALUE_SIZE;

    return slot & SLOT_IS_TABLE ? find_child(w->values, entry, w->topic, at)
                                : value_matches(w->values, slot, w->topic, at);
}

/* Does a `+` let the level at `at` through? */
static bool
plus_matches(const struct walk *w, size_t *at)
{
    size_t stop;

    /* Of wildcards only a `+` as the whole level, and only where a filter is asked about. */
    if (w->is_filter && *at < w->topic.len && w->topic.ptr[*at] == '+')
        stop = level_ends(w->topic, *at + 1) ? *at + 1 : LK_NOT_PLAIN;
    else
        stop = lk_level_skip_plain(w->topic.ptr, *at, w->topic.len);
    if (stop == LK_NOT_PLAIN)
        return false;
    *at = stop + 1;
    return true;
}

/*
 * Walk on from a node; each way on is a call of its own, which goes no deeper than a rule has
 * levels. For a filter the same walk decides containment: `+` and `#` equal no literal and no
 * value, `+` is let through by `+`, and `#` by nothing but `#`. `no_wildcards`: a leading wildcard
 * does not match a topic that begins with `$`.
 *
 * @return true if there is nothing better to find.
 */
static bool
walk_from(struct walk *w, uint16_t start, size_t at, bool no_wildcards)
{
    const uint8_t *node = w->shape + start, *slot = node + NODE_SIZE;
    size_t slots = node[NODE_SLOTS];
    uint16_t plus = load16(node + NODE_PLUS);
    struct step step;
    size_t next;

    if (try_node(w, node, at, no_wildcards))
        return true;
    if (node[NODE_KIND] == LK_NODE_LEAF || is_at_end(w->topic, at))
        return false;
    step = find_any_name(w->shape, node, slot + slots * SLOT_SIZE, w->topic, at);
    if (step.child != 0 && walk_from(w, step.child, step.at, false))
        return true;
    for (; slots > 0; slots--, slot += SLOT_SIZE) {
        next = at;
        if (slot_matches(w, load16(slot), &next) && walk_from(w, load16(slot + 2), next, false))
            return true;
    }
    next = at;
    return plus != 0 && !no_wildcards && plus_matches(w, &next) && walk_from(w, plus, next, false);
}

/* Is the topic in the tenants' tree, and may this client be there? Then `at` is behind what is
 * the tenant's. */
static bool
enter_tenant(const struct walk *w, size_t *at)
{
    enum lk_tenancy tenancy = (enum lk_tenancy)w->shape[SHAPE_TENANCY];
    bool in_tree = w->topic.len >= 2 && w->topic.ptr[0] == 't' && w->topic.ptr[1] == '/';

    *at = 0;
    if (w->shape[SHAPE_FLAGS] & FLAG_PREFIX) {
        *at = prefix_match(w->values, w->topic);
        return *at > 0 && (!in_tree || tenancy == LK_TENANCY_ONE);
    }
    if (!in_tree)
        return tenancy == LK_TENANCY_DEFAULT || tenancy == LK_TENANCY_ALL;
    *at = 2;
    if (tenancy == LK_TENANCY_ONE)
        return value_matches(w->values, SLOT_PREFIX, w->topic, at);
    return tenancy == LK_TENANCY_ALL && plus_matches(w, at);
}

/* Take `$share/<group>/` off a subscription. */
static bool
open_share(struct walk *w)
{
    struct lk_span topic = lk_span_of(w->topic.ptr, w->topic.len), group;

    if (!w->is_filter || !lk_filter_split_share(topic, &group, &topic))
        return true;
    w->topic = (struct topic){topic.ptr, topic.len};
    w->needs |= PERMITS_SHARE;
    return !lk_group_is_reserved(group) || (w->shape[SHAPE_FLAGS] & FLAG_DESK);
}

static NEVER_INLINE struct lk_verdict
check_all(const struct lk_grant *grant, const struct lk_request *request)
{
    struct walk w = {.shape = grant->shape.ptr,
                     .values = grant->values.ptr,
                     .topic = {request->topic.ptr, request->topic.len},
                     .request = request,
                     .needs = needs_of(request),
                     .is_filter = request->action == LK_ACTION_SUBSCRIBE};
    size_t at;

    if (grant->shape.len == 0 || w.topic.len == 0 || w.topic.len > LK_TOPIC_MAX)
        return w.verdict;
    if (w.topic.ptr[0] == '$' && !open_share(&w))
        return w.verdict;
    if (w.topic.ptr[0] == 'a' && lk_topic_is_authz_info(lk_span_of(w.topic.ptr, w.topic.len)))
        return w.verdict;
    if (enter_tenant(&w, &at))
        (void)walk_from(&w, load16(w.shape + SHAPE_ROOT), at, at == 0 && w.topic.ptr[0] == '$');
    return w.verdict;
}

/*
 * The walk along a topic name where one way leads on by name or by +, as almost everywhere. It
 * remembers nothing, calls nothing and decides nothing that is not plain: what is not goes to
 * check_all, from the beginning.
 */

/* May a walk begin at the root? Not into t/..., not with $..., and not at authz-info. */
ALWAYS_INLINE bool
is_plain_root(const uint8_t *shape, uint8_t first)
{
    return first != 't' && first != '$' && first != 'a' &&
           shape[SHAPE_TENANCY] == (uint8_t)LK_TENANCY_DEFAULT;
}

/* Where a level of plain ASCII ends; LK_NOT_PLAIN for any other. */
ALWAYS_INLINE size_t
skip_ascii(struct topic topic, size_t at)
{
    for (;; at += 8) {
        uint64_t word = word_at(topic, at);
        uint64_t found = lk_odd_bytes(word, topic.len - at);

        if (found != 0) {
            at += (size_t)__builtin_ctzll(found) / 8;
            return topic.ptr[at] == '/' ? at : LK_NOT_PLAIN;
        }
        if (topic.len - at <= 8)
            return topic.len;
    }
}

/* Is the rest of a topic plain ASCII? */
ALWAYS_INLINE bool
rest_is_ascii(struct topic topic, size_t at)
{
    for (; at < topic.len; at += 8)
        if (lk_not_plain_ascii(word_at(topic, at), topic.len - at) != 0)
            return false;
    return true;
}

/* The first rule of a leaf, if it is for a # and allows without more ado. */
ALWAYS_INLINE const uint8_t *
leaf_rule(const uint8_t *shape, const uint8_t *node, const struct lk_request *request)
{
    size_t list = load16(node + NODE_HASH);
    const uint8_t *rule = shape + list + 2;

    return list != 0 && rule_fits(rule, request, needs_of(request)) && load32(rule + RULE_RATE) == 0
               ? rule
               : NULL;
}

ALWAYS_INLINE struct lk_verdict
allow(const uint8_t *rule)
{
    return (struct lk_verdict){LK_ACCESS_ALLOW, load16(rule + RULE_INDEX), 0};
}

/* A long name, if the search need not go beyond its first entry. */
ALWAYS_INLINE struct step
find_long_at_once(const uint8_t *shape, const uint8_t *node, struct topic topic, size_t at)
{
    unsigned window = node[NODE_WINDOW];
    const uint8_t *entry;
    size_t len;

    if (node[NODE_LONGS] == 0 || topic.len - at < window + 8)
        return (struct step){at, 0};
    entry = node + NODE_SIZE +
            name_start(lk_load_le64(topic.ptr + at + window), node[NODE_LONGS]) * LONG_SIZE;
    len = load16(entry + LONG_LEN);
    if (len == 0 || len > topic.len - at ||
        !equals_long(topic.ptr + at, shape + load16(entry + LONG_TEXT), len) ||
        !level_ends(topic, at + len))
        return (struct step){at, 0};
    return (struct step){at + len + 1, load16(entry + LONG_CHILD)};
}

/* A short one, likewise. */
ALWAYS_INLINE struct step
find_short_at_once(const uint8_t *node, struct topic topic, size_t at)
{
    const uint8_t *entry = node + NODE_SIZE + table_size(node[NODE_LONGS], LONG_SIZE);
    uint64_t key;
    size_t stop;

    if (node[NODE_SHORTS] == 0 || !read_short(topic, at, &key, &stop))
        return (struct step){at, 0};
    entry += name_start(key, node[NODE_SHORTS]) * SHORT_SIZE;
    return (struct step){stop + 1,
                         load64(entry + SHORT_KEY) == key ? load16(entry + SHORT_CHILD) : 0};
}

/* What a `#` swallows. */
static NEVER_INLINE struct lk_verdict
check_rest(const struct lk_grant *grant, const struct lk_request *request, const uint8_t *rule,
           size_t at)
{
    const struct topic topic = {request->topic.ptr, request->topic.len};

    return rest_is_ascii(topic, at) ? allow(rule) : check_all(grant, request);
}

static NEVER_INLINE struct lk_verdict
check_plain(const struct lk_grant *grant, const struct lk_request *request)
{
    const struct topic topic = {request->topic.ptr, request->topic.len};
    const uint8_t *shape = grant->shape.ptr, *node, *rule;
    size_t at = 0;

    if (shape[SHAPE_FLAGS] & FLAG_PREFIX)
        at = prefix_match(grant->values.ptr, topic);
    else if (topic.len == 0 || !is_plain_root(shape, topic.ptr[0]))
        return check_all(grant, request);
    node = shape + load16(shape + SHAPE_ROOT);
    while (node[NODE_KIND] != LK_NODE_LEAF) {
        struct step step = {at, 0};

        if (is_at_end(topic, at))
            return check_all(grant, request);
        if (node[NODE_KIND] == LK_NODE_NAMES) {
            step = find_long_at_once(shape, node, topic, at);
            if (step.child == 0)
                step = find_short_at_once(node, topic, at);
        } else if (node[NODE_KIND] == LK_NODE_PLUS) {
            step.at = skip_ascii(topic, at);
            step.child = step.at++ != LK_NOT_PLAIN ? load16(node + NODE_PLUS) : 0;
        }
        if (step.child == 0)
            return check_all(grant, request);
        node = shape + step.child;
        at = step.at;
    }
    rule = leaf_rule(shape, node, request);
    return rule != NULL ? check_rest(grant, request, rule, at) : check_all(grant, request);
}

/* Not under the grant's prefix: it may be under $share/<group>/. */
static NEVER_INLINE struct lk_verdict
check_other(const struct lk_grant *grant, const struct lk_request *request)
{
    static const struct lk_verdict deny = {LK_ACCESS_DENY, 0, 0};

    return request->action == LK_ACTION_SUBSCRIBE ? check_all(grant, request) : deny;
}

/*
 * A device that uses a topic of its own is what brokers see most: a prefix, a name, and a rule that
 * has what is asked. Anything else is passed on.
 */
struct lk_verdict
lk_grant_check(const struct lk_grant *grant, const struct lk_request *request)
{
    static const struct lk_verdict deny = {LK_ACCESS_DENY, 0, 0};
    const struct topic topic = {request->topic.ptr, request->topic.len};
    const uint8_t *shape = grant->shape.ptr, *values = grant->values.ptr, *node, *rule;
    struct step step;
    size_t at;

    if (UNLIKELY(grant->shape.len == 0 || topic.len > LK_TOPIC_MAX))
        return deny;
    if (!(shape[SHAPE_FLAGS] & FLAG_PREFIX))
        return request->action == LK_ACTION_SUBSCRIBE ? check_all(grant, request)
                                                      : check_plain(grant, request);
    at = load16(values + VALUE_LEN);
    if (UNLIKELY(at & PREFIX_IS_ODD))
        return check_all(grant, request);
    at >>= 1;
    if (at > topic.len || !equals_long(topic.ptr, values + load16(values + VALUE_AT), at))
        return check_other(grant, request);
    node = shape + load16(shape + SHAPE_ROOT);
    if (node[NODE_KIND] != LK_NODE_NAMES)
        return check_plain(grant, request);
    step = find_long_at_once(shape, node, topic, at);
    node = shape + step.child;
    if (step.child == 0 || node[NODE_KIND] != LK_NODE_LEAF)
        return check_plain(grant, request);
    rule = leaf_rule(shape, node, request);
    if (UNLIKELY(rule == NULL))
        return check_all(grant, request);
    return is_at_end(topic, step.at) ? allow(rule) : check_rest(grant, request, rule, step.at);
}
