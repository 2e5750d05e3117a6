#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <latchkey/cbor.h>
#include <latchkey/host/clock.h>

#include "log.h"
#include "plugin.h"
#include "seal.h"

#define RECORD_ITEMS 6

/* --- writing -------------------------------------------------------------------------------- */

static enum lk_err
record_write(const struct session *s, struct lk_buf room, struct lk_span *out)
{
    struct lk_cbor_out w;

    lk_cbor_write_open(&w, room);
    lk_cbor_write_array(&w, RECORD_ITEMS);
    lk_cbor_write_bytes(&w, lk_span_of(s->id, s->id_len));
    lk_cbor_write_bytes(&w, session_subject(s));
    lk_cbor_write_bytes(&w, session_identity(s));
    lk_cbor_write_int(&w, s->expires_s);
    lk_cbor_write_uint(&w, s->generation);
    lk_cbor_write_bytes(&w, lk_span_of(s->token_id, sizeof(s->token_id)));
    return lk_cbor_write_close(&w, out);
}

/* Room for one more record; false: no chunk is free, try again in another turn. */
static bool
chunk_ready(struct plugin *p)
{
    struct state *st = &p->state;

    if (st->chunk != NULL && sizeof(st->chunk->bytes) - st->chunk->len >= STATE_RECORD_MAX)
        return true;
    if (st->chunk != NULL)
        worker_chunk_put(p->worker, st->chunk);
    st->chunk = worker_chunk_get(p->worker);
    if (st->chunk == NULL)
        return false;
    st->chunk->first = st->is_first;
    st->is_first = false;
    return true;
}

static void
chunk_append(struct state_chunk *chunk, struct lk_span record)
{
    memcpy(chunk->bytes + chunk->len, record.ptr, record.len);
    chunk->len += record.len;
}

static bool
save_one(void *context, struct session *s)
{
    struct plugin *p = context;
    uint8_t room[STATE_RECORD_MAX];
    struct lk_span record;

    if (s->state == SESSION_DYING || s->superseded)
        return true;
    if (p->state.turn_left == 0 || !chunk_ready(p)) {
        p->state.paused = true;
        return false;
    }
    if (record_write(s, LK_BUF_OF(room), &record) == LK_OK)
        chunk_append(p->state.chunk, record);
    p->state.turn_left--;
    return true;
}

/* The clock goes in front, in a chunk of its own. */
static bool
save_begin(struct plugin *p)
{
    struct state *st = &p->state;
    struct lk_cbor_out w;
    struct lk_span record;
    int64_t now_s = lk_clock_wall_s();

    st->is_first = true;
    st->walk_at = 0;
    st->walked = false;
    st->changes = p->sessions.changes;
    st->chunk = worker_chunk_get(p->worker);
    if (st->chunk == NULL)
        return false;
    st->chunk->first = true;
    st->is_first = false;
    lk_cbor_write_open(&w, LK_BUF_OF(st->chunk->bytes));
    lk_cbor_write_int(&w, now_s > p->clock_floor_s ? now_s : p->clock_floor_s);
    if (lk_cbor_write_close(&w, &record) == LK_OK)
        st->chunk->len = record.len;
    st->saving = true;
    return true;
}

static void
save_end(struct plugin *p, int64_t now_ms)
{
    struct state *st = &p->state;

    if (st->chunk == NULL)
        st->chunk = worker_chunk_get(p->worker);
    if (st->chunk == NULL)
        return; /* the next turn */
    st->chunk->last = true;
    worker_chunk_put(p->worker, st->chunk);
    st->chunk = NULL;
    st->saving = false;
    st->saved = st->changes;
    st->saved_ms = now_ms;
}

void
state_turn(struct plugin *p, int64_t now_ms)
{
    struct state *st = &p->state;

    if (p->worker == NULL)
        return;
    if (!st->saving && (p->sessions.changes == st->saved ||
                        now_ms - st->saved_ms < STATE_INTERVAL_MS || !save_begin(p)))
        return;
    st->turn_left = TURN_SAVED;
    st->paused = false;
    if (!st->walked) {
        sessions_walk(&p->sessions, &st->walk_at, TURN_BUCKETS, save_one, p);
        st->walked = st->walk_at == 0 && !st->paused; /* it has come round */
    }
    if (st->walked)
        save_end(p, now_ms);
}

/* The broker is going down: nobody is served any more, so waiting for the worker is fine. */
void
state_finish(struct plugin *p)
{
    struct timespec pause = {0, 1000000};
    int64_t now_ms = lk_clock_monotonic_ms();

    if (p->worker == NULL)
        return;
    p->state.saved_ms = now_ms - STATE_INTERVAL_MS;
    for (unsigned i = 0; i < STATE_FINISH_MS; i++) {
        state_turn(p, now_ms);
        if (!p->state.saving && p->state.saved == p->sessions.changes)
            return;
        (void)nanosleep(&pause, NULL);
    }
}

/* --- reading -------------------------------------------------------------------------------- */

struct record {
    struct lk_span id, subject, identity, token_id;
    int64_t expires_s;
    uint64_t generation;
};

static void
record_read(struct lk_cbor *r, struct record *record)
{
    if (lk_cbor_enter_array(r) != RECORD_ITEMS && r->err == LK_OK)
        r->err = LK_ERR_MALFORMED;
    record->id = lk_cbor_bytes(r);
    record->subject = lk_cbor_bytes(r);
    record->identity = lk_cbor_bytes(r);
    record->expires_s = lk_cbor_int(r);
    record->generation = lk_cbor_uint(r);
    record->token_id = lk_cbor_bytes(r);
    lk_cbor_leave_array(r);
    if (r->err == LK_OK &&
        (record->id.len == 0 || record->id.len > CLIENT_ID_MAX || record->subject.len == 0 ||
         record->subject.len > LK_SUBJECT_MAX || memchr(record->id.ptr, 0, record->id.len) != NULL))
        r->err = LK_ERR_MALFORMED;
}

static enum lk_err
record_enter(struct plugin *p, const struct record *record, bool delivery_only)
{
    struct session_facts facts = {.id = record->id,
                                  .subject = record->subject,
                                  .identity = record->identity,
                                  .expires_s = record->expires_s,
                                  .generation = record->generation,
                                  .policy_serial = p->policy_serial};
    size_t most = (size_t)p->options.max_connections_per_subject * SUBJECT_SESSIONS;
    struct session *s;
    enum lk_err err = lk_identity_read(record->identity, &p->identity);

    if (err == LK_OK)
        err = grants_compile(&p->grants, &p->policy, &p->identity, &facts.shape, &facts.values);
    if (err != LK_OK)
        return err;
    if (record->token_id.len == sizeof(facts.token_id))
        memcpy(facts.token_id, record->token_id.ptr, sizeof(facts.token_id));
    err = sessions_add(&p->sessions, &facts, most, lk_clock_monotonic_ms(), &s);
    if (err == LK_OK)
        s->delivery_only = delivery_only;
    return err;
}

static size_t
chunk_load(struct plugin *p, struct lk_span chunk, bool delivery_only)
{
    size_t count = 0;

    while (chunk.len > 0) {
        struct record record = {0};
        struct lk_cbor r;
        struct lk_span item;

        lk_cbor_open(&r, chunk);
        if (lk_cbor_peek(&r) == LK_CBOR_UINT) {
            int64_t then_s = lk_cbor_int(&r);

            if (r.err == LK_OK && !delivery_only && then_s > p->clock_floor_s)
                p->clock_floor_s = then_s;
        } else {
            record_read(&r, &record);
            if (r.err == LK_OK && record_enter(p, &record, delivery_only) == LK_OK)
                count++;
        }
        item = lk_span_of(r.pos, (size_t)(r.end - r.pos));
        if (r.err != LK_OK || item.len >= chunk.len)
            break; /* what follows cannot be found any more */
        chunk = item;
    }
    return count;
}

void
state_load(struct plugin *p, struct lk_span secret)
{
    static uint8_t room[STATE_CHUNK]; /* used once, before any other thread */
    char path[OPTION_TEXT_MAX + 32];
    uint8_t key[SEAL_KEY_LEN];
    struct lk_span chunk;
    struct seal seal;
    size_t count = 0;
    enum lk_err err;

    (void)snprintf(path, sizeof(path), "%s/" STATE_FILE, p->options.state_dir);
    err = seal_derive(secret, STATE_PURPOSE, key);
    if (err == LK_OK)
        err = seal_open(&seal, path, key, LK_BUF_OF(room));
    lk_wipe(key, sizeof(key));
    if (err == LK_ERR_NOT_FOUND)
        return;
    if (err != LK_OK) {
        log_line(LK_LOG_ERROR, "state file=%s ignored reason=%s %s", path, lk_err_name(err),
                 lk_err_text(err));
        return;
    }
    while (seal_next(&seal, LK_BUF_OF(room), &chunk))
        count += chunk_load(p, chunk, secret.len == 0);
    seal_close(&seal);
    log_line(LK_LOG_INFO, "state file=%s sessions=%zu", path, count);
}
