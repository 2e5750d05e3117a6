/*
 * auth.h - who may come in: password logins, enhanced authentication, renewal, SIGHUP's re-check.
 */
#ifndef PLUGIN_AUTH_H
#define PLUGIN_AUTH_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>

/* Callbacks of the broker; userdata is the struct plugin. */
int auth_on_password(int event, void *data, void *userdata);
int auth_on_method(int event, void *data, void *userdata);
int auth_on_continue(int event, void *data, void *userdata);
int auth_on_disconnect(int event, void *data, void *userdata);

struct plugin;
struct session;

/** Renew a session by a token that its client published: JWT text or raw CWT, bound as the one
 *  before. Logs. On error the session is as it was. */
LK_MUST_CHECK enum lk_err auth_renew_by_topic(struct plugin *p, struct session *s,
                                              struct lk_span text);

#endif
