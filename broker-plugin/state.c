#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <latchkey/cbor.h>
#include <latchkey/host/file.h>

#include "compat.h"

#define FORMAT_VERSION 1

/* --- the folder ---------------------------------------------------------------------------- */

static enum lk_err
lock(struct state *state, const char *dir)
{
    char path[OPTION_TEXT_MAX + 32];

    (void)snprintf(path, sizeof(path), "%s/lock", dir);
    state->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (state->lock_fd < 0)
        return LK_ERR_IO;
    if (flock(state->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return LK_OK;
    return errno == EWOULDBLOCK ? LK_ERR_BUSY : LK_ERR_IO;
}

enum lk_err
state_open(struct state *state, const char *dir, struct lk_span secret)
{
    enum lk_err err;

    *state = (struct state){.lock_fd = -1, .has_secret = secret.len > 0};
    err = lk_dir_make(dir);
    if (err == LK_OK)
        err = lock(state, dir);
    if (err == LK_OK)
        err = seal_derive(secret, STATE_KEYS_PURPOSE, state->keys_key);
    if (err == LK_OK)
        err = seal_derive(secret, STATE_SESSIONS_PURPOSE, state->sessions_key);
    if (err == LK_OK)
        err = seal_derive(secret, STATE_REVOCATIONS_PURPOSE, state->revocations_key);
    if (err != LK_OK) {
        state_close(state);
        return err;
    }
    (void)snprintf(state->keys_path, sizeof(state->keys_path), "%s/keys", dir);
    (void)snprintf(state->sessions_path, sizeof(state->sessions_path), "%s/sessions", dir);
    (void)snprintf(state->revocations_path, sizeof(state->revocations_path), "%s/revocations", dir);
    state->enabled = true;
    return LK_OK;
}

void
state_close(struct state *state)
{
    if (state->lock_fd >= 0)
        (void)close(state->lock_fd);
    lk_wipe(state, sizeof(*state));
    state->lock_fd = -1;
}

/* --- heads --------------------------------------------------------------------------------- */

/* Every file begins with what it is, whose, and from when. */
static void
write_head(struct lk_cbor_out *w, const char *purpose, const char *issuer, int64_t now_s)
{
    lk_cbor_write_array(w, 4);
    lk_cbor_write_uint(w, FORMAT_VERSION);
    lk_cbor_write_text(w, lk_span_text(purpose));
    lk_cbor_write_text(w, lk_span_text(issuer));
    lk_cbor_write_int(w, now_s);
}

static bool
read_head(struct lk_cbor *r, const char *purpose, const char *issuer, int64_t *saved_s)
{
    bool ours;

    ours = lk_cbor_enter_array(r) == 4 && lk_cbor_uint(r) == FORMAT_VERSION;
    ours = lk_span_is(lk_cbor_text(r), purpose) && ours;
    ours = lk_span_is(lk_cbor_text(r), issuer) && ours;
    *saved_s = lk_cbor_int(r);
    lk_cbor_leave_array(r);
    return ours && r->err == LK_OK;
}

/* --- keys ---------------------------------------------------------------------------------- */

enum lk_err
state_save_keys(const struct state *state, const char *issuer, int64_t now_s, struct lk_span jwks)
{
    uint8_t room[2 * OPTION_TEXT_MAX];
    struct lk_cbor_out w;
    struct lk_span head;
    struct seal seal = {.file = NULL};
    enum lk_err err;

    lk_cbor_write_open(&w, LK_BUF_OF(room));
    write_head(&w, STATE_KEYS_PURPOSE, issuer, now_s);
    err = lk_cbor_write_close(&w, &head);
    if (err == LK_OK)
        err = seal_create(&seal, state->keys_path, state->keys_key);
    if (err == LK_OK)
        err = seal_add(&seal, head);
    if (err == LK_OK)
        err = seal_add(&seal, jwks);
    if (err == LK_OK)
        return seal_commit(&seal);
    seal_abort(&seal);
    return err;
}

enum lk_err
state_load_keys(const struct state *state, const char *issuer, struct lk_buf room, int64_t *saved_s,
                struct lk_span *jwks)
{
    struct lk_span head;
    struct lk_cbor r;
    struct seal seal;
    enum lk_err err;

    *jwks = (struct lk_span){NULL, 0};
    *saved_s = 0;
    err = seal_open(&seal, state->keys_path, state->keys_key, room);
    if (err != LK_OK)
        return err;
    err = LK_ERR_NOT_FOUND;
    if (!seal_next(&seal, room, &head))
        goto out;
    lk_cbor_open(&r, head);
    if (read_head(&r, STATE_KEYS_PURPOSE, issuer, saved_s) && seal_next(&seal, room, jwks))
        err = LK_OK;
out:
    seal_close(&seal);
    return err;
}

/* --- revocations --------------------------------------------------------------------------- */

#define REVOCATION_RECORD_MAX 64 /* bytes of one entry in the file */

struct listing {
    struct seal *seal;
    struct lk_cbor_out w;
    struct lk_buf room;
    enum lk_err err;
};

static void
write_position(struct lk_cbor_out *w, const struct feed_position *position,
               const struct revocations *set)
{
    lk_cbor_write_array(w, 5);
    lk_cbor_write_text(w, lk_span_text(position->epoch));
    lk_cbor_write_int(w, position->seq);
    lk_cbor_write_int(w, position->answered_s);
    lk_cbor_write_int(w, set->issued_before_s);
    lk_cbor_write_int(w, set->issued_until_s);
}

static void
flush_listing(struct listing *l)
{
    struct lk_span filled;

    if (l->err == LK_OK)
        l->err = lk_cbor_write_close(&l->w, &filled);
    if (l->err == LK_OK && filled.len > 0)
        l->err = seal_add(l->seal, filled);
    lk_cbor_write_open(&l->w, l->room);
}

static bool
write_revocation(void *context, const struct revocation *r)
{
    struct listing *l = context;

    if (l->room.cap - l->w.len < REVOCATION_RECORD_MAX)
        flush_listing(l);
    lk_cbor_write_array(&l->w, 4);
    lk_cbor_write_uint(&l->w, r->kind);
    lk_cbor_write_bytes(&l->w, lk_span_of(r->key, sizeof(r->key)));
    lk_cbor_write_uint(&l->w, r->gen_before);
    lk_cbor_write_int(&l->w, r->until_s);
    return l->err == LK_OK;
}

enum lk_err
state_save_revocations(const struct state *state, const char *issuer, int64_t now_s,
                       const struct feed_position *position, const struct revocations *set)
{
    struct seal seal = {.file = NULL};
    struct listing l = {.seal = &seal, .room = {malloc(STATE_CHUNK), STATE_CHUNK}};

    if (l.room.ptr == NULL)
        return LK_ERR_NOMEM;
    l.err = seal_create(&seal, state->revocations_path, state->revocations_key);
    lk_cbor_write_open(&l.w, l.room);
    write_head(&l.w, STATE_REVOCATIONS_PURPOSE, issuer, now_s);
    write_position(&l.w, position, set);
    flush_listing(&l);
    (void)revocations_each(set, write_revocation, &l);
    flush_listing(&l);
    free(l.room.ptr);
    if (l.err == LK_OK)
        return seal_commit(&seal);
    seal_abort(&seal);
    return l.err;
}

static bool
read_position(struct lk_cbor *r, struct revocations *set, struct feed_position *position)
{
    struct lk_span epoch;

    (void)lk_cbor_enter_array(r);
    epoch = lk_cbor_text(r);
    position->seq = lk_cbor_int(r);
    position->answered_s = lk_cbor_int(r);
    set->issued_before_s = lk_cbor_int(r);
    set->issued_until_s = lk_cbor_int(r);
    lk_cbor_leave_array(r);
    if (r->err != LK_OK || epoch.len > FEED_EPOCH_MAX)
        return false;
    if (epoch.len > 0)
        memcpy(position->epoch, epoch.ptr, epoch.len);
    return true;
}

static bool
read_revocation(struct lk_cbor *r, struct revocations *set)
{
    struct lk_span key;
    uint64_t kind, gen_before;
    int64_t until_s;

    (void)lk_cbor_enter_array(r);
    kind = lk_cbor_uint(r);
    key = lk_cbor_bytes(r);
    gen_before = lk_cbor_uint(r);
    until_s = lk_cbor_int(r);
    lk_cbor_leave_array(r);
    if (r->err != LK_OK || kind == REVOCATION_NONE || kind >= REVOCATION_KINDS ||
        key.len != REVOCATION_KEY_LEN)
        return false;
    return revocations_put(set, (enum revocation_kind)kind, key.ptr, gen_before, until_s, 0);
}

enum lk_err
state_load_revocations(const struct state *state, const char *issuer, struct revocations *set,
                       int64_t *saved_s, struct feed_position *position)
{
    struct lk_buf room = {malloc(STATE_CHUNK), STATE_CHUNK};
    struct seal seal = {.file = NULL};
    enum lk_err err = LK_ERR_NOMEM;
    struct lk_span chunk;
    struct lk_cbor r;

    *saved_s = 0;
    *position = (struct feed_position){.seq = 0};
    if (room.ptr == NULL)
        return err;
    err = seal_open(&seal, state->revocations_path, state->revocations_key, room);
    if (err != LK_OK)
        goto out;
    err = LK_ERR_NOT_FOUND;
    if (!seal_next(&seal, room, &chunk))
        goto out;
    lk_cbor_open(&r, chunk);
    if (!read_head(&r, STATE_REVOCATIONS_PURPOSE, issuer, saved_s))
        goto out;
    err = read_position(&r, set, position) ? LK_OK : LK_ERR_MALFORMED;
    while (err == LK_OK && seal_next(&seal, room, &chunk)) {
        lk_cbor_open(&r, chunk);
        while (err == LK_OK && lk_cbor_peek(&r) != LK_CBOR_END)
            err = read_revocation(&r, set) ? LK_OK : LK_ERR_MALFORMED;
    }
out:
    if (err != LK_OK)
        *position = (struct feed_position){.seq = 0};
    seal_close(&seal);
    free(room.ptr);
    return err;
}

/* --- sessions: out ------------------------------------------------------------------------- */

struct filling {
    struct lk_cbor_out w;
    size_t left;
    int64_t now_ms, now_s;
};

/* Since when nobody has seen it; one that is online has been seen just now. */
static int64_t
seen_s(const struct session *s, int64_t now_ms, int64_t now_s)
{
    return s->state == SESSION_ONLINE ? now_s : now_s - (now_ms - s->since_ms) / 1000;
}

static bool
write_session(void *context, struct session *s)
{
    struct filling *f = context;
    struct lk_cbor_out before = f->w;

    if (s->state == SESSION_DYING || s->superseded)
        return true;
    if (f->left == 0)
        return false;
    lk_cbor_write_array(&f->w, 11);
    lk_cbor_write_text(&f->w, lk_span_of(s->id, s->id_len));
    lk_cbor_write_text(&f->w, session_subject(s));
    lk_cbor_write_bytes(&f->w, session_identity(s));
    lk_cbor_write_int(&f->w, s->expires_s);
    lk_cbor_write_uint(&f->w, s->generation);
    lk_cbor_write_bytes(&f->w, lk_span_of(s->token_id, sizeof(s->token_id)));
    lk_cbor_write_uint(&f->w, s->proof);
    lk_cbor_write_bool(&f->w, s->delivery_only);
    lk_cbor_write_int(&f->w, seen_s(s, f->now_ms, f->now_s));
    lk_cbor_write_bytes(&f->w, lk_span_of(s->kid, sizeof(s->kid)));
    lk_cbor_write_bool(&f->w, s->revoked);
    if (f->w.err != LK_OK || f->w.len - before.len > STATE_RECORD_MAX) {
        bool alone = before.len == 0;

        /* Full: comes again in the next chunk. Alone and still too long: left out. */
        f->w = before;
        return alone;
    }
    f->left--;
    return true;
}

bool
state_walk_is_due(const struct state_walk *walk, const struct sessions *t, int64_t now_ms)
{
    return walk->running || (walk->saved_changes != t->changes && now_ms >= walk->next_ms);
}

void
state_walk_step(struct state_walk *walk, struct sessions *t, const char *issuer, int64_t now_ms,
                int64_t now_s, size_t buckets, size_t sessions, struct state_chunk *chunk)
{
    struct filling f = {.left = sessions, .now_ms = now_ms, .now_s = now_s};
    struct lk_span filled;

    lk_cbor_write_open(&f.w, LK_BUF_OF(chunk->bytes));
    if (!walk->running) {
        *walk = (struct state_walk){
            .running = true, .changes = t->changes, .saved_changes = walk->saved_changes};
        write_head(&f.w, STATE_SESSIONS_PURPOSE, issuer, now_s);
        chunk->kind = STATE_FIRST;
    } else {
        chunk->kind =
            sessions_walk(t, &walk->cursor, buckets, write_session, &f) ? STATE_LAST : STATE_MORE;
    }
    chunk->len = lk_cbor_write_close(&f.w, &filled) == LK_OK ? filled.len : 0;
    if (chunk->kind == STATE_MORE && chunk->len == 0)
        chunk->kind = STATE_NOTHING;
    if (chunk->kind == STATE_LAST) {
        walk->running = false;
        walk->saved_changes = walk->changes;
        walk->next_ms = now_ms + STATE_INTERVAL_MS;
    }
}

enum lk_err
state_write(const struct state *state, struct seal *seal, const struct state_chunk *chunk)
{
    enum lk_err err = LK_OK;

    if (chunk->kind == STATE_FIRST) {
        seal_abort(seal);
        err = seal_create(seal, state->sessions_path, state->sessions_key);
    } else if (seal->file == NULL) {
        return LK_OK; /* this walk has failed before, and said so */
    }
    if (err == LK_OK && chunk->len > 0)
        err = seal_add(seal, lk_span_of(chunk->bytes, chunk->len));
    if (err == LK_OK && chunk->kind == STATE_LAST)
        return seal_commit(seal);
    if (err != LK_OK)
        seal_abort(seal);
    return err;
}

/* --- sessions: in -------------------------------------------------------------------------- */

struct restoring {
    struct sessions *t;
    int64_t keep_s, now_ms, now_s;
    bool delivery_only;
    size_t count;
};

/* What a record says beside the facts. */
struct past {
    bool delivery_only, revoked;
    int64_t seen_s;
};

static bool
read_session(struct lk_cbor *r, struct session_facts *facts, struct past *past)
{
    struct lk_span token_id, kid = {NULL, 0};
    size_t members;
    uint64_t proof;

    *facts = (struct session_facts){0};
    *past = (struct past){.revoked = false};
    members = lk_cbor_enter_array(r);
    facts->id = lk_cbor_text(r);
    facts->subject = lk_cbor_text(r);
    facts->identity = lk_cbor_bytes(r);
    facts->expires_s = lk_cbor_int(r);
    facts->generation = lk_cbor_uint(r);
    token_id = lk_cbor_bytes(r);
    proof = lk_cbor_uint(r);
    past->delivery_only = lk_cbor_bool(r);
    past->seen_s = lk_cbor_int(r);
    if (members > 9) { /* the first version had no revocation */
        kid = lk_cbor_bytes(r);
        past->revoked = lk_cbor_bool(r);
    }
    lk_cbor_leave_array(r);
    facts->proof = (uint8_t)proof;
    if (token_id.len == sizeof(facts->token_id))
        memcpy(facts->token_id, token_id.ptr, token_id.len);
    if (kid.len == sizeof(facts->kid))
        memcpy(facts->kid, kid.ptr, kid.len);
    return r->err == LK_OK && facts->id.len > 0 && facts->id.len <= CLIENT_ID_MAX &&
           memchr(facts->id.ptr, 0, facts->id.len) == NULL && facts->subject.len > 0;
}

static void
restore(struct restoring *in, const struct session_facts *facts, const struct past *past)
{
    int64_t age_s = in->now_s > past->seen_s ? in->now_s - past->seen_s : 0;
    struct session *s;

    if (age_s >= in->keep_s || sessions_id_is_taken(in->t, facts->id, (struct lk_span){NULL, 0}))
        return;
    if (sessions_add(in->t, facts, SIZE_MAX, in->now_ms, &s) != LK_OK)
        return;
    s->since_ms = in->now_ms - age_s * 1000;
    s->delivery_only = past->delivery_only || in->delivery_only;
    s->revoked = past->revoked;
    in->count++;
}

static int
by_age(const void *a, const void *b)
{
    const struct session *const *x = a, *const *y = b;

    return ((*x)->since_ms > (*y)->since_ms) - ((*x)->since_ms < (*y)->since_ms);
}

/* The file is in the order of the table; the list of offline sessions is in that of age. */
static void
sort_by_age(struct sessions *t)
{
    struct session **all = calloc(t->count + 1, sizeof(struct session *));
    size_t n = 0;

    if (all == NULL)
        return; /* some are then forgotten a little late */
    for (struct session *s = t->offline.first; s != NULL && n < t->count; s = s->age_next)
        all[n++] = s;
    qsort(all, n, sizeof(struct session *), by_age);
    t->offline = (struct session_list){NULL, NULL};
    for (size_t i = 0; i < n; i++) {
        all[i]->age_prev = i > 0 ? all[i - 1] : NULL;
        all[i]->age_next = i + 1 < n ? all[i + 1] : NULL;
    }
    if (n > 0)
        t->offline = (struct session_list){all[0], all[n - 1]};
    free(all);
}

enum lk_err
state_load_sessions(const struct state *state, const char *issuer, struct sessions *t,
                    int64_t keep_s, int64_t now_ms, int64_t now_s, int64_t *saved_s, size_t *count)
{
    struct restoring in = {.t = t,
                           .keep_s = keep_s,
                           .now_ms = now_ms,
                           .now_s = now_s,
                           .delivery_only = !state->has_secret};
    struct lk_buf room = {malloc(STATE_CHUNK), STATE_CHUNK};
    struct seal seal = {.file = NULL};
    struct session_facts facts;
    struct lk_span chunk;
    struct lk_cbor r;
    struct past past;
    enum lk_err err = LK_ERR_NOMEM;

    *saved_s = 0;
    *count = 0;
    if (room.ptr == NULL)
        return err;
    err = seal_open(&seal, state->sessions_path, state->sessions_key, room);
    if (err != LK_OK)
        goto out;
    err = LK_ERR_NOT_FOUND;
    if (!seal_next(&seal, room, &chunk))
        goto out;
    lk_cbor_open(&r, chunk);
    if (!read_head(&r, STATE_SESSIONS_PURPOSE, issuer, saved_s))
        goto out;
    err = LK_OK;
    while (seal_next(&seal, room, &chunk)) {
        lk_cbor_open(&r, chunk);
        while (lk_cbor_peek(&r) != LK_CBOR_END && read_session(&r, &facts, &past))
            restore(&in, &facts, &past);
    }
    sort_by_age(t);
    *count = in.count;
out:
    seal_close(&seal);
    free(room.ptr);
    return err;
}
