#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include <latchkey/host/log.h>

#include "desk/inside.h"
#include "http/router.h"
#include "mailbox.h"

/* In the call's own room. The call's thread makes and ends it; the desk's thread may take it off
 * the list and post its letter, and whoever took it off is the one who ends it. */
struct waiter {
    struct waiter *next, *prev; /* under the owner's lock */
    bool is_listed;             /* under the owner's lock */
    struct waiters *owner;
    struct http_call *call;
    struct event *timer;
    struct letter letter;
    char command[COMMAND_ID_LEN + 1];
};

enum lk_err
waiters_open(struct waiters *waiters)
{
    *waiters = (struct waiters){.first = NULL};
    return pthread_mutex_init(&waiters->lock, NULL) == 0 ? LK_OK : LK_ERR_NOMEM;
}

void
waiters_free(struct waiters *waiters)
{
    pthread_mutex_destroy(&waiters->lock);
}

static bool
list_put(struct waiters *waiters, struct waiter *w)
{
    bool is_room;

    pthread_mutex_lock(&waiters->lock);
    is_room = !waiters->is_closed && waiters->count < DESK_WAITERS_MAX;
    if (is_room) {
        w->next = waiters->first;
        if (w->next != NULL)
            w->next->prev = w;
        waiters->first = w;
        waiters->count++;
        w->is_listed = true;
    }
    pthread_mutex_unlock(&waiters->lock);
    return is_room;
}

/* Under the lock. */
static void
list_cut(struct waiters *waiters, struct waiter *w)
{
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        waiters->first = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    w->next = w->prev = NULL;
    w->is_listed = false;
    waiters->count--;
}

static bool
list_take(struct waiters *waiters, struct waiter *w)
{
    bool is_mine;

    pthread_mutex_lock(&waiters->lock);
    is_mine = w->is_listed;
    if (is_mine)
        list_cut(waiters, w);
    pthread_mutex_unlock(&waiters->lock);
    return is_mine;
}

/* The command as it is now. false: it could not be read, the answer that is set stays. */
static bool
set_answer(struct waiter *w, bool *is_over)
{
    struct store_command command;
    size_t cap = COMMAND_ARGS_MAX + COMMAND_DETAIL_MAX;
    uint8_t *room = malloc(cap);
    json_t *json = NULL;

    *is_over = false;
    if (room != NULL && store_command_get(w->call->db, lk_span_text(w->command),
                                          (struct lk_buf){room, cap}, &command) == LK_OK) {
        *is_over =
            command.state != STORE_COMMAND_PENDING && command.state != STORE_COMMAND_DELIVERED;
        command.args = (struct lk_span){NULL, 0};
        json = command_json(&command);
    }
    free(room);
    if (json != NULL)
        http_answer(w->call, 202, json);
    return json != NULL;
}

/* On the call's thread, once, by whoever took the waiter off the list. */
static void
waiter_end(struct waiter *w)
{
    bool is_over;

    event_free(w->timer);
    (void)set_answer(w, &is_over);
    http_send(w->call);
}

static void
on_letter(void *arg)
{
    waiter_end(arg);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct waiter *w = arg;

    (void)fd;
    (void)what;
    if (list_take(w->owner, w))
        waiter_end(w);
}

static bool
waiter_start(struct waiters *waiters, struct waiter *w, unsigned wait_s)
{
    struct timeval wait = {.tv_sec = (time_t)wait_s};

    w->timer = event_new(http_base(w->call), -1, EV_TIMEOUT, on_timer, w);
    if (w->timer == NULL)
        return false;
    if (event_add(w->timer, &wait) == 0 && list_put(waiters, w))
        return true;
    event_free(w->timer);
    return false;
}

void
waiters_hold(struct waiters *waiters, struct http_call *call, const char *command, unsigned wait_s)
{
    struct waiter *w = http_room(call, sizeof(*w));
    bool is_over;

    if (w == NULL) {
        http_send(call);
        return;
    }
    w->owner = waiters;
    w->call = call;
    w->letter.run = on_letter;
    w->letter.arg = w;
    memcpy(w->command, command, sizeof(w->command));
    if (!waiter_start(waiters, w, wait_s)) {
        lk_log(LK_LOG_DEBUG, "command.wait outcome=full");
        http_send(call);
        return;
    }
    /* It may have come to its end between the commit and the list. */
    if (set_answer(w, &is_over) && is_over && list_take(waiters, w))
        waiter_end(w);
}

void
waiters_tell(struct waiters *waiters, const char *command)
{
    struct waiter *w, *next;

    pthread_mutex_lock(&waiters->lock);
    for (w = waiters->first; w != NULL; w = next) {
        next = w->next;
        if (command != NULL && strcmp(w->command, command) != 0)
            continue;
        list_cut(waiters, w);
        mailbox_post(http_mailbox(w->call), &w->letter);
    }
    pthread_mutex_unlock(&waiters->lock);
}

void
waiters_close(struct waiters *waiters)
{
    pthread_mutex_lock(&waiters->lock);
    waiters->is_closed = true;
    pthread_mutex_unlock(&waiters->lock);
    waiters_tell(waiters, NULL);
}
