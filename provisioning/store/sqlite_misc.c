/*
 * Refresh families, stored answers, audit, signing keys, and the cleaning of all that ages.
 */
#include "sqlite.h"

#include <string.h>

#define COMMAND_KEEP_S (30 * 86400) /* finished commands, for GET .../commands */

/* --- Refresh families ------------------------------------------------------------------------ */

/* Each access token of a family: its id, and when it expires, big-endian. */
#define TOKEN_BYTES (STORE_TOKEN_ID_LEN + 8)

static struct lk_span
tokens_pack(const struct store_family *family, uint8_t room[FAMILY_TOKENS_MAX * TOKEN_BYTES])
{
    for (size_t i = 0; i < family->token_count; i++) {
        uint8_t *at = room + i * TOKEN_BYTES;

        memcpy(at, family->token[i].id, STORE_TOKEN_ID_LEN);
        for (unsigned b = 0; b < 8; b++)
            at[STORE_TOKEN_ID_LEN + b] =
                (uint8_t)((uint64_t)family->token[i].expires_s >> (56 - 8 * b));
    }
    return lk_span_of(room, family->token_count * TOKEN_BYTES);
}

static enum lk_err
tokens_unpack(struct lk_span packed, struct store_family *family)
{
    if (packed.len % TOKEN_BYTES != 0 || packed.len / TOKEN_BYTES > FAMILY_TOKENS_MAX)
        return LK_ERR_IO;
    family->token_count = packed.len / TOKEN_BYTES;
    for (size_t i = 0; i < family->token_count; i++) {
        const uint8_t *at = packed.ptr + i * TOKEN_BYTES;
        uint64_t expires_s = 0;

        memcpy(family->token[i].id, at, STORE_TOKEN_ID_LEN);
        for (unsigned b = 0; b < 8; b++)
            expires_s = expires_s << 8 | at[STORE_TOKEN_ID_LEN + b];
        family->token[i].expires_s = (int64_t)expires_s;
    }
    return LK_OK;
}

static enum lk_err
family_insert(struct store_db *db, const struct store_family *family)
{
    uint8_t room[FAMILY_TOKENS_MAX * TOKEN_BYTES];
    struct query q;

    query_open(&q, db,
               "INSERT INTO refresh_families (id, device, scopes, audience, generation, counter,"
               " created_s, expires_s, rotated_ms, revoked_s, tokens, crowded)"
               " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    query_bind_blob(&q, lk_span_of(family->id, sizeof(family->id)));
    query_bind_string(&q, family->device);
    query_bind_string(&q, family->scopes);
    query_bind_int(&q, family->audience);
    query_bind_int(&q, (int64_t)family->generation);
    query_bind_int(&q, family->counter);
    query_bind_int(&q, family->created_s);
    query_bind_int(&q, family->expires_s);
    query_bind_int(&q, family->rotated_ms);
    query_bind_int(&q, family->revoked_s);
    query_bind_blob(&q, tokens_pack(family, room));
    query_bind_int(&q, family->crowded);
    return query_run_close(&q);
}

enum lk_err
store_family_put(struct store_db *db, const struct store_family *family, unsigned max)
{
    struct query q;
    enum lk_err err = family_insert(db, family);

    if (err != LK_OK)
        return err;
    /* Revoked ones too, or a device could fill the disk with them; gone is as good as revoked. */
    query_open(&q, db,
               "DELETE FROM refresh_families WHERE device = ?1 AND seq <="
               " (SELECT seq FROM refresh_families WHERE device = ?1"
               "  ORDER BY seq DESC LIMIT 1 OFFSET ?2)");
    query_bind_string(&q, family->device);
    query_bind_int(&q, max);
    return query_run_close(&q);
}

enum lk_err
store_family_get(struct store_db *db, const uint8_t id[STORE_FAMILY_LEN],
                 struct store_family *family)
{
    struct query q;
    enum lk_err err;

    memset(family, 0, sizeof(*family));
    query_open(&q, db,
               "SELECT id, device, scopes, audience, generation, counter, created_s, expires_s,"
               " rotated_ms, revoked_s, tokens, crowded FROM refresh_families WHERE id = ?");
    query_bind_blob(&q, lk_span_of(id, STORE_FAMILY_LEN));
    if (query_next(&q)) {
        query_blob(&q, family->id, sizeof(family->id));
        query_text(&q, family->device, sizeof(family->device));
        query_text(&q, family->scopes, sizeof(family->scopes));
        family->audience = (unsigned)query_int(&q);
        family->generation = (uint64_t)query_int(&q);
        family->counter = (uint32_t)query_int(&q);
        family->created_s = query_int(&q);
        family->expires_s = query_int(&q);
        family->rotated_ms = query_int(&q);
        family->revoked_s = query_int(&q);
        if (tokens_unpack(query_span(&q), family) != LK_OK)
            q.err = LK_ERR_IO;
        family->crowded = query_int(&q) != 0;
    }
    err = query_close_found(&q);
    if (err != LK_OK)
        memset(family, 0, sizeof(*family));
    return err;
}

enum lk_err
store_family_update(struct store_db *db, const struct store_family *family)
{
    uint8_t room[FAMILY_TOKENS_MAX * TOKEN_BYTES];
    struct query q;

    query_open(&q, db,
               "UPDATE refresh_families SET counter = ?, expires_s = ?, rotated_ms = ?,"
               " revoked_s = ?, tokens = ?, crowded = ? WHERE id = ?");
    query_bind_int(&q, family->counter);
    query_bind_int(&q, family->expires_s);
    query_bind_int(&q, family->rotated_ms);
    query_bind_int(&q, family->revoked_s);
    query_bind_blob(&q, tokens_pack(family, room));
    query_bind_int(&q, family->crowded);
    query_bind_blob(&q, lk_span_of(family->id, sizeof(family->id)));
    return query_run_close_changed(&q);
}

/* --- Stored answers --------------------------------------------------------------------------- */

enum lk_err
store_answer_get(struct store_db *db, struct lk_span caller, struct lk_span key,
                 const uint8_t body[32], int64_t now_s, struct lk_buf room, struct lk_span *sealed)
{
    struct query q;
    uint8_t stored[32];

    *sealed = (struct lk_span){NULL, 0};
    query_open(&q, db,
               "SELECT body, sealed FROM answers WHERE caller = ? AND key = ? AND until_s > ?");
    query_bind(&q, caller);
    query_bind(&q, key);
    query_bind_int(&q, now_s);
    if (query_next(&q)) {
        struct lk_span bytes;

        query_blob(&q, stored, sizeof(stored));
        bytes = query_span(&q);
        if (q.err == LK_OK && memcmp(stored, body, sizeof(stored)) != 0) {
            q.err = LK_ERR_STATE;
        } else if (q.err == LK_OK && bytes.len > room.cap) {
            q.err = LK_ERR_NO_SPACE;
        } else if (q.err == LK_OK && bytes.len > 0) {
            memcpy(room.ptr, bytes.ptr, bytes.len);
            *sealed = lk_span_of(room.ptr, bytes.len);
        }
    }
    return query_close_found(&q);
}

enum lk_err
store_answer_put(struct store_db *db, struct lk_span caller, struct lk_span key,
                 const uint8_t body[32], struct lk_span sealed, int64_t until_s)
{
    struct query q;

    /* An answer that is past its time but not cleaned away yet gives way. */
    query_open(&q, db,
               "INSERT OR REPLACE INTO answers (caller, key, body, sealed, until_s)"
               " VALUES (?, ?, ?, ?, ?)");
    query_bind(&q, caller);
    query_bind(&q, key);
    query_bind_blob(&q, lk_span_of(body, 32));
    query_bind_blob(&q, sealed);
    query_bind_int(&q, until_s);
    return query_run_close(&q);
}

/* --- Audit and keys -----------------------------------------------------------------------------
 */

enum lk_err
store_audit_put(struct store_db *db, const struct store_audit *audit)
{
    struct query q;

    query_open(&q, db,
               "INSERT INTO audit (at_ms, who, what, target, origin, result, request_id)"
               " VALUES (?, ?, ?, ?, ?, ?, ?)");
    query_bind_int(&q, audit->at_ms);
    query_bind_string(&q, audit->who);
    query_bind_string(&q, audit->what);
    query_bind_string(&q, audit->target);
    query_bind_string(&q, audit->from);
    query_bind_string(&q, audit->result);
    query_bind_string(&q, audit->request_id);
    return query_run_close(&q);
}

enum lk_err
store_key_put(struct store_db *db, const struct store_key *key)
{
    struct query q;

    query_open(&q, db,
               "INSERT INTO signing_keys (kid, alg, signs, created_s, signs_from_s, sealed)"
               " VALUES (?, ?, ?, ?, ?, ?)");
    query_bind_string(&q, key->kid);
    query_bind_int(&q, key->alg);
    query_bind_int(&q, key->signs);
    query_bind_int(&q, key->created_s);
    query_bind_int(&q, key->signs_from_s);
    query_bind_blob(&q, key->sealed);
    return query_run_close(&q);
}

enum lk_err
store_key_list(struct store_db *db, store_key_fn each, void *arg)
{
    struct store_key key;
    struct query q;

    query_open(&q, db,
               "SELECT kid, alg, signs, created_s, signs_from_s, until_s, sealed FROM signing_keys"
               " ORDER BY signs_from_s, created_s, kid");
    while (query_next(&q)) {
        query_text(&q, key.kid, sizeof(key.kid));
        key.alg = (int)query_int(&q);
        key.signs = query_int(&q) != 0;
        key.created_s = query_int(&q);
        key.signs_from_s = query_int(&q);
        key.until_s = query_int(&q);
        key.sealed = query_span(&q);
        if (q.err == LK_OK)
            q.err = each(&key, arg);
    }
    return query_close(&q);
}

/* --- Cleaning ------------------------------------------------------------------------------------
 */

static enum lk_err
clean_run(struct query *q, int64_t bound, bool *more)
{
    query_bind_int(q, bound);
    query_bind_int(q, STORE_CLEAN_BATCH);
    query_run(q);
    if (query_changes(q) >= STORE_CLEAN_BATCH)
        *more = true;
    return query_close(q);
}

enum lk_err
store_clean(struct store_db *db, int64_t now_s, bool *more)
{
    struct query q;
    enum lk_err err;

    *more = false;
    err = store_feed_trim(db, now_s, more);
    if (err != LK_OK)
        return err;
    query_open(&q, db,
               "DELETE FROM answers WHERE (caller, key) IN"
               " (SELECT caller, key FROM answers WHERE until_s <= ? LIMIT ?)");
    err = clean_run(&q, now_s, more);
    if (err != LK_OK)
        return err;
    query_open(&q, db,
               "DELETE FROM refresh_families WHERE seq IN"
               " (SELECT seq FROM refresh_families WHERE expires_s <= ? LIMIT ?)");
    err = clean_run(&q, now_s, more);
    if (err != LK_OK)
        return err;
    query_open(&q, db,
               "DELETE FROM commands WHERE rowid IN"
               " (SELECT rowid FROM commands WHERE state > 2 AND finished_s <= ? LIMIT ?)");
    err = clean_run(&q, now_s - COMMAND_KEEP_S, more);
    if (err != LK_OK)
        return err;
    query_open(&q, db,
               "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE seq <="
               " (SELECT max(seq) FROM audit) - ? ORDER BY seq LIMIT ?)");
    return clean_run(&q, AUDIT_ROWS_MAX, more);
}
