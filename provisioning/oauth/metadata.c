/*
 * What a stranger may know: keys (RFC 7517), metadata (RFC 8414).
 */
#include "token.h"

#include <stdio.h>
#include <string.h>

#include <latchkey/scope.h>

#include "../http/call.h"
#include "../keys/ring.h"

#define PUBLIC_FOR "public, max-age=300" /* verifiers ask every 300 s */

static void
jwks_get(struct http_call *call)
{
    struct ring *ring = service_ring_hold(call->service);

    http_header(call, "Cache-Control", PUBLIC_FOR);
    http_answer_bytes(call, 200, "application/jwk-set+json", ring_jwks(ring));
    ring_close(ring);
}

static json_t *
url_below(const char *issuer, const char *path)
{
    char url[CONFIG_URL_MAX + 64];

    snprintf(url, sizeof(url), "%s%s", issuer, path);
    return json_string(url);
}

static void
scopes_collect(json_t *seen, const struct config_kind *kinds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct lk_span rest = lk_span_text(kinds[i].scopes), scope;

        while (lk_scope_next(&rest, &scope)) {
            char name[LK_SCOPE_MAX + 1];

            snprintf(name, sizeof(name), "%.*s", (int)scope.len, (const char *)scope.ptr);
            json_object_set_new(seen, name, json_true());
        }
    }
}

static json_t *
scopes_supported(const struct config *config)
{
    json_t *seen = json_object(), *list = json_array(), *value;
    const char *name;

    scopes_collect(seen, config->types, config->type_count);
    scopes_collect(seen, config->roles, config->role_count);
    json_object_foreach (seen, name, value)
        json_array_append_new(list, json_string(name));
    json_decref(seen);
    return list;
}

static void
metadata_get(struct http_call *call)
{
    static const char *const methods[] = {"token_endpoint_auth_methods_supported",
                                          "revocation_endpoint_auth_methods_supported",
                                          "introspection_endpoint_auth_methods_supported"};
    const struct config *config = call->config;
    json_t *body = json_object();

    json_object_set_new(body, "issuer", json_string(config->issuer));
    json_object_set_new(body, "token_endpoint", url_below(config->issuer, "/oauth/token"));
    json_object_set_new(body, "revocation_endpoint", url_below(config->issuer, "/oauth/revoke"));
    json_object_set_new(body, "introspection_endpoint",
                        url_below(config->issuer, "/oauth/introspect"));
    json_object_set_new(body, "jwks_uri", url_below(config->issuer, "/.well-known/jwks.json"));
    json_object_set_new(body, "scopes_supported", scopes_supported(config));
    json_object_set_new(body, "response_types_supported", json_array());
    json_object_set_new(body, "grant_types_supported",
                        json_pack("[s, s]", "client_credentials", "refresh_token"));
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        json_object_set_new(body, methods[i],
                            json_pack("[s, s]", "client_secret_basic", "client_secret_post"));
    http_header(call, "Cache-Control", PUBLIC_FOR);
    http_answer(call, 200, body);
}

enum lk_err
oauth_add_routes(struct router *router)
{
    static const struct http_route routes[] = {
        {"POST", "/oauth/token", NULL, HTTP_BODY_OWN, oauth_token},
        {"POST", "/oauth/revoke", NULL, HTTP_BODY_OWN, oauth_revoke},
        {"POST", "/oauth/introspect", NULL, HTTP_BODY_OWN, oauth_introspect},
        {"GET", "/.well-known/jwks.json", NULL, HTTP_BODY_NONE, jwks_get},
        {"GET", "/.well-known/oauth-authorization-server", NULL, HTTP_BODY_NONE, metadata_get},
    };

    return router_add(router, routes, sizeof(routes) / sizeof(routes[0]));
}
