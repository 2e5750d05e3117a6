#include <stdio.h>
#include <string.h>

#include "budget.h"
#include "denials.h"
#include "failures.h"

#include "cmocka_all.h"

#define NONE ((struct lk_span){NULL, 0})

static struct denials d;
static struct denial out[DENIALS_KEPT];

static int
clear(void **state)
{
    (void)state;
    memset(&d, 0, sizeof(d));
    d.enabled = true;
    return 0;
}

static void
note(const char *subject, const char *id, enum denial_action action, const char *topic,
     enum lk_err reason, int64_t now_s)
{
    const struct denial_facts facts = {.subject = subject != NULL ? lk_span_text(subject) : NONE,
                                       .client_id = lk_span_text(id),
                                       .topic = topic != NULL ? lk_span_text(topic) : NONE,
                                       .action = action,
                                       .reason = reason};

    denials_note(&d, &facts, now_s);
}

static void
the_same_again_is_counted(void **state)
{
    (void)state;
    for (int64_t t = 100; t < 110; t++)
        note("a", "a", DENIAL_PUBLISH, "x", LK_ERR_DENIED, t);
    assert_int_equal(d.used, 1);
    assert_int_equal(denials_take(&d, out, 8), 1);
    assert_int_equal(out[0].count, 10);
    assert_int_equal(out[0].first_s, 100);
    assert_int_equal(out[0].last_s, 109);
    assert_int_equal(d.used, 0);
    assert_int_equal(denials_take(&d, out, 8), 0);
}

static void
whatever_differs_is_another_one(void **state)
{
    (void)state;
    note("a", "a", DENIAL_PUBLISH, "x", LK_ERR_DENIED, 1);
    note("b", "a", DENIAL_PUBLISH, "x", LK_ERR_DENIED, 1);
    note("a", "a:1", DENIAL_PUBLISH, "x", LK_ERR_DENIED, 1);
    note("a", "a", DENIAL_SUBSCRIBE, "x", LK_ERR_DENIED, 1);
    note("a", "a", DENIAL_PUBLISH, "y", LK_ERR_DENIED, 1);
    note("a", "a", DENIAL_PUBLISH, "x", LK_ERR_LIMIT, 1);
    note(NULL, "a", DENIAL_PUBLISH, "x", LK_ERR_DENIED, 1);
    assert_int_equal(d.used, 7);
}

static void
those_that_waited_longest_go_first(void **state)
{
    (void)state;
    note("a", "a", DENIAL_CONNECT, NULL, LK_ERR_EXPIRED, 1);
    note("b", "b", DENIAL_CONNECT, NULL, LK_ERR_EXPIRED, 2);
    note("a", "a", DENIAL_CONNECT, NULL, LK_ERR_EXPIRED, 3);
    assert_int_equal(denials_take(&d, out, 1), 1);
    assert_string_equal(out[0].subject, "b");
    assert_int_equal(denials_take(&d, out, 8), 1);
    assert_string_equal(out[0].subject, "a");
    assert_int_equal(out[0].count, 2);
}

static void
the_ring_never_grows_and_says_what_it_lost(void **state)
{
    char name[32];

    (void)state;
    for (int i = 0; i < 3 * DENIALS_KEPT; i++) {
        (void)snprintf(name, sizeof(name), "device-%d", i);
        note(name, name, DENIAL_PUBLISH, "x", LK_ERR_DENIED, i);
    }
    assert_int_equal(d.used, DENIALS_KEPT);
    assert_int_equal(d.lost, 2 * DENIALS_KEPT);
    assert_int_equal(denials_take(&d, out, DENIALS_KEPT), DENIALS_KEPT);
    assert_string_equal(out[0].subject, "device-256");
    assert_int_equal(d.used, 0);
}

static size_t
count_of(const char *subject, size_t n)
{
    size_t found = 0;

    for (size_t i = 0; i < n; i++)
        found += strcmp(out[i].subject, subject) == 0;
    return found;
}

static void
one_subject_pushes_out_its_own_only(void **state)
{
    char topic[32];
    size_t n;

    (void)state;
    note("quiet", "quiet", DENIAL_PUBLISH, "x", LK_ERR_DENIED, 1);
    for (int i = 0; i < 10 * DENIALS_KEPT; i++) {
        (void)snprintf(topic, sizeof(topic), "t/%d", i);
        note("loud", "loud", DENIAL_PUBLISH, topic, LK_ERR_DENIED, i);
    }
    n = denials_take(&d, out, DENIALS_KEPT);
    assert_int_equal(n, DENIALS_OF_ONE + 1);
    assert_int_equal(count_of("quiet", n), 1);
}

/* Strangers with ever new names: all of them together are one. */
static void
strangers_push_out_strangers_only(void **state)
{
    char name[32];
    size_t n;

    (void)state;
    note("known", "known", DENIAL_CONNECT, NULL, LK_ERR_EXPIRED, 1);
    for (int i = 0; i < 10 * DENIALS_KEPT; i++) {
        (void)snprintf(name, sizeof(name), "stranger-%d", i);
        note(NULL, name, DENIAL_CONNECT, NULL, LK_ERR_SIGNATURE, i);
    }
    n = denials_take(&d, out, DENIALS_KEPT);
    assert_int_equal(n, DENIALS_OF_ONE + 1);
    assert_int_equal(count_of("known", n), 1);
}

static void
a_strangers_subject_is_what_his_client_id_says(void **state)
{
    static const struct {
        const char *id, *subject;
    } rows[] = {{"pump-7", "pump-7"},
                {"pump-7:2", "pump-7"},
                {"acme~s1:x:y", "acme~s1"},
                {"no such id!", ""},
                {"", ""},
                {":", ""},
                {"-first-is-dash", ""},
                {"a/b", ""}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        note(NULL, rows[i].id, DENIAL_CONNECT, NULL, LK_ERR_KEY, 1);
        assert_int_equal(denials_take(&d, out, 1), 1);
        assert_string_equal(out[0].subject, rows[i].subject);
        assert_string_equal(out[0].client_id, rows[i].id);
        assert_true(out[0].claimed);
    }
}

static void
long_texts_are_cut_between_characters(void **state)
{
    char topic[1024];

    (void)state;
    topic[0] = 'x'; /* so that the cut is in the middle of a character */
    for (size_t i = 1; i + 2 < sizeof(topic); i += 2)
        memcpy(topic + i, "\xc3\xa4", 3);
    note("a", "a", DENIAL_PUBLISH, topic, LK_ERR_DENIED, 1);
    assert_int_equal(denials_take(&d, out, 1), 1);
    assert_int_equal(strlen(out[0].topic), DENIAL_TOPIC_MAX);
    topic[0] = '\xc3';
    topic[1] = '\xa4';
    for (size_t i = 2; i + 2 < sizeof(topic); i += 2)
        memcpy(topic + i, "\xc3\xa4", 3);
    note("a", "a", DENIAL_PUBLISH, topic, LK_ERR_DENIED, 1);
    assert_int_equal(denials_take(&d, out, 1), 1);
    assert_int_equal(strlen(out[0].topic), DENIAL_TOPIC_MAX - 1);
}

static void
without_somebody_to_fetch_them_none_are_kept(void **state)
{
    (void)state;
    d.enabled = false;
    note("a", "a", DENIAL_PUBLISH, "x", LK_ERR_DENIED, 1);
    assert_int_equal(d.used, 0);
}

static void
the_body_is_what_the_server_expects(void **state)
{
    static uint8_t room[DENIALS_BODY_MAX];
    static const char expected[] =
        "{\"denials\":[{\"subject\":\"a\",\"client_id\":\"a:1\",\"action\":\"subscribe\","
        "\"topic\":\"x/\\\"#\",\"reason\":\"DENIED\",\"at\":8,\"count\":2},"
        "{\"subject\":\"b\",\"client_id\":\"b\",\"action\":\"connect\",\"topic\":\"\","
        "\"reason\":\"EXPIRED\",\"at\":9,\"count\":1}]}";
    struct lk_span body;

    (void)state;
    note("a", "a:1", DENIAL_SUBSCRIBE, "x/\"#", LK_ERR_DENIED, 7);
    note("a", "a:1", DENIAL_SUBSCRIBE, "x/\"#", LK_ERR_DENIED, 8);
    note("bad", "bad", DENIAL_PUBLISH, "not UTF-8: \xff", LK_ERR_DENIED, 8);
    note("b", "b", DENIAL_CONNECT, NULL, LK_ERR_EXPIRED, 9);
    assert_int_equal(denials_write(out, denials_take(&d, out, 8), LK_BUF_OF(room), &body), LK_OK);
    assert_int_equal(body.len, sizeof(expected) - 1);
    assert_memory_equal(body.ptr, expected, body.len);
}

static void
the_largest_batch_fits(void **state)
{
    static uint8_t room[DENIALS_BODY_MAX];
    struct lk_span body;

    (void)state;
    for (size_t i = 0; i < DENIALS_BATCH; i++) {
        out[i] = (struct denial){.action = DENIAL_UNSUBSCRIBE,
                                 .reason = LK_ERR_UNAVAILABLE,
                                 .count = UINT32_MAX,
                                 .last_s = INT64_C(1) << 52};
        memset(out[i].subject, '\x01', sizeof(out[i].subject) - 1);
        memset(out[i].client_id, '\x01', sizeof(out[i].client_id) - 1);
        memset(out[i].topic, '\x01', sizeof(out[i].topic) - 1);
    }
    assert_int_equal(denials_write(out, DENIALS_BATCH, LK_BUF_OF(room), &body), LK_OK);
    assert_int_equal(denials_write(out, DENIALS_BATCH, (struct lk_buf){room, body.len - 1}, &body),
                     LK_ERR_NO_SPACE);
}

/* --- the budget of signatures -------------------------------------------------------------- */

static int
spend_all(struct budget *b, bool suspect, int64_t now_ms, int most)
{
    int n = 0;

    for (; n < most && budget_allows(b, suspect, now_ms); n++)
        budget_spend(b);
    return n;
}

static void
a_turn_has_so_many_and_suspects_half_of_them(void **state)
{
    struct budget b;

    (void)state;
    budget_open(&b, 1000);
    assert_int_equal(spend_all(&b, true, 1000, 1000), TURN_FORGED / 2);
    assert_int_equal(spend_all(&b, false, 1000, 1000), TURN_FORGED / 2);
    assert_false(budget_allows(&b, false, 1000));
    budget_turn(&b, 1001);
    assert_true(budget_allows(&b, true, 1001));
    assert_int_equal(spend_all(&b, false, 1001, 1000), TURN_FORGED);
}

static void
a_second_has_so_many_however_often_the_loop_turns(void **state)
{
    struct budget b;
    int n = 0;

    (void)state;
    budget_open(&b, 0);
    for (int64_t t = 1; t <= 10000; t++) {
        budget_turn(&b, t);
        n += spend_all(&b, false, t, 1000);
    }
    assert_in_range(n, 10 * FORGED_PER_S, 11 * FORGED_PER_S);
}

static void
suspects_leave_the_other_half(void **state)
{
    struct budget b;
    int n = 0;

    (void)state;
    budget_open(&b, 0);
    for (int64_t t = 1; t <= 1000; t++) {
        budget_turn(&b, t);
        n += spend_all(&b, true, t, 1000);
        if (!budget_allows(&b, false, t))
            fail_msg("an address in good standing was refused at %d ms", (int)t);
    }
    assert_in_range(n, FORGED_PER_S, 3 * FORGED_PER_S / 2 + 1);
}

static void
right_tokens_cost_nothing(void **state)
{
    struct budget b;

    (void)state;
    budget_open(&b, 0);
    for (int i = 0; i < 100000; i++)
        assert_true(budget_allows(&b, true, 0));
}

static void
without_ticks_time_ends_a_turn(void **state)
{
    struct budget b;

    (void)state;
    budget_open(&b, 0);
    assert_int_equal(spend_all(&b, false, 0, 1000), TURN_FORGED);
    assert_int_equal(spend_all(&b, false, TURN_LONGEST_MS - 1, 1000), 0);
    assert_int_equal(spend_all(&b, false, TURN_LONGEST_MS, 1000), TURN_FORGED);
}

/* --- the rate of an address ---------------------------------------------------------------- */

static void
a_flood_does_not_begin_anew_every_second(void **state)
{
    static struct failures f;
    int64_t t;

    (void)state;
    for (t = 0; t < 5000; t += 10) {
        (void)failures_add(&f, "10.0.0.1", 10, t);
        assert_int_equal(failures_are_a_flood(&f, "10.0.0.1", 10, t), t >= 100);
        assert_false(failures_are_a_flood(&f, "10.0.0.2", 10, t));
    }
    /* It was quiet, and is forgiven; so is one who fails now and then. */
    assert_true(failures_are_a_flood(&f, "10.0.0.1", 10, 4000 + 1999));
    assert_false(failures_are_a_flood(&f, "10.0.0.1", 10, 4000 + 2000));
    for (t = 10000; t < 30000; t += 900) {
        (void)failures_add(&f, "10.0.0.1", 10, t);
        assert_false(failures_are_a_flood(&f, "10.0.0.1", 10, t));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_same_again_is_counted, clear),
        cmocka_unit_test_setup(whatever_differs_is_another_one, clear),
        cmocka_unit_test_setup(those_that_waited_longest_go_first, clear),
        cmocka_unit_test_setup(the_ring_never_grows_and_says_what_it_lost, clear),
        cmocka_unit_test_setup(one_subject_pushes_out_its_own_only, clear),
        cmocka_unit_test_setup(strangers_push_out_strangers_only, clear),
        cmocka_unit_test_setup(a_strangers_subject_is_what_his_client_id_says, clear),
        cmocka_unit_test_setup(long_texts_are_cut_between_characters, clear),
        cmocka_unit_test_setup(without_somebody_to_fetch_them_none_are_kept, clear),
        cmocka_unit_test_setup(the_body_is_what_the_server_expects, clear),
        cmocka_unit_test_setup(the_largest_batch_fits, clear),
        cmocka_unit_test(a_turn_has_so_many_and_suspects_half_of_them),
        cmocka_unit_test(a_second_has_so_many_however_often_the_loop_turns),
        cmocka_unit_test(suspects_leave_the_other_half),
        cmocka_unit_test(right_tokens_cost_nothing),
        cmocka_unit_test(without_ticks_time_ends_a_turn),
        cmocka_unit_test(a_flood_does_not_begin_anew_every_second),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
