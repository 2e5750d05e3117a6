/*
 * latchkeyd - registry of devices, authorization server, desk.
 */
#include <argp.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <latchkey/host/clock.h>
#include <latchkey/host/log.h>

#include "desk/desk.h"
#include "feed/feed.h"
#include "health.h"
#include "http/json.h"
#include "http/server.h"
#include "init.h"
#include "keys/ring.h"
#include "keys/routes.h"
#include "keys/seal.h"
#include "oauth/guess.h"
#include "oauth/token.h"
#include "registry/registry.h"

#define EXIT_REFUSED 1
#define EXIT_USAGE   2

/* The C library looks for it by name. */
__attribute__((visibility("default"))) const char *argp_program_version =
    "latchkeyd " LATCHKEY_VERSION;

/* --- Arguments -------------------------------------------------------------------------------- */

enum mode { MODE_NONE, MODE_SERVE, MODE_CHECK, MODE_INIT };

struct arguments {
    enum mode mode;
    const char *config;
    struct init_options init;
};

enum option_key { OPT_CONFIG = 'c', OPT_DIR = 'd', OPT_ISSUER = 256, OPT_LISTEN, OPT_MQTT };

static const struct argp_option options[] = {
    {"config", OPT_CONFIG, "FILE", 0, "The configuration", 0},
    {"dir", OPT_DIR, "DIR", 0, "init: the folder to make", 1},
    {"issuer", OPT_ISSUER, "URL", 0, "init: the server's name, https://...", 1},
    {"listen", OPT_LISTEN, "ADDRESS:PORT", 0, "init: where to listen (127.0.0.1:8443)", 1},
    {"mqtt", OPT_MQTT, "HOST:PORT", 0, "init: switch the desk on, with this broker", 1},
    {0}};

static error_t
argument_take(int key, char *value, struct argp_state *state)
{
    struct arguments *a = state->input;

    switch (key) {
    case OPT_CONFIG:
        a->config = value;
        return 0;
    case OPT_DIR:
        a->init.dir = value;
        return 0;
    case OPT_ISSUER:
        a->init.issuer = value;
        return 0;
    case OPT_LISTEN:
        a->init.listen = value;
        return 0;
    case OPT_MQTT:
        a->init.mqtt = value;
        return 0;
    case ARGP_KEY_ARG:
        if (a->mode == MODE_NONE && strcmp(value, "init") == 0)
            a->mode = MODE_INIT;
        else if (a->mode == MODE_NONE && strcmp(value, "check-config") == 0)
            a->mode = MODE_CHECK;
        else
            argp_error(state, "unknown command: %s", value);
        return 0;
    case ARGP_KEY_END:
        if (a->mode == MODE_NONE)
            a->mode = MODE_SERVE;
        if (a->mode == MODE_INIT && (a->init.dir == NULL || a->config != NULL))
            argp_error(state, "init needs --dir DIR and takes no --config");
        if (a->mode != MODE_INIT && a->config == NULL)
            argp_error(state, "--config FILE is needed");
        if (a->mode != MODE_INIT && (a->init.dir != NULL || a->init.issuer != NULL ||
                                     a->init.listen != NULL || a->init.mqtt != NULL))
            argp_error(state, "--dir, --issuer, --listen and --mqtt are for init");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp parser = {
    .options = options,
    .parser = argument_take,
    .args_doc = "--config FILE\ncheck-config --config FILE\n"
                "init --dir DIR [--issuer URL] [--listen ADDRESS:PORT] [--mqtt HOST:PORT]",
    .doc = "Registers devices, gives them tokens, takes their telemetry and sends them commands."
           "\vSIGHUP re-reads types, roles, lifetimes, limits and the TLS files. SIGTERM finishes"
           " what was accepted and ends."};

/* --- check-config ------------------------------------------------------------------------------
 */

static void
note_missing(const char *path)
{
    if (path[0] != '\0' && access(path, R_OK) != 0)
        fprintf(stderr, "note: %s: %s\n", path, strerror(errno));
}

static int
check_run(const char *path)
{
    struct config_error error;
    struct config *config;

    if (config_read(path, &config, &error) != LK_OK) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_REFUSED;
    }
    note_missing(config->tls_cert);
    note_missing(config->tls_key);
    note_missing(config->store_path);
    note_missing(config->master_file);
    note_missing(config->desk.mqtt_ca);
    printf("%s: ok, %zu types, %zu roles\n", path, config->type_count, config->role_count);
    config_drop(config);
    return EXIT_SUCCESS;
}

/* --- Opening and closing -------------------------------------------------------------------------
 */

static enum lk_err
say(const char *what, enum lk_err err)
{
    if (err != LK_OK)
        lk_log(LK_LOG_ERROR, "start what=%s err=%s %s", lk_log_text(what), lk_err_name(err),
               lk_err_text(err));
    return err;
}

static enum lk_err
routes_fill(struct router *router)
{
    static enum lk_err (*const add[])(struct router *) = {
        oauth_add_routes, devices_add_routes, clients_add_routes, desk_add_routes,
        feed_add_routes,  keys_add_routes,    denials_add_routes, health_add_routes};
    enum lk_err err = LK_OK;

    for (size_t i = 0; i < sizeof(add) / sizeof(add[0]) && err == LK_OK; i++)
        err = add[i](router);
    return err;
}

static enum lk_err
keys_load(struct service *service)
{
    struct store_db *db;
    enum lk_err err = store_reader_open(service->store, &db);

    if (err == LK_OK)
        err = ring_open(db, service->seal, &service->ring);
    store_reader_close(db);
    return err;
}

/** The desk's id must belong to the desk and nobody else. */
static enum lk_err
desk_id_reserve(struct store_db *db, void *arg)
{
    const struct config *config = arg;
    struct lk_span id = lk_span_text(config->desk.client_id);
    char kind[16];
    enum lk_err err = store_id_kind(db, id, kind, sizeof(kind));

    if (err == LK_ERR_NOT_FOUND)
        return store_id_reserve(db, id, "desk");
    if (err == LK_OK && strcmp(kind, "desk") != 0)
        return LK_ERR_EXISTS;
    return err;
}

static enum lk_err
service_open(struct service *service, struct router *router)
{
    struct config *config = service->config;
    enum lk_err err = say(config->master_file, seal_open(config->master_file, &service->seal));

    if (err == LK_OK)
        err = say(config->store_path, store_open(config->store_path, false, &service->store));
    if (err == LK_OK)
        err = say("[desk] client_id", store_write_wait(service->store, desk_id_reserve, config));
    if (err == LK_OK)
        err = say("signing keys", keys_load(service));
    if (err == LK_OK)
        err = say("memory", guess_new(&service->guess));
    if (err == LK_OK)
        err = say("memory", feed_new(service, &service->feed));
    if (err == LK_OK)
        err = say("routes", routes_fill(router));
    if (err == LK_OK)
        err = say("server", server_new(service, router, &service->server));
    if (err == LK_OK)
        err = say("desk", desk_start(service, &service->desk));
    if (err == LK_OK)
        err = say("server", server_start(service->server));
    return err;
}

static void
service_close(struct service *service)
{
    desk_stop(service->desk); /* answers the requests that wait for a command */
    feed_close(service->feed);
    if (service->server != NULL)
        server_stop(service->server);
    desk_free(service->desk);
    server_free(service->server);
    store_close(service->store);
    feed_free(service->feed);
    guess_free(service->guess);
    ring_close(service->ring);
    seal_free(service->seal);
    config_drop(service->config);
}

/* --- Running
 * --------------------------------------------------------------------------------------- */

static enum lk_err
clean_run(struct store_db *db, void *arg)
{
    bool *more = arg;

    return store_clean(db, lk_clock_wall_s(), more);
}

/** In batches, each a write like any other, so that requests are not held up. */
static void
clean(struct service *service)
{
    bool more = true;

    for (unsigned rounds = 0; more && rounds < 200; rounds++)
        if (store_write_wait(service->store, clean_run, &more) != LK_OK)
            return;
}

static bool
needs_restart(const struct config *a, const struct config *b)
{
    return strcmp(a->listen_host, b->listen_host) != 0 || a->listen_port != b->listen_port ||
           a->workers != b->workers || strcmp(a->store_path, b->store_path) != 0 ||
           strcmp(a->master_file, b->master_file) != 0 || strcmp(a->issuer, b->issuer) != 0 ||
           a->limits.connections != b->limits.connections ||
           memcmp(&a->desk, &b->desk, sizeof(a->desk)) != 0;
}

/** What only a start reads stays as it is, so that what runs and what is said agree. */
static void
config_keep(const struct config *old, struct config *new)
{
    memcpy(new->issuer, old->issuer, sizeof(new->issuer));
    memcpy(new->listen_host, old->listen_host, sizeof(new->listen_host));
    new->listen_port = old->listen_port;
    new->workers = old->workers;
    memcpy(new->store_path, old->store_path, sizeof(new->store_path));
    memcpy(new->master_file, old->master_file, sizeof(new->master_file));
    new->limits.connections = old->limits.connections;
    new->desk = old->desk;
}

static void
reload(struct service *service)
{
    struct config *old = service->config, *new;
    struct config_error error;

    if (config_read(old->file, &new, &error) != LK_OK) {
        lk_log(LK_LOG_ERROR, "reload err=SYNTAX %s; the old configuration stays", error.text);
        return;
    }
    if (server_load_tls(service->server, new) != LK_OK) {
        lk_log(LK_LOG_ERROR, "reload err=IO the TLS files are not good; all stays as it was");
        config_drop(new);
        return;
    }
    if (needs_restart(old, new)) {
        lk_log(LK_LOG_WARN, "reload some changes of [server], [store], [keys], [desk] or [limits]"
                            " connections wait for a restart");
        config_keep(old, new);
    }
    lk_log_init("latchkeyd", (enum lk_log_level) new->log_level, NULL);
    service_config_put(service, new);
    lk_log(LK_LOG_INFO, "reload file=%s", lk_log_text(new->file));
}

/* --- What comes due by itself ------------------------------------------------------------------
 */

static enum lk_err
overlaps_run(struct store_db *db, void *arg)
{
    const int64_t *now_s = arg;

    return store_overlaps_end(db, *now_s);
}

/** Old secrets whose time is over, and keys that have been replaced. Looks first, and writes only
 * if there is something. */
static void
sweep(struct service *service, struct store_db *db)
{
    int64_t now_s = lk_clock_wall_s();

    if (store_overlaps_wait(db, now_s) &&
        store_write_wait(service->store, overlaps_run, &now_s) != LK_OK)
        return; /* the log has it; the next second tries again */
    keys_sweep(service, db, now_s);
}

static void
signals_of(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
}

static void
wait_for_end(struct service *service, const sigset_t *signals)
{
    static const struct timespec second = {.tv_sec = 1};
    int64_t clean_at_ms = lk_clock_monotonic_ms();
    struct store_db *db;

    if (say("store", store_reader_open(service->store, &db)) != LK_OK)
        return;
    for (;;) {
        int number = sigtimedwait(signals, NULL, &second);

        if (number == SIGTERM || number == SIGINT)
            break;
        if (number == SIGHUP)
            reload(service);
        sweep(service, db);
        /* After a failed commit every second: that is how it is noticed that the disk has room. */
        if (lk_clock_monotonic_ms() >= clean_at_ms || !store_is_healthy(service->store)) {
            clean(service);
            clean_at_ms = lk_clock_monotonic_ms() + STORE_CLEAN_PERIOD_S * 1000;
        }
    }
    store_reader_close(db);
}

static int
serve_run(const char *path)
{
    struct service service = {.config_lock = PTHREAD_MUTEX_INITIALIZER,
                              .ring_lock = PTHREAD_MUTEX_INITIALIZER,
                              .audit_lock = PTHREAD_MUTEX_INITIALIZER};
    struct router *router = router_new();
    struct config_error error;
    sigset_t signals;
    int status = EXIT_REFUSED;

    if (router == NULL || config_read(path, &service.config, &error) != LK_OK) {
        fprintf(stderr, "%s\n", router == NULL ? "out of memory" : error.text);
        router_free(router);
        return EXIT_REFUSED;
    }
    lk_log_init("latchkeyd", (enum lk_log_level)service.config->log_level, NULL);
    json_setup();
    signal(SIGPIPE, SIG_IGN); /* else one reset connection ends the process */
    signals_of(&signals);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before there are threads: they inherit it */
    if (service_open(&service, router) == LK_OK) {
        lk_log(LK_LOG_INFO, "start listen=%s:%u issuer=%s workers=%u version=" LATCHKEY_VERSION,
               service.config->listen_host, service.config->listen_port, service.config->issuer,
               service.config->workers);
        wait_for_end(&service, &signals);
        lk_log(LK_LOG_INFO, "stop");
        status = EXIT_SUCCESS;
    }
    service_close(&service);
    router_free(router);
    return status;
}

int
main(int argc, char **argv)
{
    struct arguments arguments = {.mode = MODE_NONE};

    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&parser, argc, argv, 0, NULL, &arguments);
    switch (arguments.mode) {
    case MODE_INIT:
        return init_run(&arguments.init) == LK_OK ? EXIT_SUCCESS : EXIT_REFUSED;
    case MODE_CHECK:
        return check_run(arguments.config);
    case MODE_SERVE:
        return serve_run(arguments.config);
    case MODE_NONE:
        break;
    }
    return EXIT_USAGE;
}
