#include "call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "form.h"
#include "json.h"

#define ROUTES_MAX 96

struct router {
    const struct http_route *route[ROUTES_MAX];
    size_t count;
};

struct router *
router_new(void)
{
    return calloc(1, sizeof(struct router));
}

void
router_free(struct router *router)
{
    free(router);
}

enum lk_err
router_add(struct router *router, const struct http_route *routes, size_t count)
{
    if (count > ROUTES_MAX - router->count)
        return LK_ERR_LIMIT;
    for (size_t i = 0; i < count; i++)
        router->route[router->count++] = &routes[i];
    return LK_OK;
}

/* --- Matching -----------------------------------------------------------------------------------
 */

/** The part of a path up to the next slash; moves past it. */
static struct lk_span
segment_next(const char **path)
{
    const char *start = *path;
    size_t len = strcspn(start, "/");

    *path = start + len + (start[len] == '/' ? 1 : 0);
    return lk_span_of(start, len);
}

/** Does the pattern fit the path? Fills the parameters, still encoded. */
static bool
path_matches(const char *pattern, const char *path, struct lk_span param[HTTP_PARAMS_MAX])
{
    size_t count = 0;

    while (*pattern != '\0' && *path != '\0') {
        struct lk_span want = segment_next(&pattern);
        struct lk_span have = segment_next(&path);

        if (want.len > 0 && want.ptr[0] == '{') {
            if (have.len == 0 || count == HTTP_PARAMS_MAX)
                return false;
            param[count++] = have;
        } else if (!lk_span_equal(want, have)) {
            return false;
        }
    }
    /* A trailing slash is another path. */
    return *pattern == '\0' && *path == '\0' && path[-1] != '/';
}

static bool
method_fits(const struct http_route *route, const char *method)
{
    if (strcmp(route->method, method) == 0)
        return true;
    return strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0;
}

static const struct http_route *
route_find(const struct router *router, struct http_call *call, char *allow, size_t allow_size)
{
    struct http_inner *in = call_inner(call);
    size_t used = 0;

    allow[0] = '\0';
    for (size_t i = 0; i < router->count; i++) {
        const struct http_route *route = router->route[i];
        struct lk_span param[HTTP_PARAMS_MAX] = {{NULL, 0}};

        if (!path_matches(route->path, in->path, param))
            continue;
        if (method_fits(route, in->method)) {
            memcpy(call->param, param, sizeof(param));
            return route;
        }
        used += (size_t)snprintf(allow + used, allow_size - used, "%s%s", used > 0 ? ", " : "",
                                 strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method);
        if (used >= allow_size)
            used = allow_size - 1;
    }
    return NULL;
}

/** Percent-decoded where they stand; "%2F" gives a slash inside a parameter, which no id has. */
static bool
params_decode(struct http_call *call)
{
    for (size_t i = 0; i < HTTP_PARAMS_MAX; i++) {
        struct lk_span param = call->param[i];

        if (param.ptr != NULL &&
            form_decode((char *)(uintptr_t)param.ptr, param.len, false, &call->param[i]) != LK_OK)
            return false;
    }
    return true;
}

/* --- Query ---------------------------------------------------------------------------------------
 */

bool
http_query_number(struct http_call *call, const char *name, unsigned if_absent, unsigned least,
                  unsigned most, unsigned *out)
{
    struct lk_span text = http_query(call, name);
    uint64_t value = 0;

    *out = if_absent;
    if (text.ptr == NULL)
        return true;
    for (size_t i = 0; i < text.len && value <= most; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            value = (uint64_t)most + 1;
            break;
        }
        value = value * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    if (value >= least && value <= most) {
        *out = (unsigned)value;
        return true;
    }
    http_problem(call, 400, "invalid_query", "a number in the query is not one, or out of range");
    return false;
}

bool
http_query_only(struct http_call *call, const char *const *names)
{
    for (size_t i = 0; i < call->query.count; i++) {
        const char *const *name = names;

        while (*name != NULL && !lk_span_is(call->query.param[i].name, *name))
            name++;
        if (*name == NULL) {
            http_problem(call, 400, "invalid_query", "a parameter of the query is not known here");
            return false;
        }
    }
    return true;
}

/* --- Body
 * ------------------------------------------------------------------------------------------ */

static bool
json_open(struct http_call *call, bool required)
{
    struct http_inner *in = call_inner(call);
    const char *why;

    if (in->raw_body.len == 0 && !required)
        return true;
    if (!http_is_type(call, "application/json")) {
        http_problem(call, 415, "unsupported_media_type",
                     "Content-Type: application/json expected");
        return false;
    }
    call->body = json_body_read(in->raw_body, &why);
    if (call->body == NULL) {
        http_problem(call, 400, "invalid_json", why);
        return false;
    }
    if (!required && json_object_size(call->body) > 0) {
        http_problem(call, 400, "invalid_request", "this path takes no body");
        return false;
    }
    return true;
}

static bool
body_open(struct http_call *call)
{
    switch (call->route->body) {
    case HTTP_BODY_OWN:
        return true;
    case HTTP_BODY_NONE:
        return json_open(call, false);
    case HTTP_BODY_JSON:
        return json_open(call, true);
    case HTTP_BODY_JSON_IF_ANY:
        if (call_inner(call)->raw_body.len > 0)
            return json_open(call, true);
        call->body = json_object();
        return call->body != NULL;
    }
    return false;
}

/* --- Running
 * ------------------------------------------------------------------------------------------ */

static bool
query_take(struct http_call *call)
{
    struct http_inner *in = call_inner(call);

    if (form_parse(in->query_text, strlen(in->query_text), &call->query) == LK_OK)
        return true;
    http_problem(call, 400, "invalid_query", "the query is malformed or names a parameter twice");
    return false;
}

static void
not_routed(struct http_call *call, const char *allow)
{
    if (allow[0] == '\0') {
        http_problem(call, 404, "not_found", "there is nothing at this path");
        return;
    }
    http_header(call, "Allow", allow);
    http_problem(call, 405, "method_not_allowed", "this path has other methods, see Allow");
}

void
router_run(const struct router *router, struct http_call *call)
{
    struct http_inner *in = call_inner(call);
    char allow[64];

    call->route = route_find(router, call, allow, sizeof(allow));
    if (call->route == NULL) {
        not_routed(call, allow);
        return;
    }
    if (call->route->scope != NULL && !auth_check(call, call->route->scope))
        return;
    /* The key's hash covers path, query and body as they came: before they are decoded in place. */
    if (call->route->scope != NULL && strcmp(in->method, "POST") == 0 && !idempotency_open(call))
        return;
    if (!params_decode(call)) {
        http_problem(call, 400, "invalid_path", "the path has a malformed escape");
        return;
    }
    if (query_take(call) && body_open(call))
        call->route->run(call);
}
