#include "outbox.h"

#include <string.h>

/* The head of an entry: length of the packet (4 bytes), packet id (2), flags (1). */
enum { HEAD_LEN = 7 };

#define FLAG_SENT   0x01 /* on this connection */
#define FLAG_BEFORE 0x02 /* on this one or an earlier one */
#define PUBLISH_DUP 0x08 /* in the packet's first byte */

static size_t
entry_len(const uint8_t *head)
{
    return (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
}

static void
head_write(uint8_t *head, size_t len, uint16_t packet_id)
{
    head[0] = (uint8_t)(len >> 24);
    head[1] = (uint8_t)(len >> 16);
    head[2] = (uint8_t)(len >> 8);
    head[3] = (uint8_t)len;
    head[4] = (uint8_t)(packet_id >> 8);
    head[5] = (uint8_t)packet_id;
    head[6] = 0;
}

bool
outbox_next(const struct lk_outbox *box, size_t *at, struct outbox_entry *entry)
{
    const uint8_t *head;

    if (*at >= box->len)
        return false;
    head = box->room.ptr + *at;
    entry->at = *at;
    entry->packet_id = (uint16_t)(head[4] << 8 | head[5]);
    entry->sent = (head[6] & FLAG_SENT) != 0;
    entry->packet = lk_span_of(head + HEAD_LEN, entry_len(head));
    *at += HEAD_LEN + entry->packet.len;
    return true;
}

static bool
is_in_use(const struct lk_outbox *box, uint16_t packet_id)
{
    struct outbox_entry entry;
    size_t at = 0;

    while (outbox_next(box, &at, &entry)) {
        if (entry.packet_id == packet_id)
            return true;
    }
    return false;
}

static uint16_t
free_id(struct lk_outbox *box)
{
    do {
        box->last_id = box->last_id >= OUTBOX_ID_MAX ? 1 : (uint16_t)(box->last_id + 1);
    } while (is_in_use(box, box->last_id));
    return box->last_id;
}

static enum lk_err
no_room(const struct lk_outbox *box)
{
    return box->len > 0 ? LK_ERR_BUSY : LK_ERR_LIMIT;
}

enum lk_err
outbox_put(struct lk_outbox *box, uint8_t version, struct lk_mqtt_publish *p)
{
    struct lk_buf free;
    struct lk_span packet;
    enum lk_err err;

    p->packet_id = 0;
    if (box->room.cap - box->len <= HEAD_LEN)
        return no_room(box);
    p->packet_id = free_id(box);
    free.ptr = box->room.ptr + box->len + HEAD_LEN;
    free.cap = box->room.cap - box->len - HEAD_LEN;
    err = lk_mqtt_write_publish(version, p, free, &packet);
    if (err != LK_OK)
        return err == LK_ERR_NO_SPACE ? no_room(box) : err;
    head_write(free.ptr - HEAD_LEN, packet.len, p->packet_id);
    box->len += HEAD_LEN + packet.len;
    return LK_OK;
}

bool
outbox_take(struct lk_outbox *box, uint16_t packet_id)
{
    struct outbox_entry entry;
    size_t at = 0;

    while (outbox_next(box, &at, &entry)) {
        if (entry.packet_id != packet_id || !entry.sent)
            continue;
        memmove(box->room.ptr + entry.at, box->room.ptr + at, box->len - at);
        box->len -= at - entry.at;
        return true;
    }
    return false;
}

void
outbox_mark_sent(struct lk_outbox *box, const struct outbox_entry *entry)
{
    box->room.ptr[entry->at + 6] |= FLAG_SENT | FLAG_BEFORE;
}

void
outbox_rewind(struct lk_outbox *box, bool session_present)
{
    struct outbox_entry entry;
    size_t at = 0;

    while (outbox_next(box, &at, &entry)) {
        uint8_t *head = box->room.ptr + entry.at;

        head[HEAD_LEN] &= (uint8_t)~PUBLISH_DUP;
        /* MQTT 5.0 section 3.3.1.1: DUP only if the broker may have seen it in this session. */
        if (session_present && (head[6] & FLAG_BEFORE) != 0)
            head[HEAD_LEN] |= PUBLISH_DUP;
        head[6] = session_present ? (uint8_t)(head[6] & FLAG_BEFORE) : 0;
    }
}

size_t
outbox_count(const struct lk_outbox *box)
{
    struct outbox_entry entry;
    size_t at = 0, count = 0;

    while (outbox_next(box, &at, &entry))
        count++;
    return count;
}

size_t
outbox_count_sent(const struct lk_outbox *box)
{
    struct outbox_entry entry;
    size_t at = 0, count = 0;

    while (outbox_next(box, &at, &entry))
        count += entry.sent ? 1 : 0;
    return count;
}
