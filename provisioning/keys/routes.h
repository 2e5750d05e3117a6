/*
 * provisioning/keys/routes.h - signing keys under /v1, and their rotation.
 */
#ifndef PROVISIONING_KEYS_ROUTES_H
#define PROVISIONING_KEYS_ROUTES_H

#include "../http/router.h"

LK_MUST_CHECK enum lk_err keys_add_routes(struct router *router);

/** Give replaced keys an end and forget those past it. On the main thread, every second. */
void keys_sweep(struct service *service, struct store_db *db, int64_t now_s);

#endif
