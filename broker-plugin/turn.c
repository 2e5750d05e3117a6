#include "plugin.h"

#include <latchkey/host/clock.h>

#include "log.h"

/* --- what the worker has to say ----------------------------------------------------------------
 */

static void
take_keys(struct plugin *p, struct note *note)
{
    size_t count = note->key_count;
    enum lk_err err = keys_put(&p->keys, note->keys, count);

    if (err == LK_OK)
        note->key_count = 0; /* moved */
    if (note->server_date_s > p->clock_floor_s)
        p->clock_floor_s = note->server_date_s - (int64_t)p->options.leeway_s;
    if (err == LK_OK)
        log_line(LK_LOG_INFO, "keys loaded issuer=%s count=%zu", p->options.issuer, count);
    else
        log_line(LK_LOG_ERROR, "keys of issuer=%s refused reason=%s %s", p->options.issuer,
                 lk_err_name(err), lk_err_text(err));
}

static void
take_notes(struct plugin *p)
{
    struct note *note = p->worker != NULL ? worker_take(p->worker) : NULL;

    while (note != NULL) {
        struct note *next = note->next;

        if (note->kind == NOTE_KEYS)
            take_keys(p, note);
        else
            log_line(note->level, "%s", note->line);
        note_free(note);
        note = next;
    }
}

/* --- those who have to leave -------------------------------------------------------------------
 */

/*
 * Kick who is due, some a turn. A session in the heap is online, by pointer: DISCONNECT takes it
 * out, a takeover raises DISCONNECT. Kicking an offline session without will corrupts 2.0, so the
 * state is looked at once more. The will goes out under the grant the session had; DISCONNECT
 * comes back synchronously and takes the session out of the heap.
 */
static void
kick_due(struct plugin *p, int64_t now_ms)
{
    struct session *s;

    for (unsigned n = 0; n < TURN_KICKS && (s = expiry_first(&p->expiry)) != NULL; n++) {
        if (s->due_ms > now_ms)
            return;
        expiry_remove(&p->expiry, s);
        if (s->state != SESSION_ONLINE || s->superseded || s->client == NULL)
            continue;
        log_line(LK_LOG_INFO, "disconnected client=%s subject=%s reason=%s", lk_log_text(s->id),
                 s->subject->name, s->for_denial ? "DENIED" : "EXPIRED");
        /* A WebSocket client leaves a little later than it is told: look again. */
        expiry_set(&p->expiry, s, now_ms + KICK_AGAIN_MS);
        (void)mosquitto_kick_client_by_clientid(s->id, true);
    }
}

/* --- a new scope map ---------------------------------------------------------------------------
 */

struct recompiling {
    struct plugin *plugin;
    unsigned left;
    bool paused;
};

static bool
recompile_one(void *context, struct session *s)
{
    struct recompiling *r = context;

    if (s->policy_serial == r->plugin->policy_serial)
        return true;
    if (r->left == 0) {
        r->paused = true;
        return false;
    }
    r->left--;
    plugin_refresh_grant(r->plugin, s);
    return true;
}

static void
recompile(struct plugin *p)
{
    struct recompiling r = {p, TURN_COMPILED, false};

    if (!p->recompiling)
        return;
    sessions_walk(&p->sessions, &p->recompile_at, TURN_BUCKETS, recompile_one, &r);
    if (p->recompile_at == 0 && !r.paused)
        p->recompiling = false;
}

/* --- the broker's callbacks --------------------------------------------------------------------
 */

int
turn_on_tick(int event, void *data, void *userdata)
{
    struct plugin *p = userdata;
    int64_t now_ms = lk_clock_monotonic_ms();

    (void)event;
    (void)data;
    p->in_recheck = false;
    p->last_turn_ms = now_ms;
    take_notes(p);
    kick_due(p, now_ms);
    recompile(p);
    (void)sessions_reap(&p->sessions, now_ms, DYING_MS, p->options.session_keep_s * 1000,
                        TURN_REAPED);
    state_turn(p, now_ms);
    return MOSQ_ERR_SUCCESS;
}

static void
reload_options(struct plugin *p)
{
    char error[OPTION_ERROR_MAX] = "";
    const char *restart = NULL;

    if (options_reload(&p->options, &restart, error) != LK_OK)
        log_line(LK_LOG_ERROR, "reload: %s; the old options stay", error);
    else if (restart != NULL)
        log_line(LK_LOG_WARN, "reload: option %s takes effect at the next start", restart);
    p->keys.verifier.leeway_s = p->options.leeway_s;
}

int
turn_on_reload(int event, void *data, void *userdata)
{
    struct plugin *p = userdata;

    (void)event;
    (void)data;
    p->in_recheck = true;
    p->recheck_ms = lk_clock_monotonic_ms();
    reload_options(p);
    if (plugin_load_policy(p) == LK_OK) {
        p->recompiling = true;
        p->recompile_at = 0;
    }
    if (p->options.keys_file[0] != '\0') {
        enum lk_err err = keys_load(&p->keys, p->options.keys_file);

        if (err != LK_OK)
            log_line(LK_LOG_ERROR, "reload: keys_file %s: %s; the old keys stay",
                     p->options.keys_file, lk_err_text(err));
    }
    log_line(LK_LOG_INFO, "reloaded sessions=%zu signatures=%llu", p->sessions.count,
             (unsigned long long)p->signatures);
    return compat_reload_answer(p->is_2_1);
}
