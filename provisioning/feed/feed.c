#include "feed.h"

#include <stdio.h>
#include <string.h>

/* --- Answers --------------------------------------------------------------------------------- */

static const char *
kind_name(enum store_feed_kind kind)
{
    switch (kind) {
    case STORE_FEED_JTI:
        return "jti";
    case STORE_FEED_FAMILY:
        return "family";
    case STORE_FEED_SUB:
        return "sub";
    case STORE_FEED_KID:
        return "kid";
    }
    return "";
}

static void
entry_add(const struct store_feed_entry *entry, void *arg)
{
    json_t *entries = arg;
    json_t *item = json_pack("{s:s, s:s, s:I}", "kind", kind_name(entry->kind), "value",
                             entry->value, "until", (json_int_t)entry->until_s);

    if (entry->kind == STORE_FEED_SUB)
        json_object_set_new(item, "gen_before", json_integer((json_int_t)entry->gen_before));
    json_array_append_new(entries, item);
}

enum lk_err
feed_answer(struct http_call *call, const struct feed_question *question, json_t **body,
            bool *is_news)
{
    json_t *entries = json_array();
    struct store_feed_page page;
    enum lk_err err = store_feed_read(call->db, lk_span_text(question->epoch), question->after,
                                      FEED_PAGE_MAX, &page, entry_add, entries);

    *body = NULL;
    *is_news = false;
    if (err != LK_OK) {
        json_decref(entries);
        return err;
    }
    *is_news = page.full || page.seq != question->after;
    *body = json_pack("{s:s, s:I, s:b, s:b, s:o}", "epoch", page.epoch, "seq", (json_int_t)page.seq,
                      "full", page.full, "more", page.more, "entries", entries);
    return *body == NULL ? LK_ERR_NOMEM : LK_OK;
}

/* --- Questions ---------------------------------------------------------------------------------
 */

static bool
after_take(struct http_call *call, int64_t *after)
{
    struct lk_span text = http_query(call, "after");

    *after = text.ptr == NULL ? -1 : 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || *after > INT64_MAX / 10 - 1) {
            http_problem(call, 400, "invalid_query", "after is a number this server gave out");
            return false;
        }
        *after = *after * 10 + (text.ptr[i] - '0');
    }
    return true;
}

static bool
question_take(struct http_call *call, struct feed_question *question)
{
    static const char *const names[] = {"epoch", "after", "wait", NULL};
    struct lk_span epoch = http_query(call, "epoch");

    if (!http_query_only(call, names) || !after_take(call, &question->after) ||
        !http_query_number(call, "wait", 0, 0, FEED_WAIT_MAX_S, &question->wait_s))
        return false;
    /* An epoch that is too long is none of ours: as good as a wrong one. */
    if (epoch.len > 0 && epoch.len < sizeof(question->epoch))
        memcpy(question->epoch, epoch.ptr, epoch.len);
    return true;
}

static void
feed_get(struct http_call *call)
{
    struct feed_question question = {.after = -1};
    json_t *body;
    bool is_news;
    enum lk_err err;

    if (!question_take(call, &question))
        return;
    err = feed_answer(call, &question, &body, &is_news);
    if (err != LK_OK) {
        http_fail(call, err);
    } else if (is_news || question.wait_s == 0) {
        http_answer(call, 200, body);
    } else {
        json_decref(body);
        feed_park(call->service->feed, call, &question);
    }
}

enum lk_err
feed_add_routes(struct router *router)
{
    static const struct http_route routes[] = {
        {"GET", "/v1/feed", "feed:read", HTTP_BODY_NONE, feed_get},
    };

    return router_add(router, routes, sizeof(routes) / sizeof(routes[0]));
}
