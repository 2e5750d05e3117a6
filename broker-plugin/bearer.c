#include "bearer.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/host/clock.h>
#include <latchkey/host/file.h>
#include <latchkey/json.h>

#define FORM_MAX 256 /* bytes: the scope is ours */

bool
bearer_url(char *room, size_t cap, const char *issuer, const char *path)
{
    size_t len = strlen(issuer);
    int n;

    while (len > 0 && issuer[len - 1] == '/')
        len--;
    n = snprintf(room, cap, "%.*s%s", (int)len, issuer, path);
    return n >= 0 && (size_t)n < cap;
}

/* RFC 6749 section 2.3.1: form-encoded before Basic. `out` has three times the room, and one. */
static void
form_encode(char *out, struct lk_span text)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];

        if (isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
            *out++ = (char)c;
        } else {
            *out++ = '%';
            *out++ = digits[c >> 4];
            *out++ = digits[c & 15];
        }
    }
    *out = '\0';
}

/* At three quarters of its life: a request that lasts half a minute still ends with it. */
static void
take_token(struct bearer *b, struct lk_span token, int64_t life_s)
{
    memcpy(b->token, token.ptr, token.len);
    b->token[token.len] = '\0';
    b->renew_ms = lk_clock_monotonic_ms() + life_s * 750;
}

static enum lk_err
read_answer(struct bearer *b, uint8_t *text, size_t len)
{
    struct lk_span name, token = {NULL, 0}, type = {NULL, 0};
    int64_t life_s = 0;
    struct lk_json r;
    enum lk_err err;

    lk_json_open(&r, text, len);
    lk_json_enter_object(&r);
    while (lk_json_next_member(&r, &name)) {
        if (lk_span_is(name, "access_token"))
            token = lk_json_string(&r);
        else if (lk_span_is(name, "token_type"))
            type = lk_json_string(&r);
        else if (lk_span_is(name, "expires_in"))
            life_s = lk_json_int(&r);
        else
            lk_json_skip(&r);
    }
    lk_json_leave_object(&r);
    err = lk_json_close(&r);
    if (err == LK_OK && (token.len == 0 || type.len == 0 || life_s <= 0))
        err = LK_ERR_MISSING;
    if (err == LK_OK && (token.len > LK_TOKEN_MAX || life_s > LIFETIME_MAX_S))
        err = LK_ERR_LIMIT;
    if (err == LK_OK)
        take_token(b, token, life_s);
    return err;
}

static enum lk_err
ask(struct bearer *b, struct lk_fetch *fetch, struct lk_span secret, struct lk_buf room,
    struct lk_fetch_answer *answer)
{
    char url[OPTION_TEXT_MAX + 16], form[FORM_MAX], scope[FORM_MAX];
    char user[3 * OPTION_TEXT_MAX + 1], password[3 * CLIENT_SECRET_MAX + 1];
    struct lk_fetch_request request = {.method = "POST",
                                       .url = url,
                                       .user = user,
                                       .password = password,
                                       .content_type = "application/x-www-form-urlencoded",
                                       .timeout_ms = BEARER_FETCH_MS,
                                       .cancel = b->cancel};
    enum lk_err err;

    if (!bearer_url(url, sizeof(url), b->issuer, "/oauth/token") ||
        3 * strlen(b->scope) >= sizeof(scope))
        return LK_ERR_LIMIT;
    form_encode(user, lk_span_text(b->client_id));
    form_encode(password, secret);
    form_encode(scope, lk_span_text(b->scope));
    (void)snprintf(form, sizeof(form),
                   "grant_type=client_credentials&audience=latchkey-api&scope=%.160s", scope);
    request.body = lk_span_text(form);
    err = lk_fetch_run(fetch, &request, room, answer);
    lk_wipe(password, sizeof(password));
    if (err == LK_OK && answer->status != 200)
        err = LK_ERR_CREDENTIAL;
    return err == LK_OK ? read_answer(b, room.ptr, answer->body.len) : err;
}

enum lk_err
bearer_get(struct bearer *b, struct lk_fetch *fetch, struct lk_fetch_answer *answer)
{
    uint8_t secret_room[CLIENT_SECRET_MAX], room[BEARER_ANSWER_MAX];
    struct lk_span secret;
    enum lk_err err;

    *answer = (struct lk_fetch_answer){0};
    if (b->renew_ms > lk_clock_monotonic_ms())
        return LK_OK;
    bearer_drop(b);
    err = lk_file_read_secret(b->client_secret_file, LK_BUF_OF(secret_room), &secret);
    if (err == LK_OK)
        err = ask(b, fetch, secret, LK_BUF_OF(room), answer);
    answer->body = (struct lk_span){NULL, 0};
    lk_wipe(secret_room, sizeof(secret_room));
    lk_wipe(room, sizeof(room));
    return err;
}

void
bearer_drop(struct bearer *b)
{
    lk_wipe(b->token, sizeof(b->token));
    b->renew_ms = 0;
}
