/*
 * A call from evhttp's request to the last byte of its answer.
 */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/queue.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>

#include <latchkey/host/clock.h>
#include <latchkey/host/log.h>

#include "../audit.h"
#include "form.h"
#include "problem.h"

/* 15 digits: 20.1 stays 20.1. With jansson's 17 it would be 20.100000000000001. */
#define ANSWER_FORM (JSON_COMPACT | JSON_REAL_PRECISION(15))

/* --- Room and lookups ------------------------------------------------------------------------- */

void *
http_room(struct http_call *call, size_t size)
{
    struct http_inner *in = call->inner;
    size_t at = (in->room_used + 15) & ~(size_t)15;

    if (size > sizeof(in->room) || at > sizeof(in->room) - size)
        return NULL;
    in->room_used = at + size;
    return memset(in->room + at, 0, size);
}

struct event_base *
http_base(struct http_call *call)
{
    return call->worker->base;
}

struct mailbox *
http_mailbox(struct http_call *call)
{
    return call->worker->mailbox;
}

bool
http_is_gone(const struct http_call *call)
{
    return evhttp_request_get_connection(call->inner->request) == NULL;
}

const char *
http_request_header(const struct http_call *call, const char *name, bool *many)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(call->inner->request);
    const struct evkeyval *h;
    const char *found = NULL;

    if (many != NULL)
        *many = false;
    TAILQ_FOREACH(h, headers, next)
    {
        if (evutil_ascii_strcasecmp(h->key, name) != 0)
            continue;
        if (found != NULL && many != NULL)
            *many = true;
        else if (found == NULL)
            found = h->value;
    }
    return found;
}

bool
http_is_type(const struct http_call *call, const char *media_type)
{
    const char *value = http_request_header(call, "Content-Type", NULL);
    size_t len = strlen(media_type);

    if (value == NULL || evutil_ascii_strncasecmp(value, media_type, len) != 0)
        return false;
    return value[len] == '\0' || value[len] == ';' || value[len] == ' ';
}

struct lk_span
http_query(const struct http_call *call, const char *name)
{
    return form_get(&call->query, name);
}

/* --- Setting the answer -------------------------------------------------------------------------
 */

static void
answer_clear(struct http_inner *in)
{
    if (in->bytes != NULL) {
        lk_wipe(in->bytes, in->len);
        free(in->bytes);
    }
    in->bytes = NULL;
    in->len = 0;
    in->status = 0;
    in->code = NULL;
}

/** A call that is held for a write only has its answer set; it leaves later. */
static void
answer_ready(struct http_call *call)
{
    if (!call->inner->held)
        http_send(call);
}

void
http_answer_bytes(struct http_call *call, unsigned status, const char *content_type,
                  struct lk_span bytes)
{
    struct http_inner *in = call->inner;

    answer_clear(in);
    in->bytes = malloc(bytes.len + 1);
    if (in->bytes == NULL) {
        in->status = 500;
    } else {
        if (bytes.len > 0)
            memcpy(in->bytes, bytes.ptr, bytes.len);
        in->len = bytes.len;
        in->status = status;
        in->content_type = content_type;
    }
    answer_ready(call);
}

static void
answer_json(struct http_call *call, unsigned status, const char *content_type, const json_t *body)
{
    struct http_inner *in = call->inner;
    size_t len = json_dumpb(body, NULL, 0, ANSWER_FORM);

    answer_clear(in);
    in->bytes = len == 0 ? NULL : malloc(len);
    if (in->bytes == NULL) {
        in->status = 500;
        return;
    }
    in->len = json_dumpb(body, (char *)in->bytes, len, ANSWER_FORM);
    in->status = status;
    in->content_type = content_type;
}

void
http_answer(struct http_call *call, unsigned status, json_t *body)
{
    answer_json(call, status, "application/json", body);
    json_decref(body);
    answer_ready(call);
}

void
http_retry_after(struct http_call *call, unsigned seconds)
{
    call->inner->retry_after_s = seconds;
}

void
http_header(struct http_call *call, const char *name, const char *value)
{
    struct evkeyvalq *headers = evhttp_request_get_output_headers(call->inner->request);

    evhttp_remove_header(headers, name);
    evhttp_add_header(headers, name, value); /* refuses line ends in values */
}

void
http_code(struct http_call *call, const char *code)
{
    call->inner->code = code;
}

void
http_keep(struct http_call *call)
{
    call->inner->keeps = true;
}

void
problem_send(struct http_call *call, unsigned status, const char *code, const char *detail,
             json_t *errors)
{
    json_t *body = problem_json(call, status, code, detail, call->inner->retry_after_s);

    if (errors != NULL)
        json_object_set_new(body, "errors", errors);
    answer_json(call, status, "application/problem+json", body);
    json_decref(body);
    call->inner->code = code;
    answer_ready(call);
}

void
http_problem(struct http_call *call, unsigned status, const char *code, const char *detail)
{
    problem_send(call, status, code, detail, NULL);
}

enum lk_err
http_problem_in(struct http_call *call, unsigned status, const char *code, const char *detail)
{
    http_problem(call, status, code, detail);
    return LK_ERR_DENIED;
}

void
http_fail(struct http_call *call, enum lk_err err)
{
    unsigned status = 500;
    const char *code = "internal", *detail = "the server failed; the log says more";

    if (err == LK_ERR_NOT_FOUND) {
        status = 404, code = "not_found", detail = "there is no such thing";
    } else if (err == LK_ERR_EXISTS) {
        status = 409, code = "exists", detail = "it is there already";
    } else if (err == LK_ERR_STATE) {
        status = 409, code = "state", detail = "not possible in the state it is in";
    } else if (err == LK_ERR_BUSY || err == LK_ERR_UNAVAILABLE || err == LK_ERR_IO) {
        status = 503, code = "unavailable", detail = "the store cannot take this now; try again";
        http_retry_after(call, 2);
    }
    if (status >= 500)
        lk_log(LK_LOG_ERROR, "http request=%s route=%s err=%s %s", call->request_id,
               call->route == NULL ? "-" : call->route->path, lk_err_name(err), lk_err_text(err));
    http_problem(call, status, code, detail);
}

void
http_audit(struct http_call *call, const char *what, struct lk_span target)
{
    struct audit_note *note = &call->inner->note;

    note->what = what;
    snprintf(note->target, sizeof(note->target), "%.*s", (int)target.len,
             target.ptr == NULL ? "" : (const char *)target.ptr);
}

unsigned
http_status(const struct http_call *call)
{
    return call->inner->status;
}

/* --- The end of a call
 * ---------------------------------------------------------------------------- */

static void
call_end(struct http_inner *in)
{
    struct worker *worker = in->call.worker;

    json_decref(in->call.body);
    config_drop(in->call.config);
    lk_wipe(in->room, in->room_used);
    worker->calls--;
    if (worker->spare_count < HTTP_CALLS_KEPT) {
        in->next = worker->spare;
        worker->spare = in;
        worker->spare_count++;
    } else {
        free(in);
    }
}

static void
bytes_sent(const void *bytes, size_t len, void *arg)
{
    (void)bytes;
    lk_wipe(arg, len);
    free(arg);
}

/** A refusal changed nothing, so its audit goes by itself; a success wrote it with its effect. */
static void
refusal_audit(struct http_call *call)
{
    const struct audit_note *note = &call->inner->note;
    struct store_audit audit;

    if (note->what == NULL || call->inner->status < 400)
        return;
    audit_of(call, note->what, (struct lk_span){NULL, 0}, lk_span_text(note->target),
             call->inner->code == NULL ? "error" : call->inner->code, &audit);
    audit_spare(call->service, &audit);
}

static void
headers_put(struct http_call *call)
{
    struct http_inner *in = call->inner;
    char text[16];

    http_header(call, "X-Request-Id", call->request_id);
    if (evhttp_find_header(evhttp_request_get_output_headers(in->request), "Cache-Control") == NULL)
        http_header(call, "Cache-Control", "no-store");
    if (in->len > 0)
        http_header(call, "Content-Type", in->content_type);
    if (in->retry_after_s > 0) {
        snprintf(text, sizeof(text), "%u", in->retry_after_s);
        http_header(call, "Retry-After", text);
    }
    if (call->worker->stopping)
        http_header(call, "Connection", "close");
}

/**
 * Head and body of an answer become one piece, so one TLS record: half the system calls, and a
 * client never sees a status without its body because the server died in between.
 */
static void
answer_join(struct evhttp_connection *connection)
{
    struct evbuffer *out;

    if (connection == NULL)
        return;
    out = bufferevent_get_output(evhttp_connection_get_bufferevent(connection));
    (void)evbuffer_pullup(out, -1);
}

void
http_send(struct http_call *call)
{
    struct http_inner *in = call->inner;
    struct evhttp_request *request = in->request;
    struct evhttp_connection *connection = evhttp_request_get_connection(request);
    struct evbuffer *body = evbuffer_new();

    refusal_audit(call);
    headers_put(call);
    lk_wipe((void *)(uintptr_t)in->raw_body.ptr, in->raw_body.len);
    connection_busy(request, false);
    if (body != NULL && in->len > 0 &&
        evbuffer_add_reference(body, in->bytes, in->len, bytes_sent, in->bytes) == 0)
        in->bytes = NULL;
    if (in->status >= 500)
        lk_log(LK_LOG_WARN, "http status=%u request=%s from=%s", in->status, call->request_id,
               call->from);
    /* Frees a request whose peer is gone. */
    evhttp_send_reply(request, (int)in->status, in->status >= 400 ? status_title(in->status) : NULL,
                      body);
    answer_join(connection);
    if (body != NULL)
        evbuffer_free(body);
    answer_clear(in);
    call_end(in);
}

/* --- Writes
 * ------------------------------------------------------------------------------------------ */

/** The audit line of a success; false: the call has none. */
static bool
success_audit(const struct http_call *call, struct store_audit *audit)
{
    const struct audit_note *note = &call->inner->note;

    if (note->what == NULL || call->inner->status >= 400)
        return false;
    audit_of(call, note->what, (struct lk_span){NULL, 0}, lk_span_text(note->target), "ok", audit);
    return true;
}

/** On the writer's thread. */
static enum lk_err
write_run(struct store_db *db, void *arg)
{
    struct http_call *call = arg;
    struct http_inner *in = call->inner;
    struct store_audit audit;
    enum lk_err err = in->has_key ? idempotency_find(db, call) : LK_OK;

    if (err == LK_ERR_EXISTS) {
        in->note.what = NULL; /* answered before: the stored answer is set, nothing happened now */
        return LK_OK;
    }
    if (err == LK_OK)
        err = in->run(db, call);
    if (in->status >= 400 && !in->keeps) {
        in->refused = true;
        return LK_ERR_DENIED; /* and nothing stays */
    }
    if (err == LK_OK && success_audit(call, &audit))
        err = store_audit_put(db, &audit);
    if (err == LK_OK && in->status < 400 && in->has_key)
        err = idempotency_keep(db, call);
    return err;
}

/** Back on the worker's thread. */
static void
write_done(enum lk_err err, void *arg)
{
    struct http_call *call = arg;
    struct http_inner *in = call->inner;
    http_done_fn done = in->done;
    struct store_audit audit;

    if (err != LK_OK && !in->refused) {
        answer_clear(in); /* what `run` promised did not come to be */
        evhttp_remove_header(evhttp_request_get_output_headers(in->request), "Location");
        http_fail(call, err); /* held still, so this does not send yet */
    } else if (err == LK_OK && success_audit(call, &audit)) {
        audit_log(&audit);
    }
    if (done != NULL)
        done(call);
    else
        http_send(call);
}

void
http_write(struct http_call *call, http_write_fn run, http_done_fn done)
{
    struct http_inner *in = call->inner;
    enum lk_err err;

    in->held = true;
    in->run = run;
    in->done = done;
    in->refused = false;
    err = store_write(call->service->store, call->worker->mailbox, write_run, write_done, call);
    if (err != LK_OK)
        write_done(err, call);
}

/* --- The beginning
 * --------------------------------------------------------------------------------------- */

static struct http_inner *
call_new(struct worker *worker)
{
    struct http_inner *in = worker->spare;

    if (in != NULL) {
        worker->spare = in->next;
        worker->spare_count--;
    } else {
        in = malloc(sizeof(*in));
        if (in == NULL)
            return NULL;
    }
    memset(in, 0, offsetof(struct http_inner, room));
    in->call.inner = in;
    in->call.worker = worker;
    in->call.service = worker->service;
    in->call.db = worker->db;
    in->call.now_s = lk_clock_wall_s();
    in->call.config = service_config_hold(worker->service);
    worker->calls++;
    return in;
}

static bool
request_id_is_fine(const char *id)
{
    size_t len = id == NULL ? 0 : strlen(id);

    return len > 0 && len <= HTTP_REQUEST_ID_MAX &&
           strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

static void
call_name(struct http_call *call)
{
    struct worker *worker = call->worker;
    const char *id = http_request_header(call, "X-Request-Id", NULL);
    struct evhttp_connection *evcon = evhttp_request_get_connection(call->inner->request);
    char *address = NULL;
    ev_uint16_t port = 0;

    if (request_id_is_fine(id))
        snprintf(call->request_id, sizeof(call->request_id), "%s", id);
    else
        snprintf(call->request_id, sizeof(call->request_id), "%s-%llx", worker->id_prefix,
                 (unsigned long long)++worker->id_next);
    if (evcon != NULL)
        evhttp_connection_get_peer(evcon, &address, &port);
    snprintf(call->from, sizeof(call->from), "%s", address == NULL ? "-" : address);
}

static const char *
method_name(enum evhttp_cmd_type type)
{
    switch (type) {
    case EVHTTP_REQ_GET:
        return "GET";
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_HEAD:
        return "HEAD";
    case EVHTTP_REQ_PUT:
        return "PUT";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    case EVHTTP_REQ_PATCH:
        return "PATCH";
    case EVHTTP_REQ_OPTIONS:
    case EVHTTP_REQ_TRACE:
    case EVHTTP_REQ_CONNECT:
        break;
    }
    return "OTHER";
}

static bool
uri_take(struct http_inner *in)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(in->request);
    const char *path = uri == NULL ? NULL : evhttp_uri_get_path(uri);
    const char *query = uri == NULL ? NULL : evhttp_uri_get_query(uri);

    if (path == NULL || strlen(path) > HTTP_PATH_MAX ||
        (query != NULL && strlen(query) > HTTP_QUERY_MAX))
        return false;
    memcpy(in->path, path, strlen(path) + 1);
    if (query != NULL)
        memcpy(in->query_text, query, strlen(query) + 1);
    return true;
}

static void
body_take(struct http_inner *in)
{
    struct evbuffer *body = evhttp_request_get_input_buffer(in->request);
    size_t len = evbuffer_get_length(body);

    if (len > 0)
        in->raw_body = lk_span_of(evbuffer_pullup(body, -1), len);
    if (in->raw_body.ptr == NULL)
        in->raw_body.len = 0;
}

void
call_on_request(struct evhttp_request *request, void *arg)
{
    struct worker *worker = arg;
    struct http_inner *in = call_new(worker);
    struct http_call *call;

    if (in == NULL) {
        evhttp_send_reply(request, 503, NULL, NULL);
        return;
    }
    call = &in->call;
    in->request = request;
    in->method = method_name(evhttp_request_get_command(request));
    connection_busy(request, true);
    call_name(call);
    body_take(in);
    if (!uri_take(in))
        http_problem(call, 414, "uri_too_long", "the path or the query is too long");
    else if (in->raw_body.len > HTTP_BODY_MAX)
        http_problem(call, 413, "body_too_long", "the body is longer than 65536 bytes");
    else
        router_run(worker->router, call);
}
