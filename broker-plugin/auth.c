#include "plugin.h"

#include <string.h>

#include <latchkey/crypto.h>
#include <latchkey/host/clock.h>
#include <latchkey/id.h>

#include "log.h"

/** One login or renewal on its way. */
struct login {
    struct mosquitto *client;
    const char *id, *user, *address; /* as the client says; id may be NULL */
    struct lk_span credential;
    enum session_proof proof;
    struct session *renewing; /* the session this AUTH 0x19 is for, else NULL */
    const struct lk_issuer *issuer;
    const struct lk_key *key;
    uint8_t digest[LK_SHA256_LEN];
    int64_t now_ms, now_s;
};

static const char *
proof_name(enum session_proof proof)
{
    switch (proof) {
    case PROOF_METHOD_JWT:
        return "OAUTH2-JWT";
    case PROOF_METHOD_CWT:
        return "OAUTH2-CWT";
    case PROOF_PASSWORD:
        break;
    }
    return "password";
}

static int
refuse(struct plugin *p, const struct login *l, enum lk_err err)
{
    uint32_t quietly = 0;

    if (!failures_add(&p->failures, l->address, l->now_ms, p->options.auth_fail_rate, &quietly))
        return MOSQ_ERR_AUTH;
    log_line(LK_LOG_WARN, "refused %s client=%s user=%s address=%s method=%s reason=%s %s%s",
             l->renewing != NULL ? "renewal" : "login", lk_log_text(l->id), lk_log_text(l->user),
             lk_log_text(l->address), proof_name(l->proof), lk_err_name(err), lk_err_text(err),
             quietly > 0 ? " (and others before it, not shown)" : "");
    return MOSQ_ERR_AUTH;
}

/* --- checks --------------------------------------------------------------------------------- */

/* The signature, or the memory of having verified these very bytes under this very key. */
static enum lk_err
check_signature(struct plugin *p, struct login *l)
{
    uint64_t serial;
    enum lk_err err = lk_crypto_sha256(l->credential, l->digest);

    if (err == LK_OK)
        err = lk_token_find_key(&p->keys.verifier, &p->token, &l->issuer, &l->key);
    if (err == LK_ERR_KEY && p->worker != NULL)
        worker_ask_keys(p->worker);
    if (err != LK_OK)
        return err;
    serial = keys_serial(&p->keys, l->key);
    if (cache_has(&p->cache, l->digest, serial))
        return LK_OK;
    p->signatures++;
    err = lk_token_check_signature(&p->token, l->key);
    if (err == LK_OK)
        cache_put(&p->cache, l->digest, serial);
    return err;
}

/* A device's id is its subject. What is no device may come with an id the broker made up. */
static bool
client_id_is_owned(const struct plugin *p, const struct login *l)
{
    struct lk_span id = lk_span_text(l->id);

    if (p->options.client_id_binding == BINDING_OFF)
        return true;
    if (lk_id_owns_client_id(p->token.claims.subject, id))
        return true;
    return p->token.claims.type.len == 0 && compat_is_assigned_id(l->id);
}

static bool
format_fits(const struct login *l, enum lk_format format)
{
    switch (l->proof) {
    case PROOF_METHOD_JWT:
        return format == LK_FORMAT_JWT;
    case PROOF_METHOD_CWT:
        return format == LK_FORMAT_CWT;
    case PROOF_PASSWORD:
        break;
    }
    return true;
}

/* Everything that can be said of a credential. `p->token` is the token; it may be trusted only on
 * LK_OK. */
static enum lk_err
check_credential(struct plugin *p, struct login *l)
{
    const struct lk_claims *c = &p->token.claims;
    enum lk_err err = lk_token_parse(l->credential, LK_BUF_OF(p->scratch), &p->token);

    if (err == LK_OK && !format_fits(l, p->token.format))
        err = LK_ERR_FORM;
    if (err == LK_OK && l->now_s < p->clock_floor_s)
        err = LK_ERR_CLOCK;
    if (err == LK_OK)
        err = check_signature(p, l);
    if (err == LK_OK)
        err = lk_token_check_claims(&p->keys.verifier, l->issuer, &p->token, l->now_s);
    if (err == LK_OK && (c->cnf != LK_CNF_NONE || p->options.require_cnf))
        err = LK_ERR_BOUND;
    if (err == LK_OK && !lk_id_is_valid(c->subject))
        err = LK_ERR_SUBJECT;
    if (err == LK_OK && !client_id_is_owned(p, l))
        err = LK_ERR_SUBJECT;
    return err;
}

/* --- sessions ------------------------------------------------------------------------------- */

static int64_t
deadline_ms(const struct plugin *p, int64_t expires_s, const struct login *l)
{
    int64_t left_s = expires_s + p->options.leeway_s - l->now_s;

    return l->now_ms + (left_s < LIFETIME_MAX_S ? left_s : LIFETIME_MAX_S) * 1000;
}

static enum lk_err
facts_collect(struct plugin *p, const struct login *l, struct session_facts *facts)
{
    const struct lk_claims *c = &p->token.claims;
    enum lk_err err;

    *facts = (struct session_facts){.id = lk_span_text(l->id), .client = l->client};
    err = lk_identity_from_claims(&p->policy, c, facts->id, LK_BUF_OF(p->named_room), &p->identity);
    if (err == LK_OK)
        err = lk_identity_write(&p->identity, LK_BUF_OF(p->identity_room), &facts->identity);
    if (err == LK_OK)
        err = grants_compile(&p->grants, &p->policy, &p->identity, &facts->shape, &facts->values);
    if (err != LK_OK)
        return err;
    facts->subject = c->subject;
    facts->expires_s = c->expires_s;
    facts->deadline_ms = deadline_ms(p, c->expires_s, l);
    facts->generation = c->generation;
    facts->policy_serial = p->policy_serial;
    facts->proof = (uint8_t)l->proof;
    if (c->token_id.len > 0)
        memcpy(facts->token_id, c->token_id.ptr,
               c->token_id.len < sizeof(facts->token_id) ? c->token_id.len
                                                         : sizeof(facts->token_id));
    memcpy(facts->credential, l->digest, sizeof(facts->credential));
    return LK_OK;
}

static bool
renewal_fits(struct plugin *p, const struct session *s)
{
    struct lk_identity before;

    return lk_identity_read(session_identity(s), &before) == LK_OK &&
           lk_span_equal(before.subject, p->token.claims.subject) &&
           lk_span_equal(before.tenant, p->token.claims.tenant);
}

/* Too many at once? A connection that takes over its own client id does not count twice. */
static bool
subject_is_full(const struct plugin *p, const struct login *l)
{
    const struct subject *subject = sessions_subject(&p->sessions, p->token.claims.subject);
    const struct session *same;

    if (subject == NULL || subject->online_count < p->options.max_connections_per_subject)
        return false;
    same = sessions_of_id(&p->sessions, l->id, subject->name);
    return same == NULL || same->state != SESSION_ONLINE;
}

static enum lk_err
login_enter(struct plugin *p, const struct login *l)
{
    size_t most = (size_t)p->options.max_connections_per_subject * SUBJECT_SESSIONS;
    struct session_facts facts;
    struct session *s = l->renewing;
    enum lk_err err;

    if (s == NULL && subject_is_full(p, l))
        return LK_ERR_BUSY;
    err = facts_collect(p, l, &facts);
    if (err != LK_OK)
        return err;
    if (s != NULL)
        err = sessions_renew(&p->sessions, s, &facts);
    else
        err = sessions_add(&p->sessions, &facts, most, l->now_ms, &s);
    if (err == LK_OK && p->options.disconnect_after_expire)
        expiry_set(&p->expiry, s, s->deadline_ms);
    return err;
}

static int
admit(struct plugin *p, struct login *l)
{
    char user[LK_SUBJECT_MAX + 1];
    struct lk_span subject;
    enum lk_err err = check_credential(p, l);

    if (err == LK_OK && l->renewing != NULL && !renewal_fits(p, l->renewing))
        err = LK_ERR_SUBJECT;
    if (err == LK_OK)
        err = login_enter(p, l);
    if (err != LK_OK)
        return refuse(p, l, err);
    subject = p->token.claims.subject;
    memcpy(user, subject.ptr, subject.len);
    user[subject.len] = '\0';
    log_line(LK_LOG_INFO, "%s client=%s subject=%s address=%s method=%s expires_in=%lld",
             l->renewing != NULL ? "renewed" : "accepted", lk_log_text(l->id), user,
             lk_log_text(l->address), proof_name(l->proof),
             (long long)(p->token.claims.expires_s - l->now_s));
    /* Frees the name the client sent; l->user is gone after this. */
    return mosquitto_set_username(l->client, user) == MOSQ_ERR_SUCCESS ? MOSQ_ERR_SUCCESS
                                                                       : MOSQ_ERR_AUTH;
}

/* --- SIGHUP --------------------------------------------------------------------------------- */

/* Between RELOAD and the next turn the broker asks again about everyone it knows, within one call:
 * no packet of a stranger is read in between but over WebSockets, whose contexts have an address.
 */
static bool
window_is_open(struct plugin *p, int64_t now_ms)
{
    if (p->in_recheck && now_ms - p->recheck_ms > RECHECK_WINDOW_MS)
        p->in_recheck = false;
    return p->in_recheck;
}

/* Is this the broker asking again about a session, rather than somebody logging in? */
static bool
is_recheck(struct plugin *p, const struct mosquitto *client, const char *id, int64_t now_ms)
{
    const struct session *s = sessions_of_client(&p->sessions, client, id);

    /* A context that is logged in cannot log in once more: the broker takes a second CONNECT for a
     * protocol error. So this pointer and id mean a re-check, whenever it comes. */
    if (s != NULL && s->state == SESSION_ONLINE)
        return true;
    if (!window_is_open(p, now_ms))
        return false;
    /* Offline: refusing would make 2.0 free the context twice, and the topic checks decide anyway.
     * A WebSocket that is open is no sleeper, whatever pointer and id it comes with. */
    return (s != NULL && !compat_is_websocket(client)) || compat_is_stand_in(client);
}

/* --- the broker's callbacks ------------------------------------------------------------------- */

static struct login
login_begin(struct mosquitto *client, enum session_proof proof)
{
    return (struct login){
        .client = client,
        .id = mosquitto_client_id(client),
        .user = mosquitto_client_username(client),
        .address = mosquitto_client_address(client),
        .proof = proof,
        .now_ms = lk_clock_monotonic_ms(),
        .now_s = lk_clock_wall_s(),
    };
}

/* A token begins as one of the three forms does; a password that does not is somebody else's. */
static bool
looks_like_token(struct lk_span text)
{
    return text.len >= 64 && (memchr(text.ptr, '.', text.len) != NULL || text.ptr[0] == '2' ||
                              text.ptr[0] == '0' || text.ptr[0] == 'h');
}

int
auth_on_password(int event, void *data, void *userdata)
{
    struct mosquitto_evt_basic_auth *e = data;
    struct plugin *p = userdata;
    struct login l = login_begin(e->client, PROOF_PASSWORD);

    (void)event;
    plugin_notice_event(p, l.now_ms);
    if (is_recheck(p, e->client, l.id, l.now_ms))
        return MOSQ_ERR_SUCCESS;
    l.user = e->username;
    l.credential = lk_span_text(e->password);
    if (p->options.unknown == UNKNOWN_DEFER && e->username != NULL &&
        !looks_like_token(l.credential))
        return MOSQ_ERR_PLUGIN_DEFER;
    if (l.credential.len == 0)
        return refuse(p, &l, LK_ERR_CREDENTIAL);
    return admit(p, &l);
}

int
auth_on_method(int event, void *data, void *userdata)
{
    struct mosquitto_evt_extended_auth *e = data;
    struct plugin *p = userdata;
    struct login l = login_begin(e->client, PROOF_METHOD_JWT);

    (void)event;
    plugin_notice_event(p, l.now_ms);
    if (e->auth_method == NULL)
        return MOSQ_ERR_PLUGIN_DEFER;
    if (strcmp(e->auth_method, "OAUTH2-CWT") == 0)
        l.proof = PROOF_METHOD_CWT;
    else if (strcmp(e->auth_method, "OAUTH2-JWT") != 0)
        return MOSQ_ERR_PLUGIN_DEFER;
    l.credential = lk_span_of(e->data_in, e->data_in_len);
    l.renewing = sessions_of_client(&p->sessions, e->client, l.id);
    if (l.renewing != NULL && l.renewing->state != SESSION_ONLINE)
        l.renewing = NULL;
    if (l.renewing != NULL && l.renewing->proof != l.proof)
        return refuse(p, &l, LK_ERR_STATE);
    return admit(p, &l);
}

int
auth_on_disconnect(int event, void *data, void *userdata)
{
    struct mosquitto_evt_disconnect *e = data;
    struct plugin *p = userdata;
    int64_t now_ms = lk_clock_monotonic_ms();
    struct session *s = sessions_of_pointer(&p->sessions, e->client);

    (void)event;
    plugin_notice_event(p, now_ms);
    if (s == NULL)
        return MOSQ_ERR_SUCCESS;
    expiry_remove(&p->expiry, s);
    sessions_set_offline(&p->sessions, s, now_ms);
    return MOSQ_ERR_SUCCESS;
}

/* 2.1: the broker has answered. Registering for it is how the versions are told apart. */
int
auth_on_connect(int event, void *data, void *userdata)
{
    (void)event;
    (void)data;
    plugin_notice_event(userdata, lk_clock_monotonic_ms());
    return MOSQ_ERR_SUCCESS;
}
