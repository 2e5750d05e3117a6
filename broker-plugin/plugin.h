/*
 * plugin.h - one instance of the plugin: everything behind the broker's userdata, no globals.
 *
 * Files by noun: auth.c logins and renewals, access.c topics, turn.c what happens once a loop turn,
 * keys.c the issuer's keys, state.c sessions that survive a restart, worker.c the one background
 * thread. Everything here belongs to the broker's thread, except what worker.h says.
 */
#ifndef PLUGIN_PLUGIN_H
#define PLUGIN_PLUGIN_H

#include <latchkey/token.h>

#include "cache.h"
#include "compat.h"
#include "expiry.h"
#include "failures.h"
#include "grants.h"
#include "keys.h"
#include "options.h"
#include "sessions.h"
#include "state.h"
#include "worker.h"

struct plugin {
    mosquitto_plugin_id_t *id;
    bool is_2_1;
    struct options options;

    struct lk_policy policy;
    uint32_t policy_serial; /* from 1; a session with another one has to be compiled again */
    bool recompiling;
    size_t recompile_at;

    struct keys keys;
    struct cache cache;
    struct grants grants;
    struct sessions sessions;
    struct expiry expiry;
    struct failures failures;
    struct state state;
    struct worker *worker;

    int64_t clock_floor_s; /* the wall clock has been here already: earlier is wrong */
    bool in_recheck;       /* between RELOAD and the next turn */
    int64_t recheck_ms;    /* when RELOAD came */
    int64_t first_event_ms, last_turn_ms;
    bool turn_missed; /* said so in the log */
    int64_t unknown_log_ms;
    uint32_t unknown_quietly;
    uint64_t
        signatures; /* verified since the start: tests and operators see that SIGHUP adds none */

    uint8_t scratch[LK_TOKEN_SCRATCH_MAX];
    uint8_t identity_room[LK_VALUES_MAX + LK_SCOPE_MAX];
    uint8_t named_room[LK_TOKEN_MAX];
    struct lk_token token; /* too large for the stack of a callback */
    struct lk_identity identity;
};

/** Every callback begins with this: keeps the time of the first event and notices missing turns. */
void plugin_notice_event(struct plugin *p, int64_t now_ms);

/** Read the scope map; on error the old one stays and the log says why. */
LK_MUST_CHECK enum lk_err plugin_load_policy(struct plugin *p);

/** Compile a session's grant from its identity, if the scope map has changed since. */
void plugin_refresh_grant(struct plugin *p, struct session *s);

/* The broker's callbacks: (event, struct mosquitto_evt_..., struct plugin). */
int auth_on_password(int event, void *data, void *userdata);
int auth_on_method(int event, void *data, void *userdata);
int auth_on_connect(int event, void *data, void *userdata);
int auth_on_disconnect(int event, void *data, void *userdata);
int access_on_check(int event, void *data, void *userdata);
int turn_on_tick(int event, void *data, void *userdata);
int turn_on_reload(int event, void *data, void *userdata);

#endif
