#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <latchkey/host/clock.h>
#include <latchkey/host/fetch.h>

/* --- notes --------------------------------------------------------------------------------- */

void
note_free(struct note *note)
{
    keys_free(note->keys, note->key_count);
    feed_news_free(note->news);
    free(note);
}

void
worker_post(struct worker *w, struct note *note)
{
    struct note *head = atomic_load(&w->notes);

    do
        note->next = head;
    while (!atomic_compare_exchange_weak(&w->notes, &head, note));
    atomic_fetch_add(&w->note_count, 1);
    wake_ask(w->wake);
}

/* Nobody takes notes where no tick comes and nobody logs in: then the log waits, not memory. */
struct note *
worker_note_new(struct worker *w)
{
    return atomic_load(&w->note_count) < NOTES_MAX ? calloc(1, sizeof(struct note)) : NULL;
}

__attribute__((format(printf, 3, 4))) static void
say(struct worker *w, enum lk_log_level level, const char *format, ...)
{
    struct note *note = worker_note_new(w);
    va_list args;

    if (note == NULL)
        return;
    note->level = level;
    va_start(args, format);
    (void)vsnprintf(note->text, sizeof(note->text), format, args);
    va_end(args);
    worker_post(w, note);
}

void
worker_say(struct worker *w, enum lk_log_level level, const char *line)
{
    say(w, level, "%s", line);
}

struct note *
worker_take_notes(struct worker *w)
{
    struct note *newest, *oldest = NULL, *next;

    if (atomic_load_explicit(&w->notes, memory_order_relaxed) == NULL)
        return NULL;
    newest = atomic_exchange(&w->notes, NULL);
    for (; newest != NULL; newest = next) {
        next = newest->next;
        newest->next = oldest;
        oldest = newest;
        atomic_fetch_sub(&w->note_count, 1);
    }
    return oldest;
}

/* --- keys ---------------------------------------------------------------------------------- */

static int64_t
jittered_ms(int64_t interval_s)
{
    uint32_t random = 0;
    int64_t ms = interval_s * 1000;

    /* 90 to 110 %: a hundred brokers started together do not ask together for ever. Without
     * randomness they do, which harms nobody. */
    if (lk_crypto_random((struct lk_buf){(uint8_t *)&random, sizeof(random)}) != LK_OK)
        random = UINT32_MAX / 2;
    return ms * 9 / 10 + (int64_t)((double)ms / 5.0 * ((double)random / (double)UINT32_MAX));
}

static void
fetch_failed(struct worker *w, const char *why, unsigned status)
{
    int64_t wait_s = w->failures < 6 ? KEYS_RETRY_MIN_S << w->failures : KEYS_RETRY_MAX_S;
    int64_t refresh_s = atomic_load(&w->refresh_interval_s);

    /* The first, second, fourth ... in a row: an outage of a day is a dozen lines. */
    w->failures++;
    if ((w->failures & (w->failures - 1)) == 0)
        say(w, LK_LOG_WARN, "keys url=%s status=%u failures=%u %s", lk_log_text(w->jwks_uri),
            status, w->failures, why);
    w->fetch_due_ms = lk_clock_monotonic_ms() + (wait_s < refresh_s ? wait_s : refresh_s) * 1000;
}

static void
fetch_succeeded(struct worker *w, const struct lk_fetch_answer *answer, struct lk_key *keys,
                size_t count)
{
    struct note *note = worker_note_new(w);

    w->fetch_due_ms = lk_clock_monotonic_ms() + jittered_ms(atomic_load(&w->refresh_interval_s));
    if (note == NULL) {
        /* These keys reach nobody: the next fetch must not call them unchanged. */
        if (keys != NULL)
            memset(w->digest, 0, sizeof(w->digest));
        keys_free(keys, count);
        return;
    }
    note->server_date_s = answer->server_date_s;
    note->keys = keys;
    note->key_count = count;
    note->keys_are_fresh = true;
    if (keys != NULL || w->failures > 0) {
        note->level = LK_LOG_INFO;
        (void)snprintf(note->text, sizeof(note->text), "keys url=%s %s", lk_log_text(w->jwks_uri),
                       keys != NULL ? "fetched" : "unchanged, reachable again");
    }
    w->failures = 0;
    worker_post(w, note);
}

/* Good only when it parses; kept on disk as it came, before parsing changes the text. */
static void
adopt(struct worker *w, const struct lk_fetch_answer *answer)
{
    uint8_t digest[LK_SHA256_LEN];
    uint8_t *copy;
    struct lk_key *keys = NULL;
    size_t count = 0;
    enum lk_err err;

    if (atomic_exchange(&w->keys_wanted_anew, false))
        memset(w->digest, 0, sizeof(w->digest));
    if (lk_crypto_sha256(answer->body, digest) == LK_OK &&
        memcmp(digest, w->digest, sizeof(digest)) == 0) {
        fetch_succeeded(w, answer, NULL, 0);
        return;
    }
    copy = malloc(answer->body.len + 1);
    if (copy == NULL) {
        fetch_failed(w, lk_err_text(LK_ERR_NOMEM), answer->status);
        return;
    }
    memcpy(copy, answer->body.ptr, answer->body.len);
    err = keys_parse(copy, answer->body.len, &keys, &count);
    free(copy);
    if (err != LK_OK) {
        fetch_failed(w, lk_err_text(err), answer->status);
        return;
    }
    memcpy(w->digest, digest, sizeof(digest));
    if (w->state->enabled && w->state->has_secret) {
        err = state_save_keys(w->state, w->issuer, lk_clock_wall_s(), answer->body);
        if (err != LK_OK)
            say(w, LK_LOG_WARN, "keys file=%s reason=%s %s", w->state->keys_path, lk_err_name(err),
                strerror(errno));
    }
    fetch_succeeded(w, answer, keys, count);
}

static void
fetch_keys(struct worker *w)
{
    static const char *const headers[] = {"Accept: application/jwk-set+json, application/json",
                                          NULL};
    struct lk_fetch_request request = {.method = "GET",
                                       .url = w->jwks_uri,
                                       .headers = headers,
                                       .timeout_ms = KEYS_FETCH_MS,
                                       .cancel = &w->stop};
    struct lk_fetch_answer answer;
    enum lk_err err;

    atomic_store(&w->keys_wanted, false);
    w->fetched_ms = lk_clock_monotonic_ms();
    if (w->fetch == NULL)
        w->fetch = lk_fetch_new(w->ca_file);
    if (w->fetch == NULL) {
        fetch_failed(w, lk_err_text(LK_ERR_NOMEM), 0);
        return;
    }
    err = lk_fetch_run(w->fetch, &request, LK_BUF_OF(w->body), &answer);
    if (w->stop)
        return;
    if (err != LK_OK)
        fetch_failed(w, answer.error[0] != '\0' ? lk_log_text(answer.error) : lk_err_text(err),
                     answer.status);
    else if (answer.status != 200)
        fetch_failed(w, "expected status 200", answer.status);
    else
        adopt(w, &answer);
}

/* When keys are due: on schedule, or since somebody wants them, but not all the time. */
static int64_t
fetch_at_ms(struct worker *w)
{
    int64_t asked_ms = w->fetched_ms + KEYS_ASK_MS;

    if (w->jwks_uri == NULL)
        return INT64_MAX;
    return atomic_load(&w->keys_wanted) && asked_ms < w->fetch_due_ms ? asked_ms : w->fetch_due_ms;
}

/* --- chunks -------------------------------------------------------------------------------- */

struct state_chunk *
worker_chunk(struct worker *w)
{
    unsigned in = atomic_load_explicit(&w->chunks_in, memory_order_relaxed);
    unsigned out = atomic_load_explicit(&w->chunks_out, memory_order_acquire);

    return w->running && in - out < STATE_SLOTS ? &w->chunks[in % STATE_SLOTS] : NULL;
}

static void
nudge(const struct worker *w)
{
    const uint64_t one = 1;

    /* EAGAIN: it has been nudged 2^64 times already. */
    if (write(w->event_fd, &one, sizeof(one)) < 0)
        return;
}

void
worker_hand_over(struct worker *w)
{
    atomic_fetch_add_explicit(&w->chunks_in, 1, memory_order_release);
    nudge(w);
}

static void
write_chunks(struct worker *w)
{
    unsigned out = atomic_load_explicit(&w->chunks_out, memory_order_relaxed);

    while (out != atomic_load_explicit(&w->chunks_in, memory_order_acquire)) {
        const struct state_chunk *chunk = &w->chunks[out % STATE_SLOTS];
        enum lk_err err = state_write(w->state, &w->seal, chunk);

        if (err != LK_OK && !w->save_failed)
            say(w, LK_LOG_ERROR, "sessions file=%s reason=%s %s", w->state->sessions_path,
                lk_err_name(err), strerror(errno));
        if (err != LK_OK)
            w->save_failed = true;
        else if (chunk->kind == STATE_LAST)
            w->save_failed = false;
        atomic_store_explicit(&w->chunks_out, ++out, memory_order_release);
    }
}

/* --- the thread ---------------------------------------------------------------------------- */

void
worker_want_keys(struct worker *w)
{
    if (w->running && w->jwks_uri != NULL && !atomic_exchange(&w->keys_wanted, true))
        nudge(w);
}

void
worker_want_keys_anew(struct worker *w)
{
    atomic_store(&w->keys_wanted_anew, true);
    worker_want_keys(w);
}

static int
sleep_ms(struct worker *w)
{
    int64_t at_ms = fetch_at_ms(w);
    int64_t left;

    if (at_ms == INT64_MAX)
        return -1;
    left = at_ms - lk_clock_monotonic_ms();
    return left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left;
}

static void *
run(void *context)
{
    struct worker *w = context;
    struct pollfd event = {.fd = w->event_fd, .events = POLLIN};
    uint64_t count;

    while (!w->stop) {
        if (poll(&event, 1, sleep_ms(w)) > 0 && read(w->event_fd, &count, sizeof(count)) < 0)
            continue;
        write_chunks(w);
        if (!w->stop && lk_clock_monotonic_ms() >= fetch_at_ms(w))
            fetch_keys(w);
    }
    write_chunks(w);
    seal_abort(&w->seal); /* a walk that was not finished; the last save begins anew */
    lk_fetch_free(w->fetch);
    w->fetch = NULL;
    return NULL;
}

enum lk_err
worker_start(struct worker *w)
{
    w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event_fd < 0)
        return LK_ERR_UNAVAILABLE;
    w->fetched_ms = lk_clock_monotonic_ms() - KEYS_ASK_MS;
    w->fetch_due_ms = lk_clock_monotonic_ms();
    if (wake_thread_start(&w->thread, run, w) != 0) {
        (void)close(w->event_fd);
        return LK_ERR_UNAVAILABLE;
    }
    w->running = true;
    return LK_OK;
}

void
worker_stop(struct worker *w)
{
    struct note *note, *next;

    if (w->running) {
        w->stop = 1;
        nudge(w);
        (void)pthread_join(w->thread, NULL);
        w->running = false;
        (void)close(w->event_fd);
    }
    /* Other threads send lines as well. */
    for (note = worker_take_notes(w); note != NULL; note = next) {
        next = note->next;
        note_free(note);
    }
}
