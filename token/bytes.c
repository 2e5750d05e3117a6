#include <latchkey/bytes.h>

#include <string.h>

struct lk_span
lk_span_text(const char *text)
{
    if (text == NULL)
        return (struct lk_span){NULL, 0};
    return lk_span_of(text, strlen(text));
}

bool
lk_span_equal(struct lk_span a, struct lk_span b)
{
    /* memcmp must not see NULL, not even for no bytes. */
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool
lk_span_is(struct lk_span a, const char *text)
{
    return lk_span_equal(a, lk_span_text(text));
}

bool
lk_equal_ct(struct lk_span a, struct lk_span b)
{
    /* volatile: the compiler may not leave the loop at the first difference. */
    volatile uint8_t differ = 0;

    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        differ = (uint8_t)(differ | (a.ptr[i] ^ b.ptr[i]));
    return differ == 0;
}

void
lk_wipe(void *ptr, size_t len)
{
    if (ptr == NULL || len == 0)
        return;
    memset(ptr, 0, len);
    /* The compiler must assume that this reads the memory, so the stores stay. */
    __asm__ volatile("" : : "r"(ptr) : "memory");
}

/* Bytes of the sequence a lead byte beyond ASCII begins, and the range of its second byte, which is
 * where overlong forms, surrogates and values above U+10FFFF show (Unicode, table 3-7). */
static size_t
utf8_lead(uint8_t lead, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 2;
    if (lead >= 0xe0 && lead <= 0xef) {
        if (lead == 0xe0)
            *low = 0xa0;
        if (lead == 0xed)
            *high = 0x9f;
        return 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (lead == 0xf0)
            *low = 0x90;
        if (lead == 0xf4)
            *high = 0x8f;
        return 4;
    }
    return 0;
}

/* Bytes from `at`, which is ASCII, that are seen to be ASCII a machine word at a time. */
static size_t
ascii_len(struct lk_span text, size_t at)
{
    const size_t highs = SIZE_MAX / 255 * 0x80;
    size_t from = at, word;

    for (; text.len - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, text.ptr + at, sizeof(word));
        if ((word & highs) != 0)
            break;
    }
    return at > from ? at - from : 1;
}

/* Length of the sequence of several bytes at `at`; 0 if it is none. */
static size_t
utf8_sequence_len(struct lk_span text, size_t at)
{
    uint8_t low, high;
    size_t len = utf8_lead(text.ptr[at], &low, &high);

    if (len > text.len - at)
        return 0;
    for (size_t i = 1; i < len; i++) {
        uint8_t byte = text.ptr[at + i];

        if (byte < low || byte > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return len;
}

bool
lk_utf8_is_valid(struct lk_span text)
{
    size_t at = 0;

    while (at < text.len) {
        size_t len = 1;

        if (text.ptr[at] >= 0x80)
            len = utf8_sequence_len(text, at);
        else if (text.len - at >= sizeof(size_t))
            len = ascii_len(text, at);
        if (len == 0)
            return false;
        at += len;
    }
    return true;
}
