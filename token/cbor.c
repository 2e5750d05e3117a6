#include "cbor_head.h"
#include "cbor_item.h"

#include <string.h>

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FROM_BE64(number) __builtin_bswap64(number)
#else
#define FROM_BE64(number) (number)
#endif

/* Items. */

extern inline void lk_cbor_in_open(struct lk_cbor_in *in, struct lk_span bytes);
extern inline size_t lk_cbor_left(const struct lk_cbor_in *in);
extern inline void lk_cbor_head_take(struct lk_cbor_in *in);
extern inline void lk_cbor_fail(struct lk_cbor_in *in, enum lk_err err);
extern inline uint8_t lk_cbor_major(const struct lk_cbor_in *in);
extern inline void lk_cbor_content_take(struct lk_cbor_in *in);
extern inline void lk_cbor_string_take(struct lk_cbor_in *in);
extern inline void lk_cbor_typed_take(struct lk_cbor_in *in, uint8_t major);
extern inline void lk_cbor_bytes_take(struct lk_cbor_in *in);
extern inline size_t lk_cbor_items_of(struct lk_cbor_in *in);
extern inline size_t lk_cbor_container_take(struct lk_cbor_in *in, uint8_t major, size_t most);
extern inline void lk_cbor_map_take(struct lk_cbor_in *in, struct lk_cbor_keys *keys);
extern inline void lk_cbor_key_take(struct lk_cbor_in *in);
extern inline int64_t lk_cbor_date_take(struct lk_cbor_in *in);
extern inline void lk_cbor_item_take(struct lk_cbor_in *in, size_t depth);

/* A big-endian number of 1, 2, 4 or 8 bytes. A large machine takes eight bytes at once where there
 * are as many, and drops what it has no use for. */
static uint64_t
argument_at(const uint8_t *at, const uint8_t *end, size_t len)
{
    uint64_t value = 0;

    if (sizeof(size_t) >= sizeof(value) && (size_t)(end - at) >= sizeof(value)) {
        memcpy(&value, at, sizeof(value));
        return FROM_BE64(value) >> (64 - 8 * len);
    }
    for (size_t i = 0; i < len; i++)
        value = value << 8 | at[i];
    return value;
}

void
lk_cbor_head_read(struct lk_cbor_in *in)
{
    size_t left = lk_cbor_left(in), len;
    enum lk_err err = LK_ERR_TRUNCATED;

    if (left == 0)
        goto none;
    in->info = *in->pos & 31;
    in->major = *in->pos++ >> 5;
    in->value = in->info;
    if (in->info < 24)
        return;
    /* 28 to 30 are reserved; 31 is an indefinite length or a break, which we never take. */
    err = LK_ERR_MALFORMED;
    if (in->info >= 28)
        goto none;
    len = (size_t)1 << (in->info - 24);
    err = LK_ERR_TRUNCATED;
    if (left <= len)
        goto none;
    in->value = argument_at(in->pos, in->end, len);
    in->pos += len;
    /* RFC 8949 section 3.3: 0 to 31 have no two-byte form. */
    err = LK_ERR_MALFORMED;
    if (in->major != LK_CBOR_FLOAT_OR_SIMPLE || len > 1 || in->value >= 32)
        return;
none:
    lk_cbor_fail(in, err);
    in->major = LK_CBOR_NONE;
    in->value = 0;
}

/* Go over the content of a string, or step into a container: the items inside it. */
static size_t
content_enter(struct lk_cbor_in *in, size_t depth)
{
    switch (in->major) {
    case LK_CBOR_BYTES:
    case LK_CBOR_TEXT:
        lk_cbor_string_take(in);
        return 0;
    case LK_CBOR_ARRAY:
    case LK_CBOR_MAP:
        if (depth >= LK_DEPTH_MAX)
            lk_cbor_fail(in, LK_ERR_DEPTH);
        return lk_cbor_items_of(in);
    case LK_CBOR_TAG:
        return 1;
    default:
        return 0;
    }
}

/* Not recursive: depth costs a counter. */
void
lk_cbor_item_pass(struct lk_cbor_in *in, size_t depth)
{
    size_t left[LK_DEPTH_MAX]; /* by depth: items still to come in a container */
    size_t around = depth, items;

    do {
        lk_cbor_head_take(in);
        items = content_enter(in, depth);
        if (in->major == LK_CBOR_TAG)
            continue; /* its content is the item */
        if (items > 0)
            left[depth++] = items;
        else
            while (depth > around && --left[depth - 1] == 0)
                depth--;
        items = depth - around;
    } while (items > 0 && in->err == LK_OK);
}

/* The same for an item that is known to be well-formed. */
static void
known_item_pass(struct lk_cbor_in *in)
{
    for (size_t items = 1; items > 0; items--) {
        lk_cbor_head_take(in);
        if (in->major == LK_CBOR_BYTES || in->major == LK_CBOR_TEXT)
            in->pos += (size_t)in->value;
        else if (in->major == LK_CBOR_ARRAY || in->major == LK_CBOR_MAP)
            items += (size_t)in->value << (in->major == LK_CBOR_MAP);
        else if (in->major == LK_CBOR_TAG)
            items++;
    }
}

/* Two keys that are known to be well-formed. Moves `in`, which ends behind them. */
static bool
keys_equal(struct lk_cbor_in *in, const uint8_t *a, const uint8_t *b)
{
    uint64_t value;
    uint8_t major;

    in->pos = a;
    lk_cbor_head_take(in);
    value = in->value;
    major = in->major;
    a = in->pos;
    in->pos = b;
    lk_cbor_head_take(in);
    if (in->major != major || in->value != value)
        return false;
    return major < LK_CBOR_BYTES || memcmp(a, in->pos, (size_t)value) == 0;
}

/* Some keys are held against each other and against all that follow; then the next ones. */
void
lk_cbor_keys_check(struct lk_cbor_in *in, const struct lk_cbor_keys *keys,
                   const struct lk_cbor_keys *more)
{
    const uint8_t *held[LK_CBOR_KEYS_HELD], *pos = in->pos, *key;
    size_t all = keys->pairs + (more == NULL ? 0 : more->pairs);

    for (size_t from = 0; from < all && in->err == LK_OK; from += LK_CBOR_KEYS_HELD) {
        size_t holding = 0;

        key = keys->first;
        for (size_t i = 0; i < all; i++) {
            if (i == keys->pairs)
                key = more->first;
            for (size_t k = 0; k < holding; k++)
                if (keys_equal(in, held[k], key))
                    in->err = LK_ERR_DUPLICATE;
            if (i >= from && holding < LK_CBOR_KEYS_HELD)
                held[holding++] = key;
            in->pos = key;
            known_item_pass(in);
            known_item_pass(in);
            key = in->pos;
        }
    }
    in->pos = in->err == LK_OK ? pos : in->end;
}

/* The highest bits, moved behind those of `number`. */
static uint64_t
bits_take(uint64_t *bits, unsigned count, uint64_t number)
{
    for (; count > 0; count--, *bits <<= 1)
        number = number << 1 | *bits >> 63;
    return number;
}

/* IEEE 754 in whole numbers: small machines have no floats. */
void
lk_cbor_float_cut(struct lk_cbor_in *in)
{
    unsigned width = 5 + 3 * (in->info - 25u), exponent, bias = (1u << (width - 1)) - 1;
    uint64_t bits = in->value, sign;

    (void)bits_take(&bits, 64 - (8u << (in->info - 24)), 0);
    sign = bits_take(&bits, 1, 0);
    in->value = 0; /* minus zero; less than a second */
    if (bits == 0)
        return;
    exponent = (unsigned)bits_take(&bits, width, 0);
    if (sign == 0 && exponent < bias)
        return;
    in->value = UINT64_MAX;
    exponent -= bias;
    /* The greatest exponent is that of infinity and NaN; a half's is below our limit. */
    if (sign == 0 && exponent <= bias && exponent <= LK_CBOR_DATE_BITS) {
        in->value = bits_take(&bits, exponent, 1);
        if (exponent == LK_CBOR_DATE_BITS && bits != 0)
            in->value++; /* beyond it by less than a second */
    }
}

/* The reader. Each of its steps takes from a copy of its place, and only a step that went well
 * moves it. */

static void
fail(struct lk_cbor *r, enum lk_err err)
{
    if (r->err == LK_OK)
        r->err = err;
}

/* Where the next item is, if one is due. */
static struct lk_cbor_in
step_begin(const struct lk_cbor *r)
{
    struct lk_cbor_in in = {.pos = r->pos, .end = r->end, .err = r->err};

    if (r->err != LK_OK)
        in.pos = in.end;
    else if (r->depth > 0 && r->level[r->depth - 1].left == 0)
        lk_cbor_fail(&in, LK_ERR_MISSING);
    return in;
}

/* The item was read, or not. */
static bool
step_end(struct lk_cbor *r, const struct lk_cbor_in *in)
{
    r->err = in->err;
    if (r->err != LK_OK)
        return false;
    r->pos = in->pos;
    if (r->depth > 0)
        r->level[r->depth - 1].left--;
    return true;
}

/* An item that is all head, of one type. */
static bool
head_step(struct lk_cbor *r, struct lk_cbor_in *in, uint8_t major, uint8_t info_min,
          uint8_t info_max)
{
    *in = step_begin(r);
    lk_cbor_head_take(in);
    if (in->major != major || in->info < info_min || in->info > info_max)
        lk_cbor_fail(in, LK_ERR_TYPE);
    return step_end(r, in);
}

void
lk_cbor_open(struct lk_cbor *r, struct lk_span in)
{
    static const uint8_t nothing[1];

    r->err = LK_OK;
#if SIZE_MAX > UINT32_MAX
    if (in.len > UINT32_MAX)
        r->err = LK_ERR_LIMIT;
#endif
    r->pos = in.ptr == NULL ? nothing : in.ptr;
    r->end = r->pos + (in.ptr == NULL ? 0 : in.len);
    r->depth = 0;
    r->maps = 0;
}

enum lk_err
lk_cbor_close(struct lk_cbor *r)
{
    if (r->depth > 0)
        fail(r, LK_ERR_STATE);
    if (r->pos < r->end)
        fail(r, LK_ERR_TRAILING);
    return r->err;
}

enum lk_cbor_type
lk_cbor_peek(struct lk_cbor *r)
{
    struct lk_cbor_in in = step_begin(r);
    uint8_t major = lk_cbor_major(&in), info;

    if (major == LK_CBOR_NONE)
        return LK_CBOR_END;
    info = *in.pos & 31;
    if (info >= 28) {
        fail(r, LK_ERR_MALFORMED);
        return LK_CBOR_END;
    }
    if (major == LK_CBOR_FLOAT_OR_SIMPLE && info >= 25)
        return LK_CBOR_FLOAT;
    return (enum lk_cbor_type)major;
}

uint64_t
lk_cbor_uint(struct lk_cbor *r)
{
    struct lk_cbor_in in;

    return head_step(r, &in, LK_CBOR_UINT, 0, 27) ? in.value : 0;
}

int64_t
lk_cbor_int(struct lk_cbor *r)
{
    struct lk_cbor_in in = step_begin(r);

    lk_cbor_head_take(&in);
    if (in.major > LK_CBOR_NEGINT)
        lk_cbor_fail(&in, LK_ERR_TYPE);
    else if (in.value > INT64_MAX)
        lk_cbor_fail(&in, LK_ERR_RANGE);
    if (!step_end(r, &in))
        return 0;
    return in.major == LK_CBOR_NEGINT ? -1 - (int64_t)in.value : (int64_t)in.value;
}

static struct lk_span
string_step(struct lk_cbor *r, uint8_t major)
{
    struct lk_cbor_in in = step_begin(r);

    lk_cbor_typed_take(&in, major);
    lk_cbor_string_take(&in);
    return step_end(r, &in) ? in.content : (struct lk_span){NULL, 0};
}

struct lk_span
lk_cbor_bytes(struct lk_cbor *r)
{
    return string_step(r, LK_CBOR_BYTES);
}

struct lk_span
lk_cbor_text(struct lk_cbor *r)
{
    return string_step(r, LK_CBOR_TEXT);
}

bool
lk_cbor_bool(struct lk_cbor *r)
{
    struct lk_cbor_in in;

    return head_step(r, &in, LK_CBOR_FLOAT_OR_SIMPLE, 20, 21) && in.info == 21;
}

void
lk_cbor_null(struct lk_cbor *r)
{
    struct lk_cbor_in in;

    (void)head_step(r, &in, LK_CBOR_FLOAT_OR_SIMPLE, 22, 22);
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
    struct lk_cbor_in in;
    uint32_t bits;
    float single;
    double value;

    _Static_assert(sizeof(float) == 4 && sizeof(double) == 8, "IEEE 754 floats are assumed");
    if (!head_step(r, &in, LK_CBOR_FLOAT_OR_SIMPLE, 25, 27))
        return 0;
    if (in.info == 27) {
        memcpy(&value, &in.value, sizeof(value));
        return value;
    }
    bits = in.info == 25 ? half_to_single((uint32_t)in.value) : (uint32_t)in.value;
    memcpy(&single, &bits, sizeof(single));
    return (double)single;
}

uint64_t
lk_cbor_tag(struct lk_cbor *r)
{
    struct lk_cbor_in in = step_begin(r);

    lk_cbor_head_take(&in);
    if (in.major != LK_CBOR_TAG)
        lk_cbor_fail(&in, LK_ERR_TYPE);
    else if (in.pos == in.end)
        lk_cbor_fail(&in, LK_ERR_TRUNCATED);
    r->err = in.err;
    if (r->err != LK_OK)
        return 0;
    r->pos = in.pos; /* its content is the item */
    return in.value;
}

void
lk_cbor_skip(struct lk_cbor *r)
{
    (void)lk_cbor_raw(r);
}

struct lk_span
lk_cbor_raw(struct lk_cbor *r)
{
    struct lk_cbor_in in = step_begin(r);

    lk_cbor_item_take(&in, r->depth);
    return step_end(r, &in) ? in.content : (struct lk_span){NULL, 0};
}

int64_t
lk_cbor_numeric_date(struct lk_cbor *r)
{
    struct lk_cbor_in in = step_begin(r);
    int64_t date_s = lk_cbor_date_take(&in);

    return step_end(r, &in) ? date_s : 0;
}

/* Go over the pairs of a map whose head was just taken. */
static enum lk_err
map_check(struct lk_cbor_in in, size_t pairs, size_t depth)
{
    struct lk_cbor_keys keys = {in.pos, pairs};

    if (pairs > LK_MEMBERS_MAX)
        lk_cbor_fail(&in, LK_ERR_LIMIT);
    for (size_t i = 0; i < pairs && in.err == LK_OK; i++) {
        if (lk_cbor_major(&in) > LK_CBOR_TEXT && in.pos < in.end)
            lk_cbor_fail(&in, LK_ERR_TYPE);
        lk_cbor_item_pass(&in, depth);
        lk_cbor_item_pass(&in, depth);
    }
    if (pairs > 1)
        lk_cbor_keys_check(&in, &keys, NULL);
    return in.err;
}

static size_t
container_enter(struct lk_cbor *r, uint8_t major)
{
    struct lk_cbor_in in = step_begin(r);
    uint32_t from_end = (uint32_t)lk_cbor_left(&in);
    size_t count;

    if (r->depth >= LK_DEPTH_MAX && lk_cbor_major(&in) == major)
        lk_cbor_fail(&in, LK_ERR_DEPTH);
    count = lk_cbor_container_take(&in, major, SIZE_MAX);
    if (major == LK_CBOR_MAP && in.err == LK_OK)
        in.err = map_check(in, count, r->depth + 1);
    if (!step_end(r, &in))
        return 0;
    r->level[r->depth].from_end = from_end;
    r->level[r->depth].left = (uint32_t)(major == LK_CBOR_MAP ? 2 * count : count);
    r->maps &= ~(UINT32_C(1) << r->depth);
    r->maps |= (uint32_t)(major == LK_CBOR_MAP) << r->depth;
    r->depth++;
    return count;
}

/* Is the innermost container open, and of this kind? */
static bool
is_inside(struct lk_cbor *r, bool map)
{
    if (r->err == LK_OK && (r->depth == 0 || (r->maps >> (r->depth - 1) & 1) != map))
        r->err = LK_ERR_STATE;
    return r->err == LK_OK;
}

static void
container_leave(struct lk_cbor *r, bool is_map)
{
    if (!is_inside(r, is_map))
        return;
    while (r->err == LK_OK && r->level[r->depth - 1].left > 0)
        lk_cbor_skip(r);
    if (r->err == LK_OK)
        r->depth--;
}

size_t
lk_cbor_enter_array(struct lk_cbor *r)
{
    return container_enter(r, LK_CBOR_ARRAY);
}

void
lk_cbor_leave_array(struct lk_cbor *r)
{
    container_leave(r, false);
}

size_t
lk_cbor_enter_map(struct lk_cbor *r)
{
    return container_enter(r, LK_CBOR_MAP);
}

void
lk_cbor_leave_map(struct lk_cbor *r)
{
    container_leave(r, true);
}

/* Go to the value of the key with this head and, for a string, this content. enter_map has checked
 * the whole map. */
static bool
map_seek(struct lk_cbor *r, uint8_t major, uint64_t value, const uint8_t *content)
{
    struct lk_cbor_in in = {.end = r->end};

    if (!is_inside(r, true))
        return false;
    in.pos = r->end - r->level[r->depth - 1].from_end;
    lk_cbor_head_take(&in);
    for (uint32_t left = (uint32_t)in.value * 2; left > 0; left -= 2) {
        const uint8_t *key = in.pos;
        bool found;

        lk_cbor_head_take(&in);
        found = in.major == major && in.value == value &&
                (content == NULL || memcmp(in.pos, content, (size_t)value) == 0);
        in.pos = key;
        known_item_pass(&in);
        if (found) {
            r->pos = in.pos;
            r->level[r->depth - 1].left = left - 1;
            return true;
        }
        known_item_pass(&in);
    }
    return false;
}

bool
lk_cbor_map_find(struct lk_cbor *r, int64_t key)
{
    uint8_t major = key < 0 ? LK_CBOR_NEGINT : LK_CBOR_UINT;

    return map_seek(r, major, (uint64_t)(key < 0 ? -1 - key : key), NULL);
}

bool
lk_cbor_map_find_text(struct lk_cbor *r, struct lk_span key)
{
    return map_seek(r, LK_CBOR_TEXT, key.len, key.ptr == NULL ? (const uint8_t *)"" : key.ptr);
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

size_t
lk_cbor_head_put(uint8_t *room, enum lk_cbor_type major, uint64_t value)
{
    size_t len = lk_cbor_head_len(value);
    unsigned width = len == 9 ? 27 : len == 5 ? 26 : 22 + (unsigned)len;

    room[0] = (uint8_t)((unsigned)major << 5 | (len == 1 ? (unsigned)value : width));
    for (size_t i = len - 1; i > 0; i--, value >>= 8)
        room[i] = (uint8_t)value;
    return len;
}

void
lk_cbor_write_head(struct lk_cbor_out *w, enum lk_cbor_type major, uint64_t value)
{
    uint8_t head[LK_CBOR_HEAD_MAX];

    put(w, lk_span_of(head, lk_cbor_head_put(head, major, value)));
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
