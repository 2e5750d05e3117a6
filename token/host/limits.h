/*
 * limits.h - what a log line, a header or a server can make the host library spend.
 */
#ifndef LATCHKEY_HOST_LIMITS_H
#define LATCHKEY_HOST_LIMITS_H

#define LOG_LINE_MAX       1024  /* bytes of a log line, prefix and line end not counted */
#define LOG_SPAN_MAX       128   /* bytes of foreign text that reach a log line */
#define LOG_SPANS          8     /* lk_log_span results alive at once in a thread */
#define FETCH_TIMEOUT_MS   30000 /* of a request that names none: nothing blocks for ever */
#define FETCH_CONNECT_MS   10000 /* until TCP and TLS stand */
#define FETCH_HEADERS_MAX  16    /* request header lines a caller may add */
#define FETCH_HEADER_MAX   16384 /* bytes of one request header line: a token and its name fit */
#define FETCH_ANSWER_LINES 200   /* header lines of an answer; more is not a server of ours */
#define FETCH_RETRY_MAX_S                                                                          \
    21600 /* seconds of Retry-After we believe: six hours, as libcurl 8 does */

#endif
