#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include <latchkey/limits.h>
#include <latchkey/topic.h>

#include "cmocka_all.h"
#include "guard_span.h"

static json_t *
load_vectors(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error);

    if (root == NULL)
        fail_msg("%s: %s", path, error.text);
    return root;
}

static struct lk_span
member(const json_t *row, const char *name)
{
    const json_t *value = json_object_get(row, name);

    return lk_span_of(json_string_value(value), json_string_length(value));
}

static int
row_number(const json_t *row)
{
    return (int)json_integer_value(json_object_get(row, "n"));
}

/* topic_match.json: match, no_match, invalid_filter, invalid_topic. */
static void
published_matches_hold(void **state)
{
    json_t *root = load_vectors(LK_VECTORS_DIR "/mqtt/topic_match.json");
    struct guard filters = guard_open(1024), topics = guard_open(1024);
    size_t i;
    json_t *row;

    (void)state;
    json_array_foreach (json_object_get(root, "tests"), i, row) {
        struct lk_span filter = guard_place(&filters, member(row, "filter"));
        struct lk_span topic = guard_place(&topics, member(row, "topic"));
        struct lk_span expect = member(row, "expect");
        int n = row_number(row);

        if (lk_topic_matches(filter, topic) != lk_span_is(expect, "match"))
            fail_msg("row %d: match", n);
        if (lk_filter_is_valid(filter) == lk_span_is(expect, "invalid_filter"))
            fail_msg("row %d: filter", n);
        if (lk_span_is(expect, "invalid_topic") && lk_topic_is_valid(topic))
            fail_msg("row %d: topic", n);
    }
    assert_true(i >= 60);
    guard_close(&filters);
    guard_close(&topics);
    json_decref(root);
}

static void
published_containments_hold(void **state)
{
    json_t *root = load_vectors(LK_VECTORS_DIR "/mqtt/filter_subset.json");
    struct guard rules = guard_open(1024), filters = guard_open(1024);
    size_t i;
    json_t *row;

    (void)state;
    json_array_foreach (json_object_get(root, "tests"), i, row) {
        struct lk_span rule = guard_place(&rules, member(row, "scopeFilter"));
        struct lk_span filter = guard_place(&filters, member(row, "requested"));

        if (lk_filter_covers(rule, filter) != json_is_true(json_object_get(row, "covered")))
            fail_msg("row %d", row_number(row));
    }
    assert_true(i >= 40);
    guard_close(&rules);
    guard_close(&filters);
    json_decref(root);
}

static size_t
from_hex(struct lk_span hex, uint8_t *out)
{
    for (size_t i = 0; i + 1 < hex.len; i += 2) {
        char digits[3] = {(char)hex.ptr[i], (char)hex.ptr[i + 1], 0};

        out[i / 2] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return hex.len / 2;
}

static bool
validity_of(const json_t *row, struct guard *guard)
{
    struct lk_span kind = member(row, "kind");
    struct lk_span value = guard_place(guard, member(row, "value"));
    struct lk_span group, inner;
    uint8_t bytes[64];

    if (lk_span_is(kind, "publish_topic"))
        return lk_topic_is_valid(value);
    if (lk_span_is(kind, "subscribe_filter"))
        return lk_filter_is_valid(value);
    if (lk_span_is(kind, "utf8_string_bytes")) {
        value = lk_span_of(bytes, from_hex(member(row, "hex"), bytes));
        value = guard_place(guard, value);
        return lk_topic_is_valid(value) && lk_filter_is_valid(value);
    }
    assert_true(lk_span_is(kind, "shared_subscription"));
    if (!lk_filter_split_share(value, &group, &inner)) {
        assert_false(lk_filter_is_valid(value));
        assert_null(group.ptr);
        assert_true(lk_span_equal(inner, value));
        return false;
    }
    assert_true(lk_filter_is_valid(value));
    assert_true(lk_span_equal(group, member(row, "group")));
    assert_true(lk_span_equal(inner, member(row, "filter")));
    return true;
}

static void
published_validity_holds(void **state)
{
    json_t *root = load_vectors(LK_VECTORS_DIR "/mqtt/validity.json");
    struct guard guard = guard_open(1024);
    size_t i;
    json_t *row;

    (void)state;
    json_array_foreach (json_object_get(root, "tests"), i, row) {
        if (validity_of(row, &guard) != json_is_true(json_object_get(row, "valid")))
            fail_msg("row %d", row_number(row));
    }
    assert_true(i >= 45);
    guard_close(&guard);
    json_decref(root);
}

static void
lengths_are_mqtts_own(void **state)
{
    static char text[LK_TOPIC_MAX + 1];

    (void)state;
    memset(text, 'x', sizeof(text));
    assert_true(lk_topic_is_valid(lk_span_of(text, LK_TOPIC_MAX)));
    assert_true(lk_filter_is_valid(lk_span_of(text, LK_TOPIC_MAX)));
    assert_true(lk_topic_matches(LK_SPAN("#"), lk_span_of(text, LK_TOPIC_MAX)));
    assert_false(lk_topic_is_valid(lk_span_of(text, LK_TOPIC_MAX + 1)));
    assert_false(lk_filter_is_valid(lk_span_of(text, LK_TOPIC_MAX + 1)));
    assert_false(lk_topic_is_valid((struct lk_span){NULL, 0}));
    assert_false(lk_filter_is_valid((struct lk_span){NULL, 0}));
    memcpy(text, "$share/g/", 9);
    assert_true(lk_filter_is_valid(lk_span_of(text, LK_TOPIC_MAX)));
    assert_false(lk_filter_is_valid(lk_span_of(text, LK_TOPIC_MAX + 1)));
}

static void
a_share_is_matched_by_what_follows_it(void **state)
{
    (void)state;
    assert_true(lk_topic_matches(LK_SPAN("$share/g/a/+"), LK_SPAN("a/b")));
    assert_false(lk_topic_matches(LK_SPAN("$share/g/#"), LK_SPAN("$SYS/x")));
    assert_false(lk_topic_matches(LK_SPAN("$share/g"), LK_SPAN("$share/g")));
    assert_false(lk_filter_covers(LK_SPAN("#"), LK_SPAN("$share/g/a")));
    assert_true(lk_filter_is_valid(LK_SPAN("$shared/g")));
    assert_false(lk_filter_is_valid(LK_SPAN("$share//a")));
    assert_false(lk_filter_is_valid(LK_SPAN("$share/g/a/#/b")));
    assert_false(lk_filter_is_valid(LK_SPAN("$share/\xff/a")));
}

/* Every byte at every place of a topic of every length up to 40, against the plain definition. */
static void
validity_is_seen_at_every_offset(void **state)
{
    struct guard guard = guard_open(64);
    uint8_t text[40];

    (void)state;
    for (size_t len = 1; len <= sizeof(text); len++) {
        for (size_t at = 0; at < len; at++) {
            for (unsigned c = 0; c < 256; c++) {
                bool is_valid = c != 0 && c != '+' && c != '#' && c < 0x80;
                struct lk_span topic;

                memset(text, 'x', len);
                text[at] = (uint8_t)c;
                topic = guard_place(&guard, lk_span_of(text, len));
                if (lk_topic_is_valid(topic) != is_valid)
                    fail_msg("byte %02x at %zu of %zu", c, at, len);
                if (is_valid)
                    assert_true(lk_topic_matches(topic, topic));
            }
        }
    }
    guard_close(&guard);
}

/* Containment against its definition: filters and topics over a small alphabet, all of them. */

#define FILTERS_MAX 400
#define TOPICS_MAX  1000

struct texts {
    char text[TOPICS_MAX][24];
    size_t count;
};

static struct texts filters, topics;
static bool matched[FILTERS_MAX][TOPICS_MAX];

static void
grow_texts(struct texts *texts, const char *const *alphabet, const char *prefix, unsigned levels)
{
    for (size_t i = 0; alphabet[i] != NULL; i++) {
        char text[24];

        snprintf(text, sizeof(text), "%s%s", prefix, alphabet[i]);
        if (text[0] != '\0') {
            assert_true(texts->count < TOPICS_MAX);
            strcpy(texts->text[texts->count++], text);
        }
        strcat(text, "/");
        if (levels > 1 && strchr(text, '#') == NULL)
            grow_texts(texts, alphabet, text, levels - 1);
    }
}

/* Straight from MQTT 5.0 section 4.7, character by character. */
static bool
naive_match(const char *filter, const char *topic)
{
    if (topic[0] == '$' && (filter[0] == '+' || filter[0] == '#'))
        return false;
    for (;;) {
        if (strcmp(filter, "#") == 0)
            return true;
        if (*filter == '+') {
            while (*topic != '\0' && *topic != '/')
                topic++;
            filter++;
        } else {
            while (*topic != '\0' && *topic != '/' && *topic == *filter)
                topic++, filter++;
        }
        if (*topic == '\0')
            return *filter == '\0' || strcmp(filter, "/#") == 0;
        if (*topic != '/' || *filter != '/')
            return false;
        topic++, filter++;
    }
}

static bool
naive_covers(size_t rule, size_t filter)
{
    for (size_t i = 0; i < topics.count; i++) {
        if (matched[filter][i] && !matched[rule][i])
            return false;
    }
    return true;
}

static void
containment_is_what_enumeration_says(void **state)
{
    static const char *const in_filters[] = {"", "a", "b", "$s", "+", "#", NULL};
    static const char *const in_topics[] = {"", "a", "b", "$s", "z", NULL};

    (void)state;
    grow_texts(&filters, in_filters, "", 3);
    grow_texts(&topics, in_topics, "", 4);
    topics.count++; /* the empty topic counts here: it is the parent that /# asks for */
    assert_true(filters.count < FILTERS_MAX && topics.count < TOPICS_MAX);
    for (size_t f = 0; f < filters.count; f++) {
        for (size_t t = 0; t < topics.count; t++) {
            matched[f][t] = naive_match(filters.text[f], topics.text[t]);
            if (topics.text[t][0] != '\0' &&
                matched[f][t] !=
                    lk_topic_matches(lk_span_text(filters.text[f]), lk_span_text(topics.text[t])))
                fail_msg("\"%s\" matches \"%s\"", filters.text[f], topics.text[t]);
        }
    }
    for (size_t r = 0; r < filters.count; r++) {
        for (size_t f = 0; f < filters.count; f++) {
            const char *rule = filters.text[r], *filter = filters.text[f];
            bool covers = naive_covers(r, f);

            /* the one safe corner of topic.h */
            if (strcmp(rule, "+/#") == 0 && strcmp(filter, "#") == 0)
                covers = false;
            if (lk_filter_covers(lk_span_text(rule), lk_span_text(filter)) != covers)
                fail_msg("\"%s\" covers \"%s\"", rule, filter);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_matches_hold),
        cmocka_unit_test(published_containments_hold),
        cmocka_unit_test(published_validity_holds),
        cmocka_unit_test(lengths_are_mqtts_own),
        cmocka_unit_test(a_share_is_matched_by_what_follows_it),
        cmocka_unit_test(validity_is_seen_at_every_offset),
        cmocka_unit_test(containment_is_what_enumeration_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
