#include <stdio.h>
#include <string.h>

#include <latchkey/id.h>

#include "cmocka_all.h"
#include "guard_span.h"

#define NAME_64   "a23456789.123456789_123456789-123456789.123456789.123456789.1234"
#define TENANT_32 "abcdefghijklmnopqrstuvwxyz-01234"

static void
ids_are_told_from_other_text(void **state)
{
    static const struct {
        const char *name, *id;
        bool is_valid;
    } rows[] = {
        {"specimen", "sensor-7f3a", true},
        {"one digit", "7", true},
        {"all characters", "aZ09._-", true},
        {"64 bytes", NAME_64, true},
        {"of a tenant", "acme~sensor-7f3a", true},
        {"longest of a tenant", TENANT_32 "~" NAME_64, true},
        {"tenant of digits", "42~x", true},
        {"tenant that begins with a hyphen", "-~x", true},
        {"empty", "", false},
        {"65 bytes", NAME_64 "5", false},
        {"first a dot", ".sensor", false},
        {"first a hyphen", "-sensor", false},
        {"first an underscore", "_sensor", false},
        {"slash", "a/b", false},
        {"plus", "a+b", false},
        {"hash", "a#", false},
        {"colon", "a:b", false},
        {"space", "a b", false},
        {"newline", "a\n", false},
        {"not ASCII", "s\xc3\xa9", false},
        {"empty tenant", "~a", false},
        {"empty name", "acme~", false},
        {"two tildes", "acme~a~b", false},
        {"upper-case tenant", "Acme~a", false},
        {"dot in a tenant", "ac.me~a", false},
        {"33 bytes of tenant", TENANT_32 "x~a", false},
        {"name of a tenant begins with a hyphen", "acme~-a", false},
    };
    struct guard guard = guard_open(256);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lk_span id = guard_place(&guard, lk_span_text(rows[i].id));

        if (lk_id_is_valid(id) != rows[i].is_valid)
            fail_msg("%s: \"%s\"", rows[i].name, rows[i].id);
    }
    assert_false(lk_id_is_valid(LK_SPAN("a\0b")));
    assert_false(lk_id_is_valid((struct lk_span){NULL, 0}));
    guard_close(&guard);
}

static void
tenants_are_told_from_other_text(void **state)
{
    (void)state;
    assert_true(lk_tenant_is_valid(LK_SPAN("acme")));
    assert_true(lk_tenant_is_valid(LK_SPAN(TENANT_32)));
    assert_false(lk_tenant_is_valid(LK_SPAN(TENANT_32 "5")));
    assert_false(lk_tenant_is_valid(LK_SPAN("")));
    assert_false(lk_tenant_is_valid(LK_SPAN("*")));
    assert_false(lk_tenant_is_valid(LK_SPAN("Acme")));
    assert_false(lk_tenant_is_valid(LK_SPAN("a/b")));
    assert_false(lk_tenant_is_valid((struct lk_span){NULL, 0}));
}

static void
a_subject_owns_its_client_ids_only(void **state)
{
    static const struct {
        const char *name, *subject, *client_id;
        bool owns;
    } rows[] = {
        {"the subject", "pump-7", "pump-7", true},
        {"with a suffix", "pump-7", "pump-7:spare", true},
        {"a suffix of its own kind", "pump-7", "pump-7:a:b", true},
        {"of a tenant", "acme~pump-7", "acme~pump-7:1", true},
        {"empty suffix", "pump-7", "pump-7:", false},
        {"another device that begins alike", "pump-7", "pump-77", false},
        {"begins alike, then a hyphen", "pump-7", "pump-7-1", false},
        {"shorter", "pump-7", "pump-", false},
        {"another case", "pump-7", "Pump-7", false},
        {"no client id", "pump-7", "", false},
        {"no subject", "", "pump-7", false},
        {"no subject, only a suffix", "", ":x", false},
        {"neither", "", "", false},
    };
    struct guard subjects = guard_open(64), clients = guard_open(64);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lk_span subject = guard_place(&subjects, lk_span_text(rows[i].subject));
        struct lk_span client_id = guard_place(&clients, lk_span_text(rows[i].client_id));

        if (lk_id_owns_client_id(subject, client_id) != rows[i].owns)
            fail_msg("%s", rows[i].name);
    }
    guard_close(&subjects);
    guard_close(&clients);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_told_from_other_text),
        cmocka_unit_test(tenants_are_told_from_other_text),
        cmocka_unit_test(a_subject_owns_its_client_ids_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
