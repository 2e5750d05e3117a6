/*
 * outbox.h - QoS 1 messages until the broker has acknowledged them.
 *
 * Each entry is a small head and the PUBLISH packet as it goes out. Order is kept: MQTT 5.0 section
 * 4.6 wants messages sent again in the order they were sent first.
 */
#ifndef LATCHKEY_DEVICE_OUTBOX_H
#define LATCHKEY_DEVICE_OUTBOX_H

#include <latchkey/device.h>

#define OUTBOX_ID_MAX 0xefff /* packet ids above belong to subscriptions */

struct outbox_entry {
    size_t at; /* of the entry in the room */
    uint16_t packet_id;
    bool sent; /* on this connection */
    struct lk_span packet;
};

/** Add a message; p->packet_id is filled. LK_ERR_BUSY: no room now; LK_ERR_LIMIT: never; else as
 * lk_mqtt_write_publish(). */
LK_MUST_CHECK enum lk_err outbox_put(struct lk_outbox *box, uint8_t version,
                                     struct lk_mqtt_publish *p);

/** Take out the message with this id, if it was sent. @return false if there is none. */
bool outbox_take(struct lk_outbox *box, uint16_t packet_id);

/** Walk the entries: start with *at = 0. */
bool outbox_next(const struct lk_outbox *box, size_t *at, struct outbox_entry *entry);

void outbox_mark_sent(struct lk_outbox *box, const struct outbox_entry *entry);

/** After a reconnect everything is to be sent; what was sent before is marked DUP, or not if the
 * broker has forgotten the session. */
void outbox_rewind(struct lk_outbox *box, bool session_present);

size_t outbox_count(const struct lk_outbox *box);
size_t outbox_count_sent(const struct lk_outbox *box);

#endif
