/*
 * latchkey/cbor.h - read and write CBOR (RFC 8949) without a heap.
 *
 * Rules for all of it: the first error sticks, every later call returns an empty value and moves
 * nothing, and close() reports it. Look once, at the end; ask `r.err` earlier only where a value
 * decides what to read next.
 *
 *     lk_cbor_open(&r, payload);
 *     lk_cbor_enter_map(&r);
 *     c.subject = lk_cbor_map_text(&r, 2);
 *     c.expires_s = lk_cbor_map_int(&r, 4, INT64_MAX);
 *     lk_cbor_leave_map(&r);
 *     err = lk_cbor_close(&r);
 *
 * The reader takes well-formed CBOR in any encoding width; indefinite lengths are refused
 * (LK_ERR_MALFORMED) since nothing we read may use them. The writer emits the deterministic form
 * of RFC 8949 section 4.2.1 as long as the caller writes map keys in order.
 * Spans handed out point into the input. Not here: tags' meaning, floats on output.
 */
#ifndef LATCHKEY_CBOR_H
#define LATCHKEY_CBOR_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>
#include <latchkey/limits.h>

enum lk_cbor_type {
    LK_CBOR_UINT = 0,
    LK_CBOR_NEGINT = 1,
    LK_CBOR_BYTES = 2,
    LK_CBOR_TEXT = 3,
    LK_CBOR_ARRAY = 4,
    LK_CBOR_MAP = 5,
    LK_CBOR_TAG = 6,
    LK_CBOR_SIMPLE = 7, /* false, true, null, undefined and unassigned simple values */
    LK_CBOR_FLOAT = 8,
    LK_CBOR_END = 9 /* of the container, of the input, or an error has stuck */
};

struct lk_cbor {
    enum lk_err err;    /* the first error; LK_OK while all is well */
    const uint8_t *pos; /* next byte */
    const uint8_t *end;
    uint32_t depth;
    uint32_t maps; /* bit n: level n is a map */
    struct {
        uint32_t from_end; /* bytes from its head to the end of the input */
        uint32_t left;     /* items not yet read (a map: keys and values) */
    } level[LK_DEPTH_MAX];
};

/** LK_ERR_LIMIT sticks at once for an input of 4 GiB or more. */
void lk_cbor_open(struct lk_cbor *r, struct lk_span in);

/** @return the first error; LK_ERR_STATE with a container still open; LK_ERR_TRAILING; LK_OK. */
LK_MUST_CHECK enum lk_err lk_cbor_close(struct lk_cbor *r);

/** Type of the next item; LK_CBOR_END at the end of the container. */
enum lk_cbor_type lk_cbor_peek(struct lk_cbor *r);

/* One item each, in order. LK_ERR_TYPE for another type, LK_ERR_RANGE where it does not fit. */
uint64_t lk_cbor_uint(struct lk_cbor *r);
int64_t lk_cbor_int(struct lk_cbor *r);
struct lk_span lk_cbor_bytes(struct lk_cbor *r);
struct lk_span lk_cbor_text(struct lk_cbor *r); /* checked to be UTF-8: LK_ERR_UTF8 */
bool lk_cbor_bool(struct lk_cbor *r);
void lk_cbor_null(struct lk_cbor *r);
double lk_cbor_float(struct lk_cbor *r); /* half, single, double */
uint64_t lk_cbor_tag(struct lk_cbor *r); /* the tag's number; its content is the next item */
void lk_cbor_skip(struct lk_cbor *r);
struct lk_span lk_cbor_raw(struct lk_cbor *r); /* the next item whole, as encoded */

/**
 * NumericDate of RFC 8392 section 2: an integer, or a float that is cut to whole seconds.
 * Negative, NaN, infinite or beyond 2^53: LK_ERR_RANGE. A tag is LK_ERR_TYPE.
 */
int64_t lk_cbor_numeric_date(struct lk_cbor *r);

size_t lk_cbor_enter_array(struct lk_cbor *r); /* number of items */
void lk_cbor_leave_array(struct lk_cbor *r);   /* what was not read is skipped */

/**
 * Step into a map. The whole map is checked first: well-formed to its end, keys integer, text or
 * bytes, no key twice (compared by encoded value: LK_ERR_DUPLICATE), at most LK_MEMBERS_MAX pairs
 * (LK_ERR_LIMIT). Inside, either read keys and values in order, or look keys up, in any order.
 */
size_t lk_cbor_enter_map(struct lk_cbor *r); /* number of pairs */
void lk_cbor_leave_map(struct lk_cbor *r);

/** Put the reader at the value of a key; false, with nothing moved, if the map has no such key. */
bool lk_cbor_map_find(struct lk_cbor *r, int64_t key);
bool lk_cbor_map_find_text(struct lk_cbor *r, struct lk_span key);

/* Look up and read; an absent key gives the empty value, not an error. */
struct lk_span lk_cbor_map_text(struct lk_cbor *r, int64_t key);
struct lk_span lk_cbor_map_bytes(struct lk_cbor *r, int64_t key);
int64_t lk_cbor_map_int(struct lk_cbor *r, int64_t key, int64_t if_absent);

struct lk_cbor_out {
    enum lk_err err; /* LK_ERR_NO_SPACE sticks */
    struct lk_buf room;
    size_t len;
};

void lk_cbor_write_open(struct lk_cbor_out *w, struct lk_buf room);
void lk_cbor_write_uint(struct lk_cbor_out *w, uint64_t value);
void lk_cbor_write_int(struct lk_cbor_out *w, int64_t value);
void lk_cbor_write_bytes(struct lk_cbor_out *w, struct lk_span bytes);
void lk_cbor_write_text(struct lk_cbor_out *w, struct lk_span text);
void lk_cbor_write_array(struct lk_cbor_out *w, size_t items); /* the items follow */
void lk_cbor_write_map(struct lk_cbor_out *w, size_t pairs);   /* keys and values follow */
void lk_cbor_write_tag(struct lk_cbor_out *w, uint64_t tag);   /* the content follows */
void lk_cbor_write_bool(struct lk_cbor_out *w, bool value);
void lk_cbor_write_null(struct lk_cbor_out *w);
void lk_cbor_write_raw(struct lk_cbor_out *w, struct lk_span item); /* encoded already */

/** @param out [out] what was written, inside the room. @return LK_OK, LK_ERR_NO_SPACE. */
LK_MUST_CHECK enum lk_err lk_cbor_write_close(struct lk_cbor_out *w, struct lk_span *out);

#endif
