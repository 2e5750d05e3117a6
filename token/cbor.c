#include "cbor_head.h"

#include <string.h>

/* RFC 8949 section 3: the initial byte with its argument. */
struct head {
    uint8_t major;
    uint8_t info;
    uint64_t value;
};

#define MAJOR_FLOAT_OR_SIMPLE 7
#define NUMERIC_DATE_MAX      ((int64_t)1 << 53)

static void
fail(struct lk_cbor *r, enum lk_err err)
{
    if (r->err == LK_OK)
        r->err = err;
}

static size_t
rest(const struct lk_cbor *r)
{
    return (size_t)(r->end - r->pos);
}

/* Read a head and move behind it; on an error nothing moves. */
static enum lk_err
head_decode(const uint8_t **pos, const uint8_t *end, struct head *h)
{
    const uint8_t *at = *pos;
    size_t have = (size_t)(end - at);
    size_t len;

    if (have == 0)
        return LK_ERR_TRUNCATED;
    h->major = at[0] >> 5;
    h->info = at[0] & 31;
    /* 28 to 30 are reserved; 31 is an indefinite length or a break, which we never take. */
    if (h->info >= 28)
        return LK_ERR_MALFORMED;
    len = h->info < 24 ? 0 : (size_t)1 << (h->info - 24);
    if (have - 1 < len)
        return LK_ERR_TRUNCATED;
    h->value = len == 0 ? h->info : 0;
    for (size_t i = 1; i <= len; i++)
        h->value = h->value << 8 | at[i];
    /* RFC 8949 section 3.3: 0 to 31 have no two-byte form. */
    if (h->major == MAJOR_FLOAT_OR_SIMPLE && h->info == 24 && h->value < 32)
        return LK_ERR_MALFORMED;
    *pos = at + 1 + len;
    return LK_OK;
}

static bool
head_read(struct lk_cbor *r, struct head *h)
{
    enum lk_err err = head_decode(&r->pos, r->end, h);

    if (err != LK_OK)
        fail(r, err);
    return err == LK_OK;
}

/* The content of a string whose head was just read. */
static struct lk_span
content_take(struct lk_cbor *r, const struct head *h)
{
    struct lk_span content = {NULL, 0};

    if (h->value > rest(r)) {
        fail(r, LK_ERR_TRUNCATED);
        return content;
    }
    content = lk_span_of(r->pos, (size_t)h->value);
    if (h->major == LK_CBOR_TEXT && !lk_utf8_is_valid(content)) {
        fail(r, LK_ERR_UTF8);
        return (struct lk_span){NULL, 0};
    }
    r->pos += content.len;
    return content;
}

/* Items inside a container whose head was just read: each takes a byte at least. */
static uint64_t
container_items(struct lk_cbor *r, const struct head *h)
{
    uint64_t limit = h->major == LK_CBOR_MAP ? rest(r) / 2 : rest(r);

    if (h->value > limit) {
        fail(r, LK_ERR_TRUNCATED);
        return 0;
    }
    return h->major == LK_CBOR_MAP ? h->value * 2 : h->value;
}

/* Move behind one whole item, well-formed to its end. Not recursive: depth costs a counter. */
static void
item_walk(struct lk_cbor *r)
{
    uint64_t left[LK_DEPTH_MAX + 1] = {1};
    size_t inner = 0;
    struct head h;

    for (;;) {
        while (left[inner] == 0) {
            if (inner-- == 0)
                return;
        }
        if (!head_read(r, &h))
            return;
        if (h.major == LK_CBOR_TAG)
            continue; /* its content is still to come */
        left[inner]--;
        if (h.major == LK_CBOR_BYTES || h.major == LK_CBOR_TEXT) {
            (void)content_take(r, &h);
        } else if (h.major == LK_CBOR_ARRAY || h.major == LK_CBOR_MAP) {
            if (r->depth + inner >= LK_DEPTH_MAX)
                fail(r, LK_ERR_DEPTH);
            else
                left[++inner] = container_items(r, &h);
        }
        if (r->err != LK_OK)
            return;
    }
}

/* May one more item be read here? */
static bool
item_due(struct lk_cbor *r)
{
    if (r->err != LK_OK)
        return false;
    if (r->depth > 0 && r->level[r->depth - 1].left == 0) {
        fail(r, LK_ERR_MISSING);
        return false;
    }
    return true;
}

static void
item_done(struct lk_cbor *r)
{
    if (r->err == LK_OK && r->depth > 0)
        r->level[r->depth - 1].left--;
}

/* Read the head of the next item, which must be of one type. */
static bool
item_head(struct lk_cbor *r, uint8_t major, struct head *h)
{
    const uint8_t *start = r->pos;

    if (!item_due(r) || !head_read(r, h))
        return false;
    if (h->major != major) {
        r->pos = start;
        fail(r, LK_ERR_TYPE);
        return false;
    }
    return true;
}

void
lk_cbor_open(struct lk_cbor *r, struct lk_span in)
{
    static const uint8_t nothing[1];

    *r = (struct lk_cbor){.err = LK_OK};
    r->pos = in.ptr == NULL ? nothing : in.ptr;
    r->end = r->pos + (in.ptr == NULL ? 0 : in.len);
}

enum lk_err
lk_cbor_close(struct lk_cbor *r)
{
    if (r->err == LK_OK && r->depth > 0)
        fail(r, LK_ERR_STATE);
    if (rest(r) > 0)
        fail(r, LK_ERR_TRAILING);
    return r->err;
}

enum lk_cbor_type
lk_cbor_peek(struct lk_cbor *r)
{
    uint8_t major, info;

    if (r->err != LK_OK || rest(r) == 0 || (r->depth > 0 && r->level[r->depth - 1].left == 0))
        return LK_CBOR_END;
    major = r->pos[0] >> 5;
    info = r->pos[0] & 31;
    if (info >= 28) {
        fail(r, LK_ERR_MALFORMED);
        return LK_CBOR_END;
    }
    if (major == MAJOR_FLOAT_OR_SIMPLE && info >= 25)
        return LK_CBOR_FLOAT;
    return (enum lk_cbor_type)major;
}

uint64_t
lk_cbor_uint(struct lk_cbor *r)
{
    struct head h;

    if (!item_head(r, LK_CBOR_UINT, &h))
        return 0;
    item_done(r);
    return h.value;
}

int64_t
lk_cbor_int(struct lk_cbor *r)
{
    bool negative = lk_cbor_peek(r) == LK_CBOR_NEGINT;
    struct head h;

    if (!item_head(r, negative ? LK_CBOR_NEGINT : LK_CBOR_UINT, &h))
        return 0;
    if (h.value > INT64_MAX) {
        fail(r, LK_ERR_RANGE);
        return 0;
    }
    item_done(r);
    return negative ? -1 - (int64_t)h.value : (int64_t)h.value;
}

static struct lk_span
string_read(struct lk_cbor *r, uint8_t major)
{
    struct lk_span content;
    struct head h;

    if (!item_head(r, major, &h))
        return (struct lk_span){NULL, 0};
    content = content_take(r, &h);
    item_done(r);
    return content;
}

struct lk_span
lk_cbor_bytes(struct lk_cbor *r)
{
    return string_read(r, LK_CBOR_BYTES);
}

struct lk_span
lk_cbor_text(struct lk_cbor *r)
{
    return string_read(r, LK_CBOR_TEXT);
}

/* A simple value of one byte that lies from low to high. */
static uint8_t
simple_read(struct lk_cbor *r, uint8_t low, uint8_t high)
{
    const uint8_t *start = r->pos;
    struct head h;

    if (!item_head(r, MAJOR_FLOAT_OR_SIMPLE, &h))
        return 0;
    if (h.info < low || h.info > high) {
        r->pos = start;
        fail(r, LK_ERR_TYPE);
        return 0;
    }
    item_done(r);
    return h.info;
}

bool
lk_cbor_bool(struct lk_cbor *r)
{
    return simple_read(r, 20, 21) == 21;
}

void
lk_cbor_null(struct lk_cbor *r)
{
    (void)simple_read(r, 22, 22);
}

/* The bits of a half as those of a single (RFC 8949 appendix D, without libm). */
static uint32_t
half_to_single(uint32_t half)
{
    uint32_t sign = (half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 0x1f;
    uint32_t fraction = half & 0x3ff;

    if (exponent == 0x1f)
        return sign | 0x7f800000 | fraction << 13;
    if (exponent == 0) {
        if (fraction == 0)
            return sign;
        /* Subnormal: shift until the leading one stands where it is implied. */
        for (exponent = 1; (fraction & 0x400) == 0; exponent--)
            fraction <<= 1;
        fraction &= 0x3ff;
    }
    return sign | (exponent + 112) << 23 | fraction << 13;
}

double
lk_cbor_float(struct lk_cbor *r)
{
    const uint8_t *start = r->pos;
    struct head h;
    uint32_t bits;
    float single;
    double value;

    _Static_assert(sizeof(float) == 4 && sizeof(double) == 8, "IEEE 754 floats are assumed");
    if (!item_head(r, MAJOR_FLOAT_OR_SIMPLE, &h))
        return 0;
    if (h.info < 25) {
        r->pos = start;
        fail(r, LK_ERR_TYPE);
        return 0;
    }
    item_done(r);
    if (h.info == 27) {
        memcpy(&value, &h.value, sizeof(value));
        return value;
    }
    bits = h.info == 25 ? half_to_single((uint32_t)h.value) : (uint32_t)h.value;
    memcpy(&single, &bits, sizeof(single));
    return (double)single;
}

uint64_t
lk_cbor_tag(struct lk_cbor *r)
{
    struct head h;

    if (!item_head(r, LK_CBOR_TAG, &h))
        return 0;
    if (rest(r) == 0) {
        fail(r, LK_ERR_TRUNCATED);
        return 0;
    }
    return h.value;
}

void
lk_cbor_skip(struct lk_cbor *r)
{
    (void)lk_cbor_raw(r);
}

struct lk_span
lk_cbor_raw(struct lk_cbor *r)
{
    const uint8_t *start = r->pos;

    if (!item_due(r))
        return (struct lk_span){NULL, 0};
    item_walk(r);
    item_done(r);
    if (r->err != LK_OK) {
        r->pos = start;
        return (struct lk_span){NULL, 0};
    }
    return lk_span_of(start, (size_t)(r->pos - start));
}

int64_t
lk_cbor_numeric_date(struct lk_cbor *r)
{
    double value;

    if (lk_cbor_peek(r) != LK_CBOR_FLOAT) {
        int64_t whole = lk_cbor_int(r);

        if (whole < 0 || whole > NUMERIC_DATE_MAX) {
            fail(r, LK_ERR_RANGE);
            return 0;
        }
        return whole;
    }
    value = lk_cbor_float(r);
    /* Written so that NaN fails. */
    if (!(value >= 0 && value <= (double)NUMERIC_DATE_MAX)) {
        fail(r, LK_ERR_RANGE);
        return 0;
    }
    return (int64_t)value;
}

static bool
container_enter(struct lk_cbor *r, uint8_t major)
{
    const uint8_t *start = r->pos;
    struct head h;
    uint64_t items;

    if (!item_head(r, major, &h))
        return false;
    if (r->depth >= LK_DEPTH_MAX)
        fail(r, LK_ERR_DEPTH);
    items = container_items(r, &h);
    if (r->err != LK_OK) {
        r->pos = start;
        return false;
    }
    item_done(r);
    r->level[r->depth].first = r->pos;
    r->level[r->depth].left = items;
    r->level[r->depth].items = items;
    r->level[r->depth].is_map = major == LK_CBOR_MAP;
    r->depth++;
    return true;
}

static void
container_leave(struct lk_cbor *r, bool is_map)
{
    if (r->err != LK_OK)
        return;
    if (r->depth == 0 || r->level[r->depth - 1].is_map != is_map) {
        fail(r, LK_ERR_STATE);
        return;
    }
    while (r->err == LK_OK && r->level[r->depth - 1].left > 0)
        lk_cbor_skip(r);
    if (r->err == LK_OK)
        r->depth--;
}

size_t
lk_cbor_enter_array(struct lk_cbor *r)
{
    if (!container_enter(r, LK_CBOR_ARRAY))
        return 0;
    return (size_t)r->level[r->depth - 1].items;
}

void
lk_cbor_leave_array(struct lk_cbor *r)
{
    container_leave(r, false);
}

/* Are two keys, known to be well-formed, the same value? 01 and 18 01 are. */
static bool
keys_equal(const uint8_t *a, const uint8_t *b, const uint8_t *end)
{
    struct head ha, hb;

    if (head_decode(&a, end, &ha) != LK_OK || head_decode(&b, end, &hb) != LK_OK)
        return true;
    if (ha.major != hb.major || ha.value != hb.value)
        return false;
    if (ha.major == LK_CBOR_UINT || ha.major == LK_CBOR_NEGINT)
        return true;
    return memcmp(a, b, (size_t)ha.value) == 0;
}

/* Walk the map just entered on a copy of the reader, which takes the error. */
static void
map_check(struct lk_cbor *r)
{
    struct lk_cbor walk = *r;
    size_t pairs = (size_t)(r->level[r->depth - 1].items / 2);
    const uint8_t *keys[LK_MEMBERS_MAX];

    if (pairs > LK_MEMBERS_MAX) {
        fail(r, LK_ERR_LIMIT);
        return;
    }
    for (size_t i = 0; i < pairs && walk.err == LK_OK; i++) {
        keys[i] = walk.pos;
        if (rest(&walk) > 0 && walk.pos[0] >> 5 > LK_CBOR_TEXT)
            fail(&walk, LK_ERR_TYPE);
        lk_cbor_skip(&walk);
        for (size_t k = 0; k < i && walk.err == LK_OK; k++)
            if (keys_equal(keys[k], keys[i], walk.end))
                fail(&walk, LK_ERR_DUPLICATE);
        lk_cbor_skip(&walk);
    }
    if (walk.err != LK_OK)
        fail(r, walk.err);
}

size_t
lk_cbor_enter_map(struct lk_cbor *r)
{
    const uint8_t *start = r->pos;

    if (!container_enter(r, LK_CBOR_MAP))
        return 0;
    map_check(r);
    if (r->err != LK_OK) {
        r->pos = start;
        return 0;
    }
    return (size_t)(r->level[r->depth - 1].items / 2);
}

void
lk_cbor_leave_map(struct lk_cbor *r)
{
    container_leave(r, true);
}

/* Go to the value of the key with this head and, for a string, this content. */
static bool
map_seek(struct lk_cbor *r, uint8_t major, uint64_t value, struct lk_span content)
{
    struct lk_cbor walk;

    if (r->err != LK_OK)
        return false;
    if (r->depth == 0 || !r->level[r->depth - 1].is_map) {
        fail(r, LK_ERR_STATE);
        return false;
    }
    walk = *r;
    walk.pos = walk.level[walk.depth - 1].first;
    walk.level[walk.depth - 1].left = walk.level[walk.depth - 1].items;
    while (walk.err == LK_OK && walk.level[walk.depth - 1].left > 0) {
        struct head h;
        bool found = false;

        if (!head_read(&walk, &h))
            break;
        if (h.major == major && h.value == value)
            found = content.ptr == NULL || memcmp(walk.pos, content.ptr, content.len) == 0;
        if (h.major == LK_CBOR_BYTES || h.major == LK_CBOR_TEXT)
            walk.pos += h.value; /* enter_map has checked it */
        item_done(&walk);
        if (found) {
            *r = walk;
            return true;
        }
        lk_cbor_skip(&walk);
    }
    return false;
}

bool
lk_cbor_map_find(struct lk_cbor *r, int64_t key)
{
    uint8_t major = key < 0 ? LK_CBOR_NEGINT : LK_CBOR_UINT;
    uint64_t value = (uint64_t)(key < 0 ? -1 - key : key);

    return map_seek(r, major, value, (struct lk_span){NULL, 0});
}

bool
lk_cbor_map_find_text(struct lk_cbor *r, struct lk_span key)
{
    if (key.ptr == NULL)
        key = LK_SPAN("");
    return map_seek(r, LK_CBOR_TEXT, key.len, key);
}

struct lk_span
lk_cbor_map_text(struct lk_cbor *r, int64_t key)
{
    if (!lk_cbor_map_find(r, key))
        return (struct lk_span){NULL, 0};
    return lk_cbor_text(r);
}

struct lk_span
lk_cbor_map_bytes(struct lk_cbor *r, int64_t key)
{
    if (!lk_cbor_map_find(r, key))
        return (struct lk_span){NULL, 0};
    return lk_cbor_bytes(r);
}

int64_t
lk_cbor_map_int(struct lk_cbor *r, int64_t key, int64_t if_absent)
{
    if (!lk_cbor_map_find(r, key))
        return if_absent;
    return lk_cbor_int(r);
}

/* The writer. */

static void
put(struct lk_cbor_out *w, struct lk_span bytes)
{
    if (w->err != LK_OK)
        return;
    if (bytes.len > w->room.cap - w->len) {
        w->err = LK_ERR_NO_SPACE;
        return;
    }
    if (bytes.len > 0)
        memcpy(w->room.ptr + w->len, bytes.ptr, bytes.len);
    w->len += bytes.len;
}

/* RFC 8949 section 4.2.1: the shortest form of the argument. */
void
lk_cbor_write_head(struct lk_cbor_out *w, enum lk_cbor_type major, uint64_t value)
{
    uint8_t head[9];
    size_t len = 0;

    if (value > UINT32_MAX)
        len = 8;
    else if (value > UINT16_MAX)
        len = 4;
    else if (value > UINT8_MAX)
        len = 2;
    else if (value > 23)
        len = 1;
    head[0] = (uint8_t)((unsigned)major << 5);
    if (len == 0)
        head[0] = (uint8_t)(head[0] | value);
    else
        head[0] = (uint8_t)(head[0] | (len == 8 ? 27 : len == 4 ? 26 : 23 + len));
    for (size_t i = 0; i < len; i++)
        head[1 + i] = (uint8_t)(value >> (8 * (len - 1 - i)));
    put(w, lk_span_of(head, 1 + len));
}

void
lk_cbor_write_open(struct lk_cbor_out *w, struct lk_buf room)
{
    *w = (struct lk_cbor_out){.err = LK_OK, .room = room, .len = 0};
}

void
lk_cbor_write_uint(struct lk_cbor_out *w, uint64_t value)
{
    lk_cbor_write_head(w, LK_CBOR_UINT, value);
}

void
lk_cbor_write_int(struct lk_cbor_out *w, int64_t value)
{
    if (value < 0)
        lk_cbor_write_head(w, LK_CBOR_NEGINT, (uint64_t)(-1 - value));
    else
        lk_cbor_write_head(w, LK_CBOR_UINT, (uint64_t)value);
}

void
lk_cbor_write_bytes(struct lk_cbor_out *w, struct lk_span bytes)
{
    lk_cbor_write_head(w, LK_CBOR_BYTES, bytes.len);
    put(w, bytes);
}

void
lk_cbor_write_text(struct lk_cbor_out *w, struct lk_span text)
{
    lk_cbor_write_head(w, LK_CBOR_TEXT, text.len);
    put(w, text);
}

void
lk_cbor_write_array(struct lk_cbor_out *w, size_t items)
{
    lk_cbor_write_head(w, LK_CBOR_ARRAY, items);
}

void
lk_cbor_write_map(struct lk_cbor_out *w, size_t pairs)
{
    lk_cbor_write_head(w, LK_CBOR_MAP, pairs);
}

void
lk_cbor_write_tag(struct lk_cbor_out *w, uint64_t tag)
{
    lk_cbor_write_head(w, LK_CBOR_TAG, tag);
}

void
lk_cbor_write_bool(struct lk_cbor_out *w, bool value)
{
    lk_cbor_write_head(w, LK_CBOR_SIMPLE, value ? 21 : 20);
}

void
lk_cbor_write_null(struct lk_cbor_out *w)
{
    lk_cbor_write_head(w, LK_CBOR_SIMPLE, 22);
}

void
lk_cbor_write_raw(struct lk_cbor_out *w, struct lk_span item)
{
    put(w, item);
}

enum lk_err
lk_cbor_write_close(struct lk_cbor_out *w, struct lk_span *out)
{
    *out = (struct lk_span){NULL, 0};
    if (w->err == LK_OK)
        *out = lk_span_of(w->room.ptr, w->len);
    return w->err;
}
