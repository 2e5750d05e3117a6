#include "sqlite.h"

#include <string.h>

#include <latchkey/crypto.h>
#include <latchkey/host/clock.h>

enum lk_err
store_command_new_id(char id[COMMAND_ID_LEN + 1])
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* sort as they count */
    uint8_t random[16];
    uint64_t now_ms = (uint64_t)lk_clock_wall_ms();
    enum lk_err err = lk_crypto_random(LK_BUF_OF(random));

    memset(id, 0, COMMAND_ID_LEN + 1);
    if (err != LK_OK)
        return err;
    for (size_t i = 0; i < 10; i++) /* 10 * 5 bits of milliseconds: until the year 37648 */
        id[i] = digits[(now_ms >> (45 - 5 * i)) & 31];
    for (size_t i = 0; i < 16; i++)
        id[10 + i] = digits[random[i] & 31];
    return LK_OK;
}

enum lk_err
store_command_count_open(struct store_db *db, struct lk_span device, uint64_t *count)
{
    struct query q;

    *count = 0;
    query_open(&q, db, "SELECT count(*) FROM commands WHERE device = ? AND state <= 2");
    query_bind(&q, device);
    if (query_next(&q))
        *count = (uint64_t)query_int(&q);
    return query_close_found(&q);
}

enum lk_err
store_command_put(struct store_db *db, const struct store_command *command, unsigned pending_max)
{
    struct query q;
    uint64_t open = 0;
    enum lk_err err = store_command_count_open(db, lk_span_text(command->device), &open);

    if (err != LK_OK)
        return err;
    if (open >= pending_max)
        return LK_ERR_LIMIT;
    query_open(&q, db,
               "INSERT INTO commands (id, device, name, args, sent_by, state, issued_s, expires_s,"
               " delivered_s, finished_s) VALUES (?, ?, ?, ?, ?, 1, ?, ?, 0, 0)");
    query_bind_string(&q, command->id);
    query_bind_string(&q, command->device);
    query_bind_string(&q, command->name);
    query_bind_or_null(&q, command->args);
    query_bind_string(&q, command->sent_by);
    query_bind_int(&q, command->issued_s);
    query_bind_int(&q, command->expires_s);
    return query_run_close(&q);
}

#define COMMAND_SELECT                                                                             \
    "SELECT id, device, name, sent_by, state, issued_s, expires_s, delivered_s, finished_s, args," \
    " detail FROM commands "

static void
command_row(struct query *q, struct store_command *c)
{
    query_text(q, c->id, sizeof(c->id));
    query_text(q, c->device, sizeof(c->device));
    query_text(q, c->name, sizeof(c->name));
    query_text(q, c->sent_by, sizeof(c->sent_by));
    c->state = (enum store_command_state)query_int(q);
    c->issued_s = query_int(q);
    c->expires_s = query_int(q);
    c->delivered_s = query_int(q);
    c->finished_s = query_int(q);
    c->args = query_span(q);
    c->detail = query_span(q);
}

static void
rows_tell(struct query *q, store_command_fn each, void *arg)
{
    struct store_command command;

    while (query_next(q)) {
        command_row(q, &command);
        if (q->err == LK_OK)
            each(&command, arg);
    }
}

/** Move a span into the room; false: it does not fit. */
static bool
span_keep(struct lk_span *span, struct lk_buf *room)
{
    if (span->ptr == NULL)
        return true;
    if (span->len > room->cap)
        return false;
    if (span->len > 0)
        memcpy(room->ptr, span->ptr, span->len);
    span->ptr = room->ptr;
    room->ptr += span->len;
    room->cap -= span->len;
    return true;
}

enum lk_err
store_command_get(struct store_db *db, struct lk_span id, struct lk_buf room,
                  struct store_command *command)
{
    struct query q;
    enum lk_err err;

    memset(command, 0, sizeof(*command));
    query_open(&q, db, COMMAND_SELECT "WHERE id = ?");
    query_bind(&q, id);
    if (query_next(&q)) {
        command_row(&q, command);
        if (!span_keep(&command->args, &room) || !span_keep(&command->detail, &room))
            q.err = LK_ERR_NO_SPACE;
    }
    err = query_close_found(&q);
    if (err != LK_OK)
        memset(command, 0, sizeof(*command));
    return err;
}

static enum lk_err
command_state(struct store_db *db, struct lk_span device, struct lk_span id,
              enum store_command_state *state)
{
    struct query q;

    *state = STORE_COMMAND_PENDING;
    query_open(&q, db, "SELECT state FROM commands WHERE id = ?1 AND (?2 = '' OR device = ?2)");
    query_bind(&q, id);
    query_bind(&q, device);
    if (query_next(&q))
        *state = (enum store_command_state)query_int(&q);
    return query_close_found(&q);
}

enum lk_err
store_command_set_state(struct store_db *db, struct lk_span device, struct lk_span id,
                        enum store_command_state state, struct lk_span detail, int64_t now_s)
{
    enum store_command_state before;
    bool ends = state > STORE_COMMAND_DELIVERED;
    struct query q;
    enum lk_err err = command_state(db, device, id, &before);

    if (err != LK_OK)
        return err;
    /* The states are numbered in the only order they can follow each other; all beyond delivered
     * are ends. */
    if (before > STORE_COMMAND_DELIVERED || state <= before)
        return LK_ERR_STATE;
    if (detail.len > COMMAND_DETAIL_MAX)
        return LK_ERR_LIMIT;
    query_open(&q, db,
               "UPDATE commands SET state = ?, detail = coalesce(?, detail),"
               " delivered_s = iif(delivered_s = 0, ?, delivered_s), finished_s = ? WHERE id = ?");
    query_bind_int(&q, state);
    query_bind_or_null(&q, detail);
    /* A result without a "received" before it proves the delivery too; an expiry proves nothing. */
    query_bind_int(&q, state <= STORE_COMMAND_FAILED ? now_s : 0);
    query_bind_int(&q, ends ? now_s : 0);
    query_bind(&q, id);
    return query_run_close_changed(&q);
}

enum lk_err
store_command_list(struct store_db *db, struct lk_span device, struct lk_span before,
                   unsigned limit, store_command_fn each, void *arg)
{
    struct query q;

    query_open(&q, db,
               COMMAND_SELECT
               "WHERE device = ?1 AND (?2 = '' OR id < ?2) ORDER BY id DESC LIMIT ?");
    query_bind(&q, device);
    query_bind(&q, before);
    query_bind_int(&q, limit);
    rows_tell(&q, each, arg);
    return query_close(&q);
}

enum lk_err
store_command_pending(struct store_db *db, struct lk_span device, struct lk_span after,
                      int64_t now_s, unsigned limit, store_command_fn each, void *arg)
{
    struct query q;

    if (device.len > 0) {
        query_open(&q, db,
                   COMMAND_SELECT "WHERE device = ? AND state <= 2 AND state = 1 AND id > ?"
                                  " AND expires_s > ? ORDER BY id LIMIT ?");
        query_bind(&q, device);
    } else {
        query_open(&q, db,
                   COMMAND_SELECT "WHERE state = 1 AND id > ? AND expires_s > ?"
                                  " ORDER BY id LIMIT ?");
    }
    query_bind(&q, after);
    query_bind_int(&q, now_s);
    query_bind_int(&q, limit);
    rows_tell(&q, each, arg);
    return query_close(&q);
}

enum lk_err
store_command_expire(struct store_db *db, int64_t now_s, unsigned limit, store_command_fn each,
                     void *arg)
{
    struct query q;

    query_open(&q, db,
               "UPDATE commands SET state = 5, finished_s = ?1 WHERE id IN (SELECT id FROM commands"
               " WHERE state <= 2 AND expires_s <= ?1 ORDER BY expires_s LIMIT ?2)"
               " RETURNING id, device, name, sent_by, state, issued_s, expires_s, delivered_s,"
               " finished_s, NULL, NULL");
    query_bind_int(&q, now_s);
    query_bind_int(&q, limit);
    rows_tell(&q, each, arg);
    return query_close(&q);
}

/* --- When a pending command is to be published: due_s ------------------------------------------
 *
 * 0 when it is new, STORE_NEVER_DUE once the broker has it, a time in between while nobody listens.
 */

enum lk_err
store_command_due(struct store_db *db, int64_t now_s, unsigned limit, store_command_fn each,
                  void *arg)
{
    struct query q;

    query_open(&q, db,
               COMMAND_SELECT "WHERE state = 1 AND due_s <= ?1 AND expires_s > ?1"
                              " ORDER BY due_s, id LIMIT ?2");
    query_bind_int(&q, now_s);
    query_bind_int(&q, limit);
    rows_tell(&q, each, arg);
    return query_close(&q);
}

enum lk_err
store_command_defer(struct store_db *db, struct lk_span id, int64_t due_s)
{
    struct query q;

    query_open(&q, db, "UPDATE commands SET due_s = ?2 WHERE id = ?1 AND state = 1");
    query_bind(&q, id);
    query_bind_int(&q, due_s);
    return query_run_close(&q);
}

enum lk_err
store_command_undefer(struct store_db *db, struct lk_span device, bool also_never)
{
    struct query q;
    bool is_all = device.ptr == NULL;

    if (is_all)
        query_open(&q, db,
                   "UPDATE commands SET due_s = 0 WHERE state = 1 AND due_s BETWEEN 1 AND ?1");
    else
        query_open(&q, db,
                   /* state <= 2 lets it use the index of open commands by device */
                   "UPDATE commands SET due_s = 0 WHERE state = 1 AND due_s BETWEEN 1 AND ?1"
                   " AND device = ?2 AND state <= 2");
    query_bind_int(&q, also_never ? STORE_NEVER_DUE : STORE_NEVER_DUE - 1);
    if (!is_all)
        query_bind(&q, device);
    return query_run_close(&q);
}
