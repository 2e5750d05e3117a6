/*
 * plugin.c - entry points, what the broker's events go to, and the turn of its loop.
 */
#include "plugin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/host/clock.h>
#include <latchkey/host/file.h>

#include "access.h"
#include "auth.h"
#include "authz_info.h"
#include "log.h"

#ifndef PLUGIN_BUILD_TIME_S
#error "PLUGIN_BUILD_TIME_S: seconds since 1970 at which the plugin was built"
#endif

#define EXPORT __attribute__((visibility("default")))

/* --- small services ------------------------------------------------------------------------ */

void
plugin_note_event(struct plugin *p, int64_t now_ms)
{
    if (p->ticked || p->complained)
        return;
    if (p->first_event_ms == 0) {
        p->first_event_ms = now_ms;
    } else if (now_ms - p->first_event_ms > TICK_EXPECTED_MS) {
        p->complained = true;
        atomic_store(&p->metrics.tick_missing, true);
        log_line(LK_LOG_ERROR,
                 "no tick came within %d ms of the first event: Mosquitto 2.0.11 with "
                 "per_listener_settings never sends one. Expired clients are denied everything, "
                 "but stay connected",
                 TICK_EXPECTED_MS);
    }
}

static void
take_note(struct plugin *p, struct note *note)
{
    enum lk_err err;

    if (note->text[0] != '\0')
        log_line(note->level, "%s", note->text);
    if (note->keys_are_fresh)
        metrics_set(&p->metrics.keys_success_s, (uint64_t)lk_clock_wall_s());
    if (note->server_date_s > 0)
        p->server_floor_s = note->server_date_s - p->options.leeway_s;
    revoke_take(p, note);
    if (note->keys == NULL)
        return;
    err = keys_adopt(&p->keys, 0, note->keys, note->key_count);
    log_line(err == LK_OK ? LK_LOG_INFO : LK_LOG_ERROR, "keys issuer=%s count=%zu reason=%s %s",
             lk_log_text(p->options.issuer), note->key_count, lk_err_name(err), lk_err_text(err));
    revoke_keys(p);
}

void
plugin_take_notes(struct plugin *p)
{
    struct note *note = worker_take_notes(&p->worker), *next;

    for (; note != NULL; note = next) {
        next = note->next;
        take_note(p, note);
        note_free(note);
    }
    revoke_some(p, plugin_now_ms());
}

bool
plugin_refresh_grant(struct plugin *p, struct session *s)
{
    struct lk_identity identity;
    struct lk_span values;
    struct shape *shape;

    if (s->policy_serial == p->policy_serial)
        return s->shape != NULL;
    if (lk_identity_read(session_identity(s), &identity) != LK_OK ||
        grants_compile(&p->grants, &p->policy, &identity, &shape, &values) != LK_OK)
        return false;
    return sessions_set_grant(&p->sessions, s, shape, values, p->policy_serial) == LK_OK;
}

/* --- files that the operator writes: read at start and on SIGHUP, as the broker reads its own - */

static enum lk_err
load_policy(struct plugin *p)
{
    struct lk_buf room = {malloc(LK_POLICY_FILE_MAX), LK_POLICY_FILE_MAX};
    struct lk_policy *policy = malloc(sizeof(*policy));
    struct lk_policy_error where = {0, 0, NULL};
    struct lk_span file;
    enum lk_err err = LK_ERR_NOMEM;

    if (room.ptr == NULL || policy == NULL)
        goto out;
    err = lk_file_read(p->options.scopes, room, &file);
    if (err == LK_OK)
        err = lk_policy_parse(file, policy, &where);
    if (err == LK_OK) {
        memcpy(&p->policy, policy, sizeof(p->policy));
        p->policy_serial++;
        p->recompiling = true;
        p->recompile_cursor = (struct session_cursor){0, 0};
    }
out:
    if (err != LK_OK && where.line > 0)
        log_line(LK_LOG_ERROR, "scope map %s:%u:%u: expected %s", lk_log_text(p->options.scopes),
                 (unsigned)where.line, (unsigned)where.column,
                 where.expected != NULL ? where.expected : "something else");
    else if (err != LK_OK)
        log_line(LK_LOG_ERROR, "scope map %s: %s", lk_log_text(p->options.scopes),
                 lk_err_text(err));
    free(room.ptr);
    free(policy);
    return err;
}

static enum lk_err
adopt_document(struct plugin *p, struct lk_span text, uint8_t *lent)
{
    struct lk_key *keys = NULL;
    size_t count = 0, all;
    enum lk_err err = keys_parse(lent, text.len, &keys, &count);

    all = count;
    if (err == LK_OK)
        err = keys_adopt(&p->keys, 0, keys, count);
    keys_free(keys, all);
    revoke_keys(p);
    return err;
}

static enum lk_err
load_keys_file(struct plugin *p)
{
    struct lk_buf room = {malloc(JWKS_MAX), JWKS_MAX};
    struct lk_span file;
    enum lk_err err = LK_ERR_NOMEM;

    if (room.ptr == NULL)
        return err;
    err = lk_file_read(p->options.keys_file, room, &file);
    if (err == LK_OK) {
        err = adopt_document(p, file, room.ptr);
        lk_wipe(room.ptr, file.len); /* it may hold symmetric keys */
    }
    free(room.ptr);
    if (err == LK_OK)
        metrics_set(&p->metrics.keys_success_s, (uint64_t)lk_clock_wall_s());
    else
        log_line(LK_LOG_ERROR, "keys_file %s: %s", lk_log_text(p->options.keys_file),
                 lk_err_text(err));
    return err;
}

static void
load_cached_keys(struct plugin *p)
{
    struct lk_buf room = {malloc(JWKS_MAX), JWKS_MAX};
    struct lk_span jwks;
    int64_t saved_s;
    enum lk_err err;

    if (room.ptr == NULL)
        return;
    err = state_load_keys(&p->state, p->options.issuer, room, &saved_s, &jwks);
    if (err == LK_OK && saved_s > p->floor_s)
        p->floor_s = saved_s;
    if (err == LK_OK)
        err = adopt_document(p, jwks, room.ptr);
    if (err == LK_OK && saved_s > 0)
        metrics_set(&p->metrics.keys_success_s, (uint64_t)saved_s);
    if (err == LK_OK)
        log_line(LK_LOG_INFO, "keys file=%s count=%zu from the last run", p->state.keys_path,
                 p->keys.set.count);
    else if (err != LK_ERR_NOT_FOUND)
        log_line(LK_LOG_ERROR, "keys file=%s ignored reason=%s %s", p->state.keys_path,
                 lk_err_name(err),
                 err == LK_ERR_SIGNATURE ? "not written by this verifier" : lk_err_text(err));
    free(room.ptr);
}

static void
load_sessions(struct plugin *p)
{
    int64_t saved_s;
    size_t count;
    enum lk_err err =
        state_load_sessions(&p->state, p->options.issuer, &p->sessions, p->options.session_keep_s,
                            lk_clock_monotonic_ms(), lk_clock_wall_s(), &saved_s, &count);

    if (err == LK_OK) {
        log_line(LK_LOG_INFO, "sessions file=%s count=%zu%s", p->state.sessions_path, count,
                 p->state.has_secret ? "" : " for delivery only");
        if (p->state.has_secret && saved_s > p->floor_s)
            p->floor_s = saved_s;
    } else if (err != LK_ERR_NOT_FOUND) {
        log_line(LK_LOG_ERROR, "sessions file=%s ignored reason=%s %s", p->state.sessions_path,
                 lk_err_name(err),
                 err == LK_ERR_SIGNATURE ? "not written by this verifier" : lk_err_text(err));
    }
    p->walk.saved_changes = p->sessions.changes;
}

/* --- the turn of the loop ------------------------------------------------------------------ */

static void
kick(struct plugin *p, struct session *s, int64_t now_ms)
{
    enum lk_err cause = s->revoked      ? LK_ERR_REVOKED
                        : s->for_denial ? LK_ERR_DENIED
                                        : LK_ERR_EXPIRED;

    log_line(LK_LOG_INFO, "disconnect client=%s user=%s reason=%s", lk_log_text(s->id),
             lk_log_span(session_subject(s)), lk_err_name(cause));
    metrics_disconnect(&p->metrics, cause);
    /* DISCONNECT and the check of the will happen inside the call. */
    p->kicking = s;
    p->kicking_cause = cause;
    (void)mosquitto_kick_client_by_clientid(s->id, !s->revoked);
    p->kicking = NULL;
    if (s->state == SESSION_ONLINE)
        expiry_set(&p->expiry, s, now_ms + KICK_AGAIN_MS);
}

/* Only what is online and still what was scheduled: 2.0 uses freed memory after an offline
 * session was kicked. */
static bool
kick_due(struct plugin *p, int64_t now_ms)
{
    struct session *s;

    for (int kicks = 0; (s = expiry_first(&p->expiry)) != NULL && s->due_ms <= now_ms; kicks++) {
        if (kicks == TURN_KICKS)
            return true;
        expiry_remove(&p->expiry, s);
        if (s->state == SESSION_ONLINE && !s->superseded &&
            sessions_of_pointer(&p->sessions, s->client) == s)
            kick(p, s, now_ms);
    }
    return false;
}

struct recompiling {
    struct plugin *p;
    int left;
};

static bool
recompile_one(void *context, struct session *s)
{
    struct recompiling *r = context;

    if (s->policy_serial == r->p->policy_serial)
        return true;
    if (r->left == 0)
        return false;
    r->left--;
    (void)plugin_refresh_grant(r->p, s); /* without memory now: tried again when it is used */
    return true;
}

static bool
recompile_some(struct plugin *p)
{
    struct recompiling r = {.p = p, .left = TURN_COMPILED};

    if (!p->recompiling)
        return false;
    p->recompiling =
        !sessions_walk(&p->sessions, &p->recompile_cursor, TURN_BUCKETS, recompile_one, &r);
    return p->recompiling;
}

static void
save_some(struct plugin *p, int64_t now_ms)
{
    struct state_chunk *chunk;

    if (!p->state.enabled || !state_walk_is_due(&p->walk, &p->sessions, now_ms))
        return;
    chunk = worker_chunk(&p->worker);
    if (chunk == NULL)
        return;
    state_walk_step(&p->walk, &p->sessions, p->options.issuer, now_ms, lk_clock_wall_s(),
                    TURN_BUCKETS, TURN_SAVED, chunk);
    if (chunk->kind != STATE_NOTHING)
        worker_hand_over(&p->worker);
}

static int64_t
next_turn_ms(const struct plugin *p)
{
    const struct session *next = expiry_first(&p->expiry);
    int64_t presence_ms = presence_due_ms(&p->presence);

    return next != NULL && next->due_ms < presence_ms ? next->due_ms : presence_ms;
}

static int
on_tick(int event, void *data, void *userdata)
{
    struct plugin *p = userdata;
    int64_t now_ms = lk_clock_monotonic_ms();
    bool more;

    (void)event;
    (void)data;
    p->ticked = true;
    atomic_store_explicit(&p->metrics.tick_missing, false, memory_order_relaxed);
    p->reload_open = false;
    wake_done(&p->wake);
    budget_turn(&p->budget, now_ms);
    plugin_take_notes(p);
    more = kick_due(p, now_ms);
    more = revoke_is_busy(p) || more;
    more = recompile_some(p) || more;
    more = presence_turn(&p->presence, &p->sessions, now_ms, lk_clock_wall_s()) || more;
    report_hand_over(&p->report, &p->denials, now_ms);
    (void)sessions_reap(&p->sessions, now_ms, 0, p->options.session_keep_s * 1000, TURN_REAPED);
    save_some(p, now_ms);
    challenges_expire(&p->challenges, now_ms);
    wake_at(&p->wake, next_turn_ms(p));
    if (more)
        wake_ask(&p->wake);
    return MOSQ_ERR_SUCCESS;
}

static int
on_reload(int event, void *data, void *userdata)
{
    struct plugin *p = userdata;
    char error[OPTION_ERROR_MAX];
    const char *restart;

    (void)event;
    (void)data;
    plugin_note_event(p, plugin_now_ms());
    p->reload_open = true;
    p->reload_ms = plugin_now_ms();
    p->reload_serial++;
    if (options_reload(&p->options, &restart, error) != LK_OK)
        log_line(LK_LOG_ERROR, "%s; the options stay as they were", error);
    else if (restart != NULL)
        log_line(LK_LOG_WARN, "option %s was changed and takes effect at the next start", restart);
    p->verifier.leeway_s = p->options.leeway_s;
    atomic_store(&p->worker.refresh_interval_s, p->options.refresh_interval_s);
    revoke_reload(p);
    if (load_policy(p) != LK_OK)
        log_line(LK_LOG_ERROR, "the scope map stays as it was");
    if (p->options.keys_file[0] != '\0' && load_keys_file(p) != LK_OK)
        log_line(LK_LOG_ERROR, "the keys stay as they were");
    return compat_reload_answer(p->is_2_1);
}

/* Registered only to learn that the broker is a 2.1. */
static int
on_connect(int event, void *data, void *userdata)
{
    (void)event;
    (void)data;
    (void)userdata;
    return MOSQ_ERR_SUCCESS;
}

static const struct {
    int event;
    MOSQ_FUNC_generic_callback run;
    bool may_be_missing;
    const char *name;
} hooks[] = {
    {MOSQ_EVT_RELOAD, on_reload, false, "reload"},
    {MOSQ_EVT_BASIC_AUTH, auth_on_password, false, "password login"},
    {MOSQ_EVT_EXT_AUTH_START, auth_on_method, false, "enhanced authentication"},
    {MOSQ_EVT_EXT_AUTH_CONTINUE, auth_on_continue, false, "enhanced authentication, next step"},
    {MOSQ_EVT_ACL_CHECK, access_on_check, false, "topic access"},
    {MOSQ_EVT_MESSAGE, authz_info_on_message, false, "message"},
    {MOSQ_EVT_TICK, on_tick, false, "tick"},
    {MOSQ_EVT_DISCONNECT, auth_on_disconnect, false, "disconnect"},
    {COMPAT_EVT_CLIENT_OFFLINE, auth_on_disconnect, true, "client offline"},
    {COMPAT_EVT_CONNECT, on_connect, true, "connect"},
};
#define HOOK_COUNT (sizeof(hooks) / sizeof(hooks[0]))

/* --- start --------------------------------------------------------------------------------- */

static bool
register_hooks(struct plugin *p)
{
    for (size_t i = 0; i < HOOK_COUNT; i++) {
        int rc = mosquitto_callback_register(p->identifier, hooks[i].event, hooks[i].run, NULL, p);

        if (rc == MOSQ_ERR_SUCCESS) {
            p->registered |= UINT32_C(1) << i;
            p->is_2_1 = p->is_2_1 || hooks[i].event == COMPAT_EVT_CONNECT;
        } else if (rc == MOSQ_ERR_ALREADY_EXISTS) {
            log_line(LK_LOG_ERROR, "the plugin is loaded twice for the same listeners: name it "
                                   "once in mosquitto.conf");
            return false;
        } else if (!hooks[i].may_be_missing) {
            log_line(LK_LOG_ERROR, "the broker does not take the %s callback: error %d",
                     hooks[i].name, rc);
            return false;
        }
    }
    return true;
}

static void
unregister_hooks(struct plugin *p)
{
    for (size_t i = 0; i < HOOK_COUNT; i++)
        if ((p->registered & UINT32_C(1) << i) != 0)
            (void)mosquitto_callback_unregister(p->identifier, hooks[i].event, hooks[i].run, NULL);
    p->registered = 0;
}

/* A state folder that was asked for has to work; the one nobody named may be missing. */
static bool
open_state(struct plugin *p)
{
    uint8_t room[CLIENT_SECRET_MAX];
    struct lk_span secret = {NULL, 0};
    const char *file = p->options.client_secret_file;
    bool ok = false;
    enum lk_err err;

    if (file[0] != '\0') {
        err = lk_file_read_secret(file, LK_BUF_OF(room), &secret);
        if (err != LK_OK || secret.len == 0) {
            log_line(LK_LOG_ERROR, "option client_secret_file %s: %s", lk_log_text(file),
                     err != LK_OK ? lk_err_text(err) : "the file is empty");
            goto out;
        }
    }
    err = state_open(&p->state, p->options.state_dir, secret);
    ok = err == LK_OK || !p->options.state_dir_given;
    if (err != LK_OK)
        log_line(ok ? LK_LOG_WARN : LK_LOG_ERROR, "option state_dir %s: %s%s",
                 lk_log_text(p->options.state_dir),
                 err == LK_ERR_BUSY ? "another plugin or broker uses it" : lk_err_text(err),
                 ok ? "; nothing is kept over a restart" : "");
    else if (!p->state.has_secret)
        log_line(LK_LOG_WARN, "no client_secret_file: keys are not kept over a restart, and kept "
                              "sessions serve deliveries to sleeping devices only");
out:
    lk_wipe(room, sizeof(room));
    return ok;
}

static bool
open_tables(struct plugin *p)
{
    size_t most = (size_t)p->options.max_sessions;
    enum lk_err err = sessions_open(&p->sessions, &p->grants, most);

    if (err == LK_OK)
        err = expiry_open(&p->expiry, most);
    if (err == LK_OK)
        err = cache_open(&p->cache, (size_t)p->options.cache_size);
    if (err != LK_OK)
        log_line(LK_LOG_ERROR, "%s", lk_err_text(err));
    return err == LK_OK;
}

/* An option that was not given is absent, and not an empty text. */
static struct lk_span
option_span(const char *value)
{
    return lk_span_text(value[0] != '\0' ? value : NULL);
}

static void
open_verifier(struct plugin *p)
{
    const struct options *o = &p->options;

    p->issuer =
        (struct lk_issuer){.url = lk_span_text(o->issuer),
                           .own = !o->issuer_is_foreign,
                           .typ = o->issuer_is_foreign ? option_span(o->typ) : LK_SPAN("at+jwt"),
                           .algs = (uint32_t)o->algs,
                           .scope_claim = option_span(o->scope_claim),
                           .scope_prefix = option_span(o->scope_prefix),
                           .subject_claim = option_span(o->subject_claim),
                           .tenant = option_span(o->tenant)};
    p->verifier = (struct lk_verifier){.keys = &p->keys.set,
                                       .issuers = &p->issuer,
                                       .issuer_count = 1,
                                       .audience = lk_span_text(p->options.audience),
                                       .leeway_s = p->options.leeway_s};
    p->floor_s = PLUGIN_BUILD_TIME_S;
}

/* 43 characters of base64url, as every secret of the installation is written. */
static bool
load_rs_key(struct plugin *p)
{
    const char *file = p->options.rs_key_file;
    uint8_t room[CLIENT_SECRET_MAX];
    struct lk_span text, key = {NULL, 0};
    enum lk_err err;

    if (file[0] == '\0')
        return true;
    err = lk_file_read_secret(file, LK_BUF_OF(room), &text);
    if (err == LK_OK && text.len == LK_BASE64URL_LEN(sizeof(p->rs_key)))
        err = lk_base64url_decode(text, LK_BUF_OF(p->rs_key), &key);
    else if (err == LK_OK)
        err = LK_ERR_BASE64;
    p->has_rs_key = err == LK_OK && key.len == sizeof(p->rs_key);
    lk_wipe(room, sizeof(room));
    if (!p->has_rs_key)
        log_line(LK_LOG_ERROR, "option rs_key_file %s: %s", lk_log_text(file),
                 err == LK_ERR_BASE64 ? "expected 32 bytes as 43 characters of base64url"
                                      : lk_err_text(err));
    return p->has_rs_key;
}

static bool
load_keys(struct plugin *p)
{
    if (p->options.keys_file[0] != '\0')
        return load_keys_file(p) == LK_OK;
    if (p->state.enabled && p->state.has_secret)
        load_cached_keys(p);
    return true;
}

/* Only to an issuer that is Latchkey's, and only with a name to say there. */
static bool
start_report(struct plugin *p)
{
    const struct options *o = &p->options;
    struct report *r = &p->report;

    if (o->client_id[0] == '\0' || o->client_secret_file[0] == '\0' || o->issuer_is_foreign)
        return true;
    r->worker = &p->worker;
    r->issuer = o->issuer;
    r->ca_file = o->ca_file[0] != '\0' ? o->ca_file : NULL;
    r->client_id = o->client_id;
    r->client_secret_file = o->client_secret_file;
    p->denials.enabled = report_start(r) == LK_OK;
    if (!p->denials.enabled)
        log_line(LK_LOG_ERROR, "no thread for the last denials: %s", strerror(errno));
    return p->denials.enabled;
}

static bool
start_scrape(struct plugin *p)
{
    enum lk_err err = scrape_start(&p->scrape, &p->metrics, p->options.metrics);

    if (err != LK_OK)
        log_line(LK_LOG_ERROR, "option metrics %s: %s", lk_log_text(p->options.metrics),
                 err == LK_ERR_IO ? strerror(errno) : lk_err_text(err));
    else if (p->scrape.place.is_public)
        log_line(LK_LOG_WARN, "option metrics %s: others than this machine can read the metrics",
                 lk_log_text(p->options.metrics));
    return err == LK_OK;
}

static bool
start_threads(struct plugin *p)
{
    struct worker *w = &p->worker;

    if (!wake_open(&p->wake))
        log_line(LK_LOG_WARN, "no real-time signal to wake the broker with; ordinary ticks serve");
    w->wake = &p->wake;
    w->state = &p->state;
    w->issuer = p->options.issuer;
    w->jwks_uri = p->options.keys_file[0] == '\0' ? p->options.jwks_uri : NULL;
    w->ca_file = p->options.ca_file[0] != '\0' ? p->options.ca_file : NULL;
    atomic_store(&w->refresh_interval_s, p->options.refresh_interval_s);
    /* Without keys to fetch and state to write there is nothing to do for it. */
    if ((w->jwks_uri != NULL || p->state.enabled) && worker_start(w) != LK_OK) {
        log_line(LK_LOG_ERROR, "no background thread: %s", strerror(errno));
        return false;
    }
    return start_report(p) && start_scrape(p);
}

static bool
open_plugin(struct plugin *p, const struct mosquitto_opt *opts, int count)
{
    char error[OPTION_ERROR_MAX];

    if (options_read(&p->options, opts, count, error) != LK_OK) {
        log_line(LK_LOG_ERROR, "%s", error);
        return false;
    }
    if (!register_hooks(p) || !open_tables(p) || load_policy(p) != LK_OK)
        return false;
    open_verifier(p);
    if (!open_state(p) || !load_rs_key(p) || !load_keys(p))
        return false;
    budget_open(&p->budget, plugin_now_ms());
    presence_open(&p->presence, p->options.presence, lk_clock_monotonic_ms());
    if (p->state.enabled)
        load_sessions(p);
    return start_threads(p) && revoke_open(p);
}

/* No loop turns any more, nobody waits: write what is to be kept, at once. */
static void
save_all(struct plugin *p)
{
    struct state_chunk *chunk;
    struct seal seal = {.file = NULL};
    enum lk_err err = LK_OK;

    if (!p->state.enabled || (!p->walk.running && p->walk.saved_changes == p->sessions.changes))
        return;
    chunk = malloc(sizeof(*chunk));
    if (chunk == NULL)
        return;
    p->walk.running = false;
    do {
        state_walk_step(&p->walk, &p->sessions, p->options.issuer, lk_clock_monotonic_ms(),
                        lk_clock_wall_s(), SIZE_MAX, SIZE_MAX, chunk);
        if (chunk->kind != STATE_NOTHING)
            err = state_write(&p->state, &seal, chunk);
    } while (p->walk.running && err == LK_OK);
    if (err != LK_OK)
        log_line(LK_LOG_ERROR, "sessions file=%s reason=%s %s", p->state.sessions_path,
                 lk_err_name(err), strerror(errno));
    free(chunk);
}

static void
close_plugin(struct plugin *p, bool save)
{
    unregister_hooks(p);
    feed_ask_stop(&p->revoke.feed);
    scrape_stop(&p->scrape);
    report_stop(&p->report);
    revoke_close(p);
    worker_stop(&p->worker);
    wake_close(&p->wake);
    if (save)
        save_all(p);
    expiry_close(&p->expiry);
    presence_close(&p->presence, &p->sessions);
    sessions_close(&p->sessions);
    cache_close(&p->cache);
    challenges_close(&p->challenges);
    keys_wipe(&p->keys);
    state_close(&p->state);
    lk_wipe(p, sizeof(*p));
    mosquitto_free(p);
}

/* --- entry points -------------------------------------------------------------------------- */

EXPORT int
mosquitto_plugin_version(int supported_version_count, const int *supported_versions)
{
    for (int i = 0; i < supported_version_count; i++)
        if (supported_versions[i] == MOSQ_PLUGIN_VERSION)
            return MOSQ_PLUGIN_VERSION;
    return -1;
}

EXPORT int
mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                      struct mosquitto_opt *options, int option_count)
{
    struct plugin *p = mosquitto_calloc(1, sizeof(*p));

    *userdata = NULL;
    if (p == NULL)
        return MOSQ_ERR_NOMEM;
    p->identifier = identifier;
    p->state.lock_fd = -1;
    if (!open_plugin(p, options, option_count)) {
        close_plugin(p, false);
        return MOSQ_ERR_INVAL;
    }
    *userdata = p;
    log_line(LK_LOG_INFO, "ready issuer=%s audience=%s rules=%u mosquitto=%s",
             lk_log_text(p->options.issuer), lk_log_text(p->options.audience),
             (unsigned)p->policy.rule_count, p->is_2_1 ? "2.1" : "2.0");
    return MOSQ_ERR_SUCCESS;
}

EXPORT int
mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int option_count)
{
    (void)options;
    (void)option_count;
    if (userdata != NULL)
        close_plugin(userdata, true);
    return MOSQ_ERR_SUCCESS;
}
