#include <latchkey/device/source.h>

#include <string.h>

#include "pause.h"

enum state {
    STATE_WAITING, /* for next_ms */
    STATE_OPENING, /* TCP and TLS */
    STATE_SENDING,
    STATE_READING
};

static bool
has_token(const struct lk_source *s)
{
    return s->token_len > 0;
}

static void
forget_refresh(struct lk_source *s)
{
    lk_wipe(s->refresh, sizeof(s->refresh));
    s->refresh_len = 0;
    s->refresh_used = false;
}

static void
forget_token(struct lk_source *s)
{
    lk_wipe(s->config.token_room.ptr, s->config.token_room.cap);
    s->token_len = 0;
    s->expires_ms = 0;
}

/* The work room holds the client secret on the way out and a token on the way in. */
static void
end_attempt(struct lk_source *s)
{
    s->config.link.close(s->config.link.ctx);
    lk_wipe(s->config.work_room.ptr, s->config.work_room.cap);
    s->out_len = s->out_at = 0;
    s->answer.body = (struct lk_span){NULL, 0};
    s->state = STATE_WAITING;
}

static uint64_t
pause_after_failure(struct lk_source *s)
{
    const struct lk_random *random = &s->config.random;
    uint64_t pause_ms;

    if (s->failures < UINT8_MAX)
        s->failures++;
    s->breaker_open = s->failures >= LK_SOURCE_BREAKER_FAILURES;
    if (s->breaker_open)
        pause_ms = LK_SOURCE_BREAKER_MS + pause_pick(random, LK_SOURCE_BREAKER_MS / 2);
    else
        pause_ms =
            pause_backoff(random, s->failures, LK_SOURCE_BACKOFF_MS, LK_SOURCE_BACKOFF_MAX_MS);
    /* The server's wish is the least; the jitter keeps a fleet from coming back in one second. */
    if (s->answer.retry_after_s > 0)
        pause_ms += (uint64_t)s->answer.retry_after_s * 1000;
    return pause_ms;
}

static void
fail(struct lk_source *s, enum lk_err err, uint64_t now_ms)
{
    s->next_ms = now_ms + pause_after_failure(s);
    s->report =
        (struct lk_source_report){.err = err, .status = s->answer.status, .next_ms = s->next_ms};
    end_attempt(s);
}

/* A percent of a second is 10 ms: so no division, which a small core does in software. */
static uint64_t
renewal_ms(const struct lk_source *s, uint32_t expires_in_s)
{
    const uint64_t percent_ms = (uint64_t)expires_in_s * 10;

    return percent_ms * (LK_SOURCE_RENEW_PERCENT - LK_SOURCE_JITTER_PERCENT) +
           pause_pick(&s->config.random, percent_ms * 2 * LK_SOURCE_JITTER_PERCENT);
}

/* ---- the request ---- */

/*
 * A used refresh token may be repeated for a while, because its answer may have been lost; beyond
 * that the server takes it for stolen and revokes the whole family (contracts section 8).
 */
static bool
refresh_is_usable(const struct lk_source *s, uint64_t now_ms)
{
    return s->refresh_len > 0 &&
           (!s->refresh_used || now_ms - s->refresh_first_ms < LK_SOURCE_GRACE_MS);
}

static enum lk_err
write_request(struct lk_source *s)
{
    const struct lk_source_config *c = &s->config;
    struct lk_token_request token = {
        .client_id = c->client_id,
        .client_secret = c->client_secret,
        .audience = c->audience,
        .scope = c->scope,
        .format = c->format,
        .expires_in_s = c->expires_in_s,
    };
    struct lk_http_request http = {
        .host = c->host,
        .path = c->path,
        .content_type = LK_SPAN(LK_ACE_CBOR),
    };
    struct lk_span body, out;
    uint8_t *end = c->work_room.ptr + c->work_room.cap;
    enum lk_err err;

    if (s->refresh_len > 0)
        token.refresh_token = lk_span_of(s->refresh, s->refresh_len);
    err = lk_token_request_write(&token, c->work_room, &body);
    if (err != LK_OK)
        return err;
    /* The body waits at the end of the room while the head is written at its beginning. */
    memmove(end - body.len, body.ptr, body.len);
    http.body = lk_span_of(end - body.len, body.len);
    err = lk_http_request_write(&http, c->work_room, &out);
    s->out_len = out.len;
    s->out_at = 0;
    return err;
}

static void
begin(struct lk_source *s, uint64_t now_ms)
{
    s->started_ms = now_ms;
    lk_http_answer_open(&s->answer, s->config.work_room);
    s->state = STATE_OPENING;
}

/* Written only when the connection stands: so the secret lies in the room for as short as can be.
 */
static void
begin_sending(struct lk_source *s, uint64_t now_ms)
{
    enum lk_err err;

    if (!refresh_is_usable(s, now_ms))
        forget_refresh(s);
    err = write_request(s);
    if (err != LK_OK) {
        fail(s, err, now_ms);
        return;
    }
    s->sent_refresh = s->refresh_len > 0;
    if (s->sent_refresh && !s->refresh_used) {
        s->refresh_used = true;
        s->refresh_first_ms = now_ms;
    }
    s->started_ms = now_ms; /* the lifetime is counted from here */
    s->state = STATE_SENDING;
}

/* ---- the answer ---- */

static void
keep_refresh(struct lk_source *s, struct lk_span refresh)
{
    forget_refresh(s);
    if (refresh.len == 0 || refresh.len > sizeof(s->refresh))
        return;
    memcpy(s->refresh, refresh.ptr, refresh.len);
    s->refresh_len = (uint16_t)refresh.len;
}

static enum lk_err
keep_token(struct lk_source *s, const struct lk_token_answer *token)
{
    const struct lk_buf room = s->config.token_room;

    if (token->access_token.len > room.cap)
        return LK_ERR_NO_SPACE;
    forget_token(s);
    memcpy(room.ptr, token->access_token.ptr, token->access_token.len);
    s->token_len = token->access_token.len;
    s->expires_ms = s->started_ms + (uint64_t)token->expires_in_s * 1000;
    s->next_ms = s->started_ms + renewal_ms(s, token->expires_in_s);
    keep_refresh(s, token->refresh_token);
    s->serial++;
    if (s->serial == 0)
        s->serial = 1;
    return LK_OK;
}

static enum lk_err
refusal(const struct lk_source *s, const struct lk_token_answer *token)
{
    if (s->answer.status == 429 || s->answer.status >= 500)
        return LK_ERR_UNAVAILABLE;
    if (token->error == LK_OAUTH_INVALID_CLIENT || s->answer.status == 401)
        return LK_ERR_CREDENTIAL;
    return LK_ERR_DENIED;
}

/* Is it the refresh token that is not wanted, so that client_credentials may do better? */
static bool
refuses_the_grant(int32_t error)
{
    return error == LK_OAUTH_INVALID_GRANT || error == LK_OAUTH_UNAUTHORIZED_CLIENT ||
           error == LK_OAUTH_UNSUPPORTED_GRANT_TYPE;
}

static void
refused(struct lk_source *s, uint64_t now_ms)
{
    struct lk_token_answer token = {0};
    enum lk_err err = LK_OK;

    if (s->answer.is_ace_cbor && s->answer.body.len > 0)
        err = lk_token_answer_parse(s->answer.body, &token);
    if (err != LK_OK)
        token = (struct lk_token_answer){0}; /* the status says enough */
    if (s->sent_refresh && refuses_the_grant(token.error)) {
        /* Not a failure yet: the long-term secret has not been tried. */
        forget_refresh(s);
        end_attempt(s);
        s->next_ms = now_ms;
        return;
    }
    fail(s, refusal(s, &token), now_ms);
    s->report.oauth_error = token.error;
}

static void
answered(struct lk_source *s, uint64_t now_ms)
{
    struct lk_token_answer token;
    enum lk_err err;

    if (s->answer.date_s > 0) {
        s->date_s = s->answer.date_s;
        s->date_ms = now_ms;
    }
    if (s->answer.status != 200) {
        refused(s, now_ms);
        return;
    }
    err = s->answer.is_ace_cbor ? lk_token_answer_parse(s->answer.body, &token) : LK_ERR_TYPE;
    if (err == LK_OK && token.error != 0)
        err = LK_ERR_MALFORMED; /* an error is never 200 */
    if (err == LK_OK)
        err = keep_token(s, &token);
    if (err != LK_OK) {
        fail(s, err, now_ms);
        return;
    }
    s->failures = 0;
    s->breaker_open = false;
    s->report =
        (struct lk_source_report){.err = LK_OK, .status = s->answer.status, .next_ms = s->next_ms};
    end_attempt(s);
}

/* ---- input and output: LK_OK means "go on", LK_ERR_BUSY "wait for *io" ---- */

static enum lk_err
do_open(struct lk_source *s, uint64_t now_ms, unsigned *io)
{
    const struct lk_transport *link = &s->config.link;
    enum lk_err err = link->open(link->ctx);

    *io = pause_wants(link, LK_WANT_READ);
    if (err == LK_OK)
        begin_sending(s, now_ms);
    return err;
}

static enum lk_err
do_send(struct lk_source *s, unsigned *io)
{
    const struct lk_transport *link = &s->config.link;
    struct lk_span rest = {s->config.work_room.ptr + s->out_at, s->out_len - s->out_at};
    size_t sent = 0;
    enum lk_err err = link->write(link->ctx, rest, &sent);

    *io = pause_wants(link, LK_WANT_WRITE);
    if (err != LK_OK)
        return err;
    s->out_at += sent;
    if (s->out_at == s->out_len) {
        lk_wipe(s->config.work_room.ptr, s->config.work_room.cap);
        s->state = STATE_READING;
    }
    return LK_OK;
}

static enum lk_err
do_read(struct lk_source *s, uint64_t now_ms, unsigned *io)
{
    const struct lk_transport *link = &s->config.link;
    uint8_t room[64]; /* the body goes to the work room; a token must not lie about on the stack */
    size_t len = 0;
    enum lk_err err = link->read(link->ctx, LK_BUF_OF(room), &len);

    *io = pause_wants(link, LK_WANT_READ);
    if (err == LK_OK)
        err = lk_http_answer_feed(&s->answer, lk_span_of(room, len));
    lk_wipe(room, sizeof(room));
    if (err == LK_OK && lk_http_answer_is_done(&s->answer))
        answered(s, now_ms);
    return err;
}

static enum lk_err
advance(struct lk_source *s, uint64_t now_ms, unsigned *io)
{
    switch ((enum state)s->state) {
    case STATE_WAITING:
        if (now_ms < s->next_ms)
            return LK_ERR_BUSY;
        begin(s, now_ms);
        return LK_OK;
    case STATE_OPENING:
        return do_open(s, now_ms, io);
    case STATE_SENDING:
        return do_send(s, io);
    case STATE_READING:
        return do_read(s, now_ms, io);
    }
    return LK_ERR_STATE;
}

struct lk_want
lk_source_step(struct lk_source *s, uint64_t now_ms)
{
    struct lk_want want = {0, s->next_ms};
    const uint8_t failures = s->failures;
    enum lk_err err;

    if (has_token(s) && now_ms >= s->expires_ms)
        forget_token(s);
    do {
        want.io = 0;
        if (s->state != STATE_WAITING && now_ms - s->started_ms >= LK_SOURCE_TIMEOUT_MS)
            fail(s, LK_ERR_TIMEOUT, now_ms);
        err = advance(s, now_ms, &want.io);
        if (err != LK_OK && err != LK_ERR_BUSY)
            fail(s, err, now_ms);
    } while (err == LK_OK && s->failures == failures); /* one failure a step, so each is seen */

    if (s->state == STATE_WAITING) {
        want = (struct lk_want){0, s->next_ms};
        if (has_token(s))
            want.until_ms = pause_sooner(want.until_ms, s->expires_ms);
    } else {
        want.until_ms = s->started_ms + LK_SOURCE_TIMEOUT_MS;
        if (want.io == 0)
            want.until_ms = pause_sooner(want.until_ms, now_ms + PAUSE_POLL_MS);
    }
    return want;
}

/* ---- the rest ---- */

enum lk_err
lk_source_init(struct lk_source *s, const struct lk_source_config *c)
{
    *s = (struct lk_source){0};
    if (c->link.open == NULL || c->link.read == NULL || c->link.write == NULL ||
        c->link.close == NULL || c->random.fill == NULL || c->host.len == 0 ||
        c->client_id.len == 0 || c->client_secret.len == 0 || c->token_room.ptr == NULL ||
        c->work_room.ptr == NULL)
        return LK_ERR_ARG;
    s->config = *c;
    if (s->config.path.ptr == NULL)
        s->config.path = LK_SPAN("/oauth/token");
    s->report.err = LK_ERR_BUSY;
    return LK_OK;
}

void
lk_source_spread(struct lk_source *s, uint64_t now_ms, uint64_t within_ms)
{
    s->next_ms = now_ms + pause_pick(&s->config.random, within_ms);
}

struct lk_span
lk_source_token(const struct lk_source *s, uint64_t now_ms)
{
    if (!has_token(s) || now_ms >= s->expires_ms)
        return (struct lk_span){NULL, 0};
    return lk_span_of(s->config.token_room.ptr, s->token_len);
}

uint32_t
lk_source_serial(const struct lk_source *s)
{
    return s->serial;
}

uint64_t
lk_source_expires_ms(const struct lk_source *s)
{
    return s->expires_ms;
}

void
lk_source_renew(struct lk_source *s, uint64_t now_ms)
{
    /* After a failure next_ms is the end of a pause, which no impatience shortens. */
    if (s->state == STATE_WAITING && s->failures == 0 && now_ms < s->next_ms)
        s->next_ms = now_ms;
}

bool
lk_source_is_failing(const struct lk_source *s)
{
    return s->failures > 0;
}

const struct lk_source_report *
lk_source_last(const struct lk_source *s)
{
    return &s->report;
}

int64_t
lk_source_wall_s(const struct lk_source *s, uint64_t now_ms)
{
    if (s->date_s == 0)
        return 0;
    return s->date_s + (int64_t)((now_ms - s->date_ms) / 1000);
}

void
lk_source_wipe(struct lk_source *s)
{
    if (s->config.link.close != NULL)
        end_attempt(s);
    if (s->config.token_room.ptr != NULL)
        lk_wipe(s->config.token_room.ptr, s->config.token_room.cap);
    lk_wipe(s, sizeof(*s));
}
