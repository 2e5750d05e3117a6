/*
 * provisioning/config.h - latchkeyd.conf, read once and again on SIGHUP.
 *
 * A config is never changed after it was read: whoever works with one holds a reference
 * (service_config_hold) until done. Paths in the file are relative to the file's own folder.
 */
#ifndef PROVISIONING_CONFIG_H
#define PROVISIONING_CONFIG_H

#include <stdatomic.h>

#include <latchkey/bytes.h>
#include <latchkey/err.h>
#include <latchkey/limits.h>

#include "limits.h"

enum config_audience {
    CONFIG_AUD_MQTT = 1,
    CONFIG_AUD_COAP = 2,
    CONFIG_AUD_API = 4 /* latchkey-api */
};

/* A device type or a role: what its tokens may do, where, and for how long. */
struct config_kind {
    char name[TYPE_MAX_LEN + 1];
    char scopes[LK_SCOPE_MAX + 1]; /* space-separated */
    unsigned audience;             /* one enum config_audience: the default */
    unsigned audiences;            /* those a request may ask for, or-ed */
    int64_t access_lifetime_s;
    int64_t access_lifetime_max_s; /* roles: what a single client may be given */
    unsigned line;                 /* of its section in the file; 0: built in */
};

struct config_limits {
    unsigned connections;     /* open connections, all workers together */
    unsigned guesses;         /* failures per client and address before the back-off */
    unsigned pending;         /* unfinished commands per device */
    int64_t command_expiry_s; /* of a command that names none */
};

struct config_desk {
    bool enabled;
    char mqtt_host[CONFIG_HOST_MAX];
    unsigned mqtt_port;
    char mqtt_ca[CONFIG_PATH_MAX]; /* PEM; empty: plain TCP, which is for loopback only */
    char client_id[LK_SUBJECT_MAX + 1];
};

struct config {
    atomic_uint holders;
    char file[CONFIG_PATH_MAX];

    /* [server] - read at start only, except the TLS files */
    char listen_host[CONFIG_HOST_MAX];
    unsigned listen_port;
    char issuer[CONFIG_URL_MAX];
    char tls_cert[CONFIG_PATH_MAX];
    char tls_key[CONFIG_PATH_MAX];
    unsigned workers;
    int log_level; /* enum lk_log_level */

    char store_path[CONFIG_PATH_MAX];  /* [store] path */
    char master_file[CONFIG_PATH_MAX]; /* [keys] master */
    int64_t key_publish_s;             /* [keys] publish_before */

    /* [tokens] */
    int64_t access_lifetime_s;
    int64_t refresh_lifetime_s;
    int64_t refresh_grace_s;

    struct config_kind types[CONFIG_TYPES_MAX];
    size_t type_count;
    struct config_kind roles[CONFIG_ROLES_MAX];
    size_t role_count;

    struct config_desk desk;
    struct config_limits limits;
};

/** Why a file was refused, for people: "FILE:LINE: what was expected". */
struct config_error {
    char text[CONFIG_PATH_MAX + 256];
};

/**
 * Read a file. @param out [out] a new config with one holder, or NULL.
 * @return LK_OK; LK_ERR_NOT_FOUND, LK_ERR_SYNTAX, LK_ERR_NOMEM with `error`.
 */
LK_MUST_CHECK enum lk_err config_read(const char *path, struct config **out,
                                      struct config_error *error);

void config_hold(struct config *config);
void config_drop(struct config *config); /* the last holder frees; NULL is fine */

/** @return NULL for a type or role that is not configured. */
const struct config_kind *config_type(const struct config *config, struct lk_span name);
const struct config_kind *config_role(const struct config *config, struct lk_span name);

/** "mqtt", "coap", "latchkey-api"; @return 0 for another text, "" for another number. */
unsigned config_audience_of(struct lk_span name);
const char *config_audience_name(unsigned audience);

#endif
