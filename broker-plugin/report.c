#include "report.h"

#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <latchkey/base64url.h>
#include <latchkey/host/clock.h>
#include <latchkey/host/fetch.h>
#include <latchkey/host/file.h>
#include <latchkey/json.h>

#include "log.h"

/* --- the broker's thread ------------------------------------------------------------------- */

static void
nudge(const struct report *r)
{
    const uint64_t one = 1;

    /* EAGAIN: it has been nudged 2^64 times already. */
    if (write(r->event_fd, &one, sizeof(one)) < 0)
        return;
}

void
report_hand_over(struct report *r, struct denials *denials, int64_t now_ms)
{
    if (denials->used == 0 || !r->running ||
        atomic_load_explicit(&r->count, memory_order_acquire) != 0)
        return;
    if (now_ms < r->next_ms) {
        if (!atomic_exchange(&r->waiting, true))
            nudge(r);
        return;
    }
    if (denials->lost > 0)
        log_line(LK_LOG_WARN, "denials lost=%u gave way to newer ones before they were sent",
                 (unsigned)denials->lost);
    denials->lost = 0;
    r->next_ms = now_ms + DENIALS_SEND_MS;
    atomic_store_explicit(&r->count, denials_take(denials, r->batch, DENIALS_BATCH),
                          memory_order_release);
    nudge(r);
}

/* --- trouble ------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void
tell(const struct report *r, enum lk_log_level level, const char *format, ...)
{
    char line[LOG_LINE];
    va_list args;

    va_start(args, format);
    if (vsnprintf(line, sizeof(line), format, args) < 0)
        line[0] = '\0';
    va_end(args);
    worker_say(r->worker, level, line);
}

static void
failed(struct report *r, const char *what, const char *why, const struct lk_fetch_answer *answer)
{
    int64_t wait_s = r->failures < 6 ? DENIALS_RETRY_MIN_S << r->failures : DENIALS_RETRY_MAX_S;

    if (answer->retry_after_s > wait_s)
        wait_s = answer->retry_after_s < DENIALS_RETRY_MAX_S ? answer->retry_after_s
                                                             : DENIALS_RETRY_MAX_S;
    /* The first, second, fourth ... in a row: an outage of a day is a dozen lines. */
    r->failures++;
    if ((r->failures & (r->failures - 1)) == 0)
        tell(r, LK_LOG_WARN, "denials %s status=%u failures=%u %s", what, answer->status,
             r->failures, why);
    r->due_ms = lk_clock_monotonic_ms() + wait_s * 1000;
}

static void
done(struct report *r)
{
    r->key[0] = '\0';
    atomic_store_explicit(&r->count, 0, memory_order_release);
}

/* --- a request ----------------------------------------------------------------------------- */

static enum lk_err
run_request(struct report *r, struct lk_fetch_request *request, const char *path,
            struct lk_fetch_answer *answer)
{
    char url[OPTION_TEXT_MAX + 64];
    size_t len = strlen(r->issuer);

    memset(answer, 0, sizeof(*answer));
    while (len > 0 && r->issuer[len - 1] == '/')
        len--;
    (void)snprintf(url, sizeof(url), "%.*s%s", (int)len, r->issuer, path);
    if (r->fetch == NULL)
        r->fetch = lk_fetch_new(r->ca_file);
    if (r->fetch == NULL)
        return LK_ERR_NOMEM;
    request->method = "POST";
    request->url = url;
    request->timeout_ms = DENIALS_REQUEST_MS;
    request->cancel = &r->stop;
    return lk_fetch_run(r->fetch, request, LK_BUF_OF(r->answer), answer);
}

static const char *
why_text(const struct lk_fetch_answer *answer, enum lk_err err)
{
    return answer->error[0] != '\0' ? lk_log_text(answer->error) : lk_err_text(err);
}

/* --- the verifier's own token -------------------------------------------------------------- */

/* RFC 6749 section 2.3.1: form-encoded before Basic. */
static void
form_encode(char *out, size_t cap, struct lk_span text)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len && cap - len > 3; i++) {
        bool plain = isalnum(text.ptr[i]) || memchr("-._~", text.ptr[i], 4) != NULL;

        len += (size_t)snprintf(out + len, cap - len, plain ? "%c" : "%%%02X", text.ptr[i]);
    }
    out[len] = '\0';
}

static enum lk_err
read_token(struct report *r, struct lk_span text)
{
    struct lk_span name, token = {NULL, 0};
    int64_t life_s = 0;
    struct lk_json in;
    enum lk_err err;

    lk_json_open(&in, r->answer, text.len); /* it stands at the begin of this room */
    lk_json_enter_object(&in);
    while (lk_json_next_member(&in, &name)) {
        if (lk_span_is(name, "access_token"))
            token = lk_json_string(&in);
        else if (lk_span_is(name, "expires_in"))
            life_s = lk_json_int(&in);
        else
            lk_json_skip(&in);
    }
    lk_json_leave_object(&in);
    err = lk_json_close(&in);
    if (err == LK_OK && token.len == 0)
        err = LK_ERR_MISSING;
    if (err == LK_OK && (token.len >= sizeof(r->token) || life_s < 0 || life_s > LIFETIME_MAX_S))
        err = LK_ERR_LIMIT;
    if (err != LK_OK)
        return err;
    memcpy(r->token, token.ptr, token.len);
    r->token[token.len] = '\0';
    r->token_until_ms = lk_clock_monotonic_ms() + life_s * 1000 - BEARER_MARGIN_MS;
    return LK_OK;
}

static bool
fetch_token(struct report *r)
{
    static const char form[] = "grant_type=client_credentials&scope=denials%3Awrite"
                               "&audience=latchkey-api";
    uint8_t secret_room[CLIENT_SECRET_MAX];
    char user[3 * OPTION_TEXT_MAX], password[3 * CLIENT_SECRET_MAX + 4];
    struct lk_fetch_request request = {.user = user,
                                       .password = password,
                                       .content_type = "application/x-www-form-urlencoded",
                                       .body = lk_span_text(form)};
    struct lk_fetch_answer answer = {0};
    struct lk_span secret;
    enum lk_err err;

    /* Read each time: a secret that is rotated needs no restart. */
    err = lk_file_read_secret(r->client_secret_file, LK_BUF_OF(secret_room), &secret);
    if (err == LK_OK) {
        form_encode(user, sizeof(user), lk_span_text(r->client_id));
        form_encode(password, sizeof(password), secret);
        err = run_request(r, &request, "/oauth/token", &answer);
    }
    lk_wipe(secret_room, sizeof(secret_room));
    lk_wipe(password, sizeof(password));
    if (r->stop)
        return false;
    if (err == LK_OK)
        err = answer.status == 200 ? read_token(r, answer.body) : LK_ERR_CREDENTIAL;
    lk_wipe(r->answer, sizeof(r->answer));
    if (err != LK_OK)
        failed(r, "token", why_text(&answer, err), &answer);
    return err == LK_OK;
}

/* --- the batch ----------------------------------------------------------------------------- */

static enum lk_err
make_key(struct report *r)
{
    uint8_t random[16];
    struct lk_span text;
    enum lk_err err = LK_OK;

    if (r->key[0] != '\0')
        return LK_OK; /* sent again: the server knows it by this */
    err = lk_crypto_random(LK_BUF_OF(random));
    if (err == LK_OK)
        err = lk_base64url_encode(lk_span_of(random, sizeof(random)), LK_BUF_OF(r->key), &text);
    r->key[err == LK_OK ? text.len : 0] = '\0';
    return err;
}

static void
judge_answer(struct report *r, const struct lk_fetch_answer *answer)
{
    if (answer->status >= 200 && answer->status <= 299) {
        if (r->failures > 0)
            tell(r, LK_LOG_INFO, "denials reachable again");
        r->failures = 0;
        done(r);
    } else if (answer->status == 404 || answer->status == 405) {
        tell(r, LK_LOG_WARN,
             "denials status=%u the issuer does not take them; asked again in an hour",
             answer->status);
        r->due_ms = lk_clock_monotonic_ms() + DENIALS_UNKNOWN_MS;
        done(r);
    } else if (answer->status == 400 || answer->status == 413 || answer->status == 422) {
        /* These would be refused for ever; others may not be. */
        failed(r, "refused", "a batch is given up", answer);
        done(r);
    } else {
        if (answer->status == 401 || answer->status == 403)
            r->token_until_ms = 0;
        failed(r, "refused", "tried again later", answer);
    }
}

static void
send_batch(struct report *r, size_t count)
{
    char key_line[64];
    const char *headers[] = {"Accept: application/json, application/problem+json", key_line, NULL};
    struct lk_fetch_request request = {
        .content_type = "application/json", .headers = headers, .bearer = r->token};
    struct lk_fetch_answer answer = {0};
    enum lk_err err;

    if (r->token_until_ms <= lk_clock_monotonic_ms() && !fetch_token(r))
        return;
    err = make_key(r);
    (void)snprintf(key_line, sizeof(key_line), "Idempotency-Key: %s", r->key);
    if (err == LK_OK)
        err = denials_write(r->batch, count, LK_BUF_OF(r->body), &request.body);
    if (err == LK_OK)
        err = run_request(r, &request, "/v1/verifiers/denials", &answer);
    if (r->stop)
        return;
    if (err == LK_OK)
        judge_answer(r, &answer);
    else
        failed(r, "unsent", why_text(&answer, err), &answer);
}

/* --- the thread ---------------------------------------------------------------------------- */

static int
sleep_ms(const struct report *r)
{
    int64_t left;

    if (atomic_load_explicit(&r->count, memory_order_acquire) == 0)
        return atomic_load(&r->waiting) ? DENIALS_SEND_MS : -1;
    left = r->due_ms - lk_clock_monotonic_ms();
    return left < 0 ? 0 : (int)left;
}

static void *
run(void *context)
{
    struct report *r = context;
    struct pollfd event = {.fd = r->event_fd, .events = POLLIN};
    uint64_t nudges;
    size_t count;

    while (!r->stop) {
        if (poll(&event, 1, sleep_ms(r)) > 0) {
            if (read(r->event_fd, &nudges, sizeof(nudges)) < 0)
                continue;
        } else if (atomic_exchange(&r->waiting, false)) {
            wake_ask(r->worker->wake); /* an idle 2.1 does not tick by itself */
        }
        count = atomic_load_explicit(&r->count, memory_order_acquire);
        if (!r->stop && count > 0 && lk_clock_monotonic_ms() >= r->due_ms)
            send_batch(r, count);
    }
    lk_fetch_free(r->fetch);
    r->fetch = NULL;
    return NULL;
}

enum lk_err
report_start(struct report *r)
{
    r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->event_fd < 0)
        return LK_ERR_UNAVAILABLE;
    if (wake_thread_start(&r->thread, run, r) != 0) {
        (void)close(r->event_fd);
        return LK_ERR_UNAVAILABLE;
    }
    r->running = true;
    return LK_OK;
}

void
report_stop(struct report *r)
{
    if (!r->running)
        return;
    r->stop = 1;
    nudge(r);
    (void)pthread_join(r->thread, NULL);
    r->running = false;
    (void)close(r->event_fd);
    lk_wipe(r->token, sizeof(r->token));
}
