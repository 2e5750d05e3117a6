/*
 * provisioning/mailbox.h - run a function on the thread of an event loop, from any thread.
 */
#ifndef PROVISIONING_MAILBOX_H
#define PROVISIONING_MAILBOX_H

#include <latchkey/err.h>

struct event_base;
struct mailbox;

typedef void (*mailbox_fn)(void *arg);

/** One letter; the sender places it and leaves it alone until its function runs. */
struct letter {
    struct letter *next;
    mailbox_fn run;
    void *arg;
};

LK_MUST_CHECK enum lk_err mailbox_new(struct event_base *base, struct mailbox **out);
/** On the loop's own thread, when nobody posts any more. NULL is fine. */
void mailbox_free(struct mailbox *box);

/** Never fails, never blocks; letters run in the order they were posted. */
void mailbox_post(struct mailbox *box, struct letter *letter);

#endif
