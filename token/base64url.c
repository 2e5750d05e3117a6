#include <latchkey/base64url.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* The six bits of a character, or 64. */
static uint32_t
sextet(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint32_t)(c - 'a' + 26);
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0' + 52);
    if (c == '-')
        return 62;
    if (c == '_')
        return 63;
    return 64;
}

enum lk_err
lk_base64url_decode(struct lk_span text, struct lk_buf room, struct lk_span *out)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t len = 0;

    *out = (struct lk_span){NULL, 0};
    if (text.len % 4 == 1)
        return LK_ERR_BASE64;
    if (text.len / 4 * 3 + text.len % 4 * 3 / 4 > room.cap)
        return LK_ERR_NO_SPACE;
    /* In place, the write position never overtakes the read position. */
    for (size_t i = 0; i < text.len; i++) {
        uint32_t six = sextet(text.ptr[i]);

        if (six > 63)
            return LK_ERR_BASE64;
        bits = (bits << 6 | six) & 0xfff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            room.ptr[len++] = (uint8_t)(bits >> held);
        }
    }
    /* RFC 4648 section 3.5: left-over bits that are not zero would be a second text. */
    if ((bits & ((1u << held) - 1)) != 0)
        return LK_ERR_BASE64;
    *out = lk_span_of(room.ptr, len);
    return LK_OK;
}

enum lk_err
lk_base64url_encode(struct lk_span bytes, struct lk_buf room, struct lk_span *out)
{
    uint32_t bits = 0;
    unsigned held = 0;
    size_t len = 0;

    *out = (struct lk_span){NULL, 0};
    if (bytes.len > room.cap || LK_BASE64URL_LEN(bytes.len) > room.cap)
        return LK_ERR_NO_SPACE;
    for (size_t i = 0; i < bytes.len; i++) {
        bits = (bits << 8 | bytes.ptr[i]) & 0xffff;
        held += 8;
        while (held >= 6) {
            held -= 6;
            room.ptr[len++] = (uint8_t)alphabet[bits >> held & 63];
        }
    }
    if (held > 0)
        room.ptr[len++] = (uint8_t)alphabet[bits << (6 - held) & 63];
    *out = lk_span_of(room.ptr, len);
    return LK_OK;
}
