/*
 * loop.h - thousands of MQTT connections on one thread: epoll, and the codec of the device SDK.
 *
 * Plain TCP. A link is opened, says what happened to it through the loop's callback, and sends what
 * it is given; everything is written at once where the socket takes it.
 */
#ifndef LATCHKEY_LOAD_LOOP_H
#define LATCHKEY_LOAD_LOOP_H

#include <netinet/in.h>

#include <latchkey/device/mqtt.h>

#include "limits.h"

enum link_event {
    LINK_CONNECTED, /* CONNACK 0 */
    LINK_PACKET,
    LINK_CLOSED /* by the broker, refused, or an error; the link may be opened again */
};

struct link {
    int fd; /* -1: closed */
    uint32_t index;
    bool is_open;    /* CONNACK 0 has come; stays when the link is closed, for LINK_CLOSED */
    bool is_leaving; /* DISCONNECT was sent: the broker closes */
    uint8_t refusal; /* reason code of a CONNACK that was not 0 */
    uint8_t *in, *out;
    size_t in_len, out_len;
};

struct loop {
    int epoll;
    struct sockaddr_in to;
    uint8_t version;
    void (*on_event)(struct loop *loop, struct link *link, enum link_event event,
                     const struct lk_mqtt_packet *packet);
    void *user;
};

/** @return LK_OK; LK_ERR_ARG for an address that is none; LK_ERR_IO. */
LK_MUST_CHECK enum lk_err loop_open(struct loop *loop, const char *host, unsigned port);
void loop_close(struct loop *loop);

/** Connect and send CONNECT. The room of a link is allocated once. LK_ERR_IO, LK_ERR_NOMEM. */
LK_MUST_CHECK enum lk_err link_open(struct loop *loop, struct link *link,
                                    const struct lk_mqtt_connect *connect);

/** Send, or keep for when the socket takes it. @return false if there is no room now. */
bool link_send(struct loop *loop, struct link *link, struct lk_span bytes);

/** Room for so many bytes? */
bool link_has_room(const struct link *link, size_t len);

/** Say goodbye; the broker closes, and LINK_CLOSED comes. */
void link_leave(struct loop *loop, struct link *link);

/** Close without a word and without an event. */
void link_drop(struct loop *loop, struct link *link);
void link_free(struct link *link);

/** Wait for events and deliver them. @return how many there were. */
int loop_turn(struct loop *loop, int timeout_ms);

#endif
