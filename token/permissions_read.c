/*
 * From claims to permissions: AIF-MQTT in the scope, and where the scope map wants them EMQX's
 * `acl` and the `publ` and `subs` of others.
 *
 * EMQX takes the first entry that matches, allow or deny. We only allow, so an entry that allows is
 * left out if one that denies stands before it and they have a topic in common: what EMQX denies is
 * never allowed here. What a permission cannot express (QoS without 0, retained messages only, `eq`
 * with wildcards) is left out for the same reason.
 */
#include "permissions.h"

#include <string.h>

#include <latchkey/aif.h>
#include <latchkey/topic.h>

#include "items.h"
#include "level.h"
#include "rules.h"

#define QOS_ALL 0x7 /* bit n: QoS n */

struct denial {
    struct lk_span filter;
    bool publish, subscribe;
};

struct reading {
    const struct lk_claims *claims;
    const struct lk_identity *identity;
    enum lk_tenancy tenancy;
    struct lk_buf room;  /* what is left of it */
    size_t filled;       /* bytes of topics with their placeholders filled in */
    size_t denial_count; /* of the acl, up to the present entry */
    struct denial denials[LK_PERMISSIONS_MAX];
    struct lk_permissions_out out;
};

/* The filter as it is written: valid, and not the server's or a share group's. */
static bool
is_filter(struct lk_span filter)
{
    return lk_filter_is_valid(filter) && filter.ptr[0] != '$';
}

static void
allow(struct reading *reading, struct lk_permission permission)
{
    if (!lk_permission_enter(reading->tenancy, reading->identity->tenant, &permission.filter))
        return;
    lk_permissions_write(&reading->out, &permission);
}

static enum lk_err
read_aif(struct reading *reading, bool *found)
{
    struct lk_aif aif;
    enum lk_err err = lk_aif_from_claims(reading->claims, &reading->room, &aif, found);

    for (size_t i = 0; i < aif.count; i++) {
        allow(reading, (struct lk_permission){.filter = aif.entry[i].target,
                                              .publish = aif.entry[i].permissions & LK_AIF_PUB,
                                              .subscribe = aif.entry[i].permissions & LK_AIF_SUB,
                                              .qos_max = 2});
    }
    return err;
}

/* acl */

struct acl_entry {
    bool has_permission, has_action;
    bool is_allow, publish, subscribe;
    bool retained_only, retained_never;
    unsigned qos; /* bits of QOS_ALL */
    struct lk_span topic;
};

/* The client's value for a level that is a placeholder. */
static bool
placeholder_value(const struct lk_identity *identity, struct lk_span level, struct lk_span *value)
{
    bool is_client = lk_span_is(level, "${clientid}") || lk_span_is(level, "%c");
    /* The plugin makes the subject the MQTT user name (contracts section 3). */
    bool is_user = lk_span_is(level, "${username}") || lk_span_is(level, "%u");

    *value = is_client ? identity->client_id : identity->subject;
    return is_client || is_user;
}

static bool
has_open_placeholder(struct lk_span level)
{
    for (size_t i = 0; i + 1 < level.len; i++) {
        if (level.ptr[i] == '$' && level.ptr[i + 1] == '{')
            return true;
    }
    return false;
}

static enum lk_err
put_text(struct reading *reading, struct lk_span *filter, struct lk_span text)
{
    struct lk_buf room = reading->room;

    if (text.len > LK_PERMISSIONS_ROOM - reading->filled)
        return LK_ERR_LIMIT;
    if (text.len > room.cap)
        return LK_ERR_NO_SPACE;
    if (text.len > 0)
        memcpy(room.ptr, text.ptr, text.len);
    filter->len += text.len;
    reading->filled += text.len;
    reading->room = (struct lk_buf){room.ptr + text.len, room.cap - text.len};
    return LK_OK;
}

/*
 * Fill the placeholders of a topic; one without a usable value becomes a `+`.
 * @param void_at  [out] where the first of these stands; SIZE_MAX: there is none.
 */
static enum lk_err
fill_topic(struct reading *reading, struct lk_span topic, struct lk_span *filter, size_t *void_at)
{
    const uint8_t *end = topic.ptr + topic.len;
    enum lk_err err = LK_OK;

    *void_at = SIZE_MAX;
    *filter = lk_span_of(reading->room.ptr, 0);
    for (const uint8_t *at = topic.ptr; at != NULL && err == LK_OK;) {
        struct lk_topic_level level = lk_level_read(topic.ptr, at, end);
        struct lk_span text = lk_span_of(level.ptr, level.len), value;

        if (placeholder_value(reading->identity, text, &value)) {
            bool is_usable = lk_value_is_usable(value);

            if (!is_usable && *void_at > filter->len)
                *void_at = filter->len;
            text = is_usable ? value : LK_SPAN("+");
        } else if (has_open_placeholder(text)) {
            return LK_ERR_SCOPE;
        }
        err = put_text(reading, filter, text);
        if (err == LK_OK && level.next != NULL)
            err = put_text(reading, filter, LK_SPAN("/"));
        at = level.next;
    }
    return err;
}

static bool
has_wildcard(struct lk_span text)
{
    return text.len > 0 &&
           (memchr(text.ptr, '+', text.len) != NULL || memchr(text.ptr, '#', text.len) != NULL);
}

static void
allow_entry(struct reading *reading, const struct acl_entry *entry, struct lk_span filter)
{
    struct lk_permission permission = {.filter = filter,
                                       .publish = entry->publish && !entry->retained_only,
                                       .subscribe = entry->subscribe,
                                       .flags = entry->retained_never ? LK_RULE_RETAIN_NO : 0,
                                       .source = LK_TOKEN_RULES_ACL};

    for (size_t i = 0; i < reading->denial_count; i++) {
        const struct denial *denial = &reading->denials[i];

        if (!lk_filters_overlap(denial->filter, filter))
            continue;
        permission.publish = permission.publish && !denial->publish;
        permission.subscribe = permission.subscribe && !denial->subscribe;
    }
    if (!(entry->qos & 1))
        return;
    while (permission.qos_max < 2 && (entry->qos >> (permission.qos_max + 1) & 1))
        permission.qos_max++;
    allow(reading, permission);
}

static enum lk_err
deny_entry(struct reading *reading, const struct acl_entry *entry, struct lk_span filter)
{
    if (reading->denial_count == LK_PERMISSIONS_MAX)
        return LK_ERR_LIMIT;
    reading->denials[reading->denial_count++] =
        (struct denial){filter, entry->publish, entry->subscribe};
    return LK_OK;
}

static enum lk_err
take_entry(struct reading *reading, struct acl_entry *entry)
{
    static const char eq[] = "eq ";
    bool is_literal = entry->topic.len >= 3 && memcmp(entry->topic.ptr, eq, 3) == 0;
    uint8_t *text = reading->room.ptr; /* the filter's */
    struct lk_span filter;
    size_t void_at;
    enum lk_err err;

    if (is_literal)
        entry->topic = lk_span_of(entry->topic.ptr + 3, entry->topic.len - 3);
    if (entry->topic.len == 0)
        return LK_ERR_SCOPE;
    err = fill_topic(reading, entry->topic, &filter, &void_at);
    if (err != LK_OK)
        return err;
    /* Nobody has a permission on a `$` topic: denying one changes nothing. */
    if (!entry->is_allow && filter.ptr[0] == '$' && lk_filter_is_valid(filter))
        return LK_OK;
    if (!is_filter(filter))
        return LK_ERR_SCOPE;
    if (entry->is_allow && void_at < filter.len)
        return LK_OK;
    /* The value may have slashes in it: a `+` would deny too little. */
    if (void_at < filter.len) {
        text[void_at] = '#';
        filter.len = void_at + 1;
    }
    if (!entry->is_allow)
        return deny_entry(reading, entry, filter);
    if (!(is_literal && has_wildcard(filter)))
        allow_entry(reading, entry, filter);
    return reading->out.err;
}

static void
read_permission_word(struct lk_items *r, struct acl_entry *entry)
{
    struct lk_span word = lk_items_text(r);

    entry->has_permission = true;
    entry->is_allow = lk_span_is(word, "allow");
    if (!entry->is_allow && !lk_span_is(word, "deny"))
        lk_items_fail(r, LK_ERR_SCOPE);
}

static void
read_action_word(struct lk_items *r, struct acl_entry *entry)
{
    struct lk_span word = lk_items_text(r);

    entry->has_action = true;
    entry->publish = lk_span_is(word, "publish") || lk_span_is(word, "all");
    entry->subscribe = lk_span_is(word, "subscribe") || lk_span_is(word, "all");
    if (!entry->publish && !entry->subscribe)
        lk_items_fail(r, LK_ERR_SCOPE);
}

static unsigned
read_qos_number(struct lk_items *r)
{
    uint64_t qos = lk_items_number(r);

    if (qos > 2)
        lk_items_fail(r, LK_ERR_SCOPE);
    return qos <= 2 ? 1u << qos : 0;
}

static void
read_qos(struct lk_items *r, struct acl_entry *entry)
{
    entry->qos = 0;
    if (lk_items_peek(r) == LK_ITEM_NUMBER) {
        entry->qos = read_qos_number(r);
        return;
    }
    lk_items_enter_array(r);
    while (lk_items_next(r))
        entry->qos |= read_qos_number(r);
}

static void
read_retain(struct lk_items *r, struct acl_entry *entry)
{
    if (lk_items_peek(r) == LK_ITEM_TEXT) {
        if (!lk_span_is(lk_items_text(r), "all"))
            lk_items_fail(r, LK_ERR_SCOPE);
        return;
    }
    entry->retained_only = lk_items_bool(r);
    entry->retained_never = !entry->retained_only;
}

/* What we do not know might narrow an entry that allows: it refuses the token. */
static void
read_entry(struct lk_items *r, struct reading *reading)
{
    struct acl_entry entry = {.qos = QOS_ALL};
    struct lk_span name;

    lk_items_enter_map(r);
    while (lk_items_next_member(r, &name)) {
        if (lk_span_is(name, "permission"))
            read_permission_word(r, &entry);
        else if (lk_span_is(name, "action"))
            read_action_word(r, &entry);
        else if (lk_span_is(name, "topic"))
            entry.topic = lk_items_text(r);
        else if (lk_span_is(name, "qos"))
            read_qos(r, &entry);
        else if (lk_span_is(name, "retain"))
            read_retain(r, &entry);
        else
            lk_items_fail(r, LK_ERR_SCOPE);
    }
    if (!entry.has_permission || !entry.has_action)
        lk_items_fail(r, LK_ERR_SCOPE);
    if (lk_items_error(r) == LK_OK)
        lk_items_fail(r, take_entry(reading, &entry));
}

/* The older form: {"pub": [topic], "sub": [topic], "all": [topic]}. */
static void
read_topics(struct lk_items *r, struct reading *reading, struct lk_span name)
{
    bool is_all = lk_span_is(name, "all");
    struct acl_entry entry = {.is_allow = true,
                              .qos = QOS_ALL,
                              .publish = is_all || lk_span_is(name, "pub"),
                              .subscribe = is_all || lk_span_is(name, "sub")};

    if (!entry.publish && !entry.subscribe)
        lk_items_fail(r, LK_ERR_SCOPE);
    lk_items_enter_array(r);
    while (lk_items_next(r)) {
        entry.topic = lk_items_text(r);
        if (lk_items_error(r) == LK_OK)
            lk_items_fail(r, take_entry(reading, &entry));
    }
}

static void
read_acl(struct lk_items *r, struct reading *reading)
{
    struct lk_span name;

    if (lk_items_peek(r) == LK_ITEM_MAP) {
        lk_items_enter_map(r);
        while (lk_items_next_member(r, &name))
            read_topics(r, reading, name);
        return;
    }
    lk_items_enter_array(r);
    while (lk_items_next(r))
        read_entry(r, reading);
}

/* publ, subs: arrays of filters, taken as they are. */

static void
read_filters(struct lk_items *r, struct reading *reading, bool is_publ)
{
    lk_items_enter_array(r);
    while (lk_items_next(r)) {
        struct lk_permission permission = {.filter = lk_items_text(r),
                                           .publish = is_publ,
                                           .subscribe = !is_publ,
                                           .qos_max = 2,
                                           .source = LK_TOKEN_RULES_PUBL_SUBS};

        if (!is_filter(permission.filter))
            lk_items_fail(r, LK_ERR_SCOPE);
        if (lk_items_error(r) == LK_OK)
            allow(reading, permission);
        lk_items_fail(r, reading->out.err);
    }
}

static void
read_publ(struct lk_items *r, struct reading *reading)
{
    read_filters(r, reading, true);
}

static void
read_subs(struct lk_items *r, struct reading *reading)
{
    read_filters(r, reading, false);
}

static enum lk_err
read_claim(struct reading *reading, struct lk_span name,
           void (*read)(struct lk_items *r, struct reading *reading))
{
    struct lk_items r;
    struct lk_span value;

    if (!lk_claims_get_raw(reading->claims, name, &value))
        return LK_OK;
    lk_items_open(&r, reading->claims->format, value, &reading->room);
    read(&r, reading);
    return lk_items_close(&r);
}

enum lk_err
lk_permissions_from_claims(const struct lk_policy *policy, const struct lk_claims *claims,
                           const struct lk_identity *identity, struct lk_buf room,
                           struct lk_span *permissions, bool *is_aif)
{
    struct reading reading = {
        .claims = claims, .identity = identity, .tenancy = lk_tenancy_of(identity), .room = room};
    enum lk_err err;

    *permissions = (struct lk_span){NULL, 0};
    lk_permissions_write_open(&reading.out);
    err = read_aif(&reading, is_aif);
    if (err == LK_OK && (policy->token_rules & LK_TOKEN_RULES_ACL))
        err = read_claim(&reading, LK_SPAN("acl"), read_acl);
    if (err == LK_OK && (policy->token_rules & LK_TOKEN_RULES_PUBL_SUBS))
        err = read_claim(&reading, LK_SPAN("publ"), read_publ);
    if (err == LK_OK && (policy->token_rules & LK_TOKEN_RULES_PUBL_SUBS))
        err = read_claim(&reading, LK_SPAN("subs"), read_subs);
    if (err != LK_OK)
        return err;
    return lk_permissions_write_close(&reading.out, reading.room, permissions);
}
