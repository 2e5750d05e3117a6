#include "plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <latchkey/host/clock.h>
#include <latchkey/host/file.h>

#include "log.h"

#define EXPORT __attribute__((visibility("default")))

static const struct {
    int event;
    MOSQ_FUNC_generic_callback run;
    const char *name;
} hooks[] = {
    {MOSQ_EVT_RELOAD, turn_on_reload, "reload"},
    {MOSQ_EVT_BASIC_AUTH, auth_on_password, "password login"},
    {MOSQ_EVT_EXT_AUTH_START, auth_on_method, "enhanced authentication"},
    {MOSQ_EVT_ACL_CHECK, access_on_check, "topic access"},
    {MOSQ_EVT_DISCONNECT, auth_on_disconnect, "disconnect"},
    {MOSQ_EVT_TICK, turn_on_tick, "token expiry"},
};

void
plugin_notice_event(struct plugin *p, int64_t now_ms)
{
    if (p->first_event_ms == 0)
        p->first_event_ms = now_ms;
    if (p->last_turn_ms != 0 || p->turn_missed || now_ms - p->first_event_ms < TICK_EXPECTED_MS)
        return;
    p->turn_missed = true;
    log_line(LK_LOG_ERROR, "the broker gives plugins no tick (Mosquitto 2.0.11 with "
                           "per_listener_settings true): expired clients are denied every topic "
                           "but not disconnected, and keys are not refreshed");
}

/* --- the scope map -----------------------------------------------------------------------------
 */

enum lk_err
plugin_load_policy(struct plugin *p)
{
    struct lk_policy *fresh = calloc(1, sizeof(*fresh));
    uint8_t *room = malloc(LK_POLICY_FILE_MAX + 1);
    struct lk_policy_error wrong = {0};
    const char *path = p->options.scopes;
    struct lk_span file;
    enum lk_err err = LK_ERR_NOMEM;

    if (fresh == NULL || room == NULL)
        goto out;
    err = lk_file_read(path, (struct lk_buf){room, LK_POLICY_FILE_MAX}, &file);
    if (err == LK_OK)
        err = lk_policy_parse(file, fresh, &wrong);
    if (err == LK_OK) {
        p->policy = *fresh;
        p->policy_serial++;
    } else if (wrong.expected != NULL) {
        log_line(LK_LOG_ERROR, "%s:%u:%u: expected %s", path, wrong.line, wrong.column,
                 wrong.expected);
    } else {
        log_line(LK_LOG_ERROR, "scope map %s: %s", path, lk_err_text(err));
    }
out:
    free(room);
    free(fresh);
    return err;
}

void
plugin_refresh_grant(struct plugin *p, struct session *s)
{
    struct lk_identity identity;
    struct lk_span values;
    struct shape *shape;
    enum lk_err err;

    if (s->policy_serial == p->policy_serial)
        return;
    err = lk_identity_read(session_identity(s), &identity);
    if (err == LK_OK)
        err = grants_compile(&p->grants, &p->policy, &identity, &shape, &values);
    if (err == LK_OK)
        err = sessions_set_grant(&p->sessions, s, shape, values, p->policy_serial);
    if (err != LK_OK)
        log_line(LK_LOG_ERROR, "grant of client=%s cannot be compiled reason=%s; the old one stays",
                 lk_log_text(s->id), lk_err_name(err));
}

/* --- life --------------------------------------------------------------------------------------
 */

/* Tokens were not made before this was: a clock that says so has lost its battery. */
static int64_t
build_time_s(void)
{
    return LK_BUILD_TIME;
}

static enum lk_err
read_secret(struct plugin *p, struct lk_buf room, struct lk_span *secret)
{
    const char *path = p->options.client_secret_file;
    enum lk_err err;

    *secret = (struct lk_span){NULL, 0};
    if (path[0] == '\0') {
        log_line(LK_LOG_WARN, "option client_secret_file is not given: state on disk cannot be "
                              "authenticated, so no login is served from keys of an earlier run");
        return LK_OK;
    }
    err = lk_file_read_secret(path, room, secret);
    if (err != LK_OK)
        log_line(LK_LOG_ERROR, "option client_secret_file %s: %s", path, lk_err_text(err));
    return err;
}

static enum lk_err
open_state_dir(struct plugin *p)
{
    enum lk_err err = lk_dir_make(p->options.state_dir);

    if (err != LK_OK)
        log_line(LK_LOG_ERROR, "option state_dir %s: %s", p->options.state_dir, lk_err_text(err));
    return err;
}

static enum lk_err
open_keys(struct plugin *p)
{
    struct keys *k = &p->keys;
    enum lk_err err = LK_OK;

    k->issuer = (struct lk_issuer){
        .url = lk_span_text(p->options.issuer), .own = true, .typ = LK_SPAN("at+jwt")};
    k->verifier = (struct lk_verifier){.keys = &k->set,
                                       .issuers = &k->issuer,
                                       .issuer_count = 1,
                                       .audience = lk_span_text(p->options.audience),
                                       .leeway_s = p->options.leeway_s};
    if (p->options.keys_file[0] != '\0')
        err = keys_load(k, p->options.keys_file);
    if (err != LK_OK)
        log_line(LK_LOG_ERROR, "option keys_file %s: %s", p->options.keys_file, lk_err_text(err));
    return err;
}

static enum lk_err
open_tables(struct plugin *p)
{
    size_t count = (size_t)p->options.max_sessions;
    enum lk_err err = sessions_open(&p->sessions, &p->grants, count);

    if (err == LK_OK)
        err = expiry_open(&p->expiry, count);
    if (err == LK_OK)
        err = cache_open(&p->cache, (size_t)p->options.cache_size);
    if (err != LK_OK)
        log_line(LK_LOG_ERROR, "no room for max_sessions and cache_size: %s", lk_err_text(err));
    return err;
}

static enum lk_err
open_all(struct plugin *p, const struct mosquitto_opt *opts, int count)
{
    char error[OPTION_ERROR_MAX] = "";
    uint8_t room[CLIENT_SECRET_MAX];
    struct lk_span secret;
    enum lk_err err = options_read(&p->options, opts, count, error);

    if (err != LK_OK) {
        log_line(LK_LOG_ERROR, "%s", error);
        return err;
    }
    p->clock_floor_s = build_time_s();
    err = plugin_load_policy(p);
    if (err == LK_OK)
        err = open_keys(p);
    if (err == LK_OK)
        err = open_tables(p);
    if (err == LK_OK)
        err = open_state_dir(p);
    if (err == LK_OK)
        err = read_secret(p, LK_BUF_OF(room), &secret);
    if (err == LK_OK) {
        state_load(p, secret);
        err = worker_open(&p->options, secret, p->options.keys_file[0] == '\0', &p->worker);
        if (err != LK_OK)
            log_line(LK_LOG_ERROR, "the background thread cannot be started: %s", lk_err_text(err));
    }
    lk_wipe(room, sizeof(room));
    return err;
}

static void
plugin_free(struct plugin *p)
{
    worker_close(p->worker);
    sessions_close(&p->sessions);
    expiry_close(&p->expiry);
    cache_close(&p->cache);
    keys_close(&p->keys);
    free(p);
}

static int
register_hooks(struct plugin *p)
{
    p->is_2_1 = mosquitto_callback_register(p->id, COMPAT_EVT_CONNECT, auth_on_connect, NULL, p) ==
                MOSQ_ERR_SUCCESS;
    if (p->is_2_1)
        (void)mosquitto_callback_register(p->id, COMPAT_EVT_CLIENT_OFFLINE, auth_on_disconnect,
                                          NULL, p);
    for (size_t i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++) {
        int rc = mosquitto_callback_register(p->id, hooks[i].event, hooks[i].run, NULL, p);

        if (rc == MOSQ_ERR_SUCCESS)
            continue;
        log_line(LK_LOG_ERROR, "cannot register for %s (%d)%s", hooks[i].name, rc,
                 rc == MOSQ_ERR_ALREADY_EXISTS ? ": the plugin is named twice in mosquitto.conf"
                                               : "");
        return rc;
    }
    return MOSQ_ERR_SUCCESS;
}

EXPORT int mosquitto_plugin_version(int supported_count, const int *supported);
EXPORT int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **userdata,
                                 struct mosquitto_opt *opts, int count);
EXPORT int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *opts, int count);

int
mosquitto_plugin_version(int supported_count, const int *supported)
{
    for (int i = 0; i < supported_count; i++)
        if (supported[i] == 5)
            return 5;
    return -1;
}

int
mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **userdata, struct mosquitto_opt *opts,
                      int count)
{
    struct plugin *p = calloc(1, sizeof(*p));
    int rc;

    if (p == NULL)
        return MOSQ_ERR_NOMEM;
    p->id = id;
    if (open_all(p, opts, count) != LK_OK) {
        plugin_free(p);
        return MOSQ_ERR_INVAL;
    }
    rc = register_hooks(p);
    if (rc != MOSQ_ERR_SUCCESS) {
        plugin_free(p);
        return rc;
    }
    log_line(LK_LOG_INFO, "version " LK_VERSION " issuer=%s audience=%s rules=%u",
             p->options.issuer, p->options.audience, p->policy.rule_count);
    *userdata = p;
    return MOSQ_ERR_SUCCESS;
}

int
mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *opts, int count)
{
    struct plugin *p = userdata;

    (void)opts;
    (void)count;
    if (p == NULL)
        return MOSQ_ERR_SUCCESS;
    state_finish(p);
    plugin_free(p);
    return MOSQ_ERR_SUCCESS;
}
