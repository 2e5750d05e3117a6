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

/* Bytes from `at` that are seen to be ASCII a machine word at a time. */
static size_t
ascii_len(const uint8_t *at, size_t len)
{
    const size_t highs = SIZE_MAX / 255 * 0x80;
    size_t seen = 0, word;

    for (; len - seen >= sizeof(word); seen += sizeof(word)) {
        memcpy(&word, at + seen, sizeof(word));
        if ((word & highs) != 0)
            break;
    }
    return seen;
}

/* Length of the sequence that begins with a byte beyond ASCII (RFC 3629); 0 if it is none. */
static size_t
utf8_sequence_len(const uint8_t *at, size_t left)
{
    uint32_t code = at[0];
    size_t more = code < 0xe0 ? 1 : code < 0xf0 ? 2 : 3;

    if (code < 0xc2 || code > 0xf4 || left <= more)
        return 0;
    code &= 0x3fu >> more;
    for (size_t i = 1; i <= more; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3fu);
    }
    /* Too long for what it is, a surrogate, or no character at all */
    if ((more > 1 && code < 1u << (5 * more + 1)) || code >> 11 == 0x1b || code > 0x10ffff)
        return 0;
    return more + 1;
}

bool
lk_utf8_is_valid(struct lk_span text)
{
    size_t at = 0;

    while (at < text.len) {
        size_t len = 1;

        if (text.ptr[at] >= 0x80)
            len = utf8_sequence_len(text.ptr + at, text.len - at);
        else if (sizeof(size_t) >= 8 && text.len - at >= sizeof(size_t))
            len += ascii_len(text.ptr + at + 1, text.len - at - 1);
        if (len == 0)
            return false;
        at += len;
    }
    return true;
}
