/*
 * api.c - the server: tokens, requests, and its problems told to people.
 */
#include "api.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/crypto.h>
#include <latchkey/host/clock.h>

#define TOKEN_MARGIN_MS 10000 /* a token this near its end is not used any more */

bool
url_append(char *url, size_t cap, const char *literal, const char *escaped)
{
    size_t len = strlen(url), literal_len = strlen(literal);

    if (literal_len >= cap - len)
        return false;
    memcpy(url + len, literal, literal_len + 1);
    len += literal_len;
    for (; escaped != NULL && *escaped != '\0'; escaped++) {
        unsigned char c = (unsigned char)*escaped;
        bool plain = isalnum(c) || strchr("-._~", c) != NULL;

        if (cap - len < 4)
            return false;
        len += (size_t)snprintf(url + len, cap - len, plain ? "%c" : "%%%02X", c);
    }
    return true;
}

int
api_open(const struct cli *cli, struct api *api)
{
    const char *ca = getenv("LATCHKEY_CA");
    const char *url = getenv("LATCHKEY_URL");
    const char *id = getenv("LATCHKEY_CLIENT_ID");
    int code;

    *api = (struct api){.cli = cli, .url = url, .client_id = id};
    if (url == NULL || url[0] == '\0')
        return cli_usage(cli, "which server? Set LATCHKEY_URL, e.g. https://localhost:8443");
    if (id == NULL || id[0] == '\0')
        return cli_usage(cli,
                         "who are you? Set LATCHKEY_CLIENT_ID, and LATCHKEY_CLIENT_SECRET_FILE "
                         "or LATCHKEY_CLIENT_SECRET");
    code = input_client_secret(cli, api->secret);
    if (code != CLI_DONE)
        return code;
    api->ca_file = ca != NULL && ca[0] != '\0' ? ca : NULL;
    api->fetch = lk_fetch_new(api->ca_file);
    api->room = malloc(ANSWER_MAX);
    if (api->fetch == NULL || api->room == NULL) {
        api_close(api);
        return cli_unreachable("%s: %s", url, lk_err_text(LK_ERR_NOMEM));
    }
    return CLI_DONE;
}

void
api_close(struct api *api)
{
    lk_fetch_free(api->fetch);
    free(api->room); /* wiped after each answer */
    lk_wipe(api, sizeof(*api));
}

static int
url_make(const struct api *api, const char *path, char url[URL_MAX])
{
    size_t base = strlen(api->url);
    int n;

    while (base > 0 && api->url[base - 1] == '/')
        base--;
    n = snprintf(url, URL_MAX, "%.*s%s", (int)base, api->url, path);
    if (n < 0 || n >= URL_MAX)
        return cli_usage(api->cli, "the URL gets longer than %d bytes", URL_MAX);
    return CLI_DONE;
}

/* One more try after a lost answer: the server recognises the Idempotency-Key. */
static int
run_twice(struct api *api, struct lk_fetch_request *request, struct lk_fetch_answer *answer)
{
    struct lk_buf room = {api->room, ANSWER_MAX};
    enum lk_err err;

    request->cancel = api->cancel;
    err = lk_fetch_run(api->fetch, request, room, answer);
    if (err == LK_ERR_UNAVAILABLE || err == LK_ERR_TIMEOUT)
        err = lk_fetch_run(api->fetch, request, room, answer);
    if (err == LK_OK)
        return CLI_DONE;
    if (err == LK_ERR_ARG)
        return cli_usage(api->cli, "%s: %s", request->url, answer->error);
    return cli_unreachable("%s: %s", request->url, answer->error);
}

static const char *
text_of(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(object, member));
}

static void
print_safe(FILE *to, const char *text)
{
    for (; *text != '\0'; text++)
        (void)fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, to);
}

static void
print_part(const char *before, const char *text)
{
    if (text == NULL)
        return;
    (void)fputs(before, stderr);
    print_safe(stderr, text);
}

/* RFC 9457 from /v1, RFC 6749 section 5.2 from /oauth; and whatever a proxy answers. */
static void
problem_print(const struct lk_fetch_answer *answer, const json_t *problem)
{
    const char *title = text_of(problem, "title");
    const json_t *item;
    size_t i;

    (void)fprintf(stderr, "%s: ",
                  answer->status >= 502 && answer->status <= 504 ? "could not reach" : "refused");
    if (title == NULL)
        title = text_of(problem, "error");
    if (title != NULL)
        print_safe(stderr, title);
    (void)fprintf(stderr, "%sHTTP %u%s", title != NULL ? " (" : "", answer->status,
                  title != NULL ? ")" : "");
    print_part(": ", text_of(problem, "detail"));
    print_part(": ", text_of(problem, "error_description"));
    (void)fputc('\n', stderr);
    json_array_foreach (json_object_get(problem, "errors"), i, item) {
        print_part("  ", text_of(item, "pointer"));
        print_part(": ", text_of(item, "detail"));
        (void)fputc('\n', stderr);
    }
    if (answer->retry_after_s > 0)
        (void)fprintf(stderr, "  try again in %u s\n", answer->retry_after_s);
    if (text_of(problem, "request_id") != NULL) {
        print_part("  request ", text_of(problem, "request_id"));
        (void)fputc('\n', stderr);
    }
}

static int
problem_tell(const struct cli *cli, const struct lk_fetch_answer *answer, const json_t *problem)
{
    (void)fflush(stdout);
    if (cli->json && json_is_object(problem)) {
        (void)json_dumpf(problem, stderr, JSON_COMPACT);
        (void)fputc('\n', stderr);
    } else {
        problem_print(answer, problem);
    }
    return answer->status >= 502 && answer->status <= 504 ? CLI_UNREACHABLE : CLI_REFUSED;
}

/* Take the answer over into jansson and wipe the room: it may have held a secret. */
static int
answer_take(struct api *api, const struct lk_fetch_answer *answer, json_t **out)
{
    json_t *body = NULL;
    int code = CLI_DONE;

    if (answer->body.len > 0)
        body = json_loadb((const char *)answer->body.ptr, answer->body.len, JSON_REJECT_DUPLICATES,
                          NULL);
    lk_wipe(api->room, answer->body.len);
    if (answer->status < 200 || answer->status > 299)
        code = problem_tell(api->cli, answer, body);
    else if (answer->body.len > 0 && body == NULL)
        code = cli_unreachable("%s: the answer is not JSON; is this a Latchkey server?", api->url);
    if (code != CLI_DONE) {
        json_decref(body);
        body = NULL;
    }
    *out = body;
    return code;
}

static bool
form_build(const struct token_wish *wish, char *form, size_t cap)
{
    char lifetime[24];
    const struct {
        const char *name, *value;
    } fields[] = {{"&scope=", wish->scope},
                  {"&audience=", wish->audience},
                  {"&token_format=", wish->format},
                  {"&expires_in=", wish->lifetime_s > 0 ? lifetime : NULL}};
    bool fits;
    size_t i;

    (void)snprintf(lifetime, sizeof(lifetime), "%" PRId64, wish->lifetime_s);
    form[0] = '\0';
    fits = url_append(form, cap, "grant_type=client_credentials", NULL);
    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (fields[i].value != NULL)
            fits = fits && url_append(form, cap, fields[i].name, fields[i].value);
    }
    return fits;
}

int
api_form(struct api *api, const char *path, struct lk_span form, json_t **answer)
{
    /* RFC 6749 section 2.3.1: both are form-encoded before Basic. */
    char user[3 * LK_SUBJECT_MAX + 8] = "", password[3 * SECRET_TEXT_MAX + 8] = "";
    char url[URL_MAX];
    struct lk_fetch_request request = {.method = "POST",
                                       .url = url,
                                       .body = form,
                                       .user = user,
                                       .password = password,
                                       .content_type = "application/x-www-form-urlencoded",
                                       .timeout_ms = REQUEST_MAX_MS};
    struct lk_fetch_answer reply;
    int code;

    *answer = NULL;
    if (!url_append(user, sizeof(user), "", api->client_id))
        return cli_usage(api->cli, "LATCHKEY_CLIENT_ID is too long");
    code = url_make(api, path, url);
    if (code != CLI_DONE)
        return code;
    (void)url_append(password, sizeof(password), "", api->secret); /* room for the longest */
    code = run_twice(api, &request, &reply);
    lk_wipe(password, sizeof(password));
    if (code == CLI_DONE)
        code = answer_take(api, &reply, answer);
    return code;
}

int
api_token(struct api *api, const struct token_wish *wish, json_t **answer)
{
    char form[4 * LK_SCOPE_MAX];
    int code;

    *answer = NULL;
    if (!form_build(wish, form, sizeof(form)))
        return cli_usage(api->cli, "the scopes are too long");
    code = api_form(api, "/oauth/token", lk_span_text(form), answer);
    if (code == CLI_DONE && text_of(*answer, "access_token") == NULL) {
        json_decref(*answer);
        *answer = NULL;
        code = cli_unreachable("%s: no access_token in the answer; is this a Latchkey server?",
                               api->url);
    }
    return code;
}

/* The API's own token, kept until shortly before its end. */
static int
token_hold(struct api *api)
{
    static const struct token_wish wish = {.audience = "latchkey-api"};
    int64_t now_ms = lk_clock_monotonic_ms(), life_ms;
    json_t *answer = NULL;
    int code;

    if (api->token_until_ms > now_ms)
        return CLI_DONE;
    code = api_token(api, &wish, &answer);
    if (code != CLI_DONE)
        return code;
    if (json_string_length(json_object_get(answer, "access_token")) >= sizeof(api->token)) {
        code = cli_refused("the server's token is longer than %d bytes", LK_TOKEN_MAX);
    } else {
        life_ms = (int64_t)json_integer_value(json_object_get(answer, "expires_in")) * 1000;
        (void)snprintf(api->token, sizeof(api->token), "%s", text_of(answer, "access_token"));
        api->token_until_ms = now_ms + life_ms - TOKEN_MARGIN_MS;
    }
    json_decref(answer);
    return code;
}

static int
idempotency_line(char *line, size_t cap)
{
    uint8_t random[16];
    char text[LK_BASE64URL_LEN(16) + 1];
    struct lk_span out;

    if (lk_crypto_random(LK_BUF_OF(random)) != LK_OK ||
        lk_base64url_encode(lk_span_of(random, sizeof(random)), LK_BUF_OF(text), &out) != LK_OK)
        return cli_refused("no random numbers to be had");
    text[out.len] = '\0';
    (void)snprintf(line, cap, "Idempotency-Key: %s", text);
    return CLI_DONE;
}

int
api_call(struct api *api, const struct call *call, json_t **answer)
{
    char url[URL_MAX], key[64], *body = NULL;
    const char *headers[] = {"Accept: application/json, application/problem+json", NULL, NULL};
    struct lk_fetch_request request = {.method = call->method,
                                       .url = url,
                                       .headers = headers,
                                       .timeout_ms = REQUEST_MAX_MS + call->extra_ms};
    struct lk_fetch_answer reply;
    int code = url_make(api, call->path, url);

    *answer = NULL;
    if (code == CLI_DONE)
        code = token_hold(api);
    if (code == CLI_DONE && strcmp(call->method, "POST") == 0) {
        code = idempotency_line(key, sizeof(key));
        headers[1] = key;
    }
    if (code != CLI_DONE)
        return code;
    if (call->body != NULL) {
        body = json_dumps(call->body, JSON_COMPACT);
        if (body == NULL)
            return cli_refused("%s", lk_err_text(LK_ERR_NOMEM));
        request.body = lk_span_text(body);
        request.content_type = "application/json";
    }
    request.bearer = api->token;
    code = run_twice(api, &request, &reply);
    if (code == CLI_DONE)
        api->server_date_s = reply.server_date_s;
    if (code == CLI_DONE && !(call->may_be_missing && reply.status == 404))
        code = answer_take(api, &reply, answer);
    json_text_free(body);
    return code;
}
