/* Refresh families: the rules as a table, the tokens byte by byte, and all of it on a real store.
 */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oauth/refresh.h"

#define NOW_MS  INT64_C(1700000000000)
#define LIFE_S  1000
#define GRACE_S 60

/* --- The rules ---------------------------------------------------------------------------------
 */

/* The specimen: the 4th token is the newest, and took the 3rd one's place 10 s ago. */
static const struct {
    const char *name;
    uint32_t shown;
    int64_t at_ms;     /* after NOW_MS */
    int64_t expires_s; /* after NOW_MS */
    int64_t revoked_s;
    enum refresh_verdict verdict;
    uint32_t newest; /* afterwards */
} rows[] = {
    {"the newest", 4, 0, 100, 0, REFRESH_ROTATED, 5},
    {"the one before", 3, 0, 100, 0, REFRESH_REPEATED, 4},
    {"the one before, last moment of the grace", 3, 50000, 100, 0, REFRESH_REPEATED, 4},
    {"the one before, grace over", 3, 50001, 100, 0, REFRESH_REUSED, 4},
    {"an older one", 2, 0, 100, 0, REFRESH_REUSED, 4},
    {"the first", 1, 0, 100, 0, REFRESH_REUSED, 4},
    {"one never given out", 5, 0, 100, 0, REFRESH_REUSED, 4},
    {"clock set back", 3, -3600000, 100, 0, REFRESH_REPEATED, 4},
    {"last second of its life", 4, 99999, 100, 0, REFRESH_ROTATED, 5},
    {"its life is over", 4, 100000, 100, 0, REFRESH_DEAD, 4},
    {"revoked before", 4, 0, 100, 1, REFRESH_DEAD, 4},
};

static void
family_follows_the_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct store_family family = {.counter = 4,
                                      .rotated_ms = NOW_MS - 10000,
                                      .expires_s = NOW_MS / 1000 + rows[i].expires_s,
                                      .revoked_s = rows[i].revoked_s};
        int64_t now_ms = NOW_MS + rows[i].at_ms;
        enum refresh_verdict verdict =
            refresh_judge(&family, rows[i].shown, now_ms, LIFE_S, GRACE_S);

        if (verdict != rows[i].verdict || family.counter != rows[i].newest)
            fail_msg("%s: got %d and %u", rows[i].name, verdict, family.counter);
        if (verdict == REFRESH_ROTATED) {
            assert_int_equal(family.rotated_ms, now_ms);
            assert_int_equal(family.expires_s, now_ms / 1000 + LIFE_S);
        }
        if (verdict == REFRESH_REUSED)
            assert_true(family.revoked_s != 0);
    }
}

static void
first_token_has_none_before_it(void **state)
{
    struct store_family family = {.counter = 1, .expires_s = NOW_MS / 1000 + 100};

    (void)state;
    assert_int_equal(refresh_judge(&family, 0, NOW_MS, LIFE_S, GRACE_S), REFRESH_REUSED);
}

/* --- The tokens ----------------------------------------------------------------------------------
 */

static struct seal *
seal_make(uint8_t fill)
{
    struct seal *seal;
    uint8_t master[32];

    memset(master, fill, sizeof(master));
    assert_int_equal(seal_new(master, &seal), LK_OK);
    return seal;
}

static void
token_opens_only_as_it_was_made(void **state)
{
    struct seal *seal = seal_make(1), *other = seal_make(2);
    struct refresh made = {.counter = 0x01020304}, read;
    uint8_t token[REFRESH_BYTES];

    (void)state;
    memset(made.family, 7, sizeof(made.family));
    assert_int_equal(refresh_write(seal, &made, token), LK_OK);
    assert_int_equal(refresh_parse(seal, lk_span_of(token, sizeof(token)), &read), LK_OK);
    assert_memory_equal(read.family, made.family, sizeof(read.family));
    assert_int_equal(read.counter, made.counter);
    assert_int_equal(refresh_parse(other, lk_span_of(token, sizeof(token)), &read),
                     LK_ERR_CREDENTIAL);
    for (size_t bit = 0; bit < sizeof(token) * 8; bit++) {
        token[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(refresh_parse(seal, lk_span_of(token, sizeof(token)), &read),
                         LK_ERR_CREDENTIAL);
        token[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < sizeof(token); len++)
        assert_int_equal(refresh_parse(seal, lk_span_of(token, len), &read), LK_ERR_CREDENTIAL);
    seal_free(seal);
    seal_free(other);
}

/* --- On a store
 * ------------------------------------------------------------------------------------- */

struct world {
    char dir[64], path[96];
    struct store *store;
    struct store_db *db;
};

static enum lk_err
put_device(struct store_db *db, void *arg)
{
    struct store_device device = {
        .id = "pump-7", .type = "sensor", .tags = "[]", .state = STORE_ACTIVE, .generation = 1};

    (void)arg;
    return store_device_put(db, &device, LK_SPAN("sealed"));
}

static enum lk_err
put_family(struct store_db *db, void *arg)
{
    struct store_family family = {.device = "pump-7",
                                  .scopes = "telemetry:send",
                                  .audience = 1,
                                  .generation = 1,
                                  .counter = 1,
                                  .created_s = NOW_MS / 1000,
                                  .expires_s = NOW_MS / 1000 + LIFE_S};

    memset(family.id, *(const uint8_t *)arg, sizeof(family.id));
    return store_family_put(db, &family, REFRESH_FAMILIES_MAX);
}

static enum lk_err
suspend(struct store_db *db, void *arg)
{
    return store_device_set_state(db, LK_SPAN("pump-7"), STORE_SUSPENDED, NOW_MS / 1000, arg);
}

static int
world_open(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    snprintf(w->dir, sizeof(w->dir), "refresh-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof(w->path), "%s/store.db", w->dir);
    assert_int_equal(store_open(w->path, true, &w->store), LK_OK);
    assert_int_equal(store_reader_open(w->store, &w->db), LK_OK);
    assert_int_equal(store_write_wait(w->store, put_device, NULL), LK_OK);
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

static enum lk_err
family_is_there(struct world *w, uint8_t fill)
{
    struct store_family family;
    uint8_t id[STORE_FAMILY_LEN];

    memset(id, fill, sizeof(id));
    return store_family_get(w->db, id, &family);
}

static void
fifth_family_drops_the_oldest(void **state)
{
    struct world *w = *state;

    for (uint8_t i = 1; i <= REFRESH_FAMILIES_MAX + 2; i++)
        assert_int_equal(store_write_wait(w->store, put_family, &i), LK_OK);
    assert_int_equal(family_is_there(w, 1), LK_ERR_NOT_FOUND);
    assert_int_equal(family_is_there(w, 2), LK_ERR_NOT_FOUND);
    for (uint8_t i = 3; i <= REFRESH_FAMILIES_MAX + 2; i++)
        assert_int_equal(family_is_there(w, i), LK_OK);
}

static void
suspending_ends_the_families(void **state)
{
    struct world *w = *state;
    struct store_device device;
    uint8_t one = 1;

    assert_int_equal(store_write_wait(w->store, put_family, &one), LK_OK);
    assert_int_equal(store_write_wait(w->store, suspend, &device), LK_OK);
    assert_int_equal(device.generation, 2);
    assert_int_equal(family_is_there(w, 1), LK_ERR_NOT_FOUND);
    assert_int_equal(store_write_wait(w->store, suspend, &device), LK_OK);
    assert_int_equal(device.generation, 2); /* said twice is done once */
}

static enum lk_err
use_token(struct store_db *db, void *arg)
{
    struct store_family family;
    uint8_t id[STORE_FAMILY_LEN];
    enum lk_err err;

    memset(id, 9, sizeof(id));
    err = store_family_get(db, id, &family);
    if (err != LK_OK)
        return err;
    *(enum refresh_verdict *)arg = refresh_judge(&family, 1, NOW_MS, LIFE_S, GRACE_S);
    return store_family_update(db, &family);
}

static void
lost_answer_gets_the_same_successor(void **state)
{
    static const enum refresh_verdict expected[] = {REFRESH_ROTATED, REFRESH_REPEATED};
    struct world *w = *state;
    enum refresh_verdict verdict;
    uint8_t nine = 9;

    assert_int_equal(store_write_wait(w->store, put_family, &nine), LK_OK);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(store_write_wait(w->store, use_token, &verdict), LK_OK);
        assert_int_equal(verdict, expected[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(family_follows_the_rules),
        cmocka_unit_test(first_token_has_none_before_it),
        cmocka_unit_test(token_opens_only_as_it_was_made),
        cmocka_unit_test_setup_teardown(fifth_family_drops_the_oldest, world_open, world_close),
        cmocka_unit_test_setup_teardown(suspending_ends_the_families, world_open, world_close),
        cmocka_unit_test_setup_teardown(lost_answer_gets_the_same_successor, world_open,
                                        world_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
