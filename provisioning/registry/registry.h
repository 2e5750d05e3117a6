/*
 * provisioning/registry/registry.h - devices and clients under /v1.
 */
#ifndef PROVISIONING_REGISTRY_ROUTES_H
#define PROVISIONING_REGISTRY_ROUTES_H

#include "../http/router.h"

LK_MUST_CHECK enum lk_err devices_add_routes(struct router *router);
LK_MUST_CHECK enum lk_err clients_add_routes(struct router *router);
LK_MUST_CHECK enum lk_err denials_add_routes(struct router *router);

#endif
