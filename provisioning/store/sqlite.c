#include "sqlite.h"

#include <stdlib.h>
#include <string.h>

#include <latchkey/host/log.h>

#define BUSY_TIMEOUT_MS 2000 /* how long somebody else's lock (a backup) is waited for */

enum lk_err
db_error(struct store_db *db, int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return LK_OK;
    case SQLITE_CONSTRAINT:
        return LK_ERR_EXISTS;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return LK_ERR_BUSY;
    case SQLITE_NOMEM:
        return LK_ERR_NOMEM;
    case SQLITE_FULL:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        lk_log(LK_LOG_ERROR, "store err=UNAVAILABLE sqlite=%d text=%s", code,
               lk_log_text(sqlite3_errmsg(db->sqlite)));
        return LK_ERR_UNAVAILABLE;
    default:
        lk_log(LK_LOG_ERROR, "store err=IO sqlite=%d text=%s", code,
               lk_log_text(sqlite3_errmsg(db->sqlite)));
        return LK_ERR_IO;
    }
}

enum lk_err
db_exec(struct store_db *db, const char *sql)
{
    return db_error(db, sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL));
}

enum lk_err
db_open(const char *path, int flags, struct store_db **out)
{
    struct store_db *db = calloc(1, sizeof(*db));
    enum lk_err err;

    *out = NULL;
    if (db == NULL)
        return LK_ERR_NOMEM;
    err = LK_ERR_NOMEM;
    if (sqlite3_open_v2(path, &db->sqlite, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        if (db->sqlite != NULL)
            err = db_error(db, sqlite3_errcode(db->sqlite));
        goto fail;
    }
    sqlite3_extended_result_codes(db->sqlite, 1);
    sqlite3_busy_timeout(db->sqlite, BUSY_TIMEOUT_MS);
    /* FULL: an acknowledged registration or revocation must survive a power cut. */
    err = db_exec(db, "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                      "PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;"
                      "PRAGMA cache_size = -16384");
    if (err != LK_OK)
        goto fail;
    *out = db;
    return LK_OK;
fail:
    db_close(db);
    return err;
}

void
db_close(struct store_db *db)
{
    if (db == NULL)
        return;
    for (size_t i = 0; i < STATEMENTS_MAX; i++)
        sqlite3_finalize(db->statement[i].stmt);
    sqlite3_close(db->sqlite);
    free(db);
}

static sqlite3_stmt *
statement_get(struct store_db *db, const char *literal, int *code)
{
    size_t at = ((uintptr_t)literal >> 3) & (STATEMENTS_MAX - 1);

    for (size_t i = 0; i < STATEMENTS_MAX; i++, at = (at + 1) & (STATEMENTS_MAX - 1)) {
        if (db->statement[at].text == literal)
            return db->statement[at].stmt;
        if (db->statement[at].text == NULL) {
            *code = sqlite3_prepare_v3(db->sqlite, literal, -1, SQLITE_PREPARE_PERSISTENT,
                                       &db->statement[at].stmt, NULL);
            if (*code == SQLITE_OK)
                db->statement[at].text = literal;
            return db->statement[at].stmt;
        }
    }
    *code = SQLITE_FULL;
    return NULL;
}

void
query_open(struct query *q, struct store_db *db, const char *literal)
{
    int code = SQLITE_OK;

    memset(q, 0, sizeof(*q));
    q->db = db;
    q->stmt = statement_get(db, literal, &code);
    if (q->stmt == NULL) {
        q->err = db_error(db, code);
        if (q->err == LK_OK)
            q->err = LK_ERR_IO;
    }
}

static void
query_check(struct query *q, int code)
{
    if (code != SQLITE_OK)
        q->err = db_error(q->db, code);
}

void
query_bind(struct query *q, struct lk_span text)
{
    if (q->err == LK_OK)
        query_check(q, sqlite3_bind_text(q->stmt, ++q->bound,
                                         text.ptr == NULL ? "" : (const char *)text.ptr,
                                         (int)text.len, SQLITE_STATIC));
}

void
query_bind_or_null(struct query *q, struct lk_span text)
{
    if (text.ptr != NULL)
        query_bind(q, text);
    else if (q->err == LK_OK)
        query_check(q, sqlite3_bind_null(q->stmt, ++q->bound));
}

void
query_bind_string(struct query *q, const char *text)
{
    query_bind(q, lk_span_text(text));
}

void
query_bind_blob(struct query *q, struct lk_span bytes)
{
    if (q->err == LK_OK)
        query_check(q, sqlite3_bind_blob(q->stmt, ++q->bound,
                                         bytes.ptr == NULL ? (const void *)"" : bytes.ptr,
                                         (int)bytes.len, SQLITE_STATIC));
}

void
query_bind_int(struct query *q, int64_t value)
{
    if (q->err == LK_OK)
        query_check(q, sqlite3_bind_int64(q->stmt, ++q->bound, value));
}

void
query_bind_int_or_null(struct query *q, int64_t value, int64_t null)
{
    if (value != null)
        query_bind_int(q, value);
    else if (q->err == LK_OK)
        query_check(q, sqlite3_bind_null(q->stmt, ++q->bound));
}

bool
query_next(struct query *q)
{
    int code;

    if (q->err != LK_OK)
        return false;
    q->column = 0;
    code = sqlite3_step(q->stmt);
    if (code == SQLITE_ROW) {
        q->found = true;
        return true;
    }
    if (code != SQLITE_DONE)
        q->err = db_error(q->db, code);
    return false;
}

void
query_run(struct query *q)
{
    while (query_next(q))
        ;
}

struct lk_span
query_span(struct query *q)
{
    const void *ptr;
    int column = q->column++;

    if (q->err != LK_OK)
        return (struct lk_span){NULL, 0};
    ptr = sqlite3_column_blob(q->stmt, column);
    if (ptr == NULL && sqlite3_column_type(q->stmt, column) != SQLITE_NULL)
        return lk_span_of("", 0);
    return lk_span_of(ptr, (size_t)sqlite3_column_bytes(q->stmt, column));
}

void
query_text(struct query *q, char *out, size_t size)
{
    struct lk_span text = query_span(q);

    out[0] = '\0';
    if (text.len >= size) {
        q->err = LK_ERR_IO;
        return;
    }
    if (text.len > 0)
        memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
}

void
query_blob(struct query *q, uint8_t *out, size_t size)
{
    struct lk_span bytes = query_span(q);

    memset(out, 0, size);
    if (q->err == LK_OK && bytes.len != size)
        q->err = LK_ERR_IO;
    else if (q->err == LK_OK)
        memcpy(out, bytes.ptr, size);
}

int64_t
query_int(struct query *q)
{
    int column = q->column++;

    return q->err == LK_OK ? sqlite3_column_int64(q->stmt, column) : 0;
}

bool
query_is_null(struct query *q)
{
    return q->err != LK_OK || sqlite3_column_type(q->stmt, q->column) == SQLITE_NULL;
}

int
query_changes(const struct query *q)
{
    return q->err == LK_OK ? sqlite3_changes(q->db->sqlite) : 0;
}

enum lk_err
query_close(struct query *q)
{
    if (q->stmt != NULL) {
        sqlite3_reset(q->stmt);
        /* What was bound belongs to the caller and may be gone, or secret, from here on. */
        sqlite3_clear_bindings(q->stmt);
    }
    q->stmt = NULL;
    return q->err;
}

enum lk_err
query_close_found(struct query *q)
{
    enum lk_err err = query_close(q);

    return err == LK_OK && !q->found ? LK_ERR_NOT_FOUND : err;
}

enum lk_err
query_run_close(struct query *q)
{
    query_run(q);
    return query_close(q);
}

enum lk_err
query_run_close_changed(struct query *q)
{
    int changes;

    query_run(q);
    changes = query_changes(q);
    if (query_close(q) != LK_OK)
        return q->err;
    return changes == 0 ? LK_ERR_NOT_FOUND : LK_OK;
}
