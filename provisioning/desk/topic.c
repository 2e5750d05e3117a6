#include "topic.h"

#include <string.h>

#include <latchkey/id.h>

#include "limits.h"

bool
desk_command_id_is_valid(struct lk_span id)
{
    if (id.len != COMMAND_ID_LEN)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        if (!(id.ptr[i] >= 'a' && id.ptr[i] <= 'z') && !(id.ptr[i] >= '0' && id.ptr[i] <= '9'))
            return false;
    }
    return true;
}

/* Take the first level off the front. */
static struct lk_span
level_take(struct lk_span *rest)
{
    struct lk_span level = *rest;
    const uint8_t *slash = rest->len > 0 ? memchr(rest->ptr, '/', rest->len) : NULL;

    if (slash == NULL) {
        *rest = (struct lk_span){NULL, 0};
        return level;
    }
    level.len = (size_t)(slash - rest->ptr);
    *rest = lk_span_of(slash + 1, rest->len - level.len - 1);
    return level;
}

/* The tenant of an id: what stands before '~'; absent in the default tenant. */
static struct lk_span
tenant_of(struct lk_span id)
{
    const uint8_t *tilde = id.len > 0 ? memchr(id.ptr, '~', id.len) : NULL;

    return tilde == NULL ? (struct lk_span){NULL, 0} : lk_span_of(id.ptr, (size_t)(tilde - id.ptr));
}

static bool
parse_tail(struct lk_span rest, struct desk_topic *out)
{
    struct lk_span kind = level_take(&rest);

    if (lk_span_is(kind, "telemetry")) {
        out->kind = DESK_TOPIC_TELEMETRY;
        return true;
    }
    if (lk_span_is(kind, "status")) {
        out->kind = DESK_TOPIC_STATUS;
        return true;
    }
    if (lk_span_is(kind, "presence")) {
        out->kind = DESK_TOPIC_PRESENCE;
        return rest.ptr == NULL;
    }
    out->kind = DESK_TOPIC_RESULT;
    out->command = level_take(&rest);
    return lk_span_is(kind, "commands") && lk_span_is(rest, "result") &&
           desk_command_id_is_valid(out->command);
}

bool
desk_topic_parse(struct lk_span topic, struct desk_topic *out)
{
    struct lk_span rest = topic, tenant = {NULL, 0};
    struct lk_span level = level_take(&rest);

    *out = (struct desk_topic){.kind = DESK_TOPIC_TELEMETRY};
    if (lk_span_is(level, "t")) {
        tenant = level_take(&rest);
        level = level_take(&rest);
        if (tenant.len == 0)
            return false;
    }
    out->device = level_take(&rest);
    if (lk_span_is(level, "devices") && lk_id_is_valid(out->device) &&
        lk_span_equal(tenant, tenant_of(out->device)) && parse_tail(rest, out))
        return true;
    *out = (struct desk_topic){.kind = DESK_TOPIC_TELEMETRY};
    return false;
}

bool
desk_topic_of_command(struct lk_span device, struct lk_span command, struct lk_buf room)
{
    struct lk_span tenant = tenant_of(device);
    const struct lk_span parts[] = {
        tenant.len > 0 ? LK_SPAN("t/") : LK_SPAN(""),
        tenant,
        tenant.len > 0 ? LK_SPAN("/") : LK_SPAN(""),
        LK_SPAN("devices/"),
        device,
        LK_SPAN("/commands/"),
        command,
    };
    size_t len = 0;

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].len >= room.cap - len)
            return false;
        if (parts[i].len > 0)
            memcpy(room.ptr + len, parts[i].ptr, parts[i].len);
        len += parts[i].len;
    }
    room.ptr[len] = '\0';
    return true;
}
