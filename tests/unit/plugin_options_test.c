#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <latchkey/key.h>

#include "compat.h"
#include "options.h"

#include "cmocka_all.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static char ini_path[] = "/tmp/latchkey-options-XXXXXX";

static void
write_ini(const char *text)
{
    FILE *file = fopen(ini_path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* "name value" lines as the broker hands them over. */
static int
split(char *text, struct mosquitto_opt *opts, int most)
{
    char *rest, *line = strtok_r(text, "\n", &rest);
    int n = 0;

    for (; line != NULL && n < most; line = strtok_r(NULL, "\n", &rest), n++) {
        char *space = strchr(line, ' ');

        opts[n].key = line;
        opts[n].value = space != NULL ? space + 1 : NULL;
        if (space != NULL)
            *space = '\0';
    }
    return n;
}

static enum lk_err
read_options(struct options *o, const char *given, const char *ini, char error[OPTION_ERROR_MAX])
{
    char text[4096];
    struct mosquitto_opt opts[OPTIONS_GIVEN_MAX + 8];
    int n;

    (void)snprintf(text, sizeof(text), "%s%s%s", given, ini != NULL ? "\nconfig " : "",
                   ini != NULL ? ini_path : "");
    if (ini != NULL)
        write_ini(ini);
    n = split(text, opts, (int)COUNT(opts));
    return options_read(o, opts, n, error);
}

static void
durations(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t seconds;
    } rows[] = {
        {"300", true, 300},   {"300s", true, 300},
        {"5m", true, 300},    {"2h", true, 7200},
        {"7d", true, 604800}, {"0", true, 0},
        {"", false, 0},       {"s", false, 0},
        {"-1", false, 0},     {"1 s", false, 0},
        {"1w", false, 0},     {"1.5h", false, 0},
        {" 1", false, 0},     {"99999999999999999999", false, 0},
        {"+1", false, 0},     {"1ss", false, 0},
    };
    int64_t seconds;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (options_parse_duration(rows[i].text, &seconds) != rows[i].ok)
            fail_msg("%s", rows[i].text);
        assert_int_equal(seconds, rows[i].seconds);
    }
}

#define GOOD    "issuer https://as.test"
#define ACCOUNT "\nclient_id b\nclient_secret_file /s"

static void
what_is_wrong_is_named(void **state)
{
    static const struct {
        const char *name, *given, *ini, *error; /* error NULL: fine */
    } rows[] = {
        {"the least", GOOD, NULL, NULL},
        {"the least, in the file", "", "[issuer a]\nissuer = https://as.test\n", NULL},
        {"a comment behind a value", "", "[plugin]\nissuer = https://as.test ; ours\n", NULL},
        {"loopback in clear text", "issuer http://127.0.0.1:8080", NULL, NULL},
        {"loopback by name", "issuer http://localhost/", NULL, NULL},
        {"loopback, IPv6", "issuer http://[::1]:1/", NULL, NULL},
        {"a name that begins like loopback", "issuer http://127.0.0.1.evil.test", NULL,
         "option issuer"},
        {"another scheme", "issuer ftp://as.test", NULL, "option issuer"},
        {"nothing behind the scheme", "issuer https://", NULL, "option issuer"},
        {"any issuer with keys from a file", "issuer urn:x\nkeys_file /k", NULL, NULL},
        {"no issuer", "leeway 1", NULL, "option issuer required"},
        {"an empty value", GOOD "\nca_file ", NULL, "option ca_file a value is missing"},
        {"no value", GOOD "\nca_file", NULL, "option ca_file a value is missing"},
        {"unknown name", GOOD "\nnonsense 1", NULL, "option nonsense there is no such option"},
        {"metrics off", GOOD "\nmetrics off", NULL, NULL},
        {"metrics on loopback", GOOD "\nmetrics 127.0.0.1:9100", NULL, NULL},
        {"metrics nowhere", GOOD "\nmetrics on", NULL,
         "option metrics on: expected off, 127.0.0.1:PORT, unix:/PATH or /PATH of a file"},
        {"metrics without a port", GOOD "\nmetrics 127.0.0.1", NULL,
         "option metrics 127.0.0.1: expected off"},
        {"presence off", GOOD "\npresence false", NULL, NULL},
        {"presence perhaps", GOOD "\npresence perhaps", NULL,
         "option presence perhaps: expected true or false"},
        {"twice", GOOD "\nleeway 1\nleeway 1", NULL, "option leeway given twice"},
        {"in both places", GOOD "\nleeway 1", "[plugin]\nleeway = 1\n",
         "option leeway given twice"},
        {"longest leeway", GOOD "\nleeway 10m", NULL, NULL},
        {"a leeway beyond it", GOOD "\nleeway 601", NULL, "option leeway 601: expected"},
        {"no leeway", GOOD "\nleeway 0", NULL, NULL},
        {"a rate", GOOD "\nauth_fail_rate 5/s", NULL, NULL},
        {"a rate without its unit", GOOD "\nauth_fail_rate 5", NULL, NULL},
        {"a rate of another unit", GOOD "\nauth_fail_rate 5/m", NULL, "option auth_fail_rate 5/m:"},
        {"a count with a unit", GOOD "\ncache_size 5/s", NULL, "option cache_size 5/s:"},
        {"no cache", GOOD "\ncache_size 0", NULL, NULL},
        {"words", GOOD "\nunknown defer\non_deny disconnect\nclient_id_binding off", NULL, NULL},
        {"a word in capitals", GOOD "\nunknown DEFER", NULL, "option unknown DEFER: expected deny"},
        {"text that plays with the log", GOOD "\nunknown a\tb", NULL, "a\\x09b"},
        {"outside of a section", GOOD, "leeway = 1\n", "option leeway stands outside"},
        {"a section nobody knows", GOOD, "[other]\nleeway = 1\n", "option leeway stands outside"},
        {"an issuer section without a name", GOOD, "[issuer ]\nca_file = /a\n",
         "option ca_file stands outside"},
        {"two issuers", "", "[issuer a]\nissuer=https://a\n[issuer b]\nca_file=/b\n",
         "more than one issuer"},
        {"the file in the file", GOOD, "[plugin]\nconfig = /x\n", "option config only"},
        {"no ini", GOOD, "[plugin]\nleeway\n", "line 2"},
        {"keys by two roads", GOOD "\nkeys_file /k\njwks_uri https://as.test/j", NULL,
         "option jwks_uri keys come from"},
        {"all there is to say about a foreign issuer",
         GOOD "\ntyp JWT\nscope_claim realm_access.roles\nscope_prefix mqtt/\nsubject_claim azp\n"
              "tenant acme\nalgs RS256",
         NULL, NULL},
        {"the same in its section", "",
         "[issuer kc]\nissuer=https://as.test\ntyp=JWT\nscope_claim=scp\nscope_prefix=mqtt/\n"
         "subject_claim=azp\ntenant=acme\nalgs=RS256\n",
         NULL},
        {"an algorithm unknown", GOOD "\nalgs ES256 ES512", NULL,
         "option algs ES256\\x20ES512: expected some of ES256"},
        {"no algorithm at all", GOOD "\nalgs none", NULL, "option algs none: expected"},
        {"an empty algorithm", GOOD "\nalgs ,ES256", NULL, "option algs ,ES256: expected"},
        {"no algs", GOOD "\nalgs ", NULL, "option algs"},
        {"a tenant that is none", GOOD "\ntenant Acme", NULL,
         "option tenant Acme: expected 1 to 32"},
        {"every tenant", GOOD "\ntenant *", NULL, "option tenant *: expected 1 to 32"},
        {"an empty scope_claim", GOOD "\nscope_claim ", NULL,
         "option scope_claim a value is missing"},
        {"proof", GOOD "\nrequire_cnf true", NULL, NULL},
        {"proof, a little", GOOD "\nrequire_cnf some", NULL,
         "option require_cnf some: expected true or false"},
        {"a key to derive from", GOOD "\nrs_key_file /k", NULL, NULL},
        {"a key to derive from, of the issuer", "",
         "[issuer a]\nissuer = https://as.test\nrs_key_file = /k\n", NULL},
        {"no proof", GOOD "\nrequire_cnf false", NULL, NULL},
        {"no feed", GOOD "\nfeed off", NULL, NULL},
        {"a feed", GOOD ACCOUNT "\nfeed on", NULL, NULL},
        {"a feed in the section of its issuer", "",
         "[issuer a]\nissuer=https://as.test\nfeed=off\n", NULL},
        {"a feed without an account", GOOD "\nfeed on", NULL, "option feed on: needs client_id"},
        {"a feed with half an account", GOOD "\nclient_id b\nfeed on", NULL,
         "option feed on: needs client_id"},
        {"a feed of another's server", GOOD ACCOUNT "\ntyp JWT\nfeed on", NULL,
         "option feed on: only Latchkey's"},
        {"a feed that cannot be reached", "issuer urn:x\nkeys_file /k" ACCOUNT "\nfeed on", NULL,
         "option feed on: needs"},
        {"neither on nor off", GOOD "\nfeed maybe", NULL, "option feed maybe: expected on or off"},
        {"an age", GOOD ACCOUNT "\nmax_feed_age 10m", NULL, NULL},
        {"the least age", GOOD ACCOUNT "\nmax_feed_age 5", NULL, NULL},
        {"an age that one answer outlasts", GOOD ACCOUNT "\nmax_feed_age 4", NULL,
         "option max_feed_age 4: expected"},
        {"an age without a feed", GOOD "\nmax_feed_age 10m", NULL, "option max_feed_age there is"},
        {"an age with the feed off", GOOD ACCOUNT "\nfeed off\nmax_feed_age 10m", NULL,
         "option max_feed_age there is"},
    };
    char error[OPTION_ERROR_MAX];
    struct options *o = malloc(sizeof(*o));

    (void)state;
    assert_non_null(o);
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum lk_err err = read_options(o, rows[i].given, rows[i].ini, error);

        assert_err(rows[i].name, err, rows[i].error == NULL ? LK_OK : LK_ERR_ARG);
        if (rows[i].error != NULL && strstr(error, rows[i].error) == NULL)
            fail_msg("%s: %s", rows[i].name, error);
    }
    free(o);
}

static void
a_value_of_every_length(void **state)
{
    char error[OPTION_ERROR_MAX], value[OPTION_TEXT_MAX + 2], given[2 * OPTION_TEXT_MAX];
    struct options *o = malloc(sizeof(*o));

    (void)state;
    assert_non_null(o);
    for (size_t len = OPTION_TEXT_MAX - 2; len <= OPTION_TEXT_MAX + 1; len++) {
        memset(value, 'x', len);
        value[len] = '\0';
        (void)snprintf(given, sizeof(given), GOOD "\nca_file %s", value);
        assert_err("length", read_options(o, given, NULL, error),
                   len < OPTION_TEXT_MAX ? LK_OK : LK_ERR_ARG);
    }
    free(o);
}

static void
defaults_and_values(void **state)
{
    char error[OPTION_ERROR_MAX];
    struct options *o = malloc(sizeof(*o));

    (void)state;
    assert_non_null(o);
    assert_err("defaults", read_options(o, "issuer https://as.test///", NULL, error), LK_OK);
    assert_string_equal(o->jwks_uri, "https://as.test/.well-known/jwks.json");
    assert_string_equal(o->audience, "mqtt");
    assert_string_equal(o->state_dir, "/var/lib/latchkey/broker");
    assert_false(o->state_dir_given);
    assert_int_equal(o->leeway_s, 30);
    assert_int_equal(o->session_keep_s, 604800);
    assert_int_equal(o->max_connections_per_subject, 8);
    assert_int_equal(o->disconnect_after_expire, true);
    assert_int_equal(o->unknown, UNKNOWN_DENY);
    assert_err(
        "values",
        read_options(o, GOOD "\nstate_dir /s", "[plugin]\nunknown=defer\nleeway=1m\n", error),
        LK_OK);
    assert_true(o->state_dir_given);
    assert_string_equal(o->state_dir, "/s");
    assert_int_equal(o->unknown, UNKNOWN_DEFER);
    assert_int_equal(o->leeway_s, 60);
    free(o);
}

static void
who_asks_for_a_mapping_means_another_issuer(void **state)
{
    static const struct {
        const char *given;
        bool is_foreign;
    } rows[] = {
        {GOOD, false},
        {GOOD "\nalgs ES256", false},
        {GOOD "\ntyp JWT", true},
        {GOOD "\nscope_claim scp", true},
        {GOOD "\nscope_prefix mqtt/", true},
        {GOOD "\nsubject_claim azp", true},
        {GOOD "\ntenant acme", true},
    };
    char error[OPTION_ERROR_MAX];
    struct options *o = malloc(sizeof(*o));

    (void)state;
    assert_non_null(o);
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_err(rows[i].given, read_options(o, rows[i].given, NULL, error), LK_OK);
        assert_int_equal(o->issuer_is_foreign, rows[i].is_foreign);
    }
    assert_err("algs", read_options(o, GOOD "\nalgs ES256, RS256  EdDSA", NULL, error), LK_OK);
    assert_int_equal(o->algs, 1 << LK_ALG_ES256 | 1 << LK_ALG_RS256 | 1 << LK_ALG_EDDSA);
    assert_err("algs", read_options(o, GOOD, NULL, error), LK_OK);
    assert_int_equal(o->algs, 0);
    free(o);
}

static void
the_feed_is_read_where_it_can_be(void **state)
{
    static const struct {
        const char *given;
        int64_t feed;
    } rows[] = {
        {GOOD, FEED_OFF},
        {GOOD ACCOUNT, FEED_ON},
        {GOOD ACCOUNT "\nfeed off", FEED_OFF},
        {GOOD "\nclient_id b", FEED_OFF},
        {GOOD ACCOUNT "\nscope_claim scp", FEED_OFF},
        {GOOD ACCOUNT "\nkeys_file /k", FEED_OFF},
        {GOOD ACCOUNT "\nkeys_file /k\nfeed on", FEED_ON},
    };
    char error[OPTION_ERROR_MAX];
    struct options *o = malloc(sizeof(*o));

    (void)state;
    assert_non_null(o);
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_err(rows[i].given, read_options(o, rows[i].given, NULL, error), LK_OK);
        if (o->feed != rows[i].feed)
            fail_msg("%s", rows[i].given);
        assert_int_equal(o->max_feed_age_s, 0);
    }
    free(o);
}

static void
the_file_is_read_again(void **state)
{
    static const struct {
        const char *name, *ini;
        enum lk_err err;
        const char *restart;
        int64_t leeway_s;
    } rows[] = {
        {"a live option", "[plugin]\nleeway = 7\n", LK_OK, NULL, 7},
        {"one that needs a restart", "[plugin]\nleeway = 8\naudience = x\n", LK_OK, "audience", 8},
        {"a wrong value", "[plugin]\nleeway = x\n", LK_ERR_ARG, NULL, 8},
        {"gone: back to the default", "", LK_OK, NULL, 30},
    };
    char error[OPTION_ERROR_MAX];
    const char *restart;
    struct options *o = malloc(sizeof(*o));

    (void)state;
    assert_non_null(o);
    assert_err("start", read_options(o, GOOD, "[plugin]\nleeway = 5\n", error), LK_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        write_ini(rows[i].ini);
        assert_err(rows[i].name, options_reload(o, &restart, error), rows[i].err);
        assert_int_equal(o->leeway_s, rows[i].leeway_s);
        assert_string_equal(o->audience, "mqtt");
        if (rows[i].restart == NULL)
            assert_null(restart);
        else
            assert_string_equal(restart, rows[i].restart);
    }
    assert_int_equal(unlink(ini_path), 0);
    assert_err("no file", options_reload(o, &restart, error), LK_ERR_ARG);
    assert_int_equal(o->leeway_s, 30);
    free(o);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(a_value_of_every_length),
        cmocka_unit_test(defaults_and_values),
        cmocka_unit_test(who_asks_for_a_mapping_means_another_issuer),
        cmocka_unit_test(the_feed_is_read_where_it_can_be),
        cmocka_unit_test(the_file_is_read_again),
    };
    int fd = mkstemp(ini_path), failed;

    if (fd < 0 || close(fd) != 0)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(ini_path);
    return failed;
}
