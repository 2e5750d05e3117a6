#include <stdlib.h>
#include <string.h>

#include <latchkey/id.h>
#include <latchkey/scope.h>

#include "desk/desk.h"
#include "desk/inside.h"
#include "http/router.h"
#include "registry/common.h"

#define RECEIVE_SCOPE    "commands:receive"
#define TOO_MANY_RETRY_S 5 /* seconds a caller waits when a device has too many open commands */
#define STORED_TEXTS_ROOM                                                                          \
    (COMMAND_ARGS_MAX + COMMAND_DETAIL_MAX) /* bytes: all texts of a command */

/* --- POST ------------------------------------------------------------------------------------- */

struct sending {
    struct store_command command;
    struct lk_span device;
    unsigned wait_s;
    bool is_new; /* stored by this request, and not by an earlier one with its Idempotency-Key */
};

static bool
name_is_valid(struct lk_span name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

/* The args as compact JSON in the call's room. */
static bool
take_args(struct json_take *take, struct http_call *call, struct lk_span *args)
{
    const json_t *value = json_take_any(take, "args");
    uint8_t room[COMMAND_ARGS_MAX];
    struct lk_span text;
    uint8_t *kept;
    enum lk_err err;

    *args = (struct lk_span){NULL, 0};
    if (value == NULL)
        return true;
    err = message_write(value, LK_BUF_OF(room), &text);
    if (err != LK_OK) {
        json_take_refuse(take, "/args",
                         err == LK_ERR_DEPTH ? "is nested too deeply"
                                             : "is longer than 16384 bytes as JSON");
        return true;
    }
    kept = http_room(call, text.len);
    if (kept == NULL)
        return false;
    memcpy(kept, text.ptr, text.len);
    *args = lk_span_of(kept, text.len);
    return true;
}

/* false: a problem was sent. */
static bool
take_body(struct http_call *call, struct sending *sending)
{
    struct store_command *command = &sending->command;
    struct json_take take;
    struct lk_span name;
    int64_t expires_in;

    json_take_open(&take, call);
    name = json_take_text(&take, "name", 1, COMMAND_NAME_MAX, true);
    if (!name_is_valid(name))
        json_take_refuse(&take, "/name", "must be letters, digits, '.', '_' and '-'");
    expires_in = json_take_int(&take, "expires_in", call->config->limits.command_expiry_s, 1,
                               DESK_EXPIRES_IN_MAX);
    if (!take_args(&take, call, &command->args)) {
        http_fail(call, LK_ERR_NOMEM);
        return false;
    }
    if (!json_take_close(&take))
        return false;
    memcpy(command->name, name.ptr, name.len);
    command->issued_s = call->now_s;
    command->expires_s = call->now_s + expires_in;
    return true;
}

static bool
type_receives(const struct config *config, const char *type)
{
    const struct config_kind *kind = config_type(config, lk_span_text(type));

    return kind != NULL && lk_scope_list_covers(lk_span_text(kind->scopes), LK_SPAN(RECEIVE_SCOPE));
}

/* LK_OK: the device may be sent to; otherwise the refusal stands in the call. */
static enum lk_err
check_device(struct store_db *db, struct http_call *call, struct lk_span id)
{
    struct store_device device;
    enum lk_err err = store_device_get(db, id, &device);

    if (err == LK_ERR_NOT_FOUND ||
        (err == LK_OK &&
         (strcmp(device.tenant, call->caller.tenant) != 0 || device.state == STORE_DELETED)))
        return http_problem_in(call, 404, "not_found", "there is no such device");
    if (err != LK_OK)
        return err;
    if (device.state != STORE_ACTIVE)
        return http_problem_in(call, 409, "device_suspended", "the device is suspended");
    if (!type_receives(call->config, device.type))
        return http_problem_in(call, 409, "commands_not_supported",
                               "devices of this type cannot receive commands");
    return LK_OK;
}

static enum lk_err
command_insert(struct store_db *db, struct http_call *call)
{
    struct sending *sending = call->op;
    struct store_command bare = sending->command;
    enum lk_err err = check_device(db, call, sending->device);
    json_t *json;

    if (err == LK_OK)
        err = store_command_put(db, &sending->command, call->config->limits.pending);
    if (err == LK_ERR_LIMIT) {
        http_retry_after(call, TOO_MANY_RETRY_S);
        return http_problem_in(call, 429, "too_many_commands",
                               "the device has too many unfinished commands");
    }
    if (err != LK_OK)
        return err;
    /* Without the args, which the caller knows: an answer kept for a retry must be short. */
    bare.args = (struct lk_span){NULL, 0};
    json = command_json(&bare);
    if (json == NULL)
        return LK_ERR_NOMEM;
    sending->is_new = true;
    http_answer(call, 202, json);
    return LK_OK;
}

static void
command_inserted(struct http_call *call)
{
    const struct sending *sending = call->op;
    struct desk *desk = call->service->desk;
    bool is_sent = http_status(call) == 202 && sending->is_new;

    if (is_sent)
        desk_wake(desk);
    if (is_sent && sending->wait_s > 0)
        waiters_hold(&desk->waiters, call, sending->command.id, sending->wait_s);
    else
        http_send(call);
}

void
commands_post(struct http_call *call)
{
    static const char *const names[] = {"wait", NULL};
    struct sending *sending = http_room(call, sizeof(*sending));

    if (sending == NULL) {
        http_fail(call, LK_ERR_NOMEM);
        return;
    }
    if (call->service->desk == NULL) {
        http_problem(call, 503, "desk_off", "this installation sends no commands: [desk] is off");
        return;
    }
    sending->device = call->param[0];
    http_audit(call, "command.send", sending->device);
    if (!http_query_only(call, names) ||
        !http_query_number(call, "wait", 0, 0, DESK_WAIT_MAX_S, &sending->wait_s) ||
        !take_body(call, sending))
        return;
    if (!lk_id_is_valid(sending->device)) {
        http_problem(call, 404, "not_found", "there is no such device");
        return;
    }
    if (store_command_new_id(sending->command.id) != LK_OK) {
        http_fail(call, LK_ERR_CRYPTO);
        return;
    }
    sending->command.state = STORE_COMMAND_PENDING;
    memcpy(sending->command.device, sending->device.ptr, sending->device.len);
    memcpy(sending->command.sent_by, call->caller.id, sizeof(sending->command.sent_by));
    call->op = sending;
    http_write(call, command_insert, command_inserted);
}

/* --- GET -------------------------------------------------------------------------------------- */

/* false: a problem was sent. */
static bool
find_device(struct http_call *call, struct store_device *device)
{
    enum lk_err err = store_device_get(call->db, call->param[0], device);

    if (err == LK_OK &&
        (strcmp(device->tenant, call->caller.tenant) != 0 || device->state == STORE_DELETED))
        err = LK_ERR_NOT_FOUND;
    if (err == LK_ERR_NOT_FOUND)
        http_problem(call, 404, "not_found", "there is no such device");
    else if (err != LK_OK)
        http_fail(call, err);
    return err == LK_OK;
}

static void
list_add(const struct store_command *command, void *arg)
{
    json_t *items = arg;

    json_array_append_new(items, command_json(command));
}

void
commands_list(struct http_call *call)
{
    static const char *const names[] = {"limit", "cursor", NULL};
    uint8_t room[LIST_CURSOR_MAX];
    struct store_device device;
    struct lk_span before;
    json_t *items;
    unsigned limit;
    enum lk_err err;

    if (!http_query_only(call, names) || !page_take(call, LK_BUF_OF(room), &limit, &before) ||
        !find_device(call, &device))
        return;
    items = json_array();
    /* One more than asked for shows that there is a next page. */
    err = store_command_list(call->db, call->param[0], before, limit + 1, list_add, items);
    if (err == LK_OK) {
        page_answer(call, items, limit);
    } else {
        json_decref(items);
        http_fail(call, err);
    }
}

static enum lk_err
load_command(struct http_call *call, json_t **json)
{
    struct store_command command;
    uint8_t *room = malloc(STORED_TEXTS_ROOM);
    enum lk_err err = LK_ERR_NOMEM;

    *json = NULL;
    if (room == NULL)
        return LK_ERR_NOMEM;
    err = store_command_get(call->db, call->param[1], (struct lk_buf){room, STORED_TEXTS_ROOM},
                            &command);
    if (err == LK_OK && !lk_span_is(call->param[0], command.device))
        err = LK_ERR_NOT_FOUND;
    if (err == LK_OK) {
        *json = command_json(&command);
        err = *json != NULL ? LK_OK : LK_ERR_NOMEM;
    }
    free(room);
    return err;
}

void
commands_get(struct http_call *call)
{
    static const char *const names[] = {NULL};
    struct store_device device;
    json_t *json;
    enum lk_err err;

    if (!http_query_only(call, names) || !find_device(call, &device))
        return;
    err = load_command(call, &json);
    if (err == LK_OK)
        http_answer(call, 200, json);
    else if (err == LK_ERR_NOT_FOUND)
        http_problem(call, 404, "not_found", "the device has no such command");
    else
        http_fail(call, err);
}
