/*
 * hex.h - hex to bytes for tests. A malformed text ends the test program.
 */
#ifndef LK_TESTS_HEX_H
#define LK_TESTS_HEX_H

#include <stdio.h>
#include <stdlib.h>

#include <latchkey/bytes.h>

static inline unsigned
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a' + 10);
    if (c >= 'A' && c <= 'F')
        return (unsigned)(c - 'A' + 10);
    fprintf(stderr, "not a hex digit: %c\n", c);
    abort();
}

/* Spaces between bytes are allowed. */
static inline struct lk_span
hex_bytes(const char *text, struct lk_buf room)
{
    size_t len = 0;

    while (*text != '\0') {
        if (*text == ' ') {
            text++;
            continue;
        }
        if (len == room.cap)
            abort();
        room.ptr[len] = (uint8_t)(hex_digit(text[0]) << 4);
        room.ptr[len] = (uint8_t)(room.ptr[len] | hex_digit(text[1]));
        len++;
        text += 2;
    }
    return lk_span_of(room.ptr, len);
}

#endif
