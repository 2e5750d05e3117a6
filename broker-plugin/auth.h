/*
 * auth.h - who may come in: password logins, enhanced authentication, renewal, SIGHUP's re-check.
 */
#ifndef PLUGIN_AUTH_H
#define PLUGIN_AUTH_H

/* Callbacks of the broker; userdata is the struct plugin. */
int auth_on_password(int event, void *data, void *userdata);
int auth_on_method(int event, void *data, void *userdata);
int auth_on_continue(int event, void *data, void *userdata);
int auth_on_disconnect(int event, void *data, void *userdata);

#endif
