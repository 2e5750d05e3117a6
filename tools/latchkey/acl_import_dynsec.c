/*
 * acl_import_dynsec.c - the JSON file of Mosquitto's dynamic security plugin.
 *
 * Its order: a client's own roles by priority, then its groups by priority and their roles; in a
 * role the rules by priority; then the defaults. The first that matches decides. Where priorities
 * are equal the order is open, and what denies is taken to come first. Who is in a group stands in
 * the group.
 */
#include "acl_import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/json.h>

enum { TIER_CLIENT = 0, TIER_GROUP = 1, TIER_DEFAULT = 9 };

/* A role or group named by a client or group. */
struct reference {
    char *name;
    int64_t priority;
    unsigned line;
};

struct references {
    struct reference *item;
    size_t count;
};

struct member { /* a client or a group */
    char *name, *client_id;
    unsigned line;
    bool disabled;
    struct references roles;
    struct references clients; /* of a group */
};

struct members {
    struct member *item;
    size_t count;
};

struct dynsec_reading {
    struct import *im;
    struct lk_json json;
    const uint8_t *text; /* what json reads and changes */
    const char *copy;    /* as it was, to count lines in */
    size_t counted;
    unsigned line; /* at `counted` */
    struct members clients, groups;
    struct references names; /* roles: name and list index (priority) */
};

/* The line of what is read next. Only ever asked for further on. */
static unsigned
line_here(struct dynsec_reading *r)
{
    size_t at = (size_t)(r->json.pos - r->text);

    at += strspn(r->copy + at, " \t\r\n,");
    for (; r->counted < at; r->counted++)
        r->line += r->copy[r->counted] == '\n';
    return r->line;
}

static char *
string_take(struct dynsec_reading *r)
{
    struct lk_span text = lk_json_string(&r->json);

    if (r->json.err != LK_OK)
        return NULL;
    return import_text(r->im, "%.*s", (int)text.len, text.len > 0 ? (const char *)text.ptr : "");
}

static void
string_set(struct dynsec_reading *r, char **to)
{
    free(*to);
    *to = string_take(r);
}

static int
priority_of(int64_t value)
{
    /* Negated: the higher priority comes first. */
    return value > INT32_MAX ? -INT32_MAX : value < -INT32_MAX ? INT32_MAX : -(int)value;
}

/* --- roles --------------------------------------------------------------------------------- */

static const struct {
    const char *type;
    unsigned action;
    bool literal;
} acl_types[] = {
    {"publishClientSend", IMPORT_PUBLISH, false},
    {"publishClientReceive", IMPORT_RECEIVE, false},
    {"subscribeLiteral", IMPORT_SUBSCRIBE, true},
    {"subscribePattern", IMPORT_SUBSCRIBE, false},
    {"unsubscribeLiteral", 0, true},
    {"unsubscribePattern", 0, false},
};
#define ACL_TYPES (sizeof(acl_types) / sizeof(acl_types[0]))

struct acl {
    char *type, *topic;
    int64_t priority;
    bool allow;
    unsigned line;
};

static void
acl_remark(struct import *im, const struct acl *acl, size_t type)
{
    if (acl_types[type].action == 0 && !acl->allow)
        import_remark(im, acl->line, true, "%s %s: nobody is kept from unsubscribing here",
                      acl->type, acl->topic);
    if (acl_types[type].action == IMPORT_SUBSCRIBE && acl_types[type].literal && acl->allow &&
        strpbrk(acl->topic, "+#") != NULL)
        import_remark(im, acl->line, false,
                      "%s %s: here also narrower filters may be subscribed to, with nothing more "
                      "delivered",
                      acl->type, acl->topic);
    if (acl->allow && (strstr(acl->topic, "%u") != NULL || strstr(acl->topic, "%c") != NULL))
        import_remark(im, acl->line, false,
                      "%s: %%u and %%c are taken for user name and client id, as Mosquitto 2.1 "
                      "does; 2.0 takes them for text",
                      acl->topic);
}

static void
acl_put(struct dynsec_reading *r, size_t list, const struct acl *acl)
{
    struct import_rule rule = {.allow = acl->allow, .line = acl->line};
    size_t i;

    if (acl->type == NULL || acl->topic == NULL) {
        import_remark(r->im, acl->line, true, "an ACL without acltype or topic");
        return;
    }
    for (i = 0; i < ACL_TYPES && strcmp(acl->type, acl_types[i].type) != 0; i++)
        ;
    if (i == ACL_TYPES) {
        import_remark(r->im, acl->line, true, "acltype %s is not known", acl->type);
        return;
    }
    acl_remark(r->im, acl, i);
    rule.actions = acl_types[i].action;
    rule.rank.priority = priority_of(acl->priority);
    /* A literal is looked up before any pattern of its role. */
    if (acl_types[i].literal && !acl->allow)
        rule.rank.priority = INT32_MIN;
    if (rule.actions != 0)
        import_rule_add(r->im, list, &rule, acl->topic, true);
}

static void
acl_read(struct dynsec_reading *r, size_t list)
{
    struct acl acl = {.line = line_here(r)};
    struct lk_span name;

    lk_json_enter_object(&r->json);
    while (lk_json_next_member(&r->json, &name)) {
        if (lk_span_is(name, "acltype"))
            string_set(r, &acl.type);
        else if (lk_span_is(name, "topic"))
            string_set(r, &acl.topic);
        else if (lk_span_is(name, "priority"))
            acl.priority = lk_json_int(&r->json);
        else if (lk_span_is(name, "allow"))
            acl.allow = lk_json_bool(&r->json);
        else
            lk_json_skip(&r->json);
    }
    lk_json_leave_object(&r->json);
    if (r->json.err == LK_OK)
        acl_put(r, list, &acl);
    free(acl.type);
    free(acl.topic);
}

/* "role:NAME", what a scope cannot hold replaced; a number behind it if that makes two the same. */
static char *
role_scope(struct import *im, const char *name)
{
    char *scope = import_text(im, "role:%s", name);
    bool changed = false;

    for (char *at = scope; at != NULL && *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~' || strchr("\"\\", *at) != NULL) {
            *at = '_';
            changed = true;
        }
    }
    if (changed && scope != NULL) {
        char *numbered = import_text(im, "%s.%zu", scope, im->list_count + 1);

        free(scope);
        return numbered;
    }
    return scope;
}

static size_t
role_list(struct dynsec_reading *r, const char *name, unsigned line)
{
    struct reference *known;
    char *scope, *what;
    size_t list;

    for (size_t i = 0; i < r->names.count; i++)
        if (strcmp(r->names.item[i].name, name) == 0)
            return (size_t)r->names.item[i].priority;
    scope = role_scope(r->im, name);
    what = import_text(r->im, "role %s", name);
    list = r->im->no_memory ? SIZE_MAX : import_list_add(r->im, scope, what, line);
    free(scope);
    free(what);
    known = import_grow(r->im, &r->names.item, &r->names.count, sizeof(*known));
    if (known != NULL)
        *known = (struct reference){import_text(r->im, "%s", name), (int64_t)list, line};
    return list;
}

/* The acls may stand before the role's name: they are read when it is known. */
static void
role_read(struct dynsec_reading *r)
{
    struct dynsec_reading acls = *r;
    unsigned line = line_here(r);
    struct lk_span name;
    char *role = NULL;
    bool has_acls = false;
    size_t list;

    lk_json_enter_object(&r->json);
    while (lk_json_next_member(&r->json, &name)) {
        if (lk_span_is(name, "rolename")) {
            string_set(r, &role);
        } else if (lk_span_is(name, "acls")) {
            (void)lk_json_peek(&r->json);
            acls.json = r->json;
            has_acls = true;
            lk_json_skip(&r->json);
        } else {
            lk_json_skip(&r->json);
        }
    }
    lk_json_leave_object(&r->json);
    list = role != NULL && r->json.err == LK_OK ? role_list(r, role, line) : SIZE_MAX;
    free(role);
    if (!has_acls || list == SIZE_MAX)
        return;
    acls.counted = r->counted;
    acls.line = r->line;
    acls.names = r->names;
    lk_json_enter_array(&acls.json);
    while (lk_json_next_item(&acls.json))
        acl_read(&acls, list);
    lk_json_leave_array(&acls.json);
    r->counted = acls.counted;
    r->line = acls.line;
    if (acls.json.err != LK_OK)
        r->json.err = acls.json.err;
}

/* --- clients and groups -------------------------------------------------------------------- */

static void
reference_read(struct dynsec_reading *r, struct references *to, const char *key)
{
    struct reference *ref = import_grow(r->im, &to->item, &to->count, sizeof(*ref));
    unsigned line = line_here(r);
    struct lk_span name;

    if (ref != NULL)
        ref->priority = -1; /* what dynamic security takes */
    lk_json_enter_object(&r->json);
    while (lk_json_next_member(&r->json, &name)) {
        if (ref != NULL && lk_span_is(name, key))
            string_set(r, &ref->name);
        else if (ref != NULL && lk_span_is(name, "priority"))
            ref->priority = lk_json_int(&r->json);
        else
            lk_json_skip(&r->json);
    }
    lk_json_leave_object(&r->json);
    if (ref != NULL)
        ref->line = line;
}

static void
references_read(struct dynsec_reading *r, struct references *to, const char *key)
{
    lk_json_enter_array(&r->json);
    while (lk_json_next_item(&r->json))
        reference_read(r, to, key);
    lk_json_leave_array(&r->json);
}

static void
member_read(struct dynsec_reading *r, struct members *to, const char *key)
{
    struct member *m = import_grow(r->im, &to->item, &to->count, sizeof(*m));
    struct member dropped = {0};
    struct lk_span name;

    m = m == NULL ? &dropped : m;
    m->line = line_here(r);
    lk_json_enter_object(&r->json);
    while (lk_json_next_member(&r->json, &name)) {
        if (lk_span_is(name, key))
            string_set(r, &m->name);
        else if (lk_span_is(name, "clientid"))
            string_set(r, &m->client_id);
        else if (lk_span_is(name, "disabled"))
            m->disabled = lk_json_bool(&r->json);
        else if (lk_span_is(name, "roles"))
            references_read(r, &m->roles, "rolename");
        else if (lk_span_is(name, "clients"))
            references_read(r, &m->clients, "username");
        else
            lk_json_skip(&r->json);
    }
    lk_json_leave_object(&r->json);
}

static size_t
role_find(const struct dynsec_reading *r, const struct reference *ref)
{
    for (size_t i = 0; ref->name != NULL && i < r->names.count; i++)
        if (strcmp(r->names.item[i].name, ref->name) == 0)
            return (size_t)r->names.item[i].priority;
    import_remark(r->im, ref->line, true, "role %s: there is none",
                  ref->name != NULL ? ref->name : "without a name");
    return SIZE_MAX;
}

static void
roles_use(struct dynsec_reading *r, size_t user, const struct references *roles,
          struct import_rank rank)
{
    for (size_t i = 0; i < roles->count; i++) {
        rank.role_priority = priority_of(roles->item[i].priority);
        import_use_add(r->im, user, role_find(r, &roles->item[i]), rank);
    }
}

/* The user's index, or SIZE_MAX for somebody the file does not define. */
static size_t
user_find(const struct dynsec_reading *r, const struct reference *ref)
{
    for (size_t i = 0; ref->name != NULL && i < r->im->user_count; i++)
        if (strcmp(r->im->user[i].name, ref->name) == 0)
            return i;
    import_remark(r->im, ref->line, true, "client %s: there is none",
                  ref->name != NULL ? ref->name : "without a name");
    return SIZE_MAX;
}

static void
group_use(struct dynsec_reading *r, size_t group)
{
    const struct member *g = &r->groups.item[group];

    for (size_t i = 0; i < g->clients.count && !r->im->no_memory; i++) {
        const struct import_rank rank = {.tier = TIER_GROUP,
                                         .group_priority = priority_of(g->clients.item[i].priority),
                                         .group = group + 1};
        size_t user = user_find(r, &g->clients.item[i]);

        if (user != SIZE_MAX)
            roles_use(r, user, &g->roles, rank);
    }
}

static void
client_use(struct dynsec_reading *r, const struct member *client, size_t everyone)
{
    size_t user;

    if (client->name == NULL)
        return;
    user = import_user_get(r->im, client->name, client->line);
    if (client->disabled)
        import_remark(r->im, client->line, false,
                      "client %s is disabled: suspend it once it is registered", client->name);
    if (client->client_id != NULL && strcmp(client->client_id, client->name) != 0)
        import_remark(r->im, client->line, false,
                      "client %s must come with client id %s: here the client id is the user name, "
                      "alone or with `:` and more behind it",
                      client->name, client->client_id);
    roles_use(r, user, &client->roles, (struct import_rank){.tier = TIER_CLIENT});
    if (everyone != SIZE_MAX)
        import_use_add(r->im, user, everyone, (struct import_rank){.tier = TIER_DEFAULT});
}

/* --- the file ------------------------------------------------------------------------------ */

struct defaults {
    bool publish, receive, subscribe;
    unsigned line;
};

static void
defaults_read(struct dynsec_reading *r, struct defaults *d)
{
    struct lk_span name;

    d->line = line_here(r);
    lk_json_enter_object(&r->json);
    while (lk_json_next_member(&r->json, &name)) {
        if (lk_span_is(name, "publishClientSend"))
            d->publish = lk_json_bool(&r->json);
        else if (lk_span_is(name, "publishClientReceive"))
            d->receive = lk_json_bool(&r->json);
        else if (lk_span_is(name, "subscribe"))
            d->subscribe = lk_json_bool(&r->json);
        else
            lk_json_skip(&r->json);
    }
    lk_json_leave_object(&r->json);
}

static void
members_read(struct dynsec_reading *r, struct lk_span name)
{
    bool roles = lk_span_is(name, "roles"), clients = lk_span_is(name, "clients");

    lk_json_enter_array(&r->json);
    while (lk_json_next_item(&r->json)) {
        if (roles)
            role_read(r);
        else
            member_read(r, clients ? &r->clients : &r->groups, clients ? "username" : "groupname");
    }
    lk_json_leave_array(&r->json);
}

static void
file_read(struct dynsec_reading *r, struct defaults *d)
{
    struct lk_span name;
    unsigned line;

    lk_json_enter_object(&r->json);
    while (lk_json_next_member(&r->json, &name)) {
        if (lk_span_is(name, "defaultACLAccess")) {
            defaults_read(r, d);
        } else if (lk_span_is(name, "anonymousGroup")) {
            line = line_here(r);
            name = lk_json_string(&r->json);
            if (name.len > 0)
                import_remark(r->im, line, true, "anonymousGroup %.*s: here nobody is anonymous",
                              (int)name.len, (const char *)name.ptr);
        } else if (lk_span_is(name, "roles") || lk_span_is(name, "clients") ||
                   lk_span_is(name, "groups")) {
            members_read(r, name);
        } else {
            lk_json_skip(&r->json);
        }
    }
    lk_json_leave_object(&r->json);
}

/* @return the list of what everybody may by default, or SIZE_MAX. */
static size_t
defaults_use(struct import *im, const struct defaults *d)
{
    struct import_rule rule = {
        .allow = true, .line = d->line, .rank = {.tier = TIER_DEFAULT, .priority = INT32_MAX}};
    size_t list = SIZE_MAX;

    rule.any = true;
    rule.actions = (d->receive ? IMPORT_RECEIVE : 0U) | (d->subscribe ? IMPORT_SUBSCRIBE : 0U);
    import_rule_add(im, SIZE_MAX, &rule, "#", false);
    rule.any = false;
    rule.actions = (d->publish ? IMPORT_PUBLISH : 0U) | (d->subscribe ? IMPORT_SUBSCRIBE : 0U);
    if (rule.actions != 0) {
        list = import_list_add(im, "everyone", "every client (defaultACLAccess)", d->line);
        if (list != SIZE_MAX)
            import_rule_add(im, list, &rule, "#", false);
        import_remark(
            im, d->line, false,
            "defaultACLAccess allows: here without topics that begin with `$`, with t/ or "
            "are authz-info");
    }
    return list;
}

static void
members_free(struct members *members)
{
    for (size_t i = 0; i < members->count; i++) {
        struct member *m = &members->item[i];

        for (size_t j = 0; j < m->roles.count; j++)
            free(m->roles.item[j].name);
        for (size_t j = 0; j < m->clients.count; j++)
            free(m->clients.item[j].name);
        free(m->roles.item);
        free(m->clients.item);
        free(m->name);
        free(m->client_id);
    }
    free(members->item);
}

static int
dynsec_finish(struct dynsec_reading *r, const struct defaults *d)
{
    enum lk_err err = lk_json_close(&r->json);
    size_t everyone;

    if (err != LK_OK) {
        (void)fprintf(stderr, "%s:%u: expected a configuration of dynamic security: %s\n",
                      r->im->path, line_here(r), lk_err_text(err));
        return CLI_REFUSED;
    }
    everyone = defaults_use(r->im, d);
    for (size_t i = 0; i < r->clients.count && !r->im->no_memory; i++)
        client_use(r, &r->clients.item[i], everyone);
    for (size_t i = 0; i < r->groups.count && !r->im->no_memory; i++)
        group_use(r, i);
    return CLI_DONE;
}

int
dynsec_read(const struct cli *cli, struct import *im, struct lk_span file)
{
    /* What dynamic security assumes where the file says nothing. */
    struct defaults defaults = {.receive = true};
    uint8_t *text = malloc(file.len + 1);
    char *copy = malloc(file.len + 1);
    struct dynsec_reading r = {.im = im, .text = text, .copy = copy, .line = 1};
    int code = CLI_REFUSED;

    (void)cli;
    im->format = "dynamic-security";
    if (text == NULL || copy == NULL) {
        im->no_memory = true;
    } else {
        memcpy(text, file.ptr, file.len);
        memcpy(copy, file.ptr, file.len);
        text[file.len] = 0;
        copy[file.len] = '\0';
        lk_json_open(&r.json, text, file.len);
        file_read(&r, &defaults);
        code = dynsec_finish(&r, &defaults);
    }
    members_free(&r.clients);
    members_free(&r.groups);
    for (size_t i = 0; i < r.names.count; i++)
        free(r.names.item[i].name);
    free(r.names.item);
    free(text);
    free(copy);
    return code;
}
