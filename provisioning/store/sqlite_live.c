/*
 * What changes with every message of a device: presence, last-seen, its latest telemetry.
 */
#include "sqlite.h"

#include <string.h>

enum lk_err
store_seen_put(struct store_db *db, struct lk_span device, int64_t seen_s)
{
    struct query q;

    /* "WHERE true" keeps the parser from reading ON CONFLICT as a join's ON. */
    query_open(&q, db,
               "INSERT INTO device_live (device, online, since_s, last_seen_s)"
               " SELECT id, 0, 0, ?2 FROM devices WHERE id = ?1 AND true"
               " ON CONFLICT (device) DO UPDATE SET last_seen_s = max(last_seen_s, ?2)");
    query_bind(&q, device);
    query_bind_int(&q, seen_s);
    return query_run_close_changed(&q);
}

enum lk_err
store_presence_put(struct store_db *db, struct lk_span device, bool online, int64_t since_s)
{
    struct query q;

    query_open(&q, db,
               "INSERT INTO device_live (device, online, since_s, last_seen_s)"
               " SELECT id, ?2, ?3, ?3 FROM devices WHERE id = ?1 AND true"
               " ON CONFLICT (device) DO UPDATE SET"
               " online = iif(?3 >= since_s, ?2, online), since_s = max(since_s, ?3),"
               " last_seen_s = max(last_seen_s, ?3)");
    query_bind(&q, device);
    query_bind_int(&q, online);
    query_bind_int(&q, since_s);
    return query_run_close_changed(&q);
}

enum lk_err
store_telemetry_put(struct store_db *db, struct lk_span device,
                    const struct store_telemetry *telemetry)
{
    struct query q;
    enum lk_err err;

    if (telemetry->payload.len > TELEMETRY_MAX)
        return LK_ERR_LIMIT;
    err = store_seen_put(db, device, telemetry->received_ms / 1000);
    if (err != LK_OK)
        return err;
    query_open(&q, db,
               "INSERT INTO telemetry_latest (device, received_ms, battery, rssi, payload)"
               " VALUES (?, ?, ?, ?, ?) ON CONFLICT (device) DO UPDATE SET"
               " received_ms = excluded.received_ms, payload = excluded.payload,"
               " battery = coalesce(excluded.battery, battery),"
               " rssi = coalesce(excluded.rssi, rssi)");
    query_bind(&q, device);
    query_bind_int(&q, telemetry->received_ms);
    query_bind_int_or_null(&q, telemetry->battery, STORE_NO_VALUE);
    query_bind_int_or_null(&q, telemetry->rssi, STORE_NO_VALUE);
    query_bind(&q, telemetry->payload);
    return query_run_close(&q);
}

static int32_t
reading(struct query *q)
{
    bool is_null = query_is_null(q);
    int64_t value = query_int(q);

    return is_null ? STORE_NO_VALUE : (int32_t)value;
}

enum lk_err
store_telemetry_get(struct store_db *db, struct lk_span device, struct lk_buf room,
                    struct store_telemetry *telemetry)
{
    struct query q;

    memset(telemetry, 0, sizeof(*telemetry));
    query_open(&q, db,
               "SELECT received_ms, battery, rssi, payload FROM telemetry_latest WHERE device = ?");
    query_bind(&q, device);
    if (query_next(&q)) {
        struct lk_span payload;

        telemetry->received_ms = query_int(&q);
        telemetry->battery = reading(&q);
        telemetry->rssi = reading(&q);
        payload = query_span(&q);
        if (payload.len > room.cap) {
            q.err = LK_ERR_NO_SPACE;
        } else if (payload.len > 0) {
            memcpy(room.ptr, payload.ptr, payload.len);
            telemetry->payload = lk_span_of(room.ptr, payload.len);
        }
    }
    return query_close_found(&q);
}
