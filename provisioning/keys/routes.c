#include "routes.h"

#include <stdio.h>
#include <string.h>

#include <latchkey/host/log.h>
#include <latchkey/key.h>

#include "ring.h"

/* --- The keys as they are ----------------------------------------------------------------------
 */

struct key_state {
    char kid[LK_KID_MAX + 1];
    int alg;
    int64_t created_s, from_s, until_s;
};

struct key_list {
    struct key_state key[KEYS_MAX]; /* in the order in which they begin to sign */
    size_t count;
    size_t signer; /* index */
};

static enum lk_err
list_add(const struct store_key *row, void *arg)
{
    struct key_list *list = arg;
    struct key_state *key = &list->key[list->count];

    if (list->count == KEYS_MAX)
        return LK_ERR_LIMIT;
    memcpy(key->kid, row->kid, sizeof(key->kid));
    key->alg = row->alg;
    key->created_s = row->created_s;
    key->from_s = row->signs_from_s;
    key->until_s = row->until_s;
    list->count++;
    return LK_OK;
}

static enum lk_err
list_read(struct store_db *db, int64_t now_s, struct key_list *list)
{
    enum lk_err err;

    memset(list, 0, sizeof(*list));
    err = store_key_list(db, list_add, list);
    while (list->signer + 1 < list->count && list->key[list->signer + 1].from_s <= now_s)
        list->signer++;
    return err == LK_OK && list->count == 0 ? LK_ERR_NOT_FOUND : err;
}

static const char *
state_of(const struct key_list *list, size_t i)
{
    return i < list->signer ? "retired" : i == list->signer ? "signs" : "next";
}

static json_t *
list_json(const struct key_list *list)
{
    json_t *items = json_array();

    for (size_t i = 0; i < list->count; i++) {
        const struct key_state *key = &list->key[i];

        json_array_append_new(
            items,
            json_pack("{s:s, s:s, s:s, s:I, s:I, s:o}", "kid", key->kid, "alg",
                      key->alg == LK_ALG_EDDSA ? "EdDSA" : "ES256", "state", state_of(list, i),
                      "created_at", (json_int_t)key->created_s, "signs_from",
                      (json_int_t)key->from_s, "until",
                      key->until_s == 0 ? json_null() : json_integer((json_int_t)key->until_s)));
    }
    return json_pack("{s:o, s:n}", "items", items, "next_cursor");
}

static void
keys_get(struct http_call *call)
{
    struct key_list list;
    enum lk_err err = list_read(call->db, call->now_s, &list);

    if (err == LK_OK)
        http_answer(call, 200, list_json(&list));
    else
        http_fail(call, err);
}

/* --- Rotation ------------------------------------------------------------------------------------
 */

struct rotation {
    bool is_compromised;
    char kid[LK_KID_MAX + 1]; /* of the compromised one; empty: the one that signs */
    struct ring_key made;     /* used if another key is needed */
};

static int64_t
longest_life(const struct config *config)
{
    int64_t longest_s = config->access_lifetime_s;

    for (size_t i = 0; i < config->role_count; i++)
        if (config->roles[i].access_lifetime_s > longest_s)
            longest_s = config->roles[i].access_lifetime_s;
    return longest_s;
}

static enum lk_err
key_add(struct store_db *db, struct http_call *call, const struct key_list *list, int64_t from_s)
{
    struct rotation *r = call->op;

    if (list->count == KEYS_MAX)
        return http_problem_in(call, 409, "too_many_keys", "old keys must expire first");
    r->made.row.signs_from_s = from_s;
    return store_key_put(db, &r->made.row);
}

/** Another key signs from now on: the next one if there is one, else a new one. */
static enum lk_err
signer_replace(struct store_db *db, struct http_call *call, struct key_list *list)
{
    if (list->signer + 1 < list->count)
        return store_key_begin(db, lk_span_text(list->key[list->signer + 1].kid), call->now_s);
    list->count--; /* the compromised one makes room */
    return key_add(db, call, list, call->now_s);
}

static enum lk_err
key_compromised(struct store_db *db, struct http_call *call, struct key_list *list)
{
    struct rotation *r = call->op;
    size_t at = list->signer;
    int64_t until_s, longest_s = longest_life(call->config);
    enum lk_err err = LK_OK;

    if (r->kid[0] != '\0')
        for (at = 0; at < list->count && strcmp(list->key[at].kid, r->kid) != 0; at++)
            ;
    if (at == list->count)
        return http_problem_in(call, 404, "key_not_found", "no key has this kid");
    if (at == list->signer)
        err = signer_replace(db, call, list);
    if (err == LK_OK)
        err = store_tokens_until(db, &until_s);
    if (err != LK_OK)
        return err;
    if (until_s < call->now_s + longest_s)
        until_s = call->now_s + longest_s; /* the desk's tokens are in no table */
    return store_key_revoke(db, lk_span_text(list->key[at].kid), until_s);
}

/** On the writer's thread. */
static enum lk_err
rotation_write(struct store_db *db, struct http_call *call)
{
    const struct rotation *r = call->op;
    struct key_list list;
    enum lk_err err = list_read(db, call->now_s, &list);

    if (err == LK_OK && r->is_compromised)
        err = key_compromised(db, call, &list);
    else if (err == LK_OK && list.signer + 1 == list.count) /* else one is on its way: no other */
        err = key_add(db, call, &list, call->now_s + call->config->key_publish_s);
    if (err == LK_OK)
        err = list_read(db, call->now_s, &list);
    if (err == LK_OK)
        http_answer(call, 200, list_json(&list));
    return err;
}

/** Before the answer leaves, the new keys are in use here. */
static void
rotation_done(struct http_call *call)
{
    if (http_status(call) == 200 && service_ring_reload(call->service, call->db) != LK_OK)
        http_fail(call, LK_ERR_IO);
    http_send(call);
}

static bool
rotation_take(struct http_call *call, struct rotation *r)
{
    const json_t *compromised;
    struct json_take take;

    json_take_open(&take, call);
    compromised = json_take_any(&take, "compromised");
    if (json_is_string(compromised) && json_string_length(compromised) > 0 &&
        json_string_length(compromised) <= LK_KID_MAX)
        snprintf(r->kid, sizeof(r->kid), "%s", json_string_value(compromised));
    else if (compromised != NULL && !json_is_boolean(compromised))
        json_take_refuse(&take, "/compromised", "must be true, false or the kid of a key");
    r->is_compromised = json_is_true(compromised) || r->kid[0] != '\0';
    return json_take_close(&take);
}

static void
keys_rotate(struct http_call *call)
{
    struct rotation *r = http_room(call, sizeof(*r));
    enum lk_err err;

    call->op = r;
    if (r == NULL) {
        http_fail(call, LK_ERR_NOMEM);
        return;
    }
    if (!rotation_take(call, r))
        return;
    http_audit(call, r->is_compromised ? "key.compromised" : "key.rotate", lk_span_text(r->kid));
    err = ring_make(call->service->seal, LK_ALG_ES256, call->now_s, call->now_s, &r->made);
    if (err == LK_OK)
        http_write(call, rotation_write, rotation_done);
    else
        http_fail(call, err);
}

/* --- The end of old keys
 * -------------------------------------------------------------------------- */

struct retirement {
    int64_t longest_s, now_s;
};

static enum lk_err
retire_run(struct store_db *db, void *arg)
{
    const struct retirement *r = arg;

    return store_keys_retire(db, r->longest_s, r->now_s);
}

void
keys_sweep(struct service *service, struct store_db *db, int64_t now_s)
{
    struct retirement r = {.now_s = now_s};
    struct config *config;

    if (!store_keys_wait(db, now_s))
        return;
    config = service_config_hold(service);
    r.longest_s = longest_life(config);
    config_drop(config);
    if (store_write_wait(service->store, retire_run, &r) == LK_OK &&
        service_ring_reload(service, db) == LK_OK)
        lk_log(LK_LOG_INFO, "keys what=retire a replaced key was given an end, or came to it");
}

enum lk_err
keys_add_routes(struct router *router)
{
    static const struct http_route routes[] = {
        {"GET", "/v1/keys", "keys:write", HTTP_BODY_NONE, keys_get},
        {"POST", "/v1/keys/rotate", "keys:write", HTTP_BODY_JSON_IF_ANY, keys_rotate},
    };

    return router_add(router, routes, sizeof(routes) / sizeof(routes[0]));
}
