/*
 * latchkey/device/http.h - one HTTP/1.1 request out, one answer in (RFC 9112). Bytes only, no I/O.
 *
 * Strict where leniency has been an attack: line ends are CR LF, header names are tokens, no folded
 * lines, one Content-Length, never together with Transfer-Encoding. An answer that has neither has,
 * for us, no body: one that ends with the connection could not be told from one cut short.
 *
 * Not here: connection reuse, redirects, cookies, compression, header values beyond the few below.
 */
#ifndef LATCHKEY_DEVICE_HTTP_H
#define LATCHKEY_DEVICE_HTTP_H

#include <latchkey/bytes.h>
#include <latchkey/device/limits.h>
#include <latchkey/err.h>

/** A POST that asks for the connection to be closed after the answer. */
struct lk_http_request {
    struct lk_span host;         /* Host header: name, or name:port */
    struct lk_span path;         /* begins with '/' */
    struct lk_span content_type; /* of the body, and what is accepted back */
    struct lk_span body;
};

/**
 * Write head and body.
 * @param out  [out] inside `room`; 256 bytes beside host, path, type and body suffice. The body may
 *             lie at the end of the same room.
 * @return LK_OK, LK_ERR_ARG (a text with blanks, control or non-ASCII characters), LK_ERR_NO_SPACE.
 */
LK_MUST_CHECK enum lk_err lk_http_request_write(const struct lk_http_request *request,
                                                struct lk_buf room, struct lk_span *out);

/** The answer as it comes in. Read the first block once lk_http_answer_is_done(). */
struct lk_http_answer {
    uint16_t status;       /* 200 and so on */
    bool is_ace_cbor;      /* Content-Type is application/ace+cbor */
    int32_t retry_after_s; /* -1: none; a date counts from the Date header */
    int64_t date_s;        /* Date, seconds since 1970; 0: none or not readable */
    struct lk_span body;   /* inside the room */

    /* the parser's own */
    enum lk_err err;
    uint8_t state;
    uint8_t interim;
    bool has_length, is_chunked, has_date, line_cut, retry_is_date;
    uint16_t line_len;
    uint32_t head_len;
    uint64_t left; /* of the body, or of the chunk */
    int64_t retry_date_s;
    struct lk_buf room;
    uint8_t line[LK_HTTP_LINE_MAX];
};

/** @param room  for the body; its size is the limit of a body. */
void lk_http_answer_open(struct lk_http_answer *answer, struct lk_buf room);

/**
 * Take the next bytes, in pieces of any size. What follows the end of the answer is an error.
 * @return LK_OK; LK_ERR_MALFORMED; LK_ERR_UNSUPPORTED (another HTTP version or transfer coding);
 *         LK_ERR_LIMIT (head too long); LK_ERR_NO_SPACE (body does not fit); LK_ERR_TRAILING.
 *         An error sticks.
 */
LK_MUST_CHECK enum lk_err lk_http_answer_feed(struct lk_http_answer *answer, struct lk_span bytes);

/** Has the whole answer been taken? */
bool lk_http_answer_is_done(const struct lk_http_answer *answer);

/**
 * An HTTP date in the one form senders may use, "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section
 * 5.6.7). @return LK_OK, LK_ERR_SYNTAX, LK_ERR_RANGE; *seconds is 0 on error.
 */
LK_MUST_CHECK enum lk_err lk_http_date_parse(struct lk_span text, int64_t *seconds);

#endif
