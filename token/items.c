#include "items.h"

#include <string.h>

void
lk_items_open_json(struct lk_items *r, struct lk_buf text)
{
    r->format = LK_FORMAT_JWT;
    lk_json_open(&r->json, text.ptr, text.cap);
}

void
lk_items_open(struct lk_items *r, enum lk_format format, struct lk_span in, struct lk_buf *room)
{
    bool fits = in.len <= room->cap;

    r->format = format;
    if (format == LK_FORMAT_CWT) {
        lk_cbor_open(&r->cbor, in);
        return;
    }
    if (fits && in.len > 0)
        memcpy(room->ptr, in.ptr, in.len);
    lk_items_open_json(r, (struct lk_buf){room->ptr, fits ? in.len : 0});
    if (!fits)
        r->json.err = LK_ERR_NO_SPACE;
    else if (in.len > 0)
        *room = (struct lk_buf){room->ptr + in.len, room->cap - in.len};
}

enum lk_err
lk_items_close(struct lk_items *r)
{
    return r->format == LK_FORMAT_CWT ? lk_cbor_close(&r->cbor) : lk_json_close(&r->json);
}

enum lk_err
lk_items_error(const struct lk_items *r)
{
    return r->format == LK_FORMAT_CWT ? r->cbor.err : r->json.err;
}

void
lk_items_fail(struct lk_items *r, enum lk_err err)
{
    enum lk_err *first = r->format == LK_FORMAT_CWT ? &r->cbor.err : &r->json.err;

    if (*first == LK_OK)
        *first = err;
}

static enum lk_item
peek_cbor(struct lk_cbor *r)
{
    /* Simple values are more than false and true: f4 and f5 (RFC 8949 section 3.3). */
    switch (lk_cbor_peek(r)) {
    case LK_CBOR_TEXT:
        return LK_ITEM_TEXT;
    case LK_CBOR_UINT:
        return LK_ITEM_NUMBER;
    case LK_CBOR_ARRAY:
        return LK_ITEM_ARRAY;
    case LK_CBOR_MAP:
        return LK_ITEM_MAP;
    case LK_CBOR_SIMPLE:
        return *r->pos == 0xf4 || *r->pos == 0xf5 ? LK_ITEM_BOOL : LK_ITEM_OTHER;
    case LK_CBOR_NEGINT:
    case LK_CBOR_BYTES:
    case LK_CBOR_TAG:
    case LK_CBOR_FLOAT:
    case LK_CBOR_END:
        break;
    }
    return LK_ITEM_OTHER;
}

static enum lk_item
peek_json(struct lk_json *r)
{
    switch (lk_json_peek(r)) {
    case LK_JSON_STRING:
        return LK_ITEM_TEXT;
    case LK_JSON_NUMBER:
        return LK_ITEM_NUMBER;
    case LK_JSON_BOOL:
        return LK_ITEM_BOOL;
    case LK_JSON_ARRAY:
        return LK_ITEM_ARRAY;
    case LK_JSON_OBJECT:
        return LK_ITEM_MAP;
    case LK_JSON_NULL:
    case LK_JSON_END:
        break;
    }
    return LK_ITEM_OTHER;
}

enum lk_item
lk_items_peek(struct lk_items *r)
{
    return r->format == LK_FORMAT_CWT ? peek_cbor(&r->cbor) : peek_json(&r->json);
}

/* Is an item missing because the input ends, rather than its container? */
static bool
is_cut_off(const struct lk_items *r)
{
    const struct lk_cbor *cbor = &r->cbor;

    if (r->format == LK_FORMAT_JWT)
        return r->json.pos == r->json.end;
    return cbor->pos == cbor->end && (cbor->depth == 0 || cbor->level[cbor->depth - 1].left > 0);
}

/* Is this the item that has to stand here? */
static bool
is_due(struct lk_items *r, enum lk_item item)
{
    if (lk_items_error(r) != LK_OK)
        return false;
    if (lk_items_peek(r) == item)
        return true;
    lk_items_fail(r, is_cut_off(r) ? LK_ERR_TRUNCATED : LK_ERR_SCOPE);
    return false;
}

struct lk_span
lk_items_text(struct lk_items *r)
{
    if (!is_due(r, LK_ITEM_TEXT))
        return (struct lk_span){NULL, 0};
    return r->format == LK_FORMAT_CWT ? lk_cbor_text(&r->cbor) : lk_json_string(&r->json);
}

uint64_t
lk_items_number(struct lk_items *r)
{
    int64_t number;

    if (!is_due(r, LK_ITEM_NUMBER))
        return 0;
    if (r->format == LK_FORMAT_CWT)
        return lk_cbor_uint(&r->cbor);
    number = lk_json_int(&r->json);
    if (number < 0 || r->json.err == LK_ERR_RANGE) {
        r->json.err = LK_ERR_SCOPE;
        return 0;
    }
    return (uint64_t)number;
}

bool
lk_items_bool(struct lk_items *r)
{
    if (!is_due(r, LK_ITEM_BOOL))
        return false;
    return r->format == LK_FORMAT_CWT ? lk_cbor_bool(&r->cbor) : lk_json_bool(&r->json);
}

void
lk_items_enter_array(struct lk_items *r)
{
    if (!is_due(r, LK_ITEM_ARRAY))
        return;
    if (r->format == LK_FORMAT_CWT)
        (void)lk_cbor_enter_array(&r->cbor);
    else
        lk_json_enter_array(&r->json);
}

bool
lk_items_next(struct lk_items *r)
{
    if (lk_items_error(r) != LK_OK)
        return false;
    if (r->format == LK_FORMAT_JWT) {
        if (lk_json_next_item(&r->json))
            return true;
        lk_json_leave_array(&r->json);
        return false;
    }
    if (r->cbor.level[r->cbor.depth - 1].left > 0)
        return true;
    lk_cbor_leave_array(&r->cbor);
    return false;
}

void
lk_items_enter_map(struct lk_items *r)
{
    if (!is_due(r, LK_ITEM_MAP))
        return;
    if (r->format == LK_FORMAT_CWT)
        (void)lk_cbor_enter_map(&r->cbor);
    else
        lk_json_enter_object(&r->json);
}

bool
lk_items_next_member(struct lk_items *r, struct lk_span *name)
{
    *name = (struct lk_span){NULL, 0};
    if (lk_items_error(r) != LK_OK)
        return false;
    if (r->format == LK_FORMAT_JWT) {
        if (lk_json_next_member(&r->json, name))
            return true;
        lk_json_leave_object(&r->json);
        return false;
    }
    if (r->cbor.level[r->cbor.depth - 1].left == 0) {
        lk_cbor_leave_map(&r->cbor);
        return false;
    }
    *name = lk_items_text(r);
    return r->cbor.err == LK_OK;
}

bool
lk_json_is_array_of_texts(struct lk_span value)
{
    size_t i = 1;

    if (value.len == 0 || value.ptr[0] != '[')
        return false;
    while (i < value.len && (value.ptr[i] == ' ' || value.ptr[i] == '\t' || value.ptr[i] == '\n' ||
                             value.ptr[i] == '\r'))
        i++;
    return i < value.len && value.ptr[i] == '"';
}
