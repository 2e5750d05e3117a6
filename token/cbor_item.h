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

/** What is left to read, and the head that was read last (RFC 8949 section 3). */
struct lk_cbor_in {
    const uint8_t *pos, *end;
    uint64_t value; /* argument of the head */
    enum lk_err err;
    uint8_t major; /* LK_CBOR_MAJOR_NONE: there was none */
    uint8_t info;  /* additional information: width of the argument, kind of a simple value */
};

/** The keys of a map that is known to be well-formed. */
struct lk_cbor_keys {
    const uint8_t *first;
    size_t pairs;
};

/** Take any head. LK_ERR_TRUNCATED, LK_ERR_MALFORMED. */
void lk_cbor_head_read(struct lk_cbor_in *in);

/**
 * Behind the item at `pos`, which is well-formed to its end; `end`, and *err set, if it is not.
 * @param depth  containers that are open around it; more than LK_DEPTH_MAX in all: LK_ERR_DEPTH.
 */
const uint8_t *lk_cbor_item_end(const uint8_t *pos, const uint8_t *end, size_t depth,
                                enum lk_err *err);

/**
 * No key twice in both maps together, compared by value: 01 and 18 01 are the same key. Costs a
 * walk through the maps for every LK_CBOR_KEYS_HELD keys.
 * @param end  not before the end of either.
 */
bool lk_cbor_keys_differ(struct lk_cbor_keys a, struct lk_cbor_keys b, const uint8_t *end);
#define LK_CBOR_KEYS_HELD 16

/** A NumericDate that is a float, by its head. Sets *err to LK_ERR_RANGE if it cannot be one. */
int64_t lk_cbor_date_of_float(uint64_t value, uint8_t info, enum lk_err *err);
#define LK_CBOR_DATE_BITS 53 /* a NumericDate is at most 2^53 */

/* On a small machine code is what costs, on a large one time. */
#define LK_CBOR_IS_SMALL (sizeof(size_t) < 8)

static inline struct lk_cbor_in
lk_cbor_in_of(struct lk_span bytes)
{
    struct lk_cbor_in in = {.pos = bytes.ptr, .end = bytes.ptr};

    if (bytes.ptr != NULL)
        in.end += bytes.len;
    return in;
}

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

/** The next head. Nearly all are one byte, for which `in` may stay in registers. */
static inline void
lk_cbor_head_take(struct lk_cbor_in *in)
{
    if (LK_CBOR_IS_SMALL) {
        lk_cbor_head_read(in);
    } else if (in->pos == in->end || (*in->pos & 31) >= 24) {
        struct lk_cbor_in copy = *in;

        lk_cbor_head_read(&copy);
        *in = copy;
    } else {
        in->major = *in->pos >> 5;
        in->info = *in->pos & 31;
        in->value = in->info;
        in->pos++;
    }
}

/** Type of the next item by its first byte. */
static inline uint8_t
lk_cbor_major(const struct lk_cbor_in *in)
{
    return in->pos == in->end ? LK_CBOR_MAJOR_NONE : *in->pos >> 5;
}

/** The content of a string whose head was just taken; absent with an error. */
static inline struct lk_span
lk_cbor_content_take(struct lk_cbor_in *in)
{
    const uint8_t *content = in->pos;

    if (in->value > lk_cbor_left(in)) {
        lk_cbor_fail(in, LK_ERR_TRUNCATED);
        return (struct lk_span){NULL, 0};
    }
    in->pos += in->value;
    return lk_span_of(content, (size_t)in->value);
}

/** The same, with the check that a text is UTF-8. */
static inline struct lk_span
lk_cbor_string_take(struct lk_cbor_in *in)
{
    struct lk_span content = lk_cbor_content_take(in);

    if (in->major != LK_CBOR_TEXT || lk_utf8_is_valid(content))
        return content;
    lk_cbor_fail(in, LK_ERR_UTF8);
    return (struct lk_span){NULL, 0};
}

static inline struct lk_span
lk_cbor_bytes_take(struct lk_cbor_in *in)
{
    lk_cbor_head_take(in);
    if (in->major != LK_CBOR_BYTES) {
        lk_cbor_fail(in, LK_ERR_TYPE);
        return (struct lk_span){NULL, 0};
    }
    return lk_cbor_content_take(in);
}

/** Step into a container: its items, each a byte at least, or its pairs. */
static inline size_t
lk_cbor_container_take(struct lk_cbor_in *in, uint8_t major)
{
    lk_cbor_head_take(in);
    if (in->major != major)
        lk_cbor_fail(in, LK_ERR_TYPE);
    else if (in->value <= (major == LK_CBOR_MAP ? lk_cbor_left(in) / 2 : lk_cbor_left(in)))
        return (size_t)in->value;
    lk_cbor_fail(in, LK_ERR_TRUNCATED);
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
    enum lk_err err = LK_ERR_RANGE;
    int64_t date_s = 0;

    lk_cbor_head_take(in);
    if (in->major == LK_CBOR_UINT && in->value <= UINT64_C(1) << LK_CBOR_DATE_BITS)
        return (int64_t)in->value;
    if (in->major == LK_CBOR_MAJOR_FLOAT_OR_SIMPLE && in->info >= 25) {
        err = LK_OK;
        date_s = lk_cbor_date_of_float(in->value, in->info, &err);
    } else if (in->major > LK_CBOR_NEGINT) {
        err = LK_ERR_TYPE;
    }
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
 * @return the content of a string.
 */
static inline struct lk_span
lk_cbor_key_take(struct lk_cbor_in *in)
{
    lk_cbor_head_take(in);
    if (in->major == LK_CBOR_BYTES || in->major == LK_CBOR_TEXT)
        return lk_cbor_string_take(in);
    if (in->major > LK_CBOR_NEGINT)
        lk_cbor_fail(in, LK_ERR_TYPE);
    else if (in->value > INT64_MAX)
        lk_cbor_fail(in, LK_ERR_RANGE);
    return (struct lk_span){NULL, 0};
}

#endif
