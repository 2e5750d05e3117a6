#include "feed.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <latchkey/host/clock.h>
#include <latchkey/host/fetch.h>

#include "log.h"

int64_t
feed_wait_s(int64_t max_feed_age_s)
{
    int64_t wait_s = max_feed_age_s / 4;

    if (max_feed_age_s == 0 || wait_s > FEED_WAIT_S)
        return FEED_WAIT_S;
    return wait_s > 0 ? wait_s : 1;
}

__attribute__((format(printf, 3, 4))) static void
tell(const struct feed *f, enum lk_log_level level, const char *format, ...)
{
    char line[LOG_LINE];
    va_list args;

    va_start(args, format);
    if (vsnprintf(line, sizeof(line), format, args) < 0)
        line[0] = '\0';
    va_end(args);
    worker_say(f->worker, level, line);
}

/* --- trouble ------------------------------------------------------------------------------- */

/* Full jitter: a thousand brokers that lost one server do not come back together. */
static int64_t
backoff_ms(unsigned failures)
{
    int64_t most_ms = failures < 7 ? (int64_t)FEED_RETRY_MIN_MS << (failures - 1) : INT64_MAX;
    uint32_t random = 0;
    int64_t wait_ms;

    if (most_ms > FEED_RETRY_MAX_MS)
        most_ms = FEED_RETRY_MAX_MS;
    if (lk_crypto_random((struct lk_buf){(uint8_t *)&random, sizeof(random)}) != LK_OK)
        random = UINT32_MAX;
    wait_ms = (int64_t)((double)most_ms * ((double)random / (double)UINT32_MAX));
    /* The breaker: after so many in a row one try at a time, and not soon. */
    return failures >= FEED_BREAK_AFTER && wait_ms < FEED_BREAK_MS ? FEED_BREAK_MS : wait_ms;
}

static void
failed(struct feed *f, const char *what, const char *why, const struct lk_fetch_answer *answer)
{
    int64_t now_ms = lk_clock_monotonic_ms(), wait_ms;

    if (f->stop)
        return;
    if (f->failures++ == 0)
        f->failing_since_s = lk_clock_wall_s();
    /* The first, second, fourth ... in a row: an outage of a day is a dozen lines. */
    if ((f->failures & (f->failures - 1)) == 0)
        tell(f, LK_LOG_WARN, "feed issuer=%s down since=%lld failures=%u %s status=%u %s",
             lk_log_text(f->issuer), (long long)f->failing_since_s, f->failures, what,
             answer->status, why);
    wait_ms = backoff_ms(f->failures);
    if (answer->status == 404 || answer->status == 405)
        wait_ms = FEED_ABSENT_MS;
    if (wait_ms < (int64_t)answer->retry_after_s * 1000)
        wait_ms = (int64_t)answer->retry_after_s * 1000;
    f->due_ms = now_ms + wait_ms;
}

static const char *
why_text(const struct lk_fetch_answer *answer, enum lk_err err)
{
    return answer->error[0] != '\0' ? lk_log_text(answer->error) : lk_err_text(err);
}

/* --- the file ------------------------------------------------------------------------------ */

/* Half a full list is no list. */
static bool
may_save(const struct feed *f)
{
    return f->state->enabled && f->state->has_secret && !f->set.filling;
}

static bool
save_is_due(const struct feed *f, int64_t now_ms)
{
    if (!may_save(f))
        return false;
    return (f->changed && now_ms >= f->saved_ms + FEED_SAVE_MS) ||
           (f->aged && now_ms >= f->saved_ms + FEED_SAVE_IDLE_MS);
}

static void
save(struct feed *f)
{
    enum lk_err err =
        state_save_revocations(f->state, f->issuer, lk_clock_wall_s(), &f->position, &f->set);

    if (err != LK_OK && !f->save_failed)
        tell(f, LK_LOG_ERROR, "revocations file=%s reason=%s %s", f->state->revocations_path,
             lk_err_name(err), strerror(errno));
    f->save_failed = err != LK_OK;
    f->saved_ms = lk_clock_monotonic_ms();
    f->changed = f->changed && err != LK_OK;
    f->aged = f->aged && err != LK_OK;
}

/* --- an answer ----------------------------------------------------------------------------- */

static const char *
contradiction(const struct feed *f, const struct feed_news *news)
{
    bool same_epoch = strcmp(news->epoch, f->position.epoch) == 0;

    if (news->more && same_epoch && news->seq <= f->position.seq)
        return "more is to come, but nothing new came";
    if (news->full)
        return NULL;
    if (f->position.epoch[0] == '\0')
        return "not a full list, which it has to begin with";
    if (!same_epoch)
        return "another epoch without a full list";
    return news->seq < f->position.seq ? "numbers that went back without a full list" : NULL;
}

/* Into the thread's own set, as revoke.c does with the broker's. */
static void
remember(struct feed *f, const struct feed_news *news)
{
    if (news->full)
        revocations_begin(&f->set);
    for (size_t i = 0; i < news->count; i++) {
        const struct feed_entry *e = &news->entries[i];

        (void)revocations_put(&f->set, (enum revocation_kind)e->kind, e->key, e->gen_before,
                              e->until_s, news->answered_s);
    }
    if (news->ends)
        revocations_end(&f->set);
    f->changed = f->changed || news->full || news->ends || news->count > 0;
    f->aged = true;
    memcpy(f->position.epoch, news->epoch, sizeof(f->position.epoch));
    f->position.seq = news->seq;
    f->position.answered_s = news->answered_s;
    (void)revocations_sweep(&f->set, news->answered_s, SIZE_MAX);
}

static void
note_unknown(struct feed *f, const struct feed_news *news)
{
    if (news->unknown_kind[0] == '\0' || f->told_unknown)
        return;
    f->told_unknown = true;
    tell(f, LK_LOG_WARN, "feed issuer=%s kind=%s is not known to this version and passed over",
         lk_log_text(f->issuer), lk_log_text(news->unknown_kind));
}

static void
note_up(struct feed *f, struct note *note)
{
    note->level = LK_LOG_INFO;
    if (!f->heard)
        (void)snprintf(note->text, sizeof(note->text), "feed issuer=%s up epoch=%s seq=%lld",
                       lk_log_text(f->issuer), f->position.epoch, (long long)f->position.seq);
    else if (f->failures > 0)
        (void)snprintf(note->text, sizeof(note->text),
                       "feed issuer=%s up again down_since=%lld failures=%u",
                       lk_log_text(f->issuer), (long long)f->failing_since_s, f->failures);
    f->heard = true;
    f->failures = 0;
}

/* The broker first, the file later: nobody waits for a disk. */
static void
pass_on(struct feed *f, struct feed_news *news, int64_t server_date_s)
{
    struct note *note = worker_note_new(f->worker);
    bool idle = !news->full && news->count == 0;

    if (note == NULL) {
        feed_news_free(news);
        f->due_ms = lk_clock_monotonic_ms() + FEED_PAUSE_MS; /* the same answer comes again */
        return;
    }
    news->ends = !news->more && (news->full || f->set.filling);
    note_unknown(f, news);
    remember(f, news);
    note->server_date_s = server_date_s;
    note->feed_is_fresh = !news->more;
    note_up(f, note);
    if (idle && !news->ends) {
        feed_news_free(news);
    } else {
        note->news = news;
        atomic_fetch_add(&f->waiting, 1);
    }
    worker_post(f->worker, note);
}

static void
take_answer(struct feed *f, const struct lk_fetch_answer *answer, int64_t held_ms)
{
    struct feed_news *news;
    enum lk_err err = feed_news_read(f->body.ptr, answer->body.len, &news);
    int64_t now_ms = lk_clock_monotonic_ms();
    const char *why;

    if (err != LK_OK) {
        failed(f, "not an answer of a feed", lk_err_text(err), answer);
        return;
    }
    why = contradiction(f, news);
    if (why != NULL) {
        feed_news_free(news);
        f->position.epoch[0] = '\0';
        f->position.seq = 0;
        failed(f, "not believed", why, answer);
        return;
    }
    news->answered_s = answer->server_date_s > 0 ? answer->server_date_s : lk_clock_wall_s();
    /* A server that does not hold the request is not asked all the time. */
    f->due_ms = now_ms;
    if (news->seq == f->position.seq && !news->more && now_ms - held_ms < FEED_PAUSE_MS)
        f->due_ms = now_ms + FEED_PAUSE_MS;
    pass_on(f, news, answer->server_date_s);
}

/* --- a request ----------------------------------------------------------------------------- */

/* The first one is not held: how fresh we are has to be known soon. */
static int64_t
wait_s(struct feed *f)
{
    if (!f->heard || f->failures > 0)
        return 0;
    /* What could not be written yet is written soon. */
    return f->changed && may_save(f) && !f->save_failed ? 1 : atomic_load(&f->wait_s);
}

static void
judge_status(struct feed *f, const struct lk_fetch_answer *answer, int64_t held_ms, bool is_retry)
{
    if (answer->status == 200) {
        take_answer(f, answer, held_ms);
        return;
    }
    if (answer->status == 401 || answer->status == 403)
        bearer_drop(&f->bearer);
    if (answer->status == 401 && !is_retry)
        return; /* once more at once, with a new token */
    failed(f, "refused",
           answer->status == 404   ? "the issuer has no feed"
           : answer->status == 403 ? "this client may not read it: role verifier, feed:read"
                                   : "expected status 200",
           answer);
}

static void
ask(struct feed *f, bool is_retry)
{
    static const char *const headers[] = {"Accept: application/json", NULL};
    char path[FEED_EPOCH_MAX + 80], url[OPTION_TEXT_MAX + sizeof(path)];
    int64_t held_s = wait_s(f), held_ms;
    struct lk_fetch_request request = {.method = "GET",
                                       .url = url,
                                       .bearer = f->bearer.token,
                                       .headers = headers,
                                       .timeout_ms = (unsigned)held_s * 1000 + FEED_WAIT_MORE_MS,
                                       .cancel = &f->stop};
    struct lk_fetch_answer answer;
    enum lk_err err = bearer_get(&f->bearer, f->fetch, &answer);

    if (err != LK_OK) {
        failed(f, "no token of our own", why_text(&answer, err), &answer);
        return;
    }
    (void)snprintf(path, sizeof(path), "/v1/feed?epoch=%s&after=%lld&wait=%lld", f->position.epoch,
                   (long long)f->position.seq, (long long)held_s);
    if (!bearer_url(url, sizeof(url), f->issuer, path))
        err = LK_ERR_LIMIT;
    held_ms = held_s > 0 ? lk_clock_monotonic_ms() : 0; /* since when */
    if (err == LK_OK)
        err = lk_fetch_run(f->fetch, &request, f->body, &answer);
    if (f->stop)
        return;
    if (err != LK_OK)
        failed(f, "no answer", why_text(&answer, err), &answer);
    else
        judge_status(f, &answer, held_ms, is_retry);
}

/* --- the thread ---------------------------------------------------------------------------- */

static void
rest(struct feed *f, int64_t until_ms)
{
    struct pollfd event = {.fd = f->event_fd, .events = POLLIN};
    int64_t left = until_ms - lk_clock_monotonic_ms();

    /* Woken only to stop. */
    if (left > 0 && !f->stop)
        (void)poll(&event, 1, left > INT32_MAX ? INT32_MAX : (int)left);
}

static void *
run(void *context)
{
    struct feed *f = context;

    while (!f->stop) {
        bool had_token = f->bearer.renew_ms != 0;

        if (save_is_due(f, lk_clock_monotonic_ms()))
            save(f);
        rest(f, f->due_ms);
        if (f->stop)
            break;
        if (atomic_load(&f->waiting) > FEED_PAGES_WAITING) {
            rest(f, lk_clock_monotonic_ms() + FEED_PAUSE_MS / 10);
            continue;
        }
        ask(f, !had_token);
    }
    bearer_drop(&f->bearer);
    return NULL;
}

static enum lk_err
open_thread(struct feed *f)
{
    f->body = (struct lk_buf){malloc(FEED_BODY_MAX), FEED_BODY_MAX};
    f->fetch = lk_fetch_new(f->ca_file);
    if (f->body.ptr == NULL || f->fetch == NULL)
        return LK_ERR_NOMEM;
    f->bearer = (struct bearer){.issuer = f->issuer,
                                .client_id = f->client_id,
                                .client_secret_file = f->client_secret_file,
                                .scope = "feed:read",
                                .cancel = &f->stop};
    f->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (f->event_fd < 0)
        return LK_ERR_UNAVAILABLE;
    if (wake_thread_start(&f->thread, run, f) == 0)
        return LK_OK;
    (void)close(f->event_fd);
    return LK_ERR_UNAVAILABLE;
}

enum lk_err
feed_start(struct feed *f)
{
    enum lk_err err = open_thread(f);

    f->running = err == LK_OK;
    return err;
}

void
feed_ask_stop(struct feed *f)
{
    const uint64_t one = 1;

    f->stop = 1;
    if (f->running && write(f->event_fd, &one, sizeof(one)) < 0)
        return; /* EAGAIN: it has been asked */
}

void
feed_close(struct feed *f)
{
    if (f->running) {
        feed_ask_stop(f);
        (void)pthread_join(f->thread, NULL);
        f->running = false;
        (void)close(f->event_fd);
        if ((f->changed || f->aged) && may_save(f))
            save(f);
    }
    lk_fetch_free(f->fetch);
    free(f->body.ptr);
    revocations_close(&f->set);
    f->fetch = NULL;
    f->body = (struct lk_buf){NULL, 0};
}
