#include <math.h>
#include <stdio.h>
#include <string.h>

#include <latchkey/cbor.h>

#include "cmocka_all.h"
#include "guard.h"
#include "hex.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Hex, placed against the unreadable page. */
static struct lk_span
placed(const struct guard *g, const char *hex)
{
    uint8_t room[512];
    struct lk_span in = hex_bytes(hex, LK_BUF_OF(room));

    return lk_span_of(guard_put(g, in.ptr, in.len), in.len);
}

enum op { UINT, INT, BYTES, TEXT, BOOL, NULL_, FLOAT, DATE, SKIP, ARRAY, MAP, TAG_SKIP };

/* Read one item and close. */
static enum lk_err
read_one(struct lk_span in, enum op op, int64_t *value)
{
    struct lk_cbor r;

    *value = 0;
    lk_cbor_open(&r, in);
    switch (op) {
    case UINT:
        *value = (int64_t)lk_cbor_uint(&r);
        break;
    case INT:
        *value = lk_cbor_int(&r);
        break;
    case BYTES:
        *value = (int64_t)lk_cbor_bytes(&r).len;
        break;
    case TEXT:
        *value = (int64_t)lk_cbor_text(&r).len;
        break;
    case BOOL:
        *value = lk_cbor_bool(&r);
        break;
    case NULL_:
        lk_cbor_null(&r);
        break;
    case FLOAT:
        *value = (int64_t)lk_cbor_float(&r);
        break;
    case DATE:
        *value = lk_cbor_numeric_date(&r);
        break;
    case SKIP:
        lk_cbor_skip(&r);
        break;
    case ARRAY:
        *value = (int64_t)lk_cbor_enter_array(&r);
        lk_cbor_leave_array(&r);
        break;
    case MAP:
        *value = (int64_t)lk_cbor_enter_map(&r);
        lk_cbor_leave_map(&r);
        break;
    case TAG_SKIP:
        *value = (int64_t)lk_cbor_tag(&r);
        lk_cbor_skip(&r);
        break;
    }
    return lk_cbor_close(&r);
}

static void
one_item_is_read_or_refused(void **state)
{
    static const struct {
        const char *name, *hex;
        enum op op;
        enum lk_err err;
        int64_t value;
    } rows[] = {
        {"0", "00", UINT, LK_OK, 0},
        {"23", "17", UINT, LK_OK, 23},
        {"24", "1818", UINT, LK_OK, 24},
        {"23 the long way", "1817", UINT, LK_OK, 23},
        {"500 in eight bytes", "1b00000000000001f4", UINT, LK_OK, 500},
        {"greatest", "1bffffffffffffffff", UINT, LK_OK, -1},
        {"greatest as int", "1bffffffffffffffff", INT, LK_ERR_RANGE, 0},
        {"greatest int", "1b7fffffffffffffff", INT, LK_OK, INT64_MAX},
        {"least int", "3b7fffffffffffffff", INT, LK_OK, INT64_MIN},
        {"below the least int", "3b8000000000000000", INT, LK_ERR_RANGE, 0},
        {"-1", "20", INT, LK_OK, -1},
        {"-1 as uint", "20", UINT, LK_ERR_TYPE, 0},
        {"text as int", "6161", INT, LK_ERR_TYPE, 0},
        {"nothing", "", INT, LK_ERR_TRUNCATED, 0},
        {"argument cut off", "1900", UINT, LK_ERR_TRUNCATED, 0},
        {"reserved 28", "1c", UINT, LK_ERR_MALFORMED, 0},
        {"reserved 30", "1e", UINT, LK_ERR_MALFORMED, 0},
        {"integer of indefinite length", "1f", UINT, LK_ERR_MALFORMED, 0},
        {"a byte follows", "0000", UINT, LK_ERR_TRAILING, 0},
        {"bytes", "43010203", BYTES, LK_OK, 3},
        {"bytes as text", "43010203", TEXT, LK_ERR_TYPE, 0},
        {"bytes cut off", "430102", BYTES, LK_ERR_TRUNCATED, 0},
        {"bytes longer than memory", "5bffffffffffffffff", BYTES, LK_ERR_TRUNCATED, 0},
        {"bytes of indefinite length", "5f4101ff", BYTES, LK_ERR_MALFORMED, 0},
        {"text", "63c3a961", TEXT, LK_OK, 3},
        {"text that is not UTF-8", "62c328", TEXT, LK_ERR_UTF8, 0},
        {"text that is not UTF-8, skipped", "62c328", SKIP, LK_ERR_UTF8, 0},
        {"text of indefinite length", "7f6161ff", TEXT, LK_ERR_MALFORMED, 0},
        {"true", "f5", BOOL, LK_OK, 1},
        {"false", "f4", BOOL, LK_OK, 0},
        {"null as bool", "f6", BOOL, LK_ERR_TYPE, 0},
        {"null", "f6", NULL_, LK_OK, 0},
        {"undefined as null", "f7", NULL_, LK_ERR_TYPE, 0},
        {"simple 32", "f820", SKIP, LK_OK, 0},
        {"simple 31 in two bytes", "f81f", SKIP, LK_ERR_MALFORMED, 0},
        {"true in two bytes", "f815", BOOL, LK_ERR_MALFORMED, 0},
        {"break alone", "ff", SKIP, LK_ERR_MALFORMED, 0},
        {"half", "f95640", FLOAT, LK_OK, 100},
        {"single", "fa42c80000", FLOAT, LK_OK, 100},
        {"double", "fb4059000000000000", FLOAT, LK_OK, 100},
        {"int as float", "1864", FLOAT, LK_ERR_TYPE, 0},
        {"half cut off", "f956", FLOAT, LK_ERR_TRUNCATED, 0},
        {"date", "1a68e77800", DATE, LK_OK, 1760000000},
        {"date as float", "fb41da39de000ccccd", DATE, LK_OK, 1760000000},
        {"date of 2^53", "1b0020000000000000", DATE, LK_OK, 9007199254740992},
        {"date beyond 2^53", "1b0020000000000001", DATE, LK_ERR_RANGE, 0},
        {"date as float beyond 2^53", "fb4340000000000001", DATE, LK_ERR_RANGE, 0},
        {"date beyond int64", "1bffffffffffffffff", DATE, LK_ERR_RANGE, 0},
        {"date of 2^53 as double", "fb4340000000000000", DATE, LK_OK, 9007199254740992},
        {"date just below 2^53 as double", "fb433fffffffffffff", DATE, LK_OK, 9007199254740991},
        {"date of 2^53 as single", "fa5a000000", DATE, LK_OK, 9007199254740992},
        {"date beyond 2^53 as single", "fa5a000001", DATE, LK_ERR_RANGE, 0},
        {"date of the greatest half", "f97bff", DATE, LK_OK, 65504},
        {"date of the greatest double", "fb7fefffffffffffff", DATE, LK_ERR_RANGE, 0},
        {"date of the smallest half", "f90001", DATE, LK_OK, 0},
        {"date of the smallest double", "fb0000000000000001", DATE, LK_OK, 0},
        {"date just below a second", "fb3fefffffffffffff", DATE, LK_OK, 0},
        {"date of one second", "f93c00", DATE, LK_OK, 1},
        {"date just below two", "f93fff", DATE, LK_OK, 1},
        {"date NaN as single", "fa7fc00000", DATE, LK_ERR_RANGE, 0},
        {"date infinite as double", "fb7ff0000000000000", DATE, LK_ERR_RANGE, 0},
        {"date minus infinite", "f9fc00", DATE, LK_ERR_RANGE, 0},
        {"date minus zero as double", "fb8000000000000000", DATE, LK_OK, 0},
        {"date just below zero", "fb8000000000000001", DATE, LK_ERR_RANGE, 0},
        {"date cut off", "fb43400000000000", DATE, LK_ERR_TRUNCATED, 0},
        {"date before 1970", "20", DATE, LK_ERR_RANGE, 0},
        {"date before 1970 as float", "f9b800", DATE, LK_ERR_RANGE, 0},
        {"date NaN", "f97e00", DATE, LK_ERR_RANGE, 0},
        {"date infinite", "f97c00", DATE, LK_ERR_RANGE, 0},
        {"date minus zero", "f98000", DATE, LK_OK, 0},
        {"date tagged", "c11a68e77800", DATE, LK_ERR_TYPE, 0},
        {"date as text", "6131", DATE, LK_ERR_TYPE, 0},
        {"array, what was not read is skipped", "83010203", ARRAY, LK_OK, 3},
        {"array cut off", "830102", ARRAY, LK_ERR_TRUNCATED, 0},
        {"array longer than the input", "9bffffffffffffffff", ARRAY, LK_ERR_TRUNCATED, 0},
        {"array of indefinite length", "9f01ff", ARRAY, LK_ERR_MALFORMED, 0},
        {"map", "a20102 6161 03", MAP, LK_OK, 2},
        {"map cut off before a value", "a2010203", MAP, LK_ERR_TRUNCATED, 0},
        {"map with a key twice", "a201020103", MAP, LK_ERR_DUPLICATE, 0},
        {"map with a key twice, once longer", "a20102180103", MAP, LK_ERR_DUPLICATE, 0},
        {"map with a text key twice", "a2616101616102", MAP, LK_ERR_DUPLICATE, 0},
        {"map with a text key twice, once longer", "a261610178016102", MAP, LK_ERR_DUPLICATE, 0},
        {"map with a text and the same bytes", "a2616101416102", MAP, LK_OK, 2},
        {"map with 0 and -1", "a200012002", MAP, LK_OK, 2},
        {"map with keys beyond int64", "a21bffffffffffffffff013bffffffffffffffff01", MAP, LK_OK, 2},
        {"map with a key beyond int64 twice", "a21bffffffffffffffff011bffffffffffffffff01", MAP,
         LK_ERR_DUPLICATE, 0},
        {"map with a key twice behind nested ones", "a3 01 82a10103c140 4102 a0 1801 00", MAP,
         LK_ERR_DUPLICATE, 0},
        {"map in a map with a key twice, skipped", "a1 01 a201020103", MAP, LK_OK, 1},
        {"map with a key that is not UTF-8", "a1 61ff 01", MAP, LK_ERR_UTF8, 0},
        {"map with an array as key", "a1800 1", MAP, LK_ERR_TYPE, 0},
        {"map with a tagged key", "a1c10101", MAP, LK_ERR_TYPE, 0},
        {"map with true as key", "a1f501", MAP, LK_ERR_TYPE, 0},
        {"map of indefinite length", "bf0102ff", MAP, LK_ERR_MALFORMED, 0},
        {"map longer than memory", "bbffffffffffffffff", MAP, LK_ERR_TRUNCATED, 0},
        {"map whose doubled length is 2", "bb8000000000000001 01", MAP, LK_ERR_TRUNCATED, 0},
        {"tag", "d83d01", TAG_SKIP, LK_OK, 61},
        {"tag on a tag", "c1c201", TAG_SKIP, LK_OK, 1},
        {"tag on nothing", "c1", TAG_SKIP, LK_ERR_TRUNCATED, 0},
        {"tag on a tag on nothing", "c1c1", SKIP, LK_ERR_TRUNCATED, 0},
        {"tag on a break", "c1ff", SKIP, LK_ERR_MALFORMED, 0},
        {"16 arrays deep", "8181818181818181 8181818181818181 80", SKIP, LK_ERR_DEPTH, 0},
        {"15 arrays and one more", "8181818181818181 81818181818181 80", SKIP, LK_OK, 0},
    };
    struct guard g = guard_open(1024);

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char hex[128];
        size_t len = 0;
        int64_t value;

        for (const char *c = rows[i].hex; *c != '\0'; c++)
            if (*c != ' ')
                hex[len++] = *c;
        hex[len] = '\0';
        assert_err(rows[i].name, read_one(placed(&g, hex), rows[i].op, &value), rows[i].err);
        if (rows[i].err == LK_OK && value != rows[i].value)
            fail_msg("%s: value %lld", rows[i].name, (long long)value);
    }
    guard_close(&g);
}

static void
halves_are_exact(void **state)
{
    static const struct {
        const char *hex;
        double value;
    } rows[] = {
        {"f90000", 0.0},      {"f93c00", 1.0},       {"f93e00", 1.5},
        {"f97bff", 65504.0},  {"f90001", 0x1p-24},   {"f903ff", 0x1.ff8p-15},
        {"f90400", 0x1p-14},  {"f9c400", -4.0},      {"fa47c35000", 100000.0},
        {"f97c00", INFINITY}, {"f9fc00", -INFINITY},
    };
    struct guard g = guard_open(16);

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_cbor r;

        lk_cbor_open(&r, placed(&g, rows[i].hex));
        assert_true(lk_cbor_float(&r) == rows[i].value);
        assert_int_equal(lk_cbor_close(&r), LK_OK);
    }
    guard_close(&g);
}

/* {1: "issuer", 4: 99, -1: h'01', "gen": 7} */
static const char specimen[] = "a4 01 66697373756572 04 1863 20 4101 6367656e 07";

static void
a_map_is_looked_up_in_any_order(void **state)
{
    struct guard g = guard_open(64);
    struct lk_cbor r;

    (void)state;
    lk_cbor_open(&r, placed(&g, specimen));
    assert_int_equal(lk_cbor_enter_map(&r), 4);
    assert_true(lk_cbor_map_find_text(&r, LK_SPAN("gen")));
    assert_int_equal(lk_cbor_uint(&r), 7);
    assert_int_equal(lk_cbor_map_int(&r, 4, -5), 99);
    assert_int_equal(lk_cbor_map_int(&r, 5, -5), -5);
    assert_false(lk_cbor_map_find_text(&r, LK_SPAN("ge")));
    assert_true(lk_span_is(lk_cbor_map_text(&r, 1), "issuer"));
    assert_int_equal(lk_cbor_map_bytes(&r, -1).len, 1);
    assert_null(lk_cbor_map_bytes(&r, -2).ptr);
    lk_cbor_leave_map(&r);
    assert_int_equal(lk_cbor_close(&r), LK_OK);
    guard_close(&g);
}

static void
the_first_error_sticks(void **state)
{
    struct guard g = guard_open(64);
    struct lk_cbor r;

    (void)state;
    lk_cbor_open(&r, placed(&g, specimen));
    lk_cbor_enter_map(&r);
    assert_null(lk_cbor_map_text(&r, 4).ptr);
    assert_int_equal(r.err, LK_ERR_TYPE);
    assert_null(lk_cbor_map_text(&r, 1).ptr);
    assert_int_equal(lk_cbor_map_int(&r, 4, 12), 12);
    assert_false(lk_cbor_map_find(&r, 4));
    assert_int_equal(lk_cbor_peek(&r), LK_CBOR_END);
    lk_cbor_leave_map(&r);
    assert_int_equal(lk_cbor_close(&r), LK_ERR_TYPE);
    guard_close(&g);
}

static void
misuse_is_an_error_and_not_a_crash(void **state)
{
    struct guard g = guard_open(64);
    struct lk_cbor r;

    (void)state;
    lk_cbor_open(&r, placed(&g, "820102"));
    lk_cbor_enter_array(&r);
    assert_int_equal(lk_cbor_close(&r), LK_ERR_STATE);

    lk_cbor_open(&r, placed(&g, "820102"));
    lk_cbor_enter_array(&r);
    assert_int_equal(lk_cbor_int(&r), 1);
    assert_int_equal(lk_cbor_int(&r), 2);
    assert_int_equal(lk_cbor_peek(&r), LK_CBOR_END);
    assert_int_equal(lk_cbor_int(&r), 0);
    assert_int_equal(r.err, LK_ERR_MISSING);

    lk_cbor_open(&r, placed(&g, "820102"));
    lk_cbor_enter_array(&r);
    lk_cbor_leave_map(&r);
    assert_int_equal(r.err, LK_ERR_STATE);

    lk_cbor_open(&r, placed(&g, "01"));
    lk_cbor_leave_array(&r);
    assert_int_equal(r.err, LK_ERR_STATE);

    lk_cbor_open(&r, placed(&g, "01"));
    assert_false(lk_cbor_map_find(&r, 1));
    assert_int_equal(r.err, LK_ERR_STATE);

    lk_cbor_open(&r, (struct lk_span){NULL, 0});
    assert_int_equal(lk_cbor_peek(&r), LK_CBOR_END);
    assert_int_equal(lk_cbor_close(&r), LK_OK);
    guard_close(&g);
}

static void
raw_gives_an_item_as_it_stands(void **state)
{
    struct guard g = guard_open(64);
    struct lk_span in = placed(&g, "82 d83d820102 03"), raw;
    struct lk_cbor r;

    (void)state;
    lk_cbor_open(&r, in);
    lk_cbor_enter_array(&r);
    assert_int_equal(lk_cbor_peek(&r), LK_CBOR_TAG);
    raw = lk_cbor_raw(&r);
    assert_int_equal(raw.len, 5);
    assert_ptr_equal(raw.ptr, in.ptr + 1);
    assert_int_equal(lk_cbor_int(&r), 3);
    lk_cbor_leave_array(&r);
    assert_int_equal(lk_cbor_close(&r), LK_OK);
    guard_close(&g);
}

static void
maps_have_a_limit(void **state)
{
    uint8_t room[4096];
    struct lk_cbor_out w;
    struct lk_span out;
    struct lk_cbor r;

    (void)state;
    for (size_t pairs = LK_MEMBERS_MAX; pairs <= LK_MEMBERS_MAX + 1; pairs++) {
        lk_cbor_write_open(&w, LK_BUF_OF(room));
        lk_cbor_write_map(&w, pairs);
        for (size_t i = 0; i < pairs; i++) {
            lk_cbor_write_uint(&w, i);
            lk_cbor_write_bool(&w, true);
        }
        assert_int_equal(lk_cbor_write_close(&w, &out), LK_OK);
        lk_cbor_open(&r, out);
        lk_cbor_enter_map(&r);
        lk_cbor_leave_map(&r);
        assert_int_equal(lk_cbor_close(&r), pairs > LK_MEMBERS_MAX ? LK_ERR_LIMIT : LK_OK);
    }
}

/* Any two keys that are the same are found, however many there are, and only those. */
static void
a_key_is_not_twice(void **state)
{
    uint8_t room[1024];
    struct lk_span out;
    struct lk_cbor r;

    (void)state;
    for (size_t a = 0; a < LK_MEMBERS_MAX; a++) {
        for (size_t b = a; b < LK_MEMBERS_MAX; b++) {
            struct lk_cbor_out w;

            lk_cbor_write_open(&w, LK_BUF_OF(room));
            lk_cbor_write_map(&w, LK_MEMBERS_MAX);
            for (size_t i = 0; i < LK_MEMBERS_MAX; i++) {
                uint8_t name = (uint8_t)(i == b ? a : i);

                if (name % 2 == 0)
                    lk_cbor_write_bytes(&w, lk_span_of(&name, 1));
                else
                    lk_cbor_write_text(&w, lk_span_of(&name, 1));
                lk_cbor_write_array(&w, 1);
                lk_cbor_write_uint(&w, i);
            }
            assert_int_equal(lk_cbor_write_close(&w, &out), LK_OK);
            lk_cbor_open(&r, out);
            (void)lk_cbor_enter_map(&r);
            assert_int_equal(r.err, a == b ? LK_OK : LK_ERR_DUPLICATE);
        }
    }
}

/* A date is the float without its fraction, as C has it, if it is in range. */
static void
dates_are_floats_cut(void **state)
{
    uint32_t bits = 1;
    size_t taken = 0;

    (void)state;
    for (size_t i = 0; i < 300000; i++) {
        uint8_t in[9] = {(uint8_t)(0xf9 + i % 3)};
        struct lk_cbor r;
        double value;
        int64_t date_s;

        for (size_t k = 1; k < sizeof(in); k++) {
            bits = bits * 1664525u + 1013904223u;
            in[k] = (uint8_t)(bits >> 24);
        }
        if (i % 2 == 0) /* rather positive, and of an order that a date may have */
            in[1] = i % 3 == 0 ? in[1] & 0x7f : 0x40 + in[1] % 4;
        lk_cbor_open(&r, lk_span_of(in, 1 + ((size_t)2 << i % 3)));
        value = lk_cbor_float(&r);
        assert_int_equal(lk_cbor_close(&r), LK_OK);
        lk_cbor_open(&r, lk_span_of(in, 1 + ((size_t)2 << i % 3)));
        date_s = lk_cbor_numeric_date(&r);
        if (value >= 0 && value <= 0x1p53) {
            assert_int_equal(lk_cbor_close(&r), LK_OK);
            assert_true(date_s == (int64_t)value);
            taken++;
        } else {
            assert_int_equal(lk_cbor_close(&r), LK_ERR_RANGE);
            assert_int_equal(date_s, 0);
        }
    }
    assert_in_range(taken, 100000, 290000);
}

static void
four_gigabytes_are_too_much(void **state)
{
    uint8_t byte = 0;
    struct lk_cbor r;

    (void)state;
    if (SIZE_MAX == UINT32_MAX)
        return;
    lk_cbor_open(&r, lk_span_of(&byte, (size_t)UINT32_MAX + 1));
    assert_int_equal(lk_cbor_peek(&r), LK_CBOR_END);
    lk_cbor_skip(&r);
    assert_int_equal(lk_cbor_close(&r), LK_ERR_LIMIT);
}

static void
an_error_moves_nothing(void **state)
{
    static const char *const items[] = {"1900",   "430102", "62c328", "82",  "a1",
                                        "a20101", "c1",     "f818",   "fb00"};
    struct guard g = guard_open(64);

    (void)state;
    for (size_t i = 0; i < COUNT(items); i++) {
        struct lk_span in = placed(&g, items[i]);

        for (unsigned call = 0; call < 8; call++) {
            struct lk_cbor r;

            lk_cbor_open(&r, in);
            if (call == 0)
                (void)lk_cbor_uint(&r);
            else if (call == 1)
                (void)lk_cbor_bytes(&r);
            else if (call == 2)
                (void)lk_cbor_text(&r);
            else if (call == 3)
                (void)lk_cbor_enter_array(&r);
            else if (call == 4)
                (void)lk_cbor_enter_map(&r);
            else if (call == 5)
                (void)lk_cbor_tag(&r);
            else if (call == 6)
                lk_cbor_skip(&r);
            else
                (void)lk_cbor_numeric_date(&r);
            assert_int_not_equal(r.err, LK_OK);
            assert_ptr_equal(r.pos, in.ptr);
            assert_int_equal(lk_cbor_peek(&r), LK_CBOR_END);
        }
    }
    guard_close(&g);
}

/* Random items: written, read back, and cut off at every length. */

static uint32_t seed;

static uint32_t
random_below(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

static uint64_t
random_number(void)
{
    uint64_t value = 0;

    for (uint32_t i = 0, bytes = random_below(9); i < bytes; i++)
        value = value << 8 | random_below(256);
    return value;
}

static const uint8_t filler[64] = "the quick brown fox jumps over the lazy dog 0123456789 ABCDEFGH";

static void
write_random(struct lk_cbor_out *w, unsigned depth)
{
    struct lk_span some = lk_span_of(filler, random_below(sizeof(filler)));
    uint32_t items;

    switch (random_below(depth < 6 ? 9 : 6)) {
    case 0:
        lk_cbor_write_uint(w, random_number());
        break;
    case 1:
        lk_cbor_write_int(w, -(int64_t)(random_number() >> 1));
        break;
    case 2:
        lk_cbor_write_bytes(w, some);
        break;
    case 3:
        lk_cbor_write_text(w, some);
        break;
    case 4:
        lk_cbor_write_bool(w, random_below(2) == 1);
        break;
    case 5:
        lk_cbor_write_null(w);
        break;
    case 6:
        lk_cbor_write_tag(w, random_number());
        write_random(w, depth + 1);
        break;
    case 7:
        items = random_below(5);
        lk_cbor_write_array(w, items);
        for (uint32_t i = 0; i < items; i++)
            write_random(w, depth + 1);
        break;
    default:
        items = random_below(5);
        lk_cbor_write_map(w, items);
        for (uint32_t i = 0; i < items; i++) {
            lk_cbor_write_uint(w, i);
            write_random(w, depth + 1);
        }
    }
}

/* Read whatever is there and write it again. */
static void
copy_item(struct lk_cbor *r, struct lk_cbor_out *w)
{
    size_t items;

    switch (lk_cbor_peek(r)) {
    case LK_CBOR_UINT:
        lk_cbor_write_uint(w, lk_cbor_uint(r));
        break;
    case LK_CBOR_NEGINT:
        lk_cbor_write_int(w, lk_cbor_int(r));
        break;
    case LK_CBOR_BYTES:
        lk_cbor_write_bytes(w, lk_cbor_bytes(r));
        break;
    case LK_CBOR_TEXT:
        lk_cbor_write_text(w, lk_cbor_text(r));
        break;
    case LK_CBOR_ARRAY:
        items = lk_cbor_enter_array(r);
        lk_cbor_write_array(w, items);
        for (size_t i = 0; i < items && r->err == LK_OK; i++)
            copy_item(r, w);
        lk_cbor_leave_array(r);
        break;
    case LK_CBOR_MAP:
        items = lk_cbor_enter_map(r);
        lk_cbor_write_map(w, items);
        for (size_t i = 0; i < 2 * items && r->err == LK_OK; i++)
            copy_item(r, w);
        lk_cbor_leave_map(r);
        break;
    case LK_CBOR_TAG:
        lk_cbor_write_tag(w, lk_cbor_tag(r));
        copy_item(r, w);
        break;
    case LK_CBOR_SIMPLE:
    case LK_CBOR_FLOAT:
        lk_cbor_write_raw(w, lk_cbor_raw(r));
        break;
    case LK_CBOR_END:
        lk_cbor_skip(r);
        break;
    }
}

static void
random_items_come_back(void **state)
{
    static uint8_t room[65536], again[65536];
    struct guard g = guard_open(sizeof(room));

    (void)state;
    for (seed = 1; seed < 400; seed += 2) {
        uint32_t start = seed;
        struct lk_cbor_out w;
        struct lk_span out, back, in;
        struct lk_cbor r;

        lk_cbor_write_open(&w, LK_BUF_OF(room));
        write_random(&w, 0);
        assert_int_equal(lk_cbor_write_close(&w, &out), LK_OK);
        in = lk_span_of(guard_put(&g, out.ptr, out.len), out.len);
        lk_cbor_open(&r, in);
        lk_cbor_write_open(&w, LK_BUF_OF(again));
        copy_item(&r, &w);
        assert_int_equal(lk_cbor_close(&r), LK_OK);
        assert_int_equal(lk_cbor_write_close(&w, &back), LK_OK);
        assert_true(lk_span_equal(out, back));
        for (size_t len = 0; len < out.len; len++) {
            lk_cbor_open(&r, lk_span_of(guard_put(&g, out.ptr, len), len));
            lk_cbor_skip(&r);
            assert_int_equal(lk_cbor_close(&r), LK_ERR_TRUNCATED);
        }
        for (size_t cap = 0; cap < out.len; cap++) {
            seed = start;
            lk_cbor_write_open(&w, (struct lk_buf){guard_room(&g, cap), cap});
            write_random(&w, 0);
            assert_int_equal(lk_cbor_write_close(&w, &back), LK_ERR_NO_SPACE);
            assert_null(back.ptr);
        }
        seed = start;
    }
    guard_close(&g);
}

/* Any change of a byte is read or refused, and nothing is read behind the end. */
static void
mutations_do_no_harm(void **state)
{
    static uint8_t room[4096], again[65536];
    struct guard g = guard_open(sizeof(room));
    struct lk_cbor_out w;
    struct lk_span out;
    size_t tried = 0;

    (void)state;
    for (uint32_t start = 1; start < 60; start++) {
        seed = start;
        lk_cbor_write_open(&w, LK_BUF_OF(room));
        write_random(&w, 0);
        if (lk_cbor_write_close(&w, &out) != LK_OK || out.len > 200)
            continue;
        for (size_t at = 0; at < out.len; at++) {
            for (unsigned value = 0; value < 256; value += 3) {
                uint8_t *copy = guard_put(&g, out.ptr, out.len);
                struct lk_cbor r;
                struct lk_span back;
                enum lk_err err;

                copy[at] = (uint8_t)value;
                lk_cbor_open(&r, lk_span_of(copy, out.len));
                lk_cbor_write_open(&w, LK_BUF_OF(again));
                copy_item(&r, &w);
                err = lk_cbor_close(&r);
                if (err == LK_OK)
                    assert_int_equal(lk_cbor_write_close(&w, &back), LK_OK);
                tried++;
            }
        }
    }
    assert_true(tried > 10000);
    guard_close(&g);
}

static void
heads_are_shortest(void **state)
{
    static const struct {
        uint64_t value;
        const char *hex;
    } rows[] = {
        {0, "00"},
        {23, "17"},
        {24, "1818"},
        {255, "18ff"},
        {256, "190100"},
        {65535, "19ffff"},
        {65536, "1a00010000"},
        {4294967295u, "1affffffff"},
        {4294967296u, "1b0000000100000000"},
        {UINT64_MAX, "1bffffffffffffffff"},
    };
    uint8_t room[16], bytes[16];

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_cbor_out w;
        struct lk_span out;

        lk_cbor_write_open(&w, LK_BUF_OF(room));
        lk_cbor_write_uint(&w, rows[i].value);
        assert_int_equal(lk_cbor_write_close(&w, &out), LK_OK);
        assert_true(lk_span_equal(out, hex_bytes(rows[i].hex, LK_BUF_OF(bytes))));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_item_is_read_or_refused),
        cmocka_unit_test(halves_are_exact),
        cmocka_unit_test(a_map_is_looked_up_in_any_order),
        cmocka_unit_test(the_first_error_sticks),
        cmocka_unit_test(misuse_is_an_error_and_not_a_crash),
        cmocka_unit_test(raw_gives_an_item_as_it_stands),
        cmocka_unit_test(maps_have_a_limit),
        cmocka_unit_test(a_key_is_not_twice),
        cmocka_unit_test(dates_are_floats_cut),
        cmocka_unit_test(four_gigabytes_are_too_much),
        cmocka_unit_test(an_error_moves_nothing),
        cmocka_unit_test(random_items_come_back),
        cmocka_unit_test(mutations_do_no_harm),
        cmocka_unit_test(heads_are_shortest),
    };

    return cmocka_run_group_tests_name("cbor", tests, NULL, NULL);
}
