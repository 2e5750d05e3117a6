/*
 * latchkey/bytes.h - what may be read, what may be filled, and how to forget it.
 *
 * Both types are passed by value. Text from the network is a span too: it is not terminated.
 * A span handed back points into something the caller gave; the header of the call says into what.
 */
#ifndef LATCHKEY_BYTES_H
#define LATCHKEY_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Borrowed bytes: read, never write, never free. An absent value is {NULL, 0}. */
struct lk_span {
    const uint8_t *ptr;
    size_t len;
};

/** Lent room: fill up to cap. */
struct lk_buf {
    uint8_t *ptr;
    size_t cap;
};

/** A string literal as a span, without its terminator. */
#define LK_SPAN(literal) ((struct lk_span){(const uint8_t *)("" literal), sizeof(literal) - 1})

/** A whole array as room. */
#define LK_BUF_OF(array) ((struct lk_buf){(uint8_t *)(array), sizeof(array)})

static inline struct lk_span
lk_span_of(const void *ptr, size_t len)
{
    return (struct lk_span){(const uint8_t *)ptr, len};
}

/** A terminated string of the operating system as a span; NULL gives the absent span. */
struct lk_span lk_span_text(const char *text);

/** Equal bytes. Not constant-time: for names, never for secrets. */
bool lk_span_equal(struct lk_span a, struct lk_span b);

/** Equal to a terminated string. Not constant-time. */
bool lk_span_is(struct lk_span a, const char *text);

/** Equal bytes in time that depends on the lengths only. For secrets, tags and hashes. */
bool lk_equal_ct(struct lk_span a, struct lk_span b);

/** Overwrite with zeros in a way no optimiser removes. */
void lk_wipe(void *ptr, size_t len);

/** Well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool lk_utf8_is_valid(struct lk_span text);

#endif
