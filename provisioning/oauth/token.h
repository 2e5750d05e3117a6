/*
 * provisioning/oauth/token.h - POST /oauth/token, keys and metadata.
 */
#ifndef PROVISIONING_OAUTH_TOKEN_H
#define PROVISIONING_OAUTH_TOKEN_H

#include "../http/router.h"

void oauth_token(struct http_call *call);

/** /oauth/token, /.well-known/jwks.json, /.well-known/oauth-authorization-server. */
LK_MUST_CHECK enum lk_err oauth_add_routes(struct router *router);

#endif
