#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expiry.h"
#include "sessions.h"

#include "cmocka_all.h"
#include "plugin_memory.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define NONE         ((struct lk_span){NULL, 0})
#define FOR_EVER     INT64_C(1000000000)

static struct grants grants;
static struct sessions table;

/* Pointers of the broker: compared, never followed. */
static struct mosquitto *
client(uintptr_t n)
{
    return (struct mosquitto *)(n * 64);
}

static int
open_table(void **state)
{
    (void)state;
    memset(&grants, 0, sizeof(grants));
    plugin_memory_fail = 0;
    return sessions_open(&table, &grants, 8) == LK_OK ? 0 : -1;
}

static int
close_table(void **state)
{
    (void)state;
    sessions_close(&table);
    return plugin_memory_held == 0 ? 0 : -1;
}

static enum lk_err
try_login(uintptr_t pointer, const char *id, const char *subject, struct session **s)
{
    struct session_facts facts = {
        .id = lk_span_text(id),
        .subject = lk_span_text(subject),
        .identity = lk_span_text("identity"),
        .client = pointer != 0 ? client(pointer) : NULL,
    };

    return sessions_add(&table, &facts, 100, 0, s);
}

static struct session *
login(uintptr_t pointer, const char *id, const char *subject)
{
    struct session *s;

    assert_err(id, try_login(pointer, id, subject, &s), LK_OK);
    return s;
}

static void
a_session_is_found_by_pointer_and_id(void **state)
{
    struct session *s = login(1, "a", "a");

    (void)state;
    assert_ptr_equal(sessions_of_client(&table, client(1), "a"), s);
    assert_null(sessions_of_client(&table, client(1), "b"));
    assert_null(sessions_of_client(&table, client(1), NULL));
    assert_null(sessions_of_client(&table, client(2), "a"));
    assert_null(sessions_of_client(&table, NULL, "a"));
    assert_ptr_equal(sessions_of_pointer(&table, client(1)), s);
}

static void
a_reused_pointer_belongs_to_the_newest(void **state)
{
    struct session *old = login(1, "a", "a"), *new;

    (void)state;
    sessions_set_offline(&table, old, 5);
    new = login(1, "b", "b");
    assert_ptr_equal(sessions_of_pointer(&table, client(1)), new);
    assert_null(old->client);
    assert_ptr_equal(sessions_of_id(&table, "a", "a"), old);
}

static void
a_takeover_keeps_the_old_one_until_it_is_gone(void **state)
{
    struct session *old = login(1, "a", "a"), *new = login(2, "a", "a");

    (void)state;
    assert_true(old->superseded);
    assert_false(new->superseded);
    assert_int_equal(new->subject->online_count, 2);
    assert_ptr_equal(sessions_of_client(&table, client(1), "a"), old);
    sessions_set_offline(&table, old, 10);
    assert_int_equal(old->state, SESSION_DYING);
    assert_ptr_equal(sessions_of_client(&table, client(1), "a"), old);
    assert_ptr_equal(sessions_of_id(&table, "a", "a"), new);
    assert_int_equal(sessions_reap(&table, 10, 0, FOR_EVER, 10), 1);
    assert_null(sessions_of_pointer(&table, client(1)));
    assert_int_equal(table.count, 1);
}

static void
by_id_only_with_the_subject_as_user_name(void **state)
{
    struct session *s = login(0, "a:x", "a");

    (void)state;
    assert_int_equal(s->state, SESSION_OFFLINE);
    assert_ptr_equal(sessions_of_id(&table, "a:x", "a"), s);
    assert_null(sessions_of_id(&table, "a:x", "b"));
    assert_null(sessions_of_id(&table, "a:x", NULL));
    assert_null(sessions_of_id(&table, NULL, "a"));
    assert_null(sessions_of_id(&table, "a", "a"));
    assert_true(sessions_id_is_taken(&table, LK_SPAN("a:x"), NONE));
    assert_true(sessions_id_is_taken(&table, LK_SPAN("a:x"), LK_SPAN("b")));
    assert_false(sessions_id_is_taken(&table, LK_SPAN("a:x"), LK_SPAN("a")));
    assert_false(sessions_id_is_taken(&table, LK_SPAN("a"), NONE));
}

static void
sleepers_give_way_and_live_connections_never(void **state)
{
    static const char *const ids[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    struct session *s;

    (void)state;
    for (size_t i = 0; i < COUNT(ids); i++)
        s = login(i + 1, ids[i], ids[i]);
    assert_err("full", try_login(99, "z", "z", &s), LK_ERR_BUSY);
    assert_null(s);
    sessions_set_offline(&table, sessions_of_pointer(&table, client(3)), 1);
    sessions_set_offline(&table, sessions_of_pointer(&table, client(2)), 2);
    login(99, "z", "z");
    assert_null(sessions_of_id(&table, "c", "c"));
    assert_non_null(sessions_of_id(&table, "b", "b"));
}

static void
one_subject_pushes_out_its_own(void **state)
{
    struct session_facts facts = {.subject = LK_SPAN("a"), .identity = LK_SPAN("i")};
    struct session *s;
    char id[16];

    (void)state;
    login(50, "b", "b");
    sessions_set_offline(&table, sessions_of_pointer(&table, client(50)), 0);
    for (uintptr_t n = 1; n <= 20; n++) {
        (void)snprintf(id, sizeof(id), "a:%u", (unsigned)n);
        facts.id = lk_span_text(id);
        facts.client = client(n);
        assert_err(id, sessions_add(&table, &facts, 3, (int64_t)n, &s), LK_OK);
        sessions_set_offline(&table, s, (int64_t)n);
    }
    assert_int_equal(s->subject->session_count, 3);
    assert_non_null(sessions_of_id(&table, "b", "b"));
    assert_non_null(sessions_of_id(&table, "a:20", "a"));
    assert_null(sessions_of_id(&table, "a:17", "a"));
}

static void
what_is_old_is_forgotten(void **state)
{
    (void)state;
    sessions_set_offline(&table, login(1, "a", "a"), 100);
    sessions_set_offline(&table, login(2, "b", "b"), 200);
    login(3, "c", "c");
    assert_int_equal(sessions_reap(&table, 1099, 0, 1000, 10), 0);
    assert_int_equal(sessions_reap(&table, 1100, 0, 1000, 10), 1);
    assert_int_equal(sessions_reap(&table, FOR_EVER, 0, 1000, 0), 0);
    assert_int_equal(sessions_reap(&table, FOR_EVER, 0, 1000, 10), 1);
    assert_int_equal(table.count, 1);
}

static void
a_renewal_changes_the_grant_and_nothing_else(void **state)
{
    struct session_facts facts = {.identity = LK_SPAN("longer identity"),
                                  .values = LK_SPAN("values"),
                                  .expires_s = 7,
                                  .generation = 3};
    struct session *s = login(1, "a", "a");

    (void)state;
    assert_err("renewal", sessions_renew(&table, s, &facts), LK_OK);
    assert_ptr_equal(sessions_of_client(&table, client(1), "a"), s);
    assert_true(lk_span_equal(session_identity(s), facts.identity));
    assert_int_equal(s->expires_s, 7);
    plugin_memory_fail = 1;
    facts.identity = LK_SPAN("other");
    assert_err("without memory", sessions_renew(&table, s, &facts), LK_ERR_NOMEM);
    assert_true(lk_span_is(session_identity(s), "longer identity"));
}

/* A bond is the table's from the call on, whatever becomes of it. */
static void
a_bond_goes_with_its_session(void **state)
{
    struct bond bond = {.kind = BOND_KEY, .print = {1}};
    struct session_facts facts = {
        .id = LK_SPAN("a"), .subject = LK_SPAN("a"), .identity = LK_SPAN("i"), .client = client(1)};
    struct session *s, *none;

    (void)state;
    facts.bond = bond_new(&bond, LK_SPAN("token"));
    assert_err("in", sessions_add(&table, &facts, 100, 0, &s), LK_OK);
    assert_ptr_equal(s->bond, facts.bond);
    facts.bond = bond_new(&bond, LK_SPAN(""));
    assert_err("renewed", sessions_renew(&table, s, &facts), LK_OK);
    assert_ptr_equal(s->bond, facts.bond);
    facts.bond = bond_new(&bond, LK_SPAN(""));
    plugin_memory_fail = 1;
    assert_err("without memory", sessions_renew(&table, s, &facts), LK_ERR_NOMEM);
    assert_true(bond_is_same(s->bond, &bond));
    facts.bond = bond_new(&bond, LK_SPAN(""));
    plugin_memory_fail = 1;
    assert_err("no second", sessions_add(&table, &facts, 100, 0, &none), LK_ERR_NOMEM);
}

static void
the_newest_of_an_id(void **state)
{
    struct session *a = login(1, "a", "a"), *b;

    (void)state;
    assert_null(sessions_newest_of_id(&table, LK_SPAN("b")));
    assert_ptr_equal(sessions_newest_of_id(&table, LK_SPAN("a")), a);
    b = login(2, "a", "a");
    assert_ptr_equal(sessions_newest_of_id(&table, LK_SPAN("a")), b);
    sessions_set_offline(&table, b, 1);
    assert_ptr_equal(sessions_newest_of_id(&table, LK_SPAN("a")), b);
}

static struct session *
login_with(uintptr_t pointer, const char *id, const char *token_id)
{
    struct session_facts facts = {.id = lk_span_text(id),
                                  .subject = LK_SPAN("a"),
                                  .identity = LK_SPAN("i"),
                                  .client = client(pointer)};
    struct session *s;

    memcpy(facts.token_id, token_id, strlen(token_id));
    assert_err(id, sessions_add(&table, &facts, 100, 0, &s), LK_OK);
    return s;
}

static bool
is_of_token(const struct session *s, const char *token_id)
{
    uint8_t id[REVOCATION_KEY_LEN] = {0};
    const struct session *found = NULL;

    memcpy(id, token_id, strlen(token_id));
    while ((found = sessions_of_token(&table, id, found)) != NULL)
        if (found == s)
            return true;
    return false;
}

static void
sessions_are_found_by_their_token(void **state)
{
    struct session_facts facts = {.identity = LK_SPAN("i"), .token_id = "two"};
    struct session *a = login_with(1, "a:1", "one"), *b = login_with(2, "a:2", "one");
    struct session *c = login_with(3, "a:3", "two"), *none = login_with(4, "a:4", "");

    (void)state;
    assert_true(is_of_token(a, "one") && is_of_token(b, "one") && !is_of_token(c, "one"));
    assert_true(is_of_token(c, "two"));
    assert_false(is_of_token(none, "")); /* no id is not an id */
    assert_err("renewal", sessions_renew(&table, b, &facts), LK_OK);
    assert_true(is_of_token(a, "one") && !is_of_token(b, "one") && is_of_token(b, "two"));
    sessions_set_offline(&table, a, 5);
    assert_true(is_of_token(a, "one"));
    assert_int_equal(sessions_reap(&table, 6, 0, 0, 10), 1);
    assert_false(is_of_token(a, "one"));
    assert_true(is_of_token(c, "two") && is_of_token(b, "two"));
}

static void
a_revoked_session_stays_revoked(void **state)
{
    struct session *s = login(1, "a", "a");
    uint64_t changes = table.changes;

    (void)state;
    assert_true(sessions_revoke(&table, s));
    assert_true(s->revoked);
    assert_true(table.changes > changes); /* to be written */
    assert_false(sessions_revoke(&table, s));
    assert_false(login(2, "a", "a")->revoked);
    assert_true(s->revoked);
}

/* Many logins, renewals and ends: the index by token agrees with a look at everything. */
static void
the_index_by_token_agrees_with_a_naive_one(void **state)
{
    struct session *all[8] = {NULL};
    char names[8][8];
    unsigned random = 7;

    (void)state;
    for (int step = 0; step < 20000; step++) {
        unsigned at, token;
        uint8_t id[REVOCATION_KEY_LEN] = {0};
        size_t found = 0, wanted = 0;
        const struct session *s = NULL;

        random = random * 1103515245 + 12345;
        at = random / 65536 % 8;
        token = random / 1024 % 4;
        (void)snprintf(names[at], sizeof(names[at]), "a:%u", at);
        if (all[at] == NULL) {
            const char name[2] = {(char)('p' + token), '\0'};

            all[at] = login_with(at + 1, names[at], token == 0 ? "" : name);
        } else if (random / 256 % 2 == 0) {
            struct session_facts facts = {.identity = LK_SPAN("i")};

            facts.token_id[0] = (uint8_t)('p' + token);
            assert_err("renewal", sessions_renew(&table, all[at], &facts), LK_OK);
        } else {
            sessions_set_offline(&table, all[at], 1);
            assert_int_equal(sessions_reap(&table, 2, 0, 0, 10), 1);
            all[at] = NULL;
        }
        id[0] = (uint8_t)('p' + token);
        for (size_t i = 0; i < COUNT(all); i++)
            wanted += all[i] != NULL && all[i]->token_id[0] == id[0];
        while ((s = sessions_of_token(&table, id, s)) != NULL)
            found++;
        assert_int_equal(found, wanted);
    }
}

static void
without_memory_nothing_is_half_done(void **state)
{
    struct session *s;

    (void)state;
    login(1, "a", "a");
    for (int n = 1;; n++) {
        long held = plugin_memory_held;
        enum lk_err err;

        plugin_memory_fail = n;
        err = try_login(2, "a", "b", &s);
        if (err == LK_OK) {
            assert_true(n > 3);
            break;
        }
        assert_err("without memory", err, LK_ERR_NOMEM);
        assert_null(s);
        assert_int_equal(plugin_memory_held, held);
        assert_int_equal(table.count, 1);
        assert_false(sessions_of_pointer(&table, client(1))->superseded);
    }
    plugin_memory_fail = 0;
}

static void
a_rate_is_the_subjects(void **state)
{
    static const struct {
        const char *name;
        int64_t now_ms;
        bool other, ok;
    } rows[] = {
        {"first", 0, false, true},
        {"second, by the other", 0, true, true},
        {"third", 0, false, false},
        {"too soon", 499, false, false},
        {"half a second", 500, true, true},
        {"again", 501, true, false},
        {"much later: full", 90000, false, true},
        {"full is two", 90000, true, true},
        {"and not more", 90000, true, false},
    };
    struct session *one = login(1, "a:1", "a"), *two = login(2, "a:2", "a");

    (void)state;
    one->policy_serial = two->policy_serial = 1;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (sessions_take_rate(rows[i].other ? two : one, 4, 2, rows[i].now_ms) != rows[i].ok)
            fail_msg("%s", rows[i].name);
    assert_true(sessions_take_rate(one, 5, 2, 90000)); /* another rule */
    one->policy_serial = 2;
    assert_true(sessions_take_rate(one, 4, 2, 90000)); /* another map */
}

static bool
count_one(void *context, struct session *s)
{
    (void)s;
    ++*(int *)context;
    return true;
}

static void
a_walk_sees_everything_once(void **state)
{
    struct session_cursor cursor = {0, 0};
    size_t slices = 1;
    int seen = 0;

    (void)state;
    login(1, "a", "a");
    login(2, "b", "b");
    login(0, "c", "c");
    while (!sessions_walk(&table, &cursor, 5, count_one, &seen))
        slices++;
    assert_int_equal(seen, 3);
    assert_int_equal(slices, (table.buckets + 4) / 5);
}

/* --- the heap, against the slow way ---------------------------------------------------------- */

#define HEAP 300

static void
the_heap_always_knows_the_first(void **state)
{
    struct session *all[HEAP];
    struct expiry e;
    unsigned random = 12345;

    (void)state;
    for (int i = 0; i < HEAP; i++) {
        all[i] = calloc(1, sizeof(*all[i]) + 1);
        assert_non_null(all[i]);
    }
    assert_err("open", expiry_open(&e, HEAP), LK_OK);
    for (int step = 0; step < 100000; step++) {
        struct session *s, *least = NULL;

        random = random * 1103515245 + 12345;
        s = all[random / 65536 % HEAP];
        if (random / 7 % 3 == 0)
            expiry_remove(&e, s);
        else
            expiry_set(&e, s, (int64_t)(random / 1024 % 1000));
        if (step % 50 != 0)
            continue;
        for (int i = 0; i < HEAP; i++)
            if (all[i]->heap_at != 0 && (least == NULL || all[i]->due_ms < least->due_ms))
                least = all[i];
        assert_true((least == NULL) == (expiry_first(&e) == NULL));
        if (least != NULL)
            assert_int_equal(expiry_first(&e)->due_ms, least->due_ms);
    }
    while (expiry_first(&e) != NULL)
        expiry_remove(&e, expiry_first(&e));
    assert_int_equal(e.count, 0);
    expiry_close(&e);
    for (int i = 0; i < HEAP; i++)
        free(all[i]);
}

int
main(void)
{
#define IN_TABLE(test) cmocka_unit_test_setup_teardown(test, open_table, close_table)
    const struct CMUnitTest tests[] = {
        IN_TABLE(a_session_is_found_by_pointer_and_id),
        IN_TABLE(a_reused_pointer_belongs_to_the_newest),
        IN_TABLE(a_takeover_keeps_the_old_one_until_it_is_gone),
        IN_TABLE(by_id_only_with_the_subject_as_user_name),
        IN_TABLE(sleepers_give_way_and_live_connections_never),
        IN_TABLE(one_subject_pushes_out_its_own),
        IN_TABLE(what_is_old_is_forgotten),
        IN_TABLE(a_renewal_changes_the_grant_and_nothing_else),
        IN_TABLE(a_bond_goes_with_its_session),
        IN_TABLE(the_newest_of_an_id),
        IN_TABLE(sessions_are_found_by_their_token),
        IN_TABLE(a_revoked_session_stays_revoked),
        IN_TABLE(the_index_by_token_agrees_with_a_naive_one),
        IN_TABLE(without_memory_nothing_is_half_done),
        IN_TABLE(a_rate_is_the_subjects),
        IN_TABLE(a_walk_sees_everything_once),
        cmocka_unit_test(the_heap_always_knows_the_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
