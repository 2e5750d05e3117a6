/*
 * level.h - levels of a topic, read eight bytes at a time. Inside token/ only.
 *
 * No byte outside [begin, end) is ever read: the last, short word is loaded so that it ends with
 * the text and is then shifted into place.
 */
#ifndef LATCHKEY_LEVEL_H
#define LATCHKEY_LEVEL_H

#include <string.h>

#include <latchkey/bytes.h>

#define LK_ONES  UINT64_C(0x0101010101010101)
#define LK_HIGHS UINT64_C(0x8080808080808080)

/** One level of a topic, filter or value. */
struct lk_topic_level {
    const uint8_t *ptr;
    size_t len;
    const uint8_t *next; /* where the next level begins; NULL behind the last */
    uint64_t hash;       /* the same for equal bytes; see lk_level_read */
};

/* Eight bytes, the first one lowest. */
static inline uint64_t
lk_load_le64(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Up to eight bytes from `at`, zeros behind the end. */
static inline uint64_t
lk_load_word(const uint8_t *begin, const uint8_t *at, const uint8_t *end)
{
    size_t left = (size_t)(end - at);
    uint64_t word = 0;

    if (left >= 8)
        return lk_load_le64(at);
    if (left == 0)
        return 0;
    if (end - begin >= 8)
        return lk_load_le64(end - 8) >> (64 - 8 * left);
    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)at[i] << (8 * i);
    return word;
}

/* The high bit of every byte that is zero. Bits above the lowest one set may be wrong. */
static inline uint64_t
lk_zero_bytes(uint64_t word)
{
    return (word - LK_ONES) & ~word & LK_HIGHS;
}

/**
 * Read the level that begins at `at`.
 *
 * The hash is a sum of words times an odd constant, so that a word of zeros changes nothing and a
 * level gives the same hash wherever it stands. Its upper half is the good one.
 */
static inline struct lk_topic_level
lk_level_read(const uint8_t *begin, const uint8_t *at, const uint8_t *end)
{
    struct lk_topic_level level = {at, 0, NULL, 0};

    for (;;) {
        uint64_t word = lk_load_word(begin, at, end);
        uint64_t slashes = lk_zero_bytes(word ^ (LK_ONES * '/'));

        if (slashes != 0) {
            size_t n = (size_t)__builtin_ctzll(slashes) / 8;

            word &= (UINT64_C(1) << (8 * n)) - 1;
            level.hash += word * UINT64_C(0x9e3779b97f4a7c15);
            level.len = (size_t)(at + n - level.ptr);
            level.next = at + n + 1;
            return level;
        }
        level.hash += word * UINT64_C(0x9e3779b97f4a7c15);
        if (end - at <= 8) {
            level.len = (size_t)(end - level.ptr);
            return level;
        }
        at += 8;
    }
}

/** The hash of a level that is this text. */
static inline uint64_t
lk_text_hash(struct lk_span text)
{
    return lk_level_read(text.ptr, text.ptr, text.ptr + text.len).hash;
}

#define LK_NOT_PLAIN SIZE_MAX

/* High bits for NUL and what is not ASCII; above the lowest one set, perhaps for more. */
static inline uint64_t
lk_not_text(uint64_t word, size_t left)
{
    if (left < 8)
        word |= (LK_ONES * ' ') << (8 * left);
    return ((word - LK_ONES) | word) & LK_HIGHS;
}

/**
 * A high bit for the first byte of a word that is a wildcard, NUL or not ASCII, and perhaps for
 * later ones. Only `left` bytes count.
 */
static inline uint64_t
lk_not_plain_ascii(uint64_t word, size_t left)
{
    /* `+` and # differ in one bit only. */
    return lk_zero_bytes((word | (LK_ONES * 0x08)) ^ (LK_ONES * '+')) | lk_not_text(word, left);
}

/** The same for a slash too, and an apostrophe. */
static inline uint64_t
lk_odd_bytes(uint64_t word, size_t left)
{
    /* `/` differs in one more bit, and only an apostrophe is like them then. */
    return lk_zero_bytes((word | (LK_ONES * 0x0c)) ^ (LK_ONES * '/')) | lk_not_text(word, left);
}

/** As lk_level_skip_plain, for a level that is more than ASCII, or not plain. */
size_t lk_level_skip_odd(const uint8_t *text, size_t at, size_t len);

/**
 * Where the level at `at` ends, if it is plain: valid UTF-8 without NUL and wildcards. Else
 * LK_NOT_PLAIN.
 */
static inline size_t
lk_level_skip_plain(const uint8_t *text, size_t at, size_t len)
{
    for (size_t i = at;; i += 8) {
        uint64_t found = lk_odd_bytes(lk_load_word(text, text + i, text + len), len - i);

        if (found != 0) {
            size_t stop = i + (size_t)__builtin_ctzll(found) / 8;

            return text[stop] == '/' ? stop : lk_level_skip_odd(text, at, len);
        }
        if (len - i <= 8)
            return len;
    }
}

/** Valid UTF-8 without NUL and wildcards: what may stand in a topic's name, slashes included. */
static inline bool
lk_text_is_plain(const uint8_t *begin, const uint8_t *at, const uint8_t *end)
{
    const uint8_t *from = at;
    uint64_t odd = 0;

    for (; at < end; at += end - at < 8 ? end - at : 8) {
        uint64_t word = lk_load_word(begin, at, end);

        if (end - at < 8)
            word |= (LK_ONES * ' ') << (8 * (size_t)(end - at));
        odd |= lk_zero_bytes(word) | lk_zero_bytes(word ^ (LK_ONES * '+')) |
               lk_zero_bytes(word ^ (LK_ONES * '#')) | (word & LK_HIGHS);
    }
    if (odd == 0)
        return true;
    return memchr(from, 0, (size_t)(end - from)) == NULL &&
           memchr(from, '+', (size_t)(end - from)) == NULL &&
           memchr(from, '#', (size_t)(end - from)) == NULL &&
           lk_utf8_is_valid(lk_span_of(from, (size_t)(end - from)));
}

/** A level of a filter: plain text, or exactly `+`. A `#` is the business of the caller. */
static inline bool
lk_filter_level_is_valid(const uint8_t *begin, const struct lk_topic_level *level)
{
    if (level->len == 1 && level->ptr[0] == '+')
        return true;
    return lk_text_is_plain(begin, level->ptr, level->ptr + level->len);
}

static inline bool
lk_level_is(const struct lk_topic_level *level, char wildcard)
{
    return level->len == 1 && level->ptr[0] == (uint8_t)wildcard;
}

/** Levels of a filter from `at` to the end: wildcards in their places only. */
bool lk_filter_rest_is_valid(const uint8_t *begin, const uint8_t *at, const uint8_t *end);

#endif
