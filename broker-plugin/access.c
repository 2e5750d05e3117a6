#include "plugin.h"

#include <string.h>

#include <latchkey/host/clock.h>

#include "log.h"

/*
 * Whose grant judges this check?
 *
 *   a live or sleeping context    by pointer and client id
 *   a stand-in of the broker      by client id and user name: a session restored from disk, or the
 *                                 publisher of a retained message. It can only receive or vouch.
 */
static struct session *
session_of(const struct plugin *p, const struct mosquitto *client)
{
    const char *id = mosquitto_client_id(client);

    if (compat_is_stand_in(client))
        return sessions_of_id(&p->sessions, id, mosquitto_client_username(client));
    return sessions_of_client(&p->sessions, client, id);
}

/* The table of DESIGN.md. An expired session that is online gets nothing more, also before the next
 * turn kicks it; one that is offline goes on collecting, since its reconnect is judged anew; a will
 * (offline, WRITE) is judged by the grant it had. */
static bool
is_alive(const struct plugin *p, const struct session *s, int64_t now_ms)
{
    return s->state != SESSION_ONLINE || !p->options.disconnect_after_expire ||
           now_ms < s->deadline_ms;
}

static const char *
access_name(int access)
{
    switch (access) {
    case MOSQ_ACL_READ:
        return "receive";
    case MOSQ_ACL_WRITE:
        return "publish";
    case MOSQ_ACL_SUBSCRIBE:
        return "subscribe";
    default:
        return "unsubscribe";
    }
}

/* A few lines at once, then one now and then: a client in a loop must not fill the disk. */
static bool
denial_is_heard(struct session *s, int64_t now_ms)
{
    int64_t refill = (now_ms - s->denied_ms) / (DENIALS_REFILL_S * INT64_C(1000));

    if (refill > 0) {
        s->denied_budget =
            (uint8_t)(s->denied_budget + refill < DENIALS_BURST ? s->denied_budget + refill
                                                                : DENIALS_BURST);
        s->denied_ms = now_ms;
    }
    if (s->denied_budget == 0) {
        s->denied_quietly++;
        return false;
    }
    s->denied_budget--;
    return true;
}

static int
deny(struct plugin *p, struct session *s, const struct mosquitto_evt_acl_check *e, enum lk_err err,
     int64_t now_ms)
{
    /* A message that is not delivered is nobody's mistake; saying so for each would be noise. */
    if (e->access != MOSQ_ACL_READ && denial_is_heard(s, now_ms)) {
        log_line(LK_LOG_WARN,
                 "denied %s client=%s subject=%s topic=%s qos=%d retain=%d reason=%s %s%s",
                 access_name(e->access), lk_log_text(s->id), s->subject->name,
                 lk_log_text(e->topic), e->qos, e->retain, lk_err_name(err), lk_err_text(err),
                 s->denied_quietly > 0 ? " (and others before it, not shown)" : "");
        s->denied_quietly = 0;
    }
    if (p->options.on_deny == ON_DENY_DISCONNECT && e->access != MOSQ_ACL_READ &&
        s->state == SESSION_ONLINE) {
        /* Never inside the check: the broker goes on using the client. */
        s->for_denial = true;
        expiry_set(&p->expiry, s, now_ms);
    }
    return MOSQ_ERR_ACL_DENIED;
}

static int
unknown_client(struct plugin *p, const struct mosquitto_evt_acl_check *e, int64_t now_ms)
{
    if (p->options.unknown == UNKNOWN_DEFER)
        return MOSQ_ERR_PLUGIN_DEFER;
    if (now_ms - p->unknown_log_ms >= UNKNOWN_LOG_MS) {
        log_line(
            LK_LOG_WARN,
            "denied %s client=%s user=%s topic=%s reason=CREDENTIAL no login by token is known "
            "of this client",
            access_name(e->access), lk_log_text(mosquitto_client_id(e->client)),
            lk_log_text(mosquitto_client_username(e->client)), lk_log_text(e->topic));
        p->unknown_log_ms = now_ms;
    }
    return MOSQ_ERR_ACL_DENIED;
}

static int
check(struct plugin *p, struct session *s, const struct mosquitto_evt_acl_check *e, int64_t now_ms)
{
    struct lk_request request = {
        .topic = lk_span_text(e->topic),
        .qos = e->qos,
        .retain = e->retain,
        .size = e->payloadlen,
    };
    struct lk_grant grant;
    struct lk_verdict verdict;

    plugin_refresh_grant(p, s);
    if (!is_alive(p, s, now_ms))
        return deny(p, s, e, LK_ERR_EXPIRED, now_ms);
    request.action = e->access == MOSQ_ACL_WRITE  ? LK_ACTION_PUBLISH
                     : e->access == MOSQ_ACL_READ ? LK_ACTION_RECEIVE
                                                  : LK_ACTION_SUBSCRIBE;
    grant = session_grant(s);
    verdict = lk_grant_check(&grant, &request);
    if (verdict.access != LK_ACCESS_ALLOW)
        return deny(p, s, e, LK_ERR_DENIED, now_ms);
    if (verdict.rate_max > 0 && request.action == LK_ACTION_PUBLISH &&
        !sessions_take_rate(s, verdict.rule, verdict.rate_max, now_ms))
        return deny(p, s, e, LK_ERR_LIMIT, now_ms);
    return MOSQ_ERR_SUCCESS;
}

int
access_on_check(int event, void *data, void *userdata)
{
    struct mosquitto_evt_acl_check *e = data;
    struct plugin *p = userdata;
    int64_t now_ms = lk_clock_monotonic_ms();
    struct session *s;

    (void)event;
    plugin_notice_event(p, now_ms);
    s = session_of(p, e->client);
    if (s == NULL)
        return unknown_client(p, e, now_ms);
    if (e->access == MOSQ_ACL_UNSUBSCRIBE)
        return MOSQ_ERR_SUCCESS;
    return check(p, s, e, now_ms);
}
