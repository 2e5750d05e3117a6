/*
 * provisioning/store/sqlite.h - inside the store: connections, statements, queries.
 *
 * A query remembers its first error and does nothing after it, so one looks once, at the end:
 *
 *     query_open(&q, db, "SELECT name FROM devices WHERE id = ?");
 *     query_bind(&q, id);
 *     if (query_next(&q))
 *         query_text(&q, device->name, sizeof(device->name));
 *     err = query_close(&q);
 *
 * Statements are prepared once per connection and found again by the address of their text, so the
 * text must be a literal.
 */
#ifndef PROVISIONING_SQLITE_H
#define PROVISIONING_SQLITE_H

#include <sqlite3.h>

#include "store.h"

#define STATEMENTS_MAX 256 /* a power of two, well above the number of statements there are */

struct store_db {
    sqlite3 *sqlite;
    bool
        feed_grew; /* a write may have put something into the feed; the writer looks after commit */
    struct {
        const char *text;
        sqlite3_stmt *stmt;
    } statement[STATEMENTS_MAX];
};

struct query {
    struct store_db *db;
    sqlite3_stmt *stmt;
    enum lk_err err;
    int bound;  /* parameters bound so far */
    int column; /* next column of the row */
    bool found; /* there was a row */
};

/** @param flags  SQLITE_OPEN_... */
LK_MUST_CHECK enum lk_err db_open(const char *path, int flags, struct store_db **out);
void db_close(struct store_db *db);

/** Several statements without parameters; not prepared. */
LK_MUST_CHECK enum lk_err db_exec(struct store_db *db, const char *sql);

/** What a result code of SQLite means to us; unexpected ones are logged. */
enum lk_err db_error(struct store_db *db, int code);

/** Bring the schema to the newest version, each step in one transaction. */
LK_MUST_CHECK enum lk_err db_migrate(struct store_db *db);

/** Part of store_clean(): feed entries past their time. */
LK_MUST_CHECK enum lk_err store_feed_trim(struct store_db *db, int64_t now_s, bool *more);

void query_open(struct query *q, struct store_db *db, const char *literal);
void query_bind(struct query *q, struct lk_span text);         /* absent: '' */
void query_bind_or_null(struct query *q, struct lk_span text); /* absent: NULL */
void query_bind_string(struct query *q, const char *text);
void query_bind_blob(struct query *q, struct lk_span bytes);
void query_bind_int(struct query *q, int64_t value);
void query_bind_int_or_null(struct query *q, int64_t value, int64_t null);

bool query_next(struct query *q); /* true: a row is there */
void query_run(struct query *q);  /* a statement without rows */

/* Columns in order. A value that does not fit is LK_ERR_IO: the database was written by others. */
void query_text(struct query *q, char *out, size_t size);
struct lk_span query_span(struct query *q); /* text or blob, until the next step; NULL: absent */
void query_blob(struct query *q, uint8_t *out, size_t size); /* exactly this long */
int64_t query_int(struct query *q);
bool query_is_null(struct query *q); /* of the next column; does not move on */

/** Rows changed by the statement that ran last. */
int query_changes(const struct query *q);

/** @return the first error, or LK_OK. */
enum lk_err query_close(struct query *q);
/** The same, but LK_ERR_NOT_FOUND if there was no row. */
LK_MUST_CHECK enum lk_err query_close_found(struct query *q);
/** The same, for INSERT, UPDATE, DELETE: LK_ERR_NOT_FOUND if nothing changed. */
LK_MUST_CHECK enum lk_err query_run_close_changed(struct query *q);
enum lk_err query_run_close(struct query *q);

#endif
