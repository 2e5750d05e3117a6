/*
 * What a broker sends: the first byte chooses the version. Spans stay inside, what was read as a
 * PUBLISH or PUBACK can be written again and reads the same.
 */
#include "fuzz.h"

#include <latchkey/device/mqtt.h>

static bool
is_inside(struct lk_span part, struct lk_span all)
{
    return part.len == 0 || (part.ptr >= all.ptr && part.ptr + part.len <= all.ptr + all.len);
}

static void
write_and_read_again(uint8_t version, const struct lk_mqtt_packet *p)
{
    static uint8_t room[70000];
    struct lk_mqtt_publish publish = {.topic = p->topic,
                                      .payload = p->payload,
                                      .qos = p->qos,
                                      .retain = p->retain,
                                      .dup = p->dup,
                                      .packet_id = p->packet_id};
    struct lk_mqtt_packet again;
    struct lk_span out;

    if (p->payload.len > 4096)
        return;
    PROMISE(lk_mqtt_write_publish(version, &publish, LK_BUF_OF(room), &out) == LK_OK);
    PROMISE(lk_mqtt_parse(version, out, &again) == LK_OK);
    PROMISE(lk_span_equal(again.topic, p->topic) && lk_span_equal(again.payload, p->payload));
    PROMISE(again.qos == p->qos && again.packet_id == p->packet_id && again.dup == p->dup);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_mqtt_packet p;
    struct lk_span in;
    uint8_t version, first;
    size_t len;

    if (size == 0)
        return 0;
    version = (data[0] & 1) != 0 ? LK_MQTT_5 : LK_MQTT_311;
    in = lk_span_of(data + 1, size - 1);
    if (lk_mqtt_parse(version, in, &p) != LK_OK) {
        PROMISE(p.type == 0 && p.topic.ptr == NULL);
        return 0;
    }
    PROMISE(lk_mqtt_frame(in, &first, &len) == LK_OK && len == in.len);
    PROMISE(is_inside(p.topic, in) && is_inside(p.payload, in) && is_inside(p.reasons, in));
    PROMISE(is_inside(p.props.auth_method, in) && is_inside(p.props.auth_data, in));
    PROMISE(is_inside(p.props.reason_string, in) && is_inside(p.props.content_type, in));
    if (p.type == LK_MQTT_PUBLISH)
        write_and_read_again(version, &p);
    return 0;
}
