#include <latchkey/base64url.h>

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/*
 * What a character adds to the twelve bits of its pair, and VALID, which the alphabet alone has.
 * Two of them add up to PAIR_VALID, so one test at the end tells whether all characters were good.
 */
#define VALID       (UINT32_C(1) << 28)
#define PAIR_VALID  (UINT64_C(2) << 28)
#define GROUP_VALID (PAIR_VALID << 12 | PAIR_VALID)

/* clang-format off */
#define C(c, value, shift) [c] = (VALID | UINT32_C(value) << (shift))
#define TABLE(s)                                                                                  \
    {                                                                                             \
        C('A', 0, s), C('B', 1, s), C('C', 2, s), C('D', 3, s), C('E', 4, s), C('F', 5, s),       \
        C('G', 6, s), C('H', 7, s), C('I', 8, s), C('J', 9, s), C('K', 10, s), C('L', 11, s),     \
        C('M', 12, s), C('N', 13, s), C('O', 14, s), C('P', 15, s), C('Q', 16, s), C('R', 17, s), \
        C('S', 18, s), C('T', 19, s), C('U', 20, s), C('V', 21, s), C('W', 22, s), C('X', 23, s), \
        C('Y', 24, s), C('Z', 25, s), C('a', 26, s), C('b', 27, s), C('c', 28, s), C('d', 29, s), \
        C('e', 30, s), C('f', 31, s), C('g', 32, s), C('h', 33, s), C('i', 34, s), C('j', 35, s), \
        C('k', 36, s), C('l', 37, s), C('m', 38, s), C('n', 39, s), C('o', 40, s), C('p', 41, s), \
        C('q', 42, s), C('r', 43, s), C('s', 44, s), C('t', 45, s), C('u', 46, s), C('v', 47, s), \
        C('w', 48, s), C('x', 49, s), C('y', 50, s), C('z', 51, s), C('0', 52, s), C('1', 53, s), \
        C('2', 54, s), C('3', 55, s), C('4', 56, s), C('5', 57, s), C('6', 58, s), C('7', 59, s), \
        C('8', 60, s), C('9', 61, s), C('-', 62, s), C('_', 63, s),                               \
    }
/* clang-format on */

static const uint32_t first_of_pair[256] = TABLE(6);
static const uint32_t second_of_pair[256] = TABLE(0);

/* The 24 bits of four characters. `valid` loses a bit of GROUP_VALID if one is none of ours. */
static inline uint64_t
group_decode(const uint8_t *text, uint64_t *valid)
{
    uint64_t high = first_of_pair[text[0]] + second_of_pair[text[1]];
    uint64_t sum = (high << 12) + (first_of_pair[text[2]] + second_of_pair[text[3]]);

    *valid &= sum;
    return sum & 0xffffff;
}

static inline void
group_put(uint8_t *to, uint64_t bits)
{
    to[0] = (uint8_t)(bits >> 16);
    to[1] = (uint8_t)(bits >> 8);
    to[2] = (uint8_t)bits;
}

/* Two groups, and two zeros behind them. */
static inline void
groups_put(uint8_t *to, uint64_t first, uint64_t second)
{
    uint64_t bits = first << 40 | second << 16;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    bits = __builtin_bswap64(bits);
#endif
    memcpy(to, &bits, sizeof(bits));
}

/* The one or two bytes of the last two or three characters. RFC 4648 section 3.5: left-over bits
 * that are not zero would be a second text for the same bytes. */
static bool
rest_decode(const uint8_t *text, size_t len, uint8_t *to)
{
    uint8_t group[4] = {text[0], text[1], len == 3 ? text[2] : (uint8_t)'A', 'A'};
    uint64_t valid = GROUP_VALID;
    uint64_t bits = group_decode(group, &valid);

    to[0] = (uint8_t)(bits >> 16);
    if (len == 3)
        to[1] = (uint8_t)(bits >> 8);
    return valid == GROUP_VALID && (bits & (len == 3 ? 0xffu : 0xffffu)) == 0;
}

enum lk_err
lk_base64url_decode(struct lk_span text, struct lk_buf room, struct lk_span *out)
{
    size_t rest = text.len % 4, len = text.len / 4 * 3 + rest * 3 / 4, left = len;
    uint64_t valid = GROUP_VALID;
    const uint8_t *from = text.ptr;
    uint8_t *to = room.ptr;

    *out = (struct lk_span){NULL, 0};
    if (rest == 1)
        return LK_ERR_BASE64;
    if (len > room.cap)
        return LK_ERR_NO_SPACE;
    /* In place, what is written never overtakes what is read, not even by the two zeros. */
    for (; left >= 8; left -= 6, from += 8, to += 6) {
        uint64_t first = group_decode(from, &valid);

        groups_put(to, first, group_decode(from + 4, &valid));
    }
    for (; left >= 3; left -= 3, from += 4, to += 3)
        group_put(to, group_decode(from, &valid));
    if (valid != GROUP_VALID || (rest > 0 && !rest_decode(from, rest, to)))
        return LK_ERR_BASE64;
    *out = lk_span_of(room.ptr, len);
    return LK_OK;
}

static void
group_encode(const uint8_t *bytes, uint8_t *to)
{
    uint32_t bits = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];

    to[0] = (uint8_t)alphabet[bits >> 18];
    to[1] = (uint8_t)alphabet[bits >> 12 & 63];
    to[2] = (uint8_t)alphabet[bits >> 6 & 63];
    to[3] = (uint8_t)alphabet[bits & 63];
}

enum lk_err
lk_base64url_encode(struct lk_span bytes, struct lk_buf room, struct lk_span *out)
{
    size_t rest = bytes.len % 3, whole = bytes.len - rest;
    uint8_t *to = room.ptr;

    *out = (struct lk_span){NULL, 0};
    if (bytes.len > room.cap || LK_BASE64URL_LEN(bytes.len) > room.cap)
        return LK_ERR_NO_SPACE;
    for (size_t i = 0; i < whole; i += 3, to += 4)
        group_encode(bytes.ptr + i, to);
    if (rest > 0) {
        uint8_t last[3] = {bytes.ptr[whole], rest == 2 ? bytes.ptr[whole + 1] : 0, 0}, text[4];

        group_encode(last, text);
        for (size_t i = 0; i <= rest; i++)
            to[i] = text[i];
    }
    *out = lk_span_of(room.ptr, LK_BASE64URL_LEN(bytes.len));
    return LK_OK;
}
