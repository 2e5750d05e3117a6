#include "presence.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "compat.h"

#define TOPIC_MAX (sizeof("t//devices//presence") + LK_TENANT_MAX + LK_SUBJECT_MAX)

/* --- topics -------------------------------------------------------------------------------- */

/* @return its length; 0: not a device's session. */
static size_t
topic_of(const struct session *s, char topic[TOPIC_MAX])
{
    struct lk_identity identity;
    int n;

    if (lk_identity_read(session_identity(s), &identity) != LK_OK || identity.type.ptr == NULL ||
        identity.tenant.len > LK_TENANT_MAX || s->subject->len > LK_SUBJECT_MAX)
        return 0;
    if (identity.tenant.ptr != NULL)
        n = snprintf(topic, TOPIC_MAX, "t/%.*s/devices/%s/presence", (int)identity.tenant.len,
                     (const char *)identity.tenant.ptr, s->subject->name);
    else
        n = snprintf(topic, TOPIC_MAX, "devices/%s/presence", s->subject->name);
    return (size_t)n;
}

/* --- the queue ----------------------------------------------------------------------------- */

static void
enqueue(struct presence *p, struct presence_device *device)
{
    if (device->queued)
        return;
    device->queued = true;
    device->next = NULL;
    *(p->last != NULL ? &p->last->next : &p->first) = device;
    p->last = device;
}

static void
dequeue_first(struct presence *p)
{
    struct presence_device *device = p->first;

    p->first = device->next;
    if (p->first == NULL)
        p->last = NULL;
    device->queued = false;
}

static void
forget(struct presence_device *device)
{
    if (device->subject != NULL)
        device->subject->presence = NULL;
    mosquitto_free(device);
}

static struct presence_device *
device_of(const struct session *s)
{
    struct presence_device *device = s->subject->presence;
    char topic[TOPIC_MAX];
    size_t len;

    if (device != NULL)
        return device;
    len = topic_of(s, topic);
    device = len > 0 ? mosquitto_calloc(1, sizeof(*device) + len + 1) : NULL;
    if (device == NULL)
        return NULL; /* out of memory: its presence stays what it was */
    memcpy(device->topic, topic, len);
    device->subject = s->subject;
    s->subject->presence = device;
    return device;
}

void
presence_connected(struct presence *p, const struct session *s)
{
    struct presence_device *device = p->enabled ? device_of(s) : NULL;

    if (device == NULL)
        return;
    device->cause = 0;
    enqueue(p, device);
}

void
presence_gone(struct presence *p, const struct session *s, enum lk_err cause)
{
    struct presence_device *device = s->subject->presence;

    if (device == NULL)
        return;
    device->cause = (uint8_t)cause;
    enqueue(p, device);
}

/* --- publishing ---------------------------------------------------------------------------- */

static bool
publish(const char *topic, bool online, int64_t since_s, enum lk_err cause)
{
    char text[160], *payload;
    int len, rc;

    len =
        snprintf(text, sizeof(text), "{\"online\":%s,\"since\":%" PRId64 "%s%s%s,\"via\":\"mqtt\"}",
                 online ? "true" : "false", since_s > 0 ? since_s : 0,
                 cause != LK_OK ? ",\"reason\":\"" : "", cause != LK_OK ? lk_err_name(cause) : "",
                 cause != LK_OK ? "\"" : "");
    /* The broker takes it over, so it comes from its allocator; the _copy call's does not (2.0). */
    payload = mosquitto_malloc((size_t)len + 1);
    if (payload == NULL)
        return false;
    memcpy(payload, text, (size_t)len + 1);
    rc = mosquitto_broker_publish(NULL, topic, len, payload, 1, true, NULL);
    if (rc != MOSQ_ERR_SUCCESS)
        mosquitto_free(payload);
    return rc == MOSQ_ERR_SUCCESS;
}

/* @return false: not now, without memory. */
static bool
settle(struct presence_device *device, int64_t now_s)
{
    bool online = device->subject != NULL && device->subject->online_count > 0;
    enum presence_shown state = online ? PRESENCE_ONLINE : PRESENCE_OFFLINE;

    if (device->shown != state &&
        !publish(device->topic, online, now_s, online ? LK_OK : (enum lk_err)device->cause))
        return false;
    device->shown = (uint8_t)state;
    return true;
}

/** The walk over what the last run left. */
struct returning {
    struct presence *p;
    int64_t now_ms, now_s;
    int left;
};

static bool
look_at(void *context, struct session *s)
{
    struct returning *r = context;
    char topic[TOPIC_MAX];

    /* Who was here since the start is told about in the queue. */
    if (s->state != SESSION_OFFLINE || s->delivery_only || s->since_ms > r->p->start_ms ||
        s != s->subject->newest || s->subject->presence != NULL || topic_of(s, topic) == 0)
        return true;
    if (r->left == 0)
        return false;
    r->left--;
    return publish(topic, false, r->now_s - (r->now_ms - s->since_ms) / 1000, LK_OK);
}

static bool
look_back(struct presence *p, const struct sessions *t, int64_t now_ms, int64_t now_s)
{
    struct returning r = {.p = p, .now_ms = now_ms, .now_s = now_s, .left = TURN_PRESENCE};

    if (p->returned || now_ms < p->return_ms)
        return false;
    p->returned = sessions_walk(t, &p->cursor, TURN_BUCKETS, look_at, &r);
    return !p->returned;
}

bool
presence_turn(struct presence *p, const struct sessions *t, int64_t now_ms, int64_t now_s)
{
    struct presence_device *device;

    if (!p->enabled)
        return false;
    for (int n = 0; n < TURN_PRESENCE && (device = p->first) != NULL; n++) {
        if (!settle(device, now_s))
            return false;
        dequeue_first(p);
        if (device->shown == PRESENCE_OFFLINE)
            forget(device);
    }
    return look_back(p, t, now_ms, now_s) || p->first != NULL;
}

int64_t
presence_due_ms(const struct presence *p)
{
    return p->enabled && !p->returned ? p->return_ms : INT64_MAX;
}

/* --- begin and end ------------------------------------------------------------------------- */

void
presence_open(struct presence *p, bool enabled, int64_t now_ms)
{
    *p = (struct presence){
        .enabled = enabled, .start_ms = now_ms, .return_ms = now_ms + PRESENCE_RETURN_MS};
}

static bool
drop_one(void *context, struct session *s)
{
    (void)context;
    if (s->subject->presence != NULL)
        forget(s->subject->presence);
    return true;
}

void
presence_close(struct presence *p, const struct sessions *t)
{
    struct session_cursor cursor = {0, 0};
    struct presence_device *device;

    while ((device = p->first) != NULL) {
        dequeue_first(p);
        forget(device);
    }
    if (p->enabled && t->buckets > 0)
        (void)sessions_walk(t, &cursor, SIZE_MAX, drop_one, NULL);
    *p = (struct presence){0};
}
