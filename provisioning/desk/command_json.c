#include "desk/inside.h"

const char *
command_state_name(enum store_command_state state)
{
    switch (state) {
    case STORE_COMMAND_PENDING:
        return "pending";
    case STORE_COMMAND_DELIVERED:
        return "delivered";
    case STORE_COMMAND_DONE:
        return "done";
    case STORE_COMMAND_FAILED:
        return "failed";
    case STORE_COMMAND_EXPIRED:
        return "expired";
    case STORE_COMMAND_CANCELLED:
        return "cancelled";
    }
    return "unknown";
}

static bool
set_text(json_t *object, const char *name, struct lk_span json)
{
    if (json.len == 0)
        return true;
    return json_object_set_new(
               object, name, json_loadb((const char *)json.ptr, json.len, JSON_DECODE_ANY, NULL)) ==
           0;
}

static bool
set_time(json_t *object, const char *name, int64_t time_s)
{
    return time_s == 0 || json_object_set_new(object, name, json_integer(time_s)) == 0;
}

json_t *
command_json(const struct store_command *command)
{
    json_t *object = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "id", command->id, "device", command->device, "name",
        command->name, "state", command_state_name(command->state), "sent_by", command->sent_by,
        "sent_at", (json_int_t)command->issued_s, "expires_at", (json_int_t)command->expires_s);

    if (object == NULL)
        return NULL;
    if (set_text(object, "args", command->args) && set_text(object, "detail", command->detail) &&
        set_time(object, "delivered_at", command->delivered_s) &&
        set_time(object, "finished_at", command->finished_s))
        return object;
    json_decref(object);
    return NULL;
}
