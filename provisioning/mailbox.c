#include "mailbox.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <sys/eventfd.h>
#include <unistd.h>

#include <event2/event.h>

struct mailbox {
    pthread_mutex_t lock;
    struct letter *first, **last;
    struct event *event;
    int fd;
};

static struct letter *
mailbox_take(struct mailbox *box)
{
    struct letter *first;

    pthread_mutex_lock(&box->lock);
    first = box->first;
    box->first = NULL;
    box->last = &box->first;
    pthread_mutex_unlock(&box->lock);
    return first;
}

static void
mailbox_on_letter(evutil_socket_t fd, short what, void *arg)
{
    struct mailbox *box = arg;
    struct letter *letter;
    uint64_t count;

    (void)what;
    /* Emptied before the letters are taken: one that comes in between rings again. */
    if (read(fd, &count, sizeof(count)) < 0)
        return;
    letter = mailbox_take(box);
    while (letter != NULL) {
        struct letter *next = letter->next; /* run() may free or reuse the letter */

        letter->run(letter->arg);
        letter = next;
    }
}

enum lk_err
mailbox_new(struct event_base *base, struct mailbox **out)
{
    struct mailbox *box = calloc(1, sizeof(*box));

    *out = NULL;
    if (box == NULL)
        return LK_ERR_NOMEM;
    box->last = &box->first;
    pthread_mutex_init(&box->lock, NULL);
    box->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (box->fd < 0)
        goto fail;
    box->event = event_new(base, box->fd, EV_READ | EV_PERSIST, mailbox_on_letter, box);
    if (box->event == NULL || event_add(box->event, NULL) != 0)
        goto fail;
    *out = box;
    return LK_OK;
fail:
    mailbox_free(box);
    return LK_ERR_UNAVAILABLE;
}

void
mailbox_free(struct mailbox *box)
{
    if (box == NULL)
        return;
    if (box->event != NULL)
        event_free(box->event);
    if (box->fd >= 0)
        close(box->fd);
    pthread_mutex_destroy(&box->lock);
    free(box);
}

void
mailbox_post(struct mailbox *box, struct letter *letter)
{
    static const uint64_t one = 1;
    bool was_empty;

    letter->next = NULL;
    pthread_mutex_lock(&box->lock);
    was_empty = box->first == NULL;
    *box->last = letter;
    box->last = &letter->next;
    pthread_mutex_unlock(&box->lock);
    /* An eventfd refuses a write only when its counter is full, and then it is readable anyway. */
    if (was_empty && write(box->fd, &one, sizeof(one)) < 0)
        return;
}
