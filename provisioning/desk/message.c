#include "message.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/cbor.h>
#include <latchkey/limits.h>

#include "limits.h"

#define BATTERY_MAX 100.0  /* percent */
#define RSSI_MIN    -200.0 /* dBm: below any receiver */
#define RSSI_MAX    100.0  /* dBm: above any transmitter */

/* CBOR initial bytes (RFC 8949 appendix B). */
#define CBOR_MAP_FIRST 0xa0
#define CBOR_TAG_LAST  0xdb
#define CBOR_INDEF_MAP 0xbf
#define CBOR_FALSE     0xf4
#define CBOR_TRUE      0xf5
#define CBOR_NULL      0xf6
#define CBOR_UNDEFINED 0xf7
#define CBOR_HALF      0xf9
#define CBOR_SINGLE    0xfa

/* --- writing JSON; the first error sticks ----------------------------------------------------- */

struct text {
    struct lk_buf room;
    size_t len;
    enum lk_err err;
};

static void
put_bytes(struct text *t, const void *bytes, size_t len)
{
    if (t->err != LK_OK)
        return;
    if (len > t->room.cap - t->len) {
        t->err = LK_ERR_LIMIT;
        return;
    }
    memcpy(t->room.ptr + t->len, bytes, len);
    t->len += len;
}

static void
put_text(struct text *t, const char *text)
{
    put_bytes(t, text, strlen(text));
}

static void
put_escaped(struct text *t, uint8_t c)
{
    char escape[8];

    switch (c) {
    case '"':
        put_text(t, "\\\"");
        return;
    case '\\':
        put_text(t, "\\\\");
        return;
    case '\n':
        put_text(t, "\\n");
        return;
    default:
        snprintf(escape, sizeof(escape), "\\u%04x", c);
        put_text(t, escape);
    }
}

static void
put_string(struct text *t, struct lk_span s)
{
    size_t from = 0;

    put_text(t, "\"");
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] >= 0x20 && s.ptr[i] != '"' && s.ptr[i] != '\\')
            continue;
        put_bytes(t, s.ptr + from, i - from);
        put_escaped(t, s.ptr[i]);
        from = i + 1;
    }
    if (s.len > from)
        put_bytes(t, s.ptr + from, s.len - from);
    put_text(t, "\"");
}

static void
put_int(struct text *t, int64_t value)
{
    char digits[24];

    snprintf(digits, sizeof(digits), "%lld", (long long)value);
    put_text(t, digits);
}

/* The fewest digits that read back as the same number: 21.3 stays 21.3, also from a float32. */
static void
put_real(struct text *t, double value, bool is_single)
{
    char digits[40];
    int most = is_single ? 9 : 17;

    if (!isfinite(value)) {
        put_text(t, "null");
        return;
    }
    for (int precision = is_single ? 6 : 15; precision <= most; precision++) {
        snprintf(digits, sizeof(digits), "%.*g", precision, value);
        if (is_single ? strtof(digits, NULL) == (float)value : strtod(digits, NULL) == value)
            break;
    }
    put_text(t, digits);
    /* A real stays a real for whoever reads it next. */
    if (strpbrk(digits, ".e") == NULL)
        put_text(t, ".0");
}

static void
put_base64url(struct text *t, struct lk_span bytes)
{
    struct lk_span out;
    enum lk_err err;

    put_text(t, "\"");
    if (t->err != LK_OK)
        return;
    err = lk_base64url_encode(bytes, (struct lk_buf){t->room.ptr + t->len, t->room.cap - t->len},
                              &out);
    if (err == LK_OK)
        t->len += out.len;
    else
        t->err = err == LK_ERR_NO_SPACE ? LK_ERR_LIMIT : err;
    put_text(t, "\"");
}

static void
put_value(struct text *t, const json_t *value, unsigned depth)
{
    const char *name;
    json_t *member;
    const char *comma = "";

    switch (json_typeof(value)) {
    case JSON_OBJECT:
        if (depth == LK_DEPTH_MAX) {
            t->err = t->err != LK_OK ? t->err : LK_ERR_DEPTH;
            return;
        }
        put_text(t, "{");
        /* jansson's iterator takes a non-const object; nothing is changed. */
        json_object_foreach ((json_t *)(uintptr_t)value, name, member) {
            put_text(t, comma);
            comma = ",";
            put_string(t, lk_span_text(name));
            put_text(t, ":");
            put_value(t, member, depth + 1);
        }
        put_text(t, "}");
        return;
    case JSON_ARRAY:
        if (depth == LK_DEPTH_MAX) {
            t->err = t->err != LK_OK ? t->err : LK_ERR_DEPTH;
            return;
        }
        put_text(t, "[");
        for (size_t i = 0; i < json_array_size(value); i++) {
            put_text(t, i > 0 ? "," : "");
            put_value(t, json_array_get(value, i), depth + 1);
        }
        put_text(t, "]");
        return;
    case JSON_STRING:
        put_string(t, lk_span_of(json_string_value(value), json_string_length(value)));
        return;
    case JSON_INTEGER:
        put_int(t, json_integer_value(value));
        return;
    case JSON_REAL:
        put_real(t, json_real_value(value), false);
        return;
    case JSON_TRUE:
        put_text(t, "true");
        return;
    case JSON_FALSE:
        put_text(t, "false");
        return;
    case JSON_NULL:
        put_text(t, "null");
        return;
    }
}

enum lk_err
message_write(const json_t *value, struct lk_buf room, struct lk_span *json)
{
    struct text t = {.room = room, .err = LK_OK};

    *json = (struct lk_span){NULL, 0};
    put_value(&t, value, 0);
    if (t.err == LK_OK)
        *json = lk_span_of(room.ptr, t.len);
    return t.err;
}

/* --- CBOR to JSON text ------------------------------------------------------------------------ */

static void
stick(struct lk_cbor *r, enum lk_err err)
{
    if (r->err == LK_OK)
        r->err = err;
}

static void
convert_name(struct lk_cbor *r, struct text *t)
{
    switch (lk_cbor_peek(r)) {
    case LK_CBOR_TEXT:
        put_string(t, lk_cbor_text(r));
        return;
    case LK_CBOR_BYTES:
        put_base64url(t, lk_cbor_bytes(r));
        return;
    case LK_CBOR_UINT:
    case LK_CBOR_NEGINT:
        put_text(t, "\"");
        put_int(t, lk_cbor_int(r));
        put_text(t, "\"");
        return;
    case LK_CBOR_ARRAY:
    case LK_CBOR_MAP:
    case LK_CBOR_TAG:
    case LK_CBOR_SIMPLE:
    case LK_CBOR_FLOAT:
    case LK_CBOR_END:
        stick(r, LK_ERR_TYPE);
        return;
    }
}

static void
convert_simple(struct lk_cbor *r, struct text *t)
{
    struct lk_span item = lk_cbor_raw(r);

    if (r->err != LK_OK)
        return;
    switch (item.ptr[0]) {
    case CBOR_FALSE:
        put_text(t, "false");
        return;
    case CBOR_TRUE:
        put_text(t, "true");
        return;
    case CBOR_NULL:
    case CBOR_UNDEFINED:
        put_text(t, "null");
        return;
    default:
        stick(r, LK_ERR_TYPE);
    }
}

static void
convert_float(struct lk_cbor *r, struct text *t)
{
    bool is_single = *r->pos == CBOR_SINGLE || *r->pos == CBOR_HALF;

    put_real(t, lk_cbor_float(r), is_single);
}

static void
convert_scalar(struct lk_cbor *r, struct text *t)
{
    switch (lk_cbor_peek(r)) {
    case LK_CBOR_UINT:
    case LK_CBOR_NEGINT:
        put_int(t, lk_cbor_int(r));
        return;
    case LK_CBOR_BYTES:
        put_base64url(t, lk_cbor_bytes(r));
        return;
    case LK_CBOR_TEXT:
        put_string(t, lk_cbor_text(r));
        return;
    case LK_CBOR_SIMPLE:
        convert_simple(r, t);
        return;
    case LK_CBOR_FLOAT:
        convert_float(r, t);
        return;
    case LK_CBOR_ARRAY:
    case LK_CBOR_MAP:
    case LK_CBOR_TAG:
    case LK_CBOR_END:
        stick(r, LK_ERR_TRUNCATED);
        return;
    }
}

/* Recursion is bounded: the reader refuses more than LK_DEPTH_MAX open containers. */
static void
convert_item(struct lk_cbor *r, struct text *t)
{
    bool is_map;
    size_t count;

    while (lk_cbor_peek(r) == LK_CBOR_TAG)
        (void)lk_cbor_tag(r);
    is_map = lk_cbor_peek(r) == LK_CBOR_MAP;
    if (!is_map && lk_cbor_peek(r) != LK_CBOR_ARRAY) {
        convert_scalar(r, t);
        return;
    }
    count = is_map ? lk_cbor_enter_map(r) : lk_cbor_enter_array(r);
    put_text(t, is_map ? "{" : "[");
    for (size_t i = 0; i < count && r->err == LK_OK && t->err == LK_OK; i++) {
        put_text(t, i > 0 ? "," : "");
        if (is_map) {
            convert_name(r, t);
            put_text(t, ":");
        }
        convert_item(r, t);
    }
    put_text(t, is_map ? "}" : "]");
    if (is_map)
        lk_cbor_leave_map(r);
    else
        lk_cbor_leave_array(r);
}

static enum lk_err
convert_cbor(struct lk_span payload, struct lk_buf room, struct lk_span *json)
{
    struct text t = {.room = room, .err = LK_OK};
    struct lk_cbor r;
    enum lk_err err;

    lk_cbor_open(&r, payload);
    convert_item(&r, &t);
    if (t.err != LK_OK) /* the reader was left in the middle: its own verdict says nothing */
        return r.err != LK_OK ? r.err : t.err;
    err = lk_cbor_close(&r);
    if (err == LK_OK)
        *json = lk_span_of(room.ptr, t.len);
    return err;
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool
looks_like_cbor(struct lk_span payload)
{
    uint8_t first = payload.len > 0 ? payload.ptr[0] : 0;

    return first >= CBOR_MAP_FIRST && first <= CBOR_TAG_LAST;
}

static enum lk_err
parse_json(struct lk_span text, json_t **object)
{
    json_error_t error;

    *object = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
                         &error);
    if (*object == NULL)
        return json_error_code(&error) == json_error_out_of_memory ? LK_ERR_NOMEM
                                                                   : LK_ERR_MALFORMED;
    if (json_is_object(*object))
        return LK_OK;
    json_decref(*object);
    *object = NULL;
    return LK_ERR_TYPE;
}

enum lk_err
message_read(struct lk_span payload, struct lk_buf room, struct message *message)
{
    struct lk_span text = payload;
    enum lk_err err;

    *message = (struct message){.object = NULL};
    if (payload.len > TELEMETRY_MAX)
        return LK_ERR_LIMIT;
    if (looks_like_cbor(payload)) {
        err = convert_cbor(payload, room, &text);
        if (err != LK_OK)
            return err;
    }
    /* Also what came from CBOR: the keys 1 and "1" are two there and one in JSON. */
    err = parse_json(text, &message->object);
    if (err == LK_OK)
        err = message_write(message->object, room, &message->json);
    if (err != LK_OK)
        message_free(message);
    return err;
}

void
message_free(struct message *message)
{
    json_decref(message->object);
    *message = (struct message){.object = NULL};
}

/* --- what the members mean -------------------------------------------------------------------- */

static bool
get_number(const json_t *object, const char *name, double least, double most, double *value,
           bool *is_odd)
{
    const json_t *member = json_object_get(object, name);

    *value = 0;
    if (member == NULL || json_is_null(member))
        return false;
    if (!json_is_number(member) || !(json_number_value(member) >= least) ||
        !(json_number_value(member) <= most)) {
        *is_odd = true;
        return false;
    }
    *value = json_number_value(member);
    return true;
}

void
message_vitals(const struct message *telemetry, struct message_vitals *vitals)
{
    vitals->is_odd = false;
    vitals->has_battery =
        get_number(telemetry->object, "battery", 0, BATTERY_MAX, &vitals->battery, &vitals->is_odd);
    vitals->has_rssi =
        get_number(telemetry->object, "rssi", RSSI_MIN, RSSI_MAX, &vitals->rssi, &vitals->is_odd);
}

static bool
state_from_text(const char *text, enum message_result_state *state)
{
    static const struct {
        const char *name;
        enum message_result_state state;
    } states[] = {
        {"received", MESSAGE_RECEIVED},
        {"done", MESSAGE_DONE},
        {"failed", MESSAGE_FAILED},
    };

    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (strcmp(states[i].name, text) == 0) {
            *state = states[i].state;
            return true;
        }
    }
    return false;
}

enum lk_err
message_result(const struct message *result, struct lk_buf room, enum message_result_state *state,
               struct lk_span *detail)
{
    const json_t *name = json_object_get(result->object, "state");
    const json_t *more = json_object_get(result->object, "detail");

    *state = MESSAGE_RECEIVED;
    *detail = (struct lk_span){NULL, 0};
    if (name == NULL)
        return LK_ERR_MISSING;
    if (!json_is_string(name) || !state_from_text(json_string_value(name), state))
        return LK_ERR_SYNTAX;
    /* Too long to keep is no reason to forget that the command was carried out. */
    if (more != NULL && message_write(more, room, detail) != LK_OK)
        *detail = (struct lk_span){NULL, 0};
    return LK_OK;
}

enum lk_err
message_presence(const struct message *presence, bool *online, int64_t *since_s)
{
    const json_t *flag = json_object_get(presence->object, "online");
    const json_t *since = json_object_get(presence->object, "since");

    *online = false;
    *since_s = 0;
    if (!json_is_boolean(flag))
        return LK_ERR_MISSING;
    if (since != NULL && (!json_is_integer(since) || json_integer_value(since) < 0))
        return LK_ERR_RANGE;
    *online = json_is_true(flag);
    *since_s = since != NULL ? json_integer_value(since) : 0;
    return LK_OK;
}
