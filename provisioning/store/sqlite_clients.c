#include "sqlite.h"

#include <string.h>

static enum lk_err
client_insert(struct store_db *db, const struct store_client *client)
{
    struct query q;

    query_open(&q, db,
               "INSERT INTO clients (id, tenant, role, name, scopes, lifetime_s, state, generation,"
               " secret_hash, created_s, created_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    query_bind_string(&q, client->id);
    query_bind_string(&q, client->tenant);
    query_bind_string(&q, client->role);
    query_bind_string(&q, client->name);
    query_bind_string(&q, client->scopes);
    query_bind_int(&q, client->lifetime_s);
    query_bind_int(&q, client->state);
    query_bind_int(&q, (int64_t)client->generation);
    query_bind_blob(&q, lk_span_of(client->secret_hash, sizeof(client->secret_hash)));
    query_bind_int(&q, client->created_s);
    query_bind_string(&q, client->created_by);
    return query_run_close(&q);
}

enum lk_err
store_client_put(struct store_db *db, const struct store_client *client)
{
    enum lk_err err = store_id_reserve(db, lk_span_text(client->id), "client");

    return err == LK_OK ? client_insert(db, client) : err;
}

#define CLIENT_SELECT                                                                              \
    "SELECT id, tenant, role, name, scopes, created_by, state, generation, lifetime_s, created_s," \
    " secret_hash, old_until_s, old_hash FROM clients "

static void
client_row(struct query *q, struct store_client *c)
{
    query_text(q, c->id, sizeof(c->id));
    query_text(q, c->tenant, sizeof(c->tenant));
    query_text(q, c->role, sizeof(c->role));
    query_text(q, c->name, sizeof(c->name));
    query_text(q, c->scopes, sizeof(c->scopes));
    query_text(q, c->created_by, sizeof(c->created_by));
    c->state = (enum store_state)query_int(q);
    c->generation = (uint64_t)query_int(q);
    c->lifetime_s = query_int(q);
    c->created_s = query_int(q);
    query_blob(q, c->secret_hash, sizeof(c->secret_hash));
    c->old_until_s = query_int(q);
    if (query_is_null(q))
        (void)query_int(q);
    else
        query_blob(q, c->old_hash, sizeof(c->old_hash));
}

enum lk_err
store_client_get(struct store_db *db, struct lk_span id, struct store_client *client)
{
    struct query q;
    enum lk_err err;

    memset(client, 0, sizeof(*client));
    query_open(&q, db, CLIENT_SELECT "WHERE id = ?");
    query_bind(&q, id);
    if (query_next(&q))
        client_row(&q, client);
    err = query_close_found(&q);
    if (err != LK_OK)
        memset(client, 0, sizeof(*client));
    return err;
}

enum lk_err
store_client_list(struct store_db *db, struct lk_span tenant, struct lk_span after, unsigned limit,
                  store_client_fn each, void *arg)
{
    struct store_client client = {.state = STORE_ACTIVE};
    struct query q;

    query_open(&q, db, CLIENT_SELECT "WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?");
    query_bind(&q, tenant);
    query_bind(&q, after);
    query_bind_int(&q, limit);
    while (query_next(&q)) {
        client_row(&q, &client);
        if (q.err == LK_OK)
            each(&client, arg);
    }
    return query_close(&q);
}

enum lk_err
store_client_set_state(struct store_db *db, struct lk_span id, enum store_state state,
                       int64_t now_s, struct store_client *client)
{
    struct query q;
    enum lk_err err = store_client_get(db, id, client);

    if (err != LK_OK || client->state == state)
        return err;
    query_open(&q, db, "UPDATE clients SET state = ? WHERE id = ?");
    query_bind_int(&q, state);
    query_bind(&q, id);
    err = query_run_close_changed(&q);
    if (err == LK_OK && state == STORE_SUSPENDED)
        err = store_tokens_end(db, STORE_CLIENT, id, now_s, false);
    return err == LK_OK ? store_client_get(db, id, client) : err;
}

enum lk_err
store_client_delete(struct store_db *db, struct lk_span id, int64_t now_s)
{
    struct query q;
    enum lk_err err = store_tokens_end(db, STORE_CLIENT, id, now_s, false);

    if (err != LK_OK)
        return err;
    query_open(&q, db, "DELETE FROM clients WHERE id = ?");
    query_bind(&q, id);
    return query_run_close_changed(&q);
}
