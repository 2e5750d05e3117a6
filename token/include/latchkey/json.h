/*
 * latchkey/json.h - read JSON (RFC 8259) without a heap, for tokens and keys.
 *
 * The shape is that of cbor.h: a pull reader whose first error sticks. Strict: UTF-8 only, no
 * duplicate member names, no NUL in strings, no trailing bytes, numbers as the grammar has them.
 * Strings are unescaped in place, so the input is a buffer the caller owns and lends; spans handed
 * out point into it. Not here: big documents (the servers use jansson), pretty printing.
 */
#ifndef LATCHKEY_JSON_H
#define LATCHKEY_JSON_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>
#include <latchkey/limits.h>

enum lk_json_type {
    LK_JSON_OBJECT,
    LK_JSON_ARRAY,
    LK_JSON_STRING,
    LK_JSON_NUMBER,
    LK_JSON_BOOL,
    LK_JSON_NULL,
    LK_JSON_END /* of the container, of the input, or an error has stuck */
};

struct lk_json {
    enum lk_err err;
    uint8_t *pos;
    uint8_t *end;
    const uint8_t *known; /* what stands before it has been checked */
    uint8_t depth;
    uint32_t in_object; /* of each open container, the innermost lowest: is it an object? */
    uint32_t started;   /* likewise: is a separator due before the next member or item? */
};

void lk_json_open(struct lk_json *r, uint8_t *text, size_t len);
LK_MUST_CHECK enum lk_err lk_json_close(struct lk_json *r);

enum lk_json_type lk_json_peek(struct lk_json *r);
struct lk_span lk_json_string(struct lk_json *r); /* unescaped, valid UTF-8, without NUL */
int64_t lk_json_int(struct lk_json *r); /* LK_ERR_RANGE beyond 2^53 or with "." or exponent */
int64_t lk_json_numeric_date(struct lk_json *r); /* fraction cut off; negative: LK_ERR_RANGE */
bool lk_json_bool(struct lk_json *r);
void lk_json_null(struct lk_json *r);
void lk_json_skip(struct lk_json *r); /* checked as if it had been read */
/** The next value as it stands, checked; nothing in it is unescaped. */
struct lk_span lk_json_raw(struct lk_json *r);

/**
 * Walk an object. enter checks the whole object: its grammar, and that neither it nor an object in
 * it has a member name twice (compared after unescaping) or more than LK_MEMBERS_MAX members. What
 * is in it is not checked a second time when it is entered or skipped. Then:
 *
 *     lk_json_enter_object(&r);
 *     while (lk_json_next_member(&r, &name)) {
 *         if (lk_span_is(name, "kid")) kid = lk_json_string(&r);
 *         else lk_json_skip(&r);
 *     }
 *     lk_json_leave_object(&r);
 */
void lk_json_enter_object(struct lk_json *r);
bool lk_json_next_member(struct lk_json *r, struct lk_span *name);
void lk_json_leave_object(struct lk_json *r);

void lk_json_enter_array(struct lk_json *r);
bool lk_json_next_item(struct lk_json *r); /* true: an item follows */
void lk_json_leave_array(struct lk_json *r);

/* The writer; the first error (NO_SPACE; UTF8, also for NUL in a text) sticks. It places commas. */
struct lk_json_out {
    enum lk_err err;
    struct lk_buf room;
    size_t len;
    bool comma;
};

void lk_json_write_open(struct lk_json_out *w, struct lk_buf room);
void lk_json_write_object(struct lk_json_out *w); /* { */
void lk_json_write_object_end(struct lk_json_out *w);
void lk_json_write_array(struct lk_json_out *w); /* [ */
void lk_json_write_array_end(struct lk_json_out *w);
void lk_json_write_name(struct lk_json_out *w, const char *name);
void lk_json_write_string(struct lk_json_out *w, struct lk_span text); /* escaped as needed */
void lk_json_write_base64url(struct lk_json_out *w, struct lk_span bytes);
void lk_json_write_int(struct lk_json_out *w, int64_t value);
void lk_json_write_bool(struct lk_json_out *w, bool value);
void lk_json_write_raw(struct lk_json_out *w, struct lk_span value); /* JSON already */
LK_MUST_CHECK enum lk_err lk_json_write_close(struct lk_json_out *w, struct lk_span *out);

#endif
