/*
 * scrape.h - where the page of metrics.h can be had: over HTTP/1.1 on an address or a socket file,
 * or in a file that is written every few seconds. A thread of its own, which the broker's thread
 * never meets.
 *
 * HTTP: GET and HEAD of /metrics, an answer, and the connection is closed. Whoever is slow, sends
 * nonsense or opens ever more connections loses his own; the oldest gives way to a new one.
 */
#ifndef PLUGIN_SCRAPE_H
#define PLUGIN_SCRAPE_H

#include <pthread.h>

#include "metrics.h"
#include "options.h"

enum scrape_kind { SCRAPE_OFF, SCRAPE_TCP, SCRAPE_UNIX, SCRAPE_FILE };

/** Where; from the text of the option. */
struct scrape_place {
    enum scrape_kind kind;
    bool is_public; /* an address that others can reach */
    uint16_t port;
    char host[64];              /* numeric */
    char path[OPTION_TEXT_MAX]; /* of the socket or the file */
};

/** "off" or nothing, ADDRESS:PORT (the address a number, or localhost), unix:PATH, /PATH. */
bool scrape_parse(const char *text, struct scrape_place *place);

struct scrape_client;

struct scrape {
    const struct metrics *metrics;
    struct scrape_place place;
    struct scrape_client *clients; /* METRICS_CLIENTS */
    uint8_t *page;                 /* METRICS_PAGE_MAX, for the file */
    int listen_fd, event_fd;
    pthread_t thread;
    bool running;
    atomic_bool stop;
    uint64_t order;
};

/**
 * Open the place and start serving; nothing happens for "off".
 * @return LK_OK, LK_ERR_ARG (not a place), LK_ERR_IO (cannot be opened: errno says why),
 *         LK_ERR_NOMEM, LK_ERR_UNAVAILABLE (no thread).
 */
LK_MUST_CHECK enum lk_err scrape_start(struct scrape *s, const struct metrics *metrics,
                                       const char *place);

/** Stop and join; a file is written once more, a socket file goes. */
void scrape_stop(struct scrape *s);

/**
 * Judge the head of a request. For the tests; the thread uses it.
 * @return 0: not all of it is here; else the status: 200, 400, 404, 405, 431, 505.
 * @param head_only  [out] the answer has no body
 */
unsigned scrape_judge(struct lk_span request, bool *head_only);

#endif
