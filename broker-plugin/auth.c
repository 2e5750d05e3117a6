#include "auth.h"

#include <stdlib.h>
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
    int64_t now_ms, began_ns;
    struct lk_span text; /* the token */
    struct lk_token token;
    bool verified; /* the token's claims may be believed */
    uint8_t digest[LK_SHA256_LEN];
    bool cached;
    bool by_topic;       /* published to authz-info */
    bool stored;         /* published there before this CONNECT */
    const char *detail;  /* more than the error says */
    uint64_t vouched;    /* the key that verified this very token a moment ago; 0: none */
    uint64_t key_serial; /* the key that verified it now */
    struct bond bond;    /* BOND_NONE: a bearer token */
    struct lk_key key;   /* method ace: what the proof is checked with */
    const uint8_t *kid;  /* of the key that verified it; what a session keeps of it */
};

/* --- the log ------------------------------------------------------------------------------- */

/* Every way out of a login comes by here. */
static void
forget_secrets(struct login *login)
{
    lk_wipe(login->p->token_room, sizeof(login->p->token_room));
    lk_wipe(&login->bond, sizeof(login->bond));
    lk_key_wipe(&login->key);
}

/* The other two places a refusal is told in: a metric, and the last denials. */
static void
count_refusal(const struct login *login, enum lk_err err)
{
    struct plugin *p = login->p;
    struct denial_facts facts = {.client_id = login->id,
                                 .action = strcmp(login->what, "renewal") == 0 ? DENIAL_RENEW
                                                                               : DENIAL_CONNECT,
                                 .reason = err};

    if (login->verified)
        facts.subject = login->token.claims.subject;
    metrics_login(&p->metrics, login->method, err, login->began_ns);
    denials_note(&p->denials, &facts, lk_clock_wall_s());
}

static int
refuse(struct login *login, enum lk_err err, const char *detail)
{
    struct plugin *p = login->p;

    if (detail == NULL)
        detail = login->detail;
    log_line(LK_LOG_WARN, "refused %s client=%s user=%s address=%s method=%s reason=%s %s",
             login->what, lk_log_span(login->id), lk_log_span(lk_span_text(login->user)),
             lk_log_text(login->address), login->method, lk_err_name(err),
             detail != NULL ? detail : lk_err_text(err));
    count_refusal(login, err);
    if (failures_add(&p->failures, login->address, p->options.auth_fail_rate, login->now_ms))
        log_line(LK_LOG_WARN, "address=%s more than %lld refused logins a second",
                 lk_log_text(login->address), (long long)p->options.auth_fail_rate);
    forget_secrets(login);
    return MOSQ_ERR_AUTH;
}

static int
accept_login(struct login *login, const struct session *s)
{
    log_line(LK_LOG_INFO, "accepted %s client=%s user=%s address=%s method=%s expires_in=%lld%s",
             login->what, lk_log_span(login->id), lk_log_span(session_subject(s)),
             lk_log_text(login->address), login->method,
             (long long)(s->expires_s - lk_clock_wall_s()), login->cached ? " cached" : "");
    metrics_login(&login->p->metrics, login->method, LK_OK, login->began_ns);
    forget_secrets(login);
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
    bool is_jwt = login->token.format == LK_FORMAT_JWT;
    /* Raw: it begins with a CBOR tag or array, which no text does. */
    bool is_raw_cwt = login->token.format == LK_FORMAT_CWT && text.ptr[0] >= 0x80;
    bool ok = is_jwt || is_raw_cwt; /* RFC 9431: the token as it is, nothing around it */

    if (!login->by_topic && login->proof == PROOF_PASSWORD)
        ok = true;
    else if (!login->by_topic && login->proof == PROOF_METHOD_JWT)
        ok = is_jwt;
    else if (!login->by_topic && login->proof == PROOF_METHOD_CWT)
        ok = is_raw_cwt;
    return ok ? LK_OK : LK_ERR_MALFORMED;
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
    bool suspect;
    enum lk_err err;

    login->key_serial = serial;
    /* 0 is the serial of a key without a print, and of nobody who vouches: they must not meet. */
    login->cached =
        (serial != 0 && serial == login->vouched) || cache_has(&p->cache, login->digest, serial);
    metrics_add(login->cached ? &p->metrics.cache_hits : &p->metrics.cache_misses, 1);
    if (login->cached)
        return LK_OK;
    suspect = failures_are_a_flood(&p->failures, login->address, p->options.auth_fail_rate,
                                   login->now_ms);
    /* Nothing is believed early here: it is only refused early, before it costs a signature. */
    if (failures_are_many(&p->failures, login->address, p->options.auth_fail_rate, login->now_ms)) {
        err = check_claims(login, issuer, now_s);
        if (err != LK_OK)
            return err;
    }
    if (!budget_allows(&p->budget, suspect, login->now_ms))
        return LK_ERR_BUSY;
    err = lk_token_check_signature(&login->token, key);
    if (err == LK_OK)
        cache_put(&p->cache, login->digest, serial);
    else
        budget_spend(&p->budget);
    return err;
}

static enum lk_err
check_subject(const struct login *login)
{
    const struct lk_claims *claims = &login->token.claims;

    /* It becomes the user name and fills topics. */
    return lk_id_is_valid(claims->subject) ? LK_OK : LK_ERR_CLAIM;
}

/* A token that is bound to a key or certificate is worth nothing to who only has the token. By the
 * method ace the proof is still to come; by every other road the connection has brought it. */
static enum lk_err
check_bond(struct login *login, struct lk_span text)
{
    struct plugin *p = login->p;
    struct lk_cnf_use use = {.symmetric = LK_ALG_HS256, .token = text};
    struct lk_buf room = LK_BUF_OF(p->identity_room);

    if (p->has_rs_key)
        use.rs_key = lk_span_of(p->rs_key, sizeof(p->rs_key));
    if (login->proof == PROOF_METHOD_ACE)
        return bond_by_key(&login->bond, &p->verifier, &login->token, &use, room, &login->key);
    if (login->token.claims.cnf != LK_CNF_NONE)
        return bond_by_certificate(&login->bond, login->client, &login->token, room);
    if (!p->options.require_cnf)
        return LK_OK;
    login->detail = "require_cnf is on, and the token is bound to no key";
    return LK_ERR_BOUND;
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
    err = lk_token_decrypt(&p->verifier, &login->token);
    if (err != LK_OK)
        return err;
    if (revoke_has_kid(p, login->token.kid)) /* of the token inside */
        return LK_ERR_REVOKED;
    err = lk_token_find_key(&p->verifier, &login->token, &issuer, &key);
    if (err == LK_ERR_KEY)
        worker_want_keys(&p->worker);
    if (err == LK_OK)
        err = lk_crypto_sha256(text, login->digest);
    if (err == LK_OK)
        err = check_signature(login, issuer, key, now_s);
    login->verified = err == LK_OK;
    if (err == LK_OK)
        err = check_claims(login, issuer, now_s);
    if (err == LK_OK)
        err = revoke_check(p, &login->token.claims, login->now_ms);
    if (err == LK_OK)
        login->kid = keys_kid(&p->keys, key);
    if (err == LK_OK)
        err = check_bond(login, text);
    return err == LK_OK ? check_subject(login) : err;
}

static enum lk_err
judge(struct login *login, struct lk_span text)
{
    enum lk_err err;

    login->text = text;
    if (text.len == 0)
        return LK_ERR_MISSING;
    err = lk_token_parse(text, LK_BUF_OF(login->p->token_room), &login->token);
    return err == LK_OK ? verify(login, text) : err;
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

/* A token published by one who has proven possession is kept, for his next CONNECT. */
static enum lk_err
collect_bond(const struct login *login, struct session_facts *facts)
{
    bool keep = login->stored || (login->by_topic && login->proof == PROOF_METHOD_ACE);

    if (login->bond.kind == BOND_NONE)
        return LK_OK;
    facts->bond = bond_new(&login->bond, keep ? login->text : (struct lk_span){NULL, 0});
    if (facts->bond != NULL)
        return LK_OK;
    grants_put(&login->p->grants, facts->shape);
    return LK_ERR_NOMEM;
}

/* Everything that a session is made of; shape and bond are the receiver's. */
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
    return err == LK_OK ? collect_bond(login, facts) : err;
}

static void
plan_expiry(struct plugin *p, struct session *s)
{
    if (s->for_denial)
        return; /* it was denied something in this turn, and has to leave: no token changes that */
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
    presence_connected(&p->presence, s);
    metrics_set(&p->metrics.sessions, p->sessions.online_count);
    return accept_login(login, s);
}

/* The same issuer (there is one), tenant and subject, and bound to the same key: who came with a
 * proof does not go on without one. */
static enum lk_err
check_same_identity(struct login *login, const struct session *s)
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
    if (bond_is_same(login->bond.kind != BOND_NONE ? &login->bond : NULL, s->bond))
        return login->proof == (enum session_proof)s->proof ? LK_OK : LK_ERR_STATE;
    login->detail = "the token is not bound to what the connection's first one was";
    return LK_ERR_BOUND;
}

/* What the broker and the client go by stays: the password of CONNECT, which the broker shows again
 * on SIGHUP, and the key behind a kid, which an update does not change. */
static void
keep_what_stays(const struct login *login, const struct session *s, struct session_facts *facts)
{
    if (!login->by_topic)
        return;
    memcpy(facts->credential, s->credential, sizeof(facts->credential));
    if (facts->bond != NULL)
        memcpy(facts->bond->secret, s->bond->secret, sizeof(facts->bond->secret));
}

static enum lk_err
renew_session(struct login *login, struct session *s)
{
    struct plugin *p = login->p;
    struct session_facts facts;
    enum lk_err err;

    if (s->for_denial)
        return LK_ERR_STATE; /* the next tick ends the connection; no token is a way around it */
    /* Who is on his way out stays on it, whatever he shows. */
    err = s->revoked ? LK_ERR_REVOKED : check_same_identity(login, s);
    if (err == LK_OK)
        err = collect(login, &facts);
    if (err != LK_OK)
        return err;
    keep_what_stays(login, s, &facts);
    err = sessions_renew(&p->sessions, s, &facts);
    if (err == LK_OK)
        plan_expiry(p, s);
    return err;
}

static int
renew(struct login *login, struct session *s)
{
    enum lk_err err = renew_session(login, s);

    if (err == LK_OK)
        return accept_login(login, s);
    return refuse(login, err, err == LK_ERR_SUBJECT ? "the token is for another subject" : NULL);
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
    login->began_ns = metrics_now_ns();
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
    if (s->state == SESSION_ONLINE) {
        sessions_set_offline(&login->p->sessions, s, login->now_ms);
        presence_gone(&login->p->presence, s, LK_OK);
    }
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
            forget_secrets(login);
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
        forget_secrets(&login);
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
    {"ace", PROOF_METHOD_ACE},
};

static enum session_proof
method_proof(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof(methods) / sizeof(methods[0]); i++)
        if (strcmp(name, methods[i].name) == 0)
            return methods[i].proof;
    return 0;
}

static const char *
method_name(enum session_proof proof)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (methods[i].proof == proof)
            return methods[i].name;
    return "password";
}

/* --- method ace ---------------------------------------------------------------------------- */

/* A client without a token in his CONNECT may have published one before. That he is who he says is
 * what the challenge will show. */
static struct lk_span
stored_token(const struct login *login)
{
    const struct session *s = sessions_newest_of_id(&login->p->sessions, login->id);

    return s != NULL && s->bond != NULL ? lk_span_of(s->bond->token, s->bond->token_len)
                                        : (struct lk_span){NULL, 0};
}

static enum lk_err
send_challenge(const struct login *login, bool renewal, struct mosquitto_evt_extended_auth *ev)
{
    struct challenge c = {
        .client = login->client,
        .key_serial = login->key_serial,
        .renewal = renewal,
        .stored = login->stored,
    };
    enum lk_err err;

    ev->data_out = malloc(ACE_NONCE_LEN); /* the broker gives it back, with free */
    if (ev->data_out == NULL)
        return LK_ERR_NOMEM;
    err = challenges_add(&login->p->challenges, &c, login->text, login->now_ms);
    memcpy(ev->data_out, c.nonce, ACE_NONCE_LEN);
    ev->data_out_len = err == LK_OK ? ACE_NONCE_LEN : 0;
    return err;
}

/* The first step: a token that is right in all but the proof is worth a challenge. */
static int
start_ace(struct login *login, struct session *s, struct mosquitto_evt_extended_auth *ev)
{
    struct lk_span token;
    enum lk_err err = ace_read_token(lk_span_of(ev->data_in, ev->data_in_len), &token);

    if (err == LK_ERR_UNSUPPORTED)
        login->detail =
            "a proof over the TLS exporter cannot be checked here: send the token alone";
    login->stored = token.len == 0 && s == NULL;
    if (err == LK_OK && login->stored)
        token = stored_token(login);
    if (err == LK_OK)
        err = judge(login, token);
    if (err == LK_OK && s != NULL)
        err = check_same_identity(login, s);
    if (err == LK_OK)
        err = send_challenge(login, s != NULL, ev);
    if (err != LK_OK)
        return refuse(login, err, NULL);
    forget_secrets(login);
    return MOSQ_ERR_AUTH_CONTINUE;
}

/* A token that updates another has its kid, and the client may go on using the key it has. */
static enum lk_err
check_with_known_key(struct login *login, const struct challenge *c, struct lk_span answer)
{
    const struct session *s = sessions_newest_of_id(&login->p->sessions, login->id);
    struct lk_key key = {.alg = LK_ALG_HS256, .has_private = true};
    enum lk_err err;

    if (login->bond.kind != BOND_KID || s == NULL || !bond_is_same(s->bond, &login->bond) ||
        !lk_span_equal(session_subject(s), login->token.claims.subject))
        return LK_ERR_SIGNATURE;
    memcpy(key.u.oct.k, s->bond->secret, sizeof(s->bond->secret));
    key.u.oct.len = sizeof(s->bond->secret);
    err = lk_key_open(&key);
    if (err == LK_OK)
        err = ace_check_answer(&key, c->nonce, answer);
    if (err == LK_OK)
        memcpy(login->bond.secret, s->bond->secret, sizeof(login->bond.secret));
    lk_key_wipe(&key);
    return err;
}

static enum lk_err
check_proof(struct login *login, const struct challenge *c, struct lk_span answer)
{
    enum lk_err err = ace_check_answer(&login->key, c->nonce, answer);

    if (err == LK_ERR_SIGNATURE)
        err = check_with_known_key(login, c, answer);
    if (err != LK_ERR_SIGNATURE)
        return err;
    login->detail = "the proof of possession does not verify";
    return LK_ERR_BOUND;
}

/* The second step. Everything is judged again: the world may have changed meanwhile. */
static int
finish_ace(struct plugin *p, const struct mosquitto_evt_extended_auth *ev, struct challenge *c)
{
    struct lk_span answer = lk_span_of(ev->data_in, ev->data_in_len);
    struct session *s = NULL;
    struct login login;
    enum lk_err err = LK_OK;
    int verdict;

    (void)begin(&login, p, ev->client);
    login.method = "ace";
    login.proof = PROOF_METHOD_ACE;
    login.vouched = c->key_serial;
    login.stored = c->stored;
    if (c->renewal) {
        login.what = "renewal";
        s = sessions_of_client(&p->sessions, ev->client, mosquitto_client_id(ev->client));
        err = s != NULL && s->state == SESSION_ONLINE ? LK_OK : LK_ERR_STATE;
    }
    if (c->token == NULL || login.now_ms >= c->due_ms)
        err = LK_ERR_TIMEOUT;
    if (err == LK_OK)
        err = judge(&login, lk_span_of(c->token, c->token_len));
    if (err == LK_OK)
        err = check_proof(&login, c, answer);
    if (err != LK_OK)
        verdict = refuse(&login, err, NULL);
    else
        verdict = s != NULL ? renew(&login, s) : come_in(&login);
    challenge_wipe(c);
    return verdict;
}

/* --- callbacks of enhanced authentication -------------------------------------------------- */

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
    challenges_drop(&p->challenges, ev->client);
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
    if (proof == PROOF_METHOD_ACE)
        return start_ace(&login, s, ev);
    if (text.len == 0)
        return refuse(&login, LK_ERR_MISSING, "no authentication data, so no token");
    err = judge(&login, text);
    if (err != LK_OK)
        return refuse(&login, err, NULL);
    return s != NULL ? renew(&login, s) : come_in(&login);
}

static void
refuse_stray_auth(struct plugin *p, struct mosquitto *client, const struct session *s)
{
    const struct denial_facts facts = {.subject = session_subject(s),
                                       .client_id = lk_span_of(s->id, s->id_len),
                                       .action = DENIAL_RENEW,
                                       .reason = LK_ERR_STATE};

    log_line(LK_LOG_WARN,
             "refused renewal client=%s user=%s address=%s reason=%s an AUTH packet out of place",
             lk_log_text(s->id), lk_log_span(session_subject(s)),
             lk_log_text(mosquitto_client_address(client)), lk_err_name(LK_ERR_STATE));
    metrics_login(&p->metrics, method_name((enum session_proof)s->proof), LK_ERR_STATE,
                  metrics_now_ns());
    denials_note(&p->denials, &facts, lk_clock_wall_s());
}

/*
 * The answer to a challenge (the event does not name the method, 2.0). Without a challenge it can
 * only be an AUTH packet without content on a connection that is in. Mosquitto 2.0 takes it for a
 * second step, and on any answer but "go on" forgets the client's id while the client is still in
 * its tables: it crashes later. So: "go on", and the next tick ends the connection. A challenge
 * that waits excludes this: the connection is not in yet, or the broker knows that it renews.
 */
int
auth_on_continue(int event, void *data, void *userdata)
{
    struct mosquitto_evt_extended_auth *ev = data;
    struct plugin *p = userdata;
    struct challenge c;
    struct session *s =
        sessions_of_client(&p->sessions, ev->client, mosquitto_client_id(ev->client));

    (void)event;
    if (challenges_take(&p->challenges, ev->client, &c))
        return finish_ace(p, ev, &c);
    if (s == NULL || s->state != SESSION_ONLINE || s->proof == PROOF_PASSWORD)
        return MOSQ_ERR_PLUGIN_DEFER;
    if (!s->for_denial)
        refuse_stray_auth(p, ev->client, s);
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
    challenges_drop(&p->challenges, ev->client);
    if (s == NULL)
        return MOSQ_ERR_SUCCESS;
    expiry_remove(&p->expiry, s);
    if (s->state == SESSION_ONLINE) {
        sessions_set_offline(&p->sessions, s, now_ms);
        presence_gone(&p->presence, s, p->kicking == s ? p->kicking_cause : LK_OK);
        metrics_set(&p->metrics.sessions, p->sessions.online_count);
    } else if (!s->superseded) {
        sessions_drop_pointer(&p->sessions, s); /* the second time: the context is going */
    }
    return MOSQ_ERR_SUCCESS;
}

/* --- renewal by topic ---------------------------------------------------------------------- */

enum lk_err
auth_renew_by_topic(struct plugin *p, struct session *s, struct lk_span text)
{
    struct login login;
    enum lk_err err;

    (void)begin(&login, p, s->client);
    login.what = "renewal";
    login.method = "authz-info";
    login.proof = (enum session_proof)s->proof;
    login.by_topic = true;
    err = judge(&login, text);
    if (err == LK_OK)
        err = renew_session(&login, s);
    if (err == LK_OK)
        (void)accept_login(&login, s);
    else
        (void)refuse(&login, err,
                     err == LK_ERR_SUBJECT ? "the token is for another subject" : NULL);
    return err;
}
