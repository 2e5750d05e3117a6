#include "health.h"

#include "desk/desk.h"
#include "http/server.h"

static const char *
desk_state(const struct service *service)
{
    if (service->desk == NULL)
        return "off";
    return desk_is_connected(service->desk) ? "connected" : "disconnected";
}

/** The process answers. */
static void
healthz(struct http_call *call)
{
    http_answer(call, 200, json_pack("{s:s}", "status", "ok"));
}

/** It can also do its work. The desk is for information: tokens need no broker. */
static void
readyz(struct http_call *call)
{
    const struct service *service = call->service;
    bool store_ok = store_is_healthy(service->store);
    bool stopping = server_is_stopping(service->server);
    const char *status = stopping ? "stopping" : store_ok ? "ready" : "unready";

    http_answer(call, store_ok && !stopping ? 200 : 503,
                json_pack("{s:s, s:s, s:s}", "status", status, "store", store_ok ? "ok" : "failing",
                          "desk", desk_state(service)));
}

enum lk_err
health_add_routes(struct router *router)
{
    static const struct http_route routes[] = {
        {"GET", "/healthz", NULL, HTTP_BODY_NONE, healthz},
        {"GET", "/readyz", NULL, HTTP_BODY_NONE, readyz},
    };

    return router_add(router, routes, sizeof(routes) / sizeof(routes[0]));
}
