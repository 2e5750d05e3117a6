/*
 * Which part of a filter lies in a tenant's tree, and whether two filters have a topic in common:
 * against the plainest reading of MQTT 5.0 section 4.7, on random filters and every short topic.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "guard_span.h"
#include "permissions.h"

#define ROUNDS 200000

static uint64_t seed = 0x5eed5eed5eed5eed;

static unsigned
pick(unsigned below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % below;
}

/* Does a filter match a topic, `$` aside? By recursion over the text. */
static bool
matches(const char *filter, const char *topic)
{
    size_t level = strcspn(filter, "/");
    size_t name = strcspn(topic, "/");

    if (strcmp(filter, "#") == 0)
        return true;
    if (!(level == 1 && *filter == '+') && (level != name || memcmp(filter, topic, level) != 0))
        return false;
    if (topic[name] == '\0')
        return filter[level] == '\0' || strcmp(filter + level, "/#") == 0;
    return filter[level] == '/' && matches(filter + level + 1, topic + name + 1);
}

static void
make(char *out, const char *const *words, unsigned word_count, bool is_filter)
{
    unsigned levels = 1 + pick(5);

    out[0] = '\0';
    for (unsigned i = 0; i < levels; i++) {
        bool is_last = i + 1 == levels;

        strcat(out, is_filter && is_last && pick(3) == 0 ? "#" : words[pick(word_count)]);
        if (!is_last)
            strcat(out, "/");
    }
    if (out[0] == '\0')
        strcpy(out, "a");
}

static void
the_tenants_part_of_a_filter(void **state)
{
    static const char *const filter_words[] = {"t", "t", "acme", "acme", "+", "+", "a", "", "$x"};
    static const char *const topic_words[] = {"t", "acme", "a", "", "$x", "b"};
    struct guard guard = guard_open(256);
    unsigned kept = 0, matched = 0;

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        char filter[64], topic[64], whole[80], inner_text[64] = "";
        struct lk_span inner;
        bool is_kept, wanted, got;

        make(filter, filter_words, 9, true);
        make(topic, topic_words, 6, false);
        if (filter[0] == '$')
            continue; /* refused before anybody asks for its part */
        inner = guard_place(&guard, lk_span_text(filter));
        is_kept = lk_permission_enter(LK_TENANCY_ONE, LK_SPAN("acme"), &inner);
        if (is_kept) {
            assert_int_equal(lk_permission_filter_check(inner), LK_OK);
            memcpy(inner_text, inner.ptr, inner.len);
        }
        kept += is_kept;
        /* `$x` at the top of the tenant's tree: by a wildcard, never by name. */
        if (topic[0] == '$')
            continue;
        snprintf(whole, sizeof(whole), "t/acme/%s", topic);
        wanted = matches(filter, whole);
        got = is_kept && matches(inner_text, topic);
        matched += wanted;
        if (wanted != got)
            fail_msg("%s, of which %s remains, and %s: %d, not %d", filter,
                     is_kept ? inner_text : "nothing", whole, got, wanted);
    }
    assert_true(kept > ROUNDS / 20 && matched > ROUNDS / 100);
    guard_close(&guard);
}

static void
what_the_default_tenant_keeps(void **state)
{
    static const char *const filter_words[] = {"t", "t", "acme", "+", "+", "a", "", "tt"};
    struct guard guard = guard_open(256);

    (void)state;
    for (unsigned round = 0; round < ROUNDS / 4; round++) {
        struct lk_span inner;
        char filter[64];
        bool is_kept;

        make(filter, filter_words, 8, true);
        inner = guard_place(&guard, lk_span_text(filter));
        is_kept = lk_permission_enter(LK_TENANCY_DEFAULT, (struct lk_span){NULL, 0}, &inner);
        assert_int_equal(is_kept, strncmp(filter, "t/", 2) != 0 && strcmp(filter, "t") != 0);
        if (is_kept)
            assert_true(lk_span_is(inner, filter));
    }
    guard_close(&guard);
}

/* Is there a topic of at most six levels that matches both? */
static bool
some_topic_matches(const char *a, const char *b)
{
    for (unsigned levels = 1; levels <= 6; levels++) {
        for (unsigned bits = 0; bits < 1u << levels; bits++) {
            char topic[16];
            size_t len = 0;

            for (unsigned i = 0; i < levels; i++) {
                topic[len++] = bits >> i & 1 ? 'b' : 'a';
                topic[len++] = '/';
            }
            topic[len - 1] = '\0';
            if (matches(a, topic) && matches(b, topic))
                return true;
        }
    }
    return false;
}

static void
filters_with_a_topic_in_common(void **state)
{
    static const char *const words[] = {"a", "b", "+"};
    struct guard guard_a = guard_open(64), guard_b = guard_open(64);
    unsigned apart = 0;

    (void)state;
    for (unsigned round = 0; round < ROUNDS / 10; round++) {
        char a[32], b[32];
        bool wanted, got;

        make(a, words, 3, true);
        make(b, words, 3, true);
        wanted = some_topic_matches(a, b);
        got = lk_filters_overlap(guard_place(&guard_a, lk_span_text(a)),
                                 guard_place(&guard_b, lk_span_text(b)));
        if (wanted != got)
            fail_msg("%s and %s: %d, not %d", a, b, got, wanted);
        apart += !wanted;
    }
    assert_true(apart > ROUNDS / 100);
    guard_close(&guard_a);
    guard_close(&guard_b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tenants_part_of_a_filter),
        cmocka_unit_test(what_the_default_tenant_keeps),
        cmocka_unit_test(filters_with_a_topic_in_common),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
