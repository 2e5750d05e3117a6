/* Grants compiled: from the scope map and an identity to the two halves of grant_shape.h. */
#include "grant_shape.h"

#include <latchkey/scope.h>

#include "permissions.h"
#include "rules.h"

#define RULES_MAX      (LK_POLICY_RULES_MAX + LK_PERMISSIONS_MAX)
#define TABLE_MAX      1024 /* entries; see table_shift */
#define SAME_START_MAX 2  /* names whose search begins alike; with more, another window is tried */
#define WINDOW_TRIES   32 /* windows that are tried: a login must not take long */

/* {device} {client} {tenant} {type} {children}, then the names of {claim.NAME}. */
#define SLOT_CHILDREN (LK_LEVEL_CHILDREN - LK_LEVEL_DEVICE)
#define SLOT_CLAIM    (LK_LEVEL_CLAIM - LK_LEVEL_DEVICE)
#define SLOTS_MAX     (SLOT_CLAIM + LK_NAMED_MAX)

struct out {
    uint8_t *ptr;
    size_t cap;
    size_t len;
    bool is_full; /* sticks; nothing is written any more */
};

/* A rule and the text its levels point into: the scope map's, or the token's own. */
struct held {
    const struct lk_rule *rule;
    const uint8_t *text;
    uint16_t index; /* what a verdict names it by */
};

struct build {
    const struct lk_policy *policy;
    const struct lk_identity *identity;
    struct held rules[RULES_MAX]; /* held and not void, in the order of their levels */
    size_t rule_count;
    struct lk_rule own[LK_PERMISSIONS_MAX]; /* the token's, as rules */
    struct lk_span texts[RULES_MAX];        /* names of the node that is being written */
    size_t prefix_levels;                   /* that all rules begin with */
    bool has_prefix;
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

static void
put64(struct out *out, size_t at, uint64_t value)
{
    if (!out->is_full)
        memcpy(out->ptr + at, &value, sizeof(value));
}

/* 64 - log2 of the size of a table; 0 for no entries. At most half of it is filled, so a search
 * always meets a free entry, and soon. */
static uint8_t
table_shift(size_t entries)
{
    uint8_t bits = 1;

    while (((size_t)1 << bits) < 2 * entries)
        bits++;
    return entries > 0 ? (uint8_t)(64 - bits) : 0;
}

/* Put a text into the table at `table`, unless it is there. `child` is not 0. */
static void
put_long(struct out *out, size_t table, uint8_t shift, uint64_t key, struct lk_span text,
         uint16_t child)
{
    size_t at;

    if (out->is_full)
        return;
    for (size_t i = name_start(key, shift);; i = name_next(i, shift)) {
        const uint8_t *entry;

        at = table + i * LONG_SIZE;
        entry = out->ptr + at;
        if (load16(entry + LONG_CHILD) == 0)
            break;
        if (load16(entry + LONG_LEN) == text.len &&
            memcmp(out->ptr + load16(entry + LONG_TEXT), text.ptr, text.len) == 0)
            return;
    }
    put16(out, at + LONG_TEXT, out_text(out, text));
    put16(out, at + LONG_LEN, (uint16_t)text.len);
    put16(out, at + LONG_CHILD, child);
}

static void
put_short(struct out *out, size_t table, uint8_t shift, uint64_t key, uint16_t child)
{
    size_t i = name_start(key, shift);

    if (out->is_full)
        return;
    while (load16(out->ptr + table + i * SHORT_SIZE + SHORT_CHILD) != 0)
        i = name_next(i, shift);
    put64(out, table + i * SHORT_SIZE + SHORT_KEY, key);
    put16(out, table + i * SHORT_SIZE + SHORT_CHILD, child);
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

static const struct lk_level *
level_of(const struct build *b, size_t rule, size_t depth)
{
    return &b->rules[rule].rule->level[depth];
}

static struct lk_span
text_of(const struct build *b, size_t rule, size_t depth)
{
    const struct lk_level *level = level_of(b, rule, depth);

    return lk_span_of(b->rules[rule].text + level->text_at, level->text_len);
}

/* Any order will do that brings equal levels together; it must not depend on values. */
static int
compare_levels(const struct held *rule_a, const struct held *rule_b, size_t depth)
{
    const struct lk_level *a = &rule_a->rule->level[depth], *b = &rule_b->rule->level[depth];

    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->kind == LK_LEVEL_CLAIM && a->name != b->name)
        return a->name < b->name ? -1 : 1;
    if (a->kind != LK_LEVEL_TEXT)
        return 0;
    if (a->text_len != b->text_len)
        return a->text_len < b->text_len ? -1 : 1;
    return memcmp(rule_a->text + a->text_at, rule_b->text + b->text_at, a->text_len);
}

static bool
rule_stands_before(const struct held *a, const struct held *b)
{
    for (size_t i = 0; i < a->rule->level_count && i < b->rule->level_count; i++) {
        int order = compare_levels(a, b, i);

        if (order != 0)
            return order < 0;
    }
    if (a->rule->level_count != b->rule->level_count)
        return a->rule->level_count < b->rule->level_count;
    return a->index < b->index;
}

/* Shell's sort with Ciura's gaps: short, in place, and quick for a few hundred. */
static void
sort_rules(struct build *b)
{
    static const size_t gaps[] = {132, 57, 23, 10, 4, 1};

    for (size_t g = 0; g < sizeof(gaps) / sizeof(gaps[0]); g++) {
        size_t gap = gaps[g];

        for (size_t i = gap; i < b->rule_count; i++) {
            struct held rule = b->rules[i];
            size_t to = i;

            for (; to >= gap && rule_stands_before(&rule, &b->rules[to - gap]); to -= gap)
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
            b->rules[b->rule_count++] = (struct held){rule, policy->text, (uint16_t)i};
    }
}

/* What the token lists itself: rules like others, but for where they come from. */
static enum lk_err
collect_permissions(struct build *b)
{
    const uint8_t *base = b->identity->permissions.ptr;
    struct lk_permissions walk;
    struct lk_permission permission;

    lk_permissions_open(&walk, b->identity->permissions);
    for (uint16_t i = 0; lk_permissions_next(&walk, &permission); i++) {
        if (!lk_permission_counts(b->policy, &permission))
            continue;
        lk_permission_rule(&permission, base, &b->own[i]);
        b->rules[b->rule_count++] =
            (struct held){&b->own[i], base, (uint16_t)(LK_RULE_OF_TOKEN | i)};
    }
    return lk_permissions_close(&walk);
}

/* Do all rules go on behind a level of this depth, with more than a `#`? That would match without
 * anything behind the level, and so without the slash. */
static bool
all_go_on(const struct build *b, size_t depth)
{
    for (size_t i = 0; i < b->rule_count; i++)
        if (b->rules[i].rule->level_count <= depth || level_of(b, i, depth)->kind == LK_LEVEL_HASH)
            return false;
    return true;
}

/* Is this one name or placeholder for all rules? */
static bool
all_have_one_value(const struct build *b, size_t depth)
{
    const struct lk_level *level = level_of(b, 0, depth);

    if (level->kind != LK_LEVEL_TEXT && (!is_slot(level) || level->kind == LK_LEVEL_CHILDREN))
        return false;
    /* They are sorted: if the first and the last are alike, all are. */
    return compare_levels(&b->rules[0], &b->rules[b->rule_count - 1], depth) == 0;
}

static void
choose_prefix(struct build *b, enum lk_tenancy tenancy)
{
    size_t depth = 0;

    if (b->rule_count == 0 || !all_go_on(b, 0) ||
        (tenancy != LK_TENANCY_DEFAULT && tenancy != LK_TENANCY_ONE))
        return;
    while (all_have_one_value(b, depth) && all_go_on(b, depth + 1))
        depth++;
    b->prefix_levels = depth;
    b->has_prefix = depth > 0 || tenancy == LK_TENANCY_ONE;
}

static void
number_slots(struct build *b, enum lk_tenancy tenancy)
{
    for (size_t i = 0; i < b->rule_count; i++) {
        for (size_t k = b->prefix_levels; k < b->rules[i].rule->level_count; k++) {
            if (is_slot(level_of(b, i, k)))
                b->slot_used[slot_of(level_of(b, i, k))] = true;
        }
    }
    /* The numbers of the prefix, or else of the tenant, are fixed: the check looks at these before
     * it looks at any rule. */
    b->slot_count = b->has_prefix || tenancy == LK_TENANCY_ONE ? 1 : 0;
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        if (b->slot_used[i])
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
    const struct lk_rule *rule = b->rules[i].rule;

    for (size_t k = first; k < end; k++) {
        const struct lk_rule *other = b->rules[k].rule;

        if (k != i && rule_permits_all_of(other, rule) &&
            (k < i || !rule_permits_all_of(rule, other)))
            return true;
    }
    return false;
}

static uint8_t
rule_permits(const struct lk_rule *rule)
{
    unsigned permits = 0;

    if (rule->publish)
        permits |= PERMITS_PUBLISH | (rule->flags & LK_RULE_RETAIN_NO ? 0 : PERMITS_RETAIN);
    if (rule->subscribe)
        permits |= PERMITS_SUBSCRIBE | (rule->flags & LK_RULE_SHARE_NO ? 0 : PERMITS_SHARE);
    return (uint8_t)permits;
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
        const struct lk_rule *rule = b->rules[i].rule;
        uint16_t at;

        if (rule_says_nothing_new(b, first, end, i))
            continue;
        at = out_take(out, RULE_SIZE);
        put16(out, at + RULE_INDEX, b->rules[i].index);
        put8(out, at + RULE_PERMITS, rule_permits(rule));
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
    size_t i = first + 1;

    while (i < end && compare_levels(&b->rules[first], &b->rules[i], depth) == 0)
        i++;
    return i;
}

/* What a node has besides rules. */
struct census {
    size_t slots, shorts, longs;
    uint8_t window;
};

/* Up to eight bytes of a text from there on, as a check loads them. */
static uint64_t
word_of(struct lk_span text, size_t at)
{
    return lk_load_word(text.ptr, text.ptr + at, text.ptr + text.len);
}

/* Does no name begin its search where more than a few others do? */
static bool
window_is_good(const struct build *b, size_t longs, size_t at)
{
    uint8_t starts[TABLE_MAX] = {0};

    for (size_t i = 0; i < longs; i++)
        if (++starts[name_start(word_of(b->texts[i], at), table_shift(longs))] > SAME_START_MAX)
            return false;
    return true;
}

/* Eight bytes that every long name has and that tell them apart. Later ones first: names that are
 * alike mostly begin alike. Names that no window tells apart are compared one after the other. */
static uint8_t
choose_window(const struct build *b, size_t longs)
{
    size_t last = UINT8_MAX;

    for (size_t i = 0; i < longs; i++)
        last = b->texts[i].len - 8 < last ? b->texts[i].len - 8 : last;
    for (size_t tries = 0; tries < WINDOW_TRIES && tries <= last; tries++)
        if (window_is_good(b, longs, last - tries))
            return (uint8_t)(last - tries);
    return 0;
}

/* b->texts becomes the long names. */
static struct census
count_children(struct build *b, size_t first, size_t end, size_t depth)
{
    struct census c = {0, 0, 0, 0};

    while (first < end) {
        const struct lk_level *level = level_of(b, first, depth);

        if (level->kind == LK_LEVEL_TEXT && level->text_len >= 8)
            b->texts[c.longs++] = text_of(b, first, depth);
        c.shorts += level->kind == LK_LEVEL_TEXT && level->text_len < 8;
        c.slots += is_slot(level);
        first = run_end(b, first, end, depth);
    }
    if (c.longs > 0)
        c.window = choose_window(b, c.longs);
    return c;
}

static uint16_t emit_node(struct build *b, size_t first, size_t end, size_t depth);

static void
put_slot(struct build *b, size_t at, const struct lk_level *level, uint16_t child)
{
    uint16_t is_table = level->kind == LK_LEVEL_CHILDREN ? SLOT_IS_TABLE : 0;

    put16(&b->shape, at, (uint16_t)(b->slot[slot_of(level)] | is_table));
    put16(&b->shape, at + 2, child);
}

static void
put_name(struct build *b, size_t node, struct lk_span text, uint16_t child)
{
    struct out *out = &b->shape;
    size_t table = node + NODE_SIZE + (size_t)out->ptr[node + NODE_SLOTS] * SLOT_SIZE;
    uint8_t longs = out->ptr[node + NODE_LONGS];

    if (text.len >= 8)
        put_long(out, table, longs, word_of(text, out->ptr[node + NODE_WINDOW]), text, child);
    else
        put_short(out, table + table_size(longs, LONG_SIZE), out->ptr[node + NODE_SHORTS],
                  short_key(word_of(text, 0), text.len), child);
}

/* The children of a node: a run of rules with equal levels each. */
static void
emit_runs(struct build *b, size_t first, size_t end, size_t depth, size_t node)
{
    size_t slot_at = node + NODE_SIZE;

    for (size_t at = first, next; at < end && !b->shape.is_full; at = next) {
        const struct lk_level *level = level_of(b, at, depth);
        uint16_t child;

        next = run_end(b, at, end, depth);
        if (level->kind == LK_LEVEL_HASH) {
            put16(&b->shape, node + NODE_HASH, emit_rules(b, at, next));
            continue;
        }
        child = emit_node(b, at, next, depth + 1);
        if (level->kind == LK_LEVEL_PLUS) {
            put16(&b->shape, node + NODE_PLUS, child);
        } else if (level->kind == LK_LEVEL_TEXT) {
            put_name(b, node, text_of(b, at, depth), child);
        } else {
            put_slot(b, slot_at, level, child);
            slot_at += SLOT_SIZE;
        }
    }
}

/* Of a finished node: is there one way on at most, or only what ends here? */
static enum lk_node
node_kind(const uint8_t *node)
{
    bool has_rules = load16(node + NODE_EXACT) != 0 || load16(node + NODE_HASH) != 0;
    bool has_names = node[NODE_SHORTS] > 0 || node[NODE_LONGS] > 0;
    bool has_plus = load16(node + NODE_PLUS) != 0;
    uint8_t slots = node[NODE_SLOTS];

    if (!has_names && slots == 0 && !has_plus)
        return LK_NODE_LEAF;
    if (has_rules || slots > 0 || has_names == has_plus)
        return LK_NODE_MIXED;
    return has_plus ? LK_NODE_PLUS : LK_NODE_NAMES;
}

/* Rules [first, end) have the same levels up to `depth`, at most LK_POLICY_LEVELS_MAX. */
static uint16_t
emit_node(struct build *b, size_t first, size_t end, size_t depth)
{
    struct out *out = &b->shape;
    size_t exact_end = first;
    uint8_t longs, shorts;
    struct census c;
    uint16_t node;

    while (exact_end < end && b->rules[exact_end].rule->level_count == depth)
        exact_end++;
    c = count_children(b, exact_end, end, depth);
    longs = table_shift(c.longs);
    shorts = table_shift(c.shorts);
    node = out_take(out, NODE_SIZE + c.slots * SLOT_SIZE + table_size(longs, LONG_SIZE) +
                             table_size(shorts, SHORT_SIZE));
    put8(out, node + NODE_SLOTS, (uint8_t)c.slots);
    put8(out, node + NODE_LONGS, longs);
    put8(out, node + NODE_SHORTS, shorts);
    put8(out, node + NODE_WINDOW, c.window);
    put16(out, node + NODE_EXACT, emit_rules(b, first, exact_end));
    emit_runs(b, exact_end, end, depth, node);
    if (!out->is_full)
        out->ptr[node + NODE_KIND] = (uint8_t)node_kind(out->ptr + node);
    return node;
}

static void
emit_children(struct build *b, size_t entry)
{
    struct out *out = &b->values;
    const struct lk_identity *identity = b->identity;
    uint8_t shift = table_shift(identity->children_count);
    uint16_t table = out_take(out, table_size(shift, LONG_SIZE));

    put16(out, entry + VALUE_AT, table);
    put16(out, entry + VALUE_LEN, shift);
    for (size_t i = 0; i < identity->children_count; i++) {
        struct lk_span child = identity->children[i];

        if (lk_value_is_usable(child))
            put_long(out, table, shift, lk_text_hash(child), child, 1);
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
put_value(struct out *out, size_t slot, size_t at, size_t len)
{
    put16(out, slot * VALUE_SIZE + VALUE_AT, (uint16_t)at);
    put16(out, slot * VALUE_SIZE + VALUE_LEN, (uint16_t)len);
}

/* A level of the prefix, and its slash. */
static void
emit_prefix_level(struct build *b, size_t depth)
{
    const struct lk_level *level = level_of(b, 0, depth);

    if (level->kind == LK_LEVEL_TEXT)
        (void)out_text(&b->values, text_of(b, 0, depth));
    else
        (void)out_text(&b->values, slot_value(b, slot_of(level)));
    (void)out_text(&b->values, LK_SPAN("/"));
}

static unsigned
prefix_is_odd(const uint8_t *text, size_t len, enum lk_tenancy tenancy)
{
    return len < 8 || (tenancy != LK_TENANCY_ONE && text[0] == 't' && text[1] == '/')
               ? PREFIX_IS_ODD
               : 0;
}

/* The prefix, or only the tenant where there is none. It stands first, for it is looked at first.
 */
static void
emit_prefix(struct build *b, enum lk_tenancy tenancy)
{
    struct out *out = &b->values;
    size_t at = out->len, len;

    if (!b->has_prefix && tenancy != LK_TENANCY_ONE)
        return;
    if (b->has_prefix && tenancy == LK_TENANCY_ONE)
        (void)out_text(out, LK_SPAN("t/"));
    if (tenancy == LK_TENANCY_ONE)
        (void)out_text(out, b->identity->tenant);
    if (b->has_prefix && tenancy == LK_TENANCY_ONE)
        (void)out_text(out, LK_SPAN("/"));
    for (size_t depth = 0; depth < b->prefix_levels; depth++)
        emit_prefix_level(b, depth);
    len = out->len - at;
    if (!b->has_prefix)
        put_value(out, SLOT_PREFIX, at, len);
    else if (!out->is_full)
        put_value(out, SLOT_PREFIX, at, len << 1 | prefix_is_odd(out->ptr + at, len, tenancy));
}

static void
emit_values(struct build *b, enum lk_tenancy tenancy)
{
    struct out *out = &b->values;

    (void)out_take(out, b->slot_count * VALUE_SIZE);
    emit_prefix(b, tenancy);
    for (size_t slot = 0; slot < SLOTS_MAX; slot++) {
        struct lk_span value;

        if (!b->slot_used[slot])
            continue;
        if (slot == SLOT_CHILDREN) {
            emit_children(b, (size_t)b->slot[slot] * VALUE_SIZE);
            continue;
        }
        value = slot_value(b, slot);
        put_value(out, b->slot[slot], out_text(out, value), value.len);
    }
    if (b->slot_count > 0)
        (void)out_take(out, LK_TEXT_PAD);
}

static void
emit_shape(struct build *b, enum lk_tenancy tenancy)
{
    struct out *out = &b->shape;
    bool has_desk = lk_scope_list_covers(b->identity->scope, LK_SPAN("desk:use"));

    (void)out_take(out, SHAPE_SIZE);
    put8(out, SHAPE_TENANCY, (uint8_t)tenancy);
    put8(out, SHAPE_FLAGS,
         (uint8_t)((has_desk ? FLAG_DESK : 0) | (b->has_prefix ? FLAG_PREFIX : 0)));
    put16(out, SHAPE_ROOT, emit_node(b, 0, b->rule_count, b->prefix_levels));
    (void)out_take(out, LK_TEXT_PAD);
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
    enum lk_err err = LK_OK;

    *shape = *values = (struct lk_span){NULL, 0};
    if (identity->children_count > LK_CHILDREN_MAX || identity->named_count > LK_NAMED_MAX ||
        lk_scope_check(identity->scope) == LK_ERR_LIMIT)
        return LK_ERR_LIMIT;
    b.shape = out_open(shape_room, LK_GRANT_MAX);
    b.values = out_open(values_room, LK_VALUES_MAX);
    if (tenancy != LK_TENANCY_NONE) {
        collect_rules(&b);
        err = collect_permissions(&b);
    }
    if (err != LK_OK)
        return err;
    sort_rules(&b);
    choose_prefix(&b, tenancy);
    number_slots(&b, tenancy);
    emit_shape(&b, tenancy);
    emit_values(&b, tenancy);
    err = full_error(&b.shape, LK_GRANT_MAX);
    if (err == LK_OK)
        err = full_error(&b.values, LK_VALUES_MAX);
    if (err != LK_OK)
        return err;
    *shape = lk_span_of(b.shape.ptr, b.shape.len);
    *values = lk_span_of(b.values.ptr, b.values.len);
    return LK_OK;
}
