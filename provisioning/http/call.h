/*
 * provisioning/http/call.h - one request, from its first byte to its answer. For http/ and oauth/;
 * handlers see router.h.
 */
#ifndef PROVISIONING_CALL_H
#define PROVISIONING_CALL_H

#include "../mailbox.h"
#include "router.h"

struct audit_note {
    const char *what; /* NULL: nothing to say */
    char target[AUDIT_TEXT_MAX];
};

/** The part of a call that handlers do not see; the call is its first member. */
struct http_inner {
    struct http_call call;
    struct http_inner *next; /* spare */
    struct evhttp_request *request;
    const char *method;
    char path[HTTP_PATH_MAX + 1];
    char query_text[HTTP_QUERY_MAX + 1];
    struct lk_span raw_body; /* in the request's buffer; wiped at the end */
    struct audit_note note;

    /* The answer: `bytes` is malloc'ed and wiped when it has left. */
    unsigned status;
    const char *content_type;
    uint8_t *bytes;
    size_t len;
    const char *code; /* of a problem or an OAuth error, for the audit */
    unsigned retry_after_s;

    /* A write on its way */
    bool held; /* answers are set, and leave by http_send */
    http_write_fn run;
    http_done_fn done;
    bool keeps;   /* a refusal whose effect in the store stays */
    bool refused; /* by `run`, with an answer of its own */

    bool has_key; /* Idempotency-Key */
    char key[IDEMPOTENCY_MAX + 1];
    uint8_t key_body[32];

    size_t room_used;
    _Alignas(16) uint8_t room[HTTP_ARENA_SIZE];
};

static inline struct http_inner *
call_inner(struct http_call *call)
{
    return call->inner;
}

/** Entry from evhttp. */
void call_on_request(struct evhttp_request *request, void *worker);

/** Answer with bytes that are copied. `content_type` is a literal. */
void http_answer_bytes(struct http_call *call, unsigned status, const char *content_type,
                       struct lk_span bytes);
/** The code an audit line shall show for an answer that is not a problem. */
void http_code(struct http_call *call, const char *code);

/** For a `run` that refuses and still must change the store: the change stays. */
void http_keep(struct http_call *call);

/** A request header; NULL if it is not there. `many` is set if it is there more than once. */
const char *http_request_header(const struct http_call *call, const char *name, bool *many);

/** Is the media type of the request this one, parameters aside? */
bool http_is_type(const struct http_call *call, const char *media_type);

/* router.c */
struct router *router_new(void); /* NULL: out of memory */
void router_free(struct router *router);
/** Match, authenticate, check the body, run. Sends the answer if it refuses. */
void router_run(const struct router *router, struct http_call *call);

/* auth.c: the bearer token of a management call. false: the refusal was sent. */
LK_MUST_CHECK bool auth_check(struct http_call *call, const char *scope);
/** One scope more, of a caller that passed auth_check(). */
LK_MUST_CHECK bool auth_require(struct http_call *call, const char *scope);

/* idempotency.c */
/** @return true: go on; false: an answer was sent. */
LK_MUST_CHECK bool idempotency_open(struct http_call *call);
/** On the writer's thread: LK_OK, not found yet; LK_ERR_EXISTS, the stored answer is set now. */
LK_MUST_CHECK enum lk_err idempotency_find(struct store_db *db, struct http_call *call);
LK_MUST_CHECK enum lk_err idempotency_keep(struct store_db *db, struct http_call *call);

#endif
