/*
 * compat.h - the only file that knows Mosquitto 2.0 from 2.1, and the broker's oddities by number.
 *
 * Built against the headers of 2.0.11; one binary runs in 2.0.11, 2.0.21 and 2.1. What the headers
 * of 2.0 do not name stands here as a number. A broker without an event answers
 * MOSQ_ERR_NOT_SUPPORTED to its registration, which is how the versions are told apart.
 */
#ifndef PLUGIN_COMPAT_H
#define PLUGIN_COMPAT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* mosquitto_plugin.h of 2.0.11 does not include these by itself. */
#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

#define COMPAT_EVT_CONNECT        11 /* 2.1: after CONNACK */
#define COMPAT_EVT_CLIENT_OFFLINE 28 /* 2.1: instead of DISCONNECT where a session stays behind */

/* RELOAD: on 2.0 anything but DEFER keeps the next plugin from hearing of it; on 2.1 anything but
 * SUCCESS stops the broker. */
static inline int
compat_reload_answer(bool is_2_1)
{
    return is_2_1 ? MOSQ_ERR_SUCCESS : MOSQ_ERR_PLUGIN_DEFER;
}

/* Contexts that never were a connection of this process: sessions restored from disk, and the
 * broker's stand-in for the publisher of a retained message. Every real CONNECT has both. */
static inline bool
compat_is_stand_in(const struct mosquitto *client)
{
    return mosquitto_client_protocol_version(client) == 0 &&
           mosquitto_client_address(client) == NULL;
}

/* A WebSocket that is open. Offline sessions report plain MQTT (2.0). */
static inline bool
compat_is_websocket(const struct mosquitto *client)
{
    return mosquitto_client_protocol(client) == mp_websockets;
}

/* A client id the broker made up for a client that gave none ("auto-" and a UUID, or what the
 * operator set as auto_id_prefix, which a plugin cannot see). */
static inline bool
compat_is_assigned_id(const char *id)
{
    static const char prefix[] = "auto-";

    return id != NULL && strncmp(id, prefix, sizeof(prefix) - 1) == 0 &&
           strlen(id) == sizeof(prefix) - 1 + 36;
}

#endif
