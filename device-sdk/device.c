#include <latchkey/device.h>

#include <latchkey/base64url.h>
#include <string.h>

#include "outbox.h"
#include "pause.h"

/* The numbers SIZES.md and README.md speak of, kept honest where pointers have four bytes. */
_Static_assert(sizeof(void *) != 4 || sizeof(struct lk_device) <= 288, "struct lk_device grew");
_Static_assert(sizeof(void *) != 4 || sizeof(struct lk_source) <= 640, "struct lk_source grew");

enum state {
    STATE_IDLE,       /* for a token, or for next_ms */
    STATE_OPENING,    /* TCP and TLS */
    STATE_CONNECTING, /* CONNECT is on its way, no CONNACK yet */
    STATE_UP,
    STATE_CLOSING, /* what is under way is finished, then DISCONNECT */
    STATE_STOPPED
};

enum {
    SUB_ID_BASE = OUTBOX_ID_MAX + 1,      /* packet ids of subscriptions */
    ANSWER_ROOM = 8,                      /* bytes that any answer of ours to a packet needs */
    TURNS_MAX = 4 * LK_DEVICE_PACKETS_MAX /* of a step: a packet takes up to four */
};

static bool
is_enhanced(const struct lk_device *d)
{
    return d->config.version == LK_MQTT_5 && !d->config.bearer;
}

static struct lk_span
auth_method(const struct lk_device *d)
{
    return d->config.source->config.format == LK_FORMAT_JWT ? LK_SPAN("OAUTH2-JWT")
                                                            : LK_SPAN("OAUTH2-CWT");
}

static void
tell(struct lk_device *d, const struct lk_device_event *event)
{
    if (d->config.on_event != NULL)
        d->config.on_event(d->config.ctx, d, event);
}

/* ---- bytes on their way out ---- */

static void
out_wipe(struct lk_device *d)
{
    lk_wipe(d->config.out_room.ptr, d->out_len);
    d->out_at = d->out_len = 0;
}

/* Move what is still to be sent to the front; what stood behind it is wiped: a token, perhaps. */
static void
out_compact(struct lk_device *d)
{
    uint8_t *room = d->config.out_room.ptr;
    size_t left = d->out_len - d->out_at;

    if (d->out_at == 0)
        return;
    memmove(room, room + d->out_at, left);
    lk_wipe(room + left, d->out_len - left);
    d->out_at = 0;
    d->out_len = left;
}

static struct lk_buf
out_free(struct lk_device *d)
{
    out_compact(d);
    return (struct lk_buf){d->config.out_room.ptr + d->out_len,
                           d->config.out_room.cap - d->out_len};
}

/* What a writer put into out_free() is now to be sent. NO_SPACE becomes "not now" or "never". */
static enum lk_err
out_add(struct lk_device *d, enum lk_err err, struct lk_span packet)
{
    if (err == LK_ERR_NO_SPACE)
        return d->out_len > d->out_at ? LK_ERR_BUSY : LK_ERR_LIMIT;
    if (err == LK_OK)
        d->out_len += packet.len;
    return err;
}

/* ---- the end of a connection ---- */

static void
reset_connection(struct lk_device *d)
{
    d->config.link.close(d->config.link.ctx);
    out_wipe(d);
    lk_wipe(d->config.in_room.ptr, d->in_len);
    d->in_len = 0;
    d->skip = 0;
    d->auth_pending = d->ping_pending = d->ping_owed = d->said_goodbye = false;
    d->state = STATE_IDLE;
}

/* Does this reason mean that the token is to blame, so that only a new one will do? */
static bool
blames_token(uint8_t reason)
{
    return reason == LK_MQTT_NOT_AUTHORIZED || reason == LK_MQTT_BAD_PASSWORD ||
           reason == LK_MQTT_ADMINISTRATIVE;
}

/* The end we wanted: stopped, or on to a new connection with a new token, without a pause. */
static void
finish(struct lk_device *d, uint64_t now_ms)
{
    struct lk_device_event event = {.kind = LK_DEVICE_DISCONNECTED, .until_ms = now_ms};

    reset_connection(d);
    d->next_ms = now_ms;
    if (d->stopping)
        d->state = STATE_STOPPED;
    tell(d, &event);
}

static void
down(struct lk_device *d, enum lk_err err, uint8_t reason, uint64_t now_ms)
{
    struct lk_device_event event = {
        .kind = LK_DEVICE_DISCONNECTED, .err = err, .reason = reason, .until_ms = now_ms};
    bool was_up = d->state == STATE_UP || d->state == STATE_CLOSING;

    if (d->said_goodbye) {
        finish(d, now_ms);
        return;
    }
    if (was_up && now_ms - d->up_ms >= LK_DEVICE_STABLE_MS)
        d->failures = 0;
    if (d->failures < UINT8_MAX)
        d->failures++;
    if (blames_token(reason))
        d->serial_spent = d->auth_pending ? d->serial_auth : d->serial_used;
    reset_connection(d);
    d->ask_source = true;
    d->next_ms = now_ms + pause_backoff(&d->config.random, d->failures, LK_DEVICE_BACKOFF_MS,
                                        LK_DEVICE_BACKOFF_MAX_MS);
    if (d->stopping)
        d->state = STATE_STOPPED;
    event.until_ms = d->next_ms;
    tell(d, &event);
}

/* Tell the broker why, as far as its buffers take it, and end the connection. */
static void
quit(struct lk_device *d, enum lk_err err, uint8_t reason, uint64_t now_ms)
{
    struct lk_span packet;
    size_t sent;
    enum lk_err wrote;

    out_wipe(d);
    wrote = lk_mqtt_write_disconnect(d->config.version, reason, d->config.out_room, &packet);
    if (wrote == LK_OK)
        wrote = d->config.link.write(d->config.link.ctx, packet, &sent);
    (void)wrote; /* it is a courtesy */
    down(d, err, 0, now_ms);
}

/* ---- what we send ---- */

static enum lk_err
send_connect(struct lk_device *d, struct lk_span token)
{
    const struct lk_device_config *c = &d->config;
    struct lk_mqtt_connect connect = {
        .version = c->version,
        .clean_start = c->session_expiry_s == 0,
        .keep_alive_s = c->keep_alive_s,
        .client_id = c->client_id,
        .will = c->will,
        .session_expiry_s = c->session_expiry_s,
        .packet_max = c->in_room.cap > UINT32_MAX ? UINT32_MAX : (uint32_t)c->in_room.cap,
    };
    struct lk_span packet;
    enum lk_err err;

    if (is_enhanced(d)) {
        connect.auth_method = auth_method(d);
        connect.auth_data = token;
    } else {
        connect.username = c->id;
        connect.password = token;
        connect.password_base64url = c->source->config.format != LK_FORMAT_JWT;
    }
    err = lk_mqtt_write_connect(&connect, out_free(d), &packet);
    return out_add(d, err, packet);
}

static enum lk_err
send_auth(struct lk_device *d, uint64_t now_ms)
{
    struct lk_span token = lk_source_token(d->config.source, now_ms), packet;
    enum lk_err err;

    if (token.ptr == NULL)
        return LK_ERR_BUSY;
    err = lk_mqtt_write_auth(LK_MQTT_REAUTHENTICATE, auth_method(d), token, out_free(d), &packet);
    err = out_add(d, err, packet);
    if (err != LK_OK)
        return err;
    d->serial_auth = lk_source_serial(d->config.source);
    d->auth_pending = true;
    d->auth_by_ms = now_ms + LK_DEVICE_AUTH_MS;
    return LK_OK;
}

/* The filter with this number: the configured ones, then the commands'. */
static bool
filter_get(const struct lk_device *d, size_t number, struct lk_buf room,
           struct lk_device_filter *filter)
{
    if (number < d->config.filter_count) {
        *filter = d->config.filters[number];
        return true;
    }
    if (number > d->config.filter_count || !d->config.commands)
        return false;
    filter->qos = 1;
    return lk_device_topic(d, LK_SPAN("commands/+"), room, &filter->filter) == LK_OK;
}

static enum lk_err
send_subscribe(struct lk_device *d)
{
    uint8_t room[LK_DEVICE_TOPIC_MAX];
    struct lk_device_filter filter;
    struct lk_span packet;
    enum lk_err err;

    if (!filter_get(d, d->sub_next, LK_BUF_OF(room), &filter))
        return LK_ERR_NOT_FOUND;
    err = lk_mqtt_write_subscribe(d->config.version, (uint16_t)(SUB_ID_BASE + d->sub_next),
                                  filter.filter, filter.qos, out_free(d), &packet);
    err = out_add(d, err, packet);
    if (err != LK_ERR_BUSY)
        d->sub_next++;
    return err;
}

/* Queued for another broker, perhaps: this one takes no packet as long as that. */
static void
give_up(struct lk_device *d, const struct outbox_entry *entry)
{
    struct lk_device_event event = {.kind = LK_DEVICE_PUBLISHED,
                                    .err = LK_ERR_LIMIT,
                                    .packet_id = entry->packet_id,
                                    .reason = LK_MQTT_TOO_LARGE};

    outbox_mark_sent(&d->outbox, entry);
    if (outbox_take(&d->outbox, entry->packet_id))
        tell(d, &event);
}

static void
send_outbox(struct lk_device *d)
{
    size_t at = 0, in_flight = outbox_count_sent(&d->outbox);
    struct outbox_entry entry;

    while (in_flight < d->receive_max && outbox_next(&d->outbox, &at, &entry)) {
        struct lk_buf room;

        if (entry.sent)
            continue;
        if (entry.packet.len > d->packet_max) {
            give_up(d, &entry);
            at = entry.at;
            continue;
        }
        room = out_free(d);
        if (entry.packet.len > room.cap)
            return;
        memcpy(room.ptr, entry.packet.ptr, entry.packet.len);
        d->out_len += entry.packet.len;
        outbox_mark_sent(&d->outbox, &entry);
        in_flight++;
    }
}

/* Owed as long as the room is full; but the time for the answer runs: a broker that reads nothing
 * is as dead as one that says nothing. */
static void
send_ping(struct lk_device *d)
{
    struct lk_span packet;
    enum lk_err err = lk_mqtt_write_pingreq(out_free(d), &packet);

    d->ping_owed = out_add(d, err, packet) != LK_OK;
}

/* ---- what we hear ---- */

static void
heard_connack(struct lk_device *d, const struct lk_mqtt_packet *p, uint64_t now_ms)
{
    struct lk_device_event event = {.kind = LK_DEVICE_CONNECTED,
                                    .session_present = p->session_present};

    /* A broker of 2.0.11's age answers a refused renewal with CONNACK on the open connection. */
    if (p->reason != LK_MQTT_SUCCESS) {
        down(d, LK_ERR_DENIED, p->reason, now_ms);
        return;
    }
    if (d->state != STATE_CONNECTING ||
        (is_enhanced(d) && !lk_span_equal(p->props.auth_method, auth_method(d)))) {
        quit(d, LK_ERR_MALFORMED, LK_MQTT_PROTOCOL_ERROR, now_ms);
        return;
    }
    d->state = STATE_UP;
    d->up_ms = now_ms;
    d->sub_next = 0;
    d->renewals = 0;
    d->receive_max = p->props.receive_max;
    d->packet_max = p->props.packet_max;
    d->keep_alive_ms = d->config.keep_alive_s * 1000u;
    if (p->props.has_keep_alive) /* MQTT 5.0 section 3.2.2.3.14: the broker has the last word */
        d->keep_alive_ms = p->props.keep_alive_s * 1000u;
    outbox_rewind(&d->outbox, p->session_present);
    tell(d, &event);
}

static void
heard_auth(struct lk_device *d, const struct lk_mqtt_packet *p, uint64_t now_ms)
{
    struct lk_device_event event = {.kind = LK_DEVICE_RENEWED};

    /* OAUTH2-JWT and OAUTH2-CWT have one step: a broker that asks for more is not ours. */
    if (!d->auth_pending || p->reason != LK_MQTT_SUCCESS) {
        quit(d, LK_ERR_MALFORMED, LK_MQTT_PROTOCOL_ERROR, now_ms);
        return;
    }
    d->auth_pending = false;
    d->serial_used = d->serial_auth;
    event.count = ++d->renewals;
    tell(d, &event);
}

static struct lk_span
command_id_of(const struct lk_device *d, struct lk_span topic)
{
    uint8_t room[LK_DEVICE_TOPIC_MAX];
    struct lk_span prefix, id = {NULL, 0};

    if (!d->config.commands ||
        lk_device_topic(d, LK_SPAN("commands/"), LK_BUF_OF(room), &prefix) != LK_OK ||
        topic.len <= prefix.len || memcmp(topic.ptr, prefix.ptr, prefix.len) != 0)
        return id;
    id = lk_span_of(topic.ptr + prefix.len, topic.len - prefix.len);
    if (memchr(id.ptr, '/', id.len) != NULL)
        id = (struct lk_span){NULL, 0};
    return id;
}

static void
heard_publish(struct lk_device *d, const struct lk_mqtt_packet *p, enum lk_err too_long)
{
    struct lk_device_event event = {
        .kind = LK_DEVICE_MESSAGE,
        .err = too_long,
        .retain = p->retain,
        .topic = p->topic,
        .payload = p->payload,
        .command_id = command_id_of(d, p->topic),
    };
    struct lk_span packet;
    enum lk_err err;

    /* Room for the PUBACK was made sure of before; it leaves after the callback has returned. */
    if (p->qos > 0) {
        err = lk_mqtt_write_puback(d->config.version, p->packet_id, LK_MQTT_SUCCESS, out_free(d),
                                   &packet);
        err = out_add(d, err, packet);
        (void)err;
    }
    if (event.command_id.len > 0 && too_long == LK_OK)
        event.kind = LK_DEVICE_COMMAND;
    tell(d, &event);
}

static void
heard_puback(struct lk_device *d, const struct lk_mqtt_packet *p)
{
    struct lk_device_event event = {
        .kind = LK_DEVICE_PUBLISHED, .packet_id = p->packet_id, .reason = p->reason};

    if (outbox_take(&d->outbox, p->packet_id))
        tell(d, &event);
}

static void
heard_suback(struct lk_device *d, const struct lk_mqtt_packet *p)
{
    struct lk_device_event event = {.kind = LK_DEVICE_SUBSCRIBED, .packet_id = p->packet_id};
    uint8_t room[LK_DEVICE_TOPIC_MAX];
    struct lk_device_filter filter;

    if (p->packet_id < SUB_ID_BASE || p->packet_id - SUB_ID_BASE >= d->sub_next ||
        !filter_get(d, (size_t)(p->packet_id - SUB_ID_BASE), LK_BUF_OF(room), &filter))
        return;
    event.topic = filter.filter;
    event.reason = p->reasons.ptr[0];
    tell(d, &event);
}

static void
heard(struct lk_device *d, const struct lk_mqtt_packet *p, uint64_t now_ms)
{
    bool is_open = d->state == STATE_UP || d->state == STATE_CLOSING;

    /* MQTT 5.0 section 3.2: CONNACK comes first. A DISCONNECT before it is told as it is. */
    if (!is_open && p->type != LK_MQTT_CONNACK && p->type != LK_MQTT_DISCONNECT) {
        quit(d, LK_ERR_MALFORMED, LK_MQTT_PROTOCOL_ERROR, now_ms);
        return;
    }
    switch (p->type) {
    case LK_MQTT_CONNACK:
        heard_connack(d, p, now_ms);
        break;
    case LK_MQTT_PUBLISH:
        heard_publish(d, p, LK_OK);
        break;
    case LK_MQTT_PUBACK:
        heard_puback(d, p);
        break;
    case LK_MQTT_SUBACK:
        heard_suback(d, p);
        break;
    case LK_MQTT_PINGRESP:
        d->ping_pending = false;
        break;
    case LK_MQTT_DISCONNECT:
        down(d, LK_ERR_CLOSED, p->reason, now_ms);
        break;
    case LK_MQTT_AUTH:
        heard_auth(d, p, now_ms);
        break;
    case LK_MQTT_UNSUBACK:
    case LK_MQTT_CONNECT:
    case LK_MQTT_SUBSCRIBE:
    case LK_MQTT_UNSUBSCRIBE:
    case LK_MQTT_PINGREQ:
        break;
    }
}

static void
in_drop(struct lk_device *d, size_t len)
{
    uint8_t *room = d->config.in_room.ptr;

    memmove(room, room + len, d->in_len - len);
    d->in_len -= len;
}

/*
 * A message longer than the room. An MQTT 5 broker was told; one of 3.1.1 cannot be, and would send
 * it again for ever: so it is acknowledged unread, and the application hears of it.
 */
static enum lk_err
begin_skip(struct lk_device *d, uint8_t first, size_t len)
{
    struct lk_mqtt_packet p = {.qos = first >> 1 & 0x03, .retain = (first & 0x01) != 0};
    const uint8_t *room = d->config.in_room.ptr;
    size_t at = 2, topic_len, need;

    if (first >> 4 != LK_MQTT_PUBLISH || d->config.version == LK_MQTT_5 || p.qos > 1)
        return LK_ERR_LIMIT;
    while ((room[at - 1] & 0x80) != 0) /* lk_mqtt_frame() found the length whole */
        at++;
    if (d->in_len < at + 2)
        return LK_ERR_LIMIT;
    topic_len = (size_t)room[at] << 8 | room[at + 1];
    need = at + 2 + topic_len + (p.qos > 0 ? 2 : 0);
    if (need > d->in_len || need > len)
        return LK_ERR_LIMIT;
    p.topic = lk_span_of(room + at + 2, topic_len);
    if (p.qos > 0)
        p.packet_id = (uint16_t)(room[need - 2] << 8 | room[need - 1]);
    if (!lk_utf8_is_valid(p.topic) || (p.qos > 0 && p.packet_id == 0))
        return LK_ERR_MALFORMED;
    d->skip = len - d->in_len;
    d->in_len = 0;
    heard_publish(d, &p, LK_ERR_LIMIT);
    return LK_OK;
}

/* Handle one packet. LK_OK: one was handled; LK_ERR_BUSY: more bytes, or room to answer, needed. */
static enum lk_err
take_packet(struct lk_device *d, uint64_t now_ms)
{
    struct lk_span all = {d->config.in_room.ptr, d->in_len};
    struct lk_mqtt_packet packet;
    uint8_t first;
    size_t len;
    enum lk_err err;

    if (d->in_len == 0 || out_free(d).cap < ANSWER_ROOM)
        return LK_ERR_BUSY;
    err = lk_mqtt_frame(all, &first, &len);
    if (err == LK_ERR_TRUNCATED)
        return LK_ERR_BUSY;
    if (err == LK_OK && len > d->config.in_room.cap) {
        if (d->in_len < d->config.in_room.cap)
            return LK_ERR_BUSY;
        return begin_skip(d, first, len);
    }
    if (err == LK_OK && len > d->in_len)
        return LK_ERR_BUSY;
    if (err == LK_OK)
        err = lk_mqtt_parse(d->config.version, lk_span_of(all.ptr, len), &packet);
    if (err != LK_OK)
        return err;
    heard(d, &packet, now_ms);
    if (d->in_len >= len) /* else the connection has been ended meanwhile */
        in_drop(d, len);
    return LK_OK;
}

/* ---- input and output: LK_OK means progress, LK_ERR_BUSY that `io` must be waited for ---- */

static enum lk_err
do_write(struct lk_device *d, uint64_t now_ms, unsigned *io)
{
    struct lk_span rest = {d->config.out_room.ptr + d->out_at, d->out_len - d->out_at};
    size_t sent = 0;
    enum lk_err err;

    if (rest.len == 0)
        return LK_ERR_BUSY;
    err = d->config.link.write(d->config.link.ctx, rest, &sent);
    if (err == LK_ERR_BUSY)
        *io |= pause_wants(&d->config.link, LK_WANT_WRITE);
    if (err != LK_OK)
        return err;
    d->sent_ms = now_ms;
    d->out_at += sent;
    if (d->out_at == d->out_len)
        out_wipe(d);
    return LK_OK;
}

static enum lk_err
do_read(struct lk_device *d, uint64_t now_ms, unsigned *io)
{
    struct lk_buf room = {d->config.in_room.ptr + d->in_len, d->config.in_room.cap - d->in_len};
    size_t len = 0;
    enum lk_err err;

    if (room.cap == 0)
        return LK_ERR_BUSY;
    err = d->config.link.read(d->config.link.ctx, room, &len);
    if (err == LK_ERR_BUSY)
        *io |= pause_wants(&d->config.link, LK_WANT_READ);
    if (err != LK_OK)
        return err;
    d->heard_ms = now_ms;
    if (d->skip > 0) {
        size_t gone = len < d->skip ? len : (size_t)d->skip;

        d->skip -= gone;
        memmove(room.ptr, room.ptr + gone, len - gone);
        len -= gone;
    }
    d->in_len += len;
    return LK_OK;
}

static enum lk_err
exchange(struct lk_device *d, uint64_t now_ms, unsigned *io)
{
    enum lk_err wrote, read, took;

    wrote = do_write(d, now_ms, io);
    if (wrote != LK_OK && wrote != LK_ERR_BUSY) {
        /* The broker may have said why it hangs up before it did. */
        while (do_read(d, now_ms, io) == LK_OK && take_packet(d, now_ms) == LK_OK &&
               d->state >= STATE_CONNECTING)
            continue;
        if (d->state >= STATE_CONNECTING && d->state != STATE_STOPPED)
            down(d, wrote, 0, now_ms);
        return LK_ERR_BUSY;
    }
    took = take_packet(d, now_ms);
    if (took != LK_OK && took != LK_ERR_BUSY) {
        quit(d, took, took == LK_ERR_LIMIT ? LK_MQTT_TOO_LARGE : LK_MQTT_MALFORMED, now_ms);
        return LK_OK;
    }
    if (took == LK_OK)
        return LK_OK;
    read = do_read(d, now_ms, io);
    if (read != LK_OK && read != LK_ERR_BUSY) {
        down(d, read, 0, now_ms);
        return LK_OK;
    }
    return read == LK_OK || wrote == LK_OK ? LK_OK : LK_ERR_BUSY;
}

/* ---- states ---- */

/*
 * A token the broker refused is not shown again, with one exception: while the server that could
 * give another cannot be reached, the broker may have changed its mind, and asking costs no more
 * than waiting.
 */
static bool
has_token_to_show(const struct lk_device *d, uint64_t now_ms)
{
    const struct lk_source *source = d->config.source;
    enum lk_err last = lk_source_last(source)->err;

    if (lk_source_token(source, now_ms).ptr == NULL)
        return false;
    if (lk_source_serial(source) != d->serial_spent)
        return true;
    return lk_source_is_failing(source) && last != LK_ERR_CREDENTIAL && last != LK_ERR_DENIED;
}

static enum lk_err
do_idle(struct lk_device *d, uint64_t now_ms)
{
    if (d->stopping) {
        d->state = STATE_STOPPED;
        return LK_OK;
    }
    if (now_ms < d->next_ms || !has_token_to_show(d, now_ms))
        return LK_ERR_BUSY;
    d->state = STATE_OPENING;
    d->deadline_ms = now_ms + LK_DEVICE_OPEN_MS;
    return LK_OK;
}

static enum lk_err
do_open(struct lk_device *d, uint64_t now_ms, unsigned *io)
{
    const struct lk_transport *link = &d->config.link;
    struct lk_span token = lk_source_token(d->config.source, now_ms);
    enum lk_err err = link->open(link->ctx);

    if (err == LK_ERR_BUSY) {
        *io |= pause_wants(link, LK_WANT_READ);
        return LK_ERR_BUSY;
    }
    if (err == LK_OK)
        err = token.ptr != NULL ? send_connect(d, token) : LK_ERR_EXPIRED;
    if (err != LK_OK) {
        down(d, err, 0, now_ms);
        return LK_OK;
    }
    d->serial_used = lk_source_serial(d->config.source);
    d->state = STATE_CONNECTING;
    d->deadline_ms = now_ms + LK_DEVICE_CONNACK_MS;
    d->sent_ms = d->heard_ms = now_ms;
    return LK_OK;
}

static void
begin_closing(struct lk_device *d, uint64_t now_ms)
{
    d->state = STATE_CLOSING;
    d->deadline_ms = now_ms + LK_DEVICE_STOP_MS;
}

static void
keep_alive(struct lk_device *d, uint64_t now_ms)
{
    if (d->keep_alive_ms == 0)
        return;
    if (d->ping_pending && now_ms >= d->pong_by_ms) {
        down(d, LK_ERR_TIMEOUT, 0, now_ms);
        return;
    }
    /* Silence of the broker counts too: who publishes all the time would never ask otherwise. */
    if (!d->ping_pending && (now_ms - d->sent_ms >= d->keep_alive_ms / 4 * 3 ||
                             now_ms - d->heard_ms >= d->keep_alive_ms)) {
        d->ping_pending = d->ping_owed = true;
        d->pong_by_ms = now_ms + d->keep_alive_ms / 2;
    }
    if (d->ping_owed)
        send_ping(d);
}

/* What a connection that stands has to do besides moving bytes. */
static void
do_duties(struct lk_device *d, uint64_t now_ms)
{
    bool has_news = lk_source_serial(d->config.source) != d->serial_used;

    if (d->auth_pending && now_ms >= d->auth_by_ms) {
        down(d, LK_ERR_TIMEOUT, 0, now_ms);
        return;
    }
    if (d->stopping || (has_news && !is_enhanced(d))) {
        begin_closing(d, now_ms);
        return;
    }
    if (has_news && !d->auth_pending && send_auth(d, now_ms) == LK_ERR_LIMIT) {
        /* The room took the CONNECT but not this token: a new connection will say so again. */
        quit(d, LK_ERR_LIMIT, LK_MQTT_SUCCESS, now_ms);
        return;
    }
    while (send_subscribe(d) == LK_OK)
        continue;
    send_outbox(d);
    keep_alive(d, now_ms);
}

/*
 * A stop delivers the whole outbox; a reconnect for a new token only waits for what is under way.
 * Then DISCONNECT, which discards the will, and the end.
 */
static void
do_closing(struct lk_device *d, uint64_t now_ms)
{
    size_t waiting;
    struct lk_span packet;
    enum lk_err err;

    if (d->said_goodbye) {
        if (d->out_len == 0 || now_ms >= d->deadline_ms)
            finish(d, now_ms);
        return;
    }
    if (d->stopping)
        send_outbox(d);
    waiting = d->stopping ? outbox_count(&d->outbox) : outbox_count_sent(&d->outbox);
    if (waiting > 0 && now_ms < d->deadline_ms)
        return;
    err = lk_mqtt_write_disconnect(d->config.version, LK_MQTT_SUCCESS, out_free(d), &packet);
    err = out_add(d, err, packet);
    if (err == LK_OK || now_ms >= d->deadline_ms) {
        d->said_goodbye = true;
        d->deadline_ms = now_ms + LK_DEVICE_GOODBYE_MS;
    }
}

static enum lk_err
advance(struct lk_device *d, uint64_t now_ms, unsigned *io)
{
    switch ((enum state)d->state) {
    case STATE_IDLE:
        return do_idle(d, now_ms);
    case STATE_OPENING:
        if (d->stopping || now_ms >= d->deadline_ms) {
            down(d, LK_ERR_TIMEOUT, 0, now_ms);
            return LK_OK;
        }
        return do_open(d, now_ms, io);
    case STATE_CONNECTING:
        if (d->stopping || now_ms >= d->deadline_ms) {
            down(d, LK_ERR_TIMEOUT, 0, now_ms);
            return LK_OK;
        }
        return exchange(d, now_ms, io);
    case STATE_UP:
        do_duties(d, now_ms);
        if (d->state != STATE_UP)
            return LK_OK;
        return exchange(d, now_ms, io);
    case STATE_CLOSING:
        do_closing(d, now_ms);
        if (d->state != STATE_CLOSING)
            return LK_OK;
        return exchange(d, now_ms, io);
    case STATE_STOPPED:
        break;
    }
    return LK_ERR_BUSY;
}

static uint64_t
next_duty_ms(const struct lk_device *d, uint64_t now_ms)
{
    uint64_t at_ms = LK_NEVER_MS;

    switch ((enum state)d->state) {
    case STATE_IDLE:
        /* Without a token the source's own time is the one that counts. */
        if (has_token_to_show(d, now_ms))
            at_ms = d->next_ms;
        break;
    case STATE_OPENING:
    case STATE_CONNECTING:
    case STATE_CLOSING:
        at_ms = d->deadline_ms;
        break;
    case STATE_UP:
        if (d->auth_pending)
            at_ms = d->auth_by_ms;
        if (d->keep_alive_ms > 0 && d->ping_pending)
            at_ms = pause_sooner(at_ms, d->pong_by_ms);
        else if (d->keep_alive_ms > 0)
            at_ms = pause_sooner(at_ms, pause_sooner(d->sent_ms + d->keep_alive_ms / 4 * 3,
                                                     d->heard_ms + d->keep_alive_ms));
        break;
    case STATE_STOPPED:
        break;
    }
    return at_ms;
}

static struct lk_want
step_source(struct lk_device *d, uint64_t now_ms)
{
    struct lk_source *source = d->config.source;
    struct lk_device_event event = {0};
    const struct lk_source_report *report = lk_source_last(source);
    struct lk_want want;

    if (d->serial_spent != 0 && lk_source_serial(source) == d->serial_spent)
        lk_source_renew(source, now_ms);
    want = lk_source_step(source, now_ms);
    event.until_ms = report->next_ms;
    if (lk_source_serial(source) != d->serial_seen) {
        event.kind = LK_DEVICE_TOKEN;
        d->serial_seen = lk_source_serial(source);
        tell(d, &event);
    } else if (source->failures != d->token_failures && source->failures > 0) {
        event.kind = LK_DEVICE_TOKEN_FAILED;
        event.err = report->err;
        event.reason = report->oauth_error >= 0 && report->oauth_error <= UINT8_MAX
                           ? (uint8_t)report->oauth_error
                           : 0;
        tell(d, &event);
    }
    d->token_failures = source->failures;
    return want;
}

struct lk_device_want
lk_device_step(struct lk_device *d, uint64_t now_ms)
{
    struct lk_device_want want = {0, 0, 0};
    struct lk_want source = {0, LK_NEVER_MS};
    unsigned turns = 0;
    enum lk_err err = LK_ERR_BUSY;

    if (d->state == STATE_STOPPED)
        return (struct lk_device_want){0, 0, now_ms}; /* nothing to wait for any more */
    d->ask_source = true;
    do {
        if (d->ask_source)
            source = step_source(d, now_ms);
        d->ask_source = false;
        want.link_io = 0;
        err = advance(d, now_ms, &want.link_io);
    } while ((err == LK_OK || d->ask_source) && ++turns < TURNS_MAX);

    want.source_io = source.io;
    want.until_ms = pause_sooner(source.until_ms, next_duty_ms(d, now_ms));
    if (err == LK_OK) /* there is more to do, but others want a turn too */
        want.until_ms = now_ms;
    else if (d->state == STATE_OPENING && want.link_io == 0)
        want.until_ms = pause_sooner(want.until_ms, now_ms + PAUSE_POLL_MS);
    if (d->state == STATE_STOPPED)
        want = (struct lk_device_want){0, 0, now_ms};
    return want;
}

/* ---- calls ---- */

static bool
will_is_sound(const struct lk_mqtt_will *will)
{
    return will == NULL || (will->topic.len > 0 && will->qos <= 1);
}

enum lk_err
lk_device_init(struct lk_device *d, const struct lk_device_config *c)
{
    *d = (struct lk_device){0};
    if (c->source == NULL || c->link.open == NULL || c->link.read == NULL ||
        c->link.write == NULL || c->link.close == NULL || c->random.fill == NULL ||
        (c->version != LK_MQTT_5 && c->version != LK_MQTT_311) || c->id.len == 0 ||
        c->id.len > LK_DEVICE_ID_MAX || c->in_room.cap < 64 || c->out_room.cap < 128 ||
        (c->filter_count > 0 && c->filters == NULL) ||
        c->filter_count >= UINT16_MAX - SUB_ID_BASE || !will_is_sound(c->will))
        return LK_ERR_ARG;
    d->config = *c;
    if (d->config.client_id.ptr == NULL)
        d->config.client_id = c->id;
    d->outbox.room = c->outbox;
    d->state = STATE_IDLE;
    d->receive_max = UINT16_MAX;
    d->packet_max = UINT32_MAX;
    return LK_OK;
}

static enum lk_err
publish_now(struct lk_device *d, const struct lk_mqtt_publish *p)
{
    struct lk_span packet;
    enum lk_err err;

    if (d->state != STATE_UP)
        return LK_ERR_STATE;
    err = lk_mqtt_write_publish(d->config.version, p, out_free(d), &packet);
    if (err == LK_OK && packet.len > d->packet_max)
        return LK_ERR_LIMIT;
    return out_add(d, err, packet);
}

enum lk_err
lk_device_publish(struct lk_device *d, struct lk_span topic, struct lk_span payload, uint8_t qos,
                  bool retain, uint16_t *packet_id)
{
    struct lk_mqtt_publish p = {.topic = topic, .payload = payload, .qos = qos, .retain = retain};
    size_t len = topic.len + payload.len + 16; /* no head is longer */
    enum lk_err err;

    if (packet_id != NULL)
        *packet_id = 0;
    if (d->stopping || d->state == STATE_STOPPED)
        return LK_ERR_STATE;
    if (qos == 0)
        return publish_now(d, &p);
    if (len > d->config.out_room.cap || len > d->packet_max)
        return LK_ERR_LIMIT;
    err = outbox_put(&d->outbox, d->config.version, &p);
    if (err == LK_OK && packet_id != NULL)
        *packet_id = p.packet_id;
    return err;
}

bool
lk_device_is_connected(const struct lk_device *d)
{
    return d->state == STATE_UP;
}

size_t
lk_device_pending(const struct lk_device *d)
{
    return outbox_count(&d->outbox);
}

void
lk_device_stop(struct lk_device *d)
{
    d->stopping = true;
}

bool
lk_device_is_stopped(const struct lk_device *d)
{
    return d->state == STATE_STOPPED;
}

void
lk_device_wipe(struct lk_device *d)
{
    const struct lk_device_config *c = &d->config;

    if (c->link.close != NULL) {
        c->link.close(c->link.ctx);
        lk_wipe(c->in_room.ptr, c->in_room.cap);
        lk_wipe(c->out_room.ptr, c->out_room.cap);
        if (c->outbox.ptr != NULL)
            lk_wipe(c->outbox.ptr, c->outbox.cap);
    }
    lk_wipe(d, sizeof(*d));
}
