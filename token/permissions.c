#include "permissions.h"

#include <string.h>

#include <latchkey/topic.h>

#include "level.h"

_Static_assert(LK_TOKEN_RULES_ACL == 1 && LK_TOKEN_RULES_PUBL_SUBS == 2, "sources take two bits");

#define BIT_PUBLISH   0x01
#define BIT_SUBSCRIBE 0x02
#define BIT_RETAIN_NO 0x04
#define QOS_SHIFT     4
#define SOURCE_SHIFT  6

static size_t
count_levels(struct lk_span filter)
{
    size_t count = 1;

    for (size_t i = 0; i < filter.len; i++)
        count += filter.ptr[i] == '/';
    return count;
}

enum lk_err
lk_permission_filter_check(struct lk_span filter)
{
    if (!lk_filter_is_valid(filter) || filter.ptr[0] == '$' || lk_topic_is_authz_info(filter))
        return LK_ERR_SCOPE;
    return count_levels(filter) <= LK_POLICY_LEVELS_MAX ? LK_OK : LK_ERR_LIMIT;
}

static uint8_t
bits_of(const struct lk_permission *p)
{
    return (uint8_t)((p->publish ? BIT_PUBLISH : 0) | (p->subscribe ? BIT_SUBSCRIBE : 0) |
                     (p->flags & LK_RULE_RETAIN_NO ? BIT_RETAIN_NO : 0) |
                     (p->qos_max << QOS_SHIFT) | (p->source << SOURCE_SHIFT));
}

/* Bits that say something, and nothing we do not know. */
static bool
read_bits(uint64_t bits, struct lk_permission *p)
{
    p->publish = bits & BIT_PUBLISH;
    p->subscribe = bits & BIT_SUBSCRIBE;
    p->flags = bits & BIT_RETAIN_NO ? LK_RULE_RETAIN_NO : 0;
    p->qos_max = (uint8_t)(bits >> QOS_SHIFT & 3);
    p->source = (uint8_t)(bits >> SOURCE_SHIFT & 3);
    return bits == bits_of(p) && p->qos_max <= 2 && p->source <= LK_TOKEN_RULES_PUBL_SUBS &&
           (p->publish || p->subscribe) && (p->publish || p->flags == 0);
}

void
lk_permissions_open(struct lk_permissions *walk, struct lk_span permissions)
{
    memset(walk, 0, sizeof(*walk));
    walk->is_absent = permissions.ptr == NULL;
    if (walk->is_absent)
        return;
    lk_cbor_open(&walk->r, permissions);
    if (permissions.len > LK_PERMISSIONS_ROOM || lk_cbor_enter_array(&walk->r) > LK_PERMISSIONS_MAX)
        walk->r.err = LK_ERR_LIMIT;
}

static enum lk_err
read_permission(struct lk_cbor *r, struct lk_permission *p)
{
    size_t items = lk_cbor_enter_array(r);
    uint64_t bits;

    p->filter = lk_cbor_text(r);
    bits = lk_cbor_uint(r);
    lk_cbor_leave_array(r);
    if (r->err != LK_OK)
        return r->err;
    if (items != 2)
        return LK_ERR_TYPE;
    if (!read_bits(bits, p))
        return LK_ERR_RANGE;
    return lk_permission_filter_check(p->filter);
}

bool
lk_permissions_next(struct lk_permissions *walk, struct lk_permission *permission)
{
    memset(permission, 0, sizeof(*permission));
    if (walk->is_absent || lk_cbor_peek(&walk->r) == LK_CBOR_END)
        return false;
    walk->r.err = read_permission(&walk->r, permission);
    if (walk->r.err != LK_OK)
        memset(permission, 0, sizeof(*permission));
    return walk->r.err == LK_OK;
}

enum lk_err
lk_permissions_close(struct lk_permissions *walk)
{
    if (walk->is_absent)
        return LK_OK;
    lk_cbor_leave_array(&walk->r);
    return lk_cbor_close(&walk->r);
}

void
lk_permission_rule(const struct lk_permission *permission, const uint8_t *stored,
                   struct lk_rule *rule)
{
    const uint8_t *begin = permission->filter.ptr, *end = begin + permission->filter.len;

    *rule = (struct lk_rule){.publish = permission->publish,
                             .subscribe = permission->subscribe,
                             .flags = permission->flags,
                             .qos_max = permission->qos_max,
                             .size_max = UINT32_MAX};
    for (const uint8_t *at = begin; at != NULL && rule->level_count < LK_POLICY_LEVELS_MAX;) {
        struct lk_topic_level text = lk_level_read(begin, at, end);
        struct lk_level *level = &rule->level[rule->level_count++];

        level->kind = LK_LEVEL_TEXT;
        if (lk_level_is(&text, '+'))
            level->kind = LK_LEVEL_PLUS;
        if (lk_level_is(&text, '#'))
            level->kind = LK_LEVEL_HASH;
        level->text_at = (uint16_t)(text.ptr - stored);
        level->text_len = (uint16_t)text.len;
        at = text.next;
    }
}

void
lk_permissions_write_open(struct lk_permissions_out *w)
{
    w->err = LK_OK;
    w->count = 0;
}

static struct lk_permission *
find_alike(struct lk_permissions_out *w, const struct lk_permission *p)
{
    for (size_t i = 0; i < w->count; i++) {
        struct lk_permission *entry = &w->entry[i];

        if (entry->flags == p->flags && entry->qos_max == p->qos_max &&
            entry->source == p->source && lk_span_equal(entry->filter, p->filter))
            return entry;
    }
    return NULL;
}

void
lk_permissions_write(struct lk_permissions_out *w, const struct lk_permission *permission)
{
    struct lk_permission p = *permission;
    struct lk_permission *alike;

    /* Only a publish can be retained. */
    if (!p.publish)
        p.flags = 0;
    if (w->err != LK_OK || (!p.publish && !p.subscribe))
        return;
    w->err = lk_permission_filter_check(p.filter);
    if (w->err != LK_OK)
        return;
    alike = find_alike(w, &p);
    if (alike != NULL) {
        alike->publish = alike->publish || p.publish;
        alike->subscribe = alike->subscribe || p.subscribe;
    } else if (w->count < LK_PERMISSIONS_MAX) {
        w->entry[w->count++] = p;
    } else {
        w->err = LK_ERR_LIMIT;
    }
}

enum lk_err
lk_permissions_write_close(struct lk_permissions_out *w, struct lk_buf room, struct lk_span *out)
{
    bool is_longest = room.cap >= LK_PERMISSIONS_ROOM;
    struct lk_cbor_out cbor;
    enum lk_err err;

    *out = (struct lk_span){NULL, 0};
    if (w->err != LK_OK || w->count == 0)
        return w->err;
    if (is_longest)
        room.cap = LK_PERMISSIONS_ROOM;
    lk_cbor_write_open(&cbor, room);
    lk_cbor_write_array(&cbor, w->count);
    for (size_t i = 0; i < w->count; i++) {
        lk_cbor_write_array(&cbor, 2);
        lk_cbor_write_text(&cbor, w->entry[i].filter);
        lk_cbor_write_uint(&cbor, bits_of(&w->entry[i]));
    }
    err = lk_cbor_write_close(&cbor, out);
    return err == LK_ERR_NO_SPACE && is_longest ? LK_ERR_LIMIT : err;
}

static bool
level_is(const struct lk_topic_level *level, struct lk_span text)
{
    return lk_span_equal(lk_span_of(level->ptr, level->len), text);
}

/* What stands behind a first level that is or matches `text`; a `#` stays. False: apart, or at the
 * end. */
static bool
step_into(struct lk_span *filter, struct lk_span text)
{
    const uint8_t *end = filter->ptr + filter->len;
    struct lk_topic_level level = lk_level_read(filter->ptr, filter->ptr, end);

    if (lk_level_is(&level, '#'))
        return true;
    if ((!lk_level_is(&level, '+') && !level_is(&level, text)) || level.next == NULL)
        return false;
    *filter = lk_span_of(level.next, (size_t)(end - level.next));
    return true;
}

static bool
begins_with_t(struct lk_span filter)
{
    return filter.ptr[0] == 't' && (filter.len == 1 || filter.ptr[1] == '/');
}

bool
lk_permission_enter(enum lk_tenancy tenancy, struct lk_span tenant, struct lk_span *filter)
{
    bool is_inside = false;

    switch (tenancy) {
    case LK_TENANCY_DEFAULT:
        is_inside = !begins_with_t(*filter);
        break;
    case LK_TENANCY_ONE:
        is_inside = step_into(filter, LK_SPAN("t")) && step_into(filter, tenant);
        break;
    case LK_TENANCY_NONE:
    case LK_TENANCY_ALL:
        break;
    }
    return is_inside && filter->len > 0 && filter->ptr[0] != '$' &&
           !lk_topic_is_authz_info(*filter);
}

bool
lk_filters_overlap(struct lk_span a, struct lk_span b)
{
    const uint8_t *a_at = a.ptr, *b_at = b.ptr;

    while (a_at != NULL && b_at != NULL) {
        struct lk_topic_level a_level = lk_level_read(a.ptr, a_at, a.ptr + a.len);
        struct lk_topic_level b_level = lk_level_read(b.ptr, b_at, b.ptr + b.len);

        if (lk_level_is(&a_level, '#') || lk_level_is(&b_level, '#'))
            return true;
        if (!lk_level_is(&a_level, '+') && !lk_level_is(&b_level, '+') &&
            !level_is(&a_level, lk_span_of(b_level.ptr, b_level.len)))
            return false;
        a_at = a_level.next;
        b_at = b_level.next;
    }
    /* a/# matches its parent a. */
    if (a_at != NULL)
        return a.ptr + a.len - a_at == 1 && *a_at == '#';
    return b_at == NULL || (b.ptr + b.len - b_at == 1 && *b_at == '#');
}
