/* The feed: numbers, pages, trimming, epochs, and what each revocation says. */
#include "cmocka_all.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/store.h"

#define NOW_S 1700000000

struct world {
    char dir[64], path[96];
    struct store *store;
    struct store_db *db;
};

static enum lk_err
put_device(struct store_db *db, void *arg)
{
    struct store_device d = {.state = STORE_ACTIVE, .generation = 1, .registered_s = NOW_S};

    snprintf(d.id, sizeof(d.id), "%s", (const char *)arg);
    snprintf(d.type, sizeof(d.type), "sensor");
    snprintf(d.tags, sizeof(d.tags), "[]");
    return store_device_put(db, &d, LK_SPAN("sealed"));
}

static int
world_open(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    char id[] = "pump-7";

    assert_non_null(w);
    snprintf(w->dir, sizeof(w->dir), "feed-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof(w->path), "%s/store.db", w->dir);
    assert_int_equal(store_open(w->path, true, &w->store), LK_OK);
    assert_int_equal(store_reader_open(w->store, &w->db), LK_OK);
    assert_int_equal(store_write_wait(w->store, put_device, id), LK_OK);
    *state = w;
    return 0;
}

static void
store_leave(struct world *w)
{
    store_reader_close(w->db);
    store_close(w->store);
}

static int
world_close(void **state)
{
    static const char *const tails[] = {"", "-wal", "-shm", ".lock", ".copy"};
    struct world *w = *state;
    char path[128];

    store_leave(w);
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", w->path, tails[i]);
        unlink(path);
    }
    rmdir(w->dir);
    free(w);
    return 0;
}

/* --- Writing and reading -----------------------------------------------------------------------
 */

struct revoke {
    const char *subject;
    uint8_t id;
    int64_t expires_s;
    uint8_t last; /* byte of the id */
};

static enum lk_err
revoke_token(struct store_db *db, void *arg)
{
    const struct revoke *r = arg;
    struct store_token token = {.who = STORE_DEVICE, .generation = 1, .expires_s = r->expires_s};

    snprintf(token.subject, sizeof(token.subject), "%s", r->subject);
    memset(token.id, r->id, sizeof(token.id));
    token.id[15] ^= r->last;
    return store_token_revoke(db, &token, NOW_S);
}

static void
void_token(struct world *w, const char *subject, uint8_t id, int64_t expires_s)
{
    struct revoke r = {subject, id, expires_s, 0};

    assert_int_equal(store_write_wait(w->store, revoke_token, &r), LK_OK);
}

static enum lk_err
end_tokens(struct store_db *db, void *arg)
{
    return store_tokens_end(db, STORE_DEVICE, lk_span_text(arg), NOW_S, false);
}

static void
see(const struct store_feed_entry *entry, void *arg)
{
    static const char kinds[] = "?jfsk";
    char *text = arg;
    size_t len = strlen(text);

    if (entry->kind == STORE_FEED_SUB)
        snprintf(text + len, 2000 - len, "%s<%u ", entry->value, (unsigned)entry->gen_before);
    else
        snprintf(text + len, 2000 - len, "%c:%.2s ", kinds[entry->kind], entry->value);
}

/** What a reader at `after` of this epoch gets, as text. */
static void
check(struct world *w, const char *what, const char *epoch, int64_t after, unsigned limit,
      const char *entries, int64_t seq, bool full, bool more)
{
    struct store_feed_page page, head;
    char text[2000] = "";

    assert_err(what, store_feed_head(w->db, &head), LK_OK);
    assert_err(what,
               store_feed_read(w->db, lk_span_text(epoch == NULL ? head.epoch : epoch), after,
                               limit, &page, see, text),
               LK_OK);
    if (strcmp(text, entries) != 0 || page.seq != seq || page.full != full || page.more != more)
        fail_msg("%s: got %s seq %lld%s%s", what, text, (long long)page.seq,
                 page.full ? " full" : "", page.more ? " more" : "");
}

/* base64url of sixteen bytes 1, 2, 3 begins so. */
static void
pages_follow_the_numbers(void **state)
{
    struct world *w = *state;
    char pump[] = "pump-7";

    check(w, "nothing yet, and a stranger", "", -1, 10, "", 0, true, false);
    check(w, "nothing yet", NULL, 0, 10, "", 0, false, false);
    void_token(w, "a", 1, NOW_S + 10);
    void_token(w, "b", 0x10, NOW_S + 10);
    assert_int_equal(store_write_wait(w->store, end_tokens, pump), LK_OK);
    void_token(w, "c", 0xff, NOW_S + 10);
    check(w, "a stranger", "", -1, 10, "j:AQ j:EB pump-7<2 j:__ ", 4, true, false);
    check(w, "no number", NULL, -1, 10, "j:AQ j:EB pump-7<2 j:__ ", 4, true, false);
    check(w, "another epoch", "0", 4, 10, "j:AQ j:EB pump-7<2 j:__ ", 4, true, false);
    check(w, "a number not given yet", NULL, 5, 10, "j:AQ j:EB pump-7<2 j:__ ", 4, true, false);
    check(w, "all known", NULL, 4, 10, "", 4, false, false);
    check(w, "two known", NULL, 2, 10, "pump-7<2 j:__ ", 4, false, false);
    check(w, "first page", "", -1, 2, "j:AQ j:EB ", 2, true, true);
    check(w, "last page, filled", NULL, 2, 2, "pump-7<2 j:__ ", 4, false, false);
    check(w, "a page of one", NULL, 2, 1, "pump-7<2 ", 3, false, true);
}

static void
said_again_is_nothing_new(void **state)
{
    struct world *w = *state;

    void_token(w, "a", 1, NOW_S + 10);
    void_token(w, "a", 1, NOW_S + 10);
    check(w, "once", "", -1, 10, "j:AQ ", 1, true, false);
    void_token(w, "a", 2, NOW_S - FEED_MARGIN_S);
    check(w, "long expired", "", -1, 10, "j:AQ ", 1, true, false);
}

static void
a_newer_entry_stands_for_older_ones(void **state)
{
    struct world *w = *state;
    char pump[] = "pump-7";

    void_token(w, "pump-7", 1, NOW_S + 10);
    void_token(w, "other", 2, NOW_S + 10);
    assert_int_equal(store_write_wait(w->store, end_tokens, pump), LK_OK);
    assert_int_equal(store_write_wait(w->store, end_tokens, pump), LK_OK);
    check(w, "the set", "", -1, 10, "j:Ag pump-7<3 ", 4, true, false);
    check(w, "who was behind", NULL, 1, 10, "j:Ag pump-7<3 ", 4, false, false);
    check(w, "who was before all", NULL, 0, 10, "j:Ag pump-7<3 ", 4, false, false);
}

static void
one_subject_fills_a_bounded_part(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < FEED_SUBJECT_MAX; i++)
        void_token(w, "pump-7", (uint8_t)i, NOW_S + 10);
    void_token(w, "pump-7", 0xff, NOW_S + 10);
    check(w, "one for all", "", -1, 10, "pump-7<2 ", FEED_SUBJECT_MAX + 1, true, false);
}

/* --- Trimming ------------------------------------------------------------------------------------
 */

static enum lk_err
clean_at(struct store_db *db, void *arg)
{
    bool more;

    return store_clean(db, *(int64_t *)arg, &more);
}

static void
trimmed_entries_send_laggards_back(void **state)
{
    struct world *w = *state;
    int64_t at = NOW_S + 10 + FEED_MARGIN_S - 1;

    void_token(w, "a", 1, NOW_S + 10);
    void_token(w, "b", 2, NOW_S + 10);
    void_token(w, "c", 3, NOW_S + 9000);
    assert_int_equal(store_write_wait(w->store, clean_at, &at), LK_OK);
    check(w, "a second before", NULL, 0, 10, "j:AQ j:Ag j:Aw ", 3, false, false);
    at++;
    assert_int_equal(store_write_wait(w->store, clean_at, &at), LK_OK);
    check(w, "a trimmed number", NULL, 1, 10, "j:Aw ", 3, true, false);
    check(w, "the last trimmed number", NULL, 2, 10, "j:Aw ", 3, false, false);
    check(w, "all known", NULL, 3, 10, "", 3, false, false);
    at = NOW_S + 20000;
    assert_int_equal(store_write_wait(w->store, clean_at, &at), LK_OK);
    check(w, "empty, a trimmed number", NULL, 2, 10, "", 3, true, false);
    check(w, "empty, all known", NULL, 3, 10, "", 3, false, false);
    void_token(w, "d", 4, NOW_S + 30000);
    check(w, "no number is given twice", NULL, 3, 10, "j:BA ", 4, false, false);
}

/** An entry that expired between two that live must not send a reader of pages back for ever. */
static void
pages_of_the_whole_set_end(void **state)
{
    struct world *w = *state;
    int64_t at = NOW_S + 1000;

    void_token(w, "a", 1, NOW_S + 9000);
    void_token(w, "b", 2, NOW_S + 9000);
    void_token(w, "c", 3, NOW_S + 10);
    void_token(w, "d", 4, NOW_S + 9000);
    assert_int_equal(store_write_wait(w->store, clean_at, &at), LK_OK);
    check(w, "first", "", -1, 1, "j:AQ ", 1, true, true);
    check(w, "second", NULL, 1, 1, "j:Ag ", 2, false, true);
    check(w, "third", NULL, 2, 1, "j:BA ", 4, false, false);
}

static void
trimming_goes_in_batches(void **state)
{
    struct world *w = *state;
    char subject[16];
    int64_t at = NOW_S + 1000;
    struct store_feed_page page;

    for (unsigned i = 0; i < STORE_CLEAN_BATCH + 3; i++) {
        struct revoke r = {subject, (uint8_t)i, NOW_S + 10, (uint8_t)(i >> 8)};

        snprintf(subject, sizeof(subject), "d-%u", i / FEED_SUBJECT_MAX);
        assert_int_equal(store_write_wait(w->store, revoke_token, &r), LK_OK);
    }
    for (unsigned left = 3, round = 0; round < 2; left = 0, round++) {
        assert_int_equal(store_write_wait(w->store, clean_at, &at), LK_OK);
        assert_int_equal(store_feed_read(w->db, LK_SPAN(""), -1, 1000, &page, NULL, NULL), LK_OK);
        assert_int_equal(page.count, left);
        assert_int_equal(page.seq, STORE_CLEAN_BATCH + 3);
    }
}

/* --- Epochs --------------------------------------------------------------------------------------
 */

static void
file_copy(const char *from, const char *to)
{
    char command[300];

    snprintf(command, sizeof(command), "cp '%s' '%s'", from, to);
    assert_int_equal(system(command), 0);
}

static void
store_return(struct world *w)
{
    assert_int_equal(store_open(w->path, false, &w->store), LK_OK);
    assert_int_equal(store_reader_open(w->store, &w->db), LK_OK);
}

static void
a_database_from_a_copy_begins_anew(void **state)
{
    struct world *w = *state;
    struct store_feed_page before, after;
    char copy[128];

    snprintf(copy, sizeof(copy), "%s.copy", w->path);
    void_token(w, "a", 1, NOW_S + 10);
    assert_int_equal(store_feed_head(w->db, &before), LK_OK);
    store_leave(w);
    file_copy(w->path, copy);
    store_return(w);
    assert_int_equal(store_feed_head(w->db, &after), LK_OK);
    assert_string_equal(before.epoch, after.epoch); /* a restart is no news */
    void_token(w, "b", 2, NOW_S + 10);
    store_leave(w);
    file_copy(copy, w->path);
    store_return(w);
    assert_int_equal(store_feed_head(w->db, &after), LK_OK);
    assert_string_not_equal(before.epoch, after.epoch);
    check(w, "the old epoch", before.epoch, 1, 10, "j:AQ ", 1, true, false);
}

/* --- Failures ------------------------------------------------------------------------------------
 */

static enum lk_err
revoke_then_fail(struct store_db *db, void *arg)
{
    enum lk_err err = end_tokens(db, arg);

    return err == LK_OK ? LK_ERR_DENIED : err;
}

static void
what_is_undone_was_never_said(void **state)
{
    struct world *w = *state;
    char pump[] = "pump-7";

    assert_int_equal(store_write_wait(w->store, revoke_then_fail, pump), LK_ERR_DENIED);
    check(w, "nothing", NULL, 0, 10, "", 0, false, false);
    assert_int_equal(store_write_wait(w->store, end_tokens, pump), LK_OK);
    check(w, "no gap", NULL, 0, 10, "pump-7<2 ", 1, false, false);
}

/* --- Generations, secrets, families --------------------------------------------------------------
 */

struct secret {
    uint8_t fill;
    int64_t old_until_s;
};

static enum lk_err
replace_secret(struct store_db *db, void *arg)
{
    const struct secret *s = arg;
    uint8_t hash[32];

    memset(hash, s->fill, sizeof(hash));
    return store_secret_replace(db, STORE_DEVICE, LK_SPAN("pump-7"), hash, LK_SPAN("psk"),
                                s->old_until_s, NOW_S);
}

static enum lk_err
end_overlaps(struct store_db *db, void *arg)
{
    return store_overlaps_end(db, *(int64_t *)arg);
}

struct issue {
    uint64_t generation;
    int64_t now_s;
};

static enum lk_err
issue_token(struct store_db *db, void *arg)
{
    const struct issue *i = arg;

    return store_token_issued(db, STORE_DEVICE, LK_SPAN("pump-7"), i->generation, NOW_S + 500,
                              i->now_s);
}

static enum lk_err
issued(struct world *w, uint64_t generation, int64_t now_s)
{
    struct issue issue = {generation, now_s};

    return store_write_wait(w->store, issue_token, &issue);
}

static void
an_old_secret_lives_its_time(void **state)
{
    struct world *w = *state;
    struct secret secret = {1, NOW_S + 100};
    struct store_device d;
    int64_t at = NOW_S + 99;

    assert_int_equal(store_write_wait(w->store, replace_secret, &secret), LK_OK);
    check(w, "both are good", NULL, 0, 10, "", 0, false, false);
    assert_int_equal(store_device_get(w->db, LK_SPAN("pump-7"), &d), LK_OK);
    assert_int_equal(d.generation, 2);
    assert_int_equal(d.old_hash[0], 0);
    assert_int_equal(d.secret_hash[0], 1);
    assert_int_equal(issued(w, 1, NOW_S + 99), LK_OK);
    assert_int_equal(issued(w, 2, NOW_S + 99), LK_OK);
    assert_int_equal(issued(w, 1, NOW_S + 100), LK_ERR_STATE);
    assert_int_equal(issued(w, 0, NOW_S), LK_ERR_STATE);
    assert_false(store_overlaps_wait(w->db, at));
    assert_int_equal(store_write_wait(w->store, end_overlaps, &at), LK_OK);
    check(w, "a second before its end", NULL, 0, 10, "", 0, false, false);
    at++;
    assert_true(store_overlaps_wait(w->db, at));
    assert_int_equal(store_write_wait(w->store, end_overlaps, &at), LK_OK);
    check(w, "its end", NULL, 0, 10, "pump-7<2 ", 1, false, false);
    assert_int_equal(issued(w, 1, NOW_S), LK_ERR_STATE);
    assert_int_equal(issued(w, 2, NOW_S), LK_OK);
}

static void
revoking_during_an_overlap_is_above_both(void **state)
{
    struct world *w = *state;
    struct secret secret = {1, NOW_S + 100};
    char pump[] = "pump-7";

    assert_int_equal(store_write_wait(w->store, replace_secret, &secret), LK_OK);
    assert_int_equal(store_write_wait(w->store, end_tokens, pump), LK_OK);
    check(w, "above generation 2", NULL, 0, 10, "pump-7<3 ", 1, false, false);
    assert_int_equal(issued(w, 2, NOW_S), LK_ERR_STATE);
    assert_int_equal(issued(w, 3, NOW_S), LK_OK); /* the old secret */
    assert_int_equal(issued(w, 4, NOW_S), LK_OK);
    secret = (struct secret){2, NOW_S + 200};
    assert_int_equal(store_write_wait(w->store, replace_secret, &secret), LK_OK);
    check(w, "a third secret ends the first", NULL, 1, 10, "pump-7<4 ", 2, false, false);
    secret = (struct secret){3, 0};
    assert_int_equal(store_write_wait(w->store, replace_secret, &secret), LK_OK);
    check(w, "at once", NULL, 2, 10, "pump-7<6 ", 3, false, false);
}

static enum lk_err
purge(struct store_db *db, void *arg)
{
    return store_device_purge(db, lk_span_text(arg), NOW_S);
}

static enum lk_err
soft_delete(struct store_db *db, void *arg)
{
    return store_device_delete(db, lk_span_text(arg), NOW_S);
}

static void
nobody_gets_a_token_in_the_last_moment(void **state)
{
    struct world *w = *state;
    char pump[] = "pump-7";
    struct store_device d;

    assert_int_equal(issued(w, 1, NOW_S), LK_OK);
    assert_int_equal(store_write_wait(w->store, soft_delete, pump), LK_OK);
    assert_int_equal(issued(w, 2, NOW_S), LK_ERR_STATE);
    assert_int_equal(store_device_get(w->db, LK_SPAN("pump-7"), &d), LK_OK);
    assert_int_equal(d.state, STORE_DELETED);
    assert_int_equal(store_write_wait(w->store, purge, pump), LK_OK);
    assert_int_equal(issued(w, 3, NOW_S), LK_ERR_STATE);
    check(w, "gone, and said", NULL, 0, 10, "pump-7<3 ", 2, false, false);
    assert_int_equal(store_write_wait(w->store, put_device, pump), LK_ERR_EXISTS);
}

static enum lk_err
family_write(struct store_db *db, void *arg)
{
    struct store_family *f = arg, read;
    enum lk_err err = store_family_put(db, f, REFRESH_FAMILIES_MAX);

    if (err == LK_OK)
        err = store_family_get(db, f->id, &read);
    return err == LK_OK ? store_family_revoke(db, &read, NOW_S) : err;
}

static void
a_family_names_its_living_tokens(void **state)
{
    struct world *w = *state;
    struct store_family f = {.device = "pump-7", .generation = 1, .expires_s = NOW_S + 900};
    uint8_t id[STORE_TOKEN_ID_LEN];

    for (uint8_t i = 1; i <= 3; i++) {
        memset(id, i, sizeof(id));
        store_family_note(&f, id, i == 2 ? NOW_S - FEED_MARGIN_S : NOW_S + 10, NOW_S);
    }
    assert_int_equal(f.token_count, 2); /* the expired one gave way to the third */
    assert_int_equal(store_write_wait(w->store, family_write, &f), LK_OK);
    check(w, "the living", NULL, 0, 10, "j:AQ j:Aw ", 2, false, false);
}

static void
a_crowded_family_ends_all(void **state)
{
    struct world *w = *state;
    struct store_family f = {.device = "pump-7", .generation = 1, .expires_s = NOW_S + 900};
    uint8_t id[STORE_TOKEN_ID_LEN] = {0};

    for (unsigned i = 0; i < FAMILY_TOKENS_MAX; i++)
        store_family_note(&f, id, NOW_S + 10, NOW_S);
    assert_false(f.crowded);
    store_family_note(&f, id, NOW_S + 10, NOW_S);
    assert_true(f.crowded);
    assert_int_equal(store_write_wait(w->store, family_write, &f), LK_OK);
    check(w, "one for all", NULL, 0, 10, "pump-7<2 ", 1, false, false);
}

/* --- Keys
 * ----------------------------------------------------------------------------------------- */

struct key_row {
    const char *kid;
    int64_t from_s;
};

static enum lk_err
put_key(struct store_db *db, void *arg)
{
    const struct key_row *row = arg;
    struct store_key key = {
        .alg = 1, .signs = true, .signs_from_s = row->from_s, .sealed = LK_SPAN("sealed")};

    snprintf(key.kid, sizeof(key.kid), "%s", row->kid);
    return store_key_put(db, &key);
}

static enum lk_err
retire_keys(struct store_db *db, void *arg)
{
    return store_keys_retire(db, 10, *(int64_t *)arg);
}

static enum lk_err
see_key(const struct store_key *key, void *arg)
{
    char *text = arg;
    size_t len = strlen(text);

    snprintf(text + len, 200 - len, "%s:%lld ", key->kid,
             key->until_s == 0 ? 0LL : (long long)(key->until_s - NOW_S));
    return LK_OK;
}

/** A key that was replaced verifies until the last token it can have signed has expired. */
static void
replaced_keys_end_with_their_tokens(void **state)
{
    static const struct {
        const char *name;
        int64_t at_s;
        bool waits;
        const char *keys; /* afterwards: kid and end, counted from NOW_S */
    } rows[] = {
        {"the next one is only published", NOW_S + 99, false, "old:0 new:0 "},
        {"somebody slow may still sign with it", NOW_S + 100 + KEY_SETTLE_S - 1, false,
         "old:0 new:0 "},
        {"now its end is known", NOW_S + 100 + KEY_SETTLE_S, true, "old:800 new:0 "},
        {"a second before it", NOW_S + 799, false, "old:800 new:0 "},
        {"its end", NOW_S + 800, true, "new:0 "},
        {"the last one stays", NOW_S + 90000, false, "new:0 "},
    };
    struct world *w = *state;
    struct key_row old = {"old", NOW_S - 1000}, new = {"new", NOW_S + 100};

    assert_int_equal(issued(w, 1, NOW_S), LK_OK); /* until NOW_S + 500, and FEED_MARGIN_S */
    assert_int_equal(store_write_wait(w->store, put_key, &new), LK_OK);
    assert_int_equal(store_write_wait(w->store, put_key, &old), LK_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t at_s = rows[i].at_s;
        char text[200] = "";

        if (store_keys_wait(w->db, at_s) != rows[i].waits)
            fail_msg("%s: waits %d", rows[i].name, !rows[i].waits);
        assert_err(rows[i].name, store_write_wait(w->store, retire_keys, &at_s), LK_OK);
        assert_err(rows[i].name, store_key_list(w->db, see_key, text), LK_OK);
        if (strcmp(text, rows[i].keys) != 0)
            fail_msg("%s: got %s", rows[i].name, text);
    }
}

/* --- Who waits -----------------------------------------------------------------------------------
 */

static void
count_up(void *arg)
{
    ++*(unsigned *)arg;
}

static void
watchers_hear_of_news_only(void **state)
{
    struct world *w = *state;
    char other[] = "other", pump[] = "pump-7";
    unsigned heard = 0;

    store_feed_watch(w->store, count_up, &heard);
    assert_int_equal(store_write_wait(w->store, put_device, other), LK_OK);
    assert_int_equal(heard, 0);
    void_token(w, "a", 1, NOW_S + 10);
    assert_int_equal(heard, 1); /* before the writer's own caller */
    void_token(w, "a", 1, NOW_S + 10);
    assert_int_equal(heard, 1);
    assert_int_equal(store_write_wait(w->store, end_tokens, pump), LK_OK);
    assert_int_equal(heard, 2);
}

int
main(void)
{
#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)
    const struct CMUnitTest tests[] = {
        WITH_STORE(pages_follow_the_numbers),
        WITH_STORE(said_again_is_nothing_new),
        WITH_STORE(a_newer_entry_stands_for_older_ones),
        WITH_STORE(one_subject_fills_a_bounded_part),
        WITH_STORE(trimmed_entries_send_laggards_back),
        WITH_STORE(pages_of_the_whole_set_end),
        WITH_STORE(trimming_goes_in_batches),
        WITH_STORE(a_database_from_a_copy_begins_anew),
        WITH_STORE(what_is_undone_was_never_said),
        WITH_STORE(an_old_secret_lives_its_time),
        WITH_STORE(revoking_during_an_overlap_is_above_both),
        WITH_STORE(nobody_gets_a_token_in_the_last_moment),
        WITH_STORE(a_family_names_its_living_tokens),
        WITH_STORE(a_crowded_family_ends_all),
        WITH_STORE(replaced_keys_end_with_their_tokens),
        WITH_STORE(watchers_hear_of_news_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
