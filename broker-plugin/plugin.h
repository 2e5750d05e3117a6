/*
 * plugin.h - all state of one loaded plugin. It hangs on the broker's userdata, never on a global:
 * with per_listener_settings one library serves two listeners.
 */
#ifndef PLUGIN_PLUGIN_H
#define PLUGIN_PLUGIN_H

#include <time.h>

#include <latchkey/token.h>

#include "ace.h"
#include "budget.h"
#include "cache.h"
#include "compat.h"
#include "denials.h"
#include "expiry.h"
#include "failures.h"
#include "keys.h"
#include "metrics.h"
#include "options.h"
#include "presence.h"
#include "report.h"
#include "revoke.h"
#include "scrape.h"
#include "sessions.h"
#include "state.h"
#include "wake.h"
#include "worker.h"

struct plugin {
    mosquitto_plugin_id_t *identifier;
    bool is_2_1;
    uint32_t registered; /* bit n: hook n of plugin.c */

    struct options options;
    struct lk_policy policy;
    uint32_t policy_serial; /* from 1; a new scope map has the next */
    bool recompiling;       /* not every session has its new grant yet */
    struct session_cursor recompile_cursor;

    struct keys keys;
    struct lk_issuer issuer;
    struct lk_verifier verifier;
    struct cache cache;
    struct failures failures;
    struct challenges challenges;
    uint8_t rs_key[LK_CNF_SECRET_LEN]; /* of option rs_key_file */
    bool has_rs_key;
    struct budget budget;
    int64_t floor_s;        /* a wall clock before this is wrong */
    int64_t server_floor_s; /* the same by the server's Date; wins where it is known */

    struct grants grants;
    struct sessions sessions;
    struct expiry expiry;
    struct session *kicking; /* mosquitto_kick_client_by_clientid is at work on it */
    enum lk_err kicking_cause;

    bool reload_open; /* SIGHUP's second round of logins may be under way */
    int64_t reload_ms;
    uint32_t reload_serial;

    int64_t first_event_ms; /* 0: none yet */
    bool ticked, complained;
    int64_t unknown_logged_ms;
    uint32_t unknown_quietly;

    struct metrics metrics;
    struct scrape scrape;
    struct denials denials;
    struct report report;
    struct presence presence;

    struct wake wake;
    struct worker worker;
    struct revoke revoke;
    struct state state;
    struct state_walk walk;

    uint8_t token_room[LK_TOKEN_SCRATCH_MAX];
    uint8_t claim_room[LK_IDENTITY_ROOM];
    uint8_t identity_room[STATE_RECORD_MAX];
};

/** Monotonic, to a few milliseconds, and cheap: for every message. The library's own clock may be
 * ahead of it by as much, never behind. */
static inline int64_t
plugin_now_ms(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/** Something happened: if no tick has come long after the first time, say so once. */
void plugin_note_event(struct plugin *p, int64_t now_ms);

/** Take what the background threads sent: lines for the log, keys, revocations. */
void plugin_take_notes(struct plugin *p);

/** Bring a session's grant up to the present scope map. @return false: it has none, deny. */
bool plugin_refresh_grant(struct plugin *p, struct session *s);

#endif
