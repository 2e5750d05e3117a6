#include "problem.h"

#include <stdio.h>

#include <latchkey/host/clock.h>

const char *
status_title(unsigned status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 422:
        return "Unprocessable Content";
    case 429:
        return "Too Many Requests";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

json_t *
problem_json(const struct http_call *call, unsigned status, const char *code, const char *detail,
             unsigned retry_after_s)
{
    char type[96];
    json_t *body = json_object();

    snprintf(type, sizeof(type), "urn:latchkey:problem:%s", code);
    json_object_set_new(body, "type", json_string(type));
    json_object_set_new(body, "title", json_string(status_title(status)));
    json_object_set_new(body, "status", json_integer((json_int_t)status));
    json_object_set_new(body, "detail", json_string(detail));
    json_object_set_new(body, "code", json_string(code));
    json_object_set_new(body, "request_id", json_string(call->request_id));
    json_object_set_new(body, "time", json_integer((json_int_t)lk_clock_wall_s()));
    if (retry_after_s > 0)
        json_object_set_new(body, "retry_after", json_integer((json_int_t)retry_after_s));
    return body;
}
