#include "sqlite.h"

#include <stdlib.h>
#include <string.h>

#include <latchkey/json.h>

/* --- Putting ------------------------------------------------------------------------------- */

enum lk_err
store_id_reserve(struct store_db *db, struct lk_span id, const char *kind)
{
    struct query q;

    query_open(&q, db, "INSERT INTO ids (id, kind) VALUES (?, ?)");
    query_bind(&q, id);
    query_bind_string(&q, kind);
    return query_run_close(&q);
}

enum lk_err
store_id_kind(struct store_db *db, struct lk_span id, char *kind, size_t size)
{
    struct query q;

    query_open(&q, db, "SELECT kind FROM ids WHERE id = ?");
    query_bind(&q, id);
    if (query_next(&q))
        query_text(&q, kind, size);
    return query_close_found(&q);
}

static enum lk_err
tag_put(struct store_db *db, const char *device, struct lk_span tag)
{
    struct query q;

    query_open(&q, db, "INSERT OR IGNORE INTO device_tags (tag, device) VALUES (?, ?)");
    query_bind(&q, tag);
    query_bind_string(&q, device);
    return query_run_close(&q);
}

static enum lk_err
tags_put(struct store_db *db, const struct store_device *device)
{
    char text[TAGS_TEXT_MAX + 1];
    struct lk_json r;
    enum lk_err err = LK_OK, end;

    memcpy(text, device->tags, sizeof(text)); /* the reader unescapes in place */
    lk_json_open(&r, (uint8_t *)text, strlen(text));
    lk_json_enter_array(&r);
    while (err == LK_OK && lk_json_next_item(&r)) {
        struct lk_span tag = lk_json_string(&r);

        if (r.err == LK_OK)
            err = tag_put(db, device->id, tag);
    }
    lk_json_leave_array(&r);
    end = lk_json_close(&r);
    return err != LK_OK ? err : end;
}

static enum lk_err
device_insert(struct store_db *db, const struct store_device *device, struct lk_span psk_sealed)
{
    struct query q;

    query_open(&q, db,
               "INSERT INTO devices (id, tenant, type, name, location, parent, tags, state,"
               " generation, secret_hash, psk, registered_s, registered_by)"
               " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    query_bind_string(&q, device->id);
    query_bind_string(&q, device->tenant);
    query_bind_string(&q, device->type);
    query_bind_string(&q, device->name);
    query_bind_string(&q, device->location);
    query_bind_string(&q, device->parent);
    query_bind_string(&q, device->tags);
    query_bind_int(&q, device->state);
    query_bind_int(&q, (int64_t)device->generation);
    query_bind_blob(&q, lk_span_of(device->secret_hash, sizeof(device->secret_hash)));
    query_bind_blob(&q, psk_sealed);
    query_bind_int(&q, device->registered_s);
    query_bind_string(&q, device->registered_by);
    return query_run_close(&q);
}

enum lk_err
store_device_put(struct store_db *db, const struct store_device *device, struct lk_span psk_sealed)
{
    enum lk_err err = store_id_reserve(db, lk_span_text(device->id), "device");

    if (err == LK_OK)
        err = device_insert(db, device, psk_sealed);
    if (err == LK_OK && strcmp(device->tags, "[]") != 0)
        err = tags_put(db, device);
    return err;
}

/* --- Reading ------------------------------------------------------------------------------- */

#define DEVICE_STATE "iif(d.deleted_s > 0, 3, d.state)"
#define DEVICE_COLUMNS                                                                             \
    "d.id, d.tenant, d.type, d.name, d.location, d.parent, d.tags, d.registered_by,"               \
    " " DEVICE_STATE ", d.generation, d.registered_s, d.secret_hash, d.old_until_s, d.old_hash,"   \
    " coalesce(l.online, 0), coalesce(l.since_s, 0), coalesce(l.last_seen_s, 0)"
#define DEVICE_FROM " FROM devices d LEFT JOIN device_live l ON l.device = d.id "

static void
device_row(struct query *q, struct store_device *d)
{
    query_text(q, d->id, sizeof(d->id));
    query_text(q, d->tenant, sizeof(d->tenant));
    query_text(q, d->type, sizeof(d->type));
    query_text(q, d->name, sizeof(d->name));
    query_text(q, d->location, sizeof(d->location));
    query_text(q, d->parent, sizeof(d->parent));
    query_text(q, d->tags, sizeof(d->tags));
    query_text(q, d->registered_by, sizeof(d->registered_by));
    d->state = (enum store_state)query_int(q);
    d->generation = (uint64_t)query_int(q);
    d->registered_s = query_int(q);
    query_blob(q, d->secret_hash, sizeof(d->secret_hash));
    d->old_until_s = query_int(q);
    if (query_is_null(q))
        (void)query_int(q);
    else
        query_blob(q, d->old_hash, sizeof(d->old_hash));
    d->online = query_int(q) != 0;
    d->online_since_s = query_int(q);
    d->last_seen_s = query_int(q);
}

enum lk_err
store_device_get(struct store_db *db, struct lk_span id, struct store_device *device)
{
    struct query q;
    enum lk_err err;

    memset(device, 0, sizeof(*device));
    query_open(&q, db, "SELECT " DEVICE_COLUMNS DEVICE_FROM "WHERE d.id = ?");
    query_bind(&q, id);
    if (query_next(&q))
        device_row(&q, device);
    err = query_close_found(&q);
    if (err != LK_OK)
        memset(device, 0, sizeof(*device));
    return err;
}

/*
 * Three ways in, each along an index; the rest of the filter is applied to the rows met.
 * Parameters: 1 tenant, 2 after, 3 type or tag, 4 state, 5 query, 6 limit.
 */
#define FILTER_REST                                                                                \
    " AND iif(?4 = 0, d.deleted_s = 0, " DEVICE_STATE " = ?4)"                                     \
    " AND (?5 = '' OR instr(lower(d.id), lower(?5)) > 0 OR instr(lower(d.name), lower(?5)) > 0)"
#define BY_TENANT "WHERE d.tenant = ?1 AND d.id > ?2 AND ?3 = ''" FILTER_REST
#define BY_TYPE   "WHERE d.tenant = ?1 AND d.type = ?3 AND d.id > ?2" FILTER_REST
#define BY_TAG                                                                                     \
    "JOIN device_tags t ON t.device = d.id WHERE d.tenant = ?1 AND t.tag = ?3 AND t.device > ?2"   \
    " AND (?7 = '' OR d.type = ?7)" FILTER_REST
#define ORDER_ID  " ORDER BY d.id LIMIT ?6"
#define ORDER_TAG " ORDER BY t.device LIMIT ?6"

static void
filter_bind(struct query *q, const struct store_device_filter *f, bool by_tag)
{
    query_bind(q, f->tenant);
    query_bind(q, f->after);
    query_bind(q, by_tag ? f->tag : f->type);
    query_bind_int(q, f->state);
    query_bind(q, f->query);
}

enum lk_err
store_device_list(struct store_db *db, const struct store_device_filter *filter,
                  store_device_fn each, void *arg)
{
    struct store_device device = {.state = STORE_ACTIVE};
    struct query q;
    bool by_tag = filter->tag.len > 0;

    if (by_tag)
        query_open(&q, db, "SELECT " DEVICE_COLUMNS DEVICE_FROM BY_TAG ORDER_TAG);
    else if (filter->type.len > 0)
        query_open(&q, db, "SELECT " DEVICE_COLUMNS DEVICE_FROM BY_TYPE ORDER_ID);
    else
        query_open(&q, db, "SELECT " DEVICE_COLUMNS DEVICE_FROM BY_TENANT ORDER_ID);
    filter_bind(&q, filter, by_tag);
    query_bind_int(&q, filter->limit);
    if (by_tag)
        query_bind(&q, filter->type);
    while (query_next(&q)) {
        device_row(&q, &device);
        if (q.err == LK_OK)
            each(&device, arg);
    }
    return query_close(&q);
}

enum lk_err
store_device_count(struct store_db *db, const struct store_device_filter *filter, uint64_t *count)
{
    struct store_device_filter all = *filter;
    struct query q;
    bool by_tag = filter->tag.len > 0;

    *count = 0;
    all.after = LK_SPAN("");
    if (by_tag)
        query_open(&q, db, "SELECT count(*) FROM devices d " BY_TAG " AND ?6 = 0");
    else if (filter->type.len > 0)
        query_open(&q, db, "SELECT count(*) FROM devices d " BY_TYPE);
    else
        query_open(&q, db, "SELECT count(*) FROM devices d " BY_TENANT);
    filter_bind(&q, &all, by_tag);
    if (by_tag) {
        query_bind_int(&q, 0);
        query_bind(&q, filter->type);
    }
    if (query_next(&q))
        *count = (uint64_t)query_int(&q);
    return query_close_found(&q);
}

enum lk_err
store_children_get(struct store_db *db, struct lk_span parent, struct store_children *children)
{
    struct query q;

    children->count = 0;
    query_open(&q, db,
               "SELECT id FROM devices WHERE parent = ? AND parent <> '' AND state = 1"
               " AND deleted_s = 0"
               " ORDER BY id LIMIT ?");
    query_bind(&q, parent);
    query_bind_int(&q, LK_CHILDREN_MAX + 1);
    while (query_next(&q)) {
        if (children->count == LK_CHILDREN_MAX)
            q.err = LK_ERR_LIMIT;
        else
            query_text(&q, children->id[children->count++], sizeof(children->id[0]));
    }
    return query_close(&q);
}

enum lk_err
store_children_count(struct store_db *db, struct lk_span parent, uint64_t *count)
{
    struct query q;

    *count = 0;
    query_open(&q, db,
               "SELECT count(*) FROM devices WHERE parent = ? AND parent <> '' AND deleted_s = 0");
    query_bind(&q, parent);
    if (query_next(&q))
        *count = (uint64_t)query_int(&q);
    return query_close_found(&q);
}

/* --- State --------------------------------------------------------------------------------- */

static enum lk_err
state_update(struct store_db *db, struct lk_span id, enum store_state state)
{
    struct query q;

    query_open(&q, db, "UPDATE devices SET state = ? WHERE id = ?");
    query_bind_int(&q, state);
    query_bind(&q, id);
    return query_run_close_changed(&q);
}

static enum lk_err
deleted_update(struct store_db *db, struct lk_span id, int64_t deleted_s)
{
    struct query q;

    query_open(&q, db, "UPDATE devices SET deleted_s = ? WHERE id = ?");
    query_bind_int(&q, deleted_s);
    query_bind(&q, id);
    return query_run_close_changed(&q);
}

enum lk_err
store_device_set_state(struct store_db *db, struct lk_span id, enum store_state state,
                       int64_t now_s, struct store_device *device)
{
    enum lk_err err = store_device_get(db, id, device);

    if (err != LK_OK || device->state == state)
        return err; /* said again: nothing changes, and that is a success */
    if (device->state == STORE_DELETED)
        return LK_ERR_NOT_FOUND;
    err = state_update(db, id, state);
    /* Tokens from before a suspension stay worthless after it. */
    if (err == LK_OK && state == STORE_SUSPENDED)
        err = store_tokens_end(db, STORE_DEVICE, id, now_s, false);
    return err == LK_OK ? store_device_get(db, id, device) : err;
}

enum lk_err
store_device_delete(struct store_db *db, struct lk_span id, int64_t now_s)
{
    struct store_device device;
    enum lk_err err = store_device_get(db, id, &device);

    if (err != LK_OK || device.state == STORE_DELETED)
        return err;
    err = deleted_update(db, id, now_s);
    return err == LK_OK ? store_tokens_end(db, STORE_DEVICE, id, now_s, false) : err;
}

enum lk_err
store_device_restore(struct store_db *db, struct lk_span id)
{
    return deleted_update(db, id, 0);
}

enum lk_err
store_device_purge(struct store_db *db, struct lk_span id, int64_t now_s)
{
    static const char *const steps[] = {
        "DELETE FROM device_tags WHERE device = ?",
        "DELETE FROM device_live WHERE device = ?",
        "DELETE FROM telemetry_latest WHERE device = ?",
        "DELETE FROM commands WHERE device = ?",
        "DELETE FROM denials WHERE device = ?",
        "UPDATE devices SET parent = '' WHERE parent = ? AND parent <> ''",
        "DELETE FROM devices WHERE id = ?",
    };
    enum lk_err err = store_tokens_end(db, STORE_DEVICE, id, now_s, false);

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && err == LK_OK; i++) {
        struct query q;

        query_open(&q, db, steps[i]);
        query_bind(&q, id);
        err = query_run_close(&q);
    }
    return err;
}
