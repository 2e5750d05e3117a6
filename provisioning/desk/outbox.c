#include <stdio.h>
#include <string.h>

#include <latchkey/host/log.h>
#include <latchkey/json.h>

#include "desk/inside.h"

#define TOPIC_MAX      256 /* bytes: two tenants, an id, a command, words between */
#define MESSAGE_ROOM   (COMMAND_ARGS_MAX + 1024) /* bytes: args and what stands around them */
#define REASON_FAILURE 0x80 /* this and above: the broker refused (MQTT 5.0 section 2.4) */

enum lk_err
outbox_message(const struct store_command *command, struct lk_buf room, struct lk_span *json)
{
    struct lk_json_out w;

    lk_json_write_open(&w, room);
    lk_json_write_object(&w);
    lk_json_write_name(&w, "id");
    lk_json_write_string(&w, lk_span_text(command->id));
    lk_json_write_name(&w, "name");
    lk_json_write_string(&w, lk_span_text(command->name));
    if (command->args.len > 0) {
        lk_json_write_name(&w, "args");
        lk_json_write_raw(&w, command->args);
    }
    lk_json_write_name(&w, "issued_at");
    lk_json_write_int(&w, command->issued_s);
    lk_json_write_name(&w, "expires_at");
    lk_json_write_int(&w, command->expires_s);
    lk_json_write_object_end(&w);
    return lk_json_write_close(&w, json);
}

int64_t
outbox_retry_s(int64_t issued_s, int64_t now_s)
{
    int64_t wait_s = (now_s - issued_s) / 2;

    if (wait_s < DESK_RETRY_MIN_S)
        wait_s = DESK_RETRY_MIN_S;
    return now_s + (wait_s > DESK_RETRY_MAX_S ? DESK_RETRY_MAX_S : wait_s);
}

/* --- publishing ------------------------------------------------------------------------------- */

struct filling {
    struct outbox *outbox;
    struct mqtt *mqtt;
    int64_t now_s;
    unsigned seen;
};

static bool
is_held(const struct outbox *outbox, const char *id)
{
    for (size_t i = 0; i < outbox->count; i++) {
        if (strcmp(outbox->item[i].id, id) == 0)
            return true;
    }
    return false;
}

static enum lk_err
publish(struct mqtt *mqtt, const struct store_command *command, int64_t now_s, int *mid)
{
    char topic[TOPIC_MAX];
    uint8_t room[MESSAGE_ROOM];
    struct lk_span message;

    *mid = 0;
    if (outbox_message(command, LK_BUF_OF(room), &message) != LK_OK ||
        !desk_topic_of_command(lk_span_text(command->device), lk_span_text(command->id),
                               LK_BUF_OF(topic)))
        return LK_ERR_LIMIT;
    return mqtt_publish(mqtt, topic, message, (uint32_t)(command->expires_s - now_s), mid);
}

static void
fill_one(const struct store_command *command, void *arg)
{
    struct filling *filling = arg;
    struct outbox *outbox = filling->outbox;
    struct outbox_item *item = &outbox->item[outbox->count];
    enum lk_err err;
    int mid;

    filling->seen++;
    if (outbox->count == DESK_INFLIGHT_MAX || command->expires_s <= filling->now_s ||
        is_held(outbox, command->id))
        return;
    err = publish(filling->mqtt, command, filling->now_s, &mid);
    if (err != LK_OK) {
        lk_log(LK_LOG_WARN, "command.publish id=%s device=%s outcome=failed err=%s", command->id,
               command->device, lk_err_name(err));
        return;
    }
    *item = (struct outbox_item){.mid = mid, .issued_s = command->issued_s};
    memcpy(item->id, command->id, sizeof(item->id));
    outbox->count++;
    lk_log(LK_LOG_DEBUG, "command.publish id=%s device=%s outcome=sent", command->id,
           command->device);
}

void
outbox_fill(struct outbox *outbox, struct store_db *db, struct mqtt *mqtt, int64_t now_s)
{
    struct filling filling = {.outbox = outbox, .mqtt = mqtt, .now_s = now_s};
    /* Those on their way are still due in the store: room for as many others beside them. */
    unsigned limit = 2 * DESK_INFLIGHT_MAX;
    enum lk_err err;

    if (outbox->count == DESK_INFLIGHT_MAX)
        return;
    err = store_command_due(db, now_s, limit, fill_one, &filling);
    if (err != LK_OK)
        lk_log(LK_LOG_WARN, "command.publish outcome=unread err=%s", lk_err_name(err));
    outbox->is_more = filling.seen == limit;
}

/* --- what the broker said --------------------------------------------------------------------- */

void
outbox_on_sent(struct outbox *outbox, int mid, int reason, int64_t now_s, int64_t monotonic_ms)
{
    for (size_t i = 0; i < outbox->count; i++) {
        struct outbox_item *item = &outbox->item[i];

        if (item->mid != mid || item->is_answered)
            continue;
        item->is_answered = true;
        if (outbox->answered_ms == 0)
            outbox->answered_ms = monotonic_ms;
        item->due_s = STORE_NEVER_DUE;
        if (reason == MQTT_REASON_NO_SUBSCRIBERS || reason >= REASON_FAILURE)
            item->due_s = outbox_retry_s(item->issued_s, now_s);
        if (reason >= REASON_FAILURE)
            lk_log(LK_LOG_WARN, "command.publish id=%s outcome=refused reason=%d", item->id,
                   reason);
        return;
    }
}

static enum lk_err
write_answers(struct store_db *db, void *arg)
{
    const struct outbox *outbox = arg;

    for (size_t i = 0; i < outbox->count; i++) {
        const struct outbox_item *item = &outbox->item[i];
        enum lk_err err = LK_OK;

        if (item->is_answered)
            err = store_command_defer(db, lk_span_text(item->id), item->due_s);
        if (err != LK_OK)
            return err;
    }
    return LK_OK;
}

bool
outbox_has_answers(const struct outbox *outbox)
{
    return outbox->answered_ms != 0;
}

bool
outbox_is_due(const struct outbox *outbox, int64_t monotonic_ms)
{
    size_t answered = 0;

    if (outbox->answered_ms == 0)
        return false;
    for (size_t i = 0; i < outbox->count; i++)
        answered += outbox->item[i].is_answered ? 1 : 0;
    return answered == outbox->count || monotonic_ms >= outbox->answered_ms + DESK_BATCH_AGE_MS;
}

void
outbox_commit(struct outbox *outbox, struct store *store, int64_t monotonic_ms)
{
    size_t kept = 0;
    enum lk_err err;

    if (outbox->answered_ms == 0)
        return;
    err = store_write_wait(store, write_answers, outbox);
    if (err != LK_OK) {
        lk_log(LK_LOG_WARN, "command.publish outcome=unmarked err=%s", lk_err_name(err));
        outbox->answered_ms = monotonic_ms + DESK_FLUSH_RETRY_MS;
        return;
    }
    outbox->answered_ms = 0;
    for (size_t i = 0; i < outbox->count; i++) {
        if (!outbox->item[i].is_answered)
            outbox->item[kept++] = outbox->item[i];
    }
    outbox->count = kept;
}

bool
outbox_is_idle(const struct outbox *outbox)
{
    return outbox->count == 0;
}

void
outbox_drop(struct outbox *outbox)
{
    size_t kept = 0;

    for (size_t i = 0; i < outbox->count; i++) {
        if (outbox->item[i].is_answered)
            outbox->item[kept++] = outbox->item[i];
    }
    outbox->count = kept;
    outbox->is_more = true;
}
