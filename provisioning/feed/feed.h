/*
 * provisioning/feed/feed.h - GET /v1/feed: what has become void, for brokers and gateways.
 *
 * A request that asks for news when there is none is parked: the answer leaves when the next commit
 * brings some, or when its time is over. Parked requests belong to their workers; the writer only
 * posts letters.
 */
#ifndef PROVISIONING_FEED_H
#define PROVISIONING_FEED_H

#include "../http/router.h"

struct feed;

/** The store must be open. */
LK_MUST_CHECK enum lk_err feed_new(struct service *service, struct feed **out);
/** Answer everybody who waits, and let nobody wait any more. NULL is fine. */
void feed_close(struct feed *feed);
/** After the store is closed and the workers have ended. NULL is fine. */
void feed_free(struct feed *feed);

/** Any thread: there is something new. */
void feed_tell(void *feed);

/** @param after  below 0: nothing is known yet. */
struct feed_question {
    char epoch[FEED_EPOCH_MAX + 1];
    int64_t after;
    unsigned wait_s;
};

/** Set the answer to a question. @param is_news [out] there is something the asker does not know.
 */
LK_MUST_CHECK enum lk_err feed_answer(struct http_call *call, const struct feed_question *question,
                                      json_t **body, bool *is_news);

/** Park a call, or answer it if that is not possible. */
void feed_park(struct feed *feed, struct http_call *call, const struct feed_question *question);

LK_MUST_CHECK enum lk_err feed_add_routes(struct router *router);

#endif
