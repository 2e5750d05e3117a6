#include "access.h"

#include <string.h>

#include <latchkey/host/clock.h>
#include <latchkey/topic.h>

#include "authz_info.h"
#include "log.h"
#include "plugin.h"

/* --- the log: a flood of denied messages must not become a flood of lines ------------------- */

static const char *
action_name(int access)
{
    switch (access) {
    case MOSQ_ACL_WRITE:
        return "publish";
    case MOSQ_ACL_SUBSCRIBE:
        return "subscribe";
    case MOSQ_ACL_UNSUBSCRIBE:
        return "unsubscribe";
    default:
        return "delivery";
    }
}

static bool
may_log(struct session *s, int64_t now_ms)
{
    int64_t refill = (now_ms - s->denied_ms) / (DENIALS_REFILL_S * 1000);

    if (refill > 0) {
        s->denied_budget =
            (uint8_t)(refill > DENIALS_BURST - s->denied_budget ? DENIALS_BURST
                                                                : s->denied_budget + refill);
        s->denied_ms = now_ms;
    }
    if (s->denied_budget == 0) {
        s->denied_quietly++;
        return false;
    }
    s->denied_budget--;
    return true;
}

static void
log_denial(const struct mosquitto_evt_acl_check *ev, const char *why, const char *detail,
           uint32_t quietly)
{
    log_line(LK_LOG_WARN, "refused %s client=%s user=%s address=%s topic=%s reason=%s %s",
             action_name(ev->access), lk_log_text(mosquitto_client_id(ev->client)),
             lk_log_text(mosquitto_client_username(ev->client)),
             lk_log_text(mosquitto_client_address(ev->client)), lk_log_text(ev->topic), why,
             detail);
    if (quietly > 0)
        log_line(LK_LOG_WARN, "client=%s and %u more refusals before this one, not logged",
                 lk_log_text(mosquitto_client_id(ev->client)), (unsigned)quietly);
}

static enum denial_action
denial_action(int access)
{
    switch (access) {
    case MOSQ_ACL_WRITE:
        return DENIAL_PUBLISH;
    case MOSQ_ACL_SUBSCRIBE:
        return DENIAL_SUBSCRIBE;
    default:
        return DENIAL_UNSUBSCRIBE;
    }
}

/* The other place a refusal is told in, beside the log and the metric. */
static void
note_denial(struct plugin *p, const struct session *s, const struct mosquitto_evt_acl_check *ev,
            enum lk_err reason)
{
    struct denial_facts facts = {.action = denial_action(ev->access), .reason = reason};

    if (!p->denials.enabled)
        return;
    facts.client_id = lk_span_text(mosquitto_client_id(ev->client));
    facts.topic = lk_span_text(ev->topic);
    if (s != NULL)
        facts.subject = session_subject(s);
    denials_note(&p->denials, &facts, lk_clock_wall_s());
}

static int
deny(struct plugin *p, struct session *s, const struct mosquitto_evt_acl_check *ev,
     enum lk_err reason, int64_t now_ms)
{
    metrics_check(&p->metrics, ev->access, metrics_outcome(reason));
    /* What is not delivered is nobody's fault: no line, no punishment. */
    if (ev->access == MOSQ_ACL_READ)
        return MOSQ_ERR_ACL_DENIED;
    note_denial(p, s, ev, reason);
    if (may_log(s, now_ms)) {
        log_denial(ev, lk_err_name(reason), lk_err_text(reason), s->denied_quietly);
        s->denied_quietly = 0;
    }
    /* Never a kick from here: the broker goes on using the client. The next tick has it. */
    if (p->options.on_deny == ON_DENY_DISCONNECT && s->state == SESSION_ONLINE && p->kicking != s) {
        s->for_denial = true;
        expiry_set(&p->expiry, s, now_ms);
        wake_ask(&p->wake);
    }
    return MOSQ_ERR_ACL_DENIED;
}

static int
deny_unknown(struct plugin *p, const struct mosquitto_evt_acl_check *ev, int64_t now_ms)
{
    metrics_check(&p->metrics, ev->access, OUTCOME_FORBIDDEN);
    if (ev->access == MOSQ_ACL_READ)
        return MOSQ_ERR_ACL_DENIED;
    note_denial(p, NULL, ev, LK_ERR_DENIED);
    if (now_ms - p->unknown_logged_ms < UNKNOWN_LOG_MS) {
        p->unknown_quietly++;
        return MOSQ_ERR_ACL_DENIED;
    }
    log_denial(ev, lk_err_name(LK_ERR_DENIED), "the client did not log in with a token",
               p->unknown_quietly);
    p->unknown_logged_ms = now_ms;
    p->unknown_quietly = 0;
    return MOSQ_ERR_ACL_DENIED;
}

/* --- finding the session ------------------------------------------------------------------- */

static struct session *
find_session(const struct plugin *p, const struct mosquitto *client)
{
    const char *id = mosquitto_client_id(client), *user;
    struct session *s = sessions_of_client(&p->sessions, client, id);

    if (s != NULL && s->state == SESSION_ONLINE)
        return s;
    user = mosquitto_client_username(client);
    /* Offline, the pointer may be another's by now, on a listener whose logins we never see. */
    if (s != NULL)
        return user != NULL && strcmp(user, s->subject->name) == 0 ? s : NULL;
    return compat_is_stand_in(client) ? sessions_of_id(&p->sessions, id, user) : NULL;
}

/*
 * Is the token too old for this? Only of an open connection: an offline session goes on queueing,
 * its will and the broker's stand-ins are judged by the grant it had. So are the subscriptions the
 * broker looks at while we kick it, and the will of a connection that is being taken over.
 */
static bool
is_too_late(const struct plugin *p, const struct session *s, int access, int64_t now_ms)
{
    if (s->state != SESSION_ONLINE || now_ms < s->deadline_ms || p->kicking == s)
        return false;
    return !(s->superseded && access == MOSQ_ACL_WRITE);
}

/* --- the decision -------------------------------------------------------------------------- */

static struct lk_request
request_of(const struct mosquitto_evt_acl_check *ev)
{
    struct lk_request request = {.topic = lk_span_text(ev->topic)};

    switch (ev->access) {
    case MOSQ_ACL_WRITE:
        request.action = LK_ACTION_PUBLISH;
        request.qos = ev->qos;
        request.retain = ev->retain;
        request.size = ev->payloadlen;
        break;
    case MOSQ_ACL_SUBSCRIBE:
        request.action = LK_ACTION_SUBSCRIBE;
        request.qos = ev->qos;
        break;
    default:
        /* The event has the publisher's QoS; what is delivered has the subscription's at most. */
        request.action = LK_ACTION_RECEIVE;
        break;
    }
    return request;
}

static int
allow(struct plugin *p, const struct mosquitto_evt_acl_check *ev)
{
    metrics_check(&p->metrics, ev->access, OUTCOME_OK);
    return MOSQ_ERR_SUCCESS;
}

static int
check(struct plugin *p, struct session *s, const struct mosquitto_evt_acl_check *ev, int64_t now_ms)
{
    struct lk_request request;
    struct lk_verdict verdict;
    struct lk_grant grant;

    if (ev->access == MOSQ_ACL_UNSUBSCRIBE)
        return allow(p, ev);
    if (is_too_late(p, s, ev->access, now_ms))
        return deny(p, s, ev, LK_ERR_EXPIRED, now_ms);
    if (s->delivery_only && ev->access != MOSQ_ACL_READ)
        return deny(p, s, ev, LK_ERR_DENIED, now_ms);
    if (!plugin_refresh_grant(p, s))
        return deny(p, s, ev, LK_ERR_DENIED, now_ms);
    request = request_of(ev);
    grant = session_grant(s);
    verdict = lk_grant_check(&grant, &request);
    if (verdict.access != LK_ACCESS_ALLOW)
        return deny(p, s, ev, LK_ERR_DENIED, now_ms);
    if (verdict.rate_max > 0 && ev->access == MOSQ_ACL_WRITE && s->state == SESSION_ONLINE &&
        !sessions_take_rate(s, verdict.rule, verdict.rate_max, now_ms))
        return deny(p, s, ev, LK_ERR_LIMIT, now_ms);
    return allow(p, ev);
}

/* Whoever the client is and whoever would let him: this topic is for tokens. A publish to it may
 * renew; nobody has what is published there. */
static int
check_authz_info(struct plugin *p, struct session *s, const struct mosquitto_evt_acl_check *ev,
                 int64_t now_ms)
{
    enum lk_err err = LK_ERR_DENIED;
    int verdict;

    if (ev->access == MOSQ_ACL_WRITE) {
        err = authz_info_may(p, s, ev, now_ms);
        verdict = authz_info_take(p, s, ev, err);
        if (err == LK_OK)
            return verdict;
    }
    return s != NULL ? deny(p, s, ev, err, now_ms) : deny_unknown(p, ev, now_ms);
}

int
access_on_check(int event, void *data, void *userdata)
{
    struct mosquitto_evt_acl_check *ev = data;
    struct plugin *p = userdata;
    int64_t now_ms = plugin_now_ms();
    struct session *s;

    (void)event;
    plugin_note_event(p, now_ms);
    s = find_session(p, ev->client);
    if (s != NULL && s->revoked && ev->access != MOSQ_ACL_UNSUBSCRIBE)
        return deny(p, s, ev, LK_ERR_REVOKED, now_ms);
    if (ev->access != MOSQ_ACL_UNSUBSCRIBE && authz_info_is_topic(ev->topic))
        return check_authz_info(p, s, ev, now_ms);
    if (s != NULL)
        return check(p, s, ev, now_ms);
    if (p->options.unknown == UNKNOWN_DEFER)
        return MOSQ_ERR_PLUGIN_DEFER;
    return deny_unknown(p, ev, now_ms);
}
