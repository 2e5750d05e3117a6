/*
 * cbor_item.h - CBOR item by item, for parsers that go through one structure once; private to the
 * token library.
 *
 * Nothing is kept between items: who steps into a container counts its items himself. As with
 * latchkey/cbor.h the first error sticks. It also moves to the end, so that whatever is read after
 * it finds nothing and no step has to ask.
 *
 * The steps are inline functions of C with one definition each in cbor.o: a compiler that is asked
 * for speed expands them, one that is asked for size calls them.
 */
#ifndef LK_CBOR_ITEM_H
#define LK_CBOR_ITEM_H

#include <latchkey/cbor.h>

#define LK_CBOR_FLOAT_OR_SIMPLE 7
#define LK_CBOR_NONE            8  /* there is no item */
#define LK_CBOR_DATE_BITS       53 /* a NumericDate is at most 2^53 */

/* Where code costs more than time does. */
#define LK_CBOR_IS_SMALL (sizeof(size_t) < sizeof(uint64_t))

/** What is left to read, and what was read last. */
struct lk_cbor_in {
    const uint8_t *pos, *end;
    struct lk_span content; /* of a string, or a whole item; absent with an error */
    uint64_t value;         /* of the head: its argument (RFC 8949 section 3) */
    enum lk_err err;
    uint8_t major; /* LK_CBOR_NONE: there was no head */
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
 * Take a whole item, well-formed to its end.
 * @param depth  containers that are open around it; more than LK_DEPTH_MAX in all: LK_ERR_DEPTH.
 */
void lk_cbor_item_pass(struct lk_cbor_in *in, size_t depth);

/**
 * LK_ERR_DUPLICATE for a key that is twice in a map, or in two maps together. Compared by value: 01
 * and 18 01 are the same key. Costs a walk through the maps for every LK_CBOR_KEYS_HELD keys.
 * @param in    ends not before either map does; nothing happens if an error has stuck to it.
 * @param more  NULL: there is one map.
 */
void lk_cbor_keys_check(struct lk_cbor_in *in, const struct lk_cbor_keys *keys,
                        const struct lk_cbor_keys *more);
#define LK_CBOR_KEYS_HELD (LK_CBOR_IS_SMALL ? 4 : 16)

/** Put whole seconds in the place of a float whose head was just taken; UINT64_MAX: none. */
void lk_cbor_float_cut(struct lk_cbor_in *in);

inline void
lk_cbor_in_open(struct lk_cbor_in *in, struct lk_span bytes)
{
    in->pos = bytes.ptr;
    in->end = bytes.ptr;
    in->err = LK_OK;
    if (bytes.ptr != NULL)
        in->end += bytes.len;
}

inline size_t
lk_cbor_left(const struct lk_cbor_in *in)
{
    return (size_t)(in->end - in->pos);
}

inline void
lk_cbor_fail(struct lk_cbor_in *in, enum lk_err err)
{
    if (in->err == LK_OK)
        in->err = err;
    in->pos = in->end;
    in->content = (struct lk_span){NULL, 0};
}

/** The next head. Nearly all are one byte. */
inline void
lk_cbor_head_take(struct lk_cbor_in *in)
{
    if (LK_CBOR_IS_SMALL || in->pos == in->end || (*in->pos & 31) >= 24) {
        lk_cbor_head_read(in);
        return;
    }
    in->major = *in->pos >> 5;
    in->info = *in->pos & 31;
    in->value = in->info;
    in->pos++;
}

/** Type of the next item by its first byte. */
inline uint8_t
lk_cbor_major(const struct lk_cbor_in *in)
{
    return in->pos == in->end ? LK_CBOR_NONE : *in->pos >> 5;
}

/** The content of a string whose head was just taken. */
inline void
lk_cbor_content_take(struct lk_cbor_in *in)
{
    in->content = (struct lk_span){in->pos, (size_t)in->value};
    if (in->value > lk_cbor_left(in))
        lk_cbor_fail(in, LK_ERR_TRUNCATED);
    else
        in->pos += (size_t)in->value;
}

/** The same, with the check that a text is UTF-8. */
inline void
lk_cbor_string_take(struct lk_cbor_in *in)
{
    lk_cbor_content_take(in);
    if (in->major == LK_CBOR_TEXT && !lk_utf8_is_valid(in->content))
        lk_cbor_fail(in, LK_ERR_UTF8);
}

/** A head of one type. */
inline void
lk_cbor_typed_take(struct lk_cbor_in *in, uint8_t major)
{
    lk_cbor_head_take(in);
    if (in->major != major)
        lk_cbor_fail(in, LK_ERR_TYPE);
}

inline void
lk_cbor_bytes_take(struct lk_cbor_in *in)
{
    lk_cbor_typed_take(in, LK_CBOR_BYTES);
    lk_cbor_content_take(in);
}

/** Items inside the array or map whose head was just taken, each a byte at least. */
inline size_t
lk_cbor_items_of(struct lk_cbor_in *in)
{
    unsigned is_map = in->major == LK_CBOR_MAP;

    if (in->value <= lk_cbor_left(in) >> is_map)
        return (size_t)in->value << is_map;
    lk_cbor_fail(in, LK_ERR_TRUNCATED);
    return 0;
}

/** Step into an array or map of at most `most` items: LK_ERR_LIMIT. @return its items, or pairs. */
inline size_t
lk_cbor_container_take(struct lk_cbor_in *in, uint8_t major, size_t most)
{
    lk_cbor_typed_take(in, major);
    (void)lk_cbor_items_of(in);
    if (in->value > most)
        lk_cbor_fail(in, LK_ERR_LIMIT);
    return in->err == LK_OK ? (size_t)in->value : 0;
}

/** Step into a map; its keys are still to be told apart. */
inline void
lk_cbor_map_take(struct lk_cbor_in *in, struct lk_cbor_keys *keys)
{
    keys->pairs = lk_cbor_container_take(in, LK_CBOR_MAP, LK_MEMBERS_MAX);
    keys->first = in->pos;
}

/** The key of a map: an integer that fits int64_t, bytes, or text in UTF-8. */
inline void
lk_cbor_key_take(struct lk_cbor_in *in)
{
    lk_cbor_head_take(in);
    if (in->major > LK_CBOR_TEXT)
        lk_cbor_fail(in, LK_ERR_TYPE);
    else if (in->major >= LK_CBOR_BYTES)
        lk_cbor_string_take(in);
    else if (in->value > INT64_MAX)
        lk_cbor_fail(in, LK_ERR_RANGE);
}

/** NumericDate: an integer, or a float that is cut to whole seconds (latchkey/cbor.h). */
inline int64_t
lk_cbor_date_take(struct lk_cbor_in *in)
{
    lk_cbor_head_take(in);
    if (in->major == LK_CBOR_FLOAT_OR_SIMPLE && in->info >= 25)
        lk_cbor_float_cut(in);
    else if (in->major > LK_CBOR_NEGINT)
        lk_cbor_fail(in, LK_ERR_TYPE);
    if (in->major == LK_CBOR_NEGINT || in->value > UINT64_C(1) << LK_CBOR_DATE_BITS)
        lk_cbor_fail(in, LK_ERR_RANGE);
    return (int64_t)in->value;
}

/** A whole item; as encoded it is the content. */
inline void
lk_cbor_item_take(struct lk_cbor_in *in, size_t depth)
{
    const uint8_t *start = in->pos;

    lk_cbor_item_pass(in, depth);
    if (in->err == LK_OK)
        in->content = (struct lk_span){start, (size_t)(in->pos - start)};
}

#endif
