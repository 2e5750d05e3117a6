#include "registry.h"

#include <stdio.h>
#include <string.h>

#include <latchkey/id.h>

#include "../http/call.h"
#include "common.h"

/* --- As JSON
 * --------------------------------------------------------------------------------------- */

static json_t *
time_json(int64_t at_s)
{
    return at_s == 0 ? json_null() : json_integer(at_s);
}

static json_t *
text_json(const char *text)
{
    return text[0] == '\0' ? json_null() : json_string(text);
}

static json_t *
tags_json(const char *tags)
{
    json_t *list = json_loads(tags, 0, NULL);

    return list != NULL ? list : json_array();
}

static json_t *
device_json(const struct config *config, const struct store_device *d)
{
    const struct config_kind *type = config_type(config, lk_span_text(d->type));
    json_t *body = json_object();

    json_object_set_new(body, "id", json_string(d->id));
    json_object_set_new(body, "type", json_string(d->type));
    json_object_set_new(body, "name", text_json(d->name));
    json_object_set_new(body, "location", text_json(d->location));
    json_object_set_new(body, "tags", tags_json(d->tags));
    json_object_set_new(body, "parent", text_json(d->parent));
    json_object_set_new(body, "tenant", text_json(d->tenant));
    json_object_set_new(body, "scopes", scopes_json(type == NULL ? "" : type->scopes));
    json_object_set_new(body, "state", json_string(state_name(d->state)));
    json_object_set_new(body, "active", json_boolean(d->state == STORE_ACTIVE));
    json_object_set_new(body, "registered_at", json_integer(d->registered_s));
    json_object_set_new(body, "registered_by", json_string(d->registered_by));
    json_object_set_new(body, "last_seen", time_json(d->last_seen_s));
    json_object_set_new(body, "online", json_boolean(d->online));
    return body;
}

/* --- Registration
 * -------------------------------------------------------------------------------------- */

struct registration {
    struct store_device device;
    struct secret secret;
    uint8_t psk_room[PSK_SEALED_MAX];
    struct lk_span psk;
};

static bool
tag_is_fine(const json_t *tag)
{
    const char *text = json_string_value(tag);
    size_t len = json_string_length(tag);

    if (text == NULL || len == 0 || len > TAG_MAX_LEN)
        return false;
    for (size_t i = 0; i < len; i++) /* nothing that JSON would have to escape */
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f || text[i] == '"' || text[i] == '\\')
            return false;
    return true;
}

static void
tags_take(struct json_take *take, char out[TAGS_TEXT_MAX + 1])
{
    const json_t *tags = json_take_array(take, "tags", TAGS_MAX);
    size_t used = 1;

    out[0] = '[';
    for (size_t i = 0; tags != NULL && i < json_array_size(tags); i++) {
        const json_t *tag = json_array_get(tags, i);

        if (!tag_is_fine(tag)) {
            json_take_refuse(take, "/tags",
                             "each tag must be a text of 1 to 32 bytes without"
                             " quotes, backslashes and control characters");
            break;
        }
        used += (size_t)snprintf(out + used, TAGS_TEXT_MAX - used, "%s\"%s\"", i > 0 ? "," : "",
                                 json_string_value(tag));
    }
    out[used] = ']';
    out[used + 1] = '\0';
}

static void
type_take(struct json_take *take, char out[TYPE_MAX_LEN + 1])
{
    struct lk_span type = json_take_text(take, "type", 1, TYPE_MAX_LEN, true);

    if (type.ptr != NULL && config_type(take->call->config, type) == NULL)
        json_take_refuse(take, "/type", "is not a type this server is configured for");
    text_of(out, TYPE_MAX_LEN + 1, type);
}

static enum lk_err
secret_take(struct json_take *take, struct secret *secret)
{
    struct lk_span text = json_take_text(take, "secret", SECRET_TEXT_LEN, SECRET_TEXT_LEN, false);

    if (text.ptr == NULL)
        return secret_generate(secret);
    if (secret_from(text, secret) != LK_OK)
        json_take_refuse(take, "/secret", "must be 32 random bytes as 43 base64url characters");
    return LK_OK;
}

static void
parent_take(struct json_take *take, char out[LK_SUBJECT_MAX + 1])
{
    struct lk_span parent = json_take_text(take, "parent", 1, LK_SUBJECT_MAX, false);

    if (parent.ptr != NULL && !lk_id_is_valid(parent))
        json_take_refuse(take, "/parent", "must be the id of a device");
    text_of(out, LK_SUBJECT_MAX + 1, parent);
}

/** A parent is a device of the same tenant, with room for one more child. */
static enum lk_err
parent_check(struct store_db *db, struct http_call *call, const char *id)
{
    struct store_device parent;
    uint64_t children;
    enum lk_err err = store_device_get(db, lk_span_text(id), &parent);

    if (err == LK_ERR_NOT_FOUND ||
        (err == LK_OK &&
         (strcmp(parent.tenant, call->caller.tenant) != 0 || parent.state == STORE_DELETED)))
        return http_problem_in(call, 409, "no_such_parent", "the parent is not registered");
    if (err == LK_OK)
        err = store_children_count(db, lk_span_text(id), &children);
    if (err == LK_OK && children >= LK_CHILDREN_MAX)
        return http_problem_in(call, 409, "parent_full", "the parent has as many children as fit");
    return err;
}

/** On the writer's thread. */
static enum lk_err
device_insert(struct store_db *db, struct http_call *call)
{
    struct registration *r = call->op;
    enum lk_err err = LK_OK;
    json_t *body;

    if (r->device.parent[0] != '\0')
        err = parent_check(db, call, r->device.parent);
    if (err == LK_OK)
        err = store_device_put(db, &r->device, r->psk);
    if (err == LK_ERR_EXISTS)
        return http_problem_in(call, 409, "id_taken", "the id is or was in use");
    if (err != LK_OK)
        return err;
    body = json_object();
    json_object_set_new(body, "device", device_json(call->config, &r->device));
    json_object_set_new(body, "secret", json_string(r->secret.text));
    json_object_set_new(body, "psk_identity", json_string(r->device.id));
    location_put(call, "devices", r->device.id);
    http_answer(call, 201, body);
    return LK_OK;
}

static void
device_create(struct http_call *call)
{
    struct registration *r = http_room(call, sizeof(*r));
    struct store_device *d = r == NULL ? NULL : &r->device;
    struct json_take take;
    enum lk_err err = LK_ERR_NOMEM, more;

    if (d == NULL) {
        http_fail(call, err);
        return;
    }
    call->op = r;
    json_take_open(&take, call);
    type_take(&take, d->type);
    err = id_take(&take, d->type, d->id);
    text_of(d->name, sizeof(d->name), json_take_text(&take, "name", 1, NAME_MAX_LEN, false));
    text_of(d->location, sizeof(d->location),
            json_take_text(&take, "location", 1, LOCATION_MAX_LEN, false));
    parent_take(&take, d->parent);
    tags_take(&take, d->tags);
    more = secret_take(&take, &r->secret);
    if (!json_take_close(&take))
        return;
    if (err == LK_OK)
        err = more;
    if (err == LK_OK)
        err = secret_psk(call->service->seal, &r->secret, lk_span_text(d->id),
                         LK_BUF_OF(r->psk_room), &r->psk);
    if (err != LK_OK) {
        http_fail(call, err);
        return;
    }
    memcpy(d->secret_hash, r->secret.hash, sizeof(d->secret_hash));
    text_of(d->tenant, sizeof(d->tenant), lk_span_text(call->caller.tenant));
    text_of(d->registered_by, sizeof(d->registered_by), lk_span_text(call->caller.id));
    d->state = STORE_ACTIVE;
    d->generation = 1;
    d->registered_s = call->now_s;
    http_audit(call, "device.create", lk_span_text(d->id));
    http_write(call, device_insert, NULL);
}

/* --- Reading
 * ---------------------------------------------------------------------------------------------- */

static void
device_get(struct http_call *call)
{
    struct store_device device;
    enum lk_err err = store_device_get(call->db, call->param[0], &device);

    /* Another tenant's device does not exist; nor does a deleted one, but for a list of those. */
    if (err == LK_OK &&
        (strcmp(device.tenant, call->caller.tenant) != 0 || device.state == STORE_DELETED))
        err = LK_ERR_NOT_FOUND;
    if (err == LK_ERR_NOT_FOUND)
        http_problem(call, 404, "device_not_found", "no device has this id");
    else if (err != LK_OK)
        http_fail(call, err);
    else
        http_answer(call, 200, device_json(call->config, &device));
}

static bool
state_take(struct http_call *call, enum store_state *state)
{
    struct lk_span text = http_query(call, "state");

    *state = 0;
    if (lk_span_is(text, "active"))
        *state = STORE_ACTIVE;
    else if (lk_span_is(text, "suspended"))
        *state = STORE_SUSPENDED;
    else if (lk_span_is(text, "deleted"))
        *state = STORE_DELETED;
    else if (text.ptr != NULL)
        http_problem(call, 400, "invalid_query", "state is active, suspended or deleted");
    return text.ptr == NULL || *state != 0;
}

static bool
filter_take(struct http_call *call, struct store_device_filter *filter)
{
    static const char *const names[] = {"type", "tag", "state", "q", "limit", "cursor", NULL};

    memset(filter, 0, sizeof(*filter));
    filter->tenant = lk_span_text(call->caller.tenant);
    filter->type = http_query(call, "type");
    filter->tag = http_query(call, "tag");
    filter->query = http_query(call, "q");
    return http_query_only(call, names) && state_take(call, &filter->state);
}

struct listing {
    const struct config *config;
    json_t *items;
};

static void
list_add(const struct store_device *device, void *arg)
{
    struct listing *l = arg;

    json_array_append_new(l->items, device_json(l->config, device));
}

static void
device_list(struct http_call *call)
{
    struct store_device_filter filter;
    struct listing l = {.config = call->config};
    uint8_t room[LIST_CURSOR_MAX];
    unsigned limit;
    enum lk_err err;

    if (!filter_take(call, &filter) || !page_take(call, LK_BUF_OF(room), &limit, &filter.after))
        return;
    filter.limit = limit + 1; /* one more shows that there is a next page */
    l.items = json_array();
    err = store_device_list(call->db, &filter, list_add, &l);
    if (err == LK_OK) {
        page_answer(call, l.items, limit);
    } else {
        json_decref(l.items);
        http_fail(call, err);
    }
}

static void
device_count(struct http_call *call)
{
    struct store_device_filter filter;
    uint64_t count;
    enum lk_err err;

    if (!filter_take(call, &filter))
        return;
    err = store_device_count(call->db, &filter, &count);
    if (err == LK_OK)
        http_answer(call, 200, json_pack("{s:I}", "count", (json_int_t)count));
    else
        http_fail(call, err);
}

/* --- Acting on one device -------------------------------------------------------------------- */

struct act {
    enum lk_err (*run)(struct store_db *db, struct http_call *call);
    bool also_deleted; /* acts on deleted ones too */
    struct secret secret;
    int64_t old_until_s;
    uint8_t psk_room[PSK_SEALED_MAX];
    struct lk_span psk;
};

/** The caller's device, for a write. LK_ERR_DENIED: refused. */
static enum lk_err
device_own(struct store_db *db, struct http_call *call, bool also_deleted,
           struct store_device *device)
{
    enum lk_err err = store_device_get(db, call->param[0], device);

    if (err == LK_ERR_NOT_FOUND ||
        (err == LK_OK && (strcmp(device->tenant, call->caller.tenant) != 0 ||
                          (device->state == STORE_DELETED && !also_deleted))))
        return http_problem_in(call, 404, "device_not_found", "no device has this id");
    return err;
}

/** On the writer's thread. The answer is the device, unless `run` set another. */
static enum lk_err
act_write(struct store_db *db, struct http_call *call)
{
    const struct act *act = call->op;
    struct store_device device;
    enum lk_err err = device_own(db, call, act->also_deleted, &device);

    if (err == LK_OK)
        err = act->run(db, call);
    if (err != LK_OK || http_status(call) != 0)
        return err;
    err = store_device_get(db, call->param[0], &device);
    if (err == LK_OK)
        http_answer(call, 200, device_json(call->config, &device));
    return err;
}

static struct act *
act_new(struct http_call *call)
{
    call->op = http_room(call, sizeof(struct act));
    if (call->op == NULL)
        http_fail(call, LK_ERR_NOMEM);
    return call->op;
}

static void
act_start(struct http_call *call, const char *what, bool also_deleted,
          enum lk_err (*run)(struct store_db *db, struct http_call *call))
{
    struct act *act = call->op != NULL ? call->op : act_new(call);

    if (act == NULL)
        return;
    act->run = run;
    act->also_deleted = also_deleted;
    http_audit(call, what, call->param[0]);
    http_write(call, act_write, NULL);
}

static enum lk_err
suspend_run(struct store_db *db, struct http_call *call)
{
    struct store_device device;

    return store_device_set_state(db, call->param[0], STORE_SUSPENDED, call->now_s, &device);
}

static void
device_suspend(struct http_call *call)
{
    act_start(call, "device.suspend", false, suspend_run);
}

static enum lk_err
resume_run(struct store_db *db, struct http_call *call)
{
    struct store_device device;

    return store_device_set_state(db, call->param[0], STORE_ACTIVE, call->now_s, &device);
}

static void
device_resume(struct http_call *call)
{
    act_start(call, "device.resume", false, resume_run);
}

/** Its access tokens end, and with them its connections; it comes back with the next token. */
static enum lk_err
disconnect_run(struct store_db *db, struct http_call *call)
{
    return store_tokens_end(db, STORE_DEVICE, call->param[0], call->now_s, true);
}

static void
device_disconnect(struct http_call *call)
{
    act_start(call, "device.disconnect", false, disconnect_run);
}

/** Refresh tokens too: it comes back with its secret only. */
static enum lk_err
revoke_run(struct store_db *db, struct http_call *call)
{
    return store_tokens_end(db, STORE_DEVICE, call->param[0], call->now_s, false);
}

static void
device_revoke_tokens(struct http_call *call)
{
    act_start(call, "device.revoke-tokens", false, revoke_run);
}

static enum lk_err
restore_run(struct store_db *db, struct http_call *call)
{
    return store_device_restore(db, call->param[0]);
}

static void
device_restore(struct http_call *call)
{
    act_start(call, "device.restore", true, restore_run);
}

static enum lk_err
secret_run(struct store_db *db, struct http_call *call)
{
    struct act *act = call->op;
    enum lk_err err = store_secret_replace(db, STORE_DEVICE, call->param[0], act->secret.hash,
                                           act->psk, act->old_until_s, call->now_s);
    json_t *body;

    if (err != LK_OK)
        return err;
    body = secret_json(&act->secret, act->old_until_s, call->now_s);
    json_object_set_new(body, "psk_identity",
                        json_stringn((const char *)call->param[0].ptr, call->param[0].len));
    http_answer(call, 200, body);
    return LK_OK;
}

static void
device_secret(struct http_call *call)
{
    struct act *act = act_new(call);
    enum lk_err err;

    if (act == NULL || !overlap_take(call, &act->old_until_s))
        return;
    err = secret_generate(&act->secret);
    if (err == LK_OK && lk_id_is_valid(call->param[0]))
        err = secret_psk(call->service->seal, &act->secret, call->param[0],
                         LK_BUF_OF(act->psk_room), &act->psk);
    if (err == LK_OK)
        act_start(call, "device.rotate", false, secret_run);
    else
        http_fail(call, err);
}

/* --- Deleting --------------------------------------------------------------------------------- */

static enum lk_err
answer_nothing(struct http_call *call, enum lk_err err)
{
    if (err == LK_OK)
        http_answer_bytes(call, 204, "application/json", (struct lk_span){NULL, 0});
    return err;
}

static enum lk_err
delete_run(struct store_db *db, struct http_call *call)
{
    return answer_nothing(call, store_device_delete(db, call->param[0], call->now_s));
}

static enum lk_err
purge_run(struct store_db *db, struct http_call *call)
{
    return answer_nothing(call, store_device_purge(db, call->param[0], call->now_s));
}

static void
device_delete(struct http_call *call)
{
    static const char *const names[] = {"purge", NULL};
    struct lk_span purge = http_query(call, "purge");

    if (!http_query_only(call, names))
        return;
    if (purge.ptr != NULL && !lk_span_is(purge, "true") && !lk_span_is(purge, "false")) {
        http_problem(call, 400, "invalid_query", "purge is true or false");
        return;
    }
    if (!lk_span_is(purge, "true"))
        act_start(call, "device.delete", true, delete_run);
    else if (auth_require(call, "devices:purge"))
        act_start(call, "device.purge", true, purge_run);
}

enum lk_err
devices_add_routes(struct router *router)
{
    static const struct http_route routes[] = {
        {"POST", "/v1/devices", "devices:write", HTTP_BODY_JSON, device_create},
        {"GET", "/v1/devices", "devices:read", HTTP_BODY_NONE, device_list},
        {"GET", "/v1/devices/count", "devices:read", HTTP_BODY_NONE, device_count},
        {"GET", "/v1/devices/{id}", "devices:read", HTTP_BODY_NONE, device_get},
        {"DELETE", "/v1/devices/{id}", "devices:write", HTTP_BODY_NONE, device_delete},
        {"POST", "/v1/devices/{id}/suspend", "devices:control", HTTP_BODY_NONE, device_suspend},
        {"POST", "/v1/devices/{id}/resume", "devices:control", HTTP_BODY_NONE, device_resume},
        {"POST", "/v1/devices/{id}/restore", "devices:control", HTTP_BODY_NONE, device_restore},
        {"POST", "/v1/devices/{id}/disconnect", "devices:control", HTTP_BODY_NONE,
         device_disconnect},
        {"POST", "/v1/devices/{id}/revoke-tokens", "devices:control", HTTP_BODY_NONE,
         device_revoke_tokens},
        {"POST", "/v1/devices/{id}/secret", "devices:control", HTTP_BODY_JSON_IF_ANY,
         device_secret},
    };

    return router_add(router, routes, sizeof(routes) / sizeof(routes[0]));
}
