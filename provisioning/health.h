/*
 * provisioning/health.h - /healthz and /readyz.
 */
#ifndef PROVISIONING_HEALTH_H
#define PROVISIONING_HEALTH_H

#include "http/router.h"

LK_MUST_CHECK enum lk_err health_add_routes(struct router *router);

#endif
