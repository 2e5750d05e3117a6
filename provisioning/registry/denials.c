/*
 * What verifiers refused: the last few of each device, for whoever asks why it does not work.
 */
#include "registry.h"

#include <string.h>

#include <latchkey/id.h>

#include "common.h"

/* --- Reports ------------------------------------------------------------------------------------
 */

static struct lk_span
text_take(const json_t *item, const char *name)
{
    const json_t *value = json_object_get(item, name);
    size_t len = json_string_length(value);

    if (!json_is_string(value))
        return (struct lk_span){NULL, 0};
    if (len > DENIAL_TEXT_MAX) {
        len = DENIAL_TEXT_MAX;
        /* Not in the middle of a character. */
        while (len > 0 && ((unsigned char)json_string_value(value)[len] & 0xc0) == 0x80)
            len--;
    }
    return lk_span_of(json_string_value(value), len);
}

static bool
item_is_known(const json_t *item)
{
    static const char *const names[] = {"device", "subject", "client_id", "action",
                                        "topic",  "reason",  "at",        "count"};
    const char *name;
    const json_t *value;

    json_object_foreach ((json_t *)(uintptr_t)item, name, value) {
        bool known = false;

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            known = known || strcmp(name, names[i]) == 0;
        if (!known)
            return false;
    }
    return true;
}

static bool
number_is_fine(const json_t *item, const char *name)
{
    const json_t *value = json_object_get(item, name);

    return value == NULL || (json_is_integer(value) && json_integer_value(value) >= 0);
}

static bool
item_take(const struct http_call *call, const json_t *item, struct store_denial *d)
{
    const json_t *at = json_object_get(item, "at"), *count = json_object_get(item, "count");

    *d = (struct store_denial){.device = text_take(item, "device"),
                               .client_id = text_take(item, "client_id"),
                               .action = text_take(item, "action"),
                               .topic = text_take(item, "topic"),
                               .reason = text_take(item, "reason"),
                               .reported_by = lk_span_text(call->caller.id)};
    if (d->device.ptr == NULL)
        d->device = text_take(item, "subject");
    d->at_s = at == NULL ? call->now_s : json_integer_value(at);
    d->count = count == NULL ? 1 : json_integer_value(count);
    return json_is_object(item) && item_is_known(item) && d->device.len > 0 && d->reason.len > 0 &&
           number_is_fine(item, "at") && number_is_fine(item, "count");
}

/** On the writer's thread. Who is no device of ours is counted, and that is all: a stranger's names
 * must not fill the database. */
static enum lk_err
report_write(struct store_db *db, struct http_call *call)
{
    const json_t *list = call->op;
    json_int_t stored = 0;
    enum lk_err err = LK_OK;

    for (size_t i = 0; i < json_array_size(list) && err == LK_OK; i++) {
        struct store_device device;
        struct store_denial d;

        if (!item_take(call, json_array_get(list, i), &d))
            return LK_ERR_ARG;
        err = store_device_get(db, d.device, &device);
        if (err == LK_OK &&
            (call->caller.tenant[0] == '\0' || strcmp(device.tenant, call->caller.tenant) == 0)) {
            err = store_denial_put(db, &d);
            stored++;
        } else if (err == LK_ERR_NOT_FOUND) {
            err = LK_OK;
        }
    }
    if (err == LK_OK)
        http_answer(call, 200,
                    json_pack("{s:I, s:I}", "stored", stored, "ignored",
                              (json_int_t)json_array_size(list) - stored));
    return err;
}

static void
denials_post(struct http_call *call)
{
    struct store_denial d;
    struct json_take take;
    json_t *list;

    json_take_open(&take, call);
    list = json_take_array(&take, "denials", DENIALS_BATCH_MAX);
    if (json_object_get(call->body, "denials") == NULL)
        json_take_refuse(&take, "/denials", "is required");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!item_take(call, json_array_get(list, i), &d)) {
            json_take_refuse(&take, "/denials",
                             "each needs device (or subject) and reason, and may have client_id,"
                             " action, topic, at, count");
            break;
        }
    if (!json_take_close(&take))
        return;
    call->op = list;
    http_write(call, report_write, NULL);
}

/* --- Reading ------------------------------------------------------------------------------------
 */

static json_t *
span_json(struct lk_span text)
{
    return text.len == 0 ? json_null() : json_stringn((const char *)text.ptr, text.len);
}

static void
denial_add(const struct store_denial *d, void *arg)
{
    json_t *items = arg, *item = json_object();

    json_object_set_new(item, "at", json_integer((json_int_t)d->at_s));
    json_object_set_new(item, "client_id", span_json(d->client_id));
    json_object_set_new(item, "action", span_json(d->action));
    json_object_set_new(item, "topic", span_json(d->topic));
    json_object_set_new(item, "reason", span_json(d->reason));
    json_object_set_new(item, "count", json_integer((json_int_t)d->count));
    json_object_set_new(item, "reported_by", span_json(d->reported_by));
    json_array_append_new(items, item);
}

static void
denials_get(struct http_call *call)
{
    struct store_device device;
    json_t *items = json_array();
    enum lk_err err = store_device_get(call->db, call->param[0], &device);

    if (err == LK_OK &&
        (strcmp(device.tenant, call->caller.tenant) != 0 || device.state == STORE_DELETED))
        err = LK_ERR_NOT_FOUND;
    if (err == LK_OK)
        err = store_denial_list(call->db, call->param[0], denial_add, items);
    if (err == LK_OK) {
        http_answer(call, 200, json_pack("{s:o, s:n}", "items", items, "next_cursor"));
        return;
    }
    json_decref(items);
    if (err == LK_ERR_NOT_FOUND)
        http_problem(call, 404, "device_not_found", "no device has this id");
    else
        http_fail(call, err);
}

enum lk_err
denials_add_routes(struct router *router)
{
    static const struct http_route routes[] = {
        {"POST", "/v1/verifiers/denials", "denials:write", HTTP_BODY_JSON, denials_post},
        {"GET", "/v1/devices/{id}/denials", "devices:read", HTTP_BODY_NONE, denials_get},
    };

    return router_add(router, routes, sizeof(routes) / sizeof(routes[0]));
}
