/*
 * latchkey/device/source.h - a token, always fresh: get it, renew it in time, survive the server.
 *
 * A state machine: the caller steps it, and it says what it waits for. It speaks HTTPS through a
 * transport (port/tls_mbedtls.c), keeps the token in a room the caller lends, and needs no wall
 * clock: lifetimes count from `expires_in` on the caller's monotonic clock, from the moment the
 * request was sent, so a slow answer never makes a token look younger.
 *
 * When:   at 75 % of the lifetime, 5 % to either side by chance.
 * Again:  full-jitter pauses, 1 s doubling to 60 s; after 6 failures in a row the breaker opens and
 *         there is one attempt every 5 to 7.5 minutes. Retry-After is waited for, up to an hour.
 * How:    with the refresh token if there is one, else client_credentials. The refresh token lives
 *         in RAM only. If the server says invalid_grant, or an answer stayed away for so long that
 *         repeating the refresh token would revoke its family, it is forgotten and
 *         client_credentials used at once.
 *
 * Not here: storage across reboots (a reboot asks again), threads (one thread steps one source).
 */
#ifndef LATCHKEY_DEVICE_SOURCE_H
#define LATCHKEY_DEVICE_SOURCE_H

#include <latchkey/device/http.h>
#include <latchkey/device/platform.h>
#include <latchkey/device/token_request.h>

/** Spans are borrowed for as long as the source is used; the secret is the caller's to wipe. */
struct lk_source_config {
    struct lk_transport link; /* to the authorization server; it checks the certificate */
    struct lk_random random;
    struct lk_span host; /* Host header, e.g. "latchkey.example:8443" */
    struct lk_span path; /* "/oauth/token"; absent: that */
    struct lk_span client_id, client_secret;
    struct lk_span audience, scope; /* absent: the server's default, which is right for MQTT */
    enum lk_format format;          /* LK_FORMAT_CWT or LK_FORMAT_JWT */
    uint32_t expires_in_s;          /* ask for a shorter life; 0: the server's default */
    struct lk_buf token_room;       /* for the token: a CWT has about 200 bytes, a JWT 420 */
    struct lk_buf work_room;        /* request and answer: the token and 400 bytes */
};

/** What the last finished attempt came to; LK_ERR_BUSY before there was one. */
struct lk_source_report {
    enum lk_err err;     /* LK_OK; LK_ERR_CREDENTIAL the server refused the client; LK_ERR_DENIED
                            it refused something else; LK_ERR_UNAVAILABLE 429 or 5xx; LK_ERR_TIMEOUT;
                            otherwise what transport or codec reported */
    uint16_t status;     /* HTTP; 0: no answer */
    int32_t oauth_error; /* enum lk_oauth_error */
    uint64_t next_ms;    /* when the next attempt is due, on the caller's clock */
};

/** Fields are the source's own; use the calls. */
struct lk_source {
    struct lk_source_config config;
    struct lk_source_report report;
    struct lk_http_answer answer;
    uint8_t state;
    bool breaker_open, refresh_used, sent_refresh;
    uint8_t failures; /* in a row, not counted further than needed */
    uint16_t refresh_len;
    uint32_t serial;
    size_t token_len;
    size_t out_len, out_at;    /* the request, in the work room */
    uint64_t started_ms;       /* of the attempt */
    uint64_t next_ms;          /* next attempt */
    uint64_t expires_ms;       /* of the token */
    uint64_t refresh_first_ms; /* first use of the present refresh token */
    uint64_t date_ms;          /* when date_s was heard */
    int64_t date_s;            /* the server's Date; 0: never heard */
    uint8_t refresh[LK_SOURCE_REFRESH_MAX];
};

/** What to wait for: `io` (LK_WANT_ bits) on the source's transport, or the time, if sooner. */
struct lk_want {
    unsigned io;
    uint64_t until_ms;
};

/**
 * @return LK_OK, LK_ERR_ARG (something required is missing). The first attempt is due at once; call
 *         lk_source_spread() first where many devices start together.
 */
LK_MUST_CHECK enum lk_err lk_source_init(struct lk_source *source,
                                         const struct lk_source_config *config);

/** Put the first attempt at random within `within_ms` from now: after a power cut in a plant. */
void lk_source_spread(struct lk_source *source, uint64_t now_ms, uint64_t within_ms);

/** Do what can be done now. Never blocks. */
struct lk_want lk_source_step(struct lk_source *source, uint64_t now_ms);

/** The token, or the absent span if there is none or it has expired. Valid until the next step. */
struct lk_span lk_source_token(const struct lk_source *source, uint64_t now_ms);

/** Grows with every new token; 0: none yet. */
uint32_t lk_source_serial(const struct lk_source *source);

/** When the token expires, on the caller's clock; 0: there is none. */
uint64_t lk_source_expires_ms(const struct lk_source *source);

/**
 * Ask for a new token now: the present one was refused or its connection was ended. Pauses after
 * failures and Retry-After are kept, so this may be called as often as one likes.
 */
void lk_source_renew(struct lk_source *source, uint64_t now_ms);

/** Has the last attempt failed (since when nothing better is known)? */
bool lk_source_is_failing(const struct lk_source *source);

const struct lk_source_report *lk_source_last(const struct lk_source *source);

/**
 * Seconds since 1970 by the server's Date header, carried on by the monotonic clock; 0: not known.
 * As trustworthy as the server's certificate was when it was heard: see "dates" in tls_mbedtls.h.
 */
int64_t lk_source_wall_s(const struct lk_source *source, uint64_t now_ms);

/** Close the transport and wipe tokens and rooms. */
void lk_source_wipe(struct lk_source *source);

#endif
