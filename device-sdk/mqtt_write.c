#include <latchkey/device/mqtt.h>

#include <latchkey/base64url.h>
#include <string.h>

enum property {
    PROP_SESSION_EXPIRY = 0x11,
    PROP_AUTH_METHOD = 0x15,
    PROP_AUTH_DATA = 0x16,
    PROP_WILL_DELAY = 0x18,
    PROP_RECEIVE_MAX = 0x21,
    PROP_PACKET_MAX = 0x27
};

/* Remembers the first error. Without room it only counts, which is how lengths are found. */
struct out {
    enum lk_err err;
    uint8_t *ptr; /* NULL: count */
    size_t cap, len;
};

/* A part of a packet: written twice, once to count and once for good. */
typedef void (*part_fn)(struct out *w, const void *from);

static void
put(struct out *w, struct lk_span bytes)
{
    if (w->err != LK_OK)
        return;
    if (w->ptr != NULL && bytes.len > w->cap - w->len) {
        w->err = LK_ERR_NO_SPACE;
        return;
    }
    if (w->ptr != NULL && bytes.len > 0)
        memcpy(w->ptr + w->len, bytes.ptr, bytes.len);
    w->len += bytes.len;
}

static void
put_u8(struct out *w, unsigned value)
{
    uint8_t byte = (uint8_t)value;

    put(w, lk_span_of(&byte, 1));
}

static void
put_u16(struct out *w, unsigned value)
{
    put_u8(w, value >> 8);
    put_u8(w, value & 0xff);
}

static void
put_u32(struct out *w, uint32_t value)
{
    put_u16(w, value >> 16);
    put_u16(w, value & 0xffff);
}

static void
put_varint(struct out *w, size_t value)
{
    if (value > LK_MQTT_PACKET_MAX && w->err == LK_OK)
        w->err = LK_ERR_LIMIT;
    do {
        put_u8(w, (unsigned)(value & 0x7f) | (value > 0x7f ? 0x80u : 0));
        value >>= 7;
    } while (value > 0);
}

/* MQTT 5.0 section 1.5.4 and 1.5.6: strings and binary data are both a u16 and the bytes. */
static void
put_string(struct out *w, struct lk_span text)
{
    if (text.len > UINT16_MAX && w->err == LK_OK)
        w->err = LK_ERR_LIMIT;
    put_u16(w, (unsigned)text.len & 0xffff);
    put(w, text);
}

static void
put_base64url(struct out *w, struct lk_span bytes)
{
    size_t len = LK_BASE64URL_LEN(bytes.len);
    struct lk_span text;

    if (len > UINT16_MAX && w->err == LK_OK)
        w->err = LK_ERR_LIMIT;
    put_u16(w, (unsigned)len & 0xffff);
    if (w->err != LK_OK)
        return;
    if (w->ptr != NULL)
        w->err =
            lk_base64url_encode(bytes, (struct lk_buf){w->ptr + w->len, w->cap - w->len}, &text);
    if (w->err == LK_OK)
        w->len += len;
}

/* A length, then what it is the length of. */
static void
put_counted(struct out *w, part_fn part, const void *from)
{
    struct out count = {LK_OK, NULL, 0, 0};

    part(&count, from);
    if (count.err != LK_OK && w->err == LK_OK)
        w->err = count.err;
    put_varint(w, count.len);
    if (w->err == LK_OK)
        part(w, from);
}

static enum lk_err
write_packet(unsigned first, part_fn body, const void *from, struct lk_buf room,
             struct lk_span *out)
{
    struct out w = {LK_OK, room.ptr, room.cap, 0};

    if (room.ptr == NULL)
        return LK_ERR_NO_SPACE;
    put_u8(&w, first);
    put_counted(&w, body, from);
    if (w.err == LK_OK)
        *out = lk_span_of(room.ptr, w.len);
    return w.err;
}

static bool
version_is_known(uint8_t version)
{
    return version == LK_MQTT_311 || version == LK_MQTT_5;
}

static bool
topic_is_sound(struct lk_span topic)
{
    return topic.len > 0 && lk_utf8_is_valid(topic) && memchr(topic.ptr, 0, topic.len) == NULL;
}

/* A name to publish to: no wildcards (MQTT 5.0 section 3.3.2.1). */
static bool
name_is_sound(struct lk_span topic)
{
    return topic_is_sound(topic) && memchr(topic.ptr, '+', topic.len) == NULL &&
           memchr(topic.ptr, '#', topic.len) == NULL;
}

/* ---- CONNECT ---- */

static void
connect_props(struct out *w, const void *from)
{
    const struct lk_mqtt_connect *c = from;

    if (c->session_expiry_s != 0) {
        put_u8(w, PROP_SESSION_EXPIRY);
        put_u32(w, c->session_expiry_s);
    }
    if (c->receive_max != 0) {
        put_u8(w, PROP_RECEIVE_MAX);
        put_u16(w, c->receive_max);
    }
    if (c->packet_max != 0) {
        put_u8(w, PROP_PACKET_MAX);
        put_u32(w, c->packet_max);
    }
    if (c->auth_method.ptr != NULL) {
        put_u8(w, PROP_AUTH_METHOD);
        put_string(w, c->auth_method);
    }
    if (c->auth_data.ptr != NULL) {
        put_u8(w, PROP_AUTH_DATA);
        put_string(w, c->auth_data);
    }
}

static void
will_props(struct out *w, const void *from)
{
    const struct lk_mqtt_will *will = from;

    if (will->delay_s != 0) {
        put_u8(w, PROP_WILL_DELAY);
        put_u32(w, will->delay_s);
    }
}

static unsigned
connect_flags(const struct lk_mqtt_connect *c)
{
    unsigned flags = c->clean_start ? 0x02 : 0;

    if (c->will != NULL)
        flags |= 0x04u | (unsigned)c->will->qos << 3 | (c->will->retain ? 0x20u : 0);
    if (c->password.ptr != NULL)
        flags |= 0x40;
    if (c->username.ptr != NULL)
        flags |= 0x80;
    return flags;
}

static void
connect_body(struct out *w, const void *from)
{
    const struct lk_mqtt_connect *c = from;

    put_string(w, LK_SPAN("MQTT"));
    put_u8(w, c->version);
    put_u8(w, connect_flags(c));
    put_u16(w, c->keep_alive_s);
    if (c->version == LK_MQTT_5)
        put_counted(w, connect_props, c);
    put_string(w, c->client_id);
    if (c->will != NULL) {
        if (c->version == LK_MQTT_5)
            put_counted(w, will_props, c->will);
        put_string(w, c->will->topic);
        put_string(w, c->will->payload);
    }
    if (c->username.ptr != NULL)
        put_string(w, c->username);
    if (c->password.ptr == NULL)
        return;
    if (c->password_base64url)
        put_base64url(w, c->password);
    else
        put_string(w, c->password);
}

static bool
connect_is_sound(const struct lk_mqtt_connect *c)
{
    if (!version_is_known(c->version) || !lk_utf8_is_valid(c->client_id) ||
        !lk_utf8_is_valid(c->username))
        return false;
    if (c->will != NULL && (c->will->qos > 1 || !name_is_sound(c->will->topic)))
        return false;
    if (c->version == LK_MQTT_5) /* section 3.1.2.11.10: no data without a method */
        return c->auth_method.ptr != NULL || c->auth_data.ptr == NULL;
    /* MQTT 3.1.1 sections 3.1.2.9 and 3.1.3.1 */
    return (c->password.ptr == NULL || c->username.ptr != NULL) &&
           (c->client_id.len > 0 || c->clean_start) && c->auth_method.ptr == NULL &&
           c->auth_data.ptr == NULL;
}

enum lk_err
lk_mqtt_write_connect(const struct lk_mqtt_connect *connect, struct lk_buf room,
                      struct lk_span *out)
{
    *out = (struct lk_span){NULL, 0};
    if (!connect_is_sound(connect))
        return LK_ERR_ARG;
    return write_packet(LK_MQTT_CONNECT << 4, connect_body, connect, room, out);
}

/* ---- the others ---- */

struct publish {
    uint8_t version;
    const struct lk_mqtt_publish *p;
};

static void
publish_body(struct out *w, const void *from)
{
    const struct publish *q = from;

    put_string(w, q->p->topic);
    if (q->p->qos > 0)
        put_u16(w, q->p->packet_id);
    if (q->version == LK_MQTT_5)
        put_varint(w, 0); /* no properties */
    put(w, q->p->payload);
}

enum lk_err
lk_mqtt_write_publish(uint8_t version, const struct lk_mqtt_publish *p, struct lk_buf room,
                      struct lk_span *out)
{
    struct publish q = {version, p};
    unsigned first = LK_MQTT_PUBLISH << 4;

    *out = (struct lk_span){NULL, 0};
    if (!version_is_known(version) || !name_is_sound(p->topic) || p->qos > 1 ||
        (p->qos == 1) != (p->packet_id != 0) || (p->dup && p->qos == 0))
        return LK_ERR_ARG;
    first |= (p->dup ? 0x08u : 0) | (unsigned)p->qos << 1 | (p->retain ? 0x01u : 0);
    return write_packet(first, publish_body, &q, room, out);
}

struct ack {
    uint16_t packet_id;
    uint8_t reason;
    bool with_reason;
};

static void
ack_body(struct out *w, const void *from)
{
    const struct ack *a = from;

    put_u16(w, a->packet_id);
    if (a->with_reason)
        put_u8(w, a->reason);
}

enum lk_err
lk_mqtt_write_puback(uint8_t version, uint16_t packet_id, uint8_t reason, struct lk_buf room,
                     struct lk_span *out)
{
    /* MQTT 5.0 section 3.4.2.1: success is said by leaving the reason out. */
    struct ack a = {packet_id, reason, version == LK_MQTT_5 && reason != LK_MQTT_SUCCESS};

    *out = (struct lk_span){NULL, 0};
    if (!version_is_known(version) || packet_id == 0)
        return LK_ERR_ARG;
    return write_packet(LK_MQTT_PUBACK << 4, ack_body, &a, room, out);
}

struct filter {
    uint8_t version;
    uint16_t packet_id;
    struct lk_span text;
    bool with_qos;
    uint8_t qos;
};

static void
filter_body(struct out *w, const void *from)
{
    const struct filter *f = from;

    put_u16(w, f->packet_id);
    if (f->version == LK_MQTT_5)
        put_varint(w, 0);
    put_string(w, f->text);
    if (f->with_qos)
        put_u8(w, f->qos);
}

enum lk_err
lk_mqtt_write_subscribe(uint8_t version, uint16_t packet_id, struct lk_span filter, uint8_t qos,
                        struct lk_buf room, struct lk_span *out)
{
    struct filter f = {version, packet_id, filter, true, qos};

    *out = (struct lk_span){NULL, 0};
    if (!version_is_known(version) || packet_id == 0 || !topic_is_sound(filter) || qos > 1)
        return LK_ERR_ARG;
    return write_packet(LK_MQTT_SUBSCRIBE << 4 | 0x02, filter_body, &f, room, out);
}

enum lk_err
lk_mqtt_write_unsubscribe(uint8_t version, uint16_t packet_id, struct lk_span filter,
                          struct lk_buf room, struct lk_span *out)
{
    struct filter f = {version, packet_id, filter, false, 0};

    *out = (struct lk_span){NULL, 0};
    if (!version_is_known(version) || packet_id == 0 || !topic_is_sound(filter))
        return LK_ERR_ARG;
    return write_packet(LK_MQTT_UNSUBSCRIBE << 4 | 0x02, filter_body, &f, room, out);
}

static void
no_body(struct out *w, const void *from)
{
    (void)w;
    (void)from;
}

enum lk_err
lk_mqtt_write_pingreq(struct lk_buf room, struct lk_span *out)
{
    *out = (struct lk_span){NULL, 0};
    return write_packet(LK_MQTT_PINGREQ << 4, no_body, NULL, room, out);
}

static void
reason_body(struct out *w, const void *from)
{
    put(w, lk_span_of(from, 1));
}

enum lk_err
lk_mqtt_write_disconnect(uint8_t version, uint8_t reason, struct lk_buf room, struct lk_span *out)
{
    bool with_reason = version == LK_MQTT_5 && reason != LK_MQTT_SUCCESS;

    *out = (struct lk_span){NULL, 0};
    if (!version_is_known(version))
        return LK_ERR_ARG;
    return write_packet(LK_MQTT_DISCONNECT << 4, with_reason ? reason_body : no_body, &reason, room,
                        out);
}

struct auth {
    uint8_t reason;
    struct lk_span method, data;
};

static void
auth_props(struct out *w, const void *from)
{
    const struct auth *a = from;

    put_u8(w, PROP_AUTH_METHOD);
    put_string(w, a->method);
    if (a->data.ptr != NULL) {
        put_u8(w, PROP_AUTH_DATA);
        put_string(w, a->data);
    }
}

static void
auth_body(struct out *w, const void *from)
{
    const struct auth *a = from;

    put_u8(w, a->reason);
    put_counted(w, auth_props, a);
}

enum lk_err
lk_mqtt_write_auth(uint8_t reason, struct lk_span method, struct lk_span data, struct lk_buf room,
                   struct lk_span *out)
{
    struct auth a = {reason, method, data};

    *out = (struct lk_span){NULL, 0};
    if ((reason != LK_MQTT_CONTINUE_AUTH && reason != LK_MQTT_REAUTHENTICATE) || method.len == 0 ||
        !lk_utf8_is_valid(method))
        return LK_ERR_ARG;
    return write_packet(LK_MQTT_AUTH << 4, auth_body, &a, room, out);
}
