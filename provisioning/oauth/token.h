/*
 * provisioning/oauth/token.h - POST /oauth/token, revoke, introspect; keys and metadata.
 */
#ifndef PROVISIONING_OAUTH_TOKEN_H
#define PROVISIONING_OAUTH_TOKEN_H

#include "../http/router.h"

void oauth_token(struct http_call *call);
void oauth_revoke(struct http_call *call);     /* revoke.c */
void oauth_introspect(struct http_call *call); /* introspect.c */

/** /oauth/token, /oauth/revoke, /oauth/introspect, /.well-known/jwks.json,
 * /.well-known/oauth-authorization-server. */
LK_MUST_CHECK enum lk_err oauth_add_routes(struct router *router);

#endif
