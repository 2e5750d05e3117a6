#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "presence.h"

#include "cmocka_all.h"
#include "compat.h"
#include "plugin_memory.h"

#define NOW_S INT64_C(1700000000)

static struct grants grants;
static struct sessions table;
static struct presence presence;

/* What reached the broker: "topic payload" lines, and how often. */
static char published[65536];
static int publish_count;
static int publish_rc;

int
mosquitto_broker_publish(const char *client_id, const char *topic, int payload_len, void *payload,
                         int qos, bool retain, mosquitto_property *properties)
{
    size_t len = strlen(published);

    assert_null(client_id);
    assert_null(properties);
    assert_int_equal(qos, 1);
    assert_true(retain);
    if (publish_rc != MOSQ_ERR_SUCCESS)
        return publish_rc;
    assert_int_equal(payload_len, strlen(payload));
    (void)snprintf(published + len, sizeof(published) - len, "%s %s\n", topic,
                   (const char *)payload);
    publish_count++;
    mosquitto_free(payload);
    return MOSQ_ERR_SUCCESS;
}

static int
open_all(void **state)
{
    (void)state;
    memset(&grants, 0, sizeof(grants));
    plugin_memory_fail = 0;
    publish_rc = MOSQ_ERR_SUCCESS;
    publish_count = 0;
    published[0] = '\0';
    presence_open(&presence, true, 0);
    return sessions_open(&table, &grants, 4096) == LK_OK ? 0 : -1;
}

static int
close_all(void **state)
{
    (void)state;
    presence_close(&presence, &table);
    sessions_close(&table);
    return plugin_memory_held == 0 ? 0 : -1;
}

static struct mosquitto *
client(uintptr_t n)
{
    return (struct mosquitto *)(n * 64);
}

static struct session *
enter(uintptr_t pointer, const char *id, const char *subject, const char *type, const char *tenant)
{
    uint8_t room[1024];
    const struct lk_identity identity = {.subject = lk_span_text(subject),
                                         .type = lk_span_text(type),
                                         .tenant = lk_span_text(tenant)};
    struct session_facts facts = {.id = lk_span_text(id),
                                  .subject = lk_span_text(subject),
                                  .client = pointer != 0 ? client(pointer) : NULL};
    struct session *s;

    assert_int_equal(lk_identity_write(&identity, LK_BUF_OF(room), &facts.identity), LK_OK);
    assert_int_equal(sessions_add(&table, &facts, 100, 0, &s), LK_OK);
    return s;
}

static struct session *
login(uintptr_t pointer, const char *id, const char *subject)
{
    struct session *s = enter(pointer, id, subject, "sensor", NULL);

    presence_connected(&presence, s);
    return s;
}

static void
leave(struct session *s, enum lk_err cause)
{
    sessions_set_offline(&table, s, 0);
    presence_gone(&presence, s, cause);
}

static void
turn(int64_t now_ms, const char *expected)
{
    published[0] = '\0';
    while (presence_turn(&presence, &table, now_ms, NOW_S + now_ms / 1000))
        continue;
    assert_string_equal(published, expected);
}

static void
coming_and_going_is_told_once(void **state)
{
    struct session *s = login(1, "a", "a");

    (void)state;
    turn(1000, "devices/a/presence {\"online\":true,\"since\":1700000001,\"via\":\"mqtt\"}\n");
    turn(2000, "");
    leave(s, LK_OK);
    turn(3000, "devices/a/presence {\"online\":false,\"since\":1700000003,\"via\":\"mqtt\"}\n");
    turn(4000, "");
}

static void
whom_we_ended_has_a_reason(void **state)
{
    struct session *s = login(1, "a", "a");

    (void)state;
    turn(1000, "devices/a/presence {\"online\":true,\"since\":1700000001,\"via\":\"mqtt\"}\n");
    leave(s, LK_ERR_EXPIRED);
    turn(2000, "devices/a/presence {\"online\":false,\"since\":1700000002,\"reason\":\"EXPIRED\","
               "\"via\":\"mqtt\"}\n");
}

static void
a_tenants_device_is_told_under_its_tenant(void **state)
{
    (void)state;
    presence_connected(&presence, enter(1, "acme~s1", "acme~s1", "sensor", "acme"));
    turn(0, "t/acme/devices/acme~s1/presence "
            "{\"online\":true,\"since\":1700000000,\"via\":\"mqtt\"}\n");
}

static void
only_devices(void **state)
{
    struct session *s = enter(1, "monitor-1", "monitor-1", NULL, NULL);

    (void)state;
    presence_connected(&presence, s);
    leave(s, LK_OK);
    turn(0, "");
}

static void
a_take_over_does_not_flap(void **state)
{
    struct session *old = login(1, "a", "a");

    (void)state;
    turn(0, "devices/a/presence {\"online\":true,\"since\":1700000000,\"via\":\"mqtt\"}\n");
    login(2, "a", "a");
    turn(1, ""); /* the loop may turn in between */
    leave(old, LK_OK);
    turn(2, "");
    assert_int_equal(publish_count, 1);
}

static void
back_within_a_turn_does_not_flap(void **state)
{
    struct session *s = login(1, "a", "a");

    (void)state;
    turn(0, "devices/a/presence {\"online\":true,\"since\":1700000000,\"via\":\"mqtt\"}\n");
    leave(s, LK_OK);
    login(2, "a", "a");
    turn(1, "");
}

static void
the_last_connection_counts(void **state)
{
    struct session *one = login(1, "a:1", "a"), *two = login(2, "a:2", "a");

    (void)state;
    turn(0, "devices/a/presence {\"online\":true,\"since\":1700000000,\"via\":\"mqtt\"}\n");
    leave(one, LK_OK);
    turn(1, "");
    leave(two, LK_OK);
    turn(1000, "devices/a/presence {\"online\":false,\"since\":1700000001,\"via\":\"mqtt\"}\n");
}

/* The session may be forgotten before the tick: a replaced one, or where room was needed. */
static void
a_forgotten_session_is_told_all_the_same(void **state)
{
    struct session *s = login(1, "a", "a");

    (void)state;
    turn(0, "devices/a/presence {\"online\":true,\"since\":1700000000,\"via\":\"mqtt\"}\n");
    leave(s, LK_OK);
    assert_int_equal(sessions_reap(&table, 10, 0, 0, 10), 1);
    login(2, "a", "a");
    turn(1000, "devices/a/presence {\"online\":false,\"since\":1700000001,\"via\":\"mqtt\"}\n"
               "devices/a/presence {\"online\":true,\"since\":1700000001,\"via\":\"mqtt\"}\n");
}

static void
many_are_told_in_slices(void **state)
{
    char name[16];

    (void)state;
    for (int i = 1; i <= 3 * TURN_PRESENCE; i++) {
        (void)snprintf(name, sizeof(name), "d%d", i);
        login((uintptr_t)i, name, name);
    }
    for (int n = 1; n <= 3; n++) {
        assert_int_equal(presence_turn(&presence, &table, 0, NOW_S), n < 3);
        assert_int_equal(publish_count, n * TURN_PRESENCE);
    }
}

static void
without_memory_it_is_told_later(void **state)
{
    (void)state;
    login(1, "a", "a");
    plugin_memory_fail = 1;
    turn(0, "");
    publish_rc = MOSQ_ERR_NOMEM;
    turn(0, "");
    publish_rc = MOSQ_ERR_SUCCESS;
    turn(0, "devices/a/presence {\"online\":true,\"since\":1700000000,\"via\":\"mqtt\"}\n");
}

static void
who_does_not_return_after_a_restart_is_offline(void **state)
{
    struct session *gone = enter(0, "gone", "gone", "sensor", NULL);
    struct session *person = enter(0, "person", "person", NULL, NULL);
    struct session *vague = enter(0, "vague", "vague", "sensor", NULL);

    (void)state;
    gone->since_ms = -60000;
    person->since_ms = -60000;
    vague->since_ms = -60000;
    vague->delivery_only = true; /* from a file that proves nothing */
    enter(0, "back", "back", "sensor", NULL)->since_ms = -60000;
    login(1, "back", "back");
    assert_int_equal(presence_due_ms(&presence), PRESENCE_RETURN_MS);
    turn(PRESENCE_RETURN_MS - 1,
         "devices/back/presence {\"online\":true,\"since\":1700000019,\"via\":\"mqtt\"}\n");
    turn(PRESENCE_RETURN_MS,
         "devices/gone/presence {\"online\":false,\"since\":1699999940,\"via\":\"mqtt\"}\n");
    assert_int_equal(presence_due_ms(&presence), INT64_MAX);
    turn(2 * PRESENCE_RETURN_MS, "");
}

static void
off_means_off(void **state)
{
    (void)state;
    presence_open(&presence, false, 0);
    leave(login(1, "a", "a"), LK_OK);
    assert_int_equal(presence_due_ms(&presence), INT64_MAX);
    turn(2 * PRESENCE_RETURN_MS, "");
    assert_int_equal(publish_count, 0);
}

/* Coming and going at random, with memory that fails now and then: at the end, when everything has
 * been told, what was told last is how it is. */
static void
in_the_end_it_is_right(void **state)
{
    struct session *now[8] = {NULL};
    char line[128], name[8];

    (void)state;
    srand(7);
    for (int step = 0; step < 20000; step++) {
        unsigned i = (unsigned)rand() % 8;

        (void)snprintf(name, sizeof(name), "d%u", i);
        if (now[i] == NULL)
            now[i] = login((uintptr_t)step + 1, name, name);
        else {
            leave(now[i], LK_OK);
            now[i] = NULL;
        }
        if (rand() % 8 == 0)
            (void)sessions_reap(&table, 10, 0, 0, 3);
        published[0] = '\0';
        if (rand() % 16 == 0)
            plugin_memory_fail = 1 + rand() % 3;
        if (rand() % 3 == 0)
            (void)presence_turn(&presence, &table, 0, NOW_S);
        plugin_memory_fail = 0;
        if (rand() % 64 != 0)
            continue;
        publish_count = 0;
        for (unsigned k = 0; k < 8; k++) {
            (void)snprintf(name, sizeof(name), "d%u", k);
            if (now[k] != NULL) {
                leave(now[k], LK_OK);
                now[k] = login((uintptr_t)(step + 100000 * ((int)k + 1)), name, name);
            }
        }
        while (presence_turn(&presence, &table, 0, NOW_S))
            continue;
        for (unsigned k = 0; k < 8; k++) {
            (void)snprintf(line, sizeof(line), "d%u", k);
            if (now[k] != NULL)
                assert_int_equal(now[k]->subject->presence->shown, PRESENCE_ONLINE);
            else if (sessions_subject(&table, lk_span_text(line)) != NULL)
                assert_null(sessions_subject(&table, lk_span_text(line))->presence);
        }
    }
}

int
main(void)
{
#define ROW(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)
    const struct CMUnitTest tests[] = {
        ROW(coming_and_going_is_told_once),
        ROW(whom_we_ended_has_a_reason),
        ROW(a_tenants_device_is_told_under_its_tenant),
        ROW(only_devices),
        ROW(a_take_over_does_not_flap),
        ROW(back_within_a_turn_does_not_flap),
        ROW(the_last_connection_counts),
        ROW(a_forgotten_session_is_told_all_the_same),
        ROW(many_are_told_in_slices),
        ROW(without_memory_it_is_told_later),
        ROW(who_does_not_return_after_a_restart_is_offline),
        ROW(off_means_off),
        ROW(in_the_end_it_is_right),
    };
#undef ROW

    return cmocka_run_group_tests(tests, NULL, NULL);
}
