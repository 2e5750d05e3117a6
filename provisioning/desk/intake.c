#include <stdlib.h>
#include <string.h>

#include <latchkey/host/log.h>

#include "desk/inside.h"

/* --- refusals --------------------------------------------------------------------------------- */

/* One line, then silence for a while: a device that talks nonsense must not fill the disk. */
static void
complain(struct intake_count *count, const char *kind, struct lk_span about, enum lk_err err,
         int64_t monotonic_ms)
{
    count->count++;
    if (monotonic_ms < count->quiet_until_ms)
        return;
    lk_log(LK_LOG_WARN, "desk.message outcome=%s about=%s err=%s since_last=%llu total=%llu", kind,
           lk_log_span(about), lk_err_name(err), (unsigned long long)(count->count - count->told),
           (unsigned long long)count->count);
    count->told = count->count;
    count->quiet_until_ms = monotonic_ms + DESK_LOG_INTERVAL_MS;
}

/* --- taking in -------------------------------------------------------------------------------- */

static void
item_wipe(struct intake *intake, struct intake_item *item)
{
    intake->bytes -= item->text_len;
    free(item->text);
    *item = (struct intake_item){.text = NULL};
}

void
intake_wipe(struct intake *intake)
{
    for (size_t i = 0; i < intake->count; i++)
        item_wipe(intake, &intake->item[i]);
    intake->count = 0;
    intake->tries = 0;
    intake->retry_at_ms = 0;
}

bool
intake_is_full(const struct intake *intake)
{
    return intake->count == DESK_BATCH_MAX || intake->bytes + TELEMETRY_MAX > DESK_BATCH_BYTES_MAX;
}

bool
intake_is_due(const struct intake *intake, int64_t monotonic_ms)
{
    if (intake->count == 0 || monotonic_ms < intake->retry_at_ms)
        return false;
    return intake_is_full(intake) || intake->tries > 0 ||
           monotonic_ms >= intake->oldest_ms + DESK_BATCH_AGE_MS;
}

/* Only the latest telemetry is kept, so a flood from one device holds one place. What an older one
 * said about battery and signal, and the newer does not, stays. */
static struct intake_item *
find_telemetry(struct intake *intake, const char *device)
{
    for (size_t i = 0; i < intake->count; i++) {
        if (intake->item[i].kind == DESK_TOPIC_TELEMETRY &&
            strcmp(intake->item[i].device, device) == 0)
            return &intake->item[i];
    }
    return NULL;
}

static void
carry_vitals(const struct intake_item *older, struct intake_item *newer)
{
    if (!newer->vitals.has_battery && older->vitals.has_battery) {
        newer->vitals.has_battery = true;
        newer->vitals.battery = older->vitals.battery;
    }
    if (!newer->vitals.has_rssi && older->vitals.has_rssi) {
        newer->vitals.has_rssi = true;
        newer->vitals.rssi = older->vitals.rssi;
    }
}

static bool
item_keep_text(struct intake_item *item, struct lk_span text)
{
    if (text.len == 0)
        return true;
    item->text = malloc(text.len);
    if (item->text == NULL)
        return false;
    memcpy(item->text, text.ptr, text.len);
    item->text_len = text.len;
    return true;
}

static enum lk_err
read_result(const struct message *message, struct intake_item *item)
{
    static const enum store_command_state states[] = {
        [MESSAGE_RECEIVED] = STORE_COMMAND_DELIVERED,
        [MESSAGE_DONE] = STORE_COMMAND_DONE,
        [MESSAGE_FAILED] = STORE_COMMAND_FAILED,
    };
    enum message_result_state state;
    uint8_t room[COMMAND_DETAIL_MAX];
    struct lk_span detail;
    enum lk_err err = message_result(message, LK_BUF_OF(room), &state, &detail);

    if (err != LK_OK)
        return err;
    item->state = states[state];
    return item_keep_text(item, detail) ? LK_OK : LK_ERR_NOMEM;
}

static enum lk_err
read_presence(const struct message *message, struct intake_item *item)
{
    enum lk_err err = message_presence(message, &item->online, &item->since_s);

    if (err == LK_OK && item->since_s == 0)
        item->since_s = item->received_ms / 1000;
    return err;
}

static enum lk_err
read_item(const struct message *message, struct intake_item *item)
{
    switch (item->kind) {
    case DESK_TOPIC_TELEMETRY:
        message_vitals(message, &item->vitals);
        return item_keep_text(item, message->json) ? LK_OK : LK_ERR_NOMEM;
    case DESK_TOPIC_RESULT:
        return read_result(message, item);
    case DESK_TOPIC_PRESENCE:
        return read_presence(message, item);
    case DESK_TOPIC_STATUS:
        return LK_OK;
    }
    return LK_ERR_ARG;
}

static void
intake_append(struct intake *intake, struct intake_item *item, int64_t monotonic_ms)
{
    struct intake_item *older =
        item->kind == DESK_TOPIC_TELEMETRY ? find_telemetry(intake, item->device) : NULL;

    intake->bytes += item->text_len;
    if (older != NULL) {
        carry_vitals(older, item);
        item_wipe(intake, older);
        *older = *item;
        return;
    }
    if (intake->count == 0)
        intake->oldest_ms = monotonic_ms;
    intake->item[intake->count++] = *item;
}

void
intake_put(struct intake *intake, struct lk_span topic, struct lk_span payload, bool is_retained,
           int64_t now_ms, int64_t monotonic_ms)
{
    struct intake_item item = {.received_ms = now_ms, .is_seen = !is_retained};
    struct message message = {.object = NULL};
    struct desk_topic parts;
    enum lk_err err = LK_ERR_SYNTAX;

    if (!desk_topic_parse(topic, &parts))
        goto out;
    item.kind = parts.kind;
    err = LK_OK;
    /* A retained message is news of an unknown day. Presence says since when; the others do not. */
    if (is_retained && item.kind != DESK_TOPIC_PRESENCE)
        goto out;
    memcpy(item.device, parts.device.ptr, parts.device.len);
    if (parts.command.len > 0)
        memcpy(item.command, parts.command.ptr, parts.command.len);
    /* An empty retained presence is a cleared one: nothing is known, so nothing changes. */
    if (is_retained && payload.len == 0)
        goto out;
    err = message_read(payload, LK_BUF_OF(intake->room), &message);
    if (err == LK_OK)
        err = read_item(&message, &item);
    if (err == LK_OK)
        intake_append(intake, &item, monotonic_ms);
out:
    message_free(&message);
    if (err == LK_ERR_NOMEM)
        complain(&intake->lost, "lost", topic, err, monotonic_ms);
    else if (err != LK_OK)
        complain(&intake->malformed, "malformed", topic, err, monotonic_ms);
    else if (item.vitals.is_odd)
        lk_log(LK_LOG_DEBUG, "desk.message outcome=odd topic=%s battery or rssi out of range",
               lk_log_span(topic));
}

/* Both fit: message_vitals() keeps to -200 to 100. */
static int32_t
round_off(double value)
{
    return (int32_t)(value >= 0 ? value + 0.5 : value - 0.5);
}

/* --- committing; all of it on the writer's thread --------------------------------------------- */

static enum lk_err
write_telemetry(struct store_db *db, const struct intake_item *item)
{
    struct store_telemetry telemetry = {
        .received_ms = item->received_ms,
        .payload = lk_span_of(item->text, item->text_len),
        .battery = STORE_NO_VALUE,
        .rssi = STORE_NO_VALUE,
    };

    if (item->vitals.has_battery)
        telemetry.battery = round_off(item->vitals.battery);
    if (item->vitals.has_rssi)
        telemetry.rssi = round_off(item->vitals.rssi);
    return store_telemetry_put(db, lk_span_text(item->device), &telemetry);
}

/* The device is there: what nobody was subscribed for a moment ago may find it now. */
static enum lk_err
write_seen(struct store_db *db, const struct intake_item *item)
{
    enum lk_err err = store_seen_put(db, lk_span_text(item->device), item->received_ms / 1000);

    if (err == LK_OK && item->kind != DESK_TOPIC_RESULT)
        err = store_command_undefer(db, lk_span_text(item->device), false);
    return err;
}

static enum lk_err
write_result(struct store_db *db, const struct intake_item *item)
{
    enum lk_err err = store_command_set_state(
        db, lk_span_text(item->device), lk_span_text(item->command), item->state,
        lk_span_of(item->text, item->text_len), item->received_ms / 1000);

    return err != LK_OK ? err : write_seen(db, item);
}

static enum lk_err
write_presence(struct store_db *db, const struct intake_item *item)
{
    enum lk_err err =
        store_presence_put(db, lk_span_text(item->device), item->online, item->since_s);

    if (err == LK_OK && item->online && item->is_seen)
        err = write_seen(db, item);
    return err;
}

static enum lk_err
write_item(struct store_db *db, const struct intake_item *item)
{
    switch (item->kind) {
    case DESK_TOPIC_TELEMETRY:
        return write_telemetry(db, item);
    case DESK_TOPIC_STATUS:
        return write_seen(db, item);
    case DESK_TOPIC_RESULT:
        return write_result(db, item);
    case DESK_TOPIC_PRESENCE:
        return write_presence(db, item);
    }
    return LK_ERR_ARG;
}

/* Is it this message that is wrong, or the store that cannot? */
static bool
is_about_the_store(enum lk_err err)
{
    return err == LK_ERR_BUSY || err == LK_ERR_UNAVAILABLE || err == LK_ERR_IO ||
           err == LK_ERR_NOMEM;
}

static enum lk_err
write_batch(struct store_db *db, void *arg)
{
    struct intake *intake = arg;

    for (size_t i = 0; i < intake->count; i++) {
        intake->item[i].outcome = write_item(db, &intake->item[i]);
        if (is_about_the_store(intake->item[i].outcome))
            return intake->item[i].outcome;
    }
    return LK_OK;
}

/* --- after the commit ------------------------------------------------------------------------- */

static void
report_result(struct intake *intake, const struct intake_item *item, int64_t monotonic_ms)
{
    if (item->outcome == LK_OK)
        lk_log(LK_LOG_INFO, "command.result id=%s device=%s state=%s", item->command, item->device,
               command_state_name(item->state));
    else if (item->outcome == LK_ERR_STATE)
        complain(&intake->late, "late_result", lk_span_text(item->command), item->outcome,
                 monotonic_ms);
    else
        complain(&intake->unknown, "unknown_command", lk_span_text(item->command), item->outcome,
                 monotonic_ms);
}

static void
report_item(struct intake *intake, const struct intake_item *item, int64_t monotonic_ms)
{
    if (item->outcome == LK_OK)
        intake->stored++;
    if (item->kind == DESK_TOPIC_RESULT)
        report_result(intake, item, monotonic_ms);
    else if (item->outcome != LK_OK)
        complain(&intake->unknown, "unknown_device", lk_span_text(item->device), item->outcome,
                 monotonic_ms);
}

static enum lk_err
commit_failed(struct intake *intake, enum lk_err err, int64_t monotonic_ms)
{
    intake->tries++;
    intake->retry_at_ms = monotonic_ms + DESK_FLUSH_RETRY_MS;
    if (intake->tries < DESK_FLUSH_TRIES_MAX)
        return err;
    lk_log(LK_LOG_ERROR, "desk.commit outcome=given_up messages=%zu err=%s", intake->count,
           lk_err_name(err));
    intake->lost.count += intake->count;
    intake_wipe(intake);
    return LK_OK;
}

enum lk_err
intake_commit(struct intake *intake, struct store *store, int64_t monotonic_ms,
              intake_finished_fn finished, void *arg)
{
    enum lk_err err = store_write_wait(store, write_batch, intake);

    if (err != LK_OK)
        return commit_failed(intake, err, monotonic_ms);
    for (size_t i = 0; i < intake->count; i++) {
        const struct intake_item *item = &intake->item[i];

        report_item(intake, item, monotonic_ms);
        if (item->kind == DESK_TOPIC_RESULT && item->outcome == LK_OK &&
            item->state != STORE_COMMAND_DELIVERED)
            finished(item->command, arg);
    }
    intake_wipe(intake);
    return LK_OK;
}
