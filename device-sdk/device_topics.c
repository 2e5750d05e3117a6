#include <latchkey/device.h>

#include <latchkey/json.h>
#include <string.h>

static bool
append(struct lk_buf room, size_t *len, struct lk_span text)
{
    if (text.len > room.cap - *len)
        return false;
    memcpy(room.ptr + *len, text.ptr, text.len);
    *len += text.len;
    return true;
}

/* Contracts section 3: an id of another tenant is `<tenant>~<name>`, and `~` stands nowhere else.
 */
static struct lk_span
tenant_of(struct lk_span id)
{
    const uint8_t *mark = memchr(id.ptr, '~', id.len);

    return mark == NULL ? (struct lk_span){NULL, 0} : lk_span_of(id.ptr, (size_t)(mark - id.ptr));
}

enum lk_err
lk_device_topic(const struct lk_device *d, struct lk_span tail, struct lk_buf room,
                struct lk_span *out)
{
    struct lk_span tenant = tenant_of(d->config.id);
    size_t len = 0;
    bool fits = true;

    *out = (struct lk_span){NULL, 0};
    if (tenant.ptr != NULL)
        fits = append(room, &len, LK_SPAN("t/")) && append(room, &len, tenant) &&
               append(room, &len, LK_SPAN("/"));
    fits = fits && append(room, &len, LK_SPAN("devices/")) && append(room, &len, d->config.id) &&
           append(room, &len, LK_SPAN("/")) && append(room, &len, tail);
    if (!fits)
        return LK_ERR_NO_SPACE;
    *out = lk_span_of(room.ptr, len);
    return LK_OK;
}

static enum lk_err
publish_below(struct lk_device *d, struct lk_span tail, struct lk_span payload, uint8_t qos,
              bool retain, uint16_t *packet_id)
{
    uint8_t room[LK_DEVICE_TOPIC_MAX];
    struct lk_span topic;
    enum lk_err err = lk_device_topic(d, tail, LK_BUF_OF(room), &topic);

    if (err != LK_OK)
        return LK_ERR_LIMIT;
    return lk_device_publish(d, topic, payload, qos, retain, packet_id);
}

enum lk_err
lk_device_telemetry(struct lk_device *d, struct lk_span payload, uint8_t qos, uint16_t *packet_id)
{
    return publish_below(d, LK_SPAN("telemetry"), payload, qos, false, packet_id);
}

enum lk_err
lk_device_status(struct lk_device *d, struct lk_span payload, uint8_t qos, uint16_t *packet_id)
{
    return publish_below(d, LK_SPAN("status"), payload, qos, true, packet_id);
}

static enum lk_err
result_write(enum lk_result result, struct lk_span detail, struct lk_buf room,
             struct lk_span *payload)
{
    struct lk_json_out w;
    struct lk_span state = result == LK_RESULT_RECEIVED ? LK_SPAN("received")
                           : result == LK_RESULT_DONE   ? LK_SPAN("done")
                                                        : LK_SPAN("failed");

    lk_json_write_open(&w, room);
    lk_json_write_object(&w);
    lk_json_write_name(&w, "state");
    lk_json_write_string(&w, state);
    if (detail.ptr != NULL) {
        lk_json_write_name(&w, "detail");
        lk_json_write_string(&w, detail);
    }
    lk_json_write_object_end(&w);
    return lk_json_write_close(&w, payload);
}

enum lk_err
lk_device_result(struct lk_device *d, struct lk_span command_id, enum lk_result result,
                 struct lk_span detail)
{
    uint8_t
        payload_room[2 * LK_DEVICE_DETAIL_MAX + 32]; /* quotes and line ends grow to two bytes */
    uint8_t tail_room[LK_DEVICE_TOPIC_MAX];
    struct lk_buf tail = LK_BUF_OF(tail_room);
    struct lk_span payload;
    size_t len = 0;
    enum lk_err err;

    if (detail.len > LK_DEVICE_DETAIL_MAX)
        return LK_ERR_LIMIT;
    err = result_write(result, detail, LK_BUF_OF(payload_room), &payload);
    if (err != LK_OK)
        return err == LK_ERR_NO_SPACE ? LK_ERR_LIMIT : err;
    if (!append(tail, &len, LK_SPAN("commands/")) || !append(tail, &len, command_id) ||
        !append(tail, &len, LK_SPAN("/result")))
        return LK_ERR_LIMIT;
    return publish_below(d, lk_span_of(tail_room, len), payload, 1, false, NULL);
}
