/*
 * A shape is a tree over the levels of the rules a client holds. Rules that begin alike share their
 * path; a node finds its literal children by a hash of the level, so a check costs the same however
 * many rules there are: it follows the topic, not the rules.
 *
 * Layout, in native byte order (neither half ever leaves the machine), any alignment:
 *
 *   shape   tenancy u8, flags u8, root u16
 *   node    rules that end here u16, rules that end here with # u16, child for + u16,
 *           placeholders u8, log2 of table size u8 (0: no table);
 *           then placeholders: slot u16, child u16; then the table
 *   table   open addressing, entries: child u16 (0: free), hash u16, text u16, length u16
 *   rules   count u16, then entries: rule u16, flags u8, qos u8, size u32, rate u32
 *   values  one entry per slot: at u16, length u16, then text; for {children} a table, and its log2
 *
 * "Rules", "child" and "text" are offsets from the start of their half. Slots are numbered densely,
 * in an order the held rules alone decide, so shapes of clients that differ in values are equal.
 * The tree is under the tenant's prefix: lk_grant_check takes it off first.
 */
#include <latchkey/grant.h>

#include <string.h>

#include <latchkey/scope.h>
#include <latchkey/topic.h>

#include "level.h"
#include "rules.h"

#define SHAPE_TENANCY 0
#define SHAPE_FLAGS   1
#define SHAPE_ROOT    2
#define SHAPE_SIZE    4

#define FLAG_DESK 0x01 /* may join share groups of Latchkey's own */

#define NODE_EXACT 0
#define NODE_HASH  2
#define NODE_PLUS  4
#define NODE_SLOTS 6
#define NODE_BITS  7
#define NODE_SIZE  8
#define SLOT_SIZE  4

#define ENTRY_CHILD 0
#define ENTRY_HASH  2
#define ENTRY_TEXT  4
#define ENTRY_LEN   6
#define ENTRY_SIZE  8

#define RULE_INDEX 0
#define RULE_FLAGS 2
#define RULE_QOS   3
#define RULE_MAX   4
#define RULE_RATE  8
#define RULE_SIZE  12

#define RULE_PUBLISH   0x10
#define RULE_SUBSCRIBE 0x20

#define VALUE_SIZE 4

#define SLOT_IS_TABLE 0x8000 /* {children} has a table where others have a text */
#define SLOT_NUMBER   0x00ff

/* {device} {client} {tenant} {type} {children}, then the names of {claim.NAME}. */
#define SLOT_CHILDREN (LK_LEVEL_CHILDREN - LK_LEVEL_DEVICE)
#define SLOT_CLAIM    (LK_LEVEL_CLAIM - LK_LEVEL_DEVICE)
#define SLOT_TENANT   (LK_LEVEL_TENANT - LK_LEVEL_DEVICE)
#define SLOTS_MAX     (SLOT_CLAIM + LK_NAMED_MAX)

_Static_assert(LK_GRANT_MAX <= UINT16_MAX && LK_VALUES_MAX <= UINT16_MAX, "offsets are 16 bits");

static inline uint16_t
load16(const uint8_t *p)
{
    uint16_t value;

    memcpy(&value, p, sizeof(value));
    return value;
}

static inline uint32_t
load32(const uint8_t *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof(value));
    return value;
}

/* Compiling. */

struct out {
    uint8_t *ptr;
    size_t cap;
    size_t len;
    bool is_full; /* sticks; nothing is written any more */
};

struct build {
    const struct lk_policy *policy;
    const struct lk_identity *identity;
    uint16_t rules[LK_POLICY_RULES_MAX]; /* held and not void, in the order of their levels */
    size_t rule_count;
    uint8_t slot[SLOTS_MAX]; /* dense number of a used slot */
    bool slot_used[SLOTS_MAX];
    size_t slot_count;
    struct out shape;
    struct out values;
};

static struct out
out_open(struct lk_buf room, size_t max)
{
    return (struct out){room.ptr, room.cap < max ? room.cap : max, 0, false};
}

/* Room for `len` zeroed bytes; its offset, or 0 when there is none. */
static uint16_t
out_take(struct out *out, size_t len)
{
    size_t at = out->len;

    if (out->is_full || len > out->cap - out->len) {
        out->is_full = true;
        return 0;
    }
    if (len > 0)
        memset(out->ptr + at, 0, len);
    out->len += len;
    return (uint16_t)at;
}

static uint16_t
out_text(struct out *out, struct lk_span text)
{
    uint16_t at = out_take(out, text.len);

    if (!out->is_full && text.len > 0)
        memcpy(out->ptr + at, text.ptr, text.len);
    return at;
}

static void
put8(struct out *out, size_t at, uint8_t value)
{
    if (!out->is_full)
        out->ptr[at] = value;
}

static void
put16(struct out *out, size_t at, uint16_t value)
{
    if (!out->is_full)
        memcpy(out->ptr + at, &value, sizeof(value));
}

static void
put32(struct out *out, size_t at, uint32_t value)
{
    if (!out->is_full)
        memcpy(out->ptr + at, &value, sizeof(value));
}

/* At most half full, so a search always meets a free entry, and soon. */
static uint8_t
table_bits(size_t entries)
{
    uint8_t bits = 1;

    while (((size_t)1 << bits) < 2 * entries)
        bits++;
    return bits;
}

static uint64_t
text_hash(struct lk_span text)
{
    return lk_level_read(text.ptr, text.ptr, text.ptr + text.len).hash;
}

static uint16_t
hash_tag(uint64_t hash)
{
    return (uint16_t)(hash >> 48);
}

static size_t
hash_start(uint64_t hash)
{
    return (size_t)(hash >> 32);
}

/* Put a text into the table at `table`, unless it is there. `child` is not 0. */
static void
table_put(struct out *out, size_t table, uint8_t bits, struct lk_span text, uint16_t child)
{
    uint64_t hash = text_hash(text);
    size_t mask = ((size_t)1 << bits) - 1;
    size_t i = hash_start(hash) & mask;
    uint8_t *entry;

    if (out->is_full)
        return;
    for (;; i = (i + 1) & mask) {
        entry = out->ptr + table + i * ENTRY_SIZE;
        if (load16(entry + ENTRY_CHILD) == 0)
            break;
        if (load16(entry + ENTRY_LEN) == text.len &&
            memcmp(out->ptr + load16(entry + ENTRY_TEXT), text.ptr, text.len) == 0)
            return;
    }
    put16(out, table + i * ENTRY_SIZE + ENTRY_TEXT, out_text(out, text));
    put16(out, table + i * ENTRY_SIZE + ENTRY_LEN, (uint16_t)text.len);
    put16(out, table + i * ENTRY_SIZE + ENTRY_HASH, hash_tag(hash));
    put16(out, table + i * ENTRY_SIZE + ENTRY_CHILD, child);
}

static size_t
slot_of(const struct lk_level *level)
{
    return (size_t)(level->kind - LK_LEVEL_DEVICE) +
           (level->kind == LK_LEVEL_CLAIM ? level->name : 0u);
}

static bool
is_slot(const struct lk_level *level)
{
    return level->kind >= LK_LEVEL_DEVICE;
}

/* Any order will do that brings equal levels together; it must not depend on values. */
static int
compare_levels(const struct lk_policy *policy, const struct lk_level *a, const struct lk_level *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->kind == LK_LEVEL_CLAIM && a->name != b->name)
        return a->name < b->name ? -1 : 1;
    if (a->kind != LK_LEVEL_TEXT)
        return 0;
    if (a->text_len != b->text_len)
        return a->text_len < b->text_len ? -1 : 1;
    return memcmp(policy->text + a->text_at, policy->text + b->text_at, a->text_len);
}

static bool
rule_stands_before(const struct lk_policy *policy, uint16_t a, uint16_t b)
{
    const struct lk_rule *rule_a = &policy->rules[a];
    const struct lk_rule *rule_b = &policy->rules[b];

    for (size_t i = 0; i < rule_a->level_count && i < rule_b->level_count; i++) {
        int order = compare_levels(policy, &rule_a->level[i], &rule_b->level[i]);

        if (order != 0)
            return order < 0;
    }
    if (rule_a->level_count != rule_b->level_count)
        return rule_a->level_count < rule_b->level_count;
    return a < b;
}

/* Shell's sort with Ciura's gaps: short, in place, and quick for a few hundred. */
static void
sort_rules(struct build *b)
{
    static const size_t gaps[] = {132, 57, 23, 10, 4, 1};

    for (size_t g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++) {
        size_t gap = gaps[g];

        for (size_t i = gap; i < b->rule_count; i++) {
            uint16_t rule = b->rules[i];
            size_t to = i;

            for (; to >= gap && rule_stands_before(b->policy, rule, b->rules[to - gap]); to -= gap)
                b->rules[to] = b->rules[to - gap];
            b->rules[to] = rule;
        }
    }
}

static void
collect_rules(struct build *b)
{
    const struct lk_policy *policy = b->policy;
    struct lk_span last_scope = {NULL, 0};
    bool is_held = false;

    for (uint32_t i = 0; i < policy->rule_count; i++) {
        const struct lk_rule *rule = &policy->rules[i];
        struct lk_span scope = lk_rule_scope(policy, rule);
        const struct lk_level *void_level;

        /* Rules of one scope mostly stand together, and the parser shares their text. */
        if (scope.ptr != last_scope.ptr)
            is_held = lk_scope_list_covers(b->identity->scope, scope);
        last_scope = scope;
        if (is_held && lk_rule_has_values(policy, rule, b->identity, &void_level))
            b->rules[b->rule_count++] = (uint16_t)i;
    }
    sort_rules(b);
}

static void
number_slots(struct build *b, enum lk_tenancy tenancy)
{
    b->slot_used[SLOT_TENANT] = tenancy == LK_TENANCY_ONE;
    for (size_t i = 0; i < b->rule_count; i++) {
        const struct lk_rule *rule = &b->policy->rules[b->rules[i]];

        for (size_t k = 0; k < rule->level_count; k++) {
            if (is_slot(&rule->level[k]))
                b->slot_used[slot_of(&rule->level[k])] = true;
        }
    }
    /* The tenant's number is fixed: lk_grant_check looks for it before it looks at any rule. */
    if (b->slot_used[SLOT_TENANT])
        b->slot[SLOT_TENANT] = (uint8_t)b->slot_count++;
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        if (b->slot_used[i] && i != SLOT_TENANT)
            b->slot[i] = (uint8_t)b->slot_count++;
    }
}

/* Does rule `a` permit all that rule `c`, which has the same filter, permits? */
static bool
rule_permits_all_of(const struct lk_rule *a, const struct lk_rule *c)
{
    bool as_publish =
        !c->publish || (a->publish && !(a->flags & ~c->flags & LK_RULE_RETAIN_NO) &&
                        a->qos_max >= c->qos_max && a->size_max >= c->size_max &&
                        (a->rate_max == 0 || (c->rate_max != 0 && a->rate_max >= c->rate_max)));
    bool as_subscribe =
        !c->subscribe ||
        (a->subscribe && !(a->flags & ~c->flags & LK_RULE_SHARE_NO) && a->qos_max >= c->qos_max);

    return as_publish && as_subscribe;
}

/* Of rules with one filter, those that say nothing new are left out: 64 scopes for the same topic
 * must not make 64 comparisons. Of two that say the same, the first in the file stays. */
static bool
rule_says_nothing_new(const struct build *b, size_t first, size_t end, size_t i)
{
    const struct lk_rule *rule = &b->policy->rules[b->rules[i]];

    for (size_t k = first; k < end; k++) {
        const struct lk_rule *other = &b->policy->rules[b->rules[k]];

        if (k != i && rule_permits_all_of(other, rule) &&
            (k < i || !rule_permits_all_of(rule, other)))
            return true;
    }
    return false;
}

static uint16_t
emit_rules(struct build *b, size_t first, size_t end)
{
    struct out *out = &b->shape;
    uint16_t list, count = 0;

    if (first == end)
        return 0;
    list = out_take(out, 2);
    for (size_t i = first; i < end; i++) {
        const struct lk_rule *rule = &b->policy->rules[b->rules[i]];
        uint16_t at;

        if (rule_says_nothing_new(b, first, end, i))
            continue;
        at = out_take(out, RULE_SIZE);
        put16(out, at + RULE_INDEX, b->rules[i]);
        put8(out, at + RULE_FLAGS,
             (uint8_t)(rule->flags | (rule->publish ? RULE_PUBLISH : 0) |
                       (rule->subscribe ? RULE_SUBSCRIBE : 0)));
        put8(out, at + RULE_QOS, rule->qos_max);
        put32(out, at + RULE_MAX, rule->size_max);
        put32(out, at + RULE_RATE, rule->rate_max);
        count++;
    }
    put16(out, list, count);
    return list;
}

/* The rules from `first` on that have the same level at `depth`. */
static size_t
run_end(const struct build *b, size_t first, size_t end, size_t depth)
{
    const struct lk_level *level = &b->policy->rules[b->rules[first]].level[depth];
    size_t i = first + 1;

    while (i < end &&
           compare_levels(b->policy, level, &b->policy->rules[b->rules[i]].level[depth]) == 0)
        i++;
    return i;
}

static size_t
count_runs(const struct build *b, size_t first, size_t end, size_t depth, bool of_slots)
{
    size_t count = 0;

    while (first < end) {
        const struct lk_level *level = &b->policy->rules[b->rules[first]].level[depth];

        count += of_slots ? is_slot(level) : level->kind == LK_LEVEL_TEXT;
        first = run_end(b, first, end, depth);
    }
    return count;
}

/* Rules [first, end) have the same levels up to `depth`, at most LK_POLICY_LEVELS_MAX. */
static uint16_t
emit_node(struct build *b, size_t first, size_t end, size_t depth)
{
    struct out *out = &b->shape;
    size_t exact_end = first;
    size_t texts, slots, table;
    uint16_t node, slot_at;
    uint8_t bits;

    while (exact_end < end && b->policy->rules[b->rules[exact_end]].level_count == depth)
        exact_end++;
    texts = count_runs(b, exact_end, end, depth, false);
    slots = count_runs(b, exact_end, end, depth, true);
    bits = texts > 0 ? table_bits(texts) : 0;
    node = out_take(out,
                    NODE_SIZE + slots * SLOT_SIZE + (texts > 0 ? ((size_t)ENTRY_SIZE << bits) : 0));
    slot_at = (uint16_t)(node + NODE_SIZE);
    table = slot_at + slots * SLOT_SIZE;
    put8(out, node + NODE_SLOTS, (uint8_t)slots);
    put8(out, node + NODE_BITS, bits);
    put16(out, node + NODE_EXACT, emit_rules(b, first, exact_end));
    for (size_t at = exact_end, next; at < end && !out->is_full; at = next) {
        const struct lk_level *level = &b->policy->rules[b->rules[at]].level[depth];

        next = run_end(b, at, end, depth);
        if (level->kind == LK_LEVEL_HASH) {
            put16(out, node + NODE_HASH, emit_rules(b, at, next));
        } else if (level->kind == LK_LEVEL_PLUS) {
            put16(out, node + NODE_PLUS, emit_node(b, at, next, depth + 1));
        } else if (level->kind == LK_LEVEL_TEXT) {
            table_put(out, table, bits, lk_level_text(b->policy, level),
                      emit_node(b, at, next, depth + 1));
        } else {
            put16(out, slot_at,
                  (uint16_t)(b->slot[slot_of(level)] |
                             (level->kind == LK_LEVEL_CHILDREN ? SLOT_IS_TABLE : 0)));
            put16(out, slot_at + 2u, emit_node(b, at, next, depth + 1));
            slot_at = (uint16_t)(slot_at + SLOT_SIZE);
        }
    }
    return node;
}

static void
emit_children(struct build *b, size_t entry)
{
    struct out *out = &b->values;
    const struct lk_identity *identity = b->identity;
    uint8_t bits = table_bits(identity->children_count);
    uint16_t table = out_take(out, (size_t)ENTRY_SIZE << bits);

    put16(out, entry, table);
    put16(out, entry + 2, bits);
    for (size_t i = 0; i < identity->children_count; i++) {
        if (lk_value_is_usable(identity->children[i]))
            table_put(out, table, bits, identity->children[i], 1);
    }
}

static struct lk_span
slot_value(const struct build *b, size_t slot)
{
    struct lk_level level = {.kind = (uint8_t)(LK_LEVEL_DEVICE + slot)};

    if (slot >= SLOT_CLAIM) {
        level.kind = LK_LEVEL_CLAIM;
        level.name = (uint8_t)(slot - SLOT_CLAIM);
    }
    return lk_rule_value(b->policy, &level, b->identity);
}

static void
emit_values(struct build *b)
{
    struct out *out = &b->values;

    (void)out_take(out, b->slot_count * VALUE_SIZE);
    for (size_t slot = 0; slot < SLOTS_MAX; slot++) {
        size_t entry = (size_t)b->slot[slot] * VALUE_SIZE;
        struct lk_span value;

        if (!b->slot_used[slot])
            continue;
        if (slot == SLOT_CHILDREN) {
            emit_children(b, entry);
            continue;
        }
        value = slot_value(b, slot);
        put16(out, entry, out_text(out, value));
        put16(out, entry + 2, (uint16_t)value.len);
    }
}

static void
emit_shape(struct build *b, enum lk_tenancy tenancy)
{
    struct out *out = &b->shape;

    (void)out_take(out, SHAPE_SIZE);
    put8(out, SHAPE_TENANCY, (uint8_t)tenancy);
    if (lk_scope_list_covers(b->identity->scope, LK_SPAN("desk:use")))
        put8(out, SHAPE_FLAGS, FLAG_DESK);
    put16(out, SHAPE_ROOT, emit_node(b, 0, b->rule_count, 0));
}

static enum lk_err
full_error(const struct out *out, size_t max)
{
    if (!out->is_full)
        return LK_OK;
    return out->cap < max ? LK_ERR_NO_SPACE : LK_ERR_LIMIT;
}

enum lk_err
lk_grant_compile(const struct lk_policy *policy, const struct lk_identity *identity,
                 struct lk_buf shape_room, struct lk_span *shape, struct lk_buf values_room,
                 struct lk_span *values)
{
    enum lk_tenancy tenancy = lk_tenancy_of(identity);
    struct build b = {.policy = policy, .identity = identity};
    enum lk_err err;

    *shape = *values = (struct lk_span){NULL, 0};
    if (identity->children_count > LK_CHILDREN_MAX || identity->named_count > LK_NAMED_MAX ||
        lk_scope_check(identity->scope) == LK_ERR_LIMIT)
        return LK_ERR_LIMIT;
    b.shape = out_open(shape_room, LK_GRANT_MAX);
    b.values = out_open(values_room, LK_VALUES_MAX);
    if (tenancy != LK_TENANCY_NONE)
        collect_rules(&b);
    number_slots(&b, tenancy);
    emit_shape(&b, tenancy);
    emit_values(&b);
    err = full_error(&b.shape, LK_GRANT_MAX);
    if (err == LK_OK)
        err = full_error(&b.values, LK_VALUES_MAX);
    if (err != LK_OK)
        return err;
    *shape = lk_span_of(b.shape.ptr, b.shape.len);
    *values = lk_span_of(b.values.ptr, b.values.len);
    return LK_OK;
}

/* Checking. */

#define NOTHING_LEFT UINT32_MAX

/* A node leads on to one literal, its placeholders and `+`; a depth-first walk leaves all of these
 * but one behind on each level. */
#define BRANCHES_MAX (1 + SLOTS_MAX + 1)
#define PENDING_MAX  (LK_POLICY_LEVELS_MAX * (BRANCHES_MAX - 1) + 1)

struct walk {
    const uint8_t *shape, *values;
    const uint8_t *begin, *end; /* of the topic; behind the tenant's prefix and $share/<group>/ */
    const struct lk_request *request;
    uint8_t direction; /* RULE_PUBLISH or RULE_SUBSCRIBE */
    uint8_t qos;
    bool is_filter, is_shared;
    bool is_valid; /* all of the topic is known to be */
    struct lk_verdict verdict;
    size_t pending_count;
    struct {
        uint16_t node;
        uint32_t at; /* offset of the next level in the topic, or NOTHING_LEFT */
    } pending[PENDING_MAX];
};

static inline void
follow(struct walk *w, uint16_t node, const uint8_t *at)
{
    w->pending[w->pending_count].node = node;
    w->pending[w->pending_count].at = at != NULL ? (uint32_t)(at - w->begin) : NOTHING_LEFT;
    w->pending_count++;
}

static inline bool
rule_fits(const struct walk *w, const uint8_t *rule)
{
    uint8_t flags = rule[RULE_FLAGS];

    if (!(flags & w->direction) || w->qos > rule[RULE_QOS])
        return false;
    if (w->direction == RULE_PUBLISH)
        return w->request->size <= load32(rule + RULE_MAX) &&
               !(w->request->retain && (flags & LK_RULE_RETAIN_NO));
    return !(w->is_shared && (flags & LK_RULE_SHARE_NO));
}

/* Take a rule that fits. Is there nothing better to find? */
static inline bool
take_rule(struct walk *w, const uint8_t *rule)
{
    uint32_t rate = w->direction == RULE_PUBLISH ? load32(rule + RULE_RATE) : 0;

    if (w->verdict.access == LK_ACCESS_DENY || rate == 0 || rate > w->verdict.rate_max) {
        w->verdict.access = LK_ACCESS_ALLOW;
        w->verdict.rule = load16(rule + RULE_INDEX);
        w->verdict.rate_max = rate;
    }
    return rate == 0;
}

/*
 * What a `#` swallows has to be looked at, once; what led to it equals text known to be valid, or
 * was looked at by the `+` that let it through.
 */
static inline bool
rest_is_valid(struct walk *w, uint32_t at)
{
    if (at != NOTHING_LEFT && !w->is_valid)
        w->is_valid = w->is_filter ? lk_filter_rest_is_valid(w->begin, w->begin + at, w->end)
                                   : lk_text_is_plain(w->begin, w->begin + at, w->end);
    return at == NOTHING_LEFT || w->is_valid;
}

/* Try the rules that end at a node; `at` is what a `#` would swallow. Is the walk over? */
static inline bool
try_rules(struct walk *w, uint16_t list, uint32_t at)
{
    const uint8_t *rule = w->shape + list + 2;

    for (uint16_t left = load16(w->shape + list); left > 0; left--, rule += RULE_SIZE) {
        if (!rule_fits(w, rule))
            continue;
        if (!rest_is_valid(w, at))
            return true;
        if (take_rule(w, rule))
            return true;
    }
    return false;
}

/* The child for a level, 0 if there is none. */
static inline uint16_t
table_find(const uint8_t *half, size_t table, unsigned bits, const struct lk_topic_level *level)
{
    size_t mask = ((size_t)1 << bits) - 1;

    for (size_t i = hash_start(level->hash) & mask;; i = (i + 1) & mask) {
        const uint8_t *entry = half + table + i * ENTRY_SIZE;
        uint16_t child = load16(entry + ENTRY_CHILD);

        if (child == 0)
            return 0;
        if (load16(entry + ENTRY_HASH) == hash_tag(level->hash) &&
            load16(entry + ENTRY_LEN) == level->len &&
            memcmp(half + load16(entry + ENTRY_TEXT), level->ptr, level->len) == 0)
            return child;
    }
}

static inline bool
slot_matches(const struct walk *w, uint16_t slot, const struct lk_topic_level *level)
{
    const uint8_t *entry = w->values + (size_t)(slot & SLOT_NUMBER) * VALUE_SIZE;

    if (slot & SLOT_IS_TABLE)
        return table_find(w->values, load16(entry), load16(entry + 2), level) != 0;
    return load16(entry + 2) == level->len &&
           memcmp(w->values + load16(entry), level->ptr, level->len) == 0;
}

/* Push all nodes a level leads to; what is pushed last is tried first. */
static inline void
follow_level(struct walk *w, const uint8_t *node, const struct lk_topic_level *level,
             bool skip_wildcards)
{
    uint16_t plus = load16(node + NODE_PLUS);
    uint8_t slots = node[NODE_SLOTS];
    const uint8_t *slot = node + NODE_SIZE;

    if (plus != 0 && !skip_wildcards &&
        (w->is_filter ? lk_filter_level_is_valid(w->begin, level)
                      : lk_text_is_plain(w->begin, level->ptr, level->ptr + level->len)))
        follow(w, plus, level->next);
    for (; slots > 0; slots--, slot += SLOT_SIZE) {
        if (slot_matches(w, load16(slot), level))
            follow(w, load16(slot + 2), level->next);
    }
    if (node[NODE_BITS] != 0) {
        uint16_t child = table_find(w->shape, (size_t)(slot - w->shape), node[NODE_BITS], level);

        if (child != 0)
            follow(w, child, level->next);
    }
}

/*
 * Walk the tree from its root. For a filter the same walk decides containment: `+` and `#` equal no
 * literal and no value, `+` is let through by `+`, and `#` by nothing but `#`.
 */
static void
walk_tree(struct walk *w, const uint8_t *at, bool keep_wildcards_off)
{
    bool skip_wildcards = keep_wildcards_off;

    follow(w, load16(w->shape + SHAPE_ROOT), at);
    while (w->pending_count > 0) {
        uint32_t from = w->pending[--w->pending_count].at;
        const uint8_t *node = w->shape + w->pending[w->pending_count].node;
        uint16_t hash = load16(node + NODE_HASH);
        uint16_t exact = load16(node + NODE_EXACT);

        if (hash != 0 && !skip_wildcards && try_rules(w, hash, from))
            return;
        if (from != NOTHING_LEFT) {
            struct lk_topic_level level = lk_level_read(w->begin, w->begin + from, w->end);

            follow_level(w, node, &level, skip_wildcards);
        } else if (exact != 0 && try_rules(w, exact, NOTHING_LEFT)) {
            return;
        }
        skip_wildcards = false;
    }
}

/* Is the topic in the tenants' tree, and may this client be there? Then `at` is behind the prefix.
 */
static bool
enter_tenant(struct walk *w, const uint8_t **at)
{
    enum lk_tenancy tenancy = (enum lk_tenancy)w->shape[SHAPE_TENANCY];
    bool in_tree = w->end - w->begin >= 2 && w->begin[0] == 't' && w->begin[1] == '/';
    struct lk_topic_level tenant;

    *at = w->begin;
    if (!in_tree)
        return tenancy == LK_TENANCY_DEFAULT || tenancy == LK_TENANCY_ALL;
    if (tenancy != LK_TENANCY_ONE && tenancy != LK_TENANCY_ALL)
        return false;
    tenant = lk_level_read(w->begin, w->begin + 2, w->end);
    *at = tenant.next;
    if (tenancy == LK_TENANCY_ONE)
        return slot_matches(w, 0, &tenant);
    return w->is_filter ? lk_filter_level_is_valid(w->begin, &tenant)
                        : lk_text_is_plain(w->begin, tenant.ptr, tenant.ptr + tenant.len);
}

/* Take `$share/<group>/` off a subscription. */
static bool
open_share(struct walk *w, struct lk_span *topic)
{
    struct lk_span group;

    w->is_shared = lk_filter_split_share(*topic, &group, topic);
    return !w->is_shared || !lk_group_is_reserved(group) || (w->shape[SHAPE_FLAGS] & FLAG_DESK);
}

static struct lk_verdict
check_topic(struct walk *w, struct lk_span topic)
{
    static const struct lk_verdict deny = {LK_ACCESS_DENY, 0, 0};
    const uint8_t *at;

    if (w->is_filter && topic.ptr[0] == '$' && !open_share(w, &topic))
        return deny;
    if (topic.len >= 10 && topic.ptr[0] == 'a' && lk_topic_is_authz_info(topic))
        return deny;
    w->begin = topic.ptr;
    w->end = topic.ptr + topic.len;
    if (!enter_tenant(w, &at))
        return deny;
    walk_tree(w, at, topic.ptr[0] == '$');
    return w->verdict;
}

struct lk_verdict
lk_grant_check(const struct lk_grant *grant, const struct lk_request *request)
{
    static const struct lk_verdict deny = {LK_ACCESS_DENY, 0, 0};
    struct walk w;

    if (grant->shape.len == 0 || request->topic.len == 0 || request->topic.len > LK_TOPIC_MAX)
        return deny;
    w.shape = grant->shape.ptr;
    w.values = grant->values.ptr;
    w.request = request;
    w.is_shared = w.is_valid = false;
    w.verdict = deny;
    w.pending_count = 0;
    switch (request->action) {
    case LK_ACTION_PUBLISH:
        w.direction = RULE_PUBLISH;
        w.qos = request->qos;
        w.is_filter = false;
        return check_topic(&w, request->topic);
    case LK_ACTION_SUBSCRIBE:
        w.direction = RULE_SUBSCRIBE;
        w.qos = request->qos;
        w.is_filter = true;
        return check_topic(&w, request->topic);
    case LK_ACTION_RECEIVE:
        /* The broker asks with the QoS of the publisher, not of the delivery; the subscription
         * was held to its rule's QoS. */
        w.direction = RULE_SUBSCRIBE;
        w.qos = 0;
        w.is_filter = false;
        return check_topic(&w, request->topic);
    }
    return deny;
}
