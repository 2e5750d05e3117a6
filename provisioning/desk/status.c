#include <stdlib.h>
#include <string.h>

#include "desk/inside.h"
#include "http/router.h"
#include "registry/common.h"

struct status {
    struct store_device device;
    struct store_telemetry telemetry;
    bool has_telemetry;
    uint64_t open_commands;
    uint8_t room[TELEMETRY_MAX];
};

static enum lk_err
status_load(struct http_call *call, struct status *status)
{
    struct lk_span id = call->param[0];
    enum lk_err err = store_device_get(call->db, id, &status->device);

    if (err == LK_OK && (strcmp(status->device.tenant, call->caller.tenant) != 0 ||
                         status->device.state == STORE_DELETED))
        err = LK_ERR_NOT_FOUND;
    if (err != LK_OK)
        return err;
    err = store_telemetry_get(call->db, id, LK_BUF_OF(status->room), &status->telemetry);
    status->has_telemetry = err == LK_OK;
    if (err != LK_OK && err != LK_ERR_NOT_FOUND)
        return err;
    return store_command_count_open(call->db, id, &status->open_commands);
}

/* The number as the device wrote it, if its latest telemetry has it; else the last one known. */
static json_t *
vital_json(const json_t *telemetry, const char *name, bool is_in_latest, int32_t last)
{
    if (is_in_latest)
        return json_incref(json_object_get(telemetry, name));
    return last != STORE_NO_VALUE ? json_integer(last) : json_null();
}

static json_t *
telemetry_json(const struct status *status)
{
    json_t *object;

    if (!status->has_telemetry)
        return json_null();
    object = json_loadb((const char *)status->telemetry.payload.ptr, status->telemetry.payload.len,
                        0, NULL);
    if (object != NULL &&
        json_object_set_new(object, "received_at",
                            json_integer(status->telemetry.received_ms / 1000)) == 0)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *
name_json(const char *name)
{
    return name[0] != '\0' ? json_string(name) : json_null();
}

static json_t *
time_json(int64_t time_s)
{
    return time_s > 0 ? json_integer(time_s) : json_null();
}

static json_t *
status_json(const struct status *status)
{
    const struct store_device *device = &status->device;
    const struct store_telemetry *stored = &status->telemetry;
    struct message_vitals vitals = {.has_battery = false};
    struct message latest = {.object = telemetry_json(status)};
    bool is_said = status->has_telemetry && latest.object != NULL;
    json_t *battery, *rssi;

    if (latest.object == NULL)
        return NULL;
    if (is_said)
        message_vitals(&latest, &vitals);
    battery = vital_json(latest.object, "battery", vitals.has_battery,
                         is_said ? stored->battery : STORE_NO_VALUE);
    rssi =
        vital_json(latest.object, "rssi", vitals.has_rssi, is_said ? stored->rssi : STORE_NO_VALUE);
    return json_pack("{s:s, s:o, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:I}", "id", device->id,
                     "name", name_json(device->name), "type", device->type, "state",
                     state_name(device->state), "online", (int)device->online, "online_since",
                     time_json(device->online_since_s), "last_seen", time_json(device->last_seen_s),
                     "telemetry", latest.object, "battery", battery, "rssi", rssi,
                     "pending_commands", (json_int_t)status->open_commands);
}

void
status_get(struct http_call *call)
{
    static const char *const names[] = {NULL};
    struct status *status;
    json_t *json = NULL;
    enum lk_err err = LK_ERR_NOMEM;

    if (!http_query_only(call, names))
        return;
    status = calloc(1, sizeof(*status));
    if (status != NULL)
        err = status_load(call, status);
    if (err == LK_OK) {
        json = status_json(status);
        err = json != NULL ? LK_OK : LK_ERR_NOMEM;
    }
    free(status);
    if (err == LK_OK)
        http_answer(call, 200, json);
    else if (err == LK_ERR_NOT_FOUND)
        http_problem(call, 404, "not_found", "there is no such device");
    else
        http_fail(call, err);
}
