/* The configuration: the example as it is, and every way to get a line wrong. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"

#define HEAD "[server]\nissuer = https://a.example\n"

static const struct {
    const char *name, *text;
    const char *error; /* a piece of it, with its line; NULL: taken */
} rows[] = {
    {"specimen", HEAD, NULL},
    {"empty", "", ":1: [server] issuer"},
    {"unknown section", HEAD "[nothing]\n", ":3: unknown section [nothing]"},
    {"section not closed", HEAD "[store\n", ":3: ]"},
    {"unknown key", HEAD "nothing = 1\n", ":3: unknown key nothing in [server]"},
    {"key before a section", "a = 1\n" HEAD, ":1: a [section]"},
    {"key twice", HEAD "issuer = https://b.example\n", ":3: issuer is there already"},
    {"no equals sign", HEAD "nonsense\n", ":3: [section] or name = value"},
    {"issuer not https", "[server]\nissuer = http://a.example\n", ":2: an URL"},
    {"issuer with a query", "[server]\nissuer = https://a.example?x\n", ":2: an URL"},
    {"issuer with a slash at its end", "[server]\nissuer = https://a.example/\n", ":2: an URL"},
    {"listen without a port", HEAD "listen = 127.0.0.1\n", ":3: ADDRESS:PORT"},
    {"port too large", HEAD "listen = 127.0.0.1:65536\n", ":3: ADDRESS:PORT"},
    {"listen on IPv6", HEAD "listen = [::1]:8443\n", NULL},
    {"workers none", HEAD "workers = 0\n", ":3: a number from 1 to 64"},
    {"workers many", HEAD "workers = 65\n", ":3: a number from 1 to 64"},
    {"workers a word", HEAD "workers = two\n", ":3: a number"},
    {"workers a number and a word", HEAD "workers = 2x\n", ":3: a number"},
    {"log level unknown", HEAD "log = loud\n", ":3: error, warn"},
    {"duration", HEAD "[tokens]\naccess_lifetime = 15m\n", NULL},
    {"duration unknown unit", HEAD "[tokens]\naccess_lifetime = 15w\n", ":4: a duration"},
    {"duration nothing", HEAD "[tokens]\naccess_lifetime = 0\n", ":4: a duration"},
    {"duration too long", HEAD "[tokens]\naccess_lifetime = 9999d\n", ":4: a duration"},
    {"duration negative", HEAD "[tokens]\naccess_lifetime = -5\n", ":4: a duration"},
    {"bool neither", HEAD "[desk]\nenabled = true\n", ":4: yes or no"},
    {"a type of its own", HEAD "[type meter]\nscopes = a:b\n", NULL},
    {"a type without scopes", HEAD "[type meter]\n", ":3: scopes = ... was expected for meter"},
    {"a type twice", HEAD "[type m]\nscopes = a:b\n[type m]\n", ":5: [type m] is there already"},
    {"type name", HEAD "[type Meter]\n", ":3: a name of 1 to 32"},
    {"type without a name", HEAD "[type ]\n", ":3: a name of 1 to 32"},
    {"unknown key in a type", HEAD "[type m]\nlife = 1\n", ":4: unknown key life in [type m]"},
    {"key twice in a type", HEAD "[type m]\nscopes = a:b\nscopes = a:c\n", ":5: scopes is there"},
    {"bad scope", HEAD "[type m]\nscopes = \"a\n", ":4: scopes separated"},
    {"scopes over two lines", HEAD "[type m]\nscopes = a:b\n  c:d\n", NULL},
    {"audience unknown", HEAD "[type m]\nscopes = a:b\naudience = x\n", ":5: one of mqtt"},
    {"two default audiences", HEAD "[type m]\nscopes = a:b\naudience = mqtt coap\n",
     ":5: one of mqtt"},
    {"default not among the allowed",
     HEAD "[type m]\nscopes = a:b\naudience = mqtt\naudiences = coap\n", ":3: audiences of m"},
    {"lifetime above its bound",
     HEAD "[role m]\nscopes = a:b\naccess_lifetime = 2h\naccess_lifetime_max = 1h\n",
     ":3: access_lifetime_max of m"},
    {"a long line",
     HEAD "[type m]\nscopes = "
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaaaaaa:b\n",
     ":4: a line of at most"},
    {"desk id", HEAD "[desk]\nclient_id = a/b\n", ":4: an id was expected"},
};

static void
lines_are_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char path[] = "config-test-XXXXXX";
        struct config_error error;
        struct config *config;
        FILE *file = fdopen(mkstemp(path), "w");
        enum lk_err err;

        assert_non_null(file);
        fputs(rows[i].text, file);
        fclose(file);
        err = config_read(path, &config, &error);
        unlink(path);
        if (rows[i].error == NULL && err != LK_OK)
            fail_msg("%s: refused: %s", rows[i].name, error.text);
        if (rows[i].error != NULL && (err == LK_OK || strstr(error.text, rows[i].error) == NULL))
            fail_msg("%s: got: %s", rows[i].name, error.text);
        if (err != LK_OK)
            assert_null(config);
        config_drop(config);
    }
}

static void
no_file_is_an_error(void **state)
{
    struct config_error error;
    struct config *config;

    (void)state;
    assert_int_equal(config_read("config-test-not-there", &config, &error), LK_ERR_NOT_FOUND);
    assert_non_null(strstr(error.text, "config-test-not-there"));
}

/** The example says the defaults: reading it and reading next to nothing give the same. */
static void
example_says_the_defaults(void **state)
{
    char path[] = "config-test-XXXXXX";
    struct config *example, *plain;
    struct config_error error;
    FILE *file = fdopen(mkstemp(path), "w");

    (void)state;
    assert_non_null(file);
    fputs("[server]\nissuer = https://localhost:8443\n", file);
    fclose(file);
    if (config_read(LK_SOURCE_DIR "/provisioning/examples/latchkeyd.conf", &example, &error) !=
        LK_OK)
        fail_msg("%s", error.text);
    assert_int_equal(config_read(path, &plain, &error), LK_OK);
    unlink(path);
    assert_string_equal(example->issuer, plain->issuer);
    assert_string_equal(example->listen_host, plain->listen_host);
    assert_int_equal(example->listen_port, plain->listen_port);
    assert_int_equal(example->workers, plain->workers);
    assert_int_equal(example->log_level, plain->log_level);
    assert_int_equal(example->access_lifetime_s, plain->access_lifetime_s);
    assert_int_equal(example->refresh_lifetime_s, plain->refresh_lifetime_s);
    assert_int_equal(example->refresh_grace_s, plain->refresh_grace_s);
    assert_memory_equal(&example->limits, &plain->limits, sizeof(plain->limits));
    assert_memory_equal(&example->desk, &plain->desk, sizeof(plain->desk));
    assert_int_equal(example->type_count, plain->type_count);
    assert_int_equal(example->role_count, plain->role_count);
    for (size_t i = 0; i < plain->role_count; i++) {
        assert_string_equal(example->roles[i].scopes, plain->roles[i].scopes);
        assert_int_equal(example->roles[i].audience, plain->roles[i].audience);
        assert_int_equal(example->roles[i].audiences, plain->roles[i].audiences);
    }
    for (size_t i = 0; i < plain->type_count; i++)
        assert_string_equal(example->types[i].scopes, plain->types[i].scopes);
    config_drop(example);
    config_drop(plain);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_checked),
        cmocka_unit_test(no_file_is_an_error),
        cmocka_unit_test(example_says_the_defaults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
