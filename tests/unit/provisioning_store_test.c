/* The store: groups of writes, ids, lists, answers, cleaning, damage. */
#include "cmocka_all.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keys/ring.h"
#include "store/store.h"

struct world {
    char dir[64], path[96];
    struct store *store;
    struct store_db *db;
};

static int
world_open(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    snprintf(w->dir, sizeof(w->dir), "store-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof(w->path), "%s/store.db", w->dir);
    assert_int_equal(store_open(w->path, true, &w->store), LK_OK);
    assert_int_equal(store_reader_open(w->store, &w->db), LK_OK);
    *state = w;
    return 0;
}

static int
world_close(void **state)
{
    static const char *const tails[] = {"", "-wal", "-shm", ".lock"};
    struct world *w = *state;
    char path[128];

    store_reader_close(w->db);
    store_close(w->store);
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", w->path, tails[i]);
        unlink(path);
    }
    rmdir(w->dir);
    free(w);
    return 0;
}

/* --- Devices ------------------------------------------------------------------------------------
 */

static void
device_fill(struct store_device *d, const char *id, const char *type, const char *tags)
{
    memset(d, 0, sizeof(*d));
    snprintf(d->id, sizeof(d->id), "%s", id);
    snprintf(d->type, sizeof(d->type), "%s", type);
    snprintf(d->tags, sizeof(d->tags), "%s", tags);
    snprintf(d->name, sizeof(d->name), "Name of %s", id);
    d->state = STORE_ACTIVE;
    d->generation = 1;
    d->registered_s = 1700000000;
}

static enum lk_err
put_device(struct store_db *db, void *arg)
{
    return store_device_put(db, arg, LK_SPAN("sealed"));
}

static enum lk_err
device_add(struct world *w, const char *id, const char *type, const char *tags)
{
    struct store_device device;

    device_fill(&device, id, type, tags);
    return store_write_wait(w->store, put_device, &device);
}

static enum lk_err
put_client(struct store_db *db, void *arg)
{
    struct store_client client = {.role = "monitor", .state = STORE_ACTIVE, .generation = 1};

    snprintf(client.id, sizeof(client.id), "%s", (const char *)arg);
    return store_client_put(db, &client);
}

static void
ids_are_given_once(void **state)
{
    struct world *w = *state;
    char id[] = "pump-7", other[] = "tower";

    assert_int_equal(device_add(w, id, "sensor", "[]"), LK_OK);
    assert_int_equal(device_add(w, id, "sensor", "[]"), LK_ERR_EXISTS);
    assert_int_equal(store_write_wait(w->store, put_client, id), LK_ERR_EXISTS);
    assert_int_equal(store_write_wait(w->store, put_client, other), LK_OK);
    assert_int_equal(device_add(w, other, "sensor", "[]"), LK_ERR_EXISTS);
}

struct seen {
    char ids[400];
};

static void
see(const struct store_device *device, void *arg)
{
    struct seen *seen = arg;
    size_t len = strlen(seen->ids);

    snprintf(seen->ids + len, sizeof(seen->ids) - len, "%s ", device->id);
}

static void
lists_follow_the_filter(void **state)
{
    static const struct {
        const char *name;
        const char *type, *tag, *query, *after;
        enum store_state state;
        const char *ids;
        unsigned limit;
    } rows[] = {
        {"all", "", "", "", "", 0, "a b c d ", 10},
        {"a page", "", "", "", "", 0, "a b ", 2},
        {"the next page", "", "", "", "b", 0, "c d ", 2},
        {"type", "gateway", "", "", "", 0, "d ", 10},
        {"tag", "", "x", "", "", 0, "a c ", 10},
        {"tag and type", "actuator", "x", "", "", 0, "c ", 10},
        {"tag and place", "", "x", "", "a", 0, "c ", 10},
        {"query in the id", "", "", "B", "", 0, "b ", 10},
        {"query in the name", "", "", "name OF c", "", 0, "c ", 10},
        {"a wildcard is a character", "", "", "%", "", 0, "", 10},
        {"state", "", "", "", "", STORE_SUSPENDED, "", 10},
        {"no such type", "none", "", "", "", 0, "", 10},
    };
    struct world *w = *state;

    assert_int_equal(device_add(w, "c", "actuator", "[\"x\"]"), LK_OK);
    assert_int_equal(device_add(w, "a", "sensor", "[\"x\",\"y\"]"), LK_OK);
    assert_int_equal(device_add(w, "d", "gateway", "[]"), LK_OK);
    assert_int_equal(device_add(w, "b", "sensor", "[\"y\"]"), LK_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct store_device_filter filter = {.type = lk_span_text(rows[i].type),
                                             .tag = lk_span_text(rows[i].tag),
                                             .query = lk_span_text(rows[i].query),
                                             .after = lk_span_text(rows[i].after),
                                             .state = rows[i].state,
                                             .limit = rows[i].limit};
        struct seen seen = {""};

        assert_err(rows[i].name, store_device_list(w->db, &filter, see, &seen), LK_OK);
        if (strcmp(seen.ids, rows[i].ids) != 0)
            fail_msg("%s: got %s", rows[i].name, seen.ids);
    }
}

static void
other_tenants_see_nothing(void **state)
{
    struct world *w = *state;
    struct store_device_filter filter = {.tenant = LK_SPAN("acme"), .limit = 10};
    struct seen seen = {""};
    uint64_t count;

    assert_int_equal(device_add(w, "a", "sensor", "[]"), LK_OK);
    assert_int_equal(store_device_list(w->db, &filter, see, &seen), LK_OK);
    assert_string_equal(seen.ids, "");
    assert_int_equal(store_device_count(w->db, &filter, &count), LK_OK);
    assert_int_equal(count, 0);
}

/* --- Groups
 * ------------------------------------------------------------------------------------------ */

static enum lk_err
put_then_fail(struct store_db *db, void *arg)
{
    enum lk_err err = store_device_put(db, arg, LK_SPAN("sealed"));

    return err == LK_OK ? LK_ERR_DENIED : err;
}

static void
failed_write_leaves_nothing(void **state)
{
    struct world *w = *state;
    struct store_device device;

    device_fill(&device, "a", "sensor", "[\"x\"]");
    assert_int_equal(store_write_wait(w->store, put_then_fail, &device), LK_ERR_DENIED);
    assert_int_equal(store_device_get(w->db, LK_SPAN("a"), &device), LK_ERR_NOT_FOUND);
    assert_int_equal(device_add(w, "a", "sensor", "[\"x\"]"), LK_OK); /* the id is free */
}

struct crowd {
    struct world *w;
    unsigned number;
};

static void *
crowd_main(void *arg)
{
    struct crowd *c = arg;

    for (unsigned i = 0; i < 200; i++) {
        struct store_device device;
        char id[32];
        bool fails = i % 5 == 4;

        snprintf(id, sizeof(id), "d-%u-%03u", c->number, i);
        device_fill(&device, id, "sensor", "[]");
        if (store_write_wait(c->w->store, fails ? put_then_fail : put_device, &device) !=
            (fails ? LK_ERR_DENIED : LK_OK))
            return arg;
    }
    return NULL;
}

static void
writes_of_a_group_fail_alone(void **state)
{
    struct world *w = *state;
    struct store_device_filter filter = {.limit = 1};
    struct crowd crowd[8];
    pthread_t thread[8];
    uint64_t count;
    void *failed;

    for (unsigned i = 0; i < 8; i++) {
        crowd[i] = (struct crowd){.w = w, .number = i};
        assert_int_equal(pthread_create(&thread[i], NULL, crowd_main, &crowd[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(thread[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(store_device_count(w->db, &filter, &count), LK_OK);
    assert_int_equal(count, 8 * 160);
}

/* --- Answers
 * ---------------------------------------------------------------------------------------------- */

struct answer {
    const char *caller, *key, *text;
    uint8_t body[32];
    int64_t until_s;
};

static enum lk_err
put_answer(struct store_db *db, void *arg)
{
    struct answer *a = arg;

    return store_answer_put(db, lk_span_text(a->caller), lk_span_text(a->key), a->body,
                            lk_span_text(a->text), a->until_s);
}

static void
answers_belong_to_caller_key_and_body(void **state)
{
    struct world *w = *state;
    struct answer a = {.caller = "admin", .key = "k", .text = "sealed", .until_s = 100};
    uint8_t other[32] = {1}, room[64];
    struct lk_span sealed, admin = LK_SPAN("admin"), k = LK_SPAN("k");

    assert_int_equal(store_write_wait(w->store, put_answer, &a), LK_OK);
    assert_int_equal(store_answer_get(w->db, admin, k, a.body, 99, LK_BUF_OF(room), &sealed),
                     LK_OK);
    assert_true(lk_span_is(sealed, "sealed"));
    assert_int_equal(store_answer_get(w->db, admin, k, other, 99, LK_BUF_OF(room), &sealed),
                     LK_ERR_STATE);
    assert_int_equal(
        store_answer_get(w->db, LK_SPAN("mgr"), k, a.body, 99, LK_BUF_OF(room), &sealed),
        LK_ERR_NOT_FOUND);
    assert_int_equal(
        store_answer_get(w->db, admin, LK_SPAN("l"), a.body, 99, LK_BUF_OF(room), &sealed),
        LK_ERR_NOT_FOUND);
    assert_int_equal(store_answer_get(w->db, admin, k, a.body, 100, LK_BUF_OF(room), &sealed),
                     LK_ERR_NOT_FOUND);
}

static enum lk_err
clean(struct store_db *db, void *arg)
{
    return store_clean(db, 1000, arg);
}

static void
old_answers_are_cleaned_in_batches(void **state)
{
    struct world *w = *state;
    struct answer a = {.caller = "admin", .text = "sealed", .until_s = 100};
    char key[16];
    bool more = false;

    for (unsigned i = 0; i <= STORE_CLEAN_BATCH; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        a.key = key;
        assert_int_equal(store_write_wait(w->store, put_answer, &a), LK_OK);
    }
    assert_int_equal(store_write_wait(w->store, clean, &more), LK_OK);
    assert_true(more);
    assert_int_equal(store_write_wait(w->store, clean, &more), LK_OK);
    assert_false(more);
}

/* --- The file
 * -------------------------------------------------------------------------------------------------
 */

static void
one_store_at_a_time(void **state)
{
    struct world *w = *state;
    struct store *second;

    assert_int_equal(store_open(w->path, false, &second), LK_ERR_BUSY);
    assert_null(second);
    assert_int_equal(store_open(w->path, true, &second), LK_ERR_EXISTS);
    assert_int_equal(store_open("store-test-not-there", false, &second), LK_ERR_NOT_FOUND);
    assert_int_equal(access("store-test-not-there.lock", F_OK), -1);
}

static void
what_is_no_database_is_refused(void **state)
{
    static const char junk[] = "this is not a database, and was never meant to be one; no, not it";
    char path[] = "store-test-XXXXXX", lock[40];
    struct store *store;
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(write(fd, junk, sizeof(junk)), sizeof(junk));
    close(fd);
    assert_int_equal(store_open(path, false, &store), LK_ERR_IO);
    snprintf(lock, sizeof(lock), "%s.lock", path);
    unlink(lock);
    unlink(path);
}

static void
keys_open_under_their_master_only(void **state)
{
    struct world *w = *state;
    uint8_t one[32] = {1}, two[32] = {2};
    struct seal *seal, *other;
    struct ring *ring;

    assert_int_equal(seal_new(one, &seal), LK_OK);
    assert_int_equal(seal_new(two, &other), LK_OK);
    assert_int_equal(ring_open(w->db, seal, &ring), LK_ERR_NOT_FOUND); /* none yet */
    assert_int_equal(ring_generate(w->store, seal, LK_ALG_ES256, 1700000000), LK_OK);
    assert_int_equal(ring_open(w->db, other, &ring), LK_ERR_SIGNATURE);
    assert_null(ring);
    assert_int_equal(ring_open(w->db, seal, &ring), LK_OK);
    assert_int_equal(ring_signer(ring, 1700000000)->kid_len, 11);
    ring_close(ring);
    seal_free(seal);
    seal_free(other);
}

int
main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
    const struct CMUnitTest tests[] = {
        WITH_STORE(ids_are_given_once),
        WITH_STORE(lists_follow_the_filter),
        WITH_STORE(other_tenants_see_nothing),
        WITH_STORE(failed_write_leaves_nothing),
        WITH_STORE(writes_of_a_group_fail_alone),
        WITH_STORE(answers_belong_to_caller_key_and_body),
        WITH_STORE(old_answers_are_cleaned_in_batches),
        WITH_STORE(one_store_at_a_time),
        cmocka_unit_test(what_is_no_database_is_refused),
        WITH_STORE(keys_open_under_their_master_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
