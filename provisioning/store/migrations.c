/*
 * The schema, step by step. A step that was released is never changed; the next one follows it.
 */
#include "sqlite.h"

#include <stdio.h>

#include <latchkey/host/log.h>

/* clang-format off */
static const char *const steps[] = {
/* 1: devices, clients, keys, refresh families, the desk, audit */
"CREATE TABLE ids ("                       /* devices and clients share one space of ids, */
"  id TEXT PRIMARY KEY,"                   /* and an id is never given out twice */
"  kind TEXT NOT NULL"
") STRICT, WITHOUT ROWID;"

"CREATE TABLE devices ("
"  id TEXT PRIMARY KEY,"
"  tenant TEXT NOT NULL,"                  /* '': the default tenant */
"  type TEXT NOT NULL,"
"  name TEXT NOT NULL,"
"  location TEXT NOT NULL,"
"  parent TEXT NOT NULL,"                  /* '': none */
"  tags TEXT NOT NULL,"                    /* a JSON array; device_tags has them one by one */
"  state INTEGER NOT NULL,"
"  generation INTEGER NOT NULL,"
"  secret_hash BLOB NOT NULL,"
"  psk BLOB NOT NULL,"                     /* sealed */
"  registered_s INTEGER NOT NULL,"
"  registered_by TEXT NOT NULL"
") STRICT, WITHOUT ROWID;"
"CREATE INDEX devices_by_tenant ON devices (tenant, id);"
"CREATE INDEX devices_by_type ON devices (tenant, type, id);"
"CREATE INDEX devices_by_parent ON devices (parent, id) WHERE parent <> '';"

"CREATE TABLE device_tags ("
"  tag TEXT NOT NULL,"
"  device TEXT NOT NULL,"
"  PRIMARY KEY (tag, device)"
") STRICT, WITHOUT ROWID;"

"CREATE TABLE device_live ("               /* what changes often, away from what is indexed */
"  device TEXT PRIMARY KEY,"
"  online INTEGER NOT NULL,"
"  since_s INTEGER NOT NULL,"
"  last_seen_s INTEGER NOT NULL"
") STRICT, WITHOUT ROWID;"

"CREATE TABLE telemetry_latest ("
"  device TEXT PRIMARY KEY,"
"  received_ms INTEGER NOT NULL,"
"  battery INTEGER,"
"  rssi INTEGER,"
"  payload TEXT NOT NULL"
") STRICT;"

"CREATE TABLE clients ("
"  id TEXT PRIMARY KEY,"
"  tenant TEXT NOT NULL,"
"  role TEXT NOT NULL,"
"  name TEXT NOT NULL,"
"  scopes TEXT NOT NULL,"                  /* '': those of the role */
"  lifetime_s INTEGER NOT NULL,"           /* 0: the role's */
"  state INTEGER NOT NULL,"
"  generation INTEGER NOT NULL,"
"  secret_hash BLOB NOT NULL,"
"  created_s INTEGER NOT NULL,"
"  created_by TEXT NOT NULL"
") STRICT, WITHOUT ROWID;"
"CREATE INDEX clients_by_tenant ON clients (tenant, id);"

"CREATE TABLE commands ("
"  id TEXT PRIMARY KEY,"
"  device TEXT NOT NULL,"
"  name TEXT NOT NULL,"
"  args TEXT,"
"  sent_by TEXT NOT NULL,"
"  state INTEGER NOT NULL,"
"  issued_s INTEGER NOT NULL,"
"  expires_s INTEGER NOT NULL,"
"  delivered_s INTEGER NOT NULL,"
"  finished_s INTEGER NOT NULL,"
"  detail TEXT,"
"  due_s INTEGER NOT NULL DEFAULT 0"       /* not to be published before; store_command_defer() */
") STRICT;"
"CREATE INDEX commands_by_device ON commands (device, id);"
"CREATE INDEX commands_pending ON commands (id) WHERE state = 1;"
"CREATE INDEX commands_to_publish ON commands (due_s, id) WHERE state = 1;"
"CREATE INDEX commands_open ON commands (device, id) WHERE state <= 2;"
"CREATE INDEX commands_due ON commands (expires_s) WHERE state <= 2;"
"CREATE INDEX commands_finished ON commands (finished_s) WHERE state > 2;"

"CREATE TABLE refresh_families ("
"  seq INTEGER PRIMARY KEY AUTOINCREMENT," /* the order they were made in */
"  id BLOB NOT NULL UNIQUE,"
"  device TEXT NOT NULL,"
"  scopes TEXT NOT NULL,"
"  audience INTEGER NOT NULL,"
"  generation INTEGER NOT NULL,"
"  counter INTEGER NOT NULL,"
"  created_s INTEGER NOT NULL,"
"  expires_s INTEGER NOT NULL,"
"  rotated_ms INTEGER NOT NULL,"
"  revoked_s INTEGER NOT NULL"
") STRICT;"
"CREATE INDEX refresh_families_by_device ON refresh_families (device, seq);"
"CREATE INDEX refresh_families_by_expiry ON refresh_families (expires_s);"

"CREATE TABLE answers ("                   /* Idempotency-Key */
"  caller TEXT NOT NULL,"
"  key TEXT NOT NULL,"
"  body BLOB NOT NULL,"
"  sealed BLOB NOT NULL,"
"  until_s INTEGER NOT NULL,"
"  PRIMARY KEY (caller, key)"
") STRICT, WITHOUT ROWID;"
"CREATE INDEX answers_by_until ON answers (until_s);"

"CREATE TABLE signing_keys ("
"  kid TEXT PRIMARY KEY,"
"  alg INTEGER NOT NULL,"
"  signs INTEGER NOT NULL,"
"  created_s INTEGER NOT NULL,"
"  sealed BLOB NOT NULL"
") STRICT;"

"CREATE TABLE audit ("
"  seq INTEGER PRIMARY KEY AUTOINCREMENT,"
"  at_ms INTEGER NOT NULL,"
"  who TEXT NOT NULL,"
"  what TEXT NOT NULL,"
"  target TEXT NOT NULL,"
"  origin TEXT NOT NULL,"
"  result TEXT NOT NULL,"
"  request_id TEXT NOT NULL"
") STRICT;"
"CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit "
"BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;",

/* 2: revocation: the feed, secrets that overlap, soft deletion, key rotation, denials */
"CREATE TABLE meta ("
"  name TEXT PRIMARY KEY,"
"  value TEXT NOT NULL"
") STRICT, WITHOUT ROWID;"
"INSERT INTO meta VALUES ('feed_epoch', lower(hex(randomblob(16))));"
"INSERT INTO meta VALUES ('feed_trimmed', '0');" /* the highest number that was trimmed */

"CREATE TABLE feed ("
"  seq INTEGER PRIMARY KEY AUTOINCREMENT," /* commit order; no number is given twice */
"  kind INTEGER NOT NULL,"
"  value TEXT NOT NULL,"
"  subject TEXT NOT NULL,"                 /* '': a key */
"  generation INTEGER NOT NULL,"           /* kind sub: gen_before; else the token's own */
"  until_s INTEGER NOT NULL,"
"  UNIQUE (kind, value)"
") STRICT;"
"CREATE INDEX feed_by_subject ON feed (subject, generation) WHERE subject <> '';"
"CREATE INDEX feed_by_until ON feed (until_s);"

/* tokens_until_s: when the last token given out expires. While two secrets are valid, tokens of the
 * old one carry old_generation, which is generation - 1. */
"ALTER TABLE devices ADD COLUMN tokens_until_s INTEGER NOT NULL DEFAULT 0;"
"ALTER TABLE devices ADD COLUMN deleted_s INTEGER NOT NULL DEFAULT 0;"
"ALTER TABLE devices ADD COLUMN old_until_s INTEGER NOT NULL DEFAULT 0;"
"ALTER TABLE devices ADD COLUMN old_hash BLOB;"
"ALTER TABLE devices ADD COLUMN old_psk BLOB;"
"CREATE INDEX devices_by_old ON devices (old_until_s) WHERE old_until_s > 0;"
"ALTER TABLE clients ADD COLUMN tokens_until_s INTEGER NOT NULL DEFAULT 0;"
"ALTER TABLE clients ADD COLUMN old_until_s INTEGER NOT NULL DEFAULT 0;"
"ALTER TABLE clients ADD COLUMN old_hash BLOB;"
"CREATE INDEX clients_by_old ON clients (old_until_s) WHERE old_until_s > 0;"
/* Tokens from before this step were not written down: a year is the longest that can be
 * configured. */
"UPDATE devices SET tokens_until_s = unixepoch() + 31622400;"
"UPDATE clients SET tokens_until_s = unixepoch() + 31622400;"

/* Ids and expiries of the access tokens that live, 24 bytes each. crowded: there were more than can
 * be kept, so only the generation ends them all. */
"ALTER TABLE refresh_families ADD COLUMN tokens BLOB NOT NULL DEFAULT x'';"
"ALTER TABLE refresh_families ADD COLUMN crowded INTEGER NOT NULL DEFAULT 0;"
"UPDATE refresh_families SET crowded = 1;"

"ALTER TABLE signing_keys ADD COLUMN signs_from_s INTEGER NOT NULL DEFAULT 0;"
"ALTER TABLE signing_keys ADD COLUMN until_s INTEGER NOT NULL DEFAULT 0;" /* 0: not yet known */

"CREATE TABLE denials ("
"  seq INTEGER PRIMARY KEY AUTOINCREMENT,"
"  device TEXT NOT NULL,"
"  at_s INTEGER NOT NULL,"
"  client_id TEXT NOT NULL,"
"  action TEXT NOT NULL,"
"  topic TEXT NOT NULL,"
"  reason TEXT NOT NULL,"
"  count INTEGER NOT NULL,"
"  reported_by TEXT NOT NULL"
") STRICT;"
"CREATE INDEX denials_by_device ON denials (device, seq);",
};
/* clang-format on */

#define STEP_COUNT ((int)(sizeof(steps) / sizeof(steps[0])))

static enum lk_err
version_get(struct store_db *db, int *version)
{
    struct query q;

    query_open(&q, db, "PRAGMA user_version");
    if (query_next(&q))
        *version = (int)query_int(&q);
    return query_close_found(&q);
}

static enum lk_err
step_run(struct store_db *db, int step)
{
    char version[48];
    enum lk_err err = db_exec(db, "BEGIN IMMEDIATE");

    if (err != LK_OK)
        return err;
    err = db_exec(db, steps[step]);
    if (err == LK_OK) {
        snprintf(version, sizeof(version), "PRAGMA user_version = %d", step + 1);
        err = db_exec(db, version);
    }
    if (err == LK_OK)
        err = db_exec(db, "COMMIT");
    if (err != LK_OK && db_exec(db, "ROLLBACK") != LK_OK)
        return LK_ERR_IO;
    return err;
}

enum lk_err
db_migrate(struct store_db *db)
{
    int version = 0;
    enum lk_err err = version_get(db, &version);

    if (err != LK_OK)
        return err;
    if (version > STEP_COUNT) {
        lk_log(LK_LOG_ERROR,
               "store err=UNSUPPORTED the database has version %d, this program knows %d", version,
               STEP_COUNT);
        return LK_ERR_UNSUPPORTED;
    }
    for (; err == LK_OK && version < STEP_COUNT; version++)
        err = step_run(db, version);
    return err;
}
