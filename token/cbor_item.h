/*
 * cbor_item.h - CBOR item by item, for parsers that go through one structure once; private to the
 * token library.
 *
 * Nothing is kept between items: who steps into a container counts its items himself. As with
 * latchkey/cbor.h the first error sticks. It also moves to the end, so that whatever is read after
 * it finds nothing and no step has to ask.
 */
#ifndef LK_CBOR_ITEM_H
#define LK_CBOR_ITEM_H

#include <latchkey/cbor.h>

#define LK_CBOR_MAJOR_FLOAT_OR_SIMPLE 7
#define LK_CBOR_MAJOR_NONE            8 /* there is no item */

/** What is left to read. */
struct lk_cbor_in {
    const uint8_t *pos, *end;
    enum lk_err err;
};

/** RFC 8949 section 3: the initial byte with its argument. Two registers wide. */
struct lk_cbor_head {
    uint64_t value;
    uint8_t major;
    uint8_t info;
    uint8_t len; /* bytes of the head; 0: there is none, and err says why */
    uint8_t err;
};

/** The keys of a map that is known to be well-formed. */
struct lk_cbor_keys {
    const uint8_t *first;
    size_t pairs;
};

/** Any head. LK_ERR_TRUNCATED, LK_ERR_MALFORMED. */
struct lk_cbor_head lk_cbor_head_read(const uint8_t *pos, const uint8_t *end);

/**
 * Behind the item at `pos`, which is well-formed to its end; `end`, and *err set, if it is not.
 * @param depth  containers that are open around it; more than LK_DEPTH_MAX in all: LK_ERR_DEPTH.
 */
const uint8_t *lk_cbor_item_end(const uint8_t *pos, const uint8_t *end, size_t depth,
                                enum lk_err *err);

/**
 * No key twice in all these maps together, compared by value: 01 and 18 01 are the same key.
 * Costs a walk through the maps for every LK_CBOR_KEYS_HELD keys.
 * @param end  not before the end of any of them.
 */
bool lk_cbor_keys_differ(const struct lk_cbor_keys *maps, size_t count, const uint8_t *end);
#define LK_CBOR_KEYS_HELD 16

/** Seconds of a float, whose head this is, that may be a NumericDate: LK_ERR_RANGE. */
enum lk_err lk_cbor_date_of_float(struct lk_cbor_head head, int64_t *date_s);
#define LK_CBOR_DATE_BITS 53 /* a NumericDate is at most 2^53 */

static inline size_t
lk_cbor_left(const struct lk_cbor_in *in)
{
    return (size_t)(in->end - in->pos);
}

static inline void
lk_cbor_fail(struct lk_cbor_in *in, enum lk_err err)
{
    if (in->err == LK_OK)
        in->err = err;
    in->pos = in->end;
}

/** The next head, without moving: most are one byte. */
static inline struct lk_cbor_head
lk_cbor_head_peek(const struct lk_cbor_in *in)
{
    uint8_t initial;

    if (in->pos == in->end || (*in->pos & 31) >= 24)
        return lk_cbor_head_read(in->pos, in->end);
    initial = *in->pos;
    return (struct lk_cbor_head){
        .value = initial & 31, .major = initial >> 5, .info = initial & 31, .len = 1};
}

static inline struct lk_cbor_head
lk_cbor_head_take(struct lk_cbor_in *in)
{
    struct lk_cbor_head head = lk_cbor_head_peek(in);

    if (head.len == 0)
        lk_cbor_fail(in, (enum lk_err)head.err);
    else
        in->pos += head.len;
    return head;
}

/** Type of the next item by its first byte. */
static inline uint8_t
lk_cbor_major(const struct lk_cbor_in *in)
{
    return in->pos == in->end ? LK_CBOR_MAJOR_NONE : *in->pos >> 5;
}

/** The content of a string whose head was just taken; absent with an error. */
static inline struct lk_span
lk_cbor_content_take(struct lk_cbor_in *in, struct lk_cbor_head head)
{
    const uint8_t *content = in->pos;

    if (head.value > lk_cbor_left(in)) {
        lk_cbor_fail(in, LK_ERR_TRUNCATED);
        return (struct lk_span){NULL, 0};
    }
    in->pos += head.value;
    return lk_span_of(content, (size_t)head.value);
}

/** The same, with the check that a text is UTF-8. */
static inline struct lk_span
lk_cbor_string_take(struct lk_cbor_in *in, struct lk_cbor_head head)
{
    struct lk_span content = lk_cbor_content_take(in, head);

    if (head.major != LK_CBOR_TEXT || lk_utf8_is_valid(content))
        return content;
    lk_cbor_fail(in, LK_ERR_UTF8);
    return (struct lk_span){NULL, 0};
}

static inline struct lk_span
lk_cbor_bytes_take(struct lk_cbor_in *in)
{
    struct lk_cbor_head head = lk_cbor_head_take(in);

    if (head.major != LK_CBOR_BYTES) {
        lk_cbor_fail(in, LK_ERR_TYPE);
        return (struct lk_span){NULL, 0};
    }
    return lk_cbor_content_take(in, head);
}

/** Step into a container: its items, each a byte at least, or its pairs. */
static inline size_t
lk_cbor_container_take(struct lk_cbor_in *in, uint8_t major)
{
    struct lk_cbor_head head = lk_cbor_head_take(in);
    size_t most = major == LK_CBOR_MAP ? lk_cbor_left(in) / 2 : lk_cbor_left(in);

    if (head.major == major && head.value <= most)
        return (size_t)head.value;
    lk_cbor_fail(in, head.major == major ? LK_ERR_TRUNCATED : LK_ERR_TYPE);
    return 0;
}

/** Step into a map of at most LK_MEMBERS_MAX pairs; its keys are still to be told apart. */
static inline size_t
lk_cbor_map_take(struct lk_cbor_in *in)
{
    size_t pairs = lk_cbor_container_take(in, LK_CBOR_MAP);

    if (pairs <= LK_MEMBERS_MAX)
        return pairs;
    lk_cbor_fail(in, LK_ERR_LIMIT);
    return 0;
}

/** NumericDate: an integer, or a float that is cut to whole seconds (latchkey/cbor.h). */
static inline int64_t
lk_cbor_date_take(struct lk_cbor_in *in)
{
    struct lk_cbor_head head = lk_cbor_head_take(in);
    int64_t date_s = 0;
    enum lk_err err = LK_ERR_RANGE;

    if (head.major == LK_CBOR_UINT && head.value <= UINT64_C(1) << LK_CBOR_DATE_BITS)
        return (int64_t)head.value;
    if (head.major == LK_CBOR_MAJOR_FLOAT_OR_SIMPLE && head.info >= 25)
        err = lk_cbor_date_of_float(head, &date_s);
    else if (head.major > LK_CBOR_NEGINT)
        err = LK_ERR_TYPE;
    if (err != LK_OK)
        lk_cbor_fail(in, err);
    return date_s;
}

/** A whole item as encoded; absent with an error. */
static inline struct lk_span
lk_cbor_item_take(struct lk_cbor_in *in, size_t depth)
{
    const uint8_t *start = in->pos;
    enum lk_err err = in->err; /* by itself, so that `in` may stay in registers */

    in->pos = lk_cbor_item_end(start, in->end, depth, &err);
    in->err = err;
    return err == LK_OK ? lk_span_of(start, (size_t)(in->pos - start)) : (struct lk_span){NULL, 0};
}

/**
 * The key of a map: an integer that fits int64_t, bytes, or text in UTF-8.
 * @return its head; the content of a string lies before in->pos.
 */
static inline struct lk_cbor_head
lk_cbor_key_take(struct lk_cbor_in *in)
{
    struct lk_cbor_head head = lk_cbor_head_take(in);

    if (head.major > LK_CBOR_TEXT)
        lk_cbor_fail(in, LK_ERR_TYPE);
    else if (head.major >= LK_CBOR_BYTES)
        (void)lk_cbor_string_take(in, head);
    else if (head.value > INT64_MAX)
        lk_cbor_fail(in, LK_ERR_RANGE);
    return head;
}

#endif
