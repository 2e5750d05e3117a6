/*
 * latchkey/host/fetch.h - HTTPS requests, blocking, with limits. For the command line and for the
 * plugin's background thread; never for the broker's own thread. (Target latchkey::fetch, libcurl.)
 *
 * TLS 1.2 or later, certificate and host name always verified; no redirects; http:// only to
 * loopback addresses.
 */
#ifndef LATCHKEY_HOST_FETCH_H
#define LATCHKEY_HOST_FETCH_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>

struct lk_fetch; /* keeps the connection alive between requests; one thread at a time */

/** @param ca_file  PEM, or NULL for the system's. @return NULL when out of memory. */
struct lk_fetch *lk_fetch_new(const char *ca_file);
void lk_fetch_free(struct lk_fetch *fetch);

struct lk_fetch_request {
    const char *method; /* "GET", "POST" ... */
    const char *url;
    const char *bearer; /* token, or NULL */
    const char *user,
        *password;            /* HTTP Basic, as they stand (form-urlencode first: RFC 6749 2.3.1) */
    const char *content_type; /* of body, or NULL */
    struct lk_span body;
    const char *const *headers; /* further "Name: value" lines, NULL-terminated, or NULL */
    unsigned timeout_ms;        /* in all */
    const volatile int *cancel; /* not NULL and non-zero: give up soon with LK_ERR_CLOSED */
};

struct lk_fetch_answer {
    unsigned status;     /* HTTP status; 0 if there was no answer */
    struct lk_span body; /* inside the room given */
    char content_type[80];
    int64_t server_date_s; /* Date header, 0 without one */
    unsigned retry_after_s;
    char error[160]; /* what went wrong, for people; empty if nothing did */
};

/**
 * @param room  for the answer's body; a longer one is LK_ERR_LIMIT.
 * @return LK_OK for any HTTP answer, whatever its status; LK_ERR_UNAVAILABLE (no connection),
 *         LK_ERR_TIMEOUT, LK_ERR_PERMISSION (TLS verification failed), LK_ERR_LIMIT, LK_ERR_CLOSED.
 */
LK_MUST_CHECK enum lk_err lk_fetch_run(struct lk_fetch *fetch,
                                       const struct lk_fetch_request *request, struct lk_buf room,
                                       struct lk_fetch_answer *answer);

#endif
