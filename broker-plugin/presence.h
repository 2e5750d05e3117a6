/*
 * presence.h - who is connected, told to everybody who may read it: retained messages of QoS 1 on
 * devices/{device}/presence, under t/{tenant}/ for a tenant (contracts sections 4 and 10).
 *
 * Logins and disconnects only queue a device; the tick looks how things stand by then and publishes
 * what is new. So a take-over, and a connection that comes and goes within one turn, say no more
 * than they have to. Only devices: clients whose token has a type.
 *
 * After a restart the sessions of the last run are looked at once, when there was time to return:
 * who did not is published as offline, since he was last seen.
 *
 * For the broker's thread only.
 */
#ifndef PLUGIN_PRESENCE_H
#define PLUGIN_PRESENCE_H

#include "sessions.h"

enum presence_shown { PRESENCE_UNKNOWN, PRESENCE_OFFLINE, PRESENCE_ONLINE };

/** One device that is connected, or was and has not been published as offline yet. */
struct presence_device {
    struct presence_device *next; /* in the queue */
    struct subject *subject;      /* NULL: forgotten, so not connected */
    uint8_t shown;                /* enum presence_shown */
    uint8_t cause;                /* enum lk_err: why we ended its last connection; 0: we did not */
    bool queued;
    char topic[]; /* terminated */
};

struct presence {
    bool enabled;
    struct presence_device *first, *last; /* the queue; each device stands in it once */
    int64_t return_ms;                    /* until then the last run's sessions may come back */
    bool returned;                        /* they have been looked at, all */
    int64_t start_ms;
    struct session_cursor cursor;
};

void presence_open(struct presence *p, bool enabled, int64_t now_ms);
/** Call it before sessions_close. */
void presence_close(struct presence *p, const struct sessions *t);

/** A login was accepted. */
void presence_connected(struct presence *p, const struct session *s);

/** A connection is gone. @param cause  why we ended it; LK_OK: we did not. */
void presence_gone(struct presence *p, const struct session *s, enum lk_err cause);

/** Once a turn. @return true: there is more to do right away. */
bool presence_turn(struct presence *p, const struct sessions *t, int64_t now_ms, int64_t now_s);

/** When a turn is needed even if nothing happens; INT64_MAX: not planned. */
int64_t presence_due_ms(const struct presence *p);

/** sessions.c forgets a subject. */
static inline void
presence_orphan(struct presence_device *device)
{
    if (device != NULL)
        device->subject = NULL;
}

#endif
