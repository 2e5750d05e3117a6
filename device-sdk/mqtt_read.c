#include <latchkey/device/mqtt.h>

#include <string.h>

/* Remembers the first error, as the CBOR reader does; look once, at the end. */
struct in {
    enum lk_err err;
    const uint8_t *pos, *end;
};

static struct in
in_open(struct lk_span bytes)
{
    struct in r = {LK_OK, bytes.ptr, bytes.ptr};

    if (bytes.len > 0) /* an absent span may be NULL */
        r.end += bytes.len;
    return r;
}

static void
fail(struct in *r, enum lk_err err)
{
    if (r->err == LK_OK)
        r->err = err;
    r->pos = r->end;
}

static struct lk_span
take(struct in *r, size_t len)
{
    struct lk_span bytes = {r->pos, len};

    if ((size_t)(r->end - r->pos) < len) {
        fail(r, LK_ERR_TRUNCATED);
        return (struct lk_span){NULL, 0};
    }
    r->pos += len;
    return bytes;
}

static uint8_t
take_u8(struct in *r)
{
    struct lk_span b = take(r, 1);

    return b.len == 1 ? b.ptr[0] : 0;
}

static uint16_t
take_u16(struct in *r)
{
    unsigned high = take_u8(r);

    return (uint16_t)(high << 8 | take_u8(r));
}

static uint32_t
take_u32(struct in *r)
{
    uint32_t high = take_u16(r);

    return high << 16 | take_u16(r);
}

/* MQTT 5.0 section 1.5.5: at most four bytes, the shortest form. */
static uint32_t
take_varint(struct in *r)
{
    uint32_t value = 0;
    unsigned i;
    uint8_t byte;

    for (i = 0; i < 4; i++) {
        byte = take_u8(r);
        value |= (uint32_t)(byte & 0x7f) << 7 * i;
        if (byte == 0 && i > 0 && r->err == LK_OK)
            fail(r, LK_ERR_MALFORMED);
        if ((byte & 0x80) == 0)
            return value;
    }
    fail(r, LK_ERR_MALFORMED);
    return 0;
}

static struct lk_span
take_binary(struct in *r)
{
    size_t len = take_u16(r);

    return take(r, len);
}

static struct lk_span
take_string(struct in *r)
{
    struct lk_span text = take_binary(r);

    /* Sections 1.5.4 of both versions: ill-formed UTF-8 and U+0000 end the connection. */
    if (text.len > 0 && (!lk_utf8_is_valid(text) || memchr(text.ptr, 0, text.len) != NULL))
        fail(r, LK_ERR_UTF8);
    return text;
}

/* ---- properties ---- */

enum kind {
    KIND_NONE,
    KIND_BYTE,
    KIND_U16,
    KIND_U32,
    KIND_VARINT,
    KIND_STRING,
    KIND_BINARY,
    KIND_PAIR
};

#define IN(type) (1u << LK_MQTT_##type)

enum { IN_ANSWERS = IN(PUBACK) | IN(SUBACK) | IN(UNSUBACK) };

/* MQTT 5.0 table 2-4, as far as a broker may send them to a client. */
static const struct {
    uint8_t id;
    uint8_t kind; /* enum kind */
    uint16_t packets;
} properties[] = {
    {0x01, KIND_BYTE, IN(PUBLISH)},                    /* payload format */
    {0x02, KIND_U32, IN(PUBLISH)},                     /* message expiry */
    {0x03, KIND_STRING, IN(PUBLISH)},                  /* content type */
    {0x08, KIND_STRING, IN(PUBLISH)},                  /* response topic */
    {0x09, KIND_BINARY, IN(PUBLISH)},                  /* correlation data */
    {0x0B, KIND_VARINT, IN(PUBLISH)},                  /* subscription id */
    {0x11, KIND_U32, IN(CONNACK)},                     /* session expiry */
    {0x12, KIND_STRING, IN(CONNACK)},                  /* assigned id */
    {0x13, KIND_U16, IN(CONNACK)},                     /* keep alive */
    {0x15, KIND_STRING, IN(CONNACK) | IN(AUTH)},       /* auth method */
    {0x16, KIND_BINARY, IN(CONNACK) | IN(AUTH)},       /* auth data */
    {0x1A, KIND_STRING, IN(CONNACK)},                  /* response info */
    {0x1C, KIND_STRING, IN(CONNACK) | IN(DISCONNECT)}, /* server reference */
    {0x1F, KIND_STRING, IN(CONNACK) | IN_ANSWERS | IN(DISCONNECT) | IN(AUTH)}, /* reason string */
    {0x21, KIND_U16, IN(CONNACK)},                                             /* receive maximum */
    {0x22, KIND_U16, IN(CONNACK)},                                             /* topic alias max */
    {0x23, KIND_U16, IN(PUBLISH)},                                             /* topic alias */
    {0x24, KIND_BYTE, IN(CONNACK)},                                            /* maximum QoS */
    {0x25, KIND_BYTE, IN(CONNACK)}, /* retain available */
    {0x26, KIND_PAIR, IN(CONNACK) | IN(PUBLISH) | IN_ANSWERS | IN(DISCONNECT) | IN(AUTH)},
    {0x27, KIND_U32, IN(CONNACK)},  /* maximum packet size */
    {0x28, KIND_BYTE, IN(CONNACK)}, /* wildcard subscriptions */
    {0x29, KIND_BYTE, IN(CONNACK)}, /* subscription identifiers */
    {0x2A, KIND_BYTE, IN(CONNACK)}, /* shared subscriptions */
};

static enum kind
property_kind(uint8_t id, enum lk_mqtt_type type)
{
    size_t i;

    for (i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
        if (properties[i].id == id && (properties[i].packets & 1u << type) != 0)
            return (enum kind)properties[i].kind;
    }
    return KIND_NONE;
}

struct value {
    uint32_t number;
    struct lk_span bytes;
};

static struct value
take_value(struct in *r, enum kind kind)
{
    struct value v = {0};

    switch (kind) {
    case KIND_BYTE:
        v.number = take_u8(r);
        if (v.number > 1) /* all of them are flags; 2.2.2.2 and the sections of each */
            fail(r, LK_ERR_MALFORMED);
        break;
    case KIND_U16:
        v.number = take_u16(r);
        break;
    case KIND_U32:
        v.number = take_u32(r);
        break;
    case KIND_VARINT:
        v.number = take_varint(r);
        break;
    case KIND_STRING:
        v.bytes = take_string(r);
        break;
    case KIND_BINARY:
        v.bytes = take_binary(r);
        break;
    case KIND_PAIR:
        (void)take_string(r);
        (void)take_string(r);
        break;
    case KIND_NONE:
        fail(r, LK_ERR_MALFORMED);
        break;
    }
    return v;
}

static void
property_keep(struct in *r, uint8_t id, struct value v, struct lk_mqtt_properties *p)
{
    switch (id) {
    case 0x03:
        p->content_type = v.bytes;
        break;
    case 0x0B:
        fail(r, LK_ERR_MALFORMED); /* we never subscribe with one */
        break;
    case 0x12:
        p->assigned_client_id = v.bytes;
        break;
    case 0x13:
        p->has_keep_alive = true;
        p->keep_alive_s = (uint16_t)v.number;
        break;
    case 0x15:
        p->auth_method = v.bytes;
        break;
    case 0x16:
        p->auth_data = v.bytes;
        break;
    case 0x1F:
        p->reason_string = v.bytes;
        break;
    case 0x21:
        p->receive_max = (uint16_t)v.number;
        if (v.number == 0) /* 3.2.2.3.3 */
            fail(r, LK_ERR_MALFORMED);
        break;
    case 0x23:
        fail(r, LK_ERR_UNSUPPORTED); /* our Topic Alias Maximum is 0 */
        break;
    case 0x24:
        p->qos_max = (uint8_t)v.number;
        break;
    case 0x25:
        p->retain_available = v.number != 0;
        break;
    case 0x27:
        p->packet_max = v.number;
        if (v.number == 0) /* 3.2.2.3.6 */
            fail(r, LK_ERR_MALFORMED);
        break;
    default:
        break;
    }
}

static void
take_properties(struct in *r, enum lk_mqtt_type type, struct lk_mqtt_properties *p)
{
    size_t len = take_varint(r);
    struct lk_span all = take(r, len);
    struct in inner = {LK_OK, all.ptr, all.ptr};
    uint64_t seen = 0;

    if (r->err != LK_OK)
        return;
    inner.end += all.len;
    while (inner.pos < inner.end) {
        uint8_t id = take_u8(&inner);
        enum kind kind = property_kind(id, type);

        if (kind != KIND_NONE && kind != KIND_PAIR) {
            if ((seen & UINT64_C(1) << id) != 0)
                fail(&inner, LK_ERR_DUPLICATE);
            seen |= UINT64_C(1) << id;
        }
        property_keep(&inner, id, take_value(&inner, kind), p);
    }
    /* 3.15.2.2.3, 3.2.2.3.18: data without a method is a protocol error. */
    if (p->auth_data.ptr != NULL && p->auth_method.ptr == NULL)
        fail(&inner, LK_ERR_MALFORMED);
    if (inner.err != LK_OK)
        fail(r, inner.err);
}

/* ---- reason codes ---- */

/* MQTT 5.0 sections 3.2.2.2, 3.4.2.1, 3.9.3, 3.11.3, 3.14.2.1, 3.15.2.1: what a broker may say. */
static const struct {
    uint8_t type;
    const char *codes;
    size_t count;
} reason_codes[] = {
#define CODES(type, list)                                                                          \
    {                                                                                              \
        LK_MQTT_##type, list, sizeof(list) - 1                                                     \
    }
    CODES(CONNACK, "\x00\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8A\x8C\x90\x95\x97\x99\x9A\x9B"
                   "\x9C\x9D\x9F"),
    CODES(PUBACK, "\x00\x10\x80\x83\x87\x90\x91\x97\x99"),
    CODES(SUBACK, "\x00\x01\x02\x80\x83\x87\x8F\x91\x97\x9E\xA1\xA2"),
    CODES(UNSUBACK, "\x00\x11\x80\x83\x87\x8F\x91"),
    CODES(DISCONNECT, "\x00\x80\x81\x82\x83\x87\x89\x8B\x8D\x8E\x8F\x90\x93\x94\x95\x96\x97\x98"
                      "\x99\x9A\x9B\x9C\x9D\x9E\x9F\xA0\xA1\xA2"),
    CODES(AUTH, "\x00\x18"),
#undef CODES
};

static bool
reason_is_known(enum lk_mqtt_type type, uint8_t reason)
{
    size_t i;

    for (i = 0; i < sizeof(reason_codes) / sizeof(reason_codes[0]); i++) {
        if (reason_codes[i].type == type)
            return memchr(reason_codes[i].codes, reason, reason_codes[i].count) != NULL;
    }
    return false;
}

static uint8_t
take_reason(struct in *r, enum lk_mqtt_type type)
{
    uint8_t reason = take_u8(r);

    if (r->err == LK_OK && !reason_is_known(type, reason))
        fail(r, LK_ERR_RANGE);
    return reason;
}

/* ---- packets ---- */

static uint16_t
take_packet_id(struct in *r)
{
    uint16_t id = take_u16(r);

    if (id == 0 && r->err == LK_OK)
        fail(r, LK_ERR_MALFORMED);
    return id;
}

static void
read_connack(struct in *r, uint8_t version, struct lk_mqtt_packet *p)
{
    /* MQTT 3.1.1 section 3.2.2.3, as the reason codes MQTT 5 has for the same. */
    static const uint8_t codes_311[] = {0x00, 0x84, 0x85, 0x88, 0x86, 0x87};
    uint8_t flags = take_u8(r);

    if (flags > 1)
        fail(r, LK_ERR_MALFORMED);
    p->session_present = flags == 1;
    if (version == LK_MQTT_5) {
        p->reason = take_reason(r, LK_MQTT_CONNACK);
        take_properties(r, LK_MQTT_CONNACK, &p->props);
    } else {
        uint8_t code = take_u8(r);

        if (code >= sizeof(codes_311))
            fail(r, LK_ERR_RANGE);
        else
            p->reason = codes_311[code];
    }
    if (p->reason != LK_MQTT_SUCCESS && p->session_present)
        fail(r, LK_ERR_MALFORMED); /* 3.2.2.1.1, 3.1.1: 3.2.2.2 */
}

static void
read_publish(struct in *r, uint8_t version, uint8_t flags, struct lk_mqtt_packet *p)
{
    p->dup = (flags & 0x08) != 0;
    p->qos = flags >> 1 & 0x03;
    p->retain = (flags & 0x01) != 0;
    if (p->qos == 3 || (p->dup && p->qos == 0))
        fail(r, LK_ERR_MALFORMED);
    if (p->qos == 2)
        fail(r, LK_ERR_UNSUPPORTED);
    p->topic = take_string(r);
    if (r->err == LK_OK && (p->topic.len == 0 || memchr(p->topic.ptr, '+', p->topic.len) != NULL ||
                            memchr(p->topic.ptr, '#', p->topic.len) != NULL))
        fail(r, LK_ERR_MALFORMED);
    if (p->qos > 0)
        p->packet_id = take_packet_id(r);
    if (version == LK_MQTT_5)
        take_properties(r, LK_MQTT_PUBLISH, &p->props);
    p->payload = take(r, (size_t)(r->end - r->pos));
}

static void
read_puback(struct in *r, uint8_t version, struct lk_mqtt_packet *p)
{
    p->packet_id = take_packet_id(r);
    if (version != LK_MQTT_5 || r->pos == r->end)
        return;
    p->reason = take_reason(r, LK_MQTT_PUBACK);
    if (r->pos < r->end) /* 3.4.2.2.1: no property length if the packet ends here */
        take_properties(r, LK_MQTT_PUBACK, &p->props);
}

static void
read_suback(struct in *r, uint8_t version, struct lk_mqtt_packet *p)
{
    size_t i;

    p->packet_id = take_packet_id(r);
    if (version == LK_MQTT_5)
        take_properties(r, p->type, &p->props);
    else if (p->type == LK_MQTT_UNSUBACK)
        return; /* 3.1.1: no payload */
    p->reasons = take(r, (size_t)(r->end - r->pos));
    if (p->reasons.len == 0)
        fail(r, LK_ERR_TRUNCATED);
    for (i = 0; i < p->reasons.len; i++) {
        uint8_t code = p->reasons.ptr[i];

        if (!reason_is_known(p->type, code) || (version != LK_MQTT_5 && code > 0x80))
            fail(r, LK_ERR_RANGE);
    }
}

/* 3.14.2.1, 3.15.2.1: an empty DISCONNECT or AUTH means 0x00. */
static void
read_reasoned(struct in *r, struct lk_mqtt_packet *p)
{
    if (r->pos == r->end)
        return;
    p->reason = take_reason(r, p->type);
    if (r->pos < r->end)
        take_properties(r, p->type, &p->props);
}

enum lk_err
lk_mqtt_frame(struct lk_span bytes, uint8_t *type, size_t *len)
{
    struct in r = in_open(bytes);
    uint32_t left;

    *type = take_u8(&r);
    left = take_varint(&r);
    *len = 0;
    if (r.err != LK_OK)
        return r.err;
    *len = (size_t)(r.pos - bytes.ptr) + left;
    return LK_OK;
}

static void
read_packet(struct in *r, uint8_t version, uint8_t flags, struct lk_mqtt_packet *p)
{
    switch (p->type) {
    case LK_MQTT_CONNACK:
        read_connack(r, version, p);
        break;
    case LK_MQTT_PUBLISH:
        read_publish(r, version, flags, p);
        break;
    case LK_MQTT_PUBACK:
        read_puback(r, version, p);
        break;
    case LK_MQTT_SUBACK:
    case LK_MQTT_UNSUBACK:
        read_suback(r, version, p);
        break;
    case LK_MQTT_PINGRESP:
        break;
    case LK_MQTT_DISCONNECT:
    case LK_MQTT_AUTH:
        if (version == LK_MQTT_5)
            read_reasoned(r, p);
        else
            fail(r, LK_ERR_TYPE); /* in 3.1.1 only a client says goodbye */
        break;
    case LK_MQTT_CONNECT:
    case LK_MQTT_SUBSCRIBE:
    case LK_MQTT_UNSUBSCRIBE:
    case LK_MQTT_PINGREQ:
    default:
        fail(r, LK_ERR_TYPE);
        break;
    }
}

enum lk_err
lk_mqtt_parse(uint8_t version, struct lk_span bytes, struct lk_mqtt_packet *packet)
{
    struct lk_mqtt_packet p = {0};
    struct in r = in_open(bytes);
    uint8_t first = take_u8(&r);
    uint32_t left = take_varint(&r);

    *packet = p;
    if (version != LK_MQTT_311 && version != LK_MQTT_5)
        return LK_ERR_ARG;
    if (r.err == LK_OK && left != (size_t)(r.end - r.pos))
        fail(&r, left > (size_t)(r.end - r.pos) ? LK_ERR_TRUNCATED : LK_ERR_TRAILING);
    p.type = (enum lk_mqtt_type)(first >> 4);
    p.props.receive_max = UINT16_MAX;
    p.props.packet_max = UINT32_MAX;
    p.props.qos_max = 2;
    p.props.retain_available = true;
    /* 2.1.3: what a broker sends has no flags, but for PUBLISH. */
    if (p.type != LK_MQTT_PUBLISH && (first & 0x0f) != 0)
        fail(&r, LK_ERR_MALFORMED);
    if (r.err == LK_OK)
        read_packet(&r, version, first & 0x0f, &p);
    if (r.err == LK_OK && r.pos != r.end)
        fail(&r, LK_ERR_TRAILING);
    if (r.err == LK_OK)
        *packet = p;
    return r.err;
}

const char *
lk_mqtt_reason_text(uint8_t reason)
{
    static const struct {
        uint8_t reason;
        const char *text;
    } texts[] = {
        {0x00, "success"},
        {0x10, "no matching subscribers"},
        {0x18, "continue authentication"},
        {0x80, "unspecified error"},
        {0x81, "malformed packet"},
        {0x82, "protocol error"},
        {0x83, "implementation specific error"},
        {0x84, "protocol version not supported"},
        {0x85, "client identifier not valid"},
        {0x86, "bad user name or password"},
        {0x87, "not authorized"},
        {0x88, "server unavailable"},
        {0x89, "server busy"},
        {0x8A, "banned"},
        {0x8B, "server shutting down"},
        {0x8C, "bad authentication method"},
        {0x8D, "keep alive timeout"},
        {0x8E, "session taken over"},
        {0x95, "packet too large"},
        {0x96, "message rate too high"},
        {0x97, "quota exceeded"},
        {0x98, "administrative action"},
        {0xA0, "maximum connect time"},
    };
    size_t i;

    for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].reason == reason)
            return texts[i].text;
    }
    return "unknown";
}
