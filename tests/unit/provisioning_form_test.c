/* Forms, HTTP Basic, token requests in CBOR, cursors: what strangers send. */
#include "cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "http/form.h"
#include "oauth/request.h"
#include "registry/common.h"

/* --- Forms ------------------------------------------------------------------------------------ */

static const struct {
    const char *name, *text;
    enum lk_err err;
    const char *value; /* of "a"; NULL: none */
} forms[] = {
    {"specimen", "a=1&b=2", LK_OK, "1"},
    {"empty", "", LK_OK, NULL},
    {"no value", "a", LK_OK, NULL},
    {"an empty value is none", "a=&b=2", LK_OK, NULL},
    {"escapes", "a=%41%c3%bc+%2B", LK_OK, "A\xc3\xbc +"},
    {"escaped name", "%61=1", LK_OK, "1"},
    {"empty parts", "&&a=1&", LK_OK, "1"},
    {"equals in the value", "a=b=c", LK_OK, "b=c"},
    {"same name twice", "a=1&a=1", LK_ERR_DUPLICATE, NULL},
    {"same name twice, once escaped", "a=1&%61=2", LK_ERR_DUPLICATE, NULL},
    {"escape cut off", "a=%4", LK_ERR_SYNTAX, NULL},
    {"escape without digits", "a=%", LK_ERR_SYNTAX, NULL},
    {"escape that is not hex", "a=%4g", LK_ERR_SYNTAX, NULL},
    {"zero byte", "a=%00", LK_ERR_SYNTAX, NULL},
    {"not UTF-8", "a=%ff", LK_ERR_UTF8, NULL},
    {"overlong UTF-8", "a=%c0%af", LK_ERR_UTF8, NULL},
};

static void
forms_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct http_form form;
        struct lk_span value;
        char text[64];

        snprintf(text, sizeof(text), "%s", forms[i].text);
        assert_err(forms[i].name, form_parse(text, strlen(text), &form), forms[i].err);
        if (forms[i].err != LK_OK)
            continue;
        value = form_get(&form, "a");
        if (forms[i].value == NULL ? value.ptr != NULL : !lk_span_is(value, forms[i].value))
            fail_msg("%s: another value", forms[i].name);
    }
}

static void
form_has_a_limit(void **state)
{
    char text[4 * (FORM_PARAMS_MAX + 2)];
    struct http_form form;
    size_t len = 0;

    (void)state;
    for (unsigned i = 0; i < FORM_PARAMS_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%c%c&", 'a' + (char)(i / 26),
                                'a' + (char)(i % 26));
    assert_int_equal(form_parse(text, len, &form), LK_OK);
    len = 0;
    for (unsigned i = 0; i <= FORM_PARAMS_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%c%c&", 'a' + (char)(i / 26),
                                'a' + (char)(i % 26));
    assert_int_equal(form_parse(text, len, &form), LK_ERR_LIMIT);
}

/* --- Basic -------------------------------------------------------------------------------------
 */

static void
basic_reads_the_vectors(void **state)
{
    json_t *file = json_load_file(LK_VECTORS_DIR "/oauth/basic_auth.json", 0, NULL);
    json_t *tests = json_object_get(file, "tests"), *test;
    size_t i;

    (void)state;
    assert_true(json_array_size(tests) > 0);
    json_array_foreach (tests, i, test) {
        const char *header = json_string_value(json_object_get(test, "authorization"));
        uint8_t room[256];
        struct lk_span id, secret;

        assert_int_equal(strncmp(header, "Basic ", 6), 0);
        assert_int_equal(basic_parse(header + 6, LK_BUF_OF(room), &id, &secret), LK_OK);
        assert_true(lk_span_is(id, json_string_value(json_object_get(test, "client_id"))));
        assert_true(lk_span_is(secret, json_string_value(json_object_get(test, "client_secret"))));
    }
    json_decref(file);
}

static const struct {
    const char *name, *text;
    enum lk_err err;
} basics[] = {
    {"specimen a:b", "YTpi", LK_OK},
    {"empty secret", "YTo=", LK_OK},
    {"empty", "", LK_ERR_SYNTAX},
    {"no colon", "YWI=", LK_ERR_SYNTAX},
    {"no padding", "YTo", LK_ERR_BASE64},
    {"too much padding", "YTo==", LK_ERR_BASE64},
    {"only padding", "====", LK_ERR_BASE64},
    {"bits behind the end", "YTp=", LK_ERR_BASE64},
    {"base64url", "YTr_", LK_ERR_BASE64},
    {"white space", "YT pi", LK_ERR_BASE64},
    {"bad escape, a:%", "YTol", LK_ERR_SYNTAX},
};

static void
basic_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(basics) / sizeof(basics[0]); i++) {
        uint8_t room[64];
        struct lk_span id, secret;

        assert_err(basics[i].name, basic_parse(basics[i].text, LK_BUF_OF(room), &id, &secret),
                   basics[i].err);
        if (basics[i].err != LK_OK)
            assert_null(secret.ptr);
    }
}

/* --- Token requests in CBOR
 * ----------------------------------------------------------------------- */

#define ROW(name, bytes, error)                                                                    \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, error                                                      \
    }

static const struct {
    const char *name, *bytes;
    size_t len;
    enum oauth_error error;
} requests[] = {
    /* {24: "dev", 25: h'78', 33: 2} */
    ROW("specimen",
        "\xa3\x18\x18\x63"
        "dev\x18\x19\x41\x78\x18\x21\x02",
        OAUTH_OK),
    ROW("no grant_type",
        "\xa2\x18\x18\x63"
        "dev\x18\x19\x41\x78",
        OAUTH_OK),
    ROW("refresh", "\xa2\x18\x21\x03\x18\x25\x41\x78", OAUTH_OK),
    ROW("unknown keys", "\xa2\x18\x21\x02\x19\x03\xe8\xf6", OAUTH_OK),
    ROW("another grant", "\xa1\x18\x21\x07", OAUTH_UNSUPPORTED_GRANT_TYPE),
    ROW("grant as text", "\xa1\x18\x21\x61\x32", OAUTH_INVALID_REQUEST),
    ROW("secret as text", "\xa1\x18\x19\x61\x78", OAUTH_INVALID_REQUEST),
    ROW("scope as bytes", "\xa1\x09\x41\x78", OAUTH_INVALID_SCOPE),
    ROW("req_cnf", "\xa1\x04\xa0", OAUTH_UNSUPPORTED_POP_KEY),
    ROW("expires_in zero", "\xa1\x02\x00", OAUTH_INVALID_REQUEST),
    ROW("expires_in negative", "\xa1\x02\x20", OAUTH_INVALID_REQUEST),
    ROW("token_format unknown", "\xa1\x3a\x00\x01\x00\x00\x61\x78", OAUTH_INVALID_REQUEST),
    ROW("key twice", "\xa2\x18\x21\x02\x18\x21\x02", OAUTH_INVALID_REQUEST),
    ROW("bytes behind the map", "\xa1\x18\x21\x02\x00", OAUTH_INVALID_REQUEST),
    ROW("cut off", "\xa2\x18\x21\x02\x18", OAUTH_INVALID_REQUEST),
    ROW("an array", "\x80", OAUTH_INVALID_REQUEST),
    ROW("empty", "", OAUTH_INVALID_REQUEST),
};

static void
ace_requests_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct token_request request = {.is_cbor = true};
        const char *why = NULL;
        enum oauth_error error =
            ace_take(lk_span_of(requests[i].bytes, requests[i].len), &request, &why);

        if (error != requests[i].error)
            fail_msg("%s: got %d, wanted %d (%s)", requests[i].name, error, requests[i].error, why);
    }
}

static void
ace_secret_may_be_raw(void **state)
{
    uint8_t body[3 + 2 + SECRET_LEN] = {0xa1, 0x18, 0x19, 0x58, SECRET_LEN};
    struct token_request request = {.is_cbor = true};
    const char *why;

    (void)state;
    assert_int_equal(ace_take(lk_span_of(body, sizeof(body)), &request, &why), OAUTH_OK);
    assert_true(lk_span_is(request.secret, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
}

/* --- Cursors and secrets
 * ---------------------------------------------------------------------------- */

static void
cursor_comes_back(void **state)
{
    static const struct {
        const char *name, *text;
        enum lk_err err;
    } rows[] = {{"not base64url", "!!", LK_ERR_BASE64},
                {"not an id", "Lw", LK_ERR_MALFORMED},
                {"empty", "", LK_ERR_MALFORMED},
                {"padding", "YQ==", LK_ERR_BASE64}};
    char text[LIST_CURSOR_MAX];
    uint8_t room[LIST_CURSOR_MAX];
    struct lk_span id;

    (void)state;
    assert_int_equal(cursor_write(LK_SPAN("pump-7"), text), LK_OK);
    assert_int_equal(cursor_read(lk_span_text(text), LK_BUF_OF(room), &id), LK_OK);
    assert_true(lk_span_is(id, "pump-7"));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_err(rows[i].name, cursor_read(lk_span_text(rows[i].text), LK_BUF_OF(room), &id),
                   rows[i].err);
}

static void
secret_is_32_bytes_of_text(void **state)
{
    struct secret made, again;

    (void)state;
    assert_int_equal(secret_generate(&made), LK_OK);
    assert_int_equal(strlen(made.text), SECRET_TEXT_LEN);
    assert_int_equal(secret_from(lk_span_text(made.text), &again), LK_OK);
    assert_memory_equal(&made, &again, sizeof(made));
    assert_int_equal(secret_from(LK_SPAN("short"), &again), LK_ERR_BASE64);
    made.text[SECRET_TEXT_LEN - 1] = 'B'; /* bits behind the end */
    assert_int_equal(secret_from(lk_span_text(made.text), &again), LK_ERR_BASE64);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_are_read),          cmocka_unit_test(form_has_a_limit),
        cmocka_unit_test(basic_reads_the_vectors), cmocka_unit_test(basic_refuses),
        cmocka_unit_test(ace_requests_are_read),   cmocka_unit_test(ace_secret_may_be_raw),
        cmocka_unit_test(cursor_comes_back),       cmocka_unit_test(secret_is_32_bytes_of_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
