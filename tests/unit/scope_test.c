#include <stdio.h>
#include <string.h>

#include <latchkey/scope.h>

#include "cmocka_all.h"
#include "guard_span.h"

static void
scopes_are_taken_off_the_front(void **state)
{
    static const struct {
        const char *text, *joined;
    } rows[] = {
        {"", ""},
        {"   ", ""},
        {"a:b", "a:b|"},
        {"a:b c:d", "a:b|c:d|"},
        {"  a:b   c:d  ", "a:b|c:d|"},
        {"a\tb", "a\tb|"}, /* a tab separates nothing: RFC 6749 section 3.3 */
    };
    struct guard guard = guard_open(64);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lk_span rest = guard_place(&guard, lk_span_text(rows[i].text));
        struct lk_span scope;
        char joined[64] = "";

        while (lk_scope_next(&rest, &scope)) {
            strncat(joined, (const char *)scope.ptr, scope.len);
            strcat(joined, "|");
        }
        assert_string_equal(joined, rows[i].joined);
        assert_null(scope.ptr);
        assert_false(lk_scope_next(&rest, &scope));
    }
    guard_close(&guard);
}

static void
lists_are_checked(void **state)
{
    static const struct {
        const char *name, *text;
        enum lk_err err;
    } rows[] = {
        {"specimen", "telemetry:send config:read", LK_OK},
        {"nothing", "", LK_OK},
        {"no colon", "openid", LK_OK},
        {"all that RFC 6749 allows", "!#$%&'()*+,-./09:;<=>?@AZ[]^_`az{|}~", LK_OK},
        {"quotation mark", "a:\"b", LK_ERR_SCOPE},
        {"backslash", "a:\\b", LK_ERR_SCOPE},
        {"tab", "a:b\tc:d", LK_ERR_SCOPE},
        {"newline", "a:b\n", LK_ERR_SCOPE},
        {"delete", "a:b\x7f", LK_ERR_SCOPE},
        {"not ASCII", "a:\xc3\xa9", LK_ERR_SCOPE},
    };
    char text[LK_SCOPE_MAX + 2];
    struct guard guard = guard_open(4096);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (lk_scope_check(guard_place(&guard, lk_span_text(rows[i].text))) != rows[i].err)
            fail_msg("%s", rows[i].name);
    }
    memset(text, 'x', sizeof(text));
    assert_int_equal(lk_scope_check(lk_span_of(text, LK_SCOPE_MAX)), LK_OK);
    assert_int_equal(lk_scope_check(lk_span_of(text, LK_SCOPE_MAX + 1)), LK_ERR_LIMIT);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = i % 2 ? ' ' : 'x';
    assert_int_equal(lk_scope_check(lk_span_of(text, 2 * LK_SCOPES_MAX)), LK_OK);
    assert_int_equal(lk_scope_check(lk_span_of(text, 2 * LK_SCOPES_MAX + 1)), LK_ERR_LIMIT);
    guard_close(&guard);
}

static void
a_scope_covers_another(void **state)
{
    static const struct {
        const char *held, *wanted;
        bool covers;
    } rows[] = {
        {"telemetry:send", "telemetry:send", true},
        {"telemetry:*", "telemetry:send", true},
        {"telemetry:*", "telemetry:*", true},
        {"telemetry:*", "telemetry:send:fast", true},
        {"openid", "openid", true},
        {"desk:use", "desk:use", true},
        {"telemetry:send", "telemetry:read", false},
        {"telemetry:send", "telemetry:*", false},
        {"telemetry:send", "telemetry:sen", false},
        {"telemetry:send", "telemetry:sendall", false},
        {"telemetry:*", "telemetry", false},
        {"telemetry:*", "telemetry:", false},
        {"telemetry:*", "telemetry2:send", false},
        {"tele*", "telemetry:send", false},
        {"telemetry:s*", "telemetry:send", false},
        {"a:b:*", "a:b:c", false}, /* the resource is `a`, and `b:*` is one action of it */
        {"*", "telemetry:send", false},
        {"*:*", "telemetry:send", false},
        {":*", ":send", false},
        {"*:send", "telemetry:send", false},
        {"Telemetry:*", "telemetry:send", false},
        {"desk:*", "desk:use", false},
        {"bridge:*", "bridge:use", false},
        {"keys:*", "keys:write", false},
        {"clients:*", "clients:write", false},
        {"tenants:*", "tenants:write", false},
        {"desk2:*", "desk2:use", true},
        {"", "", false},
        {"", "a:b", false},
        {"a:*", "", false},
    };
    struct guard helds = guard_open(64), wanteds = guard_open(64);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lk_span held = guard_place(&helds, lk_span_text(rows[i].held));
        struct lk_span wanted = guard_place(&wanteds, lk_span_text(rows[i].wanted));

        if (lk_scope_covers(held, wanted) != rows[i].covers)
            fail_msg("%s over %s", rows[i].held, rows[i].wanted);
    }
    guard_close(&helds);
    guard_close(&wanteds);
}

static void
lists_cover_lists(void **state)
{
    struct lk_span held = LK_SPAN("telemetry:* config:read");

    (void)state;
    assert_true(lk_scope_list_covers(held, LK_SPAN("config:read")));
    assert_true(lk_scope_list_covers(held, LK_SPAN("telemetry:read")));
    assert_false(lk_scope_list_covers(held, LK_SPAN("config:write")));
    assert_false(lk_scope_list_covers((struct lk_span){NULL, 0}, LK_SPAN("config:write")));
    assert_true(lk_scope_list_covers_all(held, LK_SPAN("telemetry:send config:read")));
    assert_true(lk_scope_list_covers_all(held, LK_SPAN("telemetry:*")));
    assert_true(lk_scope_list_covers_all(held, LK_SPAN("")));
    assert_true(lk_scope_list_covers_all(held, (struct lk_span){NULL, 0}));
    assert_false(lk_scope_list_covers_all(held, LK_SPAN("telemetry:send config:write")));
    assert_false(lk_scope_list_covers_all(held, LK_SPAN("config:*")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scopes_are_taken_off_the_front),
        cmocka_unit_test(lists_are_checked),
        cmocka_unit_test(a_scope_covers_another),
        cmocka_unit_test(lists_cover_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
