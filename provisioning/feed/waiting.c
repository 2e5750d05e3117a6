/*
 * Requests that wait for news. A waiter lies in its call's own room. Whoever takes it off the list
 * ends it, so it ends once: its timer, its own worker, or the worker that gets the writer's letter.
 */
#include "feed.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "../mailbox.h"

struct waiter {
    struct waiter *next, *prev; /* under the feed's lock; the oldest first */
    bool is_listed;             /* under the feed's lock */
    struct feed *feed;
    struct http_call *call;
    struct event *timer;
    struct letter letter;
    struct feed_question question;
};

struct feed {
    pthread_mutex_t lock;
    struct waiter *first, *last;
    unsigned count;
    bool is_closed;
};

enum lk_err
feed_new(struct service *service, struct feed **out)
{
    struct feed *feed = calloc(1, sizeof(*feed));

    *out = feed;
    if (feed == NULL || pthread_mutex_init(&feed->lock, NULL) != 0) {
        free(feed);
        *out = NULL;
        return LK_ERR_NOMEM;
    }
    store_feed_watch(service->store, feed_tell, feed);
    return LK_OK;
}

void
feed_free(struct feed *feed)
{
    if (feed == NULL)
        return;
    pthread_mutex_destroy(&feed->lock);
    free(feed);
}

/* --- The list, under the lock ------------------------------------------------------------------
 */

static void
list_add(struct feed *feed, struct waiter *w)
{
    w->prev = feed->last;
    w->next = NULL;
    if (feed->last != NULL)
        feed->last->next = w;
    else
        feed->first = w;
    feed->last = w;
    feed->count++;
    w->is_listed = true;
}

static void
list_cut(struct feed *feed, struct waiter *w)
{
    if (w->prev != NULL)
        w->prev->next = w->next;
    else
        feed->first = w->next;
    if (w->next != NULL)
        w->next->prev = w->prev;
    else
        feed->last = w->prev;
    w->is_listed = false;
    feed->count--;
}

static void
list_post(struct feed *feed, struct waiter *w)
{
    list_cut(feed, w);
    mailbox_post(http_mailbox(w->call), &w->letter);
}

/** A client that comes back again and again, without its old connections being noticed as dead,
 * takes no room from others: its oldest request is answered. */
static void
list_make_room(struct feed *feed, const char *client)
{
    struct waiter *oldest = NULL;
    unsigned count = 0;

    for (struct waiter *w = feed->first; w != NULL; w = w->next) {
        if (strcmp(w->call->caller.id, client) != 0)
            continue;
        if (oldest == NULL)
            oldest = w;
        count++;
    }
    if (count >= FEED_CLIENT_MAX)
        list_post(feed, oldest);
}

/* --- Taking and putting ------------------------------------------------------------------------
 */

static bool
waiter_put(struct feed *feed, struct waiter *w)
{
    bool is_room;

    pthread_mutex_lock(&feed->lock);
    list_make_room(feed, w->call->caller.id);
    is_room = !feed->is_closed && feed->count < FEED_WAITERS_MAX;
    if (is_room)
        list_add(feed, w);
    pthread_mutex_unlock(&feed->lock);
    return is_room;
}

static bool
waiter_take(struct waiter *w)
{
    bool is_mine;

    pthread_mutex_lock(&w->feed->lock);
    is_mine = w->is_listed;
    if (is_mine)
        list_cut(w->feed, w);
    pthread_mutex_unlock(&w->feed->lock);
    return is_mine;
}

void
feed_tell(void *arg)
{
    struct feed *feed = arg;

    pthread_mutex_lock(&feed->lock);
    while (feed->first != NULL)
        list_post(feed, feed->first);
    pthread_mutex_unlock(&feed->lock);
}

void
feed_close(struct feed *feed)
{
    if (feed == NULL)
        return;
    pthread_mutex_lock(&feed->lock);
    feed->is_closed = true;
    pthread_mutex_unlock(&feed->lock);
    feed_tell(feed);
}

/* --- On the call's own thread -------------------------------------------------------------------
 */

/** The answer as it is now, with news or without. */
static void
waiter_end(struct waiter *w)
{
    struct http_call *call = w->call;
    json_t *body;
    bool is_news;
    enum lk_err err = feed_answer(call, &w->question, &body, &is_news);

    if (w->timer != NULL)
        event_free(w->timer);
    if (err == LK_OK)
        http_answer(call, 200, body);
    else
        http_fail(call, err);
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
    if (waiter_take(w))
        waiter_end(w);
}

static bool
waiter_start(struct waiter *w)
{
    const struct timeval wait = {.tv_sec = (time_t)w->question.wait_s};

    w->timer = event_new(http_base(w->call), -1, EV_TIMEOUT, on_timer, w);
    return w->timer != NULL && event_add(w->timer, &wait) == 0 && waiter_put(w->feed, w);
}

/** Something may have come between the look and the list. */
static bool
is_late(struct waiter *w)
{
    struct store_feed_page head;

    return store_feed_head(w->call->db, &head) != LK_OK || head.seq != w->question.after;
}

void
feed_park(struct feed *feed, struct http_call *call, const struct feed_question *question)
{
    struct waiter *w = http_room(call, sizeof(*w));

    if (w == NULL) {
        http_fail(call, LK_ERR_NOMEM);
        return;
    }
    w->feed = feed;
    w->call = call;
    w->question = *question;
    w->letter = (struct letter){.run = on_letter, .arg = w};
    if (!waiter_start(w)) {
        if (w->timer != NULL)
            event_free(w->timer);
        http_retry_after(call, 5);
        http_problem(call, 503, "too_many_waiting", "as many requests wait for news as may");
        return;
    }
    if (is_late(w) && waiter_take(w))
        waiter_end(w);
}
