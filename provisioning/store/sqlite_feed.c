/*
 * The feed, and all that revokes: whoever makes tokens worthless says so here, in the same
 * transaction.
 */
#include "sqlite.h"

#include <stdio.h>
#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/host/log.h>

/* --- Entries -------------------------------------------------------------------------------- */

enum lk_err
store_feed_has(struct store_db *db, enum store_feed_kind kind, struct lk_span value)
{
    struct query q;

    query_open(&q, db, "SELECT 1 FROM feed WHERE kind = ? AND value = ?");
    query_bind_int(&q, kind);
    query_bind(&q, value);
    (void)query_next(&q);
    return query_close_found(&q);
}

static enum lk_err
feed_insert(struct store_db *db, const struct store_feed_entry *entry, const char *subject,
            uint64_t generation)
{
    struct query q;
    enum lk_err err = store_feed_has(db, entry->kind, lk_span_text(entry->value));

    if (err != LK_ERR_NOT_FOUND)
        return err; /* said again: the entry that is there is as good, and takes no new number */
    query_open(&q, db,
               "INSERT INTO feed (kind, value, subject, generation, until_s)"
               " VALUES (?, ?, ?, ?, ?)");
    query_bind_int(&q, entry->kind);
    query_bind_string(&q, entry->value);
    query_bind_string(&q, subject);
    query_bind_int(&q, (int64_t)generation);
    query_bind_int(&q, entry->until_s);
    db->feed_grew = true;
    return query_run_close(&q);
}

/** What a new entry about a subject says better: its older ones, and tokens of those generations.
 */
static enum lk_err
feed_supersede(struct store_db *db, const char *subject, uint64_t gen_before)
{
    struct query q;

    query_open(&q, db,
               "DELETE FROM feed WHERE subject = ?1 AND (generation < ?2 OR"
               " (kind = ?3 AND generation = ?2))");
    query_bind_string(&q, subject);
    query_bind_int(&q, (int64_t)gen_before);
    query_bind_int(&q, STORE_FEED_SUB);
    return query_run_close(&q);
}

static enum lk_err
feed_put_subject(struct store_db *db, const char *id, uint64_t gen_before, int64_t until_s)
{
    struct store_feed_entry entry = {.kind = STORE_FEED_SUB, .until_s = until_s};
    enum lk_err err = feed_supersede(db, id, gen_before);

    snprintf(entry.value, sizeof(entry.value), "%s", id);
    return err == LK_OK ? feed_insert(db, &entry, id, gen_before) : err;
}

static enum lk_err
feed_count(struct store_db *db, const char *subject, int64_t *count)
{
    struct query q;

    *count = 0;
    query_open(&q, db, "SELECT count(*) FROM feed WHERE subject = ? AND subject <> ''");
    query_bind_string(&q, subject);
    if (query_next(&q))
        *count = query_int(&q);
    return query_close(&q);
}

/* --- Reading -------------------------------------------------------------------------------- */

static enum lk_err
meta_get(struct store_db *db, const char *name, char *out, size_t size)
{
    struct query q;

    out[0] = '\0';
    query_open(&q, db, "SELECT value FROM meta WHERE name = ?");
    query_bind_string(&q, name);
    if (query_next(&q))
        query_text(&q, out, size);
    return query_close_found(&q);
}

enum lk_err
store_feed_head(struct store_db *db, struct store_feed_page *page)
{
    struct query q;
    enum lk_err err;

    memset(page, 0, sizeof(*page));
    err = meta_get(db, "feed_epoch", page->epoch, sizeof(page->epoch));
    if (err != LK_OK)
        return err;
    query_open(&q, db, "SELECT seq FROM sqlite_sequence WHERE name = 'feed'");
    if (query_next(&q))
        page->seq = query_int(&q);
    return query_close(&q); /* no row before the first entry */
}

/**
 * Whoever stands before the oldest entry there is, while others were trimmed, starts anew. What is
 * superseded or trimmed is never missed, so a page in the middle of the whole set is not in danger.
 */
static enum lk_err
is_trimmed(struct store_db *db, int64_t after, bool *trimmed)
{
    struct query q;

    query_open(&q, db,
               "SELECT ?1 < (SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'feed_trimmed')"
               " AND NOT EXISTS (SELECT 1 FROM feed WHERE seq <= ?1)");
    query_bind_int(&q, after);
    if (query_next(&q))
        *trimmed = query_int(&q) != 0;
    return query_close_found(&q);
}

static enum lk_err
entries_read(struct store_db *db, int64_t after, unsigned limit, struct store_feed_page *page,
             store_feed_fn each, void *arg)
{
    struct store_feed_entry entry = {.kind = STORE_FEED_JTI};
    int64_t last = after;
    struct query q;

    query_open(&q, db,
               "SELECT seq, kind, value, generation, until_s FROM feed WHERE seq > ?"
               " ORDER BY seq LIMIT ?");
    query_bind_int(&q, after);
    query_bind_int(&q, (int64_t)limit + 1); /* one more shows that there is more */
    while (query_next(&q)) {
        if (page->count == limit) {
            page->more = true;
            page->seq = last;
            break;
        }
        last = query_int(&q);
        entry.kind = (enum store_feed_kind)query_int(&q);
        query_text(&q, entry.value, sizeof(entry.value));
        entry.gen_before = (uint64_t)query_int(&q);
        entry.until_s = query_int(&q);
        page->count++;
        if (q.err == LK_OK && each != NULL)
            each(&entry, arg);
    }
    return query_close(&q);
}

static enum lk_err
page_read(struct store_db *db, struct lk_span epoch, int64_t after, unsigned limit,
          struct store_feed_page *page, store_feed_fn each, void *arg)
{
    enum lk_err err = store_feed_head(db, page);
    bool trimmed = false;

    if (err == LK_OK && after >= 0)
        err = is_trimmed(db, after, &trimmed);
    page->full = after < 0 || after > page->seq || trimmed ||
                 !lk_span_equal(epoch, lk_span_text(page->epoch));
    return err == LK_OK ? entries_read(db, page->full ? 0 : after, limit, page, each, arg) : err;
}

enum lk_err
store_feed_read(struct store_db *db, struct lk_span epoch, int64_t after, unsigned limit,
                struct store_feed_page *page, store_feed_fn each, void *arg)
{
    enum lk_err err = db_exec(db, "BEGIN"), end; /* one picture of epoch, number and entries */

    memset(page, 0, sizeof(*page));
    if (err != LK_OK)
        return err;
    err = page_read(db, epoch, after, limit, page, each, arg);
    end = db_exec(db, "COMMIT");
    return err != LK_OK ? err : end;
}

enum lk_err
store_feed_renew(struct store_db *db)
{
    struct query q;

    query_open(&q, db,
               "UPDATE meta SET value = lower(hex(randomblob(16))) WHERE name = 'feed_epoch'");
    return query_run_close_changed(&q);
}

enum lk_err
store_feed_trim(struct store_db *db, int64_t now_s, bool *more)
{
    struct query q;
    enum lk_err err;

    query_open(&q, db,
               "UPDATE meta SET value = max(CAST(value AS INTEGER), (SELECT coalesce(max(seq), 0)"
               " FROM (SELECT seq FROM feed WHERE until_s <= ? ORDER BY until_s, seq LIMIT ?)))"
               " WHERE name = 'feed_trimmed'");
    query_bind_int(&q, now_s);
    query_bind_int(&q, STORE_CLEAN_BATCH);
    err = query_run_close(&q);
    if (err != LK_OK)
        return err;
    query_open(&q, db,
               "DELETE FROM feed WHERE seq IN"
               " (SELECT seq FROM feed WHERE until_s <= ? ORDER BY until_s, seq LIMIT ?)");
    query_bind_int(&q, now_s);
    query_bind_int(&q, STORE_CLEAN_BATCH);
    query_run(&q);
    if (query_changes(&q) >= STORE_CLEAN_BATCH)
        *more = true;
    return query_close(&q);
}

/* --- Subjects: devices and clients ------------------------------------------------------------ */

struct subject {
    enum store_who who;
    char id[LK_SUBJECT_MAX + 1];
    uint64_t generation;
    int64_t old_until_s;
    int64_t tokens_until_s;
};

static enum lk_err
subject_get(struct store_db *db, enum store_who who, struct lk_span id, struct subject *s)
{
    struct query q;

    memset(s, 0, sizeof(*s));
    s->who = who;
    if (who == STORE_DEVICE)
        query_open(&q, db,
                   "SELECT id, generation, old_until_s, tokens_until_s FROM devices WHERE id = ?");
    else
        query_open(&q, db,
                   "SELECT id, generation, old_until_s, tokens_until_s FROM clients WHERE id = ?");
    query_bind(&q, id);
    if (query_next(&q)) {
        query_text(&q, s->id, sizeof(s->id));
        s->generation = (uint64_t)query_int(&q);
        s->old_until_s = query_int(&q);
        s->tokens_until_s = query_int(&q);
    }
    return query_close_found(&q);
}

/** The lowest generation that is valid: while an old secret is, the one before. */
static uint64_t
subject_floor(const struct subject *s)
{
    return s->generation - (s->old_until_s > 0 ? 1 : 0);
}

static enum lk_err
subject_tell(struct store_db *db, const struct subject *s, int64_t now_s)
{
    int64_t until_s = s->tokens_until_s > now_s ? s->tokens_until_s : now_s;

    return feed_put_subject(db, s->id, subject_floor(s), until_s + FEED_MARGIN_S);
}

static enum lk_err
families_delete(struct store_db *db, const char *device, uint64_t below)
{
    struct query q;

    query_open(&q, db, "DELETE FROM refresh_families WHERE device = ? AND generation < ?");
    query_bind_string(&q, device);
    query_bind_int(&q, (int64_t)below);
    return query_run_close(&q);
}

/** Refresh tokens that outlive a disconnection go on in the new generation. */
static enum lk_err
families_lift(struct store_db *db, const char *device, unsigned step)
{
    struct query q;

    query_open(&q, db,
               "UPDATE refresh_families SET generation = generation + ?, tokens = x'',"
               " crowded = 0 WHERE device = ?");
    query_bind_int(&q, step);
    query_bind_string(&q, device);
    return query_run_close(&q);
}

static enum lk_err
subject_raise(struct store_db *db, struct subject *s, int64_t now_s, bool keep_families)
{
    /* With two secrets valid both generations move on, past both of before. */
    unsigned step = s->old_until_s > 0 ? 2 : 1;
    struct query q;
    enum lk_err err;

    if (s->who == STORE_DEVICE)
        query_open(&q, db, "UPDATE devices SET generation = generation + ? WHERE id = ?");
    else
        query_open(&q, db, "UPDATE clients SET generation = generation + ? WHERE id = ?");
    query_bind_int(&q, step);
    query_bind_string(&q, s->id);
    err = query_run_close_changed(&q);
    s->generation += step;
    if (err == LK_OK && s->who == STORE_DEVICE)
        err = keep_families ? families_lift(db, s->id, step)
                            : families_delete(db, s->id, subject_floor(s));
    return err == LK_OK ? subject_tell(db, s, now_s) : err;
}

enum lk_err
store_tokens_end(struct store_db *db, enum store_who who, struct lk_span id, int64_t now_s,
                 bool keep_families)
{
    struct subject s;
    enum lk_err err = subject_get(db, who, id, &s);

    return err == LK_OK ? subject_raise(db, &s, now_s, keep_families) : err;
}

enum lk_err
store_token_issued(struct store_db *db, enum store_who who, struct lk_span id, uint64_t generation,
                   int64_t expires_s, int64_t now_s)
{
    struct query q;
    enum lk_err err;

    /* The worker decided before; between that and now the subject may have been suspended. */
    if (who == STORE_DEVICE)
        query_open(&q, db,
                   "UPDATE devices SET tokens_until_s = max(tokens_until_s, ?1) WHERE id = ?2"
                   " AND state = 1 AND deleted_s = 0 AND ?3 >= generation - (old_until_s > ?4)");
    else
        query_open(&q, db,
                   "UPDATE clients SET tokens_until_s = max(tokens_until_s, ?1) WHERE id = ?2"
                   " AND state = 1 AND ?3 >= generation - (old_until_s > ?4)");
    query_bind_int(&q, expires_s);
    query_bind(&q, id);
    query_bind_int(&q, (int64_t)generation);
    query_bind_int(&q, now_s);
    err = query_run_close_changed(&q);
    return err == LK_ERR_NOT_FOUND ? LK_ERR_STATE : err;
}

enum lk_err
store_token_revoke(struct store_db *db, const struct store_token *token, int64_t now_s)
{
    struct store_feed_entry entry = {.kind = STORE_FEED_JTI,
                                     .until_s = token->expires_s + FEED_MARGIN_S};
    struct lk_span text;
    int64_t count;
    enum lk_err err = feed_count(db, token->subject, &count);

    if (err != LK_OK || token->expires_s + FEED_MARGIN_S <= now_s)
        return err;
    /* A subject that fills the feed one token at a time gets one entry for all it has. */
    if (count >= FEED_SUBJECT_MAX)
        return store_tokens_end(db, token->who, lk_span_text(token->subject), now_s, false);
    err = lk_base64url_encode(lk_span_of(token->id, sizeof(token->id)),
                              (struct lk_buf){(uint8_t *)entry.value, sizeof(entry.value) - 1},
                              &text);
    return err == LK_OK ? feed_insert(db, &entry, token->subject, token->generation) : err;
}

/* --- Refresh families and their access tokens --------------------------------------------------
 */

void
store_family_note(struct store_family *family, const uint8_t id[STORE_TOKEN_ID_LEN],
                  int64_t expires_s, int64_t now_s)
{
    size_t kept = 0;

    for (size_t i = 0; i < family->token_count; i++)
        if (family->token[i].expires_s + FEED_MARGIN_S > now_s)
            family->token[kept++] = family->token[i];
    family->token_count = kept;
    if (kept == FAMILY_TOKENS_MAX) {
        family->crowded = true;
        return;
    }
    memcpy(family->token[kept].id, id, STORE_TOKEN_ID_LEN);
    family->token[family->token_count++].expires_s = expires_s;
}

enum lk_err
store_family_revoke(struct store_db *db, struct store_family *family, int64_t now_s)
{
    struct store_token token = {.who = STORE_DEVICE, .generation = family->generation};
    enum lk_err err;

    family->revoked_s = now_s;
    err = store_family_update(db, family);
    if (err == LK_OK && family->crowded)
        return store_tokens_end(db, STORE_DEVICE, lk_span_text(family->device), now_s, false);
    snprintf(token.subject, sizeof(token.subject), "%s", family->device);
    for (size_t i = 0; i < family->token_count && err == LK_OK; i++) {
        memcpy(token.id, family->token[i].id, sizeof(token.id));
        token.expires_s = family->token[i].expires_s;
        err = store_token_revoke(db, &token, now_s);
    }
    return err;
}

/* --- Secrets -----------------------------------------------------------------------------------
 */

static enum lk_err
secret_write(struct store_db *db, const struct subject *s, const uint8_t hash[32],
             struct lk_span psk_sealed, int64_t old_until_s)
{
    struct query q;

    if (s->who == STORE_DEVICE)
        query_open(&q, db,
                   "UPDATE devices SET old_hash = iif(?1 > 0, secret_hash, NULL),"
                   " old_psk = iif(?1 > 0, psk, NULL), old_until_s = ?1, generation = ?2,"
                   " secret_hash = ?3, psk = ?5 WHERE id = ?4");
    else
        query_open(&q, db,
                   "UPDATE clients SET old_hash = iif(?1 > 0, secret_hash, NULL),"
                   " old_until_s = ?1, generation = ?2, secret_hash = ?3 WHERE id = ?4");
    query_bind_int(&q, old_until_s);
    query_bind_int(&q, (int64_t)s->generation);
    query_bind_blob(&q, lk_span_of(hash, 32));
    query_bind_string(&q, s->id);
    if (s->who == STORE_DEVICE)
        query_bind_blob(&q, psk_sealed);
    return query_run_close_changed(&q);
}

enum lk_err
store_secret_replace(struct store_db *db, enum store_who who, struct lk_span id,
                     const uint8_t hash[32], struct lk_span psk_sealed, int64_t old_until_s,
                     int64_t now_s)
{
    struct subject s;
    uint64_t floor;
    enum lk_err err = subject_get(db, who, id, &s);

    if (err != LK_OK)
        return err;
    floor = subject_floor(&s);
    s.generation++;
    s.old_until_s = old_until_s > now_s ? old_until_s : 0;
    err = secret_write(db, &s, hash, psk_sealed, s.old_until_s);
    if (err != LK_OK || subject_floor(&s) == floor)
        return err; /* both are good: nothing has become worthless yet */
    if (who == STORE_DEVICE)
        err = families_delete(db, s.id, subject_floor(&s));
    return err == LK_OK ? subject_tell(db, &s, now_s) : err;
}

static enum lk_err
overlap_end(struct store_db *db, enum store_who who, const char *id, int64_t now_s)
{
    struct subject s;
    struct query q;
    enum lk_err err = subject_get(db, who, lk_span_text(id), &s);

    if (err != LK_OK)
        return err;
    if (who == STORE_DEVICE)
        query_open(&q, db,
                   "UPDATE devices SET old_until_s = 0, old_hash = NULL, old_psk = NULL"
                   " WHERE id = ?");
    else
        query_open(&q, db, "UPDATE clients SET old_until_s = 0, old_hash = NULL WHERE id = ?");
    query_bind_string(&q, id);
    err = query_run_close_changed(&q);
    s.old_until_s = 0;
    if (err == LK_OK && who == STORE_DEVICE)
        err = families_delete(db, id, s.generation);
    return err == LK_OK ? subject_tell(db, &s, now_s) : err;
}

/** @return LK_ERR_NOT_FOUND: none is over. */
static enum lk_err
overlap_next(struct store_db *db, enum store_who who, int64_t now_s, char *id, size_t size)
{
    struct query q;

    if (who == STORE_DEVICE)
        query_open(&q, db,
                   "SELECT id FROM devices WHERE old_until_s > 0 AND old_until_s <= ? LIMIT 1");
    else
        query_open(&q, db,
                   "SELECT id FROM clients WHERE old_until_s > 0 AND old_until_s <= ? LIMIT 1");
    query_bind_int(&q, now_s);
    if (query_next(&q))
        query_text(&q, id, size);
    return query_close_found(&q);
}

bool
store_overlaps_wait(struct store_db *db, int64_t now_s)
{
    char id[LK_SUBJECT_MAX + 1];

    return overlap_next(db, STORE_DEVICE, now_s, id, sizeof(id)) == LK_OK ||
           overlap_next(db, STORE_CLIENT, now_s, id, sizeof(id)) == LK_OK;
}

enum lk_err
store_overlaps_end(struct store_db *db, int64_t now_s)
{
    static const enum store_who both[] = {STORE_DEVICE, STORE_CLIENT};
    char id[LK_SUBJECT_MAX + 1];
    enum lk_err err = LK_OK;

    for (size_t i = 0; i < 2; i++) {
        for (unsigned n = 0; n < STORE_CLEAN_BATCH && err == LK_OK; n++) {
            err = overlap_next(db, both[i], now_s, id, sizeof(id));
            if (err == LK_OK)
                err = overlap_end(db, both[i], id, now_s);
        }
        if (err == LK_ERR_NOT_FOUND)
            err = LK_OK;
    }
    return err;
}

/* --- Keys --------------------------------------------------------------------------------------
 */

enum lk_err
store_tokens_until(struct store_db *db, int64_t *until_s)
{
    struct query q;

    *until_s = 0;
    query_open(&q, db,
               "SELECT max(coalesce((SELECT max(tokens_until_s) FROM devices), 0),"
               " coalesce((SELECT max(tokens_until_s) FROM clients), 0))");
    if (query_next(&q))
        *until_s = query_int(&q);
    return query_close_found(&q);
}

enum lk_err
store_key_revoke(struct store_db *db, struct lk_span kid, int64_t until_s)
{
    struct store_feed_entry entry = {.kind = STORE_FEED_KID, .until_s = until_s + FEED_MARGIN_S};
    struct query q;
    enum lk_err err;

    if (kid.len >= sizeof(entry.value))
        return LK_ERR_NOT_FOUND;
    query_open(&q, db, "DELETE FROM signing_keys WHERE kid = ?");
    query_bind(&q, kid);
    err = query_run_close_changed(&q);
    memcpy(entry.value, kid.ptr, kid.len);
    return err == LK_OK ? feed_insert(db, &entry, "", 0) : err;
}

enum lk_err
store_key_begin(struct store_db *db, struct lk_span kid, int64_t at_s)
{
    struct query q;

    query_open(&q, db, "UPDATE signing_keys SET signs_from_s = ? WHERE kid = ?");
    query_bind_int(&q, at_s);
    query_bind(&q, kid);
    return query_run_close_changed(&q);
}

/* A key that has been replaced for KEY_SETTLE_S signs nothing any more, also not on a worker that
 * was slow: what its last token can be is known now. */
#define REPLACED                                                                                   \
    " WHERE signs_from_s < (SELECT max(signs_from_s) FROM signing_keys WHERE signs_from_s <= ?1)"

bool
store_keys_wait(struct store_db *db, int64_t now_s)
{
    struct query q;
    bool found;

    query_open(&q, db,
               "SELECT 1 FROM signing_keys" REPLACED " AND (until_s = 0 OR until_s <= ?2) LIMIT 1");
    query_bind_int(&q, now_s - KEY_SETTLE_S);
    query_bind_int(&q, now_s);
    found = query_next(&q);
    return query_close(&q) == LK_OK && found;
}

enum lk_err
store_keys_retire(struct store_db *db, int64_t longest_s, int64_t now_s)
{
    int64_t until_s;
    struct query q;
    enum lk_err err = store_tokens_until(db, &until_s);

    if (err != LK_OK)
        return err;
    if (until_s < now_s + longest_s)
        until_s = now_s + longest_s; /* the desk's tokens are in no table */
    query_open(&q, db, "UPDATE signing_keys SET until_s = ?2" REPLACED " AND until_s = 0");
    query_bind_int(&q, now_s - KEY_SETTLE_S);
    query_bind_int(&q, until_s + FEED_MARGIN_S);
    err = query_run_close(&q);
    if (err != LK_OK)
        return err;
    query_open(&q, db, "DELETE FROM signing_keys" REPLACED " AND until_s > 0 AND until_s <= ?2");
    query_bind_int(&q, now_s - KEY_SETTLE_S);
    query_bind_int(&q, now_s);
    return query_run_close(&q);
}

/* --- Denials -----------------------------------------------------------------------------------
 */

enum lk_err
store_denial_put(struct store_db *db, const struct store_denial *d)
{
    struct query q;
    enum lk_err err;

    query_open(&q, db,
               "INSERT INTO denials (device, at_s, client_id, action, topic, reason, count,"
               " reported_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    query_bind(&q, d->device);
    query_bind_int(&q, d->at_s);
    query_bind(&q, d->client_id);
    query_bind(&q, d->action);
    query_bind(&q, d->topic);
    query_bind(&q, d->reason);
    query_bind_int(&q, d->count);
    query_bind(&q, d->reported_by);
    err = query_run_close(&q);
    if (err != LK_OK)
        return err;
    query_open(&q, db,
               "DELETE FROM denials WHERE device = ?1 AND seq <= (SELECT seq FROM denials"
               " WHERE device = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)");
    query_bind(&q, d->device);
    query_bind_int(&q, DENIALS_KEPT);
    return query_run_close(&q);
}

enum lk_err
store_denial_list(struct store_db *db, struct lk_span device, store_denial_fn each, void *arg)
{
    struct store_denial d = {.device = device};
    struct query q;

    query_open(&q, db,
               "SELECT at_s, client_id, action, topic, reason, count, reported_by FROM denials"
               " WHERE device = ? ORDER BY seq DESC");
    query_bind(&q, device);
    while (query_next(&q)) {
        d.at_s = query_int(&q);
        d.client_id = query_span(&q);
        d.action = query_span(&q);
        d.topic = query_span(&q);
        d.reason = query_span(&q);
        d.count = query_int(&q);
        d.reported_by = query_span(&q);
        if (q.err == LK_OK)
            each(&d, arg);
    }
    return query_close(&q);
}
