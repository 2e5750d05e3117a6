/*
 * json_random.h - write JSON whose meaning is known: random strings, each character written in one
 * of the ways RFC 8259 section 7 has for it, and random white space.
 */
#ifndef LK_TESTS_JSON_RANDOM_H
#define LK_TESTS_JSON_RANDOM_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/bytes.h>

#include "random.h"

/* A text that grows; too long a one is a mistake of the test. */
struct text {
    uint8_t bytes[1 << 16];
    size_t len;
};

static inline void
text_put(struct text *t, const void *bytes, size_t len)
{
    if (len > sizeof(t->bytes) - t->len)
        abort();
    if (len > 0)
        memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
}

static inline void
text_puts(struct text *t, const char *string)
{
    text_put(t, string, strlen(string));
}

/* One in `seldom` times some white space. 0: never */
static inline void
text_put_space(struct text *t, size_t seldom)
{
    while (seldom > 0 && random_below(seldom) == 0)
        text_put(t, &" \t\n\r"[random_below(4)], 1);
}

/* A code point as UTF-8. */
static inline struct lk_span
random_utf8(uint8_t out[4], uint32_t *point)
{
    static const uint32_t ends[] = {0x80, 0x80, 0x80, 0x80, 0x800, 0x10000, 0x110000};
    size_t len;

    do
        *point = (uint32_t)random_below(ends[random_below(7)]);
    while (*point == 0 || (*point >= 0xd800 && *point <= 0xdfff));
    if (*point < 0x80) {
        out[0] = (uint8_t)*point;
        return lk_span_of(out, 1);
    }
    len = *point < 0x800 ? 2 : *point < 0x10000 ? 3 : 4;
    out[0] = (uint8_t)((0xf00u >> len & 0xf0) | *point >> (6 * (len - 1)));
    for (size_t i = 1; i < len; i++)
        out[i] = (uint8_t)(0x80 | (*point >> (6 * (len - 1 - i)) & 0x3f));
    return lk_span_of(out, len);
}

static inline void
text_put_escape(struct text *t, uint32_t point)
{
    static const char *const forms[] = {"\\u%04x", "\\u%04X"};
    const char *form = forms[random_below(2)];
    char escape[16];

    if (point >= 0x10000) {
        snprintf(escape, sizeof(escape), form, (unsigned)(0xd800 + ((point - 0x10000) >> 10)));
        text_puts(t, escape);
        point = 0xdc00 + ((point - 0x10000) & 0x3ff);
    }
    snprintf(escape, sizeof(escape), form, (unsigned)point);
    text_puts(t, escape);
}

/* The short escape of a character, or 0. */
static inline char
short_escape(uint32_t point)
{
    static const char of[] = "\"\\/\b\f\n\r\t", names[] = "\"\\/bfnrt";
    const char *found = point < 0x80 ? strchr(of, (int)point) : NULL;

    return found == NULL ? 0 : names[found - of];
}

/* One character: plain if it may be, escaped one in `seldom` times. */
static inline void
text_put_character(struct text *t, struct lk_span utf8, uint32_t point, size_t seldom)
{
    bool must = point < 0x20 || point == '"' || point == '\\';
    char name = short_escape(point);

    if (!must && (seldom == 0 || random_below(seldom) != 0)) {
        text_put(t, utf8.ptr, utf8.len);
    } else if (name != 0 && random_below(2) == 0) {
        text_puts(t, "\\");
        text_put(t, &name, 1);
    } else {
        text_put_escape(t, point);
    }
}

/* A string of ASCII, with quotes; what it means is `string`. */
static inline void
text_put_ascii(struct text *t, struct lk_span string, size_t seldom)
{
    text_puts(t, "\"");
    for (size_t i = 0; i < string.len; i++)
        text_put_character(t, lk_span_of(string.ptr + i, 1), string.ptr[i], seldom);
    text_puts(t, "\"");
}

/* A random string, with quotes; its meaning is appended to `meaning`. */
static inline void
text_put_random(struct text *t, struct text *meaning, size_t len_max, size_t seldom)
{
    size_t len = random_below(len_max + 1);
    bool ascii = random_below(2) == 0;

    text_puts(t, "\"");
    for (size_t i = 0; i < len; i++) {
        uint8_t utf8[4];
        uint32_t point = (uint32_t)('a' + random_below(26));
        struct lk_span character = lk_span_of(utf8, 1);

        utf8[0] = (uint8_t)point;
        if (!ascii)
            character = random_utf8(utf8, &point);
        text_put(meaning, character.ptr, character.len);
        text_put_character(t, character, point, seldom);
    }
    text_puts(t, "\"");
}

#endif
