/*
 * The store: one thread that writes, in groups.
 *
 * While one transaction is being synced to disk the next writes queue up, and go into the next
 * transaction together: with many clients the cost of a sync is shared, with one it is not waited
 * for longer than needed. There is no timer.
 */
#include "sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <latchkey/host/log.h>

#include "../mailbox.h"

#define CHECKPOINT_PAGES 1000 /* of 4 KiB in the log before it is written back */
#define CHECKPOINT_PAGES_HARD                                                                      \
    16000 /* the writer does it itself, so the log cannot grow for ever                            \
           */

struct write {
    struct write *next;
    store_write_fn run;
    store_done_fn done;
    void *arg;
    struct mailbox *reply;
    struct letter letter;
    enum lk_err err;
};

struct store {
    char path[CONFIG_PATH_MAX];
    int lock_fd;
    struct store_db *db; /* the writer's */

    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct write *first, **last;
    size_t waiting;
    bool stopping;
    pthread_t writer;
    bool writer_runs;

    pthread_cond_t checkpoint_wake;
    bool checkpoint_due;
    bool checkpoint_stop;
    pthread_t checkpointer;
    bool checkpointer_runs;

    atomic_bool healthy;

    void (*feed_grew)(void *arg); /* NULL: nobody waits */
    void *feed_arg;
};

/* --- One group ------------------------------------------------------------------------------ */

static void
write_run(struct store_db *db, struct write *write)
{
    enum lk_err err = db_exec(db, "SAVEPOINT one");

    if (err == LK_OK) {
        err = write->run(db, write->arg);
        /* A full disk ends the whole transaction; then there is no savepoint to go back to. */
        if (err != LK_OK && !sqlite3_get_autocommit(db->sqlite) &&
            db_exec(db, "ROLLBACK TO one") != LK_OK)
            err = LK_ERR_IO;
        if (!sqlite3_get_autocommit(db->sqlite) && db_exec(db, "RELEASE one") != LK_OK)
            err = LK_ERR_IO;
    }
    write->err = err;
}

static void
group_fail(struct write *group, enum lk_err err)
{
    for (struct write *w = group; w != NULL; w = w->next)
        if (w->err == LK_OK)
            w->err = err;
}

static enum lk_err
group_run(struct store_db *db, struct write *group)
{
    enum lk_err err = db_exec(db, "BEGIN IMMEDIATE");

    for (struct write *w = group; w != NULL && err == LK_OK; w = w->next) {
        write_run(db, w);
        if (sqlite3_get_autocommit(db->sqlite))
            err = w->err == LK_OK ? LK_ERR_UNAVAILABLE : w->err;
    }
    if (err == LK_OK)
        err = db_exec(db, "COMMIT");
    if (err != LK_OK) {
        if (!sqlite3_get_autocommit(db->sqlite) && db_exec(db, "ROLLBACK") != LK_OK)
            lk_log(LK_LOG_ERROR, "store err=IO a transaction could not be rolled back");
        group_fail(group, err);
    }
    return err;
}

static void
write_tell(void *arg)
{
    struct write *write = arg;

    if (write->done != NULL)
        write->done(write->err, write->arg);
    free(write);
}

static void
group_tell(struct write *group)
{
    while (group != NULL) {
        struct write *next = group->next;

        group->letter = (struct letter){.run = write_tell, .arg = group};
        if (group->reply != NULL && group->done != NULL)
            mailbox_post(group->reply, &group->letter);
        else
            write_tell(group);
        group = next;
    }
}

/* --- The writer's thread --------------------------------------------------------------------- */

/** Take up to STORE_GROUP_MAX writes, waiting for the first. NULL: nothing left, and stopping. */
static struct write *
group_take(struct store *store)
{
    struct write *group, *end;
    size_t count = 1;

    pthread_mutex_lock(&store->lock);
    while (store->first == NULL && !store->stopping)
        pthread_cond_wait(&store->wake, &store->lock);
    group = store->first;
    if (group != NULL) {
        for (end = group; end->next != NULL && count < STORE_GROUP_MAX; end = end->next)
            count++;
        store->first = end->next;
        if (store->first == NULL)
            store->last = &store->first;
        end->next = NULL;
        store->waiting -= count;
    }
    pthread_mutex_unlock(&store->lock);
    return group;
}

/**
 * The lock file remembers the newest number of the feed. A database with a lower one was put back
 * from a copy: its next numbers would be those of entries that verifiers have already.
 */
static void
feed_remember(struct store *store)
{
    struct store_feed_page head;
    char line[FEED_EPOCH_MAX + 32];
    int len;

    if (store_feed_head(store->db, &head) != LK_OK)
        return;
    len = snprintf(line, sizeof(line), "%s %20lld\n", head.epoch, (long long)head.seq);
    if (pwrite(store->lock_fd, line, (size_t)len, 0) != len)
        lk_log(LK_LOG_WARN, "store what=lock err=IO %s", strerror(errno));
}

static enum lk_err
feed_check(struct store *store)
{
    struct store_feed_page head;
    char line[FEED_EPOCH_MAX + 32] = "", epoch[FEED_EPOCH_MAX + 1] = "";
    long long seq = 0;
    ssize_t len = pread(store->lock_fd, line, sizeof(line) - 1, 0);
    enum lk_err err = store_feed_head(store->db, &head);

    if (err != LK_OK)
        return err;
    if (len > 0 && sscanf(line, "%64s %lld", epoch, &seq) == 2 && strcmp(epoch, head.epoch) == 0 &&
        seq > head.seq) {
        lk_log(LK_LOG_WARN, "store the database is older than what it gave out: a new feed begins");
        err = store_feed_renew(store->db);
    }
    if (err == LK_OK)
        feed_remember(store);
    return err;
}

static void
feed_tell(struct store *store, enum lk_err err)
{
    if (!store->db->feed_grew)
        return;
    store->db->feed_grew = false;
    if (err != LK_OK)
        return;
    feed_remember(store);
    if (store->feed_grew != NULL)
        store->feed_grew(store->feed_arg);
}

void
store_feed_watch(struct store *store, void (*grew)(void *arg), void *arg)
{
    store->feed_grew = grew;
    store->feed_arg = arg;
}

static void *
writer_main(void *arg)
{
    struct store *store = arg;
    struct write *group;

    while ((group = group_take(store)) != NULL) {
        enum lk_err err = group_run(store->db, group);

        atomic_store(&store->healthy, err == LK_OK);
        if (err != LK_OK)
            lk_log(LK_LOG_ERROR, "store what=commit err=%s %s", lk_err_name(err), lk_err_text(err));
        feed_tell(store, err);
        group_tell(group);
    }
    return NULL;
}

/* --- Checkpoints, on a thread of their own: a slow one does not hold up commits --------------- */

static int
on_wal(void *arg, sqlite3 *sqlite, const char *schema, int pages)
{
    struct store *store = arg;

    if (pages >= CHECKPOINT_PAGES_HARD) {
        sqlite3_wal_checkpoint_v2(sqlite, schema, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    } else if (pages >= CHECKPOINT_PAGES) {
        pthread_mutex_lock(&store->lock);
        store->checkpoint_due = true;
        pthread_cond_signal(&store->checkpoint_wake);
        pthread_mutex_unlock(&store->lock);
    }
    return SQLITE_OK;
}

static bool
checkpoint_wait(struct store *store)
{
    bool go_on;

    pthread_mutex_lock(&store->lock);
    while (!store->checkpoint_due && !store->checkpoint_stop)
        pthread_cond_wait(&store->checkpoint_wake, &store->lock);
    store->checkpoint_due = false;
    go_on = !store->checkpoint_stop;
    pthread_mutex_unlock(&store->lock);
    return go_on;
}

static void *
checkpointer_main(void *arg)
{
    struct store *store = arg;
    struct store_db *db;

    if (db_open(store->path, SQLITE_OPEN_READWRITE, &db) != LK_OK) {
        lk_log(LK_LOG_WARN, "store the write-ahead log is written back by the writer only");
        return NULL;
    }
    while (checkpoint_wait(store))
        sqlite3_wal_checkpoint_v2(db->sqlite, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    db_close(db);
    return NULL;
}

/* --- Opening and closing ---------------------------------------------------------------------- */

/** Two servers on one database would each believe they are the only writer. */
static enum lk_err
store_lock(struct store *store)
{
    char path[CONFIG_PATH_MAX + 8];

    snprintf(path, sizeof(path), "%s.lock", store->path);
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock_fd < 0)
        return LK_ERR_IO;
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        lk_log(LK_LOG_ERROR, "store err=BUSY another program uses %s", lk_log_text(store->path));
        return LK_ERR_BUSY;
    }
    return LK_OK;
}

/** Make the file ourselves, so that nobody else can read it for a moment. */
static enum lk_err
store_create(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0)
        return errno == EEXIST ? LK_ERR_EXISTS : LK_ERR_IO;
    close(fd);
    return LK_OK;
}

static enum lk_err
store_start(struct store *store)
{
    sqlite3_wal_hook(store->db->sqlite, on_wal, store);
    if (pthread_create(&store->writer, NULL, writer_main, store) != 0)
        return LK_ERR_UNAVAILABLE;
    store->writer_runs = true;
    if (pthread_create(&store->checkpointer, NULL, checkpointer_main, store) != 0)
        return LK_ERR_UNAVAILABLE;
    store->checkpointer_runs = true;
    return LK_OK;
}

enum lk_err
store_open(const char *path, bool create, struct store **out)
{
    struct store *store = calloc(1, sizeof(*store));
    enum lk_err err;

    *out = NULL;
    if (store == NULL)
        return LK_ERR_NOMEM;
    store->lock_fd = -1;
    store->last = &store->first;
    atomic_init(&store->healthy, true);
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->wake, NULL);
    pthread_cond_init(&store->checkpoint_wake, NULL);
    err = LK_ERR_LIMIT;
    if (snprintf(store->path, sizeof(store->path), "%s", path) >= (int)sizeof(store->path))
        goto fail;
    err = create ? store_create(path) : LK_OK;
    if (err == LK_OK && !create && access(path, F_OK) != 0)
        err = LK_ERR_NOT_FOUND; /* before a lock file is left beside nothing */
    if (err == LK_OK)
        err = store_lock(store);
    if (err == LK_OK)
        err = db_open(path, SQLITE_OPEN_READWRITE, &store->db);
    if (err == LK_OK)
        err = db_exec(store->db, "PRAGMA journal_mode = WAL");
    if (err == LK_OK)
        err = db_migrate(store->db);
    if (err == LK_OK)
        err = feed_check(store);
    if (err == LK_OK)
        err = store_start(store);
    if (err != LK_OK)
        goto fail;
    *out = store;
    return LK_OK;
fail:
    store_close(store);
    return err;
}

void
store_close(struct store *store)
{
    if (store == NULL)
        return;
    pthread_mutex_lock(&store->lock);
    store->stopping = true;
    store->checkpoint_stop = true;
    pthread_cond_signal(&store->wake);
    pthread_cond_signal(&store->checkpoint_wake);
    pthread_mutex_unlock(&store->lock);
    if (store->writer_runs)
        pthread_join(store->writer, NULL);
    if (store->checkpointer_runs)
        pthread_join(store->checkpointer, NULL);
    db_close(store->db);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    pthread_cond_destroy(&store->checkpoint_wake);
    pthread_cond_destroy(&store->wake);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

enum lk_err
store_reader_open(struct store *store, struct store_db **out)
{
    enum lk_err err = db_open(store->path, SQLITE_OPEN_READWRITE, out);

    if (err != LK_OK)
        return err;
    /* Opened for writing because a reader in WAL mode must be able to write the shared index. */
    err = db_exec(*out, "PRAGMA query_only = ON");
    if (err != LK_OK) {
        db_close(*out);
        *out = NULL;
    }
    return err;
}

void
store_reader_close(struct store_db *db)
{
    db_close(db);
}

bool
store_is_healthy(struct store *store)
{
    return atomic_load(&store->healthy);
}

/* --- Queueing ----------------------------------------------------------------------------------
 */

static enum lk_err
write_put(struct store *store, const struct write *write, size_t waiting_max)
{
    struct write *w = malloc(sizeof(*w));
    enum lk_err err = LK_OK;

    if (w == NULL)
        return LK_ERR_NOMEM;
    *w = *write;
    pthread_mutex_lock(&store->lock);
    if (store->stopping)
        err = LK_ERR_UNAVAILABLE;
    else if (store->waiting >= waiting_max)
        err = LK_ERR_BUSY;
    if (err == LK_OK) {
        *store->last = w;
        store->last = &w->next;
        if (store->waiting++ == 0)
            pthread_cond_signal(&store->wake);
    }
    pthread_mutex_unlock(&store->lock);
    if (err != LK_OK)
        free(w);
    return err;
}

enum lk_err
store_write(struct store *store, struct mailbox *reply, store_write_fn run, store_done_fn done,
            void *arg)
{
    const struct write write = {.run = run, .done = done, .arg = arg, .reply = reply};

    return write_put(store, &write, STORE_QUEUE_MAX);
}

enum lk_err
store_write_spare(struct store *store, store_write_fn run, store_done_fn done, void *arg)
{
    const struct write write = {.run = run, .done = done, .arg = arg};

    return write_put(store, &write, STORE_SPARE_MAX);
}

struct waiter {
    store_write_fn run;
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool done;
    enum lk_err err;
};

static enum lk_err
waiter_run(struct store_db *db, void *arg)
{
    struct waiter *waiter = arg;

    return waiter->run(db, waiter->arg);
}

static void
waiter_done(enum lk_err err, void *arg)
{
    struct waiter *waiter = arg;

    pthread_mutex_lock(&waiter->lock);
    waiter->err = err;
    waiter->done = true;
    pthread_cond_signal(&waiter->wake);
    pthread_mutex_unlock(&waiter->lock);
}

enum lk_err
store_write_wait(struct store *store, store_write_fn run, void *arg)
{
    struct waiter waiter = {.run = run, .arg = arg};
    enum lk_err err;

    pthread_mutex_init(&waiter.lock, NULL);
    pthread_cond_init(&waiter.wake, NULL);
    err = store_write(store, NULL, waiter_run, waiter_done, &waiter);
    if (err == LK_OK) {
        pthread_mutex_lock(&waiter.lock);
        while (!waiter.done)
            pthread_cond_wait(&waiter.wake, &waiter.lock);
        pthread_mutex_unlock(&waiter.lock);
        err = waiter.err;
    }
    pthread_cond_destroy(&waiter.wake);
    pthread_mutex_destroy(&waiter.lock);
    return err;
}
