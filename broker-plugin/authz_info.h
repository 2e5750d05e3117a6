/*
 * authz_info.h - the topic a client publishes its next token to (RFC 9431 section 2.2.2), on any
 * version of MQTT. What is published there never leaves the plugin; DESIGN.md says how.
 */
#ifndef PLUGIN_AUTHZ_INFO_H
#define PLUGIN_AUTHZ_INFO_H

#include <stdbool.h>
#include <stdint.h>

#include <latchkey/err.h>

struct plugin;
struct session;
struct mosquitto_evt_acl_check;

bool authz_info_is_named(const char *topic);

/** The topic, as a name or in a filter, `$share/<group>/` before it or not; and the name under
 * which the emptied messages end. Asked for every message, so most are told by one byte. */
static inline bool
authz_info_is_topic(const char *topic)
{
    return (topic[0] == 'a' || topic[0] == '$') && authz_info_is_named(topic);
}

/**
 * May this publish to it be a renewal? Takes one from what the subject may ask for in a second.
 * @param s  the client's session, or NULL.
 * @return LK_OK; LK_ERR_DENIED for strangers, wills and what is to be retained; LK_ERR_LIMIT.
 */
LK_MUST_CHECK enum lk_err authz_info_may(const struct plugin *p, struct session *s,
                                         const struct mosquitto_evt_acl_check *ev, int64_t now_ms);

/**
 * Renew, if `may` is LK_OK; tell the client on the same topic; wipe the payload.
 * @return for the broker: MOSQ_ERR_SUCCESS only where the client hears it, else ACL_DENIED.
 */
int authz_info_take(struct plugin *p, struct session *s, const struct mosquitto_evt_acl_check *ev,
                    enum lk_err may);

/** Callback of the broker (MESSAGE): what was let through is emptied. */
int authz_info_on_message(int event, void *data, void *userdata);

#endif
