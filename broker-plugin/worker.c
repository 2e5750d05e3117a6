#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <latchkey/crypto.h>
#include <latchkey/jwk.h>
#include <latchkey/host/clock.h>
#include <latchkey/host/fetch.h>

#include "keys.h"
#include "seal.h"
#include "state.h"

#define WAKE_SIGNAL (SIGRTMIN + 5) /* 2.1 uses SIGRTMIN itself */

struct worker {
    pthread_t thread, broker;
    pthread_mutex_t lock;
    pthread_cond_t change; /* something for the worker to do */
    struct note *first, *last;
    unsigned note_count;
    struct state_chunk *free_chunks;
    _Atomic(struct state_chunk *) handed; /* newest first */
    bool stop, keys_asked;
    int64_t keys_due_ms, keys_asked_ms;
    unsigned retry_s;
    atomic_bool notes_waiting;
    atomic_int wake_works;
    volatile int cancel;
    bool fetch_keys, may_cache;
    struct options options;
    uint8_t keys_key[SEAL_KEY_LEN], state_key[SEAL_KEY_LEN];
    struct seal state_seal;
    bool state_open;
    struct lk_fetch *fetch;
    uint8_t body[JWKS_MAX];
};

static void
on_wake(int signal)
{
    (void)signal; /* that epoll_wait ends is all that is wanted */
}

/* --- towards the broker's thread ------------------------------------------------------------ */

static void
wake(struct worker *w)
{
    struct timespec pause = {0, WAKE_REPEAT_US * 1000L};

    for (unsigned i = 0; i < WAKE_REPEATS && atomic_load(&w->notes_waiting); i++) {
        (void)pthread_kill(w->broker, WAKE_SIGNAL);
        (void)nanosleep(&pause, NULL);
    }
    if (!atomic_load(&w->notes_waiting))
        atomic_store(&w->wake_works, 1);
}

static void
note_post(struct worker *w, struct note *note)
{
    bool dropped;

    (void)pthread_mutex_lock(&w->lock);
    dropped = w->note_count >= NOTES_MAX && note->kind == NOTE_LOG;
    if (!dropped) {
        *(w->last != NULL ? &w->last->next : &w->first) = note;
        w->last = note;
        w->note_count++;
        atomic_store(&w->notes_waiting, true);
    }
    (void)pthread_mutex_unlock(&w->lock);
    if (dropped)
        note_free(note);
    else
        wake(w);
}

static void note_log(struct worker *w, enum lk_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void
note_log(struct worker *w, enum lk_log_level level, const char *format, ...)
{
    struct note *note = calloc(1, sizeof(*note));
    va_list args;

    if (note == NULL)
        return;
    note->kind = NOTE_LOG;
    note->level = level;
    va_start(args, format);
    (void)vsnprintf(note->line, sizeof(note->line), format, args);
    va_end(args);
    note_post(w, note);
}

void
note_free(struct note *note)
{
    for (size_t i = 0; i < note->key_count; i++)
        lk_key_wipe(&note->keys[i]);
    free(note->keys);
    free(note);
}

struct note *
worker_take(struct worker *w)
{
    struct note *all;

    if (!atomic_load(&w->notes_waiting) || pthread_mutex_trylock(&w->lock) != 0)
        return NULL;
    all = w->first;
    w->first = w->last = NULL;
    w->note_count = 0;
    atomic_store(&w->notes_waiting, false);
    (void)pthread_mutex_unlock(&w->lock);
    return all;
}

void
worker_ask_keys(struct worker *w)
{
    if (!w->fetch_keys || pthread_mutex_trylock(&w->lock) != 0)
        return;
    if (!w->keys_asked) {
        w->keys_asked = true;
        (void)pthread_cond_signal(&w->change);
    }
    (void)pthread_mutex_unlock(&w->lock);
}

struct state_chunk *
worker_chunk_get(struct worker *w)
{
    struct state_chunk *chunk;

    if (pthread_mutex_trylock(&w->lock) != 0)
        return NULL;
    chunk = w->free_chunks;
    if (chunk != NULL)
        w->free_chunks = chunk->next;
    (void)pthread_mutex_unlock(&w->lock);
    if (chunk != NULL) {
        chunk->next = NULL;
        chunk->first = chunk->last = false;
        chunk->len = 0;
    }
    return chunk;
}

void
worker_chunk_put(struct worker *w, struct state_chunk *chunk)
{
    /* The worker holds the lock for a few pointer moves only, but may be put to sleep while it
     * does: then the chunk goes over by the atomic list instead. */
    chunk->next = atomic_load(&w->handed);
    while (!atomic_compare_exchange_weak(&w->handed, &chunk->next, chunk))
        ;
    if (pthread_mutex_trylock(&w->lock) == 0) {
        (void)pthread_cond_signal(&w->change);
        (void)pthread_mutex_unlock(&w->lock);
    }
}

int
worker_wake_works(const struct worker *w)
{
    return atomic_load(&w->wake_works);
}

/* --- keys ----------------------------------------------------------------------------------- */

static void
keys_path(const struct worker *w, char *path, size_t size)
{
    (void)snprintf(path, size, "%s/" KEYS_FILE, w->options.state_dir);
}

/* Give keys to the broker's thread. @return LK_OK; on error nothing was given. */
static enum lk_err
keys_post(struct worker *w, struct lk_span document, int64_t server_date_s)
{
    struct note *note = calloc(1, sizeof(*note));
    uint8_t *text = malloc(document.len + 1);
    enum lk_err err = LK_ERR_NOMEM;

    if (note == NULL || text == NULL)
        goto out;
    note->keys = calloc(LK_KEYS_MAX, sizeof(*note->keys));
    if (note->keys == NULL)
        goto out;
    note->kind = NOTE_KEYS;
    note->server_date_s = server_date_s;
    memcpy(text, document.ptr, document.len);
    err = lk_jwks_read(text, document.len, note->keys, LK_KEYS_MAX, &note->key_count);
    if (err == LK_OK && note->key_count == 0)
        err = LK_ERR_KEY;
out:
    free(text);
    if (err == LK_OK)
        note_post(w, note);
    else if (note != NULL)
        note_free(note);
    return err;
}

static void
keys_save(struct worker *w, struct lk_span document)
{
    char path[OPTION_TEXT_MAX + 32];
    struct seal seal;
    enum lk_err err;

    if (!w->may_cache)
        return;
    keys_path(w, path, sizeof(path));
    err = seal_create(&seal, path, w->keys_key);
    if (err == LK_OK)
        err = seal_add(&seal, document);
    if (err == LK_OK)
        err = seal_commit(&seal);
    if (err == LK_OK)
        return;
    seal_abort(&seal);
    note_log(w, LK_LOG_ERROR, "keys file=%s cannot be written reason=%s %s", path, lk_err_name(err),
             lk_err_text(err));
}

/* The last good copy, so that a broker that starts while the server is down knows its keys. */
static void
keys_restore(struct worker *w)
{
    char path[OPTION_TEXT_MAX + 32];
    struct lk_span document;
    struct seal seal;
    enum lk_err err;

    if (!w->may_cache)
        return;
    keys_path(w, path, sizeof(path));
    err = seal_open(&seal, path, w->keys_key, LK_BUF_OF(w->body));
    if (err == LK_ERR_NOT_FOUND)
        return;
    if (err == LK_OK) {
        err = seal_next(&seal, LK_BUF_OF(w->body), &document) ? LK_OK : LK_ERR_TRUNCATED;
        seal_close(&seal);
    }
    if (err == LK_OK)
        err = keys_post(w, document, 0);
    if (err == LK_OK)
        note_log(w, LK_LOG_INFO, "keys from=%s until the issuer answers", path);
    else
        note_log(w, LK_LOG_ERROR, "keys file=%s ignored reason=%s %s", path, lk_err_name(err),
                 lk_err_text(err));
}

static enum lk_err
keys_fetch(struct worker *w)
{
    struct lk_fetch_request request = {.method = "GET",
                                       .url = w->options.jwks_uri,
                                       .timeout_ms = KEYS_FETCH_MS,
                                       .cancel = &w->cancel};
    struct lk_fetch_answer answer;
    enum lk_err err = lk_fetch_run(w->fetch, &request, LK_BUF_OF(w->body), &answer);

    if (err == LK_OK && answer.status != 200)
        err = LK_ERR_UNAVAILABLE;
    if (err == LK_OK)
        err = keys_post(w, answer.body, answer.server_date_s);
    if (err == LK_OK)
        keys_save(w, answer.body);
    else if (err != LK_ERR_CLOSED)
        note_log(w, LK_LOG_WARN, "keys url=%s status=%u reason=%s %s %s", w->options.jwks_uri,
                 answer.status, lk_err_name(err), lk_err_text(err), lk_log_text(answer.error));
    return err;
}

/* A tenth more or less, so that many brokers do not come at once. */
static int64_t
jittered_ms(int64_t seconds)
{
    uint8_t dice = 128;

    if (lk_crypto_random((struct lk_buf){&dice, 1}) != LK_OK)
        dice = 128;
    return seconds * 900 + seconds * 200 * dice / 255;
}

static void
keys_work(struct worker *w)
{
    int64_t now_ms = lk_clock_monotonic_ms();
    bool ok;

    w->keys_asked_ms = now_ms;
    ok = keys_fetch(w) == LK_OK;
    if (ok)
        w->retry_s = 0;
    else
        w->retry_s = w->retry_s == 0                     ? KEYS_RETRY_MIN_S
                     : w->retry_s * 2 < KEYS_RETRY_MAX_S ? w->retry_s * 2
                                                         : KEYS_RETRY_MAX_S;
    w->keys_due_ms = lk_clock_monotonic_ms() +
                     jittered_ms(ok ? w->options.refresh_interval_s : (int64_t)w->retry_s);
}

/* --- the state file --------------------------------------------------------------------------- */

static enum lk_err
chunk_save(struct worker *w, const struct state_chunk *chunk)
{
    char path[OPTION_TEXT_MAX + 32];
    enum lk_err err = LK_OK;

    if (chunk->first) {
        (void)snprintf(path, sizeof(path), "%s/" STATE_FILE, w->options.state_dir);
        if (w->state_open)
            seal_abort(&w->state_seal);
        err = seal_create(&w->state_seal, path, w->state_key);
        w->state_open = err == LK_OK;
    }
    if (!w->state_open)
        return err;
    if (chunk->len > 0)
        err = seal_add(&w->state_seal, lk_span_of(chunk->bytes, chunk->len));
    if (err == LK_OK && chunk->last) {
        err = seal_commit(&w->state_seal);
        w->state_open = err != LK_OK;
    }
    if (err != LK_OK) {
        seal_abort(&w->state_seal);
        w->state_open = false;
    }
    return err;
}

static void
chunks_work(struct worker *w)
{
    struct state_chunk *newest = atomic_exchange(&w->handed, NULL), *oldest = NULL;

    while (newest != NULL) {
        struct state_chunk *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct state_chunk *chunk = oldest;
        enum lk_err err = chunk_save(w, chunk);

        oldest = chunk->next;
        if (err != LK_OK)
            note_log(w, LK_LOG_ERROR, "state folder=%s cannot be written reason=%s %s",
                     w->options.state_dir, lk_err_name(err), lk_err_text(err));
        (void)pthread_mutex_lock(&w->lock);
        chunk->next = w->free_chunks;
        w->free_chunks = chunk;
        (void)pthread_mutex_unlock(&w->lock);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

/* Sleep until there is something to do. @return false: it is time to end. */
static bool
wait_for_work(struct worker *w, bool *keys)
{
    bool go_on;

    (void)pthread_mutex_lock(&w->lock);
    for (;;) {
        int64_t now_ms = lk_clock_monotonic_ms();
        bool asked = w->keys_asked && now_ms - w->keys_asked_ms >= KEYS_ASK_MS;
        struct timespec until;

        *keys = w->fetch_keys && !w->stop && (asked || now_ms >= w->keys_due_ms);
        if (w->stop || *keys || atomic_load(&w->handed) != NULL)
            break;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += WAKE_IDLE_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        (void)pthread_cond_timedwait(&w->change, &w->lock, &until);
    }
    if (*keys)
        w->keys_asked = false;
    go_on = !w->stop;
    (void)pthread_mutex_unlock(&w->lock);
    return go_on;
}

static void *
worker_run(void *arg)
{
    struct worker *w = arg;
    bool go_on = true, keys = false;

    if (w->fetch_keys)
        keys_restore(w);
    while (go_on) {
        go_on = wait_for_work(w, &keys);
        chunks_work(w);
        if (keys)
            keys_work(w);
    }
    return NULL;
}

static enum lk_err
worker_prepare(struct worker *w, struct lk_span secret)
{
    enum lk_err err = seal_derive(secret, STATE_PURPOSE, w->state_key);
    pthread_condattr_t attributes;

    if (err == LK_OK)
        err = seal_derive(secret, KEYS_PURPOSE, w->keys_key);
    if (err != LK_OK)
        return err;
    w->fetch = w->fetch_keys
                   ? lk_fetch_new(w->options.ca_file[0] != '\0' ? w->options.ca_file : NULL)
                   : NULL;
    if (w->fetch_keys && w->fetch == NULL)
        return LK_ERR_NOMEM;
    for (unsigned i = 0; i < STATE_SLOTS; i++) {
        struct state_chunk *chunk = calloc(1, sizeof(*chunk));

        if (chunk == NULL)
            return LK_ERR_NOMEM;
        chunk->next = w->free_chunks;
        w->free_chunks = chunk;
    }
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->change, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return LK_OK;
}

static void
worker_free(struct worker *w)
{
    struct state_chunk *chunk;
    struct note *note;

    while ((chunk = w->free_chunks) != NULL) {
        w->free_chunks = chunk->next;
        free(chunk);
    }
    while ((note = w->first) != NULL) {
        w->first = note->next;
        note_free(note);
    }
    if (w->state_open)
        seal_abort(&w->state_seal);
    lk_fetch_free(w->fetch);
    lk_wipe(w, sizeof(*w));
    free(w);
}

/* Signals are the broker's: a thread of ours that took one would keep it from the broker. */
static int
thread_start(struct worker *w)
{
    sigset_t all, before;
    int failed;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    failed = pthread_create(&w->thread, NULL, worker_run, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

enum lk_err
worker_open(const struct options *options, struct lk_span secret, bool fetch_keys,
            struct worker **out)
{
    struct sigaction action = {.sa_handler = on_wake};
    struct worker *w = calloc(1, sizeof(*w));
    enum lk_err err;

    *out = NULL;
    if (w == NULL)
        return LK_ERR_NOMEM;
    w->options = *options;
    w->broker = pthread_self();
    w->fetch_keys = fetch_keys;
    w->may_cache = secret.len > 0;
    w->keys_asked_ms = lk_clock_monotonic_ms() - KEYS_ASK_MS;
    err = worker_prepare(w, secret);
    /* Without SA_RESTART, so that epoll_wait ends. */
    if (err == LK_OK && sigaction(WAKE_SIGNAL, &action, NULL) != 0)
        err = LK_ERR_IO;
    if (err == LK_OK && thread_start(w) != 0)
        err = LK_ERR_NOMEM;
    if (err != LK_OK)
        worker_free(w);
    else
        *out = w;
    return err;
}

void
worker_close(struct worker *w)
{
    if (w == NULL)
        return;
    w->cancel = 1;
    atomic_store(&w->notes_waiting, false); /* nobody takes notes any more: do not wake */
    (void)pthread_mutex_lock(&w->lock);
    w->stop = true;
    (void)pthread_cond_signal(&w->change);
    (void)pthread_mutex_unlock(&w->lock);
    (void)pthread_join(w->thread, NULL);
    /* 2.0 unmaps this library next: a signal that comes late must not find its handler gone. */
    (void)signal(WAKE_SIGNAL, SIG_IGN);
    (void)pthread_cond_destroy(&w->change);
    (void)pthread_mutex_destroy(&w->lock);
    worker_free(w);
}
