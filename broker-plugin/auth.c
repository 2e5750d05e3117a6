#include "auth.h"

#include <string.h>

#include <latchkey/host/clock.h>
#include <latchkey/id.h>

#include "log.h"
#include "plugin.h"

#define LOG_USER_MAX 160 /* bytes; lk_log_text shows 128 */

/** One attempt to come in, or to stay in. */
struct login {
    struct plugin *p;
    struct mosquitto *client;
    const char *what; /* "login" or "renewal" */
    const char *method;
    enum session_proof proof;
    char user[LOG_USER_MAX + 1]; /* for the log; the broker's own may go in between */
    const char *address;
    struct lk_span id;
    int64_t now_ms;
    struct lk_token token;
    uint8_t digest[LK_SHA256_LEN];
    bool cached;
    const uint8_t *kid; /* of the key that verified it; what a session keeps of it */
};

/* --- the log ------------------------------------------------------------------------------- */

static int
refuse(struct login *login, enum lk_err err, const char *detail)
{
    struct plugin *p = login->p;

    log_line(LK_LOG_WARN, "refused %s client=%s user=%s address=%s method=%s reason=%s %s",
             login->what, lk_log_span(login->id), lk_log_span(lk_span_text(login->user)),
             lk_log_text(login->address), login->method, lk_err_name(err),
             detail != NULL ? detail : lk_err_text(err));
    if (failures_add(&p->failures, login->address, p->options.auth_fail_rate, login->now_ms))
        log_line(LK_LOG_WARN, "address=%s more than %lld refused logins a second",
                 lk_log_text(login->address), (long long)p->options.auth_fail_rate);
    lk_wipe(p->token_room, sizeof(p->token_room));
    return MOSQ_ERR_AUTH;
}

static int
accept_login(struct login *login, const struct session *s)
{
    struct plugin *p = login->p;

    log_line(LK_LOG_INFO, "accepted %s client=%s user=%s address=%s method=%s expires_in=%lld%s",
             login->what, lk_log_span(login->id), lk_log_span(session_subject(s)),
             lk_log_text(login->address), login->method,
             (long long)(s->expires_s - lk_clock_wall_s()), login->cached ? " cached" : "");
    lk_wipe(p->token_room, sizeof(p->token_room));
    return MOSQ_ERR_SUCCESS;
}

/* --- the token ----------------------------------------------------------------------------- */

static bool
clock_is_sound(const struct plugin *p, int64_t now_s)
{
    /* What the server says outweighs what we wrote down, which a jump may have spoilt. */
    return now_s >= (p->server_floor_s != 0 ? p->server_floor_s : p->floor_s);
}

/* How the text has to look by this road: auto-detection must not make two methods one. */
static enum lk_err
check_form(const struct login *login, struct lk_span text)
{
    switch (login->proof) {
    case PROOF_METHOD_JWT:
        return login->token.format == LK_FORMAT_JWT ? LK_OK : LK_ERR_MALFORMED;
    case PROOF_METHOD_CWT:
        /* Raw: it begins with a CBOR tag or array, which no text does. */
        return login->token.format == LK_FORMAT_CWT && text.ptr[0] >= 0x80 ? LK_OK
                                                                           : LK_ERR_MALFORMED;
    case PROOF_PASSWORD:
        break;
    }
    return LK_OK;
}

static enum lk_err
check_claims(struct login *login, const struct lk_issuer *issuer, int64_t now_s)
{
    struct plugin *p = login->p;
    enum lk_err err = lk_token_map_claims(issuer, LK_BUF_OF(p->token_room), &login->token);

    return err == LK_OK ? lk_token_check_claims(&p->verifier, issuer, &login->token, now_s) : err;
}

static enum lk_err
check_signature(struct login *login, const struct lk_issuer *issuer, const struct lk_key *key,
                int64_t now_s)
{
    struct plugin *p = login->p;
    uint64_t serial = keys_serial(&p->keys, key);
    enum lk_err err;

    login->cached = cache_has(&p->cache, login->digest, serial);
    if (login->cached)
        return LK_OK;
    /* Nothing is believed early here: it is only refused early, before it costs a signature. */
    if (failures_are_many(&p->failures, login->address, p->options.auth_fail_rate, login->now_ms)) {
        err = check_claims(login, issuer, now_s);
        if (err != LK_OK)
            return err;
    }
    err = lk_token_check_signature(&login->token, key);
    if (err == LK_OK)
        cache_put(&p->cache, login->digest, serial);
    return err;
}

static enum lk_err
check_subject(const struct login *login)
{
    const struct lk_claims *claims = &login->token.claims;

    /* It becomes the user name and fills topics. */
    return lk_id_is_valid(claims->subject) ? LK_OK : LK_ERR_CLAIM;
}

static enum lk_err
verify(struct login *login, struct lk_span text)
{
    struct plugin *p = login->p;
    int64_t now_s = lk_clock_wall_s();
    const struct lk_issuer *issuer;
    const struct lk_key *key;
    enum lk_err err;

    if (!clock_is_sound(p, now_s))
        return LK_ERR_CLOCK;
    err = check_form(login, text);
    if (err != LK_OK)
        return err;
    if (revoke_has_kid(p, login->token.kid))
        return LK_ERR_REVOKED;
    if (p->keys.set.count == 0) {
        worker_want_keys(&p->worker);
        return LK_ERR_UNAVAILABLE;
    }
    err = lk_token_find_key(&p->verifier, &login->token, &issuer, &key);
    if (err == LK_ERR_KEY)
        worker_want_keys(&p->worker);
    if (err == LK_OK)
        err = lk_crypto_sha256(text, login->digest);
    if (err == LK_OK)
        err = check_signature(login, issuer, key, now_s);
    if (err == LK_OK)
        err = check_claims(login, issuer, now_s);
    if (err == LK_OK)
        err = revoke_check(p, &login->token.claims, login->now_ms);
    if (err == LK_OK)
        login->kid = keys_kid(&p->keys, key);
    if (err == LK_OK && login->token.claims.cnf != LK_CNF_NONE)
        err = LK_ERR_BOUND;
    return err == LK_OK ? check_subject(login) : err;
}

/* --- the client id ------------------------------------------------------------------------- */

static bool
is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* "auto-" and a UUID: what Mosquitto gives a client that names none (its auto_id_prefix). */
static bool
is_assigned_by_broker(struct lk_span id)
{
    if (id.len != 41 || memcmp(id.ptr, "auto-", 5) != 0)
        return false;
    for (size_t i = 5; i < id.len; i++) {
        bool dash = i == 13 || i == 18 || i == 23 || i == 28;

        if (dash ? id.ptr[i] != '-' : !is_hex(id.ptr[i]))
            return false;
    }
    return true;
}

static enum lk_err
check_client_id(const struct login *login)
{
    const struct plugin *p = login->p;
    const struct lk_claims *claims = &login->token.claims;
    bool is_device = claims->type.ptr != NULL;

    if (lk_id_owns_client_id(claims->subject, login->id))
        return LK_OK;
    if (p->options.client_id_binding == BINDING_STRICT &&
        (is_device || !is_assigned_by_broker(login->id)))
        return LK_ERR_SUBJECT;
    /* An id that is nobody's by name goes to whoever had it first. */
    return sessions_id_is_taken(&p->sessions, login->id, claims->subject) ? LK_ERR_SUBJECT : LK_OK;
}

/* The connection that is taken over makes room for the new one. */
static enum lk_err
check_connections(const struct login *login)
{
    const struct plugin *p = login->p;
    const struct subject *subject = sessions_subject(&p->sessions, login->token.claims.subject);
    int64_t online = subject != NULL ? subject->online_count : 0;

    for (const struct session *s = subject != NULL ? subject->newest : NULL; s != NULL;
         s = s->older)
        if (s->state == SESSION_ONLINE && lk_span_equal(lk_span_of(s->id, s->id_len), login->id))
            online--;
    return online < p->options.max_connections_per_subject ? LK_OK : LK_ERR_LIMIT;
}

/* --- the session --------------------------------------------------------------------------- */

static int64_t
deadline_ms(const struct plugin *p, const struct login *login)
{
    int64_t end_s = login->token.claims.expires_s + p->options.leeway_s;
    int64_t now_ms = lk_clock_wall_ms();

    /* From here on monotonic: a wall clock that jumps moves nobody's end. */
    if (end_s > now_ms / 1000 + LIFETIME_MAX_S)
        end_s = now_ms / 1000 + LIFETIME_MAX_S;
    return lk_clock_monotonic_ms() + end_s * 1000 - now_ms;
}

/* Everything that a session is made of. facts->shape is counted afterwards. */
static enum lk_err
collect(struct login *login, struct session_facts *facts)
{
    struct plugin *p = login->p;
    const struct lk_claims *claims = &login->token.claims;
    struct lk_identity identity;
    enum lk_err err;

    *facts = (struct session_facts){
        .id = login->id,
        .subject = claims->subject,
        .client = login->client,
        .expires_s = claims->expires_s,
        .deadline_ms = deadline_ms(p, login),
        .generation = claims->has_generation ? claims->generation : 0,
        .policy_serial = p->policy_serial,
        .proof = (uint8_t)login->proof,
    };
    memcpy(facts->credential, login->digest, sizeof(facts->credential));
    memcpy(facts->kid, login->kid, sizeof(facts->kid));
    err =
        claims->token_id.len > 0 ? revocation_token_key(claims->token_id, facts->token_id) : LK_OK;
    if (err == LK_OK)
        err = lk_identity_from_claims(&p->policy, claims, login->id, LK_BUF_OF(p->claim_room),
                                      &identity);
    if (err == LK_OK)
        err = lk_identity_write(&identity, LK_BUF_OF(p->identity_room), &facts->identity);
    if (err == LK_OK)
        err = grants_compile(&p->grants, &p->policy, &identity, &facts->shape, &facts->values);
    return err;
}

static void
plan_expiry(struct plugin *p, struct session *s)
{
    if (!p->options.disconnect_after_expire)
        expiry_remove(&p->expiry, s);
    else
        expiry_set(&p->expiry, s, s->deadline_ms);
    if (expiry_first(&p->expiry) == s)
        wake_at(&p->wake, s->due_ms);
}

static enum lk_err
set_user_name(const struct login *login)
{
    char name[LK_SUBJECT_MAX + 1];
    struct lk_span subject = login->token.claims.subject;

    memcpy(name, subject.ptr, subject.len); /* check_subject has seen its length */
    name[subject.len] = '\0';
    return mosquitto_set_username(login->client, name) == MOSQ_ERR_SUCCESS ? LK_OK : LK_ERR_NOMEM;
}

static int
come_in(struct login *login)
{
    struct plugin *p = login->p;
    size_t of_subject = (size_t)p->options.max_connections_per_subject * SUBJECT_SESSIONS;
    struct session_facts facts;
    struct session *s = NULL;
    enum lk_err err;

    err = check_client_id(login);
    if (err == LK_OK)
        err = check_connections(login);
    if (err == LK_OK)
        err = set_user_name(login);
    if (err == LK_OK)
        err = collect(login, &facts);
    /* Last, since it tells the session before that it is replaced. */
    if (err == LK_OK)
        err = sessions_add(&p->sessions, &facts, of_subject, login->now_ms, &s);
    if (err != LK_OK)
        return refuse(login, err,
                      err == LK_ERR_LIMIT ? "more connections than a subject may have" : NULL);
    plan_expiry(p, s);
    return accept_login(login, s);
}

/* Contracts section 6: same issuer (there is one), tenant, subject, no key then and none now. */
static enum lk_err
check_same_identity(const struct login *login, const struct session *s)
{
    const struct lk_claims *claims = &login->token.claims;
    struct lk_identity before;
    enum lk_err err;

    err = lk_identity_read(session_identity(s), &before);
    if (err != LK_OK)
        return err;
    if (!lk_span_equal(claims->subject, before.subject) ||
        !lk_span_equal(claims->tenant, before.tenant) || !lk_span_equal(claims->type, before.type))
        return LK_ERR_SUBJECT;
    return login->proof == (enum session_proof)s->proof ? LK_OK : LK_ERR_STATE;
}

static int
renew(struct login *login, struct session *s)
{
    struct plugin *p = login->p;
    struct session_facts facts;
    enum lk_err err;

    /* Who is on his way out stays on it, whatever he shows. */
    err = s->revoked ? LK_ERR_REVOKED : check_same_identity(login, s);
    if (err == LK_OK)
        err = collect(login, &facts);
    if (err == LK_OK)
        err = sessions_renew(&p->sessions, s, &facts);
    if (err != LK_OK)
        return refuse(login, err,
                      err == LK_ERR_SUBJECT ? "the token is for another subject" : NULL);
    plan_expiry(p, s);
    return accept_login(login, s);
}

/* --- SIGHUP -------------------------------------------------------------------------------- */

static bool
reload_is_open(struct plugin *p, int64_t now_ms)
{
    if (p->reload_open && now_ms - p->reload_ms > RECHECK_WINDOW_MS)
        p->reload_open = false;
    return p->reload_open;
}

/* The broker kept the password of CONNECT, or none where there was none. */
static bool
is_credential_of(const struct session *s, const char *password)
{
    uint8_t digest[LK_SHA256_LEN];

    if (s->proof != PROOF_PASSWORD)
        return password == NULL;
    return password != NULL && lk_crypto_sha256(lk_span_text(password), digest) == LK_OK &&
           lk_equal_ct(lk_span_of(digest, sizeof(s->credential)),
                       lk_span_of(s->credential, sizeof(s->credential)));
}

static bool
is_token(struct login *login, const char *password)
{
    struct lk_span text = lk_span_text(password);
    enum lk_err err;

    if (password == NULL)
        return false;
    err = lk_token_parse(text, LK_BUF_OF(login->p->token_room), &login->token);
    return err == LK_OK || err >= LK_ERR_ALG;
}

/*
 * Does the broker ask again about a session it has, rather than about a new connection? DESIGN.md
 * has the argument. Online, the pointer settles it. Offline sessions are asked about between RELOAD
 * and the next tick only, when no socket is read but those of WebSockets.
 */
static bool
is_recheck(struct login *login, const char *user, const char *password)
{
    struct plugin *p = login->p;
    const char *id = mosquitto_client_id(login->client);
    struct session *s = sessions_of_client(&p->sessions, login->client, id);

    if (s != NULL && s->state == SESSION_ONLINE)
        return true;
    if (!reload_is_open(p, login->now_ms))
        return false;
    if (compat_is_stand_in(login->client))
        return true;
    if (compat_is_websocket(login->client))
        return false;
    /* Where no tick ends the window (2.0.11 with per_listener_settings), sockets are read in it:
     * this may be a stranger. */
    if (s == NULL)
        return p->ticked && (p->options.unknown == UNKNOWN_DENY || is_token(login, password));
    if (s->reload_serial == p->reload_serial || user == NULL ||
        strcmp(user, s->subject->name) != 0 || !is_credential_of(s, password))
        return false;
    s->reload_serial = p->reload_serial;
    return true;
}

/* --- callbacks ----------------------------------------------------------------------------- */

static bool
begin(struct login *login, struct plugin *p, struct mosquitto *client)
{
    const char *id = mosquitto_client_id(client), *user = mosquitto_client_username(client);

    memset(login, 0, sizeof(*login));
    login->p = p;
    login->client = client;
    login->what = "login";
    login->id = lk_span_text(id);
    if (user != NULL)
        memcpy(login->user, user, strnlen(user, LOG_USER_MAX));
    login->address = mosquitto_client_address(client);
    login->now_ms = plugin_now_ms();
    plugin_note_event(p, login->now_ms);
    plugin_take_notes(p);
    if (!p->ticked)
        (void)sessions_reap(&p->sessions, login->now_ms, DYING_MS, p->options.session_keep_s * 1000,
                            TURN_REAPED);
    return login->id.len > 0 && login->id.len <= CLIENT_ID_MAX;
}

/* A new connection has this pointer: whatever session still held it lost its context. */
static void
release_pointer(struct login *login)
{
    struct session *s = sessions_of_pointer(&login->p->sessions, login->client);

    if (s == NULL)
        return;
    expiry_remove(&login->p->expiry, s);
    if (s->state == SESSION_ONLINE)
        sessions_set_offline(&login->p->sessions, s, login->now_ms);
    sessions_drop_pointer(&login->p->sessions, s);
}

/*
 * Hand on what is not a token, if the operator wants it: never a password without a user name,
 * which the broker would let in as anonymous, and never under the client id of one of ours.
 */
static bool
may_defer(const struct login *login, const char *user, const char *password)
{
    return login->p->options.unknown == UNKNOWN_DEFER && (user != NULL || password == NULL) &&
           !sessions_id_is_taken(&login->p->sessions, login->id, (struct lk_span){NULL, 0});
}

static int
judge_password(struct login *login, const char *user, const char *password)
{
    struct lk_span text = lk_span_text(password);
    enum lk_err err;

    if (password == NULL)
        return may_defer(login, user, password)
                   ? MOSQ_ERR_PLUGIN_DEFER
                   : refuse(login, LK_ERR_MISSING, "no password, so no token");
    err = lk_token_parse(text, LK_BUF_OF(login->p->token_room), &login->token);
    if (err != LK_OK) {
        /* Below the range of trust: not even the form of a token. */
        if (err < LK_ERR_ALG && may_defer(login, user, password)) {
            lk_wipe(login->p->token_room, sizeof(login->p->token_room));
            return MOSQ_ERR_PLUGIN_DEFER;
        }
        return refuse(login, err, NULL);
    }
    err = verify(login, text);
    return err == LK_OK ? come_in(login) : refuse(login, err, NULL);
}

int
auth_on_password(int event, void *data, void *userdata)
{
    struct mosquitto_evt_basic_auth *ev = data;
    struct login login;
    bool id_is_fit = begin(&login, userdata, ev->client);

    (void)event;
    login.method = "password";
    login.proof = PROOF_PASSWORD;
    if (is_recheck(&login, ev->username, ev->password)) {
        lk_wipe(login.p->token_room, sizeof(login.p->token_room));
        return MOSQ_ERR_SUCCESS;
    }
    release_pointer(&login);
    if (!id_is_fit)
        return refuse(&login, LK_ERR_LIMIT, "the client id is missing or too long");
    return judge_password(&login, ev->username, ev->password);
}

static const struct {
    const char *name;
    enum session_proof proof;
} methods[] = {
    {"OAUTH2-JWT", PROOF_METHOD_JWT},
    {"OAUTH2-CWT", PROOF_METHOD_CWT},
};

static enum session_proof
method_proof(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof(methods) / sizeof(methods[0]); i++)
        if (strcmp(name, methods[i].name) == 0)
            return methods[i].proof;
    return 0;
}

int
auth_on_method(int event, void *data, void *userdata)
{
    struct mosquitto_evt_extended_auth *ev = data;
    struct plugin *p = userdata;
    enum session_proof proof = method_proof(ev->auth_method);
    struct lk_span text = lk_span_of(ev->data_in, ev->data_in_len);
    struct session *s;
    struct login login;
    enum lk_err err;
    bool id_is_fit;

    (void)event;
    if (proof == 0)
        return MOSQ_ERR_PLUGIN_DEFER; /* and the client hears 0x8C */
    id_is_fit = begin(&login, p, ev->client);
    login.method = ev->auth_method;
    login.proof = proof;
    /* The event does not say whether it is a renewal; a pointer that is in does. */
    s = sessions_of_client(&p->sessions, ev->client, mosquitto_client_id(ev->client));
    if (s != NULL && s->state == SESSION_ONLINE) {
        login.what = "renewal";
    } else {
        s = NULL;
        release_pointer(&login);
    }
    if (!id_is_fit)
        return refuse(&login, LK_ERR_LIMIT, "the client id is missing or too long");
    if (text.len == 0)
        return refuse(&login, LK_ERR_MISSING, "no authentication data, so no token");
    err = lk_token_parse(text, LK_BUF_OF(p->token_room), &login.token);
    if (err == LK_OK)
        err = verify(&login, text);
    if (err != LK_OK)
        return refuse(&login, err, NULL);
    return s != NULL ? renew(&login, s) : come_in(&login);
}

/*
 * No method of ours has a second step, so this can only be an AUTH packet without content on a
 * connection that is in. Mosquitto 2.0 takes it for one, and on any answer but "go on" forgets the
 * client's id while the client is still in its tables: it crashes later. So: "go on", and the next
 * tick ends the connection.
 */
int
auth_on_continue(int event, void *data, void *userdata)
{
    struct mosquitto_evt_extended_auth *ev = data;
    struct plugin *p = userdata;
    struct session *s =
        sessions_of_client(&p->sessions, ev->client, mosquitto_client_id(ev->client));

    (void)event;
    if (s == NULL || s->state != SESSION_ONLINE || s->proof == PROOF_PASSWORD)
        return MOSQ_ERR_PLUGIN_DEFER;
    if (!s->for_denial)
        log_line(LK_LOG_WARN,
                 "refused renewal client=%s user=%s address=%s reason=%s an AUTH "
                 "packet out of place",
                 lk_log_text(s->id), lk_log_span(session_subject(s)),
                 lk_log_text(mosquitto_client_address(ev->client)), lk_err_name(LK_ERR_STATE));
    s->for_denial = true;
    expiry_set(&p->expiry, s, plugin_now_ms());
    wake_ask(&p->wake);
    return MOSQ_ERR_AUTH_CONTINUE;
}

int
auth_on_disconnect(int event, void *data, void *userdata)
{
    struct mosquitto_evt_disconnect *ev = data;
    struct plugin *p = userdata;
    /* By pointer alone: a refused connection leaves with the id it merely claimed (2.0.21). */
    struct session *s = sessions_of_pointer(&p->sessions, ev->client);
    int64_t now_ms = plugin_now_ms();

    (void)event;
    plugin_note_event(p, now_ms);
    if (s == NULL)
        return MOSQ_ERR_SUCCESS;
    expiry_remove(&p->expiry, s);
    if (s->state == SESSION_ONLINE)
        sessions_set_offline(&p->sessions, s, now_ms);
    else if (!s->superseded)
        sessions_drop_pointer(&p->sessions, s); /* the second time: the context is going */
    return MOSQ_ERR_SUCCESS;
}
