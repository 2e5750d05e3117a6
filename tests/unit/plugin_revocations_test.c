#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "feed_news.h"
#include "revocations.h"

#include "cmocka_all.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define NOW          INT64_C(1800000000)

static void
key_of(unsigned n, uint8_t key[REVOCATION_KEY_LEN])
{
    memset(key, 0, REVOCATION_KEY_LEN);
    memcpy(key, &n, sizeof(n));
}

static bool
put(struct revocations *set, enum revocation_kind kind, unsigned n, uint64_t gen, int64_t until_s)
{
    uint8_t key[REVOCATION_KEY_LEN];

    key_of(n, key);
    return revocations_put(set, kind, key, gen, until_s, NOW);
}

static bool
has(const struct revocations *set, enum revocation_kind kind, unsigned n, uint64_t gen)
{
    uint8_t key[REVOCATION_KEY_LEN];

    key_of(n, key);
    return revocations_has(set, kind, key, gen);
}

/* --- names --------------------------------------------------------------------------------- */

static void
a_token_has_one_key_however_its_id_is_written(void **state)
{
    uint8_t bytes[16] = "\x01\xff sixteen byte", raw[16], text[16], other[16];

    (void)state;
    /* What a JWT has as jti and a CWT as cti. */
    assert_err("raw", revocation_token_key(lk_span_of(bytes, 16), raw), LK_OK);
    assert_err("text", revocation_token_key(LK_SPAN("Af8gc2l4dGVlbiBieXRlAA"), text), LK_OK);
    bytes[15] = 0;
    assert_memory_equal(raw, bytes, 16);
    assert_memory_equal(text, raw, 15);
    assert_err("no base64url", revocation_token_key(LK_SPAN("Af8gc2l4dGVlbiBieXRl!!"), text),
               LK_OK);
    assert_err("another's", revocation_token_key(LK_SPAN("a-longer-id-of-another-issuer"), other),
               LK_OK);
    assert_memory_not_equal(text, other, 16);
}

/* --- the set ------------------------------------------------------------------------------- */

static void
kinds_and_generations_are_told_apart(void **state)
{
    struct revocations set;

    (void)state;
    assert_err("open", revocations_open(&set, 100), LK_OK);
    assert_false(has(&set, REVOCATION_TOKEN, 1, 0));
    assert_true(put(&set, REVOCATION_TOKEN, 1, 0, NOW));
    assert_true(put(&set, REVOCATION_SUBJECT, 2, 5, NOW));
    assert_true(has(&set, REVOCATION_TOKEN, 1, 0));
    assert_false(has(&set, REVOCATION_SUBJECT, 1, 0));
    assert_false(has(&set, REVOCATION_KID, 1, 0));
    assert_true(has(&set, REVOCATION_SUBJECT, 2, 4));
    assert_false(has(&set, REVOCATION_SUBJECT, 2, 5));
    assert_true(put(&set, REVOCATION_SUBJECT, 2, 3, NOW - 1)); /* an older one takes nothing back */
    assert_true(has(&set, REVOCATION_SUBJECT, 2, 4));
    assert_int_equal(set.live, 2);
    revocations_close(&set);
    assert_false(has(&set, REVOCATION_TOKEN, 1, 0));
    assert_false(put(&set, REVOCATION_TOKEN, 1, 0, NOW));
}

static void
what_is_over_goes_by_the_servers_clock(void **state)
{
    struct revocations set;

    (void)state;
    assert_err("open", revocations_open(&set, 100), LK_OK);
    assert_true(put(&set, REVOCATION_TOKEN, 1, 0, NOW));
    assert_true(put(&set, REVOCATION_TOKEN, 2, 0, NOW + 1));
    assert_true(revocations_sweep(&set, 0, SIZE_MAX)); /* a clock that is not known ends nothing */
    assert_true(revocations_sweep(&set, NOW + REVOCATION_SLACK_S, SIZE_MAX));
    assert_int_equal(set.live, 2);
    assert_false(revocations_sweep(&set, NOW + REVOCATION_SLACK_S + 1, 1)); /* half the way */
    assert_true(revocations_sweep(&set, NOW + REVOCATION_SLACK_S + 1, 1));
    assert_false(has(&set, REVOCATION_TOKEN, 1, 0));
    assert_true(has(&set, REVOCATION_TOKEN, 2, 0));
    assert_int_equal(set.live, 1);
    revocations_close(&set);
}

static void
a_full_list_replaces_when_it_is_complete(void **state)
{
    struct revocations set;

    (void)state;
    assert_err("open", revocations_open(&set, 100), LK_OK);
    put(&set, REVOCATION_TOKEN, 1, 0, NOW);
    put(&set, REVOCATION_SUBJECT, 2, 9, NOW);
    revocations_end(&set); /* none was begun */
    assert_true(has(&set, REVOCATION_TOKEN, 1, 0));
    revocations_begin(&set);
    put(&set, REVOCATION_SUBJECT, 2, 5, NOW); /* a restored server knows better */
    put(&set, REVOCATION_TOKEN, 3, 0, NOW);
    assert_true(has(&set, REVOCATION_TOKEN, 1, 0));
    revocations_begin(&set); /* the connection broke, it begins again */
    put(&set, REVOCATION_SUBJECT, 2, 5, NOW);
    put(&set, REVOCATION_TOKEN, 4, 0, NOW);
    assert_true(has(&set, REVOCATION_TOKEN, 1, 0));
    assert_true(has(&set, REVOCATION_TOKEN, 3, 0));
    revocations_end(&set);
    assert_false(has(&set, REVOCATION_TOKEN, 1, 0)); /* before anything is cleared up */
    assert_false(has(&set, REVOCATION_TOKEN, 3, 0));
    assert_true(has(&set, REVOCATION_TOKEN, 4, 0));
    assert_true(has(&set, REVOCATION_SUBJECT, 2, 4));
    assert_false(has(&set, REVOCATION_SUBJECT, 2, 5));
    assert_int_equal(set.live, 2);
    assert_true(put(&set, REVOCATION_TOKEN, 1, 0, NOW)); /* again, in the place it still has */
    assert_int_equal(set.live, 3);
    assert_true(revocations_sweep(&set, 0, SIZE_MAX));
    assert_true(has(&set, REVOCATION_TOKEN, 1, 0));
    assert_int_equal(set.live, 3);
    revocations_close(&set);
}

static void
too_many_refuse_every_older_token(void **state)
{
    struct revocations set;

    (void)state;
    assert_err("open", revocations_open(&set, 4), LK_OK);
    for (unsigned n = 0; n < 4; n++)
        assert_true(put(&set, REVOCATION_TOKEN, n, 0, NOW + 100));
    assert_false(revocations_are_too_many(&set, 0));
    assert_true(put(&set, REVOCATION_TOKEN, 2, 0, NOW + 100)); /* known: needs no room */
    assert_false(put(&set, REVOCATION_TOKEN, 9, 0, NOW + 50));
    assert_true(revocations_are_too_many(&set, NOW));
    assert_true(revocations_are_too_many(&set, 0)); /* who does not say when */
    assert_false(revocations_are_too_many(&set, NOW + REVOCATION_RACE_S));
    /* It is over when what did not fit is over, and not before. */
    assert_true(revocations_sweep(&set, NOW + 50 + REVOCATION_SLACK_S, SIZE_MAX));
    assert_true(revocations_are_too_many(&set, NOW));
    assert_true(revocations_sweep(&set, NOW + 51 + REVOCATION_SLACK_S, SIZE_MAX));
    assert_false(revocations_are_too_many(&set, NOW));
    /* Or when a full list fits. */
    assert_false(put(&set, REVOCATION_TOKEN, 9, 0, NOW + 500));
    revocations_begin(&set);
    for (unsigned n = 10; n < 14; n++)
        assert_true(put(&set, REVOCATION_TOKEN, n, 0, NOW + 100));
    assert_true(revocations_are_too_many(&set, NOW));
    revocations_end(&set);
    assert_false(revocations_are_too_many(&set, NOW));
    /* One that does not, does not end it. */
    revocations_begin(&set);
    for (unsigned n = 20; n < 25; n++)
        assert_int_equal(put(&set, REVOCATION_TOKEN, n, 0, NOW + 100), n < 24);
    revocations_end(&set);
    assert_true(revocations_are_too_many(&set, NOW));
    revocations_close(&set);
}

/* --- against a naive model ------------------------------------------------------------------ */

#define NAMES 60
#define MOST  40

struct model {
    struct {
        bool now, next;
        uint64_t gen, next_gen;
        int64_t until_s, next_until_s;
    } of[REVOCATION_KINDS][NAMES];
    bool filling;
};

static unsigned
draw(unsigned *random, unsigned below)
{
    *random = *random * 1103515245 + 12345;
    return *random / 65536 % below;
}

static void
model_put(struct model *m, unsigned kind, unsigned n, uint64_t gen, int64_t until_s)
{
    if (m->filling) {
        bool known = m->of[kind][n].next;

        if (!known || gen > m->of[kind][n].next_gen)
            m->of[kind][n].next_gen = gen;
        if (!known || until_s > m->of[kind][n].next_until_s)
            m->of[kind][n].next_until_s = until_s;
        m->of[kind][n].next = true;
        return;
    }
    if (!m->of[kind][n].now || gen > m->of[kind][n].gen)
        m->of[kind][n].gen = gen;
    if (!m->of[kind][n].now || until_s > m->of[kind][n].until_s)
        m->of[kind][n].until_s = until_s;
    m->of[kind][n].now = true;
}

static void
model_end(struct model *m)
{
    for (unsigned kind = 1; m->filling && kind < REVOCATION_KINDS; kind++)
        for (unsigned n = 0; n < NAMES; n++) {
            m->of[kind][n].now = m->of[kind][n].next;
            m->of[kind][n].gen = m->of[kind][n].next_gen;
            m->of[kind][n].until_s = m->of[kind][n].next_until_s;
        }
    m->filling = false;
}

/* What a list that broke off had named holds like the rest, until one is complete. */
static void
model_begin(struct model *m)
{
    for (unsigned kind = 1; kind < REVOCATION_KINDS; kind++)
        for (unsigned n = 0; n < NAMES; n++) {
            if (m->filling && m->of[kind][n].next) {
                m->of[kind][n].now = true;
                m->of[kind][n].gen = m->of[kind][n].next_gen;
                m->of[kind][n].until_s = m->of[kind][n].next_until_s;
            }
            m->of[kind][n].next = false;
        }
    m->filling = true;
}

/* What the full list has named already holds in its words; the rest in the old ones. */
static bool
model_has(const struct model *m, unsigned kind, unsigned n, uint64_t gen)
{
    bool is_next = m->filling && m->of[kind][n].next;

    if (!is_next && !m->of[kind][n].now)
        return false;
    return kind != REVOCATION_SUBJECT ||
           gen < (is_next ? m->of[kind][n].next_gen : m->of[kind][n].gen);
}

static void
model_sweep(struct model *m, int64_t now_s)
{
    for (unsigned kind = 1; kind < REVOCATION_KINDS; kind++)
        for (unsigned n = 0; n < NAMES; n++) {
            bool is_next = m->filling && m->of[kind][n].next;
            int64_t until_s = is_next ? m->of[kind][n].next_until_s : m->of[kind][n].until_s;

            if (until_s < now_s - REVOCATION_SLACK_S)
                m->of[kind][n].now = m->of[kind][n].next = false;
        }
}

static void
a_random_life_agrees_with_a_naive_model(void **state)
{
    struct model *m = calloc(1, sizeof(*m));
    int64_t now_s = NOW;
    unsigned random = 4711;
    struct revocations set;

    (void)state;
    assert_non_null(m);
    assert_err("open", revocations_open(&set, (REVOCATION_KINDS - 1) * NAMES), LK_OK);
    for (int step = 0; step < 200000; step++) {
        unsigned what = draw(&random, 100), kind = 1 + draw(&random, REVOCATION_KINDS - 1);
        unsigned n = draw(&random, NAMES);
        uint64_t gen = draw(&random, 10);
        int64_t until_s = now_s + (int64_t)draw(&random, 2000);

        if (what < 50) {
            assert_true(put(&set, (enum revocation_kind)kind, n, gen, until_s));
            model_put(m, kind, n, gen, until_s);
        } else if (what < 52) {
            revocations_begin(&set);
            model_begin(m);
        } else if (what < 54) {
            revocations_end(&set);
            model_end(m);
        } else if (what < 60) {
            now_s += draw(&random, 100);
            set.hand = 0; /* a whole round, as the model does it */
            while (!revocations_sweep(&set, now_s, 1 + draw(&random, 30)))
                ;
            model_sweep(m, now_s);
        }
        if (has(&set, (enum revocation_kind)kind, n, gen) != model_has(m, kind, n, gen))
            fail_msg("step %d: kind %u name %u generation %u", step, kind, n, (unsigned)gen);
    }
    assert_int_equal(set.issued_before_s, 0);
    revocations_close(&set);
    free(m);
}

static void
no_random_life_loses_one(void **state)
{
    bool revoked[NAMES] = {false};
    unsigned random = 99;
    struct revocations set;

    (void)state;
    assert_err("open", revocations_open(&set, MOST), LK_OK);
    /* More than fits: each is remembered, or every token of its age is refused. */
    for (int step = 0; step < 20000; step++) {
        unsigned n = draw(&random, NAMES);

        (void)put(&set, REVOCATION_TOKEN, n, 0, NOW + 1000);
        revoked[n] = true;
        n = draw(&random, NAMES);
        if (revoked[n])
            assert_true(has(&set, REVOCATION_TOKEN, n, 0) || revocations_are_too_many(&set, NOW));
        (void)revocations_sweep(&set, NOW, 7);
    }
    revocations_close(&set);
}

/* --- the document ---------------------------------------------------------------------------- */

#define DOC(rest)    "{\"epoch\":\"e1\",\"seq\":7,\"full\":false,\"entries\":[" rest "]}"
#define JTI(members) "{\"kind\":\"jti\",\"value\":\"AAECAwQFBgcICQoLDA0ODw\"" members "}"
#define SUB(members) "{\"kind\":\"sub\",\"value\":\"pump-7\"" members "}"

static void
answers(void **state)
{
    static const struct {
        const char *name, *text;
        enum lk_err err;
        size_t count;
    } rows[] = {
        {"nothing new", DOC(""), LK_OK, 0},
        {"a token", DOC(JTI(",\"until\":1")), LK_OK, 1},
        {"a subject", DOC(SUB(",\"until\":1,\"gen_before\":3")), LK_OK, 1},
        {"a token, with a generation that is null", DOC(JTI(",\"until\":1,\"gen_before\":null")),
         LK_OK, 1},
        {"a key", DOC("{\"until\":5,\"value\":\"k1\",\"kind\":\"kid\"}"), LK_OK, 1},
        {"a key longer than any",
         DOC("{\"kind\":\"kid\",\"until\":5,\"value\":\"0123456789012345678901234567890123456789"
             "0123456789012345678901234\"}"),
         LK_OK, 0},
        {"a family", DOC("{\"kind\":\"family\",\"value\":\"x\",\"until\":5}"), LK_OK, 0},
        {"a kind of a later version", DOC("{\"kind\":\"x\",\"value\":\"x\",\"until\":5}"), LK_OK,
         0},
        {"a member of a later version", DOC(JTI(",\"until\":1,\"why\":{\"a\":[1]}")), LK_OK, 1},
        {"a subject that is no id",
         DOC("{\"kind\":\"sub\",\"value\":\"a/b\",\"until\":5,\"gen_before\":1}"), LK_OK, 0},
        {"several", DOC(JTI(",\"until\":1") "," SUB(",\"until\":1,\"gen_before\":3")), LK_OK, 2},
        {"no kind", DOC("{\"value\":\"x\",\"until\":5}"), LK_ERR_MISSING, 0},
        {"no value", DOC("{\"kind\":\"jti\",\"until\":5}"), LK_ERR_MISSING, 0},
        {"no until", DOC(JTI("")), LK_ERR_MISSING, 0},
        {"no until, of a kind nobody knows", DOC("{\"kind\":\"x\",\"value\":\"x\"}"),
         LK_ERR_MISSING, 0},
        {"a subject without a generation", DOC(SUB(",\"until\":1")), LK_ERR_MISSING, 0},
        {"a generation below none", DOC(SUB(",\"until\":1,\"gen_before\":-1")), LK_ERR_RANGE, 0},
        {"a generation that is text", DOC(SUB(",\"until\":1,\"gen_before\":\"1\"")), LK_ERR_TYPE,
         0},
        {"an until before all time", DOC(JTI(",\"until\":-1")), LK_ERR_RANGE, 0},
        {"a value that is a number", DOC("{\"kind\":\"jti\",\"value\":1,\"until\":5}"), LK_ERR_TYPE,
         0},
        {"an entry that is text", DOC("\"jti\""), LK_ERR_TYPE, 0},
        {"a member twice", DOC(JTI(",\"until\":1,\"until\":2")), LK_ERR_DUPLICATE, 0},
        {"entries twice", "{\"entries\":[],\"entries\":[]}", LK_ERR_DUPLICATE, 0},
        {"no epoch", "{\"seq\":7,\"full\":false,\"entries\":[]}", LK_ERR_MISSING, 0},
        {"no seq", "{\"epoch\":\"e\",\"full\":false,\"entries\":[]}", LK_ERR_MISSING, 0},
        {"no full", "{\"epoch\":\"e\",\"seq\":7,\"entries\":[]}", LK_ERR_MISSING, 0},
        {"no entries", "{\"epoch\":\"e\",\"seq\":7,\"full\":true}", LK_ERR_MISSING, 0},
        {"an empty epoch", "{\"epoch\":\"\",\"seq\":7,\"full\":true,\"entries\":[]}", LK_ERR_SYNTAX,
         0},
        {"an epoch that ends the query",
         "{\"epoch\":\"a&after=9\",\"seq\":7,\"full\":true,\"entries\":[]}", LK_ERR_SYNTAX, 0},
        {"the longest epoch",
         "{\"epoch\":\"0123456789012345678901234567890123456789012345678901234567890123\","
         "\"seq\":7,\"full\":true,\"entries\":[]}",
         LK_OK, 0},
        {"an epoch longer than that",
         "{\"epoch\":\"01234567890123456789012345678901234567890123456789012345678901234\","
         "\"seq\":7,\"full\":true,\"entries\":[]}",
         LK_ERR_SYNTAX, 0},
        {"a seq below none", "{\"epoch\":\"e\",\"seq\":-1,\"full\":true,\"entries\":[]}",
         LK_ERR_RANGE, 0},
        {"a fraction of a seq", "{\"epoch\":\"e\",\"seq\":1.5,\"full\":true,\"entries\":[]}",
         LK_ERR_RANGE, 0},
        {"something behind it", DOC("") " {}", LK_ERR_TRAILING, 0},
        {"the end is missing", "{\"epoch\":\"e1\",\"seq\":7,\"full\":fal", LK_ERR_TRUNCATED, 0},
        {"nothing", "", LK_ERR_TRUNCATED, 0},
        {"a list", "[]", LK_ERR_TYPE, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *text = strdup(rows[i].text);
        struct feed_news *news;

        assert_non_null(text);
        assert_err(rows[i].name, feed_news_read((uint8_t *)text, strlen(text), &news), rows[i].err);
        assert_true((news != NULL) == (rows[i].err == LK_OK));
        if (news != NULL && news->count != rows[i].count)
            fail_msg("%s: %zu", rows[i].name, news->count);
        feed_news_free(news);
        free(text);
    }
}

static void
an_answer_says_what_it_said(void **state)
{
    char text[] = "{\"more\":true,\"entries\":[" JTI(",\"until\":11") "," SUB(
        ",\"until\":12,\"gen_before\":3") "],\"full\":true,\"seq\":9007199254740992,\"epoch\":"
                                          "\"A-b_c.d~9\"}";
    uint8_t subject[REVOCATION_KEY_LEN];
    struct feed_news *news;

    (void)state;
    assert_err("read", feed_news_read((uint8_t *)text, strlen(text), &news), LK_OK);
    assert_string_equal(news->epoch, "A-b_c.d~9");
    assert_int_equal(news->seq, INT64_C(9007199254740992));
    assert_true(news->full && news->more);
    assert_int_equal(news->entries[0].kind, REVOCATION_TOKEN);
    assert_memory_equal(news->entries[0].key, "\0\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17", 16);
    assert_int_equal(news->entries[0].until_s, 11);
    assert_int_equal(news->entries[1].kind, REVOCATION_SUBJECT);
    assert_int_equal(news->entries[1].gen_before, 3);
    assert_err("name", revocation_subject_key(LK_SPAN("pump-7"), subject), LK_OK);
    assert_memory_equal(news->entries[1].key, subject, sizeof(subject));
    assert_true(
        lk_span_is(lk_span_of(news->entries[1].subject, news->entries[1].subject_len), "pump-7"));
    feed_news_free(news);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_has_one_key_however_its_id_is_written),
        cmocka_unit_test(kinds_and_generations_are_told_apart),
        cmocka_unit_test(what_is_over_goes_by_the_servers_clock),
        cmocka_unit_test(a_full_list_replaces_when_it_is_complete),
        cmocka_unit_test(too_many_refuse_every_older_token),
        cmocka_unit_test(a_random_life_agrees_with_a_naive_model),
        cmocka_unit_test(no_random_life_loses_one),
        cmocka_unit_test(answers),
        cmocka_unit_test(an_answer_says_what_it_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
