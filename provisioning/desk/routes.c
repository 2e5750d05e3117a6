#include "desk/desk.h"
#include "desk/inside.h"
#include "http/router.h"

enum lk_err
desk_add_routes(struct router *router)
{
    static const struct http_route routes[] = {
        {"POST", "/v1/devices/{id}/commands", "commands:send", HTTP_BODY_JSON, commands_post},
        {"GET", "/v1/devices/{id}/commands", "devices:read", HTTP_BODY_NONE, commands_list},
        {"GET", "/v1/devices/{id}/commands/{cid}", "devices:read", HTTP_BODY_NONE, commands_get},
        {"GET", "/v1/devices/{id}/status", "devices:read", HTTP_BODY_NONE, status_get},
    };

    return router_add(router, routes, sizeof(routes) / sizeof(routes[0]));
}
