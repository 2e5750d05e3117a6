/*
 * What a token lists itself, as stored: written, walked, and every broken part refused.
 */
#include <stdio.h>
#include <string.h>

#include "cmocka_all.h"
#include "guard_span.h"
#include "hex.h"
#include "permissions.h"

#define PERMISSION(text, p, s, f, q)                                                               \
    (struct lk_permission)                                                                         \
    {                                                                                              \
        LK_SPAN(text), p, s, f, q, 0                                                               \
    }

static struct guard guard;

static enum lk_err
walk_all(struct lk_span stored, struct lk_permission *out, size_t max, size_t *count)
{
    struct lk_permissions walk;
    struct lk_permission p;

    *count = 0;
    lk_permissions_open(&walk, stored);
    while (lk_permissions_next(&walk, &p)) {
        assert_true(*count < max);
        out[(*count)++] = p;
    }
    assert_null(p.filter.ptr);
    return lk_permissions_close(&walk);
}

static void
stored_as_specified(void **state)
{
    uint8_t room[LK_PERMISSIONS_ROOM], wanted_room[64];
    struct lk_permissions_out w;
    struct lk_permission back[LK_PERMISSIONS_MAX];
    struct lk_span out, wanted;
    size_t count;

    (void)state;
    lk_permissions_write_open(&w);
    lk_permissions_write(&w, &PERMISSION("a", true, false, 0, 2));
    lk_permissions_write(&w, &PERMISSION("b/#", true, true, LK_RULE_RETAIN_NO, 1));
    /* one of the same filter and limits joins, one that permits nothing is left out */
    lk_permissions_write(&w, &PERMISSION("a", false, true, 0, 2));
    lk_permissions_write(&w, &PERMISSION("c", false, false, 0, 2));
    /* other limits: an entry of its own; only a publish can be retained */
    lk_permissions_write(&w, &PERMISSION("a", false, true, LK_RULE_RETAIN_NO, 0));
    assert_int_equal(lk_permissions_write_close(&w, LK_BUF_OF(room), &out), LK_OK);
    wanted = hex_bytes("83 8261611823 8263622f2317 82616102", LK_BUF_OF(wanted_room));
    assert_true(lk_span_equal(out, wanted));
    assert_int_equal(walk_all(guard_place(&guard, out), back, LK_PERMISSIONS_MAX, &count), LK_OK);
    assert_int_equal(count, 3);
    assert_true(lk_span_is(back[0].filter, "a") && back[0].publish && back[0].subscribe);
    assert_true(back[0].flags == 0 && back[0].qos_max == 2);
    assert_true(lk_span_is(back[1].filter, "b/#") && back[1].publish && back[1].subscribe);
    assert_true(back[1].flags == LK_RULE_RETAIN_NO && back[1].qos_max == 1);
    assert_true(lk_span_is(back[2].filter, "a") && !back[2].publish && back[2].subscribe);
    assert_true(back[2].flags == 0 && back[2].qos_max == 0);
    for (size_t cap = 0; cap < wanted.len; cap++) {
        struct lk_buf little = {room, cap};

        assert_int_equal(lk_permissions_write_close(&w, little, &out), LK_ERR_NO_SPACE);
        assert_null(out.ptr);
    }
}

static void
nothing_is_absent(void **state)
{
    uint8_t room[8];
    struct lk_permissions_out w;
    struct lk_span out;
    size_t count;

    (void)state;
    lk_permissions_write_open(&w);
    assert_int_equal(lk_permissions_write_close(&w, LK_BUF_OF(room), &out), LK_OK);
    assert_null(out.ptr);
    assert_int_equal(walk_all(out, NULL, 0, &count), LK_OK);
    assert_int_equal(count, 0);
}

static void
filters_are_final(void **state)
{
    static const struct {
        const char *filter;
        enum lk_err err;
    } rows[] = {
        {"a/b", LK_OK},
        {"#", LK_OK},
        {"+/+/x", LK_OK},
        {"authz-info/x", LK_OK},
        {"a/$SYS", LK_OK},
        {"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/#", LK_OK},
        {"1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/#", LK_ERR_LIMIT},
        {"", LK_ERR_SCOPE},
        {"a/#/b", LK_ERR_SCOPE},
        {"a+", LK_ERR_SCOPE},
        {"$SYS/#", LK_ERR_SCOPE},
        {"$share/g/a", LK_ERR_SCOPE},
        {"$share", LK_ERR_SCOPE},
        {"authz-info", LK_ERR_SCOPE},
        {"authz-info/#", LK_ERR_SCOPE},
        {"a\xff", LK_ERR_SCOPE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lk_permission p = {lk_span_text(rows[i].filter), true, false, 0, 2, 0};
        uint8_t room[LK_PERMISSIONS_ROOM];
        struct lk_permissions_out w;
        struct lk_span out;

        lk_permissions_write_open(&w);
        lk_permissions_write(&w, &p);
        assert_err(rows[i].filter, lk_permissions_write_close(&w, LK_BUF_OF(room), &out),
                   rows[i].err);
    }
}

static void
broken_ones_end_the_walk(void **state)
{
    static const struct {
        const char *what, *hex;
        size_t count;
        enum lk_err err;
    } rows[] = {
        {"the specimen", "82 82 6161 1821 82 6162 1822", 2, LK_OK},
        {"none", "80", 0, LK_OK},
        {"not an array", "a0", 0, LK_ERR_TYPE},
        {"empty bytes", "", 0, LK_ERR_TRUNCATED},
        {"an array too short", "83 82 6161 1821 82 6162 1822", 2, LK_ERR_TRUNCATED},
        {"cut off", "82 82 6161 1821 82 6162 18", 1, LK_ERR_TRUNCATED},
        {"something behind", "82 82 6161 1821 82 6162 1822 00", 2, LK_ERR_TRAILING},
        {"an entry of one", "82 82 6161 1821 81 6162", 1, LK_ERR_MISSING},
        {"an entry of three", "82 82 6161 1821 83 6162 1822 00", 1, LK_ERR_TYPE},
        {"a filter of bytes", "82 82 4161 1821 82 6162 1822", 0, LK_ERR_TYPE},
        {"a filter not UTF-8", "82 82 61ff 1821 82 6162 1822", 0, LK_ERR_UTF8},
        {"a filter with $", "82 82 6161 1821 82 6124 1822", 1, LK_ERR_SCOPE},
        {"a misplaced #", "82 82 6161 1821 82 632361 62 1822", 1, LK_ERR_SCOPE},
        {"from acl, from publ and subs", "82 82 6161 1861 82 6161 18a1", 2, LK_OK},
        {"from both", "82 82 6161 1861 82 6161 18e1", 1, LK_ERR_RANGE},
        {"negative bits", "82 82 6161 20 82 6162 1822", 0, LK_ERR_TYPE},
        {"no direction", "82 82 6161 1820 82 6162 1822", 0, LK_ERR_RANGE},
        {"retain=no, no publish", "82 82 6161 1826 82 6162 1822", 0, LK_ERR_RANGE},
        {"QoS 3", "82 82 6161 1831 82 6162 1822", 0, LK_ERR_RANGE},
        {"an unknown bit", "82 82 6161 1829 82 6162 1822", 0, LK_ERR_RANGE},
        {"a high bit", "82 82 6161 190121 82 6162 1822", 0, LK_ERR_RANGE},
    };
    struct lk_permission back[LK_PERMISSIONS_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t room[64];
        struct lk_span in = hex_bytes(rows[i].hex, LK_BUF_OF(room));
        size_t count;

        assert_err(rows[i].what,
                   walk_all(guard_place(&guard, in), back, LK_PERMISSIONS_MAX, &count),
                   rows[i].err);
        assert_int_equal(count, rows[i].count);
    }
}

static void
limits_hold(void **state)
{
    static uint8_t room[LK_PERMISSIONS_ROOM + 64];
    static char filter[LK_PERMISSIONS_ROOM];
    struct lk_permissions_out w;
    struct lk_permissions walk;
    struct lk_permission p = {.publish = true, .qos_max = 2};
    char names[LK_PERMISSIONS_MAX + 1][8];
    struct lk_span out;

    (void)state;
    lk_permissions_write_open(&w);
    for (size_t i = 0; i <= LK_PERMISSIONS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "%zu", i);
        p.filter = lk_span_text(names[i]);
        lk_permissions_write(&w, &p);
        assert_int_equal(w.err, i < LK_PERMISSIONS_MAX ? LK_OK : LK_ERR_LIMIT);
    }
    assert_int_equal(lk_permissions_write_close(&w, LK_BUF_OF(room), &out), LK_ERR_LIMIT);
    /* 81 82 79LLLL text 1821 */
    memset(filter, 'a', sizeof(filter));
    for (size_t more = 0; more < 2; more++) {
        lk_permissions_write_open(&w);
        p.filter = lk_span_of(filter, LK_PERMISSIONS_ROOM - 7 + more);
        lk_permissions_write(&w, &p);
        assert_int_equal(lk_permissions_write_close(&w, LK_BUF_OF(room), &out),
                         more == 0 ? LK_OK : LK_ERR_LIMIT);
    }
    /* 65 entries, stored by somebody else */
    room[0] = 0x98;
    room[1] = LK_PERMISSIONS_MAX + 1;
    for (size_t i = 0; i <= LK_PERMISSIONS_MAX; i++)
        memcpy(room + 2 + 4 * i, "\x82\x61\x61\x01", 4);
    lk_permissions_open(&walk, lk_span_of(room, 2 + 4 * (LK_PERMISSIONS_MAX + 1)));
    assert_false(lk_permissions_next(&walk, &p));
    assert_int_equal(lk_permissions_close(&walk), LK_ERR_LIMIT);
    room[1] = LK_PERMISSIONS_MAX;
    lk_permissions_open(&walk, lk_span_of(room, sizeof(room)));
    assert_false(lk_permissions_next(&walk, &p));
    assert_int_equal(lk_permissions_close(&walk), LK_ERR_LIMIT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_as_specified), cmocka_unit_test(nothing_is_absent),
        cmocka_unit_test(filters_are_final),   cmocka_unit_test(broken_ones_end_the_walk),
        cmocka_unit_test(limits_hold),
    };

    guard = guard_open(LK_PERMISSIONS_ROOM);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
