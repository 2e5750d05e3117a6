#include <string.h>

#include "outbox.h"

#include "cmocka_all.h"
#include "guard.h"

static struct lk_mqtt_publish
message(const char *payload)
{
    return (struct lk_mqtt_publish){
        .topic = LK_SPAN("t"), .payload = lk_span_text(payload), .qos = 1};
}

/* 7 bytes of head, then 32 LEN 0001 74 ID ID 00 PAYLOAD */
enum { ENTRY_LEN = 7 + 8 + 1 };

static void
keeps_order_and_takes_what_was_sent(void **state)
{
    struct guard guard = guard_open(3 * ENTRY_LEN);
    struct lk_outbox box = {.room = {guard_room(&guard, 3 * ENTRY_LEN), 3 * ENTRY_LEN}};
    struct lk_mqtt_publish a = message("a"), b = message("b"), c = message("c"), d = message("d");
    struct outbox_entry entry;
    size_t at = 0;

    (void)state;
    assert_err("a", outbox_put(&box, 5, &a), LK_OK);
    assert_err("b", outbox_put(&box, 5, &b), LK_OK);
    assert_err("c", outbox_put(&box, 5, &c), LK_OK);
    assert_err("full", outbox_put(&box, 5, &d), LK_ERR_BUSY);
    assert_int_equal(outbox_count(&box), 3);

    assert_false(outbox_take(&box, b.packet_id)); /* never sent: nobody can acknowledge it */
    while (outbox_next(&box, &at, &entry))
        outbox_mark_sent(&box, &entry);
    assert_int_equal(outbox_count_sent(&box), 3);
    assert_true(outbox_take(&box, b.packet_id));
    assert_false(outbox_take(&box, b.packet_id));
    assert_err("d", outbox_put(&box, 5, &d), LK_OK);
    at = 0;
    assert_true(outbox_next(&box, &at, &entry) && entry.packet_id == a.packet_id && entry.sent);
    assert_true(outbox_next(&box, &at, &entry) && entry.packet_id == c.packet_id && entry.sent);
    assert_true(outbox_next(&box, &at, &entry) && entry.packet_id == d.packet_id && !entry.sent);
    assert_false(outbox_next(&box, &at, &entry));
    guard_close(&guard);
}

static void
marks_dup_only_in_a_session_that_lives(void **state)
{
    uint8_t room[256];
    struct lk_outbox box = {.room = LK_BUF_OF(room)};
    struct lk_mqtt_publish a = message("a"), b = message("b");
    struct outbox_entry entry;
    size_t at = 0;

    (void)state;
    assert_err("a", outbox_put(&box, 5, &a), LK_OK);
    assert_err("b", outbox_put(&box, 5, &b), LK_OK);
    assert_true(outbox_next(&box, &at, &entry));
    outbox_mark_sent(&box, &entry);

    outbox_rewind(&box, true);
    at = 0;
    assert_true(outbox_next(&box, &at, &entry));
    assert_int_equal(entry.packet.ptr[0], 0x3a);
    assert_false(entry.sent);
    assert_true(outbox_next(&box, &at, &entry));
    assert_int_equal(entry.packet.ptr[0], 0x32); /* was never sent */

    /* Twice in a row without an answer: still DUP. */
    outbox_rewind(&box, true);
    at = 0;
    assert_true(outbox_next(&box, &at, &entry));
    assert_int_equal(entry.packet.ptr[0], 0x3a);

    outbox_rewind(&box, false);
    outbox_rewind(&box, true);
    at = 0;
    assert_true(outbox_next(&box, &at, &entry));
    assert_int_equal(entry.packet.ptr[0], 0x32); /* the broker has forgotten it */
}

static void
says_busy_or_never(void **state)
{
    uint8_t room[64];
    struct lk_outbox box = {.room = LK_BUF_OF(room)}, none = {.room = {NULL, 0}};
    struct lk_mqtt_publish small = message("a"), wild = message("a");
    struct lk_mqtt_publish large =
        message("0123456789012345678901234567890123456789012345678901234567890123456789");

    (void)state;
    wild.topic = LK_SPAN("#");
    assert_err("too large, empty", outbox_put(&box, 5, &large), LK_ERR_LIMIT);
    assert_err("not valid", outbox_put(&box, 5, &wild), LK_ERR_ARG);
    assert_int_equal(outbox_count(&box), 0);
    assert_err("small", outbox_put(&box, 5, &small), LK_OK);
    assert_err("too large, not empty", outbox_put(&box, 5, &large), LK_ERR_BUSY);
    assert_err("no outbox", outbox_put(&none, 5, &small), LK_ERR_LIMIT);
}

static void
ids_go_round_and_skip_those_in_use(void **state)
{
    uint8_t room[256];
    struct lk_outbox box = {.room = LK_BUF_OF(room)};
    struct lk_mqtt_publish first = message("a"), m;
    struct outbox_entry entry;
    unsigned i;

    (void)state;
    assert_err("first", outbox_put(&box, 5, &first), LK_OK);
    for (i = 0; i < 0x20000; i++) {
        size_t at = 0;

        m = message("b");
        assert_err("next", outbox_put(&box, 5, &m), LK_OK);
        assert_true(m.packet_id != 0 && m.packet_id <= OUTBOX_ID_MAX);
        assert_int_not_equal(m.packet_id, first.packet_id);
        assert_true(outbox_next(&box, &at, &entry) && outbox_next(&box, &at, &entry));
        outbox_mark_sent(&box, &entry);
        assert_true(outbox_take(&box, m.packet_id));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_and_takes_what_was_sent),
        cmocka_unit_test(marks_dup_only_in_a_session_that_lives),
        cmocka_unit_test(says_busy_or_never),
        cmocka_unit_test(ids_go_round_and_skip_those_in_use),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
