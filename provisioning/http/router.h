/*
 * provisioning/http/router.h - routes, and what a handler gets and gives.
 *
 * A handler runs on its worker's event loop and must not block. It answers exactly once, by one of
 *
 *   http_answer(call, 200, json)       now, with JSON (the reference is taken over)
 *   http_problem(call, 404, "not_found", "...")   now, as application/problem+json
 *   http_fail(call, err)               now, for an error of the store
 *   http_write(call, run, done)        after a write: `run` works in the store on the writer's
 *                                      thread and sets the answer (http_answer, http_problem);
 *                                      when it is committed the answer leaves. If `run` returns
 *                                      an error or sets a status of 400 or more, nothing it did
 *                                      to the store stays.
 *
 * Before the handler runs the router has checked: route and method, the bearer token and its scope,
 * Content-Type, the body's size, depth and duplicates, and the form of Idempotency-Key. A retried
 * POST with the same key gets the stored answer; `run` does not run again.
 *
 *     static enum lk_err
 *     device_insert(struct store_db *db, struct http_call *call)
 *     {
 *         struct registration *reg = call->op;
 *         enum lk_err err = store_device_put(db, &reg->device, reg->psk);
 *
 *         if (err == LK_ERR_EXISTS)
 *             return http_problem_in(call, 409, "id_taken", "the id is or was in use");
 *         if (err != LK_OK)
 *             return err;
 *         http_answer(call, 201, registration_json(reg));
 *         return LK_OK;
 *     }
 */
#ifndef PROVISIONING_ROUTER_H
#define PROVISIONING_ROUTER_H

#include <jansson.h>

#include <latchkey/bytes.h>
#include <latchkey/err.h>

#include "../limits.h"
#include "../service.h"
#include "../store/store.h"

struct event_base;
struct evhttp_request;
struct http_call;
struct worker; /* http/server.h */

typedef void (*http_handler_fn)(struct http_call *call);
typedef enum lk_err (*http_write_fn)(struct store_db *db, struct http_call *call);
typedef void (*http_done_fn)(struct http_call *call);

enum http_body {
    HTTP_BODY_NONE,
    HTTP_BODY_JSON,
    HTTP_BODY_JSON_IF_ANY, /* none is as good as {} */
    HTTP_BODY_OWN          /* the handler reads it */
};

struct http_route {
    const char *method;
    const char *path;  /* "/v1/devices/{id}/commands" */
    const char *scope; /* NULL: anyone; the handler authenticates where it must */
    enum http_body body;
    http_handler_fn run;
};

/** Who asks, as its token proves. */
struct http_caller {
    char id[LK_SUBJECT_MAX + 1];
    char tenant[LK_TENANT_MAX + 1]; /* empty: default */
    char scopes[LK_SCOPE_MAX + 1];
    bool is_device;
};

struct router;

/** Add routes; the table is borrowed for good. @return LK_OK, LK_ERR_LIMIT. */
LK_MUST_CHECK enum lk_err router_add(struct router *router, const struct http_route *routes,
                                     size_t count);

struct http_param {
    struct lk_span name, value; /* decoded; both valid UTF-8 without NUL */
};

struct http_form {
    struct http_param param[FORM_PARAMS_MAX];
    size_t count;
};

struct http_call {
    struct service *service;
    struct config *config; /* held for the call's life */
    struct store_db *db;   /* the worker's read connection: not inside http_write's `run` */
    struct worker *worker; /* http_base(), http_mailbox() */
    const struct http_route *route;
    struct lk_span param[HTTP_PARAMS_MAX]; /* {placeholders} of the path, decoded */
    struct http_form query;
    json_t *body; /* HTTP_BODY_JSON: always an object; borrowed, lives as long as the call */
    struct http_caller caller;
    char request_id[HTTP_REQUEST_ID_MAX + 1];
    char from[64]; /* address of the peer */
    int64_t now_s; /* wall clock when the request came */
    void *op;      /* the handler's own, between handler, run and done; see http_room() */

    struct http_inner *inner; /* the router's own */
};

/** Zeroed working room that lives as long as the call; wiped at its end. @return NULL: too much. */
void *http_room(struct http_call *call, size_t size);

/** A query parameter; absent: {NULL, 0}. */
struct lk_span http_query(const struct http_call *call, const char *name);
/** A query parameter that is a number in [least, most]; otherwise a problem was sent. */
LK_MUST_CHECK bool http_query_number(struct http_call *call, const char *name, unsigned if_absent,
                                     unsigned least, unsigned most, unsigned *out);
/** Refuse query parameters that are not in the NULL-terminated list; false: a problem was sent. */
LK_MUST_CHECK bool http_query_only(struct http_call *call, const char *const *names);

void http_answer(struct http_call *call, unsigned status, json_t *body);
void http_problem(struct http_call *call, unsigned status, const char *code, const char *detail);
/** As http_problem, and returns LK_ERR_DENIED: for a `run` that refuses. */
enum lk_err http_problem_in(struct http_call *call, unsigned status, const char *code,
                            const char *detail);
void http_retry_after(struct http_call *call, unsigned seconds); /* before http_problem */
void http_header(struct http_call *call, const char *name,
                 const char *value); /* before answering */

/** NOT_FOUND 404, EXISTS and STATE 409, BUSY, UNAVAILABLE, IO 503 with retry-after, others 500. */
void http_fail(struct http_call *call, enum lk_err err);

/**
 * @param done  on the worker's thread after the commit, with the answer set but not sent; must
 *              call http_send() sooner or later, and may set another answer before. NULL: it is
 *              sent at once. Runs also when `run` failed.
 */
void http_write(struct http_call *call, http_write_fn run, http_done_fn done);
/**
 * What the audit shall say of this call: `what` like "device.create", `target` the id it is about.
 * It is written with the effect, in one transaction, or with the refusal.
 */
void http_audit(struct http_call *call, const char *what, struct lk_span target);
unsigned http_status(const struct http_call *call); /* of the answer that is set; 0: none */
void http_send(struct http_call *call);

struct event_base *http_base(struct http_call *call); /* for timers while a call waits */
struct mailbox *http_mailbox(struct http_call *call); /* to come back to this call's thread */

/** Has the peer gone? A call that waits long may ask; it still has to be ended by http_send(). */
bool http_is_gone(const struct http_call *call);

/* --- Members of a JSON body ------------------------------------------------------------------
 *
 *     json_take_open(&take, call);
 *     type = json_take_text(&take, "type", 1, TYPE_MAX_LEN, true);
 *     args = json_take_any(&take, "args");
 *     if (!json_take_close(&take))
 *         return;               a problem with one entry per wrong or unknown member was sent
 */
struct json_take {
    struct http_call *call;
    const char *names[24];
    size_t count;
    struct {
        char pointer[80];
        const char *detail;
    } error[HTTP_ERRORS_MAX];
    size_t error_count;
};

void json_take_open(struct json_take *take, struct http_call *call);
/** Text without control characters, in bytes; absent (and not required): {NULL, 0}. */
struct lk_span json_take_text(struct json_take *take, const char *name, size_t least, size_t most,
                              bool required);
int64_t json_take_int(struct json_take *take, const char *name, int64_t if_absent, int64_t least,
                      int64_t most);
json_t *json_take_any(struct json_take *take, const char *name); /* borrowed; NULL: absent */
json_t *json_take_array(struct json_take *take, const char *name, size_t most);
/** Say that a member is wrong. `pointer` is an RFC 6901 pointer, `detail` a static sentence. */
void json_take_refuse(struct json_take *take, const char *pointer, const char *detail);
LK_MUST_CHECK bool json_take_close(struct json_take *take);

#endif
