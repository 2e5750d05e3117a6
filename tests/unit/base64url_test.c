/*
 * base64url against a reference that does nothing clever, at every length and at every place.
 */
#include <stdio.h>
#include <string.h>

#include <latchkey/base64url.h>

#include "cmocka_all.h"
#include "guard.h"
#include "random.h"

/* Bytes: every way a text can end, in front of the short and the long steps. */
#define LEN_MAX  130
#define TEXT_MAX LK_BASE64URL_LEN(LEN_MAX)

static struct guard text_guard, bytes_guard;

static int
value_of(uint8_t c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *found = c == 0 ? NULL : strchr(alphabet, c);

    return found == NULL ? -1 : (int)(found - alphabet);
}

/* Bit by bit. False if the text is not the one text of any bytes. */
static bool
reference_decode(const uint8_t *text, size_t len, uint8_t *bytes)
{
    size_t bits = len * 6, whole = bits / 8 * 8;

    if (len % 4 == 1)
        return false;
    memset(bytes, 0, whole / 8);
    for (size_t i = 0; i < bits; i++) {
        int value = value_of(text[i / 6]);
        unsigned bit;

        if (value < 0)
            return false;
        bit = (unsigned)value >> (5 - i % 6) & 1;
        if (i >= whole && bit != 0)
            return false;
        if (i < whole)
            bytes[i / 8] = (uint8_t)(bytes[i / 8] | bit << (7 - i % 8));
    }
    return true;
}

/* Decoded at unreadable pages and in place, a text must give what the reference gives. */
static void
assert_decoded(const uint8_t *chars, size_t len)
{
    uint8_t wanted[TEXT_MAX];
    bool good = reference_decode(chars, len, wanted);
    size_t need = len * 3 / 4;
    struct lk_span text = {guard_put(&text_guard, chars, len), len}, out;
    struct lk_buf room = {guard_room(&bytes_guard, need), need};

    assert_err("decode", lk_base64url_decode(text, room, &out), good ? LK_OK : LK_ERR_BASE64);
    assert_int_equal(out.len, good ? need : 0);
    if (good)
        assert_memory_equal(out.ptr, wanted, need);
    room = (struct lk_buf){guard_put(&bytes_guard, chars, len), len};
    text.ptr = room.ptr;
    assert_err("in place", lk_base64url_decode(text, room, &out), good ? LK_OK : LK_ERR_BASE64);
    if (good)
        assert_memory_equal(out.ptr, wanted, need);
}

static void
what_is_encoded_is_decoded(void **state)
{
    (void)state;
    for (size_t len = 0; len <= LEN_MAX; len++) {
        size_t text_len = LK_BASE64URL_LEN(len);
        struct lk_buf room = {guard_room(&text_guard, text_len), text_len};
        uint8_t bytes[LEN_MAX], text[TEXT_MAX], back[TEXT_MAX];
        struct lk_span out;

        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)random_below(256);
        assert_err(
            "encode",
            lk_base64url_encode(lk_span_of(guard_put(&bytes_guard, bytes, len), len), room, &out),
            LK_OK);
        assert_int_equal(out.len, text_len);
        memcpy(text, out.ptr, text_len);
        assert_true(reference_decode(text, text_len, back));
        assert_memory_equal(back, bytes, len);
        assert_decoded(text, text_len);
    }
}

static void
every_character_is_tested_at_every_place(void **state)
{
    uint8_t text[TEXT_MAX];

    (void)state;
    for (size_t len = 1; len <= 35; len++) {
        for (size_t at = 0; at < len; at++) {
            for (unsigned c = 0; c < 256; c++) {
                memset(text, 'A', len);
                text[at] = (uint8_t)c;
                assert_decoded(text, len);
            }
        }
    }
}

static void
random_texts_are_decoded_or_refused(void **state)
{
    static const char mostly[] = "AAQgw-_zZ09aB=+/";
    uint8_t text[TEXT_MAX];

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        size_t len = random_below(TEXT_MAX);

        for (size_t i = 0; i < len; i++)
            text[i] = (uint8_t)mostly[random_below(random_below(40) == 0 ? 16 : 13)];
        assert_decoded(text, len);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(every_character_is_tested_at_every_place),
        cmocka_unit_test(random_texts_are_decoded_or_refused),
    };

    text_guard = guard_open(TEXT_MAX);
    bytes_guard = guard_open(TEXT_MAX);
    return cmocka_run_group_tests_name("base64url", tests, NULL, NULL);
}
