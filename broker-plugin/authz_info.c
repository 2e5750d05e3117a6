#include "authz_info.h"

#include <stdio.h>
#include <string.h>

#include <latchkey/host/clock.h>
#include <latchkey/topic.h>

#include "auth.h"
#include "log.h"
#include "plugin.h"

/* Both of one length: the broker's text is changed where it stands. Nobody gets what begins with $
 * by a wildcard, bridges included. */
static const char topic_name[] = "authz-info";
static const char emptied_name[] = "$authzinfo";
#define ANSWER_MAX 96 /* bytes */

_Static_assert(sizeof(topic_name) == sizeof(emptied_name), "one is written over the other");

bool
authz_info_is_named(const char *topic)
{
    struct lk_span group, inner;

    (void)lk_filter_split_share(lk_span_text(topic), &group, &inner);
    return lk_span_is(inner, topic_name) || lk_span_is(inner, emptied_name);
}

/* What is longer was no token, and goes nowhere. */
static void
wipe_payload(const struct mosquitto_evt_acl_check *ev)
{
    void *payload;

    /* Constant by its type only: it is the broker's buffer for this one message. */
    memcpy(&payload, &ev->payload, sizeof(payload));
    if (payload != NULL && ev->payloadlen <= LK_TOKEN_MAX)
        lk_wipe(payload, ev->payloadlen);
}

/* To this client only, whether it subscribes to the topic or not (nobody can). */
static void
answer(const struct session *s, enum lk_err err)
{
    /* From the broker's allocator: it counts what it frees. */
    char *text = mosquitto_malloc(ANSWER_MAX);
    int len;

    if (text == NULL)
        return; /* the client hears nothing, and asks again */
    if (err == LK_OK)
        len = snprintf(text, ANSWER_MAX, "{\"ok\":true,\"expires_in\":%lld}",
                       (long long)(s->expires_s - lk_clock_wall_s()));
    else
        len = snprintf(text, ANSWER_MAX, "{\"ok\":false,\"reason\":\"%s\"}", lk_err_name(err));
    if (mosquitto_broker_publish(s->id, topic_name, len, text, 0, false, NULL) != MOSQ_ERR_SUCCESS)
        mosquitto_free(text);
}

/* Wills are judged after the end, or while somebody else takes over; they are no renewal. */
static bool
is_publish(const struct plugin *p, const struct session *s)
{
    return s != NULL && s->state == SESSION_ONLINE && !s->superseded && p->kicking != s;
}

enum lk_err
authz_info_may(const struct plugin *p, struct session *s, const struct mosquitto_evt_acl_check *ev,
               int64_t now_ms)
{
    if (!is_publish(p, s) || ev->retain)
        return LK_ERR_DENIED;
    return sessions_take_rate(s, RATE_AUTHZ_INFO, AUTHZ_INFO_RATE, now_ms) ? LK_OK : LK_ERR_LIMIT;
}

int
authz_info_take(struct plugin *p, struct session *s, const struct mosquitto_evt_acl_check *ev,
                enum lk_err may)
{
    enum lk_err err = may;

    if (err == LK_OK)
        err = auth_renew_by_topic(p, s, lk_span_of(ev->payload, ev->payloadlen));
    if (is_publish(p, s))
        answer(s, err);
    wipe_payload(ev);
    /* MQTT 5 has a code for "taken". Everybody else hears the same either way, and so the message
     * need not go any further. */
    if (err == LK_OK && ev->qos > 0 && mosquitto_client_protocol_version(ev->client) == 5)
        return MOSQ_ERR_SUCCESS;
    return MOSQ_ERR_ACL_DENIED;
}

int
authz_info_on_message(int event, void *data, void *userdata)
{
    struct mosquitto_evt_message *ev = data;

    (void)event;
    (void)userdata;
    if (strcmp(ev->topic, topic_name) != 0)
        return MOSQ_ERR_SUCCESS;
    memcpy(ev->topic, emptied_name, sizeof(emptied_name));
    ev->payload = NULL; /* the broker frees what it had */
    ev->payloadlen = 0;
    ev->retain = false;
    return MOSQ_ERR_SUCCESS;
}
