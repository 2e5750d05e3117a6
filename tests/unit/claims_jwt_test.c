/*
 * Claims and headers of JWTs, read in one pass: in any order, written in any way JSON allows, and
 * refused when a name comes twice anywhere.
 */
#include <stdio.h>
#include <string.h>

#include <latchkey/claims.h>

#include "cmocka_all.h"
#include "guard.h"
#include "json_random.h"
#include "jwt.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* RFC 9449 section 6.1, figure 6. */
#define THUMBPRINT_TAIL "ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
#define THUMBPRINT      "0" THUMBPRINT_TAIL
#define THUMBPRINT_31   "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguAw"

static struct guard text_guard, room_guard;

/* Text and room end at unreadable pages; room is as long as the text and no longer. */
static enum lk_err
read_claims(const void *text, size_t len, struct lk_claims *claims)
{
    return lk_claims_read_jwt(lk_span_of(guard_put(&text_guard, text, len), len),
                              (struct lk_buf){guard_room(&room_guard, len), len}, claims);
}

static void
claims_are_read_or_refused(void **state)
{
    static const struct {
        const char *name, *text;
        enum lk_err err;
    } rows[] = {
        {"no claim", "{}", LK_OK},
        {"no claim, spaces", " { } ", LK_OK},
        {"a known and an unknown claim", "{\"iss\":\"a\",\"x\":1}", LK_OK},
        {"names that begin like known ones", "{\"is\":1,\"isss\":1,\"scop\":1,\"client_ie\":1}",
         LK_OK},
        {"an empty name", "{\"\":1}", LK_OK},
        {"a known claim twice", "{\"iss\":\"a\",\"iss\":\"a\"}", LK_ERR_DUPLICATE},
        {"a known claim twice, first escaped", "{\"\\u0069ss\":\"a\",\"iss\":\"a\"}",
         LK_ERR_DUPLICATE},
        {"a known claim twice, then escaped", "{\"client_id\":\"a\",\"client\\u005fid\":\"a\"}",
         LK_ERR_DUPLICATE},
        {"an unknown claim twice", "{\"x\":1,\"iss\":\"a\",\"x\":1}", LK_ERR_DUPLICATE},
        {"an unknown claim twice, once escaped", "{\"\\u0078\":1,\"iss\":\"a\",\"x\":1}",
         LK_ERR_DUPLICATE},
        {"an empty name twice", "{\"\":1,\"\":1}", LK_ERR_DUPLICATE},
        {"a name twice in an unknown claim", "{\"x\":[{\"a\":1,\"a\":1}]}", LK_ERR_DUPLICATE},
        {"a name twice in a scope that is an object", "{\"scope\":{\"a\":1,\"a\":1}}",
         LK_ERR_DUPLICATE},
        {"a name twice in cnf", "{\"cnf\":{\"kid\":\"AQID\",\"k\\u0069d\":\"AQID\"}}",
         LK_ERR_DUPLICATE},
        {"a name twice in the key of cnf", "{\"cnf\":{\"jwk\":{\"a\":1,\"a\":1}}}",
         LK_ERR_DUPLICATE},
        {"the name of a claim in another one", "{\"x\":{\"iss\":1},\"iss\":\"a\"}", LK_OK},
        {"a name without quotes", "{iss:\"a\"}", LK_ERR_MALFORMED},
        {"no colon", "{\"iss\"\"a\"}", LK_ERR_MALFORMED},
        {"no comma", "{\"iss\":\"a\"\"sub\":\"b\"}", LK_ERR_MALFORMED},
        {"two commas", "{\"iss\":\"a\",,\"sub\":\"b\"}", LK_ERR_MALFORMED},
        {"a comma in front", "{,\"iss\":\"a\"}", LK_ERR_MALFORMED},
        {"a comma at the end", "{\"iss\":\"a\",}", LK_ERR_MALFORMED},
        {"closed as an array", "{\"iss\":\"a\"]", LK_ERR_MALFORMED},
        {"cut off behind a comma", "{\"iss\":\"a\",", LK_ERR_TRUNCATED},
        {"cut off behind a name", "{\"iss\"", LK_ERR_TRUNCATED},
        {"cut off behind a colon", "{\"iss\":", LK_ERR_TRUNCATED},
        {"cut off in a name", "{\"is", LK_ERR_TRUNCATED},
        {"cut off in a text", "{\"iss\":\"https://as.example.com", LK_ERR_TRUNCATED},
        {"cut off in a number", "{\"exp\":1760000000", LK_ERR_TRUNCATED},
        {"something behind", "{\"iss\":\"a\"}x", LK_ERR_TRAILING},
        {"a control character in a text", "{\"iss\":\"https://as\x1f.example.com\"}",
         LK_ERR_MALFORMED},
        {"a control character in a name", "{\"iss\x01\":\"a\"}", LK_ERR_MALFORMED},
        {"a high byte that is no UTF-8", "{\"iss\":\"https://as\x80.example.com\"}", LK_ERR_UTF8},
        {"a high byte in a name", "{\"is\xff\":\"a\"}", LK_ERR_UTF8},
        {"UTF-8", "{\"iss\":\"https://\xc3\xa9.example.com\",\"\xe2\x82\xac\":1}", LK_OK},
        {"NUL by escape in a name", "{\"i\\u0000ss\":\"a\"}", LK_ERR_MALFORMED},
        {"a date with a leading zero", "{\"exp\":01760000000,\"iss\":\"a\"}", LK_ERR_MALFORMED},
        {"a date with a plus", "{\"exp\":+1760000000,\"iss\":\"a\"}", LK_ERR_MALFORMED},
        {"a date in hex", "{\"exp\":0x68e7780,\"issuer\":\"abc\"}", LK_ERR_MALFORMED},
        {"a date without a digit behind the point", "{\"exp\":1760000000.,\"issuer\":\"abc\"}",
         LK_ERR_MALFORMED},
        {"a date of 16 digits", "{\"exp\":9007199254740992,\"issuer\":\"abc\"}", LK_OK},
        {"a date beyond 2^53", "{\"exp\":9007199254740993,\"issuer\":\"abc\"}", LK_ERR_RANGE},
        {"a date of 20 digits", "{\"exp\":10000000000000000000,\"issuer\":\"abc\"}", LK_ERR_RANGE},
        {"a date as a text", "{\"exp\":\"1760000000\",\"issuer\":\"abc\"}", LK_ERR_TYPE},
        {"a text as a number", "{\"iss\":1760000000,\"issuer\":\"abc\"}", LK_ERR_TYPE},
        {"gen with a fraction", "{\"gen\":1.5,\"issuer\":\"abc\"}", LK_ERR_RANGE},
        {"16 deep", "{\"x\":[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}", LK_OK},
        {"17 deep", "{\"x\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", LK_ERR_DEPTH},
    };
    static const struct lk_claims zero;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct lk_claims claims;

        assert_err(rows[i].name, read_claims(rows[i].text, strlen(rows[i].text), &claims),
                   rows[i].err);
        if (rows[i].err != LK_OK)
            assert_memory_equal(&claims, &zero, sizeof(claims));
        else
            assert_true(lk_span_is(claims.raw, rows[i].text));
    }
}

static void
claims_have_a_limit(void **state)
{
    static const char known[] = "{\"iss\":\"a\",\"exp\":1,\"children\":[]";

    (void)state;
    for (unsigned others = LK_MEMBERS_MAX - 3; others <= LK_MEMBERS_MAX - 2; others++) {
        static struct text text;
        struct lk_claims claims;
        char member[32];

        text.len = 0;
        text_puts(&text, known);
        for (unsigned i = 0; i < others; i++) {
            snprintf(member, sizeof(member), ",\"x%u\":%u", i, i);
            text_puts(&text, member);
        }
        text_puts(&text, "}");
        assert_int_equal(read_claims(text.bytes, text.len, &claims),
                         others > LK_MEMBERS_MAX - 3 ? LK_ERR_LIMIT : LK_OK);
    }
}

/* RFC 7800 section 3.1: one known member, or nothing that could be checked. */
static void
a_confirmation_has_one_known_member(void **state)
{
    static const struct {
        const char *name, *cnf;
        enum lk_cnf_kind kind;
        size_t len;
    } rows[] = {
        {"jkt", "{\"jkt\":\"" THUMBPRINT "\"}", LK_CNF_THUMBPRINT, 32},
        {"jkt, spaces and escapes", " { \"\\u006akt\" : \"\\u0030" THUMBPRINT_TAIL "\" } ",
         LK_CNF_THUMBPRINT, 32},
        {"jkt and something unknown", "{\"x\":{},\"jkt\":\"" THUMBPRINT "\",\"y\":1}",
         LK_CNF_THUMBPRINT, 32},
        {"jkt of 31 bytes", "{\"jkt\":\"" THUMBPRINT_31 "\"}", LK_CNF_OTHER, 0},
        {"jkt of 33 bytes", "{\"jkt\":\"" THUMBPRINT_31 "AAA\"}", LK_CNF_OTHER, 0},
        {"jkt with padding", "{\"jkt\":\"" THUMBPRINT "=\"}", LK_CNF_OTHER, 0},
        {"jkt with other trailing bits",
         "{\"jkt\":\"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4J\"}", LK_CNF_OTHER, 0},
        {"jkt empty", "{\"jkt\":\"\"}", LK_CNF_OTHER, 0},
        {"jkt null", "{\"jkt\":null}", LK_CNF_OTHER, 0},
        {"jkt and kid", "{\"jkt\":\"" THUMBPRINT "\",\"kid\":\"AQID\"}", LK_CNF_OTHER, 0},
        {"jkt and osc", "{\"jkt\":\"" THUMBPRINT "\",\"osc\":{}}", LK_CNF_OTHER, 0},
        {"jku", "{\"jku\":\"" THUMBPRINT "\"}", LK_CNF_OTHER, 0},
        {"jwe", "{\"jwe\":\"" THUMBPRINT "\"}", LK_CNF_OTHER, 0},
        {"osc", "{\"osc\":{}}", LK_CNF_OTHER, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[256];
        int len = snprintf(text, sizeof(text), "{\"cnf\":%s}", rows[i].cnf);
        struct lk_claims claims;

        assert_err(rows[i].name, read_claims(text, (size_t)len, &claims), LK_OK);
        if (claims.cnf != rows[i].kind || claims.cnf_value.len != rows[i].len)
            fail_msg("%s: kind %d, %zu bytes", rows[i].name, (int)claims.cnf, claims.cnf_value.len);
    }
}

static void
headers_are_read_or_refused(void **state)
{
    static const struct {
        const char *name, *text;
        enum lk_err err;
    } rows[] = {
        {"good", "{\"alg\":\"ES256\",\"kid\":\"k\",\"typ\":\"at+jwt\"}", LK_OK},
        {"good, in other words",
         " {\"t\\u0079p\" : \"at\\u002bjwt\",\"\\u006bid\":\"\\u006b\" ,"
         "\"x\":[{}],\"alg\":\"ES\\u003256\"}",
         LK_OK},
        {"kid twice", "{\"alg\":\"ES256\",\"kid\":\"k\",\"kid\":\"k\"}", LK_ERR_DUPLICATE},
        {"alg twice, once escaped", "{\"alg\":\"ES256\",\"\\u0061lg\":\"none\"}", LK_ERR_DUPLICATE},
        {"crit twice", "{\"alg\":\"ES256\",\"crit\":[],\"crit\":[]}", LK_ERR_DUPLICATE},
        {"an unknown member twice", "{\"x\":1,\"alg\":\"ES256\",\"x\":1}", LK_ERR_DUPLICATE},
        {"a name twice in a key", "{\"alg\":\"ES256\",\"jwk\":{\"a\":1,\"a\":1}}",
         LK_ERR_DUPLICATE},
        {"crit by an escaped name", "{\"alg\":\"ES256\",\"\\u0063rit\":[\"b64\"]}", LK_ERR_CRIT},
        {"crit in another member",
         "{\"alg\":\"ES256\",\"x\":{\"crit\":[]},\"kid\":\"k\","
         "\"typ\":\"at+jwt\"}",
         LK_OK},
        {"typ null", "{\"alg\":\"ES256\",\"typ\":null}", LK_ERR_TYPE},
        {"something behind", "{\"alg\":\"ES256\"} 1", LK_ERR_TRAILING},
        {"cut off", "{\"alg\":\"ES256\"", LK_ERR_TRUNCATED},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t len = strlen(rows[i].text);
        struct lk_jwt_header header;

        assert_err(rows[i].name,
                   lk_jwt_read_header(guard_put(&room_guard, rows[i].text, len), len, &header),
                   rows[i].err);
        assert_int_equal(header.alg, rows[i].err == LK_OK ? LK_ALG_ES256 : LK_ALG_NONE);
        assert_int_equal(header.kid.ptr != NULL, rows[i].err == LK_OK);
        if (rows[i].err == LK_OK)
            assert_true(lk_span_is(header.kid, "k") && lk_span_is(header.typ, "at+jwt"));
    }
}

/* Random claims sets. */

static const char *const names[] = {
    "iss", "sub", "jti", "scope", "client_id", "tnt", "dty", /* texts */
    "exp", "nbf", "iat", "gen",   "aud",       "cnf", "own", "x-unknown", ""};
enum { TEXTS = 7, EXP = 7, NBF, IAT, GEN, AUD, CNF, OWN, NAMES = COUNT(names) };

struct wanted {
    struct text text, meaning;
    size_t escapes, spaces;
    bool has[NAMES];
    size_t at[NAMES], len[NAMES]; /* in meaning */
    int64_t value[NAMES];
};

static struct wanted w;

static void
date_write(size_t which)
{
    static const char *const tails[] = {"", "", "", ".0", ".999", "e0", "0e-1", "00E-2"};
    char number[40];

    w.value[which] = (int64_t)random_below(random_below(2) == 0 ? 4000000000u : 10u);
    if (w.value[which] == 0)
        w.value[which] = 1; /* no zero may stand in front of a tail's */
    snprintf(number, sizeof(number), "%lld%s", (long long)w.value[which],
             which == GEN ? "" : tails[random_below(COUNT(tails))]);
    text_puts(&w.text, number);
}

static void
member_write(size_t which)
{
    text_put_ascii(&w.text, lk_span_text(names[which]), w.escapes);
    text_put_space(&w.text, w.spaces);
    text_puts(&w.text, ":");
    text_put_space(&w.text, w.spaces);
    w.at[which] = w.meaning.len;
    if (which < TEXTS || which == OWN)
        text_put_random(&w.text, &w.meaning, 30, w.escapes);
    else if (which <= GEN)
        date_write(which);
    else if (which == CNF)
        text_puts(&w.text, "{\"x\":{\"a\":[]}, \"k\\u0069d\":\"AQID\"}");
    else if (which == AUD)
        text_put_random(&w.text, &w.meaning, 30, w.escapes);
    else
        text_puts(&w.text, "[{\"iss\":1},{\"iss\":[{}]}]");
    w.len[which] = w.meaning.len - w.at[which];
    text_put_space(&w.text, w.spaces);
}

static void
claims_write(bool twice)
{
    size_t order[NAMES], count = 1 + random_below(NAMES);

    memset(w.has, 0, sizeof(w.has));
    w.text.len = w.meaning.len = 0;
    w.escapes = random_below(6);
    w.spaces = random_below(3) * 4;
    for (size_t i = 0; i < NAMES; i++)
        order[i] = i;
    for (size_t i = 0; i < count; i++) {
        size_t from = i + random_below(NAMES - i), which = order[from];

        order[from] = order[i];
        order[i] = which;
        text_puts(&w.text, i == 0 ? "{" : ",");
        text_put_space(&w.text, w.spaces);
        member_write(which);
        w.has[which] = true;
    }
    if (twice) {
        text_puts(&w.text, ",");
        member_write(order[random_below(count)]);
    }
    text_puts(&w.text, "}");
}

static void
assert_text(struct lk_span got, size_t which)
{
    assert_int_equal(got.ptr != NULL, w.has[which]);
    if (w.has[which])
        assert_true(lk_span_equal(got, lk_span_of(w.meaning.bytes + w.at[which], w.len[which])));
}

static void
assert_date(bool has, int64_t value, size_t which)
{
    assert_int_equal(has, w.has[which]);
    assert_int_equal(value, has ? w.value[which] : 0);
}

static void
claims_check(const struct lk_claims *c)
{
    uint8_t room[256];
    struct lk_span own;

    assert_text(c->issuer, 0);
    assert_text(c->subject, 1);
    assert_text(c->token_id, 2);
    assert_text(c->scope, 3);
    assert_text(c->client, 4);
    assert_text(c->tenant, 5);
    assert_text(c->type, 6);
    assert_date(c->has_expires, c->expires_s, EXP);
    assert_date(c->has_not_before, c->not_before_s, NBF);
    assert_date(c->has_issued, c->issued_s, IAT);
    assert_date(c->has_generation, (int64_t)c->generation, GEN);
    assert_int_equal(c->audience_count, w.has[AUD]);
    assert_text(c->audience[0], AUD);
    assert_int_equal(c->cnf, w.has[CNF] ? LK_CNF_KID : LK_CNF_NONE);
    assert_int_equal(c->cnf_value.len, w.has[CNF] ? 3 : 0);
    assert_true(lk_span_equal(c->raw, lk_span_of(w.text.bytes, w.text.len)));
    assert_int_equal(lk_claims_get_text(c, LK_SPAN("own"), LK_BUF_OF(room), &own), w.has[OWN]);
    assert_text(own, OWN);
}

static void
claims_are_read_as_they_were_meant(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 10000; round++) {
        struct lk_claims claims;

        claims_write(false);
        assert_err("random claims", read_claims(w.text.bytes, w.text.len, &claims), LK_OK);
        claims_check(&claims);
    }
}

static void
a_claim_twice_is_refused(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 5000; round++) {
        struct lk_claims claims;

        claims_write(true);
        assert_err("a claim twice", read_claims(w.text.bytes, w.text.len, &claims),
                   LK_ERR_DUPLICATE);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_are_read_or_refused),
        cmocka_unit_test(claims_have_a_limit),
        cmocka_unit_test(a_confirmation_has_one_known_member),
        cmocka_unit_test(headers_are_read_or_refused),
        cmocka_unit_test(claims_are_read_as_they_were_meant),
        cmocka_unit_test(a_claim_twice_is_refused),
    };

    text_guard = guard_open(LK_TOKEN_MAX);
    room_guard = guard_open(LK_TOKEN_MAX);
    return cmocka_run_group_tests_name("claims_jwt", tests, NULL, NULL);
}
