/*
 * options.h - what the operator may say: `plugin_opt_NAME value` in mosquitto.conf, and the same
 * names in the file that `plugin_opt_config` names, in sections [plugin] and [issuer NAME].
 *
 * An option stands in one of the two places, never in both. A wrong name or value refuses all of
 * them, with a message that names the option. SIGHUP reads the file again; what is marked live in
 * the table of options.c then takes effect, the rest at the next start.
 *
 * Plain data without pointers; may be copied. Not here: whether files exist or can be read.
 */
#ifndef PLUGIN_OPTIONS_H
#define PLUGIN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <latchkey/err.h>

#include "limits.h"

struct mosquitto_opt;

struct mosquitto_opt;

enum option_unknown { UNKNOWN_DENY, UNKNOWN_DEFER };
enum option_binding { BINDING_STRICT, BINDING_OFF };
enum option_on_deny { ON_DENY_IGNORE, ON_DENY_DISCONNECT };
enum option_feed { FEED_OFF, FEED_ON, FEED_AS_IT_MAY /* not in the result */ };

struct options {
    char issuer[OPTION_TEXT_MAX];
    char jwks_uri[OPTION_TEXT_MAX];  /* filled in from the issuer where it is not given */
    char keys_file[OPTION_TEXT_MAX]; /* empty: keys are fetched */
    char ca_file[OPTION_TEXT_MAX];
    char client_id[OPTION_TEXT_MAX];
    char client_secret_file[OPTION_TEXT_MAX];
    char rs_key_file[OPTION_TEXT_MAX]; /* shared with the issuer; keys of `kid` tokens come from it
                                        */
    /* How an issuer that is not Latchkey's says what ours says; empty: as ours does. */
    char typ[OPTION_TEXT_MAX];
    char scope_claim[OPTION_TEXT_MAX];
    char scope_prefix[OPTION_TEXT_MAX];
    char subject_claim[OPTION_TEXT_MAX];
    char tenant[OPTION_TEXT_MAX];
    bool issuer_is_foreign; /* one of these is given */
    int64_t algs;           /* bits, as lk_issuer.algs; 0: what the keys are for */
    char audience[OPTION_TEXT_MAX];
    char scopes[OPTION_TEXT_MAX];
    char state_dir[OPTION_TEXT_MAX];
    char metrics[OPTION_TEXT_MAX]; /* scrape.h */
    bool state_dir_given;

    int64_t refresh_interval_s;
    int64_t leeway_s;
    int64_t session_keep_s;
    int64_t max_connections_per_subject;
    int64_t max_sessions;
    int64_t auth_fail_rate; /* a second and address */
    int64_t cache_size;     /* verified tokens remembered */
    int64_t unknown;        /* enum option_unknown, and so on */
    int64_t client_id_binding;
    int64_t on_deny;
    int64_t disconnect_after_expire; /* bool */
    int64_t presence;                /* bool */
    int64_t require_cnf;             /* bool */
    int64_t feed;                    /* enum option_feed */
    int64_t max_feed_age_s;          /* 0: any age */

    /* What mosquitto.conf said: the broker's own copy does not outlive a reload. */
    char config[OPTION_TEXT_MAX];
    struct {
        char name[OPTION_NAME_MAX];
        char value[OPTION_TEXT_MAX];
    } given[OPTIONS_GIVEN_MAX];
    unsigned given_count;
};

/**
 * Read everything at start.
 * @param error  [out] a sentence for the operator when the answer is not LK_OK.
 * @return LK_OK, LK_ERR_ARG.
 */
LK_MUST_CHECK enum lk_err options_read(struct options *o, const struct mosquitto_opt *opts,
                                       int count, char error[OPTION_ERROR_MAX]);

/**
 * Read the file again. On error `o` is as it was.
 * @param restart  [out] name of an option that was changed and needs a restart, or NULL.
 */
LK_MUST_CHECK enum lk_err options_reload(struct options *o, const char **restart,
                                         char error[OPTION_ERROR_MAX]);

/** `300`, `300s`, `5m`, `2h`, `7d`. */
bool options_parse_duration(const char *text, int64_t *seconds);

#endif
