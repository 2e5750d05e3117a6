/* What messages do to a real store: the states of a command, telemetry, last-seen, batches. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "desk/inside.h"

#define NOW_S  1700000000
#define NOW_MS (NOW_S * INT64_C(1000))

/* --- a store with two devices ----------------------------------------------------------------- */

struct world {
    char dir[64], path[96];
    struct store *store;
    struct store_db *db;
    struct intake *intake;
    struct outbox outbox;
    char last_finished[COMMAND_ID_LEN + 1];
    unsigned finished;
};

static enum lk_err
put_device(struct store_db *db, void *arg)
{
    struct store_device device = {.state = STORE_ACTIVE, .generation = 1, .registered_s = NOW_S};

    snprintf(device.id, sizeof(device.id), "%s", (const char *)arg);
    snprintf(device.type, sizeof(device.type), "actuator");
    snprintf(device.tags, sizeof(device.tags), "[]");
    return store_device_put(db, &device, LK_SPAN("sealed"));
}

static int
world_open(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    char one[] = "valve-1", two[] = "valve-2";

    assert_non_null(w);
    snprintf(w->dir, sizeof(w->dir), "desk-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof(w->path), "%s/store.db", w->dir);
    assert_int_equal(store_open(w->path, true, &w->store), LK_OK);
    assert_int_equal(store_reader_open(w->store, &w->db), LK_OK);
    assert_int_equal(store_write_wait(w->store, put_device, one), LK_OK);
    assert_int_equal(store_write_wait(w->store, put_device, two), LK_OK);
    w->intake = calloc(1, sizeof(*w->intake));
    assert_non_null(w->intake);
    *state = w;
    return 0;
}

static int
world_close(void **state)
{
    static const char *const tails[] = {"", "-wal", "-shm", ".lock"};
    struct world *w = *state;
    char path[128];

    intake_wipe(w->intake);
    free(w->intake);
    store_reader_close(w->db);
    store_close(w->store);
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", w->path, tails[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(w->dir), 0);
    free(w);
    return 0;
}

/* --- doing things ----------------------------------------------------------------------------- */

static enum lk_err
put_command(struct store_db *db, void *arg)
{
    return store_command_put(db, arg, COMMANDS_PENDING_MAX);
}

static void
send(struct world *w, const char *device, int64_t expires_s, struct store_command *command)
{
    *command = (struct store_command){.state = STORE_COMMAND_PENDING,
                                      .issued_s = NOW_S,
                                      .expires_s = expires_s,
                                      .args = LK_SPAN("{\"percent\":40}")};
    assert_int_equal(store_command_new_id(command->id), LK_OK);
    snprintf(command->device, sizeof(command->device), "%s", device);
    snprintf(command->name, sizeof(command->name), "open");
    snprintf(command->sent_by, sizeof(command->sent_by), "manager");
    assert_int_equal(store_write_wait(w->store, put_command, command), LK_OK);
}

static void
on_finished(const char *command, void *arg)
{
    struct world *w = arg;

    snprintf(w->last_finished, sizeof(w->last_finished), "%s", command);
    w->finished++;
}

static void
take(struct world *w, const char *topic, const char *payload)
{
    intake_put(w->intake, lk_span_text(topic), lk_span_text(payload), false, NOW_MS, 0);
}

static void
commit(struct world *w)
{
    assert_int_equal(intake_commit(w->intake, w->store, 0, on_finished, w), LK_OK);
    assert_int_equal(w->intake->count, 0);
    assert_int_equal(w->intake->bytes, 0);
}

static void
take_result(struct world *w, const char *device, const char *id, const char *payload)
{
    char topic[160];

    snprintf(topic, sizeof(topic), "devices/%s/commands/%s/result", device, id);
    take(w, topic, payload);
}

static void
load(struct world *w, const char *id, struct store_command *command)
{
    static uint8_t room[COMMAND_ARGS_MAX + COMMAND_DETAIL_MAX];
    char wanted[COMMAND_ID_LEN + 1]; /* `id` may stand in the struct that is filled */

    snprintf(wanted, sizeof(wanted), "%s", id);
    assert_int_equal(store_command_get(w->db, lk_span_text(wanted), LK_BUF_OF(room), command),
                     LK_OK);
}

/* --- the states ------------------------------------------------------------------------------- */

#define R "{\"state\":\"received\"}"
#define D "{\"state\":\"done\",\"detail\":\"40 %\"}"
#define F "{\"state\":\"failed\",\"detail\":{\"why\":\"stuck\"}}"

static const struct {
    const char *name;
    const char *results[4];
    enum store_command_state state;
    const char *detail; /* NULL: none */
    unsigned finished;
} walks[] = {
    {"nothing came", {NULL}, STORE_COMMAND_PENDING, NULL, 0},
    {"received", {R}, STORE_COMMAND_DELIVERED, NULL, 0},
    {"received twice", {R, R}, STORE_COMMAND_DELIVERED, NULL, 0},
    {"received, done", {R, D}, STORE_COMMAND_DONE, "\"40 %\"", 1},
    {"received, failed", {R, F}, STORE_COMMAND_FAILED, "{\"why\":\"stuck\"}", 1},
    {"done at once", {D}, STORE_COMMAND_DONE, "\"40 %\"", 1},
    {"failed at once", {F}, STORE_COMMAND_FAILED, "{\"why\":\"stuck\"}", 1},
    {"done, then failed", {D, F}, STORE_COMMAND_DONE, "\"40 %\"", 1},
    {"failed, then done", {F, D}, STORE_COMMAND_FAILED, "{\"why\":\"stuck\"}", 1},
    {"done, then received", {D, R}, STORE_COMMAND_DONE, "\"40 %\"", 1},
    {"done twice", {D, D}, STORE_COMMAND_DONE, "\"40 %\"", 1},
    {"no state", {"{}"}, STORE_COMMAND_PENDING, NULL, 0},
    {"a state of ours", {"{\"state\":\"expired\"}"}, STORE_COMMAND_PENDING, NULL, 0},
    {"not an object", {"\"done\""}, STORE_COMMAND_PENDING, NULL, 0},
};

static void
walk(struct world *w, size_t row, bool in_one_commit)
{
    struct store_command command;

    w->finished = 0;
    send(w, "valve-1", NOW_S + 300, &command);
    for (size_t i = 0; i < 4 && walks[row].results[i] != NULL; i++) {
        take_result(w, "valve-1", command.id, walks[row].results[i]);
        if (!in_one_commit)
            commit(w);
    }
    commit(w);
    load(w, command.id, &command);
    if (command.state != walks[row].state || w->finished != walks[row].finished)
        fail_msg("%s: state %d, finished %u", walks[row].name, command.state, w->finished);
    assert_int_equal(command.finished_s != 0, walks[row].finished != 0);
    if (walks[row].detail == NULL)
        assert_null(command.detail.ptr);
    else
        assert_true(lk_span_is(command.detail, walks[row].detail));
    if (walks[row].finished != 0)
        assert_string_equal(w->last_finished, command.id);
}

static void
states_follow_results(void **state)
{
    for (size_t i = 0; i < sizeof(walks) / sizeof(walks[0]); i++) {
        walk(*state, i, false);
        walk(*state, i, true);
    }
}

static void
results_count_only_from_the_commands_own_device(void **state)
{
    struct world *w = *state;
    struct store_command command;
    uint64_t unknown = w->intake->unknown.count;

    send(w, "valve-1", NOW_S + 300, &command);
    take_result(w, "valve-2", command.id, D);
    commit(w);
    assert_int_equal(w->intake->unknown.count, unknown + 1);
    load(w, command.id, &command);
    assert_int_equal(command.state, STORE_COMMAND_PENDING);
}

struct expiry_note {
    int64_t now_s;
    unsigned told;
};

static void
on_expired(const struct store_command *command, void *arg)
{
    (void)command;
    ((struct expiry_note *)arg)->told++;
}

static enum lk_err
expire_write(struct store_db *db, void *arg)
{
    struct expiry_note *note = arg;

    return store_command_expire(db, note->now_s, DESK_EXPIRE_MAX, on_expired, note);
}

static void
what_expired_stays_expired(void **state)
{
    struct world *w = *state;
    struct store_command open, delivered, late;
    struct expiry_note note = {.now_s = NOW_S + 10};

    send(w, "valve-2", NOW_S + 10, &open);
    send(w, "valve-2", NOW_S + 10, &delivered);
    send(w, "valve-2", NOW_S + 11, &late);
    take_result(w, "valve-2", delivered.id, R);
    commit(w);
    assert_int_equal(store_write_wait(w->store, expire_write, &note), LK_OK);
    assert_int_equal(note.told, 2);
    take_result(w, "valve-2", open.id, D);
    commit(w);
    assert_int_equal(w->intake->late.count, 1);
    load(w, open.id, &open);
    load(w, delivered.id, &delivered);
    load(w, late.id, &late);
    assert_int_equal(open.state, STORE_COMMAND_EXPIRED);
    assert_int_equal(delivered.state, STORE_COMMAND_EXPIRED);
    assert_int_equal(late.state, STORE_COMMAND_PENDING);
}

/* --- telemetry, last-seen, presence ----------------------------------------------------------- */

static void
telemetry_is_the_latest_and_vitals_the_last_known(void **state)
{
    static uint8_t room[TELEMETRY_MAX];
    struct world *w = *state;
    struct store_telemetry telemetry;
    struct store_device device;

    take(w, "devices/valve-1/telemetry", "{\"t\":1,\"battery\":80.6,\"rssi\":-61}");
    take(w, "devices/valve-1/telemetry/inner", "{\"t\":2,\"rssi\":-62}");
    assert_int_equal(w->intake->count, 1);
    commit(w);
    take(w, "devices/valve-1/telemetry", "{\"t\":3,\"battery\":\"full\"}");
    commit(w);
    assert_int_equal(store_telemetry_get(w->db, LK_SPAN("valve-1"), LK_BUF_OF(room), &telemetry),
                     LK_OK);
    assert_true(lk_span_is(telemetry.payload, "{\"t\":3,\"battery\":\"full\"}"));
    assert_int_equal(telemetry.battery, 81);
    assert_int_equal(telemetry.rssi, -62);
    assert_int_equal(telemetry.received_ms, NOW_MS);
    assert_int_equal(store_device_get(w->db, LK_SPAN("valve-1"), &device), LK_OK);
    assert_int_equal(device.last_seen_s, NOW_S);
}

static void
strangers_and_nonsense_are_counted(void **state)
{
    struct world *w = *state;
    uint64_t malformed = w->intake->malformed.count, unknown = w->intake->unknown.count;

    take(w, "devices/nobody/telemetry", "{\"t\":1}");
    take(w, "devices/nobody/status", "{}");
    take(w, "devices/nobody/presence", "{\"online\":true}");
    commit(w);
    assert_int_equal(w->intake->unknown.count, unknown + 3);
    take(w, "devices/valve-1/telemetry", "[1]");
    take(w, "devices/valve-1/telemetry", "");
    take(w, "devices/valve-1/presence", "{\"online\":1}");
    take(w, "somewhere/else", "{}");
    assert_int_equal(w->intake->count, 0);
    assert_int_equal(w->intake->malformed.count, malformed + 4);
}

static void
retained_messages_prove_nothing_but_presence(void **state)
{
    struct world *w = *state;
    struct store_device device;

    intake_put(w->intake, LK_SPAN("devices/valve-2/telemetry"), LK_SPAN("{}"), true, NOW_MS, 0);
    intake_put(w->intake, LK_SPAN("devices/valve-2/status"), LK_SPAN("{}"), true, NOW_MS, 0);
    intake_put(w->intake, LK_SPAN("devices/valve-2/presence"), LK_SPAN(""), true, NOW_MS, 0);
    assert_int_equal(w->intake->count, 0);
    intake_put(w->intake, LK_SPAN("devices/valve-2/presence"),
               LK_SPAN("{\"online\":true,\"since\":1600000000}"), true, NOW_MS, 0);
    commit(w);
    assert_int_equal(store_device_get(w->db, LK_SPAN("valve-2"), &device), LK_OK);
    assert_true(device.online);
    assert_int_equal(device.online_since_s, 1600000000);
    assert_true(device.last_seen_s < NOW_S);
}

/* --- batches ---------------------------------------------------------------------------------- */

static void
batches_are_bounded(void **state)
{
    static char payload[TELEMETRY_MAX + 1];
    struct world *w = *state;
    char topic[64];

    for (int i = 0; !intake_is_full(w->intake); i++) {
        snprintf(topic, sizeof(topic), "devices/d%d/telemetry", i);
        take(w, topic, "{}");
    }
    assert_int_equal(w->intake->count, DESK_BATCH_MAX);
    commit(w);
    memset(payload, 'a', TELEMETRY_MAX);
    memcpy(payload, "{\"v\":\"", 6);
    memcpy(payload + TELEMETRY_MAX - 2, "\"}", 2);
    for (int i = 0; !intake_is_full(w->intake); i++) {
        snprintf(topic, sizeof(topic), "devices/d%d/telemetry", i);
        take(w, topic, payload);
    }
    assert_true(w->intake->bytes <= DESK_BATCH_BYTES_MAX);
    assert_true(w->intake->count < DESK_BATCH_MAX);
    intake_wipe(w->intake);
    assert_int_equal(w->intake->bytes, 0);
}

static void
batches_close_by_age(void **state)
{
    struct world *w = *state;

    assert_false(intake_is_due(w->intake, 0));
    intake_put(w->intake, LK_SPAN("devices/valve-1/status"), LK_SPAN("{}"), false, NOW_MS, 1000);
    assert_false(intake_is_due(w->intake, 1000 + DESK_BATCH_AGE_MS - 1));
    assert_true(intake_is_due(w->intake, 1000 + DESK_BATCH_AGE_MS));
    commit(w);
}

/* --- on the way out --------------------------------------------------------------------------- */

static void
count_one(const struct store_command *command, void *arg)
{
    (void)command;
    (*(unsigned *)arg)++;
}

static unsigned
due_at(struct world *w, int64_t now_s)
{
    unsigned count = 0;

    assert_int_equal(store_command_due(w->db, now_s, 1000, count_one, &count), LK_OK);
    return count;
}

static void
answer(struct world *w, const struct store_command *command, int reason, int64_t now_s)
{
    struct outbox_item *item = &w->outbox.item[w->outbox.count++];

    *item = (struct outbox_item){.mid = 7, .issued_s = command->issued_s};
    memcpy(item->id, command->id, sizeof(item->id));
    outbox_on_sent(&w->outbox, 8, 0, now_s, 1);
    assert_false(outbox_has_answers(&w->outbox));
    outbox_on_sent(&w->outbox, 7, reason, now_s, 1);
    assert_true(outbox_is_due(&w->outbox, 1));
    outbox_commit(&w->outbox, w->store, 1);
    assert_true(outbox_is_idle(&w->outbox));
}

static enum lk_err
undefer_device(struct store_db *db, void *arg)
{
    (void)arg;
    return store_command_undefer(db, LK_SPAN("valve-1"), false);
}

static enum lk_err
undefer_all(struct store_db *db, void *arg)
{
    (void)arg;
    return store_command_undefer(db, (struct lk_span){NULL, 0}, true);
}

static void
commands_are_published_until_the_broker_has_them(void **state)
{
    struct world *w = *state;
    struct store_command held, alone;

    send(w, "valve-1", NOW_S + 300, &held);
    send(w, "valve-1", NOW_S + 300, &alone);
    assert_int_equal(due_at(w, NOW_S), 2);
    assert_int_equal(due_at(w, NOW_S + 300), 0);
    answer(w, &held, 0, NOW_S);
    answer(w, &alone, MQTT_REASON_NO_SUBSCRIBERS, NOW_S);
    assert_int_equal(due_at(w, NOW_S + DESK_RETRY_MIN_S - 1), 0);
    assert_int_equal(due_at(w, NOW_S + DESK_RETRY_MIN_S), 1);
    /* The device shows up: what nobody listened for is due at once, what the broker has is not. */
    assert_int_equal(store_write_wait(w->store, undefer_device, NULL), LK_OK);
    assert_int_equal(due_at(w, NOW_S), 1);
    /* The broker comes back without its sessions: all of it. */
    assert_int_equal(store_write_wait(w->store, undefer_all, NULL), LK_OK);
    assert_int_equal(due_at(w, NOW_S), 2);
    take_result(w, "valve-1", held.id, R);
    take_result(w, "valve-1", alone.id, D);
    commit(w);
    assert_int_equal(due_at(w, NOW_S), 0);
}

static void
retries_grow_rarer(void **state)
{
    (void)state;
    assert_int_equal(outbox_retry_s(NOW_S, NOW_S), NOW_S + DESK_RETRY_MIN_S);
    assert_int_equal(outbox_retry_s(NOW_S, NOW_S + 40), NOW_S + 60);
    assert_int_equal(outbox_retry_s(NOW_S, NOW_S + 86400), NOW_S + 86400 + DESK_RETRY_MAX_S);
    assert_int_equal(outbox_retry_s(NOW_S, NOW_S - 100), NOW_S - 100 + DESK_RETRY_MIN_S);
}

static void
a_command_becomes_its_message(void **state)
{
    const struct store_command command = {.id = "c1",
                                          .name = "open",
                                          .issued_s = 1,
                                          .expires_s = 301,
                                          .args = LK_SPAN("[1,\"a\\n\"]")};
    const struct store_command bare = {.id = "c2", .name = "stop", .issued_s = 2, .expires_s = 3};
    uint8_t room[256];
    struct lk_span json;

    (void)state;
    assert_int_equal(outbox_message(&command, LK_BUF_OF(room), &json), LK_OK);
    assert_true(lk_span_is(json, "{\"id\":\"c1\",\"name\":\"open\",\"args\":[1,\"a\\n\"],"
                                 "\"issued_at\":1,\"expires_at\":301}"));
    assert_int_equal(outbox_message(&bare, LK_BUF_OF(room), &json), LK_OK);
    assert_true(
        lk_span_is(json, "{\"id\":\"c2\",\"name\":\"stop\",\"issued_at\":2,\"expires_at\":3}"));
    assert_int_not_equal(outbox_message(&bare, (struct lk_buf){room, 20}, &json), LK_OK);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(states_follow_results),
        IN_A_WORLD(results_count_only_from_the_commands_own_device),
        IN_A_WORLD(what_expired_stays_expired),
        IN_A_WORLD(telemetry_is_the_latest_and_vitals_the_last_known),
        IN_A_WORLD(strangers_and_nonsense_are_counted),
        IN_A_WORLD(retained_messages_prove_nothing_but_presence),
        IN_A_WORLD(batches_are_bounded),
        IN_A_WORLD(batches_close_by_age),
        IN_A_WORLD(commands_are_published_until_the_broker_has_them),
        IN_A_WORLD(retries_grow_rarer),
        IN_A_WORLD(a_command_becomes_its_message),
    };

    return cmocka_run_group_tests_name("desk_commands", tests, NULL, NULL);
}
