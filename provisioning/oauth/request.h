/*
 * provisioning/oauth/request.h - token requests and answers, as a form with JSON (RFC 6749) and as
 * CBOR (RFC 9200).
 */
#ifndef PROVISIONING_REQUEST_H
#define PROVISIONING_REQUEST_H

#include <latchkey/claims.h>

#include "../http/call.h"
#include "refresh.h"

/** Numbers of RFC 9200 section 5.8.3. */
enum oauth_error {
    OAUTH_OK = 0,
    OAUTH_INVALID_REQUEST = 1,
    OAUTH_INVALID_CLIENT = 2,
    OAUTH_INVALID_GRANT = 3,
    OAUTH_UNAUTHORIZED_CLIENT = 4,
    OAUTH_UNSUPPORTED_GRANT_TYPE = 5,
    OAUTH_INVALID_SCOPE = 6,
    OAUTH_UNSUPPORTED_POP_KEY = 7
};

/** Numbers of RFC 9200 section 5.8.4. */
enum oauth_grant { OAUTH_CLIENT_CREDENTIALS = 2, OAUTH_REFRESH_TOKEN = 3 };

struct token_request {
    bool is_cbor;
    enum oauth_grant grant;
    bool by_header;            /* credentials came in Authorization */
    struct lk_span id, secret; /* as text; both absent: none came */
    struct lk_span scope;      /* absent: all one may have */
    struct lk_span audience;   /* absent: the default */
    struct lk_span refresh;    /* text or raw bytes */
    enum lk_format format;     /* LK_FORMAT_NONE: the encoding's own */
    int64_t expires_in_s;      /* 0: as long as allowed */
    bool wants_profile;        /* ace_profile must be in the answer (RFC 9200 section 5.8.4.3) */
    char secret_text[SECRET_TEXT_LEN + 1]; /* where a raw secret was written out */
};

struct token_answer {
    struct lk_span token; /* JWT text or raw CWT */
    enum lk_format format;
    int64_t expires_in_s;
    struct lk_span scope;
    unsigned audience;
    bool has_refresh;
    uint8_t refresh[REFRESH_BYTES];
};

/** Read the request of a call. false: it was refused. `request` lives as long as the call. */
LK_MUST_CHECK bool request_take(struct http_call *call, struct token_request *request);

/** For forms that are no token requests. Each: false, it was refused.
 * parse_form: the form only; take_header: the credentials in Authorization, if there are some;
 * take_form: the form and the credentials, wherever they stand. */
LK_MUST_CHECK bool request_parse_form(struct http_call *call, struct token_request *request,
                                      struct http_form *form);
LK_MUST_CHECK bool request_take_header(struct http_call *call, struct token_request *request);
LK_MUST_CHECK bool request_take_form(struct http_call *call, struct token_request *request,
                                     struct http_form *form);

/** Send (or set) the answer in the encoding of the request. */
LK_MUST_CHECK enum lk_err answer_send(struct http_call *call, const struct token_request *request,
                                      const struct token_answer *answer);

/** Refuse: 401 for invalid_client, else 400; 429 if a waiting time was set before. `detail` is a
 * static sentence in the characters RFC 6749 section 5.2 allows. */
void oauth_refuse(struct http_call *call, const struct token_request *request,
                  enum oauth_error error, const char *detail);

/* ace.c */
enum oauth_error ace_take(struct lk_span body, struct token_request *request, const char **why);
LK_MUST_CHECK enum lk_err ace_write(const struct token_request *request,
                                    const struct token_answer *answer, struct lk_buf room,
                                    struct lk_span *out);
LK_MUST_CHECK enum lk_err ace_write_error(enum oauth_error error, const char *detail,
                                          struct lk_buf room, struct lk_span *out);

#endif
