/*
 * access.h - who may publish, subscribe and receive what.
 */
#ifndef PLUGIN_ACCESS_H
#define PLUGIN_ACCESS_H

/* Callback of the broker; userdata is the struct plugin. */
int access_on_check(int event, void *data, void *userdata);

#endif
