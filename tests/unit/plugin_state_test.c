#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "seal.h"
#include "state.h"

#include "cmocka_all.h"

#define ISSUER "https://as.test"
#define SECRET LK_SPAN("0123456789abcdef0123456789abcdef")
#define NONE   ((struct lk_span){NULL, 0})

static char folder[] = "/tmp/latchkey-state-XXXXXX";
static struct grants grants;

static const char *
in_folder(const char *name)
{
    static char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static size_t
read_file(const char *path, uint8_t *room, size_t cap)
{
    FILE *file = fopen(path, "rb");
    size_t len;

    assert_non_null(file);
    len = fread(room, 1, cap, file);
    assert_int_equal(fclose(file), 0);
    return len;
}

static void
write_file(const char *path, const uint8_t *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static enum lk_err
try_open(const char *path, const uint8_t key[SEAL_KEY_LEN])
{
    uint8_t room[64];
    struct seal seal;
    enum lk_err err = seal_open(&seal, path, key, LK_BUF_OF(room));

    if (err == LK_OK)
        seal_close(&seal);
    return err;
}

static void
every_changed_or_missing_byte_is_noticed(void **state)
{
    const char *path = in_folder("sealed");
    uint8_t key[SEAL_KEY_LEN], other[SEAL_KEY_LEN], whole[512], room[64];
    struct lk_span chunk;
    struct seal seal;
    size_t len;

    (void)state;
    assert_err("key", seal_derive(SECRET, "one", key), LK_OK);
    assert_err("key", seal_derive(SECRET, "two", other), LK_OK);
    assert_err("none", try_open(path, key), LK_ERR_NOT_FOUND);
    assert_err("create", seal_create(&seal, path, key), LK_OK);
    assert_err("first", seal_add(&seal, LK_SPAN("first chunk")), LK_OK);
    assert_err("empty", seal_add(&seal, NONE), LK_ERR_ARG);
    assert_err("second", seal_add(&seal, LK_SPAN("second")), LK_OK);
    assert_err("commit", seal_commit(&seal), LK_OK);

    assert_err("open", seal_open(&seal, path, key, LK_BUF_OF(room)), LK_OK);
    assert_true(seal_next(&seal, LK_BUF_OF(room), &chunk));
    assert_true(lk_span_is(chunk, "first chunk"));
    assert_true(seal_next(&seal, LK_BUF_OF(room), &chunk));
    assert_true(lk_span_is(chunk, "second"));
    assert_false(seal_next(&seal, LK_BUF_OF(room), &chunk));
    seal_close(&seal);

    assert_err("another purpose", try_open(path, other), LK_ERR_SIGNATURE);
    len = read_file(path, whole, sizeof(whole));
    for (size_t at = 0; at < len; at++) {
        whole[at] ^= 0x20;
        write_file(path, whole, len);
        assert_err("changed", try_open(path, key), LK_ERR_SIGNATURE);
        whole[at] ^= 0x20;
        write_file(path, whole, at);
        assert_err("cut", try_open(path, key), LK_ERR_SIGNATURE);
    }
    whole[len] = 0;
    write_file(path, whole, len + 1);
    assert_err("longer", try_open(path, key), LK_ERR_SIGNATURE);
    write_file(path, whole, len);
    assert_err("whole again", try_open(path, key), LK_OK);
    assert_int_equal(unlink(path), 0);
}

static void
an_unfinished_file_replaces_nothing(void **state)
{
    const char *path = in_folder("sealed");
    uint8_t key[SEAL_KEY_LEN] = {1};
    struct seal seal;

    (void)state;
    assert_err("create", seal_create(&seal, path, key), LK_OK);
    assert_err("add", seal_add(&seal, LK_SPAN("x")), LK_OK);
    seal_abort(&seal);
    assert_err("aborted", try_open(path, key), LK_ERR_NOT_FOUND);
    assert_int_equal(access(in_folder("sealed.new"), F_OK), -1);
    assert_err("no folder", seal_create(&seal, "/nowhere/x", key), LK_ERR_IO);
}

static void
add(struct sessions *t, const char *id, const char *subject, int64_t seen_ms)
{
    struct session_facts facts = {.id = lk_span_text(id),
                                  .subject = lk_span_text(subject),
                                  .identity = lk_span_text("an identity"),
                                  .expires_s = 5000,
                                  .generation = 4,
                                  .proof = PROOF_METHOD_CWT,
                                  .kid = "kid",
                                  .token_id = "fifteen letters"};
    struct session *s;

    assert_err(id, sessions_add(t, &facts, SIZE_MAX, seen_ms, &s), LK_OK);
    s->revoked = strcmp(id, "a:7") == 0;
}

/* In slices as small as they get, so that the walk stops in every way it can. */
static void
save(const struct state *st, struct sessions *t, int64_t now_ms, int64_t now_s, size_t buckets,
     size_t at_once)
{
    struct state_chunk *chunk = malloc(sizeof(*chunk));
    struct state_walk walk = {.running = false};
    struct seal seal = {.file = NULL};

    assert_non_null(chunk);
    assert_true(state_walk_is_due(&walk, t, now_ms));
    do {
        state_walk_step(&walk, t, ISSUER, now_ms, now_s, buckets, at_once, chunk);
        if (chunk->kind != STATE_NOTHING)
            assert_err("write", state_write(st, &seal, chunk), LK_OK);
    } while (walk.running);
    assert_false(state_walk_is_due(&walk, t, now_ms + 1000000));
    free(chunk);
}

static void
load(const struct state *st, struct sessions *t, const char *issuer, int64_t keep_s, int64_t now_s,
     enum lk_err wanted, size_t wanted_count)
{
    int64_t saved_s;
    size_t count;

    assert_err("table", sessions_open(t, &grants, 1000), LK_OK);
    assert_err("load", state_load_sessions(st, issuer, t, keep_s, 9000000, now_s, &saved_s, &count),
               wanted);
    assert_int_equal(count, wanted_count);
}

static void
sessions_come_back(void **state)
{
    static const struct {
        size_t buckets, at_once;
    } slices[] = {{SIZE_MAX, SIZE_MAX}, {7, 5}, {1, 100}, {100000, 20}};
    struct sessions t, back;
    struct session *s;
    struct state st;
    char id[16];

    (void)state;
    assert_err("state", state_open(&st, folder, SECRET), LK_OK);
    for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++) {
        assert_err("table", sessions_open(&t, &grants, 1000), LK_OK);
        for (int n = 0; n < 100; n++) {
            (void)snprintf(id, sizeof(id), "a:%d", n);
            add(&t, id, n % 2 ? "a" : "b", n * 1000);
        }
        /* Saved at second 1000, when the monotonic clock shows 200 s; loaded 50 s later. */
        save(&st, &t, 200000, 1000, slices[i].buckets, slices[i].at_once);
        sessions_close(&t);
        load(&st, &back, ISSUER, 100000, 1050, LK_OK, 100);
        s = sessions_of_id(&back, "a:7", "a");
        assert_non_null(s);
        assert_int_equal(s->state, SESSION_OFFLINE);
        assert_int_equal(s->expires_s, 5000);
        assert_int_equal(s->generation, 4);
        assert_int_equal(s->proof, PROOF_METHOD_CWT);
        assert_memory_equal(s->token_id, "fifteen letters", 16);
        assert_true(lk_span_is(session_identity(s), "an identity"));
        assert_memory_equal(s->kid, "kid\0\0\0\0", KID_PRINT_LEN);
        assert_non_null(sessions_of_token(&back, s->token_id, NULL));
        assert_false(s->delivery_only);
        assert_true(s->revoked);
        assert_false(sessions_of_id(&back, "a:9", "a")->revoked);
        assert_int_equal(s->since_ms, 9000000 - (193 + 50) * 1000);
        for (s = back.offline.first; s->age_next != NULL; s = s->age_next)
            assert_true(s->since_ms <= s->age_next->since_ms);
        sessions_close(&back);
        /* Number 99 was seen 101 s before the save; 151 s are over for it. */
        load(&st, &back, ISSUER, 152, 1050, LK_OK, 1);
        sessions_close(&back);
        load(&st, &back, "https://other.test", 100000, 1050, LK_ERR_NOT_FOUND, 0);
        sessions_close(&back);
    }
    state_close(&st);
}

static void
a_secret_decides_what_is_believed(void **state)
{
    struct sessions t, back;
    struct state st;

    (void)state;
    assert_err("no secret", state_open(&st, folder, NONE), LK_OK);
    load(&st, &back, ISSUER, 100000, 1050, LK_ERR_SIGNATURE, 0);
    sessions_close(&back);
    assert_err("table", sessions_open(&t, &grants, 1000), LK_OK);
    add(&t, "a", "a", 0);
    save(&st, &t, 0, 1000, SIZE_MAX, SIZE_MAX);
    sessions_close(&t);
    load(&st, &back, ISSUER, 100000, 1050, LK_OK, 1);
    assert_true(sessions_of_id(&back, "a", "a")->delivery_only);
    sessions_close(&back);
    state_close(&st);
    assert_err("another secret", state_open(&st, folder, SECRET), LK_OK);
    load(&st, &back, ISSUER, 100000, 1050, LK_ERR_SIGNATURE, 0);
    sessions_close(&back);
    state_close(&st);
}

static void
keys_come_back(void **state)
{
    uint8_t room[1024];
    struct lk_span jwks;
    int64_t saved_s;
    struct state st;

    (void)state;
    assert_err("state", state_open(&st, folder, SECRET), LK_OK);
    assert_err("none", state_load_keys(&st, ISSUER, LK_BUF_OF(room), &saved_s, &jwks),
               LK_ERR_NOT_FOUND);
    assert_err("save", state_save_keys(&st, ISSUER, 77, LK_SPAN("{\"keys\":[]}")), LK_OK);
    assert_err("load", state_load_keys(&st, ISSUER, LK_BUF_OF(room), &saved_s, &jwks), LK_OK);
    assert_int_equal(saved_s, 77);
    assert_true(lk_span_is(jwks, "{\"keys\":[]}"));
    assert_err("other", state_load_keys(&st, "https://x", LK_BUF_OF(room), &saved_s, &jwks),
               LK_ERR_NOT_FOUND);
    state_close(&st);
}

static bool
is_revoked(const struct revocations *set, enum revocation_kind kind, unsigned n, uint64_t gen)
{
    uint8_t key[REVOCATION_KEY_LEN] = {(uint8_t)n, (uint8_t)(n >> 8)};

    return revocations_has(set, kind, key, gen);
}

/* As many as fill several chunks; with what a full list left out not among them. */
static void
revocations_come_back(void **state)
{
    const struct feed_position position = {.epoch = "e1", .seq = 77, .answered_s = 1234};
    struct feed_position back_position;
    struct revocations set, back;
    int64_t saved_s;
    struct state st;

    (void)state;
    assert_err("state", state_open(&st, folder, SECRET), LK_OK);
    assert_err("set", revocations_open(&set, 5000), LK_OK);
    assert_err("set", revocations_open(&back, 5000), LK_OK);
    assert_err("none", state_load_revocations(&st, ISSUER, &back, &saved_s, &back_position),
               LK_ERR_NOT_FOUND);
    for (unsigned n = 0; n < 6000; n++) {
        uint8_t key[REVOCATION_KEY_LEN] = {(uint8_t)n, (uint8_t)(n >> 8)};

        if (n == 1000)
            revocations_begin(&set);
        (void)revocations_put(&set, n % 2 ? REVOCATION_SUBJECT : REVOCATION_TOKEN, key, n, n, 50);
    }
    revocations_end(&set);
    (void)revocations_put(&set, REVOCATION_KID, (const uint8_t *)"sixteen letters.", 0, 900, 50);
    assert_true(revocations_are_too_many(&set, 50));
    assert_err("save", state_save_revocations(&st, ISSUER, 99, &position, &set), LK_OK);
    assert_err("load", state_load_revocations(&st, ISSUER, &back, &saved_s, &back_position), LK_OK);
    assert_int_equal(saved_s, 99);
    assert_string_equal(back_position.epoch, "e1");
    assert_int_equal(back_position.seq, 77);
    assert_int_equal(back_position.answered_s, 1234);
    assert_int_equal(back.live, 5000);
    assert_int_equal(back.issued_before_s, set.issued_before_s);
    assert_int_equal(back.issued_until_s, set.issued_until_s);
    assert_false(is_revoked(&back, REVOCATION_TOKEN, 10, 0));
    assert_true(is_revoked(&back, REVOCATION_TOKEN, 1000, 0));
    assert_true(is_revoked(&back, REVOCATION_SUBJECT, 5999, 5998));
    assert_false(is_revoked(&back, REVOCATION_SUBJECT, 5999, 5999));
    revocations_close(&back);
    assert_err("set", revocations_open(&back, 5000), LK_OK);
    assert_err("another issuer",
               state_load_revocations(&st, "https://x", &back, &saved_s, &back_position),
               LK_ERR_NOT_FOUND);
    assert_int_equal(back.live, 0);
    assert_string_equal(back_position.epoch, "");
    state_close(&st);
    assert_err("no secret", state_open(&st, folder, NONE), LK_OK);
    assert_err("not ours", state_load_revocations(&st, ISSUER, &back, &saved_s, &back_position),
               LK_ERR_SIGNATURE);
    assert_int_equal(back.live, 0);
    state_close(&st);
    revocations_close(&back);
    revocations_close(&set);
}

static void
a_folder_has_one_user_and_is_closed_to_others(void **state)
{
    struct state one, two;

    (void)state;
    assert_err("one", state_open(&one, folder, SECRET), LK_OK);
    assert_err("two", state_open(&two, folder, SECRET), LK_ERR_BUSY);
    state_close(&one);
    assert_err("later", state_open(&two, folder, SECRET), LK_OK);
    state_close(&two);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_err("open to others", state_open(&one, folder, SECRET), LK_ERR_PERMISSION);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_err("no such place", state_open(&one, "/nowhere/state", SECRET), LK_ERR_IO);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_changed_or_missing_byte_is_noticed),
        cmocka_unit_test(an_unfinished_file_replaces_nothing),
        cmocka_unit_test(sessions_come_back),
        cmocka_unit_test(a_secret_decides_what_is_believed),
        cmocka_unit_test(keys_come_back),
        cmocka_unit_test(revocations_come_back),
        cmocka_unit_test(a_folder_has_one_user_and_is_closed_to_others),
    };
    static const char *const files[] = {"lock", "keys", "sessions", "revocations"};
    int failed;

    if (mkdtemp(folder) == NULL)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        (void)unlink(in_folder(files[i]));
    (void)rmdir(folder);
    return failed;
}
