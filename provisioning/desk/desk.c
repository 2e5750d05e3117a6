#include "desk/desk.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <latchkey/crypto.h>
#include <latchkey/host/clock.h>
#include <latchkey/host/log.h>

#include "desk/inside.h"
#include "oauth/issue.h"
#include "service.h"

#define INTERRUPT_SIGNAL   (SIGRTMIN + 3) /* ends a connect() that hangs, when we are to stop */
#define INTERRUPT_EVERY_MS 50             /* one that came just before the call is lost: repeat */

/* --- small things ----------------------------------------------------------------------------- */

/* Uniform in [0, below); 0 when there is no randomness, which only costs politeness. */
static int64_t
jitter(int64_t below)
{
    uint32_t value[1] = {0};

    if (below <= 0 || lk_crypto_random(LK_BUF_OF(value)) != LK_OK)
        return 0;
    return (int64_t)value[0] % below;
}

static void
set_connected(struct desk *desk, bool is_connected)
{
    atomic_store(&desk->is_connected, is_connected);
}

static void
finished(const char *command, void *arg)
{
    struct desk *desk = arg;

    waiters_tell(&desk->waiters, command);
}

static void
commit_intake(struct desk *desk)
{
    enum lk_err err =
        intake_commit(&desk->intake, desk->service->store, lk_clock_monotonic_ms(), finished, desk);

    /* A device that showed up may have made its commands due. */
    if (err == LK_OK)
        desk->outbox.is_more = true;
    else if (desk->intake.tries == 1)
        lk_log(LK_LOG_WARN, "desk.commit outcome=delayed messages=%zu err=%s", desk->intake.count,
               lk_err_name(err));
}

/* --- what the connection tells us ------------------------------------------------------------- */

static void
on_ready(void *context, bool is_resumed)
{
    struct desk *desk = context;

    desk->is_ready = true;
    desk->ready_at_ms = lk_clock_monotonic_ms();
    /* No session: the broker has forgotten, and what it had for sleeping devices is gone too. */
    if (!is_resumed)
        desk->is_undefer_due = true;
    desk->outbox.is_more = true;
    desk->sweep_at_ms = 0;
    set_connected(desk, true);
    lk_log(LK_LOG_INFO, "desk.connect outcome=ok session=%s", is_resumed ? "resumed" : "new");
}

static void
on_message(void *context, struct lk_span topic, struct lk_span payload, bool is_retained)
{
    struct desk *desk = context;

    if (intake_is_full(&desk->intake))
        commit_intake(desk);
    if (intake_is_full(&desk->intake)) {
        desk->intake.lost.count++;
        return;
    }
    intake_put(&desk->intake, topic, payload, is_retained, lk_clock_wall_ms(),
               lk_clock_monotonic_ms());
}

static void
on_sent(void *context, int mid, int reason)
{
    struct desk *desk = context;

    outbox_on_sent(&desk->outbox, mid, reason, lk_clock_wall_s(), lk_clock_monotonic_ms());
}

/* --- connecting ------------------------------------------------------------------------------- */

static void
plan_connect(struct desk *desk)
{
    int64_t most_ms = DESK_BACKOFF_BASE_MS;

    for (unsigned i = 0; i < desk->failures && most_ms < DESK_BACKOFF_MAX_MS; i++)
        most_ms *= 2;
    if (most_ms > DESK_BACKOFF_MAX_MS)
        most_ms = DESK_BACKOFF_MAX_MS;
    desk->connect_at_ms = lk_clock_monotonic_ms() + jitter(most_ms);
}

static void
disconnect(struct desk *desk)
{
    mqtt_close(desk->mqtt);
    desk->mqtt = NULL;
    desk->is_ready = false;
    outbox_drop(&desk->outbox);
    set_connected(desk, false);
}

static void
connection_failed(struct desk *desk)
{
    bool was_stable =
        desk->is_ready && lk_clock_monotonic_ms() - desk->ready_at_ms >= DESK_STABLE_MS;

    disconnect(desk);
    desk->failures = was_stable ? 0 : desk->failures + 1;
    plan_connect(desk);
}

/* At about three quarters of its life: long before the plugin would end the connection. */
static void
plan_renewal(struct desk *desk, int64_t life_s)
{
    int64_t life_ms = life_s * 1000;

    desk->renew_at_ms = lk_clock_monotonic_ms() + life_ms * 3 / 4 - jitter(life_ms / 10);
    desk->renew_by_ms = desk->renew_at_ms + life_ms / 10;
}

static enum lk_err
connect_with_token(struct desk *desk, const struct config *config)
{
    struct mqtt_target target = {
        .host = config->desk.mqtt_host,
        .port = (uint16_t)config->desk.mqtt_port,
        .ca_file = config->desk.mqtt_ca[0] != '\0' ? config->desk.mqtt_ca : NULL,
        .client_id = config->desk.client_id,
    };
    const struct mqtt_handler handler = {desk, on_ready, on_message, on_sent};
    uint8_t room[LK_TOKEN_MAX + 1];
    struct lk_span token;
    int64_t expires_s;
    enum lk_err err = oauth_issue_desk(desk->service, config->desk.client_id,
                                       (struct lk_buf){room, sizeof(room) - 1}, &token, &expires_s);

    if (err != LK_OK) {
        lk_log(LK_LOG_ERROR, "desk.connect outcome=no_token err=%s", lk_err_name(err));
        goto out;
    }
    memmove(room, token.ptr, token.len);
    room[token.len] = '\0';
    plan_renewal(desk, expires_s - lk_clock_wall_s());
    atomic_store(&desk->is_connecting, true);
    err = mqtt_open(&target, &handler, (const char *)room, &desk->mqtt);
    atomic_store(&desk->is_connecting, false);
out:
    lk_wipe(room, sizeof(room));
    return err;
}

static void
connect_now(struct desk *desk)
{
    struct config *config = service_config_hold(desk->service);

    if (connect_with_token(desk, config) != LK_OK)
        connection_failed(desk);
    config_drop(config);
}

/* libmosquitto cannot send AUTH, so a new token means a new connection. The session stays at the
 * broker, which keeps QoS 1 messages for the moment in between. */
static bool
is_renewal_due(const struct desk *desk)
{
    return desk->is_ready && lk_clock_monotonic_ms() >= desk->renew_at_ms;
}

static void
renew_if_due(struct desk *desk)
{
    if (!is_renewal_due(desk) ||
        (!outbox_is_idle(&desk->outbox) && lk_clock_monotonic_ms() < desk->renew_by_ms))
        return;
    lk_log(LK_LOG_INFO, "desk.renew reconnecting with a fresh token");
    disconnect(desk);
    desk->connect_at_ms = 0;
}

/* --- commands that are over ------------------------------------------------------------------- */

struct expiry {
    int64_t now_s;
    unsigned count;
    char id[DESK_EXPIRE_MAX][COMMAND_ID_LEN + 1];
};

static void
expire_one(const struct store_command *command, void *arg)
{
    struct expiry *expiry = arg;

    if (expiry->count < DESK_EXPIRE_MAX)
        memcpy(expiry->id[expiry->count++], command->id, sizeof(expiry->id[0]));
}

static enum lk_err
expire_write(struct store_db *db, void *arg)
{
    struct expiry *expiry = arg;

    expiry->count = 0;
    return store_command_expire(db, expiry->now_s, DESK_EXPIRE_MAX, expire_one, expiry);
}

/* @return there may be more. */
static bool
expire(struct desk *desk)
{
    struct expiry *expiry = calloc(1, sizeof(*expiry));
    bool is_more = false;
    enum lk_err err;

    if (expiry == NULL)
        return false;
    expiry->now_s = lk_clock_wall_s();
    err = store_write_wait(desk->service->store, expire_write, expiry);
    if (err == LK_OK) {
        for (unsigned i = 0; i < expiry->count; i++)
            finished(expiry->id[i], desk);
        is_more = expiry->count == DESK_EXPIRE_MAX;
    }
    if (err == LK_OK && expiry->count > 0)
        lk_log(LK_LOG_INFO, "command.expire count=%u", expiry->count);
    free(expiry);
    return is_more;
}

static enum lk_err
undefer_write(struct store_db *db, void *arg)
{
    (void)arg;
    return store_command_undefer(db, (struct lk_span){NULL, 0}, true);
}

static void
sweep(struct desk *desk)
{
    int64_t now_ms = lk_clock_monotonic_ms();

    if (now_ms < desk->sweep_at_ms)
        return;
    desk->sweep_at_ms = expire(desk) ? now_ms : now_ms + DESK_SWEEP_MS;
    if (desk->is_undefer_due &&
        store_write_wait(desk->service->store, undefer_write, NULL) == LK_OK)
        desk->is_undefer_due = false;
    desk->outbox.is_more = true;
}

/* --- the thread ------------------------------------------------------------------------------- */

/* Full, and the store will not have it: leave the rest with the broker. */
static bool
is_paused(const struct desk *desk)
{
    return intake_is_full(&desk->intake) && desk->intake.tries > 0;
}

static int
poll_timeout(const struct desk *desk)
{
    int64_t now_ms = lk_clock_monotonic_ms();
    int64_t wait_ms = desk->sweep_at_ms - now_ms;

    if (desk->mqtt == NULL && !is_paused(desk) && desk->connect_at_ms - now_ms < wait_ms)
        wait_ms = desk->connect_at_ms - now_ms;
    if ((desk->intake.count > 0 && desk->intake.tries == 0) || outbox_has_answers(&desk->outbox))
        wait_ms = wait_ms < DESK_BATCH_AGE_MS ? wait_ms : DESK_BATCH_AGE_MS;
    return wait_ms < 0 ? 0 : (int)wait_ms;
}

static void
drain_wake(struct desk *desk)
{
    uint64_t count;

    if (read(desk->wake_fd, &count, sizeof(count)) == sizeof(count))
        desk->outbox.is_more = true;
}

/* Wait for something to happen and step the connection. */
static void
wait_and_step(struct desk *desk)
{
    struct pollfd fds[2] = {{.fd = desk->wake_fd, .events = POLLIN}, {.fd = -1}};
    nfds_t count = 1;

    /* poll and not select, as mosquitto_loop has it: this process has more than 1024 files open. */
    if (desk->mqtt != NULL) {
        fds[1].fd = mqtt_fd(desk->mqtt);
        if (!is_paused(desk))
            fds[1].events |= POLLIN;
        if (mqtt_wants_write(desk->mqtt))
            fds[1].events |= POLLOUT;
        count = 2;
    }
    if (poll(fds, count, poll_timeout(desk)) < 0 && errno != EINTR) {
        lk_log(LK_LOG_ERROR, "desk.poll errno=%d", errno);
        sleep(1);
    }
    if (fds[0].revents != 0)
        drain_wake(desk);
    if (desk->mqtt != NULL &&
        mqtt_step(desk->mqtt, (fds[1].revents & (POLLIN | POLLERR | POLLHUP)) != 0,
                  (fds[1].revents & POLLOUT) != 0) != LK_OK)
        connection_failed(desk);
}

static void
turn(struct desk *desk)
{
    if (desk->mqtt == NULL && !is_paused(desk) && lk_clock_monotonic_ms() >= desk->connect_at_ms)
        connect_now(desk);
    wait_and_step(desk);
    if (intake_is_due(&desk->intake, lk_clock_monotonic_ms()))
        commit_intake(desk);
    if (outbox_is_due(&desk->outbox, lk_clock_monotonic_ms()))
        outbox_commit(&desk->outbox, desk->service->store, lk_clock_monotonic_ms());
    sweep(desk);
    if (desk->is_ready && desk->outbox.is_more && !desk->is_undefer_due && !is_renewal_due(desk))
        outbox_fill(&desk->outbox, desk->db, desk->mqtt, lk_clock_wall_s());
    renew_if_due(desk);
}

static void
on_interrupt(int number)
{
    (void)number; /* being called is all: a blocking call returns with EINTR */
}

static void
let_interrupts_in(void)
{
    sigset_t set;

    sigfillset(&set);
    sigdelset(&set, INTERRUPT_SIGNAL);
    pthread_sigmask(SIG_SETMASK, &set, NULL);
}

static void *
run(void *arg)
{
    struct desk *desk = arg;

    let_interrupts_in();
    while (!atomic_load(&desk->stop))
        turn(desk);
    if (desk->intake.count > 0)
        commit_intake(desk);
    outbox_commit(&desk->outbox, desk->service->store, lk_clock_monotonic_ms());
    disconnect(desk);
    pthread_mutex_lock(&desk->done_lock);
    desk->is_done = true;
    pthread_cond_signal(&desk->done_cond);
    pthread_mutex_unlock(&desk->done_lock);
    return NULL;
}

/* --- life cycle ------------------------------------------------------------------------------- */

static enum lk_err
start_thread(struct desk *desk)
{
    struct sigaction action = {.sa_handler = on_interrupt}; /* without SA_RESTART */

    sigemptyset(&action.sa_mask);
    if (sigaction(INTERRUPT_SIGNAL, &action, NULL) != 0)
        return LK_ERR_UNAVAILABLE;
    return pthread_create(&desk->thread, NULL, run, desk) == 0 ? LK_OK : LK_ERR_UNAVAILABLE;
}

static bool
is_enabled(struct service *service)
{
    struct config *config = service_config_hold(service);
    bool enabled = config->desk.enabled;

    config_drop(config);
    return enabled;
}

enum lk_err
desk_start(struct service *service, struct desk **desk)
{
    struct desk *d;
    enum lk_err err = LK_ERR_NOMEM;

    *desk = NULL;
    if (!is_enabled(service)) {
        lk_log(LK_LOG_INFO, "desk.start outcome=off");
        return LK_OK;
    }
    d = calloc(1, sizeof(*d));
    if (d == NULL)
        return LK_ERR_NOMEM;
    d->service = service;
    pthread_mutex_init(&d->done_lock, NULL);
    pthread_cond_init(&d->done_cond, NULL);
    d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    err = waiters_open(&d->waiters);
    if (err == LK_OK)
        err = d->wake_fd >= 0 ? mqtt_library_open() : LK_ERR_UNAVAILABLE;
    if (err == LK_OK)
        err = store_reader_open(service->store, &d->db);
    if (err == LK_OK)
        err = start_thread(d);
    if (err != LK_OK) {
        lk_log(LK_LOG_ERROR, "desk.start err=%s", lk_err_name(err));
        desk_free(d);
        return err;
    }
    *desk = d;
    return LK_OK;
}

static void
interrupt_until_done(struct desk *desk)
{
    struct timespec until;

    pthread_mutex_lock(&desk->done_lock);
    while (!desk->is_done) {
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += INTERRUPT_EVERY_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        (void)pthread_cond_timedwait(&desk->done_cond, &desk->done_lock, &until);
        if (!desk->is_done && atomic_load(&desk->is_connecting))
            pthread_kill(desk->thread, INTERRUPT_SIGNAL);
    }
    pthread_mutex_unlock(&desk->done_lock);
}

void
desk_stop(struct desk *desk)
{
    if (desk == NULL)
        return;
    atomic_store(&desk->stop, true);
    desk_wake(desk);
    interrupt_until_done(desk);
    pthread_join(desk->thread, NULL);
    waiters_close(&desk->waiters);
    lk_log(LK_LOG_INFO, "desk.stop stored=%llu malformed=%llu unknown=%llu lost=%llu",
           (unsigned long long)desk->intake.stored,
           (unsigned long long)desk->intake.malformed.count,
           (unsigned long long)desk->intake.unknown.count,
           (unsigned long long)desk->intake.lost.count);
}

void
desk_free(struct desk *desk)
{
    if (desk == NULL)
        return;
    intake_wipe(&desk->intake);
    store_reader_close(desk->db);
    if (desk->wake_fd >= 0)
        close(desk->wake_fd);
    waiters_free(&desk->waiters);
    pthread_mutex_destroy(&desk->done_lock);
    pthread_cond_destroy(&desk->done_cond);
    mqtt_library_close();
    free(desk);
}

void
desk_wake(struct desk *desk)
{
    static const uint64_t one = 1;

    /* A full counter fails, and then the thread is about to wake up anyway. */
    if (desk != NULL && write(desk->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        lk_log(LK_LOG_ERROR, "desk.wake errno=%d", errno);
}

bool
desk_is_connected(const struct desk *desk)
{
    return desk != NULL && atomic_load(&desk->is_connected);
}
