#include <stdio.h>
#include <string.h>

#include <latchkey/json.h>

#include "cmocka_all.h"
#include "guard.h"
#include "json_find.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static struct guard guard;

static struct lk_json
opened(const char *text)
{
    size_t len = strlen(text);
    struct lk_json r;

    lk_json_open(&r, guard_put(&guard, text, len), len);
    return r;
}

static void
values_are_skipped_or_refused(void **state)
{
    static const struct {
        const char *name, *text;
        enum lk_err err;
    } rows[] = {
        {"object", " { \"a\" : [ 1 , -2.5e+3 , true , null ] , \"b\":{} } ", LK_OK},
        {"nothing", "", LK_ERR_TRUNCATED},
        {"only space", "  ", LK_ERR_TRUNCATED},
        {"another value follows", "{} {}", LK_ERR_TRAILING},
        {"object not closed", "{\"a\":1", LK_ERR_TRUNCATED},
        {"array not closed", "[1,2", LK_ERR_TRUNCATED},
        {"closed with the other bracket", "[1}", LK_ERR_MALFORMED},
        {"comma before the end of an object", "{\"a\":1,}", LK_ERR_MALFORMED},
        {"comma before the end of an array", "[1,]", LK_ERR_MALFORMED},
        {"comma at the start", "[,1]", LK_ERR_MALFORMED},
        {"no comma", "[1 2]", LK_ERR_MALFORMED},
        {"no colon", "{\"a\" 1}", LK_ERR_MALFORMED},
        {"name without quotes", "{a:1}", LK_ERR_MALFORMED},
        {"single quotes", "{'a':1}", LK_ERR_MALFORMED},
        {"comment", "[1/**/]", LK_ERR_MALFORMED},
        {"byte order mark", "\xef\xbb\xbf{}", LK_ERR_MALFORMED},
        {"name twice", "{\"a\":1,\"a\":2}", LK_ERR_DUPLICATE},
        {"name twice, once escaped", "{\"a\":1,\"\\u0061\":2}", LK_ERR_DUPLICATE},
        {"name twice, once as a surrogate pair", "{\"\xf0\x9f\x98\x80\":1,\"\\ud83d\\ude00\":2}",
         LK_ERR_DUPLICATE},
        {"name twice, further in", "[{\"x\":{\"a\":1,\"a\":2}}]", LK_ERR_DUPLICATE},
        {"the same name in two objects", "[{\"a\":1},{\"a\":2}]", LK_OK},
        {"names that begin alike", "{\"a\":1,\"ab\":2,\"\":3}", LK_OK},
        {"escape that begins as the other name", "{\"ax\":1,\"a\\u00e9\":2}", LK_OK},
        {"a brace in a string", "{\"{\":\"}{\"}", LK_OK},
        {"all escapes", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"", LK_OK},
        {"unknown escape", "\"\\x\"", LK_ERR_MALFORMED},
        {"escape cut off", "\"\\", LK_ERR_TRUNCATED},
        {"hex cut off", "\"\\u12", LK_ERR_TRUNCATED},
        {"hex with another letter", "\"\\u12g4\"", LK_ERR_MALFORMED},
        {"high surrogate alone", "\"\\ud83d\"", LK_ERR_UTF8},
        {"low surrogate alone", "\"\\ude00\"", LK_ERR_UTF8},
        {"two high surrogates", "\"\\ud83d\\ud83d\"", LK_ERR_UTF8},
        {"surrogate and another escape", "\"\\ud83d\\n...\"", LK_ERR_UTF8},
        {"NUL by escape", "\"\\u0000\"", LK_ERR_MALFORMED},
        {"line end in a string", "\"a\nb\"", LK_ERR_MALFORMED},
        {"string not closed", "\"abc", LK_ERR_TRUNCATED},
        {"not UTF-8", "\"\xc3(\"", LK_ERR_UTF8},
        {"overlong UTF-8", "\"\xc0\xaf\"", LK_ERR_UTF8},
        {"UTF-8 cut off by the quote", "\"\xe2\x82\"", LK_ERR_UTF8},
        {"-0", "-0", LK_OK},
        {"leading zero", "[01]", LK_ERR_MALFORMED},
        {"plus", "[+1]", LK_ERR_MALFORMED},
        {"only minus", "[-]", LK_ERR_MALFORMED},
        {"no digit before the point", "[.5]", LK_ERR_MALFORMED},
        {"no digit behind the point", "[1.]", LK_ERR_MALFORMED},
        {"no digit in the exponent", "[1e]", LK_ERR_MALFORMED},
        {"hex number", "[0x10]", LK_ERR_MALFORMED},
        {"NaN", "[NaN]", LK_ERR_MALFORMED},
        {"Infinity", "[Infinity]", LK_ERR_MALFORMED},
        {"word in capitals", "[True]", LK_ERR_MALFORMED},
        {"word cut off", "[tru]", LK_ERR_MALFORMED},
        {"word with more letters", "[nullx]", LK_ERR_MALFORMED},
        {"16 deep", "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", LK_OK},
        {"17 deep", "[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", LK_ERR_DEPTH},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_json r = opened(rows[i].text);

        lk_json_skip(&r);
        assert_err(rows[i].name, lk_json_close(&r), rows[i].err);
        /* Walked member by member, it must come to the same. */
        r = opened(rows[i].text);
        if (lk_json_peek(&r) == LK_JSON_OBJECT) {
            struct lk_span name;

            lk_json_enter_object(&r);
            while (lk_json_next_member(&r, &name))
                lk_json_skip(&r);
            lk_json_leave_object(&r);
            assert_err(rows[i].name, lk_json_close(&r), rows[i].err);
        } else if (lk_json_peek(&r) == LK_JSON_ARRAY) {
            lk_json_enter_array(&r);
            while (lk_json_next_item(&r))
                lk_json_skip(&r);
            lk_json_leave_array(&r);
            assert_err(rows[i].name, lk_json_close(&r), rows[i].err);
        }
    }
}

static void
numbers_are_whole_or_dates(void **state)
{
    static const struct {
        const char *text;
        enum lk_err err, date_err;
        int64_t value, date;
    } rows[] = {
        {"0", LK_OK, LK_OK, 0, 0},
        {"-0", LK_OK, LK_OK, 0, 0},
        {"1760000000", LK_OK, LK_OK, 1760000000, 1760000000},
        {"-7", LK_OK, LK_ERR_RANGE, -7, 0},
        {"9007199254740992", LK_OK, LK_OK, 9007199254740992, 9007199254740992},
        {"9007199254740993", LK_ERR_RANGE, LK_ERR_RANGE, 0, 0},
        {"99999999999999999999999999", LK_ERR_RANGE, LK_ERR_RANGE, 0, 0},
        {"1760000000.999", LK_ERR_RANGE, LK_OK, 0, 1760000000},
        {"0.5", LK_ERR_RANGE, LK_OK, 0, 0},
        {"-0.5", LK_ERR_RANGE, LK_ERR_RANGE, 0, 0},
        {"-0.0", LK_ERR_RANGE, LK_OK, 0, 0},
        {"1.76e9", LK_ERR_RANGE, LK_OK, 0, 1760000000},
        {"1.76E+09", LK_ERR_RANGE, LK_OK, 0, 1760000000},
        {"176000000012e-2", LK_ERR_RANGE, LK_OK, 0, 1760000000},
        {"0.00000000176e18", LK_ERR_RANGE, LK_OK, 0, 1760000000},
        {"1e-400", LK_ERR_RANGE, LK_OK, 0, 0},
        {"1e400", LK_ERR_RANGE, LK_ERR_RANGE, 0, 0},
        {"1e99999999999999999999", LK_ERR_RANGE, LK_ERR_RANGE, 0, 0},
        {"0e99999999999999999999", LK_ERR_RANGE, LK_OK, 0, 0},
        {"1e-99999999999999999999", LK_ERR_RANGE, LK_OK, 0, 0},
        {"\"1\"", LK_ERR_TYPE, LK_ERR_TYPE, 0, 0},
        {"true", LK_ERR_TYPE, LK_ERR_TYPE, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_json r = opened(rows[i].text);

        assert_int_equal(lk_json_int(&r), rows[i].value);
        assert_err(rows[i].text, lk_json_close(&r), rows[i].err);
        r = opened(rows[i].text);
        assert_int_equal(lk_json_numeric_date(&r), rows[i].date);
        assert_err(rows[i].text, lk_json_close(&r), rows[i].date_err);
    }
}

static void
strings_are_unescaped_in_place(void **state)
{
    struct lk_json r = opened("[\"a\\\"b\\n\\u00e9\\ud83d\\ude00\\u20ac\", \"\"]");
    struct lk_span text;

    (void)state;
    lk_json_enter_array(&r);
    assert_true(lk_json_next_item(&r));
    text = lk_json_string(&r);
    assert_true(lk_span_is(text, "a\"b\n\xc3\xa9\xf0\x9f\x98\x80\xe2\x82\xac"));
    assert_true(lk_json_next_item(&r));
    text = lk_json_string(&r);
    assert_non_null(text.ptr);
    assert_int_equal(text.len, 0);
    assert_false(lk_json_next_item(&r));
    lk_json_leave_array(&r);
    assert_int_equal(lk_json_close(&r), LK_OK);
}

static void
types_are_asked_for(void **state)
{
    struct lk_json r =
        opened("{\"s\":\"x\",\"n\":1,\"t\":true,\"f\":false,\"z\":null,\"o\":{},\"a\":[]}");
    static const enum lk_json_type types[] = {LK_JSON_STRING, LK_JSON_NUMBER, LK_JSON_BOOL,
                                              LK_JSON_BOOL,   LK_JSON_NULL,   LK_JSON_OBJECT,
                                              LK_JSON_ARRAY};
    struct lk_span name;
    size_t i = 0;

    (void)state;
    lk_json_enter_object(&r);
    while (lk_json_next_member(&r, &name)) {
        assert_int_equal(lk_json_peek(&r), types[i]);
        if (i == 2)
            assert_true(lk_json_bool(&r));
        else if (i == 3)
            assert_false(lk_json_bool(&r));
        else if (i == 4)
            lk_json_null(&r);
        else
            assert_int_equal(lk_json_raw(&r).len, i == 0 ? 3 : i == 1 ? 1 : 2);
        i++;
    }
    lk_json_leave_object(&r);
    assert_int_equal(lk_json_close(&r), LK_OK);
    assert_int_equal(i, COUNT(types));
    r = opened("[1]");
    lk_json_enter_object(&r);
    assert_int_equal(lk_json_close(&r), LK_ERR_TYPE);
    r = opened("{}");
    assert_false(lk_json_bool(&r));
    assert_int_equal(lk_json_close(&r), LK_ERR_TYPE);
}

static void
misuse_is_an_error_and_not_a_crash(void **state)
{
    struct lk_json r = opened("{\"a\":1}");
    struct lk_span name;

    (void)state;
    lk_json_enter_object(&r);
    assert_int_equal(lk_json_close(&r), LK_ERR_STATE);
    r = opened("[1]");
    assert_false(lk_json_next_item(&r));
    assert_int_equal(r.err, LK_ERR_STATE);
    r = opened("{\"a\":1}");
    lk_json_enter_object(&r);
    assert_false(lk_json_next_item(&r));
    assert_int_equal(r.err, LK_ERR_STATE);
    r = opened("{\"a\":1,\"b\":2}");
    lk_json_enter_object(&r);
    assert_true(lk_json_next_member(&r, &name));
    assert_false(lk_json_next_member(&r, &name)); /* the value was not read */
    assert_int_not_equal(r.err, LK_OK);
    lk_json_open(&r, NULL, 0);
    assert_int_equal(lk_json_peek(&r), LK_JSON_END);
    lk_json_leave_object(&r);
    assert_int_equal(lk_json_close(&r), LK_ERR_TRUNCATED);
}

/* Deeper than may be, seen from inside: entered, skipped or asked for as it stands. */
static void
depth_is_counted_from_the_outside(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        struct lk_json r = opened("[[[[[[[[[[[[[[[[{\"a\":1}]]]]]]]]]]]]]]]]");

        for (unsigned i = 0; i < LK_DEPTH_MAX; i++) {
            lk_json_enter_array(&r);
            assert_true(lk_json_next_item(&r));
        }
        if (way == 0)
            lk_json_enter_object(&r);
        else if (way == 1)
            lk_json_skip(&r);
        else
            assert_null(lk_json_raw(&r).ptr);
        assert_int_equal(lk_json_close(&r), LK_ERR_DEPTH);
    }
}

/* What an object says about itself, it says when it is entered. */
static void
enter_checks_what_is_inside(void **state)
{
    static const struct {
        const char *name, *text;
        enum lk_err err;
    } rows[] = {
        {"good", "{\"x\":[{\"a\":{\"b\":1}},\"\\u0061\"],\"y\":{}}", LK_OK},
        {"a name twice further in", "{\"x\":[{\"a\":{\"b\":1,\"b\":2}}],\"y\":{}}",
         LK_ERR_DUPLICATE},
        {"malformed further in", "{\"x\":[{\"a\":{\"b\":1,}}],\"y\":{}}", LK_ERR_MALFORMED},
        {"not closed", "{\"x\":[{\"a\":{\"b\":1}}],\"y\":{}", LK_ERR_TRUNCATED},
        {"an array", "[]", LK_ERR_TYPE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_json r = opened(rows[i].text);

        lk_json_enter_object(&r);
        assert_err(rows[i].name, r.err, rows[i].err);
    }
}

static void
objects_have_a_limit(void **state)
{
    static char text[LK_MEMBERS_MAX * 16];

    (void)state;
    for (unsigned members = LK_MEMBERS_MAX; members <= LK_MEMBERS_MAX + 1; members++) {
        struct lk_json r;
        size_t len = 0;

        for (unsigned i = 0; i < members; i++)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%c\"%u\":%u", i ? ',' : '{', i,
                                    i);
        text[len] = '}';
        text[len + 1] = '\0';
        r = opened(text);
        lk_json_skip(&r);
        assert_int_equal(lk_json_close(&r), members > LK_MEMBERS_MAX ? LK_ERR_LIMIT : LK_OK);
    }
}

static void
every_cut_is_refused(void **state)
{
    static const char text[] =
        "{\"iss\":\"https:\\/\\/"
        "as\",\"aud\":[\"a\",\"b\\u00e9\"],\"exp\":1.5e3,\"x\":{\"y\":null}}";

    (void)state;
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        struct lk_json r;
        struct lk_span name;

        lk_json_open(&r, guard_put(&guard, text, len), len);
        lk_json_enter_object(&r);
        while (lk_json_next_member(&r, &name))
            lk_json_skip(&r);
        lk_json_leave_object(&r);
        assert_int_not_equal(lk_json_close(&r), LK_OK);
    }
}

static void
mutations_do_no_harm(void **state)
{
    static const char text[] =
        "{\"a\\u0062\":[\"\\ud83d\\ude00\",-1.5e3,{\"c\":true}],\"d\":\"\\n\"}";
    size_t read = 0;

    (void)state;
    for (size_t at = 0; at < sizeof(text) - 1; at++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t room[32];
            uint8_t *copy = guard_put(&guard, text, sizeof(text) - 1);
            struct lk_span found, name;
            struct lk_json r;

            copy[at] = (uint8_t)value;
            (void)lk_json_find_text(lk_span_of(copy, sizeof(text) - 1), LK_SPAN("d"),
                                    LK_BUF_OF(room), &found);
            lk_json_open(&r, copy, sizeof(text) - 1);
            lk_json_enter_object(&r);
            while (lk_json_next_member(&r, &name)) {
                if (lk_json_peek(&r) == LK_JSON_STRING)
                    (void)lk_json_string(&r);
                else
                    lk_json_skip(&r);
            }
            lk_json_leave_object(&r);
            read += lk_json_close(&r) == LK_OK;
        }
    }
    assert_true(read > 100);
}

static void
a_text_is_found_without_a_change(void **state)
{
    static const char text[] = "{ \"x\" : {\"a\":\"no\"}, \"\\u0061\" : \"y\\u0065s\", \"n\":5 }";
    struct lk_span object = lk_span_of(guard_put(&guard, text, sizeof(text) - 1), sizeof(text) - 1);
    struct lk_span value;
    uint8_t room[3];

    (void)state;
    assert_true(lk_json_find_text(object, LK_SPAN("a"), LK_BUF_OF(room), &value));
    assert_true(lk_span_is(value, "yes"));
    assert_false(lk_json_find_text(object, LK_SPAN("a"), (struct lk_buf){room, 2}, &value));
    assert_null(value.ptr);
    assert_false(lk_json_find_text(object, LK_SPAN("n"), LK_BUF_OF(room), &value));
    assert_false(lk_json_find_text(object, LK_SPAN("b"), LK_BUF_OF(room), &value));
    assert_false(
        lk_json_find_text((struct lk_span){NULL, 0}, LK_SPAN("b"), LK_BUF_OF(room), &value));
    assert_true(lk_json_has_member(object, LK_SPAN("n")));
    assert_false(lk_json_has_member(object, LK_SPAN("m")));
    assert_memory_equal(object.ptr, text, object.len);
}

static void
write_specimen(struct lk_json_out *w)
{
    lk_json_write_object(w);
    lk_json_write_name(w, "s");
    lk_json_write_string(w, LK_SPAN("q\" b\\ n\n \xc3\xa9"));
    lk_json_write_name(w, "a");
    lk_json_write_array(w);
    lk_json_write_int(w, INT64_MIN);
    lk_json_write_int(w, 0);
    lk_json_write_bool(w, true);
    lk_json_write_array(w);
    lk_json_write_array_end(w);
    lk_json_write_raw(w, LK_SPAN("{\"r\":null}"));
    lk_json_write_array_end(w);
    lk_json_write_name(w, "b");
    lk_json_write_base64url(w, LK_SPAN("foo"));
    lk_json_write_object_end(w);
}

static void
the_writer_places_commas_and_escapes(void **state)
{
    static const char wanted[] =
        "{\"s\":\"q\\\" b\\\\ n\\u000a \xc3\xa9\",\"a\":[-9223372036854775808,0,"
        "true,[],{\"r\":null}],\"b\":\"Zm9v\"}";
    struct lk_json_out w;
    struct lk_span out;
    uint8_t room[256];

    (void)state;
    lk_json_write_open(&w, LK_BUF_OF(room));
    write_specimen(&w);
    assert_int_equal(lk_json_write_close(&w, &out), LK_OK);
    assert_true(lk_span_is(out, wanted));
    for (size_t cap = 0; cap < sizeof(wanted) - 1; cap++) {
        lk_json_write_open(&w, (struct lk_buf){guard_room(&guard, cap), cap});
        write_specimen(&w);
        assert_int_equal(lk_json_write_close(&w, &out), LK_ERR_NO_SPACE);
        assert_null(out.ptr);
    }
    lk_json_write_open(&w, LK_BUF_OF(room));
    lk_json_write_string(&w, LK_SPAN("\xff"));
    assert_int_equal(lk_json_write_close(&w, &out), LK_ERR_UTF8);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_skipped_or_refused),
        cmocka_unit_test(numbers_are_whole_or_dates),
        cmocka_unit_test(strings_are_unescaped_in_place),
        cmocka_unit_test(types_are_asked_for),
        cmocka_unit_test(misuse_is_an_error_and_not_a_crash),
        cmocka_unit_test(depth_is_counted_from_the_outside),
        cmocka_unit_test(enter_checks_what_is_inside),
        cmocka_unit_test(objects_have_a_limit),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(mutations_do_no_harm),
        cmocka_unit_test(a_text_is_found_without_a_change),
        cmocka_unit_test(the_writer_places_commas_and_escapes),
    };

    guard = guard_open(4096);
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
