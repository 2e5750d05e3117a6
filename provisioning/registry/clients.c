#include "registry.h"

#include <stdio.h>
#include <string.h>

#include <latchkey/id.h>
#include <latchkey/scope.h>

#include "../http/call.h"
#include "common.h"

static json_t *
client_json(const struct config *config, const struct store_client *c)
{
    const struct config_kind *role = config_role(config, lk_span_text(c->role));
    const char *scopes = c->scopes[0] != '\0' || role == NULL ? c->scopes : role->scopes;
    json_t *body = json_object();

    json_object_set_new(body, "id", json_string(c->id));
    json_object_set_new(body, "role", json_string(c->role));
    json_object_set_new(body, "name", c->name[0] == '\0' ? json_null() : json_string(c->name));
    json_object_set_new(body, "tenant",
                        c->tenant[0] == '\0' ? json_null() : json_string(c->tenant));
    json_object_set_new(body, "scopes", scopes_json(scopes));
    json_object_set_new(body, "lifetime",
                        c->lifetime_s == 0 ? json_null() : json_integer(c->lifetime_s));
    json_object_set_new(body, "state", json_string(state_name(c->state)));
    json_object_set_new(body, "active", json_boolean(c->state == STORE_ACTIVE));
    json_object_set_new(body, "created_at", json_integer(c->created_s));
    json_object_set_new(body, "created_by", json_string(c->created_by));
    return body;
}

/* --- Registration
 * ------------------------------------------------------------------------------------- */

struct enlisting {
    struct store_client client;
    struct secret secret;
};

static const struct config_kind *
role_take(struct json_take *take, char out[TYPE_MAX_LEN + 1])
{
    struct lk_span name = json_take_text(take, "role", 1, TYPE_MAX_LEN, true);
    const struct config_kind *role =
        name.ptr == NULL ? NULL : config_role(take->call->config, name);

    if (name.ptr != NULL && role == NULL)
        json_take_refuse(take, "/role", "is not a role this server is configured for");
    text_of(out, TYPE_MAX_LEN + 1, name);
    return role;
}

static void
scope_add(struct json_take *take, const json_t *scope, char *out)
{
    const char *text = json_string_value(scope);
    size_t len = strlen(out);

    if (text == NULL || lk_scope_check(lk_span_text(text)) != LK_OK || strchr(text, ' ') != NULL ||
        text[0] == '\0' || len + strlen(text) + 2 > LK_SCOPE_MAX)
        json_take_refuse(take, "/scopes", "must be an array of scopes, such as devices:read");
    else
        snprintf(out + len, LK_SCOPE_MAX + 1 - len, "%s%s", len > 0 ? " " : "", text);
}

/** An array of scopes, or one text with spaces between them. */
static void
scopes_take(struct json_take *take, char out[LK_SCOPE_MAX + 1])
{
    const json_t *scopes = json_take_any(take, "scopes");
    const char *text = json_string_value(scopes);

    out[0] = '\0';
    if (scopes == NULL)
        return;
    if (text != NULL) {
        if (text[0] == '\0' || strlen(text) > LK_SCOPE_MAX ||
            lk_scope_check(lk_span_text(text)) != LK_OK)
            json_take_refuse(take, "/scopes", "must be scopes with spaces between them");
        else
            snprintf(out, LK_SCOPE_MAX + 1, "%s", text);
    } else if (!json_is_array(scopes) || json_array_size(scopes) == 0 ||
               json_array_size(scopes) > LK_SCOPES_MAX) {
        json_take_refuse(take, "/scopes", "must be an array of 1 to 64 scopes");
    } else {
        for (size_t i = 0; i < json_array_size(scopes); i++)
            scope_add(take, json_array_get(scopes, i), out);
    }
}

/** Nobody can grant a scope he does not hold, and no client gets more than its role. */
static bool
scopes_are_held(struct http_call *call, const struct config_kind *role, const char *scopes)
{
    struct lk_span wanted = lk_span_text(scopes[0] != '\0' ? scopes : role->scopes);

    if (!lk_scope_list_covers_all(lk_span_text(role->scopes), wanted)) {
        http_problem(call, 400, "scope_not_in_role", "a scope is more than the role holds");
        return false;
    }
    if (!lk_scope_list_covers_all(lk_span_text(call->caller.scopes), wanted)) {
        http_problem(call, 403, "scope_not_held",
                     "nobody can grant a scope that the own token does not hold");
        return false;
    }
    return true;
}

/** On the writer's thread. */
static enum lk_err
client_insert(struct store_db *db, struct http_call *call)
{
    struct enlisting *e = call->op;
    enum lk_err err = store_client_put(db, &e->client);
    json_t *body;

    if (err == LK_ERR_EXISTS)
        return http_problem_in(call, 409, "id_taken", "the id is or was in use");
    if (err != LK_OK)
        return err;
    body = json_object();
    json_object_set_new(body, "client", client_json(call->config, &e->client));
    json_object_set_new(body, "secret", json_string(e->secret.text));
    location_put(call, "clients", e->client.id);
    http_answer(call, 201, body);
    return LK_OK;
}

static void
client_finish(struct http_call *call)
{
    struct enlisting *e = call->op;
    struct store_client *c = &e->client;

    memcpy(c->secret_hash, e->secret.hash, sizeof(c->secret_hash));
    text_of(c->tenant, sizeof(c->tenant), lk_span_text(call->caller.tenant));
    text_of(c->created_by, sizeof(c->created_by), lk_span_text(call->caller.id));
    c->state = STORE_ACTIVE;
    c->generation = 1;
    c->created_s = call->now_s;
    http_write(call, client_insert, NULL);
}

static void
client_create(struct http_call *call)
{
    struct enlisting *e = http_room(call, sizeof(*e));
    const struct config_kind *role;
    struct store_client *c;
    struct json_take take;
    enum lk_err err;

    if (e == NULL) {
        http_fail(call, LK_ERR_NOMEM);
        return;
    }
    call->op = e;
    c = &e->client;
    json_take_open(&take, call);
    role = role_take(&take, c->role);
    err = id_take(&take, c->role, c->id);
    text_of(c->name, sizeof(c->name), json_take_text(&take, "name", 1, NAME_MAX_LEN, false));
    scopes_take(&take, c->scopes);
    c->lifetime_s =
        json_take_int(&take, "lifetime", 0, 1, role == NULL ? 1 : role->access_lifetime_max_s);
    if (!json_take_close(&take))
        return;
    http_audit(call, "client.create", lk_span_text(c->id));
    if (!scopes_are_held(call, role, c->scopes))
        return;
    if (err == LK_OK)
        err = secret_generate(&e->secret);
    if (err != LK_OK)
        http_fail(call, err);
    else
        client_finish(call);
}

/* --- Reading
 * --------------------------------------------------------------------------------------------- */

static void
client_get(struct http_call *call)
{
    struct store_client client;
    enum lk_err err = store_client_get(call->db, call->param[0], &client);

    if (err == LK_OK && strcmp(client.tenant, call->caller.tenant) != 0)
        err = LK_ERR_NOT_FOUND;
    if (err == LK_ERR_NOT_FOUND)
        http_problem(call, 404, "client_not_found", "no client has this id");
    else if (err != LK_OK)
        http_fail(call, err);
    else
        http_answer(call, 200, client_json(call->config, &client));
}

struct listing {
    const struct config *config;
    json_t *items;
};

static void
list_add(const struct store_client *client, void *arg)
{
    struct listing *l = arg;

    json_array_append_new(l->items, client_json(l->config, client));
}

static void
client_list(struct http_call *call)
{
    static const char *const names[] = {"limit", "cursor", NULL};
    struct listing l = {.config = call->config};
    uint8_t room[LIST_CURSOR_MAX];
    struct lk_span after;
    unsigned limit;
    enum lk_err err;

    if (!http_query_only(call, names) || !page_take(call, LK_BUF_OF(room), &limit, &after))
        return;
    l.items = json_array();
    err = store_client_list(call->db, lk_span_text(call->caller.tenant), after, limit + 1, list_add,
                            &l);
    if (err == LK_OK) {
        page_answer(call, l.items, limit);
    } else {
        json_decref(l.items);
        http_fail(call, err);
    }
}

/* --- Acting on one client --------------------------------------------------------------------- */

struct act {
    enum lk_err (*run)(struct store_db *db, struct http_call *call);
    struct store_client client; /* as it was when the call came */
    struct secret secret;
    int64_t old_until_s;
};

static enum lk_err
client_own(struct store_db *db, struct http_call *call, struct store_client *client)
{
    enum lk_err err = store_client_get(db, call->param[0], client);

    if (err == LK_OK && strcmp(client->tenant, call->caller.tenant) != 0)
        err = LK_ERR_NOT_FOUND;
    return err;
}

/** On the writer's thread. The answer is the client, unless `run` set another. */
static enum lk_err
act_write(struct store_db *db, struct http_call *call)
{
    struct act *act = call->op;
    enum lk_err err = client_own(db, call, &act->client);

    if (err == LK_ERR_NOT_FOUND)
        return http_problem_in(call, 404, "client_not_found", "no client has this id");
    if (err == LK_OK)
        err = act->run(db, call);
    if (err == LK_OK && http_status(call) == 0)
        http_answer(call, 200, client_json(call->config, &act->client));
    return err;
}

/** false: refused. The audit knows of it. */
static bool
act_open(struct http_call *call, const char *what,
         enum lk_err (*run)(struct store_db *db, struct http_call *call))
{
    struct act *act = http_room(call, sizeof(*act));
    enum lk_err err;

    call->op = act;
    if (act == NULL) {
        http_fail(call, LK_ERR_NOMEM);
        return false;
    }
    act->run = run;
    http_audit(call, what, call->param[0]);
    err = client_own(call->db, call, &act->client);
    if (err == LK_ERR_NOT_FOUND)
        http_problem(call, 404, "client_not_found", "no client has this id");
    else if (err != LK_OK)
        http_fail(call, err);
    return err == LK_OK;
}

/** Nobody locks himself out: there may be nobody left to let him in. */
static bool
is_another(struct http_call *call)
{
    if (!lk_span_equal(call->param[0], lk_span_text(call->caller.id)))
        return true;
    http_problem(call, 409, "own_client", "a client cannot suspend or delete itself");
    return false;
}

static enum lk_err
suspend_run(struct store_db *db, struct http_call *call)
{
    struct act *act = call->op;

    return store_client_set_state(db, call->param[0], STORE_SUSPENDED, call->now_s, &act->client);
}

static void
client_suspend(struct http_call *call)
{
    if (act_open(call, "client.suspend", suspend_run) && is_another(call))
        http_write(call, act_write, NULL);
}

static enum lk_err
resume_run(struct store_db *db, struct http_call *call)
{
    struct act *act = call->op;

    return store_client_set_state(db, call->param[0], STORE_ACTIVE, call->now_s, &act->client);
}

static void
client_resume(struct http_call *call)
{
    if (act_open(call, "client.resume", resume_run))
        http_write(call, act_write, NULL);
}

static enum lk_err
delete_run(struct store_db *db, struct http_call *call)
{
    enum lk_err err = store_client_delete(db, call->param[0], call->now_s);

    if (err == LK_OK)
        http_answer_bytes(call, 204, "application/json", (struct lk_span){NULL, 0});
    return err;
}

static void
client_delete(struct http_call *call)
{
    if (act_open(call, "client.delete", delete_run) && is_another(call))
        http_write(call, act_write, NULL);
}

static enum lk_err
secret_run(struct store_db *db, struct http_call *call)
{
    struct act *act = call->op;
    enum lk_err err =
        store_secret_replace(db, STORE_CLIENT, call->param[0], act->secret.hash,
                             (struct lk_span){NULL, 0}, act->old_until_s, call->now_s);

    if (err == LK_OK)
        http_answer(call, 200, secret_json(&act->secret, act->old_until_s, call->now_s));
    return err;
}

/** Whoever sets a secret can be that client from then on: he must hold all that it holds. */
static bool
is_held(struct http_call *call)
{
    const struct act *act = call->op;
    const struct config_kind *role = config_role(call->config, lk_span_text(act->client.role));

    if (role != NULL)
        return scopes_are_held(call, role, act->client.scopes);
    http_problem(call, 409, "role_not_configured", "the role of this client is not configured");
    return false;
}

static void
client_secret(struct http_call *call)
{
    struct act *act;
    enum lk_err err;

    if (!act_open(call, "client.rotate", secret_run) || !is_held(call))
        return;
    act = call->op;
    if (!overlap_take(call, &act->old_until_s))
        return;
    err = secret_generate(&act->secret);
    if (err == LK_OK)
        http_write(call, act_write, NULL);
    else
        http_fail(call, err);
}

enum lk_err
clients_add_routes(struct router *router)
{
    static const struct http_route routes[] = {
        {"POST", "/v1/clients", "clients:write", HTTP_BODY_JSON, client_create},
        {"GET", "/v1/clients", "clients:write", HTTP_BODY_NONE, client_list},
        {"GET", "/v1/clients/{id}", "clients:write", HTTP_BODY_NONE, client_get},
        {"DELETE", "/v1/clients/{id}", "clients:write", HTTP_BODY_NONE, client_delete},
        {"POST", "/v1/clients/{id}/suspend", "clients:write", HTTP_BODY_NONE, client_suspend},
        {"POST", "/v1/clients/{id}/resume", "clients:write", HTTP_BODY_NONE, client_resume},
        {"POST", "/v1/clients/{id}/secret", "clients:write", HTTP_BODY_JSON_IF_ANY, client_secret},
    };

    return router_add(router, routes, sizeof(routes) / sizeof(routes[0]));
}
